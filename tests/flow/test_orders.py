"""Orders for the whole house: who may give them, what they change, and what is only said because it stands already."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.domain import entries as e
from bot.domain import proof, words
from bot.domain.incident import Phase
from bot.domain.orders import LENT, LOGINS, SWITCH
from bot.domain.press import Order
from bot.domain.roles import Role
from bot.errors import Conflict
from bot.flow.orders import order
from bot.ports import Append, Work
from tests.flow.corridor import ALONE, BOTH, MODEL, STREAM, Corridor
from tests.flow.fakes import Memory

NOTHING = "Nothing was changed."


def moment(here: Corridor, **later: float) -> str:
    return words.moment(here.clock.now() + timedelta(**later))


async def test_an_order_nobody_knows_is_told_so() -> None:
    assert (await Corridor().order("U0ANA", "explode")).text == f"This order is not one I know. {NOTHING}"


# ── autopilot ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_autopilot_goes_off_for_all_and_what_would_act_alone_asks_people() -> None:
    here = Corridor(ALONE)
    told = await here.order("U0ANA", "autopilot_off", reason="the feed is being moved")
    assert told.text == "Autopilot is off for all models: what would act alone asks people instead."
    entry = here.last(SWITCH, e.AutopilotSwitched)
    assert (entry.on, entry.model, entry.person) == (False, "", "U0ANA")
    assert here.memory.texts[entry.text_ref] == "the feed is being moved"
    stream = await here.fire()
    await here.turn(stream)
    assert ((await here.incident(stream)).phase, here.shifts) == (Phase.WAITING, 0)


async def test_what_is_off_already_is_said_with_who_and_since_when() -> None:
    here = Corridor()
    assert (await here.order("U0ANA", "autopilot_off", model=MODEL)).ok
    since = moment(here)
    here.clock.advance(600)
    told = await here.order("U0TOM", "autopilot_off", model=MODEL, reason="")
    assert told.ok
    assert told.text == f"Autopilot is off for {MODEL} already: <@U0ANA> switched it off at {since}."
    assert here.types(SWITCH) == ["autopilot.switched"]


async def test_off_for_all_and_off_for_one_are_taken_back_one_by_one() -> None:
    here = Corridor()
    assert (await here.order("U0ANA", "autopilot_off")).ok
    told = await here.order("U0ANA", "autopilot_on", model=MODEL)
    assert told.text.startswith(f"Nothing is switched off for {MODEL} alone. Autopilot is off for all models: <@U0ANA>")
    assert (await here.order("U0ANA", "autopilot_off", model=MODEL)).ok
    told = await here.order("U0ANA", "autopilot_on", model=MODEL)
    assert told.text.startswith(f"You switched autopilot on for {MODEL}. Autopilot is off for all models:")
    assert (await here.order("U0ANA", "autopilot_on")).text == "You switched autopilot on for all models."
    at = moment(here)
    told = await here.order("U0ANA", "autopilot_on")
    assert told.text == f"Autopilot is on for all models already: <@U0ANA> switched it on at {at}."


async def test_autopilot_that_nobody_switched_is_on_already() -> None:
    assert (await Corridor().order("U0ANA", "autopilot_on")).text == "Autopilot is on for all models already."


SCOPED = {"sre": Role(usergroups=("S0SRE",), models=(MODEL,)), "boss": Role(members=("U0INES",))}
ELSEWHERE = {"sre": Role(usergroups=("S0SRE",), environments=("staging",))}


@pytest.mark.parametrize(
    ("person", "model", "changes", "sentence"),
    [
        ("U0NOBODY", "", {}, "This needs sre, owner or boss. <@U0ANA>, <@U0TOM> or <@U0PRIYA> can."),
        ("U0GIL", "", {}, "Guests cannot do this."),
        ("U0ANA", "", {"autopilot": {"role": "boss"}}, "This needs boss. <@U0INES> can."),
        ("U0ANA", "", {"roles": SCOPED}, "This needs boss. <@U0INES> can."),
        ("U0ANA", MODEL, {"roles": ELSEWHERE}, f"No role may switch autopilot for {MODEL}: name one whose scope covers that in policy.autopilot.role."),
        ("U0ANA", "", {"roles": ELSEWHERE}, "No role may switch autopilot for all models: name one whose scope covers that in policy.autopilot.role."),
        ("U0ANA", "rankr", {}, "No model `rankr` is registered. Known: fraud-scorer."),
    ],
)  # fmt: skip
async def test_who_may_not_switch_is_told_why_and_it_is_logged(
    person: str, model: str, changes: Mapping[str, Any], sentence: str
) -> None:
    here = Corridor(**changes)
    told = await here.order(person, "autopilot_off", model=model)
    assert (told.ok, told.text) == (False, f"{sentence} {NOTHING}")
    assert SWITCH not in here.memory.streams
    assert ("order.refused", {"person": person, "action": "autopilot_off", "reason": sentence}) in here.log.lines


async def test_a_role_of_one_model_switches_that_model() -> None:
    assert (await Corridor(roles=SCOPED).order("U0ANA", "autopilot_off", model=MODEL)).ok


async def test_the_switch_needs_a_reason() -> None:
    told = await Corridor().order("U0ANA", "autopilot_off", reason="   no    ")
    assert told.text == f"Say why in at least 10 characters. {NOTHING}"


async def test_a_switch_wakes_every_open_incident_in_the_same_append() -> None:
    here = Corridor(shared=True)
    streams = {await here.fire(), await here.fire("r1", model="ranker")}
    here.memory.work.clear()
    assert (await here.order("U0ANA", "autopilot_off")).ok
    assert {one.stream for one in here.memory.work if one.lane == "advance"} == streams
    here.memory.work.clear()
    assert (await here.order("U0ANA", "autopilot_off", model="ranker")).ok
    assert len(here.memory.work) == 1


class Lane:
    """A surface as far as orders see one: where it follows a stream."""

    def __init__(self, name: str) -> None:
        self.name = name

    def lane_of(self, stream: str) -> str:
        del stream
        return self.name


async def test_a_switch_lets_every_card_of_an_open_incident_show_it_at_once() -> None:
    here = Corridor(ALONE)
    surfaces: Any = (Lane("slack/C1"), Lane("pager"))
    here.world = replace(here.world, surfaces=surfaces)
    stream = await here.fire()
    await here.turn(stream)
    here.memory.work.clear()
    assert (await here.order("U0ANA", "autopilot_off", model=MODEL)).ok
    now = here.clock.now()
    assert sorted(here.memory.work, key=str) == sorted(
        [Work(lane, stream, now) for lane in ("advance", "surface/slack/C1", "surface/pager")], key=str
    )


async def test_two_who_switch_at_once_write_it_once() -> None:
    here = Corridor()
    answers = await asyncio.gather(*(here.order(who, "autopilot_off") for who in ("U0ANA", "U0TOM", "U0INES")))
    assert all(answer.ok for answer in answers)
    assert here.types(SWITCH) == ["autopilot.switched"]


class Stubborn(Memory):
    """A timeline that refuses everything, though nothing moved on."""

    async def append(self, append: Append) -> list[e.Recorded]:
        del append
        self.conflicts += 1
        raise Conflict


@pytest.mark.parametrize("action", ["autopilot_off", "lend", "login"])
async def test_a_conflict_that_nobody_caused_is_not_tried_for_ever(action: str) -> None:
    here = Corridor()
    await asking(here)
    stubborn = Stubborn(here.clock)
    stubborn.streams = here.memory.streams
    here.world = replace(here.world, timeline=stubborn)
    with pytest.raises(Conflict):
        await here.order("U0ANA", action, role="sre", to="U0TOM", until="1h", code=CODE)
    assert stubborn.conflicts == 1


async def test_a_switch_that_races_the_claim_stops_what_acts_alone() -> None:
    here = Corridor(ALONE)
    stream = await here.fire()
    off = e.AutopilotSwitched(on=False, person="U0ANA", text_ref="r", via="slack")

    def at_the_claim(n: int = 3) -> None:  # plan.made, policy.decided, rollback.claimed
        here.memory.before_append = (lambda: at_the_claim(n - 1)) if n > 1 else lambda: here.memory.put(SWITCH, off)

    at_the_claim()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert here.memory.conflicts == 1
    assert (incident.phase, here.shifts, here.last(stream, e.PolicyDecided).mode) == (Phase.WAITING, 0, "approve")


@pytest.mark.parametrize(
    ("action", "asked"),
    [("autopilot_off", {"model": "rankr"}), ("lend", {"role": "king"}), ("trust", {"model": "rankr"}), ("trust", {})],
)
async def test_nothing_of_the_house_is_told_to_whom_it_does_not_hear(action: str, asked: dict[str, str]) -> None:
    told = await Corridor().order("U0GIL", action, **asked)
    assert told.text == f"Guests cannot do this. {NOTHING}"


# ── roles lent ────────────────────────────────────────────────────────────────────────────────────────────────────


async def lend(here: Corridor, person: str = "U0ANA", **changes: str) -> Any:
    given = {"role": "sre", "to": "U0NOBODY", "until": "8h", **changes}
    return await here.order(person, "lend", **given)


async def test_a_lent_role_counts_for_its_time_and_while_the_lender_holds_it() -> None:
    here = Corridor()
    told = await lend(here)
    assert told.text == (
        f"You lent sre to <@U0NOBODY> until {moment(here, hours=8)}. It counts as long as you hold it, and together you fill one place."
    )
    stream = await here.fire()
    await here.turn(stream)
    assert (await here.press("U0NOBODY", "approve", stream)).text == "You approved 42 → 41 as sre, 1 of 2."
    assert (await here.press("U0PRIYA", "approve", stream)).ok
    await here.run(stream, 5, until=Phase.MOVED)
    assert here.shifts == 1


async def test_a_lent_role_ends_with_its_time() -> None:
    here = Corridor()
    assert (await lend(here)).ok
    here.clock.advance(8 * 3600)
    stream = await here.fire()
    await here.turn(stream)
    told = await here.press("U0NOBODY", "approve", stream)
    assert told.text.startswith("This plan needs sre and owner; you hold none of its roles.")


async def test_RT8_a_lender_who_lost_the_role_between_vote_and_claim_takes_the_loan_along() -> None:
    here = Corridor()
    assert (await lend(here)).ok
    stream = await here.fire()
    await here.turn(stream)
    for person in ("U0NOBODY", "U0PRIYA"):
        assert (await here.press(person, "approve", stream)).ok
    here.people.groups["S0SRE"].discard("U0ANA")
    await here.turn(stream)
    incident = await here.incident(stream)
    assert ([vote.person for vote in incident.votes], incident.phase, here.shifts) == (["U0PRIYA"], Phase.WAITING, 0)


async def test_RT8_a_loan_returned_while_the_claim_is_written_is_seen() -> None:
    here = Corridor()
    assert (await lend(here)).ok
    stream = await here.fire()
    await here.turn(stream)
    for person in ("U0NOBODY", "U0PRIYA"):
        assert (await here.press(person, "approve", stream)).ok
    back = e.RoleReturned(role="sre", person="U0ANA", to="U0NOBODY")

    def cleared() -> None:
        here.memory.before_append = lambda: here.memory.put(LENT, back)

    here.memory.before_append = cleared
    await here.turn(stream)
    assert ((await here.incident(stream)).phase, here.shifts, here.memory.conflicts) == (Phase.WAITING, 0, 1)


async def test_a_requester_does_not_approve_through_who_they_lent_to() -> None:
    here = Corridor()
    assert (await lend(here)).ok
    stream = await here.ask("U0ANA")
    await here.turn(stream)
    told = await here.press("U0NOBODY", "approve", stream)
    sentence = "<@U0ANA>, who lent it, asked for this rollback. So the sre you borrowed does not count."
    assert told.text.startswith(sentence)
    assert "<@U0NOBODY>" not in told.text  # who cannot is not named as who could


async def test_who_was_lent_a_role_is_named_among_those_who_can() -> None:
    here = Corridor(({"id": "one", "require": [{"role": "sre"}]},))
    here.people.groups["S0SRE"] = {"U0ANA"}
    assert (await lend(here)).ok
    stream = await here.fire()
    await here.turn(stream)
    assert "<@U0ANA> or <@U0NOBODY> can." in (await here.press("U0MIKA", "approve", stream)).text


@pytest.mark.parametrize(
    ("person", "changes", "sentence"),
    [
        ("U0NOBODY", {"to": "U0TOM"}, "This needs sre. <@U0ANA> or <@U0TOM> can."),
        ("U0GIL", {}, "Guests cannot do this."),
        ("U0ANA", {"role": "king"}, "No role `king` is configured. Known: boss, owner and sre."),
        ("U0ANA", {"to": "U0ANA"}, "You hold it already; lend it to somebody else."),
        ("U0ANA", {"to": "U0GIL"}, "<@U0GIL> is not an active member here."),
        ("U0ANA", {"to": "U0WHO"}, "<@U0WHO> is not an active member here."),
        ("U0ANA", {"to": ""}, "Say to whom."),
        ("U0ANA", {"until": "25h"}, "A loan lasts 1\u00a0min to 1\u00a0d; 1\u00a0d 1\u00a0h is not within that."),
        ("U0ANA", {"until": "ever"}, "`ever` is not a duration; write 15m or PT15M."),
        ("U0ANA", {"reason": "so"}, "Say why in at least 10 characters."),
    ],
)
async def test_a_loan_that_cannot_be_made_is_refused(person: str, changes: dict[str, str], sentence: str) -> None:
    here = Corridor()
    told = await lend(here, person, **changes)
    assert (told.ok, told.text) == (False, f"{sentence} {NOTHING}")
    assert LENT not in here.memory.streams


async def test_what_was_lent_is_not_lent_on() -> None:
    here = Corridor()
    assert (await lend(here)).ok
    told = await lend(here, "U0NOBODY", to="U0MIKA")
    assert told.text == f"sre was lent to you, and what was lent is not lent on. {NOTHING}"
    chain = e.RoleDelegated(
        role="sre", person="U0NOBODY", to="U0MIKA", until=here.clock.now() + timedelta(hours=1), text_ref="r", via="slack"
    )  # fmt: skip
    here.memory.put(LENT, chain)  # were it written all the same, it would count for nothing
    stream = await here.fire()
    await here.turn(stream)
    given = await here.press("U0MIKA", "approve", stream)
    assert given.text == "You approved 42 → 41 as owner, 1 of 2."
    assert here.last(stream, e.ApprovalGiven).holds == ("owner",)


@pytest.mark.parametrize(("person", "to"), [("U0ANA", "U0NOBODY"), ("U0ANA", ""), ("U0NOBODY", "U0ANA"), ("U0NOBODY", "")])  # fmt: skip
async def test_either_side_ends_a_loan(person: str, to: str) -> None:
    here = Corridor()
    assert (await lend(here)).ok
    told = await here.order(person, "return", role="sre", to=to)
    assert (told.ok, told.text) == (True, "<@U0NOBODY> no longer holds sre for <@U0ANA>.")
    assert (await here.world.orders(LENT)).lent == ()


@pytest.mark.parametrize(("person", "role", "to"), [("U0TOM", "sre", "U0NOBODY"), ("U0ANA", "boss", ""), ("U0ANA", "sre", "U0TOM")])  # fmt: skip
async def test_a_loan_that_does_not_stand_is_not_ended(person: str, role: str, to: str) -> None:
    here = Corridor()
    assert (await lend(here)).ok
    told = await here.order(person, "return", role=role, to=to)
    between = f"`{to}`" if to else "anybody"
    assert told.text == f"No loan of `{role}` between you and {between} stands now. {NOTHING}"
    assert len((await here.world.orders(LENT)).lent) == 1


SWITCH_OFF = {"model": MODEL}


@pytest.mark.parametrize("signed", ["", "another order", "another person", "this order"])
async def test_an_order_from_a_terminal_counts_by_its_signature(signed: str) -> None:
    here = Corridor()
    key = here.signed_in("U0TOM" if signed == "another person" else "U0ANA")
    about = {"model": "ranker"} if signed == "another order" else SWITCH_OFF
    request = proof.request(key, "build", proof.order_on("autopilot_off", about), "0f") if signed else {}
    wish = Order("U0ANA", "autopilot_off", SWITCH_OFF, "the feed is being moved", "terminal", request)
    told = await order(wish, here.world)
    assert told.ok is (signed == "this order")
    if not told.ok:
        assert told.text == (
            f"This came from a terminal, and the terminal's signature does not hold. `lastgood login` signs in anew. {NOTHING}"
        )
        assert SWITCH not in here.memory.streams


# ── the trust ladder ──────────────────────────────────────────────────────────────────────────────────────────────

LADDER = ({"id": "alone", "mode": "auto", "ladder": True}, {"id": "flat", "mode": "auto", "models": ["ranker"], "ladder": True}, *BOTH)  # fmt: skip
TRUST: dict[str, Any] = {"trust": {"role": "boss", "approve_after": 1, "auto_after": 2}}


def helped(here: Corridor, verdict: str = "yes") -> None:
    """Put a rollback into the model's past that the rule led to."""
    lock = e.LockTaken(
        incident="incident/X", plan="p", rule="alone", mode="approve", from_version="40", to_version="39"
    )
    judged = e.RollbackJudged.model_validate({"incident": "incident/X", "rules": ["alone"], "verdict": verdict})
    here.clock.advance(1)
    for entry in (lock, e.LockReleased(incident="incident/X"), judged):
        here.memory.put(STREAM, entry)


