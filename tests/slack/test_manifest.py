"""The manifest asks for what the code calls, and for nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import bot.slack
from bot.slack.manifest import ALWAYS, SCOPES, Granted, held_to, manifest

NEEDS = {
    "chat.postMessage": {"chat:write"}, "chat.update": {"chat:write"}, "chat.delete": {"chat:write"},
    "chat.postEphemeral": {"chat:write"}, "conversations.history": {"channels:history", "groups:history", "im:history"},
    "conversations.replies": {"channels:history", "groups:history"}, "users.info": {"users:read"},
    "users.lookupByEmail": {"users:read", "users:read.email"}, "bots.info": {"users:read"},
    "usergroups.users.list": {"usergroups:read"}, "files.getUploadURLExternal": {"files:write"}, "files.completeUploadExternal": {"files:write"},
    "conversations.open": {"im:write"}, "chat.getPermalink": set(), "views.open": set(), "auth.test": set(),
}  # fmt: skip
FAMILY = re.compile(
    r'(?:"((?:chat|conversations|users|usergroups|files|views|team|reactions|pins|bookmarks)\.\w[\w.]*)"|_client\.(\w+)\()'
)


def called() -> set[str]:
    text = "".join(path.read_text() for path in Path(str(bot.slack.__file__)).parent.glob("*.py"))
    found = {quoted or name.replace("_", ".") for quoted, name in FAMILY.findall(text)}
    return found - {"api.call"}


def test_every_scope_is_used_and_every_use_has_its_scope() -> None:
    methods = called()
    assert methods <= set(NEEDS), "a new method: say which scopes it needs"
    assert set().union(*(NEEDS[method] for method in methods)) | {"commands"} == set(SCOPES)


def test_http_names_where_slack_calls() -> None:
    content = yaml.safe_load(manifest("https://lastgood.example/", socket_mode=False))
    url = "https://lastgood.example/slack/events"
    assert content["settings"]["interactivity"] == {"is_enabled": True, "request_url": url}
    assert content["features"]["slash_commands"][0]["url"] == url
    assert content["settings"]["socket_mode_enabled"] is False


def test_socket_mode_needs_no_address() -> None:
    content = yaml.safe_load(manifest(None, socket_mode=True))
    assert content["settings"]["interactivity"] == {"is_enabled": True}
    assert "url" not in content["features"]["slash_commands"][0]
    assert content["settings"]["socket_mode_enabled"] is True
    assert content["features"]["slash_commands"][0]["should_escape"] is True
    assert content["oauth_config"]["scopes"]["bot"] == list(SCOPES)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (",".join(SCOPES), Granted((), ())),
        (", ".join(reversed(list(SCOPES))) + ",identify,", Granted((), ())),
        (",".join([*SCOPES, "team:read", "pins:write"]), Granted((), ("pins:write", "team:read"))),
        (",".join(set(SCOPES) - {"chat:write", "commands"}), Granted(("chat:write", "commands"), ())),
        ("", Granted(tuple(SCOPES), ())),
    ],
)  # fmt: skip
def test_rt12_the_scopes_of_a_token_are_held_to_the_manifest(given: str, found: Granted) -> None:
    assert held_to(given) == found


def test_rt12_no_scope_lets_the_app_speak_as_somebody_else_or_see_more_than_it_says() -> None:
    assert "chat:write.customize" not in SCOPES
    assert not ALWAYS & SCOPES.keys()
    assert not any(scope.startswith("admin") for scope in SCOPES)
