"""Measuring two things in turn, so that a busy machine slows both: medians and their ratio.

Hides: the order of the rounds, the file a result is kept in.
Never: judges; the aims stand beside the figures.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "reports" / "bench"


def in_turn(works: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, list[float]]:
    """Each work's seconds, round by round; the order turns with every round."""
    names = list(works)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            times[name].append(works[name]())
    return times


def in_turn_with_cpu(
    works: Mapping[str, Callable[[], float]], *, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """As `in_turn`, and the processor seconds of the child processes, by work.

    What a busy machine adds to the wall clock is not in the latter.
    """
    cpu: dict[str, list[float]] = {name: [] for name in works}

    def measured(name: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = works[name]()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return seconds

    times = in_turn({name: partial(measured, name) for name in works}, rounds=rounds)
    return times, cpu


def took_s(work: Callable[[], object]) -> float:
    """Seconds that `work` took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def report(
    name: str, times: Mapping[str, list[float]], *, aims: Mapping[str, Any], **facts: Any
) -> dict[str, Any]:
    """The medians and quartiles, kept under reports/bench, and printed."""
    rows = {
        key: {
            "median_s": round(statistics.median(values), 4),
            "quartiles_s": [round(q, 4) for q in statistics.quantiles(values, n=4)],
            "rounds": len(values),
        }
        for key, values in times.items()
    }
    body = {"benchmark": name, "times": rows, "aims": dict(aims), **facts, "machine": machine()}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    print(f"\n{name}")
    for key, row in rows.items():
        low, _, high = row["quartiles_s"]
        print(
            f"  {key:<44} {row['median_s'] * 1000:9.1f} ms   ({low * 1000:.1f} to {high * 1000:.1f})"
        )
    for key, value in facts.items():
        print(f"  {key:<44} {value}")
    for key, value in aims.items():
        print(f"  aim: {key:<39} {value}")
    return body


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version(),
            "load_1m": round(os.getloadavg()[0], 2)}  # fmt: skip
