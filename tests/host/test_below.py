"""Paths below an open folder: which are plain, and that looking leaves the folder open."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.host import Tree
from rollback.host.below import checked
from rollback.model.errors import Confined


@pytest.mark.parametrize(
    "path",
    ["a", "...", "..a", "a..", ".a/b.", "a\nb/c\n", "x" * 255, "a/" * 40 + "b", b"\xff/\x01"],
)
def test_a_plain_path_is_itself(path: str | bytes) -> None:
    assert checked(path) == (path if isinstance(path, bytes) else path.encode())


@pytest.mark.parametrize(
    "path", ["/a", "/", "a/", "a//b", "..", "../a", "a/..", "a/../b", "./a", "a/.", "a/./b",
             "a\0b", "\0", "x" * 256, "a/" + "x" * 256 + "/b"],
)  # fmt: skip
def test_a_path_that_could_leave_its_root_is_refused(path: str) -> None:
    with pytest.raises(Confined):
        checked(path)


@given(st.lists(st.sampled_from([b"a", b".", b"..", b"", b"\0", b"\n", b"..b"]), min_size=2))
def test_a_path_is_plain_when_each_of_its_parts_is(parts: list[bytes]) -> None:
    path = b"/".join(parts)
    if all(part in (b"a", b"\n", b"..b") for part in parts):
        assert checked(path) == path
    else:
        with pytest.raises(Confined):
            checked(path)


def test_what_stands_in_the_folder_itself_is_changed_without_closing_it(tmp_path: Path) -> None:
    """The last name of a short path is taken in the root's own descriptor, which stays open."""
    with Tree.open(str(tmp_path)) as tree:
        for name in ("one", "two", "three"):
            tree.write(name, name.encode(), sync=False)
            tree.rename(name, f"{name}.new")
            assert tree.stat(name) is None
        tree.exchange("one.new", "two.new")
        tree.unlink("three.new")
        assert tree.names() == [b"one.new", b"two.new"]
        assert tree.read("one.new") == b"two"
