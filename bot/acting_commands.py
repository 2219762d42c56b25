"""The commands that act: signing a terminal in, acts on an incident, orders for the whole house. Each prints one answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bot import terminal
from bot.errors import LastgoodError
from bot.terminal import as_json, local, out, row, tell

if TYPE_CHECKING:  # types only: importing these would make every command wait
    from bot.config import Settings
    from bot.domain import entries as e
    from bot.domain.orders import Orders
    from bot.reading import Name, Seen
    from bot.signed_in import SignedIn
    from bot.store.timeline import Store

incident_acts = typer.Typer()
house_acts = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Suffix = Annotated[str, typer.Argument(metavar="INCIDENT", help="The id of an incident, or its last characters.")]
Why = Annotated[str, typer.Option("--reason", help="Why, in a sentence. Everybody in the channel reads it.")]
Said = Annotated[str, typer.Option("--reason", help="Why, in a sentence; not needed.")]
Shown = Annotated[str, typer.Option("--plan", help="The plan you read, its first 8 characters. A script must give it.")]
Member = Annotated[str, typer.Argument(metavar="PERSON", help="A Slack member id, like U0ANA.")]
_MEMBER = re.compile(r"[UW][A-Z0-9]+")


@dataclass(frozen=True, slots=True)
class _Told:
    """What came of it, with names and local times in it."""

    ok: bool
    text: str

    def print(self, *, json: bool) -> None:
        """Say it: for a script on stdout, for a person a refusal on stderr. A refusal ends 1."""
        if json:
            as_json({"ok": self.ok, "text": self.text})
        else:
            (out if self.ok else tell)(terminal.wrapped("✓ " if self.ok else "✗ ", self.text))
        if not self.ok:
            raise typer.Exit(1)


# ── signing in ────────────────────────────────────────────────────────────────────────────────────────────────────


@house_acts.command()
def login(
    *,
    status: Annotated[bool, typer.Option("--status", help="Only say who is signed in here.")] = False,
    json: Json = False,
) -> None:
    """Let this terminal act for you for 12 h.

    Shows a code to type in Slack, so do it while Slack is up. The key is kept in a file that only you can read.

    Example: lastgood login --status
    """
    if status:
        _status(json=json)
        return
    from bot.config import environment

    settings = environment()
    try:
        granted, name = _asked_and_waited(settings)
    except KeyboardInterrupt:
        message = "Nobody was signed in. The code ends by itself."
        raise LastgoodError(message) from None
    if granted is None:
        message = "Nobody typed the code in time, so nobody is signed in. `lastgood login` shows a new one."
        raise LastgoodError(message)
    _Told(ok=True, text=f"signed in as {name} until {local(granted.until)}").print(json=json)


def _asked_and_waited(settings: Settings) -> tuple[e.LoginGranted | None, str]:
    """Show a code, wait for the person who types it, and keep the key; give what was granted and their name."""
    from bot import reading, signed_in
    from bot.clock import SystemClock

    clock, before, mine = SystemClock(), signed_in.read(settings, trusting=False), signed_in.fresh(settings)

    async def work(store: Store) -> tuple[e.LoginGranted | None, str]:
        code = signed_in.new_code()
        asked = await signed_in.ask(store, mine, code, clock)
        for line in _invitation(code, asked, settings):
            tell(line)
        with terminal.waiting("Waiting for Slack") as look:
            granted = await signed_in.granted(store, asked, clock, look)
        if granted is not None:
            keep()
            if before is not None:
                await signed_in.end(store, before.public, clock)
        return granted, (await reading.names(store))(granted.person) if granted else ""

    with signed_in.drafted(settings, mine) as keep:
        return reading.read(work)


def _invitation(code: str, asked: e.LoginAsked, settings: Settings) -> list[str]:
    from bot.config import examine

    config, _, _ = examine(settings)
    page = f"{config.file.web.public_url.rstrip('/')}/login" if config and config.file.signin else ""
    return [
        f"In Slack, type   /rollback login {code}",
        *([f"or type the code at   {page}"] if page else []),
        f"It lets {asked.host} act for you for 12\u00a0h. The code ends at {local(asked.until)}.",
    ]


def _status(*, json: bool) -> None:
    try:
        who, name = _here()
    except LastgoodError as error:
        if not json:
            raise
        as_json({"signed_in": False, "text": str(error)})
        raise typer.Exit(1) from error
    text = f"signed in as {name} until {local(who.until)}"
    if json:
        as_json({"signed_in": True, "text": text, "person": who.person, "until": who.until})
    else:
        out(f"✓ {text}")


def _here() -> tuple[SignedIn, str]:
    """Give who acts from this terminal, and their name. Raises Denied."""
    from bot import reading, signed_in
    from bot.clock import SystemClock
    from bot.config import environment

    async def work(store: Store) -> tuple[SignedIn, str]:
        name = await reading.names(store)
        who = await signed_in.here(store, environment(), SystemClock(), name)
        return who, name(who.person)

    return reading.read(work)


@house_acts.command()
def logout(*, json: Json = False) -> None:
    """End the sign-in of this terminal and take its key away.

    Example: lastgood logout
    """
    from bot import reading, signed_in
    from bot.clock import SystemClock
    from bot.config import environment

    settings = environment()
    mine = signed_in.read(settings, trusting=False)
    if mine is None:
        _Told(ok=True, text="nobody was signed in on this terminal").print(json=json)
        return

    async def work(store: Store) -> str:
        person = await signed_in.end(store, mine.public, SystemClock())
        return (await reading.names(store))(person)

    who = reading.read(work)
    signed_in.place(settings).unlink(missing_ok=True)
    _Told(ok=True, text=f"{who} signed out" if who else "the sign-in was over; its key is gone").print(json=json)


# ── acts on an incident ───────────────────────────────────────────────────────────────────────────────────────────


def _seen(suffix: str) -> Seen:
    from bot import reading

    return reading.read(lambda store: reading.seen(store, suffix))


def _act(
    seen: Seen, action: str, *, json: bool, reason: str = "", asked: Mapping[str, str] | None = None, plan: str | None = None
) -> None:  # fmt: skip
    import asyncio

    from bot.acting import Wanted, act
    from bot.config import environment

    answer = asyncio.run(act(environment(), seen.incident, Wanted(action, reason, asked, plan)))
    _Told(answer.ok, answer.text).print(json=json)


def _read(seen: Seen, plan: str) -> None:
    """Show the plan; where nobody reads it, the plan must be named, so that nobody acts on one unseen."""
    from bot import reading

    if not plan and not terminal.interactive():
        message = "nobody reads the plan here; give its first 8 characters, as `lastgood incident show` prints them"
        raise typer.BadParameter(message, param_hint="--plan")
    for line in reading.asked(seen):
        tell(line)


def _asks(seen: Seen, action: str) -> bool:
    """Say whether to ask the person once more: only at a terminal, and only for what is possible now."""
    from bot.domain import access

    return terminal.interactive() and action in access.legal(seen.incident)


@incident_acts.command("approve")
def incident_approve(
    suffix: Suffix,
    *,
    plan: Shown = "",
    reason: Annotated[str, typer.Option("--reason", help="What you checked, where the rule asks for it.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask after showing the plan.")] = False,
    json: Json = False,
) -> None:
    """Approve the plan that is shown, after reading it.

    Example: lastgood incident approve 7Q4RD --plan 7f3a9c2e
    """
    _, name = _here()
    seen = _seen(suffix)
    _read(seen, plan)
    if not yes and _asks(seen, "approve") and terminal.ask(f"Approve {_change(seen)} as {name}? Type y: ") != "y":
        tell("Not now. Nothing was changed.")
        raise typer.Exit(1)
    _act(seen, "approve", json=json, reason=reason, plan=plan or None)


def _change(seen: Seen) -> str:
    from bot.domain import words

    plan = seen.incident.plan
    return words.change(plan.from_version, plan.to_version) if plan else "nothing"


@incident_acts.command("break-glass")
def incident_break_glass(
    suffix: Suffix,
    *,
    reason: Why,
    plan: Shown = "",
    typed: Annotated[str, typer.Option("--type", metavar="MODEL", help="The model's name, typed out.")] = "",
    json: Json = False,
) -> None:
    """Act alone, loudly; somebody else reviews it.

    For the role the policy names. The plan is shown first.

    Example: lastgood incident break-glass 7Q4RD --reason "Checkout is down, nobody else answers"
    """
    _, name = _here()
    seen = _seen(suffix)
    _read(seen, plan)
    if not typed and _asks(seen, "break_glass"):
        typed = terminal.ask(f"{name} alone moves {seen.incident.model} {_change(seen)}. Type the model's name: ")
    _act(seen, "break_glass", json=json, reason=reason, asked={"typed": typed}, plan=plan or None)


@incident_acts.command("reject")
def incident_reject(suffix: Suffix, *, reason: Why, json: Json = False) -> None:
    """Reject the plan; only a new plan clears that.

    Example: lastgood incident reject 7Q4RD --reason "42 is fine, the feed is late"
    """
    _act(_seen(suffix), "reject", json=json, reason=reason)


@incident_acts.command("cancel")
def incident_cancel(suffix: Suffix, *, reason: Why, json: Json = False) -> None:
    """Stop a rollback before its next effect.

    What was applied stays.

    Example: lastgood incident cancel 7Q4RD --reason "41 is failing as well"
    """
    _act(_seen(suffix), "cancel", json=json, reason=reason)


@incident_acts.command("take")
def incident_take(suffix: Suffix, *, json: Json = False) -> None:
    """Say that you have it.

    Example: lastgood incident take 7Q4RD
    """
    _act(_seen(suffix), "take", json=json)


@incident_acts.command("hand-over")
def incident_hand_over(
    suffix: Suffix,
    *,
    to: Annotated[str, typer.Option("--to", metavar="PERSON", help="A Slack member id, like U0ANA.")],
    reason: Annotated[str, typer.Option("--reason", help="What they must know.")],
    json: Json = False,
) -> None:
    """Give the incident to another person.

    Example: lastgood incident hand-over 7Q4RD --to U0TOM --reason "Step route fails, Envoy is read-only"
    """
    _act(_seen(suffix), "hand_over", json=json, reason=reason, asked={"to": _member(to)})


@incident_acts.command("retry")
def incident_retry(suffix: Suffix, *, json: Json = False) -> None:
    """Try again what is not finished.

    Example: lastgood incident retry 7Q4RD
    """
    _act(_seen(suffix), "retry", json=json)


@incident_acts.command("pause")
def incident_pause(suffix: Suffix, *, reason: Why, json: Json = False) -> None:
    """Let no further step of a rollback start.

    What is under way ends. After 15 min a person is called.

    Example: lastgood incident pause 7Q4RD --reason "Network work until 03:30"
    """
    _act(_seen(suffix), "pause", json=json, reason=reason)


@incident_acts.command("resume")
def incident_resume(suffix: Suffix, *, json: Json = False) -> None:
    """Let a paused rollback go on.

    Example: lastgood incident resume 7Q4RD
    """
    _act(_seen(suffix), "resume", json=json)


@incident_acts.command("skip")
def incident_skip(suffix: Suffix, *, reason: Why, json: Json = False) -> None:
    """Go on without the unfinished step.

    A skipped step of a target is never proven, and every verdict says so.

    Example: lastgood incident skip 7Q4RD --reason "The cache is empty anyway"
    """
    _act(_seen(suffix), "skip", json=json, reason=reason)


@incident_acts.command("by-hand")
def incident_by_hand(suffix: Suffix, *, reason: Why, json: Json = False) -> None:
    """Say that you did the unfinished step by hand.

    It is read and proven like any other.

    Example: lastgood incident by-hand 7Q4RD --reason "Set both weights over the admin port"
    """
    _act(_seen(suffix), "by_hand", json=json, reason=reason)


@incident_acts.command("compensate")
def incident_compensate(suffix: Suffix, *, reason: Why, json: Json = False) -> None:
    """Put back what a rollback applied, in exact reverse.

    Example: lastgood incident compensate 7Q4RD --reason "41 cannot read the new features"
    """
    _act(_seen(suffix), "compensate", json=json, reason=reason)


@incident_acts.command("fix")
def incident_fix(
    suffix: Suffix,
    *,
    reason: Annotated[str, typer.Option("--reason", help="What was wrong, and what mends it.")],
    version: Annotated[str, typer.Option("--version", help="The version that holds the fix.")] = "",
    json: Json = False,
) -> None:
    """Record the fix.

    Until then a recovered incident is mitigated, not fixed.

    Example: lastgood incident fix 7Q4RD --version 43 --reason "merchant_age is filled again"
    """
    _act(_seen(suffix), "fix", json=json, reason=reason, asked={"version": version})


@incident_acts.command("grade")
def incident_grade(
    suffix: Suffix,
    grade: Annotated[Literal["helped", "neutral", "harmful"], typer.Argument(help="How it was.")],
    *,
    reason: Why,
    json: Json = False,
) -> None:
    """Overrule the grade of a rollback.

    Example: lastgood incident grade 7Q4RD neutral --reason "The feed recovered by itself"
    """
    _act(_seen(suffix), "grade", json=json, reason=reason, asked={"grade": grade})


@incident_acts.command("clear")
def incident_clear(
    suffix: Suffix,
    leftover: Annotated[str, typer.Argument(help="What is gone, as `lastgood incident show` names it.")],
    *,
    reason: Why,
    json: Json = False,
) -> None:
    """Clear what a rollback left behind.

    Example: lastgood incident clear 7Q4RD route --reason "The static weights say the same now"
    """
    _act(_seen(suffix), "clear", json=json, reason=reason, asked={"leftover": leftover})


@incident_acts.command("choose")
def incident_choose(
    suffix: Suffix,
    *,
    version: Annotated[str, typer.Option("--version", help="The version to go back to instead.")],
    reason: Said = "",
    json: Json = False,
) -> None:
    """Ask for a plan to another version.

    You are its requester then, so somebody else approves it.

    Example: lastgood incident choose 7Q4RD --version 40
    """
    _act(_seen(suffix), "choose", json=json, reason=reason, asked={"version": version})


@incident_acts.command("edit")
def incident_edit(
    suffix: Suffix,
    *,
    on_failure: Annotated[
        Literal["before_traffic", "stop", "compensate"],
        typer.Option("--on-failure", help="What becomes of finished steps when one fails."),
    ],
    reason: Said = "",
    json: Json = False,
) -> None:
    """Change the plan; a new one follows.

    It has a new hash, earlier approvals count for nothing, and you have no vote on it.

    Example: lastgood incident edit 7Q4RD --on-failure stop
    """
    _act(_seen(suffix), "edit", json=json, reason=reason, asked={"on_failure": on_failure})


@incident_acts.command("snooze")
def incident_snooze(
    suffix: Suffix,
    *,
    span: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long, like 2h; at most 24h.")],
    reason: Why,
    json: Json = False,
) -> None:
    """Put the incident off; a worse alert ends that.

    Example: lastgood incident snooze 7Q4RD --for 2h --reason "Load test until noon"
    """
    _act(_seen(suffix), "snooze", json=json, reason=reason, asked={"until": span})


@incident_acts.command("review")
def incident_review(suffix: Suffix, *, reason: Why, json: Json = False) -> None:
    """Review what somebody did behind broken glass.

    Example: lastgood incident review 7Q4RD --reason "Right call, the pager was silent"
    """
    _act(_seen(suffix), "review", json=json, reason=reason)


@incident_acts.command("mark-recovered")
def incident_mark_recovered(suffix: Suffix, *, reason: Why, json: Json = False) -> None:
    """Judge recovered what Lastgood could not.

    Example: lastgood incident mark-recovered 7Q4RD --reason "Checked by hand on both shards"
    """
    _act(_seen(suffix), "mark_recovered", json=json, reason=reason)


@incident_acts.command("give-up")
def incident_give_up(suffix: Suffix, *, reason: Why, json: Json = False) -> None:
    """Close an incident whose rollback stands as it is.

    Example: lastgood incident give-up 7Q4RD --reason "Moved the route by hand"
    """
    _act(_seen(suffix), "give_up", json=json, reason=reason)


@incident_acts.command("plan-again")
def incident_plan_again(suffix: Suffix, *, reason: Said = "", json: Json = False) -> None:
    """Ask for a new plan.

    Example: lastgood incident plan-again 7Q4RD
    """
    _act(_seen(suffix), "plan_again", json=json, reason=reason)


@incident_acts.command("dismiss")
def incident_dismiss(suffix: Suffix, *, reason: Said = "", json: Json = False) -> None:
    """Close an incident in which nothing was moved.

    Example: lastgood incident dismiss 7Q4RD
    """
    _act(_seen(suffix), "dismiss", json=json, reason=reason)


@incident_acts.command("who")
def incident_who(suffix: Suffix, *, json: Json = False) -> None:
    """Say who could approve now, and why others not.

    Example: lastgood incident who 7Q4RD
    """
    import asyncio

    from bot import acting
    from bot.config import environment

    found, places, names = asyncio.run(acting.who_could(environment(), _seen(suffix).incident.stream))
    if json:
        as_json(acting.as_json(found, places))
        return
    for line in acting.lines(found, places, lambda user: names.get(user, user)):
        out(line)


# ── orders for the whole house ────────────────────────────────────────────────────────────────────────────────────


def _order(action: str, asked: Mapping[str, str], reason: str, *, json: bool) -> None:
    import asyncio

    from bot.acting import give_order
    from bot.config import environment

    answer = asyncio.run(give_order(environment(), action, reason, asked))
    _Told(answer.ok, answer.text).print(json=json)


def _member(text: str) -> str:
    """Take a member's id; a name proves nobody, so it is answered with the ids that are known. Raises LastgoodError."""
    from bot import reading

    if _MEMBER.fullmatch(text):
        return text
    known = reading.read(lambda store: store.everybody())
    people = ", ".join(f"{name} {user}" for user, name in sorted(known.items(), key=lambda one: one[1]))
    message = f"`{text}` is no Slack member id. Known: {people or 'nobody yet'}. Nothing was changed."
    raise LastgoodError(message)


