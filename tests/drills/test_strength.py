"""Gate strength: faults come from what there is, one at a time, and what is not noticed is said."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from drills import strength
from drills.sabotage import generated, put_back
from drills.sandboxes.studio import Studio
from drills.strength import TIERS, Noticed, measure, report
from rollback import declare
from tests.systems import walk


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio.build(tmp_path_factory.mktemp("studio") / "up")


def test_every_component_and_service_meets_every_way_to_break_its_kind(studio: Studio) -> None:
    """At least forty, no two alike; what is declared besides them is broken besides them."""
    system = declare.load(studio.declaration)
    found = generated(studio, system)
    assert len(found) >= 40
    assert len({one.id for one in found}) == len(found)
    of = Counter(one.target.removeprefix("service ").split("/")[0] for one in found)
    assert set(of) == {*system.components, *system.services}
    assert {one.family for one in found} == {
        "lost", "emptied", "cut", "flipped", "foreign", "gone", "garbage", "header", "page",
        "dropped", "cleared", "altered", "killed", "frozen",
    }  # fmt: skip


def test_each_fault_changes_the_tree_and_putting_it_back_leaves_no_trace(
    studio: Studio, tmp_path: Path
) -> None:
    """A fault that changes nothing would prove nothing."""
    kept = tmp_path / "kept"
    shutil.copytree(studio.root, kept, symlinks=True)
    whole = walk(studio.root)
    for one in generated(studio, declare.load(studio.declaration)):
        if one.running:
            continue
        one.do()
        assert walk(studio.root) != whole, one.id
        put_back(studio.root, kept)
    assert walk(studio.root) == whole


@pytest.mark.long
def test_three_faults_of_three_kinds_are_noticed_by_the_suite_that_looks_there(
    tmp_path: Path,
) -> None:
    """Planted in a studio that really runs: a frozen process, a cut configuration, a broken database."""
    only = ("frozen service knowledge", "cut config/config.yaml", "header state")
    body = measure(tmp_path, only=only, tiers=("smoke",))
    assert (body["planted"], body["noticed"], body["missed"]) == (3, 3, [])
    assert body["by_tier"]["smoke"] == {"asked": 3, "noticed": 3, "share": 1.0}
    reasons = {one["fault"]: one["reason"] for one in body["faults"]}
    assert set(reasons) == set(only)
    assert all("answered" in reason for reason in reasons.values()), reasons


@pytest.mark.long
def test_the_tree_is_looked_at_where_the_level_put_it_back_and_nowhere_else(tmp_path: Path) -> None:
    """As its gate does: what another component holds is no matter of this level's comparison."""
    here, elsewhere = "cut config/config.yaml", "flipped knowledge/sources.json"
    body = measure(tmp_path, level="configuration", only=(here, elsewhere), tiers=("tree",))
    assert (body["level"], body["restored"]) == ("configuration", ["config"])
    assert (body["planted"], body["missed"]) == (2, [elsewhere])
    assert list(body["faults"][0]) == ["fault", "tier", "took_s", "reason"]
    assert len(body["asked"]) == 64


def test_what_nobody_noticed_is_counted_and_named() -> None:
    """A tier answers for those that came as far as it."""
    faults = [
        Noticed("a", "smoke", 1.0, "x"),
        Noticed("b", "tree", 9.0, "y"),
        Noticed("c", "", 9.0, ""),
    ]
    body = report(faults)
    assert (body["planted"], body["noticed"], body["missed"]) == (3, 2, ["c"])
    assert body["by_tier"]["smoke"] == {"asked": 3, "noticed": 1, "share": 0.333}
    assert body["by_tier"]["tree"] == {"asked": 2, "noticed": 1, "share": 0.5}
    assert list(body["by_tier"]) == list(TIERS)
    assert body["seconds"] == {"median": 5.0, "slowest": 9.0}
    assert report([])["share"] is None
    assert strength.SHARE_MIN == 0.95
