"""Names that must lead to something declared; one table says which.

Hides: nothing; the table is the rule.
Never: complains about a name when the section it points to could not be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollback.declare import walk
from rollback.declare.text import Document, Path
from rollback.model.errors import Problem
from rollback.model.registry import nearest
from rollback.model.system import HOME

# where a name stands, where it must be declared, and words that need no declaration
TABLE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("components.*.depends_on", "components", ()),
    ("components.*.host", "hosts", ()),
    ("components.*.owner", "people.roles", ()),
    ("services.*.depends_on", "services", ()),
    ("services.*.components", "components", ()),
    ("services.*.host", "hosts", ()),
    ("metrics.*.source.process.service", "services", ()),
    ("metrics.*.source.integrity.component", "components", ()),
    ("people.owner", "people.roles", ()),
    ("people.roles.*.reports_to", "people.roles", ()),
    ("people.members.*.roles", "people.roles", ()),
    ("triggers.*.authority.roles", "people.roles", ()),
    ("triggers.*.inform", "people.roles", ()),
    ("triggers.*.component", "components", ()),
    ("triggers.*.severity", "severity", ()),
    ("triggers.*.environment", "environments", ()),
    ("decision.breakers.*.roll_back", "levels", ()),
    ("decision.breakers.*.inform", "people.roles", ()),
    ("decision.scores.*.level", "levels", ()),
    ("decision.tree.*.severity", "severity", ()),
    ("decision.tiers.*.authority", "people.roles", ()),
    ("decision.points.*.asks", "people.roles", ()),
    ("decision.points.*.options.*.record", "records", ()),
    ("guardrails.staging_first", "environments", ()),
    ("guardrails.conditions.*.metric", "metrics", ()),
    ("guardrails.escalate", "notify.ladders", ()),
    ("levels.*.component", "components", ("required",)),
    ("levels.*.severity", "severity", ()),
    ("levels.*.authority.roles", "people.roles", ()),
    ("levels.*.authority.also_inform", "people.roles", ()),
    ("levels.*.authority.standing.triggers", "triggers", ()),
    ("people.break_glass.roles", "people.roles", ()),
    ("people.break_glass.review", "people.roles", ()),
    ("levels.*.authority.ladder", "notify.ladders", ()),
    ("procedures.*.authority.ladder", "notify.ladders", ()),
    ("levels.*.on_fail.climb", "levels", ()),
    ("levels.*.follow_ups", "follow_ups.tasks", ()),
    ("levels.*.on_fail.escalate", "notify.ladders", ()),
    ("procedures.*.on_fail.escalate", "notify.ladders", ()),
    ("levels.*.on_fail.tasks", "follow_ups.tasks", ()),
    ("levels.*.reports", "reports", ()),
    ("procedures.*.authority.roles", "people.roles", ()),
    ("procedures.*.authority.standing.triggers", "triggers", ()),
    ("procedures.*.on_fail.climb", "levels", ()),
    ("procedures.*.on_fail.tasks", "follow_ups.tasks", ()),
    ("procedures.*.follow_ups", "follow_ups.tasks", ()),
    ("procedures.*.reports", "reports", ()),
    ("checkpoints.kinds.*.components", "components", ("all",)),
    ("checkpoints.kinds.*.drain", "services", ()),
    ("checkpoints.kinds.*.stores", "checkpoints.stores", ()),
    ("checkpoints.kinds.*.export.place", "places", ()),
    ("decision.assessment", "records", ()),
    ("decision.filters.*.overridden_by", "people.roles", ()),
    ("verification.known_red.*.owner", "people.roles", ()),
    ("verification.divergence.*.between", "components", ()),
    ("verification.retired.*.by", "people.roles", ()),
    ("notify.audiences.*", "notify.channels", ()),
    ("notify.messages.*.audience", "notify.audiences", ()),
    ("notify.ladders.*.rungs.*.role", "people.roles", ()),
    ("notify.ladders.*.rungs.*.audience", "notify.audiences", ()),
    ("notify.ladders.*.self_authorize", "people.roles", ()),
    ("notify.ladders.*.message", "notify.messages", ()),
    ("notify.channels.*.*.fallback", "notify.channels", ()),
    ("notify.channels.*.*.role", "people.roles", ()),
    ("drills.*.level", "levels", ()),
    ("drills.*.procedure", "procedures", ()),
    ("drills.*.audience", "notify.audiences", ()),
    ("records.*.by", "people.roles", ()),
    ("records.*.fields.*.by", "people.roles", ()),
    ("reports.*.by", "people.roles", ()),
    ("reports.*.signatures", "people.roles", ()),
    ("reports.*.place", "places", ()),
    ("reports.*.audience", "notify.audiences", ()),
    ("reports.*.record", "records", ()),
    ("severity.*.level", "levels", ()),
    ("severity.*.procedure", "procedures", ()),
    ("memory.place", "places", ()),
    ("memory.systemic_task", "follow_ups.tasks", ()),
    ("follow_ups.tasks.*.owner", "people.roles", ()),
    ("follow_ups.tasks.*.priority", "follow_ups.priorities", ()),
    ("follow_ups.tasks.*.record", "records", ()),
    ("redeploy.authority", "people.roles", ()),
    ("redeploy.requires.*.approve", "people.roles", ()),
    ("redeploy.requires.*.record", "records", ()),
    ("redeploy.requires.*.task", "follow_ups.tasks", ()),
    ("redeploy.requires.*.message", "notify.messages", ()),
    ("redeploy.requires.*.levels", "levels", ()),
    ("redeploy.requires.*.drill", "drills", ()),
    ("redeploy.stages.*.environment", "environments", ()),
    ("redeploy.stages.*.audience", "notify.audiences", ()),
    ("patterns.*.severity", "severity", ()),
    ("patterns.*.procedure", "procedures", ()),
    ("patterns.*.level", "levels", ()),
    ("prevention.*.owner", "people.roles", ()),
    ("prevention.*.procedure", "procedures", ()),
    ("prevention.*.drill", "drills", ()),
    ("prevention.*.checkpoint", "checkpoints.kinds", ()),
)  # fmt: skip

# parameters of actions and checks, by their name, whatever the kind
ACTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "component": ("components", ("chosen", "all")),
    "components": ("components", ("chosen", "all")),
    "flag": ("flags", ()), "message": ("notify.messages", ()),
    "audience": ("notify.audiences", ()), "environment": ("environments", (HOME,)),
    "metric": ("metrics", ()), "metrics": ("metrics", ()), "record": ("records", ()),
    "ladder": ("notify.ladders", ()), "place": ("places", ()), "report": ("reports", ()),
    "task": ("follow_ups.tasks", ()), "point": ("decision.points", ()),
    "procedure": ("procedures", ()),
}  # fmt: skip
SERVICE_VERBS = ("stop", "start", "restart", "reload", "drain")
SERVICE_WORDS = ("dependents",)
CHECKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "service": ("services", ()), "services": ("services", ()), "flag": ("flags", ()),
    "metric": ("metrics", ()), "append_only": ("components", ()), "levels": ("levels", ()),
    "environment": ("environments", (HOME,)), "component": ("components", ()), "place": ("places", ()),
    "hosts": ("hosts", ()),
}  # fmt: skip
SINGULAR = {
    "people.roles": "role", "notify.channels": "channel", "notify.audiences": "audience",
    "notify.messages": "message", "notify.ladders": "ladder", "checkpoints.stores": "store",
    "decision.points": "decision point", "follow_ups.tasks": "task", "severity": "severity",
    "follow_ups.priorities": "priority",
}  # fmt: skip


def check(document: Document, data: dict[str, Any]) -> None:
    """Every name that leads nowhere is among the document's problems."""
    for pattern, section, words in TABLE:
        if section == "triggers":  # a word of severity is one, by its name
            words = (*words, *(walk.names(data, "severity") or ()))
        for path, value in walk.find(data, pattern):
            lookup(document, data, path, value, section, words)
    responses(document, data)
    _actions(document, data)
    _checks(document, data)
    _conditions(document, data)
    _evidence(document, data)
    for path, names in walk.find(data, "components.*.usable"):
        _known_checks(document, data, path, names)


