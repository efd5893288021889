"""The journal: nine ways to tamper with it, every way to tear it, and two who write at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from rollback.host import Host
from rollback.host.tap import Tap
from rollback.keep import journal as journal_
from rollback.keep.journal import EVENTS, LINE_BYTES_MAX, Journal
from rollback.model.errors import JournalCorrupt, JournalError
from rollback.model.event import GENESIS, parse
from tests.systems import environment

COUNT = 6


@contextmanager
def opened(folder: Path, *, anchor: bool = True, host: Host | None = None) -> Iterator[Journal]:
    """A journal in this folder, anchored beside it."""
    folder.mkdir(exist_ok=True)
    host = host or Host()
    place = folder.parent / "anchor" / "a.jsonl" if anchor else None
    journal = Journal(host.tree(str(folder)), host, anchor=place)
    try:
        yield journal
    finally:
        journal.close()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Six events, anchored after the third and the last."""
    with opened(tmp_path / "journal") as journal:
        for number in range(1, COUNT + 1):
            journal.append("run.noted", run="r0001", data={"number": number})
            if number in (3, COUNT):
                journal.anchor()
    return tmp_path / "journal" / "events.jsonl"


Tamper = Callable[[list[bytes], int], list[bytes]]


def _rechained(lines: list[bytes], start: int = 0) -> list[bytes]:
    done, previous = lines[:start], GENESIS if not start else parse(lines[start - 1].strip()).hash
    for seq, line in enumerate(lines[start:], start=start + 1):
        event = parse(line.strip())
        made = replace(event, seq=seq, previous=previous).sealed()
        done.append(made.line())
        previous = made.hash
    return done


def edit(lines: list[bytes], at: int) -> list[bytes]:
    return [
        line.replace(b'"number":', b'"numbed":') if i == at else line
        for i, line in enumerate(lines)
    ]


def insert(lines: list[bytes], at: int) -> list[bytes]:
    event = parse(lines[at].strip())
    return [*lines[:at], replace(event, data={"number": 99}).sealed().line(), *lines[at:]]


def delete(lines: list[bytes], at: int) -> list[bytes]:
    return lines[:at] + lines[at + 1 :]


def reorder(lines: list[bytes], at: int) -> list[bytes]:
    other = at + 1 if at + 1 < len(lines) else at - 1
    swapped = list(lines)
    swapped[at], swapped[other] = swapped[other], swapped[at]
    return swapped


def duplicate(lines: list[bytes], at: int) -> list[bytes]:
    return [*lines[: at + 1], lines[at], *lines[at + 1 :]]


def truncate(lines: list[bytes], at: int) -> list[bytes]:
    return lines[:at]


def older_copy(lines: list[bytes], at: int) -> list[bytes]:
    return lines[: min(at, 4)]


def fork(lines: list[bytes], at: int) -> list[bytes]:
    event = parse(lines[at].strip())
    return [*lines[:at], replace(event, data={"number": 99}).sealed().line()]


def rechain(lines: list[bytes], at: int) -> list[bytes]:
    event = parse(lines[at].strip())
    changed = replace(event, data={"number": 99}).sealed().line()
    return _rechained([*lines[:at], changed, *lines[at + 1 :]], at)


TAMPERINGS: list[Tamper] = [
    edit, insert, delete, reorder, duplicate, truncate, older_copy, fork, rechain,
]  # fmt: skip
BY_CHAIN = {"edit": 0, "insert": 1, "reorder": 0, "duplicate": 1}


@pytest.mark.parametrize("at", range(COUNT))
@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda one: one.__name__)
def test_a_tampered_journal_is_found_out(tamper: Tamper, at: int, written: Path) -> None:
    """By its chain, or by its anchor; and the first bad event is named."""
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(tamper(lines, at)))
    with opened(written.parent) as journal, pytest.raises(JournalCorrupt) as caught:
        journal.verify()
    if tamper.__name__ in BY_CHAIN:
        expected = at + 1 + BY_CHAIN[tamper.__name__]
        if tamper is reorder and at + 1 == COUNT:
            expected = at
        assert caught.value.seq == expected
    if tamper is truncate:
        assert caught.value.seq == at + 1
    if tamper is delete and at + 1 < COUNT:
        assert caught.value.seq == at + 1
    assert caught.value.exit_status == 8


