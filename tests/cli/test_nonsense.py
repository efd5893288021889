"""Every word that any command takes, given nonsense: a declared status, one line, nothing changed.

The commands and what they take are read from the program, so that a new one is under this, too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from rollback.cli.group import cli
from rollback.cli.show import LINE_MAX, safe
from tests.cli.program import rollback, typed
from tests.systems import build, walk

LONG = 2 * 2**20
NONSENSE = {
    "unknown": "nothing-like-it", "empty": "", "nul": "a\0b", "newline": "a\nb", "2 MiB": "x" * LONG,
    "negative": "-1", "above": "../../etc/passwd", "escape": "\x1b[31mred", "no text": "\udcff",
    "5000 digits": "9" * 5000, "dashes": "--", "space": " ", "turned": "\u202eabc", "a power": "²",
    "a long name": "n" * 300,
}  # fmt: skip
# What of it makes sense all the same, by what is taken: everything else is refused.
NEVER = {"empty", "nul", "2 MiB", "5000 digits", "a long name"}
FREE = {
    "text": set(NONSENSE) - {"nul", "2 MiB"},  # a reason in an operator's own words
    "new name": set(NONSENSE) - NEVER - {"newline", "escape", "no text", "turned", "space"},
    "new file": set(NONSENSE) - NEVER,
    "told id": {"unknown"},
    "unused key": set(NONSENSE) - NEVER,  # there is nothing to sign
    "program": set(NONSENSE) - {"empty", "nul", "2 MiB"},  # whatever it is, it ends with 127
}  # fmt: skip
# What stands for something else than an id: (command, name of the parameter in the code).
KINDS = {
    ("checkpoint create", "name"): "new name",
    ("checkpoint export", "file"): "new file",
    ("verify", "folder"): "new file",
    ("guard", "words"): "program",
    ("answer", "text"): "text",
    ("trust", "key"): "unused key",
    ("review", "key"): "unused key",
    ("event", "identity"): "told id",
}
NAMES = {"reason": "text", "note": "text", "person": "person", "key": "key", "path": "path"}
STATUS = {"person": {2, 4}, "key": {2, 4}, "path": {2, 3, 4}, "state": {2, 8}}
GOOD = {
    "run": "r0001", "level": "config", "name": "before-release", "checkpoint": "before-release",
    "item": "seen", "text": "yes", "file": "a.json", "store": "disk", "path": "config", "words": "/bin/true",
    "component": "config", "reason": "why", "kind": "deployment", "beginning": "0a", "note": "looked",
    "pattern": "slow-again",
}  # fmt: skip
REASON = ("decision: {style: most-severe, filters: [{id: before-release, title: No release yet, "
          "when: {fact: released, is: 'no'}, answer: not-appropriate, overridden_by: [chief]}]}")  # fmt: skip
RECOVERIES = ("corrupted", "lost-work")  # of one component, and it has to be named
ELSEWHERE = ("demo", "drill")  # children of their own: tests/drills/test_demo.py


@dataclass(frozen=True)
class Case:
    """One call with one senseless word in it."""

    command: str
    taken: str
    kind: str
    what: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.command} {self.taken} {self.what}".strip()


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by what is typed."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, (*path, name))
        elif name not in ELSEWHERE:
            yield " ".join((*path, name)), found


def cases() -> Iterator[Case]:
    """Every word of every command, with every nonsense that is none for it."""
    for command, found in commands(cli):
        for one in found.params:
            if isinstance(one, click.Option) and one.is_flag:
                continue
            assert one.name is not None
            kind = KINDS.get((command, one.name), NAMES.get(one.name, "id"))
            for what, value in NONSENSE.items():
                if what not in FREE.get(kind, set()):
                    words = (*command.split(), *_line(found, one, value))
                    yield Case(command, _label(one), kind, what, words)
    for option, kind in (("--system", "id"), ("--state", "state")):
        for what, value in NONSENSE.items():
            if option == "--system" or what in NEVER:  # a state may lie anywhere
                yield Case("", option, kind, what, (f"{option}={value}", "history", "r0001"))


def _line(found: click.Command, wrong: click.Parameter, value: str) -> list[str]:
    """What else the command needs, and the one senseless word; confirmed, so that nothing else stops it."""
    options: list[str] = []
    for one in found.params:
        if not isinstance(one, click.Option):
            continue
        if one is wrong:
            options.append(f"{one.opts[0]}={value}")
        elif one.name == "person":
            options.append("--as=ada")
        elif one.name == "yes":
            options.append("--yes")
        elif one.required or (one.name == "component" and found.name in RECOVERIES):
            options.append(f"{one.opts[0]}={GOOD[str(one.name)]}")
    taken = [one for one in found.params if isinstance(one, click.Argument)]
    before = taken.index(wrong) if isinstance(wrong, click.Argument) else -1
    arguments = [
        value if one is wrong else GOOD[str(one.name)]
        for number, one in enumerate(taken)
        if one.required or number <= before
    ]
    return [*options, "--", *arguments]


def _label(one: click.Parameter) -> str:
    """The option, or the argument as the help writes it."""
    return one.opts[0] if isinstance(one, click.Option) else one.human_readable_name


SHAPES = [
    (status, f"{command} {line}")
    for command in ("plan", "run --as=ada --yes")
    for status, line in (
        *((3, f"config --to={to}") for to in (
            "checkpoint:", "checkpoint:..", "checkpoint:nothing", "checkpoint:before-release:x", "x:y", ":",
            "before", "last", "newest:", "last-good:1", "phase:", "phase:nothing", "archive:", "archive:x",
            "archive:/etc/passwd", "archive:x/../y")),
        *((2, f"config --to={to}") for to in ("git:", "git:HEAD", "git:v9", "git:-x", "git:a..b")),
        *((3, f"-- {rank}") for rank in (
            "0", "6", "99", "-1", "1.5", "1e3", "²", "٣", "01", "+1", "1,2", "0x1", "nan", "None")),
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with one waiting run and one checkpoint, which has a copy; nobody changes it here."""
    disk = f"checkpoints: {{stores: {{disk: {{folder: {{path: {tmp_path_factory.mktemp('disk')}}}}}}}}}"
    made = build(tmp_path_factory.mktemp("nonsense"), guardrails=f"{disk}\n{REASON}")
    with made.site() as site:
        site.checkpoints.create("before-release")
    assert typed(made.folder, "checkpoint", "copy", "disk", "--adopt").status == 0
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    assert typed(made.folder, "run", "full", "--as", "dee", "--yes").status == 4
    assert typed(made.folder, "history").status == 0
    return made.folder


