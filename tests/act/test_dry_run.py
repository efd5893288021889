"""The dry run and the real run: what the plan said would change is what a walk of our own sees change.

The walk is written here and knows nothing of the product: names, types, bytes, modes, links, the
rows of a database, and the refs as the git program tells them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act import authorize
from rollback.act.engine import roll_back
from rollback.act.plan import Plan, make_plan
from rollback.act.site import Site
from rollback.host import Host
from rollback.model.errors import Refused
from rollback.model.lifecycle import State
from tests.keep.git_lab import Lab

FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None
TEXT = """
schema: 1
system: {id: box, title: Box, version: 1.0.0, date: 2026-11-20, next_review: 2027-05-20}
root: tree
state: {dir: .rollback}
repository: {path: .}
components:
  app: {path: app, content: git}
  config: {path: config, content: files}
  notes: {path: notes, content: files}
  db: {path: data/box.db, content: sqlite}
  audit: {path: logs/audit.jsonl, content: append-only}
flags:
  party:
    layered: {env_file: {path: .env, key: PARTY}, yaml: {path: config/app.yaml, key: party}, default: true}
people: {owner: op, roles: {op: {title: Operator}}, members: [{id: ada, roles: [op]}]}
verification: {smoke: []}
levels:
"""
LEVEL = """
  {name}:
    rank: {rank}
    title: {name}
    budgets: {{mitigated: 1m, complete: 2m}}
    data_loss: since the checkpoint
    authority: {{roles: [op], alone: true}}
    target: {{sources: [{{checkpoint: good}}]}}
    steps: [{steps}]
"""
LEVELS = {
    "files": "{restore: {component: notes}}",
    "several": "{restore: {component: notes}}, {restore: {component: db}}, {restore: {component: app}}",
    "database": "{restore: {component: db}}",
    "reset": '{git: {branch: "back-{run}"}}, {git: {reset: v1}}, {git: {tag: "gone-{run}"}}',
    "reset-forced": '{git: {branch: "back-{run}"}}, {git: {reset: v1, force: true}}',
    "revert": '{git: {branch: "back-{run}"}}, {git: {revert: {matching: "^release 2"}}}',
    "paths": '{restore: {component: app, from: "git:v1"}}',
    "settings": "{flag: {flag: party, set: false}}, {edit: {file: config/limits.json, key: limit, value: 3}},"
    ' {edit: {file: config/words.txt, drop_lines: "party"}}',
    "unset": "{flag: {flag: party, unset: true}}",
    "over": "{restore: {component: config}}, {flag: {flag: party, set: false, layer: yaml}},"
    " {edit: {file: config/limits.json, key: limit, value: 3}}",
    "over-again": "{edit: {file: config/limits.json, key: limit, value: 3}}, {restore: {component: config}}",
    "mixed": '{restore: {component: db}}, {restore: {component: app, from: "git:v1"}},'
    " {restore: {component: notes}}, {flag: {flag: party, set: true, layer: env}},"
    " {edit: {file: config/limits.json, key: limit, remove: true}},"
    ' {git: {branch: "back-{run}"}}, {git: {commit: {paths: [app, config], message: "back"}}}',
}

# -- what stands there -----------------------------------------------------------------------

PATHS = ("a", "b", "d/x", "d/e/y", "long name")
leaves = st.one_of(
    st.none(),
    st.tuples(st.sampled_from([b"", b"one\n", b"two\n", b"a\r\nb\n"]), st.sampled_from([0o644, 0o755])),
    st.tuples(st.just("link"), st.sampled_from(["a", "nowhere", "d"])),
)  # fmt: skip
trees = st.fixed_dictionaries(dict.fromkeys(PATHS, leaves))
rows = st.dictionaries(st.integers(1, 6), st.sampled_from(["x", "X", "", "7"]), max_size=4)
settings_of = st.fixed_dictionaries({
    ".env": st.sampled_from([None, b"A=1\nPARTY=true\n", b"PARTY=false\n", b"A=1\n"]),
    "config/app.yaml": st.sampled_from([b"party: true\nlimit: 3\n", b"party: false\n", b"limit: 3\n"]),
    "config/limits.json": st.sampled_from([b'{"limit": 3, "b": 1}\n', b'{"limit": 99}\n', b'{"b": 1}\n']),
    "config/words.txt": st.sampled_from([b"one\nparty\ntwo\nparty\n", b"one\n"]),
})  # fmt: skip


@dataclass
class World:
    """A declared system in a folder of its own."""

    folder: Path
    lab: Lab = field(init=False)

    def __post_init__(self) -> None:
        self.tree = self.folder / "tree"
        for name in ("app", "config", "notes", "data", "logs"):
            (self.tree / name).mkdir(parents=True)
        self.lab = Lab(self.tree)
        shutil.rmtree(self.tree / ".rollback")
        levels = [
            LEVEL.format(name=name, rank=rank, steps=steps)
            for rank, (name, steps) in enumerate(LEVELS.items(), start=1)
        ]
        (self.folder / "rollback.yaml").write_text(TEXT + "".join(levels))
        (self.tree / ".gitignore").write_text("data/\nnotes/\n*.tmp\n")
        (self.tree / "logs" / "audit.jsonl").write_text("{}\n")

    def put(self, where: str, spec: dict[str, Any]) -> None:
        """Exactly these files and links stand there."""
        base = self.tree / where
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir()
        (base / "stays").write_text("as it is")
        for name, leaf in spec.items():
            if leaf is None:
                continue
            path = base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if leaf[0] == "link":
                path.symlink_to(leaf[1])
                continue
            path.write_bytes(leaf[0])
            path.chmod(leaf[1])

    def write(self, files: dict[str, bytes | None]) -> None:
        for name, data in files.items():
            path = self.tree / name
            if data is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(data)

    def fill(self, table: dict[int, str]) -> None:
        """The database holds these rows."""
        with closing(sqlite3.connect(self.tree / "data" / "box.db")) as db:
            db.execute(
                "create table if not exists t (id integer primary key, v text collate nocase)"
            )
            for key, value in table.items():
                db.execute("insert into t values (?, ?) on conflict do update set v = excluded.v",
                           (key, value))  # fmt: skip
            for (key,) in db.execute("select id from t").fetchall():
                if key not in table:
                    db.execute("delete from t where id = ?", (key,))
            db.commit()

    @contextmanager
    def site(self) -> Iterator[Site]:
        with Site.open(declare.load(self.folder / "rollback.yaml"), Host()) as site:
            yield site

    def rows(self) -> set[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.tree / "data" / "box.db")) as db:
            return set(db.execute("select id, v, typeof(v) from t"))

    def refs(self) -> dict[str, str]:
        """Branches and tags as the git program tells them, and what HEAD is."""
        said = self.lab.git(
            "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags"
        )
        found = dict(line.split(" ") for line in said.splitlines())
        return {**found, "HEAD": self.lab.git("symbolic-ref", "HEAD")}


@contextmanager
def world() -> Iterator[World]:
    folder = Path(tempfile.mkdtemp(dir=FAST, prefix="dry-run-"))
    try:
        yield World(folder)
    finally:
        shutil.rmtree(folder)


Seen = tuple[str, str, int, int]  # type, bytes or target, mode, time


def walked(top: Path) -> dict[str, Seen]:
    """Everything below the root but git's own, by our own eyes."""
    found: dict[str, Seen] = {}
    for folder, names, files in os.walk(top):
        if ".git" in names:
            names.remove(".git")
        for name in (*names, *files):
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            kind = "link" if stat.S_ISLNK(seen.st_mode) else (
                "folder" if stat.S_ISDIR(seen.st_mode) else "file")  # fmt: skip
            holds = ""
            if kind == "link":
                holds = os.readlink(path)
                if name in names:
                    names.remove(name)
            elif kind == "file":
                with open(path, "rb") as file:
                    holds = hashlib.sha256(file.read()).hexdigest()
            mode = 0 if kind == "link" else stat.S_IMODE(seen.st_mode)
            found[os.path.relpath(path, top)] = (kind, holds, mode, seen.st_mtime_ns)
    return found


