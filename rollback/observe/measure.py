"""Figures from measurements: percentiles, and the slope of a line with what is known about it.

Hides: the formulas.
Never: judges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Slope:
    """A Theil-Sen slope; `low` to `high` holds the true one in 95 of 100 measurements."""

    estimate: float
    low: float
    high: float
    points: int


def slope(xs: Sequence[float], ys: Sequence[float]) -> Slope | None:
    """The median of the slopes between all pairs of points; None below six points.

    One jump (an allocator taking its next arena) or a noisy point moves the median little, where
    least squares would call it a leak. The interval comes from the ranks of the pair slopes, so
    that nothing is assumed about how the noise is spread.
    Source: Sen 1968, "Estimates of the regression coefficient based on Kendall's tau".
    """
    assert len(xs) == len(ys)
    count = len(xs)
    if count < 6:
        return None
    pairs = sorted(
        (ys[b] - ys[a]) / (xs[b] - xs[a])
        for a in range(count) for b in range(a + 1, count) if xs[b] != xs[a]
    )  # fmt: skip
    if not pairs:
        return None
    spread = _Z95 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(0, math.floor((len(pairs) - spread) / 2) - 1)
    high = min(len(pairs) - 1, math.ceil((len(pairs) + spread) / 2))
    return Slope(_middle(pairs), pairs[low], pairs[high], count)


def _middle(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def median(values: Sequence[float]) -> float:
    """The middle one. Shape: at least one value."""
    return _middle(sorted(values))


def percentile(histogram: Mapping[float, int], share: float) -> float:
    """The smallest value that at least `share` of the readings do not exceed (nearest rank).

    Shape: value to how often it was read; at least one reading.
    """
    total = sum(histogram.values())
    assert total > 0, "no readings"
    rank = max(1, math.ceil(share * total))
    seen = 0
    for value in sorted(histogram):
        seen += histogram[value]
        if seen >= rank:
            return value
    raise AssertionError("the counts add up")


def superiority(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """How often a reading after exceeds one before, 0 to 1, and how likely that much is luck.

    0.5 is no difference, 0.71 a large one (Vargha and Delaney 2000, "A critique and improvement of
    the CL common language effect size statistics"). The chance is one-sided, by the normal
    approximation of Mann and Whitney's U with its correction for ties; from about 20 readings on
    either side. Shape: at least one reading each.
    """
    ordered = sorted([(value, 0) for value in before] + [(value, 1) for value in after])
    few, many = len(before), len(after)
    rank_sum, ties, at = 0.0, 0.0, 0
    while at < len(ordered):
        end = at
        while end < len(ordered) and ordered[end][0] == ordered[at][0]:
            end += 1
        rank_sum += (at + 1 + end) / 2 * sum(side for _, side in ordered[at:end])
        ties += (end - at) ** 3 - (end - at)
        at = end
    u = rank_sum - many * (many + 1) / 2
    total = few + many
    variance = few * many / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:  # every reading is the same
        return 0.5, 1.0
    z = (u - few * many / 2 - 0.5) / math.sqrt(variance)
    return u / (few * many), 0.5 * math.erfc(z / math.sqrt(2))


def chance_of_more(count: int, of: int, share: float) -> float:
    """How likely `count` or more of `of` readings lie beyond what only `share` of all do.

    The upper tail of the binomial distribution, exactly: the test of a quantile (Conover,
    "Practical Nonparametric Statistics", section 3.2). Shape: 0 <= count <= of, 0 < share < 1.
    """

    def exactly(hits: int) -> float:
        return math.exp(
            math.lgamma(of + 1)
            - math.lgamma(hits + 1)
            - math.lgamma(of - hits + 1)
            + hits * math.log(share)
            + (of - hits) * math.log1p(-share)
        )

    return min(1.0, math.fsum(exactly(hits) for hits in range(count, of + 1)))


def spread_out(histogram: Mapping[float, int], count_max: int) -> tuple[float, ...]:
    """The readings of a histogram in order; thinned evenly to at most `count_max`."""
    readings = [value for value in sorted(histogram) for _ in range(histogram[value])]
    if len(readings) <= count_max:
        return tuple(readings)
    step = len(readings) / count_max
    return tuple(readings[int((n + 0.5) * step)] for n in range(count_max))
