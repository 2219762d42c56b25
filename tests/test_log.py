"""A log line is one line of JSON whatever it is given, and never ends what it tells about."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import ManualClock
from bot.log import JsonLog


def written(clock: ManualClock, **facts: object) -> str:
    out = io.StringIO()
    JsonLog(clock, out).warning("x.y", **facts)
    return out.getvalue()


def test_a_line_holds_time_level_event_and_facts(clock: ManualClock) -> None:
    assert json.loads(written(clock, model="fraud-scorer", count=3)) == {
        "at": "2026-11-23T02:12:00+00:00", "level": "warning", "event": "x.y", "model": "fraud-scorer", "count": 3,
    }  # fmt: skip


@given(st.text())
def test_any_text_stays_one_line_that_a_terminal_does_not_obey(text: str) -> None:
    line = written(ManualClock(), text=text)
    assert line.endswith("\n")
    assert len(line[:-1].splitlines()) == 1
    assert not {unicodedata.category(one) for one in line[:-1]} & {"Cc", "Zl", "Zp", "Cs"}
    assert not {unicodedata.bidirectional(one) for one in line} & {
        "LRE",
        "RLE",
        "LRO",
        "RLO",
        "PDF",
        "LRI",
        "RLI",
        "FSI",
        "PDI",
    }
    assert json.loads(line)["event"] == "x.y"


@given(st.text())
def test_what_was_logged_can_be_read_back(text: str) -> None:
    if text.encode(errors="replace").decode() == text:
        assert json.loads(written(ManualClock(), text=text))["text"] == text


@pytest.mark.parametrize("value", [object(), 2**80, "\ud800", float("nan"), {1: 2}, ValueError("x")])
def test_a_value_json_cannot_hold_is_still_written(clock: ManualClock, value: object) -> None:
    assert json.loads(written(clock, value=value))["event"] == "x.y"


def test_information_can_be_left_out(clock: ManualClock) -> None:
    out = io.StringIO()
    log = JsonLog(clock, out, quiet=True)
    log.info("quiet")
    log.warning("loud")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["loud"]


def test_a_full_disk_does_not_end_what_is_logged(clock: ManualClock) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    JsonLog(clock, Full()).warning("x.y")
