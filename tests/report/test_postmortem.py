"""The postmortem: every ending told, outside text never structure, a broken template named and never in the way."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import fold
from bot.domain.plan import Candidate
from bot.domain.traffic import Finding
from bot.errors import TemplateBroken
from bot.report.postmortem import Postmortems, facts
from bot.report.templates import Templates
from tests.report.tales import CHECKS, MIKA, REFUSED, TALES, WELL, asked, name, said, told, written
from tests.slack import stories as s

ANSWERED = "What was answered"
SECTIONS = [
    "Summary", "Impact", "Measures", ANSWERED, "Three verdicts", "Plan", "Why it was decided so", "Timeline", "Questions to answer",
    "Action items", "Seal",
]  # fmt: skip
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


class Tags(HTMLParser):
    """Collects the elements of a page with their attributes, what they hold left out."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(key for key, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def shape(markdown: str) -> list[str]:
    flat = [inner for one in PARSER.parse(markdown) for inner in (one, *(one.children or []))]
    return [one.type for one in flat if one.type not in ("text", "text_special", "softbreak")]


def content(entries: Sequence[e.Entry]) -> dict[str, Any]:
    rows = told(entries)
    return facts(fold(rows), rows, name, {"why": "42 is fine, the feed is late"})


# ── every ending ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tale", "outcome"),
    [
        ("recovered", "Recovered: fraud-scorer is on 41"),
        ("recovered alone", "Recovered: fraud-scorer is on 41"),
        ("recovered by itself", "Recovered by itself: fraud-scorer stays on 42"),
        ("rejected", "Rejected: fraud-scorer stays on 42"),
        ("expired", "Expired: fraud-scorer stays on 42"),
        ("blocked", "Blocked: fraud-scorer, no version was changed"),
        ("stuck", "Stuck: fraud-scorer 42 → 41, traffic not proven to have moved"),
        ("put back", "Stuck: fraud-scorer 42 → 41, traffic not proven to have moved"),
        ("cannot tell whether it moved", "Cannot tell: fraud-scorer 42 → 41, traffic not proven to have moved"),
        ("cannot tell", "Cannot tell: fraud-scorer is on 41"),
        ("not recovered", "Not recovered: fraud-scorer is on 41"),
        ("did not stay recovered", "Stuck: fraud-scorer is on 41"),
        ("marked recovered", "Marked recovered by a person: fraud-scorer is on 41"),
        ("gave up", "Given up: fraud-scorer 42 → 41, traffic not proven to have moved"),
        ("noted", "For your information: fraud-scorer stays on 42"),
        ("asked for", "Waiting: fraud-scorer stays on 42"),
        ("voided and planned again", "Starting: fraud-scorer stays on 42"),
        ("back again", "Rejected: fraud-scorer stays on 42"),
        ("opened", "Planning: fraud-scorer, no version was changed"),
    ],
)
async def test_every_ending_is_told_in_both_forms(tale: str, outcome: str) -> None:
    document = await written(TALES[tale])
    assert document.name == f"postmortem-{s.ULID[-5:]}"
    assert f": {outcome}\n" in document.markdown
    sections = re.findall(r"^## (.*)$", document.markdown, re.MULTILINE)
    planned = content(TALES[tale])["plan"] is not None
    assert sections == [one for one in SECTIONS if planned or one != ANSWERED]
    assert (f"<h2>{ANSWERED}</h2>" in document.html) == planned
    assert f"<span>{outcome}</span>" in document.html
    assert not re.search(r"None|\bnan\b|<!date|<@", document.markdown + document.html.replace("<!doctype", ""))


async def test_what_was_answered_names_the_repairs_of_the_runbook() -> None:
    document = await written(TALES["recovered"])
    answered = document.markdown.split(f"## {ANSWERED}\n")[1].split("\n## ")[0]
    assert "First bad answer: " in answered
    assert answered.count("- [ ] ") == 4
    assert "Answers in caches" in answered


