"""How the live tree differs from the entries of a source, found before anything is changed.

A file is the same when its bytes, mode, owner, time, hard-link group and declared extended
attributes are; a folder when its mode, owner, time and declared attributes are.

Hides: how a difference is found, while others may be at work in the tree.
Never: changes anything.
"""

from __future__ import annotations

import hashlib
import os
import stat as stat_
from collections.abc import Iterable, Iterator

from rollback.host import Clock, Tree
from rollback.host.below import show
from rollback.keep.attributes import concerned, missing
from rollback.keep.attributes import told as attributes_told
from rollback.keep.blocks import digest
from rollback.keep.changes import Changes, StoredSource, told
from rollback.keep.entry import Entry, Source, check, in_order, order
from rollback.keep.plan import Plan, type_of
from rollback.keep.scope import Scope
from rollback.keep.survey import Folder, Survey, below, gone
from rollback.model.errors import Confined

LOOKS_MAX = 20  # at a file that is there and gone by turns; by then somebody works against us


def changes(
    source: Source, tree: Tree, *, at: bytes, scope: Scope | None = None,
    removes: frozenset[bytes] | None = None, deep: bool = True, first_out: Iterable[bytes] = (),
    xattrs: tuple[str, ...] = (),
) -> Changes:  # fmt: skip
    """What `put_back` with the same arguments would change; nothing is changed.

    `at` is the component below the root `tree`. What the source does not hold is extra and goes
    to quarantine: all of it, or only the paths in `removes`. Without `deep`, a file of the same
    size, mode, owner and time is believed to be the same.
    `first_out` are full paths of single files beside the component that must go with it.
    Raises: Confined when the source is no tree, or reaches what is reserved; HostError.
    """
    with told(tree, at):
        plan = make_plan(source, tree, at=at, scope=scope, removes=removes, deep=deep,
                         first_out=first_out, xattrs=xattrs)  # fmt: skip
        return plan.public()


def make_plan(
    source: Source, tree: Tree, *, at: bytes, scope: Scope | None = None,
    removes: frozenset[bytes] | None = None, deep: bool = True, first_out: Iterable[bytes] = (),
    xattrs: tuple[str, ...] = (),
) -> Plan:  # fmt: skip
    """The plan behind `changes`."""
    survey = Survey(tree, at, scope or Scope(), Clock(), moving=True)
    plan = Plan(at, xattrs=xattrs)
    if isinstance(source, StoredSource):
        survey.heard, plan.heard = source.looked, source.reading().add
    plan.first_out = [path for path in first_out if tree.stat(path) is not None]
    narrowed = source.against(survey) if isinstance(source, StoredSource) else None
    if narrowed is None:
        _want(plan, check(source.entries()), survey.scope)
        _look(plan, survey)
    else:
        _want(plan, in_order(narrowed.entries), survey.scope)
        plan.digests = narrowed.digests
        _add_top(plan, survey)
        for folder in narrowed.folders:
            _add(plan, folder)
    _compare(plan, tree, source, deep)
    _extras(plan, removes)
    return plan


def _want(plan: Plan, entries: tuple[Entry, ...], scope: Scope) -> None:
    """The entries that are ours, and the folders that they need."""
    left = 0
    standing = scope.sorter()
    for entry in entries:
        stands = standing(entry.path)
        if stands == "reserved":
            raise Confined(
                "the source holds a path that no restore may write",
                where=show(plan.full(entry.path)),
            )
        if stands == "ours":
            plan.wanted[entry.path] = entry
        else:
            left += 1
    if left:
        plan.notes.append(f"{left} captured paths are excluded now and left as they are")
    for path, entry in list(plan.wanted.items()):
        if entry.kind == "hardlink" and entry.target not in plan.wanted:
            raise Confined("a hard link to a file that is excluded", where=show(plan.full(path)))
        for above in _above(path):
            if above in plan.wanted:
                break  # what stands above that one was made sure of when it came
            plan.wanted[above] = Entry(above, "folder")
    if plan.wanted and b"." not in plan.wanted:
        plan.wanted[b"."] = Entry(b".", "folder")
    plan.wanted = dict(sorted(plan.wanted.items(), key=lambda item: order(item[0])))


def _look(plan: Plan, survey: Survey) -> None:
    """What is live and ours; folders above anything that is not ours stay where they are."""
    found = _add_top(plan, survey)
    if found is not None and stat_.S_ISDIR(found.st_mode):
        for folder in survey.folders(b".", found):
            _add(plan, folder)


def _add_top(plan: Plan, survey: Survey) -> os.stat_result | None:
    found = survey.root.stat(plan.at)
    if found is not None:
        plan.live[b"."] = found
    return found


