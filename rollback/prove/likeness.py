"""How a check failed, so that the same failure is known again, and another one is not taken for it.

What varies by nature from one asking to the next does not count: moments, durations, ids that are made up,
numbers of processes, ports that a machine gives out, folders for what is temporary. All else does: a
status, a count, a text. A value beside its limit is compared by how much worse it is.

Hides: what varies, and how a value is found in a text that has one.
Never: takes a worse failure for the known one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from rollback.model.finding import Finding, Measured
from rollback.observe.expect import WORSE, figure

SHARE = 0.1  # how much worse a value may be where no tolerance is declared
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
# As observe.expect.Bound says it, and nobody else.
_LIMIT = re.compile(rf"(?<![\w.])({_NUMBER}) is not ({'|'.join(WORSE)}) ({_NUMBER})(?![\w.]*[0-9])")
_OURS = r"(?:(?<=\btook )|(?<=\bwithin )|(?<=\bin )|(?<=\bafter ))"  # how long asking took
_VARIES = re.compile(
    r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}[0-9:.,]*(?: ?UTC|Z|[+-][0-9]{2}:?[0-9]{2})?"
    r"|\b[0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?(?: UTC|Z)?"  # a moment
    rf"|{_OURS}[0-9]+(?:\.[0-9]+)? ?(?:ns|us|µs|ms|s|sec|seconds?|min|minutes?|h|hours?)\b"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\btok-[0-9a-f]{16}\b"  # an id that was made up
    r"|\b0x[0-9a-f]+\b"  # an address in memory
    r"|(?<=\bprocess )[0-9]+\b|(?<=\bpid )[0-9]+\b|(?<=\bpid=)[0-9]+\b"
    r"|(?<!//127\.0\.0\.1:)(?<=\b127\.0\.0\.1:)(?:3276[89]|32[89][0-9]{2}|3[3-9][0-9]{3}|[4-6][0-9]{4})\b"
    r"|(?<=/tmp/)[\w.@+-]+",  # a folder for what is temporary
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Likeness:
    """A failure without what varies, as a digest; and its values beside their limits, in order."""

    fingerprint: str
    measured: tuple[Measured, ...] = ()


def likeness(check: str, finding: Finding) -> Likeness:
    """What tells this failure of the check from others."""
    if finding.broken:
        words = [f"{one.what} {figure(one.limit)}" for one in finding.broken]
        besides = sorted({steady(one) for one in finding.besides})
        return Likeness(_digest(check, finding.answer, "limits", *words, *besides), finding.broken)
    text, found = _measured(finding.evidence)
    return Likeness(_digest(check, finding.answer, "text", steady(text)), found)


def another(known: Likeness, now: Likeness, *, share: float = SHARE, floor: float = 0.0) -> str:
    """Why a failure is not the known one; "" when it is, and no worse than it may be.

    `share` and `floor` are how much worse a value may be than it was: the larger of both.
    """
    if now.fingerprint != known.fingerprint or len(now.measured) != len(known.measured):
        return "in another way than the known failure"
    for was, is_ in zip(known.measured, now.measured, strict=True):
        worse = is_.value - was.value if was.worse == "higher" else was.value - is_.value
        if worse > max(abs(was.value) * share, floor):
            return (f"as the known failure does, but worse: {is_.what} {figure(is_.limit)}, "
                    f"it was {figure(was.value)} and is {figure(is_.value)}")  # fmt: skip
    return ""


def steady(text: str) -> str:
    """The text without what varies by nature.

    >>> steady("process 71 answered 404 in 3 ms"), steady("12 of 17 are gone")
    ('process # answered 404 in #', '12 of 17 are gone')
    """
    return _VARIES.sub("#", text)


def _measured(evidence: str) -> tuple[str, tuple[Measured, ...]]:
    """The text without the values that break limits, wherever it names them; and these."""
    found = tuple(
        Measured(match[2], float(match[1]), float(match[3]), WORSE[match[2]])
        for match in _LIMIT.finditer(evidence)
    )
    text = evidence
    for match in _LIMIT.finditer(evidence):
        text = text.replace(match[0], f"# is not {match[2]} {match[3]}", 1)
    return text, found


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]
