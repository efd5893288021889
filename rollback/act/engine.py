"""The engine: carries one run from PLANNED to its end, one durable transition at a time.

Intent is on disk before an effect, the effect before the claim. Killed anywhere, the next driver
finds in the journal what began and did not end, probes it, and goes on.

Hides: which stage belongs to which state.
Never: asks a person, prints, or believes a step that nobody probed after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from rollback.act import (
    asked,
    authorize,
    checklist,
    climbing,
    eyes,
    gating,
    holding,
    overtaken,
    phasing,
    protecting,
    records,
    starting,
)
from rollback.act.guarding import command_of, elsewhere
from rollback.act.plan import Plan, PlannedStep, backwards, plan_of
from rollback.act.scene import Action, Later, Question, Scene, Traced, Trailing, Undoable
from rollback.act.site import Site
from rollback.host.below import remedy, why
from rollback.keep.lease import Lease
from rollback.model.errors import CommandFailed, Partial, RollbackError, StoreError
from rollback.model.event import Event
from rollback.model.finding import Answer, Finding, Json
from rollback.model.lifecycle import ENDED, TRANSITIONS_MAX, WAITS_MAX, Run, State
from rollback.model.quantity import spoken

S = State
_WITHOUT_END = ("failed", "retried")


def roll_back(
    site: Site, run_id: str, *, mitigated: Callable[[Run], None] = lambda _run: None
) -> Run:
    """The run as far as it can go now: ended, or waiting for somebody or something.

    `mitigated` is told of the run when its steps are done, before the suites are asked.
    Effects: changes host, writes journal. Again: an ended run is returned as it is.
    Crash: at any instant; call it again. Raises: RunLocked.
    """
    with Lease(site.state.tree, site.host, purpose=f"run {run_id}") as lease:
        run = site.run(run_id)
        if run.state in ENDED:
            return run
        site = site.under(run)
        if run.plan.get("emergency"):
            site.emergency()
        if "lease.taken" in run.moments and run.state is not S.WAITING:
            site.sweep(run.id)  # the driver before us died at work
            if protecting.forgotten(site, run):
                protecting.keep_left(site, run, plan_of(run), f"left-{run.id}-{lease.epoch}")
        run = site.note(run, "lease.taken", epoch=lease.epoch)
        while not resting(site, run):
            lease.check()
            if run.state is S.MITIGATED:
                mitigated(run)
            run = advance(site, run)
        return run


def resting(site: Site, run: Run) -> bool:
    """True when nothing moves the run on by itself right now."""
    if run.state is S.WAITING:
        return not authorize.may_wake(site, run)
    return run.state in ENDED or (run.state is S.MITIGATED and not run.gated)


def advance(site: Site, run: Run) -> Run:
    """The run after one durable transition."""
    if run.transitions >= TRANSITIONS_MAX:
        return _stop(site, run, f"it has made {run.transitions} transitions, which is a loop")
    if run.waits >= WAITS_MAX:
        return _stop(site, run, f"it has waited {run.waits} times, which is a loop")
    return _STAGES[run.state](site, run, plan_of(run))


def scene_of(site: Site, run: Run, plan: Plan, step: PlannedStep) -> Scene:
    """What the step sees."""
    return Scene(
        system=site.system, host=site.host, state=site.state, level=plan.level, run=run.id,
        step=step.index, target=plan.target, stamp=plan.stamp, component=plan.component,
        environment=step.environment, bound=step.bound, safety=protecting.safety_of(site, run, plan, step),
        progress=site.progress,
        note=lambda kind, data: _note_once(site, run.id, step.index, kind, data),
        heard=lambda item: starting.last_word(site, run.id, item),
        record=lambda name: records.collect(site, run, plan, name),
        since=lambda: eyes.last_change(site.journal.events(), plan),
    )  # fmt: skip


# -- stages --------------------------------------------------------------------------------


def _protect(site: Site, run: Run, plan: Plan) -> Run:
    """Exempt steps that come first are taken; then the present becomes a checkpoint.

    Before any of that, every item of the checklist that gates the start is settled.
    """
    if asked.overdue(site, run):
        return asked.unanswered(site, run, starting.waits_for(site, run, plan))
    run = starting.hold(site, run, plan)
    if run.state is S.WAITING:
        return run
    gone = ""
    if not run.steps:
        seen = partial(scene_of, site, run, plan)
        gone = authorize.lost(site, run, plan) or overtaken.why_not(site, run, plan, seen)
    if gone:
        return site.note(run, "run.abandoned", reason=gone)
    opens = holding.opens(site, run, plan)
    if opens is not None:
        what = f"the window, which opens at {opens:%Y-%m-%d %H:%M} UTC"
        return site.note(run, "run.waiting", on="timer", what=what, until=opens.timestamp())
    found = _next(run, plan)
    if isinstance(found, _Failure):
        return _consequence(site, run, found)
    if found is not None and found.first:
        return _take(site, run, plan, found)
    if not plan.touched and not plan.elsewhere:
        return site.note(run, "run.protected", checkpoint="", because="nothing stored is changed")
    moved = _moved(site, run, plan)
    if moved:
        return site.note(run, "run.undoing", reason=f"the system moved since the plan: {moved}")
    try:
        for name in plan.elsewhere:
            protecting.present(site.there(name), run, plan.touched_in(name), where=name)
        if not plan.touched:
            because = f"nothing stored is changed in {plan.environment}"
            return site.note(run, "run.protected", checkpoint="", because=because)
        made = protecting.present(site, run, plan.touched)
        told, few = elsewhere(site, made) if command_of(plan) else ({}, "")
    except (StoreError, OSError) as error:
        missing: list[Json] = [*error.paths] if isinstance(error, Partial) else []
        return site.note(
            run, "run.undoing", reason=f"the present cannot be kept: {why(error)}", missing=missing
        )
    if few:
        return site.note(run, "run.undoing", reason=few)
    return site.note(run, "run.protected", checkpoint=made.id, size_bytes=made.size_bytes, **told)


def _start(site: Site, run: Run, plan: Plan) -> Run:
    """Whoever was killed here may be followed on another day: the yes has to hold still."""
    gone = "" if run.steps else authorize.lost(site, run, plan)
    return site.note(run, "run.undoing", reason=gone) if gone else site.note(run, "run.started")


def _step(site: Site, run: Run, plan: Plan) -> Run:
    found = _next(run, plan)
    if isinstance(found, _Failure):
        return _consequence(site, run, found)
    run = phasing.keep_phases(site, run, plan)
    if not plan.emergency:  # there nobody waits for a line; the gate fills them all
        run = checklist.fill(site, run, plan)
    if found is None:
        gating.mark(site, run, plan)
        return site.note(run, "run.mitigated")
    return _take(site, run, plan, found)


def _wake(site: Site, run: Run, _plan: Plan) -> Run:
    return site.note(run, "run.woken", was=run.waiting_for)


def _undo(site: Site, run: Run, plan: Plan) -> Run:
    """The last step that did something is taken back; when none is left the run is UNDONE.

    What stands there now is kept first: somebody may have worked on it since the run stopped.
    """
    touching = {step.index for step in plan.every_step() if step.touches} & set(run.steps)
    if touching and not any(one.status == "undone" for one in run.steps.values()):
        try:
            protecting.keep_left(site, run, plan, f"left-{run.id}")
        except (StoreError, OSError) as error:
            return _stop(
                site, run, f"nothing is taken back, since the present cannot be kept: {why(error)}"
            )
    for step in backwards(plan.every_step()):
        record = run.steps.get(step.index)
        if record is None or record.status in ("undone", "skipped"):
            continue
        return _take_back(site, run, plan, step)
    return site.note(run, "run.undone", reason=run.reason)


_STAGES: dict[State, Callable[[Site, Run, Plan], Run]] = {
    S.PLANNED: authorize.stage,
    S.AUTHORIZED: _protect,
    S.PROTECTED: _start,
    S.RUNNING: _step,
    S.MITIGATED: gating.stage,
    S.WAITING: _wake,
    S.UNDOING: _undo,
}


# -- one step ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Failure:
    """A step that failed for good, its alternatives too."""

    step: PlannedStep


def _next(run: Run, plan: Plan) -> PlannedStep | _Failure | None:
    """The first step that is not done; its failure; or None when all are."""
    for step in plan.steps:
        status = _status(run, step)
        if status in ("ended", "skipped"):
            continue
        if status != "failed":
            return step
        if step.ladder and any(_status(run, one) == "ended" for one in step.alternatives):
            continue
        passed_by = ("ended", "failed") if step.ladder else ("ended",)
        rest = [one for one in step.alternatives if _status(run, one) not in passed_by]
        if step.ladder and not rest:
            return _Failure(step)
        if not step.alternatives or (rest and _status(run, rest[0]) == "failed"):
            return _Failure(step)
        if rest:
            return rest[0]
    return None


def _status(run: Run, step: PlannedStep) -> str:
    record = run.steps.get(step.index)
    return record.status if record else ""


def _take(site: Site, run: Run, plan: Plan, step: PlannedStep) -> Run:
    """The step is done and claimed, or failed, or waits; in doubt after a crash it is probed."""
    action = step.action()
    scene = scene_of(site, run, plan, step)
    status = _status(run, step)
    waited = status == "began" and run.waiting_for == {} and _waited(site, run, step)
    if status == "began" and not waited:
        run = site.note(run, "step.doubted", index=step.index, id=step.id)
        status = "doubted"
    if status in ("doubted", "retried"):
        finding = _probe(action, scene)
        if finding.answer is Answer.PASS:
            return site.note(
                run, "step.ended", index=step.index, id=step.id,
                evidence={"found_done": finding.evidence},
            )  # fmt: skip
        if finding.answer is Answer.UNKNOWN and status == "doubted":
            said = (f"step {step.index} {step.id} began, and whether it happened is unknown: "
                    f"{finding.evidence}")  # fmt: skip
            return _stop_or_undo(site, run, plan, said)
    if not waited:
        run = site.note(run, "step.began", index=step.index, id=step.id, action=step.kind)
    return _apply(site, run, step, action, scene)


def _apply(site: Site, run: Run, step: PlannedStep, action: Action, scene: Scene) -> Run:
    began_s = site.host.clock.boot_s()
    try:
        outcome = action.apply(scene)
    except Exception as error:  # noqa: BLE001 - whatever a kind raises, the run stops in a known state
        return site.note(
            run, "step.failed", index=step.index, id=step.id, evidence=_blame(error),
        )  # fmt: skip
    took_s = round(site.host.clock.boot_s() - began_s, 6)
    if isinstance(outcome, Later):
        until = site.host.clock.now().timestamp() + outcome.after_s
        return site.note(
            run, "run.waiting", on="timer", what=outcome.what, until=until, step=step.index
        )
    if isinstance(outcome, Question):
        return site.note(run, "run.waiting", on="answer", what=outcome.what, item=outcome.item,
                         step=step.index, choices=[*outcome.choices], by=outcome.by,
                         record=outcome.record, within_s=outcome.within_s)  # fmt: skip
    evidence: dict[str, Json] = {**outcome, "took_s": took_s}
    if took_s > step.within_s:
        evidence["late"] = f"it took {spoken(took_s)}, {spoken(step.within_s)} were allowed"
    return site.note(run, "step.ended", index=step.index, id=step.id, evidence=evidence)


def _consequence(site: Site, run: Run, failure: _Failure) -> Run:
    """What the declaration says follows from a failed step."""
    step = failure.step
    record = run.steps[step.index]
    why = f"step {step.index} {step.id} failed: {record.evidence.get('error', 'no reason given')}"
    for task in step.opens:
        site.note(run, "task.opened", title=task, because=why)
    if step.otherwise == "continue":
        return site.note(run, "step.skipped", index=step.index, id=step.id, because=why)
    if step.otherwise == "stop":
        return site.note(run, "run.undoing", reason=why)
    return _stop_or_undo(site, run, plan_of(run), why, climb=step.otherwise == "climb")


def _stop_or_undo(site: Site, run: Run, plan: Plan, reason: str, *, climb: bool = False) -> Run:
    """The run waits for a person; what nobody has confirmed is taken back: who would come is cut off."""
    if asked.unconfirmed(run, plan):
        return site.note(run, "run.undoing", reason=reason)
    return _stop(site, run, reason, climb=climb)


def _take_back(site: Site, run: Run, plan: Plan, step: PlannedStep) -> Run:
    action = step.action()
    if isinstance(action, Undoable):
        try:
            action.undo(scene_of(site, run, plan, step))
        except Exception as error:  # noqa: BLE001 - as in _apply
            was = _as_before(action, scene_of(site, run, plan, step))
            if was.answer is Answer.PASS:
                return site.note(
                    run, "step.undone", index=step.index, id=step.id, because=was.evidence
                )
            blame = _blame(error)["error"]
            return _stop(site, run, f"step {step.index} {step.id} cannot be taken back: {blame}")
        stays = (
            action.remains(scene_of(site, run, plan, step)) if isinstance(action, Trailing) else ""
        )
        told: dict[str, Json] = {"because": stays} if stays else {}
        return site.note(run, "step.undone", index=step.index, id=step.id, **told)
    if step.exempt or (not step.touches and _status(run, step) in _WITHOUT_END):
        return site.note(
            run, "step.undone", index=step.index, id=step.id, because="it had stored nothing away"
        )
    return _stop(site, run, f"step {step.index} {step.id} has no way back; {run.reason}")


def _as_before(action: Action, scene: Scene) -> Finding:
    """Whether everything is as before the step, although taking it back failed: it had done nothing."""
    if not isinstance(action, Traced):
        return Finding(Answer.UNKNOWN, "it cannot tell")
    try:
        return action.undone(scene)
    except (RollbackError, OSError) as error:
        return Finding(Answer.UNKNOWN, why(error))


def _probe(action: Action, scene: Scene) -> Finding:
    try:
        return action.probe(scene)
    except (RollbackError, OSError) as error:
        return Finding(Answer.UNKNOWN, f"it cannot be probed: {why(error)}")


def _stop(site: Site, run: Run, reason: str, *, climb: bool = False) -> Run:
    """The run waits for a person, and says what for."""
    onwards = climbing.not_enough(site, run, plan_of(run)) if climb else climbing.Next()
    if onwards.level:
        reason = f"{reason}; the next level is {onwards.level}"
    return site.note(run, "run.needs-operator", reason=reason, **onwards.data())


def _moved(site: Site, run: Run, plan: Plan) -> str:
    """What changed since the plan that its approval rested on: head and lost commits."""
    for step in plan.steps:
        keys = [key for key in ("head", "lost") if key in step.bound]
        if not keys or _status(run, step) == "ended":
            continue
        fresh = step.action().bind(scene_of(site, run, plan, step))
        for key in keys:
            if fresh.get(key) != step.bound[key]:
                return f"{key} of step {step.index} {step.id}"
    return ""


def _waited(site: Site, run: Run, step: PlannedStep) -> bool:
    """True when the step began, put itself off, and its time has come: no crash lies between."""
    last = [
        event
        for event in _tail(site, run.id)
        if event.kind in ("run.woken", "step.began", "step.doubted")
    ]
    return bool(last) and last[-1].kind == "run.woken" and bool(step.index)


def _tail(site: Site, run_id: str) -> Iterator[Event]:
    return (event for event in site.journal.events() if event.run == run_id)


def _note_once(site: Site, run_id: str, step: str, kind: str, data: dict[str, Json]) -> None:
    """A step's own event, once per run and step however often the step is applied."""
    for event in _tail(site, run_id):
        if (
            event.kind == kind
            and event.data.get("step") == step
            and event.data.get("name") == data.get("name")
        ):
            return
    site.tell(kind, run=run_id, **{**data, "step": step})


def _blame(error: Exception) -> dict[str, Json]:
    if isinstance(error, RollbackError):
        more = {"status": error.status} if isinstance(error, CommandFailed) else {}
        return {"error": str(error), "hint": error.hint, "kind": type(error).__name__, **more}
    if isinstance(error, OSError):
        place = error.filename if isinstance(error.filename, str) else ""
        hint = remedy(error, place) if place.startswith("/") else "correct the permissions there"
        return {"error": why(error), "hint": hint, "kind": type(error).__name__}
    return {"error": f"{type(error).__name__}: {error}", "kind": "unexpected", "hint": ""}
