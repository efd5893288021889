"""After an incident a gate wants more: what a metric must show is asked again, with a stricter limit.

Hides: which checks have a limit that a factor can make stricter.
Never: makes one milder.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rollback.act import incident
from rollback.act.site import Site
from rollback.judge.closer import stricter
from rollback.model.finding import Answer
from rollback.observe.check import ask

if TYPE_CHECKING:
    from rollback.observe.view import View

_LIMITS = ("above", "below", "at_least", "at_most")


def missed(site: Site, suites: Iterable[str], view: View) -> list[str]:
    """Why a gate that is looked at more closely stays closed: each metric that is not well enough."""
    now = incident.closer(site)
    if now.thresholds >= 1:
        return []
    found = []
    for suite in suites:
        for check in getattr(site.system.verification, suite):
            name = getattr(check, "name", "")
            if check.kind != "metric" or name not in site.system.metrics or check.levels:
                continue
            unit = site.system.metrics[name].unit
            limits = {key: value for key in _LIMITS if (value := getattr(check, key)) is not None}
            closer = check.model_copy(update=stricter(limits, unit, now.thresholds))
            finding = ask(closer, view)
            if finding.answer is not Answer.PASS:
                said = f"{finding.answer.upper()}: {finding.evidence}"
                found.append(
                    f"{getattr(check, 'id', name)}, at {now.thresholds:g} of its limit {now.why}: {said}"
                )
    return found
