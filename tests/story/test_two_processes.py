"""Two processes' worth of clicks at once: one vote a person, one execution."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest

from bot.demo.slack import CHANNEL
from bot.domain import entries as e
from bot.domain.incident import Phase
from tests.story.site import Site, site

SCRIPT = Path(__file__).with_name("clicker.py")
PEOPLE = ("U0ANA", "U0TOM", "U0PRIYA", "U0MIKA", "U0GIL", "U0INES")
EACH = 10  # presses a person makes in each process


def presses(here: Site, ts: str) -> list[tuple[str, dict[str, str]]]:
    """Every person presses Approve many times, each press signed and with an identity of its own."""
    block, element = here.slack.button(CHANNEL, ts, "approve")
    bodies = [
        urlencode(
            {"payload": json.dumps(here.slack.click_payload(user, "approve", {"ts": ts}, element, block_id=block))}
        )
        for _ in range(EACH)
        for user in PEOPLE
    ]
    return [(body, here.slack.signed(body.encode())) for body in bodies]


async def pressed(here: Site, folder: Path, name: str, ts: str) -> asyncio.subprocess.Process:
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"url": here.slack.request_url, "requests": presses(here, ts)}))
    return await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), str(file), str(folder / "begin"), stdout=asyncio.subprocess.PIPE
    )


@pytest.mark.story
async def test_two_processes_of_clicks_give_one_vote_a_person_and_one_execution(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.alert()
        card = await here.card_shows("Waiting")
        crowds = [await pressed(here, tmp_path, name, card["ts"]) for name in ("one", "two")]
        (tmp_path / "begin").touch()
        answers = [json.loads((await crowd.communicate())[0]) for crowd in crowds]
        found = await here.until(Phase.RECOVERED)
        entries = await here.app.store.read(found.stream)
    assert answers == [[200] * EACH * len(PEOPLE)] * 2
    votes = [one.entry.person for one in entries if isinstance(one.entry, e.ApprovalGiven)]
    assert sorted(votes) == sorted(set(votes))
    assert len(votes) == 2
    assert len({vote.role for vote in found.votes}) == 2
    assert [type(one.entry) for one in entries].count(e.RollbackClaimed) == 1
    assert [line.partition(" ")[2] for line in here.effects()] == ["42 0\u00a0%, 41 100\u00a0%"]
