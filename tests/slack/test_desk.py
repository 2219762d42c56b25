"""Every `/rollback` and every dialog over a whole corridor: each act goes through the function that judges it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from bot.demo.blockkit import check_view
from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.domain.orders import LOGINS
from bot.domain.press import Answer, Order, Press
from bot.domain.roles import Role
from bot.flow.approve import press
from bot.flow.orders import order
from bot.slack.commands import parse
from bot.slack.desk import Clerk
from bot.slack.text import day
from tests.flow.corridor import ALONE, BOTH, MODEL, PLACE, ROLES, Corridor

LADDER = (
    {"id": "fast", "mode": "auto", "ladder": True},
    {"id": "both", "require": [{"role": "sre"}, {"role": "owner"}]},
)
HOUSE: dict[str, Any] = {
    "break_glass": {"role": "boss"}, "autopilot": {"role": "boss"}, "trust": {"role": "boss"},
}  # fmt: skip


@dataclass
class Finder:
    """Finds incidents in the corridor's memory, as the store does."""

    corridor: Corridor
    aside: list[Any] = field(default_factory=list)

    async def incidents(self, before: str | None = None, limit: int = 50, *, open_only: bool = False) -> list[str]:
        del before
        streams = sorted((one for one in self.corridor.memory.streams if one.startswith("incident/")), reverse=True)
        folds = [await self.corridor.incident(one) for one in streams]
        return [one.stream for one in folds if not open_only or one.phase is not Phase.CLOSED][:limit]

    async def ending(self, suffix: str) -> list[str]:
        return [one for one in await self.incidents() if suffix and one.endswith(suffix.upper())]

    async def quarantined(self, limit: int = 50, before: str | None = None) -> Sequence[Any]:
        del before
        return self.aside[:limit]


@dataclass
class Aside:
    source: str
    error: str


class Desk:
    """A clerk over a corridor, and what it was asked to judge."""

    def __init__(self, rules: Any = BOTH, **policy: Any) -> None:
        self.corridor = Corridor(rules, **{**HOUSE, **policy})
        self.finder = Finder(self.corridor)
        self.presses: list[Press] = []
        self.orders: list[Order] = []
        self.link = ""
        self.clerk = Clerk(lambda: self.corridor.world, self.finder, self._press, self._order, str, lambda _: self.link)

    async def _press(self, act: Press) -> Answer:
        self.presses.append(act)
        return await press(act, self.corridor.world)

    async def _order(self, asked: Order) -> Answer:
        self.orders.append(asked)
        return await order(asked, self.corridor.world)

    async def waiting(self) -> str:
        stream = await self.corridor.fire()
        await self.corridor.run(stream, until=Phase.WAITING)
        return stream

    async def says(self, person: str, text: str) -> str:
        return await self.clerk.answer(person, parse(text))

    async def form(self, act: str, stream: str, plan: str | None = None) -> dict[str, Any] | None:
        found = await self.corridor.incident(stream)
        shown = plan if plan is not None else found.plan.short if found.plan else "none"
        return await self.clerk.form(Press("U0ANA", act, found.id, plan=shown, card_version=found.version), "C0")


def short(stream: str) -> str:
    return stream[-5:]


# ── finding ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_list_and_status_say_what_is_open() -> None:
    desk = Desk()
    assert await desk.says("U0ANA", "list") == "Nothing is open."
    assert await desk.says("U0ANA", "status") == "Nothing is open."
    stream = await desk.waiting()
    assert await desk.says("U0ANA", "list") == f"{short(stream)}  waiting  {MODEL} in {PLACE}"
    expected = f"{short(stream)}  waiting  {MODEL} 42 → 41. Waits for approval until "
    assert (await desk.says("U0ANA", "status")).startswith(expected)
    assert (await desk.says("U0ANA", f"status {short(stream)}")).startswith(expected)


