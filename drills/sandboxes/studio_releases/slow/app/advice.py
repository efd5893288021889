"""Asks the knowledge server which agent it advises; without an answer, again, and then does without."""

from __future__ import annotations

import json
import sys
import time
from http.client import HTTPConnection
from urllib.parse import quote

PORT = int(sys.argv[sys.argv.index("--knowledge") + 1])
PAUSES_S = (0.2, 0.3, 0.4)


def advice(task: str) -> str | None:
    for pause_s in PAUSES_S:
        connection = HTTPConnection("127.0.0.1", PORT, timeout=2)
        try:
            connection.request("GET", f"/advice?task={quote(task, errors='replace')}")
            response = connection.getresponse()
            answer = json.loads(response.read())
            if response.status == 200:
                return str(answer["agent"])
        except OSError:
            pass  # as good as no advice
        finally:
            connection.close()
        time.sleep(pause_s)
    return None
