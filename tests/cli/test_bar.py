"""Bars: on a terminal with rate and remaining time, elsewhere plain lines, with --json nothing."""

from __future__ import annotations

import io
import os
import pty
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from rollback.cli.bar import Bar
from tests.cli.program import rollback
from tests.systems import build, environment


class Screen(io.StringIO):
    """Somewhere to draw."""

    def isatty(self) -> bool:
        return True


def drawn(stream: io.StringIO, steps: list[tuple[float, int]], *, quiet: bool = False) -> str:
    """What a bar wrote while work of 100 packs stood there at these seconds."""
    now = [0.0]
    bar = Bar(stream=stream, seconds=lambda: now[0], quiet=quiet)
    for at_s, done in steps:
        now[0] = at_s
        bar("freeing", done, 100, "packs")
    bar.clear()
    return stream.getvalue()


SLOW = [(0.0, 0), (0.5, 5), (1.0, 10), (1.05, 11), (5.0, 50), (12.0, 99), (12.5, 100)]


def test_nothing_is_shown_of_quick_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second, on a terminal and elsewhere."""
    monkeypatch.setenv("TERM", "xterm")
    assert drawn(Screen(), [(0.0, 0), (0.9, 100)]) == ""
    assert drawn(io.StringIO(), [(0.0, 0), (0.9, 100)]) == ""


def test_on_a_terminal_one_line_is_drawn_over_and_taken_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With rate and remaining time; not more often than the eye can follow."""
    monkeypatch.setenv("TERM", "xterm")
    said = drawn(Screen(), SLOW)
    frames = said.split("\r\x1b[K")
    assert frames[0] == ""
    assert frames[-1] == ""
    assert len(frames) == 6
    assert frames[1] == "freeing  ██░░░░░░░░░░░░░░░░░░  10 %  10 of 100 packs  10 packs/s  9 s left"
    assert "\n" not in said


def test_other_work_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal nothing stands there that is over, however soon the next one came."""
    monkeypatch.setenv("TERM", "xterm")
    screen, now = Screen(), [0.0]
    bar = Bar(stream=screen, seconds=lambda: now[0])
    for now[0], what in ((0.0, "a"), (2.0, "a"), (2.001, "b"), (2.002, "c")):
        bar(what, 1, 2, "checks")
    assert [frame.split("  ")[0] for frame in screen.getvalue().split("\r\x1b[K")[1:]] == [
        "a",
        "b",
        "c",
    ]


def test_elsewhere_plain_lines_and_few_of_them() -> None:
    """No escape codes; every ten seconds, and the last one."""
    said = drawn(io.StringIO(), SLOW)
    assert said.splitlines() == [
        "freeing  10 %  10 of 100 packs  10 packs/s  9 s left",
        "freeing  99 %  99 of 100 packs  8.25 packs/s  0.12 s left",
    ]


def test_quiet_says_nothing_and_a_closed_stream_stops_nothing() -> None:
    """`--json`, and a terminal that went away."""
    assert drawn(io.StringIO(), SLOW, quiet=True) == ""
    gone = io.StringIO()
    bar = Bar(stream=gone, seconds=iter([0.0, 2.0, 4.0, 20.0]).__next__)
    bar("x", 1, None, "packs")
    gone.close()
    bar("x", 2, None, "packs")
    bar.clear()


def test_a_long_capture_is_seen_on_a_terminal_and_not_with_json(tmp_path: Path) -> None:
    """The program itself, in a terminal of its own, where nothing counts as quick."""
    shop = build(tmp_path)
    (shop.tree / "pages/large").write_bytes(os.urandom(6 * 2**20))
    quick = "import rollback.cli.bar as b; b.QUICK_S = b.EVERY_S = 0.0; "
    out, seen = on_a_terminal(shop.folder, quick, "checkpoint", "create", "a")
    assert b"\x1b" not in out
    assert re.search(b"capturing pages.*MiB", seen), seen[-500:]
    assert seen.endswith(b"\r\x1b[K")
    quiet = rollback(shop.folder, "--json", "checkpoint", "verify", "a", "--deep")
    assert quiet.status == 0
    assert quiet.err == ""


@pytest.mark.parametrize("words", [("plan", "state"), ("--json", "plan", "state")])
def test_who_waits_for_a_locked_database_is_told_for_what_and_how_long(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """On a terminal, while it lasts; with --json nothing; and the plan is the one without a terminal."""
    shop = build(tmp_path)
    shop.edit("components:\n", "components:\n  orders: {path: orders.db, content: sqlite}\n")
    shop.edit("levels:\n", LEVEL)
    with closing(sqlite3.connect(shop.tree / "orders.db")) as db:
        db.execute("create table orders (id integer primary key)")
    with shop.site() as site:
        site.checkpoints.create("good")
    with closing(sqlite3.connect(shop.tree / "orders.db")) as db:
        db.execute("insert into orders values (1)")
        db.commit()
        db.execute("begin exclusive")
        out, seen = on_a_terminal(shop.folder, BRIEF, *words)
        elsewhere, _ = on_a_terminal(shop.folder, BRIEF, *words, terminal=False)
    assert b"cannot be copied: database is locked" in out
    assert [line for line in out.splitlines() if b"orders" in line] == [
        line for line in elsewhere.splitlines() if b"orders" in line
    ]
    told = re.search(rb"waiting: orders is locked .* of 3 s  . s left", seen)
    assert bool(told) is ("--json" not in words), seen


LEVEL = """levels:
  state:
    rank: 9
    title: Orders back
    budgets: {mitigated: 1m, complete: 5m}
    data_loss: orders
    authority: {roles: [op], alone: true}
    target: {sources: [{checkpoint: good}]}
    steps: [{restore: {component: orders}}]
    gate: {suites: [smoke]}
"""
BRIEF = "import rollback.keep.contents.sqlite as s; s.DRAIN_S = 3.0; "


def on_a_terminal(
    folder: Path, before: str, *words: str, terminal: bool = True
) -> tuple[bytes, bytes]:
    """What the program wrote to standard output, and to the terminal that is its standard error."""
    above, below = pty.openpty()
    start = f"{before}from rollback.cli import main; main()"
    child = subprocess.Popen([sys.executable, "-c", start, *words], cwd=folder,
                             env=environment(TERM="xterm"), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE,
                             stderr=below if terminal else subprocess.DEVNULL)  # fmt: skip
    os.close(below)
    seen = b""
    while chunk := _read(above):
        seen += chunk
    os.close(above)
    assert child.stdout is not None
    with child.stdout:
        out = child.stdout.read()
    assert child.wait(60) == 0
    return out, seen


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
