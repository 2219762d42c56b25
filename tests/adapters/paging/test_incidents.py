"""What is written into PagerDuty's incidents: once, whatever becomes of the answers, and what it asks about."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from adapters.alerts._pagerduty import Asked
from adapters.paging.pagerduty import MOST, PAUSE, PagerDuty
from bot.clock import ManualClock, SystemClock
from bot.domain.alert import Alert
from bot.errors import Unavailable
from bot.log import JsonLog
from bot.ports import Context, Paged, PagerDesk, Target, Written
from tests.adapters.alerts.senders import BEGAN, INCIDENT, SENDERS
from tests.adapters.paging.fake_pagerduty import SENDER, FakePagerDuty

NAME = "Q7INCIDENT"


@pytest.fixture
def incident(fake: FakePagerDuty) -> dict[str, object]:
    fake.incidents[NAME] = {"status": "triggered", "notes": [], "alerts": []}
    return fake.incidents[NAME]


async def test_it_looks_acknowledges_notes_and_resolves(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object]
) -> None:
    assert isinstance(pager, PagerDesk)
    assert await pager.look(NAME) == Paged("triggered", (), frozenset())
    await pager.mark(NAME, "acknowledged")
    await pager.note(NAME, "Traffic moved.")
    await pager.mark(NAME, "resolved")
    assert await pager.look(NAME) == Paged("resolved", ("Traffic moved.",), frozenset())
    assert incident["notes"] == ["Traffic moved."]
    assert await pager.look("QNOBODY") is None
    assert all(one.headers["From"] for one in fake.asked)


@pytest.mark.parametrize("headers", [{}, {"ratelimit_reset": "7"}])
async def test_a_pager_that_wants_to_be_left_alone_is_asked_once_and_later(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object], headers: dict[str, str]
) -> None:
    fake.status(429, 1, **headers)
    with pytest.raises(Unavailable, match="in 7 s" if headers else "answered 429$"):
        await pager.note(NAME, "x")
    assert (len(fake.asked), incident["notes"]) == (1, [])


@pytest.mark.parametrize("fault", ["500", "drop", "lose"])
async def test_what_nobody_answered_is_never_sent_a_second_time_by_itself(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object], fault: str
) -> None:
    {"500": lambda: fake.status(500), "drop": fake.drop, "lose": fake.lose}[fault]()
    with pytest.raises(Unavailable):
        await pager.note(NAME, "x")
    assert len(fake.asked) == 1
    assert incident["notes"] == (["x"] if fault == "lose" else [])


async def test_what_it_refuses_is_told_in_its_own_word(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object]
) -> None:
    incident["status"] = "resolved"
    with pytest.raises(Unavailable, match="400: Incident Already Resolved"):
        await pager.mark(NAME, "acknowledged")


async def test_one_that_fails_in_a_row_is_left_alone_for_a_while(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object], clock: ManualClock
) -> None:
    fake.status(500, MOST)
    for _ in range(MOST):
        with pytest.raises(Unavailable, match="answered 500"):
            await pager.look(NAME)
    with pytest.raises(Unavailable, match="several times in a row"):
        await pager.look(NAME)
    assert len(fake.asked) == MOST
    clock.advance(PAUSE)
    assert await pager.look(NAME) == Paged("triggered", (), frozenset())


# ── what is told, who is asked in, what fields hold ───────────────────────────────────────────────────────────────

POLICY = Target("escalation_policy", "PUS0KTE")
SENDING = {
    "update": lambda pager: pager.update(NAME, "x"),
    "ask": lambda pager: pager.ask(NAME, POLICY, "x"),
    "fill": lambda pager: pager.fill(NAME, {"ml_model": "fraud-scorer"}),
}
Sending = Callable[[PagerDuty], Awaitable[Written]]


async def introduced(pager: PagerDuty, fake: FakePagerDuty) -> None:
    """Let it learn who it is, so that the next question is the one a test is about."""
    fake.person("PBOT", "Lastgood", SENDER)
    fake.incidents["QOTHER"] = {"status": "triggered", "notes": [], "alerts": []}
    await pager.ask("QOTHER", POLICY, "x")
    fake.asked.clear()


def done(incident: dict[str, object]) -> int:
    return sum(len(cast("Any", incident.get(name, ()))) for name in ("updates", "asked", "fields"))


async def test_it_tells_stakeholders_asks_in_and_fills_fields(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object]
) -> None:
    fake.person("PBOT", "Lastgood", SENDER)
    fake.assigned = ["PANA"]
    assert await pager.update(NAME, "Recovered.") == Written("done")
    assert await pager.ask(NAME, POLICY, "Nobody has it.") == Written("done")
    assert await pager.ask(NAME, Target("user", "PDANA"), "Nobody has it.") == Written("done")
    assert await pager.fill(NAME, {"ml_model": "fraud-scorer", "bad_version": "42"}) == Written("done")
    assert incident["updates"] == ["Recovered."]
    assert incident["fields"] == {"ml_model": "fraud-scorer", "bad_version": "42"}
    assert await pager.look(NAME) == Paged("triggered", (), frozenset({"PUS0KTE", "PDANA", "PANA"}))
    requests = [one.body for one in fake.asked if one.path.endswith("responder_requests")]
    assert [one["requester_id"] for one in requests] == ["PBOT", "PBOT"]
    assert len([one for one in fake.asked if one.path == "/users"]) == 1  # our own id does not change


async def test_a_pager_that_does_not_show_whom_it_asked_is_no_proof_that_nobody_was(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object]
) -> None:
    fake.responders = None
    assert await pager.look(NAME) == Paged("triggered", (), None)


async def test_those_behind_a_policy_that_was_asked_in_count_as_asked(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object]
) -> None:
    target = {"id": "PUS0KTE", "type": "escalation_policy", "incidents_responders": [{"user": {"id": "PDANA"}}]}
    shown = {
        "status": "triggered",
        "responder_requests": [{"responder_request_targets": [{"responder_request_target": target}]}],
    }
    fake.body(json.dumps({"incident": shown}))
    there = await pager.look(NAME)
    assert there is not None
    assert there.asked == frozenset({"PUS0KTE", "PDANA"})


async def test_a_person_is_found_by_the_whole_address_only(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.person("PNEAR", "Dana Roeburn", "dana@acme.example.org")
    assert await pager.person("Dana@acme.example") == "PDANA"
    assert await pager.person("dana@acme.exampl") is None


async def test_nobody_is_asked_in_by_a_user_pagerduty_does_not_know(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object]
) -> None:
    written = await pager.ask(NAME, POLICY, "x")
    assert written == Written("refused", "PagerDuty knows no user with the address of pagerduty.from")
    assert done(incident) == 0


@pytest.mark.parametrize("sending", SENDING.values(), ids=SENDING)
@pytest.mark.parametrize("headers", [{}, {"ratelimit_reset": "7"}], ids=["no headers", "headers"])
async def test_what_a_limited_pager_did_not_take_may_be_sent_again(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object], sending: Sending, headers: dict[str, str]
) -> None:
    await introduced(pager, fake)
    fake.status(429, 1, **headers)
    with pytest.raises(Unavailable, match="in 7 s" if headers else "answered 429$"):
        await sending(pager)
    assert done(incident) == 0


@pytest.mark.parametrize("sending", SENDING.values(), ids=SENDING)
@pytest.mark.parametrize(("fault", "there"), [("500", 0), ("drop", 0), ("lose", 1)])
async def test_nobody_knows_what_became_of_what_was_sent_and_not_answered(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object], sending: Sending, fault: str, there: int
) -> None:
    await introduced(pager, fake)
    {"500": lambda: fake.status(500), "drop": fake.drop, "lose": fake.lose}[fault]()
    written = await sending(pager)
    assert (written.state, len(fake.asked), done(incident)) == ("unknown", 1, there)


async def test_what_was_never_sent_is_said_to_be_so(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object], secrets: dict[str, str]
) -> None:
    assert pager.writes
    secrets["PAGERDUTY_TOKEN"] = ""
    with pytest.raises(Unavailable, match="PAGERDUTY_TOKEN is not set"):
        await pager.update(NAME, "x")
    assert not pager.writes
    secrets["PAGERDUTY_TOKEN"] = fake.token
    await fake.stop()
    with pytest.raises(Unavailable, match="cannot be reached"):
        await pager.update(NAME, "x")


@pytest.mark.parametrize("status", [402, 403])
async def test_an_account_without_the_ability_refuses_in_its_own_words(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object], status: int
) -> None:
    await introduced(pager, fake)
    fake.responders = status
    why = f"PagerDuty answered {status}: Account does not have the ability"
    assert await pager.ask(NAME, POLICY, "x") == Written("refused", why)


async def test_a_field_the_account_does_not_have_refuses_all_of_them(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object]
) -> None:
    written = await pager.fill(NAME, {"ml_model": "fraud-scorer", "modle": "x"})
    assert written == Written("refused", "PagerDuty answered 400: Invalid Input Provided; modle does not exist")
    assert done(incident) == 0


# ── what the webhook leaves out ───────────────────────────────────────────────────────────────────────────────────


def asking(fake: FakePagerDuty, token: str, *services: str) -> Asked:
    secrets = {"PAGERDUTY_TOKEN": token, "PAGERDUTY_API_URL": fake.url, "PAGERDUTY_CA": fake.ca}
    context = Context(clock=SystemClock(), name="pagerduty", log=JsonLog(SystemClock()), secret=secrets.get)
    return Asked(context, services)


async def completed(fake: FakePagerDuty, token: str, *alerts: object) -> Alert:
    fake.incidents[NAME] = {"status": "triggered", "notes": [], "alerts": list(alerts)}
    return await asked_about(fake, token)


async def asked_about(fake: FakePagerDuty, token: str | None = None) -> Alert:
    async with asking(fake, fake.token if token is None else token) as asked:
        (found,) = (await asked.completed(SENDERS["pagerduty"].parse())).alerts
        return found


def custom(**details: str) -> dict[str, object]:
    return {"id": "A1", "body": {"type": "alert_body", "details": details}}


async def test_an_incidents_own_alerts_name_the_model(fake: FakePagerDuty) -> None:
    found = await completed(
        fake, fake.token, custom(model="fraud-scorer", version="42", env="prod", sli="error_ratio", value="12%")
    )
    assert (found.model, found.version, found.environment, found.sli, found.value) == (
        "fraud-scorer",
        "42",
        "prod",
        "error_ratio",
        0.12,
    )
    assert found.flags == frozenset()
    assert found.labels["service"] == "Scoring"


async def test_alertmanagers_labels_are_found_in_the_lines_it_writes(fake: FakePagerDuty) -> None:
    firing = "Labels:\n - alertname = Errors\n - env = prod\n - model = fraud-scorer\n - version = 42\nAnnotations:\n - summary = x\n"
    alert = {"body": {"cef_details": {"details": {"firing": firing, "num_firing": "1"}}}}
    found = await completed(fake, fake.token, alert)
    assert (found.model, found.version, found.environment) == ("fraud-scorer", "42", "prod")


async def test_two_models_in_one_incident_name_neither(fake: FakePagerDuty) -> None:
    found = await completed(
        fake, fake.token, custom(model="fraud-scorer", env="prod"), custom(model="ranker", env="prod")
    )
    assert (found.model, found.environment) == (None, "prod")


async def test_where_the_alerts_name_no_model_the_custom_fields_of_the_incident_may(fake: FakePagerDuty) -> None:
    fake.incidents[NAME] = {"status": "triggered", "notes": [], "alerts": [custom(sli="error_ratio")]}
    fake.incidents[NAME]["fields"] = {"model": "fraud-scorer", "env": "prod", "sli": "other", "seen": 3}
    found = await asked_about(fake)
    assert (found.model, found.environment, found.sli) == ("fraud-scorer", "prod", "error_ratio")
    assert "needs_enrichment" not in found.flags
    fake.incidents[NAME]["no_fields"] = True
    assert (await asked_about(fake)).model is None


async def test_alerts_that_name_the_model_are_enough(fake: FakePagerDuty) -> None:
    await completed(fake, fake.token, custom(model="fraud-scorer"))
    assert [one.path for one in fake.asked] == [f"/incidents/{NAME}/alerts"]


async def test_without_a_token_nothing_is_asked(fake: FakePagerDuty) -> None:
    assert (await completed(fake, "", custom(model="fraud-scorer"))).model is None
    assert fake.asked == []


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_pager_in_trouble_is_asked_again_and_never_guessed_for(fake: FakePagerDuty, status: int) -> None:
    fake.status(status)
    with pytest.raises(Unavailable):
        await completed(fake, fake.token, custom(model="fraud-scorer"))


@pytest.mark.parametrize("body", ["[]", "{", json.dumps({"alerts": [7, {"body": 3}, {"body": {"details": []}}]})])
async def test_an_answer_that_names_nothing_leaves_it_as_it_was(fake: FakePagerDuty, body: str) -> None:
    fake.body(body)
    assert (await completed(fake, fake.token)).model is None


# ── what was missed ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_open_incidents_are_told_as_their_webhook_would_and_by_a_name_that_stays(fake: FakePagerDuty) -> None:
    fake.body(json.dumps({"incidents": [INCIDENT, {"id": None}, 7], "more": False}))
    async with asking(fake, fake.token, "PSCORER") as asked:
        ((name, body),) = await asked.missed()
    assert name == "polled Q7INCIDENT"
    (alert,) = SENDERS["pagerduty"].parse(body).alerts
    assert (alert.fingerprint, alert.status, alert.starts_at) == ("pagerduty:Q7INCIDENT", "firing", BEGAN)
    assert fake.asked[-1].lists["service_ids[]"] == ["PSCORER"]
    assert fake.asked[-1].lists["statuses[]"] == ["triggered", "acknowledged"]


async def test_without_services_or_a_token_nobody_is_asked_what_was_missed(fake: FakePagerDuty) -> None:
    for asked in (asking(fake, fake.token), asking(fake, "", "PSCORER")):
        async with asked:
            assert await asked.missed() == []
    assert fake.asked == []


async def test_a_pager_that_cannot_say_what_was_missed_is_unavailable(fake: FakePagerDuty) -> None:
    fake.status(503)
    fake.body("{")
    async with asking(fake, fake.token, "PSCORER") as asked:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await asked.missed()
