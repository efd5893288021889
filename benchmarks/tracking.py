"""What walking a component costs, and what knowing its changed folders beforehand could save.

`python -m benchmarks.tracking [COUNT…]`, by hand; the verdict is docs/decisions/0013. The tracked
plan looks at the changed folders alone, which is less than any tracker could do: what it costs to
watch, what a watch does not see, and where it overflows stand beside it.

Hides: how the kernel is asked to watch.
Never: is part of the product.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import in_turn, report, took_s
from benchmarks.peers import Ours
from benchmarks.shapes import Shape, fill, paths
from rollback import declare
from rollback.act.site import Site
from rollback.host import Host
from rollback.keep.content import Site as Component
from rollback.keep.difference import difference
from rollback.keep.manifest import Manifest
from rollback.keep.stat_cache import packed
from rollback.keep.survey import Survey

COUNTS = (20_000, 200_000)
ROUNDS = 5
SHARE = 0.01
_CHANGES = (
    0x002 | 0x004 | 0x008 | 0x040 | 0x080 | 0x100 | 0x200 | 0x400
)  # IN_MODIFY … IN_DELETE_SELF
_OVERFLOW = 0x4000
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """inotify on every folder of a tree."""

    def __init__(self, root: Path) -> None:
        self.fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
        self.took_s = took_s(lambda: [self._add(folder) for folder in folders])
        self.folders = len(folders)

    def _add(self, folder: Path) -> None:
        if _libc.inotify_add_watch(self.fd, os.fsencode(folder), _CHANGES) < 0:
            raise OSError(ctypes.get_errno(), "no more watches: fs.inotify.max_user_watches")

    def drained(self) -> tuple[int, bool]:
        """How many events came since, and whether some were lost."""
        count, lost = 0, False
        while True:
            try:
                data = os.read(self.fd, 2**16)
            except BlockingIOError:
                return count, lost
            at = 0
            while at < len(data):
                mask = int.from_bytes(data[at + 4 : at + 8], sys.byteorder)
                at += 16 + int.from_bytes(data[at + 12 : at + 16], sys.byteorder)
                count, lost = count + 1, lost or bool(mask & _OVERFLOW)

    def close(self) -> None:
        """Nothing is watched any more."""
        os.close(self.fd)


def shape(count: int) -> Shape:
    """So many files of 100 to 300 bytes, 50 in a folder."""
    return Shape(f"tracking_{count}", count, 100, 300, 50)


def walked(site: Component, manifest: Manifest) -> None:
    """Every folder is looked at, and what differs is found: what a plan does today."""
    survey = Survey(site.root, site.at, site.scope, site.host.clock)
    difference(manifest, site.store.get, survey, site.cache.frames())


def tracked(site: Component, manifest: Manifest, changed: list[bytes]) -> None:
    """Only these folders are looked at, and compared with what is known of them."""
    survey = Survey(site.root, site.at, site.scope, site.host.clock)
    frames = site.cache.frames()
    for path in changed:
        seen = site.root.stat(survey.full(path))
        frame = frames.get(path)
        assert seen is not None
        assert frame is not None
        packed(survey.look(path, seen).children)
        site.store.get(frame.tree.hex())


def rewrite(root: Path, changed: list[bytes]) -> None:
    """Every file in these folders is written anew in place, as a release does it."""
    for folder in changed:
        for path in (root / os.fsdecode(folder)).iterdir():
            path.write_bytes(b"x" * 200)


def unseen(root: Path, wanted: Shape) -> bool:
    """True when a file that is changed through a mapping makes no event."""
    path = root / next(paths(wanted))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        watch = Watch(path.parent)
        try:
            mapped[0:1] = bytes((mapped[0] ^ 1,))
            mapped.flush()
            return watch.drained()[0] == 0
        finally:
            watch.close()


def measure(folder: Path, count: int) -> dict[str, Any]:
    """The figures of one tree."""
    wanted = shape(count)
    tool = Ours(folder)
    fill(tool.data, wanted)
    os.sync()
    tool.first()
    # one folder in a hundred, all of it
    changed = sorted({os.fsencode(path.parent) for path in paths(wanted)})[:: int(1 / SHARE)]
    system = declare.load(folder / "rollback.yaml", environ={})
    with Site.open(system, Host()) as opened, opened.checkpoints as kept:
        manifest = kept.manifest("newest", "data")
        with kept.opened("data") as (_, site):
            works: dict[str, Callable[[], float]] = {
                "walk and compare": lambda: took_s(lambda: walked(site, manifest)),
                "changed folders alone": lambda: took_s(lambda: tracked(site, manifest, changed)),
                "the whole dry run": lambda: took_s(lambda: kept.diff("newest")),
                "python starts": lambda: took_s(_start),
                "files rewritten, nobody watches": lambda: took_s(
                    lambda: rewrite(tool.data, changed)
                ),
            }
            spent: dict[str, list[float]] = {name: [] for name in works}

            def counted(name: str) -> float:
                before_s = time.process_time()
                seconds = works[name]()
                spent[name].append(time.process_time() - before_s)
                return seconds

            times = in_turn({name: partial(counted, name) for name in works}, rounds=ROUNDS)
        times |= {f"{name}, processor": spent[name] for name in list(works)[:3]}
        watch = Watch(tool.data)
        drained = []

        def watched() -> float:
            seconds = took_s(lambda: rewrite(tool.data, changed))
            drained.append(watch.drained())
            return seconds

        times["files rewritten, watched"] = [watched() for _ in range(ROUNDS)]
        for _ in range(20):
            rewrite(tool.data, changed)
        backlog = watch.drained()
        watch.close()
    facts = {
        "folders": watch.folders, "watches set in s": round(watch.took_s, 4),
        "watches allowed": _limit("max_user_watches"), "events held": _limit("max_queued_events"),
        "events of one rewrite": drained[-1][0],
        "events lost when 20 rewrites wait": backlog[1],
        "a change through a mapping is seen": not unseen(tool.data, wanted),
    }  # fmt: skip
    return report(f"tracking_{count}", times, aims={}, **facts)


def _start() -> None:
    subprocess.run([sys.executable, "-c", "import rollback.cli"], check=True)


def _limit(name: str) -> int:
    return int(Path(f"/proc/sys/fs/inotify/{name}").read_text("ascii"))


def main() -> None:
    """Both sizes, or those named."""
    for count in [int(word) for word in sys.argv[1:]] or COUNTS:
        folder = Path(tempfile.mkdtemp(prefix="tracking-"))
        try:
            measure(folder, count)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
