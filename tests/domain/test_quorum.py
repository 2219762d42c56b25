"""One place for one person, and one for one person's authority."""

from __future__ import annotations

from bot.domain import quorum
from bot.domain.roles import Place

TWO = (Place(role="sre", count=2),)


def test_places_are_named_one_by_one() -> None:
    assert quorum.slots((*TWO, Place(role="owner"))) == ["sre#0", "sre#1", "owner#0"]
    assert quorum.role_of("sre#1") == "sre"


def test_an_authority_fills_one_place_whoever_carries_it() -> None:
    lender, borrower = {"tom": {"sre"}}, {"bob": set[str](), "tom": {"sre"}}
    assert len(quorum.matched(TWO, {"tom": lender, "bob": borrower})) == 1
    assert quorum.matched((Place(role="sre"),), {"bob": borrower}) == {"sre#0": "bob"}


def test_an_authority_goes_to_whoever_makes_the_most_of_it() -> None:
    places = (Place(role="sre"), Place(role="owner"))
    both, borrower = {"tom": {"sre", "owner"}}, {"bob": {"owner"}, "tom": {"sre"}}
    assert set(quorum.matched(places, {"tom": both, "bob": borrower}).values()) == {"tom", "bob"}


def test_nobody_fills_nothing() -> None:
    assert quorum.matched(TWO, {}) == {}
    assert quorum.matched((), {"tom": {"tom": {"sre"}}}) == {}
