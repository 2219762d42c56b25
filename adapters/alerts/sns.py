"""Amazon SNS over HTTPS: CloudWatch alarms and SageMaker Model Monitor events, signed with Amazon's certificate."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import BaseModel, model_validator

from adapters.alerts._sender import header
from adapters.alerts._sns import Confirms, fetched
from bot.domain import credential, extract
from bot.domain.alert import Alert, Kind, Parsed, RawRequest, Rejection, Severity
from bot.domain.duration import Positive
from bot.domain.value import Value
from bot.errors import NotAllowed, NotJson, PayloadInvalid, SignatureInvalid, Unavailable
from bot.ports import Context

_HOST = r"https://sns\.[a-z0-9-]{3,30}\.amazonaws\.com(?:\.cn)?/"
CERTIFICATE = re.compile(_HOST + r"SimpleNotificationService-[0-9a-f]{8,64}\.pem")
SUBSCRIBE = re.compile(_HOST + r"\?Action=ConfirmSubscription&[A-Za-z0-9._~:/%&=+-]{1,4000}")
CERTIFICATES = 16  # kept at hand; Amazon uses one per region and changes it once a year
# The signed members in their order (docs.aws.amazon.com/sns, "Verifying the signatures of Amazon SNS messages").
_NOTICE = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_ASKING = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_STATE = {"ALARM": "firing", "OK": "resolved", "INSUFFICIENT_DATA": "update"}
_MONITOR = {"CompletedWithViolations": "firing", "Completed": "resolved", "Failed": "update"}
_POINT = re.compile(r"\[\s*([-+0-9.eE]{1,40})\s*\(")


class BadCertificate(NotAllowed):
    """The certificate's address is not one of Amazon SNS."""

    reason = "bad_cert_url"


class BadTopic(NotAllowed):
    """The topic is not among `topics`."""

    reason = "topic_not_allowed"


class BadSubscription(NotAllowed):
    """The address to confirm at is not one of Amazon SNS."""

    reason = "bad_subscribe_url"


class NotAMessage(PayloadInvalid):
    """The body is not a message of Amazon SNS; raw message delivery must be off."""

    reason = "not_an_sns_message"


class Kept(Value):
    """A file that stands for a certificate's address, where Amazon cannot be reached."""

    url: str
    file: str


class SnsConfig(Value):
    """The topics messages are taken from; `certificates` are files in place of certificate addresses.

    `environment` is taken when an alarm names none.
    """

    topics: tuple[str, ...] = ()
    certificates: tuple[Kept, ...] = ()
    environment: str | None = None
    heartbeat: Positive | None = None  # something must come within this time, else the sender is said to be quiet

    @model_validator(mode="after")
    def _has_topics(self) -> SnsConfig:
        if not self.topics:
            raise ValueError("has no topics; give `topics: [ARN]`, the topics whose messages are taken")
        return self


