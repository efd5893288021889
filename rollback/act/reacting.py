"""From a decision to a run: planned and driven as if somebody had typed it, or asked for.

One incident and one run at a time: while a run is open, or one waits for a person to look, nothing
is begun. A request of our own that nobody has answered gives way to what is stricter.

Hides: what speaks against beginning, and where the agent's own past is read.
Never: acts on what is UNKNOWN, or for a rule that did not fire; says yes for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rollback.act import asked, authorize, incident, responding
from rollback.act.driving import drive, upwards
from rollback.act.engine import resting
from rollback.act.plan import Plan, find_level, make_plan, plan_of
from rollback.act.site import Site
from rollback.act.stopping import abort
from rollback.host.clock import moment_of
from rollback.judge import loop
from rollback.judge.decision import Decision, Match
from rollback.judge.severity import rules
from rollback.judge.unasked import AGENT, ask_first
from rollback.keep.ticks import Ticks
from rollback.model.errors import NotAuthorized, PlanError, RollbackError, RunLocked, UsageError
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.lifecycle import Run, State
from rollback.model.policy import Branch, Condition, Score, Tier, Trigger
from rollback.model.system import System

AgeOf = Callable[[Event], float]
_ACTS = ("roll-back", "procedure")
_QUIET = ("hold", "observe")
_RESTED = ("gate.opened", "gate.closed", "run.undone", "run.abandoned", "run.expired",
           "run.needs-operator", "run.mitigated")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reaction:
    """What came of a decision: a run that was begun (`runs`, the last one drives it), or why none.

    `person` says that nothing goes on until somebody looks, `tried` that it cost a plan to find out,
    `behind` which request of a person's has to be answered first.
    """

    held: str = ""
    runs: tuple[Run, ...] = ()
    person: bool = False
    tried: bool = False
    behind: str = ""


def go_on(site: Site) -> tuple[Run, ...]:
    """Every open run that may go on has been driven as far as it can; those that moved.

    A run that somebody else drives is left to them, and so is one of a person's that was not left
    waiting: who interrupted it means it, unless it holds something that nobody has confirmed.
    Raises: what came of one of them, after the others.
    """
    moved: list[Run] = []
    failed: RollbackError | None = None
    for run in list(site.runs().values()):
        if run.over:
            continue
        left = run.state is not State.WAITING and plan_of(run).requester != AGENT
        if left and not asked.unconfirmed(run, plan_of(run)):
            continue
        try:
            if not resting(site.under(run), run):
                moved += upwards(site, drive(site, run, wait=False), wait=False)
        except RunLocked:
            continue  # somebody is at it
        except RollbackError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return tuple(moved)


def react(
    site: Site, decision: Decision, *, seq: int, cooldown_s: float, tried_s: float | None = None,
    ticks: Ticks | None = None,
) -> Reaction:  # fmt: skip
    """What the decision calls for has been begun, as far as nobody has to be asked; or why not.

    `seq` is the decision's number in the journal, `tried_s` how long ago a try came to nothing.
    Raises: RunLocked when somebody begins something at the same moment.
    """
    best = decision.best
    if best is None or best.word in _QUIET:
        return Reaction()
    known = best in decision.matches
    if known and best.word in responding.WORDS and decision.respond == best.word:
        follows = responding.respond(site, best, ticks or Ticks(site.state.tree, site.host))
        if isinstance(follows, responding.Held):
            return Reaction(follows.because, person=follows.person)
        best = follows
        if best.level and decision.against:
            return Reaction(f"{best.trigger} calls for a person: {best.said}: {decision.against}",
                            person=True)  # fmt: skip
    elif best.word not in _ACTS or decision.respond not in _ACTS:
        doubted = (
            f", since nobody can tell of {', '.join(decision.doubts)}" if decision.doubts else ""
        )
        return Reaction(f"{best.trigger} calls for a person: {best.said}{doubted}", person=True)
    if not known:
        return Reaction(f"{best.said} is what follows when no rule holds: a person must say so",
                        person=True)  # fmt: skip
    busy = _busy(site, best)
    if busy is not None:
        return busy
    allowed = _turn(site, best, cooldown_s, tried_s)
    if allowed.may == "nothing":
        return Reaction(allowed.why, person=allowed.person)
    if decision.blocked:
        why = "; ".join(decision.blocked)
        return Reaction(f"{best.said} cannot be begun: {why}", person=True)
    try:
        plan = _planned(site, best)
        if plan.idle:
            return Reaction(f"nothing to go back to: {plan.level} is at {plan.target.label} already",
                            person=True, tried=True)  # fmt: skip
        _withdraw(site, best)
        why = allowed.why or best.asks or _ask_first(site, plan, best)
        because: dict[str, Json] = {
            "trigger": best.trigger, "decision": seq, "unasked": not why, "asked_because": why,
        }  # fmt: skip
        run = authorize.create(site, plan, because=because)
    except (PlanError, UsageError, NotAuthorized) as error:
        return Reaction(f"{best.said} cannot be begun: {error}", person=True, tried=True)
    return Reaction(runs=tuple(upwards(site, drive(site, run, wait=False), wait=False)))


def settling(site: Site, best: Match) -> str:
    """Why what the rule rests on may be what the last run has put right already; "" when it cannot be."""
    acted, clock = _last_acted(site, site.journal.events()), site.host.clock
    if acted is None:
        return ""
    at = moment_of(clock, acted.at, acted.boot, acted.boot_s)
    age_s = (clock.now() - at).total_seconds()
    return loop.SETTLING if age_s < _settles_s(site.system, best) else ""


def open_runs(site: Site) -> tuple[Run, ...]:
    """The runs that have not ended and hold others up."""
    return tuple(run for run in site.runs().values() if asked.holds_up(site, run))


# -- inside --------------------------------------------------------------------------------


def _planned(site: Site, best: Match) -> Plan:
    return make_plan(
        site, best.what, run=authorize.next_run_id(site), requester=AGENT,
        component=best.component, environment=site.system.environment_name,
        reason=f"{best.trigger}: {best.because}"[:500],
    )  # fmt: skip


def _ask_first(site: Site, plan: Plan, best: Match) -> str:
    authority = asked.declared(site, plan)
    return ask_first(site.in_force, plan.environment, best.trigger, authority)


def _busy(site: Site, best: Match) -> Reaction | None:
    """Why nothing else may be begun now. What a person asked for and left is for people to end."""
    for run in open_runs(site):
        if _gives_way(site, run, best):
            continue
        plan = plan_of(run)
        if run.state is not State.WAITING or run.steps or plan.requester == AGENT:
            return Reaction(f"run {run.id} is open: it is {run.state}")
        first = "approve" if run.waiting_for.get("on") == "approval" else "resume"
        return Reaction(
            f"run {run.id} is open: {plan.level}, asked for by {plan.requester}, waits for "
            f"{run.waiting_for.get('what')}; rollback {first} {run.id} lets it go on, "
            f"rollback abort {run.id} ends it",
            person=True, behind=run.id,
        )  # fmt: skip
    stopped = incident.needing(site)
    if not stopped:
        return None
    about = f"incident {stopped[-1].incident}" if stopped[-1].incident else f"run {stopped[-1].id}"
    return Reaction(f"{about} waits for a person")


def _gives_way(site: Site, run: Run, best: Match) -> bool:
    """True for a request of ours that nobody has answered, when a higher level is called for."""
    plan = plan_of(run)
    if not asked.for_the_first_yes(run) or plan.requester != AGENT or not best.level:
        return False
    return site.system.levels[best.level].rank > plan.rank


def _withdraw(site: Site, best: Match) -> None:
    for run in open_runs(site):
        abort(site, run, by=AGENT, reason=f"{best.said} is called for now, by {best.trigger}")


def _turn(site: Site, best: Match, cooldown_s: float, tried_s: float | None) -> loop.Turn:
    events, clock = site.journal.events(), site.host.clock

    def age_s(event: Event) -> float:
        at = moment_of(clock, event.at, event.boot, event.boot_s)
        return (clock.now() - at).total_seconds()

    own = next((one.cooldown for one in rules(site.system) if one.id == best.trigger), 0.0)
    acted = _last_acted(site, events)
    return loop.turn(
        best.trigger, _target(site, best.what, best.component), tuple(_past(site, events, age_s)),
        cooldown_s=cooldown_s, own_s=own, settles_s=_settles_s(site.system, best), tried_s=tried_s,
        acted_s=age_s(acted) if acted else None, stale=_stale(site.system, best, events, acted),
    )  # fmt: skip


def _last_acted(site: Site, events: list[Event]) -> Event | None:
    """How the last run ended that took a step, whoever began it; None where there is none."""
    acted = {run.id for run in site.runs().values() if run.steps}
    return next((event for event in reversed(events)
                 if event.kind in _RESTED and event.run in acted), None)  # fmt: skip


def _stale(system: System, best: Match, events: list[Event], acted: Event | None) -> bool:
    """True when the rule rests on events, and none of them happened since that run ended."""
    wanted = {name for one in _conditions(system, best.trigger) for name in one.events}
    if acted is None or not wanted:
        return False
    return not any(event.kind == "event.told" and event.data.get("event") in wanted
                   and str(event.data.get("happened") or event.at) >= acted.at  # a log says it later
                   for event in events[acted.seq :])  # fmt: skip


def _past(site: Site, events: list[Event], age_s: AgeOf) -> Iterator[loop.Past]:
    """The agent's own runs, oldest first."""
    for run in site.runs().values():
        plan = plan_of(run)
        if plan.requester != AGENT or not run.trigger:
            continue
        mine = [event for event in events if event.run == run.id]
        rested = [age_s(event) for event in mine if event.kind in _RESTED]
        yield loop.Past(
            trigger=run.trigger, target=_target(site, plan.level, plan.component),
            age_s=age_s(mine[0]), rested_s=rested[-1] if rested else None, acted=bool(run.steps),
            seen_well=_seen_well(site.system, events, run.trigger, after=mine[0].seq),
        )  # fmt: skip


