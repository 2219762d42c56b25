"""May a service be called well while its samples are still coming in? Tests that are valid however often one looks."""

from __future__ import annotations

from math import exp, log

WORSE = (1.5, 2.0, 4.0)  # how much worse than its objective a service may be; evidence is the mean over them
BETTER = (0.125, 0.5, 1.0)  # how well a well service may be, as parts of its objective
ILL = 2.0  # so many times its objective is what a service must be proven to be below


def against(failures: float, requests: float, objective: float) -> float:
    """Give the evidence that a failure ratio is above its objective: 1 says nothing, `1 / doubt` is enough to say so.

    The likelihood ratio of a ratio `f` times the objective to the objective itself, averaged over `WORSE`. While the
    true ratio is at or below the objective its expectation is at most 1 at every time, so by Ville's inequality the chance
    that it ever reaches `1 / doubt` is at most `doubt`, whenever and however often one looks. Source: testing by betting,
    G. Shafer, JRSS A 184 (2021) 407; the ratio is that of A. Wald's sequential test (1945), its mean over several is
    H. Robbins' mixture (Annals of Mathematical Statistics 41 (1970) 1397).
    """
    if requests <= 0 or not 0 < objective < 1:
        return 1.0
    return _mean(failures, requests, objective, [_times(objective, factor) for factor in WORSE])


def below(failures: float, requests: float, objective: float) -> float:
    """Give the evidence that a failure ratio is below `ILL` times its objective: `1 / doubt` is enough to say so.

    The same test turned round: the likelihood ratio of each of the ratios `BETTER` names to the ill one, averaged. While
    the true ratio is at the ill one or above, its expectation is at most 1 at every time. It needs no failures that are
    whole or independent of their number: for any value between 0 and 1 a request (I. Waudby-Smith and A. Ramdas,
    JRSS B 86 (2024) 1) the expectation only gets smaller, since the ratio is convex in it.
    """
    if requests <= 0 or not 0 < objective < 1:
        return 1.0
    return _mean(failures, requests, _times(objective, ILL), [part * objective for part in BETTER])


def _times(objective: float, factor: float) -> float:
    return min(factor * objective, (1 + objective) / 2)


def _mean(failures: float, requests: float, null: float, others: list[float]) -> float:
    return sum(_ratio(failures, requests, null, one) for one in others) / len(others)


def _ratio(failures: float, requests: float, null: float, other: float) -> float:
    exponent = failures * log(other / null) + (requests - failures) * log((1 - other) / (1 - null))
    return exp(max(-700.0, min(700.0, exponent)))
