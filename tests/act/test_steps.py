"""The other steps: what each does that no other step does."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rollback.act.scene import Later, Target
from rollback.host import Clock, Host
from rollback.model.errors import CommandFailed, HostError, PlanError, Refused
from rollback.model.finding import Answer


class SetClock(Clock):
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.wall = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)

    def boot_s(self) -> float:
        return super().boot_s() + self.ahead_s

    def now(self) -> datetime:
        return self.wall


# -- edit ----------------------------------------------------------------------------------


@pytest.mark.requirement("PM-59")
def test_lines_that_match_go_and_all_others_stay(world):
    """Only the lines that name it."""
    action, scene = world.bound("edit", {"file": "config/notes.md", "drop_lines": "Party Mode"})
    action.apply(scene)
    assert (world.root / "config/notes.md").read_text() == "keep\nkeep too\n"
    action.undo(scene)
    assert (world.root / "config/notes.md").read_text() == "keep\nParty Mode is new\nkeep too\n"


def test_an_edit_that_somebody_overwrote_is_not_guessed_back(world):
    """The undo says that it cannot tell, and touches nothing."""
    path = world.root / "config/notes.md"
    action, scene = world.bound("edit", {"file": "config/notes.md", "drop_lines": "Party"})
    action.apply(scene)
    path.write_text("quite another file\n")
    with pytest.raises(PlanError, match="somebody else"):
        action.undo(scene)
    assert path.read_text() == "quite another file\n"


def test_a_change_too_large_for_a_plan_is_refused(world):
    """More than 256 KiB of old bytes."""
    (world.root / "config/notes.md").write_text("Party " + "x" * 300_000 + "\n")
    with pytest.raises(PlanError, match="more than"):
        world.bound("edit", {"file": "config/notes.md", "drop_lines": "Party"})


def test_mode_and_owner_of_an_edited_file_stay(world):
    """A file that only its owner may read goes on being one."""
    path = world.root / "config/config.yaml"
    path.chmod(0o600)
    action, scene = world.bound(
        "edit", {"file": "config/config.yaml", "key": "party.maxAgents", "value": 1}
    )
    action.apply(scene)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_value_that_does_not_read_back_fails_the_step(world):
    """The file is written, the check says no."""
    action, scene = world.bound("set", {
        "file": "config/config.yaml", "key": "party.maxAgents", "value": 2, "within": "1s",
        "read_back": {"config": {"file": "config/config.yaml", "values": {"party.maxAgents": 7}}},
    })  # fmt: skip
    with pytest.raises(HostError, match="read back"):
        action.apply(scene)


@pytest.mark.parametrize(("wanted", "stands"), [(1, "true"), (True, "1"), (0, "false")])
def test_a_truth_that_stands_there_is_not_the_number_that_was_set(world, wanted, stands):
    """Asked whether it happened, the step says no, whatever the check says."""
    file = world.root / "config/config.yaml"
    action, scene = world.bound("set", {
        "file": "config/config.yaml", "key": "party.maxAgents", "value": wanted,
        "read_back": {"config": {"file": "config/config.yaml"}},
    })  # fmt: skip
    action.apply(scene)
    assert action.probe(scene).answer == "pass"
    said = str(wanted).lower()
    file.write_text(file.read_text().replace(f"maxAgents: {said}", f"maxAgents: {stands}"))
    assert action.probe(scene).answer == "fail"


# -- restore -------------------------------------------------------------------------------


@pytest.mark.requirement("MB-47")
def test_a_component_comes_back_whole_and_what_was_added_goes_to_quarantine(world):
    """Dry lines name the paths; what was added is kept, outside of the tree."""
    with world.scene().checkpoints as kept:
        good = kept.create("good", components=("config",))
    before = world.files()
    (world.root / "config/config.yaml").write_text("broken: true\n")
    (world.root / "config/added.yaml").write_text("by the bad change\n")
    target = Target("checkpoint", good.id)
    action, scene = world.bound(
        "restore", {"component": "chosen"}, component="config", target=target
    )
    lines = action.describe(scene)
    assert any("config/added.yaml" in line and line.startswith("-") for line in lines)
    assert (scene.bound["modifies"], scene.bound["removes"]) == (1, 1)
    assert action.touches(scene) == ("config",)
    action.apply(scene)
    assert world.files() == before
    kept_files = [p.name for p in (world.state.path / "quarantine").rglob("*") if p.is_file()]
    assert "added.yaml" in kept_files
    again, there = world.bound("restore", {"component": "config"}, target=target)
    assert there.bound["changes"] == 0
    assert "nothing to roll back here" in again.describe(there)[0]


@pytest.mark.requirement("PM-35")
def test_from_a_commit_only_the_paths_of_the_component_go_back(world):
    """Another component stays as it is, and so does the head."""
    with world.scene().repository() as repository:
        head = repository.head()
        first = list(repository.log("app"))[-1].commit.id
    (world.root / "config/config.yaml").write_text("mine: stays\n")
    target = Target("git", first)
    action, scene = world.bound("restore", {"component": "app"}, target=target)
    action.apply(scene)
    assert not (world.root / "app/new.py").exists()
    assert (world.root / "config/config.yaml").read_text() == "mine: stays\n"
    with world.scene().repository() as repository:
        assert repository.head() == head


def test_what_is_only_added_to_is_never_taken_back(world):
    """The step says so, and the file stays."""
    with world.scene().checkpoints as kept:
        good = kept.create("good", components=("audit",))
    audit = world.root / "logs/audit.jsonl"
    audit.write_text(audit.read_text() + '{"event": "two"}\n')
    target = Target("checkpoint", good.id)
    action, scene = world.bound("restore", {"component": "audit"}, target=target)
    action.apply(scene)
    assert '"two"' in audit.read_text()
    assert "nothing of it is taken back" in action.describe(scene)[0]
    assert action.touches(scene) == ()


def test_a_run_without_a_target_and_a_component_that_is_not_there_are_refused(world):
    """When planning, with the nearest name."""
    with pytest.raises(PlanError, match="no target"):
        world.bound("restore", {"component": "config"})
    with pytest.raises(PlanError) as caught:
        world.bound("restore", {"component": "confg"}, target=Target("checkpoint", "0" * 64))
    assert "config" in caught.value.hint


# -- git -----------------------------------------------------------------------------------


@pytest.mark.requirement("PM-44", "PM-45")
def test_on_a_branch_of_its_own_the_bad_commits_are_reverted_and_unrelated_work_stays(world):
    """Main does not move; planned on main, applied on the branch."""
    with world.scene().repository() as repository:
        _, main = repository.head()
    branch, one = world.bound("git", {"branch": "rollback-{date}-{run}"}, step="1")
    revert, two = world.bound("git", {"revert": {"matching": "^release 2"}}, step="2")
    assert two.bound["head"] == main
    assert revert.touches(two) == ("app",)
    branch.apply(one)
    revert.apply(two)
    assert not (world.root / "app/new.py").exists()
    assert (world.root / "app/else.py").exists()
    with world.scene().repository() as repository:
        assert repository.head()[0] == "rollback-20261120-run-1"
        assert repository.commit_of("main") == main
    again, three = world.bound("git", {"revert": {"matching": "^release 2"}}, step="3")
    assert three.bound["changes"] == 0
    assert "nothing to do" in again.describe(three)[0]
    revert.undo(two)
    branch.undo(one)
    with world.scene().repository() as repository:
        assert repository.head() == ("main", main)
    assert (world.root / "app/new.py").exists()


@pytest.mark.requirement("PM-46")
def test_a_reset_lists_what_leaves_the_branch_and_keeps_it_reachable(world):
    """Two commits leave; the old head has a name."""
    with world.scene().repository() as repository:
        first = list(repository.log("app"))[-1].commit.id
        old = repository.head()[1]
        repository.branch("work", switch=True)
    action, scene = world.bound("git", {"reset": "target"}, target=Target("git", first))
    assert len(scene.bound["lost"]) == 2
    assert any("unrelated" in line for line in action.describe(scene))
    evidence = action.apply(scene)
    with world.scene().repository() as repository:
        assert repository.head()[1] == first
        assert repository.commit_of(evidence["saved"]) == old


def test_local_changes_in_the_way_are_refused_when_planning(world):
    """They are somebody's."""
    with world.scene().repository() as repository:
        repository.branch("work", switch=True)
    (world.root / "app/new.py").write_text("somebody works here\n")
    with pytest.raises(Refused, match=r"app/new\.py"):
        world.bound("git", {"revert": {"matching": "^release 2"}})


