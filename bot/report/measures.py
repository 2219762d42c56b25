"""How long an incident took, and whose time it was, from its timeline alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident, Phase, fold

WHOSE = {
    Phase.OPENED: "machine", Phase.PLANNED: "machine", Phase.WAITING: "people", Phase.CLEARED: "machine",
    Phase.ROLLING: "machine", Phase.APPLIED: "proof", Phase.MOVED: "proof", Phase.RECOVERED: "proof",
    Phase.NOTED: "people", Phase.STUCK: "people",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measure:
    """One number with its name and its definition; `value` is the word unknown with its reason when there is none."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, or the reason why there is none."""

    at: datetime | None
    otherwise: str = ""


@dataclass(frozen=True, slots=True)
class Stretch:
    """How long an incident stayed in one phase, and whose turn that was: people, machine or proof."""

    phase: Phase
    whose: str
    since: datetime
    until: datetime

    @property
    def length(self) -> timedelta:
        """Give its length; a clock that was set back makes none."""
        return max(timedelta(0), self.until - self.since)


def episode(entries: Sequence[e.Recorded]) -> Sequence[e.Recorded]:
    """Give the entries of the episode that runs now, or ran last."""
    return episodes(entries)[-1]


def episodes(entries: Sequence[e.Recorded]) -> list[Sequence[e.Recorded]]:
    """Cut a timeline where an incident opened again; what came after a closing belongs to what was closed."""
    starts = [0, *(at for at, one in enumerate(entries) if at and isinstance(one.entry, e.IncidentReopened))]
    return [entries[start:end] for start, end in zip(starts, [*starts[1:], len(entries)], strict=True)]


def stretches(entries: Sequence[e.Recorded]) -> list[Stretch]:
    """Give the phases of the last episode one after the other, up to its closing or its last entry."""
    found: list[Stretch] = []
    first = episode(entries)[0].version
    for phase, since, until, version in _phases(entries):
        if version >= first and phase in WHOSE and until > since:
            found.append(Stretch(phase, WHOSE[phase], since, until))
    return found


def _phases(entries: Sequence[e.Recorded]) -> Iterable[tuple[Phase, datetime, datetime, int]]:
    """Fold what changes phases; entries that commute never do, so a long timeline costs no more than a short one."""
    incident: Incident | None = None
    began, version = entries[0].at, entries[0].version
    for one in entries:
        if one.entry.commutes and incident is not None:
            continue
        before, incident = incident, fold([one], incident)
        if before is not None and before.phase is not incident.phase:
            yield before.phase, began, one.at, version
        if before is None or before.phase is not incident.phase:
            began, version = one.at, one.version
    if incident is not None:
        yield incident.phase, began, entries[-1].at, version


def began(entries: Sequence[e.Recorded]) -> Moment:
    """Give when the alerts of an episode say that it began."""
    alerts = getattr(entries[0].entry, "alerts", ())
    if not alerts:
        return Moment(None, "a person asked, so no alert says when it began")
    return Moment(min(alert.starts_at for alert in alerts))


def decided(entries: Sequence[e.Recorded]) -> Moment:
    """Give when people or policy settled what happens: the last quorum, rejection, or rule that acts alone."""
    found = Moment(None, "nobody decided")
    for one in entries:
        match one.entry:
            case e.PlanCleared() | e.PlanRejected() | e.PolicyDecided(mode="auto"):
                found = Moment(one.at)
            case e.PolicyDecided(mode="notify"):
                found = Moment(None, "policy asked nobody")
            case e.PolicyDecided():
                found = Moment(None, "nobody decided")
            case e.PlanBlocked():
                found = Moment(None, "there was no plan to decide about")
            case e.PlanExpired():
                found = Moment(None, "the plan expired")
            case e.PlanVoided() | e.PlanUncleared() | e.PlanRequested() | e.DecisionDue():
                found = Moment(None, "what was decided did not stand")
            case _:
                pass
    return found


def claimed(entries: Sequence[e.Recorded]) -> Moment:
    """Give when the rollback that stands began."""
    found = Moment(None, "no rollback began")
    for one in entries:
        if isinstance(one.entry, e.RollbackClaimed):
            found = Moment(one.at)
        elif isinstance(one.entry, e.RollbackReleased):
            found = Moment(None, "the rollback was let go before anything changed")
    return found


def moved(incident: Incident) -> Moment:
    """Give when traffic was proven to have moved."""
    if incident.moved_at is not None:
        return Moment(incident.moved_at)
    if incident.claim is None:
        return Moment(None, "no rollback began")
    verdict = incident.moved.verdict if incident.moved else "not_yet"
    return Moment(
        None, "nobody can tell whether traffic moved" if verdict == "cannot_tell" else "traffic was not proven to move"
    )


