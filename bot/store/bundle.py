"""One file for an auditor: the incident's timeline, the checkpoints that cover it, its evidence, and how to hold it all to that."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from bot.domain.entries import CheckpointSigned, EvidenceCaptured, IncidentOpened, Recorded
from bot.domain.incident import model_stream
from bot.errors import TimelineError
from bot.store import chain, checkpoints
from bot.store.finding import Finding
from bot.store.links import Links
from bot.store.timeline import Store

WHEN = (1980, 1, 1, 0, 0, 0)  # the same bundle is the same bytes
ABOUT = """\
This is the evidence of incident {incident}, as Lastgood recorded it.

timeline.jsonl     every entry of the incident and of its model: one JSON object a line, with the digest of the one before
checkpoints.jsonl  signed statements about where those streams ended, Ed25519 over canonical JSON
evidence/          files kept when the rollback was claimed; their SHA-256 stands in entries of type evidence.captured
public.key         the key the checkpoints were signed with, hexadecimal; compare it with the one you know

`lastgood verify FILE` holds all of it together, without a database or a network. It cannot see what was never put in:
entries after the last checkpoint are counted as not anchored, and erased evidence is named as missing.
"""
LIMIT = 256 * 1024 * 1024  # bytes, unpacked


@dataclass(slots=True)
class Verified:
    """What a bundle says when it is read as a stranger would."""

    incident: str = ""
    entries: int = 0
    unanchored: int = 0
    evidence: int = 0
    missing: list[str] = field(default_factory=list)
    key: str = ""
    problems: list[Finding] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give the shape `lastgood verify --json` prints."""
        return {
            "ok": not self.problems, "incident": self.incident, "entries": self.entries, "unanchored": self.unanchored,
            "evidence": self.evidence, "missing": self.missing, "key": self.key,
            "problems": [{"stream": one.stream, "version": one.version, "kind": one.kind, "detail": one.detail} for one in self.problems],
        }  # fmt: skip


async def made(store: Store, stream: str, model: str, key: str) -> bytes:
    """Make the bundle of an incident and its model; `key` is the public key, hexadecimal."""
    rows = [row for name in (model, stream) for row in await store.rows(name)]
    captured = [one.entry for one in await store.read(stream) if isinstance(one.entry, EvidenceCaptured)]
    wanted = {f"{name}": digest for entry in captured for name, digest in entry.files.items()}
    kept = await store.evidence(stream, list(wanted.values()))
    covering = [one for one in await store.read(checkpoints.STREAM) if _about(one, {stream, model})]
    files = {
        "README.txt": ABOUT.format(incident=stream.rpartition("/")[2]).encode(),
        "timeline.jsonl": b"".join(orjson.dumps(row._asdict()) + b"\n" for row in rows),
        "checkpoints.jsonl": b"".join(checkpoints.exported(one).encode() + b"\n" for one in covering),
        "public.key": f"{key}\n".encode(),
        **{f"evidence/{digest}/{name}": kept[digest] for name, digest in wanted.items() if digest in kept},
    }
    return _packed(files)


def _about(one: Recorded, streams: set[str]) -> bool:
    return isinstance(one.entry, CheckpointSigned) and bool(streams & one.entry.heads.keys())


