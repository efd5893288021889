"""Steps of the procedures: what is looked at, kept and put back, and in which order."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollback import declare
from rollback.act import service
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.model.errors import UsageError
from rollback.model.finding import Answer
from tests.act.conftest import World
from tests.act.conftest import build as build_world
from tests.requirements.stepping import stepped
from tests.systems import Shop, build, walk


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop."""
    return build(tmp_path)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """The small system with two services; they are ended afterwards."""
    made = build_world(tmp_path)
    yield made
    made.end_services()
    made.state.close()


@pytest.mark.requirement("MB-16")
def test_the_plan_names_component_checkpoint_and_who_depends_on_it(world: World) -> None:
    """Before any change; a component that is not there ends it without one."""
    text = world.system.declaration.read_text()
    text = text.replace(
        "{path: config, content: files}", "{path: config, content: files, depends_on: [app]}"
    )
    level = """
  one:
    rank: 3
    title: One
    component: required
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [op], quorum: any, alone: true}
    target: {sources: [{checkpoint: last-good}]}
    steps:
      - service: {id: stop, stop: dependents, within: 5s}
      - restore: {id: restore, component: chosen}
"""
    world.system.declaration.write_text(text.rstrip() + level)
    with Site.open(declare.load(world.system.declaration), world.host) as site:
        kept = site.checkpoints.create("good")
        (world.root / "app" / "new.py").write_text("print('worse')\n")
        before = walk(world.folder)
        plan = make_plan(site, "one", run="r0001", requester="someone", component="app")
        assert (plan.component, plan.target.id) == ("app", kept.id)
        assert plan.steps[0].bound["names"] == ["web", "base"]
        assert plan.impact["dependents"] == ["config"]
        with pytest.raises(UsageError, match="no component appp"):
            make_plan(site, "one", run="r0001", requester="someone", component="appp")
        assert walk(world.folder) == before


@pytest.mark.requirement("MB-17", "MB-23", "MB-78")
def test_logs_issue_and_a_whole_backup_are_there_before_anything_is_restored(shop: Shop) -> None:
    """In the order of the journal; the copies are equal, the backup is re-hashed and holds it all."""
    shop.edit("steps: [{restore: {component: config}}]", """steps:
      - capture: {id: logs, sources: [{log: "pages/*.log"}]}
      - notify: {id: tell, message: began}
      - restore: {id: back, component: config}""")  # fmt: skip
    shop.edit("verification:", """notify:
  channels: {box: {file: {path: outbox/team.jsonl}}}
  audiences: {team: [box]}
  messages: {began: {audience: team, text: "{title}: going back"}}
verification:""")  # fmt: skip
    log = shop.tree / "pages" / "team.log"
    log.write_text("one\ntwo\n")
    with shop.site() as site:
        site.checkpoints.create("good")
        config = shop.tree / "config" / "app.yaml"
        config.write_text("party: true\nlimit: 99\n")
        broken = config.read_bytes()
        run = stepped(site, shop.plan(site, "config", reason="limits are wrong"))
        events = [
            (event.kind, event.data.get("index", ""))
            for event in site.journal.events() if event.run == run.id
        ]  # fmt: skip
        restoring = events.index(("step.began", "3"))
        for earlier in (("run.planned", ""), ("run.protected", ""), ("step.ended", "1"),
                        ("step.ended", "2")):  # fmt: skip
            assert events.index(earlier) < restoring
        assert "message.queued" in [kind for kind, _ in events[:restoring]]
        assert run.plan["reason"] == "limits are wrong"
        copy = site.run_folder(run.id) / "capture" / "logs" / "logs" / "pages" / "team.log"
        assert copy.read_bytes() == log.read_bytes()
        found = site.checkpoints.verify(run.safety, deep=True)
        assert found
        assert {one.answer for one in found} == {Answer.PASS}
        site.checkpoints.restore(run.safety, "config", step="look")
        assert config.read_bytes() == broken


@pytest.mark.requirement("MB-24")
def test_files_configuration_and_agent_states_are_those_of_the_phase(shop: Shop) -> None:
    """All three components, from the checkpoint of the phase and not from the newest one."""
    shop.edit("  pages: {path: pages, content: files}",
              "  pages: {path: pages, content: files}\n  agents: {path: agents, content: files}")  # fmt: skip
    shop.edit("      - restore: {component: config}\n",
              "      - restore: {component: config}\n      - restore: {component: agents}\n")  # fmt: skip
    shop.edit(
        "authority: {roles: [lead, chief], quorum: all}", "authority: {roles: [op], alone: true}"
    )
    (shop.tree / "agents").mkdir()
    state = shop.tree / "agents" / "planner.json"
    state.write_text('{"state": "initial"}\n')
    with shop.site() as site:
        site.checkpoints.create("building-start")
        wanted = shop.bytes()
        for name, text in (("first", "1"), ("later", "2")):
            state.write_text(f'{{"state": "{text}"}}\n')
            (shop.tree / "config" / "app.yaml").write_text(f"party: true\nlimit: {text}\n")
            (shop.tree / "pages" / f"{name}.html").write_text(text)
            site.checkpoints.create(name)
        stepped(site, shop.plan(site, "full", to="phase:building"))
    assert shop.bytes() == wanted


@pytest.mark.requirement("AW-17")
def test_all_instances_are_stopped_and_users_are_told_that_it_pauses(world: World) -> None:
    """Asked of the kernel, not of the step."""
    for name in ("base", "web"):
        service.start(world.scene().view(), name, within_s=10)
    stop, scene = world.bound("service", {"stop": ["web", "base"], "within": "10s"})
    stop.apply(scene)
    tell, there = world.bound("notify", {"message": "hello"}, step="2")
    tell.apply(there)
    assert world.running() == {"base": False, "web": False}
    assert [(kind, data["audience"]) for kind, data in world.notes if kind == "message.queued"] == [
        ("message.queued", "users")
    ]


@pytest.mark.requirement("VR-45")
def test_services_start_in_the_order_of_what_they_need_and_the_journal_says_so(
    world: World,
) -> None:
    """Whatever the order in which they were named."""
    start, scene = world.bound("service", {"start": ["web", "base"], "within": "20s"})
    assert list(start.apply(scene)) == ["base", "web"]
    assert world.running() == {"base": True, "web": True}


@pytest.mark.requirement("VR-38", "VR-39", "VR-40")
def test_a_diagnosis_holds_services_ports_disk_and_memory(world: World) -> None:
    """A service that is down is called so; a listening port is listed; the rest are numbers."""
    service.start(world.scene().view(), "base", within_s=10)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        look, scene = world.bound(
            "capture", {"id": "d", "sources": ["processes", "ports", "disk", "memory"]}
        )
        look.apply(scene)
        port = listening.getsockname()[1]
    folder = world.state.path / "runs/run-1/capture/d"
    services = json.loads((folder / "processes.json").read_text())
    assert services["web"] == "does not run"
    assert services["base"] != "does not run"
    tables = "".join(path.read_text() for path in (folder / "ports").iterdir())
    assert f":{port:04X} 00000000:0000 0A" in tables
    disk = json.loads((folder / "disk.json").read_text())
    assert 0 < disk["root"]["free_bytes"] <= disk["root"]["size_bytes"]
    found = re.search(r"MemAvailable:\s+(\d+) kB", (folder / "memory/meminfo").read_text())
    assert found is not None
    assert int(found[1]) > 0
