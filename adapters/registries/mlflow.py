"""MLflow's model registry, over its REST API alone.

Read: `registered-models/get` for aliases, `model-versions/search` for versions and tags, `runs/get` for the run behind a
version (metrics, commit, data set, and the inputs of its logged signature). Tags that Lastgood understands on a version:
`digest`, `scan` (clean or findings), `gate.NAME` (passed or failed), `inputs` (names with commas).
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlencode

import orjson
from pydantic import BaseModel, ConfigDict, Field

from adapters.address import Address
from adapters.bodies import capped
from adapters.pool import OwnPool
from bot.domain import words
from bot.domain.credential import Credential
from bot.domain.registry import Registered, Shelf
from bot.errors import Unavailable
from bot.ports import Context

API = "api/2.0/mlflow"
LIMIT = 4 * 1024 * 1024  # bytes of one answer
VERSIONS = 50  # the newest; older ones are not gone back to
WHO = "MLflow"


class MlflowConfig(BaseModel):
    """Where the tracking server is; `token` is a bearer token; `timeout` in seconds bounds a whole look."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Address = Field(repr=False)  # it may carry credentials
    token: Credential | None = None
    timeout: float = Field(default=5.0, gt=0, le=20)


class MlflowRegistry(OwnPool):
    """Asks MLflow."""

    kind: ClassVar[str] = "mlflow"
    Config: ClassVar[type[BaseModel]] = MlflowConfig

    def __init__(self, config: MlflowConfig, context: Context) -> None:
        """Ask the server of `config`."""
        self._config, self._context = config, context

    async def __aenter__(self) -> Self:
        """Open a pool of its own."""
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await super().__aexit__(kind, error, trace)

    async def look(self, name: str) -> Shelf:
        """Give what MLflow says of one registered model; what it does not answer is a reason."""
        try:
            async with asyncio.timeout(self._config.timeout):
                return await self._look(name)
        except TimeoutError:
            return Shelf(reason=f"{WHO} does not answer")
        except Unavailable as error:
            return Shelf(reason=str(error))

    async def _look(self, name: str) -> Shelf:
        quoted = name.replace("'", "\\'")
        found, listed = await asyncio.gather(
            self._ask("registered-models/get", name=name),
            self._ask(
                "model-versions/search",
                filter=f"name='{quoted}'",
                max_results=str(VERSIONS),
                order_by="version_number DESC",
            ),
        )
        rows = [one for one in listed.get("model_versions", []) if isinstance(one, dict) and "version" in one]
        runs = await asyncio.gather(*(self._run(str(one.get("run_id") or "")) for one in rows))
        versions = {str(one["version"]): _registered(one, run) for one, run in zip(rows, runs, strict=True)}
        aliases = found.get("registered_model", {}).get("aliases", [])
        named = {str(one["alias"]): str(one["version"]) for one in aliases if {"alias", "version"} <= one.keys()}
        return Shelf(versions=versions, aliases=named)

    async def _run(self, run: str) -> dict[str, Any]:
        """Give the run behind a version; one that was deleted says nothing."""
        if not run:
            return {}
        try:
            return dict((await self._ask("runs/get", run_id=run)).get("run", {}))
        except Unavailable:
            return {}

    async def _ask(self, what: str, **asked: str) -> dict[str, Any]:
        """Give an answer of MLflow. Raises Unavailable."""
        if self._http is None:
            raise Unavailable("the registry is not open")
        import aiohttp

        url = f"{self._config.url.rstrip('/')}/{API}/{what}?{urlencode(asked)}"
        try:
            async with self._http.get(url, headers=self._headers(), allow_redirects=False) as answer:
                body, status = await capped(answer, LIMIT), answer.status
        except aiohttp.ClientError as error:
            raise Unavailable(f"{WHO} does not answer") from error
        if body is None:
            raise Unavailable(f"{WHO} answers more than {LIMIT // 1024 // 1024} MiB")
        try:
            said = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Unavailable(f"{WHO} answered {status} without JSON") from error
        if status != 200 or not isinstance(said, dict):
            told = words.plain(str(said.get("message", "")), 120) if isinstance(said, dict) else ""
            raise Unavailable(f"{WHO} answered {status}{': ' + told if told else ''}")
        return said

    def _headers(self) -> dict[str, str]:
        if self._config.token is None:
            return {}
        token = (self._config.token.value(self._context.secret) or "").strip()
        if not token or not token.isprintable():
            raise Unavailable(f"the token for {WHO} is not in {self._config.token.env or self._config.token.file}")
        return {"Authorization": f"Bearer {token}"}


def _registered(row: dict[str, Any], run: dict[str, Any]) -> Registered:
    tags, data = _pairs(row.get("tags")), run.get("data", {})
    scan, about = tags.get("scan"), _pairs(data.get("tags"))
    sets = run.get("inputs", {}).get("dataset_inputs", [])
    return Registered(
        version=str(row["version"]), digest=tags.get("digest"), inputs=_inputs(tags, about),
        gates={name[5:]: value == "passed" for name, value in tags.items() if name.startswith("gate.") and value in ("passed", "failed")},
        scan="clean" if scan == "clean" else "findings" if scan == "findings" else None, tags=tags,
        metrics=_metrics(data.get("metrics")), run=str(row.get("run_id") or ""), commit=about.get("mlflow.source.git.commit", ""),
        data=str(sets[0].get("dataset", {}).get("digest", "")) if sets and isinstance(sets[0], dict) else "",
    )  # fmt: skip


def _pairs(listed: Any) -> dict[str, str]:
    rows = listed if isinstance(listed, list) else []
    return {
        str(one["key"]): str(one["value"]) for one in rows if isinstance(one, dict) and {"key", "value"} <= one.keys()
    }


def _metrics(listed: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in listed if isinstance(listed, list) else []:
        try:
            value = float(one["value"])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(value):
            found[str(one.get("key", ""))] = value
    return found


def _inputs(tags: dict[str, str], about: dict[str, str]) -> tuple[str, ...] | None:
    """Give the names a request must bring: as tagged, else of the newest signature the run logged."""
    if (named := tags.get("inputs")) is not None:
        return tuple(sorted(one.strip() for one in named.split(",") if one.strip()))
    try:
        history = orjson.loads(about["mlflow.log-model.history"])
        columns = orjson.loads(history[-1]["signature"]["inputs"])
        return tuple(sorted(str(one["name"]) for one in columns if one.get("required", True)))
    except (KeyError, IndexError, TypeError, orjson.JSONDecodeError):
        return None


REGISTRY = MlflowRegistry
