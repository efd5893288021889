"""Who may decide must be somebody: roles with members, quorums that can be reached, no wildcard.

Hides: how many different people a quorum needs.
Never: reads a key.
"""

from __future__ import annotations

from typing import Any

from rollback.declare import walk
from rollback.declare.text import Document, Path
from rollback.model.errors import Problem
from rollback.model.quantity import counted


def check(document: Document, data: dict[str, Any]) -> None:
    """Authority that nobody, or everybody, holds is among the document's problems."""
    holders = _holders(data)
    for pattern in ("levels.*.authority", "procedures.*.authority", "triggers.*.authority"):
        for path, written in walk.find(data, pattern):
            if isinstance(written, dict):
                _reachable(document, path, written, holders)
    _no_wildcard(document, data)
    _own_keys(document, data)
    _autonomy(document, data)
    for path, name in walk.find(data, "people.owner"):
        if isinstance(name, str) and name in _roles(data) and not holders.get(name):
            _wrong(document, path, f"nobody holds the role {name!r}",
                   f"add a member: {{id: …, roles: [{name}]}}")  # fmt: skip


def _roles(data: Any) -> list[str]:
    return walk.names(data, "people.roles") or []


def _holders(data: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for _, member in walk.find(data, "people.members.*"):
        if isinstance(member, dict) and isinstance(member.get("id"), str):
            for _, role in walk.texts((), member.get("roles")):
                found.setdefault(role, []).append(member["id"])
    return found


def _reachable(
    document: Document, path: Path, written: dict[str, Any], holders: dict[str, list[str]]
) -> None:
    roles = [name for _, name in walk.texts((), written.get("roles"))]
    for index, role in enumerate(roles):
        if not holders.get(role) and role != "*":
            _wrong(document, (*path, "roles", index), f"nobody holds the role {role!r}",
                   f"add a member: people: {{members: [{{id: …, roles: [{role}]}}]}}")  # fmt: skip
    count = written.get("count", 1)
    everybody = {name for role in roles for name in holders.get(role, ())}
    if isinstance(count, int) and count > len(everybody) > 0:
        _wrong(document, (*path, "count"),
               f"{counted(count, 'approval')} asked for, but the roles are held by only "
               f"{counted(len(everybody), 'person', 'people')}",
               "add members, or lower count")  # fmt: skip
    if written.get("quorum") == "all" and len(roles) > 1 and all(holders.get(r) for r in roles):
        if _different(roles, holders) < len(roles):
            _wrong(document, (*path, "quorum"),
                   f"all of {len(roles)} roles must approve, each by another person, but only "
                   f"{len(everybody)} hold them", "add members, or drop a role")  # fmt: skip


def _different(roles: list[str], holders: dict[str, list[str]]) -> int:
    """How many of the roles can be spoken for by different people at once."""
    taken: dict[str, str] = {}

    def place(role: str, tried: set[str]) -> bool:
        for person in holders.get(role, ()):
            if person not in tried:
                tried.add(person)
                if person not in taken or place(taken[person], tried):
                    taken[person] = role
                    return True
        return False

    return sum(1 for role in roles if place(role, set()))


def _no_wildcard(document: Document, data: Any) -> None:
    roots: list[Path] = [("people",), ("autonomy",)]
    roots += [path for path, _ in walk.find(data, "levels.*.authority")]
    roots += [path for path, _ in walk.find(data, "procedures.*.authority")]
    for root in roots:
        for path, value in walk.leaves(walk.at(data, root), root):
            if (isinstance(value, str) and "*" in value) or any("*" in str(p) for p in path):
                _wrong(document, path, "'*' would mean everybody",
                       "name the roles one by one")  # fmt: skip


def _own_keys(document: Document, data: Any) -> None:
    """One key is one person: with two names it could speak twice."""
    seen: dict[str, str] = {}
    for path, member in walk.find(data, "people.members.*"):
        key = member.get("key") if isinstance(member, dict) else None
        if not isinstance(key, str):
            continue
        same = " ".join(key.split()[:2])  # what follows is a remark
        if same in seen:
            _wrong(document, (*path, "key"), f"it is the key of {seen[same]} too",
                   "each person signs with a key of his own")  # fmt: skip
        seen.setdefault(same, str(member.get("id")))


def _autonomy(document: Document, data: Any) -> None:
    section = data.get("autonomy")
    table = section.get("table") if isinstance(section, dict) else None
    if isinstance(table, dict) and table and str(section.get("current", 3)) not in table:
        _wrong(document, ("autonomy", "current"), f"{section.get('current', 3)} is not in the table",
               f"write one of: {', '.join(sorted(map(str, table)))}")  # fmt: skip


def _wrong(document: Document, path: Path, message: str, hint: str) -> None:
    name = ".".join(str(part) for part in path)
    document.problems.append(Problem(document.where(path), f"{name}: {message}", hint))
