"""A git repository opened deliberately: ours, whole, of a kind we understand, and nothing runs.

libgit2 runs in this process: no hook, no filter, no configured program is ever started. Files of
the user and of the machine (`~/.gitconfig`, `/etc/gitconfig`) are not read, so that the same
repository gives the same result everywhere.

Hides: the options of libgit2, the lock on the index.
Never: opens a repository that belongs to another user.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pygit2
from pygit2.enums import ConfigLevel, RepositoryOpenFlag, RepositoryState

from rollback.host import Host, Tree
from rollback.keep.git_files import Files
from rollback.keep.git_objects import Objects
from rollback.model.errors import Confined, HostError, PlanError, Refused, UsageError

STAGE = b".git/rollback-"
_LOCK = b".git/index.lock"


@dataclass(frozen=True)
class Opened:
    """An open repository. `own` and `kept` are paths below it: the tool's, and what stays."""

    repo: pygit2.Repository
    tree: Tree
    objects: Objects
    files: Files
    host: Host
    path: Path
    remote: str = ""
    protected: tuple[str, ...] = ()
    baseline: str = ""
    state_path: Path | None = None
    own: tuple[bytes, ...] = field(default=())
    kept: tuple[bytes, ...] = field(default=())

    @property
    def where(self) -> str:
        """The repository, for messages."""
        return str(self.path)

    @property
    def git_path(self) -> str:
        """The git directory."""
        return str(self.path / ".git")

    def head(self) -> tuple[str, str]:
        """The branch (empty when detached) and the commit. Raises: PlanError before the first."""
        if self.repo.head_is_unborn:
            raise PlanError("the repository has no commit yet", where=self.where)
        ref = self.repo.head
        branch = "" if self.repo.head_is_detached else ref.name.removeprefix("refs/heads/")
        return branch, str(ref.target)

    def is_protected(self, branch: str) -> bool:
        """True when the declaration says that nobody moves or pushes this branch."""
        short = branch.removeprefix("refs/heads/")
        return any(fnmatchcase(short, name.removeprefix("refs/heads/")) for name in self.protected)

    def undisturbed(self) -> None:
        """No merge, rebase or the like is going on. Raises: Refused."""
        state = self.repo.state()
        if state != RepositoryState.NONE:
            raise Refused(
                "git-busy", f"the repository is in the middle of a {RepositoryState(state).name}",
                where=self.where, hint="finish or abort it first, with git",
            )  # fmt: skip

    def sweep(self) -> None:
        """What a dead attempt of ours left in the git directory is gone.

        The lock on the index is ours when it is the same file as the one that we staged.
        """
        held = self.tree.stat(_LOCK)
        for name in self.tree.names(b".git"):
            folder = b".git/" + name
            if not folder.startswith(STAGE):
                continue
            mine = self.tree.stat(folder + b"/lock")
            if mine and held and (mine.st_dev, mine.st_ino) == (held.st_dev, held.st_ino):
                self.tree.unlink(_LOCK)
            with self.tree.sub(folder) as stage:
                for left in stage.names():
                    stage.unlink(left)
            self.tree.remove_folder(folder)

    @contextmanager
    def locked(self, stage: bytes) -> Iterator[None]:
        """The index is ours; `stage` is a folder for finished files. Raises: Refused.

        Crash: the lock stays; `sweep` knows it as ours.
        """
        self.sweep()
        self.tree.make_folder(stage)
        try:
            self.tree.write(stage + b"/lock", b"", sync=False)
            try:
                self.tree.link(stage + b"/lock", _LOCK)
            except FileExistsError:
                raise Refused(
                    "git-locked", "another git program holds the index", where=self.where,
                    hint="wait for it; if none runs, remove .git/index.lock",
                ) from None  # fmt: skip
            yield
        finally:
            self.sweep()


@cache
def _configure() -> None:
    """libgit2 as we want it, once per process."""
    pygit2.settings.owner_validation = True
    pygit2.settings.enable_fsync_gitdir(True)
    pygit2.settings.enable_strict_hash_verification(True)
    pygit2.settings.enable_unsaved_index_safety(True)
    for level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
        pygit2.settings.search_path[level] = ""
    pygit2.settings.server_connect_timeout = 10_000
    pygit2.settings.server_timeout = 60_000


