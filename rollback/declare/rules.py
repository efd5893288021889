"""What the shape cannot say: folders that must not meet, circles, people, numbers, order.

Hides: the rules, one function each.
Never: looks at the machine.
"""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError

from rollback.declare import (
    authority,
    complete,
    copies,
    literals,
    messages,
    references,
    services,
    standing,
    walk,
    windows,
)
from rollback.declare.places import Places
from rollback.declare.text import Document
from rollback.declare.text import Path as Spot
from rollback.model.errors import Problem
from rollback.model.registry import kinds, nearest, read_item
from rollback.model.step import NOT_EXEMPT, NOT_EXEMPT_HINT, Step
from rollback.model.system import HOME

CONTENTS = ("files", "sqlite", "postgres", "append-only", "git")
_NUMBERED = ("load", "memory", "metric")  # a queue says by itself what it needs: a depth or a time
_LIMITS = ("above", "below", "at_least", "at_most", "equals")


def check(document: Document, data: dict[str, Any], found: Places) -> None:
    """Whatever the shape cannot say is among the document's problems."""
    references.check(document, data)
    authority.check(document, data)
    windows.check(document, data)
    literals.check(document, data)
    messages.check(document, data)
    _folders(document, data, found)
    _circles(document, data)
    _unique(document, data)
    _levels(document, data)
    _checks(document, data)
    _contents(document, data)
    _scans(document, data)
    _environments(document, data)
    _exempt(document, data)
    copies.check(document, data, found)
    services.check(document, data)
    standing.check(document, data, found)
    complete.check(document, data)


def _wrong(document: Document, path: Spot, message: str, hint: str) -> None:
    name = ".".join(str(part) for part in path)
    document.problems.append(Problem(document.where(path), f"{name}: {message}", hint))


# -- folders --------------------------------------------------------------------------------------


def _folders(document: Document, data: dict[str, Any], found: Places) -> None:
    for spot in (
        ("root",),
        ("state", "dir"),
        ("state", "fallback"),
        ("state", "anchor"),
        ("environment", "file"),
    ):
        value = walk.at(data, spot)
        if isinstance(value, str) and ".." in value.split("/"):
            _wrong(document, spot, f"{value!r} leaves the folder of the declaration by '..'",
                   "write it below the folder, or absolute")  # fmt: skip
    roots: list[tuple[str, Path, dict[str, Any]]] = []
    components = data.get("components")
    for name, one in components.items() if isinstance(components, dict) else ():
        if isinstance(one, dict) and one.get("content") != "postgres":  # it lies on its server
            roots += [(name, path, one) for path in _paths(one, found.root)]
    for name, path, _ in roots:
        _apart_from_state(document, name, path, found)
    for spot in (("state", "fallback"), ("state", "anchor")):
        written = walk.at(data, spot)
        place = Path(os.path.normpath(found.folder / written)) if isinstance(written, str) else None
        for name, path, _ in roots:
            if place is not None and (place == path or path in place.parents):
                _wrong(document, spot, f"lies inside component {name!r}",
                       "write a path that is no part of the system")  # fmt: skip
    _places(document, data, found, roots)
    for index, (name, path, one) in enumerate(roots):
        for other, theirs, shape in roots[:index]:
            _apart(document, (name, path, one), (other, theirs, shape))


def _places(
    document: Document, data: dict[str, Any], found: Places, roots: list[tuple[str, Path, Any]]
) -> None:
    """What is done in a place is done to nothing that is kept or put back."""
    declared = data.get("places")
    for name, one in declared.items() if isinstance(declared, dict) else ():
        written = walk.at(one, ("path",))
        spot = ("places", name, "path")
        if not isinstance(written, str):
            continue
        if "\0" in written or not written.isprintable() or ".." in written.split("/"):
            _wrong(document, spot, f"{written!r} is not a plain path",
                   "write it absolute, or below the root, without '..'")  # fmt: skip
            continue
        path = Path(os.path.normpath(found.root / written))
        root = Path(os.path.normpath(found.root))
        may = {text for _, text in walk.texts((), one.get("may"))}
        # a shared folder like /tmp: clearing passes over whatever holds the root or the state
        above = path in root.parents and may and may <= {"read", "clear"}
        if path == root or (path in root.parents and not above):
            _wrong(document, spot, "holds the root of the system",
                   "name the one folder that is meant")  # fmt: skip
        elif _overlap(path, found.state) and not above:
            _wrong(document, spot, f"overlaps the tool's own state ({found.state.name})",
                   "choose a folder outside of state.dir")  # fmt: skip
        for component, theirs, shape in roots:
            rest = path.relative_to(theirs) if theirs in path.parents else None
            out = rest is not None and _excludes(shape, rest)
            if path not in root.parents and path != root and _overlap(path, theirs) and not out:
                _wrong(document, spot, f"overlaps component {component!r}",
                       "choose a folder that no restore puts back")  # fmt: skip


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents


