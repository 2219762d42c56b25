"""What Prometheus records and alerts on for one SLI, or the sentence that says why it cannot; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bot.domain import extract
from bot.domain.model import Environment, Sli
from bot.domain.selector import Selector
from bot.domain.sli_query import asks, filled

Labels = Mapping[str, str]
WINDOWS = ("5m", "30m", "1h", "6h", "3d")
SOURCES = ("prometheus", "scrape")
VALUE = "lastgood:sli_value"
RATIO = "lastgood:sli_ratio:rate"
VALUE_SHOWN = '{{ $value | printf "%.6g" }}'
_BROKEN = re.compile("[\ufffd\ud800-\udfff]")  # Prometheus takes the first for a broken character, UTF-8 has no others
_TOKENS = ("version", "cohort")
_WHO = "{{ $labels.model }}{{ with $labels.version }} {{ . }}{{ end }} in {{ $labels.env }}: {{ $labels.sli }} is"


@dataclass(frozen=True, slots=True)
class Burn:
    """One row of the SRE workbook's table 5-8; both windows also in minutes."""

    alert: str
    severity: str
    factor: Decimal
    long: str
    short: str
    minutes: tuple[int, int]


BURNS = (
    Burn("ModelBurnsBudgetFast", "critical", Decimal("14.4"), "1h", "5m", (60, 5)),
    Burn("ModelBurnsBudget", "critical", Decimal(6), "6h", "30m", (360, 30)),
    Burn("ModelBurnsBudgetSlowly", "warning", Decimal(1), "3d", "6h", (4320, 360)),
)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert rule; `limit` is the SLI's value beyond which it fires, `minutes` its windows, the long one first."""

    name: str
    severity: str
    labels: Labels
    expr: str
    limit: Decimal
    said: str
    wait: str = ""
    minutes: tuple[int, int] = (0, 0)

    def as_rule(self) -> dict[str, Any]:
        """Give it as Prometheus reads it. A label's value is a template there, so its braces are written as text."""
        return {
            "alert": self.name,
            "expr": self.expr,
            **({"for": self.wait} if self.wait else {}),
            "labels": {**{name: _templated(value) for name, value in self.labels.items()}, "severity": self.severity},
            "annotations": {
                "summary": f"{_WHO} {VALUE_SHOWN} {self.said}",
                "value": VALUE_SHOWN,
                "threshold": number(self.limit),
            },
        }

    def annotations(self, kept: Labels, value: Decimal) -> dict[str, str]:
        """Give the annotations that Prometheus makes of the rule for a value, and the labels its series kept."""
        shown = f"{float(value):.6g}"
        version = f" {kept['version']}" if "version" in kept else ""
        who = f"{self.labels['model']}{version} in {self.labels['env']}: {self.labels['sli']} is"
        return {"summary": f"{who} {shown} {self.said}", "value": shown, "threshold": number(self.limit)}


@dataclass(frozen=True, slots=True)
class Counters:
    """The two counters of an SLI as the configuration writes them."""

    errors: str
    total: str


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything of one SLI: what is recorded, what alerts, and what is told of it in sentences."""

    labels: Labels
    sli: Sli
    counters: Counters | None = None
    recorded: tuple[dict[str, Any], ...] = ()
    alerts: tuple[Alert, ...] = ()
    told: tuple[str, ...] = ()


def rules_of(model: str, environment: str, name: str, sli: Sli, place: Environment) -> Rules:
    """Give the rules of an SLI, or the reasons why it has none."""
    labels = {"model": model, "env": environment, "sli": name}
    bare = Rules(labels, sli)
    if strange := [one for one in labels.values() if not one or _BROKEN.search(one)]:
        return with_told(bare, f"No rules: the name {strange[0]!r} cannot be a label. Give it another.")
    if sli.source not in SOURCES:
        return with_told(
            bare, f"No rules: it is read from {sli.source}, which Prometheus does not see. Alert on it there."
        )
    settings = sli.settings
    match settings:
        case {"errors": str(errors), "total": str(total)}:
            return _counted(bare, Counters(errors, total))
        case {"query": str(query)}:
            return _asked(bare, query, place)
    return with_told(bare, "No rules: it has neither `errors` and `total` nor a `query`. Give it one of them.")


def series(name: str, labels: Labels) -> str:
    """Write a selector of one recorded series."""
    return f"{name}{{{','.join(f'{label}={quoted(value)}' for label, value in labels.items())}}}"


def quoted(text: str) -> str:
    """Write text as a PromQL string."""
    for raw, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        text = text.replace(raw, escaped)
    return f'"{text}"'


def number(value: Decimal) -> str:
    """Write a number without an exponent, as short as it goes."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _templated(text: str) -> str:
    return text.replace("{", '{{"{"}}')


