"""Requests stored before they are answered, what became of them, and the alerts they held."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, ClassVar

import orjson
from pydantic import TypeAdapter
from ulid import ULID

from bot.domain.alert import Alert, RawRequest, group_name, hint_name, problem_name
from bot.domain.value import canonical
from bot.errors import AlertEnded, Conflict, LastgoodError, ReadOnly, RequestTaken
from bot.ports import InboundDone
from bot.store.chain import stamp, unstamp
from bot.store.database import Backend, Connection, Database, text
from bot.store.work import raise_work

ROUND = 500  # bodies erased in one transaction
_OF_NOTHING = hashlib.sha256(b"").hexdigest()
BUSY_WITHIN = 1.0  # seconds a sender waits for the writer; then it is told to send again
_RECORD = (
    "id,source,delivery_id,received_at,remote,content_sha256,outcome,error,processed_at,alerts_json,incidents_json"
)
_RECEIVE = (
    "INSERT INTO inbound(id,source,delivery_id,received_at,remote,content_sha256,headers_json,body,outcome,error,"
    "alerts_json,incidents_json) VALUES(?,?,?,?,?,?,?,?,'pending','','[]','[]')"
)
_DONE = "UPDATE inbound SET outcome=?,error=?,processed_at=?,alerts_json=?,incidents_json=? WHERE id=?"
_OCCURRENCE = (
    "INSERT INTO occurrence(fingerprint,starts_at,status,last_seen,notify_count,flap_count,incident) "
    "VALUES(?,?,?,?,1,coalesce((SELECT flap_count+1 FROM occurrence WHERE fingerprint=? AND starts_at<? "
    "ORDER BY starts_at DESC LIMIT 1),0),?) ON CONFLICT(fingerprint,starts_at) DO UPDATE SET "
    "status=CASE occurrence.status WHEN 'resolved' THEN occurrence.status ELSE excluded.status END,"
    "last_seen=excluded.last_seen,notify_count=occurrence.notify_count+1,"
    "incident=CASE excluded.incident WHEN '' THEN occurrence.incident ELSE excluded.incident END"
)
_KNOWN = "SELECT id FROM inbound WHERE source=? AND delivery_id=?"
_ENDED = "SELECT 1 FROM occurrence WHERE fingerprint=? AND starts_at>=? AND (starts_at>? OR status='resolved') LIMIT 1"
_ALWAYS = stamp(datetime(1970, 1, 1, tzinfo=UTC))  # a group has no beginning of its own
_PENDING = "SELECT count(*) FROM inbound WHERE outcome='pending'"
_ASIDE = (
    f"SELECT {_RECORD},times FROM inbound JOIN (SELECT max(id) AS newest,count(*) AS times FROM inbound "  # noqa: S608  constants
    "WHERE error<>'' GROUP BY source,error) AS alike ON id=newest WHERE id<? ORDER BY id DESC LIMIT ?"
)
_PROOF = "INSERT INTO meta(name,value) VALUES('written_at',?) ON CONFLICT(name) DO UPDATE SET value=excluded.value"


@dataclass(frozen=True, slots=True)
class InboundRecord:
    """A stored request with its end: what `GET /api/v1/inbound/{id}` answers from. `alerts` are JSON objects."""

    id: str
    source: str
    delivery_id: str | None
    received_at: datetime
    remote: str
    content_sha256: str
    outcome: str  # pending | accepted | partial | quarantined | ignored | ping | replayed | dismissed
    error: str
    processed_at: datetime | None
    alerts: tuple[dict[str, Any], ...]
    incidents: tuple[str, ...]
    times: int = 1  # how often the same came, when alike requests are listed once

    def as_row(self) -> dict[str, Any]:
        """Give the same with when it came, and how often its like did: an item of the lane of what led nowhere."""
        return {**self.as_json(), "received_at": self.received_at.isoformat(), "times": self.times}

    def as_json(self) -> dict[str, Any]:
        """Give what `GET /api/v1/inbound/{id}` promises."""
        return {
            "id": self.id,
            "source": self.source,
            "outcome": self.outcome,
            "error": self.error,
            "alerts": list(self.alerts),
        }


class _Turn:
    """Of the writer that takes a request up and the caller that gives up waiting, exactly one comes first."""

    def __init__(self) -> None:
        self._door, self._first = threading.Lock(), ""

    def taken_by(self, who: str) -> bool:
        """Take the turn unless the other has it; True for its holder, however often it asks."""
        with self._door:
            self._first = self._first or who
            return self._first == who


class SqlInbox(Database):
    """The port Inbox, and what people ask about it."""

    high_water: ClassVar[int] = 100_000  # requests that may wait to be looked at
    counted_every: ClassVar[int] = 256  # requests, so that a long queue is not counted for each
    _received = 0  # counted by the writer's thread alone, like the next
    _full = False

    async def receive(self, raw: RawRequest) -> tuple[str, bool]:
        """Store a request and the work to look at it, in one commit; give its id and whether it was stored before.

        Raises ReadOnly when it is not stored, and then it never will be: the disk refuses, another process holds the
        file for longer than `BUSY_WITHIN`, or `high_water` requests wait already.
        """
        digest, headers = hashlib.sha256(raw.body).hexdigest(), canonical(raw.headers).decode()
        row = (
            raw.id, raw.source, raw.delivery_id, stamp(raw.received_at), raw.remote, digest, headers, raw.body,
        )  # fmt: skip
        turn = _Turn()

        def job(connection: Connection) -> tuple[str, bool]:
            if not turn.taken_by("writer"):
                raise ReadOnly("Its sender was told to send it again.")
            return self._receive(connection, row)

        writing = self._writer.submit(job, _stored)
        try:
            async with asyncio.timeout(BUSY_WITHIN):
                return await asyncio.shield(writing)
        except TimeoutError:
            if not turn.taken_by("caller"):
                return await writing  # it is being stored at this moment
            writing.cancel()
            message = f"The timeline {self.place.name} was busy for {BUSY_WITHIN:g} s."
            raise ReadOnly(message) from None

    async def writable(self) -> bool:
        """Prove within a second, with one small write, that the timeline takes more."""
        try:
            async with asyncio.timeout(BUSY_WITHIN):
                await self._writing(lambda connection: connection.execute(_PROOF, (stamp(self._clock.now()),)))
        except (TimeoutError, LastgoodError):
            return False
        return True

    async def pending(self) -> int:
        """Give how many stored requests wait to be looked at."""
        ((count,),) = await self.query(_PENDING)
        return int(count)

    async def request(self, inbound_id: str) -> RawRequest | None:
        """Give a stored request back, None when its body was erased."""
        rows = await self.query(
            "SELECT id,source,received_at,body,headers_json,remote,delivery_id,content_sha256 FROM inbound WHERE id=?",
            (inbound_id,),
        )
        return next((_request(row) for row in rows if row[3] or row[-1] == _OF_NOTHING), None)

    async def erase_bodies(self, after: str, before: datetime) -> str:
        """Erase the bodies and headers of requests received before then, a round of them after the id `after`; give the last id.

        What became of each stays, and so does the digest of what was received. An empty text: there was none to erase.
        """
        first = f"{str(ULID.from_datetime(before))[:10]}{'0' * 16}"
        rows = await self.query(
            "SELECT id FROM inbound WHERE id>? AND id<? AND outcome<>'pending' ORDER BY id LIMIT ?",
            (after, first, ROUND),
        )

        def job(connection: Connection) -> None:
            connection.executemany(
                "UPDATE inbound SET body=?,headers_json='{}' WHERE id=?", [(b"", *row) for row in rows]
            )

        if rows:
            await self._writing(job)
        return str(rows[-1][0]) if rows else ""

    async def settle(self, inbound_id: str, outcome: str, *, alike: bool) -> int:
        """Take a message off the list of what led nowhere, or with `alike` every one of its sender with the same reason."""
        return await self._writing(lambda connection: _settled(connection, inbound_id, outcome, alike=alike))

    async def related(self, names: Sequence[str]) -> str | None:
        """Give the incident in which an alert with one of these fingerprints, or a group of that name, was taken last."""
        marks = ",".join("?" * len(names))
        rows = await self.query(
            f"SELECT incident FROM occurrence WHERE fingerprint IN ({marks}) AND incident<>'' ORDER BY last_seen DESC LIMIT 1",  # noqa: S608  marks only
            tuple(names),
        )
        return next((row[0].split(",")[0] for row in rows), None)

    async def inbound(self, inbound_id: str) -> InboundRecord | None:
        """Give what became of a stored request."""
        rows = await self.query(f"SELECT {_RECORD} FROM inbound WHERE id=?", (inbound_id,))  # noqa: S608  a constant
        return next((_record(row) for row in rows), None)

    async def messages(self, end: str) -> list[str]:
        """Give the ids of stored messages that end in these characters, at most ten."""
        if not end.isalnum():
            return []
        rows = await self.query(
            "SELECT id FROM inbound WHERE id LIKE ? ORDER BY id DESC LIMIT 10", (f"%{end.upper()}",)
        )
        return [row[0] for row in rows]

    async def heard_since(self, source: str, at: datetime) -> bool:
        """Say whether anything of a source was stored since then: the newest rows are looked at first."""
        first = f"{str(ULID.from_datetime(at))[:10]}{'0' * 16}"
        found = await self.query(
            "SELECT 1 FROM inbound WHERE id>=? AND source=? ORDER BY id DESC LIMIT 1", (first, source)
        )
        return bool(found)

    async def last_heard(self) -> dict[str, datetime]:
        """Give when each source last sent something that was stored."""
        rows = await self.query("SELECT source,max(received_at) FROM inbound GROUP BY source")
        return {source: unstamp(at) for source, at in rows}

    async def quarantined(self, limit: int = 50, before: str | None = None) -> list[InboundRecord]:
        """Give the requests in which something led nowhere, newest first; those of one source with one reason once.

        `before` is the last id of the page before.
        """
        rows = await self.query(_ASIDE, (before or "~", limit))  # every ULID sorts before the tilde
        return [_record(row) for row in rows]

    def _receive(self, connection: Connection, row: tuple[Any, ...]) -> tuple[str, bool]:
        id_, source, delivery_id = row[:3]
        known = delivery_id is not None and connection.execute(_KNOWN, (source, delivery_id)).fetchone()
        if known:
            return known[0], True
        if self._crowded(connection):
            message = f"{self.high_water} requests wait to be looked at; no more are taken until they are."
            raise ReadOnly(message)
        connection.execute(_RECEIVE, row)
        raise_work(self._backend, connection, [("inbound", f"inbound/{id_}", stamp(self._clock.now()))])
        return id_, False

    def _crowded(self, connection: Connection) -> bool:
        if self._full or self._received % self.counted_every == 0:
            self._full = connection.execute(_PENDING).fetchone()[0] >= self.high_water
        self._received += 1
        return self._full


def _settled(connection: Connection, inbound_id: str, outcome: str, *, alike: bool) -> int:
    row = connection.execute(
        "SELECT source,error FROM inbound WHERE id=? AND outcome<>'pending'", (inbound_id,)
    ).fetchone()
    if row is None:
        return 0
    which, values = ("source=? AND error=?", tuple(row)) if alike and row[1] else ("id=?", (inbound_id,))
    ((count,),) = connection.execute(f"SELECT count(*) FROM inbound WHERE {which}", values).fetchall()  # noqa: S608  constants
    connection.execute(f"UPDATE inbound SET outcome=?,error='' WHERE {which}", (outcome, *values))  # noqa: S608  constants
    return int(count)


def _stored(connection: Connection, received: tuple[str, bool]) -> bool:
    """Say whether a request whose commit was not answered is stored."""
    return connection.execute("SELECT 1 FROM inbound WHERE id=?", received[:1]).fetchone() is not None


def check_pending(backend: Backend, connection: Connection, done: Sequence[InboundDone]) -> None:
    """Hold the ends of requests to what is stored.

    Raises RequestTaken for a request that has ended, AlertEnded for alerts said to fire that have ended, and Conflict
    for a request that was never stored.
    """
    # Two requests about one alert are judged one after the other, whatever process takes them.
    backend.hold(connection, sorted({alert.fingerprint for one in done for alert in one.alerts}))
    for one in sorted(done, key=lambda one: one.id):
        row = connection.execute(f"SELECT outcome FROM inbound WHERE id=?{backend.lock}", (one.id,)).fetchone()  # noqa: S608  constants
        if row is None:
            message = f"Inbound {one.id} was never stored."
            raise Conflict(message)
        if row[0] != "pending":
            message = f"Inbound {one.id} is done already ({row[0]})."
            raise RequestTaken(message)
        ended = [(alert.fingerprint, alert.since) for alert in one.alerts if _has_ended(connection, alert)]
        if ended:
            raise AlertEnded(ended)


def _has_ended(connection: Connection, alert: Alert) -> bool:
    """Say whether an alert that intake takes for firing is over: its occurrence ended, or a newer one is known."""
    if alert.status != "firing" or "out_of_order" in alert.flags:
        return False
    at = stamp(alert.since)
    return connection.execute(_ENDED, (alert.fingerprint, at, at)).fetchone() is not None


def end_inbound(connection: Connection, rows: InboundRows, now: str) -> None:
    """Write the ends of requests and count their alerts."""
    for (outcome, error, alerts, incidents, id_), occurrences in rows:
        connection.execute(_DONE, (outcome, error, now, alerts, incidents, id_))
        connection.executemany(
            _OCCURRENCE, [(name, at, status, now, name, at, where) for name, at, status, where in occurrences]
        )


InboundRows = Sequence[tuple[tuple[str, str, str, str, str], Sequence[tuple[str, str, str, str]]]]


def inbound_rows(done: Sequence[InboundDone]) -> InboundRows:
    """Give the texts to be stored, ahead of the writer."""
    return [
        (_end(one), [*_groups(one), *(_occurrence(alert, ",".join(one.incidents)) for alert in one.alerts)])
        for one in done
    ]


def _groups(done: InboundDone) -> list[tuple[str, str, str, str]]:
    """Give what a group is known by: to a pager by its key, where that means one incident, and to incidents that share a problem."""
    keys = dict.fromkeys(alert.group_key for alert in done.alerts if alert.group_key) if done.incidents else {}
    names = [group_name(hashlib.sha256(key.encode()).hexdigest()) for key in keys] if len(done.incidents) == 1 else []
    hints = [one.hint for one in done.alerts if one.hint] if len(done.incidents) == 1 else []
    found = dict.fromkeys((*names, *map(problem_name, keys), *map(hint_name, hints)))
    return [(name, _ALWAYS, "firing", done.incidents[0]) for name in found]


def _end(done: InboundDone) -> tuple[str, str, str, str, str]:
    text(done.error)
    alerts = _alerts().dump_json(done.alerts).decode()
    return done.outcome, done.error, alerts, canonical(list(done.incidents)).decode(), done.id


@cache
def _alerts() -> TypeAdapter[tuple[Alert, ...]]:
    return TypeAdapter(tuple[Alert, ...])


def _occurrence(alert: Alert, incidents: str) -> tuple[str, str, str, str]:
    return alert.fingerprint, stamp(alert.since), alert.status, incidents


def _request(row: tuple[Any, ...]) -> RawRequest:
    id_, source, at, body, headers, remote, delivery, _ = row
    return RawRequest(
        id=id_, source=source, received_at=unstamp(at), body=body, headers=orjson.loads(headers), remote=remote,
        delivery_id=delivery,
    )  # fmt: skip


def _record(row: tuple[Any, ...]) -> InboundRecord:
    id_, source, delivery, received, remote, digest, outcome, error, processed, alerts, incidents, *times = row
    return InboundRecord(
        id_, source, delivery, unstamp(received), remote, digest, outcome, error,
        unstamp(processed) if processed else None, tuple(orjson.loads(alerts)), tuple(orjson.loads(incidents)), *times,
    )  # fmt: skip
