"""A version or a cohort is put into an SLI's settings, into its place and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.sli_query import asks, filled

QUERY = {"errors": 'p{code="500",version="{version}"}', "deep": [{"by": "{cohort}"}], "n": 3}
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.:+@/-]{0,20}", fullmatch=True)


def test_only_the_tokens_are_filled_and_a_selectors_own_braces_stay() -> None:
    assert filled(QUERY, version="41", cohort="eu") == {
        "errors": 'p{code="500",version="41"}', "deep": [{"by": "eu"}], "n": 3,
    }  # fmt: skip
    assert filled(QUERY, version="41")["deep"] == [{"by": "{cohort}"}]


def test_what_is_asked_for_is_found_however_deep() -> None:
    assert (asks(QUERY, "version"), asks(QUERY, "cohort"), asks({"q": "sum(x{a=1})"}, "version")) == (True, True, False)


@pytest.mark.parametrize("name", ['4"', "4'", "4\\", "4\n", "4}", "{version}", "", " 4", "x" * 200])
def test_a_name_that_could_leave_its_label_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be put into a query"):
        filled(QUERY, version=name)


@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.text() | st.integers() | st.none(), st.lists, max_leaves=8)),
    NAMES, NAMES,
)  # fmt: skip
def test_nothing_else_changes(settings: dict[str, Any], version: str, cohort: str) -> None:
    made = filled(settings, version=version, cohort=cohort)
    expected = repr(settings).replace("{version}", version).replace("{cohort}", cohort)
    assert repr(made) == expected
    assert not asks(made, "version")
