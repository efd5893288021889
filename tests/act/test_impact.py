"""What a plan costs is measured before anyone confirms, and stands in plan and report alike."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import rollback.kinds
from rollback import declare
from rollback.act import service
from rollback.act.afterwards import settle, write_report
from rollback.act.engine import roll_back
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.cli.planning import plan_lines
from rollback.host import Host
from rollback.keep.contents import sqlite
from rollback.model.lifecycle import State
from rollback.observe.view import View
from rollback.tell.loss import loss
from tests.cli.program import rollback
from tests.requirements.stepping import stepped

TEXT = """
schema: 1
system: {id: box, title: Box, version: 1.0.0, date: 2026-11-20, next_review: 2027-05-20}
root: tree
state: {dir: .rollback}
components:
  reports: {path: reports, content: files, depends_on: [queue]}
  queue:
    path: queue
    content: files
    depends_on: [db]
    open_items: {queue: {directory: queue, pattern: "*/*.json", depth: {at_least: 0}}}
  apart: {path: apart, content: files}
  db:
    path: data/box.db
    content: sqlite
    depends_on: [code]
    open_items: {sql: {database: data/box.db, query: "select count(*) from work where state = 'open'"}}
  code: {path: code, content: files}
services:
  web: {argv: [/bin/true], lock: run/web.lock, components: [code, db], depends_on: [store]}
  store: {argv: [/bin/true], lock: run/store.lock, components: [db]}
  mail: {argv: [/bin/true], lock: run/mail.lock, components: [apart]}
  looker: {argv: [/bin/true], lock: run/looker.lock, components: [code]}
people: {owner: op, roles: {op: {title: Operator}}, members: [{id: ada, roles: [op]}]}
verification:
  smoke:
    - files: {id: code-there, exists: [code/a.py]}
    - files: {id: reports-there, exists: [reports/first.md]}
levels:
  one:
    rank: 0
    title: One back
    component: required
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: what it changed
    authority: {roles: [op], alone: true}
    target: {sources: [{checkpoint: last-good}]}
    steps: [{restore: {component: chosen}}]
    gate: {suites: [smoke]}
  code:
    rank: 1
    title: Code back
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [op], alone: true}
    target: {sources: [{checkpoint: last-good}]}
    steps:
      - service: {stop: [web, store]}
      - restore: {component: code}
      - service: {start: [store, web]}
  all:
    rank: 2
    title: All back
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: everything since
    authority: {roles: [op], alone: true}
    target: {sources: [{checkpoint: last-good}]}
    steps:
      - restore: {component: db}
      - restore: {component: code}
      - restore: {component: reports}
    gate: {suites: [smoke]}
"""


class Box:
    """Code, a database, a queue of files and reports, each on the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        for name in ("queue/a", "queue/b", "data", "code", "reports", "apart", "run"):
            (self.tree / name).mkdir(parents=True)
        (self.tree / "code" / "a.py").write_text("print('good')\n")
        (self.tree / "reports" / "first.md").write_text("first\n")
        with closing(self.db()) as db:
            db.execute("create table work (id integer primary key, state text collate nocase)")
            db.execute("create table notes (text)")
            db.executemany("insert into work values (?, 'open')", [(n,) for n in range(10)])
            db.commit()
        (folder / "rollback.yaml").write_text(TEXT)

    def db(self) -> sqlite3.Connection:
        return sqlite3.connect(self.tree / "data" / "box.db")

    def site(self) -> Site:
        return Site.open(declare.load(self.folder / "rollback.yaml"), Host())

    def work(self) -> None:
        """What is lost by going back: 3 new rows, 1 changed, 2 deleted, a table, items, a report."""
        with closing(self.db()) as db:
            db.executescript(
                "insert into work values (20, 'open'), (21, 'done'), (22, 'open');"
                "update work set state = 'OPEN' where id = 1; delete from work where id in (2, 3);"
                "create table fresh (a); insert into fresh values (1), (1);"
            )
        (self.tree / "queue" / "a" / "1.json").write_text("{}")
        (self.tree / "queue" / "b" / "2.json").write_text("{}")
        (self.tree / "code" / "a.py").write_text("print('bad')\n")
        (self.tree / "code" / "more.py").write_text("more\n")
        (self.tree / "reports" / "first.md").unlink()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """The box with a checkpoint and work after it."""
    made = Box(tmp_path)
    with made.site() as site:
        site.checkpoints.create("good")
    made.work()
    return made


@pytest.fixture
def site(box: Box) -> Iterator[Site]:
    """The box, opened."""
    with box.site() as opened:
        yield opened


