"""A call that a person makes: a task of theirs, until somebody acknowledges it (`rollback ack`).

Hides: nothing.
Never: calls by itself, or says that somebody was reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from rollback.host import Host
from rollback.model.registry import register
from rollback.model.step import Id, NotifierKind, Text
from rollback.tell.message import Outgoing


@register("notifier", "phone")
class PhoneNotifier(NotifierKind):
    """`who` is to be called, in words; `role` makes the call (by default the owner's role)."""

    near: ClassVar[bool] = True
    by_person: ClassVar[bool] = True

    who: Text
    role: Id | None = None

    def deliver(self, _message: Outgoing, _place: Path, _host: Host) -> str:
        """ "" always: the task stands in the journal, and its acknowledgement will."""
        return ""
