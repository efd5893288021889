"""Live bytes against the manifest of a checkpoint: how many paths of a component differ.

Hides: how a component is compared; that is what `checkpoint diff` does.
Never: takes a checkpoint that cannot be put back for a witness; calls a component untouched that no
checkpoint holds.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollback.keep.changes import Change
from rollback.keep.checkpoint import Checkpoint, Checkpoints
from rollback.model.errors import PlanError
from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.model.quantity import Lasting
from rollback.model.registry import register
from rollback.model.step import Id, MetricSource, Text
from rollback.observe.metric import no_number, number
from rollback.observe.view import View

_NAMED_MAX = 3
NEWEST = "last-good"


@register("metric", "integrity")
class Integrity(MetricSource):
    """How many paths of `component` are not as `checkpoint` holds them: changed, gone, or new.

    Bytes, kind, mode and owner count; that only its time differs does not.

    `last-good` is the newest checkpoint that holds the component, is verified, and is no copy of a broken
    present; else one by name or id. A file that looks untouched (size, times, inode) is believed, unless
    `deep`: then every byte is read. A volatile component differs by nature, and is refused.
    """

    component: Id
    checkpoint: Text = NEWEST
    deep: bool = False
    within: Lasting = 60.0

    @property
    def units(self) -> tuple[str, ...]:
        """Paths are counted."""
        return ("count",)

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        """The number; UNKNOWN when there is no verified checkpoint, or the component cannot be read."""
        component = view.system.components.get(self.component)
        if component is None or component.volatile:
            why = "is volatile: it differs by nature" if component else "is not declared"
            return no_number(view, declared, f"component {self.component} {why}")
        if not (view.system.state_path / "store").is_dir():
            return no_number(view, declared, "there is no checkpoint yet")
        with (
            view.host.tree(str(view.system.state_path)) as state,
            Checkpoints(view.system, view.host, state) as kept,
        ):
            found = self._witness(kept)
            if isinstance(found, str):
                return no_number(view, declared, found)
            kept.deep = self.deep
            changes = [one for one in kept.diff(found.id, self.component) if not _touched(one)]
        told = f"against checkpoint {found.name or found.id[:12]} of {found.at[:16]}Z"
        seen = max(1, found.parts[self.component].entries)
        return number(view, declared, float(len(changes)), count=seen, note=_note(told, changes))

    def _witness(self, kept: Checkpoints) -> Checkpoint | str:
        """The checkpoint that is compared with; or why there is none."""
        if self.checkpoint == NEWEST:
            found = kept.last_good(lambda one: self.component in one.parts)
            return found or f"no verified checkpoint holds component {self.component}"
        try:
            named = kept.get(self.checkpoint)
        except PlanError as error:
            return str(error)
        said = f"checkpoint {self.checkpoint}"
        if self.component not in named.parts:
            return f"{said} does not hold component {self.component}"
        if not named.target:
            return f"{said} is not verified: {'; '.join(named.problems) or named.revoked or named.state}"
        return named


def _touched(change: Change) -> bool:
    """True where only the time is another one: a folder's moves with each file that comes and goes."""
    return change.what == "attributes" and change.why == "time"


def _note(told: str, changes: Sequence[Change]) -> str:
    if not changes:
        return told
    more = f" and {len(changes) - _NAMED_MAX} more" if len(changes) > _NAMED_MAX else ""
    return f"{told}: {', '.join(map(str, changes[:_NAMED_MAX]))}{more}"
