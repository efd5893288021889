"""The figures of the last complete run beside their aims, as they stand in docs/performance.md.

`python -m benchmarks table` writes them there, between the two marks, from reports/bench.

Hides: which figures an aim compares.
Never: leaves out an aim that was missed, or one for which nothing was measured.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
SHAPES = ("small_files", "medium_files", "one_big_file")
MANY = ("small_files", "medium_files")
VERIFY_BYTES = {
    "small_files": 20_000 * 4608,
    "medium_files": 2_000 * 640 * 1024,
    "one_big_file": 2**30,
}
_Times = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Aim:
    """`faster`: ours at least `limit` times as fast as the peer; else at most `limit` times as long.

    `peer` may be several: then the fastest of them counts.
    """

    said: str
    operation: str
    peer: tuple[str, ...]
    limit: float
    shapes: tuple[str, ...] = SHAPES
    faster: bool = False
    peer_operation: str = ""


AIMS = (
    Aim("restore in place, 1 % differ: restic", "in_place", ("restic",), 5.0, faster=True),
    Aim("restore in place, 1 % differ: rsync --fsync", "in_place", ("rsync",), 1.0),
    Aim("restore in place, 1 % differ: rm -rf, tar x", "in_place", ("tar",), 6.0, MANY, faster=True),
    Aim("standby, 1 % differ: git reset --hard", "standby", ("git",), 1.0),
    Aim("standby, all differ: git reset --hard", "standby_all", ("git",), 0.1),
    Aim("checkpoint, nothing changed: restic", "no_change", ("restic",), 5.0, faster=True),
    Aim("checkpoint, 1 % changed: restic", "changed_1pct", ("restic",), 5.0, faster=True),
    Aim("checkpoint, 1 % changed: the best peer", "changed_1pct",
        ("restic", "borg", "git", "rsync"), 1.2),
    Aim("first checkpoint: restic", "first", ("restic",), 1.5, faster=True),
    Aim("full restore into an empty root: cp -a", "full_restore", ("cp",), 1.2, MANY),
    Aim("dry run, diff: git status", "dry_run", ("git",), 3.0),
)  # fmt: skip


def store(times: _Times, about: Mapping[str, Any]) -> str:
    """The whole table in Markdown: aims, then seconds of every tool, then growth."""
    rows = [
        "| what, over which peer | shape | ours | peer | ratio | aim | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    rows += [_row(aim, shape, times) for aim in AIMS for shape in aim.shapes]
    rows += list(_others(times, about))
    return "\n".join([*rows, "", *_seconds(times), "", *_growth(about.get("growth", {}))])


def _row(aim: Aim, shape: str, times: _Times) -> str:
    by = times.get(shape, {}).get(aim.operation, {})
    peers = {name: by[name] for name in aim.peer if name in by}
    wanted = f"≥ {aim.limit:g}x as fast" if aim.faster else f"≤ {aim.limit:g}x"
    if "rollback" not in by or not peers:
        return f"| {aim.said} | {shape} | | | | {wanted} | not measured |"
    best = min(peers, key=lambda name: peers[name])
    ours, theirs = by["rollback"], peers[best]
    ratio = theirs / ours if aim.faster else ours / theirs
    held = ratio >= aim.limit if aim.faster else ratio <= aim.limit
    name = f" ({best})" if len(aim.peer) > 1 else ""
    return (f"| {aim.said}{name} | {shape} | {ours:.3f} s | {theirs:.3f} s | {ratio:.2f} | {wanted} | "
            f"{'held' if held else '**missed**'} |")  # fmt: skip


def _others(times: _Times, about: Mapping[str, Any]) -> Iterator[str]:
    for shape in SHAPES:
        took = times.get(shape, {}).get("verify", {}).get("rollback")
        if took:
            rate = VERIFY_BYTES[shape] / took / 1e9
            yield (f"| deep verify | {shape} | {took:.3f} s | | {rate:.2f} GB/s | ≥ 0.5 GB/s | "
                   f"{'held' if rate >= 0.5 else '**missed**'} |")  # fmt: skip
    for shape, sizes in about.get("sizes", {}).items():
        if "restic" in sizes:
            ratio = sizes["rollback"] / sizes["restic"]
            yield (f"| size of the store: restic | {shape} | {sizes['rollback'] / 2**20:.0f} MiB | "
                   f"{sizes['restic'] / 2**20:.0f} MiB | {ratio:.2f} | ≤ 1.2x | "
                   f"{'held' if ratio <= 1.2 else '**missed**'} |")  # fmt: skip
    growth = about.get("growth", {})
    counts = sorted(growth, key=int)
    for small, large in itertools.pairwise(counts):
        for operation in growth[large]:
            per = [growth[n][operation]["took_s"] / int(n) for n in (small, large)]
            ratio = per[1] / per[0]
            yield (f"| time per file, {operation} | {int(small):,} → {int(large):,} files | "
                   f"{per[1] * 1e6:.0f} µs | {per[0] * 1e6:.0f} µs | {ratio:.2f} | ≤ 1.2x | "
                   f"{'held' if ratio <= 1.2 else '**missed**'} |")  # fmt: skip
    if counts:
        most = max(row["mib"] for row in growth[counts[-1]].values())
        yield (f"| memory, resident at most | {int(counts[-1]):,} files | {most:.0f} MiB | | | ≤ 300 MiB | "
               f"{'held' if most <= 300 else '**missed**'} |")  # fmt: skip


def _seconds(times: _Times) -> Iterator[str]:
    for shape, operations in times.items():
        tools = list(dict.fromkeys(tool for by in operations.values() for tool in by))
        yield f"Seconds, {shape}:"
        yield ""
        yield "| | " + " | ".join(tools) + " |"
        yield "|---|" + "---:|" * len(tools)
        for operation, by in operations.items():
            cells = [f"{by[tool]:.3f}" if tool in by else "" for tool in tools]
            yield f"| {operation} | " + " | ".join(cells) + " |"
        yield ""


def _growth(growth: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    if not growth:
        return
    operations = list(next(iter(growth.values())))
    yield "Growth, seconds and the most memory resident:"
    yield ""
    yield "| files | " + " | ".join(operations) + " |"
    yield "|---:|" + "---:|" * len(operations)
    for count, by in growth.items():
        cells = [f"{by[name]['took_s']:.2f} s, {by[name]['mib']:.0f} MiB" for name in operations]
        yield f"| {int(count):,} | " + " | ".join(cells) + " |"


def _short() -> Iterator[str]:
    """What `make bench` measured."""
    for path in sorted(RESULTS.glob("*.json")):
        body = json.loads(path.read_text("utf-8"))
        if "benchmark" not in body:
            continue
        yield f"`{body['benchmark']}`: " + "; ".join(
            [f"{name} {row['median_s'] * 1000:.0f} ms" for name, row in body["times"].items()]
            + [f"{name.replace('_', ' ')} {value}" for name, value in body.items()
               if name not in ("benchmark", "times", "aims", "machine", "libraries")]
            + [f"aim: {name} {value}" for name, value in body["aims"].items()]
        ) + "."  # fmt: skip
        yield ""


def main() -> None:
    """docs/performance.md holds the figures that stand in reports/bench."""
    times, about = (
        json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
        for name in ("store", "store-about")
    )
    machine = about["machine"]
    where = (f"Measured in one run of {about['minutes']} minutes on {machine['cores']} cores, kernel "
             f"{machine['kernel']}, Python {machine['python']}; medians of {about['rounds']} rounds, tools "
             f"in turn. Versions: " + "; ".join(
                 f"{name}: {told}" for name, told in about["versions"].items()
                 if not name.startswith("rollback")) + ".")  # fmt: skip
    absent = [f"Not measured: {name}, {why}." for name, why in about["absent"].items()]
    text = PAGE.read_text("utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    figures = "\n\n".join([BEGIN, where, *absent, store(times, about), "\n".join(_short()), END])
    PAGE.write_text(head + figures + tail, "utf-8")
    print(PAGE)
