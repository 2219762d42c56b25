"""Who is on call now: asked as documented, answered in time, and no failure is ever a yes."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from io import StringIO

import aiohttp
import pytest

from adapters import loading
from adapters.paging.pagerduty import PAUSE, PagerDuty, PagerDutyConfig
from bot.clock import START, ManualClock, SystemClock
from bot.domain.person import OnCall
from bot.errors import Unavailable
from bot.ports import Clock, Context, Pager
from tests.adapters.paging.fake_pagerduty import HEADERS, SENDER, TOKEN, FakePagerDuty, certificate

Opened = Callable[[Clock], Awaitable[PagerDuty]]
NBSP = "\u00a0"
EIGHT = START + timedelta(hours=6)
DANA = OnCall(id="PDANA", email="dana@acme.example", name="Dana Roe", until=EIGHT)


async def why(pager: PagerDuty, kind: str = "schedule", name: str = "PSRE") -> str:
    with pytest.raises(Unavailable) as told:
        await pager.on_call(kind, name, fresh=True)
    assert type(told.value) is Unavailable
    return str(told.value)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not done():
            await asyncio.sleep(0.005)


# ── who is on call ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_it_says_who_is_on_call_with_their_address_and_until_when(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.shift("PDANA", schedule="PSRE", start=START, end=EIGHT)
    fake.shift("PANA", schedule="POTHER")
    assert await pager.on_call("schedule", "PSRE") == (DANA,)
    assert isinstance(pager, Pager)


async def test_the_question_is_the_documented_one_and_nothing_more(pager: PagerDuty, fake: FakePagerDuty) -> None:
    await pager.on_call("schedule", "PSRE")
    await pager.on_call("escalation_policy", "PEP")
    common = {"include[]": "users", "limit": "100", "offset": "0"}
    assert [one.query for one in fake.asked] == [
        {"schedule_ids[]": "PSRE", **common},
        {"escalation_policy_ids[]": "PEP", **common},
    ]


async def test_a_schedule_without_anybody_is_an_answer(pager: PagerDuty, fake: FakePagerDuty) -> None:
    assert await pager.on_call("schedule", "PSRE") == ()


async def test_of_an_escalation_policy_only_level_1_counts(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.shift("PANA", level=2)
    fake.shift("PDANA", end=EIGHT)
    assert await pager.on_call("escalation_policy", "PEP") == (DANA,)


async def test_a_schedule_counts_on_whatever_level_it_is_used(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.shift("PDANA", schedule="PSRE", level=3, end=EIGHT)
    assert await pager.on_call("schedule", "PSRE") == (DANA,)


@pytest.mark.parametrize(("first", "second", "last"), [(1, 6, EIGHT), (6, 1, EIGHT), (1, None, None), (None, 1, None)])
async def test_overlapping_entries_name_a_person_once_until_the_latest_end(
    pager: PagerDuty, fake: FakePagerDuty, first: int | None, second: int | None, last: object
) -> None:
    for policy, hours in (("PEP", first), ("PEP2", second)):
        fake.shift("PDANA", schedule="PSRE", policy=policy, end=START + timedelta(hours=hours) if hours else None)
    (one,) = await pager.on_call("schedule", "PSRE")
    assert (one.id, one.until) == ("PDANA", last)


async def test_a_person_without_an_address_still_has_an_id(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.person("PBOT", "Nobody Yet", None)
    fake.shift("PBOT", schedule="PSRE")
    assert await pager.on_call("schedule", "PSRE") == (OnCall(id="PBOT", email="", name="Nobody Yet"),)


async def test_a_long_answer_is_read_page_by_page(pager: PagerDuty, fake: FakePagerDuty) -> None:
    for number in range(250):
        fake.person(f"P{number}", f"Person {number}", f"{number}@acme.example")
        fake.shift(f"P{number}", schedule="PSRE")
    assert [one.id for one in await pager.on_call("schedule", "PSRE")] == [f"P{number}" for number in range(250)]
    assert [one.query["offset"] for one in fake.asked] == ["0", "100", "200"]


async def test_a_part_of_an_endless_answer_is_no_answer(pager: PagerDuty, fake: FakePagerDuty) -> None:
    for number in range(501):
        fake.shift("PDANA", schedule="PSRE", policy=f"P{number}")
    text = await why(pager)
    assert text == "PagerDuty lists more than 500 entries for schedule PSRE, so I cannot confirm who is on call."


async def test_a_filter_that_pagerduty_did_not_apply_lets_nobody_in(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.shift("PDANA", schedule="POTHER")
    fake.shift("PANA")
    everybody = [{**one, "user": fake.people[one["user"]]} for one in fake.shifts]
    for _ in range(2):
        fake.body(json.dumps({"oncalls": everybody, "more": False}))
    assert await pager.on_call("schedule", "PSRE") == ()
    assert await pager.on_call("escalation_policy", "POTHER") == ()


async def test_a_shift_that_begins_later_does_not_count(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.shift("PDANA", schedule="PSRE", start=START + timedelta(seconds=1))
    fake.body(json.dumps({"oncalls": [{**fake.shifts[0], "user": fake.people["PDANA"]}], "more": False}))
    assert await pager.on_call("schedule", "PSRE") == ()


# ── how old an answer may be ──────────────────────────────────────────────────────────────────────────────────────


async def test_an_answer_is_kept_for_a_minute_and_fresh_for_two_seconds(
    pager: PagerDuty, fake: FakePagerDuty, clock: ManualClock
) -> None:
    for seconds, fresh, asked in ((0, False, 1), (60, False, 1), (1, False, 2), (2, True, 2), (1, True, 3)):
        clock.advance(seconds)
        await pager.on_call("schedule", "PSRE", fresh=fresh)
        assert len(fake.asked) == asked, f"{seconds} s later, fresh={fresh}"


async def test_rt8_who_is_on_call_changes_between_the_vote_and_the_claim(
    pager: PagerDuty, fake: FakePagerDuty, clock: ManualClock
) -> None:
    fake.shift("PDANA", schedule="PSRE")
    vote = await pager.on_call("schedule", "PSRE")
    fake.shifts.clear()
    fake.shift("PANA", schedule="PSRE")
    clock.advance(3)
    claim = await pager.on_call("schedule", "PSRE", fresh=True)
    assert ([one.id for one in vote], [one.id for one in claim]) == (["PDANA"], ["PANA"])


async def test_rt8_a_shift_that_ends_while_the_answer_is_kept_counts_no_longer(
    pager: PagerDuty, fake: FakePagerDuty, clock: ManualClock
) -> None:
    fake.shift("PDANA", schedule="PSRE", end=START + timedelta(seconds=30))
    assert len(await pager.on_call("schedule", "PSRE")) == 1
    clock.advance(30)
    assert await pager.on_call("schedule", "PSRE") == ()
    assert len(fake.asked) == 1


class Shifted(ManualClock):
    """A clock that somebody sets, or a machine that slept: the time of day and the time that passed go apart."""

    shift = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.shift


@pytest.mark.parametrize("shift", [timedelta(hours=-1), timedelta(hours=8)])
async def test_rt8_a_clock_that_was_set_makes_no_old_answer_fresh(
    opened: Opened, fake: FakePagerDuty, shift: timedelta
) -> None:
    clock = Shifted()
    pager = await opened(clock)
    fake.shift("PDANA", schedule="PSRE")
    await pager.on_call("schedule", "PSRE", fresh=True)
    clock.shift = shift
    clock.advance(3 if shift < timedelta(0) else 0)
    fake.shifts.clear()
    assert await pager.on_call("schedule", "PSRE", fresh=True) == ()


async def test_twenty_who_ask_at_once_share_one_request(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.shift("PDANA", schedule="PSRE", end=EIGHT)
    told = await asyncio.gather(*(pager.on_call("schedule", "PSRE", fresh=True) for _ in range(20)))
    assert told == [(DANA,)] * 20
    assert len(fake.asked) == 1


async def test_one_who_leaves_takes_nothing_from_the_others(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.shift("PDANA", schedule="PSRE", end=EIGHT)
    fake.hang()
    asking = [asyncio.create_task(pager.on_call("schedule", "PSRE")) for _ in range(2)]
    await until(lambda: len(fake.asked) == 1)
    asking[0].cancel()
    fake.hung.set()
    assert await asking[1] == (DANA,)


# ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "PagerDuty answered 400"),
        (401, "PagerDuty refuses PAGERDUTY_TOKEN (401)"),
        (403, "PagerDuty refuses PAGERDUTY_TOKEN (403)"),
        (404, "PagerDuty knows no schedule PSRE"),
        (302, "PagerDuty answered 302"),
        (500, "PagerDuty answered 500"),
        (503, "PagerDuty answered 503"),
    ],
)
async def test_every_status_but_200_is_a_sentence(
    pager: PagerDuty, fake: FakePagerDuty, status: int, said: str
) -> None:
    fake.status(status)
    assert await why(pager) == f"{said}, so I cannot confirm who is on call."
    assert len(fake.asked) == 1


@pytest.mark.parametrize("body", ["", "[]", "{}", "<html>", '{"oncalls": null, "more": false}', '{"oncalls": [{}]}'])
async def test_a_body_that_is_no_answer_is_a_sentence(pager: PagerDuty, fake: FakePagerDuty, body: str) -> None:
    fake.body(body)
    assert await why(pager) == "PagerDuty answered nothing readable, so I cannot confirm who is on call."


async def test_a_connection_that_was_closed_is_tried_once_more_and_no_oftener(
    pager: PagerDuty, fake: FakePagerDuty
) -> None:
    fake.drop()
    assert await pager.on_call("schedule", "PSRE") == ()
    assert len(fake.asked) == 2
    fake.drop(2)
    assert await why(pager, name="PDB") == "PagerDuty closed the connection, so I cannot confirm who is on call."
    assert len(fake.asked) == 4


async def test_asked_to_wait_it_waits_once_and_asks_again(prompt: PagerDuty, fake: FakePagerDuty) -> None:
    fake.status(429, ratelimit_reset="1")
    began = time.monotonic()
    assert await prompt.on_call("schedule", "PSRE") == ()
    assert 1.0 <= time.monotonic() - began < 1.9
    assert len(fake.asked) == 2


async def test_asked_to_wait_longer_than_anybody_would_it_says_so_at_once(
    prompt: PagerDuty, fake: FakePagerDuty
) -> None:
    fake.status(429, ratelimit_reset="30")
    began = time.monotonic()
    assert await why(prompt) == f"PagerDuty asks us to wait 30{NBSP}s, so I cannot confirm who is on call."
    assert time.monotonic() - began < 1
    assert len(fake.asked) == 1


@pytest.mark.parametrize("reset", [{}, {"ratelimit_reset": "soon"}, {"ratelimit_reset": "nan"}])
async def test_asked_to_wait_without_a_time_it_tries_twice(
    prompt: PagerDuty, fake: FakePagerDuty, reset: dict[str, str]
) -> None:
    fake.status(429, 2, **reset)
    assert await why(prompt) == "PagerDuty asks us to wait, so I cannot confirm who is on call."
    assert len(fake.asked) == 2


async def test_rf3_while_pagerduty_hangs_the_answer_comes_in_two_seconds_and_the_loop_runs_on(
    prompt: PagerDuty, fake: FakePagerDuty
) -> None:
    fake.hang()
    lags: list[float] = []

    async def beat() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            lags.append(time.monotonic() - before - 0.005)

    beating = asyncio.create_task(beat())
    began = time.monotonic()
    assert await why(prompt) == f"PagerDuty did not answer (2{NBSP}s), so I cannot confirm who is on call."
    took = time.monotonic() - began
    beating.cancel()
    assert 1.9 < took < 3
    usual = sorted(lags)[len(lags) * 95 // 100]
    assert (usual < 0.05, max(lags) < 0.5) == (True, True), "a call in the loop would stop it for seconds"


async def test_an_answer_that_comes_too_late_is_there_for_the_next_press(
    pager: PagerDuty, fake: FakePagerDuty, clock: ManualClock
) -> None:
    fake.shift("PDANA", schedule="PSRE", end=EIGHT)
    fake.hang()
    await why(pager)
    clock.advance(2)
    fake.hung.set()
    await until(lambda: ("schedule", "PSRE") in pager._known)
    assert await pager.on_call("schedule", "PSRE", fresh=True) == (DANA,)
    clock.advance(1)
    await pager.on_call("schedule", "PSRE", fresh=True)
    assert len(fake.asked) == 2, "its age counts from when it was asked"


async def test_after_three_failures_it_is_left_alone_for_ten_seconds_and_then_one_tries(
    pager: PagerDuty, fake: FakePagerDuty, clock: ManualClock
) -> None:
    fake.status(500, 4)
    for _ in range(3):
        await why(pager)
    text = f"PagerDuty failed 3 times in a row and is asked again in 10{NBSP}s, so I cannot confirm who is on call."
    assert await why(pager) == text
    assert await why(pager, "escalation_policy", "PEP") == text
    assert len(fake.asked) == 3
    clock.advance(PAUSE)
    told = await asyncio.gather(why(pager), why(pager, name="PDB"), why(pager, "escalation_policy", "PEP"))
    assert len(fake.asked) == 4
    assert [one == text for one in told] == [False, True, True]
    assert await why(pager) == text
    clock.advance(PAUSE)
    assert await pager.on_call("schedule", "PSRE") == ()
    assert await pager.on_call("schedule", "PDB") == ()


async def test_a_schedule_nobody_knows_stands_in_no_other_ones_way(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.status(404, 5)
    for _ in range(5):
        await why(pager, name="PTYPO")
    assert await pager.on_call("schedule", "PSRE") == ()


async def test_questions_without_an_answer_do_not_pile_up(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.hang(9)
    told = await asyncio.gather(*(why(pager, name=f"P{number}") for number in range(9)))
    assert len(fake.asked) == 4
    assert [one for one in told if one.startswith("4 questions to PagerDuty are without an answer, so ")] == told[4:]


async def test_a_request_nobody_waits_for_ends_by_the_clients_own_bound(pager: PagerDuty, fake: FakePagerDuty) -> None:
    fake.hang()
    await why(pager)
    assert pager._rest._out == 1
    began = time.monotonic()
    async with asyncio.timeout(20):
        while pager._rest._out:
            await asyncio.sleep(0.05)
    assert 5 < time.monotonic() - began < 10, "8 s in all, 2 s of them were waited for"


async def test_a_server_that_is_not_there_is_a_sentence(pager: PagerDuty, fake: FakePagerDuty) -> None:
    await fake.stop()
    assert await why(pager) == "PagerDuty cannot be reached, so I cannot confirm who is on call."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"PAGERDUTY_TOKEN": ""}, "PAGERDUTY_TOKEN is not set"),
        ({"PAGERDUTY_TOKEN": "two\nlines"}, "PAGERDUTY_TOKEN is no token"),
        ({"PAGERDUTY_TOKEN": "wrong"}, "PagerDuty refuses PAGERDUTY_TOKEN (401)"),
        ({"PAGERDUTY_API_URL": "http://127.0.0.1:9"}, "PAGERDUTY_API_URL does not begin with https://"),
        ({"PAGERDUTY_CA": "no certificate"}, "PAGERDUTY_CA holds no certificate in PEM form"),
        (
            {"PAGERDUTY_CA": certificate()[0]},
            "PagerDuty's certificate is not trusted here (PAGERDUTY_CA_FILE names who signed it)",
        ),
    ],
)
async def test_a_wrong_setting_stops_no_start_and_is_said_by_the_first_question(
    secrets: dict[str, str], opened: Opened, clock: ManualClock, change: dict[str, str], said: str
) -> None:
    secrets.update(change)
    assert await why(await opened(clock)) == f"{said}, so I cannot confirm who is on call."


async def test_a_rotated_token_is_used_at_the_next_question(
    pager: PagerDuty, fake: FakePagerDuty, secrets: dict[str, str], clock: ManualClock
) -> None:
    await pager.on_call("schedule", "PSRE")
    fake.token = secrets["PAGERDUTY_TOKEN"] = "y_another-token-42"
    clock.advance(61)
    assert await pager.on_call("schedule", "PSRE") == ()


async def test_no_part_of_the_token_is_in_a_log_a_sentence_or_a_repr(
    pager: PagerDuty, fake: FakePagerDuty, log: StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    said = []
    for status in (401, 429, 500, 302):
        fake.status(status, 1, ratelimit_reset="9")
        said.append(await why(pager))
    texts = [*said, log.getvalue(), repr(pager), repr(vars(pager)), caplog.text]
    assert [text for text in texts if TOKEN in text or TOKEN[-4:] in text] == []
    assert "pagerduty.failed" in log.getvalue()
    warnings = [one.message for one in caplog.records if one.levelno >= logging.WARNING]
    assert warnings == [], "the client's own would reach stderr as lines that are no JSON"


# ── beginning and ending ──────────────────────────────────────────────────────────────────────────────────────────


async def test_closing_does_not_wait_for_an_answer(fake: FakePagerDuty, secrets: dict[str, str]) -> None:
    context = Context(clock=SystemClock(), name="pagerduty", log=_Silent(), secret=secrets.get)
    fake.hang()
    async with PagerDuty(PagerDutyConfig.model_validate({"from": SENDER}), context) as pager:
        asking = asyncio.create_task(pager.on_call("schedule", "PSRE"))
        await until(lambda: len(fake.asked) == 1)
        began = time.monotonic()
    assert time.monotonic() - began < 0.5
    with pytest.raises(asyncio.CancelledError):
        await asking


class _Silent:
    def info(self, event: str, **facts: object) -> None: ...
    def warning(self, event: str, **facts: object) -> None: ...


HANGING = """
import asyncio, sys
from adapters.paging.pagerduty import PagerDuty, PagerDutyConfig
from bot.clock import SystemClock
from bot.log import JsonLog
from bot.ports import Context

