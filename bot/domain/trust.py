"""The trust ladder: a rule of one model climbs from notify over approve to auto, a rung at a time, on evidence."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from bot.domain.entries import Check, Rung, TrustMoved
from bot.domain.ledger import PastRollback
from bot.domain.roles import Trust

RUNGS: tuple[Rung, ...] = ("notify", "approve", "auto")


def rung(trust: Trust | None, moved: TrustMoved | None) -> Rung:
    """Give where a rule stands: where it was last moved to, else where the policy lets it begin, else at the bottom."""
    if moved is not None:
        return moved.rung
    return trust.start if trust is not None else RUNGS[0]


def evidence(rollbacks: Iterable[PastRollback], rule: str, since: datetime | None) -> tuple[int, int]:
    """Count the rollbacks a rule led to that helped and that did not, begun after `since`; None counts all.

    One that nobody can judge is no evidence either way.
    """
    verdicts = [one.verdict for one in rollbacks if rule in one.rules and (since is None or one.at > since)]
    return verdicts.count("yes"), verdicts.count("no")


def may_climb(trust: Trust, now: Rung, to: Rung, helped: int, harmful: int) -> Check:
    """Say whether a person with the role may move a rule, and what is missing if not.

    Down needs no evidence. Up goes one rung at a time. To stay is a move too where a rollback did not help: the
    evidence begins anew, which is the only way on for a rule at the bottom.
    """
    step = RUNGS.index(to) - RUNGS.index(now)
    if step < 0:
        return _check(ok=True, detail=f"{now} to {to}, down needs no evidence")
    if step == 0:
        return _check(
            ok=harmful > 0, detail="stays, and its evidence begins anew" if harmful else f"stands on {to} already"
        )
    if step > 1:
        return _check(ok=False, detail=f"goes up one rung at a time, and after {now} comes {RUNGS[1]}")
    if harmful:
        return _check(ok=False, detail=f"{_rollbacks(harmful)} since it last moved did not help")
    needed = trust.approve_after if to == "approve" else trust.auto_after
    return _check(
        ok=helped >= needed, detail=f"needs {_rollbacks(needed)} that helped since it last moved, has {helped}"
    )


def step_down(now: Rung) -> Rung | None:
    """Give the rung below, None on the lowest."""
    return RUNGS[RUNGS.index(now) - 1] if now != RUNGS[0] else None


def _rollbacks(count: int) -> str:
    return f"{count} rollback{'s' * (count != 1)}"


def _check(*, ok: bool, detail: str) -> Check:
    return Check(ok=ok, name="trust ladder", detail=detail)
