"""The commit record of a checkpoint: written last, it is what makes a checkpoint exist.

Its file is named by the SHA-256 of its bytes, so `sha256sum` can check it.

Hides: the encoding; see docs/formats-checkpoint.md.
Never: believes a record whose bytes do not match its name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rollback.host.clock import parse_iso
from rollback.keep.place import Place
from rollback.model.errors import ObjectCorrupt, StoreError, UsageError
from rollback.model.event import canonical
from rollback.model.finding import Json

FORMAT = 1
PREFIX_MIN = 4
Condition = Literal["whole", "partial", "damaged"]
_ID = re.compile(r"[0-9a-f]{64}")

PREFIX_MIN = 4  # of an id


@dataclass(frozen=True, slots=True)
class Part:
    """One component in a checkpoint; `manifest` is the id of the object that describes it."""

    manifest: str
    content: str
    path: str
    entries: int
    size_bytes: int
    damage: str = ""  # what was wrong with the component itself when it was captured


@dataclass(frozen=True)
class Checkpoint:
    """What was captured, when, and why. `id` is the digest of the record's bytes.

    Shape: `at` UTC ISO 8601; `missing` one line per path, `component: path: why`; `heads` are
    commits by name; `cut` says from when to when its components were captured and what was drained
    meanwhile (empty for a single one); `problems` is why it cannot be restored now, `revoked` why it
    must not be (not part of the record).
    """

    id: str
    name: str
    kind: str
    at: str
    state: Condition
    parts: Mapping[str, Part] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    reason: str = ""
    system: str = ""
    system_digest: str = ""
    host: str = ""
    heads: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    cut: Mapping[str, Json] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    revoked: str = ""

    @property
    def components(self) -> dict[str, str]:
        """The manifest digest of each component."""
        return {name: part.manifest for name, part in self.parts.items()}

    @property
    def size_bytes(self) -> int:
        """The bytes of all files captured, before compression and sharing."""
        return sum(part.size_bytes for part in self.parts.values())

    @property
    def target(self) -> bool:
        """True when it may be restored: whole, all it needs in the store, and not revoked."""
        return self.state == "whole" and not self.problems and not self.revoked

    @property
    def damage(self) -> tuple[str, ...]:
        """What was wrong with components when they were captured."""
        return tuple(f"{name}: {part.damage}" for name, part in self.parts.items() if part.damage)

    @property
    def absent(self) -> tuple[str, ...]:
        """The components that were not there: of them it holds that nothing stood at their place."""
        return tuple(name for name, part in self.parts.items()
                     if not part.entries and part.content != "append-only")  # fmt: skip

    @property
    def drained(self) -> tuple[str, ...]:
        """The services that did no work while it was taken."""
        found = self.cut.get("drained")
        return tuple(map(str, found)) if isinstance(found, list) else ()

    @property
    def one_moment(self) -> bool:
        """True when nothing can have happened between its first and its last component."""
        return not self.cut or bool(self.drained)

    def body(self) -> bytes:
        """The bytes of the record."""
        parts = {
            name: {
                "manifest": part.manifest, "content": part.content, "path": part.path,
                "entries": part.entries, "size_bytes": part.size_bytes, "damage": part.damage,
            }
            for name, part in self.parts.items()
        }  # fmt: skip
        cut = {"cut": dict(self.cut)} if self.cut else {}
        return canonical({
            **cut, "format": FORMAT, "name": self.name, "kind": self.kind, "at": self.at,
            "state": self.state, "components": parts, "missing": list(self.missing),
            "reason": self.reason, "system": self.system, "system_digest": self.system_digest,
            "host": self.host, "heads": dict(self.heads), "nonce": self.nonce,
        })  # fmt: skip

    def sealed(self) -> Checkpoint:
        """This checkpoint with the id of its record."""
        return replace(self, id=hashlib.sha256(self.body()).hexdigest())


def read(identity: str, data: bytes) -> Checkpoint:
    """The checkpoint whose record `data` is. Raises: ObjectCorrupt."""
    where = f"checkpoints/{identity}.json"
    if hashlib.sha256(data).hexdigest() != identity:
        raise ObjectCorrupt("the record does not match its id", where=where)
    try:
        value: dict[str, Any] = json.loads(data)
        if value.pop("format") != FORMAT:
            raise ValueError("a format that this version does not know")
        parts = {name: Part(**part) for name, part in value.pop("components").items()}
        missing = tuple(value.pop("missing"))
        found = Checkpoint(id=identity, parts=parts, missing=missing, **value)
        _possible(found)
        spelled = found.body() == data
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ObjectCorrupt(f"the record cannot be read: {error}", where=where) from error
    if not spelled or found.state not in ("whole", "partial"):
        raise ObjectCorrupt("the record is not spelled as this version spells it", where=where)
    return found


def _possible(found: Checkpoint) -> None:
    """Its digest says that somebody wrote it so, not that it makes sense. Raises: ValueError."""
    texts: list[Any] = [
        found.name, found.kind, found.at, found.state, found.reason, found.system, found.host,
        found.system_digest, found.nonce, *found.missing, *found.heads, *found.heads.values(),
        *found.parts,
    ]  # fmt: skip
    numbers: list[Any] = []
    for part in found.parts.values():
        texts += [part.manifest, part.content, part.path, part.damage]
        numbers += [part.entries, part.size_bytes]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("something else where a text belongs")
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise ValueError("something else where a count belongs")
    if not all(_ID.fullmatch(part.manifest) for part in found.parts.values()):
        raise ValueError("a component without the id of its manifest")
    parse_iso(found.at)
    tables: list[Any] = [found.cut, found.heads]
    if not all(isinstance(table, dict) for table in tables):
        raise ValueError("something else where a table belongs")


def listed(place: Place) -> Iterator[tuple[str, Checkpoint | StoreError]]:
    """Every commit record of a store by its id, or why it cannot be read."""
    for name in place.names("checkpoints"):
        identity, dot, ending = name.partition(".")
        if (dot, ending) != (".", "json"):
            continue
        path = f"checkpoints/{name}"
        try:
            data = place.read(path, 0, place.size(path))
            yield identity, read(identity, data)
        except StoreError as error:
            yield identity, error
        except OSError as error:
            yield (
                identity,
                StoreError(f"the record cannot be read: {error.strerror}", where=path),
            )


def free(name: str | None, among: Iterable[tuple[str, Checkpoint | StoreError]]) -> None:
    """The name can be given. Raises: UsageError when it is none, or a whole one has it."""
    if name is None:
        return
    if not name or len(name) > 200 or not name.isprintable() or name != name.strip():
        raise UsageError("a checkpoint's name is a short printable text")
    for identity, found in among:
        if isinstance(found, Checkpoint) and found.name == name and found.state == "whole":
            raise UsageError(f"the name {name!r} is already taken by {identity[:12]}",
                             hint="choose another name, or delete that checkpoint first")  # fmt: skip


def matching(among: Mapping[str, Checkpoint | StoreError], wanted: str) -> list[str]:
    """The ids of the checkpoints with this name, id, or beginning of an id."""
    named = [one for one in among.values() if isinstance(one, Checkpoint) and wanted
             and one.name == wanted]  # fmt: skip
    found = [one.id for one in named if one.state == "whole"] or [one.id for one in named]
    found = found or [identity for identity in among if identity == wanted]
    if not found and wanted == "newest":
        whole = [one for one in among.values() if isinstance(one, Checkpoint)
                 and one.state == "whole" and one.kind != "safety"]  # fmt: skip
        return [max(whole, key=lambda one: (one.at, one.id)).id] if whole else []
    if not found and len(wanted) >= PREFIX_MIN:
        found = [identity for identity in among if identity.startswith(wanted)]
    return found
