"""The command line as people and scripts meet it: what it prints, where, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer

from bot.__main__ import app, main
from bot.clock import START, ManualClock
from bot.domain import entries as e
from bot.domain.alert import Alert, Kind, RawRequest
from bot.domain.traffic import TrafficSplit
from bot.ports import Append, InboundDone, Write
from bot.report.facts import projected
from bot.store.schema import migrate
from bot.store.timeline import Store
from tests.slack import stories

ROOT = Path(__file__).parents[1]
OTHER = "incident/01KAQ3H2S0M4V8B6T9C18Q4RD0"
MODEL = "model/prod/fraud-scorer"


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `lastgood` with these words in a folder of its own, in UTC."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for name in [one for one in os.environ if one.startswith(("LASTGOOD", "SLACK"))]:
        monkeypatch.delenv(name)

    def ran(*words: str) -> Ran:
        code = 0
        try:
            main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return ran


def write_streams(streams: Mapping[str, Sequence[e.Entry]], database: str = "lastgood.db") -> None:
    """Append entries as `serve` would, and leave."""

    async def work() -> None:
        async with Store(database, ManualClock(), project=projected) as store:
            await store.call(stories.NAMES)
            for stream, entries in streams.items():
                await store.append(Append(writes=(Write(stream, tuple(entries), 0),)))

    migrate(database)
    asyncio.run(work())


@pytest.fixture
def site(run: Run) -> Run:
    """A database with one recovered incident, one that waits, and a model's ledger."""
    refused = e.ApprovalRefused(
        person="U0MIKA",
        plan=stories.PLAN.id,
        action="approve",
        reason="own_change",
        text="You deployed 42.",
        via="slack",
    )
    write_streams(
        {
            MODEL: [
                e.VersionServed(target="route", split=TrafficSplit(weights={"41": Decimal(0), "42": Decimal(100)})),
                e.VersionQuarantined(version="42", reason="rolled back", incident=stories.STREAM),
                e.VersionServed(
                    target="route", split=TrafficSplit(weights={"41": Decimal(100), "42": Decimal(0)}), by="rollback", incident=stories.STREAM
                ),
            ],
            stories.STREAM: [*stories.RECOVERED[:4], refused, *stories.RECOVERED[4:]],
            OTHER: stories.WAITING,
        }
    )  # fmt: skip
    return run


# ── help and usage ────────────────────────────────────────────────────────────────────────────────────────────────


def leaves(group: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, command in group.commands.items():
        found += leaves(command, (*path, name)) if hasattr(command, "commands") else [((*path, name), command)]
    return found


COMMANDS = leaves(typer.main.get_command(app))


def test_alone_it_teaches_what_to_type_when(run: Run) -> None:
    alone, asked = run(), run("--help")
    assert alone.code == asked.code == 0
    assert alone.out == asked.out
    assert alone.out.startswith("Lastgood 0.1.0 puts a model back to its last good version, and proves it.\nSee it ")


def test_the_page_names_every_command_and_no_other(run: Run) -> None:
    page = run().out
    named = set(re.findall(r"(?m)(?:^(?:[A-Z][\w ]{8,10})? *|   )([a-z]{2,10})  +", page))
    assert named == {path[0] for path, _ in COMMANDS}


@pytest.mark.parametrize("path", [path for path, _ in COMMANDS], ids=" ".join)
def test_every_command_has_an_example_within_100_columns(run: Run, path: tuple[str, ...]) -> None:
    shown = run(*path, "--help")
    assert shown.code == 0
    assert re.search(rf"Example: .*lastgood {' '.join(path)}", shown.out)
    assert max(map(len, shown.out.splitlines())) <= 100


@pytest.mark.parametrize(
    "words", [(), ("incident", "--help"), ("timeline", "--help"), ("policy", "--help"), ("db", "--help")]
)
def test_no_page_of_help_is_cut_or_wider_than_100_columns(run: Run, words: tuple[str, ...]) -> None:
    lines = run(*words).out.splitlines()
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if line.endswith("...") and "COMMAND" not in line]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("chek",), "Did you mean 'check'"),
        (("incident", "shwo"), "Did you mean 'show'?"),
        (("incident", "show"), "Missing argument"),
        (("incident",), "Show what is wrong"),
        (("check", "--jsno"), "No such option: --jsno"),
        (("timeline", "verify", "--checkpoint", "absent"), "does not exist"),
        (("manifest", "--url", "lastgood.example"), "is no address"),
        (("demo", "--port", "70000"), "65535"),
        (("autopilot", "of"), "off"),
        (("autopilot", "off"), "say why"),
        (("incident", "reject", "X"), "Missing option '--reason'"),
        (("incident", "edit", "X", "--on-failure", "stopp"), "'stop'"),
        (("trust", "m", "r", "autoo"), "'auto'"),
    ],
)
def test_bad_usage_ends_2_and_says_what_was_meant(run: Run, words: tuple[str, ...], said: str) -> None:
    ended = run(*words)
    assert ended.code == 2
    assert said in ended.out + ended.err


