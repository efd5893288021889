"""Recovery: a corrupted component is repaired rung by rung, lost work comes back by priority."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import stat
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollback import declare
from rollback.act import authorize, proving, recovery
from rollback.act.engine import advance, resting, roll_back
from rollback.act.keeping import schedule, slice_bytes, take_due
from rollback.act.plan import Plan, plan_of
from rollback.act.site import Site
from rollback.act.stopping import answer
from rollback.host import Clock, Host
from rollback.keep import frozen
from rollback.keep.contents import sqlite
from rollback.keep.rebuild import from_log
from rollback.model.errors import HostError, PlanError
from rollback.model.lifecycle import Run, State
from tests.cli.program import rollback
from tests.killed import KILL_EVERY, KILLED, CountingTap, DyingTap, in_child, shots

DECLARATION = """
schema: 1
system: {id: box, title: Box, version: 1.0.0, date: 2026-11-20, next_review: 2027-05-20}
root: tree
state: {dir: .rollback}
components:
  state:
    path: data/state.db
    content: sqlite
    order: 2
    transaction_log:
      path: data/log.jsonl
      table: work
      fields: {transaction: tx, sequence: n}
    usable: [state-whole]
    REPAIR
  log: {path: data/log.jsonl, content: append-only, order: 1}
  plain: {path: data/plain.txt, content: files}
people: {owner: op, roles: {op: {title: Operator}}, members: [{id: ada, roles: [op]}]}
verification:
  smoke:
    - sql:
        id: state-whole
        database: data/state.db
        integrity: true
        query: select count(*) from work
        above: 0
levels:
  only:
    rank: 1
    title: Only
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [op], quorum: any, alone: true}
    steps: [{restore: {component: state}}]
    target: {sources: [{checkpoint: newest}]}
"""


class Box:
    """A database and the log that is written before each change of it."""

    def __init__(self, folder: Path, repair: str = "") -> None:
        self.folder = folder
        self.data = folder / "tree" / "data"
        self.data.mkdir(parents=True)
        (folder / "rollback.yaml").write_text(DECLARATION.replace("REPAIR", repair))
        self.number = 0
        (self.data / "plain.txt").write_text("plain\n")
        with closing(self.db()) as db:
            db.execute("create table work (id integer primary key, state text)")
            db.commit()
        self.do(1, "set", 1, {"state": "open"})
        self.do(2, "set", 2, {"state": "open"})

    @property
    def state(self) -> Path:
        return self.data / "state.db"

    def db(self) -> sqlite3.Connection:
        return sqlite3.connect(self.state)

    def log(self, **record: Any) -> None:
        self.number += 1
        with (self.data / "log.jsonl").open("a") as file:
            file.write(json.dumps({"n": self.number, **record}) + "\n")

    def do(self, tx: int, op: str, key: int, value: Any = None, *, commit: bool = True) -> None:
        """Logged, and done where it is committed."""
        self.log(tx=tx, op=op, key=key, value=value)
        if not commit:
            return
        self.log(tx=tx, op="commit")
        with closing(self.db()) as db:
            db.execute("delete from work where id = ?", (key,))
            if op == "set":
                db.execute("insert into work values (?, ?)", (key, value["state"]))
            db.commit()

    def rows(self) -> list[Any]:
        with closing(self.db()) as db:
            return db.execute("select id, state from work order by id").fetchall()

    def site(self, host: Host | None = None) -> Site:
        return Site.open(declare.load(self.folder / "rollback.yaml"), host or Host())

    def since(self) -> None:
        """A checkpoint, then work that only the log and the database know."""
        with self.site() as site:
            site.checkpoints.create("good")
        self.do(3, "set", 2, {"state": "done"})
        self.do(4, "set", 3, {"state": "new"})
        self.do(5, "delete", 1)
        self.do(6, "set", 9, {"state": "never"}, commit=False)

    def lose(self) -> None:
        """Nobody logged it: rows are other ones."""
        with closing(self.db()) as db:
            db.execute("update work set state = 'garbage'")
            db.commit()


NOW = [(2, "done"), (3, "new")]
THEN = [(1, "open"), (2, "open")]


def started(site: Site, plan: Plan) -> Run:
    run = authorize.create(site, plan)
    authorize.approve(site, run, person="ada")
    return roll_back(site, run.id)


def work(site: Site, priority: recovery.Priority, **more: Any) -> Plan:
    return recovery.lost_work(
        site, "state", priority=priority, to="", run=authorize.next_run_id(site), requester="ada",
        reason="", **more,
    )  # fmt: skip


def repaired(site: Site, component: str = "state") -> Plan:
    return recovery.corrupted(
        site, component, to="", run=authorize.next_run_id(site), requester="ada", reason=""
    )


def index_of(run: Run, step: str) -> str:
    """The number of a step of the run's plan."""
    return next(one.index for one in plan_of(run).every_step() if one.id == step)


