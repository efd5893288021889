"""What holds a run back before it exists, measured and asked: guardrails, conditions, prerequisites.

Hides: where each figure is read; what counts as a look at the plan, and as a proof on staging.
Never: changes the managed system.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from rollback.act import built_in, starting
from rollback.act.plan import Plan, find_level, plan_of
from rollback.act.site import Site
from rollback.host.clock import parse_iso
from rollback.judge import guardrails as judge
from rollback.judge.guardrails import LIFTED, Circumstances, Conditions
from rollback.model.errors import Refused
from rollback.model.event import digest
from rollback.model.finding import Json
from rollback.model.level import Procedure
from rollback.model.lifecycle import Run, State

STAGED_WITHIN = timedelta(hours=24)  # as the climb: what was proved yesterday was another present


@dataclass(frozen=True, slots=True)
class Objections:
    """What speaks against starting a run now, and what the declared conditions said."""

    refused: tuple[Refused, ...]
    asked: Conditions

    @property
    def answer(self) -> tuple[bool, str]:
        """Whether it may start, and why not; OK where it may."""
        return not self.refused, "; ".join(map(str, self.refused)) or "OK"


def objections(site: Site, plan: Plan, *, climbing: bool = True, glass: bool = False) -> Objections:
    """Every guardrail that says no now; the world is asked only when everything known says yes.

    Not `climbing`: that a lower level comes first, or a cause is to be said, is no objection.
    `glass`: somebody breaks it, and takes the times and the people upon himself; never the data.
    """
    not_allowed = judge.autonomy(site.in_force.autonomy)
    found = ((not_allowed,) if not_allowed else ()) + _refusals(site, plan)
    found = _still(found, glass)
    asked = Conditions({})
    if not found:
        asked = starting.conditions(site, plan)
        hand = (*starting.climb(site, plan), *starting.cause(site, plan)) if climbing else ()
        hand += _against(site, plan) if climbing else ()
        above = _still(hand, glass)
        found = (*above, *starting.prerequisites(site, plan))
        found += (asked.refused,) if asked.refused else ()
    return Objections(found, asked)


def guard(site: Site, plan: Plan, *, glass: bool = False) -> Objections:
    """No guardrail says no; with the warnings, and what a person is asked before the first step.

    Raises: Refused; the refusal is in the journal.
    """
    found = objections(site, plan, glass=glass)
    if found.refused:
        reasons: list[Json] = [str(refused) for refused in found.refused]
        answers: dict[str, Json] = {name: str(one) for name, one in found.asked.answers.items()}
        site.tell("run.refused", level=plan.level, reasons=reasons, conditions=answers)
        if site.system.guardrails.escalate is not None:
            from rollback.act.calling import look  # it knows how runs begin, and so knows us

            look(site)
        raise found.refused[0]
    return found


def opens(site: Site, run: Run, plan: Plan) -> datetime | None:
    """When the first step may be taken, since its window closed while the run waited; None: now."""
    _, level = find_level(site, plan.level)
    free = level.emergency or "window" in level.waives or "glass.broken" in run.moments
    if run.steps or free or _no_rollback(site, plan):
        return None
    return judge.opens(site.system, plan.environment, site.host.clock.now())


def shown(site: Site, plan: Plan, *, to: str) -> None:
    """Where a dry run has to come first: that this plan was looked at is in the journal."""
    if site.system.guardrails.dry_run_first and site.state.writable:
        site.tell(
            "plan.shown", level=plan.level, procedure=procedure(site, plan), to=to,
            steps=[[*step.says] for step in plan.steps],
        )  # fmt: skip


def procedure(site: Site, plan: Plan) -> str:
    """The digest of what was declared of a plan's level, with its variant, component and place."""
    here = site.there(plan.environment)
    _, level = find_level(here, plan.level)
    section = "procedures" if isinstance(level, Procedure) else "levels"
    written = {**built_in.written(here.system), **here.system.source.get(section, {})}
    return digest(
        {"level": written.get(plan.level), "variant": plan.variant, "component": plan.component,
         "environment": plan.environment}, domain="procedure",
    )  # fmt: skip


