"""A gate's settling time: smoke is asked again until the system has been seen well for that long.

It begins when everything that the gate asks has held once. Time counts only where two looks lie close
together: while the driver was dead, or the run waited for one, nobody saw anything, and that is made
up for. So the last look is never older than the end.

Hides: how often is looked, and whether the driver stays for it or the run waits meanwhile.
Never: asks anything itself; counts time that nobody saw.
"""

from __future__ import annotations

from itertools import pairwise

from rollback.act.site import Site
from rollback.model.event import Event
from rollback.model.finding import Json
from rollback.model.lifecycle import Run
from rollback.model.quantity import counted, spoken

WHAT = "settle"
STAYS_S = 120.0  # the driver stays for a settling time up to this; a longer one is a timer
_LOOKS = 12  # about so many in a settling time, none closer or further apart than this
_EVERY_S = (1.0, 300.0)
_NEAR = 3.0  # two looks lie close together when no more than so many of their distances fit between


def begun(site: Site, run: Run) -> bool:
    """True when everything has held once since the gate was last asked anew, and it is settling."""
    return bool(_looks(site, run))


def begin(site: Site, run: Run, settle_s: float) -> Run:
    """From now on it is settling."""
    return site.note(run, "timer.set", what=WHAT, for_s=settle_s)


def red(site: Site, run: Run) -> list[str]:
    """Why a look since the beginning found it ill; empty when none did."""
    return [
        f"smoke, while it settled: {reason}"
        for event in _since(site, run)
        if event.kind == "suite.ended" and not event.data.get("open")
        for reason in _list(event.data.get("reasons"))
    ]


def looked(site: Site, run: Run, *, took_s: float, passed: int) -> Run:
    """One more look has found the system well; it took so long."""
    seen: Json = {"smoke": {"value": passed, "unit": "passed"}}
    return site.note(run, "sample.read", step=WHAT, good=True, took_s=round(took_s, 6), values=seen)


def left_s(site: Site, run: Run, settle_s: float) -> float:
    """Seconds for which the system has still to be seen well; 0 when it has settled."""
    near_s = _NEAR * every_s(settle_s)
    if settle_s > STAYS_S:
        near_s = max(near_s, _NEAR * site.system.monitor.interval)  # the agent looks at its ticks
    seen_s, looks = 0.0, _looks(site, run)
    for before, look in pairwise(looks):
        took_s = float(str(look.data["took_s"]))
        unseen_s = look.boot_s - took_s - before.boot_s
        seen_s += took_s
        if look.boot == before.boot and unseen_s <= near_s:
            seen_s += max(0.0, unseen_s)
    return max(0.0, settle_s - seen_s)


def pause(site: Site, run: Run, settle_s: float) -> Run:
    """The time until the next look has passed, or the run waits for it."""
    left = left_s(site, run, settle_s)
    next_s = min(left, every_s(settle_s))
    if settle_s <= STAYS_S:
        site.host.clock.sleep(next_s)
        return run
    until = site.host.clock.now().timestamp() + next_s
    what = f"the system to settle: {spoken(left)} more of smoke that holds"
    return site.note(run, "run.waiting", on="timer", what=what, until=until)


def every_s(settle_s: float) -> float:
    """Seconds between two looks.

    >>> every_s(5), every_s(60), every_s(4 * 3600)
    (1.0, 5.0, 300.0)
    """
    return min(_EVERY_S[1], max(_EVERY_S[0], settle_s / _LOOKS))


def told(site: Site, run: Run) -> list[str]:
    """For the report: how long it was seen well; nothing where no gate settles."""
    looks = _looks(site, run)
    if len(looks) < 2:
        return []
    return [f"settled for {spoken(float(str(looks[0].data['for_s'])))}: smoke held in "
            f"{counted(len(looks) - 1, 'more look')}"]  # fmt: skip


def _looks(site: Site, run: Run) -> list[Event]:
    """The beginning and each look since that found it well."""
    return [event for event in _since(site, run) if event.kind != "suite.ended"]


def _since(site: Site, run: Run) -> list[Event]:
    """The beginning and what was seen since; nothing from before the gate was asked anew."""
    found: list[Event] = []
    for event in site.journal.events():
        if event.run != run.id:
            continue
        if event.kind in ("run.mitigated", "run.retried"):
            found = []
        elif event.kind == "timer.set" and event.data.get("what") == WHAT:
            found = [event]
        elif found and (
            event.kind == "suite.ended"
            or (event.kind == "sample.read" and event.data.get("step") == WHAT)
        ):
            found.append(event)
    return found


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
