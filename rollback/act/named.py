"""Paths that a step names below the root: what stands there, whose it is, what may not be moved.

Hides: which paths no step may move: the tool's own, git's own, what is only ever added to.
Never: changes anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from rollback.act.scene import Scene
from rollback.host import Tree
from rollback.host.below import show
from rollback.keep.aside import expand, topmost
from rollback.keep.entry import path_bytes, path_json
from rollback.keep.quarantine import reserved
from rollback.keep.scope import REPOSITORIES, Scope
from rollback.model.errors import PlanError, Refused
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.quantity import counted
from rollback.model.registry import nearest


def root(scene: Scene) -> Tree:
    """The root of the system, opened; use it in `with`."""
    return scene.host.tree(os.fsencode(scene.system.root_path.resolve()))


def standing(scene: Scene, patterns: Iterable[str]) -> list[bytes]:
    """What stands at the patterns now, topmost paths, each of which may be moved. Raises: Refused."""
    with root(scene) as tree:
        found = topmost(path for pattern in patterns for path in expand(tree, pattern))
        held = [*reserved(scene.system, scene.state.tree, tree, b".")]
    for path in found:
        _allowed(scene, path, held)
    return found


def _allowed(scene: Scene, path: bytes, held: list[bytes]) -> None:
    system = scene.system
    if path == b"." or any(_meet(path, one) for one in held):
        raise Refused("own-state", "the tool's own files lie there", where=show(path))
    if b".git" in path.split(b"/"):
        raise Refused("git", "it belongs to the repository, which only git steps change",
                      where=show(path))  # fmt: skip
    for one in system.guardrails.protected_paths:
        if _meet(path, os.fsencode(one)):
            raise Refused("protected-paths", f"{one} is a path that no run may change",
                          where=show(path))  # fmt: skip
    for name, component in system.components.items():
        if component.content == "append-only" and _meet(path, os.fsencode(component.path)):
            raise Refused("append-only", f"component {name} is only ever added to",
                          where=show(path))  # fmt: skip


def touched(scene: Scene, paths: Iterable[bytes]) -> tuple[str, ...]:
    """The components that these paths are part of, or that are part of them."""
    listed = list(paths)
    return tuple(
        name for name, component in scene.system.components.items()
        if any(_meet(path, os.fsencode(component.path)) for path in listed)
    )  # fmt: skip


def listed(paths: Iterable[bytes]) -> list[Json]:
    """Paths for `bound`."""
    return [path_json(path) for path in paths]


def read(written: Any) -> list[bytes]:
    """What `listed` wrote."""
    return [path_bytes(one) for one in written]


def pairs(scene: Scene) -> list[tuple[bytes, bytes]]:
    """Where each path stood, and where it goes: what `listed` wrote as `from` and `to`."""
    return list(zip(read(scene.bound["from"]), read(scene.bound["to"]), strict=True))


def back(scene: Scene) -> Finding:
    """Does each of the `pairs` stand where it stood?"""
    with root(scene) as tree:
        away = [source for source, _ in pairs(scene) if tree.stat(source) is None]
        left = [target for _, target in pairs(scene) if tree.stat(target) is not None]
    if away or left:
        return failed(f"{counted(len(away or left), 'path')} not as before the run, "
                      f"first {show((away or left)[0])}")  # fmt: skip
    return passed(f"{counted(len(pairs(scene)), 'path')} as before the run")


def step_name(scene: Scene) -> str:
    """The name of this step's quarantine."""
    return f"{scene.run}-{scene.step}"


def whole(scene: Scene, name: str) -> tuple[bytes, Scope]:
    """Where a component is, and what of it is ours. Raises: PlanError."""
    component = scene.system.components.get(name)
    if component is None:
        raise PlanError(f"there is no component {name}",
                        hint=nearest(name, tuple(scene.system.components)))  # fmt: skip
    at = os.fsencode(component.path)
    with root(scene) as tree:
        held = frozenset(reserved(scene.system, scene.state.tree, tree, at))
    return at, Scope(exclude=component.exclude, only=component.paths, reserved=held,
                     reserved_names=REPOSITORIES)  # fmt: skip


def _meet(one: bytes, other: bytes) -> bool:
    return b"." in (one, other) or one == other or one.startswith(other + b"/") or (
        other.startswith(one + b"/")
    )  # fmt: skip
