"""Table tests of a policy: a fact is typed, a mistake has its place, and what is not written is unknown."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.domain.catalogue import Catalogue
from bot.domain.facts import FACTS
from bot.domain.model import Model
from bot.domain.policy import Policy
from bot.errors import ConfigError
from bot.policy_tests import Result, beside, completed, run, schema, value

RULES = [
    {"id": "fast", "models": ["fraud"], "when": "burn_rate >= 14.4", "for": "2m", "mode": "auto"},
    {"id": "age", "when": 'now - deployed_at < duration("1h")', "mode": "notify"},
    {"id": "prod", "environments": ["prod"], "mode": "approve", "require": [{"role": "sre", "count": 2}], "reason": True},
    {"id": "default", "mode": "approve", "require": [{"role": "sre"}]},
]  # fmt: skip
MODEL = Model.model_validate({"tier": 1, "environments": {"prod": {"targets": {"route": {"adapter": "memory"}}}}})
CATALOGUE = Catalogue({"fraud": MODEL}, Policy.model_validate({"rules": RULES}), {}, ())
CALM = {
    "model": "fraud", "environment": "prod", "now": "2026-11-27T19:00:00+01:00", "deployed_at": "2h ago", "firing_for": "5m",
    "burn_rate": 20, "observed_serving": True, "auto_rollbacks_today": 0, "would_loop": False, "flapping": False,
    "drift_only": False, "good_also_breached": False, "neighbours_breached": False, "upstream_change": False,
    "upstream_rolling": False, "target_quarantined": False,
}  # fmt: skip


def ran(folder: Path, text: str) -> list[Result]:
    path = folder / "policy-tests.yaml"
    path.write_text(text, encoding="utf-8")
    return run([(path, path.name)], CATALOGUE)


def case(folder: Path, expect: dict[str, Any], bounds: dict[str, Any] | None = None, **facts: Any) -> Result:
    one = {"name": "a case", "facts": facts, "bounds": bounds or {}, "expect": expect}
    (result,) = ran(folder, yaml.safe_dump({"defaults": CALM, "cases": [one]}).replace("'off'", "off"))
    return result


def complaints(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        ran(folder, text)
    return [
        f"{one.line}:{one.column} {one.key}: {one.message}{f' {one.hint}' if one.hint else ''}"
        for one in refused.value.problems
    ]


# ── what is decided ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("expect", "bounds", "facts"),
    [
        ({"mode": "auto", "rule": "fast"}, {}, {}),
        ({"mode": "approve", "rule": "fast", "reason": "Autopilot is off."}, {"autopilot": "off"}, {}),
        ({"mode": "notify", "rule": "fast", "reason": "Observing"}, {"observe": True}, {}),
        ({"mode": "hold", "reason": "snooze"}, {"snoozed": True}, {}),
        ({"mode": "hold", "reason": "quarantined"}, {}, {"target_quarantined": True}),
        ({"mode": "approve", "doubt": "Probably not the model"}, {}, {"upstream_change": True}),
        ({"mode": "approve", "rule": "prod", "due_in": "1m"}, {}, {"firing_for": 60}),
        ({"mode": "notify", "rule": "age"}, {}, {"burn_rate": 1, "deployed_at": "59m ago"}),
        ({"mode": "approve", "rule": "prod", "require": [{"role": "sre", "count": 2}]}, {}, {"burn_rate": 1}),
        ({"mode": "approve", "ask_reason": True, "plan_ttl": "15m"}, {}, {"burn_rate": 1}),
        ({"mode": "approve", "rule": "default"}, {}, {"burn_rate": 1, "environment": "staging"}),
    ],
)
def test_a_case_that_comes_as_expected_is_ok(
    tmp_path: Path, expect: dict[str, Any], bounds: dict[str, Any], facts: dict[str, Any]
) -> None:
    result = case(tmp_path, expect, bounds, **facts)
    assert result.differences == ()


@pytest.mark.parametrize(
    ("expect", "what", "expected", "came"),
    [
        ({"mode": "hold"}, "mode", "hold", "auto"),
        ({"rule": "prod"}, "rule", "prod", "fast"),
        ({"require": [{"role": "sre"}]}, "require", "sre", "nobody"),
        ({"confirm": True}, "confirm", "yes", "no"),
        ({"plan_ttl": "5m"}, "plan_ttl", "5m", "15m"),
        ({"reason": "nonsense"}, "reason", '"nonsense" in it', None),
    ],
)
def test_each_key_that_differs_is_said(
    tmp_path: Path, expect: dict[str, Any], what: str, expected: str, came: str | None
) -> None:
    (one,) = case(tmp_path, expect).differences
    assert (one.what, one.expected) == (what, expected)
    assert came in (None, one.came)


def test_a_reason_is_compared_with_ordinary_spaces(tmp_path: Path) -> None:
    assert case(tmp_path, {"reason": "the cooldown of 30 min"}, since_last_rollback="5m").ok


def test_a_failing_case_keeps_its_place_and_the_whole_trace(tmp_path: Path) -> None:
    result = case(tmp_path, {"mode": "hold"})
    assert (result.file, result.line > 1, result.name) == ("policy-tests.yaml", True, "a case")
    assert [one.name for one in result.decision.trace][:1] == ["rule fast"]


# ── facts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fact_that_is_not_written_is_unknown_and_no_default(tmp_path: Path) -> None:
    (result,) = ran(
        tmp_path, "cases: [{name: c, facts: {model: fraud, environment: prod}, expect: {rule: prod, reason: tier 1}}]"
    )
    assert [one.detail for one in result.decision.trace if one.name == "rule fast"] == [
        "burn_rate >= 14.4: burn_rate unknown"
    ]


def test_null_makes_a_default_unknown_again(tmp_path: Path) -> None:
    assert case(tmp_path, {"mode": "approve", "rule": "prod"}, burn_rate=None).ok


def test_the_tier_is_the_models_and_the_clock_gives_day_hour_and_blackout() -> None:
    dark = {"limits": {"blackouts": [{"name": "close", "from": "17:00", "to": "19:00", "zone": "UTC"}]}}
    catalogue = Catalogue({"fraud": MODEL}, Policy.model_validate(dark), {}, ())
    now = datetime(2026, 11, 27, 18, tzinfo=UTC)
    facts = completed({"model": "fraud", "now": now}, catalogue)
    assert facts == {"model": "fraud", "tier": 1, "now": now, "weekday": "fri", "hour": 18, "blackout": "close"}
    assert completed({"model": "fraud", "tier": 3, "now": now, "hour": 4}, catalogue)["hour"] == 4


NOW = datetime(2026, 11, 27, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "said", "read"),
    [
        ("burn_rate", 14, 14.0),
        ("firing_for", "5m", 300.0),
        ("firing_for", 12.5, 12.5),
        ("deployed_at", "2h ago", NOW - timedelta(hours=2)),
        ("deployed_at", "2026-11-27T19:00:00+01:00", NOW),
        ("breached", {"error_ratio": "2m", "p99": 3}, {"error_ratio": 120.0, "p99": 3.0}),
        ("tier", 2, 2),
        ("drill", True, True),
        ("sli", "", ""),
        ("tier", None, None),
    ],
)
def test_a_fact_is_read_as_people_write_it(name: str, said: Any, read: Any) -> None:
    found = value(name, said, NOW)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("name", "said", "why"),
    [
        ("burn_rate", "20", "must be a number"),
        ("burn_rate", "5m", "must be a number"),
        ("burn_rate", True, "must be a number"),
        ("firing_for", "soon", "must be seconds, or a duration like 5m"),
        ("deployed_at", "yesterday", "is no time; write 2026-11-27T19:00:00+01:00 or `2h ago`"),
        ("deployed_at", "2026-11-27T19:00:00", "has no zone; write it with one, like 2026-11-27T19:00:00+01:00 or …Z"),
        ("tier", True, "must be a whole number"),
        ("tier", 1.5, "must be a whole number"),
        ("drill", "yes", "must be true or false"),
        ("sli", 3, "must be text"),
        ("breached", 3, "must be keys with values: {error_ratio: 5m}"),
    ],
)
def test_a_fact_of_another_type_is_refused_with_what_it_must_be(name: str, said: Any, why: str) -> None:
    with pytest.raises(ValueError, match="^" + why.replace("(", r"\(").replace("{", r"\{").replace("+", r"\+")):
        value(name, said, NOW)


def test_every_fact_can_be_written() -> None:
    samples: dict[str, Any] = {"string": "x", "int": 1, "double": 1.0, "bool": True, "timestamp": "1m ago", "map": {}}
    assert {name for name, one in FACTS.items() if value(name, samples[one.kind], NOW) is not None} == set(FACTS)


# ── mistakes ──────────────────────────────────────────────────────────────────────────────────────────────────────

EXPECT = "expect: {mode: approve}}]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"cases: [{{name: c, facts: {{model: fraud, environment: prod, burnrate: 3}}, {EXPECT}",
         "1:60 cases[0].facts.burnrate: there is no fact `burnrate` Did you mean `burn_rate`?"),
        (f"cases: [{{name: c, facts: {{model: fraud, environment: prod, tier: high}}, {EXPECT}",
         "1:66 cases[0].facts.tier: must be a whole number"),
        (f"cases: [{{name: c, facts: {{model: fraud, environment: prod, deployed_at: 2h ago}}, {EXPECT}",
         "1:73 cases[0].facts.deployed_at: is counted from `now`, and there is no `now`"),
        (f"cases: [{{name: c, facts: {{model: fraud}}, {EXPECT}",
         "1:26 cases[0].facts: has no `environment`, and rules are for models and environments Write it in `facts` or in `defaults`."),
        (f"cases: [{{name: c, facts: {{model: ranker, environment: prod}}, {EXPECT}",
         "1:26 cases[0].facts: has no `tier`, and no model of the configuration says it Write it in `facts` or in `defaults`."),
        ("defaults: {modle: fraud}\ncases: [{name: c, facts: {model: fraud, environment: prod}, expect: {mode: approve}}]",
         "1:12 defaults.modle: there is no fact `modle` Did you mean `model`?"),
        ("cases: [{name: c, facts: {model: fraud, environment: prod}, expect: {rule: prd}}]",
         "1:76 cases[0].expect.rule: there is no rule `prd` Did you mean `prod`?"),
        (f"cases: [{{name: c, facts: {{model: fraud, environment: prod}}, bounds: {{rungs: {{fats: auto}}}}, {EXPECT}",
         "1:78 cases[0].bounds.rungs.fats: there is no rule `fats` Did you mean `fast`?"),
        ("cases: [{name: c, facts: {}, expect: {}}]",
         "1:38 cases[0].expect: expects nothing; write `mode`, `rule` or another key of the decision"),
        ("cases: [{name: c, expect: {mod: auto}}]", "1:28 cases[0].expect.mod: unknown key Did you mean `mode`?"),
        ("cases: [{name: c, expect: {mode: automatic}}]", "1:34 cases[0].expect.mode: `automatic` is not known here Did you mean `auto`?"),
        ("cases: []", "1:8 cases: must hold at least 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_with_its_place_and_what_was_meant(tmp_path: Path, text: str, said: str) -> None:
    assert complaints(tmp_path, text) == [said]


def test_the_mistakes_of_every_file_are_said_and_no_case_is_run(tmp_path: Path) -> None:
    files = [(tmp_path / name, name) for name in ("a.yaml", "b.yaml")]
    for path, name in files:
        path.write_text(f"cases: [{{name: {name}, facts: {{modle: x}}, {EXPECT}", encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        run(files, CATALOGUE)
    assert [one.file for one in refused.value.problems] == ["a.yaml", "b.yaml"]


def test_the_files_beside_the_configuration_are_found_in_order(tmp_path: Path) -> None:
    (tmp_path / "policy-tests").mkdir()
    for name in ("policy-tests/b.yaml", "policy-tests/a.yaml", "policy-tests.yaml", "policy-tests/notes.txt"):
        (tmp_path / name).touch()
    found = [one.relative_to(tmp_path).as_posix() for one in beside(tmp_path / "lastgood.yaml")]
    assert found == ["policy-tests.yaml", "policy-tests/a.yaml", "policy-tests/b.yaml"]


def test_the_example_of_the_pages_comes_as_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "policy.md").read_text(encoding="utf-8")
    part, tests = (
        re.search(rf"```yaml\n# {first}\n(.*?)```", page, re.DOTALL)
        for first in ("a part of lastgood.yaml", "policy-tests.yaml")
    )
    assert part is not None
    assert tests is not None
    told = Policy.model_validate(yaml.safe_load(part[1])["policy"])
    path = tmp_path / "policy-tests.yaml"
    path.write_text(tests[1], encoding="utf-8")
    found = run([(path, path.name)], Catalogue({"fraud-scorer": MODEL}, told, {}, ()))
    assert [one.differences for one in found] == [()] * 4


def test_the_schema_knows_what_a_file_may_hold() -> None:
    assert set(schema()["properties"]) == {"defaults", "cases"}
