"""What takes a while and is no run: tasks, repairs by a person, looking on and where it leads."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.act.responding import ENDED
from rollback.act.told import tell_event, tell_facts
from rollback.judge.trend import trend
from rollback.model.lifecycle import State
from tests.watch.places import Place, place, runs, told

RULE = "when: {metric: errors, above: 10%}, respond: {roll_back: config}"
MAY = "4: {may: [observe, check, roll-back], confirm: false}"
FREE = {MAY: MAY.replace("roll-back]", "roll-back, open-tasks]")}
TASKS = {
    "monitor:": "follow_ups: {tasks: {fix: {title: Repair it, owner: lead, due: 15m}}}\nmonitor:"
}


def responding(folder: Path, respond: str) -> Place:
    """The shop whose first rule calls for this."""
    return place(
        folder,
        edits={**FREE, **TASKS, RULE: f"when: {{metric: errors, above: 10%}}, respond: {respond}"},
    )


def ended(here: Place) -> list[str]:
    """How each of them ended, oldest first."""
    with here.shop.site() as site:
        return [str(event.data["how"]) for event in told(site, ENDED)]


# -- tasks ---------------------------------------------------------------------------------------


def test_a_task_is_opened_unasked_once_for_each_time_that_it_is_called_for(tmp_path: Path) -> None:
    """With owner and reason; nobody is called, nothing is run; a day of the same is one task."""
    here = responding(tmp_path, "{task: fix}")
    with here.agent() as agent:
        here.read(errors=0.5)
        looked = here.tick(agent, 80)
        assert (looked.held, looked.person) == ("the task fix is open", False)
        (task,) = told(agent.site, "task.opened")
        assert (task.data["title"], task.data["owner"], task.data["due_s"]) == (
            "Repair it",
            "lead",
            900.0,
        )
        assert "errors-high: errors is 0.5" in str(task.data["because"])
        here.read(errors=0.0)
        here.tick(agent)
        here.read(errors=0.5)
        here.tick(agent)
        assert len(told(agent.site, "task.opened")) == 2
        assert runs(agent.site) == []


def test_without_the_right_to_open_tasks_a_person_is_called(tmp_path: Path) -> None:
    """As for everything that autonomy does not let it do."""
    here = place(tmp_path, edits={**TASKS, RULE: RULE.replace("roll_back: config", "task: fix")})
    with here.agent() as agent:
        here.read(errors=0.5)
        assert "calls for a person: task fix" in here.tick(agent).held
        assert told(agent.site, "task.opened") == []


# -- a repair within a time -----------------------------------------------------------------------

ATTEMPT = (
    "{attempt: {task: fix, within: 15m, success: {hold: It holds}, failure: {roll_back: config}}}"
)


@pytest.mark.requirement("QL-13")
@pytest.mark.parametrize(
    ("word", "after_ticks", "back"),
    [("yes", 5, False), ("no", 5, True), ("", 14, False), ("", 16, True), ("perhaps", 16, True)],
)
def test_a_repair_has_its_time_and_then_its_end_decides(
    tmp_path: Path, word: str, after_ticks: int, back: bool
) -> None:
    """Told to be done: nothing goes back. Told to have failed, or silent until its time is over: it does."""
    here = responding(tmp_path, ATTEMPT)
    with here.agent() as agent:
        tell_facts(agent.site, {"fix": "yes"}, by="ada", for_s=86_400.0)  # of another time
        here.read(errors=0.5)
        looked = here.tick(agent)
        assert "fix has 15 min" in looked.held
        if word:
            tell_facts(agent.site, {"fix": word}, by="ada", for_s=3600.0)
        looked = here.tick(agent, after_ticks)
        assert [run.state for run in runs(agent.site)] == [State.COMPLETE] * back
        assert len(told(agent.site, "task.opened")) == 1
        if word == "yes":
            assert "It holds" in looked.held
            here.tick(agent, 60)
            assert runs(agent.site) == []


# -- looking on -----------------------------------------------------------------------------------

WATCH = ("{watch: {for: 15m, every: 60s, metric: errors, improving: {observe: 30m}, "
         "worsening: {roll_back: config}, flat: {procedure: ask}}}")  # fmt: skip
ASK = {
    "monitor:": "procedures: {ask: {title: Ask, steps: [{task: {says: Look, wait: false}}]}}\nmonitor:"
}


def series(here: Place, agent: object, values: list[float | None]) -> None:
    """One reading each minute."""
    for value in values:
        here.read(errors=value)
        here.tick(agent)  # type: ignore[arg-type]


@pytest.mark.requirement("QL-12")
def test_what_gets_worse_goes_back_at_the_end_of_the_look_and_not_before(tmp_path: Path) -> None:
    """Fourteen minutes of growing numbers begin nothing."""
    here = responding(tmp_path, WATCH.replace("{procedure: ask}", "{hold: x}"))
    with here.agent() as agent:
        series(here, agent, [0.11 + 0.01 * n for n in range(15)])
        assert runs(agent.site) == []
        series(here, agent, [0.3, 0.31])
        (run,) = runs(agent.site)
        assert (run.state, run.trigger) == (State.COMPLETE, "errors-high")
        assert "errors was worsening in 15 min" in str(run.plan["reason"])
    assert ended(here) == ["worsening"]


@pytest.mark.requirement("QL-12")
def test_what_gets_better_is_looked_at_again_after_its_time(tmp_path: Path) -> None:
    """And goes back when it is worse by then; better again, it is only looked at."""
    here = responding(tmp_path, WATCH.replace("{procedure: ask}", "{hold: x}"))
    with here.agent() as agent:
        series(here, agent, [0.5 - 0.02 * n for n in range(17)])
        assert ended(here) == ["improving"]
        series(here, agent, [0.2] * 28)
        assert ended(here) == ["improving"]
        series(here, agent, [0.2 + 0.02 * n for n in range(20)])
        assert ended(here) == ["improving", "worsening"]
        assert [one.state for one in runs(agent.site)] == [State.COMPLETE]


@pytest.mark.requirement("C-40")
def test_what_goes_nowhere_is_looked_at_once_more_and_then_as_declared(tmp_path: Path) -> None:
    """A procedure here; without a word for it, a person."""
    here = place(tmp_path, edits={**FREE, **ASK, RULE: RULE.replace("{roll_back: config}", WATCH)})
    with here.agent() as agent:
        series(here, agent, [0.2] * 17)
        assert (ended(here), runs(agent.site)) == (["flat"], [])
        series(here, agent, [0.2] * 17)
        assert ended(here) == ["flat", "flat"]
        assert [str(run.plan["level"]) for run in runs(agent.site)] == ["ask"]
    bare = responding(tmp_path / "bare", WATCH.replace(", flat: {procedure: ask}", ""))
    with bare.agent() as agent:
        series(bare, agent, [0.2] * 34)
        assert "calls for a person" in str(told(agent.site, "agent.held")[-1].data["because"])
        assert runs(agent.site) == []


def test_what_was_not_seen_calls_a_person_and_goes_nowhere(tmp_path: Path) -> None:
    """Most readings are missing; what is left of them looks worse."""
    veto, looks = "when: {event: veto, within: 1h}", WATCH.replace("{procedure: ask}", "{hold: x}")
    here = place(tmp_path, edits={
        f"{{id: vetoed, {veto}": f"{{id: vetoed, enabled: false, {veto}",
        **FREE, RULE: f"{veto}, respond: {looks}",
    })  # fmt: skip
    with here.agent() as agent:
        tell_event(agent.site, "veto", {}, by="ada")
        series(here, agent, [0.01, *[None] * 3, 0.02, *[None] * 6, 0.03, *[None] * 4, 0.9])
        assert ended(here) == ["unknown"]
        assert "not seen well enough" in str(told(agent.site, "agent.held")[-1].data["because"])
        assert runs(agent.site) == []


def test_a_look_that_nobody_took_most_of_the_time_tells_nothing(tmp_path: Path) -> None:
    """The agent was away for ten of fifteen minutes; what it saw at both ends looks worse."""
    here = responding(tmp_path, WATCH.replace("{procedure: ask}", "{hold: x}"))
    with here.agent() as agent:
        series(here, agent, [0.2, 0.2, 0.2])
        here.shop.clock.ahead_s += 600.0
        series(here, agent, [0.9, 0.9, 0.9, 0.9])
        assert (ended(here), runs(agent.site)) == (["unknown"], [])


def test_what_is_over_before_the_end_of_the_look_is_over(tmp_path: Path) -> None:
    """It comes back: the look begins anew."""
    here = responding(tmp_path, WATCH.replace("{procedure: ask}", "{hold: x}"))
    with here.agent() as agent:
        series(here, agent, [0.11 + 0.01 * n for n in range(12)])
        series(here, agent, [0.0] * 5)
        series(here, agent, [0.3 + 0.01 * n for n in range(12)])
        assert (ended(here), runs(agent.site)) == ([], [])


@pytest.mark.parametrize(
    ("values", "lower", "wanted"),
    [
        ([1.0, 2.0, 3.0], True, "worsening"), ([1.0, 2.0, 3.0], False, "improving"),
        ([3.0, 2.0, 1.0], True, "improving"), ([1.0, 1.0, 1.05], True, "flat"),
        ([1.0, 1.0, 1.06], True, "worsening"),
        ([0.0, 0.0, 0.0], True, "flat"), ([0.0, 0.0, 0.001], True, "worsening"),
        ([1.0, 1.0, 99.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], True, "flat"), ([-1.0, 0.0, 1.0], True, "worsening"),
        ([1.0, 2.0], True, None), ([], True, None), ([1.0, 2.0, 3.0, None], True, None),
        ([1.0, None, None, None, None, 2.0, 3.0], True, None),
        ([1.0, None, 2.0, None, 3.0, 4.0], True, "worsening"),
    ],
)  # fmt: skip
def test_where_a_metric_went(values: list[float | None], lower: bool, wanted: str | None) -> None:
    """One odd reading decides nothing; what was not read is not what it was before."""
    assert trend(values, lower_is_better=lower) == wanted


# -- procedures -----------------------------------------------------------------------------------

UNASKED = """procedures:
  reassess:
    title: Think again
    steps: [{checkpoint: {id: keep, components: all}}, {collect: {record: think}}]
  diagnose:
    title: Look first
    steps: [{capture: {sources: [memory, disk]}}, {choose: {id: ask, point: which}}]
  scale:
    title: Fewer workers
    steps:
      - edit: {file: config/app.yaml, key: limit, value: 1}
      - watch: {for: 200ms, every: 100ms, expect: [{metric: slow, below: 50%}]}
  preserve: {title: Keep it as it is, steps: [{checkpoint: {id: keep, components: all}}]}
