"""Finds the file of a kind by its name, so that a declaration may name it: `-` is written `_`.

Hides: which folder holds the kinds of which family.
Never: lists a kind: a new file in one of the folders is enough.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re

from rollback.model.registry import find_with

FOLDERS = {
    "metric": "rollback.observe.metrics",
    "check": "rollback.observe.checks",
    "action": "rollback.act.actions",
    "service": "rollback.act.services",
    "flag": "rollback.act.flags",
    "content": "rollback.keep.contents",
    "store": "rollback.keep.stores",
    "notifier": "rollback.tell.notifiers",
}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")  # nothing else may become a file to import


def find(family: str, name: str) -> None:
    """The kind of this name is registered if it has a file; every kind of the family if name is ""."""
    folder = FOLDERS[family]
    if not name:
        for found in pkgutil.iter_modules(importlib.import_module(folder).__path__, folder + "."):
            importlib.import_module(found.name)
    elif _NAME.match(name):
        module = f"{folder}.{name.replace('-', '_')}"
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module)


def load_all() -> None:
    """Every kind that lies in the folders is registered."""
    for family in FOLDERS:
        find(family, "")


find_with(find)
