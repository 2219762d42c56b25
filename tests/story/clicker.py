"""One process of people: sends the signed requests of a file in order, all or so many at once, when it is told to begin; prints the answers."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp


async def main(file: Path, begin: Path) -> None:
    asked: dict[str, Any] = json.loads(file.read_text())
    turn = asyncio.Semaphore(asked.get("at_once", len(asked["requests"])))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def one(body: str, headers: dict[str, str]) -> int:
            async with turn, http.post(asked["url"], data=body.encode(), headers=headers) as answer:
                await answer.read()
                return answer.status

        while not begin.exists():
            await asyncio.sleep(0.005)
        statuses = await asyncio.gather(*(one(body, headers) for body, headers in asked["requests"]))
    sys.stdout.write(json.dumps(statuses))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
