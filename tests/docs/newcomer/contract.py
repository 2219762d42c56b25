"""The newcomer's test: the contract suite over a file of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters import loading
from adapters.testing import Rig, TrafficContract, nothing

FlagFile = loading.load("traffic", "flagfile")


class TestFlagFile(TrafficContract):
    test_a_lost_answer_is_unknown_until_it_is_read = None  # type: ignore[assignment]  # a local file loses no answer

    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        path = tmp_path / "flags.json"
        path.write_text(json.dumps({"41": "0", "42": "100"}))

        async def meddle() -> None:
            path.write_text(json.dumps({"41": "50", "42": "50"}))

        async def cut() -> None:
            path.unlink()

        async def serve(_: int) -> None:
            await nothing()

        config = FlagFile.Config(path=str(path))
        return Rig(lambda c: FlagFile(config, c), "42", "41", meddle, cut, nothing, nothing, serve, samples=0)
