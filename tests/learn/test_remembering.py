"""The memory of failures: permanent, found by pattern, and a repetition becomes work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rollback.act.offering import standing
from rollback.act.site import Site
from rollback.host import Host
from rollback.learn.remembering import recall, remember
from rollback.model.errors import PlanError, SpecError, UsageError
from rollback.model.finding import Sample
from rollback.observe.metric import read
from rollback.observe.view import View
from tests.cli.program import rollback
from tests.killed import KILLED, CountingTap, DyingTap, in_child, shots
from tests.requirements.stepping import stepped
from tests.systems import Shop, build

MEMORY = """memory:
  path: memory/failures.jsonl
  fields: [pattern, component, root_cause, prevention, similar_risks]
  systemic_after: 4
  systemic_task: systemic
follow_ups:
  tasks: {systemic: {title: "Systemic repair of {pattern}", owner: lead, due: 14d}}
patterns:
  port-conflict: {title: A port is taken, match: [EADDRINUSE], causes: [two programs],
    remedy: [take the other port], prevention: [a register of ports]}
metrics:
  repeats: {unit: count, source: {memory: {count: similar}}}
  remembered: {unit: count, source: {memory: {}}}
  conflicts: {unit: count, source: {memory: {pattern: port-conflict}}}
verification:"""
FILE = "tree/memory/failures.jsonl"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a memory, which is a component that only grows."""
    made = build(tmp_path)
    made.edit("verification:", MEMORY)
    made.edit("  pages: {path: pages, content: files}", "  pages: {path: pages, content: files}\n"
              "  failures: {path: memory/failures.jsonl, content: append-only}")  # fmt: skip
    made.edit(
        "authority: {roles: [lead, chief], quorum: all}", "authority: {roles: [op], alone: true}"
    )
    return made


def written(shop: Shop) -> list[dict[str, str]]:
    """The lines of the file."""
    return [json.loads(line) for line in (shop.folder / FILE).read_text().splitlines()]


def tasks(shop: Shop) -> list[str]:
    return [line["data"]["title"] for line in shop.lines() if line["kind"] == "task.opened"]


def sample(site: Site, name: str) -> Sample:
    return read(name, View(site.system, site.host))


@pytest.mark.requirement("VR-47")
def test_the_smallest_level_is_offered_and_the_memory_stays_for_good(shop: Shop) -> None:
    """The one that covers the fault; what was remembered is there after a rollback of everything."""
    first = rollback(
        shop.folder, "failure", "add", "wrong-limit", "root_cause=a typo", "component=config"
    )
    assert first.status == 0, first
    with shop.site() as site:
        site.checkpoints.create("good")
    second = rollback(shop.folder, "failure", "add", "port-conflict", "--as", "bo")
    assert second.status == 0, second
    held = (shop.folder / FILE).read_bytes()
    (shop.tree / "config" / "app.yaml").write_text("limit: 10\n")
    with shop.site() as site:
        offer = standing(site).offer
        assert offer is not None
        assert (offer.level, offer.components) == ("config", ("config",))
        stepped(site, shop.plan(site, "full", to="checkpoint:good"))
    assert (shop.folder / FILE).read_bytes() == held
    told = rollback(shop.folder, "--json", "failure", "list").json["failures"]
    assert [one["pattern"] for one in told] == ["wrong-limit", "port-conflict"]
    assert told[0] == written(shop)[0]
    assert rollback(shop.folder, "audit", "verify").status == 0


@pytest.mark.requirement("VR-33", "VR-32")
def test_an_analysis_is_found_by_its_pattern_and_an_unknown_pattern_is_said(shop: Shop) -> None:
    """With root cause, prevention and similar risks; the second time shows the first."""
    words = ["root_cause=two programs", "prevention=a register", "similar_risks=the cache"]
    first = rollback(shop.folder, "failure", "add", "port-conflict", *words, "--as", "bo")
    assert "helps: take the other port" in first.out
    assert "before" not in first.out
    again = rollback(shop.folder, "failure", "add", " Port-Conflict ")
    assert "it was remembered 1 time before" in again.out
    assert "prevention: a register" in again.out
    unknown = rollback(shop.folder, "failure", "add", "odd")
    assert "no pattern of the declaration has this name" in unknown.out
    (found, _) = rollback(shop.folder, "--json", "failure", "list", "port-conflict").json[
        "failures"
    ]
    assert {name: found[name] for name in ("pattern", "root_cause", "prevention", "similar_risks", "by")} == {
        "pattern": "port-conflict", "root_cause": "two programs", "prevention": "a register",
        "similar_risks": "the cache", "by": "bo"}  # fmt: skip
    assert "a register" in rollback(shop.folder, "failure", "list").out
    none = rollback(shop.folder, "failure", "list", "port")
    assert "no failure of port is remembered" in none.out


@pytest.mark.requirement("VR-34")
def test_the_fourth_of_a_pattern_opens_one_task_and_the_third_none(shop: Shop) -> None:
    """Others in between do not count, nor does the fifth open a second one."""
    with shop.site() as site:
        for _ in range(3):
            remember(site, "port-conflict", {}, by="ada")
            remember(site, "odd", {}, by="ada")
        assert tasks(shop) == []
        assert (
            remember(site, "PORT-conflict", {}, by="bo").opened
            == "Systemic repair of PORT-conflict"
        )
        assert remember(site, "port-conflict", {}, by="bo").opened == ""
        assert tasks(shop) == ["Systemic repair of PORT-conflict"]
        assert remember(site, "odd", {}, by="bo").opened == "Systemic repair of odd"


