"""What holds for every alert source that ships, whoever it listens to."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters import loading
from bot.clock import START
from bot.errors import NotAllowed, PayloadInvalid, SignatureInvalid
from bot.web.server import IN_THREAD
from tests.adapters.alerts.senders import OLD, SENDERS, Sender, is_source, sns

NAMES = loading.names("alerts")
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=20),
    st.sampled_from(["", "\x00", "9" * 400, "fraud-scorer", "0001-01-01T00:00:00Z", "\u202egnp", "firing", "1e999", "v1="]),
)  # fmt: skip
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
)  # fmt: skip


@pytest.fixture(params=NAMES)
def sender(request: pytest.FixtureRequest, tmp_path: Path) -> Sender:
    """Each source that ships; one without a sender of its own here fails."""
    name: str = request.param
    return sns(tmp_path) if name == "sns" else SENDERS[name]


async def proved(source: Any, headers: dict[str, str], body: bytes, at: timedelta = timedelta(0)) -> None:
    """Take the steps the server takes before it reads a body."""
    source.authenticate(headers)
    if prepare := getattr(source, "prepare", None):
        await prepare(body)
    source.verify(headers, body, START + at)


async def test_its_own_message_is_taken_and_names_the_model(sender: Sender) -> None:
    source, body = sender.source(), sender.body()
    assert is_source(source)
    assert source.configured()
    await proved(source, sender.headers(body), body)
    found = sender.read()
    assert (found.model, found.version) == ("fraud-scorer", "42") if sender.name != "pagerduty" else (None, None)
    assert found.raw is not None
    assert found.raw.id == "01X"
    assert found.fingerprint.startswith(f"{found.source}:")


async def test_during_a_rotation_both_secrets_open_it(sender: Sender) -> None:
    body = sender.body()
    await proved(sender.source(), sender.headers(body, OLD), body)


async def test_a_wrong_secret_opens_nothing(sender: Sender) -> None:
    body = sender.body({**sender.sample, "Timestamp": "later"} if sender.name == "sns" else None)
    with pytest.raises((SignatureInvalid, NotAllowed)):
        await proved(sender.source(), sender.headers(body, "guessed"), body)


@pytest.mark.parametrize("junk", ["", "é", "v1=é", "sha256=é", "Bearer \udce9", "v1,é", "v1=", "9" * 5000])
async def test_a_credential_of_any_bytes_is_refused_and_breaks_nothing(sender: Sender, junk: str) -> None:
    shown = junk.encode(errors="replace").decode()  # JSON holds no lone surrogate
    body = sender.body({**sender.sample, "Signature": shown} if sender.name == "sns" else None)
    headers = {name: junk for name in sender.headers(body) if name not in ("Content-Type", "x-amz-sns-message-type")}
    with pytest.raises(SignatureInvalid):
        await proved(sender.source(), headers, body)


@pytest.mark.parametrize("name", [*(one.name for one in SENDERS.values() if one.signs), "sns"])
async def test_one_changed_byte_of_a_signed_body_is_refused(name: str, tmp_path: Path) -> None:
    sender = sns(tmp_path) if name == "sns" else SENDERS[name]
    body = sender.body()
    changed = body.replace(b"fraud-scorer", b"fraud-scorez") if b"fraud-scorer" in body else body + b" "
    with pytest.raises(SignatureInvalid):
        await proved(sender.source(), sender.headers(body), changed)


def test_without_a_secret_it_does_not_start_and_without_its_value_it_is_not_configured(sender: Sender) -> None:
    kind = loading.load("alerts", sender.name)
    with pytest.raises(ValueError, match=r"has no (tokens|secrets|topics)"):
        kind.Config.model_validate({})
    if sender.name != "sns":
        list_ = "secrets" if sender.signs else "tokens"
        assert not kind(kind.Config.model_validate({list_: [{"env": "NOBODY"}]}), {}.get).configured()


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"text"', b"{}", b"{", b"\xff\xfe{\x00}\x00", b'{"a":NaN}', b"[" * 99]
)
def test_what_is_not_its_format_is_said_to_be_none(sender: Sender, body: bytes) -> None:
    if sender.name == "generic" and body == b"{}":
        assert [one.model for one in sender.parse(body).alerts] == [None]  # an alert about nothing: it leads nowhere
        return
    if sender.name == "cloudevents" and body in (b"null", b"[]", b'"text"', b"{}"):
        assert sender.parse(body).result == "quarantined"
        return
    with pytest.raises(PayloadInvalid) as refused:
        sender.parse(body)
    assert str(refused.value)
    assert refused.value.reason != "payload"


def test_what_is_read_in_the_event_loop_takes_it_for_less_than_50_ms(sender: Sender) -> None:
    crowd = {f"label{n}": {"a": [[n]] * 5} for n in range(1000)}
    if sender.name == "cef":
        body = (sender.sample + "".join(f" k{n}=v" for n in range(7000)))[:IN_THREAD].encode()
    elif sender.name == "sns":
        body = orjson.dumps(
            {**sender.sample, "Message": orjson.dumps({**orjson.loads(sender.sample["Message"]), **crowd}).decode()}
        )
    else:
        body = orjson.dumps({**sender.sample, **crowd})
    assert IN_THREAD * 0.6 < len(body) <= IN_THREAD
    took = []
    for _ in range(3):
        began = time.process_time()
        sender.parse(body)
        took.append(time.process_time() - began)
    assert min(took) < 0.05


def positions(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    pairs = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for step, inner in pairs:
        yield from positions(inner, (*path, step))


def put(found: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Give a copy with another value at one place."""
    if not path:
        return value
    made = copy.deepcopy(found)
    inside = made
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    return made


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_at_any_place_is_taken_set_aside_or_refused_and_breaks_nothing(
    sender: Sender, data: st.DataObject
) -> None:
    if sender.name == "cef":
        text = data.draw(
            st.text(max_size=200) | st.builds(lambda tail: f"CEF:0|{tail}", st.text("|=\\ 09ab\n", max_size=80))
        )
        sample: Any = text.encode(errors="replace")
    else:
        outer = orjson.loads(sender.sample["Message"]) if sender.name == "sns" else sender.sample
        path = data.draw(st.sampled_from(list(positions(outer))))
        sample = put(outer, path, data.draw(JSON))
        if sender.name == "sns" and storable(sample):
            sample = {**sender.sample, "Message": orjson.dumps(sample).decode()}
        sample = orjson.dumps(sample) if storable(sample) else b"{"
    try:
        found = sender.parse(sample)
    except PayloadInvalid:
        return
    for alert in found.alerts:
        assert alert.model_dump_json()
        assert len(alert.fingerprint) <= 240
        assert alert.starts_at <= START + timedelta(seconds=120)


def storable(value: Any) -> bool:
    """Say whether orjson writes it: whole numbers of 64 bits, text without lone surrogates."""
    try:
        orjson.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
