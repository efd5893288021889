"""Checkpoints as the declaration wants them: taken when due, kept while needed, let go after that.

What is due is told by the checkpoints themselves and the journal, and by the clock: whoever asks
every minute (cron, a timer, an agent) takes each one once.

Hides: how late is too late, and what an open run or incident needs.
Never: removes what something may still go back to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from rollback.act import cut, guarding, incident, phasing
from rollback.act.authorize import one_at_a_time
from rollback.act.copying import copy_along
from rollback.act.plan import plan_of
from rollback.act.sealed import known_red
from rollback.act.site import Site
from rollback.act.standing_by import make_ready
from rollback.act.target import Wish, last_good
from rollback.host.clock import iso, parse_iso
from rollback.keep.lease import Lease
from rollback.keep.retention import kind_of
from rollback.model.errors import Refused, UsageError
from rollback.model.finding import Json
from rollback.model.level import Level, Procedure
from rollback.model.lifecycle import FINAL, Run, State
from rollback.model.operations import CheckpointKind
from rollback.model.quantity import spoken
from rollback.model.registry import nearest

if TYPE_CHECKING:
    from rollback.keep.checkpoint import Checkpoint
    from rollback.keep.copies import Copied
    from rollback.keep.life import Pruned

SLICE_BYTES = 64 * 2**20  # of the store, read again each time that somebody asks what is due
EARLY_SHARE = 0.02  # a timer that fires a moment early does not skip a whole turn
EARLY_S_MAX = 30.0
LATE_SHARE = 0.5  # of its interval; later, it did not happen
LATE_S_MAX = 600.0


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A kind of checkpoint with a schedule. `last` is when its newest whole one began, "" for none.

    `missed` says that one did not happen when it should have; empty where all is well. `closer` says
    why it is taken more often than declared; empty where it is not.
    """

    kind: str
    title: str
    every_s: float
    last: str
    due: bool
    missed: str = ""
    closer: str = ""

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {"kind": self.kind, "title": self.title, "every_s": self.every_s,
                "last": self.last or None, "due": self.due, "missed": self.missed or None,
                "closer": self.closer or None}  # fmt: skip


# -- the schedule --------------------------------------------------------------------------


def schedule(site: Site) -> tuple[Scheduled, ...]:
    """Every kind that is taken at intervals, and how it stands now."""
    wanted = {name: one for name, one in site.system.checkpoints.kinds.items()
              if one.on == "schedule" and one.every}  # fmt: skip
    if not wanted:
        return ()
    now = site.host.clock.now()
    events = site.journal.events()
    began = {str(event.data.get("checkpoint")): str(event.data["began"])
             for event in events if event.kind == "checkpoint.created" and "began" in event.data}  # fmt: skip
    newest: dict[str, str] = {}
    for one in site.checkpoints.list():
        if one.state == "whole":
            newest.setdefault(one.kind, began.get(one.id, one.at))
    since = events[0].at if events else ""
    factor, closer = tightened(site)
    return tuple(_scheduled(name, one, newest.get(name, ""), since, now, factor, closer)
                 for name, one in wanted.items())  # fmt: skip


def tightened(site: Site) -> tuple[float, str]:
    """By which factor checkpoints come closer together now, and why; 1 and "" where none does."""
    now = iso(site.host.clock.now())
    found = [event for event in site.journal.events() if event.kind == "prevention.begun"
             and now < str(event.data["until"])]  # fmt: skip
    near = incident.closer(site)
    if not found:
        return near.checkpoints, near.why if near.checkpoints < 1 else ""
    most = min(found, key=lambda event: float(str(event.data["checkpoints"])))
    why = f"run {most.run} found {most.data['component']} corrupted, until {str(most.data['until'])[:16]}"
    factor = float(str(most.data["checkpoints"]))
    return (factor, why) if factor <= near.checkpoints else (near.checkpoints, near.why)


def slice_bytes(site: Site) -> int:
    """How much of the store is read again each time: more while a corruption is not long ago."""
    return int(SLICE_BYTES / tightened(site)[0])