def kinds_of(site: Site, run: Run) -> list[tuple[str, str]]:
    return [(event.kind, str(event.data.get("index"))) for event in site.journal.events()
            if event.run == run.id and event.kind.startswith("step.")]  # fmt: skip


@pytest.mark.requirement("MB-51")
def test_the_priority_chooses_what_is_tried_first() -> None:
    """A person is the last in each, and never the first."""
    first = {priority: ladder[0] for priority, ladder in recovery.LADDERS.items()}
    assert first == {"time": "checkpoint", "balanced": "log", "quality": "trail"}


@pytest.mark.requirement("MB-47")
def test_with_time_first_the_checkpoint_comes_back_and_what_is_lost_is_named(
    tmp_path: Path,
) -> None:
    """Work since the checkpoint is behind the log, item by item."""
    box = Box(tmp_path)
    box.since()
    box.lose()
    with box.site() as site:
        run = started(site, work(site, "time"))
        assert run.state is State.MITIGATED, run.reason
        assert box.rows() == THEN
        behind = run.steps["1"].evidence["behind"]
        assert behind == ["work[1]", "work[2]", "work[3]"]


@pytest.mark.requirement("MB-48", "MB-50")
def test_from_the_logs_hardly_anything_is_lost_and_the_rest_is_a_question(tmp_path: Path) -> None:
    """The open transaction is in no state: it lies in the salvage, and the run waits for a person."""
    box = Box(tmp_path)
    box.since()
    box.lose()
    with box.site() as site:
        run = started(site, work(site, "balanced"))
        assert box.rows() == NOW, str(run.steps["1"].evidence)[-900:]
        assert run.state is State.WAITING
        assert run.waiting_for["item"] == "salvage"
        assert "could not be rebuilt" in str(run.waiting_for["what"])
        salvage = run.steps["1"].evidence["salvage"]
        assert isinstance(salvage, list)
        left = [json.loads(line) for line in
                (tmp_path / ".rollback" / str(salvage[0])).read_text().splitlines()]  # fmt: skip
        assert [one["why"] for one in left] == ["transaction 6 is open",
                                                "of the open transaction 6"]  # fmt: skip
        assert json.loads(left[1]["text"])["key"] == 9
        opened = [e for e in site.journal.events() if e.kind == "task.opened"]
        assert opened[0].data["salvage"] == salvage
        assert roll_back(site, run.id).state is State.WAITING
        answer(site, site.run(run.id), item="salvage", text="not yet", by="ada")
        assert roll_back(site, run.id).state is State.WAITING
        answer(site, site.run(run.id), item="salvage", text="done, by hand", by="ada")
        assert roll_back(site, run.id).state is State.MITIGATED
        assert len([e for e in site.journal.events() if e.kind == "task.opened"]) == 1


