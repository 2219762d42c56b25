"""A year of incidents, drawn from a model that is written down here, so that a policy can be tried before it is trusted.

The model, all of it from one `random.Random(seed)`; the same seed gives the same year on every machine:

- **Deployments** of each model are a Poisson process of `DEPLOYS_A_WEEK`, on working days between 8 and 17 UTC, half as
  many on Fridays, and none in the freeze from 18 December to 2 January.
- **Regressions**: one deployment in `1 / BAD_DEPLOYS` is bad. Its incident comes after an exponential time with a mean of
  25 minutes. A rollback helps in 97 of 100.
- **Everything else** is a Poisson process of `OTHERS_A_YEAR` for each model, thinned by the hour of the day (least at
  3 UTC, most at 15 UTC, a factor of 3) and by the weekend (a factor of 0.6). `KINDS` gives how often each kind comes, how
  often a rollback would help, and how often it ends by itself within minutes.
- **Measurements**: burn rates, requests and shares are log-normal or uniform, by kind; each of them is unknown in
  `UNKNOWN` of the incidents, as a source that does not answer leaves it.
- **People** answer after a log-normal time with a median of 4 minutes by day, 9 in the evening and 17 at night
  (sigma 0.8); tier 1 needs two, so the slower one counts. They roll back in 95 of 100 incidents where that helps and in
  35 of 100 where it does not, unless it ended by itself before they came. In 6 of 100 nobody comes.
- **Then**: this house asked people every time, so what it did is what a policy is compared with.

It is a model, not evidence about anybody's service. `replay` without `--generate` uses what happened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from bot.domain.facts import FACTS
from bot.report.replay import Look, Past

DEPLOYS_A_WEEK, BAD_DEPLOYS, OTHERS_A_YEAR, UNKNOWN = 2.0, 0.15, 150.0, 0.03
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
YEAR = timedelta(days=365)
_NOBODY_COMES, _ROLLS_BACK = 0.06, {True: 0.95, False: 0.35}
_FREEZE = ((12, 18), (1, 2))  # the first and the last day, as month and day


@dataclass(frozen=True, slots=True)
class Place:
    """One model in one environment of the house."""

    model: str
    environment: str
    tier: int


@dataclass(frozen=True, slots=True)
class Kind:
    """One cause of incidents: how often it is that one, whether a rollback helps, whether it ends by itself, its burn."""

    name: str
    share: float
    helps: float
    by_itself: float
    burn: float  # median, in multiples of the error budget
    severity: str


REGRESSION = Kind("regression", 0.0, 0.97, 0.02, 25.0, "critical")
KINDS: tuple[Kind, ...] = (
    Kind("latency", 0.22, 0.45, 0.20, 9.0, "error"),
    Kind("upstream outage", 0.18, 0.02, 0.30, 30.0, "critical"),
    Kind("drift", 0.20, 0.10, 0.05, 2.0, "warning"),
    Kind("flapping", 0.20, 0.03, 0.85, 12.0, "error"),
    Kind("silent breach", 0.12, 0.55, 0.15, 5.0, "unknown"),
    Kind("security finding", 0.08, 0.80, 0.00, 0.0, "critical"),
)
HOUSE: tuple[Place, ...] = (
    Place("fraud-scorer", "prod", 1), Place("kyc-matcher", "prod", 1), Place("ranker-home", "prod", 1),
    Place("ranker-search", "prod", 2), Place("ranker-mail", "prod", 2), Place("eta", "prod", 2), Place("pricing", "prod", 2),
    Place("recommender", "prod", 2), Place("churn", "prod", 3), Place("translator", "prod", 3),
    Place("image-tags", "prod", 3), Place("fraud-scorer", "staging", 1),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Deployed:
    """One deployment: when, the number of the version, and whether it is a bad one."""

    at: datetime
    version: int
    bad: bool


def generate(seed: int, end: datetime, places: Sequence[Place] = HOUSE, length: timedelta = YEAR) -> list[Past]:
    """Give every incident of the time before `end`, in order; the same arguments give the same incidents."""
    random = Random(seed)  # noqa: S311  a rehearsal, not a secret
    found = [past for place in places for past in _of(place, end - length, end, random)]
    return sorted(found, key=lambda one: (one.at, one.id))


def _of(place: Place, start: datetime, end: datetime, random: Random) -> Iterator[Past]:
    deployed = [_Deployed(start - 7 * DAY, 40, bad=False), *_deployments(start, end, random)]
    causes = [(at, REGRESSION) for at in _regressions(deployed, random)]
    causes += [(at, _kind(random)) for at in _others(start, end, random)]
    for n, (at, kind) in enumerate(sorted(causes, key=lambda one: one[0])):
        if start <= at < end:
            serving = max((one for one in deployed if one.at <= at), key=lambda one: one.at)
            name = f"{place.model}-{place.environment}-{n + 1}"
            yield _incident(name, place, at, kind, serving, random)


# ── when ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _arrivals(start: datetime, end: datetime, a_day: float, random: Random) -> Iterator[datetime]:
    """Give the times of a Poisson process."""
    at = start
    while (at := at + timedelta(days=random.expovariate(a_day))) < end:
        yield at


def _deployments(start: datetime, end: datetime, random: Random) -> list[_Deployed]:
    """Thin a faster process to working hours; 5 days of 9 hours are what is left of a week, Fridays count half."""
    busiest = DEPLOYS_A_WEEK / (4.5 * 9 / 24)
    times = [at for at in _arrivals(start, end, busiest, random) if random.random() < _works(at)]
    return [_Deployed(at, 41 + n, random.random() < BAD_DEPLOYS) for n, at in enumerate(times)]


def _works(at: datetime) -> float:
    frozen = (at.month, at.day) >= _FREEZE[0] or (at.month, at.day) <= _FREEZE[1]
    if frozen or at.weekday() > 4 or not 8 <= at.hour < 17:
        return 0.0
    return 0.5 if at.weekday() == 4 else 1.0


def _regressions(deployed: Sequence[_Deployed], random: Random) -> list[datetime]:
    return [one.at + 2 * MINUTE + timedelta(minutes=random.expovariate(1 / 25)) for one in deployed if one.bad]


def _others(start: datetime, end: datetime, random: Random) -> list[datetime]:
    mean = 0.5 * (1 / 3 + 1) * (5 + 2 * 0.6) / 7  # what the pattern below leaves on average
    busiest = OTHERS_A_YEAR / 365 / mean
    return [at for at in _arrivals(start, end, busiest, random) if random.random() < busy(at)]


def busy(at: datetime) -> float:
    """Give how busy an hour is beside the busiest: between 1/3 at 3 UTC and 1 at 15 UTC, times 0.6 at weekends."""
    daily = 2 / 3 - math.cos((at.hour + at.minute / 60 - 3) / 24 * 2 * math.pi) / 3
    return daily * (0.6 if at.weekday() > 4 else 1.0)


def _kind(random: Random) -> Kind:
    return random.choices(KINDS, weights=[one.share for one in KINDS])[0]


# ── what ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _incident(name: str, place: Place, at: datetime, kind: Kind, serving: _Deployed, random: Random) -> Past:
    helps, by_itself = random.random() < kind.helps, random.random() < kind.by_itself
    seen = at + timedelta(seconds=random.uniform(20, 90))  # from the first bad minute to the alert
    ends = seen + _minutes(3, 0.6, random) if by_itself else seen + _minutes(150, 0.7, random)
    rolled = _rolled(seen, ends, helps and not by_itself, place, random)
    look = Look(seen, _facts(place, at, seen, kind, serving, random), str(serving.version), str(serving.version - 1))
    return Past(name, (look,), "approve", rolled, rolled or ends, helps and not by_itself, kind.name)


def _minutes(median: float, sigma: float, random: Random) -> timedelta:
    return timedelta(minutes=random.lognormvariate(math.log(median), sigma))


def _rolled(seen: datetime, ends: datetime, helps: bool, place: Place, random: Random) -> datetime | None:  # noqa: FBT001  the truth of the incident
    """Give when people rolled back, None when they did not."""
    waits = [_minutes(answer(seen), 0.8, random) for _ in range(2 if place.tier == 1 else 1)]
    comes, agrees = random.random() >= _NOBODY_COMES, random.random() < _ROLLS_BACK[helps]
    at = seen + max(waits)
    return at if comes and agrees and at < ends else None


def answer(at: datetime) -> float:
    """Give the median of a person's answer in minutes, by the hour in UTC: day, evening, night."""
    return 4.0 if 7 <= at.hour < 18 else 9.0 if 18 <= at.hour < 23 else 17.0


