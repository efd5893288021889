"""`rollback status`: what is true now: runs that are open, the newest checkpoint, the journal."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import paint, safe, state
from rollback.model.lifecycle import ENDINGS, State
from rollback.model.quantity import counted, spoken

if TYPE_CHECKING:
    from rollback.act.site import Site
    from rollback.model.lifecycle import Run


@click.command("status", short_help="What is true now.")
@pass_desk
def command(desk: Desk) -> int:
    """Runs that have not ended and what they wait for, and what else a person has to know.

    Services that are down, the newest checkpoint, what is overdue or damaged, the journal.
    """
    from rollback.act import checklist, stopped
    from rollback.act.authorize import may_approve
    from rollback.act.copying import to_fetch
    from rollback.act.deadlines import overdue as late
    from rollback.act.exporting import exports
    from rollback.act.glass import may_review, overdue, unreviewed
    from rollback.act.keeping import missed
    from rollback.act.plan import plan_of
    from rollback.act.upkeep import damaged
    from rollback.cli.timeline import as_one_of, next_lines, reasons
    from rollback.keep import trust
    from rollback.model.errors import JournalError

    desk.known()
    if not desk.system.state_path.is_dir():
        body: dict[str, Any] = {
            "system": desk.system.system.id, "runs_open": [], "last_run": None, "checkpoints": 0,
            "last_checkpoint": None, "missed": [], "not_exported": [], "glass": [], "overdue": [],
            "paper": [], "frozen": {},
            "damaged": None,
            "not_running": [], "suspended": {}, "calls": [],
            "agent": {"watching": None, "held": None, "incident": None},
            "journal": {"events": 0, "whole": True}, "trusted": True,
        }  # fmt: skip
        first = "rollback checkpoint create NAME"
        if not desk.system.state_path.parent.is_dir():
            first = f"make the folder of the state first: mkdir -p {desk.system.state_path.parent}"
        if desk.system.checkpoints.stores and desk.system.state_path.parent.is_dir():
            with desk.look() as site:
                first = to_fetch(site) or first
        desk.out(body, lambda: [f"{body['system']}: nothing has happened yet", f"  try: {first}"])
        return 0
    with desk.look() as site:
        runs = list(site.runs().values())
        still = [run for run in runs if not run.final]
        last = _last_ended(site)
        kept = site.checkpoints.list()
        try:
            count, _, anchors = site.journal.verify()
            journal: dict[str, Any] = {"events": count, "whole": True, "anchors": anchors}
        except JournalError as error:
            journal = {"events": None, "whole": False, "why": str(error)}
        believed = trust.pinned(site.state.tree)
        trusted = not believed or believed == site.system.authority_digest
        body = {
            "system": site.system.system.id,
            "runs_open": [
                {"run_id": run.id, "state": run.state.value, "level": plan_of(run).level,
                 "undoes": plan_of(run).undoes or None, "reason": _reason(site, run),
                 "waiting_for": _waits(site, run), "until": _until(site, run),
                 "may_approve": [*may_approve(site, run)], "overdue": _overdue(site, run)}
                for run in still
            ],
            "last_run": {"run_id": last.id, "state": last.state.value,
                         "known_red": [*last.known_red],
                         "because": "; ".join(reasons(site, last)) or None} if last else None,
            "checkpoints": len(kept),
            "last_checkpoint": {"id": kept[0].id, "name": kept[0].name, "at": kept[0].at} if kept else None,
            "missed": [one.as_json() for one in missed(site)] if journal["whole"] else [],
            "not_exported": [one.as_json() for one in exports(site) if one.problem],
            "overdue": [{**one.as_json(), "said": one.said} for one in late(site)]
            if journal["whole"] else [],
            "glass": [{**asdict(one), "overdue": overdue(site, one)} for one in unreviewed(site)],
            "calls": _calls(site), "paper": [asdict(one) for one in checklist.papers(site)],
            "frozen": _frozen(site), "damaged": damaged(site), "agent": _agent(site),
            "not_running": [*stopped.services(site, site.system.environment_name)] if runs else [],
            "suspended": stopped.suspended(site, site.system.environment_name),
            "journal": journal, "trusted": trusted,
        }  # fmt: skip
        advice = {run.id: next_lines(site, run) for run in still} | {
            f"glass {one.run}": [f"rollback review {one.run} {who} --note TEXT"
                                 for who in as_one_of(site, may_review(site, one))]
            for one in unreviewed(site)
        }  # fmt: skip
        fetch = to_fetch(site)
        desk.out(body, lambda: _lines(body, advice, fetch))
        return 0 if journal["whole"] and not body["damaged"] else 8


def _last_ended(site: Site) -> Run | None:
    """The run that came to its end last; None before any has. What is said of it later moves it not."""
    ended = {run.id: run for run in site.runs().values() if run.final}
    return next((ended[event.run] for event in reversed(site.journal.events())
                 if event.kind in ENDINGS and event.run in ended), None)  # fmt: skip


def _reason(site: Site, run: Run) -> str:
    """Why it stands where it stands, as of now."""
    from rollback.act import unsaid

    stopped = run.state is State.NEEDS_OPERATOR
    return next(iter(unsaid.reasons(site, run)), "") if stopped else run.reason


def _waits(site: Site, run: Run) -> dict[str, Any] | None:
    """What it waits for, as of now."""
    from rollback.act import unsaid

    return {**run.waiting_for, "what": unsaid.waits(site, run)} if run.waiting_for else None


def _until(site: Site, run: Run) -> str | None:
    """Until when the step that asks takes an answer."""
    from rollback.act.asked import answer_by
    from rollback.host.clock import iso

    until = answer_by(site, run)
    return iso(until) if until is not None else None


def _agent(site: Site) -> dict[str, Any]:
    """Who watches, why a person must look, and where the newest watched incident stands."""
    from rollback.act import incident
    from rollback.model.lifecycle import State
    from rollback.watch.agent import watched_by

    now = incident.after(site)
    kinds = ("agent.held", "run.planned", "agent.stopped")
    last = next((e for e in reversed(site.journal.events()) if e.kind in kinds), None)
    held = str(last.data["because"]) if last is not None and last.kind == "agent.held" else None
    behind = site.runs().get(str(last.data.get("behind", ""))) if last is not None else None
    if behind is not None and behind.state is not State.WAITING:
        held = None  # what it was held up by has been answered
    known = {"id": now.incident, "state": now.word, "run": now.run, "left_s": round(now.left_s),
             "because": now.because or None}  # fmt: skip
    return {
        "watching": watched_by(site) or None,
        "held": held,
        "incident": known if now.word else None,
    }


def _agent_lines(agent: dict[str, Any]) -> list[str]:
    lines = []
    if agent["watching"]:
        lines.append(f"  an agent watches: {agent['watching']}")
    if agent["held"]:
        lines.append(paint(f"  the agent needs a person: {safe(agent['held'])}", "yellow"))
    found = agent["incident"]
    if found and found["state"] != "STABLE":
        left = f", stable in {spoken(found['left_s'])}" if found["state"] == "MONITORING" else ""
        why = f": {safe(found['because'])}" if found["because"] else left
        lines.append(f"  incident {found['id']} after run {found['run']} is {found['state']}{why}")
    return lines


def _calls(site: Site) -> list[dict[str, Any]]:
    """Who is called about what and has not acknowledged it: ladders, and calls that a person makes."""
    from rollback.act.ladders import calls, ladders

    events = site.journal.events()
    found: list[dict[str, Any]] = [
        {"id": one.id, "name": one.about or one.ladder, "about": one.about or None,
         "because": one.because, "called": [*one.called], "silent": one.silent, "since": one.begun.at}
        for one in ladders(events) if one.unanswered
    ]  # fmt: skip
    return found + [
        {"id": one.message, "name": one.run or one.message, "about": one.run or None,
         "because": one.title, "called": [one.owner], "silent": False, "since": one.at}
        for one in calls(events)
    ]  # fmt: skip


def _call_lines(one: dict[str, Any]) -> list[str]:
    who = ", ".join(map(safe, one["called"])) or "nobody yet"
    why = safe(one["because"])
    said = f"  called since {one['since'][11:16]} UTC: {who}: {why}"
    if one["silent"]:
        said = f"  NOBODY ACKNOWLEDGED, and the ladder has ended; called: {who}: {why}"
    return [paint(said, "red" if one["silent"] else "yellow"),
            f"    try: rollback ack {safe(one['name'])} --as PERSON"]  # fmt: skip


def _frozen(site: Site) -> dict[str, str]:
    """By component, the run that froze it."""
    from rollback.keep import frozen
    from rollback.model.errors import ObjectCorrupt

    found = {}
    for name in frozen.names(site.state.tree):
        try:
            one = frozen.read(site.state.tree, name)
        except ObjectCorrupt as error:
            found[name] = f"? ({error})"
            continue
        if one is not None:
            found[name] = one.run
    return found


def _overdue(site: Site, run: Run) -> bool:
    """True when nobody answered in time, and no driver has looked since."""
    from rollback.act import asked
    from rollback.model.errors import PlanError

    try:
        return run.waiting_for != {} and asked.overdue(site.under(run), run)
    except PlanError:
        return False  # its declaration is gone: whoever resumes it is told so


def _lines(body: dict[str, Any], advice: dict[str, list[str]], fetch: str) -> list[str]:
    from rollback.act import stopped
    from rollback.cli.timeline import known_red, of, suspended_lines

    lines = [paint(str(body["system"]), "bold")]
    for run in body["runs_open"]:
        waits = (
            f"waits for {run['waiting_for'].get('what', '')}"
            if run["waiting_for"]
            else run["reason"]
        )
        if run["overdue"]:
            waits = f"overdue; it waited for {run['waiting_for'].get('what', '')}"
        lines.append(
            f"  run {run['run_id']}  {of(run):<14} {state(run['state'])}  {safe(waits)}".rstrip()
        )
        if run["overdue"]:
            lines.append(f"    try: end it, then plan anew: rollback resume {run['run_id']}")
        else:
            lines += [f"  {line}" for line in advice[run["run_id"]]]
    if not body["runs_open"]:
        last = body["last_run"]
        red = f" {known_red(last['known_red'])}" if last and last["known_red"] else ""
        said = (
            f"last run {last['run_id']} ended {last['state']}{safe(red)}" if last else "no run yet"
        )
        why = f": {safe(last['because'])}" if last and last["because"] else ""
        lines.append(f"  no run is open; {said}{why}")
    if body["not_running"]:
        lines.append(paint(f"  not running: {', '.join(body['not_running'])}", "yellow"))
        lines += [] if body["runs_open"] else [f"    try: {stopped.start()}"]
    if body["suspended"]:
        lines += [paint(line, "yellow") for line in suspended_lines(body["suspended"])]
    lines += _agent_lines(body["agent"])
    lines += [line for one in body["calls"] for line in _call_lines(one)]
    newest = body["last_checkpoint"]
    if newest:
        name = newest["name"] or newest["id"][:12]
        kept = counted(body["checkpoints"], "checkpoint")
        lines.append(f"  {kept}, the newest is {safe(name)} of {newest['at'][:16]}")
    else:
        lines.append(f"  no checkpoint here; try: {fetch}" if fetch else
                     "  no checkpoint yet; try: rollback checkpoint create NAME")  # fmt: skip
    for one in body["missed"]:
        said = f"  the scheduled checkpoint {one['kind']} did not happen: {safe(one['missed'])}"
        lines += [paint(said, "yellow"), "    try: rollback checkpoint due"]
    for one in body["not_exported"]:
        lines.append(paint(f"  {one['kind']} as tar: {safe(one['problem'])}", "yellow"))
        lines.append("    try: rollback checkpoint due")
    for one in body["overdue"]:
        lines.append(paint(f"  overdue: {safe(one['said'])}", "yellow"))
    for one in body["glass"]:
        late = ", and somebody should have looked by now" if one["overdue"] else ""
        said = (
            f"  {safe(one['by'])} broke the glass in run {one['run']}: {safe(one['reason'])}{late}"
        )
        lines.append(paint(said, "red"))
        lines += [f"    try: {line}" for line in advice[f"glass {one['run']}"]]
    for one in body["paper"]:
        lines += _paper_lines(one)
    if body["damaged"]:
        lines += _damage_lines(body["damaged"])
    for name, run in body["frozen"].items():
        lines.append(paint(f"  component {safe(name)} is frozen by run {safe(run)}", "yellow"))
        if all(run != one["run_id"] for one in body["runs_open"]):
            lines.append("    try: rollback run thaw")
    journal = body["journal"]
    if journal["whole"]:
        lines.append(f"  the journal is whole: {counted(journal['events'], 'event')}")
    else:
        lines.append(paint(f"  the journal is damaged: {safe(journal['why'])}", "red"))
    if not body["trusted"]:
        lines.append(
            paint(
                "  people or policy changed since they were trusted; try: rollback trust", "yellow"
            )
        )
    return lines


def _paper_lines(one: dict[str, Any]) -> list[str]:
    """What holds the closing of an incident up, and until when it is due."""
    when = f", due by {one['due'][:16]}Z" if one["due"] else ""
    said = (
        f"  incident {one['incident']} is not closed: {safe(one['item'])}: {safe(one['evidence'])}"
    )
    if one["overdue"]:
        said, when = paint(f"{said}, overdue since {one['due'][:16]}Z", "red"), ""
    return [said + when, *([f"    try: {one['hint']}"] if one["hint"] else [])]


def _damage_lines(found: dict[str, Any]) -> list[str]:
    lost = len(found["checkpoints"])
    costs = (
        f"{counted(lost, 'checkpoint')} cannot be gone back to" if lost else "nothing is lost by it"
    )
    said = f"  {counted(len(found['packs']), 'pack')} of the store damaged, {costs}: {safe(found['why'])}"
    return [paint(said, "red"), "    try: rollback checkpoint verify --repair"]
