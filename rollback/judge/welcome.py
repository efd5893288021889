"""Whether a check may be asked in an environment: what asking it does there, and what is allowed.

Hides: that what is not production is there to be tried on, where it does not say what it allows.
Never: asks the check.
"""

from __future__ import annotations

from typing import Any

from rollback.model.system import HOME, System

EFFECTS = ("test-data", "load")


def unwelcome(system: System, environment: str, check: Any) -> str:
    """Why asking the check would do to the environment what it does not allow; "" where it may be."""
    place = system.environments.get(environment)
    allows = place.allows if place else ()
    effects = getattr(check, "effects", "none")
    if effects not in EFFECTS or effects in allows or (not allows and environment != HOME):
        return ""
    name = getattr(check, "id", None) or getattr(check, "kind", "")
    return f"check {name} has effects {effects}, which {environment} does not allow"
