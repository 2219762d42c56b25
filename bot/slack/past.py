"""What a card tells of the past that the fold has let go: why there is a new plan, whose words there are, who was reminded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.domain import access
from bot.domain import entries as e


@dataclass(frozen=True, slots=True)
class Past:
    """The last of each within the present episode; a new claim, request or episode makes the ended plan old news."""

    ended: e.PlanVoided | e.PlanExpired | e.PlanEdited | None = None
    rejected: e.PlanRejected | None = None
    marked: e.MarkedRecovered | None = None
    closed: e.IncidentClosed | None = None
    snoozed: e.IncidentSnoozed | None = None
    handed: e.IncidentHandedOver | None = None
    glass: e.Recorded | None = None
    reviewed: e.ReviewDone | None = None
    plan: str = ""
    reminded: tuple[str, ...] = ()
    told: tuple[str, ...] = ()  # the roles told next, "" for the page
    distant: frozenset[str] = frozenset()  # who voted from a terminal

    @property
    def refs(self) -> tuple[str | None, ...]:
        """Give the references of the reasons people typed."""
        glass = self.glass.entry if self.glass else None
        typed = (self.rejected, self.marked, self.closed, self.snoozed, self.handed, self.reviewed, glass)
        return tuple(getattr(one, "text_ref", None) for one in typed if one is not None)

    @property
    def people(self) -> frozenset[str]:
        """Give whom card and thread name for what they did or were told here."""
        acts = (self.marked, self.snoozed, self.handed, self.reviewed, self.glass.entry if self.glass else None)
        told = (*self.reminded, *([self.handed.to] if self.handed else []))
        return frozenset([*told, *(str(getattr(one, "person", "")) for one in acts if one is not None)])

    @classmethod
    def of(cls, entries: Sequence[e.Recorded]) -> Past:
        """Read the timeline."""
        past = cls()
        for one in entries:
            past = past._then(one.entry, one)
        return past

    def _then(self, entry: e.Entry, row: e.Recorded) -> Past:
        match entry:
            case e.IncidentReopened():
                return Past(glass=self.glass, reviewed=self.reviewed)
            case e.PlanRequested():
                return Past(glass=self.glass, reviewed=self.reviewed, handed=self.handed)
            case e.PlanVoided() | e.PlanExpired() | e.PlanEdited():
                return replace(self, ended=entry)
            case e.RollbackClaimed() | e.PlanBlocked() | e.IncidentStuck():
                return replace(self, ended=None)
            case e.PlanMade():
                return replace(self, plan=entry.plan.id, reminded=(), told=(), distant=frozenset())
            case e.PolicyDecided() if self.snoozed and (entry.mode != "hold" or row.at >= self.snoozed.until):
                return replace(self, snoozed=None)
            case e.Reminded() if entry.plan == self.plan:
                return replace(self, reminded=tuple(dict.fromkeys([*self.reminded, *entry.people])))
            case e.PlanEscalated() if entry.plan == self.plan:
                people = tuple(dict.fromkeys([*self.reminded, *entry.people]))
                return replace(self, reminded=people, told=(*self.told, entry.role))
        return self._acted(entry, row)

    def _acted(self, entry: e.Entry, row: e.Recorded) -> Past:
        """Keep what a person did."""
        match entry:
            case e.ApprovalGiven() if entry.via == access.TERMINAL:
                return replace(self, distant=self.distant | {entry.person})
            case e.PlanRejected():
                return replace(self, rejected=entry)
            case e.MarkedRecovered():
                return replace(self, marked=entry)
            case e.IncidentClosed():
                return replace(self, closed=entry)
            case e.IncidentSnoozed():
                return replace(self, snoozed=entry)
            case e.IncidentHandedOver():
                return replace(self, handed=entry)
            case e.IncidentTaken():
                return replace(self, handed=None)
            case e.GlassBroken():
                return replace(self, glass=row, reviewed=None)
            case e.ReviewDone():
                return replace(self, reviewed=entry)
        return self
