"""What is kept of a request holds no personal data, and says how far it reaches."""

from __future__ import annotations

import time
import unicodedata
from typing import Any
from urllib.parse import quote, unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.evidence import MASK, SamplesUse, coverage, histograms, masked, member

NAMES = st.text("abc", min_size=1, max_size=3)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30) | st.emails(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
DIGITS = st.text("0123456789", min_size=9, max_size=19)
BETWEEN = st.sampled_from(["", " ", "-", ".", "/", "–", " (", ") ", "_", "\N{NO-BREAK SPACE}", "\u200b", " - "])
AROUND = st.text(st.characters(codec="utf-8", exclude_categories=("Nd", "No", "Nl")), max_size=12)
OTHER_DIGITS = ("٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９", "0123456789")
# A name no other part of a test can hold, as people are called in several scripts.
PEOPLE = st.sampled_from(
    ["zoë.qxjw", "jürgen_qxjw", "qxjw", "Ана.qxjw", "山田qxjw", "o'qxjw", "qxjw+shop", "QXJW", "q" * 70 + "qxjw"]
)
SIGNS = st.sampled_from(["@", "＠", "﹫", "%40", "%2540", "&#64;", "&commat;"])


def texts(value: Any) -> list[str]:
    """Give every text of a value, names of members too."""
    if isinstance(value, dict):
        return [one for name, inner in value.items() for one in (name, *texts(inner))]
    if isinstance(value, list):
        return [one for inner in value for one in texts(inner)]
    return [str(value)]


def only_digits(value: Any) -> str:
    """Give every digit of a value in one row, whatever script it was written in."""
    text = " ".join(texts(value))
    return "".join(str(unicodedata.digit(one)) for one in text if one.isdecimal())


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str]:
    """A long number as people write it, and its digits."""
    digits, script = draw(DIGITS), draw(st.sampled_from(OTHER_DIGITS))
    text, left = draw(st.sampled_from(["", "+", "(", "+(", "tel:"])), digits
    while left:
        size = draw(st.integers(1, 6))
        text += "".join(script[int(one)] for one in left[:size])
        left = left[size:]
        text += draw(BETWEEN) if left else ""
    return text, digits


@given(written(), AROUND, AROUND)
def test_a_long_number_is_masked_however_it_is_written(number: tuple[str, str], before: str, after: str) -> None:
    text, digits = number
    for value in (f"{before} {text} {after}", {"a": [text]}, {text: "x"}):
        assert digits not in only_digits(masked(value, ()))
        assert digits[:6] not in only_digits(masked(value, ()))


@given(PEOPLE, SIGNS, AROUND, AROUND)
def test_an_address_is_masked_however_it_is_written(who: str, sign: str, before: str, after: str) -> None:
    for text in (
        f"{who}{sign}example.com",
        f"{before} <{who}{sign}bücher.example> {after}",
        quote(f"{who}@example.com"),
    ):
        left = unquote(orjson.dumps(masked({"to": text, text: [text]}, ())).decode()).casefold()
        assert "qxjw" not in left


@given(st.integers(10**8, 10**19) | st.floats(10**8, 10**19).map(round).map(float))
def test_a_number_that_may_be_a_card_or_a_phone_is_masked(value: float) -> None:
    assert masked({"a": value, "b": -value}, ()) == {"a": MASK, "b": MASK}


@given(VALUES)
def test_masking_twice_changes_nothing_more(value: Any) -> None:
    once = masked(value, ("a",))
    assert masked(once, ("a",)) == once


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_named_is_masked_whatever_stands_there(value: dict[str, Any]) -> None:
    for name in value:
        assert member(masked(value, (name,), (name,)), name) == MASK


def test_names_that_mask_alike_are_both_kept() -> None:
    assert masked({"a@example.com": 1, "b@example.com": 2}, ()) == {MASK: 1, f"{MASK} 2": 2}


def test_when_for_whom_and_which_request_are_kept_as_they_are_and_so_is_what_is_called_plain() -> None:
    use = SamplesUse(source="s", cohort="tenant", mask=("request.card",), plain=("request.cents",))
    row = {"at": 1_795_403_520_123, "version": "20261123001", "tenant": "100000001", "request_id": "8812345678901",
           "request": {"cents": 123_456_789, "card": 4_111_111_111_111_111, "phone": 2_125_551_234}}  # fmt: skip
    kept = masked(row, use.mask, use.left)
    assert kept == {**row, "request": {"cents": 123_456_789, "card": MASK, "phone": MASK}}
    assert masked(row, ("request_id",), SamplesUse(source="s", mask=("request_id",)).left)["request_id"] == MASK


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111", "+49 170 1234567", "mail me at ana.ruiz@example.com now", "DE89 3704 0044 0532 0130 00",
        "+1 (212) 555-1234", "(030) 901820", "030/901820", "josé@example.com", "ana%40example.com", "ana＠example.com",
        "https://ana:secret@example.com/", "192.168.100.200", "2026-11-23 2125551234",
    ],
)  # fmt: skip
def test_cards_phones_addresses_and_accounts_are_masked(text: str) -> None:
    assert MASK in masked(text, ())


@pytest.mark.parametrize(
    "text",
    [
        "v41", "2026-11-23", "0.0042", "order 12345", "eu-west-1", "2026-11-23T10:00:00.123456+02:00",
        "2026-11-23 10:00:00", "12, 345, 678, 910", "@here", "3½ and ﬁne", "a" * 40,
    ],
)  # fmt: skip
def test_what_is_nobodys_stays(text: str) -> None:
    assert masked(text, ()) == text


def test_a_text_made_to_be_slow_is_masked_in_time() -> None:
    for text in ("a" * 50_000, "1 " * 25_000, "a.@" * 16_000, "1  " * 7 + "x", "2026-11-2" * 5000, "%25" * 16_000):
        began = time.perf_counter()
        masked(text, ())
        assert time.perf_counter() - began < 0.5


def test_a_sample_as_deep_as_it_can_be_sent_is_masked() -> None:
    row: Any = "ana@example.com"
    for _ in range(250):
        row = [row]
    assert b"ana" not in orjson.dumps(masked({"x": row}, ()))


def test_a_cohort_without_a_sample_is_named() -> None:
    rows = [{"region": "eu"}, {"region": "eu"}, {"region": "apac"}]
    assert coverage(rows, "region", ("eu", "us")) == ("3 samples.", "eu: 2.", "us: none.", "apac: 1.")
    assert coverage(rows, None, ()) == ("3 samples.",)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_every_number_is_in_one_bin(numbers: list[float]) -> None:
    found = histograms([{"x": {"amount": number}} for number in numbers])["x.amount"]
    assert (sum(found["bins"]), found["count"]) == (len(numbers), len(numbers))
    assert (found["least"], found["most"]) == (min(numbers), max(numbers))
