"""A run as it happens, and as it was: live lines on standard error, a table afterwards.

Hides: which events are worth a line.
Never: changes a run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rollback.act import built_in, stopped, unsaid
from rollback.act.asked import answer_by, declared, due
from rollback.act.authorize import may_approve
from rollback.act.climbing import offered
from rollback.act.guarding import command_of, still_runs
from rollback.act.plan import plan_of
from rollback.act.site import Site
from rollback.cli.planning import instead
from rollback.cli.show import paint, safe, size, state
from rollback.keep import lease
from rollback.model.event import Event
from rollback.model.lifecycle import ENDED, TRANSITIONS, Run, State, elapsed_s
from rollback.model.quantity import counted, spoken
from rollback.model.system import HOME
from rollback.tell.phases import of_a_run, phases


class Live:
    """Hears events and says one line each on standard error; silent where nobody watches."""

    def __init__(
        self, *, quiet: bool = False, pasted: Callable[[str], str] = lambda text: text
    ) -> None:
        self._pasted = pasted
        self._quiet = quiet
        self._began: dict[str, float] = {}
        self._last_s: float | None = None  # taking a step back begins with the event before

    def __call__(self, event: Event) -> None:
        """One event."""
        if event.kind == "step.began":
            self._began[str(event.data["index"])] = event.boot_s
        line = self._line(event)
        self._last_s = event.boot_s
        if not line or self._quiet or sys.stderr is None:
            return
        with suppress(OSError, ValueError):  # a closed terminal must not stop a run
            print(self._pasted(line), file=sys.stderr, flush=True)

    def _line(self, event: Event) -> str:
        data = event.data
        mark = {"ended": ("✓", "green"), "failed": ("✗", "red"), "undone": ("↶", "yellow"),
                "doubted": ("?", "yellow"), "skipped": ("–", "dim")}  # noqa: RUF001  # fmt: skip
        if event.kind.startswith("step.") and (found := mark.get(event.kind[5:])):
            index = str(data["index"])
            begun = self._last_s if event.kind == "step.undone" else self._began.get(index)
            took = event.boot_s - (event.boot_s if begun is None else begun)
            said = _said(data)
            sign = paint(found[0], found[1], stream=sys.stderr)
            return f"  {sign} {index:<4} {data.get('id', ''):<16} {spoken(took):>9}  {safe(said)}".rstrip()
        if event.kind == "suite.ended":
            sign = (
                paint("✓", "green", stream=sys.stderr)
                if data["open"]
                else paint("✗", "red", stream=sys.stderr)
            )
            red = data.get("known_red")
            counts = suite_counts(
                data["passed"], data["failed"], red if isinstance(red, list) else ()
            )
            took_s = data["duration_s"]
            return f"  {sign} suite {data['suite']:<14} {spoken(float(str(took_s))):>9}  {counts}"
        if event.kind == "run.noted":
            kept = data.get("kept")
            told = (
                [str(data.get("note", ""))]
                if not isinstance(kept, list)
                else [_laid_by(one) for one in kept]
            )
            return "\n".join(f"  ! {safe(one)}" for one in told if one)
        if event.kind == "glass.broken":
            said = f"  ! {safe(data['by'])} BROKE THE GLASS: {safe(data['reason'])}"
            return paint(said, "red", stream=sys.stderr)
        if event.kind == "ladder.called":
            return f"  ! called{_about(event)}: {safe(data.get('role', ''))}"
        if event.kind == "ladder.silent":
            said = f"  ! NOBODY ACKNOWLEDGED{_about(event)}: {safe(data.get('because', ''))}"
            return paint(said, "red", stream=sys.stderr)
        if event.kind == "message.failed":
            where, why = safe(data.get("channel") or "nobody"), safe(data.get("detail", ""))
            return f"  ! message {safe(data.get('name', ''))} to {where}: {why}"
        if event.kind == "task.opened":
            return f"  ! a task: {safe(data.get('title', ''))}"
        if event.kind in _WORDS:
            word = state(_WORDS[event.kind], stream=sys.stderr)
            said = str(data.get("reason") or data.get("what") or "")
            if event.kind == "gate.opened" and data.get("known_red"):
                said = known_red(data["known_red"])
            if _WORDS[event.kind] == "NEEDS_OPERATOR":
                said = ""  # the end of the run says it, with everything else that is known
            return f"{event.at[11:19]} {word}" + (f"  {safe(said)}" if said else "")
        return ""


_WORDS = {
    "run.planned": "PLANNED", "run.authorized": "AUTHORIZED", "run.protected": "PROTECTED",
    "run.started": "RUNNING", "run.mitigated": "MITIGATED", "gate.opened": "COMPLETE",
    "gate.closed": "NEEDS_OPERATOR", "run.needs-operator": "NEEDS_OPERATOR", "run.undoing": "UNDOING",
    "run.undone": "UNDONE", "run.waiting": "WAITING", "run.abandoned": "ABANDONED",
    "run.expired": "EXPIRED",
}  # fmt: skip


_LEFT = ("began", "ended", "failed", "doubted")  # what steps may have left something behind


def suite_counts(passed: object, failed: object, red: Collection[object]) -> str:
    """How the tests of a suite came out; what is known to be red is no pass.

    >>> suite_counts(2, 0, ()), suite_counts(2, 0, ["slow"])
    ('2 passed', '2 passed, 1 known failure')
    """
    said = [f"{passed} passed", *([f"{failed} failed"] if failed else [])]
    return ", ".join([*said, *([counted(len(red), "known failure")] if red else [])])


def known_red(found: object) -> str:
    """The checks that were red before and still are, as a run that is COMPLETE says it."""
    red = [str(one) for one in found] if isinstance(found, list) else []
    return f"with {counted(len(red), 'known failure')}: {', '.join(red)}"


def _about(event: Event) -> str:
    """Which run people are called about: it need not be the one that goes on."""
    return f" about run {event.run}" if event.run else ""


def _laid_by(kept: Any) -> str:
    """What a step took away, and where it lies."""
    much = f"{counted(kept['entries'], 'path')}, {size(kept['bytes'])}"
    return f"step {kept['step']} laid by {much}: {kept['where']}"


def _said(data: dict[str, Any]) -> str:
    evidence = data.get("evidence")
    if isinstance(evidence, dict):
        for key in ("error", "said", "found_done"):
            if evidence.get(key):
                return str(evidence[key])
    return str(data.get("because", ""))


def of(told: Mapping[str, Any]) -> str:
    """What a run is, in a list of runs: its level, or that it takes another one back."""
    return f"undo of {told['undoes']}" if told["undoes"] else str(told["level"])


def clocks(site: Site, run: Run) -> dict[str, Any]:
    """Both clocks beside their budgets; None where it has not happened, or nothing is declared."""
    plan = plan_of(run)
    level = site.system.levels.get(plan.level) or site.system.procedures.get(plan.level)
    budgets = level.budgets if level else None
    mitigated = elapsed_s(run, "run.mitigated")
    complete = elapsed_s(run, "gate.opened")
    return {
        "mitigated_s": mitigated[0] if mitigated else None,
        "mitigated_budget_s": budgets.mitigated if budgets else None,
        "complete_s": complete[0] if complete else None,
        "complete_budget_s": budgets.complete if budgets else None,
        "waited_s": round(run.waited_s, 3),
        "approximate": bool((mitigated and mitigated[1]) or (complete and complete[1])),
    }


def _budgeted(site: Site, run: Run) -> list[dict[str, Any]]:
    """The declared phases of the run's level with their times and budgets."""
    level = site.system.levels.get(plan_of(run).level) or site.system.procedures.get(
        plan_of(run).level
    )
    mine = (event for event in site.journal.events() if event.run == run.id)
    return [*phases(level, run.plan, mine)]


