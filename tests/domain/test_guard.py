"""Only the value True is true: every other way a guard can come out is no, or cannot be told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import guard
from bot.domain.facts import FACTS as KNOWN

NOW = datetime(2026, 11, 23, 3, 12, tzinfo=UTC)
ANY = {"string": "x", "int": 1, "double": 1.0, "bool": True, "timestamp": NOW, "map": {"error_ratio": 300.0}}
FACTS: dict[str, Any] = {
    **{name: ANY[fact.kind] for name, fact in KNOWN.items()},
    "model": "fraud",
    "environment": "production",
    "tier": 1,
    "severity": "critical",
    "sli": "error_ratio",
    "value": 0.08,
    "burn_rate": 14.4,
    "blast_radius": 1.0,
    "samples": 900,
    "firing_for": 300.0,
    "by_person": False,
    "observed_serving": True,
}


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("burn_rate >= 14.0", True),
        ("burn_rate < 14.0", False),
        ('tier == 1 && severity == "critical"', True),
        ("by_person", False),
        ("observed_serving", True),
        ('model.startsWith("fr")', True),
        ("true", True),
        ("false", False),
    ],
)
def test_a_guard_answers_true_or_false(source: str, holds: bool) -> None:  # noqa: FBT001  a table's column
    assert guard.ask(source, FACTS) == guard.Answer(holds)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / (tier - 1) == 1", "could not be evaluated: divide by zero"),
        ("[true][tier]", "could not be evaluated: Index error: index=1 size=1"),
        ('{"a": true}["b"]', 'could not be evaluated: the map has no "b", ask for it with `in` first'),
        (
            'breached["latency_p99"] > 1.0',
            'could not be evaluated: the map has no "latency_p99", ask for it with `in` first',
        ),
    ],
)
def test_an_error_while_evaluating_is_not_true_and_says_what_went_wrong(source: str, reason: str) -> None:
    assert guard.ask(source, FACTS) == guard.Answer(None, reason)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_guard_that_needs_an_unknown_fact_cannot_be_told(name: str) -> None:
    same = f"{name} == {name}"
    assert guard.ask(same, FACTS).holds is True
    assert guard.ask(same, {**FACTS, name: None}) == guard.Answer(None, f"{name} unknown")


def test_a_fact_that_was_never_given_is_unknown_too() -> None:
    assert guard.ask("burn_rate > 1.0", {}) == guard.Answer(None, "burn_rate unknown")


def test_an_unknown_fact_that_does_not_matter_spoils_nothing() -> None:
    assert guard.ask("burn_rate > 1.0 || tier == 1", {**FACTS, "burn_rate": None}).holds is True
    assert guard.ask("burn_rate > 1.0 && tier == 2", {**FACTS, "burn_rate": None}).holds is False


@pytest.mark.parametrize("source", ["1", '"true"', "1.0", "[true]", "null", "tier", "model"])
def test_a_guard_that_is_no_boolean_is_refused_when_it_is_loaded(source: str) -> None:
    with pytest.raises(ValueError, match="must be true or false"):
        guard.check(source)


def test_a_misspelt_fact_is_refused_when_it_is_loaded() -> None:
    with pytest.raises(ValueError, match="burnrate"):
        guard.check("burnrate > 1.0")


def test_a_whole_number_beside_a_decimal_fact_is_refused_with_the_way_to_write_it() -> None:
    with pytest.raises(ValueError, match=r"write 14\.0 for 14"):
        guard.check("burn_rate > 14")


@pytest.mark.parametrize("source", ["", "tier ==", "tier == 1 &&", "(true"])
def test_a_guard_that_is_no_expression_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        guard.check(source)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_decimal_guard_agrees_with_arithmetic(value: float, burn: float) -> None:
    assert guard.ask("value < burn_rate", {**FACTS, "value": value, "burn_rate": burn}).holds is (value < burn)


def test_a_whole_count_is_taken_as_the_decimal_its_fact_is() -> None:
    assert guard.ask("samples > 899.5", {**FACTS, "samples": 900}).holds is True


def test_a_guard_that_runs_out_of_its_budget_cannot_be_told() -> None:
    many = "[" + ",".join(["1"] * 300) + "]"
    answer = guard.ask(f"{many}.all(a, {many}.all(b, {many}.all(c, c > 0)))", FACTS)
    assert (answer.holds, answer.reason) == (None, "could not be evaluated: Iteration budget exceeded [INTERNAL]")


def test_a_condition_across_slis_asks_which_are_breached_and_for_how_long() -> None:
    both = '"error_ratio" in breached && breached["latency_p99"] > 120.0'
    assert guard.ask(both, {"breached": {"error_ratio": 5.0, "latency_p99": 121.0}}).holds is True
    assert guard.ask(both, {"breached": {"error_ratio": 5.0, "latency_p99": 120}}).holds is False
    assert guard.ask(both, {"breached": MappingProxyType({"latency_p99": 121.0})}).holds is False
    assert guard.ask(both, {"breached": {"error_ratio": 5.0}}).holds is None


@pytest.mark.parametrize(("age", "holds"), [(timedelta(minutes=119), True), (timedelta(hours=2), False)])
def test_the_age_of_a_deployment_is_a_difference_of_times(age: timedelta, holds: bool) -> None:  # noqa: FBT001  a table's column
    source = 'now - deployed_at < duration("2h")'
    assert guard.ask(source, {"now": NOW, "deployed_at": NOW - age}).holds is holds


def test_a_number_that_is_none_is_unknown_and_its_negation_is_too() -> None:
    nothing = {"burn_rate": float("nan")}
    assert guard.ask("!(burn_rate > 14.0)", nothing) == guard.Answer(None, "burn_rate unknown")


def test_only_the_facts_a_guard_names_are_called_unknown() -> None:
    answer = guard.ask("burn_rate_short > 1.0 && model != \"value\" && sli != '\\'tier'", {})
    assert answer.reason == "model, sli, burn_rate_short unknown"


@settings(deadline=None)  # the first of each guard is compiled
@given(
    st.dictionaries(
        st.sampled_from(sorted(KNOWN)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({1: "x"}),
    ),
    st.sampled_from(
        ["burn_rate > 1.0", "tier == 1", 'model == "x"', '"x" in breached', "now > deployed_at", "drift_only"]
    ),
)
def test_whatever_the_facts_hold_a_guard_answers_and_never_raises(given_facts: dict[str, Any], source: str) -> None:
    answer = guard.ask(source, given_facts)
    assert answer.holds in (True, False, None)
    assert (answer.holds is None) == bool(answer.reason)


@given(st.sampled_from(["1 / (tier - 1) == 1", 'breached["x"] > 1.0', "burn_rate > 1.0", "tier == 1"]), st.booleans())
def test_several_guards_over_the_same_facts_answer_as_each_alone(source: str, known: bool) -> None:  # noqa: FBT001  a drawn value
    facts = {**FACTS, "burn_rate": 2.0 if known else None}
    together = guard.Guards(("tier == 1", source, "burn_rate > 1.0"), facts)
    assert [together.ask(one) for one in ("tier == 1", source)] == [
        guard.ask("tier == 1", facts),
        guard.ask(source, facts),
    ]
