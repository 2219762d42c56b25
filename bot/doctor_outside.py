"""What Slack and PagerDuty say when they are asked whether Lastgood can work with them. Nothing is changed there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from adapters.paging._rest import Rest
from bot.clock import SystemClock
from bot.config import Config, Settings
from bot.domain import extract, words
from bot.errors import Unavailable
from bot.slack.manifest import SCOPES, held_to

WITHIN = 5.0  # seconds for each question
SKEW = timedelta(seconds=30)  # Slack's signatures end after 300
ORIGIN = "https://slack.com/api/"
AT_SLACK = "Look at the network, and at https://status.slack.com."
_TROUBLE = frozenset({"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"})


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


# ── Slack ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def slack(config: Config, settings: Settings) -> Iterable[Finding]:
    """Ask Slack about the token, its scopes, the channel, Socket Mode and the time."""
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
            if _busy(error):
                return [Finding("Slack token", None, f"Slack cannot say: {said}", AT_SLACK), _clock(None)]
            mend = "Set SLACK_BOT_TOKEN to the app's bot token."
            return [Finding("Slack token", False, f"Slack refuses it: {said}", mend)]
        except (aiohttp.ClientError, TimeoutError, OSError):
            return [Finding("Slack token", None, "Slack does not answer", AT_SLACK), _clock(None)]
        team = words.plain(extract.word(answer.get("team")), 80)
        return [
            Finding("Slack token", True, f"taken by {team or 'the workspace'}"),
            _scopes(answer.headers.get("x-oauth-scopes")),
            await _channel(client, config.file.slack.channel),
            *await _socket(client, settings),
            _clock(answer.headers.get("Date")),
        ]


def _busy(error: SlackApiError) -> bool:
    """Say whether Slack is in trouble or wants us to wait, which says nothing about what was asked."""
    status = int(getattr(error.response, "status_code", 200) or 200)
    return status == 429 or status >= 500 or extract.word(error.response.get("error")) in _TROUBLE


async def _socket(client: AsyncWebClient, settings: Settings) -> list[Finding]:
    """Where Socket Mode is used, ask for an address to connect to; nothing is connected."""
    token = settings.get("SLACK_APP_TOKEN")
    if not token:
        return []
    try:
        await client.apps_connections_open(app_token=token)
    except SlackApiError as error:
        said = extract.word(error.response.get("error"), 60)
        mend = "Set SLACK_APP_TOKEN to an app-level token with connections:write, and switch Socket Mode on."
        return [Finding("Slack socket", None if _busy(error) else False, said, AT_SLACK if _busy(error) else mend)]
    except (aiohttp.ClientError, TimeoutError, OSError):
        return [Finding("Slack socket", None, "Slack does not answer", AT_SLACK)]
    return [Finding("Slack socket", True, "Socket Mode may connect")]


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
        if _busy(error):
            return Finding("Slack channel", None, f"{channel}: {said}", AT_SLACK)
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


# ── PagerDuty ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def pagerduty(config: Config, settings: Settings) -> Iterable[Finding]:
    """Ask PagerDuty about the token, the address Lastgood speaks as and the webhooks; say whether pages have somewhere to go."""
    said = config.file.pagerduty
    if said is None and "pagerduty" not in config.file.sources:
        return []
    pages = _pages(config, settings)
    if not settings.get("PAGERDUTY_TOKEN"):
        mend = "Set PAGERDUTY_TOKEN, a REST API key."
        return [Finding("PagerDuty token", False, "PAGERDUTY_TOKEN is not set", mend), *pages]
    rest = Rest(said.from_ if said else "", settings.get)
    rest.open()
    try:
        status, _ = await _list(rest, "/abilities", "abilities", {})
        if refused := _refused("PagerDuty token", status):
            return [refused, *pages]
        found = [Finding("PagerDuty token", True, "taken")]
        found += [] if said is None else [await _sender_address(rest, said.from_)]
        found += [await _subscriptions(rest, config.file.web.public_url)] if "pagerduty" in config.file.sources else []
    except Unavailable as error:
        mend = "Look at the network and at PAGERDUTY_API_URL."
        found = [Finding("PagerDuty", None, str(error), mend)]
    finally:
        rest.close()
    return [*found, *pages]


def _pages(config: Config, settings: Settings) -> list[Finding]:
    """Say whether a rule that pages has somewhere to page to."""
    loud = [rule.id for rule in config.file.policy.rules if rule.tell == "page"]
    key = config.file.pagerduty.routing_key if config.file.pagerduty else None
    if not loud and key is None:
        return []
    if key is not None and key.value(settings.get):
        return [Finding("PagerDuty pages", True, "a routing key is set")]
    what = (
        "its variable or file is empty"
        if key is not None
        else f"rule {words.listed(loud)} pages, and there is no routing key"
    )
    return [Finding("PagerDuty pages", False, what, "Set pagerduty.routing_key to an Events API v2 integration's key.")]


async def _sender_address(rest: Rest, address: str) -> Finding:
    status, users = await _list(rest, "/users", "users", {"query": address, "limit": 100})
    if refused := _refused("PagerDuty user", status):
        return refused
    if any(extract.word(extract.inside(one, "email")).lower() == address.lower() for one in users):
        return Finding("PagerDuty user", True, f"{address} is a user")
    return Finding(
        "PagerDuty user", False, f"no user has the address {address}", "Set pagerduty.from to a user's address."
    )


async def _subscriptions(rest: Rest, public_url: str) -> Finding:
    status, rows = await _list(rest, "/webhook_subscriptions", "webhook_subscriptions", {"limit": 100})
    if refused := _refused("PagerDuty webhooks", status):
        return refused
    ours = f"{public_url.rstrip('/')}/hooks/pagerduty"
    if public_url and rows:
        known = [one for one in rows if extract.word(extract.inside(one, "delivery_method", "url"), 2000) == ours]
        if not known:
            return Finding(
                "PagerDuty webhooks",
                None,
                f"none of {len(rows)} goes to {ours}",
                "Add one, or mend its address or web.public_url.",
            )
        rows = known
    off = [extract.word(extract.inside(one, "id"), 40) for one in rows if _paused(one)]
    if off:
        mend = "Enable it under Integrations → Generic Webhooks, or with POST /webhook_subscriptions/ID/enable."
        return Finding("PagerDuty webhooks", False, f"switched off: {', '.join(off)}", mend)
    if not rows:
        return Finding("PagerDuty webhooks", None, "there is no subscription", "Add one to /hooks/pagerduty.")
    return Finding("PagerDuty webhooks", True, f"{len(rows)} active")


def _paused(subscription: Any) -> bool:
    """Say whether a subscription sends nothing: switched off, or paused for a day after three refused deliveries."""
    paused = extract.inside(subscription, "delivery_method", "temporarily_disabled")
    return extract.inside(subscription, "active") is False or paused is True


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
