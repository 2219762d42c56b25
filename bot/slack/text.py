"""Text for Slack: outside text escaped, truncated by characters after escaping and never inside an entity."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from bot.domain import words

# Only the two forms we write ourselves come back as tokens: a `<!date…>` of another shape may carry a link.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # all but the end of a line
_OURS = re.compile(r"&lt;(@[UW][A-Z0-9]{1,30}|!date\^[0-9]{1,12}\^\{time\}\|[0-9]{2}:[0-9]{2} UTC)&gt;")


def escape(text: str) -> str:
    """Make text from outside literal: `& < >` escaped, control and direction characters gone."""
    return _literal(words.plain(text, 3000))


def code(text: str) -> str:
    """Make text from outside a code span that it cannot leave."""
    return f"`{escape(text).replace('`', chr(0x2BC))}`"


def sentence(text: str) -> str:
    """Make one of our sentences safe: people and times stay tokens, everything else is literal."""
    return _OURS.sub(r"<\1>", _literal(_CONTROL.sub("", words.visible(text))))


def day(at: datetime) -> str:
    """Give the token of a day and a time, for what is not today; its fallback names the zone."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{at.astimezone(UTC):%-d %b %H:%M} UTC>"


def cut(text: str, limit: int) -> str:
    """Cut mrkdwn to `limit` characters, never inside `&…;` or `<…>`."""
    if len(text) <= limit:
        return text
    kept = text[: limit - len(_more(len(text)))]
    for opening, closing in (("<", ">"), ("&", ";")):
        if kept.rfind(opening) > kept.rfind(closing):
            kept = kept[: kept.rfind(opening)]
    return kept + _more(len(text) - len(kept))


def voiced(text: str) -> str:
    """Write mrkdwn as it is read aloud: notifications and screen readers get `text` and not the blocks."""
    for sign, spoken in (("*", ""), ("`", ""), (" → ", " to "), (" · ", ", "), ("≤", "at most"), ("≥", "at least")):
        text = text.replace(sign, spoken)
    return text.replace("\n", " ")


def _more(left: int) -> str:
    return f" … (+{left} more)"


def _literal(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
