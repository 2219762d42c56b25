"""The templates that senders are given: filled in as the sender would, they are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapters import loading
from tests.adapters.alerts.senders import SENDERS

PAGE = (Path(__file__).parents[2] / "docs/how-to/connect-a-sender.md").read_text(encoding="utf-8")
FILLED = {
    "ALERT_ID": "77", "AGGREG_KEY": "k1", "ALERT_TRANSITION": "Triggered", "ALERT_TYPE": "error", "PRIORITY": "P1",
    "EVENT_TITLE": "scorer fails", "TEXT_ONLY_MSG": "12 %", "DATE": "1795399680000", "LAST_UPDATED": "1795399680000",
    "TAGS": "env:prod,model:fraud-scorer,version:42", "ALERT_METRIC": "ml.errors", "ALERT_VALUE": "0.12", "ALERT_THRESHOLD": "0.01",
    "LINK": "https://dd.example.com/1", "SNAPSHOT": "null",
}  # fmt: skip


def template(heading: str) -> str:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    (found,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    return str(found)


def test_datadogs_template_is_read_when_datadog_has_filled_it_in() -> None:
    text = re.sub(r"\$([A-Z_]+)", lambda one: FILLED[one[1]], template("Datadog"))
    found = SENDERS["datadog"].read(text)
    assert (found.model, found.version, found.environment, found.value) == ("fraud-scorer", "42", "prod", 0.12)
    assert (found.fingerprint, found.flags) == ("datadog:77:k1", frozenset())


def test_argos_template_is_read_when_argo_has_filled_it_in() -> None:
    values = {
        "labels.model": "fraud-scorer",
        "labels.version": "42",
        "metadata.name": "scorer",
        "status.phase": "Degraded",
    }

    def filled(one: re.Match[str]) -> str:
        return next((value for name, value in values.items() if one[1].endswith(name)), "2026-11-23T02:08:00Z")

    found = SENDERS["argo"].read(re.sub(r"\{\{(.*?)\}\}", filled, template("Argo CD and Argo Rollouts")))
    assert (found.model, found.version, found.status) == ("fraud-scorer", "42", "firing")


@pytest.mark.parametrize("name", loading.names("alerts"))
def test_every_source_that_ships_is_on_the_page(name: str) -> None:
    assert f"`/hooks/{name}`" in PAGE
