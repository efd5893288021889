"""What every kind of action keeps, whatever it does.

Applied twice is applied once. `probe` says PASS only when it happened. `undo` brings the bytes
back. Killed at any change to the world, `probe` is truthful and applying again converges.

Hides: how the world is kept and brought back between two deaths.
Never: knows a kind.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from rollback.act import service
from rollback.act.scene import Later, Question, Scene, Traced, Undoable
from rollback.conformance.asked import Case
from rollback.conformance.dying import KILLED, CountingTap, DyingTap, in_child, shots
from rollback.conformance.fixtures import asked_of, owes
from rollback.conformance.world import World
from rollback.host import Host, Tap
from rollback.keep.journal import Journal
from rollback.keep.state import StateDir
from rollback.model import dependencies
from rollback.model.errors import RollbackError
from rollback.model.finding import Answer

FAMILY = "action"
PASS, FAIL, UNKNOWN = Answer.PASS, Answer.FAIL, Answer.UNKNOWN
KILL_SOME = max(1, int(os.environ.get("KILL_EVERY", "24")) // 3)
_OURS = ".rollback-"  # what a writer leaves and sweeps itself


def state_of(world: World) -> dict[str, Any]:
    """What a step may change: files, services, names and head of the repository, messages."""
    with world.state.tree.sub("journal") as tree:
        events = Journal(tree, world.host).events()
    return {
        "files": world.files(), "running": world.running(), **_repository(world),
        "places": {
            str(path.relative_to(world.folder)): path.read_bytes()
            for folder in _places(world) for path in folder.rglob("*")
            if path.is_file() and "tar.gz" not in path.name and _OURS not in str(path)
        },
        "modes": {
            str(path): path.stat().st_mode
            for one in world.system.components.values() if one.content == "files"
            for path in (world.root / one.path).rglob("*") if not path.is_symlink() and _OURS not in path.name
        },
        "messages": sum(1 for e in events if e.kind == "message.queued"),
    }  # fmt: skip


def _repository(world: World) -> dict[str, Any]:
    if world.system.repository is None:
        return {"branch": "", "tree": "", "names": []}
    with world.scene().repository() as repository:
        head = repository.head()
        names = [
            n for n in repository._opened.repo.references if not n.startswith("refs/rollback/")
        ]
        commit: Any = repository._opened.repo[head[1]]
    return {"branch": head[0], "tree": str(commit.tree_id), "names": sorted(names)}


def _has(case: Case, protocol: type[Any]) -> bool:
    """True when the kind has the methods of a protocol, none of which has a field."""
    return issubclass(case.kind, protocol)


def _places(world: World) -> list[Path]:
    """The declared folders outside the root."""
    return [Path(one.path) for one in world.system.places.values()]


def _at(world: World, case: Case) -> tuple[Any, Scene]:
    """The bound step in its scene."""
    return world.bound(case.kind.kind, case.parameters(world), **world.more)


def _done(world: World, case: Case, action: Any, scene: Scene) -> Any:
    """It was applied, to the end; of one that asks a person after the answer."""
    found = action.apply(scene)
    if isinstance(found, Question) and case.example.answers is not None:
        case.example.answers(world)
        found = action.apply(scene)
    owes(not isinstance(found, (Later, Question)),
         "it has not done it yet: the example must be done at once, or give answers")  # fmt: skip
    return found


def _differs(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The parts that are not what they were; of files, which."""
    found = []
    for part, was in before.items():
        now = after[part]
        if was == now:
            continue
        names = sorted(n for n in {*was, *now} if was.get(n) != now.get(n)) if (
            isinstance(was, dict)) else []  # fmt: skip
        found.append(f"{part} ({', '.join(map(str, names[:4]))})" if names else part)
    return found


def test_it_has_what_the_engine_calls(case: Case) -> None:
    """bind, describe, touches, apply, probe; and `alters` says what it may change."""
    lacks = [
        n for n in ("bind", "describe", "touches", "apply", "probe") if not hasattr(case.kind, n)
    ]
    owes(not lacks, f"{case.kind.__name__} lacks {', '.join(lacks)}")
    alters = getattr(case.kind, "alters", None)
    owes(alters in ("nothing", "running", "stored"),
         f"alters is {alters!r}: write nothing, running or stored")  # fmt: skip


def test_probe_tells_before_from_after_and_twice_is_once(world: World, case: Case) -> None:
    """PASS after it, what the example says before it; a second apply changes nothing."""
    action, scene = _at(world, case)
    before = action.probe(scene)
    owes(before.answer is case.example.before,
         f"before it is done, probe says {before.answer} ({before.evidence}); it has to say "
         f"{case.example.before}: nothing has happened yet")  # fmt: skip
    _done(world, case, action, scene)
    once = state_of(world)
    after = action.probe(scene)
    owes(after.answer is case.example.after,
         f"after it was done, probe says {after.answer}: {after.evidence}")  # fmt: skip
    action.apply(scene)
    changed = _differs(once, state_of(world))
    owes(not changed, f"applied a second time it changes {', '.join(changed)}: after a crash it is "
         "applied again, so that must change nothing")  # fmt: skip


