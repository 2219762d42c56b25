"""`lastgood policy` as people and scripts meet it: what it prints, where it points, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bot.__main__ import main
from bot.clock import START, ManualClock, SystemClock
from bot.demo.slack import SlackLookalike
from bot.domain import entries as e
from bot.domain.facts import FACTS, plain
from bot.ports import Append, Write
from bot.report.facts import projected
from bot.starter import NEEDS, POLICY_TESTS, write_starter
from bot.store.schema import migrate
from bot.store.timeline import Store
from tests.report import tales
from tests.report.test_replay import FACTS as KNOWN
from tests.slack import stories as s

AUTO = '    - {id: fast, when: "burn_rate > 14.0", for: 2m, mode: auto}\n'
RULES = "  rules:                                         # the first rule that matches decides\n"


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
    """Run `lastgood policy` with these words in a site that `init` wrote, in UTC."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for name in [one for one in os.environ if one.startswith(("LASTGOOD", "SLACK", "PAGERDUTY"))]:
        monkeypatch.delenv(name)
    for name in NEEDS:
        monkeypatch.setenv(name, "t0ken")
    write_starter(tmp_path)

    def ran(*words: str) -> Ran:
        code = 0
        try:
            main(["policy", *words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return ran


def edit(*changes: tuple[str, str], name: str = "lastgood.yaml") -> None:
    path = Path(name)
    text = path.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    path.write_text(text, encoding="utf-8")


def stored(streams: Mapping[str, Sequence[e.Entry]], *, clock: ManualClock | None = None) -> None:
    """Write a timeline as `serve` would have; each stream a minute after the one before."""
    clock = clock or ManualClock(SystemClock().now() - timedelta(days=2))

    async def work() -> None:
        async with Store("sqlite:///lastgood.db", clock, project=projected) as store:
            await store.call(s.NAMES)
            for stream, entries in streams.items():
                version = 0
                for entry in entries:
                    done = await store.append(Append(writes=(Write(stream, (entry,), version),)))
                    version = done[-1].epoch
                    clock.advance(60)

    migrate("sqlite:///lastgood.db")
    asyncio.run(work())


DECIDED = e.PolicyDecided(
    plan=s.PLAN.id, mode="approve", rule="prod", reason="r", policy_digest="d", require=s.REQUIRE,
    facts=plain({**KNOWN, "model": "fraud-scorer", "deployed_at": START - timedelta(hours=1)}),
)  # fmt: skip
WELL = [DECIDED if isinstance(one, e.PolicyDecided) else one for one in tales.WELL]


# ── facts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_fact_is_listed_within_100_columns(run: Run) -> None:
    ran = run("facts")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.out.splitlines() if not line.startswith(" ")] == list(FACTS)
    assert max(map(len, ran.out.splitlines())) <= 100


def test_a_script_gets_exactly_five_parts_of_each_fact(run: Run) -> None:
    rows = run("facts", "--json").json["facts"]
    assert {tuple(row) for row in rows} == {("name", "type", "unit", "source", "meaning")}
    assert [row["name"] for row in rows] == list(FACTS)


# ── test ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_site_passes_its_tests(run: Run) -> None:
    ran = run("test")
    cases = POLICY_TESTS.count("- name:")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1] == f"✓ {cases} cases in 1 file, all as expected."


def test_a_failing_case_says_expected_came_and_the_trace_and_ends_1(run: Run) -> None:
    edit(("rule: default, require", "rule: prod, require"), name="policy-tests.yaml")
    ran = run("test")
    assert ran.code == 1
    lines = ran.out.splitlines()
    at = lines.index("✗ Elsewhere one person on call is enough  policy-tests.yaml:12:5")
    assert lines[at + 1 : at + 4] == [
        "    rule        expected prod, came default",
        "    trace       ✗ rule prod  staging does not match prod",
        "                ✓ rule default  matches",
    ]
    assert lines[-1] == "✗ 5 cases in 1 file, 1 failed."


def test_a_script_gets_the_failing_case_with_its_place(run: Run) -> None:
    edit(("mode: hold", "mode: auto"), name="policy-tests.yaml")
    ran = run("test", "--json")
    found = ran.json
    (failed,) = [one for one in found["cases"] if not one["ok"]]
    assert (ran.code, found["ok"], failed["line"]) == (1, False, 15)
    assert failed["differences"] == [{"what": "mode", "expected": "auto", "came": "hold"}]
    assert failed["trace"][0] == {"ok": True, "name": "rule prod", "detail": "matches"}


def test_a_mistake_in_a_file_of_tests_is_underlined_and_no_case_is_run(run: Run) -> None:
    edit(("by_person: true", "by_persn: true"), name="policy-tests.yaml")
    ran = run("test")
    assert (ran.code, ran.out) == (1, "")
    assert "policy-tests.yaml:10:13  cases[1].facts.by_persn: there is no fact `by_persn`. Did you mean" in ran.err
    assert "             ^^^^^^^^" in ran.err


