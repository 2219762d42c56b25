"""Evidence in the corridor: kept once a claim, masked, never in the way, and what is missing is said."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Self

import orjson
import pytest
from pydantic import BaseModel

from bot.domain import entries as e
from bot.domain.alert import RawRef, RawRequest
from bot.domain.evidence import Found, Wanted
from bot.domain.incident import Phase
from bot.errors import Unavailable
from bot.flow import sampling
from bot.flow.evidence import LANE, capture, overdue
from bot.flow.intake import notice
from bot.flow.readiness import could_go_back
from bot.report.affected import affected
from tests.flow.corridor import STREAM, Corridor, NoKeys

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
        self.until: dict[tuple[str, str], datetime] = {}

    async def keep(self, stream: str, files: Mapping[str, bytes], until: datetime) -> None:
        self.files |= files
        self.until |= {(stream, digest): until for digest in files}

    async def evidence(self, stream: str, digests: Sequence[str]) -> dict[str, bytes]:
        del stream
        return {digest: self.files[digest] for digest in digests if digest in self.files}

    async def overdue(self, now: datetime) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for (stream, digest), until in self.until.items():
            if until < now:
                found[stream] = (*found.get(stream, ()), digest)
        return found

    async def forget(self, files: Mapping[str, Sequence[str]]) -> None:
        for stream, digests in files.items():
            for digest in digests:
                del self.until[stream, digest], self.files[digest]


def corridor(found: Found, **place: Any) -> tuple[Corridor, Samples, Kept]:
    here = Corridor(place={"samples": USE, "cohorts": ["eu", "us"], **place})
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
    assert set(entry.files) == {"samples.jsonl", "histograms.json", "state.json"}
    assert not any(name in body for body in kept.files.values() for name in (b"Ana", b"ana@", b'"Bo"'))
    assert set(kept.until.values()) == {entry.until}
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


@pytest.mark.parametrize(
    ("found", "cohorts", "line"),
    [
        (ROWS, ["eu"], "✓ requests are sampled (2 samples, eu: 2)"),
        (ROWS, ["eu", "us"], "✗ requests are sampled (2 samples, eu: 2, us: none)"),
        (Found(), [], "✗ requests are sampled (0 samples)"),
        (Found(reason="the bucket is gone"), [], "? requests are sampled (the bucket is gone)"),
    ],
    ids=["of every cohort", "not of one", "none", "nobody can tell"],
)
async def test_readiness_says_whether_what_serves_is_sampled(found: Found, cohorts: list[str], line: str) -> None:
    here, source, _ = corridor(found, cohorts=cohorts)
    judged = await could_go_back(STREAM, here.world)
    assert judged.ready is True
    assert line in [str(one) for one in judged.checks]
    assert [one.version for one in source.asked] == ["42"]


async def test_readiness_waits_for_no_samples_longer_than_its_bound() -> None:
    here, source, _ = corridor(ROWS)
    source.hangs = True
    judging = asyncio.ensure_future(could_go_back(STREAM, here.world))
    while not judging.done():
        await here.clock.run(5)
    (line,) = [str(one) for one in (await judging).checks if one.name == "requests are sampled"]
    assert line == "? requests are sampled (samples did not answer within 20 s)"


async def test_what_the_source_left_unread_is_said() -> None:
    here, _, _ = corridor(ROWS.model_copy(update={"notes": ("Lines that are no sample with a time: 3",)}))
    stream = await here.rolled()
    await capture(stream, here.world)
    assert here.last(stream, e.EvidenceCaptured).coverage[-1] == "Lines that are no sample with a time: 3."


async def test_the_split_the_slis_and_the_alert_as_it_came_are_kept_also_without_samples() -> None:
    here, kept = Corridor(), Kept()
    here.world = replace(here.world, kept=kept)
    body = b'{"status": "firing",   "model": "fraud-scorer"}'
    raw = RawRequest(id="01INBOUND", source="generic", body=body, received_at=here.clock.now())
    await here.memory.receive(raw)
    stream = await here.fire(raw=RawRef(id="01INBOUND", pointer=""))
    await here.run(stream, until=Phase.WAITING)
    await here.approved(stream)
    await here.run(stream, until=Phase.ROLLING)
    await capture(stream, here.world)
    entry = here.last(stream, e.EvidenceCaptured)
    assert entry.coverage == ("No samples: none are configured.",)
    assert kept.files[entry.files["alert-generic-01INBOUND.body"]] == body
    state = orjson.loads(kept.files[entry.files["state.json"]])
    assert state["targets"]["route"]["desired"]["weights"]["42"] == "100"
    assert [one["sli"] for one in state["slis"]] == ["error_ratio"]
    assert [one["fingerprint"] for one in state["alerts"]] == ["f1"]


async def test_an_alert_body_that_is_gone_is_counted() -> None:
    here, kept = Corridor(), Kept()
    here.world = replace(here.world, kept=kept)
    stream = await here.fire(raw=RawRef(id="01GONE", pointer=""))
    await here.run(stream, until=Phase.WAITING)
    await here.approved(stream)
    await here.run(stream, until=Phase.ROLLING)
    await capture(stream, here.world)
    assert here.last(stream, e.EvidenceCaptured).coverage[0] == "Without 1 of 1 alert bodies."


async def test_a_site_without_a_place_for_it_keeps_none() -> None:
    here = Corridor()
    stream = await here.rolled()
    assert [one for one in here.memory.work if one.lane == LANE] == []
    await capture(stream, here.world)
    assert "evidence.captured" not in here.types(stream)


async def test_what_may_be_kept_no_longer_is_named_once_before_it_is_erased() -> None:
    here, _, kept = corridor(ROWS)
    stream = await here.rolled()
    await capture(stream, here.world)
    names = here.last(stream, e.EvidenceCaptured).files
    assert await overdue(here.world) == {}
    here.clock.advance(31 * 86_400)
    found = await overdue(here.world)
    assert found == {stream: tuple(names.values())}
    assert here.last(stream, e.EvidenceErased).files == names
    assert await overdue(here.world) == found
    assert here.types(stream).count("evidence.erased") == 1
    await kept.forget(found)
    assert await overdue(here.world) == {}


async def test_files_of_two_claims_with_one_name_are_both_named_and_an_incident_that_is_gone_stops_nobody() -> None:
    here, _, kept = corridor(ROWS)
    stream = await here.rolled()
    await capture(stream, here.world)
    first = here.last(stream, e.EvidenceCaptured)
    again = first.but(files={"state.json": "ff" * 32})
    here.memory.put(stream, again)
    await kept.keep(stream, {"ff" * 32: b"{}"}, first.until)
    await kept.keep("incident/GONE", {"ee" * 32: b"{}"}, first.until)
    here.clock.advance(31 * 86_400)
    found = await overdue(here.world)
    assert found == {stream: (*first.files.values(), "ff" * 32)}
    assert (await here.incident(stream)).erased == {*first.files.values(), "ff" * 32}


# ── sampling more ─────────────────────────────────────────────────────────────────────────────────────────────────

MORE = {"samples": {**USE, "raised_by": "sampler"}, "actions": {"sampler": {"adapter": "doer", "undo": "x"}}}


async def test_more_is_sampled_while_the_incident_is_open_and_as_usual_when_it_is_closed() -> None:
    here, _, _ = corridor(ROWS, **MORE)
    stream = await here.fire()
    assert await sampling.turn(stream, here.world) is None
    assert await sampling.turn(stream, here.world) is None
    key = f"{stream.rpartition('/')[2]}/sampling"
    assert here.doers["sampler"].did == [key]
    assert [one for one in here.types(stream) if one.startswith("sampling")] == ["sampling.asked", "sampling.turned"]
    await here.resolve()
    await here.run(stream, until=Phase.CLOSED)
    assert await sampling.turn(stream, here.world) is None
    assert await sampling.turn(stream, here.world) is None
    assert here.doers["sampler"].did == [key, f"-{key}"]
    assert here.last(stream, e.SamplingTurned).sentence() == "Sampling as usual again: doer: applied."


async def test_sampling_that_cannot_be_raised_is_told_once_and_tried_again() -> None:
    here, _, _ = corridor(ROWS, **MORE)
    stream = await here.fire()
    here.doers["sampler"].answers = [
        Unavailable("sampler cannot be reached."),
        Unavailable("sampler cannot be reached."),
    ]
    for _ in range(2):
        assert await sampling.turn(stream, here.world) == here.clock.now() + sampling.AGAIN
    assert here.types(stream).count("sampling.turned") == 1
    assert here.last(stream, e.SamplingTurned).sentence() == "Sampling raised: no, sampler cannot be reached."
    assert await sampling.turn(stream, here.world) is None
    assert here.last(stream, e.SamplingTurned).done


async def test_who_only_observes_raises_nothing() -> None:
    here, _, _ = corridor(ROWS, **MORE)
    here.world = replace(here.world, observe=True)
    assert await sampling.turn(await here.fire(), here.world) is None
    assert here.doers["sampler"].did == []


async def test_an_incident_of_a_model_with_a_sampler_asks_it_at_once() -> None:
    here, _, _ = corridor(ROWS, **MORE)
    await notice([here.alert()], here.world)
    assert [one.lane for one in here.memory.work if one.lane == sampling.LANE] == [sampling.LANE]


async def test_an_incident_a_person_opens_asks_it_too() -> None:
    here, _, _ = corridor(ROWS, **MORE)
    stream = await here.ask("U0ANA")
    assert [one.stream for one in here.memory.work if one.lane == sampling.LANE] == [stream]


# ── what was affected ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_affected_is_told_with_requests_and_what_to_repair() -> None:
    here, _, kept = corridor(ROWS)
    stream = await here.rolled()
    await capture(stream, here.world)
    incident, rows = await here.incident(stream), here.memory.streams[stream]
    told = affected(incident, rows, kept.files, here.memory.streams[STREAM])
    assert (told["version"], told["requests"]) == ("42", ["r1", "r2"])
    assert told["served_since"] < told["first"] <= told["last"]
    assert len(told["repair"]) == 4
    assert "not later than" in told["lines"][1]
    assert "It had traffic since" in told["lines"][1]


async def test_a_sample_names_its_request_where_the_configuration_says() -> None:
    rows = Found(rows=({"trace": {"id": "t1"}, "id": "other"}, {"id": "r2"}))
    here, _, kept = corridor(rows, samples={**USE, "request": "trace.id"})
    stream = await here.rolled()
    await capture(stream, here.world)
    told = affected(await here.incident(stream), here.memory.streams[stream], kept.files)
    assert told["requests"] == ["t1", "r2"]


async def test_answers_are_those_the_versions_own_counter_shows_between_two_looks() -> None:
    here, _, _ = corridor(ROWS)
    stream = await here.rolled()
    told = affected(await here.incident(stream), here.memory.streams[stream], {})
    assert (told["answers"], told["counted_from"], told["counted_to"]) == (0, told["first"], told["first"])
    assert told["lines"][3].startswith(
        "Answers of 42 counted: 0 from 2026-11-23 02:52:00 UTC to 2026-11-23 02:52:00 UTC"
    )


async def test_the_runbook_says_what_to_repair() -> None:
    here = Corridor(book={"repair": ["Recompute the scores of the night."]})
    stream = await here.rolled()
    told = affected(await here.incident(stream), here.memory.streams[stream], {})
    assert (told["repair"], told["lines"][-1]) == (
        ["Recompute the scores of the night."], "  - Recompute the scores of the night.",
    )  # fmt: skip


async def test_what_nobody_counted_and_what_has_not_ended_is_said() -> None:
    here = Corridor()
    here.meter.value = None
    stream = await here.fire()
    await here.run(stream, until=Phase.WAITING)
    told = affected(await here.incident(stream), here.memory.streams[stream], {})
    assert (told["last"], told["requests"], told["answers"]) == (None, [], None)
    assert "Last bad answer: unknown (nothing proves that it has ended)." in told["lines"]


async def test_when_it_began_is_unknown_where_a_person_asked() -> None:
    here = Corridor()
    stream = await here.ask("U0TOM")
    await here.run(stream, until=Phase.WAITING)
    told = affected(await here.incident(stream), here.memory.streams[stream], {})
    assert told["first"] is None
    assert told["lines"][1] == "First bad answer: unknown (a person asked, no alert says when it began)."
