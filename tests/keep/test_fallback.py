"""The second place for intent: used only in an emergency, merged once, proved afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollback.host import Host
from rollback.keep.fallback import MERGED, TwoPlaces
from rollback.keep.journal import Journal
from rollback.keep.redact import Redactor
from rollback.model.errors import JournalCorrupt, JournalError
from rollback.model.event import digest


@contextmanager
def opened(folder: Path) -> Iterator[TwoPlaces]:
    """The journal in `first`, its fallback `second`, its anchor beside them."""
    host = Host()
    (folder / "first").mkdir(exist_ok=True)
    journal = TwoPlaces(
        host.tree(str(folder / "first")), host, fallback=folder / "second",
        redact=Redactor(["hidden-value"]).data, anchor=folder / "anchor.jsonl",
    )  # fmt: skip
    try:
        yield journal
    finally:
        journal.close()


@contextmanager
def hung_lock(folder: Path) -> Iterator[None]:
    """Somebody holds the lock around appends, and does nothing."""
    fd = os.open(folder / "first" / "append.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def immutable(folder: Path) -> Iterator[None]:
    """The file cannot be written, whoever asks."""
    file = folder / "first" / "events.jsonl"
    subprocess.run(["chattr", "+i", str(file)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(file)], check=True)


@contextmanager
def lock_is_a_folder(folder: Path) -> Iterator[None]:
    """The lock cannot even be opened."""
    lock = folder / "first" / "append.lock"
    lock.unlink()
    lock.mkdir()
    try:
        yield
    finally:
        lock.rmdir()


TROUBLES = [hung_lock, immutable, lock_is_a_folder]
IDS = ["hung-lock", "immutable", "no-lock"]


def numbers(journal: Journal) -> list[object]:
    """What was said, in order."""
    return [e.data["number"] for e in journal.events() if "number" in e.data]


@pytest.mark.parametrize("trouble", TROUBLES, ids=IDS)
def test_in_an_emergency_events_go_aside_and_are_merged_once(trouble, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """In order, found by every reader meanwhile, in one event that names their digest."""
    with opened(tmp_path) as journal:
        journal.append("run.noted", run="r1", data={"number": 1})
        journal.anchor()
        with trouble(tmp_path):
            journal.emergency()
            began_s = Host().clock.boot_s()
            event = journal.append("run.noted", run="r1", data={"number": 2, "x": "a hidden-value"})
            assert Host().clock.boot_s() - began_s < 1.0
            assert event.data["x"] == "a ***REDACTED***"
            journal.append("run.noted", run="r1", data={"number": 3})
            assert numbers(journal) == [1, 2, 3]
            with opened(tmp_path) as reader:
                assert numbers(reader) == [1, 2, 3]
                reader.verify()
    for turn in range(2):
        with opened(tmp_path) as journal:
            journal.append("run.noted", run="r1", data={"number": 4 + turn})
            journal.anchor()
            assert numbers(journal) == [1, 2, 3, 4, 5][: 4 + turn]
            assert journal.verify()[2] == 2 + turn
    lines = [
        json.loads(line) for line in (tmp_path / "first/events.jsonl").read_bytes().splitlines()
    ]
    merges = [line for line in lines if line["kind"] == MERGED]
    assert len(merges) == 1
    data = merges[0]["data"]
    assert digest(data["events"], domain="rollback-merged-v1") == data["digest"]
    assert data["last"] == len(data["events"]) == 3  # what was said, and why it went aside
    for file in ("first", "second"):
        assert b"hidden-value" not in (tmp_path / file / "events.jsonl").read_bytes()


def test_without_an_emergency_nothing_goes_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is none waits its turn, and fails if that does not come."""
    monkeypatch.setattr("rollback.keep.fallback.TURN_S", 0.3)
    with opened(tmp_path) as journal:
        journal.append("run.noted", data={"number": 1})
        with hung_lock(tmp_path), pytest.raises(JournalError):
            journal.append("run.noted", data={"number": 2})
        assert not (tmp_path / "second").exists()


