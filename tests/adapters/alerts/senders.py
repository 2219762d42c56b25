"""One honest message of each sender, and how that sender proves itself: written here, in the shapes the senders document."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from adapters import loading
from bot.clock import START
from bot.domain.alert import Alert, Parsed, RawRequest
from bot.ports import AlertSource

SECRET, OLD = "s3cret-of-today", "s3cret-of-yesterday"
PLACES = {"NEW": SECRET, "OLD": OLD}
TOPIC = "arn:aws:sns:eu-central-1:111122223333:models"
CERTIFICATE = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-5f1e0c9b7a3d42688c1d9e7f60b2a4c3.pem"
BEGAN = START - timedelta(minutes=4)
Headers = dict[str, str]


def _mac(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def _bearer(body: bytes, secret: str, at: datetime) -> Headers:
    del body, at
    return {"Authorization": f"Bearer {secret}"}


def _pagerduty(body: bytes, secret: str, at: datetime) -> Headers:
    del at
    return {"X-PagerDuty-Signature": f"v1={'0' * 64}, v1={_mac(secret, body)}", "X-Webhook-Id": "wh-1"}


def _grafana(body: bytes, secret: str, at: datetime) -> Headers:
    stamp = str(int(at.timestamp()))
    made = _mac(secret, stamp.encode() + b":" + body)
    return {"X-Grafana-Alerting-Timestamp": stamp, "X-Grafana-Alerting-Signature": made}


def _sentry(body: bytes, secret: str, at: datetime) -> Headers:
    del at
    return {"Sentry-Hook-Signature": _mac(secret, body), "Sentry-Hook-Resource": "metric_alert", "Request-ID": "r-1"}


def _mlflow(body: bytes, secret: str, at: datetime) -> Headers:
    name, stamp = "9d0f4a", str(int(at.timestamp()))
    made = hmac.new(secret.encode(), f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(made).decode()}"
    return {"X-MLflow-Delivery-Id": name, "X-MLflow-Timestamp": stamp, "X-MLflow-Signature": signature}


def _github(body: bytes, secret: str, at: datetime) -> Headers:
    del at
    signature = f"sha256={_mac(secret, body)}"
    return {"X-Hub-Signature-256": signature, "X-GitHub-Event": "deployment_status", "X-GitHub-Delivery": "d-1"}


def _cloudevents(body: bytes, secret: str, at: datetime) -> Headers:
    return {**_bearer(body, secret, at), "Content-Type": "application/cloudevents+json"}


class Amazon:
    """A key and a certificate like Amazon's, made when they are first needed."""

    def __init__(self) -> None:
        self._key: rsa.RSAPrivateKey | None = None

    @property
    def key(self) -> rsa.RSAPrivateKey:
        self._key = self._key or rsa.generate_private_key(65537, 2048)
        return self._key

    def certificate(self, since: datetime, until: datetime) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        made = x509.CertificateBuilder(name, name, self.key.public_key(), x509.random_serial_number(), since, until)
        return made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def signed(self, message: Mapping[str, str]) -> dict[str, str]:
        names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
        if message["Type"] != "Notification":
            names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        canonical = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
        algorithm = hashes.SHA256() if message["SignatureVersion"] == "2" else hashes.SHA1()  # noqa: S303  version 1 of SNS
        signature = self.key.sign(canonical.encode(), padding.PKCS1v15(), algorithm)
        return {**message, "Signature": base64.b64encode(signature).decode()}


AMAZON = Amazon()


def notice(inner: Any, **changes: str) -> dict[str, str]:
    """One notification of Amazon SNS around a message."""
    return AMAZON.signed({
        "Type": "Notification", "MessageId": "m-1", "TopicArn": TOPIC, "SignatureVersion": "2", "SigningCertURL": CERTIFICATE,
        "Message": inner if isinstance(inner, str) else json.dumps(inner), "Timestamp": "2026-11-23T02:09:00.000Z", **changes,
    })  # fmt: skip


def alarm(**changes: Any) -> dict[str, Any]:
    """One CloudWatch alarm."""
    return {
        "AlarmName": "scorer 5xx", "AlarmDescription": "more than 1 in 100", "NewStateValue": "ALARM", "OldStateValue": "OK",
        "AlarmArn": "arn:aws:cloudwatch:eu-central-1:111122223333:alarm:scorer-5xx",
        "NewStateReason": "Threshold Crossed: 1 datapoint [0.23 (23/11/26 02:05:00)] was greater than the threshold (0.01).",
        "StateChangeTime": BEGAN.strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
        "Trigger": {
            "MetricName": "Invocation5XXErrors", "Threshold": 0.01,
            "Dimensions": [{"name": "EndpointName", "value": "fraud-scorer"}, {"name": "VariantName", "value": "42"}],
        }, **changes,
    }  # fmt: skip


