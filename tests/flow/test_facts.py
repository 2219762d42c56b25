"""Every fact a policy may ask about: what it says when it is known, and that it is None, said in the log, when nobody could say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from adapters.traffic.memory import Fault
from bot.domain import entries as e
from bot.domain.alert import Alert, Kind, Severity
from bot.domain.catalogue import Catalogue
from bot.domain.entries import Recorded
from bot.domain.facts import FACTS, live, plain
from bot.domain.incident import Incident, model_stream
from bot.domain.model import FigureName, Model
from bot.domain.policy import Policy
from bot.domain.sli import Measurement
from bot.domain.traffic import TrafficSplit
from bot.errors import Unavailable
from bot.flow.facts import gather, judge, overtaken
from bot.flow.world import Folds
from tests.flow import fakes
from tests.flow.corridor import ALONE, MODEL, PLACE, STREAM, Corridor, Meter

SRE = {"id": "sre", "require": [{"role": "sre"}]}
READY = {"capacity": {"source": "figures", "ready": {"number": 3}, "needed": 3}}
KINDS = {"string": str, "int": int, "double": float, "bool": bool, "timestamp": datetime, "map": dict}
FRIDAY = {"name": "weekend", "days": ["fri"], "from": "18:00", "to": "08:00", "zone": "Europe/Berlin"}


class Figured(BaseModel):
    """A query that says which number it stands for."""

    number: float | None = None


class Figures(Meter):
    """A source of figures: each is the number its query names, None for silence."""

    Query: ClassVar[type[BaseModel]] = Figured

    async def measure(self, query: BaseModel, since: Measurement | None) -> Measurement:
        assert isinstance(query, Figured)
        assert since is None
        if self.hangs:
            await asyncio.Event().wait()
        reason = "" if query.number is not None else "the query gave no series"
        return Measurement(at=self.clock.now(), value=query.number, reason=reason)


class Hushed:
    """What keeps silences: some fingerprints, no answer at all, or an error."""

    def __init__(self, *fingerprints: str, error: Unavailable | None = None, hangs: bool = False) -> None:
        self.fingerprints, self.error, self.hangs = set(fingerprints), error, hangs

    async def silenced(self, alerts: Sequence[Alert]) -> tuple[str, ...]:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return tuple(one.fingerprint for one in alerts if one.fingerprint in self.fingerprints)


class House(Corridor):
    """The corridor with other models in the house, figures, silences and limits."""

    def __init__(
        self, rules: Sequence[Mapping[str, Any]] = (SRE,), *, models: Mapping[str, Sequence[str]] | None = None,
        figures: Mapping[FigureName, float | None] | None = None, limits: Mapping[str, Any] | None = None,
        place: Mapping[str, Any] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        super().__init__(rules, place=dict(place or {}))
        self.figures = Figures(self.clock)
        self.files(models or {}, figures or {}, {"rules": list(rules), "limits": limits or {}, **more})

    def files(
        self,
        models: Mapping[str, Sequence[str]],
        figures: Mapping[FigureName, float | None],
        policy: Mapping[str, Any],
    ) -> None:
        """Be configured like this. `models` names the consumers of each, this one's too."""
        files, own = self.world.catalogue, self.world.catalogue.models[MODEL]
        asked = {name: {"source": "figures", "number": number} for name, number in figures.items()}
        place = {**own.environments[PLACE].model_dump(), "figures": asked}
        shape = {"tier": 1, "environments": {PLACE: place, "staging": place}}
        described = {
            name: Model.model_validate({**shape, "consumers": list(models.get(name, ()))}) for name in {MODEL, *models}
        }
        self.world = replace(
            self.world,
            catalogue=Catalogue(described, Policy.model_validate(policy), files.roles, files.runbooks),
            metrics={"meter": self.meter, "figures": self.figures},
        )

    def serves(self, model: str, place: str = PLACE, target: str = "route", **split: int) -> None:
        """Let a model's target be seen to serve this split, in percent by version (`v41`)."""
        weights = TrafficSplit(weights={name[1:]: Decimal(share) for name, share in split.items()})
        self.memory.put(model_stream(place, model), e.VersionServed(target=target, split=weights))

    async def planned(self, **facts: Any) -> Incident:
        """Open an incident and bring it to its first decision."""
        stream = await self.fire(**facts)
        await self.turn(stream)
        return await self.incident(stream)

    async def facts(self, incident: Incident | None = None) -> dict[str, Any]:
        found = incident or await self.planned()
        return await gather(found, await self.world.ledger(STREAM), self.world)

    def unknown(self) -> Counter[str]:
        """Count what the log says nobody could tell."""
        return Counter(str(facts["fact"]) for event, facts in self.log.lines if event == "fact.unknown")


