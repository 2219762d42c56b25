"""A plan is what was approved: its id holds everything but what was merely seen, and a split moves one share only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.plan import Plan, PlanStep
from bot.domain.runbook import RecoveryCheck, TrafficCheck, VerifySpec
from bot.domain.traffic import Call, Finding, Revision, TargetPlan, TargetState, TrafficSplit

NOW = datetime(2026, 11, 23, 2, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)


def split(**weights: int) -> TrafficSplit:
    return TrafficSplit(weights={name.removeprefix("v"): Decimal(share) for name, share in weights.items()})


STATE = TargetState(
    target="eu", desired=split(v42=100), revisions=(Revision(id="42"), Revision(id="41")), token="7", observed_at=NOW
)
TARGET = TargetPlan(
    target="eu",
    adapter="envoy",
    before=STATE,
    to_split=split(v42=0, v41=100),
    bad="42",
    good="41",
    concurrency="strict",
)
PLAN = Plan(
    ordinal=1, incident="I", model="fraud", environment="production", from_version="42", to_version="41",
    observed_serving=True, good_since=NOW, good_until=NOW, steps=(PlanStep(name="eu", target="eu"),), targets=(TARGET,),
    resources=("envoy/eu",), on_failure="stop", verify=VerifySpec(), confirm=False, runbook="model",
    runbook_digest="r", policy_digest="p", model_digest="m", postmortem="pm",
)  # fmt: skip

SEEN = {"good_since": LATER, "good_until": LATER}
SIGNED: dict[str, Any] = {
    "ordinal": 2,
    "incident": "J",
    "model": "ads",
    "environment": "staging",
    "from_version": "43",
    "to_version": "40",
    "observed_serving": False,
    "steps": (PlanStep(name="eu", target="eu", after=("us",)),),
    "targets": (),
    "resources": ("envoy/us",),
    "on_failure": "compensate",
    "parallel": True,
    "verify": VerifySpec(recovery=RecoveryCheck(samples=4)),
    "confirm": True,
    "findings": (Finding(level="warning", message="x"),),
    "requester": "U0ANA",
    "editor": "U0TOM",
    "deployer": "U0MIKA",
    "runbook": "other",
    "artefact": "sha256:aa",
    "scan": "clean",
    "signature_fits": True,
    "capacity_enough": True,
    "runbook_digest": "s",
    "policy_digest": "q",
    "model_digest": "n",
    "postmortem": "other",
    "repair": ("Recompute the scores of the night.",),
}
TARGETS: dict[str, Any] = {
    "target": "us",
    "adapter": "istio",
    "to_split": split(v42=50, v41=50),
    "bad": "43",
    "good": "40",
    "calls": (Call(text="PUT"),),
    "findings": (Finding(level="ok", message="x"),),
    "noop": True,
    "concurrency": "none",
    "undo": split(v42=100),
    "leaves": "an override",
    "leaves_by_hand": "curl",
}
BEFORE: dict[str, Any] = {
    "target": "us",
    "desired": split(v42=99, v41=1),
    "observed": split(v42=100),
    "revisions": (Revision(id="42"),),
    "token": "8",
    "progressing": True,
    "managers": ("argo",),
}


def test_the_tables_below_leave_no_field_out() -> None:
    assert {*SIGNED, *SEEN, "scope"} == set(Plan.model_fields)
    assert {*TARGETS, "before"} == set(TargetPlan.model_fields)
    assert {*BEFORE, "observed_at"} == set(TargetState.model_fields)


def test_a_plan_does_not_change_with_the_times_of_looking() -> None:
    looked = TARGET.but(before=STATE.but(observed_at=LATER))
    assert PLAN.but(targets=(looked,), **SEEN).id == PLAN.id
    assert looked.id == TARGET.id


@pytest.mark.parametrize("name", SIGNED)
def test_a_plan_changes_with_any_field_that_is_signed(name: str) -> None:
    assert PLAN.but(**{name: SIGNED[name]}).id != PLAN.id


@pytest.mark.parametrize("name", TARGETS)
def test_a_plan_changes_with_any_field_of_a_target(name: str) -> None:
    assert PLAN.but(targets=(TARGET.but(**{name: TARGETS[name]}),)).id != PLAN.id


@pytest.mark.parametrize("name", BEFORE)
def test_a_plan_changes_with_what_was_there_before(name: str) -> None:
    before = STATE.but(**{name: BEFORE[name]})
    assert PLAN.but(targets=(TARGET.but(before=before),)).id != PLAN.id


@pytest.mark.parametrize(
    "verify",
    [
        VerifySpec(traffic=TrafficCheck(max_bad_share=0.02)),
        VerifySpec(recovery=RecoveryCheck(within=timedelta(minutes=11))),
    ],
)
def test_a_plan_changes_with_how_it_is_verified(verify: VerifySpec) -> None:
    assert PLAN.but(verify=verify).id != PLAN.id


def test_a_plan_keeps_its_id_when_it_is_written_and_read_again() -> None:
    assert Plan.model_validate_json(PLAN.model_dump_json()).id == PLAN.id


def test_people_read_the_first_eight_characters() -> None:
    assert (len(PLAN.id), PLAN.short) == (64, PLAN.id[:8])


def test_a_plan_finds_its_target_and_its_step_by_name() -> None:
    assert (PLAN.target("eu"), PLAN.step("eu")) == (TARGET, PLAN.steps[0])


@st.composite
def splits(draw: st.DrawFn) -> TrafficSplit:
    """Shares in hundredths of a percent, cut out of 100 at random places."""
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=1, max_size=5)))
    shares = [b - a for a, b in zip([0, *cuts], [*cuts, 10_000], strict=True)]
    return TrafficSplit(weights={f"{40 + n}": Decimal(share) / 100 for n, share in enumerate(shares)})


NAMES = st.permutations([f"{n}" for n in range(38, 47)])


@given(splits(), NAMES)
def test_only_the_bad_share_moves_and_experiment_arms_keep_theirs(before: TrafficSplit, names: list[str]) -> None:
    bad, good, *arms = names
    after = before.moved(bad, good)
    assert sum(after.weights.values()) == 100
    assert after.share(bad) == 0
    assert after.share(good) == before.share(bad) + before.share(good)
    assert [after.share(arm) for arm in arms] == [before.share(arm) for arm in arms]


@given(splits(), NAMES)
def test_moving_twice_is_moving_once(before: TrafficSplit, names: list[str]) -> None:
    bad, good, *_ = names
    once = before.moved(bad, good)
    assert once.moved(bad, good) == once


@pytest.mark.parametrize("weights", [{}, {"42": 99}, {"42": 101}, {"42": 110, "41": -10}])
def test_shares_that_are_no_split_are_refused(weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sum to 100"):
        TrafficSplit.model_validate({"weights": weights})


def test_a_split_reads_like_a_sentence() -> None:
    assert str(split(v41=0, v42=100)) == "42 100\u00a0%, 41 0\u00a0%"


def test_what_is_observed_goes_before_what_is_desired() -> None:
    assert STATE.split == STATE.desired
    assert STATE.but(observed=split(v41=100)).split == split(v41=100)
