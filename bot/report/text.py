"""Outside text in a document: it can say anything and can never become structure."""

from __future__ import annotations

import re
from typing import Any

from bot.domain import words

_ANYWHERE = re.compile(r"([\\`*\[\]<>|#~&$]|(?<![^\W_])_|_(?![^\W_]))")
_AT_THE_START = re.compile(r"^(?:(\d{1,9})(?=[.)](?:\s|$))|(?=[-+=](?:[-+=\s]|$)|:-))")
_LINK = re.compile(r"(?i)(?<=\b)(https?|ftp|mailto|xmpp)(?=:)|(?<=\bwww)(?=\.)|(?<=\w)(?=@)")
_LINES = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_TICKS = re.compile(r"`+")


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def markdown(value: Any) -> Any:
    """Make a value literal inside Markdown; what is `Markdown` already stays as it is.

    Escapes follow CommonMark 0.31 §2.4 and the table, strikethrough and autolink extensions of GitHub's dialect.
    """
    if isinstance(value, Markdown) or not isinstance(value, str):
        return value
    text = _ANYWHERE.sub(r"\\\1", _LINES.sub(" ", value))
    text = _LINK.sub(lambda match: f"{match[0]}\\", text)
    # What would begin a list, a heading line or a table's ruler; a number's escape comes before its point.
    return Markdown(_AT_THE_START.sub(lambda match: f"{match[1] or ''}\\", text))


def code(value: object) -> Markdown:
    """Make a value a code span that it cannot leave: the fence is longer than every run of backticks in it."""
    text = words.clean(str(value))
    fence = "`" * (1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return Markdown(f"{fence}{space}{text}{space}{fence}")
