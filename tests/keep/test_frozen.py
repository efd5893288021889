"""Freezing changes nothing outside of the component, also where a file has a second name there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rollback.keep.frozen import freeze, loose, thaw
from rollback.keep.scope import Scope
from rollback.model.errors import Refused
from tests.keep.standin import World, component, tree_of, walked


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, {"app": component("app")}).make()
    (world.root / "app/d").mkdir(parents=True)
    (world.root / "app/d/f").write_text("one")
    (world.root / "app/same").hardlink_to(world.root / "app/d/f")
    (world.base / "outside").write_text("precious")
    return world


def frozen(world: World) -> int:
    with tree_of(world.root) as root, tree_of(world.state) as state:
        return freeze(state, root, "app", b"app", Scope(), "r", immutable=False)


def thawed(world: World) -> int:
    with tree_of(world.root) as root, tree_of(world.state) as state:
        return thaw(state, root, "app", b"app", Scope())


def test_two_names_inside_are_one_file_that_is_frozen_and_thawed(world: World) -> None:
    """Neither is a name elsewhere."""
    before = walked(world.root)
    assert frozen(world) == 4
    with tree_of(world.root) as root:
        assert loose(root, b"app", Scope()) == []
    assert thawed(world) > 0
    assert walked(world.root) == before


def test_a_file_that_has_a_name_outside_is_refused_before_anything(world: World) -> None:
    """It would be frozen there too."""
    os.link(world.base / "outside", world.root / "app/planted")
    before = walked(world.base)
    with pytest.raises(Refused, match="another name outside"):
        frozen(world)
    assert walked(world.base) == before


def test_a_file_that_came_to_have_one_is_not_given_rights_outside(world: World) -> None:
    """Planted while it was frozen, with the very mode that a frozen one has."""
    (world.base / "outside").chmod(0o444)
    frozen(world)
    (world.root / "app/d").chmod(0o755)
    (world.root / "app/d/f").unlink()
    os.link(world.base / "outside", world.root / "app/d/f")
    thawed(world)
    assert (world.base / "outside").stat().st_mode & 0o777 == 0o444
