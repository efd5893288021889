"""Seals: found again by what they belong to, changed by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rollback.host import Host, Tree
from rollback.model.errors import ObjectCorrupt
from rollback.prove import seal as seals
from rollback.prove.seal import Seal, Sealed

FOUND = {"load": Sealed(suite="performance", answer="pass", samples={"ms": (1.0, 2.0)}),
         "up": Sealed(suite="smoke", answer="fail", fingerprint="f", evidence="é")}  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with Host().tree(str(tmp_path)) as opened:
        yield opened


def _seal(at: str = "2026-11-20T00:00:00Z", **belongs_to: str) -> Seal:
    return seals.make(FOUND, belongs_to=belongs_to or {"checkpoint": "c"}, at=at)


def test_a_saved_seal_is_found_by_its_version(tree: Tree) -> None:
    """The youngest one of exactly that version."""
    assert seals.newest(tree, {"checkpoint": "c"}) is None
    old, new = _seal(), _seal("2026-11-21T00:00:00Z")
    other = _seal(component="code", commit="abc")
    for seal in (new, old, other):
        assert seals.load(tree, seals.save(tree, seal)) == seal
    assert seals.newest(tree, {"checkpoint": "c"}) == new
    assert seals.newest(tree, {"component": "code", "commit": "abc"}) == other
    assert seals.newest(tree, {"checkpoint": "d"}) is None
    assert new.samples == {"load": {"ms": (1.0, 2.0)}}


def test_a_changed_seal_is_not_served(tree: Tree) -> None:
    """Any byte changed: refused, by digest or by shape."""
    name = seals.path(seals.save(tree, _seal()))
    data = tree.read(name)
    for wrong in (data.replace(b'"pass"', b'"fail"'), data[:-1], b"", data.replace(b"2.0", b"NaN")):
        assert wrong != data
        tree.write(name, wrong)
        with pytest.raises(ObjectCorrupt):
            seals.newest(tree, {"checkpoint": "c"})
