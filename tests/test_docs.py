"""The documents are true: examples run, links lead somewhere, tables match the program."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

import rollback.cli
import rollback.model.errors
from drills.demo import RESTORED_BROKEN
from drills.sandboxes.studio import DECLARATION, Studio
from rollback.declare import load
from rollback.kinds import FOLDERS, load_all
from rollback.model.registry import kinds
from tests import trace

load_all()
ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
NEEDS = 42
DEMANDS = {"MB": 78, "PM": 92, "AW": 78, "QL": 67, "VR": 47, "C": 40}
DECISION_LINES_MAX = 40
DISTRIBUTIONS = {"click": "click", "pydantic": "pydantic", "PyYAML": "yaml", "pygit2": "pygit2",
                 "zstandard": "zstandard", "psutil": "psutil"}  # fmt: skip


def script(name: str) -> ModuleType:
    """A script of docs/, imported."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- the README's own example -------------------------------------------------------------------


def examples(text: str) -> list[tuple[str, list[str]]]:
    """(command, expected lines) of every `console` block, in order."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def agrees(expected: list[str], printed: list[str]) -> bool:
    """Line by line; a line `…` stands for any lines, `…` in a line for any text."""
    if not expected:
        return not printed
    if expected[0] == "…":
        return any(agrees(expected[1:], printed[n:]) for n in range(len(printed) + 1))
    if not printed:
        return False
    pattern = ".*".join(re.escape(part) for part in expected[0].split("…"))
    return re.fullmatch(pattern, printed[0]) is not None and agrees(expected[1:], printed[1:])


def test_the_ten_minutes_of_the_readme(tmp_path: Path) -> None:
    """Each command of the section ends well and prints what stands there."""
    folder = tmp_path / "tut"
    folder.mkdir()
    path = tmp_path / "bin"
    path.mkdir()
    (path / "rollback").write_text(
        f"#!{sys.executable}\nfrom rollback.cli import main\nmain()\n", encoding="utf-8"
    )
    (path / "rollback").chmod(0o755)
    environment = {"PATH": f"{path}:/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8",
                   "PYTHONPATH": str(ROOT)}  # fmt: skip
    commands = examples(README)
    assert len(commands) >= 10
    for command, expected in commands:
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=folder, env=environment, text=True, capture_output=True,
            timeout=120, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        printed = done.stdout.splitlines()
        assert agrees(expected, printed), f"$ {command}\n" + "\n".join(printed)


# -- commands, statuses, states -----------------------------------------------------------------


def known_commands() -> set[str]:
    """Every command of the program."""
    from rollback.cli.group import cli

    return set(cli.list_commands(None))


def test_every_command_is_in_the_readme_and_every_one_in_it_exists() -> None:
    """A planned command that was built moves from the one list to the other."""
    section = README[README.index("## Commands") : README.index("### Exit status")]
    told = set(re.findall(r"`rollback ([a-z-]+)", section))
    assert told == known_commands()
    planned = set(re.findall(r"`([a-z-]+)`", section[section.index("not built yet") :]))
    assert planned & known_commands() == set()


def test_commands_in_all_pages_exist() -> None:
    """`rollback X` names a command, built or planned."""
    section = README[README.index("not built yet") : README.index("### Exit status")]
    known = known_commands() | set(re.findall(r"`([a-z-]+)`", section))
    for page in PAGES:
        for name in re.findall(r"`rollback ([a-z]+(?:-[a-z]+)*)", page.read_text(encoding="utf-8")):
            assert name in known, f"{page.name}: rollback {name}"


def test_the_readme_names_every_level_and_every_bad_release_of_the_demo() -> None:
    """Those that it names exist, and none is left out but the one that `make demo` ships."""
    start = README.index("Other levels, by id or rank")
    section = README[start : README.index("## Your own system")]
    told = set(re.findall(r"`(?:rollback demo )?(?:--level |--fault )?([a-z0-9-]+)`", section))
    levels = set(load(DECLARATION).levels)
    assert told == levels | set(Studio.FAULTS) - {"errors-5xx"} | {RESTORED_BROKEN}


def test_every_error_stands_beside_its_exit_status() -> None:
    """The page and the classes agree, and the README has the same statuses."""
    page = (ROOT / "docs" / "exit-status.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]*)\|$", page, re.MULTILINE)
    told = {name: int(status) for status, names in rows for name in re.findall(r"`(\w+)`", names)}
    classes = {
        name: found.exit_status
        for name, found in vars(rollback.model.errors).items()
        if inspect.isclass(found) and issubclass(found, rollback.model.errors.RollbackError)
    }
    assert told == classes
    section = README[README.index("### Exit status") :]
    assert [int(s) for s in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == [
        int(status) for status, _ in rows
    ]


def test_the_page_of_the_life_of_a_run_is_printed_from_the_table() -> None:
    """It is printed again with: python docs/print_life.py > docs/life-of-a-run.md."""
    page = (ROOT / "docs" / "life-of-a-run.md").read_text(encoding="utf-8")
    assert page == script("print_life").page()


def test_the_timeline_is_what_the_script_draws() -> None:
    """Drawn from a report: well-formed, readable on light and dark, nothing made up."""
    report = {
        "system": "s", "title": "<b>", "run_id": "r1", "state": "COMPLETE",
        "timeline": [{"at": "2026-01-01T00:00:00.000000Z", "event": "run.planned"},
                     {"at": "2026-01-01T00:00:02.000000Z", "event": "run.mitigated"}],
        "phases": [{"phase": "steps", "took_s": 2.0}, {"phase": "prove", "took_s": 3.0}],
        "suites": {"smoke": {"duration_s": 1.5}},
        "clocks": {"mitigated": {"took_s": 2.0, "budget_s": 60.0},
                   "complete": {"took_s": 5.0, "budget_s": None}},
    }  # fmt: skip
    draw = script("draw_timeline")
    assert draw.bars(report) == [
        ("steps", 0.0, 2.0, "bar"), ("suite smoke", 2.0, 3.5, "proof"), ("second witness", 3.5, 5.0, "proof"),
    ]  # fmt: skip
    for text in (draw.draw(report), (ROOT / "docs" / "timeline.svg").read_text(encoding="utf-8")):
        assert ET.fromstring(text).tag.endswith("svg")
        assert "prefers-color-scheme: dark" in text


# -- pages among themselves ---------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    """Relative links only; each names something in the repository."""
    for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def needs() -> list[tuple[int, str, str, str]]:
    """Number, need, what meets it and what is missing, of every row of docs/needs.md."""
    page = (ROOT / "docs" / "needs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    return [(int(number), need, met, missing) for number, need, met, missing in rows]


def planned_kinds() -> set[str]:
    """What docs/planned.md lists, which a test of the declared systems keeps true."""
    page = (ROOT / "docs" / "planned.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))


def test_every_need_is_answered_by_files_that_exist() -> None:
    """42 rows; each names a file or says what is to be built."""
    rows = needs()
    assert [row[0] for row in rows] == list(range(1, NEEDS + 1))
    for number, need, met, missing in rows:
        assert met != "-" or missing != "-", f"need {number}, {need}, is nowhere"
        assert met == "-" or re.search(r"`rollback/[a-z_/]+\.py`", met), f"need {number}: by what?"
    page = (ROOT / "docs" / "needs.md").read_text(encoding="utf-8")
    for file in re.findall(r"`(rollback/[a-z_/]+\.py)`", page):
        assert (ROOT / file).is_file(), f"needs.md names {file}"


def test_the_needs_call_planned_what_is_planned_and_nothing_else() -> None:
    """Each planned kind of the declared systems stands in a row that needs it; none other does."""
    called: set[str] = set()
    for number, _need, met, missing in needs():
        assert "planned" not in met.lower(), f"need {number} is met by what is planned"
        after = missing.partition("planned")[2].partition(";")[0]
        called |= set(re.findall(r"`([a-z-]+)`", after))
    assert called == planned_kinds()


def test_what_is_still_to_build_is_not_there_yet() -> None:
    """No command that exists, no file, no kind that is registered, unless it is planned elsewhere.

    A word may be a kind of one family and planned in another: `memory` is a check, and no metric yet.
    """
    registered = {kind for family in FOLDERS for kind in kinds(family)}
    for number, _need, _met, missing in needs():
        commands = set(re.findall(r"`rollback ([a-z-]+)", missing))
        assert not commands & known_commands(), f"need {number}: {commands} is built"
        assert ".py" not in missing, f"need {number}: what is missing has no file"
        named = set(re.findall(r"`([a-z-]+)`", missing)) - planned_kinds()
        assert not named & registered, f"need {number}: {named & registered} is built"


@pytest.mark.parametrize("family", ["action", "check", "metric", "notifier", "service", "flag"])
def test_every_kind_that_is_built_meets_a_need(family: str) -> None:
    """Its file stands in the column of what meets one: the page cannot fall behind."""
    folder = FOLDERS[family].replace(".", "/")
    files = {f"{folder}/{path.name}" for path in (ROOT / folder).glob("[!_]*.py")}
    met = " ".join(row[2] for row in needs())
    assert {file for file in files if f"`{file}`" not in met} == set()


def test_the_demands_are_all_there() -> None:
    """362 of five systems, 40 conflicts, numbered without gaps; no test names another."""
    found = list(trace.demands())
    for family, count in DEMANDS.items():
        mine = [one for one in found if one.startswith(f"{family}-")]
        assert mine == [f"{family}-{number:02}" for number in range(1, count + 1)]
    assert trace.trace().strangers == ()


def test_marks_are_found_on_functions_classes_and_modules() -> None:
    """What `make trace` reads; a mark in a comment or a string is none."""
    source = """