async def trust(here: Corridor, rung: str, person: str = "U0INES", **changes: str) -> Any:
    given = {"model": MODEL, "environment": "prod", "rule": "alone", "rung": rung, **changes}
    return await here.order(person, "trust", **given)


async def test_a_rule_climbs_one_rung_on_evidence_and_goes_down_freely() -> None:
    here = Corridor(LADDER, **TRUST)
    early = await trust(here, "approve")
    assert (
        early.text
        == f"Rule alone of {MODEL} in prod: needs 1 rollback that helped since it last moved, has 0. {NOTHING}"
    )
    helped(here)
    assert (await trust(here, "auto")).text.endswith(
        f"goes up one rung at a time, and after notify comes approve. {NOTHING}"
    )
    told = await trust(here, "approve", reason="it was right each time")
    assert told.text == f"Rule alone may approve now for {MODEL} in prod."
    moved = here.last(STREAM, e.TrustMoved)
    assert (moved.rung, moved.person) == ("approve", "U0INES")
    assert moved.reason == "notify to approve; since it last moved 1 helped and 0 did not."
    assert here.memory.texts[str(moved.text_ref)] == "it was right each time"
    assert not (await trust(here, "auto")).ok  # what helped before the last step is no evidence for the next
    assert (await trust(here, "notify")).ok


