"""One user of the paced load: `locust -f` runs it, with its orders in ROLLBACK_LOAD.

At its end it says in one line, before Locust's own figures, how the load went piece by piece of time:
{"piece_s": 0.5, "pieces": [[number, requests, failures, p50_ms, p95_ms, p99_ms], …]}.

Hides: Locust's user classes and events.
Never: is imported by the product: Locust patches the process that imports it.
"""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any

from locust import FastHttpUser, constant_throughput, events, task

_PLAN = json.loads(os.environ["ROLLBACK_LOAD"])
_answers: list[tuple[float, float, bool]] = []


def noted(start_time: float, response_time: float, exception: Exception | None, **_: Any) -> None:
    """One answer: when it was asked for, how long it took, whether it was none."""
    _answers.append((float(start_time), float(response_time or 0.0), exception is not None))


def told(**_: Any) -> None:
    """What came in which piece of time, said before Locust says its figures."""
    every_s = float(_PLAN["piece_s"])
    began = min((asked for asked, _, _ in _answers), default=0.0)
    found: dict[int, list[tuple[float, bool]]] = {}
    for asked, took_ms, bad in _answers:
        piece = int(max(0.0, asked + took_ms / 1000 - began) / every_s)
        found.setdefault(piece, []).append((took_ms, bad))
    pieces = []
    for piece, answers in sorted(found.items()):
        ordered = sorted(took_ms for took_ms, _ in answers)
        ranks = [max(1, math.ceil(share * len(ordered))) - 1 for share in (0.5, 0.95, 0.99)]
        figures = [round(ordered[rank], 2) for rank in ranks]
        pieces.append([piece, len(ordered), sum(bad for _, bad in answers), *figures])
    sys.stdout.write(json.dumps({"piece_s": every_s, "pieces": pieces}) + "\n")
    sys.stdout.flush()


events.request.add_listener(noted)  # type: ignore[no-untyped-call]
events.quitting.add_listener(told)  # type: ignore[no-untyped-call]


class PacedUser(FastHttpUser):
    """Asks the one question at a steady rate, however fast the answers come."""

    wait_time = constant_throughput(_PLAN["per_user"])
    connection_timeout = _PLAN["timeout_s"]
    network_timeout = _PLAN["timeout_s"]

    @task
    def ask(self) -> None:
        """One request; a status of 400 and above counts as a failure."""
        body = {"json": _PLAN["json"]} if "json" in _PLAN else {}
        self.client.request(
            _PLAN["method"], _PLAN["url"], name="load", headers=_PLAN["headers"],
            allow_redirects=False, **body,
        )  # fmt: skip