def test_what_a_log_replaces_is_kept_whole_and_not_under_somebody_who_has_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a checkpoint is put back: a database is swapped in one way only."""
    monkeypatch.setattr(sqlite, "DRAIN_S", 0.2)
    box = Box(tmp_path)
    box.since()
    box.lose()
    lost = box.rows()
    with box.site() as site, site.checkpoints as kept:
        with closing(box.db()), pytest.raises(HostError, match="in use"):
            from_log(kept, site.system, "state", "good", step="x")
        from_log(kept, site.system, "state", "good", step="x")
    assert box.rows() == NOW
    (old,) = (tmp_path / ".rollback/quarantine/x/kept").iterdir()
    assert old.name.startswith("state.db_old_")
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("select id, state from work order by id").fetchall() == lost


@pytest.mark.requirement("MB-49", "MB-64")
def test_from_the_trail_alone_everything_committed_comes_back(tmp_path: Path) -> None:
    """No checkpoint is used, and none is there; the state is gone altogether."""
    box = Box(tmp_path)
    box.do(3, "set", 2, {"state": "done"})
    wanted = box.rows()
    box.state.unlink()
    with box.site() as site:
        run = started(site, work(site, "quality"))
        assert run.state is State.MITIGATED, run.reason
        assert run.plan["target"]["id"] == ""  # type: ignore[index,call-overload]
    assert box.rows() == wanted


@pytest.mark.parametrize("priority", ["time", "balanced", "quality"])
def test_without_a_checkpoint_lost_work_comes_from_the_log_whatever_matters_most(
    tmp_path: Path, priority: recovery.Priority
) -> None:
    """A declared log is something to make it from; nothing says that there is none."""
    box = Box(tmp_path)
    box.do(3, "set", 2, {"state": "done"})
    wanted = box.rows()
    box.lose()
    with box.site() as site:
        plan = work(site, priority)
        assert [step.parameters["by"] for step in plan.steps if step.kind == "repair"] == ["trail"]
        assert started(site, plan).state is State.MITIGATED
    assert box.rows() == wanted


def test_without_a_checkpoint_corrupted_state_is_made_from_the_log(tmp_path: Path) -> None:
    """The last rung before a person; the program comes before it where there is one."""
    box = Box(tmp_path)
    wanted = box.rows()
    box.lose()
    with box.site() as site:
        run = started(site, repaired(site))
        assert run.state is State.MITIGATED, run.reason
    assert box.rows() == wanted


NOBODY = 65534


def as_nobody(path: Path) -> dict[str, bool]:
    """Whether somebody who is neither root nor the owner may read the file, and write to it."""
    found = {}
    for word, flags in (("read", os.O_RDONLY), ("write", os.O_WRONLY | os.O_APPEND)):

        def attempt(flags: int = flags) -> None:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.close(os.open(path, flags))

        found[word] = in_child(attempt) == 0
    return found


@pytest.fixture
def open_box(tmp_path: Path) -> Iterator[Box]:
    """A box that everybody on the machine may read and write."""
    program = f'repair: ["{sys.executable}", -c, "import sys; sys.exit(3)"]'
    folder = Path(tempfile.mkdtemp(prefix="box-", dir="/tmp"))
    box = Box(folder, program)
    for path in (folder, folder / "tree", box.data):
        path.chmod(0o755)
    box.since()
    box.lose()
    box.state.chmod(0o666)
    yield box
    shutil.rmtree(folder)


@pytest.mark.requirement("MB-42")
def test_corrupted_state_is_kept_aside_and_nobody_else_touches_it_until_it_is_good(
    open_box: Box,
) -> None:
    """Byte for byte, before anything is tried; others neither read nor write it meanwhile."""
    box = open_box
    assert as_nobody(box.state) == {"read": True, "write": True}
    bad = box.state.read_bytes()
    with box.site() as site:
        run = authorize.create(site, repaired(site))
        authorize.approve(site, run, person="ada")
        run = site.run(run.id)
        seen = []
        while not resting(site, run):
            run = advance(site, run)
            seen.append((dict(run.steps), as_nobody(box.state)))
        assert run.state is State.MITIGATED, run.reason
        aside = run.steps[index_of(run, "isolate")].evidence
        closed, thawed = index_of(run, "read-only"), index_of(run, "thaw")
        between = [may for steps, may in seen if closed in steps
                   and steps[closed].status == "ended" and thawed not in steps]  # fmt: skip
        assert between
        assert all(may == {"read": False, "write": False} for may in between)
        first = index_of(run, "by-program")
        assert all(index_of(run, "isolate") in steps for steps, _ in seen if first in steps)
    kept = box.folder / ".rollback/quarantine" / str(aside["quarantine"]) / "kept/data/state.db"
    assert kept.read_bytes() == bad
    about = json.loads((box.folder / ".rollback" / str(aside["about"])).read_text())
    assert about["items"] == {"data/state.db": hashlib.sha256(bad).hexdigest()}
    assert stat.S_IMODE(box.state.stat().st_mode) == 0o644, "as it was captured"
    assert box.rows() == THEN


def test_who_is_not_root_can_repair_what_is_closed_to_others(tmp_path: Path) -> None:
    """Its owner keeps the right to write; everybody else has none until it is good again."""
    warm = Box(tmp_path / "warm")
    warm.since()
    warm.lose()
    with warm.site() as site:
        assert started(site, repaired(site)).state is State.MITIGATED  # and everything is imported
    folder = Path(tempfile.mkdtemp(prefix="box-", dir="/tmp"))
    box = Box(folder)
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)

    def in_process(scene: Any, suite: Any, level: str) -> dict[str, Any]:
        names, _ = proving.asked_in(scene, suite)
        found, bad = proving.ask_each(scene, names, level)
        assert not bad, bad
        return {key: one.evidence for key, one in found.items()}

    def as_its_owner() -> None:
        # the interpreter may lie in a folder that only root can enter: no child of this user starts
        proving.ask_suite = in_process
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        box.since()
        box.lose()
        box.state.chmod(0o666)
        with box.site() as site:
            run = authorize.create(site, repaired(site))
            authorize.approve(site, run, person="ada")
            run = site.run(run.id)
            closed = index_of(run, "read-only")
            while not resting(site, run):
                run = advance(site, run)
                if closed in run.steps and run.steps[closed].status == "ended" and (
                    index_of(run, "thaw") not in run.steps
                ):  # fmt: skip
                    assert stat.S_IMODE(box.state.stat().st_mode) & 0o077 == 0
            assert run.state is State.MITIGATED, (run.reason, run.steps)
            assert frozen.names(site.state.tree) == ()

    try:
        assert in_child(as_its_owner) == 0
        assert stat.S_IMODE(box.state.stat().st_mode) == 0o644
        assert box.rows() == THEN
    finally:
        shutil.rmtree(folder)


def test_a_run_that_is_taken_back_gives_the_component_free(open_box: Box) -> None:
    """Garbage and rights are what they were."""
    box = open_box
    garbage, mode = box.rows(), box.state.stat().st_mode
    with box.site() as site:
        run = started(site, repaired(site))
        assert run.state is State.MITIGATED
        assert frozen.read(site.state.tree, "state") is None
    done = rollback(box.folder, "undo", run.id, "--yes")
    assert done.status == 0, done
    assert (box.rows(), box.state.stat().st_mode) == (garbage, mode)


def test_what_was_left_frozen_can_be_thawed_by_anybody_who_may(open_box: Box) -> None:
    """A run that is left as it is leaves the component frozen, which status says, and how to end it."""
    box = open_box
    (box.data / "log.jsonl").write_text("rewritten\n")
    with box.site() as site:
        plan = repaired(site)
        stopping = replace(plan, steps=tuple(
            replace(one, alternatives=(), ladder=False, otherwise="person") if one.kind == "repair"
            else one for one in plan.steps))  # fmt: skip
        assert started(site, stopping).state is State.NEEDS_OPERATOR
    assert rollback(box.folder, "abort", "r0001", "--as-it-is").status == 0
    said = rollback(box.folder, "status")
    assert "state is frozen by run r0001" in said.out
    assert "rollback run thaw" in said.out
    assert as_nobody(box.state)["write"] is False
    assert rollback(box.folder, "run", "thaw", "--yes").status == 0
    assert as_nobody(box.state) == {"read": True, "write": True}
    assert "frozen" not in rollback(box.folder, "status").out


@pytest.mark.requirement("MB-44", "MB-43", "MB-45")
def test_corrupted_state_is_repaired_rung_by_rung(tmp_path: Path) -> None:
    """The program says it worked and did not: nobody vouches for what is there. Next: checkpoint."""
    program = f'repair: ["{sys.executable}", -c, pass]'
    box = Box(tmp_path, program)
    box.since()
    box.lose()
    with box.site() as site:
        run = started(site, repaired(site))
        assert run.state is State.MITIGATED, [str(s.evidence)[-300:] for s in run.steps.values()]
        assert box.rows() == THEN
        ladder = index_of(run, "by-program")
        assert [one for one in kinds_of(site, run) if one[1].startswith(ladder)] == [
            ("step.began", ladder), ("step.failed", ladder),
            ("step.began", f"{ladder}.1"), ("step.ended", f"{ladder}.1"),
        ]  # fmt: skip
        assert "nor log vouches for" in str(run.steps[ladder].evidence["error"])
        seen = run.steps[index_of(run, "diagnose")].evidence
        assert seen["differs"] == ["work[1]", "work[2]", "work[3]"]
        assert seen["cause"] == "changed by something that the transaction log knows nothing of"
        found = run.steps[index_of(run, "validate")].evidence
        assert found["sources"] == ["checkpoint", "log"]
        assert found["nobody"] == []
        assert found["behind"] == ["work[1]", "work[2]", "work[3]"]
        tasks = {e.data["name"]: e.data for e in site.journal.events() if e.kind == "task.opened"}
        assert tasks["validate"]["items"] == {"checkpoint": ["work[1]", "work[2]", "work[3]"]}


PREVENTION = """
monitor: {tightening: {checkpoints: 0.5, lasts: 7d}}
prevention:
  - {id: digests, title: Digests of every table, on: corruption}
  - {id: training, title: People are trained}
