"""The trust anchor: which people and which policy this state directory was told to believe.

The declaration may lie in the tree that is rolled back; an old one could bring back an approver
who was revoked. So the digest of its authority-bearing sections is pinned here, outside, with the
people who may change them: those who were believed before, never those who come with the change.

Hides: the file.
Never: is written by a restore.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from rollback.host import Host, Tree
from rollback.host.clock import iso
from rollback.model import pinned as bearing
from rollback.model.errors import HostError, JournalError, NotAuthorized
from rollback.model.people import Member, People
from rollback.model.system import System

_FILE = b"trust.json"
_NAMED_MAX = 4


def pinned(tree: Tree) -> str:
    """The digest that is believed; "" before the first. Raises: JournalError."""
    return str(_read(tree).get("authority", ""))


def keepers(tree: Tree) -> tuple[Member, ...]:
    """Who may accept other people or another policy: who holds the owner's role as pinned.

    Empty before the first.
    """
    written = _read(tree).get("people")
    if written is None:
        return ()
    try:
        people = People.model_validate(written)
    except ValidationError as error:
        raise _unreadable(tree) from error
    return tuple(member for member in people.members if people.owner in member.roles)


def pin(system: System, tree: Tree, host: Host) -> None:
    """The system's people and policy are the ones that are believed from now on."""
    body = {
        "authority": system.authority_digest, "at": iso(host.clock.now()),
        "system": system.system.id, "people": system.source["people"],
        "format": bearing.FORMAT, "parts": bearing.parts(system.source),
    }  # fmt: skip
    tree.write(_FILE, json.dumps(body, sort_keys=True).encode() + b"\n")


def _read(tree: Tree) -> dict[str, Any]:
    if tree.stat(_FILE) is None:
        return {}
    try:
        found = json.loads(tree.read(_FILE))
        if not isinstance(found, dict) or not isinstance(found.get("authority"), str):
            raise ValueError("no trust anchor")
    except (OSError, HostError, ValueError, RecursionError) as error:
        raise _unreadable(tree) from error
    return found


def _unreadable(tree: Tree) -> JournalError:
    return JournalError(
        "the trust anchor cannot be read", where=tree.place(_FILE),
        hint="put it back from a copy; rollback audit verify shows what was pinned",
    )  # fmt: skip


def require(system: System, tree: Tree) -> None:
    """The declaration's people and policy are the pinned ones. Raises: NotAuthorized."""
    written = _read(tree)
    believed = written.get("authority", "")
    if not believed or believed == system.authority_digest:
        return
    if written.get("format", 1) != bearing.FORMAT:
        raise NotAuthorized(
            "another version of rollback pinned whom to believe here, and it pinned other things",
            where=tree.place(_FILE),
            hint="read the declaration with that in mind, then accept it with: rollback trust",
        )
    raise NotAuthorized(
        "the people or the policy of this declaration are not the ones this state directory trusts: "
        f"{', '.join(differing(system, tree)) or 'its parts'} changed",
        where=str(system.declaration), hint="look at the change, then accept it with: rollback trust",
    )  # fmt: skip


def differing(system: System, tree: Tree) -> tuple[str, ...]:
    """The places of the declaration that are not as they were pinned, a few of them by name."""
    then, now = _read(tree).get("parts", {}), bearing.parts(system.source)
    if not isinstance(then, dict):
        return ()
    found = sorted(where for where in {*then, *now} if then.get(where) != now.get(where))
    rest = len(found) - _NAMED_MAX
    return (*found[:_NAMED_MAX], *((f"{rest} more",) if rest > 0 else ()))
