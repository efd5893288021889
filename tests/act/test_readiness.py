"""Could we go back now: what blocks a level, what nobody knows, and what rehearsals and practices say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rollback.act.deciding import decide_now
from rollback.act.practices import practices
from rollback.act.readiness import Readiness, every_level, named, review
from rollback.act.rehearsed import standings
from rollback.act.sealing import ask_suites, passed, seal_checkpoint
from rollback.act.told import tell_event, tell_facts
from rollback.model.errors import PlanError, UsageError
from tests.cli.program import rollback
from tests.systems import Shop, build

DAY_S = 86400.0
MORE = """events:
  moved: {title: The machines were moved, fields: {}}
metrics:
  errors: {unit: fraction, source: {command: {argv: [/bin/cat, errors.txt], number: stdout}}}
triggers:
  - {id: wrong, when: {fact: wrong, is: true}, respond: {roll_back: config}}
drills:
  - {id: settings, fault: wrong-settings, level: config, every: 30d, after: [moved], mitigated_within: 10s}
  - {id: by-hand, fault: anything, level: flag}
checkpoints: {kinds: {by-hand: {on: manual, components: all, copies: 1, retention: keep}}}
prevention:
  - {id: kept, title: A checkpoint every day, checkpoint: by-hand, every: 1d, hours: 20}
  - {id: tried, title: Going back is tried, drill: settings, hours: 2, per_person: true}
  - {id: valid, title: The settings are valid, check: app-valid}
  - {id: quiet, title: No errors, when: {metric: errors, below: 10%}}
  - {id: taught, title: People know how}
verification:"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A system with drills, practices and a checkpoint that no suite has proved."""
    made = build(tmp_path)
    made.edit("verification:", MORE)
    (made.tree / "errors.txt").write_text("0\n")
    return made


def ready(shop: Shop) -> dict[str, Readiness]:
    with shop.site() as site:
        return {one.level + (f"/{one.component}" if one.component else ""): one
                for one in every_level(site, requester="ada")}  # fmt: skip


def answers(one: Readiness) -> dict[str, str]:
    return {row.what: row.finding.answer.value for row in one.rows}


def test_each_level_says_what_it_lacks(shop: Shop) -> None:
    """No checkpoint: levels that need one are blocked; a flag is not, and its gate was never seen open."""
    found = ready(shop)
    assert list(found) == ["flag", "config", "pages/config", "pages/pages", "full", "later"]
    assert answers(found["flag"])["gate"] == "unknown"
    assert not found["flag"].ready
    assert not found["flag"].blocked
    for level in ("config", "pages/pages", "full"):
        assert "no valid target" in found[level].blocked[0], level
        assert "checkpoint create" in found[level].rows[0].hint
    assert "not built" in found["later"].blocked[0]


def test_a_sealed_checkpoint_makes_ready_what_it_holds(shop: Shop) -> None:
    """Unsealed it is a target that nobody proved: no yes, and no no."""
    with shop.site() as site:
        made = site.checkpoints.create("good")
        before = named(site, "2", requester="ada")[0]
        assert (answers(before)["target"], before.ready, before.blocked) == ("unknown", False, ())
        assert seal_checkpoint(site, made).green
        after = named(site, "config", requester="ada")[0]
        # a seal does not ask what is limited to one level
        assert (answers(after)["target"], answers(after)["gate"]) == ("pass", "unknown")
        assert "never seen to pass as declared now: limit-right" in str(after.rows)
        assert answers(named(site, "full", requester="ada")[0])["gate"] == "pass"
        assert all(one.open for one in ask_suites(site, level="config"))
        passed(site, "config")
        after = named(site, "config", requester="ada")[0]
        assert after.ready, answers(after)
        assert after.rows[1].finding.evidence.startswith("checkpoint good of ")