checkpoints:
  kinds: {hours: {on: schedule, every: 2h, components: [state], retention: 7d}}
"""


class Ahead(Clock):
    """The machine's clocks, moved by a test."""

    ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)


@pytest.mark.requirement("MB-46")
def test_after_a_corruption_checkpoints_come_closer_more_is_read_and_somebody_acts(
    tmp_path: Path,
) -> None:
    """Half the interval and twice the slice, for a week; cause and practice stand in the journal."""
    box = Box(tmp_path)
    file = tmp_path / "rollback.yaml"
    file.write_text(file.read_text() + PREVENTION)
    clock = Ahead()
    box.since()
    with box.site(Host(clock=clock)) as site:
        assert len(take_due(site).made) == 1
        plain = slice_bytes(site)
        box.lose()
        run = started(site, repaired(site))
        assert run.state is State.MITIGATED, run.reason
        clock.ahead_s = 3600.0
        (one,) = schedule(site)
        assert one.due
        assert one.every_s == 3600.0
        assert one.closer.startswith(f"run {run.id} found state corrupted, until ")
        assert slice_bytes(site) == 2 * plain
        assert len(take_due(site).made) == 1
        told = next(e.data for e in site.journal.events() if e.kind == "prevention.begun")
        assert told["cause"] == "changed by something that the transaction log knows nothing of"
        assert told["repaired_by"] == "checkpoint"
        assert told["practices"] == ["Digests of every table"]
        task = next(e.data for e in site.journal.events()
                    if e.kind == "task.opened" and e.data["name"] == "prevent")  # fmt: skip
        assert "better handling of errors; as declared: Digests of every table" in str(
            task["title"]
        )
        assert task["owner"] == "op"
        clock.ahead_s = 8 * 86400.0
        (one,) = schedule(site)
        assert (one.every_s, one.closer) == (7200.0, "")


