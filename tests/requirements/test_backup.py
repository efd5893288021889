"""What is kept can be had again: every version by its id, the newest that is whole, and never more."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pygit2
import pytest

from rollback import declare
from rollback.act import authorize
from rollback.act.afterwards import settle
from rollback.act.back import undo_plan
from rollback.act.engine import roll_back
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.cli.timeline import exit_status
from rollback.host import Host
from rollback.model.finding import Answer
from rollback.model.lifecycle import State
from tests.act.conftest import World
from tests.act.conftest import build as build_world
from tests.requirements.stepping import stepped
from tests.requirements.test_guardrail import NoRoomForBackups
from tests.systems import Shop, build, walk

SYSTEMS = Path(__file__).parents[2] / "systems"

LEVEL = """
  back:
    rank: 3
    title: Back
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [op], quorum: any, alone: true}
    target: {sources: [{checkpoint: newest}, {git: "v1*"}]}
    steps: [{restore: {component: app}}]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop."""
    return build(tmp_path)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The small system with a tag and a level that takes the newest backup, else the tag."""
    made = build_world(tmp_path)
    made.system.declaration.write_text(made.system.declaration.read_text().rstrip() + LEVEL)
    repo = pygit2.Repository(str(made.root))
    repo.references.create("refs/tags/v1.0.0", repo.head.target)
    repo.free()
    made.system = declare.load(made.system.declaration)
    yield made
    made.state.close()


@pytest.mark.requirement("MB-63")
def test_every_version_of_every_component_is_had_again_by_its_id(shop: Shop) -> None:
    """Whichever came last; what is there now makes no difference."""
    kept: dict[str, dict[str, str]] = {}
    with shop.site() as site:
        for number in range(3):
            (shop.tree / "config" / "app.yaml").write_text(f"party: true\nlimit: {number}\n")
            (shop.tree / "pages" / f"page-{number}.html").write_text(f"<p>{number}</p>\n")
            kept[site.checkpoints.create(f"version-{number}").id] = shop.bytes()
        for version in (1, 2, 0):
            found = list(kept)[version]
            assert set(site.checkpoints.get(found).components) == {"config", "pages"}
            for component in ("config", "pages"):
                site.checkpoints.restore(found, component, step=f"back-{version}-{component}")
            assert shop.bytes() == kept[found]


@pytest.mark.requirement("AW-32")
def test_the_newest_backup_is_taken_whatever_its_name_and_its_date_is_told(world: World) -> None:
    """Three whose names run against their times."""
    with Site.open(world.system, world.host) as site:
        made = {
            name: site.checkpoints.create(name) for name in ("backup-3", "backup-2", "backup-1")
        }
        plan = make_plan(site, "back", run="r0001", requester="someone")
    newest = made["backup-1"]
    assert (plan.target.id, plan.target.at) == (newest.id, newest.at)
    seen = [(one.label, one.at) for one in plan.candidates if one.source == "checkpoint"]
    assert seen[0] == ("backup-1", newest.at)
    assert newest.size_bytes > 0


@pytest.mark.requirement("AW-33")
def test_a_damaged_backup_is_passed_over_for_the_next_whole_one_and_then_for_the_tag(
    world: World,
) -> None:
    """Cut short on the disk; why it was passed over stands in the plan."""
    with Site.open(world.system, world.host) as site:
        old = site.checkpoints.create("backup-old")
        packs = set((world.state.path / "store").rglob("*.pack"))
        (world.root / "app" / "new.py").write_text("print('newer')\n")
        site.checkpoints.create("backup-new")
    for pack in set((world.state.path / "store").rglob("*.pack")) - packs:
        pack.write_bytes(pack.read_bytes()[:-20])
    with Site.open(world.system, world.host) as site:
        plan = make_plan(site, "back", run="r0001", requester="someone")
    assert plan.target.id == old.id
    why = {one.label: one.why_not for one in plan.candidates if not one.valid}
    assert why["backup-new"]
    for pack in packs:
        pack.write_bytes(pack.read_bytes()[:-20])
    with Site.open(world.system, world.host) as site:
        plan = make_plan(site, "back", run="r0001", requester="someone")
    assert (plan.target.source, plan.target.label) == ("git", "refs/tags/v1.0.0")


