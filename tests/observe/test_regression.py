"""Worse than before is said only where medians, effect and test agree; in doubt nothing is claimed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback.model.finding import Answer
from rollback.observe.measure import superiority
from rollback.observe.regression import SAMPLES_MIN, compare

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
        ([v * 30 for v in FAST[:10]], Answer.UNKNOWN, "far slower, and too few to say so"),
        ([1.0] * 16 + [100.0] * 17, Answer.UNKNOWN, "the median moved, and it may be luck"),
    ],
)
def test_worse_takes_effect_ratio_floor_and_test(
    now: list[float], answer: Answer, why: str
) -> None:
    """All four must say worse; too few samples say nothing."""
    assert compare(FAST, now, ratio=1.0, floor=5.0).answer is answer


def test_three_times_of_next_to_nothing_is_nothing() -> None:
    """The floor: a ratio of tiny numbers is noise."""
    tiny = [v / 1000 for v in FAST]
    assert compare(tiny, [v * 3 for v in tiny], ratio=1.0, floor=5.0).answer is Answer.PASS


def test_more_may_be_better() -> None:
    """Throughput: less is worse."""
    half = [v / 3 for v in FAST]
    assert compare(FAST, half, ratio=0.3, floor=1.0, lower_is_better=False).answer is Answer.FAIL
    assert compare(half, FAST, ratio=0.3, floor=1.0, lower_is_better=False).answer is Answer.PASS


def test_medians_and_test_alone_are_not_enough() -> None:
    """Two thirds of hundreds are slower: no luck, and no large effect either."""
    then = [float(n % 100) for n in range(600)]
    now = [float(n % 100) + 25 for n in range(600)]
    effect, luck = superiority(then, now)
    assert luck < 0.001
    assert effect < 0.73
    half = [float(n % 100) + 20 for n in range(600)]
    assert superiority(then, half)[0] < 0.71
    assert compare(then, half, ratio=0.1, floor=1.0).answer is Answer.PASS


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1, 1000), min_size=1, max_size=60), st.integers(1, 60))
def test_what_is_many_times_slower_never_passes(then: list[float], count: int) -> None:
    """However few values there are: FAIL, or nothing is claimed."""
    now = [max(then) * 10] * count
    answer = compare(then, now, ratio=1.0, floor=0.5).answer
    assert answer is (Answer.FAIL if min(len(then), count) >= SAMPLES_MIN else Answer.UNKNOWN)


# Critical values of U, one-sided, for two series of the same size. Source: Mann and Whitney's test as
# tabulated by Auble 1953, in Siegel, "Nonparametric Statistics for the Behavioral Sciences", 1956, table K.
TABLE = [(20, 0.05, 138), (20, 0.025, 127), (20, 0.01, 114)]


@pytest.mark.parametrize(("size", "level", "critical"), TABLE)
def test_the_test_agrees_with_its_table(size: int, level: float, critical: int) -> None:
    """The largest U that is no luck at this level, and the next one that may be."""

    def luck(u: int) -> float:
        """Of two series without ties in which so many pairs are turned round."""
        then, now, left = [*range(size)], [float(size + n) for n in range(size)], u
        for n in range(size):
            turned = min(size, left)
            now[n] = size - turned - 0.5 + n / 1000
            left -= turned
            if not left:
                break
        effect, found = superiority([float(one) for one in then], now)
        assert effect == pytest.approx(1 - u / size**2)
        return found

    assert luck(critical) == pytest.approx(level, rel=0.05)
    assert luck(critical + 1) > level
    assert luck(critical - 2) < level
