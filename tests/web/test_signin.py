"""Where a sign-in may be, and what the page shows of an incident."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.address import safe
from bot.clock import ManualClock
from bot.domain import entries as e
from bot.domain.incident import Incident
from bot.errors import ConfigError, Denied
from bot.web.confirm import Need, shown_of
from bot.web.idtoken import key_for
from bot.web.signin import Provider, SignIn
from tests.slack import stories


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com",
        "http://10.0.0.1",
        "http://169.254.169.254/",
        "http://127.0.0.1.evil.example",
        "ftp://x",
        "https://",
        "http://2130706433/",
    ],
)
def test_an_issuer_others_could_listen_in_on_is_refused_at_the_start(url: str) -> None:
    assert not safe(url)
    with pytest.raises(ConfigError, match=r"signin\.issuer: .* is not https"):
        SignIn(Provider(url, "lastgood", str), "https://lastgood.example.com", ManualClock())


@pytest.mark.parametrize(
    "url", ["https://login.example.com/realms/x", "http://localhost:8080", "http://127.0.0.1:9", "http://[::1]:9"]
)
def test_https_and_this_machine_are_taken(url: str) -> None:
    assert safe(url)
    assert SignIn(Provider(url, "lastgood", str), "https://lastgood.example.com", ManualClock()).issuer == url


def test_the_secret_is_in_no_repr() -> None:
    assert "hunter2" not in repr(Provider("https://x.example.com", "lastgood", lambda: "hunter2"))


def test_a_short_key_proves_nothing() -> None:
    public = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505  a key to refuse
    said = jwt.get_algorithm_by_name("RS256").to_jwk(public, as_dict=True)
    with pytest.raises(Denied, match=r"key has 1024 bits; I take 2048 and more"):
        key_for([said], "RS256", None)


def folded(*entries: e.Entry) -> Incident:
    return stories.incident(entries)


def test_the_page_shows_what_is_wrong_why_it_asks_and_which_places_are_open() -> None:
    shown = shown_of(folded(*stories.WAITING, stories.ANA))
    assert shown is not None
    assert (shown.model, shown.environment, shown.from_version, shown.to_version) == (
        "fraud-scorer",
        "prod",
        "42",
        "41",
    )
    assert (shown.plan, shown.waiting, shown.ask_reason) == (stories.PLAN.short, True, False)
    assert shown.wrong == 'Alertmanager says: "too many errors"'
    assert shown.why == "Rule prod-tier1: tier 1 in prod needs two people."
    assert [(one.filled, one.text.partition(" approved")[0]) for one in shown.needs] == [
        (True, "on-call SRE: <@U0ANA>"), (False, "model owner: open"),
    ]  # fmt: skip
    assert isinstance(shown.needs[0], Need)


def test_what_is_rolling_waits_no_more_and_what_has_no_plan_shows_nothing() -> None:
    cleared = shown_of(folded(*stories.CLEARED))
    assert cleared is not None
    assert not cleared.waiting
    assert shown_of(folded(stories.opened())) is None
