"""A gate that is green all the same stays closed: over components that diverge, and effects that stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.act import authorize, eyes, unsaid, unsettled
from rollback.act.engine import roll_back
from rollback.act.plan import plan_of
from rollback.act.site import Site
from rollback.act.stopping import answer, asks, retry
from rollback.act.told import tell_event
from rollback.model.errors import PlanError, RollbackError, SpecError, UsageError
from rollback.model.lifecycle import Run, State
from tests.systems import Shop, build

DIVERGENCE = """verification:
  divergence:
    - id: epochs
      between: [config, pages]
      of: OF
      check: {files: {contains: {pages/epoch.txt: "1"}}}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop, whose mails cannot be taken back; a checkpoint, and a bad release after it."""
    made = build(tmp_path)
    made.edit("config: {path: config, content: files}",
              "config: {path: config, content: files, irreversible: [mails that went out]}")  # fmt: skip
    (made.tree / "pages" / "epoch.txt").write_text("2\n")
    with made.site() as site:
        tell_event(
            site, "effect", {"component": "config", "what": "old mail"}, by="ada", identity="old"
        )
        site.checkpoints.create("good")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def driven(site: Site, shop: Shop) -> Run:
    run = authorize.create(site, shop.plan(site, "config"))
    authorize.approve(site, run, person="ada")
    return roll_back(site, run.id)


def again(site: Site, run: Run) -> Run:
    return roll_back(site, retry(site, site.run(run.id), by="ada").id)


def test_components_that_diverge_keep_the_gate_closed_until_they_agree(shop: Shop) -> None:
    """Every suite is green; the reason names both, and what is wrong between them."""
    shop.edit("verification:\n", DIVERGENCE.replace("OF", "epoch"))
    with shop.site() as site:
        run = driven(site, shop)
        assert run.state is State.NEEDS_OPERATOR
        assert "divergence epochs of config and pages (another epoch)" in run.reason
        (shop.tree / "pages" / "epoch.txt").write_text("1\n")
        assert again(site, run).state is State.COMPLETE


@pytest.mark.parametrize(
    ("of", "said"), [("messages", "(messages in flight)"), ("tasks", "(orphaned tasks)")]
)
def test_each_kind_of_divergence_is_said_in_its_words(shop: Shop, of: str, said: str) -> None:
    shop.edit("verification:\n", DIVERGENCE.replace("OF", of))
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        (left,) = unsettled.keeps_closed(site, run, plan_of(run), eyes.of(site))
        assert said in left.reason
        assert "answer r0001 epochs acknowledged" in left.reason


def test_a_named_person_takes_note_of_exactly_what_was_found(shop: Shop) -> None:
    """Of nothing before it was found, and of nothing else that is found later; the result says so."""
    shop.edit("verification:\n", DIVERGENCE.replace("OF", "epoch"))
    with shop.site() as site:
        run = driven(site, shop)
        for who, text, error in (
            ("nobody", "acknowledged", PlanError), ("ada", "yes", UsageError),
            ("ada", "compensated", UsageError),
        ):  # fmt: skip
            with pytest.raises(error):
                answer(site, run, item="epochs", text=text, by=who)
        answer(
            site, site.run(run.id), item="epochs", text="acknowledged: old pages are read", by="ada"
        )
        (shop.tree / "pages" / "epoch.txt").unlink()
        other = again(site, run)
        assert other.state is State.NEEDS_OPERATOR
        assert "divergence epochs" in other.reason
        answer(site, site.run(run.id), item="epochs", text="Acknowledged", by="ada")
        done = again(site, run)
        assert done.state is State.COMPLETE, done.reason
        assert any("epochs was taken note of by ada" in str(note)
                   for note in list(done.verdict["notes"]))  # type: ignore[call-overload]  # fmt: skip


def test_what_can_be_said_is_listed_for_whoever_asks_what_a_run_asks(shop: Shop) -> None:
    """A divergence that its gate found, and an effect since the checkpoint; not what is settled."""
    shop.edit("verification:\n", DIVERGENCE.replace("OF", "epoch"))
    with shop.site() as site:
        tell_event(
            site, "effect", {"component": "config", "what": "new mail"}, by="ada", identity="new"
        )
        run = driven(site, shop)
        listed = asks(site, site.run(run.id))
        assert listed["epochs"].startswith("config and pages diverge: ")
        assert "new mail" in listed["effect-new"]
        assert "effect-old" not in listed
        before = unsaid.reasons(site, run)
        answer(site, site.run(run.id), item="effect-new", text="acknowledged", by="ada")
        assert "effect-new" not in asks(site, site.run(run.id))
        left = unsaid.reasons(site, site.run(run.id))
        assert [one for one in before if "new mail" not in one] == left != before
        answer(site, site.run(run.id), item="epochs", text="acknowledged", by="ada")
        (said,) = unsaid.reasons(site, site.run(run.id))
        assert "has been said since" in said
        assert again(site, run).state is State.COMPLETE


def test_a_divergence_that_nobody_can_tell_is_taken_note_of_by_nobody(shop: Shop) -> None:
    """UNKNOWN opens nothing, whoever says so."""
    text = DIVERGENCE.replace("OF", "tasks")
    shop.edit("verification:\n", text.replace(
        'files: {contains: {pages/epoch.txt: "1"}}', "command: {argv: [/nowhere/program]}"))  # fmt: skip
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        (left,) = unsettled.keeps_closed(site, run, plan_of(run), eyes.of(site))
        assert (left.found, "cannot be told" in left.reason) == ("", True)
        with pytest.raises(PlanError, match="no gate"):
            answer(site, run, item="epochs", text="acknowledged", by="ada")


def test_only_what_was_put_back_can_diverge_or_leave_effects(shop: Shop) -> None:
    """A switch that is turned off puts no component back."""
    shop.edit("verification:\n", DIVERGENCE.replace("OF", "tasks"))
    with shop.site() as site:
        effect(site, "m1")
        run = authorize.create(site, shop.plan(site, "flag"))
        assert unsettled.keeps_closed(site, run, plan_of(run), eyes.of(site)) == ()
        run = authorize.create(site, shop.plan(site, "config"))
        left = unsettled.keeps_closed(site, run, plan_of(run), eyes.of(site))
        assert [one.id for one in left] == ["epochs", "effect-m1"]


def test_components_that_are_not_declared_cannot_diverge(shop: Shop) -> None:
    """A name that nothing has is refused with the nearest one."""
    shop.edit("verification:\n", DIVERGENCE.replace("OF", "tasks").replace("pages]", "page]"))
    with pytest.raises(SpecError, match="page"):
        _ = shop.system


def effect(site: Site, identity: str, **more: str) -> object:
    given = {"component": "config", "what": "mail to everybody", **more}
    return tell_event(site, "effect", given, by="ada", identity=identity)


def test_an_effect_since_the_checkpoint_is_settled_once(shop: Shop) -> None:
    """What came before the checkpoint is none; what is settled holds up no later run, and stays settled."""
    how = "compensated: an apology went out"
    config = "    steps: [{restore: {component: config}}]\n    gate: {suites: [smoke]}\n"
    shop.edit(config, f"{config}    on_fail: {{climb: full, when: auto}}\n")
    with shop.site() as site:
        assert effect(site, "m0") is not None
        assert effect(site, "m1") is not None
        assert effect(site, "m1") is None
        run = driven(site, shop)
        assert run.state is State.NEEDS_OPERATOR
        answer(site, run, item="effect-m0", text="acknowledged by phone", by="ada")
        assert len(list(run.verdict["reasons"])) == 2  # type: ignore[call-overload]
        assert "irreversible: mail to everybody of config" in run.reason
        assert [one.id for one in unsettled.effects(site, plan_of(run))] == ["effect-m1"]
        assert not run.verdict["climb"]  # going further back sends no mail back
        with pytest.raises(PlanError, match="declared"):
            answer(site, run, item="effect-m1", text=how, by="somebody")
        with pytest.raises(UsageError):
            answer(site, run, item="effect-m1", text="yes", by="ada")
        answer(site, run, item="effect-m1", text=how, by="bo")
        with pytest.raises(PlanError, match=f"{how.split()[0].rstrip(':')} by bo"):
            answer(site, site.run(run.id), item="effect-m1", text="compensated", by="ada")
        done = again(site, run)
        assert done.state is State.COMPLETE, done.reason
        assert any("effect m1 was" in str(note) for note in list(done.verdict["notes"]))  # type: ignore[call-overload]
        assert unsettled.effects(site, plan_of(done)) == ()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"component": "pages"}, PlanError), ({"component": "pagse"}, PlanError),
        ({"what": ""}, UsageError), ({"who": "me"}, UsageError),
    ],
)  # fmt: skip
def test_an_effect_that_is_not_whole_is_refused(
    shop: Shop, fields: dict[str, str], error: type[RollbackError]
) -> None:
    """Nothing of it is in the journal; the refusal says what to type."""
    with shop.site() as site:
        with pytest.raises(error) as caught:
            effect(site, "m1", **fields)
        assert caught.value.hint
        assert not unsettled.told(site, "m1")