@pytest.mark.requirement("MB-46")
def test_a_target_whose_checks_say_no_while_they_say_yes_to_another_is_never_gone_back_to(
    tmp_path: Path,
) -> None:
    """The newest checkpoint was taken of a state that no check accepts; the log makes a good one."""
    box = Box(tmp_path)
    box.do(3, "delete", 1)
    box.do(4, "delete", 2)
    with box.site() as site:
        bad = site.checkpoints.create("empty").id
        box.do(5, "set", 7, {"state": "open"})
        box.lose()
        run = started(site, repaired(site))
        assert run.state is State.MITIGATED, [str(s.evidence)[-300:] for s in run.steps.values()]
        assert box.rows() == [(7, "open")]
        assert site.checkpoints.get(bad).revoked.startswith(f"revoked by run {run.id}")
        assert repaired(site).target.id != bad
        told = next(e.data for e in site.journal.events() if e.kind == "prevention.begun")
        assert told["revoked"] == bad
        assert [e.data["checkpoint"] for e in site.journal.events()
                if e.kind == "checkpoint.revoked"] == [bad]  # fmt: skip


def test_a_check_that_says_no_to_everything_revokes_nothing(tmp_path: Path) -> None:
    """A person made it good in the end; whether the check was right about the target, nobody knows."""
    box = Box(tmp_path)
    file = tmp_path / "rollback.yaml"
    box.since()
    file.write_text(file.read_text().replace("above: 0", "above: 5"))
    box.lose()
    with box.site() as site:
        run = started(site, repaired(site))
        assert run.state is State.WAITING
        with closing(box.db()) as db:
            db.executemany("insert into work values (?, 'new')", [(n,) for n in range(10, 20)])
            db.commit()
        answer(site, run, item="by-hand", text="done", by="ada")
        run = roll_back(site, run.id)
        assert run.state is State.MITIGATED, run.reason
        assert site.checkpoints.get("good").revoked == ""
        told = next(e.data for e in site.journal.events() if e.kind == "prevention.begun")
        assert told["repaired_by"] == "a person"
        assert told["revoked"] == ""