def _add(plan: Plan, folder: Folder) -> None:
    for name, seen in folder.children:
        path = below(folder.path, name)
        if name in folder.loose and path not in plan.wanted:
            continue
        plan.live[path] = seen
        if seen.st_nlink > 1 and stat_.S_ISREG(seen.st_mode):
            plan.names.setdefault((seen.st_dev, seen.st_ino), set()).add(path)
    for name, seen in folder.specials:
        plan.live[below(folder.path, name)] = seen
    for path in (*(path for path, _ in folder.others), *folder.own):
        _add_above(plan.kept_open, path)


def _above(path: bytes) -> Iterator[bytes]:
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path
    yield b"."


def _add_above(found: set[bytes], path: bytes) -> None:
    """Everything above `path`; where one is in the set already, so is all above that."""
    for above in _above(path):
        if above in found:
            break
        found.add(above)
    found.add(b".")


def _compare(plan: Plan, tree: Tree, source: Source, deep: bool) -> None:
    groups = _groups(plan)
    for path, entry in plan.wanted.items():
        for left in reversed(range(LOOKS_MAX)):
            try:
                _compare_one(plan, tree, source, entry, groups.get(path, set()), deep)
                break
            except OSError as error:
                if not (left and gone(error)):
                    raise
                _look_at(plan, tree, path)
    for path, entry in plan.wanted.items():
        if entry.kind == "hardlink" and path not in plan.write:
            _compare_hardlink(plan, path, entry)


def _look_at(plan: Plan, tree: Tree, path: bytes) -> None:
    """It was there, and was gone when it was to be read."""
    found = tree.stat(plan.full(path))
    if found is None:
        plan.live.pop(path, None)
    else:
        plan.live[path] = found


def _compare_one(
    plan: Plan, tree: Tree, source: Source, entry: Entry, group: set[bytes], deep: bool
) -> None:
    path = entry.path
    live = plan.live.get(path)
    if entry.kind == "folder":
        _compare_folder(plan, tree, path, entry, live)
    elif live is not None and stat_.S_ISDIR(live.st_mode):
        if path in plan.kept_open:
            raise Confined("a folder with excluded files in it stands where a file has to be",
                           where=show(plan.full(path)))  # fmt: skip
        plan.retype.add(path)
        plan.write[path] = f"folder -> {entry.kind}"
    elif entry.kind == "symlink":
        _compare_link(plan, tree, path, entry, live)
    elif entry.kind == "file":
        _compare_file(plan, tree, source, path, entry, live, group, deep)


def _compare_folder(
    plan: Plan, tree: Tree, path: bytes, entry: Entry, live: os.stat_result | None
) -> None:
    if live is None:
        plan.make.append(path)
    elif not stat_.S_ISDIR(live.st_mode):
        plan.make.append(path)
        plan.retype.add(path)
    elif why := _dressed(plan, tree, path, entry, live):
        plan.dress[path] = why


def _compare_link(
    plan: Plan, tree: Tree, path: bytes, entry: Entry, live: os.stat_result | None
) -> None:
    if live is None:
        plan.write[path] = ""
    elif not stat_.S_ISLNK(live.st_mode):
        plan.write[path] = f"{type_of(live)} -> symlink"
        plan.retype.add(path)
    elif tree.readlink(plan.full(path)) != entry.target:
        plan.write[path] = "target"
    elif why := _worn(entry, live, mode=False):
        plan.dress[path] = why


def _groups(plan: Plan) -> dict[bytes, set[bytes]]:
    """The paths that are one file, by the path of the entry that holds its bytes."""
    groups = {path: {path} for path, entry in plan.wanted.items() if entry.kind == "file"}
    for path, entry in plan.wanted.items():
        if entry.kind == "hardlink":
            groups[entry.target].add(path)
    return groups


def _compare_file(
    plan: Plan, tree: Tree, source: Source, path: bytes, entry: Entry,
    live: os.stat_result | None, group: set[bytes], deep: bool,
) -> None:  # fmt: skip
    if live is None:
        plan.write[path] = ""
        return
    if not stat_.S_ISREG(live.st_mode):
        plan.write[path] = f"{type_of(live)} -> file"
        plan.retype.add(path)
        return
    worn = _dressed(plan, tree, path, entry, live)
    if live.st_size != entry.size and entry.digest:
        plan.write[path] = "bytes"
    elif (deep or worn or not entry.digest) and not _same_bytes(plan, tree, source, entry):
        plan.write[path] = "bytes"
    elif live.st_nlink > 1 and not _same_names(plan, live) <= group:
        plan.write[path] = "it has other names"
    elif worn and live.st_nlink > max(1, len(_same_names(plan, live))):
        plan.write[path] = f"{worn}; it has names elsewhere"
    elif worn:
        plan.dress[path] = worn


