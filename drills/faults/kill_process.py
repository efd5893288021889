"""A process is gone at once, without a chance to end well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from drills.faults import Fault, NotHealed, NotInForce, fault_kind
from drills.faults.asking import accepts, until
from drills.faults.watchdog import end_holders, holders
from drills.sandboxes.studio import Studio


@fault_kind("kill-process")
@dataclass
class KillProcess(Fault):
    """Who holds `lock`; `again` starts it, for whoever wants to heal without a rollback."""

    lasting: ClassVar[bool] = True
    lock: Path
    port: int
    again: Callable[[], object] | None = None

    @classmethod
    def of(cls, studio: Studio) -> KillProcess:
        """The router."""
        return cls(studio.root / "run" / "router.lock", int(studio.environment["ROUTER_PORT"]))

    def inject(self) -> None:
        """Every process that had the lock open was killed."""
        if not end_holders(self.lock):
            raise NotInForce("nobody holds the lock", where=str(self.lock))

    def prove(self) -> str:
        """The lock is free and the port refuses."""
        if holders(self.lock) or not until(lambda: not accepts(self.port), within_s=2.0):
            raise NotInForce(f"port {self.port} still accepts", where=str(self.lock))
        return f"nobody holds {self.lock.name}; port {self.port} refuses"

    def heal(self) -> None:
        """It was started again, if it is known how."""
        if self.again is not None and not holders(self.lock):
            self.again()

    def prove_gone(self) -> str:
        """Somebody holds the lock, and the port accepts; without `again` that is not our business."""
        if self.again is None:
            return "left as it is"
        if not until(lambda: accepts(self.port), within_s=5.0) or not holders(self.lock):
            raise NotHealed(f"port {self.port} refuses", where=str(self.lock))
        return f"port {self.port} accepts"
