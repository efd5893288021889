"""What must hold before a run starts: each thing broken once, in systems that really are so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act import authorize
from rollback.act.engine import resting, roll_back
from rollback.act.plan import make_plan
from rollback.act.site import Site
from rollback.act.stopping import answer
from rollback.act.told import tell_facts
from rollback.act.trusting import accept
from rollback.model.errors import PlanError, Refused
from rollback.model.lifecycle import Run, State
from tests.act.conftest import World
from tests.requirements.stepping import stepped
from tests.systems import Shop, ill

LEVEL_LINE = "    data_loss: settings since the checkpoint\n"  # of level config of the shop
FLAG_LINE = "    emergency: true\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and a bad release."""
    return ill(tmp_path)


def declared(shop: Shop, line: str, *, at: str = LEVEL_LINE) -> None:
    """The level of the shop has one more key."""
    shop.edit(at, f"{at}    {line}\n")


def accepted(shop: Shop) -> None:
    """The owner's role believes the declaration as it is now."""
    with shop.site() as site:
        accept(site, person="ada")


def refused(shop: Shop, level: str = "config", **more: Any) -> Refused:
    """The run is refused; nothing is written but that, and nothing of the system is changed."""
    before = shop.bytes()
    with shop.site() as site:
        count, runs = len(site.journal.events()), site.runs()
        with pytest.raises(Refused) as caught:
            authorize.create(site, shop.plan(site, level, **more))
        new = [e.kind for e in site.journal.events()[count:] if e.kind != "trust.pinned"]
        assert new == ["run.refused"]
        assert site.runs() == runs
    assert shop.bytes() == before
    assert caught.value.exit_status == 4
    assert caught.value.hint
    return caught.value


def allowed(shop: Shop, level: str = "config", **more: Any) -> Run:
    """The run starts, and its steps are done."""
    with shop.site() as site:
        return stepped(site, shop.plan(site, level, **more))


# -- prerequisites -------------------------------------------------------------------------


@pytest.mark.requirement("PM-42")
def test_a_check_that_does_not_pass_refuses_and_one_that_passes_lets_go(shop: Shop) -> None:
    """Failed, and asked again when it is well; the refusal names the check."""
    declared(shop, "prerequisites: [{check: limit-right}]")
    (shop.tree / "config" / "app.yaml").write_text("party: true\n")
    said = refused(shop)
    assert said.guardrail == "prerequisites"
    assert "limit-right" in said.message
    assert "FAIL" in said.message
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    allowed(shop)


def test_a_waived_prerequisite_is_not_asked(shop: Shop) -> None:
    """The level says so itself."""
    declared(shop, "prerequisites: [{check: limit-right}]\n    waives: [prerequisites]")
    (shop.tree / "config" / "app.yaml").write_text("party: true\n")
    allowed(shop)


@pytest.mark.requirement("PM-54")
@pytest.mark.parametrize("kind", ["record", "attest"])
def test_a_word_that_the_level_needs_is_waited_for_before_its_first_step(
    shop: Shop, kind: str
) -> None:
    """A level that needs somebody's word first changes nothing without it."""
    shop.edit(
        "levels:\n", "records:\n  plan: {title: Plan, fields: {who: {title: Who}}}\nlevels:\n"
    )
    name = {"record": "plan", "attest": "lead"}[kind]
    declared(shop, f"prerequisites: [{{{kind}: {name}}}]")
    before = shop.bytes()
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
        assert (run.state, run.waiting_for["on"]) == (State.WAITING, "checklist")
        assert name in str(run.waiting_for["what"])
        assert shop.bytes() == before


def test_a_fact_that_the_level_needs_is_told_before_the_run(shop: Shop) -> None:
    """Told no, or not told, or told too long ago, it is refused; each refusal says what to type."""
    declared(shop, "prerequisites: [{fact: quiet}]")
    assert "nobody has told" in refused(shop).message
    for value, let in (("no", False), ("yes", True)):
        with shop.site() as site:
            tell_facts(site, {"quiet": value}, by="ada", for_s=60.0)
        if let:
            allowed(shop)
        else:
            assert refused(shop).hint.endswith("rollback decide --fact quiet=yes")
    shop.clock.ahead_s = 61
    assert "nobody has told" in refused(shop).message


@pytest.mark.requirement("PM-54")
def test_a_checkpoint_that_is_missing_refuses_until_it_is_there(shop: Shop) -> None:
    """By name, whole."""
    declared(shop, "prerequisites: [{checkpoint: baseline}]")
    assert "baseline" in refused(shop).message
    with shop.site() as site:
        site.checkpoints.create("baseline")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 100\n")
    allowed(shop)


