"""One incident a model, whatever comes in whichever order; nothing for a model nobody registered."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.clock import START, ManualClock
from bot.domain import entries as e
from bot.domain.alert import Alert, Kind, Parsed, RawRequest
from bot.domain.entries import Recorded
from bot.domain.incident import Phase
from bot.domain.traffic import TrafficSplit
from bot.errors import AlertEnded, Conflict, Denied, Guest, NotFound, RequestTaken, Unavailable
from bot.flow.intake import ATTEMPTS, notice, propose, proposed, take
from bot.flow.world import Folds
from bot.ports import Append, InboundDone
from tests.adapters.alerts.senders import ALIAS, GROUP, INCIDENT, PANEL, SENDERS, event
from tests.flow import fakes
from tests.flow.corridor import People, Quiet

PROD = "model/prod/fraud-scorer"


class Memory(fakes.Memory):
    """Keeps occurrences as the store does: it refuses a request that is done, and an alert that is over."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.occurrences: dict[str, dict[datetime, str]] = {}

    async def append(self, append: Append) -> list[Recorded]:
        alerts = [alert for one in append.inbound for alert in one.alerts]
        if any(one.id in self.done for one in append.inbound):
            raise RequestTaken
        ended = [
            (alert.fingerprint, alert.since)
            for alert in alerts
            if alert.status == "firing" and "out_of_order" not in alert.flags and self._over(alert)
        ]
        if ended:
            raise AlertEnded(ended)
        written = await super().append(append)
        for alert in alerts:
            known = self.occurrences.setdefault(alert.fingerprint, {})
            if known.get(alert.since) != "resolved":
                known[alert.since] = alert.status
        return written

    def _over(self, alert: Alert) -> bool:
        known = self.occurrences.get(alert.fingerprint, {})
        return any(at > alert.since or (at == alert.since and how == "resolved") for at, how in known.items())


class Intake(fakes.Intake):
    """The shared intake over a memory that keeps occurrences."""

    def __init__(self, **configs: Mapping[str, Any]) -> None:
        super().__init__(**configs)
        self.memory: Memory = Memory(self.clock)
        self.people, self.log = People(self.clock), Quiet()
        self.world = replace(
            self.world, timeline=self.memory, inbox=self.memory, folds=Folds(self.memory), directory=self.people, log=self.log
        )  # fmt: skip


def one(status: str = "firing", *, at: int = 0, key: str = "a", **fields: Any) -> bytes:
    """One generic alert; `at` is minutes before the clock's start, counted backwards from an hour."""
    starts = START - timedelta(hours=1) + timedelta(minutes=at)
    body = {"model": "fraud-scorer", "status": status, "fingerprint": key, "starts_at": starts.isoformat(), **fields}
    return orjson.dumps(body)


def group(*alerts: dict[str, Any], **top: Any) -> bytes:
    return orjson.dumps({"version": "4", "status": "firing", "alerts": list(alerts), **top})


def member(status: str = "firing", key: str = "f1", **labels: str) -> dict[str, Any]:
    return {
        "status": status, "fingerprint": key, "startsAt": "2026-11-23T02:00:00Z",
        "labels": {"model": "fraud-scorer", "alertname": "Errors", **labels},
    }  # fmt: skip


async def test_a_first_alert_opens_an_incident_and_links_the_model() -> None:
    intake = Intake()
    done = await intake.sent("generic", one(version="42"))
    incident = await intake.incident()
    assert (incident.model, incident.environment, incident.tier, incident.phase) == (
        "fraud-scorer", "prod", 1, Phase.OPENED,
    )  # fmt: skip
    assert intake.types(PROD) == ["incident.linked"]
    assert (await intake.world.ledger(PROD)).open_incident == incident.stream
    assert done is not None
    assert (done.outcome, done.incidents) == ("accepted", (incident.stream,))
    assert [(work.lane, work.stream) for work in intake.memory.work] == [("advance", incident.stream)]


async def test_a_repeat_is_counted_and_wakes_nobody() -> None:
    intake = Intake()
    await intake.sent("generic", one())
    woken = len(intake.memory.work)
    done = await intake.sent("generic", one())
    assert intake.types((await intake.incident()).stream) == ["incident.opened"]
    assert len(intake.memory.work) == woken
    assert done is not None
    assert "repeat" in done.alerts[0].flags
    assert done.incidents == (intake.incidents[0],)


async def test_more_alerts_of_the_model_join_in_one_entry_a_message() -> None:
    intake = Intake()
    await intake.sent("alertmanager", group(member()))
    await intake.sent("alertmanager", group(member(), member(key="f2"), member(key="f3")))
    incident = await intake.incident()
    assert intake.types(incident.stream) == ["incident.opened", "alerts.joined"]
    assert len(incident.firing) == 3


