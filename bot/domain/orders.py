"""What people ordered for the whole house: autopilot off or on, roles lent, terminals signed in. Each is a fold of its stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType

from bot.domain import entries as e
from bot.domain import words

SWITCH, LENT, LOGINS = "system/switch", "system/roles", "system/logins"


@dataclass(frozen=True, slots=True)
class Switched:
    """The last word about acting alone, for one model or for all."""

    on: bool
    person: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Orders:
    """Everything that stands now. `epoch` and `version` are those of the one stream it was folded from."""

    stream: str
    version: int = 0
    epoch: int = 0
    switched: Mapping[str, Switched] = field(default_factory=lambda: MappingProxyType({}))  # by model, "" for all
    lent: tuple[e.RoleDelegated, ...] = ()
    asked: Mapping[str, e.LoginAsked] = field(default_factory=lambda: MappingProxyType({}))  # by the code's digest
    logins: Mapping[str, e.LoginGranted] = field(default_factory=lambda: MappingProxyType({}))  # by public key

    def off(self, model: str) -> str:
        """Say that autopilot is off for a model, by whom and since when; an empty text when it is on.

        Off for all and off for one are two words: each must be taken back by itself.
        """
        for name, where in (("", "for all models"), (model, f"for {model}")):
            word = self.switched.get(name)
            if word is not None and not word.on:
                return (
                    f"Autopilot is off {where}: {words.person(word.person)} switched it off at {words.moment(word.at)}."
                )
        return ""

    def lenders(self, role: str, user: str, now: datetime) -> tuple[e.RoleDelegated, ...]:
        """Give who lent this role to this person, as long as it lasts."""
        return tuple(one for one in self.lent if one.role == role and one.to == user and one.until > now)

    def login(self, key: str, now: datetime) -> e.LoginGranted | None:
        """Give what a terminal's key may act as now."""
        found = self.logins.get(key)
        return found if found is not None and found.until > now else None

    def vouched(self, user: str, now: datetime) -> datetime | None:
        """Give until when a sign-in vouches for a person, None when none does."""
        return max((one.until for one in self.logins.values() if one.person == user and one.until > now), default=None)


def fold(stream: str, recorded: Iterable[e.Recorded], orders: Orders | None = None) -> Orders:
    """Fold one of the system's streams, continuing from `orders` when given."""
    orders = orders or Orders(stream)
    for one in recorded:
        orders = replace(_next(orders, one.entry, one.at), version=one.version, epoch=one.epoch)
    return orders


def _next(orders: Orders, entry: e.Entry, at: datetime) -> Orders:
    match entry:
        case e.AutopilotSwitched():
            said = Switched(entry.on, entry.person, at)
            return replace(orders, switched=MappingProxyType({**orders.switched, entry.model: said}))
        case e.RoleDelegated():
            kept = (one for one in orders.lent if one.until > at and not _same(one, entry))
            return replace(orders, lent=(*kept, entry))
        case e.RoleReturned():
            return replace(orders, lent=tuple(one for one in orders.lent if not _same(one, entry)))
        case e.LoginAsked():
            kept_codes = {code: one for code, one in orders.asked.items() if one.until > at}
            return replace(orders, asked=MappingProxyType({**kept_codes, entry.code: entry}))
        case e.LoginGranted():
            kept_codes = {code: one for code, one in orders.asked.items() if one.key != entry.key}
            kept_keys = {key: one for key, one in orders.logins.items() if one.until > at}
            return replace(
                orders,
                asked=MappingProxyType(kept_codes),
                logins=MappingProxyType({**kept_keys, entry.key: entry}),
            )
        case e.LoginEnded():
            return replace(
                orders, logins=MappingProxyType({key: one for key, one in orders.logins.items() if key != entry.key})
            )
        case _:
            return orders


def _same(one: e.RoleDelegated, other: e.RoleDelegated | e.RoleReturned) -> bool:
    return (one.role, one.person, one.to) == (other.role, other.person, other.to)
