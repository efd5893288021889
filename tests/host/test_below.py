"""Paths below an open folder: which are plain, and that looking leaves the folder open."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.host import Tap, Tree
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


@pytest.mark.parametrize("folder", [b"home", b"home/deep", b".", b"not/there", b"link"])
def test_a_file_made_near_a_folder_stands_only_where_it_was_asked_for(
    tmp_path: Path, folder: bytes
) -> None:
    """Also near a folder that is not there, or is a link: then it is made as any other file."""
    (tmp_path / "home/deep").mkdir(parents=True)
    (tmp_path / "stage").mkdir()
    (tmp_path / "link").symlink_to("home")
    with Tree.open(str(tmp_path)) as tree, tree.sub("stage") as stage:
        stage.create_near("new", b"whole", folder=folder, of=tree, mode=0o640)
        with pytest.raises(FileExistsError):
            stage.create_near("new", b"other", folder=folder, of=tree, mode=0o640)
        assert stage.names() == [b"new"]
    made = tmp_path / "stage/new"
    assert made.read_bytes() == b"whole"
    assert made.stat().st_mode & 0o7777 == 0o640
    assert made.stat().st_nlink == 1
    assert [path.name for path in (tmp_path / "home").rglob("*")] == ["deep"]


def test_what_died_before_it_had_a_name_leaves_nothing(tmp_path: Path) -> None:
    class Full(Tap):
        def change(self, call: str, where: Any, do: Any, torn: Any = None) -> Any:
            if call == "write":
                raise OSError(errno.ENOSPC, "no room")
            return do()

    (tmp_path / "stage").mkdir()
    with Tree.open(str(tmp_path), tap=Full()) as tree, tree.sub("stage") as stage:
        with pytest.raises(OSError, match="no room"):
            stage.create_near("new", b"whole", folder=b".", of=tree, mode=0o600)
    assert [path.name for path in tmp_path.rglob("*")] == ["stage"]


def test_a_file_that_cannot_be_given_a_name_afterwards_is_made_as_any_other(tmp_path: Path) -> None:
    """Another quota or another key than that folder's, no /proc: the kernel refuses the name."""

    class Refusing(Tap):
        def change(self, call: str, where: Any, do: Any, torn: Any = None) -> Any:
            if call == "link":
                raise OSError(errno.EXDEV, "another project")
            return do()

    (tmp_path / "stage").mkdir()
    with Tree.open(str(tmp_path), tap=Refusing()) as tree, tree.sub("stage") as stage:
        stage.create_near("new", b"whole", folder=b".", of=tree, mode=0o600)
    assert (tmp_path / "stage/new").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]
