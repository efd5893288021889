"""Our actions that go by what came before them, each on examples of its use.

That is a checkpoint and a transaction log, an earlier run, or a command that was typed.

Hides: how notes, their log and an earlier run come about.
Never: holds a contract.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from rollback.act.plan import PlannedStep
from rollback.act.scene import Target
from rollback.conformance.example import Example
from rollback.conformance.world import World
from rollback.model.finding import Answer

_SECTIONS = {
    "components": {
        "notes": {"path": "notes", "content": "files", "transaction_log": "log.jsonl",
                  "repair": ["/bin/cp", "spare", "notes/one"], "usable": ["there"]},
        "log": {"path": "log.jsonl", "content": "append-only"},
    },
    "verification": {"smoke": [{"files": {"id": "there", "exists": ["notes/one"]}}]},
}  # fmt: skip
_MADE = {"argv": ["/bin/cp", "spare", "made"], "probe": {"files": {"exists": ["made"]}},
         "undo": {"argv": ["/bin/rm", "-f", "made"]}}  # fmt: skip
_WRITTEN = {"one": "1\n", "two": "2\n"}
_SINCE = {"two": "two\n", "three": "3\n"}


def _log(world: World, written: dict[str, str]) -> None:
    """Logged, and done."""
    with (world.root / "log.jsonl").open("a") as log:
        for name, text in written.items():
            log.write(json.dumps({"op": "set", "key": name, "value": text}) + "\n")
            (world.root / "notes" / name).write_text(text)


def _since(world: World) -> dict[str, Any]:
    """Notes in a checkpoint, and work since that their log knows; the present is kept as well."""
    (world.root / "notes").mkdir()
    (world.root / "spare").write_text(_WRITTEN["one"])
    _log(world, _WRITTEN)
    with world.scene().checkpoints as kept:
        good = kept.create("good")
    _log(world, _SINCE)
    return {"target": Target("checkpoint", good.id, "good", good.at), "safety": _kept(world)}


def _spoilt(world: World) -> dict[str, Any]:
    """As before, and a note is another one that nobody logged."""
    more = _since(world)
    (world.root / "notes" / "one").write_text("garbage")
    return {**more, "safety": _kept(world)}


def _kept(world: World) -> str:
    """The present is kept; the id of that checkpoint."""
    with world.scene().checkpoints as kept:
        return kept.create(kind="safety").id


def _typed(world: World) -> dict[str, Any]:
    """A command was typed that changes a note."""
    command = ("/bin/cp", "spare", "notes/two")
    return {**_since(world), "command": command, "folder": str(world.root)}


def _taken(kind: str, **parameters: Any) -> Callable[[World], dict[str, Any]]:
    """An earlier run has taken this step; it is written down as `rollback undo` plans it."""

    def prepare(world: World) -> dict[str, Any]:
        before = _since(world)["safety"]
        action, scene = world.bound(kind, parameters, run="run-0", safety=before)
        action.apply(scene)
        step = PlannedStep("1", "earlier", kind, parameters, dict(scene.bound), (), 60.0, False,
                           action.touches(scene), "production")  # fmt: skip
        written = {"run": "run-0", "step": asdict(step), "target": asdict(Target()),
                   "stamp": dict(scene.stamp), "safety": before}  # fmt: skip
        (world.folder / "earlier.json").write_text(json.dumps(written))
        return {"safety": _kept(world)}

    return prepare


def _earlier(world: World) -> dict[str, Any]:
    written: dict[str, Any] = json.loads((world.folder / "earlier.json").read_text())
    return written


def _of(
    name: str, parameters: Any, prepare: Callable[[World], Any] = _spoilt, **more: Any
) -> Example:
    return Example(parameters, name, sections=_SECTIONS, prepare=prepare, **more)


EXAMPLES: dict[str, tuple[Example, ...]] = {
    "compare": (_of("compare", {"component": "notes"}),),
    "repair": tuple(
        _of(f"by-{by}", {"component": "notes", "by": by})
        for by in ("program", "checkpoint", "log", "trail")
    ),
    "replay": (
        _of("replay", {"component": "notes"}),
        _of("over-nothing", {"component": "notes", "base": "nothing"}),
    ),
    "vouched": (_of("vouched", {"component": "notes"}, _since),),
    "guarded": (
        _of(
            "guarded",
            {},
            _typed,
            before=Answer.UNKNOWN,
            after=Answer.UNKNOWN,
            stays="nobody knows what a typed command changed",
        ),
    ),
    "take-back": (
        _of("of-edit", _earlier, _taken("edit", file="notes/two", drop_lines="two")),
        _of("of-command", _earlier, _taken("command", **_MADE)),
    ),
}