async def test_a_resolve_ends_its_alert_only() -> None:
    intake = Intake()
    await intake.sent("alertmanager", group(member(), member(key="f2")))
    await intake.sent("alertmanager", group(member("resolved")))
    incident = await intake.incident()
    assert [alert.fingerprint for alert in incident.firing] == ["alertmanager:f2"]
    assert incident.phase is Phase.OPENED


async def test_a_resolve_of_nothing_known_opens_nothing_and_is_done_at_once() -> None:
    intake = Intake()
    done = await intake.sent("generic", one("resolved"))
    assert done is not None
    assert (done.outcome, done.error, done.incidents, intake.incidents) == ("accepted", "", (), [])


async def test_a_beginning_that_comes_after_its_end_opens_nothing() -> None:
    intake = Intake()
    await intake.sent("alertmanager", group(member("resolved")))
    late = await intake.sent("alertmanager", group(member()))
    assert late is not None
    assert (late.outcome, list(late.alerts[0].flags), intake.incidents) == ("accepted", ["out_of_order"], [])
    again = {**member(), "startsAt": "2026-11-23T02:01:00Z"}
    await intake.sent("alertmanager", group(again))
    assert len((await intake.incident()).firing) == 1


async def test_an_old_beginning_does_not_reopen_what_a_newer_one_replaced() -> None:
    intake = Intake()
    await intake.sent("generic", one(at=5))
    intake.close(intake.incidents[0])
    intake.clock.advance(31 * 60)
    await intake.sent("generic", one())
    assert (await intake.incident()).phase is Phase.CLOSED


async def test_an_end_that_overtakes_the_opening_of_its_incident_is_not_lost() -> None:
    intake = Intake()
    firing = await intake.receive("generic", one())
    ended = await intake.receive("generic", one("resolved"))
    (opened,) = await _appends(intake, firing)
    intake.memory.before_append = lambda: [intake.memory.put(w.stream, x) for w in opened.writes for x in w.entries]
    await take(ended, intake.world)  # the incident opens between its look and its append
    assert intake.memory.conflicts == 1
    assert (await intake.incident()).firing == ()


async def _appends(intake: Intake, stored: str) -> list[Append]:
    """What looking at a request would append."""
    caught: list[Append] = []

    class Catching(Memory):
        async def append(self, append: Append) -> list[Recorded]:
            caught.append(append)
            return []

    memory = Catching(intake.clock)
    memory.raw = intake.memory.raw
    await take(stored, replace(intake.world, timeline=memory, inbox=memory, folds=Folds(memory)))
    return caught


async def test_an_end_that_overtakes_its_beginning_in_an_open_incident_holds() -> None:
    intake = Intake()
    await intake.sent("alertmanager", group(member(key="f1")))
    await intake.sent("alertmanager", group(member("resolved", key="f2")))
    await intake.sent("alertmanager", group(member(key="f2")))
    assert [alert.fingerprint for alert in (await intake.incident()).firing] == ["alertmanager:f1"]


async def test_one_message_may_begin_one_alert_and_end_another() -> None:
    intake = Intake()
    for beginning in ("f1", "f3"):  # the one that opens, and the one that joins
        await intake.sent("alertmanager", group(member(key=beginning), member("resolved", key="f2")))
    assert len((await intake.incident()).firing) == 2


@pytest.mark.parametrize("shared", [{"truncatedAlerts": 3}, {"many": True}])
async def test_a_message_that_does_not_show_everything_closes_nothing(shared: dict[str, Any]) -> None:
    intake = Intake()
    await intake.sent("alertmanager", group(member()))
    ended = [member("resolved")] * (1001 if shared.pop("many", False) else 1)
    await intake.sent("alertmanager", group(*ended, **shared))
    assert len((await intake.incident()).firing) == 1


async def test_a_relapse_soon_after_closing_reopens_the_same_incident() -> None:
    intake = Intake()
    await intake.sent("generic", one())
    (stream,) = intake.incidents
    intake.close(stream)
    intake.clock.advance(29 * 60)
    await intake.sent("generic", one(at=80))
    incident = await intake.incident()
    assert (incident.phase, incident.episode) == (Phase.OPENED, 2)
    assert (await intake.world.ledger(PROD)).open_incident == stream


async def test_a_repeat_after_closing_reopens_nothing() -> None:
    intake = Intake()
    await intake.sent("generic", one())
    intake.close(intake.incidents[0])
    await intake.sent("generic", one())
    assert (await intake.incident()).phase is Phase.CLOSED


