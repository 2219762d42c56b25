"""Slack's end of Socket Mode: tickets, hello, envelopes and their acks, disconnects, sockets that go quiet."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import WSMsgType, web

from bot.demo.slack_workspace import APP

Reason = Literal["warning", "refresh_requested", "link_disabled", "too_many_websockets"]
MOST_CONNECTIONS = 10
_INTERACTIVE = ("interactive", "slash_commands")


@dataclass(eq=False)
class _Connection:
    socket: web.WebSocketResponse
    request: web.Request
    frozen: bool = False


@dataclass
class SocketMode:
    """All sockets of one app. Any payload may go to any of them."""

    tickets: set[str]
    connections: list[_Connection] = field(default_factory=list)
    opened: int = 0  # how many sockets there ever were
    _serial: int = 0
    _acks: dict[str, asyncio.Future[Any]] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one socket until it ends."""
        ticket = request.query.get("ticket", "")
        if ticket not in self.tickets:
            return web.Response(status=404)
        self.tickets.discard(ticket)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        connection = _Connection(socket, request)
        self.connections.append(connection)
        self.opened += 1
        try:
            await self._serve(connection)
        finally:
            self._gone(connection)
        return socket

    async def _serve(self, connection: _Connection) -> None:
        if len(self.connections) > MOST_CONNECTIONS:
            await self._bye(connection, "too_many_websockets")
            return
        about = {"host": "applink-demo", "build_number": 1, "approximate_connection_time": 18060}
        await connection.socket.send_json(
            {
                "type": "hello",
                "num_connections": len(self.connections),
                "debug_info": about,
                "connection_info": {"app_id": APP},
            }
        )
        async for message in connection.socket:
            if connection.frozen:
                continue
            if message.type is WSMsgType.PING:
                await connection.socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                self._acked(message.data)

    def _gone(self, connection: _Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)

    def _acked(self, text: str) -> None:
        try:
            found = json.loads(text)
        except ValueError:
            return
        waiting = self._acks.pop(str(found.get("envelope_id", "")), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(found.get("payload"))

    async def deliver(self, kind: str, payload: Any, *, retry: int = 0) -> Any:
        """Send one payload over one of the sockets; give the payload of its ack, which may never come."""
        self._serial += 1
        name = f"envelope-{self._serial}"
        more = {} if kind in _INTERACTIVE else {"retry_attempt": retry, "retry_reason": "timeout" if retry else ""}
        envelope = {
            "envelope_id": name,
            "type": kind,
            "payload": payload,
            "accepts_response_payload": kind in _INTERACTIVE,
            **more,
        }
        acked = self._acks[name] = asyncio.get_running_loop().create_future()
        connection = self.connections[self._serial % len(self.connections)]
        if not connection.frozen:
            await connection.socket.send_json(envelope)
        try:
            return await acked
        finally:
            self._acks.pop(name, None)

    async def disconnect(self, reason: Reason = "refresh_requested") -> None:
        """Tell every socket that it ends, and end it; a warning ends nothing."""
        for connection in list(self.connections):
            await self._bye(connection, reason)

    async def _bye(self, connection: _Connection, reason: Reason) -> None:
        await connection.socket.send_json(
            {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-demo"}}
        )
        if reason != "warning":
            self._gone(connection)
            await connection.socket.close()

    async def ping(self) -> None:
        """Ask every socket whether it is alive, as Slack does now and then."""
        for connection in self.connections:
            await connection.socket.ping(b"applink-demo")

    def cut(self) -> None:
        """Tear every connection without a word."""
        for connection in list(self.connections):
            self._gone(connection)
            if connection.request.transport is not None:
                connection.request.transport.abort()

    def freeze(self) -> None:
        """Leave every socket open and say nothing more on it, not even a pong."""
        for connection in self.connections:
            connection.frozen = True

    async def close(self) -> None:
        """End every socket."""
        for connection in list(self.connections):
            await connection.socket.close()
