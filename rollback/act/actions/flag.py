"""Step `flag`: a switch of the running system gets a value, and the product itself confirms it.

Hides: which file is written; that a stopped product cannot be asked.
Never: believes the file while the product says something else.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import Field, model_validator

from rollback.act.flag import Slot, Value, asks, asleep, declared, same
from rollback.act.flag import ask as ask_product
from rollback.act.patch import holding, make, patch_from, planned, read, take_back, tree_of
from rollback.model.errors import HostError, HostUnreachable
from rollback.model.finding import Finding, Json, failed, passed, unknown
from rollback.model.quantity import spoken
from rollback.model.registry import register
from rollback.model.step import Alters, Id, Step

if TYPE_CHECKING:
    from rollback.act.scene import Scene
    from rollback.declare.edit import Format

_READ_BACK_MARGIN_S = 0.2  # so that we say what is wrong before the step's own deadline does


@register("action", "flag")
class FlagStep(Step):
    """`set` gives the flag a value, `unset` takes it out of a layer so that the next one rules.

    `layer` is env or yaml; without it the strongest one.
    """

    alters: ClassVar[Alters] = "running"
    flag: Id
    set_: Value | None = Field(default=None, alias="set")
    unset: bool = False
    layer: Literal["env", "yaml"] | None = None

    @model_validator(mode="after")
    def _one(self) -> FlagStep:
        if (self.set_ is None) != self.unset:
            raise ValueError("write one of: set: VALUE, unset: true")
        return self

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The place of the value and what stood there."""
        flag, kind = declared(scene.system, self.flag)
        with tree_of(scene.system, scene.host) as tree:
            reading = partial(read, tree)
            slot = kind.slot(flag, self.layer, self.set_, reading)
            found = reading(slot.path)
            patch = planned(tree, slot.path, slot.change)
            before = kind.effective(flag, reading)
        expected = self._expected(scene, slot)
        changes = int(patch.before != patch.after or not same(before, expected))
        return {
            "patch": patch.data(), "layer": slot.layer, "key": slot.key, "value": slot.value,
            "format": slot.format, "written": slot.written(found) if found is not None else None,
            "was": before, "expected": expected, "changes": changes, "lines": list(patch.lines()),
        }  # fmt: skip

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """Old and new value, where it is written, who confirms it."""
        flag, _ = declared(scene.system, self.flag)
        bound, slot = scene.bound, _slot(scene)
        does = (
            f"{slot.key} is taken out of"
            if slot.value is None
            else f"{slot.key}={_told(slot.value)} in"
        )
        return (
            f"flag {self.flag}: {_told(bound['was'])} -> {_told(bound['expected'])}",
            f"{does} {slot.path}",
            f"read back within {spoken(self.within)}: {asks(flag)}",
        )

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The component that holds the file, if one does."""
        return holding(scene.system, _slot(scene).path)

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The file says so, and the product does."""
        began_s = scene.host.clock.boot_s()
        slot, patch = _slot(scene), patch_from(_dict(scene.bound["patch"]))
        with tree_of(scene.system, scene.host) as tree:
            changed = make(tree, patch, slot.change)
        left_s = self.within - _READ_BACK_MARGIN_S - (scene.host.clock.boot_s() - began_s)
        finding = self._confirmed(scene, within_s=max(0.0, left_s))
        if finding.answer != "pass":
            raise HostError(
                f"the flag {self.flag} does not read back: {finding.evidence}", where=slot.path,
                hint="set it in another layer, reload or restart the service that reads it",
            )  # fmt: skip
        return {"changed": changed, "file": slot.path, "read_back": finding.evidence}

    def probe(self, scene: Scene) -> Finding:
        """The file holds the value and the product says so."""
        return self._confirmed(scene, within_s=0.0)

    def undo(self, scene: Scene) -> None:
        """The key holds what it held when the plan was made."""
        slot, patch = _slot(scene), patch_from(_dict(scene.bound["patch"]))
        old = scene.bound["written"]
        reverse = Slot(slot.layer, slot.path, slot.format, slot.key, _value(old))
        with tree_of(scene.system, scene.host) as tree:
            take_back(tree, patch, reverse.change)

    def undone(self, scene: Scene) -> Finding:
        """Does the key hold what it held? What the product reads is not asked: others may rule it."""
        slot, was = _slot(scene), scene.bound["written"]
        with tree_of(scene.system, scene.host) as tree:
            data = read(tree, slot.path)
        found = slot.written(data) if data is not None else None
        if (found is None) == (was is None) and same(found, was):
            return passed(f"{slot.key} in {slot.path} is as before the run")
        return failed(f"{slot.key} in {slot.path} is not as before the run")

    def _confirmed(self, scene: Scene, *, within_s: float) -> Finding:
        flag, kind = declared(scene.system, self.flag)
        slot = _slot(scene)
        with tree_of(scene.system, scene.host) as tree:
            found = read(tree, slot.path)
            stands = slot.written(found) if found is not None else None
            if (stands is None) != (slot.value is None) or not same(stands, slot.value):
                return failed(f"{slot.path} holds {slot.key}={stands}, not {slot.value}")
            expected = self._expected(scene, slot)
            if expected is None:
                return passed(
                    f"{self.flag} is disabled in {slot.path}; the program's default rules"
                )
            if flag.reader is None:
                value = kind.effective(flag, partial(read, tree))
                told = f"{self.flag} is {value} by the files; no reader is declared"
                return passed(told) if same(value, expected) else failed(told)
        wanted = partial(self._read_back, scene, expected)
        finding = scene.host.clock.poll(
            lambda: (f if (f := wanted()).answer == "pass" else None), within_s=within_s)  # fmt: skip
        return finding or wanted()

    def _read_back(self, scene: Scene, expected: Json) -> Finding:
        flag, _ = declared(scene.system, self.flag)
        view = scene.view()
        try:
            value = ask_product(flag, view)
        except HostUnreachable as error:
            stopped = asleep(flag, view)
            if stopped:
                return passed(f"the file says so; {stopped} is stopped and reads it when it starts")
            return unknown(f"the product does not say: {error}")
        told = f"{self.flag} reads back as {value}"
        return passed(told) if same(value, expected) else failed(f"{told}, not {expected}")

    def _expected(self, scene: Scene, slot: Slot) -> Json:
        """What the product must say once the slot holds its value, the other layers as they are."""
        flag, kind = declared(scene.system, self.flag)
        if slot.layer == "flagd" and slot.value == "DISABLED":
            return None
        with tree_of(scene.system, scene.host) as tree:

            def after(path: str) -> bytes | None:
                data = read(tree, path)
                return slot.change(data or b"") if path == slot.path else data

            return kind.effective(flag, after)


def _told(value: Json) -> str:
    """As a file would write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _slot(scene: Scene) -> Slot:
    bound, patch = scene.bound, _dict(scene.bound["patch"])
    return Slot(
        str(bound["layer"]), str(patch["path"]), cast("Format", bound["format"]), str(bound["key"]),
        _value(bound["value"]),
    )  # fmt: skip


def _value(found: Json) -> Value | None:
    return found if isinstance(found, (bool, int, str)) else None


def _dict(found: Json) -> dict[str, Json]:
    assert isinstance(found, dict)
    return found
