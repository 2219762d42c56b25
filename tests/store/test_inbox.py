from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.clock import START, ManualClock
from bot.domain.alert import Alert, RawRequest, group_name, hint_name, problem_name
from bot.errors import AlertEnded, Conflict, ReadOnly, RequestTaken
from bot.ports import Append, InboundDone, Work
from bot.store.timeline import Store


def raw(id_: str, delivery: str | None = None, source: str = "generic") -> RawRequest:
    return RawRequest(
        id=id_, source=source, received_at=START, body=b'{"a":1}', headers={"x-b": "2", "x-a": "1"}, remote="192.0.2.7",
        delivery_id=delivery,
    )  # fmt: skip


def alert(status: str, minute: int = 0) -> Alert:
    return Alert.model_validate(
        {"source": "generic", "fingerprint": "f1", "status": status, "starts_at": START + timedelta(minutes=minute)}
    )


async def test_a_request_is_stored_whole_and_due_at_once(store: Store, clock: ManualClock) -> None:
    clock.advance(5)
    assert await store.receive(raw("01A", "d1")) == ("01A", False)
    assert await store.request("01A") == raw("01A", "d1")
    assert await store.request("01B") is None
    assert await store.due(clock.now(), 9) == [Work("inbound", "inbound/01A", clock.now(), turn=1)]


async def test_the_same_delivery_is_stored_once_for_its_source(store: Store) -> None:
    await store.receive(raw("01A", "d1"))
    assert await store.receive(raw("01B", "d1")) == ("01A", True)
    assert await store.receive(raw("01C", "d1", source="alertmanager")) == ("01C", False)
    assert await store.receive(raw("01D")) == ("01D", False)
    assert await store.receive(raw("01E")) == ("01E", False)
    assert [one.stream for one in await store.due(START, 9)] == [f"inbound/01{name}" for name in "ACDE"]


async def test_of_many_equal_deliveries_at_once_one_is_stored(store: Store) -> None:
    ends = await asyncio.gather(*(store.receive(raw(f"01{number:02}", "d1")) for number in range(40)))
    assert len({id_ for id_, _ in ends}) == 1
    assert sorted(known for _, known in ends) == [False] + [True] * 39


async def test_an_id_that_is_taken_conflicts(store: Store) -> None:
    await store.receive(raw("01A"))
    with pytest.raises(Conflict):
        await store.receive(raw("01A"))


async def test_the_end_of_a_request_tells_everything(store: Store, clock: ManualClock) -> None:
    await store.receive(raw("01A", "d1"))
    waiting = await store.inbound("01A")
    assert waiting is not None
    assert (waiting.outcome, waiting.processed_at, waiting.alerts) == ("pending", None, ())
    clock.advance(1)
    await store.append(Append(inbound=(InboundDone("01A", "accepted", "", (alert("firing"),), ("incident/A",)),)))
    done = await store.inbound("01A")
    assert done is not None
    assert (done.source, done.delivery_id, done.remote, done.received_at) == ("generic", "d1", "192.0.2.7", START)
    assert done.content_sha256 == hashlib.sha256(b'{"a":1}').hexdigest()
    assert (done.outcome, done.processed_at, done.incidents) == ("accepted", clock.now(), ("incident/A",))
    assert [Alert.model_validate(one) for one in done.alerts] == [alert("firing")]
    assert await store.inbound("01B") is None


async def test_a_request_ends_once(store: Store, write: Callable[..., Append]) -> None:
    await store.receive(raw("01A"))
    await store.append(Append(inbound=(InboundDone("01A", "accepted"),)))
    again = Append(writes=write("incident/A").writes, inbound=(InboundDone("01A", "accepted"),))
    with pytest.raises(RequestTaken, match="done already"):
        await store.append(again)
    assert await store.read("incident/A") == []


async def ended(store: Store, number: int, *alerts: Alert, where: tuple[str, ...] = ()) -> None:
    await store.receive(raw(f"01{number}"))
    await store.append(Append(inbound=(InboundDone(f"01{number}", "accepted", "", alerts, where),)))


