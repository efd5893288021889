"""People's words that end a run early, or answer what it asks.

Hides: which end belongs to which state.
Never: takes an effect back by itself: the engine does.
"""

from __future__ import annotations

from rollback.act import checklist, records, unsettled
from rollback.act.asked import too_late
from rollback.act.guarding import command_of
from rollback.act.plan import plan_of
from rollback.act.site import Site
from rollback.keep.lease import Lease
from rollback.model.errors import PlanError, UsageError
from rollback.model.level import ChecklistItem
from rollback.model.lifecycle import TRANSITIONS, Run, State
from rollback.model.registry import nearest


def abort(site: Site, run: Run, *, by: str, reason: str, as_it_is: bool = False) -> Run:
    """The run is ABANDONED when it has done nothing, else UNDOING; drive it then.

    `as_it_is`: a run that stopped for a person is ABANDONED, and nothing is taken back.

    Raises: PlanError when it has ended; RunLocked while somebody drives it.
    """
    if run.final:
        did = run.state in (State.COMPLETE, State.MITIGATED) and not run.plan.get("undoes")
        back = f"take back what it did with: rollback undo {run.id}"
        raise PlanError(
            f"run {run.id} has ended: it is {run.state}",
            hint=back if did else f"see how it ended with: rollback report {run.id}",
        )
    with Lease(site.state.tree, site.host, purpose=f"abort {run.id}"):
        run = site.run(run.id)
        did = any(
            record.status in ("began", "ended", "failed", "doubted")
            for record in run.steps.values()
        )
        said = f"{reason} (by {by})"
        if as_it_is and run.state is not State.NEEDS_OPERATOR:
            raise PlanError(f"run {run.id} is {run.state}: it did not stop for a person",
                            hint=_instead(run))  # fmt: skip
        if as_it_is:
            return site.note(run, "run.abandoned", reason=f"left as it is: {said}")
        if not did and (run.state, "run.abandoned") in TRANSITIONS:
            return site.note(run, "run.abandoned", reason=said)
        stands = run.waiting_in if run.state is State.WAITING else run.state
        if (stands, "run.undoing") not in TRANSITIONS:
            raise PlanError(
                f"run {run.id} is {run.state}: there is nothing to stop any more",
                hint=_instead(run),
            )
        return site.note(run, "run.undoing", reason=said)


def _instead(run: Run) -> str:
    """What can be typed about a run that cannot be given up as it was tried."""
    leave = f"leave everything as it is with: rollback abort {run.id} --as-it-is"
    stands = run.waiting_in if run.state is State.WAITING else run.state
    if stands is State.MITIGATED:  # its steps are done; how it ends is for the gate to say
        return f"let the gate be asked first: rollback resume {run.id}"
    if run.state is not State.NEEDS_OPERATOR:
        return f"rollback abort {run.id}"
    if run.plan.get("undoes"):
        return leave
    return f"take back what it did with: rollback undo {run.id}; or {leave}"


def retry(site: Site, run: Run, *, by: str) -> Run:
    """A run that stopped for a person is sent on: where it stood, it tries again.

    Raises: RunLocked while somebody drives it.
    """
    with Lease(site.state.tree, site.host, purpose=f"resume {run.id}"):
        run = site.run(run.id)
        if run.state is not State.NEEDS_OPERATOR:
            return run  # somebody else did it meanwhile
        step = command_of(plan_of(run))
        record = run.steps.get(step.index) if step is not None else None
        if record is not None and record.status == "failed":
            raise PlanError(
                f"the command of run {run.id} failed, and is never run again by itself",
                hint=f"go back with rollback undo {run.id}; leave it as it is with "
                f"rollback abort {run.id} --as-it-is; or type the guard again",
            )  # fmt: skip
        return site.note(run, "run.retried", by=by)


