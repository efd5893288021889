"""How strong is a gate? Faults are planted in a sandbox, one at a time, and each tier is asked for them.

The tiers are those of the gate of one level, in its order, up to the first that notices: its suites, as
that level expects them, then whether what this level puts back still stands, and nothing else. So a share
says how many of those that came so far a tier noticed.

Hides: how the sandbox is made whole again between two faults.
Never: counts a fault as noticed in a sandbox that was not well before it.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drills import studio_run
from drills.sabotage import Sabotage, generated, put_back, thaw
from drills.sandboxes.studio import Studio
from rollback.act import authorize
from rollback.act.gating import watched
from rollback.act.plan import find_level, make_plan
from rollback.act.sealing import ask_suites, seal_checkpoint
from rollback.act.site import Site
from rollback.act.strength import list_digest
from rollback.model.errors import NeedsOperator, PlanError
from rollback.model.level import Gate
from rollback.model.step import SUITES

TREE = "tree"
TIERS = (*SUITES, TREE)
SHARE_MIN = 0.95
REPORT = Path("reports") / "gate-strength.json"
Told = Callable[[str], None]


@dataclass(frozen=True)
class Noticed:
    """What came of one fault. `tier` is the first that noticed it; "" for none. `took_s` until then."""

    sabotage: str
    tier: str
    took_s: float
    reason: str

    @property
    def said(self) -> str:
        """One line for people."""
        by = self.tier or "NOT NOTICED"
        return f"{self.sabotage:<44} {by:<12} {self.took_s:5.1f} s  {self.reason[:80]}"


def measure(
    directory: Path, *, level: str = "", every: int = 1, offset: int = 0, only: Sequence[str] = (),
    tiers: Sequence[str] = TIERS, told: Told = lambda _line: None,
) -> dict[str, Any]:  # fmt: skip
    """The strength of a gate of the studio: `{planted, noticed, share, by_tier, missed, seconds, faults}`.

    And `level` (default: the one of the highest rank), `asked` (the digest of what its gate asks) and
    `restored` (the components that it puts back). `every` n-th fault from `offset` on, or `only` those
    of these ids. Units: `seconds` until noticed. Raises: NeedsOperator when the sandbox is not well
    without any fault; PlanError for a level that has no gate, or needs a component.
    """
    with studio_run.running(directory / "up") as (studio, site):
        key, declared = _level(site, level)
        made = site.checkpoints.create("v1.0.0", kind="release", components=None, reason="strength")
        found = seal_checkpoint(site, made)
        if not found.green:
            raise NeedsOperator(f"the sandbox is not well to begin with: {found.said}")
        plan = make_plan(site, key, run=authorize.next_run_id(site), requester="operator")
        gate = _Gate(key, [one for one in tiers if one == TREE or one in declared.suites],
                     tuple(watched(site, plan)))  # fmt: skip
        asked = list_digest(site, site.system.levels[key])
        studio_run.stop(studio)
        # as a run keeps the present: what only grows is compared with this
        site.checkpoints.create("present", kind="safety", components=None, reason="strength")
        kept = directory / "kept"
        shutil.copytree(studio.root, kept, symlinks=True)
        planted = generated(studio, site.system)[offset::every]
        planted = [one for one in planted if not only or one.id in only]
        found_ = report([_plant(studio, site, kept, one, gate, told) for one in planted])
        return {**found_, "level": key, "asked": asked, "restored": [*gate.restored]}


@dataclass(frozen=True)
class _Gate:
    """The gate that is measured: its tiers in order, and the components whose standing it looks at."""

    level: str
    tiers: Sequence[str]
    restored: tuple[str, ...]


def _level(site: Site, name: str) -> tuple[str, Gate]:
    ranked = sorted(site.system.levels, key=lambda one: site.system.levels[one].rank)
    key, level = find_level(site, name or ranked[-1])
    if level.gate is None or getattr(level, "component", None) == "required":
        raise PlanError(
            f"{key} has no gate of its own that could be measured", hint=", ".join(ranked)
        )
    return key, level.gate


def report(faults: Sequence[Noticed]) -> dict[str, Any]:
    """What the measured faults come to."""
    noticed = [one for one in faults if one.tier]
    by_tier, left = {}, len(faults)
    for tier in TIERS:
        mine = sum(one.tier == tier for one in faults)
        by_tier[tier] = {
            "asked": left,
            "noticed": mine,
            "share": round(mine / left, 3) if left else None,
        }
        left -= mine
    took = [one.took_s for one in noticed]
    return {
        "planted": len(faults), "noticed": len(noticed),
        "share": round(len(noticed) / len(faults), 4) if faults else None, "by_tier": by_tier,
        "missed": [one.sabotage for one in faults if not one.tier],
        "seconds": {"median": round(statistics.median(took), 2), "slowest": round(max(took), 2)}
        if took else None,
        "faults": [{"fault": one.sabotage, "tier": one.tier or None, "took_s": round(one.took_s, 2),
                    "reason": one.reason} for one in faults],
    }  # fmt: skip


def _plant(
    studio: Studio, site: Site, kept: Path, sabotage: Sabotage, gate: _Gate, told: Told
) -> Noticed:
    """The fault alone in a sandbox that was whole; the sandbox is whole again afterwards."""
    stood = _fingerprints(site, gate)
    try:
        if not sabotage.running:
            sabotage.do()
        studio_run.restart(studio, may_refuse=True)
        if sabotage.running:
            sabotage.do()
        found = _ask(site, sabotage, gate, stood)
    finally:
        thaw(studio.root)
        studio_run.stop(studio)
        put_back(studio.root, kept)
    told(found.said)
    return found


def _ask(site: Site, sabotage: Sabotage, gate: _Gate, stood: dict[str, dict[str, str]]) -> Noticed:
    began_s = time.monotonic()
    for tier in gate.tiers:
        reasons: Sequence[str]
        if tier == TREE:
            now = _fingerprints(site, gate)
            reasons = [f"{name} is another one" for name, then in stood.items()
                       if now.get(name) != then]  # fmt: skip
        else:
            (result,) = ask_suites(site, (tier,), level=gate.level)  # type: ignore[arg-type]
            reasons = result.reasons if not result.open else ()
        if reasons:
            return Noticed(sabotage.id, tier, time.monotonic() - began_s, reasons[0])
    return Noticed(sabotage.id, "", time.monotonic() - began_s, "")


def _fingerprints(site: Site, gate: _Gate) -> dict[str, dict[str, str]]:
    """What lies in the components that the level puts back, as its gate compares them."""
    found: dict[str, dict[str, str]] = {}
    for name in gate.restored:
        try:
            found[name] = site.checkpoints.fingerprints(name)
        except OSError:
            found[name] = {}
    return found
