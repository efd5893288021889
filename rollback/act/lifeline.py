"""A process of its own that carries a run on to its end when whoever drives it is cut off.

It is started before the first step of a run that holds a `confirm`, in a session of its own, and does
nothing as long as somebody else drives. Killed itself, it is missed by nobody: the agent and
`rollback resume` find the same in the journal.

Hides: how it is started, and known to be there.
Never: says yes; outlives what it is for.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rollback.act.asked import unconfirmed
from rollback.act.driving import drive, upwards
from rollback.act.engine import resting
from rollback.act.plan import plan_of
from rollback.act.site import Site
from rollback.host import Host, processes
from rollback.keep import lease
from rollback.model.errors import PlanError, RollbackError
from rollback.model.lifecycle import Run, State

LOCK, LOG = "lifeline.lock", "lifeline.log"
POLL_S = 0.5
LEFT_S = 1.5  # who has only just begun, or hands over, is not driven past
LIVES_S_MAX = 7 * 86_400.0
_BEGIN = "from rollback.act.lifeline import main; main()"


def arm(site: Site, run: Run) -> int | None:
    """The process that carries the run on is there; its pid, None where none is needed or one is there."""
    if not unconfirmed(run, plan_of(run)) or resting(site, run):
        return None
    folder = site.run_folder(run.id)
    lock = str(folder / LOCK)
    if processes.held(lock):
        return None
    argv = (sys.executable, "-I", "-c", _BEGIN, str(site.system.declaration), str(site.state.path),
            run.id)  # fmt: skip
    return processes.start_service(
        argv, cwd="/", environment=dict(os.environ), lock=lock, log=str(folder / LOG),
        tap=site.host.tap,
    )  # fmt: skip


def main() -> None:
    """What the process does. Its words: the declaration, the state directory, the run."""
    import rollback.kinds  # noqa: F401 - finds every kind
    from rollback import declare

    declaration, state, run = sys.argv[1:]
    system = declare.load(Path(declaration), state=Path(state))
    with Site.open(system, Host(), create=False, secrets=declare.secret_values(system)) as site:
        follow(site, run)


def follow(site: Site, name: str) -> Run:
    """The run has been carried on whenever nobody else did, until nothing waits for a yes any more."""
    clock, tree = site.host.clock, site.state.tree
    ends_s = clock.boot_s() + LIVES_S_MAX
    run, left_s = site.run(name), clock.boot_s()
    while unconfirmed(run, plan_of(run)) and clock.boot_s() < ends_s and site.state.path.is_dir():
        clock.sleep(POLL_S)
        try:
            if run.state is State.WAITING and not run.steps:
                break  # it has done nothing: who lets it begin begins another one of us
            if lease.held(tree) or resting(site.under(run), run):
                left_s = clock.boot_s()
            elif clock.boot_s() - left_s >= LEFT_S:
                upwards(site, drive(site, run, wait=False), wait=False)
            run = site.run(name)
        except PlanError:
            break  # its declaration is gone, and that gets no better
        except RollbackError:
            left_s = clock.boot_s()  # somebody else is at it, or the disk is: it is tried again
    return run
