"""A process is stopped but not dead: its port still accepts, and nothing ever answers."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drills.faults import Fault, NotHealed, NotInForce, fault_kind
from drills.faults.asking import accepts, answer, until
from drills.faults.watchdog import holders, pinned
from drills.sandboxes.studio import Studio


@fault_kind("freeze-process")
@dataclass
class FreezeProcess(Fault):
    """Who holds `lock`, and the port that it listens on."""

    lock: Path
    port: int

    @classmethod
    def of(cls, studio: Studio) -> FreezeProcess:
        """The router."""
        return cls(studio.root / "run" / "router.lock", int(studio.environment["ROUTER_PORT"]))

    def inject(self) -> None:
        """Every process that has the lock open got SIGSTOP."""
        if not self._signal(signal.SIGSTOP):
            raise NotInForce("nobody holds the lock", where=str(self.lock))

    def prove(self) -> str:
        """Stopped by its state, accepting by its port, silent."""
        pids = holders(self.lock)
        stopped = until(lambda: all(_state(pid) in "Tt" for pid in pids), within_s=2.0)
        if not pids or not stopped:
            raise NotInForce("the process is not stopped", where=str(self.lock))
        if not accepts(self.port):
            raise NotInForce(f"port {self.port} does not accept", where=str(self.lock))
        said = answer(self.port, within_s=0.7)
        if said:
            raise NotInForce(f"port {self.port} still answers {said[:40]!r}", where=str(self.lock))
        return f"process {pids[0]} is stopped; port {self.port} accepts and says nothing"

    def heal(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def prove_gone(self) -> str:
        """It answers."""
        if not until(lambda: answer(self.port, within_s=1.0), within_s=5.0):
            raise NotHealed(f"port {self.port} says nothing", where=str(self.lock))
        return f"port {self.port} answers"

    def cure(self) -> dict[str, Any]:
        """Let it go on."""
        return {"what": "resume", "lock": str(self.lock)}

    def _signal(self, number: int) -> int:
        count = 0
        for pid in holders(self.lock):
            with pinned(pid, self.lock) as pidfd:
                if pidfd >= 0:
                    signal.pidfd_send_signal(pidfd, number)
                    count += 1
        return count


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "-"
