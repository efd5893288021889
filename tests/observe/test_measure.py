"""The figures by which "slower than before" is told from luck."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.model.finding import Answer
from rollback.observe.checks.load import Baseline
from rollback.observe.measure import chance_of_more, superiority

READINGS = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=30)


@given(before=READINGS, after=READINGS)
def test_superiority_is_the_share_of_pairs(before: list[float], after: list[float]) -> None:
    """Counted pair by pair; ties count half. Turned round, the two shares add up to one."""
    pairs = [(a > b) + (a == b) / 2 for a in after for b in before]
    effect, luck = superiority(before, after)
    assert effect == pytest.approx(sum(pairs) / len(pairs))
    assert effect + superiority(after, before)[0] == pytest.approx(1)
    assert 0 <= luck <= 1


def test_the_chance_is_that_of_all_ways_to_deal_the_readings() -> None:
    """Against every one of the 184,756 ways to deal twenty readings into two tens."""
    chance = random.Random(5)
    for shift in (0.0, 0.6, 1.2):
        values = [chance.gauss(0, 1) for _ in range(10)] + [
            chance.gauss(shift, 1) for _ in range(10)
        ]
        ranks = {value: rank for rank, value in enumerate(sorted(values))}
        here = sum(ranks[value] for value in values[10:])
        sums = Counter(sum(dealt) for dealt in combinations(range(20), 10))
        exact = sum(n for total, n in sums.items() if total >= here) / math.comb(20, 10)
        assert superiority(values[:10], values[10:])[1] == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(("count", "of", "share"), [(0, 10, 0.05), (3, 20, 0.05), (8, 60, 0.05),
                                                    (60, 60, 0.05), (30, 240, 0.1)])  # fmt: skip
def test_the_upper_tail_is_the_sum_of_its_terms(count: int, of: int, share: float) -> None:
    """As whole numbers of ways."""
    exact = sum(math.comb(of, n) * share**n * (1 - share) ** (of - n) for n in range(count, of + 1))
    assert chance_of_more(count, of, share) == pytest.approx(exact)


def histogram(*readings: tuple[float, int]) -> dict[float, int]:
    return dict(readings)


STEADY = [10.0 + n % 20 for n in range(240)]  # p95 28, median 19.5
BASELINE = Baseline(p95="<=+100%", floor=20)


@pytest.mark.parametrize(
    ("now", "answer", "said"),
    [
        pytest.param(Counter(STEADY), Answer.PASS, "p95 was 28 ms in the seal", id="as before"),
        pytest.param(Counter(v * 1.9 for v in STEADY), Answer.PASS, "", id="within the tolerance"),
        pytest.param(Counter(v * 3 for v in STEADY), Answer.FAIL, "more than <=+100% slower",
                     id="all three times as slow"),
        pytest.param(Counter(STEADY[:200] + [500.0] * 40), Answer.FAIL, "more than <=+100% slower",
                     id="one in six hangs"),
        pytest.param(Counter(STEADY[:228] + [500.0] * 12), Answer.PASS, "", id="one in twenty"),
        pytest.param(Counter(STEADY[:36] + [500.0] * 4), Answer.UNKNOWN, "too few samples to tell",
                     id="four of forty may be luck"),
        pytest.param(Counter([55.0] * 240), Answer.FAIL, "100% are worse than before",
                     id="the whole distribution moved below the old limit of p95"),
    ],
)  # fmt: skip
def test_slower_is_told_from_luck(now: Counter[float], answer: Answer, said: str) -> None:
    """By the share, the floor and the chance; what cannot be told is UNKNOWN, never a pass."""
    told, found = BASELINE.compared(28.0, STEADY, now)
    assert (found, said in told) == (answer, True), told


def test_a_small_difference_is_none_whatever_its_share() -> None:
    """Below the floor: 1 ms and 4 ms are the same to whoever waits."""
    told, found = BASELINE.compared(1.0, [1.0] * 240, {4.0: 240})
    assert found is Answer.PASS, told
