"""Several targets fit: somebody at a terminal is asked, everybody else is told what to type."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.program import Ended, rollback
from tests.systems import Shop, build, environment, walk

START = "from rollback.cli import main; main()"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with three checkpoints of one phase, after a bad change."""
    made = build(tmp_path)
    with made.site() as site:
        for number in (1, 2, 3):
            (made.tree / "config" / "app.yaml").write_text(f"party: true\nlimit: {number}\n")
            site.checkpoints.create(f"nightly-{number}")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def at_terminal(shop: Shop, answers: str, *argv: str) -> Ended:
    """The program has run with a terminal that these lines were typed into."""
    above, below = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", START, *argv], cwd=shop.folder, stdin=below,
        stdout=subprocess.PIPE, stderr=below, env=environment(TERM="dumb", NO_COLOR="1"),
    )  # fmt: skip
    os.close(below)
    os.write(above, answers.encode())
    seen = b""
    while chunk := _read(above):
        seen += chunk
    os.close(above)
    assert child.stdout is not None
    out = child.stdout.read().decode()
    child.stdout.close()
    said = seen.decode().replace("\r\n", "\n")
    assert "Traceback" not in said, said
    return Ended(child.wait(60), out, said)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""


def test_without_a_terminal_each_is_listed_with_what_names_it(shop: Shop) -> None:
    """Date, size, and the words to type, which then do it; nothing was changed."""
    before = walk(shop.tree)
    done = rollback(shop.folder, "run", "config", "--to", "phase:nightly", "--yes", "--as", "ada")
    assert done.status == 3
    lines = [line.split() for line in done.err.splitlines()]
    assert "fits 3" in done.err
    listed = [line for line in lines if line and line[0].startswith("20")]
    assert [line[1] for line in listed] == ["nightly-3", "nightly-2", "nightly-1"]
    assert all(line[2].isdigit() and line[3] == "B" for line in listed)
    assert walk(shop.tree) == before
    to = listed[2][listed[2].index("--to") :]
    done = rollback(
        shop.folder, "run", "config", *shlex.split(" ".join(to)), "--yes", "--as", "ada"
    )
    assert "limit: 1" in (shop.tree / "config" / "app.yaml").read_text(), done.err


def test_json_holds_all_of_them(shop: Shop) -> None:
    """With size and validity, whatever the terminal."""
    done = rollback(shop.folder, "--json", "plan", "config", "--to", "phase:nightly")
    assert done.status == 3
    found = done.json["error"]
    assert found["kind"] == "SeveralFit"
    assert [one["label"] for one in found["candidates"]] == ["nightly-3", "nightly-2", "nightly-1"]
    assert all(one["valid"] and one["size_bytes"] and one["to"] for one in found["candidates"])


def test_somebody_at_a_terminal_chooses_by_number(shop: Shop) -> None:
    """The plan is that of the chosen one."""
    done = at_terminal(shop, "2\n", "plan", "config", "--to", "phase:nightly")
    assert done.status == 0, done.err
    assert "1)" in done.err
    assert "which?" in done.err
    assert "back to nightly-2" in done.out
    done = at_terminal(
        shop, "3\n", "run", "config", "--to", "phase:nightly", "--yes", "--as", "ada"
    )
    assert "limit: 1" in (shop.tree / "config" / "app.yaml").read_text(), done.err


@pytest.mark.parametrize("typed", ["\n", "0\n", "4\n", "yes\n", "-1\n", "1 2\n", "\x04"])
def test_without_a_number_none_is_taken(typed: str, shop: Shop) -> None:
    """Neither the first, nor the nearest; the declared status, nothing changed, no run begun."""
    before = walk(shop.tree)
    done = at_terminal(
        shop, typed, "run", "config", "--to", "phase:nightly", "--yes", "--as", "ada"
    )
    assert done.status == (130 if typed == "\x04" else 3)
    assert walk(shop.tree) == before
    assert rollback(shop.folder, "history").out.count("r0001") == 0


def test_a_long_list_says_how_many_more_there_are(shop: Shop) -> None:
    """Eight in the text, and a way to see all; all of them in JSON, each with its size."""
    with shop.site() as site:
        for number in range(8):
            site.checkpoints.create(f"more-{number}")
    out = rollback(shop.folder, "plan", "config", "--to", "newest").out
    assert sum(line.split()[2].startswith(("more-", "nightly-")) for line in out.splitlines()
               if len(line.split()) > 3 and line.split()[1] == "checkpoint") == 8  # fmt: skip
    assert "and 3 more: add --json to see all of them" in out
    found = rollback(shop.folder, "--json", "plan", "config", "--to", "newest").json["candidates"]
    assert len(found) == 11
    assert all(one["size_bytes"] for one in found)


def test_a_target_that_turns_out_unusable_names_the_next_and_does_not_take_it(shop: Shop) -> None:
    """The run is taken back; run and report say what to type; typed, it goes back."""
    shop.edit("    authority: {roles: [op], alone: true}\n    target: {sources: [{checkpoint: last-good}]}\n"
              "    steps: [{restore: {component: config}}]",
              "    authority: {roles: [op], alone: false}\n    target: {sources: [{checkpoint: last-good}]}\n"
              "    steps: [{restore: {component: config}}]")  # fmt: skip
    begun = rollback(shop.folder, "--json", "run", "config", "--as", "bo")
    assert begun.json["state"] == "WAITING", begun.out + begun.err
    taken = begun.json["target"]["id"]
    gone = rollback(
        shop.folder, "checkpoint", "revoke", taken[:12], "--reason", "spoilt", "--as", "ada"
    )
    assert gone.status == 0, gone.err
    before = walk(shop.tree)
    done = rollback(shop.folder, "approve", begun.json["run_id"], "--as", "ada")
    assert done.status == 6, done.out + done.err
    assert walk(shop.tree) == before
    (said,) = [line for line in done.out.splitlines() if "the next target would be" in line]
    assert "nightly-2" in said
    report = (shop.folder / ".rollback" / "runs" / begun.json["run_id"] / "report.md").read_text()
    typed = shlex.split(said.split("rollback ", 1)[1])
    assert f"--to {typed[typed.index('--to') + 1]}" in report
    done = rollback(shop.folder, *typed, "--as", "bo")
    done = rollback(shop.folder, "approve", "last", "--as", "ada")
    assert "limit: 2" in (shop.tree / "config" / "app.yaml").read_text(), done.out + done.err
