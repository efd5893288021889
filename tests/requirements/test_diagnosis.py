"""Declared questions after the steps: asked of files and programs that are really so, each broken once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act import authorize, proving
from rollback.act.engine import roll_back
from rollback.host import Host
from rollback.model.finding import Answer, Finding
from rollback.model.level import Level
from rollback.model.lifecycle import Run, State
from rollback.model.registry import Kind
from rollback.model.system import System
from rollback.observe.check import ask
from rollback.observe.view import View
from rollback.prove.expect import expectations
from tests.requirements.stepping import stepped
from tests.systems import Shop, ill

SYSTEMS = Path(__file__).parents[2] / "systems"

# Stands in for the product's own loader: a step or an agent is a text with a head that names it.
LOADER = """
import sys
head, _, body = open(sys.argv[1], encoding="utf-8").read().removeprefix("---\\n").partition("\\n---\\n")
fields = dict(line.split(": ", 1) for line in head.splitlines())
sys.exit(0 if fields["name"] and body.strip() else "nothing to load")
"""
# Stands in for the product's own sample project: it says how far it got, and how long it took.
SAMPLE = """
import os, sys, time
began = time.monotonic()
for step in range(1, int(sys.argv[sys.argv.index("--steps") + 1]) + 1):
    if os.path.exists("fails-at-%d" % step):
        sys.exit("step %d failed" % step)
    if os.path.exists("hangs-at-%d" % step):
        time.sleep(600)
    open("steps.log", "a").write("step %d ended\\n" % step)
open("steps.log", "a").write("took %.3f s\\n" % (time.monotonic() - began))
"""


@pytest.fixture
def workflow(tmp_path: Path) -> System:
    """The workflow in a folder of its own, with the files that its questions look at."""
    file = tmp_path / "rollback.yaml"
    file.write_bytes((SYSTEMS / "ai_workflow.yaml").read_bytes())
    system = declare.load(file, environ={"PYTHON": sys.executable})
    for name in ("steps/0-scoping/step-01-business-analyst.md", "agents/business-analyst.md"):
        path = system.root_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"---\nname: {path.stem}\n---\nAsk what is wanted.\n")
    (system.root_path / "run").mkdir()
    (system.root_path / "run" / "load.py").write_text(LOADER)
    (system.root_path / "run" / "sample.py").write_text(SAMPLE)
    return system


def said(system: System, name: str, **changed: object) -> Finding:
    """What the declared check answers now."""
    check: Kind = next(one for _, one in system.checks() if getattr(one, "id", "") == name)
    return ask(check.model_copy(update=changed), View(system, Host()))


@pytest.mark.parametrize(
    ("check", "file"),
    [
        pytest.param("first-step-loads", "steps/0-scoping/step-01-business-analyst.md",
                     marks=pytest.mark.requirement("AW-45")),
        pytest.param("persona-loads", "agents/business-analyst.md",
                     marks=pytest.mark.requirement("AW-47")),
    ],
)  # fmt: skip
def test_what_a_user_begins_with_loads_or_the_smoke_suite_is_red(
    workflow: System, check: str, file: str
) -> None:
    """A question of its own in the smoke suite; a broken, an empty and a missing file fail it."""
    assert expectations(workflow, "release").of("smoke")[check].wanted == "pass"
    assert said(workflow, check).answer is Answer.PASS
    path = workflow.root_path / file
    for broken in (b"no head\n", b"---\nname: x\n---\n", b"---\nname: \xff\n---\ntext\n", None):
        path.unlink() if broken is None else path.write_bytes(broken)
        assert said(workflow, check).answer is Answer.FAIL


@pytest.mark.requirement("AW-50")
def test_a_sample_project_runs_through_eleven_steps_in_less_than_an_hour(workflow: System) -> None:
    """It says how long it took; a step that fails, or time that is over, is no pass at the gate."""
    log = workflow.root_path / "steps.log"
    assert expectations(workflow, "release").of("functional")["sample-project"].wanted == "pass"
    assert said(workflow, "sample-project").answer is Answer.PASS
    lines = log.read_text().splitlines()
    assert lines[:-1] == [f"step {number} ended" for number in range(1, 12)]
    assert lines[-1].startswith("took ")
    for step in (1, 7, 11):
        mark = workflow.root_path / f"fails-at-{step}"
        mark.touch()
        found = said(workflow, "sample-project")
        assert found.answer is Answer.FAIL
        assert f"step {step} failed" in found.evidence
        mark.unlink()
    (workflow.root_path / "hangs-at-3").touch()
    late = said(workflow, "sample-project", within=1.0)
    assert (late.answer, "did not end within" in late.evidence) == (Answer.UNKNOWN, True)
    check: Kind = next(one for _, one in workflow.checks() if one.kind == "command"
                       and getattr(one, "id", "") == "sample-project")  # fmt: skip
    assert getattr(check, "within") < 3600 <= proving.deadline_s(workflow, "functional")  # noqa: B009


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return ill(tmp_path)


def questions(shop: Shop, names: tuple[str, ...], steps: str) -> None:
    """Level config goes back, and then takes these steps; each question is a file with a yes in it."""
    checks = "".join(
        f"    - files: {{id: {name}, contains: {{{name}.txt: 'yes'}}, levels: [config]}}\n"
        for name in names
    )
    shop.edit("verification:\n  smoke:\n", f"verification:\n  smoke:\n{checks}")
    shop.edit("    steps: [{restore: {component: config}}]\n",
              f"    steps:\n      - restore: {{component: config}}\n{steps}")  # fmt: skip
    for name in names:
        (shop.tree / f"{name}.txt").write_text("yes\n")


THREE = ("first-step-loads", "knowledge-answers", "no-errors")


@pytest.mark.requirement("AW-22")
@pytest.mark.parametrize("no", ["", *THREE])
def test_three_questions_are_recorded_and_one_no_keeps_what_follows_from_happening(
    shop: Shop, no: str
) -> None:
    """The quick way ends with exactly these; the line that says it is over is not written after a no."""
    system = declare.load(SYSTEMS / "ai_workflow.yaml", environ={})
    level: Level = system.levels["release"]
    last = [one for one in level.steps if getattr(one, "variant", "") == "quick"][-1]
    assert tuple(getattr(last, "checks")) == THREE  # noqa: B009
    questions(shop, THREE, f"""\
      - verify: {{id: three, checks: [{", ".join(THREE)}]}}
      - command: {{id: over, argv: [/usr/bin/touch, config/over.txt], changes: [config]}}
