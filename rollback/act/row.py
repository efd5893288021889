"""One thing that was looked at before anything is done, and what to type where it is not well.

Hides: nothing.
Never: looks by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollback.model.errors import RollbackError
from rollback.model.finding import Finding, Json, failed, passed, unknown


@dataclass(frozen=True, slots=True)
class Row:
    """Without what is not `needed`, all could be done all the same.

    What `passes` is found out by beginning all the same: people are asked, and may come.
    """

    what: str
    finding: Finding
    hint: str = ""
    needed: bool = True
    passes: bool = False

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {"what": self.what, "answer": self.finding.answer.value, "needed": self.needed,
                "evidence": self.finding.evidence, "hint": self.hint}  # fmt: skip


def asked(what: str, ask: Callable[[], Row], *, needed: bool = True) -> Row:
    """The row; UNKNOWN when the question itself fails."""
    try:
        return ask()
    except (RollbackError, OSError, ValueError, AttributeError, ImportError) as error:
        return Row(what, unknown(str(error) or type(error).__name__), needed=needed)


def row(what: str, good: bool, said: str, *, hint: str = "", needed: bool = True) -> Row:
    """It is well or not, as `said`; the hint is for when it is not."""
    return Row(what, passed(said) if good else failed(said), hint, needed)
