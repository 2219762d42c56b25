"""A sender proves itself with a header, or does not."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.alerts.alertmanager import SOURCE, Alertmanager, AlertmanagerConfig
from bot.errors import SignatureInvalid

SECRETS = {"OLD": "old-token", "NEW": "new-tökén", "EMPTY": ""}


def source(**keys: Any) -> Alertmanager:
    return SOURCE(AlertmanagerConfig.model_validate(keys), SECRETS.get)


def basic(password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


ROTATING = source(tokens=[{"env": "OLD"}, {"env": "NEW"}])


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer old-token"},
        {"AUTHORIZATION": "bearer  new-tökén "},
        basic("old-token"),
        basic("new-tökén"),
    ],
)
def test_any_of_several_tokens_is_enough(headers: dict[str, str]) -> None:
    ROTATING.authenticate(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": "Bearer "}, {"Authorization": "old-token"},
        {"Authorization": "Bearer old-tokén"}, {"Authorization": "Bearer \udce9"}, {"Authorization": "Basic !!!"},
        {"Authorization": "Basic é"}, basic(""), basic("old-token "), {"Authorization": "Digest old-token"}, {"X-Token": "old-token"},
    ],
)  # fmt: skip
def test_anything_else_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(SignatureInvalid):
        ROTATING.authenticate(headers)


@given(st.text(st.characters(exclude_categories=()), max_size=40), st.sampled_from(["Bearer ", "Basic ", ""]))
def test_no_header_does_more_than_be_refused(text: str, scheme: str) -> None:
    with pytest.raises(SignatureInvalid):
        ROTATING.authenticate({"Authorization": scheme + text})


def test_a_header_of_ones_own_replaces_authorization() -> None:
    guarded = source(tokens=[{"env": "OLD"}], header="X-Token")
    guarded.authenticate({"x-token": "old-token"})
    with pytest.raises(SignatureInvalid):
        guarded.authenticate({"Authorization": "Bearer old-token"})


def test_a_token_can_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("filed\n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    guarded = source(tokens=[{"file": str(tmp_path / "bytes")}, {"file": str(tmp_path / "good")}])
    guarded.authenticate({"Authorization": "Bearer filed"})
    assert not source(tokens=[{"file": str(tmp_path / "bytes")}]).configured()
    assert not source(tokens=[{"file": str(tmp_path / "none")}]).configured()


def test_a_source_without_its_secret_is_not_configured() -> None:
    assert not source(tokens=[{"env": "MISSING"}, {"env": "EMPTY"}]).configured()
    assert source(tokens=[{"env": "MISSING"}, {"env": "OLD"}]).configured()
    assert source(insecure=True).configured()
    assert not source(insecure=True, tokens=[{"env": "MISSING"}]).configured()


def test_an_empty_secret_opens_nothing() -> None:
    for headers in ({}, {"Authorization": "Bearer "}, basic("")):
        with pytest.raises(SignatureInvalid):
            source(tokens=[{"env": "EMPTY"}]).authenticate(headers)


def test_taking_anybodys_word_has_to_be_said() -> None:
    source(insecure=True).authenticate({})
    with pytest.raises(ValidationError, match="has no tokens"):
        source()


@pytest.mark.parametrize("token", [{}, {"env": "A", "file": "b"}, {"environment": "A"}])
def test_a_token_is_in_one_place(token: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        source(tokens=[token])
