"""The journal of a system with a second place for intent, for the minute in which the first hangs.

Where a run is an emergency, and the journal takes no event within 200 ms, its events go to a chain
of their own in the declared fallback. The next append that succeeds begins with one event that
holds them and names their digest, so that the journal is whole again.

Hides: which of the two holds an event; that merged events stand inside of another.
Never: uses the second place where nobody declared an emergency; merges an event twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rollback.host import Host, Tree
from rollback.host.below import why
from rollback.keep.journal import EVENTS, TURN_S, Journal, Redact
from rollback.model.errors import HostError, JournalCorrupt, JournalError
from rollback.model.event import Event, digest, read_body
from rollback.model.finding import Json

EMERGENCY_S = 0.2
MERGED = "journal.merged"
_DOMAIN = "rollback-merged-v1"


class TwoPlaces(Journal):
    """A journal that has a fallback. `emergency()` allows its use from then on."""

    def __init__(
        self, tree: Tree, host: Host, *, fallback: Path, redact: Redact | None = None,
        anchor: Path | None = None,
    ):  # fmt: skip
        super().__init__(tree, host, redact=redact, anchor=anchor)
        self._fallback = fallback
        self._second: Journal | None = None
        self._allowed = False
        self._aside = False

    def close(self) -> None:
        """Both descriptors are given back."""
        super().close()
        if self._second is not None:
            self._second.close()

    def emergency(self) -> None:
        """An event that the first place does not take in time goes to the second one."""
        self._allowed = True

    def append(self, kind: str, *, run: str = "", data: dict[str, Json] | None = None) -> Event:
        """As Journal.append; once an event went aside, all later ones of this process follow it."""
        ready = self._redact(data or {})
        if not self._aside:
            try:
                return self.write(
                    kind, run, ready, within_s=EMERGENCY_S if self._allowed else TURN_S
                )
            except JournalCorrupt:
                raise
            except JournalError as error:
                if not self._allowed:
                    raise
                self._aside = True
                why = error.message
        else:
            why = ""
        return self._write_aside(kind, run, ready, why)

    def events(self) -> list[Event]:
        """All events in the order in which they happened, merged ones and those still aside too."""
        chain = self._chain()
        found: list[Event] = []
        for event in chain:
            found += [*merged(event), event] if event.kind == MERGED else [event]
        return found + self._waiting(chain)

    def verify(self) -> tuple[int, str, int]:
        """As Journal.verify; what was merged, and what still waits, is proved too."""
        proved = super().verify()
        self.events()
        return proved

    # -- inside ----------------------------------------------------------------------------

    def _append(self, kind: str, run: str, data: dict[str, Json]) -> Event:
        """Under the lock of the first place, so that two processes cannot both merge."""
        if self._exists():
            waiting = self._waiting(self._chain())
            if waiting:
                super()._append(MERGED, "", _body(waiting, self._open().events()[0].hash))
        return super()._append(kind, run, data)

    def _write_aside(self, kind: str, run: str, data: dict[str, Json], why: str) -> Event:
        try:
            second = self._open()
            if why:
                second.write("journal.aside", "", {"because": why}, within_s=EMERGENCY_S)
            return second.write(kind, run, data, within_s=EMERGENCY_S)
        except JournalError as error:
            raise JournalError(
                f"neither the journal nor its fallback can be written: {error.message}",
                where=str(self._fallback),
                hint="nothing was done; make one of them writable, then type the command again",
            ) from error

    def _waiting(self, chain: list[Event]) -> list[Event]:
        """The events of the second place that the first does not hold yet."""
        if not self._exists():
            return []
        aside = self._open().events()
        known = [
            event.data for event in chain
            if event.kind == MERGED and aside and event.data["chain"] == aside[0].hash
        ]  # fmt: skip
        if not known:
            return aside  # none of it is merged; an earlier fallback was cleared away, perhaps
        count, head = int(str(known[-1]["last"])), known[-1]["head"]
        if count > len(aside) or aside[count - 1].hash != head:
            raise JournalCorrupt(
                "the fallback is not the one that was merged: it was cut or rewritten", seq=count,
                where=str(self._fallback), hint="keep both files, and find out who did it",
            )  # fmt: skip
        return aside[count:]

    def _exists(self) -> bool:
        return self._second is not None or (self._fallback / EVENTS.decode()).exists()

    def _open(self) -> Journal:
        if self._second is None:
            try:
                if not self._fallback.is_dir():
                    with self._host.tree(str(self._fallback.parent)) as above:
                        above.make_folder(self._fallback.name)
                self._second = Journal(self._host.tree(str(self._fallback)), self._host)
            except (OSError, HostError) as error:
                raise JournalError(
                    f"the fallback cannot be opened: {why(error)}", where=str(self._fallback)
                ) from error
        return self._second


def merged(event: Event) -> Iterator[Event]:
    """The events that a `journal.merged` event holds. Raises: JournalCorrupt."""
    bodies: Any = event.data["events"]
    if digest(bodies, domain=_DOMAIN) != event.data["digest"]:
        raise JournalCorrupt("merged events do not match their digest", seq=event.seq)
    for body in bodies:
        yield read_body(body)


def _body(waiting: list[Event], chain: str) -> dict[str, Json]:
    bodies: list[Json] = [{**event.body(), "hash": event.hash} for event in waiting]
    return {
        "events": bodies, "digest": digest(bodies, domain=_DOMAIN), "first": waiting[0].seq,
        "last": waiting[-1].seq, "head": waiting[-1].hash, "chain": chain,
    }  # fmt: skip
