"""What a step sees while it works: the machine, the target, what was bound at planning.

Hides: nothing.
Never: changes during a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rollback.act import eyes
from rollback.host import Host
from rollback.keep.progress import SILENT, Progress
from rollback.keep.state import StateDir
from rollback.model.finding import Finding, Json
from rollback.model.step import Alters
from rollback.model.system import System

if TYPE_CHECKING:
    from rollback.judge.filling import Filled
    from rollback.keep.checkpoint import Checkpoints
    from rollback.keep.git import Repository
    from rollback.observe.view import View

Note = Callable[[str, dict[str, Json]], None]


@dataclass(frozen=True)
class Target:
    """Where a run goes back to, absolutely: a checkpoint, a commit, an archive; never a name.

    `source` is `checkpoint`, `git`, `archive` or "" (a level that needs no target). `id` of an
    archive is `DIGEST:PATH`. `label` is for people.
    """

    source: str = ""
    id: str = ""
    label: str = ""
    at: str = ""

    @property
    def to(self) -> str:
        """What names it after `--to`."""
        if self.source == "archive":
            return f"archive:{self.id.partition(':')[2]}"
        return f"{self.source}:{self.id[:12] if self.source == 'checkpoint' else self.id}"


@dataclass(frozen=True)
class Scene:
    """One step's surroundings; `system` is that of `environment`, and no other is in sight.

    `bound` is what the step's `bind` returned when the plan was made. `stamp` holds date, time and
    run, stamped once per run, for names like `rollback-{date}-{run}`. `component` is the one that
    was chosen where the level works on one. `note` appends an event about this run; `heard` is what
    a person last said about an item, `record` what is known of one, `since` when a run last changed
    something. `safety` is the checkpoint of the present, made before anything destructive ("" before
    PROTECTED). `command` is what was typed after `rollback guard --`, in `folder`; only while a plan
    is made.
    """

    system: System
    host: Host
    state: StateDir
    level: str
    run: str
    step: str
    target: Target
    stamp: Mapping[str, str]
    component: str = ""
    environment: str = "production"
    bound: Mapping[str, Json] = field(default_factory=dict)
    safety: str = ""
    command: tuple[str, ...] = ()
    folder: str = ""
    progress: Progress = SILENT
    note: Note = lambda _kind, _data: None
    heard: Callable[[str], str] = lambda _item: ""
    record: Callable[[str], Filled] = lambda _record: _nothing_known()
    since: Callable[[], datetime | None] = lambda: None

    def __post_init__(self) -> None:
        object.__setattr__(self, "system", self.system.in_environment(self.environment))

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of this system."""
        from rollback.keep.checkpoint import Checkpoints  # the store: a flag needs none

        return Checkpoints(self.system, self.host, self.state, self.progress)

    def repository(self) -> Repository:
        """The managed repository, opened; PlanError when none is declared."""
        from rollback.keep.git import Repository  # libgit2 costs 30 ms; a flag needs none

        return Repository.open(self.system, self.host)

    def view(self) -> View:
        """The eyes of a check, in this step's environment; as the gate looks."""
        return eyes.view(
            self.system, self.host, self.state, environment=self.environment, since=self.since()
        )

    def named(self, pattern: str) -> str:
        """`pattern` with {date}, {time} and {run} filled in."""
        for name, value in self.stamp.items():
            pattern = pattern.replace("{" + name + "}", value)
        return pattern

    def at(
        self, *, step: str, bound: Mapping[str, Json], safety: str = "", environment: str = ""
    ) -> Scene:
        """The same surroundings for another step, which may work in another environment."""
        return replace(
            self, step=step, bound=bound, safety=safety or self.safety,
            environment=environment or self.environment,
        )  # fmt: skip


def _nothing_known() -> Filled:
    from rollback.judge.filling import Filled  # only where a record is asked for

    return Filled()


@dataclass(frozen=True)
class Later:
    """A step's answer that there is nothing to do until `after_s` seconds from now, or `until`."""

    what: str
    after_s: float


@dataclass(frozen=True)
class Question:
    """A step's answer that it goes on when a person has settled `item`; `what` says what to do.

    Settled is one of `choices` said by somebody of the role `by`, a `record` that is whole, else yes.
    What nobody settles `within_s` seconds goes back to the step, and is not answered any more.
    """

    what: str
    item: str
    choices: tuple[str, ...] = ()
    by: str = ""
    record: str = ""
    within_s: float | None = None


@runtime_checkable
class Action(Protocol):
    """A kind of step. Its fields are its parameters (see model.step.Step).

    Kinds that alter nothing that is stored may stand before PROTECTED.
    """

    alters: Alters

    def bind(self, scene: Scene) -> dict[str, Json]:
        """Everything that is left to decide is decided: absolute names, ids, previous values.

        Effects: reads host. Raises: PlanError when the step cannot be done.
        """

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """What would be done, a line each; `scene.bound` is filled. Changes nothing."""

    def touches(self, scene: Scene) -> tuple[str, ...]:
        """The components whose stored content this step changes; they are in the safety checkpoint."""

    def apply(self, scene: Scene) -> dict[str, Json] | Later | Question:
        """It is done, durably; the evidence. Again: no change.

        Raises: RollbackError when it could not be done.
        """

    def probe(self, scene: Scene) -> Finding:
        """Did it happen? PASS: whole. FAIL: not, or not whole; apply again. UNKNOWN: ask a person."""


@runtime_checkable
class Undoable(Protocol):
    """A kind of step that can be taken back."""

    def undo(self, scene: Scene) -> None:
        """What `apply` changed is as it was before. Again: no change."""


@runtime_checkable
class Traced(Undoable, Protocol):
    """A kind of step that leaves something behind which `undo` takes back."""

    def undone(self, scene: Scene) -> Finding:
        """Is what the step changed as it was before its run? Of the present, and of what it recorded.

        PASS: nothing is left to take back. FAIL: something is, or may be. UNKNOWN: ask a person.
        """


@runtime_checkable
class Trailing(Protocol):
    """A kind of step of which something stays when it is taken back."""

    def remains(self, scene: Scene) -> str:
        """What stays, for people; "" where nothing does."""
