"""Which runbook an incident gets, which model a name means, and when a generation differs."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from bot.clock import START
from bot.domain.alert import Alert, Kind, Severity
from bot.domain.catalogue import Catalogue
from bot.domain.incident import Incident
from bot.domain.model import Model
from bot.domain.policy import Policy
from bot.domain.roles import Role
from bot.domain.runbook import Runbook

MODEL = Model.model_validate(
    {"aliases": ["fraud_scorer"], "environments": {"prod": {"targets": {"route": {"adapter": "memory"}}}}}
)


def book(name: str, priority: int = 0, **applies_to: Any) -> Runbook:
    return Runbook.model_validate(
        {
            "runbook": name, "title": name, "owner": "team", "priority": priority, "applies_to": applies_to,
            "rollback": {"steps": [{"target": "route"}]},
        }
    )  # fmt: skip


def catalogue(*books: Runbook, **models: Model) -> Catalogue:
    return Catalogue(models or {"fraud-scorer": MODEL}, Policy(), {}, books)


def incident(*alerts: Alert, environment: str = "prod", at: datetime = START) -> Incident:
    made = Incident(stream="incident/A", model="fraud-scorer", environment=environment, tier=1, opened_at=at, since=at)
    return replace(made, alerts={one.fingerprint: one for one in alerts})


def alert(**changes: Any) -> Alert:
    given: dict[str, Any] = {"source": "alertmanager", "fingerprint": "f", "status": "firing", "starts_at": START}
    return Alert(**{**given, **changes})


def chosen(catalogue_: Catalogue, incident_: Incident) -> str | None:
    found = catalogue_.runbook(incident_)
    return found.runbook if found else None


def test_the_highest_priority_among_those_that_apply_wins() -> None:
    known = catalogue(book("low", 1), book("high", 5), book("higher", 9, environments=["dev"]))
    assert chosen(known, incident()) == "high"


def test_no_runbook_applies_elsewhere() -> None:
    assert chosen(catalogue(book("a", models=["other"]), book("b", environments=["dev"])), incident()) is None


@pytest.mark.parametrize(
    ("applies_to", "fits", "misses"),
    [
        ({"sources": ["alertmanager"]}, {}, {"source": "generic"}),
        ({"kinds": ["security"]}, {"kind": Kind.SECURITY}, {}),
        ({"slis": ["error_ratio"]}, {"sli": "error_ratio"}, {"sli": "latency"}),
        ({"severities": ["critical"]}, {"severity": Severity.CRITICAL}, {"severity": Severity.INFO}),
        ({"models": ["fraud-*"]}, {}, None),
    ],
)
def test_each_filter_lets_in_what_it_names(
    applies_to: dict[str, Any], fits: dict[str, Any], misses: dict[str, Any] | None
) -> None:
    known = catalogue(book("a", **applies_to))
    assert chosen(known, incident(alert(**fits))) == "a"
    assert misses is None or chosen(known, incident(alert(**misses))) is None


def test_an_alert_that_names_no_sli_fits_every_sli() -> None:
    assert chosen(catalogue(book("a", slis=["error_ratio"])), incident(alert(sli=None))) == "a"


def test_filters_must_fit_one_alert_together() -> None:
    known = catalogue(book("a", slis=["error_ratio"], severities=["critical"]))
    apart = [alert(fingerprint="1", sli="error_ratio"), alert(fingerprint="2", sli="x", severity=Severity.CRITICAL)]
    assert chosen(known, incident(*apart)) is None
    assert chosen(known, incident(*apart, alert(fingerprint="3", sli="error_ratio", severity=Severity.CRITICAL))) == "a"


def test_a_rollback_asked_for_by_hand_needs_no_alert() -> None:
    assert chosen(catalogue(book("a", severities=["critical"])), incident()) == "a"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("fraud-scorer", "fraud-scorer"),
        ("fraud_scorer", "fraud-scorer"),
        ("Fraud-Scorer", None),
        ("frаud-scorer", None),
    ],  # the last has a Cyrillic а
)
def test_a_model_is_found_by_its_name_or_alias_and_never_by_looks(name: str, known: str | None) -> None:
    assert catalogue().model_named(name) == known


def test_names_compare_after_normal_form() -> None:
    assert catalogue(café=MODEL).model_named("cafe\u0301") == "caf\u00e9"


def test_an_environment_that_left_the_configuration_is_none() -> None:
    assert catalogue().environment(incident()) is not None
    assert catalogue().environment(incident(environment="gone")) is None


def test_a_digest_changes_with_what_it_covers_and_not_with_the_order_of_names() -> None:
    base, other = catalogue(book("a")), Model.model_validate({**MODEL.model_dump(), "tier": 3})
    assert base.digest == catalogue(book("a")).digest
    assert len({base.digest, catalogue(book("b")).digest, catalogue(book("a"), **{"fraud-scorer": other}).digest}) == 3
    assert base.policy_digest == catalogue(book("b")).policy_digest
    two, swapped = catalogue(a=MODEL, b=other), catalogue(b=other, a=MODEL)
    assert two.digest == swapped.digest


RULES: list[dict[str, Any]] = [
    {"id": "ranker", "models": ["ranker-*"], "require": [{"role": "sre"}]},
    {"id": "fraud", "models": ["fraud-*"], "environments": ["prod"], "require": [{"role": "owner"}]},
]


def ruled(*rules: dict[str, Any], **changes: Any) -> Catalogue:
    roles = {"sre": Role(members=("U0ANA",)), "owner": Role(members=("U0PRIYA",)), "boss": Role(members=("U0INES",))}
    policy = Policy.model_validate({"rules": list(rules), **{k: v for k, v in changes.items() if k not in roles}})
    return Catalogue({"fraud-scorer": MODEL}, policy, {**roles, **{k: v for k, v in changes.items() if k in roles}}, ())


@pytest.mark.parametrize(
    ("after", "own"),
    [
        (ruled(RULES[1]), False),
        (ruled({**RULES[0], "plan_ttl": "5m"}, RULES[1]), False),
        (ruled(*RULES, sre=Role(members=("U0TOM",))), False),
        (ruled(*RULES, reviewed={"at": "2026-11-01", "by": "U0ANA"}), False),
        (ruled(RULES[0], {**RULES[1], "plan_ttl": "5m"}), True),
        (ruled(RULES[0], {**RULES[1], "environments": ["staging"]}), True),
        (ruled(RULES[0], {**RULES[1], "escalate_to": "boss"}), True),
        (ruled(*RULES, {"id": "rest", "require": [{"role": "sre"}]}), True),
        (ruled(*RULES, owner=Role(members=("U0PRIYA", "U0MIKA"))), True),
        (ruled(*RULES, limits={"cooldown": "1h"}), True),
        (ruled(*RULES, break_glass={"role": "boss"}), True),
    ],
)
def test_RT25_a_plan_is_bound_to_the_rules_roles_and_bounds_that_concern_it(after: Catalogue, own: bool) -> None:  # noqa: FBT001  a case's answer
    before = ruled(*RULES).policy_digest_of("fraud-scorer", "prod")
    assert (after.policy_digest_of("fraud-scorer", "prod") != before) is own
