"""Signing a terminal in: a code, a key in a file nobody else can read, and a person who let it act for them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import sqlite3
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from bot import signed_in
from bot.clock import START, ManualClock, SystemClock
from bot.config import Settings
from bot.domain import entries as e
from bot.domain import orders, proof
from bot.domain.orders import LOGINS
from bot.errors import Denied
from bot.ports import Append, Write
from bot.store.schema import migrate
from bot.store.timeline import Store
from tests.terminals import Ended, Terminal, code_of

TWELVE = timedelta(hours=12)


@pytest.fixture
def ana(tmp_path: Path) -> Terminal:
    """Ana's terminal, on a site whose database is there."""
    migrate(f"sqlite:///{tmp_path}/lastgood.db")
    return Terminal(tmp_path, tmp_path / "ana")


def write(folder: Path, *entries: e.Entry, clock: SystemClock | ManualClock | None = None) -> None:
    async def work() -> None:
        async with Store(f"sqlite:///{folder}/lastgood.db", clock or SystemClock()) as store:
            await store.call({"U0ANA": "Ana Ruiz"})
            last = (await store.read(LOGINS))[-1:]
            await store.append(Append(writes=(Write(LOGINS, entries, last[0].epoch if last else 0),)))

    asyncio.run(work())


def logins(folder: Path) -> list[e.Recorded]:
    async def work() -> list[e.Recorded]:
        async with Store(f"sqlite:///{folder}/lastgood.db", SystemClock()) as store:
            return await store.read(LOGINS)

    return asyncio.run(work())


def asked_for(folder: Path, code: str) -> e.LoginAsked:
    """What the database knows of a code that a person types."""
    known = orders.fold(LOGINS, logins(folder)).asked
    return known[hashlib.sha256(code.encode()).hexdigest()]


def grant(folder: Path, key: str, *, lasts: timedelta = TWELVE, person: str = "U0ANA") -> None:
    until = SystemClock().now() + lasts
    write(folder, e.LoginGranted(key=key, person=person, until=until, via="slack", host="ana@build"))


def signed_on(terminal: Terminal) -> Ended:
    """Log in, a person typing the code in Slack meanwhile."""
    with terminal.started("login") as process:
        grant(terminal.folder, asked_for(terminal.folder, code_of(process)).key)
        stdout, stderr = process.communicate(timeout=90)
        return Ended(process.returncode, stdout, stderr)


def test_a_code_typed_in_slack_signs_the_terminal_in_for_twelve_hours(ana: Terminal) -> None:
    ended = signed_on(ana)
    assert ended.code == 0
    assert re.fullmatch(r"✓ signed in as Ana Ruiz until \d\d:\d\d\n", ended.out)
    assert ana.run("login", "--status").out == ended.out
    told = ana.run("login", "--status", "--json").json
    assert (told["signed_in"], told["person"]) == (True, "U0ANA")


def test_neither_the_code_nor_the_private_key_reaches_the_database(ana: Terminal) -> None:
    with ana.started("login") as process:
        code = code_of(process)
        grant(ana.folder, asked_for(ana.folder, code).key)
        process.communicate(timeout=90)
    held = json.loads(ana.credential.read_text())
    connection = sqlite3.connect(ana.folder / "lastgood.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    stored = b"".join(path.read_bytes() for path in ana.folder.glob("lastgood.db*"))
    for secret in (code, code.replace("-", ""), held["private_key"]):
        assert secret.encode() not in stored
        assert bytes.fromhex(held["private_key"]) not in stored
    assert hashlib.sha256(code.encode()).hexdigest().encode() in stored


def test_the_key_is_kept_where_only_its_owner_reads(ana: Terminal) -> None:
    signed_on(ana)
    assert stat.S_IMODE(ana.credential.stat().st_mode) == 0o600
    assert stat.S_IMODE(ana.credential.parent.stat().st_mode) == 0o700
    assert [path.name for path in ana.credential.parent.iterdir()] == [ana.credential.name]


def test_a_file_others_can_read_proves_nobody_and_says_how_to_mend(ana: Terminal) -> None:
    signed_on(ana)
    ana.credential.chmod(0o644)
    ended = ana.run("login", "--status")
    assert ended.code == 1
    assert "may be read by others (mode 0644), so it proves nobody." in ended.text
    assert "`lastgood logout`, then `lastgood login`" in ended.text
    assert ana.run("logout").out == "✓ Ana Ruiz signed out\n"
    assert signed_on(ana).code == 0


def test_nobody_signed_in_is_told_what_to_do_beforehand(ana: Terminal) -> None:
    ended = ana.run("login", "--status")
    assert ended.code == 1
    assert ended.text.startswith(
        "✗ Nobody is signed in on this terminal. `lastgood login` does that, while Slack is up; it lasts 12 h."
    )
    assert ana.run("login", "--status", "--json").json["signed_in"] is False


def test_a_sign_in_that_is_over_says_since_when(ana: Terminal) -> None:
    signed_on(ana)
    key = logins(ana.folder)[0].entry
    assert isinstance(key, e.LoginAsked)
    grant(ana.folder, key.key, lasts=-timedelta(minutes=1))
    ended = ana.run("login", "--status")
    assert ended.code == 1
    assert re.search(r"The sign-in of Ana Ruiz on this terminal ended at \d\d \w{3} \d\d:\d\d UTC\.", ended.text)


def test_signing_out_ends_the_key_and_takes_the_file_away(ana: Terminal) -> None:
    signed_on(ana)
    copy = ana.credential.read_bytes()
    path = ana.credential
    assert ana.run("logout").out == "✓ Ana Ruiz signed out\n"
    assert not path.exists()
    assert ana.run("logout").out == "✓ nobody was signed in on this terminal\n"
    path.write_bytes(copy)
    path.chmod(0o600)
    assert "Ana Ruiz signed out on this terminal at" in ana.run("login", "--status").text


def test_signing_in_again_ends_the_key_before(ana: Terminal) -> None:
    signed_on(ana)
    first = json.loads(ana.credential.read_text())["private_key"]
    signed_on(ana)
    assert json.loads(ana.credential.read_text())["private_key"] != first
    assert [type(one.entry) for one in logins(ana.folder)] == [
        e.LoginAsked, e.LoginGranted, e.LoginAsked, e.LoginGranted, e.LoginEnded,
    ]  # fmt: skip
    ended = logins(ana.folder)[-1].entry
    begun = logins(ana.folder)[0].entry
    assert isinstance(ended, e.LoginEnded)
    assert isinstance(begun, e.LoginAsked)
    assert ended.key == begun.key


def test_leaving_before_the_code_was_typed_leaves_nothing_behind(ana: Terminal) -> None:
    with ana.started("login") as process:
        code_of(process)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=90)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.endswith("✗ Nobody was signed in. The code ends by itself.\n")
    assert list((ana.home / "lastgood").iterdir()) == []


