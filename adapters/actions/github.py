"""GitHub: a pull request that puts a version back in the file it came from, or a workflow that is started.

REST API, https://docs.github.com/rest: git references, contents, pulls, workflow dispatches.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import shlex
from datetime import datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

import aiohttp
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from adapters.actions._slots import put
from adapters.address import Address, safe
from adapters.bodies import capped
from adapters.pool import OwnPool
from bot.domain import words
from bot.domain.credential import Credential
from bot.domain.traffic import ApplyResult, Call, Finding, Outcome
from bot.errors import AdapterError, NotFound, RateLimited, Unauthorized, Unavailable
from bot.ports import Act, Context

LIMIT = 2 * 1024 * 1024  # bytes of one answer
WITHIN = 6.0  # seconds for one exchange; a pull request takes at most five


def _guarded(url: str) -> str:
    if not safe(url):
        raise ValueError("must be https, or http on this machine: the token travels there")
    return url.rstrip("/")


class Revert(BaseModel):
    """The file that says which version is deployed, and the text of one version in it.

    `line` holds `{version}`: the text with the bad version is replaced by the text with the good one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1)
    line: str
    base: str = "main"

    @model_validator(mode="after")
    def _names_the_version(self) -> Revert:
        if "{version}" not in self.line:
            raise ValueError("line must hold {version}")
        return self


class Workflow(BaseModel):
    """A workflow file and its inputs; one that holds `{key}` and stands in the workflow's `run-name` lets a lost answer be looked up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^[\w.-]+\.ya?ml$")
    ref: str = "main"
    inputs: dict[str, str] = Field(default_factory=dict)


class GithubConfig(BaseModel):
    """The repository, a token, and either `revert` or `workflow`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    token: Credential
    api: Annotated[Address, AfterValidator(_guarded)] = "https://api.github.com"
    revert: Revert | None = None
    workflow: Workflow | None = None

    @model_validator(mode="after")
    def _does_one_thing(self) -> GithubConfig:
        if (self.revert is None) == (self.workflow is None):
            raise ValueError("give either revert or workflow")
        return self


