"""Declared forms: computed, said field by field, and waited for like an approval while one is blank."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback import declare
from rollback.act import authorize, records
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.act.stopping import answer
from rollback.judge.filling import typed, wanted
from rollback.model.errors import PlanError, RollbackError, SpecError, UsageError
from rollback.model.lifecycle import Run, State
from rollback.model.operations import RecordField
from tests.cli.program import rollback
from tests.systems import Shop, build

SYSTEMS = Path(__file__).parents[2] / "systems"
LEVEL_LINE = "    data_loss: settings since the checkpoint\n"  # of level config of the shop
BOTH = "    prerequisites: [{record: authorisation}, {record: impact}]\n"
STEPS = "    steps: [{restore: {component: config}}]\n"
FORMS = """metrics:
  users: {unit: count, source: {command: {argv: [/bin/cat, users], number: stdout}}}
records:
  authorisation:
    title: Authorisation
    by: op
    fields:
      name: {title: Who, type: person}
      at: {title: When, type: date, computed: now}
      issue: {title: What is critical, longest: 200}
      data: {title: What about data, type: choice, choices: [None, Possible loss, Likely loss]}
  impact:
    title: What it means
    fields:
      users: {title: Users affected, type: number, computed: metric users}
      level: {title: How far back, computed: level}
      loss_acceptable: {title: May they be lost, type: bool, by: lead}
      remark: {title: Anything else, required: false}
follow_ups: {tasks: {debt: {title: Pay it back, owner: op}}}
decision:
  style: asked
  points:
    errors:
      title: Errors in the phase. What now?
      asks: lead
      options:
        - {id: fix, title: Repair it, respond: {task: debt}}
        - {id: back, title: Go back, respond: {roll_back: full}, record: impact}
levels:
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with two forms, a decision point and a bad release."""
    made = build(tmp_path)
    made.edit("levels:\n", FORMS)
    with made.site() as site:
        site.checkpoints.create("good")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def begun(shop: Shop, site: Site) -> Run:
    """A run of level config that ada asked for and approved, driven."""
    run = authorize.create(site, shop.plan(site, "config"))
    authorize.approve(site, run, person="ada")
    return roll_back(site, run.id)


def says(site: Site, run: Run, by: str, **fields: str) -> None:
    """The person's word for each field, `record__field`."""
    for name, text in fields.items():
        answer(site, site.run(run.id), item=name.replace("__", "."), text=text, by=by)


@pytest.mark.requirement("AW-05", "AW-06")
def test_a_form_that_the_level_needs_blocks_while_a_field_is_blank(shop: Shop) -> None:
    """What can be computed is; what cannot be is asked; it is stored before the first step."""
    shop.edit(LEVEL_LINE, f"{LEVEL_LINE}{BOTH}")
    (shop.tree / "users").write_text("41\n")
    before = shop.bytes()
    with shop.site() as site:
        run = begun(shop, site)
        assert (run.state, run.waiting_for["on"]) == (State.WAITING, "checklist")
        what = str(run.waiting_for["what"])
        assert "authorisation.name (a declared person), authorisation.issue" in what
        assert "impact.loss_acceptable (yes or no)" in what
        assert "users" not in what
        says(site, run, "ada", authorisation__name="ada", authorisation__issue="nobody can pay",
             authorisation__data="Possible loss")  # fmt: skip
        still = roll_back(site, run.id)
        assert still.state is State.WAITING
        assert "authorisation" not in str(still.waiting_for["what"])
        assert shop.bytes() == before
        says(site, run, "bo", impact__loss_acceptable="yes")
        assert authorize.may_wake(site, site.run(run.id))
        done = roll_back(site, run.id)
        assert done.state is State.COMPLETE
        events = [event for event in site.journal.events() if event.run == run.id]
        filled = {str(e.data["record"]): e.data for e in events if e.kind == "record.filled"}
        assert filled["impact"]["fields"] == {
            "users": 41,
            "level": "config",
            "loss_acceptable": True,
        }
        assert filled["impact"]["by"] == {"loss_acceptable": "bo"}
        kinds = [event.kind for event in events]
        assert kinds.index("record.filled") < kinds.index("step.began")


