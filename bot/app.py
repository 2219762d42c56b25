"""The whole application, wired. The only module that knows every room."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from adapters import loading
from bot import retention
from bot.building import Builder
from bot.clock import SystemClock
from bot.config import Config, Settings, startable
from bot.domain.entries import CheckpointSigned, PolicyLoaded
from bot.domain.incident import Phase, model_stream
from bot.domain.orders import LOGINS
from bot.domain.press import Answer, Order, Press
from bot.errors import ConfigError, Conflict, LastgoodError, NotFound
from bot.flow import evidence, readiness, sampling, senders
from bot.flow.aftermath import aftermath
from bot.flow.approve import press
from bot.flow.gate import Ruling, is_going_back, may_go_on, may_serve
from bot.flow.intake import take
from bot.flow.observe import Looks, observe
from bot.flow.orders import LOGIN_FOR, order
from bot.flow.pager import PAGER_LANE, follow
from bot.flow.path import advance
from bot.flow.people import who_can
from bot.flow.publish import publish
from bot.flow.tickets import TICKET_LANE, open_one
from bot.flow.world import POLICY, Folds, World
from bot.heartbeat import beat
from bot.ids import UlidIds
from bot.log import JsonLog
from bot.ports import Append, Clock, Engine, Ids, Log, Pager, Work, Write
from bot.reload import Watch
from bot.report import facts
from bot.report.facts import projected
from bot.report.postmortem import Postmortems
from bot.roster import Roster, folded
from bot.slack.bolt import CALL_WITHIN, Desk, SlackApp
from bot.slack.commands import Command
from bot.slack.desk import Clerk
from bot.slack.directory import SlackDirectory
from bot.slack.surface import SlackSurface
from bot.store import checkpoints
from bot.store.place import place_of
from bot.store.schema import migrate, serve_lock
from bot.store.timeline import Store
from bot.terminal import tell
from bot.web.confirm import Desk as Door
from bot.web.confirm import Shown, SignInPages, Terminal, shown_of
from bot.web.sealed import Seal
from bot.web.server import Host, Standing, create_app, listen
from bot.web.signin import Provider, SignIn

CHECKPOINT_EVERY = timedelta(minutes=5)
READY_AFTER = timedelta(seconds=30)  # after a start: by then what serves was looked at once
APART = 2.0  # seconds between clocks of replicas; a deadline leaves an effect more room than that
COUNTED = 500  # open incidents that /metrics looks at


@dataclass
class Application:
    """One running Lastgood: what `serve`, the demo and the tests start."""

    config: Config
    settings: Settings
    store: Store
    world: World
    engine: Engine
    client: AsyncWebClient
    directory: SlackDirectory
    key: Ed25519PrivateKey
    print_checkpoint: Callable[[str], None]
    surfaces: tuple[SlackSurface, ...]
    pager: Pager | None = None
    looks: Looks = field(default_factory=Looks)
    draining: bool = False
    port: int = 0
    slack: SlackApp = field(init=False)
    watch: Watch = field(init=False)
    clerk: Clerk = field(init=False)
    signin: SignInPages | None = field(init=False)
    provider: SignIn | None = field(init=False, default=None)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        """Give Slack's requests their way in."""
        self.signin = self._sign_in()
        link = self.signin.link if self.signin else _nowhere
        self.clerk = Clerk(lambda: self.world, self.store, self.take_press, self.take_order, self.directory.name, link)
        desk = Desk(self.take_press, self.command, self._posted, self.clerk.form, link)
        secret = self.settings.get("SLACK_SIGNING_SECRET") or ""
        self.store.ring = self.engine.ring
        self.slack = SlackApp(
            self.client, secret, desk, self.world.clock, self.world.log, self.directory,
            self._coming_secret,
        )  # fmt: skip
        self.watch = Watch(self.settings, self.config, self.take_files, self.world.clock, self.world.log)

    async def start(self) -> None:
        """Open everything, begin to listen, and catch up with what is due."""
        # One session for every call: the SDK would open a new connection each time.
        self.client.session = await self._stack.enter_async_context(aiohttp.ClientSession(timeout=CALL_WITHIN))
        for one in self._opened():
            await self._stack.enter_async_context(cast("AbstractAsyncContextManager[object]", one))
        self.directory.recall(await self.store.everybody())
        await self.slack.hello()
        await self._load_policy()
        watch = asyncio.create_task(self.watch.run(), name="files")
        self._stack.callback(watch.cancel)
        if (pulse := self.config.file.heartbeat) is not None:
            beating = asyncio.create_task(
                beat(pulse.url, pulse.every, self._ready, self.world.clock, self.world.log), name="heartbeat"
            )
            self._stack.callback(beating.cancel)
        checking = asyncio.create_task(self._check(), name="check")
        self._stack.callback(checking.cancel)
        await self.store.wake(self._standing_work())
        await self._stack.enter_async_context(self.engine.run(self._handlers()))
        if token := self.settings.get("SLACK_APP_TOKEN"):
            await self.slack.open_socket(token)
        runner = await listen(create_app(self._host()), self._web_host, self._web_port)
        self._stack.push_async_callback(runner.cleanup)
        self.port = runner.addresses[0][1]

    async def _check(self) -> None:
        """Look through the file once for damage, beside everything else: a big one takes a while."""
        try:
            if reason := await self.store.check():
                self.world.log.warning("timeline.damaged", reason=reason)
        except LastgoodError as error:
            self.world.log.warning("timeline.unchecked", error=str(error))

    def _opened(self) -> list[object]:
        """Give everything foreign that is opened with the application, each once."""
        world = self.world
        ports = (world.targets, world.metrics, world.actions, world.registries, world.samples, world.completes)
        used = (*(one for port in ports for one in port.values()), *world.authorizers)
        return list({id(one): one for one in (*used, world.silences, self.pager, self.provider) if one}.values())

    async def stop(self) -> None:
        """Stop taking requests, let turns under way end, close everything."""
        self.draining = True
        await self.slack.close()
        await self._stack.aclose()
        await self._sign()

    @property
    def _web_host(self) -> str:
        return self.settings.get("LASTGOOD_HOST") or self.config.file.web.host

    @property
    def _web_port(self) -> int:
        return int(self.settings.get("LASTGOOD_PORT") or self.config.file.web.port)

    def _handlers(self) -> dict[str, Callable[[Work], Any]]:
        return {
            "advance": self._advance,
            "inbound": self._inbound,
            "surface": self._surface,
            "observe": self._observe,
            "ready": self._look_ready,
            "aftermath": self._aftermath,
            evidence.LANE: self._evidence,
            sampling.LANE: self._sampling,
            PAGER_LANE: self._pager,
            TICKET_LANE: self._ticket,
            senders.LANE: self._sender,
            "checkpoint": self._checkpoint,
            retention.LANE: self._retention,
        }

    async def _advance(self, work: Work) -> datetime | None:
        again = await advance(work.stream, self.world)
        if again is None and (await self.world.incident(work.stream)).phase is Phase.CLOSED:
            now = self.world.clock.now()
            lanes = ("aftermath", sampling.LANE)
            due = [Work("checkpoint", checkpoints.STREAM, now), *(Work(lane, work.stream, now) for lane in lanes)]
            await self.store.wake(due)
        return again

    async def _inbound(self, work: Work) -> datetime | None:
        return await take(work.stream.partition("/")[2], self.world)

    async def _surface(self, work: Work) -> datetime | None:
        lane = work.lane.partition("/")[2]
        for surface in self.world.surfaces:
            if surface.lane_of(work.stream) == lane:
                return await publish(work.stream, surface, self.world)
        return None

    async def _observe(self, work: Work) -> datetime | None:
        if self.world.alone:
            return await observe(work.stream, self.world, self.looks)
        # Replicas take turns at looking, and a breach is several looks in a row.
        name = f"looks/{work.stream}"
        looks = Looks.heard(work.stream, await self.store.noted(name))
        again = await observe(work.stream, self.world, looks)
        await self.store.note(name, looks.told(work.stream))
        return again

    async def _aftermath(self, work: Work) -> datetime | None:
        return await aftermath(work.stream, self.world)

    async def _evidence(self, work: Work) -> datetime | None:
        return await evidence.capture(work.stream, self.world)

    async def _sampling(self, work: Work) -> datetime | None:
        return await sampling.turn(work.stream, self.world)

    async def _pager(self, work: Work) -> datetime | None:
        return await follow(work.stream, self.world)

    async def _ticket(self, work: Work) -> datetime | None:
        return await open_one(work.stream, self.world)

    async def _sender(self, work: Work) -> datetime | None:
        again, said = await senders.look(work.stream.partition("/")[2], self.world)
        if said:  # the entry is the record; a message that Slack does not take is not sent again
            with suppress(SlackApiError, aiohttp.ClientError, TimeoutError):
                await self.client.chat_postMessage(channel=self.config.file.slack.channel, text=said)
        return again

    async def _look_ready(self, work: Work) -> datetime | None:
        return await readiness.look(work.stream, self.world)

    async def _checkpoint(self, work: Work) -> datetime | None:
        del work
        overdue = await evidence.overdue(self.world)
        sealed = await self._sign()
        if sealed is not None:  # everything written before is covered, that it is erased too
            await self.store.forget(overdue)
        now = self.world.clock.now()
        ended = [stream for stream in sealed or () if stream.startswith("incident/") and await self._is_over(stream)]
        await self.store.wake(
            [
                Work(f"surface/{surface.lane_of(stream)}", stream, now)
                for stream in ended  # whose thread waits for the seal
                for surface in self.world.surfaces
            ]
        )
        return now + CHECKPOINT_EVERY

    async def _is_over(self, stream: str) -> bool:
        return (await self.world.incident(stream)).phase is Phase.CLOSED

    async def _retention(self, work: Work) -> datetime | None:
        del work
        return await retention.tidy(self.store, self.config.file.retention, self.world.clock.now(), self.world.log)

    async def _sign(self) -> tuple[str, ...] | None:
        """Sign what changed and show it outside; give the streams it covers, None when another replica did so just now."""
        try:
            signed = await checkpoints.sign(self.store, self.key)
        except Conflict:
            return None
        if signed is None:
            return ()
        self.print_checkpoint(checkpoints.exported(signed))
        return tuple(signed.entry.heads) if isinstance(signed.entry, CheckpointSigned) else ()

    def _standing_work(self) -> list[Work]:
        """What is due at every start: a look at each model, a checkpoint before long."""
        now = self.world.clock.now()
        models = {model_stream(environment, model) for environment, model, _ in self.world.targets}
        return [
            *(Work("observe", stream, now) for stream in sorted(models)),
            *(Work("ready", stream, now + READY_AFTER) for stream in sorted(models)),
            *(Work(senders.LANE, f"source/{name}", now + READY_AFTER) for name in senders.looked_after(self.world)),
            Work("checkpoint", checkpoints.STREAM, now + CHECKPOINT_EVERY),
            Work(retention.LANE, retention.STREAM, now + CHECKPOINT_EVERY),
        ]

    async def _load_policy(self) -> None:
        """Work from here on under the generation at which this process's files are in force."""
        self.world = replace(self.world, generation=await self._in_force(self.world.catalogue.digest))

    async def _in_force(self, digest: str) -> int:
        """Record that the files with this digest are in force, unless they are; give the generation."""
        while True:
            rows = await self.store.read(POLICY)
            loaded = [one for one in rows if isinstance(one.entry, PolicyLoaded)]
            if loaded and getattr(loaded[-1].entry, "digest", "") == digest:
                return loaded[-1].version
            entry = PolicyLoaded(digest=digest, generation=len(loaded) + 1)
            with suppress(Conflict):  # another replica has just loaded its files, the same or others: look again
                await self.store.append(Append(writes=(Write(POLICY, (entry,), rows[-1].epoch if rows else 0),)))

    async def take_files(self, config: Config) -> None:
        """Put other reviewed files in force: plans made under what concerned them are voided, and their cards say so.

        They are recorded first: nothing is judged by files the timeline does not name. Raises LastgoodError, and then the
        files from before stay.
        """
        generation = await self._in_force(config.catalogue.digest)
        self.config = config
        self.world = replace(self.world, catalogue=config.catalogue, observe=config.file.observe, generation=generation)
        for surface in self.surfaces:
            surface.adopt(config.catalogue)
        now = self.world.clock.now()
        await self.store.wake([Work("advance", stream, now) for stream in await self._open_streams()])
        self.world.log.info("config.taken", digest=config.catalogue.digest[:8])

    async def _open_streams(self) -> list[str]:
        streams: list[str] = []
        while page := await self.store.incidents(streams[-1] if streams else None, open_only=True):
            streams += page
        return streams

    # ── what the edges ask ────────────────────────────────────────────────────────────────────────────────────────

    def _host(self) -> Host:
        return Host(
            sources=self.world.sources, known=frozenset(loading.names("alerts")), inbox=self.store, clock=self.world.clock,
            ids=self.world.ids, log=self.world.log, health=self._health, ready=self._ready,
            draining=lambda: self.draining, standing=self._standing, ring=self.engine.ring, tokens=self._tokens,
            incidents=self.incidents, incident=self.incident, inbound=self._inbound_json, unrouted=self._unrouted_json,
            signin=self.signin, who_could=self._who_could, gate=self._gate,
            slack=self.slack.handle if self.settings.get("SLACK_SIGNING_SECRET") else None,
        )  # fmt: skip

    def _health(self) -> dict[str, bool]:
        return {"engine": self.engine.healthy}

    async def _ready(self) -> dict[str, bool]:
        return {
            "timeline": await self.store.writable(),
            "engine": self.engine.healthy,
            "policy": self.world.generation > 0 and await self._policy_is_current(),
            "clock": await self._clock_agrees(),
            "not_draining": not self.draining,
        }

    async def _clock_agrees(self) -> bool:
        """Say whether deadlines mean the same here as on other replicas."""
        try:
            return await self.store.apart() <= APART
        except LastgoodError:
            return False

    async def _policy_is_current(self) -> bool:
        """Say whether the files this process read are the ones that were last loaded anywhere."""
        try:
            return await self.world.current()
        except LastgoodError:
            return False

    async def _standing(self) -> Standing:
        streams = await self.store.incidents(limit=COUNTED, open_only=True)
        phases = Counter([(await self.world.incident(stream)).phase.value for stream in streams])
        glass, refused = await self.store.counted()
        places = {(model, environment) for environment, model, _ in self.world.targets}
        ledgers = {place: await self.world.ledger(model_stream(place[1], place[0])) for place in sorted(places)}
        return Standing(
            await self.store.pending(),
            {phase.value: phases[phase.value] for phase in Phase},
            glass,
            refused,
            ready={place: one.readiness.ready for place, one in ledgers.items() if one.readiness is not None},
            leftovers=sum(len(one.leftovers) for one in ledgers.values()),
            scopes=self.slack.scopes,
        )

    def _tokens(self) -> list[str]:
        names = [one.env for one in self.config.file.api.tokens]
        return [value for name in ("LASTGOOD_API_TOKEN", *names) if (value := self.settings.get(name))]

    async def incidents(self, before: str | None = None) -> list[dict[str, Any]]:
        """List incidents, newest first."""
        streams = await self.store.incidents(f"incident/{before}" if before else None)
        return [facts.listed(await self.world.incident(stream)) for stream in streams]

    async def incident(self, suffix: str) -> dict[str, Any] | None:
        """Show one incident by any unique ending of its id."""
        streams = await self.store.ending(suffix)
        return facts.shown(await self.world.incident(streams[0])) if len(streams) == 1 else None

    async def _inbound_json(self, inbound: str) -> dict[str, Any] | None:
        found = await self.store.inbound(inbound)
        return found.as_json() if found else None

    async def _unrouted_json(self, before: str | None = None) -> list[dict[str, Any]]:
        return [one.as_row() for one in await self.store.quarantined(before=before)]

    async def _posted(self, channel: str, ts: str) -> bool:
        """Say whether a message is ours; one in our own channel whose ts was not saved yet is."""
        return channel == self.config.file.slack.channel or await self.store.posted_at(channel, ts) is not None

    async def take_press(self, act: Press) -> Answer:
        """Take a press from Slack, the page or a test."""
        return await press(act, self.world)

    async def take_order(self, asked: Order) -> Answer:
        """Take an order for the whole house from Slack, a page or a test."""
        return await order(asked, self.world)

    async def command(self, person: str, asked: Command) -> str:
        """Answer `/rollback`."""
        return await self.clerk.answer(person, asked)

    def _coming_secret(self) -> str | None:
        """Give the signing secret that will follow; one whose file is away signs nothing."""
        try:
            return self.settings.get("SLACK_SIGNING_SECRET_NEXT")
        except ConfigError as error:
            self.world.log.warning("slack.next_secret", error=str(error))
            return None

    # ── the company's sign-in ─────────────────────────────────────────────────────────────────────────────────────

    def _sign_in(self) -> SignInPages | None:
        said, clock = self.config.file.signin, self.world.clock
        if said is None:
            return None
        url = self.config.file.web.public_url.rstrip("/")
        provider = Provider(said.issuer, said.client_id, lambda: said.client_secret.value(self.settings.get))
        desk = Door(
            press=self.take_press, order=self.take_order, shown=self._shown, terminal=self._terminal,
            people=self._people_of, name=self.directory.name, login_for=LOGIN_FOR,
        )  # fmt: skip
        self.provider = SignIn(provider, url, clock)
        return SignInPages(desk, self.provider, Seal(self.key), url, clock, self.world.log)

    async def _shown(self, incident: str) -> Shown | None:
        try:
            return shown_of(await self.world.incident(f"incident/{incident}"))
        except NotFound:
            return None

    async def _terminal(self, code: str) -> Terminal | None:
        asked = (await self.world.orders(LOGINS)).asked.get(hashlib.sha256(code.encode()).hexdigest())
        return Terminal(asked.host, asked.until) if asked and asked.until > self.world.clock.now() else None

    async def _people_of(self, address: str) -> tuple[str, ...]:
        """Give every account of ours with this address: the one Slack names, and any other this process has seen."""
        named = await self.directory.by_email(address)
        known = [one.id for one in self.directory.seen() if one.email and folded(one.email) == folded(address)]
        return tuple(dict.fromkeys([*([named.id] if named else []), *known]))

    async def _who_could(self, suffix: str) -> tuple[str, ...]:
        streams = await self.store.ending(suffix)
        if len(streams) != 1:
            return ()
        incident = await self.world.incident(streams[0])
        return tuple(self.directory.name(one) for one in await who_can(incident, self.world))

    async def _gate(self, question: str, model: str, version: str, environment: str) -> Ruling:
        match question:
            case "serve":
                return await may_serve(model, version, environment, self.world)
            case "go_on":
                return await may_go_on(model, version, environment, self.world)
            case _:
                return await is_going_back(model, environment, self.world)


