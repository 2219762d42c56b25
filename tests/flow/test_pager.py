"""The pager follows the timeline: whatever becomes of its answers, each note is there once and the state is right in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config import FieldNames
from bot.domain import entries as e
from bot.domain.alert import Alert
from bot.domain.incident import Incident
from bot.domain.model import Owner
from bot.flow.pager import AGAIN, KEPT_UP, PAGER_LANE, follow
from bot.flow.pager_incident import values_of
from bot.flow.world import World
from bot.ports import InboundDone, PagerDesk, Written
from tests.flow.corridor import ROLES, People, Quiet
from tests.flow.fakes import Intake
from tests.flow.pagers import PAGED, Desk

STREAM = "incident/01PAGED"
OPENED = e.IncidentOpened(model="fraud-scorer", environment="prod", tier=1, alerts=(PAGED,))
CLAIMED = e.RollbackClaimed(plan="p", before={}, goal={}, locks=(), executor="x")
STUCK = e.IncidentStuck(reason="Traffic did not move. A person decides.")
CLOSED = e.IncidentClosed(outcome="recovered", reason="Recovered: fraud-scorer is on 41.")


class Notes:
    """What processes note for each other."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def noted(self, name: str) -> str:
        return self.kept.get(name, "")

    async def note(self, name: str, value: str) -> None:
        self.kept[name] = value


class Place(Intake):
    def __init__(self, desk: Desk | None) -> None:
        super().__init__()
        self.log = Quiet()
        self.people = People(self.clock)
        self.people.facts["U0INES"] = {"email": "ines@acme.example"}
        self.world: World = replace(
            self.world, desk=desk, work=cast("Any", Notes()), log=self.log, directory=self.people
        )

    account: Any = None

    def use(self, desk: PagerDesk) -> None:
        self.world = replace(self.world, desk=desk)

    async def turn(self) -> datetime | None:
        return await follow(STREAM, self.world)

    def owned(self, **owner: str) -> None:
        models = {name: one.but(owner=Owner.model_validate(owner)) for name, one in self.world.catalogue.models.items()}
        self.world = replace(self.world, catalogue=replace(self.world.catalogue, models=models, roles=ROLES))

    @property
    def complaints(self) -> list[str]:
        return [f"{event} {facts.get('about', '')}".strip() for event, facts in self.log.lines]

    def put(self, *entries: e.Entry) -> None:
        for entry in entries:
            row = self.memory.put(STREAM, entry)
            self.memory.streams[STREAM][-1] = replace(row, digest=f"{row.version:064x}"[::-1])

    async def settle(self) -> None:
        for _ in range(60):
            if await follow(STREAM, self.world) is None:
                return
            self.clock.advance(AGAIN.total_seconds())
        raise AssertionError("it never comes to rest")


async def test_it_is_acknowledged_when_a_rollback_begins_and_resolved_when_the_model_recovered() -> None:
    desk = Desk()
    place = Place(desk)
    place.put(OPENED)
    await place.settle()
    assert (desk.status, desk.notes) == ("triggered", [])
    place.put(CLAIMED)
    await place.settle()
    assert desk.status == "acknowledged"
    place.put(CLOSED)
    await place.settle()
    assert desk.status == "resolved"
    assert [text.partition(" [lastgood:")[0] for text in desk.notes] == [CLAIMED.sentence(), CLOSED.sentence()]


async def test_what_did_not_recover_is_not_resolved() -> None:
    desk = Desk()
    place = Place(desk)
    place.put(OPENED, CLAIMED, STUCK, e.IncidentClosed(outcome="gave_up", reason="Given up."))
    await place.settle()
    assert desk.status == "triggered"
    assert len(desk.notes) == 3


async def test_nothing_is_asked_of_a_pager_that_paged_nobody_or_that_is_up_to_date() -> None:
    desk = Desk()
    place = Place(desk)
    place.put(OPENED.model_copy(update={"alerts": (PAGED.model_copy(update={"source": "alertmanager"}),)}))
    await place.settle()
    assert desk.calls == []
    other = Place(desk)
    other.put(OPENED, CLAIMED)
    await other.settle()
    asked = len(desk.calls)
    await other.settle()
    assert len(desk.calls) == asked


