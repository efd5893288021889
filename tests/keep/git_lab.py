"""Real repositories for tests: built and judged by the git program, changed by ours alone."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from rollback.host import Host, Tap
from rollback.keep.git import Repository

_ENVIRONMENT = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@example.org",
}  # fmt: skip


class Lab:
    """One repository and its state directory."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        self.state = path / ".rollback"
        self._moment = 1_700_000_000
        if create:
            path.mkdir(parents=True, exist_ok=True)
            self.git("init", "-q", "-b", "work", "--template=")
            self.git("config", "gc.auto", "0")  # nothing in the background
            (path / ".git/info").mkdir()
            (path / ".git/info/exclude").write_text(".rollback/\n")
            self.state.mkdir(mode=0o700)

    def git(self, *argv: str, status: int | None = 0, stdin: bytes = b"") -> str:
        moment = f"{self._moment} +0000"
        done = subprocess.run(
            ["git", *argv], cwd=self.path, input=stdin, capture_output=True, check=False,
            env={**_ENVIRONMENT, "GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment},
        )  # fmt: skip
        if status is not None:
            assert done.returncode == status, done.stderr.decode()
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, path: str, data: str | bytes, *, mode: int = 0o644) -> None:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data if isinstance(data, bytes) else data.encode())
        target.chmod(mode)

    def read(self, path: str) -> str:
        return (self.path / path).read_text()

    def commit(self, subject: str, files: dict[str, str] | None = None) -> str:
        """Everything on disk, committed a minute after the last one; its id."""
        self._moment += 60
        for path, data in (files or {}).items():
            self.write(path, data)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def id(self, written: str) -> str:
        return self.git("rev-parse", written)

    def open(self, tap: Tap | None = None, **options: object) -> Repository:
        host = Host(tap=tap) if tap else Host()
        return Repository.at(self.path, host, state=self.state, **options)  # type: ignore[arg-type]

    def everything(self) -> dict[str, tuple[int, str]]:
        """Every file and link, .git included: mode and hash."""
        return dict(_walk(self.path))

    def files(self) -> dict[str, tuple[int, str]]:
        """Every file and link of the working tree."""
        skip = (".git/", ".rollback/")
        return {n: f for n, f in _walk(self.path) if not n.startswith(skip)}

    def truth(self) -> dict[str, object]:
        """All that must not depend on how often a run was interrupted."""
        return {
            "files": self.files(),
            "head": self.git("symbolic-ref", "-q", "HEAD", status=None),
            "refs": self.git("for-each-ref"),
            "index": self.git("ls-files", "-s"),
            "status": self.git("status", "--porcelain"),
            "left": sorted(p.name for p in (self.path / ".git").iterdir()
                           if p.name.startswith("rollback-") or p.name.endswith(".lock")),
            "folders": sorted(str(p.relative_to(self.path)) for p in self.path.rglob("*")
                              if p.is_dir() and ".git" not in p.parts),
        }  # fmt: skip


def _walk(root: Path) -> Iterator[tuple[str, tuple[int, str]]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            data = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
            yield (str(path.relative_to(root)),
                   (path.lstat().st_mode, hashlib.sha256(data).hexdigest()))  # fmt: skip
    for path in root.rglob("*"):
        if path.is_symlink() and path.is_dir():
            yield str(path.relative_to(root)), (path.lstat().st_mode, os.readlink(path))
