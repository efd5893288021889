"""A service whose first port is somebody else's: it is stopped, asked and known where it really is.

The somebody else answers everything as a well service would, so that whoever asks it believes it.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from rollback.act import service
from rollback.host import Host, net, processes
from rollback.model.errors import HostError
from rollback.model.finding import Answer
from rollback.model.registry import read_item
from rollback.observe.check import ask
from rollback.observe.metric import read as read_metric
from rollback.prove.gate import witness
from tests.killed import KILL_SOME, KILLED, CountingTap, DyingTap, in_child, shots

from .conftest import World

STRANGER = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    server_version = "Stranger/1"
    def do_GET(self):
        data = json.dumps({"ready": True, "value": True, "open": 0, "stranger": True}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    do_POST = do_GET
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("listens", flush=True)
server.serve_forever()
"""


@contextmanager
def listening(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else listens on the port and answers everything."""
    argv = [sys.executable, "-I", "-c", STRANGER, str(port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"listens\n"
        try:
            yield other
        finally:
            other.kill()


@pytest.fixture
def stranger(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else listens on the first port of `web`."""
    with listening(world.ports[0]) as other:
        yield other


def _web(world: World, **changes: Any) -> None:
    one = world.system.services["web"].model_copy(update=changes)
    world.system = world.system.having(services={**world.system.services, "web": one})


def _started(world: World) -> None:
    service.start(world.scene().view(), "web", within_s=10)


def _asked(world: World, path: str) -> dict[str, Any]:
    """What the service itself says, on the port that it took."""
    body: dict[str, Any] = json.loads(net.request(f"http://127.0.0.1:{world.ports[2]}{path}").body)
    return body


def _check(kind: str, **parameters: Any) -> Any:
    return read_item("check", {kind: parameters})


# -- stopping ------------------------------------------------------------------------------


@pytest.mark.requirement("VR-25")
def test_a_service_on_its_fallback_port_can_be_stopped(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """While somebody else holds the first one, who is left alone; twice, and the probe says so."""
    _started(world)
    stop, scene = world.bound("service", {"stop": ["web"], "within": "5s"})
    assert stop.probe(scene).answer is Answer.FAIL
    stop.apply(scene)
    stop.apply(scene)
    assert stop.probe(scene).answer is Answer.PASS, stop.probe(scene).evidence
    assert not world.running()["web"]
    assert not net.listening("127.0.0.1", world.ports[2])
    assert stranger.poll() is None


def test_a_stop_is_not_believed_while_the_taken_port_is_held(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """Somebody without the lock, a lost child perhaps, listens where the service did: no stop."""
    _started(world)
    service.stop(world.scene().view(), "web", within_s=5)
    with listening(world.ports[2]):
        stop, scene = world.bound("service", {"stop": ["web"], "within": "2s"})
        with pytest.raises(HostError, match=str(world.ports[2])):
            stop.apply(scene)
        assert stop.probe(scene).answer is Answer.UNKNOWN


def test_another_stranger_than_the_one_that_was_there_is_not_known(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """After the stop, whoever takes the first port next may be the service, run by hand."""
    _started(world)
    service.stop(world.scene().view(), "web", within_s=5)
    assert not service.running(world.scene().view(), "web")
    stranger.kill()
    stranger.wait()
    assert not service.running(world.scene().view(), "web")
    with listening(world.ports[0]), pytest.raises(HostError, match="cannot be established"):
        service.running(world.scene().view(), "web")


def test_a_stranger_that_came_while_the_service_ran_elsewhere_is_known_for_one(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """The service ran on its fallback port all the time: whoever has its first is not the service."""
    _started(world)
    stranger.kill()
    stranger.wait()
    with listening(world.ports[0]):
        stop, scene = world.bound("service", {"stop": ["web"], "within": "5s"})
        stop.apply(scene)
        assert stop.probe(scene).answer is Answer.PASS, stop.probe(scene).evidence


def test_when_the_first_port_is_free_again_a_restart_takes_it(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """And everybody asks there again."""
    _started(world)
    stranger.kill()
    stranger.wait()
    restart, scene = world.bound("service", {"restart": ["web"], "within": "10s"})
    restart.apply(scene)
    assert restart.probe(scene).answer is Answer.PASS
    assert net.request(f"http://127.0.0.1:{world.ports[0]}/health").status == 200
    finding = ask(
        _check("http", url=f"http://127.0.0.1:{world.ports[0]}/health"), world.scene().view()
    )
    assert finding.answer is Answer.PASS, finding.evidence
    assert f":{world.ports[0]}/" in finding.evidence
    service.stop(world.scene().view(), "web", within_s=5)
    assert not list((world.state.path / "services").glob("*")), "nothing is left to remember"


def test_an_undone_start_on_a_fallback_port_is_stopped(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """That the first port was taken is no sign that the service ran before."""
    start, scene = world.bound("service", {"start": ["web"], "within": "10s"})
    start.apply(scene)
    start.undo(scene)
    assert not world.running()["web"]


# -- asking --------------------------------------------------------------------------------


@pytest.mark.long
def test_the_stranger_is_never_taken_for_a_started_service(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """It answers as a ready service would, and nothing of ours runs."""
    start, scene = world.bound("service", {"start": ["web"], "within": "5s"})
    assert start.probe(scene).answer is not Answer.PASS
    (world.root / "app" / "server.py").write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(HostError, match="not ready"):
        start.apply(replace(scene))
    assert start.probe(scene).answer is not Answer.PASS


def test_a_flag_is_read_back_from_the_service_and_not_from_the_stranger(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """The stranger says true whatever the file says."""
    _started(world)
    flag, scene = world.bound("flag", {"flag": "party", "set": False, "within": "3s"})
    flag.apply(scene)
    assert flag.probe(scene).answer is Answer.PASS
    (world.root / ".env").write_text("PARTY=true\n")
    assert flag.probe(scene).answer is Answer.FAIL
    finding = ask(_check("flag", flag="party", **{"is": True}), world.scene().view())
    assert finding.answer is Answer.PASS, finding.evidence
    (world.root / ".env").write_text("PARTY=false\n")
    finding = ask(_check("flag", flag="party", **{"is": True}), world.scene().view())
    assert finding.answer is Answer.FAIL, finding.evidence


def test_a_drain_asks_the_service_and_not_the_stranger(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """The stranger has no open work; the service has three pieces."""
    _web(world, environment={"MODE": "test", "OPEN_WORK": "3"})
    _started(world)
    drain, scene = world.bound("service", {"drain": ["web"], "within": "5s"})
    assert drain.probe(scene).answer is Answer.FAIL
    drain.apply(scene)
    assert _asked(world, "/")["open"] == 0


def test_a_program_that_reloads_is_given_the_port_that_was_taken(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """`reload: {argv: […, PORT]}` names the first one."""
    says = "import sys; open('told', 'w').write(sys.argv[1])"
    argv = (sys.executable, "-I", "-c", says, str(world.ports[0]))
    one = world.system.services["web"].reload
    assert one is not None
    _web(world, reload=one.model_copy(update={"signal": None, "argv": argv}))
    _started(world)
    service.reload(world.scene().view(), "web", within_s=5)
    assert (world.root / "told").read_text() == str(world.ports[2])


def test_a_step_that_runs_a_program_gives_it_the_port_that_was_taken(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """Among its words and its variables, as they were planned before anybody knew."""
    says = "import os, sys; print(sys.argv[1], os.environ['WEB'])"
    step, scene = world.bound("command", {
        "argv": [sys.executable, "-c", says, str(world.ports[0])], "effects": "none",
        "variables": {"WEB": f"http://127.0.0.1:{world.ports[0]}"}})  # fmt: skip
    _started(world)
    said = step.apply(scene)["output"]
    assert said == f"{world.ports[2]} http://127.0.0.1:{world.ports[2]}"


def _questions(world: World) -> dict[str, Any]:
    """A check of each kind that names a port; none of them holds for the stranger."""
    url = f"http://127.0.0.1:{world.ports[0]}"
    script = (
        "import sys, urllib.request as u; b = u.urlopen(sys.argv[1]).read(); "
        "sys.exit(b'stranger' in b)"
    )
    port = (
        "import sys, urllib.request as u; b = u.urlopen(f'http://127.0.0.1:{sys.argv[1]}/').read(); "
        "sys.exit(b'stranger' in b)"
    )
    return {
        "http": _check("http", url=f"{url}/health", absent="stranger", within="2s"),
        "localhost": _check("http", url=f"http://localhost:{world.ports[0]}/", absent="stranger"),
        "port": _check("port", ports=[world.ports[0]], send="GET / HTTP/1.0\r\n\r\n",
                       expect="BaseHTTP/", within="2s"),
        "workflow": _check("workflow", within="3s", steps=[
            {"get": f"{url}/", "absent": "stranger"},
            {"post": f"{url}/sessions", "absent": "stranger"}]),
        "command": _check("command", argv=[sys.executable, "-I", "-c", script, f"{url}/"]),
        "command-word": _check("command", argv=[
            sys.executable, "-I", "-c", port, str(world.ports[0])]),
        "command-environment": _check("command", environment={"PORT": str(world.ports[0])}, argv=[
            sys.executable, "-c",
            "import os, sys, urllib.request as u; "
            "b = u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/\").read(); "
            "sys.exit(b'stranger' in b)"]),
    }  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    ["http", "localhost", "port", "workflow", "command", "command-word", "command-environment"],
)
def test_a_check_that_names_the_first_port_asks_where_the_service_is(
    world: World, stranger: subprocess.Popen[bytes], kind: str
) -> None:
    """PASS while the service answers; once it is gone, the stranger's answers count for nothing."""
    check = _questions(world)[kind]
    _started(world)
    finding = ask(check, world.scene().view())
    assert finding.answer is Answer.PASS, finding.evidence
    service.stop(world.scene().view(), "web", within_s=5)
    finding = ask(check, world.scene().view())
    assert finding.answer is not Answer.PASS, finding.evidence


def test_a_service_that_died_on_its_fallback_port_is_not_well_because_a_stranger_is(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """Killed, not stopped: the smoke checks of a gate do not fall back to the first port."""
    url = f"http://127.0.0.1:{world.ports[0]}/health"
    check = _check("http", id="up", url=url, pointer={"/ready": True}, within="2s")
    world.system = world.system.having(
        verification=world.system.verification.model_copy(update={"smoke": (check,)})
    )
    _started(world)
    assert witness(world.system, world.host) == ()
    with processes.holder(str(world.root / "run" / "web.lock")) as held:  # type: ignore[union-attr]
        held.signal(signal.SIGKILL, tap=world.host.tap)
    assert world.host.clock.poll(lambda: not world.running()["web"], within_s=5)
    assert witness(world.system, world.host) != ()


def test_a_metric_that_names_the_first_port_is_read_where_the_service_is(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """Availability is that of the service."""
    declared = next(iter(world.system.metrics.values()))
    url = f"http://127.0.0.1:{world.ports[0]}/health"
    source = read_item("metric", {"probe": {"url": url, "probes": 2, "timeout": "1s"}})
    made = declared.model_copy(update={"source": source})
    world.system = world.system.having(metrics={"up": made})
    _started(world)
    assert read_metric("up", world.scene().view()).value == 1.0
    service.stop(world.scene().view(), "web", within_s=5)
    assert read_metric("up", world.scene().view()).value == 0.0


def test_an_address_that_may_be_another_machine_cannot_follow_and_says_so(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """UNKNOWN, with the service, its port and the address; asked as ever once nothing was moved."""
    url = f"http://machine.invalid:{world.ports[0]}/health"
    check = _check("http", url=url, within="1s")
    assert ask(check, world.scene().view()).answer is Answer.FAIL
    _started(world)
    finding = ask(check, world.scene().view())
    assert finding.answer is Answer.UNKNOWN
    assert f"machine.invalid:{world.ports[0]}" in finding.evidence
    assert str(world.ports[2]) in finding.evidence
    ports = _check("port", ports=[world.ports[0]], host="machine.invalid", within="1s")
    assert ask(ports, world.scene().view()).answer is Answer.UNKNOWN


def test_other_numbers_and_other_services_are_left_alone(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """`base` is asked on its own port, and a number that only begins like the port is no port."""
    service.start(world.scene().view(), "base", within_s=10)
    _started(world)
    other = _check("http", url=f"http://127.0.0.1:{world.ports[1]}/health")
    assert ask(other, world.scene().view()).answer is Answer.PASS
    says = [sys.executable, "-I", "-c", "import sys; print(sys.argv[1:])"]
    words = [
        f"{world.ports[0]}0",
        f"1{world.ports[0]}",
        f"x{world.ports[0]}",
        f"{world.ports[0]}.txt",
    ]
    check = _check("command", argv=[*says, *words], contains=[str(words)])
    assert ask(check, world.scene().view()).answer is Answer.PASS


def test_a_process_that_was_not_started_by_us_is_not_looked_for_on_our_port(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """Restarted by hand, with the lock, somewhere: where it listens cannot be told, and that is said."""
    _started(world)
    lock = str(world.root / "run" / "web.lock")
    with processes.holder(lock) as held:  # type: ignore[union-attr]
        held.signal(signal.SIGKILL, tap=world.host.tap)
    assert world.host.clock.poll(lambda: not world.running()["web"], within_s=5)
    argv = [sys.executable, "-I", "-u", "app/server.py", str(world.ports[2])]
    processes.start_service(
        argv, cwd=str(world.root), environment=processes.base_environment({"MODE": "test"}),
        lock=lock, log="/dev/null", tap=world.host.tap,
    )  # fmt: skip
    assert world.host.clock.poll(lambda: world.running()["web"], within_s=5)
    url = f"http://127.0.0.1:{world.ports[0]}/health"
    finding = ask(_check("http", url=url), world.scene().view())
    assert finding.answer is Answer.UNKNOWN, finding.evidence
    assert "web" in finding.evidence
    service.stop(world.scene().view(), "web", within_s=5)
    assert not world.running()["web"]


def test_what_is_remembered_and_cannot_be_read_is_not_taken_for_nothing(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """The stranger would be asked for the service."""
    _started(world)
    (record,) = (world.state.path / "services").glob("web.*.json")
    record.write_text("{}")
    url = f"http://127.0.0.1:{world.ports[0]}/health"
    finding = ask(_check("http", url=url), world.scene().view())
    assert finding.answer is Answer.UNKNOWN
    assert "cannot be read" in finding.evidence


def test_who_needs_the_service_is_started_with_the_port_that_it_took(
    world: World, stranger: subprocess.Popen[bytes]
) -> None:
    """A program whose words name the other's first port is given the real one."""
    says = (
        "import json, os, sys, time; json.dump([sys.argv[1:], os.environ['WEB']], open('told', 'w')); "
        "open('told.done', 'w'); time.sleep(60)"
    )
    base = world.system.services["base"].model_copy(update={
        "argv": (sys.executable, "-I", "-c", says, "--web", str(world.ports[0])), "ready": None,
        "environment": {"WEB": f"http://127.0.0.1:{world.ports[0]}/"}, "ports": ()})  # fmt: skip
    world.system = world.system.having(services={**world.system.services, "base": base})
    _started(world)
    service.start(world.scene().view(), "base", within_s=10)
    assert world.host.clock.poll((world.root / "told.done").exists, within_s=5)
    told = json.loads((world.root / "told").read_text())
    assert told == [["--web", str(world.ports[2])], f"http://127.0.0.1:{world.ports[2]}/"]


# -- killed --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["start", "stop"])
def test_killed_anywhere_the_port_is_not_forgotten(
    world: World, stranger: subprocess.Popen[bytes], verb: str
) -> None:
    """At every change of a start and of a stop: done again it is done, and checks ask the service."""
    check = _questions(world)["http"]
    parameters = {verb: ["web"], "within": "10s"}

    def prepared() -> None:
        world.end_services()
        shutil.rmtree(world.state.path / "services", ignore_errors=True)
        if verb == "stop":
            _started(world)

    prepared()
    counting = CountingTap()
    step, scene = world.bound("service", parameters)
    step.apply(replace(scene, host=Host(tap=counting)))
    assert counting.points
    for shot in shots(counting.points)[::KILL_SOME]:
        prepared()
        dying = replace(scene, host=Host(tap=DyingTap(*shot)))
        assert in_child(lambda there=dying: step.apply(there)) == KILLED, shot  # type: ignore[misc]
        if step.probe(scene).answer is Answer.PASS:
            assert world.running()["web"] is (verb == "start"), shot
        step.apply(scene)
        assert step.probe(scene).answer is Answer.PASS, (shot, step.probe(scene).evidence)
        assert world.running()["web"] is (verb == "start"), shot
        wanted = Answer.PASS if verb == "start" else Answer.FAIL
        finding = ask(check, world.scene().view())
        assert finding.answer is wanted, (shot, finding.evidence)
        assert not list((world.state.path / "services").glob(".rollback-tmp-*")), shot
