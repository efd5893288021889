"""How much closer is looked after an incident, and what a limit becomes by it.

Hides: which way a limit gets stricter.
Never: changes a declaration; a factor holds for a time, and then is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_UPPER, _LOWER = ("below", "at_most"), ("above", "at_least")
_WHOLE = {"fraction": 1.0, "percent": 100.0}


@dataclass(frozen=True, slots=True)
class Closer:
    """Factors from 0 to 1 on intervals, checkpoint schedules and limits; 1 where nothing is closer.

    `why` says since when and for how long; "" where nothing is.
    """

    interval: float = 1.0
    checkpoints: float = 1.0
    thresholds: float = 1.0
    why: str = ""


def stricter(limits: Mapping[str, float], unit: str, factor: float) -> dict[str, float]:
    """The limits of something that must hold, stricter by this factor; `equals` stays as it is.

    What may be missing to the whole shrinks, where there is a whole.

    >>> stricter({"below": 0.05, "at_least": 0.6}, "fraction", 0.5)
    {'below': 0.025, 'at_least': 0.8}
    """
    found = {}
    for name, value in limits.items():
        if name in _UPPER and value > 0:
            value *= factor
        elif name in _LOWER and value > 0:
            whole = _WHOLE.get(unit)
            value = value / factor if whole is None else whole - (whole - value) * factor
        found[name] = value
    return found