def lookup(
    document: Document, data: Any, path: Path, value: Any, section: str, words: tuple[str, ...] = ()
) -> None:
    """A name that is not declared in its section is a problem."""
    known = walk.names(data, section)
    if known is None:
        return
    for place, name in walk.texts(path, value):
        if name not in known and name not in words and "{" not in name:
            unknown(document, place, SINGULAR.get(section, section.rstrip("s")), name,
                    [*known, *words], section)  # fmt: skip


def unknown(
    document: Document, path: Path, what: str, name: str, known: list[str], section: str
) -> None:
    """The problem that there is no such thing."""
    where = ".".join(str(part) for part in path)
    hint = nearest(name, known)
    if not hint:
        head, *inner = section.split(".")
        opened = "".join(f"{{{part}: " for part in inner)
        hint = f"declare it: {head}: {opened}{{{name}: …}}" + "}" * len(inner)
    document.problems.append(
        Problem(document.where(path), f"{where}: there is no {what} {name!r}", hint)
    )


def responses(document: Document, data: Any) -> None:
    """Responses of trees, tiers, options and watches lead somewhere too."""
    sections = {"roll_back": "levels", "procedure": "procedures", "decide": "decision.points",
                "escalate": "notify.ladders", "task": "follow_ups.tasks"}  # fmt: skip
    roots: list[Path] = [("decision",)]
    roots += [path for path, _ in walk.find(data, "triggers.*.respond")]
    for root in roots:
        for path, value in walk.leaves(walk.at(data, root), root):
            if path and path[-1] in sections and "breakers" not in path:
                lookup(document, data, path, value, sections[str(path[-1])])


