"""The page in a real browser, in states held still: themes, widths, keyboard, contrast, greyscale shapes and its budget."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.demo.app import TELLS, app, with_menu
from tests.demo.browser import NEEDS_CHROMIUM, browser, serious, sideways, theme, visit
from tests.demo.stage import served, stage

pytestmark = [pytest.mark.story, NEEDS_CHROMIUM]
SOON = 60_000  # milliseconds
STATES = ("", "waiting-0", "moved", "stuck-cannot-tell", "stuck-not-recovered", "stuck-blocked", "closed-recovered")


@pytest.fixture
async def running() -> AsyncIterator[Any]:
    async with browser() as one:
        yield one


@pytest.mark.parametrize("story", STATES)
async def test_axe_finds_nothing_serious_in_both_themes_and_on_a_phone(
    tmp_path: Path, running: Any, story: str
) -> None:
    async with served(stage(tmp_path, story)) as url:
        for width, height in ((1440, 900), (390, 844)):
            page, faults = await visit(running, url, width, height)
            for name in ("light", "dark"):
                await theme(page, name)
                assert await serious(page) == []
            assert faults == []
            await page.close()


@pytest.mark.parametrize(("width", "height"), [(1024, 768), (720, 450), (390, 844), (320, 640), (195, 422)])
async def test_nothing_makes_the_page_scroll_sideways(tmp_path: Path, running: Any, width: int, height: int) -> None:
    """720 and 195 pixels are what 1440 and 390 leave at 200 % zoom."""
    async with served(stage(tmp_path, "stuck-cannot-tell")) as url:
        page, faults = await visit(running, url, width, height)
        for tab in ("channel", "proof", "log"):
            if width <= 760:
                await page.click(f".tabs [data-tab={tab}]")
            assert await sideways(page) <= 0
        assert faults == []


async def test_on_a_phone_approve_is_seen_without_scrolling_and_is_big_enough_for_a_thumb(
    tmp_path: Path, running: Any
) -> None:
    async with served(stage(tmp_path, "waiting-0")) as url:
        page, _ = await visit(running, url, 390, 844)
        tabs = await page.locator(".tabs").bounding_box()
        button = await page.locator("[data-action=approve]").bounding_box()
        assert button["y"] + button["height"] <= tabs["y"]
        small = await page.evaluate(
            "[...document.querySelectorAll('button, a.btn')].filter((n) => n.offsetWidth).map((n) => n.getBoundingClientRect())"
            ".filter((r) => r.height < 44).length"
        )
        assert small == 0


async def test_the_people_are_a_radio_group_with_one_stop_for_the_tab_key(tmp_path: Path, running: Any) -> None:
    async with served(stage(tmp_path, "waiting-0")) as url:
        page, _ = await visit(running, url)
        stops = page.locator("[role=radio][tabindex='0']")
        assert await stops.count() == 1
        await page.focus("[data-user=U0ANA]")
        for key, user in (("ArrowRight", "U0PRIYA"), ("ArrowLeft", "U0ANA"), ("ArrowUp", "U0GIL"), ("Home", "U0ANA")):
            await page.keyboard.press(key)
            assert await page.evaluate("document.activeElement.dataset.user") == user
            assert await stops.get_attribute("data-user") == user
            assert await page.locator("[aria-checked=true]").count() == 1


async def test_the_first_tab_stop_skips_to_the_channel(tmp_path: Path, running: Any) -> None:
    async with served(stage(tmp_path)) as url:
        page, _ = await visit(running, url)
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.className") == "skip"
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "channel"


async def test_only_a_change_of_state_is_spoken_and_not_the_ticking_numbers(tmp_path: Path, running: Any) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url:
        page, _ = await visit(running, url)
        live = page.locator("[aria-live]")
        assert await live.count() == 1
        await page.wait_for_selector("#live >> text=Waiting 0/2 · fraud-scorer", state="attached")
        await page.evaluate(
            "window.spoken = []; new MutationObserver(() => spoken.push($('live').textContent)).observe($('live'), {childList: true})"
        )
        shown = await page.text_content("#r-ratio")
        made.series.append((made.series[-1][0] + 0.5, 1.0, 0.5, 212))
        await page.wait_for_selector("#r-ratio >> text=50.0", timeout=SOON)
        assert shown != await page.text_content("#r-ratio")
        assert await page.evaluate("spoken") == []


async def test_focus_and_the_button_under_it_stay_while_the_channel_grows(tmp_path: Path, running: Any) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url:
        page, _ = await visit(running, url, 1440, 600)
        await page.focus("[data-action=approve]")
        before = await page.locator("[data-action=approve]").bounding_box()
        card = made.slack.messages[-1]
        blocks = [dict(block) for block in card["blocks"]]
        grown = {"type": "section", "text": {"type": "mrkdwn", "text": "one\ntwo\nthree"}}
        made.slack.render(card, [blocks[0], grown, *blocks[1:]])
        await page.wait_for_selector("text=three")
        await page.wait_for_function("document.activeElement.dataset.action === 'approve'", timeout=SOON)
        after = await page.locator("[data-action=approve]").bounding_box()
        assert abs(after["y"] - before["y"]) <= 1


async def test_the_plot_is_a_picture_with_a_sentence_and_a_table_behind_a_word(tmp_path: Path, running: Any) -> None:
    async with served(stage(tmp_path, "closed-recovered")) as url:
        page, _ = await visit(running, url)
        said = await page.get_attribute("#plot", "aria-label")
        assert said.startswith("Version 42 serves 0\u00a0% of traffic, version 41 100\u00a0%.")
        assert "alert at" in said
        assert "recovered at" in said
        await page.click("text=Show numbers")
        await page.locator("#numbers tr").nth(9).wait_for()  # filled by an event that comes after the click
        labels = await page.locator("#plot text").all_text_contents()
        assert {"alert", "41 back", "recovered", "version 42", "≤ 1\u00a0%"} <= set(labels)
        assert await page.locator("#plot .d-vote").count() == 2


async def test_the_line_changes_colour_when_the_serving_version_changes(tmp_path: Path, running: Any) -> None:
    async with served(stage(tmp_path, "closed-recovered")) as url:
        page, _ = await visit(running, url)
        kinds = await page.evaluate(
            "[...document.querySelectorAll('#plot .l-good, #plot .l-bad')].map((n) => n.getAttribute('class'))"
        )
        assert kinds == ["l-good", "l-bad", "l-good"]


async def test_without_colour_shapes_still_tell_the_verdicts_and_the_bad_version_apart(
    tmp_path: Path, running: Any
) -> None:
    async with served(stage(tmp_path, "stuck-cannot-tell")) as url:
        page, _ = await visit(running, url)
        shapes = await page.evaluate("[...document.querySelectorAll('.verd use')].map((n) => n.getAttribute('href'))")
        assert shapes == ["#i-yes", "#i-yes", "#i-cannot_tell"]
        assert await page.evaluate("getComputedStyle(document.querySelector('.a-bad')).fill") == 'url("#hatch")'


async def test_reduced_motion_stops_the_rings(tmp_path: Path, running: Any) -> None:
    async with served(stage(tmp_path, "moved")) as url:
        for motion, name in (("no-preference", "turn"), ("reduce", "none")):
            page, _ = await visit(running, url, reduced_motion=motion)
            ring = "getComputedStyle(document.querySelector('.verd .spin')).animationName"
            assert await page.evaluate(ring) == name


async def test_the_theme_follows_the_system_until_a_visitor_chooses(tmp_path: Path, running: Any) -> None:
    async with served(stage(tmp_path)) as url:
        page, _ = await visit(running, url, color_scheme="dark")
        ground = "getComputedStyle(document.body).backgroundColor"
        assert await page.evaluate(ground) == "rgb(11, 17, 23)"
        await page.click("#theme")
        assert await page.evaluate(ground) == "rgb(233, 237, 240)"
        assert await page.get_attribute("#theme", "aria-pressed") == "false"


async def test_a_plot_of_ten_minutes_is_drawn_within_its_budget(tmp_path: Path, running: Any) -> None:
    made = stage(tmp_path, "closed-recovered")
    began = made.series[0][0]
    made.series[:] = [(began + n / 2, made.series[n % 160][1], made.series[n % 160][2], 212) for n in range(1200)]
    async with served(made) as url:
        page, _ = await visit(running, url)
        took = await page.evaluate(
            "(() => { const t = []; for (let i = 0; i < 30; i++) { const a = performance.now(); plotted(series, story.marks, 440, 300);"
            " t.push(performance.now() - a); } return t.sort((a, b) => a - b)[15]; })()"
        )
        assert took <= 4


# ── menus and dialogs ─────────────────────────────────────────────────────────────────────────────────────────────

FOCUS = "document.activeElement.textContent"
OPEN = "#menu:popover-open"


async def menu_is(page: Any, *, open_: bool) -> None:
    """Wait until the menu is open or closed, and its button says the same."""
    await page.wait_for_selector(OPEN if open_ else "#menu:not(:popover-open)", state="visible" if open_ else "attached", timeout=SOON)  # fmt: skip
    assert await page.get_attribute("[data-action=more]", "aria-expanded") == str(open_).lower()


async def test_the_menu_is_driven_by_keyboard_and_gives_the_focus_back(tmp_path: Path, running: Any) -> None:
    made = stage(tmp_path, "waiting-0")
    with_menu(made.slack)
    async with served(made) as url:
        page, faults = await visit(running, url)
        assert await page.get_attribute("[data-action=more]", "aria-haspopup") == "menu"
        await menu_is(page, open_=False)
        await page.focus("[data-action=more]")
        for key, first in (("Enter", "Choose"), ("ArrowDown", "Choose"), ("ArrowUp", "Why"), (" ", "Choose")):
            await page.keyboard.press(key)
            await menu_is(page, open_=True)
            assert await page.evaluate(FOCUS) == first
            await page.keyboard.press("Escape")
            await menu_is(page, open_=False)
            assert await page.evaluate("document.activeElement.dataset.action") == "more"
        await page.keyboard.press("Enter")
        for key, item in (("ArrowDown", "Edit"), ("End", "Why"), ("ArrowDown", "Choose"), ("ArrowUp", "Why"), ("Home", "Choose"), ("b", "Break glass")):  # fmt: skip
            await page.keyboard.press(key)
            assert await page.evaluate(FOCUS) == item
        assert await page.locator("#menu [role=menuitem]").count() == 5
        await page.keyboard.press("Tab")
        await menu_is(page, open_=False)
        assert faults == []


async def test_a_press_beside_the_menu_or_on_its_button_closes_it(tmp_path: Path, running: Any) -> None:
    made = stage(tmp_path, "waiting-0")
    with_menu(made.slack)
    async with served(made) as url:
        page, _ = await visit(running, url)
        for beside in ("#h-proof", "[data-action=more]"):
            await page.click("[data-action=more]")
            await menu_is(page, open_=True)
            await page.click(beside)
            await menu_is(page, open_=False)


async def test_an_open_menu_outlives_a_new_card_and_goes_with_its_button(tmp_path: Path, running: Any) -> None:
    made = stage(tmp_path, "waiting-0")
    with_menu(made.slack)
    async with served(made) as url, app(made.slack) as bot:
        page, _ = await visit(running, url)
        await page.click("[data-action=more]")
        card = made.slack.cards()[-1]
        with_menu(made.slack, 2)
        made.slack.render(card, [{"type": "section", "text": {"type": "mrkdwn", "text": "again"}}, *card["blocks"]])
        await page.wait_for_selector("#msgs >> text=again", timeout=SOON)
        await menu_is(page, open_=True)
        await page.keyboard.press("End")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog[open]", timeout=SOON)
        assert bot.got[0]["actions"][0]["selected_option"]["value"] == "why.7.plan.2"
        await page.keyboard.press("Escape")
        await page.wait_for_selector("dialog:not([open])", state="attached", timeout=SOON)
        await page.keyboard.press("Enter")
        await menu_is(page, open_=True)
        made.slack.render(card, card["blocks"][:1])
        await page.wait_for_selector("#menu:not(:popover-open)", state="attached", timeout=SOON)
        assert await page.evaluate("document.activeElement.id") == "msgs"


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844), (320, 640)])
async def test_axe_finds_nothing_serious_in_menu_and_dialog_and_nothing_hangs_over_the_edge(
    tmp_path: Path, running: Any, width: int, height: int
) -> None:
    made = stage(tmp_path, "waiting-0")
    with_menu(made.slack)
    async with served(made) as url, app(made.slack):
        page, faults = await visit(running, url, width, height)
        await page.click("[data-action=more]")
        await menu_is(page, open_=True)
        await held(page, OPEN, width, height)
        await page.click("#menu >> text=Edit")
        await page.wait_for_selector("dialog[open]", timeout=SOON)
        await page.click("#ask-yes")
        await page.wait_for_selector("#e-version >> text=Pick one.", timeout=SOON)
        await held(page, "dialog", width, height)
        assert faults == []


async def held(page: Any, what: str, width: int, height: int) -> None:
    """Nothing serious in both themes, inside the window, and on a phone every choice is big enough for a thumb."""
    for name in ("light", "dark"):
        await theme(page, name)
        assert await serious(page) == []
    box = await page.locator(what).bounding_box()
    assert (box["x"] >= 0, box["y"] >= 0, box["x"] + box["width"] <= width, box["y"] + box["height"] <= height) == (True,) * 4  # fmt: skip
    assert await sideways(page) <= 0
    if width <= 760:
        heights = await page.locator(f"{what} >> css=button, .opt, select").evaluate_all(
            "all => all.filter((n) => n.offsetWidth).map((n) => n.getBoundingClientRect().height)"
        )
        assert heights
        assert min(heights) >= 44


async def test_every_kind_of_field_is_filled_in_by_keyboard_and_what_is_wrong_stands_under_its_field(
    tmp_path: Path, running: Any
) -> None:
    made = stage(tmp_path, "waiting-0")
    with_menu(made.slack)
    async with served(made) as url, app(made.slack) as bot:
        page, faults = await visit(running, url)
        await page.focus("[data-action=more]")
        await page.keyboard.press("Enter")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog[open]", timeout=SOON)
        assert await page.evaluate(FOCUS) == "Not now"
        assert await page.locator("dialog b >> text=Read").count() == 1
        assert await page.locator("#ask-p").text_content() == "Read this."
        assert await page.input_value("#f-why") == "what is known"
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        for name, why in (("version", "Pick one."), ("to", "Pick one."), ("why", ""), ("typed", "Fill this in.")):
            await page.wait_for_selector(f"#e-{name} >> text=/^{why}$/", state="attached", timeout=SOON)
            assert await page.get_attribute(f"#f-{name}", "aria-invalid") == str(bool(why)).lower()
            assert f"e-{name}" in (await page.get_attribute(f"#f-{name}", "aria-describedby")).split()
        assert await page.evaluate("document.activeElement.value") == "40"  # the first that is wrong
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Tab")
        await page.keyboard.type("Priya")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Control+A")
        await page.keyboard.type("the feed is late")
        await page.keyboard.press("Tab")
        await page.keyboard.type("fraud-scorer")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog:not([open])", state="attached", timeout=SOON)
        assert bot.filled["version"]["selected_option"]["value"] == "39"
        assert bot.filled["to"]["selected_user"] == "U0PRIYA"
        assert (bot.filled["why"]["value"], bot.filled["typed"]["value"]) == ("the feed is late", "fraud-scorer")
        assert await page.evaluate("document.activeElement.dataset.action") == "more"
        assert faults == []


async def test_a_dialog_that_only_tells_has_one_way_out(tmp_path: Path, running: Any) -> None:
    made = stage(tmp_path, "waiting-0")
    with_menu(made.slack)
    async with served(made) as url, app(made.slack, TELLS) as bot:
        page, _ = await visit(running, url)
        await page.click("[data-action=more]")
        await page.click("#menu >> text=Choose")
        await page.wait_for_selector("dialog[open] >> text=No other version can take over.", timeout=SOON)
        assert await page.locator("dialog button:visible").all_text_contents() == ["Not now"]
        await page.keyboard.press("Enter")
        await page.wait_for_selector("dialog:not([open])", state="attached", timeout=SOON)
        await until(lambda: made.slack.views == {})
        assert len(bot.got) == 1


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON / 1000):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_time_of_another_day_is_drawn_with_its_day(tmp_path: Path, running: Any) -> None:
    made = stage(tmp_path, "waiting-0")
    at = int(made.clock.now().timestamp()) + 86400
    made.slack.say(
        "U0ANA", f"Due <!date^{at}^{{date_short_pretty}} {{time}}|tomorrow>, begun <!date^{at}^{{time}}|then>."
    )
    async with served(made) as url:
        page, _ = await visit(running, url)
        await page.wait_for_selector(
            r"#msgs >> text=/Due \d{1,2} [A-Z][a-z]+ \d\d:\d\d, begun \d\d:\d\d\./", timeout=SOON
        )
