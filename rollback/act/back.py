"""Runs that no level declares: undoing a run, and restoring a checkpoint by hand.

They change the managed system, so they are runs like any other: protected, journalled; without a gate
they end MITIGATED. What takes a run back asks whom that run asked: it changes nothing that the run did
not change. What somebody makes up asks the strictest level that touches the same components.

Hides: how such a plan is made up.
Never: skips an approval that a level would ask for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from typing import Any

from rollback.act import built_in
from rollback.act.acceptable import why_not
from rollback.act.guarding import command_of
from rollback.act.plan import Plan, PlannedStep, ad_hoc, backwards, plan_of
from rollback.act.protecting import safety_of
from rollback.act.scene import Target, Traced
from rollback.act.site import Site
from rollback.model.errors import PlanError, UsageError
from rollback.model.lifecycle import ENDED, Run, State
from rollback.model.registry import nearest

# one that only began was cut off, and nobody looked since: what it did is there all the same
_DONE = ("began", "ended", "failed", "doubted")


def last_done(site: Site) -> Run:
    """The last run that changed something and was not taken back. Raises: PlanError."""
    runs = site.runs()
    undone = {str(run.plan.get("undoes", "")) for run in runs.values()
              if run.state in (State.MITIGATED, State.COMPLETE)}  # fmt: skip
    for run in reversed(runs.values()):
        back = run.plan.get("undoes") or run.state is State.UNDONE
        if not back and run.id not in undone and any(_taken(site, run, plan_of(run))):
            return run
    raise PlanError("no run changed anything that was not taken back", hint="rollback history")


def _taken(site: Site, run: Run, plan: Plan) -> Iterator[PlannedStep]:
    """The steps of a run that left something behind, in their order.

    Not those that found everything as they would have left it: what came later is not theirs.
    """
    for step in plan.every_step():
        record = run.steps.get(step.index)
        if record is None or record.status not in _DONE:
            continue
        if isinstance(step.action(), Traced) and not _changed_nothing(site, run, step):
            yield step


def _changed_nothing(site: Site, run: Run, step: PlannedStep) -> bool:
    """True when it was taken once, came to its end, and said so."""
    record = run.steps[step.index]
    changed = record.evidence.get("changed")
    if record.status != "ended" or changed is None or changed:
        return False
    began = [e for e in site.journal.events() if e.run == run.id and e.kind == "step.began"
             and e.data.get("index") == step.index]  # fmt: skip
    return len(began) == 1


def undo_plan(site: Site, old: Run, *, run: str, requester: str, reason: str) -> Plan:
    """The steps of an earlier run, taken back from last to first, to its safety checkpoint.

    Raises: PlanError when it did nothing, or something that has no way back.
    """
    if old.state not in ENDED and (old.state is not State.MITIGATED or old.gated):
        first = f"give it up first; that takes back what it did: rollback abort {old.id}"
        if old.state is State.MITIGATED:
            first = f"let the gate be asked first: rollback resume {old.id}"
        raise PlanError(f"run {old.id} has not ended: it is {old.state}", hint=first)
    plan = plan_of(old)
    site = site.there(plan.environment)
    taken = list(_taken(site, old, plan))
    if not taken:
        raise PlanError(
            f"run {old.id} did nothing that could be taken back", hint="rollback history"
        )
    if command_of(plan):
        back = restore_plan(site, old.safety, (), run=run, requester=requester,
                            reason=reason or f"undo of {old.id}")  # fmt: skip
        return replace(back, undoes=old.id)
    written: list[dict[str, Any]] = []
    for step in backwards(taken):
        body = asdict(step)
        body["alternatives"] = []
        written.append({"take-back": {
            "id": f"back-{step.index}".replace("_", "-"), "run": old.id, "step": body,
            "target": asdict(plan.target), "stamp": dict(plan.stamp),
            "safety": safety_of(site, old, plan, step), "component": plan.component,
            "environment": step.environment, "exempt": step.first,
            "whole": old.steps[step.index].status == "ended",
        }})  # fmt: skip
    target = Target("checkpoint", old.safety, f"before {old.id}")
    return ad_hoc(
        site, f"Back to before run {old.id}", written, run=run, requester=requester,
        reason=reason or f"undo of {old.id}", target=target, under=_asked(site, plan), undoes=old.id,
        component=plan.component,
    )  # fmt: skip


def _asked(site: Site, plan: Plan) -> str:
    """The level or procedure whose authority a run of this plan asked; no longer declared: the strictest."""
    if plan.level in site.system.levels:
        return plan.level
    if plan.procedure and (
        plan.level in site.system.procedures or built_in.find(site.system, plan.level)
    ):
        return plan.level
    return strictest(site, plan.touched)


def restore_plan(
    site: Site, checkpoint: str, components: Iterable[str], *, run: str, requester: str, reason: str
) -> Plan:
    """Stop what uses the components, put them back from the checkpoint, start it again."""
    found = site.checkpoints.get(checkpoint)
    wanted = tuple(components) or _in_order(site, found.components)
    refused = why_not(site, found, alone=len(wanted) == 1)
    if refused:
        raise PlanError(f"checkpoint {found.name or found.id[:12]} is no target: {refused[0]}",
                        hint="choose another: rollback checkpoint list")  # fmt: skip
    for name in wanted:
        if name not in site.system.components:
            raise UsageError(
                f"there is no component {name}", hint=nearest(name, tuple(site.system.components))
            )
        if name not in found.components:
            raise PlanError(
                f"checkpoint {found.name or found.id[:12]} does not hold {name}",
                hint="it holds: " + ", ".join(found.components),
            )
    wanted = _in_order(site, wanted)
    services = [
        name
        for name, service in site.system.services.items()
        if set(service.components) & set(wanted)
    ]
    steps = _by_class(site, wanted)
    if services:
        steps.insert(0, {"service": {"id": "stop", "stop": services}})
        steps.append({"service": {"id": "start", "start": services}})
    target = Target("checkpoint", found.id, found.name, found.at)
    return ad_hoc(
        site, f"Restore of checkpoint {found.name or found.id[:12]}", steps, run=run,
        requester=requester, reason=reason or "restore by hand", target=target,
        under=strictest(site, wanted),
    )  # fmt: skip


def strictest(site: Site, touched: Iterable[str]) -> str:
    """The id of the level with the hardest authority among those that touch one of the components.

    Hardest: the most people, then the highest rank. No level names them: the highest of all.
    """
    names = set(touched)

    def touches(key: str) -> bool:
        return any(name in str(site.system.source["levels"][key]["steps"]) for name in names)

    levels = site.system.levels
    found = [key for key in levels if touches(key)] or list(levels)

    def hard(key: str) -> tuple[int, bool, int]:
        authority = levels[key].authority
        people = len(authority.roles) if authority.quorum == "all" else authority.count
        return people, not authority.alone, levels[key].rank

    return max(found, key=hard)


def _in_order(site: Site, names: Iterable[str]) -> tuple[str, ...]:
    components = site.system.components
    classes = site.system.checkpoints.restore_order

    def place(name: str) -> tuple[int, int, str]:
        one = components[name]
        rank = classes.index(one.class_) if one.class_ in classes else len(classes)
        return (rank, one.order, name)

    return tuple(sorted((name for name in names if name in components), key=place))


def _by_class(site: Site, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Each component put back; after the last one of a class, the checks that show it to be usable.

    Where one of them says no the run stops there, for a person: what came before is whole.
    """
    components = site.system.components
    steps: list[dict[str, Any]] = []
    for at, name in enumerate(names):
        steps.append(
            {"restore": {"id": f"restore-{name}"[:63], "component": name, "within": "10m"}}
        )
        class_ = components[name].class_
        if names[at + 1 :] and components[names[at + 1]].class_ == class_:
            continue
        group = [one for one in names[: at + 1] if components[one].class_ == class_]
        checks = list(dict.fromkeys(c for one in group for c in components[one].usable))
        if checks:
            steps.append({"verify": {
                "id": f"usable-{name}"[:63], "checks": checks, "within": "2m", "on_fail": "person",
                "title": f"{class_ or name} can be used",
            }})  # fmt: skip
    return steps
