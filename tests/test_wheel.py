"""The wheel, installed into a fresh environment, is the whole product: nothing needs the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import uv

import rollback
from drills import demo_judge

ROOT = Path(__file__).resolve().parents[1]
TRIED = """
from rollback.conformance import Example


def example(kind):
    return Example(
        {"file": "conf/app.yaml", "key": "limit", "value": 2},
        sections={"components": {"conf": {"path": "conf", "content": "files"}}},
        prepare=_written,
    )


def _written(world):
    (world.root / "conf").mkdir()
    (world.root / "conf" / "app.yaml").write_text("limit: 1  # so far\\n")
    with world.scene().checkpoints as kept:
        return {"safety": kept.create("safety").id}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    argv = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(ROOT),
    ]
    done = subprocess.run(argv, capture_output=True, check=False, env=_environment())
    assert done.returncode == 0, done.stdout.decode()[-2000:] + done.stderr.decode()[-2000:]
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`rollback` as an installer put it there, into an environment that has our dependencies beside it."""
    home = tmp_path_factory.mktemp("home") / "env"
    venv.create(home, with_pip=False, symlinks=True)
    argv = [uv.find_uv_bin(), "pip", "install", "--offline", "--no-index", "--no-deps", "--no-cache",
            "--no-config", "--python", str(home / "bin" / "python"), str(wheel)]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, check=False, env=_environment())
    assert done.returncode == 0, done.stderr.decode()
    # A path that a .pth file adds is not searched for .pth files: the editable install stays out.
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return home / "bin" / "rollback"


def test_the_wheel_carries_suites_drills_and_systems(wheel: Path) -> None:
    """Every room is in it, and neither tests nor anything of a checkout's state."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for wanted in (
        "rollback/cli/run.py", "verification/smoke/test_declared.py", "drills/demo.py",
        "rollback/conformance/test_action.py", "systems/studio.yaml",
        "drills/sandboxes/studio_releases/v1/app/router.py",
    ):  # fmt: skip
        assert wanted in names
    assert not [n for n in names if n.startswith(("tests/", "reports/")) or ".rollback/" in n]
    assert not [n for n in names if n.startswith("rollback/conformance/") and n.count("/") > 2]


def test_installed_in_an_empty_folder_the_first_gate_opens(program: Path, tmp_path: Path) -> None:
    """init, validate, checkpoint with its seal, damage, run: COMPLETE, with nothing but the wheel."""
    (tmp_path / "settings.json").write_text('{"limit": 10}\n', encoding="utf-8")
    assert _told(program, tmp_path, "init")[0] == 0
    assert _told(program, tmp_path, "validate")[0] == 0
    status, made = _told(program, tmp_path, "checkpoint", "create", "first", "--seal")
    assert status == 0, made
    (tmp_path / "settings.json").write_text('{"limit": 0}\n', encoding="utf-8")
    status, ended = _told(program, tmp_path, "run", "1", "--yes")
    assert (status, ended["state"]) == (0, "COMPLETE"), ended
    assert (tmp_path / "settings.json").read_text(encoding="utf-8") == '{"limit": 10}\n'
    status, whole = _told(program, tmp_path, "audit", "verify")
    assert (status, whole["whole"]) == (0, True)


def test_what_was_installed_is_what_runs(program: Path, tmp_path: Path) -> None:
    """The program is the declared entry point; every room comes from the environment, none from here."""
    python = program.with_name("python")
    asked = ("import json, rollback, verification, drills, importlib.metadata as m\n"
             "script, = m.entry_points(group='console_scripts', name='rollback')\n"
             "rooms = [r.__path__[0] for r in (rollback, verification, drills)]\n"
             "print(json.dumps([script.value, script.dist.version, *rooms]))")  # fmt: skip
    done = subprocess.run([str(python), "-I", "-c", asked], capture_output=True, check=True, cwd=tmp_path,
                          env=_environment())  # fmt: skip
    value, version, *rooms = json.loads(done.stdout)
    home = program.parents[1]
    assert value == "rollback.cli:main"
    assert version == rollback.VERSION
    assert all(home in Path(room).parents for room in rooms), rooms
    assert program.read_bytes().startswith(b"#!")


def test_installed_the_contracts_are_asked_of_anybodys_kind(program: Path, tmp_path: Path) -> None:
    """In an empty folder: by the example beside the kind, by a named one, and in a line without any."""
    page = (ROOT / "docs" / "own-kinds.md").read_text(encoding="utf-8")
    (kind,) = re.findall(r"```python\n# closing\.py\n(.*?)```", page, re.DOTALL)
    (tmp_path / "closing.py").write_text(kind, encoding="utf-8")
    (tmp_path / "tried.py").write_text(TRIED, encoding="utf-8")
    edit = "--kind=rollback.act.actions.edit:EditStep"
    for words in (["--kind=closing:Close"], [edit, "--example=tried:example"]):
        status, said = _contracts(program, tmp_path, *words)
        assert status == 0, said
        assert " passed" in said
        assert " skipped" not in said
    status, said = _contracts(program, tmp_path, edit)
    assert status == 4
    (line,) = filter(None, said.splitlines())
    assert "EditStep: nothing says what to try it on; write a function example(kind)" in line


@pytest.mark.timeout(300)
@pytest.mark.long
def test_installed_in_an_empty_folder_the_demo_ends_complete(program: Path, tmp_path: Path) -> None:
    """A studio boots, goes bad, and is rolled back and proved, with nothing but the wheel."""
    status, ended = _told(program, tmp_path, "demo", "--level", "flag")
    assert status == 0, ended
    (made,) = tmp_path.iterdir()
    assert ended["system"] == str(made / "rollback.yaml")
    assert demo_judge.complete(ended, level="flag", rank=1, program=[str(program)]) == []


def _contracts(program: Path, cwd: Path, *words: str) -> tuple[int, str]:
    """The exit status of `pytest --pyargs rollback.conformance WORDS`, and all that it says."""
    argv = [str(program.with_name("python")), "-m", "pytest", "-p", "no:cacheprovider", "-q", "--pyargs",
            "rollback.conformance", *words]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, check=False, cwd=cwd, env=_environment())
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def _told(program: Path, cwd: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [str(program), "--json", *arguments],
        cwd=cwd,
        capture_output=True,
        check=False,
        env=_environment(),
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
