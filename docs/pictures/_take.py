"""Takes demo.png: plays the demo's story in a real browser and keeps the page as it looks once the service is proven well.

Run it as `python -m docs.pictures._take` from the repository; it needs Chromium and the test extra.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from bot.app import create
from bot.demo.page import serve_page
from bot.demo.world import story, world
from tests.demo.browser import browser, visit

PICTURE = Path(__file__).with_name("demo.png")
READING = 5000  # milliseconds each person takes before the press
SETTLED = 6000  # milliseconds after the close, so that the plot shows how it stayed


async def take() -> None:
    """Play, wait for the postmortem, and take the picture at 1440 by 900."""
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder) / "demo", create) as made, browser() as running:
            served = await serve_page(made, 0, story)
            page, _ = await visit(running, f"http://127.0.0.1:{served.addresses[0][1]}", color_scheme="light")
            await made.deploy()
            await page.wait_for_selector("[data-action=approve]", timeout=60_000)
            for user in ("U0ANA", "U0PRIYA"):
                await page.wait_for_timeout(READING)
                await page.click(f"[data-user={user}]")
                await page.click("[data-action=approve]")
            await page.wait_for_selector("#report", timeout=90_000)
            await page.wait_for_timeout(SETTLED)
            await page.screenshot(path=PICTURE)
            await served.cleanup()


if __name__ == "__main__":
    asyncio.run(take())
