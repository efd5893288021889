"""The engine where no process is killed: the sealed declaration, the emergency, failures, limits."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.afterwards import settle
from rollback.act.engine import advance, roll_back
from rollback.act.site import Site
from rollback.act.stopping import abort
from rollback.keep.lease import Lease
from rollback.keep.life import Life
from rollback.model.errors import JournalError, PlanError, RunLocked
from rollback.model.lifecycle import TRANSITIONS_MAX, Run, State
from tests.systems import Shop, ill


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and a bad release."""
    return ill(tmp_path, kept="before-release")


def start(shop: Shop, site: Site, level: str = "config", person: str = "ada") -> Run:
    """A run that may go."""
    run = authorize.create(site, shop.plan(site, level))
    authorize.approve(site, run, person=person)
    return site.run(run.id)


def kinds(site: Site) -> list[str]:
    return [event.kind for event in site.journal.events()]


# -- the whole way -------------------------------------------------------------------------


def test_a_run_goes_all_the_way_and_its_report_stands(shop: Shop) -> None:
    """COMPLETE through the gate; run again it is returned as it is."""
    with shop.site() as site:
        run = roll_back(site, start(shop, site).id)
        assert run.state is State.COMPLETE, run.verdict
        assert "limit: 3" in (shop.tree / "config" / "app.yaml").read_text()
        done = settle(site, run)
        assert roll_back(site, run.id) == done
        assert shop.plan(site, "config").idle
        order = [k for k in kinds(site) if k.startswith(("run.", "gate.", "step."))]
        assert order == [
            "run.planned", "run.authorized", "run.protected", "run.started", "step.began",
            "step.ended", "run.mitigated", "gate.opened",
        ]  # fmt: skip
    report = shop.folder / ".rollback" / "runs" / "r0001"
    assert "COMPLETE" in (report / "report.md").read_text()
    assert json.loads((report / "report.json").read_text())["state"] == "COMPLETE"


def test_a_closed_gate_stops_for_a_person_and_asked_again_it_opens(shop: Shop) -> None:
    """`resume` asks the gate once more, after somebody made it well."""
    (shop.tree / "config" / "app.yaml").write_text("party: true\n")
    with shop.site() as site:
        Life(site.checkpoints).delete("before-release")
        site.checkpoints.create("lacks-limit")
        (shop.tree / "config" / "app.yaml").write_text("party: false\nlimit: 1\n")
        run = roll_back(site, start(shop, site).id)
        assert run.state is State.NEEDS_OPERATOR
        assert any("limit-right" in str(reason) for reason in run.verdict["reasons"])  # type: ignore[union-attr]


# -- the sealed declaration ----------------------------------------------------------------


def test_a_run_goes_on_under_the_declaration_it_was_planned_under(shop: Shop) -> None:
    """Edited in between: levels, checks and budgets are those of then."""
    with shop.site() as site:
        run = advance(site, start(shop, site))
        assert run.state is State.AUTHORIZED
    shop.edit("gate: {suites: [smoke]}", "gate: {suites: [smoke, functional]}")
    shop.edit("title: Settings back", "title: Other words")
    with shop.site() as site:
        assert site.system.digest != run.plan["system_digest"]
        done = roll_back(site, run.id)
        assert done.state is State.COMPLETE, done.verdict
        assert list(done.suites) == ["smoke"]
        old = site.under(run)
        assert old.system.digest == run.plan["system_digest"]
        assert old.in_force is site.system
        assert old.under(run) is old


def test_a_run_that_is_not_yet_authorised_needs_a_new_plan_when_its_proof_changed(
    shop: Shop,
) -> None:
    """Who said yes had another policy before their eyes; nothing is done."""
    with shop.site() as site:
        run = start(shop, site)
    shop.edit("gate: {suites: [smoke]}", "gate: {suites: [smoke, functional]}")
    before = shop.bytes()
    with shop.site() as site:
        waits = roll_back(site, run.id)
        assert waits.state is State.WAITING
        assert "a new plan" in str(waits.waiting_for["what"])
    assert shop.bytes() == before