@pytest.mark.requirement("PM-58")
def test_a_protected_branch_is_never_pushed(world):
    """Refused when planning, forced or not."""
    with pytest.raises(Refused, match="protected"):
        world.bound("git", {"push": "main", "force": True})


@pytest.mark.requirement("PM-56")
def test_a_tag_has_the_time_of_the_run(world):
    """Stamped once per run."""
    action, scene = world.bound("git", {"tag": "rolled-back-{date}-{time}"})
    assert action.apply(scene)["tag"] == "rolled-back-20261120-120000"


def test_the_branch_of_the_run_is_pushed_and_pushing_again_does_nothing(world):
    """To a remote beside it; main there stays where it was."""
    import pygit2

    bare = pygit2.init_repository(str(world.folder / "remote.git"), bare=True, initial_head="main")
    repo = pygit2.Repository(str(world.root))
    repo.remotes.create("origin", str(world.folder / "remote.git"))
    branch, one = world.bound("git", {"branch": "rollback-{run}"}, step="1")
    push, two = world.bound("git", {"push": "rollback-{run}"}, step="2")
    assert push.probe(two).answer is Answer.FAIL
    branch.apply(one)
    assert push.apply(two)["changed"]
    assert push.probe(two).answer is Answer.PASS
    assert not push.apply(two)["changed"]
    assert list(bare.references) == ["refs/heads/rollback-run-1"]


