"""A blackout is one of its zone's clock: it spans midnight, and a turned clock never makes it shorter."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.domain.calendar import WEEKDAYS, active, facts
from bot.domain.facts import FACTS
from bot.domain.roles import Blackout

UNTIMED = settings(deadline=None)  # zones are read from disk once
BERLIN = ZoneInfo("Europe/Berlin")


def blackout(begin: str, end: str, **more: Any) -> Blackout:
    return Blackout.model_validate({"from": begin, "to": end, "zone": "Europe/Berlin", **more})


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


WEEKEND = blackout("18:00", "08:00", days=("fri",))
CLOSE = blackout("09:00", "17:00", first="2026-12-28", last="2026-12-31")


@pytest.mark.parametrize(
    ("when", "now", "within"),
    [
        (WEEKEND, "2026-11-27T17:59:59", False),
        (WEEKEND, "2026-11-27T18:00:00", True),
        (WEEKEND, "2026-11-28T00:00:00", True),
        (WEEKEND, "2026-11-28T07:59:59", True),
        (WEEKEND, "2026-11-28T08:00:00", False),
        (WEEKEND, "2026-11-27T07:00:00", False),
        (WEEKEND, "2026-11-28T18:00:00", False),
        (CLOSE, "2026-12-27T12:00:00", False),
        (CLOSE, "2026-12-28T12:00:00", True),
        (CLOSE, "2026-12-31T16:59:59", True),
        (CLOSE, "2027-01-01T12:00:00", False),
        (blackout("22:00", "06:00", last="2026-12-31"), "2027-01-01T05:00:00", True),
        (blackout("22:00", "06:00", first="2026-12-31"), "2026-12-31T05:00:00", False),
        (blackout("00:00", "00:00", days=("sun",)), "2026-11-29T00:00:00", True),
        (blackout("00:00", "00:00", days=("sun",)), "2026-11-29T23:59:59", True),
        (blackout("00:00", "00:00", days=("sun",)), "2026-11-30T00:00:00", False),
    ],
)
def test_a_blackout_has_its_days_its_dates_and_may_span_midnight(when: Blackout, now: str, within: bool) -> None:  # noqa: FBT001  a table's column
    assert (active((when,), at(now)) is not None) is within
    assert (active((when,), at(now).astimezone(UTC)) is not None) is within


@pytest.mark.parametrize(
    ("now", "until", "length"),
    [
        ("2026-11-27T19:00:00", "08:00 Europe/Berlin", timedelta(hours=14)),
        ("2026-03-28T19:00:00", "08:00 Europe/Berlin", timedelta(hours=13)),  # the clock goes forward in this night
        ("2026-10-24T19:00:00", "08:00 Europe/Berlin", timedelta(hours=15)),  # and back in this one
    ],
)
def test_a_night_is_shorter_or_longer_when_the_clock_is_turned_and_still_ends_at_eight(
    now: str, until: str, length: timedelta
) -> None:
    stretch = active((blackout("18:00", "08:00"),), at(now))
    assert stretch is not None
    assert (stretch.until, stretch.ends - stretch.begins) == (until, length)


def test_an_hour_that_comes_twice_is_within_twice() -> None:
    night = blackout("01:00", "02:30")
    first = datetime(2026, 10, 25, 0, 15, tzinfo=UTC)  # 02:15 summer time
    moments = [first + timedelta(minutes=15 * n) for n in range(7)]
    assert [active((night,), one) is not None for one in moments] == [True] * 5 + [False] * 2


def test_of_two_blackouts_the_one_that_ends_last_is_named() -> None:
    short, long = blackout("08:00", "10:00", name="deploys"), blackout("09:00", "18:00", name="quarter close")
    stretch = active((short, long), at("2026-11-23T09:30:00"))
    assert stretch is not None
    assert (stretch.blackout.name, stretch.until) == ("quarter close", "18:00 Europe/Berlin")
    assert active((long, short), at("2026-11-23T09:30:00")) == stretch


def test_the_clock_and_the_blackouts_are_facts() -> None:
    known = facts((blackout("18:00", "08:00", name="nights"),), at("2026-11-23T23:30:00"))
    assert known == {
        "now": datetime(2026, 11, 23, 22, 30, tzinfo=UTC), "weekday": "mon", "hour": 22, "blackout": "nights"
    }  # fmt: skip
    assert facts((blackout("18:00", "08:00"),), at("2026-11-23T23:30:00"))["blackout"] == "until 08:00 Europe/Berlin"
    assert facts((), at("2026-11-23T23:30:00"))["blackout"] == ""
    assert known.keys() <= FACTS.keys()


TIMES = st.times().map(lambda one: one.replace(second=0, microsecond=0))
ZONES = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Havana", "UTC"]
)
BLACKOUTS = st.builds(
    lambda begin, end, zone, days, span: Blackout.model_validate(
        {
            "from": f"{begin:%H:%M}", "to": f"{end:%H:%M}", "zone": zone, "days": tuple(sorted(days)),
            "first": span[0] if span else None, "last": span[1] if span else None,
        }
    ),
    TIMES, TIMES, ZONES, st.sets(st.sampled_from(WEEKDAYS)),
    st.none() | st.tuples(st.dates(date(2026, 1, 1), date(2026, 6, 30)), st.dates(date(2026, 7, 1), date(2026, 12, 31))),
)  # fmt: skip
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  the zone is drawn beside it


def wall_says(one: Blackout, now: datetime) -> bool:
    """Ask the clock on the wall, day by day, without knowing that clocks are turned."""
    wall = now.astimezone(ZoneInfo(one.zone)).replace(tzinfo=None)
    begin, end = time.fromisoformat(one.from_), time.fromisoformat(one.to)
    for day in (wall.date(), wall.date() - timedelta(days=1)):
        counts = not one.days or day.strftime("%a").lower() in one.days
        counts = counts and (one.first is None or day >= one.first) and (one.last is None or day <= one.last)
        last = day if end > begin else day + timedelta(days=1)
        if counts and datetime.combine(day, begin) <= wall < datetime.combine(last, end):
            return True
    return False


def turned_near(one: Blackout, now: datetime) -> bool:
    zone, near = ZoneInfo(one.zone), timedelta(hours=25)
    return (now - near).astimezone(zone).utcoffset() != (now + near).astimezone(zone).utcoffset()


@UNTIMED
@given(BLACKOUTS, MOMENTS)
@example(blackout("02:10", "02:50"), datetime(2026, 3, 29, 0, 59, tzinfo=UTC))
@example(blackout("01:00", "02:30"), datetime(2026, 10, 25, 1, 15, tzinfo=UTC))
def test_a_blackout_agrees_with_the_clock_on_the_wall_and_a_turned_clock_only_adds(
    one: Blackout, now: datetime
) -> None:
    found, wall = active((one,), now) is not None, wall_says(one, now)
    assert found or not wall
    assert found == wall or turned_near(one, now)


@UNTIMED
@given(BLACKOUTS, MOMENTS)
def test_the_end_it_names_is_the_moment_it_ends(one: Blackout, now: datetime) -> None:
    if stretch := active((one,), now):
        assert stretch.begins <= now < stretch.ends
        assert stretch.ends - stretch.begins <= timedelta(hours=26)
        assert stretch.until == f"{one.to} {one.zone}" or turned_near(one, now)
        later = active((one,), stretch.ends)
        assert later is None or later.begins > stretch.begins