async def passing(here: Corridor, work: Any) -> float:
    """Let time pass until something is done; give how many seconds that took."""
    began, done = here.clock.monotonic(), asyncio.ensure_future(work)
    while not done.done():
        await here.clock.run(0.5)
    await done
    return here.clock.monotonic() - began


# ── all of them ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_documented_fact_is_gathered_and_no_other_and_each_has_its_type() -> None:
    figures: dict[FigureName, float | None] = {
        "burn_rate_short": 20, "burn_rate_long": 16, "error_budget_left": 0.4, "error_budget_spent": 0.1, "cost_delta": 0.2,
    }  # fmt: skip
    here = House(figures=figures, place=READY)
    here.memory.put(STREAM, lock())
    here.memory.put(STREAM, e.LockReleased(incident="incident/OLD"))
    facts = await here.facts()
    assert set(facts) == set(FACTS)
    for name, value in facts.items():
        wanted = KINDS[FACTS[name].kind]
        assert value is None or type(value) is wanted, (name, value)
    assert {name for name, value in facts.items() if value is None} == {
        "deployer", "target_scan", "target_signature_fits", "last_grade",
    }  # fmt: skip
    assert live(plain(facts)) == facts


async def test_what_a_decision_knew_is_kept_with_it_and_reads_back_as_it_was() -> None:
    here = House()
    incident = await here.planned()
    assert incident.decision is not None
    kept = incident.decision.facts
    assert kept["now"] == here.clock.now().isoformat()
    assert live(kept)["now"] == here.clock.now()
    assert (kept["autopilot"], kept["observing"], kept["snoozed"]) == ("on", False, False)


async def test_no_ledger_is_read_twice_in_one_look() -> None:
    here = House(models={MODEL: ("checkout",), "ranker": (MODEL, "checkout"), "feeds": (MODEL,)})
    await here.fire()
    incident = await here.planned(name="f2")
    read: Counter[str] = Counter()

    class Counting(fakes.Memory):
        async def read(self, stream: str, after: int = 0) -> list[Recorded]:
            read[stream] += 1
            return await here.memory.read(stream, after)

    memory = Counting(here.clock)
    await judge(incident, replace(here.world, timeline=memory, folds=Folds(memory)))
    assert {name for name in read if name.startswith("model/")} == {
        STREAM, "model/prod/ranker", "model/prod/feeds",
    }  # fmt: skip
    assert set(read.values()) == {1}


async def test_what_hangs_is_waited_for_together_and_not_one_after_another() -> None:
    here = House(figures={"burn_rate_short": 20, "cost_delta": 0.1})
    incident = await here.planned()
    here.figures.hangs = True
    here.world = replace(here.world, silences=Hushed(hangs=True))
    assert await passing(here, here.facts(incident)) <= 6
    assert here.unknown() == {"burn_rate_short": 1, "cost_delta": 1, "silenced": 1}


# ── the clock ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("ahead", "name"), [(timedelta(0), ""), (timedelta(days=4, hours=16), "weekend")])
async def test_the_time_is_utc_and_the_blackout_is_named(ahead: timedelta, name: str) -> None:
    here = House(limits={"blackouts": [FRIDAY]})
    here.clock.advance(ahead.total_seconds())
    facts = await here.facts()
    now = here.clock.now()
    assert (facts["now"], facts["hour"], facts["weekday"]) == (now, now.hour, "fri" if ahead else "mon")
    assert facts["blackout"] == name


