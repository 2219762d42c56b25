"""Settings from the environment and the reviewed files, checked whole: every problem, with file:line:column."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bot.crosscheck import problems_of, warnings_of
from bot.domain.catalogue import Catalogue
from bot.domain.credential import Credential
from bot.domain.duration import Duration, Positive
from bot.domain.later import not_yet
from bot.domain.model import Model
from bot.domain.policy import Policy
from bot.domain.roles import Role
from bot.domain.runbook import Runbook
from bot.domain.value import Value
from bot.errors import ConfigError, Problem, TimelineError
from bot.shapes import held, later
from bot.site import Site
from bot.store.place import place_of
from bot.yaml_file import Source, read

Address = Annotated[str, Field(pattern=r"^https?://[^/\s]+")]
FieldName = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class SlackConfig(Value):
    """The channel cards go to."""

    channel: str = Field(pattern=r"^[CG][A-Z0-9]+$")


class WebConfig(Value):
    """Where Lastgood listens, and the address people reach it at."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: Address = "http://127.0.0.1:8080"
    trusted_proxies: tuple[str, ...] = Field(default=(), json_schema_extra=not_yet())


class ApiToken(Value):
    """A read-only token for the API, by the name of its environment variable."""

    name: str
    env: str


class ApiConfig(Value):
    """Who may read the API."""

    tokens: tuple[ApiToken, ...] = ()


class SigninConfig(Value):
    """The company's OpenID Connect sign-in: behind it approvals that ask for it count, and terminals are let in."""

    issuer: Address
    client_id: str
    client_secret: Credential


class FieldNames(Value):
    """By our fact, the name of the account's custom field it is written into; a fact that is left out is not written.

    `from` and `to` are the versions of the plan, `incident` is our incident's id, `outcome` how it closed.
    """

    model_config = {**Value.model_config, "populate_by_name": True}

    model: FieldName | None = None
    environment: FieldName | None = None
    from_: FieldName | None = Field(default=None, alias="from")
    to: FieldName | None = None
    incident: FieldName | None = None
    outcome: FieldName | None = None

    @model_validator(mode="after")
    def _one_each(self) -> FieldNames:
        named = self.model_dump(by_alias=True, exclude_none=True)
        for fact, field in named.items():
            if same := [other for other in named if other != fact and named[other] == field]:
                message = f"{field} is to hold both {fact} and {same[0]}; give each a field of its own"
                raise ValueError(message)
        return self


class PagerDutyConfig(Value):
    """That PagerDuty is asked who is on call, and the address of the PagerDuty user Lastgood speaks as.

    `routing_key` is that of an Events API v2 integration: where to page when a rule says `tell: page`, and where changes go.
    `status_updates` tells the stakeholders of an incident PagerDuty brought, by e-mail, when its rollback begins, how it
    turned out and how it closed. `custom_fields` says which custom fields of such an incident hold our facts.
    """

    model_config = {**Value.model_config, "populate_by_name": True}

    from_: str = Field(alias="from")
    routing_key: Credential | None = None
    status_updates: bool = False
    custom_fields: FieldNames = FieldNames()


class HeartbeatConfig(Value):
    """An address that is asked again and again while Lastgood is well, so that its silence alarms somebody else."""

    url: Address
    every: Positive = timedelta(minutes=1)


class RetentionConfig(Value):
    """How long the bodies of messages are kept, and how long after its last entry a closed incident is laid to rest.

    At rest an incident takes a fraction of the room; everything about it is read and verified as before.
    """

    messages: Annotated[Duration, Field(ge=timedelta(days=7))] = timedelta(days=30)
    incidents: Annotated[Duration, Field(ge=timedelta(days=30))] = timedelta(days=90)


