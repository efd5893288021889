"""A flag in layers: a variable of an env file, else a key of a YAML file, else a default.

Hides: which layer wins.
Never: writes.
"""

from __future__ import annotations

from dataclasses import replace

from rollback.act.flag import Read, Slot, Value, file_slot
from rollback.model.component import Flag
from rollback.model.errors import PlanError
from rollback.model.finding import Json
from rollback.model.registry import Kind, register


@register("flag", "layered")
class LayeredFlag(Kind):
    """The env file is stronger than the YAML key, and that is stronger than the default."""

    def slots(self, flag: Flag) -> tuple[Slot, ...]:
        """The declared layers, the strongest first."""
        assert flag.layered is not None
        found = []
        if flag.layered.env_file is not None:
            found.append(file_slot("env", flag.layered.env_file, "env", None))
        if flag.layered.yaml is not None:
            found.append(file_slot("yaml", flag.layered.yaml, "yaml", None))
        return tuple(found)

    def slot(self, flag: Flag, layer: str | None, value: Value | None, _read: Read) -> Slot:
        """The strongest layer, or the one that was asked for."""
        slots = self.slots(flag)
        chosen = [slot for slot in slots if slot.layer == (layer or slots[0].layer)]
        if not chosen:
            known = ", ".join(slot.layer for slot in slots) or "none"
            raise PlanError(f"the flag has no layer {layer}", hint=f"its layers: {known}")
        return replace(chosen[0], value=value)

    def effective(self, flag: Flag, read: Read) -> Json:
        """The value of the strongest layer that holds one."""
        assert flag.layered is not None
        for slot in self.slots(flag):
            data = read(slot.path)
            found = slot.written(data) if data is not None else None
            if found is not None:
                return found
        return flag.layered.default
