"""What is kept of a request holds no personal data, and says how far it reaches."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.evidence import MASK, coverage, histograms, masked, member

NAMES = st.text("abc", min_size=1, max_size=3)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.emails(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [one for name, inner in value.items() for one in (name, *texts(inner))]
    if isinstance(value, list):
        return [one for inner in value for one in texts(inner)]
    return [str(value)]


@given(VALUES)
def test_no_address_and_no_long_number_is_left(value: Any) -> None:
    for text in texts(masked(value, ())):
        assert not re.search(r"[A-Za-z0-9._%+-]@[A-Za-z0-9]", text)
        assert not re.search(r"\d{9,}", text)


@given(VALUES)
def test_masking_twice_changes_nothing_more(value: Any) -> None:
    once = masked(value, ("a",))
    assert masked(once, ("a",)) == once


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_named_is_masked_whatever_stands_there(value: dict[str, Any]) -> None:
    for name in value:
        assert member(masked(value, (name,)), name) == MASK


@pytest.mark.parametrize(
    "text",
    ["4111 1111 1111 1111", "+49 170 1234567", "mail me at ana.ruiz@example.com now", "DE89 3704 0044 0532 0130 00"],
)
def test_cards_phones_addresses_and_accounts_are_masked(text: str) -> None:
    assert MASK in masked(text, ())


@pytest.mark.parametrize("text", ["v41", "2026-11-23", "0.0042", "order 12345", "eu-west-1"])
def test_what_is_nobodys_stays(text: str) -> None:
    assert masked(text, ()) == text


def test_a_text_made_to_be_slow_is_masked_in_time() -> None:
    for text in ("a" * 50_000, "1 " * 25_000, "a.@" * 16_000):
        began = time.perf_counter()
        masked(text, ())
        assert time.perf_counter() - began < 0.5


def test_a_cohort_without_a_sample_is_named() -> None:
    rows = [{"region": "eu"}, {"region": "eu"}, {"region": "apac"}]
    assert coverage(rows, "region", ("eu", "us")) == ("3 samples.", "eu: 2.", "us: none.", "apac: 1.")
    assert coverage(rows, None, ()) == ("3 samples.",)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_every_number_is_in_one_bin(numbers: list[float]) -> None:
    found = histograms([{"x": {"amount": number}} for number in numbers])["x.amount"]
    assert (sum(found["bins"]), found["count"]) == (len(numbers), len(numbers))
    assert (found["least"], found["most"]) == (min(numbers), max(numbers))
