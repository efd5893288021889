"""What somebody names who runs the suites by hand: a run that they are about, a seal to compare with.

Hides: where runs and seals lie in the state directory.
Never: writes there, or makes one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rollback.host import Host
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.entry import Entry
from rollback.keep.journal import events_at
from rollback.model.errors import PlanError, UsageError
from rollback.model.lifecycle import Run, fold
from rollback.model.registry import nearest
from rollback.model.system import System
from rollback.prove import seal as seals
from rollback.prove.seal import Seal


@dataclass(frozen=True)
class Named:
    """A run as its gate asks about it. `since`: when its steps were done; `target`: a checkpoint's id."""

    level: str
    environment: str
    since: str
    target: str = ""


def kept(system: System, component: str, target: str) -> dict[str, Entry]:
    """What a component was made of in a checkpoint (by id; "" is the last good one), by path.

    Raises: RollbackError when there is no such checkpoint, or it does not hold the component.
    """
    host = Host()
    with host.tree(str(system.state_path)) as state, Checkpoints(system, host, state) as found:
        one = found.get(target) if target else found.last_good()
        if one is None:
            raise PlanError(
                "there is no checkpoint to go back to", hint="rollback checkpoint create"
            )
        return {os.fsdecode(entry.path): entry for entry in found.entries(one.id, component)}


def run(system: System, name: str) -> Named:
    """The run of this id; the newest for `last`. Raises: UsageError."""
    found: dict[str, Run] = fold(events_at(system.state_path, Host()) or ())
    one = list(found.values())[-1] if name == "last" and found else found.get(name)
    if one is None:
        hint = nearest(name, tuple(found)) if found else "there is none yet"
        raise UsageError(f"there is no run {name} to ask about: {hint}")
    plan, moment = one.plan, one.moments.get("run.mitigated")
    target = plan.get("target")
    goes = target if isinstance(target, dict) else {}
    return Named(
        level=str(plan["level"]), environment=str(plan["environment"]),
        since=moment[2] if moment else "",
        target=str(goes.get("id", "")) if goes.get("source") == "checkpoint" else "",
    )  # fmt: skip


def seal(system: System, name: str) -> Seal:
    """The seal in this file, of this id, or the newest of this checkpoint. Raises: UsageError."""
    if Path(name).is_file():
        return seals.parse(Path(name).read_bytes(), where=name)
    if not system.state_path.is_dir():
        raise UsageError(f"there is no seal {name}: nothing was sealed here yet")
    host = Host()
    with host.tree(str(system.state_path)) as state:
        known = {one.id: one for one in seals.every(state)}
        if name in known:
            return known[name]
        if (system.state_path / "store").is_dir():
            with Checkpoints(system, host, state) as kept:
                named = {one.name: one.id for one in kept.list()}
            found = seals.newest(state, {"checkpoint": named.get(name, name)})
            if found is not None:
                return found
    raise UsageError(
        f"there is no seal {name}: give a file, the id of a seal, or a checkpoint that was sealed"
    )


def newest_seal(system: System, checkpoint: str) -> Seal | None:
    """The newest seal of a checkpoint; None where it was not sealed."""
    if not checkpoint or not system.state_path.is_dir():
        return None
    with Host().tree(str(system.state_path)) as state:
        return seals.newest(state, {"checkpoint": checkpoint})
