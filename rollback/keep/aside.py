"""Named paths moved, or copied, out of a tree into the quarantine of one step; moved within it; back.

Hides: where the quarantine is, and in which order names are made durable.
Never: removes a byte; moves over something; moves a mount or what is marked immutable.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat as stat_
from collections.abc import Iterable, Iterator, Sequence

from rollback.host import Host, Tree
from rollback.host.below import checked, show
from rollback.keep.changes import told
from rollback.keep.quarantine import quarantine, set_aside
from rollback.keep.scope import OURS, Scope
from rollback.model.errors import HostError, Refused
from rollback.model.finding import Finding, failed, passed
from rollback.model.quantity import counted

_KEPT = b"kept"
_MARKS = "*?["


def expand(tree: Tree, pattern: str) -> list[bytes]:
    """The paths that stand at `pattern`, part by part: `*`, `?` and `[…]` stop at a slash.

    The tool's own names are never among them. Raises: Confined where a link is in the way.
    """
    found = [b"."]
    for part in checked(pattern).split(b"/"):
        text = os.fsdecode(part)
        wanted: list[bytes] = []
        for folder in found:
            prefix = b"" if folder == b"." else folder + b"/"
            seen = tree.stat(folder)
            if seen is None or not stat_.S_ISDIR(seen.st_mode):
                continue
            if not any(mark in text for mark in _MARKS):
                wanted += [prefix + part] if tree.stat(prefix + part) is not None else []
                continue
            wanted += [prefix + name for name in tree.names(folder)
                       if fnmatch.fnmatchcase(os.fsdecode(name), text)
                       and not name.startswith(OURS)]  # fmt: skip
        found = wanted
    return found


def topmost(paths: Iterable[bytes]) -> list[bytes]:
    """Each path once, without those that lie below another one."""
    kept: list[bytes] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(above + b"/") for above in kept):
            kept.append(path)
    return kept


def movable(tree: Tree, paths: Iterable[bytes]) -> None:
    """Nothing known stands against moving these. Raises: Refused, Confined, OSError."""
    for path in paths:
        found = tree.stat(path)
        if found is None:
            continue
        folder = stat_.S_ISDIR(found.st_mode)
        if (folder or stat_.S_ISREG(found.st_mode)) and tree.fixed(path):
            raise Refused("immutable", "it is marked immutable or append-only",
                          where=tree.place(path), hint="unmark it with: chattr -i -a")  # fmt: skip
        if folder:
            for _ in tree.walk(path):
                pass  # another file system below raises Confined


def put_aside(host: Host, state: Tree, tree: Tree, paths: Sequence[bytes], step: str) -> int:
    """Nothing stands at the paths; what did is in the quarantine of `step`, durably. How many moved.

    Again: what stands there by then goes too. Crash: each path is here or there, whole.
    """
    with told(tree, b"."):
        there = [path for path in paths if tree.stat(path) is not None]
        if not there:
            return 0
        movable(tree, there)
        with quarantine(host, state, tree, there[0], step) as aside:
            for path in there:
                kept = _free(aside, tree, path)
                aside.make_folder(os.path.dirname(kept), parents=True)
                tree.move(path, aside, kept, alone=True)
            for folder in sorted({os.path.dirname(path) or b"." for path in there}):
                tree.sync_folder(folder)
            aside.sync_all()
    return len(there)


def take_back(host: Host, state: Tree, tree: Tree, paths: Sequence[bytes], step: str) -> int:
    """What `put_aside` took stands where it stood. Again: no change. Raises: HostError."""
    moved = 0
    with told(tree, b"."):
        if not paths:
            return 0
        with quarantine(host, state, tree, paths[0], step) as aside:
            for path in paths:
                kept = _KEPT + b"/" + path
                if aside.stat(kept) is None:
                    continue
                if tree.stat(path) is not None and not aside.same(kept, tree, path):
                    raise HostError("something else stands where this has to come back to",
                                    where=tree.place(path),
                                    hint=f"what was there is {show(aside.place(kept))}")  # fmt: skip
                above = os.path.dirname(path)
                if above:
                    tree.make_folder(above, mode=0o755, parents=True)
                aside.move(kept, tree, path)
                tree.sync_folder(above or b".")
                moved += 1
            _prune(aside)
    return moved


def back(host: Host, state: Tree, tree: Tree, paths: Sequence[bytes], step: str) -> Finding:
    """PASS when all that `put_aside` was given stands where it stood, and none of it lies aside."""
    if not paths:
        return passed("nothing was moved aside")
    away = [path for path in paths if tree.stat(path) is None]
    with set_aside(host, state, tree, paths[0], step) as aside:
        left = [path for path in paths if aside and aside.stat(_KEPT + b"/" + path) is not None]
    if away or left:
        return failed(f"{counted(len(left or away), 'path')} not where it was, "
                      f"first {show((left or away)[0])}")  # fmt: skip
    return passed(f"{counted(len(paths), 'path')} where it was")


def copy_aside(
    host: Host, state: Tree, tree: Tree, paths: Sequence[bytes], scope: Scope, step: str
) -> dict[bytes, str]:
    """What stands at the paths, as far as it is in `scope`, stands in the quarantine of `step` too.

    0600, read back, durable; the SHA-256 of each file by its path. `scope` is about the first path.
    Again, also after a crash: what stands there by then is copied. What is no file, folder or link
    is left out. Raises: HostError, OSError.
    """
    digests: dict[bytes, str] = {}
    there = [path for path in paths if tree.stat(path) is not None]
    with told(tree, b"."):
        if not there:
            return digests
        with quarantine(host, state, tree, there[0], step) as aside:
            for path, seen in all_at(tree, there, scope):
                kept = _KEPT if path == b"." else _KEPT + b"/" + path
                if stat_.S_ISDIR(seen.st_mode):
                    aside.make_folder(kept, parents=True)
                    continue
                aside.make_folder(os.path.dirname(kept), parents=True)
                if aside.stat(kept) is not None:
                    aside.unlink(kept)
                if stat_.S_ISLNK(seen.st_mode):
                    aside.symlink(tree.readlink(path), kept)
                elif stat_.S_ISREG(seen.st_mode):
                    with tree.reading(path) as file, aside.draft(kept, sync=False) as draft:
                        for _ in draft.take(file, seen.st_size):
                            pass
                        draft.fit(min(seen.st_size, file.stat().st_size))  # a hole may end it
                        whole = hashlib.sha256()
                        for chunk in draft.reading.all():
                            whole.update(chunk)
                        digests[path] = whole.hexdigest()
            aside.sync_all()
    return digests


def all_at(
    tree: Tree, paths: Sequence[bytes], scope: Scope
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Everything at and below the paths; folders before what is in them."""
    for at in paths:
        found = tree.stat(at)
        if found is None:
            continue
        yield at, found
        prefix = 0 if at == b"." else len(at) + 1
        if stat_.S_ISDIR(found.st_mode):
            for path, seen in tree.walk(at, enter=lambda one, n=prefix: scope.enters(one[n:])):  # type: ignore[misc]
                if scope.holds(path[prefix:]):
                    yield path, seen


