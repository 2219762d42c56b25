"""Each figure of the project as a ratio beside its named reference, both taken in turn in one run.

Absolute numbers move with the machine; the median of per-round ratios holds. A figure short of its floor is a defect
to report and never fails this process. `--quick` takes under a minute, `--long` more samples, `--only` one subject.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))

from alerts import Alerts
from clicks import Acks, Moves
from decision import Decisions
from figures import Figure, table
from ingest import Ingest
from place import Place, place
from probes import fsyncs, load_average, percentile, versions
from replicas import Replicas
from rows import Rows
from starts import Starts


class Subject(Protocol):
    """What is measured: started once, then a round at a time."""

    figures: list[Figure]

    def ready(self) -> AbstractAsyncContextManager[None]: ...

    async def round(self, at: int) -> None: ...


@dataclass(frozen=True)
class Size:
    """How much is measured in each round."""

    rounds: int
    alerts: int
    clicks: int
    seconds: float
    commits: int


# A configuration takes 256 KiB, so rounds times alerts stay below 750 models.
SIZES = {"quick": Size(5, 30, 10, 0.2, 60), "normal": Size(7, 100, 50, 2.0, 300), "long": Size(9, 80, 75, 5.0, 1000)}
SUBJECTS: dict[str, Callable[[Place, Size], Subject]] = {
    "alerts": lambda place, size: Alerts(place, size.rounds, size.alerts),
    "acks": lambda place, size: Acks(place, size.rounds, size.clicks),
    "moves": lambda place, size: Moves(place, size.rounds, size.clicks),
    "ingest": lambda place, size: Ingest(place, size.seconds),
    "rows": lambda place, size: Rows(place, size.commits),
    "replicas": lambda place, size: Replicas(place, size.alerts * 2),
    "starts": lambda place, _: Starts(place),
    "policy": lambda _, size: Decisions(size.commits),
}


async def _measure(name: str, size: Size, folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Run one subject in a place of its own; give its figures at the end, what stood beside each round before."""
    folder.mkdir()  # noqa: ASYNC240  before anything is measured
    async with place(folder) as found:
        subject = SUBJECTS[name](found, size)
        async with subject.ready():
            for at in range(size.rounds):
                disk, load = fsyncs(folder, 50), load_average()
                try:
                    await subject.round(at)
                except (TimeoutError, AssertionError) as error:
                    subject.figures[0].note += f"round {at + 1} was dropped: {error!r}; "
                yield {
                    "subject": name, "round": at + 1, "fsync_p50_ms": round(1000 * percentile(disk, 0.5), 3),
                    "fsync_p99_ms": round(1000 * percentile(disk, 0.99), 3), "load": round(load, 2),
                }  # fmt: skip
        yield {"figures": subject.figures}


async def _run(names: list[str], size: Size, say: Callable[[str], None]) -> tuple[list[dict[str, Any]], list[Figure]]:
    rounds: list[dict[str, Any]] = []
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="lastgood-bench-") as folder:
        for name in names:
            began = perf_counter()
            async for one in _measure(name, size, Path(folder) / name):
                if "figures" in one:
                    figures += one["figures"]
                    continue
                rounds.append(one)
                say(
                    f"{name:<7} round {one['round']}  fsync p50 {one['fsync_p50_ms']} p99 {one['fsync_p99_ms']} ms  load {one['load']}"
                )
            say(f"{name:<7} took {perf_counter() - began:.1f} s")
    return rounds, figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--quick", action="store_true", help="under a minute")
    amount.add_argument("--long", action="store_true", help="more rounds and samples")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--only", choices=sorted(SUBJECTS), action="append", help="measure only this; may be repeated")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    chosen = "quick" if asked.quick else "long" if asked.long else "normal"
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731  one line, one use
    found = versions()
    say(" · ".join(f"{name} {one}" for name, one in found.items()))
    rounds, figures = asyncio.run(_run(asked.only or list(SUBJECTS), SIZES[chosen], say))
    if asked.json:
        print(
            json.dumps(
                {"versions": found, "size": chosen, "rounds": rounds, "figures": [one.as_json() for one in figures]},
                indent=1,
            )
        )
    else:
        print(
            f"\n{table(figures)}\nEach ratio is the median of {SIZES[chosen].rounds} rounds; a floor missed is a defect to report, not a failed run.\nA p99 of fewer than 100 samples is their worst."
        )


if __name__ == "__main__":
    main()