def _proved(shop: Shop) -> None:
    assert rollback(shop.folder, "checkpoint", "create", "good", "--seal").status == 0
    assert rollback(shop.folder, "verify", "--level", "config").status == 0
    assert ready(shop)["config"].ready


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  smoke:\n", "  smoke:\n    - files: {id: never, exists: [pages/never.html]}\n"),
        ("keys: [limit], levels: [config]", "values: {limit: 4}, levels: [config]"),
        ("    gate: {suites: [smoke]}\n  pages:", "    gate: {suites: [smoke, functional]}\n  pages:"),
    ],
    ids=["a check more", "a check changed", "a suite more"],
)  # fmt: skip
def test_a_list_that_never_passed_is_not_ready(shop: Shop, old: str, new: str) -> None:
    """What passed was another list: the new one is named, and what to type to have it asked."""
    shop.edit("  smoke:\n", "  functional:\n    - files: {id: deep, exists: [pages], levels: [later]}\n"
              "  smoke:\n")  # fmt: skip
    _proved(shop)
    shop.edit("levels: [later]}", "levels: [config, later]}")
    shop.edit(old, new)
    found = ready(shop)["config"]
    assert not found.ready
    row = next(one for one in found.rows if one.what == "gate")
    assert row.finding.answer == "unknown"
    assert "never seen to pass as declared now" in row.finding.evidence
    assert row.hint == "rollback verify --level config"


SWITCHED = """  smoke:
    - config: {id: party-on, file: config/app.yaml, values: {party: true}}
    - config: {id: party-off, file: config/app.yaml, values: {party: false}, levels: [flag]}
"""


@pytest.mark.parametrize("other", ["party-on: absent", "party-on: fail"])
def test_what_holds_only_once_a_level_is_in_force_is_not_waited_for(shop: Shop, other: str) -> None:
    """A level after which another outcome is wanted is ready once `rollback verify` passed."""
    shop.edit("  smoke:\n", SWITCHED)
    shop.edit("gate: {suites: [smoke]}\n  config:",
              f"gate: {{suites: [smoke], expect: {{{other}}}}}\n  config:")  # fmt: skip
    row = next(one for one in ready(shop)["flag"].rows if one.what == "gate")
    assert (row.finding.answer, row.hint) == ("unknown", "rollback verify")
    assert rollback(shop.folder, "checkpoint", "create", "any").status == 0
    told = rollback(shop.folder, "verify", "--level", "flag")
    assert told.status == 7
    assert "rollback run" not in told.out
    assert "flag is not in force" in told.out
    told = rollback(shop.folder, "verify", "--level", "flag", "--json")
    assert json.loads(told.out)["smallest_scope"] is None
    assert answers(ready(shop)["flag"])["gate"] == "unknown"  # what did not pass was not seen to
    assert rollback(shop.folder, "verify").status == 0
    found = ready(shop)["flag"]
    assert found.ready, answers(found)
    row = next(one for one in found.rows if one.what == "gate")
    assert "only once flag is in force: " in row.finding.evidence
    assert "party-off" in row.finding.evidence


def test_a_level_in_force_that_fails_its_gate_offers_what_covers_it(shop: Shop) -> None:
    """After the level its gate speaks of now: what fails is offered to be covered; before it is not."""
    bad = "    - files: {id: sold, exists: [pages/sold.html]}\n"
    shop.edit("  smoke:\n", f"  smoke:\n{bad}")
    assert "rollback run" not in rollback(shop.folder, "verify", "--level", "flag").out
    assert "rollback run pages" in rollback(shop.folder, "verify").out
    assert rollback(shop.folder, "run", "flag", "--yes", "--as", "ada").status == 9
    assert "rollback run pages" in rollback(shop.folder, "verify", "--level", "flag").out
    assert "rollback run" not in rollback(shop.folder, "verify", "--level", "config").out


def test_another_test_file_of_the_team_has_not_passed_yet(shop: Shop) -> None:
    """A pinned file counts by its digest: edited and pinned anew it is another one."""
    file = shop.folder / "verification" / "smoke" / "test_team.py"
    file.parent.mkdir(parents=True)

    file.write_text("def test_one(): pass\n")
    old = hashlib.sha256(file.read_bytes()).hexdigest()
    shop.edit("verification:\n", "verification:\n"
              f"  suites: [{{path: verification/smoke/test_team.py, sha256: {old}}}]\n")  # fmt: skip
    _proved(shop)
    file.write_text("def test_one(): assert False\n")
    shop.edit(old, hashlib.sha256(file.read_bytes()).hexdigest())
    found = ready(shop)["config"]
    assert not found.ready
    assert "verification/smoke/test_team.py" in str(found.rows)