def _against(site: Site, plan: Plan) -> tuple[Refused, ...]:
    if plan.emergency or not site.system.decision.filters:
        return ()
    from rollback.act.objecting import against  # it reads metrics; a flag needs none

    return against(site, plan)


def _still(found: tuple[Refused, ...], glass: bool) -> tuple[Refused, ...]:
    return tuple(one for one in found if not glass or one.guardrail not in LIFTED)


def _refusals(site: Site, plan: Plan) -> tuple[Refused, ...]:
    _, level = find_level(site, plan.level)
    returns = _no_rollback(site, plan)
    began = [
        parse_iso(run.moments["run.planned"][2])
        for run in site.runs().values()
        if (run.steps or run.state not in (State.ABANDONED, State.EXPIRED))
        and not _no_rollback(site, plan_of(run))
    ]
    paths = plan.impact.get("paths")
    seen = Circumstances(
        now=site.host.clock.now(), begun=began, need_bytes=int(str(plan.impact.get("bytes", 0))),
        free_bytes=site.host.free_bytes(str(site.system.root_path)), touched=plan.touched,
        environment=plan.environment, rehearsed=_rehearsed(site, plan), staged=_staged(site, plan),
        lost_share=_lost_share(plan),
        paths=sum(int(str(one)) for one in paths.values()) if isinstance(paths, dict) else 0,
        services=_services(plan),
    )  # fmt: skip
    found = judge.refusals(site.system, level, seen)
    if not returns:
        return found
    # who takes a run back, or starts what stands, is in no loop of them, and goes nowhere new
    return tuple(one for one in found if one.guardrail in ("disk", "protected-paths"))


def _no_rollback(site: Site, plan: Plan) -> bool:
    ours = plan.level in built_in.written(site.system) or plan.level == built_in.GUARD
    return bool(plan.undoes) or ours


def _rehearsed(site: Site, plan: Plan) -> bool:
    """True when this very procedure was looked at since it is what it is."""
    if not site.system.guardrails.dry_run_first:
        return False
    mine = procedure(site, plan)
    return any(
        event.kind == "plan.shown" and event.data.get("procedure") == mine
        for event in site.journal.events()
    )


def _staged(site: Site, plan: Plan) -> bool:
    """True when the plan itself goes to staging first, or a run there was proved not long ago."""
    first = site.system.guardrails.staging_first
    if not first or any(step.environment == first for step in plan.steps):
        return True
    since = site.host.clock.now() - STAGED_WITHIN
    return any(_proved(site, run, plan, first, since) for run in site.runs().values())


def _proved(site: Site, run: Run, plan: Plan, first: str, since: datetime) -> bool:
    if run.state is not State.COMPLETE or parse_iso(run.moments["gate.opened"][2]) < since:
        return False
    theirs = plan_of(run)
    same = (theirs.level, theirs.variant, theirs.component) == (
        plan.level, plan.variant, plan.component,
    )  # fmt: skip
    if not same or theirs.environment != first or theirs.undoes:
        return False
    declared = site.under(run).system.source, site.there(first).system.source
    section = "procedures" if plan.procedure else "levels"
    one, other = (source.get(section, {}).get(plan.level) for source in declared)
    return bool(one == other)


def _lost_share(plan: Plan) -> float | None:
    """Of the table that loses most; None when one that loses rows was only counted."""
    shares = [0.0]
    tables = plan.impact.get("rows")
    for rows in tables.values() if isinstance(tables, dict) else ():
        for one in rows if isinstance(rows, list) else ():
            if not isinstance(one, dict):
                continue
            now, lost = one.get("now"), one.get("lost")
            if now is None:
                continue  # a table that is not there loses nothing
            if not isinstance(now, int) or not isinstance(lost, int):
                return None
            shares.append(lost / now if now else 0.0)
    return max(shares)


def _services(plan: Plan) -> int:
    order = plan.impact.get("order")
    named: set[str] = set()
    for one in order if isinstance(order, list) else ():
        if isinstance(one, dict) and one.get("does") == "stop":
            names = one.get("names")
            named |= set(map(str, names)) if isinstance(names, list) else set()
    return len(named)
