"""What is read of a site's timeline: whose acts in a terminal were signed by it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot import reading
from bot.domain import entries as e
from bot.domain import orders, proof
from bot.domain.incident import fold
from bot.domain.orders import LOGINS, SWITCH
from tests.slack.stories import GLASS, NAMES, PLAN, ULID, WAITING, recorded

KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)


def shown(did: e.Entry) -> str:
    rows = recorded((*WAITING, did))
    granted = e.LoginGranted(
        key=KEY.public_key().public_bytes_raw().hex(), person="U0ANA", until=rows[-1].at + timedelta(hours=1), via="slack", host="ana@build",
    )  # fmt: skip
    login = e.Recorded(0, LOGINS, 1, 1, rows[0].at - timedelta(minutes=1), granted, "", "")
    return words(
        reading.shown(
            reading.Seen(fold(rows), rows, lambda user: NAMES.get(user, user), orders.fold(SWITCH, []), [login], rows[-1].at)
        )
    )  # fmt: skip


def words(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())


def signed(act: str, plan: str = PLAN.id) -> dict[str, str]:
    return proof.request(KEY, "ana@build", proof.act_on(act, ULID, plan), "00")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (signed("break_glass"), " on ana@build, signature holds"),
        (signed("approve"), " on ana@build, signature DOES NOT HOLD"),
        (signed("break_glass", "0" * 64), " on ana@build, signature DOES NOT HOLD"),
        ({}, " on a terminal, signature DOES NOT HOLD"),
    ],
)
def test_glass_broken_in_a_terminal_says_whether_its_signature_holds(request_: dict[str, str], said: str) -> None:
    told = shown(GLASS.but(via="terminal", plan=PLAN.id, request=request_))
    assert "glass Ana Ruiz (commander) " in told
    assert said in told


def test_glass_broken_on_the_card_needs_no_signature_of_a_terminal() -> None:
    assert "signature" not in shown(GLASS.but(via="slack", plan=PLAN.id))


@pytest.mark.parametrize(("act", "said"), [("approve", "holds"), ("break_glass", "DOES NOT HOLD")])
def test_a_vote_of_a_terminal_is_held_to_what_it_carried(act: str, said: str) -> None:
    vote = e.ApprovalGiven(
        person="U0ANA", role="on-call SRE", plan=PLAN.id, card_version=3, via="terminal", request=signed(act)
    )
    assert f"on ana@build, signature {said}" in shown(vote)
