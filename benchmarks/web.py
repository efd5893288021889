"""500 declared HTTP checks by `-n 2` over the same 500 questions as bare pytest functions by `-n 2`.

Both ask one small server on loopback, a process of its own. Goss, the nearest peer, is in no package
of Debian, and is not measured.
"""

from __future__ import annotations

import http.server
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gate import HEAD
from benchmarks.measure import in_turn_with_cpu, report, took_s

COUNT = 500
OURS = f"{COUNT} declared HTTP checks, -n 2"
BARE = f"{COUNT} bare pytest functions, -n 2"
VERIFICATION = Path(__file__).resolve().parents[1] / "verification"
WITHIN_S = 300


class _Answers(http.server.BaseHTTPRequestHandler):
    """/N answers {"n": N}."""

    def do_GET(self) -> None:
        body = json.dumps({"n": int(self.path[1:])}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def main(rounds: int = 7) -> dict[str, Any]:
    """The benchmark, printed and kept."""
    with tempfile.TemporaryDirectory(prefix="rollback-bench-") as name, _serving() as port:
        folder = Path(name)
        declaration, bare = _written(folder, port)
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"]
        ours = [*pytest, str(VERIFICATION), "-m", "integration", "--system", str(declaration)]
        works = {
            OURS: lambda: took_s(lambda: _run(ours, folder)),
            BARE: lambda: took_s(lambda: _run([*pytest, str(bare)], folder)),
        }
        for work in works.values():
            work()  # once without being counted: imports, caches
        times, cpu = in_turn_with_cpu(works, rounds=rounds)
    found = {key: median(values) for key, values in times.items()}
    return report("web", times, aims={},
                  ratio=round(found[OURS] / found[BARE], 2),
                  more_s=round(found[OURS] - found[BARE], 3),
                  cpu_ratio=round(median(cpu[OURS]) / median(cpu[BARE]), 2),
                  checks=COUNT)  # fmt: skip


@contextmanager
def _serving() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    child = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    child.start()
    server.socket.close()
    try:
        yield server.server_address[1]
    finally:
        child.terminate()
        child.join()


def _written(folder: Path, port: int) -> tuple[Path, Path]:
    """A declaration with the checks, and a test file that asks the same; both are in the folder."""
    (folder / "app").mkdir()
    declaration = folder / "rollback.yaml"
    head = HEAD.replace("  smoke:\n", "  integration:\n").replace("[smoke]", "[integration]")
    checks = "".join(
        f'    - http: {{id: w{n}, url: "http://127.0.0.1:{port}/{n}", pointer: {{/n: {n}}}, within: 5s}}\n'
        for n in range(COUNT)
    )
    declaration.write_text(head + checks, encoding="utf-8")
    bare = folder / "test_bare.py"
    bare.write_text(
        "import json, urllib.request\n"
        + "".join(
            f"def test_w{n}():\n"
            f"    with urllib.request.urlopen('http://127.0.0.1:{port}/{n}', timeout=5) as answer:\n"
            f"        assert answer.status == 200\n"
            f"        assert json.load(answer)['n'] == {n}\n"
            for n in range(COUNT)
        ),
        encoding="utf-8",
    )
    return declaration, bare


def _run(argv: list[str], folder: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "ROLLBACK_SYSTEM"}
    done = subprocess.run(
        argv, capture_output=True, check=False, cwd=folder, env=environment, timeout=WITHIN_S
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said
    assert f"{COUNT} passed" in said, said
