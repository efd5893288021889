"""What the store does, as deeds that something may go wrong in, each with a judge of what it left behind.

A deed is prepared in an empty folder, done through a tap, and judged in whatever state the folder is
in then: by the real commands that would come next, and by a walker of our own.
"""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rollback.host import Host, Tap
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.journal import Journal
from rollback.keep.life import Life
from rollback.keep.repair import Repair
from rollback.keep.stores import folder
from rollback.model.errors import StoreError
from rollback.model.finding import Answer
from rollback.model.operations import Checkpoints as Declared
from tests.keep.standin import World, component, walked

Looks = dict[bytes, tuple[Any, ...]]
Mark = Callable[[str], object]
RESTORED, CAPTURED, DONE = "restored", "captured", "done"


class Deed(ABC):
    """One of them, in `base`. `marks` are what was reported to whoever asked for it."""

    def __init__(self, base: Path) -> None:
        self.world = World(base, {"app": component("app")}).make()
        self.app = self.world.root / "app"
        self.state = self.world.state
        self.known: dict[str, Looks] = {}  # checkpoints by name, and what they hold
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """What was there before, all of it on disk."""

    @abstractmethod
    def do(self, tap: Tap, mark: Mark = lambda _what: None) -> None:
        """It is done, and `mark` hears what is reported."""

    @abstractmethod
    def judge(self, reported: list[str]) -> list[str]:
        """What is not as it was promised, after the next command did its work; nothing when all is."""

    # -- what several need -----------------------------------------------------------------

    def create(self, name: str) -> None:
        """A checkpoint, and what it holds."""
        with self.world.open() as kept:
            kept.create(name)
        self.known[name] = walked(self.app)

    def problems(self, kept: Checkpoints, *, must: set[str]) -> list[str]:
        """Every listed checkpoint is a target, hashes, and gives back its tree in an empty root."""
        listed = kept.list()
        found = [f"{name} is not listed" for name in must - {one.name for one in listed}]
        for one in listed:
            if not one.target:
                found.append(f"{one.name or one.id} is listed and no target: {one.problems}")
                continue
            if any(x.answer is not Answer.PASS for x in kept.verify(one.id, deep=True)):
                found.append(f"{one.name} is listed and not whole")
                continue
            if one.name in self.known:
                shutil.rmtree(self.app, ignore_errors=True)
                kept.restore(one.id, "app", step=f"into-empty-{one.name}")
                if walked(self.app) != self.known[one.name]:
                    found.append(f"{one.name} gives back another tree")
        return found

    def journal(self, tap: Tap | None = None) -> Journal:
        """A journal in the state directory, anchored in a second place."""
        (self.state / "journal").mkdir(exist_ok=True)
        host = Host(tap=tap or Tap())
        return Journal(host.tree(str(self.state / "journal")), host,
                       anchor=self.world.base / "anchor/a.jsonl")  # fmt: skip

    def anchors(self) -> int:
        """How many anchors agree with the journal."""
        journal = self.journal()
        try:
            return journal.verify()[2]
        finally:
            journal.close()

    def noted(self) -> list[str]:
        """The kinds of the events of a journal that verifies, and to which one more can be added."""
        journal = self.journal()
        try:
            kinds = [event.kind for event in journal.events()]
            journal.verify()
            journal.append("run.noted")
            journal.verify()
            return kinds
        finally:
            journal.close()


class Capture(Deed):
    """A second checkpoint is made."""

    def prepare(self) -> None:
        (self.app / "sub").mkdir(parents=True)
        (self.app / "same").write_bytes(os.urandom(300))
        (self.app / "sub/f").write_bytes(b"one" * 40)
        self.create("one")
        (self.app / "sub/f").write_bytes(b"two" * 50)
        (self.app / "sub/new").write_bytes(os.urandom(200))
        (self.app / "link").symlink_to("same")
        self.live = walked(self.app)

    def do(self, tap: Tap, mark: Mark = lambda _what: None) -> None:
        with self.world.open(tap) as kept:
            kept.create("two")
            mark(CAPTURED)

    def judge(self, reported: list[str]) -> list[str]:
        self.known["two"] = self.live
        found = [] if walked(self.app) == self.live else ["the live tree is another"]
        with self.world.open() as kept:
            found += self.problems(kept, must={"one", "two"} if CAPTURED in reported else {"one"})
            if not kept.create("next").target:
                found.append("the next checkpoint is no target")
        return found


