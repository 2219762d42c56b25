"""What one part of the files says about another: every name must lead somewhere, every quorum must have its people.

This reads what the files say, not what could be made of it, so that a mistake in one place hides none elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from adapters import loading
from adapters.address import safe
from bot.crosscheck_policy import PAGED, policy_problems, policy_warnings
from bot.domain import words
from bot.domain.alert import same_name
from bot.domain.evidence import SamplesUse
from bot.domain.plan import PEOPLE
from bot.domain.sli_query import asks
from bot.errors import ConfigError, NotFound, Problem
from bot.shapes import held
from bot.site import FILTERS, Site, covers, dig, items_of, keys_of, names_of, priority_of, unknown, versions_of, warning
from bot.yaml_file import Path_, Source

SENDERS = frozenset(["cloudwatch", "sagemaker"])  # who speaks through the source sns
SHIPPED_TEMPLATES = Path(__file__).resolve().parent.parent / "runbooks" / "templates"
STEPS = ("target", "warm", "check", "tell")
TWO_LOOKS = frozenset(["scrape"])  # metric sources that difference two looks; a figure is read once, at the decision
_PLAIN = re.compile(r"http://[^/\s]")  # what is no address at all is a complaint of its own
Secret = Callable[[str], str | None]
Present = Callable[[str], bool]


def problems_of(site: Site) -> list[Problem]:
    """Give every mistake between the parts."""
    checks = (_adapters, _sign_in, policy_problems, _models, _runbooks, _tags, _twins)
    return [problem for check in checks for problem in check(site)]


# ── adapters ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _adapters(site: Site) -> Iterator[Problem]:
    """Import every adapter the file names, and hold its keys to the adapter's own `Config`."""
    for port, section in (
        ("alerts", "sources"),
        ("metrics", "metrics"),
        ("authorizers", "authorizers"),
        ("registries", "registries"),
        ("samples", "samples"),
    ):
        for name, keys in site.section(section).items():
            yield from _keys(site.source, port, name, (section, name), keys)
    if isinstance(
        address := site.section("pagerduty").get("from"), str
    ):  # the other keys are held to the file's own shape
        yield from _keys(site.source, "paging", "pagerduty", ("pagerduty",), {"from": address})
    for model, environment, said in site.places():
        for name, target in keys_of(said, "targets").items():
            path = ("models", model, "environments", environment, "targets", name)
            if isinstance(adapter := dig(target, "adapter"), str):
                rest = {key: value for key, value in target.items() if key != "adapter"}
                yield from _keys(site.source, "traffic", adapter, path, rest, named=(*path, "adapter"))
        for name, action in keys_of(said, "actions").items():
            path = ("models", model, "environments", environment, "actions", name)
            if isinstance(adapter := dig(action, "adapter"), str):
                rest = {key: value for key, value in action.items() if key != "adapter"}
                yield from _keys(site.source, "actions", adapter, path, rest, named=(*path, "adapter"))


def _keys(
    source: Source, port: str, name: str, path: Path_, keys: Any, named: Path_ | None = None
) -> Iterator[Problem]:
    try:
        kind = loading.load(port, name).Config
    except NotFound as error:
        yield source.problem(named or path, _uncapped(str(error)), key=named is None)
        return
    if keys is not None:  # an empty section is a complaint of its own
        yield from held(kind, source, path, keys)[1]