# -- command -------------------------------------------------------------------------------


@pytest.mark.requirement("PM-48", "PM-61")
def test_status_words_and_counts_are_judged(world):
    """Numbers are read from the output; the words are kept."""
    action, scene = world.bound("command", {
        "argv": ["/bin/echo", "74 passed in {run}"], "contains": ["passed"],
        "counts": {"passed": {"pattern": "([0-9]+) passed", "at_least": 74}}, "effects": "none",
    })  # fmt: skip
    evidence = action.apply(scene)
    assert evidence["counts"] == {"passed": 74}
    assert evidence["output"] == "74 passed in run-1"
    for wrong in ({"exit": 3}, {"contains": ["failed"]},
                  {"counts": {"n": {"pattern": "([0-9]+) passed", "equals": 75}}}):  # fmt: skip
        bad, there = world.bound("command", {"argv": ["/bin/echo", "74 passed"], **wrong})
        with pytest.raises(CommandFailed):
            bad.apply(there)


def test_a_program_past_its_time_is_killed(world):
    """With all that it started."""
    action, scene = world.bound("command", {"argv": ["/bin/sleep", "60"], "within": "300ms"})
    with pytest.raises(CommandFailed, match="did not end"):
        action.apply(scene)


@pytest.mark.requirement("PM-37")
def test_variables_reach_the_program_and_ours_do_not(world, monkeypatch):
    """A small environment, and what is declared."""
    monkeypatch.setenv("LEAKS", "yes")
    action, scene = world.bound(
        "command", {"argv": ["/usr/bin/env"], "variables": {"MODE": "staging"}}
    )
    output = action.apply(scene)["output"]
    assert "MODE=staging" in output
    assert "LEAKS" not in output


def test_a_program_without_an_undo_is_not_silently_taken_back(world):
    """Unless it changes nothing."""
    action, scene = world.bound("command", {"argv": ["/bin/true"]})
    with pytest.raises(HostError, match="no undo"):
        action.undo(scene)
    harmless, there = world.bound("command", {"argv": ["/bin/true"], "effects": "none"})
    harmless.undo(there)


# -- time ----------------------------------------------------------------------------------


@pytest.mark.requirement("C-38")
def test_a_long_wait_hands_the_run_over_and_remembers_when_it_began(world):
    """Called again in the middle it waits for the rest; after its time it is done."""
    clock = SetClock()
    host = Host(clock=clock)
    action, scene = world.bound("wait", {"for": "10m"})
    scene = replace(scene, host=host)
    first = action.apply(scene)
    assert isinstance(first, Later)
    assert first.after_s == 600
    assert [kind for kind, _ in world.notes] == ["timer.set"]
    clock.ahead_s = 400
    again = action.apply(scene)
    assert isinstance(again, Later)
    assert 195 < again.after_s <= 200
    assert action.probe(scene).answer is Answer.FAIL
    clock.ahead_s = 601
    assert action.apply(scene) == {"waited": "10 min"}
    assert action.probe(scene).answer is Answer.PASS


@pytest.mark.parametrize(("hour", "minute", "left_s"), [(21, 30, 1800), (23, 0, 0), (3, 59, 0),
                                                        (4, 0, 18 * 3600)])  # fmt: skip
def test_a_window_may_span_midnight(world, hour, minute, left_s):
    """From ten in the evening to four in the morning."""
    clock = SetClock()
    clock.wall = datetime(2026, 11, 20, hour, minute, tzinfo=UTC)
    action, scene = world.bound("wait", {"until": "22:00-04:00"})
    found = action.apply(replace(scene, host=Host(clock=clock)))
    assert (found.after_s if isinstance(found, Later) else 0) == left_s


def test_a_watch_ends_at_the_first_bad_sample_and_unknown_is_bad(world):
    """A number over its limit, a check that fails, a metric that says nothing."""
    for parameters, why in (
        ({"expect": [{"metric": "size", "below": 3}]}, "size is 3"),
        ({"checks": ["config-wrong"]}, "config-wrong"),
    ):
        action, scene = world.bound("watch", {"for": "10m", **parameters})
        with pytest.raises(HostError, match=why):
            action.apply(scene)
    action, scene = world.bound(
        "watch", {"for": "10m", "every": "7s", "checks": ["config-valid"]}, step="9"
    )
    later = action.apply(scene)
    assert isinstance(later, Later)
    assert later.after_s == 7


