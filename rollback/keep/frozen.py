"""Components that nobody may write until they are thawed: modes without write bits, and our own no.

What it cannot stop: root, a process that opened a file to write before, and a process that gives
itself the bits back because the file is its own. Against these there is the immutable flag, where
the file system has it and we may set it. What is frozen for a repair is closed to all others, and
stays open to the repair: its owner, where we are not root, keeps the right to write.

Hides: the file of what was changed, which is written before anything is.
Never: gives back a mode that somebody has changed since.
"""

from __future__ import annotations

import json
import os
import stat as stat_
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rollback.host import Tree
from rollback.host.fixing import fix
from rollback.keep.changes import told
from rollback.keep.entry import path_bytes, path_json
from rollback.keep.scope import Scope
from rollback.model.errors import ObjectCorrupt, Refused
from rollback.model.event import canonical
from rollback.model.finding import Json

_FOLDER = "frozen"
READABLE = 0o7555  # the bits that stay: nobody writes


def repairable() -> int:
    """The bits that stay in what is being repaired: nobody but its owner reads, or uses it.

    Root needs no bit to repair it; anybody else needs its own.
    """
    return 0o7500 if os.geteuid() == 0 else 0o7700


@dataclass(frozen=True)
class Frozen:
    """One component frozen by `run`; `modes` are those before, by path from the root.

    `keeps` are the bits of a mode that stayed.
    """

    run: str
    immutable: bool
    modes: dict[bytes, int]
    keeps: int = READABLE


def read(state: Tree, component: str) -> Frozen | None:
    """How a component is frozen; None when it is not. Raises: ObjectCorrupt."""
    name = _name(component)
    if state.stat(name) is None:
        return None
    try:
        found = json.loads(state.read(name))
        modes = {path_bytes(path): int(mode) for path, mode in found["modes"]}
        keeps = int(found.get("keeps", READABLE))
        return Frozen(str(found["run"]), bool(found["immutable"]), modes, keeps)
    except (ValueError, KeyError, TypeError) as error:
        raise ObjectCorrupt(
            "what was frozen cannot be read", where=state.place(name),
            hint="give the files their modes back by hand, then remove it",
        ) from error  # fmt: skip


def refuse(state: Tree, components: tuple[str, ...], run: str) -> None:
    """None of the components is frozen by another run. Raises: Refused."""
    for component in components:
        found = read(state, component)
        if found is not None and found.run != run:
            raise Refused("frozen", f"component {component} is frozen by run {found.run}",
                          hint="end that run, or thaw it: rollback run thaw")  # fmt: skip


def names(state: Tree) -> tuple[str, ...]:
    """The components that are frozen now."""
    if state.stat(_FOLDER) is None:
        return ()
    found = (os.fsdecode(name) for name in state.names(_FOLDER))
    return tuple(name.removesuffix(".json") for name in found if name.endswith(".json"))


def freeze(
    state: Tree, root: Tree, component: str, at: bytes, scope: Scope, run: str, *,
    immutable: bool, keeps: int = READABLE,
) -> int:  # fmt: skip
    """Nothing in the component has a bit that is not in `keeps`; how many paths were changed.

    Again: what is new, or has got such a bit since, too. Crash: what was to be changed is written
    down, and thawing gives it back. Raises: Refused, also for a file that has another name
    elsewhere: it would be frozen there too.
    """
    refuse(state, (component,), run)
    known = read(state, component)
    if known is not None and known.keeps != keeps:
        thaw(state, root, component, at, scope)
        known = None
    with told(root, at):
        modes = dict(known.modes) if known else {}
        paths = list(_ours(root, at, scope))
        due = [(path, seen) for path, seen in paths if stat_.S_IMODE(seen.st_mode) & ~keeps]
        touched = {path for path, _ in (paths if immutable else due)}
        for path in _elsewhere(dict(paths)):
            if path in touched:
                raise Refused("frozen", "the file has another name outside of the component",
                              where=root.place(path),
                              hint="make it a file of its own: cp it, and move the copy over it")  # fmt: skip
        # what stands there now is what it has to have again
        modes.update({path: stat_.S_IMODE(seen.st_mode) for path, seen in due})
        if state.stat(_FOLDER) is None:
            state.make_folder(_FOLDER)
        body: list[Json] = [[path_json(path), mode] for path, mode in sorted(modes.items())]
        state.write(_name(component), canonical({
            "run": run, "immutable": immutable, "keeps": keeps, "modes": body}))  # fmt: skip
        for path, seen in due:
            root.dress(path, mode=stat_.S_IMODE(seen.st_mode) & keeps, only=_which(seen),
                       links=_links(seen))  # fmt: skip
        if immutable:
            for path, seen in paths:
                fix(root, path, on=True, only=_which(seen))
        root.sync_all()
    return len(due)


