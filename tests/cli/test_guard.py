"""`rollback guard`: kept in two places, run, proved; what fails says how to go back."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rollback.act.authorize import create, next_run_id
from rollback.act.engine import roll_back
from rollback.act.plan import make_plan
from rollback.host import Host, Tap
from rollback.keep.lease import Lease
from rollback.model.errors import PlanError
from rollback.model.lifecycle import State
from tests.cli.program import rollback
from tests.killed import KILLED, CountingTap, DyingTap, in_child, shots
from tests.systems import Shop, build, environment

KINDS = """
checkpoints:
  kinds:
    risky: {on: risky, copies: 2, stores: [second], retention: 30d, with_plan: true}
  stores: {second: {folder: {path: second-place}}}
levels:"""
PREREQUISITE = """
procedures:
  guard:
    title: Before a change
    prerequisites: [{check: limit-right}]
    steps: [{guarded: {id: change, within: 1m}}]
    gate: {suites: [smoke]}
    checklist: [{id: limit, item: The limit is there, check: limit-right}]
levels:"""
PYTHON = sys.executable
GOOD = "import pathlib; pathlib.Path('tree/pages/new.html').write_text('new')"
BAD = "import pathlib, sys; pathlib.Path('tree/pages/index.html').write_text('bad'); sys.exit(7)"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a second place for what is risky."""
    made = build(tmp_path)
    made.edit("\nlevels:", KINDS)
    return made


def guard(shop: Shop, code: str, *more: str) -> tuple[int, dict[str, object]]:
    """How `rollback guard` of a piece of Python ended."""
    done = rollback(
        shop.folder, "--json", "guard", "--as", "ada", "--yes", *more, "--", PYTHON, "-c", code
    )
    return done.status, done.json


@pytest.mark.requirement("MB-35")
def test_what_stood_before_is_in_two_places_with_the_way_back_in_it(shop: Shop) -> None:
    """The checkpoint exists before the command; its record holds the plan; both places have it."""
    status, said = guard(shop, GOOD)
    assert status == 0, said
    assert said["state"] == "COMPLETE"
    with shop.site() as site:
        kept = site.checkpoints.get("before-r0001")
        assert kept.id == said["checkpoint"]
        assert kept.kind == "risky"
        assert "put back config, pages" in kept.reason
        assert "rollback run full --to checkpoint:before-r0001" in kept.reason
        assert "pages/new.html" not in [
            entry.path.decode() for entry in site.checkpoints.entries(kept.id, "pages")]  # fmt: skip
        order = [event.kind for event in site.journal.events()]
        assert order.index("run.protected") < order.index("step.began")
        places = next(e.data["places"] for e in site.journal.events() if e.kind == "run.protected")
        assert places == 2
    found = [*(shop.folder / "second-place").rglob("*")]
    assert any(kept.id in path.name for path in found)
    assert (shop.tree / "pages/new.html").exists()


@pytest.mark.requirement("MB-35")
def test_without_the_second_place_the_command_does_not_start(shop: Shop) -> None:
    """A place that cannot be written is one place too few."""
    (shop.folder / "second-place").write_text("in the way")
    status, said = guard(shop, GOOD)
    assert status == 6
    assert said["state"] == "UNDONE"
    assert "1 of 2 places" in str(said["reason"])
    assert not (shop.tree / "pages/new.html").exists()


def test_a_command_that_fails_passes_its_status_on_and_says_how_to_go_back(shop: Shop) -> None:
    """And going back is one command, which puts what stood before."""
    shop.edit("{roles: [lead, chief], quorum: all}", "{roles: [op], alone: true}")
    shop.edit("{roles: [lead], count: 2}", "{roles: [op], alone: true}")
    before = shop.bytes()
    done = rollback(shop.folder, "guard", "--as", "ada", "--yes", "--", PYTHON, "-c", BAD)
    assert done.status == 7
    assert "it ended with status 7" in done.out
    assert "rollback undo r0001" in done.out
    assert "rollback run full --to checkpoint:before-r0001" in done.out
    assert shop.bytes() != before
    back = rollback(shop.folder, "--json", "undo", "r0001", "--as", "ada", "--yes")
    assert back.json["state"] == "MITIGATED"
    assert shop.bytes() == before