import pytest
pytestmark = [pytest.mark.requirement("MB-01")]
# pytest.mark.requirement("MB-02")
@pytest.mark.requirement("MB-03", "MB-04")
class TestA:
    @pytest.mark.requirement("MB-05")
    def test_b(self): "pytest.mark.requirement('MB-06')"
def test_c(): ...
def not_a_test(): ...
"""
    assert list(trace.marks(source)) == [
        ("TestA.test_b", "MB-01"), ("TestA.test_b", "MB-03"), ("TestA.test_b", "MB-04"),
        ("TestA.test_b", "MB-05"), ("test_c", "MB-01"),
    ]  # fmt: skip


def test_trace_answers_in_json() -> None:
    """`python -m tests.trace --json` is one document with every demand."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.trace", "--json"], cwd=ROOT, text=True, capture_output=True,
        timeout=60, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["demands"]) == sum(DEMANDS.values())


# -- decisions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "decisions").glob("0*.md")), ids=lambda p: p.stem
)
def test_a_decision_is_short_and_says_how_it_could_be_wrong(page: Path) -> None:
    """Four parts, at most 40 lines, listed on the index."""
    text = page.read_text(encoding="utf-8")
    heads = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert heads == ["Context", "Decision", "Consequences", "How we would notice that it was wrong"]
    assert len(text.splitlines()) <= DECISION_LINES_MAX
    assert f"({page.name})" in (page.parent / "README.md").read_text(encoding="utf-8")


