"""The demo system as a new user meets it: what the command line says of a system that really runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drills import studio_run
from drills.sandboxes.studio import Studio
from tests.cli.program import Ended, rollback


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio that runs, with one checkpoint of what is good."""
    with studio_run.running(tmp_path_factory.mktemp("studio") / "one", runs_a_day=100) as (made, _):
        assert typed(made, "checkpoint", "create", "good").status == 0
        yield made


def typed(studio: Studio, *argv: str) -> Ended:
    """The program, called where the studio is."""
    return rollback(studio.declaration.parent, *argv)


@pytest.mark.parametrize("what", ["corrupted", "lost-work"])
def test_recovery_ends_with_the_smoke_checks_passed(studio: Studio, what: str) -> None:
    """What the audit trail held is known to them, and the errors of before the run do not count."""
    with (studio.root / "logs" / "router.out").open("a") as log:
        log.write("ERROR the state was lost\n")
    done = typed(studio, "recover", what, "--component", "state", "--yes")
    assert done.status == 0, (done.out, done.err)
    assert "MITIGATED" in done.out


@pytest.mark.long
def test_services_that_are_down_are_started_before_anything_goes_back(studio: Studio) -> None:
    """Whatever fails only because nothing runs: what loses nothing is said first."""
    assert typed(studio, "run", "stop", "--yes").status == 0
    try:
        for words, status in ((["verify", "smoke"], 7), (["run", "configuration", "--yes"], 0)):
            done = typed(studio, *words)
            assert done.status == status, (done.out, done.err)
            lines = done.out.splitlines()
            first = lines.index("  not running: knowledge, router")
            assert lines[first + 1] == "  try first: rollback run start"
            assert not any("rollback run full-restore" in line for line in lines[: first + 2])
            told = typed(studio, "--json", *words).json
            assert told["not_running"] == ["knowledge", "router"]
        assert typed(studio, "run", "start", "--yes").status == 0
    finally:
        studio_run.start(studio)
    assert "not running" not in typed(studio, "run", "configuration", "--yes").out


def test_a_fault_that_was_not_named_is_asked_for(studio: Studio) -> None:
    """Not looked up as one of no name."""
    done = typed(studio, "drill", "break", "--dir", str(studio.directory))
    assert done.status == 2
    assert done.err.splitlines()[0] == "rollback: which fault?"
    assert "errors-5xx" in done.err.splitlines()[1]
