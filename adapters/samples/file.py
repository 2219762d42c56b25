"""Sampled requests in a folder of JSON lines, as a sidecar or a serving log writes them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from adapters.samples._lines import Picked, whole
from bot.domain.evidence import Found, Wanted
from bot.ports import Context


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
    limit: ClassVar[int] = 64 * 1024 * 1024  # bytes read at one look, from the end of the newest file on

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
        root, picked, left = self._folder.resolve(), Picked(wanted), self.limit
        if not root.is_dir():
            return Found(reason=f"there is no folder {self._folder.name}")
        try:
            # A link that leads to another file of the folder is that file, one that leads out is none of ours.
            files = {one.resolve() for one in root.glob(query.files)}
            known = [one for one in files if one.is_file() and one.is_relative_to(root)]
            for file in sorted(known, key=lambda one: (one.stat().st_mtime, one), reverse=True):
                if picked.enough:
                    break
                size = file.stat().st_size
                part = min(size, left)
                picked.unread += part < size
                if part == 0:
                    continue
                with file.open("rb") as opened:
                    opened.seek(size - part)
                    body = opened.read(part)
                left -= part
                picked.take(whole(body, cut=part < size))
        except (OSError, ValueError) as error:
            return Found(reason=f"the folder {self._folder.name} cannot be read: {error}")
        return picked.found("files")


SAMPLES = FileSamples