def test_a_metric_counts_failures_like_the_newest_and_does_not_take_no_journal_for_none(
    shop: Shop,
) -> None:
    """UNKNOWN before there is a journal; then all, those of a pattern, and those like the newest."""
    system = shop.system
    before = read("remembered", View(system, shop.host))
    assert (before.value, before.note) == (None, "there is no journal yet")
    with shop.site() as site:
        site.tell("fact.told", name="x", value="1", by="ada", until="2099-01-01T00:00:00Z")
        assert sample(site, "repeats").value == 0
        for pattern in ("port-conflict", "odd", "port-conflict", "port-conflict"):
            remember(site, pattern, {}, by="ada")
        assert sample(site, "repeats").value == 3
        assert sample(site, "remembered").value == 4
        assert sample(site, "conflicts").value == 3
        remember(site, "odd", {}, by="ada")
        assert sample(site, "repeats").value == 2


def test_killed_at_any_change_nothing_is_half_remembered(shop: Shop) -> None:
    """The journal is whole, the failure in it once or not at all; the next one writes what is missing."""
    with shop.site() as site:
        remember(site, "odd", {}, by="ada")

    def add(tap: CountingTap | DyingTap) -> None:
        with Site.open(shop.system, Host(tap=tap, clock=shop.clock)) as site:
            remember(site, "port-conflict", {"root_cause": "two programs"}, by="ada")

    saved = shop.folder.with_name("saved")
    shutil.copytree(shop.folder, saved)
    counting = CountingTap()
    add(counting)
    assert len(counting.points) > 3
    for number, how in shots(counting.points):
        shutil.rmtree(shop.folder)
        shutil.copytree(saved, shop.folder)
        dying = DyingTap(number, how)
        assert in_child(lambda tap=dying: add(tap)) == KILLED, (number, how)  # type: ignore[misc]
        with shop.site() as site:
            site.journal.verify()
            kept = [one.known["pattern"] for one in recall(site)]
            assert kept in (["odd"], ["odd", "port-conflict"]), (number, how)
            remember(site, "last", {}, by="ada")
        lines = [json.loads(line)["pattern"] for line in (shop.folder / FILE).read_bytes().splitlines()
                 if line.endswith(b"}")]  # fmt: skip
        assert lines == [*kept, "last"], (number, how)
    shutil.rmtree(saved)


def test_what_others_wrote_into_the_file_stays_and_a_torn_line_is_ended(shop: Shop) -> None:
    """Nothing of it is taken for ours, and nothing of ours is written twice."""
    (shop.folder / FILE).parent.mkdir()
    (shop.folder / FILE).write_bytes(b'{"pattern": "old"}\n[1]\n\xff{"pattern": "to')
    with shop.site() as site:
        remember(site, "odd", {}, by="ada")
        remember(site, "odd", {}, by="ada")
        assert len(recall(site)) == 2
    lines = (shop.folder / FILE).read_bytes().splitlines()
    assert lines[:3] == [b'{"pattern": "old"}', b"[1]", b'\xff{"pattern": "to']
    assert [json.loads(line)["pattern"] for line in lines[3:]] == ["odd", "odd"]


def test_where_the_file_cannot_be_written_the_journal_remembers_and_says_so(shop: Shop) -> None:
    """A link is not followed; when it is gone the file catches up."""
    elsewhere = shop.folder / "elsewhere"
    elsewhere.mkdir()
    (shop.tree / "memory").symlink_to(elsewhere)
    with shop.site() as site:
        found = remember(site, "odd", {}, by="ada")
        assert found.unwritten
        assert list(elsewhere.iterdir()) == []
        (shop.tree / "memory").unlink()
        assert remember(site, "odd", {}, by="ada").unwritten == ""
    assert len(written(shop)) == 2


def test_a_secret_is_in_neither_the_journal_nor_the_file(shop: Shop) -> None:
    """It is masked before it is kept, and the file is written from what was kept."""
    said = "reached postgres://app:hunter2hunter2@db/shop no more"
    with shop.site() as site:
        remember(site, "odd", {"root_cause": said}, by="ada")
    assert written(shop)[0]["root_cause"] == "reached postgres://app:***REDACTED***@db/shop no more"
    assert "hunter2" not in shop.journal.read_text()


def test_what_is_not_declared_is_not_remembered(shop: Shop, tmp_path: Path) -> None:
    """A field that there is not, an empty one, and a system without a memory; nothing is written."""
    with shop.site() as site:
        before = len(site.journal.events())
        with pytest.raises(UsageError, match="a failure has no field root_case"):
            remember(site, "odd", {"root_case": "x"}, by="ada")
        with pytest.raises(UsageError, match="pattern is empty"):
            remember(site, "  ", {}, by="ada")
        assert len(site.journal.events()) == before
    other = build(tmp_path / "other")
    with other.site() as site, pytest.raises(PlanError, match="no memory of failures is declared"):
        remember(site, "odd", {}, by="ada")
    assert rollback(other.folder, "failure", "list").status == 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[pattern, component,", "[component,", "a failure is found by its pattern"),
        ("  systemic_after: 4", "  similar_by: [kind]\n  systemic_after: 4", "similar_by names kind"),
        ("  systemic_task: systemic\n", "", "systemic_after and systemic_task belong together"),
        ("  path: memory/failures.jsonl", "  place: x", "a place needs a path"),
        ("path: memory/failures.jsonl", "path: ../failures.jsonl", "memory"),
        ("{memory: {count: similar}}", "{memory: {count: similar, pattern: x}}", "takes no pattern"),
    ],
)  # fmt: skip
def test_a_memory_that_cannot_be_kept_so_is_refused(
    shop: Shop, old: str, new: str, said: str
) -> None:
    """When it is declared, not when something fails."""
    shop.edit(old, new)
    with pytest.raises(SpecError) as refused:
        shop.system  # noqa: B018 - it is loaded by looking
    assert said in str(refused.value)
