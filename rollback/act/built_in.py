"""Procedures that every system has without declaring them: guard, thaw; with services, start and stop.

A service must run before its checks can be green for the first time, and nothing changes the
managed system but a run: so starting and stopping by hand are planned, journalled and resumed like
any procedure. A declared level or procedure of the same name takes the place of ours.

Hides: how they are written.
Never: needs what is not there yet: no gate, no seal, no metric of a system that does not run.
"""

from __future__ import annotations

from typing import Any

from rollback.model.level import Procedure
from rollback.model.step import SUITES
from rollback.model.system import System

GUARD = "guard"
BY_HAND = ("start", "stop")
THAW = "thaw"
EACH_S = 60  # for one service to start and be ready, or to end: what a step has by default


def written(system: System) -> dict[str, dict[str, Any]]:
    """The procedures as a declaration would write them, by id; no start or stop without services."""
    found: dict[str, dict[str, Any]] = {} if not system.services else {
        verb: {
            "title": title, "purpose": purpose,
            "steps": [{"service": {
                "id": verb, verb: [*system.services], "within": f"{EACH_S * len(system.services)}s",
            }}],
        }
        for verb, title, purpose in (
            ("start", "Start every service", "so that what is declared runs and answers"),
            ("stop", "Stop every service", "so that nothing of it runs any more"),
        )
    }  # fmt: skip
    found[GUARD] = _guard(system)
    found[THAW] = {
        "title": "Thaw what is frozen",
        "purpose": "so that what a run left frozen can be written again",
        "steps": [{"thaw": {"id": THAW, "components": [*system.components]}}],
    }
    taken = {*system.source.get("levels", {}), *system.source.get("procedures", {})}
    return {name: body for name, body in found.items() if name not in taken}


def find(system: System, name: str) -> Procedure | None:
    """The procedure of that name, if it is one of these."""
    body = written(system).get(name)
    return Procedure.model_validate(body) if body else None


def by_hand(system: System, name: str) -> bool:
    """True for ours that go nowhere and answer nothing: start, stop and thaw, unless declared anew."""
    return name != GUARD and name in written(system)


def _guard(system: System) -> dict[str, Any]:
    """A risky command with the present kept before it, and every declared suite asked after it."""
    suites = [suite for suite in SUITES if getattr(system.verification, suite)]
    return {
        "title": "Guard a risky command",
        "purpose": "so that what was there can be had again, and is proved well afterwards",
        "steps": [{"guarded": {"id": "command"}}],
        **({"gate": {"suites": suites}} if suites else {}),
        "checklist": [
            {"id": "done", "item": "The command ended well", "step": "command"},
            {"id": "looked", "item": "Somebody looked at the system as its users do",
             "attest": system.people.owner, "gates": "closing"},
        ],
    }  # fmt: skip
