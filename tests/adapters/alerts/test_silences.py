"""Which alerts people silenced in Alertmanager: asked of a real one, and of servers that are slow, broken or lying."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from pydantic import ValidationError

from adapters.alerts._silences import KEPT, Silenced
from adapters.alerts.alertmanager import SOURCE, AlertmanagerConfig
from bot.clock import ManualClock, SystemClock
from bot.demo.envoy import free_port
from bot.domain.alert import Alert, RawRequest
from bot.errors import Unavailable
from bot.ports import Clock, Context, Polls, Silences

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Quiet:
    """A log nobody reads."""

    def info(self, event: str, **facts: object) -> None:
        del event, facts

    def warning(self, event: str, **facts: object) -> None:
        del event, facts


def silences(api: str, clock: Clock, secrets: dict[str, str] | None = None, **keys: Any) -> Silenced:
    """Build it the way the host does: from the source's own configuration."""
    source = SOURCE(AlertmanagerConfig.model_validate({"insecure": True, "api": api, **keys}), lambda _: None)
    context = Context(clock=clock, name="alertmanager", log=Quiet(), secret=(secrets or {}).get)
    found = source.silences(context)
    assert found is not None
    return found


def firing(native: str, source: str = "alertmanager") -> Alert:
    return Alert(
        source=source, fingerprint=f"{source}:{native}", status="firing", starts_at=datetime(2026, 11, 23, tzinfo=UTC)
    )


def held(native: str, *by: str, inhibited: bool = False) -> dict[str, Any]:
    """One suppressed alert as `GET /api/v2/alerts` gives it."""
    status = {"state": "suppressed", "silencedBy": list(by), "inhibitedBy": ["x"] if inhibited else []}
    return {"fingerprint": native, "status": status, "labels": {}}


