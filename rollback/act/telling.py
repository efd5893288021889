"""Telling people: what a run queued, and what its state calls for, is on its way to every channel.

It leaves when the run is MITIGATED, while the suites begin their work, and when its driver stops; where
a message is declared for the begin of a run or of a phase, then too.

Hides: which state calls for which message, and in which words.
Never: holds a run up for a channel that is away; changes the outcome of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from rollback.act import delivering
from rollback.act.plan import plan_of
from rollback.act.site import Site
from rollback.host.below import why
from rollback.model.errors import RollbackError
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.lifecycle import Run
from rollback.model.quantity import counted, listed
from rollback.tell import facts, message

_MOMENTS = {
    "started": ("run.started",), "mitigated": ("run.mitigated",), "complete": ("gate.opened",),
    "waiting": ("run.waiting",), "needs-operator": ("run.needs-operator", "gate.closed"),
    "undone": ("run.undone",), "abandoned": ("run.abandoned",), "expired": ("run.expired",),
    "glass-broken": ("glass.broken",), "glass-reviewed": ("glass.reviewed",),
}  # fmt: skip
_WORDS = {
    "needs-operator": "stopped: a person is needed", "undone": "taken back, since a step failed",
    "abandoned": "given up", "expired": "over: nobody answered in time",
    "glass-broken": "begun by one person alone, who broke the glass",
    "glass-reviewed": "looked at, since its glass was broken",
}  # fmt: skip


def tell(site: Site, run: Run) -> None:
    """Everything that the run queued and that its state calls for is on its way."""
    queue_due(site, run)
    delivering.leave(site)


def queue_due(site: Site, run: Run) -> None:
    """What the state of the run calls for is queued, each message once."""
    for word, step, more in _due(site, run):
        queue(site, run, word, more, step=step)


def queue(site: Site, run: Run, word: str, more: Mapping[str, str], *, step: str) -> None:
    """The messages of this moment of the run are queued, each once for `step`."""
    for name in message.due_in(site.system, word):
        queue_one(site, run, name, more, step=step)


def queue_one(
    site: Site, run: Run | None, name: str, more: Mapping[str, str], *, step: str, key: str = "",
    audience: str = "", declared: message.Message | None = None,
) -> bool:  # fmt: skip
    """The message is queued once for `step` of the run, or of `key` where it is about none.

    True when it was not before. `more` are fields that only its sender knows.
    """
    events, about = site.journal.events(), run.id if run is not None else key
    identity = f"{about}/{step}/{name}"
    if any(e.kind == "message.queued" and e.data.get("id") == identity for e in events):
        return False
    wanted = declared or site.system.notify.messages[name]
    now, state = site.host.clock.now(), site.state.path
    known = (
        facts.facts(site.system, now=now, state=state, message=wanted) if run is None
        else facts.of_run(site.system, run, events, now=now, state=state, message=wanted)
    )  # fmt: skip
    given = {field: text for field, text in more.items() if text}
    data = message.queued(
        site.system, name, known | given, run=about, step=step, audience=audience, declared=wanted
    )
    site.tell("message.queued", run=run.id if run is not None else "", **data)
    return True


def tell_people(
    site: Site, word: str, key: str, *, run: Run | None = None, **fields: str
) -> None:  # fmt: skip
    """The messages that are declared for this moment, which may be about a run, are on their way.

    `key` tells one such moment from another.
    """
    names = message.due_in(site.system, word)
    step = f"on-{word}" if run is None else f"on-{key}"
    new = [
        queue_one(site, run, name, {"state": word, **fields}, step=step, key=key) for name in names
    ]
    if any(new):
        delivering.leave(site)


def listening(site: Site) -> Site:
    """The site, with people told as soon as a run or a phase begins, and what a step says on its way.

    A message that cannot be queued is noted: it is no reason to stop.
    """
    said: list[str] = []

    def heard(event: Event) -> None:
        site.listen(event)
        if event.kind == "message.queued":
            said.append(event.run)
        elif event.kind == "step.ended" and said:
            said.clear()
            delivering.leave(
                site
            )  # before the next step begins: it may be that they are called to it
        if event.kind in ("run.started", "step.began"):
            try:
                tell(site, site.run(event.run))
            except (RollbackError, OSError) as error:
                site.tell("run.noted", run=event.run, note=f"nobody was told: {why(error)}")

    return replace(site, listen=heard)


def _due(site: Site, run: Run) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The moments that have come: each with what tells it from others, and what it says."""
    for word, kinds in _MOMENTS.items():
        if any(kind in run.moments for kind in kinds) and message.due_in(site.system, word):
            said = {"state": _said(run, word), "reason": _reason(site, run, kinds)}
            yield word, f"on-{word}", said
    if run.over and message.due_in(site.system, "ended"):
        yield "ended", "on-ended", {"state": _said(run, run.state.value.lower().replace("_", "-"))}
    if message.due_in(site.system, "phase"):
        for phase in _phases(run):
            yield "phase", f"on-phase-{phase}", {"phase": phase, "state": f"in phase {phase}"}


def _phases(run: Run) -> Iterable[str]:
    """The phases of which a step has begun, in order of the plan."""
    began = [
        str(step.parameters["phase"]) for step in plan_of(run).steps
        if step.index in run.steps and step.parameters.get("phase")
    ]  # fmt: skip
    return dict.fromkeys(began)


def _reason(site: Site, run: Run, kinds: tuple[str, ...]) -> str:
    """Why the run is where it is; of a broken glass, what was said about it, and by whom."""
    if not kinds[0].startswith("glass."):
        return run.reason
    mine: list[dict[str, Json]] = [
        event.data for event in site.journal.events()
        if event.run == run.id and event.kind == kinds[0]
    ]  # fmt: skip
    return f"{mine[-1].get('reason') or mine[-1].get('note')} ({mine[-1].get('by')})"


def _said(run: Run, word: str) -> str:
    """The state in words; that of a run which takes another one back says what that means."""
    undoes = run.plan.get("undoes")
    if undoes and word == "mitigated":
        return f"done: what run {undoes} did is taken back"
    said = _WORDS.get(word, word)
    red = listed(run.known_red, between=", ")
    return (
        f"{said}, with {counted(len(run.known_red), 'known failure')}: {red}"
        if red and word == "complete"
        else said
    )
