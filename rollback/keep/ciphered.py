"""A place whose files are encrypted on this side: AES-256-GCM, one message a file.

    file     `RBAES01\n`, nonce (12), ciphertext, tag (16)
    name     that of what is in it, with `.aes`; magic and name are authenticated too

The nonce is drawn for every writing, never kept and never chosen. A file is opened whole or not at
all, so a range of it costs the reading of all of it; the last one is kept.

Hides: the encoding, and `cryptography` (the extra `s3`), imported when it is needed.
Never: lets a byte of the content, or the key, reach the place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from rollback.host import Host
from rollback.keep.place import Place
from rollback.model.errors import HostError, ObjectCorrupt, StoreError

ENDING = ".aes"
MAGIC = b"RBAES01\n"
NONCE_BYTES = 12
OVERHEAD_BYTES = len(MAGIC) + NONCE_BYTES + 16
KEY_CHECK = "keycheck"
_KNOWN = b"rollback-copy 1\n"
_INSTALL = "install the extra s3 from a checkout: pip install 'CHECKOUT[s3]' (make setup does it)"


class Ciphered:
    """The files of `place`, in clear on this side of it."""

    def __init__(self, place: Place, key: bytes, host: Host) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise HostError("encrypted copies need the extra s3", hint=_INSTALL) from None
        self._place = place
        self._cipher = AESGCM(key)
        self._wrong: type[Exception] = InvalidTag
        self._nonce: Callable[[], bytes] = lambda: bytes.fromhex(host.token(NONCE_BYTES))
        self._last: tuple[str, bytes] = ("", b"")

    def prove_key(self, *, begin: bool) -> None:
        """The key is the one of this place; `begin`: of one that has none yet it becomes that.

        Raises: StoreError.
        """
        if KEY_CHECK + ENDING in self._place.names("."):
            try:
                known = self.read(KEY_CHECK, 0, 100)
            except ObjectCorrupt:
                known = b""
            if known != _KNOWN:
                raise StoreError("this key does not open what lies there", where=KEY_CHECK + ENDING,
                                 hint="give the key under which its copies were made")  # fmt: skip
        elif begin:
            self.create(KEY_CHECK, [_KNOWN])
        else:
            raise StoreError("what lies there is not encrypted, or not whole", where=KEY_CHECK + ENDING,
                             hint="give this store another path or prefix, or take its key away")  # fmt: skip

    def names(self, folder: str) -> list[str]:
        """The names of the encrypted files, without their ending."""
        return [one.removesuffix(ENDING) for one in self._place.names(folder)
                if one.endswith(ENDING)]  # fmt: skip

    def sizes(self, folder: str) -> dict[str, int]:
        """The bytes of what is in each file."""
        return {one.removesuffix(ENDING): size - OVERHEAD_BYTES
                for one, size in self._place.sizes(folder).items() if one.endswith(ENDING)}  # fmt: skip

    def size(self, name: str) -> int:
        """The bytes of what is in the file."""
        return self._place.size(name + ENDING) - OVERHEAD_BYTES

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        """At most that many bytes from there on, authenticated. Raises: ObjectCorrupt."""
        if self._last[0] != name:
            self._last = (name, self._opened(name))
        return self._last[1][offset : offset + size_bytes]

    def create(self, name: str, chunks: Iterable[bytes]) -> None:
        """The file is there, encrypted under a nonce of its own."""
        self._place.create(name + ENDING, [self._closed(name, b"".join(chunks))])

    def replace(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """The file is exactly `data`, or what it was."""
        whole = data if isinstance(data, bytes) else b"".join(data)
        self._place.replace(name + ENDING, self._closed(name, whole))
        self.forget(name)

    def remove(self, name: str) -> None:
        """The file is gone."""
        self._place.remove(name + ENDING)

    def set_aside(self, name: str) -> None:
        """The file lies in `damaged/`, encrypted as it was."""
        self._place.set_aside(name + ENDING)

    def sweep(self) -> None:
        """What dead writers left half-written is gone."""
        self._place.sweep()

    def forget(self, name: str) -> None:
        """The next read comes from the place."""
        self._last = ("", b"")
        self._place.forget(name + ENDING)

    def lock(self, *, shared: bool = False, within_s: float = 10.0) -> AbstractContextManager[None]:
        """That of the place."""
        return self._place.lock(shared=shared, within_s=within_s)

    def close(self) -> None:
        """What was opened is given back."""
        self._last = ("", b"")
        self._place.close()

    # -- inside ----------------------------------------------------------------------------

    def _closed(self, name: str, data: bytes) -> bytes:
        nonce = self._nonce()
        return MAGIC + nonce + self._cipher.encrypt(nonce, data, MAGIC + name.encode("ascii"))

    def _opened(self, name: str) -> bytes:
        size = self._place.size(name + ENDING)
        raw: Any = self._place.read(name + ENDING, 0, size)
        head = len(MAGIC)
        if raw[:head] != MAGIC or len(raw) < OVERHEAD_BYTES:
            raise ObjectCorrupt("not an encrypted file, or cut short", where=name + ENDING)
        try:
            return self._cipher.decrypt(
                raw[head : head + NONCE_BYTES], raw[head + NONCE_BYTES :], MAGIC + name.encode("ascii")
            )  # fmt: skip
        except self._wrong:
            raise ObjectCorrupt("its bytes have changed, or it is of another key",
                                where=name + ENDING) from None  # fmt: skip


__all__ = ["ENDING", "KEY_CHECK", "MAGIC", "NONCE_BYTES", "OVERHEAD_BYTES", "Ciphered"]
