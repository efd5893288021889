"""What asking the world answers: findings (PASS, FAIL, UNKNOWN) and samples (a number, or none).

Hides: how findings are combined, and when two JSON values are the same.
Never: asks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def same(one: Json, other: Json) -> bool:
    """True when the two are equal and of one kind: 3 equals 3.0, but 1 is not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return type(one) is type(other) and one == other


class Answer(StrEnum):
    """Three-valued: absence of an answer is not an answer."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question to a server and its answer, as they were sent; `said` is why there was none.

    Units: `elapsed_s` from connecting to the last byte.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    status: int | None = None
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    answer: bytes = b""
    elapsed_s: float = 0.0
    said: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """What a report shows beside the evidence: a text, a difference, a drawing, or a conversation.

    It is shown to people, after it was searched for secrets; nothing is decided by it.
    """

    name: str
    body: str | tuple[Exchange, ...]
    form: Literal["text", "diff", "svg", "transcript"] = "text"


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured value beside the limit that it breaks; `worse` is the side on which it breaks it.

    Units: `value` and `limit` in the same one.
    """

    what: str
    value: float
    limit: float
    worse: Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one check, with the evidence that a person can read.

    `samples` holds measured series by name (performance checks), for the seal. `broken` are the limits
    that do not hold; empty unless they, with the lines in `besides`, are all that is wrong.
    """

    answer: Answer
    evidence: str
    details: Mapping[str, Json] = field(default_factory=dict)
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    attached: tuple[Attachment, ...] = ()
    broken: tuple[Measured, ...] = ()
    besides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        assert self.evidence, "a finding without evidence proves nothing"

    def showing(self, *more: Attachment) -> Finding:
        """The same finding with more for a report to show."""
        return replace(self, attached=(*self.attached, *more))

    def beyond(self, *wrong: tuple[Measured, ...], besides: tuple[str, ...] = ()) -> Finding:
        """The same finding with the limits that are broken, by each thing that is wrong.

        Where one of these is no matter of limits, the evidence alone says what is wrong.
        """
        limits = tuple(one for each in wrong for one in each)
        return replace(self, broken=limits, besides=besides) if all(wrong) else self


def passed(evidence: str, **details: Json) -> Finding:
    """A finding that the question is answered with yes."""
    return Finding(Answer.PASS, evidence, details)


def failed(evidence: str, **details: Json) -> Finding:
    """A finding that the question is answered with no."""
    return Finding(Answer.FAIL, evidence, details)


def unknown(evidence: str, **details: Json) -> Finding:
    """A finding that the question could not be answered; never a pass."""
    return Finding(Answer.UNKNOWN, evidence, details)


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of a metric; `value` is None when it is UNKNOWN, and `note` says why.

    Units: `value` in `unit`; `window_s` in seconds; `count` is how many readings it rests on.
    """

    metric: str
    value: float | None
    unit: str
    at: datetime
    window_s: float | None = None
    count: int = 0
    source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        assert self.value is None or math.isfinite(self.value), "NaN is UNKNOWN: pass None"

    @property
    def known(self) -> bool:
        """True when there is a number."""
        return self.value is not None
