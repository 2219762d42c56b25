"""A symbolic link that names the directory being served, for models loaded from disk."""

from __future__ import annotations

import asyncio
import os
import shlex
import uuid
from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import aiohttp
import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from adapters.address import Address
from adapters.counters import Control, judge
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
from bot.errors import AdapterError, NotFound, Unavailable
from bot.ports import Context

PROBES = 30  # at each look; looks add up, so a share of at most 1 % is proven by the tenth
NOTHING = "no version"  # what a probe that got no answer, or one that cannot be read, is counted under
LONGEST = 65_536  # bytes of a probe's answer that are read


class SymlinkConfig(BaseModel):
    """The link, the directory of each version (oldest first), and a URL that tells which version serves.

    The probe's answer names the version in the header `X-Model-Version`, or in a JSON object under `version` or
    `model_version`. Directories are absolute or relative to the link's folder. `timeout` is in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    versions: dict[str, str] = Field(min_length=1)
    probe: Address | None = Field(default=None, repr=False)  # it may carry credentials
    timeout: float = Field(default=5.0, gt=0, le=20)

    @model_validator(mode="after")
    def _tells_versions_apart(self) -> SymlinkConfig:
        if len({os.path.normpath(where) for where in self.versions.values()}) < len(self.versions):
            raise ValueError("two versions name the same directory")
        return self


class Symlink:
    """Swaps the link atomically; proves it by asking the server, when there is one to ask."""

    kind: ClassVar[str] = "symlink"
    api_version: ClassVar[int] = 1
    Config: ClassVar[type[BaseModel]] = SymlinkConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        level="control_plane", concurrency="best_effort", dry_run="client"
    )

    def __init__(self, config: SymlinkConfig, context: Context) -> None:
        """Work on the link of `config`."""
        self._config, self._context = config, context
        self._link, self._folder = Path(config.path), Path(config.path).parent
        self._http: aiohttp.ClientSession | None = None
        self._seen: Counter[str] = Counter()
        self._epoch = uuid.uuid4().hex[:8]

    async def __aenter__(self) -> Self:
        """Open a client for the probe; each probe is a connection of its own, so it reaches any server behind the URL."""
        connector = aiohttp.TCPConnector(limit=8, force_close=True)
        self._http = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._config.timeout), connector=connector
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._http is not None:
            await self._http.close()

    async def preflight(self) -> tuple[Finding, ...]:
        """Check that every version's directory is there and that the link's folder can be written."""
        return await asyncio.to_thread(self._checked)

    def _checked(self) -> tuple[Finding, ...]:
        now = self._now()
        missing = [name for name in self._config.versions if not self._directory(name).is_dir()]
        found = [Finding(level="warning", message=f"Version {name} is not on disk.") for name in missing]
        if not os.access(self._folder, os.W_OK):
            message = f"{self._folder} cannot be written."
            found.append(Finding(level="blocker", message=message, mend="Give Lastgood's user the right."))
        if self._config.probe is None:
            message = "No probe is configured, so nobody can tell what serves."
            found.append(Finding(level="warning", message=message, mend="Set `probe`."))
        return (Finding(level="ok", message=f"{self._link} names version {now}."), *found)

    def _directory(self, version: str) -> Path:
        return self._folder / self._config.versions[version]

    def _now(self) -> str:
        try:
            where = os.readlink(self._link)  # noqa: PTH115 - the raw text is what is shown when it is unknown
        except OSError as error:
            message = f"{self._link} is not a link that can be read: {error.strerror}."
            raise Unavailable(message) from error
        for name in self._config.versions:
            if (self._folder / where).resolve() == self._directory(name).resolve():
                return name
        message = f"{self._link} names {where}, which is no configured version."
        raise NotFound(message)

    async def read(self) -> TargetState:
        """Read where the link points."""
        return await asyncio.to_thread(self._state)

    def _state(self) -> TargetState:
        now = self._now()
        revisions = tuple(
            Revision(id=name, label=where, serving=name == now, restorable=self._directory(name).is_dir())
            for name, where in reversed(self._config.versions.items())
        )
        split = TrafficSplit(weights={name: Decimal(100 * (name == now)) for name in self._config.versions})
        return TargetState(
            target=self._context.name, desired=split, revisions=revisions, token=now, observed_at=self._context.clock.now(),
        )  # fmt: skip

    def _text(self, version: str) -> str:
        """Give what the link will hold: relative, so the tree can be moved or mounted elsewhere."""
        return os.path.relpath(self._directory(version), self._folder)

    async def plan(self, intent: Intent, state: TargetState) -> TargetPlan:
        """Say which directory the link will name."""
        goal = _goal(intent.to_split)
        fresh = f"{self._link}.by-hand"
        by_hand = f"ln -s {shlex.quote(self._text(goal))} {shlex.quote(fresh)} && mv -T {shlex.quote(fresh)} {shlex.quote(str(self._link))}"
        return TargetPlan(
            target=self._context.name, adapter=self.kind, before=state, to_split=intent.to_split, bad=intent.bad, good=intent.good,
            calls=(Call(text=f"link {self._link} to {self._text(goal)}", by_hand=by_hand),), findings=_impossible(intent.to_split),
            noop=state.split.same(intent.to_split), concurrency="best_effort", undo=state.split,
        )  # fmt: skip

    async def apply(self, plan: TargetPlan) -> ApplyResult:
        """Swap the link and make the swap durable."""
        return await asyncio.to_thread(self._apply, plan, self._context.clock.now())

    def _apply(self, plan: TargetPlan, began: datetime) -> ApplyResult:
        now, goal = self._now(), _goal(plan.to_split)
        if plan.to_split.share(goal) != 100 or not self._directory(goal).is_dir():
            detail = f"{self._directory(goal)} cannot take {plan.to_split}. Nothing was changed."
            return self._result(Outcome.REJECTED, detail, began, now)
        if now == goal:
            return self._result(Outcome.NOOP, "Already there.", began, now)
        if now != plan.before.token and not plan.restoring:
            detail = f"The link named version {plan.before.token} and names {now} now."
            return self._result(Outcome.CONFLICT, detail, began, now)
        try:
            self._swap(goal)
        except OSError as error:
            detail = f"{self._link} cannot be replaced: {error.strerror}. Nothing was changed."
            return self._result(Outcome.REJECTED, detail, began, now)
        return self._read_back(goal, began)

    def _swap(self, version: str) -> None:
        fresh = self._link.with_name(f".{self._link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self._text(version))
        fresh.replace(self._link)

    def _read_back(self, goal: str, began: datetime) -> ApplyResult:
        try:
            self._sync()
            now = self._now()
        except (OSError, AdapterError) as error:
            return self._result(Outcome.INDETERMINATE, f"Replaced, and then unreadable: {error}", began, None)
        if now != goal:
            return self._result(Outcome.REJECTED, f"Replaced, and yet it names version {now}.", began, now)
        return self._result(Outcome.APPLIED, "Link replaced, read back.", began, now)

    def _sync(self) -> None:
        """Make the swap outlive a power cut."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _result(self, outcome: Outcome, detail: str, began: datetime, token: str | None) -> ApplyResult:
        return ApplyResult(
            outcome=outcome, detail=detail, token=token, started_at=began, finished_at=self._context.clock.now()
        )

    async def reading(self) -> Reading:
        """Ask the probe some times; counts are of probes, not of users' requests."""
        if self._config.probe is not None:
            answers = await asyncio.gather(*(self._probe(self._config.probe) for _ in range(PROBES)))
            self._seen.update(version or NOTHING for version in answers)
        requests = dict.fromkeys(self._config.versions, 0) | dict(self._seen)
        return Reading(at=self._context.clock.now(), requests=requests, epoch=self._epoch)

    async def _probe(self, url: str) -> str | None:
        if self._http is None:
            raise Unavailable("The symlink adapter is not open.")
        try:
            async with self._http.get(url, allow_redirects=False) as answer:
                named = answer.headers.get("X-Model-Version") or _named(await _start(answer))
                return named and words.plain(named, 40)
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def verify(self, plan: TargetPlan, baseline: Reading | None) -> Verification:
        """Judge by what the server says it serves; without a probe nobody can tell."""
        state, reading = await self.read(), await self.reading()
        control: Control = "converged" if state.split.same(plan.to_split) else "diverged"
        if self._config.probe is None:
            detail = "No probe is configured, so nobody can tell what serves."
            return Verification(control_plane=control, data_plane="inconclusive", detail=detail, reading=reading)
        return judge(plan, control, baseline and self._comparable(baseline, reading), reading, noun="probes")

    def _comparable(self, baseline: Reading, reading: Reading) -> Reading:
        """We count our own probes: what the baseline does not have was never answered before it.

        After a restart of ours all probes are younger than the baseline.
        """
        then = baseline.requests if baseline.epoch == self._epoch else {}
        return baseline.but(epoch=self._epoch, requests={**dict.fromkeys(reading.requests, 0), **then})


def _impossible(split: TrafficSplit) -> tuple[Finding, ...]:
    if split.share(_goal(split)) == 100:
        return ()
    message = f"A link names one version, so {split} is impossible."
    return (Finding(level="blocker", message=message, mend="Send all traffic to one version."),)


def _goal(split: TrafficSplit) -> str:
    return max(split.weights, key=split.share)


async def _start(answer: aiohttp.ClientResponse) -> bytes:
    body = b""
    while len(body) < LONGEST and (part := await answer.content.read(LONGEST - len(body))):
        body += part
    return body


def _named(body: bytes) -> str | None:
    """Give the version a JSON answer names."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = content.get("version", content.get("model_version")) if isinstance(content, dict) else None
    return None if found is None else str(found)


ADAPTER = Symlink