records: {think: {title: What now, by: op, fields: {plan: {title: Plan}}}}
decision:
  style: most-severe
  points:
    which:
      title: Which
      asks: op
      options: [{id: a, title: A, respond: {hold: a}}, {id: b, title: B, respond: {hold: b}}]
monitor:"""


@pytest.mark.parametrize(
    ("procedure", "done", "state", "waits_for"),
    [
        ("reassess", "step.ended", State.WAITING, "think"),
        ("diagnose", "step.ended", State.WAITING, "ask"),
        ("scale", "sample.read", State.MITIGATED, ""),
        ("preserve", "step.ended", State.MITIGATED, ""),
    ],
)
def test_what_needs_nobody_is_done_and_what_does_is_asked_once(
    tmp_path: Path, procedure: str, done: str, state: State, waits_for: str
) -> None:
    """A checkpoint, a diagnosis, fewer workers, by the agent; the form and the choice wait for a person."""
    respond = f"{{procedure: {procedure}}}"
    here = place(
        tmp_path, edits={"monitor:": UNASKED, RULE: RULE.replace("{roll_back: config}", respond)}
    )
    with here.agent() as agent:
        here.read(errors=0.5)
        before = len(agent.site.checkpoints.list())
        here.tick(agent, 5)
        (run,) = runs(agent.site)
        assert (run.plan["requester"], run.unasked, run.state) == ("rollback monitor", True, state)
        assert str(run.waiting_for.get("item", "")) == waits_for
        assert done in [event.kind for event in agent.site.journal.events() if event.run == run.id]
        kept = len(agent.site.checkpoints.list()) - before
        assert (kept > 0) == (procedure in ("reassess", "preserve", "scale"))
        assert len(told(agent.site, "run.planned")) == 1
    assert ("limit: 1" in (here.shop.tree / "config" / "app.yaml").read_text()) == (
        procedure == "scale"
    )
