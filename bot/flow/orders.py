"""What people order for the whole house: autopilot, trust, a version out of quarantine, a role lent, a terminal let in."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import cast, get_args
from weakref import WeakKeyDictionary

from bot.domain import access, acts, proof, trust, words
from bot.domain import entries as e
from bot.domain.access import Ruling, Standing
from bot.domain.entries import Entry, Rung
from bot.domain.incident import model_stream
from bot.domain.ledger import Ledger
from bot.domain.orders import LENT, LOGINS, SWITCH, Orders
from bot.domain.policy import Rule, matches
from bot.domain.press import Answer, Order
from bot.domain.roles import Role
from bot.errors import Conflict, Denied, RoleMissing
from bot.flow.acts import holders_of
from bot.flow.people import direct, held, spoken, unsigned
from bot.flow.world import Folds, World
from bot.ports import Append, Said, Work, Write

LOGIN_FOR = timedelta(hours=12)
TRIES, TRIES_WITHIN = 5, timedelta(minutes=10)  # wrong codes of one person, and how long they are refused then
_STREAMS = {"lend": LENT, "return": LENT, "login": LOGINS}
_LETS_IN = ("slack", "signin")  # what proves a person beyond the terminal itself
_WRONG: WeakKeyDictionary[Folds, dict[str, deque[datetime]]] = WeakKeyDictionary()  # by what one process remembers


async def order(asked: Order, world: World) -> Answer:
    """Take one order from any surface. A refusal is answered and logged; what is ordered already is said, not ordered again.

    A race lost to somebody else is judged anew on what they did. Raises Conflict when nothing moved on and the timeline
    still refuses.
    """
    handler = _ORDERS.get(asked.action)
    if handler is None:
        return Answer(ok=False, text="This order is not one I know. Nothing was changed.")
    seen: int | None = None
    while True:
        before, seen = seen, await _epoch(asked, world)
        if seen == before:
            raise Conflict
        try:
            return Answer(ok=True, text=await handler(asked, world))
        except Denied as error:
            world.log.warning("order.refused", person=asked.person, action=asked.action, reason=str(error))
            return Answer(ok=False, text=f"{error} Nothing was changed.")
        except Conflict:
            continue


async def _epoch(asked: Order, world: World) -> int:
    """Give what the order is appended against; nothing for one that is refused for the place it names."""
    if asked.action not in ("trust", "release"):
        return (await world.orders(_STREAMS.get(asked.action, SWITCH))).epoch
    try:
        return (await world.ledger(model_stream(*_place(asked, world)))).epoch
    except Denied:
        return 0


# ── who may, and what every order needs ───────────────────────────────────────────────────────────────────────────


async def _welcome(asked: Order, world: World) -> None:
    """Hear only an active person of ours, before anything of the house is told; a terminal by its signature. Raises Denied."""
    if why := await unsigned(asked, proof.order_on(asked.action, asked.asked), world):
        raise Denied(why)
    _held_to(access.ruled(access.account(await direct(asked.person, {}, world), asked.via, world.clock.now())))


async def _needs(asked: Order, roles: Mapping[str, Role], world: World, standing: Standing | None = None) -> None:
    """Let only an active person of ours give the order who holds one of these roles. Raises Denied."""
    known = standing or await held(asked.person, roles, world, await world.orders(LENT))
    now = world.clock.now()
    ruling = access.may_act(known, list(roles), asked.via, now)
    if ruling.error is RoleMissing:
        ruling = access.may_act(known, list(roles), asked.via, now, await holders_of(roles, world, (asked.person,)))
    _held_to(ruling)


def _held_to(ruling: Ruling) -> None:
    if ruling.error is not None:
        raise ruling.error(ruling.text.removesuffix(" Nothing was changed."))


def _reasoned(asked: Order, world: World) -> Said:
    """Give the reason as it is kept. Raises Denied without one."""
    if why := acts.why(asked.reason):
        raise Denied(why)
    return spoken(asked.reason, world)


def _model(asked: Order, world: World) -> str:
    """Give the registered model an order is about; empty for all. Raises Denied."""
    name = asked.asked.get("model", "").strip()
    if not name:
        return ""
    found = world.catalogue.model_named(name)
    if found is None:
        known = ", ".join(sorted(world.catalogue.models)) or "none"
        message = f"No model `{words.plain(name, 60)}` is registered. Known: {known}."
        raise Denied(message)
    return found


def _place(asked: Order, world: World) -> tuple[str, str]:
    """Give the environment and the model an order is about. Raises Denied."""
    model = _model(asked, world)
    if not model:
        raise Denied("Say which model.")
    places = world.catalogue.models[model].environments
    place = asked.asked.get("environment", "").strip() or (next(iter(places)) if len(places) == 1 else "")
    if place not in places:
        message = f"{model} runs in {words.listed(sorted(places))}; name one of them."
        raise Denied(message)
    return place, model


async def _write(entry: Entry, orders: Orders, world: World, said: Said | None = None, work: tuple[Work, ...] = ()) -> None:  # fmt: skip
    write = Write(orders.stream, (entry,), orders.epoch)
    await world.timeline.append(Append(writes=(write,), said=(said,) if said else (), work=work))


# ── autopilot ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _switch(asked: Order, world: World) -> str:
    await _welcome(asked, world)
    on, model = asked.action == "autopilot_on", _model(asked, world)
    await _needs(asked, _may_switch(model, world), world)
    orders = await world.orders(SWITCH)
    if standing := _stands(orders, model, on=on):
        return standing
    said = _reasoned(asked, world)
    entry = e.AutopilotSwitched(on=on, model=model, person=asked.person, text_ref=said.ref, via=asked.via)
    await _write(entry, orders, world, said, await _woken(model, world))
    where = _where(model)
    if not on:
        return f"Autopilot is off {where}: what would act alone asks people instead."
    rest = (await world.orders(SWITCH)).off(model)
    return f"You switched autopilot on {where}.{f' {rest}' if rest else ''}"


def _where(model: str) -> str:
    return f"for {model}" if model else "for all models"


def _stands(orders: Orders, model: str, *, on: bool) -> str:
    """Say that it was ordered already, by whom and since when; an empty text when it was not.

    Off for all and off for one are two words, and each is taken back by itself.
    """
    word = orders.switched.get(model)
    if not on:
        if word is None or word.on:
            return ""
        return f"Autopilot is off {_where(model)} already: {words.person(word.person)} switched it off at {words.moment(word.at)}."
    if word is not None and not word.on:
        return ""
    since = f": {words.person(word.person)} switched it on at {words.moment(word.at)}" if word else ""
    if for_all := orders.off(model):
        return f"Nothing is switched off {_where(model)} alone. {for_all}"
    return f"Autopilot is on {_where(model)} already{since}."


def _may_switch(model: str, world: World) -> dict[str, Role]:
    """Give the roles that may switch: the one the policy names, else every one, as far as its scope covers all that is switched."""
    rule, files = world.catalogue.policy.autopilot, world.catalogue
    names = [rule.role] if rule else list(files.roles)
    places = files.models[model].environments if model else ()
    found = {
        name: role
        for name in names
        if (role := files.roles.get(name))
        and (all(access.in_scope(role, model, one) for one in places) if model else not role.models and not role.environments)
    }  # fmt: skip
    if not found:
        message = (
            f"No role may switch autopilot {_where(model)}: name one whose scope covers that in policy.autopilot.role."
        )
        raise Denied(message)
    return found


async def _woken(model: str, world: World) -> tuple[Work, ...]:
    """Give the work that wakes the open incidents of one model or all."""
    names = [model] if model else list(world.catalogue.models)
    streams = [model_stream(place, name) for name in names for place in world.catalogue.models[name].environments]
    ledgers = await asyncio.gather(*(world.ledger(stream) for stream in streams))
    return tuple(work for one in ledgers for work in _awake(one, world))


def _awake(ledger: Ledger, world: World) -> tuple[Work, ...]:
    """Give the work by which the open incident is decided anew now, and every surface shows at once what was ordered."""
    stream, now = ledger.open_incident, world.clock.now()
    return (Work("advance", stream, now), *world.follow(stream, now)) if stream else ()


# ── the trust ladder ──────────────────────────────────────────────────────────────────────────────────────────────


async def _trust(asked: Order, world: World) -> str:
    await _welcome(asked, world)
    place, model = _place(asked, world)
    ladder, rule, rung = world.catalogue.policy.trust, _on_ladder(asked, place, model, world), _rung(asked)
    if ladder is None:
        raise Denied("Nobody may move a rule on the ladder: policy.trust is not set.")
    role = world.catalogue.roles.get(ladder.role)
    counts = role is not None and access.in_scope(role, model, place)
    await _needs(asked, {ladder.role: role} if role is not None and counts else {}, world)
    ledger = await world.ledger(model_stream(place, model))
    now = trust.rung(ladder, ledger.trust.get(rule.id))
    helped, harmful = trust.evidence(ledger.rollbacks, rule.id, ledger.trusted_at.get(rule.id))
    check = trust.may_climb(ladder, now, rung, helped, harmful)
    if not check.ok:
        message = f"Rule {rule.id} of {model} in {place}: {check.detail}."
        raise Denied(message)
    said = _reasoned(asked, world)
    reason = f"{now} to {rung}; since it last moved {helped} helped and {harmful} did not."
    entry = e.TrustMoved(rule=rule.id, rung=rung, reason=reason, person=asked.person, text_ref=said.ref)
    write = Write(ledger.stream, (entry,), ledger.epoch)
    await world.timeline.append(Append(writes=(write,), said=(said,), work=_awake(ledger, world)))
    return f"Rule {rule.id} may {rung} now for {model} in {place}."


def _on_ladder(asked: Order, place: str, model: str, world: World) -> Rule:
    name = asked.asked.get("rule", "").strip()
    rule = next((one for one in world.catalogue.policy.rules if one.id == name), None)
    if rule is None:
        known = words.listed([one.id for one in world.catalogue.policy.rules if one.ladder]) or "none"
        message = f"The policy has no rule `{words.plain(name, 60)}`. On the ladder: {known}."
        raise Denied(message)
    if not rule.ladder:
        message = f"Rule {rule.id} is not on the ladder: it does not say `ladder: true`."
        raise Denied(message)
    if not matches(rule.models, model) or not matches(rule.environments, place):
        message = f"Rule {rule.id} is not about {model} in {place}."
        raise Denied(message)
    return rule


def _rung(asked: Order) -> Rung:
    rung = asked.asked.get("rung", "").strip()
    if rung not in get_args(Rung):
        message = f"Say the rung: {words.listed(get_args(Rung), 'or')}."
        raise Denied(message)
    return cast("Rung", rung)


# ── quarantine ────────────────────────────────────────────────────────────────────────────────────────────────────


async def _release(asked: Order, world: World) -> str:
    """End a quarantine: the word of one named person, who answers for it with a reason."""
    await _welcome(asked, world)
    place, model = _place(asked, world)
    files = world.catalogue
    roles = {name: role for name, role in files.roles.items() if access.in_scope(role, model, place)}
    await _needs(asked, roles, world)
    ledger, version = await world.ledger(model_stream(place, model)), asked.asked.get("version", "").strip()
    if version not in ledger.quarantined:
        held_back = words.listed(sorted(ledger.quarantined)) or "none"
        message = f"Version {words.plain(version, 60) or '?'} of {model} in {place} is not quarantined. Quarantined: {held_back}."
        raise Denied(message)
    said = _reasoned(asked, world)
    entry = e.VersionReleased(version=version, person=asked.person, text_ref=said.ref, via=asked.via)
    write = Write(ledger.stream, (entry,), ledger.epoch)
    await world.timeline.append(Append(writes=(write,), said=(said,), work=_awake(ledger, world)))
    return f"Version {version} of {model} in {place} is released from quarantine. A rollback may go to it again."


# ── roles lent ────────────────────────────────────────────────────────────────────────────────────────────────────


async def _lend(asked: Order, world: World) -> str:
    await _welcome(asked, world)
    name, role = _role(asked, world)
    to, orders, now = asked.asked.get("to", "").strip(), await world.orders(LENT), world.clock.now()
    mine, theirs = await asyncio.gather(direct(asked.person, {name: role}, world), direct(to, {}, world))
    if not mine.holds(name) and orders.lenders(name, asked.person, now):
        message = f"{name} was lent to you, and what was lent is not lent on."
        raise Denied(message)
    await _needs(asked, {name: role}, world, mine)
    if why := acts.borrower(asked.person, to, theirs, now):
        raise Denied(why)
    length = acts.span(asked.asked.get("until", ""), "A loan")
    if isinstance(length, str):
        raise Denied(length)
    said = _reasoned(asked, world)
    entry = e.RoleDelegated(role=name, person=asked.person, to=to, until=now + length, text_ref=said.ref, via=asked.via)
    await _write(entry, orders, world, said)
    return f"You lent {name} to {words.person(to)} until {words.moment(entry.until)}. It counts as long as you hold it, and together you fill one place."


def _role(asked: Order, world: World) -> tuple[str, Role]:
    name = asked.asked.get("role", "").strip()
    role = world.catalogue.roles.get(name)
    if role is None:
        message = f"No role `{words.plain(name, 60)}` is configured. Known: {words.listed(sorted(world.catalogue.roles)) or 'none'}."
        raise Denied(message)
    return name, role


async def _return(asked: Order, world: World) -> str:
    """End loans of one role: those the person gave, or got. It only ever takes a right away, so nobody is asked about accounts."""
    name, to, now = asked.asked.get("role", "").strip(), asked.asked.get("to", "").strip(), world.clock.now()
    orders = await world.orders(LENT)
    mine = [
        one
        for one in orders.lent
        if one.role == name and one.until > now and asked.person in (one.person, one.to) and to in ("", one.person, one.to)
    ]  # fmt: skip
    if not mine:
        message = f"No loan of `{words.plain(name, 60)}` between you and {'anybody' if not to else f'`{words.plain(to, 40)}`'} stands now."
        raise Denied(message)
    ended = tuple(e.RoleReturned(role=name, person=one.person, to=one.to) for one in mine)
    await world.timeline.append(Append(writes=(Write(LENT, ended, orders.epoch),)))
    return " ".join(one.sentence() for one in ended)


# ── terminals ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _login(asked: Order, world: World) -> str:
    """Let the terminal that shows a code act for the person who typed it here."""
    now = world.clock.now()
    if asked.via not in _LETS_IN:
        raise Denied("Type the code in Slack or behind the company's sign-in; a terminal lets no terminal in.")
    known = await direct(asked.person, {}, world)
    _held_to(access.ruled(access.account(known, asked.via, now)))
    _not_guessing(asked.person, now, world)
    orders = await world.orders(LOGINS)
    code = asked.asked.get("code", "").strip().upper()
    found = orders.asked.get(hashlib.sha256(code.encode()).hexdigest())
    if found is None or found.until <= now:
        _WRONG.setdefault(world.folds, {}).setdefault(asked.person, deque(maxlen=TRIES)).append(now)
        raise Denied(
            "No terminal waits with this code. Look at the terminal again, or start `lastgood login` there anew."
        )
    entry = e.LoginGranted(
        key=found.key, person=asked.person, until=now + LOGIN_FOR, via=asked.via, host=words.plain(found.host, 60)
    )
    await _write(entry, orders, world)
    return f"The terminal on {entry.host} acts for you until {words.moment(entry.until)}."


def _not_guessing(person: str, now: datetime, world: World) -> None:
    """Refuse a person whose last codes were all wrong within a short time, for as long again."""
    wrong = list(_WRONG.get(world.folds, {}).get(person, ()))
    if len(wrong) < TRIES or wrong[-1] - wrong[0] >= TRIES_WITHIN or now - wrong[-1] >= TRIES_WITHIN:
        return
    message = f"{TRIES} codes were wrong. Try again after {words.moment(wrong[-1] + TRIES_WITHIN)}."
    raise Denied(message)


_ORDERS: dict[str, Callable[[Order, World], Awaitable[str]]] = {
    "autopilot_off": _switch, "autopilot_on": _switch, "trust": _trust, "release": _release, "lend": _lend, "return": _return, "login": _login,
}  # fmt: skip