@pytest.mark.requirement("MB-45")
def test_where_only_one_source_vouches_for_it_a_person_is_told_which_items(tmp_path: Path) -> None:
    """Work since the checkpoint stands in the log alone; what is as then and as logged is no matter."""
    box = Box(tmp_path, f'repair: ["{sys.executable}", -c, pass]')
    box.do(3, "set", 4, {"state": "open"})
    with box.site() as site:
        site.checkpoints.create("good")
        box.do(5, "set", 2, {"state": "done"})
        run = started(site, repaired(site))
        assert run.state is State.MITIGATED, run.reason
        told = {e.data["name"]: e.data for e in site.journal.events() if e.kind == "task.opened"}
        assert told["validate"]["items"] == {"log": ["work[2]"]}
        assert "work[2] (the log alone)" in str(told["validate"]["title"])
        assert run.steps[index_of(run, "validate")].evidence["both"] == 2


def test_without_a_log_everything_has_one_source_and_that_is_said(tmp_path: Path) -> None:
    """A checkpoint alone is no two sources."""
    box = Box(tmp_path)
    with box.site() as site:
        site.checkpoints.create("good")
        (box.data / "plain.txt").write_text("garbage\n")
        run = started(site, repaired(site, "plain"))
        assert run.state is State.MITIGATED, run.reason
        assert (box.data / "plain.txt").read_text() == "plain\n"
        told = {e.data["name"]: e.data for e in site.journal.events() if e.kind == "task.opened"}
        assert told["validate"]["items"] == {"checkpoint": ["."]}


