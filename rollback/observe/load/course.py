"""How a load went over time, as the load generator told it, and as a picture.

Hides: the line in which it is told.
Never: decides: without it a check answers the same, and shows no picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rollback.model.finding import Attachment
from rollback.observe.chart import Line, Mark, Panel, drawn
from rollback.observe.pointer import parse

PIECES_MAX = 120
_PIECE_S_MIN, _READINGS_WANTED = 0.2, 20


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of time. Units: `at_s` its middle, since the load began; times in milliseconds."""

    at_s: float
    requests: int
    failures: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Course:
    """The whole load, piece by piece, each `piece_s` long."""

    piece_s: float
    pieces: tuple[Piece, ...]


def piece_s(rate: float, users: int, duration_s: float) -> float:
    """How long a piece is: so that it holds some twenty readings, and there are not too many of them.

    Each user asks once in `users / rate` seconds, all at nearly the same time: a piece holds whole
    rounds, or the rate would seem to go up and down.
    """
    round_s = users / rate
    wanted_s = max(
        _PIECE_S_MIN, duration_s / PIECES_MAX, min(_READINGS_WANTED / rate, duration_s / 12)
    )
    return max(1, math.ceil(wanted_s / round_s - 1e-9)) * round_s


def split(output: bytes) -> tuple[Course | None, bytes]:
    """What was told of the course, and the rest of the output; None where it cannot be read."""
    first, _, rest = output.lstrip().partition(b"\n")
    if not first.startswith(b'{"piece_s"'):
        return None, output
    try:
        return _read(first), rest
    except (ValueError, KeyError, TypeError):
        return None, rest


def _read(line: bytes) -> Course:
    told = parse(line)
    if not isinstance(told, dict):
        raise ValueError("no object")
    length, rows = told["piece_s"], told["pieces"]
    if not isinstance(length, (int, float)) or not isinstance(rows, list) or not length > 0:
        raise ValueError("of another shape")
    pieces = []
    for row in rows[: 50 * PIECES_MAX]:
        if not isinstance(row, list) or not all(isinstance(one, (int, float)) for one in row):
            raise ValueError("of another shape")
        number, requests, failures, *times = (
            float(one) for one in row if isinstance(one, (int, float))
        )
        p50, p95, p99 = times
        pieces.append(Piece((number + 0.5) * length, int(requests), int(failures), p50, p95, p99))
    return Course(float(length), tuple(pieces))


def picture(
    course: Course, title: str, *, rate: float, times: Sequence[Mark], errors: Sequence[Mark]
) -> Attachment:
    """Percentiles, rate and errors over time, with their limits (`errors` in percent)."""
    pieces = course.pieces
    last = pieces[-1] if pieces else None  # the load ends within it: its rate would say too little
    whole = [one for one in pieces if one is not last] or pieces
    panels = [
        Panel("Response time", "ms", [
            Line("median", [(one.at_s, one.p50_ms) for one in pieces]),
            Line("95th percentile", [(one.at_s, one.p95_ms) for one in pieces]),
            Line("99th percentile", [(one.at_s, one.p99_ms) for one in pieces]),
        ], times, logarithmic=True),
        Panel("Requests", "per second", [
            Line("answered", [(one.at_s, one.requests / course.piece_s) for one in whole]),
        ], [Mark(f"asked for: {rate:g}", rate, limit=False)]),
        Panel("Errors", "% of the requests", [
            Line("errors", [(one.at_s, 100 * one.failures / one.requests) for one in pieces
                            if one.requests]),
        ], errors),
    ]  # fmt: skip
    across = f"seconds since the load began; each point is {course.piece_s:.3g} s"
    return Attachment("load", drawn(title, panels, across=across), "svg")