@house_acts.command()
def rollback(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    *,
    reason: Why,
    env: Annotated[str, typer.Option("--env", help="The environment, where there are several.")] = "",
    to: Annotated[str, typer.Option("--to", help="A version by name; left out, the last good one.")] = "",
    json: Json = False,
) -> None:
    """Propose a rollback; you asked for it, so somebody else approves it.

    Example: lastgood rollback fraud-scorer --env prod --to 41 --reason "Chargebacks doubled since 42"
    """
    import asyncio

    from bot.acting import ask_for_rollback
    from bot.config import environment

    answer = asyncio.run(ask_for_rollback(environment(), model, env, to, reason))
    _Told(answer.ok, answer.text).print(json=json)


@house_acts.command()
def autopilot(
    word: Annotated[Literal["off", "on"] | None, typer.Argument(help="Left out, it says how it stands.")] = None,
    *,
    model: Annotated[str, typer.Option("--model", help="Only for this model; left out, for all.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why, in a sentence; needed to switch.")] = "",
    json: Json = False,
) -> None:
    """Switch acting alone off or on.

    While it is off, people are asked instead. Alone it says how it stands.

    Example: lastgood autopilot off --model fraud-scorer --reason "Labels are late today"
    """
    if word is None:
        _autopilot_state(model, json=json)
        return
    if not reason:
        message = "say why: everybody reads it on every card"
        raise typer.BadParameter(message, param_hint="--reason")
    _order(f"autopilot_{word}", {"model": model} if model else {}, reason, json=json)


