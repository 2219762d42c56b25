"""What a line of the Common Event Format says."""

from __future__ import annotations

import pytest

from adapters.alerts.cef import NotCef
from bot.domain.alert import Kind, Severity
from tests.adapters.alerts.senders import BEGAN, LINE, SENDERS

SENDER = SENDERS["cef"]


def test_a_line_is_read() -> None:
    found = SENDER.read()
    assert (found.kind, found.status, found.severity) == (Kind.SECURITY, "firing", Severity.CRITICAL)
    assert (found.model, found.version, found.starts_at) == ("fraud-scorer", "42", BEGAN)
    assert found.fingerprint == "cef:Acme|Guard|burst|scorer"
    assert found.annotations == {"summary": "Odd \\| input", "msg": "twelve times more"}


def test_a_syslog_relay_may_stand_before_it() -> None:
    assert SENDER.read(f"<13>Nov 23 02:06:00 relay {LINE}").fingerprint == "cef:Acme|Guard|burst|scorer"


@pytest.mark.parametrize(
    ("grade", "severity"),
    [
        ("0", Severity.INFO),
        ("5", Severity.WARNING),
        ("8", Severity.ERROR),
        ("High", Severity.ERROR),
        ("Unknown", Severity.UNKNOWN),
    ],
)
def test_every_grade_has_a_severity(grade: str, severity: Severity) -> None:
    assert SENDER.read(f"CEF:0|A|B|1|x|y|{grade}|").severity is severity


@pytest.mark.parametrize(
    "line",
    [
        "CEF:0|A|B|1|x|y|nine",
        "CEF:0|A|B|1|x|y|11|",
        "CEF:0|A|B",
        "CEF:9|A|B|1|x|y|1|",
        f"{LINE}\n{LINE}",
        "hello",
        b"CEF:0|\xff",
    ],
)
def test_what_is_not_one_line_of_it_is_refused(line: str | bytes) -> None:
    with pytest.raises(NotCef):
        SENDER.parse(line)