def test_what_was_kept_before_a_risky_command_or_never_proved_is_not_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest that the suites proved comes first, however much came after it."""
    box = Box(tmp_path)
    box.since()
    box.lose()
    with box.site() as site:
        good = site.checkpoints.get("good").id
        site.checkpoints.create("before-r0007", kind="risky")
        assert repaired(site).target.id == good
        later = site.checkpoints.create("later")
        assert repaired(site).target.id == later.id
        monkeypatch.setattr(recovery, "sealed_as", lambda _site, one: (
            "green" if one.id == good else "unsealed"))  # fmt: skip
        assert repaired(site).target.id == good


@pytest.mark.requirement("MB-44", "MB-50")
def test_when_no_rung_holds_a_person_is_asked_and_the_run_waits(tmp_path: Path) -> None:
    """No program, the checkpoint's packs are gone, the log was rewritten; then it is done by hand."""
    box = Box(tmp_path)
    box.since()
    with box.site() as site:
        plan = repaired(site)
        run = authorize.create(site, plan)
        authorize.approve(site, run, person="ada")
        box.lose()
        (box.data / "log.jsonl").write_text("rewritten\n")
        for pack in (tmp_path / ".rollback/store/packs").iterdir():
            os.chmod(pack, 0o600)
            data = bytearray(pack.read_bytes())
            (index,) = struct.unpack("<Q", data[-56:-48])
            data[64:index] = bytes(index - 64)
            pack.write_bytes(data)
        run = roll_back(site, run.id)
        assert run.state is State.WAITING
        assert str(run.waiting_for["what"]).startswith("Rebuild state by hand")
        first = index_of(run, "by-checkpoint")
        assert kinds_of(site, run)[-5:] == [
            ("step.began", first), ("step.failed", first), ("step.began", f"{first}.1"),
            ("step.failed", f"{first}.1"), ("step.began", f"{first}.2"),
        ]  # fmt: skip
        answer(site, run, item="by-hand", text="done", by="ada")
        run = roll_back(site, run.id)
        assert run.state is State.MITIGATED
        assert "Look at what nobody vouches for in state" in str(
            [e.data for e in site.journal.events() if e.kind == "task.opened"])  # fmt: skip


def test_an_undo_takes_the_repair_back(tmp_path: Path) -> None:
    """What stood there before, garbage and all, is the safety checkpoint."""
    box = Box(tmp_path)
    box.since()
    box.lose()
    garbage = box.rows()
    with box.site() as site:
        plan = work(site, "balanced")
        assert "1 step" not in str(plan.steps[0].says)
        run = started(site, plan)
    assert box.rows() == NOW
    done = rollback(tmp_path, "abort", run.id)
    assert done.status == 0, done
    assert box.rows() == garbage


FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def small() -> Iterator[Box]:
    """A box where syncing costs little: it is prepared hundreds of times."""
    folder = Path(tempfile.mkdtemp(prefix="box-", dir=FAST))
    yield Box(folder)
    shutil.rmtree(folder)


