"""Whatever is done to a declaration: it loads, or every problem has a line; nothing else is raised."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import rollback.kinds  # noqa: F401
from rollback.declare import load
from rollback.model.errors import Problem, SpecError

CASES = 330
SECONDS_MAX = 1.0
TYPES = [
    "5",
    "-1",
    "3.5",
    "true",
    "null",
    "text",
    '""',
    "[]",
    "{}",
    "[1, {a: b}]",
    "{x: [y]}",
    "1e400",
    "99999999999999999999999",
    ".nan",
    "-.inf",
    "0x10",
    "2026-01-01",
    '"${PORT}"',
    '"${NOPE}"',
    "*a",
    "&a 1",
    "!!int 1",
    "|\n  text",
    "'it''s'",
    '"\\u0000"',
    '"\\ud800"',
    "日本語",
    "\u202eabc",
    "~",
    "yes",
    "a: b: c",
    "- -",
    "{",
    "]",
    "'",
    "%",
    "@x",
    "\t",
    "<<: 1",
]


def _drop(lines: list[str], dice: random.Random) -> None:
    del lines[dice.randrange(len(lines))]


def _double(lines: list[str], dice: random.Random) -> None:
    at = dice.randrange(len(lines))
    lines.insert(at, lines[at])


def _swap_type(lines: list[str], dice: random.Random) -> None:
    at = dice.choice([i for i, line in enumerate(lines) if ":" in line])
    lines[at] = lines[at].split(":", 1)[0] + ": " + dice.choice(TYPES)


def _inside(lines: list[str], dice: random.Random) -> None:
    at = dice.choice([i for i, line in enumerate(lines) if "{" in line])
    head, *parts = lines[at].split(": ")
    if parts:
        spot = dice.randrange(len(parts))
        rest = parts[spot].lstrip("abcdefghijklmnopqrstuvwxyz0123456789-./")
        parts[spot] = dice.choice(TYPES) + rest
    lines[at] = ": ".join([head, *parts])


def _move(lines: list[str], dice: random.Random) -> None:
    lines.insert(dice.randrange(len(lines)), lines.pop(dice.randrange(len(lines))))


def _indent(lines: list[str], dice: random.Random) -> None:
    at = dice.randrange(len(lines))
    lines[at] = dice.choice(["  ", " ", "\t", "        "]) + lines[at]


def _bytes(lines: list[str], dice: random.Random) -> None:
    at = dice.randrange(len(lines))
    line = lines[at]
    spot = dice.randrange(len(line) + 1)
    lines[at] = (
        line[:spot]
        + dice.choice(["\x00", "\u2028", "\ufeff", "é", "\x1b[31m", "\\", '"', "#", ":", "\r"])
        + line[spot:]
    )


def _rename(lines: list[str], dice: random.Random) -> None:
    at = dice.choice([i for i, line in enumerate(lines) if ":" in line])
    name, rest = lines[at].split(":", 1)
    lines[at] = name + dice.choice(["x", "_", "-", "\u0301", " "]) + ":" + rest


def _huge(lines: list[str], dice: random.Random) -> None:
    at = dice.choice([i for i, line in enumerate(lines) if ":" in line])
    what = dice.choice(
        ["x" * 70_000, "[" * 200, "[" + "1, " * 20_000 + "]", "{a: " * 60, "9" * 5000]
    )
    lines[at] = lines[at].split(":", 1)[0] + ": " + what


def problems_of(file: Path) -> tuple[Problem, ...]:
    """What is wrong with a file; nothing when it loads."""
    try:
        load(file, environ={})
    except SpecError as error:
        return error.problems
    return ()


MUTATORS = [_drop, _double, _swap_type, _inside, _move, _indent, _bytes, _rename, _huge]


@pytest.mark.parametrize("seed", range(0, CASES, 30))
def test_thirty_broken_declarations_are_refused_in_words(
    seed: int, base: str, tmp_path: Path
) -> None:
    file = tmp_path / "rollback.yaml"
    refused = 0
    for number in range(seed, seed + 30):
        dice = random.Random(number)
        lines = base.splitlines()
        for _ in range(dice.choice([1, 1, 2, 5])):
            dice.choice(MUTATORS)(lines, dice)
        file.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        file.chmod(0o600)
        length = file.read_bytes().count(b"\n") + 1
        started = time.perf_counter()
        found = problems_of(file)
        refused += bool(found)
        for problem in found:
            assert 1 <= int(problem.where.rsplit(":", 1)[1]) <= length + 1, (number, problem)
            assert problem.message
            assert len(problem.message) < 2000, (number, problem.message[:200])
        assert time.perf_counter() - started < SECONDS_MAX, number
    assert refused >= 15


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "# nothing\n",
        "5\n",
        "[]\n",
        "text\n",
        "---\n...\n",
        "{}\n",
        "\ufeff",
        "a: &x {b: *x}\n",
        "a: [" * 5000,
        "? " * 2000,
        "- " * 3000,
        "!<x> y",
        "%YAML 9.9\n---\na: b\n",
        "schema: 1\n",
    ],
)
def test_what_is_no_declaration_is_refused_in_words(
    text: str, problems: Callable[..., object]
) -> None:
    assert problems(text)


def test_a_bomb_of_aliases_is_refused_at_once(problems: Callable[..., object]) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    started = time.perf_counter()
    assert problems("\n".join(lines))
    assert time.perf_counter() - started < SECONDS_MAX
