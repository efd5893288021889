"""Rehearsals that are overdue are noticed, once for each reason and each time that one is due.

Hides: when it was said last.
Never: rehearses anything.
"""

from __future__ import annotations

import re

from rollback.act import rehearsed
from rollback.act.site import Site
from rollback.host.clock import moment_of

AGAIN_S = 30 * 86_400.0  # where the drill has no time of its own


def drills(site: Site) -> tuple[str, ...]:
    """Each overdue drill is in the journal, once for each time that it is due; those told now."""
    if not site.system.drills:
        return ()
    clock, told = site.host.clock, []
    said = {}
    for event in site.journal.events():
        if event.kind == "drill.overdue":
            at = moment_of(clock, event.at, event.boot, event.boot_s)
            said[str(event.data["drill"])] = (clock.now() - at, str(event.data["why"]))
    for one in rehearsed.standings(site):
        before = said.get(one.drill.id)
        young = before is not None and before[0].total_seconds() < (one.drill.every or AGAIN_S)
        if one.why and not (young and before is not None and _bare(before[1]) == _bare(one.why)):
            site.tell("drill.overdue", drill=one.drill.id, why=one.why)
            told.append(one.drill.id)
    return tuple(told)


def _bare(text: str) -> str:
    return re.sub(r"[0-9.]+ *[a-z]*", "", text)