@pytest.mark.requirement("AW-74")
def test_the_data_of_users_is_the_same_before_and_after_everything_went_back(shop: Shop) -> None:
    """By hash: no step of the level names it."""
    projects = shop.tree / "projects"
    projects.mkdir()
    (projects / "one.txt").write_text("work of a user\n")
    shop.edit("{roles: [lead, chief], quorum: all}", "{roles: [op], alone: true}")
    shop.edit(
        "  pages: {path: pages",
        "  projects: {path: projects, volatile: true}\n  pages: {path: pages",
    )
    with shop.site() as site:
        site.checkpoints.create("good")
        (projects / "one.txt").write_text("more work of a user\n")
        (projects / "two.txt").write_text("new work\n")
        (shop.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
        before = walk(projects)
        run = stepped(site, shop.plan(site, "full"))
    assert run.state is State.MITIGATED
    assert (shop.tree / "pages" / "index.html").read_text() == "<h1>shop</h1>\n"
    assert walk(projects) == before


# -- the set that is declared, and no more ------------------------------------------------------

WORKFLOW = """
places: {backups: {path: FOLDER/backups, may: [archive]}}
components:
  agents: {path: agents, content: files}
  steps: {path: steps, content: files}
  templates: {path: templates, content: files}
  checklists: {path: checklists, content: files}
  settings: {path: config.yaml, content: files}
  deployment: {path: DEPLOYMENT, content: files}
  documents: {path: ., paths: ["*.md"], exclude: ["*/**"], content: files}
"""
SAVE = """procedures:
  save:
    title: Keep the broken version
    authority: {roles: [op], alone: true}
    steps:
      - archive:
          id: save-broken
          place: backups
          name: v2.0.0-broken-{date}-{time}
          components: [agents, steps, templates, settings, checklists, deployment, documents]
          exclude: [.git, _deprecated, node_modules]
levels:
"""
MEMBERS = ("agents/one.yaml", "agents/deep/two.yaml", "steps/step-01.md", "templates/mail.txt",
           "checklists/before.md", "config.yaml", "DEPLOYMENT/plan.txt", "README.md",
           "workflow.md")  # fmt: skip
NOT_MEMBERS = (".git/HEAD", "agents/_deprecated/old.yaml", "steps/node_modules/x.js", "projects/mine.txt",
               "DEPLOYMENT/.git/config", "DEPLOYMENT/node_modules/deep/y.js", "_deprecated/z.md",
               "notes.txt", "agents/readme/_deprecated/more.md")  # fmt: skip


@pytest.mark.requirement("AW-35")
def test_the_broken_version_is_saved_with_exactly_the_declared_members(
    shop: Shop, tmp_path: Path
) -> None:
    """Under a name with its time; what is excluded is in it at no depth; proved by sha256sum; logged."""
    shop.edit("components:\n", WORKFLOW.replace("FOLDER", str(tmp_path)).lstrip("\n"))
    shop.edit("levels:\n", SAVE)
    for name in (*MEMBERS, *NOT_MEMBERS):
        path = shop.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}\n")
    with shop.site() as site:
        run = stepped(site, shop.plan(site, "save"))
        told = run.steps["1"].evidence
        assert [e.kind for e in site.journal.events() if e.data.get("id") == "save-broken"] == [
            "step.began", "step.ended"]  # fmt: skip
        stamp = run.plan["stamp"]
        assert isinstance(stamp, dict)
    (archive,) = (tmp_path / "backups").iterdir()
    assert archive.name == f"v2.0.0-broken-{stamp['date']}-{stamp['time']}.tar.gz"
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == told["sha256"]
    with tarfile.open(archive) as members:
        files = {one.name for one in members if one.isfile()}
        folders = {one.name for one in members if one.isdir()}
        assert files == {*MEMBERS, "MANIFEST.sha256"}
        assert not {name for name in folders for part in name.split("/")
                    if part in (".git", "_deprecated", "node_modules", "projects")}  # fmt: skip
        members.extractall(tmp_path / "out", filter="data")
    done = subprocess.run(["sha256sum", "--strict", "-c", "MANIFEST.sha256"], cwd=tmp_path / "out",
                          check=False, capture_output=True, timeout=30)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b": OK") == len(MEMBERS)


