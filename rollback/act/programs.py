"""A manager's own program (systemctl, supervisorctl …): run it, and understand how it ended.

Hides: nothing.
Never: a shell.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollback.host import processes
from rollback.model.errors import CommandFailed, HostError
from rollback.model.quantity import spoken
from rollback.observe.view import View

ASK_S = 5.0


def ask(view: View, argv: Sequence[str], *, within_s: float = ASK_S) -> processes.Completed:
    """How the program ended, whatever its status. Raises: HostError when it could not be run."""
    done = processes.run(argv, cwd=str(view.root), timeout_s=max(0.1, within_s), tap=view.host.tap)
    if done.timed_out:
        raise HostError(f"{argv[0]} did not end within {spoken(within_s)}", where=argv[0])
    return done


def tell(view: View, argv: Sequence[str], *, within_s: float) -> str:
    """The program ended well. Raises: CommandFailed with its last words."""
    done = ask(view, argv, within_s=within_s)
    if done.status != 0:
        raise CommandFailed(
            f"{' '.join(argv)} ended with status {done.status}: {words(done)[-300:]}",
            argv=tuple(argv), status=done.status, tail=words(done)[-2000:],
        )  # fmt: skip
    return f"{' '.join(argv)}: done"


def words(done: processes.Completed) -> str:
    """What it said."""
    return (done.stdout + done.stderr).decode("utf-8", "replace").strip()
