"""The router: takes requests, opens sessions, keeps the agents alive.

SIGTERM: the agents finish the round they are in, open sessions end with reason `shutdown`.
SIGHUP: `config/` is read again. After a SIGKILL the sessions are still in the queue and go on at
the next start.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import uuid
from pathlib import Path

sys.dont_write_bytecode = True  # a release is exactly the files in git
sys.path.insert(0, str(Path(__file__).resolve().parent))

import handoff  # noqa: E402
import settings  # noqa: E402
import store  # noqa: E402
import trail  # noqa: E402
from crew import Crew  # noqa: E402
from decide import decide  # noqa: E402
from limits import Limit  # noqa: E402
from version import VERSION  # noqa: E402
from web import Answer, Refused, Request, Server  # noqa: E402

SUPERVISE_S = 0.05
DRAIN_HOLD_S = (
    2.0  # whoever drains keeps asking; the door stays shut for this long after each question
)


class Router:
    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.party_mode = settings.PartyMode()
        self.stopping = False
        self.closed_until_s = 0.0
        self.configure()

    def configure(self) -> None:
        self.settings = settings.load()
        self.limit = Limit(self.settings.requests_per_minute)

    def answer(self, request: Request) -> Answer:
        kind, _, name = request.path.strip("/").partition("/")
        match request.method, kind, name:
            case "GET", "health", "":
                return 200, {"status": "up", "version": VERSION}
            case "GET", "version", "":
                return 200, {"version": VERSION, "environment": os.environ["STUDIO_ENV"]}
            case "GET", "agents", "":
                return 200, self._agents()
            case "GET", "flags", "party_mode":
                value, source = self.party_mode.read()
                return 200, {"value": value, "source": source}
            case "GET", "queue", "":
                depth = handoff.depth()
                return 200, {"depth": sum(depth.values()), "by_agent": depth}
            case "GET", "sessions", name if name:
                return 200, self._session(name)
            case "GET", "messages", name if name:
                return 200, self._message(name)
            case "POST", "drain", "":
                return 200, self._drain()
            case ("GET", "decide", "") | ("POST", "commands" | "sessions" | "messages", ""):
                if not self.limit.allows():
                    raise Refused(429, "too many requests")
                return self._work(kind, request)
        raise Refused(404, "no such path")

    def _work(self, kind: str, request: Request) -> Answer:
        if kind == "decide":
            urgency = request.query.get("urgency", "1")
            if not urgency.isdecimal() or len(urgency) > 3:
                raise Refused(400, "urgency is a small number")
            route, agents = decide(request.query.get("task", ""), int(urgency))
            return 200, {"route": route, "agents": agents}
        if kind == "commands":
            if request.body.get("command") != "echo":
                raise Refused(400, "the only command is echo")
            text = _text(request, "text")
            decide(text, 1)
            return 200, {"output": text}
        if self.stopping:
            raise Refused(503, "the studio is stopping")
        if sum(handoff.depth().values()) >= self.settings.queue_max:
            raise Refused(429, "too much work is waiting")
        if kind == "sessions":
            return 201, self._open_session(_text(request, "task"), request.body.get("mode"))
        return 202, self._send_message(request.body.get("to"), _text(request, "text"))

    def _open_session(self, task: str, mode: object) -> dict[str, object]:
        _, decided = decide(task, 1)
        if mode == "party":
            if not self.party_mode.read()[0] or time.monotonic() < self.closed_until_s:
                raise Refused(409, "party mode is off")
            agents = list(
                settings.AGENTS[: min(self.settings.max_agents, self.settings.max_rounds)]
            )
        elif mode == "single":
            agents = decided[:1]
        else:
            raise Refused(400, "mode is party or single")
        identity = uuid.uuid4().hex[:12]
        created_ms = store.add_session(identity, task, str(mode), agents)
        trail.audit("SESSION_START", identity, mode=mode)
        handoff.put_round(agents[0], identity, 0, created_ms)
        return {"id": identity}

    def _session(self, identity: str) -> dict[str, object]:
        session = store.session(identity)
        if session is None:
            raise Refused(404, "no such session")
        rounds = [{"agent": done.agent, "output": done.output} for done in session.rounds]
        return {
            "id": session.id,
            "state": session.state,
            "reason": session.reason,
            "rounds": rounds,
            "result": session.result,
        }

    def _send_message(self, to: object, text: str) -> dict[str, object]:
        if to not in settings.AGENTS:
            raise Refused(400, "to is the name of an agent")
        identity = uuid.uuid4().hex[:12]
        handoff.put_message(str(to), identity, store.add_message(identity, str(to), text))
        return {"id": identity}

    def _message(self, identity: str) -> dict[str, object]:
        found = store.message(identity)
        if found is None:
            raise Refused(404, "no such message")
        return {"id": identity, "state": found[0], "by": found[1]}

    def _agents(self) -> dict[str, object]:
        agents = [
            {"name": name, "role": self.settings.roles.get(name, ""), "state": state, "pid": pid}
            for name, state, pid in self.crew.states()
        ]
        return {
            "version": VERSION,
            "ready": sum(agent["state"] == "ready" for agent in agents),
            "agents": agents,
        }

    def _drain(self) -> dict[str, object]:
        """Open party sessions end at their next round, and no new one starts meanwhile."""
        self.closed_until_s = time.monotonic() + DRAIN_HOLD_S
        store.ask_to_stop(
            "party", "maintenance" if self.party_mode.read()[0] else "feature_disabled"
        )
        return {"open": len(store.open_sessions("party"))}

    def resume(self) -> None:
        """What a crash left open is in the queue again (under the same name if it still was)."""
        for identity in store.open_sessions():
            session = store.session(identity)
            if session is not None:
                trail.audit_missing("SESSION_START", identity, mode=session.mode)
                number = len(session.rounds)
                handoff.put_round(session.agents[number], identity, number, session.created_ms)
        for identity, recipient, created_ms in store.queued_messages():
            handoff.put_message(recipient, identity, created_ms)

    def shut_down(self) -> None:
        self.stopping = True
        self.crew.stop()
        for identity in store.open_sessions():
            store.end_session(identity, "shutdown")
            trail.audit("SESSION_END", identity, reason="shutdown")
            handoff.forget(identity)


def _text(request: Request, name: str) -> str:
    text = request.body.get(name)
    if not isinstance(text, str):
        raise Refused(400, f"{name} is a text")
    return text


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--knowledge", type=int, required=True)
    arguments = parser.parse_args()
    stop, reload = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGHUP, lambda *_: reload.set())
    if "STUDIO_ENV" not in os.environ:
        sys.exit("STUDIO_ENV is not set")
    for folder in ("logs", "run"):
        (settings.ROOT / folder).mkdir(exist_ok=True)
    handoff.make_folders()
    crew = Crew(arguments.knowledge)
    router = Router(crew)
    server = Server(arguments.port, router.answer, trail.access)
    router.resume()
    crew.keep_alive()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while not stop.wait(SUPERVISE_S):
        crew.keep_alive()
        if reload.is_set():
            reload.clear()
            try:
                router.configure()
            except (OSError, KeyError, ValueError):
                trail.complain("the configuration cannot be read; the old one stays")
    router.shut_down()


if __name__ == "__main__":
    main()