def again(state: Tree, root: Tree, component: str, at: bytes, scope: Scope, run: str) -> None:
    """What this run has frozen is so again, whatever it put there meanwhile; else nothing."""
    known = read(state, component)
    if known is not None and known.run == run:
        freeze(state, root, component, at, scope, run, immutable=known.immutable, keeps=known.keeps)


def loose(root: Tree, at: bytes, scope: Scope, keeps: int = READABLE) -> list[bytes]:
    """What in a component has a bit that is not in `keeps`."""
    return [path for path, seen in _ours(root, at, scope) if stat_.S_IMODE(seen.st_mode) & ~keeps]


def thaw(state: Tree, root: Tree, component: str, at: bytes, scope: Scope) -> int:
    """What was frozen has its mode again; how many paths. Again: no change.

    A mode that was changed since stays as it is, and so does a file that has a name elsewhere by now.
    """
    found = read(state, component)
    if found is None:
        return 0
    with told(root, at):
        if found.immutable:
            for path, seen in _ours(root, at, scope):
                fix(root, path, on=False, only=_which(seen))
        looked = {path: root.stat(path) for path in found.modes}
        there = {path: one for path, one in looked.items() if one is not None}
        for path in _elsewhere(there):
            there.pop(path)
        changed = 0
        for path, seen in there.items():
            mode = found.modes[path]
            if stat_.S_IMODE(seen.st_mode) != mode & found.keeps:
                continue
            if stat_.S_ISREG(seen.st_mode) or stat_.S_ISDIR(seen.st_mode):
                root.dress(path, mode=mode, only=_which(seen), links=_links(seen))
                changed += 1
        root.sync_all()
        state.unlink(_name(component))
        state.sync_folder(_FOLDER)
    return changed


def _ours(root: Tree, at: bytes, scope: Scope) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every file and folder of the component, what is below before what is above."""
    top = root.stat(at)
    if top is None:
        return
    if stat_.S_ISREG(top.st_mode):
        yield at, top
        return
    prefix = b"" if at == b"." else at + b"/"
    found = [
        (path, seen)
        for path, seen in root.walk(at, enter=lambda one: scope.enters(one[len(prefix) :]))
        if scope.holds(path[len(prefix) :])
        and (stat_.S_ISREG(seen.st_mode) or stat_.S_ISDIR(seen.st_mode))
    ]
    yield from reversed(found)
    yield at, top


def _elsewhere(found: Mapping[bytes, os.stat_result]) -> list[bytes]:
    """The files that have more names than are among these."""
    names = Counter(_which(seen) for seen in found.values())
    return [path for path, seen in found.items()
            if stat_.S_ISREG(seen.st_mode) and seen.st_nlink > names[_which(seen)]]  # fmt: skip


def _links(seen: os.stat_result) -> int | None:
    """How many names a file has; a look at a name that is just replaced says one too few."""
    return seen.st_nlink if stat_.S_ISREG(seen.st_mode) else None


def _which(seen: os.stat_result) -> tuple[int, int]:
    return seen.st_dev, seen.st_ino


def _name(component: str) -> str:
    return f"{_FOLDER}/{component}.json"
