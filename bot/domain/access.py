"""Who may approve: default deny, distinct people, those whose own change it is excluded, and every check kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bot.domain import quorum, words
from bot.domain.entries import Check
from bot.domain.incident import Incident, Phase, Vote
from bot.domain.person import Membership, Person
from bot.domain.plan import Plan
from bot.domain.policy import matches
from bot.domain.roles import Place, Role
from bot.errors import AlreadyVoted, Denied, Expired, Guest, OwnChange, RoleMissing, Stale

MAX_FACT_AGE = timedelta(seconds=60)
TERMINAL = "terminal"  # the way in that a sign-in made beforehand vouches for
UNSIGNED = "the terminal's signature does not hold"
_LENT = "lent by "
_VOUCHED = "account vouched for by a sign-in, Slack is away"


# ── what is known about a person ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about one person now: the account, and for each role of the plan what its sources answered.

    `unreached` says why nobody could tell whether the account exists; then `person` is None.
    """

    person: Person | None
    roles: Mapping[str, Sequence[Membership]]
    unreached: str = ""

    def holds(self, role: str) -> bool:
        """Say whether any source confirms the role; a source that could not say counts as no."""
        return any(one.held is True for one in self.roles.get(role, ()))

    def unsure(self, role: str) -> bool:
        """Say whether a source that could not be asked might have confirmed the role."""
        return not self.holds(role) and any(one.held is None for one in self.roles.get(role, ()))

    def authorities(self, user: str) -> dict[str, set[str]]:
        """Give the roles held, by whose authority: the person's own, or that of who lent it."""
        found: dict[str, set[str]] = {user: set()}
        for role, answers in self.roles.items():
            for one in answers:
                if one.held:
                    found.setdefault(lender(one) or user, set()).add(role)
        return found


def loan(role: str, whose: str, theirs: Standing, at: datetime) -> Membership:
    """Give what a loan is worth now: the role, as long as its lender holds it themselves and has a good account."""
    source, name = f"{_LENT}{whose}", words.person(whose)
    if theirs.person is None and theirs.unreached:
        return Membership(source=source, held=None, detail=f"{theirs.unreached} {name} lent {role}.", fetched_at=at)
    if theirs.person is None or not _good(theirs.person):
        return Membership(source=source, held=False, detail=f"The account of {name} is not active.", fetched_at=at)
    answers = [one for one in theirs.roles.get(role, ()) if lender(one) is None]
    if theirs.person.vouched_until is not None:
        return Membership(source=source, held=None, detail=f"Slack is away, so nobody confirms {name}.", fetched_at=at)
    sure = next((one for one in answers if one.held), None)
    if sure is not None:
        seen = min(sure.fetched_at, theirs.person.fetched_at)
        return Membership(source=source, held=True, detail=f"{name} lent it.", fetched_at=seen)
    doubt = next((one for one in answers if one.held is None), None)
    if doubt is not None:
        return Membership(source=source, held=None, detail=doubt.detail, fetched_at=at)
    return Membership(source=source, held=False, detail=f"{name} lent it and holds it no more.", fetched_at=at)


def lender(membership: Membership) -> str | None:
    """Give who lent what this membership stands for, None when it is the person's own."""
    source = membership.source
    return source.removeprefix(_LENT) if source.startswith(_LENT) else None


def without(standing: Standing, barred: Mapping[str, str]) -> Standing:
    """Give a standing in which nothing counts that was lent by somebody who may not approve; `barred` says why not."""

    def checked(one: Membership) -> Membership:
        whose = lender(one)
        if whose is None or whose not in barred or one.held is False:
            return one
        return one.but(held=False, detail=f"{words.person(whose)}, who lent it, {barred[whose]}.")

    roles = {role: [checked(one) for one in answers] for role, answers in standing.roles.items()}
    return replace(standing, roles=roles)


def _good(person: Person) -> bool:
    return person.active and person.ours and not person.guest and not person.bot


def same_account(one: Standing | None, other: Standing | None) -> bool:
    """Say whether two accounts are one person's: they share an e-mail address."""
    mine = one.person.email.strip().casefold() if one and one.person else ""
    theirs = other.person.email.strip().casefold() if other and other.person else ""
    return bool(mine) and mine == theirs


