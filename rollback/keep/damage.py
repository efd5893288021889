"""What was found damaged in the store and is not repaired yet: `verified/damage.json` of the state.

A pack is judged by its index, which nobody reads again until somebody looks at every byte. What was
seen then is written down here, so that no checkpoint that needs it counts as whole meanwhile.

Hides: the file.
Never: counts an object as lost of which another pack holds a copy that nobody found damaged.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass

from rollback.host import Tree
from rollback.keep.store import Store
from rollback.model.errors import HostError
from rollback.model.event import canonical

FOLDER = "verified"
_FILE = f"{FOLDER}/damage.json"


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing found at `at`: an object of a pack, or with `object` "" the pack's own index."""

    pack: str
    object: str
    why: str
    at: str

    @property
    def key(self) -> tuple[str, str]:
        """What it is about."""
        return self.pack, self.object


def known(state: Tree) -> tuple[Damage, ...]:
    """What was found damaged; a file that cannot be read says nothing, and is written anew."""
    with suppress(OSError, HostError, ValueError, TypeError, KeyError):
        return tuple(Damage(str(one["pack"]), str(one["object"]), str(one["why"]), str(one["at"]))
                     for one in json.loads(state.read(_FILE)))  # fmt: skip
    return ()


def keep(state: Tree, found: Iterable[Damage]) -> None:
    """That is what is damaged, durably."""
    listed = sorted(found, key=lambda one: one.key)
    if not listed and state.stat(_FILE) is None:
        return
    if state.stat(FOLDER) is None:
        state.make_folder(FOLDER)
        state.sync_folder()
    state.write(_FILE, canonical([asdict(one) for one in listed]))


def standing(state: Tree, store: Store) -> tuple[Damage, ...]:
    """What is damaged in packs that are still there."""
    there = store.usable | store.damaged.keys()
    return tuple(one for one in known(state) if one.pack in there)


def lost(found: Iterable[Damage], store: Store) -> frozenset[str]:
    """The objects of which every copy is damaged."""
    bad = {one.key for one in found}
    wanted = {one.object for one in found if one.object}
    for pack in {one.pack for one in found if not one.object}:
        wanted.update(store.objects_of(pack))
    return frozenset(
        one for one in wanted
        if all((pack, one) in bad or (pack, "") in bad for pack in store.packs_of(one))
    )  # fmt: skip
