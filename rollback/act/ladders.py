"""Ladders as the journal tells them: which are climbed, who was called, who acknowledged.

Hides: which events a ladder is made of.
Never: calls anybody; takes silence for an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rollback.act.site import Site
from rollback.host.clock import moment_of
from rollback.judge.ladder import Word
from rollback.model.errors import PlanError
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.registry import nearest


@dataclass
class Climbed:
    """One ladder that began: `about` is its run ("" for none), `by` who acknowledged it.

    `done` says of each rung whether it was called or passed over, `called` which roles were, in order.
    """

    id: str
    ladder: str
    about: str
    incident: str
    because: str
    cause: str
    begun: Event
    done: dict[int, Word] = field(default_factory=dict)
    called: list[str] = field(default_factory=list)
    by: str = ""
    silent: bool = False
    ended: str = ""

    @property
    def open(self) -> bool:
        """True while it is climbed."""
        return not (self.by or self.silent or self.ended)

    @property
    def unanswered(self) -> bool:
        """True while nobody acknowledged it and its cause stands."""
        return not (self.by or self.ended)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a person has to make, until somebody acknowledges the message that asks for it."""

    message: str
    title: str
    owner: str
    run: str
    at: str


def ladders(events: Sequence[Event]) -> list[Climbed]:
    """Every ladder that ever began, oldest first."""
    found: dict[str, Climbed] = {}
    for event in events:
        data = event.data
        if event.kind == "ladder.begun":
            one = Climbed(
                id=str(data["id"]), ladder=str(data["ladder"]), about=event.run,
                incident=str(data.get("incident", "")), because=str(data["because"]),
                cause=str(data.get("cause", "")), begun=event,
            )  # fmt: skip
            found.setdefault(one.id, one)
        elif event.kind == "alert.acknowledged":
            for name in _texts(data.get("ladders")):
                if name in found:
                    found[name].by = found[name].by or str(data.get("by"))
        elif event.kind.startswith("ladder.") and (known := found.get(str(data.get("id")))):
            _move(known, event)
    return list(found.values())


def calls(events: Sequence[Event]) -> list[Call]:
    """The calls that people have to make and that nobody has acknowledged, oldest first."""
    found: dict[str, Call] = {}
    for event in events:
        if event.kind == "task.opened" and event.data.get("message"):
            key = str(event.data["message"])
            found[key] = Call(
                key, str(event.data.get("title", "")), str(event.data.get("owner", "")), event.run, event.at
            )  # fmt: skip
        elif event.kind == "alert.acknowledged":
            for key in _texts(event.data.get("messages")):
                found.pop(key, None)
    return list(found.values())


def acknowledged(site: Site, run: str) -> bool:
    """True when somebody has acknowledged a ladder about this run."""
    return any(one.about == run and one.by for one in ladders(site.journal.events()))


def named(site: Site, one: Climbed) -> str:
    """The ladder as people know it, and the run that it is about."""
    declared = site.system.notify.ladders.get(one.ladder)
    title = (declared.title if declared else None) or one.ladder
    return f"{title}, about run {one.about}" if one.about else title


def taken(site: Site, name: str) -> Event | None:
    """That somebody took what `name` means ("" for anything), the newest time that it was to be taken."""
    events = site.journal.events()
    mine = {one.id for one in ladders(events) if _meant(events, one, name)}
    fits = [
        event for event in events
        if event.kind == "alert.acknowledged" and (
            mine & {*_texts(event.data.get("ladders"))} or not name
            or name in (event.run, *_texts(event.data.get("messages"))))
    ]  # fmt: skip
    return fits[-1] if fits else None


def over(site: Site, name: str) -> str:
    """Why nobody is called any more about the newest of what `name` means; "" when nobody ever was."""
    events = site.journal.events()
    ended = [one.ended for one in ladders(events) if one.ended and _meant(events, one, name)]
    return ended[-1] if ended else ""


def acknowledge(site: Site, name: str, *, by: str) -> Event | None:
    """Somebody has taken it: the ladders and calls that `name` means climb and wait no more.

    `name` is an incident, a run, a message or a ladder; "" means whatever is open. None when all of it
    was acknowledged before, or is over. Raises: PlanError when nothing of that name waits for anybody.
    """
    events = site.journal.events()
    known, waiting = ladders(events), calls(events)
    mine = [one for one in known if one.unanswered and _meant(events, one, name)]
    messages = [one.message for one in waiting if not name or name in (one.message, one.run)]
    messages += [str(e.data["id"]) for e in events if e.kind == "message.queued"
                 and any(_rung_of(e, one) for one in mine)]  # fmt: skip
    if not mine and not messages:
        before = taken(site, name)
        if name and (before is not None or over(site, name)):
            return None
        open_ = [one.about or one.ladder for one in known if one.unanswered]
        some = tuple(dict.fromkeys([*open_, *(one.run or one.message for one in waiting)]))
        if not name or not some:
            who = (
                f": {before.data['by']} took it at {before.at[:16]}Z" if before is not None else ""
            )
            raise PlanError(f"nothing waits for an acknowledgement{who}", where=name,
                            hint="rollback status says what is open")  # fmt: skip
        raise PlanError(
            f"nothing about {name} waits for an acknowledgement", hint=nearest(name, some)
        )
    about = {one.about for one in mine} or {one.run for one in waiting if one.message in messages}
    run = about.pop() if len(about) == 1 else ""
    age_s = [_age_s(site, one.begun) for one in mine]
    return site.tell(
        "alert.acknowledged", run=run, by=by, ladders=[one.id for one in mine],
        messages=list[Json](dict.fromkeys(messages)), after_s=round(max(age_s), 3) if age_s else None,
    )  # fmt: skip


def taken_with_a_no(site: Site, run: str, *, by: str) -> None:
    """Whoever is called about the run need not come any more: this person has said no to it."""
    events = site.journal.events()
    if any(one.about == run and one.unanswered for one in ladders(events)):
        acknowledge(site, run, by=by)


def _move(one: Climbed, event: Event) -> None:
    number = event.data.get("rung")
    if event.kind == "ladder.called" and isinstance(number, int):
        one.done[number] = "called"
        one.called.append(str(event.data.get("role")))
    elif event.kind == "ladder.passed" and isinstance(number, int):
        one.done.setdefault(number, "passed")
    elif event.kind == "ladder.silent":
        one.silent = True
    elif event.kind == "ladder.ended":
        one.ended = str(event.data.get("because"))


def _meant(events: Sequence[Event], one: Climbed, name: str) -> bool:
    """True when the name is that of the ladder, of what it is about, or of a message that called for it."""
    if not name or name in (one.id, one.ladder, one.about, one.incident):
        return True
    return any(
        event.kind == "message.queued" and name in (event.data.get("id"), event.data.get("name"))
        and _rung_of(event, one) for event in events
    )  # fmt: skip


def _rung_of(event: Event, one: Climbed) -> bool:
    return str(event.data.get("step", "")).rpartition("-")[0] == f"ladder-{one.id}"


def _age_s(site: Site, event: Event) -> float:
    clock = site.host.clock
    return (clock.now() - moment_of(clock, event.at, event.boot, event.boot_s)).total_seconds()


def _texts(found: Json) -> list[str]:
    return [str(one) for one in found] if isinstance(found, list) else []
