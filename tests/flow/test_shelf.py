"""A registry in the corridor: it rejects with reasons, it never lets a doubt pass silently, and what it says is written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Self

import pytest
from pydantic import BaseModel

from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.domain.registry import Registered, Shelf
from bot.flow.facts import gather
from bot.flow.observe import observe
from tests.flow.corridor import STREAM, Corridor, NoKeys

USE = {"source": "shelf", "name": "fraud", "gates": ["fairness"], "inputs": ["amount"]}


class OnShelf:
    """A registry that says what a test wants."""

    kind: ClassVar[str] = "shelf"
    Config: ClassVar[type[BaseModel]] = NoKeys

    def __init__(self, says: Shelf) -> None:
        self.says = says

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *why: object) -> None:
        pass

    async def look(self, name: str) -> Shelf:
        assert name == "fraud"
        return self.says


def versions(**changed: dict[str, Any]) -> Shelf:
    """Versions 40 to 42, each well unless told otherwise: `versions(v41={"scan": "findings"})`."""
    well = {"gates": {"fairness": True}, "inputs": ("amount",), "scan": "clean"}
    made = {
        name: Registered.model_validate({"version": name, "digest": f"d{name}", **well, **changed.get(f"v{name}", {})})
        for name in ("40", "41", "42")
    }
    return Shelf(versions=made)


def corridor(says: Shelf, **keys: Any) -> tuple[Corridor, OnShelf]:
    here = Corridor(versions=("40", "41", "42"), place={"registry": USE, **keys.pop("place", {})}, **keys)
    shelf = OnShelf(says)
    registries: Any = {"shelf": shelf}
    here.world = replace(here.world, registries=registries)
    return here, shelf


async def planned(here: Corridor) -> e.PlanMade:
    stream = await here.fire()
    await here.run(stream, until=Phase.WAITING)
    made: e.PlanMade = here.last(stream, e.PlanMade)
    return made


async def test_the_version_that_served_and_is_well_is_chosen_with_what_is_known_of_it() -> None:
    here, _ = corridor(versions())
    made = await planned(here)
    plan = made.plan
    assert (plan.to_version, plan.artefact, plan.scan, plan.signature_fits) == ("41", "d41", "clean", True)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"scan": "findings"}, "its scan has findings"),
        ({"gates": {"fairness": False}}, "it failed fairness"),
        ({"inputs": ("amount", "iban")}, "it needs iban, which requests do not bring"),
    ],
)
async def test_what_speaks_against_a_version_is_listed_and_it_is_not_gone_back_to(wrong: Any, reason: str) -> None:
    here, _ = corridor(versions(v41=wrong))
    stream = await here.fire()
    incident = await here.run(stream, until=Phase.STUCK)
    blocked = here.last(stream, e.PlanBlocked)
    assert {one.version: one.reason for one in blocked.candidates}["41"] == reason
    assert blocked.mend
    assert incident.phase is Phase.STUCK
    assert here.shifts == 0


async def test_a_version_whose_artefact_changed_since_it_served_is_rejected() -> None:
    here, shelf = corridor(versions())
    here.targets["route"].move({"41": 100})
    await observe(STREAM, here.world)
    here.clock.advance(1200)
    here.targets["route"].move({"42": 100})
    await observe(STREAM, here.world)
    shelf.says = versions(v41={"digest": "other"})
    stream = await here.fire()
    await here.run(stream, until=Phase.STUCK)
    reasons = {one.version: one.reason for one in here.last(stream, e.PlanBlocked).candidates}
    assert reasons["41"] == "its artefact is other now and was d41 when it served"


async def test_a_registry_that_cannot_tell_is_a_warning_on_the_plan() -> None:
    here, _ = corridor(Shelf(reason="MLflow does not answer"))
    made = await planned(here)
    told = [one.message for one in made.plan.findings if one.level == "warning"]
    assert "The registry cannot tell about 41: MLflow does not answer." in told
    assert (made.plan.scan, made.plan.signature_fits) == (None, None)


async def test_tags_choose_a_version_and_name_the_trade_off() -> None:
    says = versions(v40={"tags": {"size": "small"}, "metrics": {"auc": 0.91}}, v42={"metrics": {"auc": 0.94}})
    here, _ = corridor(says, rollback={"to": {"tags": {"size": "small"}}})
    made = await planned(here)
    assert made.plan.to_version == "40"
    assert "The trade-off: auc 0.94 → 0.91." in [one.message for one in made.plan.findings]
    assert {one.version: one.reason for one in made.candidates}["41"] == "without the tags that are wanted"


async def test_tags_without_an_answer_block_and_say_why() -> None:
    here, _ = corridor(Shelf(reason="MLflow does not answer"), rollback={"to": {"tags": {"size": "small"}}})
    stream = await here.fire()
    await here.run(stream, until=Phase.STUCK)
    assert (
        here.last(stream, e.PlanBlocked).reason == "Cannot tell which versions are size=small: MLflow does not answer."
    )


async def test_policy_is_told_what_the_registry_says() -> None:
    here, _ = corridor(versions())
    stream = await here.fire()
    await here.run(stream, until=Phase.WAITING)
    facts = await gather(await here.incident(stream), await here.world.ledger(STREAM), here.world)
    assert (facts["target_scan"], facts["target_signature_fits"]) == ("clean", True)


async def test_an_alias_somebody_moved_is_written_down_once() -> None:
    here, shelf = corridor(versions())
    shelf.says = shelf.says.but(aliases={"champion": "42"})
    for _ in range(2):
        await observe(STREAM, here.world)
    shelf.says = shelf.says.but(aliases={"champion": "41"})
    await observe(STREAM, here.world)
    shelf.says = shelf.says.but(aliases={}, reason="MLflow does not answer")
    await observe(STREAM, here.world)
    moves = [(one.version, one.before) for one in here.entries(STREAM) if isinstance(one, e.RegistryChanged)]
    assert moves == [("42", ""), ("41", "42")]
    assert (await here.world.ledger(STREAM)).aliases == {"champion": "41"}
