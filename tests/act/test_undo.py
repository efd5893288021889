"""Undo after people went on working: the bytes of before come back, and theirs are kept."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pygit2
import pytest

from rollback.act import authorize, before, engine
from rollback.act.afterwards import settle
from rollback.act.authorize import next_run_id
from rollback.act.back import last_done, undo_plan
from rollback.act.engine import resting, roll_back
from rollback.act.plan import Plan
from rollback.act.scene import Scene
from rollback.act.site import Site
from rollback.act.stopping import abort, retry
from rollback.host import net, processes
from rollback.model.errors import PlanError
from rollback.model.lifecycle import Run, State
from tests.act.conftest import APP, free_ports
from tests.cli.program import rollback
from tests.systems import Shop, build

RESTORE = "steps: [{restore: {component: config}}]\n    gate: {suites: [smoke]}"
PARTS = """components:
  orders: {path: data/orders.db, content: sqlite, volatile: true}
  inbox: {path: inbox, content: files}
  outbox: {path: outbox, content: files, initial: empty}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a database of 42 orders in its checkpoint and of 47 now; no level has a gate."""
    made = build(tmp_path)
    made.edit("components:\n", PARTS)
    made.edit("    gate: {suites: [smoke]}\n", "")
    for name in ("data", "inbox", "outbox"):
        (made.tree / name).mkdir()
    (made.tree / "inbox" / "one").write_text("1\n")
    (made.tree / "outbox" / "two").write_text("2\n")
    orders(made, "create table orders (id integer primary key)")
    add(made, 42)
    with made.site() as site:
        site.checkpoints.create("before-release")
    add(made, 5)
    for name in ("config/app.yaml", "bad.yaml"):
        (made.tree / name).write_text("party: true\nlimit: 99\n")
    return made


@pytest.fixture
def site(shop: Shop) -> Iterator[Site]:
    """The shop, opened."""
    with shop.site() as opened:
        yield opened


def orders(shop: Shop, sql: str) -> list[Any]:
    """What the database answers; written down when it is left."""
    with closing(sqlite3.connect(shop.tree / "data" / "orders.db")) as database, database:
        return list(database.execute(sql))


def add(shop: Shop, count: int) -> None:
    for _ in range(count):
        orders(shop, "insert into orders default values")


def count(shop: Shop) -> int:
    ((found,),) = orders(shop, "select count(*) from orders")
    return int(found)


def steps(shop: Shop, *written: str) -> None:
    """The level `config` has these steps."""
    shop.edit("steps: [{restore: {component: config}}]", f"steps: [{', '.join(written)}]")


def go(site: Site, plan: Plan) -> Run:
    """The run of a plan that one person has approved, as far as it goes."""
    run = authorize.create(site, plan)
    authorize.approve(site, run, person="ada")
    return settle(site, roll_back(site, run.id))


def undo(site: Site, run: Run) -> Plan:
    return undo_plan(site, run, run=next_run_id(site), requester="ada", reason="")


ORDERS = "{restore: {component: orders}}"


# -- what was written afterwards -----------------------------------------------------------


def test_undo_brings_back_what_stood_before_although_people_wrote_afterwards(shop: Shop) -> None:
    """42 orders were gone back to, 5 came, and the 47 of before are there; the 5 are kept."""
    steps(shop, ORDERS, "{command: {argv: [/bin/false], effects: none, on_fail: person}}")
    stopped = rollback(shop.folder, "--json", "run", "config", "--as", "ada", "--yes")
    assert (stopped.status, stopped.json["state"]) == (9, "NEEDS_OPERATOR")
    assert count(shop) == 42
    orders(shop, "create table complaints (text)")
    ended = rollback(shop.folder, "--json", "undo", "r0001", "--as", "ada", "--yes")
    assert (ended.status, ended.json["state"]) == (0, "MITIGATED"), ended.out
    assert ended.json["changed"] is True
    assert count(shop) == 47
    with shop.site() as site:
        assert site.run("r0001").reason == "taken back by r0002"
        kept = site.run("r0002").safety
        site.checkpoints.restore(kept, "orders", step="look")
    assert count(shop) == 42
    assert orders(shop, "select * from complaints") == []


@pytest.mark.parametrize("wrote", ["", "later"])
def test_where_all_is_as_before_there_is_nothing_to_take_back_and_else_there_is(
    wrote: str, shop: Shop, site: Site
) -> None:
    """It is compared with the checkpoint of before the run; whoever put it back has said enough."""
    run = go(site, shop.plan(site, "config"))
    site.checkpoints.restore(run.safety, "config", step="by-hand")
    assert undo(site, run).idle
    if wrote:
        (shop.tree / "config" / "app.yaml").write_text(wrote)
        assert not undo(site, run).idle


def test_who_has_nothing_to_take_back_is_told_so_and_offered_no_level(shop: Shop) -> None:
    """The run is closed, in words that say no more than is known."""
    steps(shop, "{restore: {component: config}}",
          "{command: {argv: [/bin/false], effects: none, on_fail: person}}")  # fmt: skip
    rollback(shop.folder, "run", "config", "--as", "ada", "--yes")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    with shop.site() as site:
        site.checkpoints.restore(site.run("r0001").safety, "config", step="by-hand")
    ended = rollback(shop.folder, "--json", "undo", "--as", "ada", "--yes")
    assert (ended.status, ended.json["changed"], ended.json["offer"]) == (0, False, None)
    with shop.site() as site:
        old = site.run("r0001")
        assert old.state is State.ABANDONED
        assert "nothing that it did is left to take back" in old.reason


def test_a_step_that_changed_nothing_takes_nothing_away(shop: Shop, site: Site) -> None:
    """What came after it is not its work."""
    steps(shop, "{restore: {component: pages}}", "{restore: {component: config}}")
    with shop.site() as there:
        run = go(there, shop.plan(there, "config"))
        (shop.tree / "pages" / "later.html").write_text("new\n")
        plan = undo(there, run)
        assert [step.id for step in plan.steps] == ["back-2"]
        go(there, plan)
    assert (shop.tree / "pages" / "later.html").read_text() == "new\n"
    assert "limit: 99" in (shop.tree / "config" / "app.yaml").read_text()


def test_undo_of_an_undo_brings_back_what_the_undo_replaced(shop: Shop) -> None:
    """Not what the first run had gone back to: what was written in between is there again."""
    steps(shop, ORDERS)
    with shop.site() as site:
        run = go(site, shop.plan(site, "config"))
        add(shop, 1)
        back = go(site, undo(site, run))
        assert count(shop) == 47
        again = go(site, undo(site, back))
        assert again.state is State.MITIGATED, again.reason
        assert count(shop) == 43
        assert go(site, undo(site, again)).state is State.MITIGATED
        assert count(shop) == 47


# -- killed --------------------------------------------------------------------------------


@pytest.mark.requirement("MB-40")
def test_an_undo_that_was_killed_before_its_first_change_does_it(shop: Shop) -> None:
    """That the present is not what was gone back to proves nothing about the way back."""
    steps(shop, ORDERS)
    with shop.site() as site:
        run = go(site, shop.plan(site, "config"))
        add(shop, 1)
        back = authorize.create(site, undo(site, run))
        authorize.approve(site, back, person="ada")
        back = site.run(back.id)
        while back.state is not State.RUNNING:
            back = engine.advance(site, back)
        site.note(back, "step.began", index="1", id="back-1", action="take-back")
        done = roll_back(site, back.id)
        assert done.state is State.MITIGATED, done.reason
        assert "doubted" not in {step.status for step in done.steps.values()}
    assert count(shop) == 47


def test_an_undo_that_was_killed_after_its_last_change_does_not_do_it_twice(shop: Shop) -> None:
    """Orders that came after it are there when the run goes on."""
    steps(shop, ORDERS)
    with shop.site() as site:
        run = go(site, shop.plan(site, "config"))
        back = authorize.create(site, undo(site, run))
        authorize.approve(site, back, person="ada")
        back = site.run(back.id)
        while back.state is not State.RUNNING:
            back = engine.advance(site, back)
        site.note(back, "step.began", index="1", id="back-1", action="take-back")
        plan = engine.plan_of(back)
        plan.steps[0].action().apply(engine.scene_of(site, back, plan, plan.steps[0]))
        add(shop, 3)
        done = roll_back(site, back.id)
        assert done.state is State.MITIGATED, done.reason
    assert count(shop) == 50


# -- every kind of step --------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "{edit: {file: config/app.yaml, key: limit, value: 3}}",
        "{set: {file: config/app.yaml, key: limit, value: 3, read_back: "
        "{config: {file: config/app.yaml, keys: [limit]}}, within: 3s}}",
        "{flag: {flag: party, set: false, within: 3s}}",
        "{remove: {paths: [config/app.yaml]}}", "{move: {paths: [inbox/*], to: outbox}}",
        "{requeue: {from: [inbox], to: outbox}}", "{quarantine: {component: inbox}}",
        "{clear: {component: outbox}}", "{freeze: {components: [inbox]}}",
        "{command: {argv: [/bin/rm, config/app.yaml], changes: [config], undo: "
        "{argv: [/bin/cp, bad.yaml, config/app.yaml]}}}",
    ],
    ids=lambda text: text[1:].partition(":")[0],
)  # fmt: skip
def test_whatever_a_step_did_is_taken_back(written: str, shop: Shop) -> None:
    """Every kind: of those that move things aside, freeze or edit too, and beside a restore."""
    steps(shop, ORDERS, written)
    was = shop.bytes()
    with shop.site() as site:
        run = go(site, shop.plan(site, "config"))
        assert run.state is State.MITIGATED, run.reason
        changed = {path for path, found in shop.bytes().items() if was.get(path) != found}
        assert changed | {path for path in was if path not in shop.bytes()} > {"data/orders.db"}
        assert last_done(site).id == run.id
        plan = undo(site, run)
        assert len(plan.steps) == 2
        back = go(site, plan)
        assert back.state is State.MITIGATED, back.reason
        assert undo(site, run).idle
    now = shop.bytes()
    del was["data/orders.db"], now["data/orders.db"]
    assert now == was
    assert count(shop) == 47


# -- git -----------------------------------------------------------------------------------


@pytest.fixture
def versioned(tmp_path: Path) -> Shop:
    """The shop as a repository with a bad release as its second commit."""
    made = build(tmp_path)
    made.edit("components:\n", "repository: {path: .}\ncomponents:\n")
    made.edit("    gate: {suites: [smoke]}\n", "")
    pygit2.init_repository(str(made.tree), initial_head="main")
    commit(made, "good")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    commit(made, "bad release")
    with made.site() as site:
        site.checkpoints.create("before-release")
    return made


def commit(shop: Shop, message: str) -> str:
    repository = pygit2.Repository(str(shop.tree))
    repository.index.add_all()
    repository.index.write()
    who = pygit2.Signature("op", "op@localhost", 1_700_000_000, 0)
    parents = [] if repository.head_is_unborn else [repository.head.target]
    tree = repository.index.write_tree()
    return str(repository.create_commit("HEAD", who, who, message, tree, parents))


def head(shop: Shop) -> str:
    return str(pygit2.Repository(str(shop.tree)).head.target)


@pytest.mark.parametrize(
    "written",
    ["{git: {revert: {matching: bad}}}", "{restore: {component: config}}, {git: {commit: "
     "{paths: [config], message: back}}}"],
    ids=["revert", "commit"],
)  # fmt: skip
def test_commits_that_came_afterwards_are_never_dropped(written: str, versioned: Shop) -> None:
    """The undo says that it cannot, and changes nothing; without them it brings the head back."""
    (versioned.tree / "config" / "app.yaml").write_text("party: true\nlimit: 3\n")
    with versioned.site() as site:
        if "restore" in written:
            site.checkpoints.create("good")
        (versioned.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    steps(versioned, written)
    old = head(versioned)
    with versioned.site() as site:
        run = go(site, versioned.plan(site, "config"))
        assert run.state is State.MITIGATED, run.reason
        ours = head(versioned)
        assert ours != old
        (versioned.tree / "pages" / "new.html").write_text("new\n")
        theirs = commit(versioned, "work of the next day")
        was = versioned.bytes()
        back = go(site, undo(site, run))
        assert back.state is State.UNDONE
        assert "moved on" in back.reason
        assert head(versioned) == theirs
        now = versioned.bytes()
        assert {p: b for p, b in now.items() if not p.startswith(".git/")} == {
            p: b for p, b in was.items() if not p.startswith(".git/")
        }
        repository = pygit2.Repository(str(versioned.tree))
        repository.reset(pygit2.Oid(hex=ours), pygit2.enums.ResetMode.HARD)
        assert go(site, undo(site, run)).state is State.MITIGATED
        assert head(versioned) == old


# -- services ------------------------------------------------------------------------------

SERVICES = """services:
  web:
    manager: registry
    argv: ["PYTHON", -I, -u, server.py, "PORT"]
    lock: web.lock
    log: web.out
    ports: [PORT]
    ready: {http: {url: "http://127.0.0.1:PORT/health", pointer: {/ready: true}, within: 2s}}
    stop: {signal: TERM, grace: 500ms}
    components: [config]
