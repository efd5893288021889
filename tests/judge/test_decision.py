"""From samples to a decision: three values, and what is UNKNOWN never fires."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback.judge.condition import Known, Told, evaluate, limits
from rollback.judge.decision import decide
from rollback.model.finding import Answer, Json, Sample
from rollback.model.policy import Condition
from rollback.model.system import System
from tests.systems import build

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
P, F, U = Answer.PASS, Answer.FAIL, Answer.UNKNOWN


def sample(value: float | None, metric: str = "errors") -> Sample:
    """One reading."""
    return Sample(
        metric, value, "fraction", NOW, 10.0, 30, note="" if value is not None else "no data"
    )


def metric(**limit: object) -> Condition:
    """errors compared with a limit."""
    return Condition.model_validate({"metric": "errors", **limit})


@pytest.mark.parametrize(
    ("limit", "value", "answer"),
    [
        ({"above": 5}, 5.0, F), ({"above": 5}, 5.000001, P), ({"at_least": 5}, 5.0, P),
        ({"below": 5}, 5.0, F), ({"at_most": 5}, 5.0, P), ({"equals": 5}, 5.0, P),
        ({"above": 1, "below": 3}, 2.0, P), ({"above": 1, "below": 3}, 3.0, F),
        ({"above": 5}, None, U),
    ],
)  # fmt: skip
def test_limits_are_strict_where_the_words_are(
    limit: dict[str, float], value: float | None, answer: Answer
) -> None:
    """Above is more than, at least is not."""
    assert evaluate(metric(**limit), Known({"errors": sample(value)}))[0] is answer


def test_a_metric_that_was_not_read_is_unknown() -> None:
    """Absence is no zero."""
    assert evaluate(metric(above=5), Known({}))[0] is U


@pytest.mark.parametrize(
    ("told", "wanted", "held"),
    [(1, 1, P), (1.0, 1, P), (True, 1, F), (True, True, P), (1, True, F), (0, False, F), ("1", 1, F)],
)  # fmt: skip
def test_a_truth_is_no_number_in_an_event(told: Json, wanted: Json, held: Answer) -> None:
    """Nor is it in `where_not`: true keeps out true, and not 1."""
    events = (Told("seen", NOW, {"code": told}),)
    where = Condition.model_validate({"event": "seen", "where": {"code": wanted}})
    assert evaluate(where, Known({}, events=events, now=NOW))[0] is held
    but = Condition.model_validate({"event": "seen", "where_not": {"code": (wanted,)}})
    assert evaluate(but, Known({}, events=events, now=NOW))[0] is {P: F, F: P}[held]


@settings(max_examples=300, deadline=None)
@given(st.recursive(
    st.sampled_from(["p", "f", "u"]),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3)),
    ), max_leaves=8,
))  # fmt: skip
def test_conditions_combine_as_three_valued_logic_says(tree: object) -> None:
    """Against a table: unknown is what could still go either way."""
    known = Known({"p": sample(1.0, "p"), "f": sample(0.0, "f"), "u": sample(None, "u")})

    def build_(one: object) -> dict[str, object]:
        if isinstance(one, str):
            return {"metric": one, "above": 0.5}
        word, rest = one  # type: ignore[misc]
        return {word: build_(rest) if word == "not" else [build_(r) for r in rest]}

    def worlds(one: object) -> set[bool]:
        """Every truth it may have, when each unknown may be either (they are independent)."""
        if isinstance(one, str):
            return {"p": {True}, "f": {False}, "u": {True, False}}[one]
        word, rest = one  # type: ignore[misc]
        if word == "not":
            return {not truth for truth in worlds(rest)}
        found = {True} if word == "all" else {False}
        for part in rest:
            fold = all if word == "all" else any
            found = {fold((a, b)) for a in found for b in worlds(part)}
        return found

    answer, because = evaluate(Condition.model_validate(build_(tree)), known)
    assert because
    assert answer is {(True,): P, (False,): F, (False, True): U}[tuple(sorted(worlds(tree)))]


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-1e15, 1e15))
def test_a_limit_and_its_opposite_never_agree(value: float, limit: float) -> None:
    """Above and at most are each other's negation, at every number."""
    assert limits(metric(above=limit), value) is not limits(metric(at_most=limit), value)
    assert limits(metric(below=limit), value) is not limits(metric(at_least=limit), value)


