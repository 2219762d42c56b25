"""What the registry says when a plan is made and when a model is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from bot.domain import registry, words
from bot.domain.entries import RegistryChanged
from bot.domain.ledger import Ledger
from bot.domain.model import Environment
from bot.domain.registry import Registered, RegistryUse, Shelf
from bot.domain.traffic import Finding
from bot.flow.targets import within
from bot.flow.world import World

WITHIN = timedelta(seconds=8)


async def look(world: World, environment: Environment | None) -> Shelf | None:
    """Ask the registry of an environment; None when it has none."""
    use = environment.registry if environment else None
    if use is None:
        return None
    found = world.registries.get(use.source)
    if found is None:
        return Shelf(reason=f"the configuration no longer has a registry {use.source}")
    try:
        return await within(WITHIN, found.look(use.name), world.clock)
    except TimeoutError:
        return Shelf(reason=f"{use.source} did not answer within {words.span(WITHIN)}")


@dataclass(frozen=True, slots=True)
class Judged:
    """What a registry adds to a plan. Without one it adds nothing."""

    shelf: Shelf | None
    use: RegistryUse | None
    ledger: Ledger
    moved: tuple[str, ...]

    def against(self, versions: Iterable[str]) -> Mapping[str, str]:
        """Give what speaks against each version."""
        found = {name: said[0] for name in versions if (said := self._against(name))}
        return MappingProxyType(found)

    def _against(self, name: str) -> tuple[str, str] | None:
        if self.shelf is None or self.use is None:
            return None
        return registry.against(name, self.shelf, self.use, served=self.ledger.digests.get(name), moved=self.moved)

    def mend(self, name: str) -> str:
        """Give what would clear what speaks against a version."""
        said = self._against(name)
        return said[1] if said else ""

    def among(self, tags: Mapping[str, str] | None) -> frozenset[str] | None:
        """Give the versions with these tags; None when tags are not what is wanted."""
        if tags is None:
            return None
        return frozenset(registry.tagged(self.shelf, tags)) if self.shelf else frozenset()

    def findings(self, bad: str, good: str, *, compared: bool) -> tuple[Finding, ...]:
        """Give what nobody could tell about the good version, and when it was chosen by tags what it trades off."""
        if self.shelf is None or self.use is None:
            return ()
        untold = registry.doubts(good, self.shelf, self.use, self.ledger.digests.get(good))
        traded = registry.trade_off(self.shelf.versions.get(bad), self.shelf.versions.get(good)) if compared else ""
        helped = registry.missing_inputs(self.known(good), self.use) or ()
        return (
            *(Finding(level="warning", message=one, mend="Look it up before you approve.") for one in untold),
            *([Finding(level="warning", message=f"The trade-off: {traded}.")] if traded else []),
            *(
                Finding(level="ok", message=f"{self.use.companions[name]} makes {name}, which {good} needs.")
                for name in helped
                if name in self.use.companions
            ),
        )

    def known(self, version: str) -> Registered:
        """Give what the registry says of a version, nothing when it says nothing."""
        found = self.shelf.versions.get(version) if self.shelf else None
        return found or Registered(version=version)

    def fits(self, version: str) -> bool | None:
        """Say whether a version takes the requests of today; None when nobody can tell."""
        return registry.fits(self.known(version), self.use, self.moved) if self.use else None


def changed(shelf: Shelf, use: RegistryUse, ledger: Ledger) -> list[RegistryChanged]:
    """Give the aliases that name something else than when they were last looked at."""
    if shelf.reason:
        return []
    return [
        RegistryChanged(
            source=use.source, name=use.name, alias=alias, version=shelf.aliases.get(alias, ""),
            before=ledger.aliases.get(alias, ""),
        )
        for alias in sorted(shelf.aliases.keys() | ledger.aliases.keys())
        if shelf.aliases.get(alias, "") != ledger.aliases.get(alias, "")
    ]  # fmt: skip
