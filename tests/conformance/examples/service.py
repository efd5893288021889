"""Our own managers of services, each on an example of its use; those of other programs on recordings.

Hides: how a recording takes the place of the program.
Never: holds a contract.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from rollback.conformance.example import Example
from rollback.conformance.world import World
from tests.conformance.examples.managers import MANAGERS, how, installed
from tests.conformance.examples.spoils import Spoil

_STAYS = [sys.executable, "-I", "-c", "import time; time.sleep(600)"]


def _recorded(manager: str) -> Example:
    """`it` is managed by a program that is a recording; asked about another unit, or dead, it cannot tell."""

    def prepare(world: World) -> None:
        before = os.environ["PATH"]
        world.ends.callback(os.environ.__setitem__, "PATH", before)
        installed(manager, world.folder / "manager", os.environ.__setitem__)

    def sections(world: World) -> dict[str, object]:
        home = world.folder / "manager" / manager
        return {
            "services": {
                "it": {"manager": manager, "reload": {"signal": "HUP"}, **how(manager, home)}
            }
        }

    def lost(world: World) -> None:
        (world.folder / "manager" / manager / "lost").touch()

    def unknown(world: World) -> None:
        it = world.system.services["it"].model_copy(update={"unit": "misspelt.service"})
        world.system = world.system.having(services={**world.system.services, "it": it})

    spoils: dict[str, Spoil] = {"the manager does not answer": lost}
    if manager != "command":  # a program for one service knows no other
        spoils["it knows no such service"] = unknown
    return Example(sections=sections, prepare=prepare, spoils=spoils)


def _taken(world: World) -> None:
    """Somebody else listens on its port: whether it runs outside of its lock nobody knows."""
    world.ends.enter_context(socket.create_server(("127.0.0.1", world.ports[1])))


def _run_folder(world: World) -> None:
    Path(world.root / "run").mkdir()


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "registry": (Example(
        sections=lambda w: {"services": {"it": {"manager": "registry", "argv": _STAYS, "lock": "run/it.lock",
                            "ports": [w.ports[1]], "stop": {"signal": "TERM", "grace": "2s"}}}},
        prepare=_run_folder, spoils={"its port is somebody else's": _taken}),),
    **{manager: (_recorded(manager),) for manager in MANAGERS},
}  # fmt: skip
