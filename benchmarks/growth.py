"""How the store grows: the same four operations on 10,000, 100,000 and 1,000,000 small files.

Each operation is a process of its own, which says how long the work took and how much memory it had
at most, so that no step is measured with what another left behind.

Hides: that the files of the larger trees are the files of the smaller ones and more.
Never: counts what it takes to start Python or to fill the tree.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.shapes import Shape, damage, fill

COUNTS = tuple(
    int(n) for n in os.environ.get("BENCH_GROWTH", "10000,100000,1000000").split(",") if n
)
OPERATIONS = ("first", "no_change", "dry_run", "in_place")
DAMAGED_SHARE = 0.01


def shape(count: int) -> Shape:
    """So many files of 100 to 300 bytes, 100 in a folder."""
    return Shape(f"growth_{count}", count, 100, 300, 100)


def measure(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """By count and operation: seconds (`took_s`, synced) and the most memory resident (`mib`)."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for count in COUNTS:
        base = folder / str(count)
        fill(base / "live" / "data", shape(count))
        os.sync()
        found[str(count)] = {}
        for operation in OPERATIONS:
            if operation == "in_place":
                damage(base / "live" / "data", shape(count), DAMAGED_SHARE, 1)
                os.sync()
            argv = [sys.executable, "-m", "benchmarks.growth", str(base), operation]
            done = subprocess.run(argv, stdout=subprocess.PIPE, check=True)
            found[str(count)][operation] = json.loads(done.stdout)
        print(f"  growth {count}: " + ", ".join(
            f"{name} {row['took_s']:.2f} s {row['mib']:.0f} MiB"
            for name, row in found[str(count)].items()), flush=True)  # fmt: skip
    return found


def step(base: Path, operation: str) -> dict[str, Any]:
    """One operation on the tree at `base`, measured from within."""
    from benchmarks.peers import Ours

    tool = Ours(base)
    work = {
        "first": tool.first,
        "no_change": tool.again,
        "dry_run": tool.dry_run,
        "in_place": tool.in_place,
    }
    began = time.perf_counter()
    work[operation]()
    os.sync()
    took_s = time.perf_counter() - began
    return {"took_s": took_s, "mib": _most_mib()}


def _most_mib() -> float:
    """The most memory that was resident since this program began; `ru_maxrss` counts its parent's."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    print(json.dumps(step(Path(sys.argv[1]), sys.argv[2])))
