"""Could we go back right now: level by level, found out without doing it.

Each level is planned as it would be, and what the plan would meet is asked: target, guardrails, people,
gate, rehearsals. What fails blocks the level; what nobody knows is said, and is no yes.

Hides: which of it needs a plan.
Never: starts a run, or asks a suite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from rollback.act import asked, authorize, holding, rehearsed
from rollback.act.plan import Plan, find_level, make_plan
from rollback.act.row import Row
from rollback.act.sealed import known_red, sealed_as
from rollback.act.seen import elsewhere, seen
from rollback.act.site import Site
from rollback.act.unfounded import review_is_late, silent_suites
from rollback.host.below import why
from rollback.host.clock import iso
from rollback.host.net import on_this_machine
from rollback.judge import authority as judge
from rollback.keep import trust
from rollback.model.errors import NotAuthorized, PlanError, RollbackError
from rollback.model.finding import Answer, Json, failed, passed, unknown
from rollback.model.level import Level
from rollback.model.people import Member
from rollback.model.quantity import counted, listed, sized


@dataclass(frozen=True, slots=True)
class Readiness:
    """Where a level stands. `component` is the one that would go back alone, if it needs one."""

    level: str
    rank: int
    rows: tuple[Row, ...]
    component: str = ""

    @property
    def ready(self) -> bool:
        """True when everything that is needed is known to be there."""
        return all(row.finding.answer is Answer.PASS for row in self.rows if row.needed)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Why it is known that it could not be gone back now."""
        return tuple(f"{row.what}: {row.finding.evidence}" for row in self.rows
                     if row.needed and row.finding.answer is Answer.FAIL)  # fmt: skip

    @property
    def red(self) -> tuple[str, ...]:
        """What of that is no matter of asking people."""
        return tuple(f"{row.what}: {row.finding.evidence}" for row in self.rows
                     if row.needed and not row.passes
                     and row.finding.answer is Answer.FAIL)  # fmt: skip

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {"level": self.level, "rank": self.rank, "component": self.component,
                "ready": self.ready, "rows": [row.as_json() for row in self.rows]}  # fmt: skip


def every_level(site: Site, *, requester: str) -> tuple[Readiness, ...]:
    """Each level, from the mildest; one that needs a component, for each that could go back alone."""
    found: list[Readiness] = []
    for key, _ in sorted(site.system.levels.items(), key=lambda item: item[1].rank):
        found += named(site, key, requester=requester)
    return tuple(found)


def named(site: Site, name: str, *, requester: str) -> tuple[Readiness, ...]:
    """One level, by id or rank, as `every_level` has it. Raises: PlanError when there is none."""
    key, level = find_level(site, name)
    if not isinstance(level, Level):
        raise PlanError(f"{key} is no level but a procedure", hint=f"rollback plan {key}")
    return tuple(_of(site, key, level, one, requester) for one in _alone(site, level))


def _alone(site: Site, level: Level) -> list[str]:
    if level.component != "required":
        return [""]
    return [name for name, one in site.system.components.items() if one.content != "append-only"]


def review(site: Site) -> Row:
    """Whether the declaration has been looked at in time."""
    identity = site.system.system
    said = f"declaration {identity.version}, next review {identity.next_review}"
    late = review_is_late(site.system, site.host.clock.now())
    return Row("declaration", failed(f"{said}: overdue") if late else passed(said), needed=False)


def _of(site: Site, key: str, level: Level, component: str, requester: str) -> Readiness:
    try:
        plan = make_plan(site, key, run=authorize.next_run_id(site), requester=requester,
                         component=component)  # fmt: skip
    except (RollbackError, OSError) as error:
        hint = getattr(error, "hint", "")
        return Readiness(key, level.rank, (Row("plan", failed(why(error)), hint),), component)
    rows = (
        *_trust(site), *_target(site, plan), _room(site, plan), *_guardrails(site, plan), _people(site, plan),
        *_gate(site, level, plan), *_drills(site, key), _network(site, plan),
    )  # fmt: skip
    return Readiness(key, level.rank, rows, component)


def _trust(site: Site) -> Iterator[Row]:
    """Nothing where people and policy are the trusted ones; a run would be refused where they are not."""
    try:
        trust.require(site.system, site.state.tree)
    except NotAuthorized as error:
        yield Row("trust", failed(error.message), error.hint)


def _target(site: Site, plan: Plan) -> Iterator[Row]:
    steps = "nothing would change" if plan.idle else counted(len(plan.steps), "step")
    yield Row("plan", passed(steps))
    target = plan.target
    if not target.source:
        return
    named = f"{target.source} {target.label or target.id[:12]} of {target.at[:16]}"
    others = counted(len(plan.fallbacks), "other") + " in its place"
    if target.source != "checkpoint":
        yield Row("target", passed(f"{named}; {others}"))
        return
    found = site.checkpoints.get(target.id)
    _, level = find_level(site, plan.level)
    colour = sealed_as(site, found, known_red(site, level))
    if colour == "green":
        yield Row("target", passed(f"{named}, sealed green; {others}"))
    else:
        yield Row("target", unknown(f"{named} is {colour}: no suite has proved it"),
                  "rollback checkpoint create NAME --seal")  # fmt: skip


