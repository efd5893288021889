"""Bars: on a terminal with rate and remaining time, elsewhere plain lines, with --json nothing."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
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
    start = "import rollback.cli.bar as b; b.QUICK_S = b.EVERY_S = 0.0; from rollback.cli import main; main()"
    above, below = pty.openpty()
    argv = [
        sys.executable,
        "-c",
        start,
        "checkpoint",
        "create",
        "a",
    ]
    child = subprocess.Popen(argv, cwd=shop.folder, env=environment(TERM="xterm"),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=below)  # fmt: skip
    os.close(below)
    seen = b""
    while chunk := _read(above):
        seen += chunk
    os.close(above)
    assert child.wait(60) == 0
    assert child.stdout is not None
    assert b"\x1b" not in child.stdout.read()
    child.stdout.close()
    assert re.search(b"capturing pages.*MiB", seen), seen[-500:]
    assert seen.endswith(b"\r\x1b[K")
    quiet = rollback(shop.folder, "--json", "checkpoint", "verify", "a", "--deep")
    assert quiet.status == 0
    assert quiet.err == ""


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
