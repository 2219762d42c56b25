"""The page's server: what changed is sent, what a browser missed is sent again, and only this machine's browser is answered."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.demo import page
from tests.demo.app import app, with_menu
from tests.demo.stage import Stage, served, stage
from tests.slack.stories import STORIES, recorded

PARTS = {"scene", "channel", "story", "people", "entries", "points"}


class Events:
    """One connection of a browser."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self, within: float = 3.0) -> tuple[str, Any, str]:
        """Give name, data and id of the next event."""
        rows: dict[str, str] = {}
        async with asyncio.timeout(within):
            while line := (await self._answer.content.readline()).decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                rows[name] = value
        return rows["event"], json.loads(rows["data"]), rows.get("id", "")

    async def some(self, count: int) -> dict[str, Any]:
        return {name: data for name, data, _ in [await self.next() for _ in range(count)]}


async def test_a_new_browser_is_sent_every_part_once(tmp_path: Path) -> None:
    made = stage(tmp_path, "waiting-1")
    async with served(made) as url, aiohttp.ClientSession() as http, http.get(f"{url}/events") as answer:
        events = Events(answer)
        first = await events.some(6)
        assert set(first) == PARTS
        assert first["story"]["title"] == "Waiting 1/2 · fraud-scorer"
        assert len(first["points"]) == 160
        assert [row["version"] for row in first["entries"]["rows"]] == [1, 2, 3, 4]
        with pytest.raises(TimeoutError):
            await events.next(within=1.2)


async def test_only_what_changed_is_sent_again(tmp_path: Path) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url, aiohttp.ClientSession() as http, http.get(f"{url}/events") as answer:
        events = Events(answer)
        await events.some(6)
        made.slack.say("U0ANA", "I look.")
        name, data, _ = await events.next()
        assert (name, data["messages"][-1]["text"]) == ("channel", "I look.")
        made.told = recorded(STORIES["waiting-1"])
        news = await events.some(3)
        assert set(news) == {"story", "people", "entries"}
        assert news["entries"] == {"after": 3, "rows": news["entries"]["rows"]}
        assert len(news["entries"]["rows"]) == 1


async def test_many_changes_at_once_are_one_event(tmp_path: Path) -> None:
    made = stage(tmp_path)
    async with served(made) as url, aiohttp.ClientSession() as http, http.get(f"{url}/events") as answer:
        events = Events(answer)
        await events.some(5)
        for n in range(50):
            made.slack.say("U0ANA", f"line {n}")
        _, data, _ = await events.next()
        assert len(data["messages"]) == 51


async def test_a_browser_that_comes_back_is_sent_the_points_it_missed(tmp_path: Path) -> None:
    made = stage(tmp_path)
    seen = made.series[-4][0]
    async with served(made) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/events", headers={"Last-Event-ID": str(seen)}) as answer:
            assert len((await Events(answer).some(5))["points"]) == 3
        async with http.get(f"{url}/events", headers={"Last-Event-ID": "rubbish"}) as answer:
            assert len((await Events(answer).some(5))["points"]) == 160


async def test_the_rules_are_asked_again_when_a_vote_came_and_not_for_every_look(tmp_path: Path) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url, aiohttp.ClientSession() as http, http.get(f"{url}/events") as answer:
        events = Events(answer)
        await events.some(6)
        made.slack.say("U0ANA", "I look.")
        await events.next()
        assert made.rulings in (6, 12)  # once, or twice over the turn of a ten-second slot
        asked = made.rulings
        made.told = recorded(STORIES["waiting-1"])
        await events.some(2)
        assert made.rulings >= asked + 6


