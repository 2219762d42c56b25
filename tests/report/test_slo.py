"""Rules, tests and routes made from SLIs: held to what Prometheus' and Alertmanager's own tools say of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain import extract
from bot.domain.alert import Severity
from bot.domain.model import Environment, Model
from bot.report.slo import MADE, TOKEN, Generated, file_stem, generate
from bot.report.slo_cases import NO_TEST

URL = "https://lastgood.example.com"
HOSTILE = 'a"b\\c{{ $value }}{d}\n`e`\0 #: é'
RATIO = {
    "source": "scrape",
    "errors": 'p_total{model="m",code="500"}',
    "total": 'p_total{model="m"}',
    "objective": 0.01,
}
GOOD = {"source": "scrape", "errors": 'l_bucket{model="m",le="0.25"}', "total": 'l_count{model="m"}', "objective": 0.99, "good": "above"}  # fmt: skip
QUERY = {"source": "prometheus", "query": 'histogram_quantile(0.99, sum by (le) (rate(l_bucket{model="m"}[5m])))  # p99', "objective": 0.25}  # fmt: skip
promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is absent; Debian's prometheus brings it"
)


def place(cohorts: tuple[str, ...] = (), /, **slis: Mapping[str, Any]) -> Environment:
    targets = {"route": {"adapter": "memory", "versions": ["41", "42"]}}
    return Environment.model_validate({"targets": targets, "cohorts": cohorts, "slis": slis})


def made(name: str = "m", **places: Environment) -> Generated:
    return generate({name: Model(environments=places)}, URL)


def of(**slis: Mapping[str, Any]) -> Generated:
    return made(prod=place(**slis))


def told(found: Generated) -> list[str]:
    return [one.text for one in found.remarks]


def rules(found: Generated, ends: str = "") -> list[dict[str, Any]]:
    """Every rule of the SLIs, or those of the files that end like this."""
    files = [text for name, text in found.files.items() if name.endswith(ends or ".rules.yml")]
    return [rule for text in files for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def alerts(found: Generated) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules(found) if "alert" in rule and rule["alert"] != "Watchdog"}


def run(*words: str, folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "duplicate" not in done.stdout


def try_out(found: Generated, folder: Path) -> None:
    """Hold the files to promtool: the rules are sound, and do what their tests say."""
    for name, text in found.files.items():
        (folder / name).write_bytes(text.encode())
    run("promtool", "check", "rules", *sorted(name for name in found.files if ".rules." in name), folder=folder)
    run("promtool", "test", "rules", *sorted(name for name in found.files if ".test." in name), folder=folder)


# ── promtool and amtool ───────────────────────────────────────────────────────────────────────────────────────────


@promtool
def test_prometheus_takes_the_rules_and_they_do_what_their_tests_say(tmp_path: Path) -> None:
    found = made(prod=place(error_ratio=RATIO, fast=GOOD, latency=QUERY), staging=place(error_ratio=RATIO))
    assert sorted(found.files) == [
        "alertmanager.yml",
        *(f"m.prod.{sli}.{kind}" for sli in ("error_ratio", "fast") for kind in ("rules.yml", "test.yaml")),
        *(f"m.prod.latency.{kind}" for kind in ("rules.yml", "test.yaml", "value.rules.yml")),
        *(f"m.staging.error_ratio.{kind}" for kind in ("rules.yml", "test.yaml")),
        "watchdog.rules.yml", "watchdog.test.yaml",
    ]  # fmt: skip
    try_out(found, tmp_path)


@promtool
@pytest.mark.parametrize(
    ("errors", "total"),
    [
        ("e_total", "p_total"),
        ('p_total{model="{{x}} $y `%s`",code="500"}', 'p_total{model="{{x}} $y `%s`"}'),
        ('p_total{code!="200"}', "p_total"),
        ('p_total{code!=""}', "p_total"),
        ('p_total{code="500"}', 'p_total{code="200"}'),
        ('p_total{code="500",version="41"}', 'p_total{version="41"}'),
        ('p_total{code="500",version=""}', 'p_total{version=""}'),
        ('p_total{code="500",version="{version}"}', 'p_total{version="{version}"}'),
        ('p_total{code="500",rev="fraud-v{version}+1"}', 'p_total{rev="fraud-v{version}+1"}'),
        ('p_total{code="500",tenant="{cohort}"}', 'p_total{tenant="{cohort}"}'),
    ],
)
def test_every_way_to_name_two_counters_gives_alerts_that_fire(tmp_path: Path, errors: str, total: str) -> None:
    sli = {"source": "scrape", "errors": errors, "total": total, "objective": 0.1}
    found = made(prod=place(("eu",), sli=sli))
    assert "alert_rule_test" in found.files["m.prod.sli.test.yaml"]
    assert NO_TEST not in told(found)
    try_out(found, tmp_path)


@promtool
@pytest.mark.parametrize("objective", [1e-7, 0.0005, 0.012345678, 0.3, 0.95, 0.99999])
@pytest.mark.parametrize("good", ["below", "above"])
def test_every_error_budget_gives_alerts_that_fire(tmp_path: Path, objective: float, good: str) -> None:
    sli = {**RATIO, "objective": objective if good == "below" else 1 - objective, "good": good}
    found = of(sli=sli)
    assert alerts(found)
    try_out(found, tmp_path)


@promtool
@pytest.mark.parametrize("objective", [-3, 0, 1e-9, 0.25, 1234567.8, 1e21])
@pytest.mark.parametrize("good", ["below", "above"])
def test_every_objective_of_a_query_gives_an_alert_that_fires(tmp_path: Path, objective: float, good: str) -> None:
    try_out(of(sli={**QUERY, "objective": objective, "good": good}), tmp_path)


@promtool
@pytest.mark.parametrize(
    ("right", "wrong", "case"),
    [
        ("rate1h{", "rate5m{", "ModelBurnsBudgetFast is quiet about a blip"),
        ("rate5m{", "rate1h{", "ModelBurnsBudgetFast fires and ends again"),
        ("rate30m{", "rate6h{", "ModelBurnsBudget fires and ends again"),
        ("rate6h{", "rate3d{", "ModelBurnsBudgetSlowly fires and ends again"),
        ("> 0.144", "> 0.9", "ModelBurnsBudgetFast fires and ends again"),
        ("> 0.06", "> 0.15", "ModelBurnsBudget fires and ends again"),
        ("> 0.01", "> 0.004", "No alert while all is well"),
        ("sum by (version)", "sum by (model)", "ModelBurnsBudgetFast fires and ends again"),
    ],
)
def test_the_tests_tell_right_rules_from_wrong_ones(tmp_path: Path, right: str, wrong: str, case: str) -> None:
    found, rules = of(error_ratio=RATIO), "m.prod.error_ratio.rules.yml"
    assert right in found.files[rules]
    worse = Generated({**found.files, rules: found.files[rules].replace(right, wrong)}, ())
    with pytest.raises(AssertionError, match=case):
        try_out(worse, tmp_path)


@promtool
def test_hostile_names_give_rules_that_fire_under_those_names(tmp_path: Path) -> None:
    environment = place(**{HOSTILE: RATIO, f"{HOSTILE}2": QUERY})
    found = generate({HOSTILE: Model(environments={HOSTILE: environment})}, URL)
    assert any("exp_alerts" in text and "$value" in text for text in found.files.values())
    try_out(found, tmp_path)


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\N{REPLACEMENT CHARACTER}"), min_size=1, max_size=12
) | st.text('"\\{}$`%\n\t\r\0. #:-', min_size=1)


@promtool
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=1, max_size=5, unique_by=lambda one: one[0]))
def test_whatever_the_names_are_the_rules_are_valid_and_fire(names: list[tuple[str, str, str]]) -> None:
    models = {model: Model(environments={env: place(**{sli: QUERY})}) for model, env, sli in names}
    with tempfile.TemporaryDirectory() as folder:
        found = generate(models, URL)
        assert len(found.files) == 3 * len(models) + 3
        try_out(found, Path(folder))


@pytest.mark.skipif(
    shutil.which("amtool") is None, reason="amtool is absent; Debian's prometheus-alertmanager brings it"
)
@pytest.mark.parametrize("url", [URL, f"{URL}/", "http://127.0.0.1:8080", "http://h/\"{{x}}\\:#'"])
def test_alertmanager_takes_the_whole_configuration(tmp_path: Path, url: str) -> None:
    (tmp_path / "alertmanager.yml").write_text(generate({}, url).files["alertmanager.yml"], encoding="utf-8")
    (tmp_path / TOKEN).write_text("t0ken", encoding="utf-8")
    run("amtool", "check-config", "alertmanager.yml", folder=tmp_path)


# ── what the rules say ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_ratio_is_recorded_over_every_window_and_keeps_the_version() -> None:
    recorded = {rule["record"]: rule for rule in rules(of(error_ratio=RATIO)) if "record" in rule}
    assert list(recorded) == [f"lastgood:sli_ratio:rate{one}" for one in ("5m", "30m", "1h", "6h", "3d")]
    assert recorded["lastgood:sli_ratio:rate30m"] == {
        "record": "lastgood:sli_ratio:rate30m",
        "expr": 'sum by (version) (rate(p_total{model="m",code="500"}[30m]))'
        ' / sum by (version) (rate(p_total{model="m"}[30m]))',
        "labels": {"model": "m", "env": "prod", "sli": "error_ratio"},
    }


def test_budgets_burn_as_in_the_table_of_the_workbook() -> None:
    found = alerts(of(error_ratio=RATIO))
    assert {name: (one["labels"]["severity"], one["annotations"]["threshold"]) for name, one in found.items()} == {
        "ModelBurnsBudgetFast": ("critical", "0.144"),
        "ModelBurnsBudget": ("critical", "0.06"),
        "ModelBurnsBudgetSlowly": ("warning", "0.01"),
    }
    by = '{model="m",env="prod",sli="error_ratio"}'
    for name, long, short, limit in (
        ("ModelBurnsBudgetFast", "1h", "5m", "0.144"), ("ModelBurnsBudget", "6h", "30m", "0.06"), ("ModelBurnsBudgetSlowly", "3d", "6h", "0.01"),
    ):  # fmt: skip
        sides = [f"lastgood:sli_ratio:rate{window}{by} > {limit}" for window in (long, short)]
        assert found[name]["expr"] == " and ".join(sides)


def test_where_good_is_above_an_alert_fires_below() -> None:
    found = alerts(of(fast=GOOD))
    assert [one["annotations"]["threshold"] for one in found.values()] == ["0.856", "0.94", "0.99"]
    assert "< 0.856 and" in found["ModelBurnsBudgetFast"]["expr"]


def test_lastgood_reads_what_the_alerts_say() -> None:
    found = of(error_ratio=RATIO, latency=QUERY)
    for rule in alerts(found).values():
        assert extract.named(rule["labels"]) == {
            "model": "m", "version": None, "environment": "prod", "sli": rule["labels"]["sli"],
        }  # fmt: skip
        assert extract.severity(rule["labels"]["severity"]) in (Severity.CRITICAL, Severity.WARNING)
        assert extract.number(rule["annotations"]["threshold"]) is not None


def test_a_query_is_recorded_as_it_is_written_and_compared_with_its_objective() -> None:
    found = of(latency=QUERY)
    [value] = rules(found, ".value.rules.yml")
    assert (value["record"], value["expr"]) == ("lastgood:sli_value", QUERY["query"])
    [alert] = alerts(found).values()
    assert alert["expr"] == 'lastgood:sli_value{model="m",env="prod",sli="latency"} > 0.25'
    assert alert["for"] == "1m"


def test_a_query_for_each_cohort_is_recorded_for_each() -> None:
    sli = {**QUERY, "query": 'max(x{tenant="{cohort}"})'}
    found = made(prod=place(("eu", "us"), sli=sli))
    said = [(rule["labels"]["cohort"], rule["expr"]) for rule in rules(found, ".value.rules.yml")]
    assert said == [("eu", 'max(x{tenant="eu"})'), ("us", 'max(x{tenant="us"})')]
    assert [rule["labels"]["cohort"] for rule in rules(found, "sli.rules.yml")] == ["eu", "us"]


def test_the_routes_are_those_that_are_recommended() -> None:
    content = yaml.safe_load(generate({}, f"{URL}/").files["alertmanager.yml"])
    ours, watchdog = content["route"]["routes"]
    assert ours == {
        "matchers": ['model=~".+"'], "receiver": "lastgood", "group_by": ["model", "env"], "group_wait": "10s", "group_interval": "1m",
        "repeat_interval": "4h", "continue": True,
    }  # fmt: skip
    assert (watchdog["matchers"], watchdog["receiver"]) == (['alertname="Watchdog"'], "lastgood")
    assert content["receivers"][1]["webhook_configs"] == [
        {
            "url": f"{URL}/hooks/alertmanager", "send_resolved": True, "max_alerts": 200,
            "http_config": {"authorization": {"type": "Bearer", "credentials_file": TOKEN}},
        }
    ]  # fmt: skip
    [rule] = rules(generate({}, URL), "watchdog.rules.yml")
    assert (rule["alert"], rule["expr"]) == ("Watchdog", "vector(1)")


def test_files_are_the_same_each_time_and_say_what_made_them() -> None:
    first, second = (of(error_ratio=RATIO, latency=QUERY) for _ in range(2))
    assert first == second
    assert all(text.startswith(f"{MADE}\n") and text.endswith("\n") for text in first.files.values())
    assert not any("&id" in text for text in first.files.values())


def test_no_two_slis_share_a_file() -> None:
    names = ["a", "A", "a.b", "a/b", "a_b", "../a", "-a", "é", "è", "a" * 65, "a" * 66]
    places = [{"model": one, "env": "e", "sli": "s"} for one in names]
    places += [{"model": "a.b", "env": "c", "sli": "s"}, {"model": "a", "env": "b.c", "sli": "s"}]
    stems = [file_stem(one) for one in places]
    assert len(set(stems)) == len(places)
    assert all(
        re.match("[a-z0-9]", stem) and "/" not in stem and stem == stem.lower() and stem.isascii() for stem in stems
    )
    assert stems[0] == "a.e.s"


# ── what cannot be made ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sli", "said"),
    [
        ({"source": "cloudwatch", "value": "x"}, "No rules: it is read from cloudwatch, which Prometheus does not see"),
        ({"source": "prometheus"}, "No rules: it has neither `errors` and `total` nor a `query`"),
        ({"source": "prometheus", "query": 'x{v="{version}"}'}, "No rules: its query names `{version}`"),
        ({"source": "prometheus", "query": 'x{v="{cohort}"}'}, "No rules: its query names `{cohort}`, and its environment"),
        ({**RATIO, "errors": "p_total{"}, "No rules: 'p_total{' is not a selector"),
        ({**RATIO, "errors": 'p_total{v!="{version}"}'}, "name one `{version}` with ="),
        ({**RATIO, "errors": 'p_total{v="{version}{version}"}'}, "name one `{version}` with ="),
        ({**RATIO, "errors": 'p_total{v="{cohort}"}'}, "only one of its two counters names `{cohort}`"),
    ],
)  # fmt: skip
def test_an_sli_without_rules_is_told_with_the_reason(sli: Mapping[str, Any], said: str) -> None:
    found = of(sli={"objective": 0.01, **sli})
    [remark] = found.remarks
    assert (remark.model, remark.environment, remark.sli) == ("m", "prod", "sli")
    assert said in remark.text
    assert remark.text.endswith(".")
    assert not [name for name in found.files if name.startswith("m.")]


@pytest.mark.parametrize("name", ["", "\ud800", "a\N{REPLACEMENT CHARACTER}"])
def test_a_name_that_cannot_be_a_label_is_told(name: str) -> None:
    [remark] = generate({name: Model(environments={"prod": place(sli=RATIO)})}, URL).remarks
    assert "cannot be a label" in remark.text
    assert remark.model.encode() == name.encode(errors="backslashreplace")


def test_an_environment_without_an_sli_is_told() -> None:
    found = made(prod=place())
    assert told(found) == ["No rules: it has no SLI. Give it one under `slis`."]


@pytest.mark.parametrize(
    ("objective", "names"),
    [(0.05, 3), (0.1, 2), (0.2, 1), (1.0, 0), (0.0, 0), (-1.0, 0)],
)
def test_an_alert_that_could_never_fire_is_told_and_not_written(objective: float, names: int) -> None:
    found = of(sli={**RATIO, "objective": objective})
    assert len(alerts(found)) == names
    assert bool(told(found)) == (names < 3)
    assert all(text.startswith(("No alert at", "No alerts:")) for text in told(found))


def test_a_query_says_what_its_test_leaves_out() -> None:
    [text] = told(of(latency=QUERY))
    assert "no burn rate" in text
    assert "the test begins at its recorded value" in text


def test_counters_that_cannot_be_told_apart_have_rules_and_no_test() -> None:
    found = of(sli={**RATIO, "errors": RATIO["total"]})
    assert told(found) == [NO_TEST]
    assert "m.prod.sli.rules.yml" in found.files
    assert "m.prod.sli.test.yaml" not in found.files


def test_counters_that_other_models_may_share_are_told() -> None:
    [text] = told(of(sli={**RATIO, "errors": "e_total", "total": "p_total"}))
    assert text.startswith("Its counters name no model, so in Prometheus they count every series of that name.")


def test_counters_that_two_environments_share_are_told() -> None:
    [remark] = made(prod=place(sli=RATIO), staging=place(sli=RATIO)).remarks
    assert (remark.environment, remark.text.startswith("It counts the same series as prod does.")) == ("staging", True)


def test_what_is_told_stands_in_the_file_too() -> None:
    found = of(ratio={**RATIO, "objective": 0.1})
    assert "\n# m prod ratio: No alert at 14.4 times the budget" in found.files["m.prod.ratio.rules.yml"]
