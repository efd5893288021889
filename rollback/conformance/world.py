"""A small system in a folder of its own, that a kind is tried on.

Hides: the rest of a declaration, which every system needs and no kind is about.
Never: reaches outside its folder and the loopback.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act.scene import Scene, Target
from rollback.conformance.example import Example, said
from rollback.host import Host, processes
from rollback.keep.journal import Journal
from rollback.keep.state import StateDir
from rollback.model.finding import Json
from rollback.model.registry import read_item
from rollback.model.system import System
from rollback.observe.view import View

REST = {
    "schema": 1,
    "system": {"id": "small", "title": "Small", "version": "1.0.0", "date": "2026-11-20",
               "next_review": "2027-05-20"},
    "root": "tree",
    "state": {"dir": ".rollback"},
    "people": {"owner": "op", "roles": {"op": {"title": "Operator"}},
               "members": [{"id": "someone", "roles": ["op"]}]},
    "levels": {"only": {
        "rank": 1, "title": "Only", "budgets": {"mitigated": "1m", "complete": "2m"}, "data_loss": "none",
        "authority": {"roles": ["op"], "quorum": "any", "alone": True}, "steps": [{"wait": {"for": "1s"}}],
    }},
}  # fmt: skip


@dataclass
class World:
    """The small system in a folder of its own. `ports` are free ones of the loopback."""

    folder: Path
    ports: tuple[int, int, int]
    system: System
    host: Host
    state: StateDir
    notes: list[tuple[str, dict[str, Json]]] = field(default_factory=list)
    ends: ExitStack = field(default_factory=ExitStack)
    more: dict[str, Any] = field(default_factory=dict)  # what `prepare` said of an action's scene

    @property
    def root(self) -> Path:
        """The root of the managed tree."""
        return self.system.root_path

    @property
    def url(self) -> str:
        """Where the first port is asked over HTTP."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def view(self, host: Host | None = None) -> View:
        """The eyes of a check or a metric source."""
        return View(self.system, host or self.host)

    def scene(self, **more: Any) -> Scene:
        """A scene that journals its notes like the engine does."""
        step = more.setdefault("step", "1")
        settings: dict[str, Any] = {
            "system": self.system, "host": self.host, "state": self.state, "level": "only",
            "run": "run-1", "target": Target(), "component": "",
            "stamp": {"date": "20261120", "time": "120000", "run": "run-1"},
            "note": self.note_through(self.host, step),
        }  # fmt: skip
        return Scene(**{**settings, **more})

    def note_through(self, host: Host, step: str) -> Callable[[str, dict[str, Json]], None]:
        """Appends to the journal as it is then, through the taps of `host`."""

        def note(kind: str, data: dict[str, Json]) -> None:
            self.notes.append((kind, data))
            with host.tree(str(self.state.path / "journal")) as tree:
                Journal(tree, host).append(kind, run="run-1", data={**data, "step": step})

        return note

    def bound(self, kind: str, parameters: Mapping[str, Any], **more: Any) -> tuple[Any, Scene]:
        """The step and its scene after `bind`."""
        action: Any = read_item("action", {kind: dict(parameters)})
        scene = self.scene(**more)
        return action, scene.at(step=scene.step, bound=action.bind(scene))

    def files(self) -> dict[str, bytes]:
        """Every managed file and link with its bytes; `run`, logs and git's own are left out."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = b"-> " + os.fsencode(os.readlink(path))
            elif path.is_file() and not name.startswith((".git/", "run/", "logs/")):
                found[name] = path.read_bytes()
        return found

    def running(self) -> dict[str, bool]:
        """Which services hold their locks."""
        return {name: processes.held(lock) for name, lock in self._locks().items()}

    def end_services(self) -> None:
        """No process that holds one of our locks is left."""
        for lock in self._locks().values():
            for pid in openers(Path(lock)):
                os.kill(pid, signal.SIGKILL)
            self.host.clock.poll(lambda lock=lock: not processes.held(lock), within_s=5)  # type: ignore[misc]

    def end(self) -> None:
        """Nothing that was started is left, and nothing is open."""
        self.ends.close()
        self.end_services()
        self.state.close()

    def _locks(self) -> dict[str, str]:
        services = self.system.services.items()
        return {name: str(self.root / one.lock) for name, one in services if one.lock is not None}


def openers(lock: Path) -> list[int]:
    """The processes, other than this one, that have exactly this file open."""
    if not lock.exists():
        return []
    wanted = (lock.stat().st_dev, lock.stat().st_ino)
    found = []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        pid = int(folder.parent.name)
        try:
            opened = {(os.stat(fd).st_dev, os.stat(fd).st_ino) for fd in folder.iterdir()}
        except OSError:
            continue
        if wanted in opened and pid != os.getpid():
            found.append(pid)
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def opened(folder: Path, ports: tuple[int, int, int], text: str) -> World:
    """The world of this declaration. Raises: SpecError."""
    (folder / "rollback.yaml").write_text(text, encoding="utf-8")
    host = Host()
    system = declare.load(folder / "rollback.yaml")
    return World(folder, ports, system, host, StateDir.open(system, host))


def world_of(folder: Path, example: Example, more: Mapping[str, Any]) -> World:
    """The example's own world, or an empty root with its sections and `more`; then it is prepared."""
    if example.build is not None:
        world = example.build(folder)
    else:
        (folder / "tree").mkdir()
        one, two, three = free_ports(3)
        bare = opened(folder, (one, two, three), written(REST))
        sections = {**REST, **said(example.sections, bare)}
        for name, section in more.items():
            sections[name] = {**sections.get(name, {}), **said(section, bare)}
        bare.state.close()
        world = opened(folder, bare.ports, written(sections))
    world.more = example.prepare(world) or {}
    return world


def written(sections: Mapping[str, Any]) -> str:
    """JSON is YAML, one line per section."""
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in sections.items())
