"""The severity table decides by itself: through the same evaluation as triggers, the stricter answer wins."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback.judge.condition import Known
from rollback.judge.decision import decide
from rollback.judge.match import weight
from rollback.model.errors import SpecError
from rollback.model.finding import Sample
from rollback.model.lifecycle import State
from rollback.model.system import System
from tests.cli.program import rollback
from tests.systems import build
from tests.watch.places import Place, place, runs, told

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TABLE = """severity:
  slow: {order: 1, title: Slow, when: {metric: slow, above: 50%}, level: config, respond_within: 10m}
  bad: {order: 3, title: Bad, when: {metric: errors, above: 5%}, level: full,
    response: [look at it, tell the shop]}
  odd: {order: 2, title: Odd, when: {fact: odd, is: true}, response: [ask around]}
triggers: []
"""
TRIGGERS = """triggers:
  - {id: errors-high, when: {metric: errors, above: 10%}, respond: {roll_back: config}}
  - {id: slow, when: {metric: slow, above: 50%}, respond: {roll_back: config}}
  - {id: very-slow, when: {metric: slow, above: 90%}, respond: {roll_back: full}}
  - {id: vetoed, when: {event: veto, within: 1h}, respond: {roll_back: config}}
"""


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """The shop at autonomy 4 with a table of severity and no trigger."""
    return place(tmp_path, edits={TRIGGERS: TABLE})


def decided(here: Place, *more: str) -> Any:
    """What `rollback decide` says."""
    return rollback(here.shop.folder, "--json", "decide", *more).json


@pytest.mark.requirement("VR-05", "C-03")
def test_a_symptom_calls_for_what_its_word_declares(here: Place) -> None:
    """Its level, by when, and what people do; of several words the worst; with neither, a person."""
    here.read(errors=0.0, slow=0.6)
    mild = decided(here)
    assert (mild["respond"], mild["level"], mild["trigger"], mild["severity"], mild["urgency_s"]) == (
        "roll-back", "config", "slow", "slow", 600.0)  # fmt: skip
    odd = decided(here, "--fact", "odd=yes")
    assert (odd["respond"], odd["what"], odd["trigger"]) == ("escalate", "op", "odd")
    here.read(errors=0.06)
    worst = decided(here)
    assert (worst["level"], worst["trigger"]) == ("full", "bad")
    assert "what is to be done: look at it, tell the shop" in " ".join(worst["reasoning"])
    assert {one["trigger"] for one in worst["matches"]} == {"slow", "odd", "bad"}
    here.read(errors=0.0, slow=0.0)
    assert decided(here, "--fact", "odd=no")["respond"] == "hold"
    here.read(errors=None)
    unknown = decided(here)
    assert (unknown["respond"], unknown["doubts"]) == ("escalate", ["bad"])


@pytest.mark.parametrize(
    ("autonomy", "automatic", "state"),
    [(4, False, State.COMPLETE), (3, False, State.WAITING), (3, True, State.COMPLETE)],
)
def test_the_agent_acts_by_it_as_by_a_trigger(
    tmp_path: Path, autonomy: int, automatic: bool, state: State
) -> None:
    """Unasked where the autonomy allows it, or the word is declared to act by itself."""
    table = TABLE.replace("level: config,", f"level: config, automatic: {str(automatic).lower()},")
    here = place(tmp_path, edits={TRIGGERS: table, "current: 4": f"current: {autonomy}"})
    with here.agent() as agent:
        here.read(errors=0.0, slow=0.6)
        here.tick(agent)
        (run,) = runs(agent.site)
        assert (run.state, run.trigger, run.plan["level"]) == (state, "slow", "config")


@pytest.mark.requirement("PM-20")
def test_what_nobody_acts_on_in_its_time_is_overdue(tmp_path: Path) -> None:
    """`respond_within` is a deadline; a trigger that only names the word has it too."""
    table = TABLE.replace("triggers: []", "triggers:\n  - {id: noted, when: {metric: errors, above: 10%}, "
                          "respond: {escalate: op}, severity: late}")  # fmt: skip
    table = table.replace(
        "severity:\n", "severity:\n  late: {order: 0, title: Late, respond_within: 5m}\n"
    )
    table = table.replace("when: {metric: errors, above: 5%}, level: full,\n   ", "")
    here = place(
        tmp_path, edits={TRIGGERS: table, "current: 4": "current: 2", "verification:\n": LADDER}
    )
    with here.agent() as agent:
        here.read(errors=0.2, slow=0.6)
        here.tick(agent)
        assert told(agent.site, "deadline.overdue") == []
        here.tick(agent, every_s=301.0)
        assert [e.data["trigger"] for e in told(agent.site, "deadline.overdue")] == ["noted"]
        here.tick(agent, every_s=301.0)
        assert [e.data["trigger"] for e in told(agent.site, "deadline.overdue")] == [
            "noted",
            "slow",
        ]


LADDER = "notify: {ladders: {op: {rungs: [{role: op, within: 0s}]}}}\nverification:\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("level: config,", "level: config, procedure: p,", "calls for one of: level, procedure"),
        ("title: Slow, when: {metric: slow, above: 50%},", "title: Slow, automatic: true,",
         "only a severity with when acts by itself"),
        ("triggers: []", "triggers: [{id: bad, when: {metric: slow, above: 1}, respond: {hold: it}}]",
         "the id 'bad' is used twice"),
    ],
)  # fmt: skip
def test_what_a_table_cannot_mean_is_refused(here: Place, old: str, new: str, said: str) -> None:
    """With its line; a rule is known by its name, so a trigger of the same name is none."""
    here.shop.edit(old, new)
    with pytest.raises(SpecError) as refused:
        assert here.shop.system
    assert said in str(refused.value)


def test_a_word_that_acts_by_itself_bears_authority(here: Place) -> None:
    """As such a trigger does: the declaration is another one to trust."""
    before = here.shop.system.authority_digest
    here.shop.edit("level: config, respond_within: 10m", "level: config, respond_within: 11m")
    assert here.shop.system.authority_digest == before
    here.shop.edit("level: config,", "level: config, automatic: true,")
    assert here.shop.system.authority_digest != before


# -- several styles in one system --------------------------------------------------------------


STYLES = {
    "table": "severity:\n"
             "  bad: {order: 1, title: Bad, when: {metric: errors, above: 20%}, level: pages}\n",
    "triggers": "triggers:\n  - {id: slow, when: {metric: slow, above: 50%}, respond: {roll_back: config}}\n"
                "  - {id: note, when: {metric: errors, above: 40%}, respond: {hold: noted}}\n",
    "breakers": "breakers: [{id: trip, all: [{metric: slow, above: 30%}, {metric: errors, above: 10%}], "
                "roll_back: flag}]",
    "tree": "tree: [{id: q, question: Q?, when: {metric: slow, above: 70%}, yes: {roll_back: full}}, "
            "{id: r, question: R?, when: {metric: errors, above: 60%}, yes: {roll_back: flag}}]",
    "scores": "scores: [{id: s, when: {metric: errors, above: 80%}, level: config, reason: s, "
              "confidence: 99%}]",
}  # fmt: skip


@cache
def several(folder: Path, *names: str) -> System:
    """The shop with these styles alone."""
    inner = ", ".join(STYLES[name] for name in names if name in ("breakers", "tree", "scores"))
    rules = "metrics:\n  errors: {unit: fraction, source: {command: {argv: [x]}}}\n"
    rules += "  slow: {unit: fraction, source: {command: {argv: [x]}}}\n"
    rules += "".join(STYLES[name] for name in names if name in ("table", "triggers"))
    made = build(folder / "-".join(names))
    more = f", {inner}" if inner else ""
    made.edit("verification:\n", f"{rules}decision: {{style: strictest{more}}}\nverification:\n")
    return made.system


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the systems lie."""
    return tmp_path_factory.mktemp("styles")


