"""What only the outside can say: whether Slack, PagerDuty, the senders and the metrics are there, and what to mend where not.

Every question has a deadline, all are asked at once, and none is an act. No text here holds a secret.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, cast

import aiohttp
import orjson
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from adapters.paging._rest import Rest
from bot.building import Builder
from bot.clock import SystemClock
from bot.config import Config, Settings, examine
from bot.domain import extract, words
from bot.domain.sli_query import asks
from bot.errors import ConfigError, LastgoodError, Unavailable
from bot.log import JsonLog
from bot.slack.manifest import SCOPES, held_to
from bot.store.place import place_of
from bot.store.schema import exists
from bot.store.timeline import Store

WITHIN = 5.0  # seconds for each question
SKEW = timedelta(seconds=30)
ORIGIN = "https://slack.com/api/"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: well (True), not (False) or nobody can tell (None), and what to do about it."""

    name: str
    ok: bool | None
    detail: str
    mend: str = ""

    def as_json(self) -> dict[str, Any]:
        """Give one item of `doctor --json`."""
        return asdict(self)


async def examined(settings: Settings) -> list[Finding]:
    """Look at everything that is configured, all at once; give what was found in the order of the configuration."""
    logging.getLogger("slack_sdk").setLevel(logging.CRITICAL)
    config, problems, _ = await asyncio.to_thread(examine, settings)
    first = _configuration(problems)
    if config is None:
        return [first, *await _timed("database", lambda: _database(settings))]
    clock = SystemClock()
    build = Builder(config, settings, clock, JsonLog(clock, io.StringIO(), quiet=True))
    parts = await asyncio.gather(
        _timed("database", lambda: _database(settings)),
        _timed("Slack", lambda: _slack(config, settings)),
        _timed("senders", lambda: _senders(build, settings)),
        _timed("PagerDuty", lambda: _pagerduty(config, settings)),
        _timed("metrics", lambda: _metrics(config, build)),
        _timed("signing key", lambda: _key(settings)),
    )
    return [first, *(one for part in parts for one in part)]


async def _timed(name: str, look: Callable[[], Awaitable[Iterable[Finding]]]) -> list[Finding]:
    """Take one look; whatever goes wrong in it is a finding of its own, told by its kind alone."""
    try:
        async with asyncio.timeout(2 * WITHIN):
            return list(await look())
    except TimeoutError:
        return [
            Finding(name, None, f"no answer within {2 * WITHIN:g} s", "Ask again; look at the network between the two.")
        ]
    except ConfigError as error:
        said = "; ".join(f"{one.key}: {one.message}" for one in error.problems)
        return [Finding(name, False, said, "Mend the configuration; `lastgood check` shows the place.")]
    except LastgoodError as error:
        return [Finding(name, False, str(error), "Mend what the sentence names, then ask again.")]


# ── here ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _configuration(problems: list[Any]) -> Finding:
    if not problems:
        return Finding("configuration", True, "no mistakes")
    count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
    return Finding("configuration", False, count, "`lastgood check` shows each with its line.")


async def _database(settings: Settings) -> Iterable[Finding]:
    place = place_of(settings.database)
    if not exists(place):
        return [Finding("database", None, f"{place.name} does not exist yet", "`lastgood serve` makes it.")]
    store = Store(settings.database, SystemClock())
    try:
        if await store.writable():
            return [Finding("database", True, f"{place.name} takes entries")]
        return [
            Finding("database", False, f"{place.name} takes no entry", "Look at the disk's space and the file's owner.")
        ]
    finally:
        await asyncio.to_thread(store.close)


async def _key(settings: Settings) -> Iterable[Finding]:
    if settings.get("LASTGOOD_SIGNING_KEY"):
        return [Finding("signing key", True, "LASTGOOD_SIGNING_KEY is set")]
    where = place_of(settings.database).path
    if where is None:
        mend = "Set LASTGOOD_SIGNING_KEY, the same for every replica."
        return [Finding("signing key", False, "replicas share no file to keep a key in", mend)]
    return [Finding("signing key", True, "kept beside the database")]


