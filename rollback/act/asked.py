"""Who is asked about a run, until when, and what follows when nobody has answered by then.

The next of several is asked only after the silence of those before stands in the journal. Whoever
is outside of the hours of its role is not there to be asked, and its turn passes at once.

Hides: how long a run may wait for people where the declaration does not say; how silence is measured.
Never: takes silence for a yes, or a clock that was set forward for silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from rollback.act import built_in, starting
from rollback.act.ladders import acknowledged
from rollback.act.plan import Plan, find_level, plan_of
from rollback.act.site import Site
from rollback.host.clock import iso, moment_of, parse_iso
from rollback.judge.authority import available, next_up
from rollback.judge.ladder import ends_s
from rollback.model.finding import Json
from rollback.model.lifecycle import Run, State
from rollback.model.people import Authority
from rollback.model.quantity import spoken

CONFIRM = "confirm"  # the kind of step that asks for it
WAITS_FOR_S = 24 * 3600.0  # a plan of yesterday was made for another state (as the climb of a day)


def declared(site: Site, plan: Plan) -> Authority:
    """The authority of the plan's level; a procedure without one answers to the owner's role."""
    _, level = find_level(site, plan.level)
    found = level.authority
    return found or Authority(roles=(site.in_force.people.owner,), alone=True)


def authority(site: Site, run: Run, plan: Plan) -> Authority:
    """Whose yes counts by now: the declared roles, and those above who are asked after them."""
    found = declared(site, plan)
    above = tuple(role for role in reachable(site, run, plan) if role not in found.roles)
    return found.model_copy(update={"roles": (*found.roles, *above)}) if above else found


# -- turns ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """`opens` may answer after `silent` were asked and said nothing for `after_s`.

    `absent`: they were outside of their hours. `alone`: whoever answers does so for everybody.
    """

    silent: tuple[str, ...]
    opens: tuple[str, ...]
    after_s: float
    absent: bool = False
    alone: bool = False


def reachable(site: Site, run: Run, plan: Plan) -> tuple[str, ...]:
    """The roles that may answer since those before them said nothing, whether noted or due."""
    return _opened(site, run, plan, alone=False)


def alone(site: Site, run: Run, plan: Plan) -> tuple[str, ...]:
    """The roles whose holder may say yes to his own run, since the whole ladder is silent."""
    return _opened(site, run, plan, alone=True)


def note_silence(site: Site, run: Run, plan: Plan) -> Run:
    """Every silence that has come stands in the journal, each once."""
    for turn in _due(site, run, plan):
        said = "outside of their hours" if turn.absent else f"silent for {spoken(turn.after_s)}"
        run = site.note(
            run, "approval.silent", silent=[*turn.silent], opens=[*turn.opens], alone=turn.alone,
            because=said,
        )  # fmt: skip
    return run


def silence_due(site: Site, run: Run, plan: Plan) -> bool:
    """True when a silence has come that is not in the journal yet."""
    return any(True for _ in _due(site, run, plan))


def _opened(site: Site, run: Run, plan: Plan, *, alone: bool) -> tuple[str, ...]:
    found: list[str] = []
    for one in _noted(site, run):
        opens = one.get("opens")
        if bool(one.get("alone")) is alone and isinstance(opens, list):
            found += map(str, opens)
    found += [role for turn in _due(site, run, plan) if turn.alone is alone for role in turn.opens]
    return tuple(dict.fromkeys(found))


def _due(site: Site, run: Run, plan: Plan) -> Iterator[Turn]:
    """The turns that have come and are not noted."""
    waited_s = _waited_s(site, run)
    noted = [(one.get("opens"), bool(one.get("alone"))) for one in _noted(site, run)]
    for turn in _turns(site, run, plan):
        if turn.after_s <= waited_s and ([*turn.opens], turn.alone) not in noted:
            yield turn


def _turns(site: Site, run: Run, plan: Plan) -> Iterator[Turn]:
    """Whose turn comes when, as the hours are now; those who are not there take no time."""
    found = declared(site, plan)
    people, at = site.in_force.people, now(site)
    if found.quorum == "ordered" and found.next_after is not None:
        yield from _one_by_one(site, found.roles, found.next_after, at)
    if found.answer_within is not None:
        for number, role in enumerate(_above(site, found), start=1):
            yield Turn(found.roles, (role,), found.answer_within * number)
    ladder = site.system.notify.ladders.get(found.ladder or "")
    if ladder is not None and ladder.self_authorize and not run.approvals:
        roles = tuple(rung.role for rung in ladder.rungs)
        if not acknowledged(site, run.id):  # somebody is there, and may say yes or no
            yield Turn(roles, ladder.self_authorize, ends_s(ladder, people, at), alone=True)


def _one_by_one(site: Site, roles: tuple[str, ...], each_s: float, at: datetime) -> Iterator[Turn]:
    waited_s = 0.0
    for before, role in pairwise(roles):
        absent = not available(site.in_force.people, before, at)
        waited_s += 0.0 if absent else each_s
        yield Turn((before,), (role,), waited_s, absent=absent)


def _noted(site: Site, run: Run) -> list[dict[str, Json]]:
    """The silences that stand in the journal since people were last asked."""
    found: list[dict[str, Json]] = []
    if "approval.silent" not in run.moments:
        return found
    for event in site.journal.events():
        if event.run != run.id:
            continue
        if event.kind == "run.retried":
            found.clear()
        elif event.kind == "approval.silent":
            found.append(event.data)
    return found


def _waited_s(site: Site, run: Run) -> float:
    """How long people had to answer: by the clock that nobody can set, as far as it goes."""
    boot, boot_s, at = _asked(run)
    clock = site.host.clock
    if boot == clock.boot():
        return clock.boot_s() - boot_s
    return (now(site) - parse_iso(at)).total_seconds()


# -- until when ----------------------------------------------------------------------------


def due(site: Site, run: Run) -> datetime | None:
    """Until when people may answer what the run waits for; None when it waits for nobody."""
    plan = plan_of(run)
    stands = run.waiting_in if run.state is State.WAITING else run.state
    if run.state is State.WAITING and run.waiting_for.get("on") == "timer":
        return None
    if stands is State.PLANNED:
        found = declared(site, plan)
        turns = 1 + len(_above(site, found))
        wait_s = found.answer_within * turns if found.answer_within else WAITS_FOR_S
        return parse_iso(_asked(run)[2]) + timedelta(seconds=wait_s)
    if stands is State.AUTHORIZED and not run.steps and starting.waits_for(site, run, plan):
        since = parse_iso(run.moments["run.authorized"][2])
        limits = [item.due for item in starting.open_items(site, run, plan) if item.due is not None]
        return since + timedelta(seconds=min(limits, default=WAITS_FOR_S))
    return None


def for_the_first_yes(run: Run) -> bool:
    """True while the run waits for the first word of anybody, and has done nothing."""
    waits = run.state is State.WAITING and run.waiting_for.get("on") == "approval"
    return waits and not run.steps and not run.approvals


def holds_up(site: Site, run: Run) -> bool:
    """True while the run is open, and nothing else may begin beside it.

    Not a start or stop by hand that nobody said yes to: it changed nothing, and answers no alarm.
    """
    by_hand = built_in.by_hand(site.system, plan_of(run).level)
    return not run.over and not (by_hand and for_the_first_yes(run))


def unconfirmed(run: Run, plan: Plan) -> bool:
    """True while what the run does stays only if somebody confirms it, and nobody has."""
    asked = (step.index for step in plan.steps if step.kind == CONFIRM)
    steps = (run.steps.get(index) for index in asked)
    return not run.over and any(one is None or one.status != "ended" for one in steps)


def answer_by(site: Site, run: Run) -> datetime | None:
    """Until when the step that asks lets people answer, as the wall clock is now; None without a time."""
    within_s = run.waiting_for.get("within_s")
    if run.state is not State.WAITING or not isinstance(within_s, (int, float)):
        return None
    boot, boot_s, at = run.moments["run.waiting:last"]
    return moment_of(site.host.clock, at, boot, boot_s) + timedelta(seconds=within_s)


def too_late(site: Site, run: Run) -> bool:
    """True when the step that asks gave people a time, and it is over: by the clock that nobody sets."""
    until = answer_by(site, run)
    return until is not None and site.host.clock.now() >= until


def overdue(site: Site, run: Run) -> bool:
    """True when the time of those who are asked is over."""
    until = due(site, run)
    return until is not None and now(site) >= until


def unanswered(site: Site, run: Run, what: str) -> Run:
    """What follows when nobody answered in time: the run is EXPIRED, or stops for a person."""
    plan = plan_of(run)
    until = due(site, run)
    assert until is not None
    said = f"nobody answered by {iso(until)[:16]}Z: it waited for {what}"
    if run.state is State.PLANNED and declared(site, plan).unanswered == "person":
        return site.note(run, "run.needs-operator", reason=said)
    return site.note(run, "run.expired", reason=said)


def now(site: Site) -> datetime:
    """The wall clock, but never before what is journalled: set back, it revives no approval."""
    events = site.journal.events()
    told = parse_iso(events[-1].at) if events else None
    present = site.host.clock.now()
    return max(present, told) if told else present


def _asked(run: Run) -> tuple[str, float, str]:
    """When people were first asked; anew when one of them sent the run on."""
    return run.moments.get("run.retried") or run.moments["run.planned"]


def _above(site: Site, found: Authority) -> tuple[str, ...]:
    """The roles that are asked one after another when the declared ones do not answer."""
    if found.unanswered != "next" or not found.answer_within:
        return ()
    return next_up(site.in_force.people, found.roles)