def happened(before: dict[str, Seen], after: dict[str, Seen]) -> dict[str, str]:
    """What became of each file and link: + came, - went, ~ other bytes, % other mode or time."""
    found: dict[str, str] = {}
    leaves = [{p: s for p, s in walk.items() if s[0] != "folder"} for walk in (before, after)]
    for path in leaves[0].keys() | leaves[1].keys():
        one, other = leaves[0].get(path), leaves[1].get(path)
        if one is None:
            found[path] = "+"
        elif other is None:
            found[path] = "-"
        elif one[:2] != other[:2]:
            found[path] = "~"
        elif one[2:] != other[2:]:
            found[path] = "%"
    return found


def said(plan: Plan, before: dict[str, Seen], after: dict[str, Seen]) -> dict[str, list[str]]:
    """What the steps say becomes of each file and link, in their order; folders by what they hold."""
    found: dict[str, list[str]] = {}

    def leaf(path: str, sign: str) -> None:
        found.setdefault(path, []).append(sign)

    for step in plan.steps:
        lines: Any = step.bound.get("lines", [])
        for line in lines:
            sign, path = line[0], line[2:].split("  (")[0]
            was, becomes = before.get(path, ("",))[0], after.get(path, ("",))[0]
            if was == "folder" and (sign == "-" or (sign == "~" and becomes != "folder")):
                for one, seen in before.items():
                    if one.startswith(f"{path}/") and seen[0] != "folder":
                        leaf(one, "-")
                if sign == "~":
                    leaf(path, "+")
            elif becomes == "folder" and sign in "+%":
                assert before.get(path) != after[path], f"{line}: it is as it was"
            elif becomes == "folder" and sign == "~":
                leaf(path, "-")
            else:
                leaf(path, sign)
    return found