def _actions(document: Document, data: Any) -> None:
    for owner, step in walk.steps(data):
        for place, leaf in walk.leaves(step.parameters.get("expect"), (*step.path, "expect")):
            if place[-1] in ("metric", "event"):
                lookup(document, data, place, leaf, f"{place[-1]}s")
        for key, (section, words) in ACTIONS.items():
            if key in step.parameters and not (key == "message" and step.kind != "notify"):
                value = step.parameters[key]
                lookup(document, data, (*step.path, key), value, section, words)
        if step.kind == "requeue":
            for key in ("from", "to"):
                lookup(document, data, (*step.path, key), step.parameters.get(key), "components")
        if step.kind == "service":
            for verb in SERVICE_VERBS:
                value = step.parameters.get(verb)
                lookup(document, data, (*step.path, verb), value, "services", SERVICE_WORDS)
        if step.kind in ("verify", "watch"):
            _known_checks(document, data, (*step.path, "checks"), step.parameters.get("checks"))
        for key, section in (("phase", "phases"), ("variant", "variants")):
            if key in step.parameters:
                place = (*step.path, key)
                lookup(document, walk.at(data, owner), place, step.parameters[key], section)


def _checks(document: Document, data: Any) -> None:
    for found in walk.asked(data):
        if found.kind == "metric":
            name = found.parameters.get("name")
            lookup(document, data, (*found.path, "name"), name, "metrics")
        for key, (section, words) in CHECKS.items():
            if key in found.parameters and not (key == "service" and found.planned):
                place = (*found.path, key)
                lookup(document, data, place, found.parameters[key], section, words)


CONDITIONS = (
    "triggers.*.when", "decision.tree.*.when", "decision.scores.*.when",
    "decision.tiers.*.when", "decision.points.*.when", "decision.breakers.*.all",
    "decision.breakers.*.unless", "decision.filters.*.when", "monitor.stability.limits",
    "redeploy.stages.*.limits", "follow_ups.tasks.*.when", "severity.*.when",
    "reports.*.when", "prevention.*.when",
)  # fmt: skip


def _conditions(document: Document, data: Any) -> None:
    for pattern in CONDITIONS:
        for path, value in walk.find(data, pattern):
            for place, leaf in walk.leaves(value, path):
                if place[-1] == "metric":
                    lookup(document, data, place, leaf, "metrics")
                elif place[-1] == "event":
                    lookup(document, data, place, leaf, "events")


def check_ids(data: Any) -> list[str]:
    """The ids of all checks of verification."""
    return [
        found.parameters["id"]
        for _, found in walk.checks(data)
        if isinstance(found.parameters.get("id"), str)
    ]


def _known_checks(document: Document, data: Any, path: Path, value: Any) -> None:
    known = check_ids(data)
    for place, name in walk.texts(path, value):
        if name not in known:
            unknown(document, place, "check", name, known, "verification")


def _evidence(document: Document, data: Any) -> None:
    """What gates and checklists rest on."""
    for pattern in ("levels.*", "procedures.*"):
        for owner, level in walk.find(data, pattern):
            if not isinstance(level, dict):
                continue
            _proves(document, owner, level)
            expect = walk.at(level, ("gate", "expect"))
            for name in expect if isinstance(expect, dict) else ():
                _known_checks(document, data, (*owner, "gate", "expect", name), name)
            _known_checks(document, data, (*owner, "gate", "checks"),
                          walk.at(level, ("gate", "checks")))  # fmt: skip
            for path, line in walk.find(level, "checklist.*"):
                _line(document, data, (*owner, *path), line, owner)
            for path, line in walk.find(level, "prerequisites.*"):
                _line(document, data, (*owner, *path), line, owner)
    for pattern in (
        "prevention.*.check",
        "verification.known_red.*.id",
        "redeploy.requires.*.check",
    ):
        for path, name in walk.find(data, pattern):
            _known_checks(document, data, path, name)


def _proves(document: Document, owner: Path, level: dict[str, Any]) -> None:
    """A gate that asks nothing would open on nothing."""
    gate = level.get("gate")
    if not isinstance(gate, dict):
        return
    expect = gate.get("expect")
    wanted = [one for one in expect.values() if one != "absent"] if isinstance(expect, dict) else []
    if not gate.get("suites") and not gate.get("checks") and not wanted:
        document.problems.append(Problem(
            document.where((*owner, "gate")),
            f"{owner[0]}.{owner[1]}.gate: a gate that asks no suite and no check proves nothing",
            "name what it asks: gate: {suites: [smoke]}; or leave it out: then the run ends MITIGATED",
        ))  # fmt: skip


def _line(document: Document, data: Any, path: Path, line: Any, owner: Path) -> None:
    if not isinstance(line, dict):
        return
    for key, section in (("message", "notify.messages"), ("attest", "people.roles"),
                         ("follow_up", "follow_ups.tasks"), ("record", "records")):  # fmt: skip
        lookup(document, data, (*path, key), line.get(key), section)
    _known_checks(document, data, (*path, "check"), line.get("check"))
    step = line.get("step")
    known = list(step_ids(data, owner))
    if isinstance(step, str) and step not in known:
        unknown(document, (*path, "step"), "step", step, known, "steps")


def step_ids(data: Any, owner: Path) -> Iterator[str]:
    """The ids of the steps of one level or procedure."""
    for whose, step in walk.steps(data):
        if whose == owner:
            name = step.parameters.get("id")
            if isinstance(name, str):
                yield name
