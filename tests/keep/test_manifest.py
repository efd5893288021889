"""The manifest: one spelling, every damage noticed, no path that could leave its root."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback.keep.manifest import Entry, Manifest, check, decode, order, path_bytes, path_json
from rollback.keep.scope import Scope
from rollback.model.errors import Confined, ObjectCorrupt

SHA = hashlib.sha256(b"x").hexdigest()
names = st.binary(min_size=1, max_size=255).filter(
    lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b"..")
)
times = st.integers(-(2**60), 2**60)
ids = st.binary(max_size=4).map(lambda raw: hashlib.sha256(raw).hexdigest())


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """A flat manifest of every kind of entry."""
    entries = [Entry(b".", "folder", 0o755, 0, 0, 5)]
    for name in draw(st.sets(names, max_size=6)):
        kind = draw(st.sampled_from(["file", "folder", "symlink"]))
        mode, uid, when = draw(st.integers(0, 0o7777)), draw(st.integers(0, 2**32 - 2)), draw(times)
        if kind == "file":
            blocks = tuple(draw(st.lists(ids, min_size=2, max_size=3)))
            entries.append(Entry(name, "file", mode, uid, uid, when, 9, SHA, blocks))
        elif kind == "symlink":
            entries.append(Entry(name, "symlink", mode, uid, uid, when, target=draw(names)))
        else:
            entries.append(Entry(name, "folder", mode, uid, uid, when))
    ordered = tuple(sorted(entries, key=lambda entry: order(entry.path)))
    return Manifest("c", "files", ordered, {"note": "n"})


@settings(max_examples=80, deadline=None)
@given(manifest=manifests())
def test_a_manifest_comes_back_as_it_was(manifest: Manifest) -> None:
    """Any byte in a name survives, and the id is the SHA-256 of the bytes."""
    data = manifest.encode()
    assert decode(data) == manifest
    assert manifest.digest == hashlib.sha256(data).hexdigest()


@given(path=st.binary(min_size=1, max_size=300))
def test_paths_survive_json(path: bytes) -> None:
    """UTF-8 names stay readable; others are base64; nothing is lost."""
    assert path_bytes(json.loads(json.dumps(path_json(path)))) == path


def small() -> Manifest:
    return Manifest("c", "files", (
        Entry(b".", "folder", 0o755, 0, 0, 5),
        Entry(b"a", "file", 0o644, 0, 0, 5, 1, SHA, (SHA,)),
        Entry(b"b", "hardlink", 0o644, 0, 0, 5, target=b"a"),
    ))  # fmt: skip


def test_no_truncation_is_read() -> None:
    """Cut at every byte."""
    data = small().encode()
    for size in range(len(data)):
        with pytest.raises(ObjectCorrupt):
            decode(data[:size])


def test_another_spelling_is_refused() -> None:
    """Spaces, other orders and unknown keys would give the same manifest two ids."""
    value = json.loads(small().encode())
    for other in (
        json.dumps(value).encode(),
        small().encode() + b"\n",
        json.dumps({**value, "more": 1}, separators=(",", ":"), sort_keys=True).encode(),
        json.dumps({**value, "format": 2}, separators=(",", ":"), sort_keys=True).encode(),
    ):
        with pytest.raises(ObjectCorrupt):
            decode(other)


FILE = Entry(b"f", "file", 0o644, 0, 0, 0, 1, SHA, (SHA,))


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
    (Entry(b"f", "file", objects=("../../etc",)),),
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
