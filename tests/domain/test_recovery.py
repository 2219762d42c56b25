"""Has it recovered? Yes, no, not yet or cannot tell, and what nobody measured is never good."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.entries import SliSampled
from bot.domain.model import Sli
from bot.domain.recovery import Judgement, burn, judge, looks_to_take, sample, shown, slis_to_ask
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
    assert found.verdict != "yes" or row >= 3
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


# ── luck ──────────────────────────────────────────────────────────────────────────────────────────────────────────

DOUBT, RUNS, POLLS = 0.05, 2000, 30
FLOOR = RecoveryCheck(min_requests=50)
TIGHT = Sli(source="scrape", objective=0.02)


@cache
def counted(n: int, failures: float, requests: float, *, sli: Sli = TIGHT, name: str = "error_ratio") -> SliSampled:
    """The n-th look, ten seconds long, of requests no other look counted."""
    until = MOVED + timedelta(seconds=10 * n)
    seen = Measurement(at=until, since=until - timedelta(seconds=10), value=failures / requests, requests=requests)
    return SliSampled(samples=(sample(name, sli, seen, FLOOR.min_requests),))


def recovered_at(ratio: float, seed: int) -> int | None:
    """At which look a service with this true ratio is called recovered, looked at after every 50 requests."""
    chance, rounds = random.Random(seed), list[SliSampled]()  # noqa: S311  a simulation, not a secret
    for n in range(1, POLLS + 1):
        rounds.append(counted(n, sum(chance.random() < ratio for _ in range(50)), 50))
        now = MOVED + timedelta(seconds=10 * n)
        if _three_good(rounds) and judge(FLOOR, rounds, MOVED, now).verdict == "yes":
            return n
    return None


def _three_good(rounds: list[SliSampled]) -> bool:
    return [one.samples[0].verdict for one in rounds[-3:]] == ["good"] * 3


def test_a_service_at_twice_its_objective_is_called_recovered_in_at_most_the_doubt_of_all_runs(
    tell: Callable[[str], None],
) -> None:
    wrong = sum(recovered_at(0.04, seed) is not None for seed in range(RUNS))
    tell(f"{wrong} of {RUNS} runs at twice the objective recovered")
    assert wrong <= DOUBT * RUNS


def test_a_row_of_good_samples_alone_would_often_be_luck() -> None:
    chance, lucky = random.Random(1), 0  # noqa: S311  a simulation, not a secret
    for _ in range(200):
        rounds = [counted(n, sum(chance.random() < 0.04 for _ in range(50)), 50) for n in range(1, POLLS + 1)]
        lucky += any(_three_good(rounds[:n]) for n in range(3, POLLS + 1))
    assert lucky > 100


def test_a_service_that_is_well_is_called_recovered_soon(tell: Callable[[str], None]) -> None:
    took = sorted(recovered_at(0.004, seed) or POLLS + 1 for seed in range(300))
    tell(f"recovered after {took[150]} looks of 50 requests in half of the runs, {took[285]} in 95 % of them")
    assert took[285] <= POLLS


def test_good_samples_of_too_few_requests_are_not_yet_recovery_and_then_cannot_be_told() -> None:
    rounds = [counted(n, 0, 50, sli=Sli(source="scrape", objective=0.002)) for n in range(1, 7)]
    soon = judge(FLOOR, rounds, MOVED, MOVED + timedelta(minutes=1))
    late = judge(FLOOR, rounds, MOVED, MOVED + FLOOR.within)
    assert (soon.verdict, late.verdict, late.streak) == ("not_yet", "cannot_tell", 6)
    assert (
        "Too few requests to tell it from 2 times its objective: error ratio 0\u00a0% of 300 requests." in late.reason
    )


def test_a_breach_lets_the_count_begin_anew_and_asks_for_more() -> None:
    well, ill = [counted(n, 0, 50) for n in range(1, 4)], counted(4, 20, 50)
    again = [counted(n, 0, 50) for n in range(5, 8)]
    now = MOVED + timedelta(minutes=2)
    assert judge(FLOOR, well, MOVED, now).verdict == "yes"
    assert judge(FLOOR, [*well, ill, *again], MOVED, now).verdict == "not_yet"


def test_without_a_floor_or_a_source_that_counts_once_the_row_alone_decides() -> None:
    sli = Sli(source="scrape", objective=0.002)
    once = [counted(n, 0, 50, sli=sli) for n in range(1, 4)]
    unsure = [
        one.but(samples=tuple(s.but(measurement=s.measurement.but(since=None)) for s in one.samples)) for one in once
    ]
    now = MOVED + timedelta(minutes=2)
    assert judge(FLOOR, once, MOVED, now).verdict == "not_yet"
    assert judge(FLOOR.but(min_requests=0), once, MOVED, now).verdict == "yes"
    assert judge(FLOOR, unsure, MOVED, now).verdict == "yes"


def test_a_share_that_must_be_high_is_counted_by_what_went_wrong() -> None:
    sli = Sli(source="scrape", objective=0.98, good="above")
    few, many = ([counted(n, size, size, sli=sli, name="success_ratio") for n in range(1, 4)] for size in (50, 500))
    now = MOVED + timedelta(minutes=2)
    assert judge(FLOOR, many, MOVED, now).reason.endswith("3 good samples in a row. Burn rate 0.")
    scarce = judge(FLOOR, [one.but(samples=one.samples) for one in few[:1]] * 3, MOVED, now)
    assert "success ratio 100\u00a0% of 50 requests" in scarce.reason


def test_a_service_that_flaps_around_its_objective_is_not_recovered_though_three_in_a_row_were_good() -> None:
    rounds = [counted(n, 30 if n % 4 == 0 else 9, 500) for n in range(1, 20)]
    found = judge(FLOOR, rounds, MOVED, MOVED + FLOOR.within)
    assert [one.samples[0].verdict for one in rounds[-3:]] == ["good"] * 3
    assert found.verdict == "no"
    assert "All samples together are outside the objective: error ratio 2.9\u00a0% of 8,000 requests." in found.reason


def test_what_failed_in_the_first_half_minute_is_not_held_against_it() -> None:
    rounds = [*(counted(n, 250, 500) for n in (1, 2)), *(counted(n, 1, 500) for n in (3, 4, 5))]
    assert judge(FLOOR, rounds, MOVED, MOVED + timedelta(seconds=50)).verdict == "yes"


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 600)), max_size=12), st.floats(0, 20))
def test_recovered_always_means_a_row_of_good_samples(drawn: list[tuple[int, int]], minutes: float) -> None:
    rounds = [counted(n, min(failed, of), of) for n, (failed, of) in enumerate(drawn, 1)]
    found = judge(FLOOR, rounds, MOVED, MOVED + timedelta(minutes=minutes))
    row = [one.samples[0].verdict for one in rounds[-FLOOR.samples :]]
    assert found.verdict != "yes" or row == ["good"] * FLOOR.samples
    assert minutes < 10 or found.verdict != "not_yet"


# ── what is asked ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("value", "verdict", "text"), [
    (0.4, "good", "burn rate short 0.4, less than 1 needed."), (1.0, "unknown", "burn rate short 1, less than 1 needed."),
    (14.4, "unknown", "burn rate short 14.4, less than 1 needed."), (None, "unknown", "burn rate short unknown (away)."),
])  # fmt: skip
def test_the_short_window_burn_rate_is_good_below_one_and_never_a_breach(
    value: float | None, verdict: str, text: str
) -> None:
    found = burn(Measurement(at=MOVED, value=value, reason="away" if value is None else ""))
    assert (found.verdict, found.sentence) == (verdict, text)


def test_a_recovery_says_how_fast_the_error_budget_burns() -> None:
    assert judged("ggg").reason.endswith("3 good samples in a row. Burn rate 0.5.")


def test_each_cohort_is_asked_by_the_slis_that_name_it_and_the_version_is_put_in() -> None:
    slis = {
        "error_ratio": Sli.model_validate({"source": "p", "objective": 1, "query": 'v="{version}"'}),
        "own_ratio": Sli.model_validate({"source": "p", "objective": 1, "query": 'v="{version}",c="{cohort}"'}),
    }
    asked = {name: settings["query"] for name, (_, settings) in looks_to_take(slis, ("eu", "us"), "41").items()}
    assert asked == {"error_ratio": 'v="41"', "own_ratio[eu]": 'v="41",c="eu"', "own_ratio[us]": 'v="41",c="us"'}
    assert list(looks_to_take(slis, (), "41")) == ["error_ratio"]


@given(st.dictionaries(st.sampled_from(["eu", "us", "asia"]), st.sampled_from("gbqs"), min_size=1))
def test_one_cohort_that_is_not_well_or_not_sampled_is_no_recovery_and_is_named(cohorts: dict[str, str]) -> None:
    looks = tuple(
        sample(f"own_ratio[{name}]", SLI, Measurement(at=MOVED, **LOOKS[one]), 300) for name, one in cohorts.items()
    )
    found = judge(CHECK, [SliSampled(samples=looks)] * 3, MOVED, MOVED + CHECK.within)
    assert (found.verdict == "yes") is (set(cohorts.values()) == {"g"})
    assert all(f"own ratio of {name}" in found.reason for name in cohorts)