def _target(site: Site, level: str, component: str) -> str:
    """A level is one target, and each component of it where it works on one."""
    _, found = find_level(site, level)
    alone = getattr(found, "component", None) == "required"
    return f"{level}/{component}" if alone else level


def _seen_well(system: System, events: list[Event], trigger: str, *, after: int) -> bool:
    """True when a decision since then knew the trigger's metrics, and it did not hold."""
    wanted = {name for one in _conditions(system, trigger) for name in one.metrics}
    for event in events[after:]:
        if event.kind == "decision.taken":
            matches, unknown = event.data.get("matches"), event.data.get("unknown")
            fired = {one.get("trigger") for one in matches if isinstance(one, dict)} \
                if isinstance(matches, list) else set()  # fmt: skip
            blind = (
                wanted & {str(name) for name in unknown} if isinstance(unknown, list) else wanted
            )
            untold = (event.data.get(name) for name in ("doubts", "open"))
            told = not any(isinstance(one, list) and trigger in one for one in untold)
            if trigger not in fired and not blind and told:
                return True
    return False


def _settles_s(system: System, best: Match) -> float:
    """How far back the readings look on which the rule rests. Units: seconds."""
    names = {name for one in _conditions(system, best.trigger) for name in one.metrics}
    return max((system.metrics[name].window or 0.0 for name in names if name in system.metrics),
               default=0.0)  # fmt: skip


def _conditions(system: System, rule: str) -> tuple[Condition, ...]:
    """What a rule of any style asks."""
    policy = system.decision
    rows: tuple[Trigger | Branch | Score | Tier, ...] = (
        *rules(system), *policy.tree, *policy.scores, *policy.tiers
    )  # fmt: skip
    return tuple(one.when for one in rows if one.id == rule) + tuple(
        asked_ for one in policy.breakers if one.id == rule for asked_ in (*one.all, *one.unless)
    )  # fmt: skip