def result(site: Site, run: Run) -> dict[str, Any]:
    """The run as `--json` prints it."""
    plan = plan_of(run)
    suites = {
        name: {
            key: found.get(key)
            for key in ("open", "passed", "failed", "skipped", "duration_s", "reasons")
        }
        | {"known_red": found.get("known_red") or []}
        for name, found in run.suites.items()
    }
    report = site.state.path / "runs" / run.id / "report.md"
    return {
        "run_id": run.id, "state": run.state.value, "level": plan.level, "rank": plan.rank,
        "component": plan.component, "incident": run.incident, "target": plan.as_json()["target"],
        "changed": any(r.status in _LEFT for r in run.steps.values()),
        **clocks(site, run), "phases": of_a_run(run), "budgeted": _budgeted(site, run),
        "suites": suites, "known_red": [*run.known_red],
        "not_asked": run.verdict.get("not_asked") or [], "reason": run.reason,
        "fallbacks": [one.to for one in plan.fallbacks],
        "waiting_for": run.waiting_for or None, "safety": run.safety or None,
        "report": str(report) if report.is_file() else None, "system": str(site.system.declaration),
    }  # fmt: skip


def result_lines(site: Site, run: Run) -> list[str]:
    """The end of a run for people."""
    told = clocks(site, run)
    lines = ["", f"{run.id}  {state(run.word)}"]
    if run.known_red:
        lines.append(f"  still red, as before: {', '.join(map(safe, run.known_red))}")
    for name in ("mitigated", "complete"):
        took, budget = told[f"{name}_s"], told[f"{name}_budget_s"]
        if took is None:
            continue
        over = budget is not None and took > budget
        word = paint("over budget", "red") if over else paint("within budget", "green")
        within = f"  of {spoken(budget)}  {word}" if budget else ""
        lines.append(f"  {name:<10} {spoken(took):>10}{within}")
    not_asked = run.verdict.get("not_asked")
    if run.state is State.COMPLETE and isinstance(not_asked, list) and not_asked:
        lines.append(f"  sealed, and not asked at this level: {', '.join(map(str, not_asked))}")
    for phase in _budgeted(site, run):
        if phase["took_s"] is not None and phase["budget_s"]:
            word = paint("over budget", "red") if phase["over"] else paint("within budget", "green")
            took, budget = spoken(phase["took_s"]), spoken(phase["budget_s"])
            lines.append(f"    {phase['id']:<10} {took:>8}  of {budget}  {word}")
    if told["waited_s"]:
        lines.append(f"  waiting    {spoken(told['waited_s']):>10}  (included above)")
    for reason in (*reasons(site, run), *_by_hand(site, run)):
        lines.append(f"  {safe(reason)}")
    if run.state in (State.UNDONE, State.NEEDS_OPERATOR):
        environment = plan_of(run).environment
        lines += suspended_lines(stopped.suspended(site, environment), environment)
    lines += next_lines(site, run)
    report = site.state.path / "runs" / run.id / "report.md"
    if report.is_file():
        lines.append(f"  report: {report}")
    return lines


