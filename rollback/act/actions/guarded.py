"""Step `guarded`: the command of `rollback guard -- COMMAND`, after the present was kept.

Hides: which checkpoint is taken, and what the way back is.
Never: runs a command that was not typed; claims to know whether one that was left alone did its work.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, ClassVar

from rollback.act import before
from rollback.host import processes
from rollback.host.attended import attended
from rollback.model.errors import CommandFailed, HostError, PlanError
from rollback.model.finding import Finding, Json, unknown
from rollback.model.quantity import Seconds, spoken
from rollback.model.registry import register
from rollback.model.step import Alters, OnFail, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene

DAY_S = 86400.0


@register("action", "guarded")
class Guarded(Step):
    """The command that was typed after `rollback guard --`; it stands in a procedure `guard`.

    The components of the declared kind `on: risky` are kept first, in as many places as it says.
    Past `within` the command is ended.
    """

    alters: ClassVar[Alters] = "stored"
    within: Seconds = DAY_S
    on_fail: OnFail = OnFail(otherwise="person")

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The words, where they run, what is kept before, and the way back."""
        from rollback.act.guarding import components, risky, way_back

        if not scene.command:
            raise PlanError("no command was typed", hint="rollback guard -- COMMAND …")
        name = f"before-{scene.run}"
        kind = scene.system.checkpoints.kinds.get(risky(scene.system))
        return {
            "argv": list(scene.command), "cwd": scene.folder, "checkpoint": risky(scene.system),
            "name": name, "with_plan": kind is None or kind.planned_back,
            "way_back": list(way_back(scene.system, name, components(scene.system))),
        }  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """The command, what is kept before it, and the way back."""
        bound = scene.bound
        back = bound["way_back"]
        assert isinstance(back, list)
        return (
            f"keep the present as checkpoint {bound['name']} ({bound['checkpoint']})",
            f"run {shlex.join(_words(scene))} in {bound['cwd']}, at most {spoken(self.within)}",
            "no probe can tell whether it happened: interrupted, a person has to say",
            *(f"the way back: {line}" for line in back),
        )

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """What the declared kind holds: nobody knows what a command changes."""
        from rollback.act.guarding import components

        return components(scene.system)

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The command ended with status 0. Raises: CommandFailed with its status."""
        argv, cwd = _words(scene), str(scene.bound["cwd"])
        scene.state.tree.make_folder(f"runs/{scene.run}", parents=True)
        status = attended(
            argv, cwd=cwd, environment={**os.environ, "ROLLBACK_RUN": scene.run},
            lock=_lock(scene), timeout_s=self.within, tap=scene.host.tap,
        )  # fmt: skip
        if status != 0:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            raise CommandFailed(f"it ended with {how}", argv=tuple(argv), status=status,
                                hint=f"go back: rollback undo {scene.run}")  # fmt: skip
        return {"status": status}

    def probe(self, scene: Scene) -> Finding:
        """Nobody knows; that it still runs is known."""
        if processes.held(_lock(scene)):
            return unknown(f"{_words(scene)[0]} still runs: fuser -v {_lock(scene)}")
        return unknown(f"nobody saw how {_words(scene)[0]} ended: look whether it did its work")

    def undo(self, scene: Scene) -> None:
        """A command cannot be taken back by its step; the checkpoint before it can be put back."""
        raise HostError(
            f"{_words(scene)[0]} has no undo of its own", hint=f"rollback undo {scene.run}"
        )

    def undone(self, scene: Scene) -> Finding:
        """Is everything that was kept as it was?"""
        return before.stands(scene, self.touches(scene))


def _words(scene: Scene) -> list[str]:
    words = scene.bound["argv"]
    assert isinstance(words, list)
    return [str(word) for word in words]


def _lock(scene: Scene) -> str:
    from rollback.act.guarding import lock_of

    return lock_of(scene.state, scene.run)
