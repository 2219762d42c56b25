"""What the commands about the inbox print: what led nowhere, and where each alert of a message went and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from bot import terminal
from bot.domain import words
from bot.domain.alert import RawRequest
from bot.errors import NotFound
from bot.store.inbox import InboundRecord
from bot.store.timeline import Store
from bot.terminal import local


async def message(store: Store, which: str) -> tuple[InboundRecord, RawRequest | None]:
    """Give what became of a message, by its id or the last characters, and the message unless it was erased. Raises NotFound."""
    found = await store.messages(which)
    if len(found) != 1:
        what = (
            f"{len(found)} messages end in {which}; give more characters"
            if found
            else f"no stored message ends in {which}"
        )
        raise NotFound(f"{what[:1].upper()}{what[1:]}. `lastgood inbox` lists what led nowhere.")
    record, raw = await store.inbound(found[0]), await store.request(found[0])
    if record is None:
        message = f"The message {found[0]} is gone."
        raise NotFound(message)
    return record, raw


def message_lines(record: InboundRecord) -> Iterator[str]:
    """Write what became of one message."""
    yield f"{record.id}  {record.source}  {local(record.received_at, '%d %b %H:%M:%S %Z')}  {record.outcome}"
    if record.error:
        yield terminal.wrapped("  ", words.plain(record.error, 2000))
    for one in merged(record):
        yield terminal.wrapped(f"  {words.plain(one['fingerprint'], 80)}  ", words.plain(one["why"], 500))


def merged(record: InboundRecord) -> Iterator[dict[str, str]]:
    """Give each alert of a message with where it went and why it was put with others, or was not."""
    for alert in record.alerts:
        yield {"fingerprint": str(alert["fingerprint"]), "why": _why(alert, record)}


_FLAGS = MappingProxyType({
    "no_model": "it names no model, so it belongs to no incident.",
    "unknown_model": "its model is not registered, so it belongs to no incident.",
    "unknown_environment": "no environment of its model fits, so it belongs to no incident.",
    "out_of_order": "it is older than what was known, so it changed nothing.",
    "repeat": "the same alert with the same beginning was known, so it was counted and woke nobody.",
    "truncated": "its sender left alerts out, so nothing was ended by it.",
    "too_many_alerts": "its message holds more alerts than are read, so nothing was ended by it.",
    "merged": "the pager merged it into another incident, and that is not an end.",
    "no_data": "it stands for data that is missing, and its end is no recovery.",
    "correlated": "it names no model; it was put where its pager's key, or an earlier message about it, led.",
})  # fmt: skip


def _why(alert: Mapping[str, Any], record: InboundRecord) -> str:
    said = [sentence for flag, sentence in _FLAGS.items() if flag in alert["flags"]]
    lost = {"no_model", "unknown_model", "unknown_environment"}.intersection(alert["flags"])
    if alert["kind"] == "change" and alert["status"] == "update" and not lost:
        return " ".join([f"a change of {alert['model']}: the ledger keeps it and no incident is opened for it.", *said])
    if not lost and record.incidents and alert["model"]:
        where = words.listed([words.short(one) for one in record.incidents])
        said.insert(
            0,
            f"{alert['status']}, {alert['model']} in {alert['environment']}: all alerts of one model in one environment are one incident, {where}.",
        )
    elif not lost:
        said.insert(0, f"{alert['status']}: there is no open incident it could end or tell about.")
    return " ".join(said)


def listed(found: Sequence[InboundRecord]) -> Iterator[str]:
    """Write one message a line: when its like came last, from whom, how often, and why it led nowhere."""
    for one in found:
        times = f" ×{one.times}" if one.times > 1 else ""
        head = f"{words.short(one.id)}  {local(one.received_at, '%d %b %H:%M %Z')}  {one.source}{times}  "
        yield terminal.wrapped(head, words.plain(one.error, 300))
