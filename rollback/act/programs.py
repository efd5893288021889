"""A manager's own program (systemctl, supervisorctl …): run it, and understand how it ended.

Hides: nothing.
Never: a shell.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence

from rollback.host import processes
from rollback.model.errors import CommandFailed, HostError, Unmanaged
from rollback.model.quantity import spoken
from rollback.observe.view import View

ASK_S = 5.0


def absent(argv: Sequence[str], *, folder: str, path: str) -> bool:
    """True when the program that these words start is not there, or may not be run."""
    named = os.path.join(folder, argv[0]) if "/" in argv[0] else argv[0]
    return shutil.which(named, path=path) is None


def ask(
    view: View, argv: Sequence[str], *, within_s: float = ASK_S,
    environment: Mapping[str, str] | None = None,
) -> processes.Completed:  # fmt: skip
    """How the program ended, whatever its status; it runs in the root, with this added to a small base.

    Raises: Unmanaged when it is not on this machine; HostError when it could not be run.
    """
    given = processes.base_environment(environment)
    try:
        done = processes.run(argv, cwd=str(view.root), timeout_s=max(0.1, within_s),
                             environment=given, tap=view.host.tap)  # fmt: skip
    except CommandFailed as error:
        if shutil.which(view.root / argv[0] if "/" in argv[0] else argv[0], path=given["PATH"]):
            raise
        raise Unmanaged(f"{argv[0]} is not on this machine", where=argv[0],
                        hint=f"install it, or look at PATH: {given['PATH']}") from error  # fmt: skip
    if done.timed_out:
        raise HostError(f"{argv[0]} did not end within {spoken(within_s)}", where=argv[0])
    return done


def tell(
    view: View,
    argv: Sequence[str],
    *,
    within_s: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """The program ended well. Raises: CommandFailed with its last words."""
    done = ask(view, argv, within_s=within_s, environment=environment)
    if done.status != 0:
        raise CommandFailed(
            f"{' '.join(argv)} ended with status {done.status}: {words(done)[-300:]}",
            argv=tuple(argv), status=done.status, tail=words(done)[-2000:],
        )  # fmt: skip
    return f"{' '.join(argv)}: done"


def words(done: processes.Completed) -> str:
    """What it said."""
    return (done.stdout + done.stderr).decode("utf-8", "replace").strip()
