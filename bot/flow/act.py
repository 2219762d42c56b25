"""What an act of a person is made of, whatever it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from bot.domain import entries as e
from bot.domain.incident import Incident
from bot.domain.press import Press
from bot.flow.world import World

Make = Callable[[Press, Incident, World, str], e.Entry]
Hinder = Callable[[Press, Incident, World], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Act:
    """One act: the entry it makes, what the person reads, whether it needs a reason, what may hinder it, and whether it ends the incident.

    `card` says that it is about the plan the person saw, so a card that showed another one does not count.
    """

    make: Make
    done: Callable[[Press, Incident, Any], str]
    reason: bool = False
    hinder: Hinder | None = None
    ends: bool = False
    model: bool = False  # the model's own stream holds it too
    card: bool = True
