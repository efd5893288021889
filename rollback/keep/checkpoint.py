"""Checkpoints of a system: made, listed, proved, compared, put back, deleted.

A checkpoint exists when its commit record does, which is written after everything it names was
synced, read back and hashed. Killed before that, a capture leaves packs that nothing names.

Hides: the store, manifests, quarantine folders.
Never: lists as a target what it cannot put back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from rollback.host import Host, Tree
from rollback.host.clock import iso, parse_iso
from rollback.keep import checkpoint_record, revoked
from rollback.keep.changes import Change, Changes, told
from rollback.keep.checkpoint_record import Checkpoint, Part, free, matching
from rollback.keep.checkpoint_verify import Reach, check_component
from rollback.keep.content import Captured, Content, Restore, Site
from rollback.keep.cut import moved
from rollback.keep.entry import Entry, Source
from rollback.keep.head import head
from rollback.keep.judged import Judged
from rollback.keep.manifest import Manifest, decode
from rollback.keep.progress import SILENT, Progress
from rollback.keep.quarantine import quarantine, reserved, sub_folder
from rollback.keep.scope import REPOSITORIES, Scope
from rollback.keep.standby import Standby
from rollback.keep.stat_cache import StatCache
from rollback.keep.store import Store
from rollback.keep.writer import Intent, Limits
from rollback.model.component import Component
from rollback.model.errors import HostError, Partial, PlanError, StoreError, UsageError
from rollback.model.finding import Finding, Json, failed
from rollback.model.quantity import counted
from rollback.model.registry import kinds, nearest
from rollback.model.system import System


class HasTree(Protocol):
    """A state directory."""

    tree: Tree


class Checkpoints:
    """The checkpoints of one system, in its state directory. Close it, or use it in `with`."""

    def __init__(
        self, system: System, host: Host, state: HasTree | Tree, progress: Progress = SILENT
    ) -> None:
        self._system = system
        self.host = self._host = host
        self.state = self._state = state if isinstance(state, Tree) else state.tree
        self.progress = progress
        self.deep = False  # True: nothing is believed for its looks, every file is read
        with told(self._state, b"store", kind=StoreError):
            self.store = Store.open(self._state, host)
        self._manifests: dict[str, Manifest] = {}
        self._judge = Judged(self._state, self.store, self.load)

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """What was opened is given back; the state directory stays the caller's."""
        self.store.place.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nobody else writes or reads meanwhile, and what others wrote is known."""
        with told(self._state, b"store", kind=StoreError), self.store.lock():
            self.store.refresh()
            yield

    @property
    def stores(self) -> tuple[str, ...]:
        """The ids of the declared further places."""
        declared = getattr(self._system, "checkpoints", None)
        return tuple(getattr(declared, "stores", ()))

    # -- making ----------------------------------------------------------------------------

    def create(
        self, name: str | None = None, *, kind: str = "manual",
        components: tuple[str, ...] | None = None, reason: str = "",
        heads: Mapping[str, str] | None = None, allow_partial: bool = False,
        drained: tuple[str, ...] = (),
    ) -> Checkpoint:  # fmt: skip
        """A checkpoint of these components (None: all) is listed, durable and proved.

        Raises: Partial when something could not be read steadily: the record says what, and it is
        no target; with `allow_partial` it is returned. UsageError when the name is taken. With
        services `drained`, what changed between the first and the last component counts as that.
        Crash: nothing is listed; what was written is swept or shared by the next one.
        """
        chosen = self._chosen(components)
        with self.writing():
            free(name, self.records())
            self.store.place.sweep()
            try:
                made, whole = self._capture(name or "", kind, chosen, reason, heads, drained)
                self.store.place.create(f"checkpoints/{made.id}.json", [made.body()])
                self._judge.problems(made, Reach(self.store, whole=whole))
                self._judge.keep()
            finally:
                self.store.drop()
        if made.state == "partial" and not allow_partial:
            named = "; ".join((*made.missing[:3], *("…" for _ in made.missing[3:4])))
            raise Partial(
                f"{counted(len(made.missing), 'path')} could not be captured, {named}; the checkpoint is "
                "PARTIAL and no target",
                paths=made.missing,
                hint="quiet the writers or correct the permissions, then try again",
            )  # fmt: skip
        return made

    def _chosen(self, components: tuple[str, ...] | None) -> tuple[str, ...]:
        known = self._system.components
        for name in components or ():
            if name not in known:
                raise UsageError(f"there is no component {name!r}", hint=nearest(name, list(known)))
        names = components if components is not None else tuple(known)
        return tuple(sorted(names, key=lambda each: (known[each].order, each)))

    def _capture(
        self, name: str, kind: str, chosen: tuple[str, ...], reason: str,
        heads: Mapping[str, str] | None, drained: tuple[str, ...],
    ) -> tuple[Checkpoint, set[str]]:  # fmt: skip
        """The record, and the trees that are whole in the store."""
        began = iso(self._host.clock.now())
        whole: set[str] = set()
        parts: dict[str, Part] = {}
        missing: list[str] = []
        seen: list[tuple[Content, Site, Manifest]] = []
        known = dict(heads or {})
        newest = self._newest()
        steady = self._judge.steady(newest.id if newest is not None else "")
        with self._root() as root, self._scratch() as scratch:
            for each in chosen:
                component = self._system.components[each]
                content = self._content(each)
                if content is None:
                    missing.append(f"{each}: .: its kind of content is not built yet")
                    continue
                site = replace(self._site(each, root, scratch), steady=steady)
                if not steady:  # something of what it names may be gone: all is read, and put again
                    site.cache.doubt()
                captured = content.capture(site)
                parts[each] = self._part(component, captured)
                missing += captured.missing
                whole |= captured.whole
                seen.append((content, self._site(each, root, scratch), captured.manifest))
            if drained and len(seen) > 1:
                missing += moved(seen)
            repository = getattr(self._system, "repository", None)
            if repository is not None and "repository" not in known:
                found = head(root, os.fsencode(repository.path))
                if found is not None:
                    known["repository"] = found[1]
        self.store.flush()
        cut: dict[str, Json] = {} if len(chosen) < 2 else {
            "began": began, "ended": iso(self._host.clock.now()), "drained": list[Json](drained),
        }  # fmt: skip
        made = Checkpoint(
            id="", name=name, kind=kind, at=self._moment(newest),
            state="partial" if missing else "whole", parts=parts, missing=tuple(missing),
            reason=reason, system=self._system.system.id, system_digest=self._system.digest,
            host=os.uname().nodename, heads=known, nonce=self._host.token(),
            cut=cut,
        )  # fmt: skip
        return made.sealed(), whole

    def _newest(self) -> Checkpoint | None:
        """The checkpoint that was made last, whatever it is."""
        made = (one for _, one in self.records() if isinstance(one, Checkpoint))
        return max(made, key=lambda one: (one.at, one.id), default=None)

    def _moment(self, newest: Checkpoint | None) -> str:
        """Now, or just after the last checkpoint where the clock was set back behind it.

        So the newest is the one that was made last, whatever the clock said in between.
        """
        now = self._host.clock.now()
        if newest is not None and newest.at >= iso(now):
            with suppress(ValueError, OverflowError):
                return iso(parse_iso(newest.at) + timedelta(microseconds=1))
        return iso(now)

    def _part(self, component: Component, captured: Captured) -> Part:
        manifest = captured.manifest
        digest = self.store.put(manifest.encode())
        integrity = manifest.meta.get("integrity", "ok")
        damage = str(manifest.meta.get("raw") or ("" if integrity == "ok" else integrity))
        return Part(digest, manifest.content, component.path, manifest.count,
                    manifest.size_bytes, damage)  # fmt: skip

    # -- looking ---------------------------------------------------------------------------

    def list(self) -> tuple[Checkpoint, ...]:
        """Every checkpoint, newest first; `target` and `problems` say which can be put back.

        A record that is damaged is listed as such under its id.
        """
        with told(self._state, b"store", kind=StoreError):
            self.store.refresh()
            reach = Reach(self.store)
            found = [self._judged(identity, record, reach)
                     for identity, record in self.records()]  # fmt: skip
            if any(one.problems for one in found):  # perhaps one was let go while we looked
                there = {identity for identity, _ in self.records()}
                found = [one for one in found if not one.problems or one.id in there]
        return tuple(sorted(found, key=lambda one: (one.at, one.id), reverse=True))

    def records(self) -> Iterator[tuple[str, Checkpoint | StoreError]]:
        """Every commit record by its id, or why it cannot be read."""
        return checkpoint_record.listed(self.store.place)

    def _judged(self, identity: str, record: Checkpoint | StoreError, reach: Reach) -> Checkpoint:
        if isinstance(record, StoreError):
            return Checkpoint(identity, "", "", "", "damaged", problems=(str(record),))
        problems = self._judge.problems(record, reach)
        if problems:  # perhaps somebody rewrote the packs while we looked
            self.store.refresh()
            problems = self._judge.problems(record, Reach(self.store))
        if record.system != self._system.system.id:
            problems.insert(0, f"it was made of another system: {record.system}")
        said = revoked.why(self.store.place, identity)
        return replace(record, problems=tuple(problems), revoked=said)

    def get(self, wanted: str) -> Checkpoint:
        """The checkpoint with this id, unique beginning of an id, or name. Raises: PlanError.

        `newest` is the one that was made last and is whole, copies of a broken present aside.
        """
        with told(self._state, b"store", kind=StoreError):
            self.store.refresh()
            listed = dict(self.records())
        found = matching(listed, wanted)
        if len(found) == 1:
            return self._judged(found[0], listed[found[0]], Reach(self.store))
        if found:
            raise PlanError(f"{wanted!r} is the beginning of {len(found)} checkpoints",
                            hint="type more of the id")  # fmt: skip
        names = [one.name if isinstance(one, Checkpoint) and one.name else identity[:12]
                 for identity, one in listed.items()]  # fmt: skip
        raise PlanError(f"there is no checkpoint {wanted!r}", hint=nearest(wanted, names))

    def last_good(self, accept: Callable[[Checkpoint], bool] | None = None) -> Checkpoint | None:
        """The newest target that is no safety copy of a broken present and that `accept` takes."""
        for one in self.list():
            if one.target and one.kind != "safety" and not one.damage and (
                accept is None or accept(one)
            ):  # fmt: skip
                return one
        return None

    def manifest(self, wanted: str, component: str) -> Manifest:
        """What a component looked like. Raises: PlanError, ObjectMissing, ObjectCorrupt."""
        return self.load(self._part_of(self.get(wanted), component).manifest, component)

    def entries(self, wanted: str, component: str) -> Iterator[Entry]:
        """What a component was made of, parents first. Raises: as `manifest`."""
        return self.manifest(wanted, component).entries(self.store.get)

    def load(self, digest: str, component: str) -> Manifest:
        """The manifest with this id. Raises: StoreError when it is not there, or of another."""
        if digest not in self._manifests:
            self._manifests[digest] = decode(self.store.get(digest))
        found = self._manifests[digest]
        if found.component != component:
            raise StoreError(f"the manifest is of component {found.component}, not {component}")
        return found

    def _part_of(self, checkpoint: Checkpoint, component: str) -> Part:
        self._chosen((component,))
        if component not in checkpoint.parts:
            raise PlanError(f"checkpoint {checkpoint.id[:12]} does not hold component {component!r}",
                            hint=nearest(component, list(checkpoint.parts)))  # fmt: skip
        return checkpoint.parts[component]

    def held(self) -> dict[str, dict[str, Json]]:
        """How each append-only component began when it was last captured."""
        found: dict[str, dict[str, Json]] = {}
        for one in self.list():
            for name, part in one.parts.items():
                if name not in found and part.content == "append-only":
                    with suppress(StoreError):
                        held = self.load(part.manifest, name).meta.get("held")
                        if isinstance(held, dict):
                            found[name] = held
        return found

    def verify(self, wanted: str, *, deep: bool = False) -> tuple[Finding, ...]:
        """One finding per component, after every object it needs was read and hashed.

        `deep` also hashes every file as a whole, and the packs it lies in.
        """
        checkpoint = self.get(wanted)
        if checkpoint.state == "damaged":
            return (failed(checkpoint.problems[0], checkpoint=checkpoint.id),)
        with told(self._state, b"store", kind=StoreError), self.store.lock(shared=True):
            self.store.refresh()
            self._manifests.clear()
            return tuple(check_component(self.store, name, part.manifest, deep=deep,
                                         progress=self.progress, size_bytes=part.size_bytes)
                         for name, part in sorted(checkpoint.parts.items()))  # fmt: skip

    def diff(self, wanted: str, component: str | None = None) -> tuple[Change, ...]:
        """What putting the checkpoint back would change now, sorted by path."""
        checkpoint = self.get(wanted)
        names = (component,) if component is not None else tuple(checkpoint.parts)
        found = [change for name in names for change in self.restore(
            checkpoint.id, name, step="diff", dry_run=True, allow_partial=True)]  # fmt: skip
        return tuple(sorted(found, key=lambda change: change.path))

    # -- putting back ----------------------------------------------------------------------

    def fingerprints(self, component: str) -> dict[str, str]:
        """What stands in the component now, as a digest by path. Raises: OSError, HostError."""
        content = self._content(component) or Content()
        with self._root() as root, self._scratch() as scratch:
            return content.fingerprints(self._site(component, root, scratch))

    @contextmanager
    def opened(self, component: str) -> Iterator[tuple[Content, Site]]:
        """The component as its kind works on it, with the store to read from. Raises: PlanError."""
        self._chosen((component,))
        content = self._content(component)
        if content is None:
            raise PlanError(f"the content of component {component} is not built yet")
        with (
            told(self._state, b"store", kind=StoreError), self.store.lock(shared=True),
            self._root() as root, self._scratch() as scratch,
        ):  # fmt: skip
            self.store.refresh()
            yield content, self._site(component, root, scratch)

    @contextmanager
    def putting(
        self, site: Site, step: str, limits: Limits | None, *, differs: bool = False
    ) -> Iterator[Restore]:
        """How `step` puts the component back: its quarantine and its intent."""
        with sub_folder(self._state, b"intents") as intents:
            yield Restore(lambda: quarantine(self._host, self._state, site.root, site.at, step),
                          Intent(intents, step), limits or Limits(), differs)  # fmt: skip

    def restore(
        self, wanted: str, component: str, *, step: str, dry_run: bool = False,
        limits: Limits | None = None, allow_partial: bool = False, differs: bool = False,
    ) -> Changes:  # fmt: skip
        """The component is what the checkpoint holds; what was changed. Dry: what would be.

        `differs`: the caller has seen that something does, so a standby need not look again.
        `step` names the intent and the quarantine. Again after a crash: the same call converges.
        Raises: Partial, PlanError, ObjectMissing, ObjectCorrupt, Refused, Confined before the
        first change; HostError.
        """
        checkpoint = self.get(wanted)
        part = self._part_of(checkpoint, component)
        if checkpoint.revoked and not dry_run:
            raise PlanError(f"checkpoint {checkpoint.id[:12]} was {checkpoint.revoked}",
                            hint="choose another: rollback checkpoint list")  # fmt: skip
        lacking = tuple(line for line in checkpoint.missing if line.startswith(f"{component}: "))
        if lacking and not allow_partial:
            raise Partial(f"checkpoint {checkpoint.id[:12]} is PARTIAL: {lacking[0]}",
                          paths=lacking, hint="choose another checkpoint")  # fmt: skip
        if checkpoint.system != self._system.system.id:
            raise PlanError(f"checkpoint {checkpoint.id[:12]} is of another system")
        content = self._content(component)
        if content is None or part.content != content.kind:
            raise PlanError(f"component {component} was captured as {part.content} and cannot be "
                            "put back as what it is declared now")  # fmt: skip
        if part.path != self._system.components[component].path:
            raise PlanError(f"component {component} was captured at {part.path}")
        with self.opened(component) as (_, site):
            manifest = self.load(part.manifest, component)
            if dry_run:
                return content.compare(site, manifest)
            with self.putting(site, step, limits, differs=differs) as how:
                return content.restore(site, manifest, how)

    def put(
        self, component: str, source: Source, *, step: str, dry_run: bool = False,
        limits: Limits | None = None,
    ) -> Changes:  # fmt: skip
        """The component is what a source made by others holds; as `restore` otherwise."""
        with self.opened(component) as (content, site):
            if dry_run:
                return content.put(site, source, None)
            with self.putting(site, step, limits) as how:
                return content.put(site, source, how)

    def refresh_standby(self, wanted: str, *, limits: Limits | None = None) -> dict[str, str]:
        """The standby of each component that is declared to have one holds this checkpoint.

        By component "", or why there can be none. Raises: as `restore`.
        """
        checkpoint = self.get(wanted)
        found = {}
        with (
            told(self._state, b"store", kind=StoreError), self.store.lock(shared=True),
            self._root() as root, self._scratch() as scratch,
            sub_folder(self._state, b"intents") as intents,
        ):  # fmt: skip
            for name, part in checkpoint.parts.items():
                site = self._site(name, root, scratch)
                if site.standby is None:
                    continue
                manifest = self.load(part.manifest, name)
                found[name] = site.standby.refresh(manifest, intents, limits or Limits())
        return found

    # -- inside ----------------------------------------------------------------------------

    def capture_into(self, store: Store, component: str) -> None:
        """The component is read whole and put into `store`; nothing is listed.

        Raises: OSError, HostError, StoreError.
        """
        content = self._content(component)
        if content is not None:
            with self._root() as root, self._scratch() as scratch:
                content.capture(replace(self._site(component, root, scratch), store=store))

    def _content(self, component: str) -> Content | None:
        declared = self._system.components[component].content
        cls = kinds("content").get(declared) if isinstance(declared, str) else None
        made = cls() if cls is not None else None
        return made if isinstance(made, Content) else None

    def _root(self) -> Tree:
        return self._host.tree(os.fsencode(self._system.root_path.resolve()))

    @contextmanager
    def _scratch(self) -> Iterator[Tree]:
        with sub_folder(self._state, b"scratch") as folder:
            yield folder

    def _site(self, name: str, root: Tree, scratch: Tree) -> Site:
        component = self._system.components[name]
        at = os.fsencode(component.path)
        scope = Scope(
            exclude=tuple(component.exclude), only=tuple(getattr(component, "paths", ())),
            reserved=frozenset(reserved(self._system, self._state, root, at)),
            reserved_names=_repository(root, at),
        )  # fmt: skip
        xattrs = tuple(getattr(component, "xattrs", ()))
        # a power loss may take bytes of a file and leave its look: of another boot nothing is believed
        boot = self._host.clock.boot().encode()
        key = b"\0".join((boot, root.path, b"%d" % root.mount()[0], at, scope.key(),
                           *(os.fsencode(glob) for glob in xattrs)))  # fmt: skip
        cache = StatCache(self._state, name, key)
        if self.deep:
            cache.doubt()
        declaration = getattr(self._system, "declaration", None)
        folder = str(declaration.parent) if declaration is not None else ""
        site = Site(name, str(component.content), at, self._host, root, self.store, scratch, cache,
                    scope, component.volatile, getattr(component, "database", None), folder,
                    xattrs=xattrs, progress=self.progress, users=self._users(name))  # fmt: skip
        if component.restore != "standby":
            return site
        ready = Standby(site, self._state, StatCache(self._state, f"{name}@standby", key))
        return replace(site, standby=ready)

    def _users(self, component: str) -> tuple[str, ...]:
        services = getattr(self._system, "services", {})
        return tuple(name for name, one in services.items() if component in one.components)


__all__ = ["Checkpoint", "Checkpoints", "HasTree"]


def _repository(root: Tree, at: bytes) -> frozenset[bytes]:
    """The names that are git's in a component which is a repository, whatever kind it is declared as."""
    with suppress(OSError, HostError):
        if any(root.stat(at + b"/" + name) is not None for name in REPOSITORIES):
            return REPOSITORIES
    return frozenset()
