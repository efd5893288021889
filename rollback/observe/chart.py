"""Draws measurements as SVG: panels one below the other over a common axis, with their limits.

    >>> "<svg" in drawn("empty", [], across="seconds")
    True

Hides: coordinates, ticks and colours. Readable on light and on dark, without script or font of its own.
Never: draws what was not measured; lets a text be anything but text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP = 860, 76, 176, 40
PANEL, GAP, FOOT = 150, 48, 46
TEXT_CHARS_MAX = 90
SMALLEST, LARGEST = 1e-100, 1e100  # beyond these nobody measures, and arithmetic ends
_FOREIGN = "".join(map(chr, [*range(32), 127, 0xFFFE, 0xFFFF]))
_STYLE = """\
.back{fill:#fff}text{font:12px sans-serif;fill:#24292f}.small{font-size:11px;fill:#57606a}
.head{font-size:15px;font-weight:600}.grid{stroke:#d8dee4;stroke-width:1}.axis{stroke:#8c959f}
polyline{fill:none;stroke-width:2}.a{stroke:#0969da;fill:#0969da}.b{stroke:#9a6700;fill:#9a6700}
.c{stroke:#8250df;fill:#8250df}polyline.a,polyline.b,polyline.c{fill:none}
.limit{stroke:#cf222e;stroke-width:1.5;stroke-dasharray:6 4}.said{fill:#cf222e;font-size:11px}
.was{stroke:#6e7781;stroke-width:1.5;stroke-dasharray:2 3}
@media (prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#e6edf3}.small{fill:#9da7b3}
.grid{stroke:#30363d}.axis{stroke:#6e7681}.a{stroke:#58a6ff;fill:#58a6ff}.b{stroke:#d29922;fill:#d29922}
.c{stroke:#bc8cff;fill:#bc8cff}polyline.a,polyline.b,polyline.c{fill:none}
.limit{stroke:#ff7b72}.said{fill:#ff7b72}.was{stroke:#9da7b3}}"""


@dataclass(frozen=True)
class Line:
    """One series. Shape: (across, value) pairs, in order."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Mark:
    """A value that is drawn all the way across: a limit, or else what it was or should be."""

    name: str
    value: float
    limit: bool = True


@dataclass(frozen=True)
class Panel:
    """Up to three series in one unit. On a `logarithmic` axis only what is above zero is drawn."""

    title: str
    unit: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    logarithmic: bool = False
    from_zero: bool = True


def drawn(title: str, panels: Sequence[Panel], *, across: str) -> str:
    """The picture, one SVG document; `across` says what the common axis counts, with its unit."""
    panels = [_usable(panel) for panel in panels]
    xs = [x for panel in panels for line in panel.lines for x, _ in line.points]
    span = _Span(min(0.0, *xs, 0.0), max(xs, default=1.0), LEFT, WIDTH - RIGHT)
    height = TOP + len(panels) * (PANEL + GAP) + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{_text(title)}</title>", f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}"/>',
        f'<text class="head" x="16" y="24">{_text(title)}</text>',
    ]  # fmt: skip
    top = TOP
    for panel in panels:
        parts += _panel(panel, span, top + GAP - 14)
        top += PANEL + GAP
    foot = top - 14 + 18
    for value in _ticks(span.low, span.high, 8):
        parts.append(
            f'<text class="small" x="{span.at(value):.1f}" y="{foot}" text-anchor="middle">'
            f"{_figure(value)}</text>"
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="small" x="{middle}" y="{foot + 20}" text-anchor="middle">'
                 f"{_text(across)}</text>")  # fmt: skip
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True)
class _Span:
    """Values from `low` to `high` lie on the picture between `start` and `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        low, high, here = self.low, self.high, value
        if self.logarithmic:
            low, high, here = math.log10(low), math.log10(high), math.log10(value)
        share = (here - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def _usable(panel: Panel) -> Panel:
    """The same in numbers that can be reckoned with."""

    def told(value: float) -> float:
        return max(-LARGEST, min(LARGEST, value)) if abs(value) >= SMALLEST else 0.0

    lines = [Line(one.name, [(told(x), told(y)) for x, y in one.points]) for one in panel.lines]
    marks = [replace(one, value=told(one.value)) for one in panel.marks]
    return replace(panel, lines=lines, marks=marks)


def _panel(panel: Panel, across: _Span, top: float) -> Iterator[str]:
    bottom = top + PANEL
    up = _upright(panel, top, bottom)
    kind = ", logarithmic" if panel.logarithmic else ""
    yield f'<text x="{LEFT}" y="{top - 9:.0f}">{_text(f"{panel.title} ({panel.unit}{kind})")}</text>'
    yield from _legend(panel.lines, top - 9)
    ticks = _decades(up.low, up.high) if up.logarithmic else _ticks(up.low, up.high, 4)
    for value in ticks:
        y = up.at(value)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield (f'<text class="small" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
               f"{_figure(value)}</text>")  # fmt: skip
    yield f'<path class="axis" fill="none" d="M{LEFT} {top}V{bottom}H{WIDTH - RIGHT}"/>'
    for line, colour in zip(panel.lines, "abc", strict=False):
        shown = [(x, y) for x, y in line.points if y > 0 or not up.logarithmic]
        points = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in shown)
        if len(shown) == 1:
            cx, cy = points.split(",")
            yield f'<circle class="{colour}" cx="{cx}" cy="{cy}" r="3"/>'
        elif points:
            yield f'<polyline class="{colour}" points="{points}"/>'
    yield from _marks(panel.marks, up)


def _marks(marks: Sequence[Mark], up: _Span) -> Iterator[str]:
    """The limits; names stand beside their lines, one below the other where lines are close."""
    lowest = up.end - 12.0
    for mark in sorted(marks, key=lambda one: -one.value):
        if up.logarithmic and mark.value <= 0:
            continue
        y = up.at(mark.value)
        lowest = max(y + 4, lowest + 13)
        line, word = ("limit", "said") if mark.limit else ("was", "small")
        yield f'<path class="{line}" fill="none" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield (f'<text class="{word}" x="{WIDTH - RIGHT + 8}" y="{lowest:.1f}">'
               f"{_text(mark.name, 30)}</text>")  # fmt: skip


def _legend(lines: Sequence[Line], y: float) -> Iterator[str]:
    """Names of the series, from the right."""
    x = float(WIDTH - RIGHT)
    for line, colour in reversed([*zip(lines, "abc", strict=False)]):
        name = _text(line.name, 30)
        yield f'<text class="small" x="{x:.0f}" y="{y:.0f}" text-anchor="end">{name}</text>'
        x -= 6 * min(len(line.name), 30) + 20
        yield f'<rect class="{colour}" x="{x:.0f}" y="{y - 6:.0f}" width="12" height="4"/>'
        x -= 14


def _upright(panel: Panel, top: float, bottom: float) -> _Span:
    """The axis of a panel: everything that is drawn lies on it, limits too."""
    values = [y for line in panel.lines for _, y in line.points]
    values += [mark.value for mark in panel.marks]
    if panel.logarithmic and (positive := [value for value in values if value > 0]):
        low, high = min(positive) / 1.3, max(positive) * 1.3
        return _Span(low, high, bottom, top, logarithmic=True)
    low, high = min(values, default=0.0), max(values, default=1.0)
    if panel.from_zero:
        low = min(0.0, low)
    if high <= low:
        high = low + 1.0
    return _Span(low, high + (high - low) * 0.08, bottom, top)


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` to `high`: steps of 1, 2 or 5 and a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)][:50]


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; powers alone where there are many of them."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / 6))
    heads = (1, 2, 5) if last - first <= 3 else (1,)
    found = [head * 10.0**n for n in range(first, last + 1, every) for head in heads]
    return [value for value in found if low <= value <= high] or [low, high]


def _figure(value: float) -> str:
    return f"{value:,.10g}" if 1e-4 <= abs(value) < 1e7 or value == 0 else f"{value:.3g}"


def _text(written: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """The text as XML holds it, short; what it cannot hold is left out."""
    short = written if len(written) <= chars_max else written[: chars_max - 1] + "…"
    whole = short.translate(dict.fromkeys(map(ord, _FOREIGN), " "))
    return escape(whole.encode("utf-8", "replace").decode(), {'"': "&quot;"})
