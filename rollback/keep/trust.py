"""The trust anchor: which people and which policy this state directory was told to believe.

The declaration may lie in the tree that is rolled back; an old one could bring back an approver
who was revoked. So the digest of its authority-bearing sections is pinned here, outside, with the
people who may change them: those who were believed before, never those who come with the change.

Hides: the file.
Never: is written by a restore.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from rollback.host import Host, Tree
from rollback.host.clock import iso
from rollback.model import pinned as bearing
from rollback.model.errors import HostError, JournalError, NotAuthorized
from rollback.model.people import Member, People
from rollback.model.system import System

Hide = Callable[[dict[str, Any]], dict[str, Any]]
_FILE = b"trust.json"
_NAMED_MAX = 4
HIDDEN = "***"  # what may not be shown


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


def pin(system: System, tree: Tree, host: Host, hide: Hide = lambda body: body) -> None:
    """The system's people and policy are the ones that are believed from now on.

    What they are is kept as `hide` lets it be seen, for whoever is asked about the next change.
    """
    body = {
        "authority": system.authority_digest, "at": iso(host.clock.now()),
        "system": system.system.id, "people": system.source["people"],
        "format": bearing.FORMAT, "parts": bearing.parts(system.shown),
        "bodies": hide(bearing.bodies(system.shown)),
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
    then, now = _read(tree).get("parts", {}), bearing.parts(system.shown)
    if not isinstance(then, dict):
        return ()
    found = sorted(where for where in {*then, *now} if then.get(where) != now.get(where))
    rest = len(found) - _NAMED_MAX
    return (*found[:_NAMED_MAX], *((f"{rest} more",) if rest > 0 else ()))


@dataclass(frozen=True, slots=True)
class Changed:
    """One thing that is not as it was pinned: in which part, at which keys of it (None: not there).

    `known` is False where only that the part changed is known: it was pinned before its words were kept.
    """

    part: str
    at: str
    before: Any
    after: Any
    known: bool = True


def changes(system: System, tree: Tree, hide: Hide = lambda body: body) -> tuple[Changed, ...]:
    """Everything that `pin` would change, part by part, sorted; nothing before the first.

    Raises: JournalError.
    """
    written = _read(tree)
    then, told = written.get("parts"), written.get("bodies")
    if not isinstance(then, dict):
        return ()
    now, words = bearing.parts(system.shown), hide(bearing.bodies(system.shown))
    known = told if isinstance(told, dict) else {}
    found: list[Changed] = []
    for part in sorted({*now, *then}):
        if then.get(part) == now.get(part):
            continue
        if part in then and part not in known:
            found.append(Changed(part, "", None, words.get(part), known=False))
            continue
        leaves = [Changed(part, *leaf) for leaf in _leaves("", known.get(part), words.get(part))]
        found += leaves or [Changed(part, "", HIDDEN, HIDDEN)]
    return tuple(found)


def _leaves(at: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    one, other = _named(before), _named(after)
    if one is not None and other is not None:
        for key in sorted({*one, *other}):
            yield from _leaves(f"{at}.{key}" if at else key, one.get(key), other.get(key))
    elif before != after:
        yield at, before, after


def _named(body: Any) -> Mapping[str, Any] | None:
    """A map, or a list of things with ids by these."""
    if isinstance(body, Mapping):
        return body
    if (
        isinstance(body, list)
        and body
        and all(isinstance(one, dict) and "id" in one for one in body)
    ):
        found = {str(one["id"]): one for one in body}
        return found if len(found) == len(body) else None
    return None
