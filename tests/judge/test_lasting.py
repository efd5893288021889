"""What has to last: too short a past is no answer to act on, and a gap inside it is no number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback.judge.condition import Known, evaluate, unsaid
from rollback.model.finding import Answer, Sample
from rollback.model.policy import Condition

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
P, F, U = Answer.PASS, Answer.FAIL, Answer.UNKNOWN


def row(metric: str, values: Sequence[float | None], *, every_s: float = 60.0) -> list[Sample]:
    """Readings at equal distances, the last one now."""
    return [
        Sample(metric, value, "count", NOW - timedelta(seconds=every_s * (len(values) - 1 - place)),
               None, 1, note="" if value is not None else "no answer")
        for place, value in enumerate(values)
    ]  # fmt: skip


def known(rows: dict[str, list[Sample]], *, gap_s: float | None = 180.0) -> Known:
    """The last reading of each is the present one."""
    return Known(
        {name: one[-1] for name, one in rows.items()}, {}, (), now=NOW, gap_s=gap_s,
        history={name: one[:-1] for name, one in rows.items()},
    )  # fmt: skip


def asked(
    written: dict[str, Any], values: Sequence[float | None], *, strict: bool = False
) -> Answer:
    """The answer after these readings of `up`, one each minute."""
    found = known({"up": row("up", values)})
    return evaluate(Condition.model_validate(written), found, strict=strict)[0]


LASTS = {"metric": "up", "at_least": 1, "for": "5m"}
THRICE = {"metric": "up", "at_most": 0, "times": 3}


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (LASTS, F), ({"not": LASTS}, U), ({"not": {"not": LASTS}}, F), ({"not": {"not": {"not": LASTS}}}, U),
        ({"not": {"all": [LASTS]}}, U), ({"not": {"any": [LASTS, LASTS]}}, U),
        ({"all": [{"not": {"any": [LASTS]}}]}, U), ({"any": [{"not": {"all": [{"not": LASTS}]}}]}, F),
    ],
)  # fmt: skip
def test_not_yet_is_a_no_and_never_makes_a_yes(written: dict[str, Any], wanted: Answer) -> None:
    """At however odd a depth below `not`: a past that is too short says nothing."""
    assert asked(written, [1.0]) is wanted
    assert asked(written, [1.0, 1.0, 1.0]) is wanted


def test_whoever_acts_on_a_no_is_told_that_it_is_none() -> None:
    """Strictly asked, what has not lasted yet is UNKNOWN at every depth; what is seen is seen."""
    assert asked(LASTS, [1.0, 1.0], strict=True) is U
    assert asked({"not": {"not": LASTS}}, [1.0, 1.0], strict=True) is U
    assert asked(LASTS, [0.0, 1.0], strict=True) is F
    assert asked(LASTS, [1.0] * 6, strict=True) is P


@pytest.mark.parametrize(
    ("values", "wanted"),
    [([1.0, 0.0], F), ([0.0, 1.0], F), ([1.0] * 6, P), ([1.0] * 5, F), ([0.0] + [1.0] * 5, F),
     ([0.0] + [1.0] * 6, P)],
)  # fmt: skip
def test_what_was_seen_not_to_hold_is_a_no_under_a_negation_too(
    values: list[float], wanted: Answer
) -> None:
    """A reading within the time that says otherwise is knowledge, and its negation holds."""
    assert asked(LASTS, values) is wanted
    opposite = {P: F, F: P}[wanted]
    assert asked({"not": LASTS}, values) is (U if values == [1.0] * 5 else opposite)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.0, 0.0, None, 0.0, 0.0], U), ([0.0, 0.0, None, 0.0, 0.0, None], U), ([None, 0.0], U),
        ([0.0, 0.0, 0.0], P), ([None, 0.0, 0.0, 0.0], P), ([0.0, 0.0], F), ([1.0, 0.0, 0.0], F),
        ([1.0, None, 0.0], F),
    ],
)  # fmt: skip
def test_a_reading_that_nobody_has_leaves_a_row_open(
    values: list[float | None], wanted: Answer
) -> None:
    """0 0 x 0 0 is neither three in a row nor none; where a known reading breaks it, it is none."""
    assert asked(THRICE, values) is wanted


def test_a_gap_inside_is_said() -> None:
    """With what was unknown, and why."""
    found = known({"up": row("up", [0.0, 0.0, None, 0.0, 0.0])})
    answer, because = evaluate(Condition.model_validate(THRICE), found)
    assert answer is U
    assert "2 of 3 times in a row, and up was unknown in between: no answer" in because
    assert not unsaid(Condition.model_validate(THRICE), found), "no fact would settle it"


def test_a_negation_of_what_is_too_young_waits_for_no_fact() -> None:
    """It is a doubt like any other, not one that a person could settle by a word."""
    found = known({"up": row("up", [1.0])})
    assert not unsaid(Condition.model_validate({"not": LASTS}), found)


def test_while_nobody_looked_nobody_knows() -> None:
    """Readings on both sides of a gap are no row; what was seen within the time counts all the same."""
    far = known({"up": row("up", [1.0] * 6, every_s=200.0)})
    assert evaluate(Condition.model_validate(LASTS), far)[0] is F
    assert evaluate(Condition.model_validate({"not": LASTS}), far)[0] is U
    seen = known({"up": row("up", [0.0, 1.0], every_s=200.0)})
    assert evaluate(Condition.model_validate({"not": LASTS}), seen)[0] is P


ATOMS = st.builds(
    lambda metric, limit, lasts: {"metric": metric, **limit, **lasts},
    st.sampled_from(["up", "errors"]),
    st.sampled_from([{"at_least": 1}, {"below": 1}, {"equals": 2}]),
    st.sampled_from([{}, {"for": "2m"}, {"for": "5m"}, {"times": 2}, {"times": 3},
                     {"times": 2, "for": "3m"}]),
)  # fmt: skip
TREES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map(lambda one: {"not": one}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"all": some}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"any": some}),
    ),
    max_leaves=6,
)
ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 2.0, None]), st.sampled_from([30, 60, 150, 400])),
    min_size=1, max_size=8,
)  # fmt: skip


def made(name: str, told: list[tuple[float | None, int]]) -> list[Sample]:
    """Readings with these distances between them, the last one now."""
    at, found = NOW, []
    for value, before_s in reversed(told):
        found.append(Sample(name, value, "count", at, None, 1))
        at -= timedelta(seconds=before_s)
    return found[::-1]


def less(samples: list[Sample], cut: int, gone: set[int]) -> list[Sample]:
    """The same, known less well: the oldest were never kept, and some were not read."""
    kept = [replace(one, value=None) if place in gone else one for place, one in enumerate(samples)]
    return kept[min(cut, len(kept) - 1):]  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(
    tree=TREES, up=ROWS, errors=ROWS, cut=st.integers(0, 8),
    gone=st.sets(st.integers(0, 8), max_size=4), gap_s=st.sampled_from([None, 180.0]),
)  # fmt: skip
def test_less_knowledge_never_makes_an_answer_to_act_on(
    tree: dict[str, Any], up: list[tuple[float | None, int]], errors: list[tuple[float | None, int]],
    cut: int, gone: set[int], gap_s: float | None,
) -> None:  # fmt: skip
    """Readings that become unknown, and a past that is cut off: no PASS comes of it, nor a sure FAIL."""
    condition = Condition.model_validate(tree)
    rows = {"up": made("up", up), "errors": made("errors", errors)}
    full = known(rows, gap_s=gap_s)
    poor = known({name: less(one, cut, gone) for name, one in rows.items()}, gap_s=gap_s)
    before, after = evaluate(condition, full)[0], evaluate(condition, poor)[0]
    assert after is not P or before is P, "it acts on what nobody knows"
    sure, unsure = (evaluate(condition, one, strict=True)[0] for one in (full, poor))
    assert unsure is not F or sure is F, "it takes for a no what nobody knows"
    assert (before is P) == (sure is P), "asked strictly, a yes is the same"
    assert not (before is P and after is F and unsure is F)