def _packed(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, body in sorted(files.items()):
            packed.writestr(zipfile.ZipInfo(name, WHEN), body, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def verified(body: bytes, public_key: str | None = None) -> Verified:
    """Hold a bundle to itself, and to the key you know when one is given. Raises TimelineError for a file that is no bundle."""
    files, said = _unpacked(body), Verified()
    said.key = files["public.key"].decode("ascii", "replace").strip()
    if public_key is not None and public_key != said.key:
        said.problems.append(Finding("bundle", 0, "key", f"it carries the key {said.key[:16]}…, not the one you know"))
    rows = list(_rows(files["timeline.jsonl"]))
    said.entries = len(rows)
    said.incident = next((row.stream.rpartition("/")[2] for row in rows if row.stream.startswith("incident/")), "")
    _chains(rows, said)
    _anchored(rows, files["checkpoints.jsonl"], public_key or said.key, said)
    _evidence(rows, files, said)
    _readme(files, said)
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
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        OverflowError,
    ) as error:
        raise TimelineError(f"This is no bundle of Lastgood, or it was damaged: {error}.") from error
    except zipfile.zlib.error as error:  # type: ignore[attr-defined]  # what unpacking raises
        raise TimelineError(f"This is no bundle of Lastgood, or it was damaged: {error}.") from error
    absent = {"README.txt", "timeline.jsonl", "checkpoints.jsonl", "public.key"} - files.keys()
    if absent:
        raise TimelineError(f"This bundle has no {', '.join(sorted(absent))}.")
    return files


def _rows(body: bytes) -> Iterator[chain.Row]:
    for number, line in enumerate(body.splitlines(), 1):
        try:
            found = orjson.loads(line)
            yield chain.Row(**found)
        except (orjson.JSONDecodeError, TypeError) as error:
            raise TimelineError(f"Line {number} of timeline.jsonl is no entry: {error}.") from error


def _chains(rows: Sequence[chain.Row], said: Verified) -> None:
    there = {row.stream for row in rows}
    for row in rows:
        if row.type == IncidentOpened.type and (model := _model_of(row)) not in there:
            said.problems.append(Finding(model, 1, "missing", "the stream of the incident's model is not here"))
    links = Links(lambda *_: "")
    for row in sorted(rows, key=lambda one: (str(one.stream), one.version if isinstance(one.version, int) else 0)):
        said.problems += links.follow(row)
    said.problems += links.end()


def _model_of(row: chain.Row) -> str:
    body = orjson.loads(row.body)
    return model_stream(str(body.get("environment")), str(body.get("model")))


def _anchored(rows: Sequence[chain.Row], lines: bytes, key: str, said: Verified) -> None:
    """Hold every head a checkpoint signed to what is here."""
    ends = {(row.stream, row.version): row.digest for row in rows}
    last: dict[str, int] = {}
    for row in rows:
        last[row.stream] = max(last.get(row.stream, 0), row.version)
    covered: dict[str, int] = {}
    for line in lines.splitlines():
        try:
            one = orjson.loads(line)
            heads = {name: (int(version), str(digest)) for name, (version, digest) in one["heads"].items()}
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            said.problems.append(
                Finding(checkpoints.STREAM, 0, "checkpoint", "a line of checkpoints.jsonl is no checkpoint")
            )
            continue
        if not checkpoints.holds(one, key):
            detail = f"the signature of checkpoint {str(one.get('checkpoint'))[:8]} does not hold"
            said.problems.append(Finding(checkpoints.STREAM, 0, "checkpoint", detail))
            continue
        for name, (version, digest) in heads.items():
            if name not in last:
                continue
            if ends.get((name, version)) != digest:
                detail = f"a checkpoint signed entry {version} as {digest[:8]}, and that is not here"
                said.problems.append(Finding(name, version, "missing", detail))
            covered[name] = max(covered.get(name, 0), version)
    said.unanchored = sum(max(0, version - covered.get(name, 0)) for name, version in last.items())


def _evidence(rows: Sequence[chain.Row], files: Mapping[str, bytes], said: Verified) -> None:
    """Hold each file to the digest the timeline has of it; what is not named there does not belong."""
    named: set[str] = set()
    for row in rows:
        if row.type != EvidenceCaptured.type:
            continue
        for name, digest in orjson.loads(row.body).get("files", {}).items():
            place = f"evidence/{digest}/{name}"
            named.add(place)
            if place not in files:
                said.missing.append(name)
            elif hashlib.sha256(files[place]).hexdigest() != digest:
                detail = f"{name} is not the file that was kept when the rollback was claimed"
                said.problems.append(Finding(row.stream, row.version, "evidence", detail))
            else:
                said.evidence += 1
    known = {"README.txt", "timeline.jsonl", "checkpoints.jsonl", "public.key"}
    for name in sorted(files.keys() - named - known):
        said.problems.append(Finding("bundle", 0, "evidence", f"{name} is not named in the timeline"))


def _readme(files: Mapping[str, bytes], said: Verified) -> None:
    if files["README.txt"] != ABOUT.format(incident=said.incident).encode():
        said.problems.append(Finding("bundle", 0, "text", "README.txt is not the text Lastgood writes"))
