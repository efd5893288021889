"""Reasons against going back, asked when a person starts a level that they speak against.

The decision has weighed them for what it calls for; nobody passes them by typing.

Hides: which metrics they need.
Never: refuses because nobody can tell: whoever types is the person who would be asked.
"""

from __future__ import annotations

from rollback.act import eyes
from rollback.act.deciding import known
from rollback.act.plan import Plan, find_level
from rollback.act.site import Site
from rollback.act.starting import of_its_level
from rollback.judge.appropriate import weigh
from rollback.judge.guardrails import cause
from rollback.judge.match import Match
from rollback.judge.unasked import AGENT
from rollback.model.errors import Refused
from rollback.model.level import Level
from rollback.observe.metric import read_all

GUARDRAIL = "not-appropriate"


def against(site: Site, plan: Plan) -> tuple[Refused, ...]:
    """The refusal when a reason against going back holds, none for it does, and nobody overruled it.

    A declared cause that was said as the reason of the run is one for it.
    """
    here = site.there(plan.environment)
    _, level = find_level(here, plan.level)
    declared = here.system.decision.filters
    if plan.requester == AGENT or not isinstance(level, Level) or level.emergency:
        return ()
    if not of_its_level(plan, level) or not any(one.answer == GUARDRAIL for one in declared):
        return ()
    manual = any(one.manual and one.answer == "appropriate" for one in declared)
    if manual and cause(here.system, plan.reason) is None:
        return ()
    names = {name for one in declared if one.when is not None for name in one.when.metrics}
    knows = known(here, read_all(eyes.of(here, plan.environment), sorted(names)), {})
    weighed = weigh(here.system.decision, knows, (Match("by hand", "roll-back", plan.level, ""),))
    if not any(match.word == "hold" for match in weighed.fired):
        return ()
    said, _, hint = weighed.against.partition("; ")
    return (
        Refused(GUARDRAIL, said.removeprefix("not appropriate: "), hint=hint or "rollback decide"),
    )
