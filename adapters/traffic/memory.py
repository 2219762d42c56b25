"""A fake target, shipped for tests and drills: it moves numbers, not traffic, and says so."""

from __future__ import annotations

import asyncio
import fcntl
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.counters import Control, judge
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
from bot.domain.value import Value, digest
from bot.errors import Unavailable
from bot.ports import Context

LOOK = 400  # made-up requests that arrive at each look, so a fake recovers without a client


class MemoryConfig(BaseModel):
    """`versions` oldest first, `serving` percent by version (the newest has all); `path` keeps the split in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: tuple[str, ...] | dict[str, str] = Field(min_length=1)
    serving: dict[str, Decimal] = Field(default_factory=dict)
    path: str | None = None

    @model_validator(mode="after")
    def _serves_what_it_has(self) -> MemoryConfig:
        if strange := sorted(self.serving.keys() - set(self.versions)):
            message = f"serving names {', '.join(strange)}, which is no version of this target"
            raise ValueError(message)
        if self.serving and (sum(self.serving.values()) != 100 or min(self.serving.values()) < 0):
            raise ValueError("the shares under serving must be at least 0 and sum to 100")
        return self


class Fault(StrEnum):
    """What a drill can let go wrong. `down` lasts while it is listed; each other one is used up by one `apply`."""

    DOWN = "down"  # nothing answers
    REFUSE = "refuse"  # nothing is sent
    CONFLICT = "conflict"  # somebody was faster
    LOSE = "lose"  # moved, and the answer is lost
    PARTIAL = "partial"  # half of it moved, and the answer is lost
    LIE = "lie"  # says moved, and did not
    HANG = "hang"  # never answers, nothing moved
    STALL = "stall"  # moved, and never answers


class Held(Value):
    """What a fake target holds: the split, its generation, how often `apply` moved it, and made-up request counts."""

    split: TrafficSplit
    generation: int = 1
    shifts: int = 0
    requests: dict[str, int]
    epoch: str

    @property
    def token(self) -> str:
        """Give the precondition: another one after every change, also when the split is back where it was."""
        return digest([self.generation, str(self.split)])[:16]

    def moved(self, split: TrafficSplit) -> Held:
        """Give the next generation."""
        return self.but(split=split, generation=self.generation + 1)

    def served(self, requests: int) -> Held:
        """Let this many requests arrive, shared out by the split."""
        more = {name: count + int(requests * self.split.share(name) / 100) for name, count in self.requests.items()}
        return self.but(requests=more)


class MemoryWorld:
    """Where fake traffic lives. Adapters that share one see the same target, and so do processes that share a file.

    With a `path` every shift by `apply` adds one line to `<path>.effects`, killed processes included: a line that a
    kill kept from being written is added by whoever looks next.
    """

    def __init__(self, versions: Sequence[str], serving: TrafficSplit | None = None, path: str | None = None) -> None:
        """Start at `serving`, else with everything on the newest version, or at what the file holds."""
        start = serving or TrafficSplit(weights={name: Decimal(100 * (name == versions[-1])) for name in versions})
        self.faults: list[str] = []
        self._path = Path(path) if path else None
        self._held = Held(split=start, requests=dict.fromkeys(versions, 0), epoch=uuid.uuid4().hex[:8])

    @property
    def held(self) -> Held:
        """Give what it holds now."""
        with self._alone():
            return self._held

    def change(self, step: Callable[[Held], Held], *, given: str | None = None, effect: bool = False) -> bool:
        """Take one step, unless the token is no longer `given`; `effect` counts it as a shift."""
        with self._alone():
            if given is not None and self._held.token != given:
                return False
            self._held = step(self._held).but(shifts=self._held.shifts + effect)
            self._keep()
            return True

    def serve(self, requests: int) -> None:
        """Let requests arrive."""
        self.change(lambda held: held.served(requests))

    def restart(self) -> None:
        """Begin all counters at 0, as a proxy that was restarted does."""
        self.change(lambda held: held.but(requests=dict.fromkeys(held.requests, 0), epoch=uuid.uuid4().hex[:8]))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the file's lock, which the kernel frees when a process dies, and know what the file says."""
        if self._path is None:
            yield
            return
        with self._locked():
            if self._path.exists():
                self._held = _held_in(self._path)
            self._note()
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = self._effects().open("a")
        except OSError as error:
            message = f"{self._path} cannot be used: {error.strerror}."
            raise Unavailable(message) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _keep(self) -> None:
        if self._path is not None:
            fresh = self._path.with_name(f"{self._path.name}.new")
            fresh.write_text(self._held.model_dump_json())
            fresh.replace(self._path)
            self._note()

    def _note(self) -> None:
        with self._effects().open("r+") as out:
            if len(out.readlines()) < self._held.shifts:
                out.write(f"{self._held.shifts} {self._held.split}\n")

    def _effects(self) -> Path:
        return Path(f"{self._path}.effects")


