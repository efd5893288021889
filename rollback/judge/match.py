"""A rule that fired: what it calls for, how strict that is, and which of several is the strictest.

Strictness is an order, so that worse numbers never lead to a milder response: first by the declared
severity, then by what is done: hold, observe, watch, a task, a question, a procedure, a person, and
going back by the rank of the level.

Hides: the order.
Never: looks at a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rollback.model.finding import Json
from rollback.model.people import Authority
from rollback.model.policy import Respond
from rollback.model.system import System

Word = Literal[
    "hold", "observe", "watch", "task", "attempt", "evaluate", "decide", "procedure", "escalate",
    "roll-back",
]  # fmt: skip
_ORDER: tuple[Word, ...] = (
    "hold", "observe", "watch", "task", "attempt", "evaluate", "decide", "procedure", "escalate",
    "roll-back",
)  # fmt: skip


@dataclass(frozen=True)
class Match:
    """A rule that fired, and why, in words. `trigger` is the rule's id, whatever style it is of.

    `word` with `what`: a level, a procedure, a decision point, a task, a role, or a sentence.
    `level` is `what` where the word is roll-back. Units: seconds; `confidence` from 0 to 1.
    """

    trigger: str
    word: Word
    what: str
    because: str
    urgency_s: float | None = None
    severity: str = ""
    confidence: float | None = None
    authority: Authority | None = None
    automatic: bool = False
    inform: tuple[str, ...] = ()
    respond: Respond | None = None
    component: str = ""  # where the level works on a single one
    unsaid: bool = False  # it cannot be told only because a person has not said something
    asks: str = (
        ""  # what nobody has said that could have kept it from acting: it is not done unasked
    )

    @property
    def level(self) -> str:
        """The level to go back at; "" when something else is called for."""
        return self.what if self.word == "roll-back" else ""

    @property
    def said(self) -> str:
        """What is called for, in words."""
        if self.word == "roll-back":
            return f"roll back at {self.what}"
        return f"{self.word} {self.what}".strip()

    def as_json(self) -> dict[str, Json]:
        """For the journal and `--json`."""
        return {
            "trigger": self.trigger, "respond": self.word, "what": self.what, "level": self.level,
            "because": self.because, "urgency_s": self.urgency_s, "severity": self.severity,
            "confidence": self.confidence, "automatic": self.automatic, "inform": [*self.inform],
            "asks": self.asks,
        }  # fmt: skip


def called_for(respond: Respond) -> tuple[Word, str]:
    """The one thing that a declared response calls for."""
    if respond.roll_back is not None:
        return "roll-back", respond.roll_back
    if respond.procedure is not None:
        return "procedure", respond.procedure
    if respond.decide is not None:
        return "decide", respond.decide
    if respond.escalate is not None:
        return "escalate", respond.escalate
    if respond.task is not None:
        return "task", respond.task
    if respond.watch is not None:
        return "watch", respond.watch.metric
    if respond.attempt is not None:
        return "attempt", respond.attempt.task
    if respond.observe is not None:
        return "observe", f"{respond.observe:g} s"
    return ("evaluate", "") if respond.evaluate else ("hold", respond.hold or "")


def weight(system: System, match: Match) -> tuple[int, int, int]:
    """Bigger is stricter."""
    return _severity(system, match), _ORDER.index(match.word), _rank(system, match)


def strictest(system: System, matches: tuple[Match, ...]) -> Match:
    """The strictest of them; of equals the one that was declared first. Shape: at least one."""
    return max(matches, key=lambda match: weight(system, match))


def _rank(system: System, match: Match) -> int:
    return system.levels[match.level].rank if match.level else 0


def _severity(system: System, match: Match) -> int:
    """The order of a severity word: for a level, of the worst that names no higher one.

    A higher level is never the milder answer, whatever word a rule gives it. Otherwise: of the word
    that the rule names, or of the mildest that names the procedure.
    """
    words = system.severity.values()
    if match.level:
        ranks = ((word.order, word.level) for word in words if word.level in system.levels)
        mine = _rank(system, match)
        return max(
            (order for order, name in ranks if system.levels[str(name)].rank <= mine), default=0
        )
    if match.severity in system.severity:
        return system.severity[match.severity].order
    same = (
        word.order for word in words if match.word == "procedure" and word.procedure == match.what
    )
    return min(same, default=0)
