"""What had to happen by a declared time and did not: each once in the journal, and told to people.

Declared are: how long what is called for may wait (`urgency`), how long a person may take to choose
(`answer_within`), from detection to the first step (`budgets.start`), until the steps are done, until
it is proved and until everybody works again (`budgets.mitigated`, `complete`, `recovery`), the time of
each item that gates the closing of an incident (`due`), and when a decision (`review_after`) or a filled
record (`review_every`) is looked at again.

Hides: since when each of them counts.
Never: does what nobody did: a run stays, and no option is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rollback.act import checklist
from rollback.act.plan import plan_of
from rollback.act.records import SEPARATOR
from rollback.act.site import Site
from rollback.act.telling import tell_people
from rollback.host.clock import moment_of
from rollback.judge import timing
from rollback.judge.timing import Called
from rollback.model.errors import PlanError
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.level import Budgets
from rollback.model.lifecycle import ENDED, Run, State
from rollback.model.policy import DecisionPoint
from rollback.model.quantity import spoken
from rollback.model.registry import read_item

KIND = "deadline.overdue"
Of = Literal["urgency", "start", "choice", "mitigated", "complete", "recovery", "item", "review"]
_NOT_ANSWERED = (State.PLANNED, State.WAITING, State.EXPIRED)


@dataclass(frozen=True, slots=True)
class Overdue:
    """What should have happened `within_s` of `since`. `id` tells it from every other one."""

    of: Of
    id: str
    what: str
    since: str
    within_s: float
    about: str = ""
    level: str = ""
    trigger: str = ""

    @property
    def said(self) -> str:
        """In words."""
        return f"{self.what} within {spoken(self.within_s)} of {self.since[:16]}Z, and that is over"

    def as_json(self) -> dict[str, Json]:
        """For the journal and `--json`."""
        return {"of": self.of, "id": self.id, "what": self.what, "since": self.since,
                "within_s": self.within_s, "about": self.about, "level": self.level,
                "trigger": self.trigger}  # fmt: skip


def overdue(site: Site) -> tuple[Overdue, ...]:
    """Everything that should have happened by now and still has not."""
    seen = _seen(site)
    found = (*_recommended(seen), *_begun(seen), *_chosen(seen), *_ran(seen), *_recovered(seen),
             *_items(seen), *_reviewed(seen))  # fmt: skip
    return tuple({one.id: one for one in found}.values())


def tell(site: Site) -> tuple[Overdue, ...]:
    """What is overdue is in the journal, and people are told, once for each; those told now."""
    late = overdue(site)
    if not late:
        return ()
    told = {str(e.data["id"]) for e in site.journal.events() if e.kind == KIND}
    new = tuple(one for one in late if one.id not in told)
    for one in new:
        event = site.tell(KIND, run="", **one.as_json())
        tell_people(
            site, "overdue", f"overdue-{event.seq}", reason=one.said, trigger=one.trigger or one.what,
            run=site.runs().get(one.about), urgency=spoken(one.within_s), level=one.level, which=one.of,
        )  # fmt: skip
    return new


# -- each of them --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """The journal, read once: its events, the runs in it, when each was planned, what comes when."""

    site: Site
    events: list[Event]
    runs: tuple[Run, ...]
    planned: dict[str, Event]
    order: dict[str, int]  # by hash: what lay aside has numbers of its own

    def called_for(self) -> tuple[Called, ...]:
        """What the newest decision calls for; nothing, where a gate has opened here since then.

        The system was proved well: what was called for before cannot be acted on, until it is again.
        """
        here = {run.id for run in self.runs
                if run.plan.get("environment") == self.site.system.environment_name}  # fmt: skip
        newest = next((e for e in reversed(self.events) if e.kind == timing.DECISION
                       or (e.kind == "gate.opened" and e.run in here)), None)  # fmt: skip
        proved = newest is not None and newest.kind != timing.DECISION
        return () if proved else timing.called_for(self.events)

    def age_s(self, event: Event) -> float:
        """How long ago it was, by the clock that nobody sets."""
        clock = self.site.host.clock
        at = moment_of(clock, event.at, event.boot, event.boot_s)
        return (clock.now() - at).total_seconds()

    def since(self, event: Event, level: str = "") -> tuple[Run, ...]:
        """The runs that were planned since; at this level or a higher one, where one is named."""
        wanted = self.site.system.levels.get(level)
        later = (
            run for run in self.runs
            if self.order[self.planned[run.id].hash] > self.order[event.hash]
        )  # fmt: skip
        return tuple(
            run for run in later
            if not level or run.plan.get("level") == level
            or (wanted is not None and plan_of(run).rank >= wanted.rank)
        )  # fmt: skip


def _seen(site: Site) -> _Seen:
    events = site.journal.events()
    planned = {event.run: event for event in events if event.kind == "run.planned"}
    order = {event.hash: at for at, event in enumerate(events)}
    return _Seen(site, events, tuple(site.runs().values()), planned, order)


def _recommended(seen: _Seen) -> Iterator[Overdue]:
    """A rule has held for longer than its urgency, and nobody has answered it."""
    for one in seen.called_for():
        of, within_s = _may_wait(seen.site, one)
        if within_s is not None and seen.age_s(one.since) > within_s and not _answered(seen, one):
            said = f"{one.trigger} wanted somebody to act ({one.word} {one.what})"
            yield Overdue(of, f"act:{one.key}", said, one.since.at, within_s, level=one.level,
                          trigger=one.trigger)  # fmt: skip


def _may_wait(site: Site, one: Called) -> tuple[Of, float | None]:
    """How long an answer may take, and by which declared time."""
    point = site.system.decision.points.get(one.what) if one.word == "decide" else None
    if point is not None and point.answer_within is not None:
        return "choice", point.answer_within
    if one.urgency_s is None:
        return "review", site.system.decision.review_after
    return "urgency", one.urgency_s


def _answered(seen: _Seen, one: Called) -> bool:
    """True when a run about it was let go on, or refused, by whoever had to."""
    about = seen.since(one.since, one.what if one.word in ("roll-back", "procedure") else "")
    return any("run.authorized" in run.moments or run.state not in _NOT_ANSWERED for run in about)


def _begun(seen: _Seen) -> Iterator[Overdue]:
    """A level was called for, and no run at it, or above, has taken a step in time."""
    waiting = {
        (one.since.seq, one.what): one.since
        for one in seen.called_for() if one.word in ("roll-back", "procedure")
    }  # fmt: skip
    for run in seen.runs:
        level = str(run.plan.get("level"))
        over = run.steps or run.state in ENDED
        since = None if over else timing.detected(seen.events, run.id, level)
        if since is not None:
            waiting[since.seq, level] = since
    for (number, level), since in waiting.items():
        budgets = _budgets(seen.site, level)
        if budgets is None or budgets.start is None or seen.age_s(since) <= budgets.start:
            continue
        if not any(run.steps for run in seen.since(since, level)):
            yield Overdue("start", f"start:{number}:{level}", f"{level} should have begun", since.at,
                          budgets.start, level=level)  # fmt: skip


def _items(seen: _Seen) -> Iterator[Overdue]:
    """An item that gates the closing of an incident is open for longer than it may be."""
    for one in checklist.papers(seen.site):
        if one.overdue and one.due_s is not None:
            run = seen.site.run(one.run)
            yield Overdue("item", f"item:{run.id}:{one.id}", f"{one.item}: this should have been done",
                          run.moments["run.mitigated"][2], one.due_s, about=run.id,
                          level=str(run.plan.get("level")))  # fmt: skip


def _reviewed(seen: _Seen) -> Iterator[Overdue]:
    """A filled record was said nothing new about for as long as declared: once for each such time."""
    for name, record in seen.site.system.records.items():
        if record.review_every is None:
            continue
        about = [
            e for e in seen.events
            if (e.kind == "record.filled" and e.data.get("record") == name)
            or (e.kind == "answer.given" and str(e.data.get("item")).startswith(f"{name}{SEPARATOR}"))
        ]  # fmt: skip
        times = int(seen.age_s(about[-1]) // record.review_every) if about else 0
        if times > 0 and any(e.kind == "record.filled" for e in about):
            last = about[-1]
            yield Overdue("review", f"review:{last.hash}:{times}",
                          f"{record.title}: somebody should have looked at it again", last.at,
                          record.review_every * times, about=last.run)  # fmt: skip


def _chosen(seen: _Seen) -> Iterator[Overdue]:
    """A run has put a decision point to people, and nobody has chosen in time."""
    for run in seen.runs:
        if run.state is not State.WAITING or run.waiting_for.get("on") != "answer":
            continue
        index, item = str(run.waiting_for.get("step")), str(run.waiting_for.get("item"))
        step = next((one for one in plan_of(run).every_step() if one.index == index), None)
        if step is None or step.kind != "choose":
            continue
        name = str(getattr(read_item("action", {step.kind: step.parameters}), "point", ""))
        point = _point(seen.site, run, name)
        asked = next((e for e in seen.events if e.run == run.id and e.kind == "run.waiting"
                      and e.data.get("step") == index and e.data.get("item") == item), None)  # fmt: skip
        if point is None or point.answer_within is None or asked is None:
            continue
        if seen.age_s(asked) > point.answer_within:
            said = f"{point.asks} should have chosen in run {run.id}: {point.title}"
            yield Overdue("choice", f"choice:{run.id}:{index}", said, asked.at, point.answer_within,
                          about=run.id, level=str(run.plan.get("level")))  # fmt: skip


def _point(site: Site, run: Run, name: str) -> DecisionPoint | None:
    """As it was declared when the run was planned; None where that was not kept."""
    try:
        return site.under(run).system.decision.points.get(name)
    except PlanError:
        return None


def _ran(seen: _Seen) -> Iterator[Overdue]:
    """A run is open, and takes longer than its level may."""
    for run in seen.runs:
        level = str(run.plan.get("level"))
        budgets = None if run.over else _budgets(seen.site, level)
        if budgets is None:
            continue
        planned = seen.planned[run.id]
        clocks: tuple[tuple[Of, str, float], ...] = (
            ("mitigated", "run.mitigated", budgets.mitigated),
            ("complete", "gate.opened", budgets.complete),
        )
        for of, moment, within_s in clocks:
            if moment not in run.moments and seen.age_s(planned) > within_s:
                said = f"run {run.id} should have been {of}"
                yield Overdue(of, f"{of}:{run.id}", said, planned.at, within_s,
                              about=run.id, level=level)  # fmt: skip


def _recovered(seen: _Seen) -> Iterator[Overdue]:
    """A run has done something, and its incident is not over in time."""
    watched = seen.site.system.monitor.stability is not None
    for run in seen.runs:
        level = str(run.plan.get("level"))
        budgets = _budgets(seen.site, level)
        back = run.state in (State.UNDONE, State.ABANDONED) or run.plan.get("undoes")
        if budgets is None or budgets.recovery is None or back or not run.steps:
            continue
        planned = seen.planned[run.id]
        over = timing.recovered(seen.events, run.id, watched=watched)
        if over is None and seen.age_s(planned) > budgets.recovery:
            said = f"everybody should have worked again after run {run.id}"
            yield Overdue("recovery", f"recovery:{run.id}", said, planned.at, budgets.recovery,
                          about=run.id, level=level)  # fmt: skip


def _budgets(site: Site, level: str) -> Budgets | None:
    found = site.system.levels.get(level) or site.system.procedures.get(level)
    return found.budgets if found else None
