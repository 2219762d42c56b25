"""What people do beside a vote, from press to effect: choose, edit, act alone, put off, hand over, review."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Self

import pytest
from pydantic import BaseModel

from adapters.traffic.memory import Fault
from bot.domain import entries as e
from bot.domain.alert import Severity
from bot.domain.incident import Phase
from bot.domain.press import Press
from bot.domain.roles import Role
from bot.errors import Unavailable
from bot.flow.approve import press
from bot.ports import Matter
from tests.flow.corridor import BOTH, ROLES, STREAM, Corridor

GLASS: dict[str, Any] = {"break_glass": {"role": "boss"}}
WHY = "nobody else answers for an hour"
THREE = ("40", "41", "42")


async def waiting(**changes: Any) -> tuple[Corridor, str]:
    here = Corridor(**changes)
    stream = await here.fire()
    await here.turn(stream)
    return here, stream


async def phase(here: Corridor, stream: str) -> Phase:
    return (await here.incident(stream)).phase


# ── choose another version ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_chosen_version_is_planned_and_who_chose_it_has_no_vote() -> None:
    here, stream = await waiting(versions=THREE)
    assert (await here.press("U0ANA", "approve", stream)).ok
    told = await here.press("U0TOM", "choose", stream, asked={"version": "40"})
    assert told.text == "A plan to 40 is being made. You asked for it, so somebody else approves it."
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.plan is not None
    assert (incident.plan.to_version, incident.plan.requester, incident.votes) == ("40", "U0TOM", ())
    refused = await here.press("U0TOM", "approve", stream)
    assert refused.text.startswith("You asked for this rollback, so somebody else must approve.")
    assert (await here.press("U0ANA", "approve", stream)).ok


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("42", "42 is the version that is rolled back from. Choose 41 or 40. Nothing was changed."),
        ("77", "No target offers 77. Choose 41 or 40. Nothing was changed."),
        ("", "Say which version. Choose 41 or 40. Nothing was changed."),
    ],
)
async def test_a_version_that_cannot_be_chosen_is_refused_with_what_can(version: str, sentence: str) -> None:
    here, stream = await waiting(versions=THREE)
    told = await here.press("U0TOM", "choose", stream, asked={"version": version})
    assert (told.ok, told.text) == (False, sentence)
    assert here.last(stream, e.ApprovalRefused).text == sentence
    assert await phase(here, stream) is Phase.WAITING


async def test_the_version_of_the_plan_itself_is_no_other_version() -> None:
    here, stream = await waiting(versions=THREE)
    plan = (await here.incident(stream)).plan
    told = await here.press("U0TOM", "choose", stream, asked={"version": "41"})
    assert told.text == f"Plan {plan.short if plan else ''} goes to 41 already. Nothing was changed."


async def test_a_quarantined_version_cannot_be_chosen_and_its_reason_is_told() -> None:
    here, stream = await waiting(versions=THREE)
    here.memory.put(STREAM, e.VersionQuarantined(version="40", incident="incident/X", reason="rolled back before."))
    told = await here.press("U0TOM", "choose", stream, asked={"version": "40"})
    assert told.text == "40 is quarantined: rolled back before. Choose 41. Nothing was changed."


async def test_after_a_rejection_another_version_can_be_chosen() -> None:
    here, stream = await waiting(versions=THREE)
    assert (await here.press("U0PRIYA", "reject", stream)).ok
    assert (await here.press("U0ANA", "choose", stream, asked={"version": "40"})).ok
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, incident.rejected_by, incident.requester) == (Phase.WAITING, None, "U0ANA")


async def test_a_wish_repeated_by_choosing_it_stays_the_wish_of_who_had_it() -> None:
    here = Corridor(versions=THREE)
    stream = await here.ask("U0ANA", "40")
    await here.turn(stream)
    assert (await here.press("U0PRIYA", "reject", stream)).ok
    assert (await here.press("U0TOM", "choose", stream, asked={"version": "40"})).ok
    assert (await here.incident(stream)).requester == "U0ANA"


async def test_when_no_plan_could_be_made_the_targets_say_what_they_offer() -> None:
    here = Corridor(versions=THREE)
    here.targets["route"].faults.append(Fault.DOWN)
    stream = await here.fire()
    incident = await here.run(stream, 100, until=Phase.STUCK)
    assert incident.candidates == ()
    told = await here.press("U0ANA", "choose", stream, asked={"version": "41"})
    assert told.text == "No target offers 41. No other version can be chosen. Nothing was changed."
    here.targets["route"].faults.clear()
    here.clock.advance(60)
    assert (await here.press("U0ANA", "choose", stream, asked={"version": "41"})).ok


@pytest.mark.parametrize("wish", ["plan_again", "choose", "ask"])
async def test_RI3_who_wants_a_plan_where_people_were_only_told_has_no_vote_on_it(wish: str) -> None:
    """A notify rule that people were told by gives way to one that asks them, because a person wants it."""
    told = {"id": "told", "when": "by_person == false", "mode": "notify"}
    here, stream = await waiting(rules=(told, {"id": "one", "require": [{"role": "sre"}]}), versions=THREE)
    assert await phase(here, stream) is Phase.NOTED
    if wish == "ask":
        assert await here.ask("U0ANA", "41") == stream
    else:
        assert (await here.press("U0ANA", wish, stream, asked={"version": "41"})).ok
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, incident.plan and incident.plan.requester) == (Phase.WAITING, "U0ANA")
    refused = await here.press("U0ANA", "approve", stream)
    assert refused.text.startswith("You asked for this rollback, so somebody else must approve.")
    assert (await here.press("U0TOM", "approve", stream)).ok


async def test_RI3_a_worse_alert_leaves_the_wish_with_who_had_it() -> None:
    here = Corridor(({"id": "told", "mode": "notify"},))
    stream = await here.fire(severity=Severity.WARNING)
    await here.turn(stream)
    assert (await here.press("U0ANA", "plan_again", stream)).ok
    await here.turn(stream)
    assert await phase(here, stream) is Phase.NOTED
    await here.fire("f2", severity=Severity.CRITICAL)
    await here.turn(stream)
    assert here.last(stream, e.PlanRequested).reason == "A worse alert joined."
    incident = await here.incident(stream)
    assert (incident.requester, incident.plan and incident.plan.requester) == ("U0ANA", "U0ANA")


async def test_who_asks_for_the_plan_again_is_told_whose_wish_it_is() -> None:
    here = Corridor(versions=THREE)
    stream = await here.ask("U0ANA", "40")
    await here.turn(stream)
    assert (await here.press("U0PRIYA", "reject", stream)).ok
    told = await here.press("U0TOM", "plan_again", stream)
    assert told.text == "A new plan is being made. <@U0ANA> asked for it first, so somebody else approves it."


# ── edit the plan ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_RT11_an_edited_plan_has_a_new_hash_no_votes_and_an_editor_without_a_vote() -> None:
    here, stream = await waiting()
    before = (await here.incident(stream)).plan
    assert (await here.press("U0ANA", "approve", stream)).ok
    told = await here.press("U0TOM", "edit", stream, asked={"on_failure": "stop"})
    assert told.text == "A new plan is being made: on failure stop. You edited it, so somebody else approves it."
    await here.turn(stream)
    incident = await here.incident(stream)
    assert before is not None
    assert incident.plan is not None
    assert (incident.plan.on_failure, incident.plan.editor, incident.votes) == ("stop", "U0TOM", ())
    assert incident.plan.id != before.id
    stale = await here.press("U0ANA", "approve", stream, plan=before.short)
    assert stale.text.startswith(f"The card you pressed showed plan {before.short}.")
    refused = await here.press("U0TOM", "approve", stream)
    assert refused.text.startswith("You edited this plan, so somebody else must approve.")
    assert (await here.press("U0ANA", "approve", stream)).ok


async def test_RT11_who_edits_after_their_own_vote_loses_it_and_cannot_vote_again() -> None:
    here, stream = await waiting()
    assert (await here.press("U0ANA", "approve", stream)).ok
    assert (await here.press("U0ANA", "edit", stream, asked={"on_failure": "compensate"})).ok
    await here.turn(stream)
    assert (await here.press("U0PRIYA", "approve", stream)).ok
    await here.turn(stream)
    assert ((await here.incident(stream)).phase, here.shifts) == (Phase.WAITING, 0)
    assert not (await here.press("U0ANA", "approve", stream)).ok


@pytest.mark.parametrize("asked", [{}, {"on_failure": "pray"}])
async def test_an_edit_that_says_nothing_is_refused(asked: dict[str, str]) -> None:
    here, stream = await waiting()
    told = await here.press("U0TOM", "edit", stream, asked=asked)
    assert told.text == "Say what follows a failed step: before_traffic, stop or compensate. Nothing was changed."


async def test_an_edit_that_changes_nothing_is_refused() -> None:
    here, stream = await waiting()
    told = await here.press("U0TOM", "edit", stream, asked={"on_failure": "before_traffic"})
    assert "says before_traffic already." in told.text
    assert await phase(here, stream) is Phase.WAITING


# ── break the glass ───────────────────────────────────────────────────────────────────────────────────────────────


async def broken(here: Corridor, stream: str, person: str = "U0INES", **shown: Any) -> Any:
    return await here.press(
        person, "break_glass", stream, **{"reason": WHY, "asked": {"typed": "fraud-scorer"}, **shown}
    )


async def test_one_person_acts_alone_loudly_and_the_lock_says_how() -> None:
    here, stream = await waiting(**GLASS)
    told = await broken(here, stream, request={"trigger": "T1"})
    assert told.ok
    assert told.text.startswith("You broke the glass: 42 → 41 starts now. Somebody else reviews it by ")
    glass = here.last(stream, e.GlassBroken)
    assert (glass.person, glass.role, glass.request, glass.via) == ("U0INES", "boss", {"trigger": "T1"}, "slack")
    assert glass.review_due == here.clock.now() + timedelta(hours=24)
    assert glass.window_ends == here.clock.now() + timedelta(seconds=60)
    assert here.memory.texts[glass.text_ref] == WHY
    await here.run(stream, 5, until=Phase.MOVED)
    assert here.shifts == 1
    claim, lock = here.last(stream, e.RollbackClaimed), here.last(STREAM, e.LockTaken)
    assert claim.people == ("U0INES",)
    assert (lock.mode, lock.rule, lock.from_version, lock.to_version) == ("break_glass", "both", "42", "41")
    ledger = await here.world.ledger(STREAM)
    assert [one.mode for one in ledger.rollbacks] == ["break_glass"]


async def test_the_requester_may_break_the_glass_when_nobody_else_answers() -> None:
    here = Corridor(**GLASS)
    stream = await here.ask("U0INES", "41")
    await here.turn(stream)
    assert (await broken(here, stream)).ok
    await here.run(stream, 5, until=Phase.MOVED)
    assert here.shifts == 1


@pytest.mark.parametrize(
    ("person", "shown", "sentence"),
    [
        ("U0ANA", {}, "Breaking the glass needs boss; you do not hold it. <@U0INES> can. Nothing was changed."),
        ("U0GIL", {}, "Guests cannot break the glass. Nothing was changed."),
        ("U0INES", {"reason": "short"}, "Say why in at least 20 characters. Nothing was changed."),
        ("U0INES", {"reason": " " * 30}, "Say why in at least 20 characters. Nothing was changed."),
        ("U0INES", {"asked": {"typed": "fraud"}}, "Type fraud-scorer to act alone. Nothing was changed."),
        ("U0INES", {"asked": {}}, "Type fraud-scorer to act alone. Nothing was changed."),
    ],
)
async def test_glass_that_may_not_be_broken_stays_whole(person: str, shown: dict[str, Any], sentence: str) -> None:
    here, stream = await waiting(**GLASS)
    told = await broken(here, stream, person, **shown)
    assert (told.ok, told.text) == (False, sentence)
    assert here.last(stream, e.ApprovalRefused).action == "break_glass"
    assert await phase(here, stream) is Phase.WAITING


async def test_where_no_role_may_nobody_breaks_the_glass() -> None:
    here, stream = await waiting()
    told = await broken(here, stream)
    assert told.text.startswith("Nobody may break the glass here: policy.break_glass is not set.")


async def test_RI4_a_rejected_plan_is_not_to_be_got_around_by_breaking_the_glass() -> None:
    here, stream = await waiting(**GLASS)
    assert (await here.press("U0PRIYA", "reject", stream)).ok
    told = await broken(here, stream)
    assert told.text == "<@U0PRIYA> rejected this plan; only a new plan clears that. Nothing was changed."


async def test_RT8_who_broke_the_glass_and_lost_the_role_before_the_claim_moves_nothing() -> None:
    roles = {**ROLES, "boss": Role(usergroups=("S0BOSS",))}
    here = Corridor(roles=roles, **GLASS)
    here.people.groups["S0BOSS"] = {"U0INES"}
    stream = await here.fire()
    await here.turn(stream)
    assert (await broken(here, stream)).ok
    here.people.groups["S0BOSS"].clear()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, incident.glass, here.shifts) == (Phase.WAITING, None, 0)
    assert here.last(stream, e.PlanUncleared).reason == (
        "<@U0INES> no longer holds boss, so the broken glass clears nothing."
    )
    assert incident.review is not None  # it was broken, whatever became of it


async def test_a_window_that_ends_mends_the_glass() -> None:
    here, stream = await waiting(**GLASS)
    assert (await broken(here, stream)).ok
    here.people.away = True
    await here.run(stream, 61)
    incident = await here.incident(stream)
    assert (incident.phase, incident.glass, here.shifts) == (Phase.WAITING, None, 0)


async def test_glass_holds_as_long_as_its_entry_says_and_not_longer() -> None:
    here, stream = await waiting(**GLASS)
    assert (await broken(here, stream)).ok
    glass = here.memory.streams[stream].pop().entry
    assert isinstance(glass, e.GlassBroken)
    here.memory.put(stream, glass.but(window_ends=here.clock.now() + timedelta(seconds=10)))
    here.restart()
    here.clock.advance(10)
    await here.turn(stream)
    assert (await phase(here, stream), here.shifts) == (Phase.WAITING, 0)
    assert here.last(stream, e.PlanUncleared).reason.startswith(
        "The claim window ended before the rollback could start."
    )


async def test_a_rule_that_acts_alone_later_does_not_act_on_old_glass() -> None:
    here, stream = await waiting(**GLASS)
    assert (await broken(here, stream)).ok
    decision = here.last(stream, e.PolicyDecided)
    here.memory.put(stream, e.DecisionDue(reason="A new alert joined."))
    here.memory.put(stream, decision.but(mode="auto", require=(), expires_at=None))
    await here.turn(stream)
    assert "rollback.claimed" not in here.types(stream)  # the rules of this policy act alone nowhere
    assert here.last(stream, e.PlanUncleared).reason == "The rule that acts alone no longer matches."


async def test_a_review_is_done_by_somebody_else_also_after_the_end() -> None:
    here, stream = await waiting(**GLASS)
    assert (await broken(here, stream)).ok
    await here.run(stream, 5, until=Phase.MOVED)
    await here.resolve()
    await here.run(stream, 60, until=Phase.CLOSED)
    assert await phase(here, stream) is Phase.CLOSED
    own = await here.press("U0INES", "review", stream)
    assert own.text == "You broke the glass, so somebody else must review it. Nothing was changed."
    assert not (await here.press("U0NOBODY", "review", stream)).ok
    short = await here.press("U0ANA", "review", stream, reason="ok")
    assert short.text == "Say why in at least 10 characters. Nothing was changed."
    assert (await here.press("U0ANA", "review", stream, plan="whatever was shown")).ok
    assert (await here.incident(stream)).review is None
    again = await here.press("U0TOM", "review", stream)
    assert again.text == f"Nothing in incident {stream[-5:]} waits for a review. Nothing was changed."


async def test_nobody_reviews_on_a_role_lent_by_who_broke_the_glass() -> None:
    here, stream = await waiting(**GLASS)
    assert (await here.order("U0INES", "lend", role="boss", to="U0NOBODY", until="8h")).ok
    assert (await broken(here, stream)).ok
    told = await here.press("U0NOBODY", "review", stream)
    assert not told.ok
    assert (await here.incident(stream)).review is not None


async def test_nobody_reviews_by_another_account_of_who_broke_the_glass() -> None:
    here, stream = await waiting(**GLASS)
    here.people.facts["U0INES"] = {"email": "ines@example.com"}
    here.people.facts["U0ANA"] = {"email": "Ines@example.com"}
    assert (await broken(here, stream)).ok
    told = await here.press("U0ANA", "review", stream)
    assert told.text == "You broke the glass, so somebody else must review it. Nothing was changed."
    assert (await here.press("U0TOM", "review", stream)).ok


@pytest.mark.parametrize("typed", [False, True])
async def test_a_press_that_broke_the_glass_breaks_none_for_the_plan_that_comes_after(*, typed: bool) -> None:
    here, stream = await waiting(**GLASS)
    incident, key = await here.incident(stream), here.signed_in("U0INES")
    assert incident.plan is not None
    proof = await here.signature(key, "break_glass", stream) if typed else {"trigger": "T1"}
    act = Press(
        "U0INES", "break_glass", incident.id, incident.plan.id, incident.version, "terminal" if typed else "slack", WHY,
        {"typed": "fraud-scorer"}, proof,
    )  # fmt: skip
    assert (await press(act, here.world)).ok
    here.targets["route"].move({"41": 10, "42": 90})
    await here.run(stream, 10, until=Phase.WAITING)
    assert "plan.voided" in here.types(stream)
    again = await press(act, here.world)
    assert again.text.startswith(f"The card you pressed showed plan {incident.plan.id[:8]}")
    now = (await here.incident(stream)).plan
    moved = await press(replace(act, plan=now.short if now else ""), here.world)
    assert moved.ok is not typed, "a signature is for one plan; a button of the new card is a new press"
    await here.run(stream, 5)
    assert here.shifts == (0 if typed else 1)


# ── put off, hand over ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_snooze_puts_off_until_a_time_and_keeps_the_reason() -> None:
    here, stream = await waiting()
    told = await here.press("U0ANA", "snooze", stream, asked={"until": "2h"})
    assert told.ok
    entry = here.last(stream, e.IncidentSnoozed)
    assert entry.until == here.clock.now() + timedelta(hours=2)
    assert here.memory.texts[entry.text_ref] == "because it is so"
    assert (await here.incident(stream)).snoozed_until == entry.until


@pytest.mark.parametrize(
    ("until", "reason", "sentence"),
    [
        ("25h", "because it is so", "A snooze lasts 1\u00a0min to 1\u00a0d; 1\u00a0d 1\u00a0h is not within that."),
        ("later", "because it is so", "`later` is not a duration; write 15m or PT15M."),
        ("2h", "so", "Say why in at least 10 characters."),
    ],
)
async def test_a_snooze_without_a_time_or_a_reason_is_refused(until: str, reason: str, sentence: str) -> None:
    here, stream = await waiting()
    told = await here.press("U0ANA", "snooze", stream, asked={"until": until}, reason=reason)
    assert (told.ok, told.text) == (False, f"{sentence} Nothing was changed.")
    assert await phase(here, stream) is Phase.WAITING


async def stuck() -> tuple[Corridor, str]:
    here, stream = await waiting()
    assert (await here.press("U0PRIYA", "reject", stream)).ok
    return here, stream


async def test_who_has_it_hands_it_over_with_what_must_be_known() -> None:
    here, stream = await stuck()
    assert (await here.press("U0ANA", "take", stream)).ok
    here.people.groups["S0SRE"].discard("U0ANA")  # who has it needs no role to give it away
    told = await here.press("U0ANA", "hand_over", stream, asked={"to": "U0TOM"})
    assert told.text == f"<@U0TOM> has incident {stream[-5:]} now."
    assert (await here.incident(stream)).taken_by == "U0TOM"


async def test_what_nobody_has_is_handed_over_by_a_holder_of_a_role() -> None:
    here, stream = await stuck()
    assert not (await here.press("U0NOBODY", "hand_over", stream, asked={"to": "U0TOM"})).ok
    assert (await here.press("U0ANA", "hand_over", stream, asked={"to": "U0TOM"})).ok


@pytest.mark.parametrize(
    ("to", "reason", "sentence"),
    [
        ("U0NOBODY", "because it is so", "<@U0NOBODY> holds none of sre, owner or boss, so they cannot take it."),
        ("U0GIL", "because it is so", "<@U0GIL> is not an active member here."),
        ("U0WHO", "because it is so", "<@U0WHO> is not an active member here."),
        ("U0ANA", "because it is so", "<@U0ANA> has incident {short} already."),
        ("", "because it is so", "Say to whom."),
        ("U0TOM", "", "Say why in at least 10 characters."),
    ],
)
async def test_a_hand_over_to_nobody_in_particular_is_refused(to: str, reason: str, sentence: str) -> None:
    here, stream = await stuck()
    assert (await here.press("U0ANA", "take", stream)).ok
    told = await here.press("U0ANA", "hand_over", stream, asked={"to": to}, reason=reason)
    assert told.text == f"{sentence.format(short=stream[-5:])} Nothing was changed."
    assert (await here.incident(stream)).taken_by == "U0ANA"


async def test_what_somebody_has_is_handed_over_by_them_only() -> None:
    here, stream = await stuck()
    assert (await here.press("U0ANA", "take", stream)).ok
    told = await here.press("U0TOM", "hand_over", stream, asked={"to": "U0PRIYA"})
    assert told.text == (
        f"<@U0ANA> has incident {stream[-5:]}; <@U0ANA> can hand it over, or you take it first. Nothing was changed."
    )


@pytest.mark.parametrize("facts", [{"guest": True}, {"bot": True}, {"active": False}, {"ours": False}])
async def test_RT7_nothing_is_handed_to_guests_apps_strangers_and_the_deactivated(facts: dict[str, Any]) -> None:
    here, stream = await stuck()
    here.people.facts["U0INES"] = facts
    told = await here.press("U0ANA", "hand_over", stream, asked={"to": "U0INES"})
    assert told.text == "<@U0INES> is not an active member here. Nothing was changed."
    assert (await here.incident(stream)).taken_by is None


@pytest.mark.parametrize("action", ["approve", "reject", "choose", "edit", "break_glass", "snooze"])
@pytest.mark.parametrize("facts", [{"guest": True}, {"bot": True}, {"active": False}, {"ours": False}])
async def test_RT7_guests_apps_strangers_and_the_deactivated_do_nothing_at_all(
    action: str, facts: dict[str, Any]
) -> None:
    here, stream = await waiting(versions=THREE, **GLASS)
    here.people.facts["U0INES"] = facts
    asked = {"version": "40", "on_failure": "stop", "typed": "fraud-scorer", "until": "1h"}
    told = await here.press("U0INES", action, stream, asked=asked, reason=WHY)
    assert not told.ok
    assert told.text.endswith("Nothing was changed.")
    assert await phase(here, stream) is Phase.WAITING


async def test_a_refusal_for_the_role_names_who_could_and_not_who_was_refused() -> None:
    here, stream = await waiting(roles={"sre": ROLES["sre"]}, rules=({"id": "one", "require": [{"role": "sre"}]},))
    told = await here.press("U0MIKA", "reject", stream, reason=WHY)
    assert told.text == "This needs sre. <@U0ANA> or <@U0TOM> can. Nothing was changed."
    here.people.groups["S0SRE"] = set()
    told = await here.press("U0TOM", "reject", stream, reason=WHY)
    assert told.text == "This needs sre. Whoever holds it can. Nothing was changed."


async def test_who_broke_the_glass_is_not_named_among_those_who_could_review_it() -> None:
    here, stream = await waiting(roles={**ROLES, "sre": Role(members=("U0INES",)), "owner": Role(members=("U0PRIYA",))}, **GLASS)  # fmt: skip
    assert (await broken(here, stream)).ok
    told = await here.press("U0MIKA", "review", stream, reason=WHY)
    assert told.text == "This needs sre, owner or boss. <@U0PRIYA> can. Nothing was changed."


# ── second opinions ───────────────────────────────────────────────────────────────────────────────────────────────


class NoKeys(BaseModel):
    """A configuration without keys."""


class Opinion:
    """An organisation's own check that says what it is told, and keeps what it was asked."""

    kind: ClassVar[str] = "cedar"
    Config: ClassVar[type[BaseModel]] = NoKeys

    def __init__(self, **no: str) -> None:
        self.no, self.asked, self.hangs, self.broken = no, list[Matter](), False, False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *why: object) -> None:
        pass

    async def objection(self, matter: Matter) -> str:
        self.asked.append(matter)
        if self.hangs:
            await asyncio.Event().wait()
        if self.broken:
            raise Unavailable("Cedar is away.")
        return self.no.get(matter.act, "")


