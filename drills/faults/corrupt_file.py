"""One bit of a file is wrong, and neither its size nor its time says so."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills.faults import Fault, NotHealed, NotInForce, fault_kind
from drills.faults.watchdog import put_right
from drills.sandboxes.studio import Studio
from rollback.model.errors import UsageError


@fault_kind("corrupt-file")
@dataclass
class CorruptFile(Fault):
    """Bit 0 of the byte at `offset`; negative offsets count from the end, None is the middle.

    The whole file lies in a temporary folder meanwhile, out of the reach of what captures it.
    """

    path: Path
    offset: int | None = None
    aside: Path = field(init=False)

    def __post_init__(self) -> None:
        self.aside = Path(tempfile.mkdtemp(prefix="rollback-fault-")) / "whole"

    @classmethod
    def of(cls, studio: Studio) -> CorruptFile:
        """What the agents look up."""
        return cls(next(p for p in sorted((studio.root / "knowledge").rglob("*")) if p.is_file()))

    def inject(self) -> None:
        """The bit is flipped in place."""
        whole = self.path.read_bytes()
        if not whole:
            raise UsageError("an empty file has no bit to flip", where=str(self.path))
        status = self.path.stat()
        shutil.copy2(self.path, self.aside)
        at = len(whole) // 2 if self.offset is None else self.offset % len(whole)
        with self.path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([whole[at] ^ 1]))
        os.utime(self.path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def prove(self) -> str:
        """Exactly one bit differs from the whole file."""
        whole, now = self.aside.read_bytes(), self.path.read_bytes()
        bits = sum((a ^ b).bit_count() for a, b in zip(whole, now, strict=True))
        if bits != 1:
            raise NotInForce(f"{bits} bits differ", where=str(self.path))
        return f"one bit of {len(now)} bytes of {self.path.name} is wrong"

    def heal(self) -> None:
        """Its bytes are the whole ones, unless somebody has put the file right meanwhile."""
        put_right(self.path, self.aside)

    def prove_gone(self) -> str:
        """Nothing is left aside."""
        if self.aside.exists() or not self.path.is_file():
            raise NotHealed("the file is not put back", where=str(self.path))
        return f"{self.path.name} is whole"

    def cure(self) -> dict[str, Any]:
        """Put it back."""
        return {"what": "bytes", "path": str(self.path), "aside": str(self.aside)}
