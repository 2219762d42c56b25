"""The plot of a replay: readable aloud, without colours, and never executable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from xml.etree import ElementTree as ET

from bot.report import bars
from bot.report.replay import FATES, Fate

SVG = "{http://www.w3.org/2000/svg}"
EVERY: Mapping[Fate, int] = {name: n + 1 for n, name in enumerate(FATES)}
WEEKS: list[tuple[date, Mapping[Fate, int]]] = [
    (date(2026, 3, 2), EVERY),
    (date(2026, 3, 9), {}),
    (date(2026, 3, 16), {"asked": 21}),
]


def drawn(title: str = "A year") -> ET.Element:
    return ET.fromstring(bars.svg(WEEKS, title, "What it shows."))  # noqa: S314  our own text


def test_it_says_aloud_what_it_shows() -> None:
    root = drawn()
    assert root.get("role") == "img"
    ids = [one.get("id") for one in (root.find(f"{SVG}title"), root.find(f"{SVG}desc")) if one is not None]
    assert root.get("aria-labelledby") == " ".join(map(str, ids))
    weeks = [one.text for one in root.findall(f"{SVG}g/{SVG}title")]
    assert weeks[0] == (
        "02 Mar 2026: alone, helped 1, alone, false 2, alone, unknown 3, people asked 4, people told 5, held 6"
    )
    assert weeks[1:] == ["09 Mar 2026: nothing", "16 Mar 2026: people asked 21"]


def test_heights_are_counts_on_one_scale() -> None:
    bars_of = [one.findall(f"{SVG}rect") for one in drawn().findall(f"{SVG}g")]
    heights = [[float(str(one.get("height"))) for one in week] for week in bars_of]
    assert [round(one / heights[0][0]) for one in heights[0]] == [1, 2, 3, 4, 5, 6]
    assert abs(sum(heights[0]) - heights[2][0]) < 1


def test_text_from_outside_stays_text() -> None:
    root = drawn('<script>alert("1")</script>')
    assert root.find(f".//{SVG}script") is None
    assert root.findtext(f"{SVG}title") == '<script>alert("1")</script>'


def test_nothing_is_loaded_from_anywhere() -> None:
    text = bars.svg(WEEKS, "t", "s")
    assert text.count("http") == 1  # the namespace
    assert "url(#" in text


def test_nothing_at_all_is_an_empty_plot() -> None:
    assert ET.fromstring(bars.svg([], "t", "s")).findall(f"{SVG}g") == []  # noqa: S314  our own text
