"""What Lastgood needs from the world, in its own words. Adapters fill these; the flow calls nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from pydantic import BaseModel

from bot.domain.alert import Alert, Parsed, RawRequest
from bot.domain.entries import Entry, Recorded
from bot.domain.evidence import Found, Wanted
from bot.domain.person import Membership, OnCall, Person
from bot.domain.registry import Shelf
from bot.domain.sli import Measurement
from bot.domain.traffic import (
    ApplyResult,
    Call,
    Capabilities,
    Finding,
    Intent,
    Reading,
    TargetPlan,
    TargetState,
    Verification,
)

if TYPE_CHECKING:
    from bot.domain.incident import Incident


class Clock(Protocol):
    """Where time comes from, so tests can own it."""

    def now(self) -> datetime:
        """Give the time in UTC."""

    def monotonic(self) -> float:
        """Give seconds that never go back."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Ids(Protocol):
    """Where identifiers come from, so tests can own them."""

    def ulid(self) -> str:
        """Give a new ULID, 26 characters, sortable by time."""


# ── the timeline and the records beside it ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Said:
    """Free text a person typed: kept beside the chain, erasable, referenced by its salted hash."""

    ref: str
    salt: str
    text: str


@dataclass(frozen=True, slots=True)
class Write:
    """Entries for one stream. `expect` is the epoch the writer read, 0 for a new stream, None when every entry commutes."""

    stream: str
    entries: tuple[Entry, ...]
    expect: int | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """Something due: in `lane`, look at `stream`, at `at`. Upserting keeps the earliest `at` and raises `turn`."""

    lane: str
    stream: str
    at: datetime
    turn: int = 0
    tries: int = 0


LOOKS = ("observe", "ready", "retention")  # lanes whose turns come last: after a pause no rollback waits for a look


@dataclass(frozen=True, slots=True)
class InboundDone:
    """The end of one stored request: what became of it and the alerts it held, kept for `GET /api/v1/inbound/{id}`."""

    id: str
    outcome: str  # accepted | partial | quarantined | ignored | ping
    error: str = ""
    alerts: tuple[Alert, ...] = ()
    incidents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Append:
    """One transaction: entries for several streams, what they depend on, and the work that follows."""

    writes: tuple[Write, ...] = ()
    given: Mapping[str, int] = field(default_factory=dict)  # stream -> epoch that must still hold
    work: tuple[Work, ...] = ()
    inbound: tuple[InboundDone, ...] = ()
    said: tuple[Said, ...] = ()
    until: datetime | None = None  # by the store's clock; later than that nothing of it may be written


@runtime_checkable
class Timeline(Protocol):
    """The append-only record. Everything that happens is one append."""

    async def append(self, append: Append) -> list[Recorded]:
        """Write all of it or nothing.

        Raises Conflict when a stream's epoch moved past `expect` or `given`, or `until` is over; RequestTaken when an
        inbound id is already done, AlertEnded when an alert fires whose occurrence has ended; ReadOnly when nothing can
        be written. Outlives its cancelled caller.
        """

    async def read(self, stream: str, after: int = 0) -> list[Recorded]:
        """Give the entries of a stream with a version above `after`, in order."""

    async def said(self, refs: Sequence[str]) -> dict[str, str]:
        """Give the erasable texts by reference; an erased one is missing."""


@runtime_checkable
class Inbox(Protocol):
    """Requests stored before they are answered."""

    async def receive(self, raw: RawRequest) -> tuple[str, bool]:
        """Store a request and the work to look at it; give its id and whether it was stored before (same delivery id).

        Raises ReadOnly, and then it is not stored and never will be.
        """

    async def request(self, inbound_id: str) -> RawRequest | None:
        """Give a stored request back."""

    async def settle(self, inbound_id: str, outcome: str, *, alike: bool) -> int:
        """Take a message off the list of what led nowhere, or with `alike` every one of its sender with the same reason.

        `outcome` is what was done about it: replayed or dismissed. Gives how many there were.
        """

    async def heard_since(self, source: str, at: datetime) -> bool:
        """Say whether anything of a source was stored since then."""

    async def related(self, names: Sequence[str]) -> str | None:
        """Give the incident in which an alert with one of these fingerprints, or a group of that name, was taken last."""


