"""What a plan costs, measured when it is made: paths, rows, commits, open work, and who is concerned.

Hides: where in a step's binding each figure stands.
Never: changes anything; leaves out what it cannot measure: that is said.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from rollback.act.scene import Scene
from rollback.host.processes import session
from rollback.model import dependencies
from rollback.model.errors import HostError
from rollback.model.finding import Json
from rollback.model.level import Level, Procedure
from rollback.model.registry import Kind, Planned, kinds
from rollback.observe.check import ask
from rollback.observe.service import held_by

if TYPE_CHECKING:
    from rollback.act.plan import PlannedStep
    from rollback.keep.content import Content

PATHS = ("adds", "modifies", "removes", "attributes")
_PUT_BACK = "put back"
_SWAPS = ("restore", "take-back", "repair", "replay")


def measured(
    scene: Scene, level: Level | Procedure, steps: Sequence[PlannedStep]
) -> dict[str, Json]:
    """The impact of these steps on what the scene sees.

    Shape: `dependents` and `services` in the order of need, `order` as the steps work; `rows` by
    component, each table that differs; `open_items` of what changes and of what depends on it;
    `in_use` by process, what it has open and has to let go of.
    """
    here = [step for step in steps if step.environment == scene.environment]
    touched = list(dict.fromkeys(name for step in here for name in step.touches))
    dependents = scene.system.dependents(touched)
    users = _users(scene, touched)
    order = list(_order(steps))
    return {
        "data_loss": getattr(level, "data_loss", "") or "", "components": list(touched),
        "dependents": list(dependents), "services": list(users), "order": list(order),
        "untold": list(_untold(scene, here)), "in_use": list(_in_use(scene, here)),
        "lost_commits": [c for step in steps for c in _list(step.bound.get("lost"))],
        "rows": _rows(steps), "open_items": _open_items(scene, (*touched, *dependents)),
        "alone": _alone(scene, steps),
        "files": sum(_int(step.bound.get("changes")) for step in steps if step.touches),
        "paths": {name: sum(_int(step.bound.get(name)) for step in steps) for name in PATHS},
        "bytes": sum(_int(step.bound.get("bytes")) for step in steps),
    }  # fmt: skip


def _users(scene: Scene, components: Iterable[str]) -> tuple[str, ...]:
    """The services that use any of these, or what uses them, in the order in which they start."""
    found = {user for name in components for user in dependencies.dependents(scene.system, name)}
    return dependencies.ordered(scene.system, found)


def _order(steps: Iterable[PlannedStep]) -> Iterator[dict[str, Json]]:
    """What is stopped, put back and started, as the steps come; neighbours of one kind together."""
    last: dict[str, Json] = {}
    for step in steps:
        does, names = _does(step), _list(step.bound.get("names"))
        if step.kind != "service":
            names = list(step.touches)
        if not does or not names:
            continue
        if does == last.get("does"):
            last["names"] = list(dict.fromkeys((*map(str, _list(last["names"])), *map(str, names))))
            continue
        if last:
            yield last
        last = {"does": does, "names": names}
    if last:
        yield last


def _does(step: PlannedStep) -> str:
    if step.kind == "service":
        return str(getattr(step.action(), "verb", ""))
    if step.kind in ("restore", "git") and step.touches:
        return _PUT_BACK
    return "change" if step.touches else ""


def _untold(scene: Scene, steps: Sequence[PlannedStep]) -> tuple[str, ...]:
    """Services that use what is put back and that no step stops, starts or tells."""
    back = [name for step in steps if _does(step) == _PUT_BACK for name in step.touches]
    told = {str(name) for step in steps if step.kind == "service"
            for name in _list(step.bound.get("names"))}  # fmt: skip
    using = {n for n, one in scene.system.services.items() if set(one.components) & set(back)}
    return dependencies.ordered(scene.system, using - told)


def _in_use(scene: Scene, steps: Sequence[PlannedStep]) -> Iterator[dict[str, Json]]:
    """Who has open what is put back only while nobody has, and is stopped by no step before that one."""
    ended: set[str] = set()
    for step in steps:
        names = set(map(str, _list(step.bound.get("names"))))
        if _does(step) == "stop":
            ended |= names
        elif step.kind == "service":
            ended -= names
        elif step.kind in _SWAPS and step.bound.get("changes") != 0:
            for name in step.touches:
                yield from _open_in(scene, name, ended)


def _open_in(scene: Scene, name: str, ended: set[str]) -> Iterator[dict[str, Json]]:
    component = scene.system.components[name]
    kind = kinds("content").get(str(component.content))
    if kind is None:
        return
    content: Content = kind()  # type: ignore[assignment]
    with scene.host.tree(os.fsencode(scene.system.root_path.resolve())) as root:
        found = content.users(root, os.fsencode(component.path))
    for pid, program in found:
        service = _service_of(scene, pid)
        if service not in ended:
            yield {"component": name, "pid": pid, "program": program, "service": service}


def _service_of(scene: Scene, pid: int) -> str:
    """The declared service that the process belongs to, if its lock tells; "" where none does."""
    view = scene.view()
    for name, service in scene.system.services.items():
        with suppress(HostError):
            if service.lock is None:
                continue
            with held_by(view, name) as holder:
                if holder is not None and holder.pid in (pid, session(pid)):
                    return name
    return ""


def _rows(steps: Iterable[PlannedStep]) -> dict[str, Json]:
    """By component, the tables whose rows differ from what is put back."""
    return {str(step.bound.get("component")): rows for step in steps
            if (rows := _list(step.bound.get("rows")))}  # fmt: skip


def _open_items(scene: Scene, names: Iterable[str]) -> dict[str, Json]:
    """How much of each is under way; what the check says where it gives no number."""
    found: dict[str, Json] = {}
    every = tuple(names)
    for number, name in enumerate(every, start=1):
        check = scene.system.components[name].open_items
        scene.progress(f"asking what is open in {name}", number, len(every), "components")
        if isinstance(check, Kind) and not isinstance(check, Planned):
            finding = ask(check, scene.view())
            found[name] = finding.details.get("value", finding.evidence)
    return found


def _alone(scene: Scene, steps: Iterable[PlannedStep]) -> str:
    """That not everything goes back to the target, and what stays; empty where everything does."""
    back = {name for step in steps for name in step.touches if step.kind == "restore"}
    rest = [name for name, one in scene.system.components.items()
            if name not in back and one.content != "append-only"]  # fmt: skip
    if not back or not rest or not scene.target.source:
        return ""
    word = "alone, on purpose" if scene.component else "alone"
    stay = "stays as it is" if len(rest) == 1 else "stay as they are"
    return f"{', '.join(sorted(back))} back {word}: {', '.join(rest)} {stay}"


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _int(value: Json) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
