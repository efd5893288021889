"""Delivering what is queued: from the journal, near channels at once, all others in a process of its own.

Who drives a run writes to files and goes on; whatever may be slow or away is carried by
`rollback notify deliver`, which nobody waits for. Both read what is left from the journal, behind a
cursor, and take turns, so that a message arrives once although several are at it.

Hides: where the cursor is, and how the process is started.
Never: holds a run up for longer than NEAR_S for each message; sends again what the journal says arrived.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rollback.act.site import Site
from rollback.host import leaving
from rollback.host.clock import moment_of
from rollback.model.errors import HostError, RunLocked
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.step import NotifierKind
from rollback.tell import delivery
from rollback.tell.delivery import Delivery

FOLDER = "notify"
CURSOR = f"{FOLDER}/cursor.json"
NEAR_S = 2.0
WAITS_S = 60.0  # a process that delivers waits so long for another one
WHOLE_S = 180.0  # and works so long at most; what is left is the next one's
AGAIN_S = 60.0  # a channel that failed is tried again after this, then after four times as long


def leave(site: Site) -> None:
    """What is queued has left on near channels; the rest is on its way in a process of its own."""
    if not _due(site):
        return
    _carry(site, near=True, wait_s=NEAR_S)
    events = site.journal.events()
    if any(_far_left(site, e) and _is_time(site, e, events) for e in _due(site, events)):
        _start(site)


def deliver(site: Site) -> tuple[Delivery, ...]:
    """Everything that is due has been tried once, on every channel; the cursor stands behind it.

    Who comes while another one delivers waits for its end. Raises: RunLocked when that does not come.
    """
    found = [*_carry(site, near=True, wait_s=WAITS_S), *_carry(site, near=False, wait_s=WAITS_S)]
    _advance(site)
    return tuple(found)


def waiting(site: Site) -> tuple[Event, ...]:
    """The queued messages that have not arrived everywhere, and may be tried again, oldest first."""
    return tuple(_due(site))


# -- inside --------------------------------------------------------------------------------


def _carry(site: Site, *, near: bool, wait_s: float) -> tuple[Delivery, ...]:
    found: list[Delivery] = []
    tried: set[str] = set()
    dead: set[str] = set()
    clock = site.host.clock
    ends_s = clock.boot_s() + WHOLE_S
    with _turn(site, near, wait_s) as mine:
        while mine and clock.boot_s() < ends_s:
            events = site.journal.events()
            fresh = [e for e in _due(site, events) if str(e.data["id"]) not in tried]
            fresh = [e for e in fresh if near or _is_time(site, e, events)]
            if not fresh:
                break
            event = fresh[0]  # one after another: a channel hears of them in their order
            tried.add(str(event.data["id"]))
            before = delivery.reached(events, str(event.data["id"]))
            outcomes = delivery.deliver(
                site.system, site.host, event, besides=before, near=near, dead=frozenset(dead),
                deadline_s=NEAR_S if near else delivery.DEADLINE_S,
            )  # fmt: skip
            dead |= {one.channel for one in outcomes if not one.ok}
            _note(site, event, outcomes, before)
            found += outcomes
    return tuple(found)


@contextmanager
def _turn(site: Site, near: bool, wait_s: float) -> Iterator[bool]:
    """Nobody else delivers so meanwhile; a driver that is not let in at once leaves it to the other."""
    site.state.tree.make_folder(FOLDER)
    name = f"{FOLDER}/{'near' if near else 'far'}.lock"
    try:
        with site.state.tree.lock(name, clock=site.host.clock, within_s=wait_s):
            yield True
    except RunLocked as error:
        if not error.where.endswith(name) or wait_s > NEAR_S:
            raise
        yield False


def _note(site: Site, event: Event, outcomes: Sequence[Delivery], before: tuple[str, ...]) -> None:
    about: dict[str, Json] = {"id": event.data["id"], "name": event.data.get("name", "")}
    for one in outcomes:
        if not one.ok:
            site.tell("message.failed", run=event.run, name=about["name"], **one.data())
    new = [one for one in outcomes if one.ok]
    for one in new:
        _open_call(site, event, one.channel)
    gone = [*before, *(one.channel for one in new)]
    nowhere = any(not one.ok and not one.channel for one in outcomes)
    if not nowhere and not delivery.left(site.system, event, gone):
        instead: dict[str, Json] = {one.channel: one.instead_of for one in new if one.instead_of}
        more: dict[str, Json] = {"instead_of": instead} if instead else {}
        site.tell("message.delivered", run=event.run, channels=[*gone], **about, **more)
        return
    for one in new:
        more = {"instead_of": one.instead_of} if one.instead_of else {}
        site.tell("message.delivered", run=event.run, channel=one.channel, **about, **more)


def _open_call(site: Site, event: Event, channel: str) -> None:
    """A channel that is a person's to carry is a task of theirs, until somebody acknowledges it."""
    kind = site.system.notify.channels.get(channel)
    if not isinstance(kind, NotifierKind) or not kind.by_person:
        return
    role = str(getattr(kind, "role", None) or site.system.people.owner)
    site.tell(
        "task.opened", run=event.run, name=f"call-{channel}", step=event.data.get("step", ""),
        title=f"Call {getattr(kind, 'who', role)}: {event.data.get('text', '')}", owner=role,
        because=f"message {event.data.get('name', '')}", message=event.data["id"],
    )  # fmt: skip


