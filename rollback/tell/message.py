"""Messages: a declared text with its fields filled in, queued as an event, delivered from it.

Fields are plain `{name}`; there is no logic and no format inside. A message has an id made of run,
step and name, so that whoever delivers after a crash sends it once more at worst, and a receiver
can tell.

Hides: how texts are filled, and that channels hang, fail and flood.
Never: raises for a channel; changes the outcome of a run; says what the journal does not.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from rollback.host import Host
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.quantity import spoken
from rollback.model.registry import Kind, Planned
from rollback.model.system import System
from rollback.observe.deadline import Begun, Outcome

TEXT_CHARS_MAX = 8000
FIELD_CHARS_MAX = 1000
DETAIL_CHARS_MAX = 300
CHANNELS_MAX = 20
DEADLINE_S = 10.0
ATTEMPTS_MAX = 3
_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a channel gets."""

    id: str
    name: str
    audience: str
    title: str
    text: str
    run: str
    at: str
    urgent: bool = False

    def data(self) -> dict[str, Json]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one message on one channel. `detail` is for people."""

    message: str
    channel: str
    ok: bool
    detail: str

    def data(self) -> dict[str, Json]:
        """As an event keeps it."""
        return {"id": self.message, "channel": self.channel, "detail": self.detail}


@runtime_checkable
class Delivers(Protocol):
    """What every notifier has."""

    def deliver(self, message: Outgoing, place: Path, host: Host) -> str:
        """ "" when it left, else why not; never raises. Relative paths are below `place`."""


def render(text: str, fields: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The text with its fields filled in, and the names that nobody filled; those stay as written.

    >>> render("{title}: {what} {now", {"title": "Studio"})
    ('Studio: {what} {now', ('what',))
    """
    missing: list[str] = []

    def fill(found: re.Match[str]) -> str:
        name = found[1]
        if name in fields and fields[name] != "":
            return _plain(fields[name])[:FIELD_CHARS_MAX]
        missing.append(name)
        return found[0]

    filled = _FIELD.sub(fill, text)
    return filled[:TEXT_CHARS_MAX], tuple(dict.fromkeys(missing))


def fields_of(system: System, **given: str) -> dict[str, str]:
    """The fields that every message may use, with those that are given."""
    fixed = {
        "title": system.system.title, "system": system.system.id,
        "version": system.system.version, "owner": system.people.owner or "",
    }  # fmt: skip
    return {**fixed, **given}


def moment(at: str) -> str:
    """A moment of the journal as people read it; "" stays "".

    >>> moment("2026-11-20T21:30:05.123456Z")
    '2026-11-20 21:30:05 UTC'
    """
    return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else ""


def queued(
    system: System, name: str, fields: Mapping[str, str], *, run: str, step: str,
    audience: str = "",
) -> dict[str, Json]:  # fmt: skip
    """The data of the event `message.queued` for a declared message."""
    message = system.notify.messages[name]
    text, missing = render(message.text, fields)
    title, more = render(message.title or "{title}", fields)
    required = [field for field in message.fields if not fields.get(field)]
    unfilled: list[Json] = list(dict.fromkeys((*missing, *more, *required)))
    return {
        "id": f"{run}/{step}/{name}", "name": name, "step": step, "title": title, "text": text,
        "audience": audience or message.audience, "urgent": message.urgent, "missing": unfilled,
    }  # fmt: skip


def due_in(system: System, state: str) -> tuple[str, ...]:
    """The messages that this state of a run sends."""
    word = state.lower().replace("_", "-")
    return tuple(name for name, message in system.notify.messages.items() if word in message.on)


