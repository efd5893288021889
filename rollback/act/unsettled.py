"""What keeps a gate closed until it is settled: components that diverge, effects that stay.

A divergence is asked at the gate. It is settled when it is gone, or when a named person took note of
exactly what was found. An effect (a mail, a payment, a write elsewhere) is told by whoever caused it; one
that came after what was gone back to is settled once: compensated, or taken note of by a named person.

Hides: what a word about either rests on.
Never: compensates anything; lets UNKNOWN be taken note of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rollback.act.plan import Plan
from rollback.act.site import Site
from rollback.host.clock import iso, moment_of, parse_iso
from rollback.model.errors import PlanError, RollbackError, UsageError
from rollback.model.event import Event
from rollback.model.finding import Answer
from rollback.model.lifecycle import Run
from rollback.model.registry import Planned, nearest
from rollback.observe.check import ask

if TYPE_CHECKING:
    from rollback.observe.view import View

EFFECT = "effect"  # the event, where a component declares `irreversible`
FIELDS = ("component", "what")
COMPENSATED, NOTED = "compensated", "acknowledged"
_OF = {"epoch": "another epoch", "messages": "messages in flight", "tasks": "orphaned tasks"}


@dataclass(frozen=True, slots=True)
class Open:
    """One thing that is not settled. `found` is what a word about it is about; "" for nothing yet."""

    id: str
    reason: str
    found: str = ""


def open_items(site: Site, run: Run, plan: Plan) -> tuple[Open, ...]:
    """What can be said about now: divergences as the gate last found them, and effects as told."""
    found = run.verdict.get("unsettled")
    named = {one.id: one for one in site.system.verification.divergence}
    diverging = found.items() if isinstance(found, dict) else ()
    return (*(Open(key, f"{' and '.join(named[key].between)} diverge: {said}", str(said))
              for key, said in diverging if key in named), *effects(site, plan))  # fmt: skip


def said_since(site: Site, run: Run) -> tuple[str, ...]:
    """What the gate last found that people have settled, or taken note of as it was found."""
    found = run.verdict.get("unsettled")
    diverging = found.items() if isinstance(found, dict) else ()
    settled = [f"{EFFECT}-{event.data['effect']}" for event in site.journal.events()
               if event.kind == "effect.settled"]  # fmt: skip
    return (*(key for key, said in diverging if _noted(site, run, key) == said), *settled)


def keeps_closed(site: Site, run: Run, plan: Plan, view: View) -> tuple[Open, ...]:
    """Everything that is not settled now: divergences in order of the file, then effects as told."""
    return (*_divergences(site, run, plan, view), *effects(site, plan))


# -- divergence ----------------------------------------------------------------------------


def _divergences(site: Site, run: Run, plan: Plan, view: View) -> Iterator[Open]:
    touched = set(plan.touched)
    for one in site.system.verification.divergence:
        if touched.isdisjoint(one.between):
            continue
        between = " and ".join(one.between)
        said = f"divergence {one.id} of {between} ({_OF[one.of]})"
        finding = ask(one.check, view)
        if finding.answer is Answer.PASS or _noted(site, run, one.id) == finding.evidence:
            continue
        if finding.answer is Answer.UNKNOWN or isinstance(one.check, Planned):
            yield Open(one.id, f"{said} cannot be told: {finding.evidence}")
            continue
        how = f"put it right, or take note of it: rollback answer {run.id} {one.id} {NOTED} --as PERSON"
        yield Open(one.id, f"{said}: {finding.evidence}; {how}", finding.evidence)


def _noted(site: Site, run: Run, item: str) -> str | None:
    """What was found when somebody last took note of it in this run; None when nobody did."""
    said = [event.data for event in site.journal.events() if event.run == run.id
            and event.kind == "answer.given" and event.data.get("item") == item]  # fmt: skip
    return str(said[-1]["found"]) if said and "found" in said[-1] else None


# -- effects -------------------------------------------------------------------------------


def told(site: Site, identity: str) -> bool:
    """True when an effect of this id is in the journal."""
    return any(event.kind == "effect.told" and event.data["id"] == identity
               for event in site.journal.events())  # fmt: skip


def tell_effect(site: Site, fields: Mapping[str, str], *, by: str, identity: str) -> Event:
    """The effect is in the journal, unsettled. Raises: UsageError, PlanError."""
    for name in FIELDS:
        if not fields.get(name):
            hint = f"rollback event {EFFECT} component=orders what='payment of 12 EUR' --id payment-4711"
            raise UsageError(f"an effect has a field {name}", hint=hint)
    stranger = next((name for name in fields if name not in FIELDS), "")
    if stranger:
        raise UsageError(f"there is no field {stranger}", hint=nearest(stranger, FIELDS))
    having = tuple(key for key, one in site.system.components.items() if one.irreversible)
    if fields["component"] not in having:
        raise PlanError(f"component {fields['component']} declares nothing irreversible",
                        hint=nearest(fields["component"], having))  # fmt: skip
    name = identity or f"e{len(site.journal.events()) + 1}"
    return site.tell("effect.told", id=name, by=by, **{key: fields[key] for key in FIELDS})


def effects(site: Site, plan: Plan) -> tuple[Open, ...]:
    """The effects of what the plan puts back that came later than its target, and are not settled."""
    every = [event for event in site.journal.events() if event.kind == "effect.told"]
    if not every:
        return ()
    settled = {str(event.data["effect"]) for event in site.journal.events()
               if event.kind == "effect.settled"}  # fmt: skip
    since, clock = _since(site, plan), site.host.clock
    run = plan.stamp.get("run", "")
    return tuple(
        Open(f"{EFFECT}-{event.data['id']}", _reason(event, run))
        for event in every
        if str(event.data["id"]) not in settled and event.data["component"] in plan.touched
        and (since is None or moment_of(clock, event.at, event.boot, event.boot_s) >= since)
    )  # fmt: skip


def knows(site: Site, item: str) -> bool:
    """True for the item of an effect that was told, and for a declared divergence."""
    return _is_effect(site, item) or any(
        one.id == item for one in site.system.verification.divergence
    )


def noted(site: Site, run: Run) -> list[str]:
    """What people took note of, or compensated, so that the gate could open; for its report."""
    found = [f"divergence {event.data['item']} was taken note of by {event.data['by']}: {event.data['found']}"
             for event in site.journal.events()
             if event.run == run.id and event.kind == "answer.given" and "found" in event.data]  # fmt: skip
    found += [f"{EFFECT} {event.data['effect']} was {event.data['how']} by {event.data['by']}"
              for event in site.journal.events()
              if event.kind == "effect.settled" and event.data.get("of") == run.id]  # fmt: skip
    return found


def settle(site: Site, run: Run, item: str, text: str, *, by: str) -> None:
    """What a named person said about a divergence or an effect is in the journal.

    Raises: PlanError when it is settled, not found, or said by nobody in particular; UsageError for another
    word.
    """
    identity, is_effect = item.removeprefix(f"{EFFECT}-"), _is_effect(site, item)
    if not any(member.id == by for member in site.in_force.people.members):
        raise PlanError(f"{item} is for a person who is declared to settle, and {by} is not",
                        hint="add --as PERSON, one of people.members")  # fmt: skip
    word = text.strip().split(" ", 1)[0].rstrip(":,;").lower()
    if word not in ((COMPENSATED, NOTED) if is_effect else (NOTED,)):
        words = f"{COMPENSATED} or {NOTED}" if is_effect else NOTED
        raise UsageError(f"{item} is settled by a text that begins with {words}",
                         hint=f"rollback answer {run.id} {item} '{words.split()[0]}: …'")  # fmt: skip
    if is_effect:
        _settle_once(site, run, identity, word, text, by=by)
    else:
        _note(site, run, item, text, by=by)


def _is_effect(site: Site, item: str) -> bool:
    return item.startswith(f"{EFFECT}-") and told(site, item.removeprefix(f"{EFFECT}-"))


def _settle_once(site: Site, run: Run, identity: str, how: str, text: str, *, by: str) -> None:
    for event in site.journal.events():
        if event.kind == "effect.settled" and event.data["effect"] == identity:
            raise PlanError(
                f"{EFFECT} {identity} was {event.data['how']} by {event.data['by']} at {event.at[:16]}Z",
                hint=f"nothing is left to do about it: rollback resume {run.id}",
            )
    site.tell("effect.settled", effect=identity, how=how, text=text, by=by, of=run.id)


def _note(site: Site, run: Run, item: str, text: str, *, by: str) -> None:
    open_ = run.verdict.get("unsettled")
    found = open_.get(item) if isinstance(open_, dict) else None
    if not found:
        raise PlanError(f"no gate of run {run.id} has found {item} diverging",
                        hint=f"ask the gate first: rollback resume {run.id}")  # fmt: skip
    site.note(run, "answer.given", item=item, text=text, by=by, found=found)


def _since(site: Site, plan: Plan) -> datetime | None:
    """From when the state is that is gone back to; None where nobody knows."""
    if plan.target.source != "checkpoint":
        return None
    with suppress(RollbackError):  # it was let go of meanwhile
        return parse_iso(site.checkpoints.get(plan.target.id).at)
    return None


def _reason(event: Event, run: str) -> str:
    data = event.data
    said = (
        f"irreversible: {data['what']} of {data['component']} at {iso(parse_iso(event.at))[:16]}Z"
    )
    item = f"{EFFECT}-{data['id']}"
    return (f"{said} came after what was gone back to; compensate it, once, or take note of it: "
            f"rollback answer {run} {item} {COMPENSATED} (or {NOTED}) --as PERSON")  # fmt: skip
