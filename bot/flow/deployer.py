"""Who put a version into service: what a sender told of the change, matched to an account of ours.

A sender's word takes a vote away and never gives one, so it needs no proof beyond its own.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain import words
from bot.domain.alert import Alert
from bot.domain.entries import sender_of
from bot.domain.ledger import Ledger
from bot.domain.roles import MEMBER
from bot.domain.traffic import Finding
from bot.errors import AdapterError
from bot.flow.targets import within
from bot.flow.world import World

WITHIN = timedelta(seconds=5)
Known = tuple[str | None, tuple[Finding, ...]]


async def deployed_by(ledger: Ledger, version: str, world: World) -> Known:
    """Give the account of whoever deployed a version, None when nobody says or nobody can tell, and then why."""
    change = next(
        (one for _, one in sorted(ledger.changes, key=_when, reverse=True) if one.version == version and one.by), None
    )
    if change is None or change.by is None:
        return None, ()
    people = getattr(getattr(world.sources.get(change.source), "config", None), "people", {})
    said = people.get(change.by, change.by)
    if MEMBER.fullmatch(said):
        return said, ()
    if "@" not in said:
        return None, (_unknown(change, f"Name them under sources.{change.source}.people."),)
    try:
        person = await within(WITHIN, world.directory.by_email(said), world.clock)
    except (AdapterError, TimeoutError):
        return None, (_unknown(change, "Slack does not say who has that address."),)
    if person is None:
        return None, (_unknown(change, "Nobody in Slack has that address."),)
    return person.id, ()


def _when(change: tuple[datetime, Alert]) -> datetime:
    return change[1].since


def _unknown(change: Alert, mend: str) -> Finding:
    message = f"{sender_of(change)} says that {words.plain(change.by or '', 60)} deployed {change.version}, and nobody of ours is known by that."
    return Finding(level="warning", message=message, mend=mend)