# ── the alerts ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_breached_slis_say_for_how_long_each_has_been_firing() -> None:
    here = House()
    await here.fire("f1")
    here.clock.advance(60)
    await here.fire("f2", sli="latency_p99", severity=Severity.CRITICAL)
    await here.fire("f3")
    here.clock.advance(30)
    facts = await here.facts(await here.planned(name="f4", sli=None))
    assert facts["breached"] == {"error_ratio": 90.0, "latency_p99": 30.0}
    assert (facts["firing_for"], facts["severity"]) == (90.0, "critical")
    assert (facts["sli"], facts["value"], facts["burn_rate"]) == ("error_ratio", 0.12, pytest.approx(6.0))


async def test_an_alert_from_the_future_has_been_firing_for_no_time() -> None:
    here = House()
    facts = await here.facts(await here.planned(starts_at=here.clock.now() + timedelta(seconds=90)))
    assert (facts["firing_for"], facts["breached"]) == (0.0, {"error_ratio": 0.0})


async def test_without_a_firing_alert_nothing_has_been_firing() -> None:
    here = House()
    stream = await here.ask("U0ANA", "41")
    await here.turn(stream)
    facts = await here.facts(await here.incident(stream))
    assert (facts["by_person"], facts["sli"], facts["breached"], facts["severity"]) == (True, "", {}, "unknown")
    assert [facts[name] for name in ("firing_for", "value", "burn_rate")] == [None, None, None]
    names = ("drift_only", "security_finding", "silent", "silenced", "flapping", "good_also_breached")
    assert [facts[name] for name in names] == [False] * 6


async def test_an_alert_that_began_anew_three_times_flaps() -> None:
    here = House()
    seen = []
    for _ in range(4):
        seen.append((await here.facts(await here.planned()))["flapping"])
        await here.resolve()
        here.clock.advance(1)
    assert seen == [False, False, False, True]


@pytest.mark.parametrize(
    ("kinds", "drift", "security"),
    [
        ((Kind.DATA,), True, False),
        ((Kind.DATA, Kind.DATA), True, False),
        ((Kind.DATA, Kind.ALERT), False, False),
        ((Kind.ALERT,), False, False),
        ((Kind.SECURITY, Kind.DATA), False, True),
    ],
)
async def test_data_alone_is_drift_and_a_finding_is_a_finding(
    kinds: tuple[Kind, ...], *, drift: bool, security: bool
) -> None:
    here = House()
    for n, kind in enumerate(kinds):
        await here.fire(f"f{n}", kind=kind)
    facts = await here.facts(await here.planned(name="f0", kind=kinds[0]))
    assert (facts["drift_only"], facts["security_finding"]) == (drift, security)


async def test_an_alert_that_ended_is_no_reason_any_more() -> None:
    here = House()
    await here.fire("f1", kind=Kind.SECURITY, version="41")
    await here.resolve()
    facts = await here.facts(await here.planned(name="f2", kind=Kind.DATA))
    names = ("drift_only", "security_finding", "good_also_breached")
    assert [facts[name] for name in names] == [True, False, False]


async def test_a_breach_lastgood_saw_itself_is_silent_until_a_sender_says_so_too() -> None:
    here = House()
    first = await here.planned(source="lastgood")
    assert (await here.facts(first))["silent"] is True
    second = await here.planned(name="f2")
    assert (await here.facts(second))["silent"] is False


@pytest.mark.parametrize(("version", "also"), [("41", True), ("42", False), (None, False)])
async def test_an_alert_about_the_good_version_is_a_doubt(version: str | None, *, also: bool) -> None:
    here = House()
    incident = await here.planned()
    assert incident.plan is not None
    assert incident.plan.to_version == "41"
    await here.fire("f2", version=version)
    facts = await here.facts(await here.incident(incident.stream))
    assert facts["good_also_breached"] is also