async def test_a_rollback_that_did_not_help_speaks_against_a_step_up() -> None:
    here = Corridor(LADDER, **TRUST)
    helped(here)
    helped(here, "no")
    assert "1 rollback since it last moved did not help." in (await trust(here, "approve")).text


@pytest.mark.parametrize(
    ("person", "changes", "sentence"),
    [
        ("U0ANA", {}, "This needs boss. <@U0INES> can."),
        ("U0INES", {"model": ""}, "Say which model."),
        ("U0INES", {"model": "rankr"}, "No model `rankr` is registered. Known: fraud-scorer."),
        ("U0INES", {"environment": "moon"}, "fraud-scorer runs in prod; name one of them."),
        ("U0INES", {"rule": "what"}, "The policy has no rule `what`. On the ladder: alone and flat."),
        ("U0INES", {"rule": "both"}, "Rule both is not on the ladder: it does not say `ladder: true`."),
        ("U0INES", {"rule": "flat"}, "Rule flat is not about fraud-scorer in prod."),
        ("U0INES", {"rung": "god"}, "Say the rung: notify, approve or auto."),
        ("U0INES", {"reason": "so"}, "Say why in at least 10 characters."),
    ],
)
async def test_who_or_what_may_not_move_the_ladder_is_told(person: str, changes: dict[str, str], sentence: str) -> None:
    here = Corridor(LADDER, **TRUST)
    helped(here)
    told = await trust(here, changes.pop("rung", "approve"), person, **changes)
    assert (told.ok, told.text) == (False, f"{sentence} {NOTHING}")
    assert "trust.moved" not in here.types(STREAM)


