"""`rollback init`: a first `rollback.yaml` for this folder, and a thin `verification/`."""

from __future__ import annotations

import getpass
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.model.quantity import counted

if TYPE_CHECKING:
    from rollback.declare.starter import Found
    from rollback.host import Tree

_IGNORED = frozenset(
    "node_modules target build dist venv env run tmp cache htmlcov logs log reports".split()
)
SUITES_FOLDER = "verification"  # what judges is not rolled back with what it judges
_DATABASE_ENDS = (".db", ".sqlite", ".sqlite3")
_DATABASE_BEGINS = b"SQLite format 3\0"
_HINTS = ("docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml")
_SEEN_MAX = 20_000
_DEPTH_MAX = 4
_EXAMPLE = (
    "data",
    "data/example.txt",
    "This file is here so that there is something to go back to.\n",
)


@click.command("init", short_help="Write a rollback.yaml for this folder.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
@pass_desk
def command(desk: Desk, force: bool) -> int:
    """Look at this folder and write a commented rollback.yaml whose first gate can open."""
    from rollback.cli.show import safe
    from rollback.declare import starter
    from rollback.model.errors import UsageError

    folder = desk.declaration.parent
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=str(folder), hint=f"mkdir -p {folder}")
    with desk.host.tree(str(folder)) as tree:
        name = desk.declaration.name
        if tree.stat(name) is not None and not force:
            raise UsageError(f"{name} is already there", where=str(folder),
                             hint="rollback validate, or rollback init --force")  # fmt: skip
        found = _look(tree, folder.name, name)
        written = []
        if not found.folders and not found.files and not found.databases:
            tree.make_folder(_EXAMPLE[0], mode=0o755)
            tree.write(_EXAMPLE[1], _EXAMPLE[2].encode(), mode=0o644)
            written.append(_EXAMPLE[1])
            found = _look(tree, folder.name, name)
        kept = []
        texts = {name: starter.declaration(found, desk.host.clock.now().date()), **starter.suites()}
        for path, text in texts.items():
            if tree.stat(path) is not None and not force:
                kept.append(path)
                continue
            if os.path.dirname(path):
                tree.make_folder(os.path.dirname(path), mode=0o755, parents=True)
            tree.write(path, text.encode(), mode=0o644)
            written.append(path)
    body: dict[str, str | list[str]] = {
        "written": written, "kept": kept, "system": desk.system.system.id,
        "components": list(desk.system.components), "levels": list(desk.system.levels),
        "left_out": list(found.left_out), "unreadable": list(found.unreadable),
    }  # fmt: skip
    for path in found.unreadable:
        said = f"rollback: {safe(path)} may not be looked into, and is left out"
        hint = safe(f"  try: let {desk.user or 'this user'} read it: ls -ld {quote(path)}; then "
                    "rollback init --force")  # fmt: skip
        click.echo(f"{said}\n{desk.pasted(hint)}", err=True)
    desk.out(body, lambda: _lines(desk, body))
    return 0


def _lines(desk: Desk, body: Mapping[str, str | list[str]]) -> list[str]:
    from rollback.cli.show import safe

    lines = [f"wrote {safe(path)}" for path in body["written"]]
    lines += [f"kept  {safe(path)}" for path in body["kept"]]
    for path in body["left_out"]:
        lines.append(f"not declared: {safe(path)}")
    return [
        *lines,
        f"{counted(len(body['components']), 'component')}, levels {', '.join(body['levels'])}",
        "  try: rollback checkpoint create first --seal",
        "  then, after something changed: rollback run everything",
    ]


def _look(tree: Tree, title: str, own: str) -> Found:
    """What lies in the folder."""
    from rollback.declare.starter import PARTS_MAX, Found

    folders: list[str] = []
    files: list[str] = []
    inside = _inside(tree)
    databases = inside.databases
    left_out: list[str] = []
    hints: list[str] = []
    for raw in tree.names():
        status = tree.stat(raw)
        name = os.fsdecode(raw)
        if status is None or name == own:
            continue
        if name in _HINTS or name.endswith(".service"):
            hints.append(name)
        kind = stat.S_IFMT(status.st_mode)
        if name.startswith(".") or name == SUITES_FOLDER:
            continue
        known = kind in (stat.S_IFDIR, stat.S_IFREG) and name not in _IGNORED
        if name in inside.unreadable:
            continue
        if not known or not _writable(name):
            left_out.append(ascii(name)[1:-1])
        elif kind == stat.S_IFDIR:
            folders.append(name)
        elif name not in databases and not _beside(name, databases):
            files.append(name)
    too_many = [*folders, *files][PARTS_MAX:]
    return Found(
        title=_title(title), user=_user(), repository=_repository(tree, folders[:PARTS_MAX]),
        folders=tuple(folders[:PARTS_MAX]), files=tuple(files[: max(0, PARTS_MAX - len(folders))]),
        databases=databases, hints=tuple(hints),
        left_out=(*left_out, *inside.repositories, *too_many), repositories=inside.repositories,
        unreadable=inside.unreadable,
    )  # fmt: skip


def _repository(tree: Tree, folders: list[str]) -> str:
    """Where the repository of the system is: here, or in the only folder that has one; "" for none."""
    if tree.stat(".git") is not None:
        return "."
    found = [name for name in folders if _has(tree, f"{name}/.git")]
    return found[0] if len(found) == 1 else ""


def _has(tree: Tree, path: bytes | str) -> bool:
    try:
        return tree.stat(path) is not None
    except OSError:
        return False


@dataclass(frozen=True)
class _Inside:
    """What was found by walking: paths from here, sorted."""

    databases: tuple[str, ...]
    repositories: tuple[str, ...]
    unreadable: tuple[str, ...]


def _inside(tree: Tree) -> _Inside:
    """SQLite files, known by how they begin; `.git` deeper than a part; what may not be looked into."""
    databases: list[str] = []
    repositories: list[str] = []
    unreadable: set[str] = set()

    def enter(path: bytes) -> bool:
        parts = os.fsdecode(path).split("/")
        return len(parts) <= _DEPTH_MAX and parts[-1][0] != "." and parts[-1] not in _IGNORED

    def failed(path: bytes, _error: OSError) -> None:
        unreadable.add(os.fsdecode(path if _has(tree, path) else os.path.dirname(path)))

    for count, (path, status) in enumerate(tree.walk(enter=enter, failed=failed)):
        name = os.fsdecode(path)
        if count > _SEEN_MAX:
            break
        if name.count("/") > 1 and name.endswith("/.git") and _writable(name):
            repositories.append(name)  # at the top of a part it is passed over anyhow
        if not stat.S_ISREG(status.st_mode) or not name.endswith(_DATABASE_ENDS):
            continue
        if _writable(name) and _begins(tree, path):
            databases.append(name)
    return _Inside(tuple(sorted(databases)), tuple(repositories), tuple(sorted(unreadable)))


def _begins(tree: Tree, path: bytes) -> bool:
    try:
        return tree.read_at(path, 0, len(_DATABASE_BEGINS)) == _DATABASE_BEGINS
    except OSError:
        return False


def _beside(name: str, databases: tuple[str, ...]) -> bool:
    return any(name in (f"{one}-wal", f"{one}-shm", f"{one}-journal") for one in databases)


def _writable(name: str) -> bool:
    """True for a name that a declaration can hold as it is."""
    return name.isprintable() and "$" not in name and _text(name)


def _text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _title(name: str) -> str:
    return name if name and _writable(name) else "This system"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
