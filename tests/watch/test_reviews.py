"""What is looked at again, and what is assessed before: the times and forms that a decision declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.act import authorize, deadlines
from rollback.act.engine import roll_back
from rollback.act.stopping import answer
from rollback.model.lifecycle import State
from tests.watch.places import place, told

RULE = "{id: errors-high, when: {metric: errors, above: 10%}, respond: {roll_back: config}"
RECORDS = """records:
  impact:
    title: What it means
    review_every: 7d
    fields: {users: {title: Users affected, type: number}}
triggers:
"""
DAY_S = 86400.0


@pytest.mark.requirement("PM-20")
@pytest.mark.parametrize(("urgency", "of"), [("", "review"), (", urgency: 30m", "urgency")])
def test_what_is_called_for_is_overdue_when_nobody_has_looked_again(
    tmp_path: Path, urgency: str, of: str
) -> None:
    """After `review_after`, where the rule has no urgency of its own; once."""
    decision = "decision: {style: most-severe, review_after: 20m}\ntriggers:\n"
    here = place(tmp_path, edits={f"{RULE}}}": f"{RULE}{urgency}}}", "triggers:\n": decision,
                                  "current: 4": "current: 2"})  # fmt: skip
    here.read(errors=0.5)
    with here.agent() as agent:
        here.tick(agent, 19)
        assert told(agent.site, deadlines.KIND) == []
        here.tick(agent, 30)
        assert [e.data["of"] for e in told(agent.site, deadlines.KIND)] == [of]


@pytest.mark.requirement("AW-06")
def test_no_level_starts_before_the_assessment_is_whole(tmp_path: Path) -> None:
    """Whoever asks for it; an emergency does not wait for a form."""
    decision = "decision: {style: most-severe, assessment: impact}\n"
    here = place(tmp_path, edits={"triggers:\n": decision + RECORDS})
    before = here.shop.bytes()
    with here.shop.site() as site:
        flip = authorize.create(site, here.shop.plan(site, "flag"))
        assert roll_back(site, flip.id).state is State.COMPLETE
        before = here.shop.bytes()
        run = authorize.create(site, here.shop.plan(site, "config"))
        waits = roll_back(site, run.id)
        assert waits.state is State.WAITING
        assert "impact" in str(waits.waiting_for["what"])
        assert here.shop.bytes() == before
        answer(site, waits, item="impact.users", text="7", by="ada")
        assert roll_back(site, run.id).state is State.COMPLETE


def test_a_filled_record_is_overdue_each_time_that_nobody_looks_at_it_again(tmp_path: Path) -> None:
    """From the last word said about it, also of a run that is over; one never filled is not."""
    level = "    target: {sources: [{checkpoint: last-good}]}\n    steps: [{restore: {component: config}}]"
    asks = level.replace("    target", "    prerequisites: [{record: impact}]\n    target", 1)
    here = place(tmp_path, edits={"triggers:\n": RECORDS, level: asks})
    with here.shop.site() as site:
        run = authorize.create(site, here.shop.plan(site, "config"))
        waits = roll_back(site, run.id)
        here.shop.clock.ahead_s += 60.0
        assert [one for one in deadlines.overdue(site) if one.of == "review"] == []
        answer(site, waits, item="impact.users", text="7", by="ada")
        done = roll_back(site, run.id)
        assert done.state is State.COMPLETE

        def late() -> int:
            deadlines.tell(site)
            return sum(e.data["of"] == "review" for e in told(site, deadlines.KIND))

        here.shop.clock.ahead_s += 7 * DAY_S - 120.0
        assert late() == 0
        here.shop.clock.ahead_s += 240.0
        assert (late(), late()) == (1, 1)
        here.shop.clock.ahead_s += 7 * DAY_S
        assert late() == 2
        answer(site, done, item="impact.users", text="8", by="ada")
        here.shop.clock.ahead_s += 6 * DAY_S
        assert late() == 2
