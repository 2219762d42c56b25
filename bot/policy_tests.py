"""Table tests of a policy: cases in YAML beside it, each with its facts and what must be decided about them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from bot.domain import calendar, words
from bot.domain.catalogue import Catalogue
from bot.domain.duration import Duration, parse_duration, write_duration
from bot.domain.entries import Mode, Rung, Tell
from bot.domain.facts import FACTS
from bot.domain.policy import Bounds, Decision, decide
from bot.domain.roles import Place
from bot.domain.value import Value
from bot.errors import ConfigError, Problem
from bot.shapes import held, meant
from bot.yaml_file import Path_, Source, read

FOLDER, FILE = "policy-tests", "policy-tests.yaml"
_AGO = re.compile(r"(\S+)\s+ago")
_KINDS = {"string": "text", "int": "a whole number", "double": "a number", "bool": "true or false"}
_PARTS = (  # keys of `expect` that must be equal, those that must be contained
    ("mode", "rule", "tell", "confirm", "ask_reason", "step_up", "escalate_to", "plan_ttl", "due_in"),
    ("reason", "doubt"),
)


class Ordered(Value):
    """What people ordered, beside the facts: `autopilot: off`, `observe: true`, `snoozed: true`, rungs by rule."""

    autopilot: Literal["on", "off"] = "on"
    observe: bool = False
    snoozed: bool = False
    rungs: dict[str, Rung] = Field(default_factory=dict)

    def bounds(self) -> Bounds:
        """Give it as policy takes it."""
        return Bounds(
            autopilot_off="Autopilot is off." if self.autopilot == "off" else "", observing=self.observe,
            snoozed="The incident is snoozed." if self.snoozed else "", rungs=self.rungs,
        )  # fmt: skip


class Expected(Value):
    """What must be decided: only what is written is compared. `reason` and `doubt` must be contained."""

    mode: Mode | None = None
    rule: str | None = None
    require: tuple[Place, ...] | None = None
    reason: str | None = None
    tell: Tell | None = None
    doubt: str | None = None
    confirm: bool | None = None
    ask_reason: bool | None = None
    step_up: bool | None = None
    escalate_to: str | None = None
    plan_ttl: Duration | None = None
    due_in: Duration | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> Expected:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("expects nothing; write `mode`, `rule` or another key of the decision")
        return self


class Case(Value):
    """One case. A fact that is not written is unknown, unless `defaults` has it; `null` makes it unknown again."""

    name: str = Field(min_length=1)
    facts: dict[str, Any] = Field(default_factory=dict)
    bounds: Ordered = Ordered()
    expect: Expected


class PolicyTests(Value):
    """One file of cases, and the facts every case begins with."""

    defaults: dict[str, Any] = Field(default_factory=dict)
    cases: tuple[Case, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that was expected and did not come."""

    what: str
    expected: str
    came: str


@dataclass(frozen=True, slots=True)
class Result:
    """How one case came out, and where it stands."""

    file: str
    line: int
    column: int
    name: str
    decision: Decision
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Say whether everything came as expected."""
        return not self.differences


def schema() -> dict[str, Any]:
    """Give the JSON Schema with which editors complete a file of tests."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **PolicyTests.model_json_schema()}


def beside(config: Path) -> list[Path]:
    """Give the files of tests beside a configuration: `policy-tests.yaml`, then `policy-tests/*.yaml`."""
    one, folder = config.parent / FILE, config.parent / FOLDER
    return [*([one] if one.exists() else []), *sorted(folder.glob("*.yaml"))]


def run(files: Sequence[tuple[Path, str]], catalogue: Catalogue) -> list[Result]:
    """Run every case of these files, each given with the name it is shown under.

    Raises ConfigError with every mistake in the files; then no case was run.
    """
    results: list[Result] = []
    problems: list[Problem] = []
    for path, name in files:
        try:
            results += _run(read(path, name), catalogue)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return results


def _run(source: Source, catalogue: Catalogue) -> list[Result]:
    tests, problems = held(PolicyTests, source)
    problems = [*source.problems, *problems]
    if tests is None:
        raise ConfigError(problems)
    results = []
    for n, case in enumerate(tests.cases):
        path: Path_ = ("cases", n)
        facts, wrong = _facts(source, path, tests.defaults, case, catalogue)
        problems += [*wrong, *_rules(source, path, case, catalogue)]
        if not problems:
            results.append(_result(source, path, case, decide(catalogue.policy, facts, case.bounds.bounds())))
    if problems:
        raise ConfigError(problems)
    return results


# ── facts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def value(name: str, said: Any, now: datetime | None) -> Any:
    """Read one fact as people write it: `2h ago` for a time, `5m` for seconds, ISO 8601 with a zone, null for unknown.

    Raises ValueError that says what it must be.
    """
    fact = FACTS[name]
    if said is None:
        return None
    if fact.kind == "timestamp":
        return _time(said, now)
    if fact.kind == "map":
        return _spans(said)
    if fact.kind == "double":
        return _number(said, seconds=fact.unit == "s")
    wanted = {"string": str, "int": int, "bool": bool}[fact.kind]
    if not isinstance(said, wanted) or (wanted is int and isinstance(said, bool)):
        message = f"must be {_KINDS[fact.kind]}"
        raise ValueError(message)
    return said


