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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a database on both kinds, unless it is about files."""
    named = any("url" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "url" in metafunc.fixturenames and not named:
        of_files = metafunc.definition.get_closest_marker("of_files")
        metafunc.parametrize("url", ["sqlite"] if of_files else ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres").database())
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
