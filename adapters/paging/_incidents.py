"""What Lastgood does to incidents in PagerDuty: look, mark, note, tell, ask in, fill in. Nothing is repeated blindly."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, Protocol

import orjson

from adapters.paging._rest import Answer, Rest, Unanswered
from bot.domain import extract
from bot.errors import Unavailable
from bot.ports import Paged, Target, Written

WITHIN = 10.0  # seconds for an answer; nobody waits for these
LONGEST = 25_000  # characters of a note
USERS = 100  # users in an answer, PagerDuty's most
TOLD = 1_000  # characters of what is sent to people


class Breaks(Protocol):
    """A breaker, as the questions use it."""

    def wait(self) -> float:
        """Give for how many seconds nobody may ask."""

    def answered(self) -> None:
        """Note that it is there."""

    def failed(self) -> None:
        """Note that it is not."""


class Incidents:
    """`/incidents/{id}`: its state, notes, status updates, responder requests and custom fields, of the REST API v2.

    The API has no way to list status updates; whether log entries show them is not described. So what became of one
    that nobody answered cannot be found out.
    """

    _rest: Rest
    _writing: Breaks  # of its own: a pager that takes no notes may still say who is on call
    _sender: str
    _requester: str | None  # the id of the user behind `_sender`, once it is known
    _updates: bool
    _fields: Mapping[str, str]

    @property
    def writes(self) -> bool:
        """Say whether there is a token to look and write with."""
        return self._rest.has_token

    @property
    def updates(self) -> bool:
        """Say whether stakeholders are told, by `status_updates`."""
        return self._updates

    @property
    def fields(self) -> Mapping[str, str]:
        """Give the account's names of its custom fields by our facts, of `custom_fields`."""
        return self._fields

    async def look(self, incident: str) -> Paged | None:
        """Give how an incident stands and what its notes say, None when there is none of that name.

        Raises Unavailable when PagerDuty does not say.
        """
        found = await self._said(self._rest.get(f"/incidents/{incident}", {}))
        if found is None:
            return None
        status = extract.word(extract.inside(found, "incident", "status"))
        told = await self._said(self._rest.get(f"/incidents/{incident}/notes", {}))
        notes = extract.rows(extract.inside(told, "notes"))
        texts = tuple(extract.word(extract.inside(one, "content"), LONGEST) for one in notes)
        return Paged(status, texts, _asked(extract.inside(found, "incident")))

    async def mark(self, incident: str, status: str) -> None:
        """Acknowledge or resolve it. Raises Unavailable when nobody knows whether it was done."""
        body = {"incident": {"type": "incident_reference", "status": status}}
        await self._said(self._rest.send("PUT", f"/incidents/{incident}", body))

    async def note(self, incident: str, text: str) -> None:
        """Add a note. Raises Unavailable when nobody knows whether it was done."""
        await self._said(self._rest.send("POST", f"/incidents/{incident}/notes", {"note": {"content": text[:LONGEST]}}))

    async def update(self, incident: str, text: str) -> Written:
        """Send a status update to whoever subscribed to the incident. Raises Unavailable when nothing was sent."""
        return await self._written("POST", f"/incidents/{incident}/status_updates", {"message": text[:TOLD]})

    async def person(self, email: str) -> str | None:
        """Give the id of the user with this address, None when there is none. Raises Unavailable."""
        found = await self._said(self._rest.get("/users", {"query": email.strip(), "limit": USERS}))
        wanted = email.strip().casefold()
        users = extract.rows(extract.inside(found, "users"))  # the query also finds parts of names
        mine = [one for one in users if extract.word(extract.inside(one, "email")).strip().casefold() == wanted]
        return extract.word(extract.inside(mine[0], "id")) or None if mine else None

    async def ask(self, incident: str, target: Target, text: str) -> Written:
        """Send a responder request, as the user of `from`. Raises Unavailable when nothing was sent."""
        self._requester = self._requester or await self.person(self._sender)
        if self._requester is None:
            return Written("refused", "PagerDuty knows no user with the address of pagerduty.from")
        one = {"responder_request_target": {"id": target.id, "type": f"{target.kind}_reference"}}
        body = {"requester_id": self._requester, "message": text[:TOLD], "responder_request_targets": [one]}
        return await self._written("POST", f"/incidents/{incident}/responder_requests", body)

    async def fill(self, incident: str, values: Mapping[str, str]) -> Written:
        """Set custom fields by their names. Raises Unavailable when nothing was sent."""
        fields = [{"name": name, "value": value} for name, value in values.items()]
        return await self._written("PUT", f"/incidents/{incident}/custom_fields/values", {"custom_fields": fields})

    async def _written(self, method: str, path: str, body: Mapping[str, Any]) -> Written:
        """Send once and say what became of it. Raises Unavailable when PagerDuty did nothing, now."""
        try:
            answer = await self._answered(self._rest.send(method, path, body))
        except Unanswered as error:
            return Written("unknown", str(error))
        if answer.status >= 500 or answer.status == 408:
            self._writing.failed()
            return Written("unknown", f"PagerDuty answered {answer.status}")
        if answer.status == 429:
            raise Unavailable(_wait(answer))
        self._writing.answered()
        if answer.status < 300:
            return Written("done")
        why = f"PagerDuty answered {answer.status}: {_why(answer.body)}"
        if answer.status == 401:  # a token can be mended
            raise Unavailable(why)
        return Written("refused", why)

    async def _answered(self, asking: Coroutine[Any, Any, Answer]) -> Answer:
        """Give the answer, whatever its status. Raises Unanswered, or Unavailable when nothing was sent."""
        if wait := self._writing.wait():
            asking.close()
            message = f"PagerDuty failed several times in a row and is asked again in {wait:.0f} s"
            raise Unavailable(message)
        try:
            async with asyncio.timeout(WITHIN):
                return await asking
        except TimeoutError as error:
            self._writing.failed()
            message = f"PagerDuty did not answer within {WITHIN:g} s"
            raise Unanswered(message) from error
        except Unavailable:
            self._writing.failed()
            raise

    async def _said(self, asking: Coroutine[Any, Any, Answer]) -> Any:
        """Give what was answered, None for 404. Raises Unavailable for everything that is no answer, with when to ask again."""
        answer = await self._answered(asking)
        if answer.status == 429 or answer.status >= 500:
            if answer.status != 429:
                self._writing.failed()
            raise Unavailable(_wait(answer))
        self._writing.answered()
        if answer.status == 404:
            return None
        if answer.status >= 400:
            message = f"PagerDuty answered {answer.status}: {_why(answer.body)}"
            raise Unavailable(message)
        try:
            return orjson.loads(answer.body)
        except ValueError as error:
            raise Unavailable("PagerDuty's answer could not be read") from error


