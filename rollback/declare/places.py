"""Where root and state of a declaration lie: absolute folders from what is written.

Hides: what a relative path is relative to.
Never: looks whether they are there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Places:
    """The absolute folders of the system and of the tool's own state."""

    folder: Path
    root: Path
    state: Path


def places(data: dict[str, Any], file: Path, state: Path | None) -> Places:
    """Where root and state are, relative to the folder of the declaration."""
    folder = file.parent
    written = data.get("root", ".")
    root = folder / written if isinstance(written, str) and "\0" not in written else folder
    section = data.get("state")
    name = section.get("dir") if isinstance(section, dict) else None
    own = state.absolute() if state else folder / (name if isinstance(name, str) else ".rollback")
    return Places(folder, Path(os.path.normpath(root)), Path(os.path.normpath(own)))
