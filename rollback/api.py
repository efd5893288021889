"""The package as a library: go back, ask whether all is well, ask whether going back is allowed.

Each function asks the program itself, in a process of its own, and reads the one JSON document that
it prints: what a script is told is what an operator is told, and a caller that dies takes no run
with it half way.

Hides: the command line.
Never: says yes where the program did not; repeats what the program decides.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from rollback.host.processes import base_environment, run
from rollback.model.errors import RollbackError

_HOUR_S = 3600.0
_WEEK_S = 168 * _HOUR_S  # longer than any declared wait of one level; epoll counts to 24 days
_SUCCESS, _NOT_YET, _NOT_WELL, _NEEDS_PERSON = 0, 4, 7, 9
_OUTCOMES = (_SUCCESS, _NOT_YET, 6, _NOT_WELL, _NEEDS_PERSON)  # the others are errors


class Failed(RollbackError):
    """The program could not do what was asked; `status` is its exit status, `kind` the error's name."""

    def __init__(self, error: dict[str, Any], status: int) -> None:
        super().__init__(str(error.get("message", "")), where=str(error.get("where") or ""),
                         hint=str(error.get("hint") or ""))  # fmt: skip
        self.kind = str(error.get("kind", ""))
        self.status = status


class RolledBack(NamedTuple):
    """`success` is COMPLETE and nothing else: the suites proved it.

    `log` is the report of the run, `checkpoint` the file of the checkpoint of what was there before
    it; None where the run made none.
    """

    success: bool
    log: Path | None
    checkpoint: Path | None


def execute_rollback(
    level: str | int = "fast", auto_confirm: bool = True, *, system: str | Path = "",
    state: str | Path = "", to: str = "", component: str = "", reason: str = "", person: str = "",
    timeout_s: float = _WEEK_S,
) -> RolledBack:  # fmt: skip
    """The system is as it was, and proved so, or it is not; (success, log, checkpoint).

    `level` is an id or a rank, `auto_confirm` the operator's own yes, which stands in for nobody else's:
    a run that waits for an approval is no success yet. Where nothing had to be taken back, success is
    False and both paths are None: nothing was proved. After `timeout_s` seconds this stops waiting;
    what was begun is taken up by `rollback resume`.
    Raises: Failed for what cannot be done at all, TimeoutError.
    """
    words = ["run", *(["--yes"] if auto_confirm else [])]
    for name, value in (("to", to), ("component", component), ("reason", reason), ("as", person)):
        words += [f"--{name}={value}"] if value else []
    found, status = _asked(
        [*words, "--", str(level)], system=system, state=state, timeout_s=timeout_s
    )
    report = Path(found["report"]) if found.get("report") else None
    kept = None
    if found.get("safety") and report is not None:
        file = report.parents[2] / "store" / "checkpoints" / f"{found['safety']}.json"
        kept = file if file.exists() else None
    proved = status == _SUCCESS and found.get("state") == "COMPLETE"
    return RolledBack(proved, report if report and report.exists() else None, kept)


def verify_rollback_success(
    *suites: str, system: str | Path = "", state: str | Path = "", level: str = "",
    timeout_s: float = _HOUR_S,
) -> tuple[bool, dict[str, Any]]:  # fmt: skip
    """Whether the suites (all that are declared, where none is named) prove that all is well, and why.

    The details are the document of `rollback verify --json`: counts, seconds and reasons by suite.
    Raises: Failed, TimeoutError.
    """
    words = ["verify", *suites, *([f"--level={level}"] if level else [])]
    found, status = _asked(words, system=system, state=state, timeout_s=timeout_s)
    return status == _SUCCESS and found.get("verified") is True, found


def check_safety(
    level: str | int = "fast", *, system: str | Path = "", state: str | Path = "",
    timeout_s: float = _HOUR_S,
) -> tuple[bool, str]:  # fmt: skip
    """Whether the level could be run right now, and what stands in its way; "OK" where nothing does.

    What `rollback ready` asks: target, guardrails, people, gate. Raises: Failed, TimeoutError.
    """
    found, _ = _asked(["ready"], system=system, state=state, timeout_s=timeout_s)
    for one in found["levels"]:
        if str(level) in (str(one["level"]), str(one["rank"])):
            red = [f"{row['what']}: {row['evidence']}" for row in one["rows"]
                   if row["needed"] and row["answer"] != "pass"]  # fmt: skip
            return (
                (True, "OK") if one["ready"] and not red else (False, "; ".join(red) or "not ready")
            )
    known = ", ".join(str(one["level"]) for one in found["levels"])
    raise Failed({"kind": "PlanError", "message": f"there is no level {level!r}",
                  "hint": f"levels: {known}"}, 3)  # fmt: skip


def _asked(
    words: list[str], *, system: str | Path, state: str | Path, timeout_s: float
) -> tuple[dict[str, Any], int]:
    """The document that the program printed, and its exit status."""
    argv = [sys.executable, "-I", "-m", "rollback", "--json"]
    argv += [f"--system={system}"] if system else []
    argv += [f"--state={state}"] if state else []
    done = run([*argv, *words], cwd=os.getcwd(), timeout_s=min(timeout_s, _WEEK_S),
               environment={**base_environment(), **os.environ})  # fmt: skip
    if done.timed_out:
        raise TimeoutError(f"rollback {words[0]} did not end within {timeout_s:g} s")
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.decode("utf-8", "replace").strip()[-300:]
        found = {"error": {"kind": "bug", "message": said or "the program said nothing"}}
    if "error" in found or done.status not in _OUTCOMES:
        raise Failed(found.get("error") or {"message": str(found)}, done.status)
    return found, done.status