def test_each_library_of_the_decision_is_used_where_it_says() -> None:
    """The table of decision 0009 and the imports of the product agree."""
    page = next((ROOT / "docs" / "decisions").glob("0009*")).read_text(encoding="utf-8")
    told = set(re.findall(r"^\| (\w+)", page, re.MULTILINE)) - {"library"}
    assert told == set(DISTRIBUTIONS)
    imported = set()
    for path in (ROOT / "rollback").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += (
                [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            )
            imported |= {name.partition(".")[0] for name in names}
    assert set(DISTRIBUTIONS.values()) <= imported


def test_the_example_kind_of_contributing_works() -> None:
    """Pasted into a file, it registers, is read from a declaration, and answers."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    code = re.search(r"    # rollback/observe/checks/uptime.py\n((?:    .*\n|\n)+)", page)
    assert code is not None
    plain = "\n".join(line[4:] for line in code[1].splitlines())
    program = f"""
from rollback.host import Host
from rollback.model.finding import Finding, failed, passed
from rollback.model.quantity import Seconds
from rollback.model.registry import read_item, register
from rollback.model.step import Check
from rollback.observe.view import View
{plain}
class Eye:
    host = Host()
check = read_item("check", {{"uptime": {{"id": "rested", "at_least": "1ms"}}}})
print(check.ask(Eye()).answer)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "pass", done.stderr


def test_rooms_in_the_documents_are_the_rooms() -> None:
    """CONTRIBUTING names every folder of the product."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = {m.name for m in pkgutil.iter_modules([str(ROOT / "rollback")]) if m.ispkg}
    told = set(re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE))
    assert told == rooms