def _excludes(shape: dict[str, Any], rest: Path) -> bool:
    patterns = [p for _, p in walk.texts((), shape.get("exclude"))]
    return any(fnmatch.fnmatch(str(rest), p) or str(rest).startswith(p.rstrip("/*") + "/")
               or str(rest) == p.rstrip("/*") for p in patterns)  # fmt: skip


def _paths(one: dict[str, Any], root: Path) -> list[Path]:
    path = one.get("path", ".")
    inner = one.get("paths") or ["."]
    if not isinstance(path, str) or not isinstance(inner, list) or "\0" in path:
        return []
    return [Path(os.path.normpath(root / path / p)) for p in inner
            if isinstance(p, str) and "\0" not in p]  # fmt: skip


def _apart_from_state(document: Document, name: str, path: Path, found: Places) -> None:
    spot = ("components", name, "path")
    if found.state == path or path in found.state.parents:
        _wrong(document, spot, f"holds the tool's own state ({found.state.name})",
               "write a path beside it, or move the state: state: {dir: /var/lib/rollback/NAME}",
               )  # fmt: skip
    elif found.state in path.parents:
        _wrong(document, spot, "lies inside the tool's own state",
               "choose a path outside of state.dir")  # fmt: skip


def _apart(document: Document, one: tuple[str, Path, Any], other: tuple[str, Path, Any]) -> None:
    (name, path, shape), (theirs, their_path, their_shape) = one, other
    if path == their_path:
        if name != theirs:
            _wrong(document, ("components", name, "path"),
                   f"is also the path of component {theirs!r}",
                   "give each part of the system to one component")  # fmt: skip
        return
    if their_path in path.parents:
        outer, inner, exclude, rest = theirs, name, their_shape, path.relative_to(their_path)
    elif path in their_path.parents:
        outer, inner, exclude, rest = name, theirs, shape, their_path.relative_to(path)
    else:
        return
    if _excludes(exclude, rest):
        return
    _wrong(document, ("components", inner, "path"), f"lies inside component {outer!r}",
           f"exclude it there: components: {{{outer}: {{exclude: [{rest}]}}}}")  # fmt: skip


# -- circles and doubles --------------------------------------------------------------------------


def _circles(document: Document, data: dict[str, Any]) -> None:
    for section, key in (("components", "depends_on"), ("services", "depends_on"),
                         ("levels", "on_fail.climb"), ("people.roles", "reports_to")):  # fmt: skip
        spot = tuple(section.split("."))
        written = walk.at(data, spot)
        edges = {}
        for name, one in written.items() if isinstance(written, dict) else ():
            value = walk.at(one, tuple(key.split(".")))
            edges[name] = [text for _, text in walk.texts((), value)]
        way = walk.circle(edges)
        if way:
            _wrong(document, (*spot, way[0], *key.split(".")), "a circle: " + " → ".join(way),
                   f"remove one of these: {key}")  # fmt: skip


def _unique(document: Document, data: dict[str, Any]) -> None:
    for pattern in ("triggers", "people.members", "drills", "decision.tree", "decision.scores",
                    "decision.tiers", "decision.breakers", "guardrails.conditions", "prevention",
                    "redeploy.stages", "levels.*.checklist", "procedures.*.checklist",
                    "levels.*.phases", "procedures.*.phases", "services.*.start",
                    "decision.points.*.options", "verification.divergence"):  # fmt: skip
        for path, items in walk.find(data, pattern):
            seen: dict[str, Spot] = {}
            for index, one in enumerate(items if isinstance(items, list) else ()):
                name = one.get("id") if isinstance(one, dict) else None
                if isinstance(name, str):
                    _once(document, seen, name, (*path, index, "id"))
    _rules(document, data)
    checks: dict[str, Spot] = {}
    for _, found in walk.checks(data):
        name = found.parameters.get("id")
        if isinstance(name, str):
            _once(document, checks, name, (*found.path, "id"))
        elif not found.planned:
            _wrong(document, found.path, "a check of verification needs a name",
                   "add id: a-name")  # fmt: skip
    steps: dict[tuple[Spot, str], Spot] = {}
    for owner, step in walk.steps(data):
        name = step.parameters.get("id")
        if isinstance(name, str):
            first = steps.setdefault((owner, name), (*step.path, "id"))
            if first != (*step.path, "id"):
                _twice(document, name, first, (*step.path, "id"))


