"""A scene for the page without the rest of the demo: the look-alike, one incident as folded entries, a drawn plot."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.clock import START, SystemClock
from bot.demo.page import serve_page
from bot.demo.slack import BOT, CAST, CHANNEL, SlackLookalike
from bot.domain import entries as e
from bot.domain.incident import Incident, fold
from bot.ports import Clock, Document
from tests.slack.stories import STORIES, recorded

ABLE = {"on-call SRE": ("U0ANA", "U0TOM"), "model owner": ("U0PRIYA",)}
BUTTON = {
    "type": "button",
    "action_id": "approve",
    "style": "primary",
    "text": {"type": "plain_text", "text": "Approve 42 → 41"},
    "accessibility_label": "Approve rollback of fraud-scorer from 42 to 41",
    "value": "v",
}
CARD: list[dict[str, Any]] = [
    {"type": "header", "text": {"type": "plain_text", "text": ":grey_question: Cannot tell · fraud-scorer is on 41"}},
    {
        "type": "section",
        "text": {"type": "mrkdwn", "text": "*Needs 2*\n☑ on-call SRE: <@U0ANA>\n☐ model owner: `a` &lt;b&gt;"},
    },
    {"type": "section", "fields": [{"type": "mrkdwn", "text": "*Proposed*\n42 → *41*"}]},
    {"type": "actions", "elements": [BUTTON]},
    {"type": "context", "elements": [{"type": "mrkdwn", "text": "Next: <https://lastgood.example/incidents/1|7Q4RD>"}]},
]


@dataclass
class Stage:
    """One moment of a story, held still."""

    folder: Path
    told: Sequence[e.Recorded] = ()
    clock: Clock = field(default_factory=SystemClock)
    run: str = "stage"
    rulings: int = 0

    def __post_init__(self) -> None:
        """Fill the channel and the plot."""
        self.slack = SlackLookalike(self.clock)
        self.slack.say("U0MIKA", "fraud-scorer 42 is going out.")
        if self.told:
            self.slack.keep(CHANNEL, {"user": BOT, "text": "Cannot tell", "blocks": CARD})
        began = START.timestamp() - 40
        self.series: list[tuple[float, float, float, int]] = [
            (began + n / 2, _share(n, moved=self._moved), _ratio(n, moved=self._moved), 212) for n in range(160)
        ]

    @property
    def _moved(self) -> bool:
        return any(isinstance(one.entry, e.TrafficVerified) for one in self.told)

    def name(self, user: str) -> str:
        return CAST.get(user, user)

    async def incident(self) -> Incident | None:
        return fold(self.told) if self.told else None

    async def entries(self, stream: str) -> Sequence[e.Recorded]:
        return [one for one in self.told if one.stream == stream]

    async def title(self, user: str) -> str:
        return next((role for role, people in ABLE.items() if user in people), "no role in this plan")

    async def may(self, user: str, incident: Incident | None) -> str:
        self.rulings += 1
        return f"{len(incident.votes) if incident else 0} approved so far."

    async def could(self, incident: Incident | None) -> Mapping[str, Sequence[str]]:
        return ABLE

    async def postmortem(self, suffix: str) -> Any:
        return Document("p", "# p", "<!doctype html><title>p</title>") if self.told else None


def stage(folder: Path, story: str = "", **more: Any) -> Stage:
    return Stage(folder, recorded(STORIES[story]) if story else (), **more)


async def no_story(made: Stage) -> None:
    """Nothing to play."""


@asynccontextmanager
async def served(made: Stage) -> AsyncIterator[str]:
    runner: web.AppRunner = await serve_page(made, 0, no_story)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _share(n: int, *, moved: bool) -> float:
    if n < 24 or (moved and n > 120):
        return 0.0
    return min(1.0, (n - 24) / 20)


def _ratio(n: int, *, moved: bool) -> float:
    return 0.003 + 0.12 * _share(n - 20, moved=moved) * (1 + 0.05 * math.sin(n))