async def test_list_says_what_led_nowhere_and_that_autopilot_is_off() -> None:
    desk = Desk()
    desk.finder.aside = [Aside("alertmanager", "no model <!here>")]
    await desk.corridor.order("U0INES", "autopilot_off")
    lines = (await desk.says("U0ANA", "list")).split("\n")
    assert lines[1].startswith("Autopilot is off for all models: <@U0INES> switched it off at ")
    assert lines[2].startswith('Something led nowhere, last from Alertmanager: "no model ‹!here>"')


async def test_an_id_that_fits_nothing_or_several_is_said_with_what_there_is() -> None:
    desk = Desk()
    stream = await desk.waiting()
    assert "No incident ends in ZZZ. `/rollback list` names those that are open." in await desk.says("U0ANA", "who ZZZ")
    await desk.corridor.resolve()
    await desk.corridor.run(stream, until=Phase.CLOSED)
    desk.corridor.clock.advance(3600)
    again = await desk.corridor.fire()
    said = await desk.says("U0ANA", f"who {again[-1]}") if again[-1] == stream[-1] else ""
    common = next((n for n in range(1, 27) if again[-n:] != stream[-n:]), 27) - 1
    if common:
        assert said.startswith(f"2 incidents end in {again[-1]}; write more of the id. Nothing was changed.")
        assert f"{again.rpartition('/')[2]}  {MODEL} in {PLACE}, opened <!date^" in said
    assert desk.presses == []


# ── who and why ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_who_names_the_people_of_each_open_place_and_who_voted() -> None:
    desk = Desk()
    stream = await desk.waiting()
    await desk.corridor.press("U0ANA", "approve", stream)
    lines = (await desk.says("U0GIL", f"who {short(stream)}")).split("\n")
    assert lines[0].startswith(f"{short(stream)} needs 2 different people for 42 → 41, plan ")
    assert lines[1].startswith("☑ sre: <@U0ANA> approved <!date^")
    assert lines[2:] == ["☐ owner: <@U0PRIYA> or <@U0MIKA> can"]


async def test_who_names_whoever_has_no_vote_and_why() -> None:
    desk = Desk()
    stream = await desk.corridor.ask("U0PRIYA")
    await desk.corridor.run(stream, until=Phase.WAITING)
    said = await desk.says("U0ANA", f"who {short(stream)}")
    assert "☐ owner: <@U0MIKA> can" in said
    assert said.endswith("Not <@U0PRIYA>: asked for this rollback")


async def test_who_says_whom_a_look_up_could_not_confirm() -> None:
    desk = Desk()
    stream = await desk.waiting()
    desk.corridor.people.away = True
    said = await desk.says("U0ANA", f"who {short(stream)}")
    assert "Slack did not say, so" in said
    assert "can be confirmed as sre." in said


async def test_who_counts_what_was_lent() -> None:
    desk = Desk()
    stream = await desk.waiting()
    assert "lent" in (await desk.says("U0TOM", "lend sre <@U0NOBODY|no> 8h because I am on a train"))
    assert "<@U0NOBODY>" in await desk.says("U0ANA", f"who {short(stream)}")


async def test_who_asked_of_what_waits_for_nobody_says_so() -> None:
    desk = Desk(ALONE)
    stream = await desk.corridor.fire()
    await desk.corridor.run(stream, until=Phase.MOVED)
    assert (await desk.says("U0ANA", f"who {short(stream)}")).startswith(f"{short(stream)} waits for nobody: it is ")


async def test_why_gives_the_rule_the_reason_and_every_check_as_it_came_out() -> None:
    desk = Desk(({"id": "quiet", "models": ["ranker"], "mode": "notify"}, *BOTH))
    stream = await desk.waiting()
    lines = (await desk.says("U0ANA", f"why {short(stream)}")).split("\n")
    assert lines[0].startswith(f"{short(stream)}: approve by rule both. Rule both: tier 1 in prod needs sre and owner.")
    assert "✗ rule quiet: fraud-scorer does not match ranker" in lines
    assert "✓ rule both: matches" in lines


