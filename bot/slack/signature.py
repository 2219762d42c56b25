"""Slack's request signature, checked on raw bytes before anything reads them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

WINDOW = 300  # seconds


def genuine(secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    """Say whether Slack signed this within five minutes; every malformed header is a no.

    Source: Slack, "Verifying requests from Slack": v0 = HMAC-SHA256 over `v0:{timestamp}:{raw body}`.
    """
    stamp, given = headers.get("X-Slack-Request-Timestamp", ""), headers.get("X-Slack-Signature", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 16) or abs(now.timestamp() - int(stamp)) > WINDOW:
        return False
    wanted = "v0=" + hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))


class Replays:
    """Remembers what was signed as long as it could be sent again: a signature is good for one request."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._until: dict[str, float] = {}  # signature -> when its time is over, oldest first

    def first(self, signature: str, now: datetime) -> bool:
        """Say whether this signature comes for the first time."""
        at = now.timestamp()
        while self._until and next(iter(self._until.values())) < at:
            del self._until[next(iter(self._until))]
        if signature in self._until:
            return False
        self._until[signature] = at + 2 * WINDOW  # one that is early by the whole window is good for twice as long
        return True