async def test_an_alert_long_after_closing_opens_a_new_incident() -> None:
    intake = Intake()
    await intake.sent("generic", one())
    intake.close(intake.incidents[0])
    intake.clock.advance(31 * 60)
    await intake.sent("generic", one(at=85))
    first, second = intake.incidents
    assert (await intake.world.incident(first)).phase is Phase.CLOSED
    assert (await intake.world.ledger(PROD)).open_incident == second


async def test_a_fourth_episode_is_a_new_incident() -> None:
    intake = Intake()
    for at in range(4):
        await intake.sent("generic", one(at=at))
        intake.close(intake.incidents[-1])
    assert len(intake.incidents) == 2


# ── who it is about ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["fraud_scorer", "fraude-\u00e9value", "fraude-e\u0301value"])
async def test_an_alias_is_the_model_however_its_accents_are_written(name: str) -> None:
    intake = Intake()
    await intake.sent("generic", one(model=name))
    assert (await intake.incident()).model == "fraud-scorer"


@pytest.mark.parametrize(
    "name",
    [
        "fr\u0430ud-scorer",  # a Cyrillic а
        "Fraud-Scorer", "fraud\u0000-scorer", "fraud-scorer\u0007", "{{ fraud-scorer }}", "../prod/fraud-scorer", " fraud-scorer",
    ],
)  # fmt: skip
async def test_a_name_that_only_looks_registered_is_unknown(name: str) -> None:
    intake = Intake()
    done = await intake.sent("generic", one(model=name))
    assert done is not None
    assert (done.outcome, done.incidents) == ("accepted", ())
    assert "unknown_model" in done.alerts[0].flags
    assert "is not registered" in done.error
    assert intake.memory.streams == {}
    assert intake.memory.work == []


async def test_an_alert_without_a_model_is_shown_and_does_nothing() -> None:
    intake = Intake()
    done = await intake.sent("alertmanager", group({"status": "firing", "labels": {"alertname": "Watchdog"}}))
    assert done is not None
    assert (done.outcome, done.error) == ("accepted", f"{done.alerts[0].fingerprint} names no model")
    assert "no_model" in done.alerts[0].flags
    assert intake.memory.streams == {}


async def test_the_known_part_of_a_message_is_taken_and_the_rest_is_shown() -> None:
    intake = Intake()
    done = await intake.sent("alertmanager", group(member(), member(key="f2", model="stranger"), {"labels": 3}))
    assert done is not None
    assert done.outcome == "partial"
    assert "/alerts/2/labels" in done.error
    assert "stranger" in done.error
    assert len((await intake.incident()).firing) == 1


@pytest.mark.parametrize(
    ("given_", "default", "wanted"),
    [("staging", "prod", "staging"), (None, "staging", "staging"), (None, None, None), ("mars", "prod", None)],
)
async def test_the_environment_is_the_alerts_then_the_sources(
    given_: str | None, default: str | None, wanted: str | None
) -> None:
    intake = Intake(generic={"environment": default})
    done = await intake.sent("generic", one(model="ranker", environment=given_))
    assert intake.memory.streams.keys() & {f"model/{wanted}/ranker"} == (
        {f"model/{wanted}/ranker"} if wanted else set()
    )
    assert done is not None
    assert done.error.endswith("no environment of ranker fits") is not bool(wanted)


async def test_one_message_about_two_models_opens_both_at_once() -> None:
    intake = Intake()
    await intake.sent("alertmanager", group(member(), member(key="f2", model="ranker", env="staging")))
    assert len(intake.incidents) == 2


# ── races ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_first_alerts_at_once_open_one_incident() -> None:
    intake = Intake()
    ids = [await intake.receive("generic", one(key=key)) for key in "abcdef"]
    await asyncio.gather(*(take(stored, intake.world) for stored in ids))
    assert len((await intake.incident()).firing) == 6


async def test_an_alert_that_meets_a_closing_incident_is_not_lost() -> None:
    intake = Intake()
    await intake.sent("generic", one())
    (stream,) = intake.incidents
    intake.memory.before_append = lambda: intake.close(stream)
    await intake.sent("generic", one(key="b"))
    incident = await intake.incident()
    assert intake.memory.conflicts == 1
    assert (incident.phase, incident.episode) == (Phase.OPENED, 2)


async def test_a_request_that_is_done_is_not_done_again() -> None:
    intake = Intake()
    stored = await intake.receive("generic", one())
    await take(stored, intake.world)
    before = dict(intake.memory.streams)
    assert await take(stored, intake.world) is None
    assert intake.memory.streams == before


