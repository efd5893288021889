"""A message as a line of JSON at the end of a file.

Hides: nothing.
Never: raises; rewrites what stands in the file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from rollback.host import Host
from rollback.model.component import RelativePath
from rollback.model.errors import HostError
from rollback.model.event import canonical
from rollback.model.registry import register
from rollback.model.step import NotifierKind
from rollback.tell.message import Outgoing


@register("notifier", "file")
class FileNotifier(NotifierKind):
    """`path` is relative to the folder of the declaration; its folder is made."""

    near: ClassVar[bool] = True

    path: RelativePath

    def deliver(self, message: Outgoing, place: Path, host: Host) -> str:
        """ "" when the line is on disk, else why not."""
        try:
            with host.tree(str(place)) as tree:
                folder = os.path.dirname(self.path)
                if folder:
                    tree.make_folder(folder, mode=0o755, parents=True)
                tree.append(self.path, canonical(message.data()) + b"\n", mode=0o644)
        except (OSError, HostError) as error:
            return str(error) or type(error).__name__
        return ""
