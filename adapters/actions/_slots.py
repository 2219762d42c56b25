"""What an action's texts may hold: `{version}`, `{bad}`, `{model}`, `{environment}`, `{incident}` and `{key}`."""

from __future__ import annotations

import re
from collections.abc import Callable

from bot.ports import Act

_SLOT = re.compile(r"\{(version|bad|model|environment|incident|key)\}")


def put(text: str, act: Act, written: Callable[[str], str] = str) -> str:
    """Fill each slot once, as `written` writes it; what is put in is not looked at again."""
    slots = {
        "version": act.good, "bad": act.bad, "model": act.model, "environment": act.environment,
        "incident": act.incident, "key": act.key,
    }  # fmt: skip
    return _SLOT.sub(lambda found: written(slots[found[1]]), text)
