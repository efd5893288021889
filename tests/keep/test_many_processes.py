"""One writer, many readers, each a process of its own: nobody is robbed, nobody is mixed up."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback.keep.checkpoint_record import Checkpoint
from rollback.keep.life import Life
from rollback.model.errors import StoreError
from rollback.model.finding import Answer
from tests.keep.standin import World, component, walked
from tests.killed import in_child

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
ROUNDS = 6


@pytest.fixture
def world() -> Iterator[World]:
    base = Path(tempfile.mkdtemp(dir=FAST, prefix="many-"))
    base.chmod(0o755)
    found = World(base, {"app": component("app"), "other": component("other", order=1)}).make()
    for name in ("app", "other"):
        (found.root / name).mkdir()
        for number in range(40):
            (found.root / name / str(number)).write_bytes(os.urandom(3000))
    yield found
    shutil.rmtree(base)


def at_once(*work: Callable[[], object]) -> list[int]:
    """The exit statuses of processes that did all that at the same time."""
    children = []
    for do in work:
        child = os.fork()
        if child == 0:
            os._exit(0 if in_child(do) == 0 else 1)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def changed(world: World, name: str, turn: int) -> None:
    (world.root / name / str(turn)).write_bytes(os.urandom(3000))


def whole(world: World) -> None:
    with world.open() as checkpoints:
        for one in checkpoints.list():
            assert one.target, one.problems
            assert all(x.answer is Answer.PASS for x in checkpoints.verify(one.id, deep=True))


def test_two_captures_take_turns_and_both_list(world: World) -> None:
    """Every checkpoint of both is whole."""

    def capture(name: str) -> Callable[[], None]:
        def do() -> None:
            for turn in range(ROUNDS):
                changed(world, name, turn)
                with world.open() as checkpoints:
                    checkpoints.create(f"{name}-{turn}", components=(name,))

        return do

    assert at_once(capture("app"), capture("other")) == [0, 0]
    with world.open() as checkpoints:
        assert len(checkpoints.list()) == 2 * ROUNDS
    whole(world)


def test_a_capture_and_a_restore_do_not_disturb_each_other(world: World) -> None:
    """What is put back is exactly what was captured, while another component is captured."""
    with world.open() as checkpoints:
        checkpoints.create("then", components=("app",))
    then = walked(world.root / "app")

    def restore() -> None:
        for turn in range(ROUNDS):
            changed(world, "app", turn)
            with world.open() as checkpoints:
                checkpoints.restore("then", "app", step=f"r{turn}")

    def capture() -> None:
        for turn in range(ROUNDS):
            changed(world, "other", turn)
            with world.open() as checkpoints:
                checkpoints.create(f"now-{turn}", components=("other",))

    assert at_once(restore, capture) == [0, 0]
    assert walked(world.root / "app") == then
    whole(world)


def test_what_is_let_go_while_a_list_is_made_is_not_listed_as_damaged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record was read, and then everything of it was gone."""
    with world.open() as looking, world.open() as freeing:
        freeing.create("old", components=("other",))
        records, gone = looking.records, []

        def slowly() -> Iterator[tuple[str, Checkpoint | StoreError]]:
            found = list(records())
            if not gone:
                gone.append(Life(freeing).delete("old"))
            return iter(found)

        monkeypatch.setattr(looking, "records", slowly)
        assert looking.list() == ()


def test_freeing_robs_no_restore_and_no_capture(world: World) -> None:
    """Packs are rewritten and dropped while checkpoints are made, read and put back."""
    with world.open() as checkpoints:
        checkpoints.create("then", components=("app",))
        for turn in range(ROUNDS):
            for number in range(1, 40):
                changed(world, "other", number)
            checkpoints.create(f"old-{turn}", components=("other",))
    then = walked(world.root / "app")

    def restore() -> None:
        for turn in range(2 * ROUNDS):
            changed(world, "app", turn)
            with world.open() as checkpoints:
                checkpoints.restore("then", "app", step=f"r{turn}")
                assert all(one.target for one in checkpoints.list())

    def free() -> None:
        for turn in range(ROUNDS):
            with world.open() as checkpoints:
                Life(checkpoints).delete(f"old-{turn}")

    def capture() -> None:
        for turn in range(ROUNDS):
            changed(world, "other", turn)
            with world.open() as checkpoints:
                checkpoints.create(f"now-{turn}", components=("other",))

    assert at_once(restore, free, capture) == [0, 0, 0]
    assert walked(world.root / "app") == then
    with world.open() as checkpoints:
        assert {one.name for one in checkpoints.list()} == {
            "then", *(f"now-{turn}" for turn in range(ROUNDS))}  # fmt: skip
    whole(world)


def test_who_looks_while_packs_are_rewritten_sees_every_target(world: World) -> None:
    """An index that was read before is not taken for a loss: it is read again."""
    with world.open() as checkpoints:
        checkpoints.create("a", components=("app",))
        for number in range(1, 40):
            changed(world, "app", number)
        checkpoints.create("b", components=("app",))
        with world.open() as other:
            listed: dict[str, Any] = {one.name: one for one in checkpoints.list()}
            Life(other).delete("a")
            (world.state / "cache/judged.json").unlink(missing_ok=True)
            assert listed["b"].target
            assert checkpoints.get("b").target
            assert [one.target for one in checkpoints.list()] == [True]
            emptied = world.root / "app"
            then = walked(emptied)
            shutil.rmtree(emptied)
            checkpoints.restore("b", "app", step="s")
            assert walked(emptied).keys() == then.keys()