def _facts(
    place: Place, at: datetime, seen: datetime, kind: Kind, serving: _Deployed, random: Random
) -> dict[str, Any]:
    burn = random.lognormvariate(math.log(kind.burn), 0.7) if kind.burn else 0.0
    sli = (
        "latency_p99" if kind.name == "latency" else "" if kind.name in ("drift", "security finding") else "error_ratio"
    )
    firing = (seen - at).total_seconds()
    upstream = kind.name == "upstream outage"
    measured: dict[str, float] = {
        "value": burn * 0.01, "burn_rate": burn, "burn_rate_short": burn * random.uniform(0.8, 1.3), "burn_rate_long": burn * random.uniform(0.3, 0.9),
        "samples": random.lognormvariate(math.log(4000 / place.tier), 1.2), "blast_radius": random.choice((0.05, 0.1, 0.2, 0.5, 1.0, 1.0)),
        "error_budget_left": random.uniform(0, 1), "error_budget_spent": min(1.0, burn / 200), "cost_delta": random.gauss(0, 0.1),
    }  # fmt: skip
    known = {name: None if random.random() < UNKNOWN else one for name, one in measured.items()}
    return {
        **dict.fromkeys(FACTS), **known,
        "model": place.model, "environment": place.environment, "tier": place.tier, "severity": kind.severity, "sli": sli,
        "breached": {sli: firing} if sli else {}, "firing_for": firing, "flapping": kind.name == "flapping",
        "drift_only": kind.name == "drift", "security_finding": kind.name == "security finding", "silenced": random.random() < 0.02,
        "silent": kind.name == "silent breach", "by_person": False, "drill": False, "deployed_at": serving.at, "deployer": "U0GEN",
        "observed_serving": random.random() < 0.97, "target_quarantined": random.random() < 0.01, "target_scan": "clean",
        "target_signature_fits": random.random() < 0.98, "capacity_enough": True, "good_also_breached": upstream and random.random() < 0.3,
        "neighbours_breached": upstream and random.random() < 0.5, "upstream_change": upstream and random.random() < 0.6,
        "upstream_rolling": upstream and random.random() < 0.1,
    }  # fmt: skip
