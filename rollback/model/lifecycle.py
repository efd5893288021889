"""The life of a run: every state, every event, and the one table that joins them.

Everything that changes the state of a run is in TRANSITIONS; the diagram in the documentation
is printed from it. The fold below reads a run's events and nothing else: same events, same run.

Hides: how a run's record is rebuilt from events.
Never: writes, waits, or knows what a step does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from rollback.model.errors import IllegalEvent
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.quantity import counted


class State(StrEnum):
    """Where a run stands. The first six are the way; the others stand aside of it."""

    PLANNED = "PLANNED"
    AUTHORIZED = "AUTHORIZED"
    PROTECTED = "PROTECTED"
    RUNNING = "RUNNING"
    MITIGATED = "MITIGATED"
    COMPLETE = "COMPLETE"
    WAITING = "WAITING"
    UNDOING = "UNDOING"
    UNDONE = "UNDONE"
    NEEDS_OPERATOR = "NEEDS_OPERATOR"
    ABANDONED = "ABANDONED"
    EXPIRED = "EXPIRED"


FINAL = frozenset({State.COMPLETE, State.UNDONE, State.ABANDONED, State.EXPIRED})
ENDED = FINAL | {State.NEEDS_OPERATOR}  # nothing drives it on by itself
TRANSITIONS_MAX = 500  # a persisted limit: a loop across restarts ends
WAITS_MAX = 20_000  # waits end by their own clocks: four hours looked at every second fit in

S = State
NEW = None
_BEFORE_EFFECT = (S.PLANNED, S.AUTHORIZED)
_DRIVEN = (S.PLANNED, S.AUTHORIZED, S.PROTECTED, S.RUNNING, S.MITIGATED, S.UNDOING)

# (state, event) -> next state. `BACK` returns to the state in which the run began to wait.
BACK = "back"
TRANSITIONS: dict[tuple[State | None, str], State | str] = {
    (NEW, "run.planned"): S.PLANNED,
    (S.PLANNED, "run.authorized"): S.AUTHORIZED,
    (S.AUTHORIZED, "run.protected"): S.PROTECTED,
    (S.PROTECTED, "run.started"): S.RUNNING,
    (S.RUNNING, "run.mitigated"): S.MITIGATED,
    (S.MITIGATED, "gate.opened"): S.COMPLETE,
    (S.MITIGATED, "gate.closed"): S.NEEDS_OPERATOR,
    (S.MITIGATED, "run.ungated"): S.MITIGATED,  # an ad-hoc restore has no gate, and never ends COMPLETE
    **{(s, "run.waiting"): S.WAITING for s in _DRIVEN},
    (S.WAITING, "run.woken"): BACK,
    # steps: exempt ones may run before PROTECTED
    **{
        (s, kind): s
        for s in (S.AUTHORIZED, S.PROTECTED, S.RUNNING, S.UNDOING)
        for kind in ("step.began", "step.ended", "step.failed", "step.doubted", "step.skipped")
    },
    # exempt steps may have run in each of these; WAITING, when a person ends a wait for good
    **{
        (s, "run.undoing"): S.UNDOING
        for s in (S.AUTHORIZED, S.PROTECTED, S.RUNNING, S.WAITING)
    },
    (S.UNDOING, "step.undone"): S.UNDOING,
    (S.UNDOING, "run.undone"): S.UNDONE,
    **{(s, "run.needs-operator"): S.NEEDS_OPERATOR for s in (*_DRIVEN, S.WAITING)},
    **{(s, "run.abandoned"): S.ABANDONED for s in (*_BEFORE_EFFECT, S.WAITING, S.NEEDS_OPERATOR)},
    **{(s, "run.expired"): S.EXPIRED for s in (*_BEFORE_EFFECT, S.WAITING)},
    # a person may send a stopped run on: retry the step in doubt, or ask the gate again
    (S.NEEDS_OPERATOR, "run.retried"): BACK,
    # notes that change no state
    **{
        (s, kind): s
        for s in State
        for kind in (
            "approval.given", "approval.denied", "approval.used", "approval.silent", "approval.refused",
            "guardrail.asked", "lease.taken", "lease.freed", "suite.ended", "checklist.item",
            "message.queued", "message.delivered", "message.failed", "task.opened", "timer.set",
            "ladder.begun", "ladder.called", "ladder.passed", "ladder.silent", "ladder.ended",
            "alert.acknowledged",
            "sample.read", "answer.given", "run.noted", "glass.broken", "glass.reviewed",
            "standing.used", "record.computed", "record.filled",
            "report.written", "run.merged", "prevention.begun", "tightening.begun",
            "checkpoint.created", "checkpoint.revoked", "impact.measured",
        )
    },
}  # fmt: skip

# events after which a run is final; steps that are done are the end where there is no gate
ENDINGS = frozenset(
    {kind for (was, kind), to in TRANSITIONS.items() if to in FINAL and was not in FINAL}
) | {"run.mitigated"}


Moment = tuple[str, float, str]  # boot id, seconds of CLOCK_BOOTTIME in it, wall time


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known of one step: `status` is began, ended, failed, doubted, skipped or undone.

    Or retried: it failed, and a person said to try it again.
    """

    index: str
    status: str
    began_s: float | None = None
    ended_s: float | None = None
    evidence: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its events tell it. `plan` is the body of the plan; `steps` by index ("3", "3.1").

    `moments` holds when each kind of event came: the first time, of ends the last time. `trigger` is
    what the agent began it for; `unasked` that it may go on without anybody's yes; `glass` who began
    it past guardrails.
    """

    id: str
    state: State
    plan: dict[str, Json]
    plan_digest: str
    incident: str
    steps: dict[str, StepRecord] = field(default_factory=dict)
    approvals: tuple[dict[str, Json], ...] = ()
    safety: str = ""
    waiting_for: dict[str, Json] = field(default_factory=dict)
    waiting_in: State | None = None
    reason: str = ""
    moments: dict[str, Moment] = field(default_factory=dict)
    suites: dict[str, dict[str, Json]] = field(default_factory=dict)
    verdict: dict[str, Json] = field(default_factory=dict)
    waited_s: float = 0.0
    gated: bool = True
    glass: str = ""
    transitions: int = 0
    waits: int = 0
    trigger: str = ""
    unasked: bool = False

    @property
    def final(self) -> bool:
        """True when nobody moves it on any more, no person either."""
        return self.state in FINAL or (self.state is State.MITIGATED and not self.gated)

    @property
    def known_red(self) -> tuple[str, ...]:
        """The checks that were red before, and still are: its gate opened all the same."""
        found = self.verdict.get("known_red")
        complete = self.state is State.COMPLETE and isinstance(found, list)
        return tuple(map(str, found)) if complete and isinstance(found, list) else ()

    @property
    def word(self) -> str:
        """Its state as people are told of it: COMPLETE is never said without its known failures."""
        red = counted(len(self.known_red), "known failure")
        return f"{self.state.value} with {red}" if self.known_red else self.state.value

    @property
    def over(self) -> bool:
        """True when nothing moves it on by itself any more: it ended, or has no gate to pass."""
        return self.state in ENDED or (self.state is State.MITIGATED and not self.gated)


def next_state(run: Run | None, kind: str) -> State:
    """The state after an event of this kind. Raises: IllegalEvent when the table has no such row."""
    state = run.state if run else NEW
    found = TRANSITIONS.get((state, kind))
    if found is None:
        raise IllegalEvent(
            f"{kind} cannot follow {state or 'nothing'}", where=run.id if run else ""
        )
    if found == BACK:
        assert run is not None
        return run.waiting_in or State.RUNNING
    return State(found)


_LAST = ("gate.opened", "gate.closed", "run.mitigated", "run.needs-operator", "run.retried")


def apply(run: Run | None, event: Event) -> Run:
    """The run after one of its events."""
    state = next_state(run, event.kind)
    if run is None:
        data = event.data
        plan = data["plan"]
        assert isinstance(plan, dict)
        run = Run(
            id=event.run, state=state, plan=plan, plan_digest=str(data["plan_digest"]),
            incident=str(data.get("incident", "")), gated=bool(plan.get("gate")),
            trigger=str(data.get("trigger", "")), unasked=data.get("unasked") is True,
            glass=str(data.get("glass", "")),
        )  # fmt: skip
    moved = state is not run.state
    wait = event.kind in ("run.waiting", "run.woken")
    moment = (event.boot, event.boot_s, event.at)
    kept = event.kind in run.moments and event.kind not in _LAST
    moments = run.moments if kept else {**run.moments, event.kind: moment}
    changed = replace(
        run, state=state, transitions=run.transitions + (moved and not wait),
        waits=run.waits + (event.kind == "run.waiting"), moments=moments,
    )  # fmt: skip
    reader = _READERS.get(event.kind)
    changed = reader(changed, run, event) if reader else changed
    began = run.moments.get("run.waiting:last")
    if run.state is State.WAITING and moved and began:
        changed = replace(changed, waited_s=run.waited_s + max(0.0, _between(began, moment)[0]))
    return changed


def elapsed_s(run: Run, kind: str, *, since: str = "run.planned") -> tuple[float, bool] | None:
    """Seconds from one event of the run to another, and whether they are only approximate.

    Across a reboot the wall clock is taken, and the answer marked approximate. None before it
    happened.
    """
    began, ended = run.moments.get(since), run.moments.get(kind)
    if began is None or ended is None:
        return None
    took_s, approximate = _between(began, ended)
    return round(took_s, 3), approximate


def _between(began: Moment, ended: Moment) -> tuple[float, bool]:
    if began[0] == ended[0]:
        return ended[1] - began[1], False
    walls = [datetime.fromisoformat(at) for _, _, at in (began, ended)]
    return (walls[1] - walls[0]).total_seconds(), True


def between(began: Event, ended: Event) -> tuple[float, bool]:
    """Seconds from one event to another, and whether they are only approximate."""
    return _between((began.boot, began.boot_s, began.at), (ended.boot, ended.boot_s, ended.at))


def fold(events: Iterable[Event], after: Mapping[str, Run] | None = None) -> dict[str, Run]:
    """Every run, by id, oldest first; `after` are those of the events before these."""
    runs: dict[str, Run] = dict(after or {})
    for event in events:
        if event.run and (event.run in runs or event.kind == "run.planned"):
            runs[event.run] = apply(runs.get(event.run), event)
    return runs


def _step(run: Run, _: Run, event: Event) -> Run:
    index = str(event.data["index"])
    old = run.steps.get(index, StepRecord(index, "began"))
    status = event.kind.removeprefix("step.")
    evidence = event.data.get("evidence")
    record = StepRecord(
        index=index,
        status=status,
        began_s=event.boot_s if status == "began" else old.began_s,
        ended_s=None if status == "began" else event.boot_s,
        evidence=evidence if isinstance(evidence, dict) else old.evidence,
    )
    return replace(run, steps={**run.steps, index: record})


def _waiting(run: Run, before: Run, event: Event) -> Run:
    moments = {**run.moments, "run.waiting:last": (event.boot, event.boot_s, event.at)}
    return replace(run, moments=moments, waiting_for=dict(event.data), waiting_in=before.state)


def _stopped(run: Run, before: Run, event: Event) -> Run:
    back = before.waiting_in if before.state is State.WAITING else before.state
    return replace(run, reason=str(event.data.get("reason", "")), waiting_in=back)


def _gate(run: Run, before: Run, event: Event) -> Run:
    run = replace(run, verdict=dict(event.data), reason=str(event.data.get("reason", "")))
    return replace(run, waiting_in=before.state)


def _retried(run: Run, _: Run, _event: Event) -> Run:
    """A step that failed is tried once more, unless it has been done by hand meanwhile."""
    if run.state in (State.UNDOING, State.MITIGATED):
        return run
    covered = {
        index.partition(".")[0]
        for index, record in run.steps.items()
        if "." in index and record.status == "ended"
    }  # an alternative did what they were there for
    again = {
        index: replace(record, status="retried")
        for index, record in run.steps.items()
        if record.status == "failed" and index.partition(".")[0] not in covered
    }
    return replace(run, steps={**run.steps, **again})


def _suite(run: Run, _: Run, event: Event) -> Run:
    return replace(run, suites={**run.suites, str(event.data["suite"]): dict(event.data)})


_Reader = Callable[[Run, Run, Event], Run]
_READERS: dict[str, _Reader] = {
    **{f"step.{s}": _step for s in ("began", "ended", "failed", "doubted", "skipped", "undone")},
    "run.waiting": _waiting,
    "run.woken": lambda run, _b, _e: replace(run, waiting_for={}),
    "run.needs-operator": _stopped,
    "run.abandoned": _stopped,
    "run.expired": _stopped,
    "gate.opened": _gate,
    "gate.closed": _gate,
    "run.retried": _retried,
    "suite.ended": _suite,
    "run.protected": lambda run, _b, e: replace(run, safety=str(e.data.get("checkpoint", ""))),
    "run.undoing": _stopped,
    "approval.given": lambda run, _b, e: replace(run, approvals=(*run.approvals, dict(e.data))),
    "approval.denied": lambda run, _b, e: replace(run, approvals=(*run.approvals, dict(e.data))),
}
