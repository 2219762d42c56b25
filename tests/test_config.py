"""The configuration is checked whole: every mistake at once, with its place, its key and what was probably meant."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters import loading
from bot.config import Settings, examine, load, schemas, startable
from bot.crosscheck import unheard
from bot.errors import ConfigError, Problem

SITE = """\
version: 1
slack: {channel: C0INCIDENTS}
sources:
  alertmanager: {tokens: [{env: ALERT_TOKEN}]}
  generic: {tokens: [{env: ALERT_TOKEN}]}
metrics:
  scrape: {urls: ["http://127.0.0.1:8000/metrics"]}
roles:
  sre: {members: [U0ANA, U0TOM]}
  owner: {members: [U0PRIYA]}
  boss: {members: [U0INES]}
policy:
  rules:
    - {id: prod, environments: [prod], mode: approve, require: [{role: sre}, {role: owner}]}
    - {id: default, require: [{role: sre}]}
models:
  fraud-scorer:
    tier: 1
    owner: {member: U0PRIYA, escalate_to: boss}
    environments:
      prod:
        last_good: "41"
        targets:
          route: {adapter: memory, versions: ["41", "42"]}
        slis:
          error_ratio: {source: scrape, errors: 'p{code="500"}', total: p, objective: 0.01}
"""
BOOK = """\
runbook: fraud
title: Fraud
owner: team
applies_to: {models: [fraud-scorer], environments: [prod]}
rollback:
  to: last_good
  steps: [{target: route}]
verify:
  recovery: {slis: [error_ratio], samples: 3, every: 10s, within: 10m}
"""
# Every key there is, in the two shapes an operator writes.
EVERY_KEY = """\
version: 1
slack: {channel: C0INCIDENTS}
web: {host: 127.0.0.1, port: 8080, public_url: "https://lastgood.example.com", trusted_proxies: []}
api: {tokens: [{name: ci, env: API_TOKEN}]}
sources:
  alertmanager: {tokens: [{env: ALERT_TOKEN}], header: X-Token, insecure: false, environment: prod}
  generic: {tokens: [{file: token.txt}]}
  pagerduty: {secrets: [{env: PD}], services: {P1: {model: fraud-scorer, environment: prod}}}
  grafana: {secrets: [{env: G}], tokens: [], timestamp_header: X-Time}
  sns: {topics: ["arn:aws:sns:x"], certificates: []}
pagerduty: {from: oncall@example.com}
signin: {issuer: "https://id.example.com", client_id: lastgood, client_secret: {env: OIDC}}
observe: true
metrics:
  prometheus: {url: "http://prometheus:9090"}
  scrape: {urls: ["http://model:8000/metrics"]}
roles:
  oncall-sre: {pagerduty_schedules: [PSRE], pagerduty_escalation_policies: [PESC]}
  model-owner: {usergroups: [S0FRAUD], models: ["fraud-*"], environments: [prod]}
  commander: {members: [U0IC]}
policy:
  rules:
    - {id: burn, models: ["ranker-*"], environments: [prod], when: "burn_rate >= 14.4 && blast_radius <= 0.2", for: 2m, min_samples: 300, mode: auto}
    - {id: tier1, environments: [prod], when: "tier == 1", mode: approve, plan_ttl: PT15M, confirm: true, reason: true, require: [{role: oncall-sre, count: 2}, {role: model-owner}]}
    - {id: default, mode: approve, require: [{role: oncall-sre}]}
  limits: {cooldown: 30m, max_auto_per_day: 2, rollback_window: 7d, blackouts: [{days: [fri], from: "18:00", to: "08:00", zone: Europe/Berlin}]}
  break_glass: {role: commander, min_reason_chars: 20}
models:
  fraud-scorer:
    aliases: [fraud_scorer]
    tier: 1
    observe: true
    owner: {usergroup: S0FRAUD, escalation_policy: PUS0KTE}
    consumers: [checkout]
    environments:
      prod:
        last_good: "41"
        soak: 10m
        targets:
          route: {adapter: envoy, mode: runtime, admin: ["http://127.0.0.1:9901"], runtime_key_prefix: routing.split.fraud, versions: {"41": fraud-v41, "42": fraud-v42}}
        slis:
          error_ratio: {source: scrape, errors: 'p_total{code="500"}', total: p_total, objective: 0.02, good: below}
          latency_p99: {source: prometheus, query: "histogram_quantile(0.99, x)", objective: 0.25, good: below}
        business: {conversion: {source: prometheus, query: "x", good: above, unit: "%"}}
        cost: {source: prometheus, query: 'cost{version="{version}"}', unit: EUR}
        cohorts: [eu, us]
        capacity: {source: prometheus, ready: {query: 'up{version="{version}"}'}, needed: 3}
        actions:
          warm-up: {adapter: http, url: "http://fraud-{version}:8000/", requests: 20, undo: "http://fraud-{version}:8000/cool", leaves: a warm cache}
          retrain: {adapter: github, repo: o/r, token: {env: GH}, workflow: {file: retrain.yml}}
        follow_ups: {retrain: {action: retrain, cooldown: 7d}}
