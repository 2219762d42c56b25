"""The route file of an Envoy that watches its file system: read whole, replaced whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from adapters.traffic._envoy_admin import Route, weighted_routes, written
from bot.domain import words
from bot.domain.value import digest
from bot.errors import AdapterError, NotFound, TokenMoved, Unavailable


@dataclass(frozen=True, slots=True)
class Swap:
    """The file before and after we replaced it."""

    before: bytes
    after: bytes


class RouteFile:
    """A JSON DiscoveryResponse. Every method blocks on the disk."""

    def __init__(self, path: str, clusters: frozenset[str]) -> None:
        """Read and write the weights of `clusters` in the file at `path`."""
        self.path, self._clusters = Path(path), clusters

    def content(self) -> bytes:
        """Give the file as it is. Raises Unavailable."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            message = f"{self.path} cannot be read: {error.strerror}."
            raise Unavailable(message) from error

    def routes(self) -> tuple[list[Route], str]:
        """Give the weighted routes to our clusters and the file's fingerprint. Raises NotFound when there is none."""
        content = self.content()
        routes = [Route(written(one), written(one)) for one in self._ours(_parsed(content, self.path))]
        return routes, sha256(content).hexdigest()

    def _ours(self, content: Any) -> list[dict[str, Any]]:
        found = [one for one in weighted_routes(content) if self._clusters <= written(one).keys()]
        if not found:
            message = f"{self.path} has no weighted route to {words.listed(sorted(self._clusters))}."
            raise NotFound(message)
        return found

    def replace(self, weigh: Callable[[Mapping[str, int]], Mapping[str, int]], fingerprint: str) -> Swap:
        """Give each weighted route the weights `weigh` makes of its present ones.

        Raises TokenMoved when the file no longer has the fingerprint, or OSError; then nothing was changed.
        """
        before = self.content()
        if sha256(before).hexdigest() != fingerprint:
            message = f"Somebody else changed {self.path} a moment ago."
            raise TokenMoved(message)
        content = _parsed(before, self.path)
        for route in self._ours(content):
            weights = weigh(written(route))
            for one in route["clusters"]:
                one["weight"] = weights[str(one["name"])]
        content.pop("versionInfo", None)
        content["version_info"] = digest(content.get("resources"))[:12]
        after = orjson.dumps(content, option=orjson.OPT_INDENT_2)
        self._put(after)
        return Swap(before, after)

    def put_back(self, swap: Swap) -> str:
        """Restore the file if it is still the one we wrote, and say so, or why not."""
        try:
            if self.content() != swap.after:
                return f"{self.path} was changed meanwhile by somebody else and is left."
            self._put(swap.before)
        except OSError as error:
            return f"{self.path} could not be put back: {error.strerror}."
        except AdapterError as error:
            return f"{self.path} could not be put back: {error}"
        return f"{self.path} is put back."

    def _put(self, content: bytes) -> None:
        """Move a new file into place: Envoy notices a move, and nobody ever reads half a file, power cuts included."""
        fresh = self.path.with_name(f".{self.path.name}.new")
        try:
            with fresh.open("wb") as out:
                self._dress(out.fileno())
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
        self._sync()

    def _dress(self, fresh: int) -> None:
        """Let the new file be read by whoever may read the old one, above all by Envoy's user."""
        old = self.path.stat()
        with contextlib.suppress(PermissionError):  # only root gives files away
            os.fchown(fresh, old.st_uid, old.st_gid)
        os.fchmod(fresh, old.st_mode & 0o777)

    def _sync(self) -> None:
        """Make the move itself outlive a power cut. The file is in place already, so a folder that cannot is no failure."""
        with contextlib.suppress(OSError):
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        message = f"{path} is not JSON."
        raise Unavailable(message) from error
    if not isinstance(parsed, dict):
        message = f"{path} is no DiscoveryResponse: it holds no JSON object."
        raise Unavailable(message)
    return parsed
