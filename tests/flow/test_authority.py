"""Who may and when, under everything people, groups, files, clocks and orders can do: an oracle of its own judges every claim.

The oracle knows the rules as sentences of this file, never through the product's own policy, quorum or digest code. At the
moment a claim is written it looks at the world itself: who is in which group now, what the files say now, what was voted.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import Phase as Part
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bot.domain import entries as e
from bot.domain.incident import Incident, Phase, fold
from bot.domain.policy import Policy
from bot.domain.press import Order
from bot.errors import LastgoodError
from bot.flow.orders import order
from bot.ports import Append
from tests.flow import fakes
from tests.flow.corridor import MODEL, ROLES, STREAM, Corridor

REACHED: Counter[str] = Counter()
COOLDOWN, A_DAY = timedelta(minutes=30), 2
FIRST = ("", "", "one_after_another", "nobody_can_tell_the_value")
CHANGES = ("group", "account", "world", "files", "reject", "expire", "edit", "window")
LONG = "because the service is down and nobody else can be reached"
PEOPLE = ("U0ANA", "U0TOM", "U0PRIYA", "U0MIKA", "U0INES", "U0GIL")


@dataclass(frozen=True)
class Regime:
    """One policy, and what it means in words the oracle can follow: who must approve, and when it may act alone."""

    rules: tuple[dict[str, Any], ...]
    alone_above: float | None = None  # acts alone when the alert's value is known and above this; None: never
    strict_unless_low: bool = False  # two people, unless the value is known and at most 0.1


REGIMES = {
    "both": Regime(({"id": "both", "require": [{"role": "sre"}, {"role": "owner"}]},)),
    "pair": Regime(({"id": "pair", "require": [{"role": "sre", "count": 2}]},)),
    "alone": Regime(
        ({"id": "alone", "when": "value > 0.1", "mode": "auto"}, {"id": "else", "require": [{"role": "sre"}]}),
        alone_above=0.1,
    ),
    "errored": Regime(
        (
            {"id": "two", "when": "value > 0.1", "require": [{"role": "sre"}, {"role": "owner"}]},
            {"id": "one", "require": [{"role": "sre"}]},
        ),
        strict_unless_low=True,
    ),
}
BLACKOUT = {"from": "00:00", "to": "00:00", "zone": "UTC", "name": "all day"}


def asked_of(regime: Regime, value: float | None) -> list[str]:
    """The places people must fill, told from the regime's words alone."""
    if regime.strict_unless_low:
        return ["sre"] if value is not None and value <= 0.1 else ["sre", "owner"]
    return [
        place["role"] for one in regime.rules[-1:] for place in one["require"] for _ in range(place.get("count", 1))
    ]


class Judged(fakes.Memory):
    """A timeline that hands every claim to the oracle, as the world is at that moment."""

    oracle: Authority

    async def append(self, append: Append) -> list[e.Recorded]:
        before = {w.stream: list(self.streams.get(w.stream, [])) for w in append.writes}
        written = await super().append(append)
        for one in append.writes:
            for entry in one.entries:
                if isinstance(entry, e.RollbackClaimed):
                    self.oracle.claimed(one.stream, before[one.stream], entry)
                elif isinstance(entry, e.PolicyDecided):
                    self.oracle.decided(entry, one.stream)
        return written


