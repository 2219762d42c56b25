"""What a closed rollback still is: mitigated or fixed, what it left behind, whether it helped, and what it changed."""

from __future__ import annotations

from typing import Any

from bot.domain import words
from bot.domain.incident import Incident

_WELL = ("recovered", "unproven", "marked_recovered")


def mitigated(incident: Incident) -> str:
    """Say that going back mends nothing until somebody records what does; an empty text where that is no question."""
    if incident.closed is None or incident.closed.outcome not in _WELL:
        return ""
    if incident.fix is None:
        return "Mitigated: the fix is not recorded yet."
    where = f" in {words.plain(incident.fix.version, 60)}" if incident.fix.version else ""
    return f"{words.person(incident.fix.person)} recorded the fix{where}."


def standing(incident: Incident) -> list[str]:
    """Give what is left to know and to do once a rollback is over, one sentence each."""
    lines = [mitigated(incident), incident.grade.sentence() if incident.grade else ""]
    lines += [
        f"Left behind at {words.plain(name, 60)}: {words.plain(one.what)} Owner: {_owner(one.owner)}."
        for name, one in incident.leftovers.items()
    ]
    return [line for line in lines if line]


def _owner(owner: str) -> str:
    return words.person(owner) if owner.startswith(("U", "W")) else words.plain(owner, 60) or "nobody"


def after(incident: Incident) -> dict[str, Any]:
    """Give the same as plain data: what `incident show --json` adds once there is any of it."""
    grade, fix = incident.grade, incident.fix
    return {
        "mitigated": bool(mitigated(incident)) and fix is None,
        "fix": {"person": fix.person, "version": fix.version or None} if fix else None,
        "grade": {"grade": grade.grade, "low": grade.low, "high": grade.high, "reason": grade.reason, "person": grade.person}
        if grade
        else None,
        "leftovers": [
            {"name": name, "what": one.what, "by_hand": one.by_hand, "owner": one.owner}
            for name, one in incident.leftovers.items()
        ],
        "deltas": [
            {"name": one.name, "when": one.when, "value": one.value, "reason": one.reason, "text": one.text}
            for one in incident.deltas
        ],
    }  # fmt: skip
