"""Incidents: which one a run belongs to, and how it is after its run: stable, or bad again.

After a run it is watched for the declared time; all of that is events of the incident: MONITORING
begins with `incident.monitoring` and ends with `incident.stable` or `incident.unstable`. While nobody
can tell whether the limits hold, or nobody looked, the time does not count. What is looked at more
closely meanwhile is state of the incident too, and never an edit of the declaration.

Hides: from which moment the stable time counts.
Never: calls an UNKNOWN stable.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from rollback.act import built_in
from rollback.act.plan import Plan, plan_of
from rollback.act.site import Site
from rollback.host.clock import moment_of
from rollback.judge.closer import Closer
from rollback.judge.condition import Known, evaluate
from rollback.model.event import Event
from rollback.model.finding import Answer, Json
from rollback.model.lifecycle import Run, State
from rollback.model.quantity import spoken

if TYPE_CHECKING:  # heavy, and a flag needs none
    from rollback.model.operations import Tightening

Word = Literal["MONITORING", "STABLE", "UNSTABLE", ""]
_KINDS = ("incident.monitoring", "incident.blind", "incident.seen", "incident.stable",
          "incident.unstable")  # fmt: skip
_ENDS = {"incident.stable": "stable", "incident.unstable": "unstable"}
TOLD_S = 3600.0  # an end that is older is no news: the message may have been declared since
BELONGS_S = 24 * 3600.0  # after its time a new run is another incident


@dataclass(frozen=True, slots=True)
class After:
    """Where the newest incident stands after its run. `left_s` until it is stable, as things are."""

    word: Word
    incident: str = ""
    run: str = ""
    left_s: float = 0.0
    because: str = ""


def needing(site: Site) -> tuple[Run, ...]:
    """The runs that wait for a person, oldest first, but for those that a later one proved over.

    That is one of the same incident; of a run that is about none, any.
    """
    runs = list(site.runs().values())
    return tuple(
        run
        for number, run in enumerate(runs)
        if run.state is State.NEEDS_OPERATOR
        and not any(
            one.state is State.COMPLETE and run.incident in (one.incident, "")
            for one in runs[number + 1 :]
        )
    )


def open_one(site: Site) -> str:
    """The newest incident of which a run waits for a person; "" where there is none.

    Climbing is a new run of the same incident, also past one that was given up or taken back.
    """
    return next((run.incident for run in reversed(needing(site)) if run.incident), "")


def of_new_run(site: Site, plan: Plan) -> str:
    """The one that a run of this plan belongs to: open, or watched and not stable yet; else a new one.

    Who takes a run back does so in its incident. A start or stop by hand begins none: nothing went wrong.
    """
    undone = site.runs().get(plan.undoes)
    if undone is not None and undone.incident:
        return undone.incident
    found = open_one(site) or unstable(site)
    none = undone is not None or built_in.by_hand(site.system, plan.level)
    return found or ("" if none else _new(site))


def _new(site: Site) -> str:
    day = f"{site.host.clock.now():%Y%m%d}"
    numbers = {run.incident for run in site.runs().values()
               if run.incident.startswith(f"INC-{day}-")}  # fmt: skip
    return f"INC-{day}-{len(numbers) + 1:03d}"


def after(site: Site) -> After:
    """Where the newest watched incident stands now."""
    mine = _mine(site)
    if not mine:
        return After("")
    last, begun = mine[-1], mine[0]
    incident, run = str(begun.data["incident"]), str(begun.data["of"])
    if last.kind == "incident.stable":
        return After("STABLE", incident, run)
    if last.kind == "incident.unstable":
        return After("UNSTABLE", incident, run, because=str(last.data["because"]))
    watch_s = _number(begun, "watch_s")
    if last.kind == "incident.blind":
        return After("MONITORING", incident, run, watch_s, str(last.data["because"]))
    return After("MONITORING", incident, run, max(0.0, watch_s - _age_s(site, last)))


def watch(site: Site, known: Known, *, looked_s: float | None, worse: bool) -> After:
    """What this look means for the incident; what changes by it is in the journal.

    `looked_s` is how long ago somebody looked before; None: nobody did. `worse` says that the limits
    were broken often enough to believe it.
    """
    _begin(site)
    now = after(site)
    stability = site.system.monitor.stability
    if now.word != "MONITORING" or stability is None:
        _tell_people(site)  # whoever noted it may have died before
        return now
    # a limit that has not lasted yet is not broken, and is not seen to hold
    answers = [evaluate(one, known, strict=True) for one in stability.limits]
    broken = [because for answer, because in answers if answer is Answer.FAIL]
    untold = [because for answer, because in answers if answer is Answer.UNKNOWN]
    mine = _mine(site)
    if broken and worse:
        _tell(site, mine[0], "incident.unstable", because="; ".join(broken), worse=stability.worse)
    elif untold and mine[-1].kind != "incident.blind":
        _tell(site, mine[0], "incident.blind", because="; ".join(untold))
    elif not untold and not broken:
        unseen = mine[-1].kind == "incident.blind" or _gap(site, mine[-1], looked_s)
        if unseen:
            _tell(site, mine[0], "incident.seen")
        elif now.left_s <= 0:
            held: list[Json] = [because for _, because in answers]
            _tell(site, mine[0], "incident.stable", watched_s=stability.watch, held=held)
    _tell_people(site)
    return after(site)


def breaks(site: Site, known: Known) -> bool:
    """True when a limit of stability is known not to hold now, while the incident is watched."""
    stability = site.system.monitor.stability
    if stability is None or after(site).word != "MONITORING":
        return False
    answers = (evaluate(one, known, strict=True)[0] for one in stability.limits)
    return Answer.FAIL in answers


def closer(site: Site) -> Closer:
    """By which factors is looked more closely now."""
    for event in reversed(site.journal.events()):
        if event.kind not in ("incident.monitoring", "tightening.begun"):
            continue
        left_s = _number(event, "closer_s") - _age_s(site, event)
        if left_s > 0:
            of = event.run or str(event.data["of"])
            return Closer(
                _number(event, "interval"), _number(event, "checkpoints"),
                _number(event, "thresholds"), f"after run {of}, for {spoken(left_s)} more",
            )  # fmt: skip
    return Closer()


def factors(declared: Tightening | None, watch_s: float) -> dict[str, Json]:
    """What an event says that begins a time of looking more closely."""
    if declared is None:
        return {"interval": 1.0, "checkpoints": 1.0, "thresholds": 1.0, "closer_s": 0.0}
    lasts_s = declared.lasts if declared.lasts is not None else watch_s
    return {"interval": declared.interval, "checkpoints": declared.checkpoints,
            "thresholds": declared.thresholds, "closer_s": lasts_s}  # fmt: skip


# -- inside --------------------------------------------------------------------------------


def _begin(site: Site) -> None:
    """A run that ended well since the declared time, and is not watched yet, is from now on."""
    monitor = site.system.monitor
    if monitor.stability is None and monitor.tightening is None:
        return
    ended = [run for run in site.runs().values() if _counts(site, run)]
    if not ended or any(e.kind == "incident.monitoring" and e.data["of"] == ended[-1].id
                        for e in site.journal.events()):  # fmt: skip
        return
    run, watch_s = ended[-1], monitor.stability.watch if monitor.stability else 0.0
    begun: dict[str, Json] = {
        "of": run.id, "incident": run.incident, "level": str(run.plan["level"]), "watch_s": watch_s,
    }  # fmt: skip
    site.tell("incident.monitoring", run="", **{**begun, **factors(monitor.tightening, watch_s)})


def _counts(site: Site, run: Run) -> bool:
    """True for a rollback that ended well within the time for which it would be watched."""
    plan = plan_of(run)
    done = run.state is State.COMPLETE or (run.state is State.MITIGATED and not run.gated)
    if not done or plan.undoes or not run.steps or plan.level in built_in.written(site.system):
        return False
    monitor = site.system.monitor
    lasts_s = max(monitor.stability.watch if monitor.stability else 0.0,
                  (monitor.tightening.lasts or 0.0) if monitor.tightening else 0.0)  # fmt: skip
    kind = "gate.opened" if run.state is State.COMPLETE else "run.mitigated"
    boot, boot_s, at = run.moments[kind]
    clock = site.host.clock
    return clock.now() - moment_of(clock, at, boot, boot_s) <= timedelta(seconds=lasts_s)


def _mine(site: Site) -> list[Event]:
    """The events of the newest watched incident since its run."""
    found: list[Event] = []
    for event in site.journal.events():
        if event.kind == "incident.monitoring":
            found = [event]
        elif event.kind in _KINDS:
            found.append(event)
    return found


def _gap(site: Site, last: Event, looked_s: float | None) -> bool:
    """Nobody looked for longer than a few ticks."""
    from rollback.act.deciding import GAP_INTERVALS

    gap_s = GAP_INTERVALS * site.system.monitor.interval
    unseen_s = _age_s(site, last) if looked_s is None else min(looked_s, _age_s(site, last))
    return unseen_s > gap_s


def _tell(site: Site, begun: Event, kind: str, **data: Json) -> None:
    site.tell(kind, run="", **{"incident": begun.data["incident"], "of": begun.data["of"], **data})


def _tell_people(site: Site) -> None:
    """The messages for how the watch ended are on their way, each once; nobody is told of an old one."""
    last = next(iter(_mine(site)[-1:]), None)
    if last is None or last.kind not in _ENDS or _age_s(site, last) > TOLD_S:
        return
    if last.kind == "incident.stable":
        held = last.data["held"]
        assert isinstance(held, list)
        said = f"for {spoken(_number(last, 'watched_s'))}: {'; '.join(map(str, held))}"
    else:
        said = "; ".join(str(one) for one in (last.data["because"], last.data.get("worse")) if one)
    from rollback.act.telling import tell_people  # messages: a flag needs none

    word = _ENDS[last.kind]
    tell_people(site, word, word, run=site.runs().get(str(last.data["of"])), reason=said)


def _number(event: Event, name: str) -> float:
    return float(str(event.data[name]))


def _age_s(site: Site, event: Event) -> float:
    clock = site.host.clock
    return (clock.now() - moment_of(clock, event.at, event.boot, event.boot_s)).total_seconds()


def unstable(site: Site) -> str:
    """The incident that is watched, or was found unstable, so that a new run belongs to it; or ""."""
    mine = _mine(site)
    if not mine or mine[-1].kind == "incident.stable":
        return ""
    young = _age_s(site, mine[0]) < _number(mine[0], "watch_s") + BELONGS_S
    return str(mine[0].data["incident"]) if young else ""
