"""Whoever deployed the bad version is known where a sender says so, and has no vote about its rollback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.alerts.github import Github, GithubConfig
from bot.domain import entries as e
from bot.domain.alert import Alert
from bot.domain.plan import Plan
from tests.flow.corridor import STREAM, Corridor

PEOPLE = {"mika-lind": "U0MIKA"}


def change(by: str = "", version: str | None = "42", *, minutes: int = 0, **facts: Any) -> e.ChangeNoticed:
    return e.ChangeNoticed(
        alert=Alert.model_validate({
            "source": "github", "kind": "change", "fingerprint": "github:deployment:1", "status": "update", "model": "fraud-scorer",
            "version": version, "environment": "prod", "starts_at": f"2026-11-23T02:{minutes:02}:00Z", "summary": "Shipped",
            "extra": {"by": by} if by else {}, **facts,
        })
    )  # fmt: skip


def corridor(*changes: e.ChangeNoticed, people: Mapping[str, str] = PEOPLE) -> Corridor:
    here = Corridor()
    config = GithubConfig.model_validate({"insecure": True, "people": dict(people)})
    sources: Any = {"github": Github(config, lambda _: None)}
    here.world = replace(here.world, sources=sources)
    for one in changes:
        here.memory.put(STREAM, one)
    return here


async def planned(here: Corridor) -> tuple[str, Plan]:
    stream = await here.fire()
    await here.turn(stream)
    return stream, here.last(stream, e.PlanMade).plan


@pytest.mark.parametrize(
    ("changes", "who"),
    [
        ([change("mika-lind")], "U0MIKA"),
        ([change("U0TOM")], "U0TOM"),
        ([change("ana@example.com")], "U0ANA"),
        ([change("", labels={"deployer": "U0TOM"})], "U0TOM"),
        ([change("", annotations={"deployed_by": "mika-lind"})], "U0MIKA"),
        ([change("U0TOM", minutes=5), change("mika-lind", minutes=1)], "U0TOM"),
        ([change("mika-lind", "41")], None),
        ([change("mika-lind", None)], None),
        ([change("")], None),
        ([], None),
    ],
    ids=[
        "by a name of the sender's", "by an account", "by an address", "in a label", "in an annotation", "the newest change",
        "of another version", "of no version", "nobody is named", "nothing was told",
    ],
)  # fmt: skip
async def test_who_deployed_the_bad_version(changes: list[e.ChangeNoticed], who: str | None) -> None:
    here = corridor(*changes)
    here.people.facts["U0ANA"] = {"email": "ana@example.com"}
    _, plan = await planned(here)
    assert plan.deployer == who
    assert [one for one in plan.findings if "deployed" in one.message] == []


@pytest.mark.parametrize(
    ("by", "mend"),
    [
        ("somebody", "Name them under sources.github.people."),
        ("nobody@example.com", "Nobody in Slack has that address."),
        ("lower.case@example.com", "Slack does not say who has that address."),
    ],
)
async def test_somebody_who_is_nobody_of_ours_is_said_on_the_plan_and_stays_unknown(by: str, mend: str) -> None:
    here = corridor(change(by))
    here.people.facts["U0ANA"] = {"email": "lower.case@example.com"}
    here.people.away = by.startswith("lower")
    _, plan = await planned(here)
    assert plan.deployer is None
    (said,) = [one for one in plan.findings if "deployed" in one.message]
    assert said.message == f"GitHub says that {by} deployed 42, and nobody of ours is known by that."
    assert (said.level, said.mend) == ("warning", mend)


async def test_who_deployed_it_has_no_vote_and_is_told_why() -> None:
    here = corridor(change("mika-lind"))
    here.people.groups["S0SRE"] |= {"U0MIKA"}
    stream, plan = await planned(here)
    answer = await here.press("U0MIKA", "approve", stream, plan=plan.id)
    assert not answer.ok
    assert answer.text.startswith("You deployed 42, so somebody else must approve.")
    assert (await here.incident(stream)).votes == ()


async def test_the_timeline_says_who_made_the_change() -> None:
    assert change("mika-lind").sentence() == "GitHub tells of a change: Shipped, version 42, by mika-lind."
    assert change("").sentence() == "GitHub tells of a change: Shipped, version 42."


async def test_a_directory_that_hangs_delays_no_plan() -> None:
    made = corridor(change("slow@example.com"))

    class Hanging(type(made.people)):  # type: ignore[misc]  # the fake's own kind
        async def by_email(self, email: str, *, fresh: bool = False) -> None:
            del email, fresh
            await self.clock.sleep(timedelta(hours=1).total_seconds())

    made.people.__class__ = Hanging
    stream = await made.fire()
    await made.hung(stream)
    assert made.last(stream, e.PlanMade).plan.deployer is None
