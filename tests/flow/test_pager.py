"""The pager follows the timeline: whatever becomes of its answers, each note is there once and the state is right in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import entries as e
from bot.domain.alert import Alert
from bot.errors import Unavailable
from bot.flow.pager import AGAIN, KEPT_UP, PAGER_LANE, follow
from bot.flow.world import World
from bot.ports import InboundDone, Paged
from tests.flow.corridor import Quiet
from tests.flow.fakes import Intake

STREAM = "incident/01PAGED"
PAGED = Alert.model_validate({
    "source": "pagerduty", "fingerprint": "pagerduty:Q1", "status": "firing", "model": "fraud-scorer", "environment": "prod",
    "starts_at": "2026-11-23T02:08:00Z", "extra": {"incident_id": "Q1"},
})  # fmt: skip
OPENED = e.IncidentOpened(model="fraud-scorer", environment="prod", tier=1, alerts=(PAGED,))
CLAIMED = e.RollbackClaimed(plan="p", before={}, goal={}, locks=(), executor="x")
STUCK = e.IncidentStuck(reason="Traffic did not move. A person decides.")
CLOSED = e.IncidentClosed(outcome="recovered", reason="Recovered: fraud-scorer is on 41.")


class Desk:
    """A pager's incidents. Each fault meets the next call: `no` is not done, `lost` is done and not answered."""

    def __init__(self, faults: Sequence[str] = ()) -> None:
        self.faults, self.status, self.notes = list(faults), "triggered", list[str]()
        self.calls: list[str] = []
        self.gone, self.pages = False, False
        self.open: dict[str, str] = {}
        self.changes: list[str] = []

    async def page(self, key: str, summary: str, severity: str, details: Mapping[str, str]) -> None:
        assert severity in ("critical", "error", "warning", "info")
        self._call("page", lambda: self.open.update({key: summary}))

    async def quiet(self, key: str) -> None:
        self._call("quiet", lambda: self.open.pop(key))

    async def change(self, summary: str, at: datetime, details: Mapping[str, str]) -> None:
        self._call("change", lambda: self.changes.append(summary))

    async def look(self, incident: str) -> Paged | None:
        self._call("look", lambda: None)
        return None if self.gone else Paged(self.status, tuple(self.notes))

    async def mark(self, incident: str, status: str) -> None:
        assert self.status != "resolved", "PagerDuty refuses this"
        self._call(status, lambda: setattr(self, "status", status))

    async def note(self, incident: str, text: str) -> None:
        self._call("note", lambda: self.notes.append(text))

    def _call(self, what: str, done: Any) -> None:
        self.calls.append(what)
        fault = self.faults.pop(0) if self.faults else ""
        if fault != "no":
            done()
        if fault:
            raise Unavailable("PagerDuty did not answer")


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
        self.world: World = replace(self.world, desk=desk, work=cast("Any", Notes()), log=self.log)

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


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["", "no", "lost"]), max_size=6), min_size=3, max_size=3))
def test_whatever_becomes_of_the_answers_each_note_is_there_once_and_the_state_is_right(
    faults: list[list[str]],
) -> None:
    async def story() -> None:
        desk = Desk()
        place = Place(desk)
        place.put(OPENED)
        for entry, some in zip((CLAIMED, STUCK, CLOSED), faults, strict=True):
            place.put(entry)
            desk.faults = [*desk.faults, *some]
            await place.settle()
        assert desk.status == "resolved"
        assert [text.partition(" [lastgood:")[0] for text in desk.notes] == [
            CLAIMED.sentence(),
            STUCK.sentence(),
            CLOSED.sentence(),
        ]

    asyncio.run(story())
