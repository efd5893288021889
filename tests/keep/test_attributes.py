"""Declared extended attributes and access lists are part of a component; others are named."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from rollback.host import Tap
from rollback.keep.attributes import declared
from rollback.keep.entry import Entry, problem
from rollback.keep.manifest import tree_bytes, tree_entries
from rollback.keep.writer import Intent, put_back
from rollback.model.errors import Refused
from tests.keep.standin import World, component, tree_of, walked
from tests.killed import KILLED, CountingTap, DyingTap, in_child, shots

EXTRACT = Path(__file__).resolve().parents[2] / "docs" / "extract.py"
ACL = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"
GLOBS = ("user.*", "system.posix_acl_*")


class Made:
    """A source of one entry."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def entries(self) -> list[Entry]:
        return [self.entry]

    def read(self, _entry: Entry) -> list[bytes]:
        return []


def acl(other: int) -> bytes:
    """owner rw, user 1234 r, group r, mask rw, others `other`: version 2, as the kernel takes it."""
    none = 2**32 - 1
    entries = ((1, 6, none), (2, 4, 1234), (4, 4, none), (16, 6, none), (32, other, none))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)


@pytest.fixture
def world(tmp_path: Path) -> World:
    found = World(tmp_path, {"app": component("app", xattrs=GLOBS)}).make()
    (found.root / "app/sub").mkdir(parents=True)
    (found.root / "app/f").write_text("then")
    (found.root / "app/sub/g").write_text("below")
    os.link(found.root / "app/f", found.root / "app/hard")
    os.symlink("f", found.root / "app/link")
    return found


def attributes(root: Path) -> dict[str, dict[str, bytes]]:
    """Of every file and folder, as the system itself tells."""
    return {
        str(path.relative_to(root)): {name: os.getxattr(path, name) for name in os.listxattr(path)}
        for path in (root, *root.rglob("*")) if not path.is_symlink()
    }  # fmt: skip


def dress(root: Path) -> None:
    os.setxattr(root / "app", b"user.top", b"of the folder")
    os.setxattr(root / "app/f", b"user.origin", b"\0bytes\xff")
    os.setxattr(root / "app/f", b"user.empty", b"")
    os.setxattr(root / "app/sub", DEFAULT, acl(0))
    os.setxattr(root / "app/sub/g", ACL, acl(4))


def spoil(root: Path) -> None:
    os.removexattr(root / "app", "user.top")
    os.setxattr(root / "app/f", b"user.origin", b"another")
    os.setxattr(root / "app/f", b"user.added", b"by the bad change")
    os.removexattr(root / "app/sub", DEFAULT)
    os.setxattr(root / "app/sub/g", ACL, acl(0))


def test_declared_attributes_and_access_lists_come_back(world: World) -> None:
    """Changed, removed and added ones, in place and with the files; the dry run names them."""
    dress(world.root)
    then, seen = attributes(world.root / "app"), walked(world.root / "app")
    with world.open() as checkpoints:
        made = checkpoints.create("then")
        spoil(world.root)
        lines = [str(one) for one in checkpoints.diff("then")]
        assert any("attributes user.added, user.origin" in line for line in lines), lines
        assert len(lines) == 5  # both names of the file, the file below, and two folders
        checkpoints.restore(made.id, "app", step="r")
        assert attributes(world.root / "app") == then
        assert walked(world.root / "app") == seen
        assert not checkpoints.diff("then")
        shutil.rmtree(world.root / "app")
        checkpoints.restore(made.id, "app", step="again")
        assert attributes(world.root / "app") == then
        assert walked(world.root / "app") == seen


@pytest.mark.long
def test_killed_at_any_change_the_next_restore_brings_every_attribute_back(world: World) -> None:
    """Attributes are no exception to rolling forward."""
    dress(world.root)
    then = attributes(world.root / "app")
    with world.open() as checkpoints:
        made = checkpoints.create("then")

    def again(tap: Tap) -> None:
        with world.open(tap) as checkpoints:
            checkpoints.restore(made.id, "app", step="r")

    again(Tap())  # the folders of the state directory are there
    spoil(world.root)
    counting = CountingTap()
    again(counting)
    assert [one for one in counting.points if "xattr" in str(one)]
    for shot in shots(counting.points):
        spoil(world.root)
        assert in_child(lambda s=shot: again(DyingTap(*s))) == KILLED  # type: ignore[misc]
        again(Tap())
        assert attributes(world.root / "app") == then, shot
        dress(world.root)


