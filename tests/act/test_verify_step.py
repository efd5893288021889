"""A suite in the middle of a run is the one of the gate: its files, what is expected, what is welcome."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from rollback.act import authorize, starting
from rollback.act.engine import roll_back
from rollback.act.plan import Plan
from rollback.act.site import Site
from rollback.model.errors import PlanError, Refused
from rollback.model.finding import Answer
from rollback.model.lifecycle import Run, State
from tests.cli.program import rollback
from tests.systems import Shop, ill

RESTORE = "steps: [{restore: {component: config}}]\n    gate: {suites: [smoke]}"
SMOKE = "  smoke:\n"
LIMIT = "    - config: {id: limit-right, file: config/app.yaml, keys: [limit], levels: [config]}\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and a bad release."""
    return ill(tmp_path, kept="before-release")


def step(shop: Shop, written: str, gate: str = "gate: {suites: [smoke]}") -> None:
    """The level `config` asks this after its restore, and has this gate or none."""
    end = f"\n    {gate}" if gate else ""
    shop.edit(RESTORE, f"steps: [{{restore: {{component: config}}}}, {{{written}}}]{end}")


def check(shop: Shop, written: str, suite: str = "smoke") -> None:
    """A check more is declared."""
    if suite == "smoke":
        shop.edit(SMOKE, f"{SMOKE}    - {written}\n")
    else:
        shop.edit(SMOKE, f"  {suite}:\n    - {written}\n{SMOKE}")


def pinned(shop: Shop, body: str, *, suite: str = "smoke", spoil: bool = False) -> None:
    """A test of the team, pinned by its digest."""
    path = f"verification/{suite}/test_team.py"
    (shop.folder / path).parent.mkdir(parents=True)
    (shop.folder / path).write_text(body + ("\n# edited since\n" if spoil else ""))
    digest = hashlib.sha256(body.encode()).hexdigest()
    shop.edit("verification:\n", f"verification:\n  suites: [{{path: {path}, sha256: {digest}}}]\n")


def go(site: Site, plan: Plan) -> Run:
    run = authorize.create(site, plan)
    if not authorize.standing(site, run, plan).enough:
        authorize.approve(site, run, person="ada")
    return roll_back(site, run.id)


def ran(shop: Shop, **more: Any) -> Run:
    """The run of the level, as far as it goes."""
    with shop.site() as site:
        return go(site, shop.plan(site, "config", **more))


# -- the suite of the gate -----------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    ("body", "state"),
    [("def test_it():\n    pass\n", State.COMPLETE),
     ("def test_it():\n    assert 1 == 2\n", State.UNDONE),
     ("import pytest\ndef test_it():\n    pytest.skip('not today')\n", State.UNDONE)],
    ids=["passes", "fails", "skips"],
)  # fmt: skip
def test_tests_of_the_team_count_in_a_step_as_at_the_gate(
    body: str, state: State, shop: Shop
) -> None:
    """Where one fails or is skipped the step fails, and everything is taken back."""
    pinned(shop, body)
    step(shop, "verify: {suite: smoke, within: 60s}")
    run = ran(shop)
    assert run.state is state, (run.reason, run.verdict)
    limit = "limit: 3" if state is State.COMPLETE else "limit: 99"
    assert limit in (shop.tree / "config" / "app.yaml").read_text()
    if state is State.UNDONE:
        assert "test_team.py::test_it" in run.reason


def test_a_test_that_is_not_the_pinned_one_proves_nothing(shop: Shop) -> None:
    """As at the gate; and it is not run."""
    pinned(shop, "def test_it():\n    pass\n", spoil=True)
    step(shop, "verify: {suite: smoke, within: 60s}")
    run = ran(shop)
    assert run.state is State.UNDONE
    assert "is not the pinned one" in run.reason


@pytest.mark.parametrize("by_name", [False, True])
def test_what_the_gate_expects_of_a_check_is_wanted_in_a_step_too(
    by_name: bool, shop: Shop
) -> None:
    """That something fails after the level, or is not there: asked as a suite, and by name."""
    check(shop, "files: {id: shiny, exists: [pages/shiny.html]}")
    check(shop, "files: {id: old-way, exists: [pages/old.html]}")
    gate = "gate: {suites: [smoke], expect: {shiny: fail, old-way: absent}}"
    step(
        shop,
        "verify: {checks: [shiny]}" if by_name else "verify: {suite: smoke, within: 60s}",
        gate,
    )
    run = ran(shop)
    assert run.state is State.COMPLETE, (run.reason, run.verdict)
    (shop.tree / "pages" / "shiny.html").write_text("here\n")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    run = ran(shop)
    assert run.state is State.UNDONE
    assert "check shiny answered PASS, wanted fail" in run.reason


