"""Telling people: what a run queued, and what its state calls for, leaves on every channel.

It leaves when the run is MITIGATED, while the suites begin their work; what came of it is journalled
by whoever drives, in the order of the queue.

Hides: which state calls for which message, and in which words; that channels are slow.
Never: holds the gate up, or sends again what the journal says arrived.
"""

from __future__ import annotations

import math

from rollback.act.site import Site
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.lifecycle import Run
from rollback.tell import message
from rollback.tell.message import Delivery, Sending

GRACE_S = 0.5  # a file or a server nearby has it by then, and the journal says so before the suites
_MOMENTS = {
    "mitigated": ("run.mitigated",), "complete": ("gate.opened",), "waiting": ("run.waiting",),
    "needs-operator": ("run.needs-operator", "gate.closed"), "undone": ("run.undone",),
    "abandoned": ("run.abandoned",), "expired": ("run.expired",),
    "glass-broken": ("glass.broken",), "glass-reviewed": ("glass.reviewed",),
}  # fmt: skip
_WORDS = {
    "needs-operator": "stopped: a person is needed", "undone": "taken back, since a step failed",
    "abandoned": "given up", "expired": "over: nobody answered in time",
    "glass-broken": "begun by one person alone, who broke the glass",
    "glass-reviewed": "looked at, since its glass was broken",
}  # fmt: skip


class Telling:
    """What leaves during one drive of a run; each message is tried once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._tried: set[str] = set()
        self._leaving: dict[str, tuple[Sending, tuple[str, ...]]] = {}

    def begin(self, run: Run) -> None:
        """Everything that is due is leaving, and what arrived at once is journalled."""
        self._send(run)
        self._note(run, within_s=GRACE_S)

    def settle(self, run: Run) -> None:
        """Everything that is due has been tried, and what came of it is journalled."""
        self._note(run, within_s=math.inf)
        self._send(run)
        self._note(run, within_s=math.inf)

    def _send(self, run: Run) -> None:
        _queue(self._site, run)
        mine = _mine(self._site, run)
        for event in message.undelivered(mine):
            key = str(event.data.get("id", ""))
            if key not in self._tried:
                self._tried.add(key)
                before = message.reached(mine, key)
                sending = Sending(self._site.system, self._site.host, event, besides=before)
                self._leaving[key] = (sending, before)

    def _note(self, run: Run, *, within_s: float) -> None:
        clock = self._site.host.clock
        end_s = clock.boot_s() + within_s
        for key, (sending, before) in list(self._leaving.items()):
            outcomes = sending.outcome(within_s=max(0.0, end_s - clock.boot_s()))
            if outcomes is not None:
                del self._leaving[key]
                _journal(self._site, run, sending, outcomes, before)


def tell_people(site: Site, word: str, key: str, **fields: str) -> None:
    """The messages that are declared for this moment, which is of no run, have been tried once.

    `key` tells one such moment from another. What came of them is journalled.
    """
    for name in message.due_in(site.system, word):
        given = message.fields_of(site.system, state=word, **fields)
        data = message.queued(site.system, name, given, run=key, step=f"on-{word}")
        event = site.tell("message.queued", run="", **data)
        for outcome in message.deliver(site.system, site.host, event):
            kind = "message.delivered" if outcome.ok else "message.failed"
            site.tell(kind, run="", **{**outcome.data(), "name": name})


def _journal(
    site: Site, run: Run, sending: Sending, outcomes: tuple[Delivery, ...], before: tuple[str, ...]
) -> None:
    about: dict[str, Json] = {"id": sending.message.id, "name": sending.message.name}
    gone = [*before, *(outcome.channel for outcome in outcomes if outcome.ok)]
    for outcome in outcomes:
        if not outcome.ok:
            site.tell("message.failed", run=run.id, name=about["name"], **outcome.data())
    if all(outcome.ok for outcome in outcomes):
        site.tell("message.delivered", run=run.id, channels=[*gone], **about)
        return
    for channel in gone[len(before) :]:
        site.tell("message.delivered", run=run.id, channel=channel, **about)


def _queue(site: Site, run: Run) -> None:
    """Messages that the declaration wants at a state are queued once per run and state."""
    queued = {event.data.get("id") for event in _mine(site, run) if event.kind == "message.queued"}
    for word, kinds in _MOMENTS.items():
        if not any(kind in run.moments for kind in kinds):
            continue
        for name in message.due_in(site.system, word):
            fields = {
                "run": run.id, "level": str(run.plan["level"]), "state": _said(run, word),
                "incident": run.incident, "reason": _reason(site, run, kinds),
            }  # fmt: skip
            data = message.queued(
                site.system, name, message.fields_of(site.system, **fields), run=run.id,
                step=f"on-{word}",
            )  # fmt: skip
            if data["id"] not in queued:
                site.tell("message.queued", run=run.id, **data)


def _reason(site: Site, run: Run, kinds: tuple[str, ...]) -> str:
    """Why the run is where it is; of a broken glass, what was said about it, and by whom."""
    if not kinds[0].startswith("glass."):
        return run.reason
    last = [event.data for event in _mine(site, run) if event.kind == kinds[0]][-1]
    return f"{last.get('reason') or last.get('note')} ({last.get('by')})"


def _said(run: Run, word: str) -> str:
    """The state in words; that of a run which takes another one back says what that means."""
    undoes = run.plan.get("undoes")
    if undoes and word == "mitigated":
        return f"done: what run {undoes} did is taken back"
    return _WORDS.get(word, word)


def _mine(site: Site, run: Run) -> list[Event]:
    return [event for event in site.journal.events() if event.run == run.id]
