"""What every check owes, whatever it looks at: it only looks, and never says yes without having seen it.

Hides: how the machine is made to fail.
Never: knows a kind.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rollback.conformance.asked import Case
from rollback.conformance.fixtures import owes
from rollback.conformance.world import World
from rollback.host import Host, Tap, Tree
from rollback.model.finding import Answer
from rollback.observe.check import ask

FAMILY = "check"
T = TypeVar("T")


def everything_below(root: Path) -> str:
    """The digest of every byte, mode and time."""
    state = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        found = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        state.update(repr((str(path), found.st_mode, found.st_mtime_ns, content)).encode())
    return state.hexdigest()


class _Counted(Tap):
    """How often something was changed through the host."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        """The result of `do()`, counted."""
        self.calls.append(call)
        return do()


class _Failing(Host):
    """A machine of which every folder fails to open; it writes down that it was asked."""

    def __init__(self, asked: list[str]) -> None:
        super().__init__()
        object.__setattr__(self, "asked", asked)

    def tree(self, path: str | bytes) -> Tree:
        """Never: the disk does not answer."""
        asked: list[str] = getattr(self, "asked")  # noqa: B009 - set on a frozen class
        asked.append(str(path))
        raise OSError(5, "Input/output error", str(path))

    plain_tree = tree


def test_its_example_breaks_its_subject(case: Case) -> None:
    """A check that is never seen red proves nothing: the example has `spoils`."""
    owes(
        case.example.spoils,
        "the example has no spoils: give at least one way to break what it looks at",
    )


def test_in_a_living_world_it_passes_and_changes_nothing(case: Case, world: World) -> None:
    """The example passes with evidence, and every byte, mode and time below the root stays."""
    before = everything_below(world.root)
    finding = ask(case.made(world), world.view())
    owes(
        everything_below(world.root) == before,
        "asking changes something below the root: a check only looks",
    )
    owes(
        finding.answer is Answer.PASS,
        f"its example is well, and it says {finding.answer}: {finding.evidence}",
    )
    owes(_line(finding.evidence), f"its evidence is no line for people: {finding.evidence!r}")


def test_when_its_subject_is_broken_it_says_no(case: Case, world: World, spoil: str) -> None:
    """FAIL with the reason, for each way in which the example breaks it."""
    check: Any = case.made(world)
    was = ask(check, world.view())
    case.example.spoils[spoil](world)
    finding = ask(check, world.view())
    owes(finding.answer is Answer.FAIL,
         f"{spoil}: it says {finding.answer} ({finding.evidence}), and has to say fail")  # fmt: skip
    owes(_line(finding.evidence) and finding.evidence != was.evidence,
         f"{spoil}: its evidence does not say what is wrong: {finding.evidence!r}")  # fmt: skip


def test_in_a_dead_world_it_never_passes(case: Case, world: World) -> None:
    """With no root, no service and nobody on the port, the answer is no or unknown, and says why."""
    check = case.made(world)
    world.ends.close()
    world.end_services()
    shutil.rmtree(world.root)
    finding = ask(check, world.view())
    owes(finding.answer is not Answer.PASS,
         f"there is nothing left to look at, and it says pass: {finding.evidence}")  # fmt: skip
    owes(finding.evidence, "it does not say why")


def test_an_error_of_the_machine_is_never_a_yes(case: Case, world: World) -> None:
    """When every folder fails to open and it tried to open one, the answer is not PASS."""
    check, asked = case.made(world), list[str]()
    finding = ask(check, world.view(_Failing(asked)))
    owes(finding.answer is not Answer.PASS or not asked,
         f"the disk failed it {len(asked)} times, and it says pass: {finding.evidence}")  # fmt: skip


def _line(evidence: str) -> bool:
    return bool(evidence.strip()) and "\n" not in evidence