def test_what_is_not_declared_is_named_and_left_as_it_is(world: World) -> None:
    """Nobody believes that it was captured, and nobody takes it away."""
    world.components["app"] = component("app", xattrs=("user.ours",))
    os.setxattr(world.root / "app/f", b"user.ours", b"1")
    os.setxattr(world.root / "app/f", b"user.theirs", b"2")
    with world.open() as checkpoints:
        made = checkpoints.create("then")
        entry = next(e for e in checkpoints.entries("then", "app") if e.path == b"f")
        assert entry.attributes == ((b"user.ours", b"1"),)
        assert entry.xattrs == (b"user.theirs",)
        os.setxattr(world.root / "app/f", b"user.theirs", b"3")
        assert not checkpoints.diff("then")
        # declared later, it is unknown in this checkpoint, not absent
        world.components["app"] = component("app", xattrs=GLOBS)
        os.chmod(world.root / "app/f", 0o600)
        checkpoints.restore(made.id, "app", step="r")
    assert os.getxattr(world.root / "app/f", "user.theirs") == b"3"


def test_a_change_of_what_is_declared_is_seen_by_the_next_checkpoint(world: World) -> None:
    """The cache of looks knows which attributes it was filled with."""
    world.components["app"] = component("app")
    dress(world.root)
    with world.open() as checkpoints:
        checkpoints.create("bare")
        assert not any(e.attributes for e in checkpoints.entries("bare", "app"))
    world.components["app"] = component("app", xattrs=GLOBS)
    with world.open() as checkpoints:
        checkpoints.create("declared")
        held = {e.path: dict(e.attributes) for e in checkpoints.entries("declared", "app")}
    assert held[b"f"][b"user.origin"] == b"\0bytes\xff"
    assert held[b"sub/g"] == {ACL.encode(): acl(4)}


def test_a_stranger_takes_the_attributes_out_too(world: World, tmp_path: Path) -> None:
    """docs/extract.py knows them."""
    dress(world.root)
    with world.open() as checkpoints:
        made = checkpoints.create("then")
    to = world.base / "out"
    argv = [sys.executable, str(EXTRACT), str(world.state / "store"), made.id, "extract", "app"]
    subprocess.run([*argv, str(to)], check=True, capture_output=True)
    assert attributes(to) == attributes(world.root / "app")
    assert walked(to) == walked(world.root / "app")


@pytest.mark.parametrize("entry", [
    Entry(b"f", "file", mode=0o644, attributes=((b"nonsense.x", b"1"),)),
    Entry(b"f", "file", mode=0o644, attributes=((b"user.big", b"x" * 65536),)),
    Entry(b".", "folder", mode=0o755, attributes=((ACL.encode(), b"no access list"),)),
    Entry(b"f", "file", mode=0o644, attributes=((b"security.capability", b"\0" * 20),)),
], ids=["kind", "too-big", "no-acl", "capability"])  # fmt: skip
def test_what_cannot_be_set_is_refused_before_the_first_write(world: World, entry: Entry) -> None:
    """Nothing of the live tree was changed, and nothing stays in quarantine."""
    before = walked(world.root), attributes(world.root)
    source = Made(entry)
    (world.base / "q").mkdir()
    (world.base / "i").mkdir()
    with (
        tree_of(world.root) as tree,
        tree_of(world.base / "q") as quarantine,
        tree_of(world.base / "i") as intents,
        pytest.raises(Refused),
    ):
        put_back(source, tree, at=b"app", quarantine=quarantine, intent=Intent(intents, "r"))
    assert (walked(world.root), attributes(world.root)) == before
    assert not list((world.base / "q").iterdir())


def test_a_tree_with_attributes_is_spelled_in_one_way() -> None:
    """What was read is what was written, and hostile names are refused."""
    entry = Entry(b"f", "file", mode=0o644, sha256="0" * 64,
                  attributes=((b"user.a", b"\0\xff"), (b"user.b", b"")))  # fmt: skip
    data = tree_bytes((entry,))
    assert tree_entries(data, b".", strict=True) == (entry,)
    for bad in ((b"plain", b""), (b"user.\0", b""), (b"user." + b"x" * 300, b"")):
        assert problem(Entry(b"f", "file", attributes=(bad,)))
    assert problem(Entry(b"f", "symlink", target=b"x", attributes=((b"user.a", b""),)))
    assert problem(Entry(b"f", "file", attributes=((b"user.b", b""), (b"user.a", b""))))


def test_globs_take_what_they_say() -> None:
    """By name, and nothing that a manifest could not name."""
    assert declared(b"user.origin", ("user.*",))
    assert not declared(b"security.capability", ("user.*",))
    assert not declared(b"user.\xff", ("user.*",))
