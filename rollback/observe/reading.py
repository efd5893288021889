"""One value as the product itself reports it: over HTTP at a pointer, or printed by a program.

Hides: how an answer becomes a value.
Never: guesses: an answer without the value is no answer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from rollback.host.processes import Completed, base_environment, run
from rollback.model.component import Reader
from rollback.model.errors import HostError, HostUnreachable
from rollback.model.finding import Json
from rollback.model.quantity import spoken
from rollback.model.registry import Kind
from rollback.observe.deadline import alone
from rollback.observe.expect import shown
from rollback.observe.pointer import MISSING, find, parse
from rollback.observe.service import followed
from rollback.observe.view import View
from rollback.observe.web import fetch, json_of

GRACE_S = 0.5


@runtime_checkable
class ReadsValue(Protocol):
    """What a check kind has that can also give a value."""

    def read_value(self, view: View) -> Json:
        """The value that the product reports. Raises: HostUnreachable."""


def read_value(reader: Reader | Kind, view: View) -> Json:
    """What the product reports through a declared reader, in time.

    Raises: HostUnreachable when it does not answer, or not with a value.
    """
    limit_s = _limit_s(reader)
    outcome = alone(
        lambda: _read(followed(reader, view), view),
        within_s=limit_s + GRACE_S,
        clock=view.host.clock,
    )
    if not outcome.finished:
        raise HostUnreachable(f"no answer within {spoken(limit_s)}")
    error = outcome.error
    if isinstance(error, (HostError, OSError, ValueError)) and not isinstance(
        error, HostUnreachable
    ):
        raise HostUnreachable(shown(str(error), limit=300)) from error
    if error is not None:
        raise error
    return outcome.result


def _limit_s(reader: Reader | Kind) -> float:
    if isinstance(reader, Reader):
        inner = reader.http or reader.command
        return inner.within if inner else 5.0
    return float(getattr(reader, "within", 5.0))


def _read(reader: Reader | Kind, view: View) -> Json:
    if isinstance(reader, Reader):
        if reader.http is not None:
            return over_http(reader.http.url, reader.http.pointer, timeout_s=reader.http.within)
        assert reader.command is not None, "a reader is one of two"
        done = program(view, reader.command.argv, timeout_s=reader.command.within)
        return printed(done)
    if isinstance(reader, ReadsValue):
        return reader.read_value(view)
    raise HostUnreachable(f"a {reader.kind} cannot read a value", hint="use http or command")


def over_http(url: str, pointer: str, *, timeout_s: float) -> Json:
    """The value at `pointer` of a 2xx answer. Raises: HostUnreachable."""
    answer = fetch(url, timeout_s=timeout_s)
    if not 200 <= answer.status < 300:
        raise HostUnreachable(f"answered {answer.status}", where=url)
    try:
        found = find(json_of(answer), pointer)
    except ValueError as error:
        raise HostUnreachable(str(error), where=url) from None
    if found is MISSING:
        raise HostUnreachable(f"the answer has no {pointer}", where=url)
    return found  # type: ignore[return-value] # MISSING is excluded above


def program(
    view: View, argv: Sequence[str], *, timeout_s: float, cwd: str = ".",
    environment: Mapping[str, str] | None = None,
) -> Completed:  # fmt: skip
    """The program has run in a folder below the root. Raises: CommandFailed, Confined."""
    with view.host.tree(str(view.root)) as root, root.sub(cwd) as folder:
        return run(
            argv, cwd=os.fsdecode(folder.path), timeout_s=max(0.05, timeout_s),
            environment=base_environment({"PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}),
            tap=view.host.tap,
        )  # fmt: skip


def printed(done: Completed) -> Json:
    """What a program printed: JSON if it is JSON, else the text. Raises: HostUnreachable."""
    if done.timed_out:
        raise HostUnreachable(f"no answer within {spoken(done.elapsed_s)}", where=done.argv[0])
    if done.status != 0:
        raise HostUnreachable(f"ended with {done.status}: {tail(done)}", where=done.argv[0])
    text = done.stdout.decode("utf-8", "replace").strip()
    if not text:
        raise HostUnreachable("printed nothing", where=done.argv[0])
    try:
        return parse(text)
    except ValueError:
        return text


def tail(done: Completed) -> str:
    """The last words of a program, for evidence."""
    said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
    return shown(" | ".join(said.splitlines()[-3:]) or "it said nothing", limit=300)