def _room(site: Site, plan: Plan) -> Row:
    free = site.host.free_bytes(str(site.system.root_path))
    need = int(str(plan.impact.get("bytes", 0)))
    return Row("room", passed(f"{sized(need)} to write, {sized(free)} free"), needed=False)


def _guardrails(site: Site, plan: Plan) -> Iterator[Row]:
    found = holding.objections(site, plan, climbing=False)
    for refused in found.refused:
        yield Row(
            refused.guardrail,
            failed(refused.message.removeprefix(f"{refused.guardrail}: ")),
            refused.hint,
        )
    if not found.refused:
        yield Row("guardrails", passed("none refuses now"))


def _people(site: Site, plan: Plan) -> Row:
    """Whether everybody who holds a role would be enough, at this hour."""
    wanted = asked.declared(site, plan)
    people = site.in_force.people
    roles = " and ".join(wanted.roles) if wanted.quorum == "all" else " or ".join(wanted.roles)
    if wanted.alone and any(set(one.roles) & set(wanted.roles) for one in people.members):
        return Row("people", passed(f"{roles} may start it alone"))
    never, declare = judge.never_enough(wanted, people, requester=plan.requester)
    if never:
        return Row("people", failed(never), declare, passes=True)
    late = _lacks(site, plan, judge.present(people, site.host.clock.now()))
    if late:
        return Row("people", failed(f"not enough of them within their hours: {late}"),
                   "wait for their hours, or ask them all the same: rollback run LEVEL",
                   passes=True)  # fmt: skip
    can = [one.id for one in people.members if set(one.roles) & set(wanted.roles)]
    return Row("people", passed(f"{roles}: {', '.join(can)}"))


def _lacks(site: Site, plan: Plan, members: Iterable[Member]) -> str:
    """What would be missing if all of these said yes; "" when they are enough."""
    wanted, now = asked.declared(site, plan), iso(site.host.clock.now())
    yes = [judge.would_say(one, at=now) for one in members]
    return judge.standing(
        wanted, site.in_force.people, yes, requester=plan.requester, reachable=wanted.roles
    ).missing


def _gate(site: Site, level: Level, plan: Plan) -> Iterator[Row]:
    from rollback.prove.expect import expectations

    wanted = expectations(site.system, level, today=site.host.clock.now())
    lacking = [f"{one.id} ({one.missing})" for one in wanted.checks.values() if one.missing]
    empty = silent_suites(site.system, level)
    if lacking or empty:
        said = [*lacking, *(f"suite {suite} has no check" for suite in empty)]
        yield Row("gate", failed(f"it could not open: {listed(said, between=', ')}"),
                  "declare them under verification:")  # fmt: skip
        return
    found = seen(site, plan.level, level)
    asked_for = f"{counted(len(wanted.checks), 'check')} in {', '.join(wanted.suites)}"
    # A system that runs as it should cannot be seen as such a level leaves it.
    hint = "rollback verify" if elsewhere(level) else f"rollback verify --level {plan.level}"
    after = f"; only once {plan.level} is in force: {listed(found.after, between=', ')}"
    after = after if found.after else ""
    if not found.never and (found.at or found.after):
        rest = "the rest" if found.after else "all of it"
        past = f"; {rest} seen to pass, last at {found.at[:16]}" if found.at else ""
        yield Row("gate", passed(f"{asked_for}{after}{past}"))
    elif len(found.never) + len(found.after) == found.count:
        yield Row("gate", unknown(f"{asked_for}; they have never been seen to pass{after}"), hint)
    else:
        new = listed(found.never, between=", ")
        yield Row(
            "gate", unknown(f"{asked_for}; never seen to pass as declared now: {new}{after}"), hint
        )


def _drills(site: Site, level: str) -> Iterator[Row]:
    for one in rehearsed.standings(site):
        if one.drill.level == level:
            finding = failed(one.said) if one.why else passed(one.said)
            yield Row(f"drill {one.drill.id}", finding, needed=False,
                      hint=f"rollback event drill id={one.drill.id} passed=true"
                      if one.why else "")  # fmt: skip


def _network(site: Site, plan: Plan) -> Row:
    """What beyond this machine going back and proving it would need."""
    beyond = [f"push to {site.system.repository.remote}" for step in plan.every_step()
              if step.kind == "git" and step.parameters.get("push") and site.system.repository]  # fmt: skip
    for _, check in site.system.checks():
        host = urlsplit(str(getattr(check, "url", "") or "")).hostname or ""
        if host and not on_this_machine(host):
            beyond.append(f"check {getattr(check, 'id', '')} asks {host}")
    said = ", ".join(dict.fromkeys(beyond))
    return Row("network", passed("needs nothing beyond this machine") if not said
               else unknown(f"needs {said}"), needed=False)  # fmt: skip
