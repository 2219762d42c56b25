"""`lastgood init`: a first configuration, a first runbook, tests of the policy, the Slack manifest, the editors' schemas."""

from __future__ import annotations

from pathlib import Path

import orjson

from bot.config import schemas
from bot.errors import LastgoodError
from bot.policy_tests import FILE as TESTS_FILE
from bot.policy_tests import schema as tests_schema
from bot.slack.manifest import manifest

NEEDS = ("ALERTMANAGER_TOKEN", "GENERIC_TOKEN")
CONFIG = """\
# yaml-language-server: $schema=runbooks/schemas/lastgood.schema.json
version: 1
slack: {channel: C0INCIDENTS}                    # the channel's id, from its details in Slack
web: {host: 127.0.0.1, port: 8080, public_url: "http://127.0.0.1:8080"}
sources:
  alertmanager: {tokens: [{env: ALERTMANAGER_TOKEN}]}     # the name of a variable, never the secret itself
  generic: {tokens: [{env: GENERIC_TOKEN}], environment: prod}
metrics:
  prometheus: {url: "http://127.0.0.1:9090"}
roles:
  oncall-sre:  {members: [U0ANA, U0TOM]}         # Slack member ids; usergroups: [S…] work too
  model-owner: {members: [U0PRIYA, U0MIKA]}
policy:
  rules:                                         # the first rule that matches decides
    - {id: prod, environments: [prod], mode: approve, plan_ttl: 15m, require: [{role: oncall-sre}, {role: model-owner}]}
    - {id: default, mode: approve, require: [{role: oncall-sre}]}
models:
  fraud-scorer:
    tier: 1
    owner: {member: U0PRIYA, escalate_to: oncall-sre}
    environments:
      prod:
        targets:                                 # versions oldest first
          route: {adapter: envoy, mode: runtime, admin: ["http://127.0.0.1:9901"], runtime_key_prefix: routing.split.fraud, versions: {"41": fraud-v41, "42": fraud-v42}}
        slis:
          error_ratio:
            source: prometheus
            query: 'sum(rate(model_predictions_total{model="fraud-scorer",code="500"}[1m])) / sum(rate(model_predictions_total{model="fraud-scorer"}[1m]))'
            requests: 'sum(increase(model_predictions_total{model="fraud-scorer"}[1m]))'
            objective: 0.01
            good: below
runbooks: runbooks/
"""
RUNBOOK = """\
# yaml-language-server: $schema=schemas/runbook.schema.json
runbook: fraud-scorer-regression
title: Fraud scorer regression
owner: payments-ml
applies_to: {models: [fraud-scorer], environments: [prod]}
checklist: ["Confirm the breach is on the new version only"]
rollback:
  to: last_good
  on_failure: before_traffic
  steps: [{target: route}]
verify:
  traffic: {max_bad_share: 0.01, within: 2m}
  recovery: {slis: [error_ratio], samples: 3, every: 10s, within: 10m, min_requests: 300}
"""
POLICY_TESTS = """\
# yaml-language-server: $schema=runbooks/schemas/policy-tests.schema.json
defaults:                                        # what every case begins with; a fact left out is unknown
  model: fraud-scorer
  environment: prod
  target_quarantined: false
cases:
  - name: In production two different people are asked
    expect: {mode: approve, rule: prod, require: [{role: oncall-sre}, {role: model-owner}]}
  - name: A person who asks needs the same two people
    facts: {by_person: true}
    expect: {mode: approve, rule: prod, require: [{role: oncall-sre}, {role: model-owner}]}
  - name: Elsewhere one person on call is enough
    facts: {environment: staging}
    expect: {mode: approve, rule: default, require: [{role: oncall-sre}]}
  - name: Nothing goes back to a quarantined version
    facts: {target_quarantined: true}
    expect: {mode: hold, rule: prod, reason: security gate}
  - name: While Lastgood only observes, people are told and nothing is moved
    bounds: {observe: true}
    expect: {mode: notify, rule: prod}
"""


def schema_texts() -> dict[str, bytes]:
    """Give the JSON Schemas as they are written, by file name."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    known = {**schemas(), "policy-tests.schema.json": tests_schema()}
    return {name: orjson.dumps(content, option=options) for name, content in known.items()}


def write_starter(folder: Path) -> list[Path]:
    """Write every file. Raises LastgoodError when one is there already; then none is written."""
    runbooks = folder / "runbooks"
    files = {
        folder / "lastgood.yaml": CONFIG.encode(),
        runbooks / "fraud-scorer-regression.yaml": RUNBOOK.encode(),
        folder / TESTS_FILE: POLICY_TESTS.encode(),
        folder / "slack-manifest.yaml": manifest(None, socket_mode=True).encode(),
        **{runbooks / "schemas" / name: text for name, text in schema_texts().items()},
    }
    there = [str(path) for path in files if path.exists()]
    if there:
        message = f"{', '.join(there)} is there already. Nothing was written."
        raise LastgoodError(message)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return list(files)
