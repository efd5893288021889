"""Trees and manifests that somebody wrote to do harm: refused, or exactly what they say, inside."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback.keep.checkpoint import Checkpoint
from rollback.keep.copy_place import Listed
from rollback.keep.entry import Entry
from rollback.keep.fetch import fetch
from rollback.keep.life import Life
from rollback.keep.manifest import Manifest, decode, tree_bytes, tree_entries
from rollback.keep.repair import Repair
from rollback.model.errors import ObjectCorrupt, RollbackError
from rollback.model.event import canonical
from tests.keep.standin import World, component, walked
from tests.keep.test_copies import copies, declared

EXTRACT = Path(__file__).resolve().parents[2] / "docs" / "extract.py"
DATA = b"then"
GOOD = hashlib.sha256(DATA).hexdigest()
EMPTY = hashlib.sha256(tree_bytes(())).hexdigest()


def file(name: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "file", "mode": 0o644, "size": 4, "sha256": GOOD, **more}


def link(name: str, target: Any, kind: str = "symlink") -> dict[str, Any]:
    return {"name": name, "kind": kind, "target": target}


def raw(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}


def folder(name: Any, tree: str = EMPTY, **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "folder", "mode": 0o755, "tree": tree, **more}


F = file("f")
ENTRIES: dict[str, list[Any]] = {
    "parent": [file("..")], "self": [file(".")], "empty-name": [file("")],
    "slash": [file("a/b")], "climbs": [file("../escape")], "climbs-far": [file("../../escape")],
    "absolute": [file("/tmp/escape")], "nul": [file("a\0b")], "long": [file("x" * 256)],
    "parent-folder": [folder("..")], "self-folder": [folder(".")],
    "parent-raw": [file(raw(b".."))], "slash-raw": [file(raw(b"a/b"))],
    "text-as-raw": [file(raw(b"f"))], "no-base64": [file({"base64": "!"})],
    "name-number": [file(7)], "name-null": [file(None)], "name-list": [file(["f"])],
    "name-surrogate": [file("\udcff")],
    "own": [file(".rollback-tmp-x")], "own-folder": [folder(".rollback-quarantine-x")],
    "twice": [F, F], "unsorted": [file("g"), F], "case-order": [file("b"), file("a"), file("c")],
    "link-out": [link("l", "../../outside/canary")], "link-absolute": [link("l", "/etc/passwd")],
    "link-empty": [link("l", "")], "link-long": [link("l", "x" * 5000)], "link-nul": [link("l", "a\0")],
    "link-number": [link("l", 7)],
    "file-through-link": [link("d", "../../outside"), folder("d")],
    "hard-out": [link("h", "../../outside/canary", "hardlink")],
    "hard-absolute": [link("h", "/etc/passwd", "hardlink")],
    "hard-nothing": [link("h", "none", "hardlink")], "hard-self": [link("h", "h", "hardlink")],
    "hard-folder": [folder("d"), link("h", "d", "hardlink")],
    "hard-link": [link("h", "l", "hardlink"), link("l", "x")],
    "fifo": [{"name": "p", "kind": "fifo"}], "device": [{"name": "d", "kind": "block device"}],
    "no-kind": [{"name": "p"}], "kind-list": [{"name": "p", "kind": ["file"]}],
    "mode-huge": [file("f", mode=0o1000000)], "mode-negative": [file("f", mode=-1)],
    "mode-text": [file("f", mode="0644")], "mode-true": [file("f", mode=True)],
    "mode-float": [file("f", mode=420.0)], "setuid": [file("f", mode=0o4755)],
    "owner-huge": [file("f", uid=2**32, gid=0)], "owner-text": [file("f", uid="root", gid=0)],
    "owner-nobody-knows": [file("f", uid=2**32 - 1, gid=2**32 - 1)],
    "time-huge": [file("f", mtime_ns=2**63)], "time-text": [file("f", mtime_ns="now")],
    "size-short": [file("f", size=3)], "size-long": [file("f", size=5)],
    "size-huge": [file("f", size=2**61)], "size-negative": [file("f", size=-1)],
    "sha-missing": [{"name": "f", "kind": "file", "size": 4}],
    "sha-other": [file("f", sha256="0" * 64)], "sha-upper": [file("f", sha256=GOOD.upper())],
    "sha-path": [file("f", sha256="../../etc/passwd")],
    "blocks-path": [file("f", blocks="../x")], "blocks-nothing": [file("f", blocks="1" * 64)],
    "blocks-odd": [file("f", blocks=GOOD)],
    "tree-nothing": [folder("d", "2" * 64)], "tree-file": [folder("d", GOOD)],
    "tree-path": [folder("d", "../../x")], "tree-of-file": [file("f", tree=EMPTY)],
    "attribute-name": [file("f", attributes={"plain": ""})],
    "attribute-value": [file("f", attributes={"user.x": "!"})],
    "attribute-list": [file("f", attributes=["user.x"])],
    "attribute-capability": [file("f", attributes={"security.capability": "AAAA"})],
    "attributes-of-a-link": [{**link("l", "x"), "attributes": {"user.x": ""}}],
    "allocated-text": [file("f", allocated="all")], "entry-text": ["f"], "entry-null": [None],
}  # fmt: skip
TREES: dict[str, bytes] = {
    **{name: canonical({"format": 2, "entries": entries})
       if name != "name-surrogate" else json.dumps({"entries": entries, "format": 2}).encode()
       for name, entries in ENTRIES.items()},
    "not-json": b"{", "nothing": b"", "a-list": b"[]", "other-format": b'{"entries":[],"format":1}',
    "entries-text": b'{"entries":"f","format":2}', "not-utf8": b'{"entries":["\xff"],"format":2}',
    "deep-json": b"[" * 100_000, "spaced": b'{"entries": [], "format": 2}',
    "nan": b'{"entries":[],"format":NaN}', "huge-number": b'{"entries":[],"format":' + b"9" * 5000 + b"}",
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_a_hostile_tree_does_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """List, verify, compare, restore, extract, delete: refused with one of our errors, or exact."""
    world = World(tmp_path, {"app": component("app")}).make()
    outside = tmp_path / "outside"
    for path in (world.root / "app/f", outside / "canary"):
        path.parent.mkdir()
        path.write_bytes(DATA)
    with world.open() as checkpoints, monkeypatch.context() as patched:
        patched.setattr("rollback.keep.capture.tree_bytes", lambda _entries: TREES[name])
        made = checkpoints.create("hostile")
    (world.root / "app/f").write_text("now")
    before = walked(outside), walked(world.root)
    with world.open() as checkpoints:
        deeds: tuple[Callable[[], object], ...] = (
            checkpoints.list,
            lambda: checkpoints.verify(made.id, deep=True),
            lambda: checkpoints.diff(made.id),
        )
        for deed in deeds:
            try:
                deed()
            except RollbackError:
                pass
            assert (walked(outside), walked(world.root)) == before
        try:
            checkpoints.restore(made.id, "app", step="r")
        except RollbackError:
            assert walked(world.root) == before[1]
        assert walked(outside) == before[0]
        below = {path for path in walked(tmp_path) if path.split(b"/")[0] not in (
            b"root", b"state", b"outside", b".")}  # fmt: skip
        assert not below
        to = tmp_path / "out"
        done = subprocess.run(
            [sys.executable, str(EXTRACT), str(world.state / "store"), made.id, "extract", "app",
             str(to)], capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert walked(outside) == before[0]
        assert not os.path.lexists("/tmp/escape")
        assert not (tmp_path / "escape").exists()
        assert done.returncode in (0, 1)
        Life(checkpoints).delete(made.id)
        assert walked(outside) == before[0]


def mirrored(world: World, made: Checkpoint, packs: dict[str, int] | None = None) -> Path:
    """A mirror that holds the store as it is, hostile or not, with a list that fits."""
    mirror = world.base / "second"
    shutil.rmtree(mirror, ignore_errors=True)
    shutil.copytree(world.state / "store", mirror, ignore=shutil.ignore_patterns("lock", "index"))
    there = {path.stem: path.stat().st_size for path in (mirror / "packs").iterdir()}
    (mirror / "lists").mkdir()
    body = Listed("small", there if packs is None else packs).body(made.id)
    (mirror / f"lists/{made.id}.json").write_bytes(body)
    return mirror


def hostile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: bytes
) -> tuple[World, Checkpoint]:
    """A system with a checkpoint whose folder is that tree, and a file outside that is not ours."""
    world = World(tmp_path, {"app": component("app")}).make()
    world.checkpoints = declared(second={"folder": {"path": "second"}})
    for path in (world.root / "app/f", tmp_path / "outside/canary"):
        path.parent.mkdir()
        path.write_bytes(DATA)
    with world.open() as checkpoints, monkeypatch.context() as patched:
        patched.setattr("rollback.keep.capture.tree_bytes", lambda _entries: tree)
        made = checkpoints.create("hostile")
    return world, made


def elsewhere(world: World) -> dict[bytes, object]:
    """Everything but the state directory, which may grow."""
    return {path: what for path, what in walked(world.base).items()
            if path.split(b"/")[0] not in (b"state", b".")}  # fmt: skip


@pytest.mark.parametrize("spoilt", ["", "pack", "record", "mirror"])
@pytest.mark.parametrize("name", TREES)
def test_a_hostile_tree_meets_repair_and_does_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, spoilt: str
) -> None:
    """With a whole store, a damaged pack, a damaged record, and a mirror that is damaged too."""
    world, made = hostile(tmp_path, monkeypatch, TREES[name])
    mirror = mirrored(world, made)
    record = world.state / f"store/checkpoints/{made.id}.json"
    if spoilt == "record":
        record.write_bytes(record.read_bytes()[:-1] + b"x")
    for folder_ in {"pack": [world.state / "store"], "mirror": [mirror, world.state / "store"]}.get(
        spoilt, []
    ):
        for pack in (folder_ / "packs").iterdir():
            data = bytearray(pack.read_bytes())
            data[len(data) // 3] ^= 1
            pack.write_bytes(data)
    before = elsewhere(world)
    with world.open() as kept:
        try:
            Repair(kept, copies(world, kept)).run()
        except RollbackError as error:
            assert len(str(error)) < 10_000  # noqa: PT017 - most are repaired, some refused
    assert elsewhere(world) == before
    with world.open() as kept:
        for one in kept.list():
            try:
                kept.verify(one.id, deep=True)
            except RollbackError:
                continue
    assert elsewhere(world) == before


@pytest.mark.parametrize("name", TREES)
def test_a_hostile_tree_is_fetched_and_does_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """From a mirror that somebody else filled, into a store that has nothing; then put back."""
    world, made = hostile(tmp_path, monkeypatch, TREES[name])
    mirrored(world, made)
    shutil.rmtree(world.state / "store")
    before, outside = elsewhere(world), walked(tmp_path / "outside")
    with world.open() as kept:
        try:
            done = fetch(kept, copies(world, kept), "small", "second")
            assert done.checkpoints == (made.id,) or done.problems
        except RollbackError as error:
            assert len(str(error)) < 10_000  # noqa: PT017 - most are brought, some refused
    assert elsewhere(world) == before
    (world.root / "app/f").write_text("now")
    before = elsewhere(world)
    with world.open() as kept:
        for one in kept.list():
            try:
                kept.restore(one.id, "app", step="r")
            except RollbackError:
                assert elsewhere(world) == before
    assert walked(tmp_path / "outside") == outside
    assert not os.path.lexists("/tmp/escape")
    assert not (tmp_path / "escape").exists()


PACKS: dict[str, Any] = {
    "parent": "../{pack}", "above": "../../../{pack}", "in-checkpoints": "../checkpoints/{pack}",
    "absolute": "/tmp/{pack}", "slash": "a/{pack}", "empty": "", "dot": ".", "parent-alone": "..",
    "short": "abc", "upper": "{upper}", "nul": "{pack}\0", "newline": "{pack}\n",
    "dotted": "{pack}.pack/../x", "long": "a" * 300, "other": "0" * 64, "own": ".rollback-tmp-x",
}  # fmt: skip


@pytest.mark.parametrize("name", PACKS)
def test_a_hostile_list_of_packs_brings_nothing_to_where_no_pack_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A copy's list names packs: what is no name of one is refused, and nothing is written."""
    world, made = hostile(tmp_path, monkeypatch, TREES["setuid"])
    (pack,) = (world.state / "store/packs").iterdir()
    called = PACKS[name].format(pack=pack.stem, upper=pack.stem.upper())
    mirror = mirrored(world, made, {called: pack.stat().st_size})
    for folder_ in ("packs", "checkpoints", "packs/a", ".", "packs/.."):
        (mirror / folder_).mkdir(exist_ok=True)
        shutil.copy(pack, mirror / folder_ / f"{pack.stem}.pack")
    shutil.rmtree(world.state / "store")
    with world.open() as kept:
        assert kept.list() == ()
    before = walked(world.base)
    with world.open() as kept:
        try:
            done = fetch(kept, copies(world, kept), "small", "second")
            assert done.checkpoints == ()
            assert done.problems
        except RollbackError:
            pass
    grown = {path for path in walked(world.base) if path not in before}
    assert not {path for path in grown if b"/packs/" not in path and not path.endswith(b"/lock")
                and path != b"state/store/packs"}, grown  # fmt: skip
    assert not any(path.endswith(b".json") for path in grown)
    assert not os.path.lexists(f"/tmp/{pack.stem}.pack")