async def test_an_incident_the_pager_does_not_know_is_let_be() -> None:
    desk = Desk()
    desk.gone = True
    place = Place(desk)
    place.put(OPENED, CLAIMED)
    await place.settle()
    assert desk.calls == ["look"]
    assert [event for event, _ in place.log.lines] == ["pager.unknown"]


async def test_a_pager_that_stays_away_is_given_up_six_hours_after_the_last_entry() -> None:
    place = Place(Desk(["no"] * 999))
    place.put(OPENED, CLAIMED)
    assert await follow(STREAM, place.world) == place.clock.now() + AGAIN
    place.clock.advance((KEPT_UP + timedelta(seconds=1)).total_seconds())
    assert await follow(STREAM, place.world) is None


async def test_without_a_pager_nothing_is_due() -> None:
    place = Place(None)
    assert await follow(STREAM, place.world) is None
    assert [work.lane for work in place.world.follow(STREAM, place.clock.now())] == []
    assert [work.lane for work in Place(Desk()).world.follow(STREAM, place.clock.now())] == [PAGER_LANE]


NOBODY_PAGED = OPENED.model_copy(update={"alerts": (PAGED.model_copy(update={"source": "alertmanager"}),)})


def decided(tell: str) -> e.PolicyDecided:
    return e.PolicyDecided.model_validate(
        {
            "plan": "p",
            "mode": "approve",
            "rule": "night",
            "reason": "Rule night: tier 1.",
            "policy_digest": "d",
            "tell": tell,
        }
    )


async def test_a_rule_that_pages_opens_one_incident_in_the_pager_and_ends_it_with_ours() -> None:
    desk = Desk()
    desk.pages = True
    place = Place(desk)
    place.put(NOBODY_PAGED, decided("page"))
    await place.settle()
    assert list(desk.open) == ["lastgood/prod/fraud-scorer/01PAGED"]
    assert "Rule night: tier 1." in desk.open["lastgood/prod/fraud-scorer/01PAGED"]
    place.put(CLAIMED)
    await place.settle()
    place.put(CLOSED)
    await place.settle()
    assert (desk.open, desk.calls.count("page"), desk.calls.count("quiet")) == ({}, 1, 1)


# ── one problem wakes one person once ─────────────────────────────────────────────────────────────────────────────

OTHER = "incident/01OTHER"
GROUP = '{}:{alertname="FeatureStoreDown"}'


def ill(model: str, source: str = "alertmanager", **facts: Any) -> Alert:
    known = {
        "fingerprint": f"{source}:{model}",
        "source": source,
        "model": model,
        "severity": "error",
        "group_key": GROUP,
    }
    return PAGED.model_copy(update={"extra": {}}).but(**{**known, **facts})


class Problem(Place):
    """Two models of one group of alerts, each with an incident; the first is the fraud scorer's."""

    def __init__(
        self, first: Alert | None = None, second: Alert | None = None, *, apart: float = 0, told: str = "page"
    ) -> None:
        self.desk = Desk()
        self.desk.pages = True
        super().__init__(self.desk)
        alerts = (first or ill("fraud-scorer"), second or ill("café"))
        for stream, alert, tell in zip((STREAM, OTHER), alerts, (told, "page"), strict=True):
            opened = OPENED.but(model=alert.model, alerts=(alert,))
            for entry in (opened, decided(tell)):
                self.memory.put(stream, entry)
            self.clock.advance(apart)
        for number, alert in enumerate(alerts):  # a message holds one group
            mine = [one for one in zip((STREAM, OTHER), alerts, strict=True) if one[1].group_key == alert.group_key]
            streams, members = zip(*mine, strict=True)
            self.memory.done[str(number)] = InboundDone(str(number), "accepted", "", members, streams)

    async def both(self) -> None:
        for stream in (OTHER, STREAM):  # whoever comes first
            await follow(stream, self.world)

    async def ends(self, stream: str) -> None:
        self.memory.put(stream, CLOSED)
        await follow(stream, self.world)