class Sns:
    """Reads one notification; a subscription that is asked for is confirmed."""

    name: ClassVar[str] = "sns"
    Config: ClassVar[type[BaseModel]] = SnsConfig
    methods: ClassVar[frozenset[str]] = frozenset({"POST"})
    reads: ClassVar[tuple[str, ...]] = ("x-amz-sns-",)

    def __init__(self, config: SnsConfig, secret: credential.Secrets) -> None:
        """Take messages of the topics in `config`; there is no secret, Amazon signs with its own key."""
        del secret
        self.config = config
        self._certificates: dict[str, bytes] = {}

    def configured(self) -> bool:
        """Say whether there is a topic."""
        return bool(self.config.topics)

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Nothing can be said before the body is there."""

    async def prepare(self, body: bytes) -> None:
        """Have the certificate the message names at hand: from its file, or fetched once from Amazon.

        Raises NotAllowed before anything is fetched from an address that is not Amazon's, Unavailable when it cannot be had.
        """
        message = _read(body)
        if message is None:
            return
        url = self._allowed(message)
        if url in self._certificates:
            return
        file = next((one.file for one in self.config.certificates if one.url == url), None)
        try:
            pem = await asyncio.to_thread(Path(file).read_bytes) if file else await fetched(url)
        except OSError as error:
            text = f"the certificate file for {url} cannot be read"
            raise Unavailable(text) from error
        if len(self._certificates) >= CERTIFICATES:
            self._certificates.clear()
        self._certificates[url] = pem

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Check topic and addresses, then the signature with the certificate at hand."""
        del headers
        message = _read(body)
        if message is None:
            raise SignatureInvalid
        pem = self._certificates.get(self._allowed(message))
        if pem is None:
            raise SignatureInvalid
        _proved(message, pem, now)

    def _allowed(self, message: dict[str, str]) -> str:
        if message.get("TopicArn") not in self.config.topics:
            raise BadTopic
        url = message.get("SigningCertURL", "")
        if not CERTIFICATE.fullmatch(url):
            raise BadCertificate
        if message.get("Type") == "SubscriptionConfirmation" and not SUBSCRIBE.fullmatch(
            message.get("SubscribeURL", "")
        ):
            raise BadSubscription
        return url

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Take the message's id."""
        return (
            extract.text((_read(body) or {}).get("MessageId"), 200)
            or extract.text(header(headers, "x-amz-sns-message-id"), 200)
            or None
        )

    def completes(self, context: Context) -> Confirms:
        """Give what confirms a subscription; opened and closed by the host."""
        return Confirms(context)

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the notification. Too little data is neither an alarm nor its end."""
        message = _read(raw.body)
        if message is None:
            raise NotAMessage
        match message.get("Type"):
            case "SubscriptionConfirmation":
                return Parsed(outcome="ping", confirm=message.get("SubscribeURL", ""))
            case "UnsubscribeConfirmation":
                return Parsed(
                    outcome="ignored",
                    note=f"{message.get('TopicArn', '')} was unsubscribed: no more alarms come from it",
                )
            case "Notification":
                return _notification(message, raw)
        raise NotAMessage


def _read(body: bytes) -> dict[str, str] | None:
    """Give the members of a message that are text; None when it is no message."""
    try:
        found = orjson.loads(body)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("Type"), str):
        return None
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _proved(message: dict[str, str], pem: bytes, now: datetime) -> None:
    """Raise SignatureInvalid unless the certificate is valid now and signed these members."""
    names = _NOTICE if message.get("Type") == "Notification" else _ASKING
    signed = "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()
    algorithm = {"1": hashes.SHA1, "2": hashes.SHA256}.get(message.get("SignatureVersion", ""))
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key, signature = certificate.public_key(), base64.b64decode(message.get("Signature", ""), validate=True)
        if not isinstance(key, rsa.RSAPublicKey) or algorithm is None:
            raise SignatureInvalid
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise SignatureInvalid
        key.verify(signature, signed, padding.PKCS1v15(), algorithm())
    except (InvalidSignature, ValueError, binascii.Error) as error:
        raise SignatureInvalid from error


def _notification(message: dict[str, str], raw: RawRequest) -> Parsed:
    try:
        found = extract.json_value(message.get("Message", "").encode(errors="replace"))
    except NotJson:
        found = None
    if not isinstance(found, dict):
        return _aside("/Message", "the message is not a JSON object")
    if extract.word(found.get("AlarmArn")):
        return _alarm(found, raw)
    if isinstance(found.get("detail"), dict):
        return _monitor(found, found["detail"], raw)
    return _aside("/Message", "it is neither a CloudWatch alarm nor an event of SageMaker Model Monitor")


def _aside(where: str, reason: str) -> Parsed:
    return Parsed(rejected=(Rejection(where=where, reason=reason),))


def _alarm(found: dict[str, Any], raw: RawRequest) -> Parsed:
    status = _STATE.get(extract.word(found.get("NewStateValue")))
    if status is None:
        return _aside(
            "/Message/NewStateValue",
            f"state {extract.text(found.get('NewStateValue'), 40)!r} is not one that CloudWatch has",
        )
    trigger = extract.table(found.get("Trigger"))
    sizes = [extract.table(one) for one in extract.rows(trigger.get("Dimensions"))]
    labels = extract.kept_texts({
        extract.word(one.get("name"), 200): one.get("value") for one in sizes if extract.word(one.get("name"))
    })  # fmt: skip
    place, reason = extract.named(labels), extract.word(found.get("NewStateReason"))
    starts, ends, flags = extract.times(
        found.get("StateChangeTime"), found.get("StateChangeTime") if status == "resolved" else None, raw.received_at
    )
    notes = {
        "summary": extract.word(found.get("AlarmName")),
        "description": extract.word(found.get("AlarmDescription")),
        "reason": reason,
    }
    point = _POINT.search(reason)
    alert = Alert.model_validate({
        "source": "cloudwatch", "kind": Kind.INCIDENT_UPDATE if status == "update" else Kind.ALERT,
        "fingerprint": extract.fingerprint("cloudwatch", extract.word(found["AlarmArn"])), "status": status,
        **place, "sli": place["sli"] or extract.word(trigger.get("MetricName")) or None,
        "value": extract.number(point[1]) if point else None, "threshold": extract.number(trigger.get("Threshold")),
        "starts_at": starts, "ends_at": (ends or raw.received_at) if status == "resolved" else None, "summary": notes["summary"],
        "labels": labels, "annotations": {name: text for name, text in notes.items() if text},
        "raw": {"id": raw.id, "pointer": "/Message"}, "flags": frozenset(flags | ({"no_data"} if status == "update" else set())),
    })  # fmt: skip
    return Parsed(alerts=(alert,))


def _monitor(found: dict[str, Any], detail: dict[str, Any], raw: RawRequest) -> Parsed:
    name = extract.word(detail.get("MonitoringScheduleName"))
    state = extract.word(detail.get("MonitoringExecutionStatus"))
    if extract.word(found.get("source")) != "aws.sagemaker" or not name or state not in _MONITOR:
        return _aside("/Message/detail", "only the end of a SageMaker Model Monitor execution is read from EventBridge")
    status, summary = _MONITOR[state], f"Model Monitor {state}"
    starts, _, flags = extract.times(found.get("time"), None, raw.received_at)
    endpoint = extract.word(detail.get("EndpointName"))
    alert = Alert.model_validate({
        "source": "sagemaker", "kind": Kind.INCIDENT_UPDATE if status == "update" else Kind.ALERT,
        "fingerprint": extract.fingerprint("sagemaker", name), "status": status, "severity": Severity.WARNING if status == "firing" else Severity.UNKNOWN,
        "model": endpoint or None, "sli": "model_monitor_violations", "starts_at": starts,
        "ends_at": raw.received_at if status == "resolved" else None, "summary": summary,
        "labels": {**({"EndpointName": endpoint} if endpoint else {}), "schedule": name}, "annotations": {"summary": summary},
        "raw": {"id": raw.id, "pointer": "/Message/detail"}, "flags": frozenset(flags | ({"no_data"} if status == "update" else set())),
    })  # fmt: skip
    return Parsed(alerts=(alert,))


SOURCE = Sns
