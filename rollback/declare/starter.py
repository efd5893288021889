"""The first declaration of a folder, as commented text, and the thin suites beside it.

What is written loads without a problem, and the gate of its first level can open at once: it
asks only for what was there when it was written.

Hides: the wording.
Never: looks at the folder, or writes a file; the command `init` does both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

PARTS_MAX = 20
REVIEW_AFTER = timedelta(days=182)
_RESERVED = frozenset("true false yes no on off y n null nan inf infinity".split())
_NOT_AN_ID = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True)
class Found:
    """What lies in a folder. Paths are relative to it, sorted; `databases` are SQLite files.

    `hints` are compose files and systemd units: they become comments only.
    """

    title: str
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    repository: str = ""  # where the one lies: `.` or a folder
    hints: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()  # each `.git` deeper in a folder: history is git's
    unreadable: tuple[str, ...] = ()  # folders that may not be looked into
    user: str = ""


@dataclass(frozen=True)
class Part:
    """One component of the first declaration."""

    id: str
    path: str
    content: str
    exclude: tuple[str, ...] = field(default=())


def identity(written: str, taken: Iterable[str] = (), *, otherwise: str = "part") -> str:
    """A name that may stand as an id, and is none of `taken`.

    >>> identity("My Shop!"), identity("app", ["app"])
    ('my-shop', 'app-2')
    """
    plain = _NOT_AN_ID.sub("-", written.lower()).strip("-._")[:50] or otherwise
    known = set(taken)
    found, count = plain, 1
    while found in known:
        count += 1
        found = f"{plain}-{count}"
    return found


def parts(found: Found) -> tuple[Part, ...]:
    """The components: databases each for itself, then folders, then single files."""
    made: list[Part] = []

    def add(path: str, content: str, exclude: tuple[str, ...] = ()) -> None:
        name = identity(path.replace("/", "-"), [part.id for part in made])
        made.append(Part(name, path, content, exclude))

    for path in found.databases:
        add(path, "sqlite")
    for folder in found.folders:
        inside = [p.removeprefix(folder + "/") for p in found.databases if _below(p, folder)]
        beside = [end for path in inside for end in (path, *_companions(path))]
        beside += [_escaped(path.removeprefix(folder)) for path in (*found.repositories, *found.unreadable)
                   if _below(path, folder)]  # fmt: skip
        add(folder, "git" if folder == found.repository else "files", tuple(beside))
    for path in found.files:
        add(path, "files")
    return tuple(made)


def declaration(found: Found, today: date) -> str:
    """The text of `rollback.yaml`."""
    made = parts(found)
    who = identity(found.user, otherwise="operator")
    sections = [
        _head(found, today), _components(made, found), _repository(found), _services(found),
        _people(who), _levels(made, found), _checkpoints(), _verification(made), _more(),
    ]  # fmt: skip
    return "\n".join(section for section in sections if section)


def suites() -> dict[str, str]:
    """The files of a thin `verification/`, by path."""
    return {"verification/conftest.py": _CONFTEST, "verification/smoke/test_smoke.py": _SMOKE}


def _below(path: str, folder: str) -> bool:
    return path.startswith(folder + "/")


def _companions(path: str) -> tuple[str, ...]:
    return tuple(path + end for end in ("-journal", "-wal", "-shm"))


def quoted(text: str) -> str:
    """The text as a YAML scalar: bare where that is safe."""
    bare = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text)
    reserved = text.lower() in _RESERVED
    return text if bare and not reserved else json.dumps(text, ensure_ascii=False)


def _head(found: Found, today: date) -> str:
    return f"""\
# What can be rolled back here, how far, by whom, and how it is proved.
# Every key is checked: `rollback validate` names each problem with its line.
schema: 1

system:
  id: {quoted(identity(found.title, otherwise="system"))}
  title: {quoted(found.title)}
  version: 0.1.0 # of this declaration
  date: {today}
  next_review: {today + REVIEW_AFTER}

