"""Every way to fail, sorted by who must act.

    RollbackError
    ├── SpecError          the author of the declaration: carries all problems at once
    ├── UsageError         whoever typed the command
    ├── PlanError          the operator: choose another target or level
    │   └── SeveralFit     the operator: name one of them
    ├── NotAuthorized      an approver: approve this digest
    │   └── Refused        a guardrail: its name, and what to do
    ├── RunLocked          wait, or talk to the holder of the lease
    ├── HostError          the owner of the managed system
    │   ├── HostUnreachable
    │   ├── CommandFailed
    │   ├── Unmanaged      the manager of a service is not here, or does not know it
    │   └── Confined       a path would leave its root, or follow a link
    ├── StepFailed         the operator: read the report; says whether the undo succeeded
    ├── GateClosed         the operator: the system is not well; has the findings
    ├── StoreError         the keeper of the store
    │   ├── ObjectMissing
    │   ├── ObjectCorrupt
    │   └── Partial        something changed or could not be read during capture
    ├── JournalError
    │   ├── JournalCorrupt the keeper of the journal: chain broken at event n
    │   └── IllegalEvent   a bug in us, caught by the lifecycle table
    └── NeedsOperator      a person, now

Hides: the mapping from a failure to its exit status.
Never: formats for a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class RollbackError(Exception):
    """What happened, where, and what to type next; `usual_hint` where nothing better is known."""

    exit_status: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    usual_hint: ClassVar[str] = "rollback status shows where things stand"

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint or self.usual_hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.message}"


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a declaration: `where` is file:line, `hint` what to type instead."""

    where: str
    message: str
    hint: str = ""


class SpecError(RollbackError):
    """The declaration is wrong; `problems` holds every reason, in file order."""

    exit_status = 2

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        count = len(problems)
        message = first.message if count == 1 else f"{first.message} (and {count - 1} more)"
        super().__init__(message, where=first.where, hint=first.hint)
        self.problems = problems


class UsageError(RollbackError):
    """The command line asks for something that cannot be."""

    exit_status = 2
    usual_hint = "rollback --help"


class PlanError(RollbackError):
    """No such level, target, checkpoint or run."""

    exit_status = 3
    usual_hint = "rollback plan LEVEL shows what there is to go back to"


@dataclass(frozen=True)
class Choice:
    """One of several things that fit: `to` is what names it alone. Units: `size_bytes`, or None."""

    to: str
    label: str
    at: str
    size_bytes: int | None
    valid: bool
    why_not: str = ""


class SeveralFit(PlanError):
    """A name fits several targets; `choices` are all of them, those that cannot be taken too."""

    def __init__(self, message: str, *, choices: tuple[Choice, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.choices = choices


class NotAuthorized(RollbackError):
    """An approval is missing, invalid, expired or not that person's to give."""

    exit_status = 4
    usual_hint = "rollback status shows who may approve"


class Refused(NotAuthorized):
    """A guardrail holds the run back; `guardrail` is its name."""

    def __init__(self, guardrail: str, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(f"{guardrail}: {message}", where=where, hint=hint)
        self.guardrail = guardrail


class RunLocked(RollbackError):
    """Another process holds the lease."""

    exit_status = 5
    usual_hint = "wait for it, then type the command again"


class HostError(RollbackError):
    """The managed system or its machine did not do what was asked."""

    exit_status = 6
    usual_hint = "look at the system itself: rollback doctor"


class HostUnreachable(HostError):
    """Nobody answered; asking again may help."""

    retryable = True


class CommandFailed(HostError):
    """A program ended badly; `argv`, `status` and its last lines say how."""

    def __init__(
        self, message: str, *, argv: tuple[str, ...], status: int, tail: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, where=argv[0] if argv else "", hint=hint)
        self.argv = argv
        self.status = status
        self.tail = tail


class Unmanaged(HostError):
    """The manager of a service is not on this machine, or does not know the service."""


class Confined(HostError):
    """A path would leave its root, cross a mount or follow a link; nothing was touched."""

    exit_status = (
        4  # a refusal: inside a run it fails its step, and the run has a status of its own
    )
    usual_hint = "take that mount or link away, or leave its place out: exclude: in the component"


class StepFailed(RollbackError):
    """A step ended badly; `undone` says whether what it did was taken back."""

    exit_status = 6
    usual_hint = "rollback report shows what is known"

    def __init__(self, message: str, *, step: str, undone: bool, hint: str = "") -> None:
        super().__init__(message, where=step, hint=hint)
        self.step = step
        self.undone = undone


class GateClosed(RollbackError):
    """The system is not proved well; `reasons` says why, one line each."""

    exit_status = 9
    usual_hint = "rollback report shows what is known"

    def __init__(self, message: str, *, reasons: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reasons = reasons


class StoreError(RollbackError):
    """The store cannot keep or give back what was asked."""

    exit_status = 8
    usual_hint = "rollback checkpoint verify shows what is whole"


class ObjectMissing(StoreError):
    """No object with this id is stored."""


class ObjectCorrupt(StoreError):
    """The stored bytes are not the ones that were stored."""


class Partial(StoreError):
    """A capture is incomplete and is no target; `paths` says what is missing."""

    def __init__(self, message: str, *, paths: tuple[str, ...], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.paths = paths


class JournalError(RollbackError):
    """The journal cannot be read or written."""

    exit_status = 8
    usual_hint = "rollback audit verify shows how far it is whole"


class JournalCorrupt(JournalError):
    """The chain is broken at event `seq`."""

    def __init__(self, message: str, *, seq: int, where: str = "", hint: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.seq = seq


class IllegalEvent(JournalError):
    """This event cannot follow the state the run is in; nothing was written."""

    exit_status = 1
    usual_hint = "this is a bug of rollback: send us the journal"


class NeedsOperator(RollbackError):
    """The run stopped for a person; its report says what is known."""

    exit_status = 9
    usual_hint = "rollback report shows what is known"
