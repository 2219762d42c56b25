"""What a count of requests can prove about a share."""

from __future__ import annotations

from math import log

DOUBT = 0.05  # the chance that a share is larger than its bound


def at_most(seen: int, of: int) -> float:
    """Give the 95 % upper bound on a share of which `seen` of `of` requests were drawn; 1 when nothing was.

    None seen: 3/n, the rule of three (Hanley and Lippman-Hand, JAMA 249 (1983) 1743). Else the share p at which
    n · KL(seen/n ‖ p) = ln 20: by Hoeffding (JASA 58 (1963) 13, theorem 1) a larger share shows so few with a chance
    of at most 5 %, so the bound is never below the exact one of Clopper and Pearson.
    """
    if seen >= of:
        return 1.0
    if seen == 0:
        return min(1.0, 3 / of)
    share = low = seen / of
    high = 1.0
    for _ in range(50):
        middle = (low + high) / 2
        near = share * log(share / middle) + (1 - share) * log((1 - share) / (1 - middle)) < log(1 / DOUBT) / of
        low, high = (middle, high) if near else (low, middle)
    return high