# ── other models ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("consumers", "place", "ended", "breached"),
    [
        (("checkout",), PLACE, False, True),
        (("checkout", "mail"), PLACE, False, True),
        (("mail",), PLACE, False, False),
        ((), PLACE, False, False),
        (("checkout",), "staging", False, False),
        (("checkout",), PLACE, True, False),
    ],
)
async def test_a_neighbour_in_trouble_has_a_consumer_in_common_and_an_alert_that_fires(
    consumers: tuple[str, ...], place: str, *, ended: bool, breached: bool
) -> None:
    here = House(models={MODEL: ("checkout",), "ranker": consumers})
    other = here.alert("r1", model="ranker", environment=place)
    here.memory.put("incident/R", e.IncidentOpened(model="ranker", environment=place, tier=1, alerts=(other,)))
    here.memory.put(model_stream(place, "ranker"), e.IncidentLinked(incident="incident/R"))
    if ended:
        here.memory.put("incident/R", e.AlertsResolved(alerts=(other.but(status="resolved"),)))
    assert (await here.facts())["neighbours_breached"] is breached


async def test_a_model_without_consumers_has_no_neighbours_and_none_before_it() -> None:
    here = House(models={MODEL: (), "ranker": ("checkout",)})
    here.memory.put(model_stream(PLACE, "ranker"), lock())
    facts = await here.facts()
    names = ("neighbours_breached", "upstream_change", "upstream_rolling")
    assert [facts[name] for name in names] == [False, False, False]


@pytest.mark.parametrize(("ago", "changed"), [(60, True), (3599, True), (3600, False)])
async def test_a_version_that_came_upstream_within_the_hour_may_explain_it(ago: int, *, changed: bool) -> None:
    here = House(models={"features": (MODEL,)})
    here.serves("features", v1=100)
    here.clock.advance(7200)
    here.serves("features", v1=0, v2=100)
    here.clock.advance(ago)
    assert (await here.facts())["upstream_change"] is changed


async def test_the_first_look_at_a_model_upstream_is_no_change() -> None:
    here = House(models={"features": (MODEL,)})
    here.serves("features", v1=90, v2=10)
    here.clock.advance(60)
    here.serves("features", target="cache", v1=100)
    assert (await here.facts())["upstream_change"] is False


async def test_what_changes_downstream_or_elsewhere_explains_nothing() -> None:
    here = House(models={MODEL: ("checkout",), "features": (MODEL,), "checkout": ()})
    for model, place in (("checkout", PLACE), ("features", "staging")):
        here.serves(model, place, v1=100)
        here.clock.advance(10)
        here.serves(model, place, v2=100)
    assert (await here.facts())["upstream_change"] is False


async def test_a_change_that_joined_may_explain_it() -> None:
    here = House()
    assert (await here.facts())["upstream_change"] is False
    assert (await here.facts(await here.planned(name="deploy", kind=Kind.CHANGE)))["upstream_change"] is True


async def test_a_model_upstream_that_is_being_rolled_back_is_said_until_it_let_go() -> None:
    here = House(models={"features": (MODEL,)})
    stream = model_stream(PLACE, "features")
    here.memory.put(stream, lock())
    incident = await here.planned()
    assert (await here.facts(incident))["upstream_rolling"] is True
    here.memory.put(stream, e.LockReleased(incident="incident/OLD"))
    assert (await here.facts(incident))["upstream_rolling"] is False


async def test_a_model_is_upstream_by_an_alias_too() -> None:
    here = House(models={"features": ("fraud_scorer",)})
    files = here.world.catalogue
    models = {**files.models, MODEL: files.models[MODEL].but(aliases=("fraud_scorer",))}
    here.world = replace(here.world, catalogue=Catalogue(models, files.policy, files.roles, files.runbooks))
    here.memory.put(model_stream(PLACE, "features"), lock())
    assert (await here.facts())["upstream_rolling"] is True


