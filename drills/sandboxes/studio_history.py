"""The git history of the studio, made of the folders in `studio_releases/`.

One stream for `git fast-import`: the same commits, with the same ids, in every sandbox.
Hides: the order of the commits, the `commits.toml` grammar, the stream format.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RELEASES = Path(__file__).with_name("studio_releases")
FIRST = "v1"
ON_EVERY_LINE = ("after-v1", "v2")  # what every release 2.0 descends from, in this order
BAD = (
    "errors",
    "slow",
    "leak",
    "limits",
    "corrupt",
    "context-leak",
    "no-start",
    "knowledge",
)
AUTHOR = "Studio Release <release@studio.example>"
FIRST_COMMIT_AT_S = 1_767_603_600  # 2026-01-05 09:00 UTC
BETWEEN_COMMITS_S = 3600

Tree = dict[str, bytes]


@dataclass
class _Commit:
    mark: int
    at_s: int
    tree: Tree


@dataclass
class _Stream:
    """The commits written so far."""

    parts: list[bytes] = field(default_factory=list)
    last_mark: int = 0

    def commit(self, subject: str, tree: Tree, *parents: _Commit) -> _Commit:
        self.last_mark += 1
        before = parents[0].tree if parents else {}
        at_s = (
            max(parent.at_s for parent in parents) + BETWEEN_COMMITS_S
            if parents
            else FIRST_COMMIT_AT_S
        )
        # A ref that is deleted at the end: every commit names its parents itself.
        self._line("commit refs/heads/stream")
        self._line(f"mark :{self.last_mark}")
        self._line(f"author {AUTHOR} {at_s} +0000")
        self._line(f"committer {AUTHOR} {at_s} +0000")
        self._data(f"{subject}\n".encode())
        for word, parent in zip(("from", *["merge"] * len(parents)), parents, strict=False):
            self._line(f"{word} :{parent.mark}")
        for path in sorted(before.keys() - tree.keys()):
            self._line(f"D {path}")
        for path in sorted(tree):
            if before.get(path) != tree[path]:
                self._line(f"M 100644 inline {path}")
                self._data(tree[path])
        return _Commit(self.last_mark, at_s, tree)

    def tag(self, name: str, commit: _Commit) -> None:
        self._line(f"tag {name}")
        self._line(f"from :{commit.mark}")
        self._line(f"tagger {AUTHOR} {commit.at_s} +0000")
        self._data(f"Studio {name}\n".encode())

    def branch(self, name: str, commit: _Commit) -> None:
        self._line(f"reset refs/heads/{name}")
        self._line(f"from :{commit.mark}\n")

    def drop(self, name: str) -> None:
        self._line(f"reset refs/heads/{name}")
        self._line(f"from {'0' * 40}\n")

    def _line(self, text: str) -> None:
        self.parts.append(text.encode() + b"\n")

    def _data(self, content: bytes) -> None:
        self.parts.append(b"data %d\n%s\n" % (len(content), content))


def stream() -> bytes:
    """The input of `git fast-import`: `main` at v1.0.0, and a tag for every release."""
    out = _Stream()
    first = out.commit("The studio", _read_tree(RELEASES / FIRST))
    out.tag("v1.0.0", first)
    out.branch("main", first)
    tip = first
    for folder in ON_EVERY_LINE:
        tip = _append(out, tip, folder)
    for folder in BAD:
        out.tag(_read_toml(folder)["tag"], _append(out, tip, folder))
    out.drop("stream")
    return b"".join(out.parts)


def _append(out: _Stream, tip: _Commit, folder: str) -> _Commit:
    """The commits that a folder describes, on top of `tip`; the last one."""
    sides: dict[str, tuple[_Commit, Tree]] = {}
    for entry in _read_toml(folder)["commit"]:
        files = {path: (RELEASES / folder / path).read_bytes() for path in entry.get("put", ())}
        if "side" in entry:
            sides[entry["side"]] = out.commit(entry["subject"], tip.tree | files, tip), files
        elif "merge" in entry:
            side, brought = sides.pop(entry["merge"])
            tip = out.commit(entry["subject"], tip.tree | brought, tip, side)
        else:
            tree = tip.tree | files
            for old, new in entry.get("rename", {}).items():
                tree[new] = tree.pop(old)
            tip = out.commit(entry["subject"], tree, tip)
    return tip


def _read_toml(folder: str) -> dict[str, Any]:
    return tomllib.loads((RELEASES / folder / "commits.toml").read_text(encoding="utf-8"))


def _read_tree(folder: Path) -> Tree:
    files = (
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
