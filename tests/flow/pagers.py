"""A pager in memory, and an alert that it brought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bot.domain.alert import Alert
from bot.errors import Unavailable
from bot.ports import Paged, Target, Written

PAGED = Alert.model_validate({
    "source": "pagerduty", "fingerprint": "pagerduty:Q1", "status": "firing", "model": "fraud-scorer", "environment": "prod",
    "starts_at": "2026-11-23T02:08:00Z", "extra": {"incident_id": "Q1"},
})  # fmt: skip


class Desk:
    """A pager's incidents. Each fault meets the next call.

    `no` is not done and said to be so, `lost` is done and not answered, `void` is not done and not answered.
    """

    def __init__(self, faults: Sequence[str] = ()) -> None:
        self.faults, self.status, self.notes = list(faults), "triggered", list[str]()
        self.calls: list[str] = []
        self.gone, self.pages, self.writes = False, False, True
        self.open: dict[str, str] = {}
        self.changes: list[str] = []
        self.updates = False
        self.fields: dict[str, str] = {}
        self.told: list[str] = []
        self.people = {"ines@acme.example": "PINES"}
        self.asked: list[str] = []
        self.shows_asked = True
        self.values: dict[str, str] = {}
        self.refuses: dict[str, str] = {}  # why, by what: update, ask, or the name of a field

    async def page(self, key: str, summary: str, severity: str, details: Mapping[str, str]) -> None:
        assert severity in ("critical", "error", "warning", "info")
        self._call("page", lambda: self.open.update({key: summary}))

    async def quiet(self, key: str) -> None:
        self._call("quiet", lambda: self.open.pop(key))

    async def change(self, summary: str, at: datetime, details: Mapping[str, str]) -> None:
        self._call("change", lambda: self.changes.append(summary))

    async def look(self, incident: str) -> Paged | None:
        self._call("look", lambda: None)
        asked = frozenset(self.asked) if self.shows_asked else None
        return None if self.gone else Paged(self.status, tuple(self.notes), asked)

    async def mark(self, incident: str, status: str) -> None:
        assert self.status != "resolved", "PagerDuty refuses this"
        self._call(status, lambda: setattr(self, "status", status))

    async def note(self, incident: str, text: str) -> None:
        self._call("note", lambda: self.notes.append(text))

    async def update(self, incident: str, text: str) -> Written:
        return self._send("update", lambda: self.told.append(text), self.refuses.get("update", ""))

    async def person(self, email: str) -> str | None:
        self._call("person", lambda: None)
        return self.people.get(email)

    async def ask(self, incident: str, target: Target, text: str) -> Written:
        return self._send("ask", lambda: self.asked.append(target.id), self.refuses.get("ask", ""))

    async def fill(self, incident: str, values: Mapping[str, str]) -> Written:
        odd = [why for name, why in self.refuses.items() if name in values]
        return self._send("fill", lambda: self.values.update(values), "; ".join(odd))

    def _call(self, what: str, done: Any) -> None:
        if self._send(what, done).state != "done":
            raise Unavailable("PagerDuty did not answer")

    def _send(self, what: str, done: Any, refusal: str = "") -> Written:
        self.calls.append(what)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "no":
            raise Unavailable("PagerDuty asks us to wait")
        if refusal:
            return Written("refused", refusal)
        if fault != "void":
            done()
        return Written("unknown", "PagerDuty did not answer") if fault else Written("done")
