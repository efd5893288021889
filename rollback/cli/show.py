"""How things look: tables, times, marks and colours; colour only on a terminal.

Hides: widths and escape codes.
Never: decides what is shown.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rollback.model.errors import RollbackError, SeveralFit, SpecError
from rollback.model.quantity import sized, spoken

CHOICES_MAX = 20
LINE_MAX = 2000
_COLUMNS, _ROWS = 80, 24  # of a terminal that does not know
_FOLDED = "    "  # before the rest of a row
_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}
_STATE_COLOURS = {
    "COMPLETE": "green", "MITIGATED": "yellow", "NEEDS_OPERATOR": "red", "WAITING": "yellow",
    "UNDONE": "yellow", "ABANDONED": "dim", "EXPIRED": "dim", "pass": "green", "fail": "red",
    "unknown": "yellow", "PASS": "green", "FAIL": "red", "UNKNOWN": "yellow", "whole": "green",
    "partial": "red",
}  # fmt: skip


def coloured(stream: Any = None) -> bool:
    """True when the stream is a terminal that wants colour."""
    stream = stream or sys.stdout
    wanted = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return bool(stream) and wanted and not stream.closed and bool(stream.isatty())


def paint(text: str, colour: str, *, stream: Any = None) -> str:
    """The text in a colour, where there are colours."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour in _CODES and coloured(stream) else text


def state(word: str, *, stream: Any = None) -> str:
    """A state or answer in its colour; what is not quite that state, in the colour of a warning."""
    first, _, more = word.partition(" with ")
    colour = "yellow" if more and first == "COMPLETE" else _STATE_COLOURS.get(word, "")
    return paint(word, colour, stream=stream)


def safe(text: object) -> str:
    """Text that cannot move the cursor: control characters are escaped."""
    return "".join(c if c.isprintable() or c == " " else repr(c)[1:-1] for c in str(text))


# The names by which the demo and the commands ask for them.
seconds = spoken
size = sized


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, indent: str = "") -> list[str]:
    """Aligned columns with a head; the last column takes what it needs.

    What is wider than the terminal is folded between columns: the rest of each row stands below its
    beginning. No cell is cut or broken.
    """
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [max(len(str(row[i])) for row in [list(head), *cells]) for i in range(len(head))]
    room = columns() - len(indent)
    parts = [*_folds(widths, room)]

    def lines(row: Sequence[str], dress: Callable[[str], str] = str) -> Iterator[str]:
        line, used = indent, 0
        for first, end in parts:
            alone = (
                end - first == 1 and used + 2 + len(row[first]) <= room
            )  # shorter than others are
            if first and not alone:
                yield line.rstrip()
                line, used = indent + _FOLDED, len(_FOLDED)
            for i in range(first, end):
                gap = "  " if i > first or (alone and first) else ""
                line += gap + dress(row[i]) + " " * (widths[i] - len(row[i]))
                used += len(gap) + widths[i]
        yield line.rstrip()

    return [*(paint(line, "dim") for line in lines(head)),
            *(line for row in cells for line in lines(row, state))]  # fmt: skip


def flowed(line: str) -> list[str]:
    """A line of prose as several that fit the terminal, broken between words.

    What is there to be typed stays in one piece: the terminal breaks it, and it can be copied whole.
    """
    if len(line) <= columns() or "\x1b" in line or "rollback " in line or "try: " in line:
        return [line]
    import textwrap  # only for those who sit before a narrow one

    lead = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(line, columns(), subsequent_indent=lead + "  ", break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip


def seen() -> bool:
    """True when standard output is a terminal, with somebody before it."""
    return bool(sys.stdout) and not sys.stdout.closed and sys.stdout.isatty()


def columns() -> int:
    """How many characters fit into a line; as many as you like where nobody looks at a terminal."""
    if not seen():
        return sys.maxsize
    return _size("COLUMNS", 0) or _COLUMNS


def rows() -> int:
    """How many lines are seen at once; as many as you like where nobody looks at a terminal."""
    if not seen():
        return sys.maxsize
    return _size("LINES", 1) or _ROWS


def _size(variable: str, which: int) -> int:
    asked = os.environ.get(variable, "")
    try:
        return int(asked) if asked.isdecimal() else os.get_terminal_size(sys.stdout.fileno())[which]
    except (OSError, ValueError):
        return 0


def _folds(widths: Sequence[int], room: int) -> Iterator[tuple[int, int]]:
    """From which column to which stands in one line, so that none is longer than there is room."""
    first, used = 0, 0
    for i, width in enumerate(widths):
        if i > first and used + 2 + width > room:
            yield first, i
            first, used = i, len(_FOLDED) - 2
        used += width + (2 if i > first or first else 0)
    yield first, len(widths)


def silence() -> None:
    """Nothing is written to standard output any more, at the end of Python neither."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def plain_json(body: Any, *, indent: int | None = 2) -> str:
    """One JSON document; undecodable names are escaped, never an error. On one line without `indent`."""
    return json.dumps(body, indent=indent, ensure_ascii=True, default=str)


def clipped(text: str) -> str:
    """What is too long for a line keeps its beginning and its end.

    >>> len(clipped("x" * 5000)), clipped("short")
    (2000, 'short')
    """
    if len(text) <= LINE_MAX:
        return text
    return f"{text[: LINE_MAX - 203]} … {text[-200:]}"


def error_json(error: RollbackError) -> dict[str, Any]:
    """An error as `--json` prints it."""
    body: dict[str, Any] = {
        "kind": type(error).__name__, "message": clipped(error.message), "where": clipped(error.where),
        "hint": clipped(error.hint), "exit_status": error.exit_status,
    }  # fmt: skip
    if isinstance(error, SpecError):
        body["problems"] = [
            {"where": p.where, "message": p.message, "hint": p.hint} for p in error.problems
        ]
    if isinstance(error, SeveralFit):
        body["candidates"] = [asdict(one) for one in error.choices]
    return {"error": body}


def error_lines(error: RollbackError) -> list[str]:
    """An error for people: what, where, and what to type next."""
    if isinstance(error, SpecError):
        lines = []
        for problem in error.problems:
            hint = f"; {problem.hint}" if problem.hint else ""
            lines.append(safe(f"{problem.where}: {problem.message}{hint}"))
        return lines
    lines = [safe(clipped(f"rollback: {error}"))]
    if isinstance(error, SeveralFit):
        lines = choice_lines(error)
    if error.hint:
        lines.append(safe(clipped(f"  try: {error.hint}")))
    return lines


def choice_lines(several: SeveralFit, *, numbered: bool = False) -> list[str]:
    """What fits, a line each: with the number to choose it by, or with what names it alone."""
    rows, number = [], 0
    for one in several.choices[:CHOICES_MAX]:
        number += one.valid
        word = "valid" if one.valid else f"not valid: {one.why_not}"
        mark = f"{number})" if one.valid else "-"
        way = f"--to {shlex.quote(one.to)}" if one.valid else ""
        rows.append((mark if numbered else "", one.at[:16], one.label, size(one.size_bytes),
                     word if numbered else way or word))  # fmt: skip
    head = ("", "date", "target", "size", "" if numbered else "what names it")
    more = len(several.choices) - CHOICES_MAX
    last = [f"  and {more} more: add --json to see all of them"] if more > 0 else []
    return [safe(clipped(f"rollback: {several}")), *table(head, rows, indent="  "), *last]
