"""Seeded defects in who may and when: each must be found by the machine that watches every claim, or it watches nothing."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("bot", "adapters", "runbooks", "tests", "pyproject.toml")
MACHINE = "tests/flow/test_authority.py"
AT_ONCE = max(1, os.cpu_count() or 1)


@dataclass(frozen=True)
class Mutant:
    """One defect: in these files, this text in place of that. `found` is what the machine must say about it, as a pattern."""

    changes: tuple[tuple[str, str, str], ...]
    found: str


def one(file: str, before: str, after: str, found: str) -> Mutant:
    return Mutant(((file, before, after),), found)


MUTANTS = {
    "self_approval": one(
        "bot/domain/access.py", "_Own(plan.requester, ", "_Own(None, ", "RI3: the requester",
    ),
    "own_edit_approved": one("bot/domain/access.py", "_Own(plan.editor, ", "_Own(None, ", "RI3: the editor"),
    "cached_roles": Mutant(
        (
            ("bot/domain/access.py", "    bad = tuple(vote.person for vote in incident.votes if not _still_good(incident, vote, fresh))\n", "    bad: tuple[str, ...] = ()\n"),
            ("bot/domain/access.py", "len(filled(places, votes, fresh.standings)), sum(", "len(_by_vote(places, votes)), sum("),
        ),
        "do not fill",
    ),
    "stale_plan": one(
        "bot/flow/rollback.py", "    if reason := changed(incident, seen):\n", "    if reason := '':\n", "RI2: the world moved",
    ),
    "expired_vote": one(
        "bot/flow/approve.py", "decision.expires_at and now >= decision.expires_at", "decision.expires_at and now < now",
        "RI2: cleared after its time",
    ),
    "stale_card": one(
        "bot/domain/access.py", "same = plan is not None and shown in (plan.short, plan.id)", "same = plan is not None",
        "a vote from a card that showed another plan",
    ),
    "double_vote": Mutant(
        (
            ("bot/domain/access.py", "    asked += _votes_once(incident, q)\n    role = None\n", "    role = None\n"),
            ("bot/domain/access.py", "        role = _place(incident, q)\n", "        role = next((r for r in q.standing.roles if q.standing.holds(r)), None)\n"),
            ("bot/domain/incident.py", "others = (one for one in i.votes if one.person != entry.person)", "others = i.votes"),
        ),
        "RT10|one person counted twice",
    ),
    "guard_error_is_truthy": one(
        "bot/domain/guard.py", "        if value is True or value is False:\n            return _TOLD[value]\n",
        "        if value is not None:\n            return _TOLD[bool(value)]\n", "acts alone",
    ),
    "errored_rule_falls_through": one(
        "bot/domain/policy.py", 'ok=False if rule.mode == "auto" else None)', "ok=False)", "Rule one",
    ),
    "quorum_by_count": Mutant(
        (
            ("bot/domain/quorum.py", "        found = _augmented(slots(places), holds)\n", "        found = dict(zip(slots(places), holds, strict=False))\n"),
            ("bot/domain/access.py", "any(standing.holds(role) for role in standing.roles)\n\n\n# ── other acts", "True\n\n\n# ── other acts"),
        ),
        "do not fill",
    ),
    "rejection_ignored": one(
        "bot/domain/incident.py", "replace(i, phase=Phase.STUCK, rejected_by=entry.person,", "replace(i, rejected_by=entry.person,",
        "RI4: rejected",
    ),
    "policy_digest_ignored": one(
        "bot/flow/targets.py", "    if plan.policy_digest != ", "    if False and plan.policy_digest != ", "RI2: other files",
    ),
    "blackout_blocks": one(
        "bot/domain/bounds.py", "    return _asks(\"blackout\", f'\"{name}\" {until}', f'blackout \"{name}\" {until}')\n",
        "    return Bound(line(False, \"blackout\", until), \"hold\", f'blackout \"{name}\" {until}')\n", "never blocks a rollback",
    ),
    "blackout_ignored": one(
        "bot/domain/bounds.py", '    if stretch is None:\n        return _fine("blackout"', '    if stretch is None or now:\n        return _fine("blackout"',
        "acts alone",
    ),
    "cooldown_off_by_one": one(
        "bot/domain/bounds.py", "if since >= length.total_seconds():", "if since > length.total_seconds():", "acts alone",
    ),
    "one_more_a_day": one("bot/domain/bounds.py", "    if done < most:\n", "    if done <= most:\n", "acts alone"),
    "autopilot_ignored": one(
        "bot/domain/bounds.py", "    if case.orders.autopilot_off:\n", "    if case.orders.autopilot_off and False:\n", "acts alone",
    ),
    "break_glass_without_reason": one(
        "bot/domain/acts.py", "        least = rule.min_reason_chars\n", "        least = 0\n", "broke the glass without what it asks for",
    ),
}  # fmt: skip


def seeded(tree: Path, mutant: Mutant) -> None:
    """Copy what a test needs and put the defect in; the text it replaces must be there exactly once."""
    for name in ROOMS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "golden*"))
        else:
            shutil.copy2(ROOT / name, tree / name)
    for file, before, after in mutant.changes:
        text = (tree / file).read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{file} has {text.count(before)} times: {before}"
        (tree / file).write_text(text.replace(before, after), encoding="utf-8")


async def watched(tree: Path, turn: asyncio.Semaphore) -> tuple[int, str]:
    """Run the machine in a tree of its own; give how it ended and what it said."""
    command = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout=600", MACHINE)
    environ = {**os.environ, "LASTGOOD_MUTANT": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    async with turn:
        running = await asyncio.create_subprocess_exec(
            *command, cwd=tree, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await running.communicate()
    return running.returncode or 0, said.decode()


@pytest.mark.timeout(1500)
async def test_every_seeded_defect_is_found(tmp_path: Path, tell: Callable[[str], None]) -> None:
    assert len(MUTANTS) >= 12
    for name, mutant in MUTANTS.items():
        seeded(tmp_path / name, mutant)
    turn = asyncio.Semaphore(AT_ONCE)
    ended = await asyncio.gather(*(watched(tmp_path / name, turn) for name in MUTANTS))
    alive, elsewhere = [], []
    for (name, mutant), (code, said) in zip(MUTANTS.items(), ended, strict=True):
        told = re.findall(r"^E +(?:AssertionError: )?(.*)$", said, re.MULTILINE)
        if code != 1:
            alive.append(f"{name} (exit {code})")
        elif not re.search(mutant.found, " ".join(told)):
            elsewhere.append(f"{name}: {told[:2]}")
    assert (alive, elsewhere) == ([], [])
    tell(f"{len(MUTANTS)} of {len(MUTANTS)} seeded defects found")
