"""What is particular to Envoy: it checks nothing, forgets at a restart, and each process is its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from yarl import URL

from adapters.testing import context
from adapters.traffic._envoy_admin import Route
from adapters.traffic._envoy_file import RouteFile
from adapters.traffic._envoy_split import Look, Scale
from adapters.traffic.envoy import Envoy, EnvoyConfig
from bot.demo.envoy import PREFIX
from bot.demo.envoy import Envoy as EnvoyProcess
from bot.domain.traffic import Finding, Intent, Outcome, TargetPlan, TrafficSplit
from bot.errors import AdapterError, Blocked, NotFound, TokenMoved, Unavailable

VERSIONS = {"41": "fraud-v41", "42": "fraud-v42"}
CLUSTERS = frozenset(VERSIONS.values())

Start = Callable[..., Awaitable[EnvoyProcess]]
Send = Callable[[int, int], Awaitable[int]]


def adapter(*envoys: EnvoyProcess, **keys: Any) -> Envoy:
    settings = {"admin": [one.admin for one in envoys], "runtime_key_prefix": PREFIX, "versions": VERSIONS, **keys}
    return Envoy(EnvoyConfig.model_validate(settings), context())


def from_file(envoy: EnvoyProcess, **keys: Any) -> Envoy:
    return adapter(envoy, **{"mode": "rds", "runtime_key_prefix": None, "rds_path": str(envoy.rds_path), **keys})


def shares(**weights: float) -> TrafficSplit:
    return TrafficSplit(weights={name.removeprefix("v"): Decimal(str(share)) for name, share in weights.items()})


async def planned(envoy: Envoy) -> TargetPlan:
    state = await envoy.read()
    intent = Intent(
        to_split=state.split.moved("42", "41"), bad="42", good="41", reason="test", incident_id="i", idempotency_key="i/1"
    )  # fmt: skip
    return await envoy.plan(intent, state)


async def runtime(envoy: EnvoyProcess, asked: Callable[[str], Awaitable[Any]]) -> dict[str, str]:
    entries = (await asked(f"{envoy.admin}/runtime?format=json"))["entries"]
    return {name.removeprefix(f"{PREFIX}."): entry["final_value"] for name, entry in entries.items()}


def messages(findings: tuple[Finding, ...], level: str) -> list[str]:
    return [one.message for one in findings if one.level == level]


# ── weights ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("weights", [(5, 0), (0, 7), (1, 2), (10, 90), (300, 700), (0, 1)])
async def test_weights_of_any_sum_are_moved_and_keep_their_sum(
    start: Start, asked: Callable[[str], Awaitable[Any]], weights: tuple[int, int]
) -> None:
    process = await start({"fraud-v41": weights[0], "fraud-v42": weights[1]})
    async with adapter(process) as envoy:
        plan = await planned(envoy)
        result = await envoy.apply(plan)
        assert (await envoy.read()).split.share("42") == 0
    assert plan.noop is (weights[1] == 0)
    assert result.outcome is (Outcome.NOOP if plan.noop else Outcome.APPLIED)
    if not plan.noop:
        assert await runtime(process, asked) == {"fraud-v41": str(sum(weights)), "fraud-v42": "0"}


async def test_an_experiment_arm_keeps_its_weight_and_its_traffic(
    start: Start, send: Send, asked: Callable[[str], Awaitable[Any]]
) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 70, "fraud-arm": 20})
    async with adapter(process) as envoy:
        plan = await planned(envoy)
        assert plan.to_split.same(shares(v41=80, v42=0, **{"fraud-arm": 20}))
        assert (await envoy.apply(plan)).outcome is Outcome.APPLIED
        baseline = await envoy.reading()
        await send(process.port, 600)
        look = await envoy.verify(plan, baseline)
    assert await runtime(process, asked) == {"fraud-v41": "80", "fraud-v42": "0", "fraud-arm": "20"}
    assert (look.data_plane, look.samples["42"]) == ("moved", 0)
    assert 400 < look.samples["41"] < 560  # 80 % of 600, 8 standard deviations each way


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        *(("50", 50), ("50.7", 50), ("1e2", 100), (" 50", 50), ("+50", 50), ("0x10", 16), (".5e2", 50), ("50.", 50)),
        *((text, 90) for text in ("true", "-5", "50%", "nan", "inf", "abc", "0x", "1_0")),
    ],
)
async def test_a_runtime_value_is_read_the_way_envoy_takes_it(
    start: Start, send: Send, value: str, weight: int
) -> None:
    process = await start({"fraud-v41": 0, "fraud-v42": 90})
    async with adapter(process) as envoy:
        await process.set_weights({"fraud-v42": value, "fraud-v41": 100})  # type: ignore[dict-item]  # as sent by hand
        split = (await envoy.read()).split
        before = await envoy.reading()
        await send(process.port, 400)
        after = await envoy.reading()
    assert split.share("42") == (Decimal(weight) * 100 / (100 + weight)).quantize(Decimal("0.0001"))
    served = after.requests["42"] - before.requests["42"]
    assert abs(served - 4 * float(split.share("42"))) < 60  # 6 standard deviations of 400 draws


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"fraud-v41": 0, "fraud-v42": 0}, "Every weight of route is 0, so every request gets 404."),
        ({"fraud-v42": 2**32}, "sum to 4294967396, more than Envoy can add up, so every request fails."),
    ],
)
async def test_weights_that_fail_every_request_are_no_split(
    start: Start, send: Send, weights: dict[str, int], sentence: str
) -> None:
    process = await start({"fraud-v41": 100, "fraud-v42": 90})
    await process.set_weights(weights)
    assert await send(process.port, 20) == 0
    async with adapter(process) as envoy:
        with pytest.raises(Blocked) as told:
            await envoy.read()
    assert sentence in str(told.value)


weights_of_routes = st.dictionaries(
    st.sampled_from(["fraud-v41", "fraud-v42", "arm-a", "arm-b"]), st.integers(0, 1000)
).map(lambda used: {"fraud-v41": 0, "fraud-v42": 1, **used})


@given(weights_of_routes.filter(lambda used: sum(used.values()) > 0))
def test_moving_only_ever_changes_the_two_versions_and_never_the_sum(used: dict[str, int]) -> None:
    scale = Scale("route", VERSIONS)
    goal = scale.split(Route(used, used)).moved("42", "41")
    weights = scale.weights(goal, used)
    assert sum(weights.values()) == sum(used.values())
    assert weights["fraud-v42"] == 0
    assert {name: weights[name] for name in used if name.startswith("arm")} == {
        name: weight for name, weight in used.items() if name.startswith("arm")
    }
    assert scale.at(goal, Look((("here", Route(weights, weights)),)))


# ── where a write would move nothing ──────────────────────────────────────────────────────────────────────────────────


class Layered(EnvoyProcess):
    """An Envoy whose admin layer is not the last: another one above it holds our key."""

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        config["layered_runtime"]["layers"].append({"name": "pinned", "static_layer": {f"{PREFIX}.fraud-v42": 90}})
        return config


class Adminless(EnvoyProcess):
    """An Envoy without an admin layer."""

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        config["layered_runtime"]["layers"].pop()
        return config


class Uncounted(EnvoyProcess):
    """An Envoy that keeps no counters of the bad cluster, the way a mesh trims them."""

    def _config(self) -> dict[str, Any]:
        matcher = {"exclusion_list": {"patterns": [{"prefix": "cluster.fraud-v42.upstream_rq"}]}}
        return {**super()._config(), "stats_config": {"stats_matcher": matcher}}


@pytest.mark.parametrize(
    ("kind", "blocker"),
    [
        (Layered, "Layer pinned of Envoy at {} sets these keys above the admin layer."),
        (Adminless, "Envoy at {} has no admin layer."),
    ],
)
async def test_a_key_that_cannot_win_blocks_and_a_write_is_rejected(
    start: Start, kind: type[EnvoyProcess], blocker: str
) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90}, kind=kind)
    async with adapter(process) as envoy:
        assert messages(await envoy.preflight(), "blocker") == [blocker.format(f"127.0.0.1:{process.admin_port}")]
        result = await envoy.apply(await planned(envoy))
        left = (await envoy.read()).split.share("42")
    assert result.outcome is Outcome.REJECTED
    assert left > 0
    assert f"42 {left}\u00a0%" in result.detail


async def test_an_envoy_that_can_be_moved_has_no_blocker(start: Start) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90})
    await process.set_weights({"fraud-v41": 20, "fraud-v42": 80})
    async with adapter(process) as envoy:
        findings = await envoy.preflight()
    assert messages(findings, "blocker") == []
    assert messages(findings, "warning") == [
        "The weights in use are overrides; an Envoy that restarts goes back to its written weights."
    ]


async def test_a_version_envoy_does_not_count_is_never_called_gone(start: Start, send: Send) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90}, kind=Uncounted)
    async with adapter(process) as envoy:
        findings = await envoy.preflight()
        plan = await planned(envoy)
        baseline = await envoy.reading()
        await send(process.port, 300)  # nine tenths go to the bad version, and nobody sees it
        look = await envoy.verify(plan, baseline)
    assert "Envoy keeps no counter of fraud-v42, so nobody can tell whether traffic moved." in messages(
        findings, "warning"
    )
    assert (look.data_plane, look.detail) == ("inconclusive", "Nothing counts the requests of version 42.")


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            {"runtime_key_prefix": "routing.misspelt"},
            "reads weights under routing.misspelt; it reads routing.split.fraud.",
        ),
        (
            {"versions": {"41": "fraud-v41", "43": "fraud-v43"}},
            "has no cluster fraud-v43; it has fraud-v41 and fraud-v42.",
        ),
        ({"versions": {"a": "x", "b": "y"}}, "has no weighted route to x and y."),
    ],
)
async def test_a_name_envoy_does_not_know_is_told_with_what_it_knows(
    start: Start, keys: dict[str, Any], sentence: str
) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90})
    async with adapter(process, **keys) as envoy:
        with pytest.raises(NotFound) as told:
            await envoy.read()
    assert sentence in str(told.value)


@pytest.mark.parametrize("address", ["127.0.0.1:9901", "ftp://envoy:9901", "http://"])
def test_an_address_that_is_none_is_refused_at_the_start(address: str) -> None:
    with pytest.raises(ValidationError, match="must be an address such as"):
        EnvoyConfig.model_validate({"admin": [address], "runtime_key_prefix": "p", "versions": VERSIONS})


# ── restarts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_restart_forgets_the_override_and_the_counters_and_neither_is_called_moved(
    start: Start, send: Send
) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90})
    async with adapter(process) as envoy:
        plan = await planned(envoy)
        await envoy.apply(plan)
        baseline = await envoy.reading()
        await process.stop()
        with pytest.raises(Unavailable):
            await envoy.verify(plan, baseline)
        await process.start()
        await send(process.port, 50)
        look = await envoy.verify(plan, baseline)
        assert (await envoy.read()).split.share("42") == 90
    assert (look.control_plane, look.data_plane) == ("diverged", "inconclusive")
    assert "restarted" in look.detail


# ── several Envoys ────────────────────────────────────────────────────────────────────────────────────────────────────


async def two(start: Start) -> tuple[EnvoyProcess, EnvoyProcess]:
    weights = {"fraud-v41": 10, "fraud-v42": 90}
    return await start(weights), await start(weights)


async def test_every_envoy_is_moved_and_counted(start: Start, send: Send) -> None:
    first, second = await two(start)
    async with adapter(first, second) as envoy:
        plan = await planned(envoy)
        assert len(plan.calls) == 2
        assert (await envoy.apply(plan)).outcome is Outcome.APPLIED
        baseline = await envoy.reading()
        await send(first.port, 100)
        await send(second.port, 200)
        look = await envoy.verify(plan, baseline)
    assert (look.control_plane, look.data_plane) == ("converged", "moved")
    assert look.samples == {"41": 300, "42": 0}


async def test_one_envoy_that_still_sends_to_the_bad_version_is_not_hidden_by_another(start: Start, send: Send) -> None:
    first, second = await two(start)
    async with adapter(first, second) as envoy:
        plan = await planned(envoy)
        await first.set_weights({"fraud-v41": 100, "fraud-v42": 0})
        state, findings = await envoy.read(), await envoy.preflight()
        baseline = await envoy.reading()
        await send(first.port, 300)
        await send(second.port, 30)
        look = await envoy.verify(plan, baseline)
    assert state.progressing
    assert any("do not agree" in text for text in messages(findings, "warning"))
    assert look.control_plane == "progressing"
    assert look.data_plane in ("moving", "not_moved")
    assert look.samples["42"] > 10


async def test_one_envoy_that_is_down_is_no_state_and_nothing_is_sent_to_the_other(start: Start) -> None:
    first, second = await two(start)
    async with adapter(first, second) as envoy:
        plan = await planned(envoy)
        await second.stop()
        for call in (envoy.read, envoy.preflight, envoy.reading, lambda: envoy.apply(plan)):
            with pytest.raises(Unavailable, match=f"127.0.0.1:{second.admin_port} does not answer"):
                await call()
    async with adapter(first) as alone:
        assert (await alone.read()).split.share("42") == 90


@pytest.mark.parametrize("answers", [503, None])
async def test_a_write_one_envoy_took_and_another_did_not_is_read_and_finished(
    start: Start, answers: int | None
) -> None:
    first, second = await two(start)
    async with Front(second) as front, adapter(admin=[first.admin, front.url]) as envoy:
        plan = await planned(envoy)
        front.refuses, front.status = True, answers
        half = await envoy.apply(plan)
        front.refuses = False
        between = await envoy.read()
        done = await envoy.apply(plan)
        assert (await envoy.read()).split.share("42") == 0
    held = half.detail.replace("\u00a0", " ")
    assert half.outcome is Outcome.INDETERMINATE
    assert f"127.0.0.1:{first.admin_port} 42 0 %, 41 100 %; 127.0.0.1:{front.port} 42 90 %, 41 10 %." in held
    assert between.progressing
    assert done.outcome is Outcome.APPLIED


async def test_a_write_every_envoy_refuses_is_rejected(start: Start) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90})
    async with Front(process) as front, adapter(admin=[front.url]) as envoy:
        plan = await planned(envoy)
        front.refuses = True
        result = await envoy.apply(plan)
    assert result.outcome is Outcome.REJECTED
    assert f'Envoy at 127.0.0.1:{front.port} answered 503: "no writes here".' in result.detail


class Front:
    """A proxy before an Envoy's admin: slow if told so, and it refuses writes, with a status or without a word."""

    def __init__(self, envoy: EnvoyProcess) -> None:
        self.delay, self.refuses, self.port = 0.0, False, 0
        self.status: int | None = 503
        self._envoy = envoy

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._http.close()

    async def _pass(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay)
        if request.method == "POST" and self.refuses:
            if self.status is None and request.transport is not None:
                request.transport.abort()
            return web.Response(status=self.status or 500, text="no writes here")
        url = URL(f"{self._envoy.admin}{request.raw_path}", encoded=True)
        async with self._http.request(request.method, url) as answer:
            return web.Response(status=answer.status, body=await answer.read())


