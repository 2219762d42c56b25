"""Rules for the senders: burn-rate alerts for Prometheus, a route for Alertmanager, and tests of the rules, from the SLIs there are.

Windows and factors are those of the SRE workbook, chapter 5, table 5-8. Everything is made as plain mappings; whoever writes
the files turns them into YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.domain.model import Model, Sli
from bot.domain.sli_query import asks

WINDOWS = ("5m", "30m", "1h", "6h", "3d")
# name, factor, long window, short window, severity; the last opens a ticket
BURNS = (
    ("ErrorBudgetFast", 14.4, "1h", "5m", "page"),
    ("ErrorBudgetSlow", 6.0, "6h", "30m", "page"),
    ("ErrorBudgetLong", 1.0, "3d", "6h", "warning"),
)
BREACHED_FOR = "2m"
_OF_VERSION = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"\{version\}"\s*,?')
_SELECTOR = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)\s*(?:\{(.*)\})?", re.DOTALL)
_PAIR = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
Labels = dict[str, str]


@dataclass(slots=True)
class Generated:
    """The rules and their tests as mappings, and a sentence for everything that was not made."""

    groups: list[dict[str, Any]] = field(default_factory=list)
    tests: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def generated(models: Mapping[str, Model]) -> Generated:
    """Give rules and tests for every SLI that Prometheus can be asked about."""
    made = Generated()
    for model, described in models.items():
        for environment, place in described.environments.items():
            for name, sli in place.slis.items():
                _one(made, (model, environment, name), sli)
    made.groups.append({"name": "lastgood heartbeat", "rules": [_watchdog()]})
    return made


def _watchdog() -> dict[str, Any]:
    notes = {"summary": "Always firing, so that silence is noticed."}
    return {"alert": "Watchdog", "expr": "vector(1)", "labels": {"severity": "none"}, "annotations": notes}


def _one(made: Generated, where: tuple[str, str, str], sli: Sli) -> None:
    what = f"{where[2]} of {where[0]} in {where[1]}"
    settings = sli.settings
    if asks(settings, "cohort"):
        made.notes.append(f"{what} is asked for each cohort, so no rule is made for it.")
    elif isinstance(settings.get("errors"), str) and isinstance(settings.get("total"), str):
        if sli.good == "below":
            _counted(made, where, settings["errors"], settings["total"], sli.objective)
        else:
            made.notes.append(f"{what} counts what went well, so no rule is made for it; count what failed.")
    elif sli.source == "prometheus" and isinstance(settings.get("query"), str):
        if asks(settings, "version"):
            made.notes.append(
                f"{what} is a query about one version, and a rule cannot know which; give it errors and total."
            )
        else:
            _breached(made, where, settings["query"], sli)
    else:
        made.notes.append(f"{what} is read from {sli.source}, which Prometheus cannot ask, so no rule is made for it.")


# ── errors and a total ────────────────────────────────────────────────────────────────────────────────────────────


def _counted(made: Generated, where: tuple[str, str, str], errors: str, total: str, objective: float) -> None:
    model, environment, name = where
    what = f"{name} of {model} in {environment}"
    by = _version_label(errors, total)
    errors, total = _OF_VERSION.sub("", errors), _OF_VERSION.sub("", total)
    own = {"model": _literal(model), "env": _literal(environment), "sli": _literal(name)}
    rules: list[dict[str, Any]] = []
    for window in WINDOWS:
        summed = f"sum by ({by}) " if by else "sum"
        expr = f"{summed}(rate({errors}[{window}])) / {summed}(rate({total}[{window}]))"
        rules.append({"record": f"lastgood:sli_errors:ratio_rate{window}", "expr": expr, "labels": own})
    fired = [burn for burn in BURNS if burn[1] * objective < 1]
    made.notes.extend(
        f"{what}: {alert} would need more errors than there are requests ({factor:g} × {objective:g}), so it is left out."
        for alert, factor, *_ in BURNS
        if factor * objective >= 1
    )
    rules += [_burn(burn, where, objective, by) for burn in fired]
    made.groups.append({"name": f"lastgood {model} {environment} {name}", "rules": rules})
    test = _tests(where, (errors, total), objective, by, fired)
    if test is None:
        made.notes.append(f'{what}: its selectors are not all name="value" pairs, so no test of its rules is made.')
    else:
        made.tests += test


def _version_label(*selectors: str) -> str:
    """Give the label by which a selector tells versions apart, empty when it does not."""
    return next((match[1] for text in selectors if (match := _OF_VERSION.search(text))), "")


def _matchers(where: tuple[str, str, str]) -> str:
    pairs = zip(("model", "env", "sli"), where, strict=True)
    return ",".join(f'{name}="{_quoted(value)}"' for name, value in pairs)


def _burn(
    burn: tuple[str, float, str, str, str], where: tuple[str, str, str], objective: float, by: str
) -> dict[str, Any]:
    alert, factor, long, short, severity = burn
    at, limit = _matchers(where), f"{factor * objective:.12g}"
    expr = f"lastgood:sli_errors:ratio_rate{long}{{{at}}} > {limit} and lastgood:sli_errors:ratio_rate{short}{{{at}}} > {limit}"
    labels = {"model": _literal(where[0]), "env": _literal(where[1]), "sli": _literal(where[2]), "severity": severity}
    if by:
        labels["version"] = f"{{{{ $labels.{by} }}}}"
    return {
        "alert": alert, "expr": expr, "labels": labels,
        "annotations": {
            "summary": f"{_literal(where[0])} fails on {{{{ $value | humanizePercentage }}}} of requests over {long}",
            "value": "{{ $value | humanizePercentage }}", "threshold": limit,
        },
    }  # fmt: skip


def _breached(made: Generated, where: tuple[str, str, str], query: str, sli: Sli) -> None:
    sign = ">" if sli.good == "below" else "<"
    labels = {"model": _literal(where[0]), "env": _literal(where[1]), "sli": _literal(where[2]), "severity": "error"}
    notes = {
        "summary": f"{_literal(where[2])} of {_literal(where[0])} is {{{{ $value }}}}, objective {sign.translate({60: '≥', 62: '≤'})} {sli.objective:g}",
        "value": "{{ $value }}", "threshold": f"{sli.objective:.12g}",
    }  # fmt: skip
    rule = {
        "alert": "SliBreached", "expr": f"({query}) {sign} {sli.objective:.12g}", "for": BREACHED_FOR, "labels": labels, "annotations": notes,
    }  # fmt: skip
    made.groups.append({"name": f"lastgood {where[0]} {where[1]} {where[2]}", "rules": [rule]})
    made.notes.append(
        f"{where[2]} of {where[0]} in {where[1]} is a query of its own: its rule is checked, and no test of it is made."
    )


# ── tests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _tests(
    where: tuple[str, str, str], selectors: tuple[str, str], objective: float, by: str,
    fired: list[tuple[str, float, str, str, str]],
) -> list[dict[str, Any]] | None:  # fmt: skip
    """Give two tests for promtool: half of all requests fail and every alert fires, none fails and none does."""
    errors, total = (_series(one) for one in selectors)
    if errors is None or total is None:
        return None
    version = {by: "42"} if by else {}
    bad = (errors[0], {**total[1], **errors[1], **version})
    rest = (
        total[0],
        {**total[1], **{name: f"not {value}" for name, value in errors[1].items() if name not in total[1]}, **version},
    )
    if bad == rest:
        return None
    alike = errors[0] == total[0]  # the total counts the errors too
    ill = [(bad, "0+50x4500"), (rest, "0+50x4500" if alike else "0+100x4500")]
    well = [(bad, "0+0x4500"), (rest, "0+100x4500")]
    outcomes = ((ill, objective < 0.5), (well, False))
    return [
        {
            "interval": "1m", "name": f"{' '.join(where)}: {'ill' if fires else 'well'}",
            "input_series": [{"series": _written(*series), "values": values} for series, values in rows],
            "alert_rule_test": [
                {"eval_time": "73h", "alertname": burn[0], "exp_alerts": [_expected(burn, where, objective, version)] if fires and burn[1] * objective < 0.5 else []}
                for burn in fired
            ],
        }
        for rows, fires in outcomes
    ]  # fmt: skip


def _expected(
    burn: tuple[str, float, str, str, str], where: tuple[str, str, str], objective: float, version: Labels
) -> dict[str, Any]:
    labels = {"model": where[0], "env": where[1], "sli": where[2], "severity": burn[4], **version}
    if version:
        labels["version"] = "42"
    notes = {
        "summary": f"{where[0]} fails on 50% of requests over {burn[2]}", "value": "50%", "threshold": f"{burn[1] * objective:.12g}",
    }  # fmt: skip
    return {"exp_labels": labels, "exp_annotations": notes}


def _series(selector: str) -> tuple[str, Labels] | None:
    """Read a selector of `name="value"` pairs only."""
    found = _SELECTOR.fullmatch(selector.strip())
    if found is None:
        return None
    rest, labels = (found[2] or "").strip(), {}
    while rest:
        pair = _PAIR.match(rest)
        if pair is None:
            return None
        labels[pair[1]] = re.sub(r"\\(.)", r"\1", pair[2])
        rest = rest[pair.end() :]
    return found[1], labels


def _written(name: str, labels: Labels) -> str:
    return f"{name}{{{','.join(_pairs(labels))}}}" if labels else name


def _pairs(labels: Labels) -> Iterator[str]:
    for name, value in labels.items():
        yield f'{name}="{_quoted(value)}"'


def _quoted(value: str) -> str:
    """Write a label's value so that nothing in it ends the quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _literal(value: str) -> str:
    """Write text so that Prometheus takes it as it is and not as a template."""
    return value.replace("{{", '{{ "{{" }}')


# ── Alertmanager ──────────────────────────────────────────────────────────────────────────────────────────────────


def route(public_url: str, token_file: str) -> dict[str, Any]:
    """Give a whole configuration of Alertmanager with the route and the receiver that Lastgood wants; yours are put beside them."""
    hook = {
        "url": f"{public_url.rstrip('/')}/hooks/alertmanager", "send_resolved": True, "max_alerts": 200,
        "http_config": {"authorization": {"type": "Bearer", "credentials_file": token_file}},
    }  # fmt: skip
    models = {
        "matchers": ['model=~".+"'], "receiver": "lastgood", "group_by": ["model", "env"], "group_wait": "10s",
        "group_interval": "1m", "repeat_interval": "4h", "continue": True,
    }  # fmt: skip
    watchdog = {
        "matchers": ['alertname="Watchdog"'], "receiver": "lastgood", "group_wait": "0s", "group_interval": "1m",
        "repeat_interval": "5m",
    }  # fmt: skip
    return {
        "route": {"receiver": "everybody-else", "group_by": ["alertname"], "routes": [models, watchdog]},
        "receivers": [{"name": "everybody-else"}, {"name": "lastgood", "webhook_configs": [hook]}],
    }