FIRST_KEY, OTHER_KEY = "lastgood/prod/fraud-scorer/01PAGED", "lastgood/prod/café/01OTHER"


async def test_two_models_of_one_group_are_one_page_that_ends_with_the_incident_it_is_named_after() -> None:
    problem = Problem()
    await problem.both()
    assert (list(problem.desk.open), problem.desk.calls.count("page")) == ([FIRST_KEY], 2)
    await problem.ends(OTHER)
    assert list(problem.desk.open) == [FIRST_KEY]
    await problem.ends(STREAM)
    assert problem.desk.open == {}


async def test_a_third_model_shares_the_page_though_the_first_is_not_in_its_message() -> None:
    problem = Problem()
    await problem.both()
    third, alert = "incident/01THIRD", ill("ranker")
    for entry in (OPENED.but(model="ranker", alerts=(alert,)), decided("page")):
        problem.memory.put(third, entry)
    problem.memory.done["3"] = InboundDone("3", "accepted", "", (ill("café"), alert), (OTHER, third))
    await follow(third, problem.world)
    assert list(problem.desk.open) == [FIRST_KEY]
    await problem.ends(OTHER)
    await problem.ends(third)
    assert list(problem.desk.open) == [FIRST_KEY]
    await problem.ends(STREAM)
    assert problem.desk.open == {}


async def test_an_end_of_the_first_ends_the_page_and_the_other_wakes_nobody_again() -> None:
    problem = Problem()
    await problem.both()
    await problem.ends(STREAM)
    assert problem.desk.open == {}
    problem.memory.put(OTHER, CLAIMED)
    await follow(OTHER, problem.world)
    assert problem.desk.calls.count("page") == 2
    problem.desk.open[FIRST_KEY] = "somebody opened it anew"  # ended twice is ended
    await problem.ends(OTHER)
    assert problem.desk.open == {}


@pytest.mark.parametrize(
    "problem",
    [
        lambda: Problem(second=ill("café", severity="critical")),
        lambda: Problem(second=ill("café", group_key="another")),
        lambda: Problem(second=ill("café", group_key=None)),
        lambda: Problem(apart=31 * 60),
        lambda: Problem(told="slack"),
    ],
    ids=["worse", "another group", "no group", "much later", "the first pages nobody"],
)
async def test_what_is_another_problem_or_a_worse_one_wakes_somebody_itself(problem: Callable[[], Problem]) -> None:
    made = problem()
    await made.both()
    assert OTHER_KEY in made.desk.open
    await made.ends(OTHER)
    assert OTHER_KEY not in made.desk.open


async def test_nobody_is_woken_for_a_group_whose_own_pager_did() -> None:
    paged = ill("fraud-scorer", source="pagerduty", extra={"incident_id": "Q1"})
    problem = Problem(first=paged)
    await problem.both()
    assert "page" not in problem.desk.calls


@pytest.mark.parametrize(
    ("opened", "tell", "pages"), [(NOBODY_PAGED, "slack", True), (OPENED, "page", True), (NOBODY_PAGED, "page", False)]
)
async def test_nobody_is_paged_twice_or_where_no_rule_says_so(opened: e.IncidentOpened, tell: str, pages: bool) -> None:  # noqa: FBT001  a case
    desk = Desk()
    desk.pages = pages
    place = Place(desk)
    place.put(opened, decided(tell), CLOSED)
    await place.settle()
    assert not {"page", "quiet"}.intersection(desk.calls)


async def test_a_rollback_is_shown_as_a_change_when_it_begins_and_when_it_ends_each_once() -> None:
    desk = Desk(["no", "lost"])
    desk.pages = True
    place = Place(desk)
    place.put(NOBODY_PAGED, CLAIMED)
    await place.settle()
    assert desk.changes[0].startswith("Lastgood rolls fraud-scorer in prod back")
    asked = len(desk.changes)  # twice at most: nobody knows whether the lost one was shown
    assert asked <= 2
    place.put(CLOSED)
    await place.settle()
    await place.settle()
    assert desk.changes[asked:] == ["Recovered: fraud-scorer is on 41."]


# ── what stakeholders are told ────────────────────────────────────────────────────────────────────────────────────

