"""One process of people: sends the signed requests of a file, all or so many at once, when it is told to begin; prints the answers.

With a number of batches it does so for `FILE.0`, `FILE.1` and so on, each when `BEGIN.0`, `BEGIN.1` is there.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp


async def sent(file: Path, begin: Path) -> list[int]:
    while not begin.exists():
        await asyncio.sleep(0.005)
    asked: dict[str, Any] = json.loads(file.read_text())
    turn = asyncio.Semaphore(asked.get("at_once", len(asked["requests"])))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def one(body: str, headers: dict[str, str]) -> int:
            async with turn, http.post(asked["url"], data=body.encode(), headers=headers) as answer:
                await answer.read()
                return answer.status

        return list(await asyncio.gather(*(one(body, headers) for body, headers in asked["requests"])))


async def main(file: Path, begin: Path, batches: int) -> None:
    places = [(Path(f"{file}.{n}"), Path(f"{begin}.{n}")) for n in range(batches)] or [(file, begin)]
    statuses = [status for place in places for status in await sent(*place)]
    sys.stdout.write(json.dumps(statuses))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
