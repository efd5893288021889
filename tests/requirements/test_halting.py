"""Stopping, keeping and telling, in the order that was asked for; and half an hour of looking on."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from rollback import declare
from rollback.act import authorize, service
from rollback.act.afterwards import settle
from rollback.act.engine import roll_back
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.host import Host, processes
from rollback.keep.entry import path_json
from rollback.model.lifecycle import Run, State
from rollback.observe.view import View
from tests.systems import Hands, build
from tests.tell.test_watched import Watched

WORKER = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    with open("state/progress", "a") as file:
        file.write("one more\\n")
    time.sleep(0.01)
"""
TEXT = """
schema: 1
system: {id: team, title: Team, version: 1.0.0, date: 2026-11-20, next_review: 2027-05-20}
root: tree
state: {dir: .rollback}
places: {archives: {path: FOLDER/archives, may: [read, write, archive], limit: 1MiB}}
components:
  state: {path: state, content: files, volatile: true}
  issues: {path: issues, content: files}
  logs: {path: logs/team.jsonl, content: append-only}
services:
  team:
    manager: registry
    argv: ["PYTHON", -I, -u, work.py]
    lock: run/team.lock
    log: run/team.out
    stop: {signal: TERM, grace: 200ms}
    drain: {files: {absent: [open-work]}}
    components: [state]
people: {owner: op, roles: {op: {title: Operator}}, members: [{id: ada, roles: [op]}]}
notify:
  channels: {box: {file: {path: outbox/all.jsonl}}, alarm: {file: {path: outbox/alarm.jsonl}}}
  audiences: {stakeholders: [box], alarmed: [alarm, box]}
  messages:
    halted: {audience: stakeholders, text: "{title}: all work is halted, the state is frozen"}
    alert: {audience: alarmed, text: "{title}: stopped at once"}
verification: {smoke: []}
levels:
  only:
    rank: 1
    title: Only
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [op], alone: true}
    steps: [{wait: {for: 1s}}]
procedures:
  halt:
    title: Stop the work
    authority: {roles: [op], alone: true}
    steps:
      - service: {id: halt, stop: [team], within: 10s}
      - freeze: {id: freeze, components: [state], within: 10s}
      - notify: {id: tell, message: halted}
  emergency:
    title: Stop at once
    authority: {roles: [op], alone: true}
    steps:
      - service: {id: halt, stop: [team], within: 10s}
      - checkpoint: {id: keep, components: all, within: 60s}
      - notify: {id: alert, message: alert}
  preserve:
    title: Archive everything
    authority: {roles: [op], alone: true}
    steps:
      - archive: {id: archive, place: archives, name: "given-up-{date}", components: all, within: 60s}
"""


