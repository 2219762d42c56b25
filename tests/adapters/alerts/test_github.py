"""What GitHub says about deployments."""

from __future__ import annotations

import json

import pytest

from adapters.alerts.github import NotADeployment
from bot.clock import START
from bot.domain.alert import Kind, Severity
from bot.errors import SignatureInvalid
from tests.adapters.alerts.senders import BEGAN, DEPLOYED, SENDERS

SENDER = SENDERS["github"]


def test_a_deployment_is_a_change() -> None:
    found = SENDER.read()
    assert (found.kind, found.status, found.severity) == (Kind.CHANGE, "update", Severity.INFO)
    assert (found.fingerprint, found.environment, found.starts_at) == ("github:deployment:501", "prod", BEGAN)
    assert found.labels == {"repo": "acme/scorer", "sha": "c0ffee", "state": "success", "ref": "main"}


@pytest.mark.parametrize("state", ["failure", "error"])
def test_one_that_failed_is_an_error(state: str) -> None:
    assert SENDER.read({**DEPLOYED, "deployment_status": {"state": state}}).severity is Severity.ERROR


def test_its_payload_may_be_written_as_text() -> None:
    deployment = {**DEPLOYED["deployment"], "payload": json.dumps({"model": "ranker", "model_version": "3"})}
    found = SENDER.read({**DEPLOYED, "deployment": deployment})
    assert (found.model, found.version) == ("ranker", "3")
    assert SENDER.read({**DEPLOYED, "deployment": {**deployment, "payload": "{"}}).model is None


@pytest.mark.parametrize(("kind", "outcome"), [("ping", "ping"), ("push", "ignored")])
def test_other_events_are_left_alone(kind: str, outcome: str) -> None:
    assert SENDER.parse({}, headers={"X-GitHub-Event": kind}).outcome == outcome


def test_a_body_without_a_deployment_is_refused() -> None:
    with pytest.raises(NotADeployment):
        SENDER.parse({"deployment": {}})


def test_the_older_signature_is_not_looked_at() -> None:
    body = SENDER.body()
    with pytest.raises(SignatureInvalid):
        SENDER.source().verify({"X-Hub-Signature": f"sha1={'a' * 40}"}, body, START)


@pytest.mark.parametrize(
    ("creator", "payload", "by"),
    [
        ({"login": "mika-lind", "type": "User"}, {}, "mika-lind"),
        ({"login": "deploy[bot]", "type": "Bot"}, {}, None),
        ({"login": "deploy[bot]", "type": "Bot"}, {"deployer": "mika@example.com"}, "mika@example.com"),
        ({"login": "mika-lind", "type": "User"}, {"deployed_by": "tom"}, "tom"),
        ({"type": "User"}, {}, None),
        (None, {}, None),
    ],
    ids=["a person", "a bot", "a bot for a person", "a person for another", "no name", "nobody"],
)
def test_whoever_made_it_is_named_and_a_bot_is_nobody(creator: object, payload: dict[str, str], by: str | None) -> None:
    deployment = {**DEPLOYED["deployment"], "creator": creator, "payload": {"model": "ranker", **payload}}
    assert SENDER.read({**DEPLOYED, "deployment": deployment}).by == by