# ── the route file ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_route_file_keeps_its_rights_and_leaves_nothing_beside_it(start: Start) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90}, rds=True)
    process.rds_path.chmod(0o640)
    there = sorted(process.folder.iterdir())
    async with from_file(process) as envoy:
        assert (await envoy.apply(await planned(envoy))).outcome is Outcome.APPLIED
    assert process.rds_path.stat().st_mode & 0o777 == 0o640
    assert sorted(process.folder.iterdir()) == there


async def test_a_new_version_of_the_file_is_what_envoy_says_it_runs(
    start: Start, asked: Callable[[str], Awaitable[Any]]
) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90}, rds=True)
    async with from_file(process) as envoy:
        await envoy.apply(await planned(envoy))
    dump = await asked(f"{process.admin}/config_dump?resource=dynamic_route_configs")
    written = json.loads(process.rds_path.read_bytes())
    assert [one["version_info"] for one in dump["configs"]] == [written["version_info"]]
    assert written["version_info"] != "start"


async def test_a_file_envoy_refuses_is_put_back(start: Start) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90}, rds=True)
    content = json.loads(process.rds_path.read_bytes())
    content["resources"][0]["virtual_hosts"].append({**content["resources"][0]["virtual_hosts"][0], "name": "twin"})
    process.rds_path.write_text(json.dumps(content))  # in place, so Envoy does not see it: two hosts claim one domain
    before = process.rds_path.read_bytes()
    async with from_file(process) as envoy:
        result = await envoy.apply(await planned(envoy))
    assert result.outcome is Outcome.REJECTED
    assert result.detail.startswith("Envoy refused the route file.")
    assert result.detail.endswith(f"{process.rds_path} is put back.")
    assert process.rds_path.read_bytes() == before