JUDGED = e.SliJudged(verdict="yes", reason="Error ratio 0.3 %, 3 good samples.")
BAD = e.SliJudged(verdict="no", reason="Not recovered: p99 is 760 ms.")
BEGUN = "fraud-scorer in prod: Lastgood rolls it back."


def telling(**faults: Sequence[str]) -> tuple[Desk, Place]:
    desk = Desk(**faults)
    desk.updates = True
    return desk, Place(desk)


def heard(desk: Desk) -> list[str]:
    """What stakeholders were told, without the marks."""
    return [text.partition(" [lastgood:")[0] for text in desk.told]


async def test_stakeholders_hear_when_it_begins_how_it_turned_out_and_how_it_closed() -> None:
    desk, place = telling()
    for entry in (OPENED, CLAIMED, JUDGED, CLOSED):
        place.put(entry)
        await place.settle()
    said = [f"fraud-scorer in prod: {one.sentence()}" for one in (JUDGED, CLOSED)]
    assert heard(desk) == [BEGUN, *said]
    assert all("[lastgood:" in text for text in desk.told)  # so that its echo is known


async def test_a_long_reason_keeps_the_mark_by_which_its_echo_is_known() -> None:
    desk, place = telling()
    place.put(OPENED, CLAIMED, e.IncidentStuck(reason="x" * 5000))
    await place.settle()
    (text,) = desk.told
    assert "xxx… [lastgood:" in text
    assert len(text) < 700


async def test_stakeholders_hear_nothing_where_nobody_said_they_should() -> None:
    desk = Desk()
    place = Place(desk)
    place.put(OPENED, CLAIMED, JUDGED, CLOSED)
    await place.settle()
    assert desk.told == []


async def test_stakeholders_hear_nothing_of_an_incident_without_a_rollback() -> None:
    desk, place = telling()
    place.put(OPENED, STUCK)
    await place.settle()
    place.put(e.IncidentClosed(outcome="dismissed", reason="Dismissed."))
    await place.settle()
    assert desk.told == []


async def test_a_recovery_that_is_taken_back_is_said_and_what_is_tried_again_is_not() -> None:
    desk, place = telling()
    gone = e.IncidentStuck(reason="It was recovered and is not any more.")
    again = e.StepRetried(step="route", person="U0ANA")
    for entry in (OPENED, CLAIMED, JUDGED, gone, again, STUCK, again, BAD, CLOSED):
        place.put(entry)
        await place.settle()
    said = [f"fraud-scorer in prod: {one.sentence()}" for one in (JUDGED, gone, CLOSED)]
    assert heard(desk) == [BEGUN, *said]


async def test_who_marked_it_recovered_is_no_name_for_people_outside() -> None:
    desk, place = telling()
    for entry in (OPENED, CLAIMED, STUCK, e.MarkedRecovered(person="U0ANA", text_ref="r")):
        place.put(entry)
        await place.settle()
    assert heard(desk)[-1] == "fraud-scorer in prod: somebody in Slack marked it recovered."


async def test_after_the_pager_was_away_stakeholders_hear_how_it_stands_and_not_how_it_stood() -> None:
    desk, place = telling()
    place.put(OPENED, CLAIMED)
    desk.faults = ["no"] * 3
    assert await follow(STREAM, place.world) is not None
    place.put(JUDGED)
    await place.settle()
    assert heard(desk) == [f"fraud-scorer in prod: {JUDGED.sentence()}"]


async def test_those_who_heard_that_it_began_hear_the_end_of_one_that_was_given_back() -> None:
    desk, place = telling()
    place.put(OPENED, CLAIMED)
    await place.settle()
    gone = e.IncidentClosed(outcome="recovered_by_itself", reason="Recovered by itself.")
    place.put(e.PlanVoided(plan="p", reason="43 was deployed."), gone)
    await place.settle()
    assert heard(desk) == [BEGUN, "fraud-scorer in prod: Recovered by itself."]


