"""Has it recovered? Yes, no, not yet or cannot tell, and what nobody measured is never good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.entries import SliSampled
from bot.domain.model import Sli
from bot.domain.recovery import Judgement, judge, sample, shown, slis_to_ask
from bot.domain.runbook import RecoveryCheck
from bot.domain.sli import Measurement

MOVED = datetime(2026, 11, 23, 2, 12, tzinfo=UTC)
CHECK = RecoveryCheck()  # 3 samples within 10 minutes, 300 requests each
SLI = Sli(source="prometheus", objective=0.01)
GOOD, BREACHED = {"value": 0.005, "requests": 300}, {"value": 0.08, "requests": 900}
QUIET, SILENT = {"value": 0.0, "requests": 299}, {"value": None, "reason": "no traffic"}
LOOKS: dict[str, dict[str, Any]] = {"g": GOOD, "b": BREACHED, "q": QUIET, "s": SILENT}


def looked(*looks: dict[str, Any]) -> SliSampled:
    samples = (sample(f"sli{n}_ratio", SLI, Measurement(at=MOVED, **look), 300) for n, look in enumerate(looks))
    return SliSampled(samples=tuple(samples))


def at(letter: str, seconds: float, since: float | None = None) -> SliSampled:
    """One round some seconds after traffic moved, of requests since then."""
    then = None if since is None else MOVED + timedelta(seconds=since)
    measured = Measurement(at=MOVED + timedelta(seconds=seconds), since=then, **LOOKS[letter])
    return SliSampled(samples=(sample("error_ratio", SLI, measured, 300),))


def judged(letters: str, minutes: float = 5) -> Judgement:
    rounds = [looked(LOOKS[letter]) for letter in letters]
    return judge(CHECK, rounds, MOVED, MOVED + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("letters", "minutes", "verdict"),
    [
        ("ggg", 5, "yes"),
        ("bbbggg", 5, "yes"),
        ("ggg", 11, "yes"),
        ("", 0, "not_yet"),
        ("gg", 5, "not_yet"),
        ("ggb", 5, "not_yet"),
        ("ggqg", 5, "not_yet"),
        ("bb", 5, "not_yet"),
        ("bbqb", 5, "not_yet"),
        ("bbb", 0.49, "not_yet"),
        ("bbb", 0.5, "no"),
        ("bgg", 10, "no"),
        ("bqg", 10, "no"),
        ("bqqq", 10, "cannot_tell"),
        ("gg", 10, "cannot_tell"),
        ("qqq", 9.99, "not_yet"),
        ("qqq", 10, "cannot_tell"),
        ("sss", 10, "cannot_tell"),
        ("", 10, "cannot_tell"),
    ],
)
def test_recovery_is_proven_or_disproven_or_cannot_be_told(letters: str, minutes: float, verdict: str) -> None:
    assert judged(letters, minutes).verdict == verdict


@pytest.mark.parametrize(
    ("letters", "minutes", "reason"),
    [
        ("ggg", 5, "Recovered: sli0 ratio 0.5 % of 300 requests, objective ≤ 1 %. 3 good samples in a row."),
        ("gg", 5, "2 of 3 good samples in a row."),
        ("", 0, "0 of 3 good samples in a row."),
        ("bbb", 5, "Not recovered: 3 samples in a row outside the objective. sli0 ratio 8 % of 900 requests"),
        ("bgg", 10, "Not recovered within 10 min."),
        ("qqq", 10, "Cannot tell after 10 min: sli0 ratio 0 %, but 299 requests; 300 needed."),
        ("sss", 10, "Cannot tell after 10 min: sli0 ratio unknown (no traffic)."),
        ("", 10, "Cannot tell after 10 min: no SLI could be read."),
    ],
)
def test_each_judgement_says_what_it_rests_on(letters: str, minutes: float, reason: str) -> None:
    said = judged(letters, minutes).reason.replace("\u00a0", " ")
    assert said.startswith(reason)


@pytest.mark.parametrize(
    ("other", "verdict"), [(GOOD, "yes"), (BREACHED, "no"), (QUIET, "not_yet"), (SILENT, "not_yet")]
)
def test_every_sli_of_a_round_must_be_good(other: dict[str, Any], verdict: str) -> None:
    rounds = [looked(GOOD, other)] * 3
    assert judge(CHECK, rounds, MOVED, MOVED + timedelta(minutes=5)).verdict == verdict


def test_a_round_without_any_sli_proves_nothing() -> None:
    assert judge(CHECK, [SliSampled(samples=())] * 3, MOVED, MOVED + CHECK.within).verdict == "cannot_tell"


def test_the_streak_counts_back_from_the_last_round() -> None:
    assert [judged(letters).streak for letters in ("", "g", "gbg", "ggb", "bgg")] == [0, 1, 1, 0, 2]


@given(st.text("gbqs", max_size=12), st.floats(0, 20))
def test_only_good_samples_in_a_row_are_recovery(letters: str, minutes: float) -> None:
    assert (judged(letters, minutes).verdict == "yes") is letters.endswith("ggg")


@given(st.text("gbqs", max_size=12), st.floats(10, 20))
def test_a_judgement_is_never_put_off_past_its_time(letters: str, minutes: float) -> None:
    assert judged(letters, minutes).verdict != "not_yet"


@pytest.mark.parametrize(
    ("good", "value", "verdict"),
    [("below", 0.01, "good"), ("below", 0.0101, "breached"), ("above", 0.01, "good"), ("above", 0.0099, "breached")],
)
def test_the_objective_itself_is_good(good: str, value: float, verdict: str) -> None:
    sli = Sli.model_validate({"source": "x", "objective": 0.01, "good": good})
    assert sample("error_ratio", sli, Measurement(at=MOVED, value=value, requests=300), 300).verdict == verdict


def test_a_sample_whose_size_nobody_knows_is_unknown() -> None:
    found = sample("error_ratio", SLI, Measurement(at=MOVED, value=0.0), 300)
    said = "error ratio 0 %, but of an unknown number of requests; 300 needed."
    assert (found.verdict, found.sentence.replace("\u00a0", " ")) == ("unknown", said)


def test_a_sample_whose_size_could_not_be_read_says_why() -> None:
    found = sample("error_ratio", SLI, Measurement(at=MOVED, value=0.0, reason="the query gave NaN"), 300)
    assert "of an unknown number of requests (the query gave NaN); 300 needed." in found.sentence


def test_a_floor_of_none_takes_a_sample_of_any_size() -> None:
    drift = Sli(source="prometheus", objective=2)
    sized, unsized = (sample("drift", drift, Measurement(at=MOVED, value=1, requests=n), 0) for n in (0, None))
    assert (sized.verdict, sized.sentence) == ("good", "drift 1 of 0 requests, objective ≤ 2.")
    assert (unsized.verdict, unsized.sentence) == ("good", "drift 1, objective ≤ 2.")
    assert sample("drift", drift, Measurement(at=MOVED, reason="away"), 0).verdict == "unknown"


amounts = st.floats(0, 1e6) | st.sampled_from([0.01, 0.010000000000000002, 299, 300, 299.9999])


@given(st.none() | amounts, st.none() | amounts, amounts, amounts, st.sampled_from(["below", "above"]))
def test_good_needs_a_value_on_the_right_side_of_the_objective_and_enough_requests(
    value: float | None, requests: float | None, objective: float, floor: float, good: str
) -> None:
    sli = Sli.model_validate({"source": "x", "objective": objective, "good": good})
    found = sample("error_ratio", sli, Measurement(at=MOVED, value=value, requests=requests, reason="away"), floor)
    enough = floor == 0 or (requests is not None and requests >= floor)
    if value is None or not enough:
        assert found.verdict == "unknown"
    else:
        right = value <= objective if good == "below" else value >= objective
        assert found.verdict == ("good" if right else "breached")
    assert found.sentence.endswith(".")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("error_ratio", 0.08, "8 %"),
        ("error_rate", 1, "100 %"),
        ("latency_p99", 0.25, "250 ms"),
        ("p99_seconds", 1.5, "1,500 ms"),
        ("drift", 2, "2"),
    ],
)
def test_a_value_is_written_in_the_unit_its_name_tells(name: str, value: float, text: str) -> None:
    assert shown(name, value).replace("\u00a0", " ") == text


def test_a_runbook_that_names_no_sli_asks_all() -> None:
    slis = {"a": SLI, "b": SLI}
    assert slis_to_ask(CHECK, slis) == slis
    assert list(slis_to_ask(RecoveryCheck(slis=("b", "c")), slis)) == ["b"]


# ── when the rounds were ──────────────────────────────────────────────────────────────────────────────────────────────


def judged_at(rounds: list[SliSampled], minutes: float = 5) -> Judgement:
    return judge(CHECK, rounds, MOVED, MOVED + timedelta(minutes=minutes))


def test_rounds_from_before_traffic_moved_are_no_evidence() -> None:
    before = [at("g", -20), at("g", -10)]
    assert judged_at([*before, at("g", 0)]).streak == 1
    assert judged_at([at("b", -30), at("b", -20), at("b", -10)]).verdict == "not_yet"
    assert judged_at(before, minutes=10).reason.endswith("no SLI could be read.")


def test_a_round_that_reaches_back_before_the_move_is_no_evidence() -> None:
    rounds = [at("g", 5, since=-600), at("g", 15, since=5), at("g", 25, since=15)]
    assert judged_at(rounds).streak == 2
    assert judged_at([*rounds, at("g", 35, since=25)]).verdict == "yes"


@pytest.mark.parametrize(("gap", "verdict"), [(10, "yes"), (60, "yes"), (61, "not_yet"), (400, "not_yet")])
def test_a_minute_without_a_look_breaks_the_row(gap: float, verdict: str) -> None:
    assert judged_at([at("g", 0), at("g", 10), at("g", 10 + gap)], minutes=8).verdict == verdict


@pytest.mark.parametrize(("gap", "verdict"), [(360, "yes"), (361, "not_yet")])
def test_looks_that_are_rare_by_plan_may_be_far_apart(gap: float, verdict: str) -> None:
    check = RecoveryCheck(every=timedelta(minutes=2), within=timedelta(hours=1))
    rounds = [at("g", 0), at("g", 120), at("g", 120 + gap)]
    assert judge(check, rounds, MOVED, MOVED + timedelta(minutes=20)).verdict == verdict


def test_breaches_with_a_hole_between_them_are_not_in_a_row() -> None:
    rounds = [at("b", 0), at("b", 10), at("b", 200)]
    assert judged_at(rounds).verdict == "not_yet"
    assert judged_at(rounds, minutes=10).verdict == "no"


times = st.lists(st.tuples(st.sampled_from("gbqs"), st.integers(0, 120), st.integers(-200, 0)), max_size=10)


@given(times, st.integers(-300, 300), st.floats(0, 20))
def test_recovered_means_k_good_rounds_in_a_row_all_after_the_move_and_none_missed(
    drawn: list[tuple[str, int, int]], start: int, minutes: float
) -> None:
    rounds, clock, row = [], start, 0
    last: int | None = None
    for letter, later, back in drawn:
        clock += later
        rounds.append(at(letter, clock, since=clock + back))
        if clock + back < 0:
            continue
        row = (0 if last is not None and clock - last > 60 else row) + 1 if letter == "g" else 0
        last = clock
    found = judged_at(rounds, minutes)
    assert (found.verdict == "yes") is (row >= 3)
    assert found.streak == (row if found.verdict != "no" or row else 0)
    if minutes >= 10:
        assert found.verdict != "not_yet"


@given(times, st.integers(1, 5), st.floats(0, 20), st.sampled_from("qs"), st.data())
def test_what_cannot_be_told_never_makes_a_verdict_better(
    drawn: list[tuple[str, int, int]], samples: int, minutes: float, unknown: str, data: st.DataObject
) -> None:
    check = RecoveryCheck(samples=samples)
    letters = "".join(letter for letter, _, _ in drawn) or "g"
    place = data.draw(st.integers(0, len(letters) - 1))
    now = MOVED + timedelta(minutes=minutes)
    plain = judge(check, [at(letter, 10 * n) for n, letter in enumerate(letters)], MOVED, now)
    blurred = letters[:place] + unknown + letters[place + 1 :]
    less = judge(check, [at(letter, 10 * n) for n, letter in enumerate(blurred)], MOVED, now)
    assert less.verdict != "yes" or plain.verdict == "yes"
