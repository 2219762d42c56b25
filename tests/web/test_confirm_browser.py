"""The sign-in pages in a real Chromium: the whole way by keyboard, both themes, narrow windows, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.domain.press import Answer
from tests.demo.browser import NEEDS_CHROMIUM, browser, sideways
from tests.web.door import PRESS, SHOWN, Door, free_port
from tests.web.provider import Provider

pytestmark = [pytest.mark.story, NEEDS_CHROMIUM]


@pytest.fixture
async def door(clock: ManualClock) -> AsyncIterator[Door]:
    async with Provider(clock).serving() as provider, Door(provider, clock, free_port()).open() as one:
        yield one


@pytest.fixture
async def running() -> AsyncIterator[Any]:
    async with browser() as one:
        yield one


async def open_page(running: Any, door: Door, **look: Any) -> tuple[Any, list[str]]:
    """A new window; whatever a page does wrong, or asks of anybody but us and the provider, is in the list."""
    page = await running.new_page(**look)
    faults: list[str] = []
    ours = (door.url, f"http://127.0.0.1:{door.provider.port}/authorize")
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if _fault(said) else None)
    page.on("request", lambda asked: None if asked.url.startswith(ours) else faults.append(asked.url))
    return page, faults


def _fault(said: Any) -> bool:
    """A page that is a refusal has a status that Chromium mentions; that is no fault."""
    return said.type in ("error", "warning") and "the server responded with a status of" not in said.text


async def violations(page: Any) -> list[str]:
    """Give all that axe-core finds, of any impact."""
    from axe_playwright_python.async_playwright import Axe

    found = (await Axe().run(page)).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found]


async def focused(page: Any) -> str:
    return str(
        await page.evaluate(
            "document.activeElement.innerText || document.activeElement.name || document.activeElement.tagName"
        )
    )


async def test_from_the_link_to_one_vote_by_keyboard(door: Door, running: Any) -> None:
    page, faults = await open_page(running, door)
    link = door.pages.link(PRESS)
    await page.goto(link)
    assert await page.title() == "Waiting for you · fraud-scorer 42 → 41 · Lastgood"
    assert page.url == link
    await page.keyboard.press("Tab")
    assert await focused(page) == "Approve 42 → 41"
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:has-text('Approved')")
    assert "You approved 42 → 41 as model-owner, 2 of 2." in await page.inner_text("main")
    assert [one.person for one in door.pressed] == ["U0PRIYA"]
    assert len(await page.context.cookies()) == 0
    await page.goto(link)  # pressing again, from the channel
    assert "This link was used; one link counts once. Nothing was changed." in await page.inner_text("main")
    assert len(door.pressed) == 1
    assert faults == []


async def test_going_back_and_pressing_again_is_told_and_votes_once(door: Door, running: Any) -> None:
    page, faults = await open_page(running, door)
    await page.goto(door.pages.link(PRESS))
    await page.evaluate("window.kept = document.querySelector('form').outerHTML")
    kept = await page.evaluate("window.kept")
    await page.click("button")
    await page.wait_for_selector("h1:has-text('Approved')")
    await page.evaluate("html => { document.body.innerHTML = html; }", kept)
    await page.click("button")
    await page.wait_for_selector("h1:has-text('Used')")
    assert len(door.pressed) == 1
    assert faults == []


async def test_a_terminal_is_let_in_by_keyboard(door: Door, running: Any) -> None:
    door.waits("WXYZ-2345")
    page, faults = await open_page(running, door)
    await page.goto(f"{door.url}/login")
    await page.keyboard.press("Tab")
    assert await focused(page) == "code"
    await page.keyboard.type("AAAA-AAAA")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[role=alert]:has-text('No terminal waits with this code.')")
    assert await violations(page) == []
    await page.focus("#code")
    await page.keyboard.type("wxyz-2345")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:has-text('Let the terminal on ana@host act as you')")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("h1:has-text('Let in')")
    assert [dict(one.asked) for one in door.ordered] == [{"code": "WXYZ-2345"}]
    assert faults == []


LOOKS = [(1440, 900), (390, 844), (320, 640), (195, 422)]  # the last is 390 at 200 % zoom


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_and_nothing_scrolls_sideways(door: Door, running: Any, scheme: Any) -> None:
    door.waits("WXYZ-2345", f"ana@{'very-long-host-name.' * 3}example.com")
    door.shown = replace(
        SHOWN, ask_reason=True, model="fraud-scorer-with-a-rather-long-name", to_version="2026-11-23-b7c41"
    )
    for width, height in LOOKS:
        page, faults = await open_page(running, door, viewport={"width": width, "height": height}, color_scheme=scheme)

        async def sound(page: Any = page) -> None:
            assert await violations(page) == []
            assert await sideways(page) <= 0
            small = "[...document.querySelectorAll('button, a, input:not([type=hidden])')].filter((n) => n.getBoundingClientRect().height < 44).length"
            assert await page.evaluate(small) == 0

        await page.goto(door.pages.link(PRESS))
        await sound()
        door.answer = Answer(ok=False, text="You deployed 42, so somebody else must approve. Nothing was changed.")
        await page.fill("textarea", "The feed is fine.")
        await page.click("button")
        await page.wait_for_selector("h1:has-text('Refused')")
        await sound()
        await page.goto(door.pages.link(replace(PRESS, person="U0ANA")))
        await page.wait_for_selector(
            "text=This link is for Ana Ruiz; you signed in as Priya Shah. Nothing was changed."
        )
        await sound()
        await page.goto(f"{door.url}/login")
        await sound()
        await page.fill("#code", "WXYZ-2345")
        await page.click("button")
        await page.wait_for_selector("h1:has-text('act as you for')")
        await sound()
        assert faults == []
        await page.close()


async def test_a_page_of_ours_is_small_and_needs_no_script(door: Door, running: Any, tmp_path: Path) -> None:
    page, faults = await open_page(running, door, java_script_enabled=False)
    sizes: list[int] = []

    async def weigh(answer: Any) -> None:
        if answer.url.startswith(door.url) and answer.status == 200:
            sizes.append(len(await answer.body()))

    page.on("response", weigh)
    await page.goto(door.pages.link(PRESS), wait_until="networkidle")
    await page.click("button")
    await page.wait_for_selector("h1:has-text('Approved')")
    assert 0 < sum(sizes) <= 60_000
    assert len(door.pressed) == 1
    assert faults == []
