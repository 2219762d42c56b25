"""The hash chain of a stream: each digest covers the row's own texts and the digest before it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import NamedTuple

import orjson
from pydantic import ValidationError

from bot.domain.entries import Entry, Recorded, decode
from bot.domain.value import canonical
from bot.errors import Tampered, TimelineError


class Row(NamedTuple):
    """A row of the timeline as it is stored. `at` is ISO 8601 in UTC with microseconds, `body` canonical JSON."""

    seq: int
    stream: str
    version: int
    epoch: int
    at: str
    type: str
    schema: int
    body: str
    prev: str
    digest: str


COLUMNS = ",".join(Row._fields)


def digest_of(stream: str, version: int, epoch: int, at: str, type_: str, schema: int, body: str, prev: str) -> str:
    """Give the SHA-256 over the canonical JSON of a row. Raises TypeError when a value cannot be JSON."""
    # The keys stand in the order canonical JSON sorts them into, so sorting again is not paid for on every row.
    content = {
        "at": at, "body": body, "epoch": epoch, "prev": prev, "schema": schema, "stream": stream, "type": type_,
        "version": version,
    }  # fmt: skip
    return hashlib.sha256(orjson.dumps(content)).hexdigest()


def stamp(at: datetime) -> str:
    """Write a time the one way it is stored: UTC, microseconds, sortable as text."""
    return f"{at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def unstamp(text: str) -> datetime:
    """Read a stored time."""
    return datetime.fromisoformat(text)


def body_of(entry: Entry) -> str:
    """Give an entry's canonical JSON."""
    return canonical(entry.model_dump(mode="json")).decode()


def recorded(row: Row) -> Recorded:
    """Read a stored row. Raises TimelineError for a type this code does not know, Tampered for a body that cannot be read."""
    try:
        entry = decode(row.type, row.schema, orjson.loads(row.body))
        at = unstamp(row.at)
    except KeyError as error:
        message = (
            f"Entry {row.version} of {row.stream} is of type {row.type}, which this version of Lastgood does not know."
        )
        raise TimelineError(message) from error
    except (ValidationError, ValueError, TypeError, AttributeError) as error:
        message = (
            f"Entry {row.version} of {row.stream} ({row.type}) cannot be read: it was changed after it was written."
        )
        raise Tampered(message) from error
    return Recorded(row.seq, row.stream, row.version, row.epoch, at, entry, row.prev, row.digest)
