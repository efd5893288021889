"""One user of the paced load: `locust -f` runs it, with its orders in ROLLBACK_LOAD.

Hides: Locust's user classes.
Never: is imported by the product: Locust patches the process that imports it.
"""

from __future__ import annotations

import json
import os

from locust import FastHttpUser, constant_throughput, task

_PLAN = json.loads(os.environ["ROLLBACK_LOAD"])


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
