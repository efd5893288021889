"""A standby that could never be used, or would take away what must stay, is refused by name and line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollback.model.errors import Problem
from rollback.model.system import System

Problems = Callable[..., tuple[Problem, ...]]
DATA = "  data: {path: data/shop.db, content: sqlite, depends_on: [code]}\n"
AUDIT = "  audit: {path: logs/audit.jsonl, content: append-only}\n"


@pytest.mark.parametrize(("old", "new", "said"), [
    (DATA, DATA.replace("sqlite", "sqlite, restore: standby"), "is sqlite: only folders"),
    ("{path: app, content: git}", "{path: app, content: git, restore: standby}", "is git"),
    (AUDIT, AUDIT.replace("append-only", "append-only, restore: standby"), "is append-only"),
    (AUDIT, AUDIT + "  all: {path: logs, content: files, exclude: [audit.jsonl], restore: standby}\n",
     "holds component 'audit', which is only ever added to"),
    (AUDIT, AUDIT + "  all: {path: data, content: files, exclude: [shop.db], restore: standby}\n",
     "holds component 'data'"),
    (DATA, DATA + "  all: {path: x, content: files, exclude: ['*.log'], restore: standby}\n",
     "excludes '*.log'"),
    (DATA, DATA + "  all: {path: x, content: files, paths: [one], restore: standby}\n",
     "is not all that its folder holds"),
])  # fmt: skip
def test_what_no_swap_may_take_along_has_no_standby(
    base: str, problems: Problems, old: str, new: str, said: str
) -> None:
    """With the line of the word `restore`, and what to write instead."""
    assert old in base
    written = base.replace(old, new)
    found = [one for one in problems(written) if said in one.message]
    (problem,) = found
    line = next(n for n, text in enumerate(written.splitlines(), 1) if "standby" in text)
    assert problem.where.endswith(f":{line}")
    assert problem.hint


def test_a_component_that_holds_the_declaration_has_no_standby(
    base: str, problems: Problems
) -> None:
    """A swap would take the declaration in use away."""
    written = base.replace("root: shop", "root: .").replace(
        "  audit:", "  all: {path: ., content: files, exclude: [app, data, logs, .rollback], "
        "restore: standby}\n  audit:")  # fmt: skip
    assert any("holds the declaration" in one.message for one in problems(written))


def test_a_folder_of_files_may_have_one(
    base: str, problems: Problems, declare: Callable[[str], System]
) -> None:
    """Whole, with nothing of anybody else's in it."""
    found = declare(base.replace(DATA, DATA + "  all: {path: x, restore: standby}\n"))
    assert found.components["all"].restore == "standby"
