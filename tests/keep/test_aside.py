"""What is put aside, taken back or moved is always somewhere, whenever the process ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rollback.host import Host, Tap, Tree
from rollback.keep.aside import move_all, put_aside, take_back
from rollback.model.errors import HostError
from tests.keep.standin import World, component
from tests.killed import KILLED, CountingTap, DyingTap, Lacking, in_child, shots

HELD = {"app/f": "one", "app/d/g": "two", "app/d/deep/h": "three"}
TOP = [b"app/f", b"app/d"]
PAIRS = [(b"app/f", b"app/q/f"), (b"app/d", b"app/q/d")]

Deed = Callable[[Host, Tree, Tree], object]
DEEDS: dict[str, tuple[Deed, Deed]] = {
    "aside": (lambda host, state, root: put_aside(host, state, root, TOP, "s"),
              lambda host, state, root: take_back(host, state, root, TOP, "s")),
    "move": (lambda _host, _state, root: move_all(root, PAIRS),
             lambda _host, _state, root: move_all(root, [(b, a) for a, b in PAIRS])),
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, {"app": component("app")}).make()
    for path, text in HELD.items():
        (world.root / path).parent.mkdir(parents=True, exist_ok=True)
        (world.root / path).write_text(text)
    return world


def done(world: World, deed: Deed, tap: Tap) -> None:
    host = Host(tap=tap)
    with host.tree(str(world.root)) as root, host.tree(str(world.state)) as state:
        deed(host, state, root)


def texts(world: World) -> list[str]:
    """What is in all files, wherever they are; a file with two names counts once."""
    found = {}
    for path in (*world.root.rglob("*"), *world.state.rglob("*")):
        if path.is_file():
            found[path.stat().st_ino] = path.read_text()
    return sorted(found.values())


def here(world: World) -> bool:
    return all((world.root / path).is_file() for path in HELD)


@pytest.mark.parametrize("name", DEEDS)
@pytest.mark.parametrize("lacking", [(), ("renameat2",)])
def test_killed_at_any_change_it_is_here_or_there_and_the_same_call_ends_it(
    world: World, name: str, lacking: tuple[str, ...]
) -> None:
    """Away and back again, from each point; no byte is lost, nothing has two names in the end."""
    away, back = DEEDS[name]
    for deed, other in ((away, back), (back, away)):
        done(world, away, Tap())  # what only the first one makes is there
        if deed is away:
            done(world, back, Tap())
        counting = CountingTap()
        done(world, deed, Lacking(*lacking, inner=counting))
        done(world, other, Tap())
        assert len(counting.points) >= 4
        for shot in shots(counting.points):
            dying = Lacking(*lacking, inner=DyingTap(*shot))
            assert in_child(lambda d=deed, t=dying: done(world, d, t)) == KILLED  # type: ignore[misc]
            assert texts(world) == sorted(HELD.values()), shot
            done(world, deed, Lacking(*lacking))
            assert here(world) == (deed is back), shot
            done(world, other, Lacking(*lacking))
            assert here(world) == (deed is away), shot
            assert texts(world) == sorted(HELD.values())
        if deed is back:
            done(world, back, Tap())
    assert here(world)
    for path in HELD:
        assert (world.root / path).stat().st_nlink == 1


@pytest.mark.parametrize("lacking", [(), ("renameat2",)])
def test_something_else_that_came_to_stand_there_stays(
    world: World, lacking: tuple[str, ...]
) -> None:
    """What would come back is refused, and still lies in quarantine."""
    done(world, DEEDS["aside"][0], Lacking(*lacking))
    (world.root / "app/f").write_text("newer")
    with pytest.raises(HostError, match="something else stands"):
        done(world, DEEDS["aside"][1], Lacking(*lacking))
    assert (world.root / "app/f").read_text() == "newer"
    assert texts(world) == sorted([*HELD.values(), "newer"])
