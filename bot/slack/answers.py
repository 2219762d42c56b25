"""What Slack's refusals say, also when their body is not the JSON it should be."""

from __future__ import annotations

from typing import Any

from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse

LOST = frozenset({"fatal_error", "internal_error", "service_unavailable", "request_timeout"})


def name_of(error: SlackApiError) -> str:
    """Give Slack's name for the error; empty when the answer could not be read."""
    answer: Any = error.response
    read = isinstance(answer, AsyncSlackResponse) and isinstance(answer.data, dict)
    return str(answer.get("error") or "") if read else ""


def status_of(error: SlackApiError) -> int:
    """Give the HTTP status; a body that is no JSON comes as aiohttp gave it."""
    answer: Any = error.response
    return int(getattr(answer, "status_code", 0) or getattr(answer, "status", 0))


def theirs(error: SlackApiError) -> bool:
    """Say whether Slack was in trouble rather than refusing us, so that trying again may help."""
    name, status = name_of(error), status_of(error)
    return not name or status >= 500 or status == 429 or name == "ratelimited" or name in LOST
