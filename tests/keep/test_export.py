"""An exported tar is read by any tar, and is what was captured."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from rollback.host import Host, Tap
from rollback.keep.export import export
from rollback.model.errors import ObjectCorrupt, PlanError, RollbackError, UsageError
from tests.keep.standin import World, component, walked
from tests.keep.test_attributes import ACL, acl
from tests.killed import KILLED, CountingTap, DyingTap, Failing, in_child


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, {"app": component("app"), "one": component("deep/one.txt"),
                            "gone": component("gone")}).make()  # fmt: skip
    app = made.root / "app"
    (app / "in/ner").mkdir(parents=True)
    (app / "empty").mkdir(mode=0o750)
    (app / "small").write_bytes(b"small\n" * 40)
    (app / "none").write_bytes(b"")
    (app / "large").write_bytes(os.urandom(2**20) * 5)
    (app / ("n" * 200)).write_text("a name longer than a ustar header holds")
    (app / "in/ner/link").symlink_to("../../small")
    (app / "in/ner/far").symlink_to("x" * 150)
    os.link(app / "small", app / "in/same")
    (app / "in" / os.fsdecode(b"\xff\nb")).write_bytes(b"x")
    (app / "in/\u00fcml\u00e4ut").write_bytes(b"y")
    (app / "small").chmod(0o4711)
    os.utime(app / "large", ns=(1, 1_700_000_000_123_456_789))
    os.utime(app / "none", ns=(1, -1_500_000_000))
    os.utime(app / "in", ns=(5, 7))
    (made.root / "deep").mkdir()
    (made.root / "deep/one.txt").write_text("one")
    return made


def exported(world: World, *components: str, name: str = "out.tar", tap: Tap | None = None) -> Path:
    path = world.base / name
    with world.open() as kept:
        if not kept.list():
            kept.create("then")
        done = export(kept, Host(tap=tap or Tap()), "then", components, str(path))
    assert done.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert done.size_bytes == path.stat().st_size
    return path


def test_tar_takes_out_exactly_what_was_captured(world: World, tmp_path: Path) -> None:
    """By the program tar: bytes, modes, owners, times to the nanosecond, links, odd names."""
    path = exported(world)
    (tmp_path / "out").mkdir()
    done = subprocess.run(["tar", "-xpf", path, "-C", tmp_path / "out"], capture_output=True,
                          check=True, env={**os.environ, "LC_ALL": "C"}, timeout=60)  # fmt: skip
    assert b"rror" not in done.stderr
    assert walked(tmp_path / "out/app") == walked(world.root / "app")
    assert walked(tmp_path / "out/deep/one.txt") == walked(world.root / "deep/one.txt")
    assert sorted(os.listdir(tmp_path / "out")) == ["app", "deep"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_declared_attributes_come_out_with_tar(tmp_path: Path) -> None:
    """Text, any bytes, an access list, of files and of folders; what is not declared is not there."""
    world = World(tmp_path, {"app": component("app", xattrs=("user.keep*", ACL))})
    world.make()
    (world.root / "app").mkdir()
    file = world.root / "app/f"
    file.write_text("then")
    given = {"user.keep": b"as text", "user.keep.bytes": b"a\0b\xff\nc=d", "user.keep.none": b"",
             "user.keep=a%b": b"a name that needs care",             ACL: acl(4)}  # fmt: skip
    for name, value in given.items():
        os.setxattr(file, name, value)
    os.setxattr(file, "user.other", b"not declared")
    os.setxattr(file.parent, "user.keep", b"of a folder")
    path = exported(world)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "--xattrs", "--xattrs-include=*", "-xpf", path, "-C", tmp_path / "out"],
                   check=True, capture_output=True, timeout=60)  # fmt: skip
    came = tmp_path / "out/app/f"
    assert {name: os.getxattr(came, name) for name in os.listxattr(came)} == given
    assert os.getxattr(came.parent, "user.keep") == b"of a folder"
    assert walked(tmp_path / "out/app")[b"f"][:4] == walked(world.root / "app")[b"f"][:4]
    with tarfile.open(path) as archive:
        assert archive.getmember("app/f").mode == stat.S_IMODE(file.stat().st_mode)


def test_python_reads_it_too(world: World) -> None:
    """Names are the bytes they were, and the headers hold all nine digits."""
    then = walked(world.root / "app")
    with tarfile.open(exported(world, "app"), errors="surrogateescape") as archive:
        found = {os.fsencode(one.name): one for one in archive}
        assert found.keys() == {b"app"} | {b"app/" + path for path in then if path != b"."}
        for path, (mode, uid, gid, mtime_ns, *_) in then.items():
            one = found[b"app" if path == b"." else b"app/" + path]
            assert (one.uid, one.gid) == (uid, gid)
            if not one.issym():
                assert one.mode == mode & 0o7777
            sign, rest = ("-", -mtime_ns) if mtime_ns < 0 else ("", mtime_ns)
            assert one.pax_headers["mtime"] == f"{sign}{rest // 10**9}.{rest % 10**9:09d}"
        large = archive.extractfile("app/large")
        assert large is not None
        assert large.read() == (world.root / "app/large").read_bytes()


def test_one_component_alone(world: World) -> None:
    with tarfile.open(exported(world, "one")) as archive:
        assert archive.getnames() == ["deep/one.txt"]


def test_what_cannot_be_exported_is_said_and_leaves_no_file(world: World) -> None:
    """Something stands there, no folder, no such checkpoint or component, damage: no archive."""
    exported(world)
    with world.open() as kept:
        for wanted, components, path, kind in (
            ("then", (), "out.tar", UsageError), ("then", (), "no/out.tar", UsageError),
            ("nothing", (), "b.tar", PlanError), ("then", ("nothing",), "b.tar", UsageError),
        ):  # fmt: skip
            with pytest.raises(kind):
                export(kept, Host(), wanted, components, str(world.base / path))
    (pack,) = (world.state / "store/packs").iterdir()
    data = bytearray(pack.read_bytes())
    for at in range(100, len(data) // 2, 1000):
        data[at] ^= 1
    pack.write_bytes(data)
    with world.open() as kept, pytest.raises(ObjectCorrupt):
        export(kept, Host(), "then", (), str(world.base / "b.tar"))
    assert not (world.base / "b.tar").exists()
    assert [path for path in os.listdir(world.base) if "tmp" in path] == []


def test_killed_or_full_there_is_no_half_archive(world: World) -> None:
    """At any change: the whole archive under its name, or nothing under it."""
    counting = CountingTap()
    wanted = exported(world, "app", name="whole.tar", tap=counting).read_bytes()
    path = world.base / "out.tar"
    for number in range(1, len(counting.points) + 1):
        for tap in (DyingTap(number, "before"), DyingTap(number, "after"), Failing(number, True)):
            status = in_child(lambda tap=tap: exported(world, "app", tap=tap))  # type: ignore[misc]
            assert status == (KILLED if isinstance(tap, DyingTap) else 1)
            if path.exists():
                assert path.read_bytes() == wanted
                path.unlink()
    assert issubclass(UsageError, RollbackError)
