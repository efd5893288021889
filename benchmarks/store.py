"""The checkpoint store beside restic, borg, git, rsync, cp and tar: the same change, in turn, synced.

Every tool has a live tree of its own with the same content and gets the same damage. A time is
that of the operation and of a sync of the file system after it. `rollback` is in process, as the
engine runs it; `rollback-cli` is the whole command, start included.

Where: a temporary folder, or `BENCH_DIR`. `BENCH_ROUNDS` (5), `BENCH_SHAPES`, `RESTIC` (a program).
A tool that is not there is named as absent.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import rollback.kinds  # noqa: F401 - registers every kind
from benchmarks.measure import RESULTS, machine
from rollback import declare
from rollback.act.site import Site
from rollback.host import Host

PAGE = 4096
SLOW_ROUNDS = 3  # of operations that write everything
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
DECLARATION = """\
schema: 1
system: {{id: bench, title: Bench, version: 1.0.0, date: 2026-11-20, next_review: 2027-11-20}}
root: live
components:
  data: {{path: data, content: files, restore: {restore}}}
people:
  owner: keeper
  roles: {{keeper: {{title: Keeper}}}}
  members: [{{id: operator, roles: [keeper]}}]
levels:
  all:
    rank: 1
    title: All
    budgets: {{complete: 10m, mitigated: 10m}}
    data_loss: all since the checkpoint
    authority: {{roles: [keeper], alone: true}}
    target: {{sources: [{{checkpoint: newest}}]}}
    steps: [{{restore: {{component: data}}}}]
    gate: {{suites: [smoke]}}
verification:
  smoke:
    - files: {{id: there, exists: [data]}}