@runtime_checkable
class WorkTable(Protocol):
    """What is due, and when. The truth every engine runs from."""

    async def due(self, until: datetime, limit: int, *, skip: Sequence[tuple[str, str]] = ()) -> list[Work]:
        """Give what is due until then, looks at models last, else earliest first, leaving out (lane, stream) pairs that are running."""

    async def next(self, lane: str, stream: str) -> Work | None:
        """Give what is recorded for one stream in one lane, due or not."""

    async def finish(self, work: Work, again: datetime | None = None, *, failed: bool = False) -> None:
        """End this turn: delete it or reschedule it. A turn that was raised meanwhile stays due. `failed` counts a try."""

    async def wake(self, work: Sequence[Work]) -> None:
        """Record work outside an append."""

    async def noted(self, name: str) -> str:
        """Give what was noted under a name, by any process; an empty text when nothing was."""

    async def note(self, name: str, value: str) -> None:
        """Note something. It is no record: what is lost is only looked at again."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What one surface shows of one incident: where its message is, and up to which version of the stream."""

    stream: str
    kind: str  # "card", "thread.started", …
    episode: int = 1
    cursor: int = 0
    channel: str = ""
    ts: str = ""
    state: str = (
        "new"  # new | sending | shown | unsure | gone | refused | skipped | carried (`digest` names the carrier)
    )
    attempted_at: datetime | None = None
    digest: str = ""  # of the payload shown, so an unchanged card is not sent again


@runtime_checkable
class SurfaceTable(Protocol):
    """The record of what was posted where; never rebuilt."""

    async def shown(self, stream: str) -> list[Shown]:
        """Give every message of an incident."""

    async def save(self, shown: Shown) -> None:
        """Write one record, durably."""

    async def posted_at(self, channel: str, ts: str) -> Shown | None:
        """Find the record of a message we posted."""


# ── foreign systems ───────────────────────────────────────────────────────────────────────────────────────────────


class Log(Protocol):
    """Structured logging: an event name and plain facts."""

    def info(self, event: str, **facts: object) -> None:
        """Write what happened."""

    def warning(self, event: str, **facts: object) -> None:
        """Write what a person may want to know."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the host hands to an adapter: a clock, a way to open HTTP sessions of its own, its name, a log."""

    clock: Clock
    name: str  # the target's or source's name in the configuration
    log: Log
    secret: Callable[[str], str | None]  # environment name -> value, `NAME_FILE` winning


@runtime_checkable
class TrafficAdapter(Protocol):
    """Moves traffic between versions of one target, and proves it. Built as `Adapter(config, context)`."""

    kind: ClassVar[str]
    api_version: ClassVar[int]
    Config: ClassVar[type[BaseModel]]
    capabilities: ClassVar[Capabilities]

    async def __aenter__(self) -> Self:
        """Open what it needs."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    async def preflight(self) -> tuple[Finding, ...]:
        """Say whether it is reachable, permitted, and who else manages it. Raises AdapterError."""

    async def read(self) -> TargetState:
        """Give what is. Never mutates. Raises AdapterError."""

    async def plan(self, intent: Intent, state: TargetState) -> TargetPlan:
        """Say what `apply` would do. Never mutates."""

    async def apply(self, plan: TargetPlan) -> ApplyResult:
        """Read, compare the token, write once, read back. Idempotent: at the goal already is a noop."""

    async def verify(self, plan: TargetPlan, baseline: Reading | None) -> Verification:
        """Take one look and give its reading. A counter that restarted since the baseline is inconclusive."""

    async def reading(self) -> Reading:
        """Take the counters now, to be the baseline of a later `verify`."""


@runtime_checkable
class AlertSource(Protocol):
    """Proves and reads one sender's messages; pure. Built as `Source(config, secrets)`.

    Four methods are there where a sender needs them: `async prepare(body)` has at hand what `verify` needs, `handshake(headers)`
    answers OPTIONS, `silences(context)` gives a Silences, and `completes(context)` a Completes.
    """

    name: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    methods: ClassVar[frozenset[str]]
    reads: ClassVar[tuple[str, ...]]  # how the names of headers begin that `parse` needs, in small letters

    def configured(self) -> bool:
        """Say whether a credential is present; without one every request is answered 503."""

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Check header credentials before the body is read. Raises SignatureInvalid."""

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Check a signature over the raw bytes. Raises SignatureInvalid. Header-only sources do nothing."""

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Give what makes this HTTP message the same as an earlier one, or None when the sender has no such thing."""

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the message. Raises PayloadInvalid when it is not this source's format at all."""