@asked_of(lambda case: case.example.answers)
def test_what_rests_on_a_person_asks_and_waits(world: World, case: Case) -> None:
    """Until it is answered it changes nothing and asks the same again; shown where there are `answers`."""
    action, scene = _at(world, case)
    before = state_of(world)
    first, again = action.apply(scene), action.apply(scene)
    owes(isinstance(first, Question), f"nobody has answered, and it returns {first!r}: a Question")
    owes(
        first.item == again.item and first.what,
        "asked twice it asks about something else, or nothing",
    )
    differs = _differs(before, state_of(world))
    owes(not differs, f"nobody has answered, and it changes {', '.join(differs)}")
    owes(action.probe(scene).answer is not PASS, "nobody has answered, and probe says it happened")


def test_what_it_says_can_be_kept(world: World, case: Case) -> None:
    """What `bind` decides and what `apply` proves are JSON: both go into the journal and come back."""
    action, scene = _at(world, case)
    for what, value in (("bind", dict(scene.bound)), ("apply", _done(world, case, action, scene))):
        try:
            same = json.loads(json.dumps(value, allow_nan=False)) == value
        except (TypeError, ValueError) as error:
            same = False
            value = error
        owes(same, f"what {what} returns does not come back from JSON as it was: {value!r}")
    if case.example.after is UNKNOWN:
        owes(any("probe" in line for line in action.describe(scene)),
             "probe cannot tell whether it happened, and describe does not say so")  # fmt: skip


def test_it_names_every_component_that_it_changes(world: World, case: Case) -> None:
    """Only what `touches` names is in the safety checkpoint; what `alters` nothing changes nothing."""
    action, scene = _at(world, case)
    named = set(action.touches(scene))
    unknown = sorted(named - set(world.system.components))
    owes(not unknown, f"touches names {', '.join(unknown)}, which the system does not have")
    before = state_of(world)
    _done(world, case, action, scene)
    after = state_of(world)
    changed = {
        name for name, one in world.system.components.items()
        if _below(before["files"], one.path) != _below(after["files"], one.path)
    }  # fmt: skip
    owes(changed <= named, f"it changes {', '.join(sorted(changed - named))}, which touches does not "
         "name: what it changed would be in no checkpoint")  # fmt: skip
    if action.alters == "nothing":
        differs = [part for part in _differs(before, after) if part != "messages"]
        owes(not differs, f"alters says nothing, and it changes {', '.join(differs)}")


def _below(files: dict[str, bytes], path: str) -> dict[str, bytes]:
    return {n: b for n, b in files.items() if n == path or n.startswith(f"{path}/")}


def test_bind_and_describe_change_nothing(world: World, case: Case) -> None:
    """A dry run is dry, and says in lines what would be done."""
    before = state_of(world)
    action, scene = _at(world, case)
    lines = action.describe(scene)
    changed = _differs(before, state_of(world))
    owes(not changed, f"making the plan changes {', '.join(changed)}: a dry run has to be dry")
    good = lines and all(isinstance(line, str) and line and "\n" not in line for line in lines)
    owes(good, f"describe says {lines!r}: it has to say in lines of text what would be done")


@asked_of(lambda case: _has(case, Undoable) and not case.example.stays)
def test_undo_brings_the_bytes_back(world: World, case: Case) -> None:
    """Names that were made may stay; files, branch and services are as before. Twice too."""
    action, scene = _at(world, case)
    before = state_of(world)
    _done(world, case, action, scene)
    action.undo(scene)
    action.undo(scene)
    changed = _differs(_bytes_of(before), _bytes_of(state_of(world)))
    owes(not changed, f"after undo this is not as it was: {', '.join(changed)}")


@asked_of(lambda case: case.example.stays)
def test_what_undo_cannot_bring_back_it_does_not_try(world: World, case: Case) -> None:
    """An error that says what to type instead, and nothing is changed by it."""
    action, scene = _at(world, case)
    _done(world, case, action, scene)
    before = state_of(world)
    hint = None
    try:
        action.undo(scene)
    except RollbackError as error:
        hint = error.hint
    owes(hint is not None, f"{case.example.stays}, and undo says nothing: raise a RollbackError")
    owes(hint, f"{case.example.stays}, and undo does not say what to type instead: give a hint")
    owes(state_of(world) == before, "undo fails, and changes something all the same")


def _bytes_of(state: dict[str, Any]) -> dict[str, Any]:
    return {part: state[part] for part in state if part not in ("names", "messages")}


