"""A signature proves one act of one person on one plan, while their sign-in lasted, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import START
from bot.domain import entries as e
from bot.domain import proof
from bot.domain.orders import LOGINS

TWELVE = timedelta(hours=12)


def history(*entries: tuple[timedelta, e.Entry]) -> Sequence[e.Recorded]:
    return [
        e.Recorded(n, LOGINS, n, n, START + at, entry, "", "") for n, (at, entry) in enumerate(entries, 1)
    ]  # fmt: skip


KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PUBLIC = KEY.public_key().public_bytes_raw().hex()
GRANTED = e.LoginGranted(key=PUBLIC, person="U0ANA", until=START + TWELVE, via="slack", host="ana@build")


def signed(nonce: str = "0f" * 16) -> dict[str, str]:
    return proof.request(KEY, "ana@build", SUBJECT, nonce)


SUBJECT = proof.act_on("approve", "01KAQ3H2S0M4V8B6T9C17Q4RD0", "ab" * 32)
HOUR = timedelta(hours=1)


def test_a_signature_proves_the_act_of_the_person_who_let_the_key_act() -> None:
    known = history((timedelta(0), GRANTED))
    assert proof.proven(signed(), SUBJECT, "U0ANA", START + HOUR, known)


@pytest.mark.parametrize(
    ("person", "at", "subject"),
    [
        ("U0TOM", HOUR, SUBJECT),
        ("U0ANA", TWELVE, SUBJECT),
        ("U0ANA", -HOUR, SUBJECT),
        ("U0ANA", HOUR, {**SUBJECT, "act": "reject"}),
        ("U0ANA", HOUR, {**SUBJECT, "plan": "cd" * 32}),
        ("U0ANA", HOUR, {**SUBJECT, "incident": "01KAQ3H2S0M4V8B6T9C18Q4RD0"}),
    ],
)
def test_a_signature_proves_nothing_else(person: str, at: timedelta, subject: proof.Subject) -> None:
    known = history((timedelta(0), GRANTED))
    assert not proof.proven(signed(), subject, person, START + at, known)


def test_a_key_that_signed_out_proves_nothing_from_then_on() -> None:
    out = e.LoginEnded(key=PUBLIC, person="U0ANA")
    known = history((timedelta(0), GRANTED), (2 * HOUR, out))
    request = signed()
    assert proof.proven(request, SUBJECT, "U0ANA", START + HOUR, known)
    assert not proof.proven(request, SUBJECT, "U0ANA", START + 3 * HOUR, known)


@given(part=st.sampled_from(["signature", "nonce", "key"]), text=st.text(alphabet="0123456789abcdef", max_size=130))
def test_nothing_but_the_signature_itself_passes(part: str, text: str) -> None:
    request = signed()
    known = history((timedelta(0), GRANTED))
    assert proof.proven({**request, part: text}, SUBJECT, "U0ANA", START + HOUR, known) == (request[part] == text)


def test_what_travels_with_an_act_names_the_terminal_and_never_the_key_itself() -> None:
    sent = signed()
    assert (sent["terminal"], sent["key"], sent["nonce"]) == ("ana@build", PUBLIC[:16], "0f" * 16)
    assert KEY.private_bytes_raw().hex() not in str(sent)
