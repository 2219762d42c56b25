"""A file and MLflow as registries: what they say is read, what they cannot say is a reason, and nothing is raised."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from adapters.registries.file import FileConfig, FileRegistry
from adapters.registries.mlflow import MlflowConfig, MlflowRegistry
from adapters.testing import NotedLog, Wire
from bot.clock import SystemClock
from bot.domain.registry import Shelf
from bot.ports import Context

SECRET = "hunter2"
CONTEXT = Context(clock=SystemClock(), name="registry", log=NotedLog(), secret={"TOKEN": SECRET}.get)
FILE = """\
fraud-scorer:
  aliases: {champion: "41"}
  versions:
    "41": {digest: "sha256:aa", inputs: [amount], gates: {fairness: true}, scan: clean, tags: {size: small}}
    "42": {digest: "sha256:bb"}
"""


async def asked(path: Path, text: str | bytes, name: str = "fraud-scorer") -> Shelf:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    async with FileRegistry(FileConfig(path=path), CONTEXT) as registry:
        return await registry.look(name)


async def test_a_file_says_what_stands_in_it(tmp_path: Path) -> None:
    shelf = await asked(tmp_path / "r.yaml", FILE)
    assert shelf.aliases == {"champion": "41"}
    known = shelf.versions["41"]
    assert (known.digest, known.inputs, known.gates, known.scan) == (
        "sha256:aa",
        ("amount",),
        {"fairness": True},
        "clean",
    )
    assert shelf.versions["42"].inputs is None


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        (FILE, "ranker", "r.yaml does not name ranker"),
        ("- 1", "fraud-scorer", "r.yaml does not name fraud-scorer"),
        ("fraud-scorer: {versions: {'41': {digset: x}}}", "fraud-scorer", "is not as it should be"),
        ("fraud-scorer: {versions: {'41': {scan: maybe}}}", "fraud-scorer", "is not as it should be"),
        ("a: [", "fraud-scorer", "is not as it should be"),
        (b"\xff\xfe", "fraud-scorer", "is not as it should be"),
    ],
)
async def test_a_file_that_cannot_tell_says_why(tmp_path: Path, text: str | bytes, name: str, reason: str) -> None:
    shelf = await asked(tmp_path / "r.yaml", text, name)
    assert reason in shelf.reason
    assert shelf.versions == {}


async def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    async with FileRegistry(FileConfig(path=tmp_path / "none.yaml"), CONTEXT) as registry:
        assert (await registry.look("x")).reason == "none.yaml cannot be read: No such file or directory"


class FakeMlflow:
    """The three calls of MLflow that are used, answered strictly: another path, name or filter is refused as MLflow does."""

    def __init__(self) -> None:
        self.versions: list[dict[str, Any]] = [
            {"name": "fraud", "version": "42", "run_id": "r2", "tags": [{"key": "scan", "value": "findings"}]},
            {
                "name": "fraud", "version": "41", "run_id": "r1",
                "tags": [{"key": "digest", "value": "sha256:aa"}, {"key": "gate.fairness", "value": "passed"}, {"key": "inputs", "value": "amount, country"}],
            },
        ]  # fmt: skip
        self.aliases = [{"alias": "champion", "version": "41"}]
        self.runs: dict[str, Any] = {
            "r1": {"data": {"metrics": [{"key": "auc", "value": 0.91}], "tags": [{"key": "mlflow.source.git.commit", "value": "c0ffee"}]},
                   "inputs": {"dataset_inputs": [{"dataset": {"digest": "data1"}}]}},
            "r2": {"data": {"tags": [{"key": "mlflow.log-model.history", "value": '[{"signature": {"inputs": "[{\\"name\\": \\"amount\\", \\"type\\": \\"double\\", \\"required\\": true}, {\\"name\\": \\"memo\\", \\"required\\": false}]"}}]'}]}},
        }  # fmt: skip

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/2.0/mlflow/{what:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {SECRET}":
            return web.json_response({"error_code": "UNAUTHENTICATED", "message": "no"}, status=401)
        match request.match_info["what"]:
            case "registered-models/get":
                if request.query["name"] != "fraud":
                    return web.json_response(
                        {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Registered Model not found"}, status=404
                    )
                return web.json_response({"registered_model": {"name": "fraud", "aliases": self.aliases}})
            case "model-versions/search":
                assert request.query["filter"].startswith("name='")
                return web.json_response({"model_versions": self.versions})
            case "runs/get":
                run = self.runs.get(request.query["run_id"])
                return web.json_response({"run": run} if run else {"message": "gone"}, status=200 if run else 404)
        return web.json_response({"message": "unknown"}, status=404)


@pytest.fixture
async def mlflow() -> AsyncIterator[tuple[FakeMlflow, Wire, MlflowRegistry]]:
    fake = FakeMlflow()
    runner = web.AppRunner(fake.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    wire = Wire(runner.addresses[0][1])
    await wire.open()
    config = MlflowConfig.model_validate(
        {"url": f"http://127.0.0.1:{wire.port}", "token": {"env": "TOKEN"}, "timeout": 1}
    )
    async with MlflowRegistry(config, CONTEXT) as registry:
        yield fake, wire, registry
    await wire.mend()
    await wire.cut()
    await runner.cleanup()


async def test_mlflow_says_what_its_versions_tags_and_runs_hold(mlflow: Any) -> None:
    _, _, registry = mlflow
    shelf = await registry.look("fraud")
    one, two = shelf.versions["41"], shelf.versions["42"]
    assert shelf.aliases == {"champion": "41"}
    assert (one.digest, one.inputs, one.gates, one.metrics) == (
        "sha256:aa",
        ("amount", "country"),
        {"fairness": True},
        {"auc": 0.91},
    )
    assert (one.commit, one.data, one.run) == ("c0ffee", "data1", "r1")
    assert (two.scan, two.inputs, two.digest) == ("findings", ("amount",), None)


async def test_a_run_that_was_deleted_takes_only_what_it_held_away(mlflow: Any) -> None:
    fake, _, registry = mlflow
    fake.runs.clear()
    shelf = await registry.look("fraud")
    assert (shelf.versions["41"].metrics, shelf.versions["41"].digest) == ({}, "sha256:aa")


async def test_a_model_mlflow_does_not_know_is_its_own_sentence(mlflow: Any) -> None:
    _, _, registry = mlflow
    assert (await registry.look("nobody's")).reason == "MLflow answered 404: Registered Model not found"


async def test_no_answer_and_no_json_are_reasons_in_time(mlflow: Any) -> None:
    _, wire, registry = mlflow
    await wire.say(b"<html>")
    assert "MLflow" in (await registry.look("fraud")).reason
    await wire.mend()
    await wire.lose(lambda _: True, silent=True)
    assert (await registry.look("fraud")).reason == "MLflow does not answer"
    await wire.cut()
    assert (await registry.look("fraud")).reason == "MLflow does not answer"


async def test_a_token_that_is_missing_or_wrong_is_said_without_it() -> None:
    config = MlflowConfig.model_validate({"url": "http://127.0.0.1:1", "token": {"env": "NONE"}})
    async with MlflowRegistry(config, CONTEXT) as registry:
        shelf = await registry.look("fraud")
    assert shelf.reason == "the token for MLflow is not in NONE"
    assert SECRET not in shelf.model_dump_json()
