"""What is called for that takes a while and is no run: a task, a repair by a person, looking on.

Each is begun once for an unbroken row of decisions that call for it, and what it came to stands in the
journal. How a repair ended is a fact that a person tells, by the name of the task; silence until its
time is over is no success.

Hides: which event of the row says how far it is.
Never: begins a run: it says what is called for next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rollback.act.site import Site
from rollback.act.tasks import open_task
from rollback.act.told import facts_of
from rollback.host.clock import moment_of
from rollback.judge import timing
from rollback.judge.match import Match, called_for
from rollback.judge.trend import Trend, trend
from rollback.keep.ticks import Ticks
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.policy import Attempt, Respond, Watch
from rollback.model.quantity import spoken

BEGUN, ENDED = "response.begun", "response.ended"
WORDS = ("task", "attempt", "watch")
_QUIET = ("hold", "observe")
_YES, _NO = ("yes", "true", "done"), ("no", "false", "failed")


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing is to be done now, and why; `person`: but somebody has to look."""

    because: str
    person: bool = False


def respond(site: Site, best: Match, ticks: Ticks) -> Match | Held:
    """What is called for next by a decision that calls for one of these, or why nothing is."""
    if "open-tasks" not in site.system.autonomy.row.may and best.word != "watch":
        return Held(f"{best.trigger} calls for a person: {best.said}", person=True)
    row = _row(site, best)
    mine = [event for event in site.journal.events() if event.data.get("row") == row
            and event.kind in (BEGUN, ENDED)]  # fmt: skip
    declared = best.respond
    if declared is not None and declared.watch is not None:
        return _watch(site, best, declared.watch, row, mine, ticks)
    if declared is not None and declared.attempt is not None:
        return _attempt(site, best, declared.attempt, row, mine)
    if not mine:
        _begin(site, best, row, "task", 0.0)
        open_task(site, best.what, because=f"{best.trigger}: {best.because}")
    return Held(f"the task {best.what} is open")


def _row(site: Site, best: Match) -> str:
    """The unbroken row of decisions that call for this."""
    rows = timing.called_for(site.journal.events())
    same = (one for one in rows if (one.trigger, one.word) == (best.trigger, best.word))
    found = next(same, None)
    return found.key if found else f"{best.trigger}@0"


# -- looking on ----------------------------------------------------------------------------


def _watch(
    site: Site, best: Match, watch: Watch, row: str, mine: list[Event], ticks: Ticks
) -> Match | Held:
    last = mine[-1] if mine else None
    if last is not None and last.kind == ENDED:
        again = _after(site, best, last)
        if again is not None:
            return again
        last = None
    if last is None:
        _begin(site, best, row, "watch", watch.for_)
        return Held(f"{watch.metric} is looked at for {spoken(watch.for_)}")
    if _age_s(site, last) < watch.for_:
        return Held(
            f"{watch.metric} is looked at for {spoken(watch.for_ - _age_s(site, last))} more"
        )
    went = _went(site, watch, last, ticks)
    before = any(event.data.get("how") == "flat" for event in mine)
    follows = {"improving": watch.improving, "worsening": watch.worsening,
               "flat": watch.flat if before else None}.get(went or "")  # fmt: skip
    said = f"{watch.metric} was {went or 'not seen well enough'} in {spoken(watch.for_)}"
    once_more = went == "flat" and not before
    return _end(site, best, row, went or "unknown", said, follows, again=once_more)


def _went(site: Site, watch: Watch, begun: Event, ticks: Ticks) -> Trend | None:
    """Where the metric went since; None when nobody can tell, or nobody looked half of the time."""
    since = moment_of(site.host.clock, begun.at, begun.boot, begun.boot_s)
    metric = site.system.metrics[watch.metric]
    read = [one.value for one in ticks.samples(watch.metric, metric.unit) if one.at >= since]
    looks = watch.for_ / max(site.system.monitor.interval, watch.every or 0.0)
    if metric.direction == "neither" or 2 * len(read) < looks:
        return None
    return trend(read, lower_is_better=metric.direction == "lower-is-better")