ISO = BEGAN.isoformat().replace("+00:00", "Z")
MILLIS = int(BEGAN.timestamp() * 1000)
LABELS = {
    "alertname": "Errors",
    "model": "fraud-scorer",
    "version": "42",
    "env": "prod",
    "sli": "error_ratio",
    "severity": "page",
}
GROUP: dict[str, Any] = {
    "status": "firing", "groupKey": '{}:{model="fraud-scorer"}', "truncatedAlerts": 0,
    "alerts": [{
        "status": "firing", "labels": LABELS, "annotations": {"summary": "12 % fail", "threshold": "1%"}, "fingerprint": "aa01",
        "startsAt": ISO, "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "https://graphs.example.com/1",
    }],
}  # fmt: skip
PANEL: dict[str, Any] = {
    **GROUP, "orgId": 1,
    "alerts": [{
        **GROUP["alerts"][0], "values": {"A": 0.12, "C": 1}, "silenceURL": "https://graphs.example.com/silence",
        "dashboardURL": "https://graphs.example.com/d/1", "panelURL": "https://graphs.example.com/d/1?viewPanel=2",
    }],
}  # fmt: skip
PLAIN: dict[str, Any] = {
    "model": "fraud-scorer", "version": "42", "environment": "prod", "sli": "error_ratio", "status": "firing", "severity": "page",
    "value": 0.12, "threshold": 0.01, "starts_at": ISO, "fingerprint": "one", "summary": "12 % fail", "labels": {"team": "risk"},
}  # fmt: skip
EVENT: dict[str, Any] = {
    "specversion": "1.0", "id": "e-1", "source": "/watch/drift", "type": "com.example.drift", "subject": "fraud-scorer/psi",
    "time": ISO, "data": {key: value for key, value in PLAIN.items() if key not in ("starts_at", "fingerprint")},
}  # fmt: skip
INCIDENT: dict[str, Any] = {
    "id": "Q7INCIDENT", "type": "incident", "html_url": "https://acme.pagerduty.com/incidents/Q7INCIDENT", "status": "triggered",
    "incident_key": hashlib.sha256(GROUP["groupKey"].encode()).hexdigest(), "created_at": ISO, "title": "scorer fails",
    "service": {"id": "PSCORER", "summary": "Scoring"}, "priority": {"summary": "P1"}, "urgency": "high", "resolve_reason": None,
}  # fmt: skip


def event(kind: str = "incident.triggered", data: Any = INCIDENT, **changes: Any) -> dict[str, Any]:
    """One V3 event of PagerDuty."""
    agent = {"id": "PDANA", "summary": "Dana Oncall"}
    return {
        "event": {"id": f"01{kind}", "event_type": kind, "occurred_at": ISO, "agent": agent, "data": data, **changes}
    }


MONITOR: dict[str, Any] = {
    "alert_id": "77", "aggreg_key": "k1", "transition": "Triggered", "alert_type": "error", "priority": "P1", "title": "scorer fails",
    "body": "12 %", "date": MILLIS, "last_updated": MILLIS, "tags": "env:prod, model:fraud-scorer, version:42, alone",
    "metric": "ml.errors", "value": "0.12", "threshold": "0.01", "link": "https://dd.example.com/e/1", "snapshot": "javascript:1",
}  # fmt: skip
ACTION: dict[str, Any] = {
    "action": "Create",
    "alert": {
        "alertId": "o-1", "alias": "scorer|errors", "message": "scorer fails", "createdAt": MILLIS, "priority": "P2",
        "details": {"model": "fraud-scorer", "version": "42", "env": "prod", "sli": "error_ratio", "value": "12%"},
    },
}  # fmt: skip
METRIC: dict[str, Any] = {
    "action": "critical",
    "data": {
        "description_title": "Critical: scorer", "description_text": "412 events", "web_url": "https://sentry.example.com/1",
        "metric_alert": {
            "organization_id": "3", "projects": ["scoring"], "date_started": ISO, "date_closed": None,
            "alert_rule": {
                "id": "9", "aggregate": "count()", "environment": "prod", "query": "level:error model:fraud-scorer version:42 !host:x",
                "triggers": [{"label": "warning", "alert_threshold": 50}, {"label": "critical", "alert_threshold": 100}],
            },
        },
    },
}  # fmt: skip
ALIAS: dict[str, Any] = {
    "entity": "model_version_alias", "action": "created", "timestamp": ISO,
    "data": {"name": "fraud-scorer", "alias": "champion", "version": "42"},
}  # fmt: skip
DEPLOYED: dict[str, Any] = {
    "action": "created", "deployment_status": {"state": "success", "created_at": ISO, "log_url": "https://ci.example.com/1"},
    "deployment": {
        "id": 501, "sha": "c0ffee", "ref": "main", "environment": "prod", "created_at": ISO,
        "payload": {"model": "fraud-scorer", "version": "42"},
    },
    "repository": {"full_name": "acme/scorer"},
}  # fmt: skip
ROLLOUT: dict[str, Any] = {
    "trigger": "on-rollout-aborted", "rollout": "scorer", "namespace": "ml", "cluster": "c1", "phase": "Degraded", "time": ISO,
    "message": "analysis failed", "url": "https://argo.example.com/1",
    "labels": {"model": "fraud-scorer", "version": "42", "env": "prod"},
}  # fmt: skip
SHELL: dict[str, Any] = {
    "uuid": "f-1", "output": "a shell was spawned", "priority": "Critical", "rule": "Shell in container", "time": ISO, "tags": ["shell"],
    "output_fields": {
        "k8s.ns.name": "ml", "k8s.pod.name": "scorer-6d5f7c9b4d-x2x4z", "container.image.repository": "registry.example.com/scorer",
        "k8s.pod.label.model": "fraud-scorer", "k8s.pod.label.version": "42",
    },
}  # fmt: skip
FINDING: dict[str, Any] = {
    "class_uid": 2004, "category_uid": 2, "activity_id": 1, "severity_id": 5, "status_id": 1, "time": MILLIS,
    "finding_info": {"uid": "w-1", "title": "weights changed", "desc": "the digest differs"},
    "metadata": {"uid": "e-1", "product": {"name": "Scan"}}, "unmapped": {"model": "fraud-scorer", "version": "42"},
}  # fmt: skip
LINE = (
    "CEF:0|Acme|Guard|1|burst|Odd \\| input|9|rt="
    + str(MILLIS)
    + " dhost=scorer cs1Label=model cs1=fraud-scorer cs2Label=version cs2=42 msg=twelve times more"
)


