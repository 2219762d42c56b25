"""A flag file: a JSON file of percent by version that a service reads at every request. The newcomer of CONTRIBUTING."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

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
from bot.errors import Unavailable
from bot.ports import Context


class FlagFileConfig(BaseModel):
    """`path` is the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str


class FlagFile:
    """Moves traffic by replacing the file. It cannot count requests, so the data plane is for others to prove."""

    kind: ClassVar[str] = "flagfile"
    api_version: ClassVar[int] = 1
    Config: ClassVar[type[BaseModel]] = FlagFileConfig
    capabilities: ClassVar[Capabilities] = Capabilities(level="control_plane", concurrency="strict")

    def __init__(self, config: FlagFileConfig, context: Context) -> None:
        self._path, self._context = Path(config.path), context

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _split(self) -> TrafficSplit:
        try:
            return TrafficSplit(
                weights={name: Decimal(share) for name, share in json.loads(self._path.read_text()).items()}
            )
        except OSError as error:
            message = f"The flag file of {self._context.name} cannot be read: {error.strerror}."
            raise Unavailable(message) from error

    async def preflight(self) -> tuple[Finding, ...]:
        self._split()
        return ()

    async def read(self) -> TargetState:
        split = self._split()
        revisions = tuple(
            Revision(id=name, serving=split.share(name) > 0) for name in sorted(split.weights, reverse=True)
        )
        return TargetState(
            target=self._context.name, desired=split, revisions=revisions, token=digest([str(split)]), observed_at=self._context.clock.now()
        )  # fmt: skip

    async def plan(self, intent: Intent, state: TargetState) -> TargetPlan:
        return TargetPlan(
            target=self._context.name, adapter=self.kind, before=state, to_split=intent.to_split, bad=intent.bad, good=intent.good,
            calls=(Call(text=f"write {intent.to_split}"),), noop=state.split.same(intent.to_split), concurrency="strict", undo=state.split,
        )  # fmt: skip

    async def apply(self, plan: TargetPlan) -> ApplyResult:
        began, state = self._context.clock.now(), await self.read()
        if state.split.same(plan.to_split):
            outcome, detail = Outcome.NOOP, "Already there."
        elif state.token != plan.before.token and not plan.restoring:
            outcome, detail = Outcome.CONFLICT, f"It is {state.split} now."
        else:
            fresh = self._path.with_suffix(".fresh")
            fresh.write_text(json.dumps({name: str(share) for name, share in plan.to_split.weights.items()}))
            fresh.replace(self._path)
            outcome, detail = Outcome.APPLIED, "Written and read back."
        return ApplyResult(outcome=outcome, detail=detail, started_at=began, finished_at=self._context.clock.now())

    async def reading(self) -> Reading:
        self._split()
        return Reading(at=self._context.clock.now())

    async def verify(self, plan: TargetPlan, baseline: Reading | None) -> Verification:
        there = self._split().same(plan.to_split)
        return Verification(
            control_plane="converged" if there else "diverged", data_plane="inconclusive",
            detail="A flag file counts no requests.", reading=await self.reading(),
        )  # fmt: skip


ADAPTER = FlagFile
