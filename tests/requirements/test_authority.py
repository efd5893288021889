"""How far the tool may go by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.engine import roll_back
from rollback.model.lifecycle import State
from rollback.model.people import Autonomy
from tests.systems import Shop, ill

TABLE = """autonomy:
  current: LEVEL
  table:
    3: {may: [observe, check, roll-back], confirm: true}
    4: {may: [observe, check, roll-back], confirm: false}
people:
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and a bad release."""
    return ill(tmp_path)


@pytest.mark.requirement("QL-04")
def test_at_autonomy_three_a_rollback_waits_for_a_confirmation(shop: Shop) -> None:
    """Which is the default; nothing is changed until somebody has said yes."""
    assert Autonomy().current == 3
    shop.edit("people:\n", TABLE.replace("LEVEL", "3"))
    before = shop.bytes()
    with shop.site() as site:
        run = roll_back(site, authorize.create(site, shop.plan(site, "config")).id)
        assert run.state is State.WAITING
        assert "approval" in run.waiting_for["what"]
        assert shop.bytes() == before
        authorize.approve(site, run, person="ada")
        assert roll_back(site, run.id).state is State.COMPLETE


@pytest.mark.requirement("QL-05")
def test_at_autonomy_four_a_rollback_goes_on_without_anybody(shop: Shop) -> None:
    """No approval is in the journal."""
    shop.edit("people:\n", TABLE.replace("LEVEL", "4"))
    with shop.site() as site:
        run = roll_back(site, authorize.create(site, shop.plan(site, "config")).id)
        assert run.state is State.COMPLETE
        assert run.approvals == ()