async def test_an_occurrence_counts_its_messages_and_stays_ended(store: Store) -> None:
    late = alert("firing").but(flags=frozenset({"out_of_order"}))
    for number, one in enumerate([alert("firing"), alert("firing"), alert("resolved"), late]):
        await ended(store, number, one, where=("incident/A",) if number == 0 else ())
    rows = await store.query("SELECT fingerprint,status,notify_count,flap_count,incident FROM occurrence")
    assert rows == [("f1", "resolved", 4, 0, "incident/A")]


async def test_each_newer_occurrence_of_an_alert_counts_as_a_flap(store: Store) -> None:
    for number in range(3):
        await ended(store, number, alert("firing", minute=number))
    assert await store.query("SELECT flap_count FROM occurrence ORDER BY starts_at") == [(0,), (1,), (2,)]


@pytest.mark.parametrize("known", [alert("resolved"), alert("resolved", minute=3), alert("firing", minute=3)])
async def test_an_alert_that_is_over_cannot_be_taken_for_firing(
    store: Store, write: Callable[..., Append], known: Alert
) -> None:
    await ended(store, 1, known)
    await store.receive(raw("02A"))
    fires = InboundDone("02A", "accepted", "", (alert("firing"), alert("firing", minute=9)))
    with pytest.raises(AlertEnded) as refused:
        await store.append(Append(writes=write("incident/A").writes, inbound=(fires,)))
    assert refused.value.occurrences == {("f1", START)}
    assert await store.read("incident/A") == []
    marked = tuple(one.but(flags=frozenset({"out_of_order"})) for one in fires.alerts)
    await store.append(Append(inbound=(replace(fires, alerts=marked),)))


@pytest.mark.of_files
async def test_a_request_that_had_to_wait_too_long_is_refused_and_never_stored(store: Store) -> None:
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    ready, *sent = await asyncio.gather(
        store.writable(), *(store.receive(raw(f"01{n}")) for n in range(3)), return_exceptions=True
    )
    assert ready is False
    assert [type(one) for one in sent] == [ReadOnly] * 3
    holder.execute("ROLLBACK")
    holder.close()
    assert await store.writable()
    assert await store.receive(raw("01Z")) == ("01Z", False)
    assert await store.pending() == 1


@pytest.mark.of_files
async def test_a_timeline_that_refuses_to_be_written_is_not_writable(store: Store) -> None:
    with sqlite3.connect(store.path) as other:
        other.execute("CREATE TRIGGER full BEFORE UPDATE ON meta BEGIN SELECT raise(ABORT,'no'); END")
        other.execute("CREATE TRIGGER full_too BEFORE INSERT ON meta BEGIN SELECT raise(ABORT,'no'); END")
    other.close()
    assert not await store.writable()


async def test_more_than_can_be_looked_at_is_not_taken(
    url: str, clock: ManualClock, crashes: list[BaseException]
) -> None:
    class Small(Store):
        high_water = 3
        counted_every = 1

    async with Small(url, clock, on_crash=crashes.append) as store:
        for number in range(3):
            await store.receive(raw(f"01{number}", f"d{number}"))
        with pytest.raises(ReadOnly, match="3 requests wait"):
            await store.receive(raw("01X"))
        assert await store.receive(raw("01Y", "d1")) == ("011", True)
        await store.append(Append(inbound=(InboundDone("010", "accepted"),)))
        assert await store.receive(raw("01Z")) == ("01Z", False)


async def test_another_start_is_another_occurrence(store: Store) -> None:
    await store.receive(raw("01A"))
    both = (alert("firing"), alert("firing", minute=9))
    await store.append(Append(inbound=(InboundDone("01A", "accepted", "", both),)))
    assert await store.query("SELECT count(*) FROM occurrence") == [(2,)]