async def test_a_file_envoy_does_not_watch_is_put_back_in_time(start: Start, tmp_path: Path) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90}, rds=True)
    other = tmp_path / "other.json"
    other.write_bytes(process.rds_path.read_bytes())
    async with Front(process) as front, from_file(process, admin=[front.url], rds_path=str(other), timeout=5) as envoy:
        plan = await planned(envoy)
        front.delay = 0.3
        async with asyncio.timeout(5):
            result = await envoy.apply(plan)
    assert result.outcome is Outcome.REJECTED
    assert result.detail.startswith("Envoy answered and did not change.")
    assert other.read_bytes() == process.rds_path.read_bytes()


async def test_a_route_file_that_is_a_link_blocks(start: Start, tmp_path: Path) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90}, rds=True)
    link = tmp_path / "link.json"
    link.symlink_to(process.rds_path)
    async with from_file(process, rds_path=str(link)) as envoy:
        found = messages(await envoy.preflight(), "blocker")
    assert found == [f"{link} is a link, so whoever sets it decides what Envoy reads."]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("{", "is not JSON"), ("[]", "holds no JSON object"), ("{}", "has no weighted route to fraud-v41 and fraud-v42")],
)
async def test_a_file_that_is_no_route_file_is_told(start: Start, content: str, sentence: str) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90}, rds=True)
    async with from_file(process) as envoy:
        process.rds_path.write_text(content)
        with pytest.raises(AdapterError, match=sentence):
            await envoy.read()
        process.rds_path.unlink()
        with pytest.raises(Unavailable, match="cannot be read: No such file"):
            await envoy.read()