class Restore(Deed):
    """A tree is put back in place; things come, go, change and turn into others. The journal says so."""

    lost_if_deleted = frozenset({b"extra z", b"was folder", b"extra y"})

    def prepare(self) -> None:
        app = self.app
        (app / "folder-now-file").mkdir(parents=True)
        (app / "new/deep").mkdir(parents=True)
        for name, data in (("changed", b"then" * 9), ("same", b"same"), ("mode", b"mode"),
                           ("file-now-folder", b"f"), ("folder-now-file/in", b"in"),
                           ("new/deep/x", b"deep")):  # fmt: skip
            (app / name).write_bytes(data)
        os.link(app / "changed", app / "twin")
        self.dress(0o755, "same")
        self.create("then")
        self.then = self.known["then"]
        for name in ("changed", "twin", "file-now-folder"):
            (app / name).unlink()
        for name in ("folder-now-file", "new"):
            shutil.rmtree(app / name)
        (app / "changed").write_bytes(b"now")
        self.dress(0o700, "other")
        (app / "file-now-folder").mkdir()
        (app / "file-now-folder/y").write_bytes(b"extra y")
        (app / "folder-now-file").write_bytes(b"was folder")
        (app / "extra").mkdir()
        (app / "extra/z").write_bytes(b"extra z")
        self.now = walked(app)
        self.noted()

    def dress(self, mode: int, target: str) -> None:
        """What can be synced only along with everything else is as it was: see `Dressed`."""

    def do(self, tap: Tap, mark: Mark = lambda _what: None) -> None:
        journal = self.journal(tap)
        try:
            journal.append("step.began")
            with self.world.open(tap) as kept:
                kept.restore("then", "app", step="s")
                mark(RESTORED)
            journal.append("step.done")
            journal.anchor()
            mark(DONE)
        finally:
            journal.close()

    def judge(self, reported: list[str]) -> list[str]:
        seen, kinds = walked(self.app), self.noted()
        found = []
        if seen != self.then and (RESTORED in reported or "step.done" in kinds):
            found.append(f"success was reported and it is not so: {self._differing(seen)}")
        if DONE in reported and not self.anchors():
            found.append("the anchor is forgotten")
        if DONE in reported and "step.done" not in kinds:
            found.append("the journal forgot what was reported")
        if seen != self.now and "step.began" not in kinds:
            found.append("there is an effect without its event")
        if seen not in (self.now, self.then) and not [one for one in self._intents() if one == "s"]:
            found.append("there is a mixture without an intent that says of what")
        for path in self.then.keys() | self.now.keys() | seen.keys():
            old, new = self.now.get(path), self.then.get(path)
            one = seen.get(path)
            if one is None and None not in (old, new):
                found.append(f"{path!r} is gone")
            elif one is not None and one[4] not in [x[4] for x in (old, new) if x is not None]:
                found.append(f"{path!r} is neither old nor new")
        with self.world.open() as kept:
            kept.restore("then", "app", step="s")
            if walked(self.app) != self.then:
                found.append("the same restore again does not converge")
            if self._intents() or (self.state / "quarantine/s/stage").exists():
                found.append("an intent or a stage is left behind")
            held = {path.read_bytes() for path in (self.state / "quarantine").rglob("*")
                    if path.is_file() and not path.is_symlink()}  # fmt: skip
            if self.lost_if_deleted - held:
                found.append(f"nowhere any more: {sorted(self.lost_if_deleted - held)}")
            found += self.problems(kept, must={"then"})
        return found

    def _differing(self, seen: Looks) -> list[bytes]:
        return sorted(path for path in self.then.keys() | seen.keys()
                      if self.then.get(path) != seen.get(path))  # fmt: skip

    def _intents(self) -> list[str]:
        """Which steps the intents are of, as far as they say."""
        said = []
        for path in (self.state / "intents").glob("*.json"):
            try:
                said.append(json.loads(path.read_bytes())["step"])
            except ValueError:
                said.append("")
        return said


