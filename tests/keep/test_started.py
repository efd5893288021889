"""What is remembered of a service that was not started the plain way: read back, or said to be unknown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rollback.host import Clock, Host
from rollback.keep import started
from rollback.keep.started import Started
from rollback.model.errors import HostError
from rollback.model.system import System
from tests.observe.world import declared

ONE = Started(way="unit", first=80, port=81, process="7:1", foreign=("12", "13"))


@dataclass
class OtherBoot(Clock):
    """The same machine, restarted."""

    def boot(self) -> str:
        """Another id."""
        return "another"


@pytest.fixture
def system(tmp_path: Path) -> System:
    """A system whose state directory is not there yet."""
    return declared(tmp_path)


def _file(system: System) -> Path:
    (found,) = (system.state_path / started.FOLDER).glob("*.json")
    return found


def test_it_is_read_back_until_it_is_forgotten(system: System) -> None:
    """One record for each service; what is there for another is another."""
    host = Host()
    assert started.nothing(system)
    started.forget(system, host, "web")
    assert started.read(system, host, "web") is None
    started.keep(system, host, "web", Started(first=80))
    started.keep(system, host, "web", ONE)
    assert started.read(system, host, "web") == ONE
    assert started.read(system, host, "base") is None
    assert not started.nothing(system)
    started.forget(system, host, "web")
    started.forget(system, host, "web")
    assert started.read(system, host, "web") is None


def test_the_same_service_below_another_root_is_another(system: System, tmp_path: Path) -> None:
    """Two environments share the state directory and no process."""
    started.keep(system, Host(), "web", ONE)
    there = declared(tmp_path / "staging")
    there.state_path = system.state_path
    assert started.read(there, Host(), "web") is None


def test_after_a_restart_of_the_machine_nothing_is_left_of_it(system: System) -> None:
    """Processes and sockets are gone, and their numbers are used again."""
    started.keep(system, Host(), "web", ONE)
    assert started.read(system, replace(Host(), clock=OtherBoot()), "web") is None


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"format": 1}', b'{"format": 9}'])
def test_a_record_that_cannot_be_understood_is_not_taken_for_none(
    system: System, body: bytes
) -> None:
    """Somebody else's port would be asked as if it were the service's."""
    started.keep(system, Host(), "web", ONE)
    _file(system).write_bytes(body)
    with pytest.raises(HostError, match="how web was started cannot be read") as caught:
        started.read(system, Host(), "web")
    assert str(_file(system)) == caught.value.where


def test_where_the_state_may_not_be_looked_at_it_is_not_certain_that_nothing_is_remembered(
    system: System, tmp_path: Path
) -> None:
    """A loop of links cannot be looked into, whoever asks."""
    system.state_path = tmp_path / "loop"
    system.state_path.symlink_to("loop")
    assert not started.nothing(system)
    with pytest.raises(HostError):
        started.read(system, Host(), "web")
