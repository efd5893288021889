"""The manifest: one spelling, every damage noticed, no path that could leave its root."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback.keep.entry import Entry, check, path_bytes, path_json
from rollback.keep.manifest import Manifest, decode, tree_bytes, tree_entries
from rollback.keep.scope import Scope
from rollback.model.errors import Confined, ObjectCorrupt

SHA = hashlib.sha256(b"x").hexdigest()
names = st.binary(min_size=1, max_size=255).filter(
    lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b"..")
)
times = st.integers(-(2**60), 2**60)
ids = st.binary(max_size=4).map(lambda raw: hashlib.sha256(raw).hexdigest())


@st.composite
def children(draw: st.DrawFn) -> tuple[Entry, ...]:
    """What may be in a folder: every kind of entry, any name."""
    entries = []
    for name in draw(st.sets(names, max_size=6)):
        kind = draw(st.sampled_from(["file", "folder", "symlink"]))
        mode, uid, when = draw(st.integers(0, 0o7777)), draw(st.integers(0, 2**32 - 2)), draw(times)
        if kind == "file":
            blocks, holes = draw(st.one_of(st.just(""), ids)), draw(st.sampled_from([None, 0, 4]))
            entries.append(Entry(name, "file", mode, uid, uid, when, 9, SHA, blocks,
                                 allocated=holes))  # fmt: skip
        elif kind == "symlink":
            entries.append(Entry(name, "symlink", mode, uid, uid, when, target=draw(names)))
        else:
            entries.append(Entry(name, "folder", mode, uid, uid, when, tree=draw(ids)))
    return tuple(sorted(entries, key=lambda entry: entry.path))


@settings(max_examples=80, deadline=None)
@given(entries=children())
def test_a_tree_comes_back_as_it_was(entries: tuple[Entry, ...]) -> None:
    """Any byte in a name survives, below any folder."""
    data = tree_bytes(entries)
    assert tree_entries(data, b".", strict=True) == entries
    below = tuple(replace(entry, path=b"a/b/" + entry.path) for entry in entries)
    assert tree_entries(data, b"a/b", strict=True) == below
    assert tree_bytes(below) == data


def test_a_manifest_comes_back_as_it_was() -> None:
    """And its id is the SHA-256 of its bytes."""
    for top in (None, FILE_ON_TOP, small().top):
        manifest = Manifest("c", "files", top, {"note": "n"}, 3, 9, 1)
        assert decode(manifest.encode()) == manifest
        assert manifest.digest == hashlib.sha256(manifest.encode()).hexdigest()


@given(path=st.binary(min_size=1, max_size=300))
def test_paths_survive_json(path: bytes) -> None:
    """UTF-8 names stay readable; others are base64; nothing is lost."""
    assert path_bytes(json.loads(json.dumps(path_json(path)))) == path


CHILDREN = (
    Entry(b"a", "file", 0o644, 0, 0, 5, 1, SHA),
    Entry(b"b", "hardlink", 0o644, 0, 0, 5, target=b"a"),
)
FILE_ON_TOP = Entry(b".", "file", 0o644, 0, 0, 5, 1, SHA)


def small() -> Manifest:
    tree = hashlib.sha256(tree_bytes(CHILDREN)).hexdigest()
    return Manifest("c", "files", Entry(b".", "folder", 0o755, 0, 0, 5, tree=tree), {}, 3, 1, 1)


@pytest.mark.parametrize("read", [decode, lambda data: tree_entries(data, b".")])
def test_no_truncation_is_read(read: Callable[[bytes], object]) -> None:
    """Cut at every byte."""
    data = small().encode() if read is decode else tree_bytes(CHILDREN)
    for size in range(len(data)):
        with pytest.raises(ObjectCorrupt):
            read(data[:size])


def test_every_flipped_bit_is_refused_or_reads_as_something_that_could_be() -> None:
    """What a hostile store may hold: never an error of another kind, never a path that leaves."""
    for whole in (small().encode(), tree_bytes(CHILDREN)):
        for at in range(len(whole) * 8):
            data = bytearray(whole)
            data[at // 8] ^= 1 << at % 8
            try:
                if whole.startswith(b'{"component"'):
                    decode(bytes(data))
                else:
                    check(tree_entries(bytes(data), b"."))
            except (ObjectCorrupt, Confined):
                continue


def other_spellings(data: bytes) -> Iterator[bytes]:
    value = json.loads(data)
    yield json.dumps(value).encode()
    yield data + b"\n"
    yield json.dumps({**value, "more": 1}, separators=(",", ":"), sort_keys=True).encode()
    yield json.dumps({**value, "format": 1}, separators=(",", ":"), sort_keys=True).encode()


def test_another_spelling_is_refused() -> None:
    """Spaces, other orders and unknown keys would give the same thing two ids."""
    for other in other_spellings(small().encode()):
        with pytest.raises(ObjectCorrupt):
            decode(other)
    for other in other_spellings(tree_bytes(CHILDREN)):
        with pytest.raises(ObjectCorrupt):
            tree_entries(other, b".", strict=True)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0", "x" * 256])
def test_a_tree_holds_plain_names_only(name: str) -> None:
    """No name in a tree can leave its folder."""
    data = tree_bytes(CHILDREN).replace(b'"name":"b"', b'"name":' + json.dumps(name).encode())
    with pytest.raises(ObjectCorrupt):
        tree_entries(data, b".")
    with pytest.raises(ObjectCorrupt):
        tree_entries(data, b"above")


FILE = Entry(b"f", "file", 0o644, 0, 0, 0, 1, SHA)


@pytest.mark.parametrize("entries", [
    (Entry(b"/etc/passwd", "file"),),
    (Entry(b"../x", "file"),),
    (Entry(b"a/../x", "file"),),
    (Entry(b"a//b", "file"),),
    (Entry(b"./a", "file"),),
    (Entry(b"a/", "file"),),
    (Entry(b"", "file"),),
    (Entry(b"a\0b", "file"),),
    (Entry(b"x" * 256, "file"),),
    (FILE, FILE),
    (Entry(b"a", "symlink", target=b"/etc"), Entry(b"a/passwd", "file")),
    (FILE, Entry(b"f/below", "file")),
    (FILE, Entry(b"f/much/below", "file")),
    (Entry(b".", "file"), FILE),
    (Entry(b".", "symlink", target=b"x"), FILE),
    (Entry(b"h", "hardlink", target=b"h"),),
    (Entry(b"h", "hardlink", target=b"missing"),),
    (Entry(b"h", "hardlink", target=b"../f"),),
    (Entry(b"l", "symlink", target=b"x"), Entry(b"h", "hardlink", target=b"l")),
    (Entry(b"l", "symlink", target=b""),),
    (Entry(b"l", "symlink", target=b"x\0y"),),
    (Entry(b"f", "file", mode=0o10000),),
    (Entry(b"f", "file", uid=-1),),
    (Entry(b"f", "file", uid=2**32 - 1),),
    (Entry(b"f", "file", mtime_ns=2**64),),
    (Entry(b"f", "file", size=2**63),),
    (Entry(b"f", "file", size=-1),),
    (Entry(b"f", "file", sha256="zz"),),
    (Entry(b"f", "file", blocks="../../etc"),),
    (Entry(b"f", "device"),),
])  # fmt: skip
def test_hostile_entries_are_refused(entries: tuple[Entry, ...]) -> None:
    """No entry that leaves its root, lies behind a link, or cannot be."""
    with pytest.raises(Confined):
        check(entries)


@pytest.mark.parametrize(("glob", "inside", "outside"), [
    ("*.log", [b"a.log", b"d/e/a.log"], [b"a.logs", b"log"]),
    ("cache", [b"cache", b"d/cache"], [b"cached"]),
    ("/cache", [b"cache"], [b"d/cache"]),
    ("d/*.txt", [b"d/a.txt"], [b"d/e/a.txt", b"a.txt"]),
    ("d/**/x", [b"d/x", b"d/e/f/x"], [b"x", b"d/xx"]),
    ("d/**", [b"d/x", b"d/e/f"], [b"d", b"e/x"]),
    ("?.[ab]", [b"x.a"], [b"xx.a", b"x.c", b"/.a"]),
    ("\udcff*", [b"\xff1"], [b"1"]),
])  # fmt: skip
def test_globs_are_those_of_gitignore(glob: str, inside: list[bytes], outside: list[bytes]) -> None:
    """What a declaration excludes."""
    scope = Scope(exclude=(glob,))
    assert [path for path in inside if scope.reaches(path)] == []
    assert [path for path in outside if not scope.reaches(path)] == []


def test_only_takes_what_is_named_and_what_is_below_it() -> None:
    """`paths` narrows a component."""
    scope = Scope(only=("etc/*.conf", "lib"))
    held = [path for path in (b".", b"etc", b"etc/a.conf", b"etc/b", b"lib", b"lib/x/y", b"other")
            if scope.holds(path)]  # fmt: skip
    assert held == [b".", b"etc/a.conf", b"lib", b"lib/x/y"]
