"""What must hold before a run starts: prerequisites, conditions, the order of climbing, start items.

A run that only takes another one back, or puts a checkpoint back by hand, has the authority of a
level and not its prerequisites, items or place in the climb.

Hides: who is asked for which.
Never: changes the managed system, or takes no answer for a yes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rollback.act import built_in, eyes, records
from rollback.act.plan import Plan, find_level, make_plan
from rollback.act.programs import absent
from rollback.act.site import Site
from rollback.host import processes
from rollback.host.below import why
from rollback.host.clock import parse_iso
from rollback.judge import guardrails as judge
from rollback.judge.unasked import AGENT
from rollback.judge.welcome import unwelcome
from rollback.model.errors import Refused, RollbackError
from rollback.model.finding import Answer, Finding, Json
from rollback.model.level import ChecklistItem, Level, Prerequisite, Procedure, settles
from rollback.model.lifecycle import Run, State
from rollback.model.quantity import listed
from rollback.observe.check import ask
from rollback.observe.metric import read_all

if TYPE_CHECKING:
    from rollback.act.target import Candidate

CLIMB_WITHIN = timedelta(hours=24)
_ENDS = ("run.needs-operator", "gate.closed", "run.undone")


def of_its_level(plan: Plan, level: Level | Procedure) -> bool:
    """True when the plan holds the level's own steps, and borrows more of it than authority."""
    return not plan.undoes and plan.title == level.title


# -- prerequisites -------------------------------------------------------------------------


def prerequisites(site: Site, plan: Plan) -> tuple[Refused, ...]:
    """Every declared prerequisite that is not known to hold now, in order of the file."""
    here = site.there(plan.environment)
    _, level = find_level(here, plan.level)
    if "prerequisites" in level.waives or not of_its_level(plan, level):
        return ()
    found = (_prerequisite(here, plan, one) for one in level.prerequisites)
    return tuple(refused for refused in found if refused)


def _prerequisite(site: Site, plan: Plan, wanted: Prerequisite) -> Refused | None:
    if wanted.record or wanted.attest:
        return None  # of a run, which waits for it before its first step
    if wanted.fact:
        told = _facts(site).get(wanted.fact, "")
        if told.lower() in ("yes", "true"):
            return None
        said = f"which is {told}" if told else "which nobody has told"
        return Refused(
            "prerequisites", f"{plan.level} needs the fact {wanted.fact}, {said}",
            hint=f"tell it when it is so: rollback decide --fact {wanted.fact}=yes",
        )  # fmt: skip
    try:
        if wanted.repository:
            reason = _repository(site, wanted.repository)
        elif wanted.check:
            finding = ask_now(site, plan.environment, wanted.check)
            reason = "" if finding.answer is Answer.PASS else f"it says {_said(finding)}"
        else:
            reason = _checkpoint(site, str(wanted.checkpoint))
    except (RollbackError, OSError) as error:
        reason = f"it cannot be asked: {why(error)}"
    if not reason:
        return None
    name = (
        f"repository {wanted.repository}" if wanted.repository
        else f"check {wanted.check}" if wanted.check else f"checkpoint {wanted.checkpoint}"
    )  # fmt: skip
    return Refused(
        "prerequisites", f"{plan.level} needs {name}: {reason}",
        hint="put that right first, or choose a level that does not need it",
    )  # fmt: skip


def _facts(site: Site) -> Mapping[str, str]:
    from rollback.act.told import facts_of  # only where a fact is declared

    return facts_of(site.journal.events(), site.host.clock.now())


def _repository(site: Site, wanted: str) -> str:
    """Why the repository is not as wanted; empty when it is."""
    from rollback.keep.git import Repository  # libgit2 costs 30 ms; a flag needs none

    with Repository.open(site.system, site.host) as repository:
        _, head = repository.head()
        if wanted == "clean-tree":
            dirty = repository.dirty()
            return f"changed and not committed: {', '.join(dirty[:5])}" if dirty else ""
        if wanted == "clean-objects":
            finding = repository.prove(head)
            return "" if finding.answer is Answer.PASS else finding.evidence
        return ""  # head-known: it has just been read


def _checkpoint(site: Site, wanted: str) -> str:
    from rollback.act.target import candidates

    found: tuple[Candidate, ...] = candidates(site, "checkpoint", wanted)
    if any(one.valid for one in found):
        return ""
    return listed([one.why_not or "it is no target" for one in found]) or "there is none"


def ask_now(site: Site, environment: str, check: str) -> Finding:
    """What a declared check says at this moment, asked in process."""
    here = site.there(environment)
    declared = next(
        (one for _, one in here.system.checks() if getattr(one, "id", "") == check), None
    )
    if declared is None:
        return Finding(Answer.UNKNOWN, f"no check {check} is declared")
    reason = unwelcome(here.system, environment, declared)
    if reason:
        return Finding(Answer.UNKNOWN, f"it was not asked: {reason}")
    return ask(declared, eyes.of(here, environment))


