"""Sampled requests in S3, as objects of JSON lines. Needs the extra `aws`; credentials are AWS's usual ones."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from adapters.address import Address
from adapters.aws import OwnClient
from adapters.samples._lines import Picked, whole
from bot.domain import words
from bot.domain.evidence import Found, Wanted
from bot.ports import Context

KEYS = 5000  # objects looked through for the newest


class S3Config(BaseModel):
    """The bucket and its region; `url` names another endpoint. `timeout` in seconds bounds a whole look."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str = Field(min_length=3)
    region: str = Field(min_length=1)
    url: Address | None = Field(default=None, repr=False)
    timeout: float = Field(default=20.0, gt=0, le=60)


class S3Query(BaseModel):
    """The prefix under which samples of this model lie, for example `fraud/prod/`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: str = Field(min_length=1)


class S3Samples(OwnClient):
    """Reads the newest objects first."""

    kind: ClassVar[str] = "s3"
    Config: ClassVar[type[BaseModel]] = S3Config
    Query: ClassVar[type[BaseModel]] = S3Query
    limit: ClassVar[int] = 64 * 1024 * 1024  # bytes read at one look, from the end of the newest object on

    def __init__(self, config: S3Config, context: Context) -> None:
        """Read the bucket of `config`."""
        super().__init__("s3", config.region, config.url, timeout=config.timeout, attempts=2)
        self._config, self._context = config, context

    async def find(self, query: S3Query, wanted: Wanted) -> Found:
        """Give the newest samples that are wanted; what cannot be read is a reason."""
        try:
            async with asyncio.timeout(self._config.timeout):
                return await self._picked(query, wanted)
        except TimeoutError:
            return Found(reason=f"S3 did not answer within {self._config.timeout:g} s")
        except self._errors as error:
            told = getattr(error, "response", {}).get("Error", {})
            code = words.plain(str(told.get("Code") or type(error).__name__), 60)
            return Found(reason=f"S3 refuses: {code}")

    async def _picked(self, query: S3Query, wanted: Wanted) -> Found:
        objects: list[dict[str, Any]] = []
        pages = self._client.get_paginator("list_objects_v2")
        more = False
        async for page in pages.paginate(Bucket=self._config.bucket, Prefix=query.prefix):
            objects += page.get("Contents", [])
            if more := len(objects) >= KEYS and bool(page.get("IsTruncated")):
                break
        objects = [one for one in objects if one["LastModified"] >= wanted.since]
        objects.sort(key=lambda one: one["LastModified"], reverse=True)
        picked, left = Picked(wanted), self.limit
        for one in objects:
            if picked.enough:
                break
            size = int(one["Size"])
            part = min(size, left)
            picked.unread += part < size
            if part == 0:
                continue
            answer = await self._client.get_object(Bucket=self._config.bucket, Key=one["Key"], Range=f"bytes=-{part}")
            body = await answer["Body"].read()
            left -= len(body)
            picked.take(whole(body, cut=part < size))
        found = picked.found("objects")
        note = f"More than {KEYS} objects under {query.prefix}: the rest was not listed, so name a narrower prefix"
        return found.model_copy(update={"notes": (*found.notes, note)}) if more else found


SAMPLES = S3Samples
