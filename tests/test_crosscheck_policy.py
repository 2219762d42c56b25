"""Policy, roles and owners are held to each other before anything starts."""

from __future__ import annotations

import pytest

from tests.test_config import Files, files  # noqa: F401  the fixture of the files' own tests

OWNER = "{member: U0PRIYA, escalate_to: boss}"
RULE = "{id: prod, environments: [prod], mode: approve, "
SRE = "{members: [U0ANA, U0TOM]}"
PAGER = ("version: 1\n", "version: 1\npagerduty: {from: oncall@example.com}\n")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (OWNER, "{member: U0PRIYA}", "models.fraud-scorer.owner: a production model needs an escalation path. Add `escalation_policy: P…` (PagerDuty) or `escalate_to: ROLE` to the owner."),
        (OWNER, "{escalate_to: boss}", "models.fraud-scorer.owner: a production model needs one owner. Add `owner: {usergroup: S…}` or `owner: {member: U…}`."),
        (OWNER, "{member: U0PRIYA, usergroup: S0FRAUD, escalate_to: boss}", "models.fraud-scorer.owner: names two owners, a user group and a member. Keep one."),
        (OWNER, "{member: U0PRIYA, escalate_to: bos}", "models.fraud-scorer.owner.escalate_to: there is no role `bos`. Did you mean `boss`?"),
        (RULE, RULE + "escalate_to: bos, ", "policy.rules[0].escalate_to: there is no role `bos`. Did you mean `boss`?"),
        (RULE, RULE + "step_up: true, ", "policy.rules[0].step_up: needs a company sign-in, and none is configured. Add `signin: {issuer: …, client_id: …, client_secret: {env: …}}`."),
        (RULE, RULE + "ladder: true, ", "policy.rules[0].ladder: needs `policy.trust`, and there is none. Add `trust: {role: …}` to the policy."),
        ("policy:\n", "policy:\n  break_glass: {role: bos}\n", "policy.break_glass.role: there is no role `bos`. Did you mean `boss`?"),
        ("policy:\n", "policy:\n  autopilot: {role: bos}\n", "policy.autopilot.role: there is no role `bos`. Did you mean `boss`?"),
        ("policy:\n", "policy:\n  trust: {role: bos}\n", "policy.trust.role: there is no role `bos`. Did you mean `boss`?"),
        ("policy:\n", 'policy:\n  limits: {blackouts: [{from: "18:00", to: "08:00", zone: Berlin}]}\n', "policy.limits.blackouts[0].zone: `Berlin` is no time zone; write a name like Europe/Berlin or UTC"),
        (SRE, "{pagerduty_schedules: [psre]}", "roles.sre.pagerduty_schedules[0]: `psre` is no PagerDuty id; it looks like PUS0KTE, from the end of its page's address"),
    ],
)  # fmt: skip
def test_a_mistake_between_policy_roles_and_owners_is_said(files: Files, before: str, after: str, said: str) -> None:  # noqa: F811  the fixture
    files.site((before, after))
    assert said in [line.removesuffix(".") if not said.endswith(".") else line for line in files.said], files.said


def test_a_ladder_is_for_rules_that_act_alone(files: Files) -> None:  # noqa: F811  the fixture
    files.site((RULE, RULE + "ladder: true, "), ("policy:\n", "policy:\n  trust: {role: boss}\n"))
    assert files.said == [
        "policy.rules[0].ladder: is for rules that act alone. Leave `ladder` out, or write mode: auto."
    ]


def test_a_quorum_that_hangs_on_slack_alone_is_a_warning(files: Files) -> None:  # noqa: F811  the fixture
    files.site(("  owner: {members: [U0PRIYA]}", "  owner: {usergroups: [S0FRAUD]}"))
    assert files.said == []
    assert files.warnings == [
        "roles.owner: rests on S0FRAUD alone: while Slack does not answer nobody holds it",
        "policy.rules[0].require: could fill 1 of 2 places while Slack is away: only Slack can say who is in S0FRAUD",
    ]


def test_a_pager_beside_a_group_is_not_enough_since_slack_links_its_people(files: Files) -> None:  # noqa: F811  the fixture
    files.environ["PAGERDUTY_TOKEN"] = "x"
    files.site(
        PAGER, ("  owner: {members: [U0PRIYA]}", "  owner: {usergroups: [S0FRAUD], pagerduty_schedules: [PSRE]}")
    )
    assert files.said == []
    assert files.warnings == [
        "policy.rules[0].require: could fill 1 of 2 places while Slack is away: only Slack can say who is in S0FRAUD and which accounts the people on call in PSRE have"
    ]


def test_a_pager_alone_rests_on_two_answers(files: Files) -> None:  # noqa: F811  the fixture
    files.environ["PAGERDUTY_TOKEN"] = "x"
    files.site(PAGER, ("  owner: {members: [U0PRIYA]}", "  owner: {pagerduty_escalation_policies: [PESC]}"))
    assert files.warnings == [
        "roles.owner: rests on PESC alone: while PagerDuty or Slack does not answer nobody holds it",
        "policy.rules[0].require: could fill 1 of 2 places while Slack is away: only Slack can say which accounts the people on call in PESC have",
    ]


@pytest.mark.parametrize("source", ["usergroups: [S0FRAUD]", "pagerduty_schedules: [PSRE]"])
def test_members_beside_what_the_outside_says_are_enough(files: Files, source: str) -> None:  # noqa: F811  the fixture
    files.environ["PAGERDUTY_TOKEN"] = "x"
    files.site(PAGER, ("  owner: {members: [U0PRIYA]}", f"  owner: {{members: [U0PRIYA], {source}}}"))
    assert (files.said, files.warnings) == ([], [])


