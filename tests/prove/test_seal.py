"""Seals: found again by what they belong to, changed by nobody, compared with care."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback.host import Host, Tree
from rollback.model.errors import ObjectCorrupt
from rollback.model.finding import Answer
from rollback.prove import seal as seals
from rollback.prove.seal import SAMPLES_MIN, Seal, Sealed, compare

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


FAST = [10.0 + n / 100 for n in range(40)]


@pytest.mark.requirement("MB-70")
@pytest.mark.parametrize(
    ("now", "answer", "why"),
    [
        (FAST, Answer.PASS, "the same"),
        ([v * 3 for v in FAST], Answer.FAIL, "clearly slower"),
        ([v / 3 for v in FAST], Answer.PASS, "faster"),
        ([v * 1.5 for v in FAST], Answer.PASS, "slower, within the ratio"),
        (FAST[: SAMPLES_MIN - 1], Answer.UNKNOWN, "too few samples"),
        ([], Answer.UNKNOWN, "none"),
        (FAST[:10] + [v * 3 for v in FAST[:30]], Answer.FAIL, "most of them slow"),
    ],
)
def test_worse_takes_effect_ratio_and_floor(now: list[float], answer: Answer, why: str) -> None:
    """All three must say worse; too few samples say nothing."""
    assert compare(now, FAST, ratio=1.0, floor=5.0).answer is answer


def test_three_times_of_next_to_nothing_is_nothing() -> None:
    """The floor: a ratio of tiny numbers is noise."""
    tiny = [v / 1000 for v in FAST]
    assert compare([v * 3 for v in tiny], tiny, ratio=1.0, floor=5.0).answer is Answer.PASS


def test_more_may_be_better() -> None:
    """Throughput: less is worse."""
    half = [v / 3 for v in FAST]
    assert compare(half, FAST, ratio=0.3, floor=1.0, lower_is_better=False).answer is Answer.FAIL
    assert compare(FAST, half, ratio=0.3, floor=1.0, lower_is_better=False).answer is Answer.PASS


SERIES = st.lists(st.floats(0, 1000), min_size=SAMPLES_MIN, max_size=60)


@settings(max_examples=100, deadline=None)
@given(SERIES, SERIES)
def test_the_effect_is_what_counting_pairs_says(now: list[float], then: list[float]) -> None:
    """Cliff's delta, against the definition."""
    pairs = [(a > b) - (a < b) for a in now for b in then]
    assert seals._delta(now, then) == pytest.approx(sum(pairs) / len(pairs))
