"""Secrets leave no trace: everything that a run writes and prints, however it ends, is searched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.program import Ended, rollback
from tests.keep.test_redact import CANARIES, written
from tests.systems import Shop, build, environment
from tests.tell.test_message import listening

ENDS = ("success", "failure", "no such program", "crash")
QUIET = pytest.mark.long  # what they leave behind, a success leaves as well
PROGRAM = """import os, sys, time
for stream in (sys.stdout, sys.stderr):
    print(open("leak.txt", encoding="utf-8").read(), file=stream, flush=True)
if sys.argv[1] == "crash":
    open("here", "w").close()
    while not os.path.exists("go"):
        time.sleep(0.05)
sys.exit(sys.argv[1] != "success")
"""
CHECKS_MIN = 4000


def leaking(folder: Path, port: int, end: str) -> Shop:
    """A shop whose step and check print every secret in every spelling, and whose messages repeat it."""
    made = build(folder / "shop")
    (folder / "shop/secrets").mkdir()
    for number, secret in enumerate(CANARIES):
        (folder / f"shop/secrets/{number}").write_text(secret)
    roles = "".join(f', r{n}: {{title: R{n}, contact: "file:secrets/{n}"}}'
                    for n in range(len(CANARIES)))  # fmt: skip
    made.edit("op: {title: Operator}", "op: {title: Operator}" + roles)
    lines = "\n".join(spelt for secret in CANARIES for spelt in written(secret))
    (made.tree / "leak.txt").write_text(lines)
    (made.tree / "leak.py").write_text(PROGRAM)
    argv = [sys.executable, "-I", "leak.py", end]
    if end == "no such program":
        argv = ["/no/such/program"]
    step = f"{{command: {{id: leaks, argv: {json.dumps(argv)}, within: 30s}}}}"
    made.edit("steps: [{restore: {component: config}}]",
              f"steps: [{{restore: {{component: config}}}}, {step}]")  # fmt: skip
    asks = json.dumps([sys.executable, "-I", "leak.py", "failure"])
    made.edit("  smoke:\n", f"  smoke:\n    - command: {{id: loud, argv: {asks}, within: 10s}}\n")
    on = "[mitigated, needs-operator, undone]"
    made.edit("people:\n", f"""notify:
  channels: {{box: {{file: {{path: box.jsonl}}}}, web: {{webhook: {{url: "http://127.0.0.1:{port}/"}}}}}}
  audiences: {{ops: [box, web]}}
  messages: {{how: {{audience: ops, on: {on}, text: "{{state}}: {{reason}} {{failure}} {{cause}}"}}}}
people:
""")  # fmt: skip
    with made.site() as site:
        site.checkpoints.create("before")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def carried_out(shop: Shop, end: str) -> list[Ended]:
    """The run, to its end; killed in the midst of its step and taken up again where it is to crash."""
    words = ("run", "config", "--as", "ada", "--yes", "--reason", "it is loud")
    if end != "crash":
        return [rollback(shop.folder, *words)]
    with subprocess.Popen([sys.executable, "-m", "rollback", *words], cwd=shop.folder, text=True,
                          env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL) as process:  # fmt: skip
        deadline = time.monotonic() + 60
        while not (shop.tree / "here").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        (shop.tree / "go").touch()
        out, err = process.communicate(timeout=60)
        first = Ended(process.returncode, out, err)
    return [first, rollback(shop.folder, "resume", "--as", "ada")]


def _read(folder: Path) -> str:
    if not folder.exists():
        return ""
    paths = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in paths)


def sinks(shop: Shop, ended: list[Ended], heard: object) -> dict[str, str]:
    """Everything that somebody may read later, by what it is."""
    state = shop.folder / ".rollback"
    run = state / "runs" / "r0001"
    told = {
        "standard output": "\n".join(one.out for one in ended),
        "standard error": "\n".join(one.err for one in ended),
        "journal": _read(state / "journal"), "report": _read(run / "report.md"),
        "report as JSON": _read(run / "report.json"), "suites": _read(run / "suites"),
        "allure": _read(run / "allure-results"), "message in a file": _read(shop.folder / "box.jsonl"),
        "message by HTTP": json.dumps(heard, ensure_ascii=False),
    }  # fmt: skip
    for name, *words in (
        ("status", "status"), ("status as JSON", "status", "--json"), ("history", "history", "r0001"),
        ("history as JSON", "history", "r0001", "--json"), ("report asked for", "report", "r0001"),
        ("verify", "verify", "smoke"), ("verify as JSON", "verify", "smoke", "--json"),
    ):  # fmt: skip
        done = rollback(shop.folder, *words)
        told[name] = done.out + done.err
    return told


@pytest.mark.parametrize(
    "end",
    [pytest.param(end, marks=QUIET if end != "success" else ()) for end in ENDS],
)
def test_no_secret_is_in_anything_that_a_run_leaves_behind(tmp_path: Path, end: str) -> None:
    """Twenty secrets in twenty-three spellings, said by a step and a check, in sixteen places."""
    with listening() as (port, heard):
        shop = leaking(tmp_path, port, end)
        ended = carried_out(shop, end)
        said = shop.folder / ".rollback/journal/events.jsonl"
        deadline = time.monotonic() + 5
        while '"channels":' not in said.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        found = sinks(shop, ended, heard)
    checked, hits = 0, []
    for name, text in found.items():
        assert text or end != "success", name  # a run that is taken back asks no suite
        for secret in CANARIES:
            for spelling in written(secret):
                checked += 1
                if spelling in text:
                    hits.append((name, spelling))
    assert hits == []
    assert checked * len(ENDS) >= CHECKS_MIN
    assert "REDACTED" in found["verify"]  # what was said was heard
    assert end != "failure" or "REDACTED" in found["journal"]
