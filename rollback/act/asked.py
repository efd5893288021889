"""Who is asked about a run, until when, and what follows when nobody has answered by then.

Hides: how long a run may wait for people where the declaration does not say.
Never: takes silence for a yes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from rollback.act import starting
from rollback.act.plan import Plan, find_level, plan_of
from rollback.act.site import Site
from rollback.host.clock import iso, parse_iso
from rollback.judge.authority import next_up
from rollback.model.lifecycle import Run, State
from rollback.model.people import Authority

WAITS_FOR_S = 24 * 3600.0  # a plan of yesterday was made for another state (as the climb of a day)


def declared(site: Site, plan: Plan) -> Authority:
    """The authority of the plan's level; a procedure without one answers to the owner's role."""
    _, level = find_level(site, plan.level)
    found = level.authority
    return found or Authority(roles=(site.in_force.people.owner,), alone=True)


def authority(site: Site, run: Run, plan: Plan) -> Authority:
    """Whose yes counts by now: the declared roles, and those above who are asked after them."""
    found = declared(site, plan)
    above = _above(site, found)[: _turns(site, run, found)]
    return found.model_copy(update={"roles": (*found.roles, *above)}) if above else found


def due(site: Site, run: Run) -> datetime | None:
    """Until when people may answer what the run waits for; None when it waits for nobody."""
    plan = plan_of(run)
    stands = run.waiting_in if run.state is State.WAITING else run.state
    if run.state is State.WAITING and run.waiting_for.get("on") == "timer":
        return None
    if stands is State.PLANNED:
        found = declared(site, plan)
        turns = 1 + len(_above(site, found))
        wait_s = found.answer_within * turns if found.answer_within else WAITS_FOR_S
        return _asked_at(run) + timedelta(seconds=wait_s)
    if stands is State.AUTHORIZED and not run.steps and starting.waits_for(site, run, plan):
        since = parse_iso(run.moments["run.authorized"][2])
        limits = [item.due for item in starting.open_items(site, run, plan) if item.due is not None]
        return since + timedelta(seconds=min(limits, default=WAITS_FOR_S))
    return None


def overdue(site: Site, run: Run) -> bool:
    """True when the time of those who are asked is over."""
    until = due(site, run)
    return until is not None and now(site) >= until


def unanswered(site: Site, run: Run, what: str) -> Run:
    """What follows when nobody answered in time: the run is EXPIRED, or stops for a person."""
    plan = plan_of(run)
    until = due(site, run)
    assert until is not None
    said = f"nobody answered by {iso(until)[:16]}Z: it waited for {what}"
    if run.state is State.PLANNED and declared(site, plan).unanswered == "person":
        return site.note(run, "run.needs-operator", reason=said)
    return site.note(run, "run.expired", reason=said)


def now(site: Site) -> datetime:
    """The wall clock, but never before what is journalled: set back, it revives no approval."""
    events = site.journal.events()
    told = parse_iso(events[-1].at) if events else None
    present = site.host.clock.now()
    return max(present, told) if told else present


def _asked_at(run: Run) -> datetime:
    """When people were first asked; anew when one of them sent the run on."""
    last = run.moments.get("run.retried") or run.moments["run.planned"]
    return parse_iso(last[2])


def _turns(site: Site, run: Run, found: Authority) -> int:
    """How often the time to answer has passed."""
    if not found.answer_within:
        return 0
    return int((now(site) - _asked_at(run)).total_seconds() / found.answer_within)


def _above(site: Site, found: Authority) -> tuple[str, ...]:
    """The roles that are asked one after another when the declared ones do not answer."""
    if found.unanswered != "next" or not found.answer_within:
        return ()
    return next_up(site.in_force.people, found.roles)
