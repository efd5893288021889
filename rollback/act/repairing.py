"""How a component is made good again, whichever way: what the recovery steps have in common.

Hides: where the salvage of a run lies, and what an attempt has to show before it counts.
Never: takes a state that neither a checkpoint nor the log vouches for.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from rollback.act import named, proving
from rollback.act.moment import mark, marked
from rollback.host import processes
from rollback.model.errors import CommandFailed, HostError, PlanError
from rollback.model.event import canonical
from rollback.model.finding import Answer, Finding, Json, failed, passed
from rollback.model.quantity import counted, spoken
from rollback.model.registry import kinds, nearest
from rollback.observe.check import ask

if TYPE_CHECKING:
    from rollback.act.scene import Scene
    from rollback.keep.rebuild import Outcome
    from rollback.keep.transaction_log import LeftOut
    from rollback.keep.writer import Limits

By = Literal["program", "checkpoint", "log", "trail"]
SHOWN_MAX = 50
_SALVAGE, _ATTEMPT = "salvage-", "attempt-"


def component_of(scene: Scene, name: str) -> str:
    """The declared component, or the chosen one. Raises: PlanError."""
    found = scene.component if name == "chosen" else name
    if not found:
        raise PlanError("no component is chosen", hint="add --component NAME")
    if found not in scene.system.components:
        raise PlanError(f"there is no component {found}",
                        hint=nearest(found, tuple(scene.system.components)))  # fmt: skip
    return found


def base_of(scene: Scene) -> str:
    """The id of the checkpoint that the run goes back to; "" when it has none."""
    return scene.target.id if scene.target.source == "checkpoint" else ""


def rebuilt(scene: Scene, name: str, base: str, *, dry_run: bool = False) -> Outcome:
    """The component is what its log leaves of the base; what was left out is with the run."""
    from rollback.keep.rebuild import from_log  # the store: a flag needs none

    with scene.checkpoints as kept:
        found = from_log(kept, scene.system, name, base, step=step_name(scene), dry_run=dry_run,
                         limits=limits_of(scene))  # fmt: skip
    if not dry_run:
        keep_salvage(scene, found.left_out)
    return found


def keep_salvage(scene: Scene, left_out: tuple[LeftOut, ...]) -> str:
    """What is in no rebuilt state lies with the run, a line each; the name of the file, or ""."""
    if not left_out:
        return ""
    name = f"runs/{scene.run}/{_SALVAGE}{scene.step}.jsonl"
    scene.state.tree.make_folder(f"runs/{scene.run}", parents=True)
    scene.state.tree.write(name, b"".join(canonical(one.as_json()) + b"\n" for one in left_out))
    return name


def salvage_of(scene: Scene) -> list[str]:
    """The files of salvage that this run has kept."""
    return _files(scene, _SALVAGE)


def repair_by_program(scene: Scene, name: str, within_s: float) -> dict[str, Json]:
    """The component's own program for it has ended well. Raises: CommandFailed."""
    argv = scene.system.components[name].repair
    assert argv is not None, "it was looked for when the plan was made"
    done = processes.run(
        argv, cwd=str(scene.system.root_path), timeout_s=within_s, tap=scene.host.tap
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace").strip()[-300:]
    if done.timed_out or done.status != 0:
        why = f"did not end within {spoken(within_s)}" if done.timed_out else f"said: {said}"
        raise CommandFailed(why, argv=done.argv, status=done.status)
    return {"output": said}


def put_back(scene: Scene, name: str, checkpoint: str, step: str) -> int:
    """The component is as in the checkpoint; how many changes that took."""
    with scene.checkpoints as kept:
        return len(kept.restore(checkpoint, name, step=step, limits=limits_of(scene)))


def hold(scene: Scene, name: str) -> None:
    """What the run has closed to others is closed to them again, whatever was put there since."""
    from rollback.keep import frozen

    at, scope = named.whole(scene, name)
    with named.root(scene) as root:
        frozen.again(scene.state.tree, root, name, at, scope, scene.run)


def sound(scene: Scene, name: str) -> Finding:
    """PASS when every item is vouched for by a source, and the checks for this component say so.

    `once` names the items that only one source vouches for, by the source; `check` the check that
    did not pass, and `answer` what it said.
    """
    from rollback.keep.rebuild import cross_check

    try:
        with scene.checkpoints as kept:
            found = cross_check(kept, scene.system, name, base_of(scene))
    except HostError as error:
        return failed(f"{name}: {error}")
    once = {source: list[Json](items) for source, items in found.once.items() if items}
    told: dict[str, Json] = {
        "both": found.both, "ahead": len(found.ahead), "behind": list(found.behind[:SHOWN_MAX]),
        "nobody": list(found.nobody[:SHOWN_MAX]), "sources": list(found.sources),
        "once": {source: items[:SHOWN_MAX] for source, items in once.items()},
    }  # fmt: skip
    if found.nobody:
        return failed(
            f"{name}: {counted(len(found.nobody), 'item')} that neither "
            f"{' nor '.join(found.sources)} vouches for, first {found.nobody[0]}", **told
        )  # fmt: skip
    for check in _usable(scene, name):
        finding = ask(check, scene.view())
        if finding.answer is not Answer.PASS:
            told |= {"check": str(check.id), "answer": finding.answer.value}
            return failed(f"{name}: {finding.evidence}", **told)
    lost = f"; {counted(len(found.behind), 'item')} behind the log" if found.behind else ""
    alone = "; " + ", ".join(f"{counted(len(items), 'item')} by the {source} alone"
                             for source, items in once.items()) if once else ""  # fmt: skip
    return passed(f"{name}: {found.count} items, each vouched for by {' or '.join(found.sources)}"
                  f"{alone}{lost}", **told)  # fmt: skip


def keep_attempt(scene: Scene, by: str, finding: Finding) -> None:
    """How an attempt came out is with the run, for the step that prevents the next time."""
    scene.state.tree.make_folder(f"runs/{scene.run}", parents=True)
    body = {"by": by, "good": finding.answer is Answer.PASS, "evidence": finding.evidence,
            "check": finding.details.get("check"), "answer": finding.details.get("answer")}  # fmt: skip
    scene.state.tree.write(f"runs/{scene.run}/{_ATTEMPT}{scene.step}.json", canonical(body))


def attempts_of(scene: Scene) -> list[dict[str, Any]]:
    """How the attempts of this run came out, each once."""
    return [json.loads(scene.state.tree.read(name)) for name in _files(scene, _ATTEMPT)]


def cause_of(scene: Scene) -> str:
    """What the comparison of this run with the last good state found to be the cause; or "not known"."""
    for name in _files(scene, "differences-"):
        return str(json.loads(scene.state.tree.read(name))["cause"])
    return "not known: nothing was compared"


def _files(scene: Scene, beginning: str) -> list[str]:
    folder = f"runs/{scene.run}"
    if scene.state.tree.stat(folder) is None:
        return []
    names = sorted(name.decode() for name in scene.state.tree.names(folder))
    return [f"{folder}/{name}" for name in names if name.startswith(beginning)]


def may_be_shown(scene: Scene, name: str) -> None:
    """The checks that show the component to be good may be asked here. Raises: Refused."""
    proving.refuse_unwelcome(scene, _usable(scene, name))


def _usable(scene: Scene, name: str) -> list[Any]:
    wanted = scene.system.components[name].usable
    return [check for _, check in scene.system.checks() if getattr(check, "id", "") in wanted]


def step_name(scene: Scene) -> str:
    """The name of the step's intent and quarantine."""
    return f"{scene.run}-{scene.step}"


def limits_of(scene: Scene) -> Limits:
    """The declared room on the disk."""
    from rollback.keep.writer import Limits as Made

    disk = getattr(scene.system.guardrails, "disk", None)
    return Made() if disk is None else Made(factor=disk.factor, reserve_bytes=disk.reserve)


def mark_good(scene: Scene) -> None:
    """That this attempt was shown to be good is known after a crash."""
    mark(scene)


def was_good(scene: Scene) -> bool:
    """True when this attempt was shown to be good."""
    return marked(scene)


def has_items(scene: Scene, name: str) -> bool:
    """True when the kind of content can be compared item by item."""
    from rollback.keep.content import Content

    found = kinds("content").get(str(scene.system.components[name].content))
    return found is not None and getattr(found, "items", None) is not Content.items