# ── check, init, manifest, schema, adapters ───────────────────────────────────────────────────────────────────────


def test_init_then_check_is_clean(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("init").code == 0
    monkeypatch.setenv("ALERTMANAGER_TOKEN", "x")
    monkeypatch.setenv("GENERIC_TOKEN", "y")
    checked = run("check")
    assert (checked.code, checked.out) == (0, "✓ 2 files checked, 0 warnings.\n")
    assert checked.err.startswith("Not configured, so answered 503 at /hooks/NAME: argo")
    checked = run("check", "--json")
    assert (checked.code, checked.out) == (0, '{"ok":true,"problems":[]}\n')


def test_init_never_overwrites(run: Run) -> None:
    run("init")
    again = run("init")
    assert (again.code, again.out) == (1, "")
    assert again.err.endswith("is there already. Nothing was written.\n")


def test_check_prints_every_problem_with_its_line_and_ends_1(run: Run) -> None:
    run("init")
    text = (
        Path("lastgood.yaml").read_text().replace("require: [{role: oncall-sre}, ", "requires: [{role: oncall-sre}, ")
    )
    Path("lastgood.yaml").write_text(text)
    book = Path("runbooks/fraud-scorer-regression.yaml")
    book.write_text(book.read_text().replace("models: [fraud-scorer]", "models: [fraud-scorrer]"))
    ended = run("check")
    line = text[: text.index("requires")].count("\n") + 1
    column = text.splitlines()[line - 1].index("requires") + 1
    assert ended.code == 1
    assert (
        f"lastgood.yaml:{line}:{column}  policy.rules[0].requires: unknown key. Did you mean `require`?\n" in ended.out
    )
    under = next(row for row in ended.out.splitlines() if set(row) == set(" |^"))
    assert under.count("^") == len("requires")
    assert "applies_to.models[0]: there is no model `fraud-scorrer`. Did you mean `fraud-scorer`?" in " ".join(
        ended.out.split()
    )
    assert ended.out.endswith("2 problems in 2 of 2 files. Nothing was started.\n")
    assert max(map(len, ended.out.splitlines())) <= 100


def test_check_gives_scripts_exactly_what_is_promised(run: Run) -> None:
    run("init")
    Path("lastgood.yaml").write_text(Path("lastgood.yaml").read_text().replace("tier: 1", "teir: 1"))
    ended = run("check", "--json")
    assert ended.code == 1
    assert ended.json == {
        "ok": False,
        "problems": [
            {
                "file": "lastgood.yaml", "line": 19, "column": 5, "key": "models.fraud-scorer.teir", "message": "unknown key",
                "hint": "Did you mean `tier`?",
            }
        ],
    }  # fmt: skip
    assert "ALERTMANAGER_TOKEN is empty" in ended.err


def test_check_without_a_file_says_how_to_get_one(run: Run) -> None:
    ended = run("check")
    assert ended.code == 1
    assert ended.out == (
        "lastgood.yaml  cannot be read: No such file or directory. `lastgood init` writes one;\n"
        "               LASTGOOD_CONFIG names another.\n1 problem found. Nothing was started.\n"
    )


def test_the_manifest_takes_an_address_or_uses_socket_mode(run: Run) -> None:
    assert "socket_mode_enabled: true" in run("manifest").out
    assert "https://bot.example/slack/events" in run("manifest", "--url", "https://bot.example").out


def test_the_schemas_are_written_and_checked(run: Run) -> None:
    assert run("schema", "--check").code == 1
    names = ("lastgood", "policy-tests", "runbook")
    written = run("schema").out.splitlines()
    assert sorted(written) == [f"✓ wrote runbooks/schemas/{name}.schema.json" for name in names]
    assert run("schema", "--check") == Ran(0, "", "")


def test_adapters_are_listed_for_scripts_with_exactly_five_facts(run: Run) -> None:
    rows = run("adapters", "--json").json
    assert all(list(row) == ["name", "port", "level", "concurrency", "extra"] for row in rows)
    assert {"name": "memory", "port": "traffic", "level": "fake", "concurrency": "strict", "extra": None} in rows
    assert {"name": "generic", "port": "alerts", "level": None, "concurrency": None, "extra": None} in rows
    assert len(run("adapters").out.splitlines()) == len(rows)


# ── reading commands ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "words",
    [
        ("incident", "list"), ("incident", "show", "X"), ("incident", "explain", "X"), ("history", "x"), ("timeline", "show", "X"),
        ("timeline", "verify"), ("timeline", "export"), ("postmortem", "X"), ("db", "rebuild"), ("db", "rest", "--days", "90"), ("login", "--status"), ("autopilot",),
        ("incident", "take", "X"), ("incident", "who", "X"),
    ],
)  # fmt: skip
def test_without_a_database_one_line_says_so_and_none_is_made(run: Run, words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith("✗ There is no database lastgood.db")
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("words", [("incident", "list"), ("db", "migrate"), ("db", "rebuild"), ("timeline", "export")])
def test_a_database_of_a_newer_version_is_left_alone(site: Run, words: tuple[str, ...]) -> None:
    with sqlite3.connect("lastgood.db") as connection:
        connection.execute("UPDATE meta SET value='99' WHERE name='format'")
    connection.close()
    ended = site(*words)
    assert (ended.code, ended.out) == (1, "")
    assert "was written by a newer Lastgood (format 99, this one knows 4)" in ended.err


@pytest.mark.parametrize("words", [("incident", "list"), ("db", "rebuild"), ("timeline", "verify"), ("db", "migrate")])
def test_a_damaged_database_is_one_line(run: Run, words: tuple[str, ...]) -> None:
    Path("lastgood.db").write_bytes(b"no database at all" * 100)
    ended = run(*words)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "is not a database" in ended.err


def test_incidents_are_listed_newest_first(site: Run) -> None:
    rows = site("incident", "list").out.splitlines()
    assert [row.split()[:2] for row in rows] == [["Q4RD0", "Waiting"], ["Q4RD0", "Recovered"]]
    assert rows[1] == "Q4RD0  Recovered      fraud-scorer is on 41 · SEV2 · prod  since 23 Nov 02:12 UTC"
    listed = site("incident", "list", "--json").json["incidents"]
    assert [list(one) for one in listed] == [["id", "model", "environment", "phase", "from", "to", "opened_at"]] * 2
    assert listed[1] == {
        "id": stories.ULID, "model": "fraud-scorer", "environment": "prod", "phase": "recovered", "from": "42", "to": "41",
        "opened_at": START.isoformat(),
    }  # fmt: skip


def test_more_incidents_than_a_page_are_all_listed(run: Run) -> None:
    streams = {f"incident/01KAQ3H2S0M4V8B6T9C17Q4{n:03d}": stories.WAITING for n in range(120)}
    write_streams(streams)
    assert len(run("incident", "list", "--json").json["incidents"]) == 120


def test_an_incident_is_shown_in_the_order_of_the_card(site: Run) -> None:
    ended = site("incident", "show", "17Q4RD0")
    lines = ended.out.splitlines()
    assert lines[0].startswith("Recovered  fraud-scorer is on 41 · SEV2 · prod ")
    assert lines[0].endswith("since 23 Nov 02:12 UTC")
    assert lines[1] == 'wrong      Alertmanager says: "too many errors"'
    assert lines[2] == f"proposed   42 → 41 on route, plan {stories.PLAN.short}"
    assert lines[3] == "approved   Ana Ruiz (on-call SRE) 02:12, Priya Shah (model owner) 02:12"
    assert lines[4] == "refused    Mika Lind (own change)"
    assert lines[5] == "verdicts   ✓ accepted      route: Envoy took it."
    assert lines[6] == "           ✓ traffic moved Traffic moved: 42 got 0 of 1,696 requests."
    assert lines[7].startswith("           ✓ recovered     Recovered: error ratio 0.3 %")
    assert [line.split()[0] for line in lines[-2:]] == ["next", "more"]
    assert max(map(len, lines)) <= 100


def test_what_people_ordered_around_an_incident_is_shown_as_long_as_it_holds(run: Run) -> None:
    plan = stories.PLAN.but(requester="U0TOM", editor="U0PRIYA", deployer="U0MIKA")
    doubt = "Probably not the model: the neighbours are ill too."
    decided = e.PolicyDecided(
        plan=plan.id, mode="approve", rule="prod-tier1", reason="Two people.", require=stories.REQUIRE, policy_digest="p", doubt=doubt,
    )  # fmt: skip
    told = e.PlanEscalated(plan=plan.id, role="commander", people=("U0ANA",), reason="commander is told: <@U0ANA>.")
    broken = e.GlassBroken(
        person="U0ANA", role="commander", plan=plan.id, card_version=3, via="slack", text_ref="t", window_ends=START,
        review_due=START,
    )  # fmt: skip
    switched = e.AutopilotSwitched(on=False, person="U0ANA", text_ref="t", via="slack")
    write_streams(
        {
            stories.STREAM: [stories.opened(), e.PlanMade(plan=plan), decided, told, broken],
            "system/switch": [switched],
        }
    )
    shown = " ".join(run("incident", "show", "17Q4RD0").out.split())
    assert f"doubt {doubt}" in shown
    assert "no vote Mika Lind deployed 42, Priya Shah edited this plan, Tom Becker asked for this rollback" in shown
    assert "escalated commander is told: Ana Ruiz." in shown
    assert "autopilot Autopilot is off for all models: Ana Ruiz switched it off at 02:12." in shown
    assert "review Ana Ruiz broke the glass as commander. Somebody else reviews it by 02:12." in shown
    assert "snoozed" not in shown


def test_a_review_that_is_done_is_shown_and_a_snooze_that_is_over_is_not(run: Run) -> None:
    broken = e.GlassBroken(
        person="U0ANA", role="commander", plan=stories.PLAN.id, card_version=3, via="slack", text_ref="t", window_ends=START,
        review_due=START,
    )  # fmt: skip
    past = e.IncidentSnoozed(person="U0TOM", until=START, text_ref="t")
    done = e.ReviewDone(person="U0PRIYA", text_ref="t")
    write_streams({stories.STREAM: [*stories.WAITING, past, stories.decided(), broken, done]})
    shown = " ".join(run("incident", "show", "17Q4RD0").out.split())
    assert "review Priya Shah reviewed the break-glass rollback." in shown
    assert "snoozed" not in shown


def test_an_incident_is_shown_to_scripts_with_exactly_what_is_promised(site: Run) -> None:
    shown = site("incident", "show", stories.ULID, "--json").json
    assert list(shown) == [
        "id", "model", "environment", "phase", "from", "to", "opened_at", "plan", "approvals", "verdicts", "next", "mitigated", "fix", "grade", "leftovers", "deltas",
    ]  # fmt: skip
    assert list(shown["plan"]) == ["id", "expires_at", "steps"]
    assert shown["verdicts"] == {"accepted": "yes", "traffic_moved": "yes", "recovered": "yes"}


def test_an_ending_two_incidents_share_lists_both(site: Run) -> None:
    ended = site("incident", "show", "q4rd0")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines() == [
        "✗ 2 incidents end in q4rd0. Give more characters:",
        "  01KAQ3H2S0M4V8B6T9C18Q4RD0  fraud-scorer in prod, 23 Nov 02:12 UTC",
        "  01KAQ3H2S0M4V8B6T9C17Q4RD0  fraud-scorer in prod, 23 Nov 02:12 UTC",
    ]


@pytest.mark.parametrize("suffix", ["ZZZZZ", "%", "_"])
def test_an_ending_no_incident_has_is_said(site: Run, suffix: str) -> None:
    ended = site("incident", "show", suffix)
    assert (ended.code, ended.err) == (
        1,
        f"✗ No incident ends in {suffix}. `lastgood incident list --all` shows them.\n",
    )


def test_a_decision_is_explained(site: Run) -> None:
    lines = site("incident", "explain", "17Q4RD0").out.splitlines()
    assert lines[:3] == [
        "mode       approve", "rule       prod-tier1", "reason     Rule prod-tier1: tier 1 in prod needs two people.",
    ]  # fmt: skip
    assert list(site("incident", "explain", "17Q4RD0", "--json").json) == ["id", "mode", "rule", "reason", "trace"]


def test_history_says_who_decided_and_what_is_quarantined(site: Run) -> None:
    now, before = site("history", "fraud-scorer").out.splitlines()
    assert now.split() == [
        "prod", "41", "since", "23", "Nov", "02:12", "UTC", "100", "%", "rollback", "Q4RD0,", "Ana", "Ruiz", "+", "Priya", "Shah",
    ]  # fmt: skip
    assert before.startswith("        42 ")
    assert before.endswith("quarantined")
    served = site("history", "fraud-scorer", "--json").json
    assert [list(one) for one in served["served"]] == [["version", "from", "to", "share", "by"]] * 2
    assert [(one["version"], one["share"], one["by"]) for one in served["served"]] == [
        ("41", 100.0, "rollback"), ("42", 100.0, "observed"),
    ]  # fmt: skip


@pytest.mark.parametrize(("by", "said"), [("U0ANA", "Ana Ruiz"), ("mika-lind", "mika-lind")])
def test_history_says_who_shipped_a_version_where_a_sender_told_it(run: Run, by: str, said: str) -> None:
    def shipped(version: str, minutes: int) -> e.ChangeNoticed:
        return e.ChangeNoticed(alert=Alert(
            source="github", kind=Kind.CHANGE, fingerprint=f"github:{version}", status="update", model="ranker", version=version,
            starts_at=START - timedelta(minutes=minutes), summary="Shipped", extra={"by": by},
        ))  # fmt: skip

    split = TrafficSplit(weights={"41": Decimal(0), "42": Decimal(100)})
    served = e.VersionServed(target="route", split=split)
    write_streams({"model/prod/ranker": [shipped("41", 60), shipped("42", 21), served]})
    row, *rest = run("history", "ranker").out.splitlines()
    assert row.rstrip().endswith(f"deploy 01:51, {said}")
    assert f"42 Shipped, by {by}" in rest[1]
    assert run("history", "ranker", "--json").json["changes"][-1]["by"] == by


def test_history_says_what_served_at_a_time(site: Run) -> None:
    after = site("history", "fraud-scorer", "--at", "2026-11-23T02:13:00+00:00", "--json").json["served"]
    assert [(one["version"], one["by"]) for one in after] == [("41", "rollback")]
    assert site("history", "fraud-scorer", "--at", "2026-11-20T14:03").out.startswith(
        "Nothing was seen of fraud-scorer until 20 Nov"
    )
    assert (
        site("history", "fraud-scorer", "--at", "noon").err
        == "✗ `noon` is no time. Write 14:03, or 2026-11-23T14:03.\n"
    )


def test_ready_says_that_nobody_looked_yet_and_that_is_no_yes(site: Run) -> None:
    ended = site("ready", "fraud-scorer", "--json")
    assert ended.code == 1
    assert ended.json == {"ready": [
        {"model": "fraud-scorer", "environment": "prod", "ready": None, "to": None, "reason": "Nobody looked yet.", "since": None}
    ]}  # fmt: skip
    assert site("ready").out == "? fraud-scorer · prod  Nobody looked yet.\n"
    assert site("ready", "rankr").code == 1


@pytest.mark.parametrize("name", ["fraud-scorrer", "%", "fraud_scorer"])
def test_history_of_a_model_nobody_saw_guesses_what_was_meant(site: Run, name: str) -> None:
    ended = site("history", name)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"✗ The timeline knows no model `{name}`. ")
    assert "fraud-scorer" in ended.err


