"""Declared tasks that are opened: who owns each, and when it is due.

Hides: what an opened task is in the journal.
Never: waits for one.
"""

from __future__ import annotations

from rollback.act.site import Site


def open_task(
    site: Site, name: str, *, because: str, run: str = "", step: str = "", title: str = ""
) -> None:
    """The declared task is open, under its own title if no other is given."""
    task = site.system.follow_ups.tasks[name]
    site.tell(
        "task.opened", run=run, name=name, step=step, title=title or task.title,
        owner=task.owner or site.system.people.owner, due_s=task.due, because=because[:500],
    )  # fmt: skip