# ── Slack ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _slack(config: Config, settings: Settings) -> Iterable[Finding]:
    token = settings.get("SLACK_BOT_TOKEN")
    if not token:
        return [Finding("Slack token", False, "SLACK_BOT_TOKEN is not set", "Install the app and set its bot token.")]
    client = AsyncWebClient(token=token, base_url=settings.get("SLACK_API_URL") or ORIGIN, retry_handlers=[])
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN)) as session:
        client.session = session
        try:
            answer = await client.auth_test()
        except SlackApiError as error:
            said = extract.word(error.response.get("error"), 60)
            return [
                Finding(
                    "Slack token", False, f"Slack refuses it: {said}", "Set SLACK_BOT_TOKEN to the app's bot token."
                )
            ]
        except (aiohttp.ClientError, TimeoutError, OSError):
            mend = "Look at the network, and at https://status.slack.com."
            return [Finding("Slack token", None, "Slack does not answer", mend), _clock(None)]
        team = words.plain(extract.word(answer.get("team")), 80)
        return [
            Finding("Slack token", True, f"taken by {team or 'the workspace'}"),
            _scopes(answer.headers.get("x-oauth-scopes")),
            await _channel(client, config.file.slack.channel),
            _clock(answer.headers.get("Date")),
        ]


def _scopes(said: str | None) -> Finding:
    if not said:
        return Finding("Slack scopes", None, "Slack does not say them", "Compare them with `lastgood manifest`.")
    missing = held_to(said).missing
    if not missing:
        return Finding("Slack scopes", True, f"all {len(SCOPES)} of the manifest")
    lost = "; ".join(f"without {scope} {SCOPES[scope]}" for scope in missing)
    return Finding("Slack scopes", False, lost, "Paste `lastgood manifest` into the app and install it again.")


async def _channel(client: AsyncWebClient, channel: str) -> Finding:
    try:
        await client.conversations_history(channel=channel, limit=1)
    except SlackApiError as error:
        said = extract.word(error.response.get("error"), 60)
        mends = {
            "not_in_channel": "Invite the app: `/invite @Lastgood` there.",
            "channel_not_found": "Write the channel's id, C…, into slack.channel; invite the app into a private one.",
            "missing_scope": "Paste `lastgood manifest` into the app and install it again.",
        }
        return Finding("Slack channel", False, f"{channel}: {said}", mends.get(said, "Look at the channel in Slack."))
    except (aiohttp.ClientError, TimeoutError, OSError):
        return Finding("Slack channel", None, f"{channel}: Slack does not answer", "Ask again.")
    return Finding("Slack channel", True, f"{channel} can be read")


def _clock(date: str | None) -> Finding:
    """Compare with the clock of whoever answered: signatures and expiry rest on ours."""
    mend = "Let this machine follow a time server."
    try:
        theirs: datetime = parsedate_to_datetime(date or "")
    except ValueError:
        return Finding("clock", None, "nobody said what time it is", mend)
    apart = abs(SystemClock().now() - theirs)
    return Finding("clock", apart <= SKEW, f"{words.span(apart)} from Slack's", "" if apart <= SKEW else mend)


# ── senders ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _senders(build: Builder, settings: Settings) -> Iterable[Finding]:
    sources = build.sources()
    heard = await _heard(settings)
    return [_sender(name, sources[name].configured(), heard.get(name)) for name in sources]


async def _heard(settings: Settings) -> dict[str, datetime]:
    """Give when each source was last heard."""
    if not exists(place_of(settings.database)):
        return {}
    store = Store(settings.database, SystemClock())
    try:
        return await store.last_heard()
    finally:
        await asyncio.to_thread(store.close)


def _sender(name: str, configured: bool, last: datetime | None) -> Finding:  # noqa: FBT001  what it is
    if not configured:
        return Finding(
            name, False, "its secret is empty, so it is answered 503", f"Set the variable sources.{name} names."
        )
    if last is None:
        return Finding(name, None, "never heard yet", f"Let it send a test message to /hooks/{name}.")
    ago = words.span(SystemClock().now() - last)
    return Finding(name, True, f"last heard {ago} ago")


