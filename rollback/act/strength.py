"""Whether a gate is strong enough for a run to complete while nobody looks on.

A drill plants faults and tells how many the gate noticed: `rollback event strength planted=72 noticed=70`.
Where a gate declares `strength`, a run that the agent began and nobody confirmed is COMPLETE only if the
newest measurement reaches it; else a person sends it on.

Hides: which run is attended.
Never: takes a gate that nobody measured for a strong one.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollback.act.site import Site
from rollback.model.errors import UsageError
from rollback.model.event import Event
from rollback.model.level import Gate
from rollback.model.lifecycle import Run
from rollback.model.system import System

EVENT = "strength"
MEASURED = "strength.measured"
_HINT = "rollback event strength planted=72 noticed=70"


def wanted(system: System) -> bool:
    """True where a gate declares how strong it has to be."""
    gates = [one.gate for one in system.levels.values()]
    gates += [one.gate for one in system.procedures.values()]
    return any(gate is not None and gate.strength is not None for gate in gates)


def tell(site: Site, fields: Mapping[str, str], *, by: str, identity: str) -> Event:
    """The measurement is in the journal. Raises: UsageError when it is none."""
    if set(fields) != {"planted", "noticed"} or not all(map(str.isdecimal, fields.values())):
        raise UsageError("a measurement has two whole numbers: planted, noticed", hint=_HINT)
    planted, noticed = int(fields["planted"]), int(fields["noticed"])
    if not 0 < planted <= 10**6 or noticed > planted:
        raise UsageError(f"{noticed} of {planted} planted faults is no measurement", hint=_HINT)
    return site.tell(MEASURED, planted=planted, noticed=noticed, by=by, id=identity)


def too_weak(site: Site, run: Run, gate: Gate | None) -> list[str]:
    """Why the run may not complete unattended, as a reason of its gate; nothing when it may."""
    if gate is None or gate.strength is None or not _alone(run):
        return []
    found = [event.data for event in site.journal.events() if event.kind == MEASURED]
    if not found:
        said = "nobody has measured what this gate notices"
    else:
        planted, noticed = int(str(found[-1]["planted"])), int(str(found[-1]["noticed"]))
        if noticed >= gate.strength * planted:
            return []
        said = f"this gate noticed {noticed} of {planted} planted faults"
    return [f"it would complete unattended, and {said}, where {gate.strength:.0%} are wanted: "
            f"rollback resume {run.id}, by a person"]  # fmt: skip


def _alone(run: Run) -> bool:
    """True for a run that the agent began, and that no person approved or sent on."""
    return run.unasked and not run.approvals and "run.retried" not in run.moments