async def test_without_a_role_for_it_nobody_moves_the_ladder() -> None:
    told = await trust(Corridor(LADDER), "approve")
    assert told.text == f"Nobody may move a rule on the ladder: policy.trust is not set. {NOTHING}"


async def test_a_step_that_races_another_is_judged_on_what_it_became() -> None:
    here = Corridor(LADDER, **TRUST)
    helped(here)
    answers = await asyncio.gather(trust(here, "approve"), trust(here, "approve"))
    assert sorted(answer.ok for answer in answers) == [False, True]
    assert here.types(STREAM).count("trust.moved") == 1


# ── terminals ─────────────────────────────────────────────────────────────────────────────────────────────────────

CODE = "ABCD-EFGH"


async def asking(here: Corridor, code: str = CODE, minutes: float = 10) -> None:
    until = here.clock.now() + timedelta(minutes=minutes)
    asked = e.LoginAsked(code=hashlib.sha256(code.encode()).hexdigest(), key="ab" * 32, host="ana@laptop", until=until)
    here.memory.put(LOGINS, asked)


async def login(here: Corridor, code: str = CODE, person: str = "U0ANA", via: str = "slack") -> Any:
    return await order(Order(person, "login", {"code": code}, via=via), here.world)


@pytest.mark.parametrize("via", ["slack", "signin"])
async def test_a_code_lets_its_terminal_act_for_twelve_hours(via: str) -> None:
    here = Corridor()
    await asking(here)
    told = await login(here, " abcd-efgh ", via=via)
    assert told.text == f"The terminal on ana@laptop acts for you until {moment(here, hours=12)}."
    granted = here.last(LOGINS, e.LoginGranted)
    assert (granted.person, granted.key, granted.via) == ("U0ANA", "ab" * 32, via)
    assert granted.until == here.clock.now() + timedelta(hours=12)
    assert not (await login(here)).ok  # a code counts once


