"""Prints the page of the life of a run from the one table.

    python docs/print_life.py > docs/life-of-a-run.md

Hides: how a diagram is written.
Never: knows a transition that is not in the table.
"""

from __future__ import annotations

import sys

from rollback.model.lifecycle import BACK, ENDED, FINAL, TRANSITIONS, State

_MEANING = {
    State.PLANNED: "the plan is fixed: steps, target, digest; nothing was changed",
    State.AUTHORIZED: "the people whom the level wants have said yes to this plan",
    State.PROTECTED: "the present is a verified checkpoint of its own",
    State.RUNNING: "steps are being taken, each with its intent on disk first",
    State.MITIGATED: "all steps are done; whether it helped is not yet proved",
    State.COMPLETE: "the gate opened: the suites and the second witness proved it",
    State.WAITING: "for an approval, a window, an answer or a timer; no process is needed meanwhile",
    State.UNDOING: "a step failed, and what was done is being taken back",
    State.UNDONE: "everything that was done was taken back",
    State.NEEDS_OPERATOR: "a person decides: the gate stayed closed, or a step is in doubt",
    State.ABANDONED: "denied, or given up by a person before it was through",
    State.EXPIRED: "nobody answered in time; nothing was done",
}
_HEAD = """\
# The life of a run

Printed from `TRANSITIONS` in `rollback/model/lifecycle.py` by `docs/print_life.py`; a test compares.
Nothing else in the program changes a state. A row that is not here cannot happen: the event is
refused before it is written.
"""
_CLOCKS = """\
## Two clocks

Both start when the run is created: one ends at `run.mitigated`, the other at `gate.opened`. They are
read from CLOCK_BOOTTIME; across a reboot from the wall clock, and then marked approximate. Waiting is
inside them, and listed apart.

Two more have a budget where the level declares one: `start` ends with the first step, and begins with the
first decision of the unbroken row that called for the level; `recovery` begins with the run and ends when its
incident is over, which is when the gate has opened and, where `monitor.stability` is declared, when that has
held.

## Who is told when

What a step queued and what a state calls for leaves when the run is MITIGATED, while the suites begin their
work, and when its driver stops; a message `on: [started]` or `on: [phase]` as soon as that begins. The driver
writes to channels on this machine (`file`, `phone`), two seconds each at most; everything else is carried by
`rollback notify deliver`, a process of its own that nobody waits for. What came of each message is in the
journal. Killed between the two, a message is sent once more, with the same id. Ladders stand on their next
rung whenever somebody comes by: the agent at each tick, and every command that drives a run.

## What a crash leaves

Each step writes `step.began` before its effect and `step.ended` after it. A run that is found with a
step begun and not ended is *in doubt*: `rollback resume` asks the step's probe. PASS records it, FAIL
applies it again, UNKNOWN stops for a person. Resuming is itself resumable.

## What comes before PROTECTED

Only steps of which it is known that they store nothing away: the kinds that never do (a service, a
flag, looking, waiting), and a command with `effects: none` that says `exempt: true`. For every other
step `exempt: true` is refused, by `rollback validate` and when a plan is made.

## A level that was not enough

A closed gate, or a step that failed with `on_fail: climb`, stops the run for a person. What its level
declares (`on_fail: {climb: LEVEL, when: ask or auto, tasks: [...]}`) follows: the tasks are opened, once;
with `ask` the level is offered, with `auto` a new run of the same incident begins there. That run needs
the same as any: guardrails may refuse it, and where its level does not let one person act without being
asked, it waits. A level that failed in an incident is neither offered nor climbed to in it; past it, its
own way up is followed. Both runs stand in the answer of `rollback run`.

## Taking a run back

A run that gives up takes its steps back from last to first; `rollback undo` does the same with a run that
has ended, as a run of its own. What is left to take back is told by comparing the present with what the
run kept before it changed anything, never with what it went back to. What stands there by then is kept
first. A step that had found everything as it wanted has nothing to take back.
"""


def diagram() -> list[str]:
    """The state diagram for Mermaid; notes that change no state are left out.

    What may happen in more than three states is drawn once, from SEVERAL; the table names them.
    """
    lines = ["```mermaid", "stateDiagram-v2", "    SEVERAL: from several states, see the table"]
    moves = {key: target for key, target in TRANSITIONS.items() if target != key[0]}
    origins = [event for _, event in moves]
    drawn: set[str] = set()
    for (state, event), target in moves.items():
        many = origins.count(event) > 3
        begin = "SEVERAL" if many else "[*]" if state is None else state.value
        end = f"{state.value}_BACK" if target == BACK and state else str(target)
        line = f"    {begin} --> {end}: {event}"
        if line not in drawn:
            lines.append(line)
            drawn.add(line)
    for state in (State.WAITING, State.NEEDS_OPERATOR):
        lines.append(f"    {state.value}_BACK: back to the state before")
    lines += [f"    {state.value} --> [*]" for state in State if state in FINAL]
    return [*lines, "```"]


def page() -> str:
    """The whole page."""
    lines = [_HEAD, *diagram(), "", "## States", "", "| state | means | |", "|---|---|---|"]
    for state in State:
        stands = (
            "final" if state in FINAL else "rests until a person acts" if state in ENDED else ""
        )
        lines.append(f"| `{state.value}` | {_MEANING[state]} | {stands} |")
    lines += ["", "## Events that change the state", "", "| in | event | then |", "|---|---|---|"]
    notes: dict[str, list[str]] = {}
    for (begin, event), target in TRANSITIONS.items():
        if target == begin:
            notes.setdefault(event, []).append(begin.value if begin else "-")
            continue
        then = "the state before it waited or stopped" if target == BACK else f"`{target}`"
        lines.append(f"| {f'`{begin.value}`' if begin else '(no run)'} | `{event}` | {then} |")
    lines += ["", "## Events that leave the state as it is", "", "| event | in |", "|---|---|"]
    for event, states in notes.items():
        everywhere = len(states) == len(State)
        lines.append(f"| `{event}` | {'every state' if everywhere else ', '.join(states)} |")
    return "\n".join([*lines, "", _CLOCKS])


if __name__ == "__main__":
    sys.stdout.write(page())