@pytest.mark.requirement("AW-06")
def test_what_cannot_be_computed_is_for_a_person_to_say(shop: Shop) -> None:
    """The metric is UNKNOWN: nothing is taken for nothing."""
    shop.edit(LEVEL_LINE, f"{LEVEL_LINE}    prerequisites: [{{record: impact}}]\n")
    with shop.site() as site:
        run = begun(shop, site)
        assert "impact.users (a number)" in str(run.waiting_for["what"])
        says(site, run, "bo", impact__users="0", impact__loss_acceptable="no")
        assert roll_back(site, run.id).state is State.COMPLETE


@pytest.mark.requirement("AW-05")
@pytest.mark.parametrize(
    ("field", "text", "why"),
    [
        ("issue", "x" * 201, "201 characters, 200 at most"), ("issue", "  ", "blank"),
        ("issue", "--", "blank"), ("issue", "a\x1b[31m", "cannot be printed"),
        ("data", "none", "one of: None, Possible loss, Likely loss"), ("data", "Some", "one of"),
        ("severity", "critical", "one of: Critical, Major, Other"),
        ("name", "mallory", "a declared person"), ("users", "many", "a number"),
        ("users", "NaN", "a number"), ("users", "1_000", "a number"), ("users", "٣", "a number"),
        ("users", "1e999", "a number"), ("at", "2026-02-30", "a date"), ("at", "10:00", "a date"),
        ("at", "2026-11-20T10:00", "a date"),
    ],
)  # fmt: skip
def test_a_word_that_is_not_of_its_field_fills_nothing(field: str, text: str, why: str) -> None:
    """Of the form as the system declares it; what is right is taken, to the last character."""
    system = declare.load(SYSTEMS / "ai_workflow.yaml", environ={})
    fields = system.records["authorisation"].fields
    with pytest.raises(ValueError, match=why):
        typed(fields[field], text, system.people)
    assert typed(fields["issue"], "x" * 200, system.people) == "x" * 200
    assert typed(fields["data"], "Possible loss", system.people) == "Possible loss"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("number", "12", 12), ("number", "0.5", 0.5), ("date", "2026-11-20", "2026-11-20"),
        ("date", "2026-11-20T10:00Z", "2026-11-20T10:00Z"), ("duration", "90m", 5400.0),
        ("bool", "Yes", True), ("bool", "false", False), ("list", "one; two;", ["one", "two"]),
        ("link", "https://example.org/a", "https://example.org/a"), ("text", " so it is ", "so it is"),
    ],
)  # fmt: skip
def test_each_type_has_its_words(kind: str, text: str, value: object, shop: Shop) -> None:
    """And says which, to whoever wrote others."""
    field = RecordField(type=kind)  # type: ignore[arg-type]
    assert typed(field, text, shop.system.people) == value
    if kind not in ("text", "list"):
        for wrong in ("?!x", ";", "https://", "2026-13-01"):
            with pytest.raises(ValueError, match=r"write|blank"):
                typed(field, wrong, shop.system.people)
    assert wanted(field)


def test_only_who_fills_a_field_fills_it(shop: Shop) -> None:
    """By the role of the field, or of the form; the last word counts."""
    shop.edit(LEVEL_LINE, f"{LEVEL_LINE}{BOTH}")
    with shop.site() as site:
        run = begun(shop, site)
        for item, by, kind, why in (
            ("authorisation.issue", "bo", PlanError, "for the role op"),
            ("impact.loss_acceptable", "cyd", PlanError, "for the role lead"),
            ("impact.nothing", "ada", PlanError, "no field nothing"),
            ("impact.users", "ada", UsageError, "a number"),
            ("lessons.one", "ada", PlanError, "asks nothing called"),
        ):  # fmt: skip
            count = len(site.journal.events())
            with pytest.raises(kind, match=why):
                answer(site, site.run(run.id), item=item, text="x", by=by)
            assert len(site.journal.events()) == count
        says(site, run, "ada", authorisation__issue="first")
        says(site, run, "ada", authorisation__issue="second")
        assert records.look(site, site.run(run.id), "authorisation").values["issue"] == "second"


