"""`make trace`: which demand of docs/demands.md is shown by which test, and which only declared.

    python -m tests.trace [--json] [--missing]

Reads the source of tests and drills (never runs them) and the text of systems/*.yaml.
Hides: how markers and ids are written.
Never: counts a demand as shown because somebody declared it.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMANDS = "docs/demands.md"
TESTS = ("tests", "drills", "verification", "benchmarks")
_ROW = re.compile(r"^\| ([A-Z]{1,2}-[0-9]{2}) \| (.+) \|$")
_ID = re.compile(r"\b([A-Z]{1,2})-([0-9]{2})(?:\.\.(?:([A-Z]{1,2})-)?([0-9]{2}))?")


@dataclass
class Demand:
    """One demand: what it says, the tests that show it, the declarations that name it."""

    id: str
    text: str
    tests: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)

    @property
    def standing(self) -> str:
        """shown, declared or open."""
        return "shown" if self.tests else "declared" if self.declared else "open"


@dataclass(frozen=True)
class Trace:
    """All demands by id, and marks that name no demand."""

    demands: dict[str, Demand]
    strangers: tuple[str, ...]


def demands(root: Path = ROOT) -> dict[str, Demand]:
    """Every demand, in the order of the page."""
    found: dict[str, Demand] = {}
    for line in (root / DEMANDS).read_text(encoding="utf-8").splitlines():
        row = _ROW.match(line)
        if row:
            assert row[1] not in found, f"{row[1]} stands twice in {DEMANDS}"
            found[row[1]] = Demand(row[1], row[2])
    return found


def marks(source: str) -> Iterator[tuple[str, str]]:
    """Each (test, id) of a Python file: marks of a function, its class, and the whole module."""

    def visit(
        body: list[ast.stmt], outer: tuple[str, ...], prefix: str
    ) -> Iterator[tuple[str, str]]:
        everywhere = outer + tuple(i for node in body for i in _module_ids(node))
        for node in body:
            if isinstance(node, ast.ClassDef):
                mine = everywhere + tuple(_ids(node.decorator_list))
                yield from visit(node.body, mine, f"{prefix}{node.name}.")
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if node.name.startswith("test"):
                    for one in dict.fromkeys((*everywhere, *_ids(node.decorator_list))):
                        yield prefix + node.name, one

    yield from visit(ast.parse(source).body, (), "")


def _module_ids(node: ast.stmt) -> Iterator[str]:
    """The ids of `pytestmark = …`."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in targets):
            values = (
                node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
            )
            yield from _ids(values)


def _ids(nodes: list[ast.expr]) -> Iterator[str]:
    """The arguments of every `requirement(…)` in these expressions, parametrised ones included."""
    for top in nodes:
        for node in ast.walk(top):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "requirement"
            ):
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        yield argument.value


def named(text: str) -> Iterator[str]:
    """Every id in a text; `PM-17..19` is three of them.

    >>> list(named("PM-17..19, AW-02"))
    ['PM-17', 'PM-18', 'PM-19', 'AW-02']
    """
    for family, first, _, last in _ID.findall(text):
        for number in range(int(first), int(last or first) + 1):
            yield f"{family}-{number:02}"


def trace(root: Path = ROOT) -> Trace:
    """Every demand with its tests and declarations."""
    found = demands(root)
    strangers: list[str] = []
    for folder in TESTS:
        for file in sorted((root / folder).rglob("*.py")):
            place = str(file.relative_to(root))
            for test, one in marks(file.read_text(encoding="utf-8")):
                if one in found:
                    found[one].tests.append(f"{place}::{test}")
                else:
                    strangers.append(f"{place}::{test}: there is no demand {one}")
    for file in sorted((root / "systems").glob("*.yaml")):
        for one in dict.fromkeys(named(file.read_text(encoding="utf-8"))):
            if one in found:
                found[one].declared.append(file.name)
    return Trace(found, tuple(strangers))


def lines(traced: Trace, *, missing: bool) -> list[str]:
    """For people: one line per demand, and the sums."""
    said = []
    for one in traced.demands.values():
        if missing and one.tests:
            continue
        by = one.tests or [f"({', '.join(one.declared)})" if one.declared else "-"]
        said.append(f"{one.id}  {one.standing:<8}  {one.text}")
        said += [f"                   {test}" for test in by if test != "-"]
    said += list(traced.strangers)
    said.append(_sum("demands", [d for d in traced.demands.values() if not d.id.startswith("C-")]))
    said.append(_sum("conflicts", [d for d in traced.demands.values() if d.id.startswith("C-")]))
    return said


def _sum(what: str, found: list[Demand]) -> str:
    counts = {
        word: sum(d.standing == word for d in found) for word in ("shown", "declared", "open")
    }
    return (
        f"{counts['shown']} of {len(found)} {what} are shown by tests, {counts['declared']} are "
        f"declared and not shown, {counts['open']} are neither"
    )


def main(argv: list[str]) -> int:
    """Exit 0, or 2 when a test names a demand that does not exist."""
    traced = trace()
    if "--json" in argv:
        body = {
            "demands": [
                {"id": d.id, "text": d.text, "standing": d.standing, "tests": d.tests,
                 "declared": d.declared} for d in traced.demands.values()
            ],
            "strangers": list(traced.strangers),
        }  # fmt: skip
        print(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        print("\n".join(lines(traced, missing="--missing" in argv)))
    return 2 if traced.strangers else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
