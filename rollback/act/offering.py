"""What fails now, and the smallest way back that covers it: an offer beside what was asked for.

Hides: which checks may be asked at any time.
Never: asks what writes or makes load; starts anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollback.act.site import Site
from rollback.host.clock import parse_iso
from rollback.judge.scope import Offer, smallest
from rollback.keep.journal import last_at
from rollback.model.finding import Answer
from rollback.model.registry import Planned
from rollback.observe.check import ask
from rollback.observe.view import View


@dataclass(frozen=True, slots=True)
class Standing:
    """How many smoke checks were asked now, which of them did not pass, and what covers those."""

    asked: int
    failing: tuple[str, ...]
    offer: Offer | None


def standing(site: Site) -> Standing:
    """The smoke checks that hold at every level, asked in process, one after the other."""
    last = last_at(site.state.path, "run.mitigated", site.host)
    view = View(
        site.system, site.host, environment=site.system.environment_name,
        since=parse_iso(last) if last else None, held=site.checkpoints.held(),
    )  # fmt: skip
    retired = {one.id for one in site.system.verification.retired}
    asked, failing = 0, []
    for check in site.system.verification.smoke:
        key = str(getattr(check, "id", "") or "")
        limited = getattr(check, "levels", ()) or getattr(check, "effects", "none") != "none"
        if isinstance(check, Planned) or limited or not key or key in retired:
            continue
        asked += 1
        if ask(check, view).answer is not Answer.PASS:
            failing.append(key)
    return Standing(asked, tuple(failing), smallest(site.system, failing) if failing else None)
