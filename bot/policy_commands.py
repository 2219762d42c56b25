"""`lastgood policy`: what a policy knows, decides, would have done, and where it is doubtful. Nothing here acts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot import terminal
from bot.errors import ConfigError, LastgoodError
from bot.terminal import as_json, out, row, wrapped

if TYPE_CHECKING:  # types only: importing these would make every command wait
    from bot.config import Config, Settings
    from bot.errors import Problem
    from bot.report.lint import Past as Reviewed
    from bot.report.replay import Past
    from bot.store.timeline import Store

policy_app = typer.Typer(help="Test, explain, lint and replay the policy; list its facts.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_DAYS = 365


@policy_app.command("facts")
def policy_facts(*, json: Json = False) -> None:
    """List every fact a guard can ask about.

    Name, type, unit, meaning and source.

    Example: lastgood policy facts --json
    """
    from bot.domain.facts import FACTS

    if json:
        rows = [
            {"name": name, "type": one.kind, "unit": one.unit, "source": one.source, "meaning": one.meaning}
            for name, one in FACTS.items()
        ]
        as_json({"facts": rows})
        return
    for name, one in FACTS.items():
        out(wrapped(f"{name:<22} {one.kind:<10} {one.unit or '·':<9} ", f"{one.meaning}. From: {one.source}."))


# ── test ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@policy_app.command("test")
def policy_test(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES]", help="Left out: those beside lastgood.yaml.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Run the table tests beside the policy.

    Reads policy-tests.yaml and policy-tests/*.yaml. A case that fails prints what was expected, what came, and every
    rule that was looked at; then the command ends 1.

    Example: lastgood policy test policy-tests/night.yaml
    """
    from bot import policy_lines
    from bot.config import environment, load, named
    from bot.policy_tests import FILE, FOLDER, beside, run

    settings = environment()
    config = load(settings)
    paths = files or beside(settings.config)
    if not paths:
        message = (
            f"There is no {FILE} and no {FOLDER}/*.yaml beside {settings.config}. `lastgood init` writes a first one."
        )
        raise LastgoodError(message)
    results = run([(path, named(path, settings)) for path in paths], config.catalogue)
    failed = sum(not one.ok for one in results)
    if json:
        as_json({"ok": not failed, "cases": [policy_lines.case(one) for one in results]})
    else:
        for one in results:
            for line in policy_lines.result(one):
                out(line)
        many = f"{terminal.counted(len(results), 'case')} in {terminal.counted(len(paths), 'file')}"
        out(f"✗ {many}, {failed:,} failed." if failed else f"✓ {many}, all as expected.")
    if failed:
        raise typer.Exit(1)


# ── explain ───────────────────────────────────────────────────────────────────────────────────────────────────────


