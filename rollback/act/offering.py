"""What the smoke checks say now, and the smallest level that covers those which do not pass.

Hides: which checks may be asked at any time.
Never: asks what writes or makes load.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollback.act import eyes
from rollback.act.site import Site
from rollback.judge.scope import Offer, smallest
from rollback.model.finding import Answer
from rollback.model.registry import Planned
from rollback.observe.check import ask


@dataclass(frozen=True, slots=True)
class Standing:
    """How many smoke checks were asked now, which of them did not pass, and what covers those."""

    asked: int
    failing: tuple[str, ...]
    offer: Offer | None


def standing(site: Site) -> Standing:
    """The smoke checks that hold at every level, asked in process, one after the other."""
    view = eyes.of(site, site.system.environment_name)
    retired = {one.id for one in site.system.verification.retired}
    asked, failing = 0, []
    for check in site.system.verification.smoke:
        key = str(getattr(check, "id", "") or "")
        limited = getattr(check, "levels", ()) or getattr(check, "effects", "none") != "none"
        if isinstance(check, Planned) or limited or not key or key in retired:
            continue
        asked += 1
        site.progress(f"asking {key}", asked, len(site.system.verification.smoke), "checks")
        if ask(check, view).answer is not Answer.PASS:
            failing.append(key)
    return Standing(asked, tuple(failing), smallest(site.system, failing) if failing else None)