async def test_streams_that_never_rest_are_left_to_the_engine() -> None:
    intake = Intake()
    stored = await intake.receive("generic", one())

    def restless() -> None:
        intake.memory.put(PROD, e.IncidentUnlinked(incident="incident/X", recovered=False))
        intake.memory.before_append = restless

    intake.memory.before_append = restless
    with pytest.raises(Conflict):
        await take(stored, intake.world)
    assert intake.memory.conflicts == ATTEMPTS
    intake.memory.before_append = None
    await take(stored, intake.world)
    assert len(intake.incidents) == 1


async def test_a_source_that_was_taken_away_leaves_its_requests_visible() -> None:
    intake = Intake()
    done = await intake.sent("gone", one())
    assert done is not None
    assert (done.outcome, done.error) == ("quarantined", "source gone is no longer configured")


# ── laws ──────────────────────────────────────────────────────────────────────────────────────────────────────────

STORY = (one(), one(), one("resolved"), one(key="b"), one(at=5), one("resolved", at=5))


async def told(order: tuple[bytes, ...]) -> tuple[int, set[str], int]:
    """Tell the messages in this order and give how many incidents there are, what fires, and what was answered oddly."""
    intake = Intake()
    for body in order:
        await intake.sent("generic", body)
    incident = await intake.incident()
    odd = sum(done.outcome != "accepted" for done in intake.memory.done.values())
    return len(intake.incidents), {alert.fingerprint for alert in incident.firing}, odd


async def test_every_order_of_firing_repeating_and_resolving_ends_the_same() -> None:
    for order in sorted(set(itertools.permutations(STORY))):
        assert await told(order) == (1, {"generic:b"}, 0), [orjson.loads(body) for body in order]


SENT = (
    ("alertmanager", SENDERS["alertmanager"].body()),
    ("alertmanager", SENDERS["alertmanager"].body({**GROUP, "externalURL": "http://am2"})),  # the other peer of two
    ("alertmanager", SENDERS["alertmanager"].body({**GROUP, "alerts": [{**GROUP["alerts"][0], "status": "resolved"}]})),
    ("grafana", SENDERS["grafana"].body()),
    ("pagerduty", SENDERS["pagerduty"].body(event(occurred_at="2026-11-23T02:08:00Z"))),
    (
        "pagerduty",
        SENDERS["pagerduty"].body(event("incident.acknowledged", INCIDENT, occurred_at="2026-11-23T02:09:00Z")),
    ),
    ("pagerduty", SENDERS["pagerduty"].body(event("incident.resolved", INCIDENT, occurred_at="2026-11-23T02:10:00Z"))),
    ("pagerduty", SENDERS["pagerduty"].body(event("incident.reopened", INCIDENT, occurred_at="2026-11-23T02:11:00Z"))),
    ("datadog", SENDERS["datadog"].body()),
    ("github", SENDERS["github"].body()),
)
ORDERS = 10_000


class Sent(Intake):
    """Every sender on one clock; a pager's service stands for the model."""

    def __init__(self) -> None:
        super().__init__()
        named = {"pagerduty": {"services": {"PSCORER": {"model": "fraud-scorer", "environment": "prod"}}}}
        self.sources = {name: SENDERS[name].source(**named.get(name, {})) for name, _ in SENT}
        self.world = replace(self.world, sources=self.sources)

    async def heard(self, order: Sequence[tuple[str, bytes]]) -> tuple[int, tuple[str, ...], int]:
        """Tell the messages in this order: how many incidents there are, what fires, how many changes are kept."""
        for name, body in order:
            headers = SENDERS[name].headers(body)
            raw = RawRequest(
                id=self.ids.ulid(), source=name, received_at=self.clock.now(), body=body, headers=headers,
                delivery_id=self.sources[name].delivery_id(headers, body),
            )  # fmt: skip
            stored, again = await self.memory.receive(raw)
            if not again:
                assert await take(stored, self.world) is None
        incident = await self.incident()
        firing = tuple(sorted(alert.fingerprint for alert in incident.firing))
        return len(self.incidents), firing, len((await self.world.ledger(PROD)).changes)