def test_a_check_that_is_absent_at_this_level_is_not_asked_by_name(shop: Shop) -> None:
    """The declaration says both: it is refused when the plan is made."""
    check(shop, "files: {id: old-way, exists: [pages/old.html]}")
    for kind in ("verify: {checks: [old-way]}", "watch: {checks: [old-way], for: 1s}"):
        step(shop, kind, "gate: {suites: [smoke], expect: {old-way: absent}}")
        with (
            shop.site() as site,
            pytest.raises(PlanError, match="old-way is absent at level config"),
        ):
            shop.plan(site, "config")
        shop.edit(f", {{{kind}}}]\n    gate: {{suites: [smoke], expect: {{old-way: absent}}}}",
                  "]\n    gate: {suites: [smoke]}")  # fmt: skip


@pytest.mark.parametrize("suite", ["functional", "integration", "performance"])
def test_a_suite_in_which_nothing_is_asked_proves_nothing(suite: str, shop: Shop) -> None:
    """Neither a declared check nor a pinned test: refused when the plan is made."""
    step(shop, f"verify: {{suite: {suite}, within: 60s}}")
    with shop.site() as site, pytest.raises(PlanError, match=f"no {suite} check is declared"):
        shop.plan(site, "config")


def test_a_suite_that_the_gate_does_not_ask_is_asked_where_a_step_says_so(shop: Shop) -> None:
    """Of a level without a gate, too; checks of other levels are not among them."""
    check(shop, "files: {id: page, exists: [pages/index.html]}", "functional")
    step(shop, "verify: {suite: functional, within: 60s}", gate="")
    with shop.site() as site:
        plan = shop.plan(site, "config")
        assert plan.steps[1].bound["checks"] == ["page"]
        assert plan.steps[1].says == ("run suite functional as the gate does: page",)
        assert go(site, plan).state is State.MITIGATED
    (shop.tree / "pages" / "index.html").unlink()
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    run = ran(shop)
    assert run.state is State.UNDONE
    assert "page answered FAIL" in run.reason


@pytest.mark.long
def test_a_suite_must_stay_good_as_long_as_it_says(shop: Shop) -> None:
    """Run again and again; the evidence says how long it held."""
    pinned(shop, "def test_it():\n    pass\n")
    step(shop, "verify: {suite: smoke, for: 1500ms, every: 100ms, within: 60s}")
    run = ran(shop)
    assert run.state is State.COMPLETE, (run.reason, run.verdict)
    assert run.steps["2"].evidence["held_s"] == 1.5


def left(shop: Shop, asked: str = "app-valid") -> tuple[list[str], int]:
    """The JUnit files of the run, and how many Allure results there are of a check of the shop."""
    run = shop.folder / ".rollback/runs/r0001"
    allure = [
        one for one in (run / "allure-results").glob("*-result.json") if asked in one.read_text()
    ]
    return sorted(path.name for path in (run / "junit").iterdir()), len(allure)


def test_what_a_suite_leaves_for_people_lies_beside_that_of_the_gate(shop: Shop) -> None:
    """Under the number of its step, as JUnit XML and for Allure; of looks that are all good, once."""
    step(shop, "verify: {suite: smoke, for: 1500ms, every: 100ms, within: 60s}")
    run = ran(shop)
    assert run.state is State.COMPLETE, (run.reason, run.verdict)
    assert left(shop) == (["2.smoke.xml", "smoke.xml"], 2)
    made = ET.parse(shop.folder / ".rollback/runs/r0001/junit/2.smoke.xml").getroot()
    about = {one.get("name"): one.get("value") for one in made.iter("property")}
    assert (about["run"], about["step"]) == ("r0001", "2")


def test_a_look_that_is_not_good_is_shown_though_the_one_before_was(shop: Shop) -> None:
    """The file of the step is the one of the look that ended it."""
    check(shop, "command: {id: once, argv: [mkdir, asked], effects: test-data}", "functional")
    shop.edit("components:\n", "environments: {production: {allows: [test-data]}}\ncomponents:\n")
    step(shop, "verify: {suite: functional, for: 60s, every: 100ms, within: 60s}")
    assert ran(shop).state in (State.UNDONE, State.WAITING)
    with shop.site() as site:
        run = site.run("r0001")
        while run.state is State.WAITING:
            shop.clock.ahead_s += 1
            run = roll_back(site, run.id)
        assert run.state is State.UNDONE, run.reason
    assert left(shop, "once") == (["2.functional.xml"], 2)
    text = (shop.folder / ".rollback/runs/r0001/junit/2.functional.xml").read_text()
    assert "check once answered FAIL" in text


