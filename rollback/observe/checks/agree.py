"""Whether several parts of the system say the same: the version, the epoch, a setting.

Hides: where each value comes from.
Never: takes a part that does not answer for one that agrees.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rollback.model.errors import HostUnreachable
from rollback.model.finding import Finding, Json, failed, passed, same, unknown
from rollback.model.registry import Check as Asked
from rollback.model.registry import register
from rollback.model.step import Check, Id
from rollback.observe.deadline import together
from rollback.observe.expect import Expected, figure, shown, why_not
from rollback.observe.reading import ReadsValue, read_value
from rollback.observe.view import View


@register("check", "agree")
class Agree(Check):
    """`values` are read at once, each by a check that can give one (http, command, sql, config).

    All are the same, of one kind: 3 and "3" are not. `equals` says what, where that is known; nothing at
    all (null, an empty text, list or map) is no agreement unless it says so.
    """

    values: Annotated[dict[Id, Asked], Field(min_length=2, max_length=50)]
    equals: Expected | None = None

    @model_validator(mode="after")
    def _readable(self) -> Agree:
        for name, one in self.values.items():
            if not isinstance(one, ReadsValue):
                raise ValueError(
                    f"values.{name}: a {one.kind} gives no value; write http, command, sql or config"
                )
        return self

    def ask(self, view: View) -> Finding:
        """PASS when everybody answered, and the same."""
        works = [lambda one=one: read_value(one, view) for one in self.values.values()]
        outcomes = together(works, within_s=self.within, clock=view.host.clock)
        found: dict[str, Json] = {}
        silent = []
        for name, outcome in zip(self.values, outcomes, strict=True):
            if not outcome.finished:
                silent.append(f"{name}: no answer within {figure(self.within)} s")
            elif isinstance(outcome.error, HostUnreachable):
                silent.append(f"{name}: {outcome.error.message}")
            elif outcome.error is not None:
                silent.append(f"{name}: {outcome.error}")
            else:
                found[name] = outcome.result
        told = ", ".join(f"{name} {shown(value, limit=60)}" for name, value in found.items())
        first = next(iter(found.values()), None)
        if not all(same(first, other) for other in found.values()):
            return failed(f"they do not agree: {told}", values=found)
        equal = "equals" in self.model_fields_set
        wrong = [f"{name}: {reason}" for name, value in found.items()
                 if equal and (reason := why_not(value, self.equals))]  # fmt: skip
        if wrong:
            return failed("; ".join(wrong), values=found)
        if silent:
            return unknown("; ".join(shown(one) for one in silent), values=found)
        if _is_nothing(first) and not equal:
            return unknown(f"nobody says anything: {told}; write equals: null if that is right",
                           values=found)  # fmt: skip
        return passed(f"they agree: {told}", values=found)


def _is_nothing(value: Json) -> bool:
    """True for what two parts may well have in common without saying anything."""
    return value is None or value in ("", [], {})
