"""The look-alike's world: people, groups, channels, what was said, and who is told when something changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from bot.demo import blockkit
from bot.ports import Clock

TEAM = "T0LASTGOOD"
BOT = "U0LASTGOOD"
BOT_ID = "B0LASTGOOD"
APP = "A0LASTGOOD"
CHANNEL = "C0INCIDENTS"
CAST = {
    "U0ANA": "Ana Ruiz",
    "U0PRIYA": "Priya Shah",
    "U0MIKA": "Mika Lind",
    "U0TOM": "Tom Becker",
    "U0INES": "Ines Duarte",
    "U0GIL": "Gil Weber",
}
GROUPS = {"S0ONCALL": ["U0ANA", "U0TOM"], "S0FRAUD": ["U0PRIYA", "U0MIKA"]}
TRIGGER_SECONDS = 3.0
Message = dict[str, Any]


class Refused(Exception):
    """The look-alike says no; `error` is Slack's word for why, `more` stands beside it in the answer."""

    def __init__(self, error: str, **more: Any) -> None:
        """Refuse with `error`."""
        super().__init__(error)
        self.error, self.more = error, more


@dataclass
class Channel:
    """A channel or a direct message, with everything said in it, oldest first."""

    id: str
    name: str
    members: set[str]
    is_im: bool = False
    is_private: bool = False
    is_archived: bool = False
    is_ext_shared: bool = False
    messages: list[Message] = field(default_factory=list)
    posted_at: float = float("-inf")  # monotonic seconds of the app's last post


@dataclass
class Triggers:
    """Trigger ids: each opens one view, within three seconds of what a person did."""

    clock: Clock
    made: dict[str, tuple[str, float]] = field(default_factory=dict)  # id -> person, monotonic seconds
    used: set[str] = field(default_factory=set)

    def make(self, user: str) -> str:
        """Give a trigger for what a person just did."""
        trigger = f"{len(self.made) + 1}.{user}"
        self.made[trigger] = (user, self.clock.monotonic())
        return trigger

    def use(self, trigger: str) -> str:
        """Give the person behind a trigger. Raises Refused for an unknown, used or old one."""
        if trigger not in self.made:
            raise Refused("invalid_trigger_id")
        if trigger in self.used:
            raise Refused("exchanged_trigger_id")
        user, at = self.made[trigger]
        if self.clock.monotonic() - at > TRIGGER_SECONDS:
            raise Refused("expired_trigger_id")
        self.used.add(trigger)
        return user