# ── rulings and the checks they are made of ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Ruling:
    """May they? `role` is the place they fill. A refusal carries the error class and the sentence, ending in who could."""

    checks: tuple[Check, ...]
    role: str | None = None
    error: type[Denied] | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a ruling: how it came out (None: could not be told, which refuses nothing), and the sentence of a no."""

    ok: bool | None
    name: str
    error: type[Denied]
    text: str


def ruled(asked: Sequence[Asked], could: str = "", role: str | None = None) -> Ruling:
    """Keep every check; the first that is a no names the refusal, which ends in who could and that nothing was changed."""
    checks = tuple(Check(ok=one.ok, name=one.name, detail="" if one.ok else one.text) for one in asked)
    no = next((one for one in asked if one.ok is False), None)
    if no is None:
        return Ruling(checks, role=role)
    text = f"{no.text} {could} Nothing was changed." if could else f"{no.text} Nothing was changed."
    return Ruling(checks, error=no.error, text=text)


def account(standing: Standing, via: str, now: datetime | None, deed: str = "do this") -> list[Asked]:
    """Ask about the account: only active people of this workspace, and no guests and apps, do anything here.

    Slack may be away. Then a sign-in made before vouches for the account until it ends, for what comes from a terminal.
    """
    person, why = standing.person, standing.unreached
    unknown = f"{why} That counts as no." if why else "This account is not known in this workspace."
    return [
        Asked(person is not None, "account known", Guest, unknown),
        Asked(person is None or person.ours, "our workspace", Guest, f"People from other organisations cannot {deed} here."),
        Asked(person is None or person.active, "account active", Guest, "This account is deactivated."),
        Asked(person is None or not person.guest, "not a guest", Guest, f"Guests cannot {deed}."),
        Asked(person is None or not person.bot, "not an app", Guest, f"Apps cannot {deed}."),
        *([_vouched(person.vouched_until, via, now)] if person and person.vouched_until else []),
    ]  # fmt: skip


def _vouched(until: datetime, via: str, now: datetime | None) -> Asked:
    if via != TERMINAL:
        text = "Slack is away, so I cannot confirm this account; a terminal that signed in before can act. That counts as no."
        return Asked(False, _VOUCHED, Guest, text)
    text = f"Slack is away, and the sign-in that vouched for this account ended at {words.moment(until)}. That counts as no."
    return Asked(now is not None and now < until, _VOUCHED, Guest, text)


def current(i: Incident, shown: str, now: datetime, then: str) -> list[Asked]:
    """Ask whether the plan a person saw is the one that waits for people now."""
    decision, plan = i.decision, i.plan
    waiting = i.phase is Phase.WAITING and decision is not None and plan is not None
    expires = decision.expires_at if decision else None
    same = plan is not None and shown in (plan.short, plan.id)
    return [
        Asked(waiting, "the incident waits for approval", Expired, _not_waiting(i)),
        Asked(not waiting or same, "the plan on the card is current", Stale, outdated(i, shown, then)),
        Asked(expires is None or now < expires or not waiting, "plan fresh", Expired, _expired(i, expires)),
    ]


def _not_waiting(i: Incident) -> str:
    if i.claimed_at is not None:
        return f"Already rolling since {words.moment(i.claimed_at)}; two clicks, one rollback."
    if i.phase is Phase.CLOSED:
        return "This incident is closed."
    if i.rejected_by:
        return f"{words.person(i.rejected_by)} rejected this plan; only a new plan clears that."
    if i.phase is Phase.CLEARED:
        return "Enough people approved; it is starting."
    return "No plan waits for approval now."


def outdated(i: Incident, shown: str, then: str) -> str:
    """Say that the card a person pressed showed another plan; an empty text when it is the current one, or neither has one."""
    known = ("none", "") if i.plan is None else (i.plan.short, i.plan.id)
    if shown in known:
        return ""
    now = f"The card now shows {i.plan.short}. Read it, then {then}." if i.plan else "It is gone."
    return f"The card you pressed showed plan {words.plain(shown, 64) or 'none'}. {now}"


def _expired(i: Incident, expires: datetime | None) -> str:
    at = f" at {words.moment(expires)}" if expires else ""
    return f"Plan {i.plan.short if i.plan else ''} ended{at}. A new plan is being made; approve that one."


# ── what is legal ─────────────────────────────────────────────────────────────────────────────────────────────────


def legal(i: Incident) -> tuple[str, ...]:
    """Give the acts this incident allows now, whoever may take them, the likeliest first. A press on any other is refused.

    Once traffic may have moved, the ways on are to own it, to try what is unfinished, to judge it, to hand it over or to
    give up; before that, to plan again, for another version too, to put it off or to dismiss it. What was done behind
    broken glass can be reviewed at any time, also when all is over.
    """
    review = ("review",) if i.review is not None else ()
    return (*_in_phase(i), *review, *_after(i))


def _after(i: Incident) -> tuple[str, ...]:
    """Give what stays possible once a rollback is over."""
    over = i.closed is not None and i.claim is not None
    mitigated = over and i.closed is not None and i.closed.outcome in ("recovered", "unproven", "marked_recovered")
    return (
        *(("fix",) if mitigated and i.fix is None else ()),
        *(("grade",) if over and i.grade is not None else ()),
        *(("clear",) if i.leftovers else ()),
    )


def _in_phase(i: Incident) -> tuple[str, ...]:
    match i.phase:
        case Phase.WAITING:
            return ("approve", "reject", "choose", "edit", "break_glass", "snooze")
        case Phase.CLEARED:
            return ("reject",)
        case Phase.PLANNED if i.decision is not None and i.decision.mode == "hold":
            return ("choose", "snooze")  # also while it is put off: a shorter time takes a mistake back
        case Phase.ROLLING | Phase.APPLIED:
            if i.cancelled:
                return ()
            return ("resume", "cancel") if i.paused_by else ("pause", "cancel")
        case Phase.STUCK if i.claim is not None:
            going = ("retry", "skip", "by_hand") if i.unfinished else ()
            back = ("compensate",) if any(step.accepted for step in i.steps.values()) else ()
            paused = ("resume",) if i.paused_by else ()
            return ("take", *paused, *going, "mark_recovered", *back, "hand_over", "give_up")
        case Phase.STUCK | Phase.NOTED:
            return ("take", "plan_again", "choose", "snooze", "dismiss", "hand_over")
    return ()


def in_scope(role: Role, model: str, environment: str) -> bool:
    """Say whether a role counts for this model in this environment."""
    return matches(role.models, model) and matches(role.environments, environment)


# ── places ────────────────────────────────────────────────────────────────────────────────────────────────────────


def filled(places: Sequence[Place], votes: Sequence[Vote], standings: Mapping[str, Standing]) -> dict[str, str]:
    """Match people, by what they hold now, to places: one place a person, as many as possible. Gives place → person."""
    names = dict.fromkeys(vote.person for vote in votes if vote.person in standings)
    return quorum.matched(places, {name: standings[name].authorities(name) for name in names})


def open_places(places: Sequence[Place], votes: Sequence[Vote]) -> list[str]:
    """Give the roles still missing, one item a place, by what each voter held when they voted."""
    taken = _by_vote(places, votes)
    return [quorum.role_of(slot) for slot in quorum.slots(places) if slot not in taken]


def _by_vote(places: Sequence[Place], votes: Sequence[Vote]) -> dict[str, str]:
    return quorum.matched(places, {vote.person: {vote.person: vote.holds or (vote.role,)} for vote in votes})


# ── whose own change it is ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Own:
    who: str | None
    check: str
    did: str


def _owners(plan: Plan) -> tuple[_Own, ...]:
    return (
        _Own(plan.requester, "not the requester", "asked for this rollback"),
        _Own(plan.editor, "not the editor of the plan", "edited this plan"),
        _Own(plan.deployer, "not the deployer", f"deployed {plan.from_version}"),
    )


def barred(plan: Plan | None) -> dict[str, str]:
    """Give everybody whose own change this plan is, with what they did: they have no vote, and lend none."""
    return {one.who: one.did for one in reversed(_owners(plan) if plan else ()) if one.who is not None}


def _own_change(plan: Plan, user: str, known: Mapping[str, Standing]) -> list[Asked]:
    asked = []
    for own in _owners(plan):
        twin = own.who is not None and own.who != user and same_account(known.get(user), known.get(own.who))
        text = f"You {own.did}{' with another account' if twin else ''}, so somebody else must approve."
        ok: bool | None = own.who != user and not twin
        if own.who is None and own.check == "not the deployer":
            ok, text = None, f"Who deployed {plan.from_version} is not known."
        asked.append(Asked(ok, own.check, OwnChange, text))
    return asked


# ── the vote ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Question:
    """One press on Approve: who, on which plan, seen on which card, and what is known.

    `others` are the voters and those whose own change it is. `glass` says who could break the glass, for a role that
    nobody could confirm. `via` is the way in.
    """

    user: str
    plan: str
    standing: Standing
    others: Mapping[str, Standing]
    who_could: str
    now: datetime
    via: str = ""
    glass: str = ""


def may_approve(incident: Incident, question: Question) -> Ruling:
    """Decide one press, running every check so that the trace is whole; the first that fails names the refusal."""
    q, out = question, barred(incident.plan)
    q = replace(q, standing=without(q.standing, out), others={who: without(x, out) for who, x in q.others.items()})
    asked = [*account(q.standing, q.via, q.now, "approve"), *current(incident, q.plan, q.now, "approve")]
    if incident.plan is not None:
        asked += _own_change(incident.plan, q.user, {**q.others, q.user: q.standing})
    asked += _votes_once(incident, q)
    role = None
    if all(one.ok is not False for one in asked):
        role = _place(incident, q)
        text = "" if role else _role_text(incident, q)
        asked.append(Asked(role is not None, f"holds a missing role{f' ({role})' if role else ''}", RoleMissing, text))
    return ruled(asked, q.who_could, role)


def _votes_once(i: Incident, q: Question) -> list[Asked]:
    voted = next((vote for vote in i.votes if vote.person == q.user and _counts(i, vote)), None)
    twin = next(
        (v for v in i.votes if v.person != q.user and _counts(i, v) and same_account(q.standing, q.others.get(v.person))),
        None,
    )  # fmt: skip
    text = f"You approved this plan at {words.moment(voted.at)}. One person fills one place." if voted else ""
    if twin:
        text = f"{words.person(twin.person)} has your e-mail address and approved this plan at {words.moment(twin.at)}. One person fills one place."
    return [Asked(voted is None and twin is None, "has not voted yet", AlreadyVoted, text)]


def _counts(i: Incident, vote: Vote) -> bool:
    """Say whether a vote fills a place: one that fits none of what is asked now may be given again."""
    return vote.person in _by_vote(i.decision.require if i.decision else (), i.votes).values()


def _place(i: Incident, q: Question) -> str | None:
    places = i.decision.require if i.decision else ()
    others = [vote for vote in i.votes if vote.person != q.user]
    before = filled(places, others, q.others)
    vote = Vote(q.user, "", q.plan, 0, q.now)
    after = filled(places, (*others, vote), {**q.others, q.user: q.standing})
    if len(after) <= len(before):
        return None
    return next(quorum.role_of(slot) for slot, person in after.items() if person == q.user)


def _role_text(i: Incident, q: Question) -> str:
    places = i.decision.require if i.decision else ()
    taken = filled(places, i.votes, q.others)
    missing = [quorum.role_of(slot) for slot in quorum.slots(places) if slot not in taken]
    needs = words.listed(missing) or "nothing more"
    if shared := next((_shared(role, i, q) for role in missing if q.standing.holds(role)), ""):
        return shared
    for place in places:
        if q.standing.unsure(place.role):
            return unconfirmed(q.standing, place.role, q.glass)
    if worthless := next((text for role in missing if (text := _worthless(q.standing, role))), ""):
        return worthless
    held = [place.role for place in places if q.standing.holds(place.role)]
    if held:
        return f"The {held[0]} place is filled. Missing: {needs}."
    return f"This plan needs {needs}; you hold none of its roles."


def _shared(role: str, i: Incident, q: Question) -> str:
    """Say with whom a person shares the authority that fills a place already."""
    mine = {whose for whose, roles in q.standing.authorities(q.user).items() if roles}
    for vote in i.votes:
        known = q.others.get(vote.person)
        theirs = {whose for whose, roles in known.authorities(vote.person).items() if roles} if known else set()
        if vote.person != q.user and mine & theirs:
            return f"{words.person(vote.person)} approved, and {role} is lent between you: a lent role fills one place, not two."
    return ""


def _worthless(standing: Standing, role: str) -> str:
    """Say why a role that was lent to the person counts for nothing."""
    no = next((one for one in standing.roles.get(role, ()) if lender(one) and not standing.holds(role)), None)
    return f"{no.detail} So the {role} you borrowed does not count." if no else ""


def unconfirmed(standing: Standing, role: str, glass: str = "") -> str:
    """Say that nobody could confirm a role, that this counts as no, and what is left to do."""
    why = next(one.detail for one in standing.roles[role] if one.held is None)
    or_glass = f", or {glass} can break the glass" if glass else ""
    return f"{why} So I cannot confirm that you hold {role}; that counts as no. Press again{or_glass}."


# ── the claim ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Quorum:
    """The quorum as it is at the claim.

    `lost` are voters whose vote does not count, `forged` those of them whose terminal's signature does not hold, `unsure`
    those nobody could tell about.
    """

    checks: tuple[Check, ...]
    lost: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    forged: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Say whether every check passed."""
        return all(check.ok for check in self.checks)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """What is known at the claim, asked anew; `terminal` says of those who pressed in one whether its signature holds."""

    standings: Mapping[str, Standing]
    now: datetime
    terminal: Mapping[str, bool] = field(default_factory=dict)

    def person(self, user: str) -> Person | None:
        """Give the account if it was confirmed recently enough to act on, or a sign-in vouches for it."""
        known = self.standings.get(user)
        person = known.person if known else None
        if person is None:
            return None
        if person.vouched_until is not None:
            return person if self.terminal.get(user) and self.now < person.vouched_until else None
        return person if self.recent(person.fetched_at) else None

    def forged(self, user: str) -> bool:
        """Say whether the press claims a terminal that did not sign it."""
        return self.terminal.get(user) is False

    def recent(self, at: datetime) -> bool:
        """Say whether a fact is young enough to act on, and not from the future."""
        return timedelta(0) <= self.now - at <= MAX_FACT_AGE

    def unsure(self, user: str, roles: Sequence[str]) -> bool:
        """Say whether nobody could tell: no answer about the account or a role, or one too old to act on."""
        known = self.standings.get(user)
        if known is None or self.forged(user):
            return False
        if self.person(user) is None:
            return known.person is not None or bool(known.unreached)
        return not any(known.holds(role) for role in roles) and any(known.unsure(role) for role in roles)


