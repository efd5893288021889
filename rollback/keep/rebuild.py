"""A component made again from its transaction log, and every item of it vouched for by two sources.

Hides: how what the log leaves is put in place of the live component.
Never: applies what is not committed; believes a log that no longer begins as it was captured.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

from rollback.keep.changes import Change, Changes
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.content import Content, Site
from rollback.keep.transaction_log import LeftOut, Reading, read
from rollback.keep.writer import Limits, finish
from rollback.model.component import TransactionLog
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Json
from rollback.model.system import System

Items = dict[str, str]
Held = Mapping[str, Mapping[str, Json]]


@dataclass(frozen=True)
class Outcome:
    """What a rebuild changed (dry: would change), and what of the log is in no state."""

    changes: Changes
    left_out: tuple[LeftOut, ...]
    log: Reading


@dataclass(frozen=True)
class Vouched:
    """The items of the live component, by who vouches for them: the checkpoint, the log, nobody.

    `behind` are as in the checkpoint though the log says otherwise: work done since, which is lost.
    `once` are the items that a single source vouches for, by the source.
    """

    both: int
    ahead: tuple[str, ...]
    behind: tuple[str, ...]
    nobody: tuple[str, ...]
    sources: tuple[str, ...]
    alone: tuple[str, ...] = ()  # as in the only source that there is

    @property
    def count(self) -> int:
        """All items that somebody vouches for."""
        return self.both + len(self.alone) + len(self.ahead) + len(self.behind)

    @property
    def once(self) -> dict[str, tuple[str, ...]]:
        """The items that a single source vouches for."""
        if len(self.sources) == 1:
            return {self.sources[0]: self.alone}
        return {"log": self.ahead, "checkpoint": self.behind}


def declared_log(system: System, component: str) -> TransactionLog:
    """The transaction log of the component. Raises: PlanError when it declares none."""
    found = system.components[component].transaction_log
    if found is None:
        raise PlanError(f"component {component} declares no transaction log",
                        hint="declare transaction_log: {path: …, fields: …}")  # fmt: skip
    return found


def from_log(
    kept: Checkpoints, system: System, component: str, base: str, *, step: str,
    dry_run: bool = False, limits: Limits | None = None,
) -> Outcome:  # fmt: skip
    """The component is what its log leaves of the checkpoint `base` ("": of nothing).

    What stood there is in quarantine. Again, also after a crash: converges. Raises: PlanError,
    HostError when the log cannot be read or trusted, StoreError; all before the first change.
    """
    log = declared_log(system, component)
    manifest = kept.manifest(base, component) if base else None
    held = kept.held()
    with kept.opened(component) as (content, site):
        reading = _read(site, system, log, held)
        with content.rebuilt(site, manifest, reading.changes, log) as made:
            left = tuple(sorted((*reading.left_out, *made.left_out), key=lambda one: one.line))
            changes = _changes(site, live_items(content, site), dict(made.items), log)
            outcome = Outcome(changes, left, reading)
            if dry_run:
                return outcome
            with kept.putting(site, step, limits) as how:
                if not changes:
                    with how.quarantine() as quarantine:
                        finish(site.root, site.at, quarantine, how.intent)
                    return outcome
                content.replace(site, made, how)
            return outcome


def cross_check(kept: Checkpoints, system: System, component: str, base: str) -> Vouched:
    """Each item of the live component, compared with the checkpoint `base` and with the log.

    A source that there is not (`base` empty, no log that this kind of content can be made from)
    vouches for nothing. Raises: HostError when the live component cannot be read, PlanError without
    any source.
    """
    log = system.components[component].transaction_log
    if not base and log is None:
        raise PlanError(f"there is nothing to compare {component} with",
                        hint="take a checkpoint, or declare its transaction_log")  # fmt: skip
    manifest = kept.manifest(base, component) if base else None
    held = kept.held()
    with kept.opened(component) as (content, site):
        live = content.items(site)
        then = content.items(site, manifest) if manifest is not None else None
        logged = None
        if log is not None and rebuilds(content):
            reading = _read(site, system, log, held)
            with content.rebuilt(site, manifest, reading.changes, log) as made:
                logged = dict(made.items)
    if then is None and logged is None:
        raise PlanError(f"there is nothing to compare {component} with: it is {content.kind}, which "
                        "is made from no log", hint="take a checkpoint")  # fmt: skip
    return _vouched(live, then, logged)


def differing(kept: Checkpoints, component: str, base: str) -> tuple[str, tuple[str, ...]]:
    """Why the live component cannot be read (else ""), and the items that differ from the checkpoint."""
    manifest = kept.manifest(base, component)
    with kept.opened(component) as (content, site):
        then = content.items(site, manifest)
        try:
            live = content.items(site)
        except (HostError, OSError) as error:
            return str(error), tuple(sorted(then))
    return "", tuple(sorted(n for n in {*live, *then} if live.get(n) != then.get(n)))


def rebuilds(content: Content) -> bool:
    """True when this kind of content can be made from a log."""
    return type(content).rebuilt is not Content.rebuilt


def live_items(content: Content, site: Site) -> Items | None:
    """The items of the live component; None when it is too damaged to be read."""
    try:
        return content.items(site)
    except (HostError, OSError):
        return None


def _vouched(live: Items, then: Items | None, logged: Items | None) -> Vouched:
    both = 0
    ahead: list[str] = []
    behind: list[str] = []
    nobody: list[str] = []
    alone: list[str] = []
    sources = [*(["checkpoint"] if then is not None else []),
               *(["log"] if logged is not None else [])]  # fmt: skip
    for name in sorted({*live, *(then or {}), *(logged or {})}):
        now = live.get(name)
        as_then = then is not None and then.get(name) == now
        as_logged = logged is not None and logged.get(name) == now
        if not as_then and not as_logged:
            nobody.append(name)
        elif len(sources) == 1:
            alone.append(name)
        elif as_then and as_logged:
            both += 1
        else:
            (ahead if as_logged else behind).append(name)
    return Vouched(both, tuple(ahead), tuple(behind), tuple(nobody), tuple(sources), tuple(alone))


def _read(site: Site, system: System, log: TransactionLog, held: Held) -> Reading:
    """The log, proved to begin as it did when it was last captured. Raises: HostError."""
    path = os.fsencode(log.path)
    if site.root.stat(path) is None:
        raise HostError("the transaction log is gone", where=site.root.place(path),
                        hint="what it held is in the newest checkpoint of its component")  # fmt: skip
    for name, one in system.components.items():
        if one.path == log.path and name in held:
            _begins(site, path, held[name])
    with site.root.reading(path) as file:
        return read(file.chunks(file.stat().st_size), log)


def _begins(site: Site, path: bytes, captured: Mapping[str, Json]) -> None:
    size = int(str(captured.get("size_bytes", 0)))
    whole = hashlib.sha256()
    with site.root.reading(path) as file:
        for chunk in file.chunks(size):
            whole.update(chunk)
    if whole.hexdigest() != captured.get("sha256"):
        raise HostError("the transaction log no longer begins as it did when it was captured",
                        where=site.root.place(path),
                        hint="it is evidence, not a source: use a checkpoint")  # fmt: skip


def _changes(site: Site, live: Items | None, made: Items, log: TransactionLog) -> Changes:
    if live is None:
        said = Change(site.at, "modify", "component", "it cannot be read")
        return Changes(site.at, (said,))
    found = []
    for name in sorted({*live, *made}):
        if live.get(name) != made.get(name):
            what = "add" if name not in live else "remove" if name not in made else "modify"
            path = site.at if name == "." else site.at + b": " + os.fsencode(name)
            found.append(Change(path, what, "item", log.path))  # type: ignore[arg-type]
    return Changes(site.at, tuple(found), unchanged=len(made.keys() & live.keys()))
