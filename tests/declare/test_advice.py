"""What a declaration lacks is said as what to type: the keys by name, and which of them are too many."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rollback as product
from rollback.declare.shape import LOOK_IT_UP, advice
from tests.cli.program import rollback
from tests.systems import build

CODE = Path(product.__file__).parent


@pytest.mark.parametrize(
    ("text", "written", "said"),
    [
        ("write one of: file, link", {}, ("write one of: file, link", "write one of these, like file: …")),
        ("write one of: file, link", {"file": 1, "link": 2, "id": 3},
         ("write one of: file, link", "file and link are there: leave all but one out")),
        ("write one of: set: VALUE, unset: true", {"set": 1, "unset": True},
         ("write one of: set: VALUE, unset: true", "set and unset are there: leave all but one out")),
        ("a source is one of: checkpoint, git, phase, archive", {"git": "x", "phase": "y"},
         ("a source is one of: checkpoint, git, phase, archive",
          "git and phase are there: leave all but one out")),
        ("a response is one of: hold, observe", {"because": "x"},
         ("a response is one of: hold, observe", "write one of these, like hold: …")),
        ("what nobody confirms is taken back: leave on_fail out", {},
         ("what nobody confirms is taken back", "leave on_fail out")),
        ("'x' is not a size; write it with a unit, like 64 MiB", None,
         ("'x' is not a size", "write it with a unit, like 64 MiB")),
        ("something else is wrong", {}, ("something else is wrong", LOOK_IT_UP)),
    ],
)  # fmt: skip
def test_advice_names_what_to_type(text: str, written: object, said: tuple[str, str]) -> None:
    """From the text of the rule, and from what is written there."""
    assert advice(text, written) == said


def raised() -> list[tuple[str, str]]:
    """Where a rule of a declared part refuses, with its text; what is filled in stands as x."""
    found = []
    for file in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            rule = isinstance(node, ast.FunctionDef) and any(
                "_validator" in ast.unparse(one) for one in node.decorator_list
            )
            for one in ast.walk(node) if rule else ():
                if (
                    isinstance(one, ast.Call)
                    and ast.unparse(one.func) == "ValueError"
                    and isinstance(one.args[0], (ast.Constant, ast.JoinedStr))
                ):
                    place = f"{file.relative_to(CODE)}:{one.lineno}"
                    found.append((place, plain(one.args[0])))
    return found


def plain(text: ast.expr) -> str:
    """The words of a literal."""
    if isinstance(text, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "x" for part in text.values
        )
    assert isinstance(text, ast.Constant)
    return str(text.value)


def test_every_rule_of_ours_says_what_to_type() -> None:
    """No refusal sends its reader to the schema, where one sentence would do."""
    rules = raised()
    assert len(rules) > 50
    silent = [(place, text) for place, text in rules if advice(text, {})[1] == LOOK_IT_UP]
    assert silent == []


@pytest.mark.parametrize(
    ("section", "written", "like"),
    [
        ("levels", "{restore: {component: config}, id: back}", "- restore: {"),
        ("verification", "{files: {id: a, exists: [x]}, title: b}", "- http: {"),
    ],
)
def test_a_kind_with_something_beside_it_is_shown_one_of_its_own_family(
    tmp_path: Path, section: str, written: str, like: str
) -> None:
    """A step is shown a step, a check a check."""
    shop = build(tmp_path)
    old = {"levels": "steps: [{restore: {component: config}}]", "verification": "  smoke:\n"}[
        section
    ]
    new = {"levels": f"steps: [{written}]", "verification": f"  smoke:\n    - {written}\n"}[section]
    shop.edit(old, new)
    done = rollback(shop.folder, "validate")
    assert done.status == 2
    assert f"like this: {like}" in done.err
