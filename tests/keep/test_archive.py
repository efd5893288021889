"""Archives made by others: whole ones become entries, all others are nothing to go back to."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rollback.keep.archive import Archive, ArchiveSource, read_archive
from rollback.keep.comparing import changes
from rollback.keep.writer import Intent, put_back
from rollback.model.errors import ObjectCorrupt, PlanError
from tests.keep.standin import tree_of, walked

Make = Callable[[tarfile.TarFile], None]


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE,
        link: str = "", **more: object) -> None:  # fmt: skip
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, len(data)
    for key, value in more.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(data))


def made(folder: Path, make: Make, *, name: str = "a.tar.gz", mode: str = "w:gz") -> bytes:
    with tarfile.open(folder / name, mode) as tar:
        make(tar)
    return (folder / name).read_bytes()


def read(folder: Path, name: str = "a.tar.gz") -> Archive:
    with tree_of(folder) as tree:
        return read_archive(tree, name.encode())


def plain(tar: tarfile.TarFile) -> None:
    add(tar, "app", kind=tarfile.DIRTYPE, mode=0o750)
    add(tar, "app/f", b"then", mode=0o640, mtime=5)
    add(tar, "app/sub", kind=tarfile.DIRTYPE, mode=0o755)
    add(tar, "app/sub/g", b"g" * 3000, pax_headers={"mtime": "1700000000.123456789"})
    add(tar, "app/hard", kind=tarfile.LNKTYPE, link="app/f")
    add(tar, "app/link", kind=tarfile.SYMTYPE, link="../app/f")
    add(tar, "app/\udcff\udcfe", b"not UTF-8")
    add(tar, "other/file", b"o")


@pytest.mark.parametrize("mode", ["w:gz", "w"])
@pytest.mark.parametrize("prefix", ["", "./", "release-1.0/"])
def test_a_component_comes_back_from_an_archive(tmp_path: Path, mode: str, prefix: str) -> None:
    """Named from the root, or from one folder that holds everything; bytes, modes, times, links."""

    class Prefixed(tarfile.TarFile):
        def addfile(self, member: tarfile.TarInfo, data: object = None) -> None:
            member.name = prefix + member.name
            if member.islnk():
                member.linkname = prefix + member.linkname
            super().addfile(member, data)  # type: ignore[arg-type]

    raw = io.BytesIO()
    with Prefixed(fileobj=raw, mode="w", encoding="utf-8", errors="surrogateescape") as tar:
        plain(tar)
    data = gzip.compress(raw.getvalue()) if mode == "w:gz" else raw.getvalue()
    (tmp_path / "a.tar").write_bytes(data)
    for name in ("root/app", "q", "i", "spool"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root/app/f").write_text("now")
    (tmp_path / "root/app/extra").write_text("extra")
    archive = read(tmp_path, "a.tar")
    source = ArchiveSource(archive, "app")
    with tree_of(tmp_path) as tree, tree.sub("root") as root:
        said = changes(source, root, at=b"app")
        wanted = [one.path[4:] for one in said if one.what in ("add", "modify")]
        with tree.sub("spool") as spool, tree.sub("q") as q, tree.sub("i") as i:
            source.fetch(tree, b"a.tar", wanted, spool)
            put_back(source, root, at=b"app", quarantine=q, intent=Intent(i, "s"))
        assert not changes(source, root, at=b"app")
    app = tmp_path / "root/app"
    found = walked(app)
    assert sorted(found) == [b".", b"f", b"hard", b"link", b"sub", b"sub/g", b"\xff\xfe"]
    assert (app / "f").read_text() == "then"
    assert os.stat(app / "f").st_ino == os.stat(app / "hard").st_ino
    assert oct(os.stat(app / "f").st_mode)[-3:] == "640"
    assert os.stat(app / "sub/g").st_mtime_ns == 1700000000123456789
    assert (tmp_path / "q/kept/extra").read_text() == "extra"


def one(name: str, data: bytes = b"x", **more: object) -> Make:
    return lambda tar: add(tar, name, data, **more)  # type: ignore[arg-type]


def several(*makes: Make) -> Make:
    def make(tar: tarfile.TarFile) -> None:
        for each in makes:
            each(tar)

    return make


HOSTILE: dict[str, Make] = {
    "parent": one("../escape"),
    "parent-inside": one("app/../../escape"),
    "parent-at-end": one("app/.."),
    "absolute": one("/tmp/absolute"),
    "absolute-twice": one("//tmp/absolute"),
    "dot-inside": one("app/./f"),
    "empty-part": one("app//f"),
    "only-dots": one(".."),
    "long-part": one("x" * 300),
    "twice": several(one("app/f"), one("app/f")),
    "twice-otherwise-spelled": several(one("app/f"), one("./app/f")),
    "folder-twice": several(one("app", b"", kind=tarfile.DIRTYPE),
                            one("app/", b"", kind=tarfile.DIRTYPE)),
    "file-below-file": several(one("app"), one("app/f")),
    "file-below-link": several(one("app", b"", kind=tarfile.SYMTYPE, link="sub"), one("app/f")),
    "link-absolute": one("app/l", b"", kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "link-outside": one("app/l", b"", kind=tarfile.SYMTYPE, link="../../outside"),
    "link-outside-by-detour": one("l", b"", kind=tarfile.SYMTYPE, link="a/../../outside"),
    "link-empty": one("app/l", b"", kind=tarfile.SYMTYPE, link=""),
    "hard-outside": one("app/l", b"", kind=tarfile.LNKTYPE, link="../outside"),
    "hard-absolute": one("app/l", b"", kind=tarfile.LNKTYPE, link="/etc/passwd"),
    "hard-to-nothing": one("app/l", b"", kind=tarfile.LNKTYPE, link="app/none"),
    "hard-to-itself": one("app/l", b"", kind=tarfile.LNKTYPE, link="app/l"),
    "hard-to-folder": several(one("app", b"", kind=tarfile.DIRTYPE),
                              one("l", b"", kind=tarfile.LNKTYPE, link="app")),
    "hard-to-link": several(one("a", b"", kind=tarfile.SYMTYPE, link="x"),
                            one("b", b"", kind=tarfile.LNKTYPE, link="a")),
    "character-device": one("app/d", b"", kind=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "block-device": one("app/d", b"", kind=tarfile.BLKTYPE, devmajor=8),
    "fifo": one("app/p", b"", kind=tarfile.FIFOTYPE),
    "control-nothing": lambda _tar: None,
    "top-is-a-file": one("./"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_a_hostile_archive_is_no_candidate(tmp_path: Path, name: str, mode: str) -> None:
    """With the reason, and nothing anywhere is made."""
    made(tmp_path, HOSTILE[name], mode=mode)
    before = walked(tmp_path)
    with pytest.raises(ObjectCorrupt) as refused:
        read(tmp_path)
    assert len(str(refused.value)) > 10
    assert walked(tmp_path) == before
    assert not Path("/tmp/absolute").exists()


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_no_truncated_archive_is_read(tmp_path: Path, mode: str) -> None:
    """Whatever is missing at its end, be it the end marker alone, or a whole member."""
    whole = made(tmp_path, plain, mode=mode)
    read(tmp_path)
    step = 1 if mode == "w:gz" else 128
    end = len(whole) if mode == "w:gz" else whole.rstrip(b"\0").__len__()
    for length in range(0, end, step):
        (tmp_path / "a.tar.gz").write_bytes(whole[:length])
        with pytest.raises(ObjectCorrupt):
            read(tmp_path)


def test_no_flipped_bit_of_a_compressed_archive_is_believed(tmp_path: Path) -> None:
    """The checksum covers every byte of it; bits that mean nothing change nothing."""
    whole = made(tmp_path, plain)
    said = {path: entry.sha256 for path, entry in read(tmp_path).entries.items()}
    for bit in range(len(whole) * 8):
        spoilt = bytearray(whole)
        spoilt[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a.tar.gz").write_bytes(spoilt)
        try:
            found = {path: entry.sha256 for path, entry in read(tmp_path).entries.items()}
        except ObjectCorrupt:
            continue
        assert found == said, bit


def test_garbage_is_refused_without_another_error(tmp_path: Path) -> None:
    """Random bytes, random bytes in gzip, a tar with damaged headers: one error of ours."""
    chance = random.Random(7)
    whole = made(tmp_path, plain, mode="w")
    for number in range(300):
        if number % 3 == 0:
            data = chance.randbytes(chance.randrange(1, 4000))
        elif number % 3 == 1:
            data = gzip.compress(chance.randbytes(chance.randrange(1, 4000)))
        else:
            spoilt = bytearray(whole)
            for _ in range(3):
                spoilt[chance.randrange(512)] = chance.randrange(256)
            data = bytes(spoilt)
        (tmp_path / "a.tar.gz").write_bytes(data)
        try:
            found = read(tmp_path)
        except ObjectCorrupt:
            continue
        assert number % 3 == 2  # a changed byte in a name's padding harms nothing
        assert found.entries


def test_a_bomb_is_refused_before_it_swells(tmp_path: Path) -> None:
    """A gigabyte of zeros in a megabyte, and a name of a gigabyte."""
    raw = gzip.compress(b"\0" * 2**20, 9)
    head = tarfile.TarInfo("zeros")
    head.size = 2**31
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(head.tobuf()) + raw * 2048)
    with pytest.raises(ObjectCorrupt, match="swells"):
        read(tmp_path)
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 2**31
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(long.tobuf(tarfile.GNU_FORMAT)) + raw * 2048)
    with pytest.raises(ObjectCorrupt, match="impossible size"):
        read(tmp_path)


def test_something_behind_the_end_is_refused(tmp_path: Path) -> None:
    """Another archive behind the end marker, or bytes behind the compressed ones."""
    tar = made(tmp_path, plain, mode="w")
    for data in (gzip.compress(tar) + b"more", gzip.compress(tar + tar), tar + tar):
        (tmp_path / "a.tar.gz").write_bytes(data)
        with pytest.raises(ObjectCorrupt):
            read(tmp_path)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar[:1000]) + gzip.compress(tar[1000:]))
    assert b"app/f" in read(tmp_path).entries  # in two pieces it is still one


def test_without_the_path_of_the_component_it_says_so(tmp_path: Path) -> None:
    """Nor is a hard link out of the component followed."""
    made(tmp_path, several(plain, one("link/l", b"", kind=tarfile.LNKTYPE, link="app/f")))
    archive = read(tmp_path)
    with pytest.raises(PlanError, match="not in it"):
        archive.component("pages")
    with pytest.raises(PlanError, match="hard link"):
        archive.component("link")
    assert archive.component("other")[0] == b"other"
    assert len(archive.component(".")[1]) == len(archive.entries)


def test_an_archive_that_changes_between_the_readings_is_refused(tmp_path: Path) -> None:
    """What was planned with is what is put back."""
    made(tmp_path, plain)
    source = ArchiveSource(read(tmp_path), "app")
    made(tmp_path, several(plain, one("app/new")))
    (tmp_path / "spool").mkdir()
    with tree_of(tmp_path) as tree, tree.sub("spool") as spool, pytest.raises(ObjectCorrupt):
        source.fetch(tree, b"a.tar.gz", [b"f"], spool)
