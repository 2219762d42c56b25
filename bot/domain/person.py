"""A person as the directory knows them now; authority rests on the id, never on a name or an address."""

from __future__ import annotations

from pydantic import AwareDatetime

from bot.domain.value import Value


class Person(Value):
    """Facts about one account, fetched at `fetched_at`. `ours` is False for other organisations."""

    id: str
    name: str = ""
    active: bool = True
    guest: bool = False
    bot: bool = False
    ours: bool = True
    fetched_at: AwareDatetime
    email: str = ""  # for matching accounts of two systems one to one; never shown, never authority by itself
    vouched_until: AwareDatetime | None = (
        None  # Slack was away: a sign-in made before vouches for the account until then
    )


class OnCall(Value):
    """One person on call now in a pager: their id there, their address, and until when."""

    id: str
    email: str
    name: str = ""
    until: AwareDatetime | None = None


class Membership(Value):
    """Whether one person belongs to one role source. `held` is None when nobody could say, which counts as no."""

    source: str  # "member U0ANA", "usergroup S0FRAUD", "schedule PSRE", "escalation_policy PUS0KTE", "lent by U0TOM"
    held: bool | None
    detail: str = ""
    fetched_at: AwareDatetime
