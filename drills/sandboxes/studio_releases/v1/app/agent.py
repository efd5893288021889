"""One agent: takes the oldest piece of work from its queue, does it, hands it on.

It may be killed at any moment.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

sys.dont_write_bytecode = True  # a release is exactly the files in git
sys.path.insert(0, str(Path(__file__).resolve().parent))

import handoff  # noqa: E402
import store  # noqa: E402
import trail  # noqa: E402
from settings import ROOT  # noqa: E402
from work import foreign_sources, needs_findings, work  # noqa: E402

POLL_S = 0.025
KNOWLEDGE_WAIT_S = 3.0
PR_SET_PDEATHSIG = 1


class Agent:
    def __init__(self, name: str, knowledge_port: int) -> None:
        self.name = name
        self.knowledge_port = knowledge_port
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            waiting = handoff.waiting(self.name)
            for path in waiting:
                self._take(path)
                if self.stopping:
                    break
            if not waiting:
                time.sleep(POLL_S)

    def stop(self, *_: object) -> None:
        self.stopping = True

    def _take(self, path: Path) -> None:
        try:
            item = json.loads(path.read_bytes())
            if "message" in item:
                store.handle_message(item["message"], self.name)
            else:
                self._carry_on(item["session"], item["round"])
        except FileNotFoundError:
            return
        except Exception:  # noqa: BLE001 - this piece must not stop the others: it stays and is tried again
            trail.complain(f"{self.name} could not work on {path.name}")
            time.sleep(0.5)
            return
        path.unlink(missing_ok=True)

    def _carry_on(self, identity: str, number: int) -> None:
        """The round is recorded and audited once, however often this is called."""
        session = store.session(identity)
        if session is None:  # the state went back to before this session
            trail.audit_missing("SESSION_END", identity, reason="lost")
            return
        first_time = session.state == "running" and len(session.rounds) <= number
        if first_time:
            self._do(session, number)
        audit = trail.audit if first_time else trail.audit_missing
        after = store.session(identity) or session
        if len(after.rounds) > number:
            audit("ROUND", identity, round=number, agent=self.name)
            if self.name == "reviewer" and foreign_sources(after):
                audit(
                    "SECURITY_VIOLATION",
                    identity,
                    code="SEC-PM-004",
                    sources=foreign_sources(after),
                )
        if after.state != "running":
            audit("SESSION_END", identity, reason=after.reason)
        elif len(after.rounds) == number + 1:
            handoff.put_round(after.agents[number + 1], identity, number + 1, after.created_ms)

    def _do(self, session: store.Session, number: int) -> None:
        if session.stop:
            store.end_session(session.id, session.stop)
            return
        try:
            findings = self._look_up(session.task) if needs_findings(self.name, session) else []
        except OSError:
            trail.complain(f"{self.name} got no findings for session {session.id}")
            store.end_session(session.id, "failed")
            return
        done = work(self.name, session, findings)
        store.add_round(session.id, number, done, last=number + 1 == len(session.agents))

    def _look_up(self, task: str) -> list[str]:
        """The titles found. A knowledge server that is just being restarted is waited for."""
        deadline = time.monotonic() + KNOWLEDGE_WAIT_S
        while True:
            try:
                status, answer = self._ask(f"/query?q={quote(task[:200])}")
                break
            except OSError:
                if time.monotonic() > deadline or self.stopping:
                    raise
                time.sleep(0.05)
        if status != 200:
            raise OSError(f"the knowledge server answered {status}")
        return [finding["title"] for finding in json.loads(answer)["results"]]

    def _ask(self, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.knowledge_port, timeout=KNOWLEDGE_WAIT_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def main(name: str, knowledge_port: int, parent: int) -> None:
    agent = Agent(name, knowledge_port)
    signal.signal(signal.SIGTERM, agent.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        return
    lock = os.open(
        ROOT / "run" / f"agent-{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
    )
    fcntl.flock(lock, fcntl.LOCK_EX)  # waits for a predecessor that is still dying
    os.ftruncate(lock, 0)
    os.write(lock, json.dumps({"pid": os.getpid()}).encode() + b"\n")
    agent.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
