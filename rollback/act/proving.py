"""A suite, or checks by their ids, asked in the middle of a run as the gate of its level asks them.

What is wanted of each check, which files of the team are pinned, and what may be asked where at all
is the same as at the gate; so is the way in which a suite is run.

Hides: where the verdict of such a suite lies: nobody needs it any more; that what people read of it is
left by the first look of a step and by each that is not good, not by every look of hours.
Never: opens a gate; calls a suite good in which nothing was asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from rollback.act import built_in
from rollback.act.moment import mark, marked, unmark
from rollback.judge.welcome import unwelcome
from rollback.model.errors import HostError, PlanError, Refused
from rollback.model.finding import Finding, Json
from rollback.model.registry import Kind, nearest
from rollback.model.step import SUITES, Suite
from rollback.model.system import System
from rollback.observe.check import ask
from rollback.observe.check import deadline_s as may_take_s

if TYPE_CHECKING:  # the gate costs 30 ms to import, and most steps need none of it
    from rollback.act.scene import Scene, Target
    from rollback.host import Tree
    from rollback.keep.checkpoint import Checkpoints
    from rollback.prove.expect import Expectations
    from rollback.prove.seal import Seal

START_S = 20.0  # for a child to start and to testify
TEAM_S = {"smoke": 60.0, "functional": 300.0, "integration": 300.0, "performance": 600.0}
REASONS_MAX = 10
_SHOWN = "shown"  # the mark of a step of which a good look left its results


def seal_of(tree: Tree, checkpoints: Checkpoints, target: Target) -> Seal | None:
    """The newest seal of the version that is gone back to; None: no baseline."""
    from rollback.prove import seal

    if target.source == "checkpoint":
        return seal.newest(tree, {"checkpoint": target.id})
    if target.source == "git":
        found = seal.newest(tree, {"commit": target.id})
        if found:
            return found
    good = checkpoints.last_good()
    return seal.newest(tree, {"checkpoint": good.id}) if good else None


def deadline_s(system: System, suite: Suite) -> float:
    """How long a suite may take: its declared budget, else what its checks may take together.

    Where a team has tests of its own in the suite, with `TEAM_S` more for them.
    """
    declared = system.verification.budgets.get(suite)
    if declared is not None:
        return declared
    checks = getattr(system.verification, suite)
    team = any(suite in PurePosixPath(one.path).parts[:-1] for one in system.verification.suites)
    return START_S + sum(may_take_s(check) for check in checks) + (TEAM_S[suite] if team else 0.0)


def refuse_unwelcome(scene: Scene, checks: Iterable[Any]) -> None:
    """All of these checks may be asked in the environment of the step. Raises: Refused."""
    for check in checks:
        reason = unwelcome(scene.system, scene.environment, check)
        if reason:
            raise Refused("effects", reason, hint=(
                f"ask it in another environment, or declare environments: {{{scene.environment}: "
                f"{{allows: [{check.effects}]}}}}"))  # fmt: skip


def asked_in(scene: Scene, suite: Suite) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of the checks and the paths of the team's tests that the suite asks at this level.

    Raises: PlanError when there are neither: nothing asked is nothing proved. Refused.
    """
    wanted = _wanted(scene, scene.level, (suite,)).of(suite)
    ids = tuple(key for key, one in wanted.items() if one.wanted != "absent")
    files = tuple(one.path for one in scene.system.verification.suites
                  if suite in PurePosixPath(one.path).parts[:-1])  # fmt: skip
    if not ids and not files:
        raise PlanError(f"nothing to ask: no {suite} check is declared for this level",
                        hint=f"declare one: verification: {{{suite}: [...]}}")  # fmt: skip
    refuse_unwelcome(scene, (check for _, key, check in _declared(scene.system) if key in ids))
    return ids, files


