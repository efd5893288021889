"""What a message may name: the moments at which one is sent, and the fields that its text may hold.

Hides: nothing.
Never: fills a field; that is done where the fact is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

FIELD = re.compile(r"\{([a-z][a-z0-9_]*)\}")

MOMENTS = {
    "started": "the steps of a run begin",
    "phase": "the first step of a phase begins, once for each phase",
    "mitigated": "the steps of a run are done",
    "complete": "the gate opened, and never before: the all-clear where no stability is watched",
    "stable": "after a run the limits of stability held for their whole time: the all-clear where they are",
    "unstable": "after a run a limit of stability was broken",
    "waiting": "a run waits for somebody or something",
    "overdue": "something was not begun, chosen, done or over by its declared time, once for each",
    "needs-operator": "a run stopped for a person",
    "undone": "what a run did is taken back",
    "abandoned": "a run was denied or given up",
    "expired": "nobody answered a run in time",
    "ended": "a run is over, however it ended",
    "glass-broken": "somebody began a run alone",
    "glass-reviewed": "somebody else looked at such a run",
    "held": "the agent needs a person",
    "silent": "a ladder ended, and nobody acknowledged",
}
"""The words of `on:` of a message, and what happens then."""
EARLY = frozenset({"started", "phase"})
"""Those that come while a run does its work."""
WATCHED = frozenset({"stable", "unstable"})
"""Those that come only where `monitor` declares what stability is."""

FIELDS = {
    "title": "the title of the system", "system": "its id", "version": "its version",
    "owner": "the role that owns it", "contact": "that role, and who is there of it",
    "now": "the moment of the message", "at": "the moment of the message", "date": "the day of the run",
    "time": "the time of day at which the run was planned",
    "run": "the id of the run", "incident": "the id of its incident", "level": "the level of the run",
    "action": "the title of its plan", "state": "where the run stands, in words",
    "reason": "why it was begun, or where it has stopped: why that", "issue": "why it was begun",
    "failure": "why it was begun", "cause": "what was found to be the cause, where somebody said so",
    "impact": "what it concerns, and what is lost", "requester": "who asked for the run",
    "approver": "who said yes to it", "trigger": "the rule that called for it",
    "urgency": "how soon that rule wants something to be begun", "samples": "the readings behind it",
    "decision": "what the rules called for",
    "target": "where the run goes back to", "target_at": "of which moment that is",
    "target_id": "its whole id", "component": "the component that was chosen",
    "components": "the components whose content changes", "environment": "where the run works",
    "starts_at": "when the run was planned", "ends_at": "that, and the budget of its level",
    "window": "from the one to the other, by the hour", "duration": "how long the run took, or takes",
    "budget": "the budget of its level", "review_at": "when the declared review is due",
    "context": "what is known of the run, as JSON", "actions": "what the run has done so far",
    "report": "the file of its report", "log": "the file of the journal",
    "verify_command": "what to type to ask whether all is well",
    "ack_command": "what to type to acknowledge",
    "next_update": "when the message comes again", "phase": "the phase that begins",
    "which": "the time that is over: urgency, choice, a budget or an item",
    "ladder": "the ladder that is climbed",
    "role": "whom a rung calls", "people": "who is there of them",
}  # fmt: skip
"""The fields that are filled, each with what it says. Those of MOMENT_FIELDS only where they belong."""

MOMENT_FIELDS = {
    "next_update": "every", "phase": "on: [phase]", "which": "on: [overdue]",
    "ladder": "a ladder", "role": "a ladder", "people": "a ladder",
}  # fmt: skip
"""Fields that have a value only in a message with this, and what that is."""


def named(*texts: str) -> tuple[str, ...]:
    """The fields that these texts name, each once, in order."""
    return tuple(dict.fromkeys(name for text in texts for name in FIELD.findall(text)))


def own(records: Iterable[Iterable[str]], events: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The fields of records and events of a system that a message may name, spelt as fields."""
    found = (name.replace("-", "_") for names in (*records, *events) for name in names)
    return tuple(sorted({name for name in found if FIELD.fullmatch("{" + name + "}")}))