people:
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Shop]:
    """The shop with a service that runs, and a level that stops it, restores, and starts it."""
    made = build(tmp_path)
    made.edit(
        "people:\n",
        SERVICES.replace("PORT", str(free_ports(1)[0])).replace("PYTHON", sys.executable),
    )
    made.edit("    gate: {suites: [smoke]}\n", "")
    steps(made, "{service: {stop: [web], within: 10s}}", "{restore: {component: config}}",
          "{service: {start: [web], within: 10s}}")  # fmt: skip
    (made.tree / "server.py").write_text(APP)
    with made.site() as site:
        site.checkpoints.create("before-release")
        go(site, made.plan(site, "start"))
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    yield made
    with made.site() as site:
        go(site, made.plan(site, "stop"))


def runs(shop: Shop) -> bool:
    return processes.held(str(shop.tree / "web.lock"))


def test_taking_back_a_start_by_hand_asks_whom_the_start_asked(served: Shop) -> None:
    """The owner's role alone, as for `run start`, however strict the levels are."""
    with served.site() as site:
        assert site.system.levels["full"].authority.quorum == "all"
        plan = undo_plan(site, site.run("r0001"), run=next_run_id(site), requester="ada", reason="")
        assert (plan.level, plan.procedure) == ("start", True)
        run = authorize.create(site, plan)
        authorize.approve(site, run, person="ada")
        assert authorize.standing(site, site.run(run.id), plan).enough
        abort(site, site.run(run.id), by="ada", reason="looked")


