"""The plan: the steps of one level bound to one declaration and one absolute target.

Nothing is left to decide in it, so its digest is what people approve and what a resume carries on
with. A dry run prints the same object.

Hides: how a level's steps, variants and alternatives become a list.
Never: changes anything.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rollback import VERSION
from rollback.act import built_in
from rollback.act.impact import measured
from rollback.act.scene import Action, Scene, Target
from rollback.act.site import Site
from rollback.act.target import Candidate, choose, fallbacks
from rollback.model.errors import PlanError, UsageError
from rollback.model.event import digest
from rollback.model.finding import Json
from rollback.model.level import Level, Procedure
from rollback.model.lifecycle import Run
from rollback.model.registry import Planned, nearest, read_item
from rollback.model.step import NOT_EXEMPT, NOT_EXEMPT_HINT, Step

FORMAT = 1


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One bound step. `index` is "3", an alternative's "3.1"; `says` are the lines of a dry run."""

    index: str
    id: str
    kind: str
    parameters: dict[str, Any]
    bound: dict[str, Json]
    says: tuple[str, ...]
    within_s: float
    exempt: bool
    touches: tuple[str, ...]
    environment: str
    otherwise: str = "stop"
    opens: tuple[str, ...] = ()
    alternatives: tuple[PlannedStep, ...] = ()
    ladder: bool = False

    def action(self) -> Action:
        """The step's kind with its parameters."""
        made = read_item("action", {self.kind: self.parameters})
        assert isinstance(made, Action), f"{self.kind} is no action"
        return made

    @property
    def first(self) -> bool:
        """True when it may be taken before PROTECTED; whatever an older plan says of itself."""
        action = self.action()
        return self.exempt and isinstance(action, Step) and action.harmless


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run does. `impact` states what is lost and who is concerned, as measured.

    `fallbacks` could be gone back to instead; none is ever taken by itself: that is another plan.
    """

    system: str
    system_digest: str
    policy: str
    host: str
    tool: str
    level: str
    title: str
    procedure: bool
    rank: int
    variant: str
    component: str
    environment: str
    target: Target
    stamp: dict[str, str]
    steps: tuple[PlannedStep, ...]
    gate: dict[str, Json]
    impact: dict[str, Json]
    requester: str
    reason: str
    emergency: bool = False
    undoes: str = ""
    fallbacks: tuple[Target, ...] = ()
    format: int = FORMAT
    candidates: tuple[Candidate, ...] = field(default=(), compare=False)

    def as_json(self) -> dict[str, Json]:
        """The body that is journalled and digested."""
        body = asdict(self)
        body.pop("candidates")
        body["fallbacks"] = [{**asdict(one), "to": one.to} for one in self.fallbacks]
        plain: dict[str, Json] = _plain(body)
        return plain

    def digest(self) -> str:
        """The plan's id."""
        return digest(self.as_json(), domain="rollback-plan-v1")

    def every_step(self) -> Iterator[PlannedStep]:
        """Steps and their alternatives, in order."""
        for step in self.steps:
            yield step
            yield from step.alternatives

    @property
    def touched(self) -> tuple[str, ...]:
        """The components whose content the steps change, in order, once each; elsewhere's not."""
        return self.touched_in(self.environment)

    def touched_in(self, environment: str) -> tuple[str, ...]:
        """The components of that environment whose content the steps change."""
        steps = [step for step in self.every_step() if step.environment == environment]
        return tuple(dict.fromkeys(name for step in steps for name in step.touches))

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """The other environments in which steps change content."""
        found = [s.environment for s in self.every_step() if s.touches]
        return tuple(dict.fromkeys(name for name in found if name != self.environment))

    @property
    def idle(self) -> bool:
        """True when the present is the target already: no step would change anything."""
        counts = [step.bound["changes"] for step in self.steps if "changes" in step.bound]
        return bool(counts) and not any(counts)


def read_plan(body: Mapping[str, Any]) -> Plan:
    """The plan of a journalled body. Raises: PlanError when another version wrote it."""
    if body.get("format") != FORMAT:
        raise PlanError(
            f"this run was planned by rollback {body.get('tool')}, in plan format {body.get('format')}",
            hint="finish it with that version",
        )
    data = dict(body)
    try:
        data["target"] = Target(**data["target"])
        data["fallbacks"] = tuple(_read_target(one) for one in data.get("fallbacks", ()))
        data["steps"] = tuple(_read_step(step) for step in data["steps"])
        return Plan(**data)
    except (TypeError, KeyError) as error:
        raise PlanError(
            f"this run was planned by rollback {body.get('tool')}, and its plan reads otherwise",
            hint="finish it with that version",
        ) from error


