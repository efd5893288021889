"""Several ways to start a service, what its program gets, and what its manager says of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollback import declare
from rollback.act import service
from rollback.host import Host, net, processes
from rollback.model.component import Service
from rollback.model.errors import HostError
from rollback.model.finding import Answer
from rollback.model.registry import read_item
from rollback.observe.check import ask
from rollback.prove.gate import witness
from tests.conformance.examples.managers import MANAGERS, how, installed
from tests.killed import KILL_EVERY, KILLED, CountingTap, DyingTap, in_child, shots

from .conftest import World

SYSTEMS = Path(__file__).resolve().parents[2] / "systems"


@pytest.fixture(autouse=True)
def _no_managers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, only what a test installs is found."""
    monkeypatch.setenv("PATH", "/nonexistent")


def _declared(world: World, **fields: Any) -> None:
    """`web` is declared like this, and as in the small system otherwise."""
    old = world.system.services["web"]
    kept = {name: getattr(old, name) for name in (
        "lock", "log", "ports", "fallback_ports", "ready", "stop", "environment")}  # fmt: skip
    one = Service(**{**kept, **fields})
    world.system = world.system.having(services={**world.system.services, "web": one})


def _program(world: World, *words: str) -> list[str]:
    return [sys.executable, "-I", "-u", *(words or ("app/server.py", str(world.ports[0])))]


def _ways(world: World, *first: dict[str, Any], **fields: Any) -> None:
    """The given ways, and the program that works as the last."""
    last = {"id": "program", "argv": _program(world)}
    _declared(world, start=[*first, last], **fields)


UNIT = {"id": "systemd", "unit": "web.service"}
COMPOSE = {"id": "compose", "compose": "web.service"}


def _calls(home: Path) -> list[str]:
    calls = home / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


# -- several ways --------------------------------------------------------------------------


