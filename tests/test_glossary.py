"""The glossary is about the program: each word is there, and the words not used are not."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rollback.cli
from rollback.model.system import System

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([a-z ]+) \| ([^|]+) \| ([^|]*`[^|]+) \|$", PAGE, re.MULTILINE)
# Words of the design that the page may not lose.
WORDS = (
    "system component checkpoint seal level step plan approval run incident journal metric sample trigger "
    "decision check finding suite gate checklist procedure record drill fault sandbox"
).split()  # fmt: skip
NOT_USED = re.compile(
    r"(?:^|_)(snapshots?|backups?|applications?|projects?|restore_points?|playbooks?|runbooks?|utils?|helpers?"
    r"|alarms?|jobs?)(?:_|$)"
)
# The one of SQLite is called that by SQLite.
ALLOWED = {("rollback/host/database.py", "backup")}


def test_every_word_of_the_design_has_a_row() -> None:
    """Nothing was dropped, nothing stands twice."""
    words = [row[0].strip() for row in ROWS]
    assert sorted(set(words)) == sorted(words)
    assert [word for word in WORDS if word not in words] == []


@pytest.mark.parametrize(("word", "where"), [(row[0].strip(), row[2]) for row in ROWS])
def test_each_word_is_where_the_page_says(word: str, where: str) -> None:
    """A name can be imported, a section and a command exist, a folder is there."""
    places = re.findall(r"(yaml:|command:|folder:)?`([^`]+)`", where)
    assert places, f"{word} is nowhere"
    for kind, name in places:
        assert _there(kind, name), f"{word}: {kind}{name} is not there"


def _there(kind: str, name: str) -> bool:
    if kind == "yaml:":
        return hasattr(System, name)
    if kind == "command:":
        return name in {module.name for module in pkgutil.iter_modules(rollback.cli.__path__)}
    if kind == "folder:":
        return (ROOT / name).is_dir()
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            fields = getattr(found, "model_fields", None) or getattr(found, "__annotations__", {})
            if not hasattr(found, part):
                return part in fields and part == parts[-1]
            found = getattr(found, part)
        return True
    return False


def test_words_that_we_do_not_use_are_not_in_the_code() -> None:
    """No module, class, function, argument or variable of the product has one of them in its name."""
    found = [
        f"{file}: {name}"
        for file, name in _names(ROOT / "rollback")
        if NOT_USED.search(_snake(name)) and (file, name) not in ALLOWED
    ]
    assert found == []


def _names(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.py")):
        file = str(path.relative_to(ROOT))
        yield file, path.stem
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield file, node.name
            elif isinstance(node, ast.arg):
                yield file, node.arg
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield file, node.id


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