@pytest.mark.parametrize("tale", TALES)
async def test_every_entry_stands_in_the_timeline(tale: str) -> None:
    rows = content(TALES[tale])["timeline"]
    numbers = [n for row in rows for n in _range(row["version"])]
    assert numbers == list(range(1, len(TALES[tale]) + 1))
    assert all(row["who"] and row["sentence"] for row in rows)


def _range(text: str) -> range:
    first, _, last = text.partition("–")
    return range(int(first), int(last or first) + 1)


def test_a_template_gets_plain_values_only() -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict | list):
            for one in value.values() if isinstance(value, dict) else value:
                walk(one)
        else:
            assert type(value) in (str, int, float, bool, type(None)), type(value)

    for tale in TALES.values():
        walk(content(tale))


def test_people_stand_by_name_and_their_words_are_quoted_or_said_to_be_erased() -> None:
    rejected = content(TALES["rejected"])["timeline"][-1]
    assert (rejected["who"], rejected["said"]) == ("Priya Shah", "42 is fine, the feed is late")
    gone = content(TALES["gave up"])["timeline"][-1]
    assert (gone["who"], gone["said"], gone["erased"]) == ("Ana Ruiz", "", True)


async def test_erased_words_are_not_passed_off_as_silence() -> None:
    document = await written(TALES["gave up"])
    assert "Their words were erased." in document.markdown
    assert "Their words were erased." in document.html


def test_neighbours_that_say_the_same_stand_on_one_line_with_their_count() -> None:
    rows = content((s.opened(), *[e.AlertsJoined(alerts=(s.alert(),))] * 300, REFUSED.but(times=7)))["timeline"]
    assert [(row["version"], row["times"]) for row in rows] == [("1", 1), ("2–301", 300), ("302", 7)]
    assert rows[1]["until"] > rows[1]["time"]


def test_a_day_is_named_when_it_begins_and_times_say_their_zone() -> None:
    rows = told(WELL)
    late = [*rows[:-1], replace(rows[-1], at=rows[-1].at.replace(day=rows[-1].at.day + 1))]
    found = facts(fold(late), late, name, {})
    assert [bool(row["day"]) for row in found["timeline"]].count(True) == 2
    assert found["opened_at"].endswith(" UTC")


def test_the_plan_is_told_whole() -> None:
    plan = content(TALES["recovered"])["plan"]
    assert plan["id"] == s.PLAN.id
    assert plan["on_failure"].startswith("A step that fails before traffic is on 41 puts the finished steps back.")
    (step,) = plan["steps"]
    assert (step["before"], step["goal"], step["state"]) == (
        "42 100\u00a0%, 41 0\u00a0%",
        "42 0\u00a0%, 41 100\u00a0%",
        "moved",
    )


def test_a_decision_is_told_with_every_check() -> None:
    (one,) = content(TALES["recovered"])["attempts"]
    assert [check["sign"] for check in one["decisions"][0]["checks"]] == ["✗", "?", "✓"]
    assert [check["sign"] for check in one["refusals"][0]["checks"]] == ["✓", "✗"]
    assert one["refusals"][0]["times"] == 2
    assert one["refusals"][0]["text"] == "Guests cannot approve. Ana Ruiz can. Nothing was changed."
    assert one["claim"][0]["name"] == "Ana Ruiz still counts as on-call SRE"


def test_each_episode_says_how_it_ended() -> None:
    found = content(TALES["back again"])["episodes"]
    assert [one["outcome"] for one in found] == [
        "Recovered: fraud-scorer is on 41",
        "Rejected: fraud-scorer stays on 42",
    ]
    assert content(TALES["recovered"])["episodes"] == []


