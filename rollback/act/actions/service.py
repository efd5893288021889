"""Step `service`: services start, stop, restart, reload or drain, in the order of what they need.

Hides: who manages a service.
Never: signals a process whose identity was not established.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from rollback.act import service as services
from rollback.act.moment import mark, marked, unmark
from rollback.act.patch import tree_of
from rollback.model import dependencies
from rollback.model.component import RelativePath
from rollback.model.errors import HostError, PlanError
from rollback.model.event import canonical
from rollback.model.finding import Answer, Finding, Json, failed, passed, unknown
from rollback.model.quantity import spoken
from rollback.model.registry import Kind, Planned, register
from rollback.model.step import Alters, Id, Step
from rollback.observe.check import ask, wait_for

if TYPE_CHECKING:
    from rollback.act.scene import Scene
    from rollback.observe.view import View

_DRAINED = "drained"
Names = tuple[Id, ...] | Literal["dependents"]
VERBS = ("start", "stop", "restart", "reload", "drain")


@register("action", "service")
class ServiceStep(Step):
    """One verb and the services it is about; `dependents` are those that use the chosen component.

    `touch` gives files a new time, for programs that watch them.
    """

    alters: ClassVar[Alters] = "running"
    start: Names | None = None
    stop: Names | None = None
    restart: Names | None = None
    reload: Names | None = None
    drain: Names | None = None
    touch: tuple[RelativePath, ...] | None = None

    @model_validator(mode="after")
    def _one(self) -> ServiceStep:
        given = [verb for verb in (*VERBS, "touch") if getattr(self, verb) is not None]
        if len(given) != 1:
            raise ValueError("write one of: start, stop, restart, reload, drain, touch")
        return self

    @property
    def verb(self) -> str:
        """What is done."""
        return next(verb for verb in (*VERBS, "touch") if getattr(self, verb) is not None)

    @property
    def again(self) -> bool:
        """Who was made to read new files reads the old ones when they are back."""
        return self.verb in ("restart", "reload")

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The names, in the order in which they are worked on."""
        if self.touch is not None:
            return {"names": list(self.touch)}
        wanted: Names = getattr(self, self.verb)
        if wanted == "dependents":
            if not scene.component:
                raise PlanError("dependents of what? no component is chosen",
                                hint="name the services in the declaration, or call it from a level "
                                     "that works on a component")  # fmt: skip
            names = dependencies.dependents(scene.system, scene.component)
        else:
            for name in wanted:
                services.kind_of(services.declared(scene.system, name))
            names = dependencies.ordered(scene.system, wanted)
        if self.verb in ("stop", "drain"):
            names = tuple(reversed(names))
        for name in names:
            self._possible(scene, name)
        return {"names": list(names), "identities": self._identities(scene, names)}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """The services in order."""
        names = ", ".join(_names(scene)) or "nothing: no service uses the component"
        lines = [f"{self.verb} {names}"]
        if self.verb == "drain":
            lines += [f"! {_stays_drained(name)}" for name in _names(scene)
                      if not _resumes(scene.view(), name)]  # fmt: skip
        for name in _names(scene) if self.verb in ("start", "restart") else ():
            ways = [way.id for way in services.declared(scene.system, name).start]
            lines += [f"{name} by {', else '.join(ways)}"] if ways else []
        return tuple(lines)

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """Nothing that is stored."""
        return ()

    def apply(self, scene: Scene) -> dict[str, Json]:
        """Every service is as the verb says, and was asked."""
        unmark(scene)
        self._remember(scene)
        clock = scene.host.clock
        end = clock.boot_s() + self.within
        told: dict[str, Json] = {}
        for name, do in self._works(scene):
            left_s = end - clock.boot_s()
            if left_s <= 0:
                raise HostError(f"no time is left to {self.verb} {name}", where=name,
                                hint=f"{spoken(self.within)} were allowed")  # fmt: skip
            told[name] = do(scene.view(), name, left_s)
        mark(scene)
        return told

    def probe(self, scene: Scene) -> Finding:
        """Is every service as the verb leaves it? Asked of its manager, not of memory."""
        if self.verb in ("reload", "restart", "touch"):
            if not marked(scene):
                return failed(
                    f"the {self.verb} did not come to its end; doing it again does no harm"
                )
            if self.verb == "touch":
                return passed(f"{', '.join(_names(scene))}: touched")
        findings = [self._state(scene, name) for name in _names(scene)]
        for answer in (Answer.FAIL, Answer.UNKNOWN):
            for finding in findings:
                if finding.answer is answer:
                    return finding
        return passed("; ".join(f.evidence for f in findings) or "there is no service to ask")

    def undo(self, scene: Scene) -> None:
        """What was started is stopped, what was stopped started, and what was drained works on.

        What was restarted or reloaded is so again, if it runs. A service that declares no way to resume
        stays drained, and that is noted.
        """
        view = scene.view()
        for name in _names(scene) if self.again else ():
            if services.running(view, name):
                (_reload if self.verb == "reload" else _restart)(view, name, self.within)
        ran = self._ran(scene)
        for name in reversed(_names(scene)):
            if self.verb == "start" and not ran.get(name):
                services.stop(view, name, within_s=self.within)
            elif self.verb == "stop" and ran.get(name):
                services.start(view, name, within_s=self.within)
        if self.verb == "drain" and marked(scene, _DRAINED):
            self._resume(scene)

    def undone(self, scene: Scene) -> Finding:
        """Does everything run that ran when the plan was made, and work that was drained?"""
        if self.verb == "drain" and marked(scene, _DRAINED):
            return failed(f"{', '.join(_names(scene))} drained, and not resumed since")
        if self.verb not in ("start", "stop"):
            return passed(f"{self.verb}: what it made them read is taken back by the other steps")
        ran = _answers(scene.bound.get("identities"))
        changed = [name for name in _names(scene) if ran.get(name) == (self.verb == "stop")]
        try:
            unlike = [one for one in changed if bool(services.ours(scene.view(), one)) != ran[one]]
        except HostError as error:
            return unknown(str(error))
        if unlike:
            return failed(f"{', '.join(unlike)} {'not ' if ran[unlike[0]] else ''}running, "
                          "unlike before the run")  # fmt: skip
        return passed(f"{', '.join(_names(scene)) or 'nothing'} as before the run")

    # -- inside ----------------------------------------------------------------------------

    def _works(self, scene: Scene) -> list[tuple[str, Callable[[View, str, float], str]]]:
        names = _names(scene)
        if self.verb == "touch":
            return [(path, lambda _v, p, _s: self._touched(scene, p)) for path in names]
        if self.verb == "restart":
            stops = [(name, _stop) for name in reversed(names)]
            # a name would stand twice among the evidence: what was started tells the rest
            return [*stops, *[(name, _start) for name in names]]
        does = {"start": _start, "stop": _stop, "reload": _reload, "drain": _drain}[self.verb]
        return [(name, does) for name in names]

    def _remember(self, scene: Scene) -> None:
        """What is true just before the step is known to its undo: written once, before any effect."""
        if self.verb == "drain":
            mark(scene, _DRAINED)
        if self.verb not in ("start", "stop") or scene.state.tree.stat(_file(scene)) is not None:
            return
        scene.state.tree.make_folder(f"runs/{scene.run}", parents=True)
        found = self._identities(scene, tuple(_names(scene)))
        scene.state.tree.write(_file(scene), canonical(found))

    def _ran(self, scene: Scene) -> dict[str, bool]:
        """Which of them ran just before the step; when it was planned, where that was not written."""
        if scene.state.tree.stat(_file(scene)) is None:
            return _answers(scene.bound.get("identities"))
        return _answers(json.loads(scene.state.tree.read(_file(scene))))

    def _resume(self, scene: Scene) -> None:
        """What was drained works on. Raises: HostError when it does not."""
        from rollback.act import cut  # few runs take a drain back

        view, left = scene.view(), []
        for name in _names(scene):
            if not services.running(view, name):
                continue
            if _resumes(view, name):
                cut.work_on(view, name)
            else:
                left.append(name)
                said = _stays_drained(name)
                scene.note("run.noted", {"name": f"drained-{name}", "note": said})
        if not left:
            unmark(scene, _DRAINED)

    def _touched(self, scene: Scene, path: str) -> str:
        now = scene.host.clock.now()
        with tree_of(scene.system, scene.host) as tree:
            if tree.stat(path) is None:
                raise HostError("there is no such file to touch", where=tree.place(path))
            tree.dress(path, mtime_ns=int(now.timestamp() * 1e9))
        return f"{path} has the time {now:%H:%M:%S}"

    def _state(self, scene: Scene, name: str) -> Finding:
        view = scene.view()
        if self.verb == "drain":
            return _drained(view, name)
        try:
            runs = services.running(view, name)
        except HostError as error:
            if self.verb != "start" or not services.held(view, name):
                return unknown(f"{name}: {error}")
            finding = services.ready(view, name)  # who started it is not known; that it answers is
            return finding if finding.answer is Answer.PASS else unknown(f"{name}: {error}")
        if self.verb == "stop":
            return failed(f"{name} runs") if runs else passed(f"{name} does not run")
        if not runs:
            return failed(f"{name} does not run")
        finding = services.ready(view, name)
        return finding if finding.answer is Answer.PASS else failed(f"{name}: {finding.evidence}")

    def _possible(self, scene: Scene, name: str) -> None:
        service = services.declared(scene.system, name)
        if self.verb == "reload" and service.reload is None and service.manager == "registry":
            raise PlanError(f"service {name} declares no way to reload",
                            hint="declare reload: {signal: HUP}, or restart it")  # fmt: skip
        absent = services.missing(service) if self.verb in ("start", "restart") else ()
        if absent:
            raise PlanError(f"service {name} needs {', '.join(absent)} in its environment",
                            hint=services.to_give(name, absent[0]))  # fmt: skip
        if self.verb == "drain" and service.drain is None:
            raise PlanError(f"service {name} declares no drain check",
                            hint="declare drain: a check that is PASS when all work has ended")  # fmt: skip

    def _identities(self, scene: Scene, names: tuple[str, ...]) -> dict[str, Json]:
        """Which of them run by a way of ours now: what an undo brings back. Unknown counts as running.

        Who else has a port of one is found out when it is started or stopped.
        """
        found: dict[str, Json] = {}
        for name in names:
            try:
                found[name] = bool(services.ours(scene.view(), name))
            except HostError:
                found[name] = True
        return found


