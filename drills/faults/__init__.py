"""What a drill breaks: each fault is injected, proved to be in force, healed, and proved to be gone.

A fault that cannot be proved raises: a drill on an unbroken system shows nothing. While one is in
force a watchdog process knows the cure, so that it is healed even if the drill is killed.

Hides: which file a fault is in.
Never: breaks anything but what it was pointed at.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from drills.faults.watchdog import Watchdog
from drills.sandboxes.studio import Studio
from rollback.model.errors import RollbackError, UsageError


class NotInForce(RollbackError):
    """The fault was injected, but the system does not show it."""


class NotHealed(RollbackError):
    """The fault was healed, but the system still shows it."""


class Fault:
    """One thing that is broken.

    Order: `inject`, `prove`, `heal`, `prove_gone`; `heal` may be called at any time and again.
    `cure` is what a watchdog does when the drill dies; None for what heals by itself or, like a
    bad release, only by a rollback. `lasting` faults stay after the process that injected them.
    """

    name: ClassVar[str] = ""
    lasting: ClassVar[bool] = False

    @classmethod
    def of(cls, studio: Studio) -> Fault:
        """The fault pointed at the usual place of a studio."""
        raise NotImplementedError

    def inject(self) -> None:
        """It is broken."""
        raise NotImplementedError

    def prove(self) -> str:
        """How the system shows it. Raises: NotInForce."""
        raise NotImplementedError

    def heal(self) -> None:
        """It is whole. Again: no change."""

    def prove_gone(self) -> str:
        """How the system shows that it is whole. Raises: NotHealed."""
        raise NotImplementedError

    def cure(self) -> dict[str, Any] | None:
        """What the watchdog would do; known before `inject`."""
        return None


F = TypeVar("F", bound=type[Fault])
_KNOWN: dict[str, type[Fault]] = {}


def fault_kind(name: str) -> Callable[[F], F]:
    """The class is known by this name."""

    def keep(kind: F) -> F:
        assert name not in _KNOWN, name
        kind.name = name
        _KNOWN[name] = kind
        return kind

    return keep


def known() -> dict[str, type[Fault]]:
    """Every fault by its name; each file of this folder has been read."""
    for module in pkgutil.iter_modules(__path__):
        if module.name not in ("asking", "watchdog"):
            importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_KNOWN.items()))


def find(name: str) -> type[Fault]:
    """The fault of this name. Raises: UsageError."""
    found = known()
    if name not in found:
        raise UsageError(f"there is no fault {name}", hint=f"faults: {', '.join(found)}")
    return found[name]


@contextmanager
def fault(broken: Fault, *, within_s: float = 120.0) -> Iterator[str]:
    """Inside, the fault is in force; the evidence. Afterwards it is gone, or it raises.

    Raises: NotInForce before anything inside has run; NotHealed.
    """
    with Watchdog(keep=True, within_s=within_s) as dog:
        cure = broken.cure()
        if cure is not None:
            dog.tell(heal={"id": "it", **cure})
        try:
            broken.inject()
            yield broken.prove()
        finally:
            broken.heal()
            if cure is not None:
                dog.tell(healed="it")
        broken.prove_gone()
