"""The step `service`: order, identity, ports, and what is refused because nobody can know."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rollback import declare
from rollback.act import service
from rollback.host import Host, net, processes
from rollback.model import dependencies
from rollback.model.component import Service
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Answer
from rollback.model.registry import kinds, read_item
from tests.conformance.examples.managers import MANAGERS, how, installed
from tests.killed import KILLED, DyingAt, freeze, in_child


def _web(world, **changes):
    """The system with another `web`."""
    one = world.system.services["web"].model_copy(update=changes)
    world.system = world.system.having(services={**world.system.services, "web": one})


def _secret(world, value):
    """The system, with a secret in its declaration."""
    (world.folder / "secret").write_text(value)
    file = world.folder / "rollback.yaml"
    file.write_text(
        file.read_text().replace("{title: Operator}", '{title: Operator, contact: "file:secret"}')
    )
    world.system = declare.load(file)


def _asked(world, path):
    return json.loads(net.request(f"http://127.0.0.1:{world.ports[0]}{path}").body)


@pytest.mark.requirement("VR-42")
def test_dependents_start_after_what_they_need_and_stop_before_it(world):
    """`base` is used by `web`; both use the component."""
    start, there = world.bound("service", {"start": "dependents", "within": "20s"}, component="app")
    assert there.bound["names"] == ["base", "web"]
    start.apply(there)
    assert world.running() == {"base": True, "web": True}
    stop, here = world.bound("service", {"stop": "dependents", "within": "20s"}, component="app")
    assert here.bound["names"] == ["web", "base"]
    evidence = stop.apply(here)
    assert list(evidence) == ["web", "base"]
    assert world.running() == {"base": False, "web": False}


def test_what_depends_on_a_dependent_goes_with_it(world):
    """A component that only `base` uses still takes `web` along, which stands on it."""
    _web(world, components=())
    assert dependencies.dependents(world.system, "app") == ("base", "web")
    assert dependencies.dependents(world.system, "audit") == ()


def test_a_program_that_ignores_its_signal_is_killed_after_its_grace(world):
    """The evidence says so."""
    _web(world, environment={"MODE": "test", "STUBBORN": "1"})
    service.start(world.scene().view(), "web", within_s=10)
    stop, scene = world.bound("service", {"stop": ["web"], "within": "10s"})
    assert "killed" in stop.apply(scene)["web"]
    assert not world.running()["web"]


@pytest.mark.requirement("AW-34")
def test_a_lookalike_is_never_touched(world):
    """A process with the same words lives on; only the holder of the lock is signalled."""
    argv = [sys.executable, "-I", "-u", "app/server.py", str(world.ports[2])]
    with subprocess.Popen(argv, cwd=world.root, stderr=subprocess.DEVNULL) as other:
        try:
            service.start(world.scene().view(), "web", within_s=10)
            service.stop(world.scene().view(), "web", within_s=10)
            assert other.poll() is None
        finally:
            other.kill()


def test_a_free_lock_with_a_taken_port_is_not_stopped(world):
    """Somebody runs it by hand, or something else took its place: nobody can know."""
    with socket.create_server(("127.0.0.1", world.ports[0])):
        stop, scene = world.bound("service", {"stop": ["web"], "within": "5s"})
        with pytest.raises(HostError, match="cannot be established"):
            stop.apply(scene)
        assert stop.probe(scene).answer is Answer.UNKNOWN


def test_a_lock_file_that_names_another_process_cannot_harm_it(world):
    """What the file says is not believed: the kernel says who carries the lock, and only that ends."""
    service.start(world.scene().view(), "web", within_s=10)
    lock = world.root / "run" / "web.lock"
    bystander = subprocess.Popen(["/bin/sleep", "30"])
    with bystander:
        born = processes.started(bystander.pid)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        for who in ({"pid": bystander.pid, "started": 1.0, "boot": "x"}, {"pid": 1}, {}):
            lock.write_text(json.dumps(who) + "\n")
            assert world.running()["web"]
        lock.write_text(json.dumps({"pid": bystander.pid, "started": born, "boot": boot}) + "\n")
        stop, scene = world.bound("service", {"stop": ["web"], "within": "5s"})
        stop.apply(scene)
        assert stop.probe(scene).answer is Answer.PASS
        assert bystander.poll() is None
        bystander.kill()


def test_killed_before_the_program_was_written_down_it_is_known_by_its_lock(world):
    """It runs and answers, so starting is done; who it is nobody wrote, but the kernel knows."""
    start, scene = world.bound("service", {"start": ["web"], "within": "10s"})
    dying = replace(scene, host=Host(tap=DyingAt("spawn")))
    assert in_child(lambda: start.apply(dying)) == KILLED
    start.apply(scene)
    assert start.probe(scene).answer is Answer.PASS
    stop, there = world.bound("service", {"stop": ["web"], "within": "5s"})
    stop.apply(there)
    assert stop.probe(there).answer is Answer.PASS


@pytest.mark.requirement("VR-26")
@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_required_variable_that_is_missing_is_named_when_the_plan_is_made(world, verb):
    """And where to declare it; what was set then and is not any more is named before it starts."""
    _web(world, environment={}, required_environment=("NOT_SET_ANYWHERE",))
    with pytest.raises(PlanError, match="web needs NOT_SET_ANYWHERE") as caught:
        world.bound("service", {verb: ["web"], "within": "5s"})
    assert "services.web.environment" in caught.value.hint
    world.bound("service", {"stop": ["web"], "within": "5s"})
    with pytest.MonkeyPatch.context() as set_for_now:
        set_for_now.setenv("NOT_SET_ANYWHERE", "1")
        step, scene = world.bound("service", {verb: ["web"], "within": "5s"})
    with pytest.raises(HostError, match="NOT_SET_ANYWHERE"):
        step.apply(scene)
    assert not world.running()["web"]


@pytest.mark.requirement("VR-25")
def test_a_taken_port_leads_to_the_fallback_port(world):
    """Checked before the program starts; it is ready there, and the probe finds it there."""
    with socket.create_server(("127.0.0.1", world.ports[0])):
        start, scene = world.bound("service", {"start": ["web"], "within": "10s"})
        evidence = start.apply(scene)
        assert f"fallback port {world.ports[2]}" in evidence["web"]
        assert start.probe(scene).answer is Answer.PASS
        assert net.request(f"http://127.0.0.1:{world.ports[2]}/health").status == 200


def test_without_a_fallback_port_the_taken_one_is_named(world):
    """Nothing is started."""
    _web(world, fallback_ports=())
    with socket.create_server(("127.0.0.1", world.ports[0])):
        start, scene = world.bound("service", {"start": ["web"], "within": "5s"})
        with pytest.raises(HostError, match=str(world.ports[0])):
            start.apply(scene)


def test_a_program_that_dies_while_starting_fails_at_once(world):
    """Not only when the step's time is over."""
    (world.root / "app" / "server.py").write_text("raise SystemExit(3)\n")
    start, scene = world.bound("service", {"start": ["web"], "within": "30s"})
    began = world.host.clock.boot_s()
    with pytest.raises(HostError, match="ended while it was starting"):
        start.apply(scene)
    assert world.host.clock.boot_s() - began < 10


