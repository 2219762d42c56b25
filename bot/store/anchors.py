"""Holding a timeline to its signed checkpoints, those it keeps and those that were exported."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from bot.store.checkpoints import SIGNED, STREAM, holds
from bot.store.finding import Finding

_NEEDED = {*SIGNED, "signature"}
_HEADS = "SELECT stream, count(*) FROM timeline WHERE stream <> ? GROUP BY stream"
_OWN = "SELECT version, at, body, digest FROM timeline WHERE stream=? ORDER BY version"


class _Checkpoint(NamedTuple):
    version: int
    name: str  # for example `checkpoint 4f2c90aa, 03:20:00`
    digest: str
    body: dict[str, Any]


class Anchors:
    """The checkpoints of one file, and what they say about it. `public_key` is hexadecimal; without it each names its own."""

    def __init__(
        self, connection: sqlite3.Connection, exported: Sequence[dict[str, Any]], public_key: str | None
    ) -> None:
        """Read nothing yet."""
        self._connection, self._public_key = connection, public_key
        self._exported = exported
        self._covered: dict[str, tuple[int, str]] | None = None

    def findings(self) -> Iterator[Finding]:
        """Give everything the checkpoints say that the file does not, each thing once."""
        seen: set[tuple[str, int, str]] = set()
        for finding in (*self._kept_findings(), *self._exported_findings()):
            key = (finding.stream, finding.version, finding.kind)
            if key not in seen:
                seen.add(key)
                yield finding

    def unanchored(self) -> int:
        """Count the entries after the last good checkpoint: of the exported ones when there are some, else of its own."""
        covered = self._anchored()
        heads = self._connection.execute(_HEADS, (STREAM,))
        return sum(max(0, version - covered.get(stream, 0)) for stream, version in heads)

    def _anchored(self) -> dict[str, int]:
        """Give up to which entry each stream is covered.

        A checkpoint that was exported names the one before it, so what is kept counts up to the last exported one.
        """
        outside = [
            one for one in self._outside() if self._good(one) and self._digest(STREAM, one.version) == one.digest
        ]
        last = max((one.version for one in outside), default=0) if self._exported else None
        kept = [one for one in self._kept() if self._good(one) and (last is None or one.version <= last)]
        covered: dict[str, int] = {}
        for one in (*kept, *outside):
            for stream, (version, _) in one.body["heads"].items():
                covered[stream] = max(covered.get(stream, 0), version)
        return covered

    def covering(self, stream: str, version: int) -> str:
        """Say which signed checkpoint was the last to cover this entry; nothing when none did."""
        if self._covered is None:
            self._covered = {
                name: (covered, one.name)
                for one in (*self._outside(), *self._kept())
                if self._good(one)
                for name, (covered, _) in one.body["heads"].items()
            }
        covered, name = self._covered.get(stream, (0, ""))
        return f" The last signed checkpoint that covers it: {name}." if covered >= version and name else ""

    def _kept(self) -> Iterator[_Checkpoint]:
        for version, at, body, digest in self._connection.execute(_OWN, (STREAM,)):
            name = f"checkpoint {str(digest)[:8]}, {str(at)[11:19]}"
            yield _Checkpoint(version, name, digest, _parsed(body))

    def _outside(self) -> Iterator[_Checkpoint]:
        for line in self._exported:
            version, digest = line.get("version", 0), str(line.get("checkpoint", ""))
            name = f"exported checkpoint {digest[:8]}, {str(line.get('at', ''))[11:19]}".rstrip(", ")
            yield _Checkpoint(version if isinstance(version, int) else 0, name, digest, _shaped(line))

    def _good(self, one: _Checkpoint) -> bool:
        return bool(one.body) and holds(one.body, self._public_key or str(one.body["key"]))

    def _kept_findings(self) -> Iterator[Finding]:
        previous = ""
        for one in self._kept():
            if not self._good(one):
                yield Finding(STREAM, one.version, "checkpoint", f"the signature of {one.name} does not hold")
            else:
                if one.body["previous"] != previous:
                    detail = f"{one.name} does not follow the checkpoint before it, so one was put in or taken out"
                    yield Finding(STREAM, one.version, "checkpoint", detail)
                yield from self._heads(one)
            previous = one.digest

    def _exported_findings(self) -> Iterator[Finding]:
        for one in self._outside():
            if not self._good(one):
                yield Finding(STREAM, one.version, "checkpoint", f"the signature of {one.name} does not hold")
                continue
            if (here := self._digest(STREAM, one.version)) != one.digest:
                how = "is not in this timeline" if here is None else f"was replaced by {here[:8]}"
                yield Finding(STREAM, one.version, "missing" if here is None else "checkpoint", f"{one.name} {how}")
            yield from self._heads(one)

    def _heads(self, one: _Checkpoint) -> Iterator[Finding]:
        for stream, (version, digest) in one.body["heads"].items():
            here = self._digest(stream, version)
            if here is None:
                yield self._missing(one, stream, version)
            elif here != digest:
                detail = f"{one.name} signed entry {version} as {digest[:8]}, it is {here[:8]} now, so the stream was written anew"
                yield Finding(stream, version, "changed", detail)

    def _digest(self, stream: str, version: int) -> str | None:
        row = self._connection.execute(
            "SELECT digest FROM timeline WHERE stream=? AND version=?", (stream, version)
        ).fetchone()
        return str(row[0]) if row else None

    def _missing(self, one: _Checkpoint, stream: str, version: int) -> Finding:
        sql = (
            "SELECT coalesce(max(version),0) FROM timeline WHERE stream=? AND typeof(version)='integer' AND version < ?"
        )
        (last,) = self._connection.execute(sql, (stream, version)).fetchone()
        gone = f"entry {version} is" if last + 1 == version else f"entries {last + 1}–{version} are"
        return Finding(stream, last + 1, "missing", f"{one.name} covers entry {version}, and {gone} not there any more")


def _parsed(body: Any) -> dict[str, Any]:
    try:
        return _shaped(orjson.loads(body))
    except (orjson.JSONDecodeError, TypeError):
        return {}


def _shaped(body: Any) -> dict[str, Any]:
    """Give a checkpoint's content when it has the shape of one, else nothing."""
    if not isinstance(body, dict) or not body.keys() >= _NEEDED or not isinstance(body["heads"], dict):
        return {}
    pairs = all(
        isinstance(head, list) and [type(part) for part in head] == [int, str] for head in body["heads"].values()
    )
    return body if pairs and isinstance(body["count"], int) else {}
