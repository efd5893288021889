"""The agent: one tick after another, each of them sample, record, decide, act, and what is due.

A part of a tick that fails is journalled, said once, and tried again at the next tick; the others
are done all the same. What the agent knows stands in the journal and in its ticks, so it may be
killed at any instant, and a call from cron is a tick like any other.

Hides: the order of a tick, and how long is waited until the next one.
Never: lets one error end the watching; watches a system that another agent watches.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from rollback.act import breaking, calling, deadlines, eyes, incident, reacting
from rollback.act.deciding import known, red
from rollback.act.overhearing import overhear
from rollback.act.site import Site
from rollback.act.telling import tell_people
from rollback.act.upkeep import upkeep
from rollback.host.below import why
from rollback.host.clock import iso, moment_of
from rollback.judge.condition import Known
from rollback.judge.decision import Decision, decide
from rollback.judge.unasked import AGENT
from rollback.keep.ticks import FOLDER, Ticks
from rollback.model.errors import RollbackError, RunLocked
from rollback.model.finding import Json
from rollback.model.lifecycle import Run
from rollback.observe.metric import read_all
from rollback.watch import due, recording

LOCK = f"{FOLDER}/agent.lock"
WHO = f"{FOLDER}/agent.json"
SHORTEST_S = 0.05
ASKED_S = 0.3
RED_S = 30.0  # for as long what stands against a level is believed
UPKEEP_S = 60.0  # what is due is looked for this often at most


@dataclass(frozen=True, slots=True)
class Looked:
    """What one tick came to. `row` of `threshold` ticks in a row call for something.

    `held` says why nothing was begun although something is called for; `runs` are those that moved.
    """

    at: str
    decision: Decision | None
    seq: int = 0
    new: bool = False
    row: int = 0
    threshold: int = 1
    held: str = ""
    person: bool = False
    runs: tuple[Run, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Json]:
        """For `--json`: one line each."""
        found = self.decision
        return {
            "at": self.at, "respond": found.respond if found else None,
            "level": found.level if found else "", "what": found.what if found else "",
            "trigger": found.trigger if found else "", "decision": self.seq, "new": self.new,
            "row": self.row, "threshold": self.threshold, "held": self.held, "person": self.person,
            "unknown": [*found.unknown] if found else [],
            "runs": [{"run_id": run.id, "state": run.state.value, "known_red": [*run.known_red]}
                     for run in self.runs],
            "failed": dict[str, Json](self.failed),
        }  # fmt: skip


@contextmanager
def alone(site: Site) -> Iterator[None]:
    """No other agent watches this system meanwhile. Raises: RunLocked naming the one that does."""
    tree, host = site.state.tree, site.host
    tree.make_folder(FOLDER)
    try:
        # who only asks whether somebody watches holds it for an instant
        with tree.lock(LOCK, clock=host.clock, within_s=ASKED_S):
            tree.write(
                WHO, f'{{"pid": {os.getpid()}, "since": "{iso(host.clock.now())}"}}\n'.encode()
            )
            yield
    except RunLocked as error:
        if not error.where.endswith(LOCK):
            raise  # it is about something that was done meanwhile
        raise RunLocked(
            f"another agent watches this system already: {_who(site)}", where=error.where,
            hint="it goes on; see what it did last with: rollback history",
        ) from None  # fmt: skip


def watched_by(site: Site) -> str:
    """The process that watches this system now; "" when none does."""
    tree = site.state.tree
    if tree.stat(LOCK) is None:
        return ""
    try:
        with tree.lock(LOCK, clock=site.host.clock, within_s=0.0, shared=True):
            return ""
    except RunLocked:
        return _who(site)


def _who(site: Site) -> str:
    said: list[tuple[str, str]] = []
    with suppress(OSError, RollbackError):
        written = site.state.tree.read(WHO).decode("ascii", errors="replace")
        said = re.findall(r'"pid": (\d+), "since": "([^"]{16})', written)
    return f"process {said[0][0]}, since {said[0][1]}Z" if said else "another process"


class Agent:
    """The agent of an opened system; hold `alone` around it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._ticks = Ticks(site.state.tree, site.host)
        self._upkept_s: float | None = None
        self._tried: tuple[str, float] | None = None
        self._said: dict[str, str] = {}
        self._red: tuple[tuple[str, str], float, tuple[str, ...]] | None = None
        self._broken = 0  # ticks in a row that broke a limit of stability

    def tick(self) -> Looked:
        """One look has been taken, and what follows from it done. Never raises for what it finds."""
        site, failed = self.site, dict[str, str]()
        runs: list[Run] = []
        looked = Looked(iso(site.host.clock.now()), None)

        def open_ones() -> None:
            runs.extend(reacting.go_on(site))

        def look() -> None:
            nonlocal looked
            looked = self._look(looked.at, runs, failed)

        self._part("open runs", open_ones, failed)
        self._part("decision", look, failed)
        self._part("deadlines", lambda: deadlines.tell(site), failed)
        if "open runs" not in failed and not reacting.open_runs(site):
            self._part("upkeep", self._upkeep, failed)
        self._part("drills", lambda: due.drills(site), failed)
        self._part("calls", lambda: calling.look(site), failed)
        return Looked(
            looked.at, looked.decision, looked.seq, looked.new, looked.row, looked.threshold,
            looked.held, looked.person, tuple(runs), failed,
        )  # fmt: skip

    def wait_s(self) -> float:
        """How long until the next tick: closer, as declared, after an incident. Units: seconds."""
        monitor = self.site.system.monitor
        wait_s = monitor.interval
        with suppress(RollbackError, OSError):
            wait_s *= incident.closer(self.site).interval
            watched = incident.after(self.site).word == "MONITORING"
            if watched and monitor.stability and monitor.stability.every:
                wait_s = min(wait_s, monitor.stability.every)
        return max(wait_s, SHORTEST_S)

    def began(self) -> None:
        """That the agent watches is in the journal."""
        monitor = self.site.system.monitor
        self.site.tell("agent.started", pid=os.getpid(), interval_s=monitor.interval,
                       threshold=monitor.threshold, cooldown_s=monitor.cooldown)  # fmt: skip

    def ended(self, because: str) -> None:
        """That it watches no more is in the journal, with what its last entry does not cover."""
        recording.close(self.site, self._ticks, because)
        self.site.anchor()

    # -- inside ----------------------------------------------------------------------------

    def _look(self, at: str, runs: list[Run], failed: dict[str, str]) -> Looked:
        site, monitor = self.site, self.site.system.monitor
        looked = self._looked_s()
        deaf = overhear(site)
        knows = known(site, read_all(eyes.of(site)), {}, self._ticks, deaf=deaf)
        decision = self._barred(decide(site.system, knows))
        self._part("breakers", lambda: breaking.note(site, knows), failed)
        self._part("stability", lambda: self._watch(knows, looked), failed)
        recorded = recording.record(site, self._ticks, decision)
        self._part("readings", lambda: recording.keep(site, self._ticks, decision), failed)
        held, person, behind = "", False, ""
        if recorded.row and recorded.row < monitor.threshold:
            held = f"{recorded.row} of {monitor.threshold} in a row"
        elif recorded.row:
            reaction = self._react(decision, recorded.seq)
            held, person, behind = reaction.held, reaction.person, reaction.behind
            runs.extend(reaction.runs)
        elif recorded.doubts >= monitor.threshold:
            held, person = _untold(decision), True
        self._hold(decision, held if person else "", behind)
        return Looked(
            at, decision, recorded.seq, recorded.new, recorded.row, monitor.threshold, held, person
        )

    def _barred(self, decision: Decision) -> Decision:
        """With what stands against the level; it costs a plan, so it is not found out at every tick."""
        best = decision.best
        if not decision.level or best is None or reacting.open_runs(self.site):
            return decision
        now_s, about = self.site.host.clock.boot_s(), (decision.level, best.component)
        if self._red is None or self._red[0] != about or now_s - self._red[1] >= RED_S:
            self._red = (about, now_s, red(self.site, *about, AGENT))
        return replace(decision, blocked=self._red[2])

    def _looked_s(self) -> float | None:
        """How long ago the tick before was."""
        last = next(reversed(self._ticks), None)
        if last is None:
            return None
        return (self.site.host.clock.now() - self._ticks.moment(last)).total_seconds()

    def _watch(self, knows: Known, looked_s: float | None) -> None:
        """What this look means for an incident that is watched after its run."""
        self._broken = self._broken + 1 if incident.breaks(self.site, knows) else 0
        worse = self._broken >= self.site.system.monitor.threshold
        incident.watch(self.site, knows, looked_s=looked_s, worse=worse)

    def _react(self, decision: Decision, seq: int) -> reacting.Reaction:
        now_s, cooldown_s = self.site.host.clock.boot_s(), self.site.system.monitor.cooldown
        tried = self._tried
        ago_s = now_s - tried[1] if tried and tried[0] == decision.trigger else None
        try:
            found = reacting.react(
                self.site,
                decision,
                seq=seq,
                cooldown_s=cooldown_s,
                tried_s=ago_s,
                ticks=self._ticks,
            )
        except RunLocked as error:  # somebody types at the same moment, and was first
            return reacting.Reaction(f"somebody else is at work: {error}")
        if found.tried:
            self._tried = (decision.trigger, now_s)
        return found

    def _hold(self, decision: Decision, because: str, behind: str = "") -> None:
        """That a person must look is in the journal and told, once for each reason.

        What comes back is said again, at most once an hour.
        """
        if because and not self._said_already(because):
            calls_for = decision.best.said if decision.best else ""
            best = decision.best
            ladder = best.what if best is not None and best.word == "escalate" else ""
            told = self.site.tell("agent.held", trigger=decision.trigger, because=because,
                                  calls_for=calls_for, ladder=ladder, behind=behind)  # fmt: skip
            tell_people(self.site, "held", f"agent-{told.seq}", reason=because, trigger=decision.trigger,
                        level=decision.level, decision=calls_for)  # fmt: skip

    def _said_already(self, because: str) -> bool:
        clock, since_well = self.site.host.clock, False
        for event in reversed(self.site.journal.events()):
            if event.kind in ("run.planned", "agent.recovered"):
                return False
            if event.kind == "decision.taken":
                since_well = since_well or event.data.get("respond") in ("hold", "observe")
            if event.kind == "agent.held" and _bare(str(event.data["because"])) == _bare(because):
                at = moment_of(clock, event.at, event.boot, event.boot_s)
                age_s = (clock.now() - at).total_seconds()
                return not since_well or age_s < recording.SAID_AGAIN_S
        return False

    def _upkeep(self) -> None:
        now_s = self.site.host.clock.boot_s()
        if self._upkept_s is not None and now_s - self._upkept_s < UPKEEP_S:
            return
        self._upkept_s = now_s
        upkeep(self.site)

    def _part(self, name: str, do: Callable[[], object], failed: dict[str, str]) -> None:
        """It was tried; that it failed, and that it does so no more, is journalled once."""
        try:
            do()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next tick comes
            failed[name] = _told(error)
            self._tell_failed(name, failed[name], getattr(error, "hint", ""))
        else:
            if self._failing(name):
                self._tell(name, "agent.recovered", part=name)

    def _tell_failed(self, name: str, error: str, hint: str) -> None:
        if _bare(self._failing(name)) != _bare(error):
            self._tell(name, "agent.failed", part=name, error=error, hint=hint)
        self._said[name] = error

    def _failing(self, name: str) -> str:
        """What is wrong with this part, as it was last said; "" when nothing is."""
        if name not in self._said:
            found = ""
            with suppress(RollbackError, OSError):
                for event in self.site.journal.events():
                    if (
                        event.kind in ("agent.failed", "agent.recovered")
                        and event.data["part"] == name
                    ):
                        found = str(event.data.get("error", ""))
            self._said[name] = found
        return self._said[name]

    def _tell(self, name: str, kind: str, **data: str) -> None:
        self._said[name] = ""
        with suppress(RollbackError, OSError):  # the journal itself may be what failed
            self.site.tell(kind, **data)


def _untold(decision: Decision) -> str:
    """What nobody can tell: the metrics without a number, else the rules that rest on what is not known."""
    read = f"{', '.join(decision.unknown)} UNKNOWN" if decision.unknown else ""
    return f"nobody can tell: {read or ', '.join(decision.doubts) + ' cannot be told'}"


def _told(error: Exception) -> str:
    if isinstance(error, RollbackError):
        return str(error)
    return why(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def _bare(text: str) -> str:
    """Without the numbers, which are others each time."""
    return re.sub(r"[0-9]+", "", text)