@runtime_checkable
class MetricSource(Protocol):
    """Reads SLIs. Built as `Source(config, context)`."""

    kind: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    Query: ClassVar[type[BaseModel]]  # the keys an SLI may give beside source, objective and good

    async def __aenter__(self) -> Self:
        """Open what it needs."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    async def measure(self, query: BaseModel, since: Measurement | None) -> Measurement:
        """Take one look; errors become a Measurement whose value is None and whose reason says why."""


@runtime_checkable
class Registry(Protocol):
    """Knows the versions of models. Built as `Registry(config, context)`; it is only read."""

    kind: ClassVar[str]
    Config: ClassVar[type[BaseModel]]

    async def __aenter__(self) -> Self:
        """Open what it needs."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    async def look(self, name: str) -> Shelf:
        """Give everything it says of one model; never raises, what it cannot say is the reason of an empty shelf."""


@runtime_checkable
class SampleSource(Protocol):
    """Knows sampled requests. Built as `Samples(config, context)`; it is only read."""

    kind: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    Query: ClassVar[type[BaseModel]]  # the keys an environment gives beside those every source has

    async def __aenter__(self) -> Self:
        """Open what it needs."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    async def find(self, query: Any, wanted: Wanted) -> Found:
        """Give the newest samples that are wanted; never raises, what cannot be read is the reason of an empty answer."""


@runtime_checkable
class EvidenceTable(Protocol):
    """Files of evidence by their digest, which can be erased."""

    async def keep(self, stream: str, files: Mapping[str, bytes], until: datetime) -> None:
        """Keep files by their SHA-256, until a time."""

    async def evidence(self, stream: str, digests: Sequence[str]) -> dict[str, bytes]:
        """Give kept files by digest; an erased one is missing."""

    async def overdue(self, now: datetime) -> dict[str, tuple[str, ...]]:
        """Give the digests, by stream, that may be kept no longer."""

    async def forget(self, files: Mapping[str, Sequence[str]]) -> None:
        """Erase these digests of these streams."""


@runtime_checkable
class Directory(Protocol):
    """Knows people and groups. Answers are at most 60 s old, fresh ones 2 s; a failed look-up is an answer of its own."""

    async def person(self, user: str, *, fresh: bool = False) -> Person | None:
        """Give the account, None when nobody has this id. Raises Unavailable."""

    async def by_email(self, email: str, *, fresh: bool = False) -> Person | None:
        """Give the one account with an address, None when there is none. Raises Unavailable."""

    async def belongs(self, user: str, source: str, *, fresh: bool = False) -> Membership:
        """Say whether the person is in `member U…` or `usergroup S…`; never raises, `held=None` when nobody could say."""

    async def people(self, source: str) -> tuple[str, ...]:
        """Give the people of a source for display; empty when nobody could say."""

    def keep_warm(self, sources: Iterable[str], people: Iterable[str]) -> None:
        """Ask in the background, waiting for nothing, what a press would soon have to wait for: these sources, whoever is in them, these people.

        Called every 30 s or oftener it keeps every answer young enough for a press; a question that fails lets it age.
        """


@runtime_checkable
class Pager(Protocol):
    """Knows who is on call now. Answers are at most 60 s old, fresh ones 2 s."""

    async def on_call(self, kind: str, name: str, *, fresh: bool = False) -> tuple[OnCall, ...]:
        """Give who is on call in a `schedule` or an `escalation_policy`. Raises Unavailable when nobody could say."""


@dataclass(frozen=True, slots=True)
class Paged:
    """How an incident stands in the pager: triggered, acknowledged or resolved, what its notes say, and who is in it.

    `asked` has the pager's ids of the people and escalation policies that were asked in or have it; None when the pager
    does not say whom it asked in.
    """

    status: str
    notes: tuple[str, ...]
    asked: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a pager asks in, by the pager's own id."""

    kind: Literal["user", "escalation_policy"]
    id: str


