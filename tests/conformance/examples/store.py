"""Our own stores, each on an example of its use: a folder, object storage.

Hides: where the bytes are.
Never: holds a contract.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollback.conformance.example import Example
from rollback.conformance.world import World
from rollback.host.bucket import Bucket
from tests.conformance.examples.servers import environ, moto, swift
from tests.keep.object_storage import ACCESS, SECRET, store


def _other(data: bytes) -> bytes:
    """One byte in the middle is another one."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _on_disk(world: World) -> None:
    for path in (world.folder / "copies" / "packs").iterdir():
        path.chmod(0o600)
        path.write_bytes(_other(path.read_bytes()))


def _bucket(name: str, server: Callable[[], str], **more: Any) -> Example:
    """A place in a bucket that no other world has."""

    def in_it(world: World) -> None:
        raw = Bucket("copies", world.folder.name, endpoint=server(), region="us-east-1",
                     access_key=ACCESS, secret_key=SECRET, within_s=10, tap=world.host.tap)  # fmt: skip
        for pack in raw.sizes("packs"):
            raw.put(f"packs/{pack}", _other(raw.whole(f"packs/{pack}")))

    return Example(
        lambda world: dict(store(server(), prefix=world.folder.name, **more)["s3"]), name,
        prepare=lambda world: environ(world, S3_ACCESS=ACCESS, S3_SECRET=SECRET),
        spoils={"a flipped byte": in_it},
    )  # fmt: skip


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "folder": (Example({"path": "copies"}, spoils={"a flipped byte": _on_disk}),),
    "s3": (
        _bucket("one-writer", moto),
        _bucket("many-writers", moto, writers="many"),
        _bucket("swift", swift),
    ),
}
