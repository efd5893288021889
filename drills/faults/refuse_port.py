"""Somebody else has the port: a listener that closes every connection at once."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field

from drills.faults import Fault, NotHealed, NotInForce, fault_kind
from drills.faults.asking import accepts, answer, until
from drills.sandboxes.studio import Studio
from rollback.model.errors import UsageError


@fault_kind("refuse-port")
@dataclass
class RefusePort(Fault):
    """A port that nobody listens on yet. It is free again when this process ends."""

    port: int
    _socket: socket.socket | None = field(default=None, repr=False)

    @classmethod
    def of(cls, studio: Studio) -> RefusePort:
        """The router's port; the router must be stopped."""
        return cls(int(studio.environment["ROUTER_PORT"]))

    def inject(self) -> None:
        """The port is ours."""
        if accepts(self.port):
            raise UsageError(f"somebody listens on port {self.port}", hint="stop it first")
        self._socket = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=_refuse, args=(self._socket,), daemon=True).start()

    def prove(self) -> str:
        """It accepts, and hangs up without a word."""
        if not accepts(self.port) or answer(self.port, within_s=1.0):
            raise NotInForce(f"port {self.port} is not taken")
        return f"port {self.port} is taken by somebody who hangs up"

    def heal(self) -> None:
        """The port is free."""
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None

    def prove_gone(self) -> str:
        """Nobody accepts."""
        if not until(lambda: not accepts(self.port), within_s=2.0):
            raise NotHealed(f"port {self.port} is still taken")
        return f"port {self.port} is free"


def _refuse(listening: socket.socket) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        connection.close()
