"""What the outside relies on, asked of the whole application: readiness, the lanes, the JSON, nothing lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson
import pytest

from bot.clock import SystemClock
from bot.domain.alert import RawRequest
from bot.domain.entries import PolicyLoaded
from bot.domain.incident import Phase
from bot.ids import UlidIds
from bot.ports import Append, Work, Write
from bot.store.schema import migrate
from bot.store.timeline import Store
from bot.web.openapi import ACT, ANSWERS, GATE, Incidents, ShownIncident, ShownRequest, Unrouted
from tests.story.site import TOKEN, Site, alert_body, site


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as running:
        cast("dict[str, str]", running.app.settings.environ)["LASTGOOD_API_TOKEN"] = "api"
        yield running


async def get(here: Site, path: str) -> tuple[int, Any]:
    return await ask(here, "GET", path, headers={"Authorization": "Bearer api"})


async def ask(here: Site, method: str, path: str, **keys: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"http://127.0.0.1:{here.app.port}{path}", **keys) as answer,
    ):
        raw = await answer.read()
        return answer.status, orjson.loads(raw) if answer.content_type == "application/json" else raw.decode()


async def send(here: Site, source: str, body: Any) -> tuple[int, Any]:
    return await ask(here, "POST", f"/hooks/{source}", json=body, headers={"Authorization": f"Bearer {TOKEN}"})


async def taken(here: Site, source: str, body: Any) -> dict[str, Any]:
    """Send a message and give its record once it was looked at."""
    status, answer = await send(here, source, body)
    assert status == 202
    async with asyncio.timeout(60):
        while True:
            _, record = await get(here, f"/api/v1/inbound/{answer['id']}")
            if record["outcome"] != "pending":
                assert record["outcome"] == answer["outcome"]
                return dict(record)
            await asyncio.sleep(0.02)


async def test_a_process_that_can_write_and_decide_is_ready(here: Site) -> None:
    checks = dict.fromkeys(("timeline", "engine", "policy", "clock", "not_draining"), True)
    assert await get(here, "/readyz") == (200, {"ok": True, "checks": checks})
    assert await get(here, "/healthz") == (200, {"ok": True, "checks": {"engine": True}})


async def test_a_timeline_held_by_another_is_not_ready_and_what_was_refused_is_never_stored(here: Site) -> None:
    holder = sqlite3.connect(here.folder / "t.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    began = asyncio.get_running_loop().time()
    ready, sent = await asyncio.gather(get(here, "/readyz"), send(here, "generic", {"model": "fraud-scorer"}))
    assert asyncio.get_running_loop().time() - began < 3
    assert (ready[0], ready[1]["checks"]["timeline"]) == (503, False)
    assert (sent[0], sent[1]["outcome"]) == (503, "unavailable")
    assert (await get(here, "/healthz"))[0] == 200
    holder.execute("ROLLBACK")
    holder.close()
    async with asyncio.timeout(60):
        while (await get(here, "/readyz"))[0] != 200:
            await asyncio.sleep(0.05)
    assert await here.app.store.query("SELECT count(*) FROM inbound") == [(0,)]
    assert (await send(here, "generic", {"model": "fraud-scorer"}))[0] == 202


async def test_other_files_loaded_elsewhere_make_this_process_unready(here: Site) -> None:
    (last,) = await here.app.store.read("system/policy")
    newer = PolicyLoaded(digest="ab" * 32, generation=2)
    await here.app.store.append(Append(writes=(Write("system/policy", (newer,), last.epoch),)))
    status, content = await get(here, "/readyz")
    assert (status, content["checks"]["policy"]) == (503, False)


async def test_a_process_that_is_stopping_is_not_ready_and_takes_nothing(here: Site) -> None:
    here.app.draining = True
    status, content = await get(here, "/readyz")
    assert (status, content["checks"]["not_draining"]) == (503, False)
    assert (await send(here, "generic", {"model": "fraud-scorer"}))[1]["outcome"] == "draining"


async def test_what_led_nowhere_is_shown_once_with_its_reason(here: Site) -> None:
    watchdog = alert_body("firing", "w", "2026-11-23T02:00:00Z", alertname="Watchdog", model="")
    for _ in range(3):
        await taken(here, "alertmanager", watchdog)
    stranger = await taken(here, "generic", {"model": "fraud-sc\u043erer", "fingerprint": "s"})
    await taken(here, "generic", {"model": "fraud-scorer", "status": "maybe"})
    status, page = await get(here, "/api/v1/inbound")
    assert (status, len(Unrouted.model_validate(page).inbound)) == (200, 3)
    assert [(row["outcome"], row["error"], row["times"]) for row in page["inbound"]] == [
        ("quarantined", "/status: status 'maybe' is none of firing, alerting, resolved, ok", 1),
        ("accepted", "generic:s: model 'fraud-sc\u043erer' is not registered", 1),
        ("accepted", "alertmanager:w names no model", 3),
    ]
    assert page["inbound"][1] == {
        **stranger,
        "times": 1,
        "received_at": page["inbound"][1]["received_at"],
    }
    _, rest = await get(here, f"/api/v1/inbound?before={page['inbound'][1]['id']}")
    assert [row["times"] for row in rest["inbound"]] == [3]
    assert await here.app.store.incidents() == []
    assert here.effects() == []


async def test_a_record_has_the_promised_keys_and_the_alert_as_it_was_read(here: Site) -> None:
    record = await taken(here, "alertmanager", alert_body("firing", "f1", "2026-11-23T02:00:00Z"))
    assert list(record) == ["id", "source", "outcome", "error", "alerts"]
    (alert,) = ShownRequest.model_validate(record).alerts
    assert (alert.fingerprint, alert.model, alert.environment, alert.value) == (
        "alertmanager:f1", "fraud-scorer", "prod", 0.12,
    )  # fmt: skip
    assert record["alerts"][0]["raw"] == {"id": record["id"], "pointer": "/alerts/0"}


async def test_the_answers_are_what_the_description_says(here: Site) -> None:
    await here.alert()
    await here.card_shows("Waiting")
    _, page = await get(here, "/api/v1/incidents")
    (listed,) = Incidents.model_validate(page).incidents
    assert set(page["incidents"][0]) == {"id", "model", "environment", "phase", "from", "to", "opened_at"}
    assert (listed.phase, listed.from_, listed.to) == ("waiting", "42", "41")
    status, whole = await get(here, f"/api/v1/incidents/{listed.id[-6:].lower()}")
    assert (status, whole["id"], whole["verdicts"]["recovered"]) == (200, listed.id, "not_yet")
    assert ShownIncident.model_validate(whole).plan is not None
    assert await get(here, f"/api/v1/incidents?before={listed.id}") == (200, {"incidents": []})
    assert (await get(here, "/api/v1/incidents/zzzzzz"))[0] == 404
    _, described = await get(here, "/api/v1/openapi.json")
    assert set(described["paths"]) == {*ANSWERS, ACT, GATE}
    assert 'incidents_open{phase="waiting"} 1.0' in (await get(here, "/metrics"))[1]


async def test_every_reference_of_the_description_leads_somewhere(here: Site) -> None:
    _, described = await get(here, "/api/v1/openapi.json")

    def references(found: Any) -> list[str]:
        if isinstance(found, list):
            return [one for child in found for one in references(child)]
        if not isinstance(found, dict):
            return []
        own = [found["$ref"]] if "$ref" in found else []
        return own + [one for child in found.values() for one in references(child)]

    refs = references(described)
    assert len(refs) > 8
    for ref in refs:
        found = described
        for part in ref.removeprefix("#/").split("/"):
            found = found[part]


async def test_what_was_answered_202_before_a_crash_is_processed_once_after_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    migrate(url)
    clock = SystemClock()
    async with Store(url, clock) as crashed:  # stored and due, and then the process was gone
        body = orjson.dumps(alert_body("firing", "f1", "2026-11-23T02:00:00Z"))
        raw = RawRequest(id=UlidIds(clock).ulid(), source="alertmanager", received_at=clock.now(), body=body)
        await crashed.receive(raw)
    for _ in range(2):  # and another crash, or none
        async with site(tmp_path) as here:
            await here.until(Phase.WAITING)
            assert len(await here.app.store.incidents()) == 1
            assert await here.app.store.query(
                "SELECT notify_count FROM occurrence WHERE fingerprint LIKE 'alertmanager:%'"
            ) == [(1,)]
            await here.app.store.wake([Work("inbound", f"inbound/{raw.id}", clock.now())])


async def test_an_end_and_its_beginning_at_once_leave_nothing_firing(here: Site) -> None:
    async def one(number: int, status: str) -> None:
        body = {"model": "fraud-scorer", "fingerprint": f"k{number}", "status": status}
        await send(here, "generic", {**body, "starts_at": "2026-11-23T02:00:00Z", "ends_at": "2026-11-23T02:01:00Z"})

    await asyncio.gather(*(one(number, status) for number in range(25) for status in ("resolved", "firing")))
    async with asyncio.timeout(60):
        while await here.app.store.pending():
            await asyncio.sleep(0.02)
    for stream in await here.app.store.incidents():
        assert (await here.app.world.incident(stream)).firing == ()