async def with_opinion(opinion: Opinion, **changes: Any) -> tuple[Corridor, str]:
    here, stream = await waiting(**{**GLASS, **changes})
    here.world = replace(here.world, authorizers=(opinion,))
    return here, stream


async def test_an_organisation_is_asked_after_policy_at_each_click_and_at_the_claim() -> None:
    opinion = Opinion()
    here, stream = await with_opinion(opinion)
    assert not (await here.press("U0NOBODY", "approve", stream)).ok
    assert opinion.asked == []  # what policy refuses is no question
    await here.approved(stream)
    await here.run(stream, 5, until=Phase.MOVED)
    assert [(one.act, one.people) for one in opinion.asked] == [
        ("approve", ("U0ANA",)), ("approve", ("U0PRIYA",)), ("execute", ("U0ANA", "U0PRIYA")),
    ]  # fmt: skip
    matter = opinion.asked[-1]
    assert (matter.model, matter.environment, matter.tier, matter.rule) == ("fraud-scorer", "prod", 1, "both")
    assert (matter.from_version, matter.to_version, matter.incident) == ("42", "41", stream.rpartition("/")[2])
    for entry in (here.last(stream, e.ApprovalGiven), here.last(stream, e.RollbackClaimed)):
        assert "✓ cedar does not object" in [str(check) for check in entry.checks]


