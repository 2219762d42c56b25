"""A seal gives back what it was given, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import ManualClock
from bot.errors import Expired
from bot.web.sealed import Forged, Seal

NOW = ManualClock().now()
SEAL = Seal(Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHER = Seal(Ed25519PrivateKey.from_private_bytes(bytes([1] * 32)))
CONTENT = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    max_size=4,
)


@given(CONTENT, st.integers(1, 10_000))
def test_what_was_sealed_comes_back_with_its_end(content: dict[str, str], seconds: int) -> None:
    until = NOW + timedelta(seconds=seconds)
    assert SEAL.open("link", SEAL.close("link", content, until), NOW) == (content, until)


@given(CONTENT, st.data())
def test_one_character_changed_anywhere_is_forged(content: dict[str, str], data: st.DataObject) -> None:
    sealed = SEAL.close("link", content, NOW + timedelta(minutes=5))
    place = data.draw(st.integers(0, len(sealed) - 1))
    put = data.draw(st.characters().filter(lambda one: one != sealed[place]))
    with pytest.raises(Forged):
        SEAL.open("link", sealed[:place] + put + sealed[place + 1 :], NOW)


@given(st.text(max_size=300))
def test_whatever_somebody_makes_up_is_forged(text: str) -> None:
    with pytest.raises(Forged):
        SEAL.open("link", text, NOW)


def test_a_seal_of_another_kind_or_key_is_forged() -> None:
    sealed = SEAL.close("link", {"a": "b"}, NOW + timedelta(minutes=5))
    for seal, kind in ((SEAL, "who"), (OTHER, "link")):
        with pytest.raises(Forged):
            seal.open(kind, sealed, NOW)


def test_it_is_over_at_its_end_and_not_before() -> None:
    sealed = SEAL.close("link", {}, NOW + timedelta(seconds=300))
    SEAL.open("link", sealed, NOW + timedelta(seconds=299))
    with pytest.raises(Expired, match=r"ended at 02:17 UTC"):
        SEAL.open("link", sealed, NOW + timedelta(seconds=300))


def test_a_secret_belongs_to_one_kind_and_one_text() -> None:
    secret = SEAL.derive("form", "cookie")
    assert len(secret) == 43  # enough and not too much for a PKCE verifier (RFC 7636, section 4.1)
    assert SEAL.fits("form", "cookie", secret)
    others = (SEAL.derive("form", "cookie2"), SEAL.derive("nonce", "cookie"), OTHER.derive("form", "cookie"), "")
    assert not any(SEAL.fits("form", "cookie", one) for one in others)


def test_nothing_of_the_key_is_shown() -> None:
    assert repr(SEAL) == "Seal(…)"