@pytest.mark.parametrize("asks", [True, False], ids=["that is asked", "that is only there"])
def test_a_frozen_service_is_named_soon_with_what_sets_it_going(world, asks):
    """Nobody waits the whole time for a process that a signal stopped: not ready, with its pid."""
    _web(world, **({} if asks else {"ready": None}))
    view = world.scene().view()
    service.start(view, "web", within_s=10)
    with processes.holder(str(world.root / "run" / "web.lock")) as holder:
        pid = holder.pid
    freeze(pid)
    start, scene = world.bound("service", {"start": ["web"], "within": "60s"})
    began = world.host.clock.boot_s()
    with pytest.raises(HostError, match=f"web is frozen: its process {pid}") as caught:
        start.apply(scene)
    assert world.host.clock.boot_s() - began < 30
    assert caught.value.hint == f"let it go on: kill -CONT {pid}"
    assert start.probe(scene).answer is Answer.FAIL
    os.kill(pid, signal.SIGCONT)
    start.apply(scene)
    assert start.probe(scene).answer is Answer.PASS


class _Empty(BaseHTTPRequestHandler):
    """Answers 200, and says nothing."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Silent."""


def test_an_empty_answer_is_enough_to_be_ready(world):
    """To be ready is to answer; what a check asks of a service is another matter."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/healthz"
        _web(world, ready=read_item("check", {"http": {"url": url}}))
        start, scene = world.bound("service", {"start": ["web"], "within": "20s"})
        start.apply(scene)
        assert start.probe(scene).answer is Answer.PASS
        server.shutdown()


def test_what_a_service_said_last_is_told_when_it_ends_while_it_starts(world):
    """Its own last line, without its secrets, and not one of an earlier start."""
    file = world.root / "app" / "server.py"
    log = world.root / "logs" / "web.out"
    _secret(world, "hunter2-and-more")
    long = "x" * 190
    file.write_text(
        f"print('no port\\n\\nbad key {long}hunter2-and-more\\n  \\n')\nraise SystemExit(3)\n"
    )
    log.write_text("of another start\n")
    start, scene = world.bound("service", {"start": ["web"], "within": "30s"})
    with pytest.raises(
        HostError, match="while it was starting; its last line: bad key x"
    ) as caught:
        start.apply(scene)
    assert "hunter2" not in str(caught.value)
    file.write_text("raise SystemExit(3)\n")
    with pytest.raises(HostError) as silent:
        start.apply(scene)
    assert "last line" not in str(silent.value)
    assert silent.value.hint == "look into logs/web.out"


def test_reload_reaches_the_process(world):
    """The process counts its signals."""
    service.start(world.scene().view(), "web", within_s=10)
    reload, scene = world.bound("service", {"reload": ["web"], "within": "5s"})
    assert reload.probe(scene).answer is Answer.FAIL
    reload.apply(scene)
    assert world.host.clock.poll(lambda: _asked(world, "/")["hups"] == 1, within_s=3)
    assert reload.probe(scene).answer is Answer.PASS


@pytest.mark.requirement("PM-28")
def test_drain_asks_until_the_work_is_done(world):
    """Three pieces of work end one by one; the service itself is not touched."""
    _web(world, environment={"MODE": "test", "OPEN_WORK": "3"})
    service.start(world.scene().view(), "web", within_s=10)
    drain, scene = world.bound("service", {"drain": ["web"], "within": "5s"})
    assert drain.probe(scene).answer is Answer.FAIL
    drain.apply(scene)
    assert _asked(world, "/")["open"] == 0
    assert world.running()["web"]


def test_a_drain_that_does_not_end_fails_in_time(world):
    """It says how much is open."""
    _web(world, environment={"MODE": "test", "OPEN_WORK": "100000"})
    service.start(world.scene().view(), "web", within_s=10)
    drain, scene = world.bound("service", {"drain": ["web"], "within": "1s"})
    with pytest.raises(HostError, match="open work"):
        drain.apply(scene)


def _resumes(world):
    """`web` declares how it works on after a drain."""
    url = f"http://127.0.0.1:{world.ports[0]}/resume"
    _web(world, resume=read_item("check", {"http": {"url": url, "pointer": {"/draining": False}}}))


def test_what_was_drained_works_on_when_the_drain_is_taken_back(world):
    """Asked of the service itself; twice is once, and what does not run is left alone."""
    _resumes(world)
    service.start(world.scene().view(), "web", within_s=10)
    drain, scene = world.bound("service", {"drain": ["web"], "within": "5s"})
    assert not any("resume" in line for line in drain.describe(scene))
    assert drain.undone(scene).answer is Answer.PASS
    drain.apply(scene)
    assert _asked(world, "/")["draining"]
    assert drain.undone(scene).answer is Answer.FAIL
    drain.undo(scene)
    assert not _asked(world, "/")["draining"]
    assert drain.undone(scene).answer is Answer.PASS
    drain.apply(scene)
    service.stop(scene.view(), "web", within_s=10)
    drain.undo(scene)
    assert not world.running()["web"]


def test_a_drain_that_failed_half_way_is_taken_back_too(world):
    """It lets no new work in from its first moment on."""
    _resumes(world)
    _web(world, environment={"MODE": "test", "OPEN_WORK": "100000"})
    service.start(world.scene().view(), "web", within_s=10)
    drain, scene = world.bound("service", {"drain": ["web"], "within": "1s"})
    with pytest.raises(HostError, match="open work"):
        drain.apply(scene)
    assert drain.undone(scene).answer is Answer.FAIL
    drain.undo(scene)
    assert not _asked(world, "/")["draining"]


@pytest.mark.long
def test_a_service_that_does_not_work_on_is_said(world):
    """It answered, and not what it declares."""
    url = f"http://127.0.0.1:{world.ports[0]}/drain"
    _web(world, resume=read_item("check", {"http": {"url": url, "pointer": {"/draining": False}}}))
    service.start(world.scene().view(), "web", within_s=10)
    drain, scene = world.bound("service", {"drain": ["web"], "within": "5s"})
    drain.apply(scene)
    with pytest.raises(HostError, match="does not work again"):
        drain.undo(scene)
    assert drain.undone(scene).answer is Answer.FAIL


def test_a_service_without_a_way_to_resume_stays_drained_and_that_is_said(world):
    """In the plan before, and in the journal when it is taken back; the rest is taken back."""
    service.start(world.scene().view(), "web", within_s=10)
    drain, scene = world.bound("service", {"drain": ["web"], "within": "5s"})
    assert any("declares no resume" in line for line in drain.describe(scene))
    drain.apply(scene)
    drain.undo(scene)
    assert _asked(world, "/")["draining"]
    ((kind, said),) = world.notes
    assert kind == "run.noted"
    assert "web declares no resume" in str(said["note"])
    assert drain.undone(scene).answer is Answer.FAIL


def test_restart_makes_another_process(world):
    """And leaves the other service alone."""
    service.start(world.scene().view(), "base", within_s=10)
    service.start(world.scene().view(), "web", within_s=10)
    view = world.scene().view()
    web, base = service.identity(view, "web"), service.identity(view, "base")
    restart, scene = world.bound("service", {"restart": ["web"], "within": "10s"})
    restart.apply(scene)
    assert service.identity(view, "web") not in ("", web)
    assert service.identity(view, "base") == base


def test_undo_of_a_stop_starts_only_what_had_run(world):
    """`base` ran, `web` did not."""
    service.start(world.scene().view(), "base", within_s=10)
    stop, scene = world.bound("service", {"stop": ["web", "base"], "within": "10s"})
    stop.apply(scene)
    stop.undo(scene)
    assert world.running() == {"base": True, "web": False}


def test_unknown_names_and_verbs_that_cannot_be_are_refused_when_planning(world):
    """Before anything is stopped."""
    for parameters in ({"stop": ["webb"]}, {"drain": ["base"]}, {"reload": ["base"]},
                       {"stop": "dependents"}):  # fmt: skip
        with pytest.raises(PlanError):
            world.bound("service", parameters)


# -- managers that are other programs -------------------------------------------------------


@pytest.fixture(params=sorted(MANAGERS))
def managed(request, world, tmp_path, monkeypatch):
    """`web` is managed by another program, which is a recording of it."""
    folder = installed(request.param, tmp_path / "manager", monkeypatch.setenv)
    one = Service(manager=request.param, reload={"signal": "HUP"}, **how(request.param, folder))
    _web(world, **{name: getattr(one, name) for name in Service.model_fields})
    world.folder_of_manager = folder
    return world


def test_a_service_its_manager_does_not_know_is_not_taken_for_stopped(managed):
    """It is refused, by every manager."""
    if managed.system.services["web"].manager == "command":
        (managed.folder_of_manager / "lost").touch()
    else:
        _web(managed, unit="misspelt.service")
    stop, scene = managed.bound("service", {"stop": ["web"], "within": "5s"})
    with pytest.raises(HostError, match="cannot be established"):
        stop.apply(scene)
    assert stop.probe(scene).answer is Answer.UNKNOWN


def test_every_declared_kind_of_manager_is_built():
    """What the grammar allows can be run."""
    allowed = Service.model_fields["manager"].annotation.__args__
    assert set(allowed) == set(kinds("service"))


def test_the_lock_of_a_service_cannot_lie_behind_a_link(world):
    """A folder that leads out of the root is refused; nothing is made there."""
    outside = world.folder / "elsewhere"
    outside.mkdir()
    (world.root / "run").rmdir()
    (world.root / "run").symlink_to(outside)
    start, scene = world.bound("service", {"start": ["web"], "within": "5s"})
    with pytest.raises(HostError):
        start.apply(scene)
    assert not list(outside.iterdir())
    assert not processes.held(str(outside / "web.lock"))
