"""A replay says what a policy would have done: alone, asked, told, held; what it spares, and where it is wrong."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.clock import START
from bot.demo.year import generate
from bot.domain import entries as e
from bot.domain.facts import plain
from bot.domain.policy import Policy
from bot.report import bars
from bot.report.replay import FATES, Fate, Look, Past, Replay, as_json, pasts, replay
from tests.report import tales
from tests.slack import stories as s

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
T0 = datetime(2026, 3, 3, 3, 0, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "model": "fraud", "environment": "prod", "tier": 1, "severity": "critical", "burn_rate": 20.0, "firing_for": 30.0,
    "breached": {"error_ratio": 30.0}, "samples": 900.0, "by_person": False, "drill": False, "silent": False, "silenced": False,
    "observed_serving": True, "flapping": False, "drift_only": False, "good_also_breached": False, "neighbours_breached": False,
    "upstream_change": False, "upstream_rolling": False, "target_quarantined": False, "target_scan": "clean",
    "target_signature_fits": True, "deployed_at": T0 - HOUR,
}  # fmt: skip
ALWAYS = {"id": "alone", "mode": "auto"}
ASKS = {"id": "asks", "mode": "approve", "require": [{"role": "sre"}]}
FREE = {"cooldown": "0s", "max_auto_per_day": 99, "rollback_window": "3650d"}


def policy(*rules: dict[str, Any], **more: Any) -> Policy:
    limits = {**FREE, **more.pop("limits", {})}
    return Policy.model_validate({"rules": [*rules, ASKS], "limits": limits, **more})


def past(
    at: datetime = T0, *, waited: timedelta | None = 10 * MINUTE, helps: bool | None = True, then: e.Mode = "approve",
    versions: tuple[str, str] = ("42", "41"), over: timedelta = HOUR, **facts: Any,
) -> Past:  # fmt: skip
    look = Look(at, {**FACTS, "deployed_at": at - HOUR, **facts}, *versions)
    rolled = at + waited if waited is not None else None
    return Past(f"i{at:%d%H%M}", (look,), then, rolled, rolled or at + over, helps)


def fates(found: Replay) -> list[Fate]:
    return [one.fate for one in found.done]


# ── a known answer ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_small_past_has_a_known_answer() -> None:
    found = replay(
        policy({**ALWAYS, "when": "burn_rate > 14.0"}),
        [
            past(T0),
            past(T0 + DAY, waited=20 * MINUTE),
            past(T0 + 2 * DAY, helps=False),
            past(T0 + 3 * DAY, helps=None),
            past(T0 + 4 * DAY, waited=None),
            past(T0 + 5 * DAY, burn_rate=3.0),
            past(T0 + 6 * DAY, silent=True),
            past(T0 + 7 * DAY, upstream_rolling=True),
            None,
        ],
    )
    assert fates(found) == ["helped", "helped", "false", "unknown", "helped", "asked", "told", "held"]
    assert (found.all.alone, found.all.saved, found.all.unmeasured, found.undecided) == (5, 30 * MINUTE, 1, 1)
    assert found.changed == [("approve", "auto", 5), ("approve", "notify", 1), ("approve", "hold", 1)]
    assert [(one.name, one.alone) for one in found.rules] == [("alone", 5), ("asks", 0)]


def test_an_outcome_nobody_knows_is_never_fine() -> None:
    found = replay(policy(ALWAYS), [past(helps=None)])
    assert (fates(found), found.all.saved, found.all.unmeasured) == (["unknown"], timedelta(0), 0)


def test_acting_alone_where_that_was_done_already_spares_nothing_more() -> None:
    assert replay(policy(ALWAYS), [past(then="auto")]).done[0].saved == timedelta(0)


def test_incidents_are_replayed_in_order_of_time() -> None:
    found = replay(policy(ALWAYS, limits={"max_auto_per_day": 1}), [past(T0 + HOUR), past(T0)])
    assert [(one.at, one.fate) for one in found.done] == [(T0, "helped"), (T0 + HOUR, "asked")]


# ── time moves on ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rule_that_waits_acts_when_its_time_has_come() -> None:
    (one,) = replay(policy({**ALWAYS, "for": "5m"}), [past()]).done
    assert (one.fate, one.at, one.saved) == ("helped", T0 + timedelta(seconds=270), timedelta(seconds=330))


def test_a_rule_that_waits_too_long_lets_people_be_first() -> None:
    (one,) = replay(policy({**ALWAYS, "for": "15m"}), [past()]).done
    assert (one.fate, one.at) == ("asked", T0)


def test_how_long_an_sli_is_breached_moves_on_with_the_time_another_rule_waits() -> None:
    waits = {"id": "waits", "mode": "auto", "for": "5m", "min_samples": 100_000}
    grown = {**ALWAYS, "when": 'breached["error_ratio"] >= 300.0'}
    (one,) = replay(policy(waits, grown), [past()]).done
    assert (one.decision.rule, one.at) == ("alone", T0 + timedelta(seconds=270))


def test_a_later_look_has_facts_of_its_own() -> None:
    first, second = past(burn_rate=3.0).looks[0], past(T0 + 2 * MINUTE).looks[0]
    two = Past("two", (first, second), "approve", T0 + 10 * MINUTE, T0 + 10 * MINUTE, helps=True)
    (one,) = replay(policy({**ALWAYS, "when": "burn_rate > 14.0"}), [two]).done
    assert (one.at, one.saved) == (T0 + 2 * MINUTE, 8 * MINUTE)


def test_a_blackout_of_this_policy_counts_and_not_the_stored_one() -> None:
    dark = {"limits": {"blackouts": [{"from": "02:00", "to": "04:00", "zone": "UTC"}]}}
    assert fates(replay(policy(ALWAYS, **dark), [past(), past(T0 + 2 * HOUR)])) == ["asked", "helped"]
    assert fates(replay(policy(ALWAYS), [past(blackout="night")])) == ["helped"]


def test_a_guard_over_the_clock_is_asked_at_the_time_of_the_replay() -> None:
    stored: dict[str, Any] = {"weekday": "sun", "hour": 1, "blackout": "night"}
    at_three = {**ALWAYS, "when": 'weekday == "tue" && hour == 3 && blackout == ""'}
    assert fates(replay(policy(at_three), [past(**stored), past(T0 + HOUR, **stored)])) == ["helped", "asked"]


# ── what follows from its own acts ────────────────────────────────────────────────────────────────────────────────


def each(every: timedelta, count: int, **more: Any) -> list[Past]:
    return [past(T0 + n * every, **more) for n in range(count)]


def test_the_cooldown_is_that_of_the_replayed_rollbacks() -> None:
    stored = {"since_last_rollback": 60.0, "auto_rollbacks_today": 9, "recent_rollbacks": 9, "would_loop": True}
    found = replay(policy(ALWAYS, limits={"cooldown": "30m"}), each(20 * MINUTE, 4, waited=None, **stored))
    assert fates(found) == ["helped", "asked", "helped", "asked"]


def test_a_rollback_people_made_starts_the_cooldown_when_they_made_it() -> None:
    asks_first = {**ALWAYS, "when": "burn_rate > 14.0"}
    found = replay(
        policy(asks_first, limits={"cooldown": "30m"}),
        [past(burn_rate=1.0), past(T0 + 35 * MINUTE), past(T0 + 41 * MINUTE)],
    )
    assert fates(found) == ["asked", "asked", "helped"]


def test_no_more_act_alone_a_day_than_the_limit_says() -> None:
    found = replay(policy(ALWAYS, limits={"max_auto_per_day": 2}), each(5 * HOUR, 7))
    assert fates(found) == ["helped", "helped", "asked", "asked", "asked", "helped", "helped"]


def test_another_model_has_limits_of_its_own() -> None:
    other = past(T0 + MINUTE, model="ranker")
    assert fates(replay(policy(ALWAYS, limits={"cooldown": "1h"}), [past(), other])) == ["helped", "helped"]


def test_going_back_and_forth_asks_people() -> None:
    there, back = past(versions=("42", "41")), past(T0 + HOUR, versions=("41", "42"))
    found = replay(policy(ALWAYS, limits={"rollback_window": "7d"}), [there, back])
    assert fates(found) == ["helped", "asked"]
    assert "loop" in found.done[1].decision.reason


def test_a_rule_climbs_the_ladder_on_what_helped_and_steps_down_on_what_did_not() -> None:
    climbs = {**ALWAYS, "ladder": True}
    trust = {"trust": {"role": "sre", "start": "notify", "approve_after": 1, "auto_after": 2}}
    helped, wrong = each(DAY, 4), past(T0 + 4 * DAY, helps=False)
    found = replay(policy(climbs, **trust), [*helped, wrong, past(T0 + 5 * DAY)])
    assert fates(found) == ["told", "asked", "asked", "helped", "false", "asked"]


# ── from a timeline ───────────────────────────────────────────────────────────────────────────────────────────────

STORED = e.PolicyDecided(
    plan=s.PLAN.id, mode="approve", rule="prod", reason="r", policy_digest="d",
    facts=plain({**FACTS, "deployed_at": START - HOUR}),
)  # fmt: skip


def told(entries: Sequence[e.Entry], every: timedelta = tales.TEN) -> list[Past | None]:
    return list(pasts(tales.told(entries, every)))


def with_facts(entries: Sequence[e.Entry]) -> list[e.Entry]:
    return [STORED if isinstance(one, e.PolicyDecided) else one for one in entries]


def test_a_recovered_incident_gives_its_facts_its_wait_and_that_it_helped() -> None:
    (one,) = told(with_facts(tales.WELL))
    assert one is not None
    assert (one.then, one.helps, len(one.looks)) == ("approve", True, 1)
    assert one.rolled_at is not None
    assert one.rolled_at > one.at
    assert (one.looks[0].from_version, one.looks[0].to_version) == ("42", "41")
    assert one.looks[0].facts["deployed_at"] == START - HOUR
    (replayed,) = replay(policy(ALWAYS), [one]).done
    assert (replayed.fate, replayed.saved) == ("helped", one.rolled_at - one.at)


def test_an_incident_policy_was_never_asked_about_is_none() -> None:
    assert told([s.opened()]) == [None]


BY_ITSELF = e.IncidentClosed(outcome="recovered_by_itself", reason="It ended.")


@pytest.mark.parametrize(("every", "helps"), [(MINUTE, False), (HOUR, None)])
def test_what_ended_by_itself_within_minutes_needed_no_rollback(every: timedelta, helps: bool | None) -> None:  # noqa: FBT001  a table's column
    (one,) = told(with_facts((*tales.OPEN, BY_ITSELF)), every)
    assert one is not None
    assert (one.helps, one.rolled_at) == (helps, None)


@pytest.mark.parametrize(("verdict", "helps"), [("yes", True), ("no", False), ("cannot_tell", None)])
def test_whether_it_helped_is_the_third_verdict(verdict: e.Verdict, helps: bool | None) -> None:  # noqa: FBT001  a table's column
    judged = e.SliJudged(verdict=verdict, reason="r")
    (one,) = told(with_facts((*tales.ROLLED, judged)))
    assert one is not None
    assert one.helps is helps


def test_each_episode_is_an_incident_of_its_own() -> None:
    again = e.IncidentReopened(alerts=(s.alert(),), episode=2)
    first, second = told(with_facts((*tales.WELL, again, tales.MADE, STORED)))
    assert first is not None
    assert second is not None
    assert (first.helps, second.helps, second.rolled_at) == (True, None, None)
    assert second.id == f"{first.id} episode 2"


# ── a generated year ──────────────────────────────────────────────────────────────────────────────────────────────

YEAR = generate(7, START)
BOLD = policy({**ALWAYS, "when": "burn_rate >= 6.0"})
STRICT = policy({**ALWAYS, "when": "burn_rate >= 14.4 && blast_radius <= 0.2", "for": "2m", "min_samples": 300})


def test_the_stricter_policy_acts_alone_less_often_and_is_wrong_less_often() -> None:
    bold, strict = replay(BOLD, YEAR), replay(STRICT, YEAR)
    assert 0 < strict.all.alone < bold.all.alone
    assert strict.all.fates["false"] < bold.all.fates["false"]


def test_every_incident_is_counted_once_in_rules_weeks_and_all() -> None:
    found = replay(BOLD, YEAR)
    assert sum(found.all.fates.values()) == len(YEAR)
    for part in ([one.fates for one in found.rules], [fates for _, fates in found.weeks]):
        assert {name: sum(one.get(name, 0) for one in part) for name in FATES} == {
            name: found.all.fates.get(name, 0) for name in FATES
        }


def test_a_year_of_2000_incidents_replays_in_seconds() -> None:
    assert len(YEAR) > 1900
    began = time.process_time()
    replay(STRICT, YEAR)
    assert time.process_time() - began < 10


def test_a_script_gets_what_the_table_shows() -> None:
    found = replay(policy(ALWAYS), [past(), past(T0 + DAY, helps=False)])
    plainly = as_json(found)
    assert plainly["all"] == {
        "rule": "in all", "alone": 2, "helped": 1, "false": 1, "unknown": 0, "asked": 0, "told": 0, "held": 0, "saved": 600.0,
        "unmeasured": 0,
    }  # fmt: skip
    assert plainly["weeks"][0]["monday"] == "2026-03-02"


# ── the plot ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_weeks_without_an_incident_have_a_column_too() -> None:
    found = replay(policy(ALWAYS), [past(), past(T0 + 21 * DAY)])
    assert bars.text(found.weeks) == [("alone, helped", "█  █")]


def test_one_incident_is_never_drawn_as_none() -> None:
    found = replay(policy(ALWAYS, limits={"max_auto_per_day": 99}), [*each(MINUTE, 40), past(T0 + 8 * DAY)])
    assert bars.text(found.weeks) == [("alone, helped", "█▁")]
