"""The wheel, installed into a fresh environment, is the whole product: nothing needs the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


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
    """`rollback` of an environment that holds the wheel, and our dependencies but not our checkout."""
    home = tmp_path_factory.mktemp("home") / "env"
    venv.create(home, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # A path that a .pth file adds is not searched for .pth files: the editable install stays out.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    script = home / "bin" / "rollback"
    script.write_text(
        f"#!{home}/bin/python -I\nfrom rollback.cli import main\nmain()\n", encoding="utf-8"
    )
    script.chmod(0o755)
    return script


def test_the_wheel_carries_suites_drills_and_systems(wheel: Path) -> None:
    """Every room is in it, and neither tests nor anything of a checkout's state."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for wanted in (
        "rollback/cli/run.py", "verification/smoke/test_declared.py", "drills/demo.py",
        "systems/studio.yaml", "drills/sandboxes/studio_releases/v1/app/router.py",
    ):  # fmt: skip
        assert wanted in names
    assert not [n for n in names if n.startswith(("tests/", "reports/")) or ".rollback/" in n]


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
