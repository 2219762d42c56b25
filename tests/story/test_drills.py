"""Each drill is played whole, on a real Envoy, and comes out as it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.app import create
from bot.demo.drills import DRILLS, run


@pytest.mark.story
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", sorted(DRILLS))
async def test_a_drill_holds_all_its_measures(tmp_path: Path, name: str) -> None:
    measures = await run(DRILLS[name], create, tmp_path / "drill", quiet=True)
    assert [f"{one.name}: {one.value}, wanted {one.wanted}" for one in measures if not one.ok] == []
    assert {"accepted", "traffic moved", "recovered"} < {one.name for one in measures}
