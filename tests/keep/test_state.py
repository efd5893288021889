"""The state directory: private, ours, a folder; anything else is refused with what to type."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rollback.host import Host
from rollback.keep.state import FOLDERS, StateDir
from rollback.model.errors import JournalError
from tests.systems import build


def test_it_comes_into_being_private_and_ignored_by_git(tmp_path: Path) -> None:
    """Whatever the umask; and opening it again changes nothing."""
    shop = build(tmp_path)
    old = os.umask(0)
    try:
        StateDir.open(shop.system, Host()).close()
    finally:
        os.umask(old)
    state = tmp_path / ".rollback"
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / ".gitignore").read_text() == "*\n"
    assert {path.name for path in state.iterdir() if path.is_dir()} == set(FOLDERS)
    assert all(path.stat().st_mode & 0o077 == 0 for path in state.iterdir())
    before = {path: path.stat().st_mtime_ns for path in state.rglob("*")}
    StateDir.open(shop.system, Host()).close()
    assert before == {path: path.stat().st_mtime_ns for path in state.rglob("*")}


def _link(state: Path) -> None:
    (state.parent / "elsewhere").mkdir(mode=0o700)
    state.symlink_to(state.parent / "elsewhere")


def _dangling(state: Path) -> None:
    state.symlink_to(state.parent / "nowhere")


def _file(state: Path) -> None:
    state.write_text("")


def _open_to_others(state: Path) -> None:
    state.mkdir()
    state.chmod(0o755)


def _another_owner(state: Path) -> None:
    state.mkdir(mode=0o700)
    os.chown(state, 12345, 12345)


def _file_inside(state: Path) -> None:
    state.mkdir(mode=0o700)
    (state / "journal").write_text("")


def _link_inside(state: Path) -> None:
    state.mkdir(mode=0o700)
    (state / "runs").symlink_to("/tmp")


@pytest.mark.parametrize(
    "spoil",
    [_link, _dangling, _file, _open_to_others, _another_owner, _file_inside, _link_inside],
    ids=lambda one: one.__name__.strip("_"),
)
def test_a_state_directory_that_is_not_ours_alone_is_refused(
    spoil: Callable[[Path], None], tmp_path: Path
) -> None:
    """Nothing is repaired silently, nothing is written through it."""
    shop = build(tmp_path)
    spoil(tmp_path / ".rollback")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(JournalError) as caught:
        StateDir.open(shop.system, Host())
    assert caught.value.exit_status == 8
    assert caught.value.where
    assert caught.value.hint
    made = set(map(str, tmp_path.rglob("*"))) - set(before)
    assert all("elsewhere" not in name for name in made)


def test_without_leave_to_make_it_nothing_is_made(tmp_path: Path) -> None:
    """Commands that only look leave no trace."""
    shop = build(tmp_path)
    with pytest.raises(JournalError, match="no state directory yet"):
        StateDir.open(shop.system, Host(), create=False)
    assert not (tmp_path / ".rollback").exists()


def test_a_parent_that_is_not_there_is_said(tmp_path: Path) -> None:
    """The folder above must exist: it is not guessed into being."""
    shop = build(tmp_path)
    shop.edit("dir: .rollback", "dir: not/there/state")
    with pytest.raises(JournalError, match="cannot be made"):
        StateDir.open(shop.system, Host())