def answer(site: Site, run: Run, *, item: str, text: str, by: str) -> Run:
    """What a person said about an item of the run's checklist, a record or a question is in the journal.

    Raises: PlanError when the level asks no such thing, or somebody else must say it; UsageError when
    it is none of what may be said.
    """
    there, plan = site.under(run), plan_of(run)
    if item.partition(records.SEPARATOR)[0] in records.asked_by(there, plan):
        return _filled(there, records.say(there, run, plan, item, text, by=by))
    if unsettled.knows(there, item):
        unsettled.settle(there, run, item, text, by=by)
        return _filled(there, site.run(run.id))
    waits = run.waiting_for if run.state is State.WAITING else {}
    if waits.get("item") == item and waits.get("on") == "answer":
        return _to_a_step(site, run, text, by=by)
    found = _items(site, run).get(item)
    if found is None:
        raise unasked(site, run, item)
    _for_the_role(site, item, checklist.asked(there, found), by)
    return _filled(there, site.note(run, "answer.given", item=item, text=text, by=by))


def _filled(site: Site, run: Run) -> Run:
    """The checklist of a run that is over says so at once, and its incident may be closed by it."""
    if not run.over:
        return run  # whoever drives it fills it
    from rollback.act.afterwards import write_report  # most answers come while a run waits

    run = checklist.fill(site, run, plan_of(run), whole=True)
    checklist.close(site, run)
    write_report(site, run)
    return run


def asks(site: Site, run: Run) -> dict[str, str]:
    """What can be answered of a run: what it waits for first, then its items and records; in words."""
    waits = (
        run.waiting_for
        if run.state is State.WAITING and run.waiting_for.get("on") == "answer"
        else {}
    )
    found = {str(waits["item"]): str(waits.get("what", ""))} if waits.get("item") else {}
    for name, one in _items(site, run).items():
        found.setdefault(name, one.item)
    for left in unsettled.open_items(site.under(run), run, plan_of(run)):
        found.setdefault(left.id, left.reason)
    for name in records.asked_by(site.under(run), plan_of(run)):
        for key, field in site.under(run).system.records[name].fields.items():
            found.setdefault(f"{name}{records.SEPARATOR}{key}", field.title or key)
    return found


def _items(site: Site, run: Run) -> dict[str, ChecklistItem]:
    from rollback.act.plan import find_level
    from rollback.act.starting import of_its_level, start_items

    there, plan = site.under(run), plan_of(run)
    _, level = find_level(there, plan.level)
    declared = level.checklist if of_its_level(plan, level) else ()
    return {one.id: one for one in (*start_items(there, run, plan), *declared)}


def unasked(site: Site, run: Run, item: str) -> PlanError:
    """That the run asks no such thing, and what it asks."""
    found = tuple(asks(site, run))
    hint = nearest(item, found) if found else f"it asks nothing: rollback history {run.id}"
    return PlanError(f"run {run.id} asks nothing called {item}", hint=hint)


def _to_a_step(site: Site, run: Run, text: str, *, by: str) -> Run:
    """What a step that waits was told, by whom it asks, and one of what it offers."""
    item, choices = str(run.waiting_for["item"]), run.waiting_for.get("choices")
    if too_late(site, run):
        raise PlanError(f"the time to answer {item} is over",
                        hint=f"what follows comes with: rollback resume {run.id}")  # fmt: skip
    _for_the_role(site, item, str(run.waiting_for.get("by") or ""), by)
    if isinstance(choices, list) and choices and text.strip() not in choices:
        known = tuple(map(str, choices))
        raise UsageError(f"{text!r} is none of what {item} offers",
                         hint=f"{nearest(text.strip(), known)} ({', '.join(known)})")  # fmt: skip
    said = text.strip() if choices else text
    return site.note(run, "answer.given", item=item, text=said, by=by)


def _for_the_role(site: Site, item: str, role: str | None, by: str) -> None:
    member = next((m for m in site.in_force.people.members if m.id == by), None)
    if role and (member is None or role not in member.roles):
        raise PlanError(
            f"{item} is for the role {role} to say", hint=f"add --as somebody who is {role}"
        )