@pytest.mark.parametrize("code", [GOOD, BAD])
def test_whoever_says_yes_to_it_reads_what_guard_itself_says_at_the_end(
    shop: Shop, code: str
) -> None:
    """What was kept, the checklist, and where it did not end well every way back: the same lines."""
    shop.edit("\nlevels:", PREREQUISITE.replace("prerequisites: [{check: limit-right}]", ""))
    shop.edit("keys: [limit], levels: [config]", "keys: [limit]")
    asked = rollback(shop.folder, "guard", "--as", "ada", "--", PYTHON, "-c", code)
    assert asked.status == 4
    assert "kept before it" not in asked.out
    said = _ended_lines(rollback(shop.folder, "approve", "r0001", "--as", "ada").out)
    assert said[0].startswith("  kept before it: checkpoint before-RUN ")
    if code is GOOD:
        assert "    ✓ The limit is there: " in "\n".join(said)
    else:
        assert "  to go back: rollback undo RUN" in said
        assert "    or: rollback checkpoint restore before-RUN" in said
        assert rollback(shop.folder, "abort", "r0001", "--as-it-is", "--as", "ada").status == 0
    again = rollback(shop.folder, "guard", "--as", "ada", "--yes", "--", PYTHON, "-c", code)
    assert said == _ended_lines(again.out)


def _ended_lines(out: str) -> list[str]:
    """The lines from what was kept on, the same for every run."""
    said = re.sub(r"r000\d", "RUN", out).splitlines()
    found = [at for at, line in enumerate(said) if line.startswith("  kept before it")]
    lines = said[found[0] :] if found else []
    return [re.sub(r"(before-RUN) [0-9a-f]{12}$", r"\1 ID", line) for line in lines]


BY_COMMIT = """levels:
  code:
    rank: 9
    title: Code back
    budgets: {mitigated: 1m, complete: 5m}
    data_loss: none
    authority: {roles: [op], alone: true}
    target: {sources: [{git: "v1.*"}]}
    steps: [{git: {revert: {matching: bad}}}]
    gate: {suites: [smoke]}
"""


@pytest.mark.parametrize("held", ["all", "[config]"])
def test_every_way_back_that_is_offered_can_be_planned_as_it_stands(shop: Shop, held: str) -> None:
    """Pasted, with plan for run: a level that goes back by commits, or needs more, is not among them."""
    shop.edit("\ncomponents:", "\nrepository: {path: .}\ncomponents:")
    shop.edit("levels:\n", BY_COMMIT)
    shop.edit("{on: risky,", f"{{on: risky, components: {held},")
    subprocess.run(["git", "init", "-q", str(shop.tree)], check=True)
    done = rollback(shop.folder, "guard", "--as", "ada", "--yes", "--", PYTHON, "-c", BAD)
    offered = [line.partition("rollback ")[2].split() for line in done.out.splitlines()
               if line.strip().startswith("or: rollback ")]  # fmt: skip
    assert {words[1] for words in offered} - {"restore"} == (
        {"config", "full"} if held == "all" else {"config"}
    )
    for words in offered:
        dry = ["plan", *words[1:]] if words[0] == "run" else [*words, "--dry-run", "--as", "ada"]
        planned = rollback(shop.folder, *dry)
        assert planned.status == 0, (words, planned.err)


def test_a_command_that_cannot_be_found_is_said_with_127(shop: Shop) -> None:
    """As a shell would, before anything is kept or a run is made of it."""
    (shop.folder / "not-a-program").write_text("#!/bin/sh\n")
    for word in ("no-such-program", "./not-a-program", "./nothing"):
        done = rollback(shop.folder, "guard", "--as", "ada", "--yes", "--", word)
        assert (done.status, done.out) == (127, "")
        first, hint = done.err.splitlines()
        assert first == f"rollback: {word} cannot be started: no such program, or it may not be run"
        assert hint.startswith("  try: ")
        as_json = rollback(shop.folder, "--json", "guard", "--as", "ada", "--yes", "--", word)
        assert as_json.json["error"]["exit_status"] == as_json.status == 127
    assert rollback(shop.folder, "--json", "history").json == {"runs": []}
    assert rollback(shop.folder, "--json", "checkpoint", "list").json["checkpoints"] == []


@pytest.mark.requirement("VR-29")
def test_nothing_starts_while_a_prerequisite_is_open(shop: Shop) -> None:
    """The refusal names it; when it holds, the command runs, and the checklist is closed by a check."""
    shop.edit("\nlevels:", PREREQUISITE)
    shop.edit("keys: [limit], levels: [config]", "keys: [limit]")
    settings = shop.tree / "config/app.yaml"
    then = settings.read_text()
    settings.write_text("party: true\n")
    done = rollback(shop.folder, "guard", "--as", "ada", "--yes", "--", PYTHON, "-c", GOOD)
    assert done.status == 4
    assert "limit-right" in done.err
    assert not (shop.tree / "pages/new.html").exists()
    settings.write_text(then)
    status, said = guard(shop, GOOD)
    assert status == 0, said
    assert [item["done"] for item in said["checklist"]] == [True]  # type: ignore[attr-defined, index]


def test_a_command_that_breaks_the_system_does_not_end_well(shop: Shop) -> None:
    """It ended with 0, and the suites say no: a person is needed, and told the way back."""
    status, said = guard(
        shop, "import pathlib; pathlib.Path('tree/config/app.yaml').write_text('{')"
    )
    assert status == 9
    assert said["command_status"] == 0
    assert said["state"] == "NEEDS_OPERATOR"