class File(Value):
    """`lastgood.yaml`."""

    version: Literal[1]
    slack: SlackConfig
    web: WebConfig = WebConfig()
    api: ApiConfig = ApiConfig()
    observe: bool = False
    signin: SigninConfig | None = None
    pagerduty: PagerDutyConfig | None = None
    authorizers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = Field(default_factory=dict)
    metrics: dict[str, dict[str, Any]] = Field(default_factory=dict)
    samples: dict[str, dict[str, Any]] = Field(default_factory=dict)
    registries: dict[str, dict[str, Any]] = Field(default_factory=dict)
    heartbeat: HeartbeatConfig | None = None
    retention: RetentionConfig = RetentionConfig()
    roles: dict[str, Role] = Field(default_factory=dict)
    policy: Policy = Policy()
    models: dict[str, Model] = Field(default_factory=dict)
    runbooks: str = "runbooks/"


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment. Secrets are fetched by name when they are needed and never kept in a repr."""

    environ: Mapping[str, str]

    def get(self, name: str) -> str | None:
        """Give a setting; `NAME_FILE` wins over `NAME`. Raises ConfigError when the file cannot be read."""
        if where := self.environ.get(f"{name}_FILE"):
            try:
                return Path(where).read_text(encoding="utf-8").strip() or None
            except OSError as error:
                raise wrong(f"{name}_FILE", f"{where} cannot be read: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise wrong(f"{name}_FILE", f"{where} is not UTF-8") from error
        return self.environ.get(name) or None

    def reading(self, config: Path | None) -> Settings:
        """Give the same with another configuration file, unchanged without one."""
        if config is None:
            return self
        rest = {name: value for name, value in self.environ.items() if name != "LASTGOOD_CONFIG_FILE"}
        return Settings({**rest, "LASTGOOD_CONFIG": str(config)})

    def __repr__(self) -> str:
        """Show no value."""
        return "Settings(…)"

    @property
    def config(self) -> Path:
        """Give the path of the configuration file."""
        return Path(self.get("LASTGOOD_CONFIG") or "lastgood.yaml")

    @property
    def database(self) -> str:
        """Give the database URL."""
        url = self.get("LASTGOOD_DATABASE_URL") or "sqlite:///lastgood.db"
        try:
            place_of(url)
        except TimelineError as error:
            hint = "Write sqlite:/// and a path, or postgresql+psycopg://ROLE@HOST/DATABASE."
            raise wrong("LASTGOOD_DATABASE_URL", f"{url.partition(':')[0]}: names no database", hint) from error
        return url


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the files say, checked."""

    file: File
    catalogue: Catalogue
    folder: Path
    warnings: tuple[Problem, ...] = ()


def environment() -> Settings:
    """Take the process environment."""
    return Settings(dict(os.environ))


def wrong(name: str, message: str, hint: str = "") -> ConfigError:
    """Give the error for one environment variable."""
    return ConfigError([Problem("environment", 0, 0, name, message, hint)])


def load(settings: Settings) -> Config:
    """Read and check everything. Raises ConfigError with every problem."""
    config, problems, warnings = examine(settings)
    if problems or config is None:
        raise ConfigError(problems)
    return Config(config.file, config.catalogue, config.folder, tuple(warnings))


def startable(settings: Settings) -> Config:
    """Give the configuration when `serve` can start with it. Raises ConfigError with every problem, the environment's too."""
    problems: list[Problem] = []
    for checked in (_slack, _next_secret, _pagerduty, _port, lambda one: one.database):
        try:
            checked(settings)
        except ConfigError as error:
            problems += error.problems
    try:
        config = load(settings)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from error
    if problems:
        raise ConfigError(problems)
    return config