def _autopilot_state(model: str, *, json: bool) -> None:
    from bot import reading
    from bot.domain.orders import SWITCH, fold

    async def work(store: Store) -> tuple[Orders, Name]:
        return fold(SWITCH, await store.read(SWITCH)), await reading.names(store)

    orders, name = reading.read(work)
    said = {one: word for one, word in orders.switched.items() if one in ("", model) or not model}
    if json:
        rows = [{"model": one, "on": word.on, "person": word.person, "at": word.at} for one, word in said.items()]
        as_json({"autopilot": rows})
        return
    for one, word in said.items():
        where, how = one or "all models", "on" if word.on else "off"
        out(row(how, f"for {where}, {name(word.person)} {local(word.at, '%d %b %H:%M %Z')}"))
    if "" not in said:
        out(row("on", "for all models, nobody ever switched it off"))


@house_acts.command()
def trust(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    rule: Annotated[str, typer.Argument(help="A rule of the policy with `ladder: true`.")],
    rung: Annotated[Literal["notify", "approve", "auto"], typer.Argument(help="How far it may go alone.")],
    *,
    reason: Why,
    env: Annotated[str, typer.Option("--env", help="The environment, where there are several.")] = "",
    json: Json = False,
) -> None:
    """Move a rule up or down the trust ladder for one model.

    Example: lastgood trust fraud-scorer fast-burn auto --reason "Three rollbacks helped"
    """
    where = {"environment": env} if env else {}
    _order("trust", {"model": model, "rule": rule, "rung": rung, **where}, reason, json=json)


