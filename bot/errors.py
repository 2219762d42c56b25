"""Everything Lastgood raises on purpose.

LastgoodError
├── ConfigError
├── SourceError
│   ├── SignatureInvalid
│   ├── NotAllowed
│   └── PayloadInvalid
│       └── NotJson
├── Denied
│   ├── RoleMissing
│   ├── AlreadyVoted
│   ├── OwnChange
│   ├── Expired
│   ├── Stale
│   └── Guest
├── Conflict
│   ├── RequestTaken
│   └── AlertEnded
├── AdapterError
│   ├── Unavailable
│   ├── RateLimited
│   ├── Unauthorized
│   ├── Blocked
│   ├── NotFound
│   └── TokenMoved
├── PublishError
│   ├── Indeterminate
│   ├── Gone
│   └── Unpublishable
├── TemplateBroken
└── TimelineError
    ├── ReadOnly
    └── Tampered

A room may refine a leaf for its own use; outside of it the leaf is enough. The first line of a class's docstring is its message when none is given.
An AdapterError is raised before anything was sent; afterwards the answer is a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar


class LastgoodError(Exception):
    """Lastgood could not do what was asked."""

    retryable: ClassVar[bool] = False
    reason: ClassVar[str] = "error"

    def __init__(self, message: str | None = None) -> None:
        """Say `message`, or the first line of the class's docstring."""
        super().__init__(message or (self.__doc__ or "").strip().split("\n", 1)[0])


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration: what, where and how to mend it. Lines and columns count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    key: str
    message: str
    hint: str = ""
    level: str = "problem"  # or "warning", which never stops a start


class ConfigError(LastgoodError):
    """The configuration has problems; nothing was started."""

    reason = "config"

    def __init__(self, problems: list[Problem]) -> None:
        """Carry every problem found, never only the first."""
        self.problems = problems
        super().__init__("; ".join(f"{p.file}:{p.line}:{p.column} {p.key}: {p.message}" for p in problems) or None)


class SourceError(LastgoodError):
    """An alert source sent something that cannot be taken."""

    reason = "source"


class SignatureInvalid(SourceError):
    """The request does not prove who sent it."""

    reason = "signature"


class NotAllowed(SourceError):
    """The message names an address or a topic that this source may not use."""

    reason = "not_allowed"


class PayloadInvalid(SourceError):
    """The body does not have the shape this source sends."""

    reason = "payload"
    status: ClassVar[int] = 400  # of the answer


class NotJson(PayloadInvalid):
    """The body is not JSON in UTF-8."""

    reason = "bad_json"


class Denied(LastgoodError):
    """You may not do this. Nothing was changed."""

    reason = "denied"


class RoleMissing(Denied):
    """None of the roles this plan still needs is yours. Nothing was changed."""

    reason = "role_missing"


class AlreadyVoted(Denied):
    """You approved this plan already. Nothing was changed."""

    reason = "already_voted"


class OwnChange(Denied):
    """You asked for this change, so somebody else must approve. Nothing was changed."""

    reason = "own_change"


class Expired(Denied):
    """This plan has ended. Nothing was changed."""

    reason = "expired"


class Stale(Denied):
    """The card you pressed shows a plan that is no longer current. Nothing was changed."""

    reason = "stale"


class Guest(Denied):
    """Only active members of this workspace can approve. Nothing was changed."""

    reason = "guest"


class Conflict(LastgoodError):
    """The stream moved on; fold again."""

    retryable = True
    reason = "conflict"


class RequestTaken(Conflict):
    """This stored request was looked at already."""

    reason = "request_taken"


class AlertEnded(Conflict):
    """An alert is said to fire whose occurrence has ended, or has given way to a newer one."""

    reason = "alert_ended"

    def __init__(self, occurrences: Iterable[tuple[str, datetime]]) -> None:
        """`occurrences` are the fingerprints and starts in question."""
        self.occurrences = frozenset(occurrences)
        super().__init__()


class AdapterError(LastgoodError):
    """A foreign system could not be used; nothing was sent."""

    reason = "adapter"


class Unavailable(AdapterError):
    """The system does not answer."""

    retryable = True
    reason = "unavailable"


class RateLimited(AdapterError):
    """The system asks us to wait."""

    retryable = True
    reason = "rate_limited"

    def __init__(self, message: str | None = None, *, retry_after: float = 1.0) -> None:
        """`retry_after` is in seconds."""
        self.retry_after = retry_after
        super().__init__(message)


class Unauthorized(AdapterError):
    """The system refuses our credentials."""

    reason = "unauthorized"


class Blocked(AdapterError):
    """Something stands in the way and names what would clear it."""

    reason = "blocked"


class NotFound(AdapterError):
    """The system does not know this name."""

    reason = "not_found"


class TokenMoved(AdapterError):
    """The target changed since it was read."""

    reason = "token_moved"


class PublishError(LastgoodError):
    """A message could not be shown."""

    reason = "publish"


class Indeterminate(PublishError):
    """The message was sent and the answer was lost; look before sending again."""

    retryable = True
    reason = "indeterminate"


class Gone(PublishError):
    """The message was deleted by somebody; post it anew."""

    retryable = True
    reason = "gone"


class Unpublishable(PublishError):
    """The place refuses this message for a reason that trying again does not change."""

    reason = "unpublishable"


class TemplateBroken(LastgoodError):
    """A template could not be used."""

    reason = "template"


class TimelineError(LastgoodError):
    """The timeline could not be read or written."""

    reason = "timeline"


class ReadOnly(TimelineError):
    """The timeline cannot be written. No record, no rollback."""

    reason = "read_only"


class Tampered(TimelineError):
    """The timeline was changed after it was written."""

    reason = "tampered"