@pytest.mark.parametrize("act", ["approve", "break_glass"])
async def test_an_objection_denies_with_its_sentence(act: str) -> None:
    here, stream = await with_opinion(Opinion(**{act: "A freeze is on until Monday."}))
    told = await (broken(here, stream) if act == "break_glass" else here.press("U0ANA", act, stream))
    assert (told.ok, told.text) == (False, "A freeze is on until Monday. Nothing was changed.")
    refused = here.last(stream, e.ApprovalRefused)
    assert refused.text == told.text
    assert "✗ cedar does not object (A freeze is on until Monday.)" in [str(check) for check in refused.checks]
    assert ((await here.incident(stream)).votes, await phase(here, stream)) == ((), Phase.WAITING)


async def test_an_organisation_that_does_not_answer_in_its_time_objects() -> None:
    opinion = Opinion()
    opinion.hangs = True
    here, stream = await with_opinion(opinion)
    asked = asyncio.ensure_future(here.press("U0ANA", "approve", stream))
    await here.clock.run(3)
    told = await asked
    assert told.text == "Cedar did not answer within 3\u00a0s. That counts as no. Nothing was changed."


async def test_an_organisation_that_cannot_be_asked_objects() -> None:
    opinion = Opinion()
    opinion.broken = True
    here, stream = await with_opinion(opinion)
    told = await here.press("U0ANA", "approve", stream)
    assert told.text == "Cedar could not be asked: Cedar is away. That counts as no. Nothing was changed."