def acts_alone(incident: Incident) -> str | None:
    """Give who broke the glass for the plan that is cleared now, None when a quorum or a rule cleared it."""
    glass, plan, decision = incident.glass, incident.plan, incident.decision
    asked = decision is not None and decision.mode == "approve" and incident.cleared is None
    return glass.person if glass is not None and plan is not None and glass.plan == plan.id and asked else None


def may_execute(
    incident: Incident, standings: Mapping[str, Standing], now: datetime, terminal: Mapping[str, bool] | None = None
) -> Quorum:
    """Judge again with people fetched afresh: votes count by what people hold now.

    Whose own change it is never counts, also when that became known after the vote. Behind broken glass the person must
    still hold the role; there the requester may act, on purpose: it is for when nobody else answers. `terminal` says of
    everybody who pressed in a terminal whether its signature holds; without one the press counts for nothing.
    """
    if incident.decision is None or incident.plan is None:
        return Quorum((Check(ok=False, name="there is a decided plan"),))
    fresh = _Fresh({who: _current(one, now) for who, one in standings.items()}, now, terminal or {})
    if (alone := acts_alone(incident)) is not None and incident.glass is not None:
        return _glass_holds(alone, incident.glass.role, fresh)
    if incident.decision.mode == "auto":
        return Quorum((Check(ok=True, name=f"rule {incident.decision.rule} acts alone"),))
    out = barred(incident.plan)
    return _people_hold(incident, replace(fresh, standings={w: without(x, out) for w, x in fresh.standings.items()}))