def _slack(settings: Settings) -> None:
    if not settings.get("SLACK_BOT_TOKEN"):
        raise wrong("SLACK_BOT_TOKEN", "is missing", "`lastgood manifest` makes the app that gives one.")
    if not settings.get("SLACK_APP_TOKEN") and not settings.get("SLACK_SIGNING_SECRET"):
        hint = "Set SLACK_APP_TOKEN for Socket Mode or SLACK_SIGNING_SECRET for HTTP."
        raise wrong("SLACK_SIGNING_SECRET", "is missing", hint)
    if (url := settings.get("SLACK_API_URL")) and not (url.startswith("http") and url.endswith("/api/")):
        raise wrong("SLACK_API_URL", f"`{url}` does not end in /api/", "Leave it out to use Slack itself.")


def _next_secret(settings: Settings) -> None:
    settings.get("SLACK_SIGNING_SECRET_NEXT")  # asked for at a request that is to be refused, where no file is missed


def _pagerduty(settings: Settings) -> None:
    if (url := settings.get("PAGERDUTY_API_URL")) and not url.startswith("https://"):
        raise wrong("PAGERDUTY_API_URL", "does not begin with https://", "Leave it out to use PagerDuty itself.")


def _port(settings: Settings) -> None:
    port = settings.get("LASTGOOD_PORT") or "0"
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise wrong("LASTGOOD_PORT", f"`{port}` is no port", "Give a number from 0 to 65535.")


def examine(settings: Settings) -> tuple[Config | None, list[Problem], list[Problem]]:
    """Read and check everything; give what could be read, the problems, and the warnings."""
    try:
        source = read(settings.config, settings.config.name)
    except ConfigError as error:
        return None, error.problems, []
    file, problems = held(File, source)
    books: list[Runbook] = []
    sources: list[Source] = []
    problems += [*source.problems, *later(File, source)]
    for path in runbook_files(settings, source):
        try:
            one = read(path, named(path, settings))
        except ConfigError as error:
            problems += error.problems
            continue
        sources.append(one)
        book, found = held(Runbook, one)
        problems += [*one.problems, *found, *later(Runbook, one)]
        books += [book] if book is not None else []
    folder = settings.config.parent
    site = Site(source, tuple(sources), folder / runbook_folder(source))
    problems += problems_of(site)
    warnings, absent = warnings_of(site, settings.get)
    problems = sorted([*problems, *absent], key=_order)
    catalogue = Catalogue(file.models, file.policy, file.roles, tuple(books)) if file else None
    return (Config(file, catalogue, folder) if catalogue else None), problems, sorted(warnings, key=_order)


def runbook_folder(source: Source) -> str:
    """Give what the file names as its folder of runbooks, as far as it can be told."""
    said = source.content.get("runbooks") if isinstance(source.content, dict) else None
    return said if isinstance(said, str) else "runbooks/"


def runbook_files(settings: Settings, source: Source) -> list[Path]:
    """Give every runbook file, in order of their names."""
    return sorted((settings.config.parent / runbook_folder(source)).glob("*.yaml"))


def site_files(settings: Settings) -> int:
    """Count the files `examine` looks at; 0 when the first one cannot be read."""
    try:
        source = read(settings.config, settings.config.name)
    except ConfigError:
        return 0
    return 1 + len(runbook_files(settings, source))


def templates_beside(settings: Settings) -> Path:
    """Give the folder of runbooks, as far as the file can be read: a postmortem does not need the rest of it."""
    try:
        source = read(settings.config, settings.config.name)
    except ConfigError:
        return settings.config.parent / "runbooks"
    return settings.config.parent / runbook_folder(source)


def named(path: Path, settings: Settings) -> str:
    """Name a file the way problems do: as seen from the configuration file."""
    root = settings.config.parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _order(problem: Problem) -> tuple[bool, str, int, int]:
    return "/" in problem.file, problem.file, problem.line, problem.column


def schemas() -> dict[str, dict[str, Any]]:
    """Give the JSON Schemas of both files, by the name they are committed under."""
    shapes: dict[str, type[Value]] = {"lastgood.schema.json": File, "runbook.schema.json": Runbook}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {name: {**head, **shape.model_json_schema()} for name, shape in shapes.items()}
