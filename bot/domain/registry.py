"""What a registry says of a model's versions, and what speaks against going back to one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from bot.domain import words
from bot.domain.value import Value

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Registered(Value):
    """One version as a registry has it; what it does not say is empty or None, and then nobody can tell."""

    version: str
    digest: str | None = None  # of the artefact
    inputs: tuple[str, ...] | None = None  # the names a request must bring
    gates: dict[str, bool] = Field(default_factory=dict)  # passed or not, by name
    scan: Literal["clean", "findings"] | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, Finite] = Field(default_factory=dict)
    run: str = ""
    commit: str = ""
    data: str = ""  # the digest of what it was trained on


class Shelf(Value):
    """Everything a registry says of one model. `reason` says why nobody could tell; then the rest is empty."""

    versions: dict[str, Registered] = Field(default_factory=dict)
    aliases: dict[str, str] = Field(default_factory=dict)
    reason: str = ""


class RegistryUse(Value):
    """Which registry knows this model, under which name, and what a version must be to be gone back to.

    `gates` are the names of gates it must have passed. `inputs` are the names requests bring today; `companions` say which
    target makes an input that requests do not bring, for example a transformer.
    """

    source: str
    name: str = Field(min_length=1)
    gates: tuple[str, ...] = ()
    inputs: tuple[str, ...] | None = None
    companions: dict[str, str] = Field(default_factory=dict)


def missing_inputs(version: Registered, use: RegistryUse) -> tuple[str, ...] | None:
    """Give the inputs a version needs and requests do not bring; None when nobody can tell."""
    if use.inputs is None or version.inputs is None:
        return None
    return tuple(sorted(set(version.inputs) - set(use.inputs)))


def fits(version: Registered, use: RegistryUse, moved: Iterable[str]) -> bool | None:
    """Say whether a version takes the requests of today, with the companions that are moved too; None when nobody can tell."""
    missing = missing_inputs(version, use)
    return None if missing is None else all(use.companions.get(name) in set(moved) for name in missing)


def against(
    name: str, shelf: Shelf, use: RegistryUse, *, served: str | None, moved: Iterable[str]
) -> tuple[str, str] | None:
    """Give what speaks against a version, and what would clear that; None when nothing does or nobody can tell.

    `served` is the digest it was seen to serve with, `moved` the targets of the rollback.
    """
    if shelf.reason:
        return None
    found = shelf.versions.get(name)
    if found is None:
        return f"not in the registry as {use.name} {name}", "Register it, or name it as the registry does."
    if served and found.digest and served != found.digest:
        told = f"its artefact is {found.digest[:12]} now and was {served[:12]} when it served"
        return told, "Put the artefact back that served, or register what is there as another version."
    if found.scan == "findings":
        return "its scan has findings", "Release it only after they are closed."
    failed = [gate for gate in use.gates if found.gates.get(gate) is False]
    if failed:
        return f"it failed {words.listed(failed)}", "Let it pass first."
    return _unfit(found, use, moved)


def _unfit(found: Registered, use: RegistryUse, moved: Iterable[str]) -> tuple[str, str] | None:
    missing = missing_inputs(found, use) or ()
    left = [name for name in missing if use.companions.get(name) not in set(moved)]
    if not left:
        return None
    helpers = sorted({use.companions[name] for name in left if name in use.companions})
    mend = (
        f"Move {words.listed(helpers)} with it: add it to the runbook's steps."
        if helpers
        else "No companion target makes it."
    )
    return f"it needs {words.listed(left)}, which requests do not bring", mend


def doubts(name: str, shelf: Shelf, use: RegistryUse, served: str | None) -> list[str]:
    """Give what nobody could tell about a version, in sentences; none is taken for fine."""
    if shelf.reason:
        return [f"The registry cannot tell about {name}: {shelf.reason}."]
    found = shelf.versions.get(name)
    if found is None:
        return []
    untold = [gate for gate in use.gates if gate not in found.gates]
    return [
        *([f"Nobody can tell whether {name} is the artefact that served."] if not (served and found.digest) else []),
        *([f"The registry does not say whether {name} passed {words.listed(untold)}."] if untold else []),
        *(
            [f"The registry does not say what {name} needs of a request."]
            if use.inputs is not None and found.inputs is None
            else []
        ),
    ]


def tagged(shelf: Shelf, tags: Mapping[str, str]) -> set[str]:
    """Give the versions with all of these tags."""
    return {name for name, one in shelf.versions.items() if tags.items() <= one.tags.items()}


def trade_off(bad: Registered | None, good: Registered | None) -> str:
    """Say how two versions differ in what was measured of them, for example `auc 0.94 → 0.91`."""
    if bad is None or good is None:
        return ""
    both = sorted(bad.metrics.keys() & good.metrics.keys())
    return ", ".join(
        f"{name} {words.quantity(bad.metrics[name])} → {words.quantity(good.metrics[name])}" for name in both
    )
