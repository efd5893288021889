"""Process start to flag flipped: intent on disk, written, read back through the product's reader.

Beside it, in the same run: a process that only imports the libraries listed in imports.txt, and
start-up as rows of its own: Python alone, the program printing its help, its status, a first start
with nothing kept of the declaration. Where a flip spends its time stands in its journal. Bytecode
is present, as it is where the product is installed: the first flip, which is not counted, writes it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from benchmarks.measure import in_turn_with_cpu, report

HERE = Path(__file__).parent
FLIP = "flag flipped, read back, intent on disk"
BARE = "bare import of the libraries"
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
# what of a flip ends with which event
_STAGES = {
    "start and plan": "run.planned", "authorise and protect": "step.began",
    "write and read back": "step.ended",
}  # fmt: skip
DECLARATION = """\
schema: 1
system: {{id: bench, title: One flag, version: 1.0.0, date: 2026-11-20, next_review: 2027-11-20}}
root: app
flags:
  shiny:
    layered: {{env_file: {{path: .env, key: SHINY}}, default: true}}
    reader: {{http: {{url: "http://127.0.0.1:{port}/", pointer: /value}}}}
people:
  owner: operator
  roles: {{operator: {{title: Whoever runs it}}}}
  members: [{{id: an-operator, roles: [operator]}}]
levels:
  "off":
    rank: 1
    title: The flag off
    budgets: {{mitigated: 1m, complete: 1m}}
    data_loss: none
    emergency: true
    authority: {{roles: [operator], alone: true}}
    waives: [disk, rate-limit]
    steps: [{{flag: {{id: flip, flag: shiny, set: false, within: 5s}}}}]
  "on":
    rank: 2
    title: The flag on
    budgets: {{mitigated: 1m, complete: 1m}}
    data_loss: none
    emergency: true
    authority: {{roles: [operator], alone: true}}
    waives: [disk, rate-limit]
    steps: [{{flag: {{id: flip, flag: shiny, set: true, within: 5s}}}}]
"""


def main(rounds: int = 15) -> dict[str, Any]:
    """The benchmark, printed and kept."""
    with tempfile.TemporaryDirectory(prefix="rollback-bench-") as folder:
        app = Path(folder, "app")
        app.mkdir()
        (app / ".env").write_text("SHINY=true\n", encoding="utf-8")
        server = _product(app / ".env")
        declaration = Path(folder, "rollback.yaml")
        declaration.write_text(DECLARATION.format(port=server.server_port), encoding="utf-8")
        turn = iter("off on".split() * (4 * rounds + 4))
        spent: dict[str, list[float]] = {name: [] for name in _STAGES}
        kept = declaration.parent / ".rollback" / "declaration.json"

        def flip() -> float:
            return _flip(declaration, next(turn), spent)

        def first() -> float:
            kept.unlink()
            return _flip(declaration, next(turn), {})

        flip()
        libraries = ", ".join((HERE / "imports.txt").read_text(encoding="utf-8").split())
        python, program = [sys.executable], [sys.executable, "-m", "rollback"]
        status = [*program, "--system", str(declaration), "status"]
        bare = [*python, "-c", f"import {libraries}"]
        spent = {name: [] for name in _STAGES}
        times, cpu = in_turn_with_cpu({
            FLIP: flip, BARE: lambda: _run(bare),
            "flag flipped, nothing kept of the declaration": first,
            "start-up: Python alone": lambda: _run([*python, "-c", "pass"]),
            "start-up: rollback --help": lambda: _run([*program, "--help"]),
            "start-up: rollback status": lambda: _run(status),
        }, rounds=rounds)  # fmt: skip
        server.shutdown()
    flipped, imported = (min(cpu[name]) for name in (FLIP, BARE))
    wall = statistics.median(times[FLIP]) / statistics.median(times[BARE])
    return report("flag", {**times, **{f"of a flip: {k}": v for k, v in spent.items()}},
                  aims={"flipped": "0.250 s", "ratio": "at most 1.5"},
                  ratio_over_bare_import=round(wall, 2),
                  processor_ms={name: round(statistics.median(found) * 1000) for name, found in cpu.items()},
                  ratio_of_processor_time=round(flipped / imported, 2), libraries=libraries)  # fmt: skip


def _flip(declaration: Path, level: str, spent: dict[str, list[float]]) -> float:
    """Seconds from just before the process starts to the journalled end of the flip."""
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    argv = [
        sys.executable,
        "-m",
        "rollback",
        "--system",
        str(declaration),
        "--json",
        "run",
        level,
        "--yes",
    ]
    done = subprocess.run(argv, capture_output=True, check=False, env=_ENVIRONMENT)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    run = json.loads(done.stdout)["run_id"]
    journal = declaration.parent / ".rollback" / "journal" / "events.jsonl"
    events = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    moments = {e["kind"]: float(e["boot_s"]) for e in events if e["run"] == run}
    if spent:
        at = began
        for name, kind in _STAGES.items():
            spent[name].append(moments[kind] - at)
            at = moments[kind]
    return moments["step.ended"] - began


def _run(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=_ENVIRONMENT)
    return time.perf_counter() - began


def _product(env: Path) -> HTTPServer:
    """A product whose own reader looks at the file each time it is asked."""

    class Reader(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"value": "SHINY=true" in env.read_text(encoding="utf-8")}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Reader)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
