"""A name moves where nothing stands, with renameat2 and without it, and never over something."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rollback.host import Host, Tap
from rollback.model.errors import HostError
from tests.killed import KILLED, CountingTap, DyingTap, Lacking, in_child, shots, without_renameat2

WAYS: dict[str, Tap] = {
    "renameat2": Tap(),
    "no-such-call": Lacking("renameat2", code=errno.ENOSYS),
    "no-such-flag": Lacking("renameat2", code=errno.EINVAL),
}


def made(tmp_path: Path, kind: str) -> Path:
    """Something of a kind, called `old`."""
    path = tmp_path / "old"
    if kind == "file":
        path.write_text("ours")
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.mkdir()
        (path / "in").write_text("ours")
    return path


def seen(path: Path) -> object:
    if path.is_symlink():
        return os.readlink(path)
    return path.read_text() if path.is_file() else sorted(os.listdir(path))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_moves_is_the_same_thing_under_another_name(
    tmp_path: Path, way: str, kind: str
) -> None:
    """The very inode, and the old name is gone."""
    before = made(tmp_path, kind)
    inode, what = before.lstat().st_ino, seen(before)
    with Host(tap=WAYS[way]).tree(str(tmp_path)) as tree:
        tree.move("old", tree, "new")
    assert os.listdir(tmp_path) == ["new"]
    assert ((tmp_path / "new").lstat().st_ino, seen(tmp_path / "new")) == (inode, what)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("kind", ["file", "link", "folder"])
@pytest.mark.parametrize("there", ["file", "link", "folder"])
def test_nothing_is_moved_over_anything(
    tmp_path: Path, way: str, alone: bool, kind: str, there: str
) -> None:
    """Both stay as they are."""
    made(tmp_path, there).rename(tmp_path / "new")
    made(tmp_path, kind)
    before = {name: (tmp_path / name).lstat().st_ino for name in ("old", "new")}
    with Host(tap=WAYS[way]).tree(str(tmp_path)) as tree, pytest.raises(FileExistsError):
        tree.move("old", tree, "new", alone=alone)
    assert {name: (tmp_path / name).lstat().st_ino for name in ("old", "new")} == before


def test_without_second_names_looking_first_is_for_folders_of_ours_alone(tmp_path: Path) -> None:
    """Where others write a file could come to stand there between the look and the rename."""
    made(tmp_path, "file")
    bare = Lacking("renameat2", "link", code=errno.EPERM)
    bare.codes["renameat2"] = errno.EINVAL
    with Host(tap=bare).tree(str(tmp_path)) as tree:
        with pytest.raises(HostError, match="without perhaps replacing another"):
            tree.move("old", tree, "new")
        assert os.listdir(tmp_path) == ["old"]
        tree.move("old", tree, "new", alone=True)
        assert os.listdir(tmp_path) == ["new"]
        (tmp_path / "old").write_text("another")
        with pytest.raises(FileExistsError):
            tree.move("old", tree, "new", alone=True)
    assert (tmp_path / "new").read_text() == "ours"


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_killed_at_any_change_it_has_a_name_and_the_same_call_ends_it(
    tmp_path: Path, kind: str
) -> None:
    """Its old name, its new one, or both; never none."""
    made(tmp_path, kind)

    def move(tap: Tap) -> None:
        with Host(tap=Lacking("renameat2", inner=tap)).tree(str(tmp_path)) as tree:
            tree.move("old", tree, "new")

    counting = CountingTap()
    move(counting)
    (tmp_path / "new").rename(tmp_path / "old")
    inode = (tmp_path / "old").lstat().st_ino
    for shot in shots(counting.points):
        assert in_child(lambda s=shot: move(DyingTap(*s))) == KILLED  # type: ignore[misc]
        assert {path.lstat().st_ino for path in tmp_path.iterdir()} == {inode}
        if (tmp_path / "old").exists() or (tmp_path / "old").is_symlink():
            move(Tap())
        assert os.listdir(tmp_path) == ["new"]
        (tmp_path / "new").rename(tmp_path / "old")


def test_a_kernel_without_the_call_moves_all_the_same(tmp_path: Path) -> None:
    """Refused by the kernel itself; an exchange says that it cannot be had."""
    made(tmp_path, "file")

    def old_kernel() -> None:
        without_renameat2()
        with Host().tree(str(tmp_path)) as tree:
            tree.move("old", tree, "new")
            (tmp_path / "other").write_text("other")
            with pytest.raises(OSError, match=r"Invalid argument|not implemented"):
                tree.exchange("new", "other")

    assert in_child(old_kernel) == 0
    assert (tmp_path / "new").read_text() == "ours"