def _scheduled(
    name: str, kind: CheckpointKind, last: str, since: str, now: datetime, factor: float,
    closer: str,
) -> Scheduled:  # fmt: skip
    every_s = (kind.every or 0.0) * factor
    title = kind.title or name
    reference = last or since
    if not reference:
        return Scheduled(name, title, every_s, "", True, closer=closer)
    age_s = (now - parse_iso(reference)).total_seconds()
    ahead = age_s < -LATE_S_MAX  # the clock was set back: nobody can say how old it is
    due = not last or ahead or age_s >= every_s - min(every_s * EARLY_SHARE, EARLY_S_MAX)
    late_s = age_s - every_s
    missed = ""
    if kind.warn_when_missed and ahead:
        missed = f"the newest is of {reference[:16]}, which is yet to come: the clock was set back"
    elif kind.warn_when_missed and late_s > min(every_s * LATE_SHARE, LATE_S_MAX):
        what = f"the newest is {spoken(age_s)} old" if last else "none was ever taken"
        missed = f"{what}; it is {'declared' if factor == 1 else 'due'} every {spoken(every_s)}"
    return Scheduled(name, title, every_s, last, due, missed, closer)


def missed(site: Site) -> tuple[Scheduled, ...]:
    """The scheduled checkpoints that did not happen."""
    return tuple(one for one in schedule(site) if one.missed)


@dataclass(frozen=True, slots=True)
class Taken:
    """The checkpoints that were due, and what became of the standbys and of the copies."""

    made: tuple[Checkpoint, ...] = ()
    standby: Mapping[str, Json] = field(default_factory=dict)
    copied: tuple[Copied, ...] = ()


def take_due(site: Site) -> Taken:
    """Every scheduled checkpoint that is due now is taken; those that came too late are journalled.

    Standbys are made ready and copies made, as after any checkpoint. Raises: RunLocked while a run
    is between two states; Partial, StoreError as `take`: what came before is kept.
    """
    due = [one for one in schedule(site) if one.due]
    if not due:
        return Taken()
    one_at_a_time(site)
    made = []
    for one in due:
        if one.missed:
            site.tell("checkpoint.missed", name=one.kind, why=one.missed)
        made.append(take(site, one.kind, reason=f"every {spoken(one.every_s)}"))
    return Taken(tuple(made), make_ready(site), copy_along(site))


def take(
    site: Site, kind: str, *, name: str | None = None, reason: str = "",
    components: tuple[str, ...] | None = None, allow_partial: bool = False,
    drain: tuple[str, ...] = (),
) -> Checkpoint:  # fmt: skip
    """A checkpoint of a declared kind is listed and journalled; `drain` as declared by default.

    At the end of a phase `name` is that of the phase. Where the kind wants the way back in it, it has
    a name by which it can be gone back to. Raises: UsageError when there is no such kind or phase; as
    `Checkpoints.create`.
    """
    began = iso(site.host.clock.now())
    found = kind_of(kind, site.system.checkpoints.kinds)
    if found is not None and found.on == "phase":
        reason = reason or f"phase {name} is done"
        name = phasing.named(site, name)
    if found is not None and found.planned_back:
        name = name or f"{kind}-{site.host.clock.now():%Y%m%d-%H%M%S}"
        held = components or components_of(site, kind) or guarding.held_by(site.system, kind)
        reason = guarding.with_way_back(reason or kind, guarding.way_back(site.system, name, held))
    made = cut.create(
        site, name, kind=kind, components=components or components_of(site, kind), reason=reason,
        allow_partial=allow_partial, drain=drain or cut.declared(site, kind),
    )  # fmt: skip
    site.tell(
        "checkpoint.created", checkpoint=made.id, name=made.name, state=made.state, type=kind,
        began=began,
    )  # fmt: skip
    return made


def components_of(site: Site, kind: str) -> tuple[str, ...] | None:
    """What a checkpoint of this kind holds; None: everything. Raises: UsageError."""
    kinds = site.system.checkpoints.kinds
    found = kind_of(kind, kinds)
    if found is None and kind not in ("manual", "safety", "risky"):
        raise UsageError(f"no kind {kind} of checkpoints is declared", hint=nearest(kind, [*kinds]))
    return None if found is None or found.components == "all" else found.components


# -- what must stay ------------------------------------------------------------------------


def held(site: Site) -> dict[str, str]:
    """Why checkpoints must stay whatever their age, by id."""
    listed = site.checkpoints.list()
    found: dict[str, str] = {}
    unknown = _unended(site)
    if unknown:
        return {one.id: f"a restore has not ended: {unknown}" for one in listed}
    for one in listed:
        if one.name and one.name in _named(site):
            found[one.id] = "the declaration names it as a target"
    first = [one for one in listed if one.kind != "safety"]
    if first and "initial" in _named(site):
        found[first[-1].id] = "it is the initial one, which the declaration goes back to"
    for level in (None, *site.system.levels.values()):  # of a level that allows known failures, too
        best = last_good(site, Wish(may_be_red=known_red(site, level)) if level else Wish())
        if best is not None:
            found[best.id] = "it is the last good one"
    runs = site.runs()
    incidents = {run.incident for run in runs.values() if _open(run) and run.incident}
    for run in runs.values():
        if _open(run):
            found.update(dict.fromkeys(_of_run(run, listed), f"run {run.id} has not ended"))
        elif run.incident in incidents:
            why = f"incident {run.incident} of run {run.id} is open"
            found.update(dict.fromkeys(_of_run(run, listed), why))
    return found