def test_another_file_may_be_named_and_belongs_to_its_database_alone(ana: Terminal, tmp_path: Path) -> None:
    named = tmp_path / "elsewhere" / "key.json"
    there = Terminal(ana.folder, ana.home, {"LASTGOOD_CREDENTIAL": str(named)})
    assert signed_on(there).code == 0
    assert named.exists()
    migrate(f"sqlite:///{tmp_path}/other.db")
    ended = there.run("login", "--status", LASTGOOD_DATABASE_URL=f"sqlite:///{tmp_path}/other.db")
    assert ended.code == 1
    assert f"was made for the database {tmp_path}/lastgood.db, not for {tmp_path}/other.db" in ended.text


def test_a_file_that_is_no_credential_is_named(ana: Terminal) -> None:
    named = ana.folder / "key.json"
    named.write_text("{}")
    named.chmod(0o600)
    for words in (("login",), ("login", "--status"), ("logout",)):
        ended = ana.run(*words, LASTGOOD_CREDENTIAL=str(named))
        assert (ended.code, ended.out) == (1, "")
        assert f"{named} is no credential of Lastgood." in ended.text


def test_without_a_database_nothing_is_asked(tmp_path: Path) -> None:
    ended = Terminal(tmp_path, tmp_path / "ana").run("login")
    assert ended.code == 1
    assert "There is no database lastgood.db" in ended.text


def test_no_option_and_no_variable_names_a_person() -> None:
    shown = subprocess.run(
        ["grep", "-rnE", r"--as\b|LASTGOOD_(USER|PERSON|AS)\b", "bot"], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.stdout == ""


async def test_a_code_that_nobody_types_ends(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/lastgood.db")
    clock = ManualClock()
    settings = Settings({"LASTGOOD_DATABASE_URL": f"sqlite:///{tmp_path}/lastgood.db"})
    looks: list[None] = []

    def look() -> None:
        looks.append(None)
        clock.advance(400)

    async with Store(settings.database, clock) as store:
        asked = await signed_in.ask(store, signed_in.fresh(settings), signed_in.new_code(), clock)
        assert asked.until == START + timedelta(minutes=10)
        assert await signed_in.granted(store, asked, clock, look) is None
    assert len(looks) == 2


# ── the parts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_acts_never_carry_the_same_signature() -> None:
    who = signed_in.SignedIn("U0ANA", START + TWELVE, signed_in.fresh(Settings({})))
    subject = proof.act_on("approve", "01KAQ3H2S0M4V8B6T9C17Q4RD0", "ab" * 32)
    assert who.request(subject)["signature"] != who.request(subject)["signature"]


def test_a_credential_shows_no_key_when_it_is_printed() -> None:
    mine = signed_in.fresh(Settings({}))
    assert mine.key.private_bytes_raw().hex() not in repr(mine)
    assert "Ed25519PrivateKey" not in repr(mine)


def test_codes_are_read_off_without_doubt_and_differ() -> None:
    codes = {signed_in.new_code() for _ in range(200)}
    assert len(codes) == 200
    assert all(re.fullmatch(r"[A-HJ-NP-Z2-9]{4}-[A-HJ-NP-Z2-9]{4}", code) for code in codes)


async def test_whoever_has_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(b"\xff")
    path.chmod(0o600)
    with pytest.raises(Denied, match="is no credential"):
        signed_in.read(Settings({"LASTGOOD_CREDENTIAL": str(path)}))