""")  # fmt: skip
    if no:
        (shop.tree / f"{no}.txt").write_text("no\n")
    with shop.site() as site:
        run = stepped(site, shop.plan(site, "config")) if not no else driven(shop)
    record = run.steps["2"]
    assert (shop.tree / "config" / "over.txt").exists() is (not no)
    if no:
        assert record.status in ("failed", "undone")
        assert f"check {no} answered FAIL" in json.dumps(shop.lines())
    else:
        assert {*THREE} <= {*record.evidence}


def driven(shop: Shop) -> Run:
    """The run, as far as it goes."""
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        return roll_back(site, run.id)


RESOURCES = ("postgres", "redis", "qdrant")


@pytest.mark.requirement("VR-46")
@pytest.mark.parametrize("down", ["", *RESOURCES])
def test_five_seconds_after_the_start_all_resources_are_well_or_the_run_fails(
    shop: Shop, down: str
) -> None:
    """Nothing is asked before; what is down by then fails the run, whatever it was at its start."""
    system = declare.load(SYSTEMS / "vrooli.yaml", environ={})
    wait, asks = system.levels["clean-recovery"].steps[-2:]
    assert (wait.kind, getattr(wait, "for_"), asks.kind) == ("wait", 5.0, "verify")  # noqa: B009
    assert {*RESOURCES} <= {*getattr(asks, "checks")}  # noqa: B009
    questions(shop, RESOURCES, f"""\
      - wait: {{id: settle, for: 5s, within: 10s}}
      - verify: {{id: diagnosis, checks: [{", ".join(RESOURCES)}]}}
""")  # fmt: skip
    waiting = driven(shop)
    assert (waiting.state, waiting.waiting_for["on"]) == (State.WAITING, "timer")
    if down:
        (shop.tree / f"{down}.txt").write_text("DOWN\n")
    shop.clock.ahead_s += 4
    with shop.site() as site:
        assert roll_back(site, waiting.id).state is State.WAITING
    shop.clock.ahead_s += 1.5
    with shop.site() as site:
        run = roll_back(site, waiting.id)
    if down:
        assert run.state is State.UNDONE
        assert f"check {down} answered FAIL" in run.reason
    else:
        assert run.state is State.COMPLETE, run.verdict
