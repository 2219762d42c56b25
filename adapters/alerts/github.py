"""GitHub's deployment and deployment_status webhooks: somebody shipped a version, or tried to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel

from adapters.alerts._sender import Signed, delivery, header
from bot.domain import credential, extract
from bot.domain.alert import DEPLOYER, Alert, Kind, Parsed, RawRequest, Severity
from bot.errors import NotJson, PayloadInvalid

_FAILED = frozenset({"failure", "error"})


class NotADeployment(PayloadInvalid):
    """The body has no deployment; subscribe the webhook to deployments and deployment statuses, as JSON."""

    reason = "not_a_github_deployment"


class GithubConfig(credential.SignedConfig):
    """The webhook's secret; `environment` is taken when a deployment names none that is known here."""


class Github(Signed):
    """Reads one deployment. It is never an alert: the ledger keeps it. The deployment's payload names `model` and `version`."""

    name: ClassVar[str] = "github"
    Config: ClassVar[type[BaseModel]] = GithubConfig
    reads: ClassVar[tuple[str, ...]] = ("x-github-event",)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Check `sha256=HEX`; the older SHA-1 signature is not looked at."""
        del now
        given = header(headers, "X-Hub-Signature-256").strip()
        versions = [given.removeprefix("sha256=")] if given.startswith("sha256=") else []
        credential.signed(self.config, self._secret, versions, credential.hexadecimal(body))

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Take the delivery's id."""
        del body
        return delivery(headers, "X-GitHub-Delivery")

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the deployment; other events are left alone."""
        found = extract.json_value(raw.body)
        event = header(raw.headers, "X-GitHub-Event")
        if event == "ping":
            return Parsed(outcome="ping")
        if event not in ("", "deployment", "deployment_status"):
            return Parsed(outcome="ignored")
        one = extract.inside(found, "deployment")
        if not isinstance(one, dict) or not extract.word(one.get("id")):
            raise NotADeployment
        return Parsed(alerts=(_change(found, one, raw),))


def _payload(found: Any) -> dict[str, Any]:
    """Read what the deployment carries: an object, or one written as text."""
    if isinstance(found, str):
        try:
            found = extract.json_value(found.encode(errors="replace"))
        except NotJson:
            return {}
    return extract.table(found)


def _by(deployment: Mapping[str, Any], payload: Mapping[str, str]) -> str:
    """Give who the payload says deployed it, else the person who made the deployment; a bot is nobody."""
    creator = extract.table(deployment.get("creator"))
    person = extract.word(creator.get("login")) if creator.get("type") != "Bot" else ""
    return extract.first(payload, DEPLOYER) or person


def _change(found: dict[str, Any], one: dict[str, Any], raw: RawRequest) -> Alert:
    status = extract.table(found.get("deployment_status"))
    state = extract.word(status.get("state")) or "created"
    starts, _, flags = extract.times(status.get("created_at") or one.get("created_at"), None, raw.received_at)
    payload = extract.kept_texts(_payload(one.get("payload")))
    place = extract.named(payload)
    labels = {
        "repo": extract.word(extract.inside(found, "repository", "full_name")), "sha": extract.word(one.get("sha")),
        "state": state, "ref": extract.word(one.get("ref")),
    }  # fmt: skip
    summary = extract.word(status.get("description")) or extract.word(one.get("description")) or f"Deployment {state}"
    return Alert.model_validate({
        "source": Github.name, "kind": Kind.CHANGE,
        "fingerprint": extract.fingerprint(Github.name, f"deployment:{extract.word(one.get('id'))}"), "status": "update",
        "severity": Severity.ERROR if state in _FAILED else Severity.INFO, **place,
        "environment": place["environment"] or extract.word(status.get("environment")) or extract.word(one.get("environment")) or None,
        "starts_at": starts, "summary": summary, "labels": {name: text for name, text in labels.items() if text},
        "annotations": {"summary": summary}, "extra": {"by": by} if (by := _by(one, payload)) else {},
        "links": extract.links((("source", status.get("log_url") or status.get("target_url")),)),
        "raw": {"id": raw.id, "pointer": "/deployment"}, "flags": frozenset(flags),
    })  # fmt: skip


SOURCE = Github
