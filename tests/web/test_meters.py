"""What `/metrics` says of things that are counted elsewhere."""

from __future__ import annotations

from bot.web.server import Meters, Standing


def lines(standing: Standing) -> list[str]:
    return [line for line in Meters().text(standing).decode().splitlines() if line.startswith("slack_scopes")]


def test_rt12_scopes_a_token_lacks_and_has_too_many_of_are_two_gauges() -> None:
    assert lines(Standing(scopes=(1, 2))) == ["slack_scopes_missing 1.0", "slack_scopes_extra 2.0"]
    assert lines(Standing(scopes=(0, 0))) == ["slack_scopes_missing 0.0", "slack_scopes_extra 0.0"]


def test_rt12_while_slack_has_not_said_there_is_no_number() -> None:
    assert lines(Standing()) == []
