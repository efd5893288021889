"""docs/extract.py takes a checkpoint out without this project, and believes no damage."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rollback.keep.entry import Entry
from rollback.keep.manifest import Manifest, tree_bytes
from rollback.keep.store import Store
from rollback.model.event import canonical
from tests.keep.standin import World, component, walked

SCRIPT = Path(__file__).parents[2] / "docs/extract.py"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, {
        "app": component("app"), "one": component("one.txt"), "gone": component("gone"),
    }).make()  # fmt: skip
    app = made.root / "app"
    (app / "deep/er").mkdir(parents=True)
    (app / "empty").mkdir()
    (app / "small").write_bytes(b"small\n" * 40)
    (app / "none").write_bytes(b"")
    (app / "large").write_bytes(os.urandom(2**20) * 5)
    (app / "log").write_bytes(b"line\n" * 1_300_001)
    (app / "deep/er/link").symlink_to("../../small")
    os.link(app / "small", app / "deep/same")
    (app / "deep" / os.fsdecode(b"\xff\n")).write_bytes(b"x")
    (app / "small").chmod(0o640)
    os.utime(app / "deep", ns=(5, 7))
    (made.root / "one.txt").write_text("one")
    return made


def run(world: World, *words: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """With no package of ours in reach; `path` empty: no program either."""
    return subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(world.state / "store"), *words],
        capture_output=True, text=True, check=False, env={"PATH": path}, timeout=60,
    )  # fmt: skip


def test_a_stranger_takes_out_exactly_what_was_captured(world: World, tmp_path: Path) -> None:
    """Byte for byte, with modes, owners, times, links and hard links, by another walker."""
    with world.open() as checkpoints:
        made = checkpoints.create("then")
    listed = run(world)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.startswith(made.id[:12])
    for name, path in (("app", "app"), ("one", "one.txt")):
        done = run(world, made.id[:12], "extract", name, str(tmp_path / "out" / name))
        assert "No such file" in done.stderr, "the folder above has to be there"
        (tmp_path / "out").mkdir(exist_ok=True)
        done = run(world, "then", "extract", name, str(tmp_path / "out" / name))
        assert (done.returncode, done.stderr) == (0, "")
        assert walked(tmp_path / "out" / name) == walked(world.root / path)
        shutil.rmtree(tmp_path / "out")
    assert run(world, "then", "verify").returncode == 0


def test_the_program_zstd_is_enough(world: World, tmp_path: Path) -> None:
    """An interpreter without the module `zstandard`; a program of that name that does `-dc`."""
    with world.open() as checkpoints:
        checkpoints.create("then")
    program = tmp_path / "bin/zstd"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable} -I\nimport sys, zstandard\nassert sys.argv[1:] == ['-dc']\n"
        "zstandard.ZstdDecompressor().copy_stream(sys.stdin.buffer, sys.stdout.buffer)\n"
    )
    program.chmod(0o755)
    without = tmp_path / "without.py"
    without.write_text(
        "import runpy, sys\nsys.modules['zstandard'] = None\nsys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", str(without), str(SCRIPT), str(world.state / "store"), "then",
         "extract", "app", str(tmp_path / "out")],
        capture_output=True, text=True, check=False, timeout=60, env={"PATH": str(program.parent)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert walked(tmp_path / "out") == walked(world.root / "app")


@pytest.mark.long
def test_no_damaged_byte_is_believed(world: World, tmp_path: Path) -> None:
    """A bit flipped anywhere in a pack: exit status 1, or exactly what was captured."""
    with world.open() as checkpoints:
        checkpoints.create("then", components=("one",))
    (pack,) = (world.state / "store/packs").iterdir()
    whole = pack.read_bytes()
    refused = 0
    for at in range(0, len(whole), 5):
        pack.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        done = run(world, "then", "extract", "one", str(tmp_path / f"out{at}"))
        if done.returncode == 0:
            assert (tmp_path / f"out{at}").read_text() == "one", at
        refused += done.returncode != 0
    assert refused > 20


@pytest.mark.parametrize("stray", [b"", b"abc", b"x" * 56, b"\xff" * 200, None])
def test_a_stray_pack_is_named_and_left_out(world: World, stray: bytes | None) -> None:
    """Whatever lies there beside the packs: the others are read, and the status is that of the proof."""
    with world.open() as checkpoints:
        checkpoints.create("then")
    path = world.state / "store/packs" / f"{'0' * 64}.pack"
    path.mkdir() if stray is None else path.write_bytes(stray)
    for words in ((), ("then", "verify")):
        done = run(world, *words)
        assert done.returncode == 0
        assert done.stderr.startswith(f"{path.name} is left out: ")
        assert done.stderr.count("\n") == 1


def test_a_good_copy_makes_up_for_a_bad_one(world: World) -> None:
    """An object in two packs, the first of which does not decompress: the other one is taken."""
    with world.open() as checkpoints:
        checkpoints.create("then")
        again = Store.open(checkpoints.state, checkpoints.host)
        again.again(hashlib.sha256(b"small\n" * 40).hexdigest())
        again.flush()
    identity = hashlib.sha256(b"small\n" * 40).digest()
    first = min((world.state / "store/packs").iterdir())
    whole = bytearray(first.read_bytes())
    at = whole.index(identity) + 56  # its bytes, compressed
    whole[at : at + 8] = b"\xff" * 8
    first.write_bytes(whole)
    assert run(world, "then", "verify").returncode == 0


@pytest.mark.parametrize("target", ["../../outside", "out/f", "out"])
def test_no_hard_link_leads_out(world: World, tmp_path: Path, target: str) -> None:
    """A checkpoint made by an enemy: what is outside gets no second name, and no other mode."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("theirs")
    (outside / "f").chmod(0o600)
    tree = tree_bytes([
        Entry(b"link", "hardlink", mode=0o666, target=target.encode()),
        Entry(b"out", "symlink", target=os.fsencode(outside)),
    ])  # fmt: skip
    with world.open() as checkpoints:
        made = checkpoints.create("then", components=("app",))
        checkpoints.store.put(tree)
        top = Entry(b".", "folder", tree=hashlib.sha256(tree).hexdigest())
        manifest = Manifest("app", "files", top)
        checkpoints.store.put(manifest.encode())
        checkpoints.store.flush()
    record = json.loads((world.state / f"store/checkpoints/{made.id}.json").read_bytes())
    record["components"]["app"]["manifest"] = manifest.digest
    record["name"] = "theirs"
    body = canonical(record)
    (world.state / f"store/checkpoints/{hashlib.sha256(body).hexdigest()}.json").write_bytes(body)
    done = run(world, "theirs", "extract", "app", str(tmp_path / "out"))
    assert done.returncode == 1
    seen = (outside / "f").stat()
    assert (seen.st_nlink, stat.S_IMODE(seen.st_mode)) == (1, 0o600)