def end_of(box: Box, run_id: str, after: State) -> Run:
    """The run is resumed and ends as it would have, and has left nothing half-done."""
    with box.site() as site:
        run = roll_back(site, run_id)
        assert run.state is after, run.reason
        assert frozen.names(site.state.tree) == ()
        assert list((box.folder / ".rollback/intents").glob("*.json")) == []
        told = [e.kind for e in site.journal.events() if e.run == run_id]
        assert told.count("prevention.begun") == ("prevent" in str(run.plan))
        tasks = [e.data["name"] for e in site.journal.events() if e.kind == "task.opened"]
        assert len(tasks) == len(set(tasks))
    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "quarter", [0, *(pytest.param(other, marks=pytest.mark.long) for other in (1, 2, 3))]
)
@pytest.mark.parametrize("what", ["lost-work", "corrupted"])
def test_killed_at_any_change_a_recovery_ends_as_if_it_had_not_been(
    small: Box, what: str, quarter: int
) -> None:
    """Each change in every way: before it, after it, in the middle of a write; the next driver ends it."""
    box = small
    box.since()
    box.lose()
    bad = box.state.read_bytes()
    with box.site() as site:
        plan = work(site, "balanced") if what == "lost-work" else repaired(site)
        run = authorize.create(site, plan)
        authorize.approve(site, run, person="ada")
    rows, after = (NOW, State.WAITING) if what == "lost-work" else (THEN, State.MITIGATED)
    saved = Path(tempfile.mkdtemp(prefix="saved-", dir=FAST))
    try:
        shutil.copytree(box.folder, saved / "box")

        def drive(tap: Any) -> None:
            with box.site(Host(tap=tap)) as site:
                roll_back(site, run.id)

        counted = CountingTap()
        drive(counted)
        assert len(counted.points) > 80
        assert box.rows() == rows
        for number, how in shots(counted.points)[quarter :: 4 * KILL_EVERY]:
            for path in box.folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            shutil.copytree(saved / "box", box.folder, dirs_exist_ok=True)
            (box.folder / ".rollback").chmod(0o700)
            died = in_child(lambda n=number, h=how: drive(DyingTap(n, h)))  # type: ignore[misc]
            assert died == KILLED, (number, how)
            done = end_of(box, run.id, after)
            assert box.rows() == rows, (number, how)
            if what == "corrupted":
                kept = (
                    box.folder / f".rollback/quarantine/{run.id}-{index_of(done, 'isolate')}/kept"
                )
                assert (kept / "data/state.db").read_bytes() == bad, (number, how)
                assert stat.S_IMODE(box.state.stat().st_mode) == 0o644, (number, how)
    finally:
        shutil.rmtree(saved)


def test_where_there_is_nothing_to_repair_with_it_is_said(tmp_path: Path) -> None:
    """No checkpoint, no log, no program."""
    box = Box(tmp_path)
    with box.site() as site, pytest.raises(PlanError, match="there is nothing to make plain from"):
        repaired(site, "plain")


def test_the_commands_plan_and_carry_it(tmp_path: Path) -> None:
    """A dry run changes nothing; the component with a log is the one that is meant."""
    box = Box(tmp_path)
    box.since()
    box.lose()
    garbage = box.rows()
    dry = rollback(tmp_path, "recover", "corrupted", "--dry-run")
    assert dry.status == 0, dry
    assert "repair state by the checkpoint" in dry.out
    assert "Rebuild state by hand" in dry.out
    assert box.rows() == garbage
    done = rollback(tmp_path, "recover", "lost-work", "--priority", "time", "--yes")
    assert done.status == 0, done
    assert box.rows() == THEN
    wrong = rollback(tmp_path, "recover", "lost-work", "--component", "stat")
    assert wrong.status == 2
    assert "there is no component stat" in wrong.err


def test_a_recovery_asks_no_check_that_production_does_not_allow(tmp_path: Path) -> None:
    """What shows the component to be good would change it: refused with the reason, nothing done."""
    made = Box(tmp_path)
    made.since()
    file = made.folder / "rollback.yaml"
    loads = file.read_text().replace("id: state-whole", "id: state-whole\n        effects: load")
    file.write_text(loads.replace("  smoke:", "  functional:"))
    ended = rollback(made.folder, "--json", "recover", "corrupted", "--as", "ada", "--yes")
    assert ended.status == 4, ended.out
    assert "state-whole has effects load, which production does not allow" in ended.out
    assert made.rows() == NOW


def test_a_recovery_can_be_taken_back(tmp_path: Path) -> None:
    """What was rebuilt is as it was found, although somebody worked on it since."""
    made = Box(tmp_path)
    made.since()
    made.lose()
    spoilt = made.rows()
    ended = rollback(
        made.folder, "--json", "recover", "lost-work", "--priority", "time", "--as", "ada", "--yes"
    )
    assert ended.json["state"] == "MITIGATED", ended.out
    assert made.rows() != spoilt
    made.do(7, "set", 20, {"state": "later"})
    ended = rollback(made.folder, "--json", "undo", "--as", "ada", "--yes")
    assert (ended.status, ended.json["state"]) == (0, "MITIGATED"), ended.out
    assert made.rows() == spoilt
