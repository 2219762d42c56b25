"""What a person can do when Slack refuses the channel or the token."""

from __future__ import annotations

_MEND = {
    "not_in_channel": "The bot is not in channel {channel}. Mend: /invite @Lastgood there.",
    "channel_not_found": "Channel {channel} is unknown to the bot. Mend: check slack.channel, and invite the bot when it is private.",
    "is_archived": "Channel {channel} is archived. Mend: unarchive it, or name another as slack.channel.",
    "is_inactive": "Channel {channel} is frozen. Mend: name another as slack.channel.",
    "missing_scope": "The token lacks the scope {needed}. Mend: paste `lastgood manifest` into the app and install it again.",
    "token_revoked": "The bot token was revoked. Mend: install the app again and set SLACK_BOT_TOKEN.",
    "token_expired": "The bot token is over. Mend: install the app again and set SLACK_BOT_TOKEN.",
    "invalid_auth": "The bot token is of no app. Mend: set SLACK_BOT_TOKEN.",
    "not_authed": "No bot token arrived. Mend: set SLACK_BOT_TOKEN.",
    "account_inactive": "The bot's account is deactivated. Mend: install the app again and set SLACK_BOT_TOKEN.",
    "org_login_required": "The workspace is being moved. Mend: wait, or ask its administrators.",
    "team_access_not_granted": "The app is not let into this workspace. Mend: ask its administrators.",
    "restricted_action": "The workspace does not let the bot post in {channel}. Mend: ask its administrators.",
}


def mend(name: str, channel: str, needed: str) -> str:
    """Say what is wrong and how to mend it; empty for a refusal that is about the message itself."""
    key = "restricted_action" if name.startswith("restricted_action") else name
    return _MEND.get(key, "").format(channel=channel, needed=needed or "it needs")