def _nowhere(press: Press) -> str:
    del press
    return ""


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  stdout is where checkpoints go


def create(
    settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None, log: Log | None = None, pages: bool = False,
    print_checkpoint: Callable[[str], None] = _print,
) -> Application:  # fmt: skip
    """Build the whole application from the environment; nothing runs until `start`. Raises ConfigError or TimelineError.

    `pages` says that somebody serves the incidents' pages at `web.public_url`, so that cards may lead there.
    """
    config = startable(settings)
    clock = clock or SystemClock()
    ids, log = ids or UlidIds(clock), log or JsonLog(clock)
    place = place_of(settings.database)
    key = checkpoints.load_key(settings.get("LASTGOOD_SIGNING_KEY"), place)
    migrate(settings.database)
    store = Store(settings.database, clock, project=projected)
    engine = _engine(store, clock, log)
    client = AsyncWebClient(
        token=settings.get("SLACK_BOT_TOKEN"), base_url=settings.get("SLACK_API_URL") or AsyncWebClient.BASE_URL, retry_handlers=[],
    )  # fmt: skip
    directory = SlackDirectory(client, clock, "", store.call)
    build = Builder(config, settings, clock, log)
    folds, pager, sources = Folds(store), build.pager(), build.sources()
    silences, completes = build.silences(sources), build.completes(sources)
    roster = Roster(directory, pager, partial(folds.orders, LOGINS), clock)
    renderer = Postmortems(config.folder / config.file.runbooks, directory.name, store.said)

    def observes(model: str) -> bool:
        return application.world.observes(model)

    surface = SlackSurface(
        client, config.file.slack.channel, config.file.web.public_url.rstrip("/"), roster, config.catalogue.roles,
        renderer, directory.name, pages=pages, models=config.catalogue.models, said=store.said, clock=clock, log=log,
        sealed=partial(checkpoints.seal, store), orders=folds.orders, observes=observes, trouble=roster.trouble,
    )  # fmt: skip
    world = World(
        timeline=store, inbox=store, work=store, shown=store, clock=clock, ids=ids, log=log, catalogue=config.catalogue,
        sources=sources, silences=silences, desk=build.desk(pager), completes=completes,
        polls=build.polls({"alertmanager": silences}, completes), targets=build.targets(), metrics=build.metrics(),
        directory=roster, surfaces=(surface,), renderer=renderer, folds=folds, executor=ids.ulid(),
        authorizers=build.authorizers(), observe=config.file.observe, actions=build.actions(),
        registries=build.registries(), samples=build.samples(), kept=store,
        alone=place.alone,
    )  # fmt: skip
    application = Application(
        config, settings, store, world, engine, client, directory, key, print_checkpoint, (surface,), pager
    )  # fmt: skip
    return application