# ── the model's own ledger ────────────────────────────────────────────────────────────────────────────────────────


def lock(mode: str = "auto", bad: str = "42", good: str = "41") -> e.LockTaken:
    return e.LockTaken(incident="incident/OLD", plan="p", rule="alone", mode=mode, from_version=bad, to_version=good)


async def test_the_ledger_says_since_when_it_serves_and_what_was_rolled_back_before() -> None:
    here = House()
    here.memory.put(STREAM, lock(bad="41", good="40"))
    here.memory.put(STREAM, e.LockReleased(incident="incident/OLD"))
    here.clock.advance(600)
    facts = await here.facts()
    assert facts["deployed_at"] == here.clock.now() - timedelta(seconds=1800)
    assert (facts["recent_rollbacks"], facts["auto_rollbacks_today"], facts["since_last_rollback"]) == (1, 1, 600.0)
    assert (facts["would_loop"], facts["target_quarantined"], facts["observed_serving"]) == (True, False, True)


async def test_a_model_never_rolled_back_has_no_last_rollback() -> None:
    facts = await House().facts()
    assert (facts["since_last_rollback"], facts["recent_rollbacks"], facts["would_loop"]) == (None, 0, False)


async def test_a_good_version_that_was_quarantined_after_the_plan_is_known_to_be() -> None:
    here = House()
    incident = await here.planned()
    here.memory.put(STREAM, e.VersionQuarantined(version="41", incident="incident/X", reason="bad"))
    assert (await here.facts(incident))["target_quarantined"] is True


# ── the targets ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_share_and_the_requests_of_the_bad_version_are_read_from_the_targets() -> None:
    here = House()
    incident = await here.planned()
    here.targets["route"].serve(500)
    facts = await here.facts(incident)
    assert facts["blast_radius"] == 1.0
    assert facts["samples"] > 0


async def test_a_target_that_does_not_answer_leaves_share_and_requests_unknown_and_says_so() -> None:
    here = House()
    incident = await here.planned()
    here.targets["route"].faults.append(Fault.DOWN)
    facts = await here.facts(incident)
    assert (facts["blast_radius"], facts["samples"]) == (None, None)
    assert here.unknown() == {"blast_radius": 1, "samples": 1}


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_figures_are_read_where_the_environment_says_and_silence_is_unknown() -> None:
    here = House(figures={"burn_rate_short": 20, "burn_rate_long": None, "cost_delta": -0.1})
    incident = await here.planned()
    here.log.lines.clear()
    facts = await here.facts(incident)
    assert (facts["burn_rate_short"], facts["burn_rate_long"], facts["cost_delta"]) == (20.0, None, -0.1)
    assert (facts["error_budget_left"], facts["error_budget_spent"]) == (None, None)
    assert here.unknown() == {"burn_rate_long": 1}  # what nobody configured is nothing to report
    assert here.log.lines[-1][1]["reason"] == "the query gave no series"


# ── silences ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("silences", "silenced"),
    [
        (None, False),
        (Hushed(), False),
        (Hushed("f1"), False),
        (Hushed("f1", "f2"), True),
        (Hushed("f2", "f3"), False),
        (Hushed(error=Unavailable("Alertmanager does not answer")), None),
    ],
)
async def test_silenced_means_that_every_firing_alert_is(silences: Hushed | None, silenced: bool | None) -> None:  # noqa: FBT001  a table
    here = House()
    await here.fire("f1")
    incident = await here.planned(name="f2")
    here.world = replace(here.world, silences=silences)
    assert (await here.facts(incident))["silenced"] is silenced
    assert here.unknown() == ({"silenced": 1} if silenced is None else {})