class Fake:
    """An Alertmanager that answers as it is told and remembers what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.status, self.delay = answer, 200, 0.0
        self.asked: list[web.Request] = []

    async def answered(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        await asyncio.sleep(self.delay)
        body = self.answer if isinstance(self.answer, bytes) else orjson.dumps(self.answer)
        return web.Response(body=body, status=self.status)


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"


async def test_it_knows_silences() -> None:
    assert isinstance(silences("http://127.0.0.1:1", ManualClock()), Silences)


async def test_only_silenced_alerts_of_this_sender_are_given() -> None:
    fake = Fake([held("a", "s1"), held("b", inhibited=True), held("c", "s1", inhibited=True)])
    async with serving(fake.answered) as url, silences(f"{url}/am/", ManualClock()) as known:
        asked = [firing("a"), firing("b"), firing("c"), firing("d"), firing("a", source="generic")]
        assert await known.silenced(asked) == ("alertmanager:a", "alertmanager:c")
    (request,) = fake.asked
    assert (request.method, request.path) == ("GET", "/am/api/v2/alerts")
    assert dict(request.query) == {"silenced": "true", "active": "false", "unprocessed": "false"}
    assert "Authorization" not in request.headers


async def test_nobody_is_asked_about_alerts_of_other_senders() -> None:
    async with silences("http://127.0.0.1:1", ManualClock()) as known:
        assert await known.silenced([firing("a", source="generic")]) == ()


async def test_an_answer_is_used_for_ten_seconds_and_not_longer() -> None:
    fake, clock = Fake([held("a", "s1")]), ManualClock()
    async with serving(fake.answered) as url, silences(url, clock) as known:
        assert await known.silenced([firing("a")]) == ("alertmanager:a",)
        fake.answer = []
        clock.advance(KEPT - 0.1)
        assert await known.silenced([firing("a")]) == ("alertmanager:a",)
        clock.advance(0.1)
        assert await known.silenced([firing("a")]) == ()
    assert len(fake.asked) == 2


async def test_many_who_ask_at_once_are_answered_by_one_look() -> None:
    fake = Fake([held("a", "s1")])
    fake.delay = 0.05
    async with serving(fake.answered) as url, silences(url, ManualClock()) as known:
        answers = await asyncio.gather(*(known.silenced([firing("a")]) for _ in range(20)))
    assert set(answers) == {("alertmanager:a",)}
    assert len(fake.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[", {}, {"status": "ok"}, [3], [{}], [held("a", "s1"), {"fingerprint": "b"}], [held("a", "s1"), None],
     [{"fingerprint": 7, "status": {"silencedBy": ["s1"]}}], [{"fingerprint": "a", "status": {"silencedBy": "s1"}}]],
)  # fmt: skip
async def test_an_answer_that_cannot_be_read_whole_is_no_answer(answer: Any) -> None:
    async with serving(Fake(answer).answered) as url, silences(url, ManualClock()) as known:
        with pytest.raises(Unavailable, match="Alertmanager answered no list of alerts"):
            await known.silenced([firing("a")])


@pytest.mark.parametrize(
    ("status", "said"), [(500, "answered 500"), (404, "answered 404"), (401, "refuses our credentials"), (302, "points elsewhere")]
)  # fmt: skip
async def test_a_status_that_is_no_answer_is_said(status: int, said: str) -> None:
    fake = Fake([held("a", "s1")])
    fake.status = status
    async with serving(fake.answered) as url, silences(url, ManualClock()) as known:
        with pytest.raises(Unavailable, match=said):
            await known.silenced([firing("a")])


async def test_a_slow_answer_is_waited_for_two_seconds() -> None:
    fake, clock = Fake([]), SystemClock()
    fake.delay = 30
    async with serving(fake.answered) as url, silences(url, clock) as known:
        began = clock.monotonic()
        with pytest.raises(Unavailable, match="Alertmanager does not answer"):
            await known.silenced([firing("a")])
        assert 1.9 < clock.monotonic() - began < 4


async def test_after_no_answer_others_are_told_at_once_and_soon_it_is_asked_again() -> None:
    fake, clock = Fake([held("a", "s1")]), ManualClock()
    fake.status = 503
    async with serving(fake.answered) as url, silences(url, clock) as known:
        for _ in range(3):
            with pytest.raises(Unavailable, match="answered 503"):
                await known.silenced([firing("a")])
        assert len(fake.asked) == 1
        fake.status = 200
        clock.advance(2)
        assert await known.silenced([firing("a")]) == ("alertmanager:a",)


async def test_nobody_listening_is_unavailable() -> None:
    async with silences("http://127.0.0.1:1", ManualClock()) as known:
        with pytest.raises(Unavailable, match="Alertmanager does not answer"):
            await known.silenced([firing("a")])


async def test_a_rotated_token_is_used_at_the_next_look_and_a_missing_one_is_named() -> None:
    fake, clock = Fake([]), ManualClock()
    secrets = {"AM_READ": "first"}
    async with serving(fake.answered) as url, silences(url, clock, secrets, api_token={"env": "AM_READ"}) as known:
        await known.silenced([firing("a")])
        secrets["AM_READ"] = "second"
        clock.advance(KEPT)
        await known.silenced([firing("a")])
        del secrets["AM_READ"]
        clock.advance(KEPT)
        with pytest.raises(Unavailable, match="the token for Alertmanager is not in AM_READ"):
            await known.silenced([firing("a")])
    assert [one.headers["Authorization"] for one in fake.asked] == ["Bearer first", "Bearer second"]


async def test_before_it_is_opened_nothing_is_known() -> None:
    with pytest.raises(Unavailable):
        await silences("http://127.0.0.1:1", ManualClock()).silenced([firing("a")])


def test_without_an_api_there_is_nobody_to_ask() -> None:
    context = Context(clock=ManualClock(), name="alertmanager", log=Quiet(), secret=lambda _: None)
    assert SOURCE(AlertmanagerConfig(insecure=True), lambda _: None).silences(context) is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"api": "alertmanager:9093"}, "must be an address"),
        ({"api": "ftp://alertmanager"}, "must be an address"),
        ({"api_token": {"env": "T"}}, "none is given"),
        ({"api": "http://me:pw@alertmanager", "api_token": {"env": "T"}}, "either api_token or credentials"),
    ],
)
def test_an_api_that_cannot_be_asked_is_refused_at_the_start(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AlertmanagerConfig.model_validate({"insecure": True, **keys})


def test_credentials_in_the_address_are_not_shown() -> None:
    config = AlertmanagerConfig.model_validate({"insecure": True, "api": "http://me:pw@alertmanager:9093"})
    assert "pw" not in repr(config)


# ── what was missed ───────────────────────────────────────────────────────────────────────────────────────────────


def shown(native: str, **labels: str) -> dict[str, Any]:
    """One firing alert as `GET /api/v2/alerts` gives it."""
    return {
        "fingerprint": native, "labels": labels, "annotations": {"summary": "x"}, "startsAt": "2026-11-23T02:00:00.000Z",
        "endsAt": "2026-11-23T02:30:00.000Z", "status": {"state": "active", "silencedBy": [], "inhibitedBy": []},
        "generatorURL": "http://prometheus:9090/g",
    }  # fmt: skip


async def test_what_fires_there_now_is_told_as_the_webhook_would_and_by_a_name_that_stays() -> None:
    fake = Fake([shown("a", model="m"), shown("b", alertname="Watchdog"), shown("c", model="n")])
    async with serving(fake.answered) as url, silences(url, ManualClock()) as known:
        assert isinstance(known, Polls)
        ((name, body),) = await known.missed()
        fake.answer = list(reversed(fake.answer))
        assert (await known.missed())[0][0] == name
        fake.answer = [shown("a", model="m")]
        assert (await known.missed())[0][0] != name
        fake.answer = []
        assert await known.missed() == []
    assert dict(fake.asked[0].query) == {
        "active": "true",
        "silenced": "false",
        "inhibited": "false",
        "unprocessed": "false",
    }
    parsed = SOURCE(AlertmanagerConfig(insecure=True), lambda _: None).parse(
        RawRequest(id="01X", source="alertmanager", received_at=SystemClock().now(), body=body)
    )
    assert [(one.fingerprint, one.model, one.status) for one in parsed.alerts] == [
        ("alertmanager:a", "m", "firing"), ("alertmanager:c", "n", "firing"),
    ]  # fmt: skip


@pytest.mark.parametrize("answer", [b"<html>", b"["])
async def test_one_that_cannot_say_what_fires_is_unavailable(answer: bytes) -> None:
    async with serving(Fake(answer).answered) as url, silences(url, ManualClock()) as known:
        with pytest.raises(Unavailable):
            await known.missed()


# ── the real one ──────────────────────────────────────────────────────────────────────────────────────────────────


BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
ROUTE = """\
route: {{receiver: hook, group_wait: 0s}}
receivers: [{{name: hook, webhook_configs: [{{url: "{hook}"}}]}}]
"""


class Heard:
    """What a webhook of ours would have been told: every alert of every message, read by the source."""

    def __init__(self) -> None:
        self.alerts: dict[str, Alert] = {}

    async def answered(self, request: web.Request) -> web.Response:
        raw = RawRequest(id="01X", source="alertmanager", received_at=SystemClock().now(), body=await request.read())
        parsed = SOURCE(AlertmanagerConfig(insecure=True), lambda _: None).parse(raw)
        self.alerts.update({alert.labels["alertname"]: alert for alert in parsed.alerts})
        return web.Response(status=202)


@asynccontextmanager
async def alertmanager(folder: Path, hook: str) -> AsyncIterator[str]:
    """Run the real one until the test ends."""
    (folder / "am.yml").write_text(ROUTE.format(hook=hook))
    url = f"http://127.0.0.1:{free_port()}"
    with (folder / "am.log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            str(BINARY), f"--config.file={folder}/am.yml", f"--storage.path={folder}/data", "--cluster.listen-address=",
            f"--web.listen-address={url.removeprefix('http://')}", stdout=out, stderr=out,
        )  # fmt: skip
    try:
        await until(lambda: ready(url))
        yield url
    finally:
        process.terminate()
        await process.wait()


async def ready(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():
            await asyncio.sleep(0.05)


async def told(url: str, where: str, body: Any) -> None:
    async with aiohttp.ClientSession() as http, http.post(f"{url}/api/v2/{where}", json=body) as answer:
        assert answer.status == 200


@pytest.mark.story
@pytest.mark.timeout(600)
@pytest.mark.skipif(BINARY is None, reason="Alertmanager is not installed (Debian: prometheus-alertmanager)")
async def test_a_real_alertmanager_says_which_alert_it_was_told_to_keep_quiet_about(tmp_path: Path) -> None:
    heard, clock, began = Heard(), ManualClock(), SystemClock().now()

    async def heard_something() -> bool:
        return bool(heard.alerts)

    async with serving(heard.answered) as hook, alertmanager(tmp_path, hook) as url, silences(url, clock) as known:
        await told(url, "alerts", [{"labels": {"alertname": "Burn", "model": "m"}, "startsAt": began.isoformat()}])
        await until(heard_something)
        alert = heard.alerts["Burn"]
        assert await known.silenced([alert]) == ()
        await told(url, "silences", silence("Burn", began))

        async def quiet() -> bool:
            clock.advance(KEPT)
            return await known.silenced([alert]) == (alert.fingerprint,)

        await until(quiet)
        assert await known.silenced([firing("another")]) == ()


def silence(name: str, now: datetime) -> dict[str, Any]:
    return {
        "matchers": [{"name": "alertname", "value": name, "isRegex": False, "isEqual": True}],
        "startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat(), "createdBy": "ana", "comment": "known",
    }  # fmt: skip
