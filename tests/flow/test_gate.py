"""What a pipeline is told: quarantined versions serve nowhere, and while a rollback is under way nothing else moves."""

from __future__ import annotations

import pytest

from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.flow.gate import is_going_back, may_go_on, may_serve
from tests.flow.corridor import MODEL, Corridor

PROD = f"model/prod/{MODEL}"
QUARANTINED = e.VersionQuarantined(version="42", incident="incident/X", reason="rolled back in incident 7Q4RD.")


def closed(*entries: e.Entry) -> Corridor:
    here = Corridor()
    for entry in entries:
        here.memory.put(PROD, entry)
    return here


async def test_a_version_nobody_quarantined_may_serve() -> None:
    ruling = await may_serve(MODEL, "42", "prod", closed().world)
    assert (ruling.allowed, ruling.reason) == (True, f"Version 42 of {MODEL} is not quarantined in prod.")


@pytest.mark.parametrize("environment", ["prod", ""])
async def test_a_quarantined_version_may_not_and_the_reason_says_why(environment: str) -> None:
    ruling = await may_serve(MODEL, "42", environment, closed(QUARANTINED).world)
    assert not ruling.allowed
    assert ruling.reason == (
        f"Version 42 of {MODEL} is quarantined in prod: rolled back in incident 7Q4RD. A person with a role can release it."
    )
    assert (await may_serve(MODEL, "41", environment, closed(QUARANTINED).world)).allowed


async def test_a_released_version_may_serve_again() -> None:
    released = e.VersionReleased(version="42", person="U0ANA", text_ref="r", via="slack")
    assert (await may_serve(MODEL, "42", "prod", closed(QUARANTINED, released).world)).allowed


@pytest.mark.parametrize(("model", "environment"), [("rankr", ""), (MODEL, "staging")])
async def test_what_is_not_registered_is_not_allowed(model: str, environment: str) -> None:
    ruling = await may_serve(model, "42", environment, closed().world)
    assert (ruling.allowed, ruling.known) == (False, False)


async def test_a_rollout_waits_and_goes_back_while_a_rollback_is_under_way() -> None:
    here = Corridor()
    assert (await may_go_on(MODEL, "42", "prod", here.world)).allowed
    assert not (await is_going_back(MODEL, "prod", here.world)).allowed
    stream = await here.fire()
    await here.run(stream, until=Phase.WAITING)
    assert (await may_go_on(MODEL, "42", "prod", here.world)).allowed  # asked for is not yet under way
    await here.approved(stream)
    await here.run(stream, until=Phase.ROLLING)
    incident = await here.incident(stream)
    going_on, back = await may_go_on(MODEL, "", "prod", here.world), await is_going_back(MODEL, "", here.world)
    assert going_on.reason == f"The rollback of incident {incident.short} is under way, so nothing else moves."
    assert (going_on.allowed, back.allowed) == (False, True)
    assert back.reason == f"Incident {incident.short} rolls {MODEL} back, 42 → 41."
