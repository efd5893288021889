"""Which paths of a component are ours to capture and to put back.

Globs are as in .gitignore: without a slash they match a name at any depth, with one the path from
the component's root; `*` and `?` stop at a slash, `**` does not. What is excluded is neither
captured nor changed nor moved away, and nor is anything below it.

Hides: globs.
Never: looks at a file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Standing = Literal["ours", "out", "reserved"]
REPOSITORIES = frozenset({b".git"})  # history is git's: it is never taken back as plain files
OURS = b".rollback-"  # our own temporary names, wherever they stand


@dataclass(frozen=True)
class Scope:
    """`exclude` and `only` are globs; `reserved` are paths that nobody may restore over.

    So are names in `reserved_names`, those of repositories, at any depth.
    """

    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    reserved: frozenset[bytes] = field(default_factory=frozenset)
    reserved_names: frozenset[bytes] = field(default_factory=frozenset)

    @cached_property
    def _out(self) -> re.Pattern[bytes] | None:
        return _any_of(self.exclude)

    @cached_property
    def _in(self) -> re.Pattern[bytes] | None:
        return _any_of(self.only)

    @property
    def ours(self) -> bytes:
        """How the tool's own temporary names begin."""
        return OURS

    @cached_property
    def narrow(self) -> bool:
        """False when every path but the tool's own temporary ones is in."""
        return bool(self.exclude or self.only or self.reserved or self.reserved_names)

    def key(self) -> bytes:
        """Equal for scopes of equal globs and reserved paths."""
        return repr((self.exclude, self.only, sorted(self.reserved),
                     sorted(self.reserved_names))).encode()  # fmt: skip

    def enters(self, path: bytes) -> bool:
        """False where neither this path nor anything below it is ours."""
        return not self.reserves(path) and not (self._out and self._out.fullmatch(path))

    def reserves(self, path: bytes) -> bool:
        """True for the tool's own files, and names that no restore may write."""
        name = path.rpartition(b"/")[2]
        return path in self.reserved or name in self.reserved_names or name.startswith(OURS)

    def whose(self, path: bytes) -> str:
        """Why a reserved path is reserved, for people."""
        named = path.rpartition(b"/")[2] in self.reserved_names
        return "the repository itself" if named else "the tool's own"

    def holds(self, path: bytes) -> bool:
        """True when this very path is ours, given that what is above it may be entered."""
        if not self.enters(path):
            return False
        if self._in is None or path == b".":
            return True
        return any(self._in.fullmatch(each) for each in _with_parents(path))

    def sorter(self) -> Callable[[bytes], Standing]:
        """A function that says how a path stands, looking at everything above it too."""
        known: dict[bytes, Standing] = {}
        if not self.narrow:
            return lambda path: "reserved" if OURS in path and self._own(path) else "ours"

        def standing(path: bytes) -> Standing:
            todo = [path]
            while b"/" in todo[-1] and todo[-1] not in known:
                todo.append(todo[-1].rpartition(b"/")[0])
            for each in reversed(todo):
                if each in known:
                    continue
                above = known[each.rpartition(b"/")[0]] if b"/" in each else "ours"
                if above == "reserved" or self.reserves(each):
                    known[each] = "reserved"
                elif above == "out" or not self.enters(each):
                    known[each] = "out"
                else:
                    known[each] = "ours"
            found = known[path]
            return found if found != "ours" or self.holds(path) else "out"

        return standing

    def _own(self, path: bytes) -> bool:
        return any(part.startswith(OURS) for part in path.split(b"/"))

    def reaches(self, path: bytes) -> bool:
        """True when this path is ours, looking at everything above it too."""
        return self.sorter()(path) == "ours"


def _with_parents(path: bytes) -> Iterable[bytes]:
    yield path
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def _any_of(globs: tuple[str, ...]) -> re.Pattern[bytes] | None:
    if not globs:
        return None
    return re.compile(b"|".join(b"(?:" + _expression(glob) + b")" for glob in globs), re.DOTALL)


def _expression(glob: str) -> bytes:
    text = glob.encode("utf-8", "surrogateescape").removeprefix(b"./").rstrip(b"/")
    prefix = b"" if b"/" in text else b"(?:.*/)?"
    text = text.removeprefix(b"/")
    out = []
    at = 0
    while at < len(text):
        one = text[at : at + 1]
        if text[at : at + 3] == b"**/":
            out.append(b"(?:.*/)?")
            at += 3
            continue
        if text[at : at + 2] == b"**":
            out.append(b".*")
            at += 2
            continue
        close = text.find(b"]", at + 2)
        if one == b"[" and close > 0:
            inside = text[at + 1 : close].replace(b"\\", b"\\\\").replace(b"[", b"\\[")
            if inside.startswith((b"!", b"^")):
                inside = b"^" + inside[1:]
            out.append(b"[" + inside + b"]")
            at = close + 1
            continue
        out.append({b"*": b"[^/]*", b"?": b"[^/]"}.get(one, re.escape(one)))
        at += 1
    return prefix + b"".join(out)