async def test_a_verdict_nobody_can_give_is_neither_good_nor_bad(tmp_path: Path) -> None:
    made = stage(tmp_path, "stuck-cannot-tell")
    async with served(made) as url, aiohttp.ClientSession() as http, http.get(f"{url}/events") as answer:
        rows = (await Events(answer).some(6))["entries"]["rows"]
    assert (rows[-1]["type"], rows[-1]["kind"]) == ("sli.judged", "odd")


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/press", b"{", "This is no JSON."),
        ("/press", b"[]", "This is no JSON object."),
        ("/press", b'{"user":"U0ANA"}', "action must be a text"),
        ("/press", b'{"user":"U0EVE","action":"approve","ts":"1"}', "user is not one of the cast."),
        ("/say", json.dumps({"user": "U0ANA", "text": "x" * 1001}).encode(), "text must be a text of at most 1,000"),
        ("/press", b'{"user":"U0ANA","action":"more","ts":"1","value":7}', "value must be a text"),
        ("/press", b'{"user":"U0ANA","action":"more","ts":"1","value":"take.1"}', "This option is not on the card."),
        ("/submit", b'{"user":"U0ANA","view":"V1","values":{"why":"t"}}', "This dialog is not open."),
    ],
)
async def test_what_no_page_of_ours_sends_is_refused_with_a_sentence(
    tmp_path: Path, path: str, body: bytes, sentence: str
) -> None:
    json_ = {"Content-Type": "application/json"}
    async with (
        served(stage(tmp_path)) as url,
        aiohttp.ClientSession() as http,
        http.post(url + path, data=body, headers=json_) as answer,
    ):
        assert answer.status == 400
        assert sentence in await answer.text()


# ── menus and dialogs ─────────────────────────────────────────────────────────────────────────────────────────────


async def posted(http: aiohttp.ClientSession, url: str, **body: Any) -> tuple[int, Any]:
    """Give status and answer, a sentence where it is none of ours."""
    async with http.post(url, json=body) as answer:
        return answer.status, await (answer.json() if answer.status == 200 else answer.text())


async def opened(made: Stage, http: aiohttp.ClientSession, url: str, user: str = "U0ANA") -> Any:
    """Let the app open its dialog for a person."""
    status, answer = await posted(http, f"{url}/press", user=user, action="more", ts=with_menu(made.slack), value="edit.7.plan.1")  # fmt: skip
    assert (status, answer["error"]) == (200, "")
    return answer["view"]


async def test_an_option_that_was_picked_reaches_the_app_as_the_card_carries_it_now(tmp_path: Path) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url, aiohttp.ClientSession() as http, app(made.slack) as bot:
        ts = with_menu(made.slack, 2)
        shown = "break_glass.7.another.1"  # what the page says of the plan is not believed
        status, answer = await posted(http, f"{url}/press", user="U0INES", action="more", ts=ts, value=shown)
        assert (status, answer["view"]["title"]["text"]) == (200, "Everything")
        (action,) = bot.got[0]["actions"]
        assert (action["type"], action["selected_option"]["value"]) == ("overflow", "break_glass.7.plan.2")
        assert bot.got[0]["user"]["id"] == "U0INES"


FILLED = {"version": "40", "to": "U0PRIYA", "why": "the feed is late", "typed": "fraud-scorer"}


async def test_a_dialog_is_sent_with_every_field_as_slack_sends_it(tmp_path: Path) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url, aiohttp.ClientSession() as http, app(made.slack) as bot:
        view = await opened(made, http, url)
        assert set(view) == {"id", "title", "submit", "close", "blocks"}
        said = await posted(http, f"{url}/submit", user="U0ANA", view=view["id"], values=FILLED)
        assert said == (200, {"error": "", "errors": {}})
        assert bot.filled["version"]["selected_option"]["value"] == "40"
        assert bot.filled["to"]["selected_user"] == "U0PRIYA"
        assert (bot.filled["why"]["value"], bot.filled["typed"]["value"]) == ("the feed is late", "fraud-scorer")
        assert made.slack.views == {}


@pytest.mark.parametrize(
    ("field", "text", "sentence"),
    [
        ("version", "", "Pick one."), ("version", "42", "Pick one of these."), ("to", "", "Pick one."), ("to", "U0EVE", "Pick one of these."),
        ("why", "too short", "10 characters at least; this has 9."), ("why", "x" * 41, "40 characters at most; this has 41."),
        ("typed", "", "Fill this in."), ("typed", "x" * 21, "20 characters at most; this has 21."),
    ],
)  # fmt: skip
async def test_what_slack_would_keep_in_the_dialog_never_reaches_the_app(
    tmp_path: Path, field: str, text: str, sentence: str
) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url, aiohttp.ClientSession() as http, app(made.slack) as bot:
        view = await opened(made, http, url)
        said = await posted(http, f"{url}/submit", user="U0ANA", view=view["id"], values={**FILLED, field: text})
        assert said == (200, {"error": "", "errors": {field: sentence}})
        assert [one["type"] for one in bot.got] == ["block_actions"]
        assert view["id"] in made.slack.views