root: . # everything below is relative to this folder
# state: {{dir: .rollback}}   # the tool's own memory; never part of a component
"""


def _components(made: tuple[Part, ...], found: Found) -> str:
    lines = [
        "# The parts. `files` is a folder or one file; `sqlite` is copied while in use and checked;",
        "# `append-only` (an audit trail, a log) is captured and never written back; `git` is files",
        "# under version control. What no component holds is neither captured nor touched.",
        "components:",
    ]
    for part in made:
        lines.append(f"  {quoted(part.id)}:")
        lines.append(f"    path: {quoted(part.path)}")
        lines.append(f"    content: {part.content}")
        if part.exclude:
            lines.append(f"    exclude: [{', '.join(quoted(one) for one in part.exclude)}]")
    for path in found.unreadable[:PARTS_MAX]:
        lines.append(f"  # could not be looked into, so no part of it: {json.dumps(path)}")
    for path in found.left_out[:PARTS_MAX]:
        lines.append(f"  # not declared: {json.dumps(path)}")
    return "\n".join(lines) + "\n"


def _repository(found: Found) -> str:
    if not found.repository:
        return ""
    return f"""\
# Branches and tags that match `protected` are never moved or pushed by a rollback.
repository:
  path: {quoted(found.repository) if found.repository != "." else "."}
  protected: [main, master]
"""


def _services(found: Found) -> str:
    lines = [
        "# What runs. A service is known by a lock that its process holds, or by its manager:",
        "# never by its name in a process list. `rollback run start` and `rollback run stop` start and",
        "# stop what is declared here: start it before the first seal, whose checks want it to answer.",
        "# `lock` is a file of ours: rollback locks it and hands it down to the program, which must not",
        "# lock that file itself. A program with a lock file of its own gets another one here.",
        "# services:",
        "#   web:",
        "#     manager: registry # or: systemd, compose, supervisor, command",
        '#     argv: [/usr/bin/python3, app/web.py, --port, "8000"]',
        "#     lock: run/web.lock",
        "#     log: logs/web.out",
        "#     ports: [8000]",
        '#     ready: {http: {url: "http://127.0.0.1:8000/health", within: 5s}}',
        "#     components: [app]",
    ]
    for hint in found.hints:
        kind = "systemd" if hint.endswith(".service") else "compose"
        unit = hint if kind == "systemd" else "the name of a service in it"
        lines.append(f"# {json.dumps(hint)} is here: manager: {kind}, unit: {unit}")
    return "\n".join(lines) + "\n"


def _people(who: str) -> str:
    return f"""\
# Who may decide. With a public `key` (ssh-ed25519 …) an approval must be signed with it:
# `rollback approve RUN --key FILE`. Changing people or authority later needs `rollback trust`.
people:
  owner: operator
  roles:
    operator: {{title: Whoever runs this}}
  members:
    - {{id: {quoted(who)}, roles: [operator]}}
"""


def _levels(made: tuple[Part, ...], found: Found) -> str:
    restores = "\n".join(
        f"      - restore: {{id: {quoted(part.id)}, component: {quoted(part.id)}, within: 5m}}"
        for part in made
    )
    text = f"""\
# How far to go back, the smallest first. `mitigated` is the time to the last step, `complete`
# the time until the suites have proved it; both count from the creation of the run.
levels:
  component:
    rank: 0
    title: One component back to its last good checkpoint
    component: required # rollback run component --component NAME
    budgets: {{mitigated: 2m, complete: 5m}}
    data_loss: what this component changed since the checkpoint
    authority: {{roles: [operator], quorum: any, alone: true}} # alone: who asks may also approve
    target: {{sources: [{{checkpoint: last-good}}]}}
    steps:
      # - service: {{id: stop, stop: dependents, within: 20s}}
      - restore: {{id: restore, component: chosen, within: 60s}}
      # - service: {{id: start, start: dependents, within: 30s}}
    gate: {{suites: [smoke]}}

  everything:
    rank: 1
    title: Everything back to the last good checkpoint
    budgets: {{mitigated: 10m, complete: 15m}}
    data_loss: all work since the checkpoint
    authority: {{roles: [operator], quorum: any, alone: true}}
    target: {{sources: [{{checkpoint: last-good}}]}}
    steps:
{restores}
    gate: {{suites: [smoke]}} # COMPLETE needs all of these, green
