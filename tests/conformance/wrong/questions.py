"""Checks, their declarations, and metric sources that are wrong, each in one way."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import ConfigDict, field_validator

from rollback.conformance import Example
from rollback.model.errors import HostError
from rollback.model.finding import Finding, Sample, failed, passed
from rollback.model.policy import MetricDeclared
from rollback.model.registry import Kind, register
from rollback.model.step import Check, MetricSource
from rollback.observe.metric import no_number, number
from rollback.observe.view import View
from tests.conformance.wrong import wrong


class Says(Check):
    """A file says a word."""

    file: str
    word: str

    def read(self, view: View) -> str:
        with view.host.tree(str(view.root)) as tree, tree.reading(self.file) as file:
            return os.pread(file.fd, 1000, 0).decode()

    def ask(self, view: View) -> Finding:
        found = self.read(view)
        return (passed if found == self.word else failed)(f"it says {found!r}")


@register("check", "says")
class RightCheck(Says):
    """The right one."""


@wrong("in_a_dead_world_it_never_passes", "there is nothing left to look at, and it says pass")
@register("check", "green-on-error")
class GreenOnError(Says):
    """Takes an error for a yes."""

    def ask(self, view: View) -> Finding:
        try:
            return super().ask(view)
        except (OSError, HostError):
            return passed("it will be well")


@wrong("an_error_of_the_machine_is_never_a_yes", "the disk failed it 1 times, and it says pass")
@register("check", "green-on-a-bad-disk")
class GreenOnABadDisk(Says):
    """Takes an error of the disk for a yes, as long as the root is there."""

    def ask(self, view: View) -> Finding:
        try:
            return super().ask(view)
        except OSError:
            return passed("as ever") if view.root.exists() else failed("there is no root")


@wrong("when_its_subject_is_broken_it_says_no", "it says pass")
@register("check", "blind")
class Blind(Says):
    """Looks whether the file is there, and not at what it says."""

    def ask(self, view: View) -> Finding:
        self.read(view)
        return passed(f"{self.file} is there")


@wrong("in_a_living_world_it_passes_and_changes_nothing", "a check only looks")
@register("check", "leaves-a-trace")
class LeavesATrace(Says):
    """Writes while it looks."""

    def ask(self, view: View) -> Finding:
        (view.root / "asked").write_text("x")
        return super().ask(view)


@wrong("in_a_living_world_it_passes_and_changes_nothing", "gave no finding")
@register("check", "true-or-false")
class TrueOrFalse(Says):
    """Answers with a bool."""

    def ask(self, view: View) -> Finding:
        return self.read(view) == self.word  # type: ignore[return-value]


@wrong("strange_values_are_refused", "it breaks the kind: AttributeError")
@register("check", "breaks-on-strange")
class BreaksOnStrange(Says):
    """Its validator takes for granted what stands there."""

    @field_validator("word", mode="before")
    @classmethod
    def _short(cls, written: Any) -> Any:
        return written.strip()


@wrong("strange_values_are_refused", "is refused with more than a line")
@register("check", "tells-a-story")
class TellsAStory(Says):
    """Refuses with a page."""

    @field_validator("word", mode="before")
    @classmethod
    def _short(cls, written: Any) -> Any:
        if not isinstance(written, str):
            raise ValueError("this is no word\n\nsee the manual")
        return written


@wrong("what_it_does_not_know_is_refused", "an unknown parameter is taken without a word")
@register("check", "takes-anything")
class TakesAnything(Says):
    """Swallows misspelt parameters."""

    model_config = ConfigDict(extra="ignore")


class Figure(MetricSource):
    """The number in a file."""

    file: str
    within: float = 1.0

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        text = (view.root / self.file).read_text().strip()
        try:
            return number(view, declared, float(text), count=1)
        except ValueError:
            return no_number(view, declared, f"it says {text!r}")


@register("metric", "figure")
class RightMetric(Figure):
    """The right one."""


@wrong("what_it_cannot_know_is_unknown", "gone: it says 0.0 count; it has to say unknown")
@register("metric", "zero-for-nothing")
class ZeroForNothing(Figure):
    """Takes absence for zero."""

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        if not (view.root / self.file).exists():
            return number(view, declared, 0.0, count=1)
        return super().read(view, declared)


@wrong("what_it_cannot_know_is_unknown", "no number: it says 7.0 count; it has to say unknown")
@register("metric", "the-last-one")
class TheLastOne(Figure):
    """Says the last number again when there is none."""

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        found = super().read(view, declared)
        return found if found.known or not view.root.exists() else replace(found, value=7.0)


@wrong("what_never_answers", "it was not back after 6 s: it has to keep a deadline of its own")
@register("metric", "waits-for-ever")
class WaitsForEver(Figure):
    """Ignores the deadline that it declares."""

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        while not (view.root / self.file).read_text():
            time.sleep(60)
        return super().read(view, declared)


@wrong("what_never_answers", "its subject never answers: it says 0.0 count; it has to say unknown")
@register("metric", "silence-is-zero")
class SilenceIsZero(Figure):
    """Takes silence for zero."""

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        silent = view.root.exists() and (view.root / self.file).exists() and (
            not (view.root / self.file).read_text())  # fmt: skip
        return number(view, declared, 0.0, count=1) if silent else super().read(view, declared)


@wrong(
    "a_reading_says_unit_window_time_and_source", "the number is in 'bytes', declared is 'count'"
)
@register("metric", "other-unit")
class OtherUnit(Figure):
    """Another unit than the declared one."""

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        return replace(super().read(view, declared), unit="bytes")


@wrong("a_reading_says_unit_window_time_and_source", "its time is ")
@register("metric", "yesterday")
class Yesterday(Figure):
    """A reading of yesterday as if it were of now."""

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        found = super().read(view, declared)
        return replace(found, at=found.at - timedelta(days=1))


@wrong("a_reading_says_unit_window_time_and_source", "count says on how many")
@register("metric", "of-nothing")
class OfNothing(Figure):
    """A number that rests on no reading."""

    def read(self, view: View, declared: MetricDeclared) -> Sample:
        return replace(super().read(view, declared), count=0)


EXAMPLES = {
    "check": Example(
        {"file": "word", "word": "well"}, prepare=lambda w: (w.root / "word").write_text("well") and None,
        spoils={"says another": lambda w: (w.root / "word").write_text("ill")}),
    "metric": Example(
        {"file": "number"}, prepare=lambda w: (w.root / "number").write_text("7") and None,
        hangs=lambda w: (w.root / "number").write_text(""),
        spoils={"gone": lambda w: (w.root / "number").unlink(),
                "no number": lambda w: (w.root / "number").write_text("ill")}),
}  # fmt: skip


def example(kind: type[Kind]) -> Example:
    """What each is tried on."""
    return EXAMPLES[kind.family]