class Dressed(Restore):
    """The same with a symbolic link, and a mode that changes in place."""

    def dress(self, mode: int, target: str) -> None:
        (self.app / "mode").chmod(mode)
        (self.app / "link").unlink(missing_ok=True)
        (self.app / "link").symlink_to(target)


class Swap(Deed):
    """A standby takes the place of a tree."""

    def prepare(self) -> None:
        self.world.components["app"] = component("app", restore="standby")
        (self.app / "deep").mkdir(parents=True)
        (self.app / "deep/f").write_bytes(b"one" * 40)
        (self.app / "g").write_bytes(b"two")
        self.create("then")
        self.then = self.known["then"]
        self.ready()
        (self.app / "deep/f").write_bytes(b"bad")
        (self.app / "new").write_bytes(b"new")
        self.bad = walked(self.app)

    def ready(self, tap: Tap | None = None) -> dict[str, str]:
        """The standby is made ready."""
        with self.world.open(tap) as kept:
            return kept.refresh_standby("then")  # type: ignore[no-any-return]

    def do(self, tap: Tap, mark: Mark = lambda _what: None) -> None:
        with self.world.open(tap) as kept:
            kept.restore("then", "app", step="s")
            mark(RESTORED)

    def judge(self, reported: list[str]) -> list[str]:
        seen = walked(self.app)
        found = []
        if seen not in (self.bad, self.then):
            found.append("it is neither the old tree nor the new one")
        if RESTORED in reported and seen != self.then:
            found.append("success was reported and it is not so")
        file_by_file = walked(self.state / "standby/app/tree") == self.then  # it was not swapped
        if seen == self.then and not file_by_file and self.bad not in (
            walked(path) for path in self._kept()
        ):  # fmt: skip
            found.append("what stood there is nowhere any more")
        with self.world.open() as kept:
            kept.restore("then", "app", step="s")
            if walked(self.app) != self.then:
                found.append("the same restore again does not converge")
            if kept.refresh_standby("then") != {"app": ""}:
                found.append("the standby cannot be made ready")
            if walked(self.state / "standby/app/tree") != self.then:
                found.append("the standby is another tree")
            if list((self.state / "intents").iterdir()):
                found.append("an intent is left behind")
            found += self.problems(kept, must={"then"})
        return found

    def _kept(self) -> list[Path]:
        return [self.state / "standby/app/tree", self.state / "quarantine/s/kept/app"]


class Ready(Swap):
    """The standby is made ready again after a swap, then used."""

    def prepare(self) -> None:
        super().prepare()
        super().do(Tap())
        (self.app / "g").write_bytes(b"worse")
        self.bad = walked(self.app)

    def do(self, tap: Tap, mark: Mark = lambda _what: None) -> None:
        self.ready(tap)
        super().do(tap, mark)


class First(Swap):
    """A standby is made ready where there was none, and used."""

    def ready(self, tap: Tap | None = None) -> dict[str, str]:
        return super().ready(tap) if tap is not None else {}

    def do(self, tap: Tap, mark: Mark = lambda _what: None) -> None:
        assert self.ready(tap) == {"app": ""}
        super().do(tap, mark)


class Free(Deed):
    """A checkpoint is deleted, its objects are freed, and a pack of which little stays is rewritten."""

    def prepare(self) -> None:
        self.app.mkdir()
        for number in range(4):
            (self.app / str(number)).write_bytes(os.urandom(400))
        self.create("first")
        for number in range(1, 4):
            (self.app / str(number)).write_bytes(os.urandom(400))
        self.create("second")
        self.live = walked(self.app)

    def do(self, tap: Tap, mark: Mark = lambda _what: None) -> None:
        with self.world.open(tap) as kept:
            assert Life(kept).delete("first")
            mark(DONE)

    def judge(self, reported: list[str]) -> list[str]:
        found = [] if walked(self.app) == self.live else ["the live tree is another"]
        with self.world.open() as kept:
            listed = {one.name for one in kept.list()}
            if DONE in reported and "first" in listed:
                found.append("what was deleted is listed again")
            found += self.problems(kept, must={"second"})
            if "first" in listed:
                Life(kept).delete("first")
            if not kept.create("after").target:
                found.append("the next checkpoint is no target")
            found += self.problems(kept, must={"second", "after"})
        return found