def test_facts_are_told_by_people() -> None:
    """Not told: unknown; no number where one is wanted: unknown."""
    fact = Condition.model_validate({"fact": "leak", "is": True})
    count = Condition.model_validate({"fact": "users", "above": 10})
    assert evaluate(fact, Known({}))[0] is U
    assert evaluate(fact, Known({}, {"leak": "TRUE"}))[0] is P
    assert evaluate(fact, Known({}, {"leak": "yes"}))[0] is P
    assert evaluate(fact, Known({}, {"leak": "no"}))[0] is F
    assert evaluate(fact, Known({}, {"leak": "perhaps"}))[0] is U
    bare = Condition.model_validate({"fact": "leak"})
    assert [evaluate(bare, Known({}, {"leak": t}))[0] for t in ("true", "0", "?")] == [P, F, U]
    assert [evaluate(count, Known({}, {"users": told}))[0] for told in ("11", "10", "many")] == [
        P,
        F,
        U,
    ]


@pytest.mark.parametrize("told", ["nan", "inf", "-inf", "1e999"])
def test_a_fact_that_is_no_finite_number_is_unknown(told: str) -> None:
    """`nan > 10` is no answer, and infinity is no measurement."""
    count = Condition.model_validate({"fact": "users", "above": 10})
    assert evaluate(count, Known({}, {"users": told}))[0] is U


@pytest.fixture
def system(tmp_path: Path) -> System:
    """Two triggers, of different severity."""
    shop = build(tmp_path)
    shop.edit("verification:", """metrics:
  errors: {unit: fraction, source: {command: {argv: [/bin/echo, "3"], number: stdout}}}
triggers:
  - {id: many, when: {metric: errors, above: 5}, respond: {roll_back: flag}}
  - {id: very-many, when: {metric: errors, above: 20}, respond: {roll_back: full}}
  - {id: wrong, when: {fact: wrong, is: true}, respond: {roll_back: config}}
verification:""")  # fmt: skip
    return shop.system


@pytest.mark.requirement("C-03", "C-09")
def test_the_most_severe_trigger_wins_and_the_others_are_named(system: System) -> None:
    """With the sample that led to it."""
    found = decide(system, Known({"errors": sample(30.0)}, {"wrong": "false"}))
    assert (found.respond, found.level, found.trigger) == ("roll-back", "full", "very-many")
    assert [match.trigger for match in found.matches] == ["many", "very-many"]
    assert found.samples[0].value == 30.0


def test_what_is_unknown_fires_no_level(system: System) -> None:
    """A person is asked; nothing is rolled back on no data."""
    found = decide(system, Known({"errors": sample(None)}, {"wrong": "false"}))
    assert (found.respond, found.level) == ("escalate", "")
    assert found.unknown == ("errors",)


def test_holding_is_a_decision_with_reasons(system: System) -> None:
    """It is written down like any other."""
    found = decide(system, Known({"errors": sample(1.0)}, {"wrong": "false"}))
    assert found.respond == "hold"
    assert found.reasoning
    assert found.as_json()["respond"] == "hold"


def test_a_size_and_a_single_reading_are_said_as_an_operator_would() -> None:
    """160 MiB and not 1.67772e+08 bytes; one reading and not 1 readings."""
    read = Sample("errors", 175.0 * 2**20, "bytes", NOW, None, 1)
    answer, because = evaluate(metric(above="160 MiB"), Known({"errors": read}))
    assert answer is P
    assert because == "errors is 175.0 MiB (1 reading), fires above 160.0 MiB"
