"""Where suites lie: `verification/<suite>/`, ours beside the package, a team's beside its file.

Hides: nothing. Light on purpose: the plugin imports it in every pytest session.
Never: looks into a file.
"""

from __future__ import annotations

from pathlib import Path

import rollback

FOLDER = "verification"
SUITES = ("smoke", "functional", "integration", "performance")


def suite_of(path: Path) -> str:
    """The suite in whose folder a file lies; "" for a file of no suite."""
    for folder in path.parents:
        if folder.name in SUITES and folder.parent.name == FOLDER:
            return folder.name
    return ""


def suites_folder() -> Path:
    """Where our own suites lie: beside the package, in a checkout as when installed."""
    return Path(rollback.__file__).parent.parent / FOLDER