def _free(aside: Tree, tree: Tree, path: bytes) -> bytes:
    """A name in quarantine where nothing stands, but perhaps this file, on its way when it ended."""
    number = 1
    while True:
        base = _KEPT if number == 1 else _KEPT + b"-%d" % number
        name = base + b"/" + path
        above = os.path.dirname(name)
        blocked = any(
            (found := aside.stat(above[:at])) is not None and not stat_.S_ISDIR(found.st_mode)
            for at in [*(n for n, c in enumerate(above) if c == 0x2F), len(above)]
        )
        if not blocked and (aside.stat(name) is None or aside.same(name, tree, path)):
            return name
        number += 1


def _prune(aside: Tree) -> None:
    """Folders that held what was taken back, and hold nothing any more, are gone."""
    if aside.stat(_KEPT) is None:
        return
    folders = [path for path, seen in aside.walk(_KEPT) if stat_.S_ISDIR(seen.st_mode)]
    for path in [*reversed(folders), _KEPT]:
        if not aside.names(path):
            aside.remove_folder(path)


def free_name(tree: Tree, folder: bytes, name: bytes, taken: Iterable[bytes] = ()) -> bytes:
    """The path for `name` in a folder where nothing stands: with `.2`, `.3` … where one does."""
    used = set(taken)
    number = 1
    while True:
        path = folder + b"/" + (name if number == 1 else name + b".%d" % number)
        if tree.stat(path) is None and path not in used:
            return path
        number += 1


def move_all(tree: Tree, pairs: Sequence[tuple[bytes, bytes]]) -> int:
    """What stood at the first path of each pair stands at the second, where nothing stood.

    Again: no change. Crash: each is at one of the two. Raises: HostError, Refused.
    """
    with told(tree, b"."):
        due = [(source, target) for source, target in pairs if tree.stat(source) is not None]
        movable(tree, [source for source, _ in due])
        for source, target in due:
            if tree.stat(target) is not None and not tree.same(source, tree, target):
                raise HostError("something came to stand where this has to go",
                                where=tree.place(target), hint="plan again")  # fmt: skip
        for source, target in due:
            tree.make_folder(os.path.dirname(target) or b".", mode=0o755, parents=True)
            tree.move(source, tree, target)
        for folder in sorted({os.path.dirname(p) or b"." for pair in due for p in pair}):
            tree.sync_folder(folder)
    return len(due)