def _file(scene: Scene) -> str:
    return f"runs/{scene.run}/ran-{scene.step}.json"


def _answers(found: object) -> dict[str, bool]:
    return {str(name): bool(ran) for name, ran in found.items()} if isinstance(found, dict) else {}


def _resumes(view: View, name: str) -> bool:
    """True when the service declares how it works on after a drain."""
    check = services.declared(view.system, name).resume
    return isinstance(check, Kind) and not isinstance(check, Planned)


def _stays_drained(name: str) -> str:
    return f"{name} declares no resume: taken back, it stays drained until it is started again"


def _names(scene: Scene) -> list[str]:
    names = scene.bound["names"]
    assert isinstance(names, list)
    return [str(name) for name in names]


def _start(view: View, name: str, within_s: float) -> str:
    return services.start(view, name, within_s=within_s)


def _stop(view: View, name: str, within_s: float) -> str:
    return services.stop(view, name, within_s=within_s)


def _restart(view: View, name: str, within_s: float) -> str:
    _stop(view, name, within_s)
    return _start(view, name, within_s)


def _reload(view: View, name: str, within_s: float) -> str:
    return services.reload(view, name, within_s=within_s)


def _drain(view: View, name: str, within_s: float) -> str:
    if not services.running(view, name):
        return f"{name} does not run: nothing to drain"
    check = services.declared(view.system, name).drain
    assert isinstance(check, Kind)
    finding = wait_for(check, view, within_s=max(0.2, within_s - 0.3))
    if finding.answer is not Answer.PASS:
        raise HostError(f"{name} still has open work: {finding.evidence}", where=name,
                        hint="wait and resume, or stop it and lose that work")  # fmt: skip
    return finding.evidence


def _drained(view: View, name: str) -> Finding:
    check = services.declared(view.system, name).drain
    if not isinstance(check, Kind) or isinstance(check, Planned):
        return unknown(f"{name} declares no drain check that could be asked")
    try:
        if not services.running(view, name):
            return passed(f"{name} does not run: nothing to drain")
    except HostError as error:
        return unknown(f"{name}: {error}")
    return ask(check, view)