@house_acts.command()
def release(
    model: Annotated[str, typer.Argument(help="The model.")],
    version: Annotated[str, typer.Argument(help="A quarantined version of it.")],
    *,
    reason: Why,
    env: Annotated[str, typer.Option("--env", help="The environment, when there are several.")] = "",
    json: Json = False,
) -> None:
    """Release a version from quarantine.

    A rollback may go to it again, and the gate lets it serve. You answer for that with your name.

    Example: lastgood release fraud-scorer 42 --reason "merchant_age is filled again"
    """
    where = {"environment": env} if env else {}
    _order("release", {"model": model, "version": version, **where}, reason, json=json)


@house_acts.command()
def lend(
    role: Annotated[str, typer.Argument(help="A role you hold.")],
    person: Member,
    *,
    span: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long, like 8h.")],
    reason: Why,
    json: Json = False,
) -> None:
    """Lend a role you hold to another person, for a time.

    Example: lastgood lend oncall-sre U0TOM --for 8h --reason "Dentist this morning"
    """
    _order("lend", {"role": role, "to": _member(person), "until": span}, reason, json=json)


@house_acts.command("return")
def give_back(
    role: Annotated[str, typer.Argument(help="The role that was lent.")], person: Member, *, json: Json = False
) -> None:
    """End a lent role before its time.

    Example: lastgood return oncall-sre U0TOM
    """
    _order("return", {"role": role, "to": _member(person)}, "", json=json)