def test_what_is_left_to_do_follows_from_what_happened() -> None:
    mended = s.PLAN.but(findings=(Finding(level="warning", message="Overrides.", mend="Write the durable route too."),))
    planned = content((s.opened(), e.PlanMade(plan=mended), *WELL[2:]))["actions"]
    assert planned == [
        "Find out why version 42 failed.", "Release or retire version 42.", "Write the durable route too.",
        "Answer the questions above.",
    ]  # fmt: skip
    assert content(TALES["blocked"])["actions"][0] == "Set last_good in the config."
    assert content(TALES["rejected"])["actions"][0] == "Decide which version serves: Priya Shah rejected 42 → 41."
    assert content(TALES["not recovered"])["actions"][0] == "Find the cause: the service was not well on 41 either."
    assert content(TALES["cannot tell"])["actions"][0].startswith("Give the SLI enough requests")
    assert content(TALES["stuck"])["actions"][0].startswith("Find out why step route failed: Envoy refused")


def test_a_verdict_that_did_not_hold_says_so() -> None:
    row = content(TALES["did not stay recovered"])["verdicts"][2]
    assert row["evidence"].endswith("Then: It was recovered and is not any more.")


def test_where_the_time_went_fills_the_whole_scale() -> None:
    parts = content(TALES["recovered"])["spent"]
    assert parts[0]["x"] == 0
    assert parts[-1]["x"] + parts[-1]["width"] == pytest.approx(1000, abs=1)
    assert [part["name"] for part in parts][:3] == ["Plan", "Decide", "Wait for approval"]


def test_the_seal_is_the_whole_digest() -> None:
    found = content(TALES["recovered"])
    assert found["digest"] == told(WELL)[-1].digest
    assert found["entries"] == len(WELL)


# ── outside text ──────────────────────────────────────────────────────────────────────────────────────────────────

HOSTILE = st.lists(
    st.sampled_from(
        [
            *"\\`*_{}[]()<>|#~&$!+-=.:;@'\"/%^ a1\n\r\t\u2028\u202e\u200b\x1b\x00\u00a0", "{{7*7}}", "{% raw %}", "{#", "</td>", "<script>",
            "<!date^1^{time}|x>", "<@U0ANA>", "https://evil.example", "1. ", "- ", "```", "---", "|--|", "&lt;", "x" * 400,
        ]
    ),
    min_size=1,
    max_size=10,
).map("".join).filter(words.clean)  # fmt: skip


def attacked(text: str) -> Sequence[e.Entry]:
    """An incident in which everything that comes from outside is `text`."""
    check = e.Check(ok=False, name=text, detail=text)
    return (
        s.opened(s.alert(summary=text, labels={"alertname": text}, source=text, version=text, sli=text)),
        e.PlanBlocked(reason=text, mend=text), e.PlanRequested(person="U0EVIL", reason=text, wanted=text),
        e.PlanMade(plan=s.PLAN.but(runbook=text, findings=(Finding(level="warning", message=text, mend=text),)),
                   candidates=(Candidate(version=text, chosen=True, reason=text),)),
        asked().but(reason=text, rule=text, trace=(check,)),
        REFUSED.but(person="U0EVIL", text=text, checks=(check,)), REFUSED.but(times=3),
        e.NoteAdded(person=MIKA, text_ref="evil"), s.ANA.but(role=text, checks=(check,)), s.CLAIM, s.STARTED,
        s.FAILED.but(detail=text), e.IncidentStuck(reason=text, by_hand=(text,)),
        e.IncidentClosed(outcome="gave_up", reason=text, person="U0EVIL", text_ref="evil"),
    )  # fmt: skip


