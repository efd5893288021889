"""Revoked checkpoints: a record of its own beside each, written once.

A checkpoint cannot change, so that it must not be gone back to any more is said beside it.

Hides: the file `<id>.revoked`; see docs/formats-checkpoint.md.
Never: changes a checkpoint or an earlier revocation; takes a damaged record for none.
"""

from __future__ import annotations

import json

from rollback.keep.place import Place
from rollback.model.errors import HostError
from rollback.model.event import canonical

FORMAT = 1


def _name(identity: str) -> str:
    return f"checkpoints/{identity}.revoked"


def why(place: Place, identity: str) -> str:
    """Why the checkpoint was revoked, by whom and when; empty when it was not."""
    try:
        data = place.read(_name(identity), 0, place.size(_name(identity)))
    except FileNotFoundError:
        return ""
    except (OSError, HostError) as error:
        return f"whether it was revoked cannot be read: {error}"
    try:
        said = json.loads(data)
        if said["format"] != FORMAT or said["checkpoint"] != identity:
            raise ValueError("another one")
        return f"revoked by {said['by']} on {said['at'][:16]}: {said['reason']}"
    except (ValueError, KeyError, TypeError):
        return "revoked; the record that says why is damaged"


def revoke(place: Place, identity: str, *, reason: str, by: str, at: str) -> None:
    """The record stands, durable; the caller holds the lock and knows that there was none."""
    said = {"format": FORMAT, "checkpoint": identity, "reason": reason, "by": by, "at": at}
    place.create(_name(identity), [canonical(said)])


def copy(source: Place, target: Place, identity: str) -> None:
    """A revocation that stands in `source` stands in `target` too; one that is there stays."""
    name = _name(identity)
    try:
        target.size(name)
    except FileNotFoundError:
        try:
            data = source.read(name, 0, source.size(name))
        except FileNotFoundError:
            return
        target.create(name, [data])


def forget(place: Place, identity: str) -> None:
    """The record of a checkpoint that is gone is gone too."""
    place.remove(_name(identity))