@pytest.mark.requirement("C-03")
@settings(max_examples=60, deadline=None)
@given(
    errors=st.floats(0, 1), slow=st.floats(0, 1), more=st.tuples(st.floats(0, 1), st.floats(0, 1))
)
def test_of_several_styles_the_stricter_answer_wins(
    folder: Path, errors: float, slow: float, more: tuple[float, float]
) -> None:
    """Together they say what the strictest of them says alone; worse numbers never say less."""

    def heaviest(names: tuple[str, ...], *values: float) -> tuple[int, int, int]:
        there = several(folder, *names)
        read = {name: Sample(name, value, "fraction", NOW, None, 1)
                for name, value in zip(("errors", "slow"), values, strict=True)}  # fmt: skip
        best = decide(there, Known(read, {}, (), now=NOW)).best
        return (-1, 0, 0) if best is None else weight(several(folder, *STYLES), best)

    for count in (2, 3, len(STYLES)):
        for names in combinations(STYLES, count):
            alone = max(heaviest((name,), errors, slow) for name in names)
            assert heaviest(names, errors, slow) == alone
    worse = heaviest(tuple(STYLES), min(1.0, errors + more[0]), min(1.0, slow + more[1]))
    assert worse >= heaviest(tuple(STYLES), errors, slow)


def test_the_table_is_in_validate_and_decides_in_what_if(here: Place) -> None:
    """A declaration with a table alone watches something: the past is judged by it too."""
    assert rollback(here.shop.folder, "validate").status == 0
    here.read(errors=0.06)
    rollback(here.shop.folder, "decide")
    replayed = json.loads(rollback(here.shop.folder, "--json", "what-if").out)
    assert [one["trigger"] for one in replayed["alerts"]] == ["bad"]