def test_history_of_another_environment_is_empty(site: Run) -> None:
    assert site("history", "fraud-scorer", "--env", "dev").out == "Nothing was seen of fraud-scorer yet.\n"


def test_what_led_nowhere_is_listed_once_a_reason(run: Run, tmp_path: Path) -> None:
    migrate("sqlite:///lastgood.db")
    assert run("inbox").out == "Everything that was received led somewhere.\n"

    async def received() -> None:
        async with Store("lastgood.db", ManualClock()) as store:
            for n, error in enumerate(["f1: model 'frod' is not registered", "f1: model 'frod' is not registered", ""]):
                raw = RawRequest(id=f"01{n}", source="generic", received_at=START, body=b"{}")
                await store.receive(raw)
                await store.append(Append(inbound=(InboundDone(raw.id, "accepted", error),)))

    asyncio.run(received())
    assert run("inbox").out == "011  23 Nov 02:12 UTC  generic ×2  f1: model 'frod' is not registered\n"
    assert run("inbox", "list").out == run("inbox").out
    (row,) = run("inbox", "--json").json["inbound"]
    assert (row["id"], row["source"], row["times"], row["alerts"]) == ("011", "generic", 2, [])
    assert run("inbox", "--json", "--before", "011").json == {"inbound": []}


def test_a_message_is_shown_with_where_each_alert_went_and_why(run: Run) -> None:
    migrate("sqlite:///lastgood.db")
    alert = Alert(source="generic", fingerprint="generic:f1", status="firing", model="frod", starts_at=START)
    told = [
        alert.flagged("unknown_model"), alert.model_copy(update={"model": "fraud-scorer", "environment": "prod"}).flagged("repeat"),
        alert.model_copy(update={"model": "fraud-scorer", "kind": Kind.CHANGE, "status": "update"}),
    ]  # fmt: skip

    async def received() -> None:
        async with Store("lastgood.db", ManualClock()) as store:
            raw = RawRequest(id="01ABCDE", source="generic", received_at=START, body=b'{"model":"frod"}\x1b[2J')
            await store.receive(raw)
            done = InboundDone(
                raw.id, "accepted", "f1: model 'frod' is not registered", tuple(told), ("incident/01KAQ",)
            )
            await store.append(Append(inbound=(done,)))

    asyncio.run(received())
    lines = run("inbox", "show", "bcde").out
    assert lines.startswith("01ABCDE  generic  23 Nov 02:12:00 UTC  accepted\n")
    for said in (
        "its model is not registered",
        "was counted and woke nobody",
        "the ledger keeps it",
        "are one incident, 01KAQ",
    ):
        assert said in " ".join(lines.split())
    assert run("inbox", "show", "BCDE", "--body").out == '{"model":"frod"} [2J\n'
    assert len(run("inbox", "show", "BCDE", "--json").json["told"]) == 3
    with sqlite3.connect("lastgood.db") as connection:
        connection.execute("UPDATE inbound SET body=x''")
    connection.close()
    assert run("inbox", "show", "bcde").out == lines
    ended = run("inbox", "show", "BCDE", "--body")
    assert (ended.code, ended.out) == (1, "")
    assert "was erased when its time was over: `retention.messages`" in " ".join(ended.err.split())