@pytest.mark.parametrize("at", range(1, COUNT))
def test_a_line_between_events_that_nothing_seals_is_found_out(at: int, written: Path) -> None:
    """A crash tears the last line only; garbage further up was put there."""
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join([*lines[:at], b"garbage\n", *lines[at:]]))
    with opened(written.parent, anchor=False) as journal, pytest.raises(JournalCorrupt) as caught:
        journal.verify()
    assert caught.value.seq == at + 1


def test_what_was_sealed_may_not_be_changed_afterwards(written: Path) -> None:
    """The seal names its length and its hash."""
    whole = written.read_bytes()
    written.write_bytes(whole + b'{"at":"2026')
    with opened(written.parent, anchor=False) as journal:
        journal.append("run.noted")
        journal.verify()
    sealed = written.read_bytes()
    for changed in (b'{"at":"2027\n', b'{"at":"202\n', b"\n", b'{"at":"2026\nx\n'):
        written.write_bytes(whole + changed + sealed[len(whole) + 12 :])
        with opened(written.parent, anchor=False) as journal, pytest.raises(JournalCorrupt):
            journal.verify()


def test_what_the_chain_alone_cannot_see_is_what_the_anchor_is_for(written: Path) -> None:
    """The control: without an anchor a cut tail verifies, and nobody may claim otherwise."""
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(lines[:2]))
    with opened(written.parent, anchor=False) as journal:
        assert journal.verify()[0] == 2


def test_a_tampered_journal_takes_no_further_event(written: Path) -> None:
    """Nothing is appended behind a broken chain."""
    written.write_bytes(written.read_bytes().replace(b'"number":2', b'"number":7'))
    before = written.read_bytes()
    with opened(written.parent) as journal, pytest.raises(JournalCorrupt) as caught:
        journal.append("run.noted")
    assert caught.value.seq == 2
    assert written.read_bytes() == before


@pytest.mark.parametrize("lost", [b"", b"\n", b"garbage\n", b"\0" * 40])
def test_a_line_that_was_never_ours_at_the_end_counts_as_torn(lost: bytes, written: Path) -> None:
    """It is sealed by the next append, and the chain goes on."""
    written.write_bytes(written.read_bytes() + lost)
    with opened(written.parent) as journal:
        journal.append("run.noted", data={"number": 7})
        assert journal.verify()[0] == COUNT + (2 if lost else 1)


def test_a_tail_torn_at_any_byte_is_sealed_by_the_next_append(tmp_path: Path) -> None:
    """Every length of the last line but none: what was claimed stays, and the journal is whole."""
    with opened(tmp_path / "journal", anchor=False) as journal:
        journal.append("run.noted", data={"number": 1})
        journal.append("run.noted", data={"number": 2})
    file = tmp_path / "journal" / "events.jsonl"
    whole = file.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(first, len(whole)):
        file.write_bytes(whole[:cut])
        with opened(tmp_path / "journal", anchor=False) as journal:
            numbers = [e.data.get("number") for e in journal.events()]
            assert numbers == [1]
            journal.append("run.noted", data={"number": 3})
            events = journal.events()
            assert journal.verify()[0] == len(events)
        kinds = [event.kind for event in events]
        if cut == len(whole) - 1:  # only the newline was lost: it was an event, and is one
            assert [e.data.get("number") for e in events] == [1, 2, 3]
        elif cut == first:
            assert kinds == ["run.noted", "run.noted"]
        else:
            assert kinds == ["run.noted", "journal.sealed", "run.noted"]
            assert events[1].data["torn_bytes"] == cut - first


class _Dies(Tap):
    """Stops at the n-th change, having done half of it."""

    def __init__(self, at: int, mode: str) -> None:
        self.left = at
        self.mode = mode

    def change(self, call, where, do, torn=None):  # type: ignore[no-untyped-def]
        self.left -= 1
        if self.left:
            return do()
        if self.mode == "torn" and torn:
            torn()
        if self.mode == "after":
            do()
        raise KeyboardInterrupt


@pytest.mark.parametrize("mode", ["before", "torn", "after"])
def test_a_writer_killed_while_it_seals_leaves_a_journal_that_can_be_sealed(
    mode: str, tmp_path: Path
) -> None:
    """At each change of an append onto a torn tail, twice in a row."""
    folder = tmp_path / "journal"
    with opened(folder, anchor=False) as journal:
        journal.append("run.noted", data={"number": 1})
    file = folder / "events.jsonl"
    start = file.read_bytes() + b'{"at":"2026'
    for first in range(1, 8):
        for second in range(1, 8):
            file.write_bytes(start)
            for at in (first, second):
                with opened(folder, anchor=False, host=Host(tap=_Dies(at, mode))) as journal:
                    try:
                        journal.append("run.noted", data={"number": 2})
                    except KeyboardInterrupt:
                        continue
            with opened(folder, anchor=False) as journal:
                journal.append("run.noted", data={"number": 3})
                assert journal.events()[-1].data == {"number": 3}
                assert journal.verify()[0] >= 3