def test_a_suite_that_was_green_when_sealed_may_stay_red_only_as_the_gate_allows(
    shop: Shop,
) -> None:
    """A known failure counts in a step as it does at the gate."""
    check(shop, "files: {id: known, exists: [pages/none.html]}")
    shop.edit("verification:\n", "verification:\n  known_red: [{id: known, owner: op, "
              "expires: 2099-01-01, reason: old}]\n")  # fmt: skip
    assert rollback(shop.folder, "checkpoint", "create", "sealed", "--seal").status in (0, 7)
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 100\n")
    step(shop, "verify: {suite: smoke, within: 60s}")
    assert ran(shop, to="checkpoint:sealed").state is State.UNDONE
    shop.edit("verify: {suite: smoke, within: 60s}}]\n    gate: {suites: [smoke]}",
              "verify: {suite: smoke, within: 60s}}, {verify: {checks: [known]}}]\n"
              "    gate: {suites: [smoke], known_red: allowed}")  # fmt: skip
    with shop.site():
        pass
    assert rollback(shop.folder, "trust", "--yes", "--as", "ada").status == 0
    run = ran(shop, to="checkpoint:sealed")
    assert run.state is State.COMPLETE, (run.reason, run.verdict)


# -- what is welcome -----------------------------------------------------------------------

WRITES = "command: {id: writes, effects: test-data, argv: [touch, TRACE], levels: [config]}"


@pytest.mark.parametrize(
    "written",
    ["verify: {checks: [writes]}", "verify: {suite: functional, within: 60s}",
     "watch: {checks: [writes], for: 1s, every: 500ms}"],
    ids=["verify-checks", "verify-suite", "watch"],
)  # fmt: skip
@pytest.mark.parametrize("allows", ["", "[none]", "[none, test-data]"])
def test_a_step_asks_nothing_that_the_environment_does_not_allow(
    allows: str, written: str, shop: Shop
) -> None:
    """Refused with the reason when the plan is made, before anything is asked or done."""
    trace = shop.folder / "asked"
    check(shop, WRITES.replace("TRACE", str(trace)), "functional")
    if allows:
        shop.edit(
            "components:\n", f"environments: {{production: {{allows: {allows}}}}}\ncomponents:\n"
        )
    step(shop, written)
    words = ("--json", "run", "config", "--as", "ada", "--yes")
    if "test-data" in allows:
        assert rollback(shop.folder, *words).json["state"] == "COMPLETE"
        assert trace.exists()
        return
    ended = rollback(shop.folder, *words)
    assert ended.status == 4
    said = ended.json["error"]["message"]
    assert "check writes has effects test-data, which production does not allow" in said
    assert "test-data" in ended.json["error"]["hint"]
    assert not trace.exists()
    assert "limit: 99" in (shop.tree / "config" / "app.yaml").read_text()
    with shop.site() as site, pytest.raises(Refused):
        shop.plan(site, "config")


@pytest.mark.parametrize(
    ("allows", "answer"), [("", Answer.PASS), (", allows: [none]", Answer.UNKNOWN)]
)
def test_all_who_ask_a_check_ask_the_same_where_it_is_welcome(
    allows: str, answer: Answer, shop: Shop
) -> None:
    """A step, the gate and a prerequisite: what is no production is tried on, unless it says no."""
    trace = shop.folder / "asked"
    written = WRITES.replace("TRACE", str(trace)).replace(", levels: [config]", "")
    check(shop, written, "functional")
    (shop.folder / "trial" / "config").mkdir(parents=True)
    (shop.folder / "trial" / "pages").mkdir()
    shop.edit("components:\n", f"environments: {{staging: {{root: trial{allows}}}}}\ncomponents:\n")
    verify = "verify: {suite: functional, environment: staging, within: 60s}"
    step(shop, verify)
    with shop.site() as site:
        if answer is Answer.UNKNOWN:
            with pytest.raises(Refused, match="staging does not allow"):
                shop.plan(site, "config")
            shop.edit(f", {{{verify}}}", "")
    with shop.site() as site:
        plan = shop.plan(site, "config", environment="staging")
        assert starting.ask_now(site, plan.environment, "writes").answer is answer
    ended = rollback(shop.folder, "--json", "verify", "functional", "--environment", "staging")  # fmt: skip
    assert ended.status == (0 if answer is Answer.PASS else 7)