@dataclass(frozen=True)
class Sender:
    """How one sender is configured, what it sends, and how it proves that it is itself."""

    name: str
    sample: Any
    prove: Callable[[bytes, str, datetime], Headers] = _bearer
    keys: Mapping[str, Any] = field(default_factory=dict)
    signs: bool = False

    def source(self, **changes: Any) -> Any:
        """Build the source with today's secret and yesterday's, as in a rotation."""
        list_ = "secrets" if self.signs else "tokens"
        own = {} if self.name == "sns" else {list_: [{"env": "NEW"}, {"env": "OLD"}]}
        kind = loading.load("alerts", self.name)
        return kind(kind.Config.model_validate({**own, **self.keys, **changes}), PLACES.get)

    def body(self, sample: Any = None) -> bytes:
        """Give the bytes of a message."""
        found = self.sample if sample is None else sample
        return found if isinstance(found, bytes) else found.encode() if isinstance(found, str) else orjson.dumps(found)

    def headers(self, body: bytes, secret: str = SECRET, at: datetime = START) -> Headers:
        """Give the headers that prove a body."""
        kind = "application/json" if self.name != "cef" else "text/plain"
        return {"Content-Type": kind, **self.prove(body, secret, at)}

    def parse(self, sample: Any = None, *, headers: Headers | None = None, **changes: Any) -> Parsed:
        """Read a message that was proved."""
        body, source = self.body(sample), self.source(**changes)
        given = {**self.headers(body), **(headers or {})}
        raw = RawRequest(
            id="01X", source=self.name, received_at=START, body=body, headers=given, delivery_id=source.delivery_id(given, body)
        )  # fmt: skip
        found = source.parse(raw)
        assert isinstance(found, Parsed)
        return found

    def read(self, sample: Any = None, **keys: Any) -> Alert:
        """Give the only alert of a message."""
        (found,) = self.parse(sample, **keys).alerts
        return found


def _nobody(body: bytes, secret: str, at: datetime) -> Headers:
    """Amazon proves itself in the body."""
    del body, secret, at
    return {"x-amz-sns-message-type": "Notification"}


def sns(folder: Path) -> Sender:
    """Amazon SNS, whose certificate is a file in `folder`."""
    file = folder / "amazon.pem"
    if not file.exists():
        file.write_bytes(AMAZON.certificate(datetime(2026, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)))
    keys = {"topics": [TOPIC], "certificates": [{"url": CERTIFICATE, "file": str(file)}]}
    return Sender("sns", notice(alarm()), _nobody, keys)


SENDERS = {
    one.name: one
    for one in (
        Sender("alertmanager", GROUP), Sender("generic", PLAIN), Sender("datadog", MONITOR), Sender("opsgenie", ACTION),
        Sender("argo", ROLLOUT), Sender("falco", SHELL), Sender("ocsf", FINDING), Sender("cef", LINE),
        Sender("cloudevents", EVENT, _cloudevents), Sender("grafana", PANEL, _grafana, signs=True),
        Sender("pagerduty", event(), _pagerduty, signs=True), Sender("sentry", METRIC, _sentry, signs=True),
        Sender("mlflow", ALIAS, _mlflow, signs=True), Sender("github", DEPLOYED, _github, signs=True),
    )
}  # fmt: skip


def is_source(found: object) -> bool:
    """Say whether something keeps the port."""
    return isinstance(found, AlertSource)
