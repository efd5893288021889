"""Step `capture`: what can be seen of the system now is kept with the run, before it is changed.

Hides: where figures come from.
Never: changes the system; fails because something is not there: that is written down too.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from rollback.host import Tree, processes
from rollback.host.clock import iso
from rollback.model.component import Argv, RelativePath
from rollback.model.errors import CommandFailed, HostError
from rollback.model.event import canonical
from rollback.model.finding import Finding, Json, failed, passed
from rollback.model.registry import Declared, register
from rollback.model.step import Alters, Id, Step, Text

if TYPE_CHECKING:
    from rollback.act.scene import Scene

LOG_BYTES_MAX = 16 * 2**20
FILES_MAX = 2000
LINE_BYTES_MAX = 300
_PROC = {
    "memory": ("/proc/meminfo", "/proc/vmstat", "/proc/pressure/memory"),
    "ports": ("/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/unix"),
    "load": ("/proc/loadavg", "/proc/stat", "/proc/diskstats"),
}
_DONE = "manifest.json"


class CommandSource(Declared):
    """A program whose output is kept as `name`.txt; it may be absent."""

    name: Id
    argv: Argv


class Mentions(Declared):
    """Every line below `below` that holds `of`, as it is written: who depends on it, and who names it."""

    of: Text
    below: tuple[RelativePath, ...] = (".",)


class Source(Declared):
    """A log by path or pattern (`logs/**/*.log`), a program, or mentions: one of the three."""

    log: Text | None = None
    command: CommandSource | None = None
    mentions: Mentions | None = None

    @model_validator(mode="after")
    def _one(self) -> Source:
        if sum(one is not None for one in (self.log, self.command, self.mentions)) != 1:
            raise ValueError("write one of: log, command, mentions")
        return self


@register("action", "capture")
class CaptureStep(Step):
    """`sources` are kept below the run's own folder, which nobody else may read."""

    alters: ClassVar[Alters] = "nothing"
    sources: tuple[
        Literal["memory", "disk", "ports", "processes", "load", "version"] | Source, ...
    ] = Field(min_length=1)

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Where it goes."""
        return {"folder": f"runs/{scene.run}/capture/{self.id or scene.step}"}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What is kept where."""
        return (f"keep {', '.join(map(_told, self.sources))} in {scene.bound['folder']}",)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """Everything that is there is kept, and what is not is named."""
        folder = str(scene.bound["folder"])
        scene.state.tree.make_folder(folder, parents=True)
        end_s = scene.host.clock.boot_s() + self.within - 0.5
        kept: dict[str, Json] = {}
        absent: dict[str, Json] = {}
        with scene.state.tree.sub(folder) as out:
            for source in self.sources:
                for name, found in self._seen(scene, source, end_s):
                    if isinstance(found, str):
                        absent[name] = found
                    else:
                        if os.path.dirname(name):
                            out.make_folder(os.path.dirname(name), parents=True)
                        out.write(name, found, sync=False)
                        kept[name] = len(found)
            at = iso(scene.host.clock.now())
            out.write(_DONE, canonical({"at": at, "kept": kept, "absent": absent}))
        return {"folder": folder, "files": len(kept), "absent": absent}

    def probe(self, scene: Scene) -> Finding:
        """The list of what was kept is written last."""
        if scene.state.tree.stat(f"{scene.bound['folder']}/{_DONE}") is not None:
            return passed(f"kept in {scene.bound['folder']}")
        return failed("nothing whole was kept")

    def undo(self, scene: Scene) -> None:
        """What was seen stays: it is evidence."""

    # -- inside ----------------------------------------------------------------------------

    def _seen(
        self, scene: Scene, source: str | Source, end_s: float
    ) -> Iterator[tuple[str, bytes | str]]:
        """Pairs of a file name and its bytes, or why there are none."""
        if isinstance(source, Source):
            if source.command is not None:
                left_s = max(0.1, end_s - scene.host.clock.boot_s())
                yield (
                    f"commands/{source.command.name}.txt",
                    _output(scene, source.command.argv, left_s),
                )
            elif source.mentions is not None:
                name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.mentions.of).strip("-.") or "it"
                yield f"mentions/{name}.txt", _mentions(scene, source.mentions, end_s)
            else:
                yield from _logs(scene, str(source.log))
        elif source == "disk":
            yield "disk.json", canonical(_disk(scene))
        elif source == "processes":
            yield "processes.json", canonical(_services(scene))
        elif source == "version":
            yield "version.json", canonical(_version(scene))
        else:
            for path in _PROC[source]:
                yield f"{source}/{os.path.basename(path)}", _proc(path)


def _told(source: str | Source) -> str:
    if isinstance(source, str):
        return source
    if source.mentions is not None:
        return f"lines with {source.mentions.of}"
    return f"log {source.log}" if source.log else f"output of {source.command.argv[0]}"  # type: ignore[union-attr]


def _proc(path: str) -> bytes | str:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        return error.strerror or "cannot be read"


