"""Reviewed files that change while the bot runs: taken when they are sound, left alone when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.config import Config, File, Settings, examine, runbook_files
from bot.domain import words
from bot.errors import ConfigError, LastgoodError, Problem
from bot.ports import Clock, Log
from bot.yaml_file import read

EVERY = 2.0  # seconds between looks at the files
Stamp = tuple[tuple[str, int, int, int, int], ...]


def stamp(settings: Settings) -> Stamp:
    """Give what tells one state of the files from another: their names, times, sizes and places on the disk.

    The time of the last change cannot be set by hand, as the time of writing can: an old time hides nothing.
    """
    found = []
    for path in _files(settings):
        try:
            at = path.stat()
        except OSError:
            found.append((str(path), 0, 0, 0, 0))
        else:
            found.append((str(path), at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino))
    return tuple(found)


def _files(settings: Settings) -> list[Path]:
    try:
        source = read(settings.config, settings.config.name)
    except ConfigError:
        return [settings.config]  # the runbooks are looked at again when it can be read
    return [settings.config, *runbook_files(settings, source)]


def beyond(old: File, new: File) -> list[str]:
    """Name what changed and is only taken at a start: what is connected, listens, or is opened once."""
    fixed = ("slack", "web", "api", "signin", "pagerduty", "authorizers", "sources", "metrics", "runbooks")
    named = [name for name in fixed if getattr(old, name) != getattr(new, name)]
    targets = _targets(old), _targets(new)
    named += [
        f"models.{model}.environments.{place}.targets"
        for model, place in dict.fromkeys([*targets[0], *targets[1]])
        if targets[0].get((model, place)) != targets[1].get((model, place))
    ]
    return named


def _targets(file: File) -> dict[tuple[str, str], Any]:
    return {
        (model, place): environment.targets
        for model, described in file.models.items()
        for place, environment in described.environments.items()
    }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look at changed files came to: the configuration to take, or why the last good one stays."""

    config: Config | None
    reason: str = ""
    problems: tuple[Problem, ...] = ()


def look(settings: Settings, now: Config) -> Outcome:
    """Read the files again and say whether they can be taken while the bot runs; never raises."""
    try:
        found, problems, warnings = examine(settings)
    except ConfigError as error:
        found, problems, warnings = None, error.problems, []
    if problems or found is None:
        first = problems[0] if problems else None
        where = f" {first.file}:{first.line}: {first.message}." if first else ""
        count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
        return Outcome(None, f"{count} in the files.{where}", tuple(problems))
    if restart := beyond(now.file, found.file):
        return Outcome(None, f"{words.listed(restart)} changed, and that is only taken at a start.")
    return Outcome(Config(found.file, found.catalogue, found.folder, tuple(warnings)))


class Watch:
    """Looks at the files every two seconds, and hands over what can be taken once it lay still from one look to the next."""

    def __init__(
        self, settings: Settings, config: Config, take: Callable[[Config], Awaitable[None]], clock: Clock, log: Log
    ) -> None:
        """Begin from `config`; `take` is called with each sound change, one at a time, and again when it raises LastgoodError."""
        self._settings, self._config, self._take = settings, config, take
        self._clock, self._log = clock, log
        self._seen: Stamp = ()  # nothing yet: the files may have changed since `config` was read
        self._moving: Stamp = ()
        self.trouble = ""  # why the files on the disk are not the ones in use; empty when they are

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._clock.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Look once; a change of the files is read once it is written, and once only, also when it cannot be taken."""
        now = await asyncio.to_thread(stamp, self._settings)
        if now == self._seen:
            return
        if now != self._moving:
            self._moving = now  # whoever writes may not be done, and half a file can be a sound one
            return
        outcome = await asyncio.to_thread(look, self._settings, self._config)
        if await asyncio.to_thread(stamp, self._settings) != now:
            return  # it changed under the reader
        if outcome.config is None:
            self._kept(outcome.reason)
        elif not await self._taken(outcome.config):
            return  # tried again at the next look
        self._seen, self.trouble = now, outcome.reason

    async def _taken(self, config: Config) -> bool:
        """Hand over what differs; say whether it is in force now."""
        if config.catalogue.digest != self._config.catalogue.digest or config.file != self._config.file:
            try:
                await self._take(config)
            except LastgoodError as error:
                self._kept(f"The files are sound and could not be put in force. {error}")
                return False
        self._config = config
        return True

    def _kept(self, reason: str) -> None:
        if reason != self.trouble:
            self._log.warning("config.kept", reason=f"The last good configuration stays. {reason}")
        self.trouble = reason
