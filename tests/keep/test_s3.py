"""Copies in object storage: with a light server, with a real one, and with ones that fail."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rollback.host import Clock, Host, Tap
from rollback.host.bucket import PART_BYTES, Bucket
from rollback.keep.copies import Copied, Copies, told
from rollback.keep.life import Life
from rollback.keep.stores.s3 import S3, S3Store
from rollback.model.errors import Refused, RunLocked, UsageError
from rollback.model.event import canonical
from rollback.model.finding import Answer
from tests.keep.object_storage import ACCESS, SECRET, Bad, between, moto, store, swift
from tests.keep.standin import World, walked
from tests.keep.test_copies import KEY, brought, copies, declared, emptied, standing
from tests.keep.test_copies import world as world  # a fixture
from tests.killed import KILLED

T = TypeVar("T")


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
    return {f"{folder}/{name}" if folder else name: raw.whole(f"{folder}/{name}".strip("/"))
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


class Hands(Clock):
    """The machine's clocks, moved by a test."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def boot_s(self) -> float:
        return super().boot_s() + self.ahead_s


def writer(endpoint: str, prefix: str, clock: Clock | None = None) -> Any:
    """One of many writers, with the clocks of its own machine."""
    declared_there = S3Store.model_validate(store(endpoint, prefix=prefix, writers="many")["s3"])
    return declared_there.place(Host(clock=clock or Clock()), base="/")


def test_where_one_wins_each_time_the_lock_holds(world: World, prefix: str, light: str) -> None:
    """Another holder keeps us out until its time is over; ours is at its end when we are."""
    there = writer(light, prefix)
    raw = bucket(light, prefix)
    with there.lock():
        assert raw.sizes("lock").keys() == {f"{1:012}"}
        with pytest.raises(RunLocked), writer(light, prefix).lock(within_s=0.1):
            raise AssertionError
    with writer(light, prefix).lock(within_s=0.1):
        assert raw.sizes("lock").keys() == {f"{2:012}"}
    raw.put(f"lock/{3:012}", canonical({"holder": "x", "until": "2999-01-01T00:00:00+00:00"}))
    with pytest.raises(RunLocked), there.lock(within_s=0.1):
        raise AssertionError
    raw.put(f"lock/{3:012}", canonical({"holder": "x", "until": "2001-01-01T00:00:00+00:00"}))
    with there.lock(within_s=0.1):
        assert raw.sizes("lock").keys() == {f"{4:012}"}
        assert b'"holder":"x"' not in raw.whole(f"lock/{4:012}")
    assert go(world, light, prefix, writers="many").problem == ""


def test_a_lock_lasts_as_long_as_the_work_goes_on(prefix: str, light: str) -> None:
    """Six minutes pass before each look and each pack; after half an hour it still keeps others out."""
    clock = Hands()
    there = writer(light, prefix, clock)
    other = writer(light, prefix, clock)
    with there.lock():
        for number in range(5):
            clock.ahead_s += 360
            if number % 2:
                there.sizes("packs")
            else:
                there.create(f"packs/{number}.pack", [b"x"])
            with pytest.raises(RunLocked), other.lock(within_s=0.1):
                raise AssertionError
    with other.lock(within_s=0.1):
        pass


@pytest.mark.parametrize("way", ["create", "replace", "remove", "set_aside"])
def test_a_holder_that_was_too_slow_changes_nothing_that_counts(
    prefix: str, light: str, way: str
) -> None:
    """Its time is over and another one writes: it learns so before its next write."""
    clock = Hands()
    slow, quick = writer(light, prefix, clock), writer(light, prefix, clock)
    raw = bucket(light, prefix)
    raw.put("lists/a.json", b"then")
    given = {"create": ([b"now"],), "replace": (b"now",)}.get(way, ())
    with slow.lock():
        clock.ahead_s += 16 * 60
        with quick.lock(within_s=0.1):
            for _ in range(2):  # and it stays lost
                with pytest.raises(RunLocked, match="taken over"):
                    getattr(slow, way)("lists/a.json", *given)
    assert raw.whole("lists/a.json") == b"then"
    assert raw.sizes("damaged") == {}
    with slow.lock(within_s=0.1):  # and it may come again
        slow.create("lists/a.json", [b"now"])
    assert raw.whole("lists/a.json") == b"now"


def test_a_slow_holder_that_nobody_followed_goes_on(prefix: str, light: str) -> None:
    """Its time was over, and nobody took the place: there is no overlap, and so no error."""
    clock = Hands()
    slow = writer(light, prefix, clock)
    with slow.lock():
        clock.ahead_s += 16 * 60
        slow.create("lists/a.json", [b"now"])
    assert bucket(light, prefix).whole("lists/a.json") == b"now"


class Slow(Tap):
    """At the first pack that is sent, the clock jumps, and somebody else does his whole copy."""

    def __init__(self, clock: Hands, meanwhile: Callable[[], None]) -> None:
        self.clock, self.meanwhile, self.done = clock, meanwhile, False

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        result = do()
        if call == "s3-put" and "packs/" in str(where) and not self.done:
            self.done = True
            self.clock.ahead_s += 20 * 60
            self.meanwhile()
        return result


