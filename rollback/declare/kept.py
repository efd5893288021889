"""A declaration that was read and found right is kept, resolved, so that the next start need not.

It is plain JSON in the private state directory, without secrets, and is believed only when it is ours,
was made by this very tool from these very bytes and variables, and matches its own digest.

Hides: what the resolved declaration depends on.
Never: keeps what had a problem; never fails a command.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollback.declare import withheld
from rollback.declare.places import places
from rollback.host import Tree
from rollback.keep import state_key
from rollback.model import pinned
from rollback.model.errors import HostError
from rollback.model.event import canonical, digest
from rollback.model.system import System

NAME = "declaration.json"
FORMAT = 2  # 1 held secrets
KEPT_BYTES_MAX = 16 * 2**20
_STATE = re.compile(r"""^state:[ \t]*(?:\{[ \t]*|\n[ \t]+)dir:[ \t]*["']?([^\s"',}#$]+)""", re.M)


@dataclass(frozen=True)
class Origin:
    """What a declaration was resolved from beside its text: variables, and a file (with `data`, if any)."""

    names: tuple[str, ...]
    file: str
    data: bytes | None = None


def built(
    source: dict[str, Any], others: dict[str, Any], *, declaration: Path, state: Path,
    kept: dict[str, Any], secrets: Iterable[str] = (), key: str = "",
    sections: dict[str, Any] | None = None,
) -> System:  # fmt: skip
    """The system of plain data that was found right; `others` by environment, `kept` all as it is kept."""
    elsewhere = {
        name: (data, places(data, declaration, state).root) for name, data in others.items()
    }
    return System(
        source, declaration=declaration, root=places(source, declaration, state).root, state=state,
        digest=digest(kept, domain="declaration"),
        authority_digest=pinned.whole(pinned.parts(parted(kept)[0])),
        sections=sections, elsewhere=elsewhere, kept=kept, secrets=tuple(secrets), key=key,
    )  # fmt: skip


def joined(source: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """Both as one, as `System.kept` gives it."""
    return {"source": source, "elsewhere": others} if others else source


def parted(kept: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The declaration of the home environment, and of the others where they read otherwise."""
    return (kept["source"], kept["elsewhere"]) if "elsewhere" in kept else (kept, {})


def find(text: str, *, file: Path, state: Path | None, environ: Mapping[str, str]) -> System | None:
    """The system that was kept of exactly this text and these variables, or None."""
    match = None if state else _STATE.search(text)  # where to look; what is found says if it fits
    folder = places({"state": {"dir": match[1]}} if match else {}, file, state).state
    entry, key = _entry(folder), state_key.read(folder)
    try:
        origin = Origin(tuple(entry["names"]), entry["file"])
        kept = entry["kept"]
        if entry["key"] != _key(text, file, folder, origin, environ, key):
            return None
        if entry["file_digest"] != _digest_of(
            _bytes(file.parent / origin.file) if origin.file else None, key
        ):
            return None
        if entry["digest"] != digest(kept, domain="declaration"):
            return None
        named: list[str] = []
        withheld.opened(kept, {}, named)
        now = withheld.of_now(parted(kept)[0], file.parent, environ) if named else {}
        values = {name: now[name] for name in named}
        source, others = parted(withheld.opened(kept, values))
        if places(source, file, state).state != folder:
            return None
        return built(source, others, declaration=file, state=folder, kept=kept,
                     secrets=values.values(), key=key)  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError, OSError):
        return None


def last(text: str, *, file: Path, state: Path | None) -> tuple[dict[str, Any], Path] | None:
    """What was kept of this file when it was last read well, and its state directory; None: nothing.

    It is for looking at what happened, and no answer to what the file says now.
    """
    match = None if state else _STATE.search(text)
    folder = places({"state": {"dir": match[1]}} if match else {}, file, state).state
    entry = _entry(folder)
    try:
        kept = entry["kept"]
        whole = entry["digest"] == digest(kept, domain="declaration")
        return (kept, folder) if whole and entry["declaration"] == str(file) else None
    except (KeyError, TypeError, ValueError):
        return None


def keep(
    system: System, origin: Origin, text: str, tree: Tree, environ: Mapping[str, str]
) -> None:  # fmt: skip
    """The system is kept in its state directory, if that can be written. Again: the same file."""
    kept = system.kept()
    with contextlib.suppress(HostError, OSError, ValueError, RecursionError):
        if digest(json.loads(canonical(kept)), domain="declaration") != system.digest:
            return  # JSON would not give it back as it is
        key = _key(text, system.declaration, system.state_path, origin, environ, system.key)
        tree.write(NAME, canonical({
            "format": FORMAT, "key": key, "names": list(origin.names), "file": origin.file,
            "declaration": str(system.declaration),
            "file_digest": _digest_of(origin.data, system.key), "digest": system.digest, "kept": kept,
        }), sync=False)  # fmt: skip


def _entry(folder: Path) -> Any:
    """What stands in the file, if nobody but us could have written it."""
    try:
        outer = os.lstat(folder)
        fd = os.open(folder / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    with os.fdopen(fd, "rb") as stream:
        found = os.fstat(fd)
        ours = found.st_uid == outer.st_uid == os.geteuid()
        private = not (stat.S_IMODE(outer.st_mode) | stat.S_IMODE(found.st_mode)) & 0o077
        if not (ours and private and stat.S_ISDIR(outer.st_mode) and stat.S_ISREG(found.st_mode)):
            return None
        if found.st_size > KEPT_BYTES_MAX:
            return None
        try:
            return json.loads(stream.read())
        except (OSError, ValueError, RecursionError):
            return None


def _key(
    text: str, file: Path, state: Path, origin: Origin, environ: Mapping[str, str], key: str
) -> str:  # fmt: skip
    """A digest over everything that decides how a declaration is read."""

    def said(name: str) -> str | None:
        found = environ.get(name)
        return (
            found if found is None else state_key.told(key, found.encode("utf-8", "surrogatepass"))
        )

    return digest({
        "format": FORMAT, "tool": _tool(), "declaration": str(file), "state": str(state),
        "text": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "variables": {name: said(name) for name in origin.names},
        "file": origin.file,
    }, domain="declaration-kept")  # fmt: skip


def _tool() -> str:
    """A digest over our own files, by name, size and time: another version reads for itself."""
    known: list[Any] = [sys.version]
    folders = [str(Path(__file__).parents[1])]
    while folders:
        with os.scandir(folders.pop()) as found:
            for one in found:
                if one.name.endswith(".py"):
                    status = one.stat()
                    known.append([one.path, status.st_size, status.st_mtime_ns])
                elif one.name != "__pycache__" and one.is_dir():
                    folders.append(one.path)
    return digest(sorted(map(str, known)), domain="tool")


def _digest_of(data: bytes | None, key: str) -> str:
    return "" if data is None else state_key.told(key, data)


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
