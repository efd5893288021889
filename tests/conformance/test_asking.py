"""How the contracts are asked for; what is typed wrong is one line and exit status 4."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rollback import conformance
from rollback import kinds as found_by_name
from rollback.conformance.example import Example
from rollback.model.registry import Kind
from tests.conformance.examples import example
from tests.conformance.our_kinds import cases, ours
from tests.conformance.test_wrong_kinds import asked

PAGE = (Path(__file__).parents[2] / "docs" / "own-kinds.md").read_text()
MINE = '''
"""A kind of somebody's."""
from pathlib import Path
from rollback.conformance import Example
from rollback.model.finding import failed, passed
from rollback.model.registry import register
from rollback.model.step import Check


@register("check", "there")
class There(Check):
    """A file is there."""

    file: str

    def ask(self, view):
        there = (view.root / self.file).exists()
        return passed(f"{self.file} is there") if there else failed(f"{self.file} is gone")


def _made(world):
    (world.root / "x").touch()


def example(kind):
    return Example({"file": "x"}, prepare=_made, spoils={"gone": lambda w: (w.root / "x").unlink()})


class Unregistered(Check):
    """No name, no family."""


class Sub(There):
    """Another class under the name of the first."""


number = 7
give_text = lambda kind: "text"
give_nothing = lambda kind: ()
def fail(kind): raise RuntimeError("not today\\nnor tomorrow")
'''
BAD = {
    "no kind": ((), "--kind is missing: say which kind keeps the contracts"),
    "no colon": (("--kind=mine",), "--kind mine: write MODULE:CLASS, like --kind mine.checks:Uptime"),
    "no class": (("--kind=mine:",), "--kind mine:: write MODULE:CLASS"),
    "no module": (("--kind=nowhere.at_all:There",), "nowhere.at_all cannot be imported: No module"),
    "a module that raises": (("--kind=raising:There",), "raising cannot be imported: ZeroDivisionError"),
    "an unknown family": (("--kind=strange:There",), "there is no family chek; did you mean check?"),
    "no such class": (("--kind=mine:Their",), "the module mine has no Their; did you mean There?"),
    "one of ours, misspelt": (("--kind=rollback.act.actions.flag:Flag",), "has no Flag"),
    "not a class": (("--kind=mine:number",), "--kind mine:number: that is no kind"),
    "not a kind": (("--kind=pathlib:Path",), "--kind pathlib:Path: that is no kind"),
    "not registered": (("--kind=mine:Unregistered",), "belongs to no family; write @register(FAMILY, NAME)"),
    "not under its name": (("--kind=mine:Sub",), "no name of its own; write @register('check', NAME)"),
    "no example": (("--kind=bare:There",), "to try it on; write a function example(kind) in bare"),
    "one of ours without an example": (
        ("--kind=rollback.act.actions.edit:EditStep",),
        "write a function example(kind) in rollback.act.actions.edit, or name one: --example "),
    "no such example": (("--kind=mine:There", "--example=mine:none"), "the module mine has no none"),
    "an example that is text": (("--kind=mine:There", "--example=mine:give_text"), "gave str: give a "),
    "an example of nothing": (("--kind=mine:There", "--example=mine:give_nothing"), "gave nothing: give a "),
    "an example that fails": (("--kind=mine:There", "--example=mine:fail"), "Error: not today nor tomorrow"),
    "an example that is a number": (("--kind=mine:There", "--example=mine:number"), "neither a function nor"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of somebody who has our package installed, and kinds of his own."""
    return _filled(tmp_path)


def _filled(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "raising.py").write_text("1 / 0\n")
    (tmp_path / "strange.py").write_text(MINE.replace('"check", "there"', '"chek", "there"'))
    (tmp_path / "bare.py").write_text(
        MINE.replace("def example", "def other").replace('"there")', '"bare")')
    )
    return tmp_path


SAYS = """
import json, sys
import pytest
from rollback.conformance import asked
found = {}
for what, words in json.load(sys.stdin).items():
    kinds = [w.removeprefix("--kind=") for w in words if w.startswith("--kind=")]
    example = "".join(w.removeprefix("--example=") for w in words if w.startswith("--example="))
    try:
        found[what] = repr(asked.cases(kinds, example, "."))
    except pytest.UsageError as error:
        found[what] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said to each, by one process that is not this one."""
    where = _filled(tmp_path_factory.mktemp("somebody"))
    words = {what: words for what, (words, _) in BAD.items() if words}
    argv = [sys.executable, "-I", "-c", SAYS]
    done = subprocess.run(argv, cwd=where, input=json.dumps(words), capture_output=True, text=True,
                          check=False, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    said: dict[str, str] = json.loads(done.stdout)
    return said


@pytest.mark.parametrize("what", [what for what in BAD if BAD[what][0]])
def test_what_is_typed_wrong_is_told_in_one_line(refused: dict[str, str], what: str) -> None:
    """What is wrong, and what to type."""
    assert BAD[what][1] in refused[what]
    assert "\n" not in refused[what]


@pytest.mark.long
@pytest.mark.parametrize("what", ["no kind", "no module", "no example", "an unknown family"])
def test_it_ends_with_4_and_no_traceback(folder: Path, what: str) -> None:
    """No test is collected; pytest says it as it says what else is typed wrong."""
    words, says = BAD[what]
    done = asked(*words, cwd=folder)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR: ")]
    assert done.returncode == 4, done.stdout + done.stderr
    assert len(said) == 1, done.stdout + done.stderr
    assert says in said[0]
    assert "Traceback" not in done.stdout + done.stderr


def test_a_kind_of_somebodys_is_tried_from_his_own_folder(folder: Path) -> None:
    """By the example beside it; only the contracts of its family and of declarations are asked."""
    done = asked("--kind=mine:There", "-v", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    files = {
        line.partition("::")[0].rpartition("/")[2]
        for line in done.stdout.splitlines()
        if "::" in line
    }
    assert files == {"test_check.py", "test_declaration.py"}
    assert "skipped" not in done.stdout


def test_the_kinds_of_the_page_keep_their_contracts(tmp_path: Path) -> None:
    """Each pasted into the file that it names, and asked for as the page says."""
    code = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE, re.DOTALL))
    kinds = dict(
        re.findall(
            r"^pytest --pyargs rollback\.conformance --kind (\w+):(\w+)$", PAGE, re.MULTILINE
        )
    )
    assert set(code) == set(kinds) == {"lease", "closing"}
    for module, text in code.items():
        (tmp_path / f"{module}.py").write_text(text)
    done = asked("-v", *(f"--kind={module}:{name}" for module, name in kinds.items()), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_undo_brings_the_bytes_back[close] PASSED" in done.stdout
    for not_there in ("rests_on_a_person", "undo_cannot_bring_back", "skipped", "SKIPPED"):
        assert not_there not in done.stdout  # what does not apply neither passes nor is skipped


def test_the_page_says_what_there_is() -> None:
    """Every file of contracts stands in its table, and no other."""
    files = {path.name for path in Path(conformance.__path__[0]).glob("test_*.py")}
    assert set(re.findall(r"`(test_[a-z]+\.py)`", PAGE)) == files


def test_without_being_asked_it_is_not_there(folder: Path) -> None:
    """Somebody's own tests meet neither our contracts nor our imports."""
    (folder / "test_own.py").write_text(
        "import sys\n\ndef test_own():\n    ours = [n for n in sys.modules if n.startswith('rollback.')]\n"
        "    assert set(ours) <= {'rollback.conformance', 'rollback.conformance.options',"
        " 'rollback.conformance.example'}\n"
        "    assert 'pydantic' not in sys.modules\n"
    )
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_own.py"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_kind_of_ours_is_without_an_example() -> None:
    """Every file of a kind has one, and every kind of it is tried on what its example gives."""
    lacking = [f"{kind.family} {kind.kind}" for kind in ours() if not _given(kind)]
    assert lacking == [], "write them into tests/conformance/examples"
    assert {case.kind for case in cases()} == set(ours())
    files = {
        name
        for folder in found_by_name.FOLDERS.values()
        for _, name, _ in pkgutil.iter_modules(
            importlib.import_module(folder).__path__, f"{folder}."
        )
    }
    assert {kind.__module__ for kind in ours()} == files  # fmt: skip


def _given(kind: type[Kind]) -> tuple[Example, ...]:
    try:
        return example(kind)
    except LookupError:
        return ()
