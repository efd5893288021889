"""Where a system asks for it, every way back keeps the present, proves itself, and calls somebody.

What is written down is not asked for: the journal cannot be left out.

Hides: which words of a level or procedure make it so.
Never: lets a level leave one of them out to be faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollback.declare import walk
from rollback.declare.text import Document
from rollback.model.errors import Problem

ASKED = ("guardrails", "whole_procedures")


def check(document: Document, data: dict[str, Any]) -> None:
    """A level or procedure that lacks one of them is among the document's problems."""
    if walk.at(data, ASKED) is not True:
        return
    called = bool(walk.at(data, ("guardrails", "escalate")))
    for section in ("levels", "procedures"):
        found = data.get(section)
        for name, one in found.items() if isinstance(found, dict) else ():
            if isinstance(one, dict):
                where = document.where((section, name))
                for message, hint in _lacks(one, called=called):
                    document.problems.append(Problem(where, f"{section}.{name}: {message}", hint))


def _lacks(one: dict[str, Any], *, called: bool) -> Iterator[tuple[str, str]]:
    if "checkpoint" in (one.get("waives") or ()) or one.get("emergency"):
        yield "may go on without a checkpoint of the present", "leave emergency and that waiver out"
    gate = one.get("gate")
    if not isinstance(gate, dict) or not gate.get("suites"):
        yield "proves nothing at its end", "add: gate: {suites: [smoke]}"
    on_fail = one.get("on_fail")
    onwards = on_fail if isinstance(on_fail, dict) else {}
    if not called and not onwards.get("escalate") and not onwards.get("climb"):
        yield "calls nobody when it is not enough", "add: on_fail: {escalate: LADDER}"
