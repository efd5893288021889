"""What people and programs tell the journal: declared events, drills, facts that hold for a while.

Hides: how a fact ends.
Never: takes what is not declared; starts anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from rollback.act import rehearsed, strength, unsettled
from rollback.act.site import Site
from rollback.host.clock import iso, parse_iso
from rollback.judge.condition import Told
from rollback.model.errors import PlanError, Refused, UsageError
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.lifecycle import State
from rollback.model.operations import EventKind
from rollback.model.quantity import duration_s
from rollback.model.registry import nearest
from rollback.model.system import System

DEPLOYMENT = "deployment"
When = Callable[[Event], datetime]
_IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,199}\Z", re.ASCII)
_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}


def tell_event(
    site: Site, kind: str, fields: Mapping[str, str], *, by: str, identity: str = ""
) -> Event | None:
    """The event is in the journal; None when one with this `identity` was told before.

    `kind` is a declared event, `drill` where drills are declared, or `effect` where a component declares
    `irreversible`.

    Raises: PlanError for one that is not declared; UsageError for a field that is not, or is not of
    its type; Refused for a deployment while a run is open.
    """
    if identity and not _IDENTITY.match(identity):
        raise UsageError(
            f"--id {identity!r} is no id", hint="letters, digits and . _ : / - inside it"
        )
    if kind == unsettled.EFFECT and kind not in site.system.events:
        if identity and unsettled.told(site, identity):
            return None
        return unsettled.tell_effect(site, fields, by=by, identity=identity)
    if kind == strength.EVENT and kind not in site.system.events and strength.wanted(site.system):
        raise strength.no_word()
    typed = _fields(site.system, kind, fields)
    if identity and _was_told(site, identity):
        return None
    if kind == DEPLOYMENT and site.system.guardrails.no_deployment_during_run:
        _no_run_open(site)
    if kind == rehearsed.EVENT and kind not in site.system.events:
        passed = rehearsed.ENDED[0 if typed["passed"] is True else 1]
        return site.tell(passed, fields=typed, by=by, id=identity)
    return site.tell("event.told", event=kind, fields=typed, by=by, id=identity)


def _was_told(site: Site, identity: str) -> bool:
    kinds = ("event.told", *rehearsed.ENDED)
    return any(one.kind in kinds and one.data.get("id") == identity
               for one in site.journal.events())  # fmt: skip


def tell_facts(site: Site, facts: Mapping[str, str], *, by: str, for_s: float) -> None:
    """Each fact is in the journal, and holds until its time is over or it is told anew.

    Raises: UsageError, before any is written, for one that nothing asks for.
    """
    known = facts_asked(site.system)
    for name in facts:
        if name not in known:
            near = nearest(name, known) or "a rule asks for one with: when: {fact: NAME, is: true}"
            raise UsageError(f"nothing asks for a fact {name}", hint=near)
    until = iso(site.host.clock.now() + timedelta(seconds=for_s))
    for name, value in facts.items():
        site.tell("fact.told", name=name, value=value, by=by, until=until)


def facts_asked(system: System) -> tuple[str, ...]:
    """Every fact that a rule, a guardrail, a prerequisite, a practice or a repair asks for, sorted."""
    said = set(_texts(system.source, "fact"))
    repairs = {
        str(name) for one in _values(system.source, "attempt") for name in _texts(one, "task")
    }
    return tuple(sorted(said | repairs | {f"practice_{one.id}" for one in system.prevention}))


def _texts(written: object, key: str) -> Iterator[str]:
    return (value for value in _values(written, key) if isinstance(value, str))


def _values(written: object, key: str) -> Iterator[object]:
    """What is written below this key, wherever it stands."""
    if isinstance(written, Mapping):
        for name, value in written.items():
            if name == key:
                yield value
            yield from _values(value, key)
    elif isinstance(written, (list, tuple)):
        for value in written:
            yield from _values(value, key)


def written_at(event: Event) -> datetime:
    """When the event was, as the clock stood then."""
    return parse_iso(event.at)


def events_of(events: Iterable[Event], when: When = written_at) -> tuple[Told, ...]:
    """The declared events that were told, oldest first; `when` says when each happened."""
    found = []
    for event in events:
        fields = event.data.get("fields")
        if event.kind == "event.told" and isinstance(fields, dict):
            at, said = when(event), event.data.get("happened")
            if isinstance(said, str):  # it was read from a log, which says when it was
                at = min(at, parse_iso(said))
            found.append(Told(str(event.data.get("event")), at, fields))
    return tuple(found)


def facts_of(events: Iterable[Event], now: datetime, when: When = written_at) -> dict[str, str]:
    """The facts that hold: each as it was last told, unless its time is over.

    A fact holds for as long as was said, whatever becomes of the wall clock meanwhile.
    """
    found: dict[str, tuple[str, datetime]] = {}
    for event in events:
        if event.kind == "fact.told":
            lasts = parse_iso(str(event.data["until"])) - parse_iso(event.at)
            found[str(event.data["name"])] = (str(event.data["value"]), when(event) + lasts)
    return {name: value for name, (value, until) in found.items() if until > now}


def _fields(system: System, kind: str, fields: Mapping[str, str]) -> dict[str, Json]:
    declared = system.events.get(kind)
    if declared is not None:
        return {name: _typed(name, text, declared.fields) for name, text in fields.items()}
    drills = [one.id for one in system.drills]
    if kind != rehearsed.EVENT or not drills:
        known = (*system.events, *([rehearsed.EVENT] if drills else []))
        declare = f"declare it: events: {{{kind}: {{title: …}}}}"
        raise PlanError(f"no event {kind} is declared", hint=nearest(kind, known) or declare)
    for name in ("id", "passed"):
        if name not in fields:
            hint = f"rollback event drill id={drills[0]} passed=true mitigated=12s"
            raise UsageError(f"a drill has a field {name}", hint=hint)
    if fields["id"] not in drills:
        raise PlanError(f"there is no drill {fields['id']}", hint=nearest(fields["id"], drills))
    return {name: _typed(name, text, rehearsed.FIELDS) for name, text in fields.items()}


def fitting(event: EventKind, words: Mapping[str, Json]) -> dict[str, Json]:
    """What these words say of the declared fields, typed; a number that is none is left out."""
    found: dict[str, Json] = {}
    for name in event.fields:
        said = words.get(name)
        if said is not None and not isinstance(said, (dict, list)):
            text = str(said).lower() if isinstance(said, bool) else str(said)
            with suppress(UsageError):
                found[name] = _typed(name, text, event.fields)
    return found


def _typed(name: str, text: str, declared: Mapping[str, str]) -> Json:
    wanted = declared.get(name)
    if wanted is None:
        raise UsageError(f"there is no field {name}", hint=nearest(name, tuple(declared)))
    if wanted == "bool" and text.lower() in _TRUTHS:
        return _TRUTHS[text.lower()]
    if wanted == "number":
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if value == value and abs(value) != float("inf"):
            return int(value) if value.is_integer() and "." not in text else value
    if wanted == "duration":
        with suppress(ValueError):
            return duration_s(text)
    if wanted == "text":
        return text
    raise UsageError(f"{name}={text} is no {wanted}", hint=f"write {name}={_EXAMPLES[wanted]}")


_EXAMPLES = {"bool": "true", "number": "3.5", "duration": "12s"}


def _no_run_open(site: Site) -> None:
    from rollback.act.asked import holds_up  # who is asked knows what was told

    for run in site.runs().values():
        if holds_up(site, run) or (run.state is State.NEEDS_OPERATOR and run.steps):
            end = f"end it with: rollback abort {run.id}; or " if run.state is State.WAITING else ""
            raise Refused(
                "no-deployment-during-run", f"run {run.id} is open: it is {run.state}",
                hint=f"{end}deploy when it has ended: rollback watch {run.id}",
            )  # fmt: skip
