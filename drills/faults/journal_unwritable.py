"""The journal can be read but takes no more lines, not even from root: it is immutable."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drills.faults import Fault, NotHealed, NotInForce, fault_kind
from drills.sandboxes.studio import Studio


@fault_kind("journal-unwritable")
@dataclass
class JournalUnwritable(Fault):
    """`path` is the journal's file. Takes root and a file system that knows the flag."""

    path: Path

    @classmethod
    def of(cls, studio: Studio) -> JournalUnwritable:
        """The journal beside the declaration."""
        return cls(studio.directory / ".rollback" / "journal" / "events.jsonl")

    def inject(self) -> None:
        """The file has the flag."""
        _chattr("+i", self.path)

    def prove(self) -> str:
        """Opening it to append is refused, reading is not."""
        self.path.read_bytes()
        if _appendable(self.path):
            raise NotInForce("the journal still opens to be written", where=str(self.path))
        return f"{self.path.name} can be read and not written"

    def heal(self) -> None:
        """The flag is gone."""
        if self.path.exists():
            _chattr("-i", self.path)

    def prove_gone(self) -> str:
        """It opens to append."""
        if not _appendable(self.path):
            raise NotHealed("the journal cannot be written", where=str(self.path))
        return f"{self.path.name} can be written"

    def cure(self) -> dict[str, Any]:
        """Take the flag away."""
        return {"what": "attribute", "path": str(self.path), "flag": "-i"}


def _appendable(path: Path) -> bool:
    try:
        path.open("ab").close()
    except PermissionError:
        return False
    return True


def _chattr(flag: str, path: Path) -> None:
    done = subprocess.run(["chattr", flag, "--", str(path)], capture_output=True, timeout=10,
                          check=False)  # fmt: skip
    if done.returncode:
        raise NotInForce(f"chattr {flag}: {done.stderr.decode().strip()}", where=str(path),
                         hint="this fault needs root, and a file system with attributes")  # fmt: skip
