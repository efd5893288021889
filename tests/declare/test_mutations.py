"""Whatever is wrong with a declaration: exit 2, each problem one line with its place and what to type.

Hundreds of texts, broken by chance (with fixed seeds) and rule by rule, go through the command line.
What is measured is printed; nothing is asserted by the clock.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import rollback.kinds
from rollback.cli.show import safe
from rollback.declare import load
from rollback.model.errors import Problem, SpecError
from tests.cli.program import rollback, typed
from tests.declare.conftest import BASE
from tests.declare.test_rules import RULES, SPECIAL
from tests.systems import walk

SEEDS = 344
# Seeds whose text is not wrong, looked at one by one; with each why. All other seeds are refused.
SAME = "means what it meant: space before a colon, or an order that says nothing"
LEGITIMATE = {
    22: "1e400 without a point is text in YAML 1.1, and may be the name of a folder",
    39: SAME, 56: SAME, 79: SAME, 141: SAME, 173: SAME, 177: SAME, 188: SAME, 324: SAME, 337: SAME,
    140: "a metric without a window is read over everything that there is",
    143: "without a root it is the folder of the declaration",
    295: "a name of the operator's own, to which nothing refers: production-",
    314: "a name of the operator's own, to which nothing refers: audit_",
}  # fmt: skip
AS_PROCESS = 30
# What else is typed beside `validate`: each would change something if the declaration were right.
ELSE = (
    ("run", "flag", "--as", "one", "--yes"), ("checkpoint", "create", "now"), ("status",),
    ("trust", "--as", "one", "--yes"), ("guard", "--yes", "--", "/bin/true"), ("plan", "flag"),
    ("verify", "smoke"), ("decide",), ("checkpoint", "prune"), ("resume",), ("abort", "--as", "one"),
    ("history",),
)  # fmt: skip
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


MUTATORS = [_drop, _double, _swap_type, _inside, _move, _indent, _bytes, _rename, _huge]


@dataclass(frozen=True)
class Case:
    """A text, and how the program met it."""

    name: str
    text: bytes
    problems: tuple[Problem, ...]
    load_s: float
    status: int
    out: str
    err: str
    took_s: float
    other: tuple[int, str, str]
    changed: tuple[str, ...]


def problems_of(file: Path) -> tuple[Problem, ...]:
    """What is wrong with a file; nothing when it loads."""
    try:
        load(file, environ={})
    except SpecError as error:
        return error.problems
    return ()


def mutated(seed: int) -> bytes:
    """The declaration, broken by chance in one to five places; always the same for a seed."""
    dice = random.Random(seed)
    lines = BASE.splitlines()
    for _ in range(dice.choice([1, 1, 2, 5])):
        dice.choice(MUTATORS)(lines, dice)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def texts() -> Iterator[tuple[str, bytes]]:
    """Every wrong text: by chance, and each rule broken once."""
    for seed in range(SEEDS):
        if seed not in LEGITIMATE:
            yield f"seed {seed}", mutated(seed)
    for name, (old, new, _message, _hint) in RULES.items():
        if name not in SPECIAL:
            yield f"rule {name}", BASE.replace(old, new, 1).encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the declaration is about: files that a run or a checkpoint would change or keep."""
    made = tmp_path_factory.mktemp("wrong")
    for name, text in {
        "shop/app/web.py": "print('web')\n", "shop/.env": "BETA=true\n",
        "shop/logs/audit.jsonl": '{"event": "start"}\n', "shop/logs/access.jsonl": "",
        "shop/data/shop.db": "", "rollback.yaml": BASE,
    }.items():  # fmt: skip
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return made


@pytest.fixture(scope="module")
def cases(folder: Path) -> list[Case]:
    """Every wrong text, as the program met it: `validate`, and one command more that would do something."""
    file, found = folder / "rollback.yaml", []
    for number, (name, text) in enumerate(texts()):
        file.write_bytes(text)
        file.chmod(0o600)
        before = walk(folder)
        began = time.perf_counter()
        problems = problems_of(file)
        load_s = time.perf_counter() - began
        done = typed(folder, "validate")
        other = typed(folder, *ELSE[number % len(ELSE)])
        after = walk(folder)
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        found.append(Case(name, text, problems, load_s, done.status, done.out, done.err, done.took_s,
                          (other.status, other.out, other.err), tuple(sorted(changed))))  # fmt: skip
    return found