def test_a_suite_of_the_teams_tests_alone_is_asked_too(shop: Shop) -> None:
    """Where no check is declared in it, its pinned tests are what a seal and a verification rest on."""
    file = shop.folder / "verification" / "functional" / "test_team.py"
    file.parent.mkdir(parents=True)
    file.write_text("def test_one(): assert False\n")
    shop.edit("verification:\n", "verification:\n  suites: [{path: verification/functional/test_team.py, "
              f"sha256: {hashlib.sha256(file.read_bytes()).hexdigest()}}}]\n")  # fmt: skip
    sealed = rollback(shop.folder, "checkpoint", "create", "good", "--seal")
    assert "not green" in sealed.out
    assert "its suites were red" in rollback(shop.folder, "plan", "config").err
    verified = rollback(shop.folder, "verify")
    assert verified.status == 7
    assert "test_team.py::test_one" in verified.out


def test_a_seal_that_cannot_be_read_proves_nothing_and_stops_nobody(shop: Shop) -> None:
    """Not known to be ready, and nothing falls over: the decision is still taken."""
    with shop.site() as site:
        assert seal_checkpoint(site, site.checkpoints.create("good")).green
        seals = list((shop.folder / ".rollback" / "seals").iterdir())
        assert seals
        for one in seals:
            one.write_bytes(b"{}")
        found = named(site, "flag", requester="ada")[0]
        assert answers(found)["gate"] == "unknown"
        assert named(site, "config", requester="ada")[0].blocked
        tell_facts(site, {"wrong": "true"}, by="ada", for_s=60)
        assert decide_now(site, requester="ada").level == "config"


def test_guardrails_and_people_block_before_anybody_tries(shop: Shop) -> None:
    """Too many rollbacks lately; an authority that its people cannot fill. Nothing is journalled."""
    shop.edit("verification:", "guardrails: {rate_limit: {max: 1, per: 1d}}\nverification:")
    shop.edit("authority: {roles: [lead], count: 2}", "authority: {roles: [chief]}")
    with shop.site() as site:
        site.checkpoints.create("before-release")
        assert answers(named(site, "pages", requester="ada")[0])["people"] == "pass"
        alone = named(site, "pages", requester="cyd")[0]  # the only chief, who asks for it
        assert "people: not enough even if everybody says yes" in alone.blocked[0]
        site.checkpoints.create("good")
    assert rollback(shop.folder, "run", "flag", "--yes", "--as", "ada").status == 0
    lines = len(shop.lines())
    found = ready(shop)
    assert answers(found["config"])["rate-limit"] == "fail"
    assert found["config"].blocked[0].startswith("rate-limit: 1 runs in the last 24 h")
    assert len(shop.lines()) == lines


def test_a_drill_is_overdue_when_never_done_when_old_after_changes_and_when_slow(
    shop: Shop,
) -> None:
    """And one that failed rehearses nothing; each with its reason."""

    def why() -> str:
        return {one.drill.id: one.why for one in standings(site)}["settings"]

    with shop.site() as site:
        assert why() == "never rehearsed, and due every 30 d"
        assert [one.why for one in standings(site)][1] == ""
        tell_event(site, "drill", {"id": "settings", "passed": "true", "mitigated": "4s"}, by="ada")
        assert why() == ""
        tell_event(site, "moved", {}, by="ada")
        assert why() == "not rehearsed since The machines were moved"
        tell_event(site, "drill", {"id": "settings", "passed": "no"}, by="ada")
        assert why() == "the last rehearsal failed"
        tell_event(site, "drill", {"id": "settings", "passed": "yes", "mitigated": "11s"}, by="ada")
        assert why() == "mitigated took 11 s, and 10 s are allowed"
        tell_event(site, "drill", {"id": "settings", "passed": "yes", "mitigated": "9s"}, by="ada")
        assert why() == ""
        shop.clock.ahead_s += 31 * DAY_S
        assert why() == "due every 30 d, and the last was 31 d ago"