"""
    if not found.repository:
        return text
    return (
        text
        + """
  code:
    rank: 2
    title: The repository back to the newest release tag
    budgets: {mitigated: 15m, complete: 30m}
    data_loss: commits since the tag; they stay reachable under a saved name
    authority: {roles: [operator], quorum: any, alone: true}
    target: {sources: [{git: "v*"}]} # tags like v1.0.0
    steps:
      - git: {id: branch, branch: "rollback-{date}-{run}", within: 10s}
      - git: {id: reset, reset: target, within: 60s}
    gate: {suites: [smoke]}
"""
    )


def _checkpoints() -> str:
    return """\
# `rollback checkpoint create NAME --seal` takes one and keeps how the suites came out beside it.
checkpoints:
  kinds:
    release: {on: release, components: all, copies: 1, retention: keep}
    safety: {on: rollback, components: all, copies: 1, retention: 30d}
"""


def _verification(made: tuple[Part, ...]) -> str:
    lines = [
        "# Is it well? Each check is read-only unless it says `effects:`. Ask them by hand with",
        "# `rollback verify smoke` or `pytest verification -m smoke`. Those below only see that",
        "# things are there: add what your users would notice.",
        "verification:",
        "  smoke:",
    ]
    for part in made:
        name = quoted(identity(f"{part.id}-there"))
        title = quoted(f"{part.path} is there")
        if part.content == "sqlite":
            lines.append(f"    - sql: {{id: {name}, title: {quoted(part.path + ' is whole')}, "
                         f"database: {quoted(part.path)}, integrity: true, within: 30s}}")  # fmt: skip
        else:
            lines.append(
                f"    - files: {{id: {name}, title: {title}, exists: [{_exactly(part.path)}]}}"
            )
    lines += [
        '    # - http: {id: answers, url: "http://127.0.0.1:8000/health", status: 200, within: 2s}',
        "  # functional: []   # does each part do its work?",
        "  # integration: []  # do the parts work together?",
        "  # performance: []  # is it as fast as before?",
        "  # Your own test files under verification/<suite>/ count at a gate once they are pinned:",
        "  # suites: [{path: verification/smoke/test_smoke.py, sha256: …}]   # sha256sum FILE",
    ]
    return "\n".join(lines) + "\n"


def _exactly(path: str) -> str:
    """The path as a pattern that means only itself."""
    return quoted(_escaped(path))


def _escaped(path: str) -> str:
    """As a pattern; what no declaration can hold stands as so many bytes, whatever they are."""
    held = "".join(c if c.isprintable() and c != "$" else "\0" * len(c.encode("utf-8", "surrogateescape"))
                   for c in path)  # fmt: skip
    return re.sub(r"([*?\[])", r"[\1]", held).replace("\0", "?")


def _more() -> str:
    return """\
# More sections: flags, metrics, triggers, decision, guardrails, notify, drills, redeploy, …
# `rollback validate --schema` prints the whole grammar for your editor.
"""


_CONFTEST = '''\
"""The plugin that turns the declared checks into tests, and reports what they found."""
pytest_plugins = ("rollback.prove.plugin",)
'''

_SMOKE = '''\
"""Is it up? In seconds, changing nothing: pytest verification -m smoke"""


def test_declared(declared):
    """Each smoke check of rollback.yaml answers what is wanted of it."""
    declared.holds()


def test_every_component_is_where_it_is_declared(system, component):
    """An example of a test of your own; `view`, `service`, `http` and `log` are there too."""
    for name in system.components:
        assert component(name).exists(), f"{name} is missing"
'''
