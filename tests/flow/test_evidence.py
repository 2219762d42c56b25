"""Evidence in the corridor: kept once a claim, masked, never in the way, and what is missing is said."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel

from bot.domain import entries as e
from bot.domain.evidence import Found, Wanted
from bot.domain.incident import Phase
from bot.flow.evidence import LANE, capture
from bot.report.affected import affected
from tests.flow.corridor import Corridor, NoKeys

USE = {"source": "samples", "cohort": "region", "mask": ["request.name"], "keep": "30d"}


class Samples:
    """A source that has what a test put there."""

    kind: ClassVar[str] = "samples"
    Config: ClassVar[type[BaseModel]] = NoKeys
    Query: ClassVar[type[BaseModel]] = NoKeys

    def __init__(self, found: Found) -> None:
        self.found, self.asked, self.hangs = found, list[Wanted](), False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *why: object) -> None:
        pass

    async def find(self, query: Any, wanted: Wanted) -> Found:
        del query
        self.asked.append(wanted)
        if self.hangs:
            await asyncio.Event().wait()
        return self.found


class Kept:
    """A table of evidence in memory."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.until: datetime | None = None

    async def keep(self, stream: str, files: Mapping[str, bytes], until: datetime) -> None:
        del stream
        self.files |= files
        self.until = until

    async def evidence(self, stream: str, digests: Sequence[str]) -> dict[str, bytes]:
        del stream
        return {digest: self.files[digest] for digest in digests if digest in self.files}


def corridor(found: Found) -> tuple[Corridor, Samples, Kept]:
    here = Corridor(place={"samples": USE, "cohorts": ["eu", "us"]})
    source, kept = Samples(found), Kept()
    sources: Any = {"samples": source}
    here.world = replace(here.world, samples=sources, kept=kept)
    return here, source, kept


ROWS = Found(
    rows=(
        {"request_id": "r1", "region": "eu", "request": {"name": "Ana", "mail": "ana@example.com", "amount": 12.5}},
        {"request_id": "r2", "region": "eu", "request": {"name": "Bo", "amount": 3}},
    )
)


async def test_at_the_claim_samples_are_kept_without_names_and_an_unsampled_cohort_is_said() -> None:
    here, source, kept = corridor(ROWS)
    stream = await here.rolled()
    assert [(one.lane, one.stream) for one in here.memory.work if one.lane == LANE] == [(LANE, stream)]
    await capture(stream, here.world)
    entry = here.last(stream, e.EvidenceCaptured)
    assert entry.coverage == ("2 samples.", "eu: 2.", "us: none.")
    assert set(entry.files) == {"samples.jsonl", "histograms.json"}
    assert not any(name in body for body in kept.files.values() for name in (b"Ana", b"ana@", b'"Bo"'))
    assert kept.until == entry.until
    (asked,) = source.asked
    assert asked.version == "42"
    await capture(stream, here.world)
    assert here.types(stream).count("evidence.captured") == 1


async def test_a_source_that_hangs_or_fails_is_said_and_nothing_is_lost() -> None:
    here, source, _ = corridor(Found(reason="the bucket is gone"))
    stream = await here.rolled()
    await capture(stream, here.world)
    assert here.last(stream, e.EvidenceCaptured).coverage == ("No samples: the bucket is gone.",)
    again, source, _ = corridor(ROWS)
    source.hangs = True
    other = await again.rolled()
    turn = asyncio.ensure_future(capture(other, again.world))
    while not turn.done():
        await again.clock.run(5)
    assert "did not answer within" in again.last(other, e.EvidenceCaptured).coverage[0]


async def test_a_site_that_keeps_none_is_not_asked() -> None:
    here = Corridor()
    stream = await here.rolled()
    assert [one for one in here.memory.work if one.lane == LANE] == []
    assert "evidence.captured" not in here.types(stream)


async def test_what_was_affected_is_told_with_requests_and_what_to_repair() -> None:
    here, _, kept = corridor(ROWS)
    stream = await here.rolled()
    await capture(stream, here.world)
    incident = await here.incident(stream)
    told = affected(incident, here.memory.streams[stream], kept.files)
    assert (told["version"], told["requests"]) == ("42", ["r1", "r2"])
    assert told["first"] <= told["last"]
    assert told["answers"] == 500
    assert len(told["repair"]) == 4


async def test_what_nobody_counted_and_what_has_not_ended_is_said() -> None:
    here = Corridor()
    here.meter.value = None
    stream = await here.fire()
    await here.run(stream, until=Phase.WAITING)
    told = affected(await here.incident(stream), here.memory.streams[stream], {})
    assert (told["last"], told["requests"]) == (None, [])
    assert "nothing proves that it has ended" in told["lines"][0]