@pytest.mark.long
def test_a_step_waits_until_its_record_is_filled(shop: Shop) -> None:
    """In the middle of a run, like an approval; across processes."""
    shop.edit(
        STEPS, "    steps: [{collect: {id: why, record: impact}}, {restore: {component: config}}]\n"
    )
    before = shop.bytes()
    with shop.site() as site:
        run = begun(shop, site)
        assert (run.state, run.waiting_for["on"]) == (State.WAITING, "answer")
        assert "users, loss_acceptable" in str(run.waiting_for["what"])
        assert shop.bytes() == before
    said = rollback(shop.folder, "answer", run.id, "impact.users", "7", "--as", "ada")
    assert (said.status, "answer r0001" in said.out) == (0, True)
    assert (
        rollback(shop.folder, "answer", run.id, "impact.users", "lots", "--as", "ada").status == 2
    )
    assert rollback(shop.folder, "resume", run.id, "--as", "ada").status == 4
    done = rollback(shop.folder, "answer", run.id, "impact.loss_acceptable", "yes", "--as", "bo")
    assert "try: rollback resume r0001" in done.out
    assert rollback(shop.folder, "resume", run.id, "--as", "ada").status == 0


def test_a_step_asks_for_one_of_the_declared_options(shop: Shop) -> None:
    """By whom it asks; nothing else is taken; what the option calls for is said, and its task opened."""
    shop.edit(
        STEPS, "    steps: [{choose: {id: ask, point: errors}}, {restore: {component: config}}]\n"
    )
    with shop.site() as site:
        run = begun(shop, site)
        asked = str(run.waiting_for["what"])
        assert asked.endswith(f"(fix, back): rollback answer {run.id} ask CHOICE")
        for text, by, why in (
            ("yes", "bo", "none of what ask offers"),
            ("fix", "cyd", "role lead"),
        ):
            with pytest.raises(RollbackError, match=why):
                answer(site, site.run(run.id), item="ask", text=text, by=by)
        assert roll_back(site, run.id).state is State.WAITING
        answer(site, site.run(run.id), item="ask", text="fix", by="bo")
        done = roll_back(site, run.id)
        assert done.state is State.COMPLETE
        assert done.steps["1"].evidence["chosen"] == "fix"
        assert [e.data["title"] for e in site.journal.events() if e.kind == "task.opened"] == [
            "Pay it back"
        ]


def test_an_option_that_wants_a_record_is_chosen_when_that_is_filled(shop: Shop) -> None:
    """The step waits on."""
    shop.edit(STEPS, "    steps: [{choose: {point: errors}}, {restore: {component: config}}]\n")
    with shop.site() as site:
        run = begun(shop, site)
        answer(site, run, item="errors", text="back", by="bo")
        run = roll_back(site, run.id)
        assert run.waiting_for["record"] == "impact"
        says(site, run, "bo", impact__users="3", impact__loss_acceptable="yes")
        done = roll_back(site, run.id)
        assert done.steps["1"].evidence["calls_for"] == {"roll_back": "full"}


def test_a_step_lets_a_person_name_the_level(shop: Shop) -> None:
    """It starts nothing by itself."""
    shop.edit(STEPS, "    steps: [{decide: {id: which}}, {restore: {component: config}}]\n")
    with shop.site() as site:
        run = begun(shop, site)
        with pytest.raises(UsageError, match="none of what which offers"):
            answer(site, run, item="which", text="fulll", by="ada")
        answer(site, run, item="which", text="full", by="ada")
        done = roll_back(site, run.id)
        assert (done.state, done.steps["1"].evidence["level"]) == (State.COMPLETE, "full")
        assert list(site.runs()) == [run.id]


def test_a_record_of_the_checklist_keeps_the_gate_closed_while_it_is_blank(shop: Shop) -> None:
    """A yes is not a filled form."""
    item = "{id: lessons, item: It is written down, record: impact}"
    shop.edit(LEVEL_LINE, f"{LEVEL_LINE}    checklist: [{item}]\n")
    with shop.site() as site:
        run = begun(shop, site)
        assert run.state is State.NEEDS_OPERATOR
        assert "record impact lacks users, loss_acceptable" in run.reason
        says(site, run, "bo", impact__users="3", impact__loss_acceptable="yes")
        assert records.settled(site, site.run(run.id), "impact")[0]


@pytest.mark.parametrize(
    "field", ["{title: x, type: choice}", "{title: x, choices: [a]}", "{title: x, longest: 0}"]
)
def test_a_field_that_nobody_could_fill_is_refused(field: str, shop: Shop) -> None:
    """A choice without choices, choices without a choice, no room for a letter."""
    shop.edit("remark: {title: Anything else, required: false}", f"remark: {field}")
    with pytest.raises(SpecError):
        _ = shop.system