@pytest.mark.parametrize(("fault", "there"), [("lost", 1), ("void", 0)])
async def test_an_update_that_nobody_answered_is_never_sent_again(fault: str, there: int) -> None:
    desk, place = telling()
    place.put(OPENED, CLAIMED)
    desk.faults = ["", fault]
    await place.settle()
    place.put(STUCK)
    await place.settle()
    assert (heard(desk).count(BEGUN), desk.calls.count("update")) == (there, 2)
    assert place.complaints == ["pager.update_unsure"]


async def test_an_update_that_was_not_sent_is_sent_later() -> None:
    desk, place = telling()
    place.put(OPENED, CLAIMED)
    desk.faults = ["", "no"]
    await place.settle()
    assert heard(desk) == [BEGUN]


async def test_an_update_whose_process_ended_on_the_way_is_not_sent_again() -> None:
    class Ended(Desk):
        async def update(self, incident: str, text: str) -> Written:
            await super().update(incident, text)
            raise asyncio.CancelledError

    desk = Ended()
    desk.updates = True
    place = Place(desk)
    place.put(OPENED, CLAIMED)
    with pytest.raises(asyncio.CancelledError):
        await follow(STREAM, place.world)
    await place.settle()
    assert (len(desk.told), place.complaints) == (1, ["pager.update_unsure"])


async def test_a_pager_that_takes_no_updates_is_complained_about_once_and_the_rest_goes_on() -> None:
    desk, place = telling()
    desk.refuses["update"] = "403"
    for entry in (OPENED, CLAIMED, STUCK, CLOSED):
        place.put(entry)
        await place.settle()
    assert (desk.status, len(desk.notes), place.complaints) == ("resolved", 3, ["pager.refused status updates"])


# ── who is asked in ───────────────────────────────────────────────────────────────────────────────────────────────

ESCALATED = e.IncidentEscalated(reason="Still waiting for a person.")


async def asked(desk: Desk, *entries: e.Entry, **owner: str) -> Place:
    place = Place(desk)
    place.owned(**(owner or {"escalation_policy": "PUS0KTE"}))
    for entry in (OPENED, CLAIMED, STUCK, *entries):
        place.put(entry)
        await place.settle()
    return place


async def test_when_nobody_acts_the_owners_policy_is_asked_in_once_however_often_it_escalates() -> None:
    desk = Desk()
    await asked(desk)
    assert desk.asked == []
    await asked(desk, ESCALATED, ESCALATED, ESCALATED)
    assert desk.asked == ["PUS0KTE"]


async def test_nobody_is_asked_in_while_somebody_has_it() -> None:
    desk = Desk()
    await asked(desk, e.IncidentTaken(person="U0ANA"), ESCALATED)
    assert desk.asked == []


async def test_a_plan_that_waits_too_long_asks_the_policy_in_when_the_page_is_due() -> None:
    desk = Desk()
    place = Place(desk)
    place.owned(escalation_policy="PUS0KTE")
    told = e.PlanEscalated(plan="p", role="boss", people=("U0INES",), reason="boss is told.")
    place.put(OPENED, decided("slack"), told)
    await place.settle()
    assert desk.asked == []
    place.put(e.PlanEscalated(plan="p", policy="PUS0KTE", reason="A page is due."))
    await place.settle()
    assert desk.asked == ["PUS0KTE"]


async def test_without_a_policy_the_people_of_the_next_role_are_asked_in_by_their_address() -> None:
    desk = Desk()
    await asked(desk, ESCALATED, escalate_to="boss")
    assert desk.asked == ["PINES"]


async def test_without_a_policy_a_plan_asks_in_those_it_was_escalated_to() -> None:
    desk = Desk()
    place = Place(desk)
    place.owned()
    decision = decided("slack").but(escalate_to="boss")
    place.put(OPENED, decision, e.PlanEscalated(plan="p", role="boss", people=("U0INES",), reason="boss is told."))
    place.put(e.PlanEscalated(plan="p", reason="A page is due."))
    await place.settle()
    assert desk.asked == ["PINES"]


async def test_somebody_the_pager_does_not_know_is_missing_in_a_note() -> None:
    desk = Desk()
    desk.people.clear()
    place = await asked(desk, ESCALATED, ESCALATED, escalate_to="boss")
    assert (desk.asked, "ask" in desk.calls, place.people.away) == ([], False, False)
    assert [text for text in desk.notes if "did not ask the next person in: the pager knows nobody" in text] == [
        desk.notes[-1]
    ]
    assert "INES" not in desk.notes[-1].upper()