def _after(site: Site, best: Match, last: Event) -> Match | Held | None:
    """What an ended look still says; None: it is time to look again."""
    if last.data.get("again"):
        return None
    calls_for, said = str(last.data["calls_for"]), str(last.data["because"])
    if calls_for == "observe":
        left_s = float(str(last.data["observe_s"])) - _age_s(site, last)
        return Held(f"{said}; looked at again in {spoken(left_s)}") if left_s > 0 else None
    return _goes_on(best, last)


# -- a repair by a person --------------------------------------------------------------------


def _attempt(
    site: Site, best: Match, attempt: Attempt, row: str, mine: list[Event]
) -> Match | Held:
    if not mine:
        _begin(site, best, row, "attempt", attempt.within)
        open_task(site, attempt.task, because=f"{best.trigger}: {best.because}")
        hint = f"rollback decide --fact {attempt.task}=yes, or no"
        return Held(f"{attempt.task} has {spoken(attempt.within)}; how it ended: {hint}")
    if mine[-1].kind == ENDED:
        return _goes_on(best, mine[-1])
    told = _told_since(site, attempt.task, mine[0])
    if told in _YES:
        return _end(
            site, best, row, "success", f"{attempt.task} is told to be {told}", attempt.success
        )
    if told in _NO:
        return _end(
            site, best, row, "failure", f"{attempt.task} is told to be {told}", attempt.failure
        )
    left_s = attempt.within - _age_s(site, mine[0])
    if left_s > 0:
        return Held(f"{attempt.task} has {spoken(left_s)} more")
    said = f"nobody told that {attempt.task} is done within {spoken(attempt.within)}"
    return _end(site, best, row, "failure", said, attempt.failure)


def _told_since(site: Site, fact: str, begun: Event) -> str:
    """What was said about it since it was begun; "" when nothing was."""
    events = site.journal.events()
    since = events[next(n for n, event in enumerate(events) if event.hash == begun.hash) :]
    clock = site.host.clock
    facts = facts_of(since, clock.now(), lambda e: moment_of(clock, e.at, e.boot, e.boot_s))
    return facts.get(fact, "").strip().lower()


# -- in the journal --------------------------------------------------------------------------


def _begin(site: Site, best: Match, row: str, what: str, for_s: float) -> None:
    site.tell(
        BEGUN, run="", row=row, trigger=best.trigger, response=what, what=best.what, for_s=for_s
    )


def _end(
    site: Site, best: Match, row: str, how: str, said: str, follows: Respond | None, *, again: bool = False
) -> Match | Held:  # fmt: skip
    """How it ended is in the journal; what that calls for."""
    word, what = called_for(follows) if follows is not None else ("", "")
    body: dict[str, Json] = {
        "row": row, "trigger": best.trigger, "how": how, "because": said, "calls_for": word, "what": what,
        "observe_s": (follows.observe if follows else None) or 0.0, "again": again,
    }  # fmt: skip
    event = site.tell(ENDED, run="", **body)
    if again:
        return Held(f"{said}: it is looked at once more")
    return _goes_on(best, event, follows)


def _goes_on(best: Match, ended: Event, follows: Respond | None = None) -> Match | Held:
    """What an end calls for: a run goes on under the same rule; the rest is for people."""
    word, what = str(ended.data["calls_for"]), str(ended.data["what"])
    said = str(ended.data["because"])
    if word == "roll-back":
        return replace(
            best, word="roll-back", what=what, because=f"{best.because}; {said}", respond=follows
        )
    if word == "procedure":
        return replace(
            best, word="procedure", what=what, because=f"{best.because}; {said}", respond=follows
        )
    if word in _QUIET:
        return Held(f"{said}: {what or word}")
    calls = f"{word} {what}".strip() or "somebody to look"
    return Held(f"{best.trigger} calls for a person: {said}: {calls}", person=True)


def _age_s(site: Site, event: Event) -> float:
    clock = site.host.clock
    return (clock.now() - moment_of(clock, event.at, event.boot, event.boot_s)).total_seconds()