async def test_a_silenced_incident_is_held_and_planned_anew_when_the_silence_ends() -> None:
    here = House(ALONE)
    hushed = Hushed("f1")
    here.world = replace(here.world, silences=hushed)
    stream = (await here.planned()).stream
    assert here.last(stream, e.PolicyDecided).mode == "hold"
    hushed.fingerprints.clear()
    here.clock.advance(60)
    await here.turn(stream)
    assert here.shifts == 1


async def test_a_silence_nobody_can_rule_out_is_a_persons_turn_never_an_automatic_rollback() -> None:
    here = House(ALONE)
    here.world = replace(here.world, silences=Hushed(error=Unavailable("Alertmanager does not answer")))
    stream = (await here.planned()).stream
    assert (here.last(stream, e.PolicyDecided).mode, here.shifts) == ("approve", 0)


# ── what comes from systems that are not connected yet ────────────────────────────────────────────────────────────


async def test_who_deployed_is_what_the_plan_knows() -> None:
    here = House()
    incident = await here.planned()
    assert incident.plan is not None
    known = replace(incident, plan=incident.plan.but(deployer="U0TOM"))
    assert (await here.facts(known))["deployer"] == "U0TOM"


@pytest.mark.parametrize(
    ("told", "mode"),
    [
        ({}, "auto"),
        ({"target_scan": "clean"}, "auto"),
        ({"target_scan": "findings"}, "hold"),
        ({"target_signature_fits": False}, "approve"),
    ],
)
async def test_what_a_registry_will_say_bounds_a_decision(told: dict[str, Any], mode: str) -> None:
    here = House()
    incident = await here.planned()
    here.files({}, {}, {"rules": ALONE})
    decided = await judge(incident, here.world, told=told)
    assert decided.mode == mode
    assert {name: decided.facts[name] for name in told} == told


# ── what people ordered ───────────────────────────────────────────────────────────────────────────────────────────


def switched(here: Corridor, *, on: bool, model: str = "") -> None:
    entry = e.AutopilotSwitched(on=on, model=model, person="U0INES", text_ref="r", via="slack")
    here.memory.put("system/switch", entry)


@pytest.mark.parametrize("model", ["", MODEL])
async def test_an_autopilot_that_is_off_asks_people_and_says_who_switched_it_off(model: str) -> None:
    here = House(ALONE)
    switched(here, on=False, model=model)
    decision = (await here.planned()).decision
    assert decision is not None
    assert (decision.mode, decision.facts["autopilot"]) == ("approve", "off")
    assert "<@U0INES> switched it off" in decision.reason


async def test_an_autopilot_that_is_off_for_another_model_changes_nothing_here() -> None:
    here = House(ALONE, models={"ranker": ()})
    switched(here, on=False, model="ranker")
    await here.planned()
    assert here.shifts == 1


async def test_a_house_that_only_observes_decides_shows_and_moves_nothing() -> None:
    here = House(ALONE)
    here.world = replace(here.world, observe=True)
    decision = (await here.planned()).decision
    assert decision is not None
    assert (decision.mode, decision.facts["observing"], here.shifts) == ("notify", True, 0)
    assert "Observing: would have acted alone" in decision.reason


async def test_a_rule_on_the_ladder_may_do_what_its_rung_says() -> None:
    climbing = ({"id": "alone", "mode": "auto", "ladder": True}, {"id": "else", "require": [{"role": "sre"}]})
    here = House(climbing, trust={"role": "boss", "start": "notify"})
    first = (await here.planned()).decision
    assert first is not None
    assert (first.mode, first.ladder) == ("notify", "alone")
    here.memory.put(STREAM, e.TrustMoved(rule="alone", rung="approve", reason="two helped", person="U0INES"))
    incident = await here.incident((await here.planned()).stream)
    second = await judge(incident, here.world)
    assert (second.mode, second.ladder) == ("approve", "alone")


