"""Keeps a studio under paced load from a child process: decisions, commands, sessions of both modes.

Hides: how requests are paced and counted.
Never: outlives the process (more exactly the thread) that started it, or its own time limit.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

PR_SET_PDEATHSIG = 1
ANSWER_WITHIN_S = 10.0
WRITE_EVERY_S = 0.5
STOP_WITHIN_S = 3.0
REPOSITORY = Path(__file__).resolve().parents[1]

MIX = {"decide": 50, "command": 30, "single": 10, "party": 10}


@dataclass
class Counts:
    """What the load saw: answers by status, requests nobody answered, time to answer."""

    by_status: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0
    mean_ms: float = 0.0
    slowest_ms: float = 0.0
    seconds: float = 0.0

    @property
    def answered(self) -> int:
        return sum(self.by_status.values())

    def share(self, *statuses: int) -> float:
        """The share of the answers that have one of these statuses."""
        of_these = sum(self.by_status.get(str(status), 0) for status in statuses)
        return of_these / self.answered if self.answered else 0.0


class Load:
    """While the context is open, a child process asks `rate` times a second."""

    def __init__(
        self,
        url: str,
        rate: float = 30.0,
        *,
        counts_file: Path,
        users: int = 8,
        seconds: float = 600.0,
        seed: int = 1,
    ) -> None:
        self.counts_file = counts_file
        self._argv = [sys.executable, "-m", "drills.load", url, "--rate", str(rate)]
        self._argv += ["--users", str(users), "--seconds", str(seconds), "--seed", str(seed)]
        self._argv += ["--counts", str(counts_file), "--parent", str(os.getpid())]
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.counts_file.unlink(missing_ok=True)
        self._child = subprocess.Popen(self._argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """The child has ended and its counts are written."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def counts(self) -> Counts:
        """The counts up to half a second ago; after `stop`, all of them."""
        try:
            return Counts(**json.loads(self.counts_file.read_bytes()))
        except FileNotFoundError:
            return Counts()


class _Client:
    """Threads that share one schedule; when the studio is slower than it, they simply fall behind."""

    def __init__(self, url: str, rate: float, seed: int) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._rate = rate
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._started_s = self._next_s = time.monotonic()
        self._by_status: Counter[str] = Counter()
        self._unanswered = 0
        self._number = 0
        self._total_ms = self._slowest_ms = 0.0

    def ask_forever(self) -> None:
        connection = HTTPConnection(self._host, self._port, timeout=ANSWER_WITHIN_S)
        while True:
            at_s, method, path, body = self._turn()
            time.sleep(max(0.0, at_s - time.monotonic()))
            started_s = time.monotonic()
            try:
                connection.request(method, path, json.dumps(body) if body else None)
                response = connection.getresponse()
                response.read()
            except (OSError, HTTPException):
                connection.close()  # the next request opens it again
                self._count(None, 0.0)
                time.sleep(0.05)
            else:
                self._count(str(response.status), (time.monotonic() - started_s) * 1000)

    def counts(self) -> dict[str, Any]:
        with self._lock:
            answered = sum(self._by_status.values())
            return {
                "by_status": dict(self._by_status),
                "unanswered": self._unanswered,
                "mean_ms": self._total_ms / answered if answered else 0.0,
                "slowest_ms": self._slowest_ms,
                "seconds": time.monotonic() - self._started_s,
            }

    def _turn(self) -> tuple[float, str, str, dict[str, str] | None]:
        """When to send what. Gaps vary as those of independent users do."""
        with self._lock:
            self._number += 1
            self._next_s += self._random.expovariate(self._rate)
            self._next_s = max(self._next_s, time.monotonic() - 1)  # no flood after a pause
            kind = self._random.choices(list(MIX), list(MIX.values()))[0]
            return self._next_s, *_request(kind, self._number)

    def _count(self, status: str | None, ms: float) -> None:
        with self._lock:
            if status is None:
                self._unanswered += 1
                return
            self._by_status[status] += 1
            self._total_ms += ms
            self._slowest_ms = max(self._slowest_ms, ms)


def _request(kind: str, number: int) -> tuple[str, str, dict[str, str] | None]:
    if kind == "decide":
        return "GET", f"/decide?task=load-{number}&urgency={number % 5 + 1}", None
    if kind == "command":
        return "POST", "/commands", {"command": "echo", "text": f"load {number}"}
    return "POST", "/sessions", {"mode": kind, "task": f"load {number}"}


def _write(path: Path, counts: dict[str, Any]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(counts))
    aside.rename(path)


def main() -> None:
    """The load has run until its time was up, SIGTERM came, or its parent died."""
    parser = argparse.ArgumentParser(description="Keep a studio under load.")
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=30.0, help="requests per second")
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--counts", type=Path, required=True, help="where the counts are written")
    parser.add_argument("--parent", type=int, help="end when this process is not the parent")
    given = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the parent as well
    if given.parent is not None:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != given.parent:  # it died before the line above
            return
    client = _Client(given.url, given.rate, given.seed)
    for _ in range(given.users):
        threading.Thread(target=client.ask_forever, daemon=True).start()
    deadline_s = time.monotonic() + given.seconds
    while not stop.wait(WRITE_EVERY_S) and time.monotonic() < deadline_s:
        _write(given.counts, client.counts())
    _write(given.counts, client.counts())


if __name__ == "__main__":
    main()
