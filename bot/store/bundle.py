"""One file for an auditor: the incident's timeline, the checkpoints that cover it, its evidence, and how to hold it all to that."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from bot.domain.entries import CheckpointSigned, EvidenceCaptured, EvidenceErased, IncidentOpened
from bot.domain.incident import model_stream
from bot.domain.value import canonical
from bot.errors import TimelineError
from bot.store import chain, checkpoints
from bot.store.finding import Finding
from bot.store.links import Links
from bot.store.timeline import Store

WHEN = (1980, 1, 1, 0, 0, 0)  # the same bundle is the same bytes
ABOUT = """\
This is the evidence of incident {incident}, as Lastgood recorded it, up to the last checkpoint it had signed by then.

timeline.jsonl     every entry of the incident and of its model: one JSON object a line, with the digest of the one before
checkpoints.jsonl  signed statements about where those streams ended, Ed25519 over canonical JSON
evidence/          files kept when the rollback was claimed; their SHA-256 stands in entries of type evidence.captured
public.key         the key the checkpoints were signed with, hexadecimal; compare it with the one you know

`lastgood verify FILE` holds all of it together, without a database or a network: every byte is signed, follows from what is
signed, or is written the one way there is to write it. It cannot see what came after: whoever cuts a bundle back to an
earlier checkpoint shows the incident as it stood then. Evidence that was erased when its time was over is named as erased.
"""
LIMIT = 256 * 1024 * 1024  # bytes, unpacked
FIELDS = {
    "stream": str, "version": int, "epoch": int, "at": str, "type": str, "schema": int, "body": str, "prev": str, "digest": str,
}  # fmt: skip  # of a row; its place in one database proves nothing in another
# Of a long history of checkpoints only those that name one of two streams are read.
_NAMING = "SELECT body FROM timeline WHERE stream=? AND type=? AND (replace(body,?,'')<>body OR replace(body,?,'')<>body) ORDER BY version"
PARTS = ("README.txt", "timeline.jsonl", "checkpoints.jsonl", "public.key")


@dataclass(slots=True)
class Verified:
    """What a bundle says when it is read as a stranger would: `missing` files were erased in time, as the timeline says."""

    incident: str = ""
    entries: int = 0
    checkpoints: int = 0
    evidence: int = 0
    missing: list[str] = field(default_factory=list)
    key: str = ""
    problems: list[Finding] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give the shape `lastgood verify --json` prints."""
        return {
            "ok": not self.problems, "incident": self.incident, "entries": self.entries, "checkpoints": self.checkpoints,
            "evidence": self.evidence, "missing": self.missing, "key": self.key,
            "problems": [{"stream": one.stream, "version": one.version, "kind": one.kind, "detail": one.detail} for one in self.problems],
        }  # fmt: skip

    def add(self, stream: str, version: int, kind: str, detail: str) -> None:
        """Note what does not hold."""
        self.problems.append(Finding(stream, version, kind, detail))


# ── making one ────────────────────────────────────────────────────────────────────────────────────────────────────


async def made(store: Store, stream: str, model: str, key: str) -> bytes:
    """Make the bundle of an incident and its model, as far as checkpoints signed with `key` (public, hexadecimal) reach.

    Raises TimelineError when none covers both yet: what is not signed would prove nothing.
    """
    keys = [f"{canonical(name).decode()}:" for name in (stream, model)]
    named = await store.query(_NAMING, (checkpoints.STREAM, CheckpointSigned.type, *keys))
    read = [orjson.loads(body) for (body,) in named]
    signed = [one for one in read if one["key"] == key and {stream, model} & one["heads"].keys()]
    rows: list[chain.Row] = []
    for name in (stream, model):
        covered = max((one["heads"][name][0] for one in signed if name in one["heads"]), default=0)
        if covered == 0:
            raise TimelineError(
                f"No checkpoint covers {name} yet. `serve` signs one every five minutes and when an incident closes: ask again then."
            )
        rows += [row for row in await store.rows(name) if row.version <= covered]
    wanted = [pair for row in rows if row.stream == stream for pair in _captured(row)]
    kept = await store.evidence(stream, [digest for _, digest in wanted])
    evidence = {_evident(name, digest): kept[digest] for name, digest in wanted if digest in kept}
    return _packed(_files(stream.rpartition("/")[2], rows, signed, evidence, key))


