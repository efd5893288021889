"""Our own store in a folder, on an example of its use; one in object storage needs a server.

Hides: where the folder is.
Never: holds a contract.
"""

from __future__ import annotations

from rollback.conformance.example import Example
from rollback.conformance.world import World


def _flipped(world: World) -> None:
    """One byte of each pack is another one, on the disk."""
    for path in (world.folder / "copies" / "packs").iterdir():
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "folder": (Example({"path": "copies"}, spoils={"a flipped byte": _flipped}),),
}
