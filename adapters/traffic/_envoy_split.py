"""Between Envoy's whole-number weights of clusters and percent of versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from adapters.traffic._envoy_admin import Route
from bot.domain.traffic import TrafficSplit
from bot.errors import Blocked

FINE = Decimal("0.0001")
MOST = 2**32 - 1  # Envoy adds weights up in 32 bits


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen at once: each route of each address, the routes of the file, and the file's fingerprint."""

    places: tuple[tuple[str, Route], ...]
    file: tuple[Route, ...] = ()
    fingerprint: str = ""

    @property
    def routes(self) -> tuple[Route, ...]:
        """Give every route that must be at the goal."""
        return (*(route for _, route in self.places), *self.file)


class Scale:
    """Weighs the versions of one target. A cluster no version names keeps its share, under its own name."""

    def __init__(self, target: str, versions: Mapping[str, str]) -> None:
        """`versions` gives the cluster of each version."""
        self._target = target
        self._version_of = {cluster: version for version, cluster in versions.items()}

    def split(self, route: Route) -> TrafficSplit:
        """Give percent by version. Raises Blocked when every request fails, which no split can say."""
        total = sum(route.used.values())
        if total == 0:
            message = f"Every weight of {self._target} is 0, so every request gets 404."
            raise Blocked(message)
        if total > MOST:
            message = (
                f"The weights of {self._target} sum to {total}, more than Envoy can add up, so every request fails."
            )
            raise Blocked(message)
        return _whole({self._name(cluster): Decimal(w) * 100 / total for cluster, w in route.used.items()})

    def _name(self, cluster: str) -> str:
        return self._version_of.get(cluster, cluster)

    def mean(self, routes: Iterable[Route]) -> TrafficSplit:
        """Give the mean split of several routes, each counting the same."""
        splits = [self.split(route) for route in routes]
        names = dict.fromkeys(name for split in splits for name in split.weights)
        return _whole({name: sum((s.share(name) for s in splits), Decimal(0)) / len(splits) for name in names})

    def weights(self, goal: TrafficSplit, used: Mapping[str, int]) -> dict[str, int]:
        """Give whole weights for a goal with the sum they have now: Envoy before 1.30 could crash on another sum."""
        total = sum(used.values()) or 100
        weights = {cluster: round(goal.share(self._name(cluster)) * total / 100) for cluster in used}
        weights[max(weights, key=lambda name: weights[name])] += total - sum(weights.values())
        return weights

    def at(self, goal: TrafficSplit, look: Look) -> bool:
        """Say whether every route is at the goal, as near as its whole weights can be."""
        return all(dict(route.used) == self.weights(goal, route.used) for route in look.routes)

    def held(self, look: Look) -> dict[str, str]:
        """Say what each address holds."""
        return {where: str(self.split(route)) for where, route in look.places}


def _whole(shares: Mapping[str, Decimal]) -> TrafficSplit:
    """Round shares so that they sum to 100; the largest takes what rounding left."""
    fine = {name: share.quantize(FINE) for name, share in shares.items()}
    fine[max(fine, key=lambda name: fine[name])] += 100 - sum(fine.values())
    return TrafficSplit(weights={name: Decimal(f"{share.normalize():f}") for name, share in fine.items()})
