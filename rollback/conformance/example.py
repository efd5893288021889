"""What the author of a kind says, so that its contracts can be asked: an example of its use.

Hides: nothing.
Never: says what the kind must do; that is the contract of its family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollback.model.finding import Answer

if TYPE_CHECKING:
    from rollback.conformance.world import World

Words = Mapping[str, Any]
Given = Words | Callable[["World"], Words]
"""Words of a declaration; or a function of the world, for what holds a port or a path of it."""


def nothing(_world: World) -> None:
    """The world is left as it is."""


@dataclass(frozen=True)
class Example:
    """A declaration that works, the world it works in, and ways to break that world.

    `parameters` stand under the kind's name. `sections` are more of `rollback.yaml` (components,
    services, flags …). `prepare` makes files below `world.root` and starts what is needed
    (`world.ends.callback(…)` ends it); for an action it may return fields of its scene. Each of `spoils`
    breaks the subject, by a name for people; what must follow is said by the contract of the family.
    `wrong` are parameters that have to be refused. `build` makes another world than the empty one.

    Actions: `answers` makes heard what a person says to one that asks; `before` and `after` are what
    `probe` says then; `stays` says in words why `undo` cannot bring back what changed; of the deaths
    one in `every` is tried; `doubtful` means that after one only the manager of the system's programs,
    or a person, knows.
    Metrics: `metric` is the declaration around the source, `silent` the number where the silence of
    the subject is one; `hangs` makes the subject take the question and never answer, or says in words
    why the source waits for nobody. Notifiers: `seen` is what the other side got, `secrets` are texts
    that may be told to nobody. Contents: `seen` is what the component holds, to a second witness; by
    default every file below the root.
    """

    parameters: Given = field(default_factory=dict)
    name: str = ""
    sections: Given = field(default_factory=dict)
    prepare: Callable[[World], Any] = nothing
    spoils: Mapping[str, Callable[[World], object]] = field(default_factory=dict)
    wrong: tuple[Words, ...] = ()
    build: Callable[[Path], World] | None = None
    before: Answer = Answer.FAIL
    after: Answer = Answer.PASS
    stays: str = ""
    every: int = 1
    answers: Callable[[World], object] | None = None
    doubtful: bool = False
    metric: Words = field(default_factory=lambda: {"unit": "count"})
    silent: float | None = None
    hangs: Callable[[World], object] | str = ""
    seen: Callable[[World], Any] = lambda world: world.files()
    secrets: tuple[str, ...] = ()


def said(given: Given, world: World) -> dict[str, Any]:
    """The words, for this world."""
    return dict(given(world) if callable(given) else given)