@dataclass(frozen=True, slots=True)
class Written:
    """What became of something that was sent: done, refused and why, or unknown because nobody answered."""

    state: Literal["done", "refused", "unknown"]
    why: str = ""


@runtime_checkable
class PagerDesk(Protocol):
    """Writes into the pager's incidents, and pages.

    A method that gives nothing raises Unavailable when nobody knows whether it was done. One that gives `Written` says
    so there, and raises Unavailable only when nothing was done: then it may be tried again.
    """

    @property
    def pages(self) -> bool:
        """Say whether it can open incidents of its own and show changes."""

    @property
    def writes(self) -> bool:
        """Say whether it can look at the pager's incidents and write into them."""

    @property
    def updates(self) -> bool:
        """Say whether stakeholders are told how a rollback stands."""

    @property
    def fields(self) -> Mapping[str, str]:
        """Give the pager's name of the field that holds a fact of ours, by the fact."""

    async def page(self, key: str, summary: str, severity: str, details: Mapping[str, str]) -> None:
        """Open an incident known by `key`; with a key that is open it changes nothing."""

    async def quiet(self, key: str) -> None:
        """End the incident known by `key`."""

    async def change(self, summary: str, at: datetime, details: Mapping[str, str]) -> None:
        """Show a change beside the incidents of the service."""

    async def look(self, incident: str) -> Paged | None:
        """Give how an incident stands, None when there is none of that name."""

    async def mark(self, incident: str, status: str) -> None:
        """Acknowledge or resolve it; doing it again changes nothing."""

    async def note(self, incident: str, text: str) -> None:
        """Add a note. Done twice there are two: look before it is done again."""

    async def update(self, incident: str, text: str) -> Written:
        """Tell the incident's stakeholders. Done twice they hear it twice, and nothing shows that they did."""

    async def person(self, email: str) -> str | None:
        """Give the pager's id of the person with this address, None when it knows nobody of that address. Raises Unavailable."""

    async def ask(self, incident: str, target: Target, text: str) -> Written:
        """Ask somebody in. Done twice they are asked twice: look before it is done again."""

    async def fill(self, incident: str, values: Mapping[str, str]) -> Written:
        """Set fields by the pager's names, all or none; doing it again changes nothing."""


@runtime_checkable
class Completes(Protocol):
    """Asks a sender for what its message left out, or tells it what it wants to know; opened and closed by the host."""

    async def completed(self, parsed: Parsed) -> Parsed:
        """Give the message with what was found out. Raises Unavailable when nobody could say now."""


@runtime_checkable
class Polls(Protocol):
    """Asks a sender what it would say now, for messages that were lost; opened and closed by the host."""

    async def missed(self) -> list[tuple[str, bytes]]:
        """Give messages as the sender would send them, each with a name that stays the same while it says the same.

        Raises Unavailable when it does not answer.
        """


@runtime_checkable
class Silences(Protocol):
    """Knows which alerts people silenced where they come from."""

    async def silenced(self, alerts: Sequence[Alert]) -> tuple[str, ...]:
        """Give the fingerprints of those alerts that are silenced now. Raises Unavailable when nobody could say."""


@dataclass(frozen=True, slots=True)
class Matter:
    """What an organisation's own check is asked about: one act of one person, already allowed by policy."""

    act: str  # approve | execute | break_glass
    people: tuple[str, ...]
    model: str
    environment: str
    tier: int
    from_version: str
    to_version: str
    plan: str
    rule: str
    incident: str