@pytest.mark.timeout(600)
async def test_ten_thousand_orders_of_what_all_senders_say_sent_twice_and_late_end_the_same() -> None:
    chance = random.Random(20261127)  # noqa: S311  a choice of orders
    expected = (1, ("datadog:77:k1", "grafana:aa01", "pagerduty:Q7INCIDENT"), 1)
    for _ in range(ORDERS):
        order = [*SENT, *chance.sample(SENT, 3)]
        chance.shuffle(order)
        assert await Sent().heard(order) == expected, [orjson.loads(body) for _, body in order]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20) | st.sampled_from(["firing", "resolved", "fraud-scorer\u0000", "2026-11-23T02:00:00Z", "8%", "NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELDS = ("status", "fingerprint", "severity", "version", "environment", "sli", "value", "threshold", "starts_at",
          "ends_at", "summary", "labels", "annotations", "links", "kind", "dedup_key", "name")  # fmt: skip
INSIDE = ("status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint")


def stray(model: Any) -> bool:
    return str(model).replace('"', "") not in ("fraud-scorer", "fraud_scorer", "ranker")


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON), JSON.filter(stray))
def test_no_generic_value_acts_for_a_stranger(fields: dict[str, Any], model: Any) -> None:
    asyncio.run(nothing_happens("generic", orjson.dumps({**fields, "model": model})))


@settings(max_examples=150, deadline=None)
@given(st.lists(JSON | st.dictionaries(st.sampled_from(INSIDE), JSON), max_size=3), JSON)
def test_no_alertmanager_value_acts_for_a_stranger(alerts: list[Any], top: Any) -> None:
    asyncio.run(nothing_happens("alertmanager", orjson.dumps({"alerts": alerts, "status": top, "groupKey": top})))


async def nothing_happens(source: str, body: bytes) -> None:
    intake = Intake()
    stored = await intake.receive(source, body)
    assert await take(stored, intake.world) is None
    assert intake.memory.streams == {}
    assert intake.memory.work == []
    assert stored in intake.memory.done


# ── by hand ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_person_can_open_an_incident_and_is_its_requester() -> None:
    intake = Intake()
    stream = await propose("U0ANA", "fraud_scorer", None, "41", intake.world)
    incident = await intake.incident()
    assert (incident.stream, incident.requester, incident.wanted) == (stream, "U0ANA", "41")
    assert intake.types(PROD) == ["incident.linked"]


async def test_asking_again_goes_to_the_open_incident() -> None:
    intake = Intake()
    await intake.sent("generic", one())
    stream = await propose("U0ANA", "fraud-scorer", "prod", "40", intake.world)
    assert intake.incidents == [stream]
    assert intake.types(stream) == ["incident.opened", "plan.requested"]


async def test_a_look_at_the_model_that_comes_between_does_not_lose_what_was_asked() -> None:
    intake = Intake()
    served = e.VersionServed(target="route", split=TrafficSplit(weights={"42": Decimal(100)}))
    intake.memory.before_append = lambda: intake.memory.put(PROD, served)
    stream = await propose("U0ANA", "fraud-scorer", None, None, intake.world)
    assert intake.incidents == [stream]
    assert intake.memory.conflicts == 1


async def test_nobody_can_ask_for_a_plan_while_one_rolls() -> None:
    intake = Intake()
    await intake.sent("generic", one())
    (stream,) = intake.incidents
    intake.memory.put(stream, e.RollbackClaimed(plan="p", before={}, goal={}, locks=(), executor="x"))
    with pytest.raises(Denied, match="rolling back already"):
        await propose("U0ANA", "fraud-scorer", None, None, intake.world)
    assert intake.types(stream)[-1] == "rollback.claimed"


async def test_nobody_can_ask_for_a_plan_over_a_stuck_rollback_that_holds_its_locks() -> None:
    intake = Intake()
    await intake.sent("generic", one())
    (stream,) = intake.incidents
    intake.memory.put(stream, e.RollbackClaimed(plan="p", before={}, goal={}, locks=(), executor="x"))
    intake.memory.put(stream, e.IncidentStuck(reason="No answer."))
    with pytest.raises(Denied, match="settled first"):
        await propose("U0ANA", "fraud-scorer", None, None, intake.world)


@pytest.mark.parametrize(("model", "place"), [("stranger", None), ("ranker", None), ("ranker", "mars")])
async def test_what_is_not_registered_cannot_be_asked_for(model: str, place: str | None) -> None:
    intake = Intake()
    with pytest.raises(NotFound, match=r"Known: fraud-scorer, ranker|name one of them"):
        await propose("U0ANA", model, place, None, intake.world)
    assert intake.memory.streams == {}


async def test_why_a_person_asks_is_kept_beside_the_chain() -> None:
    intake = Intake()
    await propose("U0ANA", "fraud-scorer", None, "41", intake.world, reason=" customers call ")
    await propose("U0TOM", "fraud-scorer", None, "41", intake.world, reason="they still call")
    await propose("U0TOM", "fraud-scorer", None, "41", intake.world)
    rows = [row.entry for row in intake.memory.streams[intake.incidents[0]]]
    refs = [getattr(one, "text_ref", None) for one in rows]
    assert [intake.memory.texts.get(ref or "") for ref in refs] == ["customers call", "they still call", None]
    assert refs[2] is None
    assert "call" not in repr(rows)