@pytest.mark.requirement("AW-44")
def test_the_first_way_that_is_there_is_taken_and_no_other(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a unit: docker is not told to start anything, and the program does not run."""
    systemd, docker = (
        installed(m, tmp_path / "m", monkeypatch.setenv) for m in ("systemd", "compose")
    )
    _ways(world, UNIT, COMPOSE, ready=None, ports=())
    start, scene = world.bound("service", {"start": ["web"], "within": "10s"})
    assert any("systemd, else compose, else program" in line for line in start.describe(scene))
    evidence = start.apply(scene)
    assert evidence["web"].startswith("systemd: ")
    assert "start -- web.service" in _calls(systemd)
    assert not [call for call in _calls(docker) if " up " in call]
    assert not world.running()["web"]
    assert start.probe(scene).answer is Answer.PASS
    assert service.identity(scene.view(), "web") == "abc"
    stop, there = world.bound("service", {"stop": ["web"], "within": "10s"})
    stop.apply(there)
    assert "stop -- web.service" in _calls(systemd)
    assert stop.probe(there).answer is Answer.PASS


@pytest.mark.requirement("AW-44")
def test_ways_that_are_not_there_make_room_for_the_next(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No systemctl on this machine, no such service in the project: the program is started."""
    installed("compose", tmp_path / "m", monkeypatch.setenv)
    _ways(world, UNIT, {"id": "compose", "compose": "not-in-the-project"})
    start, scene = world.bound("service", {"start": ["web"], "within": "15s"})
    assert start.probe(scene).answer is Answer.FAIL
    assert start.apply(scene)["web"].startswith("program: ")
    assert world.running()["web"]
    assert start.probe(scene).answer is Answer.PASS
    assert "running already" in start.apply(scene)["web"]
    restart, there = world.bound("service", {"restart": ["web"], "within": "15s"})
    restart.apply(there)
    assert world.running()["web"]
    stop, last = world.bound("service", {"stop": ["web"], "within": "5s"})
    stop.apply(last)
    assert stop.probe(last).answer is Answer.PASS
    assert not world.running()["web"]


@pytest.mark.requirement("AW-44")
def test_a_way_that_is_not_ready_in_its_time_is_ended_before_the_next_is_tried(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit becomes active and never answers; a program dies; the third answers."""
    systemd = installed("systemd", tmp_path / "m", monkeypatch.setenv)
    dead = {"id": "dead", "argv": _program(world, "-c", "raise SystemExit(3)")}
    _ways(world, {**UNIT, "within": "600ms"}, dead)
    start, scene = world.bound("service", {"start": ["web"], "within": "20s"})
    assert start.apply(scene)["web"].startswith("program: ")
    calls = [call for call in _calls(systemd) if not call.startswith("show")]
    assert calls == ["start -- web.service", "stop -- web.service"]
    assert net.request(f"http://127.0.0.1:{world.ports[0]}/health").status == 200


@pytest.mark.requirement("AW-44")
def test_when_no_way_works_each_is_named_with_its_reason(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is dead after its time is no start, and nothing is left running."""
    home = installed("compose", tmp_path / "m", monkeypatch.setenv)
    (home / "broken").touch()
    dead = {"id": "dead", "argv": _program(world, "-c", "raise SystemExit(3)")}
    _declared(world, start=[UNIT, COMPOSE, dead])
    start, scene = world.bound("service", {"start": ["web"], "within": "10s"})
    with pytest.raises(HostError) as caught:
        start.apply(scene)
    said = str(caught.value)
    assert "systemd: systemctl: systemctl is not on this machine" in said
    assert "compose: web: web does not run" in said
    assert "dead: web: web ended while it was starting" in said
    assert not world.running()["web"]
    assert start.probe(scene).answer is Answer.FAIL


def test_without_a_ready_check_a_unit_that_is_started_again_and_again_is_no_start(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd calls it activating: the next way is tried."""
    systemd = installed("systemd", tmp_path / "m", monkeypatch.setenv)
    (systemd / "state").write_text("activating")
    _declared(world, start=[{**UNIT, "within": "500ms"}], ready=None, ports=(), fallback_ports=(),
              environment={})  # fmt: skip
    start, scene = world.bound("service", {"start": ["web"], "within": "2s"})
    with pytest.raises(HostError, match="is activating"):
        start.apply(scene)


def test_a_way_that_may_still_run_lets_no_other_be_tried(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manager stops answering: two of the same service would be worse than none."""
    home = installed("compose", tmp_path / "m", monkeypatch.setenv)
    ready = read_item(
        "check", {"command": {"argv": ["/usr/bin/touch", str(home / "lost")], "exit": 1}}
    )
    _ways(world, COMPOSE, ready=ready)
    start, scene = world.bound("service", {"start": ["web"], "within": "2s"})
    with pytest.raises(HostError, match="no other way was tried"):
        start.apply(scene)
    assert not world.running()["web"]
    assert start.probe(scene).answer is Answer.UNKNOWN
    stop, there = world.bound("service", {"stop": ["web"], "within": "2s"})
    with pytest.raises(HostError):
        stop.apply(there)
    assert stop.probe(there).answer is Answer.UNKNOWN


@pytest.mark.parametrize("project", [False, True])
def test_a_compose_project_that_cannot_be_read_is_not_taken_for_none(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: bool
) -> None:
    """Where there is no compose file the next way is tried; where there is one, nobody can know."""
    home = installed("compose", tmp_path / "m", monkeypatch.setenv)
    (home / "lost").touch()
    if project:
        (world.root / "compose.yaml").write_text("services: {")
    _ways(world, COMPOSE)
    start, scene = world.bound("service", {"start": ["web"], "within": "10s"})
    if project:
        with pytest.raises(HostError, match="cannot be established"):
            start.apply(scene)
    else:
        start.apply(scene)
    assert world.running()["web"] is not project


def test_a_unit_without_a_file_that_is_still_active_is_not_taken_for_none(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd calls it not-found and active: a bad release took the file away, not the process."""
    systemd = installed("systemd", tmp_path / "m", monkeypatch.setenv)
    (systemd / "gone").touch()
    _ways(world, UNIT)
    (systemd / "active").touch()
    start, scene = world.bound("service", {"start": ["web"], "within": "10s"})
    with pytest.raises(HostError, match="cannot be established"):
        start.apply(scene)
    assert not world.running()["web"]
    (systemd / "active").unlink()
    start.apply(scene)
    assert world.running()["web"]


def test_an_answer_does_not_count_when_the_service_has_ended(world: World) -> None:
    """The ready check passes once nobody holds the lock any more: somebody else answered."""
    says = (
        "import fcntl, time\nfile = open('run/web.lock')\nwhile True:\n"
        "    try:\n        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)\n        break\n"
        "    except BlockingIOError:\n        time.sleep(0.01)\n"
    )
    ready = {"command": {"argv": [sys.executable, "-I", "-c", says], "within": "5s"}}
    dead = _program(world, "-c", "raise SystemExit(3)")
    _declared(world, argv=dead, ready=read_item("check", ready), ports=(), fallback_ports=())
    start, scene = world.bound("service", {"start": ["web"], "within": "10s"})
    with pytest.raises(HostError, match="ended while it was starting"):
        start.apply(scene)


def test_what_runs_by_two_ways_at_once_is_stopped_by_both(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody started the unit by hand beside the program."""
    systemd = installed("systemd", tmp_path / "m", monkeypatch.setenv)
    _declared(world, start=[{"id": "program", "argv": _program(world)}, UNIT])
    service.start(world.scene().view(), "web", within_s=10)
    (systemd / "active").touch()
    service.stop(world.scene().view(), "web", within_s=5)
    assert not world.running()["web"]
    assert not (systemd / "active").exists()


def test_a_reload_goes_to_the_way_by_which_it_runs(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process counts its signals; systemctl is not told to reload."""
    systemd = installed("systemd", tmp_path / "m", monkeypatch.setenv)
    _declared(world, start=[{"id": "program", "argv": _program(world)}, UNIT],
              reload={"signal": "HUP"})  # fmt: skip
    service.start(world.scene().view(), "web", within_s=10)
    service.reload(world.scene().view(), "web", within_s=5)
    url = f"http://127.0.0.1:{world.ports[0]}/"
    assert world.host.clock.poll(lambda: json.loads(net.request(url).body)["hups"] == 1, within_s=3)
    assert not [call for call in _calls(systemd) if call.startswith("reload")]


@pytest.mark.slow
def test_killed_while_it_tries_one_way_after_the_other_it_converges(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every change: done again one way runs, the one that is ready, and no other."""
    systemd = installed("systemd", tmp_path / "m", monkeypatch.setenv)
    _ways(world, {**UNIT, "within": "300ms"})
    start, scene = world.bound("service", {"start": ["web"], "within": "20s"})

    def prepared() -> None:
        world.end_services()
        (systemd / "active").unlink(missing_ok=True)
        shutil.rmtree(world.state.path / "services", ignore_errors=True)

    counting = CountingTap()
    start.apply(replace(scene, host=Host(tap=counting)))
    last = len(counting.points)
    chosen = [shot for shot in shots(counting.points)  # after one change is before the next
              if shot[1] != "after" or shot[0] == last][::KILL_EVERY]  # fmt: skip
    missed = []  # asking is counted too, and how often depends on the time
    for shot in chosen:
        prepared()
        dying = replace(scene, host=Host(tap=DyingTap(*shot)))
        if in_child(lambda there=dying: start.apply(there)) != KILLED:  # type: ignore[misc]
            missed.append(shot)
        if start.probe(scene).answer is Answer.PASS:
            assert world.running()["web"], shot
        start.apply(scene)
        assert start.probe(scene).answer is Answer.PASS, shot
        assert world.running()["web"], shot
        assert not (systemd / "active").exists(), shot
    assert len(missed) < len(chosen) / 3, missed


@pytest.mark.requirement("AW-44")
def test_the_declared_workflow_is_started_as_its_declaration_says(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systems/ai_workflow.yaml: unit, compose project, program; here only the last is there."""
    system = declare.load(SYSTEMS / "ai_workflow.yaml", environ={"PYTHON": sys.executable})
    workflow = system.services["workflow"]
    assert [one.id for one in workflow.start] == ["systemd", "compose", "program"]
    assert [one.within for one in workflow.start] == [15.0, 15.0, 15.0]
    up = world.root / "run" / "up"
    (world.root / "run" / "workflow.py").write_text(
        f"import time\nopen({str(up)!r}, 'w')\ntime.sleep(60)\n"
    )
    (world.root / "run" / "ready.py").write_text(
        f"import os\nraise SystemExit(not os.path.exists({str(up)!r}))\n"
    )
    world.system = world.system.having(
        services={
            **world.system.services,
            "workflow": workflow.model_copy(update={"components": ()}),
        }
    )
    start, scene = world.bound("service", {"start": ["workflow"], "within": "20s"})
    assert start.apply(scene)["workflow"].startswith("program: ")
    assert world.running()["workflow"]
    up.unlink()
    (world.root / "run" / "workflow.py").write_text("raise SystemExit(1)\n")
    restart, there = world.bound("service", {"restart": ["workflow"], "within": "20s"})
    with pytest.raises(HostError, match="program: workflow: workflow ended while it was starting"):
        restart.apply(there)


# -- what a program gets -------------------------------------------------------------------

SERVER = """#!{python}
import os, pathlib, signal, subprocess, sys
pid = pathlib.Path("run/own.pid")
def alive():
    try:
        os.kill(int(pid.read_text()), 0)
        return True
    except (OSError, ValueError):
        return False
verb = sys.argv[1]
if verb == "status":
    sys.exit(0 if alive() else 3)
elif verb == "start":
    argv = [sys.executable, "-I", "-u", "app/server.py", os.environ["PORT"]]
    pathlib.Path("told").write_text(os.environ["PORT"] + " " + os.environ.get("TOKEN_OF_TEST", "none"))
    pid.write_text(str(subprocess.Popen(argv, start_new_session=True, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL).pid))
elif verb == "stop":
    os.kill(int(pid.read_text()), signal.SIGKILL)
    pid.unlink()
"""


@pytest.fixture
def controlled(world: World) -> Iterator[World]:
    """`web` is a real server behind a control program, which takes its port from a variable."""
    control = world.root / "control"
    control.write_text(SERVER.format(python=sys.executable))
    control.chmod(0o755)
    _declared(world, manager="command", argv=["./control"], required_environment=["TOKEN_OF_TEST"],
              lock=None, log=None,
              environment={"MODE": "test", "PORT": str(world.ports[0])})  # fmt: skip
    yield world
    pid = world.root / "run" / "own.pid"
    if pid.exists():
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_a_control_program_gets_what_is_declared_and_required(
    controlled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is not started without it."""
    with pytest.raises(HostError, match="TOKEN_OF_TEST"):
        service.start(controlled.scene().view(), "web", within_s=5)
    assert not (controlled.root / "told").exists()
    monkeypatch.setenv("TOKEN_OF_TEST", "abc")
    service.start(controlled.scene().view(), "web", within_s=10)
    assert (controlled.root / "told").read_text() == f"{controlled.ports[0]} abc"
    service.stop(controlled.scene().view(), "web", within_s=5)
    assert not service.running(controlled.scene().view(), "web")


@pytest.mark.requirement("VR-25")
def test_a_control_program_is_given_the_fallback_port_and_is_stopped_there(
    controlled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a program of our own is; checks follow, and after the stop the stranger counts for nothing."""
    monkeypatch.setenv("TOKEN_OF_TEST", "abc")
    url = f"http://127.0.0.1:{controlled.ports[0]}/health"
    check = read_item("check", {"http": {"url": url, "pointer": {"/ready": True}, "within": "1s"}})
    stranger = processes.start_service(
        _program(controlled), cwd=str(controlled.root), environment=processes.base_environment(),
        lock=str(controlled.root / "run" / "base.lock"), log="/dev/null", tap=controlled.host.tap,
    )  # fmt: skip
    assert controlled.host.clock.poll(
        lambda: net.listening("127.0.0.1", controlled.ports[0]), within_s=5
    )
    told = service.start(controlled.scene().view(), "web", within_s=10)
    assert f"fallback port {controlled.ports[2]}" in told
    assert (controlled.root / "told").read_text() == f"{controlled.ports[2]} abc"
    finding = ask(check, controlled.scene().view())
    assert finding.answer is Answer.PASS, finding.evidence
    assert f":{controlled.ports[2]}/" in finding.evidence
    stop, scene = controlled.bound("service", {"stop": ["web"], "within": "5s"})
    stop.apply(scene)
    assert stop.probe(scene).answer is Answer.PASS
    assert ask(check, controlled.scene().view()).answer is Answer.FAIL
    os.kill(stranger, 0)


@pytest.mark.parametrize("manager", ["compose", "command"])
def test_the_program_of_a_manager_gets_what_is_declared_and_required_at_every_call(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: str
) -> None:
    """A compose file may not even be read without: asking and stopping are given it, too."""
    home = installed(manager, tmp_path / "m", monkeypatch.setenv)
    _declared(world, manager=manager, ready=None, ports=(), fallback_ports=(),
              required_environment=["TOKEN_OF_TEST"], environment={"PORT": "5"},
              reload={"signal": "HUP"}, **how(manager, home))  # fmt: skip
    monkeypatch.setenv("NOBODY_ASKED_FOR", "it")
    monkeypatch.setenv("TOKEN_OF_TEST", "abc")
    view = world.scene().view()
    for does in (lambda: service.running(view, "web"),
                 lambda: service.start(view, "web", within_s=5),
                 lambda: service.reload(view, "web", within_s=5),
                 lambda: service.stop(view, "web", within_s=5)):  # fmt: skip
        does()
        given = json.loads((home / "environment").read_text())
        assert (given["PORT"], given["TOKEN_OF_TEST"]) == ("5", "abc")
        assert "NOBODY_ASKED_FOR" not in given


def test_docker_compose_is_given_the_fallback_port(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable that its file publishes the port by."""
    home = installed("compose", tmp_path / "m", monkeypatch.setenv)
    _declared(world, manager="compose", unit="web.service", ready=None,
              environment={"PORT": str(world.ports[0])})  # fmt: skip
    processes.start_service(
        _program(world), cwd=str(world.root), environment=processes.base_environment(),
        lock=str(world.root / "run" / "base.lock"), log="/dev/null", tap=world.host.tap,
    )  # fmt: skip
    assert world.host.clock.poll(lambda: net.listening("127.0.0.1", world.ports[0]), within_s=5)
    view = world.scene().view()
    assert f"fallback port {world.ports[2]}" in service.start(view, "web", within_s=5)
    assert json.loads((home / "environment").read_text())["PORT"] == str(world.ports[2])
    service.stop(view, "web", within_s=5)
    assert json.loads((home / "environment").read_text())["PORT"] == str(world.ports[2])
    assert not service.running(view, "web")


# -- what a manager says -------------------------------------------------------------------


@pytest.fixture(params=sorted(MANAGERS))
def managed(
    request: pytest.FixtureRequest, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[World, Path]:
    """`web` is managed by another program, and has no lock."""
    home = installed(request.param, tmp_path / "m", monkeypatch.setenv)
    _declared(world, manager=request.param, lock=None, ready=None, ports=(), fallback_ports=(),
              environment={}, **how(request.param, home))  # fmt: skip
    return world, home


def _alive(world: World, **more: Any) -> Any:
    check = read_item("check", {"process": {"id": "alive", "services": ["web"], **more}})
    return ask(check, world.scene().view())


def test_whether_a_service_lives_is_asked_of_its_manager(managed: tuple[World, Path]) -> None:
    """PASS while it runs, FAIL when it does not, and the other way round when it must not."""
    world, _home = managed
    assert _alive(world).answer is Answer.FAIL
    assert _alive(world, alive=False).answer is Answer.PASS
    service.start(world.scene().view(), "web", within_s=5)
    finding = _alive(world)
    assert finding.answer is Answer.PASS, finding.evidence
    assert world.system.services["web"].manager in finding.evidence
    assert _alive(world, alive=False).answer is Answer.FAIL


def test_a_gate_opens_on_a_service_of_another_manager(managed: tuple[World, Path]) -> None:
    """The second witness asks it as any other smoke check."""
    world, _home = managed
    check = read_item("check", {"process": {"id": "alive", "services": ["web"]}})
    world.system = world.system.having(
        verification=world.system.verification.model_copy(update={"smoke": (check,)})
    )
    assert witness(world.system, world.host) != ()
    service.start(world.scene().view(), "web", within_s=5)
    assert witness(world.system, world.host) == ()


def test_what_could_not_be_found_out_is_unknown(managed: tuple[World, Path]) -> None:
    """The manager does not answer, does not know the service, or is not on this machine."""
    world, home = managed
    service.start(world.scene().view(), "web", within_s=5)
    (home / "lost").touch()
    for alive in (True, False):
        assert _alive(world, alive=alive).answer is Answer.UNKNOWN
    (home / "lost").unlink()
    assert _alive(world).answer is Answer.PASS
    one = world.system.services["web"]
    if one.manager != "command":
        other = one.model_copy(update={"unit": "misspelt.service"})
        world.system = world.system.having(services={**world.system.services, "web": other})
        assert _alive(world).answer is Answer.UNKNOWN
    shutil.rmtree(home)
    assert _alive(world, alive=False).answer is Answer.UNKNOWN


def test_limits_of_a_process_that_is_not_known_are_unknown(managed: tuple[World, Path]) -> None:
    """Its manager says that it lives, not what it uses."""
    world, _home = managed
    service.start(world.scene().view(), "web", within_s=5)
    assert _alive(world, memory={"below": "1 GiB"}).answer is Answer.UNKNOWN


@pytest.mark.parametrize(
    ("manager", "state", "told"),
    [
        ("systemd", "activating", "is activating (auto-restart)"),
        ("systemd", "deactivating", "is deactivating"),
        ("systemd", "active", "no process of it is left"),
        ("supervisor", "BACKOFF", "is BACKOFF"),
        ("supervisor", "STARTING", "is STARTING"),
        ("compose", "restarting", "does not run"),
    ],
)
def test_what_its_manager_starts_again_and_again_does_not_live(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    manager: str,
    state: str,
    told: str,
) -> None:
    """It is there for whoever wants to stop it, and it does no work."""
    home = installed(manager, tmp_path / "m", monkeypatch.setenv)
    _declared(world, manager=manager, lock=None, ready=None, ports=(), fallback_ports=(),
              environment={}, **how(manager, home))  # fmt: skip
    (home / "active").touch()
    (home / "state").write_text(state)
    finding = _alive(world)
    assert finding.answer is Answer.FAIL, finding.evidence
    assert told in finding.evidence
    if manager != "compose":
        assert _alive(world, alive=False).answer is Answer.FAIL


@pytest.mark.long
def test_a_service_with_several_ways_lives_by_any_of_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its unit although nobody holds the lock; by the program although the unit does not run."""
    systemd = installed("systemd", tmp_path / "m", monkeypatch.setenv)
    _ways(world, UNIT, ready=None)
    assert _alive(world).answer is Answer.FAIL
    (systemd / "active").touch()
    assert _alive(world).answer is Answer.PASS
    (systemd / "active").unlink()
    (systemd / "broken").touch()
    service.start(world.scene().view(), "web", within_s=10)
    finding = _alive(world, memory={"below": "1 GiB"})
    assert finding.answer is Answer.PASS, finding.evidence
    assert "as process" in finding.evidence


# -- the declared system of containers -----------------------------------------------------

PROJECT = """#!{python}
import pathlib, sys
folder = pathlib.Path("{folder}")
rest = sys.argv[4:] if "--project-directory" in sys.argv else sys.argv[2:]
with open(folder / "calls", "a") as calls:
    calls.write(" ".join(rest) + "\\n")
state = folder / rest[-1]
if rest[:2] == ["config", "--services"]:
    print("postgres\\nredis\\nqdrant")
elif rest[0] == "ps":
    print("c0ffee" if state.exists() else "")
elif rest[0] == "up":
    state.touch()
elif rest[0] == "stop":
    state.unlink()
elif rest[0] == "exec":
    sys.exit(0 if (folder / rest[2]).exists() else 2)
"""


@pytest.mark.requirement("VR-42", "VR-45")
def test_the_declared_containers_stop_and_start_in_the_order_of_need(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systems/vrooli.yaml, level clean-recovery: its own two steps, through docker compose."""
    home = tmp_path / "docker"
    home.mkdir()
    program = home / "docker"
    program.write_text(PROJECT.format(python=sys.executable, folder=home))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(home))
    system = declare.load(SYSTEMS / "vrooli.yaml", environ={"REDIS_PORT": str(world.ports[0]),
        "QDRANT_PORT": str(world.ports[1]), "POSTGRES_PORT": str(world.ports[2])})  # fmt: skip
    steps = {
        one["service"]["id"]: one["service"]
        for one in system.source["levels"]["clean-recovery"]["steps"] if "service" in one
    }  # fmt: skip
    names = ("postgres", "redis", "qdrant")
    answering = {name: system.services[name].model_copy(update=(
        {} if name == "postgres" else {"ready": None})) for name in names}  # fmt: skip
    world.system = world.system.having(services=answering)
    (world.root / "packages").mkdir()
    for verb, order in (("start-all", names), ("stop-all", names[::-1])):
        (home / "calls").unlink(missing_ok=True)
        step, scene = world.bound("service", dict(steps[verb]))
        assert scene.bound["names"] == list(order)
        step.apply(scene)
        assert step.probe(scene).answer is Answer.PASS
        did = [call.split() for call in (home / "calls").read_text().splitlines()]
        wanted = "up" if verb == "start-all" else "stop"
        assert [call[-1] for call in did if call[0] == wanted] == list(order)
    assert not [name for name in names if (home / name).exists()]
