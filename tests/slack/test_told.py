"""A step that tells people calls them in the thread, once, when its turn comes."""

from __future__ import annotations

from bot.domain import entries as e
from bot.domain.plan import PlanStep
from bot.domain.traffic import Outcome
from bot.slack.thread import moments
from tests.slack.stories import CLAIM, PLAN, decided, incident, opened, recorded
from tests.slack.test_cards import facts

TELLS = PLAN.but(
    steps=(
        PlanStep(name="route", target="route"), PlanStep(name="S0PAY", target="S0PAY", kind="tell", after=("route",)),
        PlanStep(name="purge", target="purge", kind="tell", after=("S0PAY",)),
    )
)  # fmt: skip


def told(*steps: str) -> list[str]:
    applied = [
        entry
        for step in steps
        for entry in (
            e.StepStarted(step=step, attempt=1, owner="x", deadline=CLAIM_AT),
            e.StepApplied(step=step, attempt=1, outcome=Outcome.APPLIED, detail=f"{step} is told."),
        )
    ]
    story = (opened(), e.PlanMade(plan=TELLS), decided("auto").but(plan=TELLS.id), CLAIM.but(plan=TELLS.id, people=()), *applied)  # fmt: skip
    return [text for kind, text in moments(incident(story), recorded(story), facts(story)) if ".told." in kind]


CLAIM_AT = recorded((opened(),))[0].at


def test_a_user_group_is_called_with_where_the_model_goes() -> None:
    assert told("S0PAY") == ["<!subteam^S0PAY> fraud-scorer in prod goes back, 42 → 41."]


def test_an_action_and_a_target_call_nobody() -> None:
    assert told("route", "purge") == []