@pytest.mark.parametrize("which", ["zzz", "%", "' OR 1=1"])
def test_a_message_that_is_not_stored_is_said_not_to_be(run: Run, which: str) -> None:
    migrate("sqlite:///lastgood.db")
    ended = run("inbox", "show", which)
    assert (ended.code, ended.out) == (1, "")
    assert "`lastgood inbox` lists what led nowhere" in " ".join(ended.err.split())


def test_a_timeline_is_shown_with_names_and_local_times(site: Run) -> None:
    lines = site("timeline", "show", "17Q4RD0").out.splitlines()
    assert lines[0] == f"{stories.STREAM}  12 entries, times in UTC"
    assert lines[1] == "23 Nov 2026"
    assert any("approval.given" in line and "Ana Ruiz" in line for line in lines)
    assert not any("U0ANA" in line or "<@" in line for line in lines)
    assert max(map(len, lines)) <= 100
    shown = site("timeline", "show", MODEL, "--json").json["entries"]
    assert [list(one) for one in shown] == [
        ["seq", "stream", "version", "epoch", "at", "type", "schema", "body", "prev", "digest"]
    ] * 3  # fmt: skip


def test_a_stream_nobody_wrote_is_said(site: Run) -> None:
    assert site("timeline", "show", "model/prod/none").err.startswith("✗ There is no stream model/prod/none.")


