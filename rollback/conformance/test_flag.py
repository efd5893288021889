"""What every kind of flag owes: it writes its own value and no other byte, and reads what it wrote.

The example declares a flag `it`; the values tried are False and True, and taking it out.

Hides: nothing.
Never: knows a kind.
"""

from __future__ import annotations

from typing import Any

from rollback.act.flag import Slot, same
from rollback.conformance.asked import Case
from rollback.conformance.fixtures import owes
from rollback.conformance.world import World
from rollback.model.errors import PlanError

FAMILY = "flag"
NAME = "it"


def _parts(case: Case, world: World) -> tuple[Any, Any]:
    return case.kind(), world.system.flags[NAME]


def _reading(world: World) -> Any:
    def read(path: str) -> bytes | None:
        file = world.root / path
        return file.read_bytes() if file.is_file() else None

    return read


def _set(kind: Any, flag: Any, world: World, value: Any) -> Slot:
    """The value is written where the kind says."""
    slot = kind.slot(flag, None, value, _reading(world))
    file = world.root / slot.path
    file.write_bytes(slot.change(_reading(world)(slot.path) or b""))
    return slot if isinstance(slot, Slot) else Slot("", "", "env", "", None)


def test_what_is_set_follows_from_the_files(case: Case, world: World) -> None:
    """False, True, False again: `effective` says what was written last; looking changes nothing."""
    kind, flag = _parts(case, world)
    for value in (False, True, False):
        before = world.files()
        kind.slot(flag, None, value, _reading(world))
        owes(world.files() == before, "asking where the value goes writes it")
        _set(kind, flag, world, value)
        found = kind.effective(flag, _reading(world))
        owes(same(found, value), f"{value} was written, and the files say {found!r}")


def test_no_other_byte_changes(case: Case, world: World) -> None:
    """Setting and setting back leaves every file as it was; nothing but the slot's file changes."""
    kind, flag = _parts(case, world)
    _set(kind, flag, world, True)
    before = world.files()
    slot = _set(kind, flag, world, False)
    now = world.files()
    others = [name for name in before if name != slot.path and before[name] != now.get(name)]
    owes(not others, f"besides {slot.path} it changes {', '.join(others)}")
    _set(kind, flag, world, True)
    owes(
        world.files() == before,
        f"set and set back, {slot.path} is not as it was: other bytes changed",
    )


def test_taken_out_the_next_one_rules(case: Case, world: World) -> None:
    """`unset` leaves no value of ours in the place."""
    kind, flag = _parts(case, world)
    _set(kind, flag, world, False)
    _set(kind, flag, world, None)
    found = kind.effective(flag, _reading(world))
    owes(
        found is None or not same(found, False),
        f"it was taken out, and the files still say {found!r}",
    )


def test_a_layer_that_it_has_not_is_refused(case: Case, world: World) -> None:
    """Before anything is written."""
    kind, flag = _parts(case, world)
    try:
        kind.slot(flag, "no-such-layer", True, _reading(world))
    except PlanError:
        return
    owes(False, "a layer that there is not is taken: raise PlanError")


def test_every_place_of_the_value_is_named(case: Case, world: World) -> None:
    """Where it writes is among the places that it says the value may come from."""
    kind, flag = _parts(case, world)
    slot = kind.slot(flag, None, True, _reading(world))
    places = {one.path for one in kind.slots(flag)}
    owes(
        slot.path in places,
        f"it writes {slot.path}, and slots names {', '.join(sorted(places)) or 'nothing'}",
    )