_WRITER = """
import sys
from pathlib import Path
from rollback.host import Host
from rollback.keep.journal import Journal
host = Host()
journal = Journal(host.tree(sys.argv[1]), host)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    journal.append("run.noted", run=sys.argv[2], data={"number": number})
"""


def _writer(folder: Path, name: str, count: int, **more: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder), name, str(count)], stdin=subprocess.PIPE,
        stderr=subprocess.PIPE, env=environment(), **more,  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.mark.requirement("QL-54")
def test_two_processes_that_append_at_once_never_tear_or_fork(tmp_path: Path) -> None:
    """200 events each: all there, each writer's in its own order, one chain."""
    with opened(tmp_path / "journal"):
        pass
    writers = [_writer(tmp_path / "journal", name, 200) for name in ("one", "two")]
    for writer in writers:
        assert writer.stdin
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        _, said = writer.communicate(timeout=60)
        assert writer.returncode == 0, said
    with opened(tmp_path / "journal") as journal:
        events = journal.events()
        assert journal.verify()[0] == 400
    for name in ("one", "two"):
        mine = [event.data["number"] for event in events if event.run == name]
        assert mine == list(range(200))


def test_a_writer_killed_at_any_moment_leaves_the_other_a_whole_journal(tmp_path: Path) -> None:
    """SIGKILL in the middle of its appends, ten times."""
    with opened(tmp_path / "journal"):
        pass
    for turn in range(10):
        victim = _writer(tmp_path / "journal", "victim", 100_000)
        assert victim.stdin
        victim.stdin.write(b"go\n")
        victim.stdin.flush()
        with opened(tmp_path / "journal") as journal:
            grown = len(journal.events())
            Host().clock.poll(lambda g=grown, j=journal: len(j.events()) > g, within_s=10)
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
            journal.append("run.noted", data={"turn": turn})
            journal.verify()


# -- a disk that is full, a place that cannot be written -----------------------------------

_LIMITED = """
import resource, sys
from rollback.host import Host
from rollback.keep.journal import Journal
from rollback.model.errors import JournalError
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
host = Host()
journal = Journal(host.tree(sys.argv[1]), host)
claimed = 0
try:
    for number in range(100):
        journal.append("run.noted", data={"number": number})
        claimed += 1
except JournalError as error:
    print(claimed, "|", str(error), "|", error.hint)
"""


@pytest.mark.parametrize("limit", [1, 300, 999, 1500, 4096])
def test_a_full_disk_is_one_line_and_nothing_more_is_claimed(limit: int, tmp_path: Path) -> None:
    """The event that did not fit is not there; those that were claimed are."""
    with opened(tmp_path / "journal"):
        pass
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path / "journal"), str(limit)], text=True,
        capture_output=True, check=True, env=environment(), timeout=60,
    )  # fmt: skip
    claimed, message, hint = done.stdout.split(" | ")
    assert "cannot be written" in message
    assert "\n" not in message
    assert "make room" in hint
    with opened(tmp_path / "journal", anchor=False) as journal:
        assert len(journal.events()) == int(claimed)
        journal.append("run.noted")  # there is room again
        journal.verify()


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def _link(file: Path) -> None:
    file.rename(file.with_suffix(".old"))
    file.symlink_to(file.with_suffix(".old"))


@pytest.mark.parametrize("spoil", [_folder, _fifo, _link], ids=["folder", "fifo", "link"])
def test_something_else_in_the_place_of_the_journal_is_refused(
    spoil: Callable[[Path], None], written: Path
) -> None:
    """Reading, verifying and writing: each an error of the journal, none of them hangs."""
    spoil(written)
    with opened(written.parent) as journal:
        for act in (journal.events, journal.verify, lambda: journal.append("run.noted")):
            with pytest.raises(JournalError):
                act()


def test_an_event_too_long_for_a_line_is_refused_whole(written: Path) -> None:
    """And the journal goes on without it."""
    with opened(written.parent) as journal:
        with pytest.raises(JournalError, match="more than a journal line"):
            journal.append("run.noted", data={"x": "x" * LINE_BYTES_MAX})
        journal.append("run.noted")
        assert journal.verify()[0] == COUNT + 1