STRANGERS: list[tuple[dict[str, Any], str]] = [
    ({"guest": True}, "Guests cannot ask for a rollback."),
    ({"bot": True}, "Apps cannot ask for a rollback."),
    ({"active": False}, "This account is deactivated."),
    ({"ours": False}, "People from other organisations cannot ask for a rollback here."),
]


@pytest.mark.parametrize(("facts", "sentence"), STRANGERS)
@pytest.mark.parametrize("via", ["slack", "slash", "terminal", "signin"])
async def test_RT7_guests_apps_strangers_and_the_deactivated_ask_for_nothing(
    facts: dict[str, Any], sentence: str, via: str
) -> None:
    intake = Intake()
    await intake.sent("generic", one())
    before = {name: len(rows) for name, rows in intake.memory.streams.items()}
    intake.people.facts["U0ANA"] = facts
    with pytest.raises(Guest) as told:
        await propose("U0ANA", "fraud-scorer", None, "41", intake.world, via=via)
    assert str(told.value) == f"{sentence} Nothing was changed."
    assert {name: len(rows) for name, rows in intake.memory.streams.items()} == before
    logged = {"person": "U0ANA", "model": "fraud-scorer", "reason": str(told.value)}
    assert ("proposal.refused", logged) in intake.log.lines


async def test_an_account_nobody_knows_or_nobody_can_be_asked_about_asks_for_nothing() -> None:
    intake = Intake()
    with pytest.raises(Guest, match="This account is not known in this workspace"):
        await propose("U0WHO", "fraud-scorer", None, None, intake.world)
    intake.people.away = True
    with pytest.raises(Guest, match=r"Slack did not answer.*That counts as no"):
        await propose("U0ANA", "fraud-scorer", None, None, intake.world, via="terminal")
    assert intake.incidents == []


async def test_a_person_without_any_role_may_ask_and_is_the_requester() -> None:
    intake = Intake()
    await propose("U0NOBODY", "fraud-scorer", None, None, intake.world)
    assert (await intake.incident()).requester == "U0NOBODY"


async def test_while_slack_is_away_who_signed_in_before_asks_in_a_terminal_and_nowhere_else() -> None:
    intake = Intake()
    intake.people.away = True
    intake.people.vouched["U0ANA"] = intake.clock.now() + timedelta(hours=1)
    for via in ("slack", "slash", "signin"):
        with pytest.raises(Guest, match="Slack is away, so I cannot confirm this account"):
            await propose("U0ANA", "fraud-scorer", None, None, intake.world, via=via)
    assert intake.incidents == []
    await propose("U0ANA", "fraud-scorer", None, None, intake.world, via="terminal")
    assert (await intake.incident()).requester == "U0ANA"


async def test_who_repeats_a_wish_does_not_take_it_over_and_a_new_wish_is_of_who_has_it() -> None:
    intake = Intake()
    stream = await propose("U0ANA", "fraud-scorer", None, "41", intake.world)
    assert (await proposed(stream, "U0ANA", intake.world)).endswith("You asked for it, so somebody else approves it.")
    await propose("U0NOBODY", "fraud-scorer", None, "41", intake.world)
    assert (await intake.incident()).requester == "U0ANA"
    told = await proposed(stream, "U0NOBODY", intake.world)
    assert told == (
        f"Incident {stream[-5:]}: a plan is being made. <@U0ANA> asked for it first, so somebody else approves it."
    )
    await propose("U0TOM", "fraud-scorer", None, "40", intake.world)
    assert ((await intake.incident()).requester, (await intake.incident()).wanted) == ("U0TOM", "40")


# ── what Lastgood says itself ─────────────────────────────────────────────────────────────────────────────────────


def own(status: str = "firing", **facts: Any) -> Alert:
    given_: dict[str, Any] = {
        "source": "lastgood", "fingerprint": "lastgood:silent:prod/fraud-scorer/error_ratio", "status": status,
        "model": "fraud-scorer", "environment": "prod", "sli": "error_ratio", "starts_at": START,
    }  # fmt: skip
    return Alert.model_validate({**given_, **facts})


async def test_an_alert_nobody_sent_opens_joins_and_ends_like_any_other() -> None:
    intake = Intake()
    await notice([own()], intake.world)
    incident = await intake.incident()
    assert (len(incident.firing), intake.memory.done) == (1, {})
    assert {work.lane for work in intake.memory.work} == {"advance"}
    await notice([own()], intake.world)
    await intake.sent("generic", one())
    await notice([own("resolved", ends_at=START)], intake.world)
    assert intake.types(incident.stream) == ["incident.opened", "alerts.joined", "alerts.resolved"]
    assert [alert.source for alert in (await intake.incident()).firing] == ["generic"]