def _said(finding: Finding) -> str:
    return f"{finding.answer.upper()}: {finding.evidence}"


# -- conditions and climbing ---------------------------------------------------------------


def conditions(site: Site, plan: Plan) -> judge.Conditions:
    """What the declared conditions say now; an emergency and a way back are not held by them.

    Nor is a start or stop by hand: what does not run has no metric that could allow it.
    """
    here = site.there(plan.environment)
    _, level = find_level(here, plan.level)
    declared = here.system.guardrails.conditions
    by_hand = plan.level in built_in.written(here.system)
    if plan.undoes or by_hand or not declared:
        return judge.Conditions({})
    if level.emergency:
        left_out = ", ".join(guard.id for guard in declared)
        return judge.Conditions({}, warnings=(f"not asked, as in any emergency: {left_out}",))
    metrics = [guard.metric for guard in declared if guard.metric is not None]
    facts = _facts(site) if any(guard.fact for guard in declared) else {}
    samples = read_all(eyes.of(here, plan.environment), metrics)
    return judge.conditions(here.system, samples, facts, lacking=_lacking(here, plan))


def _lacking(site: Site, plan: Plan) -> tuple[str, ...]:
    """The programs that steps start and that are not there; not those that a step puts there first."""
    root = str(site.system.root_path)
    put = [str(site.system.root_path / site.system.components[name].path) for name in plan.touched
           if name in site.system.components]  # fmt: skip
    found = []
    for step in plan.steps:
        argv = step.bound.get("argv") if step.kind == "command" else None
        words = [str(word) for word in argv] if isinstance(argv, list) else []
        folder = os.path.join(root, str(step.parameters.get("cwd", ".")))
        path = processes.base_environment(step.parameters.get("variables"))["PATH"]
        if not words or not absent(words, folder=folder, path=path):
            continue
        file = os.path.normpath(os.path.join(folder, words[0]))
        if "/" not in words[0] or not any(file == one or file.startswith(f"{one}/") for one in put):
            found.append(words[0])
    return tuple(dict.fromkeys(found))


def climb(site: Site, plan: Plan) -> tuple[Refused, ...]:
    """The refusal when a lower level has to be tried first."""
    here = site.there(plan.environment)
    name, level = find_level(here, plan.level)
    if not isinstance(level, Level) or not of_its_level(plan, level):
        return ()
    if not judge.climbs(here.system, level):
        return ()
    since = site.host.clock.now() - CLIMB_WITHIN
    failed = [int(str(run.plan["rank"])) for run in _failed(here, plan, since)]
    seen = judge.Climb(failed, _decided(here, since))
    refused = judge.climb(here.system, name, level, seen)
    if refused and _idle(here, plan, judge.next_lower(here.system, level.rank)):
        return ()
    return (refused,) if refused else ()


def cause(site: Site, plan: Plan) -> tuple[Refused, ...]:
    """The refusal when a person starts a level by hand, and says no declared cause.

    What a decision calls for has its cause there; so has what follows a run that was not enough.
    """
    here = site.there(plan.environment)
    _, level = find_level(here, plan.level)
    by_hand = isinstance(level, Level) and of_its_level(plan, level) and plan.requester != AGENT
    if not by_hand or level.emergency:
        return ()
    refused = judge.cause(here.system, plan.reason)
    if refused is None:
        return ()
    since = site.host.clock.now() - CLIMB_WITHIN
    decided = _decided(here, since)
    called_for = decided is not None and decided >= plan.rank
    return () if called_for or any(_failed(here, plan, since)) else (refused,)


def _failed(site: Site, plan: Plan, since: datetime) -> Iterator[Run]:
    """The runs of levels, in the same environment, that went wrong since then."""
    for run in site.runs().values():
        level = site.system.levels.get(str(run.plan.get("level")))
        ends = [parse_iso(run.moments[kind][2]) for kind in _ENDS if kind in run.moments]
        if (
            run.state in (State.NEEDS_OPERATOR, State.UNDONE)
            and ends and max(ends) > since
            and run.plan.get("environment") == plan.environment
            and level is not None and not run.plan.get("undoes")
            and run.plan.get("title") == level.title
        ):  # fmt: skip
            yield run


def _decided(site: Site, since: datetime) -> int | None:
    """The rank of the level that the newest decision calls for, when it is from since then."""
    taken = [event for event in site.journal.events() if event.kind == "decision.taken"]
    if not taken or parse_iso(taken[-1].at) <= since:
        return None
    level = site.system.levels.get(str(taken[-1].data.get("level") or ""))
    return level.rank if level else None


def _idle(site: Site, plan: Plan, lower: str) -> bool:
    """True when the lower level is where it would go back to already: trying it proves nothing."""
    alone = site.system.levels[lower].component == "required"
    try:
        return make_plan(
            site, lower, run=plan.stamp["run"], requester=plan.requester,
            environment=plan.environment, component=plan.component if alone else "",
        ).idle  # fmt: skip
    except (RollbackError, OSError):
        return False  # it cannot even be planned: whether it would be enough is not known


