"""A real Chromium on a page: what it must have, and what it must never do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.async_api", reason="Playwright is not installed (the test extra)")
CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@asynccontextmanager
async def browser() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as engine:
        running = await engine.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        await running.close()


async def visit(running: Any, url: str, width: int = 1440, height: int = 900, **more: Any) -> tuple[Any, list[str]]:
    """Open the page; whatever it does wrong, or asks of anybody else, is in the list."""
    page = await running.new_page(viewport={"width": width, "height": height}, **more)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("request", lambda asked: None if asked.url.startswith(url) else faults.append(asked.url))
    await page.goto(url)
    await page.wait_for_selector("#you:not(:empty)")
    await page.wait_for_selector("#q0 .live-ratio:not(:empty)")
    return page, faults


async def serious(page: Any) -> list[str]:
    """Give what axe-core calls serious or critical."""
    from axe_playwright_python.async_playwright import Axe

    found = (await Axe().run(page)).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found if one["impact"] in ("serious", "critical")
    ]


async def theme(page: Any, name: str) -> None:
    await page.evaluate(f"document.documentElement.dataset.theme = '{name}'")


async def sideways(page: Any) -> int:
    """Give by how many pixels the page is wider than its window."""
    wide: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return wide
