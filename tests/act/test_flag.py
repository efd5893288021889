"""The step `flag`: the product confirms it, other bytes stay, and an undo leaves no trace."""

from __future__ import annotations

import json

import pytest

from rollback.act import service
from rollback.model.errors import HostError, PlanError
from rollback.model.finding import Answer


@pytest.fixture
def running(world):
    """The service that reads the flag runs."""
    service.start(world.scene().view(), "base", within_s=10)
    service.start(world.scene().view(), "web", within_s=10)
    return world


@pytest.mark.requirement("PM-25", "PM-26")
def test_env_file_wins_over_the_config_in_a_process_that_runs_already(running):
    """The config goes on saying true; the running process says false."""
    action, scene = running.bound("flag", {"flag": "party", "set": False, "within": "3s"})
    assert action.probe(scene).answer is Answer.FAIL
    evidence = action.apply(scene)
    assert evidence["changed"]
    assert "reads back as" in evidence["read_back"]
    assert (running.root / ".env").read_text() == "PARTY=false\n"
    assert b"enabled: true   # switched" in (running.root / "config/config.yaml").read_bytes()
    assert action.probe(scene).answer is Answer.PASS
    assert scene.bound["changes"] == 1
    assert running.bound("flag", {"flag": "party", "set": False})[1].bound["changes"] == 0


@pytest.mark.requirement("PM-32")
def test_the_file_layer_changes_one_value_and_no_other_byte(running):
    """Comments stay, and so does the other key of the same name."""
    before = (running.root / "config/config.yaml").read_text()
    action, scene = running.bound(
        "flag", {"flag": "party", "set": False, "layer": "yaml", "within": "3s"}
    )
    assert action.touches(scene) == ("config",)
    action.apply(scene)
    after = (running.root / "config/config.yaml").read_text()
    assert after == before.replace("enabled: true   #", "enabled: false   #")
    action.undo(scene)
    assert (running.root / "config/config.yaml").read_text() == before


@pytest.mark.requirement("PM-38")
def test_unset_lets_the_file_rule_again(running):
    """Neighbours in the env file survive, secrets among them, and none of them is in the plan."""
    (running.root / ".env").write_text("API=geheim-1234567\nPARTY=false\nLAST=1\n")
    action, scene = running.bound("flag", {"flag": "party", "unset": True, "within": "3s"})
    assert "geheim" not in json.dumps(scene.bound)
    action.apply(scene)
    assert (running.root / ".env").read_text() == "API=geheim-1234567\nLAST=1\n"
    assert scene.bound["expected"] is True
    action.undo(scene)
    assert (running.root / ".env").read_text() == "API=geheim-1234567\nPARTY=false\nLAST=1\n"


def test_undo_of_a_first_value_takes_the_file_away_again(running):
    """There was no env file before."""
    action, scene = running.bound("flag", {"flag": "party", "set": False, "within": "3s"})
    action.apply(scene)
    action.undo(scene)
    assert not (running.root / ".env").exists()
    action.undo(scene)


def test_a_product_that_does_not_follow_fails_the_step(world):
    """The file holds the value, the process goes on saying something else."""
    service.start(world.scene().view(), "base", within_s=10)
    (world.root / "app" / "server.py").write_text(
        (world.root / "app" / "server.py").read_text().replace('"value": party()', '"value": True')
    )
    service.start(world.scene().view(), "web", within_s=10)
    action, scene = world.bound("flag", {"flag": "party", "set": False, "within": "700ms"})
    with pytest.raises(HostError, match="does not read back"):
        action.apply(scene)
    assert action.probe(scene).answer is Answer.FAIL


def test_a_stopped_product_is_not_waited_for(world):
    """It reads the file when it starts; the evidence says who sleeps."""
    action, scene = world.bound("flag", {"flag": "party", "set": False, "within": "5s"})
    began = world.host.clock.boot_s()
    evidence = action.apply(scene)
    assert world.host.clock.boot_s() - began < 2
    assert "web is stopped" in evidence["read_back"]
    assert action.probe(scene).answer is Answer.PASS


def test_a_value_that_somebody_wrote_meanwhile_is_set_and_its_neighbours_stay(world):
    """Between plan and run another key appeared: it survives both the step and its undo."""
    (world.root / ".env").write_text("A=1\n")
    action, scene = world.bound("flag", {"flag": "party", "set": False})
    (world.root / ".env").write_text("A=1\nB=2\n")
    action.apply(scene)
    assert (world.root / ".env").read_text() == "A=1\nB=2\nPARTY=false\n"
    action.undo(scene)
    assert (world.root / ".env").read_text() == "A=1\nB=2\n"


def test_a_link_in_the_place_of_the_file_is_refused(world):
    """What it points to is not touched."""
    outside = world.folder / "outside"
    outside.write_text("PARTY=true\n")
    (world.root / ".env").symlink_to(outside)
    with pytest.raises(HostError):
        world.bound("flag", {"flag": "party", "set": False})
    assert outside.read_text() == "PARTY=true\n"


def test_a_flagd_file_gets_the_variant_with_the_value(world):
    """`unset` disables it; its undo brings both back byte for byte."""
    path = world.root / "config/flags.json"
    before = path.read_bytes()
    action, scene = world.bound("flag", {"flag": "remote", "set": False})
    action.apply(scene)
    assert json.loads(path.read_bytes())["flags"]["remote"]["defaultVariant"] == "off"
    assert action.probe(scene).answer is Answer.PASS
    action.undo(scene)
    assert path.read_bytes() == before
    off, there = world.bound("flag", {"flag": "remote", "unset": True})
    off.apply(there)
    assert json.loads(path.read_bytes())["flags"]["remote"]["state"] == "DISABLED"
    assert off.probe(there).answer is Answer.PASS
    off.undo(there)
    assert path.read_bytes() == before


def test_a_flag_that_is_not_declared_is_refused_with_the_nearest_name(world):
    """`partty` is `party`."""
    with pytest.raises(PlanError) as caught:
        world.bound("flag", {"flag": "partty", "set": False})
    assert "party" in caught.value.hint
