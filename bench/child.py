"""The processes a bench loads: the application itself and the bare references. Each prints its port and ends on SIGTERM.

`modules` prints what the application imported; `imports FILE` imports just that.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
from pathlib import Path


async def _serve(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


async def _application(kind: str) -> None:
    from bot.app import create
    from bot.clock import SystemClock
    from bot.config import Settings
    from bot.log import JsonLog

    logging.disable(logging.WARNING)  # the table is what a run prints

    with Path(os.environ["BENCH_LOG"]).open("a") as out:  # noqa: ASYNC230  before anything is measured
        app = create(Settings(dict(os.environ)), log=JsonLog(SystemClock(), out), print_checkpoint=lambda _: None)
        if kind == "bolt-default":
            app.slack.bolt.listener_runner.process_before_response = False
        await app.start()
        if kind == "modules":
            foreign = (
                name for name in sys.modules if name.partition(".")[0] not in ("bot", "adapters", "__main__", "bench")
            )
            sys.stdout.write("\n".join(sorted(foreign)) + "\n")
        else:
            await _serve(app.port)
        await app.stop()
        app.store.close()


async def _bare(*, forwards: bool) -> None:
    import aiohttp
    from aiohttp import web
    from slack_sdk.web.async_client import AsyncWebClient

    async with aiohttp.ClientSession() as session:
        client = AsyncWebClient(os.environ["SLACK_BOT_TOKEN"], os.environ["SLACK_API_URL"], session=session)

        async def forward(request: web.Request) -> web.Response:
            labels = (await request.json())["alerts"][0]["labels"]
            await client.chat_postMessage(
                channel=os.environ["BENCH_CHANNEL"], text=f"{labels['alertname']} {labels['model']}"
            )
            return web.json_response({"outcome": "accepted"}, status=202)

        async def accept(request: web.Request) -> web.Response:
            await request.read()
            return web.json_response({"outcome": "accepted"}, status=202)

        app = web.Application()
        app.router.add_post("/hooks/alertmanager", forward if forwards else accept)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await _serve(runner.addresses[0][1])
        await runner.cleanup()


def _imports(names: list[str]) -> None:
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError:  # a module made at run time, or one that only its parent can import
            continue
    sys.stdout.write("0\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    if sys.argv[1] == "imports":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        _imports(Path(sys.argv[2]).read_text().split())
    elif sys.argv[1] in ("forwarder", "bare"):
        asyncio.run(_bare(forwards=sys.argv[1] == "forwarder"))
    else:
        asyncio.run(_application(sys.argv[1]))