def _wait(answer: Answer) -> str:
    again = f"; it may be asked again in {answer.reset:g} s" if answer.reset is not None else ""
    return f"PagerDuty answered {answer.status}{again}"


def _asked(incident: Any) -> frozenset[str] | None:
    """Give the ids of those the incident is assigned to and of those asked in; None when it does not show whom it asked in."""
    if not isinstance(incident, dict) or not ({"responder_requests", "incidents_responders"} & incident.keys()):
        return None
    requests = extract.rows(extract.inside(incident, "responder_requests"))
    targets = [
        extract.inside(target, "responder_request_target") or target
        for one in requests
        for target in extract.rows(extract.inside(one, "responder_request_targets"))
    ]
    places = (incident, *targets)  # a policy that was asked in shows the people behind it
    asked = [one for place in places for one in extract.rows(extract.inside(place, "incidents_responders"))]
    responders = [extract.inside(one, "user") for one in asked]
    assigned = [extract.inside(one, "assignee") for one in extract.rows(extract.inside(incident, "assignments"))]
    ids = (extract.word(extract.inside(one, "id")) for one in (*targets, *responders, *assigned))
    return frozenset(one for one in ids if one)


def _why(body: bytes) -> str:
    """Give PagerDuty's own words for what is wrong."""
    try:
        said = extract.inside(orjson.loads(body), "error")
    except ValueError:
        return "no reason"
    details = extract.inside(said, "errors")
    words = [extract.inside(said, "message"), *(extract.rows(details))]
    return "; ".join(word for one in words if (word := extract.word(one, 200))) or "no reason"
