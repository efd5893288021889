"""What an answer is compared with.

A declaration writes a plain value (`3`, `done`), or limits: `{above: 0, below: 10%}`.

Hides: how numbers, texts and nothing-at-all compare; NaN never satisfies a limit.
Never: asks the world.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationError, WithJsonSchema

from rollback.model.finding import Answer, Finding, Json, Measured, same
from rollback.model.quantity import Limit
from rollback.model.registry import Declared

_SHOWN_MAX = 200


def plain(value: Any) -> Json:
    """The same value with lists for tuples, proved to be JSON. Raises: ValueError."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value!r} is not a usable number")
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(item) for key, item in value.items()}
    raise ValueError(f"{value!r} is not JSON")


JsonValue = Annotated[Any, BeforeValidator(plain), WithJsonSchema({})]
"""A field that holds any JSON value."""


class Bound(Declared):
    """Limits of a number; all that are written must hold.

    >>> Bound(above=1).why_not(1)
    '1 is not above 1'
    """

    above: Limit | None = None
    below: Limit | None = None
    at_least: Limit | None = None
    at_most: Limit | None = None
    equals: JsonValue = None

    def __bool__(self) -> bool:
        return bool(self.model_fields_set & _BOUNDS)

    def why_not(self, value: Json) -> str:
        """Why `value` breaks a limit; "" when it holds them all."""
        if "equals" in self.model_fields_set and not same(value, self.equals):
            return f"{shown(value)} is not {shown(self.equals)}"
        limits = (("above", self.above), ("below", self.below),
                  ("at least", self.at_least), ("at most", self.at_most))  # fmt: skip
        for word, limit in limits:
            if limit is None:
                continue
            if not is_number(value):
                return f"{shown(value)} is not a number"
            if not _holds(word, float(value), limit):  # type: ignore[arg-type]
                return f"{figure(value)} is not {word} {figure(limit)}"
        return ""

    def broken(self, what: str, value: Json) -> tuple[Measured, ...]:
        """The limits that the number is beyond; none where it is no number, or had to be another one."""
        if not is_number(value) or "equals" in self.model_fields_set:
            return ()
        number = float(value)  # type: ignore[arg-type] # it is a number
        limits = (("above", self.above), ("below", self.below),
                  ("at least", self.at_least), ("at most", self.at_most))  # fmt: skip
        return tuple(
            Measured(f"{what} {word}", number, limit, WORSE[word])
            for word, limit in limits if limit is not None and not _holds(word, number, limit)
        )  # fmt: skip


WORSE: Mapping[str, Literal["higher", "lower"]] = {
    "above": "lower", "at least": "lower", "below": "higher", "at most": "higher",
}  # fmt: skip
"""On which side a value breaks a limit of this word."""

_BOUNDS = {"above", "below", "at_least", "at_most", "equals"}


def _holds(word: str, value: float, limit: float) -> bool:
    if math.isnan(value):
        return False
    return {"above": value > limit, "below": value < limit, "at least": value >= limit,
            "at most": value <= limit}[word]  # fmt: skip


def is_number(value: Json) -> bool:
    """True for a usable number; truth values and NaN are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _read_expected(written: Any) -> Any:
    if isinstance(written, Bound):
        return written
    if not isinstance(written, Mapping):
        return plain(written)
    try:
        bound = Bound.model_validate(dict(written))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"{place}: {first['msg']}; write a value, or limits: above, below, at_least, "
            "at_most, equals"
        ) from None
    if not bound:
        raise ValueError("no limit is written; write a value, or {above: 0}")
    return bound


Expected = Annotated[Any, BeforeValidator(_read_expected), WithJsonSchema({})]
"""A field that holds a plain value or limits."""


def _read_bound(written: Any) -> Any:
    if not isinstance(written, (Bound, Mapping)):
        raise ValueError(f"{written!r} is no limit; write it like {{below: 10}}")
    return _read_expected(written)


Limits = Annotated[Bound, BeforeValidator(_read_bound)]
"""A field that holds at least one limit."""


def why_not(value: Json, expected: Any) -> str:
    """Why `value` is not what an `Expected` field asks for; "" when it is."""
    if isinstance(expected, Bound):
        return expected.why_not(value)
    return "" if same(value, expected) else f"{shown(value)} is not {shown(expected)}"


def says_none(expected: object) -> bool:
    """True when the declaration itself says that there may be none."""
    if isinstance(expected, Bound):
        return expected.at_least == 0 or expected.equals == 0
    return expected == 0


def shown(value: object, *, limit: int = _SHOWN_MAX) -> str:
    """`value` on one line, short, with control characters escaped: safe to print."""
    text = value if isinstance(value, str) else _spelt(value)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _spelt(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return figure(value) if isinstance(value, float) else str(value)


def figure(value: object) -> str:
    """A number without needless digits."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return str(value)


def combined(findings: Iterable[Finding]) -> Finding:
    """One finding of several: FAIL if any failed, else UNKNOWN if any is, else PASS.

    The evidence names what is wrong when something is, and everything when nothing is.
    """
    all_of = tuple(findings)
    assert all_of, "nothing was asked"
    details = {key: value for finding in all_of for key, value in finding.details.items()}
    samples = {key: value for finding in all_of for key, value in finding.samples.items()}
    attached = tuple(one for finding in all_of for one in finding.attached)
    for answer in (Answer.FAIL, Answer.UNKNOWN, Answer.PASS):
        mine = [finding for finding in all_of if finding.answer is answer]
        if mine:
            limits = all(finding.broken for finding in mine)
            broken = tuple(one for finding in mine for one in finding.broken) if limits else ()
            besides = tuple(one for finding in mine for one in finding.besides) if limits else ()
            told = "; ".join(finding.evidence for finding in mine[:10])
            return Finding(answer, told, details, samples, attached, broken, besides)
    raise AssertionError("an answer is one of three")


def regular(pattern: str) -> str:
    """`pattern`, proved to be a regular expression. Raises: ValueError."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
    return pattern
