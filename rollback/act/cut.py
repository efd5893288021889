"""A checkpoint as one consistent cut: services drained, everything captured, services resumed.

That a service is drained stands in the journal before it is, and that it was resumed after it was:
whoever comes after a kill sees what is still drained, and `rollback checkpoint resume` ends it.

Hides: the order of services.
Never: leaves a service drained without saying so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rollback.act import service
from rollback.act.site import Site
from rollback.host.below import why
from rollback.keep.lease import Lease
from rollback.keep.retention import kind_of
from rollback.model import dependencies
from rollback.model.errors import HostError, PlanError, RollbackError
from rollback.model.event import Event
from rollback.model.finding import Answer, Finding
from rollback.model.registry import Kind, Planned
from rollback.observe.check import wait_for
from rollback.observe.view import View

if TYPE_CHECKING:
    from rollback.keep.checkpoint import Checkpoint

WITHIN_S = 60.0
RESUME = "rollback checkpoint resume"


def declared(site: Site, kind: str) -> tuple[str, ...]:
    """The services that the declaration drains for checkpoints of this kind."""
    found = kind_of(kind, site.system.checkpoints.kinds)
    return found.drain if found is not None else ()


def create(
    site: Site, name: str | None, *, kind: str = "manual", components: tuple[str, ...] | None,
    reason: str, allow_partial: bool, drain: tuple[str, ...],
) -> Checkpoint:  # fmt: skip
    """A checkpoint is listed; with services to drain, of one moment, and they work again.

    Raises: PlanError for a service that is not declared, or declares no way to drain or resume it;
    HostError when one cannot be drained: then those that were work again, and there is no
    checkpoint; Partial.
    Crash: what was drained is drained, and `still_drained` says so.
    """
    for each in drain:
        service.declared(site.system, each)
    if not drain:
        return site.checkpoints.create(name, kind=kind, components=components, reason=reason,
                                       allow_partial=allow_partial)  # fmt: skip
    view = View(site.system, site.host)
    ordered = tuple(reversed(dependencies.ordered(site.system, drain)))
    for each in ordered:
        for word in ("drain", "resume"):
            _check(view, each, word)
    with Lease(site.state.tree, site.host, purpose="checkpoint with drained services"):
        try:
            for each in ordered:
                site.tell("cut.draining", service=each)
                if service.running(view, each):
                    _asked(view, each, "drain")
            return site.checkpoints.create(name, kind=kind, components=components, reason=reason,
                                           allow_partial=allow_partial, drained=ordered)  # fmt: skip
        finally:
            _resumed(site, view)


def resume(site: Site) -> tuple[str, ...]:
    """No service is drained for a checkpoint any more; those that were. Raises: HostError."""
    if not still_drained(site.journal.events()):
        return ()
    with Lease(site.state.tree, site.host, purpose="resume what was drained"):
        return _resumed(site, View(site.system, site.host))


def still_drained(events: Iterable[Event]) -> tuple[str, ...]:
    """The services that were drained for a checkpoint and not resumed since, last drained first."""
    found: list[str] = []
    for event in events:
        if event.kind in ("cut.draining", "cut.resumed"):
            name = str(event.data.get("service"))
            found = [one for one in found if one != name]
            if event.kind == "cut.draining":
                found.insert(0, name)
    return tuple(found)


def _resumed(site: Site, view: View) -> tuple[str, ...]:
    names = still_drained(site.journal.events())
    left: list[str] = []
    for name in names:
        try:
            if name in site.system.services and service.running(view, name):
                work_on(view, name)
        except RollbackError as error:
            left.append(f"{name}: {why(error)}")
            continue
        site.tell("cut.resumed", service=name)
    if left:
        raise HostError(f"still drained: {'; '.join(left)}", hint=RESUME)
    return names


def work_on(view: View, name: str) -> None:
    """The running service takes work again, as it declares. Raises: HostError, PlanError."""
    _asked(view, name, "resume")


def _asked(view: View, name: str, word: str) -> Finding:
    check = _check(view, name, word)
    finding = wait_for(check, view, within_s=WITHIN_S if word == "drain" else 10.0)
    if finding.answer is not Answer.PASS:
        said = "still has open work" if word == "drain" else "does not work again"
        raise HostError(f"{name} {said}: {finding.evidence}", where=name,
                        hint="wait until it has ended, then try again")  # fmt: skip
    return finding


def _check(view: View, name: str, word: str) -> Kind:
    check = getattr(service.declared(view.system, name), word)
    if not isinstance(check, Kind) or isinstance(check, Planned):
        raise PlanError(f"service {name} declares no {word} check",
                        hint=f"declare services: {{{name}: {{{word}: {{http: …}}}}}}")  # fmt: skip
    return check