async def test_people_are_reminded_asked_further_and_paged_at_times_counted_from_the_decision() -> None:
    rule = {**SRE, "plan_ttl": "12m", "escalate_after": "5m", "escalate_to": "owner"}
    here = House((rule,))
    decision = (await here.planned()).decision
    assert decision is not None
    now = here.clock.now()
    times = (decision.remind_at, decision.escalate_at, decision.page_at, decision.expires_at)
    assert [(at - now).total_seconds() / 60 for at in times if at] == [4, 5, 8, 12]
    assert decision.escalate_to == "owner"


async def test_deciding_anew_gives_nobody_more_time_and_a_stricter_rule_may_take_some() -> None:
    slow = {"id": "slow", "when": 'severity != "critical"', "plan_ttl": "30m", "require": [{"role": "sre"}]}
    fast = {"id": "fast", "plan_ttl": "6m", "remind_after": "5m", "require": [{"role": "boss"}]}
    here = House((slow, fast))
    incident = await here.planned()
    before, opened = incident.decision, here.clock.now()
    assert before is not None
    here.clock.advance(120)
    again = await judge(incident, here.world)
    assert (again.expires_at, again.remind_at, again.page_at) == (before.expires_at, before.remind_at, before.page_at)
    stream = await here.fire("f2", severity=Severity.CRITICAL)
    stricter = await judge(await here.incident(stream), here.world)
    assert stricter.expires_at == opened + timedelta(minutes=8)
    assert stricter.remind_at == opened + timedelta(minutes=7)


async def test_a_decision_that_asks_nobody_has_no_times() -> None:
    here = House()
    incident = await here.planned()
    here.files({}, {}, {"rules": ALONE})
    decision = await judge(incident, here.world)
    assert decision.mode == "auto"
    assert (decision.expires_at, decision.remind_at, decision.escalate_at, decision.page_at) == (None,) * 4


# ── what changed since ────────────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_is_overtaken_while_nothing_was_ordered() -> None:
    here = House()
    incident = await here.planned()
    assert await overtaken(incident, here.world) == ""
    assert await overtaken(replace(incident, decision=None), here.world) == ""


async def test_a_switch_overtakes_what_was_decided_until_it_is_decided_anew() -> None:
    here = House()
    incident = await here.planned()
    switched(here, on=False)
    assert (await overtaken(incident, here.world)).startswith("Autopilot is off for all models: <@U0INES>")
    here.memory.put(incident.stream, await judge(incident, here.world))
    assert await overtaken(await here.incident(incident.stream), here.world) == ""
    switched(here, on=True)
    after = await here.incident(incident.stream)
    assert await overtaken(after, here.world) == "Autopilot is on again for fraud-scorer."


async def test_a_decision_older_than_the_switch_was_made_with_autopilot_on() -> None:
    here = House()
    incident = await here.planned()
    assert incident.decision is not None
    old = replace(incident, decision=incident.decision.but(facts={}))
    assert await overtaken(old, here.world) == ""
    switched(here, on=False, model=MODEL)
    assert "Autopilot is off for fraud-scorer" in await overtaken(old, here.world)


async def test_observing_overtakes_too() -> None:
    here = House()
    incident = await here.planned()
    watching = replace(here.world, observe=True)
    assert await overtaken(incident, watching) == "Lastgood only decides and shows for fraud-scorer now."
    here.memory.put(incident.stream, (await judge(incident, watching)).but(mode="approve"))
    after = await here.incident(incident.stream)
    assert await overtaken(after, here.world) == "Lastgood acts again for fraud-scorer now."


async def test_a_snooze_overtakes_a_clearance_and_its_end_the_hold() -> None:
    here = House()
    incident = await here.planned()
    until = here.clock.now() + timedelta(hours=1)
    put_off = replace(incident, snoozed_until=until, snoozed_by="U0ANA")
    assert await overtaken(put_off, here.world) == "The incident is snoozed."
    held = await judge(put_off, here.world)
    assert (held.mode, held.facts["snoozed"]) == ("hold", True)
    assert "<@U0ANA> snoozed the incident until" in held.reason
    here.clock.advance(3600)
    assert await overtaken(replace(put_off, decision=held), here.world) == "The snooze is over."
