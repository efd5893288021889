"""Recovery: a corrupted component is repaired rung by rung, lost work comes back by priority."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rollback import declare
from rollback.act import authorize, recovery
from rollback.act.engine import roll_back
from rollback.act.plan import Plan
from rollback.act.site import Site
from rollback.act.stopping import answer
from rollback.host import Host
from rollback.keep.contents import sqlite
from rollback.keep.rebuild import from_log
from rollback.model.errors import HostError, PlanError
from rollback.model.lifecycle import Run, State
from tests.cli.program import rollback
from tests.killed import KILLED, CountingTap, DyingTap, in_child

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
        assert kinds_of(site, run)[:6] == [
            ("step.began", "1"), ("step.ended", "1"), ("step.began", "2"), ("step.failed", "2"),
            ("step.began", "2.1"), ("step.ended", "2.1"),
        ]  # fmt: skip
        assert "nor log vouches for" in str(run.steps["2"].evidence["error"])
        seen = run.steps["1"].evidence
        assert seen["differs"] == ["work[1]", "work[2]", "work[3]"]
        assert seen["cause"] == "changed by something that the transaction log knows nothing of"
        found = run.steps["3"].evidence
        assert found["sources"] == ["checkpoint", "log"]
        assert found["nobody"] == []
        prevent = [e.data["title"] for e in site.journal.events() if e.kind == "task.opened"]
        assert "more digests" in str(prevent)


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
        assert [kind for kind, index in kinds_of(site, run) if index == "2"] == [
            "step.began", "step.failed",
        ]  # fmt: skip
        assert kinds_of(site, run)[-4:] == [
            ("step.failed", "2"), ("step.began", "2.1"), ("step.failed", "2.1"),
            ("step.began", "2.2"),
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


def test_killed_anywhere_a_recovery_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """A child dies at a change; the next driver resumes the run."""

    def prepared(name: str) -> tuple[Box, str]:
        (tmp_path / name).mkdir()
        box = Box(tmp_path / name)
        box.since()
        box.lose()
        with box.site() as site:
            run = authorize.create(site, work(site, "balanced"))
            authorize.approve(site, run, person="ada")
        return box, run.id

    def drive(box: Box, run: str, tap: Any) -> None:
        with box.site(Host(tap=tap)) as site:
            roll_back(site, run)

    counted = CountingTap()
    drive(*prepared("count"), counted)
    total = len(counted.points)
    assert total > 60
    for number in range(3, total, total // 12):
        box, run = prepared(f"kill-{number}")
        assert in_child(lambda b=box, r=run, n=number: drive(b, r, DyingTap(n, "after"))) == KILLED  # type: ignore[misc]
        with box.site() as site:
            found = roll_back(site, run)
            if found.state is State.NEEDS_OPERATOR:
                pytest.fail(f"{number}: {found.reason}")
            assert found.state is State.WAITING
        assert box.rows() == NOW
        assert list((box.folder / ".rollback/intents").glob("*.json")) == []


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
