"""Imports every kind, so that a declaration may name it.

Hides: which folders hold kinds.
Never: lists a kind: a new file in one of the folders is enough.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil

FOLDERS = (
    "rollback.observe.metrics",
    "rollback.observe.checks",
    "rollback.act.actions",
    "rollback.act.services",
    "rollback.act.flags",
    "rollback.keep.contents",
    "rollback.keep.stores",
    "rollback.tell.notifiers",
)


def load_all() -> None:
    """Every kind that lies in the folders is registered; a second call does nothing."""
    for folder in FOLDERS:
        if importlib.util.find_spec(folder) is None:
            continue
        package = importlib.import_module(folder)
        for found in pkgutil.iter_modules(package.__path__, folder + "."):
            importlib.import_module(found.name)


load_all()