def test_the_declared_workflow_saves_that_set() -> None:
    """The step of the larger system names the same parts and leaves out the same folders."""
    system = declare.load(SYSTEMS / "ai_workflow.yaml", environ={})
    (step,) = [
        one for one in system.levels["release"].steps if getattr(one, "id", "") == "save-broken"
    ]
    paths = {(system.components[name].path, system.components[name].paths)
             for name in step.components}  # type: ignore[attr-defined]  # fmt: skip
    assert paths == {("agents", ()), ("steps", ()), ("templates", ()), ("config.yaml", ()),
                     ("checklists", ()), ("DEPLOYMENT", ()), (".", ("*.md",))}  # fmt: skip
    assert set(step.exclude) == {".git", "_deprecated", "node_modules"}  # type: ignore[attr-defined]
    assert "{date}" in step.name  # type: ignore[attr-defined]


# -- no backup, no rollback ---------------------------------------------------------------------

SINK = """notify:
  channels: {sink: {file: {path: outbox/escalations.jsonl}}}
  audiences: {people: [sink]}
  messages:
    not-kept: {audience: people, urgent: true, on: [undone], text: "Run {run} at level {level}: {reason}."}
"""


@pytest.mark.requirement("QL-23")
def test_where_the_present_cannot_be_kept_nothing_goes_back_and_somebody_is_called(
    shop: Shop,
) -> None:
    """The store takes nothing: an error in the journal, an escalation in the sink, not status 0."""
    shop.edit("verification:\n", f"{SINK}verification:\n")
    with shop.site() as site:
        site.checkpoints.create("good")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    before = shop.bytes()
    tap = NoRoomForBackups()
    with Site.open(shop.system, Host(tap=tap, clock=shop.clock)) as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        tap.armed = True
        run = settle(site, roll_back(site, run.id))
        assert run.state is State.UNDONE
        assert exit_status(run) == 6
        assert run.steps == {}
        (why,) = [str(e.data["reason"]) for e in site.journal.events() if e.kind == "run.undoing"]
    assert why.startswith("the present cannot be kept")
    assert shop.bytes() == before
    (told,) = [json.loads(line) for line in
               (shop.folder / "outbox/escalations.jsonl").read_text().splitlines()]  # fmt: skip
    assert "the present cannot be kept" in told["text"]
    theirs = declare.load(SYSTEMS / "quantum_lattice.yaml", environ={})
    assert theirs.notify.messages["not-kept"].on == ("undone",)