def carried_out(made: World, level: str) -> tuple[Plan, dict[str, Seen], dict[str, Seen]]:
    """The plan, and the walks before and after its run."""
    with made.site() as site:
        before, refs, table = walked(made.tree), made.refs(), made.rows()
        plan = make_plan(site, level, run=authorize.next_run_id(site), requester="ada")
        assert (walked(made.tree), made.refs(), made.rows()) == (before, refs, table)
        run = authorize.create(site, plan)
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
        assert run.state is State.MITIGATED, run.reason
    after = walked(made.tree)
    assert_refs(plan, refs, made)
    assert_rows(plan, table, made.rows())
    return plan, before, after


def assert_refs(plan: Plan, before: dict[str, str], made: World) -> None:
    """Branches and tags that were said, at the commits that were said; no other moved."""
    wanted = dict(before)
    head = before["HEAD"]
    for step in plan.steps:
        if step.parameters.get("branch"):
            wanted[f"refs/heads/{step.bound['name']}"] = wanted[head]
            head = f"refs/heads/{step.bound['name']}"
        elif "to" in step.bound:
            wanted[head] = str(step.bound["to"])
        elif step.parameters.get("tag"):
            wanted[f"refs/tags/{step.bound['name']}"] = wanted[head]
        elif step.parameters.get("commit"):
            wanted[head] = made.refs()[head]  # its time is not known before
    assert made.refs() == {**wanted, "HEAD": head}


def assert_rows(plan: Plan, before: set[Any], after: set[Any]) -> None:
    """The rows that were said to be lost and to come back, by a dump of the table."""
    tables: Any = plan.impact["rows"]
    found = {one["table"]: (one["now"], one["then"], one["lost"], one["back"])
             for one in tables.get("db", ())}  # fmt: skip
    wanted = (len(before), len(after), len(before - after), len(after - before))
    assert found == ({"t": wanted} if before != after else {})


def assert_said(made: World, level: str) -> Plan:
    """Path by path and kind by kind; a path that two steps change is said to be such a one."""
    plan, before, after = carried_out(made, level)
    told, real = said(plan, before, after), happened(before, after)
    says = [line for step in plan.steps for line in step.says]
    twice = re.findall(r"! step \d+ changes (\S+) before", "\n".join(says))

    def once(found: dict[str, str]) -> dict[str, str]:
        return {path: sign for path, sign in found.items()
                if not any(path == at or path.startswith(f"{at}/") for at in twice)}  # fmt: skip

    assert once({path: "".join(signs) for path, signs in told.items()}) == once(real), says
    gone = {p for p in before if p not in after and before[p][0] == "folder"}
    held = {os.path.dirname(path) for path in real} | {os.path.dirname(p) for p in gone}
    assert all(path in held or any(f"- {path}" == line for line in says) for path in gone), gone
    for path in before.keys() & after.keys():
        if before[path][0] == "folder" == after[path][0] and before[path][2] != after[path][2]:
            assert any(line.startswith(f"% {path}") for line in says), path
    return plan


# -- the property ----------------------------------------------------------------------------

slow = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("level", [*LEVELS])
@slow
@given(data=st.data())
def test_what_a_plan_says_is_what_a_walk_sees(level: str, data: st.DataObject) -> None:
    """Files, git, a database, a flag and edits, alone and together; rows and refs too.

    What somebody has changed and not committed is said, or nothing is done at all.
    """
    then, second, now = (data.draw(trees, label=name) for name in ("then", "second", "now"))
    notes, notes_now = data.draw(trees, label="notes"), data.draw(trees, label="notes now")
    rows_then, rows_now = data.draw(rows, label="rows"), data.draw(rows, label="rows now")
    files, files_second, files_now = (
        data.draw(settings_of, label=f"settings {name}") for name in ("then", "second", "now")
    )
    committed = data.draw(st.booleans(), label="committed")
    with world() as made:
        made.put("app", then)
        made.put("notes", notes)
        made.write(files)
        made.fill(rows_then)
        made.lab.commit("base")
        made.lab.git("tag", "v1")
        with made.site() as site:
            site.checkpoints.create("good")
        made.put("app", second)
        made.write(files_second)
        (made.tree / "logs" / "audit.jsonl").write_text("{}\n{}\n")
        made.lab.git("add", "-A")
        made.lab.git("commit", "-q", "--allow-empty", "-m", "release 2.0")
        (made.tree / "logs" / "audit.jsonl").write_text("{}\n{}\n{}\n")
        if not committed:
            made.put("app", now)
            made.write(files_now)
        (made.tree / "app" / "mine.tmp").write_text("of somebody")
        made.put("notes", notes_now)
        made.fill(rows_now)
        before = walked(made.tree)
        try:
            plan = assert_said(made, level)
        except Refused:
            assert walked(made.tree) == before
            assert not committed
            return
        assert (made.tree / "app" / "mine.tmp").exists() or "app" in str(
            [step.says for step in plan.steps])  # fmt: skip
