"""What is said while a run works, one line for one event."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.cli.timeline import Live
from rollback.model.event import Event
from rollback.model.finding import Json
from tests.cli.program import rollback
from tests.systems import build


def event(kind: str, at_s: float, **data: Json) -> Event:
    return Event(1, "2026-11-28T04:00:00.000000Z", "boot", at_s, kind, "r0001", data)


def test_taking_a_step_back_takes_as_long_as_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """Not as long as since the step began: the last thing that happened is where it starts."""
    live = Live()
    for one in (
        event("step.began", 10.0, index="1", id="stop"), event("step.ended", 10.5, index="1", id="stop"),
        event("step.began", 10.5, index="2", id="restore"),
        event("step.failed", 20.0, index="2", id="restore", evidence={"error": "no"}),
        event("run.undoing", 20.0, reason="no"), event("step.undone", 20.3, index="2", id="restore"),
        event("step.undone", 21.3, index="1", id="stop"),
    ):  # fmt: skip
        live(one)
    undone = [line for line in capsys.readouterr().err.splitlines() if "↶" in line]
    assert [line.split("  ")[-1].strip() for line in undone] == ["0.3 s", "1 s"]


def test_what_was_laid_by_is_said_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each place; a note is said as it is, and nothing is said of nothing."""
    live = Live()
    live(event("run.noted", 1.0, kept=[{"step": "2", "where": ".rollback/quarantine/x", "entries": 3,
                                        "bytes": 2048}]))  # fmt: skip
    live(event("run.noted", 2.0, note="look here"))
    live(event("run.noted", 3.0, kept=[]))
    assert capsys.readouterr().err.splitlines() == [
        "  ! step 2 laid by 3 paths, 2.0 KiB: .rollback/quarantine/x", "  ! look here",
    ]  # fmt: skip


def test_what_became_of_each_service_is_said_also_that_it_was_so_already(tmp_path: Path) -> None:
    """Typed twice, the second time says that nothing was to do."""
    shop = build(tmp_path)
    shop.edit("people:\n", "services:\n  idle: {manager: registry, argv: [sleep, '600'], "
              "lock: run/idle.lock}\npeople:\n")  # fmt: skip
    said = []
    try:
        for verb in ("start", "start", "stop", "stop"):
            done = rollback(shop.folder, "run", verb, "--yes", "--as", "ada")
            assert done.status == 0, done.out + done.err
            said += [line for line in done.out.splitlines() if line.startswith("  idle ")]
    finally:
        rollback(shop.folder, "run", "stop", "--yes", "--as", "ada")
    assert len(said) == 4, said
    for line, words in zip(said, ("was started", "was running already", "ended on SIGTERM",
                                  "was stopped already"), strict=True):  # fmt: skip
        assert words in line, line
