"""Where a metric went while it was looked at: better, worse, or nowhere.

The middle of the first third is compared with the middle of the last, so that one odd reading decides
nothing.

Hides: how far a number has to move to have moved.
Never: takes what was not read for what it was before.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

Trend = Literal["improving", "worsening", "flat"]
MOVED = 0.05  # of the larger of the two: less is noise
READINGS_MIN = 3


def trend(values: Sequence[float | None], *, lower_is_better: bool) -> Trend | None:
    """Where the readings went, oldest first; None when nobody can tell.

    >>> trend([0.04, 0.03, 0.02], lower_is_better=True), trend([1.0, 1.0, 1.01], lower_is_better=True)
    ('improving', 'flat')
    """
    seen = [value for value in values if value is not None]
    if len(seen) < READINGS_MIN or 2 * len(seen) < len(values) or values[-1] is None:
        return None
    third = len(seen) // 3
    first, last = median(seen[:third]), median(seen[-third:])
    if abs(last - first) <= MOVED * max(abs(first), abs(last)):
        return "flat"
    return "improving" if (last < first) is lower_is_better else "worsening"