def plan(site: Site, level: str, component: str = ""):  # type: ignore[no-untyped-def]
    return make_plan(site, level, run="r0001", requester="ada", component=component)


def test_rows_are_counted_one_by_one_before_anyone_confirms(site: Site) -> None:
    """Written since, and coming back; a changed row is both, a change of case is one."""
    assert plan(site, "all").impact["rows"] == {"db": [
        {"table": "fresh", "now": 2, "then": None, "lost": 2, "back": 0},
        {"table": "work", "now": 11, "then": 10, "lost": 4, "back": 3},
    ]}  # fmt: skip


def test_a_table_of_another_shape_is_said_to_be_unmeasured(box: Box) -> None:
    """Numbers alone, and the words for it; never a zero that nobody counted."""
    with closing(box.db()) as db:
        db.executescript("alter table notes add column at; insert into notes values ('a', 'b');")
    with box.site() as site:
        impact = plan(site, "all").impact
    (found,) = [one for one in impact["rows"]["db"] if one["table"] == "notes"]
    assert found == {"table": "notes", "now": 1, "then": 0, "lost": None, "back": None}
    assert "db, table notes: 1 row now, 0 rows then; which of them differ is not measured" in loss(
        impact)  # fmt: skip


def test_a_large_database_is_counted_and_not_compared(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a way back does not wait for it; a table of one of the two is known anyhow."""
    monkeypatch.setattr(sqlite, "ROWS_BYTES_MAX", 100)
    assert plan(site, "all").impact["rows"] == {"db": [
        {"table": "fresh", "now": 2, "then": None, "lost": 2, "back": 0},
        {"table": "work", "now": 11, "then": 10, "lost": None, "back": None},
    ]}  # fmt: skip


def test_a_database_that_nobody_wrote_to_loses_nothing(tmp_path: Path) -> None:
    """Not a line about it."""
    made = Box(tmp_path)
    with made.site() as site:
        site.checkpoints.create("good")
        (made.tree / "code" / "a.py").write_text("print('bad')\n")
        impact = plan(site, "all").impact
    assert impact["rows"] == {}
    assert not [line for line in loss(impact) if "table" in line]


def test_everything_that_depends_on_it_is_named_in_order(site: Site) -> None:
    """At any remove, each after what it depends on."""
    assert plan(site, "code").impact["dependents"] == ["db", "queue", "reports"]
    assert plan(site, "one", "queue").impact["dependents"] == ["reports"]
    assert plan(site, "all").impact["dependents"] == ["queue"]
    assert plan(site, "one", "apart").impact["dependents"] == []


def test_open_work_is_counted_where_it_changes_and_where_it_depends(site: Site) -> None:
    """Rows of a table and files of a queue."""
    assert plan(site, "code").impact["open_items"] == {"db": 10, "queue": 2}
    assert plan(site, "one", "queue").impact["open_items"] == {"queue": 2}
    assert plan(site, "one", "apart").impact["open_items"] == {}


def test_services_and_the_order_of_stop_restore_and_start_are_said(site: Site) -> None:
    """As the steps come; who uses it and is told nothing is named."""
    found = plan(site, "code")
    assert found.impact["services"] == ["web", "looker"]
    assert plan(site, "all").impact["services"] == ["store", "web", "looker"]
    said = [line.strip() for line in plan_lines(found)]
    assert "services that use it, as they start: web, looker" in said
    assert "in this order: stop web, store; put back code; start store, web" in said
    assert "use it and are neither stopped nor told: looker" in said
    assert "in this order: put back db, code, reports" in [
        line.strip() for line in plan_lines(plan(site, "all"))]  # fmt: skip


def test_the_report_says_the_same_as_the_plan_and_what_is_kept_where(box: Box, site: Site) -> None:
    """Counted in the quarantine itself, by path, entries and bytes."""
    made = plan(site, "all")
    run = settle(site, stepped(site, made))
    folder = site.run_folder(run.id)
    body = json.loads((folder / "report.json").read_text())
    text = (folder / "report.md").read_text().replace("\\", "")
    for line in loss(made.impact):
        assert f"- {line}" in text
    kept = {one["step"]: one for one in body["kept"]}
    # the database that was replaced, and the file that was extra; other files are in the checkpoint
    assert sorted(kept) == ["1", "2"]
    for step, one in kept.items():
        place = box.folder / ".rollback" / "quarantine" / f"{run.id}-{step}"
        files = [path for path in place.rglob("*") if path.is_file()]
        assert one["where"] == str(place)
        assert one["entries"] == len(files)
        assert one["bytes"] == sum(path.stat().st_size for path in files)
        assert f"- step {step}: {len(files)} entr" in text
        assert str(place) in text
    assert kept["2"]["bytes"] == len("more\n")


def test_what_an_earlier_version_journalled_is_still_reported(site: Site) -> None:
    """A plan without these figures: the lines that it has, and no line that nobody measured."""
    run = stepped(site, plan(site, "all"))
    new = ("rows", "order", "services", "untold", "paths")
    old = {k: v for k, v in run.plan["impact"].items() if k not in new}  # type: ignore[union-attr]
    run.plan["impact"] = old
    run.plan.pop("fallbacks")
    assert "everything since" in Path(write_report(site, run)).read_text()


def test_the_smallest_level_that_covers_what_fails_is_in_plan_and_report(box: Box) -> None:
    """Asked now for a plan; of the gate that stayed closed for a report."""
    done = rollback(box.folder, "plan", "all")
    assert done.status == 0
    assert "  fails now: reports-there\n" in done.out
    offered = "rollback run one --component reports"
    assert f"the smallest level that covers it: {offered}" in done.out
    told = rollback(box.folder, "--json", "plan", "all").json
    assert (told["failing"], told["smallest_scope"]) == (["reports-there"], offered)
    with box.site() as site:
        run = settle(site, roll_back(site, stepped(site, plan(site, "one", "code")).id))
        assert run.state is State.NEEDS_OPERATOR
        folder = site.run_folder(run.id)
    assert offered in (folder / "report.md").read_text()
    assert json.loads((folder / "report.json").read_text())["smallest_scope"] == offered
    (box.tree / "reports" / "first.md").write_text("first\n")
    assert "of 2 smoke checks none fails now" in rollback(box.folder, "plan", "all").out


def test_who_has_a_database_open_is_said_before_the_run_would_be_refused(box: Box) -> None:
    """The process and its program, in the plan as people read it and as JSON; gone with the process."""
    sleeper = "import sqlite3, sys\nheld = sqlite3.connect(sys.argv[1])\n" \
              "held.execute('select * from work').fetchone()\nprint('open', flush=True)\ninput()"  # fmt: skip
    other = subprocess.Popen([sys.executable, "-c", sleeper, str(box.tree / "data" / "box.db")],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with box.site() as site:
            made = plan(site, "all")
        (found,) = made.impact["in_use"]
        assert (found["component"], found["pid"], found["service"]) == ("db", other.pid, "")
        (said,) = [line for line in plan_lines(made) if "held open by" in line]
        assert said.startswith(f"  db: held open by {found['program']} ({other.pid})")
        assert "close it there" in said
        told = json.loads(rollback(box.folder, "plan", "all", "--json").out)
        assert told["impact"]["in_use"] == [found]
        with box.site() as site:
            assert plan(site, "code").impact["in_use"] == []
    finally:
        other.communicate("\n", timeout=30)
    with box.site() as site:
        assert plan(site, "all").impact["in_use"] == []


HOLDER = """import signal, sqlite3, time
held = sqlite3.connect("data/box.db")
held.execute("select * from work").fetchone()
open("run/ready", "w").close()
time.sleep(600)
"""


def test_a_service_that_is_stopped_before_has_let_go_by_then(box: Box) -> None:
    """It is named with its service where nothing stops it first, and not where a step does."""
    (box.tree / "holder.py").write_text(HOLDER)
    text = (box.folder / "rollback.yaml").read_text()
    text = text.replace("store: {argv: [/bin/true],", f"store: {{argv: [{sys.executable}, holder.py],"
                        " ready: {files: {exists: [run/ready]}},")  # fmt: skip
    stops = "    steps:\n      - service: {stop: [store]}\n      - restore: {component: db}\n"
    first, last = text.split("    steps:\n      - restore: {component: db}\n")
    (box.folder / "rollback.yaml").write_text(text)
    with box.site() as site:
        view = View(site.system, site.host)
        service.start(view, "store", within_s=20)
        try:
            (found,) = plan(site, "all").impact["in_use"]
            assert (found["component"], found["service"]) == ("db", "store")
            (said,) = [line for line in plan_lines(plan(site, "all")) if "held open by" in line]
            assert "first stop store: rollback run stop" in said
            (box.folder / "rollback.yaml").write_text(first + stops + last)
            with box.site() as other:
                assert plan(other, "all").impact["in_use"] == []
        finally:
            service.stop(view, "store", within_s=20)
