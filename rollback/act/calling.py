"""Calling people: ladders that are climbed until somebody acknowledges, messages that come again.

Whoever comes by looks what is due: the agent at each tick, and every command that drives a run. What
was called stands in the journal, with its time; so a ladder goes on after a crash where it was, and
nothing of it sleeps.

Hides: what begins a ladder, and what ends one.
Never: sends a run on, or takes an acknowledgement for a yes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rollback.act import asked, climbing, deadlines, delivering, incident
from rollback.act.ladders import Climbed, ladders
from rollback.act.plan import plan_of
from rollback.act.site import Site
from rollback.act.telling import queue_one
from rollback.host.clock import moment_of
from rollback.judge.authority import present
from rollback.judge.ladder import due, ends_s
from rollback.model.errors import PlanError, RunLocked
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.lifecycle import Run, State
from rollback.model.operations import Ladder, Message, Rung
from rollback.model.quantity import spoken
from rollback.tell import facts

LOCK = f"{delivering.FOLDER}/calling.lock"
YOUNG_S = 3600.0  # what is of no run calls people when it happens, not when somebody looks later
STOPPED_YOUNG_S = 24 * 3600.0
_STOPS = ("gate.closed", "run.needs-operator", "run.undone")
_STATES = {
    "run.refused": "refused: nothing was begun", "agent.held": "held: a person is needed",
    deadlines.KIND: "overdue",
}  # fmt: skip
_SAID = "{title}: {reason}. You are called as {role}. Take it with: {ack_command}"


@dataclass(frozen=True, slots=True)
class _Cause:
    """Why people are called: an event, its ladder, and the run that it is about."""

    event: Event
    ladder: str
    because: str
    run: str = ""


def advance(site: Site) -> None:
    """Every ladder stands on its rung of now, and what comes again, or is late, is queued."""
    if not (site.system.notify.ladders or site.system.notify.messages) or not site.state.writable:
        return
    site.state.tree.make_folder(delivering.FOLDER)
    try:
        with site.state.tree.lock(LOCK, clock=site.host.clock, within_s=0.0):
            _begin(site)
            for one in ladders(site.journal.events()):
                if one.open:
                    _climb(site, one)
                elif one.unanswered and (over := _over(site, one)):  # it was silent, and is over
                    site.tell("ladder.ended", run=one.about, id=one.id, because=over)
            deadlines.tell(site)
            _again(site)
    except RunLocked as error:
        if not error.where.endswith(LOCK):
            raise
        return  # somebody else is at it


def look(site: Site) -> None:
    """As `advance`; and whatever is queued is on its way."""
    advance(site)
    delivering.leave(site)


# -- ladders -------------------------------------------------------------------------------


def _begin(site: Site) -> None:
    if not site.system.notify.ladders:
        return
    known = ladders(site.journal.events())
    for cause in _causes(site):
        name = f"{cause.ladder}-{cause.event.seq}"
        same = [one for one in known if one.ladder == cause.ladder and one.about == cause.run]
        if any(one.id == name or _still(site, one, cause) for one in same):
            continue
        run = site.runs().get(cause.run)
        site.tell(
            "ladder.begun", run=cause.run, id=name, ladder=cause.ladder, because=cause.because,
            cause=cause.event.kind, incident=run.incident if run else "",
        )  # fmt: skip


def _still(site: Site, one: Climbed, cause: _Cause) -> bool:
    """True when this very thing has people called already, or had them called within the hour."""
    if one.cause != cause.event.kind:
        return False
    if cause.event.kind == "run.waiting":
        return True  # who was asked once for a run is not called again when it is looked at
    alike = _bare(one.because) == _bare(cause.because)
    return alike and (one.open or (not cause.run and _age_s(site, one.begun) < YOUNG_S))


def _causes(site: Site) -> Iterator[_Cause]:
    """What calls for a ladder now, oldest first."""
    events, runs = site.journal.events(), site.runs()
    last = {e.run: e for e in events if e.kind in _STOPS or e.kind == "run.waiting"}
    planned = max((e.seq for e in events if e.kind == "run.planned"), default=0)
    refusals = site.system.guardrails.escalate
    for event in events:
        run = runs.get(event.run)
        if run is not None and last.get(event.run) is event:
            yield from _of_run(site, run, event)
        elif event.kind == "run.refused" and refusals and _age_s(site, event) < YOUNG_S:
            reasons = event.data.get("reasons")
            said = "; ".join(map(str, reasons)) if isinstance(reasons, list) else ""
            yield _Cause(event, refusals, f"refused: {said}"[:500])
        elif event.kind == deadlines.KIND and _age_s(site, event) < YOUNG_S:
            said = f"{event.data['what']}, and nobody did"
            yield from (
                _Cause(event, name, said[:500])
                for name, one in site.system.notify.ladders.items() if "overdue" in one.on
            )  # fmt: skip
        elif event.kind == "agent.held" and event.seq > planned and event.data.get("ladder"):
            if _age_s(site, event) < YOUNG_S:
                name, said = str(event.data["ladder"]), str(event.data.get("because", ""))
                yield _Cause(event, name, said[:500])


def _of_run(site: Site, run: Run, event: Event) -> Iterator[_Cause]:
    plan = plan_of(run)
    if event.kind == "run.waiting":
        found = _ladder_of_authority(site, run)
        if found:
            yield _Cause(event, found, f"run {run.id} waits for {event.data.get('what')}", run.id)
        return
    try:
        way = climbing.declared(site, plan)
    except PlanError:
        return
    stands = run.state in (State.NEEDS_OPERATOR, State.UNDONE)
    if way is None or way.escalate is None or not stands or _age_s(site, event) > STOPPED_YOUNG_S:
        return
    if run.state is State.UNDONE and not any(
        r.status in ("failed", "undone") for r in run.steps.values()
    ):
        return
    yield _Cause(event, way.escalate, run.reason or f"run {run.id} is {run.state}", run.id)


def _ladder_of_authority(site: Site, run: Run) -> str:
    """The ladder that is called while the run waits for its approvals; "" for none."""
    waits = run.state is State.WAITING and run.waiting_for.get("on") == "approval"
    if not waits:
        return ""
    try:
        return asked.declared(site, plan_of(run)).ladder or ""
    except PlanError:
        return ""


def _climb(site: Site, one: Climbed) -> None:
    """The rungs whose time has come are called or passed over; or the ladder has ended."""
    ladder = site.system.notify.ladders.get(one.ladder)
    over = "it is not declared any more" if ladder is None else _over(site, one)
    if over or ladder is None:
        site.tell("ladder.ended", run=one.about, id=one.id, because=over)
        return
    now, age_s = site.host.clock.now(), _age_s(site, one.begun)
    for call in due(ladder, site.in_force.people, now, age_s, one.done):
        if call.word == "passed":
            site.tell("ladder.passed", run=one.about, id=one.id, rung=call.number,
                      role=call.rung.role, because=call.because)  # fmt: skip
            one.done.setdefault(call.number, "passed")
            continue
        _call(site, one, ladder, call.number, call.rung, call.because)
    if len(one.done) == len(ladder.rungs) and age_s >= ends_s(ladder, site.in_force.people, now):
        _nobody(site, one, age_s)


def _call(site: Site, one: Climbed, ladder: Ladder, number: int, rung: Rung, because: str) -> None:
    """The message of the rung is queued, then the rung stands as called; again: the same message."""
    run, now = site.runs().get(one.about), site.host.clock.now()
    there = [p.id for p in present(site.in_force.people, now) if rung.role in p.roles]
    name = ladder.message or f"ladder-{one.ladder}"
    more = {
        "role": facts.holders(site.in_force, rung.role, now), "people": ", ".join(there) or "nobody",
        "ladder": ladder.title or one.ladder, **_about(site, one),
    }  # fmt: skip
    own = None
    if not ladder.message and rung.audience:
        own = Message(audience=rung.audience, text=_SAID, urgent=True)
    if ladder.message or own:  # else it is in the journal, and in status
        queue_one(
            site, run, name, more, step=f"ladder-{one.id}-{number}", key=one.id,
            audience=rung.audience or "", declared=own,
        )  # fmt: skip
    site.tell(
        "ladder.called", run=one.about, id=one.id, rung=number, role=rung.role,
        people=list[Json](there), after_s=round(_age_s(site, one.begun), 3),
        message=f"{one.about or one.id}/ladder-{one.id}-{number}/{name}", because=because,
    )  # fmt: skip
    one.done[number] = "called"
    one.called.append(rung.role)


def _about(site: Site, one: Climbed) -> dict[str, str]:
    """What a rung says beside what is known of the run, or where there is none."""
    more = {"reason": one.because, "issue": one.because, "failure": one.because}
    if one.about:
        return {"reason": one.because}
    state, cause = _STATES.get(one.cause, "a person is needed"), _cause_of(site, one)
    if one.cause == deadlines.KIND and cause is not None:
        more |= {"trigger": str(cause.data["trigger"] or cause.data["what"]),
                 "urgency": spoken(float(str(cause.data["within_s"])))}  # fmt: skip
    return {**more, "state": state, "ack_command": f"rollback ack {one.id} --as PERSON",
            "context": facts.context_of(one.id, cause)}  # fmt: skip


def _cause_of(site: Site, one: Climbed) -> Event | None:
    """The event that a ladder began with; its number stands in the name of the ladder."""
    number = one.id.rpartition("-")[2]
    return next(
        (e for e in site.journal.events() if str(e.seq) == number and e.kind == one.cause), None
    )


def _over(site: Site, one: Climbed) -> str:
    """Why nobody needs to be called any more; "" while the cause stands."""
    if not one.about:
        later = [e.run for e in site.journal.events()[one.begun.seq :] if e.kind == "run.planned"]
        return f"run {later[-1]} was begun" if later else ""
    run = site.runs()[one.about]
    if one.cause == "run.waiting":
        return (
            "" if _ladder_of_authority(site, run) else f"run {run.id} does not wait for it any more"
        )
    if run.state not in (State.NEEDS_OPERATOR, State.UNDONE):
        return f"run {run.id} is {run.state}"
    proved = any(
        other.state is State.COMPLETE and other.incident == run.incident
        for other in list(site.runs().values())[list(site.runs()).index(run.id) + 1 :]
    )
    return f"another run of incident {run.incident} is COMPLETE" if proved else ""


def _nobody(site: Site, one: Climbed, age_s: float) -> None:
    """That nobody acknowledged is in the journal, and said wherever a message is declared for it."""
    site.tell("ladder.silent", run=one.about, id=one.id, ladder=one.ladder, called=[*one.called],
              for_s=round(age_s, 3), because=one.because)  # fmt: skip
    run = site.runs().get(one.about)
    said = f"nobody of {', '.join(one.called)} acknowledged within {spoken(age_s)}: {one.because}"
    more = {
        "reason": said, "ladder": one.ladder, "state": "nobody acknowledged",
        "role": ", ".join(one.called), "people": "nobody",
        "ack_command": f"rollback ack {one.about or one.id} --as PERSON",
    }  # fmt: skip
    for name, message in site.system.notify.messages.items():
        if "silent" in message.on:
            queue_one(site, run, name, more, step=f"on-silent-{one.id}", key=one.id)


# -- what comes again ----------------------------------------------------------------------


def _again(site: Site) -> None:
    """A message that comes again is queued anew when its time is over, until what it is about is."""
    repeated = {name for name, one in site.system.notify.messages.items() if one.every}
    if not repeated:
        return
    last: dict[tuple[str, str, str], list[Event]] = {}
    for event in site.journal.events():
        if event.kind == "message.queued" and event.run and event.data.get("name") in repeated:
            step = str(event.data.get("step", "")).partition("+")[0]
            last.setdefault((event.run, step, str(event.data["name"])), []).append(event)
    for (run_id, step, name), sent in last.items():
        run, every_s = site.runs().get(run_id), site.system.notify.messages[name].every
        if run is None or every_s is None or _closed(site, run) or step.startswith("ladder-"):
            continue
        if _age_s(site, sent[-1]) >= every_s:
            audience = str(sent[0].data.get("audience", ""))
            queue_one(site, run, name, {}, step=f"{step}+{len(sent)}", audience=audience)


def _closed(site: Site, run: Run) -> bool:
    """True when the run is over for good, and nobody watches its incident any more."""
    if not run.final:
        later = [one for one in site.runs().values() if one.incident == run.incident]
        return any(one.state is State.COMPLETE for one in later[later.index(run) + 1 :])
    after = incident.after(site)
    return not (after.word == "MONITORING" and after.run == run.id)


def _age_s(site: Site, event: Event) -> float:
    clock = site.host.clock
    return (clock.now() - moment_of(clock, event.at, event.boot, event.boot_s)).total_seconds()


def _bare(text: str) -> str:
    """Without the numbers, which are others each time."""
    return re.sub(r"[0-9]+", "", text)
