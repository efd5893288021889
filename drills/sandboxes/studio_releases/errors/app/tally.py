"""How often every route was taken, counted in `meta`."""

from __future__ import annotations

import sqlite3
import time

from store import DATABASE

COLLECT_S = 0.04  # decisions that come together share one commit


def count(route: str) -> None:
    db = sqlite3.connect(DATABASE, timeout=0, isolation_level=None)
    try:
        db.execute("begin immediate")
        time.sleep(COLLECT_S)
        db.execute(
            "insert into meta (key, value) values (?, '1') on conflict (key) do update set value = value + 1",
            (f"route/{route}",),
        )
        db.execute("commit")
    finally:
        db.close()
