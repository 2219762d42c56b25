"""The pager at work on an account of PagerDuty that fails in every way it can: what was asked for is there in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.paging.pagerduty import PagerDuty, PagerDutyConfig
from bot.domain import entries as e
from bot.ports import Context
from tests.adapters.paging.fake_pagerduty import SENDER, TOKEN, FakePagerDuty
from tests.flow.test_pager import BEGUN, CLAIMED, CLOSED, ESCALATED, OPENED, STUCK, Place

FIELDS = {"model": "ml_model", "incident": "lastgood_incident", "outcome": "nowhere"}
CONFIG = {"from": SENDER, "status_updates": True, "custom_fields": FIELDS}
STORY = (OPENED, CLAIMED, STUCK, ESCALATED, CLOSED)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """An incident that PagerDuty brought, of a model whose owner is an escalation policy."""
    made = Place(None)
    made.owned(escalation_policy="PUS0KTE")
    account = FakePagerDuty(made.clock, tmp_path)
    account.person("PBOT", "Lastgood", SENDER)
    account.incidents["Q1"] = {"status": "triggered", "notes": [], "alerts": [], "updates": [], "asked": []}
    await account.start()
    secrets = {"PAGERDUTY_TOKEN": TOKEN, "PAGERDUTY_API_URL": account.url, "PAGERDUTY_CA": account.ca}
    context = Context(clock=made.clock, name="pagerduty", log=made.log, secret=secrets.get)
    async with PagerDuty(PagerDutyConfig.model_validate(CONFIG), context) as desk:
        made.use(desk)
        made.account = account
        yield made
    await account.stop()


def fail(account: FakePagerDuty, kind: str) -> None:
    """Let the next question meet a fault."""
    match kind:
        case "429":
            account.status(429)
        case "429 until":
            account.status(429, ratelimit_reset="7")
        case "500":
            account.status(500)
        case "drop":
            account.drop()
        case "lose":
            account.lose()


@pytest.mark.parametrize("kind", ["429", "429 until", "500", "drop", "lose"])
@pytest.mark.parametrize("first", range(4))
async def test_faults_among_its_answers_change_nothing_but_updates_nobody_answered(
    place: Place, kind: str, first: int
) -> None:
    account: Any = place.account
    for entry in STORY:
        place.put(entry)
        for n in range(12):
            if n % 4 == first:
                fail(account, kind)
            else:
                account.well()
        await place.settle()
        account.faults.clear()
    there = account.incidents["Q1"]
    notes = [text.partition(" [lastgood:")[0] for text in there["notes"]]
    assert (there["status"], notes) == ("resolved", [one.sentence() for one in (CLAIMED, STUCK, CLOSED)])
    assert [one["id"] for one in there["asked"]] == ["PUS0KTE"]
    assert there["fields"] == {"ml_model": "fraud-scorer", "lastgood_incident": "01PAGED"}
    assert place.complaints.count("pager.refused field nowhere") == 1
    told = [text.partition(" [lastgood:")[0] for text in there["updates"]]
    all_of_it = [BEGUN, *(f"fraud-scorer in prod: {one.sentence()}" for one in (STUCK, CLOSED))]
    if kind in ("429", "429 until"):  # known not to be done
        assert told == all_of_it
    assert [one for one in all_of_it if one in told] == told
    unsure = place.complaints.count("pager.update_unsure")
    assert len(told) == len(all_of_it) - (unsure if kind in ("500", "drop") else 0)


@pytest.mark.parametrize("status", [402, 403])
async def test_an_account_without_responder_requests_gets_a_note(place: Place, status: int) -> None:
    account: Any = place.account
    account.responders = status
    for entry in (*STORY[:-1], ESCALATED, e.IncidentEscalated(reason="Again.")):
        place.put(entry)
        await place.settle()
    (note,) = [text for text in account.incidents["Q1"]["notes"] if "did not ask" in text]
    assert f"in: PagerDuty answered {status}: Account does not have the ability. Somebody else must." in note
    assert len([one for one in account.asked if one.path.endswith("responder_requests")]) == 1
    assert place.complaints.count("pager.refused responder requests") == 1


async def test_a_pager_that_was_away_is_brought_up_when_it_is_back(place: Place) -> None:
    account: Any = place.account
    account.status(503, times=9)
    place.put(*STORY)
    assert await place.turn() is not None
    assert place.complaints == ["pager.behind"]
    await place.settle()
    assert account.incidents["Q1"]["status"] == "resolved"