def test_a_lock_that_hangs_ends_in_an_error_that_says_where_to_look(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for ever."""
    monkeypatch.setattr("rollback.keep.journal.TURN_S", 0.1)
    with opened(written.parent) as holder, opened(written.parent) as journal:
        with holder._turn(1.0), pytest.raises(JournalError, match="somebody has been") as caught:
            journal.append("run.noted")
        assert "append.lock" in caught.value.hint
        journal.append("run.noted")


def test_an_anchor_line_torn_by_a_crash_spoils_neither_itself_nor_the_next(written: Path) -> None:
    """The next one begins on a line of its own."""
    place = written.parent.parent / "anchor" / "a.jsonl"
    place.write_bytes(place.read_bytes()[:-9])
    with opened(written.parent) as journal:
        assert journal.verify()[2] == 1
        journal.anchor()
        assert journal.verify()[2] == 2


@pytest.mark.parametrize("line", [b"[]", b"{}", b"7", b'{"count":"x"}', b"\xff", b"[" * 9999])
def test_an_anchor_with_something_else_in_it_is_no_bug(line: bytes, written: Path) -> None:
    """What is no anchored head says nothing; the others still speak."""
    place = written.parent.parent / "anchor" / "a.jsonl"
    place.write_bytes(place.read_bytes() + line + b"\n")
    with opened(written.parent) as journal:
        assert journal.verify()[2] == 2


@pytest.mark.requirement("QL-54")
def test_the_format_on_disk_can_be_checked_by_a_stranger(written: Path) -> None:
    """Each line is JSON whose hash is SHA-256 over the rest, spelled canonically."""
    import hashlib

    previous = "0" * 64
    for line in written.read_bytes().splitlines():
        body = json.loads(line)
        stated = body.pop("hash")
        spelled = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(spelled.encode()).hexdigest() == stated
        assert body["previous"] == previous
        previous = stated


def test_the_file_is_private(written: Path) -> None:
    """Nobody else reads it, whatever the umask."""
    assert written.stat().st_mode & 0o777 == 0o600
    assert (written.parent / EVENTS.decode()).exists()


# -- read from where it was read to ----------------------------------------------------------


def _told(journal: Journal) -> list[str] | str:
    """What it holds, or why it cannot be read."""
    try:
        return [event.hash for event in journal.events()]
    except JournalError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(25))
def test_what_is_read_on_from_before_is_what_is_read_anew(tmp_path: Path, seed: int) -> None:
    """Appended by others, torn, sealed, cut, changed in the midst, put back: the same answer each time."""
    dice = random.Random(seed)
    folder = tmp_path / "journal"
    kept: list[bytes] = []
    answers: set[str] = set()
    with opened(folder, anchor=False) as long, opened(folder, anchor=False) as other:
        for turn in range(40):
            file = folder / "events.jsonl"
            raw = file.read_bytes().rstrip(b"\0") if file.exists() else b""
            deed = dice.choice(["append", "append", "append", "own", "tear", "cut", "flip", "back"])
            with suppress(JournalError):
                if deed == "append":
                    other.append("run.noted", data={"turn": turn})
                elif deed == "own":
                    long.append("run.noted", data={"turn": turn, "mine": True})
                elif deed == "tear":
                    file.write_bytes(raw + b'{"seq": 99, "torn')
                elif deed == "cut" and raw:
                    file.write_bytes(raw[: dice.randrange(len(raw))])
                elif deed == "flip" and raw:
                    kept.append(raw)
                    at = dice.randrange(len(raw))
                    file.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
                elif deed == "back" and kept:
                    file.write_bytes(kept.pop())
            with opened(folder, anchor=False) as fresh:
                told = _told(fresh)
            assert _told(long) == told, (seed, turn, deed)
            answers.add(type(told).__name__)
    assert "list" in answers


def test_what_was_read_before_is_not_parsed_again(tmp_path: Path) -> None:
    """A thousand lines are; one more costs one."""
    with opened(tmp_path / "journal", anchor=False) as journal:
        for number in range(1000):
            journal.append("run.noted", data={"number": number})
        journal.events()
        with mock.patch.object(journal_, "parse", side_effect=parse) as parsed:
            journal.append("run.noted", data={"number": 1000})
            assert len(journal.events()) == 1001
            assert journal.events()[-1].data == {"number": 1000}
    assert parsed.call_count == 1
