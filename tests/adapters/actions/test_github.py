"""A pull request or a workflow run a step asks for, once; GitHub here is a strict fake of the calls that are made."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from adapters.actions.github import GithubAction, GithubConfig
from adapters.testing import NotedLog
from bot.clock import SystemClock
from bot.domain.traffic import Outcome
from bot.errors import NotFound, Unauthorized, Unavailable
from bot.ports import Act, Context

ACT = Act("01X7Q4RD/1/revert", "fraud-scorer", "prod", "42", "41", "01X7Q4RD", "incident 7Q4RD")
REVERT = {"path": "deploy/fraud.yaml", "line": "image: fraud:{version}\n"}
FILE = "kind: Deployment\nimage: fraud:42\nother: 42\n"
TOKEN = "ghp_s3cret"


class GithubFake:
    """Branches, files, pull requests and runs of one repository, with the answers GitHub documents; it shows no more."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], str] = {("main", REVERT["path"]): FILE}
        self.branches = {"main": "c0ffee"}
        self.pulls: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.loses, self.old, self.calls, self.url = "", False, list[str](), ""

    def routes(self) -> list[web.RouteDef]:
        base = "/repos/o/r"
        return [
            web.get(base, self.repo), web.get(base + "/contents/{path:.+}", self.content), web.put(base + "/contents/{path:.+}", self.write),
            web.get(base + "/git/ref/heads/{branch:.+}", self.ref), web.post(base + "/git/refs", self.branch),
            web.get(base + "/pulls", self.listed), web.post(base + "/pulls", self.opened),
            web.get(base + "/actions/workflows/{file}/runs", self.ran), web.post(base + "/actions/workflows/{file}/dispatches", self.run),
        ]  # fmt: skip

    @web.middleware
    async def door(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path.removeprefix('/repos/o/r')}")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"message": "Bad credentials"}, status=401)
        answer: web.StreamResponse = await handler(request)
        if self.loses and self.calls[-1].startswith(self.loses) and request.transport is not None:
            request.transport.close()  # it was done, and nobody hears of it
        return answer

    async def repo(self, _: web.Request) -> web.Response:
        return web.json_response({"full_name": "o/r"})

    async def content(self, request: web.Request) -> web.Response:
        key = (request.query["ref"], request.match_info["path"])
        if key not in self.files:
            return web.json_response({"message": "Not Found"}, status=404)
        text = self.files[key]
        return web.json_response({"content": base64.b64encode(text.encode()).decode(), "sha": f"sha-{hash(text)}"})

    async def write(self, request: web.Request) -> web.Response:
        sent, path = await request.json(), request.match_info["path"]
        now = self.files[sent["branch"], path]
        if sent["sha"] != f"sha-{hash(now)}":
            return web.json_response({"message": "does not match"}, status=409)
        self.files[sent["branch"], path] = base64.b64decode(sent["content"]).decode()
        return web.json_response({}, status=200)

    async def ref(self, request: web.Request) -> web.Response:
        return web.json_response({"object": {"sha": self.branches[request.match_info["branch"]]}})

    async def branch(self, request: web.Request) -> web.Response:
        sent = await request.json()
        name = sent["ref"].removeprefix("refs/heads/")
        if name in self.branches:
            return web.json_response({"message": "Reference already exists"}, status=422)
        self.branches[name] = sent["sha"]
        self.files |= {(name, path): text for (at, path), text in self.files.items() if at == "main"}
        return web.json_response({}, status=201)

    async def listed(self, request: web.Request) -> web.Response:
        assert request.query["state"] == "all"
        return web.json_response([one for one in self.pulls if f"o:{one['head']}" == request.query["head"]])

    async def opened(self, request: web.Request) -> web.Response:
        sent = await request.json()
        if any(one["head"] == sent["head"] for one in self.pulls):
            return web.json_response({"message": "A pull request already exists"}, status=422)
        self.pulls.append({**sent, "html_url": f"https://github.example/o/r/pull/{len(self.pulls) + 1}"})
        return web.json_response(self.pulls[-1], status=201)

    async def ran(self, _: web.Request) -> web.Response:
        return web.json_response({"workflow_runs": self.runs})

    async def run(self, request: web.Request) -> web.Response:
        sent = await request.json()
        title = f"retrain {sent['inputs'].get('key', '')}"
        self.runs.append({"display_title": title, "html_url": f"https://github.example/o/r/runs/{len(self.runs) + 1}"})
        return web.Response(status=204) if self.old else web.json_response({"html_url": self.runs[-1]["html_url"]})


