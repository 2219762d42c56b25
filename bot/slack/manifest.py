"""The Slack app manifest: the least this bot needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import yaml

SCOPES: Mapping[str, str] = MappingProxyType(
    {  # each scope, and what does not work without it
        "channels:history": "a post whose answer was lost is not found again, so it may stand twice",
        "chat:write": "no card, no thread and no answer is posted",
        "commands": "`/rollback` does nothing",
        "files:write": "no postmortem is put into the thread",
        "groups:history": "a post in a private channel whose answer was lost is not found again, so it may stand twice",
        "im:history": "a direct message whose answer was lost is not found again, so it may come twice",
        "im:write": "nobody is reminded by a direct message",
        "usergroups:read": "nobody holds a role by a user group",
        "users:read": "no account and no app can be confirmed, so no press counts",
        "users:read.email": "nobody on call in PagerDuty and nobody behind the company sign-in is found in Slack",
    }
)
ALWAYS = frozenset(["identify"])  # Slack adds it by itself to the tokens of older apps; it reads nothing


@dataclass(frozen=True, slots=True)
class Granted:
    """What a token may do beside what the manifest asks for."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]


def held_to(scopes: str) -> Granted:
    """Compare the scopes of a token, as Slack's header `x-oauth-scopes` lists them, with the manifest's."""
    given = {one.strip() for one in scopes.split(",")} - {""}
    return Granted(tuple(sorted(SCOPES.keys() - given)), tuple(sorted(given - SCOPES.keys() - ALWAYS)))


def manifest(request_url: str | None, *, socket_mode: bool) -> str:
    """Give the manifest as YAML. `request_url` is the bot's public address; Socket Mode needs none."""
    url = f"{request_url.rstrip('/')}/slack/events" if request_url else None
    command: dict[str, Any] = {
        "command": "/rollback",
        "description": "Put a model back to its last good version",
        "usage_hint": "MODEL [ENV] [to VERSION] | list | status | help",
        "should_escape": True,
    }
    interactivity: dict[str, Any] = {"is_enabled": True}
    if url:
        command["url"] = url
        interactivity["request_url"] = url
    content = {
        "display_information": {"name": "Lastgood", "description": "Puts a model back to its last good version, and proves it."},
        "features": {"bot_user": {"display_name": "Lastgood", "always_online": True}, "slash_commands": [command]},
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "interactivity": interactivity, "socket_mode_enabled": socket_mode, "org_deploy_enabled": False, "token_rotation_enabled": False,
        },
    }  # fmt: skip
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