@pytest.mark.parametrize("kind", ["watch", "verify"])
@pytest.mark.parametrize("away_s", [60, 3600])
def test_what_has_to_hold_for_a_while_is_over_when_it_was_seen_to_hold_to_the_end(
    world, kind, away_s
):
    """Whoever died meanwhile saw nothing: neither all being well now nor the time being over is proof."""
    clock = SetClock()
    action, scene = world.bound(kind, {"for": "10m", "every": "1m", "checks": ["config-valid"]})
    scene = replace(scene, host=Host(clock=clock))
    assert isinstance(action.apply(scene), Later)
    clock.ahead_s = away_s
    assert action.probe(scene).answer is Answer.FAIL
    found = action.apply(scene)
    assert isinstance(found, Later) == (away_s < 600)
    assert action.probe(scene).answer is (Answer.FAIL if away_s < 600 else Answer.PASS)


def test_verify_fails_with_the_check_and_its_evidence(world):
    """And without names asks only what belongs to this level."""
    action, scene = world.bound("verify", {"checks": ["config-wrong"]})
    with pytest.raises(HostError, match="check config-wrong answered FAIL, wanted pass"):
        action.apply(scene)
    _, whole = world.bound("verify", {"suite": "smoke"})
    assert whole.bound["checks"] == ["config-valid"]


# -- capture and notify --------------------------------------------------------------------


@pytest.mark.requirement("AW-28", "AW-29", "AW-30", "AW-31")
def test_what_can_be_seen_is_kept_and_what_is_not_there_is_named(world):
    """Logs of the same name do not overwrite each other; an absent program is no failure."""
    for folder in ("one", "two"):
        (world.root / folder).mkdir()
        (world.root / folder / "app.log").write_text(f"of {folder}\n")
    action, scene = world.bound("capture", {"id": "diagnose", "sources": [
        "memory", "disk", "ports", "processes", "load", "version", {"log": "**/*.log"},
        {"log": "missing.log"}, {"command": {"name": "tool", "argv": ["no-such-tool"]}},
        {"command": {"name": "said", "argv": ["/bin/echo", "hello"]}},
    ]})  # fmt: skip
    evidence = action.apply(scene)
    folder = world.state.path / "runs/run-1/capture/diagnose"
    assert (folder / "logs/one/app.log").read_text() == "of one\n"
    assert (folder / "logs/two/app.log").read_text() == "of two\n"
    assert "MemTotal" in (folder / "memory/meminfo").read_text()
    assert json.loads((folder / "version.json").read_text())["version"] == "1.0.0"
    assert (folder / "commands/said.txt").read_text().endswith("hello\n")
    assert set(evidence["absent"]) >= {"logs/missing.log", "commands/tool.txt"}
    assert Path(folder / "manifest.json").stat().st_mode & 0o077 == 0


def test_who_names_what_is_to_go_is_listed_line_by_line(world):
    """Files and lines, links and state aside; what is no text says nothing, and nobody is said too."""
    (world.root / "src").mkdir()
    (world.root / "src" / "other.py").write_text("import party\n\nfrom party.room import Room\n")
    (world.root / "src" / "plain.py").write_text("import sys\n")
    (world.root / "src" / "noise.bin").write_bytes(b"party\0\n")
    (world.root / "NOTES.md").write_text("How to hold a party\n")
    (world.root / "link.md").symlink_to("NOTES.md")
    action, scene = world.bound("capture", {"id": "who", "sources": [
        {"mentions": {"of": "party", "below": ["src", "gone"]}},
        {"mentions": {"of": "hold a", "below": ["NOTES.md", "."]}},
        {"mentions": {"of": "../nobody/"}},
    ]})  # fmt: skip
    action.apply(scene)
    folder = world.state.path / "runs/run-1/capture/who/mentions"
    assert (folder / "party.txt").read_text().splitlines() == [
        "src/other.py:1: import party", "src/other.py:3: from party.room import Room",
    ]  # fmt: skip
    assert (folder / "hold-a.txt").read_text() == "NOTES.md:1: How to hold a party\n"
    assert (folder / "nobody.txt").read_text() == "nobody\n"


@pytest.mark.requirement("PM-29")
def test_a_message_is_queued_once_however_often_the_step_is_applied(world):
    """With its fields filled in; what nobody filled is named."""
    action, scene = world.bound("notify", {"message": "hello"})
    action.apply(scene)
    action.apply(scene)
    assert len(world.notes) == 1
    kind, data = world.notes[0]
    assert kind == "message.queued"
    assert data["text"] == "Small: level only {unheard}"
    assert data["missing"] == ["unheard"]
    assert data["id"] == "run-1/1/hello"
    assert (data["name"], data["audience"]) == ("hello", "users")
