"""A level that was not enough leads on as declared: by itself or asked, with its tasks, once each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollback.act import authorize
from rollback.act.climbing import climb
from rollback.act.engine import roll_back
from rollback.act.stopping import retry
from rollback.model.lifecycle import State
from tests.cli.program import Ended, rollback
from tests.systems import Shop, build

ALONE = "{roles: [op], alone: true}"
FREE = "autonomy: {current: 4, table: {4: {may: [observe, check, roll-back], confirm: false}}}\n"
TASKS = """follow_ups:
  tasks: {look: {title: Look why it was not enough, owner: lead}, tell: {title: Tell the users}}
"""
CONFIG = "    steps: [{restore: {component: config}}]\n    gate: {suites: [smoke]}\n"
FULL = "      - restore: {component: config}\n    gate: {suites: [smoke]}\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A bad release that settings alone do not take back; nobody has to confirm a level for one."""
    made = build(tmp_path, guardrails=FREE + TASKS)
    made.edit("{roles: [lead, chief], quorum: all}", ALONE)
    made.edit(
        "  smoke:\n",
        "  smoke:\n    - files: {id: pages-right, contains: {pages/index.html: shop}}\n",
    )
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    (made.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
    return made


def leads(shop: Shop, on_fail: str, level: str = "config") -> None:
    """The level leads on like this."""
    old = {"config": CONFIG, "full": FULL}[level]
    shop.edit(old, f"{old}    on_fail: {on_fail}\n")


def typed(shop: Shop, *words: str) -> Ended:
    return rollback(shop.folder, *words, "--as", "ada")


def run(shop: Shop, *words: str) -> Ended:
    return typed(shop, "--json", "run", *words, "--yes")


def planned(shop: Shop) -> list[str]:
    """The levels of all runs, in order."""
    return [e["data"]["plan"]["level"] for e in shop.lines() if e["kind"] == "run.planned"]


def tasks(shop: Shop) -> list[dict[str, Any]]:
    return [e["data"] for e in shop.lines() if e["kind"] == "task.opened"]


@pytest.mark.requirement("PM-53")
def test_a_level_that_was_not_enough_lists_who_depends_on_it_and_recommends_the_next(
    shop: Shop,
) -> None:
    """Importing files and mentions in the instructions, a task for each, and what to type next."""
    (shop.tree / "pages" / "other.py").write_text("import party_mode\n")
    (shop.tree / "pages" / "CLAUDE.md").write_text("Start with party_mode.\n")
    scan = "{capture: {id: who, sources: [{mentions: {of: party_mode}}]}}"
    shop.edit("steps: [{restore: {component: config}}]",
              f"steps: [{{restore: {{component: config}}}}, {scan}]")  # fmt: skip
    shop.edit("    gate: {suites: [smoke]}\n  pages:",
              "    gate: {suites: [smoke]}\n    on_fail: {climb: full, when: ask, tasks: [look, tell]}\n"
              "  pages:")  # fmt: skip
    ended = typed(shop, "run", "config", "--yes")
    assert ended.status == 9, ended.out
    assert "the next level, as declared: rollback run full" in ended.out
    told = shop.folder / ".rollback/runs/r0001/capture/who/mentions/party_mode.txt"
    assert told.read_text().splitlines() == [
        "pages/CLAUDE.md:1: Start with party_mode.", "pages/other.py:1: import party_mode",
    ]  # fmt: skip
    assert [one["name"] for one in tasks(shop)] == ["look", "tell"]
    assert planned(shop) == ["config"]
    assert "broken" in (shop.tree / "pages" / "index.html").read_text()


# -- by itself -----------------------------------------------------------------------------


def test_a_closed_gate_leads_to_the_declared_level_by_itself(shop: Shop) -> None:
    """A new run of the same incident, proved by its own gate; both are told, and the tasks open."""
    leads(shop, "{climb: full, when: auto, tasks: [look, tell]}")
    ended = run(shop, "config")
    assert ended.status == 0, ended.out
    body = ended.json
    assert (body["run_id"], body["level"], body["state"]) == ("r0002", "full", "COMPLETE")
    (first,) = body["climbed_from"]
    assert (first["run_id"], first["level"], first["state"]) == (
        "r0001",
        "config",
        "NEEDS_OPERATOR",
    )
    assert first["incident"] == body["incident"]
    assert "shop" in (shop.tree / "pages" / "index.html").read_text()
    assert [(one["title"], one["owner"]) for one in tasks(shop)] == [
        ("Look why it was not enough", "lead"), ("Tell the users", "op"),
    ]  # fmt: skip
    with shop.site() as site:
        closed = site.run("r0001")
        assert closed.state is State.ABANDONED
        assert closed.reason == "r0002 at full proved what this run could not"
    assert rollback(shop.folder, "--json", "status").json["runs_open"] == []
    (made,) = [
        e["data"] for e in shop.lines() if e["kind"] == "run.planned" and e["run"] == "r0002"
    ]
    assert made["follows"] == "r0001"
    assert "config was not enough in run r0001" in made["reason"]


@pytest.mark.long
def test_people_are_told_of_both_runs(shop: Shop) -> None:
    """In one call, the first one first."""
    leads(shop, "{climb: full, when: auto}")
    ended = typed(shop, "run", "config", "--yes")
    assert ended.status == 0
    assert "rollback run full" not in ended.out
    first, second = ended.out.index("r0001  NEEDS_OPERATOR"), ended.out.index("r0002  COMPLETE")
    assert first < second
    assert "climbs to full: run r0002" in ended.err


def test_a_level_that_people_have_to_allow_waits_for_them_and_says_so(shop: Shop) -> None:
    """It is there, nothing of it is done, and the status says that a person is needed."""
    shop.edit("    title: All back\n", "    title: All back\n    scope: all\n")
    shop.edit(f"data_loss: everything since\n    authority: {ALONE}",
              "data_loss: everything since\n    authority: {roles: [lead, chief], quorum: all}")  # fmt: skip
    leads(shop, "{climb: full, when: auto}")
    ended = run(shop, "config")
    assert ended.status == 9
    assert (ended.json["run_id"], ended.json["state"]) == ("r0002", "WAITING")
    assert ended.json["waiting_for"]["on"] == "approval"
    assert ended.json["climbed_from"][0]["state"] == "NEEDS_OPERATOR"
    assert "broken" in (shop.tree / "pages" / "index.html").read_text()
    again = typed(shop, "resume", "r0001")  # the gate is asked again: no second one is made
    assert again.status == 9
    assert planned(shop) == ["config", "full"]
    assert "rollback approve r0002" in again.out


def test_without_leave_to_act_alone_the_confirmation_is_waited_for(shop: Shop) -> None:
    """--yes was the word for the level that was typed, not for the one above."""
    shop.edit(FREE, "")
    leads(shop, "{climb: full, when: auto}")
    ended = run(shop, "config")
    assert (ended.status, ended.json["state"], ended.json["level"]) == (9, "WAITING", "full")
    done = typed(shop, "--json", "approve", "r0002")
    assert (done.status, done.json["state"]) == (0, "COMPLETE")


def test_a_step_that_says_climb_leads_there_too(shop: Shop) -> None:
    """What the step left half done is the first thing the next level puts right."""
    leads(shop, "{climb: full, when: auto, tasks: [look]}")
    shop.edit("steps: [{restore: {component: config}}]", "steps: [{restore: {component: config}}, "
              "{command: {argv: [/bin/false], effects: none, on_fail: climb}}]")  # fmt: skip
    ended = run(shop, "config")
    assert (ended.status, ended.json["level"], ended.json["state"]) == (0, "full", "COMPLETE")
    assert "the next level is full" in ended.json["climbed_from"][0]["reason"]
    assert [one["name"] for one in tasks(shop)] == ["look"]


@pytest.mark.long
def test_a_procedure_leads_on_like_a_level(shop: Shop) -> None:
    """Its gate closes, and the level that it names is begun."""
    shop.edit(
        "levels:\n",
        f"""procedures:
  tidy:
    title: Tidy
    authority: {ALONE}
    steps: [{{edit: {{file: config/app.yaml, key: limit, value: 4}}}}]
    gate: {{suites: [smoke]}}
    on_fail: {{climb: full, when: auto}}
levels:
""",
    )
    ended = run(shop, "tidy")
    assert (ended.status, ended.json["level"], ended.json["state"]) == (0, "full", "COMPLETE")


# -- asked ---------------------------------------------------------------------------------


@pytest.mark.requirement("PM-41")
def test_asked_the_declared_level_is_offered_and_nothing_is_begun(shop: Shop) -> None:
    """Not the level that has just failed, whatever covers what fails; the tasks are open."""
    leads(shop, "{climb: full, when: ask, tasks: [look, tell]}")
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    ended = typed(shop, "run", "config", "--yes")
    assert ended.status == 9
    assert "the next level, as declared: rollback run full" in ended.out
    assert planned(shop) == ["config"]
    assert [one["name"] for one in tasks(shop)] == ["look", "tell"]
    assert json.loads(typed(shop, "--json", "resume", "r0001").out)["climbed_from"] == []
    assert [one["name"] for one in tasks(shop)] == ["look", "tell"]


def test_the_level_that_failed_is_not_the_one_that_is_offered(shop: Shop) -> None:
    """`config` covers what fails, and has just been tried: the next that covers it is `full`."""
    shop.edit(", levels: [config]", "")
    with shop.site() as site:
        (shop.tree / "config" / "app.yaml").write_text("party: true\n")
        bad = site.checkpoints.create("lacks-limit").id
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 1\n")
    (shop.tree / "pages" / "index.html").write_text("<h1>shop</h1>\n")
    ended = typed(shop, "run", "config", "--to", f"checkpoint:{bad}", "--yes")
    assert ended.status == 9
    assert "rollback run config" not in ended.out
    assert (
        "the smallest level that covers what fails: rollback run pages --component config"
        in ended.out
    )
    (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 2\n")
    shop.edit("{roles: [lead], count: 2}", ALONE)
    assert typed(shop, "trust", "--yes").status == 0
    typed(shop, "run", "pages", "--component", "config", "--to", f"checkpoint:{bad}", "--yes")
    ended = typed(shop, "resume", "r0001")
    assert "rollback run pages" not in ended.out
    assert "rollback run full" in ended.out


# -- no loop -------------------------------------------------------------------------------


@pytest.mark.long
def test_no_level_is_tried_twice_in_one_incident(shop: Shop) -> None:
    """Nothing helps: two runs, and asked again and again there are still two."""
    shop.edit("contains: {pages/index.html: shop}", "contains: {pages/index.html: nothing}")
    leads(shop, "{climb: full, when: auto}")
    ended = run(shop, "config")
    assert ended.status == 9
    assert [one["level"] for one in (*ended.json["climbed_from"], ended.json)] == ["config", "full"]
    for number in range(2):
        (shop.tree / "pages" / "index.html").write_text(f"broken again {number}\n")  # full has work
        for name in ("r0001", "r0002"):
            assert typed(shop, "--json", "resume", name).status == 9
    assert planned(shop) == ["config", "full"]
    assert "rollback run full" not in typed(shop, "resume", "r0001").out
    assert "rollback run full" not in rollback(shop.folder, "status").out


def test_past_a_level_that_failed_its_own_way_up_is_followed(shop: Shop) -> None:
    """config leads to full, which failed in this incident and leads to more."""
    shop.edit("contains: {pages/index.html: shop}", "contains: {pages/index.html: nothing}")
    shop.edit(
        "  later:\n",
        f"""  more:
    rank: 9
    title: More
    budgets: {{mitigated: 1m, complete: 5m}}
    data_loss: all
    authority: {ALONE}
    steps: [{{edit: {{file: pages/index.html, drop_lines: "."}}}}]
    gate: {{suites: [smoke]}}
  later:
""",
    )
    leads(shop, "{climb: full, when: auto}")
    leads(shop, "{climb: more, when: ask}", "full")
    ended = run(shop, "config")
    assert planned(shop) == ["config", "full"]
    assert ended.status == 9
    again = typed(shop, "resume", "r0001")
    assert "the next level, as declared: rollback run more" in again.out
    assert planned(shop) == ["config", "full"]


def test_killed_between_the_closed_gate_and_the_climb_it_is_made_up_for(shop: Shop) -> None:
    """Whoever sends the run on asks the gate, and is led up."""
    leads(shop, "{climb: full, when: auto}")
    with shop.site() as site:
        made = authorize.create(site, shop.plan(site, "config"))
        stopped = roll_back(site, made.id)
        assert stopped.state is State.NEEDS_OPERATOR
        assert stopped.verdict["climb"] == "full"
    ended = typed(shop, "--json", "resume", "r0001")
    assert (ended.status, ended.json["level"], ended.json["state"]) == (0, "full", "COMPLETE")


@pytest.mark.long
def test_killed_after_the_next_run_was_planned_it_is_that_one_that_goes_on(shop: Shop) -> None:
    """And no second one is made."""
    leads(shop, "{climb: full, when: auto}")
    with shop.site() as site:
        made = authorize.create(site, shop.plan(site, "config"))
        next_run = climb(site, roll_back(site, made.id))
        assert next_run is not None
        assert next_run.state is State.PLANNED
        assert climb(site, site.run(made.id)) == next_run
    assert typed(shop, "--json", "resume", "r0002").json["state"] == "COMPLETE"
    assert planned(shop) == ["config", "full"]


# -- what stands against it ----------------------------------------------------------------


def test_a_guardrail_holds_a_climb_back_as_it_holds_any_run(shop: Shop) -> None:
    """The level is offered, and why it was not begun is in the report of the run."""
    shop.edit(FREE, FREE + "guardrails: {rate_limit: {max: 1, per: 24h}}\n")
    leads(shop, "{climb: full, when: auto}")
    ended = typed(shop, "run", "config", "--yes")
    assert ended.status == 9
    assert "not climbed to full: rate-limit: 1 runs in the last 24 h" in ended.err
    assert "rollback run full" in ended.out
    assert planned(shop) == ["config"]
    assert "not climbed to full" in (shop.folder / ".rollback/runs/r0001/report.md").read_text()


def test_where_the_level_above_would_change_nothing_it_is_not_begun(shop: Shop) -> None:
    """And that is said."""
    shop.edit("contains: {pages/index.html: shop}", "contains: {pages/index.html: nothing}")
    with shop.site() as site:
        site.checkpoints.restore("before-release", "pages", step="by-hand")
    leads(shop, "{climb: full, when: auto}")
    ended = typed(shop, "run", "config", "--yes")
    assert ended.status == 9
    assert "not climbed to full: the system is at before-release already" in ended.err
    assert planned(shop) == ["config"]


@pytest.mark.long
@pytest.mark.parametrize("trusted", [True, False])
def test_a_declaration_that_asks_by_now_is_not_passed_over(trusted: bool, shop: Shop) -> None:
    """The run began under one that did not; the stricter one holds, trusted or not."""
    leads(shop, "{climb: full, when: auto}")
    with shop.site() as site:
        made = roll_back(site, authorize.create(site, shop.plan(site, "config")).id)
        assert made.state is State.NEEDS_OPERATOR
    shop.edit("{climb: full, when: auto}", "{climb: full, when: ask}")
    if trusted:
        assert typed(shop, "trust", "--yes").status == 0
    with shop.site() as site:
        retry(site, site.run("r0001"), by="ada")
    ended = typed(shop, "resume", "r0001")
    assert ended.status == 9
    assert "not climbed to full" in ended.err
    assert planned(shop) == ["config"]


def test_what_only_borrows_a_levels_authority_does_not_lead_on(shop: Shop) -> None:
    """A restore by hand is no run of that level: it has no gate, and no way up."""
    leads(shop, "{climb: full, when: auto, tasks: [look]}")
    ended = typed(
        shop, "--json", "checkpoint", "restore", "before-release", "--component", "config", "--yes"
    )
    assert ended.json["state"] == "MITIGATED", ended.out
    assert tasks(shop) == []


@pytest.mark.long
def test_a_guarded_command_whose_suites_say_no_leads_on_too(shop: Shop) -> None:
    """A declared procedure named guard; its own status stays, and the run above is told."""
    shop.edit(
        "levels:\n",
        f"""procedures:
  guard:
    title: Guard
    authority: {ALONE}
    steps: [{{guarded: {{id: command}}}}]
    gate: {{suites: [smoke]}}
    on_fail: {{climb: full, when: auto}}
levels:
""",
    )
    with shop.site() as site:
        for name in ("config", "pages"):
            site.checkpoints.restore("before-release", name, step=f"by-hand-{name}")
    words = ("/bin/cp", "/dev/null", "tree/pages/index.html")
    ended = rollback(shop.folder, "--json", "guard", "--yes", "--as", "ada", "--", *words)
    assert ended.status == 9, ended.out
    assert ended.json["state"] == "NEEDS_OPERATOR"
    assert [(one["level"], one["state"]) for one in ended.json["climbs"]] == [("full", "COMPLETE")]