def recovered(entries: Sequence[e.Recorded]) -> Moment:
    """Give when recovery was proven and stayed so."""
    found = Moment(None, "recovery was not proven")
    for one in entries:
        match one.entry:
            case e.SliJudged(verdict="yes"):
                found = Moment(one.at)
            case e.SliJudged(verdict="cannot_tell"):
                found = Moment(None, "nobody could tell")
            case e.SliJudged():
                found = Moment(None, "it did not recover")
            case e.IncidentStuck() if found.at is not None:
                found = Moment(None, "it recovered and did not stay so")
            case e.MarkedRecovered():
                found = Moment(None, "a person marked it recovered, it was not proven")
            case _:
                pass
    return found


def between(start: Moment, end: Moment) -> str:
    """Write the time between two moments; a missing one gives its reason, and so does an end before its start."""
    if start.at is None or end.at is None:
        return words.unknown(start.otherwise if start.at is None else end.otherwise)
    if end.at < start.at:
        return words.unknown(f"the clocks disagree: the end lies {words.span(start.at - end.at)} before the start")
    return words.span(end.at - start.at)


def spent(parts: Sequence[Stretch], whose: Iterable[str], until: datetime | None) -> timedelta:
    """Add up whose time it was, up to a moment."""
    kinds, total = set(whose), timedelta(0)
    for part in parts:
        if part.whose in kinds and (until is None or part.since < until):
            end = part.until if until is None else min(part.until, until)
            total += max(timedelta(0), end - part.since)
    return total


def measures(incident: Incident, entries: Sequence[e.Recorded]) -> list[Measure]:
    """Give M1, M3, M4, M5, M7 and M8 of the last episode, as far as the timeline holds them."""
    rows, parts = episode(entries), stretches(entries)
    start, well = Moment(rows[0].at), recovered(rows)
    end = "recovery" if well.at else ("closing" if incident.closed_at else "the last entry")
    people, machine = (words.span(spent(parts, kinds, well.at)) for kinds in (["people"], ["machine", "proof"]))
    return [
        Measure("Time to detect", between(began(rows), start), "from the moment the alert says it began to its arrival"),
        Measure("Time to decide", between(start, decided(rows)), "from the arrival to the quorum, the rejection, or the rule that acts alone"),
        Measure("People's time", people, f"waiting for approval or for a person's turn, from the arrival to {end}"),
        Measure("Lastgood's time", machine, f"planning, checking, moving and proving, from the arrival to {end}"),
        Measure("Rollback", between(claimed(rows), moved(incident)), "from the claim to the proof that traffic moved"),
        Measure("Alert to traffic moved", between(start, moved(incident)), "from the arrival to the proof that traffic moved"),
        Measure("Alert to recovered", between(start, well), "from the arrival to the third verdict, if it stayed yes"),
        Measure("Traffic rolled back", _share(incident), "share of the requests counted after the move that the bad version did not get"),
        Measure("Service afterwards", afterwards(incident), "the last round of SLI samples after the move, against its objective"),
        Measure("Grade", _grade(incident), "failures before anything moved and in the last look, with an interval where requests were counted"),
        Measure("Entries that follow", _followed(entries), "entries whose link is the digest of the entry before them"),
    ]  # fmt: skip


def _grade(incident: Incident) -> str:
    """Say whether the rollback helped."""
    if incident.grade is not None:
        return incident.grade.grade
    if incident.claim is None:
        return words.unknown("no rollback began")
    return words.unknown("it was not graded" if incident.closed else "the rollback is not over")


def afterwards(incident: Incident) -> str:
    """Give the last SLI samples taken after traffic moved."""
    if incident.moved_at is None:
        return words.unknown("traffic was not proven to move")
    if not incident.samples:
        return words.unknown("no sample was taken")
    return incident.samples[-1][1].sentence() or words.unknown("no SLI is configured")


def _share(incident: Incident) -> str:
    look = incident.moved.verification if incident.moved else None
    if look is None or incident.plan is None:
        return words.unknown("traffic was not measured")
    total, bad = sum(look.samples.values()), look.samples.get(incident.plan.from_version, 0)
    if total == 0:
        return words.unknown("no request was counted")
    return f"{words.percent(1 - bad / total)} of {words.count(total)} requests"


def _followed(entries: Sequence[e.Recorded]) -> str:
    """Count links, so that a hole shows; the digests themselves are checked by `lastgood timeline verify`."""
    good = 1 + sum(two.prev == one.digest and two.version == one.version + 1 for one, two in pairwise(entries))
    return f"{words.count(good)} of {words.count(len(entries))}"
