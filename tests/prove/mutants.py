"""Every condition of a module changed, one at a time: which of them would nobody notice?

    python -m tests.prove.mutants      (`make mutants`: all of the gate's decision, and the count)

A condition that is negated, a comparison that is turned round or moved by its edge, `and` for `or`, `any`
for `all`, a loop over nothing: each makes one mutant of the whole module.

Hides: how a mutant is made and loaded.
Never: writes a mutant to disk, or lets one stay.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
}  # fmt: skip
_MOVED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
}  # fmt: skip
_ASKS = {"any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One changed condition: where it stands, and what it became."""

    line: int
    was: str
    now: str
    module: ModuleType

    def __str__(self) -> str:
        return f"line {self.line}: {self.was}  ->  {self.now}"


def mutants(module: ModuleType) -> Iterator[Mutant]:
    """Each mutant of the module, loaded beside it; the module itself stays as it is."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    for number in range(sum(1 for _ in _changes(tree))):
        changed = copy.deepcopy(tree)
        line, was, change = list(_changes(changed))[number]
        now = change()
        yield Mutant(line, was, now, _loaded(module, ast.fix_missing_locations(changed)))


def survivors(module: ModuleType, holds: Callable[[ModuleType], bool]) -> tuple[int, list[str]]:
    """How many mutants there are, and those of which `holds` notices nothing."""
    assert holds(module), f"{module.__name__} itself does not hold"
    count, found = 0, []
    for mutant in mutants(module):
        count += 1
        try:
            noticed = not holds(mutant.module)
        except Exception:  # noqa: BLE001 - a mutant that does not even run is noticed
            noticed = True
        if not noticed:
            found.append(f"{module.__name__} {mutant}")
    return count, found


def _loaded(module: ModuleType, tree: ast.Module) -> ModuleType:
    made = ModuleType(module.__name__)
    made.__file__ = module.__file__
    exec(compile(tree, f"mutant of {module.__name__}", "exec"), made.__dict__)
    return made


Change = Callable[[], str]


def _changes(tree: ast.Module) -> Iterator[tuple[int, str, Change]]:
    """What can be changed in the functions of a module, in one order: line, what it was, how."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                for was, change in _of(node):
                    yield getattr(node, "lineno", function.lineno), was, change


def _of(node: ast.AST) -> Iterator[tuple[str, Change]]:
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield ast.unparse(node.test), lambda: _negate(node, "test")
    if isinstance(node, ast.comprehension):
        for index, one in enumerate(node.ifs):
            yield ast.unparse(one), lambda index=index: _negate_at(node.ifs, index)
    if isinstance(node, ast.BoolOp):
        for index, one in enumerate(node.values):
            yield ast.unparse(one), lambda index=index: _negate_at(node.values, index)
        yield ast.unparse(node), lambda: _swap(node)
    if isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            for table in (_TURNED, _MOVED):
                if type(op) in table:
                    yield (
                        ast.unparse(node),
                        lambda index=index, table=table: _turn(node, index, table),
                    )
    if isinstance(node, ast.For):
        yield f"for … in {ast.unparse(node.iter)}", lambda: _over_nothing(node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _ASKS:
        yield ast.unparse(node), lambda: _ask_otherwise(node)


def _negate(node: ast.If | ast.IfExp | ast.While, field: str) -> str:
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return ast.unparse(node.test)


def _negate_at(values: list[ast.expr], index: int) -> str:
    values[index] = ast.UnaryOp(ast.Not(), values[index])
    return ast.unparse(values[index])


def _swap(node: ast.BoolOp) -> str:
    node.op = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    return ast.unparse(node)


def _turn(node: ast.Compare, index: int, table: dict[type[ast.cmpop], type[ast.cmpop]]) -> str:
    node.ops[index] = table[type(node.ops[index])]()
    return ast.unparse(node)


def _over_nothing(node: ast.For) -> str:
    node.iter = ast.Tuple([], ast.Load())
    return "for … in ()"


def _ask_otherwise(node: ast.Call) -> str:
    assert isinstance(node.func, ast.Name)
    node.func.id = _ASKS[node.func.id]
    return ast.unparse(node)


def main() -> int:
    """Every mutant of the gate's decision, and the count; the status is 1 when one survives."""
    from tests.prove.test_mutants import ALL, held

    every, left = 0, []
    for module in ALL:
        with held(module) as holds:
            count, found = survivors(module, holds)
        print(f"{module.__name__}: {count - len(found)} of {count} mutants killed")
        every, left = every + count, [*left, *found]
    print(f"{every - len(left)} of {every} mutants killed")
    for one in left:
        print(f"  survived: {one}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
