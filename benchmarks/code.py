"""Level code with 2,000 of 20,000 files changed, over `git checkout` of the same change.

In process, both synced: after git's checkout the file system is synced, as our apply does.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pygit2

from benchmarks.measure import in_turn, report
from rollback.host import Host
from rollback.keep.git import Repository

FILES, CHANGED = 20_000, 2_000


def main(rounds: int = 5) -> dict[str, Any]:
    """The benchmark, printed and kept."""
    with tempfile.TemporaryDirectory(prefix="rollback-bench-") as folder:
        root = Path(folder, "repository")
        good, bad = _repository(root)
        counter = iter(range(1000))

        def ours() -> float:
            _git(root, "checkout", "-q", "-f", "-B", "main", bad)
            host = Host()
            began = time.perf_counter()
            with Repository.at(root, host) as repository:
                plan = repository.plan_reset(good)
                repository.apply(plan, run="bench", step=str(next(counter)))
            took = time.perf_counter() - began
            assert _tree(root) == good_tree
            return took

        def theirs() -> float:
            _git(root, "checkout", "-q", "-f", "-B", "main", bad)
            repository = pygit2.Repository(str(root))
            commit = repository[good]
            began = time.perf_counter()
            repository.checkout_tree(commit, strategy=pygit2.enums.CheckoutStrategy.FORCE)
            repository.set_head(commit.id)
            os.sync()
            return time.perf_counter() - began

        def program() -> float:
            _git(root, "checkout", "-q", "-f", "-B", "main", bad)
            began = time.perf_counter()
            _git(root, "checkout", "-q", "-f", good)
            os.sync()
            return time.perf_counter() - began

        _git(root, "checkout", "-q", "-f", "-B", "main", good)
        good_tree = _tree(root)
        times = in_turn({"plan and apply of level code": ours, "libgit2 checkout and sync": theirs,
                         "git checkout and sync": program}, rounds=rounds)  # fmt: skip
    mine, library, git = (sorted(values)[len(values) // 2] for values in times.values())
    return report("code", times, aims={"over git checkout, in process": "at most 3"},
                  ratio_over_libgit2=round(mine / library, 2), ratio_over_git=round(mine / git, 2),
                  files=FILES, changed=CHANGED)  # fmt: skip


def _repository(root: Path) -> tuple[str, str]:
    root.mkdir()
    _git(root, "init", "-q", "--initial-branch=main")
    for key, value in (
        ("user.name", "Bench"),
        ("user.email", "bench@example.invalid"),
        ("gc.auto", "0"),
    ):
        _git(root, "config", key, value)
    for number in range(FILES):
        folder = root / f"d{number % 200:03d}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number:05d}.txt").write_text(f"{number}\n" * 200, encoding="utf-8")
    _commit(root, "good")
    good = _tree_id(root)
    for number in range(0, FILES, FILES // CHANGED):
        path = root / f"d{number % 200:03d}" / f"f{number:05d}.txt"
        path.write_text(f"changed {number}\n" * 200, encoding="utf-8")
    _commit(root, "bad")
    return good, _tree_id(root)


def _commit(root: Path, message: str) -> None:
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", message)


def _tree_id(root: Path) -> str:
    return _git(root, "rev-parse", "HEAD").strip()


def _tree(root: Path) -> str:
    _git(root, "update-index", "-q", "--really-refresh")
    return _git(root, "status", "--porcelain") + _git(root, "rev-parse", "HEAD^{tree}")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=True)
    return done.stdout.decode()
