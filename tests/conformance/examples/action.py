"""Our own kinds of actions, each on examples of its use, in the small system.

Hides: how the small system is brought to where a step has something to do.
Never: holds a contract.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from rollback.act import service
from rollback.act.scene import Target
from rollback.conformance.example import Example, nothing
from rollback.conformance.world import World
from rollback.judge.filling import Filled
from rollback.model.finding import Answer
from rollback.model.registry import read_item
from tests.conformance.examples import earlier
from tests.conformance.examples.small import build

PASS, UNKNOWN = Answer.PASS, Answer.UNKNOWN


def _of(
    name: str, kind: str, parameters: Mapping[str, Any], prepare: Callable[[World], Any] = nothing,
    **more: Any,
) -> tuple[str, Example]:  # fmt: skip
    return kind, Example(parameters, name, prepare=prepare, build=build, **more)


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


def _resumable(world: World) -> dict[str, Any]:
    """What was drained can be told to go on."""
    goes_on = {"http": {"url": f"{world.url}/resume", "pointer": {"/draining": False}}}
    web = world.system.services["web"].model_copy(update={"resume": read_item("check", goes_on)})
    world.system = world.system.having(services={**world.system.services, "web": web})
    return _started(world)


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


TOUCH = [sys.executable, "-c", "open('made', 'w').write('x')"]
READ_BACK = {"config": {"file": "config/config.yaml", "values": {"party.maxAgents": 1}}}
LINK_SAYS = {"command": {"argv": ["/bin/cat", "current/app.py"], "contains": "1.0.0"}}
FILE_SAYS = {"command": {"argv": ["/bin/cat", "VERSION"], "contains": "1.0.0"}}
_GIT: dict[str, Any] = {"every": 3, "doubtful": True}  # each change of git has tests of its own
_EVERY = (
    _of("flag", "flag", {"flag": "party", "set": False, "within": "3s"}),
    _of("flag-yaml", "flag", {"flag": "party", "set": False, "layer": "yaml", "within": "3s"}),
    _of("flagd", "flag", {"flag": "remote", "set": False, "within": "3s"}),
    _of("edit", "edit", {"file": "config/config.yaml", "key": "party.maxAgents", "value": 9}),
    _of("edit-lines", "edit", {"file": "config/notes.md", "drop_lines": "Party"}),
    _of("set", "set", {"file": "config/config.yaml", "key": "party.maxAgents", "value": 1,
                        "read_back": READ_BACK, "within": "3s"}),
    _of("set-link", "set", {"link": "current", "value": "releases/1.0.0",
                             "read_back": LINK_SAYS, "within": "3s"}, _releases),
    _of("set-new-link", "set", {"link": "config/current", "value": "../releases/1.0.0",
                                 "read_back": {"files": {"exists": ["releases/1.0.0/app.py"]}},
                                 "within": "3s"}, _releases),
    _of("set-file", "set", {"file": "VERSION", "value": "1.0.0", "read_back": FILE_SAYS,
                             "within": "3s"}, _releases),
    _of("set-new-file", "set", {"file": "config/VERSION", "value": "1.0.0", "within": "3s",
                                 "read_back": {"files": {"exists": ["config/VERSION"]}}}),
    _of("restore", "restore", {"component": "config"}, _checkpoint),
    _of("restore-git", "restore", {"component": "app"}, _to_first_kept),
    _of("git-revert", "git", {"revert": {"matching": "^release 2"}}, _branch, **_GIT),
    _of("git-reset", "git", {"reset": "target"}, _to_first, **_GIT),
    _of("git-branch", "git", {"branch": "rollback-{date}-{run}"}, **_GIT),
    _of("git-tag", "git", {"tag": "rolled-back-{date}-{time}"}, **_GIT),
    _of("git-commit", "git", {"commit": {"paths": ["config"], "message": "rollback: keep"}},
         _changed_file, **_GIT),
    _of("command", "command", {"argv": TOUCH, "undo": {"argv": ["/bin/rm", "-f", "made"]}},
         before=UNKNOWN, after=UNKNOWN),
    _of("command-probed", "command", {
        "argv": TOUCH, "undo": {"argv": ["/bin/rm", "-f", "made"]},
        "probe": {"files": {"exists": ["made"]}}}),
    _of("start", "service", {"start": ["web", "base"], "within": "20s"}, doubtful=True),
    _of("stop", "service", {"stop": ["base", "web"], "within": "20s"}, _started, doubtful=True),
    _of("restart", "service", {"restart": ["web"], "within": "20s"}, _started, doubtful=True),
    _of("reload", "service", {"reload": ["web"], "within": "20s"}, _started, doubtful=True),
    _of("drain", "service", {"drain": ["web"], "within": "20s"}, _resumable, before=PASS),
    _of("touch", "service", {"touch": ["config/config.yaml"]}),
    _of("wait", "wait", {"for": "100ms"}),
    # its time is over when it has looked once: how often it looks differs from death to death
    _of("watch", "watch", {"checks": ["config-valid"], "expect": [{"metric": "size", "below": 9}],
                            "for": "1ms", "every": "1s"}),
    _of("verify", "verify", {"checks": ["config-valid"]}, before=PASS),
    _of("verify-for", "verify", {"checks": ["config-valid"], "for": "1ms", "every": "1s"}),
    _of("capture", "capture", {"sources": ["memory", "disk", {"log": "logs/**"}, "version"]}),
    _of("remove", "remove", {"paths": ["items/one", "items/t*", "items/not-there"]}, _items),
    _of("move", "move", {"paths": ["items/*"], "to": "done"}, _items),
    _of("requeue", "requeue", {"from": ["items"], "to": "done", "at_most": 2}, _items),
    _of("quarantine", "quarantine", {"component": "items", "items": ["o*"]}, _items),
    _of("quarantine-stays", "quarantine", {"component": "items", "stays": True}, _items),
    _of("clear", "clear", {"component": "items"}, _items),
    _of("clear-place", "clear", {"place": "scratch", "pattern": "tmp-*"}, _items),
    _of("freeze", "freeze", {"components": ["items", "done"]}, _items),
    _of("freeze-for-repair", "freeze", {"components": ["items"], "for_repair": True}, _items),
    _of("thaw", "thaw", {"components": ["items"]}, _frozen),
    _of("archive", "archive", {"components": ["items", "config"], "place": "archives",
                                "name": "kept-{date}", "exclude": ["*.md"]}, _items),
    _of("checkpoint", "checkpoint", {"components": ["items"]}, _items),
    _of("notify", "notify", {"message": "hello"}),
    _of("prevent", "prevent", {"component": "items"}),
    _of("task", "task", {"says": "Look at it", "wait": False}),
    _of("tighten", "tighten", {}),
)  # fmt: skip


# -- what rests on a person's word ---------------------------------------------------------


def _unsaid(world: World) -> dict[str, Any]:
    """What a person says is in a file, once somebody has said it."""
    file = world.folder / "said"

    def heard(_item: str) -> str:
        return file.read_text() if file.exists() else ""

    def record(_record: str) -> Filled:
        said = heard("")
        return Filled({"issue": said}, {"issue": "ada"}) if said else Filled(blank=("issue",))

    return {"heard": heard, "record": record}


def _said(word: str) -> Callable[[World], object]:
    return lambda world: (world.folder / "said").write_text(word)


_FORM = {"title": "What is critical", "by": "op", "fields": {"issue": {"title": "What"}}}
_POINT = {"title": "Errors. What now?", "asks": "op", "options": [
    {"id": "fix", "title": "Repair it", "respond": {"task": "debt"}},
    {"id": "back", "title": "Go back", "respond": {"roll_back": "only"}}]}  # fmt: skip
_ASKED: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "confirm": ({"within": "30s"}, "yes", {}),
    "decide": ({}, "only", {}),
    "collect": ({"record": "form"}, "nobody can pay", {"records": {"form": _FORM}}),
    "choose": ({"point": "errors"}, "back", {
        "decision": {"style": "asked", "points": {"errors": _POINT}},
        "follow_ups": {"tasks": {"debt": {"title": "Pay it back", "owner": "op"}}}}),
}  # fmt: skip
_ANSWERED = tuple(
    (kind, Example(parameters, sections=sections, prepare=_unsaid, answers=_said(word)))
    for kind, (parameters, word, sections) in _ASKED.items()
)  # fmt: skip
EXAMPLES = {
    **{kind: tuple(one for of, one in (*_EVERY, *_ANSWERED) if of == kind)
       for kind, _ in (*_EVERY, *_ANSWERED)},
    **earlier.EXAMPLES,
}  # fmt: skip