ROUTE = {"clusters": [{"name": "fraud-v41", "weight": 10}, {"name": "fraud-v42", "weight": 90}]}


def written_to(path: Path, **more: Any) -> RouteFile:
    path.write_text(json.dumps({"version_info": "1", "resources": [{"weighted_clusters": ROUTE}], **more}))
    return RouteFile(str(path), CLUSTERS)


def test_a_file_somebody_changed_since_it_was_read_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    file = written_to(path)
    _, fingerprint = file.routes()
    theirs = written_to(path, comment="theirs").content()
    with pytest.raises(TokenMoved, match="Somebody else changed"):
        file.replace(lambda used: dict.fromkeys(used, 1), fingerprint)
    assert file.content() == theirs


def test_what_somebody_else_wrote_after_us_is_not_put_back_over(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    file = written_to(path)
    swap = file.replace(lambda used: dict.fromkeys(used, 1), file.routes()[1])
    theirs = written_to(path, comment="theirs").content()
    assert file.put_back(swap).endswith("was changed meanwhile by somebody else and is left.")
    assert file.content() == theirs
    path.unlink()
    assert "could not be put back" in file.put_back(swap)


def test_everything_in_the_file_but_weights_and_version_stays(tmp_path: Path) -> None:
    file = written_to(tmp_path / "routes.json", comment="ours", nonce="7")
    swap = file.replace(lambda used: {name: 100 * (name == "fraud-v41") for name in used}, file.routes()[1])
    before, after = json.loads(swap.before), json.loads(swap.after)
    assert [one["weight"] for one in after["resources"][0]["weighted_clusters"].pop("clusters")] == [100, 0]
    before["resources"][0]["weighted_clusters"].pop("clusters")
    assert before.pop("version_info") != after.pop("version_info")
    assert before == after


# ── what is left behind ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_override_is_left_behind_until_the_written_weights_say_the_same(start: Start) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90})
    async with adapter(process) as envoy:
        plan = await planned(envoy)
        assert await envoy.left(plan) == ""
        await envoy.apply(plan)
        assert plan.leaves.startswith(f"a runtime override of {PREFIX}.* in Envoy.")
        assert f"{PREFIX}.fraud-v42=" in plan.leaves_by_hand
        assert await envoy.left(plan) == plan.leaves
    mended = await start({"fraud-v41": 100, "fraud-v42": 0})
    async with adapter(mended) as envoy:
        await mended.set_weights({"fraud-v41": 100, "fraud-v42": 0})
        assert await envoy.left(plan) == ""


async def test_one_envoy_of_two_that_still_needs_its_override_is_enough(start: Start) -> None:
    mended, stale = await start({"fraud-v41": 100, "fraud-v42": 0}), await start({"fraud-v41": 10, "fraud-v42": 90})
    async with adapter(mended, stale) as envoy:
        plan = await planned(envoy)
        await stale.set_weights({"fraud-v41": 100, "fraud-v42": 0})
        assert await envoy.left(plan) == plan.leaves


async def test_an_envoy_that_does_not_answer_cannot_say_what_is_left(start: Start) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90})
    async with adapter(process) as envoy:
        plan = await planned(envoy)
        await process.stop()
        with pytest.raises(AdapterError):
            await envoy.left(plan)


async def test_a_route_file_is_the_configuration_and_leaves_nothing(start: Start) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90}, rds=True)
    async with from_file(process) as envoy:
        plan = await planned(envoy)
        assert (plan.leaves, plan.leaves_by_hand, await envoy.left(plan)) == ("", "", "")


async def test_the_command_that_clears_an_override_holds_no_credential(start: Start) -> None:
    process = await start({"fraud-v41": 10, "fraud-v42": 90})
    guarded = process.admin.replace("://", "://me:secret@")
    async with adapter(process, admin=[guarded]) as envoy:
        plan = await planned(envoy)
    assert plan.leaves_by_hand.startswith("curl --netrc -X POST ")
    assert "secret" not in plan.leaves_by_hand