def test_what_a_service_uses_is_put_back_while_it_does_not_run(
    served: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped for the way there, it is stopped for the way back as well, and runs afterwards."""
    seen: list[bool] = []
    really = before.put_back

    def put_back(scene: Scene, name: str) -> None:
        seen.append(runs(served))
        really(scene, name)

    monkeypatch.setattr(before, "put_back", put_back)
    with served.site() as site:
        run = go(site, served.plan(site, "config"))
        assert runs(served)
        back = go(site, undo(site, run))
        assert back.state is State.MITIGATED, back.reason
    assert seen == [False]
    assert runs(served)
    assert "limit: 99" in (served.tree / "config" / "app.yaml").read_text()


def test_a_run_that_gives_up_after_the_start_puts_back_while_nothing_runs(
    served: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same when the engine takes a run back by itself."""
    served.edit("{service: {start: [web], within: 10s}}]",
                "{service: {start: [web], within: 10s}}, {command: {argv: [/bin/false], "
                "effects: none}}]")  # fmt: skip
    seen: list[bool] = []
    really = before.put_back

    def put_back(scene: Scene, name: str) -> None:
        seen.append(runs(served))
        really(scene, name)

    monkeypatch.setattr(before, "put_back", put_back)
    with served.site() as site:
        run = go(site, served.plan(site, "config"))
        assert run.state is State.UNDONE, run.reason
    assert seen == [False]
    assert runs(served)


def test_a_run_whose_traces_are_gone_by_hand_is_idle_although_it_restarted_something(
    served: Shop,
) -> None:
    """What runs is what ran before it."""
    with served.site() as site:
        run = go(site, served.plan(site, "config"))
        assert not undo(site, run).idle
        site.checkpoints.restore(run.safety, "config", step="by-hand")
        assert undo(site, run).idle


def test_a_run_that_gives_up_leaves_no_service_drained(served: Shop) -> None:
    """And neither does one that is undone: the service takes work again."""
    port = next(iter(served.system.services["web"].ports))
    url = f"http://127.0.0.1:{port}"
    served.edit(
        "    stop: {signal: TERM, grace: 500ms}\n",
        f"""    stop: {{signal: TERM, grace: 500ms}}
    drain: {{http: {{url: "{url}/drain", pointer: {{/open: 0}}, within: 2s}}}}
    resume: {{http: {{url: "{url}/resume", pointer: {{/draining: false}}, within: 2s}}}}
""",
    )
    old = "{service: {stop: [web], within: 10s}}, {restore: {component: config}}"
    served.edit(old, f"{{service: {{drain: [web], within: 5s}}}}, {old}")
    served.edit(
        "{service: {start: [web], within: 10s}}", "{command: {argv: [/bin/false], effects: none}}"
    )

    def draining() -> object:
        return json.loads(net.request(f"{url}/").body)["draining"]

    with served.site() as site:
        run = go(site, served.plan(site, "config"))
        assert run.state is State.UNDONE, run.reason
        assert draining() is False
    served.edit(", {command: {argv: [/bin/false], effects: none}}", "")
    served.edit("{service: {stop: [web], within: 10s}}, ", "")
    with served.site() as site:
        run = go(site, served.plan(site, "config"))
        assert run.state is State.MITIGATED, run.reason
        assert draining() is True
        assert go(site, undo(site, run)).state is State.MITIGATED
        assert draining() is False


# -- another environment -------------------------------------------------------------------


def test_undo_of_a_run_in_staging_touches_staging_alone(tmp_path: Path) -> None:
    """From staging's own checkpoint, kept in one of staging's; production's bytes stay."""
    made = build(tmp_path)
    made.edit("components:\n", "environments: {staging: {root: trial}}\ncomponents:\n")
    made.edit("    gate: {suites: [smoke]}\n", "")
    steps(made, "{restore: {component: pages}}",
          "{restore: {environment: staging, component: config}}")  # fmt: skip
    trial = tmp_path / "trial" / "config"
    trial.mkdir(parents=True)
    (tmp_path / "trial" / "pages").mkdir()
    with made.site() as site:
        site.checkpoints.create("before-release")
        (trial / "app.yaml").write_text("party: false\nlimit: 7\n")
        (made.tree / "pages" / "index.html").write_text("<h1>bad</h1>\n")
        run = go(site, made.plan(site, "config"))
        assert run.state is State.MITIGATED, run.reason
        assert "limit: 3" in (trial / "app.yaml").read_text()
        (trial / "app.yaml").write_text("party: false\nlimit: 8\n")
        production = made.bytes()
        back = go(site, undo(site, run))
        assert back.state is State.MITIGATED, back.reason
        assert (trial / "app.yaml").read_text() == "party: false\nlimit: 7\n"
        assert (made.tree / "pages" / "index.html").read_text() == "<h1>bad</h1>\n"
        now = made.bytes()
        assert {p for p in now if now[p] != production.get(p)} <= {"pages/index.html", "pages"}
        made_of_staging = [
            one for one in site.checkpoints.list() if one.name == "safety-r0002-staging"
        ]
        assert made_of_staging
        site.there("staging").checkpoints.restore(made_of_staging[0].id, "config", step="look")
        assert (trial / "app.yaml").read_text() == "party: false\nlimit: 8\n"


def test_a_run_in_staging_as_a_whole_is_taken_back_there(tmp_path: Path) -> None:
    """`run --environment staging`, then undo: production is not looked at."""
    made = build(tmp_path)
    made.edit("components:\n", "environments: {staging: {root: trial}}\ncomponents:\n")
    made.edit("    gate: {suites: [smoke]}\n", "")
    trial = tmp_path / "trial" / "config"
    trial.mkdir(parents=True)
    (tmp_path / "trial" / "pages").mkdir()
    with made.site() as site:
        site.checkpoints.create("before-release")
    (trial / "app.yaml").write_text("party: false\nlimit: 7\n")
    words = ("--json", "run", "config", "--environment", "staging", "--as", "ada", "--yes")
    assert rollback(tmp_path, *words).json["state"] == "MITIGATED"
    assert "limit: 3" in (trial / "app.yaml").read_text()
    was = made.bytes()
    assert rollback(tmp_path, "--json", "undo", "--as", "ada", "--yes").json["state"] == "MITIGATED"
    assert (trial / "app.yaml").read_text() == "party: false\nlimit: 7\n"
    assert made.bytes() == was


def test_a_command_guarded_in_staging_is_taken_back_there(tmp_path: Path) -> None:
    """From what was kept of staging; production is not touched."""
    made = build(tmp_path)
    made.edit("components:\n", "environments: {staging: {root: trial}}\ncomponents:\n")
    for old in ("{roles: [lead, chief], quorum: all}", "{roles: [lead], count: 2}"):
        made.edit(old, "{roles: [op], alone: true}")
    for name in ("config", "pages"):
        (tmp_path / "trial" / name).mkdir(parents=True)
    trial = tmp_path / "trial" / "config" / "app.yaml"
    trial.write_text("party: false\nlimit: 7\n")
    was = made.bytes()
    words = ("guard", "--environment", "staging", "--as", "ada", "--yes", "--")
    rollback(tmp_path, *words, "/bin/rm", "trial/config/app.yaml")
    assert not trial.exists()
    ended = rollback(tmp_path, "--json", "undo", "--as", "ada", "--yes")
    assert ended.json["state"] == "MITIGATED", ended.out
    assert trial.read_text() == "party: false\nlimit: 7\n"
    assert made.bytes() == was


def test_what_was_kept_before_the_run_is_gone_is_said_and_nothing_is_claimed(shop: Shop) -> None:
    """Without the checkpoint nobody can tell; the run is not closed."""
    from rollback.keep.life import Life

    with shop.site() as site:
        run = go(site, shop.plan(site, "config"))
        Life(site.checkpoints).delete(run.safety)
        with pytest.raises(PlanError, match="no checkpoint"):
            undo(site, run)
        assert resting(site, run)


KEEPS = """
import http.server, json, signal, sys
said = {}
def read(*_):
    said["limit"] = open("config/app.yaml").read().partition("limit: ")[2].strip()
signal.signal(signal.SIGHUP, read)
read()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"ready": True, **said}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.parametrize("verb", ["restart", "reload"])
@pytest.mark.parametrize("how", ["undo", "gives up"])
def test_who_was_made_to_read_new_files_reads_the_old_ones_when_they_are_back(
    served: Shop, verb: str, how: str
) -> None:
    """What serves is what lies there: after an undo, and after a run that takes itself back."""
    (served.tree / "server.py").write_text(KEEPS)
    served.edit("    stop: {signal: TERM, grace: 500ms}\n",
                "    stop: {signal: TERM, grace: 500ms}\n    reload: {signal: HUP}\n")  # fmt: skip
    fails = ", {command: {argv: [/bin/false], effects: none}}" if how == "gives up" else ""
    served.edit("{service: {stop: [web], within: 10s}}, ", "")
    served.edit("{service: {start: [web], within: 10s}}]",
                f"{{service: {{{verb}: [web], within: 10s}}}}{fails}]")  # fmt: skip
    (port,) = served.system.services["web"].ports

    def serves() -> object:
        return json.loads(net.request(f"http://127.0.0.1:{port}/").body)["limit"]

    with served.site() as site:
        go(site, served.plan(site, "stop"))
        go(site, served.plan(site, "start"))
        assert serves() == "99"
        run = go(site, served.plan(site, "config"))
        if how == "undo":
            assert serves() == "3"
            back = go(site, undo(site, run))
            assert back.state is State.MITIGATED, back.reason
        else:
            assert run.state is State.UNDONE, run.reason
    assert "limit: 99" in (served.tree / "config" / "app.yaml").read_text()
    assert serves() == "99"
    if how == "undo":
        with served.site() as site:
            assert go(
                site, undo_plan(site, back, run=next_run_id(site), requester="ada", reason="")
            ).state
        assert serves() == "3"


# -- what cannot be taken back -------------------------------------------------------------


def mail(shop: Shop, words: str) -> None:
    """The level restores, and then sends one mail."""
    (shop.tree / "mail.sh").write_text("echo sent >> ../mails\n")
    steps(
        shop,
        "{restore: {component: config}}",
        f"{{command: {{argv: [/bin/sh, mail.sh], {words}}}}}",
    )


def sent(shop: Shop) -> int:
    return (shop.folder / "mails").read_text().count("sent")


def test_what_declares_no_undo_is_refused_when_it_is_to_be_taken_back(shop: Shop) -> None:
    """Before anything is done; and it is not done a second time."""
    mail(shop, "effects: once")
    with shop.site() as site:
        run = go(site, shop.plan(site, "config"))
        assert sent(shop) == 1
        with pytest.raises(PlanError, match="cannot be taken back: it declares no undo") as refused:
            undo(site, run)
        assert "rollback checkpoint restore" in refused.value.hint
    assert sent(shop) == 1


def test_an_undo_that_failed_does_not_do_the_step_again(shop: Shop) -> None:
    """Nobody knows what it did: a person is asked, and no second mail is sent."""
    mail(shop, "effects: once, undo: {argv: [/bin/false]}")
    with shop.site() as site:
        run = go(site, shop.plan(site, "config"))
        back = go(site, undo(site, run))
        assert back.state is State.NEEDS_OPERATOR, back.reason
        assert sent(shop) == 1
        with pytest.raises(PlanError):
            abort(site, back, by="ada", reason="no way")
        told = rollback(shop.folder, "status").out
        assert f"rollback abort {back.id} --as-it-is" in told
        assert go_on(site, back).state is State.NEEDS_OPERATOR
    assert sent(shop) == 1


def go_on(site: Site, run: Run) -> Run:
    """The run, sent on by a person and driven."""
    retry(site, site.run(run.id), by="ada")
    return settle(site, roll_back(site, run.id))