WRONG = f"No terminal waits with this code. Look at the terminal again, or start `lastgood login` there anew. {NOTHING}"


async def test_a_wrong_or_an_old_code_is_refused_calmly() -> None:
    here = Corridor()
    await asking(here)
    assert (await login(here, "ABCD-EFGX")).text == WRONG
    assert (await login(here, "")).text == WRONG
    here.clock.advance(600)
    assert (await login(here)).text == WRONG
    assert here.types(LOGINS) == ["login.asked"]


async def test_a_terminal_lets_no_terminal_in() -> None:
    here = Corridor()
    await asking(here)
    told = await login(here, via="terminal")
    assert (
        told.text
        == f"Type the code in Slack or behind the company's sign-in; a terminal lets no terminal in. {NOTHING}"
    )


@pytest.mark.parametrize("via", ["slack", "signin"])
@pytest.mark.parametrize("facts", [{"guest": True}, {"bot": True}, {"active": False}, {"ours": False}, None, "away"])
async def test_RT7_only_an_active_person_of_ours_lets_a_terminal_in(facts: Any, via: str) -> None:
    here = Corridor()
    await asking(here)
    here.people.away = facts == "away"
    here.people.vouched["U0ANA"] = here.clock.now() + timedelta(hours=1)  # one sign-in vouches for no other
    if facts is None:
        del here.people.facts["U0ANA"]
    elif facts != "away":
        here.people.facts["U0ANA"] = facts
    told = await login(here, via=via)
    assert (told.ok, told.text.endswith(NOTHING)) == (False, True)
    assert here.types(LOGINS) == ["login.asked"]