def undelivered(events: Iterable[Event]) -> tuple[Event, ...]:
    """Queued messages that have not reached every channel and may be tried again, oldest first."""
    waiting: dict[str, Event] = {}
    failures: dict[str, Counter[str]] = {}
    for event in events:
        key = str(event.data.get("id", ""))
        if event.kind == "message.queued":
            waiting.setdefault(key, event)  # queued twice is one message
        elif event.kind == "message.delivered":
            waiting.pop(key, None) if not event.data.get("channel") else None
        elif event.kind == "message.failed":
            channels = failures.setdefault(key, Counter())
            channels[str(event.data.get("channel", ""))] += 1
    return tuple(
        event for key, event in waiting.items()
        if max(failures.get(key, Counter[str]()).values(), default=0) < ATTEMPTS_MAX
    )  # fmt: skip


def reached(events: Iterable[Event], message: str) -> tuple[str, ...]:
    """The channels that have delivered this message already, as the journal says."""
    found = (
        event.data.get("channel") for event in events
        if event.kind == "message.delivered" and event.data.get("id") == message
    )  # fmt: skip
    return tuple(dict.fromkeys(str(channel) for channel in found if channel))


class Sending:
    """A message that is on its way, on every channel of its audience at once.

    Channels in `besides` have it already and do not get it again. Never raises: a channel that is
    down is an answer.
    """

    def __init__(
        self, system: System, host: Host, event: Event, *, besides: Iterable[str] = (),
        deadline_s: float = DEADLINE_S,
    ) -> None:  # fmt: skip
        message = Outgoing(
            id=str(event.data.get("id", "")), name=str(event.data.get("name", "")),
            audience=str(event.data.get("audience", "")), title=str(event.data.get("title", "")),
            text=str(event.data.get("text", ""))[:TEXT_CHARS_MAX], run=event.run, at=event.at,
            urgent=bool(event.data.get("urgent", False)),
        )  # fmt: skip
        self.message, self._clock, self._deadline_s = message, host.clock, deadline_s
        names = system.notify.audiences.get(message.audience, ())[:CHANNELS_MAX]
        self._nobody = not names
        self._names = tuple(name for name in names if name not in set(besides))
        place, known = system.declaration.parent, system.notify.channels
        self._ends_s = host.clock.boot_s() + deadline_s
        self._begun = Begun(
            [partial(_send, known.get(name), message, place, host) for name in self._names]
        )

    def outcome(self, *, within_s: float = math.inf) -> tuple[Delivery, ...] | None:
        """What came of it on every channel; None when one has time left and `within_s` is over."""
        if self._nobody:
            said = f"nobody listens as {self.message.audience!r}"
            return (Delivery(self.message.id, "", False, said),)
        left_s = self._ends_s - self._clock.boot_s()
        outcomes = self._begun.outcomes(within_s=max(0.0, min(within_s, left_s)), clock=self._clock)
        if not all(one.finished for one in outcomes) and within_s < left_s:
            return None
        return tuple(map(self._told, self._names, outcomes))

    def _told(self, channel: str, outcome: Outcome[str]) -> Delivery:
        if not outcome.finished:
            detail = f"no end within {spoken(self._deadline_s)}"
        elif outcome.error is not None:
            detail = f"{type(outcome.error).__name__}: {outcome.error}"
        else:
            detail = outcome.result or ""
        detail = _plain(detail)[:DETAIL_CHARS_MAX]
        return Delivery(self.message.id, channel, not detail, detail or "delivered")


def deliver(
    system: System, host: Host, event: Event, *, besides: Iterable[str] = (),
    deadline_s: float = DEADLINE_S,
) -> tuple[Delivery, ...]:  # fmt: skip
    """What came of the message on every channel of its audience, within the deadline."""
    sending = Sending(system, host, event, besides=besides, deadline_s=deadline_s)
    found = sending.outcome()
    assert found is not None, "it was waited for"
    return found


def _send(channel: Kind | None, message: Outgoing, place: Path, host: Host) -> str:
    if channel is None:
        return "the channel is not declared"
    if isinstance(channel, Planned):
        return f"{channel.planned_kind} is not built yet: {channel.missing}"
    if not isinstance(channel, Delivers):
        return f"{channel.kind} is no notifier"
    return channel.deliver(message, place, host)


def _plain(text: str) -> str:
    """Without control characters, which a terminal or a mail would obey."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)
