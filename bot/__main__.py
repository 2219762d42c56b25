"""The command line: `lastgood`. Works while Slack is down; reading commands take --json."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from bot import terminal
from bot.acting_commands import Json, Suffix, house_acts, incident_acts
from bot.errors import ConfigError, LastgoodError, Problem
from bot.inbox_commands import inbox_app
from bot.policy_commands import policy_app
from bot.slo_commands import slo_app
from bot.terminal import as_json, local, out, row, tell

if TYPE_CHECKING:  # types only: importing these would make every command wait
    from bot.domain.entries import Recorded
    from bot.domain.incident import Incident
    from bot.ports import Document
    from bot.reading import Name
    from bot.store.timeline import Store

_DAY = "%d %b %H:%M %Z"
ABOUT = """\
Lastgood {version} puts a model back to its last good version, and proves it.
See it     demo        the whole story on this machine         drill       a situation, measured
Set up     init        write config, runbook, Slack manifest   check       find every mistake
           manifest    print the Slack app manifest            serve       run the bot
           schema      let editors complete both files         adapters    what both can name
           doctor      is the outside there? what to mend
           policy      facts, test, explain, lint, replay
           slo         rules for Prometheus, a route for Alertmanager
At 3 am    incident    list, show, who, approve, reject, …     rollback    propose one by hand
           autopilot   off, on, or how it stands               history     what served when, and why
           ready       could it go back now?                   release     a version from quarantine
           trust       how far a rule may go alone             inbox       what led nowhere
           login       act from here while Slack is down       logout      end that
           lend        a role you hold, for a time             return      it before its time
Afterward  timeline    show, verify, export                    postmortem  write it
           evidence    one file for an auditor                 verify      such a file, offline
           affected    what to repair, and since when
Upkeep     db          migrate, copy to PostgreSQL, rebuild
Works while Slack is down. `lastgood COMMAND --help` has examples.
Exit 0 ok, 1 problem found, 2 bad usage.
"""


def _about() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return ABOUT.format(version=version("lastgood"))
    except PackageNotFoundError:  # a source tree that was never installed
        return ABOUT.format(version="(not installed)")


class Teaching(TyperGroup):
    """The top of the command line: its help is the one page that says what to type when."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        del ctx
        formatter.write(_about())


