"""YAML text to plain data, with the line of every key and value; nothing clever is allowed.

One document of mappings, sequences and scalars. Aliases, anchors, tags, merge keys, several
documents and keys written twice are problems. `yes`, `off` and `012` are text.

Hides: the YAML library.
Never: builds an object, resolves a date, stops at the first problem that a line can survive.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

import yaml

from rollback.model.errors import Problem

DEPTH_MAX = 32
NODES_MAX = 100_000
SCALAR_CHARS_MAX = 65_536

Path = tuple[str | int, ...]
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(0|[1-9][0-9]{0,17})?(\.[0-9]{1,32}|[0-9]{1,18})([eE][-+]?[0-9]{1,3})?\Z", re.ASCII
)
_NOT_FINITE = re.compile(r"[-+]?\.?(nan|inf|infinity)\Z", re.ASCII | re.IGNORECASE)
_WORDS: dict[str, bool | None] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def resolve(text: str) -> bool | int | float | str | None:
    """What a plain scalar stands for: true, false, null, a number, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text) and math.isfinite(float(text)):
        return float(text)
    return text


@dataclass
class Document:
    """Plain data, where each part of it stands, and what is wrong with its writing.

    `lines` maps a path to the line of its key (or, in a list, of the item).
    """

    name: str
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    quoted: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def where(self, path: Path) -> str:
        """`file:line` of `path`, or of the nearest part around it that is written."""
        return f"{self.name}:{self.line(path)}"

    def line(self, path: Path) -> int:
        """The line of `path`; parts that are not written (a branch of a union) are passed over."""
        known: Path = ()
        for part in path:
            if (*known, part) in self.lines:
                known = (*known, part)
        return self.lines.get(known, 1)

    def wrong(self, line: int, message: str, hint: str = "") -> None:
        """One more problem, at a line."""
        self.problems.append(Problem(f"{self.name}:{line}", message, hint))


class _Stop(Exception):
    """Reading further makes no sense: the text is too big, too deep or no YAML."""


def read(text: str, name: str) -> Document:
    """The plain data in `text`; whatever is wrong is in `problems`, none of it raised."""
    document = Document(name)
    builder = _Builder(document)
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        document.wrong(
            min(line, text.count("\n") + 1),
            f"not YAML: {error.problem or error.context or 'cannot be read'}",
            "check quotes, brackets and indentation (spaces, no tabs) on this line and above it",
        )
        document.data = None
    except yaml.YAMLError as error:
        document.wrong(1, f"not YAML: {str(error).splitlines()[0]}", "save it as plain UTF-8 text")
        document.data = None
    except _Stop:
        document.data = None
    return document


@dataclass
class _Open:
    """A mapping or sequence that is being filled; `key` is the one that waits for its value."""

    value: Any
    path: Path
    line: int
    key: str | None = None
    waiting: bool = False
    seen: dict[str, int] = field(default_factory=dict)
    ignored: bool = False


