"""The step `set` on a link or a whole file: what is in force is switched, read back and taken back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic_core import PydanticCustomError

from rollback.act.scene import Scene
from rollback.host import Host, Tap
from rollback.model.errors import Confined, HostError, PlanError
from rollback.model.finding import Answer
from rollback.model.registry import read_item

from .conftest import World

T = TypeVar("T")
SAYS = {"command": {"argv": ["/bin/cat", "current/app.py"], "contains": "1.0.0"}}


@pytest.fixture
def releases(world: World) -> World:
    """Two releases, a link and a file that say which one is in force: the newer."""
    for version in ("1.0.0", "2.0.0"):
        (world.root / "releases" / version).mkdir(parents=True)
        (world.root / "releases" / version / "app.py").write_text(version)
    (world.root / "current").symlink_to("releases/2.0.0")
    (world.root / "VERSION").write_text("2.0.0\n")
    return world


def _link(world: World, value: str = "releases/1.0.0", **more: Any) -> tuple[Any, Scene]:
    parameters = {"link": "current", "value": value, "read_back": SAYS, "within": "2s", **more}
    return world.bound("set", parameters)


def _line(world: World, value: Any = "1.0.0", **more: Any) -> tuple[Any, Scene]:
    file = more.pop("file", "VERSION")
    says = {"command": {"argv": ["/bin/cat", file], "contains": "1.0.0"}}
    return world.bound("set", {"file": file, "value": value, "read_back": says, "within": "2s",
                               **more})  # fmt: skip


def test_a_link_is_switched_and_the_plan_says_from_where_to_where(releases: World) -> None:
    """Who opens a file through it gets the other release; its old target is left alone."""
    step, scene = _link(releases)
    assert step.describe(scene)[0] == "current releases/2.0.0 -> releases/1.0.0"
    assert scene.bound["changes"] == 1
    step.apply(scene)
    assert os.readlink(releases.root / "current") == "releases/1.0.0"
    assert (releases.root / "current/app.py").read_text() == "1.0.0"
    assert (releases.root / "releases/2.0.0/app.py").read_text() == "2.0.0"
    _, there = _link(releases)
    assert there.bound["changes"] == 0
    step.undo(scene)
    assert os.readlink(releases.root / "current") == "releases/2.0.0"


class Reading(Tap):
    """Whoever opens the file through the link, after every change to the world."""

    def __init__(self, file: Path) -> None:
        self.file, self.seen = file, [file.read_text()]

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        """The result of `do()`; what is read then is noted."""
        done = do()
        self.seen.append(self.file.read_text())
        return done


def test_nobody_ever_finds_no_link(releases: World) -> None:
    """After every single change it leads to one of the two, first to the old, then to the new."""
    reading = Reading(releases.root / "current/app.py")
    step, scene = _link(releases)
    step.apply(replace(scene, host=Host(tap=reading)))
    there = reading.seen.index("1.0.0")
    assert set(reading.seen[:there]) == {"2.0.0"}
    assert set(reading.seen[there:]) == {"1.0.0"}
    step.undo(replace(scene, host=Host(tap=reading)))
    assert reading.seen[-1] == "2.0.0"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("/etc", "no place below the root"),
        ("../outside", "would lead out of the root"),
        ("releases/../../outside", "would lead out of the root"),
        ("releases/1.0.0/", "write releases/1.0.0 for"),
        ("", "one line"),
        (".", "would lead to the link itself"),
        ("current", "would lead to the link itself"),
        ("releases/\n", "one line"),
        (1.0, "write it in quotes"),
    ],
)
def test_a_link_that_leads_elsewhere_cannot_be_declared(value: Any, told: str) -> None:
    """Not out of the root, not to itself, not by an absolute path."""
    with pytest.raises(PydanticCustomError) as caught:
        read_item("action", {"set": {"link": "current", "value": value, "read_back": SAYS}})
    (problem,) = (caught.value.context or {})["errors"]
    assert told in str(problem["ctx"]["error"])


def test_a_link_to_what_is_not_there_or_is_a_link_itself_is_refused(releases: World) -> None:
    """When the plan is made, and again when it is done."""
    outside = releases.folder / "outside"
    outside.mkdir()
    (releases.root / "releases" / "way").symlink_to(outside)
    for value in ("releases/3.0.0", "releases/way"):
        with pytest.raises(PlanError):
            _link(releases, value)
    with pytest.raises((PlanError, Confined)):
        _link(releases, "releases/way/deep")
    step, scene = _link(releases)
    (releases.root / "releases/1.0.0").rename(releases.root / "releases/gone")
    with pytest.raises(HostError, match="nothing to point at"):
        step.apply(scene)
    assert os.readlink(releases.root / "current") == "releases/2.0.0"


def test_a_folder_in_the_place_of_the_link_is_never_replaced(releases: World) -> None:
    """Nor a file: what is in it would be gone."""
    (releases.root / "current").unlink()
    (releases.root / "current").mkdir()
    (releases.root / "current" / "precious").write_text("x")
    with pytest.raises(PlanError, match="no link"):
        _link(releases)
    (releases.root / "current" / "precious").unlink()
    (releases.root / "current").rmdir()
    step, scene = _link(releases)
    assert scene.bound["was"] is None
    (releases.root / "current").write_text("somebody's")
    with pytest.raises(HostError, match="no link"):
        step.apply(scene)
    with pytest.raises(HostError, match="no link"):
        step.undo(scene)
    assert (releases.root / "current").read_text() == "somebody's"


def test_a_link_behind_a_link_is_not_reached(releases: World) -> None:
    """The folder of the link is resolved without following one."""
    outside = releases.folder / "outside"
    outside.mkdir()
    (releases.root / "way").symlink_to(outside)
    with pytest.raises((PlanError, Confined)):
        _link(releases, "../releases/1.0.0", link="way/current")
    assert not list(outside.iterdir())


def test_a_link_that_does_not_read_back_fails_the_step(releases: World) -> None:
    """A process that holds the old release open goes on with it: the check says so."""
    says = {"command": {"argv": [sys.executable, "-c", "print('2.0.0')"], "contains": "1.0.0"}}
    step, scene = _link(releases, read_back=says, within="1s")
    with pytest.raises(HostError, match="current does not read back"):
        step.apply(scene)
    assert step.probe(scene).answer is Answer.FAIL


@pytest.mark.parametrize("end", ["\n", "", "\r\n"])
def test_a_version_file_ends_as_it_ended(releases: World, end: str) -> None:
    """Its mode stays, too; taken back it has its old bytes."""
    file = releases.root / "VERSION"
    file.write_bytes(b"2.0.0" + end.encode())
    file.chmod(0o640)
    step, scene = _line(releases)
    assert step.describe(scene)[0] == "VERSION 2.0.0 -> 1.0.0"
    step.apply(scene)
    assert file.read_bytes() == b"1.0.0" + end.encode()
    assert file.stat().st_mode & 0o777 == 0o640
    assert step.probe(scene).answer is Answer.PASS
    step.undo(scene)
    assert file.read_bytes() == b"2.0.0" + end.encode()


@pytest.mark.parametrize("body", [b"2.0.0\nchangelog\n", b"\0\n", b"\xff\xfe\n"])
def test_a_file_that_is_more_than_a_version_is_not_overwritten(
    releases: World, body: bytes
) -> None:
    """Refused when the plan is made; and when it became one since, by the step and its undo."""
    file = releases.root / "VERSION"
    step, scene = _line(releases)
    file.write_bytes(body)
    with pytest.raises(PlanError):
        _line(releases)
    for act in (step.apply, step.undo):
        with pytest.raises(HostError):
            act(scene)
    assert file.read_bytes() == body


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"value": "1"}, "write one of: file, link"),
        ({"value": "1", "file": "a", "link": "b"}, "write one of: file, link"),
        ({"value": "1", "link": "b", "key": "c"}, "a link has no key"),
        ({"value": "1", "file": "a", "format": "yaml"}, "write key: NAME"),
        ({"value": "1", "file": "a", "format": "text", "key": "b"}, "leave key out"),
        ({"value": 1.1, "file": "VERSION"}, 'value: "1.1"'),
        ({"value": "1\n2", "file": "VERSION"}, "one line"),
    ],
)
def test_what_does_not_go_together_is_refused(parameters: dict[str, Any], told: str) -> None:
    """With what to write instead."""
    with pytest.raises(PydanticCustomError) as caught:
        read_item("action", {"set": {**parameters, "read_back": SAYS}})
    assert any(told in str(one["ctx"]["error"]) for one in (caught.value.context or {})["errors"])


def test_the_component_that_holds_the_link_is_protected(releases: World) -> None:
    """It is in the safety checkpoint of a run that switches it."""
    (releases.root / "config" / "current").symlink_to("config.yaml")
    (releases.root / "config" / "old.yaml").write_text("old: true\n")
    step, scene = _link(releases, "old.yaml", link="config/current")
    assert step.touches(scene) == ("config",)
    assert Path(releases.root / "config").is_dir()
