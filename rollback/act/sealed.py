"""What the seals say of a checkpoint: that the suites proved it, that they were red, or nothing.

Hides: which of several seals counts.
Never: calls a checkpoint good of which a seal cannot be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollback.act.site import Site
from rollback.model.errors import ObjectCorrupt
from rollback.model.level import Level, Procedure

if TYPE_CHECKING:
    from rollback.keep.checkpoint import Checkpoint
    from rollback.prove.seal import Seal

Seals = tuple["Seal", ...] | None


def sealed_as(site: Site, found: Checkpoint, may_be_red: frozenset[str] = frozenset()) -> str:
    """How the newest seal of a checkpoint came out: green, red, or unsealed.

    `may_be_red` are the checks of which a gate allows that they are red as before.
    """
    return colour(seals(site), found, may_be_red)


def seals(site: Site) -> Seals:
    """Every seal, the newest last; None when one cannot be read: then nothing is known to be green."""
    from rollback.prove import seal

    try:
        return tuple(sorted(seal.every(site.state.tree), key=lambda one: one.at))
    except ObjectCorrupt:
        return None


def colour(known: Seals, found: Checkpoint, may_be_red: frozenset[str] = frozenset()) -> str:
    """The same, of seals that were read before."""
    if known is None:
        return "red"
    mine = [one for one in known if one.belongs_to == {"checkpoint": found.id}]
    if not mine:
        return "unsealed"
    return "green" if good(mine[-1], may_be_red) else "red"


def good(seal: Seal, may_be_red: frozenset[str] = frozenset()) -> bool:
    """True when everything in it passed, but for what may be red; of nothing at all it is not."""
    answers = {key: one.answer for key, one in seal.findings.items()}
    passed = [answer == "pass" for answer in answers.values()]
    passed += [outcome == "passed" for tests in seal.tests.values() for outcome in tests.values()]
    red = [key for key, answer in answers.items() if answer == "fail" and key in may_be_red]
    return any(passed) and passed.count(False) == len(red)


def known_red(site: Site, level: Level | Procedure) -> frozenset[str]:
    """The checks of which this level's gate allows that they are red as they were before."""
    if level.gate is None or level.gate.known_red != "allowed":
        return frozenset()
    day = site.host.clock.now().date().isoformat()
    return frozenset(one.id for one in site.system.verification.known_red if one.expires >= day)
