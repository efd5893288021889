"""One port for another: wherever a thing names it as one of this machine, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

import rollback.kinds  # noqa: F401 - registers every kind
from rollback.declare.ports import Move, moved, names
from rollback.model.component import HttpReader, Reader, Service
from rollback.model.errors import HostError
from rollback.model.registry import read_item

MOVE = Move("web", 80, 8081)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (["80", "--port=80", "host=localhost:80", ":80", "--bind=127.0.0.1:80"],
         ["8081", "--port=8081", "host=localhost:8081", ":8081", "--bind=127.0.0.1:8081"]),
        (["http://127.0.0.1:80/x?y=http://[::1]:80", "0.0.0.0:80"],
         ["http://127.0.0.1:8081/x?y=http://[::1]:8081", "0.0.0.0:8081"]),
        (["redis://me@localhost:80/0", "a", "800", "180", "x80", "80x", "--n=800", "80:80/tcp"],
         ["redis://me@localhost:8081/0", "a", "800", "180", "x80", "80x", "--n=800", "80:80/tcp"]),
    ],
)  # fmt: skip
def test_words_of_a_program(was: list[str], now: list[str]) -> None:
    """A word that is the port, ends with it after `=` or `:`, or holds an address of this machine."""
    assert moved(was, MOVE, field="argv") == now
    assert moved({"A": was[0]}, MOVE, field="environment") == {"A": now[0]}
    assert moved(now, Move("web", 7, 8), field="argv") == now


def test_texts_that_are_no_words_hold_addresses_only() -> None:
    """`80` in what an answer must contain is a number like any other."""
    check = read_item("check", {"http": {"url": "http://localhost:80/", "contains": ["80", "a:80"],
                                         "json": {"back": "http://127.0.0.1:80/", "port": 80}}})  # fmt: skip
    there: Any = moved(check, MOVE)
    assert there.url == "http://localhost:8081/"
    assert there.contains == check.contains  # type: ignore[attr-defined]
    assert there.json_ == {"back": "http://127.0.0.1:8081/", "port": 80}, (
        "a number of a body is its own"
    )
    assert check.url == "http://localhost:80/"  # type: ignore[attr-defined]


def test_ports_of_a_check_and_of_a_service() -> None:
    """Numbers under `ports`; a fallback port is not one of them."""
    check: Any = moved(read_item("check", {"port": {"ports": [80, 8080], "send": "80"}}), MOVE)
    assert (check.ports, check.send) == ((8081, 8080), "80")
    one = Service(argv=("serve", "80"), lock="run/l", ports=(80,), fallback_ports=(8081, 80))
    there = moved(one, MOVE, anywhere=True)
    assert (there.argv, there.ports, there.fallback_ports) == (
        ("serve", "8081"),
        (8081,),
        (8081, 80),
    )


@pytest.mark.parametrize(
    "thing",
    [
        Reader(http=HttpReader(url="http://other.example:80/", pointer="/x")),
        read_item("check", {"port": {"ports": [80], "host": "10.0.0.7"}}),
        read_item("check", {"http": {"url": "http://[2001:db8::1]:80/"}}),
        read_item("check", {"command": {"argv": ["ask", "other.example:80"]}}),
    ],
)
def test_an_address_that_may_be_another_machine_is_refused(thing: Any) -> None:
    """Unless it is said that it is this one: a program's own words."""
    assert names(thing, 80)
    with pytest.raises(HostError, match="cannot be told"):
        moved(thing, MOVE)
    assert not names(moved(thing, MOVE, anywhere=True), 80)


def test_what_names_no_port_stays_the_very_thing() -> None:
    """Nothing is copied."""
    check = read_item("check", {"http": {"url": "http://127.0.0.1:8000/80"}})
    assert moved(check, MOVE) is check
    assert not names(check, 80)
