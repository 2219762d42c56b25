"""What a card needs beside the fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from bot.domain import words
from bot.slack.past import Past
from bot.slack.text import escape


@dataclass(frozen=True, slots=True)
class Facts:
    """Names without a ping, who could fill an open place, who owns the model, what people typed, the way to the pages."""

    name: Callable[[str], str]
    could: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # role -> people
    owners: tuple[str, ...] = ()
    mention: bool = False  # only the first post wakes people
    late_since: datetime | None = None
    pages: str = ""  # the address incident pages are served at; empty: a card carries no link there
    past: Past = field(default_factory=Past)
    said: Mapping[str, str] = field(default_factory=dict)  # reference -> what a person typed
    off: str = ""  # the sentence that says autopilot is off, by whom
    observing: bool = False  # nothing is moved for this model, whatever policy says
    away: tuple[str, ...] = ()  # look-ups that failed, a sentence each

    def quoted(self, person: str, ref: str | None) -> str:
        """Give what a person typed, by its reference, with their name in front; empty when it was erased."""
        why = words.plain(self.said.get(ref or "", ""))
        return f'{escape(self.name(person))} says: "{escape(why)}"' if why else ""

    def waking(self) -> Facts:
        """Give the facts of a first post."""
        return replace(self, mention=True)
