"""What putting a source back would change: the one plan, for a dry run as for the real one.

The live tree is walked and compared with the entries of the source. A file is the same when its
bytes, mode, owner, time and hard-link group are; a folder also when nothing in it was renamed.

Hides: how a difference is found.
Never: changes anything.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from rollback.host import Tree
from rollback.host.below import remedy, show
from rollback.keep.blocks import Blocks
from rollback.keep.bulk import read_all
from rollback.keep.difference import Difference, comparable, difference
from rollback.keep.entry import Entry
from rollback.keep.manifest import Manifest
from rollback.keep.progress import SILENT, Progress, Tally
from rollback.keep.stat_cache import StatCache
from rollback.keep.store import Store
from rollback.keep.survey import Survey
from rollback.model.errors import HostError, RollbackError, StoreError
from rollback.model.finding import Json

TWIN_BYTES_MIN = 64 * 2**10  # below, the store is as fast
Twin = tuple[Tree, bytes]
What = Literal["add", "modify", "remove", "attributes"]
SHOWN_MAX = 200
_SIGN = {"add": "+", "modify": "~", "remove": "-", "attributes": "%"}


@dataclass(frozen=True, slots=True)
class Change:
    """One path, relative to the root of the system, and what happens to it.

    `remove` means moved to quarantine. `kind` is what stands there afterwards (before, for a
    removal); `why` is for people: `bytes`, `mode 0644 -> 0600`, `folder -> file`.
    """

    path: bytes
    what: What
    kind: str
    why: str = ""

    def __str__(self) -> str:
        reason = f"  ({self.why})" if self.why else ""
        return f"{_SIGN[self.what]} {show(self.path)}{reason}"


@dataclass(frozen=True, slots=True)
class Rows:
    """One table of a database that differs: how many rows it has, and had (None: no such table).

    `lost` rows stand so only in the present, `back` rows only in what is put back; a row that was
    changed is one of each. None where only the numbers of rows are known.
    """

    table: str
    now: int | None
    then: int | None
    lost: int | None = None
    back: int | None = None


@dataclass(frozen=True)
class Changes:
    """Every change, sorted by path. False when there is nothing to do.

    Units: `need_bytes` is what has to be staged. `notes` say what is left as it is, and why. `kept`
    are the full paths, or names, under which what was replaced is kept.
    """

    at: bytes = b"."
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    need_bytes: int = 0
    unchanged: int = 0
    rows: tuple[Rows, ...] = field(default=(), compare=False)
    kept: tuple[str, ...] = field(default=(), compare=False)

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    def _only(self, what: What) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.what == what)

    @property
    def adds(self) -> tuple[Change, ...]:
        """What comes into being."""
        return self._only("add")

    @property
    def modifies(self) -> tuple[Change, ...]:
        """What gets other bytes, another target or another type."""
        return self._only("modify")

    @property
    def removes(self) -> tuple[Change, ...]:
        """What goes to quarantine; what lies below a removed folder goes with it."""
        return self._only("remove")

    @property
    def chmods(self) -> tuple[Change, ...]:
        """What gets another mode, owner or time only."""
        return self._only("attributes")

    def under(self, base: str) -> Changes:
        """The same changes, of what lies in the folder `base`."""
        if base == ".":
            return self
        lead = os.fsencode(base) + b"/"
        moved = (replace(change, path=lead + change.path) for change in self.changes)
        return replace(self, changes=tuple(moved))

    def told(self) -> dict[str, Json]:
        """How many of which kind, in how many bytes, and the first of them in words, for a plan."""
        return {
            "changes": len(self), "bytes": self.need_bytes, "adds": len(self.adds),
            "modifies": len(self.modifies), "removes": len(self.removes),
            "attributes": len(self.chmods),
            "lines": [str(change) for change in self.changes[:SHOWN_MAX]],
            "notes": list(self.notes[:SHOWN_MAX]),
            "rows": [{name: getattr(one, name) for name in Rows.__slots__} for one in self.rows],
        }  # fmt: skip

    def lines(self) -> tuple[str, ...]:
        """The changes, then the notes, one printable line each."""
        return (*(str(change) for change in self.changes), *(f"! {note}" for note in self.notes))


class StoredSource:
    """A captured component as a source; `cache` says what its live folders looked like.

    `progress` hears how far the live tree was looked at, and how much of what is put back was read;
    `what` is told of the latter, if anything. `twin` is another tree that may hold the same files, and
    the component's path in it.
    """

    def __init__(
        self, manifest: Manifest, store: Store, cache: StatCache, progress: Progress = SILENT,
        what: str = "", twin: Twin | None = None,
    ) -> None:  # fmt: skip
        self.progress = progress
        self.what = what
        self._twin = twin
        self._manifest = manifest
        self._store = store
        self._cache = cache

    def against(self, survey: Survey) -> Difference | None:
        """Where the live component may differ; None when it has to be compared as a whole.

        Raises: OSError, ObjectMissing, ObjectCorrupt.
        """
        if not comparable(self._manifest, survey.root.stat(survey.at)):
            return None
        return difference(self._manifest, self._store.get, survey, self._cache.frames())

    def looked(self, folders: int) -> None:
        """So many live folders were looked at; whoever listens hears of how many they were last."""
        known = len(self._cache)
        total = max(known, folders) if known else None
        self.progress(
            self.what or f"comparing {self._manifest.component}", folders, total, "folders"
        )

    def reading(self) -> Tally:
        """To be told of live files that are read since their looks prove nothing; nobody knows how many."""
        return Tally(self.progress, f"reading {self._manifest.component}", None)

    def entries(self) -> Iterable[Entry]:
        """What was captured."""
        return self._manifest.entries(self._store.get)

    def alike(self, entry: Entry) -> tuple[Tree, bytes] | None:
        """A file of the twin that may well hold the same bytes: it has the size and the time."""
        if self._twin is None or entry.size < TWIN_BYTES_MIN or entry.kind != "file":
            return None
        tree, at = self._twin
        path = at if entry.path == b"." else at + b"/" + entry.path
        with suppress(OSError, RollbackError):
            seen = tree.stat(path)
            if seen is not None and (seen.st_size, seen.st_mtime_ns) == (
                entry.size,
                entry.mtime_ns,
            ):
                return tree, path
        return None

    def read(self, entry: Entry) -> Iterable[bytes]:
        """The bytes, each block hashed. Raises: ObjectMissing, ObjectCorrupt."""
        blocks = self._store.blocks(entry.sha256, entry.blocks, entry.size)
        return (self._store.get(block) for block in blocks)

    def wholes(self, entries: Iterable[Entry]) -> Iterator[bytes]:
        """The bytes of each of these files, which are one object each; the next ones are read meanwhile.

        They are not hashed: who lays them down hashes what lies there, and asks for `object` where it
        is wrong. Raises: ObjectMissing, ObjectCorrupt.
        """
        return self._objects(entry.sha256 for entry in entries)

    def blocks(self, entry: Entry) -> Blocks | None:
        """How a large file is cut; None of another. Raises: ObjectMissing, ObjectCorrupt."""
        return Blocks.of(entry.size, self._store.get(entry.blocks)) if entry.blocks else None

    def fetch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of blocks, by their raw ids, in order; otherwise as `wholes`."""
        return self._objects(identity.hex() for identity in blocks)

    def object(self, identity: str) -> bytes:
        """The bytes of an object, hashed. Raises: ObjectMissing, ObjectCorrupt."""
        return self._store.get(identity)

    def _objects(self, identities: Iterable[str]) -> Iterator[bytes]:
        for _, got in read_all(self._store, identities, proved=False):
            if isinstance(got, StoreError):
                raise got
            yield got


@contextmanager
def told(
    tree: Tree, at: bytes, hint: str = "", *, kind: type[RollbackError] = HostError
) -> Iterator[None]:
    """A failed system call becomes an error of ours that names the place."""
    try:
        yield
    except OSError as error:
        named = error.filename
        where = show(named) if isinstance(named, str | bytes) and named else tree.place(at)
        if not os.path.isabs(where):
            where = tree.place(at)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            ours = remedy(error, where)
            hint = f"{hint}; {ours}" if hint else ours
        raise kind(
            f"the file system says: {error.strerror or error}", where=where, hint=hint
        ) from error
