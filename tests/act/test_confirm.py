"""What stays only if somebody confirms it in time: taken back by whoever drives the run by then."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rollback import declare
from rollback.act import asked, authorize, lifeline
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.act.stopping import answer
from rollback.host import Host, Tap, processes
from rollback.host.clock import iso
from rollback.model.errors import PlanError, SpecError
from rollback.model.lifecycle import Run, State
from rollback.watch.agent import Agent
from tests.cli.program import rollback
from tests.killed import KILL_EVERY, KILLED, CountingTap, DyingTap, in_child, shots
from tests.systems import Shop, build, environment

RISKY = """procedures:
  risky:
    title: Change what could cut us off
    authority: {roles: [op], alone: true}
    steps:
      - edit: {id: change, file: config/app.yaml, key: limit, value: 7}
      - confirm: {id: still-in, asks: op, within: WITHIN}
      - edit: {id: more, file: config/app.yaml, key: party, value: "true"}
levels:
"""
WITHIN_S = 60.0


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with such a change; ten minutes to confirm it."""
    made = build(tmp_path)
    made.edit("levels:\n", RISKY.replace("WITHIN", "10m"))
    return made


def limit(shop: Shop) -> str:
    """What the file says now."""
    return (shop.tree / "config" / "app.yaml").read_text().partition("limit: ")[2].strip()


def begun(shop: Shop) -> Run:
    """The run that has made the change, and waits."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "risky"))
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
        assert (run.state, run.waiting_for["on"]) == (State.WAITING, "answer")
        assert limit(shop) == "7"
        return run


def driven(shop: Shop, run: Run) -> Run:
    """The run after somebody drove it again."""
    with shop.site() as site:
        return roll_back(site, run.id)


def test_silence_takes_the_change_back_when_the_time_is_over_and_not_before(shop: Shop) -> None:
    """At nine minutes and a half it stands, at ten it is undone, byte by byte; nobody's yes is needed."""
    before = shop.bytes()
    run = begun(shop)
    shop.clock.ahead_s += 570.0
    assert driven(shop, run).state is State.WAITING
    assert limit(shop) == "7"
    shop.clock.ahead_s += 30.0
    run = driven(shop, run)
    assert run.state is State.UNDONE
    assert "nobody confirmed it within 10 min" in run.reason
    assert shop.bytes() == before


def test_a_yes_in_time_counts_whenever_the_run_goes_on(shop: Shop) -> None:
    """Said after nine minutes, driven after a day."""
    run = begun(shop)
    shop.clock.ahead_s += 540.0
    with shop.site() as site:
        answer(site, site.run(run.id), item="still-in", text="yes", by="ada")
    shop.clock.ahead_s += 86_400.0
    assert driven(shop, run).state is State.MITIGATED
    assert limit(shop) == "7"


def test_a_yes_that_comes_too_late_is_refused(shop: Shop) -> None:
    """Although nobody has taken it back yet."""
    run = begun(shop)
    shop.clock.ahead_s += 600.5
    with shop.site() as site, pytest.raises(PlanError, match="the time to answer still-in is over"):
        answer(site, site.run(run.id), item="still-in", text="yes", by="ada")
    assert driven(shop, run).state is State.UNDONE


def test_a_no_takes_it_back_at_once(shop: Shop) -> None:
    """Without waiting for the end of the time."""
    run = begun(shop)
    with shop.site() as site:
        answer(site, site.run(run.id), item="still-in", text="no", by="ada")
    assert driven(shop, run).state is State.UNDONE
    assert limit(shop) == "3"


def test_only_who_is_asked_may_confirm(shop: Shop) -> None:
    """Neither another role, nor another word."""
    run = begun(shop)
    with shop.site() as site:
        with pytest.raises(PlanError, match="for the role op"):
            answer(site, site.run(run.id), item="still-in", text="yes", by="dee")
    assert rollback(shop.folder, "answer", run.id, "still-in", "maybe", "--as", "ada").status == 2


@pytest.mark.parametrize("wrong_s", [-366 * 86_400.0, -3600.0, 3600.0, 366 * 86_400.0])
def test_a_clock_that_is_set_moves_the_time_by_nothing(shop: Shop, wrong_s: float) -> None:
    """Neither is it taken back before, nor does it stay for longer."""
    run = begun(shop)
    shop.clock.wrong_s += wrong_s
    shop.clock.ahead_s += 570.0
    assert driven(shop, run).state is State.WAITING
    shop.clock.ahead_s += 31.0
    assert driven(shop, run).state is State.UNDONE


def test_the_agent_takes_it_back_at_its_tick(shop: Shop) -> None:
    """A person's run; nobody types anything. A driver that died between the two steps as well."""
    run = begun(shop)
    with shop.site() as site:
        agent = Agent(site)
        agent.tick()
        assert site.run(run.id).state is State.WAITING
        shop.clock.ahead_s += 601.0
        (moved,) = agent.tick().runs
        assert (moved.id, moved.state) == (run.id, State.UNDONE)
    assert limit(shop) == "3"


