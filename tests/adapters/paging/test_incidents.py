"""What is written into PagerDuty's incidents: once, whatever becomes of the answers, and what it asks about."""

from __future__ import annotations

import json

import pytest

from adapters.alerts._pagerduty import Asked
from adapters.paging.pagerduty import MOST, PAUSE, PagerDuty
from bot.clock import ManualClock, SystemClock
from bot.domain.alert import Alert
from bot.errors import Unavailable
from bot.log import JsonLog
from bot.ports import Context, Paged, PagerDesk
from tests.adapters.alerts.senders import BEGAN, INCIDENT, SENDERS
from tests.adapters.paging.fake_pagerduty import FakePagerDuty

NAME = "Q7INCIDENT"


@pytest.fixture
def incident(fake: FakePagerDuty) -> dict[str, object]:
    fake.incidents[NAME] = {"status": "triggered", "notes": [], "alerts": []}
    return fake.incidents[NAME]


async def test_it_looks_acknowledges_notes_and_resolves(
    pager: PagerDuty, fake: FakePagerDuty, incident: dict[str, object]
) -> None:
    assert isinstance(pager, PagerDesk)
    assert await pager.look(NAME) == Paged("triggered", ())
    await pager.mark(NAME, "acknowledged")
    await pager.note(NAME, "Traffic moved.")
    await pager.mark(NAME, "resolved")
    assert await pager.look(NAME) == Paged("resolved", ("Traffic moved.",))
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
    assert await pager.look(NAME) == Paged("triggered", ())


# ── what the webhook leaves out ───────────────────────────────────────────────────────────────────────────────────


def asking(fake: FakePagerDuty, token: str, *services: str) -> Asked:
    secrets = {"PAGERDUTY_TOKEN": token, "PAGERDUTY_API_URL": fake.url, "PAGERDUTY_CA": fake.ca}
    context = Context(clock=SystemClock(), name="pagerduty", log=JsonLog(SystemClock()), secret=secrets.get)
    return Asked(context, services)


async def completed(fake: FakePagerDuty, token: str, *alerts: object) -> Alert:
    fake.incidents[NAME] = {"status": "triggered", "notes": [], "alerts": list(alerts)}
    async with asking(fake, token) as asked:
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
