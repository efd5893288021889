"""The one table of a run: whatever comes, either a row allows it or nothing changes."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rollback.model import errors
from rollback.model.event import Event, parse
from rollback.model.finding import Json
from rollback.model.lifecycle import (
    BACK,
    ENDED,
    FINAL,
    TRANSITIONS,
    Run,
    State,
    apply,
    elapsed_s,
    fold,
    next_state,
)

KINDS = sorted({kind for _, kind in TRANSITIONS})
PLAN: dict[str, Json] = {"level": "flag", "gate": {"suites": ["smoke"]}}
NOTES = {kind for (state, kind), after in TRANSITIONS.items() if state and after is state} - {
    kind for kind in KINDS if kind.startswith("step.")
}
DATA: dict[str, dict[str, Json]] = {
    "run.planned": {"plan": PLAN, "plan_digest": "d", "incident": "INC-1"},
    "run.waiting": {"on": "timer", "what": "time"},
    "run.protected": {"checkpoint": "c0"},
    "suite.ended": {"suite": "smoke", "open": True},
    **{
        f"step.{word}": {"index": "1", "id": "one"}
        for word in ("began", "ended", "failed", "doubted", "skipped", "undone")
    },
}


def event(seq: int, kind: str, *, run: str = "r0001", boot: str = "b1") -> Event:
    """An event of this kind with what its reader needs."""
    at = f"2026-11-20T12:00:{seq % 60:02d}.000000Z"
    data = DATA.get(kind, {"reason": "because"})
    return Event(seq, at, boot, float(seq), kind, run, data).sealed()


class Life(RuleBasedStateMachine):
    """Any sequence of kinds: the run moves by the table alone, and its fold is its history."""

    def __init__(self) -> None:
        super().__init__()
        self.run_: Run | None = None
        self.events: list[Event] = []

    @rule(kind=st.sampled_from(KINDS), boot=st.sampled_from(["b1", "b1", "b1", "b2"]))
    def any_event(self, kind: str, boot: str) -> None:
        """One event of any kind."""
        self._take(kind, boot)

    @rule(data=st.data())
    def allowed_event(self, data: st.DataObject) -> None:
        """One that the table allows, so that long lives are lived, too."""
        here = self.run_.state if self.run_ else None
        rows = sorted(kind for state, kind in TRANSITIONS if state == here)
        self._take(data.draw(st.sampled_from(rows)), "b1")

    def _take(self, kind: str, boot: str) -> None:
        came = event(len(self.events) + 1, kind, boot=boot)
        before = self.run_
        state = before.state if before else None
        if (state, kind) not in TRANSITIONS:
            with pytest.raises(errors.IllegalEvent):
                apply(before, came)
            assert self.run_ is before
            return
        after = apply(before, came)
        row = TRANSITIONS[state, kind]
        if row == BACK:
            assert before is not None
            assert after.state is (before.waiting_in or State.RUNNING)
        else:
            assert after.state is State(row)
        self.events.append(came)
        self.run_ = after

    @invariant()
    def fold_is_incremental(self) -> None:
        """Reading the journal again gives the run that lived."""
        assert fold(self.events) == ({"r0001": self.run_} if self.run_ else {})

    @invariant()
    def waiting_can_end(self) -> None:
        """A run that waits knows where it goes on, and never where it waits."""
        if self.run_ and self.run_.state in (State.WAITING, State.NEEDS_OPERATOR):
            assert self.run_.waiting_in not in (*FINAL, State.WAITING, State.NEEDS_OPERATOR)

    @invariant()
    def time_waited_is_never_negative(self) -> None:
        """Whatever the boots were."""
        assert self.run_ is None or self.run_.waited_s >= 0


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_final_state_is_final(state: State) -> None:
    """Only notes may follow it, and none of them moves it."""
    for (here, kind), after in TRANSITIONS.items():
        if here is state:
            assert after is state
            assert kind in NOTES


def test_every_state_is_reached_and_every_other_state_can_end() -> None:
    """No state is unreachable, and from each that is not final a final one can be reached."""
    edges: dict[State, set[State]] = {state: set() for state in State}
    for (state, _), after in TRANSITIONS.items():
        if state is None:
            continue
        edges[state] |= {State(after)} if after != BACK else {State.RUNNING, State.MITIGATED}

    def closure(start: State) -> set[State]:
        seen, todo = {start}, [start]
        while todo:
            for one in edges[todo.pop()] - seen:
                seen.add(one)
                todo.append(one)
        return seen

    assert closure(State.PLANNED) == set(State)
    assert all(closure(state) & FINAL for state in State)
    assert FINAL < ENDED


def test_complete_only_through_the_gate() -> None:
    """There is exactly one row into COMPLETE."""
    rows = [key for key, after in TRANSITIONS.items() if after is State.COMPLETE]
    assert [key for key in rows if key[0] is not State.COMPLETE] == [
        (State.MITIGATED, "gate.opened")
    ]


def test_nothing_changes_before_the_present_is_protected_but_exempt_steps() -> None:
    """RUNNING is entered from PROTECTED, and PROTECTED from AUTHORIZED, by one event each."""
    into = {
        state: {key for key, after in TRANSITIONS.items() if after is state and key[0] != state}
        for state in (State.AUTHORIZED, State.PROTECTED, State.RUNNING)
    }
    assert into[State.AUTHORIZED] == {(State.PLANNED, "run.authorized")}
    assert into[State.PROTECTED] == {(State.AUTHORIZED, "run.protected")}
    assert into[State.RUNNING] == {(State.PROTECTED, "run.started")}


def test_the_way_of_a_wait_and_of_a_stop_leads_back() -> None:
    """A run that stopped while it waited goes on where it waited, not where it stopped."""
    run: Run | None = None
    for seq, kind in enumerate(
        ["run.planned", "run.authorized", "run.protected", "run.started", "run.waiting",
         "run.needs-operator", "run.retried"], start=1,
    ):  # fmt: skip
        run = apply(run, event(seq, kind))
    assert run is not None
    assert run.state is State.RUNNING


def test_waits_do_not_use_up_the_transitions_of_a_run() -> None:
    """A watch of hours looks thousands of times; a loop of other events is still counted."""
    run: Run | None = None
    for seq, kind in enumerate(["run.planned", "run.authorized", "run.protected", "run.started"]):
        run = apply(run, event(seq, kind))
    assert run is not None
    moved = run.transitions
    for turn in range(600):
        run = apply(apply(run, event(turn, "run.waiting")), event(turn, "run.woken"))
    assert run.transitions == moved
    assert run.waits == 600


def test_across_a_reboot_times_come_from_the_wall_and_say_so() -> None:
    """Seconds of two boots are never subtracted; waiting is counted either way."""
    first = event(1, "run.planned")
    wait = replace(event(2, "run.waiting"), boot_s=5000.0).sealed()
    woken = replace(event(32, "run.woken", boot="b2"), boot_s=3.0).sealed()
    gone = replace(event(42, "run.authorized", boot="b2"), boot_s=13.0).sealed()
    run = fold([first, wait, woken, gone])["r0001"]
    assert run.waited_s == 30.0
    assert elapsed_s(run, "run.authorized") == (41.0, True)
    assert elapsed_s(run, "run.authorized", since="run.woken") == (10.0, False)
    assert elapsed_s(run, "gate.opened") is None


@given(st.binary(max_size=200))
def test_a_line_that_is_no_event_is_a_value_error_and_nothing_else(line: bytes) -> None:
    """Whatever stands in the file."""
    with pytest.raises(ValueError):  # noqa: PT011 - any message will do
        parse(line)


@pytest.mark.parametrize(
    "line",
    [b"[" * 100_000, b'{"format":1}', b'{"format":2,"seq":1}', b"null", b'{"format":1,"seq":NaN}'],
    ids=["deep", "empty", "newer", "null", "nan"],
)
def test_json_that_is_no_event_is_refused(line: bytes) -> None:
    """Shapes that a decoder alone would let through."""
    with pytest.raises(ValueError):  # noqa: PT011
        parse(line)


def test_an_event_of_wrong_types_is_refused_even_with_its_right_hash() -> None:
    """A hash proves the bytes, not that they make sense."""
    for name, value in (("seq", "1"), ("seq", True), ("data", []), ("run", 3), ("at", None)):
        wrong = replace(event(1, "run.noted"), **{name: value}).sealed()
        with pytest.raises(ValueError, match="another type"):
            parse(wrong.line().rstrip())


# -- errors --------------------------------------------------------------------------------


def _classes() -> dict[str, type]:
    return {
        name: one
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, errors.RollbackError)
    }


def test_the_drawing_of_the_errors_is_the_classes() -> None:
    """Names and parents in the docstring are those of the code, none missing on either side."""
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│ ├└─]*)([A-Z][A-Za-z]+)", line)
        if found is None:
            continue
        depth = len(found[1]) // 4
        above[depth:] = [found[2]]
        drawn[found[2]] = above[depth - 1] if depth else "Exception"
    real = {name: one.__bases__[0].__name__ for name, one in _classes().items()}
    assert drawn == real


def test_every_error_has_a_declared_exit_status() -> None:
    """And only a bug of ours has status 1."""
    declared = {2, 3, 4, 5, 6, 7, 8, 9}
    for name, one in _classes().items():
        if name in ("RollbackError", "IllegalEvent"):
            assert one.exit_status == 1
        else:
            assert one.exit_status in declared, name


def test_every_error_tells_an_operator_what_to_type_next() -> None:
    """What a raise does not say, its class does."""
    extra = {
        "CommandFailed": {"argv": ("x",), "status": 1}, "StepFailed": {"step": "1", "undone": True},
        "GateClosed": {"reasons": ()}, "Partial": {"paths": ()}, "JournalCorrupt": {"seq": 1},
    }  # fmt: skip
    for name, one in _classes().items():
        if name == "SpecError":
            continue  # each of its problems has its own
        words = ("disk", "m") if name == "Refused" else ("m",)
        made = one(*words, **extra.get(name, {}))
        assert made.hint, name
        assert made.hint == one(*words, **extra.get(name, {}), hint="").hint
        assert one(*words, **extra.get(name, {}), hint="so").hint == "so"


def test_next_state_says_which_run_and_what_was_wrong() -> None:
    """The message of an illegal event names both."""
    run = apply(None, event(1, "run.planned"))
    with pytest.raises(errors.IllegalEvent, match=r"gate\.opened cannot follow PLANNED") as caught:
        next_state(run, "gate.opened")
    assert caught.value.where == "r0001"
