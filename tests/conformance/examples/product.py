"""A small product that really runs: `python product.py PORT_FILE [PORT]` serves on loopback.

It is a process of its own, so that it can be frozen and killed. Files below its `run` folder break it:
`broken` (500 to everything), `leaks` (keeps memory), `party` (its flag is on), `series` (what a metrics
server says); what is posted to `/box` lies in `run/box`.

Hides: nothing.
Never: listens beyond loopback.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SESSIONS: dict[str, dict[str, object]] = {}
KEPT: list[bytes] = []
SECRETS: list[str] = []
COUNTER = {"asked": 0}
LOCK = threading.Lock()
RUN = Path("run")


class Product(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        return

    def answer(self, status: int, value: object) -> None:
        if (RUN / "broken").exists():
            status, value = 500, {"error": "broken"}
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        if not isinstance(value, str):
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        first, *rest = parts.path.strip("/").split("/")
        getattr(self, f"get_{first}", self.unknown)(rest, query)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        first = urlsplit(self.path).path.strip("/").split("/")[0]
        getattr(self, f"post_{first}", self.unknown)(body, urlsplit(self.path).query)

    def unknown(self, *_: object) -> None:
        self.answer(404, {"error": "not found"})

    def get_agents(self, rest: list[str], query: dict[str, str]) -> None:
        if (RUN / "leaks").exists():
            KEPT.append(b"x" * 100_000)
        agents = [{"name": name, "state": "ready"} for name in ("planner", "builder", "reviewer")]
        self.answer(200, {"agents": agents, "ready": 3, "version": "1.0.0"})

    def get_status(self, rest: list[str], query: dict[str, str]) -> None:
        self.answer(int(rest[0]), {"status": int(rest[0])})

    def get_slow(self, rest: list[str], query: dict[str, str]) -> None:
        time.sleep(float(query["s"]))
        self.answer(200, {"ready": 3})

    def get_page(self, rest: list[str], query: dict[str, str]) -> None:
        self.answer(200, "<html>all is \x1b[31mwell</html>")

    def get_nan(self, rest: list[str], query: dict[str, str]) -> None:
        self.answer(200, '{"ready": NaN}')

    def get_host(self, rest: list[str], query: dict[str, str]) -> None:
        self.answer(200, {"host": self.headers["Host"]})

    def get_flags(self, rest: list[str], query: dict[str, str]) -> None:
        self.answer(200, {"value": (RUN / "party").exists()})

    def get_api(self, rest: list[str], query: dict[str, str]) -> None:
        self.answer(200, (RUN / "series").read_text())

    def get_decide(self, rest: list[str], query: dict[str, str]) -> None:
        task = query.get("task", "")
        self.answer(200, {"route": len(task) % 3, "agents": int(query.get("urgency", 1))})

    def get_moody(self, rest: list[str], query: dict[str, str]) -> None:
        with LOCK:
            COUNTER["asked"] += 1
        self.answer(200, {"route": COUNTER["asked"] // 8, "agents": 1})

    def get_grow(self, rest: list[str], query: dict[str, str]) -> None:
        KEPT.append(b"x" * 50_000)
        self.answer(200, {"kept": len(KEPT)})

    def post_box(self, body: dict[str, object], query: str) -> None:
        if not (RUN / "broken").exists():
            with (RUN / "box").open("a") as box:
                box.write(json.dumps(body) + "\n")
        self.answer(200, {})

    def post_commands(self, body: dict[str, object], query: str) -> None:
        self.answer(200, {"output": body.get("text")})

    def post_sessions(self, body: dict[str, object], query: str) -> None:
        with LOCK:
            name = f"s{len(SESSIONS)}"
            SECRETS.append(str(body.get("task")))
            SESSIONS[name] = {"task": body.get("task"), "ready": time.monotonic() + 0.2,
                              "leaks": query == "leaks", "stuck": query == "stuck",
                              "way": query}  # fmt: skip
        self.answer(201, {"id": name})

    def get_sessions(self, rest: list[str], query: dict[str, str]) -> None:
        session = SESSIONS[rest[0]]
        done = time.monotonic() > float(str(session["ready"])) and not session["stuck"]
        text = SECRETS if session["leaks"] and done else session["task"]
        # two rounds: what is put in is in the first of them whatever comes out of the second
        others = [one for one in SECRETS if one != session["task"]] or ["nobody else"]
        ends = {"drops": "nothing of it", "others": others[-1], "number": 7}
        result = ends.get(str(session["way"]), session["task"])
        self.answer(200, {
            "state": "done" if done else "running", "text": text,
            "rounds": [session["task"], result], "result": result,
        })  # fmt: skip


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = ThreadingHTTPServer(("127.0.0.1", port), Product)
    server.daemon_threads = True
    target = Path(sys.argv[1])
    target.with_suffix(".new").write_text(str(server.server_port))
    target.with_suffix(".new").rename(target)
    server.serve_forever()
