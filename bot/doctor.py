"""What only the outside can say: whether Slack, PagerDuty, the senders and the metrics are there, and what to mend where not.

Every question has a deadline, all are asked at once, and none is an act. No text here holds a secret.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any, cast

from bot.building import Builder
from bot.clock import SystemClock
from bot.config import Config, Settings, examine
from bot.doctor_outside import WITHIN, Finding, pagerduty, slack
from bot.domain import words
from bot.domain.sli_query import asks
from bot.errors import ConfigError, LastgoodError, TimelineError
from bot.log import JsonLog
from bot.store.checkpoints import load_key
from bot.store.place import place_of
from bot.store.schema import FORMAT, exists, format_of
from bot.store.timeline import Store

__all__ = ["Finding", "examined"]
Look = Callable[[], Awaitable[Iterable[Finding]]]
SLIS = 20  # of each metric source, asked at most eight at a time


async def examined(settings: Settings) -> list[Finding]:
    """Look at everything that is configured, all at once; give what was found in the order of the configuration."""
    logging.getLogger("slack_sdk").setLevel(logging.CRITICAL)
    config, problems, _ = await asyncio.to_thread(examine, settings)
    first = _configuration(problems)
    if config is None:
        return [first, *await _all({"database": lambda: _database(settings)})]
    clock = SystemClock()
    build = Builder(config, settings, clock, JsonLog(clock, io.StringIO(), quiet=True))
    looks: dict[str, Look] = {
        "database": lambda: _database(settings),
        "Slack": lambda: slack(config, settings),
        "senders": lambda: _senders(build, settings),
        "PagerDuty": lambda: pagerduty(config, settings),
        "metrics": lambda: _metrics(config, build),
        "signing key": lambda: _key(settings),
    }
    return [first, *await _all(looks)]


async def _all(looks: dict[str, Look]) -> list[Finding]:
    """Take every look at once; give what they found, in their order."""
    parts = await asyncio.gather(*(_timed(name, look) for name, look in looks.items()), return_exceptions=True)
    return [one for name, part in zip(looks, parts, strict=True) for one in _told(name, part)]


def _told(name: str, part: list[Finding] | BaseException) -> list[Finding]:
    """Give what a look found; one that broke is a finding of its own, told by its kind alone, and stops no other."""
    if isinstance(part, list):
        return part
    if not isinstance(part, Exception):
        raise part
    mend = "This is a mistake of Lastgood's: report it with this line."
    return [Finding(name, None, f"the look broke off ({type(part).__name__})", mend)]


async def _timed(name: str, look: Look) -> list[Finding]:
    """Take one look, for so long at most; what is known to go wrong is a finding with its mend."""
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
    try:
        found = await asyncio.to_thread(format_of, place)
    except TimelineError as error:
        mend = "Look at LASTGOOD_DATABASE_URL, and at the server or the file it names."
        return [Finding("database", False, str(error).rstrip("."), mend)]
    if found == 0:
        return [Finding("database", None, f"{place.name} does not exist yet", "`lastgood serve` makes it.")]
    if found != FORMAT:
        newer = "It was written by a newer Lastgood: run that one."
        mend = newer if found > FORMAT else "Run `lastgood db migrate` as the role that owns it."
        return [Finding("database", False, f"{place.name} has format {found}, this version writes {FORMAT}", mend)]
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
    place, said = place_of(settings.database), settings.get("LASTGOOD_SIGNING_KEY")
    if said:
        load_key(said, place)
        return [Finding("signing key", True, "LASTGOOD_SIGNING_KEY is set")]
    if place.path is None:
        mend = "Set LASTGOOD_SIGNING_KEY, the same for every replica."
        return [Finding("signing key", False, "replicas share no file to keep a key in", mend)]
    file = place.path.with_name(f"{place.path.name}.key")
    if not file.exists():
        return [Finding("signing key", None, f"{file.name} does not exist yet", "`lastgood serve` makes it.")]
    try:
        load_key(file.read_text(), place)
    except (OSError, UnicodeDecodeError, ConfigError):
        mend = "Put the file back from a copy, readable for who serves; without it a new key would begin."
        return [Finding("signing key", False, f"{file.name} cannot be read as a key", mend)]
    return [Finding("signing key", True, "kept beside the database")]


# ── senders ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _senders(build: Builder, settings: Settings) -> Iterable[Finding]:
    sources, heard = build.sources(), await _heard(settings)
    return [
        _sender(name, one.configured(), heard, getattr(getattr(one, "config", None), "heartbeat", None))
        for name, one in sources.items()
    ]


async def _heard(settings: Settings) -> dict[str, datetime] | None:
    """Give when each source was last heard, None when the database does not say."""
    try:
        if not await asyncio.to_thread(exists, place_of(settings.database)):
            return {}
        store = Store(settings.database, SystemClock())
        try:
            return await store.last_heard()
        finally:
            await asyncio.to_thread(store.close)
    except TimelineError:
        return None


def _sender(
    name: str,
    configured: bool,  # noqa: FBT001  what it is
    heard: dict[str, datetime] | None,
    beat: timedelta | None,
) -> Finding:
    test = f"Let it send a test message to /hooks/{name}."
    if not configured:
        mend = f"Set the variable sources.{name} names."
        return Finding(name, False, "its secret is empty, so it is answered 503", mend)
    if heard is None:
        return Finding(name, None, "the database does not say when it was last heard", "Mend the database first.")
    if (last := heard.get(name)) is None:
        return Finding(name, None, "never heard yet", test)
    ago = SystemClock().now() - last
    told = f"last heard {words.span(ago)} ago"
    if beat is not None and ago > beat:
        return Finding(name, False, f"{told}, something is due every {words.span(beat)}", f"Look at the sender. {test}")
    return Finding(name, True, told)


# ── metrics ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _metrics(config: Config, build: Builder) -> Iterable[Finding]:
    return await asyncio.gather(*(_metric(name, source, config) for name, source in build.metrics().items()))


async def _metric(name: str, source: Any, config: Config) -> Finding:
    """Ask a metric source every question that needs no version and no cohort, as far as there are not too many."""
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
    gate, asked = asyncio.Semaphore(8), plain[:SLIS]
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(cast("Any", source))

        async def ask(settings: Any) -> str:
            """Give why there is no value, an empty text when there is one."""
            async with gate:
                try:
                    async with asyncio.timeout(WITHIN):
                        look = await opened.measure(opened.Query.model_validate(settings), None)
                except TimeoutError:
                    return f"no answer within {WITHIN:g} s"
            return words.plain(look.reason or "no value") if look.value is None and not look.counters else ""

        answers = await asyncio.gather(*(ask(said.settings) for _, said in asked))
    return _answered(f"metrics {name}", [what for what, _ in asked], answers)


def _answered(name: str, asked: Sequence[str], answers: Sequence[str]) -> Finding:
    silent = [f"{what}: {why}" for what, why in zip(asked, answers, strict=True) if why]
    if not silent:
        return Finding(name, True, f"answers for {words.count(len(asked))} SLI{'s' * (len(asked) > 1)}")
    late = all(why.startswith("no answer within") for why in answers)
    more = f", and {len(silent) - 3} more" if len(silent) > 3 else ""
    mend = "Look at the network between the two." if late else "Mend the address or the query."
    return Finding(name, None if late else False, "; ".join(silent[:3]) + more, mend)