# ── acts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_approval_typed_counts_as_one_pressed_and_says_how_it_came() -> None:
    desk = Desk()
    stream = await desk.waiting()
    asked = parse(await line_for(desk, stream))
    said = await desk.clerk.answer("U0ANA", replace(asked, request={"trigger": "1.2"}))
    assert said == "You approved 42 → 41 as sre, 1 of 2."
    given = desk.corridor.last(stream, e.ApprovalGiven)
    assert (given.person, given.via, given.request) == ("U0ANA", "slash", {"trigger": "1.2"})
    assert given.card_version == desk.presses[0].card_version > 0
    assert desk.presses[0].asked == {}


async def line_for(desk: Desk, stream: str) -> str:
    plan = (await desk.corridor.incident(stream)).plan
    assert plan is not None
    return f"approve {short(stream)} {plan.short}"


async def test_an_approval_without_its_plan_votes_nothing_and_gives_the_line_to_type() -> None:
    desk = Desk()
    stream = await desk.waiting()
    said = await desk.says("U0ANA", f"approve {short(stream)}")
    line = await line_for(desk, stream)
    plan = line.rpartition(" ")[2]
    assert said == (
        f"{short(stream)}: {MODEL} in {PLACE}, 42 → 41, plan {plan}. It needs sre and owner; 0 of 2 approved.\n"
        f"Type `/rollback {line}` to approve it. Nothing was changed."
    )
    assert desk.presses == []
    assert (await desk.says("U0ANA", line)).startswith("You approved 42 → 41 as sre")
    assert "1 of 2 approved." in await desk.says("U0PRIYA", f"approve {short(stream)}")


async def test_the_line_to_type_says_that_a_reason_is_wanted() -> None:
    desk = Desk(({"id": "both", "reason": True, "require": [{"role": "sre", "count": 2}]},))
    said = await desk.says("U0ANA", f"approve {short(await desk.waiting())}")
    assert "It needs 2 sre; 0 of 2 approved." in said
    assert " because …` to approve it." in said


async def test_a_plan_that_was_replaced_is_not_approved_by_typing_it() -> None:
    desk = Desk()
    stream = await desk.waiting()
    line = await line_for(desk, stream)
    assert (await desk.corridor.press("U0TOM", "edit", stream, asked={"on_failure": "stop"})).ok
    await desk.corridor.run(stream, until=Phase.WAITING)
    said = await desk.says("U0ANA", line)
    assert "showed plan" in said
    assert said.endswith("Nothing was changed.")
    assert not (await desk.corridor.incident(stream)).votes


async def test_an_approval_of_what_does_not_wait_says_where_it_stands() -> None:
    desk = Desk()
    stream = await desk.waiting()
    await desk.says("U0PRIYA", f"reject {short(stream)} because the feed is late")
    said = await desk.says("U0ANA", f"approve {short(stream)}")
    more = f"`/rollback status {short(stream)}` says what comes next."
    assert said == f"{short(stream)} is stuck, so no plan waits for approval. {more} Nothing was changed."


@pytest.mark.parametrize("act", ["approve {id}", "approve {id} 7f3a9c2e", "reject {id} because the feed is late", "snooze {id} 2h because I say so"])  # fmt: skip
async def test_an_act_needs_five_characters_of_an_id_and_reading_fewer(act: str) -> None:
    desk = Desk()
    stream = await desk.waiting()
    said = await desk.says("U0ANA", act.format(id=stream[-4:]))
    assert said.startswith("An act needs at least 5 characters of the id.")
    assert desk.presses == []
    assert (await desk.says("U0ANA", f"status {stream[-4:]}")).startswith(short(stream))


async def test_a_guest_who_types_is_refused_as_one_who_presses() -> None:
    desk = Desk()
    stream = await desk.waiting()
    typed = await desk.says("U0GIL", await line_for(desk, stream))
    desk.corridor.clock.advance(3)
    pressed = await desk.corridor.press("U0GIL", "approve", stream)
    assert typed == pressed.text
    assert typed.startswith("Guests cannot approve.")


