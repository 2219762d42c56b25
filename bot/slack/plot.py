"""A line of an SLI as text: works behind any firewall and on any screen."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain import words
from bot.domain.incident import Incident
from bot.domain.recovery import shown
from bot.slack.lead import sli_words, worst

BARS = "▁▂▃▄▅▆▇█"
MOST = 20


def bars(values: Sequence[float]) -> str:
    """Draw values from 0 to the largest."""
    top = max(values, default=0.0)
    return "".join(BARS[round(max(0.0, value) / top * (len(BARS) - 1)) if top > 0 else 0] for value in values)


def line(incident: Incident) -> str:
    """Draw what the timeline holds of the SLI that is judged: the alert's value, then the samples. Empty below two."""
    rounds = [one for _, rounds in incident.samples for one in rounds.samples]
    if not rounds:
        return ""
    name = rounds[-1].sli
    values = [one.measurement.value for one in rounds if one.sli == name and one.measurement.value is not None]
    alert = worst(incident)
    before = [alert.value] if alert is not None and alert.value is not None and alert.sli == name else []
    drawn = [*before, *values[-MOST:]]
    if len(drawn) < 2 or not values:
        return ""
    n = len(values[-MOST:])
    taken = f"{words.count(n)} sample{'s' * (n > 1)}"
    label = f"the alert, then {taken}" if before else taken
    return f"{sli_words(name).capitalize()}, {label}  `{bars(drawn)}`  {shown(name, values[-1])}"
