"""The one way to ask a check: an answer in time, with evidence, whatever happens meanwhile.

Hides: deadlines, and which error means what.
Never: raises; never says PASS for a question that was not answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from rollback.model.errors import RollbackError
from rollback.model.finding import Answer, Finding, unknown
from rollback.model.registry import Kind, Planned
from rollback.observe.deadline import alone
from rollback.observe.expect import figure, shown
from rollback.observe.service import followed
from rollback.observe.view import View

GRACE_S = 0.5  # so that a kind which keeps its own deadline can say what it saw
_WITHIN_DEFAULT_S = 5.0


@runtime_checkable
class Asks(Protocol):
    """What every check kind has."""

    def ask(self, view: View) -> Finding:
        """The answer; changes nothing."""


@runtime_checkable
class Measures(Protocol):
    """What a check kind has that finds numbers out while it asks."""

    @property
    def measures(self) -> Mapping[str, str]:
        """By unit (ANY_UNIT: whatever its author means), which of the finding's details is the number."""


ANY_UNIT = "any"


def measures(check: Kind) -> Mapping[str, str]:
    """What the check, as it is declared, measures; empty where it says yes or no."""
    return check.measures if isinstance(check, Measures) else {}


def deadline_s(check: Kind) -> float:
    """How long the check may take in all; some kinds need longer than their `within`."""
    return float(getattr(check, "deadline_s", getattr(check, "within", _WITHIN_DEFAULT_S)))


def ask(check: Kind, view: View) -> Finding:
    """The finding; UNKNOWN when the check overran, went wrong or cannot be asked."""
    if isinstance(check, Planned):
        return unknown(f"{check.planned_kind} is not built: {check.missing}")
    if not isinstance(check, Asks):
        return unknown(f"{check.kind} is no check")
    limit_s = deadline_s(check)
    outcome = alone(
        lambda: followed(check, view).ask(view), within_s=limit_s + GRACE_S, clock=view.host.clock
    )
    if not outcome.finished:
        return unknown(f"no answer within {figure(limit_s)} s")
    if outcome.error is not None:
        return unknown(_told(outcome.error))
    if not isinstance(outcome.result, Finding):
        return unknown(f"{check.kind} gave no finding")
    return outcome.result


def wait_for(check: Kind, view: View, *, within_s: float, every_s: float = 0.1) -> Finding:
    """The first PASS, or the last finding when `within_s` has passed; each asking is cut to it."""
    clock = view.host.clock
    end = clock.boot_s() + within_s
    while True:
        left_s = max(0.2, end - clock.boot_s())
        allowed_s = min(left_s, deadline_s(check))
        finding = ask(check.model_copy(update={"within": allowed_s}), view)
        if finding.answer is Answer.PASS or clock.boot_s() >= end:
            return finding
        clock.sleep(every_s)


def _told(error: Exception) -> str:
    if isinstance(error, RollbackError):
        return shown(str(error), limit=400)
    if isinstance(error, OSError):
        what = error.strerror or type(error).__name__
        place = f"{error.filename}: " if error.filename else ""
        return shown(f"{place}{what}", limit=400)
    return shown(f"the check went wrong: {type(error).__name__}: {error}", limit=400)
