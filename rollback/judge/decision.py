"""From what is known to a decision: what is called for, and the rules that led to it.

The declared style and the triggers both speak, and the strictest answer wins. What is UNKNOWN fires
nothing; where it could have been stricter than what was found, a person is asked. That nobody has
stated a fact is no such doubt: people state facts when they know them.

Hides: which styles speak in which order.
Never: reads a metric; samples, facts and events are given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from rollback.judge import styles
from rollback.judge.condition import Known, evaluate
from rollback.judge.match import Match, Word, called_for, strictest, weight
from rollback.judge.styles import Heard
from rollback.model.finding import Answer, Json, Sample
from rollback.model.policy import Decision as Policy
from rollback.model.policy import Filter
from rollback.model.system import System


@dataclass(frozen=True)
class Decision:
    """`respond` is what is called for, with `level` where it is roll-back, else `what`.

    `unknown` are the metrics that gave no number. `matches` are all rules that fired. `blocked` says
    why the level is known not to be ready: then nobody starts it unasked.
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
            "reasoning": [*self.reasoning], "unknown": [*self.unknown], "blocked": [*self.blocked],
            "matches": [match.as_json() for match in self.matches],
            "samples": [
                {"metric": s.metric, "value": s.value, "unit": s.unit, "count": s.count,
                 "window_s": s.window_s, "at": s.at.isoformat(), "note": s.note, "source": s.source}
                for s in self.samples
            ],
        }  # fmt: skip


NO_RULE = "no rule is declared, so nothing can be called for"
_Style = Callable[[Policy, Known], Heard]
_STYLES: dict[str, tuple[_Style, ...]] = {
    "most-severe": (), "first": (), "asked": (), "tree": (styles.tree,),
    "scored": (styles.scored,), "tiers": (styles.tiers,),
    "strictest": (styles.tree, styles.scored),
}  # fmt: skip


def decide(system: System, known: Known) -> Decision:
    """What the declared rules call for."""
    policy = system.decision
    heard = [styles.triggers(system, known), styles.breakers(policy, known)]
    heard += [style(policy, known) for style in _STYLES[policy.style]]
    fired = tuple(match for one in heard for match in one.fired)
    unsure = tuple(match for one in heard for match in one.unsure)
    spared, notes = _filtered(policy, known, fired)
    return _conclude(system, known, spared, unsure, notes)


def ruled(system: System) -> bool:
    """True where a rule is declared, so that something can be called for at all."""
    policy = system.decision
    rules = (system.triggers, policy.tree, policy.scores, policy.tiers, policy.breakers)
    return any(rules) or policy.otherwise is not None


def ask_tree(system: System, known: Known) -> Match | None:
    """What the declared questions call for when a person answers them, whatever the style."""
    return next(iter(styles.tree(system.decision, known).fired), None)


def _filtered(
    policy: Policy, known: Known, fired: tuple[Match, ...]
) -> tuple[tuple[Match, ...], tuple[str, ...]]:
    """Going back is held when a reason against it holds, none for it, and nobody overrules it."""
    told = [(one, evaluate(one.when, known)) for one in policy.filters if one.when is not None]
    pro = [
        one for one, (answer, _) in told if one.answer == "appropriate" and answer is Answer.PASS
    ]
    con = [
        (one, why) for one, (answer, why) in told
        if one.answer == "not-appropriate" and answer is Answer.PASS
        and not _overruled(one, known)
    ]  # fmt: skip
    notes = tuple(f"appropriate: {one.title}" for one in pro)
    if pro or not con or not any(match.level for match in fired):
        return fired, notes
    one, why = con[0]
    who = (
        f"; {' or '.join(one.overridden_by)} may overrule it: --fact overrule_{one.id}=ROLE"
        if one.overridden_by
        else ""
    )
    notes += (f"not appropriate: {one.title}: {why}{who}",)
    held = tuple(
        replace(match, word="hold", what=one.title, because=f"{match.said}, but {one.title}")
        if match.level and not match.automatic else match
        for match in fired
    )  # fmt: skip
    return held, notes


def _overruled(one: Filter, known: Known) -> bool:
    return known.facts.get(f"overrule_{one.id}", "") in one.overridden_by


def _conclude(
    system: System, known: Known, fired: tuple[Match, ...], unsure: tuple[Match, ...],
    notes: tuple[str, ...],
) -> Decision:  # fmt: skip
    samples = tuple(known.samples.values())
    unknown = tuple(sample.metric for sample in samples if not sample.known)
    doubts = tuple(f"{match.trigger} cannot be told: {match.because}" for match in unsure)
    best = _best(system, fired)
    doubted = (one for one in unsure if not one.unsaid)
    stricter = [
        one for one in doubted if best is None or weight(system, one) > weight(system, best)
    ]
    said = tuple(f"{'also ' if match is not best else ''}{match.trigger}: {match.because}: {match.said}"
                 for match in sorted(fired, key=lambda match: match is not best))  # fmt: skip
    reasons = (*said, *notes, *doubts)
    if best is None:
        best = _otherwise(system) if not stricter else None
    if (
        stricter
        and (best is None or not best.level)
        and system.autonomy.default_when_unknown == "ask"
    ):
        return Decision("escalate", "", best.trigger if best else "", reasons, samples, unknown, fired,
                        what=best.said if best else "", best=best)  # fmt: skip
    if best is None:
        none = "no trigger holds" if ruled(system) else NO_RULE
        return Decision("hold", "", "", reasons or (none,), samples, unknown, fired)
    word: Word = "decide" if system.decision.style == "asked" and best.level else best.word
    return Decision(
        word, best.level if word == "roll-back" else "", best.trigger,
        reasons or (best.because,), samples, unknown, fired, what=best.what, best=best,
    )  # fmt: skip


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
