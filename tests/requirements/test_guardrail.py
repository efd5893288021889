"""What keeps a rollback from doing harm: nothing is kept, nothing is changed."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act import authorize, holding
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.host import Host, Tap
from rollback.judge.guardrails import Circumstances, refusals
from rollback.model.errors import PlanError, Refused, SpecError
from rollback.model.lifecycle import State
from tests.act.conftest import build as build_world
from tests.requirements.stepping import stepped
from tests.systems import Shop, build, ill, walk
from tests.watch.places import place

T = TypeVar("T")
SYSTEMS = Path(__file__).parents[2] / "systems"


class NoRoomForBackups(Tap):
    """Every change below the store fails, once it is armed."""

    armed = False

    def change(
        self, call: str, where: str | bytes, do: Callable[[], T],
        torn: Callable[[], object] | None = None,
    ) -> T:  # fmt: skip
        """The result, or an error of the disk."""
        if self.armed and (b"pack" in os.fsencode(where) or b"checkpoints" in os.fsencode(where)):
            raise OSError(errno.ENOSPC, "no room for backups")
        return do()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and a bad release."""
    return ill(tmp_path)


@pytest.mark.requirement("MB-78", "QL-33")
def test_when_the_present_cannot_be_kept_nothing_is_changed(shop: Shop) -> None:
    """The run is taken back before its first step, and says why."""
    tap = NoRoomForBackups()
    before = shop.bytes()
    with Site.open(shop.system, Host(tap=tap, clock=shop.clock)) as site:
        plan = shop.plan(site, "config")
        tap.armed = True
        run = stepped(site, plan, to=State.UNDONE)
        assert "the present cannot be kept" in run.reason
        assert "run.protected" not in run.moments
        assert run.steps == {}
    assert shop.bytes() == before


@pytest.mark.requirement("PM-24")
def test_the_flag_goes_off_without_git_backups_or_anybody_else(shop: Shop) -> None:
    """The store is empty and takes nothing, there is no repository, and who asks also approves."""
    store = shop.folder / ".rollback" / "store"
    shutil.rmtree(store)
    store.mkdir(mode=0o700)
    assert not list(shop.folder.rglob(".git"))
    tap = NoRoomForBackups()
    tap.armed = True
    with Site.open(shop.system, Host(tap=tap, clock=shop.clock)) as site:
        stepped(site, shop.plan(site, "flag"))
    assert "PARTY=false" in (shop.tree / ".env").read_text()
    assert "party: true" in (shop.tree / "config" / "app.yaml").read_text()


@pytest.mark.requirement("QL-37")
def test_a_billion_bytes_are_too_few_and_one_more_is_enough() -> None:
    """More than, not at least."""
    system = declare.load(SYSTEMS / "quantum_lattice.yaml", environ={})
    level = system.levels["fast"]
    seen = Circumstances(
        now=datetime(2026, 11, 20, tzinfo=UTC),
        begun=(),
        need_bytes=0,
        free_bytes=10**9,
        rehearsed=True,
    )
    assert [one.guardrail for one in refusals(system, level, seen)] == ["disk"]
    assert refusals(system, level, replace(seen, free_bytes=10**9 + 1)) == ()


@pytest.mark.requirement("QL-34")
@pytest.mark.parametrize("commit", ["0" * 40, "no-such-release", "HEAD~99"])
def test_a_commit_that_is_not_there_ends_it_by_name_before_any_change(
    commit: str, tmp_path: Path
) -> None:
    """Neither a run nor a byte comes of it."""
    world = build_world(tmp_path)
    try:
        text = world.system.declaration.read_text()
        level = "    target: {sources: [{git: main}]}\n    steps: [{git: {reset: target}}]\n"
        assert text.endswith("    steps: [{wait: {for: 1s}}]\n")
        world.system.declaration.write_text(text.replace("    steps: [{wait: {for: 1s}}]\n", level))
        with Site.open(declare.load(world.system.declaration), world.host) as site:
            before = walk(world.folder)
            with pytest.raises(PlanError, match=re.escape(commit[:12])):
                make_plan(site, "other", run="r0001", requester="someone", to=f"git:{commit}")
            assert site.runs() == {}
            assert walk(world.folder) == before
    finally:
        world.state.close()