def make_plan(
    site: Site, name: str, *, run: str, requester: str, to: str = "", component: str = "",
    variant: str = "", environment: str = "production", reason: str = "",
    command: tuple[str, ...] = (), folder: str = "",
) -> Plan:  # fmt: skip
    """What a run of this level would do now; `command` is guarded by it. Changes nothing.

    Raises: PlanError when there is no such level, target or variant, or when the level holds a step
    of a kind that is not built yet; UsageError for an unknown component; Confined when a path
    leaves its root.
    """
    site = site.there(environment)
    key, level = find_level(site, name)
    component = _component(site, key, level, component)
    variant = _variant(key, level, variant)
    target, seen = choose(site, level, to, component, variant)
    scene = Scene(
        system=site.system, host=site.host, state=site.state, level=key, run=run, step="",
        target=target, stamp=_stamp(site, run), component=component, environment=environment,
        command=command, folder=folder, progress=site.progress,
    )  # fmt: skip
    steps = _steps(scene, level, variant)
    return _plan(
        site, scene, level, steps, requester=requester, reason=reason, variant=variant, seen=seen
    )


def backwards(steps: Iterable[PlannedStep]) -> list[PlannedStep]:
    """The order in which steps are taken back: from last to first, and at the end what is done again."""
    every = list(steps)
    again = [step for step in every if getattr(step.action(), "again", False)]
    return [*(step for step in reversed(every) if step not in again), *again]


def ad_hoc(
    site: Site, title: str, written: list[dict[str, Any]], *, run: str, requester: str, reason: str,
    target: Target, under: str, undoes: str = "", component: str = "",
) -> Plan:  # fmt: skip
    """A plan of these steps without a gate: it never ends COMPLETE.

    It asks the authority of the level or procedure `under`, and works in the environment of the site.
    """
    scene = Scene(
        system=site.system, host=site.host, state=site.state, level="", run=run, step="",
        target=target, stamp=_stamp(site, run), component=component,
        environment=site.system.environment_name, progress=site.progress,
    )  # fmt: skip
    steps = tuple(
        bind(scene, str(number), *_one(item)) for number, item in enumerate(written, start=1)
    )
    _, level = find_level(site, under)
    plan = _plan(site, scene, level, steps, requester=requester, reason=reason, variant="", seen=())
    body = {**{n: getattr(plan, n) for n in plan.__slots__}, "gate": {}, "title": title}
    return Plan(**{**body, "level": under, "undoes": undoes})


def find_level(site: Site, name: str) -> tuple[str, Level | Procedure]:
    """The level (by id or rank) or procedure (by id; a built-in one too). Raises: PlanError."""
    found = site.system.level(name)
    if found:
        return found
    if name in site.system.procedures:
        return name, site.system.procedures[name]
    ours = built_in.find(site.system, name)
    if ours:
        return name, ours
    if name in built_in.BY_HAND and not site.system.services:
        raise PlanError(f"no service is declared, so there is nothing to {name}",
                        hint="declare one under services: (rollback validate --schema)")  # fmt: skip
    known = (*site.system.levels, *site.system.procedures, *built_in.written(site.system))
    ranks = ", ".join(f"{level.rank} {key}" for key, level in site.system.levels.items())
    if name in site.system.components:
        alone = next(
            (k for k, one in site.system.levels.items() if one.component == "required"), ""
        )
        hint = f"rollback plan {alone} --component {name}" if alone else f"levels: {ranks}"
        raise PlanError(f"{name} is no level but a component", hint=hint)
    raise PlanError(f"there is no level {name}", hint=f"{nearest(name, known)} (levels: {ranks})")


def bind(scene: Scene, index: str, kind: str, parameters: dict[str, Any]) -> PlannedStep:
    """The step, and its alternatives, with everything decided, in the step's own environment.

    Raises: PlanError; Confined when what it would touch lies behind a link or another mount.
    """
    step = read_item("action", {kind: parameters})
    if isinstance(step, Planned):
        raise PlanError(
            f"step {index} is {step.planned_kind}, which is not built yet: {step.missing}",
            hint="choose another level, or do this step by hand and take it out of the declaration",
        )
    assert isinstance(step, Step)
    assert isinstance(step, Action), f"{kind} does not keep the contract of an action"
    if step.exempt and not step.harmless:
        raise PlanError(f"step {index} {kind} {NOT_EXEMPT}", hint=NOT_EXEMPT_HINT)
    scene = scene.at(step="", bound={}, environment=step.environment or scene.environment)
    where = scene.at(step=index, bound={})
    bound = step.bind(where)
    ready = scene.at(step=index, bound=bound)
    written = (
        (parameters.get("on_fail") or {}) if isinstance(parameters.get("on_fail"), dict) else {}
    )
    alternatives = tuple(
        bind(scene, f"{index}.{number}", *_one(item))
        for number, item in enumerate(written.get("then", ()), start=1)
    )
    touches = step.touches(ready)
    _not_frozen(ready, touches)
    return PlannedStep(
        index=index, id=step.id or f"{kind}-{index}", kind=kind, parameters=parameters, bound=bound,
        says=step.describe(ready), within_s=step.within,
        exempt=step.harmless if step.exempt is None else step.exempt,
        touches=touches, environment=scene.environment,
        otherwise=step.on_fail.otherwise, opens=step.on_fail.opens, alternatives=alternatives,
        ladder=step.on_fail.ladder,
    )  # fmt: skip


