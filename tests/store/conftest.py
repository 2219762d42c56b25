"""A migrated database in a directory of its own, and a store on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.clock import ManualClock
from bot.domain.entries import Entry, NoteAdded, PolicyLoaded
from bot.ports import Append, Write
from bot.store.schema import migrate
from bot.store.timeline import Store


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/site.db"
    migrate(url)
    return url


@pytest.fixture
def crashes() -> list[BaseException]:
    """What the writer died of; empty when it lives."""
    return []


@pytest.fixture
async def store(url: str, clock: ManualClock, crashes: list[BaseException]) -> AsyncIterator[Store]:
    async with Store(url, clock, on_crash=crashes.append) as opened:
        yield opened


@pytest.fixture
def fact() -> Callable[[int], Entry]:
    """An entry that does not commute, told apart by its number."""
    return lambda number: PolicyLoaded(digest="ab" * 32, generation=number)


@pytest.fixture
def note() -> Entry:
    """An entry that commutes."""
    return NoteAdded(person="U0ANA", text_ref="ref")


@pytest.fixture
def write(fact: Callable[[int], Entry]) -> Callable[..., Append]:
    """One fact for one stream: `write("incident/A", expect)`."""

    def made(stream: str, expect: int = 0, number: int = 1) -> Append:
        return Append(writes=(Write(stream, (fact(number),), expect),))

    return made
