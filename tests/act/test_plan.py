"""The target and the plan: what is chosen, what is refused, and that looking changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollback.act.plan import Plan, make_plan, read_plan
from rollback.act.site import Site
from rollback.act.target import candidates, choose
from rollback.keep import capture
from rollback.model.errors import PlanError, UsageError
from rollback.prove import seal
from tests.systems import Shop, build, environment, walk


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with two checkpoints and a bad release after them."""
    made = build(tmp_path)
    with made.site() as site:
        site.checkpoints.create("first")
        (made.tree / "pages" / "index.html").write_text("<h1>better</h1>\n")
        site.checkpoints.create("before-release")
    (made.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


@pytest.fixture
def site(shop: Shop) -> Iterator[Site]:
    """The shop, opened."""
    with shop.site() as opened:
        yield opened


# -- targets -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "label"),
    [
        ("last-good", "before-release"), ("newest", "before-release"), ("initial", "first"),
        ("checkpoint:first", "first"), ("checkpoint:before-release", "before-release"),
        ("checkpoint:newest", "before-release"), ("phase:before", "before-release"),
    ],
)  # fmt: skip
def test_words_names_and_phases_find_their_checkpoint(
    to: str, label: str, shop: Shop, site: Site
) -> None:
    """Each as the help says."""
    assert shop.plan(site, "config", to=to).target.label == label


def test_an_id_and_its_beginning_find_it_too(shop: Shop, site: Site) -> None:
    """As `checkpoint list` prints it."""
    wanted = site.checkpoints.get("first").id
    for to in (wanted, wanted[:12]):
        assert shop.plan(site, "config", to=f"checkpoint:{to}").target.id == wanted


@pytest.mark.parametrize(
    "to",
    ["", "first", "checkpoint:", "checkpoint:nothing", "checkpoint:../..", "git:", "svn:1", ":", "-x",
     "checkpoint:" + "a" * 5000, "phase:nothing", "phase:", "git:main", "last-good:x", "\x00"],
)  # fmt: skip
def test_what_is_no_target_is_refused_with_what_to_write(to: str, site: Site) -> None:
    """Never the nearest thing instead."""
    if not to:
        assert choose(site, site.system.levels["config"], to)[0].label == "before-release"
        return
    with pytest.raises((PlanError, UsageError)) as caught:
        choose(site, site.system.levels["config"], to)
    assert caught.value.exit_status == (2 if to.startswith("git:") else 3)
    assert caught.value.hint


def test_a_phase_that_fits_several_asks_which(shop: Shop, site: Site) -> None:
    """A person named it, so a person decides; a declared source takes the newest."""
    site.checkpoints.create("before-lunch")
    with pytest.raises(PlanError, match="fits 2: before-lunch") as caught:
        shop.plan(site, "config", to="phase:before")
    assert "name one" in caught.value.hint


def test_sources_fall_through_to_the_first_that_has_a_valid_one(shop: Shop, site: Site) -> None:
    """`pages` wants before-release, else the newest; what was passed over stays in the plan."""
    assert shop.plan(site, "pages", component="pages").target.label == "before-release"
    shop.edit("{checkpoint: before-release}", "{phase: nightly}")
    with shop.site() as fresh:
        plan = shop.plan(fresh, "pages", component="pages")
        assert (plan.target.label, plan.target.source) == ("before-release", "checkpoint")


def test_a_checkpoint_with_a_missing_object_is_no_target_and_says_why(
    shop: Shop, site: Site
) -> None:
    """It is listed, and it is passed over."""
    for pack in (shop.folder / ".rollback" / "store").rglob("*.pack"):
        pack.unlink()
    with shop.site() as fresh:
        with pytest.raises(PlanError, match="no valid target") as caught:
            shop.plan(fresh, "config")
        assert "checkpoint create" in caught.value.hint
        with pytest.raises(PlanError, match="is no valid target"):
            shop.plan(fresh, "config", to="checkpoint:first")