def _not_frozen(scene: Scene, components: tuple[str, ...]) -> None:
    """No other run has frozen what this step changes. Raises: Refused."""
    if components and scene.state.tree.stat("frozen") is not None:
        from rollback.keep import frozen  # only where something is

        frozen.refuse(scene.state.tree, components, scene.run)


def _one(item: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    ((kind, parameters),) = item.items()
    return kind, parameters or {}


def _steps(scene: Scene, level: Level | Procedure, variant: str) -> tuple[PlannedStep, ...]:
    section = "procedures" if isinstance(level, Procedure) else "levels"
    chosen = []
    for position, declared in enumerate(level.steps):
        only = getattr(declared, "variant", None)
        if only is None or only == variant:
            # what is written there, with the variables of the step's own environment
            named = getattr(declared, "environment", None) or scene.environment
            there = scene.system.in_environment(named)
            source = {**built_in.written(there), **there.source.get(section, {})}
            chosen.append(source[scene.level]["steps"][position])
    bound = [bind(scene, str(n), *_one(item)) for n, item in enumerate(chosen, start=1)]
    return tuple(_after(scene, bound[:at], step) for at, step in enumerate(bound))


def _after(scene: Scene, earlier: list[PlannedStep], step: PlannedStep) -> PlannedStep:
    """The step, saying which step before it changes what it works on: it was bound to what is there now."""
    at = _works_at(scene, step)
    notes = [f"! step {one.index} changes {at} before: what this step does is said as it is now"
             for one in earlier if at and one.environment == step.environment
             and _changes_at(one, at)]  # fmt: skip
    return replace(step, says=(*step.says, *notes)) if notes else step


def _works_at(scene: Scene, step: PlannedStep) -> str:
    """The file that the step edits, or the path of the component that it puts back; else empty."""
    patch = step.bound.get("patch")
    if isinstance(patch, dict):
        return str(patch["path"])
    component = scene.system.components.get(str(step.bound.get("component")))
    return component.path if component is not None and step.kind == "restore" else ""


def _changes_at(step: PlannedStep, at: str) -> bool:
    lines = step.bound.get("lines")
    said = [str(line)[2:] for line in lines] if isinstance(lines, list) else []
    inside = ("",) if at == "." else (f"{at}/", f"{at}  (")
    return any(line == at or line.startswith(inside) for line in said)


def _plan(
    site: Site, scene: Scene, level: Level | Procedure, steps: tuple[PlannedStep, ...], *,
    requester: str, reason: str, variant: str, seen: tuple[Candidate, ...],
) -> Plan:  # fmt: skip
    gate = level.gate
    return Plan(
        system=site.system.system.id, system_digest=site.system.digest,
        policy=site.system.authority_digest, host=platform.node(), tool=version(),
        level=scene.level, title=level.title, procedure=isinstance(level, Procedure),
        rank=getattr(level, "rank", -1), variant=variant, component=scene.component,
        environment=scene.environment, target=scene.target, stamp=dict(scene.stamp), steps=steps,
        gate=_plain(gate.model_dump(mode="json")) if gate else {},
        impact=measured(scene, level, steps), requester=requester, reason=reason,
        emergency=level.emergency, candidates=seen, fallbacks=fallbacks(scene.target, seen),
    )  # fmt: skip


def _component(site: Site, key: str, level: Level | Procedure, given: str) -> str:
    wanted = getattr(level, "component", None)
    if given and given not in site.system.components:
        raise UsageError(
            f"there is no component {given}", hint=nearest(given, tuple(site.system.components))
        )
    if wanted == "required" and not given:
        known = ", ".join(site.system.components)
        raise PlanError(f"level {key} works on one component", hint=f"add --component ({known})")
    if wanted is None and given:
        raise PlanError(
            f"level {key} does not work on a single component",
            hint="leave --component out, or choose the level for one component",
        )
    return given or ("" if wanted in (None, "required") else str(wanted))


def _variant(key: str, level: Level | Procedure, given: str) -> str:
    if given and given not in level.variants:
        raise PlanError(
            f"level {key} has no variant {given}", hint=nearest(given, tuple(level.variants))
        )
    return given or level.variant or ""


def _stamp(site: Site, run: str) -> dict[str, str]:
    now = site.host.clock.now()
    return {
        "date": f"{now:%Y%m%d}", "time": f"{now:%H%M%S}", "run": run,
        "epoch": str(int(now.timestamp())),
    }  # fmt: skip


def version() -> str:
    """The version of this tool."""
    return VERSION


def plan_of(run: Run) -> Plan:
    """The plan of a journalled run."""
    return read_plan(run.plan)


def _read_target(body: Mapping[str, Any]) -> Target:
    return Target(**{name: value for name, value in body.items() if name != "to"})


def _read_step(body: Mapping[str, Any]) -> PlannedStep:
    data = dict(body)
    for name in ("says", "touches", "opens"):
        data[name] = tuple(data[name])
    data["alternatives"] = tuple(_read_step(step) for step in data["alternatives"])
    return PlannedStep(**data)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
