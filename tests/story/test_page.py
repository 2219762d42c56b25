"""The demo's page on the whole running demo: people approve with the mouse and by keyboard, reject, and the plot moves."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.app import create
from bot.demo.page import serve_page
from bot.demo.world import World, story, world
from bot.domain.incident import Phase
from bot.errors import LastgoodError
from tests.demo.browser import NEEDS_CHROMIUM, browser, serious, sideways, theme, visit

pytestmark = [pytest.mark.story, NEEDS_CHROMIUM]
SOON, LATER = 60_000, 180_000  # milliseconds


@asynccontextmanager
async def opened(folder: Path, width: int = 1440, height: int = 900) -> AsyncIterator[tuple[World, Any, list[str]]]:
    async with world(folder, create) as made, browser() as running:
        served = await serve_page(made, 0, story)
        try:
            page, faults = await visit(running, f"http://127.0.0.1:{served.addresses[0][1]}", width, height)
            yield made, page, faults
        finally:
            await served.cleanup()


async def says(page: Any, text: str) -> None:
    await page.wait_for_selector(f"#you >> text={text}", timeout=SOON)


async def healthy(page: Any) -> None:
    for name in ("light", "dark"):
        await theme(page, name)
        assert await serious(page) == []


@pytest.mark.timeout(600)
async def test_two_people_approve_on_the_page_and_the_plot_moves(tmp_path: Path) -> None:
    async with opened(tmp_path / "demo") as (made, page, faults):
        await says(page, "Nothing is asked of anybody yet.")
        await healthy(page)
        await made.deploy()
        await page.wait_for_selector("[data-action=approve]", timeout=LATER)
        await page.wait_for_selector("#r-share >> text=/^100\u00a0%$/", timeout=LATER)

        await page.click("[data-user=U0GIL]")
        await says(page, "Guests cannot approve. Ana Ruiz, Tom Becker or Priya Shah can.")
        await page.click("[data-action=approve]")
        await page.wait_for_selector(".eph >> text=Guests cannot approve.", timeout=SOON)
        await page.wait_for_selector("#entries >> text=approval.refused", timeout=SOON)
        await page.click("[data-user=U0MIKA]")
        await says(page, "you hold none of its roles")
        await healthy(page)

        await page.click("[data-user=U0ANA]")
        await says(page, "You may approve as on-call SRE.")
        await page.click("[data-action=approve]")
        await page.wait_for_selector("text=1 of 2 approved", timeout=SOON)
        await says(page, "One person fills one place.")
        assert await page.title() == "Waiting 1/2 · fraud-scorer"
        await page.click("[data-user=U0TOM]")
        await says(page, "The on-call SRE place is filled.")

        await page.focus("[data-user=U0TOM]")
        await page.keyboard.press("Home")
        await page.keyboard.press("ArrowRight")
        await says(page, "You may approve as model owner.")
        await page.focus("[data-action=approve]")
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".verd:nth-child(2).yes", timeout=LATER)
        await healthy(page)
        await page.wait_for_selector("#q3.good", timeout=LATER)
        await page.wait_for_selector("#r-share >> text=/^0\u00a0%$/", timeout=LATER)
        assert await page.locator(".verd.yes").count() == 3
        assert {"alert", "41 back", "recovered"} <= set(await page.locator("#plot .lab").all_text_contents())

        await page.wait_for_selector("#report", timeout=LATER)
        await page.click("#verify")
        await page.wait_for_selector("#chk >> text=The chain holds.", timeout=SOON)
        await page.click("#tamper")
        await page.wait_for_selector("#chk >> text=On a copy, entry 3 was dated back", timeout=SOON)
        assert await page.locator(".ent.broken").get_attribute("data-version") == "3"
        await page.click("#verify")
        await page.wait_for_selector("#chk >> text=The chain holds.", timeout=SOON)
        assert await page.locator(".ent.broken").count() == 0
        await healthy(page)
        await page.goto(await page.evaluate("document.getElementById('report').href"))
        assert "Recovered" in await page.text_content("h1")
        assert [one for one in faults if "Content Security Policy" not in one] == []


async def on_a_phone_the_menu_answers(page: Any) -> None:
    """Ask at the width of a phone why these people are asked; only who asked is told."""
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.click("[data-action=more]")
    await page.wait_for_selector("#menu:popover-open", timeout=SOON)
    edges = await page.locator("#menu").bounding_box()
    assert edges["x"] >= 0
    assert edges["x"] + edges["width"] <= 390
    assert edges["y"] + edges["height"] <= 844
    assert await sideways(page) <= 0
    await page.click("#menu >> text=Why these people")
    await page.wait_for_selector(".eph >> text=needs 2 different people for 42 → 41", timeout=SOON)
    assert await sideways(page) <= 0
    await page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.timeout(600)
async def test_a_rejection_asks_for_a_reason_in_the_modal_the_bot_opened(tmp_path: Path) -> None:
    async with opened(tmp_path / "demo") as (made, page, faults):
        await made.deploy()
        await page.wait_for_selector("[data-action=reject]", timeout=LATER)
        await on_a_phone_the_menu_answers(page)

        await page.focus("[data-action=reject]")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog[open] >> text=Reject this plan", timeout=SOON)
        assert await page.evaluate("document.activeElement.textContent") == "Not now"
        assert made.slack.calls["views.open"] == 1
        await healthy(page)
        await page.keyboard.press("Escape")
        await page.wait_for_selector("dialog:not([open])", state="attached", timeout=SOON)
        assert await page.evaluate("document.activeElement.dataset.action") == "reject"

        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog[open]", timeout=SOON)
        assert len(made.slack.views) == 1
        await page.fill("#f-why", "no")
        await page.click("#ask-yes")
        await page.wait_for_selector("#e-why >> text=10 characters at least", timeout=SOON)
        await page.fill("#f-why", "42 is fine, the feed is late.")
        await page.click("#ask-yes")
        await page.wait_for_selector("#q1 >> text=The plan was rejected", timeout=SOON)
        assert await page.title() == "Rejected · fraud-scorer"
        assert made.slack.views == {}
        await says(page, "You may decide here: the buttons are on the card.")
        await healthy(page)
        assert faults == []


@pytest.mark.timeout(600)
async def test_ines_breaks_the_glass_by_keyboard_and_ana_reviews_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "demo") as (made, page, faults):
        await made.deploy()
        await page.wait_for_selector("[data-action=more]", timeout=LATER)
        await ines_is_chosen(page)
        await the_dialog_is_opened(page)
        await what_is_wrong_stands_under_its_field(made, page)
        await page.keyboard.press("Control+A")
        await page.keyboard.type("fraud-scorer")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog:not([open])", state="attached", timeout=SOON)
        await the_card_is_loud(page)
        await ana_reviews(page)
        assert faults == []


async def ines_is_chosen(page: Any) -> None:
    await says(page, "Ines Duarte may break the glass.")
    await page.focus("[data-user=U0ANA]")
    await page.keyboard.press("End")
    await says(page, "Guests cannot approve.")
    await says(page, "Ines Duarte may break the glass.")
    await page.keyboard.press("ArrowLeft")
    await says(page, "You may break the glass.")
    assert (await page.text_content("#you")).startswith("Ines Duarte, commander.")


async def the_dialog_is_opened(page: Any) -> None:
    await page.focus("[data-action=more]")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#menu:popover-open", timeout=SOON)
    await healthy(page)
    await page.keyboard.press("b")
    assert await page.evaluate("document.activeElement.textContent") == "Break glass"
    await page.keyboard.press("Enter")
    await page.wait_for_selector("dialog[open] >> text=One person, no second pair of eyes.", timeout=SOON)
    assert "calls the owners of fraud-scorer" in await page.text_content("dialog")
    assert await page.evaluate("document.activeElement.textContent") == "Not now"
    await healthy(page)


async def what_is_wrong_stands_under_its_field(made: World, page: Any) -> None:
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.type("because")
    await page.keyboard.press("Tab")
    await page.keyboard.type("fraud-scorrer")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#e-why >> text=20 characters at least; this has 7.", timeout=SOON)
    assert await page.evaluate("document.activeElement.id") == "f-why"
    await healthy(page)
    await page.keyboard.type(" nobody else answers and it costs")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#e-typed >> text=Type fraud-scorer to act alone. Nothing was changed.", timeout=SOON)
    assert await page.text_content("#e-why") == ""
    await page.wait_for_selector("#entries >> text=approval.refused", timeout=SOON)
    found = await made.incident()
    assert found is not None
    assert (found.phase, found.glass) == (Phase.WAITING, None)


async def the_card_is_loud(page: Any) -> None:
    await page.wait_for_selector("#msgs h3 >> text=glass broken", timeout=SOON)
    await page.wait_for_selector("#msgs h3 use[href='#i-alarm']", state="attached", timeout=SOON)
    await page.wait_for_selector("#msgs >> text=because nobody else answers and it costs", timeout=SOON)
    await page.wait_for_selector("#q2 >> text=Ines Duarte, alone", timeout=SOON)
    await page.wait_for_selector(r"#q2 >> text=/glass broken · review due \d/", timeout=SOON)
    await page.wait_for_selector("#entries >> text=glass.broken", timeout=SOON)
    await says(page, "You broke the glass, so somebody else must review it.")
    await page.wait_for_selector("#q3.good", timeout=LATER)
    await page.wait_for_selector("#report", timeout=LATER)
    await page.wait_for_selector("#msgs h3 >> text=Recovered, glass broken", timeout=SOON)
    await page.wait_for_function("document.title === 'Recovered, glass broken · fraud-scorer'", timeout=SOON)
    await page.wait_for_selector(
        "#plot .d-vote title >> text=Ines Duarte broke the glass", state="attached", timeout=SOON
    )
    await healthy(page)


async def ana_reviews(page: Any) -> None:
    await page.focus("[data-user=U0INES]")
    await page.keyboard.press("Home")
    await says(page, "You may review what was done behind broken glass.")
    await page.focus("[data-action=review]")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("dialog[open] >> text=Ines Duarte broke the glass as commander.", timeout=SOON)
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.type("The right call: the feed was fine, 42 was not.")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("#entries >> text=review.done", timeout=SOON)
    await page.wait_for_selector("#q2 >> text=glass broken · reviewed", timeout=SOON)
    await page.wait_for_selector("#msgs >> text=Ana Ruiz reviewed it.", timeout=SOON)
    await page.wait_for_selector("[data-action=review]", state="detached", timeout=SOON)
    await page.wait_for_function("document.title === 'Recovered · fraud-scorer'", timeout=SOON)
    await says(page, "It is over. You may record the fix or overrule the grade.")
    await healthy(page)


@pytest.mark.timeout(600)
async def test_on_a_phone_the_whole_story_is_played_by_itself_and_told_in_the_terminal(tmp_path: Path) -> None:
    async with opened(tmp_path / "demo", 390, 844) as (made, page, faults):
        told: list[str] = []
        made.say = told.append
        await page.click("#play")
        await page.wait_for_selector("[data-action=approve]", timeout=LATER)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        await page.wait_for_selector("#q3.good", timeout=LATER)
        await page.wait_for_selector("#report", timeout=LATER)
        await made.news()
        words = [re.split(r"\s+", line)[1] for line in told]
        assert words == ["alert", "waiting", "refused", "approved", "approved", "moved", "recovered", "postmortem"]
        assert "on-call SRE (Ana Ruiz or Tom Becker), model owner (Priya Shah)" in told[1]
        assert Path(told[-1].split()[-1]).read_text().startswith("#")
        assert await page.is_disabled("#play")
        assert faults == []


async def test_a_folder_that_is_no_demos_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "thesis.txt"
    kept.write_text("years of work")
    with pytest.raises(LastgoodError, match="Nothing was deleted"):
        async with world(tmp_path, create):
            pass
    assert kept.read_text() == "years of work"
