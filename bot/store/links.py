"""Following the chain of each stream, row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from bot.store.chain import Row, digest_of
from bot.store.finding import Finding

MOST = 1000  # breaks of one stream told apart

Covering = Callable[[str, int], str]


@dataclass(slots=True)
class _Break:
    """A row that does not hold; told when its stream ends, since the sentence says what still holds after it."""

    version: int
    kind: str
    what: str
    evidence: str
    verdict: str
    own: str  # the digest its content gives
    stored: str
    pointing: str = ""

    @property
    def reason(self) -> str:
        """Say what is seen, and what follows from it."""
        return f"{self.evidence}{self.pointing}, so {self.verdict}"


class Links:
    """Takes rows ordered by stream and version, and gives findings as streams end. Memory does not grow with the file."""

    def __init__(self, covering: Covering) -> None:
        """`covering` says which checkpoint covers an entry, as a sentence or nothing."""
        self.streams = 0
        self._covering = covering
        self._stream: str | None = None
        self._seq = self._version = 0
        self._digest = ""
        self._breaks: list[_Break] = []

    def follow(self, row: tuple[Any, ...]) -> Iterator[Finding] | tuple[()]:
        """Take the next row; give the findings of the stream before it when it begins another."""
        seq, stream, version, epoch, at, type_, schema, body, prev, digest = row
        ended: Iterator[Finding] | tuple[()] = ()
        if stream != self._stream:
            ended = self.end()
            self._begin(stream)
        try:
            # The same bytes as chain.digest_of, without its call: this line runs once for every row there is.
            content = orjson.dumps({
                "at": at, "body": body, "epoch": epoch, "prev": prev, "schema": schema, "stream": stream, "type": type_,
                "version": version,
            })  # fmt: skip
            own = hashlib.sha256(content).hexdigest()
        except TypeError:
            own = ""
        if own != digest or prev != self._digest or version != self._version + 1 or seq <= self._seq:
            self._note(Row(*row), own)
        elif self._breaks:
            self._point(version, prev)
        self._seq, self._version, self._digest = seq, version, digest
        return ended

    def end(self) -> Iterator[Finding]:
        """Give the findings of the last stream."""
        stream, breaks, last = self._stream, self._breaks, self._version
        self._breaks = []
        if not breaks:
            return iter(())
        return self._told(str(stream), breaks, last)

    def _begin(self, stream: str) -> None:
        self.streams += 1
        self._stream, self._seq, self._version, self._digest = stream, 0, 0, ""

    def _note(self, row: Row, own: str) -> None:
        self._point(row.version, row.prev)
        before = self._breaks[-1] if self._breaks else None
        found = _judged(row, own, self._seq, self._version, self._digest)
        if found.kind == "link" and before and before.version == self._version and row.prev == before.own:
            before.verdict = "only its digest was replaced"
        elif len(self._breaks) < MOST:
            self._breaks.append(found)

    def _point(self, version: Any, prev: str) -> None:
        """Say where the entry after a changed one points: to what was written, or to what stands there."""
        before = self._breaks[-1] if self._breaks else None
        if (
            before
            and before.kind == "changed"
            and before.version == self._version
            and prev in (before.own, before.stored)
        ):
            before.pointing = f"; entry {version} still points to {str(prev)[:8]}"

    def _told(self, stream: str, breaks: list[_Break], last: int) -> Iterator[Finding]:
        edges = [0, *(one.version for one in breaks), _whole(last) + 1]
        for index, one in enumerate(breaks):
            holds = _holding(edges[index], one.version, edges[index + 2])
            detail = (
                f"breaks at entry {one.version} ({one.what}): {one.reason}.{holds}{self._covering(stream, one.version)}"
            )
            yield Finding(stream, one.version, one.kind, detail)


def _judged(row: Row, own: str, seq: int, version: int, digest: str) -> _Break:
    """Say what is wrong with a row that follows place `seq`, entry `version` with `digest`."""
    what = f"{row.type}, {str(row.at)[11:19]}"
    kind, evidence, verdict = _reason(row, own, seq, version, digest)
    return _Break(_whole(row.version), kind, what, evidence, verdict, own, row.digest)


def _reason(row: Row, own: str, seq: int, version: int, digest: str) -> tuple[str, str, str]:
    if own != row.digest:
        return _changed(row, own)
    if row.version > version + 1:
        return "gap", f"it follows entry {version}", f"{_span(version + 1, row.version - 1)} taken out"
    if row.version != version + 1:
        return "inserted", f"a second entry {row.version} stands here", "one of them was put in"
    if row.prev != digest:
        pointed = f"it points to {str(row.prev)[:8]}, entry {version} is {str(digest)[:8]}"
        return "link", pointed, "one of the two was put in or replaced"
    return "moved", f"it stands on place {row.seq}, entry {version} on place {seq}", "one of them was put elsewhere"


def _changed(row: Row, own: str) -> tuple[str, str, str]:
    changed = f"entry {row.version} was changed after it was written"
    if not own:
        return "changed", "its content cannot be read", changed
    for moved, kind, how in ((-1, "inserted", "put in"), (1, "gap", "taken out")):
        there = _whole(row.version) + moved
        if digest_of(row.stream, there, row.epoch, row.at, row.type, row.schema, row.body, row.prev) == row.digest:
            return kind, f"it was written as entry {there}", f"an entry before it was {how}"
    return "changed", f"its content gives digest {own[:8]}, the chain says {str(row.digest)[:8]}", changed


def _whole(version: Any) -> int:
    return version if isinstance(version, int) else 0


def _span(first: int, last: int) -> str:
    return f"entry {first} was" if first == last else f"entries {first}–{last} were"


def _holding(before: int, here: int, after: int) -> str:
    """Say which entries between this break and its neighbours hold."""
    spans = [
        f"{first}–{last} hold{own}" if first < last else f"{first} holds{own}"
        for first, last, own in ((before + 1, here - 1, ""), (here + 1, after - 1, " on their own"))
        if first <= last
    ]
    return f" Entries {'; '.join(spans)}." if spans else ""