def _by_hand(site: Site, run: Run) -> list[str]:
    """What became of each service that was started or stopped by hand; that it was so already, too."""
    if not built_in.by_hand(site.system, plan_of(run).level):
        return []
    return [f"{one.evidence[name]}" for one in run.steps.values() if one.status == "ended"
            for name in site.system.services if name in one.evidence]  # fmt: skip


def reasons(site: Site, run: Run) -> list[str]:
    """What a run waits for, or why it ended as it did; nothing where it ended well."""
    if run.state is State.WAITING:
        return [f"waits for {unsaid.waits(site, run)}"]
    if run.state is State.NEEDS_OPERATOR:
        return unsaid.reasons(site, run)
    return [run.reason] if run.reason and run.state not in (State.COMPLETE, State.MITIGATED) else []


def down_lines(services: Sequence[str], environment: str) -> list[str]:
    """That services do not run, and how to start them, which loses nothing; empty where all do."""
    if not services:
        return []
    return [f"  not running: {', '.join(services)}", f"  try first: {stopped.start(environment)}"]


def suspended_lines(services: Mapping[str, int], environment: str = HOME) -> list[str]:
    """That services are frozen, and how they go on; empty where none is."""
    if not services:
        return []
    there = f" --environment {environment}" if environment != HOME else ""
    named = ", ".join(f"{name} (process {pid})" for name, pid in services.items())
    pids = " ".join(map(str, services.values()))
    return [f"  stopped by a signal, they do nothing: {named}",
            f"  try first: kill -CONT {pids}",
            f"  or: rollback run stop{there}, then {stopped.start(environment)}"]  # fmt: skip


