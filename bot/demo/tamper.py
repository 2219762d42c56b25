"""Breaking a copy, to see it named. "On a copy", because the real table refuses."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.store import chain
from bot.store.verify import Report, verify

THIRD = 3


def verified(database: Path) -> dict[str, Any]:
    """Read a copy of the database entry by entry; gives `ok`, a `sentence`, and no broken entry."""
    with tempfile.TemporaryDirectory() as folder:
        report = verify(_copied(database, Path(folder)))
    if not report.ok:
        return {"ok": False, "broken": None, "sentence": _found(report)}
    counted = f"{report.entries} of {report.entries} entries in {report.streams} streams match their digests"
    return {"ok": True, "broken": None, "sentence": f"The chain holds. {counted}."}


def tampered(database: Path, stream: str | None) -> dict[str, Any]:
    """Date one entry of a copy back by a minute, entry 3 of `stream` where there is one, and say what verification finds.

    Gives `ok` (false when the forgery was found), the `broken` entry's version, None before there is an incident, and a `sentence`.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = _copied(database, Path(folder))
        version = _forge(copy, stream) if stream else None
        report = verify(copy)
    if version is None:
        return {"ok": report.ok, "broken": None, "sentence": "There is no incident to tamper with yet."}
    changed = f"On a copy, entry {version} was dated back by one minute."
    return {
        "ok": report.ok,
        "broken": version,
        "sentence": f"{changed} {_found(report)} The real table refuses a change.",
    }


def _copied(database: Path, folder: Path) -> Path:
    copy = folder / "copy.db"
    with (
        closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return copy


def _forge(copy: Path, stream: str) -> int | None:
    with closing(sqlite3.connect(copy)) as forged:
        for name in _names(forged.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall()):
            forged.execute(f'DROP TRIGGER "{name}"')
        found = forged.execute(
            "SELECT version, at FROM timeline WHERE stream=? AND version<=? ORDER BY version DESC LIMIT 1",
            (stream, THIRD),
        ).fetchone()
        if found is None:
            return None
        version, at = int(found[0]), chain.stamp(chain.unstamp(found[1]) - timedelta(minutes=1))
        forged.execute("UPDATE timeline SET at=? WHERE stream=? AND version=?", (at, stream, version))
        forged.commit()
        return version


def _names(rows: Sequence[tuple[str]]) -> list[str]:
    return [name for (name,) in rows]


def _found(report: Report) -> str:
    if report.ok:
        return "Verification found nothing."
    first = report.problems[0]
    return f"Verification names it: the chain {first.detail.rstrip('.')}."
