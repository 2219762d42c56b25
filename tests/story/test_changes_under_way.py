"""Policy that changes while people vote: the plan made under it is void, says so, and the next one follows the new rules."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from tests.story.site import Site, site

pytestmark = pytest.mark.story


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


def edit(here: Site, before: str, after: str) -> None:
    file = here.folder / "lastgood.yaml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


async def plan_of(here: Site, plans: int) -> Incident:
    async with asyncio.timeout(60):
        while True:
            found = await here.incident()
            if found is not None and found.plans >= plans and found.phase is Phase.WAITING:
                return found
            await asyncio.sleep(0.05)


async def test_RT25_a_change_of_its_own_rule_voids_the_plan_and_the_card_says_so(here: Site) -> None:
    await here.alert()
    card = await here.card_shows("Waiting")
    first = await plan_of(here, 1)
    reply = await here.slack.click("U0PRIYA", "approve", card["ts"])
    assert reply.status == 200
    await here.card_shows("1 of 2")
    edit(here, "{role: sre}, {role: owner}", "{role: owner}")
    second = await plan_of(here, 2)
    assert first.plan is not None
    assert second.plan is not None
    assert second.plan.id != first.plan.id
    assert second.votes == ()
    assert [place.role for place in second.decision.require] == ["owner"] if second.decision else False
    entries = [row.entry for row in await here.app.store.read(second.stream)]
    (voided,) = [one for one in entries if isinstance(one, e.PlanVoided)]
    assert "Policy or roles changed" in voided.reason
    assert (await here.card_shows("0 of 1"))["ts"] == card["ts"]
    loaded = [row.entry for row in await here.app.store.read("system/policy")]
    assert [one.generation for one in loaded if isinstance(one, e.PolicyLoaded)] == [1, 2]


async def test_RT25_a_change_that_concerns_another_model_leaves_the_plan_and_its_votes(here: Site) -> None:
    await here.alert()
    card = await here.card_shows("Waiting")
    await here.slack.click("U0PRIYA", "approve", card["ts"])
    await here.card_shows("1 of 2")
    edit(
        here,
        "  rules:\n",
        '  rules:\n    - {id: other, models: ["ranker-*"], mode: approve, require: [{role: owner}]}\n',
    )
    async with asyncio.timeout(60):
        while here.app.world.generation == 1:
            await asyncio.sleep(0.05)
    await here.slack.click("U0ANA", "approve", card["ts"])
    found = await here.until(Phase.MOVED, Phase.RECOVERED, Phase.CLOSED)
    assert (found.plans, len(found.votes)) == (1, 2)


async def test_a_mistake_in_the_files_leaves_the_last_good_ones_in_force(here: Site) -> None:
    edit(here, "mode: approve", "mode: aprove")
    async with asyncio.timeout(60):
        while not here.app.watch.trouble:
            await asyncio.sleep(0.05)
    await here.alert()
    found = await plan_of(here, 1)
    assert found.decision is not None
    assert found.decision.rule == "tier1"
    assert "aprove" in here.app.watch.trouble
