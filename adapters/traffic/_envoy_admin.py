"""One Envoy's admin interface: what its routes weigh, what it counts, and the one call that changes runtime keys."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit

import aiohttp
import orjson

from bot.domain import words
from bot.errors import NotFound, Unauthorized, Unavailable


@dataclass(frozen=True, slots=True)
class Route:
    """The weight of each cluster on one weighted route: as written, and as Envoy uses it. `version` is the file's."""

    written: Mapping[str, int]
    used: Mapping[str, int]
    version: str = ""


_COUNT = re.compile(r"\+?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_HEX = re.compile(r"\+?0[xX][0-9a-fA-F]*\.?[0-9a-fA-F]*(?:[pP][+-]?\d+)?")


class EnvoyAdmin:
    """Asks one admin address. Every answer that is not plain is an AdapterError; credentials never leave this object."""

    def __init__(self, url: str, timeout: float) -> None:
        """`url` may carry credentials; `timeout` in seconds bounds each exchange."""
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, netloc, parts.path, "", "")).rstrip("/")
        self.name = netloc
        self.guarded = "@" in parts.netloc
        told = b64encode(unquote(parts.netloc.rpartition("@")[0]).encode()).decode()
        self._headers = {"Authorization": f"Basic {told}"} if self.guarded else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._http: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Open a pool of its own: shared with other clients, a rollback would wait behind them."""
        connector = aiohttp.TCPConnector(limit=8, force_close=True)
        self._http = aiohttp.ClientSession(headers=self._headers, timeout=self._timeout, connector=connector)

    async def close(self) -> None:
        """Close the pool."""
        if self._http is not None:
            await self._http.close()

    async def _exchange(self, method: str, path: str) -> tuple[int, bytes]:
        if self._http is None:
            raise Unavailable("The Envoy adapter is not open.")
        try:
            async with self._http.request(method, f"{self.url}{path}", allow_redirects=False) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"Envoy at {self.name} does not answer."
            raise Unavailable(message) from error

    async def _get(self, path: str) -> Any:
        status, body = await self._exchange("GET", path)
        if status in (401, 403):
            message = f"Envoy at {self.name} refuses our credentials."
            raise Unauthorized(message)
        if status != 200:
            message = f"Envoy at {self.name} answered {status} to {path.partition('?')[0]}."
            raise Unavailable(message)
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            message = f"Envoy at {self.name} answered no JSON to {path.partition('?')[0]}; is this its admin address?"
            raise Unavailable(message) from error

    async def routes(self, clusters: frozenset[str], prefix: str | None) -> list[Route]:
        """Give every weighted route to these clusters that reads its weights under `prefix`; None takes every route.

        Raises NotFound that says what is there instead.
        """
        found, runtime = await asyncio.gather(self._found(clusters), self._get("/runtime?format=json"))
        ours = [(one, version) for one, version in found if prefix in (None, one.get("runtime_key_prefix"))]
        if not ours:
            there = words.listed(sorted({str(one.get("runtime_key_prefix", "no key")) for one, _ in found}))
            message = f"No route of Envoy at {self.name} reads weights under {prefix}; it reads {there}."
            raise NotFound(message)
        return [self._route(one, version, clusters, runtime.get("entries", {})) for one, version in ours]

    async def _found(self, clusters: frozenset[str]) -> list[tuple[dict[str, Any], str]]:
        kinds = ("static_route_configs", "dynamic_route_configs")
        dumps = await asyncio.gather(*(self._get(f"/config_dump?resource={kind}") for kind in kinds))
        found = [(one, version) for dump in dumps for one, version in _weighted(dump) if clusters & written(one).keys()]
        if not found:
            message = f"Envoy at {self.name} has no weighted route to {words.listed(sorted(clusters))}."
            raise NotFound(message)
        return found

    def _route(self, one: Any, version: str, clusters: frozenset[str], runtime: Mapping[str, Any]) -> Route:
        weights = written(one)
        if missing := sorted(clusters - weights.keys()):
            message = f"The route of Envoy at {self.name} has no cluster {words.listed(missing)}; it has {words.listed(weights)}."
            raise NotFound(message)
        key = one.get("runtime_key_prefix")
        used = {name: _number(runtime.get(f"{key}.{name}"), weight) for name, weight in weights.items()}
        return Route(weights, used if key else weights, version)

    async def unmoved(self, clusters: frozenset[str], prefix: str) -> int:
        """Count the weighted routes to these clusters that keys under `prefix` do not move."""
        return sum(one.get("runtime_key_prefix") != prefix for one, _ in await self._found(clusters))

    async def obstacle(self, clusters: frozenset[str], prefix: str) -> tuple[str, str]:
        """Say why changing these keys would move nothing, and what mends that; two empty texts when it would."""
        dump, runtime = await asyncio.gather(
            self._get("/config_dump?mask=bootstrap.layered_runtime"), self._get("/runtime?format=json")
        )
        layers = [
            layer
            for one in dump.get("configs", [])
            for layer in one.get("bootstrap", {}).get("layered_runtime", {}).get("layers", [])
        ]
        names = [str(layer.get("name")) for layer in layers]
        ours = next((n for n, layer in enumerate(layers) if "admin_layer" in layer), None)
        if ours is None:
            return f"Envoy at {self.name} has no admin layer.", "Add `admin_layer: {}` as its last layer."
        entries = [runtime.get("entries", {}).get(f"{prefix}.{cluster}", {}) for cluster in clusters]
        above = {
            names[n] for one in entries for n, value in enumerate(one.get("layer_values", [])) if value and n > ours
        }
        if above:
            message = (
                f"Layer {words.listed(sorted(above))} of Envoy at {self.name} sets these keys above the admin layer."
            )
            return message, "Take them out of it, or make the admin layer the last one."
        return "", ""

    async def modify(self, keys: Mapping[str, int]) -> str:
        """Change runtime keys in one call; give why Envoy refused, or nothing. Raises Unavailable: the answer is lost."""
        status, body = await self._exchange("POST", f"/runtime_modify?{urlencode(keys)}")
        said = words.plain(body.decode(errors="replace"), 120)
        return "" if status == 200 else f'Envoy at {self.name} answered {status}: "{said}".'

    async def counters(self, clusters: frozenset[str]) -> tuple[dict[str, int], str]:
        """Give the requests sent to each cluster, and a mark of this process that changes when it restarts.

        A cluster whose counter Envoy does not keep, as a `stats_matcher` may have it, is missing.
        """
        # Envoy writes ':' of a cluster's name as '_' in the names of its counters.
        names = {f"cluster.{cluster.replace(':', '_')}.upstream_rq_total": cluster for cluster in clusters}
        pattern = "|".join(re.escape(name) for name in sorted(names))
        stats = await self._get(f"/stats?format=json&filter={quote(f'^({pattern})$')}")
        # The mark is read last: a restart in between shows as another mark or as a counter that fell.
        marks = await self._get("/config_dump?mask=last_updated")
        rows = {row["name"]: int(row["value"]) for row in stats.get("stats", []) if "name" in row}
        counts = {cluster: rows[name] for name, cluster in names.items() if name in rows}
        started = [one["last_updated"] for one in marks.get("configs", []) if "Bootstrap" in one.get("@type", "")]
        return counts, str(started[0]) if started else ""

    async def rejections(self) -> int:
        """Count the route configurations this Envoy refused."""
        stats = await self._get("/stats?format=json&filter=" + quote(r"\.rds\..*\.update_rejected$"))
        return sum(int(row["value"]) for row in stats.get("stats", []) if "name" in row)


def _weighted(node: Any, version: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Find every weighted route below, with the version of the configuration it came in."""
    if isinstance(node, dict):
        version = str(node.get("version_info", version))
        here = node.get("weighted_clusters", node.get("weightedClusters"))
        if isinstance(here, dict) and "clusters" in here:
            yield here, version
        for value in node.values():
            yield from _weighted(value, version)
    elif isinstance(node, list):
        for one in node:
            yield from _weighted(one, version)


def weighted_routes(content: Any) -> list[dict[str, Any]]:
    """Give every `weighted_clusters` of a configuration, to be read or changed in place."""
    return [one for one, _ in _weighted(content)]


def written(route: Mapping[str, Any]) -> dict[str, int]:
    """Give the weight of each cluster as the route has it."""
    return {str(one.get("name")): int(one.get("weight", 0)) for one in route["clusters"]}


def _number(entry: Mapping[str, Any] | None, weight: int) -> int:
    """Give a runtime key's value the way Envoy takes it: fractions cut, and what is no count leaves the written weight."""
    text = str(entry["final_value"]).strip() if entry else ""
    if _HEX.fullmatch(text) and text[-1] not in "xX.":
        return int(float.fromhex(text))
    return int(float(text)) if _COUNT.fullmatch(text) else weight
