"""What a test of a suite may ask for: the declared system, its parts, and what was kept of them.

Hides: where each of them comes from.
Never: changes the system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rollback.prove.plugin import PROOF

# Everything else is imported where it is used: these stand in sessions without a suite, too.
if TYPE_CHECKING:
    from rollback.host.net import Response
    from rollback.keep.entry import Entry
    from rollback.model.component import Component, Service
    from rollback.model.system import System
    from rollback.observe.view import View
    from rollback.prove.question import Question


@pytest.fixture
def declared(request: pytest.FixtureRequest) -> Question:
    """One declared check of the suite in whose folder the test lies."""
    from rollback.prove.discreet import ASKED
    from rollback.prove.question import Question

    sight = request.config.stash[PROOF].sight()
    key = str(request.param)
    properties = request.node.user_properties
    return Question(
        sight.checks[key], sight.wanted.checks[key], sight.view,
        lambda value: properties.append((ASKED, value)),
        hide=sight.hide, reported=bool(request.config.getoption("allure_report_dir", None)),
    )  # fmt: skip


@pytest.fixture(scope="session")
def view(request: pytest.FixtureRequest) -> View:
    """The look at the system that declared checks get."""
    return request.config.stash[PROOF].sight().view


@pytest.fixture(scope="session")
def system(view: View) -> System:
    """The declared system."""
    return view.system


@pytest.fixture(scope="session")
def baseline(view: View) -> Mapping[str, Mapping[str, tuple[float, ...]]]:
    """Sealed samples by check and series; empty without a seal."""
    return view.baseline


@pytest.fixture(scope="session")
def component(view: View) -> Callable[[str], Path]:
    """`component("config")` is the absolute path of a declared component."""

    def path(name: str) -> Path:
        found: Component = view.system.components[name]
        return view.root / found.path

    return path


@pytest.fixture(scope="session")
def service(view: View) -> Callable[[str], Service]:
    """`service("router")` is a declared service: its ports, lock and log."""
    return lambda name: view.system.services[name]


@pytest.fixture(scope="session")
def http() -> Callable[..., Response]:
    """`http(url, method=…, body=…, timeout_s=…)` is the answer to one request, of any status."""
    from rollback.host import net

    return net.request


@pytest.fixture(scope="session")
def checkpoint(request: pytest.FixtureRequest, view: View) -> Callable[[str], dict[str, Entry]]:
    """`checkpoint("config")["app.yaml"].sha256` is of what the run went back to; by hand, of last-good.

    By path in the component: kind, size in bytes, mode, sha256.
    """
    from rollback.prove import past

    option = request.config.getoption
    name = option("gate_run") or option("run")
    target = past.run(view.system, name).target if name else ""
    return lambda component: past.kept(view.system, component, target)


@pytest.fixture(scope="session")
def flag(view: View) -> Callable[[str], Any]:
    """`flag("dark_mode")` is what the product itself reads for a declared flag, now."""
    from rollback.observe.reading import read_value

    def value(name: str) -> Any:
        reader = view.system.flags[name].reader
        assert reader is not None, f"flag {name} has no reader: what it is now cannot be asked"
        return read_value(reader, view)

    return value


@pytest.fixture(scope="session")
def log(view: View) -> Callable[[str], list[str]]:
    """`log("logs/app.log")` are the lines of a file below the root."""

    def lines(path: str) -> list[str]:
        with view.host.tree(str(view.root)) as root:
            return root.read(path).decode("utf-8", "replace").splitlines()

    return lines


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Any:
    """Each declared host in turn, as testinfra sees it; this machine where none is declared.

    One that does not answer fails the test, and so does asking for a service where no service
    manager is.
    """
    from rollback.observe.remote import reached

    hosts = request.config.stash[PROOF].sight().system.hosts
    return reached(hosts, str(getattr(request, "param", "")))
