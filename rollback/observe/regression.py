"""Whether measured values are worse than they were: the one place where two series are judged.

Worse takes all four: the medians lie further apart than the declared ratio, and than the floor; the effect
is large (how often a value of now is worse than one of then); and a nonparametric test (Mann and Whitney's
U) says that it is no luck. Where the medians say worse, and there are too few values to say that it is no
luck, nothing is claimed: that is UNKNOWN, and no pass.

Hides: which of them speaks when they do not agree.
Never: measures.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollback.model.finding import Finding, failed, passed, unknown
from rollback.observe.expect import figure
from rollback.observe.measure import median, superiority

SAMPLES_MIN = 20  # below it the distribution of U is not yet normal
LUCK_MAX = 0.01
EFFECT_LARGE = 0.71  # Vargha and Delaney 2000


def compare(
    then: Sequence[float], now: Sequence[float], *, ratio: float, floor: float,
    lower_is_better: bool = True, unit: str = "",
) -> Finding:  # fmt: skip
    """PASS unless `now` is clearly worse than `then`; UNKNOWN with too few values to tell.

    `ratio` 1.0 is twice as much. Units: `floor` in that of the series.
    """
    if min(len(now), len(then)) < SAMPLES_MIN:
        return unknown(f"too few samples to compare: {len(now)} now, {len(then)} sealed, at least "
                       f"{SAMPLES_MIN} of each are needed")  # fmt: skip
    was, is_ = median(then), median(now)
    worse_by = is_ - was if lower_is_better else was - is_
    effect, luck = superiority(then, now) if lower_is_better else superiority(now, then)
    said = (f"the median was {figure(was)}{unit} and is {figure(is_)}{unit}: "
            f"{figure(effect * 100)}% are worse than before")  # fmt: skip
    if worse_by <= max(abs(was) * ratio, floor):
        return passed(f"{said}, which is within +{ratio:.0%} or {figure(floor)}{unit}")
    if luck >= LUCK_MAX:
        return unknown(
            f"{said}, which may be luck ({figure(luck * 100)}%): too few samples to tell"
        )
    if effect < EFFECT_LARGE:
        return passed(f"{said}: they lie across each other")
    return failed(f"{said}, beyond +{ratio:.0%} and {figure(floor)}{unit}, and no luck")
