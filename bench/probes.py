"""What stands beside a figure: percentiles, an fsync probe, load, memory and versions."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

ALERTMANAGER = Path("/usr/bin/prometheus-alertmanager")
PACKAGES = ("aiohttp", "slack-bolt", "slack-sdk", "sqlmodel", "sqlalchemy", "pydantic", "orjson")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]


def fsyncs(folder: Path, count: int = 100) -> list[float]:
    """Seconds of writing 4 KiB and waiting for the disk, each time."""
    seconds = []
    with (folder / "fsync").open("wb", buffering=0) as out:
        for _ in range(count):
            began = perf_counter()
            out.write(b"x" * 4096)
            os.fsync(out.fileno())
            seconds.append(perf_counter() - began)
    return seconds


def rss_mib(pid: int) -> float:
    """Resident memory of a process; 0 where the system has no /proc."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text())
    return int(found[1]) / 1024 if found else 0.0


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used; 0 where the system has no /proc."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load_average() -> float:
    return os.getloadavg()[0]


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "kernel": platform.release()}
    found |= {name: version(name) for name in PACKAGES}
    if ALERTMANAGER.exists():
        said = subprocess.run([ALERTMANAGER, "--version"], capture_output=True, text=True, check=False)
        first = re.search(r"version ([\w.+-]+)", said.stdout + said.stderr)
        found["alertmanager"] = first[1] if first else "unknown"
    return found | {"cpus": str(os.cpu_count())}
