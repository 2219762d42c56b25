"""What Lastgood does to incidents in PagerDuty: look, acknowledge, resolve, note. Nothing is repeated blindly."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import orjson

from adapters.paging._rest import Answer, Rest
from bot.domain import extract
from bot.errors import Unavailable
from bot.ports import Paged

WITHIN = 10.0  # seconds for an answer; nobody waits for these
LONGEST = 25_000  # characters of a note


class Breaks(Protocol):
    """A breaker, as the questions use it."""

    def wait(self) -> float:
        """Give for how many seconds nobody may ask."""

    def answered(self) -> None:
        """Note that it is there."""

    def failed(self) -> None:
        """Note that it is not."""


class Incidents:
    """`GET` and `PUT /incidents/{id}` and its notes, of the REST API v2."""

    _rest: Rest
    _writing: Breaks  # of its own: a pager that takes no notes may still say who is on call

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
        return Paged(status, tuple(extract.word(extract.inside(one, "content"), LONGEST) for one in notes))

    async def mark(self, incident: str, status: str) -> None:
        """Acknowledge or resolve it. Raises Unavailable when nobody knows whether it was done."""
        body = {"incident": {"type": "incident_reference", "status": status}}
        await self._said(self._rest.send("PUT", f"/incidents/{incident}", body))

    async def note(self, incident: str, text: str) -> None:
        """Add a note. Raises Unavailable when nobody knows whether it was done."""
        await self._said(self._rest.send("POST", f"/incidents/{incident}/notes", {"note": {"content": text[:LONGEST]}}))

    async def _said(self, asking: Any) -> Any:
        """Give what was answered, None for 404. Raises Unavailable for everything that is no answer, with when to ask again."""
        if wait := self._writing.wait():
            asking.close()
            message = f"PagerDuty failed several times in a row and is asked again in {wait:.0f} s"
            raise Unavailable(message)
        try:
            async with asyncio.timeout(WITHIN):
                answer: Answer = await asking
        except TimeoutError as error:
            self._writing.failed()
            message = f"PagerDuty did not answer within {WITHIN:g} s"
            raise Unavailable(message) from error
        except Unavailable:
            self._writing.failed()
            raise
        if answer.status == 429 or answer.status >= 500:
            if answer.status != 429:
                self._writing.failed()
            again = f"; it may be asked again in {answer.reset:g} s" if answer.reset is not None else ""
            message = f"PagerDuty answered {answer.status}{again}"
            raise Unavailable(message)
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


def _why(body: bytes) -> str:
    """Give PagerDuty's own word for what is wrong."""
    try:
        return extract.word(extract.inside(orjson.loads(body), "error", "message"), 200) or "no reason"
    except ValueError:
        return "no reason"
