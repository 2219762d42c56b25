"""Sampled requests in a folder of JSON lines, as a sidecar or a serving log writes them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from adapters.samples._lines import chosen, newest
from bot.domain.evidence import Found, Wanted
from bot.ports import Context

LIMIT = 64 * 1024 * 1024  # bytes read at one look, from the newest file on


class FileConfig(BaseModel):
    """The folder; nothing outside it is read, whatever a link or a name says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path


class FileQuery(BaseModel):
    """Which files of the folder hold samples of this model, for example `fraud/*.jsonl`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: str = Field(default="*.jsonl", pattern=r"^[^/].*$")


class FileSamples:
    """Reads the newest files first."""

    kind: ClassVar[str] = "file"
    Config: ClassVar[type[BaseModel]] = FileConfig
    Query: ClassVar[type[BaseModel]] = FileQuery

    def __init__(self, config: FileConfig, context: Context) -> None:
        """Read the folder of `config`."""
        self._folder = config.folder
        del context

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    async def find(self, query: FileQuery, wanted: Wanted) -> Found:
        """Give the newest samples that are wanted; what cannot be read is a reason."""
        return await asyncio.to_thread(self._find, query, wanted)

    def _find(self, query: FileQuery, wanted: Wanted) -> Found:
        root = self._folder.resolve()
        if not root.is_dir():
            return Found(reason=f"there is no folder {self._folder.name}")
        try:
            files = [one for one in root.glob(query.files) if one.is_file() and one.resolve().is_relative_to(root)]
            files.sort(key=lambda one: one.stat().st_mtime, reverse=True)
            left, found = LIMIT, list[tuple[datetime, dict[str, Any]]]()
            for file in files:
                if left <= 0 or len(found) >= wanted.most:
                    break
                body = file.read_bytes()[-left:]
                left -= len(body)
                found += chosen(body.splitlines(), wanted)
        except (OSError, ValueError) as error:
            return Found(reason=f"the folder {self._folder.name} cannot be read: {error}")
        return Found(rows=newest(found, wanted.most))


SAMPLES = FileSamples
