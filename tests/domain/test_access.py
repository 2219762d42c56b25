"""Who may approve: default deny, one sentence for each refusal, and one place for one person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import errors
from bot.domain import access, words
from bot.domain import entries as e
from bot.domain.access import Question, Standing
from bot.domain.incident import Incident, Phase, StepState, Vote
from bot.domain.person import Membership, Person
from bot.domain.plan import Plan, PlanStep
from bot.domain.roles import Place
from bot.domain.runbook import VerifySpec

NOW = datetime(2026, 11, 23, 2, 12, tzinfo=UTC)
PLAN = Plan(
    ordinal=1, incident="I", model="fraud", environment="production", from_version="42", to_version="41",
    observed_serving=True, steps=(PlanStep(name="eu", target="eu"),), targets=(), resources=(), on_failure="stop",
    verify=VerifySpec(), confirm=False, runbook="model", runbook_digest="r", policy_digest="p", model_digest="m",
    postmortem="pm",
)  # fmt: skip


def decided(*places: Place, mode: e.Mode = "approve", until: datetime | None = None) -> e.PolicyDecided:
    return e.PolicyDecided(
        plan=PLAN.id, mode=mode, rule="tier-1", reason="", require=places, policy_digest="p",
        expires_at=until or NOW + timedelta(minutes=15),
    )  # fmt: skip


def waiting(*places: Place, **changes: Any) -> Incident:
    decision = decided(*(places or (Place(role="ic"), Place(role="ml"))))
    known = Incident(
        "incident/I", "fraud", "production", 1, NOW, NOW, phase=Phase.WAITING, plan=PLAN, decision=decision
    )
    return replace(known, **changes)


def known(user: str, *roles: str, unsure: str = "", **facts: Any) -> Standing:
    person = Person.model_validate({"id": user, "fetched_at": NOW, **facts})
    held = {role: [Membership(source=f"member {user}", held=True, fetched_at=NOW)] for role in roles}
    if unsure:
        held[unsure] = [Membership(source="usergroup S0", held=None, detail="Slack did not answer.", fetched_at=NOW)]
    return Standing(person, held)


def vote(user: str, role: str) -> Vote:
    return Vote(user, role, PLAN.id, 1, NOW)


def asked(standing: Standing, plan: str = PLAN.short, others: Mapping[str, Standing] | None = None) -> Question:
    return Question("U0ANA", plan, standing, others or {}, "<@U0BEN> can.", NOW, glass="<@U0INES>")


ANA = known("U0ANA", "ic")
OPEN = waiting()
GUESTS = [
    (Standing(None, ANA.roles), "This account is not known in this workspace."),
    (known("U0ANA", "ic", ours=False), "People from other organisations cannot approve here."),
    (known("U0ANA", "ic", active=False), "This account is deactivated."),
    (known("U0ANA", "ic", guest=True), "Guests cannot approve."),
    (known("U0ANA", "ic", bot=True), "Apps cannot approve."),
]
TIME, LATER = words.moment(NOW), replace(OPEN, plan=PLAN.but(ordinal=2))
FILLED = replace(OPEN, votes=(vote("U0BEN", "ic"),))
ENDED = replace(OPEN, decision=decided(Place(role="ic"), until=NOW))
MORE = [
    (replace(OPEN, phase=Phase.ROLLING, claimed_at=NOW), ANA, errors.Expired, f"Already rolling since {TIME}; two clicks, one rollback."),
    (replace(OPEN, phase=Phase.STUCK, rejected_by="U0BEN"), ANA, errors.Expired, "<@U0BEN> rejected this plan; only a new plan clears that."),
    (replace(OPEN, phase=Phase.CLOSED), ANA, errors.Expired, "This incident is closed."),
    (replace(OPEN, phase=Phase.PLANNED), ANA, errors.Expired, "No plan waits for approval now."),
    (LATER, ANA, errors.Stale, f"The card you pressed showed plan {PLAN.short}. The card now shows {LATER.plan.short if LATER.plan else ''}. Read it, then approve."),
    (ENDED, ANA, errors.Expired, f"Plan {PLAN.short} ended at {TIME}. A new plan is being made; approve that one."),
    (replace(OPEN, votes=(vote("U0ANA", "ic"),)), ANA, errors.AlreadyVoted, f"You approved this plan at {TIME}. One person fills one place."),
    (OPEN, known("U0ANA"), errors.RoleMissing, "This plan needs ic and ml; you hold none of its roles."),
    (OPEN, known("U0ANA", unsure="ml"), errors.RoleMissing, "Slack did not answer. So I cannot confirm that you hold ml; that counts as no. Press again, or <@U0INES> can break the glass."),
    (FILLED, ANA, errors.RoleMissing, "The ic place is filled. Missing: ml."),
]  # fmt: skip


def first_no(ruling: access.Ruling) -> str:
    return next(check.detail for check in ruling.checks if check.ok is False)


def assert_refused(ruling: access.Ruling, error: type[errors.Denied], sentence: str) -> None:
    assert (ruling.role, ruling.error) == (None, error)
    assert ruling.text == f"{sentence} <@U0BEN> can. Nothing was changed."
    assert first_no(ruling) == sentence


@pytest.mark.parametrize(("standing", "sentence"), GUESTS)
def test_only_an_active_person_of_this_workspace_may_approve(standing: Standing, sentence: str) -> None:
    assert_refused(access.may_approve(OPEN, asked(standing)), errors.Guest, sentence)


@pytest.mark.parametrize(("incident", "standing", "error", "sentence"), MORE)
def test_each_refusal_has_its_own_sentence(
    incident: Incident, standing: Standing, error: type[errors.Denied], sentence: str
) -> None:
    others = {"U0BEN": known("U0BEN", "ic")}
    assert_refused(access.may_approve(incident, asked(standing, others=others)), error, sentence)


OWN = [
    ("requester", "You asked for this rollback, so somebody else must approve."),
    ("editor", "You edited this plan, so somebody else must approve."),
    ("deployer", "You deployed 42, so somebody else must approve."),
]


@pytest.mark.parametrize(("part", "sentence"), OWN)
def test_whose_own_change_it_is_may_not_approve_it(part: str, sentence: str) -> None:
    own = PLAN.but(**{part: "U0ANA"})
    ruling = access.may_approve(replace(OPEN, plan=own), asked(ANA, plan=own.short))
    assert_refused(ruling, errors.OwnChange, sentence)


@pytest.mark.parametrize("part", ["requester", "editor", "deployer"])
def test_RI3_whose_own_change_it_is_never_counts_at_the_claim(part: str) -> None:
    own = PLAN.but(**{part: "U0ANA"})
    incident = waiting(Place(role="ic"), plan=own, votes=(Vote("U0ANA", "ic", own.id, 1, NOW),))
    quorum = access.may_execute(incident, {"U0ANA": ANA}, NOW)
    assert (quorum.lost, quorum.holds) == (("U0ANA",), False)


@pytest.mark.parametrize("part", ["requester", "editor", "deployer"])
def test_RT11_a_second_account_with_the_same_address_is_the_same_person(part: str) -> None:
    own = PLAN.but(**{part: "U0OTHER"})
    mine, theirs = known("U0ANA", "ic", email="ana@example.com"), known("U0OTHER", email="Ana@Example.com ")
    ruling = access.may_approve(replace(OPEN, plan=own), asked(mine, own.short, {"U0OTHER": theirs}))
    assert ruling.error is errors.OwnChange
    assert "with another account, so somebody else must approve." in ruling.text
    voted = waiting(Place(role="ic"), plan=own, votes=(Vote("U0ANA", "ic", own.id, 1, NOW),))
    assert access.may_execute(voted, {"U0ANA": mine, "U0OTHER": theirs}, NOW).lost == ("U0ANA",)


def test_RT11_two_accounts_with_one_address_fill_one_place() -> None:
    mine, theirs = known("U0ANA", "ml", email="a@example.com"), known("U0BEN", "ic", email="a@example.com")
    ruling = access.may_approve(FILLED, asked(mine, others={"U0BEN": theirs}))
    text = f"<@U0BEN> has your e-mail address and approved this plan at {TIME}. One person fills one place."
    assert_refused(ruling, errors.AlreadyVoted, text)
    both = waiting(votes=(vote("U0BEN", "ic"), vote("U0ANA", "ml")))
    assert access.may_execute(both, {"U0ANA": mine, "U0BEN": theirs}, NOW).lost == ("U0ANA",)


def test_accounts_without_an_address_are_not_taken_for_one_person() -> None:
    ruling = access.may_approve(FILLED, asked(known("U0ANA", "ml"), others={"U0BEN": known("U0BEN", "ic")}))
    assert ruling.role == "ml"


def test_a_holder_of_a_missing_role_may_approve_and_every_check_is_kept() -> None:
    ruling = access.may_approve(OPEN, asked(ANA))
    assert (ruling.role, ruling.error, ruling.text) == ("ic", None, "")
    assert [str(check) for check in ruling.checks] == [
        "✓ account known", "✓ our workspace", "✓ account active", "✓ not a guest", "✓ not an app",
        "✓ the incident waits for approval", "✓ the plan on the card is current", "✓ plan fresh", "✓ not the requester",
        "✓ not the editor of the plan", "? not the deployer (Who deployed 42 is not known.)",
        "✓ has not voted yet", "✓ holds a missing role (ic)",
    ]  # fmt: skip


def test_the_first_failing_check_names_the_refusal_and_the_later_ones_are_still_run() -> None:
    ruling = access.may_approve(LATER, asked(known("U0ANA", guest=True)))
    assert ruling.error is errors.Guest
    assert [check.name for check in ruling.checks if check.ok is False] == [
        "not a guest",
        "the plan on the card is current",
    ]


def test_a_person_with_two_roles_moves_over_for_the_one_who_can_fill_only_one() -> None:
    assert access.may_approve(FILLED, asked(ANA, others={"U0BEN": known("U0BEN", "ic", "ml")})).role == "ic"


ROLES, USERS = ("ic", "ml", "sre"), ("U1", "U2", "U3", "U4")
HELD = st.fixed_dictionaries({user: st.sets(st.sampled_from(ROLES)) for user in USERS})
PLACES = st.lists(st.sampled_from(ROLES), min_size=1, max_size=3, unique=True).flatmap(
    lambda roles: st.tuples(*(st.builds(Place, role=st.just(role), count=st.integers(1, 2)) for role in roles))
)
VOTERS = st.lists(st.sampled_from(USERS), max_size=6)


@given(HELD, PLACES, VOTERS)
def test_one_person_never_fills_two_places(
    held: dict[str, set[str]], places: tuple[Place, ...], voters: list[str]
) -> None:
    standings = {user: known(user, *roles) for user, roles in held.items()}
    taken = access.filled(places, [vote(user, "") for user in voters], standings)
    assert len(set(taken.values())) == len(taken)
    assert all(slot.partition("#")[0] in held[user] for slot, user in taken.items())


@given(HELD, PLACES, VOTERS, st.randoms())
def test_the_order_of_votes_does_not_matter(
    held: dict[str, set[str]], places: tuple[Place, ...], voters: list[str], by: Any
) -> None:
    standings = {user: known(user, *roles) for user, roles in held.items()}
    votes = [vote(user, "") for user in voters]
    before = len(access.filled(places, votes, standings))
    by.shuffle(votes)
    assert len(access.filled(places, votes, standings)) == before


def test_two_people_fill_two_places_and_the_quorum_may_execute() -> None:
    incident = waiting(votes=(vote("U0ANA", "ic"), vote("U0BEN", "ml")))
    quorum = access.may_execute(incident, {"U0ANA": ANA, "U0BEN": known("U0BEN", "ml")}, NOW)
    assert (quorum.lost, quorum.unsure, quorum.holds) == ((), (), True)
    assert quorum.checks[-1].name == "2 of 2 places filled by different people"


@pytest.mark.parametrize(
    "now",
    [
        known("U0ANA"),
        known("U0ANA", "ic", active=False),
        known("U0ANA", "ic", guest=True),
        known("U0ANA", "ic", ours=False),
        Standing(None, {}),
    ],
)
def test_a_vote_whose_voter_changed_since_counts_no_more(now: Standing) -> None:
    incident = waiting(Place(role="ic"), votes=(vote("U0ANA", "ic"),))
    quorum = access.may_execute(incident, {"U0ANA": now}, NOW)
    assert (quorum.lost, quorum.unsure) == (("U0ANA",), ())
    assert [check.ok for check in quorum.checks] == [False, False]


@pytest.mark.parametrize(
    "now",
    [
        known("U0ANA", "ic", fetched_at=NOW - timedelta(seconds=61)),
        known("U0ANA", "ic", fetched_at=NOW + timedelta(seconds=1)),
        known("U0ANA", unsure="ic"),
        Standing(None, {}, "Slack did not answer."),
    ],
)
def test_no_answer_about_a_voter_is_neither_a_yes_nor_a_no(now: Standing) -> None:
    incident = waiting(Place(role="ic"), votes=(vote("U0ANA", "ic"),))
    quorum = access.may_execute(incident, {"U0ANA": now}, NOW)
    assert (quorum.lost, quorum.unsure, quorum.holds) == ((), ("U0ANA",), False)
    assert [check.ok for check in quorum.checks] == [None, False]


def test_a_vote_for_another_plan_or_by_the_requester_counts_for_nothing() -> None:
    incident = waiting(Place(role="ic"), votes=(Vote("U0ANA", "ic", "another", 1, NOW),))
    assert access.may_execute(incident, {"U0ANA": ANA}, NOW).lost == ("U0ANA",)
    own = PLAN.but(requester="U0ANA")
    mine = replace(incident, plan=own, votes=(Vote("U0ANA", "ic", own.id, 1, NOW),))
    assert access.may_execute(mine, {"U0ANA": ANA}, NOW).lost == ("U0ANA",)


def test_a_vote_that_fits_nothing_asked_now_may_be_given_again() -> None:
    incident = waiting(Place(role="ml"), votes=(vote("U0ANA", "ic"),))
    both = known("U0ANA", "ic", "ml")
    assert access.may_approve(incident, asked(both, others={"U0ANA": both})).role == "ml"
    assert access.may_approve(incident, asked(ANA, others={"U0ANA": ANA})).error is errors.RoleMissing


def test_what_is_missing_is_told_by_what_people_hold_now() -> None:
    moved = {"U0BEN": known("U0BEN", "ml")}  # voted as ic, and holds only ml since
    ruling = access.may_approve(replace(OPEN, votes=(vote("U0BEN", "ic"),)), asked(known("U0ANA", "ml"), others=moved))
    assert ruling.text.startswith("The ml place is filled. Missing: ic.")


CLAIMED = e.RollbackClaimed(plan=PLAN.id, before={}, goal={}, locks=(), executor="x")
APPLIED = {"eu": StepState("eu", "applied", 1, accepted=True)}
WELL = e.IncidentClosed(outcome="recovered", reason="Recovered.")
GRADED = e.RollbackGraded(incident="incident/I", grade="helped", reason="")
FIXED = e.FixRecorded(person="U0ANA", text_ref="r")
LEFT = e.LeftoverOpened(incident="incident/I", name="route", what="a runtime override")
BROKEN = e.GlassBroken(
    person="U0ANA", role="ic", plan=PLAN.id, card_version=1, via="slack", text_ref="r", window_ends=NOW + timedelta(minutes=1),
    review_due=NOW + timedelta(days=1),
)  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "changes", "acts"),
    [
        (Phase.OPENED, {}, ()),
        (Phase.PLANNED, {}, ()),
        (Phase.PLANNED, {"decision": None}, ()),
        (Phase.PLANNED, {"decision": decided(mode="hold")}, ("choose", "snooze")),
        (Phase.WAITING, {}, ("approve", "reject", "choose", "edit", "break_glass", "snooze")),
        (Phase.CLEARED, {}, ("reject",)),
        (Phase.ROLLING, {"claim": CLAIMED}, ("pause", "cancel")),
        (Phase.APPLIED, {"claim": CLAIMED}, ("pause", "cancel")),
        (Phase.ROLLING, {"claim": CLAIMED, "paused_by": "U0ANA"}, ("resume", "cancel")),
        (Phase.ROLLING, {"claim": CLAIMED, "cancelled": True}, ()),
        (Phase.MOVED, {"claim": CLAIMED}, ()),
        (Phase.RECOVERED, {"claim": CLAIMED}, ()),
        (Phase.NOTED, {}, ("take", "plan_again", "choose", "snooze", "dismiss", "hand_over")),
        (Phase.STUCK, {}, ("take", "plan_again", "choose", "snooze", "dismiss", "hand_over")),
        (
            Phase.STUCK,
            {"claim": CLAIMED},
            ("take", "retry", "skip", "by_hand", "mark_recovered", "hand_over", "give_up"),
        ),
        (
            Phase.STUCK,
            {"claim": CLAIMED, "steps": APPLIED},
            ("take", "retry", "skip", "by_hand", "mark_recovered", "compensate", "hand_over", "give_up"),
        ),
        (
            Phase.STUCK,
            {"claim": CLAIMED, "paused_by": "U0ANA"},
            ("take", "resume", "retry", "skip", "by_hand", "mark_recovered", "hand_over", "give_up"),
        ),
        (Phase.STUCK, {"claim": CLAIMED, "plan": None}, ("take", "mark_recovered", "hand_over", "give_up")),
        (Phase.CLOSED, {}, ()),
        (Phase.CLOSED, {"claim": CLAIMED}, ()),
        (Phase.CLOSED, {"claim": CLAIMED, "closed": WELL}, ("fix",)),
        (Phase.CLOSED, {"claim": CLAIMED, "closed": WELL, "grade": GRADED, "fix": FIXED}, ("grade",)),
        (Phase.CLOSED, {"claim": CLAIMED, "closed": WELL, "leftovers": {"route": LEFT}}, ("fix", "clear")),
        (Phase.CLOSED, {"review": BROKEN}, ("review",)),
        (Phase.ROLLING, {"claim": CLAIMED, "review": BROKEN}, ("pause", "cancel", "review")),
    ],
)
def test_each_phase_allows_its_acts_and_no_others(phase: Phase, changes: dict[str, Any], acts: tuple[str, ...]) -> None:
    assert access.legal(waiting(phase=phase, **changes)) == acts


def test_the_account_that_could_not_be_asked_about_is_not_called_unknown() -> None:
    ruling = access.may_approve(OPEN, asked(Standing(None, {}, "Slack did not answer.")))
    assert ruling.text.startswith("Slack did not answer. That counts as no.")


def test_an_act_needs_one_of_its_roles_and_an_active_account() -> None:
    assert access.may_act(ANA, ["ml", "ic"]).role == "ic"
    assert access.may_act(ANA, ["ml"]).text == "This needs ml. Whoever holds it can. Nothing was changed."
    said = "This needs ml or dba. Whoever holds one of them can. Nothing was changed."
    assert access.may_act(ANA, ["ml", "dba"]).text == said
    told = access.may_act(ANA, ["ml"], could="<@U0BEN> can.")
    assert (told.error, told.text) == (errors.RoleMissing, "This needs ml. <@U0BEN> can. Nothing was changed.")
    none = access.may_act(ANA, [])
    assert (none.error, none.text) == (errors.RoleMissing, "This needs a role that nobody is given. Nothing was changed.")  # fmt: skip
    assert access.may_act(known("U0ANA", "ic", guest=True), ["ic"]).error is errors.Guest


def test_a_quorum_completes_whoever_votes_first() -> None:
    places = (Place(role="ic"), Place(role="ml"))
    ben = Vote("U0BEN", "ic", "p", 1, NOW, ("ic", "ml"))
    ana = Vote("U0ANA", "ic", "p", 1, NOW, ("ic",))
    assert access.open_places(places, (ben, ana)) == []
    assert access.open_places(places, (ana, ben)) == []


# ── what a sign-in vouches for ────────────────────────────────────────────────────────────────────────────────────


def vouched(*roles: str, until: datetime = NOW + timedelta(hours=1)) -> Standing:
    return known("U0ANA", *roles, vouched_until=until, fetched_at=NOW - timedelta(hours=2))


def test_while_slack_is_away_a_sign_in_vouches_for_what_comes_from_a_terminal() -> None:
    ruling = access.may_approve(OPEN, replace(asked(vouched("ic")), via="terminal"))
    assert ruling.role == "ic"
    assert "✓ account vouched for by a sign-in, Slack is away" in [str(check) for check in ruling.checks]


@pytest.mark.parametrize(
    ("via", "until", "sentence"),
    [
        ("slack", NOW + timedelta(hours=1), "Slack is away, so I cannot confirm this account; a terminal that signed in before can act. That counts as no."),
        ("signin", NOW + timedelta(hours=1), "Slack is away, so I cannot confirm this account; a terminal that signed in before can act. That counts as no."),
        ("terminal", NOW, f"Slack is away, and the sign-in that vouched for this account ended at {TIME}. That counts as no."),
    ],
)  # fmt: skip
def test_a_sign_in_vouches_for_nothing_else(via: str, until: datetime, sentence: str) -> None:
    assert_refused(
        access.may_approve(OPEN, replace(asked(vouched("ic", until=until)), via=via)), errors.Guest, sentence
    )
    act = access.may_act(vouched("ic", until=until), ["ic"], via, NOW)
    assert (act.error, act.text) == (errors.Guest, f"{sentence} Nothing was changed.")


def test_at_the_claim_a_sign_in_vouches_for_votes_from_a_terminal_only() -> None:
    incident = waiting(Place(role="ic"), votes=(vote("U0ANA", "ic"),))
    held = {"U0ANA": vouched("ic")}
    quorum = access.may_execute(incident, held, NOW, {"U0ANA": True})
    assert quorum.holds
    assert "✓ the terminal of <@U0ANA> signed it" in [str(check) for check in quorum.checks]
    assert any(check.name == "account vouched for by a sign-in, Slack is away" for check in quorum.checks)
    assert access.may_execute(incident, held, NOW).unsure == ("U0ANA",)
    over = {"U0ANA": vouched("ic", until=NOW)}
    assert access.may_execute(incident, over, NOW, {"U0ANA": True}).unsure == ("U0ANA",)


@pytest.mark.parametrize("standing", [ANA, vouched("ic")])
def test_at_the_claim_a_terminal_that_did_not_sign_proves_nothing_whether_slack_is_away_or_not(
    standing: Standing,
) -> None:
    voted = waiting(Place(role="ic"), votes=(vote("U0ANA", "ic"),))
    for incident in (voted, replace(ALONE, decision=decided(Place(role="ic")))):
        quorum = access.may_execute(incident, {"U0ANA": standing}, NOW, {"U0ANA": False})
        assert (quorum.holds, quorum.lost, quorum.forged, quorum.unsure) == (False, ("U0ANA",), ("U0ANA",), ())
        told = "✗ the terminal of <@U0ANA> signed it (the terminal's signature does not hold)"
        assert told in [str(check) for check in quorum.checks]


def test_RT8_a_role_answer_from_long_ago_is_no_answer_at_the_claim() -> None:
    old = Membership(source="usergroup S0", held=True, fetched_at=NOW - timedelta(seconds=61))
    incident = waiting(Place(role="ic"), votes=(vote("U0ANA", "ic"),))
    quorum = access.may_execute(incident, {"U0ANA": replace(ANA, roles={"ic": [old]})}, NOW)
    assert (quorum.unsure, quorum.holds) == (("U0ANA",), False)


# ── roles lent ────────────────────────────────────────────────────────────────────────────────────────────────────


def lent(role: str, whose: str, to: str, *own: str, held: bool | None = True, **facts: Any) -> Standing:
    base = known(to, *own, **facts)
    answer = Membership(source=f"lent by {whose}", held=held, detail="Slack did not say.", fetched_at=NOW)
    return replace(base, roles={**base.roles, role: [*base.roles.get(role, ()), answer]})


def test_who_was_lent_a_role_fills_its_place() -> None:
    assert access.may_approve(OPEN, asked(lent("ic", "U0TOM", "U0ANA"))).role == "ic"


@pytest.mark.parametrize(("part", "did"), [("requester", "asked for this rollback"), ("editor", "edited this plan"), ("deployer", "deployed 42")])  # fmt: skip
def test_RI3_nobody_whose_own_change_it_is_acts_through_another(part: str, did: str) -> None:
    own = PLAN.but(**{part: "U0TOM"})
    ruling = access.may_approve(replace(OPEN, plan=own), asked(lent("ic", "U0TOM", "U0ANA"), own.short))
    sentence = f"<@U0TOM>, who lent it, {did}. So the ic you borrowed does not count."
    assert_refused(ruling, errors.RoleMissing, sentence)
    incident = waiting(Place(role="ic"), plan=own, votes=(Vote("U0ANA", "ic", own.id, 1, NOW),))
    assert access.may_execute(incident, {"U0ANA": lent("ic", "U0TOM", "U0ANA")}, NOW).lost == ("U0ANA",)


def test_a_role_that_is_also_ones_own_counts_whoever_lent_it() -> None:
    own = PLAN.but(requester="U0TOM")
    assert (
        access.may_approve(replace(OPEN, plan=own), asked(lent("ic", "U0TOM", "U0ANA", "ic"), own.short)).role == "ic"
    )


TWICE = replace(OPEN, decision=decided(Place(role="ic", count=2)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (known("U0BEN", "ic"), lent("ic", "U0BEN", "U0ANA")),  # the lender first
        (lent("ic", "U0ANA", "U0BEN"), known("U0ANA", "ic")),  # the borrower first
        (lent("ic", "U0TOM", "U0BEN"), lent("ic", "U0TOM", "U0ANA")),  # two borrowers of one lender
    ],
)
def test_a_loan_hands_a_place_on_and_makes_no_second_one(first: Standing, second: Standing) -> None:
    incident = replace(TWICE, votes=(vote("U0BEN", "ic"),))
    text = "<@U0BEN> approved, and ic is lent between you: a lent role fills one place, not two."
    assert_refused(access.may_approve(incident, asked(second, others={"U0BEN": first})), errors.RoleMissing, text)
    both = replace(TWICE, votes=(vote("U0BEN", "ic"), vote("U0ANA", "ic")))
    quorum = access.may_execute(both, {"U0BEN": first, "U0ANA": second}, NOW)
    assert (quorum.holds, quorum.lost, quorum.checks[-1].name) == (
        False,
        (),
        "1 of 2 places filled by different people",
    )


def test_a_lender_and_a_borrower_who_holds_another_role_fill_two_places() -> None:
    both = lent("ic", "U0BEN", "U0ANA", "ml")
    assert access.may_approve(FILLED, asked(both, others={"U0BEN": known("U0BEN", "ic")})).role == "ml"


TOM = Standing(
    Person(id="U0TOM", fetched_at=NOW), {"ic": [Membership(source="member U0TOM", held=True, fetched_at=NOW)]}
)
UNSURE = Membership(source="usergroup S0", held=None, detail="Slack did not say.", fetched_at=NOW)
CHAINED = Membership(source="lent by U0INES", held=True, fetched_at=NOW)


@pytest.mark.parametrize(
    ("lender", "held", "detail"),
    [
        (TOM, True, "<@U0TOM> lent it."),
        (replace(TOM, roles={"ic": []}), False, "<@U0TOM> lent it and holds it no more."),
        (replace(TOM, roles={"ic": [CHAINED]}), False, "<@U0TOM> lent it and holds it no more."),
        (replace(TOM, roles={"ic": [UNSURE]}), None, "Slack did not say."),
        (known("U0TOM", "ic", active=False), False, "The account of <@U0TOM> is not active."),
        (known("U0TOM", "ic", guest=True), False, "The account of <@U0TOM> is not active."),
        (Standing(None, {}), False, "The account of <@U0TOM> is not active."),
        (Standing(None, {}, "Slack did not answer."), None, "Slack did not answer. <@U0TOM> lent ic."),
        (known("U0TOM", "ic", vouched_until=NOW + timedelta(hours=1)), None, "Slack is away, so nobody confirms <@U0TOM>."),
    ],
)  # fmt: skip
def test_a_loan_is_worth_what_its_lender_holds_themselves_now(
    lender: Standing,
    held: bool | None,  # noqa: FBT001  a case of the table
    detail: str,
) -> None:
    found = access.loan("ic", "U0TOM", lender, NOW)
    assert (found.source, found.held, found.detail) == ("lent by U0TOM", held, detail)


LOANS = st.lists(st.tuples(st.sampled_from(ROLES), st.sampled_from(USERS), st.sampled_from(USERS)), max_size=5)
BARRED = st.sampled_from([None, *USERS])


def standing_of(user: str, held: Mapping[str, set[str]], loans: list[tuple[str, str, str]]) -> Standing:
    one = known(user, *held[user])
    for role, whose, to in loans:
        if to == user and whose != user:
            one = replace(one, roles={**one.roles, role: [*one.roles.get(role, ()), access.loan(role, whose, known(whose, *held[whose]), NOW)]})  # fmt: skip
    return one


def most(slots: list[str], voters: list[str], may: Mapping[str, set[tuple[str, str]]]) -> int:
    """An oracle: try every way to seat people one by one, no authority used twice."""

    def seat(n: int, free: list[str], used: frozenset[str]) -> int:
        if n == len(voters):
            return 0
        best = seat(n + 1, free, used)
        for role, whose in may[voters[n]]:
            if role in free and whose not in used:
                rest = list(free)
                rest.remove(role)
                best = max(best, 1 + seat(n + 1, rest, used | {whose}))
        return best

    return seat(0, slots, frozenset())


@given(HELD, PLACES, st.lists(st.sampled_from(USERS), max_size=4, unique=True), LOANS, BARRED)
def test_RI1_lent_roles_and_exclusions_fill_what_an_oracle_says_and_no_more(
    held: dict[str, set[str]], places: tuple[Place, ...], voters: list[str], loans: list[tuple[str, str, str]], out: str | None
) -> None:  # fmt: skip
    standings = {user: standing_of(user, held, loans) for user in USERS}
    own = PLAN.but(requester=out)
    votes = tuple(Vote(user, "", own.id, 1, NOW) for user in voters)
    may = {
        user: {(role, user) for role in held[user]}
        | {(role, whose) for role, whose, to in loans if to == user and whose != user and role in held[whose] and whose != out}
        for user in USERS
    }  # fmt: skip
    able = [user for user in voters if user != out and may[user]]
    slots = [place.role for place in places for _ in range(place.count)]
    expected = most(slots, able, may)
    incident = waiting(*places, plan=own, votes=votes)
    quorum = access.may_execute(incident, standings, NOW)
    assert set(quorum.lost) == set(voters) - set(able)
    assert quorum.checks[-1].name == f"{expected} of {len(slots)} places filled by different people"
    assert quorum.holds == (expected == len(slots) and not quorum.lost)


@given(HELD, PLACES, st.permutations(USERS), LOANS, BARRED)
def test_RI1_votes_taken_one_by_one_never_fill_more_than_the_claim_finds(
    held: dict[str, set[str]], places: tuple[Place, ...], order: list[str], loans: list[tuple[str, str, str]], out: str | None
) -> None:  # fmt: skip
    own = PLAN.but(requester=out)
    standings = {user: standing_of(user, held, loans) for user in USERS}
    incident = waiting(*places, plan=own)
    for user in order:
        ruling = access.may_approve(incident, Question(user, own.id, standings[user], standings, "", NOW))
        if ruling.role is not None:
            holds = tuple(role for role in ROLES if standings[user].holds(role))
            incident = replace(incident, votes=(*incident.votes, Vote(user, ruling.role, own.id, 1, NOW, holds)))
    quorum = access.may_execute(incident, standings, NOW)
    assert quorum.lost == ()
    assert quorum.checks[-1].name.startswith(f"{len(incident.votes)} of ")
    if not access.open_places(places, incident.votes):
        assert quorum.holds


# ── broken glass at the claim ─────────────────────────────────────────────────────────────────────────────────────

ALONE = waiting(Place(role="ml", count=2), phase=Phase.CLEARED, glass=BROKEN)


def test_behind_broken_glass_one_person_who_still_holds_the_role_is_enough() -> None:
    quorum = access.may_execute(ALONE, {"U0ANA": ANA}, NOW)
    assert quorum.holds
    assert quorum.checks[0].name == "<@U0ANA> still holds ic, and acts alone behind broken glass"


def test_who_asked_for_the_rollback_may_break_the_glass() -> None:
    own = PLAN.but(requester="U0ANA")
    assert access.may_execute(replace(ALONE, plan=own, glass=BROKEN.but(plan=own.id)), {"U0ANA": ANA}, NOW).holds


@pytest.mark.parametrize(
    "now", [known("U0ANA"), known("U0ANA", "ic", active=False), known("U0ANA", "ic", guest=True), Standing(None, {})]
)
def test_RT8_broken_glass_clears_nothing_when_the_role_or_the_account_is_gone(now: Standing) -> None:
    quorum = access.may_execute(ALONE, {"U0ANA": now}, NOW)
    assert (quorum.holds, quorum.lost) == (False, ("U0ANA",))


@pytest.mark.parametrize("now", [known("U0ANA", unsure="ic"), Standing(None, {}, "Slack did not answer.")])
def test_no_answer_about_who_broke_the_glass_is_asked_again(now: Standing) -> None:
    quorum = access.may_execute(ALONE, {"U0ANA": now}, NOW)
    assert (quorum.holds, quorum.lost, quorum.unsure) == (False, (), ("U0ANA",))


def test_glass_broken_for_another_plan_or_before_a_quorum_counts_for_nothing() -> None:
    assert access.acts_alone(ALONE) == "U0ANA"
    assert access.acts_alone(replace(ALONE, glass=BROKEN.but(plan="another"))) is None
    assert access.acts_alone(replace(ALONE, decision=decided(mode="auto"))) is None
    cleared = e.PlanCleared(plan=PLAN.id, window_ends=NOW)
    assert access.acts_alone(replace(ALONE, cleared=cleared)) is None


def test_an_act_whose_role_nobody_could_confirm_says_so() -> None:
    told = access.may_act(known("U0ANA", unsure="ic"), ["ic"]).text
    assert told.startswith(
        "Slack did not answer. So I cannot confirm that you hold ic; that counts as no. Press again."
    )
    also = access.may_act(known("U0ANA", unsure="ic"), ["ic"], could="<@U0BEN> can.").text
    assert also.endswith("Press again. <@U0BEN> can. Nothing was changed.")