def _current(standing: Standing, now: datetime) -> Standing:
    """Give a standing in which an answer too old to act on is no answer."""

    def checked(one: Membership) -> Membership:
        old = not timedelta(0) <= now - one.fetched_at <= MAX_FACT_AGE
        return one.but(held=None, detail=f"The answer of {one.source} is too old.") if old and one.held else one

    return replace(standing, roles={role: [checked(one) for one in said] for role, said in standing.roles.items()})


def _glass_holds(user: str, role: str, fresh: _Fresh) -> Quorum:
    known, person, name = fresh.standings.get(user), fresh.person(user), words.person(user)
    if fresh.forged(user):
        return Quorum((_signed(user, fresh),), lost=(user,), forged=(user,))
    good = person is not None and _good(person) and known is not None and known.holds(role)
    if fresh.unsure(user, [role]):
        return Quorum((Check(ok=None, name=f"{name} still holds {role}"),), unsure=(user,))
    check = Check(ok=good, name=f"{name} still holds {role}, and acts alone behind broken glass")
    return Quorum((check, *_vouchers([user], fresh)), lost=() if good else (user,))


def _signed(user: str, fresh: _Fresh) -> Check:
    forged = fresh.forged(user)
    return Check(
        ok=not forged, name=f"the terminal of {words.person(user)} signed it", detail=UNSIGNED if forged else ""
    )


