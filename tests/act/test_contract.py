"""What every kind of action keeps, whatever it does.

Applied twice is applied once. `probe` says PASS only when it happened. `undo` brings the bytes
back. Killed at any change to the world, `probe` is truthful and applying again converges. A kind
that is registered without a case here fails.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from rollback.act import service
from rollback.act.scene import Later, Scene, Target, Traced, Undoable
from rollback.host import Host, Tap
from rollback.keep.journal import Journal
from rollback.keep.state import StateDir
from rollback.model import dependencies
from rollback.model.finding import Answer
from rollback.model.registry import kinds
from tests.killed import KILL_SOME, KILLED, CountingTap, DyingTap, in_child, shots

from .conftest import World

Prepare = Callable[[World], dict[str, Any]]
PASS, FAIL, UNKNOWN = Answer.PASS, Answer.FAIL, Answer.UNKNOWN


def _nothing(_world: World) -> dict[str, Any]:
    return {}


def _checkpoint(world: World) -> dict[str, Any]:
    """The present is kept, then spoilt."""
    with world.scene().checkpoints as kept:
        good = kept.create("good", components=("config",))
        (world.root / "config" / "config.yaml").write_text("party: {enabled: broken}\n")
        (world.root / "config" / "added.yaml").write_text("by: the bad change\n")
        (world.root / "config" / "notes.md").unlink()
        bad = kept.create("bad", components=("config",))
    return {"target": Target("checkpoint", good.id, "good", good.at), "safety": bad.id}


def _releases(world: World) -> dict[str, Any]:
    """Two releases side by side, a link to the newer one, and a file that names it."""
    for version in ("1.0.0", "2.0.0"):
        (world.root / "releases" / version).mkdir(parents=True)
        (world.root / "releases" / version / "app.py").write_text(version)
    (world.root / "current").symlink_to("releases/2.0.0")
    (world.root / "VERSION").write_text("2.0.0\n")
    return {}


def _branch(world: World) -> dict[str, Any]:
    """A branch that is not protected is checked out."""
    with world.scene().repository() as repository:
        repository.branch("work", switch=True)
    return {}


def _started(world: World) -> dict[str, Any]:
    view = world.scene().view()
    service.start(view, "base", within_s=10)
    service.start(view, "web", within_s=10)
    return {}


def _to_first(world: World) -> dict[str, Any]:
    _branch(world)
    with world.scene().repository() as repository:
        first = list(repository.log("app"))[-1].commit.id
    return {"target": Target("git", first)}


def _to_first_kept(world: World) -> dict[str, Any]:
    """As before, with a checkpoint of the present."""
    more = _to_first(world)
    with world.scene().checkpoints as kept:
        safety = kept.create("safety", kind="safety", components=("app",))
    return {**more, "safety": safety.id}


def _changed_file(world: World) -> dict[str, Any]:
    _branch(world)
    (world.root / "config" / "notes.md").write_text("changed on disk\n")
    return {}


def _items(world: World) -> dict[str, Any]:
    """Two items, one of whose names is taken where it goes; a scratch folder; a safety copy."""
    for name, text in (("items/one", "1"), ("items/two/deep", "2"), ("done/one", "old")):
        path = world.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    scratch = world.folder / "scratch"
    scratch.mkdir()
    for name in ("tmp-1", "tmp-2", "other"):
        (scratch / name).write_text(name)
    with world.scene().checkpoints as kept:
        safety = kept.create("safety", kind="safety", components=("items", "done"))
    return {"safety": safety.id}


def _frozen(world: World) -> dict[str, Any]:
    _items(world)
    step, scene = world.bound("freeze", {"components": ["items"]})
    step.apply(scene)
    return {}


@dataclass(frozen=True)
class Case:
    """One way to use a kind: `before` and `after` are what `probe` says then."""

    name: str
    kind: str
    parameters: dict[str, Any]
    prepare: Prepare = _nothing
    before: Answer = FAIL
    after: Answer = PASS
    undone: bool = True  # undo brings every byte back
    crashes: bool = True
    more: dict[str, Any] = field(default_factory=dict)


TOUCH = [sys.executable, "-c", "open('made', 'w').write('x')"]
READ_BACK = {"config": {"file": "config/config.yaml", "values": {"party.maxAgents": 1}}}
LINK_SAYS = {"command": {"argv": ["/bin/cat", "current/app.py"], "contains": "1.0.0"}}
FILE_SAYS = {"command": {"argv": ["/bin/cat", "VERSION"], "contains": "1.0.0"}}
CASES = (
    Case("flag", "flag", {"flag": "party", "set": False, "within": "3s"}),
    Case("flag-yaml", "flag", {"flag": "party", "set": False, "layer": "yaml", "within": "3s"}),
    Case("flagd", "flag", {"flag": "remote", "set": False, "within": "3s"}),
    Case("edit", "edit", {"file": "config/config.yaml", "key": "party.maxAgents", "value": 9}),
    Case("edit-lines", "edit", {"file": "config/notes.md", "drop_lines": "Party"}),
    Case("set", "set", {"file": "config/config.yaml", "key": "party.maxAgents", "value": 1,
                        "read_back": READ_BACK, "within": "3s"}),
    Case("set-link", "set", {"link": "current", "value": "releases/1.0.0",
                             "read_back": LINK_SAYS, "within": "3s"}, _releases),
    Case("set-new-link", "set", {"link": "config/current", "value": "../releases/1.0.0",
                                 "read_back": {"files": {"exists": ["releases/1.0.0/app.py"]}},
                                 "within": "3s"}, _releases),
    Case("set-file", "set", {"file": "VERSION", "value": "1.0.0", "read_back": FILE_SAYS,
                             "within": "3s"}, _releases),
    Case("set-new-file", "set", {"file": "config/VERSION", "value": "1.0.0", "within": "3s",
                                 "read_back": {"files": {"exists": ["config/VERSION"]}}}),
    Case("restore", "restore", {"component": "config"}, _checkpoint),
    Case("restore-git", "restore", {"component": "app"}, _to_first_kept),
    Case("git-revert", "git", {"revert": {"matching": "^release 2"}}, _branch),
    Case("git-reset", "git", {"reset": "target"}, _to_first),
    Case("git-branch", "git", {"branch": "rollback-{date}-{run}"}),
    Case("git-tag", "git", {"tag": "rolled-back-{date}-{time}"}),
    Case("git-commit", "git", {"commit": {"paths": ["config"], "message": "rollback: keep"}},
         _changed_file),
    Case("command", "command", {"argv": TOUCH, "undo": {"argv": ["/bin/rm", "-f", "made"]}},
         before=UNKNOWN, after=UNKNOWN),
    Case("command-probed", "command", {
        "argv": TOUCH, "undo": {"argv": ["/bin/rm", "-f", "made"]},
        "probe": {"files": {"exists": ["made"]}}}),
    Case("start", "service", {"start": ["web", "base"], "within": "20s"}),
    Case("stop", "service", {"stop": ["base", "web"], "within": "20s"}, _started),
    Case("restart", "service", {"restart": ["web"], "within": "20s"}, _started, undone=False),
    Case("reload", "service", {"reload": ["web"], "within": "20s"}, _started, undone=False),
    Case("drain", "service", {"drain": ["web"], "within": "20s"}, _started, before=PASS,
         undone=False, crashes=False),
    Case("touch", "service", {"touch": ["config/config.yaml"]}, crashes=False),
    Case("wait", "wait", {"for": "300ms"}),
    Case("watch", "watch", {"checks": ["config-valid"], "expect": [{"metric": "size", "below": 9}],
                            "for": "300ms", "every": "100ms"}),
    Case("verify", "verify", {"checks": ["config-valid"]}, before=PASS),
    Case("capture", "capture", {"sources": ["memory", "disk", {"log": "logs/**"}, "version"]}),
    Case("remove", "remove", {"paths": ["items/one", "items/t*", "items/not-there"]}, _items),
    Case("move", "move", {"paths": ["items/*"], "to": "done"}, _items),
    Case("requeue", "requeue", {"from": ["items"], "to": "done", "at_most": 2}, _items),
    Case("quarantine", "quarantine", {"component": "items", "items": ["o*"]}, _items),
    Case("quarantine-stays", "quarantine", {"component": "items", "stays": True}, _items),
    Case("clear", "clear", {"component": "items"}, _items),
    Case("clear-place", "clear", {"place": "scratch", "pattern": "tmp-*"}, _items),
    Case("freeze", "freeze", {"components": ["items", "done"]}, _items),
    Case("freeze-for-repair", "freeze", {"components": ["items"], "for_repair": True}, _items),
    Case("thaw", "thaw", {"components": ["items"]}, _frozen),
    Case("archive", "archive", {"components": ["items", "config"], "place": "archives",
                                "name": "kept-{date}", "exclude": ["*.md"]}, _items),
    Case("checkpoint", "checkpoint", {"components": ["items"]}, _items),
    Case("notify", "notify", {"message": "hello"}, undone=False),
    Case("prevent", "prevent", {"component": "items"}, undone=False),
    Case("task", "task", {"says": "Look at it", "wait": False}, undone=False),
    Case("tighten", "tighten", {}, undone=False),
)  # fmt: skip
ELSEWHERE = {
    *("collect", "choose", "decide"),  # rest on a person's word: shown in test_records
    "confirm",  # and on the time that it has: shown in test_confirm
    *("guarded", "take-back"),  # shown with the command line, and with the engine
    *("compare", "repair", "replay", "vouched"),  # need a transaction log: shown in test_recovery
}
NO_WAY_BACK = {"restart", "reload", "touch"}  # the same as before, or a trace that stays
by_name = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])


def state_of(world: World) -> dict[str, Any]:
    """What a step may change: files, services, names and head of the repository, messages."""
    with world.scene().repository() as repository:
        head = repository.head()
        names = [
            n for n in repository._opened.repo.references if not n.startswith("refs/rollback/")
        ]
        tree = repository._opened.repo[head[1]].tree_id
    with world.state.tree.sub("journal") as tree_of_journal:
        events = Journal(tree_of_journal, world.host).events()
    return {
        "files": world.files(), "running": world.running(), "branch": head[0],
        "tree": str(tree), "names": sorted(names),
        "places": {
            str(path.relative_to(world.folder)): path.read_bytes()
            for name in ("scratch", "archives") for path in (world.folder / name).rglob("*")
            if path.is_file() and "tar.gz" not in path.name
            and ".rollback-" not in str(path)
        },
        "modes": {str(path): path.stat().st_mode for name in ("items", "done")
                  for path in (world.root / name).rglob("*")},
        "messages": sum(1 for e in events if e.kind == "message.queued"),
    }  # fmt: skip


def at(world: World, case: Case) -> tuple[Any, Scene]:
    """The prepared world, and the bound step."""
    more = case.prepare(world)
    return world.bound(case.kind, case.parameters, **{**case.more, **more})


def test_every_registered_kind_of_action_has_a_case():
    """A new kind cannot forget its contract."""
    assert {case.kind for case in CASES} | ELSEWHERE == set(kinds("action"))


@by_name
def test_probe_tells_before_from_after_and_twice_is_once(world, case):
    """PASS after it, what the case says before it; a second apply changes nothing."""
    action, scene = at(world, case)
    assert action.describe(scene)
    assert all(isinstance(line, str) for line in action.describe(scene))
    assert set(action.touches(scene)) <= set(world.system.components)
    assert action.probe(scene).answer is case.before
    assert not isinstance(action.apply(scene), Later)
    once = state_of(world)
    assert action.probe(scene).answer is case.after
    action.apply(scene)
    assert state_of(world) == once
    if case.after is UNKNOWN:
        assert any("probe" in line for line in action.describe(scene))


@by_name
def test_bind_and_describe_change_nothing(world, case):
    """A dry run is dry."""
    more = case.prepare(world)
    before = state_of(world)
    action, scene = world.bound(case.kind, case.parameters, **more)
    action.describe(scene)
    assert state_of(world) == before


@by_name
def test_undo_brings_the_bytes_back(world, case):
    """Names that were made may stay; files, branch and services are as before. Twice too."""
    action, scene = at(world, case)
    if not isinstance(action, Undoable) or not case.undone:
        return
    before = state_of(world)
    action.apply(scene)
    action.undo(scene)
    action.undo(scene)
    after = state_of(world)
    for part in ("files", "running", "branch", "tree", "places", "modes"):
        assert after[part] == before[part], part


@by_name
def test_what_is_left_to_take_back_is_told_from_the_present(world, case):
    """Nothing before it, something after it where anything changed, and nothing once it is undone."""
    action, scene = at(world, case)
    if not isinstance(action, Traced):
        return
    unknown_to_all = case.after is UNKNOWN  # without a check nobody can tell, until it was undone
    before = state_of(world)
    assert action.undone(scene).answer is (UNKNOWN if unknown_to_all else PASS)
    assert state_of(world) == before
    action.apply(scene)
    changed = {part for part, found in state_of(world).items() if found != before[part]}
    if changed - {"names"} and case.name not in NO_WAY_BACK:
        assert action.undone(scene).answer is (UNKNOWN if unknown_to_all else FAIL), changed
    if case.undone:
        action.undo(scene)
        assert action.undone(scene).answer is PASS


# -- killed at every change ----------------------------------------------------------------


def _applied(world: World, scene: Scene, action: Any, tap: Tap) -> None:
    """The step is done through the tap, which its state directory and its notes pass too."""
    host = Host(tap=tap)
    state = StateDir.open(scene.system, host)
    note = world.note_through(host, scene.step)
    action.apply(replace(scene, host=host, state=state, note=note))


CRASHING = [case for case in CASES if case.kind not in ("wait", "watch", "verify") and case.crashes]


@pytest.mark.slow
@pytest.mark.parametrize("case", CRASHING, ids=[case.name for case in CRASHING])
def test_killed_anywhere_probe_is_truthful_and_again_converges(world, case, tmp_path):
    """At every change, before it, after it, and in the middle of a write."""
    action, scene = at(world, case)
    keep = tmp_path / "kept"
    shutil.copytree(world.root, keep / "tree", symlinks=True)
    shutil.copytree(world.state.path, keep / "state", symlinks=True)
    _places(world, keep / "places", save=True)
    were = world.running()
    counting = CountingTap()
    _applied(world, scene, action, counting)
    wanted = state_of(world)
    assert counting.points
    stride = max(3 if case.kind == "git" else 1, KILL_SOME)  # of git each is shown in tests/keep
    for shot in shots(counting.points)[::stride]:
        _back(world, keep, were)
        _places(world, keep / "places", save=False)
        died = in_child(lambda s=shot: _applied(world, scene, action, DyingTap(*s)))  # type: ignore[misc]
        assert died == KILLED, shot
        finding = action.probe(scene)
        if finding.answer is PASS and case.kind != "service":
            assert _same(state_of(world), wanted), f"{shot}: {finding.evidence}"
        assert finding.answer is not UNKNOWN or case.after is UNKNOWN or case.kind in (
            "service", "git"), finding.evidence  # fmt: skip
        if finding.answer is not PASS:
            action.apply(scene)
        assert action.probe(scene).answer is case.after
        assert _same(state_of(world), wanted), shot
        assert not [n for n in world.files() if ".rollback-tmp-" in n], shot


def _places(world: World, keep: Any, *, save: bool) -> None:
    """The folders outside the root are kept, or are as they were kept."""
    for name in ("scratch", "archives"):
        source, target = world.folder / name, keep / name
        if not save:
            source, target = target, source
            shutil.rmtree(target, ignore_errors=True)
        if source.exists():
            shutil.copytree(source, target)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def without(state: dict[str, Any]) -> dict[str, Any]:
        files = {n: b for n, b in state["files"].items() if ".rollback-" not in n}
        return {**state, "files": files}

    return without(one) == without(other)


def _back(world: World, keep: Any, were: dict[str, bool]) -> None:
    """The world is as it was before the step."""
    if world.running() != were or any(were.values()):
        world.end_services()
    for source, target in ((keep / "tree", world.root), (keep / "state", world.state.path)):
        for path in list(target.iterdir()):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    for name in dependencies.ordered(world.system, [n for n, runs in were.items() if runs]):
        service.start(world.scene().view(), name, within_s=10)
