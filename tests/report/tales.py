"""Timelines of every shape an incident can end in, linked like the real ones, and a writer of their postmortems."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot.clock import START
from bot.domain import entries as e
from bot.domain.incident import Incident, fold
from bot.domain.plan import Candidate
from bot.domain.sli import Measurement, SliSample
from bot.domain.traffic import Reading, Verification
from bot.ports import Document
from bot.report.postmortem import Postmortems
from tests.slack import stories as s

SAID = {"why": "42 is fine, the feed is late"}
TEN = timedelta(seconds=10)
ANA, PRIYA, MIKA = "U0ANA", "U0PRIYA", "U0MIKA"


def told(entries: Sequence[e.Entry], every: timedelta = TEN, start: datetime = START) -> list[e.Recorded]:
    rows: list[e.Recorded] = []
    for version, entry in enumerate(entries, 1):
        epoch, prev = (rows[-1].epoch if entry.commutes else version, rows[-1].digest) if rows else (1, "")
        digest = hashlib.sha256(f"{prev}{version}".encode()).hexdigest()
        at = start + (version - 1) * every
        rows.append(e.Recorded(version, s.STREAM, version, epoch, at, entry, prev, digest))
    return rows


def ended(rows: Sequence[e.Recorded]) -> Incident:
    return fold(rows)


def name(user: str) -> str:
    return s.NAMES.get(user, user)


async def said(refs: Sequence[str]) -> dict[str, str]:
    return {ref: SAID[ref] for ref in refs if ref in SAID}


async def written(
    entries: Sequence[e.Entry], folder: Path = Path("nowhere"), template: str = "postmortem.md.j2"
) -> Document:
    rows = told(entries)
    return await Postmortems(folder, name, said).postmortem(fold(rows), rows, template)


def reading(seconds: int, bad: int, good: int, epoch: str = "1") -> Reading:
    return Reading(at=START + timedelta(seconds=seconds), requests={"42": bad, "41": good}, epoch=epoch)


def look(seconds: int, bad: int, good: int, seen: dict[str, int]) -> Verification:
    return Verification(
        control_plane="converged", data_plane="moved", samples=seen, upper_bound_bad=0.001, detail="42 gets 0 of 1,696 requests.",
        reading=reading(seconds, bad, good),
    )  # fmt: skip


def sample(value: float | None, requests: float | None = 2120, verdict: str = "good") -> e.SliSampled:
    sentence = (
        "error ratio unknown (no answer)." if value is None else f"error ratio {value:.3f} of {requests} requests."
    )
    measured = Measurement(at=START, value=value, requests=requests, reason="" if value is not None else "no answer")
    given: dict[str, Any] = {
        "sli": "error_ratio", "verdict": verdict, "measurement": measured, "objective": 0.01, "good": "below",
        "sentence": sentence,
    }  # fmt: skip
    return e.SliSampled(samples=(SliSample.model_validate(given),))


CHECKS = (
    e.Check(ok=True, name="account active"),
    e.Check(ok=False, name="not a guest", detail="Guests cannot approve."),
)
TRACE = (
    e.Check(ok=False, name="rule fast-burn", detail="fraud-scorer does not match ranker-*"),
    e.Check(ok=None, name="rule unsure", detail="burn_rate is unknown"),
    e.Check(ok=True, name="rule prod-tier1", detail="tier == 1"),
)
REFUSED = e.ApprovalRefused(
    person=MIKA, plan=s.PLAN.short, action="approve", reason="guest", text="Guests cannot approve. <@U0ANA> can. Nothing was changed.",
    checks=CHECKS, via="slack",
)  # fmt: skip
MADE = e.PlanMade(plan=s.PLAN, candidates=(Candidate(version="41", chosen=True, reason="served 6 d without an alert"),))


def asked(mode: e.Mode = "approve", samples: float | None = 93_000) -> e.PolicyDecided:
    decided = s.decided(mode)
    assert isinstance(decided, e.PolicyDecided)
    return decided.but(trace=TRACE, facts={"samples": samples, "value": 0.124})


CLAIM = s.CLAIM.but(checks=(e.Check(ok=True, name="<@U0ANA> still counts as on-call SRE"),))
STARTED = s.STARTED.but(baseline=reading(60, 93_200, 0))
APPLIED = s.APPLIED[-1]
MOVED = e.TrafficVerified(
    step="route", verdict="yes", reason="Traffic moved: 42 gets 0 of 1,696 requests.", verification=look(80, 93_211, 1_696, {"42": 0, "41": 1_696}),
)  # fmt: skip
CANNOT = e.TrafficVerified(step="route", verdict="cannot_tell", reason="Cannot tell whether traffic moved: no request.")
RECOVERED = e.IncidentClosed(outcome="recovered", reason="Recovered: fraud-scorer is on 41. 42 is quarantined.")
GOOD = (sample(0.003), sample(0.004), sample(0.003))
OPEN = (s.opened(), MADE, asked())
VOTED = (*OPEN, REFUSED, REFUSED, s.ANA.but(checks=CHECKS[:1]), s.PRIYA, s.CLEARED[-1])
ROLLED = (*VOTED, CLAIM, STARTED, APPLIED, MOVED)
WELL = (*ROLLED, *GOOD, s.WELL, RECOVERED, e.PostmortemDrafted(template="postmortem.md.j2"))
REJECTED = e.PlanRejected(person=PRIYA, plan=s.PLAN.id, text_ref="why", via="slack")
EXPIRED = e.PlanExpired(plan=s.PLAN.id, reason="Plan ended with 0 of 2 approvals; missing: model owner.")
ASKED_FOR = e.IncidentOpened(model="fraud-scorer", environment="prod", tier=1, requester=MIKA, wanted="41")
BACK = e.StepStarted(step="route", attempt=2, owner="x", deadline=START, goal=s.split(100), compensating=True)
STAYS = e.IncidentStuck(reason="Step route failed: Envoy refused.", by_hand=("curl -X POST 'http://10.0.3.7/`x`|y'",))

TALES: dict[str, Sequence[e.Entry]] = {
    "recovered": WELL,
    "recovered alone": (
        s.opened(), MADE, asked("auto"), CLAIM.but(people=()), STARTED, APPLIED, MOVED, *GOOD, s.WELL, RECOVERED,
    ),
    "recovered by itself": (*OPEN, e.IncidentClosed(outcome="recovered_by_itself", reason="Recovered by itself: every alert ended. Nothing was changed.")),
    "rejected": (*OPEN, s.ANA, REJECTED),
    "expired": (*(one for _ in range(3) for one in (MADE, asked(), EXPIRED)),),
    "blocked": (s.opened(), e.PlanBlocked(reason="No version served before 42.", mend="Set last_good in the config.")),
    "stuck": (*VOTED, CLAIM, STARTED, s.FAILED, STAYS),
    "put back": (*VOTED, CLAIM, STARTED, s.FAILED, BACK, e.StepCompensated(step="route"), STAYS),
    "cannot tell whether it moved": (*VOTED, CLAIM, STARTED, APPLIED, CANNOT),
    "cannot tell": (*ROLLED, s.UNSURE),
    "not recovered": (*ROLLED, sample(0.2, verdict="breached"), s.ILL),
    "did not stay recovered": (*ROLLED, *GOOD, s.WELL, e.IncidentStuck(reason="It was recovered and is not any more.")),
    "marked recovered": (*ROLLED, s.UNSURE, e.MarkedRecovered(person=ANA, text_ref="why"), RECOVERED.but(outcome="marked_recovered")),
    "gave up": (*VOTED, CLAIM, STARTED, s.FAILED, STAYS, e.IncidentClosed(outcome="gave_up", reason="<@U0ANA> closed it: gave up.", person=ANA, text_ref="gone")),
    "noted": (s.opened(), MADE, asked("notify")),
    "asked for": (ASKED_FOR, MADE, asked(), s.PRIYA),
    "voided and planned again": (*OPEN, e.PlanVoided(plan=s.PLAN.id, reason="43 was deployed."), *OPEN[1:], s.ANA, s.PRIYA, s.CLEARED[-1]),
    "back again": (*WELL, e.IncidentReopened(alerts=(s.alert(starts_at=START + timedelta(minutes=4)),), episode=2), MADE, asked(), REJECTED),
    "opened": (s.opened(),),
}  # fmt: skip
TALES["expired"] = (s.opened(), *TALES["expired"])
