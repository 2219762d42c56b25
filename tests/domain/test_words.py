"""Numbers, times, people and foreign text as they are written on every surface."""

from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest

from bot.domain import words

AT = datetime(2026, 11, 23, 3, 13, 31, tzinfo=UTC)


def spaced(text: str) -> str:
    return text.replace(words.NBSP, " ")


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0, "0 %"),
        (0.0042, "0.4 %"),
        (0.01, "1 %"),
        (0.081, "8.1 %"),
        (0.999, "99.9 %"),
        (1, "100 %"),
        (0.0005, "0.05 %"),
        (0.00099, "0.099 %"),
        (0.9995, "99.95 %"),
        (0.99999, "99.999 %"),
        (14.4, "1,440 %"),
    ],
)
def test_a_ratio_is_written_as_percent(ratio: float, text: str) -> None:
    assert spaced(words.percent(ratio)) == text


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=-4), "0 s"),
        (timedelta(microseconds=3), "1 ms"),
        (timedelta(milliseconds=300), "300 ms"),
        (timedelta(seconds=59.6), "1 min"),
        (timedelta(minutes=6, seconds=24), "6 min 24 s"),
        (timedelta(days=6, hours=4, minutes=9), "6 d 4 h"),
    ],
)
def test_a_span_names_its_two_largest_units(length: timedelta, text: str) -> None:
    assert spaced(words.span(length)) == text


def test_numbers_and_their_units_never_part_at_a_line_end() -> None:
    assert words.percent(0.5) == f"50{words.NBSP}%"
    assert words.span(timedelta(seconds=3)) == f"3{words.NBSP}s"


@pytest.mark.parametrize(("number", "text"), [(1234.4, "1,234"), (0, "0"), (1_000_000, "1,000,000")])
def test_a_count_has_its_thousands_separated(number: float, text: str) -> None:
    assert words.count(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (10, "10"),
        (0.5, "0.5"),
        (1.234, "1.234"),
        (250.4, "250"),
        (1e7, "10,000,000"),
        (0.00012, "0.00012"),
        (-0.0, "0"),
    ],
)
def test_a_quantity_has_no_exponent_and_no_idle_zeros(number: float, text: str) -> None:
    assert words.quantity(number) == text


@pytest.mark.parametrize(
    ("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_words_are_listed_the_way_a_sentence_does(items: list[str], text: str) -> None:
    assert words.listed(items) == text


def test_people_are_listed_as_tokens() -> None:
    assert words.people(["U0ANA", "U0BEN"], "or") == "<@U0ANA> or <@U0BEN>"


def test_a_moment_falls_back_to_utc_whatever_its_zone() -> None:
    elsewhere = AT.astimezone(tz=datetime.fromisoformat("2026-01-01T00:00+05:30").tzinfo)
    assert words.moment(elsewhere) == words.moment(AT)
    assert words.moment(AT) == f"<!date^{int(AT.timestamp())}^{{time}}|03:13 UTC>"


def test_a_surface_puts_people_and_times_into_its_own_words() -> None:
    sentence = f"{words.person('U0ANA')} at {words.moment(AT)}"
    assert words.put(sentence, {"U0ANA": "Ana"}.__getitem__) == "Ana at 03:13 UTC"
    assert words.put(sentence, str.lower, lambda at: f"{at:%M:%S}") == "u0ana at 13:31"


def test_a_name_is_never_read_for_tokens() -> None:
    sentence = f"{words.person('U0EVIL')} approved at {words.moment(AT)}."
    for evil in (f"<!date^{'9' * 40}^{{time}}|x>", "<@U0ANA>", "<!date^1^{time}|x>"):
        named = words.put(sentence, {"U0EVIL": evil}.__getitem__, lambda at: f"{at:%H:%M}")
        assert named == f"{evil} approved at 03:13."


def test_a_stamp_reads_the_same_everywhere() -> None:
    elsewhere = AT.astimezone(tz=datetime.fromisoformat("2026-01-01T00:00+05:30").tzinfo)
    assert words.stamp(elsewhere) == words.stamp(AT) == "2026-11-23 03:13:31 UTC"


def test_unknown_always_gives_its_reason() -> None:
    assert words.unknown("no request arrived") == "unknown (no request arrived)"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\r\ntwo\u2028three\x85four", "one two three four"),
        (f"  0.3{words.NBSP}% \t of 9 ", f"0.3{words.NBSP}% of 9"),
        ("tag\U000e0041\U000e007f gone\u2060\u00ad\ud800", "tag gone"),
    ],
)
def test_a_clean_text_is_one_visible_line_that_keeps_its_units(text: str, line: str) -> None:
    assert words.clean(text) == line


def test_every_character_that_shows_nothing_is_known() -> None:
    unseen = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) in ("Cf", "Cc", "Cs")]
    assert words.clean("".join(unseen)) == ""
    assert words.plain("".join(unseen)) == ""


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("two\n\tlines\x0bhere", "two lines here"),
        ("pay\u202egpj.exe", "paygpj.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("\x1b[31mred\x9b", "[31mred"),
        ("\u2066isolated\u2069", "isolated"),
    ],
)
def test_foreign_text_loses_what_could_disguise_it(foreign: str, shown: str) -> None:
    assert words.plain(foreign) == shown


def test_foreign_text_says_how_much_was_left_out() -> None:
    assert words.plain("x" * 12, limit=10) == f"{'x' * 10}… (+2 more)"
    assert words.plain("x" * 10, limit=10) == "x" * 10


def test_an_incident_is_read_aloud_by_its_last_five_characters() -> None:
    assert words.short("incident/01K0000000000000000000ABCDE") == "ABCDE"
    assert words.short("01K0000000000000000000ABCDE") == "ABCDE"


def test_a_change_names_the_bad_version_first() -> None:
    assert words.change("42", "41") == "42 → 41"
