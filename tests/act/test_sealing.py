"""Suites that are run outside a run: what they say is kept, where they worked is gone."""

from __future__ import annotations

from pathlib import Path

from rollback.act.sealing import ask_suites, seal_checkpoint
from tests.systems import build


def test_where_the_suites_worked_nothing_stays(tmp_path: Path) -> None:
    """The verdicts are in the answer and the seal; the folder is gone, with what stood in it."""
    shop = build(tmp_path)
    with shop.site() as site:
        (result,) = ask_suites(site)
        assert result.open
        sealed = seal_checkpoint(site, site.checkpoints.create("good"))
        assert (sealed.green, sealed.passed) == (True, 1)
        assert list((site.state.path / "runs").iterdir()) == []