def test_an_export_is_every_entry_as_a_line_of_json(site: Run) -> None:
    lines = [json.loads(line) for line in site("timeline", "export").out.splitlines()]
    assert [(one["stream"], one["version"]) for one in lines] == sorted(
        (one["stream"], one["version"]) for one in lines
    )
    assert len(lines) == site("timeline", "verify", "--json").json["entries"]


def test_a_timeline_that_holds_is_said_to_hold(site: Run) -> None:
    ended = site("timeline", "verify")
    assert ended == Ran(
        0, "✓ 3 streams, 18 entries; 18 after the last checkpoint: those alone could be cut off without a trace.\n", ""
    )
    assert site("timeline", "verify", "--json").json == {"ok": True, "entries": 18, "unanchored": 18, "problems": []}


def test_a_changed_entry_is_named_and_the_rest_is_said_to_hold(site: Run) -> None:
    with sqlite3.connect("lastgood.db") as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(
            "UPDATE timeline SET body=replace(body,'U0ANA','U0GIL') WHERE stream=? AND type='approval.given'",
            (stories.STREAM,),
        )
    connection.close()
    ended = site("timeline", "verify")
    assert ended.code == 1
    text = " ".join(ended.out.split())
    assert text.startswith(f"✗ {stories.STREAM} breaks at entry 4 (approval.given, 02:12:00):")
    assert "so entry 4 was changed after it was written." in text
    assert text.endswith(
        "✓ 2 other streams; 18 entries in all. Nothing was repaired: keep this file, restore a copy beside it."
    )
    found = site("timeline", "verify", "--json").json
    assert (found["ok"], [list(one) for one in found["problems"]]) == (False, [["stream", "version", "kind", "detail"]])