@pytest.mark.parametrize(
    ("token", "section", "lacks"),
    [
        ("", True, "PAGERDUTY_TOKEN is not set"),
        ("x", False, "there is no `pagerduty: {from: …}`"),
        ("", False, "PAGERDUTY_TOKEN is not set and there is no `pagerduty: {from: …}`"),
    ],
)
def test_a_schedule_without_all_of_pagerduty_is_a_warning(files: Files, token: str, section: bool, lacks: str) -> None:  # noqa: F811, FBT001  the fixture, and a table's column
    files.environ["PAGERDUTY_TOKEN"] = token
    schedule = ("  owner: {members: [U0PRIYA]}", "  owner: {members: [U0PRIYA], pagerduty_schedules: [PSRE]}")
    files.site(schedule, *[PAGER] * section)
    assert files.warnings == [f"roles.owner: {lacks}, so nobody holds owner by PSRE"]


def test_an_address_the_pager_would_not_take_is_said_before_the_start(files: Files) -> None:  # noqa: F811  the fixture
    files.site(("version: 1\n", "version: 1\npagerduty: {from: x}\n"))
    assert files.said == ["pagerduty.from: must hold at least 3."]


# ── the company's sign-in ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "issuer", ["http://login.example.com", "http://10.0.0.1:8080", "http://localhost.example.com", "http://[::1"]
)
def test_a_sign_in_somebody_on_the_way_could_answer_for_is_a_problem_with_its_place(files: Files, issuer: str) -> None:  # noqa: F811  the fixture
    files.site(
        (
            "version: 1\n",
            f'version: 1\nsignin: {{issuer: "{issuer}", client_id: x, client_secret: {{env: ALERT_TOKEN}}}}\n',
        )
    )
    assert [(one.file, one.line, one.column, one.key, one.message) for one in files.problems] == [
        ("lastgood.yaml", 2, 18, "signin.issuer", "is neither https nor this machine, so anybody on the way could sign in as anybody")
    ]  # fmt: skip


@pytest.mark.parametrize(
    "issuer", ["https://login.example.com", "http://127.0.0.1:9000", "http://localhost:9000/x", "http://[::1]:9000"]
)
def test_a_sign_in_over_https_or_on_this_machine_is_sound(files: Files, issuer: str) -> None:  # noqa: F811  the fixture
    files.site(
        (
            "version: 1\n",
            f'version: 1\nsignin: {{issuer: "{issuer}", client_id: x, client_secret: {{env: ALERT_TOKEN}}}}\n',
        )
    )
    assert (files.said, files.warnings) == ([], [])


# ── figures ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_figure_that_could_never_be_known_is_a_problem(files: Files) -> None:  # noqa: F811  the fixture
    figures = "        figures: {cost_delta: {source: scrape, errors: a, total: b}}\n        slis:\n"
    files.site(("        slis:\n", figures))
    assert files.said == [
        "models.fraud-scorer.environments.prod.figures.cost_delta.source: scrape needs two looks and a figure is read once, at the decision, so cost_delta would always be unknown. Read it from prometheus."
    ]


# ── orders nobody could give ──────────────────────────────────────────────────────────────────────────────────────

SCOPED = ("  boss: {members: [U0INES]}", '  boss: {members: [U0INES], models: ["ranker-*"]}')
NOBODY = "is for some models or environments only, so nobody could switch autopilot off for all at once"


@pytest.mark.parametrize(
    ("policy", "warning"),
    [
        ("  autopilot: {role: boss}\n", f"policy.autopilot.role: boss {NOBODY}"),
        ("  break_glass: {role: boss}\n", "policy.break_glass.role: boss does not cover fraud-scorer in prod, so nobody could break the glass there"),
    ],
)  # fmt: skip
def test_an_order_nobody_could_give_is_a_warning(files: Files, policy: str, warning: str) -> None:  # noqa: F811  the fixture
    files.site(SCOPED, ("policy:\n", f"policy:\n{policy}"))
    assert (files.said, files.warnings) == ([], [warning])
    files.site(("policy:\n", f"policy:\n{policy}"))
    assert files.warnings == []


def test_a_ladder_nobody_could_move_a_rule_on_is_a_warning_where_a_rule_is_on_it(files: Files) -> None:  # noqa: F811  the fixture
    trust = ("policy:\n", "policy:\n  trust: {role: boss}\n")
    assert files.site(SCOPED, trust).warnings == []
    files.site(SCOPED, trust, ("  rules:\n", "  rules:\n    - {id: burn, mode: auto, for: 2m, ladder: true}\n"))
    assert files.warnings == [
        "policy.trust.role: boss does not cover fraud-scorer in prod, so nobody could move a rule on the ladder there"
    ]


def test_roles_that_are_all_scoped_leave_nobody_to_switch_everything_off(files: Files) -> None:  # noqa: F811  the fixture
    scoped = [
        (f"  {role}: {{members: [{who}]}}", f"  {role}: {{members: [{who}], models: [fraud-scorer]}}")
        for role, who in (("sre", "U0ANA, U0TOM"), ("owner", "U0PRIYA"), ("boss", "U0INES"))
    ]
    assert files.site(*scoped).warnings == [f"policy: every role {NOBODY}"]
    assert files.site(*scoped[1:]).warnings == []
