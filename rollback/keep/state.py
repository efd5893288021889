"""The state directory: the tool's own memory, beside the declaration, never inside what it restores.

Hides: where each thing lies in it, and how it is protected.
Never: holds anything of the managed system but what was captured.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from rollback.host import Host, Tree
from rollback.host.below import remedy, why
from rollback.keep import state_key
from rollback.model.errors import HostError, JournalError
from rollback.model.system import System

FOLDERS = ("journal", "store", "intents", "quarantine", "runs", "approvals", "seals")
_IGNORE = b"*\n"


class StateDir:
    """The opened state directory of one system; `tree` is confined to it. Close it after use."""

    def __init__(self, path: Path, tree: Tree) -> None:
        self.path = path
        self.tree = tree

    @classmethod
    def open(cls, system: System, host: Host, *, create: bool = True) -> StateDir:
        """The state directory, ready: private, ours, with its folders.

        Raises: JournalError when it is not there (`create` False), a link, another's, or open to
        others; nothing is repaired silently.
        """
        path = system.state_path
        if not path.is_dir() and not path.is_symlink():
            if not create:
                raise JournalError(
                    "there is no state directory yet", where=str(path),
                    hint="it comes into being with the first checkpoint or run",
                )  # fmt: skip
            _make(path, host)
        try:
            tree = host.tree(str(path))
        except HostError as error:
            raise JournalError(
                f"the state directory cannot be used: {error.message}", where=str(path),
                hint=f"it must be a folder, not a link; {error.hint}",
            ) from error  # fmt: skip
        try:
            _check(tree, path)
            for name in FOLDERS:
                if create or name == "journal":  # to look, nothing has to come into being
                    tree.make_folder(name)
            if create and system.key:
                state_key.keep(tree, system.key)
        except JournalError:
            tree.close()
            raise
        except (HostError, OSError) as error:
            tree.close()
            raise JournalError(
                f"the state directory cannot be used: {why(error, str(path))}", where=str(path),
                hint=f"everything in it must be ours, and writable; {remedy(error, str(path))}",
            ) from error  # fmt: skip
        return cls(path, tree)

    @property
    def writable(self) -> bool:
        """True when this process may write there now."""
        return self.tree.writable()

    def close(self) -> None:
        """The descriptor is given back."""
        self.tree.close()


def _make(path: Path, host: Host) -> None:
    try:
        with host.tree(str(path.parent)) as parent:
            parent.make_folder(path.name, mode=0o700)
            parent.sync_folder()
        with host.tree(str(path)) as tree:
            tree.write(".gitignore", _IGNORE)
    except (HostError, OSError) as error:
        raise JournalError(
            f"the state directory cannot be made: {why(error, str(path))}", where=str(path),
            hint=f"{remedy(error, str(path.parent))}; or choose another place with --state DIR",
        ) from error  # fmt: skip


def _check(tree: Tree, path: Path) -> None:
    found = os.fstat(tree.fd)
    if found.st_uid != os.geteuid():
        raise JournalError(
            "the state directory belongs to somebody else", where=str(path),
            hint=f"run as uid {found.st_uid}, or choose another place with --state DIR",
        )  # fmt: skip
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise JournalError(
            "the state directory is open to others", where=str(path), hint=f"type: chmod 700 {path}"
        )