heartbeat: {url: "https://alive.example.com/x", every: 1m}
retention: {messages: 30d, incidents: 90d}
runbooks: runbooks/
"""
EVERY_BOOK_KEY = """\
runbook: fraud-scorer-regression
title: Fraud scorer regression
owner: payments-ml
reviewed: {at: 2026-11-01, by: U0ANA, every: 90d}
priority: 10
confirm: false
applies_to: {models: [fraud-scorer], environments: [prod], sources: [alertmanager], kinds: [alert], slis: [error_ratio, latency_p99], severities: [error]}
checklist: ["Confirm the breach is on the new version only", "Tell payments support"]
rollback:
  to: last_good
  on_failure: before_traffic
  parallel: false
  steps: [{warm: warm-up, until: closed}, {target: route, after: [warm-up], stages: [5, 100]}, {check: error_ratio}, {tell: retrain}]
verify:
  traffic: {max_bad_share: 0.01, within: 2m}
  recovery: {slis: [error_ratio], samples: 3, every: 10s, within: PT10M, min_requests: 300, watch: 1m, doubt: 0.05}
postmortem: postmortem.md.j2
"""


@dataclass
class Files:
    folder: Path
    environ: dict[str, str] = field(default_factory=lambda: {"ALERT_TOKEN": "t0ken"})

    @property
    def settings(self) -> Settings:
        return Settings({"LASTGOOD_CONFIG": str(self.folder / "lastgood.yaml"), **self.environ})

    def site(self, *changes: tuple[str, str], **books: str) -> Files:
        """Write SITE with each change made, and the runbooks; one called fraud unless others are given."""
        text = SITE
        for before, after in changes:
            assert before in text, before
            text = text.replace(before, after)
        return self.write(text, **(books or {"fraud": BOOK}))

    def write(self, text: str, **books: str) -> Files:
        (self.folder / "lastgood.yaml").write_text(text)
        (self.folder / "runbooks").mkdir(exist_ok=True)
        for name, book in books.items():
            (self.folder / "runbooks" / f"{name}.yaml").write_text(book)
        return self

    @property
    def problems(self) -> list[Problem]:
        return examine(self.settings)[1]

    @property
    def warnings(self) -> list[str]:
        return [f"{one.key}: {one.message}" for one in examine(self.settings)[2]]

    @property
    def said(self) -> list[str]:
        return [f"{one.key}: {one.message}. {one.hint}".strip() for one in self.problems]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_sound_site_has_no_problem_and_no_warning(files: Files) -> None:
    assert (files.site().said, files.warnings) == ([], [])


# ── every key is known ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_key_is_known_and_exactly_those_not_acted_on_are_refused(files: Files) -> None:
    files.write(EVERY_KEY, fraud=EVERY_BOOK_KEY)
    assert files.problems == []


def test_the_values_of_every_key_arrive(files: Files) -> None:
    config, _, _ = examine(files.write(EVERY_KEY, fraud=EVERY_BOOK_KEY).settings)
    assert config is not None
    file, (book,) = config.file, config.catalogue.runbooks
    assert file.pagerduty is not None
    assert file.pagerduty.from_ == "oncall@example.com"
    rules = file.policy.rules
    assert [(rule.id, rule.mode, rule.plan_ttl.total_seconds()) for rule in rules] == [
        ("burn", "auto", 900), ("tier1", "approve", 900), ("default", "approve", 900),
    ]  # fmt: skip
    assert rules[0].for_.total_seconds() == 120
    environment = file.models["fraud-scorer"].environments["prod"]
    assert environment.targets["route"].settings["versions"] == {"41": "fraud-v41", "42": "fraud-v42"}
    assert environment.slis["error_ratio"].settings == {"errors": 'p_total{code="500"}', "total": "p_total"}
    assert (environment.last_good, environment.soak.total_seconds()) == ("41", 600)
    assert (book.priority, book.rollback.on_failure, book.verify.recovery.within.total_seconds()) == (
        10,
        "before_traffic",
        600,
    )


def test_a_follow_up_names_an_action_of_its_environment(files: Files) -> None:
    files.write(EVERY_KEY.replace("{action: retrain,", "{action: retrian,"), fraud=EVERY_BOOK_KEY)
    key = "models.fraud-scorer.environments.prod.follow_ups.retrain.action"
    (found,) = (one for one in files.problems if one.key == key)
    assert found.message.startswith("there is no action `retrian`")


def test_a_runbook_that_chooses_by_tags_needs_a_registry_that_knows_them(files: Files) -> None:
    (found,) = files.site(fraud=BOOK.replace("  to: last_good", "  to: {tags: {size: small}}")).problems
    assert (found.key, found.message) == ("rollback.to.tags", "fraud-scorer in prod has no registry that knows tags")
    assert found.hint == "Add models.fraud-scorer.environments.prod.registry."


def test_a_registry_is_one_there_is_and_a_companion_is_a_target(files: Files) -> None:
    use = "registry: {source: shelf, name: fraud, companions: {iban: transformer}}"
    text = EVERY_KEY.replace("        targets:\n", f"        {use}\n        targets:\n", 1)
    files.write(text, fraud=EVERY_BOOK_KEY)
    told = {one.key.rpartition("environments.prod.")[2]: one.message for one in files.problems}
    assert told["registry.source"] == "there is no registry `shelf`"
    assert told["registry.companions.iban"] == "there is no target `transformer`"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("  to: last_good", "  to: {fallback: rules}", "rollback.to.fallback: fraud-scorer in prod has no version `rules`. Known: 41, 42."),
        ("[{target: route}]", "[{warm: route}, {target: route}]", "rollback.steps[1].target: `route` is a step already. A target moves once in a rollback."),
        ("[{target: route}]", "[{warm: wram}, {target: route}]", "rollback.steps[0].warm: fraud-scorer in prod has no action `wram`. Known: none."),
        ("[{target: route}]", "[{check: sure}, {target: route}]", "rollback.steps[0].check: fraud-scorer in prod has no SLI or action `sure`. Known: error_ratio."),
        ("[{target: route}]", "[{target: route}, {tell: support}]", "rollback.steps[1].tell: fraud-scorer in prod has no action `support`. Known: none."),
        ("[{target: route}]", "[{tell: S0PAYMENTS}]", "rollback.steps: no step moves a target. Add `{target: …}`."),
        ("[{target: route}]", "[{target: route, stages: [50, 5]}]", "rollback.steps[0].stages: must rise from 1 or more and end at 100, not [50, 5]."),
    ],
)  # fmt: skip
def test_a_step_that_leads_nowhere_is_a_problem(files: Files, before: str, after: str, said: str) -> None:
    assert said in files.site(fraud=BOOK.replace(before, after)).said


def test_a_step_is_only_taken_back_by_an_action_that_can_be(files: Files) -> None:
    book = BOOK.replace("[{target: route}]", "[{warm: scale, until: closed}, {target: route}]")
    action = "        actions: {scale: {adapter: http, url: 'https://scale.example.com'%s}}\n        slis:\n"
    said = (
        "rollback.steps[0].until: action `scale` of fraud-scorer in prod has no `undo`, so nothing takes it back."
        " Give it an `undo` address, or leave `until` out."
    )
    assert files.site(("        slis:\n", action % ""), fraud=book).said == [said]
    back = action % ", undo: 'https://scale.example.com/back'"
    assert files.site(("        slis:\n", back), fraud=book).said == []


def test_people_may_be_told_without_an_action(files: Files) -> None:
    steps = "[{target: route}, {tell: S0PAYMENTS}, {tell: S0FRAUD}, {check: error_ratio}]"
    assert files.site(fraud=BOOK.replace("[{target: route}]", steps)).said == []


def test_a_ramp_that_nothing_checks_is_a_warning(files: Files) -> None:
    files.site(fraud=BOOK.replace("[{target: route}]", "[{target: route, stages: [5, 100]}]"))
    assert files.said == []
    assert files.warnings == [
        "rollback.steps[0].stages: nothing is checked between stages: no SLI of fraud-scorer in prod names {version}"
    ]


def test_steps_side_by_side_wait_for_nothing_they_do_not_name(files: Files) -> None:
    steps = "[{target: route, after: [cache]}, {tell: S0PAYMENTS}, {check: error_ratio, after: [S0PAYMENTS]}]"
    circle = BOOK.replace("[{target: route}]", steps.replace("cache", "error_ratio"))
    assert files.site(fraud=circle).said == [
        "rollback.steps: each waits for the one before: route → error_ratio → S0PAYMENTS → route. Break the circle."
    ]
    side = circle.replace("  steps:", "  parallel: true\n  steps:")
    assert files.site(fraud=side).said == []


@pytest.mark.parametrize("line", ["observe: false", "web: {trusted_proxies: []}", "pagerduty: null"])
def test_a_later_key_that_asks_for_nothing_is_no_problem(files: Files, line: str) -> None:
    assert files.site(("version: 1\n", f"version: 1\n{line}\n")).said == []


def test_proxies_nobody_would_trust_are_refused(files: Files) -> None:
    assert files.site(("version: 1\n", "version: 1\nweb: {trusted_proxies: [10.0.0.1]}\n")).said == [
        "web.trusted_proxies: not supported yet. Leave it out for now."
    ]


# ── what one key says ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("require: [{role: sre}, ", "requires: [{role: sre}, ", "policy.rules[0].requires: unknown key. Did you mean `require`?"),
        ('versions: ["41"', 'versoins: ["41"', "models.fraud-scorer.environments.prod.targets.route.versoins: unknown key. Did you mean `versions`?"),
        ("tier: 1", "tier: nine", "models.fraud-scorer.tier: must be a whole number."),
        ("tier: 1", "tier: 9", "models.fraud-scorer.tier: must be at most 4."),
        ("version: 1", "version: 2", "version: must be 1."),
        ("C0INCIDENTS", '"#incidents"', "slack.channel: `#incidents` is no channel id; it looks like C0INCIDENTS, from the channel's details in Slack."),
        ("[U0ANA, U0TOM]", '["@ana"]', "roles.sre.members[0]: `@ana` is no member id; it looks like U0ANA, from the person's profile in Slack."),
        ("[U0ANA, U0TOM]", "U0ANA", "roles.sre.members: must be a list. Write [U0ANA]."),
        ("{members: [U0PRIYA]}", "{}", "roles.owner: names nobody; give members, usergroups, pagerduty_schedules or pagerduty_escalation_policies."),
        ("mode: approve", "mode: aprove", "policy.rules[0].mode: `aprove` is not known here. Did you mean `approve`?"),
        ("mode: approve", "plan_ttl: 15 minutes", "policy.rules[0].plan_ttl: `15 minutes` is not a duration; write 15m or PT15M."),
        ("mode: approve", 'when: "burn_rate > 14"', "policy.rules[0].when: `burn_rate > 14` compares double with int. Write 14.0."),
        ("mode: approve", 'when: "burn_rat > 14.0"', "policy.rules[0].when: there is no fact `burn_rat`. Did you mean `burn_rate`?"),
        ('last_good: "41"', "last_good: 41", 'models.fraud-scorer.environments.prod.last_good: must be text, and 41 is a number. Write "41".'),
        ('["41", "42"]', '["41", 4.20]', 'models.fraud-scorer.environments.prod.targets.route.versions[1]: must be text, and 4.20 is a number. Write "4.20".'),
        ('["41", "42"]', '["41", true]', 'models.fraud-scorer.environments.prod.targets.route.versions[1]: must be text, and true is true or false. Write "true".'),
        ("roles:\n", "pagerdut:\nroles:\n", "pagerdut: unknown key. Did you mean `pagerduty`?"),
        ("objective: 0.01", "objective: 1e999", "models.fraud-scorer.environments.prod.slis.error_ratio.objective: must be a finite number."),
        ("[{env: ALERT_TOKEN}]}\n  generic", "[]}\n  generic", "sources.alertmanager: has no tokens; give `tokens: [{env: NAME}]`, or `insecure: true` to take anybody's word."),
    ],
)  # fmt: skip
def test_a_mistake_is_said_in_plain_words_with_the_way_out(files: Files, before: str, after: str, said: str) -> None:
    text = SITE.replace(before, after, 1)
    assert text != SITE
    files.write(text, fraud=BOOK)
    assert said in [line.strip() for line in files.said] or said.removesuffix(".") in files.said


@pytest.mark.parametrize("version", ["on", "no", "1.2.3", "v41", '"41"'])
def test_a_version_that_is_a_word_is_taken_as_it_is_written(files: Files, version: str) -> None:
    assert files.site(('"42"', version)).said == []


def test_a_mistake_in_a_guard_is_placed_inside_its_text(files: Files) -> None:
    (found,) = files.site(("mode: approve", 'when: "tier == 1 && burn_rat > 1.0"')).problems
    line = SITE.splitlines().index(next(row for row in SITE.splitlines() if "id: prod" in row)) + 1
    written = (files.folder / "lastgood.yaml").read_text().splitlines()[line - 1]
    assert (found.line, written[found.column - 1 :][:8]) == (line, "burn_rat")


def test_a_misspelt_required_key_is_said_once(files: Files) -> None:
    assert files.site(fraud=BOOK.replace("{target: route}", "{trget: route}")).said == [
        "rollback.steps[0].trget: unknown key. Did you mean `target`?"
    ]


def test_a_version_in_a_runbook_that_is_a_number_says_how_to_write_it(files: Files) -> None:
    assert files.site(fraud=BOOK.replace("to: last_good", "to: {version: 41}")).said == [
        'rollback.to.version: must be text, and 41 is a number. Write "41".'
    ]


def test_a_misspelt_word_where_a_mapping_could_stand_is_said_once(files: Files) -> None:
    assert files.site(fraud=BOOK.replace("to: last_good", "to: lastgood")).said == ["rollback.to: must be last_good."]


@pytest.mark.parametrize("text", ["[1, 2]", "just words", "41"])
def test_a_file_that_is_no_mapping_is_one_problem(files: Files, text: str) -> None:
    (found,) = files.write(text).problems
    assert (found.line, found.column, found.message) == (1, 1, "must be keys with values")


@pytest.mark.parametrize(
    "section", ["sources", "metrics", "roles", "policy", "models", "runbooks", "slack", "web", "api"]
)
@pytest.mark.parametrize("value", ["null", "[1]", "word", "3", "{a: 1}", "{a: {b: [c]}}"])
def test_a_section_of_the_wrong_kind_is_a_problem_and_never_a_crash(files: Files, section: str, value: str) -> None:
    files.write(f"version: 1\n{section}: {value}\n", fraud=BOOK)
    assert files.problems


# ── what the parts say about each other ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("{role: owner}", "{role: ownr}", "policy.rules[0].require[1].role: there is no role `ownr`. Did you mean `owner`?"),
        ("generic: {", "genric: {", "sources.genric: there is no alerts adapter `genric`. Did you mean `generic`? Known: alertmanager, argo, cef,"),
        ("adapter: memory", "adapter: memry", "models.fraud-scorer.environments.prod.targets.route.adapter: there is no traffic adapter `memry`. Did you mean `memory`?"),
        ("source: scrape", "source: scrap", "models.fraud-scorer.environments.prod.slis.error_ratio.source: there is no metric source `scrap`. Did you mean `scrape`?"),
        ("total: p,", "totl: p,", "models.fraud-scorer.environments.prod.slis.error_ratio.totl: unknown key. Did you mean `total`?"),
        ('last_good: "41"', 'last_good: "40"', "models.fraud-scorer.environments.prod.last_good: fraud-scorer has no version `40`. Known: 41, 42."),
        ("environments: [prod]", "environments: [prdo]", "policy.rules[0].environments[0]: there is no environment `prdo`. Did you mean `prod`?"),
        ("id: default", "id: prod", "policy.rules[1].id: `prod` is also the id of a rule before. Rename one."),
        ("owner: {member: U0PRIYA, escalate_to: boss}", "consumers: []", "models.fraud-scorer.owner: a production model needs one owner."),
        ("{members: [U0ANA, U0TOM]}", "{members: [U0PRIYA]}", "policy.rules[0].require: needs 2 different people, and the roles name people for 1."),
        ("{members: [U0PRIYA]}", "{members: [U0PRIYA], models: [ranker]}", "policy.rules[0].require: owner does not cover fraud-scorer in prod, so this rule could never be met there."),
    ],
)  # fmt: skip
def test_a_name_that_leads_nowhere_is_said(files: Files, before: str, after: str, said: str) -> None:
    files.site((before, after))
    assert any(line.startswith(said.removesuffix(".")) for line in files.said), files.said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("[fraud-scorer]", "[fraud-scorrer]", "applies_to.models[0]: there is no model `fraud-scorrer`. Did you mean `fraud-scorer`?"),
        ("environments: [prod]", "environments: [prood]", "applies_to.environments[0]: there is no environment `prood`. Did you mean `prod`?"),
        ("environments: [prod]", "slis: [eror_ratio]", "applies_to.slis[0]: there is no SLI `eror_ratio`. Did you mean `error_ratio`?"),
        ("environments: [prod]", "sources: [alertmanger]", "applies_to.sources[0]: there is no source `alertmanger`. Did you mean `alertmanager`?"),
        ("environments: [prod]", "kinds: [alrt]", "applies_to.kinds[0]: `alrt` is not known here. Did you mean `alert`?"),
        ("{target: route}", "{target: roote}", "rollback.steps[0].target: fraud-scorer in prod has no target `roote`. Did you mean `route`?"),
        ("{target: route}", "{target: route, after: [canary]}", "rollback.steps[0].after[0]: there is no step `canary`. Known: none."),
        ("[{target: route}]", "[{target: route}, {target: route}]", "rollback.steps[1].target: `route` is a step already. A target moves once in a rollback."),
        ("slis: [error_ratio]", "slis: [latency]", "verify.recovery.slis[0]: fraud-scorer in prod has no SLI `latency`. Known: error_ratio."),
        ("to: last_good", 'to: {version: "43"}', "rollback.to.version: fraud-scorer in prod has no version `43`. Known: 41, 42."),
        ("every: 10s, within: 10m", "every: 10m, within: 10m", "verify.recovery: 3 samples every 10m do not fit within 10m."),
        ("every: 10s", "every: 0s", "verify.recovery.every: must be longer than 0s."),
        ("title: Fraud", "title: Fraud\npostmortem: xyz", "postmortem: there is no template `xyz`. Known: postmortem.html.j2, postmortem.md.j2."),
    ],
)  # fmt: skip
def test_a_runbook_that_names_what_is_not_there_is_said(files: Files, before: str, after: str, said: str) -> None:
    files.site(fraud=BOOK.replace(before, after, 1))
    assert files.said == [said], files.said


def test_a_runbook_for_every_model_is_held_to_each(files: Files) -> None:
    more = "  ranker:\n    environments: {staging: {targets: {split: {adapter: memory, versions: [a]}}}}\n"
    files.write(SITE + more, fraud=BOOK.replace("applies_to: {models: [fraud-scorer], environments: [prod]}\n", ""))
    assert next(line for line in files.said if "ranker" in line) == (
        "rollback.steps[0].target: ranker in staging has no target `route`. Known: split."
    )


def test_a_runbook_of_higher_priority_takes_its_models_from_the_one_for_every_model(files: Files) -> None:
    more = "  ranker:\n    environments: {staging: {targets: {split: {adapter: memory, versions: [a]}}}}\n"
    general = BOOK.replace("applies_to: {models: [fraud-scorer], environments: [prod]}\n", "")
    special = "runbook: ranker\ntitle: R\nowner: o\npriority: 5\napplies_to: {models: [ranker]}\nrollback: {steps: [{target: split}]}\n"
    assert files.write(SITE + more, general=general, special=special).said == []


def test_steps_that_wait_for_each_other_in_a_circle_are_said(files: Files) -> None:
    targets = ("          route: {", '          cache: {adapter: memory, versions: ["41", "42"]}\n          route: {')
    steps = "[{target: route, after: [cache]}, {target: cache, after: [route]}]"
    assert files.site(targets, fraud=BOOK.replace("[{target: route}]", steps)).said == [
        "rollback.steps: each waits for the one before: route → cache → route. Break the circle."
    ]


def test_a_step_may_wait_for_a_later_one(files: Files) -> None:
    targets = ("          route: {", '          cache: {adapter: memory, versions: ["41", "42"]}\n          route: {')
    steps = "[{target: route, after: [cache]}, {target: cache, after: []}]"
    found = files.site(targets, fraud=BOOK.replace("[{target: route}]", steps)).said
    assert found == ["rollback.steps: each waits for the one before: route → cache → route. Break the circle."]
    steps = "[{target: cache}, {target: route, after: [cache]}]"
    assert files.site(targets, fraud=BOOK.replace("[{target: route}]", steps)).said == []


@pytest.mark.parametrize(
    ("applies_to", "twins"),
    [
        ("applies_to: {models: [fraud-scorer], environments: [prod]}", True),
        ("applies_to: {}", True),
        ('applies_to: {models: ["fraud-*"]}', True),
        ("applies_to: {models: [fraud-scorer], slis: [error_ratio]}", True),
        ("applies_to: {models: [fraud-scorer], severities: [critical]}\npriority: 2", False),
    ],
)
def test_two_runbooks_that_match_equally_are_said(files: Files, applies_to: str, twins: bool) -> None:  # noqa: FBT001  a case's answer
    other = BOOK.replace("runbook: fraud", "runbook: other").replace(BOOK.splitlines()[3], applies_to)
    files.site(fraud=BOOK, other=other)
    assert (
        ["priority: matches fraud-scorer in prod as runbooks/fraud.yaml does, with the same priority 0"]
        if twins
        else []
    ) == [f"{one.key}: {one.message}" for one in files.problems]


def test_runbooks_for_different_slis_may_share_a_priority(files: Files) -> None:
    first = BOOK.replace("environments: [prod]}", "slis: [error_ratio], severities: [error]}")
    second = first.replace("runbook: fraud", "runbook: other").replace("severities: [error]", "severities: [critical]")
    assert files.site(fraud=first, other=second).said == []


def test_two_runbooks_of_one_name_are_said(files: Files) -> None:
    found = files.site(fraud=BOOK, other=BOOK.replace("title: Fraud", "title: Other\npriority: 3")).said
    assert found == ["runbook: `fraud` is also the name of runbooks/fraud.yaml. Rename one."]


def test_two_models_of_one_name_are_said_also_in_another_unicode_form(files: Files) -> None:
    more = '  caf\u00e9:\n    aliases: ["cafe\u0301"]\n    environments: &x'.replace(" &x", "") + (
        " {staging: {targets: {route: {adapter: memory, versions: [a]}}}}\n"
        "  other:\n    aliases: [caf\u00e9]\n    environments: {staging: {targets: {route: {adapter: memory, versions: [a]}}}}\n"
    )
    assert files.write(SITE + more, fraud=BOOK).said == ["models.other: `café` also names café. Keep one."]


def test_a_quorum_counts_people_and_not_roles(files: Files) -> None:
    roles = ("  owner: {members: [U0PRIYA]}", "  owner: {members: [U0PRIYA]}\n  third: {members: [U0PRIYA]}")
    rule = ("[{role: sre}, {role: owner}]", "[{role: sre}, {role: owner}, {role: third}]")
    (found,) = files.site(roles, rule).problems
    assert found.message == "needs 3 different people, and the roles name people for 2"


def test_a_user_group_can_fill_any_number_of_places(files: Files) -> None:
    files.site(("{members: [U0PRIYA]}", "{usergroups: [S0FRAUD]}"), ("{role: owner}", "{role: owner, count: 5}"))
    assert files.said == []


def test_mistakes_of_every_kind_are_listed_together_in_the_order_of_the_files(files: Files) -> None:
    files.site(
        ("require: [{role: sre}, ", "requires: [{role: sre}, "), ("adapter: memory", "adapter: memry"),
        fraud=BOOK.replace("[fraud-scorer]", "[fraud-scorrer]") + "title: again\n", broken="a: [", empty="",
    )  # fmt: skip
    assert [(one.file, one.line) for one in files.problems] == [
        ("lastgood.yaml", 14), ("lastgood.yaml", 24), ("runbooks/broken.yaml", 1), ("runbooks/empty.yaml", 1),
        ("runbooks/fraud.yaml", 4), ("runbooks/fraud.yaml", 10),
    ]  # fmt: skip


# ── warnings ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "after", "warning"),
    [
        ("[{env: ALERT_TOKEN}]}\nmetrics", "[{env: ABSENT}]}\nmetrics", "sources.generic: ABSENT is empty, so /hooks/generic answers 503"),
        ("[{env: ALERT_TOKEN}]}\nmetrics", "[{env: ALERT_TOKEN}, {env: NEXT}]}\nmetrics", "sources.generic: NEXT is empty, so that token opens nothing"),
        ("[{env: ALERT_TOKEN}]}\nmetrics", "[{file: absent.txt}]}\nmetrics", "sources.generic: absent.txt is empty, so /hooks/generic answers 503"),
        ("{member: U0PRIYA, escalate_to: boss}", "{member: U0PRIYA, escalation_policy: PX}", "models.fraud-scorer.owner.escalation_policy: PX is never asked in: PAGERDUTY_TOKEN is not set and there is no `pagerduty: {from: …}`"),
        ("version: 1\n", "version: 1\napi: {tokens: [{name: ci, env: CI}]}\n", "api.tokens[0]: CI is empty, so that token opens nothing"),
        ("version: 1\n", "version: 1\nsignin: {issuer: 'https://id.example', client_id: x, client_secret: {env: OIDC}}\n", "signin.client_secret: OIDC is empty, so nobody can sign in"),
        ("version: 1\n", "version: 1\nsignin: {issuer: 'https://id.example', client_id: x, client_secret: {file: absent.txt}}\n", "signin.client_secret: absent.txt is empty, so nobody can sign in"),
        ("version: 1\n", "version: 1\nauthorizers: {http: {url: 'https://opa.example', token: {env: OPA}}}\n", "authorizers.http.token: OPA is empty, so http is not asked, and that counts as no"),
        ("alertmanager: {tokens: [{env: ALERT_TOKEN}]", "alertmanager: {tokens: [{env: ALERT_TOKEN}], api: 'http://am:9093', api_token: {env: AM}", "sources.alertmanager.api_token: AM is empty, so alertmanager cannot say what is silenced there"),
        ("metrics:\n", "metrics:\n  prometheus: {url: 'http://prometheus:9090', token: {file: absent.txt}}\n", "metrics.prometheus.token: absent.txt is empty, so prometheus is asked without a token"),
    ],
)  # fmt: skip
def test_what_may_surprise_later_is_a_warning_and_no_problem(
    files: Files, before: str, after: str, warning: str
) -> None:
    files.site((before, after))
    assert (files.said, files.warnings) == ([], [warning])


def test_no_rule_is_called_unreachable_that_a_persons_request_reaches(files: Files) -> None:
    """`policy lint` says which rules nobody reaches: it knows what a rule about alerts alone leaves over."""
    rule = (
        "{id: prod, environments: [prod], mode: approve, require: [{role: sre}, {role: owner}]}",
        "{id: prod, mode: auto}",
    )
    assert (files.site(rule).said, files.warnings) == ([], [])


POLICY = ("{member: U0PRIYA, escalate_to: boss}", "{member: U0PRIYA, escalation_policy: PX}")


def test_an_escalation_policy_without_a_pager_to_ask_it_is_a_warning(files: Files) -> None:
    files.environ["PAGERDUTY_TOKEN"] = "x"
    files.site(POLICY)
    assert files.warnings == [
        "models.fraud-scorer.owner.escalation_policy: PX is never asked in: there is no `pagerduty: {from: …}`"
    ]
    files.site(POLICY, ("version: 1\n", "version: 1\npagerduty: {from: bot@example.com}\n"))
    assert files.warnings == []


@pytest.mark.parametrize("keys", ["status_updates: true", "custom_fields: {model: ml_model}"])
def test_what_is_to_be_written_into_pagerduty_without_a_token_is_a_warning(files: Files, keys: str) -> None:
    section = ("version: 1\n", f"version: 1\npagerduty: {{from: bot@example.com, {keys}}}\n")
    files.site(section)
    said = f"pagerduty.{keys.partition(':')[0]}: PAGERDUTY_TOKEN is not set, so nothing is written into PagerDuty's incidents"
    assert (files.said, files.warnings) == ([], [said])
    files.environ["PAGERDUTY_TOKEN"] = "x"
    files.site(section)
    assert files.warnings == []


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("custom_fields: {modle: x}", "pagerduty.custom_fields.modle: unknown key. Did you mean `model`?"),
        ("custom_fields: {from: Bad Version}", "pagerduty.custom_fields.from: `Bad Version` is no name of a custom field; it holds small letters, digits and underscores, as its page in PagerDuty shows it."),
        ("custom_fields: {from: x, to: x}", "pagerduty.custom_fields: x is to hold both from and to; give each a field of its own."),
        ("status_updates: 7", "pagerduty.status_updates: must be true or false."),
    ],
)  # fmt: skip
def test_what_pagerduty_is_to_hold_is_checked(files: Files, keys: str, said: str) -> None:
    files.environ["PAGERDUTY_TOKEN"] = "x"
    files.site(("version: 1\n", f"version: 1\npagerduty: {{from: bot@example.com, {keys}}}\n"))
    assert files.said == [said]


def test_an_empty_folder_of_runbooks_is_a_warning(files: Files) -> None:
    (files.write(SITE).folder / "runbooks" / "fraud.yml").write_text(BOOK)
    assert files.said == []
    assert files.warnings == [
        "runbooks: fraud.yml is not read", f"runbooks: {files.folder}/runbooks has no runbook, so every incident needs a person",
    ]  # fmt: skip


def test_a_model_no_runbook_is_for_is_a_warning(files: Files) -> None:
    files.site(
        (
            "environments:\n      prod:",
            "environments:\n      dev: {targets: {r: {adapter: memory, versions: [a]}}}\n      prod:",
        )
    )
    assert files.warnings == [
        "models.fraud-scorer.environments.dev: no runbook applies to fraud-scorer in dev, so every incident there needs a person"
    ]


def test_no_rule_at_all_is_a_warning(files: Files) -> None:
    start, end = SITE.index("policy:"), SITE.index("models:")
    assert files.write(SITE[:start] + SITE[end:], fraud=BOOK).warnings == [
        "policy: has no rule, so nobody is asked and nothing is moved"
    ]


# ── the environment ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_of_a_secret_wins_over_its_variable(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    assert Settings({"A_FILE": str(tmp_path / "secret"), "A": "from the variable"}).get("A") == "from the file"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_of_a_secret_that_cannot_be_read_is_a_problem_and_never_a_crash(
    files: Files, content: bytes | None
) -> None:
    where = files.folder / "secret"
    if content is not None:
        where.write_bytes(content)
    files.environ = {"ALERT_TOKEN_FILE": str(where)}
    (found,) = files.site().problems
    assert (found.file, found.key) == ("environment", "ALERT_TOKEN_FILE")


def test_no_secret_is_in_a_repr(files: Files) -> None:
    assert "t0ken" not in repr(files.settings)


def test_a_start_needs_what_slack_needs_and_says_all_of_it_with_the_rest(files: Files) -> None:
    files.environ |= {"LASTGOOD_PORT": "http", "LASTGOOD_DATABASE_URL": "mysql://x"}
    files.site(("tier: 1", "tier: 9"))
    with pytest.raises(ConfigError) as caught:
        startable(files.settings)
    assert [one.key for one in caught.value.problems] == [
        "SLACK_BOT_TOKEN", "LASTGOOD_PORT", "LASTGOOD_DATABASE_URL", "models.fraud-scorer.tier",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"SLACK_BOT_TOKEN": "x"}, "SLACK_SIGNING_SECRET"),
        ({"SLACK_BOT_TOKEN": "x", "SLACK_APP_TOKEN": "y", "SLACK_API_URL": "https://slack.example"}, "SLACK_API_URL"),
        (
            {"SLACK_BOT_TOKEN": "x", "SLACK_SIGNING_SECRET": "y", "SLACK_SIGNING_SECRET_NEXT_FILE": "absent.txt"},
            "SLACK_SIGNING_SECRET_NEXT_FILE",
        ),
        (
            {"SLACK_BOT_TOKEN": "x", "SLACK_APP_TOKEN": "y", "PAGERDUTY_API_URL": "http://pd.example"},
            "PAGERDUTY_API_URL",
        ),
    ],
)
def test_a_start_without_what_slack_or_pagerduty_needs_names_it(
    files: Files, environ: dict[str, str], key: str
) -> None:
    files.environ |= environ
    with pytest.raises(ConfigError) as caught:
        startable(files.site().settings)
    assert [one.key for one in caught.value.problems] == [key]


def test_loading_gives_the_catalogue_and_the_warnings(files: Files) -> None:
    config = load(files.site(("[{env: ALERT_TOKEN}]}\nmetrics", "[{env: ABSENT}]}\nmetrics")).settings)
    assert (list(config.catalogue.models), len(config.warnings)) == (["fraud-scorer"], 1)


def test_a_site_nobody_can_send_alerts_to_is_a_warning(files: Files) -> None:
    lines = "sources:\n  alertmanager: {tokens: [{env: ALERT_TOKEN}]}\n  generic: {tokens: [{env: ALERT_TOKEN}]}\n"
    files.site((lines, ""))
    assert "sources: no sender is configured, so nobody can send alerts" in files.warnings


def test_senders_that_are_not_configured_are_named() -> None:
    assert unheard({"generic": {}}).startswith("Not configured, so answered 503 at /hooks/NAME: alertmanager, argo")
    assert unheard(dict.fromkeys(loading.names("alerts"))) == ""


# ── schemas ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_schemas_mark_what_is_not_supported_yet_and_name_every_key() -> None:
    file, book = (schemas()[f"{name}.schema.json"] for name in ("lastgood", "runbook"))
    assert file["$defs"]["WebConfig"]["properties"]["trusted_proxies"]["x-not-supported-yet"] is True
    assert set(file["properties"]) == {
        "version", "slack", "web", "api", "observe", "signin", "pagerduty", "authorizers", "sources", "metrics", "samples", "registries", "heartbeat", "retention", "roles", "policy", "models", "runbooks",
    }  # fmt: skip
    assert book["additionalProperties"] is False
    assert json.loads(json.dumps(book)) == book
