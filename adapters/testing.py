"""What every traffic adapter, metric source and authorizer must hold to, as pytest classes to subclass, and a line to break.

    class TestAcme(TrafficContract):
        @pytest.fixture
        async def rig(self): ...          # one Rig: how to make the adapter, and how to break its world

    class TestAcmeMetrics(MetricContract):
        @pytest.fixture
        async def rig(self): ...          # one MetricRig: the same for a metric source

    class TestAcmeOpinion(AuthorizerContract):
        @pytest.fixture
        async def rig(self): ...          # one AuthorizerRig: the same for an authorizer

Needs pytest with pytest-asyncio in `auto` mode. A law that cannot be put to the test for a system is taken out by its
name, with the reason beside it: `test_a_lost_answer_is_unknown_until_it_is_read = None`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from pydantic import BaseModel

from bot.clock import SystemClock
from bot.domain.sli import Measurement
from bot.domain.traffic import Intent, Outcome, TargetPlan
from bot.errors import Unavailable
from bot.ports import Authorizer, Context, Matter, MetricSource, TrafficAdapter

Act = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Do nothing: for a way of breaking that a system does not have."""


@dataclass(frozen=True)
class Rig:
    """One target in its world. When a test begins, `bad` serves most of the traffic and `good` can take it."""

    make: Callable[[Context], TrafficAdapter]
    bad: str
    good: str
    meddle: Act  # change the split, as another manager would
    cut: Act  # from now on nothing answers
    lose: Act  # from now on a write takes effect and its answer is lost
    mend: Act  # everything answers again
    serve: Callable[[int], Awaitable[None]]  # let this many requests arrive
    samples: int = 300  # of 300 requests a look counts at least these; 0 for a system that cannot count, so cannot tell
    secret: str | None = None  # text of the configuration that nobody may ever see
    deadline: float = 20.0  # seconds within which every call must end


@dataclass
class NotedLog:
    """A log that remembers its lines."""

    lines: list[str] = field(default_factory=list)

    def info(self, event: str, **facts: object) -> None:
        """Remember what happened."""
        self.lines.append(f"{event} {facts}")

    def warning(self, event: str, **facts: object) -> None:
        """Remember what a person may want to know."""
        self.lines.append(f"{event} {facts}")


def context(log: NotedLog | None = None, name: str = "route") -> Context:
    """Give what the host hands to an adapter, with the machine's clock and no secrets."""
    return Context(clock=SystemClock(), name=name, log=log or NotedLog(), secret=lambda _: None)


async def planned(adapter: TrafficAdapter, rig: Rig) -> TargetPlan:
    """Plan to move everything from the bad version to the good one."""
    state = await adapter.read()
    intent = Intent(
        to_split=state.split.moved(rig.bad, rig.good), bad=rig.bad, good=rig.good, reason="contract", incident_id="contract",
        idempotency_key="contract/1",
    )  # fmt: skip
    return await adapter.plan(intent, state)


