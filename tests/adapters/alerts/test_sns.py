"""What Amazon SNS sends, and which addresses are believed before anything is fetched from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.alerts.sns import BadCertificate, BadSubscription, BadTopic
from bot.clock import START
from bot.domain.alert import Kind, Severity
from bot.errors import NotAllowed, PayloadInvalid, SignatureInvalid, Unavailable
from tests.adapters.alerts.senders import AMAZON, BEGAN, CERTIFICATE, ISO, TOPIC, Sender, alarm, notice, sns

CONFIRM = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=23"


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    return sns(tmp_path)


async def proved(sender: Sender, message: dict[str, str], at: datetime = START) -> None:
    source, body = sender.source(), sender.body(message)
    await source.prepare(body)
    source.verify({}, body, at)


def test_an_alarm_is_read(sender: Sender) -> None:
    found = sender.read()
    assert (found.source, found.status, found.severity, found.sli) == (
        "cloudwatch",
        "firing",
        Severity.UNKNOWN,
        "Invocation5XXErrors",
    )
    assert (found.model, found.version, found.value, found.threshold) == ("fraud-scorer", "42", 0.23, 0.01)
    assert found.starts_at == BEGAN


def test_ok_ends_it_and_too_little_data_does_not(sender: Sender) -> None:
    ended = sender.read(notice(alarm(NewStateValue="OK")))
    assert (ended.status, ended.ends_at) == ("resolved", BEGAN)
    lost = sender.read(notice(alarm(NewStateValue="INSUFFICIENT_DATA", NewStateReason="unknown")))
    assert (lost.kind, lost.status, lost.flags, lost.value) == (
        Kind.INCIDENT_UPDATE,
        "update",
        frozenset({"no_data"}),
        None,
    )


@pytest.mark.parametrize(
    ("state", "status"), [("CompletedWithViolations", "firing"), ("Completed", "resolved"), ("Failed", "update")]
)
def test_model_monitor_is_read(sender: Sender, state: str, status: str) -> None:
    detail = {"MonitoringScheduleName": "hourly", "EndpointName": "fraud-scorer", "MonitoringExecutionStatus": state}
    found = sender.read(notice({"source": "aws.sagemaker", "time": ISO, "detail": detail}))
    assert (found.source, found.fingerprint, found.model, found.status) == (
        "sagemaker",
        "sagemaker:hourly",
        "fraud-scorer",
        status,
    )


@pytest.mark.parametrize(
    ("inner", "where"),
    [
        ("hello", "/Message"), ([1], "/Message"), ({}, "/Message"), (alarm(NewStateValue="ODD"), "/Message/NewStateValue"),
        ({"source": "aws.ec2", "detail": {}}, "/Message/detail"),
    ],
)  # fmt: skip
def test_a_message_that_says_nothing_here_is_set_aside(sender: Sender, inner: Any, where: str) -> None:
    found = sender.parse(notice(inner))
    assert (found.result, found.rejected[0].where) == ("quarantined", where)


@pytest.mark.parametrize("version", ["1", "2"])
async def test_both_versions_of_the_signature_prove_it(sender: Sender, version: str) -> None:
    await proved(sender, notice(alarm(), SignatureVersion=version, Subject="ALARM"))


@pytest.mark.parametrize(
    "change", [{"Signature": "AAAA"}, {"Signature": "!"}, {"SignatureVersion": "3"}, {"Message": "{}"}]
)
async def test_a_message_that_was_not_signed_so_is_refused(sender: Sender, change: dict[str, str]) -> None:
    with pytest.raises(SignatureInvalid):
        await proved(sender, {**notice(alarm()), **change})


async def test_a_certificate_that_is_not_valid_now_proves_nothing(sender: Sender) -> None:
    with pytest.raises(SignatureInvalid):
        await proved(sender, notice(alarm()), datetime(2031, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "url",
    [
        CERTIFICATE.replace("https", "http"), CERTIFICATE.replace("amazonaws.com", "amazonaws.com.evil.example"),
        "https://s3.amazonaws.com/b/x.pem", CERTIFICATE.replace("sns.", "sns.evil.example/sns."), f"{CERTIFICATE}\n", f"{CERTIFICATE}?x",
        CERTIFICATE.replace("https://", "https://user@"), CERTIFICATE.replace("amazonaws.com/", "amazonaws.com:8443/"), "",
    ],
)  # fmt: skip
async def test_no_certificate_is_fetched_from_anywhere_but_amazon(sender: Sender, url: str) -> None:
    with pytest.raises(BadCertificate):
        await proved(sender, notice(alarm(), SigningCertURL=url))


async def test_a_topic_nobody_configured_is_refused_before_its_certificate_is_looked_at(sender: Sender) -> None:
    with pytest.raises(BadTopic):
        await proved(
            sender, notice(alarm(), TopicArn="arn:aws:sns:eu-central-1:999999999999:models", SigningCertURL="x")
        )


async def test_a_subscription_is_confirmed_only_at_amazon(sender: Sender) -> None:
    asking = notice("You have chosen to subscribe", Type="SubscriptionConfirmation", Token="23", SubscribeURL=CONFIRM)
    await proved(sender, asking)
    found = sender.parse(asking)
    assert (found.outcome, found.confirm, found.alerts) == ("ping", CONFIRM, ())
    evil = notice(
        "…", Type="SubscriptionConfirmation", Token="23", SubscribeURL=CONFIRM.replace(".com/", ".com.evil.example/")
    )
    with pytest.raises(BadSubscription):
        await proved(sender, evil)


def test_a_subscription_that_ended_says_what_follows(sender: Sender) -> None:
    found = sender.parse(notice("bye", Type="UnsubscribeConfirmation", Token="23", SubscribeURL=CONFIRM))
    assert (found.outcome, "no more alarms" in found.note) == ("ignored", True)


async def test_a_certificate_file_that_is_missing_is_our_fault_and_asks_to_send_again(
    sender: Sender, tmp_path: Path
) -> None:
    (tmp_path / "amazon.pem").unlink()
    with pytest.raises(Unavailable):
        await proved(sender, notice(alarm()))


async def test_a_certificate_of_somebody_elses_key_proves_nothing(sender: Sender, tmp_path: Path) -> None:
    other = type(AMAZON)()
    (tmp_path / "amazon.pem").write_bytes(other.certificate(START - timedelta(days=1), START + timedelta(days=1)))
    with pytest.raises(SignatureInvalid):
        await proved(sender, notice(alarm()))


@pytest.mark.parametrize("body", [b"[]", b'{"Type": 1}', b'{"Type": "Odd"}'])
async def test_what_is_no_message_is_not_believed_and_not_read(sender: Sender, body: bytes) -> None:
    with pytest.raises((SignatureInvalid, NotAllowed)):
        sender.source().verify({}, body, START)
    with pytest.raises(PayloadInvalid):
        sender.parse(body)
