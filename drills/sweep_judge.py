"""What must hold after a kill, and after the drive that follows it; asked without the product.

Hides: how the journal is read by somebody who does not trust its writer.
Never: changes the world that it judges.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills.sweep_world import RUN, World
from rollback.host import processes
from rollback.model.errors import HostError

TOUCHES = {  # step id -> the components that must be NEW once it is claimed to have ended
    "config": ("config",),
    "state": ("state",),
    "knowledge": ("knowledge",),
    "code": ("code",),
    "restore": ("knowledge",),
    "off": ("flag",),
    "file-rules": ("flag",),
    "revert": ("code", "config"),
    "reset": ("code", "config"),
}
DESTRUCTIVE = {"code", "config", "knowledge", "state"}


@dataclass(frozen=True)
class Seen:
    """The world at one moment, as somebody outside sees it."""

    components: dict[str, dict[str, str]]
    git: dict[str, str]
    running: bool
    starts: int
    links: frozenset[frozenset[str]]

    @classmethod
    def of(cls, world: World, *, git: bool = True) -> Seen:
        """Everything is looked at now."""
        return cls(
            world.components(), world.git() if git else {}, world.running(), world.starts(),
            links(world.root / "knowledge"),
        )  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """The two ends of an uninterrupted run."""

    old: Seen
    new: Seen
    end: str
    leavings: tuple[str, ...]
    safety: int


@dataclass
class Judged:
    """`wrong` is empty when all holds; `mixed` are components between old and new, with an intent."""

    wrong: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)


def after_kill(world: World, reference: Reference) -> Judged:
    """Old or new, a journal that verifies, no claim without its effect, no effect without intent."""
    found = Judged()
    try:
        events = read_journal(world)
    except ValueError as error:
        found.wrong.append(f"journal: {error}")
        return found
    now = world.components()
    changed = {name for name in now if now[name] != reference.old.components[name]}
    _old_or_new(world, reference, now, found)
    steps = _steps(events)
    mine = [event for event in events if event["run"] == RUN]
    for name in sorted(changed):
        began = [one for one in steps if name in TOUCHES.get(one, ())]
        if not began:
            found.wrong.append(f"intent: {name} changed, but no step that touches it began")
    if changed & DESTRUCTIVE and not any(e["kind"] == "run.protected" for e in mine):
        found.wrong.append("protection: something stored changed before PROTECTED")
    for one, status in steps.items():
        for name in TOUCHES.get(one, ()) if status == "ended" else ():
            if now[name] != reference.new.components[name]:
                found.wrong.append(f"claim: step {one} ended, but {name} is not new")
    _service(world, steps, found)
    if any(event["kind"] == "run.mitigated" for event in mine):
        for name in now:
            if now[name] != reference.new.components[name]:
                found.wrong.append(f"claim: MITIGATED, but {name} is not new")
        if world.running() != reference.new.running:
            found.wrong.append("claim: MITIGATED, but the service is not as it should be")
    if any(event["kind"] == "gate.opened" for event in mine) and not any(
        event["kind"] == "suite.ended" and event["data"]["open"] for event in mine
    ):
        found.wrong.append("claim: COMPLETE without a suite that passed")
    return found


def after_end(world: World, reference: Reference) -> list[str]:
    """What differs from the end of an uninterrupted run; empty when nothing does."""
    wrong: list[str] = []
    try:
        events = read_journal(world)
    except ValueError as error:
        return [f"journal: {error}"]
    end = _state(events)
    if end != reference.end:
        last = [event for event in events if event["run"] == RUN][-1]
        why = str(last["data"].get("reason", ""))[:200]
        wrong.append(f"end: {end} instead of {reference.end}: {why}")
    world.settled(reference.new.starts)
    seen = Seen.of(world)
    for name, paths in seen.components.items():
        want = reference.new.components[name]
        for path in sorted({*paths, *want}):
            if paths.get(path) != want.get(path):
                short = Path(path).relative_to(world.root)
                wrong.append(f"end: {short} is {paths.get(path)}, not {want.get(path)}")
    wrong += [
        f"git: {key} is {seen.git[key]!r}, not {reference.new.git[key]!r}"
        for key in seen.git if seen.git[key] != reference.new.git[key]
    ]  # fmt: skip
    if seen.links != reference.new.links:
        wrong.append("end: the hard links are not as they were")
    if (seen.running, seen.starts) != (reference.new.running, reference.new.starts):
        wrong.append(
            f"service: running {seen.running} after {seen.starts} starts, not "
            f"{reference.new.running} after {reference.new.starts}"
        )
    wrong += _once(events)
    if reference.end == "COMPLETE":
        wrong += proved(world, events)
    leavings = set(world.leavings()) - set(reference.leavings)
    if leavings:
        wrong.append(f"left over: {', '.join(sorted(leavings)[:5])}")
    try:
        holder = processes.holder(str(world.lock))
        if holder is not None:
            with holder:
                pass
    except HostError as error:
        wrong.append(f"service: it can no longer be stopped: {error}")
    return wrong


def safety_count(world: World) -> int:
    """How many whole checkpoints of the present the run has made, by their own records."""
    found = 0
    for path in (world.state / "store").rglob("*"):
        if path.is_file() and f"safety-{RUN}".encode() in path.read_bytes():
            found += 1
    return found


def _once(events: list[dict[str, Any]]) -> Iterator[str]:
    """Each claim stands once; each holder of the lease has a higher epoch."""
    mine = [event for event in events if event["run"] == RUN]
    counts = Counter(
        (event["kind"], str(event["data"].get("index") or event["data"].get("name") or ""))
        for event in mine
        if event["kind"] in ("step.ended", "message.queued", "run.protected", "run.started",
                             "run.mitigated", "gate.opened", "gate.closed")
    )  # fmt: skip
    for (kind, what), count in counts.items():
        if count > 1:
            yield f"twice: {kind} {what} stands {count} times in the journal"
    epochs = [event["data"]["epoch"] for event in mine if event["kind"] == "lease.taken"]
    if epochs != sorted(set(epochs)):
        yield f"lease: epochs do not rise: {epochs}"


def proved(world: World, events: list[dict[str, Any]]) -> Iterator[str]:
    """COMPLETE rests on a suite that passed, and the report of it stands, in both of its forms."""
    mine = [event for event in events if event["run"] == RUN]
    opened = [event["seq"] for event in mine if event["kind"] == "gate.opened"]
    if not opened:
        yield "proof: the gate never opened"
    if not any(
        e["kind"] == "suite.ended" and e["data"]["open"] and e["seq"] < min(opened, default=0)
        for e in mine
    ):
        yield "proof: no suite passed before the gate opened"
    folder = world.state / "runs" / RUN
    try:
        told = json.loads((folder / "report.json").read_bytes())
        if (told["run_id"], told["state"]) != (RUN, "COMPLETE"):
            yield f"report: it tells of {told['run_id']} as {told['state']}"
        if RUN not in (folder / "report.md").read_text():
            yield "report: the page does not name the run"
    except (OSError, ValueError, KeyError) as error:
        yield f"report: {error!r}"


def _old_or_new(
    world: World, reference: Reference, now: dict[str, dict[str, str]], found: Judged
) -> None:
    intent = any(world.state.glob("intents/*")) or any(
        name.startswith(".git/") or "/.git/" in name for name in world.leavings()
    )
    # a recovery that was killed may just have cleared the old stage: the journal still says it
    unfinished = {one for one, said in _steps(read_journal(world)).items() if said != "ended"}
    for name, paths in now.items():
        old, new = reference.old.components[name], reference.new.components[name]
        if paths in (old, new):
            continue
        found.mixed.append(name)
        for path in sorted({*paths, *old, *new}):
            if paths.get(path) not in (old.get(path), new.get(path)):
                short = Path(path).relative_to(world.root)
                found.wrong.append(f"neither old nor new: {short} is {paths.get(path)}")
        if not intent and not any(name in TOUCHES.get(one, ()) for one in unfinished):
            found.wrong.append(f"{name} is between old and new, and no intent says so")


def _service(world: World, steps: dict[str, str], found: Judged) -> None:
    running = world.running()
    if steps.get("stop") == "ended" and "start" not in steps and running:
        found.wrong.append("claim: step stop ended, but the service runs")
    if steps.get("start") == "ended" and not running:
        found.wrong.append("claim: step start ended, but the service does not run")
    if not running and "stop" not in steps:
        found.wrong.append("intent: the service does not run, but no step stopped it")


def _steps(events: list[dict[str, Any]]) -> dict[str, str]:
    """The last thing said of each step, by its id."""
    return {
        str(event["data"]["id"]): event["kind"].removeprefix("step.")
        for event in events if event["run"] == RUN and event["kind"].startswith("step.")
    }  # fmt: skip


def _state(events: list[dict[str, Any]]) -> str:
    """How far the run came, from its events alone."""
    words = {
        "run.authorized": "AUTHORIZED", "run.protected": "PROTECTED", "run.started": "RUNNING",
        "run.mitigated": "MITIGATED", "gate.opened": "COMPLETE", "gate.closed": "gate closed",
        "run.needs-operator": "NEEDS_OPERATOR", "run.undoing": "UNDOING", "run.undone": "UNDONE",
        "run.waiting": "WAITING",
    }  # fmt: skip
    said = [words[e["kind"]] for e in events if e["run"] == RUN and e["kind"] in words]
    return said[-1] if said else "nothing"


def read_journal(world: World) -> list[dict[str, Any]]:
    """The events, the chain checked by other code than the writer's. Raises: ValueError.

    A last line without its newline is the torn end of a killed writer and counts for nothing.
    """
    raw = (world.state / "journal" / "events.jsonl").read_bytes()
    lines = raw.split(b"\n")[:-1]
    events: list[dict[str, Any]] = []
    previous, torn = "", b""
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
            stated = event.pop("hash")
        except (ValueError, KeyError, AttributeError, TypeError):
            if torn:
                raise ValueError(f"line {number} is no event") from None
            torn = line
            continue
        body = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest() != stated:
            raise ValueError(f"line {number} does not match its hash")
        if event["seq"] != len(events) + 1 or (previous and event["previous"] != previous):
            raise ValueError(f"line {number} breaks the chain")
        if torn:
            sealed = hashlib.sha256(torn).hexdigest()
            if event["kind"] != "journal.sealed" or event["data"].get("sha256") != sealed:
                raise ValueError(f"line {number - 1} is no event, and nothing seals it")
            torn = b""
        previous = stated
        events.append(event)
    if torn and raw.endswith(b"\n"):
        # newline written, seal not yet: the next append says so
        pass
    _anchored(world, events, previous)
    return events


def _anchored(world: World, events: list[dict[str, Any]], head: str) -> None:
    anchor = world.folder / "anchor" / "sweep.jsonl"
    if not anchor.is_file():
        return
    heads = {event["seq"]: None for event in events}
    for line in anchor.read_bytes().split(b"\n")[:-1]:
        try:
            count = int(json.loads(line)["count"])
        except (ValueError, KeyError):
            continue
        if count and count not in heads:
            raise ValueError(f"the anchor knows {count} events, the journal {len(events)}")


def links(folder: Path) -> frozenset[frozenset[str]]:
    """The groups of names that are one file."""
    groups: dict[tuple[int, int], set[str]] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if status.st_nlink > 1 and path.is_file() and not path.is_symlink():
            groups.setdefault((status.st_dev, status.st_ino), set()).add(str(path))
    return frozenset(frozenset(group) for group in groups.values() if len(group) > 1)


def end_of(world: World) -> str:
    """How far the run has come."""
    return _state(read_journal(world))


def why(world: World) -> str:
    """What the last event of the run gives as its reason."""
    mine = [event for event in read_journal(world) if event["run"] == RUN]
    return str(mine[-1]["data"].get("reason", "")) if mine else ""
