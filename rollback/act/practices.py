"""Whether the practices that a team declared under `prevention:` are kept, from facts.

Hides: by which of the declared facts a practice shows.
Never: believes a practice that nothing shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from rollback.act import deciding, eyes, rehearsed
from rollback.act.site import Site
from rollback.act.starting import ask_now
from rollback.act.told import facts_of
from rollback.host.clock import parse_iso
from rollback.judge.condition import evaluate
from rollback.model.finding import Finding, Json, failed, passed, unknown
from rollback.model.operations import Practice
from rollback.model.quantity import spoken
from rollback.observe.metric import read_all


@dataclass(frozen=True, slots=True)
class Practised:
    """Whether a declared practice is kept, from facts. Units: `hours` in all, as declared."""

    practice: Practice
    finding: Finding
    hours: float | None = None

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {"practice": self.practice.id, "title": self.practice.title, "hours": self.hours,
                "answer": self.finding.answer.value, "evidence": self.finding.evidence}  # fmt: skip


def practices(site: Site) -> tuple[Practised, ...]:
    """Each practice declared under `prevention:`; what costs hours a person costs them for each."""
    heads = len(site.system.people.members)
    drills = {one.drill.id: one for one in rehearsed.standings(site)}
    return tuple(
        Practised(one, _kept(site, one, drills),
                  None if one.hours is None else one.hours * (heads if one.per_person else 1))
        for one in site.system.prevention
    )  # fmt: skip


def _kept(site: Site, one: Practice, drills: dict[str, rehearsed.Standing]) -> Finding:
    if one.drill is not None:
        standing = drills[one.drill]
        return (
            failed(standing.said)
            if standing.why or standing.last is None
            else passed(standing.said)
        )
    if one.checkpoint is not None:
        return _checkpointed(site, one)
    if one.check is not None:
        return ask_now(site, site.system.environment_name, one.check)
    if one.when is not None:
        metrics = [name for name in (one.when.metric,) if name]
        known = deciding.known(site, read_all(eyes.of(site), metrics), {})
        return Finding(*evaluate(one.when, known))
    if one.procedure is not None and site.system.procedures[one.procedure].steps:
        return passed(f"procedure {one.procedure} is declared")
    said = facts_of(site.journal.events(), site.host.clock.now()).get(f"practice_{one.id}", "")
    if said:
        return (
            passed("somebody said so")
            if said in ("yes", "true")
            else failed(f"somebody said {said}")
        )
    return unknown(
        f"no fact shows it; somebody who knows: rollback decide --for 30d --fact practice_{one.id}=yes"
    )


def _checkpointed(site: Site, one: Practice) -> Finding:
    newest = next((kept for kept in site.checkpoints.list()
                   if kept.kind == one.checkpoint and kept.state == "whole"), None)  # fmt: skip
    if newest is None:
        return failed(f"there is no checkpoint of kind {one.checkpoint}")
    age = site.host.clock.now() - parse_iso(newest.at)
    said = f"{newest.name} of {newest.at[:16]}"
    if one.every is not None and age > timedelta(seconds=one.every):
        return failed(f"{said} is {spoken(age.total_seconds())} old, due every {spoken(one.every)}")
    return passed(said)
