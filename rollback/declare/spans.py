"""Where each value of a YAML or JSON text stands, to the character.

Hides: the YAML library's events, and a small JSON reader.
Never: changes a text, follows an alias.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from rollback.declare.text import DEPTH_MAX, NODES_MAX, resolve
from rollback.model.errors import UsageError
from rollback.model.finding import Json

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass
class Node:
    """One value: `text[start:end]`. `kind` is scalar, map, list or alias.

    `entries` holds the values of a map with key and the key's own start; `items` those of a list.
    """

    kind: str
    start: int
    end: int = 0
    value: Json = None
    style: str = ""
    flow: bool = True
    marked: bool = False
    entries: list[tuple[str, int, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    def plain(self) -> Any:
        """The value as plain data; an alias is None."""
        if self.kind == "map":
            return {key: node.plain() for key, _, node in self.entries}
        if self.kind == "list":
            return [node.plain() for node in self.items]
        return self.value


def of_yaml(text: str) -> Node:
    """The values of a YAML document. Raises: UsageError."""
    root: Node | None = None
    stack: list[Node] = []
    keys: list[tuple[str, int] | None] = []
    count = 0
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                node = stack.pop()
                keys.pop()
                node.end = _mark(event.end_mark) if node.flow else _last(node)
                continue
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise UsageError("the file holds several documents", hint="edit it by hand")
            if not isinstance(event, (yaml.NodeEvent, yaml.AliasEvent)):
                continue
            count += 1
            if count > NODES_MAX or len(stack) > DEPTH_MAX:
                raise UsageError("the file is too large or too deep", hint="edit it by hand")
            node = _node(event)
            if not stack:
                root = node
            elif stack[-1].kind == "list":
                stack[-1].items.append(node)
            else:
                waiting = keys[-1]
                if waiting is None:
                    if not isinstance(event, yaml.ScalarEvent):
                        raise UsageError(
                            "a key of the file is no plain text", hint="edit it by hand"
                        )
                    keys[-1] = (event.value, node.start)
                else:
                    stack[-1].entries.append((waiting[0], waiting[1], node))
                    keys[-1] = None
            if node.kind in ("map", "list"):
                stack.append(node)
                keys.append(None)
    except yaml.YAMLError as error:
        raise UsageError(
            f"not YAML: {str(error).splitlines()[0]}", hint="repair it first"
        ) from None
    return root or Node("map", len(text), len(text), flow=False)


def _mark(mark: Any) -> int:
    return int(mark.index)


def _node(event: Any) -> Node:
    start, end = event.start_mark.index, event.end_mark.index
    if isinstance(event, yaml.AliasEvent):
        return Node("alias", start, end)
    marked = bool(event.anchor) or event.tag is not None
    if isinstance(event, yaml.ScalarEvent):
        value = event.value if event.style else resolve(event.value)
        return Node("scalar", start, end, value, style=event.style or "", marked=marked)
    kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
    return Node(kind, start, flow=bool(event.flow_style), marked=marked)


def _last(node: Node) -> int:
    inner = [one for _, _, one in node.entries] + node.items
    return inner[-1].end if inner else node.start


def of_json(text: str) -> Node:
    """The values of a JSON text. Raises: UsageError."""
    try:
        json.loads(text)  # the whole text is judged by the standard reader first
        node, at = _json(text, _skip(text, 0), 0)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}", hint="repair it first") from None
    if _skip(text, at) != len(text):
        raise UsageError("not JSON: something follows the value", hint="repair it first")
    return node


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _string(text: str, at: int) -> tuple[str, int]:
    found = _STRING.match(text, at)
    if not found:
        raise ValueError(f"no text at character {at}")
    return str(json.loads(found[0])), found.end()


def _json(text: str, at: int, depth: int) -> tuple[Node, int]:
    if depth > DEPTH_MAX:
        raise ValueError("nested too deep")
    first = text[at]
    if first == '"':
        value, end = _string(text, at)
        return Node("scalar", at, end, value, style='"'), end
    if first in "{[":
        return _json_group(text, at, depth)
    words: tuple[tuple[str, Json], ...] = (("true", True), ("false", False), ("null", None))
    for word, meaning in words:
        if text.startswith(word, at):
            return Node("scalar", at, at + len(word), meaning), at + len(word)
    found = _NUMBER.match(text, at)
    if not found:
        raise ValueError(f"no value at character {at}")
    return Node("scalar", at, found.end(), json.loads(found[0])), found.end()


def _json_group(text: str, start: int, depth: int) -> tuple[Node, int]:
    node = Node("map" if text[start] == "{" else "list", start)
    at = _skip(text, start + 1)
    while text[at] not in "}]":
        key, key_start = "", at
        if node.kind == "map":
            key, at = _string(text, at)
            at = _skip(text, _skip(text, at) + 1)
        inner, at = _json(text, at, depth + 1)
        if node.kind == "map":
            node.entries.append((key, key_start, inner))
        else:
            node.items.append(inner)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    node.end = at + 1
    return node, at + 1
