"""The kill sweep itself: it dies where it says, sees what is wrong, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drills import sweep, sweep_judge
from drills.sweep_drive import drive
from drills.sweep_judge import after_end, after_kill
from drills.sweep_strace import available, compare
from drills.sweep_tap import CountingTap, DyingTap, Point
from drills.sweep_world import CASES, World
from rollback.model.errors import UsageError


@pytest.fixture
def world(tmp_path: Path):
    """The flag's world, built."""
    made = World(tmp_path / "flag", CASES[0])
    made.build()
    yield made
    made.remove()


def test_the_same_run_has_the_same_points_each_time(world: World) -> None:
    """A point is a number: it must mean the same change in every drive."""
    reference, points = sweep.refer(world)
    world.put_back()
    _, again = sweep.refer(world)
    assert [p.call for p in points] == [p.call for p in again]
    assert reference.end == "MITIGATED"


def test_a_point_in_the_middle_is_reached_and_nothing_runs_on(world: World) -> None:
    """After the kill nobody but the service is left, and the run has not ended."""
    reference, points = sweep.refer(world)
    world.put_back()
    done = drive(world, DyingTap(len(points) // 2, "after"))
    assert done.killed
    assert done.orphans == ()
    assert after_kill(world, reference).wrong == []
    assert sweep_judge.end_of(world) != "MITIGATED"
    assert sweep.recovered(world, reference) == []


def test_a_point_that_does_not_exist_is_missed_and_not_covered(world: World) -> None:
    """Counting it would make the sweep look more complete than it is."""
    reference, points = sweep.refer(world)
    assert sweep.killed_at(world, reference, (len(points) + 50, "before")) is None


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda w: (w.root / ".env").write_text("PARTY=maybe\n"), "neither old nor new"),
        (lambda w: _append(w.state / "journal/events.jsonl", b"{}\n{}\n"), "journal"),
        (lambda w: (w.root / "knowledge/notes/05.md").unlink(), "no step that touches it"),
        (lambda w: w.stop(), "service"),
    ],
)
def test_the_judge_sees_what_is_wrong(world: World, spoil, said: str) -> None:
    """Each promise that is broken on purpose is named."""
    reference, _ = sweep.refer(world)
    world.put_back()
    spoil(world)
    assert any(said in wrong for wrong in after_kill(world, reference).wrong)


def test_the_judge_sees_an_end_that_is_not_the_same(world: World) -> None:
    """A file too many, a temporary file, another state: each is told."""
    reference, _ = sweep.refer(world)
    (world.root / "knowledge" / "more.md").write_text("more\n")
    (world.root / ".rollback-tmp-0").write_text("half\n")
    wrong = after_end(world, reference)
    assert any("more.md" in one for one in wrong)
    assert any("left over" in one for one in wrong)


def test_every_point_comes_in_each_of_its_modes() -> None:
    """Torn is a mode of writes alone."""
    points = [Point(1, "write", "a", tearable=True), Point(2, "rename", "a", tearable=False)]
    assert sweep.shots(points) == [
        (1, "before"), (1, "after"), (1, "torn"), (2, "before"), (2, "after"),
    ]  # fmt: skip


def test_an_unknown_level_is_refused_by_name() -> None:
    """The known ones are named."""
    with pytest.raises(UsageError) as caught:
        sweep.find(["nowhere"])
    assert "flag" in caught.value.hint


def test_the_tap_counts_what_strace_counts() -> None:
    """No change of ours passes beside the tap; where strace is missing the answer says so."""
    found = compare(CASES[0])
    assert found["explained"], found["said"]
    assert available() == ("NOT COMPARED" not in found["said"])


def test_a_counting_tap_changes_no_result() -> None:
    """What is done is done, and its result given back."""
    tap = CountingTap()
    assert tap.change("write", b"x", lambda: 7) == 7
    assert tap.points == [Point(1, "write", "x", tearable=False)]


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        os.fsync(file.fileno())
