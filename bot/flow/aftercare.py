"""What people do once a rollback is proven: record the fix, clear what it left behind, overrule its grade."""

from __future__ import annotations

from typing import get_args

from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident
from bot.domain.press import Press
from bot.flow.act import Act
from bot.flow.world import World


async def _no_leftover(act: Press, incident: Incident, _: World) -> str:
    name = act.asked.get("leftover", "").strip()
    if name in incident.leftovers:
        return ""
    return f"Nothing called {words.plain(name, 64) or 'that'} is left behind. Open: {words.listed(sorted(incident.leftovers))}."


async def _no_grade(act: Press, _: Incident, __: World) -> str:
    grades = get_args(e.Grade)[:3]
    return "" if act.asked.get("grade") in grades else f"Say how it was: {words.listed(grades, 'or')}."


def _graded(a: Press, i: Incident, _: World, ref: str) -> e.Entry:
    before = i.grade
    held = {"grade": a.asked["grade"], "low": before.low if before else None, "high": before.high if before else None}
    reason = f"It was {before.grade} before." if before else "It had no grade before."
    return e.RollbackGraded.model_validate(
        {"incident": i.stream, "reason": reason, "person": a.person, "text_ref": ref, **held}
    )


AFTER: dict[str, Act] = {
    "fix": Act(
        lambda a, _, __, ref: e.FixRecorded(person=a.person, text_ref=ref, version=a.asked.get("version", "").strip()),
        lambda _, i, __: f"The fix of incident {i.short} is recorded.", reason=True, card=False,
    ),
    "clear": Act(
        lambda a, i, _, ref: e.LeftoverCleared(
            incident=i.stream, name=a.asked["leftover"].strip(), person=a.person, text_ref=ref
        ),
        lambda _, __, x: f"{x.name} is cleared.", reason=True, hinder=_no_leftover, card=False, model=True,
    ),
    "grade": Act(
        _graded, lambda _, i, x: f"The rollback of incident {i.short} is graded {x.grade}.", reason=True, hinder=_no_grade,
        card=False, model=True,
    ),
}  # fmt: skip