@pytest.mark.parametrize(
    ("content", "said"), [('{"checkpoint": broken', "holds a checkpoint that is no JSON"), ("\udcff", "is not UTF-8")]
)
def test_exported_checkpoints_that_cannot_be_read_are_one_line(site: Run, content: str, said: str) -> None:
    Path("points").write_text(content.replace('": b', '":b'), errors="surrogateescape")
    ended = site("timeline", "verify", "--checkpoint", "points")
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert said in ended.err


def test_a_public_key_that_is_none_is_one_line(site: Run) -> None:
    Path("key").write_text("zz")
    ended = site("timeline", "verify", "--public-key", "key")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "is not an Ed25519 key" in ended.err


def test_a_postmortem_names_people_and_needs_no_sound_configuration(site: Run) -> None:
    Path("lastgood.yaml").write_text("a: [")
    ended = site("postmortem", "17Q4RD0")
    assert ended.code == 0
    assert ended.out.startswith("#")
    assert "Ana Ruiz" in ended.out
    assert "<html" in site("postmortem", "17Q4RD0", "--html").out


def test_a_postmortem_uses_the_templates_of_the_site(site: Run) -> None:
    Path("lastgood.yaml").write_text("runbooks: books/\n")
    Path("books/templates").mkdir(parents=True)
    Path("books/templates/postmortem.md.j2").write_text("Ours: {{ model }}\n")
    assert site("postmortem", "17Q4RD0").out.strip() == "Ours: fraud-scorer"


