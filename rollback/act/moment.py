"""How long ago a step first began to wait, kept with its run so that a crash does not start it anew.

Hides: where the moment is written, and what to believe after a reboot.
Never: waits.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rollback.host.clock import iso, parse_iso
from rollback.model.event import canonical
from rollback.model.finding import Json

if TYPE_CHECKING:
    from rollback.act.scene import Scene

DONE = "done"
SHORT_S = 2.0  # a wait up to this long is not worth handing the run over


def begin(scene: Scene, what: str, for_s: float) -> float:
    """Seconds since this step began to wait; 0 the first time, which is written down."""
    waited_s = elapsed_s(scene)
    if waited_s is not None:
        return waited_s
    clock = scene.host.clock
    now = {"at": iso(clock.now()), "boot": clock.boot(), "boot_s": clock.boot_s()}
    scene.state.tree.make_folder(f"runs/{scene.run}", parents=True)
    scene.state.tree.write(_name(scene), canonical(now))
    scene.note("timer.set", {"what": what, "for_s": for_s})
    return 0.0


def elapsed_s(scene: Scene) -> float | None:
    """Seconds since this step began to wait; None when it has not. Across a reboot by the wall."""
    given = scene.bound.get("since_s")
    if isinstance(given, (int, float)):
        return float(given)
    if scene.state.tree.stat(_name(scene)) is None:
        return None
    kept: dict[str, Json] = json.loads(scene.state.tree.read(_name(scene)))
    clock = scene.host.clock
    if kept["boot"] == clock.boot():
        return max(0.0, clock.boot_s() - float(str(kept["boot_s"])))
    return max(0.0, (clock.now() - parse_iso(str(kept["at"]))).total_seconds())


def _name(scene: Scene) -> str:
    return f"runs/{scene.run}/timer-{scene.step}.json"


def marked(scene: Scene, word: str = DONE) -> bool:
    """True when this step was marked with the word."""
    return scene.state.tree.stat(_mark(scene, word)) is not None


def mark(scene: Scene, word: str = DONE) -> None:
    """The step is marked as done, after its effect: for effects that leave no other trace.

    Or with another word for what has to be known of it.
    """
    scene.state.tree.make_folder(f"runs/{scene.run}", parents=True)
    scene.state.tree.write(_mark(scene, word), f"{word}\n".encode())


def unmark(scene: Scene, word: str = DONE) -> None:
    """The step is not marked with the word."""
    if marked(scene, word):
        scene.state.tree.unlink(_mark(scene, word))


def _mark(scene: Scene, word: str) -> str:
    return f"runs/{scene.run}/{word}-{scene.step}"
