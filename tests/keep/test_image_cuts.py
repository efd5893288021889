"""The current is cut for real: the image of a mounted file system is copied in the midst of a deed.

What stands in the image at that moment is what a disk would hold: the kernel has not written the rest. The
copy is mounted, which replays its journal, the real commands recover, and it is checked with fsck. Each
change of a deed is such a moment, a little later or earlier as the kernel writes by itself every second.
IMAGE_CUTS is how many there are at least for each file system.

Mounts, loop devices and images are in a namespace of the child's own: they end with it, killed or not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from rollback.host import Clock, Tap
from tests.keep.deeds import DEEDS, Deed
from tests.keep.standin import World, component, settle
from tests.private import privately
from tests.reflinking import write_image

T = TypeVar("T")
CUTS = int(os.environ.get("IMAGE_CUTS", "500"))
EXT4_BYTES = 16 * 2**20
COPY_BYTES = 2**30

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3600)]


def lacking(kind: str) -> str:
    """Why this machine cannot do it; empty when it can."""
    if os.geteuid() != 0:
        return "only root mounts images"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    if kind not in Path("/proc/filesystems").read_text().split():
        return f"the kernel does not know {kind}"
    if kind != "btrfs" and shutil.which(f"mkfs.{kind}") is None:
        return f"there is no mkfs.{kind}"
    return ""


def made(kind: str, image: Path) -> None:
    """An empty file system lies in the image."""
    if kind == "btrfs":
        write_image(image)
        return
    with image.open("wb") as file:
        file.truncate(EXT4_BYTES if kind == "ext4" else 320 * 2**20)
    quiet = {"ext4": ["-q", "-F"], "xfs": ["-q"]}[kind]
    subprocess.run([f"mkfs.{kind}", *quiet, image], check=True)


def checked(kind: str, image: Path) -> None:
    """The file system is whole, as its own program says. Raises: CalledProcessError."""
    argv = {"ext4": ["e2fsck", "-fn"], "xfs": ["xfs_repair", "-n"], "btrfs": ["btrfs", "check"]}[
        kind
    ]
    if shutil.which(argv[0]):
        subprocess.run([*argv, image], check=True, capture_output=True)


def copied(source: int, target: Path) -> None:
    """The bytes of an open image as they are now, holes as holes."""
    size = os.fstat(source).st_size
    with target.open("wb") as file:
        file.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(source, at, os.SEEK_DATA)
            except OSError:
                break  # only a hole is left
            end = os.lseek(source, at, os.SEEK_HOLE)
            os.lseek(file.fileno(), at, os.SEEK_SET)
            while at < end:
                at += os.sendfile(file.fileno(), source, at, min(end - at, COPY_BYTES))


class Cutting(Tap):
    """After every change the image is copied; what had been reported then is kept with the copy."""

    def __init__(self, image: int, folder: Path, *, syncs: bool = True) -> None:
        self.image, self.folder, self.syncs = image, folder, syncs
        self.reported: list[str] = []
        self.cuts: list[tuple[Path, list[str], str]] = []

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        if not self.syncs and call in ("fsync", "fdatasync", "syncfs"):
            return None  # type: ignore[return-value] - the control: nobody syncs
        result = do()
        self.cut(f"{call} {os.fsdecode(where)}")
        return result

    def cut(self, about: str) -> None:
        """One copy more."""
        target = self.folder / f"cut-{len(self.cuts)}"
        copied(self.image, target)
        self.cuts.append((target, list(self.reported), about))


def mount(kind: str, image: Path, place: Path) -> None:
    """The image is mounted; a journal is written once a second."""
    options = "loop" + (",commit=1" if kind in ("ext4", "btrfs") else "")
    subprocess.run(["mount", "-t", kind, "-o", options, image, place], check=True)


def cut_up(kind: str, tmpfs: Path, name: str, *, syncs: bool = True) -> tuple[int, list[str]]:
    """How often the current was cut during this deed, and what was wrong afterwards."""
    image, place = tmpfs / "image", tmpfs / "mounted"
    place.mkdir(exist_ok=True)
    made(kind, image)
    mount(kind, image, place)
    (place / "world").mkdir()
    deed: Deed = DEEDS[name](place / "world")
    os.sync()
    fd = os.open(image, os.O_RDONLY)
    cutting = Cutting(fd, tmpfs, syncs=syncs)
    deed.do(cutting, cutting.reported.append)
    cutting.cut("the end")
    os.close(fd)
    subprocess.run(["umount", place], check=True)
    image.unlink()
    wrong = []
    for copy, reported, about in cutting.cuts:
        mount(kind, copy, place)
        try:
            found = deed.judge(reported)
        except Exception as error:  # noqa: BLE001 - whatever it is, this is no recovery
            found = [f"{type(error).__name__}: {error}"]
        subprocess.run(["umount", place], check=True)
        wrong += [f"{name} after {about}: {one}" for one in found]
        checked(kind, copy)
        copy.unlink()
    return len(cutting.cuts), wrong


def on_tmpfs(folder: Path, do: Callable[[Path], object]) -> int:
    """How a child ended that did it where it may mount what nobody else sees."""

    def alone() -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4g,mode=755", "none", folder], check=True
        )
        do(folder)

    return privately(alone)


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_whenever_the_current_is_cut_it_is_recovered(
    tmp_path: Path, kind: str, record_property: Callable[[str, object], None]
) -> None:
    """Every deed in turn, until there are enough cuts; what is mounted again is old or new, and whole."""
    if why := lacking(kind):
        record_property("cuts", f"none: {why}")
        print(f"no cut of {kind}: {why}")
        return

    told = tmp_path / "told"
    place = tmp_path / "tmpfs"
    place.mkdir()

    def cut_all(tmpfs: Path) -> None:
        count = 0
        while count < CUTS:
            for name in DEEDS:
                cuts, wrong = cut_up(kind, tmpfs, name)
                assert not wrong, wrong[:5]
                count += cuts
        told.write_text(str(count))

    assert on_tmpfs(place, cut_all) == 0
    count = int(told.read_text())
    record_property("cuts", count)
    print(f"{count} cuts of {kind}")
    assert count >= CUTS


def test_without_syncs_the_cuts_show_it(tmp_path: Path) -> None:
    """The control: the same restore with no sync at all is not recovered from each of its cuts."""
    if why := lacking("ext4"):
        print(f"no cut of ext4: {why}")
        return

    def cut_naive(tmpfs: Path) -> None:
        _, wrong = cut_up("ext4", tmpfs, "restore", syncs=False)
        assert wrong

    assert on_tmpfs(tmp_path, cut_naive) == 0


class NextBoot(Clock):
    """The clocks after the current came back."""

    def boot(self) -> str:
        return "the next one"


def test_bytes_that_a_cut_took_from_a_file_are_missed_though_it_looks_the_same(
    tmp_path: Path,
) -> None:
    """Written in place and never synced: its time is on disk along with the checkpoint, its bytes are not.

    The looks of files that were read before the cut are not believed after it.
    """
    if why := lacking("ext4"):
        print(f"no cut of ext4: {why}")
        return

    def cut_one(tmpfs: Path) -> None:
        image, place = tmpfs / "image", tmpfs / "mounted"
        place.mkdir()
        made("ext4", image)
        mount("ext4", image, place)
        (place / "world").mkdir()
        world = World(place / "world", {"app": component("app")}).make()
        (world.root / "app").mkdir()
        path = world.root / "app/f"
        path.write_bytes(b"old" * 3000)
        with world.open() as kept:
            kept.create("one")
        os.sync()
        with path.open("r+b") as file:
            file.write(b"new" * 3000)
        settle(world)
        with world.open() as kept:
            kept.create("two")
        fd = os.open(image, os.O_RDONLY)
        copied(fd, tmpfs / "cut")
        os.close(fd)
        subprocess.run(["umount", place], check=True)
        mount("ext4", tmpfs / "cut", place)
        assert path.read_bytes() == b"old" * 3000  # the cut did take the bytes
        world.clock = NextBoot()
        with world.open() as kept:
            assert kept.restore("two", "app", step="s")
        assert path.read_bytes() == b"new" * 3000

    assert on_tmpfs(tmp_path, cut_one) == 0
