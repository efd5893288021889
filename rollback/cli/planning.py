"""A plan at the command line: which target where several fit, and what is shown before a yes.

Hides: how somebody at a terminal is asked.
Never: chooses for somebody; changes anything.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from rollback.act.authorize import next_run_id
from rollback.act.plan import Plan, PlannedStep, make_plan
from rollback.act.site import Site
from rollback.act.target import Candidate
from rollback.cli.desk import Desk
from rollback.cli.show import choice_lines, flowed, paint, rows, safe, seen, size, table
from rollback.model.errors import SeveralFit
from rollback.model.quantity import counted
from rollback.tell.loss import loss

if TYPE_CHECKING:
    from rollback.act.offering import Standing

CANDIDATES_MAX = 8
PATHS_MAX = 3
_BELOW = 3  # lines that come after a plan
_MORE = "… and "  # how a step says that it has more paths
_SIGNS = ("+ ", "~ ", "- ", "% ")


def planned(desk: Desk, site: Site, level: str, *, to: str, **more: Any) -> Plan:
    """The plan of a level; which of several targets, somebody at the terminal is asked.

    Raises: as make_plan; SeveralFit where nobody can be asked, or none was chosen.
    """
    run = next_run_id(site)
    try:
        return make_plan(site, level, run=run, to=to, **more)
    except SeveralFit as several:
        chosen = _asked(desk, several)
        return make_plan(site, level, run=run, to=chosen, **more)


def _asked(desk: Desk, several: SeveralFit) -> str:
    """What names the chosen one alone. Raises: SeveralFit."""
    if desk.as_json or not terminal():
        raise several
    desk.bar.clear()
    for line in choice_lines(several, numbered=True):
        click.echo(line, err=True)
    valid = [one for one in several.choices if one.valid]
    said = click.prompt("which? (a number; nothing takes none)", default="", err=True,
                        show_default=False)  # fmt: skip
    if said.strip().isdecimal() and 1 <= int(said) <= len(valid):
        return valid[int(said) - 1].to
    raise several


def terminal() -> bool:
    """True when there is somebody who can be asked."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty())


def plan_lines(plan: Plan, *, every: bool = False) -> list[str]:
    """The plan for people: what, to where, in which order, and what is lost.

    On a terminal only the first paths of a step, unless `every` is wanted; what would have scrolled
    away is said again at the end.
    """
    target = (
        f"{plan.target.label or plan.target.id[:12]} ({plan.target.source} {plan.target.id[:12]})"
    )
    kind = "procedure" if plan.procedure else f"level {plan.rank}"
    lines = [paint(f"{plan.system}: {plan.title}", "bold"),
             f"  {kind} {plan.level}" + (f", variant {plan.variant}" if plan.variant else "")]  # fmt: skip
    if plan.target.source:
        lines.append(safe(f"  back to {target}"))
    if plan.component:
        lines.append(f"  component {plan.component}")
    head = [part for line in lines for part in flowed(line)]
    lines.append("")
    most = PATHS_MAX if seen() and not every else sys.maxsize
    for step in plan.steps:
        lines.append(f"  {step.index:>3} {step.id}")
        lines += [f"        {safe(said)}" for said in _short(plan, step, most)]
        for other in step.alternatives:
            lines.append(f"      if that fails: {other.id}: {safe('; '.join(other.says))}")
    lines.append("")
    lost = ["lost: nothing, since nothing would change"] if plan.idle else loss(plan.impact)
    lines += [f"  {safe(line)}" for line in lost]
    lines += _candidate_lines(plan.candidates)
    lines += [f"  {line}" for line in instead(plan)]
    lines = [part for line in lines
             for part in ([line] if line.lstrip()[:2] in _SIGNS else flowed(line))]  # fmt: skip
    lines += ["", *head] if len(lines) + _BELOW > rows() else []
    lines.append(paint(f"  plan {plan.digest()[:16]}", "dim"))
    return lines


def _short(plan: Plan, step: PlannedStep, most: int) -> Iterator[str]:
    """What the step says, of its paths at most so many."""
    paths = 0
    for said in step.says:
        if said[:2] in _SIGNS:
            paths += 1
        if paths <= most and not (paths == most and said.startswith(_MORE)):
            yield said
        elif said[:2] in _SIGNS and paths == most + 1:
            count = int(str(step.bound.get("changes") or most + 1))
            yield f"{_MORE}{count - most} more{_each(plan)}"
        elif said[:2] not in _SIGNS and not said.startswith(_MORE):
            yield said


def _each(plan: Plan) -> str:
    """What names the paths one by one."""
    if plan.undoes or not plan.target.source:
        return ""
    typed = [
        "rollback",
        "plan",
        plan.level,
        *(["--component", plan.component] if plan.component else []),
    ]
    typed += ["--to", plan.target.to] if plan.target.source == "checkpoint" else []
    return f": {shlex.join(typed)} --all"


def _candidate_lines(found: tuple[Candidate, ...]) -> Iterable[str]:
    if not found:
        return
    git = (
        ", a commit's as it differs from the head" if any(c.source == "git" for c in found) else ""
    )
    yield paint(f"  targets that were looked at (date, size{git})", "dim")
    cells = [(one.at[:16], one.source, one.label, size(one.size_bytes),
              "valid" if one.valid else f"not valid: {one.why_not}")
             for one in found[:CANDIDATES_MAX]]  # fmt: skip
    yield from table(("", "", "", "", ""), cells, indent="    ")[1:]
    if len(found) > CANDIDATES_MAX:
        yield f"    and {len(found) - CANDIDATES_MAX} more: add --json to see all of them"


def standing_lines(now: Standing) -> list[str]:
    """What fails now, and the smallest level that covers it."""
    if not now.asked:
        return []
    if not now.failing:
        return [f"  of {counted(now.asked, 'smoke check')} none fails now"]
    lines = [f"  fails now: {', '.join(now.failing)}"]
    if now.offer is not None:
        lines.append(f"  the smallest level that covers it: {now.offer.command}")
    return lines


def trust_lines(site: Site) -> list[str]:
    """That this cannot be run before the declaration is accepted, and what to type; else nothing."""
    from rollback.act.trusting import unaccepted

    found = unaccepted(site)
    if found is None:
        return []
    return [paint(f"  before it can be run: {safe(found.message)}", "yellow"),
            f"  try: {found.hint}"]  # fmt: skip


def instead(plan: Plan) -> list[str]:
    """What to type to go back to the next target instead; it is another plan, with its own yes."""
    if not plan.fallbacks:
        return []
    one = plan.fallbacks[0]
    typed = ["run", plan.level, "--to", one.to]
    for option, value in (("--component", plan.component), ("--variant", plan.variant)):
        typed += [option, value] if value else []
    typed += ["--environment", plan.environment] if plan.environment != "production" else []
    return [f"the next target would be {safe(one.label or one.id[:12])}: rollback "
            + safe(" ".join(map(shlex.quote, typed)))]  # fmt: skip
