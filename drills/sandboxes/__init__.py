"""Throw-away, really running copies of declared systems.

Hides: which class builds the copy of which system.
"""

from __future__ import annotations

from drills.sandboxes.studio import Studio
from rollback.model.errors import UsageError

SANDBOXES: dict[str, type[Studio]] = {"studio": Studio}


def find(name: str) -> type[Studio]:
    """The class that builds the system of this name."""
    try:
        return SANDBOXES[name]
    except KeyError:
        known = ", ".join(sorted(SANDBOXES))
        raise UsageError(f"no sandbox {name!r}", hint=f"there is {known}") from None
