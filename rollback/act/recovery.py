"""Two procedures that every system has: a component that is corrupted, and work that is lost.

They are plans like any other: authorised as the strictest level that touches the component,
protected, journalled, resumed. Which attempts stand in their ladders depends on what there is: a
program, a checkpoint, a transaction log; the last one is always a person, whom the run waits for.

Hides: the order of the attempts.
Never: ends COMPLETE: no gate belongs to them.
"""

from __future__ import annotations

from typing import Any, Literal

from rollback.act.back import strictest
from rollback.act.guarding import risky
from rollback.act.plan import Plan, ad_hoc
from rollback.act.repairing import By
from rollback.act.scene import Target
from rollback.act.sealed import sealed_as
from rollback.act.site import Site
from rollback.act.target import candidates
from rollback.keep.content import Content
from rollback.model import dependencies
from rollback.model.errors import PlanError, UsageError
from rollback.model.registry import kinds, nearest

Priority = Literal["time", "quality", "balanced"]
# What is tried first, and what when that does not do; a person is always last.
LADDERS: dict[Priority, tuple[By, ...]] = {
    "time": ("checkpoint", "log"),
    "balanced": ("log", "checkpoint"),
    "quality": ("trail", "log", "checkpoint"),
}
CORRUPTED: tuple[By, ...] = ("program", "checkpoint", "log")
EACH = "30m"


def corrupted(
    site: Site, component: str, *, to: str, run: str, requester: str, reason: str
) -> Plan:
    """Isolate, diagnose, repair attempt by attempt, validate against two sources, prevent.

    Raises: PlanError when there is neither a program, a checkpoint nor a log to repair it with.
    """
    name = _component(site, component)
    target = _target(site, name, to)
    users = dependencies.dependents(site.system, name)
    steps: list[dict[str, Any]] = []
    if users:  # nobody reads the bad state, nobody writes to it
        steps.append({"service": {"id": "pause", "stop": list(users), "within": "2m"}})
    files = site.system.components[name].content in ("files", "git", "sqlite")
    if files:
        steps += _isolated(name)
    if target.id and _has_items(site, name):
        steps.append({"compare": {"id": "diagnose", "component": name, "within": EACH,
                                  "on_fail": "continue"}})  # fmt: skip
    steps.append(_ladder(site, name, target, CORRUPTED, f"Rebuild {name} by hand"))
    if _log(site, name) or target.id:
        steps.append(_validated(name))
    if files:
        steps.append({"thaw": {"id": "thaw", "components": [name], "within": EACH}})
    steps += _afterwards(site, users)
    steps.append({"prevent": {"id": "prevent", "component": name}})
    return _plan(site, f"Recovery of corrupted {name}", steps, name, target, run, requester, reason)


def lost_work(
    site: Site,
    component: str,
    *,
    priority: Priority,
    to: str,
    run: str,
    requester: str,
    reason: str,
) -> Plan:
    """The component from the checkpoint, from the log over it, or from the log alone, by priority.

    Raises: PlanError when there is nothing to make it from.
    """
    name = _component(site, component)
    target = _target(site, name, to)
    users = dependencies.dependents(site.system, name)
    steps: list[dict[str, Any]] = []
    if users:
        steps.append({"service": {"id": "stop", "stop": list(users), "within": "2m"}})
    steps.append(_ladder(site, name, target, LADDERS[priority], f"Make {name} again by hand"))
    steps += _afterwards(site, users)
    steps.append({"task": {"id": "salvage", "salvage_only": True,
                           "says": f"Look through what of {name} could not be rebuilt"}})  # fmt: skip
    title = f"Recovery of lost work in {name} ({priority})"
    return _plan(site, title, steps, name, target, run, requester, reason)


def _ladder(
    site: Site, name: str, target: Target, wanted: tuple[By, ...], by_hand: str
) -> dict[str, Any]:
    """The first attempt; the others, and at last a person, follow where it fails."""
    there = list(dict.fromkeys(rung for by in wanted if (rung := _rung(site, name, target, by))))
    if not there:
        raise PlanError(
            f"there is nothing to make {name} from: no checkpoint and no transaction log",
            hint="take a checkpoint while it is well, or declare its transaction_log",
        )
    attempts: list[dict[str, Any]] = [
        {"repair": {"id": f"by-{by}", "component": name, "by": by, "within": EACH}} for by in there
    ]
    attempts.append({"task": {"id": "by-hand", "says": by_hand}})
    first = attempts[0]["repair"]
    first["on_fail"] = {"then": attempts[1:], "ladder": True, "otherwise": "person"}
    return attempts[0]


