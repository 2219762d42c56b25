"""One `serve` a database: an advisory lock on a file beside it, which the operating system lets go with the process."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

LOOK_EVERY = 0.1  # seconds


def serve_lock(path: Path, waiting: Callable[[str], None]) -> ServeLock:
    """Give the lock of the database `path`; `waiting` is told the holder, for example `process 4711`."""
    return ServeLock(path, waiting)


class ServeLock:
    """Hold `<database>.serve.lock`; while another process holds it, tell `waiting` who, once, and wait.

    As `async with` the event loop goes on meanwhile and the wait can be cancelled; as `with` it blocks.
    """

    def __init__(self, path: Path, waiting: Callable[[str], None]) -> None:
        """Stand beside the database; nothing is opened yet."""
        self._file = path.with_name(f"{path.name}.serve.lock")
        self._waiting = waiting
        self._open: IO[str] | None = None

    def __enter__(self) -> Self:
        """Wait for the lock, blocking."""
        lock = self._opened()
        if not self._taken(lock):
            self._waiting(_holder(lock))
            fcntl.flock(lock, fcntl.LOCK_EX)
            _sign(lock)
        return self

    async def __aenter__(self) -> Self:
        """Wait for the lock, letting others run."""
        lock = self._opened()
        try:
            if not self._taken(lock):
                self._waiting(_holder(lock))
                while not self._taken(lock):  # noqa: ASYNC110  another process lets go, and no event tells of it
                    await asyncio.sleep(LOOK_EVERY)
        except asyncio.CancelledError:
            lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        if self._open is not None:
            self._open.close()

    async def __aexit__(self, *_: object) -> None:
        """Let go."""
        self.__exit__()

    def _opened(self) -> IO[str]:
        self._open = self._file.open("a+")
        return self._open

    def _taken(self, lock: IO[str]) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        _sign(lock)
        return True


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read().strip() or "another process"


def _sign(lock: IO[str]) -> None:
    lock.truncate(0)
    lock.write(f"process {os.getpid()}\n")
    lock.flush()
