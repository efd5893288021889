"""What a run that stopped or waits still has to hear from people, and how it is typed.

Why it stopped stays in the journal as it was said then. Some of it may have been settled since.

Hides: which items of a checklist hold a run up where it stands.
Never: calls a gate open; only asking it again does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from rollback.act import checklist, records, starting, unsettled
from rollback.act.plan import plan_of
from rollback.act.site import Site
from rollback.model.errors import PlanError
from rollback.model.level import ChecklistItem
from rollback.model.lifecycle import Run, State

_SETTLED = "what it waited for has been said since; the gate was not asked again"


@dataclass(frozen=True, slots=True)
class Unsaid:
    """One thing that somebody has to say: `typed` comes behind `rollback answer RUN`, `role` may say it."""

    typed: str
    role: str


def unsaid(site: Site, run: Run) -> tuple[Unsaid, ...]:
    """Every item that holds the run up now and that a word or a record settles."""
    with suppress(PlanError):  # its declaration is gone: whoever resumes it is told so
        return tuple(_words(site.under(run), one) for one in _holding(site.under(run), run))
    return ()


def reasons(site: Site, run: Run) -> list[str]:
    """Why the run stopped for a person, without what was settled since."""
    told = run.verdict.get("reasons")
    if not isinstance(told, list) or not told:
        return [run.reason] if run.reason else []
    with suppress(PlanError):
        there = site.under(run)
        paper = checklist.keeps_closed(there, run, plan_of(run))
        # each of these reasons names what is typed about it
        typed = [f"rollback answer {run.id} {item} " for item in unsettled.said_since(there, run)]
        found = [one for one in map(str, told) if not one.startswith(checklist.REASON)
                 and not any(words in one for words in typed)]  # fmt: skip
        if len(found) < len(told):
            return [*found, *paper] or [_SETTLED]
    return [str(one) for one in told]


def waits(site: Site, run: Run) -> str:
    """What the run waits for, without what was settled since; checks are asked when it goes on."""
    what = str(run.waiting_for.get("what", ""))
    if run.waiting_for.get("on") != "checklist":
        return what
    with suppress(PlanError):
        there, plan = site.under(run), plan_of(run)
        listed = (one for one in starting.start_items(there, run, plan) if one.item in what)
        found = [
            f"{one.item} ({starting.how(there, run, one)})" for one in listed
            if one.check or not starting.settled(there, run, plan, one)[0]
        ]  # fmt: skip
        return f"the checklist: {'; '.join(found) or 'it is settled since'}"
    return what


def _holding(site: Site, run: Run) -> Iterator[ChecklistItem]:
    plan = plan_of(run)
    if run.state is State.WAITING and run.waiting_for.get("on") == "checklist":
        for item in starting.start_items(site, run, plan):
            if not item.check and not starting.settled(site, run, plan, item)[0]:
                yield item
    elif run.state is State.NEEDS_OPERATOR and run.waiting_in is State.MITIGATED:
        for one in checklist.look(site, run, plan):
            rests = one.declared.record or checklist.asked(site, one.declared)
            if one.declared.gates == "complete" and not one.done and rests:
                yield one.declared


def _words(site: Site, item: ChecklistItem) -> Unsaid:
    if item.record:
        return Unsaid(f"{item.record}{records.SEPARATOR}FIELD TEXT", "")
    return Unsaid(f"{item.id} yes", checklist.asked(site, item))