async def test_an_alert_nobody_sent_that_meets_a_real_one_joins_its_incident() -> None:
    intake = Intake()
    stored = await intake.receive("generic", one())
    (opened,) = await _appends(intake, stored)
    intake.memory.before_append = lambda: [intake.memory.put(w.stream, x) for w in opened.writes for x in w.entries]
    await notice([own()], intake.world)
    assert intake.memory.conflicts == 1
    assert len((await intake.incident()).firing) == 2


# ── what is told beside alarms ────────────────────────────────────────────────────────────────────────────────────


class Senders(Intake):
    """The shared intake with every sender that ships, and somebody to ask for what a message leaves out."""

    def __init__(self, **completes: Any) -> None:
        super().__init__()
        every = {
            **self.world.sources,
            **{name: one.source() for name, one in SENDERS.items() if name not in ("generic", "alertmanager")},
        }
        self.world = replace(self.world, sources=every, completes=completes)

    async def told(self, name: str, sample: Any = None, **headers: str) -> InboundDone | None:
        """Take one message of a sender as its source reads it."""
        sender = SENDERS[name]
        body, source = sender.body(sample), self.world.sources[name]
        given = {**sender.headers(body), **headers}
        raw = RawRequest(
            id=self.ids.ulid(), source=name, received_at=self.clock.now(), body=body, headers=given,
            delivery_id=source.delivery_id(given, body),
        )  # fmt: skip
        stored, _ = await self.memory.receive(raw)
        self.again = await take(stored, self.world)
        return self.memory.done.get(stored)


class Knows:
    """Somebody who knows the labels an alert left out; silent for a while when told to be."""

    def __init__(self, silent: int = 0, **labels: str) -> None:
        self.silent, self.labels = silent, labels

    async def completed(self, parsed: Parsed) -> Parsed:
        if self.silent:
            self.silent -= 1
            raise Unavailable("PagerDuty did not answer")
        alerts = tuple(alert.model_copy(update=self.labels) for alert in parsed.alerts)
        return parsed.model_copy(update={"alerts": alerts})


@pytest.mark.parametrize("name", ["mlflow", "github"])
async def test_a_change_is_kept_by_the_ledger_and_opens_nothing(name: str) -> None:
    intake = Senders()
    done = await intake.told(name)
    assert done is not None
    assert (done.outcome, done.error, done.incidents) == ("accepted", "", ())
    assert (intake.incidents, intake.types(PROD), intake.memory.work) == ([], ["change.noticed"], [])
    ((_, change),) = (await intake.world.ledger(PROD)).changes
    assert (change.source, change.version) == (name, "42")


async def test_a_change_of_the_registry_holds_in_every_environment_of_the_model() -> None:
    intake = Senders()
    await intake.told("mlflow", {**ALIAS, "data": {"name": "ranker", "alias": "champion", "version": "7"}})
    assert intake.types("model/prod/ranker") == intake.types("model/staging/ranker") == ["change.noticed"]


async def test_a_change_of_a_model_nobody_registered_leads_nowhere_and_says_so() -> None:
    intake = Senders()
    done = await intake.told("mlflow", {**ALIAS, "data": {"name": "stranger", "version": "7"}})
    assert done is not None
    assert "stranger" in done.error
    assert intake.memory.streams == {}


async def test_a_security_finding_opens_an_incident_like_an_alert() -> None:
    intake = Senders()
    await intake.told("falco")
    (alert,) = (await intake.incident()).firing
    assert alert.kind is Kind.SECURITY


async def test_a_pager_that_names_no_model_is_asked_for_it() -> None:
    intake = Senders(pagerduty=Knows(model="fraud_scorer", version="42", environment="prod"))
    await intake.told("pagerduty")
    incident = await intake.incident()
    assert [(alert.model, alert.version) for alert in incident.firing] == [("fraud-scorer", "42")]


async def test_a_pager_that_is_silent_is_asked_for_five_minutes_and_then_its_message_leads_nowhere() -> None:
    intake = Senders(pagerduty=Knows(silent=2, model="fraud-scorer"))
    assert await intake.told("pagerduty") is None
    assert intake.again == intake.clock.now() + timedelta(seconds=15)
    (waiting,) = intake.memory.raw
    intake.clock.advance(301)
    assert await take(waiting, intake.world) is None
    done = intake.memory.done[waiting]
    assert "names no model" in done.error
    assert intake.incidents == []