def test_without_tests_one_line_says_where_they_would_be(run: Run) -> None:
    Path("policy-tests.yaml").unlink()
    ran = run("test")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("✗ There is no policy-tests.yaml and no policy-tests/*.yaml beside lastgood.yaml.")


def test_files_can_be_named(run: Run) -> None:
    Path("policy-tests.yaml").rename("mine.yaml")
    assert run("test", "mine.yaml").out.splitlines()[-1] == "✓ 5 cases in 1 file, all as expected."


# ── explain ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_it_explains_which_rule_who_could_and_why_not_me(run: Run) -> None:
    ran = run("explain", "--model", "fraud-scorer", "--person", "U0MIKA", "--at", "03:15", "--facts", "burn_rate=20")
    assert (ran.code, ran.err) == (0, "")
    text = ran.out
    assert "rule       prod     yes          matches\n           default  not reached\n" in text
    assert "decision   approve, oncall-sre and model-owner, within 15\u00a0min" in text
    assert "           ✗ holds oncall-sre\n           ✓ holds model-owner  member U0MIKA\n" in text
    assert "answer     cannot tell. model-owner is held, but nobody knows:" in text
    assert "oncall-sre: U0ANA or U0TOM can." in text
    assert "policy     lastgood.yaml:15, digest " in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_fact_that_is_not_given_is_unknown_and_an_auto_rule_misses(run: Run) -> None:
    edit((RULES, RULES + AUTO))
    assert "fast     no           burn_rate > 14.0: burn_rate unknown" in run("explain", "--model", "fraud-scorer").out
    known = run("explain", "--model", "fraud-scorer", "--facts", "burn_rate=20", "--facts", "firing_for=1m").out
    assert "fast     no           firing for 1\u00a0min of 2\u00a0min" in known


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "fraud-scorrer"), "There is no model `fraud-scorrer`. Did you mean `fraud-scorer`?"),
        (("--model", "fraud-scorer", "--env", "prd"), "fraud-scorer is not in `prd`. Name one with --env. Did you mean `prod`?"),
        (("--model", "fraud-scorer", "--facts", "burnrate=3"), "`burnrate=3` names no fact. Did you mean `burn_rate`?"),
        (("--model", "fraud-scorer", "--facts", "burn_rate"), "`burn_rate` names no fact. Write NAME=VALUE."),
        (("--model", "fraud-scorer", "--facts", "burn_rate=high"), "burn_rate must be a number."),
        (("--model", "fraud-scorer", "--at", "25:99"), "`25:99` is no time. Write 03:15 or 2026-11-27T03:15:00+01:00."),
        (("--model", "fraud-scorer", "--person", "nobody"), "Nobody known here is called `nobody`. Give the member id, like U0ANA."),
        (("7Q4RD",), "There is no database"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_in_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    ran = run("explain", *words)
    assert (ran.code, ran.out) == (1, "")
    assert said in " ".join(ran.err.split())


def test_a_question_about_nothing_is_bad_usage(run: Run) -> None:
    assert run("explain").code == 2


def test_an_incident_is_explained_with_the_facts_it_was_decided_on_and_peoples_names(run: Run) -> None:
    stored({s.STREAM: WELL[: WELL.index(DECIDED) + 1]})
    edit((RULES, RULES + AUTO.replace("for: 2m, ", "")))
    ran = run("explain", s.ULID[-5:], "--person", "priya")
    assert (ran.code, ran.err) == (0, "")
    assert "fast     yes          burn_rate > 14.0" in ran.out
    text = run("explain", s.ULID[-5:], "--person", "priya", "--facts", "burn_rate=1").out
    assert "Priya Shah" in text
    assert "model-owner: Priya Shah or Mika Lind can." in text


def test_autopilot_off_is_part_of_the_explanation(run: Run) -> None:
    off = e.AutopilotSwitched(on=False, person="U0ANA", text_ref="t", via="slack")
    stored({"system/switch": [off]})
    edit((RULES, RULES + AUTO.replace("for: 2m, ", "")))
    found = run("explain", "--model", "fraud-scorer", "--facts", "burn_rate=20", "--json").json
    assert found["mode"] == "approve"
    assert [(one["came"], one["bound"]) for one in found["rules"] if one["name"] == "autopilot"] == [("no", True)]


def test_a_person_in_the_question_is_no_authority(run: Run) -> None:
    stored({s.STREAM: WELL[: WELL.index(DECIDED) + 1]})
    before = Path("lastgood.db").read_bytes()
    run("explain", s.ULID[-5:], "--person", "U0ANA")
    after = Path("lastgood.db").read_bytes()
    assert after == before


@pytest.fixture
def slack(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlackLookalike]:
    """The look-alike in a thread of its own, so that a command can ask it."""
    loop = asyncio.new_event_loop()
    workspace = SlackLookalike(SystemClock())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(workspace.start(), loop).result(10)
    monkeypatch.setenv("SLACK_API_URL", workspace.api_url)
    monkeypatch.setenv("SLACK_BOT_TOKEN", workspace.bot_token)
    monkeypatch.setenv("SLACK_SIGNING_SECRET", "s3cret")
    yield workspace
    asyncio.run_coroutine_threadsafe(workspace.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_with_ask_the_sites_own_directory_answers(run: Run, slack: SlackLookalike) -> None:
    edit(("{members: [U0PRIYA, U0MIKA]}", "{usergroups: [S0FRAUD], members: [U0PRIYA]}"))
    ran = run("explain", "--model", "fraud-scorer", "--person", "U0PRIYA", "--ask")
    assert (ran.code, ran.err) == (0, "")
    assert "answer     yes, as model-owner." in ran.out
    guest = run("explain", "--model", "fraud-scorer", "--person", "U0GIL", "--ask")
    assert "✗ not a guest  Guests cannot approve." in guest.out
    assert "answer     no." in guest.out


# ── lint ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_site_has_no_problem_for_lint(run: Run) -> None:
    ran = run("lint")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "✓ 2 rules, 0 problems, 2 warnings.")


def test_a_problem_is_underlined_and_ends_1(run: Run) -> None:
    again = "    - {id: again, mode: approve, require: [{role: oncall-sre}]}\n"
    edit(("models:\n  fraud", f"{again}models:\n  fraud"))
    ran = run("lint")
    assert ran.code == 1
    assert "lastgood.yaml:17:8 " in ran.out
    assert "policy.rules[2].id: again is never reached: default, before it, takes all it" in " ".join(ran.out.split())
    assert "  17 |     - {id: again," in ran.out
    assert ran.out.splitlines()[-1] == "✗ 3 rules, 1 problem, 2 warnings."


def test_what_check_refuses_lint_refuses_too(run: Run) -> None:
    edit(("require: [{role: oncall-sre}]", "require: [{role: oncal-sre}]"))
    found = run("lint", "--json")
    assert (found.code, found.json["ok"]) == (1, False)
    assert "there is no role `oncal-sre`" in [one["message"] for one in found.json["findings"]]


def test_a_rollback_since_the_last_review_is_a_warning(run: Run) -> None:
    today = SystemClock().now().date()
    edit(("policy:\n", f"policy:\n  reviewed: {{at: {today - timedelta(days=10)}, by: U0ANA}}\n"))
    assert "policy.reviewed.at" not in run("lint").out
    stored({s.STREAM: WELL})
    assert "policy.reviewed.at: the last rollback, " in run("lint").out
    due = e.PolicyReviewDue(incident=s.STREAM, rules=("prod",), reason="It did not help. Read rule prod again.")
    stored({"system/policy": [due]})
    assert "this came: It did not help. Read rule prod again." in " ".join(run("lint").out.split())


# ── replay ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_generated_year_prints_its_seed_a_table_and_a_plot(run: Run) -> None:
    edit((RULES, RULES + AUTO))
    ran = run("replay", "--generate", "--seed", "7", "--to", "2026-11-26", "--plot", "year.svg")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert "26 Nov 2025 to 26 Nov 2026, generated, seed 7" in lines[0]
    assert lines[1].split() == [
        "rule",
        "alone",
        "helped",
        "false",
        "unknown",
        "asked",
        "told",
        "held",
        "wait",
        "spared",
    ]
    assert [line.split()[0] for line in lines[2:7]] == ["fast", "prod", "default", "in", "then"]
    assert any(line.startswith("alone, helped") and "█" not in line.split()[0] for line in lines)
    assert max(map(len, lines)) <= 100
    assert ET.parse("year.svg").getroot().get("role") == "img"  # noqa: S314  our own file


def test_the_same_seed_prints_the_same(run: Run) -> None:
    words = ("replay", "--generate", "--seed", "3", "--to", "2026-11-26", "--days", "60", "--json")
    first = run(*words)
    assert first.json["seed"] == 3
    assert run(*words).out == first.out
    assert run(*words[:3], "4", *words[4:]).out != first.out


def test_stored_incidents_are_replayed(run: Run) -> None:
    stored({s.STREAM: WELL, "incident/01KAQ3H2S0M4V8B6T9C17Q4XX0": [s.opened()]})
    edit((RULES, RULES + AUTO.replace("for: 2m, ", "")))
    found = run("replay", "--json").json
    assert (found["incidents"], found["undecided"], found["seed"]) == (1, 1, None)
    assert (found["all"]["helped"], found["all"]["saved"]) == (1, found["rules"][0]["saved"])
    assert found["all"]["saved"] > 0
    assert found["changed"] == [{"then": "approve", "now": "auto", "incidents": 1}]
    text = run("replay").out
    assert "from the timeline" in text
    assert "1 more incident, never decided, left out." in " ".join(text.split())


def test_a_time_with_no_incident_is_said(run: Run) -> None:
    stored({s.STREAM: WELL})
    ran = run("replay", "--to", "2020-01-01")
    assert (ran.code, ran.out) == (1, "")
    assert "Policy decided about no incident from 2019-01-01 to 2020-01-01." in ran.err


def test_an_end_before_the_beginning_is_bad_usage(run: Run) -> None:
    assert run("replay", "--generate", "--from", "2026-02-01", "--to", "2026-01-01").code == 2