def with_told(rules: Rules, *sentences: str) -> Rules:
    """Add sentences, empty ones left out."""
    return Rules(
        rules.labels, rules.sli, rules.counters, rules.recorded, rules.alerts, (*rules.told, *filter(None, sentences))
    )


# ── an SLI of two counters ────────────────────────────────────────────────────────────────────────────────────────


def _counted(bare: Rules, counters: Counters) -> Rules:
    """Record the ratio over every window, and alert where its error budget burns."""
    try:
        rates = {window: _ratio(counters, window) for window in WINDOWS}
    except ValueError as error:
        return with_told(bare, f"No rules: {error}.")
    recorded = tuple(
        {"record": f"{RATIO}{window}", "expr": expr, "labels": dict(bare.labels)} for window, expr in rates.items()
    )
    alerts = tuple(_burning(bare))
    whole = Rules(bare.labels, bare.sli, counters, recorded, alerts)
    return with_told(whole, _unburnt(bare.sli, alerts), _unnamed(counters))


def _ratio(counters: Counters, window: str) -> str:
    errors, total = Selector.parse(counters.errors), Selector.parse(counters.total)
    by = ["version"]
    if asks({"errors": counters.errors, "total": counters.total}, "cohort"):
        if not (asks({"": counters.errors}, "cohort") and asks({"": counters.total}, "cohort")):
            raise ValueError(
                "only one of its two counters names `{cohort}`, so they cannot be divided; name it in both"
            )
        by.append("cohort")
    summed = [f"sum by ({', '.join(by)}) ({_rate(one, window)})" for one in (errors, total)]
    return " / ".join(summed)


def _rate(selector: Selector, window: str) -> str:
    """Write the rate of a counter; what the selector calls `{version}` or `{cohort}` becomes the label of that name."""
    matchers, named = [], []
    for label, sign, value in selector.matchers:
        tokens = [one for one in _TOKENS if f"{{{one}}}" in value]
        if not tokens:
            matchers.append(f"{label}{sign}{quoted(value)}")
            continue
        before, _, after = value.partition(f"{{{tokens[0]}}}")
        if sign != "=" or len(tokens) > 1 or f"{{{tokens[0]}}}" in after:
            message = f"a rule stands for every version, and `{label}{sign}` {value!r} cannot be read for that; name one `{{version}}` with ="
            raise ValueError(message)
        matchers.append(f"{label}=~{quoted(f'{re.escape(before)}.+{re.escape(after)}')}")
        if (label, before, after) != (tokens[0], "", ""):
            named.append((tokens[0], label, f"{re.escape(before)}(.+){re.escape(after)}"))
    inside = f"{{{','.join(matchers)}}}" if matchers else ""
    text = f"rate({selector.name}{inside}[{window}])"
    for token, label, pattern in named:
        text = f'label_replace({text}, "{token}", "$1", "{label}", {quoted(pattern)})'
    return text