async def test_a_pager_joins_the_incident_of_the_group_it_was_paged_for() -> None:
    intake = Senders()
    await intake.sent("alertmanager", SENDERS["alertmanager"].body())
    done = await intake.told("pagerduty")
    incident = await intake.incident()
    assert done is not None
    assert (done.incidents, done.error) == ((incident.stream,), "")
    assert "correlated" in done.alerts[0].flags
    assert [alert.source for alert in incident.firing] == ["alertmanager", "pagerduty"]


async def test_a_tool_that_names_no_model_is_placed_by_the_hint_another_gave() -> None:
    intake = Senders()
    await intake.told("generic", {**SENDERS["generic"].sample, "labels": {"incident_hint": "night-7"}})
    nameless = {"fingerprint": "gateway", "status": "firing", "labels": {"incident_hint": "night-7"}}
    done = await intake.told("generic", nameless)
    incident = await intake.incident()
    assert done is not None
    assert (done.incidents, done.error) == ((incident.stream,), "")
    assert done.alerts[0].model == incident.model
    lost = await intake.told("generic", {**nameless, "fingerprint": "other", "labels": {"incident_hint": "night-8"}})
    assert lost is not None
    assert lost.incidents == ()


async def test_of_another_group_a_pager_leads_nowhere() -> None:
    intake = Senders()
    await intake.sent("alertmanager", SENDERS["alertmanager"].body({**GROUP, "groupKey": "another"}))
    done = await intake.told("pagerduty")
    assert done is not None
    assert done.incidents == ()
    assert "names no model" in done.error


async def test_who_acknowledged_in_the_pager_is_told_and_wakes_no_second_card() -> None:
    intake = Senders()
    await intake.sent("alertmanager", SENDERS["alertmanager"].body())
    await intake.told("pagerduty")
    await intake.told("pagerduty", event("incident.acknowledged", {**INCIDENT, "status": "acknowledged"}))
    incident = await intake.incident()
    assert intake.types(incident.stream) == ["incident.opened", "alerts.joined", "alerts.updated"]
    told = intake.memory.streams[incident.stream][-1].entry.sentence()
    assert told == "PagerDuty: acknowledged by Dana Oncall."
    assert len(incident.firing) == 2


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (
            "incident.resolved", {**INCIDENT, "resolve_reason": {"type": "merge_resolve_reason", "incident": {"id": "QX"}}},
            "PagerDuty merged its incident into QX by Dana Oncall: that is not an end.",
        ),
        (
            "incident.annotated", {"incident": {"id": "Q7INCIDENT"}, "content": "<!channel> look"},
            "PagerDuty: annotated by Dana Oncall (‹!channel> look).",
        ),
    ],
)  # fmt: skip
async def test_a_merge_ends_nothing_and_a_note_is_told(kind: str, data: Any, said: str) -> None:
    intake = Senders()
    await intake.sent("alertmanager", SENDERS["alertmanager"].body())
    await intake.told("pagerduty")
    await intake.told("pagerduty", event(kind, data))
    incident = await intake.incident()
    assert len(incident.firing) == 2
    assert intake.memory.streams[incident.stream][-1].entry.sentence() == said


@pytest.mark.parametrize(
    ("kind", "said"),
    [("annotated", "content"), ("status_update_published", "message"), ("responder.added", "message")],
)
async def test_what_we_wrote_ourselves_is_not_told_back(kind: str, said: str) -> None:
    intake = Senders()
    await intake.sent("alertmanager", SENDERS["alertmanager"].body())
    await intake.told("pagerduty")
    await intake.told(
        "pagerduty",
        event(f"incident.{kind}", {"incident": {"id": "Q7INCIDENT"}, said: "Traffic moved. [lastgood:01K]"}),
    )
    assert intake.types((await intake.incident()).stream) == ["incident.opened", "alerts.joined"]


async def test_an_update_about_nothing_of_ours_changes_nothing_and_is_no_fault() -> None:
    intake = Senders()
    done = await intake.told("pagerduty", event("incident.acknowledged", INCIDENT))
    assert done is not None
    assert (done.outcome, done.error, done.incidents) == ("accepted", "", ())
    assert intake.memory.streams == {}


async def test_a_series_that_went_missing_does_not_end_its_alert() -> None:
    intake = Senders()
    await intake.told("grafana")
    gone = {**PANEL["alerts"][0], "status": "resolved", "annotations": {"grafana_state_reason": "MissingSeries"}}
    await intake.told("grafana", {**PANEL, "alerts": [gone]})
    incident = await intake.incident()
    assert len(incident.firing) == 1
    assert (
        intake.memory.streams[incident.stream][-1].entry.sentence()
        == "Grafana has no data any more: that is not an end."
    )
