"""Slack as a surface: one card and at most three thread posts an incident, each findable when its answer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar, Protocol

import jinja2
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import SystemClock
from bot.domain import access
from bot.domain import entries as e
from bot.domain.catalogue import Catalogue
from bot.domain.incident import Incident, Phase
from bot.domain.model import Model
from bot.domain.orders import LENT, SWITCH, Orders
from bot.domain.roles import Role
from bot.domain.value import digest
from bot.errors import Gone, Indeterminate, LastgoodError, RateLimited, Unavailable, Unpublishable
from bot.ports import Clock, Document, Log, Message, Posted, Renderer
from bot.slack.cards import card, unconfirmed
from bot.slack.facts import Facts
from bot.slack.pace import Pace
from bot.slack.past import Past
from bot.slack.reminders import PREFIX, person_of, reminder, with_link
from bot.slack.thread import GLASS, closing, moments
from bot.slack.thread import postmortem as _postmortem
from bot.slack.wire import BlocksRefused, Wire

PAGES = 10  # of 200 messages, looked through for one whose answer was lost
EACH = 3  # samples make one change of a card
ASK_WITHIN = 5.0  # seconds for names; a card does not wait longer for them
_BROKEN = (
    LastgoodError, jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
Texts = Callable[[Sequence[str]], Awaitable[dict[str, str]]]
Seals = Callable[[e.Recorded], Awaitable[str | None]]


Standing = Callable[[str], Awaitable[Orders]]


async def _no_texts(refs: Sequence[str]) -> dict[str, str]:
    del refs
    return {}


async def _no_orders(stream: str) -> Orders:
    return Orders(stream)


def _never(model: str) -> bool:
    del model
    return False


def _no_trouble(source: str) -> str:
    del source
    return ""


class Known(Protocol):
    """Who people are, for display; SlackDirectory is one."""

    def name(self, user: str) -> str:
        """Give a name, the id when none is known."""

    async def shown(self, source: str) -> tuple[str, ...]:
        """Give the active people of a source, an older answer rather than none. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class SlackMessage(Message):
    """A message with what only Slack needs: how a first post looks, which pings, and whether people wait for it."""

    first: Callable[[], Sequence[Mapping[str, Any]]] | None = None
    urgent: bool = False


