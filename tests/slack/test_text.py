from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import START
from bot.domain import words
from bot.slack.text import code, cut, escape, sentence

PIECE = re.compile(r"&(?:amp|lt|gt);|<[^<>]*>|[^&<>]", re.DOTALL)
MARKED = st.lists(st.sampled_from(["&amp;", "&lt;", "<@U0ANA>", words.moment(START), "a", " ", ";", "|"])).map("".join)


@given(MARKED, st.integers(40, 200))
def test_a_cut_never_falls_inside_an_entity_or_a_token(text: str, limit: int) -> None:
    kept = cut(text, limit)
    assert len(kept) <= max(limit, 40)
    assert PIECE.sub("", kept) == ""
    if len(text) > limit:
        shown, left = re.fullmatch(r"(.*) … \(\+(\d+) more\)", kept, re.DOTALL).groups()  # type: ignore[union-attr]  # it was cut
        assert len(shown) + int(left) == len(text)


@given(st.text())
def test_escaped_text_holds_no_markup(text: str) -> None:
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", escape(text))


def test_people_and_times_of_ours_stay_tokens() -> None:
    ours = f"{words.person('U0ANA')} approved at {words.moment(START)}; 42 → 41 & done."
    assert sentence(ours) == f"<@U0ANA> approved at {words.moment(START)}; 42 → 41 &amp; done."


@pytest.mark.parametrize(
    "foreign",
    [
        "<!channel>",
        "<!here|here>",
        "<http://evil|Approve>",
        "<!date^1^{time}^http://evil|03:00 UTC>",
        "<@u0ana>",
        "<!subteam^S1>",
    ],
)
def test_other_tokens_are_text(foreign: str) -> None:
    assert "<" not in sentence(f"Envoy says {foreign}.")


def test_text_written_as_entities_does_not_become_a_token() -> None:
    assert sentence("&lt;@U0ANA&gt;") == "&amp;lt;@U0ANA&amp;gt;"


def test_a_code_span_cannot_be_left() -> None:
    assert code("a`b`").count("`") == 2


def test_direction_characters_are_dropped() -> None:
    assert sentence("a\u202eb\x07c") == "abc"
