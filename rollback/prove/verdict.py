"""The verdict: what one pytest child saw, test by test, in a file that its parent reads strictly.

The file carries facts, not a conclusion: the parent concludes. It is written once, at the very
end of the session, by write, fsync and rename; a session that ends otherwise leaves none.

Hides: the spelling of the file.
Never: decides whether the gate opens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from rollback.host import Host
from rollback.model.event import canonical
from rollback.model.registry import Declared
from rollback.prove.likeness import Likeness
from rollback.prove.seal import Beyond

FORMAT = 1
VERDICT_BYTES_MAX = 32 * 2**20
Phase = Literal["", "passed", "failed", "skipped"]
Format = Annotated[int, Field(ge=FORMAT, le=FORMAT)]
Duration = Annotated[float, Field(ge=0, le=10 * 86400)]


class Asked(Declared):
    """What a declared check answered. `expected` is what the gate wanted of it."""

    id: str
    expected: Literal["pass", "fail", "known-red"]
    answer: Literal["pass", "fail", "unknown"]
    evidence: str
    fingerprint: str
    beyond: tuple[Beyond, ...] = ()
    samples: dict[str, tuple[float, ...]] = Field(default_factory=dict)

    @property
    def like(self) -> Likeness:
        """What tells its failure from others."""
        return Likeness(self.fingerprint, tuple(one.measured for one in self.beyond))


class Outcome(Declared):
    """One test: its three phases, and everything about it that is not a plain pass.

    `oddities` names skips, expected failures, reruns, skipped subtests; empty for a plain test.
    `asked` is None for a test of the team. Units: `duration_s` over the three phases.
    """

    nodeid: str
    setup: Phase = ""
    call: Phase = ""
    teardown: Phase = ""
    oddities: tuple[str, ...] = ()
    why: str = ""
    duration_s: Duration = 0.0
    asked: Asked | None = None

    @property
    def known_red(self) -> bool:
        """Still red as it was before, which its gate allows: the test passed, and the check did not."""
        asked = self.asked
        return asked is not None and (asked.expected, asked.answer) == ("known-red", "fail")

    @property
    def plain(self) -> bool:
        """Set up, called and torn down once, all passed, nothing odd."""
        return (self.setup, self.call, self.teardown) == ("passed",) * 3 and not self.oddities


class Verdict(Declared):
    """What a session saw. `collected` are the tests that were found, `selected` those left to run.

    `files` are the SHA-256 of every file of the suite, by path, after collection;
    `left_behind` are processes that outlived their tests.
    """

    format: Format
    nonce: str
    suite: str
    declaration: str
    exit_status: int
    collected: tuple[str, ...]
    selected: tuple[str, ...]
    collect_problems: tuple[str, ...]
    tests: tuple[Outcome, ...]
    files: dict[str, str]
    left_behind: tuple[str, ...]


class NoVerdict(Exception):
    """There is no verdict that could be read; the message says why."""


def write(path: Path, verdict: Verdict, host: Host) -> None:
    """The verdict stands at `path`, whole and on disk."""
    with host.tree(str(path.parent)) as folder:
        folder.write(path.name, canonical(verdict.model_dump(mode="json")))


def read(path: Path, host: Host) -> Verdict:
    """The verdict at `path`. Raises: NoVerdict when it is missing, cut, or not exactly one."""
    with host.tree(str(path.parent)) as folder:
        try:
            data = folder.read(path.name, limit_bytes=VERDICT_BYTES_MAX)
        except FileNotFoundError:
            raise NoVerdict("the suite ended without a verdict") from None
    return parse(data)


def parse(data: bytes) -> Verdict:
    """The verdict in these bytes. Raises: NoVerdict for anything that is not exactly one."""
    try:
        value = json.loads(data, parse_constant=_constant, object_pairs_hook=_once)
        return Verdict.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise NoVerdict(f"the verdict is malformed: {place}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise NoVerdict(f"the verdict is malformed: {error}") from None


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