async def test_an_approval_that_needs_a_sign_in_gives_the_link() -> None:
    desk = Desk(({"id": "both", "step_up": True, "require": [{"role": "sre"}, {"role": "owner"}]},))
    desk.link = "https://lastgood.example/confirm/x1"
    stream = await desk.waiting()
    said = await desk.says("U0ANA", await line_for(desk, stream))
    assert said.endswith("\nConfirm behind the company sign-in: https://lastgood.example/confirm/x1")
    assert not (await desk.corridor.incident(stream)).votes


async def test_a_rejection_needs_its_reason_and_keeps_it() -> None:
    desk = Desk()
    stream = await desk.waiting()
    assert "Say why in at least 10 characters." in await desk.says("U0PRIYA", f"reject {short(stream)}")
    assert (await desk.corridor.incident(stream)).phase is Phase.WAITING
    await desk.says("U0PRIYA", f"reject {short(stream)} because the feed is late")
    found = desk.corridor.last(stream, e.PlanRejected)
    assert desk.corridor.memory.texts[found.text_ref] == "the feed is late"


async def test_a_snooze_is_typed_with_its_length() -> None:
    desk = Desk()
    stream = await desk.waiting()
    said = await desk.says("U0ANA", f"snooze {short(stream)} 2h because network work")
    found = await desk.corridor.incident(stream)
    assert found.snoozed_until is not None, said
    assert timedelta(hours=1, minutes=59) < found.snoozed_until - desk.corridor.clock.now() <= timedelta(hours=2)


async def test_a_proposal_says_that_somebody_else_approves_it_and_keeps_why() -> None:
    desk = Desk()
    said = await desk.says("U0ANA", f"{MODEL} prod to 41 because customers complain")
    assert said.endswith("a plan is being made. You asked for it, so somebody else approves it.")
    assert "customers complain" in desk.corridor.memory.texts.values()
    assert "No model `nothing` is registered" in await desk.says("U0ANA", "nothing")


OUTSIDE = (
    f"{MODEL} prod to 41 because customers complain", "autopilot off because of the audit", f"autopilot off {MODEL} because of it",
    "lend sre <@U0TOM|tom> 8h because I am on a train", "trust fraud-scorer both approve because it was right", "login ABCDEFGH",
    "approve {id} {plan}", "reject {id} because the feed is late", "snooze {id} 2h because network work",
)  # fmt: skip


@pytest.mark.parametrize("typed", OUTSIDE)
@pytest.mark.parametrize(
    ("facts", "who"), [({"ours": False}, "People from other organisations cannot "), ({"bot": True}, "Apps cannot ")]
)
async def test_RT7_a_person_of_another_team_or_an_app_orders_asks_and_does_nothing(
    typed: str, facts: dict[str, Any], who: str
) -> None:
    desk = Desk(LADDER)
    stream = await desk.waiting()
    desk.corridor.people.facts["U0INES"] = facts
    before = {name: len(rows) for name, rows in desk.corridor.memory.streams.items()}
    plan = (await line_for(desk, stream)).rpartition(" ")[2]
    said = await desk.says("U0INES", typed.format(id=short(stream), plan=plan))
    assert said.startswith(who), said
    assert said.endswith("Nothing was changed.")
    desk.corridor.memory.streams[stream] = desk.corridor.memory.streams[stream][: before[stream]]  # the refusal itself
    assert {name: len(rows) for name, rows in desk.corridor.memory.streams.items()} == before


async def test_who_repeats_a_proposal_is_told_whose_it_is() -> None:
    desk = Desk()
    await desk.says("U0ANA", f"{MODEL} prod to 41 because customers complain")
    said = await desk.says("U0NOBODY", f"{MODEL} prod to 41 because they do")
    assert said.endswith("<@U0ANA> asked for it first, so somebody else approves it.")