def _people_hold(incident: Incident, fresh: _Fresh) -> Quorum:
    people = tuple(vote.person for vote in incident.votes)
    bad = tuple(vote.person for vote in incident.votes if not _still_good(incident, vote, fresh))
    unsure = tuple(one for one in bad if one in fresh.standings and fresh.unsure(one, list(fresh.standings[one].roles)))
    lost = tuple(one for one in bad if one not in unsure)
    votes = [vote for vote in incident.votes if vote.person not in bad]
    places = incident.decision.require if incident.decision else ()
    have, need = len(filled(places, votes, fresh.standings)), sum(place.count for place in places)
    checks = [
        Check(ok=None if person in unsure else person not in lost, name=f"{words.person(person)} still counts")
        for person in people
    ]
    checks += _vouchers(people, fresh)
    checks.append(Check(ok=have == need, name=f"{have} of {need} places filled by different people"))
    return Quorum(tuple(checks), lost, unsure, tuple(one for one in people if fresh.forged(one)))


def _vouchers(people: Sequence[str], fresh: _Fresh) -> list[Check]:
    """Say of each who pressed in a terminal whether it signed, and for whom a sign-in stands in for the account."""
    vouched = [one for one in people if (person := fresh.person(one)) is not None and person.vouched_until]
    signed = [_signed(one, fresh) for one in people if one in fresh.terminal]
    return [*signed, *(Check(ok=True, name=_VOUCHED, detail=words.person(one)) for one in vouched)]