def budget(sli: Sli) -> Decimal:
    """Give the share of requests that may fail."""
    objective = Decimal(repr(sli.objective))
    return objective if sli.good == "below" else 1 - objective


def _burning(bare: Rules) -> Iterator[Alert]:
    spare, below = budget(bare.sli), bare.sli.good == "below"
    if spare <= 0:
        return
    for burn in BURNS:
        share = burn.factor * spare
        if share >= 1:
            continue  # no ratio is beyond 1: a sentence tells which rows are missing
        limit = share if below else 1 - share
        compared = f"{'>' if below else '<'} {number(limit)}"
        long, short = (series(f"{RATIO}{window}", bare.labels) for window in (burn.long, burn.short))
        pace = "the pace" if burn.factor == 1 else f"{number(burn.factor)} times the pace"
        said = f"over {burn.long} and over {burn.short} too: beyond {number(limit)}, {pace} its error budget allows"
        yield Alert(
            burn.alert,
            burn.severity,
            bare.labels,
            f"{long} {compared} and {short} {compared}",
            limit,
            said,
            minutes=burn.minutes,
        )


def _unburnt(sli: Sli, alerts: Sequence[Alert]) -> str:
    """Say which rows of the table cannot be made."""
    spare = budget(sli)
    if spare <= 0:
        return f"No alerts: the objective {number(Decimal(repr(sli.objective)))} leaves no error budget that could burn. Allow a few errors."
    there = {alert.name for alert in alerts}
    absent = [f"{number(one.factor)} times" for one in BURNS if one.alert not in there]
    if not absent:
        return ""
    return (
        f"No alert at {' and '.join(absent)} the budget: with {number(spare)} allowed to fail that is everything or more, "
        "which never happens. A stricter objective would have one."
    )


def _unnamed(counters: Counters) -> str:
    """Warn where nothing keeps other models out: endpoints are one model's, Prometheus holds everybody's series."""
    named = {label for text in (counters.errors, counters.total) for label, _, _ in Selector.parse(text).matchers}
    if named & {*extract.MODEL}:
        return ""
    return (
        "Its counters name no model, so in Prometheus they count every series of that name. "
        'Where several models share it, add a label such as model="…" to `errors` and `total`.'
    )


# ── an SLI of a query ─────────────────────────────────────────────────────────────────────────────────────────────


def _asked(bare: Rules, query: str, place: Environment) -> Rules:
    """Record the value, and alert where it is beyond its objective."""
    if asks({"query": query}, "version"):
        reason = "its query names `{version}`, and a rule stands for every version"
        return with_told(bare, f"No rules: {reason}. Give it `errors` and `total` in place of `query`.")
    if not asks({"query": query}, "cohort"):
        told = [(bare.labels, query)]
    elif place.cohorts:
        told = [({**bare.labels, "cohort": one}, filled({"": query}, cohort=one)[""]) for one in place.cohorts]
    else:
        return with_told(
            bare, "No rules: its query names `{cohort}`, and its environment lists no `cohorts`. List them."
        )
    recorded = tuple({"record": VALUE, "expr": expr, "labels": dict(labels)} for labels, expr in told)
    alerts = tuple(_beyond(bare.sli, labels) for labels, _ in told)
    return with_told(
        Rules(bare.labels, bare.sli, None, recorded, alerts),
        "No ratio over windows and no burn rate: it has a query and no two counters (`errors` and `total` in its place). One alert fires while it is outside "
        "its objective, and the test begins at its recorded value, because what the query reads is not known here.",
    )


def _beyond(sli: Sli, labels: Labels) -> Alert:
    limit, sign = Decimal(repr(sli.objective)), ">" if sli.good == "below" else "<"
    said = f"{'above' if sli.good == 'below' else 'below'} its objective {number(limit)}"
    expr = f"{series(VALUE, labels)} {sign} {number(limit)}"
    return Alert("ModelSliOutsideObjective", "critical", labels, expr, limit, said, wait="1m")