def ask_suite(scene: Scene, suite: Suite, level: str) -> dict[str, Json]:
    """The suite was run as the gate runs it, and is good: what was found. Raises: HostError.

    Effects: its results stand beside those of the gate, JUnit XML as `STEP.SUITE.xml`.
    """
    from rollback.prove.seal import path
    from rollback.prove.suite import run_suite

    view = scene.view()
    folder = scene.state.path / "runs" / scene.run
    scene.state.tree.make_folder(f"runs/{scene.run}", parents=True)
    again = marked(scene, _SHOWN)
    with scene.checkpoints as kept, scene.host.scratch() as work:
        sealed = seal_of(scene.state.tree, kept, scene.target)
        result = run_suite(
            suite, system=scene.system, host=scene.host, work=Path(work),
            expectations=_wanted(scene, level, (suite,), sealed), environment=scene.environment,
            deadline_s=deadline_s(scene.system, suite), run_id=scene.run, level=level or None,
            baseline=scene.state.path / path(sealed.id) if sealed else None,
            since=view.since, held=view.held, step=scene.step,
            leaves=Path(work) if again else folder,
        )  # fmt: skip
        if again and not result.open:
            _show(scene, Path(work), folder)
    if result.open:
        mark(scene, _SHOWN)
    else:
        unmark(scene, _SHOWN)  # what is good after it is shown again
        more = len(result.reasons) - REASONS_MAX
        said = [*result.reasons[:REASONS_MAX], *([f"and {more} more"] if more > 0 else [])]
        raise HostError("; ".join(said), where=f"suite {suite}",
                        hint="nothing later in the plan was done")  # fmt: skip
    return {"suite": suite, "passed": result.passed, "failed": result.failed,
            **{key: one["evidence"] for key, one in result.findings.items()}}  # fmt: skip


def may_ask(scene: Scene, names: Iterable[str], suite: Suite | None = None) -> None:
    """Checks of these ids are declared (in the suite), asked at this level, and welcome there.

    Raises: PlanError, Refused.
    """
    known = {key: check for of, key, check in _declared(scene.system) if suite in (None, of)}
    wanted = _wanted(scene, scene.level, SUITES).checks
    for name in names:
        if name not in known:
            raise PlanError(f"there is no check {name}", hint=nearest(name, tuple(known)))
        if name in wanted and wanted[name].wanted == "absent":
            raise PlanError(f"check {name} is absent at level {scene.level}, as its gate expects",
                            hint="take it out of this step, or out of the gate's expect")  # fmt: skip
        refuse_unwelcome(scene, (known[name],))


def ask_each(
    scene: Scene, names: Iterable[str], level: str
) -> tuple[dict[str, Finding], list[str]]:
    """What each check says, and what of that is not as the level expects it: it must pass by default."""
    from rollback.prove.expect import Expected, shortfall
    from rollback.prove.likeness import likeness

    view, wanted_here = scene.view(), set(names)
    found = {
        key: ask(check, view) for _, key, check in _declared(scene.system) if key in wanted_here
    }
    with scene.checkpoints as kept:
        sealed = seal_of(scene.state.tree, kept, scene.target)
    wanted = _wanted(scene, level, SUITES, sealed).checks
    said = [
        shortfall(wanted.get(key, Expected(key, "smoke", "pass")), one.answer,
                  likeness(key, one), one.evidence)
        for key, one in found.items()
    ]  # fmt: skip
    return found, [one for one in said if one]


# -- inside --------------------------------------------------------------------------------


def _show(scene: Scene, left: Path, folder: Path) -> None:
    """What a look left for people stands in the folder of the run, as far as it can be written."""
    from rollback.prove.suite import ALLURE, JUNIT

    for kind in (ALLURE, JUNIT):
        with (
            suppress(OSError, HostError),
            scene.host.tree(str(left / kind)) as one,
            scene.host.tree(str(folder)) as run,
        ):
            run.make_folder(kind, parents=True)
            for name in one.names():
                run.write(f"{kind}/{os.fsdecode(name)}", one.read(name), sync=False)


def _declared(system: System) -> Iterator[tuple[Suite, str, Kind]]:
    from rollback.prove.expect import declared

    return declared(system)


def _wanted(
    scene: Scene, level: str, suites: tuple[Suite, ...], sealed: Seal | None = None
) -> Expectations:
    from rollback.prove.expect import expectations

    system = scene.system
    procedure = system.procedures.get(level) or built_in.find(system, level)
    chosen = level if level in system.levels else procedure
    return expectations(system, chosen, sealed, today=scene.host.clock.now(), suites=suites)