async def test_what_an_organisation_says_mentions_nobody() -> None:
    here, stream = await with_opinion(Opinion(approve="Ask <@U0BOSS>, <!channel>."))
    told = await here.press("U0ANA", "approve", stream)
    assert told.text == "Ask ‹@U0BOSS>, ‹!channel>. Nothing was changed."


async def test_an_objection_at_the_claim_moves_nothing_and_drops_the_votes() -> None:
    here, stream = await with_opinion(Opinion(execute="A freeze began."))
    await here.approved(stream)
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, incident.votes, here.shifts) == (Phase.WAITING, (), 0)
    assert here.last(stream, e.PlanUncleared).reason == "A freeze began."


async def test_an_objection_to_what_acts_alone_is_a_persons_turn() -> None:
    here = Corridor(({"id": "alone", "mode": "auto"}, *BOTH))
    here.world = replace(here.world, authorizers=(Opinion(execute="A freeze began."),))
    stream = await here.fire()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, incident.stuck_reason, here.shifts) == (
        Phase.STUCK,
        "A freeze began. Nothing was changed.",
        0,
    )


# ── what a vote needs beside the role ─────────────────────────────────────────────────────────────────────────────

ASKED = ({"id": "asked", "require": [{"role": "sre"}], "reason": True},)
SIGNED = ({"id": "signed", "require": [{"role": "sre"}], "step_up": True},)


