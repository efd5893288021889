"""The tiers of a gate: each a child with its own deadline, in order, up to the first that stays closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.act import authorize, proving
from rollback.act.engine import roll_back
from rollback.model.lifecycle import State
from rollback.model.step import Suite
from tests.systems import Shop, ill

GATE = "    gate: {suites: [smoke]}\n  pages:"
PASSES = "- files: {id: NAME, exists: [config]}"
HANGS = "- command: {id: NAME, argv: [/bin/sleep, '60'], within: 30s}"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return ill(tmp_path)


def tiers(shop: Shop, **checks: str) -> None:
    """Level config asks these suites as well, each with one check; they are declared in another order."""
    names = ", ".join([*reversed(checks), "smoke"])
    shop.edit(GATE, GATE.replace("[smoke]", f"[{names}]"))
    text = "".join(f"  {suite}:\n    {check.replace('NAME', suite)}\n"
                   for suite, check in reversed(checks.items()))  # fmt: skip
    shop.edit("verification:\n", f"verification:\n{text}")


def test_suites_are_asked_in_order_and_what_comes_after_a_closed_one_is_not(shop: Shop) -> None:
    """Smoke first, whatever the order of the declaration; a suite that hangs ends at its own deadline."""
    tiers(shop, functional=HANGS, integration=PASSES)
    shop.edit("verification:\n", "verification:\n  budgets: {functional: 2s}\n")
    with shop.site() as site:
        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
        assert run.state is State.NEEDS_OPERATOR
        assert run.reason.startswith("functional: the suite did not end within 2 s"), run.reason
        asked = [e.data["suite"] for e in site.journal.events() if e.kind == "suite.ended"]
        assert asked == ["smoke", "functional"]


@pytest.mark.parametrize(
    ("text", "suite", "wanted_s"),
    [
        ("  budgets: {smoke: 42s}\n", "smoke", 42.0),
        ("  functional:\n    - files: {id: a, exists: [x], within: 7s}\n"
         "    - files: {id: b, exists: [x], within: 30m}\n",
         "functional", 20.0 + 7.0 + 1800.0),
        ("  suites: [{path: verification/integration/test_a.py, sha256: %s}]\n" % ("0" * 64), "integration",
         20.0 + 300.0),
        ("", "performance", 20.0),
    ],
)  # fmt: skip
def test_a_suite_may_take_its_budget_or_what_its_checks_may_take_together(
    shop: Shop, text: str, suite: Suite, wanted_s: float
) -> None:
    """Nothing cuts what is declared; a team's own tests get time too."""
    shop.edit("verification:\n", f"verification:\n{text}")
    assert proving.deadline_s(shop.system, suite) == wanted_s
