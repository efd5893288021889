"""The small product as a service of a world: started, stopped, frozen.

Hides: that it is a process of its own, known by its lock.
Never: leaves it running when the world ends.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from rollback.conformance.world import World
from rollback.host.processes import base_environment, start_service
from tests.killed import freeze

PRODUCT = Path(__file__).parent / "product.py"
SERVICE = {"product": {"argv": ["unused"], "lock": "run/product.lock"}}
_WITHIN_S = 10.0


def started(world: World) -> int:
    """The product serves on the first port of the world until that ends; its process."""
    run = world.root / "run"
    run.mkdir(exist_ok=True)
    pid = start_service(
        [sys.executable, "-I", "-B", str(PRODUCT), str(run / "port"), str(world.ports[0])],
        cwd=str(world.root), environment=base_environment(), lock=str(run / "product.lock"),
        log=str(run / "product.out"), tap=world.host.tap,
    )  # fmt: skip
    world.ends.callback(_ended, pid, run / "port")
    assert world.host.clock.poll((run / "port").exists, within_s=_WITHIN_S), "it does not serve"
    return pid


def _ended(pid: int, port: Path) -> None:
    with suppress(ProcessLookupError, ChildProcessError):  # it has ended, or was collected
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    port.unlink(missing_ok=True)


def stopped(world: World) -> None:
    """Nobody serves any more."""
    world.ends.close()


def broken(world: World) -> None:
    """It answers 500 to everything."""
    (world.root / "run" / "broken").touch()


def frozen(world: World) -> None:
    """It takes connections and says nothing."""
    freeze(int((world.root / "run" / "pid").read_text()))


def serving(world: World) -> None:
    """It serves, and may be frozen."""
    pid = started(world)
    (world.root / "run" / "pid").write_text(str(pid))