def test_the_lists_are_made_again_from_the_timeline(site: Run) -> None:
    with sqlite3.connect("lastgood.db") as connection:
        connection.execute("DELETE FROM incident")
    connection.close()
    assert site("incident", "list").out == "Nothing is open.\n"
    assert site("db", "rebuild").out == "✓ rebuilt the list of 2 incidents\n"
    assert len(site("incident", "list").out.splitlines()) == 2


def test_incidents_that_closed_long_ago_are_laid_to_rest_by_hand_and_read_as_before(site: Run) -> None:
    opened = e.IncidentOpened(model="fraud-scorer", environment="prod", tier=1, requester="U0ANA")
    closed = e.IncidentClosed(outcome="recovered", reason="It recovered.")

    async def long_ago() -> None:
        async with Store("lastgood.db", ManualClock(START - timedelta(days=100)), project=projected) as store:
            for epoch, entry in enumerate((opened, closed)):
                await store.append(Append(writes=(Write("incident/01OLD", (entry,), epoch),)))

    asyncio.run(long_ago())
    before = site("timeline", "show", "01OLD").out
    assert "It recovered." in before
    assert site("db", "rest", "--days", "30").out == "✓ 1 incident laid to rest\n"
    assert site("db", "rest", "--days", "30").out == "✓ 0 incidents laid to rest\n"
    assert site("timeline", "show", "01OLD").out == before
    assert site("timeline", "verify").code == 0
    assert site("db", "rest", "--days", "3").code == 2
    with sqlite3.connect("lastgood.db") as connection:
        connection.execute("DROP TABLE archive")
    connection.close()
    refused = site("db", "rest", "--days", "30")
    assert (refused.code, refused.out) == (1, "")  # what may not be done is no "0 incidents laid to rest"
    assert "no such table: archive" in refused.err