def test_a_second_emergency_is_merged_from_where_the_first_ended(tmp_path: Path) -> None:
    """Nothing twice, nothing lost."""
    with opened(tmp_path) as journal:
        journal.append("run.noted", data={"number": 1})
    for turn in range(3):
        with opened(tmp_path) as journal:
            journal.emergency()
            with hung_lock(tmp_path):
                journal.append("run.noted", data={"number": 10 * turn + 2})
        with opened(tmp_path) as journal:
            journal.append("run.noted", data={"number": 10 * turn + 3})
    with opened(tmp_path) as journal:
        assert numbers(journal) == [1, 2, 3, 12, 13, 22, 23]
        journal.verify()


def test_who_is_aside_stays_aside_while_another_merges(tmp_path: Path) -> None:
    """Its later events come after its earlier ones, whatever happened in between."""
    with opened(tmp_path) as one, opened(tmp_path) as other:
        one.append("run.noted", run="r1", data={"number": 1})
        one.emergency()
        with hung_lock(tmp_path):
            one.append("run.noted", run="r1", data={"number": 2})
        other.append("run.noted", run="r2", data={"number": 100})
        one.append("run.noted", run="r1", data={"number": 3})
        assert [e.data["number"] for e in one.events() if e.run == "r1"] == [1, 2, 3]
    with opened(tmp_path) as journal:
        journal.append("run.noted", run="r1", data={"number": 4})
        assert [e.data["number"] for e in journal.events() if e.run == "r1"] == [1, 2, 3, 4]
        journal.verify()


def test_when_neither_can_be_written_the_error_says_so(tmp_path: Path) -> None:
    """And nothing was recorded anywhere."""
    (tmp_path / "second").write_text("a file in the way")
    with opened(tmp_path) as journal:
        journal.append("run.noted", data={"number": 1})
        journal.emergency()
        with hung_lock(tmp_path), pytest.raises(JournalError, match="neither the journal nor its"):
            journal.append("run.noted", data={"number": 2})
        (tmp_path / "second").unlink()
        assert numbers(journal) == [1]


def test_a_damaged_journal_is_no_reason_to_write_elsewhere(tmp_path: Path) -> None:
    """Somebody tampered: stop, in an emergency too."""
    with opened(tmp_path) as journal:
        journal.append("run.noted", data={"number": 1})
    file = tmp_path / "first" / "events.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"number":1', b'"number":2'))
    with opened(tmp_path) as journal:
        journal.emergency()
        with pytest.raises(JournalCorrupt):
            journal.append("run.noted", data={"number": 3})
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize("spoil", ["cut", "edit", "gone"])
def test_a_fallback_that_was_changed_after_it_was_merged_is_found_out(
    spoil: str, tmp_path: Path
) -> None:
    """What the journal merged is in the journal; the second file must still be its beginning."""
    with opened(tmp_path) as journal:
        journal.append("run.noted", data={"number": 1})
        journal.emergency()
        with hung_lock(tmp_path):
            journal.append("run.noted", data={"number": 2})
    with opened(tmp_path) as journal:
        journal.append("run.noted", data={"number": 3})
    file = tmp_path / "second" / "events.jsonl"
    if spoil == "gone":
        file.unlink()
    elif spoil == "cut":
        file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    else:
        file.write_bytes(file.read_bytes().replace(b'"number":2', b'"number":7'))
    with opened(tmp_path) as journal:
        if spoil == "gone":  # nothing is lost: its events are merged
            assert numbers(journal) == [1, 2, 3]
            journal.emergency()
            with hung_lock(tmp_path):
                journal.append("run.noted", data={"number": 4})
            assert numbers(journal) == [1, 2, 3, 4]
            with opened(tmp_path) as later:
                later.append("run.noted", data={"number": 5})
                assert numbers(later) == [1, 2, 3, 4, 5]
            return
        with pytest.raises(JournalCorrupt):
            journal.verify()
