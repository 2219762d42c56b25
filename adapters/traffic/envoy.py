"""Envoy: weighted clusters moved by runtime keys, or by a route file that Envoy watches.

The admin interface checks nothing: it answers 200 to a misspelt key and to weights that are no numbers. So every
write is read back from `/config_dump` and `/runtime`, and only the clusters' own counters prove that traffic moved.
Runtime overrides live in each Envoy process and end with it; every admin address is called and all must agree.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.address import Address
from adapters.counters import Control, judge
from adapters.traffic._envoy_admin import EnvoyAdmin
from adapters.traffic._envoy_file import RouteFile
from adapters.traffic._envoy_split import Look, Scale
from bot.domain import words
from bot.domain.traffic import (
    ApplyResult,
    Call,
    Capabilities,
    Finding,
    Intent,
    Outcome,
    Reading,
    Revision,
    TargetPlan,
    TargetState,
    TrafficSplit,
    Verification,
)
from bot.domain.value import digest
from bot.errors import AdapterError, Blocked, TokenMoved, Unavailable
from bot.ports import Context

# An apply waits at most seven times in a row: what is, refusals so far, the write, until it shows, a last look, its
# refusals, and who holds what.
ROUNDS = 7
PAUSE = 0.05  # seconds between two looks for a change Envoy took and has not shown yet
SHOWS = 0.15  # seconds within which a runtime key that was taken shows


class EnvoyConfig(BaseModel):
    """Where Envoy's admin is and which cluster serves which version, oldest first.

    `mode: runtime` needs `runtime_key_prefix`; `mode: rds` needs `rds_path`, a JSON DiscoveryResponse Envoy watches.
    `timeout` in seconds bounds reading, applying and verifying.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["runtime", "rds"] = "runtime"
    admin: tuple[Address, ...] = Field(min_length=1, repr=False)  # they may carry credentials
    runtime_key_prefix: str | None = None
    rds_path: str | None = None
    versions: dict[str, str] = Field(min_length=1)
    timeout: float = Field(default=20.0, gt=0, le=60)

    @model_validator(mode="after")
    def _names_its_place(self) -> EnvoyConfig:
        if self.mode == "runtime" and not self.runtime_key_prefix:
            raise ValueError("mode runtime needs runtime_key_prefix")
        if self.mode == "rds" and not self.rds_path:
            raise ValueError("mode rds needs rds_path")
        if len(set(self.versions.values())) < len(self.versions):
            raise ValueError("two versions name the same cluster")
        return self


