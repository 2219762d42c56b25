"""Every shipped traffic adapter keeps the laws of the contract suite, against real systems."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from adapters.testing import Rig, TrafficContract, Wire, nothing
from adapters.traffic.envoy import Envoy, EnvoyConfig
from adapters.traffic.memory import Fault, Memory, MemoryConfig, MemoryWorld
from adapters.traffic.symlink import Symlink, SymlinkConfig
from bot.demo.envoy import Envoy as EnvoyProcess

SECRET = "hunter2"
VERSIONS = {"41": "fraud-v41", "42": "fraud-v42"}

Start = Callable[..., Awaitable[EnvoyProcess]]
Send = Callable[[int, int], Awaitable[int]]
Rewrite = Callable[[EnvoyProcess, dict[str, int]], Awaitable[None]]


class TestMemory(TrafficContract):
    """In this process."""

    test_no_requests_prove_nothing = None  # type: ignore[assignment]  # its requests are made up at each look

    @pytest.fixture
    def rig(self) -> Rig:
        world = MemoryWorld(["41", "42"])
        return _memory_rig(MemoryConfig(versions=("41", "42")), world)


class TestMemoryInAFile(TrafficContract):
    """Shared by processes."""

    test_no_requests_prove_nothing = None  # type: ignore[assignment]  # its requests are made up at each look

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        path = str(tmp_path / "split.json")
        return _memory_rig(MemoryConfig(versions=("41", "42"), path=path), MemoryWorld(["41", "42"], path=path))


def _memory_rig(config: MemoryConfig, world: MemoryWorld) -> Rig:
    def make(context: object) -> Memory:
        return Memory(config, context, world)  # type: ignore[arg-type]  # the suite hands a Context

    async def meddle() -> None:
        make(None).move({"41": 50, "42": 50})

    async def cut() -> None:
        world.faults.append(Fault.DOWN)

    async def lose() -> None:
        world.faults.append(Fault.LOSE)

    async def serve(requests: int) -> None:
        world.serve(requests)

    return Rig(make, "42", "41", meddle, cut, lose, nothing, serve)


class TestSymlink(TrafficContract):
    """Beside a server that reads the link."""

    test_a_lost_answer_is_unknown_until_it_is_read = None  # type: ignore[assignment]  # a local link loses no answer
    test_no_requests_prove_nothing = None  # type: ignore[assignment]  # it sends its own probes

    @pytest.fixture
    async def rig(self, tmp_path: Path) -> AsyncIterator[Rig]:
        link = tmp_path / "current"
        for version in ("41", "42", "40"):
            (tmp_path / f"v{version}").mkdir()
        link.symlink_to("v42")

        async def which(_: web.Request) -> web.Response:
            return web.Response(headers={"X-Model-Version": link.readlink().name.removeprefix("v")})

        app = web.Application()
        app.router.add_get("/version", which)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        probe = f"http://ops:{SECRET}@127.0.0.1:{runner.addresses[0][1]}/version"
        config = SymlinkConfig(path=str(link), versions={"40": "v40", "41": "v41", "42": "v42"}, probe=probe)

        async def meddle() -> None:
            link.unlink()
            link.symlink_to("v40")

        async def cut() -> None:
            link.unlink()

        async def serve(_: int) -> None:
            await nothing()

        yield Rig(lambda c: Symlink(config, c), "42", "41", meddle, cut, nothing, nothing, serve, 30, SECRET)
        await runner.cleanup()


class TestEnvoyRuntime(TrafficContract):
    """A real Envoy behind a line that can be broken."""

    @pytest.fixture
    async def rig(self, start: Start, send: Send) -> AsyncIterator[Rig]:
        envoy = await start({"fraud-v41": 10, "fraud-v42": 90})
        wire = Wire(envoy.admin_port)
        await wire.open()
        config = EnvoyConfig(
            admin=(f"http://ops:{SECRET}@127.0.0.1:{wire.port}",), runtime_key_prefix="routing.split.fraud", versions=VERSIONS,
        )  # fmt: skip

        async def meddle() -> None:
            await envoy.set_weights({"fraud-v41": 50, "fraud-v42": 50})

        yield _envoy_rig(config, wire, meddle, lambda head: head.startswith(b"POST"), envoy, send)
        await wire.cut()


class TestEnvoyRouteFile(TrafficContract):
    """A real Envoy that watches a file."""

    @pytest.fixture
    async def rig(self, start: Start, send: Send, rewrite: Rewrite) -> AsyncIterator[Rig]:
        envoy = await start({"fraud-v41": 10, "fraud-v42": 90}, rds=True)
        before = envoy.rds_path.read_bytes()
        wire = Wire(envoy.admin_port)
        await wire.open()
        config = EnvoyConfig(
            mode="rds", admin=(f"http://ops:{SECRET}@127.0.0.1:{wire.port}",), rds_path=str(envoy.rds_path), versions=VERSIONS,
        )  # fmt: skip

        async def meddle() -> None:
            await rewrite(envoy, {"fraud-v41": 50, "fraud-v42": 50})

        yield _envoy_rig(config, wire, meddle, lambda _: envoy.rds_path.read_bytes() != before, envoy, send)
        await wire.cut()


def _envoy_rig(
    config: EnvoyConfig,
    wire: Wire,
    meddle: Callable[[], Awaitable[None]],
    loses: Callable[[bytes], bool],
    envoy: EnvoyProcess,
    send: Send,
) -> Rig:
    async def lose() -> None:
        await wire.lose(loses)

    async def serve(requests: int) -> None:
        assert await send(envoy.port, requests) == requests

    return Rig(lambda c: Envoy(config, c), "42", "41", meddle, wire.cut, lose, wire.mend, serve, secret=SECRET)
