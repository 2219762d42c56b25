"""From a click to its acknowledgement, and from the last click to moved traffic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
from figures import Figure
from place import BEARER, NAMED, Child, Place, body
from probes import fsyncs, percentile

from adapters.traffic.memory import Memory, MemoryConfig
from bot.app import Application, create
from bot.clock import SystemClock
from bot.config import Settings
from bot.domain.traffic import ApplyResult, Intent, TargetPlan
from bot.log import JsonLog
from bot.ports import Context

FIRST, SECOND = "U0ANA", "U0PRIYA"
APART = 0.02  # seconds between clicks
ABOUT_PEOPLE = ("users.info", "users.lookupByEmail", "usergroups.users.list")
LATE = 0.5  # seconds; no click takes that long unless it waits for such an answer


def _names(kind: str, at: int, count: int) -> list[str]:
    return [f"bench-{kind}-{at * 10000 + n}" for n in range(count)]


async def _open(place: Place, hook: str, models: list[str]) -> dict[str, dict[str, Any]]:
    """Open an incident for each model and give the cards once all have their buttons."""
    async with aiohttp.ClientSession(headers=BEARER) as http:
        for model in models:
            async with http.post(hook, json=body([model])) as answer:
                assert answer.status == 202, await answer.text()
    return await _buttons(place, models)


async def _buttons(place: Place, models: list[str]) -> dict[str, dict[str, Any]]:
    async with asyncio.timeout(60):
        while True:
            found = {NAMED.findall(repr(card))[0]: card for card in place.slack.cards() if _approve(card)}
            if all(model in found for model in models):
                return found
            await asyncio.sleep(0.05)


def _approve(card: dict[str, Any]) -> bool:
    return any(
        one.get("action_id") == "approve" for block in card.get("blocks", []) for one in block.get("elements", [])
    )


class Acks:
    """One application twice: acknowledging as it ships, and in Bolt's default mode.

    Then the same people press again while every answer about people comes late: a click that waits for one is counted.
    """

    def __init__(self, place: Place, rounds: int, count: int) -> None:
        self._place, self._rounds, self._count = place, rounds, count
        against = "the same application and handlers in Bolt's default mode"
        self.bolt = Figure("click→ack p99", "ms", against, 0.4, samples=count)
        self.disk = Figure(
            "click→ack p99 less fsync p99", "ms", "fsync probe, 4 KiB", 3, 1, samples=count, difference=True
        )
        asked = "none: what a press asks about was asked before it"
        self.waits = Figure("clicks that wait for a look-up", "clicks", asked, 0, samples=count, difference=True)
        self.figures = [self.bolt, self.disk, self.waits]
        self._children: dict[str, Child] = {}

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for kind, mode in (("ships", "app"), ("default", "bolt-default")):
                models = [name for at in range(self._rounds) for name in _names(kind, at, self._count)]
                folder = self._place.site(f"acks-{kind}", models)
                self._children[kind] = await stack.enter_async_context(self._place.child(mode, folder=folder))
            yield

    async def round(self, at: int) -> None:
        opening = (
            _open(self._place, child.hook, _names(kind, at, self._count)) for kind, child in self._children.items()
        )
        cards = dict(zip(self._children, await asyncio.gather(*opening), strict=True))
        for child in self._children.values():
            await child.quiet(within=0.8)
        kinds = list(self._children)
        p99, fsync = {}, percentile(fsyncs(self._place.folder), 0.99)
        for kind in kinds if at % 2 == 0 else kinds[::-1]:
            self._place.slack.request_url = f"http://127.0.0.1:{self._children[kind].port}/slack/events"
            p99[kind] = percentile(
                [await self._click(cards[kind][name]) for name in _names(kind, at, self._count)], 0.99
            )
        self.bolt.add(1000 * p99["ships"], 1000 * p99["default"])
        self.disk.add(1000 * p99["ships"], 1000 * fsync)
        self.waits.add(await self._waiting([cards["ships"][name] for name in _names("ships", at, self._count)]), 0)

    async def _waiting(self, cards: list[dict[str, Any]]) -> int:
        """Count the clicks that wait for an answer about people: each is late, and only whoever waits for it notices."""
        self._place.slack.request_url = f"http://127.0.0.1:{self._children['ships'].port}/slack/events"
        for method in ABOUT_PEOPLE:
            self._place.slack.fail(method, "slow", times=1_000_000, after=LATE)
        try:
            return sum([await self._click(card) >= LATE for card in cards])
        finally:
            self._place.slack.faults.clear()

    async def _click(self, card: dict[str, Any]) -> float:
        reply = await self._place.slack.click(FIRST, "approve", card["ts"])
        assert reply.status == 200, reply
        await asyncio.sleep(APART)
        return reply.seconds


class Watched(Memory):
    """A memory target that notes when a shift was made and read back."""

    def __init__(self, config: MemoryConfig, context: Context) -> None:
        super().__init__(config, context)
        self.moved: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def apply(self, plan: TargetPlan) -> ApplyResult:
        result = await super().apply(plan)
        if not self.moved.done():
            self.moved.set_result(perf_counter())
        return result


class Moves:
    """The application in this process; its targets are watched."""

    def __init__(self, place: Place, rounds: int, count: int) -> None:
        self._place, self._rounds, self._count = place, rounds, count
        against = "read + write + read on the memory target, and 3 fsyncs"
        self.p99 = Figure("click→traffic moved p99 (memory)", "ms", against, 2, 1.4, samples=count)
        self.figures = [self.p99]
        self._app: Application | None = None
        self._bare: Memory | None = None

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        models = [name for at in range(self._rounds) for name in _names("moved", at, self._count)]
        folder, clock = self._place.site("moves", models), SystemClock()
        with (folder / "log").open("a") as out:
            settings, log = Settings(self._place.environ(folder)), JsonLog(clock, out)
            app = create(settings, clock=clock, log=log, print_checkpoint=lambda _: None)
            config = MemoryConfig(versions=("41", "42"))
            for key in list(app.world.targets):
                app.world.targets[key] = Watched(
                    config, Context(clock=clock, name=key[2], log=log, secret=settings.get)
                )
            self._bare = Memory(config, Context(clock=clock, name="bare", log=log, secret=settings.get))
            await app.start()
            self._app = app
            try:
                yield
            finally:
                await app.stop()
                app.store.close()

    async def round(self, at: int) -> None:
        assert self._app is not None
        models = _names("moved", at, self._count)
        cards = await _open(self._place, f"http://127.0.0.1:{self._app.port}/hooks/alertmanager", models)
        self._place.slack.request_url = f"http://127.0.0.1:{self._app.port}/slack/events"
        for model in models:
            await self._place.slack.click(FIRST, "approve", cards[model]["ts"])
        await asyncio.sleep(0.6)
        reference = await self._bare_ms() if at % 2 == 0 else None
        seconds = [await self._move(model, cards[model]["ts"]) for model in models]
        self.p99.add(1000 * percentile(seconds, 0.99), reference or await self._bare_ms())

    async def _move(self, model: str, ts: str) -> float:
        assert self._app is not None
        target: Any = self._app.world.targets["prod", model, "route"]
        began = perf_counter()
        click = asyncio.create_task(self._place.slack.click(SECOND, "approve", ts))
        async with asyncio.timeout(15):
            moved: float = await target.moved
        await click
        return moved - began

    async def _bare_ms(self) -> float:
        return 1000 * percentile([await self._bare_move() for _ in range(self._count)], 0.99)

    async def _bare_move(self) -> float:
        assert self._bare is not None
        began = perf_counter()
        state = await self._bare.read()
        serves = "42" if state.split.share("42") else "41"
        other = {"41": "42", "42": "41"}[serves]
        split = state.split.model_copy(
            update={"weights": {serves: type(state.split.share(serves))(0), other: state.split.share(serves)}}
        )
        intent = Intent(
            to_split=split, bad=serves, good=other, reason="bench", incident_id="bench", idempotency_key="bench"
        )
        await self._bare.apply(await self._bare.plan(intent, state))
        await self._bare.read()
        await asyncio.to_thread(fsyncs, Path(self._place.folder), 3)
        return perf_counter() - began
