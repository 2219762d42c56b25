"""Who acts from this terminal: a key that is made here, that a person lets act for them in Slack, and that nobody else can read."""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.config import Settings
from bot.domain import entries as e
from bot.domain import proof, words
from bot.domain.orders import LOGINS
from bot.errors import Conflict, Denied
from bot.ports import Append, Clock, Write
from bot.store.place import place_of
from bot.store.timeline import Store
from bot.terminal import local

CODE_FOR = timedelta(minutes=10)
LOOK_EVERY = 0.5  # seconds
ATTEMPTS = 5
OTHERS = 0o077  # the bits of a file's mode that let anybody but its owner in
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # without I, O, 0 and 1
NOBODY = (
    "Nobody is signed in on this terminal. `lastgood login` does that, while Slack is up; it lasts 12\u00a0h. "
    "Nothing was changed."
)
Name = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Credential:
    """What the file holds: the private key, the database it was made for, and the terminal as people call it."""

    key: Ed25519PrivateKey = field(repr=False)
    database: str
    host: str

    @property
    def public(self) -> str:
        """Give the public key, hexadecimal."""
        return self.key.public_key().public_bytes_raw().hex()


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The person this terminal acts for now."""

    person: str
    until: datetime
    credential: Credential

    def request(self, subject: proof.Subject) -> dict[str, str]:
        """Sign one act with a fresh nonce; give what travels with it, so that the timeline can prove it later."""
        mine = self.credential
        return proof.request(mine.key, mine.host, subject, secrets.token_hex(16))


# ── the file ──────────────────────────────────────────────────────────────────────────────────────────────────────


def place(settings: Settings) -> Path:
    """Give where the credential for this database is kept; LASTGOOD_CREDENTIAL names another place."""
    if named := settings.get("LASTGOOD_CREDENTIAL"):
        return Path(named)
    folder = settings.get("XDG_CONFIG_HOME")
    digest = hashlib.sha256(_database(settings).encode()).hexdigest()[:16]
    return (Path(folder) if folder else Path.home() / ".config") / "lastgood" / f"credential-{digest}.json"


def _database(settings: Settings) -> str:
    """Name the database the same way whoever runs the command, and without a password."""
    place = place_of(settings.database)
    return str(place.path.resolve()) if place.path is not None else place.name


def read(settings: Settings, *, trusting: bool = True) -> Credential | None:
    """Read the credential, None when there is none. Raises Denied when others may have read it, or it is of another database.

    Without `trusting` neither matters: whoever signs out may do so with any credential.
    """
    path = place(settings)
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode & 0o777, file.read()
    except FileNotFoundError:
        return None
    if trusting and mode & OTHERS:
        message = (
            f"{path} may be read by others (mode {mode:04o}), so it proves nobody. They may have copied it: "
            "`lastgood logout`, then `lastgood login`, which keeps it with mode 0600. Nothing was changed."
        )
        raise Denied(message)
    credential = _parsed(text, path)
    if trusting and credential.database != _database(settings):
        message = f"{path} was made for the database {credential.database}, not for {_database(settings)}. Nothing was changed."
        raise Denied(message)
    return credential


def _parsed(text: bytes, path: Path) -> Credential:
    try:
        held = orjson.loads(text)
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(held["private_key"]))
        return Credential(key, str(held["database"]), str(held["host"]))
    except (ValueError, TypeError, KeyError) as error:
        message = f"{path} is no credential of Lastgood. Move it away, then `lastgood login`. Nothing was changed."
        raise Denied(message) from error


@contextmanager
def drafted(settings: Settings, credential: Credential) -> Iterator[Callable[[], Path]]:
    """Write a credential nobody else can read; it takes its place when the yielded function is called, else it is gone."""
    path = place(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = credential.key.private_bytes_raw().hex()
    held = {"private_key": key, "database": credential.database, "host": credential.host}
    handle, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(orjson.dumps(held))
        yield lambda: Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


# ── signing in ────────────────────────────────────────────────────────────────────────────────────────────────────


def fresh(settings: Settings) -> Credential:
    """Make a key for this terminal and database."""
    return Credential(Ed25519PrivateKey.generate(), _database(settings), _host())


def _host() -> str:
    """Name this terminal as people would: who on which machine, as the system says it."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container without a list of users
        user = str(os.getuid())
    return words.plain(f"{user}@{socket.gethostname().partition('.')[0]}", 60)


def new_code() -> str:
    """Give a code that is read off one screen and typed on another, like ABCD-EFGH."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(8))
    return f"{letters[:4]}-{letters[4:]}"


def digest_of(code: str) -> str:
    """Give what the database keeps of a code."""
    return hashlib.sha256(code.encode()).hexdigest()


async def ask(store: Store, credential: Credential, code: str, clock: Clock) -> e.LoginAsked:
    """Record that this terminal asks to sign in; the code and the private key stay here."""
    asked = e.LoginAsked(
        code=digest_of(code), key=credential.public, host=credential.host, until=clock.now() + CODE_FOR
    )
    await _write(store, asked)
    return asked


async def granted(store: Store, asked: e.LoginAsked, clock: Clock, look: Callable[[], None]) -> e.LoginGranted | None:
    """Wait until a person lets the key act for them, None when the code ends first; `look` is called at each look."""
    while True:
        history = proof.of(asked.key, await store.read(LOGINS))
        found = next((one.entry for one in history if isinstance(one.entry, e.LoginGranted)), None)
        if found is not None or clock.now() >= asked.until:
            return found
        look()
        await asyncio.sleep(LOOK_EVERY)


async def end(store: Store, key: str, clock: Clock) -> str:
    """Record that a key acts for nobody any more; give whose it was, an empty text when it was nobody's or over."""
    found = proof.last_word(proof.of(key, await store.read(LOGINS)))
    if not isinstance(found, e.LoginGranted) or found.until <= clock.now():
        return ""
    await _write(store, e.LoginEnded(key=key, person=found.person))
    return found.person


async def _write(store: Store, entry: e.Entry) -> None:
    for attempt in range(ATTEMPTS):
        last = (await store.read(LOGINS))[-1:]
        try:
            await store.append(Append(writes=(Write(LOGINS, (entry,), last[0].epoch if last else 0),)))
        except Conflict:  # somebody else signed in or out meanwhile
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


# ── acting ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def here(store: Store, settings: Settings, clock: Clock, name: Name) -> SignedIn:
    """Give the person this terminal acts for. Raises Denied with the sentence that says what to do."""
    credential = read(settings)
    if credential is None:
        raise Denied(NOBODY)
    history = proof.of(credential.public, await store.read(LOGINS))
    match proof.last_word(history):
        case e.LoginGranted(person=person, until=until) if until > clock.now():
            return SignedIn(person, until, credential)
        case e.LoginGranted(person=person, until=until):
            raise _over(f"The sign-in of {name(person)} on this terminal ended at", until)
        case e.LoginEnded(person=person):
            raise _over(f"{name(person)} signed out on this terminal at", history[-1].at)
    raise Denied(NOBODY)


def _over(sentence: str, at: datetime) -> Denied:
    again = "`lastgood login` signs in anew, while Slack is up; it lasts 12\u00a0h."
    return Denied(f"{sentence} {local(at, '%d %b %H:%M %Z')}. {again} Nothing was changed.")