async def test_a_field_that_was_never_touched_is_sent_as_it_began(tmp_path: Path) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url, aiohttp.ClientSession() as http, app(made.slack) as bot:
        view = await opened(made, http, url)
        values = {name: text for name, text in FILLED.items() if name != "why"}
        await posted(http, f"{url}/submit", user="U0ANA", view=view["id"], values=values)
        assert bot.filled["why"]["value"] == "what is known"


async def test_what_the_app_finds_wrong_comes_back_by_field_and_the_dialog_stays(tmp_path: Path) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url, aiohttp.ClientSession() as http, app(made.slack) as bot:
        view = await opened(made, http, url)
        bot.answer = json.dumps({"response_action": "errors", "errors": {"typed": "Type it."}})
        said = await posted(http, f"{url}/submit", user="U0ANA", view=view["id"], values=FILLED)
        assert said == (200, {"error": "", "errors": {"typed": "Type it."}})
        assert view["id"] in made.slack.views


async def test_a_dialog_is_filled_in_and_left_only_by_whom_it_was_opened_for(tmp_path: Path) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url, aiohttp.ClientSession() as http, app(made.slack) as bot:
        view = await opened(made, http, url)
        for path, more in (("submit", {"values": FILLED}), ("dismiss", {})):
            assert await posted(http, f"{url}/{path}", user="U0GIL", view=view["id"], **more) == (
                400,
                "This dialog is not open.",
            )
        assert len(bot.got) == 1
        for _ in range(2):  # one that is gone is left
            assert await posted(http, f"{url}/dismiss", user="U0ANA", view=view["id"]) == (200, {"error": ""})
        assert made.slack.views == {}


@pytest.mark.parametrize("values", [None, ["why"], {"private_metadata": "x"}, {"why": 7}, {"why": "x" * 1001}])
async def test_fields_no_dialog_of_ours_has_are_refused(tmp_path: Path, values: Any) -> None:
    made = stage(tmp_path, "waiting-0")
    async with served(made) as url, aiohttp.ClientSession() as http, app(made.slack) as bot:
        view = await opened(made, http, url)
        status, said = await posted(http, f"{url}/submit", user="U0ANA", view=view["id"], values=values)
        assert status == 400
        assert said.startswith(("values must be", "why must be"))
        assert len(bot.got) == 1


async def test_other_pages_and_other_names_are_not_answered(tmp_path: Path) -> None:
    body = json.dumps({"user": "U0ANA", "text": "hello"})
    made = stage(tmp_path)
    async with served(made) as url, aiohttp.ClientSession() as http:
        async with http.post(f"{url}/say", data=body, headers={"Content-Type": "text/plain"}) as answer:
            assert answer.status == 415
        async with http.get(url, headers={"Host": "lastgood.evil.example:80"}) as answer:
            assert answer.status == 403
    assert len(made.slack.messages) == 1


async def test_what_a_visitor_types_stays_text(tmp_path: Path) -> None:
    made = stage(tmp_path)
    body = {"user": "U0GIL", "text": "<!channel> & <b>"}
    async with served(made) as url, aiohttp.ClientSession() as http, http.post(f"{url}/say", json=body) as answer:
        assert (await answer.json())["error"] == ""
    assert made.slack.messages[-1]["text"] == "&lt;!channel&gt; &amp; &lt;b&gt;"


async def test_the_page_is_small_strict_and_asks_nobody_else(tmp_path: Path) -> None:
    names = [one.name for one in page.HERE.iterdir()]
    async with served(stage(tmp_path, "closed-recovered")) as url, aiohttp.ClientSession() as http:
        size = 0
        for path in ["/", *(f"/{name}" for name in names if name != "page.html")]:
            async with http.get(url + path) as answer:
                assert answer.status == 200
                assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                text = await answer.text()
            size += len(text.encode())
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert not re.search(
                r"https?://(?!www\.w3\.org/2000/svg)|style=|onclick=",
                text.replace("/^https?:/", "").replace(".onclick = ", ""),
            )
        async with http.get(f"{url}/incidents/7Q4RD0/postmortem") as answer:
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")
    assert size <= 60_000


async def test_an_unknown_postmortem_is_not_found(tmp_path: Path) -> None:
    async with (
        served(stage(tmp_path)) as url,
        aiohttp.ClientSession() as http,
        http.get(f"{url}/incidents/none/postmortem") as answer,
    ):
        assert answer.status == 404