class Team:
    """One worker that never stops by itself and does not hear TERM."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tree = folder, folder / "tree"
        for name in ("state", "issues", "logs", "run"):
            (self.tree / name).mkdir(parents=True)
        (self.tree / "work.py").write_text(WORKER)
        (self.tree / "open-work").write_text("a drain would wait for this to go")
        (self.tree / "issues" / "one.md").write_text("it is slow\n")
        (self.tree / "logs" / "team.jsonl").write_text('{"event": "begun"}\n')
        text = TEXT.replace("PYTHON", sys.executable).replace("FOLDER", str(folder))
        (folder / "rollback.yaml").write_text(text)
        self.system = declare.load(folder / "rollback.yaml")
        self.host = Host()

    @property
    def progress(self) -> Path:
        return self.tree / "state" / "progress"

    def start(self) -> None:
        service.start(View(self.system, self.host), "team", within_s=10)
        assert self.host.clock.poll(self.progress.exists, within_s=10)

    def carried_out(self, procedure: str) -> tuple[Run, list[tuple[str, str]]]:
        """The run of a procedure, and its events with the step that each is about."""
        with Site.open(self.system, self.host) as site:
            plan = make_plan(site, procedure, run=authorize.next_run_id(site), requester="ada")
            run = authorize.create(site, plan)
            authorize.approve(site, run, person="ada")
            run = settle(site, roll_back(site, run.id))
            assert run.state is State.MITIGATED, run.reason
            events = [(event.kind, str(event.data.get("id", ""))) for event in site.journal.events()
                      if event.run == run.id]  # fmt: skip
        return run, events

    def sent(self, box: str) -> list[str]:
        lines = (self.folder / "outbox" / f"{box}.jsonl").read_text().splitlines()
        return [json.loads(line)["text"] for line in lines]


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """The team; its worker is ended afterwards."""
    made = Team(tmp_path)
    yield made
    if processes.held(str(made.tree / "run" / "team.lock")):
        service.stop(View(made.system, made.host), "team", within_s=10)


def written_by_another(path: Path) -> bool:
    """Somebody without special rights could append to the file."""
    folder = os.open(path.parent, os.O_PATH)
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            os.write(os.open(path.name, os.O_WRONLY | os.O_APPEND, dir_fd=folder), b"x")
            os._exit(0)
        finally:
            os._exit(1)
    os.close(folder)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.requirement("MB-21")
def test_all_work_halts_the_state_is_not_written_and_everybody_is_told(team: Team) -> None:
    """No progress after the halt, a write is refused that was possible before, one message each."""
    team.start()
    team.progress.chmod(0o666)
    assert written_by_another(team.progress)
    _, events = team.carried_out("halt")
    assert [step for kind, step in events if kind == "step.ended"] == ["halt", "freeze", "tell"]
    assert not processes.held(str(team.tree / "run" / "team.lock"))
    seen = team.progress.read_bytes()
    assert not written_by_another(team.progress)
    assert team.progress.read_bytes() == seen
    assert team.sent("all") == [
        "Team: all work is halted, the state is frozen"]  # fmt: skip


@pytest.mark.requirement("MB-27")
def test_an_emergency_stops_hard_then_keeps_then_alerts(team: Team) -> None:
    """In this order; open work is not waited for; what is kept is the state as it was stopped."""
    team.start()
    run, events = team.carried_out("emergency")
    order = [
        event for event in events if event[0] in ("step.began", "step.ended", "message.queued")
    ]
    assert [kind for kind, _ in order] == [
        "step.began", "step.ended", "step.began", "step.ended", "step.began", "message.queued",
        "step.ended"]  # fmt: skip
    assert [step for kind, step in order if kind == "step.ended"] == ["halt", "keep", "alert"]
    assert not processes.held(str(team.tree / "run" / "team.lock"))
    assert (team.tree / "open-work").exists()
    with Site.open(team.system, team.host) as site:
        kept = str(run.steps["2"].evidence["checkpoint"])
        assert set(site.checkpoints.get(kept).parts) == {"state", "issues", "logs"}
        held = {path_json(e.path): e.sha256 for e in site.checkpoints.entries(kept, "state")}
    assert held["progress"] == hashlib.sha256(team.progress.read_bytes()).hexdigest()
    assert team.sent("alarm") == team.sent("all") == ["Team: stopped at once"]


@pytest.mark.requirement("MB-29")
def test_state_issues_and_logs_are_in_one_archive_that_proves_itself(team: Team) -> None:
    """Opened and checked by other programs than ours."""
    (team.tree / "state" / "progress").write_text("as far as it came\n")
    run, _ = team.carried_out("preserve")
    (archive,) = (team.folder / "archives").iterdir()
    assert archive.name == f"given-up-{run.plan['stamp']['date']}.tar.gz"  # type: ignore[call-overload, index]
    out = team.folder / "out"
    out.mkdir()
    subprocess.run(["tar", "xzf", str(archive), "-C", str(out)], check=True)
    subprocess.run(["sha256sum", "-c", "--quiet", "MANIFEST.sha256"], cwd=out, check=True)
    listed = {line.split("  ", 1)[1] for line in (out / "MANIFEST.sha256").read_text().splitlines()}
    assert listed == {"state/progress", "issues/one.md", "logs/team.jsonl"}
    for name in listed:
        assert (out / name).read_bytes() == (team.tree / name).read_bytes()


SIGNALS = """metrics:
  errors: {unit: fraction, source: {command: {argv: [/bin/cat, pages/errors], number: stdout}}}
  success:
    {unit: fraction, source: {command: {argv: [/bin/cat, pages/success], number: stdout}}}
  complaints: {unit: count, source: {command: {argv: [/bin/cat, pages/complaints], number: stdout}}}
"""
DEPLOY = """    steps:
      - command:
          id: production
          argv: [/bin/cp, config/app.yaml, pages/live]
          probe: {files: {exists: [pages/live]}}
      - watch:
          id: half-an-hour
          for: 30m
          every: 60s
          within: 40m
          expect:
            - {metric: errors, below: 1%}
            - {metric: success, above: 95%}
            - {metric: complaints, at_most: 0}
"""


@pytest.mark.requirement("PM-50")
@pytest.mark.parametrize(
    ("signal", "bad"), [("", ""), ("errors", "0.01"), ("success", "0.95"), ("complaints", "1")]
)
def test_after_the_deployment_three_signals_are_read_for_half_an_hour(
    signal: str, bad: str, tmp_path: Path
) -> None:
    """Minute by minute, all three in the journal; the first bad one ends it."""
    shop = build(tmp_path, guardrails=SIGNALS)
    shop.edit("    steps: [{restore: {component: config}}]\n", DEPLOY)
    shop.clock = Hands()
    for name, value in (("errors", "0.002"), ("success", "0.99"), ("complaints", "0")):
        (shop.tree / "pages" / name).write_text(f"{value}\n")
    with shop.site() as site:
        site.checkpoints.create("good")
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        found = Watched(shop, shop.clock, roll_back(site, run.id))  # type: ignore[arg-type]
    minutes = 0
    while found.run.state is State.WAITING and minutes < 40:
        minutes += 1
        if minutes == 17 and signal:
            (shop.tree / "pages" / signal).write_text(f"{bad}\n")
        found.later(60.001)
    assert (shop.tree / "pages" / "live").exists()
    readings = found.report()["watched"]
    assert {tuple(sorted(one["values"])) for one in readings} == {
        ("complaints", "errors", "success")
    }
    if signal:
        assert found.run.state not in (State.MITIGATED, State.COMPLETE)
        assert [one["good"] for one in readings] == [*([True] * 17), False]
        return
    assert "run.mitigated" in found.run.moments, found.run.reason
    assert all(one["good"] for one in readings)
    first, last = (datetime.fromisoformat(readings[at]["at"]) for at in (0, -1))
    assert (last - first).total_seconds() >= 30 * 60
    assert len(readings) == 31