def _same_names(plan: Plan, live: os.stat_result) -> set[bytes]:
    return plan.names.get((live.st_dev, live.st_ino), set())


def _compare_hardlink(plan: Plan, path: bytes, entry: Entry) -> None:
    """A name is right when it stands on the same inode as its first one, which stays."""
    live, first = plan.live.get(path), plan.live.get(entry.target)
    if live is None:
        plan.write[path] = ""
    elif not stat_.S_ISREG(live.st_mode):
        plan.write[path] = f"{type_of(live)} -> hardlink"
        plan.retype.add(path)
    elif entry.target in plan.write:
        plan.write[path] = "its first name is written"
    elif first is None or (live.st_dev, live.st_ino) != (first.st_dev, first.st_ino):
        plan.write[path] = "it is another file"
    elif entry.target in plan.dress:
        plan.dress[path] = plan.dress[entry.target]


def _extras(plan: Plan, removes: frozenset[bytes] | None) -> None:
    """What is live and not wanted: the topmost paths that can move whole."""
    extra = {path for path in plan.live if path not in plan.wanted and path != b"."}
    if not plan.wanted and plan.at != b"." and b"." in plan.live:
        extra.add(b".")  # the component was not there at all
    if removes is not None:
        extra &= removes
    stay = set(plan.kept_open)
    for path in plan.live:
        if path not in extra:
            _add_above(stay, path)
    gone: set[bytes] = {path for path in plan.retype if plan.wanted[path].kind != "folder"}
    for path in sorted(extra, key=order):
        if path != b"." and (os.path.dirname(path) or b".") in gone:
            gone.add(path)
            continue
        live = plan.live[path]
        if stat_.S_ISDIR(live.st_mode) and path in stay:
            continue
        if not _plain(live) and path not in (removes or ()):
            plan.notes.append(f"{show(plan.full(path))}: a {type_of(live)} is left as it is")
            continue
        plan.away.append(path)
        gone.add(path)


def _dressed(plan: Plan, tree: Tree, path: bytes, entry: Entry, live: os.stat_result) -> str:
    """What `_worn` says, and which declared extended attributes differ."""
    worn = _worn(entry, live)
    if not concerned(entry, plan.xattrs):
        return worn
    wanted = missing(entry, tree.attributes(plan.full(path)), plan.xattrs)
    if wanted:
        plan.attributes[path] = wanted
        worn = ", ".join(filter(None, (worn, attributes_told(wanted))))
    return worn


def _worn(entry: Entry, live: os.stat_result, *, mode: bool = True) -> str:
    """Which of mode, owner and time differ, for people; empty when none does."""
    found = []
    live_mode = stat_.S_IMODE(live.st_mode)
    if mode and entry.mode is not None and entry.mode != live_mode:
        found.append(f"mode {live_mode:04o} -> {entry.mode:04o}")
    owner = entry.owner
    if owner is not None and owner != (live.st_uid, live.st_gid):
        found.append(f"owner {live.st_uid}:{live.st_gid} -> {owner[0]}:{owner[1]}")
    if entry.mtime_ns is not None and entry.mtime_ns != live.st_mtime_ns:
        found.append("time")
    return ", ".join(found)


def tree_hash(tree: Tree, full: bytes) -> str:
    """The digest of a regular file as it is now."""
    with tree.reading(full) as file:
        return digest(file)


def _same_bytes(plan: Plan, tree: Tree, source: Source, entry: Entry) -> bool:
    """Whether the live file holds what the source does; of a large one read up to a difference."""
    known = plan.digests.get(entry.path)
    if known and known == entry.digest:
        return True
    full = plan.full(entry.path)
    plan.heard(entry.size)
    blocks = source.blocks(entry) if isinstance(source, StoredSource) else None
    if blocks is None:
        return (known or tree_hash(tree, full)) == _digest(source, entry)
    with tree.reading(full) as file:
        return next(blocks.differing(file), None) is None


def _digest(source: Source, entry: Entry) -> str:
    if entry.sha256:
        return entry.sha256
    whole = hashlib.sha256()
    for chunk in source.read(entry):
        whole.update(chunk)
    return whole.hexdigest()


def _plain(found: os.stat_result) -> bool:
    mode = found.st_mode
    return stat_.S_ISREG(mode) or stat_.S_ISDIR(mode) or stat_.S_ISLNK(mode)
