"""Copies in object storage: with a light server, with a real one, and with ones that fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback.host import Host
from rollback.host.bucket import PART_BYTES, Bucket
from rollback.keep.ciphered import Ciphered
from rollback.keep.copies import Copied, told
from rollback.keep.life import Life
from rollback.keep.stores.folder import FolderStore
from rollback.keep.stores.s3 import S3Store
from rollback.model.errors import Refused, RunLocked, UsageError
from rollback.model.event import canonical
from rollback.model.finding import Answer
from tests.keep.object_storage import ACCESS, SECRET, Bad, between, moto, store, swift
from tests.keep.standin import World, walked
from tests.keep.test_copies import KEY, brought, copies, declared, emptied, standing
from tests.keep.test_copies import world as world  # a fixture
from tests.killed import KILLED


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with swift(tmp_path_factory.mktemp("swift")) as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ACCESS", ACCESS)
    monkeypatch.setenv("S3_SECRET", SECRET)
    monkeypatch.setenv("COPY_KEY", KEY)


@pytest.fixture
def prefix(world: World) -> str:
    return world.base.name


def bucket(endpoint: str, prefix: str) -> Bucket:
    return Bucket("copies", prefix, endpoint=endpoint, region="us-east-1", access_key=ACCESS,
                  secret_key=SECRET, within_s=10, tap=Host().tap)  # fmt: skip


def everything(endpoint: str, prefix: str) -> dict[str, bytes]:
    raw = bucket(endpoint, prefix)
    return {f"{folder}/{name}" if folder else name: raw.tagged(f"{folder}/{name}".strip("/"))[0]
            for folder in ("", "packs", "lists", "checkpoints", "damaged", "probe")
            for name in raw.sizes(folder)}  # fmt: skip


def place(endpoint: str, prefix: str, **more: Any) -> Any:
    return S3Store.model_validate(store(endpoint, prefix=prefix, **more)["s3"]).place(
        Host(), base="/"
    )


def go(world: World, endpoint: str, prefix: str, **more: Any) -> Copied:
    world.checkpoints = declared(second=store(endpoint, prefix=prefix, **more))
    with world.open() as kept:
        if not kept.list():
            kept.create("then")
        (done,) = copies(world, kept).make_good()
        return done


@pytest.mark.requirement("MB-62")
@pytest.mark.parametrize("server", ["light", "real"])
def test_a_checkpoint_goes_to_object_storage_and_comes_back(
    world: World, prefix: str, server: str, request: pytest.FixtureRequest
) -> None:
    """Packs of one part and of several; the local store removed; everything hashed and restored."""
    endpoint = request.getfixturevalue(server)
    (world.root / "app/large").write_bytes(os.urandom(PART_BYTES + 12345))
    then = walked(world.root)
    done = go(world, endpoint, prefix)
    assert done.problem == ""
    (made,) = done.checkpoints
    assert standing(world) == {made: "2/2"}
    lying = everything(endpoint, prefix)
    assert {name.partition("/")[0] for name in lying} == {
        "packs", "lists", "checkpoints", "format", "writer"}  # fmt: skip
    with world.open() as kept:
        (found,) = copies(world, kept).verify(kept.list(), deep=True)
        assert found.answer is Answer.PASS
    shutil.rmtree(world.state / "store")
    assert brought(world).checkpoints == (made,)
    emptied(world.root)
    with world.open() as kept:
        assert {one.answer for one in kept.verify(made, deep=True)} == {Answer.PASS}
        for name in world.components:
            kept.restore(made, name, step=name)
        now = walked(world.root)
        Life(kept).delete(made)
        copies(world, kept).make_good()
    assert {path: now[path] for path in now if path != b"."} == {
        path: then[path] for path in then if path != b"."}  # fmt: skip
    assert everything(endpoint, prefix).keys() == {"format", "writer"}


@pytest.mark.parametrize("where", ["folder", "light", "real", "closed folder", "closed light"])
def test_every_place_keeps_the_same_contract(
    world: World, prefix: str, where: str, request: pytest.FixtureRequest
) -> None:
    """Names, sizes, ranges, replacing, setting aside, what is not there; encrypted or not."""
    closed, kind = where.startswith("closed"), where.split()[-1]
    if kind == "folder":
        there = FolderStore(path=str(world.base / "f")).place(Host(), base="/", make=True)
    else:
        there = place(request.getfixturevalue(kind), f"{prefix}/{where.replace(' ', '-')}")
    if closed:
        there = Ciphered(there, bytes.fromhex(KEY), Host())
    data = os.urandom(PART_BYTES * 2 + 7)
    there.create("packs/a.pack", [data[:100], data[100:]])
    there.create("packs/b.pack", [b"xyz"])
    there.create("packs/b.pack", [b"xyz"])
    assert there.sizes("packs") == {"a.pack": len(data), "b.pack": 3}
    assert there.names("packs") == ["a.pack", "b.pack"]
    assert there.names("checkpoints") == []
    assert there.sizes("nothing") == {}
    assert there.size("packs/a.pack") == len(data)
    assert there.read("packs/a.pack", PART_BYTES - 5, 20) == data[PART_BYTES - 5 : PART_BYTES + 15]
    assert there.read("packs/a.pack", 0, 10**9) == data
    assert there.read("packs/b.pack", 2, 5) == b"z"
    assert there.read("packs/b.pack", 3, 5) == b""
    there.replace("index", b"one")
    there.replace("index", b"another")
    there.forget("index")
    assert there.read("index", 0, 100) == b"another"
    there.set_aside("packs/b.pack")
    there.remove("packs/b.pack")
    assert there.names("damaged") == ["b.pack"]
    for ask in (lambda: there.size("packs/b.pack"), lambda: there.read("packs/b.pack", 0, 1)):
        with pytest.raises(FileNotFoundError):
            ask()
    there.sweep()
    there.close()


# -- one writer, or many ----------------------------------------------------------------------------


def test_where_two_creators_win_there_are_no_many_writers(
    world: World, prefix: str, real: str
) -> None:
    """Swift says that it honours the condition, and does not when many ask at once: refused."""
    done = go(world, real, prefix, writers="many")
    assert "creators of one key won at once" in done.problem
    assert "\n" not in done.problem
    assert "writers: one" in done.hint
    assert everything(real, prefix).keys() == {"format"}


def test_where_one_wins_each_time_the_lock_holds(world: World, prefix: str, light: str) -> None:
    """Another holder keeps us out until its time is over; ours is gone afterwards."""
    there = place(light, prefix, writers="many")
    raw = bucket(light, prefix)
    with there.lock():
        assert raw.sizes("").keys() == {"lock"}
        with pytest.raises(RunLocked), place(light, prefix, writers="many").lock(within_s=0.1):
            raise AssertionError
    assert raw.sizes("") == {}
    raw.put("lock", canonical({"holder": "x", "until": "2999-01-01T00:00:00+00:00"}))
    with pytest.raises(RunLocked), there.lock(within_s=0.1):
        raise AssertionError
    raw.put("lock", canonical({"holder": "x", "until": "2001-01-01T00:00:00+00:00"}))
    with there.lock(within_s=0.1):
        assert b'"holder":"x"' not in raw.tagged("lock")[0]
    assert raw.sizes("") == {}
    assert go(world, light, prefix, writers="many").problem == ""


def test_a_prefix_belongs_to_one_state_directory(world: World, prefix: str, light: str) -> None:
    """Another one is refused and named; after the first is lost, on purpose it is adopted."""
    assert go(world, light, prefix).problem == ""
    before = everything(light, prefix)
    shutil.rmtree(world.state)
    world.state.mkdir(mode=0o700)
    done = go(world, light, prefix)
    assert "another state directory" in done.problem
    assert "--adopt" in done.hint
    assert everything(light, prefix) == before
    with world.open() as kept:
        (done,) = copies(world, kept).make_good(("second",), adopt=True)
        assert len(done.checkpoints) == 1


# -- servers that fail ------------------------------------------------------------------------------


@pytest.fixture
def bad(light: str) -> Iterator[Bad]:
    with between(light) as made:
        yield made


@pytest.mark.parametrize("after", [0, 3, 6, 9])
@pytest.mark.parametrize("mode", ["503", "403", "slow", "cut", "die", "torn"])
def test_a_server_that_fails_is_one_clear_line_and_is_made_good(
    world: World, prefix: str, bad: Bad, light: str, mode: str, after: int
) -> None:
    """At once, and in the midst of it: the checkpoint stands, no half copy counts, no secret shows."""
    bad.mode, bad.after = mode, after
    if mode == "torn":
        bad.methods = ("PUT",)
    done = go(world, bad.endpoint, prefix, within="1s")
    assert done.problem
    assert "\n" not in done.problem
    assert len(done.problem) < 400
    assert SECRET not in done.problem + done.hint
    assert ("refuses these credentials" in done.problem) == (mode == "403")
    with world.open() as kept:
        (made,) = kept.list()
        assert made.target
    assert standing(world) == {made.id: "1/2"}
    bad.mode = "good"
    again = go(world, bad.endpoint, prefix, within="10s")
    assert again.problem == ""
    assert standing(world) == {made.id: "2/2"}
    with world.open() as kept:
        (found,) = copies(world, kept).verify(kept.list(), deep=True)
        assert found.answer is Answer.PASS


@pytest.mark.parametrize("what", ["format", "packs", "lists", "checkpoints"])
def test_a_server_that_says_yes_and_keeps_nothing_is_not_believed(
    world: World, prefix: str, bad: Bad, what: str
) -> None:
    """Each kind of file in turn is lost: it is read back before anything is built on it."""
    bad.mode, bad.methods, bad.paths = "torn", ("PUT",), f"{prefix}/{what}"
    done = go(world, bad.endpoint, prefix)
    assert done.problem
    assert done.checkpoints == ()
    assert not bucket(bad.upstream, prefix).sizes("checkpoints")
    if what == "packs":
        assert not bucket(bad.upstream, prefix).sizes("lists")
    bad.mode = "good"
    assert go(world, bad.endpoint, prefix).problem == ""


def test_nobody_there_no_bucket_and_no_credentials_are_said(
    world: World, prefix: str, light: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = go(world, "http://127.0.0.1:1", prefix, within="1s")
    assert "out of reach" in done.problem
    done = go(world, light, prefix, bucket="elsewhere")
    assert "no such bucket" in done.problem
    monkeypatch.delenv("S3_SECRET")
    done = go(world, light, prefix)
    assert "env:S3_SECRET" in done.problem


def test_a_flipped_bit_there_is_found_and_made_good(world: World, prefix: str, light: str) -> None:
    assert go(world, light, prefix).problem == ""
    raw = bucket(light, prefix)
    for folder in ("packs", "checkpoints", "lists"):
        (name,) = raw.sizes(folder)
        data = bytearray(raw.tagged(f"{folder}/{name}")[0])
        data[len(data) // 2] ^= 1
        raw.put(f"{folder}/{name}", bytes(data))
        with world.open() as kept:
            found = copies(world, kept)
            assert [one.answer for one in found.verify(kept.list(), deep=True, repair=True)] == [
                Answer.FAIL]  # fmt: skip
            (done,) = found.make_good()
            assert done.problem == ""
            assert [one.answer for one in found.verify(kept.list(), deep=True)] == [Answer.PASS]
    assert len(raw.sizes("damaged")) == 2


def test_killed_at_any_request_of_a_copy_it_is_made_good(
    world: World, prefix: str, light: str
) -> None:
    """A process of its own, gone before each change there, so after the one before it."""
    with world.open() as kept:
        made = kept.create("then")
    world.checkpoints = declared(second=store(light, prefix=prefix))
    program = (
        "import sys\nfrom pathlib import Path\nfrom rollback.host import Host\n"
        "from rollback.keep.copies import Copies\nfrom rollback.model.operations import Checkpoints\n"
        "import rollback.kinds\nfrom tests.keep.object_storage import store\n"
        "from tests.keep.standin import World, component\nfrom tests.killed import DyingTap\n"
        "base, endpoint, prefix, number, how = sys.argv[1:]\n"
        "parts = {'app': component('app'), 'conf': component('conf.txt', order=1)}\n"
        "stores = {'second': store(endpoint, prefix=prefix)}\n"
        "one = World(Path(base), parts, Checkpoints.model_validate({'stores': stores}))\n"
        "host = Host(tap=DyingTap(int(number), how))\n"
        "with one.open(host.tap) as kept:\n"
        "    Copies(one.system(), host, host.tree(str(one.state)), kept).make_good()\n"
    )
    number, ended = 0, KILLED
    while ended == KILLED:
        number += 1
        shutil.rmtree(world.state / "copies", ignore_errors=True)
        at = f"{prefix}/{number}"
        done = subprocess.run(
            [sys.executable, "-c", program, str(world.base), light, at, str(number), "before"],
            check=False, timeout=120, capture_output=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        ended = done.returncode
        assert ended in (KILLED, 0), done.stderr.decode()
        world.checkpoints = declared(second=store(light, prefix=at))
        with world.open() as kept:
            (good,) = copies(world, kept).make_good(("second",), adopt=True)
            assert good.problem == ""
            (found,) = copies(world, kept).verify(kept.list(), deep=True)
            assert found.answer is Answer.PASS, number
        assert standing(world) == {made.id: "2/2"}
    assert number > 5


# -- sensitive --------------------------------------------------------------------------------------


def test_a_sensitive_component_leaves_encrypted_or_not_at_all(
    world: World, prefix: str, bad: Bad
) -> None:
    """Without a key not one request is made; with it nothing readable lies there."""
    world.components["conf"].sensitive = True
    (world.root / "conf.txt").write_text("pass-phrase of somebody " * 40)
    done = go(world, bad.endpoint, prefix)
    assert "may not leave this machine in clear" in done.problem
    assert bad.requests == []
    done = go(world, bad.endpoint, prefix, key="env:COPY_KEY")
    assert done.problem == ""
    for name, data in everything(bad.endpoint, prefix).items():
        for word in (b"pass-phrase", b"conf.txt", b"RBPACK2", b"(\xb5/\xfd"):
            assert word not in data, name
    shutil.rmtree(world.state / "store")
    assert brought(world).checkpoints == done.checkpoints
    with world.open() as kept:
        assert {one.answer for one in kept.verify("then", deep=True)} == {Answer.PASS}


def test_another_machine_is_only_reached_with_tls() -> None:
    """Plain http is for this machine; a credential is never written into the declaration."""
    for wrong in ({"endpoint": "http://storage.example.org"}, {"secret_key": "plain"},
                  {"endpoint": "https://user@host"}):  # fmt: skip
        with pytest.raises(ValueError, match=r"endpoint|secret_key|TLS"):
            S3Store.model_validate(store("https://storage.example.org")["s3"] | wrong)


def test_what_went_wrong_is_one_line() -> None:
    assert told(UsageError("x", where="y")) == "y: x"
    assert told(Refused("a", "b")) == "a: b"
    assert told(OSError(28, "No space left on device", b"/x")) == "/x: No space left on device"
