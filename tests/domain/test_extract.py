"""Foreign fields are read the same for every sender, and what cannot be read is never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain import extract
from bot.domain.alert import Severity
from bot.errors import PayloadInvalid

RECEIVED = datetime(2026, 11, 23, 2, 12, tzinfo=UTC)


def nested(levels: int) -> bytes:
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


def test_a_body_of_the_greatest_depth_is_read() -> None:
    assert extract.json_value(nested(extract.MAX_DEPTH)) == orjson.loads(nested(extract.MAX_DEPTH))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b'{"a": "\xff"}', "not JSON in UTF-8"),
        (b'{"a": NaN}', "not JSON"),
        (b"", "not JSON"),
        (b"7" * 5000, "not JSON"),
        (b'"\\ud800"', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not JSON in UTF-8"),
        (nested(extract.MAX_DEPTH + 1), "deeper than 32 levels"),
    ],
)
def test_a_body_that_cannot_be_taken_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    with pytest.raises(PayloadInvalid, match=reason):
        extract.json_value(body)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        ("a", "a"),
        (1, "1"),
        (True, "true"),
        ({"é": 1}, '{"é": 1}'),
        ("a\x00b\x7f", "a\ufffdb\ufffd"),
    ],
)
def test_any_value_can_be_read_as_text(value: Any, shown: str) -> None:
    assert extract.text(value) == shown


def test_labels_are_bounded_in_length() -> None:
    read = extract.texts({"k" * 300: "v" * 5000})
    assert {(len(name), len(value)) for name, value in read.items()} == {(200, extract.MAX_TEXT)}


def test_labels_are_bounded_in_number_and_those_that_are_read_stay() -> None:
    many = {f"l{n}": "v" for n in range(500)}
    assert list(extract.kept_texts({**many, "model": "m", "zz": "v"})) == [
        *list(many)[: extract.MAX_LABELS - 1],
        "model",
    ]
    assert extract.kept_texts({"a": 1}) == {"a": "1"}
    assert extract.kept_texts(["a"]) == {}


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (3, 3.0), (0.1, 0.1), (1e-15, 1e-15), ("8%", 0.08), (" 12.4 % ", 0.124), ("+1.5e-3", 0.0015), (".5", 0.5), ("5.", 5.0),
        ("1_000", None), ("\u0663", None), ("NaN", None), ("-inf", None), ("1e999", None), ("0x10", None), ("", None), ("%", None),
        (True, None), (None, None), ([1], None), ({"a": 1}, None), ("7" * 4000 + "x", None),
    ],
    ids=repr,
)  # fmt: skip
def test_a_number_is_read_the_way_senders_write_it_or_not_at_all(value: Any, read: float | None) -> None:
    assert extract.number(value) == read


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "ftp://x", "//x", "https://x\x00", 7, None, "https://" + "x" * extract.MAX_LINK]
)
def test_a_link_that_is_not_of_the_web_is_left_out(url: Any) -> None:
    assert [link.url for link in extract.links([("bad", url), ("good", "https://ok")])] == ["https://ok"]


def test_an_empty_label_gives_way_to_the_next_name() -> None:
    assert extract.first({"model": "", "model_name": "fraud", "model_id": "x"}, extract.MODEL) == "fraud"
    assert extract.first({"other": "x"}, extract.MODEL) is None


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("P1", "critical"),
        ("high", "error"),
        ("WARN", "warning"),
        ("p5", "info"),
        ("bad", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_senders_word_is_mapped_to_one_scale(word: str | None, severity: str) -> None:
    assert extract.severity(word) is Severity(severity)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("8%", 0.08),
        (" 0.5 ", 0.5),
        (3, 3.0),
        (True, None),
        (None, None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ([1], None),
        (10**400, None),
    ],
)
def test_only_a_finite_number_is_a_number(value: Any, number: float | None) -> None:
    assert extract.number(value) == number


@pytest.mark.parametrize(
    ("value", "naive"),
    [
        ("2026-11-23T02:12:00Z", False),
        ("2026-11-23T07:42:00+05:30", False),
        ("2026-11-23T07:42:00+0530", False),
        ("2026-11-23 02:12:00", True),
        (RECEIVED.timestamp(), False),
        (int(RECEIVED.timestamp() * 1000), False),
    ],
)
def test_a_time_is_read_in_every_form_senders_use(value: Any, naive: bool) -> None:  # noqa: FBT001  a table's column
    assert extract.moment(value) == (RECEIVED, naive)


def test_nine_digits_of_a_second_are_cut_to_six() -> None:
    found, _ = extract.moment("2026-11-23T02:12:00.123456789Z")
    assert found == RECEIVED + timedelta(microseconds=123456)


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "2026-13-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00Z",
        0,
        -5,
        True,
        None,
        1e300,
        float("nan"),
    ],
)
def test_what_is_no_time_is_not_guessed(value: Any) -> None:
    assert extract.moment(value)[0] is None


AFTER, BEFORE = "2026-11-23T03:12:00Z", "2026-11-23T01:12:00Z"


@pytest.mark.parametrize(
    ("starts", "ends", "flags"),
    [
        (BEFORE, None, set()),
        (None, "", set()),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", set()),
        ("soon", None, {"bad_starts_at"}),
        (AFTER, None, {"future_starts_at"}),
        (BEFORE, "later", {"bad_ends_at"}),
        (BEFORE, "2026-11-23T00:12:00Z", {"ends_before_starts"}),
        ("2026-11-23T01:12:00", None, {"naive_starts_at"}),
    ],
)
def test_what_had_to_be_put_right_about_times_is_flagged(starts: Any, ends: Any, flags: set[str]) -> None:
    start, end, found = extract.times(starts, ends, RECEIVED)
    assert found == flags
    assert start <= RECEIVED
    assert end is None or end >= start


def test_a_clock_two_minutes_fast_is_believed() -> None:
    early = RECEIVED + extract.FUTURE
    assert extract.times(early.isoformat(), None, RECEIVED) == (early, None, set())


def test_a_long_identity_becomes_a_digest_and_stays_its_own() -> None:
    assert extract.fingerprint("generic", "x") == "generic:x"
    long, other = (extract.fingerprint("generic", "x" * 200 + end) for end in "ab")
    assert len(long) == len("generic:") + 64
    assert long != other


def test_the_fingerprint_of_no_labels_is_where_fnv_begins() -> None:
    assert extract.labels_fingerprint({}) == "cbf29ce484222325"


def test_a_label_and_its_value_cannot_run_into_each_other() -> None:
    assert extract.labels_fingerprint({"ab": "c"}) != extract.labels_fingerprint({"a": "bc"})


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5))
def test_identity_does_not_depend_on_the_order_labels_came_in(labels: dict[str, str]) -> None:
    turned = dict(reversed(labels.items()))
    assert extract.labels_fingerprint(turned) == extract.labels_fingerprint(labels)
    assert extract.derived(turned) == extract.derived(labels)
