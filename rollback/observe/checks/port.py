"""Whether somebody answers on a port: connecting is not enough, something must be said.

Hides: TCP.
Never: takes an accepted connection for an answer: the kernel accepts for a frozen process.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rollback.host import net
from rollback.model.component import Port
from rollback.model.errors import HostUnreachable
from rollback.model.finding import Finding, failed, passed
from rollback.model.quantity import spoken
from rollback.model.registry import register
from rollback.model.step import Check, Text
from rollback.observe.deadline import together
from rollback.observe.expect import combined, shown
from rollback.observe.view import View


@register("check", "port")
class PortCheck(Check):
    """Every port answers `send` with something that holds `expect`; all are asked at once.

    Without `send` the other side must speak first, as SSH and SMTP do.
    """

    ports: Annotated[tuple[Port, ...], Field(min_length=1)]
    host: Text = "127.0.0.1"
    send: str = ""
    expect: str = ""

    @model_validator(mode="after")
    def _speakable(self) -> PortCheck:
        for text in (self.send, self.expect):
            text.encode("utf-8")
        return self

    def ask(self, view: View) -> Finding:
        """PASS when every port answered in time."""
        works = [lambda port=port: self._one(port) for port in self.ports]
        outcomes = together(works, within_s=self.within + 0.2, clock=view.host.clock)
        return combined(
            outcome.result or failed(f"port {port}: no answer within {spoken(self.within)}")
            for port, outcome in zip(self.ports, outcomes, strict=True)
        )

    def _one(self, port: int) -> Finding:
        try:
            said = net.talk(self.host, port, send=self.send.encode(), timeout_s=self.within)
        except HostUnreachable as error:
            return failed(f"port {port}: {shown(error.message)}")
        if not said:
            return failed(f"port {port}: the connection was closed without a word")
        if self.expect.encode() not in said:
            heard = shown(said.decode("utf-8", "replace"), limit=60)
            return failed(f"port {port} said {heard!r}, not {shown(self.expect)!r}")
        return passed(f"port {port} answers")
