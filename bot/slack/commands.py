"""`/rollback`: what was typed, as a request. Everything after `because` is the reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

HELP = """*/rollback list*  open incidents
*/rollback status 7Q4RD*  one incident
*/rollback who 7Q4RD*  who could approve it now, who could not, and why
*/rollback why 7Q4RD*  which rule decided what, with every check
*/rollback approve 7Q4RD*  what would be approved, and the line that does it
*/rollback approve 7Q4RD 7f3a9c2e*  approve this plan, as long as it is the current one
*/rollback reject 7Q4RD because …*
*/rollback snooze 7Q4RD 2h because …*  nobody is asked until then
*/rollback MODEL*  propose going back to the last good version
*/rollback MODEL ENVIRONMENT to VERSION*  propose a version by name
*/rollback autopilot*  whether Lastgood may act alone  ·  *autopilot off MODEL because …*
*/rollback lend ROLE @person 8h because …*  ·  */rollback return ROLE @person*
*/rollback trust MODEL RULE auto because …*  move a rule on the trust ladder
*/rollback login CODE*  let a terminal act for you
You are the requester of what you propose, so somebody else approves it."""
Verb = Literal[
    "help", "list", "status", "who", "why", "approve", "reject", "snooze", "autopilot", "lend", "return", "trust", "login",
    "propose", "unclear",
]  # fmt: skip
_WORD = re.compile(r"^[^\s`<>&]{1,100}$")
_MENTION = re.compile(r"^<@([UW][A-Z0-9]{1,30})(?:\|[^<>]*)?>$")
_NAMED = re.compile(r"<[@#][A-Z0-9]+\|([^<>]*)>")
_SPAN = re.compile(r"^[0-9]{1,6}[smhd](?:[0-9]{1,6}[smh]){0,3}$")
_PLAN = re.compile(r"^[0-9a-f]{8}(?:[0-9a-f]{56})?$")
_BECAUSE = re.compile(r"(?:^|\s)because(?:\s|$)", re.IGNORECASE)
ABOUT = ("status", "who", "why", "approve", "reject", "snooze")  # verbs whose name is an incident's id
RUNGS = ("notify", "approve", "auto")
MOST = 1000  # characters of a reason


@dataclass(frozen=True, slots=True)
class Command:
    """What was asked. `name` is an incident's id, a model or a role; `asked` what else an order needs; `request` the proof."""

    verb: Verb
    name: str = ""
    environment: str | None = None
    version: str | None = None
    asked: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    request: Mapping[str, str] = field(default_factory=dict)


UNCLEAR = Command("unclear")


def parse(text: str) -> Command:
    """Read the words after `/rollback`."""
    said, reason = _split(text)
    words = said.split()
    if not words or words[0].lower() == "help":
        return Command("help")
    read = _VERBS.get(words[0].lower())
    if read is not None:
        return read(words[1:], reason) or UNCLEAR
    return _propose(words, reason)


def _split(text: str) -> tuple[str, str]:
    """Part what is asked from why; mentions in a reason become the names they showed."""
    found = _BECAUSE.search(text)
    if found is None:
        return text, ""
    reason = _NAMED.sub(r"@\1", text[found.end() :].strip())
    for token, sign in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        reason = reason.replace(token, sign)
    return text[: found.start()], reason[:MOST]


def _plain(words: list[str]) -> bool:
    return all(_WORD.match(word) for word in words)


def _list(words: list[str], reason: str) -> Command | None:
    return Command("list") if not words and not reason else None


def _about(verb: Verb, *, needs: bool = True) -> Callable[[list[str], str], Command | None]:
    """Read one incident's id; with `needs` it must be there."""

    def read(words: list[str], reason: str) -> Command | None:
        fits = len(words) == 1 if needs else len(words) <= 1
        return Command(verb, words[0] if words else "", reason=reason) if fits and _plain(words) else None

    return read


def _approve(words: list[str], reason: str) -> Command | None:
    """Read `ID [PLAN]`, the plan by the first eight characters of its hash or by all."""
    plan = words[1].lower() if len(words) == 2 else ""
    if len(words) not in (1, 2) or not _plain(words) or (len(words) == 2 and not _PLAN.match(plan)):
        return None
    return Command("approve", words[0], asked={"plan": plan} if plan else {}, reason=reason)


def _snooze(words: list[str], reason: str) -> Command | None:
    if len(words) != 2 or not _plain(words) or not _SPAN.match(words[1]):
        return None
    return Command("snooze", words[0], asked={"until": words[1]}, reason=reason)


def _autopilot(words: list[str], reason: str) -> Command | None:
    if not words:
        return Command("autopilot")
    way = words[0].lower()
    if way not in ("on", "off") or len(words) > 2 or not _plain(words):
        return None
    return Command("autopilot", words[1] if len(words) == 2 else "", asked={"way": way}, reason=reason)


def _lend(words: list[str], reason: str) -> Command | None:
    who = _MENTION.match(words[1]) if len(words) == 3 else None
    if who is None or not _plain(words[:1]) or not _SPAN.match(words[2]):
        return None
    return Command("lend", words[0], asked={"to": who[1], "until": words[2]}, reason=reason)


def _return(words: list[str], reason: str) -> Command | None:
    who = _MENTION.match(words[1]) if len(words) == 2 else None
    return Command("return", words[0], asked={"to": who[1]}, reason=reason) if who and _plain(words[:1]) else None


def _trust(words: list[str], reason: str) -> Command | None:
    """Read `MODEL [ENVIRONMENT] RULE RUNG`."""
    if len(words) not in (3, 4) or not _plain(words) or words[-1].lower() not in RUNGS:
        return None
    place = words[1] if len(words) == 4 else None
    return Command("trust", words[0], place, asked={"rule": words[-2], "rung": words[-1].lower()}, reason=reason)


def _propose(words: list[str], reason: str) -> Command:
    if not _plain(words):
        return UNCLEAR
    version = None
    if len(words) >= 3 and words[-2].lower() == "to":
        words, version = words[:-2], words[-1]
    if len(words) > 2:
        return UNCLEAR
    return Command("propose", words[0], words[1] if len(words) == 2 else None, version, reason=reason)


_VERBS: Mapping[str, Callable[[list[str], str], Command | None]] = {
    "list": _list, "status": _about("status", needs=False), "who": _about("who"), "why": _about("why"),
    "approve": _approve, "reject": _about("reject"), "snooze": _snooze, "autopilot": _autopilot, "lend": _lend,
    "return": _return, "trust": _trust, "login": _about("login"),
}  # fmt: skip
