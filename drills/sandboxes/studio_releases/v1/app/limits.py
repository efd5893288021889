"""How many requests a minute may bring."""

from __future__ import annotations

import threading
import time


class Limit:
    """A bucket that holds one minute's worth and fills steadily."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute)
        self._at_s = time.monotonic()
        self._lock = threading.Lock()

    def allows(self) -> bool:
        with self._lock:
            now_s = time.monotonic()
            filled = self._left + (now_s - self._at_s) * self._per_minute / 60
            self._at_s, self._left = now_s, min(float(self._per_minute), filled)
            if self._left < 1:
                return False
            self._left -= 1
            return True
