"""Whoever asks waits for ever: a port that accepts, reads and never says anything."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field

from drills.faults import Fault, NotHealed, NotInForce, fault_kind
from drills.faults.asking import accepts, answer, until
from drills.sandboxes.studio import Studio


@fault_kind("hang-check")
@dataclass
class HangCheck(Fault):
    """`port` 0 takes a free one. The kernel accepts on behalf of a listener that never does."""

    port: int = 0
    _socket: socket.socket | None = field(default=None, repr=False)

    @classmethod
    def of(cls, studio: Studio) -> HangCheck:
        """The router's port; the router must be stopped."""
        return cls(int(studio.environment["ROUTER_PORT"]))

    def inject(self) -> None:
        """The port listens."""
        self._socket = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = int(self._socket.getsockname()[1])

    def prove(self) -> str:
        """It accepts, and half a second later has said nothing and not hung up."""
        began_s = time.monotonic()
        said = answer(self.port, within_s=0.5)
        if not accepts(self.port) or said or time.monotonic() - began_s < 0.45:
            raise NotInForce(f"port {self.port} does not hang")
        return f"port {self.port} accepts and hangs"

    def heal(self) -> None:
        """The port is free."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def prove_gone(self) -> str:
        """Nobody accepts."""
        if not until(lambda: not accepts(self.port), within_s=2.0):
            raise NotHealed(f"port {self.port} still hangs")
        return f"port {self.port} is free"