@pytest.mark.parametrize("said", ["nothing", "yes"])
def test_killed_at_any_change_silence_takes_all_back_and_a_yes_lets_all_stay(
    shop: Shop, said: str
) -> None:
    """While it is changed, waited for and taken back: whoever drives next ends it, whole."""
    shop.edit("      - edit: {id: change,", "      - flag: {id: quiet, flag: party, set: false, within: 3s}\n"
              "      - edit: {id: change,")  # fmt: skip
    before = shop.bytes()
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "risky"))
        authorize.approve(site, run, person="ada")
    saved = shop.folder.with_name("saved")
    shutil.copytree(shop.folder, saved)

    def ended(tap: Tap) -> Run:
        """Driven until it waits; then somebody says yes, or the time passes; driven to its end."""
        for _ in range(3):
            with Site.open(shop.system, Host(tap=tap, clock=shop.clock)) as site:
                found = roll_back(site, run.id)
                if found.state is State.WAITING and said == "yes":
                    answer(site, found, item="still-in", text="yes", by="ada")
                elif found.state is State.WAITING:
                    shop.clock.ahead_s += 601.0
                else:
                    return found
        raise AssertionError(f"the run is still {found.state}: {found.waiting_for}")

    counting = CountingTap()
    undisturbed = ended(counting)
    assert undisturbed.state is (State.UNDONE if said == "nothing" else State.MITIGATED)
    after = shop.bytes()
    assert (after == before) is (said == "nothing")
    assert len(counting.points) > 60
    for number, how in shots(counting.points)[::KILL_EVERY]:
        shutil.rmtree(shop.folder)
        shutil.copytree(saved, shop.folder)
        shop.clock.ahead_s = 0.0
        dying = DyingTap(number, how)
        assert in_child(lambda tap=dying: ended(tap)) == KILLED, (number, how)  # type: ignore[misc]
        found = ended(Tap())
        assert (found.state, shop.bytes()) == (undisturbed.state, after), (
            number,
            how,
            found.reason,
        )
        with shop.site() as site:
            site.journal.verify()
    shutil.rmtree(saved)


def test_what_cannot_be_taken_back_may_not_stand_before_it(shop: Shop) -> None:
    """Nor may something else be declared to follow silence."""
    shop.edit("      - edit: {id: change, file: config/app.yaml, key: limit, value: 7}\n",
              "      - service: {id: gone, touch: [config/app.yaml]}\n"
              "      - command: {id: cut, argv: [/bin/true]}\n")  # fmt: skip
    with shop.site() as site, pytest.raises(PlanError, match="cut cannot be taken back"):
        shop.plan(site, "risky")
    shop.edit("asks: op, within: 10m", "asks: op, within: 10m, on_fail: continue")
    with pytest.raises(SpecError, match="what nobody confirms is taken back") as caught:
        declare.load(shop.folder / "rollback.yaml")
    assert [one.hint for one in caught.value.problems] == ["leave on_fail out"]


def test_status_says_until_when_and_what_to_type(shop: Shop) -> None:
    """Minutes later it is the same moment; each answer can be typed as it stands; then it is too late."""
    run = begun(shop)
    with shop.site() as site:
        until = asked.answer_by(site, run)
        shop.clock.ahead_s += 240.0
        assert abs((asked.answer_by(site, run) - until).total_seconds()) < 1
        shop.clock.ahead_s = 0.0
    told = rollback(shop.folder, "status")
    assert f"until {until:%H:%M:%S} UTC, " in told.out
    assert "waits for a yes of op by " in told.out
    typed = [line.split("try: ")[1] for line in told.out.splitlines() if "try: " in line]
    assert f"confirm it: rollback answer {run.id} still-in yes --as ada" in typed
    assert f"or let it be taken back: rollback answer {run.id} still-in no --as ada" in typed
    assert "|" not in told.out
    (open_,) = rollback(shop.folder, "--json", "status").json["runs_open"]
    assert open_["until"][:19] == iso(until)[:19]
    words = typed[0].split(": rollback ")[1].split()
    assert rollback(shop.folder, *words).status == 0


def test_status_says_when_the_time_to_confirm_is_over(shop: Shop) -> None:
    """And what has it taken back, where nobody is left to do it."""
    shop.edit("within: 10m", "within: 2s")
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "risky"))
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
        assert run.state is State.WAITING
    deadline = time.monotonic() + 30
    while "nobody confirmed it by " not in (told := rollback(shop.folder, "status").out):
        assert time.monotonic() < deadline, told
    assert f"try: let it be taken back: rollback resume {run.id}\n" in told


def test_a_plan_says_what_silence_does(shop: Shop) -> None:
    """Before anything is done."""
    told = rollback(shop.folder, "plan", "risky").out
    assert "without one within 10 min everything is taken back" in told


# -- killed ------------------------------------------------------------------------------------


def until(true: object, what: str) -> None:
    """It came to be so, within a minute."""
    assert callable(true)
    ends_s = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < ends_s, what
        time.sleep(0.05)