class Attack:
    """Writes the postmortem of an incident in which every outside text is `text`."""

    def __init__(self) -> None:
        self.text = ""
        self.writer = Postmortems(Path("nowhere"), self.name, self.said)
        self.harmless: tuple[list[str], list[tuple[str, tuple[str, ...]]]] = ([], [])

    def name(self, user: str) -> str:
        return self.text if user == "U0EVIL" else name(user)

    async def said(self, refs: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(refs, self.text)

    async def render(self, text: str) -> tuple[str, str]:
        self.text, rows = text, told(attacked(text))
        document = await self.writer.postmortem(fold(rows), rows, "postmortem.md.j2")
        return document.markdown, document.html


@pytest.fixture(scope="module")
def attack() -> Attack:
    made = Attack()
    markdown, html = asyncio.run(made.render("harmless"))
    made.harmless = (shape(markdown), Tags(html).tags)
    return made


@settings(max_examples=100, deadline=None)
@given(HOSTILE)
def test_outside_text_never_adds_structure_or_markup(attack: Attack, text: str) -> None:
    markdown, html = asyncio.run(attack.render(text))
    assert (shape(markdown), Tags(html).tags) == attack.harmless


@pytest.mark.parametrize("text", ["{{7*7}}", "{% for x in y %}", "{{ self.__init__ }}"])
async def test_a_template_in_an_alert_is_text(attack: Attack, text: str) -> None:
    markdown, html = await attack.render(text)
    assert text.replace("*", r"\*").replace("__", r"\_\_") in markdown
    assert text in "".join(Tags(html).text)


async def test_nothing_invisible_is_left_in_either_form(attack: Attack) -> None:
    for form in await attack.render("a\u202eb\u200bc\x1bd\x00e\ufefff"):
        assert not re.search("[\u202e\u200b\x1b\x00\ufeff]", form)


async def test_numbers_keep_their_units_on_their_line() -> None:
    document = await written(TALES["recovered"])
    assert f"Alert to traffic moved: 1{words.NBSP}min 50{words.NBSP}s." in document.markdown
    assert f"100{words.NBSP}% of 1,696 requests" in document.html


# ── templates ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    return tmp_path


def put(folder: Path, template: str, text: str) -> None:
    (folder / "templates" / template).write_text(text)


async def test_a_template_beside_the_runbooks_wins_and_so_does_its_page(folder: Path) -> None:
    put(folder, "ours.md.j2", "Ours: {{ outcome }}, {{ id|code }}")
    put(folder, "ours.html.j2", "<p>{{ outcome }}</p>")
    document = await written(WELL, folder, "ours.md.j2")
    assert document.markdown == f"Ours: Recovered: fraud-scorer is on 41, `{s.ULID}`"
    assert document.html == "<p>Recovered: fraud-scorer is on 41</p>"


async def test_a_template_without_a_page_of_its_own_gets_the_shipped_page(folder: Path) -> None:
    put(folder, "ours.md.j2", "Ours")
    document = await written(WELL, folder, "ours.md.j2")
    assert document.markdown == "Ours"
    assert document.html.lstrip().startswith("<!doctype html>")
    assert "was not used" not in document.html


async def test_the_shipped_name_can_be_replaced_too(folder: Path) -> None:
    put(folder, "postmortem.md.j2", "Mine")
    assert (await written(WELL, folder)).markdown == "Mine"


@pytest.mark.parametrize(
    ("text", "said_of_it"),
    [
        ("one\n{{ nothing_like_it }}\n", "ours.md.j2:2: 'nothing_like_it' is undefined"),
        ("one\ntwo\n{% if %}\n", "ours.md.j2:3: "),
        ("one\n{{ 1 / 0 }}\n", "ours.md.j2:2: division by zero"),
        ("\n\n{{ entries + outcome }}\n", "ours.md.j2:3: unsupported operand"),
        ("{{ outcome.__class__ }}\n", "ours.md.j2:1: access to attribute"),
        ("{% include 'other.md.j2' %}", "There is no template other.md.j2"),
        ("{% for n in range(10 ** 9) %}{% endfor %}", "ours.md.j2:1: Range too big"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "ours.md.j2:1: maximum recursion"),
    ],
)
async def test_a_broken_template_is_named_and_the_shipped_one_steps_in(
    folder: Path, text: str, said_of_it: str
) -> None:
    put(folder, "ours.md.j2", text)
    document = await written(WELL, folder, "ours.md.j2")
    first = document.markdown.splitlines()[2]
    assert first.startswith("> The template ours.md.j2 was not used. ")
    assert said_of_it in first
    assert "## Timeline" in document.markdown
    assert "The template ours.md.j2 was not used." in document.html


async def test_a_broken_replacement_of_the_shipped_one_never_stops_the_closing(folder: Path) -> None:
    put(folder, "postmortem.md.j2", "{{ oops }}")
    put(folder, "postmortem.html.j2", "{{ oops }}")
    document = await written(WELL, folder)
    assert "## Timeline" in document.markdown
    assert "postmortem.md.j2:1" in document.html
    assert "postmortem.html.j2:1" in document.html


@pytest.mark.parametrize("template", ["missing.md.j2", "../../etc/passwd.md.j2", "notes.txt", ""])
async def test_a_missing_template_is_said_clearly(folder: Path, template: str) -> None:
    document = await written(WELL, folder, template)
    assert f"The template {template} was not used.".replace("  ", " ") in document.markdown
    assert "There is no template" in document.markdown or "is named NAME.md.j2" in document.markdown


ESCAPES = [
    "{{ ''.__class__.__mro__ }}", "{{ ''|attr('__class__') }}", "{{ [].__class__.__base__.__subclasses__() }}",
    "{{ cycler.__init__.__globals__ }}", "{{ lipsum.__globals__ }}", "{{ joiner.__init__.__globals__['os'] }}",
    "{{ namespace.__init__.__globals__ }}", "{{ self.__init__.__globals__ }}", "{{ self._TemplateReference__context }}",
    "{{ '{0.__class__.__mro__}'.format('') }}", "{{ '{x.__class__}'.format_map({'x': ''}) }}",
    "{{ ('{0.__class__}'|attr('format'))('') }}", "{{ timeline.append(1) }}", "{{ measures.clear() }}",
    "{{ plan.update({'id': 'x'}) }}", "{{ (1).__class__ }}", "{{ facts.__globals__ }}", "{{ config }}", "{{ request }}",
    "{{ url_for.__globals__ }}", "{% set x = timeline.pop() %}", "{{ ''['__class__'] }}",
    "{{ [''.format][0].__self__.__class__ }}", "{{ range.__class__ }}",
]  # fmt: skip


@pytest.mark.parametrize("form", ["x.md.j2", "x.html.j2"])
@pytest.mark.parametrize("escape", ESCAPES)
def test_no_way_leads_out_of_the_sandbox(folder: Path, escape: str, form: str) -> None:
    put(folder, form, f"{escape}{{{{ undefined_after_all }}}}")
    with pytest.raises(TemplateBroken) as refused:
        Templates(folder / "templates").render(form, content(WELL))
    assert form in str(refused.value)
    assert "undefined_after_all" not in str(refused.value)


def test_a_page_cannot_call_outside_text_safe(folder: Path) -> None:
    put(folder, "x.html.j2", "{{ outcome|safe }}")
    with pytest.raises(TemplateBroken, match=r"x\.html\.j2:1: No filter named 'safe'"):
        Templates(folder / "templates").render("x.html.j2", content(WELL))


# ── size ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_ten_thousand_entries_are_written_off_the_loop() -> None:
    noise = [REFUSED.but(text=f"Guests cannot approve, {n}.", checks=CHECKS) for n in range(5_000)]
    samples = [TALES["recovered"][12], e.AlertsJoined(alerts=(s.alert(fingerprint="f2"),))] * 2_500
    rows = told((*WELL[:5], *noise, *WELL[5:-2], *samples, *WELL[-2:]))
    incident, beats = fold(rows), 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.01)

    heart = asyncio.create_task(beat())
    began = time.monotonic()
    document = await Postmortems(Path("nowhere"), name, said).postmortem(incident, rows, "postmortem.md.j2")
    took = time.monotonic() - began
    heart.cancel()
    assert len(rows) > 10_000
    assert document.markdown.count("· approval.refused ·") == 5_001
    assert beats > 5, "the event loop stood still"
    assert took < 15