@pytest.mark.requirement("QL-41")
def test_a_look_at_the_guardrails_says_whether_and_why_and_ok_is_written_down(shop: Shop) -> None:
    """A pair: allowed, and the reason; what was allowed stands with the run, what was not without one."""
    shop.edit("levels:\n", "guardrails: {rate_limit: {max: 1, per: 24h, min_gap: 0s}}\nlevels:\n")
    with shop.site() as site:
        plan = shop.plan(site, "config")
        assert holding.objections(site, plan).answer == (True, "OK")
        run = authorize.create(site, plan)
        (planned,) = [e for e in site.journal.events() if e.kind == "run.planned"]
        assert planned.data["guardrails"] == "OK"
        again = shop.plan(site, "config")
        allowed, reason = holding.objections(site, again).answer
        assert (allowed, reason.partition(":")[0]) == (False, "rate-limit")
        with pytest.raises(Refused):
            authorize.create(site, again)
        assert list(site.runs()) == [run.id]
        assert site.journal.events()[-1].kind == "run.refused"


LADDER = "notify: {ladders: {person: {rungs: [{role: op, within: 1m}]}}}\n"
WHOLE = "guardrails: {whole_procedures: true, escalate: person}\n"


@pytest.mark.requirement("QL-01")
@pytest.mark.parametrize(
    ("cut", "instead", "said"),
    [
        ("    gate: {suites: [smoke]}\n  pages:", "  pages:", "config: proves nothing at its end"),
        ("    gate: {suites: [smoke]}\n  pages:", "    gate: {suites: []}\n  pages:",
         "config: proves nothing"),
        ("    title: Settings back\n", "    title: Settings back\n    waives: [checkpoint]\n",
         "config: may go on without a checkpoint"),
        ("    emergency: true\n", "    emergency: true\n    waives: [dry-run]\n",
         "flag: may go on without a checkpoint"),
        (", escalate: person}", "}", "flag: calls nobody"),
    ],
)  # fmt: skip
def test_no_way_back_leaves_out_backup_proof_or_whoever_is_called(
    cut: str, instead: str, said: str, tmp_path: Path
) -> None:
    """Where a system asks for that, `validate` refuses each omission by name; the journal has no switch."""
    declared = declare.load(SYSTEMS / "quantum_lattice.yaml", environ={})
    assert declared.guardrails.whole_procedures
    for level in declared.levels.values():
        assert level.gate is not None
        assert level.gate.suites
        assert level.on_fail is not None
        assert level.on_fail.escalate
        assert not level.waives
        assert not level.emergency
        assert not level.variants
    shop = build(tmp_path)
    shop.edit("levels:\n", f"{WHOLE}{LADDER}levels:\n")
    if "emergency" not in cut:
        shop.edit("    emergency: true\n", "")
        assert declare.load(tmp_path / "rollback.yaml").guardrails.whole_procedures
    shop.edit(cut, instead)
    with pytest.raises(SpecError, match=said):
        declare.load(tmp_path / "rollback.yaml")


@pytest.mark.requirement("QL-36")
@pytest.mark.parametrize("gone", ["missing", "not to be run"])
def test_a_procedure_whose_program_is_not_there_changes_nothing_and_calls_somebody(
    gone: str, tmp_path: Path
) -> None:
    """Named by the condition and by the file, to who types and to whom the agent calls; there, it runs."""
    holds = [one for one in declare.load(SYSTEMS / "quantum_lattice.yaml", environ={}).guardrails.conditions
             if one.id == "rollback-script-exists"]  # fmt: skip
    assert [one.holds for one in holds] == ["procedure-declared"]
    here = place(tmp_path, edits={
        "steps: [{restore: {component: config}}]":
            "steps: [{restore: {component: config}}, {command: {argv: [./emergency-rollback.sh], "
            "undo: {argv: [/bin/true]}}}]",
        "monitor:": "guardrails: {conditions: [{id: rollback-script-exists, holds: procedure-declared}]}\n"
                    "notify:\n  channels: {box: {file: {path: box.jsonl}}}\n  audiences: {ops: [box]}\n"
                    '  messages: {call: {audience: ops, on: [held], text: "{reason}"}}\nmonitor:',
    })  # fmt: skip
    script = here.shop.tree / "emergency-rollback.sh"
    if gone == "not to be run":
        script.write_text("#!/bin/sh\n")
    here.read(errors=0.5)
    before = here.shop.bytes()
    with here.agent() as agent:
        with pytest.raises(
            Refused, match=r"rollback-script-exists: not there: \./emergency-rollback\.sh"
        ):
            authorize.create(agent.site, here.shop.plan(agent.site, "config"))
        here.tick(agent)
        assert agent.site.runs() == {}
        assert here.shop.bytes() == before
        assert "rollback-script-exists: not there" in (tmp_path / "box.jsonl").read_text()
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
        here.tick(agent, 2)
        (run,) = agent.site.runs().values()
        assert run.state is State.COMPLETE, run.reason
