"""What follows a drive, whatever its end: messages, copies, the report, the anchor.

Hides: which state calls for which message.
Never: changes the outcome: what fails here is noted, and the run stays what it is.
"""

from __future__ import annotations

import json
from typing import Any

from rollback.act.plan import plan_of
from rollback.act.site import Site
from rollback.act.standing_by import make_ready
from rollback.keep.lease import Lease
from rollback.model.errors import PlanError
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.lifecycle import ENDED, Run, State
from rollback.tell import message, report

_MOMENTS = {
    "mitigated": ("run.mitigated",), "complete": ("gate.opened",), "waiting": ("run.waiting",),
    "needs-operator": ("run.needs-operator", "gate.closed"), "undone": ("run.undone",),
    "abandoned": ("run.abandoned",), "expired": ("run.expired",),
}  # fmt: skip


def settle(site: Site, run: Run) -> Run:
    """Every message that is due has been tried, the report stands, count and head are anchored."""
    _queue(site, run)
    _deliver(site, run)
    _copy(site, run)
    run = site.run(run.id)
    _close_undone(site, run)
    if run.state is State.COMPLETE or _kept(run):
        make_ready(site)
    write_report(site, run)
    site.anchor()
    return run


def _kept(run: Run) -> bool:
    """True when the run ended and one of its steps took a checkpoint that may be gone back to."""
    if run.state not in (*ENDED, State.MITIGATED):
        return False
    taking = [step.index for step in plan_of(run).steps if step.kind in ("checkpoint", "guarded")]
    return any(index in run.steps and run.steps[index].status == "ended" for index in taking)


def _copy(site: Site, run: Run) -> None:
    """What the run kept is where its kind has to be: once nothing waits for the run any more."""
    if not site.system.checkpoints.stores or run.state not in (*ENDED, State.MITIGATED):
        return
    from rollback.act.copying import copies_of, copy_along  # most systems have one place

    if copies_of(site).wanted("safety").stores:
        copy_along(site)


def write_report(site: Site, run: Run) -> str:
    """The report of the run, as JSON and Markdown in its folder; the path of the latter.

    Crash: a temporary file may stay; the next report of the run, once it has ended, removes it.
    """
    folder = site.run_folder(run.id)
    body = told_of(site, run)
    text = json.dumps(body, indent=2, sort_keys=True).encode()
    with site.state.tree.lock("report.lock", clock=site.host.clock):
        if run.state in ENDED:  # else a driver may be writing there
            site.state.tree.sweep(f"runs/{run.id}")
        site.state.tree.write(f"runs/{run.id}/report.json", text)
        site.state.tree.write(f"runs/{run.id}/report.md", report.markdown(body).encode())
    return str(folder / "report.md")


def told_of(site: Site, run: Run) -> dict[str, Any]:
    """The report as plain data, by the declaration that the run was planned under.

    By the one in force, where that was not kept.
    """
    try:
        system = site.under(run).system
    except PlanError:
        system = site.system
    return report.build(system, run, site.journal.events())


def _close_undone(site: Site, run: Run) -> None:
    """A run that stopped for a person, and has been taken back, waits for nobody any more."""
    old = site.runs().get(str(run.plan.get("undoes", "")))
    if run.state is not State.MITIGATED or old is None or old.state is not State.NEEDS_OPERATOR:
        return
    with Lease(site.state.tree, site.host, purpose=f"close {old.id}"):
        site.note(site.run(old.id), "run.abandoned", reason=f"taken back by {run.id}")


def _queue(site: Site, run: Run) -> None:
    """Messages that the declaration wants at a state are queued once per run and state."""
    queued = {event.data.get("id") for event in _mine(site, run) if event.kind == "message.queued"}
    for word, kinds in _MOMENTS.items():
        if not any(kind in run.moments for kind in kinds):
            continue
        for name in message.due_in(site.system, word):
            fields = {
                "run": run.id, "level": str(run.plan["level"]), "state": word, "incident": run.incident,
                "reason": run.reason,
            }  # fmt: skip
            data = message.queued(
                site.system, name, message.fields_of(site.system, **fields), run=run.id,
                step=f"on-{word}",
            )  # fmt: skip
            if data["id"] not in queued:
                site.tell("message.queued", run=run.id, **data)


def _deliver(site: Site, run: Run) -> None:
    """Every message is tried once more, on the channels that have not delivered it yet."""
    mine = _mine(site, run)
    for event in message.undelivered(mine):
        about: dict[str, Json] = {"id": event.data.get("id"), "name": event.data.get("name", "")}
        before = message.reached(mine, str(event.data.get("id", "")))
        outcomes = message.deliver(site.system, site.host, event, besides=before)
        gone = [*before, *(outcome.channel for outcome in outcomes if outcome.ok)]
        for outcome in outcomes:
            if not outcome.ok:
                site.tell("message.failed", run=run.id, name=about["name"], **outcome.data())
        if all(outcome.ok for outcome in outcomes):
            site.tell("message.delivered", run=run.id, channels=[*gone], **about)
            continue
        for channel in gone[len(before) :]:
            site.tell("message.delivered", run=run.id, channel=channel, **about)


def _mine(site: Site, run: Run) -> list[Event]:
    return [event for event in site.journal.events() if event.run == run.id]
