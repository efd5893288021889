"""The checkpoint store beside restic, borg, git, rsync, cp and tar: the same change, in turn, synced.

Every tool has a live tree of its own with the same content and gets the same damage; what each leaves
is compared by an independent walk. A time is that of the operation and of a sync of the file system
after it. After the shapes comes growth: ours alone, 10,000 to 1,000,000 files, a process per step.

Where: a temporary folder, or `BENCH_DIR`. `BENCH_ROUNDS` (5), `BENCH_SHAPES`, `BENCH_GROWTH`, `RESTIC`
(a program). A tool that cannot be measured is named, with the reason.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import growth, table
from benchmarks.measure import RESULTS, machine
from benchmarks.peers import TOOLS, Tool, run
from benchmarks.shapes import SHAPES, Shape, damage, digest, fill

_T = TypeVar("_T")


class Bench:
    """One shape, all tools; the seconds of each by operation, and the bytes each keeps."""

    def __init__(self, shape: Shape, base: Path, rounds: int) -> None:
        self.shape, self.rounds = shape, rounds
        self.tools = [tool(base / tool.id) for tool in TOOLS if not tool.absent()]
        self.times: dict[str, dict[str, list[float]]] = {}
        self.sizes: dict[str, int] = {}
        self._seed = 0
        self._clean = ""

    def run(self) -> None:
        """Everything, in the order in which an operator meets it."""
        fill(self.tools[0].data, self.shape)
        for tool in self.tools[1:]:
            tool.live.mkdir(parents=True, exist_ok=True)
            run("cp", "-a", self.tools[0].data, tool.live)
        self._measure("first", self._forget, "first")
        for tool in self.tools:
            if not self._takes_part(tool, "first"):
                self._forget(tool)
                tool.first()
            self.sizes[tool.id] = kept_bytes(tool)
        self._measure("no_change", lambda tool: None, "again")
        self._measure("changed_1pct", self._spoil, "again")
        for tool in self.tools:  # those that took no part are as damaged as the others, and kept so
            if not self._takes_part(tool, "changed_1pct"):
                for seed in range(self._seed - self.rounds + 1, self._seed + 1):
                    damage(tool.data, self.shape, 0.01, seed)
                tool.again()
        self._clean = digest(self.tools[0].data)
        self._seed += 1
        for tool in self.tools:
            if self._takes_part(tool, "dry_run"):
                self._spoil(tool)
        self._measure("dry_run", lambda tool: None, "dry_run")
        self._measure("in_place", self._spoil, "in_place", same=True)
        for operation, share in (("standby", 0.01), ("standby_all", 1.0)):
            self._measure(operation, partial(self._ready, share=share), "in_place", same=True)
        self._measure("full_restore", self._gone, "full", same=True)
        self._measure("verify", lambda tool: None, "verify")

    def _measure(
        self, operation: str, before: Callable[[Tool], None], work: str, *, same: bool = False
    ) -> None:
        chosen = [tool for tool in self.tools if self._takes_part(tool, operation)]
        for number in range(self.rounds):
            self._seed += 1
            turn = number % len(chosen)
            for tool in chosen[turn:] + chosen[:turn]:
                before(tool)
                _sync(tool)
                began = time.perf_counter()
                getattr(tool, work)()
                _sync(tool)
                took = time.perf_counter() - began
                self.times.setdefault(operation, {}).setdefault(tool.id, []).append(took)
        for tool in chosen if same else ():
            if digest(tool.data) != self._clean:
                raise RuntimeError(f"{tool.id} left another tree than it kept: {operation}")
        print(f"  {operation}: " + ", ".join(
            f"{name} {statistics.median(found):.3f}"
            for name, found in self.times[operation].items()), flush=True)  # fmt: skip

    def _takes_part(self, tool: Tool, operation: str) -> bool:
        return operation in tool.does and (self.shape.id, operation) not in tool.spared

    def _forget(self, tool: Tool) -> None:
        for name in ("kept", ".rollback", "live/data/.git"):
            shutil.rmtree(tool.base / name, ignore_errors=True)
        with suppress(FileNotFoundError):
            (tool.base / "kept.tar").unlink()
        tool.prepare()

    def _spoil(self, tool: Tool) -> None:
        damage(tool.data, self.shape, 0.01, self._seed)

    def _ready(self, tool: Tool, share: float) -> None:
        tool.ready()
        damage(tool.data, self.shape, share, self._seed)

    def _gone(self, tool: Tool) -> None:
        for path in tool.data.iterdir():
            if path.is_dir() and path.name != ".git":
                shutil.rmtree(path)


def _sync(tool: Tool) -> None:
    run("sync", "-f", tool.base)


def kept_bytes(tool: Tool) -> int:
    """Bytes on disk of what the tool keeps."""
    places = ("kept", "kept.tar", ".rollback/store", "live/data/.git")
    tops = [tool.base / place for place in places]
    paths = [path for top in tops for path in (top, *top.rglob("*")) if path.exists()]
    return sum(path.lstat().st_blocks * 512 for path in paths)


def main(rounds: int = 0) -> dict[str, Any]:
    """Every shape and growth, printed and kept in reports/bench; the table of docs/performance.md."""
    began = time.monotonic()
    rounds = rounds or int(os.environ.get("BENCH_ROUNDS", "5"))
    wanted = os.environ.get("BENCH_SHAPES", ",".join(shape.id for shape in SHAPES)).split(",")
    absent = {tool.id: tool.absent() for tool in TOOLS if tool.absent()}
    for name, why in absent.items():
        print(f"not measured: {name}: {why}")
    body: dict[str, Any] = {}
    about: dict[str, Any] = {
        "rounds": rounds, "absent": absent, "machine": machine(), "sizes": {},
        "versions": {tool.id: tool.version() for tool in TOOLS if not tool.absent()},
    }  # fmt: skip
    for shape in SHAPES:
        if shape.id in wanted:
            print(f"{shape.id}", flush=True)
            bench = _in_folder(lambda folder, shape=shape: _bench(shape, folder, rounds))
            about["sizes"][shape.id] = bench.sizes
            body[shape.id] = {
                operation: {
                    tool.removesuffix("-standby"): round(statistics.median(found), 4)
                    for tool, found in by.items()
                }
                for operation, by in bench.times.items()
            }
    about["growth"] = _in_folder(growth.measure)
    about["minutes"] = round((time.monotonic() - began) / 60, 1)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, content in (("store", body), ("store-about", about)):
        (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    print(f"\n{table.store(body, about)}\n{about['minutes']} min; {RESULTS / 'store.json'}")
    return body


def _bench(shape: Shape, folder: Path, rounds: int) -> Bench:
    bench = Bench(shape, folder, rounds)
    bench.run()
    return bench


def _in_folder(work: Callable[[Path], _T]) -> _T:
    folder = tempfile.mkdtemp(prefix="rollback-bench-", dir=os.environ.get("BENCH_DIR"))
    try:
        return work(Path(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
