"""Compares every stored result with its digest.

Prints the damaged sessions, with exit status 1 if there are any. With `--count` prints their
number, with exit status 0.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.dont_write_bytecode = True  # a release is exactly the files in git
sys.path.insert(0, str(Path(__file__).resolve().parent))

from store import connected, digest  # noqa: E402


def damaged() -> list[str]:
    with connected() as db:
        rows = db.execute("select id, result, digest from sessions where state = 'done'").fetchall()
    return [
        identity for identity, result, stored in rows if digest(identity, result or "") != stored
    ]


def main() -> int:
    found = damaged()
    if sys.argv[1:] == ["--count"]:
        print(len(found))
        return 0
    print("\n".join(found) or "every result is whole")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