def _rung(site: Site, name: str, target: Target, by: By) -> By | None:
    """The way as it can be gone here: a log with no checkpoint to lay it over stands alone."""
    if by == "program":
        return by if site.system.components[name].repair is not None else None
    if by == "checkpoint":
        return by if target.id else None
    if not _log(site, name):
        return None
    return by if target.id else "trail"


def _log(site: Site, name: str) -> bool:
    """True when there is a log that this kind of content can be made from."""
    one = site.system.components[name]
    kind = kinds("content").get(str(one.content))
    able = kind is not None and getattr(kind, "rebuilt", None) is not Content.rebuilt
    return able and one.transaction_log is not None


def _has_items(site: Site, name: str) -> bool:
    kind = kinds("content").get(str(site.system.components[name].content))
    return kind is not None and getattr(kind, "items", None) is not Content.items


def _isolated(name: str) -> list[dict[str, Any]]:
    """The bad state is kept aside before anything is tried, and closed to everybody but the repair."""
    return [
        {"quarantine": {"id": "isolate", "component": name, "stays": True, "within": EACH,
                        "reason": "found to be corrupted", "exempt": True}},
        # after the present was kept, which shall have the modes that it had
        {"freeze": {"id": "read-only", "components": [name], "for_repair": True, "within": EACH,
                    "exempt": False}},
    ]  # fmt: skip


def _validated(name: str) -> dict[str, Any]:
    """Every item is vouched for; after a person's work what nobody vouches for is a task."""
    return {"vouched": {
        "id": "validate", "component": name, "within": EACH,
        "on_fail": {"otherwise": "continue", "opens": [f"Look at what nobody vouches for in {name}"]},
    }}  # fmt: skip


def _afterwards(site: Site, users: tuple[str, ...]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if users:
        found.append({"service": {"id": "start", "start": list(users), "within": "2m"}})
    declared = site.system.verification
    of_any_level = any(not getattr(check, "levels", ()) for check in declared.smoke)
    if of_any_level or any("smoke" in one.path.split("/")[:-1] for one in declared.suites):
        found.append({"verify": {"id": "answers", "suite": "smoke", "within": "5m",
                                 "on_fail": "person"}})  # fmt: skip
    return found


def _component(site: Site, given: str) -> str:
    components = site.system.components
    if given in components:
        return given
    if given:
        raise UsageError(f"there is no component {given}", hint=nearest(given, tuple(components)))
    logged = [name for name, one in components.items() if one.transaction_log is not None]
    if len(logged) == 1:
        return logged[0]
    raise UsageError("which component?", hint=f"add --component ({', '.join(components)})")


def _target(site: Site, name: str, to: str) -> Target:
    """The checkpoint that was named, else the newest of the component that the suites proved.

    Where none is proved, the newest that was neither proved bad nor made before a risky command.
    """
    wanted = to.removeprefix("checkpoint:") or "newest"
    fit = []
    for candidate in candidates(site, "checkpoint", wanted):
        found = site.checkpoints.get(candidate.id)
        part = found.parts.get(name)
        if candidate.valid and part is not None and not part.damage:
            fit.append((candidate, found))
    for seal in ("",) if to else ("green", "unsealed"):
        for candidate, found in fit:
            if to or (sealed_as(site, found) == seal and found.kind != risky(site.system)):
                return candidate.target()
    if to:
        raise PlanError(f"{to} is no good checkpoint of {name}", hint="rollback checkpoint list")
    return Target()


def _plan(
    site: Site, title: str, steps: list[dict[str, Any]], name: str, target: Target, run: str,
    requester: str, reason: str,
) -> Plan:  # fmt: skip
    return ad_hoc(
        site, title, steps, run=run, requester=requester, reason=reason or title.lower(),
        target=target, under=strictest(site, (name,)), component=name,
    )  # fmt: skip
