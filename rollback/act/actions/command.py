"""Step `command`: a program runs to its end, without a shell; its status and words are judged.

Hides: nothing.
Never: claims to know whether a program that was interrupted did its work, unless a check says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from rollback.act import before
from rollback.act.moment import mark, marked, unmark
from rollback.host import processes
from rollback.model.component import Argv, Name, RelativePath
from rollback.model.errors import CommandFailed, HostError, PlanError
from rollback.model.finding import Answer, Finding, Json, failed, passed, unknown
from rollback.model.quantity import spoken
from rollback.model.registry import Check, Declared, Kind, nearest, register
from rollback.model.step import Alters, Id, Step, Text
from rollback.observe.check import ask
from rollback.observe.service import followed

if TYPE_CHECKING:
    from rollback.act.scene import Scene

_TAIL_CHARS = 2000
_UNDONE = "undone"


def _compiles(written: str) -> str:
    try:
        re.compile(written)
    except re.error as error:
        raise ValueError(f"{written!r} is no regular expression: {error}") from None
    return written


class Count(Declared):
    """A number in the output: `pattern` has one group around it; the last match counts."""

    pattern: Annotated[Text, AfterValidator(_compiles)]
    equals: int | None = None
    at_least: int | None = None
    at_most: int | None = None

    def wrong(self, found: int | None) -> bool:
        """True when there is no number, or not one that was asked for."""
        if found is None:
            return True
        return (
            (self.equals is not None and found != self.equals)
            or (self.at_least is not None and found < self.at_least)
            or (self.at_most is not None and found > self.at_most)
        )


class UndoCommand(Declared):
    """The program that takes the step back."""

    argv: Argv


@register("action", "command")
class CommandStep(Step):
    """`argv` ends with status `exit`, says what `contains` and `counts` ask for.

    `probe` is a check that answers whether it happened; without one nobody knows after a crash.
    `effects: none` may simply be run again. `changes` are the components whose content it changes,
    `variables` are added to a small environment.
    """

    alters: ClassVar[Alters] = "stored"
    argv: Argv
    cwd: RelativePath = "."
    variables: dict[Name, str] = Field(default_factory=dict)
    exit: int = 0
    contains: tuple[Text, ...] = ()
    counts: dict[Id, Count] = Field(default_factory=dict)
    effects: Literal["none", "once"] = "once"
    changes: tuple[Id, ...] = ()
    probe_: Check | None = Field(default=None, alias="probe")
    undo_: UndoCommand | None = Field(default=None, alias="undo")

    @property
    def harmless(self) -> bool:
        """True for a program that is declared to have no effects."""
        return self.effects == "none" and not self.changes

    @property
    def reversible(self) -> bool:
        """True when an undo is declared."""
        return self.undo_ is not None

    def bind(self, scene: Scene) -> dict[str, Json]:
        """The words, and which names in them were filled in."""
        for name in self.changes:
            if name not in scene.system.components:
                known = tuple(scene.system.components)
                raise PlanError(f"there is no component {name}", hint=nearest(name, known))
        return {"argv": [scene.named(word) for word in self.argv]}

    def describe(self, scene: Scene) -> tuple[str, ...]:
        """The program, what it must say, and what is known after a crash."""
        lines = [f"run {' '.join(_words(scene))} in {self.cwd}, at most {spoken(self.within)}"]
        if self.changes:
            lines.append(f"changes {', '.join(self.changes)}")
        if self.probe_ is None and self.effects == "once":
            lines.append(
                "no probe is declared: interrupted, a person has to say whether it happened"
            )
        if self.undo_ is None and self.effects == "once":
            lines.append("no undo is declared: it cannot be taken back")
        return tuple(lines)

    def touches(self, _scene: Scene) -> tuple[str, ...]:
        """The components that it is declared to change."""
        return self.changes

    def apply(self, scene: Scene) -> dict[str, Json]:
        """The program ended as declared."""
        unmark(scene, _UNDONE)
        done = self._run(scene, _words(scene))
        said = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
        wrong = [f"it did not say {part!r}" for part in self.contains if part not in said]
        numbers = {name: _number(count.pattern, said) for name, count in self.counts.items()}
        wrong += [f"{name} is {numbers[name]}" for name, count in self.counts.items()
                  if count.wrong(numbers[name])]  # fmt: skip
        if done.status != self.exit:
            wrong.insert(0, f"it ended with status {done.status}, not {self.exit}")
        if wrong:
            raise CommandFailed("; ".join(wrong), argv=done.argv, status=done.status,
                                tail=said[-_TAIL_CHARS:].strip(),
                                hint=f"its last words: {said.strip()[-300:]}")  # fmt: skip
        counts: dict[str, Json] = dict(numbers)
        return {
            "status": done.status, "output": said[-_TAIL_CHARS:].strip(), "counts": counts,
            "elapsed_s": round(done.elapsed_s, 3),
        }  # fmt: skip

    def probe(self, scene: Scene) -> Finding:
        """What the declared check says; without one nobody knows, unless it may run again."""
        if isinstance(self.probe_, Kind):
            return ask(self.probe_, scene.view())
        if self.effects == "none":
            return failed("it changes nothing: running it again does no harm")
        return unknown(f"no probe is declared for {self.argv[0]}: look whether it did its work")

    def undo(self, scene: Scene) -> None:
        """The declared undo ran. Raises: HostError where none is declared and something changed."""
        if self.undo_ is not None:
            words = [scene.named(word) for word in self.undo_.argv]
            done = self._run(scene, words)
            if done.status != 0:
                raise CommandFailed(f"the undo ended with status {done.status}", argv=done.argv,
                                    status=done.status)  # fmt: skip
            mark(scene, _UNDONE)
        elif self.effects != "none":
            raise HostError("it declares no undo", where=self.argv[0],
                            hint="take back by hand what it did, then resume")  # fmt: skip

    def undone(self, scene: Scene) -> Finding:
        """Did the undo run, or does its check say that nothing happened and nothing differs?"""
        if self.effects == "none" and not self.changes:
            return passed(f"{self.argv[0]} changes nothing")
        if marked(scene, _UNDONE):
            return passed(f"the undo of {self.argv[0]} ended well")
        if isinstance(self.probe_, Kind):
            finding = ask(self.probe_, scene.view())
            if finding.answer is Answer.PASS:
                return failed(f"it happened: {finding.evidence}")
            if finding.answer is Answer.FAIL and self.changes:
                return before.stands(scene, self.changes)
            if finding.answer is Answer.FAIL:
                return passed(f"it did not happen: {finding.evidence}")
        return unknown(f"whether what {self.argv[0]} did is taken back, nobody knows")

    def _run(self, scene: Scene, argv: list[str]) -> processes.Completed:
        with scene.host.tree(str(scene.system.root_path)) as tree:
            tree.sub(self.cwd).close()  # proved to be a folder below the root, not a link
        view = scene.view()
        variables = followed(self.variables, view, field="environment")
        done = processes.run(
            followed(argv, view, field="argv"), cwd=str(scene.system.root_path / self.cwd),
            environment=processes.base_environment(variables), timeout_s=self.within,
            tap=scene.host.tap,
        )  # fmt: skip
        if done.timed_out:
            raise CommandFailed(f"it did not end within {spoken(self.within)} and was killed",
                                argv=done.argv, status=done.status)  # fmt: skip
        return done


def _words(scene: Scene) -> list[str]:
    words = scene.bound["argv"]
    assert isinstance(words, list)
    return [str(word) for word in words]


def _number(pattern: str, said: str) -> int | None:
    """The last number that the pattern finds; None when it finds none, or what is no count.

    >>> _number("[0-9]+ passed|([0-9]+)", "3 of 12"), _number("(.+)", "²"), _number("9+", "9" * 5000)
    (12, None, None)
    """
    found = re.findall(pattern, said)
    if not found:
        return None
    last = found[-1] if isinstance(found[-1], str) else found[-1][0]
    return int(last) if re.fullmatch(r"[0-9]{1,18}", last) else None