@pytest.mark.requirement("QL-23")
def test_before_every_rollback_there_is_a_whole_backup_with_its_manifest(shop: Shop) -> None:
    """Listed, proved again byte by byte, before the first step began."""
    with shop.site() as site:
        site.checkpoints.create("good")
        (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
        run = stepped(site, shop.plan(site, "config"))
        kept = site.checkpoints.get(run.safety)
        assert kept.target
        assert (shop.folder / f".rollback/store/checkpoints/{kept.id}.json").exists()
        assert {one.answer for one in site.checkpoints.verify(kept.id, deep=True)} == {Answer.PASS}
        order = [e.kind for e in site.journal.events() if e.run == run.id]
        assert order.index("run.protected") < order.index("step.began")


# -- the failed change --------------------------------------------------------------------------


@pytest.mark.requirement("VR-16")
def test_the_failed_change_is_saved_with_its_untracked_files_and_can_be_had_again(
    world: World,
) -> None:
    """Uncommitted: changed, added, removed, made executable; afterwards it applies to the byte."""
    app = world.root / "app"
    (app / "server.py").write_text((app / "server.py").read_text() + "# the failed change\n")
    (app / "else.py").unlink()
    (app / "untracked.py").write_text("print('never added')\n")
    (app / "deep").mkdir()
    (app / "deep" / "also.bin").write_bytes(bytes(range(256)))
    (app / "new.py").chmod(0o755)
    failed = walk(app)
    text = world.system.declaration.read_text()
    world.system.declaration.write_text(text.replace(
        "sources: [{checkpoint: newest}, {git: \"v1*\"}]", "sources: [{git: \"v1*\"}]"))  # fmt: skip
    world.system = declare.load(world.system.declaration)
    with Site.open(world.system, world.host) as site:
        plan = make_plan(site, "back", run="r0001", requester="someone")
        run = authorize.create(site, plan)
        authorize.approve(site, run, person="someone")
        run = roll_back(site, run.id)
        assert run.state is State.MITIGATED, run.reason
        assert (app / "else.py").exists()
        assert "failed" not in (app / "server.py").read_text()
        saved = {one.path.decode() for one in site.checkpoints.entries(run.safety, "app")}
        assert {"untracked.py", "deep/also.bin", "server.py"} <= saved
        assert "else.py" not in saved
        undo = undo_plan(
            site, site.run(run.id), run="r0002", requester="someone", reason="look again"
        )
        again = authorize.create(site, undo)
        authorize.approve(site, again, person="someone")
        assert roll_back(site, again.id).state is State.MITIGATED
    assert walk(app) == failed


# -- a phase ------------------------------------------------------------------------------------

PARTS = """components:
  states: {path: data/agents.db, content: sqlite}
  results: {path: results, content: files}
"""
PHASE = """checkpoints:
  kinds: {phase: {title: A phase is done, on: phase, components: all, retention: keep}}
procedures:
  build:
    title: Build the pages
    phases: [{id: building}]
    authority: {roles: [op], alone: true}
    steps:
      - command:
          id: make
          phase: building
          argv: [/bin/cp, pages/index.html, pages/made.html]
          changes: [pages]
levels:
"""


@pytest.mark.requirement("MB-33")
def test_a_phase_that_is_done_is_kept_with_states_configuration_products_and_metrics(
    shop: Shop,
) -> None:
    """By itself, under the name of the phase; every version of it stays to be had by its id."""
    shop.edit("components:\n", PARTS)
    shop.edit("levels:\n", PHASE)
    (shop.tree / "data").mkdir()
    (shop.tree / "results").mkdir()
    (shop.tree / "results" / "metrics.json").write_text('{"errors": 0}\n')
    with closing(sqlite3.connect(shop.tree / "data" / "agents.db")) as db:
        db.execute("create table agents (name text, state text)")
        db.execute("insert into agents values ('reviewer', 'ready')")
        db.commit()
    with shop.site() as site:
        first = stepped(site, shop.plan(site, "build"))
        (shop.tree / "results" / "metrics.json").write_text('{"errors": 1}\n')
        stepped(site, shop.plan(site, "build"))
        kept = {one.name: one for one in site.checkpoints.list() if one.kind == "phase"}
        assert set(kept) == {"building-r0001", "building-r0002"}
        for one in kept.values():
            assert set(one.components) == {"states", "config", "pages", "results"}
            assert one.target
        old = kept[f"building-{first.id}"]
        for component in old.components:
            site.checkpoints.restore(old.id, component, step=f"back-{component}")
        assert (shop.tree / "results" / "metrics.json").read_text() == '{"errors": 0}\n'
        assert (shop.tree / "pages" / "made.html").exists()
        with closing(sqlite3.connect(shop.tree / "data" / "agents.db")) as db:
            assert db.execute("select * from agents").fetchall() == [("reviewer", "ready")]
