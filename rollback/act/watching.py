"""Looking again and again for a while: every sample must be good, and none of them holds the run.

Hides: how a watch goes on across waits and restarts.
Never: calls an UNKNOWN good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rollback.act.moment import SHORT_S, begin, mark, marked
from rollback.model.finding import Json

if TYPE_CHECKING:
    from rollback.act.scene import Later, Scene

Look = Callable[[], dict[str, Json]]


def hold(
    scene: Scene, what: str, look: Look, *, for_s: float, every_s: float
) -> dict[str, Json] | Later:
    """The last look, once the time is over; or when to look next. `look` raises on a bad sample.

    A short watch is kept here; a longer one looks once and puts itself off.
    """
    began_s = begin(scene, what, for_s)
    clock = scene.host.clock
    start = clock.boot_s() - began_s
    while True:
        evidence = look()
        left_s = for_s - (clock.boot_s() - start)
        if left_s <= 0:
            mark(scene)
            return {**evidence, "held_s": for_s}
        if left_s > SHORT_S:
            from rollback.act.scene import Later

            return Later(what, min(every_s, left_s))
        clock.sleep(min(every_s, left_s))


def held(scene: Scene) -> bool:
    """True when it was seen to be good to the end; that the time is over says nothing by itself."""
    return marked(scene)