class Memory:
    """A target that exists only in the mind of this process, or in a file."""

    kind: ClassVar[str] = "memory"
    api_version: ClassVar[int] = 1
    Config: ClassVar[type[BaseModel]] = MemoryConfig
    capabilities: ClassVar[Capabilities] = Capabilities(level="fake", concurrency="strict", dry_run="client")

    def __init__(self, config: MemoryConfig, context: Context, world: MemoryWorld | None = None) -> None:
        """Use `world`, which outlives this object, or one of its own."""
        self._context, self._names = context, list(config.versions)
        self.leaves = ""  # what a drill lets a rollback leave behind
        start = None
        if config.serving:
            start = TrafficSplit(weights={name: config.serving.get(name, Decimal(0)) for name in self._names})
        self.world = world or MemoryWorld(self._names, start, config.path)

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    @property
    def faults(self) -> list[str]:
        """Give the faults that wait, first first; a drill appends to it."""
        return self.world.faults

    @property
    def split(self) -> TrafficSplit:
        """Give the split now."""
        return self.world.held.split

    @property
    def requests(self) -> dict[str, int]:
        """Give the made-up requests each version served."""
        return dict(self.world.held.requests)

    @property
    def shifts(self) -> int:
        """Give how often `apply` moved the split."""
        return self.world.held.shifts

    def serve(self, requests: int) -> None:
        """Let this many requests arrive, shared out by the split."""
        self.world.serve(requests)

    def move(self, split: dict[str, int]) -> None:
        """Change the split from outside, as another manager would."""
        to = TrafficSplit(weights={name: Decimal(split.get(name, 0)) for name in self._names})
        self.world.change(lambda held: held.moved(to))

    async def preflight(self) -> tuple[Finding, ...]:
        """Say that it is a fake."""
        self._reach()
        return (Finding(level="warning", message=f"{self._context.name} is a memory target: no real traffic moves."),)

    def _reach(self) -> None:
        if Fault.DOWN in self.faults:
            message = f"{self._context.name} does not answer."
            raise Unavailable(message)

    async def read(self) -> TargetState:
        """Give the split and a strong token."""
        self._reach()
        held = self.world.held
        revisions = tuple(Revision(id=name, serving=held.split.share(name) > 0) for name in reversed(self._names))
        return TargetState(
            target=self._context.name, desired=held.split, revisions=revisions, token=held.token, observed_at=self._context.clock.now(),
        )  # fmt: skip

    async def plan(self, intent: Intent, state: TargetState) -> TargetPlan:
        """Say what would change."""
        call = Call(text=f"set the split to {intent.to_split}")
        return TargetPlan(
            target=self._context.name, adapter=self.kind, before=state, to_split=intent.to_split, bad=intent.bad, good=intent.good,
            calls=(call,), noop=state.split.same(intent.to_split), concurrency="strict", undo=state.split, leaves=self.leaves,
        )  # fmt: skip

    async def apply(self, plan: TargetPlan) -> ApplyResult:
        """Move, unless a fault says otherwise."""
        self._reach()
        began, held = self._context.clock.now(), self.world.held
        fault = self.faults.pop(0) if self.faults else ""
        if fault == Fault.REFUSE:
            message = f"{self._context.name} does not answer."
            raise Unavailable(message)
        if held.split.same(plan.to_split):
            return self._result(Outcome.NOOP, "Already there.", began)
        if fault == Fault.CONFLICT or (held.token != plan.before.token and not plan.restoring):
            return self._conflict(plan, began)
        return await self._move(plan.to_split, held, fault, began)

    async def _move(self, goal: TrafficSplit, held: Held, fault: str, began: datetime) -> ApplyResult:
        if fault == Fault.HANG:
            await asyncio.Event().wait()
        to = _halfway(held.split, goal) if fault == Fault.PARTIAL else goal
        if fault != Fault.LIE and not self.world.change(lambda now: now.moved(to), given=held.token, effect=True):
            return self._result(Outcome.CONFLICT, f"{self._context.name} is {self.split} now.", began)
        if fault == Fault.STALL:
            await asyncio.Event().wait()
        if fault in (Fault.LOSE, Fault.PARTIAL):
            return self._result(Outcome.INDETERMINATE, "The answer was lost.", began)
        return self._result(Outcome.APPLIED, "Set and read back.", began)

    def _conflict(self, plan: TargetPlan, began: datetime) -> ApplyResult:
        detail = f"{self._context.name} was {plan.before.split} and is {self.split} now."
        return self._result(Outcome.CONFLICT, detail, began)

    def _result(self, outcome: Outcome, detail: str, began: datetime) -> ApplyResult:
        token = None if outcome is Outcome.INDETERMINATE else self.world.held.token
        return ApplyResult(
            outcome=outcome, detail=detail, token=token, started_at=began, finished_at=self._context.clock.now()
        )

    async def reading(self) -> Reading:
        """Give the made-up counters."""
        self._reach()
        held = self.world.held
        return Reading(at=self._context.clock.now(), requests=held.requests, epoch=held.epoch)

    async def verify(self, plan: TargetPlan, baseline: Reading | None) -> Verification:
        """Judge by the made-up counters; each look lets requests arrive."""
        self._reach()
        self.serve(LOOK)
        control: Control = "converged" if self.split.same(plan.to_split) else "diverged"
        return judge(plan, control, baseline, await self.reading(), noun="made-up requests")


def _held_in(path: Path) -> Held:
    try:
        return Held.model_validate_json(path.read_bytes())
    except ValueError as error:
        message = f"{path} holds no memory target; take it away to begin anew."
        raise Unavailable(message) from error


def _halfway(now: TrafficSplit, goal: TrafficSplit) -> TrafficSplit:
    names = {*now.weights, *goal.weights}
    return TrafficSplit(weights={name: (now.share(name) + goal.share(name)) / 2 for name in sorted(names)})


ADAPTER = Memory