def _captured(row: chain.Row) -> list[tuple[str, str]]:
    """Give name and digest of the files an entry says were kept."""
    return _named(row) if row.type == EvidenceCaptured.type else []


def _named(row: chain.Row) -> list[tuple[str, str]]:
    files = _body(row).get("files")
    return [(str(name), str(digest)) for name, digest in files.items()] if isinstance(files, dict) else []


def _evident(name: str, digest: str) -> str:
    return f"evidence/{digest}/{name}"


def _body(row: chain.Row) -> dict[str, Any]:
    try:
        found = orjson.loads(row.body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _files(
    incident: str, rows: Sequence[chain.Row], signed: Sequence[Mapping[str, Any]], evidence: Mapping[str, bytes], key: str
) -> dict[str, bytes]:  # fmt: skip
    """Give what a bundle holds, the one way it is written."""
    members = (*checkpoints.SIGNED, "signature")
    lines = {canonical({name: one[name] for name in members}): int(one["count"]) for one in signed}
    return {
        "README.txt": ABOUT.format(incident=incident).encode(),
        "timeline.jsonl": b"".join(
            orjson.dumps({name: getattr(row, name) for name in FIELDS}) + b"\n" for row in sorted(rows, key=_place)
        ),
        "checkpoints.jsonl": b"".join(line + b"\n" for line in sorted(lines, key=lambda line: (lines[line], line))),
        "public.key": f"{key}\n".encode(),
        **evidence,
    }


def _place(row: chain.Row) -> tuple[str, int]:
    return row.stream, row.version


def _packed(files: Mapping[str, bytes]) -> bytes:
    """Pack without compressing, since compressed bytes differ from one machine to another."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
        for name, body in sorted(files.items()):
            packed.writestr(zipfile.ZipInfo(name, WHEN), body)
    return out.getvalue()


# ── holding one to itself ─────────────────────────────────────────────────────────────────────────────────────────


def verified(body: bytes, public_key: str | None = None) -> Verified:
    """Hold a bundle to itself, and to the key you know when one is given. Raises TimelineError for a file that is no bundle."""
    files, said = _unpacked(body), Verified()
    said.key = files["public.key"].decode("ascii", "replace").strip()
    if public_key is not None and public_key != said.key:
        said.add("bundle", 0, "key", f"it carries the key {said.key[:16]}…, not the one you know")
    rows = list(_rows(files["timeline.jsonl"]))
    said.entries = len(rows)
    _streams(rows, said)
    links = Links(lambda *_: "")
    for number, row in enumerate(sorted(rows, key=_place), 1):
        said.problems += links.follow(row._replace(seq=number))
    said.problems += links.end()
    signed = _anchored(rows, files["checkpoints.jsonl"], public_key or said.key, said)
    evidence = _evidence(rows, files, said)
    if not said.problems:
        _written(body, _files(said.incident, rows, signed, evidence, said.key), files, said)
    return said


def _unpacked(body: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as packed:
            if sum(one.file_size for one in packed.infolist()) > LIMIT:
                raise TimelineError(f"This bundle unpacks to more than {LIMIT // 1024 // 1024} MiB.")
            names = packed.namelist()
            if len(set(names)) < len(names):
                raise TimelineError("This bundle holds two files of one name.")
            files = {name: packed.read(name) for name in names}
    except (
        zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError,
    ) as error:  # fmt: skip
        raise TimelineError(f"This is no bundle of Lastgood, or it was damaged: {error}.") from error
    if absent := set(PARTS) - files.keys():
        raise TimelineError(f"This bundle has no {', '.join(sorted(absent))}.")
    return files


def _rows(body: bytes) -> Iterator[chain.Row]:
    for number, line in enumerate(body.splitlines(), 1):
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise TimelineError(f"Line {number} of timeline.jsonl is no entry: {error}.") from error
        if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != FIELDS:
            raise TimelineError(f"Line {number} of timeline.jsonl is no entry: it must have {', '.join(FIELDS)}.")
        yield chain.Row(seq=0, **found)


def _streams(rows: Sequence[chain.Row], said: Verified) -> None:
    """Hold the timeline to being one incident and its model, from the beginning of both."""
    there = {row.stream for row in rows}
    opened = [row for row in rows if row.type == IncidentOpened.type and row.version == 1]
    if len(opened) != 1:
        said.add("bundle", 0, "missing", "the entry that opened the incident is not here")
        return
    said.incident = opened[0].stream.rpartition("/")[2]
    about = _body(opened[0])
    model = model_stream(str(about.get("environment")), str(about.get("model")))
    if model not in there:
        said.add(model, 1, "missing", "the stream of the incident's model is not here")
    for name in sorted(there - {opened[0].stream, model}):
        said.add(name, 0, "inserted", "it is neither the incident nor its model")


def _anchored(rows: Sequence[chain.Row], lines: bytes, key: str, said: Verified) -> list[dict[str, Any]]:
    """Hold every head a checkpoint signed to what is here, and ask that each stream ends where one was signed."""
    ends = {(row.stream, row.version): row.digest for row in rows}
    last = {row.stream: row.version for row in sorted(rows, key=_place)}
    covered, signed = dict.fromkeys(last, 0), list[dict[str, Any]]()
    for number, line in enumerate(lines.splitlines(), 1):
        one = _checkpoint(line, key)
        if one is None:
            said.add(
                checkpoints.STREAM, 0, "checkpoint", f"line {number} of checkpoints.jsonl is not signed with the key"
            )
            continue
        signed.append(one)
        for name, (version, digest) in one["heads"].items():
            if name not in last:
                continue
            if ends.get((name, version)) != digest:
                said.add(
                    name,
                    version,
                    "missing",
                    f"a checkpoint signed entry {version} as {digest[:8]}, and that is not here",
                )
            covered[name] = max(covered[name], version)
    for name, version in last.items():
        if covered[name] < version:
            said.add(name, version, "unanchored", f"no checkpoint covers entries {covered[name] + 1}–{version}: anybody could have written them")  # fmt: skip
    said.checkpoints = len(signed)
    return signed


def _checkpoint(line: bytes, key: str) -> dict[str, Any] | None:
    """Read a checkpoint that was signed with this key; None for anything else, and for one written in another way."""
    try:
        one = orjson.loads(line)
        heads = {str(name): (int(version), str(digest)) for name, (version, digest) in one["heads"].items()}
        plain = str(one["signature"]) == str(one["signature"]).lower() and type(one["count"]) is int
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None
    if not plain or one.get("key") != key or not checkpoints.holds(one, key):
        return None
    return {**one, "heads": heads}


def _evidence(rows: Sequence[chain.Row], files: Mapping[str, bytes], said: Verified) -> dict[str, bytes]:
    """Hold each file to the digest the timeline has of it; what is missing must have been erased, as the timeline says."""
    found: dict[str, bytes] = {}
    erased = {digest for row in rows if row.type == EvidenceErased.type for _, digest in _named(row)}
    named = {_evident(name, digest): (row, name, digest) for row in rows for name, digest in _captured(row)}
    for place, (row, name, digest) in named.items():
        if place not in files:
            if digest in erased:
                said.missing.append(name)
            else:
                said.add(row.stream, row.version, "evidence", f"{name} was taken out: no entry says that it was erased")
        elif hashlib.sha256(files[place]).hexdigest() != digest:
            detail = f"{name} is not the file that was kept when the rollback was claimed"
            said.add(row.stream, row.version, "evidence", detail)
        else:
            found[place] = files[place]
    said.evidence = len(found)
    for name in sorted(files.keys() - named.keys() - set(PARTS)):
        said.add("bundle", 0, "evidence", f"{name} is not named in the timeline")
    return found


def _written(body: bytes, wanted: Mapping[str, bytes], files: Mapping[str, bytes], said: Verified) -> None:
    """Write it anew from what was read: what is signed nowhere must be as Lastgood writes it."""
    for name in sorted(wanted):
        if wanted[name] != files[name]:
            said.add("bundle", 0, "text", f"{name} is not written as Lastgood writes it")
    if not said.problems and _packed(wanted) != body:
        said.add("bundle", 0, "text", "the file around it is not written as Lastgood writes it")
