"""What a registry says for and against a version; what it does not say is a doubt, never fine."""

from __future__ import annotations

from typing import Any

import pytest

from bot.domain.registry import Registered, RegistryUse, Shelf, against, doubts, fits, tagged, trade_off

USE = RegistryUse(
    source="file", name="fraud", gates=("fairness",), inputs=("amount",), companions={"country_id": "transformer"}
)
GOOD: dict[str, Any] = {"digest": "aa" * 8, "inputs": ("amount",), "gates": {"fairness": True}, "scan": "clean"}


def shelf(**keys: Any) -> Shelf:
    return Shelf(versions={"41": Registered.model_validate({"version": "41", **GOOD, **keys})})


def said(served: str | None = "aa" * 8, moved: tuple[str, ...] = ("route",), **keys: Any) -> tuple[str, str] | None:
    return against("41", shelf(**keys), USE, served=served, moved=moved)


def test_nothing_speaks_against_a_version_that_is_what_it_was_and_passed() -> None:
    assert said() is None
    assert doubts("41", shelf(), USE, "aa" * 8) == []


@pytest.mark.parametrize(
    ("keys", "reason", "mend"),
    [
        (
            {"digest": "bb" * 8},
            "its artefact is bbbbbbbbbbbb now and was aaaaaaaaaaaa when it served",
            "Put the artefact back",
        ),
        ({"scan": "findings"}, "its scan has findings", "after they are closed"),
        ({"gates": {"fairness": False}}, "it failed fairness", "Let it pass"),
        ({"inputs": ("amount", "iban")}, "it needs iban, which requests do not bring", "No companion target makes it."),
        (
            {"inputs": ("amount", "country_id")},
            "it needs country_id, which requests do not bring",
            "Move transformer with it",
        ),
    ],
)
def test_what_speaks_against_it_names_what_would_clear_that(keys: Any, reason: str, mend: str) -> None:
    found = said(**keys)
    assert found is not None
    assert found[0] == reason
    assert mend in found[1]


def test_a_version_that_is_not_there_is_named_as_the_registry_would() -> None:
    found = against("40", shelf(), USE, served=None, moved=())
    assert found is not None
    assert found[0] == "not in the registry as fraud 40"


def test_a_companion_that_is_moved_too_clears_what_it_makes() -> None:
    keys: dict[str, Any] = {"inputs": ("amount", "country_id")}
    assert said(moved=("route", "transformer"), **keys) is None
    version = shelf(**keys).versions["41"]
    assert fits(version, USE, ("route", "transformer")) is True
    assert fits(version, USE, ("route",)) is False


def test_a_registry_that_cannot_tell_speaks_against_nothing_and_is_a_doubt() -> None:
    away = Shelf(reason="MLflow does not answer")
    assert against("41", away, USE, served=None, moved=()) is None
    assert doubts("41", away, USE, None) == ["The registry cannot tell about 41: MLflow does not answer."]


@pytest.mark.parametrize(
    ("keys", "served", "doubt"),
    [
        ({}, None, "Nobody can tell whether 41 is the artefact that served."),
        ({"digest": None}, "aa", "Nobody can tell whether 41 is the artefact that served."),
        ({"gates": {}}, "aa" * 8, "The registry does not say whether 41 passed fairness."),
        ({"inputs": None}, "aa" * 8, "The registry does not say what 41 needs of a request."),
    ],
)
def test_what_it_does_not_say_is_a_doubt(keys: Any, served: str | None, doubt: str) -> None:
    assert doubt in doubts("41", shelf(**keys), USE, served)
    assert fits(shelf(inputs=None).versions["41"], USE, ()) is None


def test_tags_choose_and_measures_are_compared() -> None:
    small = Registered(version="40", tags={"size": "small", "team": "a"}, metrics={"auc": 0.91, "cost": 1.0})
    large = Registered(version="42", tags={"size": "large"}, metrics={"auc": 0.94})
    both = Shelf(versions={"40": small, "42": large})
    assert tagged(both, {"size": "small"}) == {"40"}
    assert trade_off(large, small) == "auc 0.94 → 0.91"
    assert trade_off(None, small) == ""
