"""The one writer: a live tree becomes what a source says, or stays what it was.

In order: plan, preflight, stage everything beside the quarantine and prove it by hash, write the
intent, rename into place, move extra files to quarantine, dress, sync, remove the intent. Killed
at any point, the same call made again ends in the same tree.

Hides: the order of renames and syncs, and where the old things go.
Never: deletes; writes in place; changes anything before all that is needed is staged and proved.
"""

from __future__ import annotations

import errno
import json
import os
import stat as stat_
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace

from rollback.host import Tree
from rollback.host.below import show
from rollback.host.looking import Reading
from rollback.host.renaming import LACKING
from rollback.keep.attributes import Wanted, concerned, missing
from rollback.keep.changes import Changes, told
from rollback.keep.comparing import changes, make_plan
from rollback.keep.entry import Entry, Source
from rollback.keep.plan import Plan
from rollback.keep.preflight import Limits, preflight
from rollback.keep.progress import SILENT, Tally
from rollback.keep.scope import Scope
from rollback.keep.stage import Contents
from rollback.keep.survey import gone
from rollback.model.errors import RollbackError
from rollback.model.event import canonical
from rollback.model.finding import Json

SYNC_EACH_MAX = 64  # beyond, one syncfs is cheaper
_STAGE, _KEPT = b"stage", b"kept"
_AGAIN = "what was done is kept; make the same restore again and it goes on from here"

Proof = Callable[[Entry, str], None]


@dataclass(frozen=True)
class Intent:
    """That a restore is under way: the file `name`.json in `folder`, durable while it lasts."""

    folder: Tree
    name: str

    @property
    def _file(self) -> str:
        return f"{self.name}.json"

    def begin(self, about: Mapping[str, Json]) -> None:
        """Whoever finds the file knows what was being put back, and where the old things are."""
        self.folder.write(self._file, canonical(dict(about)) + b"\n")

    def about(self) -> Mapping[str, Json]:
        """What `begin` wrote, of a step that began and did not end; empty when none did."""
        with suppress(FileNotFoundError, ValueError):
            found = json.loads(self.folder.read(self._file))
            return found if isinstance(found, dict) else {}
        return {}

    def end(self) -> None:
        """The file is gone."""
        if self.folder.stat(self._file) is not None:
            self.folder.unlink(self._file)
            self.folder.sync_folder()
        self.folder.sweep()


def put_back(
    source: Source, tree: Tree, *, at: bytes, quarantine: Tree, intent: Intent,
    scope: Scope | None = None, removes: frozenset[bytes] | None = None, deep: bool = True,
    limits: Limits | None = None, proof: Proof | None = None, first_out: Iterable[bytes] = (),
    xattrs: tuple[str, ...] = (), kept_as: bytes = b"",
) -> Changes:  # fmt: skip
    """The component `at` below `tree` is what `source` says; what was changed.

    The arguments that `changes` has mean the same here. `quarantine` is a folder for this step
    alone, on the same file system and outside the component: extra things, and those of another
    type, are moved to `kept/` in it under their relative names. `proof` is asked about each staged
    file (entry and full path) and raises to refuse it. `first_out` are full paths that leave before
    anything else. A component that is one file is kept whole, as `kept_as` where that is given, and
    `first_out` under names that begin so.

    Crash: parts are old, parts new, the intent stands. Again: converges; a tree that is right
    already is not touched. Raises: Refused, Confined, ObjectMissing or ObjectCorrupt with the tree
    untouched; HostError.
    """
    work = _Work(tree, at, quarantine, intent, kept_as)
    with told(tree, at, hint="nothing was changed"):
        plan = make_plan(source, tree, at=at, scope=scope, removes=removes, deep=deep,
                         first_out=first_out, xattrs=xattrs)  # fmt: skip
        found = plan.public()
        if not found:
            work.tidy()
            return found
        preflight(plan, tree, quarantine, limits or Limits())
        try:
            work.stage(plan, source, proof)
        except (OSError, RollbackError):
            with suppress(OSError):
                work.sweep()
            raise
        intent.begin({
            "format": 1, "step": intent.name, "root": show(tree.path), "at": show(at),
            "write": len(plan.write) + len(plan.make), "remove": len(plan.away),
            "attributes": len(plan.dress), "quarantine": show(quarantine.path),
            **({"kept_as": os.fsdecode(kept_as)} if kept_as else {}),
        })  # fmt: skip
    with told(tree, at, hint=_AGAIN):
        work.apply(plan)
        work.tidy()
    return replace(found, kept=work.places())


def finish(tree: Tree, at: bytes, quarantine: Tree, intent: Intent) -> None:
    """Nothing is left of a restore of this step that died: neither its stage nor its intent."""
    with told(tree, at):
        _Work(tree, at, quarantine, intent).tidy()


