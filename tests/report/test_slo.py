"""Rules made from SLIs are held to Prometheus' and Alertmanager's own tools, and whatever was not made is said."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain.model import Model
from bot.report.slo import Generated, generated, route

PROMTOOL, AMTOOL = shutil.which("promtool"), shutil.which("amtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
needs_amtool = pytest.mark.skipif(AMTOOL is None, reason="amtool is not installed (Debian: prometheus-alertmanager)")
COUNTED = {"source": "scrape", "errors": 'p_total{code="500"}', "total": "p_total", "objective": 0.02}
APART = {
    "source": "scrape", "errors": 'failed_total{version="{version}",path="/a\\"b"}', "total": 'all_total{version="{version}"}',
    "objective": 0.001,
}  # fmt: skip
QUERY = {
    "source": "prometheus",
    "query": "histogram_quantile(0.99, sum by (le)(rate(l_bucket[5m])))",
    "objective": 0.25,
}


def models(name: str = "fraud-scorer", place: str = "prod", **slis: Any) -> dict[str, Model]:
    environment = {"targets": {"route": {"adapter": "memory"}}, "slis": slis}
    return {name: Model.model_validate({"tier": 2, "environments": {place: environment}})}


def written(folder: Path, made: Generated) -> None:
    (folder / "lastgood.rules.yml").write_text(yaml.safe_dump({"groups": made.groups}))
    tests = {"rule_files": ["lastgood.rules.yml"], "evaluation_interval": "1m", "tests": made.tests}
    (folder / "lastgood.test.yml").write_text(yaml.safe_dump(tests))


def held(folder: Path, *words: str) -> str:
    done = subprocess.run([str(PROMTOOL), *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
@pytest.mark.parametrize("sli", [COUNTED, APART])
def test_the_rules_fire_when_half_of_all_requests_fail_and_are_quiet_when_none_does(
    tmp_path: Path, sli: dict[str, Any]
) -> None:
    made = generated(models(error_ratio=sli))
    written(tmp_path, made)
    assert "SUCCESS" in held(tmp_path, "check", "rules", "lastgood.rules.yml")
    assert "SUCCESS" in held(tmp_path, "test", "rules", "lastgood.test.yml")
    fired = [one["alertname"] for test in made.tests for one in test["alert_rule_test"] if one["exp_alerts"]]
    assert fired == ["ErrorBudgetFast", "ErrorBudgetSlow", "ErrorBudgetLong"]
    assert made.notes == []


@needs_promtool
def test_a_test_that_expects_the_wrong_thing_fails(tmp_path: Path) -> None:
    made = generated(models(error_ratio=COUNTED))
    made.tests[1]["alert_rule_test"][0]["exp_alerts"] = made.tests[0]["alert_rule_test"][0]["exp_alerts"]
    written(tmp_path, made)
    with pytest.raises(AssertionError, match="FAILED"):
        held(tmp_path, "test", "rules", "lastgood.test.yml")


@needs_promtool
def test_a_query_of_its_own_gets_a_threshold(tmp_path: Path) -> None:
    made = generated(models(latency_p99=QUERY))
    written(tmp_path, made)
    assert "SUCCESS" in held(tmp_path, "check", "rules", "lastgood.rules.yml")
    assert [rule["alert"] for group in made.groups for rule in group["rules"]] == ["SliBreached", "Watchdog"]


def test_versions_are_told_apart_where_the_counters_tell_them_apart() -> None:
    rules = generated(models(error_ratio=APART)).groups[0]["rules"]
    assert all("{version}" not in str(rule) for rule in rules)
    assert rules[0]["expr"].startswith("sum by (version) (rate(failed_total{path=")
    assert rules[-1]["labels"]["version"] == "{{ $labels.version }}"


@pytest.mark.parametrize(
    ("sli", "said"),
    [
        ({**QUERY, "query": 'l{version="{version}"}'}, "a query about one version"),
        ({**COUNTED, "good": "above"}, "counts what went well"),
        ({"source": "datadog", "query": "avg:x{*}", "objective": 1}, "read from datadog"),
        ({**COUNTED, "errors": 'p{cohort="{cohort}"}'}, "asked for each cohort"),
        ({**COUNTED, "objective": 0.5}, "more errors than there are requests (14.4 × 0.5)"),
        ({**COUNTED, "errors": 'p_total{code=~"5.."}'}, 'not all name="value" pairs'),
        (QUERY, "no test of it is made"),
    ],
)
def test_what_is_not_made_is_said_with_the_reason(sli: dict[str, Any], said: str) -> None:
    assert any(said in note for note in generated(models(it=sli)).notes)


@needs_promtool
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20),
    st.sampled_from(['"', "\\", "{{", "}}", "{{ $x }}", "'"]),
)
def test_a_name_of_any_characters_gives_rules_that_hold(tmp_path: Path, text: str, odd: str) -> None:
    made = generated(models(f"{text}{odd}", "prod", error_ratio=COUNTED))
    written(tmp_path, made)
    assert "SUCCESS" in held(tmp_path, "check", "rules", "lastgood.rules.yml")


@needs_amtool
def test_alertmanager_takes_the_route(tmp_path: Path) -> None:
    (tmp_path / "am.yml").write_text(yaml.safe_dump(route("https://lastgood.example.com/", "lastgood-token")))
    done = subprocess.run(
        [str(AMTOOL), "check-config", "am.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
