"""What every test can ask for: a clock that stands still, identifiers that count, and a promise about skips."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import pytest

from bot.clock import ManualClock
from bot.ids import CountingIds
from tests.postgres import Server

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
NO_SKIPS = os.environ.get("LASTGOOD_NO_SKIPS") == "1"


@pytest.fixture
def clock() -> ManualClock:
    """Monday 23 November 2026, 02:12 UTC, until the test advances it."""
    return ManualClock()


@pytest.fixture
def ids() -> CountingIds:
    """Identifiers ending in 00001, 00002 and so on."""
    return CountingIds()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A real PostgreSQL, one for all tests of this process; each takes a database of its own."""
    server = Server.started()
    yield server
    server.remove()


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say a figure that stands below the run: how far chance got, how often something was killed."""
    return lambda text: record_property("told", text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests told."""
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties:
            if name == "told":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {text}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where everything is supposed to be present."""
    report = yield
    return _unskipped(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a file that skips as a whole."""
    report = yield
    return _unskipped(report)


def _unskipped(report: Report) -> Report:
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        report.outcome = "failed"
        report.longrepr = f"LASTGOOD_NO_SKIPS=1, yet: {reason}"
    return report