def test_a_partial_checkpoint_is_no_target(
    shop: Shop, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even as the newest: something in it could not be read while it was made."""
    growing = shop.tree / "pages" / "access.log"
    growing.write_bytes(b"x")
    steadily = capture.read_steadily

    def moving(site: Any, full: bytes) -> Any:
        """As when a writer never pauses; with a real one: tests/keep/test_checkpoint.py."""
        return None if full.endswith(b"access.log") else steadily(site, full)

    monkeypatch.setattr(capture, "read_steadily", moving)
    made = site.checkpoints.create("torn", allow_partial=True)
    growing.unlink()
    assert made.state == "partial"
    found = candidates(site, "checkpoint", "newest")
    assert [one.valid for one in found] == [False, True, True]
    assert "access.log" in found[0].why_not
    assert shop.plan(site, "config", to="newest").target.label == "before-release"
    with pytest.raises(PlanError, match="partial"):
        shop.plan(site, "config", to="checkpoint:torn")


def test_what_a_run_kept_of_the_broken_present_is_not_the_newest(shop: Shop, site: Site) -> None:
    """A safety checkpoint holds the state one wants to leave; by its name it is a target."""
    site.checkpoints.create("safety-r0001", kind="safety")
    assert shop.plan(site, "config", to="newest").target.label == "before-release"
    assert shop.plan(site, "config").target.label == "before-release"
    assert shop.plan(site, "config", to="checkpoint:safety-r0001").target.label == "safety-r0001"


def test_a_checkpoint_whose_suites_were_red_is_not_the_last_good_one(
    shop: Shop, site: Site
) -> None:
    """The one before it is; where all are red there is none, and a person names one."""

    def sealed(name: str, answer: str) -> None:
        made = seal.make(
            {"app-valid": seal.Sealed(suite="smoke", answer=answer)},  # type: ignore[arg-type]
            belongs_to={"checkpoint": site.checkpoints.get(name).id}, at="2026-11-20T00:00:00Z",
        )  # fmt: skip
        seal.save(site.state.tree, made)

    sealed("before-release", "fail")
    assert shop.plan(site, "config").target.label == "first"
    sealed("first", "unknown")
    with pytest.raises(PlanError, match="no valid target"):
        shop.plan(site, "config")
    assert shop.plan(site, "config", to="checkpoint:first").target.label == "first"


# -- plans ---------------------------------------------------------------------------------


def test_a_plan_is_the_same_after_the_journal_and_in_another_process(
    shop: Shop, site: Site
) -> None:
    """Its digest is what people approve."""
    plan = shop.plan(site, "full")
    text = json.dumps(plan.as_json())
    assert read_plan(json.loads(text)) == plan
    code = (
        "import json, sys, rollback.kinds; from rollback.act.plan import read_plan;"
        "print(read_plan(json.load(sys.stdin)).digest())"
    )
    done = subprocess.run([sys.executable, "-c", code], input=text, text=True, capture_output=True,
                          check=True, env=environment())  # fmt: skip
    assert done.stdout.strip() == plan.digest()


def test_the_digest_covers_every_decision(shop: Shop, site: Site) -> None:
    """Another target, requester, reason, policy or step: another plan."""
    base = shop.plan(site, "config").as_json()
    digests = {read_plan(base).digest()}
    for name, value in (("requester", "bo"), ("reason", "x"), ("policy", "p"), ("host", "h"),
                        ("system_digest", "s"), ("level", "full"), ("environment", "e")):  # fmt: skip
        digests.add(read_plan({**base, name: value}).digest())
    steps = json.loads(json.dumps(base["steps"]))
    steps[0]["bound"]["id"] = "0" * 64
    digests.add(read_plan({**base, "steps": steps}).digest())
    assert len(digests) == 9


@pytest.mark.parametrize(
    "spoil", [{"format": 2, "tool": "9.9"}, {"format": 1, "more": 1}, {"format": 1, "steps": None}]
)
def test_a_plan_of_another_version_is_refused_with_a_sentence(
    spoil: dict[str, object], shop: Shop, site: Site
) -> None:
    """A newer format, a field more, a field of another shape: finish it with that version."""
    body = {**shop.plan(site, "config").as_json(), **spoil}
    with pytest.raises(PlanError, match="was planned by rollback") as caught:
        read_plan(body)
    assert "finish it with that version" in caught.value.hint


@pytest.mark.requirement("QL-24")
@pytest.mark.parametrize(
    ("level", "more", "said"),
    [
        ("nothing", {}, "there is no level"), ("confg", {}, "there is no level"),
        ("99", {}, "there is no level"), ("later", {}, "not built yet"),
        ("pages", {}, "works on one component"), ("pages", {"component": "x"}, "no component x"),
        ("config", {"component": "pages"}, "not work on a single component"),
        ("config", {"variant": "x"}, "no variant"), ("config", {"environment": "moon"}, "no environment"),
        ("", {}, "there is no level"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_refused_with_what_can(
    level: str, more: dict[str, str], said: str, shop: Shop, site: Site
) -> None:
    """And nothing is written."""
    before = walk(shop.folder)
    with pytest.raises((PlanError, UsageError), match=said) as caught:
        shop.plan(site, level, **more)
    assert caught.value.hint
    assert walk(shop.folder) == before


def test_a_level_is_found_by_its_rank_too(shop: Shop, site: Site) -> None:
    """`rollback plan 2`."""
    assert shop.plan(site, "2").level == "config"


def test_a_level_whose_target_is_the_present_is_idle(shop: Shop, site: Site) -> None:
    """It says so; it claims no fix."""
    assert not shop.plan(site, "config").idle
    (shop.tree / "config" / "app.yaml").write_text("# settings\nparty: true\nlimit: 3\n")
    fresh = shop.plan(site, "config")
    times = [line for step in fresh.steps for line in step.says]
    assert fresh.idle or "time" in "".join(times)
    site.checkpoints.create("now")
    assert shop.plan(site, "config", to="checkpoint:now").idle


def _plans(site: Site, shop: Shop) -> list[Plan]:
    return [
        shop.plan(site, "flag"), shop.plan(site, "config"), shop.plan(site, "full"),
        shop.plan(site, "pages", component="config"), shop.plan(site, "config", to="initial"),
    ]  # fmt: skip


def test_planning_changes_no_byte_anywhere(shop: Shop, site: Site) -> None:
    """Not under the root, not in the state directory."""
    before, state = shop.bytes(), walk(shop.folder / ".rollback")
    for plan in _plans(site, shop):
        assert plan.steps
    assert shop.bytes() == before
    assert walk(shop.folder / ".rollback") == state


def test_the_impact_is_measured_not_declared(shop: Shop, site: Site) -> None:
    """Files that differ, components, bytes."""
    impact = shop.plan(site, "full").impact
    assert impact["files"] == 2
    assert impact["components"] == ["pages", "config"]
    assert impact["data_loss"] == "everything since"


def test_steps_keep_the_order_of_the_declaration(shop: Shop, site: Site) -> None:
    """Numbered from 1."""
    steps = shop.plan(site, "full").steps
    assert [(step.index, step.bound["component"]) for step in steps] == [
        ("1", "pages"),
        ("2", "config"),
    ]


def test_only_the_steps_of_the_chosen_variant_are_planned(tmp_path: Path) -> None:
    """The others are not there at all."""
    shop = build(tmp_path)
    shop.edit("    steps: [{flag: {flag: party, set: false, within: 3s}}]",
              "    variants: {soft: Softly, hard: At once}\n    variant: soft\n    steps:\n"
              "      - flag: {flag: party, set: false, within: 3s}\n"
              "      - wait: {for: 1s, variant: soft}\n"
              "      - wait: {for: 2s, variant: hard}")  # fmt: skip
    with shop.site() as site:
        soft, hard = shop.plan(site, "flag"), shop.plan(site, "flag", variant="hard")
    assert [step.parameters.get("for") for step in soft.steps] == [None, "1s"]
    assert [step.parameters.get("for") for step in hard.steps] == [None, "2s"]
    assert soft.digest() != hard.digest()


def test_make_plan_is_public_enough_to_be_called_without_a_run(shop: Shop, site: Site) -> None:
    """A dry run of a dry run: no run id is reserved by looking."""
    make_plan(site, "config", run="r0001", requester="ada")
    assert site.runs() == {}
