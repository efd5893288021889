"""The three agent processes: started, replaced when one dies, stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from settings import AGENTS, ROOT

STOP_S = 2.0
RESPAWN_S = 0.5


class Crew:
    """Belongs to the main thread: the kernel ends an agent when the thread that started it ends."""

    def __init__(self, knowledge_port: int) -> None:
        self._knowledge_port = knowledge_port
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._not_before = dict.fromkeys(AGENTS, 0.0)

    def keep_alive(self) -> None:
        for name in AGENTS:
            process = self._processes.get(name)
            alive = process is not None and process.poll() is None
            if not alive and time.monotonic() >= self._not_before[name]:
                self._not_before[name] = time.monotonic() + RESPAWN_S
                self._processes[name] = self._start(name)

    def states(self) -> list[tuple[str, str, int]]:
        """Name, state, pid. Ready is who lives and holds its lock."""
        found = []
        for name, process in list(self._processes.items()):
            if process.returncode is not None:
                state = "down"
            else:
                state = "ready" if self._lock_owner(name) == process.pid else "starting"
            found.append((name, state, process.pid))
        return found

    def stop(self) -> None:
        """Every agent has finished the round it was in, or was killed when it took too long."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        script = str(ROOT / "app" / "agent.py")
        command = [
            sys.executable,
            "-I",
            "-u",
            script,
            name,
            str(self._knowledge_port),
            str(os.getpid()),
        ]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)

    def _lock_owner(self, name: str) -> int | None:
        try:
            owner = json.loads((ROOT / "run" / f"agent-{name}.lock").read_bytes())["pid"]
        except (OSError, ValueError):
            return None
        return int(owner)
