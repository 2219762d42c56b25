"""The postmortem as a page in a real browser: readable in both themes, on a phone and on paper, and quiet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.tales import TALES, written

playwright = pytest.importorskip("playwright.async_api", reason="Playwright is not installed (the test extra)")
CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SHOWN = ("recovered", "gave up", "back again", "blocked")
pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)"),
]


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as engine:
        started = await engine.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        await started.close()


async def opened(browser: Any, html: str, width: int, theme: str) -> tuple[Any, list[str]]:
    page = await browser.new_page(viewport={"width": width, "height": 844}, color_scheme=theme)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.on("request", lambda request: faults.append(request.url) if "postmortem.test" not in request.url else None)

    async def serve(route: Any) -> None:
        headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": POLICY}
        await route.fulfill(body=html, headers=headers)

    await page.route("**/*", serve)
    await page.goto("http://postmortem.test/")
    return page, faults


@pytest.mark.parametrize("tale", SHOWN)
async def test_the_page_reads_in_both_themes_on_a_phone_and_at_a_desk(browser: Any, tale: str) -> None:
    from axe_playwright_python.async_playwright import Axe

    html = (await written(TALES[tale])).html
    for width, theme in ((1440, "light"), (1440, "dark"), (390, "dark"), (320, "light")):
        page, faults = await opened(browser, html, width, theme)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert faults == []
        found = await Axe().run(page)
        assert [one["id"] for one in found.response["violations"]] == []
        await page.close()


async def test_the_page_carries_no_script_and_asks_for_nothing_from_elsewhere(browser: Any) -> None:
    html = (await written(TALES["recovered"])).html
    page, faults = await opened(browser, html, 1440, "light")
    assert await page.locator("script, link, img, iframe, [style], [onclick]").count() == 0
    assert "Recovered" in await page.title()
    assert faults == []


async def test_on_paper_every_check_is_there_in_dark_ink_on_white(browser: Any) -> None:
    page, _ = await opened(browser, (await written(TALES["recovered"])).html, 800, "dark")
    folded = page.locator("details:not([open]) .checks li")
    assert await folded.count() > 0
    await page.emulate_media(media="print", color_scheme="dark")
    background = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = await page.evaluate("getComputedStyle(document.body).color")
    assert (background, ink) == ("rgb(255, 255, 255)", "rgb(19, 32, 43)")
    for at in range(await folded.count()):
        assert (await folded.nth(at).bounding_box() or {}).get("height", 0) > 0
    assert (await page.pdf(format="A4"))[:5] == b"%PDF-"


async def test_a_mark_is_a_shape_and_not_only_a_colour(browser: Any) -> None:
    for tale, marks in (("recovered", {"yes"}), ("cannot tell", {"yes", "odd"}), ("not recovered", {"yes", "no"})):
        page, _ = await opened(browser, (await written(TALES[tale])).html, 1440, "light")
        shapes = await page.eval_on_selector_all(".ev use", "all => all.map(one => one.getAttribute('href'))")
        assert set(shapes) == {f"#i-{mark}" for mark in marks}
        assert len({await page.inner_html(f"symbol#i-{mark}") for mark in ("yes", "no", "odd", "wait")}) == 4
        await page.close()
