"""Whether a queue of files is short, and moves.

Hides: how files are counted.
Never: counts a short queue as a moving one: what stood in it must leave.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import model_validator

from rollback.model.component import RelativePath
from rollback.model.finding import Finding, failed, passed, unknown
from rollback.model.quantity import Seconds, spoken
from rollback.model.registry import register
from rollback.model.step import Check, Text
from rollback.observe.expect import Limits
from rollback.observe.place import matches
from rollback.observe.view import View

_EVERY_S = 0.1


@register("check", "queue")
class Queue(Check):
    """`depth` limits how many files wait; what waits now is gone after `drains_within`. One is enough.

    New work may arrive meanwhile: only the names seen first must leave.
    """

    directory: RelativePath
    pattern: Text = "*"
    depth: Limits | None = None
    drains_within: Seconds | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> Queue:
        if self.depth is None and self.drains_within is None:
            raise ValueError("nothing is asked; write depth: {below: 50} or drains_within: 10s")
        return self

    @property
    def measures(self) -> Mapping[str, str]:
        """How many files wait."""
        return {"count": "depth"}

    @property
    def deadline_s(self) -> float:
        """Waiting for the queue to drain comes on top."""
        return self.within + (self.drains_within or 0.0)

    def ask(self, view: View) -> Finding:
        """PASS when the queue is short enough and what waits leaves in time."""
        first = self._waiting(view)
        if first is None:
            return unknown(f"{self.directory} is no folder: there is no queue to look at")
        depth = len(first)
        if self.depth is not None and (reason := self.depth.why_not(depth)):
            finding = failed(f"{self.directory}: {reason} waiting", depth=depth, value=depth)
            return finding.beyond(self.depth.broken("waiting", depth))
        if self.drains_within is None or not first:
            return passed(f"{self.directory}: {depth} waiting", depth=depth, value=depth)
        clock = view.host.clock
        left: set[bytes] = set(first)

        gone = False

        def drained() -> bool:
            nonlocal gone
            now = self._waiting(view)
            gone = now is None
            left.intersection_update(now or ())
            return not left or gone

        began = clock.boot_s()
        ended = clock.poll(drained, within_s=self.drains_within, every_s=_EVERY_S)
        if gone:
            return failed(f"{self.directory} is gone, with what waited in it: {depth} when it was looked at",
                          depth=depth, value=depth)  # fmt: skip
        if ended:
            took_s = clock.boot_s() - began
            return passed(
                f"{self.directory}: {depth} left within {spoken(took_s)}", depth=depth, value=depth
            )
        oldest = os.fsdecode(min(left))
        return failed(
            f"{self.directory}: {len(left)} of {depth} did not leave within "
            f"{spoken(self.drains_within)}, like {oldest!r}", depth=depth, value=depth, stuck=len(left),
        )  # fmt: skip

    def _waiting(self, view: View) -> set[bytes] | None:
        with view.host.tree(str(view.root)) as root:
            if root.stat(self.directory) is None:
                return None
            with root.sub(self.directory) as folder:
                return set(matches(folder, self.pattern))