def open_at(
    path: Path, host: Host, *, remote: str = "", protected: tuple[str, ...] = (),
    baseline: str = "", state: Path | None = None, kept: tuple[Path, ...] = (),
) -> Opened:  # fmt: skip
    """The repository whose working tree is `path`, opened.

    Raises: UsageError when there is none; Refused when it is not one we may or can work with.
    """
    _configure()
    try:
        tree = host.tree(str(path))
    except HostError as error:
        raise UsageError("there is no repository here", where=str(path)) from error
    try:
        _check_folder(tree, path)
        repo = _open(path)
        _check_kind(repo, tree, path)
    except BaseException:
        tree.close()
        raise
    cut = tree.read(b".git/shallow").decode("ascii", "replace").split() if repo.is_shallow else []
    objects = Objects(repo, str(path), frozenset(cut))
    config = repo.config
    modes = "core.filemode" not in config or bool(config.get_bool("core.filemode"))
    files = Files(tree, objects, modes=modes, text=_text_rule(repo))
    own = _inside(path, state) if state else b""
    return Opened(
        repo, tree, objects, files, host, path, remote=remote, protected=protected,
        baseline=baseline, state_path=state, own=(own,) if own else (),
        kept=tuple(found for found in (_inside(path, one) for one in kept) if found),
    )  # fmt: skip


def _inside(path: Path, other: Path) -> bytes:
    try:
        return os.fsencode((other.parent.resolve() / other.name).relative_to(path.resolve()))
    except ValueError:
        return b""


def _check_folder(tree: Tree, path: Path) -> None:
    git = tree.stat(b".git")
    where = str(path)
    if git is None:
        bare = tree.stat(b"HEAD") is not None and tree.stat(b"objects") is not None
        if bare:
            raise Refused("git-bare", "a bare repository has no files to roll back", where=where,
                          hint="declare the checkout that the system runs from")  # fmt: skip
        raise UsageError("there is no git repository here", where=where,
                         hint="set repository.path to the folder that holds .git")  # fmt: skip
    if not stat.S_ISDIR(git.st_mode):
        raise Refused(
            "git-elsewhere", ".git is a link or a pointer to another folder", where=where,
            hint="declare the main checkout, not a linked one or a submodule",
        )  # fmt: skip
    for found in (os.fstat(tree.fd), git):
        if found.st_uid != os.geteuid():
            raise Refused(
                "git-owner", f"the repository belongs to uid {found.st_uid}, this is uid"
                f" {os.geteuid()}", where=where, hint=f"run as uid {found.st_uid}",
            )  # fmt: skip
    for name, why in (
        (b".git/commondir", "it is a linked checkout"),
        (b".git/info/grafts", "its history is rewritten by grafts"),
    ):
        if tree.stat(name) is not None:
            raise Refused("git-kind", why, where=where, hint="use a plain clone")
    config = tree.stat(b".git/config")
    if config is not None and not stat.S_ISREG(config.st_mode):
        raise Refused("git-kind", ".git/config is no plain file", where=where)


def _open(path: Path) -> pygit2.Repository:
    try:
        return pygit2.Repository(str(path / ".git"), RepositoryOpenFlag.NO_SEARCH)
    except (pygit2.GitError, KeyError, ValueError) as error:
        text = str(error)
        if "object format" in text or "objectformat" in text:
            raise Refused(
                "git-sha256", "SHA-256 repositories are not supported", where=str(path),
                hint="protect this folder with a component of content: files",
            ) from error  # fmt: skip
        raise Refused("git-kind", f"the repository cannot be opened: {text}",
                      where=str(path), hint="type: git -C … fsck") from error  # fmt: skip


def _check_kind(repo: pygit2.Repository, tree: Tree, path: Path) -> None:
    if repo.is_bare or "core.worktree" in repo.config:
        folder = repo.workdir
        if not folder or os.path.realpath(folder) != os.path.realpath(path):
            raise Refused(
                "git-elsewhere", "its configuration says that the files are somewhere else",
                where=str(path), hint="remove core.bare or core.worktree from .git/config",
            )  # fmt: skip
    try:
        for part in (b".git/objects", b".git/refs"):
            tree.sub(part).close()
    except (HostError, Confined) as error:
        raise Refused("git-kind", f"{error.message}: {error.where}", where=str(path)) from error


def _text_rule(repo: pygit2.Repository) -> Callable[[bytes], bool]:
    """Whether line ends of a path may differ on disk, by attributes or core.autocrlf."""

    def text(path: bytes) -> bool:
        declared = repo.get_attr(path, "text")
        if declared is False:
            return False
        if declared is not None or repo.get_attr(path, "eol") is not None:
            return True
        if "core.autocrlf" not in repo.config:
            return False
        return repo.config["core.autocrlf"] in ("true", "input", "yes", "on", "1")

    return text
