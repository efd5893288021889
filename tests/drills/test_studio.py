"""The studio works at v1.0.0 and survives the loss of its agents; bad releases are measurably bad."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from drills.load import Counts, Load
from drills.sandboxes import find
from drills.sandboxes.studio import Studio
from rollback.model.errors import PlanError, UsageError

WITHIN_S = 15.0


class Launcher:
    """Starts and stops the two services of a studio, as its declaration says."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *, within_s: float = WITHIN_S) -> None:
        variables = self.studio.environment
        router, knowledge = variables["ROUTER_PORT"], variables["KNOWLEDGE_PORT"]
        self._launch("knowledge", "app/knowledge.py", "--port", knowledge)
        self._launch("router", "app/router.py", "--port", router, "--knowledge", knowledge)
        until(self._ready, within_s)

    def _ready(self) -> bool:
        if any(process.poll() is not None for process in self.running.values()):
            raise AssertionError((self.studio.root / "logs" / "router.out").read_text())
        urls = (f"{self.studio.knowledge_url}/health", f"{self.studio.router_url}/agents")
        try:
            answers = [ask("GET", url)[1] for url in urls]
        except OSError:
            return False
        return answers[1].get("ready") == 3

    def _launch(self, name: str, *argv: str) -> None:
        root, python = self.studio.root, self.studio.environment["PYTHON"]
        lock = os.open(root / "run" / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        log = os.open(root / "logs" / f"{name}.out", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.running[name] = subprocess.Popen(
                [python, "-I", "-u", *argv],
                cwd=root,
                env={"STUDIO_ENV": "production", "PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
            )
        finally:
            os.close(lock)
            os.close(log)

    def stop(self) -> None:
        for process in reversed(self.running.values()):
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running.clear()

    def restart(self) -> None:
        self.stop()
        self.start()


@contextmanager
def running(directory: Path, release: str | None = None) -> Iterator[tuple[Studio, Launcher]]:
    studio = Studio.build(directory)
    launcher = Launcher(studio)
    try:
        if release is None:
            launcher.start()
        else:
            studio.ship(release, launcher.start)
        yield studio, launcher
    finally:
        launcher.stop()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One studio at v1.0.0 for the tests that leave it as it was."""
    with running(tmp_path_factory.mktemp("studio") / "v1") as (studio, _):
        yield studio


def until(holds: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, "not in time"
        time.sleep(0.01)


def ask(method: str, url: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, path, json.dumps(body) if body is not None else None)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def open_session(studio: Studio, mode: str, task: str) -> str:
    status, answer = ask("POST", f"{studio.router_url}/sessions", {"mode": mode, "task": task})
    assert status == 201, answer
    return str(answer["id"])


def finished(studio: Studio, identity: str, within_s: float = WITHIN_S) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(ask("GET", f"{studio.router_url}/sessions/{identity}")[1])
        return bool(found["state"] != "running")

    until(ended, within_s)
    return found


def audit(studio: Studio, *identities: str) -> list[dict[str, Any]]:
    lines = (studio.root / "logs" / "audit.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [entry for entry in entries if not identities or entry["sessionId"] in identities]


def count_faults(studio: Studio) -> int:
    argv = [studio.environment["PYTHON"], "-I", "app/check_state.py", "--count"]
    done = subprocess.run(argv, cwd=studio.root, capture_output=True, check=True, timeout=10)
    return int(done.stdout)


def agent_pids(studio: Studio) -> dict[str, int]:
    agents = ask("GET", f"{studio.router_url}/agents")[1]["agents"]
    return {agent["name"]: agent["pid"] for agent in agents}


def put_under_load(studio: Studio, answers: int = 120, users: int = 8) -> Counts:
    """What the load saw in its first `answers` answers."""
    counts_file = studio.directory / "load.json"
    with Load(studio.router_url, 100, counts_file=counts_file, users=users, seconds=30) as load:
        until(lambda: load.counts().answered >= answers, 25)
    return load.counts()


class TestRelease1:
    def test_every_path_of_the_router_keeps_its_contract(self, up: Studio) -> None:
        url = up.router_url
        assert ask("GET", f"{url}/health") == (200, {"status": "up", "version": "1.0.0"})
        assert ask("GET", f"{url}/version")[1] == {"version": "1.0.0", "environment": "production"}
        agents = ask("GET", f"{url}/agents")[1]
        assert [agent["name"] for agent in agents["agents"]] == ["planner", "builder", "reviewer"]
        assert agents["ready"] == 3
        echo = {"command": "echo", "text": "hello"}
        assert ask("POST", f"{url}/commands", echo) == (200, {"output": "hello"})
        question = f"{url}/decide?task={quote('straße 7')}&urgency=2"
        assert ask("GET", question) == ask("GET", question)
        assert set(ask("GET", question)[1]) == {"route", "agents"}
        assert ask("GET", f"{url}/decide?task=&urgency=x")[0] == 400
        assert ask("GET", f"{url}/decide?urgency={'9' * 5000}")[0] == 400
        assert ask("GET", f"{url}/nothing")[0] == 404
        assert ask("POST", f"{url}/sessions", {"mode": "party", "task": "\ud800"})[0] == 400
        assert set(ask("GET", f"{url}/queue")[1]) == {"depth", "by_agent"}

    def test_knowledge_comes_from_the_release_and_from_the_vendor(self, up: Studio) -> None:
        for question in ("RAG architecture patterns", "Index sizing"):
            status, found = ask("GET", f"{up.knowledge_url}/query?q={quote(question)}")
            assert status == 200
            assert found["results"][0]["title"] == question

    def test_a_party_session_passes_all_three_agents_and_a_single_one_passes_one(
        self, up: Studio
    ) -> None:
        session = finished(up, open_session(up, "party", "carry token-4711"))
        assert session["state"] == "done"
        assert [done["agent"] for done in session["rounds"]] == ["planner", "builder", "reviewer"]
        assert "token-4711" in session["result"]
        events = [entry["event"] for entry in audit(up, session["id"])]
        assert events == ["SESSION_START", "ROUND", "ROUND", "ROUND", "SESSION_END"]
        assert len(finished(up, open_session(up, "single", "one"))["rounds"]) == 1

    def test_a_message_is_handled_by_the_agent_it_is_meant_for(self, up: Studio) -> None:
        message = {"to": "reviewer", "text": "hello"}
        status, answer = ask("POST", f"{up.router_url}/messages", message)
        assert status == 202
        address = f"{up.router_url}/messages/{answer['id']}"
        until(lambda: ask("GET", address)[1]["state"] == "handled")
        assert ask("GET", address)[1]["by"] == "reviewer"

    def test_party_mode_follows_the_env_file_over_the_configuration_without_a_restart(
        self, up: Studio
    ) -> None:
        address = f"{up.router_url}/flags/party_mode"
        env_file, config_file = up.root / ".env", up.root / "config" / "config.yaml"
        env, config = env_file.read_text(), config_file.read_text()
        try:
            assert ask("GET", address)[1] == {"value": True, "source": "yaml"}
            config_file.write_text(config.replace("enabled: true ", "enabled: false"))
            assert ask("GET", address)[1] == {"value": False, "source": "yaml"}
            env_file.write_text(f"{env}PARTY_MODE=true\n")
            assert ask("GET", address)[1] == {"value": True, "source": "env"}
            env_file.write_text(f"{env}PARTY_MODE=false\n")
            assert ask("GET", address)[1] == {"value": False, "source": "env"}
            refused = ask("POST", f"{up.router_url}/sessions", {"mode": "party", "task": "t"})
            assert refused[0] == 409
            assert finished(up, open_session(up, "single", "goes on"))["state"] == "done"
        finally:
            env_file.write_text(env)
            config_file.write_text(config)
        assert ask("GET", address)[1]["value"] is True

    def test_the_access_log_holds_every_answer(self, up: Studio) -> None:
        ask("GET", f"{up.router_url}/decide?task=logged&urgency=1")
        last = json.loads((up.root / "logs" / "access.jsonl").read_text().splitlines()[-1])
        assert (last["path"], last["status"]) == ("/decide", 200)
        assert last["ms"] >= 0

    def test_under_load_it_shows_nothing_that_a_bad_release_shows(self, up: Studio) -> None:
        before = resident_kib(up)
        counts = put_under_load(up, answers=240)
        assert counts.share(200, 201) == 1.0, counts
        assert counts.mean_ms < 200, counts
        assert resident_kib(up) - before < 1500
        assert count_faults(up) == 0
        assert "SECURITY_VIOLATION" not in {entry["event"] for entry in audit(up)}
        until(lambda: ask("GET", f"{up.router_url}/queue")[1]["depth"] == 0)
        assert "ERROR" not in (up.root / "logs" / "router.out").read_text()


def resident_kib(studio: Studio) -> int:
    """What the router occupies in memory."""
    lock_holder = router_pid(studio)
    status = Path(f"/proc/{lock_holder}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def router_pid(studio: Studio) -> int:
    """The parent of the agents."""
    stat = Path(f"/proc/{agent_pids(studio)['planner']}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


class TestSurvival:
    @pytest.mark.parametrize("victim", ["planner", "builder", "reviewer"])
    def test_an_agent_killed_among_sessions_loses_and_doubles_nothing(
        self, up: Studio, victim: str
    ) -> None:
        sessions = []
        for number in range(12):
            sessions.append(open_session(up, "party", f"survive {number}"))
            if number % 4 == 3:
                os.kill(agent_pids(up)[victim], signal.SIGKILL)
                until(lambda: ask("GET", f"{up.router_url}/agents")[1]["ready"] < 3)
                until(lambda: ask("GET", f"{up.router_url}/agents")[1]["ready"] == 3)
        for identity in sessions:
            session = finished(up, identity)
            assert session["state"] == "done", session
            assert len(session["rounds"]) == 3
        until(lambda: ask("GET", f"{up.router_url}/queue")[1]["depth"] == 0)
        seen = Counter(
            (entry["sessionId"], entry["event"], entry.get("round"))
            for entry in audit(up, *sessions)
        )
        assert set(seen.values()) == {1}
        assert len(seen) == 12 * 5
        until(lambda: ask("GET", f"{up.router_url}/agents")[1]["ready"] == 3)

    def test_work_that_is_found_again_after_a_crash_is_not_done_twice(self, up: Studio) -> None:
        """An agent died after recording its round and before removing it from its queue."""
        session = finished(up, open_session(up, "party", "once"))
        until(lambda: audit(up, session["id"])[-1]["event"] == "SESSION_END")
        before = (audit(up, session["id"]), session)
        for number, agent in enumerate(["planner", "builder", "reviewer"]):
            again = up.root / "data" / "queue" / agent / "0-again.json"
            again.write_text(json.dumps({"session": session["id"], "round": number}))
            until(lambda again=again: not again.exists())  # type: ignore[misc]
        assert (audit(up, session["id"]), finished(up, session["id"])) == before

    def test_work_on_a_session_that_a_restore_took_away_ends_in_the_audit_trail(
        self, up: Studio
    ) -> None:
        again = up.root / "data" / "queue" / "builder" / "0-lost.json"
        again.write_text(json.dumps({"session": "0123456789ab", "round": 1}))
        until(lambda: not again.exists())
        ends = [(entry["event"], entry["reason"]) for entry in audit(up, "0123456789ab")]
        assert ends == [("SESSION_END", "lost")]

    def test_a_killed_router_takes_its_agents_along_and_the_sessions_go_on_afterwards(
        self, tmp_path: Path
    ) -> None:
        with running(tmp_path / "s") as (studio, launcher):
            agents = agent_pids(studio)
            os.kill(agents["builder"], signal.SIGSTOP)
            sessions = [open_session(studio, "party", f"go on {n}") for n in range(3)]
            launcher.running["router"].kill()
            launcher.running["router"].wait()
            until(lambda: not any(is_alive(pid) for pid in agents.values()))
            launcher.stop()
            launcher.start()
            for identity in sessions:
                assert finished(studio, identity)["state"] == "done"
            events = Counter(entry["event"] for entry in audit(studio, *sessions))
            assert events == {"SESSION_START": 3, "ROUND": 9, "SESSION_END": 3}

    def test_a_stopped_router_ends_open_sessions_and_says_why(self, tmp_path: Path) -> None:
        with running(tmp_path / "s") as (studio, launcher):
            os.kill(agent_pids(studio)["builder"], signal.SIGSTOP)
            identity = open_session(studio, "party", "never built")
            launcher.restart()
            session = finished(studio, identity)
            assert (session["state"], session["reason"]) == ("ended", "shutdown")
            assert audit(studio, identity)[-1]["reason"] == "shutdown"
            assert ask("GET", f"{studio.router_url}/queue")[1]["depth"] == 0

    @pytest.mark.requirement("PM-28", "PM-92")
    def test_draining_ends_open_party_sessions_at_their_next_round(self, tmp_path: Path) -> None:
        with running(tmp_path / "s") as (studio, _):
            builder = agent_pids(studio)["builder"]
            os.kill(builder, signal.SIGSTOP)
            identity = open_session(studio, "party", "drained")
            (studio.root / ".env").write_text("PARTY_MODE=false\n")
            drain = f"{studio.router_url}/drain"
            assert ask("POST", drain) == (200, {"open": 1})
            os.kill(builder, signal.SIGCONT)
            until(lambda: ask("POST", drain)[1] == {"open": 0})
            until(lambda: audit(studio, identity)[-1]["event"] == "SESSION_END")
            assert audit(studio, identity)[-1]["reason"] == "feature_disabled"


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_draining_succeeds_while_new_sessions_keep_coming(up: Studio) -> None:
    with Load(up.router_url, 80, counts_file=up.directory / "drain.json") as load:
        until(lambda: load.counts().answered > 40)
        until(lambda: ask("POST", f"{up.router_url}/drain")[1] == {"open": 0}, 5)
        until(lambda: load.counts().share(409) > 0)
    assert load.counts().share(500, 503) == 0


class TestBadReleases:
    """Each is bad by measurement under the load that v1.0.0 carries (see `TestRelease1`)."""

    def test_errors(self, tmp_path: Path) -> None:
        with running(tmp_path / "s", Studio.FAULTS["errors-5xx"]) as (studio, _):
            idle = [ask("GET", f"{studio.router_url}/decide?task={n}")[0] for n in range(10)]
            assert set(idle) == {200}, "fine when idle"
            counts = put_under_load(studio)
            assert counts.share(500) > 0.15, counts
            assert "database is locked" in (studio.root / "logs" / "router.out").read_text()

    @pytest.mark.long
    def test_slow(self, tmp_path: Path) -> None:
        with running(tmp_path / "s", Studio.FAULTS["slow"]) as (studio, _):
            counts = put_under_load(studio, answers=16, users=16)
            assert counts.mean_ms > 400, counts

    @pytest.mark.long
    def test_memory_leak(self, tmp_path: Path) -> None:
        with running(tmp_path / "s", Studio.FAULTS["memory-leak"]) as (studio, _):
            put_under_load(studio, answers=60)
            before, answers = resident_kib(studio), 180
            put_under_load(studio, answers=answers)
            assert (resident_kib(studio) - before) / answers > 2

    @pytest.mark.long
    def test_wrong_configuration(self, tmp_path: Path) -> None:
        with running(tmp_path / "s", Studio.FAULTS["wrong-configuration"]) as (studio, launcher):
            counts = put_under_load(studio, answers=200)
            assert counts.share(429) > 0.5, counts
            assert role_of_reviewer(studio) == ""
            git(studio, "checkout", "--quiet", "v1.0.0", "--", "config")
            launcher.running["router"].send_signal(signal.SIGHUP)
            until(lambda: role_of_reviewer(studio) != "")
            assert put_under_load(studio).share(429) == 0.0

    def test_corrupt_state_survives_the_old_code(self, tmp_path: Path) -> None:
        with running(tmp_path / "s", Studio.FAULTS["corrupt-state"]) as (studio, launcher):
            assert count_faults(studio) == 12
            git(studio, "checkout", "--quiet", "v1.0.0", "--", "app")
            launcher.restart()
            assert count_faults(studio) == 12

    def test_context_leak_only_while_party_mode_is_on(self, tmp_path: Path) -> None:
        with running(tmp_path / "s", Studio.FAULTS["context-leak"]) as (studio, _):
            first = finished(studio, open_session(studio, "party", "secret-one"))
            second = finished(studio, open_session(studio, "party", "secret-two"))
            assert "secret-one" in second["result"]
            assert "secret-two" not in first["result"]
            until(lambda: any(e["event"] == "SECURITY_VIOLATION" for e in audit(studio)))
            violations = [e for e in audit(studio) if e["event"] == "SECURITY_VIOLATION"]
            assert [(e["code"], e["sessionId"]) for e in violations] == [
                ("SEC-PM-004", second["id"])
            ]
            (studio.root / ".env").write_text("PARTY_MODE=false\n")
            put_under_load(studio)
            until(lambda: ask("GET", f"{studio.router_url}/queue")[1]["depth"] == 0)
            after = [e for e in audit(studio) if e["event"] == "SECURITY_VIOLATION"]
            assert after == violations

    def test_refuses_to_start(self, tmp_path: Path) -> None:
        with (
            pytest.raises(AssertionError, match="STUDIO_REGION"),
            running(tmp_path / "s", Studio.FAULTS["refuses-to-start"]),
        ):
            pass

    def test_damaged_knowledge(self, tmp_path: Path) -> None:
        with running(tmp_path / "s", Studio.FAULTS["damaged-knowledge"]) as (studio, _):
            assert ask("GET", f"{studio.knowledge_url}/health")[0] == 200
            assert ask("GET", f"{studio.knowledge_url}/query?q=Timeouts")[0] == 500
            session = finished(studio, open_session(studio, "party", "look it up"))
            assert (session["state"], session["reason"]) == ("ended", "failed")

    def test_a_restored_version_can_be_broken_by_a_feed_that_only_the_bad_one_reads(
        self, tmp_path: Path
    ) -> None:
        with running(tmp_path / "s") as (studio, launcher):
            query = f"{studio.knowledge_url}/query?q=Index"
            studio.break_restored_version()
            assert ask("GET", f"{studio.knowledge_url}/health")[0] == 200
            assert ask("GET", query)[0] == 500
            session = finished(studio, open_session(studio, "party", "look it up"))
            assert session["state"] == "ended"
            studio.ship("v2.0.0-leak", launcher.restart)
            assert ask("GET", query)[0] == 200


def role_of_reviewer(studio: Studio) -> str:
    return str(ask("GET", f"{studio.router_url}/agents")[1]["agents"][2]["role"])


def git(studio: Studio, *arguments: str) -> str:
    argv = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    done = subprocess.run(argv, cwd=studio.root, capture_output=True, check=True, timeout=20)
    return done.stdout.decode().strip()


class TestHistory:
    def test_a_built_studio_is_clean_complete_and_whole(self, tmp_path: Path) -> None:
        started_s = time.monotonic()
        studio = find("studio").build(tmp_path / "s")
        assert time.monotonic() - started_s < 3
        assert git(studio, "status", "--porcelain") == ""
        assert git(studio, "describe") == "v1.0.0"
        assert count_faults(studio) == 0
        assert len([e for e in audit(studio) if e["event"] == "SESSION_END"]) == 12
        assert Studio.open(tmp_path / "s") == studio
        with pytest.raises(UsageError):
            Studio.build(tmp_path / "s")

    @pytest.mark.parametrize("release", Studio.FAULTS.values())
    def test_every_bad_release_reverts_without_conflict_and_keeps_unrelated_work(
        self, tmp_path: Path, release: str
    ) -> None:
        studio = Studio.build(tmp_path / "s")
        restarts: list[str] = []
        studio.ship(release, lambda: restarts.append(git(studio, "rev-parse", "HEAD")))
        assert restarts == [git(studio, "rev-parse", f"{release}^{{commit}}")]
        assert git(studio, "rev-parse", "origin/main") == restarts[0]
        between = git(studio, "log", "--format=%H %s", "v1.0.0..main").splitlines()
        bad = [line.split()[0] for line in between if " release 2.0: " in line]
        assert len(bad) >= 2
        assert len(git(studio, "log", "--merges", "--format=%H", "v1.0.0..main").split()) == 1
        changed = git(studio, "diff", "-M", "--name-status", f"{bad[-1]}~1", "main").splitlines()
        assert {"A", "R"} <= {line[0] for line in changed}
        git(studio, "revert", "--no-edit", *bad)
        assert git(studio, "diff", "--name-only", "v1.0.0").splitlines() == [
            "docs/contact.md",
            "docs/on-call.md",
            "docs/words.md",
            "knowledge/findings.json",
        ]

    def test_a_release_of_another_line_is_refused(self, tmp_path: Path) -> None:
        studio = Studio.build(tmp_path / "s")
        studio.ship("v2.0.0-slow", lambda: None)
        with pytest.raises(PlanError, match="fast-forwarded"):
            studio.ship("v2.0.0-leak", lambda: None)


class TestLoad:
    def test_the_load_ends_with_its_context_and_has_counted(self, up: Studio) -> None:
        counts_file = up.directory / "counted.json"
        with Load(up.router_url, 50, counts_file=counts_file) as load:
            until(lambda: load.counts().answered > 10)
        counts = load.counts()
        assert counts.answered > 10
        assert counts.unanswered == 0

    def test_the_load_dies_with_its_parent(self, up: Studio) -> None:
        counts_file = up.directory / "orphan.json"
        program = (
            "import sys, time; from pathlib import Path; from drills.load import Load\n"
            "load = Load(sys.argv[1], 20, counts_file=Path(sys.argv[2]))\n"
            "load.__enter__(); print(load._child.pid, flush=True); time.sleep(60)"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", program, up.router_url, str(counts_file)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        until(counts_file.exists)
        assert is_alive(pid)
        parent.kill()
        parent.wait()
        parent.stdout.close()
        until(lambda: not is_alive(pid))