class Authority(RuleBasedStateMachine):
    """One model, one target, one policy at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.claims: list[tuple[datetime, str]] = []  # when, and whether alone
        self.blackout = self.off = False
        self.value: float | None = 0.12
        self.stream: str | None = None
        self.fired = 0

    @initialize(regime=st.sampled_from(sorted(REGIMES)), first=st.sampled_from(FIRST))
    def begin(self, regime: str, first: str = "") -> None:
        """Begin, now and then with what chance alone comes to seldom."""
        self.regime = REGIMES[regime]
        self.here = Corridor(self.regime.rules)
        self.here.memory.__class__ = Judged
        self.here.memory.oracle = self  # type: ignore[attr-defined]  # the judged one has it
        self.files()
        if first:
            getattr(self, first)()

    def do(self, what: Any) -> Any:
        return self.loop.run_until_complete(what)

    def files(self) -> None:
        """Put the files in force as they are now."""
        limits = {
            "cooldown": "30m",
            "max_auto_per_day": A_DAY,
            "rollback_window": "3650d",
            "blackouts": [BLACKOUT] if self.blackout else [],
        }
        policy = Policy.model_validate(
            {
                "rules": list(self.regime.rules), "limits": limits, "break_glass": {"role": "boss", "min_reason_chars": 20},
            }
        )  # fmt: skip
        self.here.world = replace(self.here.world, catalogue=replace(self.here.world.catalogue, policy=policy))

    # ── the oracle ────────────────────────────────────────────────────────────────────────────────────────────────

    def holds(self, who: str, role: str) -> bool:
        """Say whether a person holds a role now, by looking at the groups, not by asking the product."""
        facts = self.here.people.facts.get(who)
        if facts is None or not facts.get("active", True) or facts.get("guest") or facts.get("bot"):
            return False
        groups = any(who in self.here.people.groups[one] for one in ROLES[role].usergroups)
        return groups or who in ROLES[role].members

    def decided(self, entry: e.PolicyDecided, stream: str) -> None:
        """Every decision: acting alone only when every word of the regime allows it; never less than asking when it does not."""
        firing = self.at(stream).firing
        self.value = firing[0].value if firing else None
        alone = self._may_act_alone()
        assert (entry.mode == "auto") == (alone and entry.facts["by_person"] is False), f"acts alone: {entry.reason}"
        if self.blackout:
            assert entry.mode == "approve", "a blackout never blocks a rollback"
        if entry.mode == "approve":
            places = [place.role for place in entry.require for _ in range(place.count)]
            assert sorted(places) == sorted(asked_of(self.regime, self.value)), entry.reason

    def _may_act_alone(self) -> bool:
        now = self.here.clock.now()
        above = self.regime.alone_above
        if above is None or self.value is None or self.value <= above or self.blackout or self.off:
            return False
        today = [at for at, mode in self.claims if mode == "auto" and now - at < timedelta(hours=24)]
        cool = not self.claims or now - self.claims[-1][0] >= COOLDOWN
        return len(today) < A_DAY and cool

    def claimed(self, stream: str, rows: list[e.Recorded], claim: e.RollbackClaimed) -> None:
        """Every claim: RI1 to RI6 as the world is now."""
        now, entries = self.here.clock.now(), [row.entry for row in rows]
        made = max(n for n, one in enumerate(entries) if isinstance(one, e.PlanMade))
        plan, since = entries[made].plan, entries[made:]  # type: ignore[attr-defined]  # chosen by its type
        decided = [one for one in since if isinstance(one, e.PolicyDecided)][-1]
        glass = [one for one in since if isinstance(one, e.GlassBroken)]
        assert claim.plan == plan.id, "RI2: another plan"
        assert not [one for one in since if isinstance(one, e.PlanVoided | e.PlanExpired)], "RI2: a plan that is over"
        assert not [one for one in since if isinstance(one, e.PlanRejected)], "RI4: rejected"
        assert not [one for one in since if isinstance(one, e.PlanEdited)], "RI2: edited"
        (target,) = plan.targets
        assert target.before.token == self.here.targets["route"].world.held.token, "RI2: the world moved"
        assert plan.policy_digest == self._digest(), "RI2: other files"
        assert STREAM in {name for name, held in self._held().items() if held == stream}, "RI6"
        mode = "break_glass" if glass else decided.mode
        REACHED[mode] += 1
        self.claims.append((now, mode))
        if glass:
            self._alone_by_glass(glass[-1], now)
        elif mode == "approve":
            self._quorum(claim, plan, decided, since, now)
            self._in_time(rows[made:], decided)
        else:
            assert mode == "auto", "RI1: neither people nor a rule"

    def _digest(self) -> str:
        return self.here.world.catalogue.policy_digest_of(MODEL, "prod")

    def _held(self) -> dict[str, str | None]:
        ledger = self.here.memory.streams[STREAM]
        lock = None
        for row in ledger:
            if isinstance(row.entry, e.LockTaken):
                assert lock is None, "RI6: two rollbacks of one model"
                lock = row.entry.incident
            elif isinstance(row.entry, e.LockReleased):
                lock = None
        return {STREAM: lock}

    def _in_time(self, rows: list[e.Recorded], decided: e.PolicyDecided) -> None:
        """Voting ends when the plan does; only a quorum that fell apart at the claim gives time back."""
        if decided.expires_at is None or any(isinstance(row.entry, e.PlanUncleared) for row in rows):
            return
        cleared = [row.at for row in rows if isinstance(row.entry, e.PlanCleared)]
        assert cleared[-1] < decided.expires_at, "RI2: cleared after its time"

    def _alone_by_glass(self, glass: e.GlassBroken, now: datetime) -> None:
        assert self.holds(glass.person, "boss"), "RI1: no longer in charge"
        assert len(self.here.memory.texts[glass.text_ref].strip()) >= 20, "break-glass without a reason"
        assert now <= glass.window_ends, "RI2: the window is over"

    def _quorum(
        self, claim: e.RollbackClaimed, plan: Any, decided: e.PolicyDecided, since: list[e.Entry], now: datetime
    ) -> None:
        given = [one for one in since if isinstance(one, e.ApprovalGiven)]
        voters = {one.person for one in given if one.plan == plan.id}
        assert len(set(claim.people)) == len(claim.people), "RI1: one person counted twice"
        assert set(claim.people) <= voters, "RI2: a vote for another plan"
        assert plan.requester not in claim.people, "RI3: the requester"
        assert plan.editor not in claim.people, "RI3: the editor"
        cleared = [one for one in since if isinstance(one, e.PlanCleared)]
        assert cleared, "RI1: never cleared"
        assert now <= cleared[-1].window_ends, "RI2: the window is over"
        places = asked_of(self.regime, self.value)
        fits = any(
            all(self.holds(who, role) for who, role in zip(order_, places, strict=True))
            for order_ in itertools.permutations(claim.people, len(places))
        )
        assert fits, f"RI1: {claim.people} do not fill {places}"

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────────────

    def at(self, stream: str) -> Incident:
        return fold(self.here.memory.streams[stream])

    def turn(self) -> None:
        if self.stream:
            self.do(self.here.turn(self.stream))

    def open(self) -> str:
        """Bring one incident to where people or a rule decide; the last one is given up first when it is in the way."""
        stream = self.stream
        if stream and self.at(stream).phase is not Phase.CLOSED:
            if self.at(stream).claim is not None:
                self.over()
            elif self.at(stream).phase in (Phase.STUCK, Phase.NOTED):
                self.do(self.here.resolve())
                self.do(self.here.press("U0INES", "dismiss", stream))
        target = self.here.targets["route"]
        if target.split.share("42") == 0:
            target.move({"41": 0, "42": 100})
        self.fired += 1  # each alert its own: none of them flaps
        self.stream = str(self.do(self.here.fire(f"f{self.fired}", value=self.value)))
        return self.stream

    def over(self) -> None:
        """Let it recover and close, so that the next rollback can be thought of."""
        stream = self.stream
        assert stream is not None
        self.do(self.here.resolve())
        incident = self.do(self.here.run(stream, 60, until=Phase.CLOSED))
        if incident.phase is not Phase.CLOSED:
            self.do(self.here.press("U0INES", "give_up", stream))

    @rule(value=st.sampled_from([0.12, 0.12, 0.05, None]))
    def alert(self, value: float | None) -> None:
        if self.stream is None or self.at(self.stream).phase is Phase.CLOSED:
            self.value = value
        self.open()
        self.turn()

    @precondition(lambda self: self.stream)
    @rule(who=st.sampled_from(PEOPLE), plan=st.sampled_from([None, None, None, "00000000"]), early=st.booleans())
    def vote(self, who: str, plan: str | None, early: bool) -> None:  # noqa: FBT001  drawn by hypothesis
        stream = str(self.stream)
        answer = self.do(self.here.press(who, "approve", stream, **({"plan": plan} if plan else {})))
        assert not (plan and answer.ok), "a vote from a card that showed another plan"
        if not early:
            self.turn()

    @rule(
        votes=st.permutations(["U0ANA", "U0TOM", "U0PRIYA", "U0INES"]),
        asked=st.sampled_from([None, None, "U0ANA", "U0PRIYA"]),
        meanwhile=st.sampled_from([*[""] * 6, "world", *CHANGES]),
    )
    def everybody_votes(self, votes: list[str], asked: str | None, meanwhile: str) -> None:
        """Bring it to a quorum; then one thing changes before the claim. Chance alone rarely gets that far."""
        stream = self.open()
        if asked:
            with contextlib.suppress(LastgoodError):
                self.do(self.here.ask(asked))
        self.here.people.groups["S0SRE"] |= {"U0ANA", "U0TOM"}
        self.here.people.facts["U0PRIYA"] = {}
        self.turn()
        if self.at(stream).phase is not Phase.WAITING:
            return
        for who in votes:
            self.do(self.here.press(who, "approve", stream))
            if meanwhile == "edit" and who == votes[1]:
                self.do(self.here.press("U0TOM", "edit", stream, asked={"on_failure": "stop"}))
        self._change(meanwhile, stream)
        self.turn()
        if meanwhile == "edit":  # the editor tries the new plan, too
            for who in votes:
                self.do(self.here.press(who, "approve", stream))
            self.turn()
        if self.at(stream).claim is not None:
            self.over()

    def _change(self, what: str, stream: str) -> None:
        match what:
            case "group":
                self.here.people.groups["S0SRE"] -= {"U0ANA", "U0TOM"}
            case "account":
                self.here.people.facts["U0PRIYA"] = {"active": False}
            case "world":
                self.here.targets["route"].move({"41": 50, "42": 50})
            case "files":
                self.blackout = not self.blackout
                self.files()
            case "reject":
                self.do(self.here.press("U0MIKA", "reject", stream, reason="no, the feed is late"))
            case "expire":
                self.here.clock.advance(1000)
            case "window":
                self.turn_to_cleared(stream)
                self.here.clock.advance(61)

    def turn_to_cleared(self, stream: str) -> None:
        """Let the quorum be counted while the target cannot be read, so that the claim has to wait."""
        self.here.people.away = True
        self.do(self.here.turn(stream))
        self.here.people.away = False

    @rule(
        first=st.sampled_from(["U0ANA", "U0TOM"]),
        second=st.sampled_from(["U0PRIYA", "U0MIKA", "U0ANA"]),
        lost=st.booleans(),
    )
    def two_vote_and_it_goes_well(self, first: str, second: str, lost: bool) -> None:  # noqa: FBT001  drawn by hypothesis
        """The plain case, often: two people, sometimes one of them leaves in the last moment."""
        stream = self.open()
        self.turn()
        for who in (first, second):
            self.do(self.here.press(who, "approve", stream))
        if lost:
            self.here.people.groups["S0SRE"] -= {first}
        self.turn()
        self.here.people.groups["S0SRE"] |= {first}
        self.turn()
        if self.at(stream).claim is not None:
            self.over()

    @rule(second=st.sampled_from(["U0PRIYA", "U0ANA"]))
    def an_editor_approves(self, second: str) -> None:
        """Who changed the plan tries to approve what they made of it."""
        stream = self.open()
        self.here.people.groups["S0SRE"] |= {"U0ANA", "U0TOM"}
        self.turn()
        edited = self.do(self.here.press("U0TOM", "edit", stream, asked={"on_failure": "stop"}))
        if not edited.ok:
            return
        self.turn()
        for who in ("U0TOM", second):
            self.do(self.here.press(who, "approve", stream))
        self.turn()
        if self.at(stream).claim is not None:
            self.over()

    @rule()
    def one_after_another(self) -> None:
        """As many rollbacks as a day has cooldowns for: only so many are done alone."""
        self.free()
        for _ in range(A_DAY + 1):
            if self.stream and self.at(self.stream).phase is not Phase.CLOSED:
                self.over()
            self.here.clock.advance(COOLDOWN.total_seconds() + 1)
            self.value = 0.12
            stream = self.open()
            self.turn()
            if self.at(stream).claim is None:
                return
            self.over()

    @precondition(lambda self: self.stream)
    @rule(
        who=st.sampled_from(["U0INES", "U0INES", "U0ANA"]),
        reason=st.sampled_from([LONG, LONG, "short", " " * 30]),
        typed=st.sampled_from([MODEL, MODEL, "ranker"]),
    )
    def glass(self, who: str, reason: str, typed: str) -> None:
        stream = self.open()
        self.turn()
        answer = self.do(self.here.press(who, "break_glass", stream, reason=reason, asked={"typed": typed}))
        if answer.ok:
            assert (who, reason, typed) == ("U0INES", LONG, MODEL), "broke the glass without what it asks for"
        self.turn()

    @precondition(lambda self: self.stream)
    @rule(who=st.sampled_from(PEOPLE))
    def rejection(self, who: str) -> None:
        self.do(self.here.press(who, "reject", str(self.stream), reason="42 is fine, the feed is late"))

    @rule(on=st.booleans())
    def switch(self, on: bool) -> None:  # noqa: FBT001  drawn by hypothesis
        wish = Order("U0INES", "autopilot_on" if on else "autopilot_off", reason="network work until noon")
        if self.do(order(wish, self.here.world)).ok:
            self.off = not on
        self.turn()

    @rule()
    def files_change(self) -> None:
        self.blackout = not self.blackout
        self.files()
        self.turn()

    @rule(who=st.sampled_from(["U0ANA", "U0TOM", "U0INES"]))
    def joins_or_leaves(self, who: str) -> None:
        self.here.people.groups["S0SRE"] ^= {who}

    @rule(who=st.sampled_from(["U0PRIYA", "U0ANA"]), flag=st.sampled_from(["", "guest", "bot", "gone"]))
    def account(self, who: str, flag: str) -> None:
        self.here.people.facts[who] = {} if not flag else {"active": False} if flag == "gone" else {flag: True}

    @precondition(lambda self: self.stream)
    @rule()
    def it_ends(self) -> None:
        if self.at(str(self.stream)).claim is not None and self.at(str(self.stream)).phase is not Phase.CLOSED:
            self.over()

    @rule(seconds=st.sampled_from([1, 61, 400, 1000, 1799, 90_000]))
    def time(self, seconds: int) -> None:
        self.here.clock.advance(seconds)
        self.turn()

    def quiet(self, seconds: float) -> None:
        """Let what is open end, and time pass."""
        if self.stream and self.at(self.stream).phase is not Phase.CLOSED:
            self.over()
        self.here.clock.advance(max(0.0, seconds))

    def free(self) -> None:
        """Take away what people ordered: nothing but the rule itself decides."""
        if self.blackout:
            self.blackout = False
            self.files()
        if self.off:
            self.switch(on=True)
        self.quiet(25 * 3600)

    @rule(off=st.sampled_from([-1, 0, 1]))
    def just_about_the_cooldown(self, off: int) -> None:
        """Ask the policy a second before, at, and a second after the end of a cooldown."""
        self.free()
        self.value = 0.12
        self.open()
        self.turn()
        if self.claims:
            self.quiet(0)
            self.quiet((self.claims[-1][0] + COOLDOWN - self.here.clock.now()).total_seconds() + off)
            self.value = 0.12
            self.open()
            self.turn()

    @rule(how=st.sampled_from(["files", "switch"]))
    def people_want_to_be_asked(self, how: str) -> None:
        """A blackout or a switched-off autopilot, and nothing else, stands in the way of acting alone."""
        self.free()
        if how == "files":
            self.files_change()
        else:
            self.switch(on=False)
        self.value = 0.12
        self.open()
        self.turn()

    @rule()
    def nobody_can_tell_the_value(self) -> None:
        """Nothing else stands in the way of acting alone, and the guard cannot be evaluated."""
        self.free()
        self.value = None
        self.open()
        self.turn()

    @invariant()
    def votes_are_one_a_person(self) -> None:
        if hasattr(self, "here") and self.stream:
            voters = [vote.person for vote in self.at(self.stream).votes]
            assert len(voters) == len(set(voters)), "RT10"

    def teardown(self) -> None:
        self.loop.close()


def test_RI1_to_RI6_every_claim_is_allowed_by_people_and_rules_as_they_are_then(tell: Callable[[str], None]) -> None:
    REACHED.clear()
    # A mutant needs to be found, not to be shown small; a person does.
    parts = [Part.generate] if os.environ.get("LASTGOOD_MUTANT") else [Part.generate, Part.shrink]
    quick = settings(
        max_examples=320, stateful_step_count=25, deadline=None, derandomize=True, phases=parts,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(Authority, settings=quick)
    if os.environ.get("LASTGOOD_MUTANT"):
        return
    executions = REACHED["approve"] + REACHED["auto"] + REACHED["break_glass"]
    tell(f"executions: {executions}, {dict(sorted(REACHED.items()))}")
    assert executions >= 500
    assert min(REACHED["approve"], REACHED["auto"], REACHED["break_glass"]) >= 30
