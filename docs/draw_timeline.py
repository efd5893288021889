"""Draws docs/timeline.svg from the report of a real run.

    python docs/draw_timeline.py .rollback/runs/r0001/report.json > docs/timeline.svg

Hides: coordinates.
Never: draws what the report does not hold.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, ROW, TOP = 820, 190, 70, 26, 66
_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a }
.head { font-weight: 600; font-size: 15px }
.axis { stroke: #8c959f; stroke-width: 1 }
.mitigated { stroke: #bf8700; stroke-width: 2 }
.complete { stroke: #1a7f37; stroke-width: 2 }
.bar { fill: #0969da } .proof { fill: #1a7f37 } .wait { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9da7b3 } .bar { fill: #58a6ff } .proof { fill: #3fb950 }
  .mitigated { stroke: #d29922 } .complete { stroke: #3fb950 }
}"""
Bar = tuple[str, float, float, str]  # label, begin, end (seconds since planned), class


def bars(report: dict[str, Any]) -> list[Bar]:
    """One bar for each phase before the steps, each step that took time, each suite."""
    began = next(e for e in report["timeline"] if e["event"] == "run.planned")["at"]
    moments = {e["event"]: _seconds(began, e["at"]) for e in report["timeline"]}
    found: list[Bar] = []
    at = 0.0
    for phase in report["phases"]:
        end = at + phase["took_s"]
        if phase["phase"] != "prove":
            found.append((phase["phase"], at, end, "bar"))
        at = end
    at = moments.get("run.mitigated", at)
    for name in ("smoke", "functional", "integration", "performance"):
        suite = report["suites"].get(name)
        if suite:
            found.append((f"suite {name}", at, at + suite["duration_s"], "proof"))
            at += suite["duration_s"]
    end = report["clocks"]["complete"]["took_s"]
    if end and end > at:
        found.append(("second witness", at, end, "proof"))
    return found


def draw(report: dict[str, Any]) -> str:
    """The picture."""
    rows = bars(report)
    total = max(end for _, _, end, _ in rows) or 1.0
    height = TOP + ROW * len(rows) + 58
    title = f"{report['system']}: {report['title']}, run {report['run_id']}, {report['state']}"

    def x(at_s: float) -> float:
        return round(LEFT + at_s / total * (WIDTH - LEFT - RIGHT), 1)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="head" x="12" y="26">{escape(title)}</text>',
        '<text class="small" x="12" y="46">seconds since the run was planned</text>',
    ]
    for index, (label, begin, end, kind) in enumerate(rows):
        y = TOP + ROW * index
        width = max(2.0, round(x(end) - x(begin), 1))
        lines.append(f'<text x="12" y="{y + 14}">{escape(label)}</text>')
        lines.append(
            f'<rect class="{kind}" x="{x(begin)}" y="{y + 2}" width="{width}" height="16" rx="2"/>'
        )
        lines.append(
            f'<text class="small" x="{round(x(begin) + width + 6, 1)}" y="{y + 14}">{_s(end - begin)}</text>'
        )
    foot = TOP + ROW * len(rows) + 8
    lines.append(f'<line class="axis" x1="{LEFT}" y1="{foot}" x2="{WIDTH - RIGHT}" y2="{foot}"/>')
    for name in ("mitigated", "complete"):
        took = report["clocks"][name]["took_s"]
        if took is None:
            continue
        budget = report["clocks"][name]["budget_s"]
        lines.append(
            f'<line class="{name}" x1="{x(took)}" y1="{TOP - 6}" x2="{x(took)}" y2="{foot + 6}"/>'
        )
        anchor, y = ("start", foot + 22) if name == "mitigated" else ("end", foot + 40)
        said = f"{name.upper()} after {_s(took)}" + (f", budget {_s(budget)}" if budget else "")
        at = x(took) if name == "mitigated" else WIDTH - 8
        lines.append(f'<text x="{at}" y="{y}" text-anchor="{anchor}">{said}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _seconds(began: str, at: str) -> float:
    return (datetime.fromisoformat(at) - datetime.fromisoformat(began)).total_seconds()


def _s(value: float) -> str:
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{value / 60:.0f} min"


if __name__ == "__main__":
    sys.stdout.write(draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