async def test_a_rule_that_asks_what_was_checked_keeps_the_answer_as_it_was_said() -> None:
    here, stream = await waiting(rules=ASKED)
    told = await here.press("U0ANA", "approve", stream, reason=" ok ")
    assert told.text == "Say what you checked in at least 10 characters. Nothing was changed."
    assert (await here.press("U0ANA", "approve", stream, reason="  only 42 breaches \n")).ok
    given = here.last(stream, e.ApprovalGiven)
    assert here.memory.texts[given.text_ref] == "only 42 breaches"


@pytest.mark.parametrize(
    ("via", "request_"),
    [
        ("slack", {}), ("slack", {"step_up": "proven"}), ("terminal", {"step_up": "proven"}), ("signin", {}),
        ("signin", {"step_up": "claimed"}),
    ],
)  # fmt: skip
async def test_RT4_a_vote_that_needs_the_company_sign_in_counts_by_nothing_else(
    via: str, request_: dict[str, str]
) -> None:
    here, stream = await waiting(rules=SIGNED)
    signed = await here.signature(here.signed_in("U0ANA"), "approve", stream) if via == "terminal" else {}
    told = await here.press("U0ANA", "approve", stream, via=via, request={**request_, **signed})
    assert (told.ok, told.link_for) == (False, "approve")
    assert told.text.startswith("This approval counts behind the company's sign-in.")
    assert (await here.incident(stream)).votes == ()