@pytest.mark.long
def test_every_word_of_every_command_is_refused_when_it_is_nonsense(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The declared status; the word or where it stands, and what to type; the folder as it was."""
    found = list(cases())
    wrong: list[str] = []
    slowest, where = 0.0, ""
    statuses: Counter[int] = Counter()
    before = walk(folder)
    for case in found:
        done = typed(folder, *case.words)
        statuses[done.status] += 1
        if done.took_s > slowest:
            slowest, where = done.took_s, case.name
        if done.status not in STATUS.get(case.kind, {2, 3}):
            wrong.append(f"{case.name}: status {done.status}: {done.err[:200]}{done.out[:200]}")
        elif problem := _badly_said(done.out, done.err, NONSENSE[case.what], case.taken):
            wrong.append(f"{case.name}: {problem}: {done.err[:300]}")
        after = walk(folder)
        if changed := [k for k in before.keys() | after.keys() if before.get(k) != after.get(k)]:
            wrong.append(f"{case.name}: changed {sorted(changed)}")
            before = after
    taken = {(case.command, case.taken) for case in found}
    with capsys.disabled():
        print(f"\n{len(found)} senseless words in {len(taken)} places of "
              f"{len({command for command, _ in taken})} commands: {dict(sorted(statuses.items()))}; "
              f"slowest {slowest * 1000:.0f} ms ({where})")  # fmt: skip
    assert wrong == [], "\n".join(wrong)
    assert len(found) >= 300


def _badly_said(out: str, err: str, value: str, taken: str) -> str:
    """What is wrong with what was said; "" when nothing is."""
    lines = err.splitlines()
    if out:
        return "something on standard output"
    if len(lines) != 2 and not (len(lines) == 1 and ":1: " in lines[0]):  # of a file: all in one
        return f"{len(lines)} lines"
    if len(lines) == 2 and not (
        lines[0].startswith("rollback: ") and lines[1].startswith("  try: ")
    ):
        return "not the form of an error"
    if any(len(line) > LINE_MAX + 20 for line in lines):
        return "it repeats what is too long"
    if "Traceback" in err or "bug of rollback" in err:
        return "our bug"
    named = (safe(value)[:40].lower() or "''", taken.lower())
    return (
        "" if any(one in err.lower() for one in named) else f"names neither {taken} nor its value"
    )


@pytest.mark.parametrize(("status", "line"), SHAPES, ids=[line for _, line in SHAPES])
def test_targets_and_ranks_of_a_wrong_shape_lead_nowhere(
    status: int, line: str, folder: Path
) -> None:
    """Nothing is guessed: 3, or 2 where the system has no such thing; the same with --json."""
    before = walk(folder)
    done, told = typed(folder, *line.split(" ")), typed(folder, "--json", *line.split(" "))
    assert (done.status, told.status) == (status, status), (done.err, done.out)
    assert len(done.err.splitlines()) == 2
    error = json.loads(told.out)["error"]
    assert error["exit_status"] == status
    assert error["hint"]
    assert walk(folder) == before


@pytest.mark.long
def test_the_same_as_a_process_of_its_own(folder: Path) -> None:
    """Twenty of those that a system can hand over: the real exit status, the same lines."""
    found = [case for case in cases() if case.what not in ("nul", "2 MiB", "no text")]
    before = walk(folder)
    for case in found[:: len(found) // 20][:20]:
        inside, outside = typed(folder, *case.words), rollback(folder, *case.words)
        assert (outside.status, outside.out) == (inside.status, inside.out), case.name
        assert outside.err == inside.err, case.name
    assert walk(folder) == before