@asked_of(lambda case: _has(case, Traced))
def test_what_is_left_to_take_back_is_told_from_the_present(world: World, case: Case) -> None:
    """Nothing before it, something after it where anything changed, and nothing once it is undone."""
    action, scene = _at(world, case)
    # without a check nobody may be able to tell, until it was undone
    doubt = {UNKNOWN} if case.example.after is UNKNOWN else set()
    before = state_of(world)
    found = action.undone(scene)
    owes(found.answer in {PASS, *doubt},
         f"before it was done, undone says {found.answer}: {found.evidence}")  # fmt: skip
    owes(state_of(world) == before, "undone changes something: it only looks")
    _done(world, case, action, scene)
    changed = {part for part, now in state_of(world).items() if now != before[part]}
    if changed - {"names"}:
        found = action.undone(scene)
        owes(found.answer in {FAIL, *doubt},
             f"it changed {', '.join(sorted(changed))}, and undone says {found.answer}: "
             f"{found.evidence}")  # fmt: skip
    if not case.example.stays:
        action.undo(scene)
        found = action.undone(scene)
        owes(found.answer is PASS, f"after undo, undone says {found.answer}: {found.evidence}")


# -- killed at every change ----------------------------------------------------------------


def _applied(world: World, scene: Scene, action: Any, tap: Tap) -> None:
    """The step is done through the tap, which its state directory and its notes pass too."""
    host = Host(tap=tap)
    state = StateDir.open(scene.system, host)
    note = world.note_through(host, scene.step)
    action.apply(replace(scene, host=host, state=state, note=note))


def test_killed_anywhere_probe_is_truthful_and_again_converges(
    world: World, case: Case, tmp_path: Path
) -> None:
    """At every change, before it, after it, and in the middle of a write."""
    action, scene = _at(world, case)
    if case.example.answers is not None:  # it has asked, and somebody has said it
        action.apply(scene)
        case.example.answers(world)
    keep = tmp_path / "kept"
    before, were = state_of(world), world.running()
    _kept(world, keep)
    counting = CountingTap()
    _applied(world, scene, action, counting)
    wanted = state_of(world)
    owes(counting.points or wanted == before,
         "it changes something without rollback.host: no crash in the middle of it can be tried, and no "
         "fault; go through scene.host")  # fmt: skip
    for shot in shots(counting.points)[:: max(case.example.every, KILL_SOME)]:
        _back(world, keep, were)
        died = in_child(lambda s=shot: _applied(world, scene, action, DyingTap(*s)))  # type: ignore[misc]
        owes(
            died == KILLED,
            f"it did not get to its change {shot[0]} again: it works otherwise each time",
        )
        _told_truly(world, case, action, scene, wanted, shot)


def _told_truly(
    world: World, case: Case, action: Any, scene: Scene, wanted: dict[str, Any], shot: tuple[int, str]
) -> None:  # fmt: skip
    """After a death at `shot`, probe says what is true, and applying again ends as it has to."""
    when = f"killed {shot[1]} its change {shot[0]}"
    finding = action.probe(scene)
    if finding.answer is PASS:
        owes(_same(state_of(world), wanted), f"{when}, probe says it happened ({finding.evidence}); "
             "it did not, or not whole")  # fmt: skip
    knows = finding.answer is not UNKNOWN or case.example.after is UNKNOWN
    owes(knows or case.example.doubtful, f"{when}, probe says unknown: {finding.evidence}")
    if finding.answer is not PASS:
        action.apply(scene)
    after = action.probe(scene)
    owes(after.answer is case.example.after,
         f"{when} and applied again, probe says {after.answer}: {after.evidence}")  # fmt: skip
    owes(_same(state_of(world), wanted),
         f"{when} and applied again, this is not as it has to be: "
         f"{', '.join(_differs(_bytes_of(wanted), _bytes_of(state_of(world))))}")  # fmt: skip
    left = [n for n in world.files() if ".rollback-tmp-" in n]
    owes(
        not left,
        f"{when} and applied again, temporary files stay: {', '.join(left)}; sweep the folder (Tree.sweep)",
    )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    def without(state: dict[str, Any]) -> dict[str, Any]:
        files = {n: b for n, b in state["files"].items() if _OURS not in n}
        return {**state, "files": files}

    return without(one) == without(other)


def _kept(world: World, keep: Path) -> None:
    for number, folder in enumerate((world.root, world.state.path, *_places(world))):
        if folder.exists():
            shutil.copytree(folder, keep / str(number), symlinks=True)


def _back(world: World, keep: Path, were: dict[str, bool]) -> None:
    """The world is as it was before the step."""
    if world.running() != were or any(were.values()):
        world.end_services()
    for number, folder in enumerate((world.root, world.state.path, *_places(world))):
        source = keep / str(number)
        if not source.exists():
            shutil.rmtree(folder, ignore_errors=True)
            continue
        for path in list(folder.iterdir()):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.copytree(source, folder, symlinks=True, dirs_exist_ok=True)
    for name in dependencies.ordered(world.system, [n for n, runs in were.items() if runs]):
        service.start(world.scene().view(), name, within_s=10)
