"""What follows when a level was not enough: its tasks are opened, the next level offered or begun.

The way up is what the levels declare (`on_fail`). Which of them have failed in an incident is read
from the journal, so each is tried once, whatever is restarted, asked again or declared anew.

Hides: how far up the way leads past what has failed.
Never: goes to a level that failed in this incident; takes a yes from nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rollback.act import authorize
from rollback.act.plan import Plan, find_level, make_plan, plan_of
from rollback.act.site import Site
from rollback.act.starting import of_its_level
from rollback.act.tasks import open_task
from rollback.host.below import why
from rollback.judge.scope import smallest
from rollback.model.errors import PlanError, RollbackError
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.level import ClimbTo
from rollback.model.lifecycle import ENDED, FINAL, Run, State
from rollback.model.system import HOME, System

Tried = frozenset[tuple[str, str]]  # a level, and the component where it works on a single one
_STOPS = ("gate.closed", "run.needs-operator")


@dataclass(frozen=True, slots=True)
class Up:
    """The next level, as it is declared: whether the whole way there is taken by itself."""

    level: str
    auto: bool


@dataclass(frozen=True, slots=True)
class Next:
    """Where to go from a level that was not enough. `level` is "" for nowhere, `offer` what to type.

    `declared` says that the level itself leads there, `auto` that it does so without being asked.
    """

    level: str = ""
    offer: str = ""
    declared: bool = False
    auto: bool = False

    def data(self) -> dict[str, Json]:
        """For the event that the run stopped."""
        when = ("auto" if self.auto else "ask") if self.declared else ""
        return {
            "climb": self.level if self.declared else "", "when": when, "offer": self.offer,
            "offers": self.level,
        }  # fmt: skip


def not_enough(site: Site, run: Run, plan: Plan, failing: Iterable[str] | None = None) -> Next:
    """The tasks of a level that was not enough are open; where to go from here.

    Without a declared way up it is the level that covers the checks that are `failing`, or without
    these the next rank; never one that has failed.
    """
    _open_tasks(site, run, plan)
    if failing is None:
        return onwards(site, plan, run.incident)
    found = _way_up(site, plan, run.incident)
    if not found.level:
        offer = smallest(site.system, failing, besides=_failed(site, plan, run.incident))
        return Next(offer.level, offer.command) if offer else Next()
    return found


def onwards(site: Site, plan: Plan, incident: str) -> Next:
    """The declared level after this one, else the next rank that has not failed in the incident."""
    found = _way_up(site, plan, incident)
    failed = _failed(site, plan, incident)
    higher = sorted((level.rank, key) for key, level in site.system.levels.items()
                    if level.rank > plan.rank
                    and _key(site.system, key, plan.component) not in failed)  # fmt: skip
    if found.level or not higher:
        return found
    return Next(higher[0][1], _command(site.system, higher[0][1], plan.component))


def offered(site: Site, run: Run) -> Next:
    """Where a stopped run leads, as long as nobody has gone there: it offers nothing that was tried."""
    last = next((e for e in reversed(list(_events(site, run))) if e.kind in _STOPS), None)
    if run.state is not State.NEEDS_OPERATOR or last is None or not last.data.get("offers"):
        return Next()
    level, plan = str(last.data["offers"]), plan_of(run)
    since = list(site.runs().values())
    since = since[[one.id for one in since].index(run.id) + 1 :]
    wanted = _key(site.system, level, plan.component)
    gone = (_at(site, one) == wanted for one in since
            if one.incident == run.incident and (one.steps or one.state not in FINAL))  # fmt: skip
    if wanted in tried(site, run.incident) or any(gone):
        return Next()
    return Next(level, str(last.data["offer"]), bool(last.data.get("climb")))


def tried(site: Site, incident: str) -> Tried:
    """The levels whose own runs in this incident were not enough."""
    found = set()
    for run in site.runs().values():
        if run.incident != incident or not _not_enough(run):
            continue
        plan = plan_of(run)
        level = site.system.levels.get(plan.level)
        if level is not None and of_its_level(plan, level):
            found.add(_key(site.system, plan.level, plan.component))
    return frozenset(found)


def climb(site: Site, run: Run) -> Run | None:
    """The run at the next level, where the declaration goes there by itself; None where not.

    It is PLANNED, of the same incident, for the same requester: drive it, and it goes on or waits
    as its own authority says. What stands against it is noted with the run. Again: the same one.
    """
    if run.state is not State.NEEDS_OPERATOR:
        return None
    last = next(e for e in reversed(list(_events(site, run))) if e.kind in _STOPS)
    level = str(last.data.get("climb") or "")
    if not level or last.data.get("when") != "auto":
        return None
    plan = plan_of(run)
    home = replace(site, system=site.in_force.in_environment(HOME), present=None)
    try:
        return _open_at(home, run, level, plan.component) or _begin(home, run, plan, level)
    except (RollbackError, OSError) as error:
        _note(home, run, f"not climbed to {level}: {why(error)}")
        return None


def declared(site: Site, plan: Plan) -> ClimbTo | None:
    """What the plan's own level says follows; nothing for a plan that borrows its authority."""
    try:
        _, level = find_level(site, plan.level)
    except PlanError:
        return None
    return level.on_fail if of_its_level(plan, level) else None