def _rules(document: Document, data: dict[str, Any]) -> None:
    """A severity with `when` is a trigger by its word: which of two rules decided must be plain."""
    triggers = data.get("triggers")
    ids: dict[str, Spot] = {}
    for index, one in enumerate(triggers if isinstance(triggers, list) else ()):
        name = one.get("id") if isinstance(one, dict) else None
        if isinstance(name, str):
            ids.setdefault(name, ("triggers", index, "id"))
    for path, _ in walk.find(data, "severity.*.when"):
        name = str(path[1])
        if name in ids:
            _twice(document, name, ids[name], path[:-1])


def _once(document: Document, seen: dict[str, Spot], name: str, path: Spot) -> None:
    if name in seen:
        _twice(document, name, seen[name], path)
    seen.setdefault(name, path)


def _twice(document: Document, name: str, first: Spot, second: Spot) -> None:
    lines = f"lines {document.line(first)} and {document.line(second)}"
    _wrong(document, second, f"the id {name!r} is used twice: {lines}", "rename one of the two")


# -- levels, checks, contents ---------------------------------------------------------------------


def _levels(document: Document, data: dict[str, Any]) -> None:
    ranks: dict[int, str] = {}
    levels = data.get("levels")
    if isinstance(levels, dict) and not levels:
        _wrong(document, ("levels",), "no level: nothing could be rolled back",
               "declare one: rollback init shows how")  # fmt: skip
    for name, one in levels.items() if isinstance(levels, dict) else ():
        if not isinstance(one, dict):
            continue
        rank = one.get("rank")
        if isinstance(rank, int):
            if rank in ranks:
                _wrong(document, ("levels", name, "rank"),
                       f"rank {rank} is also that of {ranks[rank]!r}",
                       "give each level a rank of its own")  # fmt: skip
            ranks.setdefault(rank, name)
        climb = walk.at(one, ("on_fail", "climb"))
        higher = walk.at(levels, (climb, "rank")) if isinstance(climb, str) else None
        if isinstance(rank, int) and isinstance(higher, int) and higher <= rank:
            _wrong(document, ("levels", name, "on_fail", "climb"),
                   f"{climb!r} has rank {higher}, which is not above {rank}",
                   "climb to a level of a higher rank")  # fmt: skip
        variants, chosen = one.get("variants"), one.get("variant")
        if isinstance(variants, dict) and isinstance(chosen, str) and chosen not in variants:
            _wrong(document, ("levels", name, "variant"), f"there is no variant {chosen!r}",
                   nearest(chosen, list(variants)) or "name one of the variants")  # fmt: skip
        _wants_target(document, name, one)


def _wants_target(document: Document, name: str, level: dict[str, Any]) -> None:
    if isinstance(level.get("target"), dict):
        return
    for path, written in walk.find(level, "steps.*"):
        step = walk.item(("levels", name, *path), written)
        if step and step.kind == "restore" and not step.planned and "from" not in step.parameters:
            _wrong(document, step.path, "restores, but the level has no target",
                   "add target: {sources: [{checkpoint: last-good}]}")  # fmt: skip


def _checks(document: Document, data: dict[str, Any]) -> None:
    for _, found in walk.checks(data):
        if found.planned or found.kind not in _NUMBERED:
            continue
        numbers = [path for path, _ in walk.leaves(found.parameters) if path[-1] in _LIMITS]
        if not numbers:
            _wrong(document, found.path, "a check without a number proves nothing",
                   "add a limit, like {below: 250ms} or {above: 0}")  # fmt: skip