def _engine(store: Store, clock: Clock, log: Log) -> Engine:
    """Give the engine of this kind of database: of one process over a file, of any number over PostgreSQL."""
    if store.place.alone:
        from adapters.engine.local import Local

        return Local(store, clock, log)
    from adapters.engine.procrastinate import Procrastinate, prepare  # brings its own driver

    prepare(store.place.dsn)
    engine = Procrastinate(store.place.dsn, store, clock, log)
    store.deferring(engine.defer)
    return engine


async def run(settings: Settings) -> None:
    """Be `lastgood serve`: take the lock, start, and stop cleanly on SIGTERM or Ctrl-C.

    Raises ConfigError or LastgoodError, one sentence, when it cannot start; then nothing runs and nothing is left open.
    """
    startable(settings)  # before any waiting: a mistake is said at once
    place = place_of(settings.database)
    if (key := settings.get("LASTGOOD_SIGNING_KEY")) or not place.alone:
        checkpoints.load_key(key, place)
    async with AsyncExitStack() as stack:
        try:
            if place.path is not None:
                name = place.path.name
                await stack.enter_async_context(
                    serve_lock(place.path, lambda holder: tell(f"Waiting: {holder} serves {name}."))
                )
            application = await _started(settings, stack)
        except OSError as error:
            message = f"The timeline {place.name} cannot be kept there: {error.strerror or error} ({error.filename or place.name}). LASTGOOD_DATABASE_URL names another place. Nothing was started."
            raise LastgoodError(message) from error
        public = checkpoints.public(application.key)
        tell(f"✓ Lastgood listens on port {application.port}; timeline {place.name}; public key {public}")
        stop = asyncio.Event()
        for one in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(one, stop.set)
        await stop.wait()


async def _started(settings: Settings, stack: AsyncExitStack) -> Application:
    """Start the application; `stack` ends it, also when it could start only in part."""
    application = create(settings)
    stack.callback(application.store.close)
    stack.push_async_callback(application.stop)
    await _free(application._web_host, application._web_port)  # noqa: SLF001  our own object, not yet started
    await application.start()
    return application


async def _free(host: str, port: int) -> None:
    """Raise LastgoodError when nobody could listen there: known before anything is due, so that nothing is half done."""
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, host, port, start_serving=False)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        message = (
            f"Port {port} on {host} cannot be listened on: {why}. Set web.port or LASTGOOD_PORT. Nothing was started."
        )
        raise LastgoodError(message) from error
    server.close()
    await server.wait_closed()