def next_lines(site: Site, run: Run) -> list[str]:
    """What a person can type about a run that stopped or waits."""
    if run.state is State.NEEDS_OPERATOR:
        down = run.verdict.get("down")
        still = list(map(str, down)) if isinstance(down, list) else []
        onwards = offered(site, run)
        way = "the smallest level that covers what fails"
        if onwards.declared or not run.verdict:
            way = "the next level" + (", as declared" if onwards.declared else "")
        wider = [f"  {way}: {onwards.offer}"] if onwards.offer else []
        down_now = down_lines(still, plan_of(run).environment)
        first = [*_alive(site, run), *down_now, *_to_say(site, run)]
        return [*first, *wider, *(f"  try: {hint}" for hint in _on(run)), *_further(run)]
    if run.state is State.UNDONE:
        return _further(run)
    if run.state in ENDED or (run.state is State.MITIGATED and not run.gated):
        return []
    if run.state is not State.WAITING:
        return _driven(site, run)
    on = run.waiting_for.get("on")
    if on == "checklist":
        return _to_say(site, run) or [f"  try: go on with it: rollback resume {run.id}"]
    if on == "answer":
        return _answers(site, run)
    if on == "timer":
        return [f"  try: go on with it: rollback resume {run.id} --wait"]
    able = may_approve(site, run)
    named = "; ".join(f"{person} ({', '.join(roles)})" for person, roles in able.items())
    return [*_silence(site, run), *([f"  may say yes to it: {named}"] if able else []),
            *(f"  try: approve it: rollback approve {run.id} {who}" for who in as_one_of(site, able)),
            f"  try: or give it up: rollback abort {run.id}"]  # fmt: skip


def _silence(site: Site, run: Run) -> list[str]:
    """Until when the run waits for a yes, and what follows when nobody says it."""
    there = site.under(run)
    until = due(there, run)
    if until is None:
        return []
    stops = declared(there, plan_of(run)).unanswered == "person"
    then = "it stops for a person" if stops else "it ends, and nothing is changed"
    return [f"  if nobody answers by {until:%Y-%m-%d %H:%M} UTC: {then}"]


def _to_say(site: Site, run: Run) -> list[str]:
    """What people have to say of the checklist, as each is typed by whoever may; and what follows."""
    found = unsaid.unsaid(site, run)
    said = [
        f"  try: say it: rollback answer {run.id} {one.typed}{_by(site, one.role)}" for one in found
    ]
    return [*said, f"  try: then go on with it: rollback resume {run.id}"] if said else []


def _by(site: Site, role: str) -> str:
    """Who says it, as it is typed."""
    able = [one.id for one in site.in_force.people.members if role in one.roles]
    return f" --as {able[0] if len(able) == 1 else 'PERSON'}" if role else ""


def _answers(site: Site, run: Run) -> list[str]:
    """Everything that can be said to a step that asks, as it is typed; and until when."""
    waits, until = run.waiting_for, answer_by(site, run)
    item, choices, who = (
        waits.get("item"),
        waits.get("choices"),
        _by(site, str(waits.get("by") or "")),
    )
    words = [f"{item} {one}" for one in (choices if isinstance(choices, list) else ()) or ("yes",)]
    words = [f"{item}.FIELD TEXT"] if waits.get("record") else words
    typed = [f"rollback answer {run.id} {said}{who}" for said in words]
    if until is None:
        return [f"  try: say what is asked: {one}" for one in typed]
    left_s = (until - site.host.clock.now()).total_seconds()
    if left_s <= 0:
        return [f"  nobody confirmed it by {until:%H:%M:%S} UTC",
                f"  try: let it be taken back: rollback resume {run.id}"]  # fmt: skip
    return [f"  until {until:%H:%M:%S} UTC, {spoken(left_s)} from now",
            f"  try: confirm it: {typed[0]}",
            *(f"  try: or let it be taken back: {one}" for one in typed[1:])]  # fmt: skip