def state_of(shop: Shop) -> State | None:
    """How the run stands; None before it is planned, when the journal may be there already."""
    with shop.site() as site:
        return site.run("last").state if site.runs() else None


def too_late(shop: Shop) -> bool:
    """The time to confirm it is over."""
    with shop.site() as site:
        return asked.too_late(site, site.run("last"))


def lifeline_of(shop: Shop) -> str:
    """The lock that its process holds."""
    return str(shop.folder / ".rollback" / "runs" / "r0001" / lifeline.LOCK)


def end_lifeline(shop: Shop) -> None:
    """It is killed, and gone."""
    found = processes.holder(lifeline_of(shop))
    if found is not None:
        with found:
            found.signal(signal.SIGKILL, tap=Tap())
    until(lambda: not processes.held(lifeline_of(shop)), "the lifeline lives on")


def driver(shop: Shop) -> subprocess.Popen[bytes]:
    """Somebody types it, and stays."""
    argv = [sys.executable, "-m", "rollback", "run", "risky", "--as", "ada", "--yes", "--wait"]
    return subprocess.Popen(argv, cwd=shop.folder, env=environment(), start_new_session=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


SLOW = "      - command: {id: slow, argv: [/bin/sleep, '1.5'], undo: {argv: [/bin/true]}}\n      - confirm"


@pytest.mark.parametrize("when", ["while it waits", "between the change and the question"])
def test_killed_with_whoever_made_the_change_it_is_taken_back_all_the_same(
    tmp_path: Path, when: str
) -> None:
    """Nobody drives it, no agent runs; who is cut off has to do nothing."""
    shop = build(tmp_path)
    risky = RISKY.replace("WITHIN", "3s")
    if when.startswith("between"):
        risky = risky.replace("      - confirm", SLOW)
    shop.edit("levels:\n", risky)
    before = shop.bytes()
    typed = driver(shop)
    try:
        if when == "while it waits":
            until(
                lambda: shop.journal.exists() and state_of(shop) is State.WAITING, "it never asked"
            )
        else:
            until(lambda: limit(shop) == "7", "it was never changed")
        os.killpg(typed.pid, signal.SIGKILL)
        typed.wait(30)
        assert limit(shop) == "7"
        until(
            lambda: state_of(shop) in (State.UNDONE, State.NEEDS_OPERATOR), "it was not taken back"
        )
        assert state_of(shop) is State.UNDONE
        assert shop.bytes() == before
        until(lambda: not processes.held(lifeline_of(shop)), "the lifeline outlived its run")
    finally:
        typed.kill()
        typed.wait(30)
        end_lifeline(shop)


def test_killed_with_its_lifeline_too_the_next_resume_takes_it_back(tmp_path: Path) -> None:
    """What is known stands in the journal; a yes that is typed then is too late."""
    shop = build(tmp_path)
    shop.edit("levels:\n", RISKY.replace("WITHIN", "2s"))
    typed = driver(shop)
    try:
        until(lambda: shop.journal.exists() and state_of(shop) is State.WAITING, "it never asked")
        end_lifeline(shop)
        os.killpg(typed.pid, signal.SIGKILL)
        typed.wait(30)
        until(lambda: too_late(shop), "its time is never over")
        said = rollback(shop.folder, "answer", "r0001", "still-in", "yes", "--as", "ada")
        assert said.status == 3, said
        assert rollback(shop.folder, "resume").status == 6
        assert limit(shop) == "3"
    finally:
        typed.kill()
        typed.wait(30)
        end_lifeline(shop)


def test_a_run_that_is_confirmed_lets_its_lifeline_go(tmp_path: Path) -> None:
    """And what follows the question is done by it, when nobody else does."""
    shop = build(tmp_path)
    shop.edit("levels:\n", RISKY.replace("WITHIN", "10m"))
    try:
        assert rollback(shop.folder, "run", "risky", "--as", "ada", "--yes").status == 4
        assert processes.held(lifeline_of(shop))
        assert (
            rollback(shop.folder, "answer", "r0001", "still-in", "yes", "--as", "ada").status == 0
        )
        until(lambda: state_of(shop) is State.MITIGATED, "it did not go on")
        until(lambda: not processes.held(lifeline_of(shop)), "the lifeline outlived its run")
        assert limit(shop) == "7"
    finally:
        end_lifeline(shop)


def test_a_run_that_waits_for_its_yes_to_begin_holds_no_process(tmp_path: Path) -> None:
    """It comes with the approval that lets the run begin."""
    shop = build(tmp_path)
    risky = RISKY.replace("WITHIN", "10m").replace("{roles: [op], alone: true}", "{roles: [chief]}")
    shop.edit("levels:\n", risky)
    try:
        assert rollback(shop.folder, "run", "risky", "--as", "ada", "--yes").status == 4
        until(
            lambda: not processes.held(lifeline_of(shop)),
            "a lifeline of a run that has done nothing",
        )
        assert rollback(shop.folder, "approve", "r0001", "--as", "cyd").status == 4
        assert limit(shop) == "7"
        assert processes.held(lifeline_of(shop))
    finally:
        end_lifeline(shop)