"""


@dataclass(frozen=True)
class Shape:
    """Files to be kept: how many, how large, in folders of how many."""

    id: str
    count: int
    low: int
    high: int
    per_folder: int


SHAPES = (
    Shape("small_files", 20_000, 1024, 8192, 50),
    Shape("medium_files", 2_000, 256 * 1024, 1024 * 1024, 20),
    Shape("one_big_file", 1, 2**30, 2**30, 1),
)


def paths(shape: Shape) -> Iterator[Path]:
    """The files, relative."""
    for number in range(shape.count):
        folder = number // shape.per_folder
        yield Path(f"d{folder % 16:02}", f"e{folder:04}", f"f{number:05}")


def fill(root: Path, shape: Shape) -> None:
    """Every file, half of it text-like, the same each time."""
    chance = random.Random(shape.id)
    for path in paths(shape):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        left = chance.randint(shape.low, shape.high)
        with (root / path).open("wb") as file:
            while left > 0:
                size = min(left, 2**20)
                noise = chance.randbytes(size // 2)
                file.write(noise + noise.hex().encode()[: size - len(noise)])
                left -= size


def damage(root: Path, shape: Shape, share: float, seed: int) -> None:
    """That share of the files (or of the pages of the one file) holds other bytes."""
    chance = random.Random(f"{shape.id} {seed}")
    if shape.count == 1:
        with (root / next(paths(shape))).open("r+b") as file:
            for page in chance.sample(range(2**30 // PAGE), int(2**30 // PAGE * share)):
                file.seek(page * PAGE)
                file.write(chance.randbytes(PAGE))
        return
    everything = list(paths(shape))
    for path in chance.sample(everything, max(1, int(len(everything) * share))):
        with (root / path).open("r+b") as file:
            file.write(chance.randbytes(min(shape.low, 65536)))


def run(
    *words: str | Path, cwd: Path | None = None, home: Path | None = None,
    ok: tuple[int, ...] = (0,),
) -> None:  # fmt: skip
    """The program ended well; what it caches lies in `home`."""
    kept = str(home or cwd or "/nonexistent")
    environment = {**os.environ, "RESTIC_PASSWORD": "bench", "BORG_UNENCRYPTED_REPO": "",
                   "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
                   "BORG_BASE_DIR": kept, "RESTIC_CACHE_DIR": f"{kept}/.cache"}  # fmt: skip
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, check=False, **QUIET
    )  # type: ignore[call-overload]
    if done.returncode not in ok:
        raise RuntimeError(f"{words}: {done.stderr.decode()[-300:]}")


class Tool:
    """One way to keep a copy; `base` holds its live tree in `live/data` and whatever it keeps."""

    id: ClassVar[str]
    lacks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, base: Path) -> None:
        self.base = base
        self.live = base / "live"
        self.data = self.live / "data"

    @classmethod
    def there(cls) -> bool:
        """True when it can be used on this machine."""
        return shutil.which(cls.id) is not None

    def first(self) -> None:
        """A first copy of everything."""
        raise NotImplementedError

    def again(self) -> None:
        """Another copy, of what may have changed."""
        self.first()

    def in_place(self) -> None:
        """The live tree is as the newest copy."""
        raise NotImplementedError

    def full(self) -> None:
        """The live tree comes back where nothing stands."""
        self.in_place()

    def dry_run(self) -> None:
        """What a restore would change is known."""
        raise NotImplementedError

    def verify(self) -> None:
        """Every byte that is kept was read."""
        raise NotImplementedError


class Ours(Tool):
    """In process: what `checkpoint` and the step `restore` call."""

    id = "rollback"
    restore = "in-place"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        base.mkdir(parents=True, exist_ok=True)
        (base / "rollback.yaml").write_text(DECLARATION.format(restore=self.restore))
        self._turn = 0

    @classmethod
    def there(cls) -> bool:
        return True

    def _on(self, work: Callable[[Any], object]) -> None:
        system = declare.load(self.base / "rollback.yaml", environ={})
        with Site.open(system, Host()) as site:
            work(site.checkpoints)

    def first(self) -> None:
        self._on(lambda kept: kept.create())

    def _back(self, *, differs: bool = False) -> None:
        self._turn += 1
        self._on(lambda kept: kept.restore("newest", "data", step=f"s{self._turn}",
                                           differs=differs))  # fmt: skip

    def in_place(self) -> None:
        self._back()

    def dry_run(self) -> None:
        self._on(lambda kept: kept.diff("newest"))

    def verify(self) -> None:
        self._on(lambda kept: kept.verify("newest", deep=True))


class Standby(Ours):
    """In process, with a standby: the step `restore` of a component that has one."""

    id = "rollback-standby"
    restore = "standby"

    def ready(self) -> None:
        """The standby holds the newest checkpoint."""
        self._on(lambda kept: kept.refresh_standby("newest"))

    def in_place(self) -> None:
        self._back(differs=True)


class Command(Ours):
    """The whole command; a restore is a run, with a checkpoint of the present before it."""

    id = "rollback-cli"
    lacks = ("full_restore",)

    def _say(self, *words: str, ok: tuple[int, ...] = (0,)) -> None:
        run(sys.executable, "-m", "rollback", *words, cwd=self.base, ok=ok)

    def first(self) -> None:
        self._say("checkpoint", "create")

    def in_place(self) -> None:
        self._say("run", "all", "--to", "newest", "--yes", "--as", "operator")

    def dry_run(self) -> None:
        self._say("checkpoint", "diff", "newest")

    def verify(self) -> None:
        self._say("checkpoint", "verify", "newest", "--deep")


class Restic(Tool):
    """`restic`, by default settings: encrypted, not synced by itself."""

    id = "restic"
    program = os.environ.get("RESTIC") or "restic"

    @classmethod
    def there(cls) -> bool:
        return shutil.which(cls.program) is not None

    def _say(self, *words: str | Path) -> None:
        run(self.program, "-q", "-r", self.base / "kept", *words, cwd=self.base)

    def first(self) -> None:
        if not (self.base / "kept").exists():
            self._say("init")
        run(
            self.program,
            "-q",
            "-r",
            self.base / "kept",
            "backup",
            ".",
            cwd=self.live,
            home=self.base,
        )

    def in_place(self) -> None:
        self._say("restore", "latest", "--target", self.live, "--delete",
                  "--overwrite", "if-changed")  # fmt: skip

    def dry_run(self) -> None:
        self._say("restore", "latest", "--target", self.live, "--delete", "--dry-run")

    def verify(self) -> None:
        self._say("check", "--read-data")


class Borg(Tool):
    """`borg`: it cannot delete what is extra, so it has no restore in place."""

    id = "borg"
    lacks = ("in_place", "dry_run")
    _turn = 0

    def first(self) -> None:
        self._turn += 1
        if not (self.base / "kept").exists():
            run("borg", "init", "-e", "none", self.base / "kept", cwd=self.base)
        run(
            "borg",
            "create",
            f"{self.base / 'kept'}::c{self._turn}",
            "data",
            cwd=self.live,
            home=self.base,
        )

    def full(self) -> None:
        run(
            "borg", "extract", f"{self.base / 'kept'}::c{self._turn}", cwd=self.live, home=self.base
        )

    def verify(self) -> None:
        run("borg", "check", "--verify-data", self.base / "kept", cwd=self.base)


class Git(Tool):
    """`git`: `reset --hard` and `clean`; modes, times, owners and empty folders are lost."""

    id = "git"

    def _say(self, *words: str) -> None:
        run("git", "-c", "gc.auto=0", "-c", "user.name=b", "-c", "user.email=b@example.invalid",
            *words, cwd=self.data, ok=(0, 1))  # fmt: skip

    def first(self) -> None:
        if not (self.data / ".git").exists():
            self._say("init", "-q")
        self._say("add", "-A")
        self._say("commit", "-q", "--allow-empty", "-m", "c")

    def in_place(self) -> None:
        self._say("reset", "-q", "--hard")

    def dry_run(self) -> None:
        self._say("status", "--porcelain")

    def verify(self) -> None:
        self._say("fsck", "--full")


class Rsync(Tool):
    """`rsync -a --delete --fsync` from a plain copy, which is made without `--fsync`."""

    id = "rsync"
    lacks = ("verify",)

    def first(self) -> None:
        run("rsync", "-a", "--delete", f"{self.data}/", self.base / "kept")

    def in_place(self) -> None:
        run("rsync", "-a", "--delete", "--fsync", f"{self.base / 'kept'}/", self.data)

    def dry_run(self) -> None:
        run("rsync", "-a", "--delete", "-n", "-i", f"{self.base / 'kept'}/", self.data)


class Tar(Tool):
    """The runbooks' way: `rm -rf`, then `tar x`."""

    id = "tar"
    lacks = ("dry_run", "verify", "no_change", "changed_1pct")

    def first(self) -> None:
        run("tar", "-C", self.live, "-cf", self.base / "kept.tar", "data")

    def in_place(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        run("tar", "-C", self.live, "-xpf", self.base / "kept.tar")


class Copy(Tool):
    """`rm -rf`, then `cp -a`."""

    id = "cp"
    lacks = ("dry_run", "verify", "no_change", "changed_1pct")

    def first(self) -> None:
        shutil.rmtree(self.base / "kept", ignore_errors=True)
        run("cp", "-a", self.data, self.base / "kept")

    def in_place(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        run("cp", "-a", self.base / "kept", self.data)


TOOLS: tuple[type[Tool], ...] = (Ours, Command, Standby, Restic, Borg, Git, Rsync, Tar, Copy)


class Bench:
    """One shape, all tools; the seconds of each by operation."""

    def __init__(self, shape: Shape, base: Path, rounds: int) -> None:
        self.shape, self.rounds = shape, rounds
        self.tools = [tool(base / tool.id) for tool in TOOLS if tool.there()]
        self.times: dict[str, dict[str, list[float]]] = {}
        self._seed = 0

    def _sync(self, tool: Tool) -> None:
        run("sync", "-f", tool.base)

    def _measure(
        self, operation: str, before: Callable[[Tool], None], work: str, *,
        rounds: int, only: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        chosen = [tool for tool in self.tools if operation not in tool.lacks
                  and (tool.id in only if only else tool.id != "rollback-standby")]  # fmt: skip
        for number in range(rounds):
            self._seed += 1
            turn = number % len(chosen)
            for tool in chosen[turn:] + chosen[:turn]:
                before(tool)
                self._sync(tool)
                began = time.perf_counter()
                getattr(tool, work)()
                self._sync(tool)
                took = time.perf_counter() - began
                self.times.setdefault(operation, {}).setdefault(tool.id, []).append(took)
        print(f"  {operation}: " + ", ".join(
            f"{name} {statistics.median(found):.3f}"
            for name, found in self.times[operation].items()), flush=True)  # fmt: skip

    def run(self) -> None:
        """Everything, in the order in which an operator meets it."""
        fill(self.tools[0].data, self.shape)
        for tool in self.tools[1:]:
            tool.live.mkdir(parents=True, exist_ok=True)
            run("cp", "-a", self.tools[0].data, tool.live)
        slow, some = min(SLOW_ROUNDS, self.rounds), self.rounds
        self._measure("first", self._forget, "first", rounds=slow)
        for tool in self.tools:
            if isinstance(tool, Standby):
                self._forget(tool)
                tool.first()
        self._measure("no_change", lambda tool: None, "again", rounds=some)
        self._measure("changed_1pct", self._spoil, "again", rounds=some)
        self._measure("dry_run", self._spoil, "dry_run", rounds=some)
        self._measure("in_place", self._spoil, "in_place", rounds=some)
        for tool in self.tools:
            self._same(tool)
        for operation, share, count in (("standby", 0.01, some), ("standby_all", 1.0, slow)):
            self._measure(operation, partial(self._ready, share=share), "in_place",
                          rounds=count, only=("rollback-standby", "git"))  # fmt: skip
        self._measure("full_restore", self._gone, "full", rounds=slow)
        self._measure("verify", lambda tool: None, "verify", rounds=slow)

    def sizes(self) -> dict[str, int]:
        """Bytes on disk of what each tool keeps of one tree."""
        found = {}
        for tool in self.tools:
            kept = [tool.base / "kept", tool.base / "kept.tar", tool.base / ".rollback/store",
                    tool.data / ".git"]  # fmt: skip
            paths = [path for one in kept for path in (one, *one.rglob("*")) if path.exists()]
            found[tool.id] = sum(path.lstat().st_blocks * 512 for path in paths)
        return found

    def _forget(self, tool: Tool) -> None:
        for name in ("kept", ".rollback", "live/data/.git"):
            shutil.rmtree(tool.base / name, ignore_errors=True)
        with suppress(FileNotFoundError):
            (tool.base / "kept.tar").unlink()

    def _spoil(self, tool: Tool) -> None:
        damage(tool.data, self.shape, 0.01, self._seed)

    def _ready(self, tool: Tool, share: float) -> None:
        if isinstance(tool, Standby):
            tool.ready()
        damage(tool.data, self.shape, share, self._seed)

    def _gone(self, tool: Tool) -> None:
        for path in tool.data.iterdir():
            if path.name != ".git":
                shutil.rmtree(path)

    def _same(self, tool: Tool) -> None:
        """What was restored is what was kept: the tree is clean by the tool's own word, twice."""
        if isinstance(tool, Ours):
            system = declare.load(tool.base / "rollback.yaml", environ={})
            with Site.open(system, Host()) as site:
                kept = site.checkpoints
                if not isinstance(tool, Standby):
                    assert not kept.diff("newest"), tool.id


def main(rounds: int = 0) -> dict[str, Any]:
    """Every shape, printed and kept in reports/bench/store.json."""
    rounds = rounds or int(os.environ.get("BENCH_ROUNDS", "5"))
    wanted = os.environ.get("BENCH_SHAPES", ",".join(shape.id for shape in SHAPES)).split(",")
    absent = [tool.id for tool in TOOLS if not tool.there()]
    body: dict[str, Any] = {}
    sizes: dict[str, Any] = {}
    for shape in SHAPES:
        if shape.id not in wanted:
            continue
        print(f"{shape.id}", flush=True)
        folder = tempfile.mkdtemp(prefix="rollback-bench-", dir=os.environ.get("BENCH_DIR"))
        try:
            bench = Bench(shape, Path(folder), rounds)
            bench.run()
            sizes[shape.id] = bench.sizes()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        body[shape.id] = {
            operation: {
                tool.removesuffix("-standby"): round(statistics.median(found), 4)
                for tool, found in by.items()
            }
            for operation, by in bench.times.items()
        }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "store.json").write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    about = {"rounds": rounds, "absent": absent, "sizes": sizes, "machine": machine()}
    (RESULTS / "store-about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if absent:
        print(f"absent: {', '.join(absent)}")
    return body


if __name__ == "__main__":
    main()
