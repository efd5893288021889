"""The kill sweep: a rollback is killed at every change it makes, and must come out right.

For each way back: an uninterrupted run is the reference; then the same run is killed before, after
and in the middle of its n-th change, what is left is judged, the next driver goes on, and its end
is compared with the reference. The recovery is killed too. Up to there a run ends MITIGATED; at a
sample of all points of a way back it is run whole: through the gate with a real suite to COMPLETE
and to the report.

How many points a way back has is how much it does. A flag is one line in one file: it has few, and
none are made up for it.

Hides: how points are chosen, and shared out among processes.
Never: counts a point as covered that was not reached.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from drills import sweep_judge
from drills.faults.watchdog import Watchdog
from drills.sweep_drive import adopt, count, drive
from drills.sweep_judge import Reference, Seen, after_end, after_kill
from drills.sweep_world import CASES, Case, World, base_folder
from rollback.conformance.dying import MODES, DyingTap, Point, Shot, shots
from rollback.host.tap import Tap
from rollback.model.errors import UsageError

REPORT = Path("reports") / "sweep.json"
SHARDS = 8  # of one case: small enough that the processes end together
KEPT_MAX = 20  # failures of one case that are written down in full
WHOLE = 20  # points of each way back that are run whole
AGAIN = 199  # every so many points of a recovery are killed at, other ones after each kill


@dataclass
class Failure:
    """One point at which something did not hold; `again` is the point of the second kill."""

    case: str
    number: int
    mode: str
    call: str
    where: str
    wrong: list[str]
    again: Shot | None = None

    def __str__(self) -> str:
        place = f"{self.case} {self.mode} {self.number} {self.call} {self.where}"
        then = f", then {self.again[1]} {self.again[0]}" if self.again else ""
        return f"{place}{then}: {'; '.join(self.wrong)}"


@dataclass
class Outcome:
    """What the sweep of one case found. `existing` counts points, `covered` those killed at.

    `whole` are those that were run through the gate, of `whole_existing` with its points.
    """

    case: str
    calls: dict[str, int] = field(default_factory=dict)
    existing: int = 0
    covered: int = 0
    recoveries_existing: int = 0
    recoveries_covered: int = 0
    missed: int = 0
    mixed: int = 0
    whole: int = 0
    whole_existing: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Outcome) -> None:
        """What another process found at other points of the same case, or of the whole of it."""
        counts = ["recoveries_existing", "recoveries_covered", "missed", "mixed"]
        if other.case == self.case:
            counts.append("covered")
        else:
            self.whole += other.covered
            self.whole_existing = other.existing
        for name in counts:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.failures += other.failures
        self.seconds += other.seconds

    @property
    def ok(self) -> bool:
        """True when something was killed and nothing was wrong."""
        return bool(self.covered) and not self.failures and not self.missed


@dataclass(frozen=True)
class Share:
    """What one process is to do: shots of one case, those with `number % parts == part`.

    Of every `every`th shot, or of `sample` ones if that is not 0.
    """

    case: Case
    base: str
    part: int
    parts: int
    every: int
    offset: int
    again_every: int
    sample: int = 0


def find(names: Iterable[str]) -> tuple[Case, ...]:
    """The cases with these ids; all when none is named. Raises: UsageError."""
    wanted = tuple(names)
    known = {case.id: case for case in CASES}
    for name in wanted:
        if name not in known:
            raise UsageError(f"the sweep has no level {name}", hint=f"levels: {', '.join(known)}")
    return tuple(known[name] for name in wanted) or CASES


def sweep(
    cases: Iterable[Case] = CASES, *, every: int = 1, offset: int = 0, again_every: int = AGAIN,
    whole: int = WHOLE, workers: int = 2, told: Callable[[str], None] = lambda _line: None,
) -> list[Outcome]:  # fmt: skip
    """Every `every`th point of each case was killed at; what was found, case by case.

    `again_every` picks the pairs of a point and a point of its recovery; 0: none. `whole` points of
    each case are run to COMPLETE. `offset` takes others. A watchdog ends the services and removes
    the folders when this process dies.
    """
    base = base_folder()
    found: list[Outcome] = []
    with Watchdog(folders=[base], lock_name="app.lock"):
        try:
            with ProcessPoolExecutor(
                workers, mp_context=get_context("fork"), initializer=adopt
            ) as pool:
                jobs = {
                    case: [pool.submit(work, share) for share in shares(
                        case, base, every, offset, again_every, whole, workers)]
                    for case in cases
                }  # fmt: skip
                for case, parts in jobs.items():
                    found.append(_together(case, [part.result() for part in parts]))
                    told(line(found[-1]))
            return found
        finally:
            shutil.rmtree(base, ignore_errors=True)


def shares(
    case: Case, base: Path, every: int, offset: int, again_every: int, whole: int, workers: int
) -> list[Share]:
    """The work on one case, in parts that processes can do at once."""
    parts = SHARDS if every == 1 else min(SHARDS, workers)
    swept = [Share(case, str(base), n, parts, every, offset, again_every) for n in range(parts)]
    if not whole or case.gated:  # a case with a gate is run whole at each of its points
        return swept
    parts = min(whole, workers)
    return swept + [
        Share(case.whole, str(base), n, parts, 1, offset, 0, whole) for n in range(parts)
    ]


def _together(case: Case, parts: list[Outcome]) -> Outcome:
    found, *others = parts
    for part in others:
        found.add(part)
    if case.gated:
        found.whole, found.whole_existing = found.covered, found.existing
    return found


def line(outcome: Outcome) -> str:
    """One case in one line."""
    word = "ok" if outcome.ok else f"{len(outcome.failures)} WRONG, {outcome.missed} missed"
    return (
        f"{outcome.case:<14} {outcome.covered:>5} of {outcome.existing:>5} points, "
        f"{outcome.recoveries_covered:>5} killed recoveries, "
        f"{outcome.whole:>4} of {outcome.whole_existing:>4} run to COMPLETE, "
        f"{outcome.mixed:>4} times between old and new, {outcome.seconds:6.1f} s  {word}"
    )


def sampled(shots: list[Shot], count: int, offset: int = 0) -> list[Shot]:
    """`count` of them (all, if there are no more), evenly spread; each offset takes others."""
    many = len(shots)
    return (
        [shots[(offset + n * many // count) % many] for n in range(count)]
        if many > count
        else shots
    )


def work(share: Share) -> Outcome:
    """One share of one case, in a world of its own."""
    began_s = time.monotonic()
    world = World(Path(share.base) / f"{share.case.id}-{share.part}", share.case)
    try:
        world.build()
        reference, points = refer(world)
        every = shots(points)
        chosen = (
            sampled(every, share.sample, share.offset) if share.sample
            else every[share.offset % share.every :: share.every]
        )  # fmt: skip
        mine = chosen[share.part :: share.parts]
        calls = dict(Counter(point.call for point in points))
        outcome = Outcome(share.case.id, calls, existing=len(every))
        for turn, shot in enumerate(mine):
            _one(world, reference, points, shot, outcome)
            number = turn * share.parts + share.part
            if share.again_every:
                _twice(world, reference, points, shot, number, share.again_every, outcome)
        outcome.seconds = round(time.monotonic() - began_s, 3)
        return outcome
    finally:
        world.remove()


def refer(world: World) -> tuple[Reference, list[Point]]:
    """The two ends of an uninterrupted run, and its points."""
    old = Seen.of(world)
    points, _ = count(world)
    end = sweep_judge.end_of(world)
    reference = Reference(old, Seen.of(world), end, tuple(world.leavings()),
                          sweep_judge.safety_count(world))  # fmt: skip
    wanted = "COMPLETE" if world.case.gated else "MITIGATED"
    wrong = after_end(world, reference)
    if end != wanted or wrong:
        raise RuntimeError(
            f"{world.case.id} ends {end} when nobody disturbs it: {wrong} {sweep_judge.why(world)}"
        )
    return reference, points


def _one(
    world: World, reference: Reference, points: list[Point], shot: Shot, outcome: Outcome
) -> None:
    """Killed at the shot, judged, driven to the end, judged again."""
    wrong = killed_at(world, reference, shot, outcome)
    if wrong is None:
        outcome.missed += 1
        return
    outcome.covered += 1
    wrong += recovered(world, reference)
    if wrong:
        _blame(outcome, points, shot, wrong)


def killed_at(
    world: World, reference: Reference, shot: Shot, outcome: Outcome | None = None
) -> list[str] | None:
    """What does not hold right after the kill; None when the shot was not reached."""
    world.put_back()
    done = drive(world, DyingTap(*shot))
    if not done.killed:
        return None
    judged = after_kill(world, reference)
    if outcome is not None and judged.mixed:
        outcome.mixed += 1
    return judged.wrong + [f"orphan: {orphan}" for orphan in done.orphans]


def recovered(world: World, reference: Reference) -> list[str]:
    """What does not hold when the next driver has gone on to the end."""
    done = drive(world, Tap())
    wrong = [f"the next driver fails: {done.error.strip().splitlines()[-1]}"] if done.error else []
    wrong += [f"orphan: {orphan}" for orphan in done.orphans]
    wrong += after_end(world, reference)
    made = sweep_judge.safety_count(world)
    if made > reference.safety:
        wrong.append(f"twice: {made} checkpoints of the present")
    return wrong


def _twice(
    world: World, reference: Reference, points: list[Point], shot: Shot, turn: int, every: int,
    outcome: Outcome,
) -> None:  # fmt: skip
    """Killed at the shot; the recovery killed at its `every`th points; then driven to the end."""
    again = (
        1 + turn % every
    )  # another phase for every shot, so that over all of them none is left out
    while True:
        outcome.recoveries_existing += 1
        if killed_at(world, reference, shot) is None:
            return
        mode = MODES[(turn + again) % 2]
        if not drive(world, DyingTap(again, mode)).killed:
            outcome.recoveries_existing -= 1
            return
        outcome.recoveries_covered += 1
        wrong = after_kill(world, reference).wrong + recovered(world, reference)
        if wrong:
            _blame(outcome, points, shot, wrong, again=(again, mode))
        again += every


def _blame(
    outcome: Outcome, points: list[Point], shot: Shot, wrong: list[str], again: Shot | None = None
) -> None:
    point = points[shot[0] - 1]
    outcome.failures.append(Failure(outcome.case, *shot, point.call, point.where, wrong[:6], again))


# -- the report -------------------------------------------------------------------------------


def report(outcomes: Iterable[Outcome], *, every: int, seconds: float) -> dict[str, Any]:
    """What was covered over what exists, per case and together."""
    found = list(outcomes)
    rows = []
    for one in found:
        row = asdict(one)
        row["failures"] = [str(failure) for failure in one.failures[:KEPT_MAX]]
        row["failed"] = len(one.failures)
        rows.append(row)
    return {
        "format": 1, "commit": commit(), "every": every, "seconds": round(seconds, 1),
        "covered": sum(one.covered for one in found),
        "existing": sum(one.existing for one in found),
        "recoveries_covered": sum(one.recoveries_covered for one in found),
        "whole": sum(one.whole for one in found),
        "failed": sum(len(one.failures) for one in found),
        "missed": sum(one.missed for one in found),
        "ok": bool(found) and all(one.ok for one in found),
        "levels": rows,
    }  # fmt: skip


def commit() -> str:
    """The commit of this checkout, with a plus when it is not clean; empty outside of one."""
    here = Path(__file__).parent
    environment = {"PATH": os.environ.get("PATH", os.defpath), "GIT_OPTIONAL_LOCKS": "0"}

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, env=environment, capture_output=True,
                              timeout=20, check=False)  # fmt: skip
        return done.stdout.decode().strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    return head + ("+" if head and git("status", "--porcelain") else "")


def write(body: dict[str, Any], path: Path = REPORT) -> None:
    """The report stands at `path`, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(body, indent=1) + "\n")
    aside.rename(path)
