"""Whoever moves a run on does it here: the run, what follows it, and the levels above it.

Hides: the order of driving, telling and reporting.
Never: asks anybody, prints, or says yes.
"""

from __future__ import annotations

from functools import partial

from rollback.act import climbing
from rollback.act.engine import resting, roll_back
from rollback.act.plan import plan_of
from rollback.act.site import Site
from rollback.model.lifecycle import Run, State
from rollback.model.wording import EARLY

WAIT_TURNS_MAX = 100_000
POLL_S = 1.0


def upwards(site: Site, run: Run, *, wait: bool) -> list[Run]:
    """The run, and those at the levels above that it led to by itself, each as far as it can go."""
    runs = [run]
    while (above := climbing.climb(site, runs[-1])) is not None:
        going = above.state is State.PLANNED or wait
        runs.append(drive(site, above, wait=wait) if going else above)
    return runs


def drive(site: Site, run: Run, *, wait: bool) -> Run:
    """The run after driving it, and after what follows a drive: messages, report, anchor."""
    site = site.under(run)
    run = _carried(site, run)
    for _turn in range(WAIT_TURNS_MAX):
        if not wait or run.state is not State.WAITING:
            break
        site.host.clock.poll(partial(_moves, site, run.id), within_s=60.0, every_s=POLL_S)
        run = _carried(site, run)
    return run


def _carried(site: Site, run: Run) -> Run:
    def mitigated(run: Run) -> None:
        from rollback.act.telling import tell

        tell(site, run)

    run = roll_back(_heard(site, run), run.id, mitigated=mitigated)
    from rollback.act.afterwards import settle  # messages and reports can wait for the rollback

    return settle(site, run)


def _heard(site: Site, run: Run) -> Site:
    """The site; where people are told before the end, by a step or at a moment, one that tells them."""
    notify = site.system.source.get("notify")
    messages = notify.get("messages") if isinstance(notify, dict) else None
    early = any(EARLY & set(one.get("on") or ()) for one in (messages or {}).values())
    if not early and not any(step.kind == "notify" for step in plan_of(run).every_step()):
        return site  # nothing of telling is loaded before the run has done its work
    from rollback.act.telling import listening

    return listening(site)


def _moves(site: Site, run_id: str) -> bool:
    return not resting(site, site.run(run_id))