class Mend(Deed):
    """A damaged pack is repaired, from the pack itself, a mirror and the live tree."""

    def prepare(self) -> None:
        assert folder
        self.world.checkpoints = Declared.model_validate(
            {"stores": {"second": {"folder": {"path": "second"}}}})  # fmt: skip
        self.app.mkdir()
        for number in range(3):
            (self.app / str(number)).write_bytes(os.urandom(300))
        self.create("one")
        (self.app / "0").write_bytes(os.urandom(300))
        self.create("two")
        with self.world.open() as kept:
            self._copies(kept).make_good()
            (self.bad_name,) = {kept.store.pack_of(one.sha256) for one in kept.entries("one", "app")
                                if one.path == b"1"}  # fmt: skip
        pack = self.state / f"store/packs/{self.bad_name}.pack"
        data = bytearray(pack.read_bytes())
        data[self.damaged_at(data)] ^= 1
        pack.write_bytes(data)
        self.bad = bytes(data)

    def damaged_at(self, data: bytes) -> int:
        """Where in the pack a bit is turned: in an object."""
        return data.index((self.app / "1").read_bytes())

    def _copies(self, kept: Checkpoints, tap: Tap | None = None) -> Any:
        from rollback.keep.copies import Copies

        host = Host(tap=tap or Tap())
        return Copies(self.world.system(), host, host.tree(str(self.state)), kept)

    def do(self, tap: Tap, mark: Mark = lambda _what: None) -> None:
        with self.world.open(tap) as kept:
            done = Repair(kept, self._copies(kept, tap)).run()
            if done.lost:
                raise StoreError("not everything was found")
            mark(DONE)

    def judge(self, reported: list[str]) -> list[str]:
        found = []
        places = [
            *(self.state / "store/damaged").glob("*"),
            *(self.state / "store/packs").glob("*"),
        ]
        if self.bad not in [path.read_bytes() for path in places]:
            found.append("the damaged pack is nowhere any more")
        with self.world.open() as kept:
            if DONE in reported:
                found += self.problems(kept, must={"one", "two"})
        with self.world.open() as kept:
            if Repair(kept, self._copies(kept)).run().lost:
                found.append("the next repair does not find everything")
            found += self.problems(kept, must={"one", "two"})
        return found


class Rewrite(Mend):
    """The same where the good pack has the name of the damaged one: its index was damaged alone."""

    def damaged_at(self, data: bytes) -> int:
        return len(data) - 100


class Note(Deed):
    """Events are appended to a journal that is anchored in a second place."""

    events = 4

    def prepare(self) -> None:
        self.noted()

    def do(self, tap: Tap, mark: Mark = lambda _what: None) -> None:
        journal = self.journal(tap)
        try:
            for number in range(self.events):
                journal.append(f"event.{number}", data={"text": "x" * 100})
                mark(f"event.{number}")
                journal.anchor()
                mark(f"anchor.{number}")
        finally:
            journal.close()

    def judge(self, reported: list[str]) -> list[str]:
        agreed = self.anchors()
        kinds = self.noted()
        found = [f"the journal forgot {one}" for one in reported
                 if one.startswith("event") and one not in kinds]  # fmt: skip
        if agreed < len([one for one in reported if one.startswith("anchor")]):
            found.append("an anchor is forgotten")
        return found


DEEDS: dict[str, type[Deed]] = {
    "capture": Capture, "restore": Restore, "dressed": Dressed, "swap": Swap, "first": First,
    "ready": Ready, "free": Free, "mend": Mend, "rewrite": Rewrite, "note": Note,
}  # fmt: skip