async def main():
    clock = SystemClock()
    settings = {"PAGERDUTY_TOKEN": "t", "PAGERDUTY_API_URL": sys.argv[1]}
    context = Context(clock=clock, name="pagerduty", log=JsonLog(clock), secret=settings.get)
    async with PagerDuty(PagerDutyConfig(from_="bot@acme.example"), context) as pager:
        asking = asyncio.create_task(pager.on_call("schedule", "PSRE"))
        await asyncio.to_thread(input)

asyncio.run(main())
"""


async def test_a_process_ends_at_once_while_a_question_hangs() -> None:
    came, left = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        with suppress(ConnectionError):
            await reader.read()  # takes the greeting and says nothing, until the other side is gone
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING, url, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(20):
        await came.wait()
    began = time.monotonic()
    _, told = await process.communicate(b"\n")
    assert process.returncode == 0, told.decode()
    assert time.monotonic() - began < 3, "an executor's thread would hold it for the client's 8 s"
    async with asyncio.timeout(5):
        await left.wait()
    server.close()


def test_it_is_found_by_name() -> None:
    assert loading.load("paging", "pagerduty") is PagerDuty
    assert loading.names("paging") == ("pagerduty",)


# ── the fake ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/oncalls", 200),
        ("/oncalls?earliest=true&include[]=users", 200),
        ("/oncalls?schedule_id=PSRE", 400),
        ("/oncalls?include[]=user", 400),
        ("/oncalls?limit=101", 400),
        ("/oncalls?limit=100&offset=9901", 400),
        ("/oncalls?limit=10&limit=20", 400),
        ("/oncalls/PSRE", 404),
    ],
)
async def test_the_fake_refuses_what_is_not_documented(fake: FakePagerDuty, path: str, status: int) -> None:
    headers = {**HEADERS, "Authorization": f"Token token={TOKEN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(fake.url + path, ssl=False) as answer,
    ):
        assert answer.status == status


@pytest.mark.parametrize("absent", ["Accept", "From", "Authorization"])
async def test_the_fake_refuses_a_question_without_its_headers(fake: FakePagerDuty, absent: str) -> None:
    headers = {**HEADERS, "Authorization": f"Token token={TOKEN}", absent: "none"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{fake.url}/oncalls", ssl=False) as answer,
    ):
        assert answer.status in (400, 401)