class _Builder:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.open: list[_Open] = []
        self.nodes = 0
        self.documents = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.document.wrong(line, "a second document begins here",
                                    "keep one document: remove the line ---")  # fmt: skip
                raise _Stop
        elif isinstance(event, yaml.AliasEvent):
            self.document.wrong(line, f"the alias *{event.anchor} is not allowed",
                                "write the value out where it is needed")  # fmt: skip
            self._add(None, line, text=None)
        elif isinstance(event, yaml.NodeEvent):
            self._node(event, line)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self.open.pop()

    def _node(self, event: yaml.NodeEvent, line: int) -> None:
        self.nodes += 1
        if self.nodes > NODES_MAX:
            self.document.wrong(line, f"more than {NODES_MAX} values", "split the system")
            raise _Stop
        if event.anchor:
            self.document.wrong(line, f"the anchor &{event.anchor} is not allowed",
                                "write the value out where it is needed")  # fmt: skip
        tag = getattr(event, "tag", None)
        if tag is not None:
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            self.document.wrong(line, f"the tag {shown} is not allowed",
                                "remove it; put text in quotes, leave numbers without")  # fmt: skip
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0] and not event.style
            self._scalar(event.value, plain, line)
            return
        if len(self.open) >= DEPTH_MAX:
            self.document.wrong(line, f"nested deeper than {DEPTH_MAX} levels", "flatten it")
            raise _Stop
        if isinstance(event, yaml.MappingStartEvent):
            self._begin({}, line)
        else:
            self._begin([], line)

    def _begin(self, value: Any, line: int) -> None:
        parent = self.open[-1] if self.open else None
        if parent is not None and isinstance(parent.value, dict) and not parent.waiting:
            self.document.wrong(line, "a key must be plain text, not a map or a list",
                                "write the key as one word")  # fmt: skip
            self.open.append(_Open(value, parent.path, line, ignored=True))
            parent.key, parent.waiting = None, True
            return
        path = self._add(value, line, text=None)
        ignored = parent.ignored if parent is not None else False
        self.open.append(_Open(value, path, line, ignored=ignored))

    def _scalar(self, text: str, plain: bool, line: int) -> None:
        parent = self.open[-1] if self.open else None
        if parent is not None and isinstance(parent.value, dict) and not parent.waiting:
            self._key(parent, text, plain, line)
            return
        if len(text) > SCALAR_CHARS_MAX:
            self.document.wrong(line, f"a text longer than {SCALAR_CHARS_MAX} characters",
                                "put it in a file of its own")  # fmt: skip
            text = text[:80]
        if _CONTROL.search(text.replace("\r\n", "\n")):
            self.document.wrong(line, "a control character in a value", "remove it")
            text = _CONTROL.sub("", text)
        value: Any = text
        if plain:
            value = self._resolve(text, line)
        self._add(value, line, text=None if plain else text)

    def _resolve(self, text: str, line: int) -> Any:
        if _NOT_FINITE.match(text):
            self.document.wrong(
                line,
                f"{text} is not a number that can be compared with",
                "write a finite number, or put the text in quotes",
            )
            return 0
        return resolve(text)

    def _key(self, parent: _Open, text: str, plain: bool, line: int) -> None:
        document = self.document
        parent.waiting, parent.key = True, text
        if plain and text == "<<":
            document.wrong(line, "merge keys (<<) are not allowed", "write the keys out")
            parent.key = None
            return
        folded = unicodedata.normalize("NFC", text).casefold()
        first = parent.seen.get(folded)
        if first is not None:
            same = text in parent.value
            how = "is written twice" if same else "differs from another key only by case or form"
            document.wrong(line, f"the key {text!r} {how}: lines {first} and {line}",
                           "remove or rename one of the two")  # fmt: skip
            parent.key = None
            return
        parent.seen[folded] = line
        if len(text) > 512 or _CONTROL.search(text) or "\n" in text:
            document.wrong(line, "a key is too long or holds a control character",
                           "use letters, digits, '-', '_' and '.'")  # fmt: skip
            parent.key = None

    def _add(self, value: Any, line: int, *, text: str | None) -> Path:
        if not self.open:
            self.document.data = value
            self.document.lines[()] = line
            return ()
        parent = self.open[-1]
        path: Path = parent.path
        if isinstance(parent.value, list):
            path = (*parent.path, len(parent.value))
            parent.value.append(value)
        else:
            if parent.key is not None:
                path = (*parent.path, parent.key)
                parent.value[parent.key] = value
                line = parent.seen.get(unicodedata.normalize("NFC", parent.key).casefold(), line)
            elif isinstance(value, (dict, list)):
                # what stands below a refused key is read, and thrown away
                parent.key, parent.waiting = None, False
                self.document.lines.setdefault((*parent.path, "\0refused"), line)
                return (*parent.path, "\0refused")
            parent.key, parent.waiting = None, False
        if not parent.ignored:
            self.document.lines.setdefault(path, line)
            if text is not None:
                self.document.quoted.add(path)
        return path