def _still_good(incident: Incident, vote: Vote, fresh: _Fresh) -> bool:
    person, plan = fresh.person(vote.person), incident.plan
    if person is None or plan is None or vote.plan != plan.id or not _good(person) or fresh.forged(vote.person):
        return False
    standing, known = fresh.standings[vote.person], fresh.standings
    out = barred(plan)
    earlier = [one.person for one in incident.votes[: incident.votes.index(vote)]]
    twins = any(same_account(standing, known.get(one)) for one in (*out, *earlier) if one != vote.person)
    return vote.person not in out and not twins and any(standing.holds(role) for role in standing.roles)


# ── other acts ────────────────────────────────────────────────────────────────────────────────────────────────────


def may_act(
    standing: Standing, roles: Sequence[str], via: str = "", now: datetime | None = None, could: str = ""
) -> Ruling:
    """Decide an act other than a vote: any active member who holds one of the roles that count here.

    `could` names who else can; a refusal for the role ends in it, else in the role.
    """
    asked = account(standing, via, now)
    if no := ruled(asked).error:
        first = next(one for one in asked if one.ok is False)
        return ruled([Asked(False, first.name, no, first.text)])
    held = next((role for role in roles if standing.holds(role)), None)
    if held is None:
        return ruled([Asked(False, "holds a role", RoleMissing, _no_role(standing, roles, could))], could)
    vouched = [one for one in asked if one.name == _VOUCHED]
    return ruled([*vouched, Asked(True, f"holds {held}", RoleMissing, "")], role=held)


def _no_role(standing: Standing, roles: Sequence[str], could: str) -> str:
    if doubtful := next((role for role in roles if standing.unsure(role)), None):
        return unconfirmed(standing, doubtful)
    if not roles:
        return "This needs a role that nobody is given."
    whoever = f" Whoever holds {'it' if len(roles) == 1 else 'one of them'} can."
    return f"This needs {words.listed(roles, 'or')}.{'' if could else whoever}"
