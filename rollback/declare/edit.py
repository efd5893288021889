"""One value of a managed YAML, JSON or env file is changed; every other byte stays.

Hides: quoting, indentation, line ends, byte order marks.
Never: rewrites a file from parsed data; writes to disk.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rollback.declare import env
from rollback.model.errors import UsageError
from rollback.model.finding import Json

if TYPE_CHECKING:
    from rollback.declare.spans import Node

Format = Literal["yaml", "json", "env"]


class Absent:
    """The type of MISSING and REMOVE."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


MISSING = Absent("MISSING")
REMOVE = Absent("REMOVE")
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*\Z")
# what a YAML 1.1 reader would take for something else than text
_OTHER = re.compile(r"(y|n|yes|no|on|off|true|false|null)\Z", re.IGNORECASE)


def get(data: bytes, format: Format, key: str) -> Json | Absent:  # noqa: A002  # the word of the interface
    """The value at a dotted key (or JSON pointer), or MISSING. Raises: UsageError."""
    text, _ = _text(data)
    if format == "env":
        return env.get(text, key, MISSING)
    way = _way(_tree(text, format), _parts(key))
    return MISSING if way is None else way[-1][2].plain()


def splice(data: bytes, format: Format, key: str, value: Json | Absent) -> bytes:  # noqa: A002
    """`data` with that one value changed, added or (REMOVE) taken out.

    Raises: UsageError when the place is ambiguous or cannot be changed alone.
    """
    text, mark = _text(data)
    if format == "env":
        return mark + env.splice(text, key, None if value is REMOVE else _env(value)).encode()
    root = _tree(text, format)
    parts = _parts(key)
    way = _way(root, parts)
    if value is REMOVE:
        changed = text if way is None else _without(text, way, format)
    elif way is None:
        changed = _with(text, root, parts, value, format)
    else:
        changed = _replaced(text, way[-1][2], value, format)
    _proved(root, _tree(changed, format), parts, value, key)
    return mark + changed.encode()


def drop_lines(data: bytes, pattern: str) -> bytes:
    """`data` without the lines in which the pattern is found. Raises: UsageError."""
    try:
        found = re.compile(pattern.encode())
    except re.error as error:
        raise UsageError(f"{pattern!r} is not a pattern: {error}", hint="escape it") from None
    return b"".join(line for line in data.splitlines(keepends=True) if not found.search(line))


# -- finding --------------------------------------------------------------------------------------


def _text(data: bytes) -> tuple[str, bytes]:
    mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    try:
        return data[len(mark) :].decode("utf-8"), mark
    except UnicodeDecodeError:
        raise UsageError("not UTF-8 text", hint="convert it first") from None


def _tree(text: str, format_: Format) -> Node:
    from rollback.declare import spans  # YAML costs 15 ms, which an environment file needs not

    if format_ == "json":
        return spans.of_json(text)
    return spans.of_yaml(text)


def _parts(key: str) -> list[str]:
    if key.startswith("/"):
        return [part.replace("~1", "/").replace("~0", "~") for part in key[1:].split("/")]
    if not key or "" in key.split("."):
        raise UsageError(f"{key!r} is not a key", hint="write it like server.port")
    return key.split(".")


Step: TypeAlias = "tuple[Node, int, Node]"  # the collection, the position in it, the value


def _way(root: Node, parts: list[str]) -> list[Step] | None:
    """The collections passed on the way to a value. A key may hold dots itself."""
    if not parts:
        return []
    for size in range(1, len(parts) + 1):
        name = ".".join(parts[:size])
        found: list[tuple[int, Node]] = []
        if root.kind == "map":
            found = [(i, node) for i, (key, _, node) in enumerate(root.entries) if key == name]
        elif root.kind == "list" and size == 1 and name.isdecimal() and int(name) < len(root.items):
            found = [(int(name), root.items[int(name)])]
        if len(found) > 1:
            raise UsageError(f"the key {name!r} is written twice", hint="remove one of them first")
        if found:
            index, node = found[0]
            rest = _way(node, parts[size:])
            if rest is not None:
                return [(root, index, node), *rest]
    return None


# -- changing -------------------------------------------------------------------------------------


def _replaced(text: str, node: Node, value: Json | Absent, format_: Format) -> str:
    if node.kind == "alias" or node.marked:
        raise UsageError("the value is shared by an anchor, or has a tag", hint="edit it by hand")
    if not node.flow and node.kind != "scalar":
        raise UsageError("the value is a map or a list of several lines",
                         hint="name one key inside of it")  # fmt: skip
    written = _written(value, node.style, format_)
    start, end = node.start, node.end
    if node.style in ("|", ">"):
        tail = text[start:end]
        keep = len(tail) - len(tail.rstrip("\r\n"))
        return text[:start] + written + text[end - keep if keep else end :]
    if start == end:  # nothing stands there: `key:`
        if text[start - 1 : start] != ":":
            before = text[:start].rstrip()
            if not before.endswith(":"):
                raise UsageError("the key has no value to change", hint="edit it by hand")
            if text[start - 1 : start] in (" ", "\t"):
                return text[:start] + written + text[end:]
            start = end = len(before)
        written = " " + written
    return text[:start] + written + text[end:]


