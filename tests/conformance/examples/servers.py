"""Servers of others, for the kinds that need one: PostgreSQL, object storage.

Each is started when the first example asks for it, and ended with the session.

Hides: that an example of one session is not alone with its server.
Never: listens beyond loopback.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from rollback.conformance.world import World
from tests.keep import object_storage
from tests.keep.postgres_lab import Lab, running

ENDS = ExitStack()
atexit.register(ENDS.close)  # also where no conftest of ours ends the session


def _folder() -> Path:
    return Path(ENDS.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))


@cache
def moto() -> str:
    """The address of a light object storage."""
    return ENDS.enter_context(object_storage.moto(_folder()))


@cache
def swift() -> str:
    """The address of a real one."""
    return ENDS.enter_context(object_storage.swift(_folder()))


@cache
def postgres() -> Lab:
    """A running PostgreSQL."""
    return ENDS.enter_context(running())


def environ(world: World, **values: str) -> None:
    """Set until the world ends."""
    for name, value in values.items():
        world.ends.callback(os.environ.pop, name, None)
        os.environ[name] = value