def _scans(document: Document, data: dict[str, Any]) -> None:
    for path, name in walk.find(data, "metrics.*.source.integrity.component"):
        if walk.at(data, ("components", name, "volatile")) is True:
            _wrong(document, path, f"component {name!r} is volatile: it differs by nature",
                   "name one that is not, or measure what it holds with a check")  # fmt: skip


def _contents(document: Document, data: dict[str, Any]) -> None:
    known = tuple(dict.fromkeys((*CONTENTS, *kinds("content"))))
    for path, value in walk.find(data, "components.*.content"):
        if isinstance(value, str) and value not in known:
            _wrong(document, path, f"there is no content {value!r}", nearest(value, known))
        if value in ("sqlite", "append-only"):
            spot = (*path[:-1], "xattrs")
            if walk.at(data, spot):
                _wrong(document, spot, f"is {value}, of which no extended attributes are kept",
                       "leave xattrs out")  # fmt: skip
        if value == "git" and not isinstance(data.get("repository"), dict):
            _wrong(document, path, "is git, but no repository is declared",
                   "add repository: {path: .}")  # fmt: skip


_CHANGES = (
    "restore",
    "remove",
    "move",
    "requeue",
    "quarantine",
    "clear",
    "freeze",
    "thaw",
    "git",
    "edit",
    "flag",
    "service",
    "set",
    "take-back",
)


def _environments(document: Document, data: dict[str, Any]) -> None:
    """A step that works elsewhere finds something there, and so does what stands beside it."""
    declared = data.get("environments")
    shapes = declared if isinstance(declared, dict) else {}
    for _, step in walk.steps(data):
        name = step.parameters.get("environment")
        if not isinstance(name, str) or name == HOME or name not in shapes or step.planned:
            continue
        if step.kind in _CHANGES and walk.at(shapes, (name, "root")) is None:
            _wrong(document, (*step.path, "environment"),
                   f"{name} has no root of its own: the step would change {HOME}",
                   f"add environments: {{{name}: {{root: …}}}}")  # fmt: skip
    for path, written in walk.find(data, "levels.*.steps.*"):
        _alternatives(document, path, written)
    for path, written in walk.find(data, "procedures.*.steps.*"):
        _alternatives(document, path, written)
    _staging_first(document, data)


def _alternatives(document: Document, path: Spot, written: Any) -> None:
    """What is done instead of a step is done where the step is."""
    step = walk.item(path, written)
    then = walk.at(step.parameters, ("on_fail", "then")) if step else None
    for index, other in enumerate(then if isinstance(then, list) else ()):
        found = walk.item((*step.path, "on_fail", "then", index), other) if step else None
        name = found.parameters.get("environment") if found else None
        if found and step and name not in (None, step.parameters.get("environment")):
            _wrong(document, (*found.path, "environment"),
                   "an alternative works in the environment of its step",
                   "leave environment out, or make it a step of its own")  # fmt: skip


def _staging_first(document: Document, data: dict[str, Any]) -> None:
    """Where `staging_first` holds, nothing reaches another environment before a proof there.

    What may fail and be passed over is no proof.
    """
    first = walk.at(data, ("guardrails", "staging_first"))
    if not isinstance(first, str):
        return
    proved: set[Spot] = set()
    for owner, step in walk.steps(data):
        environment = step.parameters.get("environment")
        if environment == first and step.kind in ("verify", "watch", "command", "verify_suite"):
            if step.parameters.get("on_fail") != "continue" and "on_fail" not in step.path:
                proved.add(owner)
        elif environment not in (None, first) and owner not in proved:
            _wrong(document, (*step.path, "environment"),
                   f"reaches {environment} before anything was proved on {first}",
                   f"put a verify step with environment: {first} before it")  # fmt: skip


# -- before PROTECTED -----------------------------------------------------------------------------


def _exempt(document: Document, data: dict[str, Any]) -> None:
    """Only what stores nothing away comes before the checkpoint of the present."""
    for _, step in walk.steps(data):
        if step.planned or not step.parameters.get("exempt"):
            continue
        try:
            made = read_item("action", {step.kind: step.parameters})
        except PydanticCustomError:
            continue  # what is wrong with it is said by the shape
        if isinstance(made, Step) and not made.harmless:
            _wrong(document, (*step.path, "exempt"), f"{step.kind} {NOT_EXEMPT}", NOT_EXEMPT_HINT)