async def test_who_was_asked_in_by_somebody_else_is_not_asked_again() -> None:
    desk = Desk()
    desk.asked = ["PUS0KTE"]
    await asked(desk, ESCALATED)
    assert "ask" not in desk.calls


async def test_an_account_without_the_ability_gets_a_note_in_place_of_a_request_and_is_not_asked_for_ever() -> None:
    desk = Desk()
    desk.refuses["ask"] = "402: no such ability"
    place = await asked(desk, ESCALATED, ESCALATED, ESCALATED)
    assert desk.calls.count("ask") == 1
    (note,) = [text for text in desk.notes if "did not ask" in text]
    assert "The pager did not ask escalation policy PUS0KTE in: 402: no such ability. Somebody else must." in note
    assert place.complaints == ["pager.refused responder requests"]


async def test_the_note_in_place_of_a_request_survives_a_lost_answer() -> None:
    desk = Desk()
    desk.refuses["ask"] = "402"
    place = await asked(desk)
    place.put(ESCALATED)
    desk.faults = ["", "", "no", "", "lost"]
    await place.settle()
    assert len([text for text in desk.notes if "did not ask" in text]) == 1


@pytest.mark.parametrize(("fault", "asks"), [("lost", 1), ("void", 2), ("no", 2)])
async def test_a_request_that_nobody_answered_is_looked_for_before_it_is_made_again(fault: str, asks: int) -> None:
    desk = Desk()
    place = await asked(desk)
    place.put(ESCALATED)
    desk.faults = ["", fault]
    await place.settle()
    assert (desk.asked, desk.calls.count("ask")) == (["PUS0KTE"], asks)


@pytest.mark.parametrize(("fault", "there"), [("lost", 1), ("void", 0)])
async def test_where_the_pager_does_not_show_whom_it_asked_nobody_is_asked_twice(fault: str, there: int) -> None:
    desk = Desk()
    desk.shows_asked = False
    place = await asked(desk)
    place.put(ESCALATED)
    desk.faults = ["", fault]
    await place.settle()
    assert (len(desk.asked), desk.calls.count("ask")) == (there, 1)
    assert "pager.ask_unsure" in place.complaints


async def test_a_directory_that_is_away_is_asked_again_and_holds_up_nothing_else() -> None:
    desk = Desk()
    place = await asked(desk, escalate_to="boss")
    place.people.away = True
    place.put(ESCALATED)
    assert await follow(STREAM, place.world) is not None
    place.people.away = False
    await place.settle()
    assert (desk.asked, len(desk.notes)) == (["PINES"], 2)


# ── what its fields hold ──────────────────────────────────────────────────────────────────────────────────────────

FIELDS = {"model": "ml_model", "incident": "lastgood_incident", "outcome": "ending"}
FILLED = {"ml_model": "fraud-scorer", "lastgood_incident": "01PAGED"}


async def test_fields_hold_what_is_known_and_are_set_when_it_changes() -> None:
    desk = Desk()
    desk.fields = FIELDS
    place = Place(desk)
    place.put(OPENED)
    await place.settle()
    assert desk.values == FILLED
    desk.values.clear()  # somebody else changed them since: that stays
    place.put(CLAIMED, STUCK)
    await place.settle()
    assert (desk.values, desk.calls.count("fill")) == ({}, 1)
    place.put(CLOSED)
    await place.settle()
    assert (desk.values, desk.calls.count("fill")) == ({"ending": "recovered"}, 2)


def test_every_fact_that_may_be_configured_is_one_that_is_written() -> None:
    names = {one.alias or name for name, one in FieldNames.model_fields.items()}
    assert values_of(folded(), {name: name for name in names}).keys() == names


def folded() -> Incident:
    """An incident of which every fact is known."""
    plan = cast("Any", SimpleNamespace(from_version="42", to_version="41"))
    now = datetime(2026, 11, 23, tzinfo=UTC)
    incident = Incident(stream=STREAM, model="fraud-scorer", environment="prod", tier=1, opened_at=now, since=now)
    return replace(incident, plan=plan, closed=CLOSED)


