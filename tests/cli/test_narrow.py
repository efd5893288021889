"""Tables on a terminal: whatever its width, no line is longer and no cell is cut."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from rollback.cli.show import table
from tests.cli.program import rollback
from tests.systems import Shop, build

NAME = "before-the-large-release-of-november"


def on_a_terminal(folder: Path, columns: int, *argv: str) -> list[str]:
    """What the program writes on a terminal of that width, line by line, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    known = {k: v for k, v in os.environ.items() if not k.startswith(("ROLLBACK", "COLUMNS"))}
    with subprocess.Popen(
        [sys.executable, "-c", "from rollback.cli import main; main()", *argv], cwd=folder,
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env={**known, "NO_COLOR": "1"},
    ) as child:  # fmt: skip
        os.close(theirs)
        said = b""
        while True:
            try:
                more = os.read(ours, 65536)
            except OSError:  # the last one has closed it
                break
            if not more:
                break
            said += more
        child.wait(timeout=60)
    os.close(ours)
    return said.decode().replace("\r\n", "\n").splitlines()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop with a checkpoint of a long name and a run, and 300 changed files."""
    made = build(tmp_path)
    for number in range(300):
        (made.tree / "pages" / f"page-{number:03}.html").write_text("one\n")
    with made.site() as site:
        site.checkpoints.create(NAME)
    assert rollback(made.folder, "run", "flag", "--as", "ada", "--yes").status == 0
    for number in range(300):
        (made.tree / "pages" / f"page-{number:03}.html").write_text("two\n")
    return made


@pytest.mark.parametrize("words", [["checkpoint", "list"], ["history"]])
@pytest.mark.parametrize("columns", [80, 60])
def test_no_row_is_wider_than_the_terminal(shop: Shop, words: list[str], columns: int) -> None:
    """Every word of the wide table stands whole in the narrow one."""
    wide = rollback(shop.folder, *words).out.split()
    narrow = on_a_terminal(shop.folder, columns, *words)
    assert max(map(len, narrow)) <= columns, narrow
    assert " ".join(narrow).split() == wide
    if words[0] == "checkpoint":
        assert any(NAME in line for line in narrow)


def test_a_cell_that_fits_stays_in_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those rows are folded that are too long, where the last column alone is."""
    monkeypatch.setattr("rollback.cli.show.columns", lambda: 30)
    rows = [("one", "short"), ("two", "a good deal longer than that")]
    assert table(("what", "found"), rows) == [
        "what  found", "one   short", "two", "    a good deal longer than that",
    ]  # fmt: skip
    assert table(("what", "found"), rows[:1]) == ["what  found", "one   short"]


def test_without_a_terminal_a_row_is_one_line(shop: Shop) -> None:
    """Whoever reads it by program finds what was there before."""
    listed = rollback(shop.folder, "checkpoint", "list").out.splitlines()
    assert len(listed) == 2
    assert NAME in listed[1]


@pytest.mark.long
def test_a_long_plan_keeps_its_head_in_sight_on_a_terminal(shop: Shop) -> None:
    """Some paths, how many more, and what names each; what it loses stands below, all within 24 lines."""
    short = on_a_terminal(shop.folder, 100, "plan", "pages", "--component", "pages")
    assert len(short) <= 24, short
    assert sum("~ pages/page-" in line for line in short) == 3
    (more,) = [line.split("… and ")[1] for line in short if "… and " in line]
    count, _, command = more.partition(" more: rollback ")
    assert count == "297"
    typed = command.split()
    whole = on_a_terminal(shop.folder, 100, *typed)
    assert sum("~ pages/page-" in line for line in whole) == 200
    assert any("… and 100 more" in line for line in whole)
    said = [line.strip() for line in whole[-12:]]
    assert "level 3 pages" in said, "what scrolled away is said again"
    assert any(line.startswith(f"back to {NAME}") for line in said)
    piped = rollback(shop.folder, "plan", "pages", "--component", "pages").out
    assert piped.count("~ pages/page-") == 200, "whoever reads it by program gets what there is"
    assert piped.count("level 3 pages") == 1


@pytest.mark.long
def test_that_nothing_was_due_is_said_to_somebody_and_not_to_cron(shop: Shop) -> None:
    """One line on a terminal; elsewhere none, since cron mails whatever it hears."""
    assert on_a_terminal(shop.folder, 80, "checkpoint", "due")[-1].startswith("nothing was due")
    assert rollback(shop.folder, "checkpoint", "due").out == ""


@pytest.mark.parametrize("columns", [80, 60])
def test_prose_breaks_between_words_and_what_is_typed_does_not(shop: Shop, columns: int) -> None:
    """A plan fits the terminal, but for paths and commands: these stay in one piece."""
    narrow = on_a_terminal(shop.folder, columns, "plan", "pages", "--component", "pages")
    long = [line for line in narrow if len(line) > columns]
    assert all("rollback " in line or line.lstrip()[:2] == "~ " for line in long), long
    words = " ".join(narrow).split()
    for word in (NAME, "valid:", "purpose:"):
        assert word in words
    (command,) = [line.split("more: ")[1] for line in narrow if "… and " in line]
    assert command.endswith("--all")
