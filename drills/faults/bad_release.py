"""A bad release is shipped: the branch, the files, the data and the running processes are of it.

Nothing heals it but a rollback; that is what it is for.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from drills.faults import Fault, NotInForce, fault_kind
from drills.sandboxes.studio import GIT_ENVIRONMENT, Studio


@fault_kind("bad-release")
@dataclass
class BadRelease(Fault):
    """`release` is a tag of the studio's origin; `restart` stops and starts its services."""

    lasting: ClassVar[bool] = True
    studio: Studio
    release: str
    restart: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, studio: Studio) -> BadRelease:
        """The release whose router answers with errors."""
        return cls(studio, Studio.FAULTS["errors-5xx"])

    def inject(self) -> None:
        """It is shipped."""
        self.studio.ship(self.release, self.restart)

    def prove(self) -> str:
        """The head is the release's commit, and the files are its files."""
        head = self._git("rev-parse", "HEAD")
        wanted = self._git("rev-parse", f"{self.release}^{{commit}}")
        dirty = self._git("status", "--porcelain", "--untracked-files=no")
        if not head or head != wanted or dirty:
            raise NotInForce(f"the head is {head[:12]}, not {self.release}",
                             where=str(self.studio.root))  # fmt: skip
        return f"main and the files are {self.release} ({head[:12]})"

    def prove_gone(self) -> str:
        """A rollback's business."""
        return "left to the rollback"

    def _git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.studio.root, env=GIT_ENVIRONMENT,
                              capture_output=True, timeout=30, check=False)  # fmt: skip
        return done.stdout.decode().strip()