def _disk(scene: Scene) -> Json:
    found: dict[str, Json] = {}
    for name, path in (("root", scene.system.root_path), ("state", scene.state.path)):
        figures = os.statvfs(path)
        found[name] = {
            "size_bytes": figures.f_blocks * figures.f_frsize,
            "free_bytes": figures.f_bavail * figures.f_frsize, "free_files": figures.f_favail,
        }  # fmt: skip
    return found


def _services(scene: Scene) -> Json:
    """Every declared service: runs or not, since when; never its words, which may hold secrets."""
    from rollback.act.service import identity

    found: dict[str, Json] = {}
    for name in scene.system.services:
        try:
            found[name] = identity(scene.view(), name) or "does not run"
        except HostError as error:
            found[name] = f"cannot be established: {error}"
    return found


def _version(scene: Scene) -> Json:
    return {
        "system": scene.system.system.id, "version": scene.system.system.version,
        "declaration": scene.system.digest, "python": sys.version.split()[0],
        "kernel": os.uname().release,
    }  # fmt: skip


def _output(scene: Scene, argv: tuple[str, ...], left_s: float) -> bytes | str:
    try:
        done = processes.run(
            argv, cwd=str(scene.system.root_path), timeout_s=left_s, tap=scene.host.tap,
            limit_bytes=LOG_BYTES_MAX,
        )  # fmt: skip
    except CommandFailed as error:
        return f"{argv[0]} {error.message}"
    head = f"status {done.status}{', cut off at its deadline' if done.timed_out else ''}\n".encode()
    return head + done.stdout + done.stderr


def _logs(scene: Scene, wanted: str) -> Iterator[tuple[str, bytes | str]]:
    with scene.host.tree(str(scene.system.root_path)) as tree:
        found = 0
        for path in _matching(tree, wanted, scene.state.path):
            found += 1
            if found > FILES_MAX:
                yield f"logs/{wanted}", f"more than {FILES_MAX} files: the rest was left out"
                return
            yield f"logs/{path}", _last(tree, path)
        if not found:
            yield f"logs/{wanted}", "there is no such file"


def _mentions(scene: Scene, wanted: Mentions, end_s: float) -> bytes | str:
    """`path:line: text` for every line, by path; what is no text is passed over."""
    word, told = wanted.of.encode(), b""
    with scene.host.tree(str(scene.system.root_path)) as tree:
        for path in sorted({path for top in wanted.below for path in _files(scene, tree, top)}):
            if scene.host.clock.boot_s() > end_s:
                return "there was no time to look at every file"
            data = _last(tree, os.fsdecode(path))
            if isinstance(data, str) or word not in data or b"\0" in data:
                continue
            for number, line in enumerate(data.splitlines(), 1):
                if word in line:
                    told += path + b":%d: " % number + line.strip()[:LINE_BYTES_MAX] + b"\n"
            if len(told) > LOG_BYTES_MAX:
                return "more lines than can be kept"
    return told or b"nobody\n"


def _files(scene: Scene, tree: Tree, top: str) -> Iterator[bytes]:
    """The regular files at or below a path; what we keep and git's own are none of the system's."""
    inside = os.fsencode(os.path.relpath(scene.state.path, os.fsdecode(tree.path)))
    found = tree.stat(top)
    if found is None or not stat.S_ISDIR(found.st_mode):
        if found is not None and stat.S_ISREG(found.st_mode):
            yield os.fsencode(top)
        return
    for path, entry in tree.walk(os.fsencode(top), enter=lambda p: p not in (inside, b".git")):
        if stat.S_ISREG(entry.st_mode):
            yield path


def _matching(tree: Tree, wanted: str, state: Path) -> Iterator[str]:
    if not any(mark in wanted for mark in "*?["):
        found = tree.stat(wanted)
        if found is not None and stat.S_ISREG(found.st_mode):
            yield wanted
        return
    inside = os.fsencode(os.path.relpath(state, os.fsdecode(tree.path)))
    below = wanted.replace("**/", "*")  # in fnmatch a star crosses folders
    for path, found in tree.walk(b".", enter=lambda p: p not in (inside, b".git")):
        name = os.fsdecode(path)
        if stat.S_ISREG(found.st_mode) and fnmatch.fnmatchcase(name, below):
            yield name


def _last(tree: Tree, path: str) -> bytes | str:
    """The last part of a file that may be long and may be growing."""
    try:
        fd = tree.open_read(path)
    except (OSError, HostError) as error:
        return str(error)
    try:
        size = os.fstat(fd).st_size
        if size > LOG_BYTES_MAX:
            os.lseek(fd, size - LOG_BYTES_MAX, os.SEEK_SET)
        parts = []
        left = min(size, LOG_BYTES_MAX)
        while left > 0 and (chunk := os.read(fd, min(left, 1 << 20))):
            parts.append(chunk)
            left -= len(chunk)
        return b"".join(parts)
    finally:
        os.close(fd)
