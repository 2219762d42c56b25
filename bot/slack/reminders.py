"""The direct message that reminds one person of one plan. It carries no approve button: the vote belongs beside the facts."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from bot.domain import access, words
from bot.domain.incident import Incident
from bot.ports import Message
from bot.slack.facts import Facts
from bot.slack.lead import number_of
from bot.slack.text import escape, sentence

PREFIX = "remind."
_KEY = re.compile(r"\.remind\.[0-9a-f]{8}\.([UW][A-Z0-9]+)$")


def person_of(key: str) -> str | None:
    """Give whom a message's key addresses, None when it is for the channel."""
    found = _KEY.search(key)
    return found[1] if found else None


def reminder(incident: Incident, user: str, facts: Facts) -> dict[str, Any]:
    """Say what waits for this person, since when it is bad, who has approved and until when."""
    decision, plan = incident.decision, incident.plan
    if decision is None or plan is None:
        raise ValueError("only a decided plan is waited for")
    places = [
        role for role in access.open_places(decision.require, incident.votes) if user in facts.could.get(role, ())
    ]
    role = f" as {escape(words.listed(list(dict.fromkeys(places)), 'or'))}" if places else ""
    who = words.listed([facts.name(vote.person) for vote in incident.votes])
    until = f" It expires {words.moment(decision.expires_at)}." if decision.expires_at else ""
    change = escape(words.change(plan.from_version, plan.to_version))
    asked = (
        f"waits for *your* approval{role}: {change}." if places else f"waits for approval: {change}. You are told next."
    )
    lines = [
        f"{escape(incident.model)} {asked}",
        f"{number_of(incident)}{f'{escape(who)} approved.' if who else 'Nobody has approved yet.'}{sentence(until)}",
    ]
    text = " ".join(line.strip() for line in lines if line.strip())
    return {
        "text": text,
        "blocks": [
            {"type": "section", "block_id": f"{incident.short}.remind", "text": {"type": "mrkdwn", "text": text}}
        ],
    }


def with_link(message: Message, link: str) -> Message:
    """Add the way to the card, when there is one."""
    if not link:
        return message
    button = {
        "type": "button", "action_id": "open_card", "url": link, "text": {"type": "plain_text", "text": "Open the card"},
        "accessibility_label": "Open the card in the incident channel",
    }  # fmt: skip
    blocks = [*message.payload["blocks"], {"type": "actions", "block_id": "open", "elements": [button]}]
    return replace(message, payload={**message.payload, "blocks": blocks})
