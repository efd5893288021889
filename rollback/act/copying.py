"""Copies of checkpoints, made and noted in the journal.

Hides: which events tell of a copy.
Never: lets a place that does not answer stop anything.
"""

from __future__ import annotations

from collections.abc import Iterable

from rollback.act.site import Site
from rollback.keep.copies import Copied, Copies
from rollback.keep.copies import told as said
from rollback.model.errors import RollbackError
from rollback.model.finding import Json
from rollback.model.quantity import counted


def copies_of(site: Site) -> Copies:
    """The further places of this system."""
    return Copies(site.system, site.host, site.state.tree, site.checkpoints)


def copy(site: Site, stores: Iterable[str] = (), *, adopt: bool = False) -> tuple[Copied, ...]:
    """What has to be elsewhere is there, as far as it can be; what became of each place.

    Raises: RunLocked when another process is copying, UsageError.
    """
    done = copies_of(site).make_good(stores, adopt=adopt)
    for one in done:
        if one.checkpoints:
            site.tell("checkpoint.copied", store=one.store, packs=one.packs, size_bytes=one.size_bytes,
                      checkpoints=list[Json](one.checkpoints))  # fmt: skip
        if one.problem:
            site.tell("checkpoint.not_copied", store=one.store, why=one.problem)
    return done


def copy_along(site: Site) -> tuple[Copied, ...]:
    """As `copy`, for somebody who is doing something else: what hinders it is told, never raised."""
    copies = copies_of(site)
    if not copies.declared:
        return ()
    try:
        return copy(site)
    except (RollbackError, OSError) as error:
        return tuple(Copied(name, problem=said(error)) for name in copies.declared)


def to_fetch(site: Site) -> str:
    """What to type where no checkpoint is here, and a further place has some; "" where none has."""
    if not site.system.checkpoints.stores or site.checkpoints.list():
        return ""
    found = copies_of(site).hold()
    known = {name: count for name, count in found.items() if count}
    if known:
        name = max(known, key=lambda one: known[one])
        return (f"bring back what lies in {name}, {counted(known[name], 'checkpoint')}: "
                f"rollback checkpoint fetch {name}")  # fmt: skip
    unseen = next((name for name, count in found.items() if count is None), "")
    return f"see what lies in {unseen}: rollback checkpoint fetch {unseen}" if unseen else ""
