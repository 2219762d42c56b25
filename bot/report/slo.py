"""Rules for Prometheus, a route for Alertmanager and promtool's tests, made from the SLIs of the configuration; pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from bot.domain import words
from bot.domain.model import Model
from bot.report.slo_cases import cases_of
from bot.report.slo_rules import Counters, Labels, Rules, rules_of, with_told

MADE = (
    "# Made by `lastgood slo generate` from lastgood.yaml. Change that and run it again; what is changed here is lost."
)
TOKEN = "lastgood-token"  # noqa: S105  the name of a file
WATCHDOG = "Watchdog"
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_BEATS = "Always fires, so that its absence tells that alerts do not get through."


@dataclass(frozen=True, slots=True)
class Remark:
    """One sentence about what was not made for an SLI, or what to mind; `sli` is empty where there is none."""

    model: str
    environment: str
    sli: str
    text: str

    @property
    def about(self) -> str:
        """Name the SLI it is about."""
        return " ".join(words.plain(one, 80) for one in (self.model, self.environment, self.sli) if one)


@dataclass(frozen=True, slots=True)
class Generated:
    """Every file by its name, and what is to be said beside them."""

    files: Mapping[str, str]
    remarks: tuple[Remark, ...]


def generate(models: Mapping[str, Model], public_url: str) -> Generated:
    """Make every file: those of each SLI, the Watchdog's and Alertmanager's."""
    files: dict[str, str] = {}
    remarks: list[Remark] = []
    for name, model in models.items():
        remarks += _without(name, model)
        for one in _told_apart(_rules(name, model)):
            made, said = _made(one)
            files |= made
            remarks += said
    return Generated({**files, **_watchdog(), "alertmanager.yml": alertmanager(public_url)}, tuple(remarks))


def _made(rules: Rules) -> tuple[dict[str, str], list[Remark]]:
    """Make the files of one SLI. Its tests read its rules alone, because its counters may be another SLI's too."""
    cases, untested = cases_of(rules)
    said = [_remark(rules.labels, text) for text in (*rules.told, untested) if text]
    stem, group = file_stem(rules.labels), f"lastgood {' '.join(rules.labels.values())}"
    recorded, alerts = [dict(one) for one in rules.recorded], [one.as_rule() for one in rules.alerts]
    own = [*recorded, *alerts] if rules.counters else alerts
    files: dict[str, str] = {}
    if own:
        notes = [f"# {one.about}: {one.text}" for one in said]
        files[f"{stem}.rules.yml"] = _file({"groups": [{"name": group, "rules": own}]}, *notes)
    if recorded and not rules.counters:
        about = "# What the query gives. It is a file of its own so that the test can put values in its place."
        files[f"{stem}.value.rules.yml"] = _file({"groups": [{"name": f"{group} value", "rules": recorded}]}, about)
    if cases:
        files[f"{stem}.test.yaml"] = _tests(f"{stem}.rules.yml", cases)
    return files, said


def file_stem(labels: Labels) -> str:
    """Give the beginning of an SLI's file names: model, environment and SLI, or what is left of them and their digest."""
    names = list(labels.values())
    if all(_PLAIN.fullmatch(one) for one in names):
        return ".".join(names)
    digest = hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]
    left = re.sub("[^a-z0-9_-]+", "_", "-".join(names).lower())[:80].strip("-_")
    return f"{left or 'sli'}.{digest}"  # a name that began with - would be an option to every tool


def alertmanager(public_url: str) -> str:
    """Give a whole Alertmanager configuration whose two routes and second receiver are to be taken over."""
    to_us = {
        "url": f"{public_url.rstrip('/')}/hooks/alertmanager",
        "send_resolved": True,
        "max_alerts": 200,
        "http_config": {"authorization": {"type": "Bearer", "credentials_file": TOKEN}},
    }
    content = {
        "route": {
            "receiver": "everybody-else",
            "routes": [
                {
                    "matchers": ['model=~".+"'],
                    "receiver": "lastgood",
                    "group_by": ["model", "env"],
                    "group_wait": "10s",
                    "group_interval": "1m",
                    "repeat_interval": "4h",
                    "continue": True,
                },
                {
                    "matchers": [f'alertname="{WATCHDOG}"'],
                    "receiver": "lastgood",
                    "group_by": ["alertname"],
                    "group_wait": "0s",
                    "group_interval": "1m",
                    "repeat_interval": "5m",
                    "continue": True,
                },
            ],
        },
        "receivers": [{"name": "everybody-else"}, {"name": "lastgood", "webhook_configs": [to_us]}],
    }
    return _file(
        content,
        "# Take both routes and the receiver `lastgood` over into your own file, before routes that do not continue.",
        f"# `{TOKEN}` is a file beside it that holds the token Lastgood knows as sources.alertmanager.",
    )


def _watchdog() -> dict[str, str]:
    rule = {
        "alert": WATCHDOG,
        "expr": "vector(1)",
        "labels": {"severity": "none"},
        "annotations": {"summary": _BEATS},
    }
    fires = {"exp_labels": {"severity": "none"}, "exp_annotations": {"summary": _BEATS}}
    case = {
        "name": "The Watchdog always fires",
        "interval": "1m",
        "alert_rule_test": [{"eval_time": "5m", "alertname": WATCHDOG, "exp_alerts": [fires]}],
    }
    return {
        "watchdog.rules.yml": _file({"groups": [{"name": "lastgood watchdog", "rules": [rule]}]}),
        "watchdog.test.yaml": _tests("watchdog.rules.yml", [case]),
    }


def _rules(name: str, model: Model) -> Iterator[Rules]:
    for environment, place in model.environments.items():
        for sli, said in place.slis.items():
            yield rules_of(name, environment, sli, said, place)


def _told_apart(found: Iterable[Rules]) -> Iterator[Rules]:
    """Say of an SLI that it counts what one of another environment counts: one Prometheus would alert on both at once."""
    seen: dict[Counters, str] = {}
    for one in found:
        where = seen.setdefault(one.counters, one.labels["env"]) if one.counters else one.labels["env"]
        alike = (
            f"It counts the same series as {words.plain(where, 80)} does. Where one Prometheus holds both environments, "
            'add a label such as env="…" to `errors` and `total`.'
        )
        yield with_told(one, alike) if where != one.labels["env"] else one


def _without(name: str, model: Model) -> Iterator[Remark]:
    for environment, place in model.environments.items():
        if not place.slis:
            yield _remark(
                {"model": name, "env": environment, "sli": ""}, "No rules: it has no SLI. Give it one under `slis`."
            )


def _remark(labels: Labels, text: str) -> Remark:
    model, environment, sli = (
        labels[name].encode(errors="backslashreplace").decode() for name in ("model", "env", "sli")
    )
    return Remark(model, environment, sli, text)


def _tests(rules: str, cases: Sequence[Mapping[str, Any]]) -> str:
    return _file({"rule_files": [rules], "evaluation_interval": "1m", "tests": list(cases)})


def _file(content: Mapping[str, Any], *notes: str) -> str:
    """Write a file; no line is folded, because readers differ in how they unfold one."""
    body = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=1_000_000)
    return "\n".join([MADE, *notes, body])