def test_two_writers_one_of_them_too_slow_leave_two_whole_copies(
    world: World, prefix: str, light: str
) -> None:
    """The slow one's copy is not there, and is said not to be; the next one makes it good."""
    world.checkpoints = declared(second=store(light, prefix=prefix, writers="many"))
    theirs = World(world.base / "theirs", world.components, world.checkpoints)
    theirs.base.mkdir()
    theirs.make()
    shutil.copytree(world.root, theirs.root, dirs_exist_ok=True)
    (theirs.root / "app/f").write_text("theirs")
    clock = Hands()
    raw = bucket(light, prefix)

    def meanwhile() -> None:
        with theirs.open() as kept:
            kept.create("theirs")
            own = Host(clock=clock)
            (done,) = Copies(theirs.system(), own, own.tree(str(theirs.state)), kept).make_good()
            assert done.problem == ""

    with world.open() as kept:
        made = kept.create("ours")
        host = Host(tap=Slow(clock, meanwhile), clock=clock)
        (done,) = Copies(world.system(), host, host.tree(str(world.state)), kept).make_good()
        assert "taken over" in done.problem
        assert done.checkpoints == ()
        assert f"{made.id}.json" not in raw.sizes("checkpoints")
        assert f"{made.id}.json" not in raw.sizes("lists")
        host = Host(clock=clock)
        (again,) = Copies(world.system(), host, host.tree(str(world.state)), kept).make_good()
        assert (again.problem, again.checkpoints) == ("", (made.id,))
    for one in (world, theirs):
        with one.open() as kept:
            (found,) = copies(one, kept).verify(kept.list(), deep=True)
            assert found.answer is Answer.PASS


class Turns:
    """Two threads that take turns as a list of their numbers says; then each runs to its end."""

    def __init__(self, order: tuple[int, ...]) -> None:
        self.order = list(order)
        self.ended: set[int] = set()
        self.own = threading.local()
        self.moved = threading.Condition()

    def wait(self) -> None:
        me = getattr(self.own, "number", None)
        if me is None:
            return
        with self.moved:
            while self.order and self.order[0] != me and self.order[0] not in self.ended:
                self.moved.wait(10)
            if self.order:
                self.order.pop(0)
            self.moved.notify_all()

    def run(self, number: int, do: Callable[[], None]) -> threading.Thread:
        def body() -> None:
            self.own.number = number
            try:
                do()
            finally:
                with self.moved:
                    self.ended.add(number)
                    self.moved.notify_all()

        thread = threading.Thread(target=body)
        thread.start()
        return thread


class Memory:
    """The objects of a bucket that does exactly what S3 promises, one request after the other."""

    where = "memory/"

    def __init__(self, turns: Turns) -> None:
        self.turns, self.objects = turns, dict[str, bytes]()

    def sizes(self, folder: str) -> dict[str, int]:
        self.turns.wait()
        return {name.removeprefix(f"{folder}/"): len(data) for name, data in self.objects.items()
                if name.startswith(f"{folder}/")}  # fmt: skip

    def whole(self, name: str) -> bytes:
        self.turns.wait()
        if name not in self.objects:
            raise FileNotFoundError(name)
        return self.objects[name]

    def put(self, name: str, data: Any) -> None:
        self.turns.wait()
        self.objects[name] = data if isinstance(data, bytes) else b"".join(data)

    def create(self, name: str, data: bytes) -> bool:
        self.turns.wait()
        return self.objects.setdefault(name, data) is data

    def remove(self, name: str) -> None:
        self.turns.wait()
        self.objects.pop(name, None)


@pytest.mark.parametrize("first", [0, 1])
def test_in_whatever_order_their_requests_come_two_never_both_hold_it(first: int) -> None:
    """A holder whose time is over writes as another takes over: every order of their requests."""
    clock = Hands()
    outcomes = set()
    for order in itertools.product((0, 1), repeat=10):
        if order[0] != first:
            continue
        turns = Turns(order)
        memory: Any = Memory(turns)
        slow, quick = (S3(memory, Host(clock=clock), many=True) for _ in range(2))
        slow._locks = quick._locks = True
        with contextlib.suppress(RunLocked), slow.lock():
            clock.ahead_s += 16 * 60
            held = [False, False]

            def write(slow: S3 = slow, held: list[bool] = held) -> None:
                with contextlib.suppress(RunLocked):
                    slow.create("lists/slow.json", [b"slow"])
                    held[0] = True

            def take(quick: S3 = quick, held: list[bool] = held) -> None:
                held[1] = quick._take("quick")

            for thread in [turns.run(0, write), turns.run(1, take)]:
                thread.join()
            assert held != [True, True], order
            assert held[0] == ("lists/slow.json" in memory.objects)
            outcomes.add(tuple(held))
    assert (False, True) in outcomes
    assert (True, False) in outcomes


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
        data = bytearray(raw.whole(f"{folder}/{name}"))
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


@pytest.mark.long
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