@dataclass
class Workspace:
    """One team. Tests and the demo change it as people and administrators would."""

    clock: Clock
    team_id: str = TEAM
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=lambda: {name: list(who) for name, who in GROUPS.items()})
    channels: dict[str, Channel] = field(default_factory=dict)
    whispers: list[Message] = field(default_factory=list)  # ephemeral messages; `user` is the one who sees it
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    homes: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: list[dict[str, Any]] = field(default_factory=list)  # with `content` once it was uploaded
    warnings: list[str] = field(default_factory=list)  # what Slack takes and a reader would suffer from
    tickets: set[str] = field(default_factory=set)  # for sockets not opened yet
    address: str = ""  # where the look-alike listens, host and port
    paced: bool = False  # whether more than one message a second in a channel is answered 429
    version: int = 0  # counts every change

    def __post_init__(self) -> None:
        """Let the cast in."""
        self.triggers = Triggers(self.clock)
        self._last_ts = 0
        self._rendered: dict[tuple[str, str, str], tuple[str, dict[str, Any]]] = {}
        self._watchers: set[asyncio.Event] = set()
        self.channels[CHANNEL] = Channel(CHANNEL, "incidents", {BOT})
        for user, name in CAST.items():
            self.add_user(user, name, is_restricted=user == "U0GIL")

    # ── people ────────────────────────────────────────────────────────────────────────────────────────────────────

    def add_user(self, user: str, name: str, **flags: Any) -> None:
        """Let one more account exist, a member of every channel; flags as `users.info` names them."""
        first = name.split(maxsplit=1)[0]
        email = f"{'.'.join(name.lower().split())}@lastgood.example"
        self.users[user] = {
            "id": user, "name": first.lower(), "real_name": name, "team_id": self.team_id, "deleted": False, "is_bot": False,
            "is_admin": False, "is_owner": False, "is_restricted": False, "is_ultra_restricted": False, "is_stranger": False,
            "is_app_user": False, "tz": "Europe/Berlin", "tz_label": "Central European Time", "tz_offset": 3600, "updated": 0,
            "profile": {"real_name": name, "display_name": first, "email": email, "team": self.team_id},
            **flags,
        }  # fmt: skip
        for channel in self.channels.values():
            channel.members.add(user)

    def add_stranger(self, user: str, name: str, team_id: str) -> None:
        """Let somebody of another organisation in, as Slack Connect does."""
        self.add_user(user, name, team_id=team_id, is_stranger=True)
        self.users[user]["profile"] = {"real_name": name, "display_name": name, "team": team_id}

    def add_channel(self, channel: str, name: str, *, members: set[str] | None = None, **flags: Any) -> Channel:
        """Open a channel; the app and everybody are members unless `members` says who."""
        self.channels[channel] = Channel(channel, name, {BOT, *self.users} if members is None else members, **flags)
        return self.channels[channel]

    def direct(self, user: str) -> Channel:
        """Give the direct message channel of the app and a person."""
        channel = f"D{user[1:]}"
        return self.channels.get(channel) or self.add_channel(channel, "", members={BOT, user}, is_im=True)

    # ── what people and administrators do ─────────────────────────────────────────────────────────────────────────

    def say(self, user: str, text: str, channel: str = CHANNEL, thread_ts: str | None = None) -> Message:
        """Let a person write in a channel or a thread."""
        more = {"thread_ts": thread_ts} if thread_ts else {}
        return self.keep(channel, {"user": user, "text": text, **more})

    def delete(self, ts: str, channel: str = CHANNEL) -> None:
        """Let somebody delete a message."""
        self.channels[channel].messages.remove(self.message(channel, ts))
        self.changed()

    def archive(self, channel: str = CHANNEL, *, archived: bool = True) -> None:
        """Let somebody archive a channel, or bring it back."""
        self.channels[channel].is_archived = archived
        self.changed()

    def remove_bot(self, channel: str = CHANNEL) -> None:
        """Let somebody remove the app from a channel."""
        self.channels[channel].members.discard(BOT)

    # ── what was said ─────────────────────────────────────────────────────────────────────────────────────────────

    def ts(self) -> str:
        """Give the next timestamp, which is also an id: seconds and microseconds, never twice the same."""
        self._last_ts = (
            max(self._last_ts, int(self.clock.now().timestamp() * 1_000_000)) + 1
        )  # after what was said before
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def keep(self, channel: str, message: Message) -> Message:
        """Keep a message and give it as it is kept."""
        kept = {"type": "message", "channel": channel, "ts": self.ts(), "team": self.team_id, **message}
        self.channels[channel].messages.append(kept)
        self.render(kept, kept.get("blocks"))
        return kept

    def whisper(self, channel: str, user: str, content: Message) -> Message:
        """Keep a message that only `user` sees."""
        kept = {"type": "message", "channel": channel, "user": user, "ts": self.ts(), "is_ephemeral": True, **content}
        self.whispers.append(kept)
        self.render(kept, kept.get("blocks"))
        return kept

    def render(self, message: Message, blocks: Any) -> None:
        """Put blocks on a message; what could be pressed there once is remembered, for an old screen still shows it."""
        message.pop("blocks", None)
        if blocks:
            message["blocks"] = blockkit.kept(blocks, message["ts"])
        for action, found in blockkit.pressable(message.get("blocks")).items():
            self._rendered[message["channel"], message["ts"], action] = found
        self.changed()

    def button(self, channel: str, ts: str, action: str) -> tuple[str, dict[str, Any]]:
        """Give block id and element as last shown on a message; a nameless button when it never was."""
        return self._rendered.get((channel, ts, action), ("", {"type": "button"}))

    def message(self, channel: str, ts: str) -> Message:
        """Give a message. Raises Refused(message_not_found)."""
        for one in self.channels[channel].messages if channel in self.channels else []:
            if one["ts"] == ts:
                return one
        raise Refused("message_not_found")

    @property
    def messages(self) -> list[Message]:
        """Everything in the incidents channel, threads too, oldest first."""
        return self.channels[CHANNEL].messages

    def cards(self, channel: str = CHANNEL) -> list[Message]:
        """Give the app's top-level messages, oldest first."""
        return [one for one in self.channels[channel].messages if one["user"] == BOT and not one.get("thread_ts")]

    def thread(self, ts: str, channel: str = CHANNEL) -> list[Message]:
        """Give the replies under a message, oldest first."""
        return [one for one in self.channels[channel].messages if one.get("thread_ts") == ts]

    def ephemerals(self, user: str) -> list[Message]:
        """Give what only this person was told, oldest first."""
        return [one for one in self.whispers if one["user"] == user]

    def channel_view(self, channel: str, user: str) -> list[Message]:
        """Give what a person sees: top-level messages with their `thread`, and what only this person was told."""
        said = [
            one for one in self.channels[channel].messages if not one.get("thread_ts") or one.get("reply_broadcast")
        ]
        told = [one for one in self.ephemerals(user) if one["channel"] == channel]
        rows = [{**one, "thread": self.thread(one["ts"], channel)} for one in said]
        return sorted([*rows, *({**one, "thread": []} for one in told)], key=lambda one: str(one["ts"]))

    # ── who is told ───────────────────────────────────────────────────────────────────────────────────────────────

    def changed(self) -> None:
        """Count a change and wake whoever watches."""
        self.version += 1
        for watcher in self._watchers:
            watcher.set()

    async def subscribe(self) -> AsyncIterator[int]:
        """Give the version now and after every change; changes that come at once are given as one."""
        seen = asyncio.Event()
        self._watchers.add(seen)
        try:
            while True:
                seen.clear()
                yield self.version
                await seen.wait()
        finally:
            self._watchers.discard(seen)
