"""What is particular to a link: it is never missing while it is swapped, and only the server behind it is proof."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from adapters.testing import context
from adapters.traffic.symlink import LONGEST, PROBES, Symlink, SymlinkConfig
from bot.domain.traffic import Finding, Intent, Outcome, Reading, TargetPlan, TrafficSplit
from bot.errors import NotFound, Unavailable

VERSIONS = {"40": "v40", "41": "v41", "42": "v42"}


class Server:
    """Answers a probe with the version the link names, or with what `says` gives for the n-th probe."""

    def __init__(self, link: Path) -> None:
        self.link, self.says, self.probes, self.port = link, dict[int, web.StreamResponse](), 0, 0
        self.connections: set[int] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            self.connections.add(request.transport.get_extra_info("peername")[1])
        n, self.probes = self.probes, self.probes + 1
        return self.says.get(n) or web.json_response({"version": self.link.readlink().name.removeprefix("v")})


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    for where in VERSIONS.values():
        (tmp_path / where).mkdir()
    (tmp_path / "current").symlink_to("v42")
    server = Server(tmp_path / "current")
    app = web.Application()
    app.router.add_get("/version", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    yield server
    await runner.cleanup()


def adapter(server: Server, **keys: Any) -> Symlink:
    probe = f"http://127.0.0.1:{server.port}/version"
    settings = {"path": str(server.link), "versions": VERSIONS, "probe": probe, "timeout": 2, **keys}
    return Symlink(SymlinkConfig.model_validate(settings), context())


async def planned(symlink: Symlink, to: TrafficSplit | None = None) -> TargetPlan:
    state = await symlink.read()
    intent = Intent(
        to_split=to or state.split.moved("42", "41"), bad="42", good="41", reason="test", incident_id="i", idempotency_key="i/1"
    )  # fmt: skip
    return await symlink.plan(intent, state)


def texts(findings: tuple[Finding, ...], level: str) -> list[str]:
    return [one.message for one in findings if one.level == level]


# ── the swap ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nobody_ever_finds_the_link_missing_or_elsewhere(server: Server) -> None:
    seen, stop = set[str](), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(os.readlink(server.link))  # noqa: PTH115 - a missing link must raise here

    async with adapter(server) as symlink:
        there = await planned(symlink)
        back = there.but(to_split=there.before.split)
        reading = asyncio.create_task(asyncio.to_thread(read))
        outcomes = [(await symlink.apply(plan)).outcome for _ in range(100) for plan in (there, back)]
        stop.set()
        await reading
    assert set(outcomes) == {Outcome.APPLIED}
    assert seen == {"v41", "v42"}
    assert sorted(one.name for one in server.link.parent.iterdir()) == ["current", "v40", "v41", "v42"]


async def test_what_an_earlier_crash_left_beside_the_link_is_no_hindrance(server: Server) -> None:
    (server.link.parent / ".current.new").symlink_to("v40")
    async with adapter(server) as symlink:
        assert (await symlink.apply(await planned(symlink))).outcome is Outcome.APPLIED
    assert str(server.link.readlink()) == "v41"


async def test_the_link_stays_relative_so_the_tree_can_be_moved(server: Server) -> None:
    where = {name: str(server.link.parent / folder) for name, folder in VERSIONS.items()}
    async with adapter(server, versions=where) as symlink:
        await symlink.apply(await planned(symlink))
    assert str(server.link.readlink()) == "v41"


async def test_the_call_by_hand_does_what_apply_does(server: Server) -> None:
    async with adapter(server) as symlink:
        plan = await planned(symlink)
        process = await asyncio.create_subprocess_shell(plan.calls[0].by_hand)
        assert await process.wait() == 0
        assert (await symlink.apply(plan)).outcome is Outcome.NOOP


async def test_a_version_that_is_not_on_disk_is_rejected_and_nothing_changes(server: Server) -> None:
    (server.link.parent / "v41").rmdir()
    async with adapter(server) as symlink:
        assert "Version 41 is not on disk." in texts(await symlink.preflight(), "warning")
        state = await symlink.read()
        result = await symlink.apply(await planned(symlink))
    assert [one.id for one in state.revisions if not one.restorable] == ["41"]
    assert (result.outcome, str(server.link.readlink())) == (Outcome.REJECTED, "v42")


async def test_a_split_no_link_can_make_blocks(server: Server) -> None:
    half = TrafficSplit.model_validate({"weights": {"41": 50, "42": 50}})
    async with adapter(server) as symlink:
        plan = await planned(symlink, half)
        result = await symlink.apply(plan)
    assert texts(plan.findings, "blocker") == ["A link names one version, so 42 50\u00a0%, 41 50\u00a0% is impossible."]
    assert (result.outcome, str(server.link.readlink())) == (Outcome.REJECTED, "v42")


async def test_a_folder_where_the_link_should_be_is_told(server: Server) -> None:
    server.link.unlink()
    server.link.mkdir()
    async with adapter(server) as symlink:
        with pytest.raises(Unavailable, match="is not a link that can be read"):
            await symlink.read()


async def test_a_link_to_no_configured_version_is_told(server: Server) -> None:
    server.link.unlink()
    server.link.symlink_to("v39")
    async with adapter(server) as symlink:
        with pytest.raises(NotFound, match="names v39, which is no configured version"):
            await symlink.read()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"versions": {"41": "v41", "42": "./v41/"}}, "two versions name the same directory"),
        ({"versions": {}}, "at least 1"),
        ({"probe": "model:8000/version"}, "must be an address such as"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_at_the_start(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SymlinkConfig.model_validate({"path": "current", "versions": VERSIONS, **keys})


# ── the probe ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_probe_is_a_connection_of_its_own(server: Server) -> None:
    async with adapter(server) as symlink:
        await symlink.reading()
    assert (server.probes, len(server.connections)) == (PROBES, PROBES)


async def test_a_link_alone_proves_nothing(server: Server) -> None:
    async with adapter(server, probe=None) as symlink:
        plan = await planned(symlink)
        await symlink.apply(plan)
        look = await symlink.verify(plan, (await symlink.verify(plan, None)).reading)
        warnings = texts(await symlink.preflight(), "warning")
    assert (look.control_plane, look.data_plane) == ("converged", "inconclusive")
    assert warnings == ["No probe is configured, so nobody can tell what serves."]


async def test_a_server_that_kept_the_old_model_is_not_moved_whatever_the_link_says(server: Server) -> None:
    server.says = {n: web.json_response({"version": "42"}) for n in range(200)}
    async with adapter(server) as symlink:
        plan = await planned(symlink)
        await symlink.apply(plan)
        baseline = await symlink.reading()
        look = await symlink.verify(plan, baseline)
    assert (look.control_plane, look.data_plane, look.samples["42"]) == ("converged", "not_moved", PROBES)


async def moved(server: Server, *, looks: int = 1, baseline: Reading | None = None) -> tuple[str, float | None, str]:
    """Apply, and give the last of some looks."""
    async with adapter(server) as symlink:
        plan = await planned(symlink)
        await symlink.apply(plan)
        baseline = baseline or await symlink.reading()
        for _ in range(looks):
            look = await symlink.verify(plan, baseline)
    return look.data_plane, look.upper_bound_bad, look.detail


async def test_probes_without_an_answer_may_have_met_the_bad_version(server: Server) -> None:
    server.says = {PROBES + n: web.Response(status=502) for n in range(10)}
    few = await moved(server)
    assert few[0] == "moved"
    assert few[1] is not None
    assert few[1] > 10 / PROBES
    assert few[2].endswith("10 of them name no version, which may be it.")


async def test_a_server_that_tells_nothing_is_inconclusive(server: Server) -> None:
    server.says = {n: web.Response(text="hello") for n in range(200)}
    verdict, bound, _ = await moved(server)
    assert (verdict, bound) == ("inconclusive", 1.0)


async def test_a_version_nobody_configured_is_named(server: Server) -> None:
    server.says = {n: web.json_response({"version": "43"}) for n in range(200)}
    verdict, _, detail = await moved(server)
    assert verdict == "inconclusive"
    assert detail.endswith("30 of them name 43, which may be it.")


async def test_strange_answers_from_before_the_baseline_are_forgotten(server: Server) -> None:
    server.says = {n: web.json_response({"version": "43"}) for n in range(PROBES)}
    assert await moved(server) == ("moved", 0.1, "Version 42 gets 0 of 30 probes; its counter stopped at 0.")


async def test_probes_that_failed_are_outweighed_by_enough_that_did_not(server: Server) -> None:
    server.says = {PROBES + n: web.Response(status=502) for n in range(3)}
    verdict, bound, _ = await moved(server, looks=40)
    assert verdict == "moved"
    assert bound is not None
    assert bound < 0.01


async def test_a_baseline_of_an_earlier_run_of_ours_still_serves(server: Server) -> None:
    async with adapter(server) as earlier:
        baseline = await earlier.reading()
    assert (await moved(server, baseline=baseline))[0] == "moved"


async def test_a_redirect_to_another_server_is_no_answer(server: Server) -> None:
    other = f"http://127.0.0.1:{server.port}/version"
    server.says = {n: web.Response(status=302, headers={"Location": other}) for n in range(2 * PROBES)}
    verdict, _, _ = await moved(server)
    assert (verdict, server.probes) == ("inconclusive", 2 * PROBES)


async def test_an_endless_answer_is_not_read_to_its_end(server: Server) -> None:
    server.says = {n: web.Response(text='{"version": "41", "x": "' + "y" * 4 * LONGEST + '"}') for n in range(200)}
    assert (await moved(server))[0] == "inconclusive"