@runtime_checkable
class Authorizer(Protocol):
    """A second opinion that can only deny. Built as `Authorizer(config, context)`."""

    kind: ClassVar[str]
    Config: ClassVar[type[BaseModel]]

    async def __aenter__(self) -> Self:
        """Open what it needs."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    async def objection(self, matter: Matter) -> str:
        """Give why not, in a sentence; an empty text when there is no objection. Whoever cannot answer objects; never raises."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing a step does beside moving traffic. `key` is the same at every attempt of the same step of the same plan."""

    key: str
    model: str
    environment: str
    bad: str
    good: str
    incident: str
    reason: str


@runtime_checkable
class ActionAdapter(Protocol):
    """Does what a `warm`, `check` or `tell` step names. Built as `Action(config, context)`; the keys may hold `{version}`."""

    kind: ClassVar[str]
    Config: ClassVar[type[BaseModel]]

    async def __aenter__(self) -> Self:
        """Open what it needs."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    @property
    def reversible(self) -> bool:
        """Say whether `undo` takes it back; what is not is named as irreversible before the click."""

    async def preflight(self, act: Act) -> tuple[Finding, ...]:
        """Say whether it could be done now. Changes nothing. Raises AdapterError."""

    def call(self, act: Act) -> Call:
        """Say what `perform` will do, redacted, and the same by hand."""

    async def perform(self, act: Act) -> ApplyResult:
        """Do it once. A second time with the same key does nothing more where the system allows it."""

    async def done(self, act: Act) -> ApplyResult | None:
        """Say what became of it, changing nothing: applied, or rejected when doing it again is safe; None when nobody can tell."""

    async def undo(self, act: Act) -> ApplyResult:
        """Take it back."""


# ── what people see ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Message:
    """One message a surface should show: `kind` names it within the incident, an editable one follows the fold."""

    kind: str
    payload: Mapping[str, Any]
    editable: bool = False
    reply_to: str | None = None  # the kind of the message it belongs under
    attachment: Document | None = None
    looks: str = ""  # equal for two forms a person could not tell apart, so the second is not sent


@dataclass(frozen=True, slots=True)
class Document:
    """A rendered document in both forms."""

    name: str
    markdown: str
    html: str


@dataclass(frozen=True, slots=True)
class Posted:
    """Where a message is."""

    channel: str
    ts: str


@runtime_checkable
class Surface(Protocol):
    """A place that follows the timeline: it says which messages an incident has now, and can post, change and find them.

    `post`, `update` and `find` raise RateLimited, Unavailable (nothing was sent), Indeterminate (answer lost), Gone
    (deleted by somebody) or Unpublishable.
    """

    kind: ClassVar[str]

    def lane_of(self, stream: str) -> str:
        """Give the pacing bucket, for example `slack/C0INCIDENTS`."""

    async def messages(
        self, incident: Incident, entries: Sequence[Recorded], *, late_since: datetime | None
    ) -> list[Message]:
        """Give every message this incident should have now, the card first."""

    def merged(self, messages: Sequence[Message]) -> Message:
        """Give one message that says what several overdue replies would have said."""

    async def post(self, message: Message, key: str, thread: Posted | None) -> Posted:
        """Show a new message, marked with `key` so it can be found."""

    async def update(self, message: Message, key: str, where: Posted) -> None:
        """Show the newest form of a message."""

    async def find(self, key: str, since: datetime, thread: Posted | None) -> list[Posted]:
        """Give the messages marked with `key` posted since then, oldest first."""

    async def delete(self, where: Posted) -> None:
        """Take a duplicate away."""


@runtime_checkable
class Renderer(Protocol):
    """Writes documents from a timeline alone."""

    async def postmortem(self, incident: Incident, entries: Sequence[Recorded], template: str) -> Document:
        """Write the postmortem."""


Handler = Callable[[Work], Awaitable[datetime | None]]


@runtime_checkable
class Engine(Protocol):
    """Runs due work: one turn per (lane, stream) at a time, many streams at once."""

    def run(self, handlers: Mapping[str, Handler]) -> AbstractAsyncContextManager[None]:
        """Run until left; `handlers` are chosen by the lane's first word. A handler gives when to look again, or None."""

    def ring(self) -> None:
        """Say that work may be due."""

    @property
    def healthy(self) -> bool:
        """Say whether the worker runs."""
