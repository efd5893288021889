"""What a flag reads back as, through the product's own reader.

Hides: how the flag is stored.
Never: reads the file that sets the flag: the process is asked.
"""

from __future__ import annotations

from pydantic import Field

from rollback.model.errors import HostUnreachable
from rollback.model.finding import Finding, failed, passed, same, unknown
from rollback.model.registry import nearest, register
from rollback.model.step import Check, Id
from rollback.observe.expect import JsonValue, shown
from rollback.observe.reading import read_value
from rollback.observe.view import View


@register("check", "flag")
class FlagCheck(Check):
    """`- flag: {flag: party_mode, is: false}`."""

    flag: Id
    is_: JsonValue = Field(alias="is")

    def ask(self, view: View) -> Finding:
        """PASS when the reader says that value, of that type."""
        declared = view.system.flags.get(self.flag)
        if declared is None:
            return unknown(
                f"there is no flag {self.flag}; {nearest(self.flag, tuple(view.system.flags))}"
            )
        if declared.reader is None:
            return unknown(f"flag {self.flag} has no reader: what it is now cannot be asked")
        try:
            value = read_value(declared.reader, view)
        except HostUnreachable as error:
            return unknown(f"flag {self.flag} cannot be read: {shown(str(error))}")
        told = f"flag {self.flag} reads back as {shown(value)}"
        if same(value, self.is_):
            return passed(told, value=value)
        return failed(f"{told}, not {shown(self.is_)}", value=value)
