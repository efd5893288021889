"""Names that move where nothing stands, or change places; with renameat2, and without it.

One call does either in one instant. Where the kernel or the file system lacks it, a file gets its
new name, durably, before it loses the old one; a folder is renamed, which replaces nothing but an
empty folder. Exchanging has no stand-in.

Hides: renameat2, and what stands in for it.
Never: replaces a file; leaves one without a name.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat as stat_
from collections.abc import Callable
from typing import Any

from rollback.model.errors import HostError

Spot = tuple[int, bytes]  # an open folder, and a name in it
Change = Callable[[str, Callable[[], None]], None]  # a system call by its name, made
LACKING = (errno.ENOSYS, errno.EINVAL)  # no such call; none of its flags on this file system
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NOREPLACE, _EXCHANGE = 1, 2
_renameat2: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def exchange(one: Spot, other: Spot, change: Change) -> None:
    """The two have changed places, in one instant. Raises: OSError, one of LACKING where it cannot be."""
    change("renameat2", lambda: _call(one, other, _EXCHANGE))


def move(source: Spot, target: Spot, change: Change, *, alone: bool) -> None:
    """What stood at `source` stands at `target`, where nothing stood.

    `alone`: nobody else writes in the folder of `target`. Crash: a file may have both names; then
    the same call takes the old one away. Raises: FileExistsError; HostError where a file could
    only be moved by perhaps replacing another.
    """
    try:
        change("renameat2", lambda: _call(source, target, _NOREPLACE))
    except FileExistsError:
        _drop(source, target, change)
    except OSError as error:
        if error.errno not in LACKING:
            raise
        _move(source, target, change, alone=alone)


def _move(source: Spot, target: Spot, change: Change, *, alone: bool) -> None:
    if not stat_.S_ISDIR(_look(source).st_mode):
        try:
            change("link", lambda: os.link(
                source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0],
                follow_symlinks=False))  # fmt: skip
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if not alone:
                raise HostError(
                    "here a file can be moved neither without perhaps replacing another, nor by a "
                    "second name", where=os.fsdecode(target[1]),
                    hint="move it by hand while nobody writes there",
                ) from error  # fmt: skip
    if _stands(target):
        _drop(source, target, change)
    else:
        change("rename", lambda: os.rename(
            source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0]))  # fmt: skip


def _drop(source: Spot, target: Spot, change: Change) -> None:
    """The old name of a file that has the new one too is gone. Raises: FileExistsError otherwise."""
    old, new = _look(source), _look(target)
    if stat_.S_ISDIR(old.st_mode) or (old.st_dev, old.st_ino) != (new.st_dev, new.st_ino):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target[1])
    change("fsync", lambda: os.fsync(target[0]))
    change("unlink", lambda: os.unlink(source[1], dir_fd=source[0]))


def _look(spot: Spot) -> os.stat_result:
    return os.stat(spot[1], dir_fd=spot[0], follow_symlinks=False)


def _stands(spot: Spot) -> bool:
    try:
        _look(spot)
    except FileNotFoundError:
        return False
    return True


def _call(one: Spot, other: Spot, flags: int) -> None:
    code = errno.ENOSYS
    if _renameat2 is not None:
        if _renameat2(*one, *other, flags) == 0:
            return
        code = ctypes.get_errno()
    raise OSError(code, os.strerror(code))