async def test_a_vote_confirmed_behind_the_company_sign_in_counts_and_keeps_its_proof() -> None:
    here, stream = await waiting(rules=SIGNED)
    proof = {"step_up": "proven", "issuer": "https://sso.example.com", "subject": "ana"}
    assert (await here.press("U0ANA", "approve", stream, via="signin", request=proof)).ok
    assert here.last(stream, e.ApprovalGiven).request == proof
    refused = await here.press("U0NOBODY", "approve", stream, via="signin", request=proof)
    assert (refused.ok, refused.link_for) == (False, "")


async def test_RT24_what_proves_a_press_is_kept_with_the_vote() -> None:
    here, stream = await waiting()
    proof = {"team": "T0", "trigger": "1.2", "action_ts": "3.4", "message_ts": "5.6", "signature": "ab"}
    assert (await here.press("U0ANA", "approve", stream, request=proof)).ok
    given = here.last(stream, e.ApprovalGiven)
    assert (given.request, given.person, given.via) == (proof, "U0ANA", "slack")


async def test_two_who_break_the_glass_at_once_are_one_rollback() -> None:
    here, stream = await waiting(roles={**ROLES, "boss": Role(members=("U0INES", "U0TOM"))}, **GLASS)
    answers = await asyncio.gather(broken(here, stream), broken(here, stream, "U0TOM"))
    assert sorted(answer.ok for answer in answers) == [False, True]
    assert here.types(stream).count("glass.broken") == 1


async def test_an_act_lost_to_a_race_is_judged_anew() -> None:
    here, stream = await waiting(versions=THREE)
    incident = await here.incident(stream)
    plan = incident.plan
    assert plan is not None
    rejected = e.PlanRejected(person="U0PRIYA", plan=plan.id, text_ref="", via="slack")
    here.memory.before_append = lambda: here.memory.put(stream, rejected)
    act = Press("U0ANA", "edit", incident.id, plan.short, asked={"on_failure": "stop"})
    told = await press(act, here.world)
    assert told.text == f"Incident {stream[-5:]} is stuck, so this is not possible now. Nothing was changed."
    assert here.memory.conflicts == 1