async def test_a_field_the_account_does_not_have_is_complained_about_once_and_stops_no_other() -> None:
    desk = Desk()
    desk.fields, desk.refuses = FIELDS, {"ml_model": "400: no such field"}
    place = Place(desk)
    for entry in (OPENED, CLAIMED, STUCK, CLOSED):
        place.put(entry)
        await place.settle()
    assert desk.values == {"lastgood_incident": "01PAGED", "ending": "recovered"}
    assert (place.complaints, desk.status) == (["pager.refused field ml_model"], "resolved")


# ── how much is read ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_the_pager_was_brought_up_to_is_not_read_again() -> None:
    place = Place(Desk())
    place.put(OPENED, CLAIMED, STUCK)
    await place.settle()
    read = Reading(place.memory)
    place.world = replace(place.world, timeline=read)
    place.put(CLOSED)
    await place.settle()
    assert read.most == 1


async def test_an_incident_of_the_pager_that_came_later_is_told_the_whole_story() -> None:
    desk = Desk()
    place = Place(desk)
    place.put(OPENED, CLAIMED, STUCK)
    await place.settle()
    desk.notes.clear()  # as of another incident
    other = PAGED.model_copy(update={"fingerprint": "pagerduty:Q2", "extra": {"incident_id": "Q2"}})
    place.put(e.AlertsJoined(alerts=(other,)))
    await place.settle()
    assert len(desk.notes) == 2


async def test_an_end_without_a_rollback_is_no_change_of_the_service() -> None:
    desk = Desk()
    desk.pages = True
    place = Place(desk)
    noted = e.IncidentClosed(outcome="noted", reason="For your information.")
    again = e.IncidentReopened(episode=2, alerts=(PAGED,))
    for entry in (NOBODY_PAGED, CLAIMED, CLOSED, again, noted):
        place.put(entry)
        await place.settle()
    assert desk.changes[1:] == [CLOSED.sentence()]


class Reading:
    """A timeline that remembers how much was read at once."""

    def __init__(self, memory: Any) -> None:
        self.memory, self.most = memory, 0

    async def read(self, stream: str, after: int = 0) -> list[e.Recorded]:
        rows: list[e.Recorded] = await self.memory.read(stream, after)
        self.most = max(self.most, len(rows))
        return rows

    async def append(self, append: Any) -> list[e.Recorded]:
        return cast("list[e.Recorded]", await self.memory.append(append))

    async def said(self, refs: Sequence[str]) -> dict[str, str]:
        return cast("dict[str, str]", await self.memory.said(refs))


# ── whatever becomes of the answers ───────────────────────────────────────────────────────────────────────────────

OUTCOMES = st.sampled_from(["", "no", "lost", "void"])


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(OUTCOMES, max_size=8), min_size=4, max_size=4))
def test_whatever_becomes_of_the_answers_each_is_there_once_and_the_state_is_right(faults: list[list[str]]) -> None:
    """A note and a request are made exactly once, fields end as they should, and no update comes twice."""

    async def story() -> None:
        desk, place = telling()
        desk.fields = FIELDS
        place.owned(escalation_policy="PUS0KTE")
        place.put(OPENED)
        for entry, some in zip((CLAIMED, STUCK, ESCALATED, CLOSED), faults, strict=True):
            place.put(entry)
            desk.faults = [*desk.faults, *some]
            await place.settle()
        assert desk.status == "resolved"
        told = (CLAIMED, STUCK, CLOSED)
        assert [text.partition(" [lastgood:")[0] for text in desk.notes] == [one.sentence() for one in told]
        assert desk.asked == ["PUS0KTE"]
        assert desk.values == {**FILLED, "ending": "recovered"}
        said = [BEGUN, *(f"fraud-scorer in prod: {one.sentence()}" for one in (STUCK, CLOSED))]
        assert [one for one in said if one in heard(desk)] == heard(desk)  # each once at most, and in order
        if not any({"lost", "void"} & set(some) for some in faults):
            assert heard(desk) == said

    asyncio.run(story())