def test_a_migration_is_said_and_may_be_repeated(run: Run) -> None:
    assert run("db", "migrate") == run("db", "migrate") == Ran(0, "✓ lastgood.db has format 4\n", "")


# ── as a process ──────────────────────────────────────────────────────────────────────────────────────────────────


def started(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LASTGOOD", "SLACK"))}
    return subprocess.run(
        [sys.executable, "-m", "bot", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        env={**clean, "PYTHONPATH": str(ROOT), "TZ": "Europe/Berlin", **environ},
    )  # fmt: skip


def test_times_are_those_of_the_readers_wall_with_their_zone(site: Run, tmp_path: Path) -> None:
    shown = started(tmp_path, "incident", "show", "17Q4RD0").stdout
    assert "since 23 Nov 03:12 CET" in shown.splitlines()[0]
    assert "Ana Ruiz (on-call SRE) 03:12" in shown


def test_nothing_is_coloured_and_a_console_without_our_signs_still_gets_its_answer(site: Run, tmp_path: Path) -> None:
    ended = started(tmp_path, "timeline", "verify", PYTHONIOENCODING="ascii", NO_COLOR="1")
    assert ended.returncode == 0
    assert ended.stdout.startswith("\\u2713 3 streams")
    assert "\x1b" not in ended.stdout + started(tmp_path, "--help", FORCE_COLOR="1").stdout


def test_a_reader_who_leaves_early_ends_it_quietly(site: Run, tmp_path: Path) -> None:
    pipeline = f"{sys.executable} -m bot timeline export | head -c 1"
    done = subprocess.run(
        ["sh", "-c", pipeline], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("{", "")


def test_help_and_reading_load_nothing_heavy(site: Run, tmp_path: Path) -> None:
    script = (
        "import sys; sys.argv = ['lastgood', *{words}]\n"
        "from bot.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(*sorted({{name.partition('.')[0] for name in sys.modules}}), file=sys.stderr)"
    )
    for words, heavy in (
        (["--help"], {"asyncio", "pydantic", "yaml", "aiohttp", "sqlalchemy", "slack_sdk", "slack_bolt", "jinja2"}),
        (["incident", "list"], {"aiohttp", "sqlalchemy", "slack_sdk", "slack_bolt", "jinja2"}),
        (["check"], {"sqlalchemy", "slack_sdk", "slack_bolt", "jinja2"}),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", script.format(words=words)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert not heavy & set(ran.stderr.splitlines()[-1].split()), words
