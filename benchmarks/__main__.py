"""`python -m benchmarks [NAME…]`: all short benchmarks, or those named."""

from __future__ import annotations

import importlib
import sys

NAMES = ("flag", "gate", "web", "code", "tick", "log", "store", "table")
LONG = ("store", "table")  # only when named


def main() -> int:
    """0 when every benchmark ran; what it measured stands in reports/bench."""
    wanted = sys.argv[1:] or [name for name in NAMES if name not in LONG]
    for name in wanted:
        if name not in NAMES:
            print(f"there is no benchmark {name}; known: {', '.join(NAMES)}", file=sys.stderr)
            return 2
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
