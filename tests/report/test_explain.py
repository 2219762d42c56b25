"""An explanation names every rule, who could approve, and why not this person; what nobody asked is never a yes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.clock import START
from bot.domain.access import Standing
from bot.domain.entries import Check
from bot.domain.incident import Incident, Vote, fold
from bot.domain.person import Membership, Person
from bot.domain.policy import Decision, Policy
from bot.domain.roles import Place, Role
from bot.report import explain
from bot.report.explain import NOT_ASKED, Line
from tests.report import tales
from tests.slack import stories as s

ROLES = {
    "sre": Role(members=("U0ANA", "U0TOM")),
    "owner": Role(members=("U0PRIYA",), usergroups=("S0FRAUD",), pagerduty_schedules=("PSRE",)),
    "away": Role(members=("U0INES",), models=("ranker",)),
}
TWO = Decision(mode="approve", rule="prod", reason="r", trace=(), require=(Place(role="sre"), Place(role="owner")))
MIKA = Person(id="U0MIKA", fetched_at=START)


def waiting(decision: Decision = TWO, **changes: Any) -> Incident:
    found = fold(tales.told(s.WAITING))
    assert found.plan is not None
    plan = found.plan.but(**changes) if changes else found.plan
    return explain.asked_for(replace(found, plan=plan), decision, START)


def standing(user: str = "U0MIKA", *, person: Person | None = None, unreached: str = "") -> Standing:
    roles = {name: explain.by_files(role, user, START) for name, role in ROLES.items()}
    return Standing(person, roles, unreached)


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_rule_is_named_also_those_that_were_not_reached() -> None:
    ask = {"mode": "approve", "require": [{"role": "sre"}]}
    policy = Policy.model_validate({"rules": [{"id": name, **ask} for name in ("a", "b", "c", "autopilot")]})
    trace = (
        Check(ok=False, name="rule a", detail="no match"),
        Check(ok=None, name="rule b"),
        Check(ok=True, name="rule c"),
        Check(ok=False, name="autopilot", detail="off"),
    )
    assert explain.lines(policy, trace) == [
        Line("a", "no", "no match"),
        Line("b", "?", ""),
        Line("c", "yes", ""),
        Line("autopilot", "no", "off", bound=True),
        Line("autopilot", "not reached", ""),
    ]


# ── who could ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_open_place_names_its_people_and_the_sources_nobody_asked() -> None:
    found = explain.candidates(waiting(), ROLES)
    assert [(one.role, one.people, one.unasked) for one in found] == [
        ("sre", ("U0ANA", "U0TOM"), ()),
        ("owner", ("U0PRIYA",), ("usergroup S0FRAUD", "schedule PSRE")),
    ]
    assert explain.could(found) == (
        "sre: <@U0ANA> or <@U0TOM> can. "
        f"owner: <@U0PRIYA> can, and whoever is in usergroup S0FRAUD or schedule PSRE ({NOT_ASKED})."
    )


def test_whose_own_change_it_is_and_who_voted_cannot() -> None:
    vote = Vote("U0TOM", "sre", s.PLAN.id, 1, START)
    incident = replace(waiting(deployer="U0PRIYA", editor="U0ANA"), votes=(vote,))
    assert explain.excluded(incident) == {
        "U0TOM": "approved already", "U0PRIYA": "deployed 42", "U0ANA": "edited this plan",
    }  # fmt: skip
    assert [(one.role, one.people) for one in explain.candidates(incident, ROLES)] == [("owner", ())]


def test_a_role_that_does_not_cover_the_model_has_nobody() -> None:
    decision = TWO.but(require=(Place(role="away"), Place(role="gone")))
    found = explain.candidates(waiting(decision), ROLES)
    assert explain.could(found) == "away: nobody can. gone: nobody can."


# ── one person ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_by_the_files_alone_a_member_is_no_yes_yet() -> None:
    verdict = explain.judge(waiting(), "U0ANA", standing("U0ANA"))
    assert (verdict.answer, verdict.role) == ("cannot tell", "sre")
    assert [one.ok for one in verdict.checks] == [None, True, True, None]
    assert verdict.sentence == (
        f"cannot tell. sre is held, but nobody knows: active, of our workspace, neither guest nor app ({NOT_ASKED})."
    )


def test_a_person_whose_account_is_good_and_who_holds_a_role_can() -> None:
    verdict = explain.judge(waiting(), "U0ANA", standing("U0ANA", person=MIKA.but(id="U0ANA")))
    assert (verdict.answer, verdict.sentence) == ("yes", "yes, as sre.")


@pytest.mark.parametrize(
    ("person", "said"),
    [
        (MIKA.but(active=False), "This account is deactivated."),
        (MIKA.but(guest=True), "Guests cannot approve."),
        (MIKA.but(ours=False), "People from other organisations cannot approve here."),
        (MIKA.but(bot=True), "Apps cannot approve."),
    ],
)
def test_an_account_that_may_not_is_a_no_whatever_it_holds(person: Person, said: str) -> None:
    verdict = explain.judge(waiting(), "U0ANA", standing("U0ANA", person=person))
    assert verdict.answer == "no"
    assert said in verdict.sentence


def test_who_deployed_it_cannot_and_is_told_why() -> None:
    verdict = explain.judge(waiting(deployer="U0ANA"), "U0ANA", standing("U0ANA", person=MIKA))
    assert verdict.sentence == "no. Not so: may vote on it (deployed 42, so somebody else must approve)."


def test_a_role_that_rests_on_an_answer_nobody_gave_is_cannot_tell() -> None:
    verdict = explain.judge(waiting(), "U0GIL", standing("U0GIL", person=MIKA))
    assert (verdict.answer, verdict.role) == ("cannot tell", "")
    owner = next(one for one in verdict.checks if one.name == "holds owner")
    assert owner.detail == f"usergroup S0FRAUD {NOT_ASKED}, schedule PSRE {NOT_ASKED}"


def test_who_holds_none_of_the_roles_cannot() -> None:
    only = TWO.but(require=(Place(role="sre"),))
    assert explain.judge(waiting(only), "U0GIL", standing("U0GIL", person=MIKA)).answer == "no"


def test_a_lent_role_counts_while_its_lender_is_a_member() -> None:
    sure, unsure = (explain.by_files(ROLES["sre"], "U0GIL", START, [who])[-1] for who in ("U0TOM", "U0INES"))
    assert (sure.source, sure.held) == ("lent by U0TOM", True)
    assert (unsure.source, unsure.held) == ("lent by U0INES", None)


def test_what_the_deployer_lent_does_not_count() -> None:
    lent = Standing(MIKA, {"sre": [Membership(source="lent by U0TOM", held=True, fetched_at=START)]})
    assert explain.judge(waiting(), "U0GIL", lent).answer == "yes"
    assert explain.judge(waiting(deployer="U0TOM"), "U0GIL", lent).answer == "no"


def test_where_nobody_is_asked_nobody_can_approve() -> None:
    incident = waiting(TWO.but(mode="notify", require=()))
    assert explain.judge(incident, "U0ANA", standing("U0ANA", person=MIKA)).sentence == (
        "no. The mode is notify, so nobody is asked to approve."
    )


def test_an_explanation_expires_like_the_plan_would() -> None:
    decided = waiting(TWO.but(plan_ttl=timedelta(minutes=5))).decision
    assert decided is not None
    assert decided.expires_at == START + timedelta(minutes=5)


def test_a_script_gets_the_same_answer() -> None:
    incident = waiting()
    verdict = explain.judge(incident, "U0ANA", standing("U0ANA", person=MIKA))
    found = explain.as_json(TWO, [Line("prod", "yes", "")], explain.candidates(incident, ROLES), verdict)
    assert (found["mode"], found["person"]["answer"], found["person"]["role"]) == ("approve", "yes", "sre")
    assert found["could"][1] == {
        "role": "owner",
        "people": ("U0PRIYA",),
        "unasked": ("usergroup S0FRAUD", "schedule PSRE"),
    }
    assert explain.as_json(TWO, [], [], None)["person"] is None
