"""Resolving a path below an open folder and never leaving it, and walking what is there.

Every component is resolved by openat2 without links, magic links or other mounts. Paths longer
than the kernel takes at once are resolved in pieces; a deep tree needs few descriptors.

Hides: openat2, and how many folders are open at a time.
Never: follows a link, crosses a mount, skips something silently.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat as stat_
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from rollback.model.errors import Confined, HostError

PATH_BYTES_MAX = 4000  # the kernel takes 4095 at once
OPEN_FOLDERS_MAX = 64
_OPENAT2 = 437
_RESOLVE = 0x01 | 0x02 | 0x04 | 0x08  # NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_PART = rb"(?!\.\.?(?:/|\Z))[^/\0]{1,255}"
_PLAIN = re.compile(rb"%b(?:/%b)*" % (_PART, _PART))
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_libc = ctypes.CDLL(None, use_errno=True)

Failed = Callable[[bytes, OSError], None]


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW_BYTES = ctypes.sizeof(_OpenHow)


@lru_cache(maxsize=64)
def _how(flags: int, mode: int) -> Any:
    """What the kernel is told about opening; it only reads it."""
    return ctypes.byref(_OpenHow(flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode, _RESOLVE))


def checked(path: bytes | str) -> bytes:
    """`path` as bytes, proved relative and plain. Raises: Confined."""
    raw = os.fsencode(path)
    if _PLAIN.fullmatch(raw):
        return raw
    if raw in (b"", b"."):
        return b"."
    if raw.startswith(b"/") or b"\0" in raw:
        raise Confined("an absolute path or a NUL byte is not below a root", where=show(raw))
    raise Confined("the path has an empty, '.', '..' or overlong part", where=show(raw))


def show(path: bytes | str) -> str:
    """A path that is safe to print: control and undecodable bytes escaped."""
    text = os.fsdecode(path)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def why(error: Exception, where: str = "") -> str:
    """What went wrong, for people: what the system says, and the path, if that is not `where`.

    >>> why(PermissionError(13, "Permission denied", b"/srv/data"))
    'Permission denied: /srv/data'
    """
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    named = error.filename
    about = show(named) if isinstance(named, bytes | str) else ""
    return error.strerror + (f": {about}" if about not in ("", where) else "")


def remedy(error: Exception, place: str) -> str:
    """What to do about what the system refused at an absolute path."""
    cause = error if isinstance(error, OSError) else error.__cause__
    code = cause.errno if isinstance(cause, OSError) else None
    if code in (errno.EACCES, errno.EPERM):
        return _rights(place)
    if code == errno.EROFS:
        return f"it lies on a read-only mount: findmnt -T {place}"
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "make room there"
    return f"look at it: ls -ld {place}" if place else "look where it says"


def _rights(place: str) -> str:
    """Whose it is, or whose the nearest folder above it is that we may see, and with which mode."""
    while True:
        try:
            found = os.lstat(place)
            break
        except OSError:
            if place in ("", "/"):
                return "nobody can tell whose it is"
            place = os.path.dirname(place)
    said = f"{place} is {stat_.filemode(found.st_mode)} of {_who(found.st_uid)}"
    if found.st_uid == os.geteuid():
        return f"{said}, which is this user: chmod u+rwX {place}"
    return f"{said}, and this is {_who(os.geteuid())}: run as its owner, or let this user in"


def _who(uid: int) -> str:
    import pwd  # only where somebody was refused

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def open_plain(path: bytes) -> int:
    """A descriptor of the folder at an absolute path, no part of which is a link.

    Raises: Confined where one is, or something that is no folder; HostError.
    """
    parts = [part for part in path.split(b"/") if part]
    fd = os.open(b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number, part in enumerate(parts, start=1):
            kind = os.O_RDONLY if number == len(parts) else os.O_PATH
            below = os.open(part, kind | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = below
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise Confined("a link or something that is no folder is in the way",
                           where=show(path)) from None  # fmt: skip
        raise HostError(error.strerror or "cannot be opened", where=show(path),
                        hint=remedy(error, show(path))) from error  # fmt: skip
    return fd


def open_below(root: int, path: bytes, flags: int, mode: int, place: Callable[[], str]) -> int:
    """A descriptor of `path` below `root`. Raises: Confined, OSError."""
    at, rest = root, path
    try:
        while len(rest) > PATH_BYTES_MAX:
            cut = rest.rindex(b"/", 0, PATH_BYTES_MAX)
            below = _openat2(at, rest[:cut], _FOLDER, 0, place)
            if at != root:
                os.close(at)
            at, rest = below, rest[cut + 1 :]
        return _openat2(at, rest, flags, mode, place)
    finally:
        if at != root:
            os.close(at)


def _openat2(at: int, path: bytes, flags: int, mode: int, place: Callable[[], str]) -> int:
    how = _how(flags, mode)
    while True:
        fd = _libc.syscall(_OPENAT2, at, path, how, _HOW_BYTES)
        if fd >= 0:
            return int(fd)
        code = ctypes.get_errno()
        if code in (errno.EINTR, errno.EAGAIN):
            continue
        if code == errno.EXDEV:
            raise Confined("another mount is in the way", where=place())
        if code == errno.ELOOP or (code == errno.ENOTDIR and _is_link(at, path)):
            raise Confined("a link is in the way", where=place())
        raise OSError(code, os.strerror(code), place())


def _is_link(at: int, path: bytes) -> bool:
    """True for a link where a folder was asked for: the kernel only says that it is no folder."""
    fd = _libc.syscall(_OPENAT2, at, path, _how(os.O_PATH, 0), _HOW_BYTES)
    if fd < 0:
        return ctypes.get_errno() == errno.ELOOP
    try:
        return stat_.S_ISLNK(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


class _Level:
    """One folder on the way down: its path, the names still to visit, its descriptor if open."""

    def __init__(self, path: bytes, fd: int) -> None:
        self.path = path
        self.fd = fd
        self.names = sorted((os.fsencode(name) for name in os.listdir(fd)), reverse=True)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def walk_below(
    root: int,
    start: bytes,
    enter: Callable[[bytes], bool],
    failed: Failed | None,
    place: Callable[[bytes], str],
) -> Iterator[tuple[bytes, os.stat_result]]:
    """Everything below `start`, parents before children, names sorted; links not followed.

    What is gone by the time it is looked at is not there. What cannot be read goes to `failed`,
    and the walk goes on; without it the error is raised.
    """
    levels = [_Level(b"" if start == b"." else start, _folder(root, start, place))]
    try:
        while levels:
            level = levels[-1]
            if not level.names:
                levels.pop().close()
                continue
            name = level.names.pop()
            path = level.path + b"/" + name if level.path else name
            try:
                if level.fd < 0:
                    level.fd = _folder(root, level.path or b".", place)
                found = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                _report(failed, path, error)
                continue
            yield path, found
            if stat_.S_ISDIR(found.st_mode) and enter(path):
                try:
                    levels.append(_entered(level.fd, name, path, place))
                except (FileNotFoundError, NotADirectoryError):
                    pass
                except OSError as error:
                    _report(failed, path, error)
                if len(levels) > OPEN_FOLDERS_MAX:
                    levels[-1 - OPEN_FOLDERS_MAX].close()
    finally:
        for level in levels:
            level.close()


def scan_folder(
    fd: int, prefix: bytes, failed: Failed | None
) -> list[tuple[bytes, os.stat_result]]:
    """What is in the open folder, sorted by name; `prefix` is put before names for `failed`."""
    found = []
    with os.scandir(fd) as entries:
        for entry in entries:
            name = entry.name.encode(_ENCODING, _ERRORS)  # as os.fsencode, without its detours
            try:
                found.append((name, entry.stat(follow_symlinks=False)))
            except OSError as error:
                _report(failed, prefix + name, error)
    found.sort(key=_name)
    return found


def _name(item: tuple[bytes, os.stat_result]) -> bytes:
    return item[0]


def _folder(root: int, path: bytes, place: Callable[[bytes], str]) -> int:
    return open_below(root, path, _FOLDER, 0, lambda: place(path))


def _entered(at: int, name: bytes, path: bytes, place: Callable[[bytes], str]) -> _Level:
    fd = _openat2(at, name, _FOLDER, 0, lambda: place(path))
    try:
        return _Level(path, fd)
    except OSError:
        os.close(fd)
        raise


def _report(failed: Failed | None, path: bytes, error: OSError) -> None:
    if failed is None:
        raise error
    failed(path, error)