def needed(site: Site, checkpoint: str) -> str:
    """Which open run needs the checkpoint; empty when none does."""
    listed = site.checkpoints.list()
    for run in site.runs().values():
        if _open(run) and checkpoint in _of_run(run, listed):
            return run.id
    return ""


def _open(run: Run) -> bool:
    return run.state not in FINAL and not (run.state is State.MITIGATED and not run.gated)


def _of_run(run: Run, listed: Iterable[Checkpoint]) -> Iterator[str]:
    """The checkpoints that a run goes back to, or that it made of the present."""
    target = plan_of(run).target
    if target.source in ("checkpoint", "phase"):
        yield target.id
    if run.safety:
        yield run.safety
    for one in listed:
        word, _, rest = one.name.partition("-")
        if word in ("safety", "left", "before") and rest.split("-")[0] == run.id:
            yield one.id


def _named(site: Site) -> set[str]:
    """The words by which levels and their prerequisites name checkpoints."""
    found = set()
    for level in (*site.system.levels.values(), *site.system.procedures.values()):
        target = level.target if isinstance(level, Level) else None
        found |= {one.checkpoint for one in (target.sources if target else ()) if one.checkpoint}
        if isinstance(level, Level | Procedure):
            found |= {one.checkpoint for one in level.prerequisites if one.checkpoint}
    return found


def _unended(site: Site) -> str:
    """The step of a restore that began, was not ended, and belongs to no run that we know."""
    if site.state.tree.stat("intents") is None:
        return ""
    runs = site.runs()
    for name in site.state.tree.names("intents"):
        step = name.decode("utf-8", "replace").removesuffix(".json")
        run = runs.get(step.split("-")[0])
        if run is None or not _open(run):
            return step
    return ""


# -- pruning -------------------------------------------------------------------------------


def prune(site: Site, *, dry_run: bool) -> Pruned:
    """Retention was applied, and what it freed was journalled; dry: what it would do.

    Raises: RunLocked, StoreError.
    """
    from rollback.keep.life import Life

    life = Life(site.checkpoints)
    declared = site.system.checkpoints.kinds
    if dry_run:
        return life.look(declared, held(site))
    with Lease(site.state.tree, site.host, purpose="prune checkpoints"):
        done = life.prune(declared, held(site), announce=lambda found: _told(site, found))
    if done.going or done.freed_bytes:
        site.tell("checkpoint.pruned", removed=[one.id for one in done.going],
                  freed_bytes=done.freed_bytes)  # fmt: skip
    return done


def _told(site: Site, found: Pruned) -> None:
    for one in found.judged:
        if one.goes:
            site.tell("checkpoint.deleted", checkpoint=one.checkpoint.id, name=one.checkpoint.name,
                      by="retention", why=one.why)  # fmt: skip


def delete(site: Site, checkpoint: str, *, by: str) -> int:
    """The checkpoint is gone, on a person's word; how many bytes that freed.

    Raises: Refused while a run that has not ended needs it.
    """
    from rollback.keep.life import Life

    found = site.checkpoints.get(checkpoint)
    with Lease(site.state.tree, site.host, purpose=f"delete checkpoint {found.id[:12]}"):
        run = needed(site, found.id)
        if run:
            raise Refused(
                "open-run", f"checkpoint {found.name or found.id[:12]} is needed by run {run}",
                hint=f"end the run first: rollback resume {run}, or rollback abort {run}",
            )  # fmt: skip
        site.tell("checkpoint.deleted", checkpoint=found.id, name=found.name, by=by)
        return Life(site.checkpoints).delete(found.id)


def revoke(site: Site, checkpoint: str, *, reason: str, by: str) -> Checkpoint:
    """Nobody goes back to the checkpoint any more; a record beside it and the journal say why."""
    from rollback.keep.life import Life

    made = Life(site.checkpoints).revoke(checkpoint, reason=reason, by=by)
    site.tell("checkpoint.revoked", checkpoint=made.id, name=made.name, by=by, reason=reason)
    return made