def test_it_goes_on_even_when_its_level_is_gone(shop: Shop) -> None:
    """The plan and the declaration of then are enough."""
    with shop.site() as site:
        run = start(shop, site, "flag")
        site.note(run, "run.authorized")
    text = (shop.folder / "rollback.yaml").read_text()
    begin, end = text.index("  flag:\n    rank"), text.index("  config:\n    rank")
    (shop.folder / "rollback.yaml").write_text(text[:begin] + text[end:])
    with shop.site() as site:
        site.under(site.run(run.id))
        done = roll_back(site, run.id)
        assert "run.mitigated" in done.moments
        assert "PARTY=false" in (shop.tree / ".env").read_text()


@pytest.mark.parametrize("spoil", ["gone", "edited", "no-json", "folder", "other-version"])
def test_without_the_declaration_of_then_it_says_clearly_that_it_cannot(
    spoil: str, shop: Shop
) -> None:
    """One line, exit 3, nothing changed; giving the run up is still possible."""
    with shop.site() as site:
        run = start(shop, site)
    kept = shop.folder / ".rollback" / "runs" / run.id / "declaration.json"
    body = json.loads(kept.read_text())
    kept.unlink()
    if spoil == "edited":
        kept.write_text(json.dumps(body).replace("limit", "limitt"))
    elif spoil == "no-json":
        kept.write_text("{")
    elif spoil == "folder":
        kept.mkdir()
    elif spoil == "other-version":
        kept.write_text(json.dumps({"source": {"schema": 99}, "schema": 99}))
    shop.edit("title: Settings back", "title: Other words")
    before = shop.bytes()
    with shop.site() as site:
        with pytest.raises(PlanError) as caught:
            roll_back(site, run.id)
        assert "declaration" in str(caught.value)
        assert "rollback abort" in caught.value.hint
        assert shop.bytes() == before
        assert abort(site, site.run(run.id), by="ada", reason="x").state is State.ABANDONED


# -- the emergency -------------------------------------------------------------------------


