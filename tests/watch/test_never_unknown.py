"""What nobody knows begins nothing: a past that is too short, a filter, a question that cannot be told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollback.act.told import tell_facts
from rollback.model.lifecycle import State
from tests.cli.program import rollback
from tests.watch.places import place, runs, told

LASTS = "{metric: errors, at_most: 10%, for: 5m}"
RULE = "{id: errors-high, when: {metric: errors, above: 10%}, respond: {roll_back: config}}"
NEGATED = (
    f"{{id: errors-high, when: {{not: {LASTS}}}, respond: {{roll_back: config}}, automatic: true}}"
)
AUTOMATIC = RULE[:-1] + ", automatic: true}"


@pytest.mark.parametrize(
    "written", [NEGATED, NEGATED.replace(f"not: {LASTS}", f"all: [{{not: {LASTS}}}]")]
)
def test_the_first_look_at_a_healthy_system_begins_nothing(tmp_path: Path, written: str) -> None:
    """`not: {…, for: 5m}` without a past: nobody can tell, so a person is asked; the settings stay."""
    here = place(tmp_path, edits={RULE: written})
    before = here.shop.bytes()
    done = rollback(here.shop.folder, "--json", "monitor", "--once")
    assert json.loads(done.out.splitlines()[0])["runs"] == []
    assert done.status == 9, done.out
    assert here.shop.bytes() == before
    with here.agent() as agent:
        assert runs(agent.site) == []
        (held,) = told(agent.site, "agent.held")
        assert "errors-high cannot be told" in str(held.data["because"])


DOUBTED = [
    # a reason against going back that cannot be told: the metric gives no number
    "decision: {style: most-severe, filters: [{id: busy, title: Too busy, answer: not-appropriate, "
    "when: {metric: slow, above: 50%}}]}\n",
    # one that holds
    "decision: {style: most-severe, filters: [{id: busy, title: Too busy, answer: not-appropriate, "
    "when: {metric: errors, above: 0}}]}\n",
    # one of which only a past that is too short says no
    "decision: {style: most-severe, filters: [{id: busy, title: Too busy, answer: not-appropriate, "
    "when: {metric: errors, above: 0, for: 5m}}]}\n",
]


@pytest.mark.requirement("AW-02", "AW-03")
@pytest.mark.parametrize("filters", DOUBTED)
def test_a_filter_keeps_an_automatic_rule_from_acting(tmp_path: Path, filters: str) -> None:
    """One that holds, and one that cannot be told: nothing goes back, and the reason is named."""
    here = place(tmp_path, edits={RULE: AUTOMATIC, "triggers:\n": f"{filters}triggers:\n"})
    here.read(errors=0.5, slow=None)
    before = here.shop.bytes()
    done = rollback(here.shop.folder, "--json", "monitor", "--once")
    assert json.loads(done.out.splitlines()[0])["runs"] == []
    assert here.shop.bytes() == before
    with here.agent() as agent:
        assert runs(agent.site) == []
        (taken,) = told(agent.site, "decision.taken")
        assert "Too busy" in " ".join(map(str, taken.data["reasoning"]))
        assert taken.data["level"] == ""


def test_a_filter_stands_before_what_follows_a_look_too(tmp_path: Path) -> None:
    """Getting worse calls for going back, and going back is not appropriate: a person is told why."""
    look = ("watch: {for: 2m, metric: slow, improving: {hold: ok}, worsening: {roll_back: config}, "
            "flat: {hold: ok}}")  # fmt: skip
    here = place(tmp_path, edits={
        RULE: RULE.replace("roll_back: config", look).replace("}}}", "}}}"),
        "triggers:\n": DOUBTED[1] + "triggers:\n",
    })  # fmt: skip
    with here.agent() as agent:
        for slow in (0.01, 0.1, 0.2, 0.3, 0.4, 0.45):
            here.read(errors=0.5, slow=slow)
            looked = here.tick(agent, every_s=40.0)
        assert looked.person
        assert "Too busy" in looked.held
        assert runs(agent.site) == []


ORDERED = [
    "decision: {style: tree, tree: [{id: fine, question: Fine?, when: {metric: slow, below: 50%}, "
    "yes: {hold: fine}}, {id: bad, question: Bad?, when: {metric: errors, above: 10%}, "
    "yes: {roll_back: config}}]}\n",
    "decision: {style: tree, tree: [{id: fine, question: Fine?, when: {metric: slow, below: 50%}, "
    "yes: {hold: fine}, no: {roll_back: config}}]}\n",
    "decision: {style: tree, tree: [{id: fine, question: Fine?, when: {metric: errors, above: 0, for: 5m}, "
    "yes: {hold: fine}, no: {roll_back: config}}]}\n",
    "decision: {style: tiers, tiers: [{id: fine, title: Fine, when: {metric: slow, below: 50%}, "
    "respond: {hold: fine}}, {id: bad, title: Bad, when: {metric: errors, above: 10%}, "
    "respond: {roll_back: config}}]}\n",
    "decision: {style: scored, scores: [{id: fine, reason: Fine, needed: false, confidence: 99%, when: "
    "{metric: slow, below: 50%}}, {id: bad, reason: Bad, level: config, confidence: 99%, when: {metric: "
    "errors, above: 10%}}]}\n",
]
FIRST = (
    "decision: {style: first}\ntriggers:\n"
    "  - {id: fine, when: {metric: slow, below: 50%}, respond: {hold: fine}}\n  - " + AUTOMATIC
)


@pytest.mark.requirement("C-03")
@pytest.mark.parametrize("written", [*ORDERED, FIRST])
def test_a_question_that_cannot_be_told_is_not_passed_over(tmp_path: Path, written: str) -> None:
    """Where the first yes decides, an UNKNOWN one before it could have held: a person is asked."""
    edits = {"triggers:\n": f"{written}triggers:\n", RULE: RULE[:-1] + ", enabled: false}"}
    if written is FIRST:
        edits = {f"triggers:\n  - {RULE}": FIRST}
    here = place(tmp_path, edits=edits)
    here.read(errors=0.5, slow=None)
    before = here.shop.bytes()
    done = rollback(here.shop.folder, "--json", "monitor", "--once")
    assert json.loads(done.out.splitlines()[0])["runs"] == []
    assert (done.status, here.shop.bytes()) == (9, before)
    with here.agent() as agent:
        assert runs(agent.site) == []
        (taken,) = told(agent.site, "decision.taken")
        assert taken.data["respond"] == "escalate"
        assert "fine" in str(taken.data["doubts"])
        assert "fine cannot be told" in " ".join(map(str, taken.data["reasoning"]))


@pytest.mark.parametrize("written", [*ORDERED[:2], *ORDERED[3:], FIRST])
def test_what_is_known_decides_as_declared(tmp_path: Path, written: str) -> None:
    """The same rules, and a number that answers the first question: it goes back, unasked."""
    edits = {"triggers:\n": f"{written}triggers:\n", RULE: RULE[:-1] + ", enabled: false}"}
    if written is FIRST:
        edits = {f"triggers:\n  - {RULE}": FIRST}
    here = place(tmp_path, edits={**edits, SLOW: SLOW[:-1] + ", enabled: false}"})
    with here.agent() as agent:
        here.read(errors=0.5, slow=0.6)
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE]


SLOW = "{id: slow, when: {metric: slow, above: 50%}, respond: {roll_back: config}}"


@pytest.mark.parametrize("wording", ["ask", "hold"])
def test_a_system_that_holds_on_doubt_does_not_act_on_it_either(
    tmp_path: Path, wording: str
) -> None:
    """`default_when_unknown` says whether a person is asked, never whether to act."""
    edits = {"triggers:\n": f"{ORDERED[0]}triggers:\n", RULE: RULE[:-1] + ", enabled: false}",
             "current: 4\n": f"current: 4\n  default_when_unknown: {wording}\n"}  # fmt: skip
    here = place(tmp_path, edits=edits)
    here.read(errors=0.5, slow=None)
    with here.agent() as agent:
        looked = here.tick(agent)
        assert looked.decision is not None
        assert looked.decision.respond == {"ask": "escalate", "hold": "hold"}[wording]
        assert runs(agent.site) == []


def test_a_breaker_is_spared_until_it_is_known_not_to_be(tmp_path: Path) -> None:
    """`unless` that only has not lasted yet is no reason to act."""
    written = ("decision: {style: most-severe, breakers: [{id: trip, all: [{metric: errors, above: 10%}], "
               "unless: [{metric: slow, above: 1%, for: 5m}], roll_back: config}]}\n")  # fmt: skip
    here = place(tmp_path, edits={"triggers:\n": f"{written}triggers:\n",
                                  RULE: RULE[:-1] + ", enabled: false}"})  # fmt: skip
    with here.agent() as agent:
        here.read(errors=0.5, slow=0.1)
        here.tick(agent)
        assert runs(agent.site) == []
        here.read(errors=0.5, slow=0.0)
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE]


UNSAID = [
    "decision: {style: most-severe, filters: [{id: busy, title: Busy, answer: not-appropriate, "
    "when: {fact: busy, is: true}}]}\n",
    "decision: {style: tree, tree: [{id: fine, question: Planned?, when: {fact: busy, is: true}, "
    "yes: {hold: fine}}, {id: bad, question: Bad?, when: {metric: errors, above: 10%}, "
    "yes: {roll_back: config}}]}\n",
    "decision: {style: first}\ntriggers:\n"
    "  - {id: fine, when: {fact: busy, is: true}, respond: {hold: fine}}\n  - " + AUTOMATIC,
]


@pytest.mark.requirement("AW-03", "C-03")
@pytest.mark.parametrize("written", UNSAID)
@pytest.mark.parametrize(
    ("word", "state"), [("", State.WAITING), ("no", State.COMPLETE), ("yes", None)]
)
def test_what_a_word_could_have_kept_from_acting_is_not_done_unasked(
    tmp_path: Path, written: str, word: str, state: State | None
) -> None:
    """Nobody has said whether it is busy: the level is called for, and a person is asked for a yes."""
    if "style: first" in written:
        edits = {f"triggers:\n  - {RULE}": written}
    elif "filters" in written:
        edits = {"triggers:\n": f"{written}triggers:\n", RULE: AUTOMATIC}
    else:
        edits = {"triggers:\n": f"{written}triggers:\n", RULE: RULE[:-1] + ", enabled: false}"}
    here = place(tmp_path, edits=edits)
    here.read(errors=0.5, slow=0.0)
    before = here.shop.bytes()
    with here.agent() as agent:
        if word:
            tell_facts(agent.site, {"busy": word}, by="ada", for_s=3600.0)
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == ([] if state is None else [state])
        if state is State.WAITING:
            (planned,) = told(agent.site, "run.planned")
            assert "nobody has told busy" in str(planned.data["asked_because"])
            assert here.shop.bytes() == before


def test_a_row_with_a_gap_inside_is_said_and_begins_nothing(tmp_path: Path) -> None:
    """Bad, bad, unknown, bad, bad: neither three in a row nor a hold; a person is told. Then it is three."""
    here = place(tmp_path, edits={RULE: RULE.replace("above: 10%", "above: 10%, times: 3")})
    with here.agent() as agent:
        for errors in (0.5, 0.5, None, 0.5, 0.5):
            here.read(errors=errors, slow=0.0)
            looked = here.tick(agent)
        assert looked.decision is not None
        assert (looked.decision.respond, looked.decision.doubts) == ("escalate", ("errors-high",))
        assert (
            "2 of 3 times in a row, and errors was unknown in between"
            in looked.decision.reasoning[0]
        )
        assert looked.person
        assert runs(agent.site) == []
        here.tick(agent)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE]
