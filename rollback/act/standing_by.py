"""Standbys: the trees that a rollback swaps in are made ready while there is time.

Hides: which checkpoint they hold.
Never: makes a checkpoint fail: a standby that cannot be made costs time later, nothing else.
"""

from __future__ import annotations

from rollback.act.site import Site
from rollback.act.target import last_good
from rollback.model.errors import RollbackError
from rollback.model.finding import Json


def make_ready(site: Site) -> dict[str, Json]:
    """Each declared standby holds the last good checkpoint; by component, true or why it does not."""
    if not any(one.restore == "standby" for one in site.system.components.values()):
        return {}
    good = last_good(site)
    if good is None:
        return {}
    try:
        done = site.checkpoints.refresh_standby(good.id)
    except RollbackError as error:
        names = [n for n, one in site.system.components.items() if one.restore == "standby"]
        return dict.fromkeys(names, error.message)
    return {name: why or True for name, why in done.items()}