class Envoy:
    """Moves the weights of one weighted-clusters route."""

    kind: ClassVar[str] = "envoy"
    api_version: ClassVar[int] = 1
    Config: ClassVar[type[BaseModel]] = EnvoyConfig
    capabilities: ClassVar[Capabilities] = Capabilities(level="data_plane", concurrency="best_effort", dry_run="client")

    def __init__(self, config: EnvoyConfig, context: Context) -> None:
        """Talk to every admin address of `config`."""
        self._config, self._context = config, context
        self._clusters = frozenset(config.versions.values())
        self._scale = Scale(context.name, config.versions)
        self._admins = [EnvoyAdmin(url, config.timeout / ROUNDS) for url in config.admin]
        self._file = RouteFile(config.rds_path, self._clusters) if config.mode == "rds" and config.rds_path else None
        self._prefix = config.runtime_key_prefix if config.mode == "runtime" else None
        self._last = Look(())
        self._moving: set[asyncio.Task[ApplyResult]] = set()

    async def __aenter__(self) -> Self:
        """Open a pool for each address."""
        for admin in self._admins:
            admin.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let a write that outlived its caller end, then close."""
        await asyncio.gather(*self._moving, return_exceptions=True)
        for admin in self._admins:
            await admin.close()

    # ── what is ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _look(self) -> Look:
        each = await asyncio.gather(*(admin.routes(self._clusters, self._prefix) for admin in self._admins))
        places = tuple((a.name, route) for a, routes in zip(self._admins, each, strict=True) for route in routes)
        file, fingerprint = await asyncio.to_thread(self._file.routes) if self._file else ([], "")
        self._last = Look(places, tuple(file), fingerprint)
        return self._last

    async def read(self) -> TargetState:
        """Read the split from every address; where they differ the state is their mean and is progressing."""
        return self._state(await self._look())

    def _state(self, look: Look) -> TargetState:
        now = self._scale.mean(route for _, route in look.places)
        desired = self._scale.mean(look.file) if look.file else now
        revisions = tuple(
            Revision(id=name, label=cluster, serving=now.share(name) > 0)
            for name, cluster in reversed(self._config.versions.items())
        )
        token = digest([look.fingerprint, *(dict(route.used) for _, route in look.places)])[:16]
        agreed = all(self._scale.split(route).same(desired) for route in look.routes)
        return TargetState(
            target=self._context.name, desired=desired, observed=now if look.file else None, revisions=revisions,
            token=token, progressing=not agreed, observed_at=self._context.clock.now(),
        )  # fmt: skip

    # ── what would be ─────────────────────────────────────────────────────────────────────────────────────────────

    async def preflight(self) -> tuple[Finding, ...]:
        """Check that every address answers, that its route reads our keys or file, and what outlives an Envoy."""
        look = await self._look()
        names = words.listed(admin.name for admin in self._admins)
        found = [Finding(level="ok", message=f"Envoy answers at {names}.")]
        if self._state(look).progressing:
            held = "; ".join(f"{where} {what}" for where, what in self._scale.held(look).items())
            found.append(Finding(level="warning", message=f"The addresses do not agree: {held}."))
        found += await self._uncounted()
        return (*found, *(await self._runtime_findings(look) if self._file is None else self._file_findings()))

    async def _uncounted(self) -> list[Finding]:
        counted = (await self.reading()).requests
        missing = [cluster for name, cluster in self._config.versions.items() if name not in counted]
        if not missing:
            return []
        message = f"Envoy keeps no counter of {words.listed(missing)}, so nobody can tell whether traffic moved."
        mend = f"Let `cluster.{missing[0]}.upstream_rq_total` through its stats_matcher."
        return [Finding(level="warning", message=message, mend=mend)]

    async def _runtime_findings(self, look: Look) -> list[Finding]:
        found = []
        prefix = str(self._prefix)
        for message, mend in await asyncio.gather(*(admin.obstacle(self._clusters, prefix) for admin in self._admins)):
            found += [Finding(level="blocker", message=message, mend=mend)] if message else []
        others = await asyncio.gather(*(admin.unmoved(self._clusters, str(self._prefix)) for admin in self._admins))
        if any(others):
            message = f"{sum(others)} more weighted routes lead to these clusters and are not moved by these keys."
            found.append(Finding(level="warning", message=message, mend="Give them a target of their own."))
        message = "A runtime override ends with its Envoy process."
        if any(route.used != route.written for _, route in look.places):
            message = "The weights in use are overrides; an Envoy that restarts goes back to its written weights."
        mend = "Write the durable route too once the incident is closed."
        return [*found, Finding(level="warning", message=message, mend=mend)]

    def _file_findings(self) -> list[Finding]:
        path = Path(str(self._config.rds_path))
        found = []
        if not os.access(path.parent, os.W_OK):
            message, mend = f"{path.parent} cannot be written.", "Give Lastgood's user the right."
            found.append(Finding(level="blocker", message=message, mend=mend))
        if path.is_symlink():
            message = f"{path} is a link, so whoever sets it decides what Envoy reads."
            mend = "Set `rds_path` to a plain file that Envoy watches."
            found.append(Finding(level="blocker", message=message, mend=mend))
        return found

    async def plan(self, intent: Intent, state: TargetState) -> TargetPlan:
        """Say the one write it would make to each address, or to the file."""
        goal = intent.to_split
        calls = self._file_calls(intent) if self._file else tuple(self._call(admin, goal) for admin in self._admins)
        return TargetPlan(
            target=self._context.name, adapter=self.kind, before=state, to_split=goal, bad=intent.bad, good=intent.good,
            calls=calls, noop=state.split.same(goal) and not state.progressing, concurrency="best_effort", undo=state.split,
            **self._leaves(),
        )  # fmt: skip

    def _leaves(self) -> dict[str, str]:
        """Name what the runtime way leaves behind: an override that ends with the process and hides the static weights."""
        if self._file is not None:
            return {}
        prefix = self._config.runtime_key_prefix
        keys = "&".join(f"{quote(f'{prefix}.{cluster}')}=" for cluster in self._config.versions.values())
        by_hand = [f"{_curl(admin)} {shlex.quote(f'{admin.url}/runtime_modify?{keys}')}" for admin in self._admins]
        return {
            "leaves": f"a runtime override of {prefix}.* in Envoy. It ends with the process: until the configuration says the same, a restart brings the old weights back, and so does clearing it.",
            "leaves_by_hand": "; ".join(by_hand),
        }

    async def left(self, plan: TargetPlan) -> str:
        """Say that the override is still needed: the weights in use are not yet the written ones."""
        if self._file is not None:
            return ""
        look = await self._look()
        return plan.leaves if any(route.used != route.written for _, route in look.places) else ""

    def _call(self, admin: EnvoyAdmin, goal: TrafficSplit) -> Call:
        url = f"{admin.url}/runtime_modify?{urlencode(self._keys(admin, goal, self._last))}"
        return Call(text=f"POST {url}", by_hand=f"{_curl(admin)} {shlex.quote(url)}")

    def _keys(self, admin: EnvoyAdmin, goal: TrafficSplit, look: Look) -> dict[str, int]:
        """Give every key of the route with a constant sum, what is raised first: Envoy never sees all weights at 0."""
        used = next((route.used for where, route in look.places if where == admin.name), None)
        before = used or dict.fromkeys(self._clusters, 0)
        weights = self._scale.weights(goal, before)
        order = sorted(weights, key=lambda name: (before[name] - weights[name], name))
        return {f"{self._prefix}.{name}": weights[name] for name in order}

    def _file_calls(self, intent: Intent) -> tuple[Call, ...]:
        path = str(self._config.rds_path)
        before = self._last.file[0].used if self._last.file else dict.fromkeys(self._clusters, 0)
        weights = self._scale.weights(intent.to_split, before)
        edits = [
            f'(.. | objects | select(has("weight") and .name == "{name}") | .weight) = {w}'
            for name, w in weights.items()
        ]
        program = " | ".join([f'.version_info = "{intent.idempotency_key}"', *edits])
        fresh = shlex.quote(f"{path}.by-hand")
        by_hand = f"jq {shlex.quote(program)} {shlex.quote(path)} > {fresh} && mv {fresh} {shlex.quote(path)}"
        return (Call(text=f"replace {path} with weights {intent.to_split}", by_hand=by_hand),)

    # ── making it so ──────────────────────────────────────────────────────────────────────────────────────────────

    async def apply(self, plan: TargetPlan) -> ApplyResult:
        """Read, compare, write once, read back. A write that began ends, also when the caller is cancelled."""
        began = self._context.clock.now()
        look = await self._look()
        if self._scale.at(plan.to_split, look):
            return self._result(Outcome.NOOP, "Already there.", began, look)
        if self._moved(plan, look):
            detail = f"{self._context.name} was {plan.before.split} and is {self._state(look).split} now."
            return self._result(Outcome.CONFLICT, detail, began, look)
        task = asyncio.ensure_future(self._move(plan.to_split, look, began))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)
        return await asyncio.shield(task)

    def _moved(self, plan: TargetPlan, look: Look) -> bool:
        """Say whether somebody else changed it. Some addresses before and some at the goal is our own write, half done."""
        state = self._state(look)
        if plan.restoring or state.token == plan.before.token:
            return False
        splits = [self._scale.split(route) for route in look.routes]
        return not state.progressing or not all(s.same(plan.before.split) or s.same(plan.to_split) for s in splits)

    async def _move(self, goal: TrafficSplit, look: Look, began: datetime) -> ApplyResult:
        """Write and read back. Once something was sent, every answer is a value."""
        if self._file is not None:
            return await self._move_file(self._file, goal, look, began)
        answers = await asyncio.gather(*(self._send(admin, goal, look) for admin in self._admins))
        if said := " ".join(text for _, text in answers if text):
            # Refused here and taken there is neither: it is read, and the rest is sent again.
            refused = all(outcome is Outcome.REJECTED for outcome, _ in answers)
            return await self._failed(Outcome.REJECTED if refused else Outcome.INDETERMINATE, said, began)
        return await self._read_back(goal, began, within=SHOWS)

    async def _send(self, admin: EnvoyAdmin, goal: TrafficSplit, look: Look) -> tuple[Outcome, str]:
        try:
            refused = await admin.modify(self._keys(admin, goal, look))
        except Unavailable:
            return Outcome.INDETERMINATE, f"Envoy at {admin.name} did not answer the write."
        return (Outcome.REJECTED, refused) if refused else (Outcome.APPLIED, "")

    async def _move_file(self, file: RouteFile, goal: TrafficSplit, look: Look, began: datetime) -> ApplyResult:
        refused = await self._refusals()
        try:
            swap = await asyncio.to_thread(file.replace, lambda used: self._scale.weights(goal, used), look.fingerprint)
        except TokenMoved as error:
            return self._result(Outcome.CONFLICT, str(error), began, look)
        except OSError as error:
            message = f"{file.path} cannot be replaced: {error.strerror}."
            raise Blocked(message) from error
        result = await self._read_back(goal, began, within=self._config.timeout / ROUNDS, refused=refused)
        if result.outcome is Outcome.REJECTED:
            # An Envoy that restarts on a file it refuses has no routes at all.
            back = await asyncio.to_thread(file.put_back, swap)
            return result.but(detail=f"{result.detail} {back}")
        return result

    async def _read_back(self, goal: TrafficSplit, began: datetime, *, within: float, refused: int = 0) -> ApplyResult:
        """Look until every address is at the goal, or until one counts a refused route file."""
        time = asyncio.get_running_loop().time
        until = time() + within
        try:
            while True:
                look = await self._look()
                if self._scale.at(goal, look):
                    return self._result(Outcome.APPLIED, "Envoy took the change, read back.", began, look)
                if self._file and await self._refusals() > refused:
                    return await self._failed(Outcome.REJECTED, "Envoy refused the route file.", began)
                if time() >= until:
                    break
                await asyncio.sleep(PAUSE)
        except AdapterError as error:
            return await self._failed(Outcome.INDETERMINATE, f"Written, and then: {error}", began)
        return await self._failed(Outcome.REJECTED, "Envoy answered and did not change.", began)

    async def _refusals(self) -> int:
        return sum(await asyncio.gather(*(admin.rejections() for admin in self._admins)))

    async def _failed(self, outcome: Outcome, detail: str, began: datetime) -> ApplyResult:
        """Say who holds what, as far as they answer."""
        held = dict(await asyncio.gather(*(self._holding(admin) for admin in self._admins)))
        told = f"{detail} Held now: {'; '.join(f'{where} {what}' for where, what in held.items())}."
        return ApplyResult(
            outcome=outcome, detail=told, receipt=held, started_at=began, finished_at=self._context.clock.now()
        )

    async def _holding(self, admin: EnvoyAdmin) -> tuple[str, str]:
        try:
            routes = await admin.routes(self._clusters, self._prefix)
            return admin.name, str(self._scale.mean(routes))
        except AdapterError:
            return admin.name, "unknown (no answer)"

    def _result(self, outcome: Outcome, detail: str, began: datetime, look: Look) -> ApplyResult:
        return ApplyResult(
            outcome=outcome, detail=detail, token=self._state(look).token, receipt=self._scale.held(look), started_at=began,
            finished_at=self._context.clock.now(),
        )  # fmt: skip

    # ── proof ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def reading(self) -> Reading:
        """Sum each version's requests over every Envoy; a version that one of them does not count is left out."""
        each = await asyncio.gather(*(admin.counters(self._clusters) for admin in self._admins))
        total = {
            name: sum(counts[cluster] for counts, _ in each)
            for name, cluster in self._config.versions.items()
            if all(cluster in counts for counts, _ in each)
        }
        return Reading(at=self._context.clock.now(), requests=total, epoch=",".join(mark for _, mark in each))

    async def verify(self, plan: TargetPlan, baseline: Reading | None) -> Verification:
        """Compare the counters with the baseline: has the bad version's stopped, over how many requests?"""
        look, reading = await asyncio.gather(self._look(), self.reading())
        control: Control = "progressing" if self._state(look).progressing else "diverged"
        return judge(plan, "converged" if self._scale.at(plan.to_split, look) else control, baseline, reading)


def _curl(admin: EnvoyAdmin) -> str:
    """Begin the command a person would type; a credential stays in their own file."""
    return "curl --netrc -X POST" if admin.guarded else "curl -X POST"


ADAPTER = Envoy
