"""What an SLI source measured: a value, its sample and the counters behind it, or the reason why not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from bot.domain.value import Value

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Measurement(Value):
    """One look at one SLI. `value` is None when nobody can tell, and then `reason` says why.

    `requests` is the size of the sample, None when the source cannot say. `counters` are what the next look is
    differenced against, for sources that read raw counters; `since` is then the time of the look before this one,
    from which on its requests came.
    """

    at: AwareDatetime
    since: AwareDatetime | None = None
    value: Finite | None = None
    requests: Finite | None = Field(default=None, ge=0)
    counters: dict[str, Finite] = Field(default_factory=dict)
    reason: str = ""


class SliSample(Value):
    """A measurement judged against the objective of its SLI: good, breached or unknown."""

    sli: str
    verdict: Literal["good", "breached", "unknown"]
    measurement: Measurement
    objective: float
    good: Literal["below", "above"]
    sentence: str