def _time(said: Any, now: datetime | None) -> datetime:
    ago = _AGO.fullmatch(str(said).strip())
    if ago and now is None:
        raise ValueError("is counted from `now`, and there is no `now`")
    try:
        at = now - parse_duration(ago[1]) if ago and now else datetime.fromisoformat(str(said).strip())
    except ValueError as error:
        raise ValueError("is no time; write 2026-11-27T19:00:00+01:00 or `2h ago`") from error
    if at.tzinfo is None:
        raise ValueError("has no zone; write it with one, like 2026-11-27T19:00:00+01:00 or …Z")
    return at


def _number(said: Any, *, seconds: bool) -> float:
    if isinstance(said, (int, float)) and not isinstance(said, bool):
        return float(said)
    if not seconds:
        raise ValueError("must be a number")
    try:
        return parse_duration(said).total_seconds()
    except ValueError as error:
        raise ValueError("must be seconds, or a duration like 5m") from error


def _spans(said: Any) -> dict[str, float]:
    if not isinstance(said, dict):
        raise ValueError("must be keys with values: {error_ratio: 5m}")  # noqa: TRY004  a file's mistake is a ValueError everywhere
    return {str(name): _number(one, seconds=True) for name, one in said.items()}


def completed(facts: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """Add the facts that follow from `now` and from the configuration; what is left out is unknown."""
    now, model = facts.get("now"), catalogue.models.get(str(facts.get("model")))
    follows: dict[str, Any] = {"tier": model.tier} if model else {}
    if now is not None:
        follows |= calendar.facts(catalogue.policy.limits.blackouts, now)
    return {**follows, **facts}


def _facts(
    source: Source, path: Path_, defaults: Mapping[str, Any], case: Case, catalogue: Catalogue
) -> tuple[dict[str, Any], list[Problem]]:
    written = {
        **{name: (("defaults", name), said) for name, said in defaults.items()},
        **{name: ((*path, "facts", name), said) for name, said in case.facts.items()},
    }
    problems: list[Problem] = []
    facts: dict[str, Any] = {}
    for name in sorted(written, key=lambda one: one != "now"):  # `2h ago` needs it
        where, said = written[name]
        if name not in FACTS:
            problems.append(source.problem(where, f"there is no fact `{name}`", meant(name, FACTS), key=True))
            continue
        try:
            facts[name] = value(name, said, facts.get("now"))
        except ValueError as error:
            problems.append(source.problem(where, f"{error}"))
    whole = completed(facts, catalogue)
    if not problems:
        problems += _needed(source, path, whole)
    return whole, problems


def _needed(source: Source, path: Path_, facts: Mapping[str, Any]) -> Iterator[Problem]:
    """Ask for what no decision can do without."""
    for name in ("model", "environment", "tier"):
        if facts.get(name) is None:
            hint = "Write it in `facts` or in `defaults`."
            why = "no model of the configuration says it" if name == "tier" else "rules are for models and environments"
            yield source.problem((*path, "facts"), f"has no `{name}`, and {why}", hint)


def _rules(source: Source, path: Path_, case: Case, catalogue: Catalogue) -> Iterator[Problem]:
    """Hold the rules a case names to those there are."""
    known = [one.id for one in catalogue.policy.rules]
    if case.expect.rule is not None and case.expect.rule not in (*known, "none"):
        message = f"there is no rule `{case.expect.rule}`"
        yield source.problem((*path, "expect", "rule"), message, meant(case.expect.rule, known))
    for name in case.bounds.rungs:
        if name not in known:
            hint = meant(name, known)
            yield source.problem((*path, "bounds", "rungs", name), f"there is no rule `{name}`", hint, key=True)


# ── comparing ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _result(source: Source, path: Path_, case: Case, decision: Decision) -> Result:
    return Result(source.name, *source.place(path), case.name, decision, tuple(_differences(case.expect, decision)))


def _differences(expected: Expected, came: Decision) -> Iterator[Difference]:
    equal, contained = _PARTS
    for name in equal:
        wanted, found = getattr(expected, name), getattr(came, name)
        if wanted is not None and wanted != found:
            yield Difference(name, said(wanted), said(found))
    if expected.require is not None and _counts(expected.require) != _counts(came.require):
        yield Difference("require", places(expected.require), places(came.require))
    for name in contained:
        wanted, found = getattr(expected, name), _plain(getattr(came, name))
        if wanted is not None and wanted not in found:
            yield Difference(name, f'"{wanted}" in it', f'"{found}"')


def _plain(text: str) -> str:
    """Give a sentence with ordinary spaces and without tokens, as people type it."""
    return words.put(text, lambda user: user).replace(words.NBSP, " ")


def _counts(require: Sequence[Place]) -> dict[str, int]:
    return {place.role: place.count for place in require}


def places(require: Sequence[Place]) -> str:
    """Write the places of a quorum in one line."""
    return words.listed([f"{one.count} × {one.role}" if one.count > 1 else one.role for one in require]) or "nobody"


def said(one: Any) -> str:
    """Write one part of a decision."""
    if isinstance(one, bool):
        return "yes" if one else "no"
    if one is None or one == "":
        return "none"
    return one if isinstance(one, str) else write_duration(one)
