"""The corridor, end to end in one process: an alert in, clicks over Slack's wire, traffic moved, a postmortem out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.demo.slack_faults import Kind
from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.store.verify import verify
from tests.story.site import Site, site


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


async def approved(here: Site) -> None:
    await here.alert()
    await here.until(Phase.WAITING)
    await here.card_shows("Waiting")
    await here.slack.click("U0ANA", "approve")
    await here.slack.click("U0PRIYA", "approve")


async def test_two_clicks_put_the_model_back_and_prove_it(here: Site) -> None:
    await approved(here)
    await here.until(Phase.RECOVERED)
    await here.alert("resolved")
    closed = await here.until(Phase.CLOSED)
    assert closed.verdicts == {"accepted": "yes", "traffic_moved": "yes", "recovered": "yes"}
    assert [line.partition(" ")[2] for line in here.effects()] == ["42 0\u00a0%, 41 100\u00a0%"]
    card = await here.card_shows("Recovered")
    assert len(here.slack.cards()) == 1
    assert not here.slack.warnings
    async with asyncio.timeout(60):
        while not any("postmortem" in one["text"] for one in here.slack.thread(card["ts"])):
            await asyncio.sleep(0.05)
    chats = sum(n for method, n in here.slack.calls.items() if method.startswith("chat."))
    assert chats <= 8
    ledger = await here.app.world.ledger(closed.model_stream)
    assert ledger.lock is None
    assert ledger.open_incident is None
    assert set(ledger.quarantined) == {"42"}


async def test_the_thread_ends_with_the_checkpoint_that_seals_the_incident(here: Site) -> None:
    await approved(here)
    await here.until(Phase.RECOVERED)
    await here.alert("resolved")
    closed = await here.until(Phase.CLOSED)
    card = await here.card_shows("Recovered")
    async with asyncio.timeout(60):
        while not (said := [one["text"] for one in here.slack.thread(card["ts"]) if "checkpoint" in one["text"]]):
            await asyncio.sleep(0.05)
    sealed = [one for one in await here.app.store.read("system/checkpoints") if one.digest in said[0]]
    assert len(sealed) == 1
    assert isinstance(sealed[0].entry, e.CheckpointSigned)
    assert sealed[0].entry.heads[closed.stream][0] >= closed.version


async def test_repeats_and_a_second_alert_make_one_card(here: Site) -> None:
    for _ in range(5):
        assert await here.alert() == 202
    await here.alert(fingerprint="f2", sli="latency_p99")
    await here.card_shows("Waiting")
    await asyncio.sleep(0.5)
    assert len(here.slack.cards()) == 1
    assert len(await here.app.store.incidents()) == 1


async def test_an_unknown_model_is_visible_and_never_acted_on(here: Site) -> None:
    assert await here.alert(model="fraud-sc\u043erer") == 202
    async with asyncio.timeout(60):
        while not (lane := await here.app.store.quarantined()):
            await asyncio.sleep(0.05)
    assert "not registered" in lane[0].error
    reply = await here.slack.slash("U0ANA", "list")
    assert "Nothing is open." in reply.body
    assert "not registered" in reply.body
    assert await here.app.store.incidents() == []
    assert here.effects() == []


@pytest.mark.parametrize(
    ("user", "flags", "sentence"),
    [
        ("U0GIL", {}, "Guests cannot approve."),
        ("U0INES", {}, "This plan needs sre and owner; you hold none of its roles."),
        ("U0GONE", {"deleted": True}, "This account is deactivated."),
        ("U0APP", {"is_bot": True}, "Apps cannot approve."),
        ("U0OUT", {"team_id": "T0OTHER"}, "People from other organisations cannot approve here."),
    ],
)
async def test_the_wrong_person_is_refused_and_told_why(
    here: Site, user: str, flags: dict[str, object], sentence: str
) -> None:
    if flags:
        here.slack.add_user(user, "Somebody Else", **flags)
    await here.alert()
    await here.card_shows("Waiting")
    await here.slack.click(user, "approve")
    async with asyncio.timeout(60):
        while not (told := here.slack.ephemerals(user)):
            await asyncio.sleep(0.02)
    assert sentence in told[0]["text"]
    assert "Nothing was changed." in told[0]["text"]
    found = await here.incident()
    assert found is not None
    assert found.votes == ()
    assert here.effects() == []


async def test_one_person_cannot_be_a_quorum(here: Site) -> None:
    await here.alert()
    await here.card_shows("Waiting")
    await asyncio.gather(*(here.slack.click("U0ANA", "approve") for _ in range(20)))
    found = await here.incident()
    assert found is not None
    assert [vote.person for vote in found.votes] == ["U0ANA"]
    assert here.effects() == []


async def test_everybody_clicks_at_once_and_it_moves_once(here: Site) -> None:
    await here.alert()
    await here.card_shows("Waiting")
    people = ("U0ANA", "U0TOM", "U0PRIYA", "U0MIKA")
    await asyncio.gather(*(here.slack.click(user, "approve") for user in people * 5))
    found = await here.until(Phase.APPLIED, Phase.MOVED, Phase.RECOVERED)
    assert len({vote.person for vote in found.votes}) == 2
    assert len(found.votes) == 2
    assert len(here.effects()) == 1


async def test_the_requester_may_not_approve(here: Site) -> None:
    await here.slack.slash("U0PRIYA", "fraud-scorer prod to 41")
    await here.card_shows("Waiting")
    await here.slack.click("U0PRIYA", "approve")
    async with asyncio.timeout(60):
        while not any("You asked for this rollback" in one["text"] for one in here.slack.ephemerals("U0PRIYA")):
            await asyncio.sleep(0.02)
    found = await here.incident()
    assert found is not None
    assert found.votes == ()


@pytest.mark.parametrize("value", ["", "nonsense", "01ARZ3NDEKTSV4RRFFQ69G5FAV.deadbeef.1", "../../etc/passwd.1.1"])
async def test_a_tampered_button_has_no_effect(here: Site, value: str) -> None:
    await here.alert()
    await here.card_shows("Waiting")
    reply = await here.slack.click("U0ANA", "approve", value=value)
    assert reply.status == 200
    found = await here.incident()
    assert found is not None
    assert found.votes == ()


async def test_a_stale_card_is_refused(here: Site) -> None:
    await here.alert()
    card = await here.card_shows("Waiting")
    value = next(e["value"] for b in card["blocks"] for e in b.get("elements", []) if e.get("action_id") == "approve")
    stale = ".".join((value.split(".")[0], "00000000", "2"))
    await here.slack.click("U0ANA", "approve", value=stale)
    async with asyncio.timeout(60):
        while not here.slack.ephemerals("U0ANA"):
            await asyncio.sleep(0.02)
    assert "The card you pressed showed plan 00000000" in here.slack.ephemerals("U0ANA")[0]["text"]


async def test_a_reject_needs_a_reason_and_stands(here: Site) -> None:
    await here.alert()
    await here.card_shows("Waiting")
    await here.slack.click("U0PRIYA", "reject")
    await here.slack.submit("U0PRIYA", "42 is fine, the feed is late")
    found = await here.until(Phase.STUCK)
    assert found.rejected_by == "U0PRIYA"
    await here.card_shows("Rejected")
    assert here.effects() == []


async def test_it_closes_by_itself_when_the_alert_ends_before_anybody_acts(here: Site) -> None:
    await here.alert()
    await here.until(Phase.WAITING)
    await here.alert("resolved")
    closed = await here.until(Phase.CLOSED)
    assert closed.closed is not None
    assert closed.closed.outcome == "recovered_by_itself"
    assert here.effects() == []


async def test_a_world_that_moved_voids_the_plan(here: Site) -> None:
    await here.alert()
    await here.card_shows("Waiting")
    target = here.app.world.targets["prod", "fraud-scorer", "route"]
    target.move({"41": 50, "42": 50})  # type: ignore[attr-defined]  # the memory target's own verb
    await here.slack.click("U0ANA", "approve")
    await here.slack.click("U0PRIYA", "approve")
    async with asyncio.timeout(60):
        while not any(
            one.entry.type == "plan.voided" for one in await here.app.store.read((await here.app.store.incidents())[0])
        ):
            await asyncio.sleep(0.05)
    assert here.effects() == []


async def test_a_service_that_stays_ill_is_a_persons_turn(here: Site) -> None:
    here.sli.failing = 0.3
    await approved(here)
    found = await here.until(Phase.STUCK, seconds=120)
    assert found.verdicts["recovered"] == "no"
    await here.card_shows("Not recovered")


async def test_silence_is_never_taken_for_recovery(here: Site) -> None:
    await here.alert()
    await here.card_shows("Waiting")
    here.sli.silent = True
    await here.slack.click("U0ANA", "approve")
    await here.slack.click("U0PRIYA", "approve")
    found = await here.until(Phase.STUCK, seconds=120)
    assert found.verdicts["recovered"] == "cannot_tell"
    await here.card_shows("Cannot tell")


@pytest.mark.parametrize("fault", ["limited", "error", "dropped", "refused"])
async def test_slack_in_trouble_never_stops_a_rollback_and_leaves_one_card(here: Site, fault: Kind) -> None:
    here.slack.fail("chat.postMessage", fault)
    here.slack.fail("chat.update", fault)
    await here.alert()
    await here.card_shows("Waiting", seconds=120)
    await here.slack.click("U0ANA", "approve")
    await here.slack.click("U0PRIYA", "approve")
    await here.until(Phase.RECOVERED)
    await here.alert("resolved")
    await here.until(Phase.CLOSED)
    await here.card_shows("Recovered", seconds=120)
    assert len(here.slack.cards()) == 1
    assert len(here.effects()) == 1


async def test_a_policy_that_acts_alone_rolls_back_without_a_click(tmp_path: Path) -> None:
    async with site(tmp_path, mode="auto") as here:
        await here.released()
        await here.alert()
        found = await here.until(Phase.RECOVERED)
        assert found.votes == ()
        assert len(here.effects()) == 1
        await here.card_shows("Recovered")


async def test_a_policy_never_acts_alone_on_a_version_nobody_saw_serve(tmp_path: Path) -> None:
    async with site(tmp_path, mode="auto") as here:
        await here.alert()
        found = await here.until(Phase.WAITING)
        assert found.decision is not None
        assert "never observed serving" in found.decision.reason
        assert here.effects() == []


async def test_slack_silent_all_the_while_stops_no_rollback_and_gets_one_late_card(tmp_path: Path) -> None:
    async with site(tmp_path, mode="auto") as here:
        await here.released()
        here.slack.fail("*", "silence", after=0.5, lasting=600)
        await here.alert()
        await here.until(Phase.RECOVERED)
        assert len(here.effects()) == 1
        assert here.slack.cards() == []
        await here.alert("resolved")
        await here.until(Phase.CLOSED)
        here.slack.faults.clear()
        card = await here.card_shows("Recovered", seconds=120)
        assert len(here.slack.cards()) == 1
        async with asyncio.timeout(60):
            while not here.slack.thread(card["ts"]):
                await asyncio.sleep(0.1)
        assert not here.slack.warnings


async def test_slack_silent_after_the_votes_stops_nothing_and_the_card_catches_up(here: Site) -> None:
    await approved(here)
    here.slack.fail("*", "silence", after=0.5, lasting=600)
    await here.until(Phase.RECOVERED)
    assert len(here.effects()) == 1
    here.slack.faults.clear()
    await here.alert("resolved")
    await here.until(Phase.CLOSED)
    await here.card_shows("Recovered", seconds=120)
    assert len(here.slack.cards()) == 1


async def test_the_chain_holds_after_a_whole_story(here: Site) -> None:
    await approved(here)
    await here.until(Phase.RECOVERED)
    await here.alert("resolved")
    await here.until(Phase.CLOSED)
    assert verify(here.folder / "t.db").ok
