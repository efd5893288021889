"""What reaches the agent from outside: webhooks on loopback, each with the token.

Hides: that they come in threads of their own, and where the token lies.
Never: decides or begins anything: an alert is an event, and the next tick decides.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rollback.act import alerts
from rollback.act.site import Site
from rollback.host.serving import listening_at
from rollback.keep.ticks import FOLDER
from rollback.model.errors import JournalError, RollbackError, UsageError

TOKEN = f"{FOLDER}/token"
PATHS = ("/alertmanager", "/grafana")
TOKEN_BYTES = 32


@contextmanager
def inbox(site: Site, port: int, *, heard: Callable[[], None]) -> Iterator[int]:
    """Webhooks are taken in meanwhile; the port. `heard` is called after one told something new.

    `site` is this inbox's own: nobody else may use it meanwhile. Raises: UsageError when nobody can
    listen there.
    """
    turns = threading.Lock()

    def answer(path: str, body: bytes) -> tuple[int, bytes]:
        if path.rstrip("/") not in PATHS:
            return 404, json.dumps({"error": f"post to {' or '.join(PATHS)}"}).encode()
        try:
            found = alerts.read(body)
            with turns:
                told = alerts.tell(site, found, by=path.strip("/"))
        except UsageError as error:
            return 400, json.dumps({"error": str(error), "hint": error.hint}).encode()
        except (JournalError, OSError) as error:
            return 503, json.dumps({"error": str(error)}).encode()  # it is sent again
        except RollbackError as error:  # a deployment while a run is open
            return 409, json.dumps({"error": str(error), "hint": error.hint}).encode()
        if told.told:
            heard()
        return 200, json.dumps(told.as_json()).encode()

    with listening_at(port, token=token(site), answer=answer) as found:
        yield found


def token(site: Site) -> str:
    """The token that a webhook must bear; made when there is none yet, and readable by us alone."""
    tree = site.state.tree
    tree.make_folder(FOLDER)
    if tree.stat(TOKEN) is None:
        tree.write(TOKEN, f"{site.host.token(TOKEN_BYTES)}\n".encode())
    found = tree.read(TOKEN).decode("ascii", errors="replace").strip()
    if len(found) < TOKEN_BYTES:
        raise UsageError(
            "the token is too short",
            where=tree.place(TOKEN),
            hint="remove that file: a new one is made",
        )
    return found
