"""Tests of the rules for `promtool test rules`: each alert fires when it should and is quiet when all is well; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal
from typing import Any

from bot.domain.selector import Selector
from bot.domain.sli_query import filled
from bot.report.slo_rules import VALUE, Alert, Counters, Labels, Rules, budget, number, series

Case = dict[str, Any]
EXAMPLES = {"version": "42", "cohort": "canary"}
ILL, QUIET = 10, 2  # minutes of failures at least; minutes more than the short window until an alert must have ended
EACH_MINUTE = 1000
WAITED_OUT = 360  # minutes of a long window that a test plays: three days of them take promtool seconds for each SLI
NO_TEST = (
    "No test: no series can be thought of that its two counters tell apart, so the ratio could never change. "
    "Look at `errors` and `total` again."
)


@dataclass(frozen=True, slots=True)
class _Traffic:
    """Two example series, and how each grows a minute for a share of the counter `errors`."""

    counted: str
    rest: str
    kept: Labels
    rest_is_total: bool

    def grows(self, share: Decimal) -> dict[str, Decimal]:
        rest = Decimal(1) if self.rest_is_total else 1 - share
        return {self.counted: share * EACH_MINUTE, self.rest: rest * EACH_MINUTE}


def cases_of(rules: Rules) -> tuple[list[Case], str]:
    """Give the cases of one SLI, and a sentence where there can be none."""
    if not rules.alerts:
        return [], ""
    if rules.counters is None:
        return [_outside(alert, rules) for alert in rules.alerts], ""
    traffic = _traffic(rules.counters)
    if traffic is None:
        return [], NO_TEST
    fires = [_burns(n, rules, traffic) for n in range(len(rules.alerts))]
    blips = [_blip(alert, rules, traffic) for alert in rules.alerts if alert.minutes[0] <= WAITED_OUT]
    return [*fires, *blips, _well(rules, traffic)], ""


# ── two counters ──────────────────────────────────────────────────────────────────────────────────────────────────


def _burns(n: int, rules: Rules, traffic: _Traffic) -> Case:
    """Fail enough for one alert and for none that is faster, then be well until its short window must have ended it."""
    alert = rules.alerts[n]
    faster = _counted(rules.alerts[n - 1].limit, rules) if n else Decimal(1)
    limit = _counted(alert.limit, rules)
    share = _between(limit, faster)
    well_for = alert.minutes[1] + QUIET
    ill_for = _remembered(share / limit, well_for)
    ill, well = (traffic.grows(_counted(one, rules)) for one in (share, budget(rules.sli) / 2))
    fires = _fires(alert, ill_for, traffic.kept, _counted(share, rules))
    return _case(
        f"{alert.name} fires and ends again",
        rules,
        _after(ill, ill_for, well, well_for),
        [fires, *(_quiet(one, ill_for) for one in rules.alerts[:n]), _quiet(alert, ill_for + well_for)],
    )


def _remembered(times: Decimal, well_for: int) -> int:
    """Give the minutes to fail, `times` beyond the limit, so that the long window alone would still fire afterwards."""
    wanted = int(well_for / (times - 1) * Decimal("1.1")) + 1
    return min(4 * well_for, max(ILL, wanted))


def _after(first: Mapping[str, Decimal], minutes: int, then: Mapping[str, Decimal], more: int) -> dict[str, str]:
    """Write counters that grow in one way for some minutes, and in another way for some more."""
    return {
        name: f"0+{number(step)}x{minutes} {number(step * minutes + then[name])}+{number(then[name])}x{more - 1}"
        for name, step in first.items()
    }


def _blip(alert: Alert, rules: Rules, traffic: _Traffic) -> Case:
    """Be well for the long window and fail for the short one: beyond the limit in that one only."""
    limit = _counted(alert.limit, rules)
    share = _between(limit, min(Decimal(1), limit * 2))
    calm, ill = alert.minutes
    well, fails = (traffic.grows(_counted(one, rules)) for one in (budget(rules.sli) / 2, share))
    values = _after(well, calm, fails, ill)
    return _case(f"{alert.name} is quiet about a blip", rules, values, [_quiet(alert, calm + ill)])


def _well(rules: Rules, traffic: _Traffic) -> Case:
    grows = traffic.grows(_counted(budget(rules.sli) / 2, rules))
    values = {name: f"0+{number(step)}x{ILL}" for name, step in grows.items()}
    return _case("No alert while all is well", rules, values, [_quiet(one, ILL) for one in rules.alerts])


def _counted(failed: Decimal, rules: Rules) -> Decimal:
    """Turn a share of failures into the SLI's value and back: where `good` is above, it counts what went well."""
    return failed if rules.sli.good == "below" else 1 - failed