def test_a_command_that_failed_is_never_run_again_by_resume(shop: Shop) -> None:
    """It has a way out all the same: undo, or the word that it stays as it is."""
    page = shop.tree / "pages/index.html"
    before, times = page.read_text(), page.stat()
    assert guard(shop, BAD)[0] == 7
    page.write_text("repaired by hand")
    done = rollback(shop.folder, "resume", "r0001", "--as", "ada")
    assert done.status == 3, done
    assert "never run again" in done.err
    assert page.read_text() == "repaired by hand"
    page.write_text(before)
    os.utime(page, ns=(times.st_atime_ns, times.st_mtime_ns))
    done = rollback(shop.folder, "--json", "undo", "--as", "ada", "--yes")
    assert (done.status, done.json["changed"]) == (0, False)
    with shop.site() as site:
        assert site.run("r0001").state is State.ABANDONED
        assert page.read_text() == before
    assert guard(shop, BAD)[0] == 7
    page.write_text("another way")
    done = rollback(shop.folder, "abort", "r0002", "--as", "ada")
    assert done.status == 3
    assert "--as-it-is" in done.err
    done = rollback(shop.folder, "--json", "abort", "r0002", "--as-it-is", "--as", "ada")
    assert (done.status, done.json["state"]) == (0, "ABANDONED"), done
    assert page.read_text() == "another way"
    done = rollback(shop.folder, "abort", "r0002", "--as-it-is", "--as", "ada")
    assert done.status == 3, "it has ended"