@pytest.fixture
async def hub() -> AsyncIterator[GithubFake]:
    fake = GithubFake()
    app = web.Application(middlewares=[fake.door])
    app.router.add_routes(fake.routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


@asynccontextmanager
async def opened(url: str, token: str = TOKEN, **keys: Any) -> AsyncIterator[GithubAction]:
    config = GithubConfig.model_validate({"repo": "o/r", "token": {"env": "T"}, "api": url, **keys})
    async with GithubAction(config, Context(SystemClock(), "gitops", NotedLog(), lambda _: token)) as action:
        yield action


# ── a pull request ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_pull_request_puts_the_good_version_back_in_its_line_only(hub: GithubFake) -> None:
    async with opened(hub.url, revert=REVERT) as action:
        assert [one.level for one in await action.preflight(ACT)] == ["ok"]
        ended = await action.perform(ACT)
    (pull,) = hub.pulls
    assert ended.outcome is Outcome.APPLIED
    assert ended.receipt == {"url": pull["html_url"]}
    assert (pull["title"], pull["base"]) == ("fraud-scorer: 42 back to 41", "main")
    assert hub.files[pull["head"], REVERT["path"]] == FILE.replace("fraud:42", "fraud:41")
    assert hub.files["main", REVERT["path"]] == FILE


async def test_asking_twice_makes_one_pull_request(hub: GithubFake) -> None:
    async with opened(hub.url, revert=REVERT) as action:
        first, again, known = await action.perform(ACT), await action.perform(ACT), await action.done(ACT)
    assert (first.outcome, again.outcome, len(hub.pulls)) == (Outcome.APPLIED, Outcome.NOOP, 1)
    assert known is not None
    assert known.outcome is Outcome.APPLIED


@pytest.mark.parametrize("lost", ["POST /git/refs", "PUT /contents", "POST /pulls"])
async def test_whichever_answer_is_lost_the_next_attempt_ends_with_one_pull_request(hub: GithubFake, lost: str) -> None:
    hub.loses = lost
    async with opened(hub.url, revert=REVERT) as action:
        assert (await action.perform(ACT)).outcome is Outcome.INDETERMINATE
        hub.loses = ""
        known = await action.done(ACT)
        assert known is not None
        if known.outcome is Outcome.REJECTED:
            assert (await action.perform(ACT)).outcome is Outcome.APPLIED
    (pull,) = hub.pulls
    assert hub.files[pull["head"], REVERT["path"]] == FILE.replace("fraud:42", "fraud:41")


async def test_a_file_that_says_the_good_version_needs_nothing(hub: GithubFake) -> None:
    hub.files["main", REVERT["path"]] = FILE.replace("fraud:42", "fraud:41")
    async with opened(hub.url, revert=REVERT) as action:
        ended = await action.perform(ACT)
    assert (ended.outcome, ended.detail, hub.pulls) == (Outcome.NOOP, "gitops: deploy/fraud.yaml says 41 already.", [])


async def test_a_file_that_says_neither_is_left_alone(hub: GithubFake) -> None:
    hub.files["main", REVERT["path"]] = "image: fraud:40\n"
    async with opened(hub.url, revert=REVERT) as action:
        ended = await action.perform(ACT)
    assert ended.outcome is Outcome.REJECTED
    assert [one for one in hub.calls if not one.startswith("GET")] == []


async def test_what_cannot_be_read_is_said_before_the_click(hub: GithubFake) -> None:
    async with opened(hub.url, revert={**REVERT, "path": "absent.yaml"}) as action:
        with pytest.raises(NotFound):
            await action.preflight(ACT)
    async with opened(hub.url, token="wrong", revert=REVERT) as action:
        with pytest.raises(Unauthorized) as refused:
            await action.preflight(ACT)
    assert "wrong" not in str(refused.value)
    async with opened("http://127.0.0.1:9", revert=REVERT) as action:
        with pytest.raises(Unavailable):
            await action.preflight(ACT)


# ── a workflow ────────────────────────────────────────────────────────────────────────────────────────────────────

FLOW = {"file": "retrain.yml", "inputs": {"key": "{key}", "bad": "{bad}"}}


@pytest.mark.parametrize("old", [False, True])
async def test_a_workflow_is_started_once(hub: GithubFake, *, old: bool) -> None:
    hub.old = old
    async with opened(hub.url, workflow=FLOW) as action:
        first, again = await action.perform(ACT), await action.perform(ACT)
    assert (first.outcome, again.outcome, len(hub.runs)) == (Outcome.APPLIED, Outcome.NOOP, 1)


async def test_a_run_whose_answer_was_lost_is_found_by_its_key(hub: GithubFake) -> None:
    hub.loses = "POST /actions"
    async with opened(hub.url, workflow=FLOW) as action:
        assert (await action.perform(ACT)).outcome is Outcome.INDETERMINATE
        known = await action.done(ACT)
    assert known is not None
    assert (known.outcome, len(hub.runs)) == (Outcome.APPLIED, 1)


async def test_a_run_without_a_key_cannot_be_told_from_another(hub: GithubFake) -> None:
    async with opened(hub.url, workflow={"file": "retrain.yml"}) as action:
        await action.perform(ACT)
        assert await action.done(ACT) is None


async def test_what_will_be_done_is_said_with_the_command() -> None:
    async with opened("http://127.0.0.1:9", workflow=FLOW) as action:
        call = action.call(ACT)
    assert call.text == "start retrain.yml of o/r on main"
    assert call.by_hand == "gh workflow run retrain.yml -R o/r --ref main -f key=01X7Q4RD/1/revert -f bad=42"


@pytest.mark.parametrize(
    "keys",
    [
        {}, {"revert": REVERT, "workflow": FLOW}, {"revert": {**REVERT, "line": "image: fraud"}},
        {"workflow": {"file": "../x.yml"}}, {"revert": REVERT, "repo": "o"}, {"revert": REVERT, "api": "http://github.example"},
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_at_the_start(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GithubConfig.model_validate({"repo": "o/r", "token": {"env": "T"}, **keys})