@policy_app.command("explain")
def policy_explain(
    suffix: Annotated[
        str, typer.Argument(metavar="[INCIDENT]", help="Take the facts this incident was decided on.")
    ] = "",
    *,
    model: Annotated[str, typer.Option("--model", help="The model, where no incident is given.")] = "",
    env: Annotated[str, typer.Option("--env", help="The environment; left out, the model's only one.")] = "",
    person: Annotated[
        str, typer.Option("--person", help="Why not this person? A member id or a name. Grants nothing.")
    ] = "",
    at: Annotated[str, typer.Option("--at", help="The time of the decision: 03:15, or ISO 8601.")] = "",
    facts: Annotated[list[str] | None, typer.Option("--facts", help="A fact as NAME=VALUE; may be repeated.")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask Slack and PagerDuty who holds what.")] = False,
    json: Json = False,
) -> None:
    """Say which rule would decide, why, and who could approve.

    A fact that is not given is unknown. Without --ask only the files are read, and `?` marks what they cannot say.

    Example: lastgood policy explain --model fraud-scorer --person U0MIKA --at 03:15 --facts burn_rate=20
    """
    if not suffix and not model:
        raise typer.BadParameter("give an incident, or a model", param_hint="--model")
    from bot import policy_asking as asking
    from bot import policy_lines
    from bot.clock import SystemClock
    from bot.config import environment, load
    from bot.domain.policy import decide
    from bot.report import explain

    settings, now = environment(), SystemClock().now()
    config = load(settings)
    about = None if suffix else asking.subject(config, model, env, now)
    found = asking.record(settings, suffix, about.model_stream if about else "")
    incident = found.incident or about
    if incident is None:
        raise ValueError("a question is about an incident or a model")
    when = asking.moment(at, now) if at else None
    known = asking.facts(config, incident, facts or (), when, now)
    decision = decide(config.catalogue.policy, known, asking.bounds(config, incident, found, when or now))
    user = asking.person(person, config, found.names) if person else ""
    put = explain.asked_for(incident, decision, now)
    people = asking.asked(settings, put, user) if ask else asking.offline(config, put, user, found, now)
    verdict = explain.judge(put, user, people.standing) if people.standing else None
    rows = explain.lines(config.catalogue.policy, decision.trace)
    if json:
        digest = config.catalogue.policy_digest
        as_json({**explain.as_json(decision, rows, people.could, verdict), "policy": digest})
        return
    say = policy_lines.by_name({**found.names, **people.names})
    for line in (
        *policy_lines.rules(rows, say),
        *policy_lines.decided(decision, say),
        *policy_lines.people(put, people, verdict, say),
        row("policy", _policy(config, settings, decision.rule)),
    ):
        out(line)


def _policy(config: Config, settings: Settings, rule: str) -> str:
    """Say under which files it was decided, and where the rule stands."""
    from bot.yaml_file import read

    ids = [one.id for one in config.catalogue.policy.rules]
    name, digest = settings.config.name, config.catalogue.policy_digest[:8]
    if rule not in ids:
        return f"{name}, digest {digest}"
    line, _ = read(settings.config, name).place(("policy", "rules", ids.index(rule)))
    return f"{name}:{line}, digest {digest}"


# ── lint ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@policy_app.command("lint")
def policy_lint(*, json: Json = False) -> None:
    """Find what is doubtful about the policy.

    Rules nobody reaches, quorums that hang on one person, rules that contradict, a review that is due. Problems end 1,
    warnings do not. Where there is a database, its last rollback and reviews that are due count too.

    Example: lastgood policy lint
    """
    from bot.clock import SystemClock
    from bot.config import environment, examine
    from bot.report.lint import lint

    settings = environment()
    config, problems, _ = examine(settings)
    if config is None:
        raise ConfigError(problems)
    today = SystemClock().now().astimezone().date()
    found = [*problems, *_placed(settings, lint(config.catalogue, today, _reviewed(settings)))]
    wrong = sum(one.level == "problem" for one in found)
    if json:
        as_json({"ok": not wrong, "findings": [_finding(one) for one in found]})
    else:
        for line in terminal.problems(found, settings.config.parent):
            out(line)
        mark, warned = "✗" if wrong else "✓", terminal.counted(len(found) - wrong, "warning")
        out(
            f"{mark} {terminal.counted(len(config.catalogue.policy.rules), 'rule')}, {terminal.counted(wrong, 'problem')}, {warned}."
        )
    if wrong:
        raise typer.Exit(1)


def _placed(settings: Settings, findings: Sequence[Any]) -> list[Problem]:
    """Give each finding the place in the file where its path stands."""
    from bot.errors import Problem
    from bot.yaml_file import dotted, read

    source = read(settings.config, settings.config.name)
    return [
        Problem(source.name, *source.place(one.path, key=True), dotted(one.path), one.message, one.mend, one.level)
        for one in findings
    ]


def _finding(one: Problem) -> dict[str, Any]:
    return {
        "file": one.file, "line": one.line, "column": one.column, "key": one.key, "message": one.message, "hint": one.hint,
        "level": one.level,
    }  # fmt: skip


def _reviewed(settings: Settings) -> Reviewed:
    """Read what a review must be newer than; nothing where there is no database."""
    from bot import policy_lines, reading
    from bot.domain import entries as e
    from bot.report.lint import Past as Reviewed
    from bot.store.place import place_of
    from bot.store.schema import exists

    if not exists(place_of(settings.database)):
        return Reviewed()

    async def work(store: Store) -> Reviewed:
        newest = "SELECT max(at) FROM timeline WHERE type = ?"
        ((rolled,),) = await store.query(newest, (e.RollbackClaimed.type,))
        streams = await store.query("SELECT DISTINCT stream FROM timeline WHERE type = ?", (e.PolicyReviewDue.type,))
        due = [
            one for (stream,) in streams for one in await store.read(stream) if isinstance(one.entry, e.PolicyReviewDue)
        ]
        last = max(due, key=lambda one: one.at, default=None)
        return Reviewed(
            datetime.fromisoformat(rolled) if rolled else None,
            last.at if last else None,
            policy_lines.by_name({})(last.entry.sentence()) if last else "",
        )

    return reading.read(work)


# ── replay ────────────────────────────────────────────────────────────────────────────────────────────────────────


@policy_app.command("replay")
def policy_replay(
    *,
    days: Annotated[int, typer.Option(help="How many days, up to --to.", min=1, max=3650)] = _DAYS,
    from_: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day, instead of --days.")
    ] = None,
    to: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="The day after the last; today left out.")
    ] = None,
    generate: Annotated[bool, typer.Option("--generate", help="A generated year instead of the timeline.")] = False,
    seed: Annotated[int, typer.Option(help="The seed of a generated year.")] = 1,
    plot: Annotated[Path | None, typer.Option(help="Write the weeks as SVG.", dir_okay=False)] = None,
    json: Json = False,
) -> None:
    """Say what this policy would have done about past incidents.

    Cooldown, daily limit, loops and the trust ladder follow from what the replay itself did. An outcome nobody knows
    counts as unknown. `--generate` takes the models of lastgood.yaml through a modelled year.

    Example: lastgood policy replay --generate --seed 7 --plot year.svg
    """
    from bot import policy_lines
    from bot.clock import SystemClock
    from bot.config import environment, load
    from bot.report import bars
    from bot.report.replay import as_json as plain
    from bot.report.replay import replay

    settings = environment()
    config = load(settings)
    today = SystemClock().now().replace(hour=0, minute=0, second=0, microsecond=0)
    end = to.replace(tzinfo=UTC) if to else today if generate else today + timedelta(days=1)
    start = from_.replace(tzinfo=UTC) if from_ else end - timedelta(days=days)
    if start >= end:
        raise typer.BadParameter("is not before the end", param_hint="--from")
    past = _generated(config, seed, start, end) if generate else _stored(start, end)
    found = replay(config.catalogue.policy, past)
    where = f"generated, seed {seed}" if generate else "from the timeline"
    if not found.done:
        message = (
            f"Policy decided about no incident from {start:%Y-%m-%d} to {end:%Y-%m-%d}. `--generate` makes a year."
        )
        raise LastgoodError(message)
    head = f"{terminal.counted(len(found.done), 'incident')}, {start:%d %b %Y} to {end:%d %b %Y}, {where}"
    if plot:
        plot.write_text(bars.svg(found.weeks, f"This policy over {head}", policy_lines.story(found)), encoding="utf-8")
    if json:
        as_json({"from": start, "to": end, "seed": seed if generate else None, **plain(found)})
        return
    digest = config.catalogue.policy_digest[:8]
    out(row("replay", f"{head}, policy digest {digest}"))
    for line in policy_lines.replayed(found):
        out(line)
    if generate:
        out(row("year", "A model, not evidence about your service; docs/how-to/policy.md says what it assumes."))
    if plot:
        out(f"✓ wrote {plot}")


def _generated(config: Config, seed: int, start: datetime, end: datetime) -> list[Past]:
    from bot.demo.year import HOUSE, Place, generate

    places = [
        Place(name, environment, model.tier)
        for name, model in config.catalogue.models.items()
        for environment in model.environments
    ]
    return generate(seed, end, places or HOUSE, end - start)


def _stored(start: datetime, end: datetime) -> list[Past | None]:
    from bot import reading
    from bot.report.replay import pasts

    async def work(store: Store) -> list[Past | None]:
        found: list[Past | None] = []
        for stream in await reading.everything(store, open_only=False):
            entries = await store.read(stream)
            if start <= entries[0].at < end:
                found += pasts(entries)
        return found

    return reading.read(work)
