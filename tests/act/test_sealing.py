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


def test_a_seal_that_is_not_green_says_how_many_reasons_it_does_not_name(tmp_path: Path) -> None:
    """Three of them by name, as at a terminal; nothing more where that is all."""
    shop = build(tmp_path)
    for wrong, ending in ((3, "config/app.yaml: no-3 is missing"), (5, "; and 2 more")):
        checks = "".join(f"    - config: {{id: c{n}, file: config/app.yaml, keys: [no-{n}]}}\n"
                         for n in range(1, wrong + 1))  # fmt: skip
        shop.edit("  smoke:\n", f"  smoke:\n{checks}")
        with shop.site() as site:
            sealed = seal_checkpoint(site, site.checkpoints.create(f"with-{wrong}"))
        assert (len(sealed.reasons), sealed.failed) == (wrong, wrong)
        assert sealed.said.endswith(ending), sealed.said
        shop.edit(checks, "")