@pytest.mark.requirement("PM-33")
def test_without_a_repository_what_needs_one_is_refused(shop: Shop) -> None:
    """The folder is under no version control."""
    for word in ("head-known", "clean-objects", "clean-tree"):
        declared(shop, f"prerequisites: [{{repository: {word}}}]")
        accepted(shop)
        assert word in refused(shop).message
        shop.edit(f"    prerequisites: [{{repository: {word}}}]\n", "")


def in_repository(world: World, word: str) -> None:
    """Level other of the small system needs its repository to be so."""
    file = world.system.declaration
    text = file.read_text()
    line = "    steps: [{wait: {for: 1s}}]\n"
    assert text.endswith(line)
    file.write_text(text[: -len(line)] + f"    prerequisites: [{{repository: {word}}}]\n{line}")


def begun(world: World) -> Run:
    """The run of level other, planned."""
    with Site.open(declare.load(world.system.declaration), world.host) as site:
        run = authorize.next_run_id(site)
        return authorize.create(site, make_plan(site, "other", run=run, requester="someone"))


@pytest.mark.requirement("PM-33")
def test_a_change_that_is_not_committed_refuses_a_level_that_wants_a_clean_tree(
    world: World,
) -> None:
    """The refusal names the file."""
    in_repository(world, "clean-tree")
    assert begun(world).state is State.PLANNED
    (world.root / "config" / "notes.md").write_text("something else\n")
    with pytest.raises(Refused, match=r"config/notes\.md"):
        begun(world)