app = typer.Typer(
    cls=Teaching, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"max_content_width": terminal.WIDTH},
)  # fmt: skip
incident_app = typer.Typer(help="List, show, explain and act on incidents.", no_args_is_help=True)
timeline_app = typer.Typer(help="Show, verify and export the timeline.", no_args_is_help=True)
database_app = typer.Typer(help="Migrate the database, rebuild its lists.", no_args_is_help=True)
app.add_typer(incident_app, name="incident")
app.add_typer(timeline_app, name="timeline")
app.add_typer(database_app, name="db")
app.add_typer(policy_app, name="policy")
app.add_typer(inbox_app, name="inbox")
app.add_typer(slo_app, name="slo")
app.add_typer(house_acts)
incident_app.add_typer(incident_acts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, the process's own by default; every expected error is one clear line and exit 1."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a console that lacks ✓ must not end us
    try:
        app(arguments, prog_name="lastgood")
    except ConfigError as error:
        _refused(error.problems)
        sys.exit(1)
    except LastgoodError as error:
        tell(f"✗ {error}")
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; the last flush must not fail
        sys.exit(0)
    except OSError as error:
        tell(f"✗ {error.filename or 'The system'}: {error.strerror or error}.")
        sys.exit(1)


def _refused(problems: Sequence[Problem]) -> None:
    from bot.config import environment

    if len(problems) == 1 and not problems[0].line:
        tell(f"{terminal.as_one_line(problems[0])} Nothing was started.")
        return
    for line in terminal.problems(problems, environment().config.parent):
        tell(line)
    tell(f"{terminal.counted(len(problems), 'problem')}. Nothing was started.")


@app.callback(invoke_without_command=True)
def top(ctx: typer.Context) -> None:
    """Teach when nothing was asked."""
    if ctx.invoked_subcommand is None:
        out(_about().rstrip())


@app.command()
def serve() -> None:
    """Run the bot: hooks, Slack, the engine.

    Needs lastgood.yaml and SLACK_BOT_TOKEN, and runs `lastgood check` first; see `lastgood init`.

    Example: SLACK_BOT_TOKEN_FILE=/run/secrets/slack lastgood serve
    """
    import asyncio

    from bot.app import run
    from bot.config import environment

    asyncio.run(run(environment()))


@app.command()
def demo(
    autoplay: Annotated[
        bool, typer.Option("--autoplay", help="Play the whole story without a person and end.")
    ] = False,
    json: Json = False,
    port: Annotated[int, typer.Option(help="Port of the page.", min=0, max=65535)] = 8470,
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its timeline.")] = Path("lastgood-demo"),
) -> None:
    """Play the whole story here: no accounts, a real Envoy.

    The bot of the demo is the production code.

    Example: lastgood demo --autoplay --json
    """
    import asyncio

    from bot.app import create
    from bot.demo.world import play

    outcome = asyncio.run(play(create, folder, port, autoplay=autoplay, quiet=json))
    if json:
        as_json(outcome)
    if autoplay and not all(outcome[name] for name in ("accepted", "traffic_moved", "recovered")):
        raise typer.Exit(1)


@app.command()
def drill(
    name: Annotated[str, typer.Argument(help="P1, P2, S3, S4 or S6; without one they are listed.")] = "",
    json: Json = False,
    folder: Annotated[Path, typer.Option(help="Where the drill keeps its timeline.")] = Path("lastgood-drill"),
) -> None:
    """Play a situation on real components, and hold it to its measures.

    No accounts, a real Envoy. Nothing of a drill is counted in a site's own measures.

    Example: lastgood drill P2
    """
    import asyncio

    from bot.app import create
    from bot.demo.drills import DRILLS, run
    from bot.shapes import meant

    if not name:
        if json:
            as_json(
                {"drills": [{"name": one.name, "title": one.title, "pitfall": one.pitfall} for one in DRILLS.values()]}
            )
        else:
            for one in DRILLS.values():
                out(f"{one.name}  {one.title}; the pitfall: {one.pitfall}")
        return
    if name.upper() not in DRILLS:
        message = f"There is no drill `{name}`. {meant(name, DRILLS)}"
        raise LastgoodError(message)
    measures = asyncio.run(run(DRILLS[name.upper()], create, folder, quiet=json))
    passed = all(one.ok for one in measures)
    if json:
        rows = [{"name": one.name, "value": one.value, "wanted": one.wanted, "ok": one.ok} for one in measures]
        as_json({"drill": name.upper(), "passed": passed, "measures": rows})
    else:
        for found in measures:
            out(f"{'✓' if found.ok else '✗'} {found.name}: {found.value} (wanted: {found.wanted})")
    if not passed:
        raise typer.Exit(1)


@app.command()
def check(json: Json = False) -> None:
    """Find every mistake in lastgood.yaml and the runbooks.

    Starts nothing and asks nobody. Warnings never stop a start; they go to standard error.

    Example: LASTGOOD_CONFIG=site/lastgood.yaml lastgood check
    """
    from bot.config import environment, examine, site_files
    from bot.crosscheck import unheard

    settings = environment()
    config, problems, warnings = examine(settings)
    root = settings.config.parent
    for line in terminal.problems(warnings, root):
        tell(line)
    if config is not None and (line := unheard(config.file.sources)):
        tell(line)
    if json:
        as_json({"ok": not problems, "problems": [_problem(one) for one in problems]})
    else:
        for line in terminal.problems(problems, root):
            out(line)
        out(_checked(problems, warnings, site_files(settings)))
    if problems:
        raise typer.Exit(1)


@app.command()
def doctor(
    *,
    config: Annotated[
        Path | None, typer.Option("--config", help="Instead of lastgood.yaml, or of what LASTGOOD_CONFIG names.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask the outside what `check` cannot: Slack, PagerDuty, senders, metrics, the clock.

    Nothing is changed. Each line that is not well says what to do.

    Example: lastgood doctor
    """
    import asyncio

    from bot.config import environment
    from bot.doctor import examined

    found = asyncio.run(examined(environment().reading(config)))
    well = all(one.ok for one in found)
    if json:
        as_json({"ok": well, "checks": [one.as_json() for one in found]})
    else:
        for one in found:
            mark = {True: "✓", False: "✗", None: "?"}[one.ok]
            out(terminal.wrapped(f"{mark} {one.name:<20}", f"{one.detail}.{f' {one.mend}' if one.mend else ''}"))
        count = {ok: sum(one.ok is ok for one in found) for ok in (False, None, True)}
        out(f"{count[False]} to mend, {count[None]} cannot tell, {count[True]} ok.")
    if not well:
        raise typer.Exit(1)


def _problem(one: Problem) -> dict[str, Any]:
    return {
        "file": one.file, "line": one.line, "column": one.column, "key": one.key, "message": one.message, "hint": one.hint,
    }  # fmt: skip


def _checked(problems: Sequence[Problem], warnings: Sequence[Problem], files: int) -> str:
    if not problems:
        return f"✓ {terminal.counted(files, 'file')} checked, {terminal.counted(len(warnings), 'warning')}."
    of = f"in {len({one.file for one in problems})} of {terminal.counted(files, 'file')}" if files else "found"
    return f"{terminal.counted(len(problems), 'problem')} {of}. Nothing was started."


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path()) -> None:
    """Write a commented configuration, a runbook and the Slack manifest.

    A file that is there already is never overwritten; then nothing is written at all.

    Example: lastgood init site
    """
    from bot.starter import NEEDS, write_starter

    for path in write_starter(folder):
        out(f"✓ wrote {path}")
    out(f"Next: fill in the channel, people and targets, set {' and '.join(NEEDS)}, then `lastgood check`.")


@app.command()
def manifest(
    url: Annotated[str, typer.Option(help="Public URL of this bot; left out, the app uses Socket Mode.")] = "",
) -> None:
    """Print the Slack app manifest to paste at api.slack.com/apps.

    Example: lastgood manifest --url https://lastgood.example.com
    """
    from bot.slack.manifest import manifest as text

    if url and not url.startswith(("http://", "https://")):
        message = f"`{url}` is no address; it begins with http:// or https://"
        raise typer.BadParameter(message, param_hint="--url")
    out(text(url or None, socket_mode=not url).rstrip())


@app.command()
def adapters(json: Json = False) -> None:
    """List every adapter the configuration can name.

    Example: lastgood adapters --json
    """
    from adapters import loading
    from bot.errors import NotFound

    rows, broken = [], []
    for port in loading.PORTS:
        for name in loading.names(port):
            try:
                can = getattr(loading.load(port, name), "capabilities", None)
            except NotFound as error:
                broken.append(str(error))
                continue
            facts = {part: getattr(can, part, None) for part in ("level", "concurrency", "extra")}
            rows.append({"name": name, "port": port, **facts})
    if json:
        as_json(rows)
    else:
        for one in rows:
            out(f"{one['port']:<9}{one['name']:<14}{one['level'] or '':<15}{one['concurrency'] or ''}".rstrip())
    for sentence in broken:
        tell(f"✗ {sentence}")
    if broken:
        raise typer.Exit(1)


@app.command()
def schema(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path("runbooks/schemas"),
    check_only: Annotated[bool, typer.Option("--check", help="Only say whether they are current.")] = False,
) -> None:
    """Write the JSON Schemas with which editors complete both files.

    Example: lastgood schema --check
    """
    from bot.starter import schema_texts

    stale = []
    for name, text in schema_texts().items():
        path = folder / name
        if not path.exists() or path.read_bytes() != text:
            stale.append(name)
            if not check_only:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text)
                out(f"✓ wrote {path}")
    if check_only and stale:
        message = f"{', '.join(stale)} in {folder} no longer fit the code. Run `lastgood schema`."
        raise LastgoodError(message)


# ── reading a site ────────────────────────────────────────────────────────────────────────────────────────────────


@incident_app.command("list")
def incident_list(
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False, json: Json = False
) -> None:
    """List open incidents, newest first.

    Example: lastgood incident list --all --json
    """
    from bot import reading
    from bot.domain.incident import fold
    from bot.report import facts

    async def work(store: Store) -> list[Incident]:
        return [fold(await store.read(one)) for one in await reading.everything(store, open_only=not everything)]

    found = reading.read(work)
    if json:
        as_json({"incidents": [facts.listed(one) for one in found]})
        return
    for one in found:
        out(reading.line_of(one))
    if not found:
        out("No incident was opened yet." if everything else "Nothing is open.")


@incident_app.command("show")
def incident_show(suffix: Suffix, json: Json = False) -> None:
    """Show what is wrong, proposed, approved, proven, and next.

    Example: lastgood incident show 7Q4RD
    """
    from bot import reading
    from bot.report import facts

    one = reading.read(lambda store: reading.seen(store, suffix))
    if json:
        as_json(facts.shown(one.incident))
        return
    for line in reading.shown(one):
        out(line)


@incident_app.command("explain")
def incident_explain(suffix: Suffix, json: Json = False) -> None:
    """Say why Lastgood did or did not act.

    Mode, rule, reason, and every rule that was looked at.

    Example: lastgood incident explain 7Q4RD --json
    """
    from bot import reading
    from bot.domain import words
    from bot.report import facts

    async def work(store: Store) -> tuple[Incident, Name]:
        return (await reading.find(store, suffix))[0], await reading.names(store)

    incident, name = reading.read(work)
    found = facts.explained(incident)
    if json:
        as_json(found)
        return
    out(row("mode", found["mode"] or "none, policy was not asked"))
    out(row("rule", found["rule"] or "none"))
    out(row("reason", words.put(found["reason"], name, local)))
    for n, line in enumerate(found["trace"]):
        mark = {True: "✓", False: "✗", None: "?"}[line["ok"]]
        first = f"{'' if n else 'trace':<11}{mark} {words.put(line['name'], name, local)}  "
        out(terminal.wrapped(first, words.put(line["detail"], name, local)).rstrip())


@app.command()
def history(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    env: Annotated[str, typer.Option("--env", help="Only this environment.")] = "",
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="Only what served then: 14:03, or 2026-11-23T14:03.")
    ] = "",
    json: Json = False,
) -> None:
    """Show what served when, and by whose decision.

    Example: lastgood history fraud-scorer --env prod --at 14:03
    """
    from bot import reading

    then = reading.moment(at) if at else None
    ledgers, deciders = reading.read(lambda store: reading.history(store, model, env, then))
    rows = [(one, served) for one in ledgers for served in reading.newest_first(one.served)]
    if then is not None:
        rows = [(one, served) for one, served in rows if served.until is None]
    if json:
        told = [reading.told(at, change) for one in ledgers for at, change in one.changes]
        as_json({"served": [reading.stretch(served) for _, served in rows], "changes": told})
        return
    if not rows:
        out(f"Nothing was seen of {model} {f'until {local(then, _DAY)}' if then else 'yet'}.")
    for n, (ledger, served) in enumerate(rows):
        place = "" if n and rows[n - 1][0] is ledger else ledger.stream.split("/")[1]
        decider = deciders.get((ledger.stream, served.target, served.since), served.by)
        out(reading.history_line(place, served, decider, "quarantined" if served.version in ledger.quarantined else ""))
    for line in reading.change_lines(ledgers):
        out(line)


@app.command()
def ready(
    model: Annotated[str, typer.Argument(help="A model's name; every model without it.")] = "",
    env: Annotated[str, typer.Option("--env", help="Only this environment.")] = "",
    json: Json = False,
) -> None:
    """Say whether a model could be rolled back right now, as `serve` last looked.

    `serve` looks every ten minutes. Ends 1 when one of them could not, or nobody can tell.

    Example: lastgood ready fraud-scorer
    """
    from bot import reading

    ledgers = reading.read(lambda store: reading.ledgers(store, model, env))
    if json:
        as_json({"ready": [reading.readiness(one) for one in ledgers]})
    else:
        for one in ledgers:
            for line in reading.ready_lines(one):
                out(line)
        if not ledgers:
            out("No model was looked at yet; `lastgood serve` does.")
    if not ledgers or any(one.readiness is None or not one.readiness.ready for one in ledgers):
        raise typer.Exit(1)


@timeline_app.command("show")
def timeline_show(
    suffix: Annotated[str, typer.Argument(metavar="INCIDENT", help="An incident, or the whole name of a stream.")],
    json: Json = False,
) -> None:
    """Show every entry of one incident or stream.

    Example: lastgood timeline show 7Q4RD
    """
    from bot import reading

    async def work(store: Store) -> tuple[list[Recorded], Name]:
        entries = await store.read(suffix) if "/" in suffix else (await reading.find(store, suffix))[1]
        if not entries:
            message = f"There is no stream {suffix}. `lastgood timeline export` prints them all."
            raise LastgoodError(message)
        return entries, await reading.names(store)

    entries, name = reading.read(work)
    if json:
        as_json({"entries": [reading.columns(one) for one in entries]})
        return
    for line in reading.entry_lines(entries, name):
        out(line)


@timeline_app.command("verify")
def timeline_verify(
    checkpoint: Annotated[
        Path | None, typer.Option(help="Exported checkpoints, JSON lines.", exists=True, dir_okay=False)
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="The public key, hexadecimal.", exists=True, dir_okay=False)
    ] = None,
    json: Json = False,
) -> None:
    """Prove that no entry was changed, put in or taken away.

    What does not hold is named, and the command ends 1. Nothing is written.

    Example: lastgood timeline verify --checkpoint serve.log --public-key lastgood.pub
    """
    from bot import reading
    from bot.config import environment
    from bot.store.checkpoints import read_exported
    from bot.store.copying import verify_at
    from bot.store.place import place_of

    try:
        exported = read_exported(_text(checkpoint).splitlines()) if checkpoint else []
    except ValueError as error:
        message = f"{checkpoint} holds a checkpoint that is no JSON: {error}. Give the lines `serve` printed."
        raise LastgoodError(message) from error
    key = _text(public_key).strip() if public_key else None
    report = verify_at(place_of(environment().database), exported, key)
    if json:
        as_json(report.as_json())
    else:
        for line in reading.report_lines(report):
            out(line)
    if not report.ok:
        raise typer.Exit(1)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8."
        raise LastgoodError(message) from error


@timeline_app.command("export")
def timeline_export() -> None:
    """Print every entry as JSON lines, stream by stream.

    Example: lastgood timeline export > timeline.jsonl
    """
    from bot import reading

    async def work(store: Store) -> None:
        for (stream,) in await store.query("SELECT DISTINCT stream FROM timeline ORDER BY stream"):
            for one in await store.read(stream):
                as_json(reading.columns(one))

    reading.read(work)


@app.command()
def postmortem(
    suffix: Suffix,
    html: Annotated[bool, typer.Option("--html", help="HTML instead of Markdown.")] = False,
) -> None:
    """Write the postmortem of an incident, from its timeline alone.

    Example: lastgood postmortem 7Q4RD --html > 7Q4RD.html
    """
    from bot import reading
    from bot.config import environment, templates_beside
    from bot.report.postmortem import Postmortems

    async def work(store: Store) -> Document:
        incident, entries = await reading.find(store, suffix)
        writer = Postmortems(templates_beside(environment()), await reading.names(store), store.said)
        template = incident.plan.postmortem if incident.plan else "postmortem.md.j2"
        return await writer.postmortem(incident, entries, template)

    document = reading.read(work)
    out((document.html if html else document.markdown).rstrip("\n"))


@app.command()
def evidence(
    suffix: Suffix,
    to: Annotated[Path | None, typer.Option("--out", help="Where the bundle is written.", dir_okay=False)] = None,
) -> None:
    """Write one file for an auditor: timeline, checkpoints, evidence, public key.

    Example: lastgood evidence 7Q4RD --out incident-7Q4RD.zip
    """
    import orjson

    from bot import reading
    from bot.config import environment
    from bot.store import bundle, checkpoints
    from bot.store.place import place_of

    settings = environment()

    async def work(store: Store) -> tuple[str, bytes]:
        incident, _ = await reading.find(store, suffix)
        signed = await store.query(
            "SELECT body FROM timeline WHERE stream=? ORDER BY version DESC LIMIT 1", (checkpoints.STREAM,)
        )
        if signed:
            key = str(orjson.loads(signed[0][0])["key"])
        else:
            key = checkpoints.public(
                checkpoints.load_key(settings.get("LASTGOOD_SIGNING_KEY"), place_of(settings.database))
            )
        return incident.short, await bundle.made(store, incident.stream, incident.model_stream, key)

    short, body = reading.read(work)
    file = to or Path(f"incident-{short}.zip")
    file.write_bytes(body)
    out(f"✓ wrote {file}, {len(body) / 1024:,.0f} KiB. Whoever gets it can hold it to itself: lastgood verify {file}")


@app.command("verify")
def verify_bundle(
    bundle: Annotated[Path, typer.Argument(help="What `lastgood evidence` wrote.", exists=True, dir_okay=False)],
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", help="The public key you know, hexadecimal.", exists=True, dir_okay=False),
    ] = None,
    json: Json = False,
) -> None:
    """Hold a bundle to its chains, signatures and digests, offline.

    Example: lastgood verify incident-7Q4RD.zip --public-key lastgood.pub
    """
    from bot.store.bundle import verified
    from bot.store.checkpoints import public_of

    known = public_of(_text(public_key).strip()) if public_key else None
    said = verified(bundle.read_bytes(), known)
    if json:
        as_json(said.as_json())
    else:
        mark = "✗" if said.problems else "✓"
        out(
            f"{mark} incident {said.incident}: {said.entries} entries, {said.checkpoints} checkpoints, {said.evidence} files of evidence"
        )
        for name in said.missing:
            out(f"  {name} was erased when its time was over, as the timeline says")
        for one in said.problems:
            out(f"  {one.stream} {one.version or ''} {one.kind}: {one.detail}")
        if known is None:
            out(f"  It was held to the key it carries, {said.key[:16]}…; give the one you know with --public-key.")
    if said.problems:
        raise typer.Exit(1)


@app.command()
def affected(suffix: Suffix, json: Json = False) -> None:
    """Say what the bad version answered while it was ill, and what may have to be repaired.

    Example: lastgood affected 7Q4RD
    """
    from bot import reading
    from bot.report.affected import affected as told

    async def work(store: Store) -> dict[str, Any]:
        incident, entries = await reading.find(store, suffix)
        kept = await store.evidence(
            incident.stream, list(incident.captured.files.values()) if incident.captured else []
        )
        return told(incident, entries, kept, await store.read(incident.model_stream))

    found = reading.read(work)
    if json:
        as_json(found)
    else:
        for line in found["lines"]:
            out(line)


@database_app.command("migrate")
def database_migrate(
    role: Annotated[
        str,
        typer.Option("--for", help="PostgreSQL: the role `serve` connects as, which may append and change nothing."),
    ] = "",
) -> None:
    """Bring the database to the format of this version.

    On PostgreSQL run it once as the role that owns the database; `--for` lets another role serve it.

    Example: lastgood db migrate --for lastgood
    """
    from bot.config import environment
    from bot.store.place import place_of
    from bot.store.schema import FORMAT, grant, migrate

    url = environment().database
    place = place_of(url)
    migrate(url)
    if not place.alone:
        from adapters.engine.procrastinate import prepare

        prepare(place.dsn)
    if role:
        grant(url, role)
    out(f"✓ {place.name} has format {FORMAT}" + (f", and {role} may serve it" if role else ""))


@database_app.command("copy")
def database_copy(
    to: Annotated[str, typer.Option("--to", help="An empty PostgreSQL: postgresql+psycopg://OWNER@HOST/DATABASE.")],
) -> None:
    """Move a site to PostgreSQL, and prove that it arrived.

    `serve` must be stopped. Nothing is changed in the file; LASTGOOD_DATABASE_URL names the new place afterwards.

    Example: lastgood db copy --to postgresql+psycopg://owner@db/lastgood
    """
    from adapters.engine.procrastinate import prepare
    from bot.config import environment
    from bot.store import copying
    from bot.store.place import place_of
    from bot.store.schema import serve_lock

    source, target = copying.site(environment().database), place_of(to)

    def told(table: str, rows: int) -> None:
        out(f"  {table}  {terminal.counted(rows, 'row')}")

    def waiting(holder: str) -> None:
        message = f"{holder} serves {source.name}: stop it first, so that nothing is written after the copy."
        raise LastgoodError(message)

    with serve_lock(source.file, waiting):
        copied = copying.copy(source, target, told)
        prepare(target.dsn)
    out(
        f"✓ {target.name} holds {copied.report.entries:,} entries in {terminal.counted(copied.report.streams, 'stream')}; every chain and checkpoint holds"
    )
    out(
        "  LASTGOOD_DATABASE_URL names the new place; what each rollback did is read back there before anything is done."
    )


@database_app.command("rest")
def database_rest(
    days: Annotated[
        int | None,
        typer.Option("--days", min=30, help="Only what had its last entry so long ago; else as `retention` says."),
    ] = None,
) -> None:
    """Pack incidents that closed long ago.

    They are read and verified as before, and take a fraction of the room.

    `serve` does it by itself where it may. On PostgreSQL run it as the role that owns the database.

    Example: lastgood db rest --days 90
    """
    from datetime import timedelta

    from bot import reading, retention
    from bot.clock import SystemClock
    from bot.config import environment, load
    from bot.log import JsonLog

    after = timedelta(days=days) if days else load(environment()).file.retention.incidents
    clock = SystemClock()

    async def work(store: Store) -> int:
        total = 0
        while count := await retention.rested(store, clock.now() - after, JsonLog(clock)):
            total += count
        return total

    count = reading.read(work)
    out(f"✓ {terminal.counted(count, 'incident')} laid to rest")


@database_app.command("rebuild")
def database_rebuild() -> None:
    """Make the lists beside the timeline again from it.

    Example: lastgood db rebuild
    """
    from bot import reading
    from bot.report.facts import projected

    async def work(store: Store) -> int:
        return await store.rebuild(projected)

    count = reading.read(work)
    out(f"✓ rebuilt the list of {terminal.counted(count, 'incident')}")


if __name__ == "__main__":
    main()
