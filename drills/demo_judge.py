"""What `rollback demo --json` owes whoever reads it, judged from outside: by files, locks and commands.

Hides: how a studio that the demo left is looked at.
Never: believes the demo's own word where a second way to know it exists.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from drills.faults.watchdog import holders

KEYS = {"run_id", "state", "level", "mitigated_s", "complete_s", "suites", "report", "system"}
SUITES = ("smoke", "functional", "integration", "performance")
WITHIN_S = 60.0


def complete(
    body: Mapping[str, Any], *, level: str, rank: int, program: Sequence[str]
) -> list[str]:
    """What is wrong with the answer of a demo that ended well; nothing, if nothing is.

    `program` starts `rollback`. Whatever the answer says is looked up where it happened.
    """
    return [*_form(body), *_wrong(body, level, rank), *_left_behind(body, program, "COMPLETE")]


def stopped(body: Mapping[str, Any], *, program: Sequence[str]) -> list[str]:
    """What is wrong with the answer of a demo whose gate stayed closed."""
    wrong = _form(body)
    if wrong:
        return wrong
    if body["state"] != "NEEDS_OPERATOR" or body["complete_s"] is not None:
        wrong.append(f"state {body['state']}, complete after {body['complete_s']} s")
    if body["mitigated_s"] is None:
        wrong.append("it was not even mitigated")
    if all(found["open"] for found in body["suites"].values()):
        wrong.append("every suite is open, and yet it is not complete")
    if not body["reason"]:
        wrong.append("no reason is given")
    return [*wrong, *_left_behind(body, program, "NEEDS_OPERATOR")]


def _form(body: Mapping[str, Any]) -> list[str]:
    missing = sorted(KEYS - set(body))
    return [f"the answer lacks {', '.join(missing)}: {body}"] if missing else []


def _wrong(body: Mapping[str, Any], level: str, rank: int) -> Iterator[str]:
    if (body["state"], body["level"], body["rank"]) != ("COMPLETE", level, rank):
        yield f"{body['state']} at {body['level']}, rank {body['rank']}: {body['reason']}"
        return
    mitigated, done = body["mitigated_s"], body["complete_s"]
    if not 0 < mitigated < done:
        yield f"mitigated after {mitigated} s, complete after {done} s"
    if mitigated > body["mitigated_budget_s"] or done > body["complete_budget_s"]:
        yield "a budget was exceeded"
    if tuple(body["suites"]) != SUITES:
        yield f"suites: {', '.join(body['suites'])}"
    for name, found in body["suites"].items():
        if not found["open"] or found["passed"] < 1 or found["failed"] or found["skipped"]:
            yield f"suite {name}: {found}"


def _left_behind(body: Mapping[str, Any], program: Sequence[str], state: str) -> Iterator[str]:
    """The files it names are there and agree, and nothing of it runs any more."""
    system = Path(body["system"])
    report = Path(body["report"])
    if not system.is_file() or not report.is_file() or system.parent not in report.parents:
        yield f"{system} and {report} are not both there"
        return
    text = report.read_text(encoding="utf-8")
    if state not in text or body["run_id"] not in text:
        yield f"the report does not say {state} of {body['run_id']}"
    for lock in sorted(system.parent.glob("*/run/*.lock")):
        if found := holders(lock):
            yield f"{lock.name} is still held by {found}"
    whole = asked(program, system, "audit", "verify")
    if whole.get("whole") is not True:
        yield f"the journal: {whole}"
    told = [(run["run_id"], run["state"]) for run in asked(program, system, "history")["runs"]]
    if told != [(body["run_id"], state)]:
        yield f"the journal says {told}"


def asked(program: Sequence[str], system: Path, *words: str) -> dict[str, Any]:
    """What `rollback --json` says of the system that the demo left."""
    done = subprocess.run(
        [*program, "--system", str(system), "--json", *words], capture_output=True, check=False,
        timeout=WITHIN_S, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    found = json.loads(done.stdout)
    return found if isinstance(found, dict) else {"answer": found}