class GithubAction(OwnPool):
    """Opens one pull request or starts one workflow run a step; looks for its own before it makes another."""

    kind: ClassVar[str] = "github"
    Config: ClassVar[type[BaseModel]] = GithubConfig
    reversible = False

    def __init__(self, config: GithubConfig, context: Context) -> None:
        """Work on the repository of `config`; nothing is opened yet."""
        self._config, self._context = config, context

    async def preflight(self, act: Act) -> tuple[Finding, ...]:
        """Say whether the repository can be read with the token, and the file says what it should. Raises AdapterError."""
        del act
        if (revert := self._config.revert) is None:
            await self._get("")
            return (Finding(level="ok", message=f"{self._config.repo} answers."),)
        await self._file(revert)
        return (Finding(level="ok", message=f"{revert.path} of {self._config.repo} can be read."),)

    def call(self, act: Act) -> Call:
        """Say what will be done, and the same by hand."""
        repo = self._config.repo
        if (flow := self._config.workflow) is not None:
            inputs = [f"{name}={put(value, act)}" for name, value in flow.inputs.items()]
            said = ["gh", "workflow", "run", flow.file, "-R", repo, "--ref", flow.ref]
            text = f"start {flow.file} of {repo} on {flow.ref}"
            return Call(text=text, by_hand=shlex.join([*said, *(word for one in inputs for word in ("-f", one))]))
        path = self._config.revert.path if self._config.revert else ""
        text = f"open a pull request in {repo}: {path} back to {act.good}"
        return Call(text=text, by_hand=f"edit {path} of {repo}: {act.bad} to {act.good}, and open a pull request")

    async def perform(self, act: Act) -> ApplyResult:
        """Do it. Raises AdapterError when nothing was sent."""
        began = self._context.clock.now()
        if self._config.workflow is not None:
            return await self._dispatched(self._config.workflow, act, began)
        if self._config.revert is None:
            raise NotFound("nothing is configured to be done")
        return await self._reverted(self._config.revert, act, began)

    async def done(self, act: Act) -> ApplyResult | None:
        """Look for our pull request or run: there, not there (asking again is safe), or nobody can tell."""
        began = self._context.clock.now()
        try:
            if self._config.revert is not None:
                found = await self._pull(act)
                if found is None:
                    return self._ended(Outcome.REJECTED, "there is no pull request of this rollback yet", began)
                return self._ended(Outcome.APPLIED, f"pull request {found}", began, url=found)
            run = await self._run(act)
        except AdapterError:
            return None
        return self._ended(Outcome.APPLIED, f"run {run}", began, url=run) if run else None

    async def undo(self, act: Act) -> ApplyResult:
        """Nothing is taken back: a pull request is closed, and a run ended, by people."""
        del act
        return self._ended(Outcome.REJECTED, "a person takes this back", self._context.clock.now())

    # ── a pull request ────────────────────────────────────────────────────────────────────────────────────────────

    async def _reverted(self, revert: Revert, act: Act, began: datetime) -> ApplyResult:
        if (known := await self._pull(act)) is not None:
            return self._ended(Outcome.NOOP, f"pull request {known}", began, url=known)
        bad, good = (revert.line.replace("{version}", version) for version in (act.bad, act.good))
        text, sha = await self._file(revert)
        if bad not in text:
            if good in text:
                return self._ended(Outcome.NOOP, f"{revert.path} says {act.good} already", began)
            return self._ended(Outcome.REJECTED, f"{revert.path} does not say {words.plain(bad, 80)}", began)
        head = await self._get(f"/git/ref/heads/{quote(revert.base)}")
        commit = head.get("object", {}).get("sha", "")
        title = f"{act.model}: {act.bad} back to {act.good}"
        held = base64.b64encode(text.replace(bad, good).encode()).decode()
        body = f"Incident {act.incident} rolled {act.model} back from {act.bad} to {act.good} in {act.environment}. Until this is merged the next sync would bring {act.bad} back."
        writes = (
            ("POST", "/git/refs", {"ref": f"refs/heads/{_branch(act)}", "sha": commit}, (201, 422)),
            ("PUT", f"/contents/{quote(revert.path)}", {"message": title, "content": held, "sha": sha, "branch": _branch(act)}, (200, 201, 409)),
            ("POST", "/pulls", {"title": title, "head": _branch(act), "base": revert.base, "body": body}, (201, 422)),
        )  # fmt: skip
        for method, path, sent, good_ones in writes:
            status, _ = await self._send(method, path, sent)
            if status is None or status >= 500:
                return self._ended(Outcome.INDETERMINATE, "the answer was lost", began)
            if status not in good_ones:
                return self._ended(Outcome.REJECTED, f"{method} {path} was answered {status}", began)
        made = await self._pull(act)
        if made is None:
            return self._ended(Outcome.INDETERMINATE, "the pull request is not listed yet", began)
        return self._ended(Outcome.APPLIED, f"pull request {made}", began, url=made)

    async def _file(self, revert: Revert) -> tuple[str, str]:
        found = await self._get(f"/contents/{quote(revert.path)}?ref={quote(revert.base, safe='')}")
        try:
            return base64.b64decode(str(found["content"])).decode(), str(found["sha"])
        except (KeyError, binascii.Error, UnicodeDecodeError) as error:
            message = f"{self._config.repo}: {revert.path} is no text file that can be read."
            raise NotFound(message) from error

    async def _pull(self, act: Act) -> str | None:
        owner = self._config.repo.partition("/")[0]
        found = await self._get(f"/pulls?state=all&head={quote(f'{owner}:{_branch(act)}', safe='')}")
        return next((str(one.get("html_url", "")) for one in found if isinstance(one, dict)), None)

    # ── a workflow ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _dispatched(self, flow: Workflow, act: Act, began: datetime) -> ApplyResult:
        if (known := await self._run(act)) is not None:
            return self._ended(Outcome.NOOP, f"run {known}", began, url=known)
        inputs = {name: put(value, act) for name, value in flow.inputs.items()}
        sent = {"ref": flow.ref, "inputs": inputs, "return_run_details": True}
        status, body = await self._send("POST", f"/actions/workflows/{flow.file}/dispatches", sent)
        if status is None or status >= 500:
            return self._ended(Outcome.INDETERMINATE, "the answer was lost", began)
        if status not in (200, 204):
            return self._ended(Outcome.REJECTED, f"the dispatch was answered {status}", began)
        url = str(body.get("html_url", "")) if isinstance(body, dict) else ""
        return self._ended(Outcome.APPLIED, f"{flow.file} was started{f': {url}' if url else ''}", began, url=url)

    async def _run(self, act: Act) -> str | None:
        """Find the run whose name holds our key; without a key in its inputs none can be told from another."""
        flow = self._config.workflow
        if flow is None or not any("{key}" in value for value in flow.inputs.values()):
            return None
        found = await self._get(f"/actions/workflows/{flow.file}/runs?event=workflow_dispatch&per_page=50")
        runs = found.get("workflow_runs", []) if isinstance(found, dict) else []
        ours = (one for one in runs if isinstance(one, dict) and act.key in str(one.get("display_title", "")))
        return next((str(one.get("html_url", "")) for one in ours), None)

    # ── the API ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _get(self, path: str) -> Any:
        """Read one thing. Raises AdapterError with what would mend it."""
        status, body = await self._send("GET", path, None)
        repo = self._config.repo
        if status is None or status >= 500:
            message = f"GitHub does not answer for {repo}."
            raise Unavailable(message)
        if status in (401, 403):
            message = f"GitHub refuses the token for {repo} ({status})."
            raise Unauthorized(message)
        if status == 429:
            message = f"GitHub asks for patience about {repo}."
            raise RateLimited(message, retry_after=60)
        if status != 200:
            message = f"GitHub has no {path.partition('?')[0] or 'repository'} in {repo} ({status})."
            raise NotFound(message)
        return body

    async def _send(self, method: str, path: str, sent: dict[str, Any] | None) -> tuple[int | None, Any]:
        """Give status and JSON body; no status when the answer was lost."""
        token = self._config.token.value(self._context.secret)
        if not token or self._http is None:
            message = f"{self._context.name}: its token is not set." if not token else "the action is not open"
            raise Unauthorized(message)
        headers = {
            "Accept": "application/vnd.github+json", "Authorization": f"Bearer {token}",
            "X-GitHub-Api-Version": "2022-11-28", "User-Agent": "lastgood",
        }  # fmt: skip
        url = f"{self._config.api}/repos/{self._config.repo}{path}"
        try:
            async with (
                asyncio.timeout(WITHIN),
                self._http.request(method, url, json=sent, headers=headers, allow_redirects=False) as answer,
            ):
                body = await capped(answer, LIMIT)
                return answer.status, orjson.loads(body) if body else {}
        except aiohttp.ClientConnectorError as error:
            message = "GitHub cannot be reached."
            raise Unavailable(message) from error
        except (aiohttp.ClientError, TimeoutError):
            return None, None
        except ValueError:
            return answer.status, {}

    def _ended(self, outcome: Outcome, detail: str, began: datetime, *, url: str = "") -> ApplyResult:
        return ApplyResult(
            outcome=outcome, detail=f"{self._context.name}: {detail}.", receipt={"url": url} if url else {},
            started_at=began, finished_at=self._context.clock.now(),
        )  # fmt: skip


def _branch(act: Act) -> str:
    """Name a branch that is the same at every attempt of the same step."""
    return f"lastgood/{act.incident[-5:].lower()}-{hashlib.sha256(act.key.encode()).hexdigest()[:8]}"


ACTION = GithubAction
