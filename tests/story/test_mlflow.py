"""A real MLflow server, in a virtual environment of its own, sends its signed webhook, and the ledger shows the change."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from bot.demo.envoy import free_port
from tests.adapters.alerts.senders import SECRET
from tests.story.site import Site, site

pytestmark = [pytest.mark.story, pytest.mark.nightly, pytest.mark.timeout(1800)]
VERSION = "3.17.2"
SENT = """\
import sys
from mlflow import MlflowClient
url, hook, secret = sys.argv[1:4]
client = MlflowClient(tracking_uri=url, registry_uri=url)
client.create_webhook(name="lastgood", url=hook, events=["model_version.created", "model_version_alias.created"], secret=secret)
client.create_registered_model("fraud-scorer")
version = client.create_model_version("fraud-scorer", source="s3://models/fraud-scorer/1").version
client.set_registered_model_alias("fraud-scorer", "champion", version)
"""
OPEN = {  # MLflow sends to https and to the outside only, unless it is told otherwise
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true", "MLFLOW_DISABLE_TELEMETRY": "true",
}  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install MLflow apart, since it brings a hundred packages along."""
    place = tmp_path_factory.mktemp("mlflow")
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=300)
    found = subprocess.run(
        [str(place / "bin/python"), "-m", "pip", "install", "--quiet", f"mlflow=={VERSION}"],
        check=False, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    if found.returncode:
        pytest.skip(f"MLflow {VERSION} cannot be installed here: {found.stderr[-300:]}")
    return place / "bin"


@asynccontextmanager
async def server(binaries: Path, folder: Path) -> AsyncIterator[str]:
    port = free_port()
    with (folder / "mlflow.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(binaries / "mlflow"), "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination",
            str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            env={**os.environ, **OPEN}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(180):
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{port}/health") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        await process.wait()


def listening(text: str, folder: Path) -> str:
    del folder
    return text.replace("sources:\n", "sources:\n  mlflow: {secrets: [{env: MLFLOW_SECRET}]}\n")


async def changes(here: Site, count: int) -> list[str]:
    async with asyncio.timeout(60):
        while True:
            ledger = await here.app.world.ledger("model/prod/fraud-scorer")
            if len(ledger.changes) >= count:
                return sorted(change.labels["event"] for _, change in ledger.changes)
            await asyncio.sleep(0.2)


async def test_a_version_and_an_alias_of_a_real_registry_are_changes_in_the_ledger(
    installed: Path, tmp_path: Path
) -> None:
    async with (
        site(tmp_path, config=listening, environ={"MLFLOW_SECRET": SECRET}) as here,
        server(installed, tmp_path) as url,
    ):
        hook = f"http://127.0.0.1:{here.app.port}/hooks/mlflow"
        script = await asyncio.create_subprocess_exec(
            str(installed / "python"), "-c", SENT, url, hook, SECRET, env={**os.environ, **OPEN},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, told = await script.communicate()
        assert script.returncode == 0, told.decode()[-2000:]
        assert await changes(here, 2) == ["model_version.created", "model_version_alias.created"]
        ledger = await here.app.world.ledger("model/prod/fraud-scorer")
        assert {change.version for _, change in ledger.changes} == {"1"}
        assert await here.app.store.incidents() == []
