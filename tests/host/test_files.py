"""Taking a folder away: all of it, nothing beside it, whatever stands in it and whoever interferes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rollback.host import Host, Tap
from rollback.model.errors import Confined
from tests.systems import walk


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with something precious, next to the one that is worked in."""
    folder = tmp_path / "beside"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "precious").write_text("not ours\n")
    return folder


def test_a_folder_goes_with_everything_in_it_and_links_are_not_followed(
    tmp_path: Path, beside: Path
) -> None:
    """Links to files and folders, a dangling one, a FIFO, a hard link, a name that is no text."""
    before = walk(beside)
    work = tmp_path / "work"
    (work / "a" / "b").mkdir(parents=True)
    (work / "a" / "b" / "file").write_text("x")
    (work / "a" / "to-folder").symlink_to(beside, target_is_directory=True)
    (work / "a" / "to-file").symlink_to(beside / "deep" / "precious")
    (work / "dangling").symlink_to("nowhere")
    os.mkfifo(work / "fifo")
    os.link(beside / "deep" / "precious", work / "second-name")
    (Path(os.fsdecode(os.fsencode(work) + b"/\xff\n"))).write_text("y")
    with Host().tree(str(tmp_path)) as tree:
        tree.remove("work")
        assert tree.names() == [b"beside"]
        tree.remove("work")  # nothing stands there: nothing to do
    assert walk(beside) == before


def test_a_link_in_place_of_the_folder_goes_and_what_it_leads_to_stays(
    tmp_path: Path, beside: Path
) -> None:
    """The link alone is gone; a path through it is refused."""
    before = walk(beside)
    (tmp_path / "work").symlink_to(beside, target_is_directory=True)
    with Host().tree(str(tmp_path)) as tree:
        with pytest.raises(Confined):
            tree.remove("work/deep")
        tree.remove("work")
        assert tree.names() == [b"beside"]
        for path in ("..", "/etc", "."):
            with pytest.raises(Confined):
                tree.remove(path)
    assert walk(beside) == before


def test_who_swaps_a_folder_for_a_link_meanwhile_leads_nobody_out(
    tmp_path: Path, beside: Path
) -> None:
    """The folder was looked at, and is a link to somewhere else when it is emptied."""
    before = walk(beside)
    work = tmp_path / "work"
    (work / "deep").mkdir(parents=True)
    (work / "deep" / "precious").write_text("ours\n")

    class Swaps(Tap):
        """In the last instant before the first change."""

        def change(self, call, where, do, torn=None):  # type: ignore[no-untyped-def]
            if not (tmp_path / "aside").exists():
                work.rename(tmp_path / "aside")
                work.symlink_to(beside, target_is_directory=True)
            return do()

    with Host(tap=Swaps()).tree(str(tmp_path)) as tree, pytest.raises((OSError, Confined)):
        tree.remove("work")
    assert walk(beside) == before


@pytest.mark.parametrize("stands", ["folder", "file", "link"])
def test_a_folder_that_somebody_makes_at_the_same_moment_is_the_folder(
    stands: str, tmp_path: Path, beside: Path
) -> None:
    """Two notifiers write into one folder that was not there; anything else in the way stays an error."""

    class Quicker(Tap):
        def change(self, call: Any, where: Any, do: Any, torn: Any = None) -> Any:
            if call == "mkdir" and os.fsdecode(where).endswith("new"):
                {
                    "folder": os.mkdir,
                    "file": lambda path: path.write_text("x"),
                    "link": lambda path: path.symlink_to(beside),
                }[stands](tmp_path / "new")  # type: ignore[operator]
            return do()

    with Host(tap=Quicker()).tree(str(tmp_path)) as tree:
        if stands == "folder":
            tree.make_folder("new/below", parents=True)
            assert (tmp_path / "new" / "below").is_dir()
            return
        with pytest.raises((Confined, FileExistsError)):
            tree.make_folder("new/below", parents=True)
    assert sorted(path.name for path in beside.iterdir()) == ["deep"]
