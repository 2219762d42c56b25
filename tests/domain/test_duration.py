"""Durations are written one way, read two ways, and bounded."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bot.domain.duration import LONGEST, Positive, parse_duration, write_duration


@given(st.integers(0, int(LONGEST.total_seconds())).map(lambda seconds: timedelta(seconds=seconds)))
def test_what_is_written_is_read_back(span: timedelta) -> None:
    assert parse_duration(write_duration(span)) == span


@given(st.integers(0, 3000), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_both_forms_mean_the_same(days: int, hours: int, minutes: int, seconds: int) -> None:
    ours, iso = f"{days}d{hours}h{minutes}m{seconds}s", f"P{days}DT{hours}H{minutes}M{seconds}S"
    assert parse_duration(ours) == parse_duration(iso)


@pytest.mark.parametrize(
    ("text", "span"), [("15m", timedelta(minutes=15)), ("PT15M", timedelta(minutes=15)), ("0s", timedelta(0))]
)
def test_the_forms_people_write_are_taken(text: str, span: timedelta) -> None:
    assert parse_duration(text) == span


@pytest.mark.parametrize(
    "text",
    ["", "15", "15 m", "m", "P", "PT", "-5m", "1.5h", "15M", "5m\n", "٣m", "m5", "1s1m", 15, None, True, [1], "1e9d"],
)
def test_anything_else_is_refused_with_both_forms(text: object) -> None:
    with pytest.raises(ValueError, match="write 15m or PT15M"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["3651d", "999999999d", "P999999999D", "999999999h999999999h".replace("h9", "m9")])
def test_an_absurd_duration_is_refused_and_never_overflows(text: str) -> None:
    with pytest.raises(ValueError, match=r"ten years|write 15m"):
        parse_duration(text)


def test_a_positive_duration_is_longer_than_nothing() -> None:
    adapter = TypeAdapter(Positive)
    assert adapter.validate_python("1s") == timedelta(seconds=1)
    with pytest.raises(ValidationError, match="longer than 0s"):
        adapter.validate_python("0s")
