"""What planning a rollback of a repository costs: it grows with what differs, and reads it once."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import pytest

from rollback.host import Tree
from tests.keep.git_lab import Lab


def calls_to_plan(path: Path, count: int) -> int:
    """How many calls a plan makes that takes `count` changed files back."""
    lab = Lab(path)
    good = lab.commit("good", {f"d{n % 7}/f{n}": f"{n}\n" for n in range(count)})
    lab.commit("bad", {f"d{n % 7}/f{n}": f"changed {n}\n" for n in range(count)})
    counted = 0

    def look(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event == "call"

    with lab.open() as repo:
        sys.setprofile(look)
        try:
            plan = repo.plan_reset(good)
        finally:
            sys.setprofile(None)
    assert len(plan.changes) == count
    return counted


def test_a_plan_of_four_times_as_many_files_is_four_times_the_work(tmp_path: Path) -> None:
    few, many = (calls_to_plan(tmp_path / str(count), count) for count in (100, 400))
    assert many < 5 * few


@pytest.mark.parametrize("good", ["kept\n", "two words, and longer\n"])
def test_each_file_that_differs_is_read_once_to_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: str
) -> None:
    """Also where the old and the new bytes are equally many, and the size tells nothing."""
    lab = Lab(tmp_path / "repo")
    target = lab.commit("good", {"a.txt": good, "b.txt": "the same\n"})
    lab.commit("bad", {"a.txt": "lost\n"})
    read: Counter[bytes] = Counter()
    honest = Tree.read

    def counting(tree: Tree, path: bytes | str, *, limit_bytes: int = 2**30) -> bytes:
        read[path if isinstance(path, bytes) else path.encode()] += 1
        return honest(tree, path, limit_bytes=limit_bytes)

    with lab.open() as repo:
        monkeypatch.setattr(Tree, "read", counting)
        plan = repo.plan_reset(target)
    assert plan.files() == ("a.txt",)
    assert {path: times for path, times in read.items() if not path.startswith(b".git")} == {
        b"a.txt": 1
    }
