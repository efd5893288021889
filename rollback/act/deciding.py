"""A decision taken now: metrics read, triggers evaluated, the outcome journalled, hold included.

Hides: that reading and judging are two rooms.
Never: starts a run.
"""

from __future__ import annotations

from collections.abc import Mapping

from rollback.act.site import Site
from rollback.judge.condition import Known
from rollback.judge.decision import Decision, decide
from rollback.observe.metric import read_all
from rollback.observe.view import View


def decide_now(site: Site, facts: Mapping[str, str] | None = None) -> Decision:
    """What the declared triggers call for at this moment; it stands in the journal.

    Where the state directory may not be written, it is only told.
    """
    samples = read_all(View(site.system, site.host))
    decision = decide(site.system, Known(samples, facts or {}))
    if site.state.writable:
        site.tell("decision.taken", run="", **decision.as_json())
    return decision