# -- items that gate the start -------------------------------------------------------------


def hold(site: Site, run: Run, plan: Plan) -> Run:
    """The run WAITING while an item that gates the start is open; else as it is, the items noted."""
    items = start_items(site, run, plan)
    if not items or run.steps or "checklist.item" in run.moments:
        return run
    for item in items:
        if item.record:
            records.collect(site, run, plan, item.record)
    what = waits_for(site, run, plan)
    if what:
        return site.note(run, "run.waiting", on="checklist", what=what)
    for item in items:
        run = site.note(
            run, "checklist.item", id=item.id, item=item.item, done=True, gates="start",
            evidence=settled(site, run, plan, item)[1], due_s=item.due,
        )  # fmt: skip
    return run


def waits_for(site: Site, run: Run, plan: Plan) -> str:
    """The open items that gate the start, and what settles each; empty when all are settled."""
    still_open = [f"{one.item} ({how(site, run, one)})" for one in open_items(site, run, plan)]
    return f"the checklist: {'; '.join(still_open)}" if still_open else ""


def open_items(site: Site, run: Run, plan: Plan) -> tuple[ChecklistItem, ...]:
    """The items that gate the start and are not settled."""
    items = start_items(site, run, plan)
    return tuple(item for item in items if not settled(site, run, plan, item)[0])


def start_items(site: Site, run: Run, plan: Plan) -> tuple[ChecklistItem, ...]:
    """What is settled before the first step, each by a person's word, a record or a check.

    Items of the checklist, the assessment that the decision names, prerequisites of the level, conditions
    that a person may let pass.
    """
    _, level = find_level(site, plan.level)
    if level.emergency or not of_its_level(plan, level):
        return ()
    listed = tuple(item for item in level.checklist if item.gates == "start")
    asked = tuple(_let_pass(site, run))
    if "prerequisites" in level.waives:
        return (*asked, *listed)
    named = {item.record or item.id for item in listed}
    wanted = {name: ("", name) for name in records.assessment(site, level)}
    wanted |= {one.record or one.attest or "": (one.attest or "", one.record or "")
               for one in level.prerequisites if one.record or one.attest}  # fmt: skip
    needed = tuple(
        ChecklistItem(id=name, item=f"{name} is {'filled' if record else 'said'}", record=record or None,
                      attest=attest or None, gates="start")
        for name, (attest, record) in wanted.items() if name not in named
    )  # fmt: skip
    return (*asked, *needed, *listed)


def _let_pass(site: Site, run: Run) -> Iterator[ChecklistItem]:
    """The conditions that did not hold when the run was made, and that a person may let pass."""
    if "guardrail.asked" not in run.moments:
        return
    for event in site.journal.events():
        if event.run == run.id and event.kind == "guardrail.asked":
            why = f"it may go on although {event.data['why']}"
            yield ChecklistItem(
                id=str(event.data["id"]), item=why, attest=site.system.people.owner, gates="start"
            )


def how(site: Site, run: Run, item: ChecklistItem) -> str:
    """What settles an item before the first step, for people."""
    if item.check:
        return f"check {item.check} must pass"
    if item.record:
        return records.open_fields(site, run, item.record)
    return f"rollback answer {run.id} {item.id} yes"


def settled(site: Site, run: Run, plan: Plan, item: ChecklistItem) -> tuple[bool, str]:
    """A check is asked now; everything else happened before the first step: a person says yes."""
    if item.check:
        finding = ask_now(site, plan.environment, item.check)
        return finding.answer is Answer.PASS, f"check {item.check} says {_said(finding)}"
    if item.record:
        return records.settled(site, run, item.record)
    return answered(site, run, item.id)


def said_enough(site: Site, run: Run) -> bool:
    """True when what the step that asks waits for was said: a choice, a whole record, else yes."""
    waits = run.waiting_for
    if waits.get("record"):
        return records.settled(site, run, str(waits["record"]))[0]
    item, choices = str(waits.get("item")), waits.get("choices")
    if isinstance(choices, list) and choices:
        return last_word(site, run.id, item) in choices
    return answered(site, run, item)[0]


def answered(site: Site, run: Run, item: str) -> tuple[bool, str]:
    """Whether the last word that was said about an item settles it, and who said what."""
    said = _said_about(site, run.id, item)
    if not said:
        return False, "not said yet"
    text = str(said[-1].get("text"))
    return settles(text), f"said by {said[-1].get('by')}: {text}"


def last_word(site: Site, run_id: str, item: str) -> str:
    """What was last said about an item; "" when nothing was."""
    said = _said_about(site, run_id, item)
    return str(said[-1].get("text")) if said else ""


def _said_about(site: Site, run_id: str, item: str) -> list[dict[str, Json]]:
    return [
        event.data
        for event in site.journal.events()
        if event.run == run_id and event.kind == "answer.given" and event.data.get("item") == item
    ]