def test_no_strange_record_is_fetched_or_stops_the_others(tmp_path: Path) -> None:
    """Commit records that somebody wrote, each with the right digest: refused or what they say."""
    world = World(tmp_path, {"app": component("app")}).make()
    world.checkpoints = declared(second={"folder": {"path": "second"}})
    (world.root / "app").mkdir()
    (world.root / "app/f").write_bytes(DATA)
    with world.open() as kept:
        made = kept.create("good")
    mirror = mirrored(world, made)
    record = json.loads((mirror / f"checkpoints/{made.id}.json").read_bytes())
    count = 0
    for mutated in mutations(record):
        data = json.dumps(mutated, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        raw_ = data.encode("utf-8", "surrogatepass")
        identity = hashlib.sha256(raw_).hexdigest()
        (mirror / f"checkpoints/{identity}.json").write_bytes(raw_)
        packs = {path.stem: path.stat().st_size for path in (mirror / "packs").iterdir()}
        (mirror / f"lists/{identity}.json").write_bytes(Listed("small", packs).body(identity))
        count += 1
    assert count > 200
    shutil.rmtree(world.state / "store")
    before = elsewhere(world)
    with world.open() as kept:
        done = fetch(kept, copies(world, kept), "small", "second")
        assert made.id in done.checkpoints
        assert elsewhere(world) == before
        for one in kept.list():
            for deed in (lambda i=one.id: kept.verify(i, deep=True), lambda i=one.id: kept.diff(i),
                         lambda i=one.id: kept.restore(i, "app", step="r")):  # fmt: skip
                try:
                    deed()  # type: ignore[no-untyped-call]
                except RollbackError:
                    continue
        assert kept.get(made.id).target
        Repair(kept, copies(world, kept)).run()
    assert elsewhere(world) == before


def mutations(value: Any) -> Iterator[Any]:
    """The value with each part dropped, of another type, huge, or strange."""
    strange: tuple[Any, ...] = (
        None, True, -1, 2**70, 1.5, "", "\u202e", "x" * 100_000, [], {}, [[]], {"a": {}}, "../..", "\0",
    )  # fmt: skip

    def ways(part: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        yield way
        for key in (
            part if isinstance(part, dict) else range(len(part) if isinstance(part, list) else 0)
        ):
            yield from ways(part[key], (*way, key))

    for way in ways(value):
        if not way:
            continue
        for new in (*strange, KeyError):
            made = copy.deepcopy(value)
            at = made
            for key in way[:-1]:
                at = at[key]
            if new is KeyError:
                del at[way[-1]]
            else:
                at[way[-1]] = new
            yield made


def test_no_strange_manifest_is_another_error_than_ours() -> None:
    """More than 250 of them, and as many trees: refused, or what they say could be."""
    entry = Entry(b"f", "file", 0o644, 0, 0, 5, 4, GOOD, attributes=((b"user.x", b"v"),),
                  xattrs=(b"user.y",))  # fmt: skip
    manifest = Manifest("app", "files", Entry(b".", "folder", 0o755, 0, 0, 5, tree=EMPTY),
                        {"not_captured": [{"path": "p", "type": "fifo"}]}, 2, 4)  # fmt: skip
    counts = {"manifest": 0, "tree": 0}
    accepted = 0
    for mutated in mutations(json.loads(manifest.encode())):
        counts["manifest"] += 1
        data = json.dumps(
            mutated, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
        try:
            assert decode(data).encode() == data
            accepted += 1
        except ObjectCorrupt as error:
            assert len(str(error)) < 10_000  # noqa: PT017 - most are refused, some are fine
    for mutated in mutations(json.loads(tree_bytes((entry,)))):
        counts["tree"] += 1
        data = json.dumps(
            mutated, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()
        try:
            assert tree_bytes(tree_entries(data, b".", strict=True)) == data
            accepted += 1
        except ObjectCorrupt:
            continue
    assert min(counts.values()) >= 150
    assert sum(counts.values()) >= 400
    assert accepted < sum(counts.values()) / 2