# -- inside --------------------------------------------------------------------------------


def _way_up(site: Site, plan: Plan, incident: str) -> Next:
    up = _up(site.system, declared(site, plan), _failed(site, plan, incident))
    if up is None:
        return Next()
    return Next(up.level, _command(site.system, up.level, plan.component), True, up.auto)


def _failed(site: Site, plan: Plan, incident: str) -> Tried:
    """What has failed in the incident, and the plan's own level."""
    return tried(site, incident) | {_key(site.system, plan.level, plan.component)}


def _begin(site: Site, run: Run, plan: Plan, level: str) -> Run:
    """The new run. Raises: RollbackError, OSError when it may not, or need not, be."""
    failed = tried(site, run.incident)
    up = _up(site.system, declared(site, plan), failed)
    if up is None or up.level != level or not up.auto:
        raise PlanError("the declaration in force does not go there by itself any more")
    made = make_plan(
        site, level, run=authorize.next_run_id(site), requester=plan.requester,
        component=_component(site.system, level, plan.component), environment=plan.environment,
        reason=f"{plan.level} was not enough in run {run.id}",
    )  # fmt: skip
    if made.idle:
        raise PlanError(f"the system is at {made.target.label or 'its target'} already")
    begun = authorize.create(site, made, follows=run)
    _note(site, run, f"climbs to {level}: run {begun.id}")
    return begun


def _note(site: Site, run: Run, said: str) -> None:
    """It is in the journal, and in the report of the run, which stands by now."""
    from rollback.act.afterwards import write_report  # of a run that went well nobody asks this

    site.tell("run.noted", run=run.id, note=said)
    write_report(site, site.run(run.id))


def _open_at(site: Site, run: Run, level: str, component: str) -> Run | None:
    """The run of this incident that is on its way at that level, if there is one."""
    wanted = _key(site.system, level, component)
    for other in site.runs().values():
        if other.incident == run.incident and other.state not in ENDED:
            if _at(site, other) == wanted:
                return other
    return None


def _at(site: Site, run: Run) -> tuple[str, str] | None:
    """Where a run of a level is; None for one that takes another back."""
    plan = plan_of(run)
    return None if plan.undoes else _key(site.system, plan.level, plan.component)


def _up(system: System, first: ClimbTo | None, failed: Tried) -> Up | None:
    """The first level of the declared way that has not failed; past one that has, its own way up."""
    seen: set[str] = set()
    on_fail, auto = first, True
    while on_fail is not None and on_fail.climb and on_fail.climb not in seen:
        name = on_fail.climb
        seen.add(name)
        auto = auto and on_fail.when == "auto"
        level = system.levels.get(name)
        if level is None:
            return None
        if not any(key == name for key, _ in failed):
            return Up(name, auto)
        on_fail = level.on_fail
    return None


def _not_enough(run: Run) -> bool:
    if run.state in (State.COMPLETE, State.MITIGATED):
        return False
    stopped_at_work = "run.needs-operator" in run.moments and bool(run.steps)
    return stopped_at_work or "gate.closed" in run.moments or "run.undone" in run.moments


def _key(system: System, level: str, component: str) -> tuple[str, str]:
    return level, _component(system, level, component)


def _component(system: System, level: str, component: str) -> str:
    """The component that the level is asked for; "" where it asks for none."""
    declared = system.levels.get(level)
    return component if declared is not None and declared.component == "required" else ""


def _command(system: System, level: str, component: str) -> str:
    wanted = _component(system, level, component)
    return f"rollback run {level}" + (f" --component {wanted}" if wanted else "")


def _open_tasks(site: Site, run: Run, plan: Plan) -> None:
    """Each declared task is opened once for the run."""
    on_fail = declared(site, plan)
    known = {e.data.get("name") for e in _events(site, run)
             if e.kind == "task.opened" and e.data.get("step") == "on-fail"}  # fmt: skip
    for name in on_fail.tasks if on_fail else ():
        if name not in known:
            why = f"{plan.level} was not enough in run {run.id}"
            open_task(site, name, run=run.id, step="on-fail", because=why)


def _events(site: Site, run: Run) -> Iterator[Event]:
    return (event for event in site.journal.events() if event.run == run.id)
