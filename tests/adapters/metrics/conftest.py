"""Local endpoints that say what a test wants, and a real Prometheus that scrapes one."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

pytest.register_assert_rewrite("adapters.testing")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Endpoint:
    """A server whose every answer is `body`, or what `handler` makes; it remembers what it was asked."""

    body: str = ""
    status: int = 200
    handler: Handler | None = None
    port: int = 0
    asked: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append((request.path, dict(request.headers), form))
        if self.handler is not None:
            return await self.handler(request)
        return web.Response(text=self.body, status=self.status)


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Endpoint]]]:
    """Start an endpoint; all are stopped after the test."""
    async with AsyncExitStack() as stack:

        async def begin(body: str = "", **keys: Any) -> Endpoint:
            endpoint = Endpoint(body, **keys)
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", endpoint.answer)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            endpoint.port = runner.addresses[0][1]
            return endpoint

        yield begin


@dataclass
class Scraped:
    """A real Prometheus and the exposition it scrapes five times a second."""

    port: int
    lines: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def show(self, name: str, lines: str, until: str) -> None:
        """Expose these lines under a name of the test's own and wait until a query gives one series."""
        self.lines[name] = lines
        await self.until(until, bool)

    async def until(self, query: str, fits: Callable[[list[Any]], bool]) -> None:
        async with asyncio.timeout(10):
            while not fits(await asyncio.to_thread(self._ask, query)):
                await asyncio.sleep(0.05)

    def _ask(self, query: str) -> list[Any]:
        url = f"{self.url}/api/v1/query?query={urllib.parse.quote(query)}"
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - an address of our own
            return list(json.loads(answer.read())["data"]["result"])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """One real Prometheus for all tests of a file, gone after them; each test uses metric names of its own."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    folder, lines = tmp_path_factory.mktemp("prometheus"), dict[str, str]()
    exporter = ThreadingHTTPServer(("127.0.0.1", 0), _exporter(lines))
    threading.Thread(target=exporter.serve_forever, args=(0.05,), daemon=True).start()
    scraped = Scraped(_free_port(), lines)
    with _running(binary, folder, exporter.server_address[1], scraped):
        yield scraped
    exporter.shutdown()
    exporter.server_close()


def _exporter(lines: dict[str, str]) -> type[BaseHTTPRequestHandler]:
    class Exporter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = "".join(lines.values()).encode()
            with suppress(OSError):  # Prometheus may have ended, or given this look up
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    return Exporter


@contextmanager
def _running(binary: str, folder: Path, target: int, scraped: Scraped) -> Iterator[None]:
    config = {
        "global": {"scrape_interval": "200ms"},
        "scrape_configs": [{"job_name": "models", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    command = [
        binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{scraped.port}", "--log.level=warn",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait(process, f"{scraped.url}/-/ready", folder / "log")
            yield
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 20
    while not _ready(url):
        assert process.poll() is None, f"Prometheus ended: {log.read_text()[-400:]}"
        assert time.monotonic() < deadline, "Prometheus is not ready after 20 s"
        time.sleep(0.05)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - an address of our own
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
