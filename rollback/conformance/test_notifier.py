"""What every notifier owes: the message arrives once, or it says why not: in time, and never a secret.

Hides: nothing.
Never: knows a kind.
"""

from __future__ import annotations

import json
from typing import Any

from rollback.conformance.asked import Case
from rollback.conformance.fixtures import owes
from rollback.conformance.world import World
from rollback.observe.deadline import alone
from rollback.tell.delivery import DEADLINE_S, attempt
from rollback.tell.message import Outgoing

FAMILY = "notifier"
_GRACE_S = 2.0
_HOSTILE = (
    "{title} {{7*7}} $(id) `id` <b>@everyone</b> 'quoted' \"twice\"\n\nFrom: somebody\n.\nüñ✓ %s %n"
)


def _message(text: str = "It goes back: sign 4711") -> Outgoing:
    return Outgoing(id="m-4711", name="hello", audience="users", title="Small: hello", text=text,
                    run="run-1", at="2026-11-20T12:00:00.000000Z")  # fmt: skip


def _limit_s(channel: Any) -> float:
    """When it has to be back by itself: its own deadline, and no later than the front gives it up."""
    return min(DEADLINE_S, float(getattr(channel, "within", DEADLINE_S)) + _GRACE_S)


def _delivered(case: Case, world: World, message: Outgoing) -> str:
    """What `deliver` returns, which is text, in time, without raising."""
    channel = case.made(world)
    limit_s = _limit_s(channel)
    outcome = alone(lambda: channel.deliver(message, world.folder, world.host),
                    within_s=limit_s, clock=world.host.clock)  # fmt: skip
    owes(
        outcome.finished,
        f"it was not back after {limit_s:g} s: it has to keep a deadline of its own",
    )
    error = outcome.error
    owes(
        error is None,
        f"it raises {type(error).__name__} ({error}); it has to return why it did not leave",
    )
    said = outcome.result
    owes(isinstance(said, str), f"it returns {said!r}: return text, empty when the message left")
    for secret in case.example.secrets:
        owes(secret not in str(said), "the reason that it gives holds a secret: everybody reads it")
    return str(said)


def test_a_message_leaves_once(case: Case, world: World) -> None:
    """The text arrives on the other side, one time, and nothing is said against it."""
    said = _delivered(case, world, _message())
    owes(said == "", f"its example is well, and it says: {said}")
    if getattr(case.kind, "by_person", False):
        return  # nothing arrives by itself
    count = str(case.example.seen(world)).count("sign 4711")
    owes(count == 1, f"it says that the message left, and it arrived {count} times")


def test_whatever_a_text_holds_it_stays_a_text(case: Case, world: World) -> None:
    """Marks, quotes, lines, other scripts: nothing is raised, and the same channel serves afterwards."""
    for text in (_HOSTILE, "x" * 4000, ""):
        _delivered(case, world, _message(text))
    said = _delivered(case, world, _message())
    owes(said == "", f"after such texts it says: {said}")


def test_its_example_breaks_the_other_side(case: Case) -> None:
    """Refuses, fails, hangs: the example has `spoils`, unless a person makes the call."""
    owes(case.example.spoils or getattr(case.kind, "by_person", False),
         "the example has no spoils: give ways in which the other side refuses, fails and hangs")  # fmt: skip


def test_what_does_not_leave_is_said(case: Case, world: World, spoil: str) -> None:
    """For each way in which the example breaks the other side: a reason, in time, without a secret."""
    case.example.spoils[spoil](world)
    said = _delivered(case, world, _message())
    owes(said.strip(), f"{spoil}: the message cannot have left, and it says nothing")


def test_no_secret_is_seen_from_outside(case: Case, world: World) -> None:
    """Neither in what the kind prints of itself nor in what is kept of it or of a delivery."""
    channel = case.made(world)
    shown = [repr(channel), str(channel), json.dumps(channel.model_dump(mode="json"))]
    shown.append(attempt(world.system, world.host, _message(), "it").detail)
    for secret in case.example.secrets:
        owes(not any(secret in one for one in shown),
             "a secret stands in the declaration: take a reference (env:, file:, credential:)")  # fmt: skip