def _uncapped(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


# ── the company's sign-in ─────────────────────────────────────────────────────────────────────────────────────────


def _sign_in(site: Site) -> Iterator[Problem]:
    """Hold the sign-in to an address that nobody on the way can answer for."""
    path: Path_ = ("signin", "issuer")
    issuer = dig(site.source.content, *path)
    if isinstance(issuer, str) and _PLAIN.match(issuer) and not safe(issuer):
        message = "is neither https nor this machine, so anybody on the way could sign in as anybody"
        yield site.source.problem(path, message, "Give its https address.")


# ── models ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _models(site: Site) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for name, model in site.section("models").items():
        for alias in (name, *names_of(model, "aliases")):
            if seen.setdefault(same_name(alias), name) != name:
                message = f"`{alias}` also names {seen[same_name(alias)]}"
                yield site.source.problem(("models", name), message, "Keep one.", key=True)
        owner = keys_of(model, "owner")
        if any(one.startswith("prod") for one in keys_of(model, "environments")):
            yield from _owned(site, ("models", name, "owner"), owner)
    for name, environment, said in site.places():
        path: Path_ = ("models", name, "environments", environment)
        yield from _last_good(site, path, name, said)
        yield from _slis(site, path, said)
        yield from _registry(site, path, said)
        yield from _samples(site, path, said)
        yield from _follow_ups(site, path, said)
        if isinstance(ticket := said.get("ticket"), str) and ticket not in keys_of(said, "actions"):
            yield unknown(site.source, (*path, "ticket"), "there is no action", ticket, keys_of(said, "actions"))


def _follow_ups(site: Site, path: Path_, said: dict[str, Any]) -> Iterator[Problem]:
    """Hold every follow-up to the actions of its environment."""
    actions = keys_of(said, "actions")
    for name, one in keys_of(said, "follow_ups").items():
        if isinstance(action := dig(one, "action"), str) and action not in actions:
            yield unknown(site.source, (*path, "follow_ups", name, "action"), "there is no action", action, actions)


def _owned(site: Site, path: Path_, owner: dict[str, Any]) -> Iterator[Problem]:
    """Hold a production model to one owner, and to somebody who is next when the owner does not answer."""
    named = [key for key in ("usergroup", "member") if owner.get(key)]
    if not named:
        hint = "Add `owner: {usergroup: S…}` or `owner: {member: U…}`."
        yield site.source.problem(path, "a production model needs one owner", hint, key=True)
    elif len(named) == 2:
        yield site.source.problem(path, "names two owners, a user group and a member", "Keep one.", key=True)
    if not owner.get("escalation_policy") and not owner.get("escalate_to"):
        hint = "Add `escalation_policy: P…` (PagerDuty) or `escalate_to: ROLE` to the owner."
        yield site.source.problem(path, "a production model needs an escalation path", hint, key=True)
    if isinstance(role := owner.get("escalate_to"), str) and role not in site.section("roles"):
        yield unknown(site.source, (*path, "escalate_to"), "there is no role", role, site.section("roles"))


def _last_good(site: Site, path: Path_, model: str, said: dict[str, Any]) -> Iterator[Problem]:
    version = said.get("last_good")
    for target in keys_of(said, "targets").values():
        known = versions_of(target)
        if isinstance(version, str) and known and version not in known:
            yield unknown(site.source, (*path, "last_good"), f"{model} has no version", version, known)
            return


def _samples(site: Site, path: Path_, said: dict[str, Any]) -> Iterator[Problem]:
    """Hold an environment's samples to the sources there are and the keys they take."""
    use, known, own = keys_of(said, "samples"), site.section("samples"), set(SamplesUse.model_fields)
    source, actions = dig(use, "source"), keys_of(said, "actions")
    if isinstance(action := dig(use, "raised_by"), str) and action not in actions:
        yield unknown(site.source, (*path, "samples", "raised_by"), "there is no action", action, actions)
    if not isinstance(source, str):
        return
    if source not in known:
        yield unknown(site.source, (*path, "samples", "source"), "there is no source of samples", source, known)
        return
    rest = {key: value for key, value in use.items() if key not in own}
    yield from held(loading.load("samples", source).Query, site.source, (*path, "samples"), rest)[1]


def _registry(site: Site, path: Path_, said: dict[str, Any]) -> Iterator[Problem]:
    """Hold an environment's registry to the registries there are, and its companions to its targets."""
    use = keys_of(said, "registry")
    source, known = dig(use, "source"), site.section("registries")
    if isinstance(source, str) and source not in known:
        yield unknown(site.source, (*path, "registry", "source"), "there is no registry", source, known)
    for name, target in keys_of(use, "companions").items():
        if isinstance(target, str) and target not in keys_of(said, "targets"):
            where = (*path, "registry", "companions", name)
            yield unknown(site.source, where, "there is no target", target, keys_of(said, "targets"))


def _slis(site: Site, path: Path_, said: dict[str, Any]) -> Iterator[Problem]:
    """Hold every SLI and figure to the metric sources and the keys they take."""
    metrics = site.section("metrics")
    for part, where, name, keys in _read(path, said):
        source = dig(keys, "source")
        if not isinstance(source, str):
            continue
        if source not in metrics:
            yield unknown(site.source, (*where, "source"), "there is no metric source", source, metrics)
            continue
        if part != "slis" and source in TWO_LOOKS:
            when = "a figure is read once, at the decision" if part == "figures" else f"{name} is read once"
            message = f"{source} needs two looks and {when}, so {name} would always be unknown"
            yield site.source.problem((*where, "source"), message, "Read it from prometheus.")
            continue
        try:
            query = loading.load("metrics", source).Query
        except NotFound:
            continue  # named where it is configured
        if part == "capacity":
            for key in ("ready", "needed"):
                if isinstance(inner := dig(keys, key), dict):
                    yield from held(query, site.source, (*where, key), inner)[1]
            continue
        rest = {key: value for key, value in keys.items() if key not in ("source", "objective", "good", "unit")}
        yield from held(query, site.source, where, rest)[1]


def _read(path: Path_, said: dict[str, Any]) -> Iterator[tuple[str, Path_, str, dict[str, Any]]]:
    """Give everything of an environment that a metric source reads: which part it is, where it stands, its name, its keys."""
    for part in ("slis", "figures", "business"):
        for name, keys in keys_of(said, part).items():
            if isinstance(keys, dict):
                yield part, (*path, part, name), name, keys
    for part in ("cost", "capacity"):
        if keys := keys_of(said, part):
            yield part, (*path, part), part, keys


# ── runbooks ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _runbooks(site: Site) -> Iterator[Problem]:
    names: dict[str, str] = {}
    for book in site.books:
        name = dig(book.content, "runbook")
        if isinstance(name, str) and names.setdefault(name, book.name) != book.name:
            message = f"`{name}` is also the name of {names[name]}"
            yield book.problem(("runbook",), message, "Rename one.")
        yield from _applies_to(site, book)
        yield from _steps(book)
        yield from _leads(site, book)
        yield from _undone(site, book)
        template = dig(book.content, "postmortem")
        if isinstance(template, str) and not _template(site, template):
            known = {path.name for folder in _folders(site) for path in folder.glob("*.j2")}
            yield unknown(book, ("postmortem",), "there is no template", template, known)


def _folders(site: Site) -> tuple[Path, Path]:
    return site.folder / "templates", SHIPPED_TEMPLATES


def _template(site: Site, name: str) -> bool:
    return any((folder / name).is_file() for folder in _folders(site))


def _applies_to(site: Site, book: Source) -> Iterator[Problem]:
    places = list(site.places())
    known = {
        "models": set(site.section("models")),
        "environments": {environment for _, environment, _ in places},
        "sources": {*loading.names("alerts"), *SENDERS},
        "slis": {sli for m, e, said in places if covers(book, m, e) for sli in keys_of(said, "slis")},
    }
    for what, there in known.items():
        for n, name in enumerate(items_of(book.content, "applies_to", what)):
            pattern = what in ("models", "environments") and isinstance(name, str) and "*" in name
            if isinstance(name, str) and not pattern and name not in there and (there or what == "models"):
                singular = "SLI" if what == "slis" else what.removesuffix("s")
                yield unknown(book, ("applies_to", what, n), f"there is no {singular}", name, there)


def _named(step: Any) -> tuple[str, str] | None:
    """Give a step's kind and what it names."""
    return next(((kind, name) for kind in STEPS if isinstance(name := dig(step, kind), str)), None)


def _steps(book: Source) -> Iterator[Problem]:
    """Hold the graph of a runbook to its own steps."""
    steps = items_of(book.content, "rollback", "steps")
    found = [_named(step) for step in steps]
    names = [one[1] if one else None for one in found]
    for n, (one, step) in enumerate(zip(found, steps, strict=True)):
        if one is not None and one[1] in names[:n]:
            hint = "A target moves once in a rollback." if one[0] == "target" else "Each step has a name of its own."
            yield book.problem(("rollback", "steps", n, one[0]), f"`{one[1]}` is a step already", hint)
        for m, after in enumerate(names_of(step, "after")):
            if after not in names:
                others = [name for name in names if name is not None and (one is None or name != one[1])]
                yield unknown(book, ("rollback", "steps", n, "after", m), "there is no step", after, others)
    if steps and all(one is not None and one[0] != "target" for one in found):
        yield book.problem(("rollback", "steps"), "no step moves a target", "Add `{target: …}`.", key=True)
    yield from _circle(book, steps)


def _circle(book: Source, steps: list[Any]) -> Iterator[Problem]:
    graph: dict[str, list[str]] = {}
    before: str | None = None
    side_by_side = dig(book.content, "rollback", "parallel") is True
    for step in steps:
        if (one := _named(step)) is not None:
            if one[1] in graph:
                return  # said already, and no graph
            graph[one[1]] = list(names_of(step, "after")) or ([before] if before and not side_by_side else [])
            before = one[1]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        yield book.problem(
            ("rollback", "steps"), f"each waits for the one before: {circle}", "Break the circle.", key=True
        )


def _leads(site: Site, book: Source) -> Iterator[Problem]:
    """Hold the targets, versions and SLIs a runbook names to every place it would be used for; each is said once."""
    said: set[Path_] = set()
    for model, environment, place in site.served_by(book):
        for path, what, name, known in _wanted(book, model, environment, place):
            if name not in known and path not in said:
                said.add(path)
                yield unknown(book, path, what, name, known)


def _undone(site: Site, book: Source) -> Iterator[Problem]:
    """A step that is to be taken back needs an action that can be; each step is said once."""
    for n, step in enumerate(items_of(book.content, "rollback", "steps")):
        if dig(step, "until") is None:
            continue
        for model, environment, place in site.served_by(book):
            name = dig(step, "warm")
            action = keys_of(place, "actions").get(name) if isinstance(name, str) else None
            if action is not None and not dig(action, "undo"):
                message = f"action `{name}` of {model} in {environment} has no `undo`, so nothing takes it back"
                hint = "Give it an `undo` address, or leave `until` out."
                yield book.problem(("rollback", "steps", n, "until"), message, hint)
                break


def _wanted(
    book: Source, model: str, environment: str, place: dict[str, Any]
) -> Iterator[tuple[Path_, str, str, Iterable[str]]]:
    targets, slis, actions = keys_of(place, "targets"), keys_of(place, "slis"), keys_of(place, "actions")
    known_to = {
        "target": ("target", targets), "warm": ("action", actions), "check": ("SLI or action", {**slis, **actions}),
        "tell": ("action", actions),
    }  # fmt: skip
    for n, step in enumerate(items_of(book.content, "rollback", "steps")):
        if (one := _named(step)) is not None and not (one[0] == "tell" and PEOPLE.fullmatch(one[1])):
            what, known = known_to[one[0]]
            yield ("rollback", "steps", n, one[0]), f"{model} in {environment} has no {what}", one[1], known
    for n, name in enumerate(items_of(book.content, "verify", "recovery", "slis")):
        if isinstance(name, str):
            yield ("verify", "recovery", "slis", n), f"{model} in {environment} has no SLI", name, slis
    for key in ("version", "fallback"):
        version = dig(book.content, "rollback", "to", key)
        for target in targets.values():
            if isinstance(version, str) and (offered := versions_of(target)):
                yield ("rollback", "to", key), f"{model} in {environment} has no version", version, offered


def _tags(site: Site) -> Iterator[Problem]:
    """A runbook that chooses by tags needs a registry that knows them."""
    for book in site.books:
        if not dig(book.content, "rollback", "to", "tags"):
            continue
        for model, environment, said in site.served_by(book):
            if not keys_of(said, "registry"):
                message = f"{model} in {environment} has no registry that knows tags"
                hint = f"Add models.{model}.environments.{environment}.registry."
                yield book.problem(("rollback", "to", "tags"), message, hint)


def _twins(site: Site) -> Iterator[Problem]:
    """Find two runbooks of one priority that could both be meant for an incident."""
    for n, book in enumerate(site.books):
        for first in site.books[:n]:
            if priority_of(book) == priority_of(first) and (where := _common(site, book, first)):
                message = f"matches {where} as {first.name} does, with the same priority {priority_of(book)}"
                path = ("priority",) if ("priority",) in book.values else ("runbook",)
                hint = "Give the one to be used a higher `priority`."
                problem = book.problem(path, message, hint)
                yield Problem(problem.file, problem.line, problem.column, "priority", message, hint)


def _common(site: Site, one: Source, other: Source) -> str | None:
    for name in FILTERS:
        ours, theirs = set(names_of(one.content, "applies_to", name)), set(names_of(other.content, "applies_to", name))
        if ours and theirs and not ours & theirs:
            return None
    for model, environment, _ in site.places():
        if covers(one, model, environment) and covers(other, model, environment):
            return f"{model} in {environment}"
    same = dig(one.content, "applies_to") == dig(other.content, "applies_to")
    return "the same incidents" if same else None


# ── warnings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def warnings_of(site: Site, secret: Secret) -> tuple[list[Problem], list[Problem]]:
    """Give what never stops a start and a person may want to know; and the secrets whose files cannot be read."""
    unreadable: list[Problem] = []

    def present(name: str) -> bool:
        try:
            return bool(secret(name))
        except ConfigError as error:
            unreadable.extend(problem for problem in error.problems if problem not in unreadable)
            return True

    checks = (_of_sources, _of_tokens, _of_sign_in, _of_paging)
    found = [problem for check in checks for problem in check(site, present)]
    return [*_of_runbooks(site), *_of_ramps(site), *found, *policy_warnings(site)], unreadable


def _of_runbooks(site: Site) -> Iterator[Problem]:
    for path in sorted(site.folder.glob("*.yml")):
        yield warning(site.source, ("runbooks",), f"{path.name} is not read", f"Name it {path.stem}.yaml.")
    if not site.books:
        message = f"{site.folder} has no runbook, so every incident needs a person"
        yield warning(site.source, ("runbooks",), message, "`lastgood init` writes a first one.")
        return
    for model, environment, _ in site.places():
        if not any(covers(book, model, environment) for book in site.books):
            message = f"no runbook applies to {model} in {environment}, so every incident there needs a person"
            yield warning(site.source, ("models", model, "environments", environment), message, "Add one.")


def _of_ramps(site: Site) -> Iterator[Problem]:
    """Say where a ramp would climb unchecked, and where a cohort would be judged by nothing."""
    for book in site.books:
        ramps = [n for n, step in enumerate(items_of(book.content, "rollback", "steps")) if items_of(step, "stages")]
        for model, environment, place in site.served_by(book):
            if ramps and not any(asks(sli, "version") for sli in keys_of(place, "slis").values()):
                message = f"nothing is checked between stages: no SLI of {model} in {environment} names {{version}}"
                hint = 'Let an SLI be asked about one version, like `version="{version}"`.'
                yield warning(book, ("rollback", "steps", ramps[0], "stages"), message, hint)
    for model, environment, place in site.places():
        lost = [name for name, sli in keys_of(place, "slis").items() if asks({"sli": sli}, "cohort")]
        if lost and not items_of(place, "cohorts"):
            where: Path_ = ("models", model, "environments", environment, "slis", lost[0])
            yield warning(site.source, where, "names {cohort} and no `cohorts` are configured, so it is never asked")
        if items_of(place, "cohorts") and not any(asks(sli, "cohort") for sli in keys_of(place, "slis").values()):
            path = ("models", model, "environments", environment, "cohorts")
            yield warning(site.source, path, "no SLI names {cohort}, so no cohort is judged by itself")


def _of_sources(site: Site, present: Present) -> Iterator[Problem]:
    if not site.section("sources"):
        yield warning(site.source, ("sources",), "no sender is configured, so nobody can send alerts")
    for name in loading.names("alerts"):
        if name not in site.section("sources"):
            continue
        keys = site.section("sources", name)
        absent = [one for one in _credentials(keys) if _missing(one, present)]
        if absent and len(absent) == len(list(_credentials(keys))):
            message = f"{words.listed(map(_place_of, absent))} is empty, so /hooks/{name} answers 503"
            yield warning(site.source, ("sources", name), message, "Set it before `serve`.")
        elif absent:
            message = f"{words.listed(map(_place_of, absent))} is empty, so that token opens nothing"
            yield warning(site.source, ("sources", name), message)
        yield from _empty(site, ("sources", name, "api_token"), present, f"{name} cannot say what is silenced there")


def unheard(sources: Mapping[str, Any]) -> str:
    """Say which senders ship and are not configured, so that nobody wonders why they are answered 503."""
    absent = [name for name in loading.names("alerts") if name not in sources]
    return f"Not configured, so answered 503 at /hooks/NAME: {', '.join(absent)}." if absent else ""


def _of_tokens(site: Site, present: Present) -> Iterator[Problem]:
    for n, _ in enumerate(items_of(site.source.content, "api", "tokens")):
        yield from _empty(site, ("api", "tokens", n), present, "that token opens nothing")
    for name in site.section("metrics"):
        yield from _empty(site, ("metrics", name, "token"), present, f"{name} is asked without a token")
    for name in site.section("authorizers"):
        yield from _empty(site, ("authorizers", name, "token"), present, f"{name} is not asked, and that counts as no")


def _of_sign_in(site: Site, present: Present) -> Iterator[Problem]:
    yield from _empty(site, ("signin", "client_secret"), present, "nobody can sign in")


def _empty(site: Site, path: Path_, present: Present, so: str) -> Iterator[Problem]:
    """Say that the one secret at a path, when one is named there, is not set, and what follows from that."""
    credential = dig(site.source.content, *path)
    if isinstance(credential, dict) and _missing(credential, present):
        message = f"{_place_of(credential)} is empty, so {so}"
        yield warning(site.source, path, message, "Set it before `serve`.")


def _credentials(keys: Any) -> Iterator[Mapping[str, Any]]:
    for list_ in ("tokens", "secrets"):
        yield from (one for one in items_of(keys, list_) if isinstance(one, dict))


def _missing(credential: Mapping[str, Any], present: Present) -> bool:
    env, file = credential.get("env"), credential.get("file")
    if isinstance(env, str):
        return not present(env)
    return isinstance(file, str) and not Path(file).is_file()


def _place_of(credential: Mapping[str, Any]) -> str:
    return str(credential.get("env") or credential.get("file"))


def _of_paging(site: Site, present: Present) -> Iterator[Problem]:
    paging = site.section("pagerduty")
    lacks = ["PAGERDUTY_TOKEN is not set"] if not present("PAGERDUTY_TOKEN") else []
    for key in ("status_updates", "custom_fields"):
        if lacks and paging.get(key):
            message = f"{words.listed(lacks)}, so nothing is written into PagerDuty's incidents"
            yield warning(site.source, ("pagerduty", key), message)
    lacks += ["there is no `pagerduty: {from: …}`"] if not paging else []
    for name in site.section("models"):
        policy = dig(site.source.content, "models", name, "owner", "escalation_policy")
        if isinstance(policy, str) and lacks:
            message = f"{policy} is never asked in: {words.listed(lacks)}"
            yield warning(site.source, ("models", name, "owner", "escalation_policy"), message)
    for name, role in site.section("roles").items():
        asked = [one for kind in PAGED for one in names_of(role, kind)]
        if asked and lacks:
            message = f"{words.listed(lacks)}, so nobody holds {name} by {words.listed(asked)}"
            yield warning(site.source, ("roles", name), message, "Give what is missing before `serve`.")
