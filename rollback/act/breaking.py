"""Which circuit breakers are open, read from the journal, and what a trial said of one, written to it.

A breaker opens with the run that it led to.

Hides: which events say so.
Never: opens one by itself.
"""

from __future__ import annotations

from datetime import datetime

from rollback.act.site import Site
from rollback.act.told import When
from rollback.judge.breaker import trials
from rollback.judge.condition import Known

CLOSED, REOPENED = "breaker.closed", "breaker.reopened"


def tripped(site: Site, now: datetime, when: When) -> dict[str, float]:
    """The breakers that opened and have not closed since, with how many seconds ago."""
    mine = {one.id for one in site.system.decision.breakers if one.reset_after is not None}
    found: dict[str, float] = {}
    for event in site.journal.events() if mine else ():
        name = str(event.data.get("trigger" if event.kind == "run.planned" else "id"))
        if name in mine and event.kind in ("run.planned", REOPENED):
            found[name] = (now - when(event)).total_seconds()
        elif event.kind == CLOSED:
            found.pop(name, None)
    return found


def note(site: Site, known: Known) -> None:
    """What this look said to a breaker that was half open is in the journal."""
    for one in trials(site.system, known):
        site.tell(REOPENED if one.open else CLOSED, run="", id=one.breaker, because=one.because)