@dataclass
class _Work:
    """One call of `put_back`."""

    tree: Tree
    at: bytes
    quarantine: Tree
    intent: Intent
    kept_as: bytes = b""
    staged: dict[bytes, bytes] = field(default_factory=dict)
    _ready: Tree | None = None
    touched: set[bytes] = field(default_factory=set)  # folders of the tree, full paths
    kept: set[bytes] = field(default_factory=set)  # folders of the quarantine
    _exchanges: bool = True  # until the file system says that it cannot

    # -- staging ---------------------------------------------------------------------------

    @property
    def ready(self) -> Tree:
        """The stage, opened."""
        assert self._ready is not None
        return self._ready

    def stage(self, plan: Plan, source: Source, proof: Proof | None) -> None:
        """Everything new lies finished in the stage, proved and durable."""
        self.sweep()
        self.quarantine.make_folder(_STAGE)
        self._ready = self.quarantine.sub(_STAGE)
        # a symbolic link's own owner and time cannot be synced but with everything else
        bare = any(plan.wanted[path].kind == "symlink" for path in plan.write)
        each = not bare and len(plan.write) <= SYNC_EACH_MAX
        links = []
        total = sum(plan.wanted[p].size for p in plan.write if plan.wanted[p].kind == "file")
        what = getattr(source, "what", "") or f"putting back {show(self.at)}"
        heard = Tally(getattr(source, "progress", SILENT), what, total)
        contents = Contents(source, [plan.wanted[path] for path in plan.write], heard)
        for path in plan.write:
            entry = plan.wanted[path]
            if entry.kind == "file":
                self._stage_file(plan, entry, contents, sync=each)
                if proof is not None:
                    proof(entry, os.fsdecode(os.path.join(self.ready.path, self.staged[path])))
            elif entry.kind == "symlink":
                name = self._name(path)
                self.ready.symlink(entry.target, name)
                self.ready.dress_link(name, owner=_owner(plan, entry), mtime_ns=entry.mtime_ns)
            else:
                links.append(entry)
        for entry in links:
            name = self._name(entry.path)
            if entry.target in self.staged:
                self.ready.link(self.staged[entry.target], name)
            else:
                self.tree.link(plan.full(entry.target), name, to=self.ready)
        for path in plan.make:
            if path in plan.retype:
                self.ready.make_folder(self._name(path))
        if each:
            self.ready.sync_folder()
        else:
            self.quarantine.sync_all()

    def _name(self, path: bytes) -> bytes:
        self.staged[path] = b"%08d" % len(self.staged)
        return self.staged[path]

    @contextmanager
    def _base(self, plan: Plan, path: bytes) -> Iterator[Reading | None]:
        """The live file, to be read; None where there is none, or it cannot be."""
        live = plan.live.get(path)
        with ExitStack() as opened:
            base = None
            if live is not None and stat_.S_ISREG(live.st_mode):
                with suppress(OSError, RollbackError):
                    base = opened.enter_context(self.tree.reading(plan.full(path)))
            yield base

    def _stage_file(self, plan: Plan, entry: Entry, contents: Contents, *, sync: bool) -> None:
        live = plan.live.get(entry.path)
        mode = entry.mode
        if mode is None:
            regular = live is not None and stat_.S_ISREG(live.st_mode)
            mode = stat_.S_IMODE(live.st_mode) if live is not None and regular else 0o644
        name = self._name(entry.path)
        folder = os.path.dirname(plan.full(entry.path)) or b"."
        with self.ready.draft(name, sync=sync, near=(self.tree, folder)) as draft:
            contents.fill(draft, entry, self._base(plan, entry.path))
            draft.dress(mode=mode, owner=_owner(plan, entry), mtime_ns=entry.mtime_ns,
                        attributes=entry.attributes)  # fmt: skip

    # -- changing --------------------------------------------------------------------------

    def apply(self, plan: Plan) -> None:
        """The tree is what was planned, durably."""
        self._make_places(plan)
        for full in plan.first_out:
            self._away(full, self._named(full))
        self._loosen(plan)
        self._make_room(plan)
        for path in sorted(
            {*plan.make, *plan.write}, key=lambda path: b"" if path == b"." else path
        ):
            self._place(plan, path)
        for path in plan.away:
            self._away(plan.full(path), self._inside(path))
        self._dress(plan)
        self._sync(plan)

    def _make_places(self, plan: Plan) -> None:
        """The folders into which things go from the tree are on disk before the first one goes.

        Else a power loss could leave a thing without its old name, and its new one in no folder.
        """
        for full in plan.first_out:
            self._free_place(self._named(full), full)
        for path in {*plan.make, *plan.write}:
            if self._makes_way(plan, path):
                self._free_place(self._inside(path), plan.full(path))
        for path in plan.away:
            self._free_place(self._inside(path), plan.full(path))
        if len(self.kept) > SYNC_EACH_MAX:
            self.quarantine.sync_all()
            return
        for name in sorted(self.kept):
            self.quarantine.sync_folder(name)

    def _makes_way(self, plan: Plan, path: bytes) -> bool:
        """True when what stands there is not replaced, but kept."""
        return path in plan.retype or bool(self.kept_as and path in plan.live)

    def _inside(self, path: bytes) -> bytes:
        """Under which name what stands at a path of the component is kept."""
        return path if path != b"." else self._named(self.at)

    def _place(self, plan: Plan, path: bytes) -> None:
        full = plan.full(path)
        if self._makes_way(plan, path):
            self._swap(full, path)
        elif path in self.staged:
            self.ready.put(self.staged[path], self.tree, full)
        else:
            self.tree.make_folder(full)
        self._touch(full)

    def _swap(self, full: bytes, path: bytes) -> None:
        """The new thing in the place of the old one, which is in quarantine.

        Without an exchange nothing stands there for a moment where one of them is a folder.
        """
        kept = self._free_place(self._inside(path), full)
        named = bool(self.kept_as) and self._second_name(full, kept, path)
        if not named and self._exchanged(full, kept, path):
            return
        if not named and not self._second_name(full, kept, path):
            self._move(full, kept)
        self.ready.put(self.staged[path], self.tree, full)

    def _exchanged(self, full: bytes, kept: bytes, path: bytes) -> bool:
        """The two changed places, in one instant; False where that cannot be had."""
        if not self._exchanges or self.quarantine.stat(kept) is not None:
            return False
        self.ready.move(self.staged[path], self.quarantine, kept, alone=True)
        try:
            self.quarantine.exchange(kept, full, inside=self.tree)
        except OSError as error:
            if error.errno not in (*LACKING, errno.EXDEV):
                raise
            self._exchanges = error.errno == errno.EXDEV  # of this folder alone, or of none
            self.quarantine.move(kept, self.ready, self.staged[path], alone=True)
            return False
        return True

    def _second_name(self, full: bytes, kept: bytes, path: bytes) -> bool:
        """What stands there is in quarantine too, so that it can be replaced; False for folders."""
        found, coming = self.tree.stat(full), self.ready.stat(self.staged[path])
        if any(one is None or stat_.S_ISDIR(one.st_mode) for one in (found, coming)):
            return False
        if self.quarantine.stat(kept) is None:
            try:
                self.tree.link(full, kept, to=self.quarantine)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV):
                    raise
                return False
        self.quarantine.sync_folder(os.path.dirname(kept))
        return True

    def _away(self, full: bytes, path: bytes) -> None:
        self._move(full, self._free_place(path, full))
        self._touch(full)

    def _move(self, full: bytes, kept: bytes) -> None:
        try:
            self.tree.move(full, self.quarantine, kept, alone=True)
        except OSError as error:
            if gone(error) and self.tree.stat(full) is None:
                return  # whoever still works in it took it away first
            if error.errno != errno.EXDEV:
                raise
            found = self.tree.stat(full)
            if found is None or not stat_.S_ISDIR(found.st_mode):
                raise
            # an overlay cannot rename a folder of a lower layer, but everything in it
            self.quarantine.make_folder(kept)
            self.quarantine.sync_folder(os.path.dirname(kept))
            for name in self.tree.names(full):
                self._move(full + b"/" + name, kept + b"/" + name)
            self.quarantine.dress(kept, mode=stat_.S_IMODE(found.st_mode),
                                  mtime_ns=found.st_mtime_ns)  # fmt: skip
            self.tree.remove_folder(full)

    def _named(self, full: bytes) -> bytes:
        """Under which name what stands at the component's path, or beside it, is kept."""
        if self.kept_as:
            return self.kept_as + full.removeprefix(self.at)
        return full if full != self.at else os.path.basename(full)

    def places(self) -> tuple[str, ...]:
        """Where what was replaced or moved away is kept, for people."""
        if not self.kept_as:
            bases = {name.partition(b"/")[0] for name in self.kept} - {b"."}
            return tuple(self.quarantine.place(base) for base in sorted(bases))
        names = sorted(base + b"/" + self.kept_as for base in self.kept if base != b".")
        return tuple(self.quarantine.place(n) for n in names if self.quarantine.stat(n) is not None)

    def _free_place(self, path: bytes, full: bytes) -> bytes:
        """A name in quarantine where nothing stands but perhaps this very file, its folders made."""
        number = 0
        while True:
            base = _KEPT if not number else _KEPT + b"-%d" % (number + 1)
            name = base + b"/" + path
            free = self.quarantine.stat(name) is None or self.quarantine.same(name, self.tree, full)
            if free and self._makes(os.path.dirname(name)):
                self.kept.add(os.path.dirname(name))
                return name
            number += 1

    def _makes(self, folder: bytes) -> bool:
        parts = folder.split(b"/")
        for count in range(1, len(parts) + 1):
            part = b"/".join(parts[:count])
            found = self.quarantine.stat(part)
            if found is None:
                self.quarantine.make_folder(part)
                self.kept.add(os.path.dirname(part) or b".")
            elif not stat_.S_ISDIR(found.st_mode):
                return False
        return True

    def _touch(self, full: bytes) -> None:
        self.touched.add(os.path.dirname(full) or b".")

    def _make_room(self, plan: Plan) -> None:
        """The folders above the component are there; they are no part of it."""
        above = os.path.dirname(self.at)
        while above and self.tree.stat(above) is None:
            self.touched.add(os.path.dirname(above) or b".")
            above = os.path.dirname(above)
        if os.path.dirname(self.at) and (plan.make or plan.write):
            self.tree.make_folder(os.path.dirname(self.at), mode=0o755, parents=True)

    def _loosen(self, plan: Plan) -> None:
        """Folders that we own and may not write can be written; `_dress` closes them again."""
        if os.geteuid() == 0:
            return
        for path in {*plan.make, *plan.write, *plan.away}:
            above = os.path.dirname(path) or b"."
            live = plan.live.get(above)
            if path != b"." and live is not None and stat_.S_ISDIR(live.st_mode):
                mode = stat_.S_IMODE(live.st_mode)
                if mode & 0o300 != 0o300:
                    self.tree.dress(plan.full(above), mode=mode | 0o700)
                    plan.dress.setdefault(above, "")

    def _dress(self, plan: Plan) -> None:
        folders = [path for path, entry in plan.wanted.items() if entry.kind == "folder" and (
            path in plan.dress or path in plan.make or plan.full(path) in self.touched)]  # fmt: skip
        made = set(plan.make)
        for path in plan.dress:
            entry = plan.wanted[path]
            if entry.kind == "symlink":
                self.tree.dress_link(plan.full(path), owner=entry.owner, mtime_ns=entry.mtime_ns)
                self._touch(plan.full(path))
            elif entry.kind != "folder":
                self.tree.dress(
                    plan.full(path), mode=entry.mode, owner=entry.owner, mtime_ns=entry.mtime_ns,
                    attributes=plan.attributes.get(path, ()),
                    only=(plan.live[path].st_dev, plan.live[path].st_ino),
                )  # fmt: skip
        for path in sorted(folders, key=lambda path: (-path.count(b"/"), path == b".", path)):
            entry = plan.wanted[path]
            mode = 0o755 if entry.mode is None and path in made else entry.mode
            self.tree.dress(plan.full(path), mode=mode, owner=_owner(plan, entry),
                            mtime_ns=entry.mtime_ns, attributes=self._lacks(plan, path))  # fmt: skip
            self.touched.add(plan.full(path))

    def _lacks(self, plan: Plan, path: bytes) -> Wanted:
        """Asked again: a folder that was made has what the folder above it hands down."""
        entry = plan.wanted[path]
        if not concerned(entry, plan.xattrs):
            return ()
        return missing(entry, self.tree.attributes(plan.full(path)), plan.xattrs)

    def _sync(self, plan: Plan) -> None:
        worn = any(plan.wanted[path].kind != "folder" for path in plan.dress)
        if worn or len(self.touched) + len(self.kept) > SYNC_EACH_MAX:
            self.tree.sync_all()
            return
        for full in sorted(self.touched):
            self.tree.sync_folder(full)
        for name in sorted({*self.kept, _STAGE}):
            self.quarantine.sync_folder(name)

    # -- cleaning up -----------------------------------------------------------------------

    def sweep(self) -> None:
        """Nothing is left in the stage, nor the stage itself; it only ever held copies."""
        if self.quarantine.stat(_STAGE) is None:
            return
        self.quarantine.remove(_STAGE)

    def tidy(self) -> None:
        """The stage, and last the intent, are gone."""
        self.sweep()
        self.intent.end()


def _owner(plan: Plan, entry: Entry) -> tuple[int, int] | None:
    """Whose it shall be: as captured, else as the live one or the folder that it comes into."""
    if entry.owner is not None:
        return entry.owner
    if os.geteuid() != 0:
        return None
    path = entry.path
    while True:
        live = plan.live.get(path)
        if live is not None:
            return live.st_uid, live.st_gid
        if path == b".":
            return None
        path = os.path.dirname(path) or b"."


__all__ = ["Changes", "Intent", "Limits", "changes", "finish", "put_back"]
