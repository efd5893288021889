"""The trust anchor: which people and which policy this state directory was told to believe.

The declaration may lie in the tree that is rolled back; an old one could bring back an approver
who was revoked. So the digest of its authority-bearing sections is pinned here, outside.

Hides: the file.
Never: is written by a restore.
"""

from __future__ import annotations

import json

from rollback.host import Host, Tree
from rollback.host.clock import iso
from rollback.model.errors import JournalError, NotAuthorized
from rollback.model.system import System

_FILE = b"trust.json"


def pinned(tree: Tree) -> str:
    """The digest that is believed; "" before the first."""
    if tree.stat(_FILE) is None:
        return ""
    try:
        return str(json.loads(tree.read(_FILE))["authority"])
    except (ValueError, KeyError, TypeError) as error:
        raise JournalError(
            "the trust anchor cannot be read", where=tree.place(_FILE),
            hint="put it back from a copy; rollback audit verify shows what was pinned",
        ) from error  # fmt: skip


def pin(system: System, tree: Tree, host: Host) -> None:
    """The system's people and policy are the ones that are believed from now on."""
    body = {
        "authority": system.authority_digest,
        "at": iso(host.clock.now()),
        "system": system.system.id,
    }
    tree.write(_FILE, json.dumps(body, sort_keys=True).encode() + b"\n")


def require(system: System, tree: Tree) -> None:
    """The declaration's people and policy are the pinned ones. Raises: NotAuthorized."""
    believed = pinned(tree)
    if believed and believed != system.authority_digest:
        raise NotAuthorized(
            "the people or the policy of this declaration are not the ones this state directory trusts",
            where=str(system.declaration),
            hint="look at the change, then accept it with: rollback trust",
        )