@pytest.mark.long
def test_what_counts_as_wrong_is_counted_and_printed(
    cases: list[Case], capsys: pytest.CaptureFixture[str]
) -> None:
    """At least 300 texts by chance and 60 rules one by one, and what they break in how many ways."""
    by_chance = [case for case in cases if case.name.startswith("seed ")]
    by_rule = [case for case in cases if case.name.startswith("rule ")]
    kinds = {
        re.sub(r"'[^']*'|\d+|^[^ ]*: ", "…", p.message) for case in cases for p in case.problems
    }
    slowest = max(cases, key=lambda case: case.took_s)
    with capsys.disabled():
        print(f"\n{len(cases)} wrong declarations: {len(by_chance)} by chance, {len(by_rule)} rules "
              f"broken one by one; {sum(len(case.problems) for case in cases)} problems of "
              f"{len(kinds)} kinds; slowest {slowest.took_s * 1000:.0f} ms ({slowest.name})")  # fmt: skip
    assert len(by_chance) == SEEDS - len(LEGITIMATE) == 330
    assert len(by_rule) == len(RULES) - len(SPECIAL) >= 60
    assert len(kinds) >= 60


def test_every_wrong_text_ends_with_two_and_one_line_for_each_problem(cases: list[Case]) -> None:
    """Where (a line that the file has), what, and what to type: nothing more, on standard error."""
    for case in cases:
        assert case.problems, f"{case.name} is accepted: look at it"
        assert (case.status, case.out) == (2, ""), case
        lines = case.err.splitlines()
        assert len(lines) == len(case.problems), (case.name, lines)
        length = case.text.count(b"\n") + 1
        for line, problem in zip(lines, case.problems, strict=True):
            place = re.match(r"rollback\.yaml:(\d+): ", line)
            assert place is not None, (case.name, line)
            assert 1 <= int(place[1]) <= length + 1, (case.name, line)
            assert problem.message, case.name
            assert len(problem.hint) >= 3, (case.name, problem)
            assert line == safe(f"{place[0]}{problem.message}; {problem.hint}"), case.name
            assert len(line) < 2000, (case.name, line[:200])


def test_no_other_command_goes_on_with_a_wrong_text(cases: list[Case]) -> None:
    """Run, checkpoint, trust, guard …: the same lines, the same status."""
    for case in cases:
        assert case.other == (2, "", case.err), (case.name, case.other)


def test_nothing_in_the_folder_is_changed_by_a_wrong_text(cases: list[Case]) -> None:
    """No byte, no mode, no new file, no state directory: by a walk of its own before and after."""
    assert [(case.name, case.changed) for case in cases if case.changed] == []


@pytest.mark.long
def test_the_same_as_a_process_of_its_own(cases: list[Case], folder: Path) -> None:
    """Thirty of them, evenly spread: the real program, its real exit status, no traceback."""
    file = folder / "rollback.yaml"
    chosen = cases[:: len(cases) // AS_PROCESS][:AS_PROCESS]
    assert len(chosen) == AS_PROCESS
    for case in chosen:
        file.write_bytes(case.text)
        before = walk(folder)
        done = rollback(folder, "validate")  # looks for a traceback itself
        assert (done.status, done.out, done.err) == (2, "", case.err), case.name
        assert walk(folder) == before, case.name


@pytest.mark.parametrize("seed", LEGITIMATE)
def test_what_is_not_wrong_is_not_refused(seed: int, declare: Callable[..., object]) -> None:
    """The seeds that were taken out: their texts load, and where they say the same, mean the same."""
    system = declare(mutated(seed))
    if LEGITIMATE[seed] == SAME:
        assert system.digest == declare(BASE).digest  # type: ignore[attr-defined]


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


@pytest.mark.timeout(60)
def test_a_bomb_of_aliases_is_refused_unopened(problems: Callable[..., object]) -> None:
    """Opened, it would be 282 thousand million words: this would never end."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert problems("\n".join(lines))
