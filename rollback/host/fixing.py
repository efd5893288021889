"""The immutable flag of a file or folder, where the file system has one and we may set it.

Hides: the ioctl.
Never: follows a link.
"""

from __future__ import annotations

import fcntl
import os

from rollback.host.below import checked
from rollback.host.files import Tree
from rollback.model.errors import HostError

_GET_FLAGS = 0x80086601  # FS_IOC_GETFLAGS
_SET_FLAGS = 0x40086602  # FS_IOC_SETFLAGS
_IMMUTABLE = 0x10


def fix(tree: Tree, path: bytes, *, on: bool, only: tuple[int, int]) -> None:
    """The file or folder cannot be changed by anybody until the flag is off again, or can.

    `only` is its device and inode. Raises: HostError when another one stands there by now; OSError
    where the file system knows no flags, or we may not set them.
    """
    fd = tree.open_fd(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if only != (found.st_dev, found.st_ino):
            raise HostError("another file stands there by now", where=tree.place(path))
        flags = bytearray(8)
        fcntl.ioctl(fd, _GET_FLAGS, flags)
        now = int.from_bytes(flags[:4], "little")
        wanted = now | _IMMUTABLE if on else now & ~_IMMUTABLE
        if wanted != now:
            packed = bytearray(wanted.to_bytes(8, "little"))
            tree.tap.change("setflags", checked(path), lambda: fcntl.ioctl(fd, _SET_FLAGS, packed))
    finally:
        os.close(fd)