def _between(low: Decimal, high: Decimal) -> Decimal:
    """Give a share between two; its last digit keeps a rounded annotation from depending on the last bit of a float."""
    middle = (low + high) / 2
    digits = Context(prec=3, rounding=ROUND_DOWN).create_decimal(middle)
    clean = digits + Decimal(1).scaleb(digits.adjusted() - 3)
    return clean if low < clean < high else middle


def _traffic(counters: Counters) -> _Traffic | None:
    """Think of two series that the counters tell apart."""
    said = {"errors": counters.errors, "total": counters.total}
    errors, total = (Selector.parse(one) for one in filled(said, **EXAMPLES).values())
    for version in (EXAMPLES["version"], None):
        found = _apart(errors, total, version)
        if found is None:
            continue
        counted, rest, is_total = found
        kept = [_kept(one, written, said) for one, written in ((counted, counters.errors), (rest, counters.total))]
        if kept[0] == kept[1]:
            return _Traffic(series(errors.name, counted), series(total.name, rest), kept[0], is_total)
    return None


def _apart(errors: Selector, total: Selector, version: str | None) -> tuple[Labels, Labels, bool] | None:
    """Give the labels of a series of `errors`, those of the rest, and whether the rest is the whole of `total`."""
    if errors.name != total.name:
        first, second = _example(errors, version=version), _example(total, version=version)
        return (first, second, True) if errors.fits(first) and total.fits(second) else None
    inside = _example(errors, _example(total), version)
    first = inside if errors.fits(inside) and total.fits(inside) else _example(errors, version=version)
    if not errors.fits(first):
        return None
    for second in _outsiders(errors, _example(total, version=version)):
        if total.fits(second) and not errors.fits(second):
            return first, second, not total.fits(first)
    return None


def _example(selector: Selector, known: Mapping[str, str] | None = None, version: str | None = None) -> dict[str, str]:
    """Give labels that a selector means, where there are any."""
    labels = {"version": version} if version else {}
    labels |= known or {}
    for label, sign, value in selector.matchers:
        if sign == "=":
            labels[label] = value
        elif labels.get(label, "") == value:
            labels[label] = f"not-{value}"
    return {label: value for label, value in labels.items() if value}


def _outsiders(errors: Selector, labels: dict[str, str]) -> Iterator[dict[str, str]]:
    """Change one label at a time into what the counter `errors` does not take."""
    yield labels
    for label, sign, value in errors.matchers:
        other = f"not-{value}" if sign == "=" else value
        yield {name: text for name, text in {**labels, label: other}.items() if text}


def _kept(labels: Labels, written: str, said: Mapping[str, str]) -> dict[str, str]:
    """Give the labels a recorded ratio keeps of a series."""
    names = [one for one in EXAMPLES if one == "version" or any(f"{{{one}}}" in text for text in said.values())]
    read = {one: EXAMPLES[one] if f"{{{one}}}" in written else labels.get(one, "") for one in names}
    return {name: value for name, value in read.items() if value}


# ── a query ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _outside(alert: Alert, rules: Rules) -> Case:
    step = max(Decimal(1), abs(alert.limit)) * (1 if rules.sli.good == "below" else -1)
    ill, well = alert.limit + step, alert.limit - step
    values = {series(VALUE, alert.labels): f"{number(ill)}+0x5 {number(well)}+0x5"}
    return _case(
        f"{alert.name} fires and ends again", rules, values, [_fires(alert, 5, {}, ill), _quiet(alert, 5 + QUIET)]
    )


# ── the form ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _case(name: str, rules: Rules, values: Mapping[str, str], alerts: list[Case]) -> Case:
    return {
        "name": f"{name}: {rules.labels['sli']} in {rules.labels['env']}",
        "interval": "1m",
        "input_series": [{"series": one, "values": text} for one, text in values.items()],
        "alert_rule_test": alerts,
    }


def _quiet(alert: Alert, minute: int) -> Case:
    return {"eval_time": f"{minute}m", "alertname": alert.name, "exp_alerts": []}


def _fires(alert: Alert, minute: int, kept: Labels, value: Decimal) -> Case:
    labels = {**alert.labels, **kept, "severity": alert.severity}
    return {
        "eval_time": f"{minute}m",
        "alertname": alert.name,
        "exp_alerts": [{"exp_labels": labels, "exp_annotations": alert.annotations(kept, value)}],
    }
