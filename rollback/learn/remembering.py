"""A failure is remembered: in the journal, in the declared file, and as work when it comes again.

The journal is the memory. The file is written from it for other programs, each failure one line, and
whatever else stands in it is left alone; what a kill kept from it comes with the next failure.

Hides: how the file is brought up to the journal.
Never: forgets, or changes what was remembered.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rollback.act.site import Site
from rollback.act.tasks import open_task
from rollback.host import Tree
from rollback.host.below import checked
from rollback.keep.failures import REMEMBERED, Failure, alike, failure_of, failures_of
from rollback.keep.outside import place
from rollback.model.errors import PlanError, RollbackError, UsageError
from rollback.model.finding import Json
from rollback.model.operations import Pattern
from rollback.model.quantity import counted
from rollback.model.registry import nearest
from rollback.tell.message import render

LOCK = "memory.lock"
PATTERN = "pattern"


@dataclass(frozen=True, slots=True)
class Remembered:
    """A failure in the memory; `before` are those of its pattern, oldest first.

    `pattern` is what the declaration knows of it; `opened` the task that it opened; `unwritten` why
    the file does not hold it yet.
    """

    failure: Failure
    before: tuple[Failure, ...]
    pattern: Pattern | None
    opened: str = ""
    unwritten: str = ""

    def as_json(self) -> dict[str, Json]:
        """With what the pattern says of remedy and prevention."""
        known = self.pattern
        return {
            **self.failure.as_json(), "known_pattern": known is not None, "times": len(self.before) + 1,
            "before": [one.as_json() for one in self.before],
            "remedy": list[Json](known.remedy) if known else [],
            "pattern_prevention": list[Json](known.prevention) if known else [],
            "opened": self.opened, "unwritten": self.unwritten,
        }  # fmt: skip


def remember(site: Site, pattern: str, said: Mapping[str, str], *, by: str) -> Remembered:
    """The failure is in the journal for good, and in the file of the memory if that can be written.

    The one that makes `systemic_after` failures alike opens the declared task; no later one opens it
    again. Raises: PlanError when no memory is declared; UsageError for a field that it does not have.
    """
    memory = site.system.memory
    _declared(site)
    known = {PATTERN: pattern.strip(), **said}
    for name, text in known.items():
        if name not in memory.fields:
            raise UsageError(f"a failure has no field {name}", hint=nearest(name, memory.fields))
        if not text.strip():
            raise UsageError(f"{name} is empty", hint=f"write {name}=… or leave it out")
    failure = failure_of(site.tell(REMEMBERED, known=dict[str, Json](known), by=by))
    same = alike(failures_of(site.journal.events()), failure, memory.similar_by)
    of_it = alike(failures_of(site.journal.events()), failure, (PATTERN,))
    before = tuple(one for one in of_it if one.hash != failure.hash)
    opened = _systemic(site, failure, len(same))
    try:
        _write(site)
        unwritten = ""
    except (RollbackError, OSError) as error:
        unwritten = str(error)
    return Remembered(failure, before, site.system.patterns.get(known[PATTERN]), opened, unwritten)


def recall(site: Site, pattern: str = "") -> tuple[Failure, ...]:
    """Every failure that is remembered, or those of one pattern, oldest first. Raises: PlanError."""
    _declared(site)
    found = failures_of(site.journal.events())
    if not pattern:
        return found
    like = Failure("", "", "", {PATTERN: pattern})
    return alike(found, like, (PATTERN,))


def _declared(site: Site) -> None:
    if not site.system.memory.fields:
        raise PlanError(
            "no memory of failures is declared",
            hint="declare it: memory: {path: memory/failures.jsonl, fields: [pattern, root_cause]}",
        )


def _systemic(site: Site, failure: Failure, times: int) -> str:
    """The task that this repetition opened; "" when none is due, or it was opened before."""
    memory = site.system.memory
    if memory.systemic_after is None or memory.systemic_task is None:
        return ""
    key = json.dumps([failure.known.get(name, "").strip().casefold() for name in memory.similar_by])
    step = f"memory {key}"
    opened = any(event.kind == "task.opened" and event.data.get("step") == step
                 for event in site.journal.events())  # fmt: skip
    if times < memory.systemic_after or opened:
        return ""
    task = site.system.follow_ups.tasks[memory.systemic_task]
    title, _ = render(task.title, failure.known)
    why = f"{failure.known[PATTERN]} was remembered {counted(times, 'time')}"
    open_task(site, memory.systemic_task, step=step, title=title, because=why)
    return title


def _write(site: Site) -> None:
    """Every failure of the journal is a line of the file. Raises: RollbackError, OSError."""
    memory = site.system.memory
    if memory.path is None:
        return
    with (
        site.state.tree.lock(LOCK, clock=site.host.clock),
        _folder(site) as tree,
    ):
        name = checked(memory.path)
        if above := os.path.dirname(name):
            tree.make_folder(above, mode=0o755, parents=True)
        held = tree.read(name) if tree.stat(name) is not None else b""
        there = set(_hashes(held))
        lines = [json.dumps(one.as_json(), ensure_ascii=False).encode() + b"\n"
                 for one in failures_of(site.journal.events()) if one.hash not in there]  # fmt: skip
        torn = b"\n" if held and not held.endswith(b"\n") else b""
        tree.append(name, torn + b"".join(lines), mode=0o644)


@contextmanager
def _folder(site: Site) -> Iterator[Tree]:
    named = site.system.memory.place
    if named is not None:
        with place(site.system, site.host, named, "write", make=True) as tree:
            yield tree
        return
    with site.host.tree(str(site.system.root_path)) as tree:
        yield tree


def _hashes(held: bytes) -> Iterator[str]:
    for line in held.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue  # not ours, or torn
        if isinstance(found, dict):
            yield str(found.get("hash"))