async def test_what_led_nowhere_is_listed_once_a_reason_newest_first(store: Store) -> None:
    ends = [("quarantined", "why"), ("accepted", ""), ("partial", "else"), ("accepted", "why"), ("quarantined", "new")]
    for number, (outcome, error) in enumerate(ends):
        await store.receive(raw(f"01{number}"))
        await store.append(Append(inbound=(InboundDone(f"01{number}", outcome, error),)))
    await store.receive(raw("019"))  # not looked at yet
    assert [(one.id, one.error, one.times) for one in await store.quarantined()] == [
        ("014", "new", 1),
        ("013", "why", 2),
        ("012", "else", 1),
    ]
    assert [one.id for one in await store.quarantined(limit=1, before="014")] == ["013"]


async def test_a_record_is_shown_with_the_promised_keys(store: Store) -> None:
    await ended(store, 1, alert("firing"))
    found = await store.inbound("011")
    assert found is not None
    assert found.as_json() == {
        "id": "011", "source": "generic", "outcome": "accepted", "error": "", "alerts": [alert("firing").model_dump(mode="json")],
    }  # fmt: skip


async def test_an_alert_leads_to_the_incident_in_which_it_or_its_group_was_taken_last(
    store: Store, clock: ManualClock
) -> None:
    group = alert("firing").model_copy(update={"group_key": '{}:{model="a"}'})
    name = group_name(hashlib.sha256(b'{}:{model="a"}').hexdigest())
    for id_, incident in (("01A", "incident/A"), ("01B", "incident/B")):
        clock.advance(1)
        await store.receive(raw(id_))
        await store.append(Append(inbound=(InboundDone(id_, "accepted", "", (group,), (incident,)),)))
    assert await store.related(["generic:unknown", "f1"]) == "incident/B"
    assert await store.related([name]) == "incident/B"
    assert await store.related([name.upper(), "generic:unknown"]) is None


async def test_what_several_tools_call_one_incident_leads_there(store: Store) -> None:
    hinted = alert("firing").model_copy(update={"labels": {"incident_hint": "night-7"}})
    await store.receive(raw("01A"))
    await store.append(Append(inbound=(InboundDone("01A", "accepted", "", (hinted, hinted), ("incident/A",)),)))
    assert await store.related([hint_name("night-7")]) == "incident/A"
    assert await store.related([hint_name("night-8")]) is None


async def test_a_group_about_several_incidents_is_one_problem_and_nobodys_key(store: Store) -> None:
    key = '{}:{alertname="FeatureStoreDown"}'
    group = alert("firing").model_copy(update={"group_key": key})
    await store.receive(raw("01A"))
    done = InboundDone("01A", "accepted", "", (group,), ("incident/A", "incident/B"))
    await store.append(Append(inbound=(done,)))
    assert await store.related([problem_name(key)]) == "incident/A"
    assert await store.related([group_name(hashlib.sha256(key.encode()).hexdigest())]) is None


async def test_what_is_settled_is_off_the_list_alone_or_with_all_that_say_the_same(store: Store) -> None:
    for id_, error, source in (
        ("01A", "x", "generic"),
        ("01B", "x", "generic"),
        ("01C", "x", "falco"),
        ("01D", "y", "generic"),
    ):
        await store.receive(raw(id_, source=source))
        await store.append(Append(inbound=(InboundDone(id_, "accepted", error),)))
    assert await store.settle("01D", "replayed", alike=False) == 1
    assert await store.settle("01B", "dismissed", alike=True) == 2
    assert [one.id for one in await store.quarantined()] == ["01C"]
    kept = await store.inbound("01A")
    assert kept is not None
    assert kept.outcome == "dismissed"


async def test_what_waits_cannot_be_settled(store: Store) -> None:
    await store.receive(raw("01A"))
    assert await store.settle("01A", "dismissed", alike=True) == 0
    assert await store.settle("01Z", "dismissed", alike=True) == 0
    assert await store.pending() == 1
