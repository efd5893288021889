"""The kill sweep itself: it dies where it says, sees what is wrong, and leaves nothing behind."""

from __future__ import annotations

import datetime as dt
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

from drills import sweep, sweep_judge
from drills.sweep_drive import drive
from drills.sweep_judge import after_end, after_kill
from drills.sweep_strace import available, compare
from drills.sweep_world import CASES, Case, World
from rollback.conformance.dying import CountingTap, DyingTap, Point, shots
from rollback.model.errors import UsageError


@pytest.fixture
def world(tmp_path: Path):
    """The flag's world, built."""
    made = World(tmp_path / "flag", CASES[0])
    made.build()
    yield made
    made.remove()


@pytest.mark.long
def test_the_same_run_has_the_same_points_each_time(world: World) -> None:
    """A point is a number: it must mean the same change in every drive."""
    reference, points = sweep.refer(world)
    world.put_back()
    _, again = sweep.refer(world)
    assert [p.call for p in points] == [p.call for p in again]
    assert reference.end == "MITIGATED"


@pytest.mark.long
def test_there_are_as_many_points_as_the_readme_says(tmp_path: Path) -> None:
    """Counted in a run of each way back, twice per change and once more where a write can tear."""
    readme = (Path(sweep.__file__).parents[1] / "README.md").read_text()
    said = re.search(r"\(more than ([\d,]+) points over (\w+) ways back;", readme)
    assert said is not None
    existing = {}
    for case in CASES:
        made = World(tmp_path / case.id, case)
        made.build()
        try:
            existing[case.id] = len(shots(sweep.refer(made)[1]))
        finally:
            made.remove()
    claimed = int(said[1].replace(",", ""))
    assert claimed < sum(existing.values()) < claimed * 1.3, existing
    assert said[2] == "seven"
    assert len(existing) == 7
    assert {name for name, count in existing.items() if count < 500} == {"flag", "gate"}


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
    assert shots(points) == [
        (1, "before"), (1, "after"), (1, "torn"), (2, "before"), (2, "after"),
    ]  # fmt: skip


@pytest.mark.parametrize("many", [3, 20, 21, 646, 779])
def test_a_sample_is_spread_evenly_and_another_offset_takes_the_others(many: int) -> None:
    """The same offset takes the same; over all offsets every point has its turn."""
    every = [(number, "before") for number in range(many)]
    chosen = sweep.sampled(every, 20)
    assert len(set(chosen)) == min(20, many)
    assert chosen == sweep.sampled(every, 20)
    gaps = {later[0] - one[0] for one, later in pairwise(chosen)}
    assert max(gaps) - min(gaps) <= 1
    turns = [shot for offset in range(-(-many // 20)) for shot in sweep.sampled(every, 20, offset)]
    assert set(turns) == set(every)


@pytest.mark.long
@pytest.mark.requirement("MB-61")
def test_killed_and_recovered_whole_a_run_is_proved_again() -> None:
    """Through the real gate to COMPLETE; other points every day."""
    phase = dt.datetime.now(dt.UTC).timetuple().tm_yday
    (found,) = sweep.sweep(
        sweep.find(["configuration"]), every=200, offset=phase, again_every=0, whole=4
    )
    assert found.failures == [], "\n".join(map(str, found.failures))
    assert (found.whole, found.missed) == (4, 0)
    assert found.whole_existing > found.existing > found.covered > 0
    assert "   4 of" in sweep.line(found)


def test_the_judge_asks_for_the_proof_and_its_report(tmp_path: Path) -> None:
    """COMPLETE without a suite that passed, and without what tells of it, is no end."""
    made = World(tmp_path / "gate", next(case for case in CASES if case.gated))
    made.build()
    try:
        reference, points = sweep.refer(made)
        assert reference.end == "COMPLETE"
        assert [point.call for point in points].count("spawn") == 1, "the suite is a real child"
        (made.state / "runs" / "r0001" / "report.md").unlink()
        assert any(one.startswith("report") for one in after_end(made, reference))
        events = [
            event for event in sweep_judge.read_journal(made) if event["kind"] != "suite.ended"
        ]
        assert any("no suite passed" in one for one in sweep_judge.proved(made, events))
    finally:
        made.remove()


def test_an_unknown_level_is_refused_by_name() -> None:
    """The known ones are named."""
    with pytest.raises(UsageError) as caught:
        sweep.find(["nowhere"])
    assert "flag" in caught.value.hint


@pytest.mark.parametrize("case", [CASES[0], CASES[-1]], ids=lambda case: case.id)
def test_the_tap_counts_what_strace_counts(case: Case) -> None:
    """No change of ours passes beside the tap, nor a thread's that delivers a message.

    Where strace is missing the answer says so.
    """
    found = compare(case)
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
