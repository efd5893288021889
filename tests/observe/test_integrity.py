"""Live bytes against the manifest of a checkpoint, as a metric and as a trigger."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rollback.act.deciding import decide_now
from rollback.keep.stat_cache import RACY_NS
from rollback.model.finding import Sample
from rollback.observe.metric import read
from rollback.observe.view import View
from tests.observe.test_metrics import bytes_read
from tests.observe.world import wait_until
from tests.systems import Shop, build

METRICS = """metrics:
  drift: {unit: count, source: {integrity: {component: pages}}}
  deep: {unit: count, source: {integrity: {component: pages, deep: true}}}
  since: {unit: count, source: {integrity: {component: pages, checkpoint: before-release}}}
triggers:
  - {id: drifted, when: {metric: drift, above: 0}, respond: {roll_back: config}}
verification:"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with two pages, and an eye on them."""
    made = build(tmp_path)
    made.edit("verification:", METRICS)
    (made.tree / "pages" / "two.html").write_text("two\n")
    return made


def kept(shop: Shop, name: str, *components: str) -> None:
    with shop.site() as site:
        site.checkpoints.create(name, components=components or None)


def sample(shop: Shop, name: str = "drift") -> Sample:
    return read(name, View(shop.system, shop.host))


def test_what_differs_from_the_newest_verified_checkpoint_is_counted(shop: Shop) -> None:
    """Changed, gone and new paths, each once, with what they are compared with and which they are."""
    kept(shop, "before-release")
    found = sample(shop)
    assert (found.value, found.unit, found.source) == (0.0, "count", "integrity")
    assert found.count >= 2
    assert "before-release" in found.note
    os.utime(shop.tree / "pages" / "two.html")
    assert sample(shop).value == 0.0
    (shop.tree / "pages" / "two.html").chmod(0o711)
    assert sample(shop).value == 1.0
    (shop.tree / "pages" / "two.html").unlink()
    (shop.tree / "pages" / "three.html").write_text("three\n")
    (shop.tree / "pages" / "index.html").write_text("changed\n")
    found = sample(shop)
    assert found.value == 3.0
    for name in ("two.html", "three.html", "index.html"):
        assert name in found.note
    with shop.site() as site:
        decision = decide_now(site)
    assert (decision.trigger, decision.level) == ("drifted", "config")


def test_the_newest_one_counts_and_a_named_one_where_it_is_named(shop: Shop) -> None:
    """What holds the component not at all, and what was kept of a broken present, is passed over."""
    kept(shop, "before-release")
    (shop.tree / "pages" / "two.html").write_text("changed\n")
    kept(shop, "after-release")
    (shop.tree / "config" / "app.yaml").write_text("party: false\n")
    kept(shop, "of-config", "config")
    assert (sample(shop).value, sample(shop, "since").value) == (0.0, 1.0)
    assert "after-release" in sample(shop).note
    (shop.tree / "pages" / "two.html").write_text("broken\n")
    with shop.site() as site:
        site.checkpoints.create("safety-r1", kind="safety")
    assert sample(shop).value == 1.0


def test_without_a_verified_checkpoint_nothing_is_known(shop: Shop) -> None:
    """None yet, none of that name, one whose packs are broken: UNKNOWN, and no trigger fires."""
    assert (sample(shop).value, sample(shop).note) == (None, "there is no checkpoint yet")
    kept(shop, "of-config", "config")
    assert sample(shop).note == "no verified checkpoint holds component pages"
    assert "no checkpoint 'before-release'" in sample(shop, "since").note
    kept(shop, "before-release")
    (shop.tree / "pages" / "two.html").write_text("changed\n")
    assert sample(shop).value == 1.0
    for pack in (shop.folder / ".rollback" / "store").rglob("*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[: pack.stat().st_size // 2])
    assert sample(shop).value is None
    assert "is not verified" in sample(shop, "since").note
    with shop.site() as site:
        assert decide_now(site).level == ""


def cost(shop: Shop, name: str) -> int:
    """How many bytes are read for one reading."""
    before = bytes_read()
    assert sample(shop, name).value == 0.0
    return bytes_read() - before


def test_every_byte_is_read_where_that_is_asked_for(shop: Shop) -> None:
    """Else a file that looks untouched is believed; a changed one is seen by both."""
    page = shop.tree / "pages" / "large.html"
    page.write_bytes(os.urandom(4 << 20))
    os.utime(page, (1_700_000_000, 1_700_000_000))
    changed_ns = page.stat().st_ctime_ns  # a file that is young when it is captured is not believed
    wait_until(lambda: time.time_ns() - changed_ns > 2 * RACY_NS)
    kept(shop, "before-release")
    assert cost(shop, "drift") < 4 << 20 <= cost(shop, "deep")
    assert (sample(shop).value, sample(shop, "deep").value) == (0.0, 0.0)
    with page.open("r+b") as file:
        file.write(b"another")
    os.utime(page, (1_700_000_000, 1_700_000_000))
    assert (sample(shop).value, sample(shop, "deep").value) == (1.0, 1.0)


def test_nothing_of_the_system_is_changed_by_looking(shop: Shop) -> None:
    """Neither the component nor the journal."""
    kept(shop, "before-release")
    (shop.tree / "pages" / "two.html").write_text("changed\n")
    before = shop.bytes()
    assert sample(shop).value == 1.0
    assert (shop.bytes(), shop.journal.exists()) == (before, False)
