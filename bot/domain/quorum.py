"""Quorum by matching: one place for one person, and one place for one person's authority, whoever carries it.

A role can be lent. The lender and the borrower are two people, but a loan hands an authority on and does not make a
second one: what one person may fill is filled once, by themselves or by one of those they lent to. Otherwise whoever
holds a role alone could choose the second approver of their own plan, and two places would rest on one person's word.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product

from bot.domain.roles import Place

Voters = Mapping[str, Mapping[str, Collection[str]]]  # who → whose authority (their own id, or a lender's) → roles


def slots(places: Sequence[Place]) -> list[str]:
    """Name every place on its own: `sre#0`, `sre#1`, `owner#0`."""
    return [f"{place.role}#{n}" for place in places for n in range(place.count)]


def role_of(slot: str) -> str:
    """Give the role a place asks for."""
    return slot.partition("#")[0]


def matched(places: Sequence[Place], voters: Voters) -> dict[str, str]:
    """Fill as many places as possible. Gives place → person.

    An authority that several voters could use is given to each of them in turn, and the best way is kept.
    """
    claims: dict[str, list[str]] = {}
    for user, authorities in voters.items():
        for whose, roles in authorities.items():
            if roles:
                claims.setdefault(whose, []).append(user)
    best: dict[str, str] = {}
    for chosen in product(*claims.values()):
        uses = dict(zip(claims, chosen, strict=True))
        holds = {
            user: {role for whose, roles in mine.items() if uses.get(whose) == user for role in roles}
            for user, mine in voters.items()
        }
        found = _augmented(slots(places), holds)
        if len(found) > len(best):
            best = found
    return best


def _augmented(free: Sequence[str], holds: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Match by augmenting paths, so who came first never keeps a place from somebody who can fill no other."""
    taken = dict[str, str]()

    def place_for(user: str, seen: set[str]) -> bool:
        for slot in free:
            if slot in seen or role_of(slot) not in holds[user]:
                continue
            seen.add(slot)
            if slot not in taken or place_for(taken[slot], seen):
                taken[slot] = user
                return True
        return False

    for user in holds:
        place_for(user, set())
    return taken
