"""A fake PagerDuty on loopback, over TLS: on-calls, incidents and what is written into them, as its OpenAPI description has it.

It is strict about every word of a question and every member of a body, and it is no proof of what PagerDuty itself does.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bot.ports import Clock

TOKEN = "u+fake-Key-9f3a77c1b2"
SENDER = "lastgood@acme.example"
LISTS = {"statuses[]", "service_ids[]", "schedule_ids[]", "escalation_policy_ids[]", "user_ids[]", "include[]"}
SINGLE = {"query", "limit", "offset", "total", "since", "until", "earliest", "time_zone"}
HEADERS = {"Accept": "application/vnd.pagerduty+json;version=2", "From": SENDER}


@dataclass(frozen=True, slots=True)
class Asked:
    """One question."""

    method: str
    path: str
    lists: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: Any = None

    @property
    def query(self) -> dict[str, str]:
        return {name: ",".join(values) for name, values in self.lists.items()}


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; status 0 cuts the connection instead."""

    status: int
    body: str = ""
    headers: Mapping[str, str] | None = None


Fault = Callable[[Asked], Reply]


class FakePagerDuty:
    """One account: people, shifts, and the faults the next questions meet."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        self.clock, self.folder = clock, folder
        self.token = TOKEN
        self.people: dict[str, dict[str, Any]] = {}
        self.shifts: list[dict[str, Any]] = []
        self.asked: list[Asked] = []
        self.subscriptions: list[dict[str, Any]] = []
        self.incidents: dict[str, dict[str, Any]] = {}  # by id: status, notes, alerts; updates, asked, fields
        self.fields = {"ml_model", "bad_version", "good_version", "lastgood_incident"}
        self.responders: int | None = 200  # the answer to a responder request; None never shows whom it asked
        self.assigned: list[str] = []
        self.faults: deque[Fault] = deque()
        self.hung = threading.Event()
        self.ca = ""
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _handler(self, self._certified()))
        self.port = int(self._server.server_address[1])
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._serving.start()

    async def stop(self) -> None:
        self.hung.set()
        await asyncio.to_thread(self._server.end)

    def _certified(self) -> ssl.SSLContext:
        self.ca, key = certificate()
        (self.folder / "fake.pem").write_text(key + self.ca)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "fake.pem")
        return context

    # ── what administrators do ────────────────────────────────────────────────────────────────────────────────────

    def person(self, user: str, name: str, email: str | None) -> None:
        self.people[user] = {"id": user, "type": "user", "summary": name, "name": name}
        if email is not None:
            self.people[user]["email"] = email

    def shift(
        self, user: str, *, schedule: str | None = None, policy: str = "PEP", level: int = 1,
        start: datetime | None = None, end: datetime | None = None,
    ) -> None:  # fmt: skip
        where = {"id": schedule, "type": "schedule_reference", "summary": schedule} if schedule else None
        self.shifts.append(
            {
                "user": user, "schedule": where, "escalation_level": level, "start": _text(start), "end": _text(end),
                "escalation_policy": {"id": policy, "type": "escalation_policy_reference", "summary": policy},
            }
        )  # fmt: skip

    # ── what goes wrong ───────────────────────────────────────────────────────────────────────────────────────────

    def status(self, status: int, times: int = 1, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.extend([lambda _: Reply(status, '{"error": {"code": 2020, "message": "no"}}', named)] * times)

    def body(self, body: str) -> None:
        self.faults.append(lambda _: Reply(200, body))

    def hang(self, times: int = 1) -> None:
        """Say nothing until `hung` is set, then answer."""

        def fault(asked: Asked) -> Reply:
            self.hung.wait(30)
            return self._oncalls(asked)

        self.faults.extend([fault] * times)

    def drop(self, times: int = 1) -> None:
        self.faults.extend([lambda _: Reply(0)] * times)

    def lose(self, times: int = 1) -> None:
        """Do what is asked and cut the connection before the answer."""

        def fault(asked: Asked) -> Reply:
            self._done(asked)
            return Reply(0)

        self.faults.extend([fault] * times)

    def well(self, times: int = 1) -> None:
        """Answer as usual: what comes before the next fault."""
        self.faults.extend([self._done] * times)

    # ── answering ─────────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if asked.path.split("/")[1] not in ("oncalls", "incidents", "users", "webhook_subscriptions", "abilities"):
            return _no(404, f"{asked.method} {asked.path}")
        if asked.headers.get("Authorization") != f"Token token={self.token}":
            return _no(401, "token")
        wrong = [name for name, value in HEADERS.items() if asked.headers.get(name) != value]
        reading = asked.method == "GET" and asked.path != "/oncalls"  # whoever only reads may speak as nobody
        if problem := ", ".join(name for name in wrong if name != "From" or not reading) or _problem(asked):
            return _no(400, problem)
        return self.faults.popleft()(asked) if self.faults else self._done(asked)

    def _done(self, asked: Asked) -> Reply:
        if asked.path == "/oncalls":
            return self._oncalls(asked)
        if asked.path == "/abilities":
            return Reply(200, json.dumps({"abilities": ["teams"]}))
        if asked.path == "/webhook_subscriptions":
            return Reply(200, json.dumps({"webhook_subscriptions": self.subscriptions}))
        if asked.path == "/users":
            word = asked.query["query"].split("@")[0]
            users = [one for one in self.people.values() if word in json.dumps(one)]
            return Reply(200, json.dumps({"users": users, "more": False}))
        _, _, name, *rest = (*asked.path.split("/"), "") if asked.path.count("/") == 1 else asked.path.split("/")
        found = self.incidents.get(name)
        if found is None:
            return _no(404, "Not Found")
        match asked.method, rest:
            case "GET", []:
                shown = {"id": name, "type": "incident", "status": found["status"], **self._responders(found)}
                return Reply(200, json.dumps({"incident": shown}))
            case "PUT", []:
                if found["status"] == "resolved":
                    return _no(400, "Incident Already Resolved")
                found["status"] = asked.body["incident"]["status"]
                return Reply(200, json.dumps({"incident": {"id": name, "type": "incident", "status": found["status"]}}))
            case "GET", ["notes"]:
                return Reply(
                    200,
                    json.dumps({"notes": [{"id": str(n), "content": text} for n, text in enumerate(found["notes"])]}),
                )
            case "POST", ["notes"]:
                found["notes"].append(asked.body["note"]["content"])
                return Reply(200, json.dumps({"note": {"id": str(len(found["notes"])), "content": found["notes"][-1]}}))
            case "GET", ["alerts"]:
                return Reply(200, json.dumps({"alerts": found["alerts"], "limit": 100, "offset": 0, "more": False}))
        return self._written(asked, found, rest)

    def _written(self, asked: Asked, found: dict[str, Any], rest: list[str]) -> Reply:
        match asked.method, rest:
            case "POST", ["status_updates"]:
                found.setdefault("updates", []).append(asked.body["message"])
                return Reply(200, json.dumps({"status_update": {"id": "PSU", "message": asked.body["message"]}}))
            case "POST", ["responder_requests"] if self.responders in (200, None):
                targets = [one["responder_request_target"] for one in asked.body["responder_request_targets"]]
                found.setdefault("asked", []).extend(targets)
                return Reply(200, json.dumps({"responder_request": {"message": asked.body["message"]}}))
            case "POST", ["responder_requests"]:
                return _no(self.responders or 500, "Account does not have the ability")
            case "GET", ["custom_fields", "values"]:
                if found.get("no_fields"):
                    return _no(402, "Account does not have the ability")
                fields = [{"name": name, "value": value} for name, value in found.get("fields", {}).items()]
                return Reply(200, json.dumps({"custom_fields": fields}))
            case "PUT", ["custom_fields", "values"]:
                values = {one["name"]: one["value"] for one in asked.body["custom_fields"]}
                if odd := sorted(values.keys() - self.fields):
                    why = {"message": "Invalid Input Provided", "code": 2001, "errors": [f"{odd[0]} does not exist"]}
                    return Reply(400, json.dumps({"error": why}))
                found.setdefault("fields", {}).update(values)
                return Reply(200, json.dumps({"custom_fields": asked.body["custom_fields"]}))
        return _no(405, asked.method)

    def _responders(self, found: dict[str, Any]) -> dict[str, Any]:
        if self.responders is None:
            return {}
        targets = [
            {"responder_request_target": {**one, "type": one["type"].removesuffix("_reference")}}
            for one in found.get("asked", [])
        ]
        return {
            "responder_requests": [{"responder_request_targets": [one]} for one in targets],
            "incidents_responders": [],
            "assignments": [{"assignee": {"id": one, "type": "user_reference"}} for one in self.assigned],
        }

    def _oncalls(self, asked: Asked) -> Reply:
        now = self.clock.now()
        rows = [one for one in self.shifts if _asked_for(one, asked) and _overlaps(one, now)]
        offset, limit = int(asked.query.get("offset", 0)), int(asked.query.get("limit", 25))
        included = "users" in asked.lists.get("include[]", [])
        shown = [{**one, "user": self._user(one["user"], included=included)} for one in rows[offset : offset + limit]]
        more = offset + limit < len(rows)
        content = {"oncalls": shown, "limit": limit, "offset": offset, "more": more, "total": None}
        return Reply(200, json.dumps(content))

    def _user(self, user: str, *, included: bool) -> dict[str, Any]:
        if included:
            return self.people[user]
        return {"id": user, "type": "user_reference", "summary": self.people[user]["name"]}


class _Server(ThreadingHTTPServer):
    """Every connection has a thread, and all of them end with the server."""

    daemon_threads = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self.open: set[socket.socket] = set()

    def handle_error(self, request: Any, address: Any) -> None:
        """Say nothing: a client that does not trust the certificate, or is gone, is what a test is about."""

    def end(self) -> None:
        self.shutdown()
        for one in tuple(self.open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.server_close()


def _handler(account: FakePagerDuty, context: ssl.SSLContext) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        server: _Server

        def setup(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True)
            self.server.open.add(self.request)
            super().setup()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()
            self.server.open.discard(self.request)
            self.request.close()

        def do_GET(self) -> None:
            self._reply("GET")

        def do_POST(self) -> None:
            self._reply("POST")

        def do_PUT(self) -> None:
            self._reply("PUT")

        def _reply(self, method: str) -> None:
            url = urlsplit(self.path)
            lists = parse_qs(url.query, keep_blank_values=True)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.loads(raw) if raw else None
            reply = account.answer(Asked(method, url.path, lists, dict(self.headers.items()), body))
            if not reply.status:
                self.close_connection = True
                self.request.shutdown(socket.SHUT_RDWR)
                return
            content = reply.body.encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **(reply.headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    return Handler


SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    "PUT /incidents/{id}": {
        "type": "object", "required": ["incident"], "additionalProperties": False,
        "properties": {"incident": {
            "type": "object", "required": ["type"], "additionalProperties": False,
            "properties": {"type": {"enum": ["incident", "incident_reference"]}, "status": {"enum": ["resolved", "acknowledged"]}},
        }},
    },
    "POST /incidents/{id}/notes": {
        "type": "object", "required": ["note"], "additionalProperties": False,
        "properties": {"note": {
            "type": "object", "required": ["content"], "additionalProperties": False,
            "properties": {"content": {"type": "string", "minLength": 1, "maxLength": 25000}},
        }},
    },
    "POST /incidents/{id}/status_updates": {
        "type": "object", "required": ["message"], "additionalProperties": False,
        "properties": {
            "message": {"type": "string", "minLength": 1, "maxLength": 25000},
            "subject": {"type": "string", "minLength": 1, "maxLength": 1024},
            "html_message": {"type": "string", "minLength": 1, "maxLength": 25000},
        },
    },
    "POST /incidents/{id}/responder_requests": {
        "type": "object", "required": ["requester_id", "message", "responder_request_targets"], "additionalProperties": False,
        "properties": {
            "requester_id": {"type": "string", "minLength": 1, "maxLength": 32},
            "message": {"type": "string", "minLength": 1, "maxLength": 25000},
            "responder_request_targets": {"type": "array", "minItems": 1, "items": {
                "type": "object", "required": ["responder_request_target"], "additionalProperties": False,
                "properties": {"responder_request_target": {
                    "type": "object", "required": ["id", "type"], "additionalProperties": False,
                    "properties": {
                        "id": {"type": "string", "minLength": 1, "maxLength": 32},
                        "type": {"enum": ["user_reference", "escalation_policy_reference"]},
                    },
                }},
            }},
        },
    },
    "PUT /incidents/{id}/custom_fields/values": {
        "type": "object", "required": ["custom_fields"], "additionalProperties": False,
        "properties": {"custom_fields": {"type": "array", "minItems": 1, "items": {
            "type": "object", "required": ["name", "value"], "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 50},
                "value": {"type": "string", "minLength": 1, "maxLength": 200},
            },
        }}},
    },
}  # fmt: skip


def _problem(asked: Asked) -> str:
    """Give what of a question or a body PagerDuty does not document."""
    if asked.method != "GET":
        what = "/".join(part if n != 2 else "{id}" for n, part in enumerate(asked.path.split("/")))
        schema = SCHEMAS.get(f"{asked.method} {what}")
        return f"{asked.method} {what}" if schema is None else "; ".join(_faults(schema, asked.body, "body"))
    lists = asked.lists
    for name, values in lists.items():
        if name not in LISTS | SINGLE:
            return f"unknown parameter {name}"
        if name in SINGLE and len(values) > 1:
            return f"{name} twice"
    if not set(lists.get("include[]", [])) <= {"users", "schedules", "escalation_policies"}:
        return "include[]"
    limit, offset = lists.get("limit", ["25"])[0], lists.get("offset", ["0"])[0]
    if not (limit.isdigit() and offset.isdigit() and 1 <= int(limit) <= 100 and int(limit) + int(offset) <= 10_000):
        return "limit or offset"
    return "" if lists.get("earliest", ["true"])[0] in ("true", "false") else "earliest"


def _faults(schema: Mapping[str, Any], value: Any, at: str) -> list[str]:
    """Hold a body to the few keywords of JSON Schema that the schemas here use."""
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at} is {value!r}"]
    if schema["type"] == "string":
        fits = isinstance(value, str) and schema["minLength"] <= len(value) <= schema["maxLength"]
        return [] if fits else [f"{at} is no text of the right length"]
    if schema["type"] == "array":
        if not isinstance(value, list) or len(value) < schema["minItems"]:
            return [f"{at} is no list of the right length"]
        return [fault for n, one in enumerate(value) for fault in _faults(schema["items"], one, f"{at}[{n}]")]
    if not isinstance(value, dict):
        return [f"{at} is no object"]
    known = schema["properties"]
    odd = [f"{at}.{name} is not known" for name in value if name not in known]
    lacks = [f"{at} lacks {name}" for name in schema["required"] if name not in value]
    return (
        odd
        + lacks
        + [fault for name in known if name in value for fault in _faults(known[name], value[name], f"{at}.{name}")]
    )


def _asked_for(shift: dict[str, Any], asked: Asked) -> bool:
    schedules, policies = asked.lists.get("schedule_ids[]", []), asked.lists.get("escalation_policy_ids[]", [])
    in_schedule = not schedules or (shift["schedule"] is not None and shift["schedule"]["id"] in schedules)
    return in_schedule and (not policies or shift["escalation_policy"]["id"] in policies)


def _overlaps(shift: dict[str, Any], now: datetime) -> bool:
    begun = shift["start"] is None or datetime.fromisoformat(shift["start"]) <= now
    return begun and (shift["end"] is None or datetime.fromisoformat(shift["end"]) > now)


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _no(status: int, why: str) -> Reply:
    return Reply(status, json.dumps({"error": {"message": why, "code": status}}))


def certificate() -> tuple[str, str]:
    """Make a certificate for 127.0.0.1 that signs itself, and its key, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake PagerDuty")])
    since = datetime(2020, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(since).not_valid_after(since + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), secret.decode()
