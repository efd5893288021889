"""From what is known to a decision: what is called for, and the rules that led to it.

The declared style and the triggers both speak, and the strictest answer wins. What is UNKNOWN fires
nothing, nor does what rests on passing it over; where it could have been stricter than what was found,
a person is asked. That nobody has stated a fact is no such doubt: people state facts when they know them.

Hides: which styles speak in which order.
Never: reads a metric; samples, facts and events are given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rollback.judge import appropriate, breaker, severity, styles
from rollback.judge.appropriate import Weighed
from rollback.judge.condition import Known
from rollback.judge.match import Match, Word, called_for, strictest, weight
from rollback.judge.styles import Heard
from rollback.model.finding import Json, Sample
from rollback.model.system import System


@dataclass(frozen=True)
class Decision:
    """`respond` is what is called for, with `level` where it is roll-back, else `what`.

    `unknown` are the metrics that gave no number. `matches` are all rules that fired, `doubts` those of
    which nobody can tell although nobody owes a fact. `against` says why going back is not appropriate,
    or not known to be; `overruled` which reasons against it somebody has overruled. `blocked` says why
    the level is known not to be ready: then nobody starts it unasked. `open` are breakers that wait to
    be tried again.
    """

    respond: Word
    level: str
    trigger: str
    reasoning: tuple[str, ...]
    samples: tuple[Sample, ...]
    unknown: tuple[str, ...] = ()
    matches: tuple[Match, ...] = ()
    what: str = ""
    best: Match | None = None
    blocked: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    against: str = ""
    overruled: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    @property
    def confidence(self) -> float | None:
        """How sure the rule is that decided; None where it does not say."""
        return self.best.confidence if self.best else None

    def as_json(self) -> dict[str, Json]:
        """For the journal and `--json`."""
        return {
            "respond": self.respond, "level": self.level, "what": self.what, "trigger": self.trigger,
            "confidence": self.confidence, "urgency_s": self.best.urgency_s if self.best else None,
            "severity": self.best.severity if self.best else "",
            "reasoning": [*self.reasoning], "unknown": [*self.unknown], "doubts": [*self.doubts],
            "blocked": [*self.blocked], "overruled": [*self.overruled], "open": [*self.open],
            "matches": [match.as_json() for match in self.matches],
            "samples": [
                {"metric": s.metric, "value": s.value, "unit": s.unit, "count": s.count,
                 "window_s": s.window_s, "at": s.at.isoformat(), "note": s.note, "source": s.source}
                for s in self.samples
            ],
        }  # fmt: skip


NO_RULE = "no rule is declared, so nothing can be called for"
_Style = Callable[[System, Known], Heard]
_STYLES: dict[str, tuple[_Style, ...]] = {
    "most-severe": (), "first": (), "asked": (), "tree": (styles.tree,),
    "scored": (styles.scored,), "tiers": (styles.tiers,),
    "strictest": (styles.tree, styles.scored),
}  # fmt: skip


def decide(system: System, known: Known) -> Decision:
    """What the declared rules call for."""
    speaking = (styles.triggers, breaker.breakers, *_STYLES[system.decision.style])
    heard = [style(system, known) for style in speaking]
    weighed = appropriate.weigh(
        system.decision, known, tuple(match for one in heard for match in one.fired)
    )
    unsure = tuple(match for one in heard for match in one.unsure)
    return _conclude(system, known, weighed, (*weighed.unsure, *unsure))


def ruled(system: System) -> bool:
    """True where a rule is declared, so that something can be called for at all."""
    policy = system.decision
    rules = (severity.rules(system), policy.tree, policy.scores, policy.tiers, policy.breakers)
    return any(rules) or policy.otherwise is not None


def ask_tree(system: System, known: Known) -> Match | None:
    """What the declared questions call for when a person answers them, whatever the style."""
    return next(iter(styles.tree(system, known).fired), None)


def _conclude(
    system: System, known: Known, weighed: Weighed, unsure: tuple[Match, ...]
) -> Decision:
    fired = weighed.fired
    best = _best(system, fired)
    doubted = [one for one in unsure if not one.unsaid]
    stricter = [
        one for one in doubted if best is None or weight(system, one) > weight(system, best)
    ]
    open_ = breaker.open_ones(system, known)
    reasons = (*_said(fired, best), *weighed.notes, *_doubts(unsure), *open_.values())
    if best is None:
        best = _otherwise(system) if not stricter else None
    asks = system.autonomy.default_when_unknown == "ask"
    word: Word = "hold" if best is None else best.word
    what = "" if best is None else best.what
    if stricter and asks and (best is None or not best.level):
        word, what = "escalate", "" if best is None else best.said
    elif system.decision.style == "asked" and best is not None and best.level:
        word = "decide"
    samples = tuple(known.samples.values())
    return Decision(
        word, what if word == "roll-back" else "", best.trigger if best else "",
        reasons or (best.because if best else "no trigger holds" if ruled(system) else NO_RULE,),
        samples,
        tuple(sample.metric for sample in samples if not sample.known), fired, what=what, best=best,
        doubts=tuple(dict.fromkeys(one.trigger for one in doubted)), against=weighed.against,
        overruled=weighed.overruled, open=tuple(open_),
    )  # fmt: skip


def _said(fired: tuple[Match, ...], best: Match | None) -> tuple[str, ...]:
    """Each rule that fired in words, the one that decided first."""
    return tuple(f"{'also ' if match is not best else ''}{match.trigger}: {match.because}: {match.said}"
                 for match in sorted(fired, key=lambda match: match is not best))  # fmt: skip


def _doubts(unsure: tuple[Match, ...]) -> tuple[str, ...]:
    return tuple(
        f"{match.trigger} cannot be told: {match.because}: it would be {match.said}"
        for match in unsure
    )


def _best(system: System, fired: tuple[Match, ...]) -> Match | None:
    if not fired:
        return None
    return fired[0] if system.decision.style == "first" else strictest(system, fired)


def _otherwise(system: System) -> Match | None:
    respond = system.decision.otherwise
    if respond is None:
        return None
    word, what = called_for(respond)
    return Match("otherwise", word, what, "no rule holds", respond=respond)


__all__ = ["NO_RULE", "Decision", "Known", "Match", "ask_tree", "decide", "ruled"]
