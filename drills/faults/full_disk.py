"""No space is left, for the programs that are run inside of it and for nobody else.

A small memory file system lies over one folder in a mount namespace of its own, which ends with
the process that holds it: no mount can leak.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drills.faults import Fault, NotHealed, NotInForce, fault_kind
from drills.sandboxes.studio import Studio
from rollback.model.errors import UsageError

_HOLD = """
import ctypes, os, signal, subprocess, sys
folder, size, parent = sys.argv[1], sys.argv[2], int(sys.argv[3])
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != parent: sys.exit(1)
kept = subprocess.run(["tar", "-C", folder, "-cf", "-", "."], capture_output=True, check=True).stdout
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder], check=True)
subprocess.run(["tar", "-C", folder, "-xf", "-"], input=kept, check=True)
with open(os.path.join(folder, ".ballast"), "wb", buffering=0) as file:
    try:
        while True: file.write(b"x" * 4096)
    except OSError: pass
print("full", flush=True)
signal.pause()
"""


@fault_kind("full-disk")
@dataclass
class FullDisk(Fault):
    """`folder` has no byte left for what is run by `run`; its present content is there as a copy."""

    folder: Path
    size_bytes: int = 16 * 2**20
    _holder: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, studio: Studio) -> FullDisk:
        """The whole studio with its state directory."""
        return cls(studio.directory, 64 * 2**20)

    def inject(self) -> None:
        """The namespace is there, and its disk full."""
        import sys

        argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-I", "-c", _HOLD]
        argv += [str(self.folder), str(self.size_bytes), str(os.getpid())]
        self._holder = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"full\n":
            self.heal()
            raise NotInForce("the full disk cannot be made", where=str(self.folder),
                             hint="this fault needs the right to mount: root")  # fmt: skip

    def run(
        self, argv: Sequence[str], *, within_s: float = 60.0
    ) -> subprocess.CompletedProcess[bytes]:
        """The program has ended; it saw the full disk."""
        if self._holder is None:
            raise UsageError("the fault is not injected")
        inside = ["nsenter", "--mount", "--target", str(self._holder.pid), "--", *argv]
        return subprocess.run(inside, capture_output=True, timeout=within_s, check=False)

    def prove(self) -> str:
        """Inside, a page cannot be written; outside, it can."""
        probe = self.folder / ".probe"
        done = self.run(["dd", "if=/dev/zero", f"of={probe}", "bs=64k", "count=1"])
        if done.returncode == 0 or b"No space left" not in done.stderr:
            raise NotInForce(f"there is space: {done.stderr[-200:]!r}", where=str(self.folder))
        return f"inside, nothing can be written below {self.folder}: no space left"

    def heal(self) -> None:
        """The namespace is gone, its copy with it."""
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait(10.0)
            assert self._holder.stdout is not None
            self._holder.stdout.close()
            self._holder = None

    def prove_gone(self) -> str:
        """No such mount is known here, and a page can be written."""
        if str(self.folder) in Path("/proc/mounts").read_text().split():
            raise NotHealed("the mount leaked", where=str(self.folder))
        probe = self.folder / ".probe"
        probe.write_bytes(bytes(65536))
        probe.unlink()
        return f"{self.folder} can be written"