# ── PagerDuty ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _pagerduty(config: Config, settings: Settings) -> Iterable[Finding]:
    said = config.file.pagerduty
    if said is None and "pagerduty" not in config.file.sources:
        return []
    if not settings.get("PAGERDUTY_TOKEN"):
        mend = "Set PAGERDUTY_TOKEN, a REST API key."
        return [Finding("PagerDuty token", False, "PAGERDUTY_TOKEN is not set", mend)]
    rest = Rest(said.from_ if said else "", settings.get)
    rest.open()
    try:
        found = [] if said is None else [await _sender_address(rest, said.from_)]
        return [*found, await _subscriptions(rest)]
    except Unavailable as error:
        return [Finding("PagerDuty", None, str(error), "Look at the network and at PAGERDUTY_API_URL.")]
    finally:
        rest.close()


async def _sender_address(rest: Rest, address: str) -> Finding:
    status, users = await _list(rest, "/users", "users", {"query": address, "limit": 100})
    if refused := _refused("PagerDuty user", status):
        return refused
    if any(extract.word(extract.inside(one, "email")).lower() == address.lower() for one in users):
        return Finding("PagerDuty user", True, f"{address} is a user")
    return Finding(
        "PagerDuty user", False, f"no user has the address {address}", "Set pagerduty.from to a user's address."
    )


async def _subscriptions(rest: Rest) -> Finding:
    status, rows = await _list(rest, "/webhook_subscriptions", "webhook_subscriptions", {"limit": 100})
    if refused := _refused("PagerDuty webhooks", status):
        return refused
    off = [extract.word(extract.inside(one, "id"), 40) for one in rows if extract.inside(one, "active") is False]
    if off:
        mend = "Enable it under Integrations → Generic Webhooks, or with POST /webhook_subscriptions/ID/enable."
        return Finding("PagerDuty webhooks", False, f"switched off: {', '.join(off)}", mend)
    if not rows:
        return Finding("PagerDuty webhooks", None, "there is no subscription", "Add one to /hooks/pagerduty.")
    return Finding("PagerDuty webhooks", True, f"{len(rows)} active")


def _refused(name: str, status: int) -> Finding | None:
    if status == 200:
        return None
    if status in (401, 403):
        return Finding(name, False, f"PagerDuty answered {status}", "Set PAGERDUTY_TOKEN to a key that may read this.")
    return Finding(name, None, f"PagerDuty answered {status}", "Ask again.")


async def _list(rest: Rest, path: str, member: str, params: dict[str, Any]) -> tuple[int, list[Any]]:
    try:
        async with asyncio.timeout(WITHIN):
            answer = await rest.get(path, params)
        return answer.status, extract.rows(
            extract.inside(orjson.loads(answer.body), member)
        ) if answer.status == 200 else []
    except TimeoutError as error:
        raise Unavailable("PagerDuty did not answer") from error
    except ValueError as error:
        raise Unavailable("PagerDuty's answer could not be read") from error


# ── metrics ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _metrics(config: Config, build: Builder) -> Iterable[Finding]:
    return await asyncio.gather(*(_metric(name, source, config) for name, source in build.metrics().items()))


async def _metric(name: str, source: Any, config: Config) -> Finding:
    """Ask a metric source the first question that needs no version and no cohort."""
    slis = (
        (f"{sli} of {model} in {place}", said)
        for model, described in config.file.models.items()
        for place, environment in described.environments.items()
        for sli, said in environment.slis.items()
    )
    plain = [
        (what, said) for what, said in slis
        if said.source == name and not asks(said.settings, "version") and not asks(said.settings, "cohort")
    ]  # fmt: skip
    if not plain:
        return Finding(f"metrics {name}", None, "no SLI asks it a question that can be asked now", "")
    what, said = plain[0]
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(cast("Any", source))
        try:
            async with asyncio.timeout(WITHIN):
                look = await opened.measure(opened.Query.model_validate(said.settings), None)
        except TimeoutError:
            return Finding(
                f"metrics {name}", None, f"no answer within {WITHIN:g} s", "Look at the network between the two."
            )
    if look.value is None and not look.counters:
        return Finding(
            f"metrics {name}",
            False,
            f"{what}: {words.plain(look.reason or 'no value')}",
            "Mend the address or the query.",
        )
    return Finding(f"metrics {name}", True, f"answers for {what}")