class TrafficContract:
    """The laws. A subclass gives the fixture `rig`."""

    @pytest.fixture
    def log(self) -> NotedLog:
        """Give the log the adapter writes to."""
        return NotedLog()

    @pytest.fixture
    async def adapter(self, rig: Rig, log: NotedLog) -> AsyncIterator[TrafficAdapter]:
        """Give the adapter, open."""
        async with rig.make(context(log)) as adapter:
            yield adapter

    async def test_reading_twice_says_the_same(self, adapter: TrafficAdapter, rig: Rig) -> None:
        """Nothing happened in between, so token and split stay."""
        first, second = await adapter.read(), await adapter.read()
        assert (first.token, first.split, first.revisions) == (second.token, second.split, second.revisions)
        assert {rig.bad, rig.good} <= {one.id for one in first.revisions}
        assert first.split.share(rig.bad) > 0

    async def test_looking_and_planning_change_nothing(self, adapter: TrafficAdapter, rig: Rig) -> None:
        """A plan says everything and does nothing."""
        before = await adapter.read()
        plan = await planned(adapter, rig)
        await adapter.preflight()
        after = await adapter.read()
        assert (before.token, before.split) == (after.token, after.split)
        assert plan.calls
        assert not plan.noop
        assert plan.before.split == before.split

    async def test_applying_twice_writes_once(self, adapter: TrafficAdapter, rig: Rig) -> None:
        """The second time there is nothing to do."""
        plan = await planned(adapter, rig)
        first = await adapter.apply(plan)
        second = await adapter.apply(plan)
        assert (first.outcome, second.outcome) == (Outcome.APPLIED, Outcome.NOOP)
        assert (await adapter.read()).split.same(plan.to_split)

    async def test_a_target_that_moved_is_a_conflict_and_stays(self, adapter: TrafficAdapter, rig: Rig) -> None:
        """What was approved is not what is there."""
        plan = await planned(adapter, rig)
        if plan.concurrency == "none":
            pytest.skip("the system has nothing to compare, and its capabilities say so")
        await rig.meddle()
        moved = await adapter.read()
        result = await adapter.apply(plan)
        assert moved.token != plan.before.token
        assert result.outcome is Outcome.CONFLICT
        assert (await adapter.read()).split == moved.split

    async def test_no_answer_is_unavailable_in_time(self, adapter: TrafficAdapter, rig: Rig) -> None:
        """Nothing was sent, so it is an error and not an outcome."""
        plan = await planned(adapter, rig)
        await rig.cut()
        for call in (adapter.read, lambda: adapter.apply(plan), lambda: adapter.verify(plan, None)):
            async with asyncio.timeout(rig.deadline):
                with pytest.raises(Unavailable):
                    await call()

    async def test_a_lost_answer_is_unknown_until_it_is_read(self, adapter: TrafficAdapter, rig: Rig) -> None:
        """Never a second write before a read."""
        plan = await planned(adapter, rig)
        await rig.lose()
        async with asyncio.timeout(rig.deadline):
            result = await adapter.apply(plan)
        await rig.mend()
        assert result.outcome is Outcome.INDETERMINATE
        assert (await adapter.read()).split.same(plan.to_split)
        assert (await adapter.apply(plan)).outcome is Outcome.NOOP

    async def test_undo_puts_back_what_was_there(self, adapter: TrafficAdapter, rig: Rig) -> None:
        """A plan whose goal is its own `undo` is not stopped by the token that our own write moved."""
        plan = await planned(adapter, rig)
        assert plan.undo is not None
        await adapter.apply(plan)
        result = await adapter.apply(plan.but(to_split=plan.undo))
        assert result.outcome is Outcome.APPLIED
        assert (await adapter.read()).split.same(plan.before.split)

    async def test_no_secret_is_shown(
        self, adapter: TrafficAdapter, rig: Rig, log: NotedLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not in a state, a plan, a result, a finding, an error or a log."""
        plan = await planned(adapter, rig)
        shown = [repr(plan), plan.model_dump_json(), repr(await adapter.preflight())]
        shown += [(await adapter.apply(plan)).model_dump_json(), (await adapter.verify(plan, None)).model_dump_json()]
        await rig.cut()
        with pytest.raises(Unavailable) as told:
            await adapter.read()
        everything = "\n".join([*shown, str(told.value), repr(told.value.__cause__), *log.lines, caplog.text])
        assert rig.bad in everything
        assert rig.secret is None or rig.secret not in everything

    @pytest.mark.parametrize("after", [0.0, 0.001, 0.01])
    async def test_a_cancelled_apply_leaves_what_can_be_read(
        self, adapter: TrafficAdapter, rig: Rig, after: float
    ) -> None:
        """It is where it was, or at the goal."""
        plan = await planned(adapter, rig)
        task = asyncio.ensure_future(adapter.apply(plan))
        await asyncio.sleep(after)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        async with asyncio.timeout(rig.deadline):
            while (state := await adapter.read()).progressing:  # noqa: ASYNC110 - another process is waited for
                await asyncio.sleep(0.01)
        assert state.split.same(plan.before.split) or state.split.same(plan.to_split)

    async def test_requests_prove_that_traffic_moved(self, adapter: TrafficAdapter, rig: Rig) -> None:
        """None of n requests to the bad version: its share is at most 3/n. A control plane alone proves nothing."""
        plan = await planned(adapter, rig)
        await adapter.apply(plan)
        first = await adapter.verify(plan, None)
        await rig.serve(300)
        look = await adapter.verify(plan, first.reading)
        assert (first.data_plane, look.control_plane) == ("inconclusive", "converged")
        if not rig.samples:
            assert look.data_plane == "inconclusive"
            return
        assert look.data_plane == "moved"
        assert look.samples[rig.bad] == 0
        assert sum(look.samples.values()) >= rig.samples
        assert look.upper_bound_bad is not None
        assert look.upper_bound_bad <= 3 / rig.samples

    async def test_traffic_that_stays_is_never_called_moved(self, adapter: TrafficAdapter, rig: Rig) -> None:
        """Nothing was applied."""
        plan = await planned(adapter, rig)
        first = await adapter.verify(plan, None)
        await rig.serve(300)
        look = await adapter.verify(plan, first.reading)
        assert look.control_plane == "diverged"
        assert look.data_plane in ("not_moved", "inconclusive")

    async def test_no_requests_prove_nothing(self, adapter: TrafficAdapter, rig: Rig) -> None:
        """Silence is not success."""
        plan = await planned(adapter, rig)
        await adapter.apply(plan)
        first = await adapter.verify(plan, None)
        assert (await adapter.verify(plan, first.reading)).data_plane == "inconclusive"


@dataclass(frozen=True)
class MetricRig:
    """One metric source in its world, behind a line that can be broken. When a test begins, no request was served."""

    make: Callable[[Context], MetricSource]
    query: BaseModel  # the share of failed requests, and of how many
    serve: Callable[[int, int], Awaitable[None]]  # let requests arrive, the second number failed; return once it shows
    cut: Act  # from now on nothing answers
    hang: Act  # from now on connections are taken and nothing is said
    say: Callable[[bytes], Awaitable[None]]  # from now on every answer is HTTP 200 with this body
    mend: Act  # everything answers again
    secret: str | None = None  # text of the configuration that nobody may ever see
    deadline: float = 20.0  # seconds within which a look must end


GARBAGE = (
    b"",
    b"\n",
    b"<html><body>Sign in</body></html>\n",
    b"{}\n",
    b"[]\n",
    b"null\n",
    b"\xff\xfe\n",
    b"7\n",
    b"a{\n",
)


class MetricContract:
    """The laws of a metric source: what cannot be told is no value and has a sentence. A subclass gives `rig`."""

    @pytest.fixture
    def log(self) -> NotedLog:
        """Give the log the source writes to."""
        return NotedLog()

    @pytest.fixture
    async def source(self, rig: MetricRig, log: NotedLog) -> AsyncIterator[MetricSource]:
        """Give the source, open."""
        async with rig.make(context(log, "metrics")) as source:
            yield source

    async def test_a_look_gives_the_share_and_the_size_of_its_sample(
        self, source: MetricSource, rig: MetricRig
    ) -> None:
        """20 of 400 requests failed."""
        first = await source.measure(rig.query, None)
        await rig.serve(400, 20)
        look = await source.measure(rig.query, first)
        assert (look.value, look.requests, look.reason) == (0.05, 400, "")

    async def test_no_requests_are_no_value(self, source: MetricSource, rig: MetricRig) -> None:
        """Silence is not health."""
        first = await source.measure(rig.query, None)
        unknown(await source.measure(rig.query, first))

    async def test_no_answer_is_unknown_in_time(self, source: MetricSource, rig: MetricRig) -> None:
        """Nothing is raised: a look that failed is a look, with its reason."""
        first = await source.measure(rig.query, None)
        for broken in (rig.hang, rig.cut):
            await broken()
            async with asyncio.timeout(rig.deadline):
                unknown(await source.measure(rig.query, first))

    @pytest.mark.parametrize("body", GARBAGE)
    async def test_an_answer_in_another_shape_is_unknown(
        self, source: MetricSource, rig: MetricRig, body: bytes
    ) -> None:
        """A login page of a proxy is no metric."""
        first = await source.measure(rig.query, None)
        await rig.serve(400, 20)
        await rig.say(body)
        unknown(await source.measure(rig.query, first))

    async def test_it_tells_again_once_it_is_reached_again(self, source: MetricSource, rig: MetricRig) -> None:
        """Looks that failed in between take nothing away."""
        first = await source.measure(rig.query, None)
        await rig.cut()
        unknown(await source.measure(rig.query, first))
        await rig.mend()
        await rig.serve(400, 20)
        assert (await source.measure(rig.query, first)).value == 0.05

    async def test_no_secret_is_shown(
        self, source: MetricSource, rig: MetricRig, log: NotedLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not in a measurement, a reason or a log."""
        looks = [await source.measure(rig.query, None)]
        await rig.say(b"<html>\n")
        looks.append(await source.measure(rig.query, looks[0]))
        await rig.cut()
        looks.append(await source.measure(rig.query, looks[0]))
        everything = "\n".join([*(look.model_dump_json() for look in looks), *log.lines, caplog.text])
        assert rig.secret is None or rig.secret not in everything


def unknown(look: Measurement) -> None:
    """Assert that a look claims nothing and says why in one short line."""
    assert look.value is None
    assert 0 < len(look.reason) <= 400
    assert "\n" not in look.reason


@dataclass(frozen=True)
class AuthorizerRig:
    """One authorizer in its world, behind a line that can be broken. When a test begins, nothing is objected to."""

    make: Callable[[Context], Authorizer]
    deny: Callable[[str], Awaitable[None]]  # from now on it objects, for this reason
    cut: Act  # from now on nothing answers
    hang: Act  # from now on connections are taken and nothing is said
    say: Callable[[bytes], Awaitable[None]]  # from now on every answer is HTTP 200 with this body
    mend: Act  # everything answers again
    secret: str | None = None  # text of the configuration that nobody may ever see
    deadline: float = 5.0  # seconds within which an opinion must be there


MATTER = Matter(
    act="approve", people=("U0ANA",), model="fraud-scorer", environment="prod", tier=1, from_version="42", to_version="41",
    plan="7f3a9c2e", rule="prod-tier1", incident="01KAQ3H2S0M4V8B6T9C17Q4RD0",
)  # fmt: skip


class AuthorizerContract:
    """The laws of a second opinion: it can only deny, whoever cannot answer denies, and it never raises."""

    @pytest.fixture
    def log(self) -> NotedLog:
        """Give the log the authorizer writes to."""
        return NotedLog()

    @pytest.fixture
    async def authorizer(self, rig: AuthorizerRig, log: NotedLog) -> AsyncIterator[Authorizer]:
        """Give the authorizer, open."""
        async with rig.make(context(log, "opinion")) as authorizer:
            yield authorizer

    @pytest.mark.parametrize("act", ["approve", "execute", "break_glass"])
    async def test_a_yes_is_no_objection(self, authorizer: Authorizer, act: str) -> None:
        """The only text that lets an act go on is the empty one."""
        assert await authorizer.objection(replace(MATTER, act=act)) == ""

    async def test_a_no_gives_its_reason(self, authorizer: Authorizer, rig: AuthorizerRig) -> None:
        """The person reads why."""
        await rig.deny("Change freeze until Monday.")
        told = await authorizer.objection(MATTER)
        objects(told)
        assert "Change freeze until Monday." in told

    async def test_silence_denies_in_time(self, authorizer: Authorizer, rig: AuthorizerRig) -> None:
        """Nobody there, or somebody who says nothing: both are a no."""
        for broken in (rig.hang, rig.cut):
            await broken()
            async with asyncio.timeout(rig.deadline):
                objects(await authorizer.objection(MATTER))

    @pytest.mark.parametrize("body", GARBAGE)
    async def test_an_answer_in_another_shape_denies(
        self, authorizer: Authorizer, rig: AuthorizerRig, body: bytes
    ) -> None:
        """A login page of a proxy is no yes."""
        await rig.say(body)
        objects(await authorizer.objection(MATTER))

    async def test_one_that_is_not_open_denies(self, rig: AuthorizerRig) -> None:
        """Asked before it was opened, it objects; it never raises."""
        objects(await rig.make(context(name="opinion")).objection(MATTER))

    async def test_it_agrees_again_once_it_is_reached_again(self, authorizer: Authorizer, rig: AuthorizerRig) -> None:
        """A no for want of an answer is not kept."""
        await rig.cut()
        objects(await authorizer.objection(MATTER))
        await rig.mend()
        assert await authorizer.objection(MATTER) == ""

    async def test_many_at_once_get_each_their_own(self, authorizer: Authorizer) -> None:
        """Votes of several people are judged at once."""
        told = await asyncio.gather(*(authorizer.objection(MATTER) for _ in range(20)))
        assert set(told) == {""}

    async def test_no_secret_is_shown(
        self, authorizer: Authorizer, rig: AuthorizerRig, log: NotedLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not in an objection, a repr or a log."""
        told = [repr(authorizer), await authorizer.objection(MATTER)]
        await rig.deny("no")
        told.append(await authorizer.objection(MATTER))
        await rig.say(b"<html>")
        told.append(await authorizer.objection(MATTER))
        await rig.cut()
        told.append(await authorizer.objection(MATTER))
        everything = "\n".join([*told, *log.lines, caplog.text])
        assert rig.secret is None or rig.secret not in everything


def objects(told: str) -> None:
    """Assert that an opinion denies, and says why in one short line."""
    assert 0 < len(told) <= 600
    assert "\n" not in told


class Wire:
    """A TCP line to a local server, one request a connection, that can be cut or lose the answers to some requests."""

    def __init__(self, upstream: int) -> None:
        """Lead to the port `upstream` of this machine; `port` is our end once it is open."""
        self.port = 0
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._loses: Callable[[bytes], bool] = lambda _: False
        self._silent = False
        self._says: bytes | None = None
        self._mended = asyncio.Event()
        self._carried: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Begin to listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse every connection, and drop the ones there are."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        for one in self._carried:
            one.cancel()
        await asyncio.gather(*self._carried, return_exceptions=True)

    async def lose(self, when: Callable[[bytes], bool], *, silent: bool = False) -> None:
        """Deliver requests whose first bytes fit and drop their answers; `silent` lets the asker wait instead."""
        self._loses, self._silent = when, silent

    async def say(self, body: bytes) -> None:
        """Answer every request with HTTP 200 and this body, whatever the server says."""
        self._says = body

    async def mend(self) -> None:
        """Carry everything again."""
        self._loses, self._says = lambda _: False, None
        self._mended.set()
        if self._server is None:
            await self.open()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        one = asyncio.ensure_future(self._carry(reader, writer))
        self._carried.add(one)
        one.add_done_callback(self._carried.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.read(65536)
            if self._says is not None:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self._says), self._says))
                return
            there, back = await asyncio.open_connection("127.0.0.1", self._upstream)
            with contextlib.closing(back):
                back.write(head)
                await self._answer(head, there, writer)
        except OSError:
            writer.transport.abort()
        finally:
            writer.close()

    async def _answer(self, head: bytes, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = await there.read(65536)
        if self._loses(head):
            if self._silent:
                await self._mended.wait()
            writer.transport.abort()
            return
        while answer:
            writer.write(answer)
            answer = await there.read(65536)
