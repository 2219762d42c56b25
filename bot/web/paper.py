"""How a page of ours is sent: filled templates without any script, and headers that let nothing else in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

HERE = Path(__file__).parent / "pages"
FILES = {"page.css": "text/css", "mark.svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Paper:
    """Fills the templates beside this module. `root` is the path before ours, when a proxy adds one."""

    def __init__(self, root: str) -> None:
        """Lead every link on a page through `root`."""
        self._root = root

    def show(self, name: str, facts: Mapping[str, Any], status: int = 200) -> web.Response:
        """Fill a template; every fact is text and never markup."""
        text = _templates().get_template(name).render({**facts, "root": self._root})
        return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=HEADERS)

    def go(self, where: str) -> web.Response:
        """Send the browser elsewhere."""
        return web.Response(status=303, headers={**HEADERS, "Location": where})

    async def file(self, request: web.Request) -> web.Response:
        """Give the style sheet or the mark."""
        name = request.match_info["name"]
        if name not in FILES:
            raise web.HTTPNotFound
        return web.Response(body=_file(name), content_type=FILES[name], headers=HEADERS)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


@cache
def _file(name: str) -> bytes:
    return (HERE / name).read_bytes()
