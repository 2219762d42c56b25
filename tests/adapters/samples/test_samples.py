"""Samples in a folder and in S3: the newest of one version in a time are found, and nothing is raised."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.samples.file import FileConfig, FileQuery, FileSamples
from adapters.samples.s3 import S3Config, S3Query, S3Samples
from adapters.testing import NotedLog
from bot.clock import SystemClock
from bot.domain.evidence import Found, Wanted
from bot.ports import Context
from tests.adapters.moto import Moto

NOW = SystemClock().now()
CONTEXT = Context(clock=SystemClock(), name="samples", log=NotedLog(), secret=lambda _: None)
Put = Callable[[str, bytes], Awaitable[None]]
Find = Callable[[Wanted], Awaitable[Found]]


def line(n: int, *, ago: float, version: str = "42") -> bytes:
    return json.dumps({"id": f"r{n}", "at": (NOW - timedelta(seconds=ago)).isoformat(), "version": version}).encode()


def wanted(**keys: Any) -> Wanted:
    given = {"version": "42", "since": NOW - timedelta(minutes=10), "until": NOW, "most": 10}
    return Wanted.model_validate({**given, **keys})


@pytest.fixture(params=["file", "s3"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Put, Find]]:
    """A place to put lines into, and the adapter that finds them there."""
    if request.param == "file":

        async def put(name: str, body: bytes) -> None:
            (tmp_path / name).write_bytes(body)

        async with FileSamples(FileConfig(folder=tmp_path), CONTEXT) as source:
            yield put, lambda asked: source.find(FileQuery(), asked)
        return
    moto: Moto = request.getfixturevalue("moto")
    bucket, client = f"b{abs(hash(request.node.name))}", moto.client("s3")
    await asyncio.to_thread(
        client.create_bucket, Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )

    async def put_object(name: str, body: bytes) -> None:
        await asyncio.to_thread(client.put_object, Bucket=bucket, Key=f"fraud/{name}", Body=body)

    config = S3Config(bucket=bucket, region="eu-west-1", url=f"http://127.0.0.1:{moto.port}")
    async with S3Samples(config, CONTEXT) as found:
        yield put_object, lambda asked: found.find(S3Query(prefix="fraud/"), asked)
    client.close()


async def test_the_newest_of_the_version_in_the_time_are_found(place: tuple[Put, Find]) -> None:
    put, find = place
    await put("a.jsonl", b"\n".join([line(1, ago=500), line(2, ago=5), line(3, ago=5, version="41")]))
    await put("b.jsonl", b"\n".join([line(4, ago=50), line(5, ago=9000), b"no json", b"[1]", b'{"at": "yesterday"}']))
    found = await find(wanted())
    assert ([row["id"] for row in found.rows], found.reason) == (["r2", "r4", "r1"], "")
    assert found.notes == ("Lines that are no sample with a time: 3",)
    assert len((await find(wanted(most=1))).rows) == 1


async def test_nothing_there_is_nothing_found(place: tuple[Put, Find]) -> None:
    _, find = place
    assert await find(wanted()) == Found()


async def test_times_may_be_numbers_and_places_have_other_names(place: tuple[Put, Find]) -> None:
    put, find = place
    row = {"t": {"ms": (NOW - timedelta(seconds=5)).timestamp() * 1000}, "model": {"v": 42}}
    await put("a.jsonl", json.dumps(row).encode())
    assert len((await find(wanted(at="t.ms", named="model.v"))).rows) == 1


class Small(FileSamples):
    """The same, with room for a few lines."""

    limit = 300


async def test_the_end_of_a_file_too_large_to_read_whole_is_read_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(line(n, ago=100 - n) for n in range(50)))
    async with Small(FileConfig(folder=tmp_path), CONTEXT) as source:
        found = await source.find(FileQuery(), wanted())
    assert [row["id"] for row in found.rows] == [f"r{n}" for n in range(49, 49 - len(found.rows), -1)]
    assert 2 <= len(found.rows) <= 5
    assert found.notes == ("Too large to read whole: 1 files",)


async def test_a_link_to_another_file_of_the_folder_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(1, ago=1))
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    async with FileSamples(FileConfig(folder=tmp_path), CONTEXT) as source:
        assert [row["id"] for row in (await source.find(FileQuery(), wanted())).rows] == ["r1"]


async def test_a_folder_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    async with FileSamples(FileConfig(folder=tmp_path / "none"), CONTEXT) as source:
        assert (await source.find(FileQuery(), wanted())).reason == "there is no folder none"


async def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.jsonl").write_bytes(line(1, ago=1))
    (tmp_path / "inside" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    async with FileSamples(FileConfig(folder=tmp_path / "inside"), CONTEXT) as source:
        assert await source.find(FileQuery(), wanted()) == Found()
        assert await source.find(FileQuery(files="../*.jsonl"), wanted()) == Found()


async def test_a_bucket_that_is_not_there_is_a_reason(moto: Moto) -> None:
    config = S3Config(bucket="nobody-has-this", region="eu-west-1", url=f"http://127.0.0.1:{moto.port}")
    async with S3Samples(config, CONTEXT) as source:
        assert (await source.find(S3Query(prefix="x"), wanted())).reason == "S3 refuses: NoSuchBucket"


def test_times_are_of_this_process() -> None:
    assert datetime.now(UTC) - NOW < timedelta(hours=1)  # noqa: TID251  the samples above are dated by it
