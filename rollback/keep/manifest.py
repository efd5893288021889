"""What a component looked like: the entry at its top, and what else is known of it.

What is in a folder is an object of its own, the tree; so two manifests share every folder that
did not change. A manifest is an object too, and its SHA-256 is its id.

Hides: the encoding of manifests and trees; see docs/formats-checkpoint.md.
Never: reads a file; accepts a tree that could not be one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from rollback.keep.entry import Entry, check, path_bytes, path_json, problem
from rollback.model.errors import Confined, ObjectCorrupt
from rollback.model.event import canonical
from rollback.model.finding import Json

FORMAT = 2
_TOP = b"."

Get = Callable[[str], bytes]
Item = dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """A component at one moment. `top` is None when nothing stood there.

    Units: `size_bytes` are those of all files, hard links counted once. `count` are all entries,
    `links` those that are another name of a file.
    """

    component: str
    content: str
    top: Entry | None
    meta: Mapping[str, Json] = field(default_factory=dict)
    count: int = 0
    size_bytes: int = 0
    links: int = 0

    @classmethod
    def of_file(
        cls, component: str, content: str, entry: Entry, meta: Mapping[str, Json]
    ) -> Manifest:
        """Of a component that is one file."""
        return cls(component, content, entry, meta, 1, entry.size)

    def encode(self) -> bytes:
        """The one spelling of this manifest."""
        return canonical({
            "format": FORMAT, "component": self.component, "content": self.content,
            "top": None if self.top is None else entry_item(self.top), "meta": dict(self.meta),
            "count": self.count, "size_bytes": self.size_bytes, "links": self.links,
        })  # fmt: skip

    @property
    def digest(self) -> str:
        """SHA-256 of the encoding: the id of the object that holds it."""
        return hashlib.sha256(self.encode()).hexdigest()

    def entries(self, get: Get) -> Iterator[Entry]:
        """Every entry, parents before children; `get` gives the bytes of a tree by its id.

        Raises: ObjectMissing, ObjectCorrupt.
        """
        if self.top is None:
            return
        yield self.top
        todo = [self.top] if self.top.tree else []
        while todo:
            for entry in read_tree(get, todo.pop()):
                yield entry
                if entry.tree:
                    todo.append(entry)

    def path_list(self, name: str) -> tuple[bytes, ...]:
        """The paths in a list of `meta` that `path_json` wrote."""
        found = self.meta.get(name, [])
        assert isinstance(found, list)
        return tuple(path_bytes(item["path"] if isinstance(item, dict) and "path" in item else item)
                     for item in found)  # fmt: skip


def tree_bytes(entries: Iterable[Entry]) -> bytes:
    """The one spelling of what is in a folder; the entries are direct children, sorted by name."""
    return items_bytes([entry_item(entry) for entry in entries])


def items_bytes(items: list[Item]) -> bytes:
    """As `tree_bytes`, of what a tree says of each entry."""
    return canonical({"format": FORMAT, "entries": items})


def read_tree(get: Get, folder: Entry, *, without: Set[bytes] = frozenset()) -> tuple[Entry, ...]:
    """What is in a folder, sorted by name. Raises: ObjectMissing, ObjectCorrupt."""
    return tree_entries(get(folder.tree), folder.path, without=without)


def tree_items(data: bytes) -> dict[bytes, Item]:
    """What an encoded tree of ours says of each name, as it is: to be compared, or said again.

    Raises: ObjectCorrupt.
    """
    try:
        return {_name(item): item for item in _read(data)["entries"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ObjectCorrupt(f"a tree cannot be read: {error}") from error


def tree_entries(
    data: bytes, above: bytes, *, strict: bool = False, without: Set[bytes] = frozenset()
) -> tuple[Entry, ...]:
    """The children in an encoded tree, with their full paths; `above` is the path of the folder.

    `without` are names that nobody asks for. Raises: ObjectCorrupt when it is not one; `strict`:
    also when it is spelled in another way.
    """
    prefix = b"" if above == _TOP else above + b"/"
    try:
        items = _read(data)["entries"]
        if without:
            items = [item for item in items if _name(item) not in without]
        entries = tuple(_entry(item, prefix) for item in items)
        before = b""
        for entry in entries:
            if entry.path <= before or b"/" in entry.path[len(prefix) :] or entry.path == _TOP:
                raise ValueError("its names are not sorted, or not plain")
            if wrong := problem(entry):
                raise ValueError(wrong)
            before = entry.path
        if strict and tree_bytes(entries) != data:
            raise ValueError("it is not spelled canonically")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Confined) as error:
        raise ObjectCorrupt(f"a tree cannot be read: {error}") from error
    return entries


def decode(data: bytes) -> Manifest:
    """The manifest that `encode` wrote.

    Raises: ObjectCorrupt when it is not one, of another format, or spelled in another way.
    """
    try:
        value = _read(data)
        top = None if value["top"] is None else _entry(value["top"], b"")
        found = Manifest(
            str(value["component"]), str(value["content"]), top, value["meta"],
            value["count"], value["size_bytes"], value["links"],
        )  # fmt: skip
        if top is not None and (top.path != _TOP or check((top,)) != (top,)):
            raise ValueError("its top is not one")
        if found.encode() != data:
            raise ValueError("it is not spelled canonically")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Confined) as error:
        raise ObjectCorrupt(f"the manifest cannot be read: {error}") from error
    return found


def _read(data: bytes) -> Any:
    value = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ValueError(f"not of format {FORMAT}")
    return value


def entry_item(entry: Entry) -> Item:
    """What a tree says of an entry."""
    name = entry.path.rpartition(b"/")[2]
    value: Item = {"name": path_json(name), "kind": entry.kind}
    for known in ("mode", "uid", "gid", "mtime_ns"):
        if getattr(entry, known) is not None:
            value[known] = getattr(entry, known)
    if entry.kind == "file":
        value["size"] = entry.size
        value["sha256"] = entry.sha256
        if entry.blocks:
            value["blocks"] = entry.blocks
    elif entry.kind == "folder":
        value["tree"] = entry.tree
    else:
        value["target"] = path_json(entry.target)
    if entry.attributes:
        value["attributes"] = {name.decode(): base64.b64encode(held).decode("ascii")
                               for name, held in entry.attributes}  # fmt: skip
    if entry.xattrs:
        value["xattrs"] = [path_json(name) for name in entry.xattrs]
    if entry.allocated is not None:
        value["allocated"] = entry.allocated
    return value


def _name(item: Item) -> bytes:
    name = item["name"]
    return name.encode("utf-8") if isinstance(name, str) else path_bytes(name)


def _entry(item: Item, prefix: bytes) -> Entry:
    target = item.get("target")
    xattrs = item.get("xattrs")
    return Entry(
        prefix + _name(item),
        item["kind"], item.get("mode"), item.get("uid"), item.get("gid"), item.get("mtime_ns"),
        item.get("size", 0), item.get("sha256", ""), item.get("blocks", ""),
        b"" if target is None else path_bytes(target),
        () if xattrs is None else tuple(path_bytes(name) for name in xattrs),
        item.get("allocated"), item.get("tree", ""),
        _attributes(item["attributes"]) if "attributes" in item else (),
    )  # fmt: skip


def _attributes(written: dict[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(sorted((name.encode("utf-8"), base64.b64decode(held, validate=True))
                        for name, held in written.items()))  # fmt: skip


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