def test_one_at_a_time(shop: Shop) -> None:
    """While a guarded command runs, no other run and no other guarded command starts."""
    code = "import pathlib, time\npathlib.Path('up').touch()\n"
    code += "while not pathlib.Path('go').exists(): time.sleep(0.02)"
    argv = [PYTHON, "-c", "from rollback.cli import main; main()", "guard", "--as", "ada", "--yes",
            "--", PYTHON, "-c", code]  # fmt: skip
    child = subprocess.Popen(argv, cwd=shop.folder, env=environment(), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    try:
        reached(shop.folder / "up")
        assert guard(shop, GOOD)[0] == 5
        assert rollback(shop.folder, "checkpoint", "create", "x").status == 5
        assert rollback(shop.folder, "run", "flag", "--as", "ada", "--yes").status == 5
    finally:
        (shop.folder / "go").touch()
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, (out, err)
    assert not (shop.tree / "pages/new.html").exists()


def reached(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} never came"
        time.sleep(0.02)


def test_killed_while_the_command_runs_the_lease_is_free_and_what_is_known_is_said(
    shop: Shop,
) -> None:
    """The journal is whole; that the command still runs is known, and then that nobody saw its end."""
    code = (
        "import os, pathlib, time\npathlib.Path('up').write_text(str(os.getpid()))\ntime.sleep(600)"
    )
    argv = [PYTHON, "-c", "from rollback.cli import main; main()", "guard", "--as", "ada", "--yes",
            "--", PYTHON, "-c", code]  # fmt: skip
    child = subprocess.Popen(argv, cwd=shop.folder, env=environment(), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    reached(shop.folder / "up")
    child.send_signal(signal.SIGKILL)
    assert child.wait(30) == -signal.SIGKILL
    until = time.monotonic() + 10
    while not (number := (shop.folder / "up").read_text()):
        assert time.monotonic() < until
    pidfd = os.pidfd_open(int(number))
    try:
        first = rollback(shop.folder, "--json", "resume", "r0001")
        assert first.status == 9
        assert "still runs" in first.json["reason"]
    finally:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
    assert rollback(shop.folder, "--json", "audit", "verify").status == 0
    again = rollback(shop.folder, "--json", "resume", "r0001", "--as", "ada")
    assert again.status == 9
    assert "nobody saw how" in again.json["reason"]
    with shop.site() as site, Lease(site.state.tree, site.host, purpose="look"):
        assert site.checkpoints.get("before-r0001").target


def test_cut_off_and_given_up_it_needs_a_person_and_every_way_back_works(shop: Shop) -> None:
    """Status 9, the live command by its number, and each hint puts back what stood before."""
    shop.edit("{roles: [lead, chief], quorum: all}", "{roles: [op], alone: true}")
    shop.edit("{roles: [lead], count: 2}", "{roles: [op], alone: true}")
    before = shop.bytes()
    code = "import os, pathlib, time\npathlib.Path('tree/pages/new.html').write_text('new')\n"
    code += "pathlib.Path('up').write_text(f'{os.getpid()}.')\ntime.sleep(600)"
    argv = [PYTHON, "-c", "from rollback.cli import main; main()", "guard", "--as", "ada", "--yes",
            "--", PYTHON, "-c", code]  # fmt: skip
    child = subprocess.Popen(argv, cwd=shop.folder, env=environment(), stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    reached(shop.folder / "up")
    until = time.monotonic() + 10
    while not (said := (shop.folder / "up").read_text()).endswith("."):
        assert time.monotonic() < until
    number = int(said[:-1])
    pidfd = os.pidfd_open(number)
    try:
        child.send_signal(signal.SIGKILL)
        assert child.wait(30) == -signal.SIGKILL
        alive = f"still runs: process {number}\n"
        assert alive in rollback(shop.folder, "status").out
        other = rollback(shop.folder, "checkpoint", "create", "x")
        assert other.status == 5
        assert "rollback undo r0001" in other.err
        assert "abort" not in other.err, "it would take nothing back"
        given_up = rollback(shop.folder, "abort", "r0001", "--as", "ada")
        assert given_up.status == 9, given_up
        assert alive in given_up.out
    finally:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], 30)
        os.close(pidfd)
    assert "try: go back to what was before it: rollback undo r0001" in given_up.out
    assert "or: rollback checkpoint restore before-r0001" in given_up.out
    state = rollback(shop.folder, "status").out
    assert "still runs" not in state
    assert "rollback undo r0001" in state
    for words in (["undo", "r0001"], ["checkpoint", "restore", "before-r0001"]):
        (shop.tree / "pages/new.html").write_text("new")
        back = rollback(shop.folder, "--json", *words, "--as", "ada", "--yes")
        assert (back.status, back.json["state"]) == (0, "MITIGATED"), back
        assert shop.bytes() == before


def test_an_interrupt_is_passed_on_and_the_run_says_how_it_ended(shop: Shop) -> None:
    """The command ends by the signal; we live, and pass on what a shell would say."""
    code = "import pathlib, time\npathlib.Path('up').touch()\ntime.sleep(600)"
    argv = [PYTHON, "-c", "from rollback.cli import main; main()", "--json", "guard", "--as", "ada",
            "--yes", "--", PYTHON, "-c", code]  # fmt: skip
    child = subprocess.Popen(argv, cwd=shop.folder, env=environment(), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip
    reached(shop.folder / "up")
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert json.loads(out)["command_status"] == 128 + signal.SIGTERM


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.long
def test_killed_at_any_change_the_run_can_be_ended_and_the_present_is_kept(
    shop: Shop, how: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The journal is whole, the lease free; the command ran once, or nobody says that it did."""
    saved = tmp_path_factory.mktemp("saved") / "shop"
    shutil.copytree(shop.folder, saved)
    here = shop.folder

    def run(tap: Tap) -> None:
        from rollback.act import authorize
        from rollback.act.site import Site

        with Site.open(shop.system, Host(tap=tap)) as site:
            found = site.runs().get("r0001")
            if found is None:
                plan = make_plan(
                    site, "guard", run=next_run_id(site), requester="ada",
                    command=("/bin/sh", "-c", "echo once >> ran"), folder=str(here),
                )  # fmt: skip
                found = create(site, plan)
            if found.state == "PLANNED" and not found.approvals:
                authorize.approve(site, found, person="ada")
            roll_back(site, "r0001")

    counting = CountingTap()
    run(counting)
    assert (here / "ran").read_text() == "once\n"
    points = [number for number, mode in shots(counting.points) if mode == how]
    for point in points[:: max(1, len(points) // 6)]:
        shutil.rmtree(here)
        shutil.copytree(saved, here)
        assert in_child(lambda at=point: run(DyingTap(at, how))) == KILLED  # type: ignore[misc]
        with shop.site() as site:
            site.journal.verify()
            with Lease(site.state.tree, site.host, purpose="look"):
                known = site.runs()
        if not known:
            continue
        run(Tap())
        with shop.site() as site:
            ended = site.run("r0001")
            assert ended.state in ("COMPLETE", "NEEDS_OPERATOR"), (point, ended.reason)
            assert site.checkpoints.get("before-r0001").target
        ran = (here / "ran").read_text() if (here / "ran").exists() else ""
        assert ran in (("once\n",) if ended.state == "COMPLETE" else ("", "once\n"))


def test_a_run_of_guard_without_a_command_says_what_to_type(shop: Shop) -> None:
    """There is no other way in."""
    done = rollback(shop.folder, "guard", "--dry-run", "--", "make", "deploy")
    assert done.status == 0
    assert "make deploy" in done.out
    assert not (shop.folder / ".rollback").exists()
    with shop.site() as site, pytest.raises(PlanError) as caught:
        make_plan(site, "guard", run="r0001", requester="ada")
    assert caught.value.hint == "rollback guard -- COMMAND …"
