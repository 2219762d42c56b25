"""A registry kept as one reviewed YAML or JSON file, for sites without a registry server.

```
fraud-scorer:
  aliases: {champion: "41"}
  versions:
    "41": {digest: "sha256:…", inputs: [amount, country], gates: {fairness: true}, scan: clean, tags: {size: small}}
```
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.domain import words
from bot.domain.registry import Registered, Shelf
from bot.ports import Context

LIMIT = 4 * 1024 * 1024  # bytes


class FileConfig(BaseModel):
    """Where the file is; it is read at each look, so a change needs no restart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path


class FileRegistry:
    """Reads the file each time it is asked."""

    kind: ClassVar[str] = "file"
    Config: ClassVar[type[BaseModel]] = FileConfig

    def __init__(self, config: FileConfig, context: Context) -> None:
        """Read the file of `config`."""
        self._path = config.path
        del context

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    async def look(self, name: str) -> Shelf:
        """Give what the file says of one model; what cannot be read is a reason."""
        return await asyncio.to_thread(self._look, name)

    def _look(self, name: str) -> Shelf:
        try:
            if self._path.stat().st_size > LIMIT:
                return Shelf(reason=f"{self._path.name} is larger than {LIMIT // 1024 // 1024} MiB")
            said = yaml.safe_load(self._path.read_text(encoding="utf-8"))
            if not isinstance(said, dict) or name not in said:
                return Shelf(reason=f"{self._path.name} does not name {name}")
            model = _Model.model_validate(said[name])
            versions = {key: Registered.model_validate({**one, "version": key}) for key, one in model.versions.items()}
        except OSError as error:
            return Shelf(reason=f"{self._path.name} cannot be read: {error.strerror or error}")
        except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
            first = words.plain(" ".join(str(error).split()), 160)
            return Shelf(reason=f"{self._path.name} is not as it should be: {first}")
        return Shelf(versions=versions, aliases=model.aliases)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    aliases: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, dict[str, object]]


REGISTRY = FileRegistry
