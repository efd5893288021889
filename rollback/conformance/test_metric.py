"""What every metric source owes: a number with unit, window, time and source, or UNKNOWN and why.

Hides: nothing.
Never: knows a kind.
"""

from __future__ import annotations

import math
import shutil
from datetime import timedelta
from typing import Any

from rollback.act.site import Site
from rollback.conformance.asked import Case
from rollback.conformance.fixtures import asked_of, owes
from rollback.conformance.test_check import everything_below
from rollback.conformance.world import World
from rollback.model.finding import Sample
from rollback.model.policy import MetricDeclared
from rollback.observe.deadline import together
from rollback.observe.metric import deadline_s, number, read
from rollback.watch.agent import Agent, Looked

FAMILY = "metric"
LONGEST_S = 60.0  # whatever it says of itself, so long is one reading at most
GRACE_S = 5.0
_SKEW = timedelta(seconds=1)
_OTHER = {"unit": "fraction", "source": {"machine": {"uses": "memory"}}}


def test_its_example_breaks_its_subject(case: Case) -> None:
    """Absent, stale, no number: the example has `spoils`."""
    owes(
        case.example.spoils,
        "the example has no spoils: give ways in which its subject is absent, late or no number",
    )


def test_its_example_says_what_happens_without_an_answer(case: Case) -> None:
    """A source that is never seen waiting proves no deadline: the example has `hangs`."""
    owes(case.example.hangs, "the example has no hangs: give a way in which its subject never answers, "
         "or say in words why the source waits for nobody")  # fmt: skip


def test_a_reading_says_unit_window_time_and_source(case: Case, world: World) -> None:
    """A finite number, of as many readings as it says, taken now; nothing below the root changes."""
    before, began = everything_below(world.root), world.host.clock.now()
    sample = read("it", world.view())
    ended = world.host.clock.now()
    owes(everything_below(world.root) == before, "reading changes something below the root")
    declared = world.system.metrics["it"]
    owes(sample.value is not None, f"its example is well, and it has no number: {sample.note}")
    owes(
        sample.unit == declared.unit,
        f"the number is in {sample.unit!r}, declared is {declared.unit!r}",
    )
    owes(sample.at.tzinfo is not None and began - _SKEW <= sample.at <= ended + _SKEW,
         f"its time is {sample.at.isoformat()}, and it was read at {ended.isoformat()}")  # fmt: skip
    owes(sample.window_s == declared.window,
         f"its window is {sample.window_s} s, declared is {declared.window} s")  # fmt: skip
    owes(
        sample.count >= 1, f"a number that rests on {sample.count} readings: count says on how many"
    )
    owes(sample.source, "it does not say where it comes from")
    checked = number(world.view(), declared, float(sample.value or 0), count=sample.count)
    owes(checked.known, f"{sample.value} is no number of {declared.unit}: {checked.note}")


def test_what_it_cannot_know_is_unknown(case: Case, world: World, spoil: str) -> None:
    """For each way in which the example breaks its subject: no number, and a line that says why."""
    case.example.spoils[spoil](world)
    _unknown(case, read("it", world.view()), spoil)


@asked_of(lambda case: callable(case.example.hangs))
def test_what_never_answers_is_unknown_by_its_deadline(case: Case, world: World) -> None:
    """The source is back by itself, with no number; the agent's tick goes on, and has the others."""
    assert callable(case.example.hangs)
    source: Any = case.made(world)
    metrics = {**world.system.metrics, "other": MetricDeclared.model_validate(_OTHER)}
    world.system = world.system.having(metrics=metrics)
    limit_s = min(LONGEST_S, deadline_s(world.view(), metrics["it"])) + GRACE_S
    case.example.hangs(world)
    read_alone, ticked = together(
        (lambda: source.read(world.view(), metrics["it"]), lambda: _ticked(world)),
        within_s=limit_s, clock=world.host.clock,
    )  # fmt: skip
    looked = ticked.result
    failed = ticked.error or (looked.failed if looked else f"not over after {limit_s:g} s")
    owes(
        looked and looked.decision,
        f"its subject never answers, and the agent's tick fails: {failed}",
    )
    assert looked is not None
    assert looked.decision is not None
    samples = {sample.metric: sample for sample in looked.decision.samples}
    _unknown(case, samples["it"], "its subject never answers")
    owes(samples["other"].known, f"another metric has no number: {samples['other'].note}")
    owes(read_alone.finished, f"its subject never answers, and it was not back after {limit_s:g} s: it "
         "has to keep a deadline of its own, or each tick leaves a thread behind")  # fmt: skip


def _ticked(world: World) -> Looked:
    """What one tick of the agent came to."""
    with Site.open(world.system, world.host) as site:
        return Agent(site).tick()


def test_without_a_subject_there_is_no_number(case: Case, world: World) -> None:
    """No root, no service, nobody on the port: UNKNOWN, or the number that silence is declared to be."""
    world.ends.close()
    world.end_services()
    shutil.rmtree(world.root)
    shutil.rmtree(world.state.path / "journal", ignore_errors=True)
    _unknown(case, read("it", world.view()), "nothing is there")


def test_it_never_gives_a_number_that_is_none(case: Case, world: World) -> None:
    """What `read` itself returns is a sample: no NaN, no infinity, no None."""
    source: Any = case.made(world)
    sample = source.read(world.view(), world.system.metrics["it"])
    owes(
        isinstance(sample, Sample),
        f"read returns {type(sample).__name__}: it has to return a Sample",
    )
    owes(sample.value is None or math.isfinite(sample.value), f"{sample.value} is no number")


def _unknown(case: Case, sample: Sample, when: str) -> None:
    if case.example.silent is not None and sample.value == case.example.silent:
        return
    owes(not sample.known, f"{when}: it says {sample.value} {sample.unit}; it has to say unknown")
    owes(
        sample.note.strip() and "\n" not in sample.note,
        f"{when}: it does not say why in a line: {sample.note!r}",
    )