class SlackSurface:
    """Shows incidents in one channel."""

    kind: ClassVar[str] = "slack"

    def __init__(
        self, client: AsyncWebClient, channel: str, public_url: str, directory: Known, roles: Mapping[str, Role],
        renderer: Renderer, name: Callable[[str], str], *, pages: bool = False, models: Mapping[str, Model] | None = None,
        said: Texts = _no_texts, clock: Clock | None = None, log: Log | None = None, sealed: Seals | None = None,
        orders: Standing = _no_orders, observes: Callable[[str], bool] = _never, trouble: Callable[[str], str] = _no_trouble,
    ) -> None:  # fmt: skip
        """Post to `channel` with `client`, whose HTTP session is shared.

        `pages` says that incident pages are served at `public_url`: without it no card carries a link there. `models` gives
        owners, `said` the reasons people typed, by reference, `sealed` the checkpoint that covers an entry: with it a thread
        is closed when its end is sealed. `orders` gives what people ordered by stream, `observes` whether nothing is moved
        for a model, `trouble` why a source of a role could not be asked, empty when it could.
        """
        self._channel, self._url = channel, public_url if pages else ""
        self._directory, self._roles, self._renderer, self._name = directory, roles, renderer, name
        self._models, self._said, self._log, self._sealed = models or {}, said, log, sealed
        self._clock = clock or SystemClock()
        self._orders, self._observes, self._trouble = orders, observes, trouble
        self._pace = Pace(self._clock)
        self._wire = Wire(client, channel, self._pace)

    def adopt(self, catalogue: Catalogue) -> None:
        """Show people as other reviewed files name them."""
        self._roles, self._models = catalogue.roles, catalogue.models

    def lane_of(self, stream: str) -> str:
        """Give one lane a channel: that is what Slack paces."""
        del stream
        return f"slack/{self._channel}"

    # ── what there is to show ─────────────────────────────────────────────────────────────────────────────────────

    async def messages(
        self, incident: Incident, entries: Sequence[e.Recorded], *, late_since: datetime | None
    ) -> list[Message]:
        """Give the card, the thread posts and the reminders that are due.

        Raises Unavailable while Slack is in trouble and names are missing, until the card is late: then it goes without.
        """
        past = Past.of(entries)
        facts = await self._facts(incident, past, late_since)
        payload = card(incident, facts)
        ticks = bool(incident.looks or incident.samples)
        seen = card(steady(incident), facts) if ticks else payload
        urgent = incident.phase is Phase.WAITING
        shown: list[Message] = [
            SlackMessage(
                "card", payload, editable=True, looks=looks(seen), urgent=urgent,
                first=lambda: list(card(incident, facts.waking())["blocks"]),
            )
        ]  # fmt: skip
        for kind, text in moments(incident, entries, facts):
            loud = {"reply_broadcast": True} if kind.startswith(GLASS) else {}
            shown.append(SlackMessage(kind, {"text": text, **loud}, reply_to="card", urgent=urgent or bool(loud)))
        if incident.phase is Phase.CLOSED and incident.claim is not None and incident.plan is not None:
            shown += await self._closing(incident, entries, facts, incident.plan.postmortem)
        return [*shown, *_reminders(incident, past, facts)] if urgent else shown

    async def _facts(self, incident: Incident, past: Past, late_since: datetime | None) -> Facts:
        could: Mapping[str, tuple[str, ...]] = {}
        owners: tuple[str, ...] = ()
        try:
            async with asyncio.timeout(ASK_WITHIN):
                await self._meet(incident, past)
                could, owners = await self._could(incident), await self._owners(incident)
        except (Unavailable, TimeoutError) as error:
            if late_since is None:
                raise Unavailable("Slack does not say who people are.") from error
        said = await self._said([ref for ref in past.refs if ref])
        return Facts(
            self._name, could, owners, late_since=late_since, pages=self._url, past=past, said=said, away=self._away(incident, could),
            off=(await self._orders(SWITCH)).off(incident.model), observing=self._observes(incident.model),
        )  # fmt: skip

    async def _meet(self, incident: Incident, past: Past) -> None:
        """Learn the names of everybody the card speaks of, so a restart does not turn them into ids."""
        acted = {vote.person for vote in incident.votes} | {incident.requester, incident.rejected_by, incident.taken_by}
        acted |= {incident.closed.person} if incident.closed else set()
        plan = incident.plan
        acted |= past.people | ({plan.deployer, plan.editor} if plan else set())
        for user in sorted(one for one in acted if one and self._name(one) == one):
            await self._directory.shown(f"member {user}")

    async def _could(self, incident: Incident) -> dict[str, tuple[str, ...]]:
        decision = incident.decision
        if incident.phase is not Phase.WAITING or decision is None:
            return {}
        barred = access.barred(incident.plan)
        out = {*barred, *(vote.person for vote in incident.votes)}
        lent, now, could = await self._orders(LENT), self._clock.now(), {}
        for name in dict.fromkeys(access.open_places(decision.require, incident.votes)):
            role, people = self._roles.get(name), list[str]()
            in_scope = role is not None and access.in_scope(role, incident.model, incident.environment)
            for source in role.sources if role is not None and in_scope else ():
                people += await self._directory.shown(source)
            people += [
                one.to
                for one in lent.lent
                if one.role == name and one.until > now and one.person in people and one.person not in barred
            ]
            could[name] = tuple(dict.fromkeys(one for one in people if one not in out))
        return could

    def _away(self, incident: Incident, could: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """Say which places nobody, or not everybody, can be confirmed for, because a source did not answer."""
        found: list[str] = []
        for name, people in could.items():
            role = self._roles.get(name)
            in_scope = role is not None and access.in_scope(role, incident.model, incident.environment)
            sources = role.sources if role is not None and in_scope else ()
            found += [unconfirmed(why, name, some=bool(people)) for one in sources if (why := self._trouble(one))]
        return tuple(dict.fromkeys(found))

    async def _owners(self, incident: Incident) -> tuple[str, ...]:
        model = self._models.get(incident.model)
        if model is None:
            return ()
        sources = [f"member {model.owner.member}"] if model.owner.member else []
        sources += [f"usergroup {model.owner.usergroup}"] if model.owner.usergroup else []
        return tuple(dict.fromkeys([one for source in sources for one in await self._directory.shown(source)]))

    async def _closing(
        self, incident: Incident, entries: Sequence[e.Recorded], facts: Facts, template: str
    ) -> list[Message]:
        """Close the thread with the postmortem once its end is sealed; a broken template is said there and stops nothing."""
        seal = await self._seal(entries)
        if seal is None:
            return []
        document, trouble = None, ""
        try:
            document = await self._renderer.postmortem(incident, entries, template)
        except _BROKEN as error:
            trouble = f"{type(error).__name__}: {error}"
            if self._log is not None:
                self._log.warning("postmortem.broken", incident=incident.id, template=template, error=trouble)
        text = closing(incident, entries, facts, seal, _postmortem(incident, facts, template, trouble))
        return [SlackMessage("thread.closed", {"text": text}, reply_to="card", attachment=document)]

    async def _seal(self, entries: Sequence[e.Recorded]) -> str | None:
        """Give the digest of the checkpoint over the end, None while there is none, nothing where none is asked for."""
        if self._sealed is None:
            return ""
        return await self._sealed(next(one for one in reversed(entries) if isinstance(one.entry, e.IncidentClosed)))

    def merged(self, messages: Sequence[Message]) -> Message:
        """Give one reply that says what several would have said, the last one's name and attachment kept."""
        text = "\n".join(str(message.payload["text"]) for message in messages)
        last = messages[-1]
        loud = {"reply_broadcast": True} if any(message.payload.get("reply_broadcast") for message in messages) else {}
        return SlackMessage(last.kind, {"text": text, **loud}, reply_to=last.reply_to, attachment=last.attachment)

    # ── showing it ────────────────────────────────────────────────────────────────────────────────────────────────

    async def post(self, message: Message, key: str, thread: Posted | None) -> Posted:
        """Post once; the SDK repeats nothing by itself."""
        self._await_turn(key, urgent=isinstance(message, SlackMessage) and message.urgent)
        if (user := person_of(key)) is not None:
            return await self._remind(message, key, user, thread)
        if message.kind == "card":
            await self._crowd()
        if message.attachment is not None and thread is not None:
            return await self._with_file(message, message.attachment, key, thread)
        return await self._said_in(self._channel, message, key, thread)

    def _await_turn(self, key: str, *, urgent: bool) -> None:
        if wait := self._pace.turn(key, urgent=urgent):
            raise RateLimited("The channel takes one message a second now.", retry_after=wait)

    async def _crowd(self) -> None:
        """Say once that many came at once; each still gets its card."""
        if not self._pace.crowded():
            return
        text = (
            "More than 20 incidents opened within a minute. Each gets its card as fast as Slack takes them, those that wait "
            "for approval first. `/rollback list` names them all."
        )
        try:
            await self._wire.call(
                "chat.postMessage", channel=self._channel, text=text, unfurl_links=False, unfurl_media=False
            )
        except (Indeterminate, Unpublishable, Unavailable, RateLimited) as error:
            if self._log is not None:
                self._log.warning("slack.digest", error=str(error))

    async def _said_in(self, channel: str, message: Message, key: str, thread: Posted | None) -> Posted:
        payload = {"key": key, "incident": key.partition(".")[0]}
        answer = await self._shown(
            "chat.postMessage", message, channel=channel, thread_ts=thread.ts if thread else None,
            metadata={"event_type": "lastgood_card", "event_payload": payload}, unfurl_links=False, unfurl_media=False,
        )  # fmt: skip
        return Posted(answer["channel"], answer["ts"])

    async def _remind(self, message: Message, key: str, user: str, thread: Posted | None) -> Posted:
        link = ""
        if thread is not None:
            try:
                place = {"channel": thread.channel, "message_ts": thread.ts}
                link = (await self._wire.call("chat.getPermalink", **place))["permalink"]
            except (Gone, Unpublishable):
                link = ""  # the card is away; the words say which incident it is
        return await self._said_in(await self._direct(user), with_link(message, link), key, None)

    async def _direct(self, user: str) -> str:
        return str((await self._wire.call("conversations.open", users=user))["channel"]["id"])

    async def _with_file(self, message: Message, document: Document, key: str, thread: Posted) -> Posted:
        """Share the document with the words as its comment: one post. Without a way to upload, the words go alone."""
        content = document.markdown.encode()
        name = file_name(key)
        try:
            place = await self._wire.call("files.getUploadURLExternal", filename=name, length=len(content))
            await self._wire.upload(place["upload_url"], content)
            await self._wire.call(
                "files.completeUploadExternal", files=[{"id": place["file_id"], "title": document.name}],
                channel_id=self._channel, thread_ts=thread.ts, initial_comment=message.payload["text"],
            )  # fmt: skip
        except Unpublishable as error:
            if self._log is not None:
                self._log.warning("slack.file", error=str(error))
            return await self._said_in(self._channel, message, key, thread)
        return Posted(self._channel, "")

    async def update(self, message: Message, key: str, where: Posted) -> None:
        """Send the newest form."""
        del key
        await self._shown("chat.update", message, channel=where.channel, ts=where.ts)

    async def _shown(self, method: str, message: Message, **place: Any) -> Any:
        """Send a message; when its blocks are refused, send its words: an alert is never lost because of its form."""
        payload = dict(message.payload)
        if method == "chat.postMessage" and isinstance(message, SlackMessage) and message.first:
            payload["blocks"] = message.first()
        try:
            return await self._wire.call(method, **place, **payload)
        except BlocksRefused as error:
            if self._log is not None:
                self._log.warning("slack.blocks_refused", kind=message.kind, error=str(error))
            text = f"{payload['text']}\n{_elsewhere(message)}"
            return await self._wire.call(method, **place, text=text, blocks=[] if method == "chat.update" else None)

    # ── finding it again ──────────────────────────────────────────────────────────────────────────────────────────

    async def find(self, key: str, since: datetime, thread: Posted | None) -> list[Posted]:
        """Look through the channel, the thread or a person's direct messages for our metadata key or our file."""
        user = person_of(key)
        channel = await self._direct(user) if user else self._channel
        method = "conversations.replies" if thread and not user else "conversations.history"
        more: dict[str, Any] = {"ts": thread.ts} if thread and not user else {}
        found: set[str] = set()
        cursor: str | None = None
        for _ in range(PAGES):
            answer = await self._wire.call(
                method, channel=channel, oldest=f"{since.timestamp():.6f}", include_all_metadata=True, limit=200,
                cursor=cursor, **more,
            )  # fmt: skip
            found |= {row["ts"] for row in answer["messages"] if _is(row, key)}
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        return [Posted(channel, ts) for ts in sorted(found, key=float)]

    async def delete(self, where: Posted) -> None:
        """Take a duplicate away."""
        await self._wire.call("chat.delete", channel=where.channel, ts=where.ts)


def steady(incident: Incident) -> Incident:
    """Leave out what ticks: looks at the traffic, and samples but for every third, so that a card changes when it matters."""
    samples = incident.samples[
        : max(0, len(incident.samples) - 1) // EACH * EACH
    ]  # the one that decides makes a verdict
    if incident.judged_at is not None:
        samples = tuple(one for one in incident.samples if one[0] <= incident.judged_at)
    return replace(incident, looks=(), samples=samples)


def looks(payload: Mapping[str, Any]) -> str:
    """Give what a person sees of a card: ids and values that count versions, and that it came late, are left out."""

    def seen(node: Any) -> Any:
        if isinstance(node, dict):
            return {name: seen(value) for name, value in node.items() if name not in ("block_id", "value")}
        return [seen(one) for one in node] if isinstance(node, list) else node

    blocks = [one for one in payload["blocks"] if not str(one.get("block_id", "")).endswith(".late")]
    return digest(seen({**payload, "blocks": blocks}))


def file_name(key: str) -> str:
    """Name the postmortem's file so that it can be found again in its thread."""
    return f"postmortem-{key.partition('.')[0][-5:]}.md"


def _reminders(incident: Incident, past: Past, facts: Facts) -> list[Message]:
    """Give one message a person and plan, to those who were reminded and have not voted."""
    people = [user for user in past.reminded if all(vote.person != user for vote in incident.votes)]
    return [
        SlackMessage(f"{PREFIX}{past.plan[:8]}.{user}", reminder(incident, user, facts), reply_to="card", urgent=True)
        for user in people
    ]


def _elsewhere(message: Message) -> str:
    """Say how to go on without buttons."""
    short = str(message.payload["blocks"][0]["block_id"]).partition(".")[0]
    return f"The card could not be drawn. `/rollback status {short}` and `lastgood incident show {short}` show it."


def _is(row: Mapping[str, Any], key: str) -> bool:
    metadata = row.get("metadata") or {}
    if metadata.get("event_type") == "lastgood_card" and (metadata.get("event_payload") or {}).get("key") == key:
        return True
    closes = key.endswith(".thread.closed")
    return closes and any(one.get("name") == file_name(key) for one in row.get("files") or [])
