"""Delivery: a queued message on every channel of its audience at once, each with a deadline.

A channel that fails gives way to the one that is declared behind it (`fallback`), and so on. What
came of each is an answer, never an exception. Secrets and control characters have left the text
before: what is sent is what the journal holds.

Hides: that channels hang, fail and flood.
Never: raises for a channel; changes the outcome of a run; sends a text with an unfilled field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from rollback.host import Host
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.quantity import spoken
from rollback.model.registry import Kind, Planned
from rollback.model.step import NotifierKind
from rollback.model.system import System
from rollback.observe.deadline import alone, together
from rollback.tell.message import TEXT_CHARS_MAX, Outgoing, plain

DETAIL_CHARS_MAX = 300
CHANNELS_MAX = 20
CHAIN_MAX = 5  # a channel, and those behind it
DEADLINE_S = 10.0
ATTEMPTS_MAX = 3
TITLE_CHARS_MAX = 200

Chain = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of one message on one channel. `detail` is for people.

    `instead_of` is the channel that failed before, for which this one stands in.
    """

    message: str
    channel: str
    ok: bool
    detail: str
    instead_of: str = ""

    def data(self) -> dict[str, Json]:
        """As an event keeps it."""
        found: dict[str, Json] = {
            "id": self.message, "channel": self.channel, "detail": self.detail,
        }  # fmt: skip
        return {**found, "instead_of": self.instead_of} if self.instead_of else found


@runtime_checkable
class Delivers(Protocol):
    """What every notifier has."""

    def deliver(self, message: Outgoing, place: Path, host: Host) -> str:
        """ "" when it left, else why not; never raises. Relative paths are below `place`."""


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
            if key in waiting and unfilled(waiting[key]):
                waiting.pop(key)  # no later try fills it
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


def unfilled(event: Event) -> tuple[str, ...]:
    """The fields of a queued message that nobody filled in."""
    found = event.data.get("missing")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def chains(system: System, audience: str) -> tuple[Chain, ...]:
    """For each channel of an audience: itself, and those that stand in for it when it fails."""
    names = system.notify.audiences.get(audience, ())[:CHANNELS_MAX]
    return tuple(behind(system, name) for name in names)


def behind(system: System, channel: str) -> Chain:
    """The channel and those behind it, each once."""
    found = [channel]
    while len(found) < CHAIN_MAX:
        kind = system.notify.channels.get(found[-1])
        following = getattr(kind, "fallback", None)
        if following is None or following in found:
            break
        found.append(following)
    return tuple(found)


def is_near(system: System, channel: str) -> bool:
    """True for a channel that is done at once on this machine, so that a run may wait for it."""
    kind = system.notify.channels.get(channel)
    return kind is None or not isinstance(kind, NotifierKind) or kind.near


def left(system: System, event: Event, done: Iterable[str]) -> tuple[Chain, ...]:
    """The chains of a queued message of which no channel has it yet; `done` are those that have."""
    had = set(done)
    found = chains(system, str(event.data.get("audience", "")))
    return tuple(chain for chain in found if not had & set(chain))


def deliver(
    system: System, host: Host, event: Event, *, besides: Iterable[str] = (),
    near: bool | None = None, dead: frozenset[str] = frozenset(), deadline_s: float = DEADLINE_S,
) -> tuple[Delivery, ...]:  # fmt: skip
    """What came of the message on every channel that was tried, each within its deadline.

    Channels in `besides` have it already and do not get it again. `near` limits it to channels that
    are done at once, or to all others; those that are `dead` have just failed, and are not waited for.
    Nobody, and an unfilled field, are a failure without channel.
    """
    audience, key = str(event.data.get("audience", "")), str(event.data.get("id", ""))
    missing = unfilled(event)
    if missing:
        said = f"not sent: nobody filled in {', '.join(missing)}"
        return (Delivery(key, "", False, plain(said)[:DETAIL_CHARS_MAX]),)
    if not chains(system, audience):
        return (Delivery(key, "", False, f"nobody listens as {audience!r}"),)
    wanted = [
        chain for chain in left(system, event, besides)
        if near is None or near is is_near(system, chain[0])
    ]  # fmt: skip
    message = outgoing(event)
    works = [partial(_carry, system, host, message, chain, dead, deadline_s) for chain in wanted]
    longest = max(map(len, wanted), default=0)
    outcomes = together(works, within_s=longest * deadline_s + 1.0, clock=host.clock)
    found: list[Delivery] = []
    for chain, outcome in zip(wanted, outcomes, strict=True):
        found += outcome.result or (Delivery(key, chain[0], False, "its thread did not end"),)
    return tuple(found)


def outgoing(event: Event) -> Outgoing:
    """What a channel gets of a queued message; its title is one line."""
    title = " ".join(str(event.data.get("title", "")).split())
    return Outgoing(
        id=str(event.data.get("id", "")), name=str(event.data.get("name", "")),
        audience=str(event.data.get("audience", "")), title=title[:TITLE_CHARS_MAX],
        text=str(event.data.get("text", ""))[:TEXT_CHARS_MAX], run=event.run, at=event.at,
        urgent=bool(event.data.get("urgent", False)),
    )  # fmt: skip


def attempt(
    system: System, host: Host, message: Outgoing, channel: str, *, deadline_s: float = DEADLINE_S
) -> Delivery:
    """What came of the message on this channel alone, within the deadline."""
    kind, place = system.notify.channels.get(channel), system.declaration.parent
    outcome = alone(
        partial(_send, kind, message, place, host), within_s=deadline_s, clock=host.clock
    )
    if not outcome.finished:
        detail = f"no end within {spoken(deadline_s)}"
    elif outcome.error is not None:
        detail = f"{type(outcome.error).__name__}: {outcome.error}"
    else:
        detail = outcome.result or ""
    detail = plain(detail)[:DETAIL_CHARS_MAX]
    return Delivery(message.id, channel, not detail, detail or "delivered")


def _carry(
    system: System, host: Host, message: Outgoing, chain: Chain, dead: frozenset[str],
    deadline_s: float,
) -> tuple[Delivery, ...]:  # fmt: skip
    found: list[Delivery] = []
    for channel in chain:
        if channel in dead:
            one = Delivery(message.id, channel, False, "not tried: it failed a moment ago")
        else:
            one = attempt(system, host, message, channel, deadline_s=deadline_s)
        if found:
            one = Delivery(one.message, one.channel, one.ok, one.detail, instead_of=chain[0])
        found.append(one)
        if one.ok:
            break
    return tuple(found)


def _send(channel: Kind | None, message: Outgoing, place: Path, host: Host) -> str:
    if channel is None:
        return "the channel is not declared"
    if isinstance(channel, Planned):
        return f"{channel.planned_kind} is not built yet: {channel.missing}"
    if not isinstance(channel, Delivers):
        return f"{channel.kind} is no notifier"
    return channel.deliver(message, place, host)
