"""The unit of systemd that is shipped: it starts a command that there is, and systemd takes it."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rollback.cli.group import cli
from rollback.cli.monitor import command
from rollback.watch.unit import unit
from tests.cli.program import rollback
from tests.systems import build

VERIFY = shutil.which("systemd-analyze")
PROGRAM = Path(sys.executable).with_name("rollback")


def started(text: str) -> list[str]:
    """The words of ExecStart."""
    (found,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    return shlex.split(found)


def test_it_names_real_options_of_a_real_command(tmp_path: Path) -> None:
    """As `monitor --unit` prints it: what it starts is what this program takes."""
    shop = build(tmp_path)
    ended = rollback(tmp_path, "monitor", "--unit", "--listen", "9099")
    assert ended.status == 0
    program, *words = started(ended.out)
    assert Path(program).is_absolute()
    assert words == ["--system", str(shop.folder / "rollback.yaml"), "monitor", "--listen", "9099"]
    own = {name for one in cli.params for name in one.opts}
    assert words[0] in own
    assert {word for word in words[3:] if word.startswith("-")} <= {
        name for one in command.params for name in one.opts
    }
    context = click.Context(command)
    command.parse_args(context, words[3:])
    assert context.params["listen"] == "9099"
    stops = re.findall(r"^RestartPreventExitStatus=(.*)$", ended.out, re.MULTILINE)
    assert stops == ["2 5"]


@pytest.mark.skipif(VERIFY is None, reason="no systemd-analyze: apt-get install systemd")
@pytest.mark.parametrize("folder", ["shop", "my shop", "50% off", "qu'ote", "dollar $HOME", "büro"])
def test_systemd_takes_it_whatever_the_folder_is_called(tmp_path: Path, folder: str) -> None:
    """No warning, and nothing that it does not know."""
    where = tmp_path / folder
    where.mkdir()
    file = tmp_path / "rollback-shop.service"
    file.write_text(
        unit(program=PROGRAM, system=where / "rollback.yaml", name="shop", title="50% Shop\n")
    )
    done = subprocess.run(
        [str(VERIFY), "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if "rollback-shop" in line]
    assert (done.returncode, said) == (0, [])