# ── orders ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_autopilot_says_its_state_and_is_switched_by_whoever_may() -> None:
    desk = Desk()
    assert (await desk.says("U0ANA", "autopilot")).startswith("Autopilot is on for all models")
    refused = await desk.says("U0ANA", "autopilot off because of the audit")
    assert "Nothing was changed." in refused
    await desk.says("U0INES", "autopilot off because of the audit")
    await desk.says("U0INES", f"autopilot off {MODEL} because it lies a lot")
    assert (await desk.says("U0ANA", "autopilot")).startswith("Autopilot is off for all models: <@U0INES> ")
    await desk.says("U0INES", "autopilot on because the audit is over")
    assert (await desk.says("U0ANA", "autopilot")).startswith(f"Autopilot is off for {MODEL}: <@U0INES> ")
    assert [one.via for one in desk.orders] == ["slash"] * 4


async def test_a_role_is_lent_and_returned() -> None:
    desk = Desk()
    await desk.says("U0TOM", "lend sre <@U0NOBODY> 8h because I am on a train")
    assert desk.orders[-1] == Order(
        "U0TOM", "lend", {"role": "sre", "to": "U0NOBODY", "until": "8h"}, "I am on a train", "slash"
    )
    await desk.says("U0TOM", "return sre <@U0NOBODY>")
    assert desk.orders[-1].asked == {"role": "sre", "to": "U0NOBODY"}
    assert not (await desk.corridor.world.orders("system/roles")).lent


async def test_trust_is_moved_with_its_rule_and_rung() -> None:
    desk = Desk(LADDER)
    said = await desk.says("U0INES", f"trust {MODEL} fast approve because it was right twice")
    assert desk.orders[-1].asked == {"model": MODEL, "rule": "fast", "rung": "approve"}
    assert said
    await desk.says("U0INES", f"trust {MODEL} prod fast approve because it was right twice")
    assert desk.orders[-1].asked["environment"] == "prod"


async def test_a_terminal_is_let_in_by_the_code_it_shows() -> None:
    desk = Desk()
    until = desk.corridor.clock.now() + timedelta(minutes=10)
    code = hashlib.sha256(b"ABCDEFGH").hexdigest()
    desk.corridor.memory.put(LOGINS, e.LoginAsked(code=code, key="00" * 32, host="laptop", until=until))
    said = await desk.says("U0ANA", "login ABCDEFGH")
    granted = desk.corridor.last(LOGINS, e.LoginGranted)
    assert (granted.person, granted.via) == ("U0ANA", "slack"), said


# ── dialogs ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("act", ["reject", "choose", "edit", "break_glass", "snooze"])
async def test_a_dialog_is_drawn_for_what_is_legal_now(act: str) -> None:
    desk = Desk()
    view = await desk.form(act, await desk.waiting())
    assert view is not None
    assert check_view(view) == []


async def test_an_approval_asks_only_where_the_rule_does() -> None:
    desk = Desk()
    assert await desk.form("approve", await desk.waiting()) is None
    why = Desk(({"id": "both", "reason": True, "require": [{"role": "sre"}]},))
    assert await why.form("approve", await why.waiting()) is not None


async def test_what_would_be_refused_anyway_asks_nothing() -> None:
    desk = Desk()
    stream = await desk.waiting()
    assert await desk.form("review", stream) is None, "nothing is to be reviewed"
    assert await desk.form("reject", stream, plan="00000000") is None, "another plan was shown"
    assert await desk.form("take", stream) is None


async def test_breaking_the_glass_names_who_is_called() -> None:
    desk = Desk(roles={**ROLES, "boss": Role(members=("U0INES",))})
    view = await desk.form("break_glass", await desk.waiting())
    due = day(desk.corridor.clock.now() + desk.corridor.world.catalogue.policy.break_glass.review_within)  # type: ignore[union-attr]  # it is set
    assert f"opens a review by somebody else due {due}, and is counted." in str(view)
    assert "calls nobody by name, since the model has no owner" in str(view)


async def test_a_quarantined_version_is_described_and_not_offered() -> None:
    desk = Desk(versions=("40", "41", "42"))
    stream = await desk.waiting()
    desk.corridor.memory.put(
        f"model/{PLACE}/{MODEL}", e.VersionQuarantined(version="40", incident="x", reason="it lied.")
    )
    view = await desk.form("choose", stream)
    assert "40: quarantined: it lied." in str(view)
    assert "'value': '40'" not in str(view)