def test_a_drill_is_told_whole_or_not_at_all(shop: Shop) -> None:
    """Which one, and how it came out; told twice with one id, it is told once."""
    with shop.site() as site:
        for fields, error in (
            ({"passed": "true"}, UsageError), ({"id": "settings"}, UsageError),
            ({"id": "other", "passed": "true"}, PlanError),
            ({"id": "settings", "passed": "perhaps"}, UsageError),
            ({"id": "settings", "passed": "true", "mitigated": "soon"}, UsageError),
            ({"id": "settings", "passed": "true", "mood": "good"}, UsageError),
        ):  # fmt: skip
            with pytest.raises(error):
                tell_event(site, "drill", fields, by="ada")
        good = {"id": "settings", "passed": "true"}
        assert tell_event(site, "drill", good, by="ada", identity="d1") is not None
        assert tell_event(site, "drill", good, by="ada", identity="d1") is None


@pytest.mark.requirement("MB-75", "MB-76", "AW-72")
def test_each_practice_is_scored_from_facts_with_what_it_costs(shop: Shop) -> None:
    """A checkpoint's age, a drill's date, a check, a metric, the word of somebody; nothing else counts."""
    with shop.site() as site:
        first = {one.practice.id: one for one in practices(site)}
        assert {key: one.finding.answer.value for key, one in first.items()} == {
            "kept": "fail", "tried": "fail", "valid": "pass", "quiet": "pass", "taught": "unknown",
        }  # fmt: skip
        assert (first["kept"].hours, first["tried"].hours) == (
            20,
            2 * len(site.system.people.members),
        )
        site.checkpoints.create("today", kind="by-hand")
        tell_event(site, "drill", {"id": "settings", "passed": "true"}, by="ada")
        tell_facts(site, {"practice_taught": "yes"}, by="ada", for_s=30 * DAY_S)
        assert {one.finding.answer.value for one in practices(site)} == {"pass"}
        (shop.tree / "errors.txt").write_text("0.5\n")
        shop.clock.ahead_s += 2 * DAY_S
        assert [one.finding.answer.value for one in practices(site)] == [
            "fail", "pass", "pass", "fail", "pass"]  # fmt: skip


def test_a_declaration_is_due_for_review(shop: Shop) -> None:
    """On the day that it names for itself."""
    with shop.site() as site:
        assert review(site).finding.answer.value == "pass"
        shop.clock.ahead_s += 365 * DAY_S
        assert "overdue" in review(site).finding.evidence


def test_a_decision_names_what_blocks_its_level(shop: Shop) -> None:
    """It calls for the level all the same: which other one to take is for people."""
    with shop.site() as site:
        tell_facts(site, {"wrong": "true"}, by="ada", for_s=60)
        decision = decide_now(site, requester="ada")
        assert decision.level == "config"
        assert "no valid target" in decision.blocked[0]
        site.checkpoints.create("good")
        assert decide_now(site, requester="ada").blocked == ()
    done = rollback(shop.folder, "decide", "--fact", "wrong=true")
    assert "try: rollback run config" in done.out


def test_ready_ends_with_7_until_everything_is_known_to_be_there(shop: Shop) -> None:
    """One document with --json; a level that is none is named with the nearest."""
    done = rollback(shop.folder, "ready", "config", "--json")
    assert done.status == 7
    assert json.loads(done.out)["levels"][0]["ready"] is False
    assert rollback(shop.folder, "checkpoint", "create", "good", "--seal").status == 0
    done = rollback(shop.folder, "ready", "config", "2")
    assert done.status == 7
    assert "try: rollback verify --level config" in done.out
    assert rollback(shop.folder, "verify", "--level", "config").status == 0
    done = rollback(shop.folder, "ready", "config", "2")
    assert done.status == 0, done.out
    assert "2 config: ready" in done.out
    assert rollback(shop.folder, "ready", "confg").status == 3
    whole = rollback(shop.folder, "ready")
    assert whole.status == 7
    assert "1 drill overdue" in whole.out
    assert "of 5 practices shown" in whole.out


def test_what_would_be_refused_for_other_people_is_not_ready(shop: Shop) -> None:
    """Who may say yes has changed, and nobody has accepted it: a run would be refused."""
    with shop.site() as site:
        site.checkpoints.create("good")
        site.trusted()
        assert not [row for one in every_level(site, requester="ada") for row in one.rows
                    if row.what == "trust"]  # fmt: skip
    shop.edit("owner: op", "owner: lead")
    with shop.site() as site:
        planned = [one for one in every_level(site, requester="ada") if len(one.rows) > 1]
        assert planned
        for one in planned:
            assert not one.ready
            assert any(row.what == "trust" and "rollback trust" in row.hint for row in one.rows)
