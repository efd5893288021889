"""What the tests of this folder stand on: declared systems, and a product that really runs."""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import rollback.observe.checks
import rollback.observe.metrics
from rollback.host import Host
from rollback.host.processes import base_environment, start_service
from rollback.model.registry import Kind, read_item
from rollback.model.system import System, whole
from tests.conformance.examples.service_product import PRODUCT

for package in (rollback.observe.checks, rollback.observe.metrics):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)


def check(kind: str, /, **parameters: Any) -> Kind:
    return read_item("check", {kind: parameters})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(true: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


@contextmanager
def running(folder: Path) -> Iterator[tuple[int, int]]:
    """The product runs as a service that holds `run/product.lock`; its port and pid."""
    folder.joinpath("run").mkdir(exist_ok=True)
    port_file = folder / "run" / "port"
    pid = start_service(
        [sys.executable, "-I", "-B", str(PRODUCT), str(port_file)], cwd=str(folder),
        environment=base_environment(), lock=str(folder / "run/product.lock"),
        log=str(folder / "run/product.out"), tap=Host().tap,
    )  # fmt: skip
    try:
        wait_until(port_file.exists)
        yield int(port_file.read_text()), pid
    finally:
        with suppress(ProcessLookupError, ChildProcessError):  # it has ended, or was collected
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        port_file.unlink(missing_ok=True)


def declared(root: Path, **sections: Any) -> System:
    level = {
        "rank": 1, "title": "Back", "scope": "all", "data_loss": "none",
        "budgets": {"mitigated": "60s", "complete": "90s"},
        "authority": {"roles": ["operator"], "quorum": "any", "alone": True},
        "steps": [{"planned": {"kind": "restore-x", "missing": "not needed here"}}],
    }  # fmt: skip
    written = {
        "schema": 1,
        "system": {"id": "small", "title": "Small", "version": "1", "date": "2026-01-01",
                   "next_review": "2027-01-01"},
        "people": {"owner": "operator", "roles": {"operator": {"title": "Operator"}},
                   "members": [{"id": "one", "roles": ["operator"]}]},
        "levels": {"back": level},
        **sections,
    }  # fmt: skip
    sections = dict(whole().model_validate(written))
    return System(
        written, declaration=root / "rollback.yaml", root=root, state=root / ".rollback", digest="",
        authority_digest="", sections=sections,
    )  # fmt: skip
