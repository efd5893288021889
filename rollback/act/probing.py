"""Trying the channels: a message that says that it is a test, on each of them.

Hides: nothing.
Never: journals anything, or takes a channel that stands behind another for that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rollback.act.site import Site
from rollback.host.clock import iso
from rollback.model.errors import PlanError
from rollback.model.finding import Json
from rollback.model.registry import Planned, nearest
from rollback.observe.deadline import together
from rollback.tell import delivery
from rollback.tell.message import Outgoing

CHANNELS_MAX = 100


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of the test message on one channel. `fallback` are those behind it."""

    channel: str
    kind: str
    ok: bool
    detail: str
    took_s: float
    fallback: str = ""

    def as_json(self) -> dict[str, Json]:
        """For `--json`."""
        return {"channel": self.channel, "kind": self.kind, "ok": self.ok, "detail": self.detail,
                "took_s": round(self.took_s, 3), "fallback": self.fallback or None}  # fmt: skip


def probe(site: Site, names: Sequence[str] = ()) -> tuple[Probed, ...]:
    """Every channel (or those named) was tried, all at once, in the order of the declaration.

    Raises: PlanError for a name that is no channel.
    """
    known = tuple(site.system.notify.channels)
    for name in names:
        if name not in known:
            raise PlanError(f"there is no channel {name}", hint=nearest(name, known))
    wanted = [name for name in known if not names or name in names][:CHANNELS_MAX]
    at = site.host.clock.now()
    message = Outgoing(
        id=f"test/{iso(at)}", name="test", audience="", title=f"{site.system.system.title}: a test",
        text=f"This is a test of {site.system.system.title}, sent {at:%Y-%m-%d %H:%M:%S} UTC. "
             "Nothing has happened, and nothing has to be done.",
        run="", at=iso(at),
    )  # fmt: skip
    works = [partial(_one, site, message, name) for name in wanted]
    limit_s = delivery.DEADLINE_S + 1.0
    outcomes = together(works, within_s=limit_s, clock=site.host.clock)
    return tuple(
        outcome.result or Probed(name, "", False, "its thread did not end", limit_s)
        for name, outcome in zip(wanted, outcomes, strict=True)
    )


def _one(site: Site, message: Outgoing, name: str) -> Probed:
    clock, kind = site.host.clock, site.system.notify.channels[name]
    began_s = clock.boot_s()
    came = delivery.attempt(site.system, site.host, message, name)
    word = kind.planned_kind if isinstance(kind, Planned) else kind.kind
    behind = ", ".join(delivery.behind(site.system, name)[1:])
    detail = site.journal.hide({"detail": came.detail})["detail"]
    return Probed(name, word, came.ok, str(detail), clock.boot_s() - began_s, behind)
