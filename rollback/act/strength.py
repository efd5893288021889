"""Whether a gate is strong enough for a run to complete while nobody looks on.

A drill plants faults and writes down how many a gate noticed: `python -m drills strength NAME --system
FILE`.
Where a gate declares `strength`, a run that the agent began and nobody confirmed is COMPLETE only if the
newest measurement of this gate, of the checks that it asks now, reaches it and is not too old; else a
person sends it on.

Hides: which run is attended, and which measurement is about this gate.
Never: takes a gate that nobody measured for a strong one, or somebody's word for a measurement.
"""

from __future__ import annotations

from rollback.act.site import Site
from rollback.host.clock import parse_iso
from rollback.model.errors import PlanError, UsageError
from rollback.model.event import Event
from rollback.model.level import Gate, Level, Procedure
from rollback.model.lifecycle import Run
from rollback.model.quantity import spoken
from rollback.model.system import System

EVENT = "strength"
MEASURED = "strength.measured"
MEASURE = "python -m drills strength NAME --system FILE"


def wanted(system: System) -> bool:
    """True where a gate declares how strong it has to be."""
    gates = [one.gate for one in system.levels.values()]
    gates += [one.gate for one in system.procedures.values()]
    return any(gate is not None and gate.strength is not None for gate in gates)


def no_word() -> UsageError:
    """What somebody is told who says how strong a gate is."""
    return UsageError("how strong a gate is is measured, not told", hint=MEASURE)


def list_digest(site: Site, level: Level | Procedure) -> str:
    """The digest of everything that the gate of this level asks now."""
    from rollback.prove.expect import expectations
    from rollback.prove.listed import listed

    return listed(site.system, expectations(site.system, level)).digest


def record(site: Site, key: str, *, asked: str, planted: int, noticed: int) -> Event:
    """What a drill measured is in the journal of this system. `asked` is the list that was measured.

    Raises: PlanError when this system has no such level, or its gate asks something else.
    """
    level = site.system.levels.get(key)
    if level is None or level.gate is None:
        raise PlanError(f"there is no level {key} with a gate", hint="rollback validate")
    if not 0 <= noticed <= planted or planted == 0:
        raise PlanError(f"{noticed} of {planted} planted faults is no measurement", hint=MEASURE)
    if asked != list_digest(site, level):
        raise PlanError(f"the gate of {key} asks other checks here than those that were measured",
                        hint="measure a sandbox of the same declaration")  # fmt: skip
    return site.tell(MEASURED, level=key, asked=asked, planted=planted, noticed=noticed)


def too_weak(site: Site, run: Run, key: str, level: Level | Procedure) -> list[str]:
    """Why the run may not complete unattended, as a reason of its gate; nothing when it may."""
    gate = level.gate
    if gate is None or gate.strength is None or not _alone(run):
        return []
    said = _short(site, gate, gate.strength, _newest(site, key), list_digest(site, level))
    return [f"it would complete unattended, and {said}, where {gate.strength:.0%} are wanted: "
            f"rollback resume {run.id}, by a person"] if said else []  # fmt: skip


def _newest(site: Site, key: str) -> Event | None:
    told = (event for event in site.journal.events() if event.kind == MEASURED)
    found = [one for one in told if one.data.get("level") == key and "asked" in one.data]
    return found[-1] if found else None


def _short(site: Site, gate: Gate, share: float, found: Event | None, asked: str) -> str:
    """What is wrong with the newest measurement; "" when it is enough."""
    if found is None:
        return "nobody has measured what this gate notices"
    if found.data["asked"] != asked:
        return "what this gate asks has changed since it was measured"
    age_s = (site.host.clock.now() - parse_iso(found.at)).total_seconds()
    if not 0 <= age_s <= gate.strength_lasts:
        return f"it was measured {spoken(abs(age_s))} {'ago' if age_s > 0 else 'in the future'}"
    planted, noticed = int(str(found.data["planted"])), int(str(found.data["noticed"]))
    return (
        ""
        if noticed >= share * planted
        else f"this gate noticed {noticed} of {planted} planted faults"
    )


def _alone(run: Run) -> bool:
    """True for a run that the agent began, and that no person approved or sent on."""
    return run.unasked and not run.approvals and "run.retried" not in run.moments
