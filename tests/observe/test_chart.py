"""The picture of a load: everything measured is on it, with its limits, and nothing in it can act."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback.observe.chart import SMALLEST, Line, Mark, Panel, drawn
from rollback.observe.load import course

SVG = "{http://www.w3.org/2000/svg}"
VALUES = st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 1000)
POINTS = st.lists(st.tuples(st.floats(0, 1e5) | VALUES.map(abs), VALUES), max_size=30)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=200)


def texts(svg: ET.Element) -> list[str]:
    return [one.text or "" for one in svg.iter(f"{SVG}text")]


@given(TEXTS, POINTS, VALUES, st.booleans(), st.booleans())
def test_anything_measured_is_drawn_inside_the_picture_and_nothing_else_is_in_it(
    said: str, points: list[tuple[float, float]], limit: float, log: bool, zero: bool
) -> None:
    """One point for each reading (above zero, where the axis is logarithmic); text is only text."""
    panel = Panel(said, said, [Line(said, points)], [Mark(said, limit)], log, zero)
    svg = ET.fromstring(drawn(said, [panel, panel], across=said))
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    axis = log and any(one >= SMALLEST for one in told(panel))
    drawable = [y for _, y in points if y >= SMALLEST or not axis]
    lines = [one.attrib["points"].split(" ") for one in svg.iter(f"{SVG}polyline")]
    circles = [*svg.iter(f"{SVG}circle")]
    assert sum(map(len, lines)) + len(circles) == 2 * len(drawable)
    for pair in (pair for line in lines for pair in line):
        x, y = map(float, pair.split(","))
        assert 0 <= x <= width
        assert 0 <= y <= height
    kinds = {one.tag.removeprefix(SVG) for one in svg.iter()}
    assert kinds <= {"svg", "title", "style", "rect", "text", "path", "polyline", "circle"}
    named = {name for one in svg.iter() for name in one.attrib}
    assert not [name for name in named if name.startswith("on") or "href" in name]


def told(panel: Panel) -> list[float]:
    return [y for line in panel.lines for _, y in line.points] + [one.value for one in panel.marks]


def test_limits_and_axes_are_named_with_their_units_and_readable_on_dark_and_light() -> None:
    """A limit far above what was measured is on the picture all the same; ticks are round numbers."""
    panel = Panel("Response time", "ms", [Line("median", [(0, 3.0), (1, 4.0)])],
                  [Mark("p95 below 250 ms", 250)], logarithmic=True)  # fmt: skip
    picture = drawn("<script>alert(1)</script>", [panel], across="seconds since the load began")
    svg = ET.fromstring(picture)
    assert "<script>alert(1)</script>" in texts(svg)
    assert "<script" not in picture
    assert {"Response time (ms, logarithmic)", "median", "p95 below 250 ms", "10", "100",
            "seconds since the load began"} <= {*texts(svg)}  # fmt: skip
    (limit,) = (one for one in svg.iter(f"{SVG}path") if one.attrib["class"] == "limit")
    y = float(re.findall(r"M\d+ ([\d.]+)H", limit.attrib["d"])[0])
    assert 40 < y < 100  # near the top
    style = next(svg.iter(f"{SVG}style")).text or ""
    for words in re.split(r"@media \(prefers-color-scheme:dark\)", style):
        assert re.search(r"\.back\{fill:#", words)  # it brings its own ground
        assert re.search(r"(?<!\.)text\{[^}]*fill:#", words)


@given(st.floats(0.1, 2000), st.integers(1, 500), st.floats(1, 7200))
def test_pieces_hold_whole_rounds_and_are_not_too_many(
    rate: float, users: int, long: float
) -> None:
    """Else a steady load would seem to go up and down."""
    piece = course.piece_s(rate, users, long)
    rounds = piece * rate / users
    assert math.isclose(rounds, round(rounds), rel_tol=1e-6)
    assert long / piece <= course.PIECES_MAX + 1


def test_what_the_generator_says_is_read_and_drawn_with_every_limit() -> None:
    """Percentiles, rate and errors, each in its panel."""
    pieces = [[0, 20, 0, 2.0, 4.0, 5.0], [1, 22, 11, 3.0, 9.5, 9.75], [3, 1, 0, 1.0, 1.0, 1.0]]
    line = json.dumps({"piece_s": 0.5, "pieces": pieces}).encode()
    found, rest = course.split(line + b'\n[{"num_requests": 43}]\n')
    assert rest == b'[{"num_requests": 43}]\n'
    assert found is not None
    assert [one.at_s for one in found.pieces] == [0.25, 0.75, 1.75]
    shown = course.picture(found, "GET x", rate=40, times=[Mark("p95 below 1 s", 1000)],
                           errors=[Mark("errors below 1%", 1)])  # fmt: skip
    assert (shown.name, shown.form) == ("load", "svg")
    assert isinstance(shown.body, str)
    svg = ET.fromstring(shown.body)
    assert {"p95 below 1 s", "errors below 1%", "asked for: 40", "Errors (% of the requests)",
            "Requests (per second)"} <= {*texts(svg)}  # fmt: skip
    sizes = [len(one.attrib["points"].split(" ")) for one in svg.iter(f"{SVG}polyline")]
    assert sizes == [3, 3, 3, 2, 3]  # the rate of the last, unfinished piece is left out


@pytest.mark.parametrize(
    "line",
    [b"", b"[]", b'{"piece_s": 0.5}', b'{"piece_s": 0, "pieces": []}', b'{"piece_s": 1, "pieces": [1]}',
     b'{"piece_s": 1, "pieces": [[1, 2]]}', b'{"piece_s": 1, "pieces": [[1, 2, 3, "a", 5, 6]]}',
     b'{"piece_s": NaN, "pieces": []}', b'{"piece_s": 1, "pieces": [[1, 2'],
)  # fmt: skip
def test_a_course_that_cannot_be_read_is_none(line: bytes) -> None:
    """The check answers without it."""
    found, rest = course.split(line + b"\n[]\n")
    assert found is None
    assert rest.endswith(b"[]\n")
