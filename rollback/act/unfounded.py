"""What a valid declaration names and nothing stands behind: paths, keys, suites, a day that has passed.

None of it is refused: it may come with the next release, and nobody is kept from going back by it.
It is said, since most of it is a slip of the pen that would be found out in the middle of a run.
What this machine lacks (programs, rights, room, ports) is asked by `rollback doctor`.

Hides: where each of these is looked up.
Never: changes anything; says of what could not be read that it is not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from rollback.host import Host
from rollback.host.below import why
from rollback.host.clock import iso
from rollback.judge.authority import never_enough
from rollback.model.errors import RollbackError
from rollback.model.level import Level, Procedure
from rollback.model.step import SUITES
from rollback.model.system import System

if TYPE_CHECKING:
    from rollback.declare.text import Path as Spot


@dataclass(frozen=True, slots=True)
class Warned:
    """One of them: the keys that lead to it in the file, what is so, and what to type."""

    at: Spot
    message: str
    hint: str


def unfounded(system: System, host: Host) -> tuple[Warned, ...]:
    """Every one of them, section by section."""
    return (*_review(system, host.clock.now()), *_repository(system), *_components(system),
            *_flags(system, host), *_gates(system), *_known_red(system), *_authorities(system),
            *_checks(system))  # fmt: skip


def review_is_late(system: System, now: datetime) -> bool:
    """True when the declaration should have been looked at by now."""
    return str(system.system.next_review) < iso(now)[:10]


def _review(system: System, now: datetime) -> Iterator[Warned]:
    if review_is_late(system, now):
        yield Warned(("system", "next_review"), f"{system.system.next_review} has passed",
                     "read the declaration again, then write the next day on which to do so")  # fmt: skip


def _repository(system: System) -> Iterator[Warned]:
    if system.repository is None:
        return
    path = system.root_path / system.repository.path
    at = ("repository", "path")
    if not path.is_dir():
        yield Warned(at, f"{system.repository.path} is no folder now",
                     f"correct it, or make it: git init {path}")  # fmt: skip
    elif not os.path.lexists(path / ".git") and not (path / "objects").is_dir():
        yield Warned(at, f"no git repository is in {system.repository.path} now",
                     f"correct it, or make one: git init {path}")  # fmt: skip


def _components(system: System) -> Iterator[Warned]:
    for name, one in system.components.items():
        if one.planned is None and not os.path.lexists(system.root_path / one.path):
            yield Warned(("components", name, "path"), f"{one.path} is not there now",
                         "correct it, unless it comes later")  # fmt: skip


def _flags(system: System, host: Host) -> Iterator[Warned]:
    from rollback.act.flag import declared

    def read(path: str) -> bytes | None:
        with host.tree(os.fsencode(system.root_path)) as root:
            return root.read(path) if root.stat(path) is not None else None

    for name, flag in system.flags.items():
        kind = declared(system, name)[1]
        for slot in kind.slots(flag):
            if slot.layer == "env":
                continue  # a variable that nobody has set is what the other layers are for
            place = getattr(flag, slot.layer, None) or getattr(flag.layered, slot.layer)
            at = ("flags", name, *(("layered",) if flag.layered else ()), slot.layer)
            try:
                data = read(slot.path)
                known = data is not None and slot.written(data) is not None
            except (RollbackError, OSError) as error:
                yield Warned((*at, "path"), f"{slot.path} cannot be read: {why(error)}",
                             f"look at it: ls -l {system.root_path / slot.path}")  # fmt: skip
                continue
            if data is None:
                yield Warned((*at, "path"), f"{slot.path} is not there now",
                             "correct it, unless it comes later")  # fmt: skip
            elif not known:
                yield Warned((*at, "key"), f"{place.key} is not in {slot.path}",
                             "write it as it stands there, or put it there")  # fmt: skip


def _gates(system: System) -> Iterator[Warned]:
    """Suites that a gate waits for and that ask nothing: it stays closed, and nobody is COMPLETE."""
    for section, named in (("levels", system.levels), ("procedures", system.procedures)):
        for name, level in named.items():
            silent = silent_suites(system, level)
            for at, suite in enumerate(level.gate.suites if level.gate else ()):
                if suite in silent:
                    yield Warned(
                        (section, name, "gate", "suites", at),
                        f"this gate never opens: no {suite} check is declared for it, "
                        "and no test of yours is pinned in that suite",
                        f"declare one: verification: {{{suite}: […]}}, or leave {suite} out",
                    )  # fmt: skip


def _known_red(system: System) -> Iterator[Warned]:
    """Known failures that no gate allows: each of them keeps every gate closed that asks for it."""
    gates = [one.gate for one in system.levels.values()]
    gates += [one.gate for one in system.procedures.values()]
    if any(gate is not None and gate.known_red == "allowed" for gate in gates):
        return
    for at, one in enumerate(system.verification.known_red):
        yield Warned(
            ("verification", "known_red", at), f"no gate allows known failures: {one.id} keeps it closed",
            "write known_red: allowed under the gate of a level that may be COMPLETE with it",
        )  # fmt: skip


def _authorities(system: System) -> Iterator[Warned]:
    """Levels that could never begin: their people are too few, or have no keys to sign with."""
    for section, named in (("levels", system.levels), ("procedures", system.procedures)):
        for name, level in named.items():
            if level.authority is None:
                continue  # the owner's word is enough
            message, hint = never_enough(level.authority, system.people)
            if message:
                yield Warned((section, name, "authority"), message, hint)


def _checks(system: System) -> Iterator[Warned]:
    """Checks that could not be asked here: something optional, or what they read, is not there."""
    for suite in SUITES:
        for at, check in enumerate(getattr(system.verification, suite)):
            lacking = getattr(check, "lacking", "")
            if lacking:
                yield Warned(("verification", suite, at, check.kind),
                             "this check needs an extra that is not installed",
                             f"install it: {lacking}")  # fmt: skip
            reads = getattr(check, "reads", "")
            if reads and not os.path.lexists(system.root_path / reads):
                yield Warned(("verification", suite, at, check.kind), f"{reads} is not there now",
                             "correct it, unless it comes later")  # fmt: skip


def silent_suites(system: System, level: Level | Procedure) -> tuple[str, ...]:
    """The suites that the gate waits for and that would ask nothing at it."""
    from rollback.prove.expect import expectations

    pinned = {part for one in system.verification.suites for part in PurePosixPath(one.path).parts}
    wanted = expectations(system, level)
    return tuple(
        suite for suite in wanted.suites if suite not in pinned
        and all(one.wanted == "absent" for one in wanted.of(suite).values())
    )  # fmt: skip