@pytest.mark.requirement("PM-33")
def test_an_object_that_is_missing_refuses_a_level_that_wants_clean_objects(world: World) -> None:
    """One loose object of the head is gone."""
    import pygit2

    in_repository(world, "clean-objects")
    assert begun(world).state is State.PLANNED
    repo = pygit2.Repository(str(world.root))
    blob = str(repo.revparse_single("HEAD:config/notes.md").id)
    repo.free()
    (world.root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(Refused, match="clean-objects"):
        begun(world)


@pytest.mark.requirement("PM-33")
def test_a_head_that_nobody_knows_refuses(world: World) -> None:
    """The branch it names is not there."""
    in_repository(world, "head-known")
    assert begun(world).state is State.PLANNED
    (world.root / ".git" / "HEAD").write_text("ref: refs/heads/nowhere\n")
    with pytest.raises(Refused, match="head-known"):
        begun(world)


def test_taking_a_run_back_needs_no_prerequisites_of_its_level(shop: Shop) -> None:
    """The level lends it authority, and nothing else."""
    from rollback.act.back import undo_plan

    run = allowed(shop)
    declared(shop, "prerequisites: [{check: limit-right}]")
    accepted(shop)
    with shop.site() as site:
        ended = roll_back(site, run.id)
        (shop.tree / "config" / "app.yaml").write_text("party: true\n")
        plan = undo_plan(site, ended, run=authorize.next_run_id(site), requester="ada", reason="")
        assert authorize.create(site, plan).state is State.PLANNED


# -- autonomy ------------------------------------------------------------------------------

TABLE = """autonomy:
  current: LEVEL
  table:
    1: {may: [observe]}
    2: {may: [observe, check]}
    3: {may: [observe, check, roll-back], confirm: true}
    4: {may: [observe, check, roll-back], confirm: false}
people:
"""


@pytest.mark.requirement("QL-02", "QL-03")
@pytest.mark.parametrize("level", ["1", "2"])
def test_below_autonomy_three_nothing_is_rolled_back(shop: Shop, level: str) -> None:
    """Neither a level, nor an emergency."""
    shop.edit("people:\n", TABLE.replace("LEVEL", level))
    for name in ("config", "flag"):
        said = refused(shop, name)
        assert said.guardrail == "autonomy"
        assert f"autonomy {level}" in said.message


@pytest.mark.requirement("QL-06")
def test_an_environment_that_wants_a_confirmation_gets_one_at_autonomy_four(shop: Shop) -> None:
    """Where it says false, or nothing is declared, autonomy decides."""
    shop.edit("people:\n", TABLE.replace("LEVEL", "4"))
    shop.edit("components:\n", "environments: {production: {confirm: true}}\ncomponents:\n")
    before = shop.bytes()
    with shop.site() as site:
        run = roll_back(site, authorize.create(site, shop.plan(site, "config")).id)
        assert run.waiting_for["on"] == "approval"
        assert shop.bytes() == before
        authorize.approve(site, run, person="ada")
        assert roll_back(site, run.id).state is State.COMPLETE
    shop.edit("confirm: true}}", "confirm: false}}")
    accepted(shop)
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 98\n")
    with shop.site() as site:
        run = roll_back(site, authorize.create(site, shop.plan(site, "config")).id)
        assert run.state is State.COMPLETE
        assert run.approvals == ()


# -- items that gate the start -------------------------------------------------------------

START = (
    "checklist:\n"
    "      - {id: confirmed, item: It is confirmed, attest: op, gates: start}\n"
    "      - {id: valid, item: The limit is there, check: limit-right, gates: start}"
)


@pytest.mark.requirement("AW-67")
def test_open_items_that_gate_the_start_hold_the_run_before_its_first_step(shop: Shop) -> None:
    """Approved, it still waits: for a person's word, and for a check that does not pass yet."""
    declared(shop, START)
    (shop.tree / "config" / "app.yaml").write_text("party: true\n")
    before = shop.bytes()
    with shop.site() as site:
        run = stepped(site, shop.plan(site, "config"), to=State.WAITING)
        assert run.waiting_for["on"] == "checklist"
        assert "It is confirmed" in run.waiting_for["what"]
        assert "limit-right" in run.waiting_for["what"]
        assert run.steps == {}
        assert shop.bytes() == before
        with pytest.raises(PlanError, match="role op"):
            answer(site, run, item="confirmed", text="yes", by="dee")
        answer(site, run, item="confirmed", text="yes, I saw it", by="ada")
        run = roll_back(site, run.id)
        assert run.state is State.WAITING
        assert "It is confirmed" not in str(run.waiting_for["what"])
        answer(site, run, item="valid", text="believe me", by="ada")
        run = roll_back(site, run.id)
        assert run.state is State.WAITING, "a person's word is no answer of a check"
        assert resting(site, run)
        (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
        assert not resting(site, run)
        assert roll_back(site, run.id).state is State.COMPLETE
        told = {e.data["id"]: e.data for e in site.journal.events() if e.kind == "checklist.item"}
        assert "ada" in str(told["confirmed"]["evidence"])
        assert told["valid"]["done"] is True


def test_an_emergency_waits_for_no_item(shop: Shop) -> None:
    """What gates the start of other levels does not gate it."""
    declared(shop, START, at=FLAG_LINE)
    allowed(shop, "flag")


# -- conditions ----------------------------------------------------------------------------

PENDING = (
    "metrics:\n"
    "  pending: {unit: count, source: {command: {argv: [/bin/cat, pending], number: stdout}}}\n"
)


def conditioned(shop: Shop, line: str) -> None:
    """The shop counts what is pending, and has this condition."""
    shop.edit("levels:\n  flag:", f"{PENDING}guardrails:\n  conditions: [{line}]\nlevels:\n  flag:")


@pytest.mark.requirement("QL-35", "QL-38")
def test_a_condition_that_does_not_hold_or_is_unknown_refuses(shop: Shop) -> None:
    """Over its limit, then not readable, then at its limit."""
    conditioned(shop, "{id: no-loss, metric: pending, at_most: 0}")
    (shop.tree / "pending").write_text("3\n")
    said = refused(shop)
    assert said.guardrail == "conditions"
    assert "no-loss" in said.message
    assert "pending is 3" in said.message
    with shop.site() as site:
        assert site.journal.events()[-1].data["conditions"] == {"no-loss": "fail"}
    (shop.tree / "pending").unlink()
    said = refused(shop)
    assert "no-loss" in said.message
    assert "UNKNOWN" in said.message
    (shop.tree / "pending").write_text("0\n")
    allowed(shop)


@pytest.mark.parametrize(
    ("wanted", "right", "wrong"), [("true", "yes", "no"), ("false", "no", "yes")]
)
def test_a_condition_on_a_fact_holds_as_long_as_it_is_told_so(
    shop: Shop, wanted: str, right: str, wrong: str
) -> None:
    """Nobody's word is no yes; a word that is neither is none."""
    conditioned(shop, f"{{id: quiet, fact: no-customers, is: {wanted}}}")
    assert "nobody has told the fact no-customers" in refused(shop).message
    for told in (wrong, "perhaps"):
        with shop.site() as site:
            tell_facts(site, {"no-customers": told}, by="ada", for_s=60.0)
        assert f"fact no-customers is {told}" in refused(shop).message
    with shop.site() as site:
        tell_facts(site, {"no-customers": right}, by="ada", for_s=60.0)
    allowed(shop)


def test_a_condition_that_asks_is_a_word_that_the_run_waits_for(shop: Shop) -> None:
    """The owner's role lets it pass, by name; nobody else; not asked where it holds."""
    conditioned(shop, "{id: no-loss, metric: pending, below: 1, refuse: ask}")
    (shop.tree / "pending").write_text("3\n")
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
        assert "it may go on although metric pending is 3" in str(run.waiting_for["what"])
        with pytest.raises(PlanError, match="for the role op to say"):
            answer(site, run, item="no-loss", text="yes", by="bo")
        answer(site, run, item="no-loss", text="yes, they are test data", by="ada")
        assert roll_back(site, run.id).state is State.COMPLETE
        said = [e.data["evidence"] for e in site.journal.events() if e.kind == "checklist.item"]
        assert said[0] == "said by ada: yes, they are test data"


def test_a_condition_that_only_warns_stands_in_the_journal_of_the_run(shop: Shop) -> None:
    """The run starts."""
    conditioned(shop, "{id: no-loss, metric: pending, below: 1, refuse: warn}")
    (shop.tree / "pending").write_text("3\n")
    run = allowed(shop)
    with shop.site() as site:
        notes = [
            e.data["note"]
            for e in site.journal.events()
            if e.kind == "run.noted" and e.run == run.id
        ]
    assert len(notes) == 1
    assert "no-loss" in str(notes[0])


def test_an_emergency_asks_no_metric_and_says_so(shop: Shop) -> None:
    """What is broken must not hold the switch."""
    conditioned(shop, "{id: no-loss, metric: pending, below: 1}")
    run = allowed(shop, "flag")
    with shop.site() as site:
        notes = [
            e.data["note"]
            for e in site.journal.events()
            if e.kind == "run.noted" and e.run == run.id
        ]
    assert "no-loss" in str(notes)


# -- climbing ------------------------------------------------------------------------------


def in_order(shop: Shop) -> None:
    """The levels are climbed one after the other."""
    shop.edit("levels:\n  flag:", "guardrails: {climb_in_order: true}\nlevels:\n  flag:")


def went_wrong(shop: Shop, level: str = "flag") -> None:
    """A run of the level stopped at its gate: the settings parse no more."""
    good = (shop.tree / "config" / "app.yaml").read_bytes()
    shop.edit("keys: [party]}", "keys: [party, nowhere]}")
    with shop.site() as site:
        run = stepped(site, shop.plan(site, level))
        assert roll_back(site, run.id).state is State.NEEDS_OPERATOR
    shop.edit("keys: [party, nowhere]}", "keys: [party]}")
    (shop.tree / "config" / "app.yaml").write_bytes(good)


@pytest.mark.requirement("PM-90")
def test_a_higher_level_starts_only_when_a_lower_one_has_failed(shop: Shop) -> None:
    """The lowest always; the hint says which comes first; after a day it is forgotten."""
    in_order(shop)
    said = refused(shop)
    assert said.guardrail == "climb-in-order"
    assert "rollback run flag" in said.hint
    went_wrong(shop)
    allowed(shop)
    shop.clock.ahead_s = 24 * 3600 + 60
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 97\n")
    (shop.tree / ".env").write_text("PARTY=true\n")
    assert refused(shop).guardrail == "climb-in-order"


@pytest.mark.requirement("PM-90")
@pytest.mark.parametrize(("level", "starts"), [("flag", False), ("config", True), ("full", True)])
def test_a_decision_for_that_level_or_a_higher_one_lets_it_start(
    shop: Shop, level: str, starts: bool
) -> None:
    """The newest counts, and one for a lower level does not."""
    in_order(shop)
    shop.edit(
        "levels:\n  flag:",
        PENDING + "triggers:\n"
        "  - {id: it-is-so, when: {metric: pending, above: 0}, respond: {roll_back: " + level + "}}\n"
        "levels:\n  flag:",
    )  # fmt: skip
    (shop.tree / "pending").write_text("1\n")
    from rollback.act.deciding import decide_now

    with shop.site() as site:
        assert decide_now(site).level == level
    if starts:
        allowed(shop)
        (shop.tree / "pending").write_text("0\n")
        with shop.site() as site:
            assert decide_now(site).level == ""
        (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 97\n")
    (shop.tree / ".env").write_text("PARTY=true\n")
    assert refused(shop).guardrail == "climb-in-order"


@pytest.mark.requirement("PM-90")
def test_a_level_may_ask_for_a_failed_lower_one_by_itself(shop: Shop) -> None:
    """Without climbing in order everywhere."""
    declared(shop, "requires_lower_failed: true")
    assert refused(shop).guardrail == "climb-in-order"
    went_wrong(shop)
    allowed(shop)


def test_where_the_lower_level_would_change_nothing_the_next_one_may_start(shop: Shop) -> None:
    """Nobody could try it first: the flag is off already."""
    declared(shop, "requires_lower_failed: true")
    (shop.tree / ".env").write_text("PARTY=false\n")
    with shop.site() as site:
        assert shop.plan(site, "flag").idle
    allowed(shop)