def _written(value: Any, style: str, format_: Format) -> str:
    if isinstance(value, str) and format_ == "yaml":
        from rollback.declare.text import resolve

        plain = _PLAIN.match(value) and not _OTHER.match(value) and resolve(value) == value
        if style == "" and plain:
            return value
        if style == "'" and value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        return '"' + "".join(_escaped(char) for char in value) + '"'
    try:
        return json.dumps(value, ensure_ascii=True, allow_nan=False)
    except ValueError:
        raise UsageError("the value is not a finite number", hint="write a number") from None


_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def _escaped(char: str) -> str:
    """A character as it stands between double quotes in YAML, which knows no surrogate pairs."""
    if char in _SHORT or char.isprintable():
        return _SHORT.get(char, char)
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _without(text: str, way: list[Step], format_: Format) -> str:
    parent, index, node = way[-1]
    if node.kind == "alias" or node.marked or parent.marked or parent.kind != "map":
        raise UsageError("this value cannot be taken out alone", hint="edit it by hand")
    entries = parent.entries
    start = entries[index][1]
    if parent.flow:
        if index + 1 < len(entries):
            return text[:start] + text[entries[index + 1][1] :]
        if index > 0:
            return text[: entries[index - 1][2].end] + text[node.end :]
        return text[:start] + text[node.end :]
    line = text.rfind("\n", 0, start) + 1
    if text[line:start].strip(" ") or len(entries) == 1:
        raise UsageError("the key is the only one, or stands beside a list mark",
                         hint="edit it by hand")  # fmt: skip
    end = node.end
    if not text[:end].endswith("\n"):
        newline = text.find("\n", end)
        end = len(text) if newline < 0 else newline + 1
    return text[:line] + text[end:]


def _with(text: str, root: Node, parts: list[str], value: Any, format_: Format) -> str:
    way = _way(root, parts[:-1])
    parent = root if not parts[:-1] else (way[-1][2] if way else None)
    if parent is None or parent.kind != "map" or parent.marked:
        raise UsageError(f"there is no map {'.'.join(parts[:-1])!r} to add a key to",
                         hint="add it by hand")  # fmt: skip
    quote = format_ == "json" or not _PLAIN.match(parts[-1]) or bool(_OTHER.match(parts[-1]))
    key = json.dumps(parts[-1]) if quote else parts[-1]
    entry = f"{key}: {_written(value, '', format_)}"
    if parent.flow and (parent.entries or text[parent.start : parent.start + 1] == "{"):
        if parent.entries:
            at = parent.entries[-1][2].end
            return text[:at] + ", " + entry + text[at:]
        return text[: parent.start + 1] + entry + text[parent.start + 1 :]
    newline = "\r\n" if "\r\n" in text else "\n"
    if not parent.entries:
        lead = "" if not text or text.endswith("\n") else newline
        return text + lead + entry + newline
    first = parent.entries[0][1]
    column = first - (text.rfind("\n", 0, first) + 1)
    at = parent.entries[-1][2].end
    if not text[:at].endswith("\n"):
        end = text.find("\n", at)
        if end < 0:
            return text + newline + " " * column + entry
        at = end + 1
    return text[:at] + " " * column + entry + newline + text[at:]


def _proved(before: Node, after: Node, parts: list[str], value: Any, key: str) -> None:
    """Nothing but the one value differs. Raises: UsageError."""
    way = _way(after, parts)
    got = MISSING if way is None else way[-1][2].plain()
    wanted = MISSING if value is REMOVE else json.loads(json.dumps(value))
    same = got is wanted if isinstance(wanted, Absent) else (
        type(got) is type(wanted) and got == wanted)  # fmt: skip
    if not same or _rest(before, parts) != _rest(after, parts):
        raise UsageError(f"{key!r} cannot be changed alone in this file", hint="edit it by hand")


def _rest(root: Node, parts: list[str]) -> list[tuple[tuple[str, ...], Any]]:
    """Every scalar with its path, but for what stands at `parts`; order kept."""
    way = _way(root, parts)
    left_out = way[-1][2] if way else None
    found: list[tuple[tuple[str, ...], Any]] = []

    def walk(node: Node, path: tuple[str, ...]) -> None:
        if node is left_out:
            return
        if node.kind == "map":
            for key, _, inner in node.entries:
                walk(inner, (*path, key))
        elif node.kind == "list":
            for index, inner in enumerate(node.items):
                walk(inner, (*path, str(index)))
        elif node.value is not None or node.kind == "alias":
            found.append((path, (node.kind, type(node.value).__name__, node.value)))

    walk(root, ())
    return found


def _env(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, (str, int, float)):
        return str(value)
    raise UsageError("an environment file holds text, not maps or lists", hint="write one value")
