"""A component as it was before a run: whether it is so now, and the way back to it.

What it is compared with is the checkpoint of the present that the run made before it changed
anything; never what the run wanted to go back to.

Hides: the intent of a way back that was killed.
Never: takes a component that cannot be compared for one that is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rollback.act.repairing import limits_of, step_name
from rollback.model.errors import NeedsOperator
from rollback.model.finding import Finding, failed, passed, unknown
from rollback.model.quantity import counted

if TYPE_CHECKING:
    from rollback.act.scene import Scene


def put_back(scene: Scene, name: str) -> None:
    """The component is as in the checkpoint of before the run. Again: no change.

    Raises: NeedsOperator when there is none.
    """
    if not scene.safety:
        raise NeedsOperator("there is no checkpoint of the present to go back to", where=name)
    with scene.checkpoints as kept:
        kept.restore(scene.safety, name, step=_way_back(scene), limits=limits_of(scene))


def stands(scene: Scene, names: Iterable[str]) -> Finding:
    """PASS when every component is as in the checkpoint of before the run.

    UNKNOWN when there is none. Raises: RollbackError, OSError when one cannot be compared.
    """
    said = []
    for name in names:
        if not scene.safety:
            return unknown(f"no checkpoint of {name} was made before the run")
        if scene.state.tree.stat(f"intents/{_way_back(scene)}.json") is not None:
            return failed(f"putting {name} back did not come to its end")
        with scene.checkpoints as kept:
            left = kept.restore(scene.safety, name, step=_way_back(scene), dry_run=True)
        if left:
            return failed(f"{counted(len(left), 'path')} of {name} not as before the run, "
                          f"first {left.changes[0]}")  # fmt: skip
        said.append(name)
    return passed(f"as before the run: {', '.join(said) or 'nothing of it is stored'}")


def _way_back(scene: Scene) -> str:
    return f"{step_name(scene)}-undo"