@contextmanager
def hung(shop: Shop) -> Iterator[None]:
    """Somebody holds the lock around appends, and does nothing."""
    fd = os.open(shop.journal.parent / "append.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def immutable(shop: Shop) -> Iterator[None]:
    """The journal cannot be written, whoever asks."""
    subprocess.run(["chattr", "+i", str(shop.journal)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(shop.journal)], check=True)


@pytest.mark.parametrize("trouble", [hung, immutable])
def test_an_emergency_flips_the_flag_while_the_journal_takes_nothing(trouble, shop: Shop) -> None:  # type: ignore[no-untyped-def]
    """Intent goes aside first; healed, it is merged once, and the history shows the run."""
    with shop.site() as site:
        site.trusted()
        site.anchor()
    with shop.site() as site, trouble(shop):
        before = shop.journal.read_bytes()
        run = authorize.create(site, shop.plan(site, "flag"))
        authorize.approve(site, run, person="ada")
        done = settle(site, roll_back(site, run.id))
        assert done.state is State.COMPLETE, done.verdict
        assert "PARTY=false" in (shop.tree / ".env").read_text()
        assert shop.journal.read_bytes() == before
    aside = [
        json.loads(line) for line in (shop.folder / "second/events.jsonl").read_bytes().splitlines()
    ]
    order = [event["kind"] for event in aside]
    assert order.index("run.planned") < order.index("step.began") < order.index("step.ended")
    for _ in range(2):
        with shop.site() as site:
            assert site.run("last").state is State.COMPLETE
            site.tell("run.noted", run="r0001")
            site.anchor()
            site.journal.verify()
    assert [line["kind"] for line in shop.lines()].count("journal.merged") == 1
    with shop.site() as site:
        assert kinds(site).count("run.planned") == 1
        assert next_id(site) == "r0002"


def next_id(site: Site) -> str:
    return authorize.next_run_id(site)


def test_intent_is_aside_within_the_time_that_an_emergency_has(shop: Shop) -> None:
    """200 ms of asking, and a little for the rest."""
    with shop.site() as site:
        site.trusted()
    with shop.site() as site, hung(shop):
        plan = shop.plan(site, "flag")
        began_s = time.monotonic()
        authorize.create(site, plan)
        assert time.monotonic() - began_s < 1.0


def test_a_level_that_is_no_emergency_never_writes_aside(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused, and nothing is done."""
    monkeypatch.setattr("rollback.keep.fallback.TURN_S", 0.2)
    with shop.site() as site:
        site.trusted()
    with shop.site() as site, hung(shop):
        before = shop.bytes()
        with pytest.raises(JournalError):
            authorize.create(site, shop.plan(site, "config"))
        assert shop.bytes() == before
    assert not (shop.folder / "second").exists()


def test_when_neither_place_can_be_written_the_flag_stays(shop: Shop) -> None:
    """No intent, no effect."""
    with shop.site() as site:
        site.trusted()
    (shop.folder / "second").write_text("in the way")
    with shop.site() as site, hung(shop):
        before = shop.bytes()
        with pytest.raises(JournalError, match="neither"):
            authorize.create(site, shop.plan(site, "flag"))
        assert shop.bytes() == before


def test_a_place_for_the_anchor_that_cannot_be_written_stops_no_run(shop: Shop) -> None:
    """It is journalled, and said."""
    (shop.folder / "anchor").write_text("in the way")
    with shop.site() as site:
        run = roll_back(site, start(shop, site, "flag").id)
        assert run.state is State.COMPLETE
        assert "journal.unanchored" in kinds(site)


# -- failures ------------------------------------------------------------------------------

_FAILS = "command: {id: fails, argv: [/bin/false], effects: none, within: 5s%s}"


def failing(shop: Shop, then: str) -> None:
    """The level `config` has a second step that fails."""
    shop.edit("steps: [{restore: {component: config}}]",
              "steps: [{restore: {component: config}}, {" + _FAILS % then + "}]")  # fmt: skip


@pytest.mark.requirement("AW-20")
@pytest.mark.parametrize(
    ("then", "state", "restored"),
    [
        ("", State.UNDONE, False), (", on_fail: stop", State.UNDONE, False),
        (", on_fail: continue", State.COMPLETE, True), (", on_fail: person", State.NEEDS_OPERATOR, True),
        (", on_fail: climb", State.NEEDS_OPERATOR, True),
        (", on_fail: {then: [{command: {argv: [/bin/true]}}]}", State.COMPLETE, True),
        (", on_fail: {then: [{command: {argv: [/bin/false], effects: none}}]}", State.UNDONE, False),
        (", on_fail: {otherwise: continue, opens: [look at it]}", State.COMPLETE, True),
    ],
)  # fmt: skip
def test_what_follows_from_a_failed_step_is_what_was_declared(
    then: str, state: State, restored: bool, shop: Shop
) -> None:
    """Stopped and taken back, passed over, a person, the next level, another way."""
    failing(shop, then)
    before = shop.bytes()
    with shop.site() as site:
        run = roll_back(site, start(shop, site).id)
        assert run.state is state, (run.reason, run.verdict)
        if not restored:
            assert shop.bytes() == before
        else:
            assert "limit: 3" in (shop.tree / "config" / "app.yaml").read_text()
        if "climb" in then:
            assert "the next level is pages" in run.reason
        if "opens" in then:
            tasks = [e.data["title"] for e in site.journal.events() if e.kind == "task.opened"]
            assert tasks == ["look at it"]


def test_a_run_that_moves_without_end_is_stopped_for_a_person(shop: Shop) -> None:
    """The limit is in the journal, so it holds across restarts."""
    with shop.site() as site:
        run = start(shop, site, "flag")
        for _ in range(TRANSITIONS_MAX // 2):
            run = site.note(run, "run.needs-operator", reason="again")
            run = site.note(run, "run.retried", by="ada")
        done = roll_back(site, run.id)
        assert done.state is State.NEEDS_OPERATOR
        assert "loop" in done.reason


def test_only_one_drives(shop: Shop) -> None:
    """The other is told who."""
    with shop.site() as site:
        run = start(shop, site)
        with Lease(site.state.tree, site.host, purpose="run r0001"), pytest.raises(RunLocked):
            roll_back(site, run.id)
        assert "lease.taken" not in kinds(site)


@pytest.mark.requirement("MB-78")
def test_the_present_is_kept_before_anything_stored_is_changed(shop: Shop) -> None:
    """PROTECTED names a whole checkpoint that holds the bytes of before."""
    with shop.site() as site:
        run = roll_back(site, start(shop, site).id)
        kept = site.checkpoints.get(run.safety)
        assert (kept.state, kept.kind) == ("whole", "safety")
        assert not site.checkpoints.diff(kept.id, "pages") if "pages" in kept.parts else True
        order = kinds(site)
        assert order.index("run.protected") < order.index("step.began")
