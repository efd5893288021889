"""What a component stands in: mounts, links, immutable folders, files that come, grow and go."""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rollback.keep.aside import movable
from rollback.model.errors import Confined, Partial, Refused
from tests.keep.standin import World, component, tree_of, walked


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path, {"app": component("app")}).make()
    (found.root / "app/sub").mkdir(parents=True)
    (found.root / "app/f").write_text("then")
    (found.root / "app/sub/g").write_text("below")
    return found


def test_a_mount_inside_is_neither_captured_nor_moved(tmp_path: Path) -> None:
    """Every Linux has one: /dev/shm in /dev. What is below it belongs to another file system."""

    class Machine(World):
        def system(self) -> Any:
            made = super().system()
            return SimpleNamespace(**{**vars(made), "root_path": Path("/")})

    found = Machine(tmp_path, {"dev": component("dev", paths=("shm",))})
    found.state.mkdir(mode=0o700)
    assert os.stat("/dev").st_dev != os.stat("/dev/shm").st_dev
    with found.open() as checkpoints:
        with pytest.raises((Confined, Partial)):
            checkpoints.create("mount")
        assert not [one for one in checkpoints.list() if one.target]
    with tree_of(Path("/dev")) as tree, pytest.raises(Confined, match="mount"):
        movable(tree, [b"shm"])


def test_a_root_that_is_a_link_is_the_folder_that_it_leads_to(world: World) -> None:
    """Captured and put back there; the link stays."""
    real = world.base / "real"
    world.root.rename(real)
    world.root.symlink_to(real)
    then = walked(real)
    with world.open() as checkpoints:
        made = checkpoints.create("then")
        (real / "app/f").write_text("now")
        checkpoints.restore(made.id, "app", step="r")
    assert walked(real) == then
    assert world.root.is_symlink()


def test_an_immutable_file_is_refused_before_the_first_write(world: World) -> None:
    """Where the flag can be set; where it cannot, there is nothing to refuse."""
    with world.open() as checkpoints:
        made = checkpoints.create("then")
    for path in ("app/f", "app/sub/g"):
        (world.root / path).write_text("now")
    fixed = world.root / "app/sub/g"
    marked = subprocess.run(["chattr", "+i", str(fixed)], capture_output=True, check=False)
    before = walked(world.root)
    try:
        with world.open() as checkpoints:
            if marked.returncode == 0:
                with pytest.raises(Refused, match="immutable"):
                    checkpoints.restore(made.id, "app", step="r")
                assert walked(world.root) == before
            else:
                assert len(checkpoints.restore(made.id, "app", step="r")) >= 2
    finally:
        subprocess.run(["chattr", "-i", str(fixed)], capture_output=True, check=False)


def test_while_files_grow_come_and_go_a_whole_checkpoint_is_one_that_comes_back(
    world: World,
) -> None:
    """Either PARTIAL with the path, or every file in it is one that stood there."""
    stop = threading.Event()

    def busy() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with suppress(OSError):
                with (world.root / "app/growing").open("ab") as file:
                    file.write(b"x" * 1000)
                (world.root / "app/sub/comes").write_text("y" * 100)
                (world.root / "app/sub/comes").rename(world.root / "app/sub/goes")
                (world.root / "app/sub/goes").unlink()

    other = threading.Thread(target=busy)
    other.start()
    made = []
    try:
        with world.open() as checkpoints:
            for number in range(12):
                with suppress(Partial):
                    made.append(checkpoints.create(f"n{number}"))
    finally:
        stop.set()
        other.join()
    with world.open() as checkpoints:
        listed = checkpoints.list()
        assert len(listed) == 12
        for one in listed:
            assert one.target or one.missing
        for one in made:
            checkpoints.restore(one.id, "app", step=f"r-{one.name}")
            assert set((world.root / "app/growing").read_bytes() or b"x") == set(b"x")
            for name in ("comes", "goes"):
                path = world.root / "app/sub" / name
                assert not path.exists() or set(path.read_bytes()) <= set(b"y")
