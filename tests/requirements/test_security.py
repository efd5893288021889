"""Security events are counted by their code."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.host import Host
from rollback.host.clock import iso
from rollback.judge.condition import Known
from rollback.judge.decision import decide
from rollback.observe.metric import read
from rollback.observe.view import View

PARTY_MODE = Path(__file__).parents[2] / "systems" / "party_mode.yaml"
TRAIL = ".claude/context/metrics/party-mode-audit.jsonl"


@pytest.mark.requirement("PM-88")
@pytest.mark.parametrize(
    ("found", "counts", "level"),
    [
        ({"SEC-PM-004": 2, "SEC-PM-006": 1}, (2, 1, 3), "flag"),
        ({"SEC-PM-004": 1}, (1, 0, 1), "flag"),
        ({"SEC-PM-006": 1}, (0, 1, 1), "flag"),
        ({"SEC-PM-001": 4, "SEC-PM-0040": 1}, (0, 0, 5), ""),
    ],
)
def test_the_two_critical_codes_are_counted_apart_and_no_other_asks_for_a_rollback(
    found: dict[str, int], counts: tuple[int, int, int], level: str, tmp_path: Path
) -> None:
    """From the audit trail; what is older than the window is left out, and so is a broken line."""
    (tmp_path / "rollback.yaml").write_bytes(PARTY_MODE.read_bytes())
    system = declare.load(tmp_path / "rollback.yaml", environ={})
    trail = system.root_path / TRAIL
    trail.parent.mkdir(parents=True)
    recent = iso(datetime.now(UTC) - timedelta(minutes=5))
    old = iso(datetime.now(UTC) - timedelta(minutes=61))
    rows = [{"at": recent, "event": "SESSION_START", "sessionId": "s", "code": "SEC-PM-004"}]
    rows += [
        {"at": recent, "event": "SECURITY_VIOLATION", "sessionId": "s", "code": code}
        for code, count in found.items() for _ in range(count)
    ]  # fmt: skip
    past = [
        {"at": old, "event": "SECURITY_VIOLATION", "sessionId": "s", "code": code}
        for code in ("SEC-PM-004", "SEC-PM-006")
    ]
    lines = (
        [json.dumps(row) for row in past]
        + ['{"event": "SECURITY_VIO']
        + [json.dumps(r) for r in rows]
    )
    trail.write_text("\n".join(lines) + "\n")
    view = View(system, Host())
    samples = {name: read(name, view) for name in ("leaks", "boundary_breaches", "violations")}
    assert (samples["leaks"].value, samples["boundary_breaches"].value) == counts[:2]
    assert samples["violations"].value == counts[2] + len(past)  # its window is four hours
    decision = decide(system, Known(samples))
    assert decision.level == level