def as_one_of(site: Site, people: Iterable[str]) -> list[str]:
    """How one of these says who it is: by name, where there is one; with a key, where one is declared.

    Those with a key come first; PERSON, where nobody could say it now.
    """
    named = tuple(people)
    members = [one for one in site.in_force.people.members if one.id in named]
    said = []
    for key in (" --key FILE", ""):
        able = [one.id for one in members if bool(one.key) is bool(key)]
        said += [f"--as {able[0] if len(able) == 1 else 'PERSON'}{key}"] if able else []
    return said or ["--as PERSON"]


def _driven(site: Site, run: Run) -> list[str]:
    """About a run that goes on by itself: as long as somebody drives it."""
    if lease.held(site.state.tree):
        return [f"  try: follow it: rollback watch {run.id}"]
    gone = [f"  try: or give it up: rollback abort {run.id}"]
    stops = (run.state, "run.undoing") in TRANSITIONS or (run.state, "run.abandoned") in TRANSITIONS
    since = "any more" if "lease.taken" in run.moments else "yet"
    return [f"  nobody drives it {since}", *_alive(site, run),
            f"  try: go on with it: rollback resume {run.id}", *(gone if stops else [])]  # fmt: skip


def _alive(site: Site, run: Run) -> list[str]:
    """That the guarded command goes on without a driver: what it does next is in no journal."""
    said = still_runs(site, run)
    return [f"  {safe(said)}"] if said else []


def _further(run: Run) -> list[str]:
    """The next target, where going back to this one failed or did not help; nobody goes by himself."""
    plan = plan_of(run)
    kinds = {step.index: step.kind for step in plan.every_step()}
    failed = any(kinds.get(index) in ("restore", "git") and "error" in one.evidence
                 for index, one in run.steps.items())  # fmt: skip
    if not failed and run.waiting_in is not State.MITIGATED:
        return []
    return [f"  {line}" for line in instead(plan)]


def _on(run: Run) -> list[str]:
    """What a person can do about a run that stopped, by where it stood when it did."""
    look = f"see what is known: rollback report {run.id}"
    leave = f"or leave everything as it is: rollback abort {run.id} --as-it-is"
    # who takes back what a run did that itself takes back does it all again
    back = leave if run.plan.get("undoes") else f"or take back what it did: rollback undo {run.id}"
    guarded = command_of(plan_of(run))
    if guarded and _status(run, guarded.index) in ("began", "failed", "doubted"):  # never again
        return [f"go back to what was before it: rollback undo {run.id}", leave, look]
    if run.waiting_in is State.MITIGATED:
        return [
            f"see what is not well now: rollback verify; put it right, then ask the gate again: "
            f"rollback resume {run.id}",
            back, look,
        ]  # fmt: skip
    if run.waiting_in is State.UNDOING:
        return [
            f"put right what it stopped at, then let it go on taking back: rollback resume {run.id}",
            leave,
            look,
        ]
    stopped = [one for one in run.steps.values() if one.status in ("failed", "doubted")]
    did = any(one.status in _LEFT for one in run.steps.values())
    step = f"step {stopped[-1].index}" if stopped else "it"
    again = f"put right what stopped it, then let {step} be tried again: rollback resume {run.id}"
    gone = f"or give it up: rollback abort {run.id}"
    return [again, back if did else gone, look]


def _status(run: Run, index: str) -> str:
    record = run.steps.get(index)
    return record.status if record else ""


def exit_status(run: Run) -> int:
    """The declared exit status for a run in this state."""
    if run.state is State.COMPLETE or (run.state is State.MITIGATED and not run.gated):
        return 0
    return {
        State.UNDONE: 6, State.NEEDS_OPERATOR: 9, State.WAITING: 4, State.ABANDONED: 4, State.EXPIRED: 4,
    }.get(run.state, 9)  # fmt: skip
