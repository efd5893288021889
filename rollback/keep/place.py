"""Where a store keeps its files: a folder of this machine, or a bucket elsewhere.

Hides: nothing; the contract every store kind keeps.
Never: knows what is in a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Annotated, ClassVar, Protocol

from rollback.host import Host
from rollback.model.registry import Kind, spelt

Reference = Annotated[
    str,
    spelt(
        r"\A(env|file|credential):\S+\z",
        "write where it is, not what it is: env:NAME, file:PATH or credential:NAME",
    ),
]
DAMAGED = "damaged"  # the folder of what nothing reads any more


class Place(Protocol):
    """Named files that appear whole or not at all. Names are `folder/name`, plain ASCII.

    Every method raises OSError or HostError when the place does not do it.
    """

    def names(self, folder: str) -> list[str]:
        """The names of the finished files in a folder, sorted; empty when there is no such one."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """The bytes of each finished file in a folder, by its name in it."""
        ...

    def size(self, name: str) -> int:
        """Bytes. Raises: FileNotFoundError."""
        ...

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        """At most that many bytes from there on. Raises: FileNotFoundError."""
        ...

    def create(self, name: str, chunks: Iterable[bytes]) -> None:
        """The file is there, whole and durable. The same name with the same bytes may come again."""
        ...

    def replace(self, name: str, data: bytes | Iterable[bytes]) -> None:
        """The file is exactly `data`, or what it was; only for what can be made again."""
        ...

    def remove(self, name: str) -> None:
        """The file is gone, durably; one that was gone already is no error."""
        ...

    def set_aside(self, name: str) -> None:
        """The file lies in `damaged/` under its own name, where nothing reads it."""
        ...

    def sweep(self) -> None:
        """What dead writers left half-written is gone. Only under the exclusive lock."""
        ...

    def forget(self, name: str) -> None:
        """The next read comes from the medium, not from a cache, as far as that can be had."""
        ...

    def lock(self, *, shared: bool = False, within_s: float = 10.0) -> AbstractContextManager[None]:
        """One writer, or many readers. Raises: RunLocked."""
        ...

    def close(self) -> None:
        """What was opened is given back."""
        ...


class StoreKind(Kind):
    """A place for checkpoints. Subclasses are kinds of the family `store`.

    `remote`: what lies there has left this machine. `key` names 32 bytes as 64 hex digits; with it
    everything is encrypted before it goes there.
    """

    remote: ClassVar[bool] = False

    @property
    def claimed(self) -> bool:
        """True when one state directory alone may write there, and says so there."""
        return False

    key: Reference | None = None

    def place(self, host: Host, *, base: str, make: bool = False) -> Place:
        """The place, ready; relative addresses and references start at the folder `base`.

        `make`: it comes into being where it can. Raises: HostUnreachable, HostError, UsageError.
        """
        raise NotImplementedError

    def address(self, *, base: str) -> str:
        """Where it is, for people, and to notice that it is another one now."""
        raise NotImplementedError