def _due(site: Site, events: list[Event] | None = None) -> list[Event]:
    known = site.journal.events() if events is None else events
    return list(delivery.undelivered(known[_cursor(site, known) :]))


def _far_left(site: Site, event: Event) -> bool:
    if delivery.unfilled(event):
        return False
    done = delivery.reached(site.journal.events(), str(event.data["id"]))
    return any(
        not delivery.is_near(site.system, chain[0])
        for chain in delivery.left(site.system, event, done)
    )


def _is_time(site: Site, event: Event, events: list[Event]) -> bool:
    """A failure is not tried again at once: whoever was away needs a while to come back."""
    failed = [
        e for e in events if e.kind == "message.failed" and e.data.get("id") == event.data["id"]
    ]
    if not failed:
        return True
    times = max(Counter(str(e.data.get("channel")) for e in failed).values())
    clock, last = site.host.clock, failed[-1]
    at = moment_of(clock, last.at, last.boot, last.boot_s)
    return bool((clock.now() - at).total_seconds() >= AGAIN_S * 4 ** (times - 1))


def _cursor(site: Site, events: Sequence[Event]) -> int:
    """How many events are behind: nothing queued in them is left. 0 where that is not known for sure."""
    try:
        found = json.loads(site.state.tree.read(CURSOR))
        count, head = int(found["count"]), str(found["head"])
    except (OSError, HostError, ValueError, KeyError, TypeError):
        return 0
    known = 0 < count <= len(events) and events[count - 1].hash == head
    return count if known else 0


def _advance(site: Site) -> None:
    events = site.journal.events()
    due = _due(site, events)
    count = next((n for n, event in enumerate(events) if due and event == due[0]), len(events))
    if count > _cursor(site, events):
        body = {"count": count, "head": events[count - 1].hash}
        site.state.tree.write(CURSOR, json.dumps(body).encode())


def _start(site: Site) -> None:
    """A process that delivers is on its way; that it could not be started is a failure like others."""
    declaration = site.system.declaration
    words = (sys.executable, "-I", "-m", "rollback", "--system", str(declaration),
             "--state", str(site.state.path), "notify", "deliver")  # fmt: skip
    try:
        leaving.leave(words, cwd=str(declaration.parent), tap=site.host.tap)
    except HostError as error:
        for event in _due(site):
            if _far_left(site, event):
                one = Delivery(str(event.data["id"]), "", False, str(error)[:200])
                _note(site, event, (one,), ())