async def test_who_guesses_codes_is_refused_for_ten_minutes_and_nobody_else_is() -> None:
    here = Corridor()
    await asking(here, minutes=60)
    for _ in range(5):
        assert (await login(here, "XXXX-XXXX")).text == WRONG
        here.clock.advance(10)
    until = words.moment(here.clock.now() + timedelta(seconds=590))
    assert (await login(here)).text == f"5 codes were wrong. Try again after {until}. {NOTHING}"
    here.clock.advance(589)
    assert not (await login(here)).ok
    assert (await login(here, "XXXX-XXXX", "U0TOM")).text == WRONG  # the tries of others are their own
    here.clock.advance(1)
    assert (await login(here)).ok


async def test_wrong_codes_far_apart_block_nobody() -> None:
    here = Corridor()
    await asking(here, minutes=100)
    for _ in range(6):
        assert (await login(here, "XXXX-XXXX")).text == WRONG
        here.clock.advance(150)
    assert (await login(here)).ok


# ── quarantine ────────────────────────────────────────────────────────────────────────────────────────────────────

QUARANTINED = e.VersionQuarantined(version="42", incident="incident/X", reason="rolled back in incident 7Q4RD.")


async def test_a_named_person_releases_a_version_with_a_reason() -> None:
    here = Corridor()
    here.memory.put(f"model/prod/{MODEL}", QUARANTINED)
    told = await here.order("U0ANA", "release", model=MODEL, version="42", reason="the feature view is mended")
    assert told.text == f"Version 42 of {MODEL} in prod is released from quarantine. A rollback may go to it again."
    entry = here.last(f"model/prod/{MODEL}", e.VersionReleased)
    assert (entry.version, entry.person) == ("42", "U0ANA")
    assert here.memory.texts[entry.text_ref] == "the feature view is mended"
    assert not (await here.world.ledger(f"model/prod/{MODEL}")).quarantined


@pytest.mark.parametrize(
    ("person", "version", "reason", "sentence"),
    [
        ("U0NOBODY", "42", "because it is so", "This needs sre, owner or boss. <@U0ANA>, <@U0TOM> or <@U0PRIYA> can."),
        ("U0ANA", "42", "", "Say why in at least 10 characters."),
        ("U0ANA", "41", "because it is so", f"Version 41 of {MODEL} in prod is not quarantined. Quarantined: 42."),
        ("U0ANA", "", "because it is so", f"Version ? of {MODEL} in prod is not quarantined. Quarantined: 42."),
    ],
)
async def test_a_quarantine_stays_without_a_role_a_reason_or_its_version(
    person: str, version: str, reason: str, sentence: str
) -> None:
    here = Corridor()
    here.memory.put(f"model/prod/{MODEL}", QUARANTINED)
    told = await here.order(person, "release", model=MODEL, version=version, reason=reason)
    assert (told.ok, told.text) == (False, f"{sentence} {NOTHING}")
    assert list((await here.world.ledger(f"model/prod/{MODEL}")).quarantined) == ["42"]
