"""What is declared for safety and holds nothing back is said, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.judge.unenforced import UNREAD, unenforced
from tests.judge import grammar
from tests.systems import Shop, build, environment

SYSTEMS = Path(__file__).parents[2] / "systems"
BEFORE = "    authority: {roles: [op], alone: true}\n    target"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A system that declares nothing of the kind."""
    return build(tmp_path)


def named(shop: Shop) -> list[str]:
    """Where something is declared and not enforced."""
    return [where for where, _ in unenforced(shop.system)]


def test_a_system_that_declares_none_of_them_has_nothing_to_be_told(shop: Shop) -> None:
    """What is enforced is not listed."""
    shop.edit("levels:\n  flag:", "guardrails: {climb_in_order: true}\nlevels:\n  flag:")
    shop.edit(BEFORE, "    prerequisites: [{check: limit-right}]\n" + BEFORE)
    assert named(shop) == []


@pytest.mark.parametrize(
    "written",
    ["prerequisites: [{attest: lead}, {fact: quiet}]",
     "phases: [{id: first, within: 2m}]",
     "on_fail: {climb: full, when: ask}", "on_fail: {climb: full, when: auto, tasks: [look]}"],
)  # fmt: skip
def test_what_is_read_is_not_named(shop: Shop, written: str) -> None:
    """A word that is waited for; the budget of a phase, which stands in the report; a climb."""
    shop.edit("levels:\n  flag:", "follow_ups: {tasks: {look: {title: Look}}}\nlevels:\n  flag:")
    shop.edit(BEFORE, f"    {written}\n{BEFORE}")
    shop.edit("    gate: {suites: [smoke]}\n  pages:",
              "    gate: {suites: [smoke], settle: 30s}\n  pages:")  # fmt: skip
    assert named(shop) == []


def test_a_way_up_that_nothing_leads_to_is_named(shop: Shop) -> None:
    """Without a gate there is no closed one; a step that climbs is enough."""
    restore = "steps: [{restore: {component: config}}]\n    gate: {suites: [smoke]}\n"
    shop.edit(
        restore, restore.replace("    gate: {suites: [smoke]}\n", "    on_fail: {climb: full}\n")
    )
    assert named(shop) == ["levels.config.on_fail"]
    shop.edit("{restore: {component: config}}]", "{restore: {component: config, on_fail: climb}}]")
    assert named(shop) == []


def test_what_an_alternative_says_about_its_own_failure_is_named(shop: Shop) -> None:
    """What follows is said by the step that it stands in for."""
    other = "{command: {argv: [x], on_fail: continue}}"
    shop.edit("steps: [{restore: {component: config}}]",
              f"steps: [{{restore: {{component: config, on_fail: {{then: [{other}]}}}}}}]")  # fmt: skip
    assert named(shop) == ["levels.config.steps.0.restore.on_fail.then.0.command.on_fail"]


def test_the_demo_system_relies_on_nothing_that_is_not_held() -> None:
    """What we ship to be run says only what holds."""
    system = declare.load(SYSTEMS / "studio.yaml", environ={})
    assert unenforced(system) == ()


def test_validate_prints_the_list_and_gives_it_as_json(shop: Shop) -> None:
    """Under a heading of its own; the declaration is valid all the same."""
    restore = "steps: [{restore: {component: config}}]\n    gate: {suites: [smoke]}\n"
    shop.edit(
        restore, restore.replace("    gate: {suites: [smoke]}\n", "    on_fail: {climb: full}\n")
    )
    words = [sys.executable, "-m", "rollback", "--system", str(shop.folder / "rollback.yaml")]
    said = subprocess.run(
        [*words, "validate"], capture_output=True, text=True, env=environment(), check=True
    ).stdout
    assert "declared and not enforced yet" in said
    assert "levels.config.on_fail" in said
    body = json.loads(
        subprocess.run(
            [*words, "--json", "validate"], capture_output=True, text=True, env=environment(),
            check=True,
        ).stdout
    )  # fmt: skip
    assert [one["where"] for one in body["unenforced"]] == ["levels.config.on_fail"]


# -- every field of the grammar ----------------------------------------------------------------

READ_AND_HELD_BY_NOTHING = {
    "triggers.*.authority", "triggers.*.inform", "decision.tree.*.authority", "decision.tiers.*.authority",
    "decision.breakers.*.inform", "levels.*.severity", "drills.*.measures",
}  # fmt: skip


def within(place: str, named: Iterable[str]) -> bool:
    """True for a field that is named, or that lies inside of one."""
    return any(place == one or place.startswith(f"{one}.") for one in named)


def test_every_field_is_read_or_named() -> None:
    """Found in the source of the program; what only checks that a name leads somewhere reads nothing."""
    assert len(grammar.fields()) > 1000
    lost = [place for place in grammar.unread() if not within(place, UNREAD)]
    assert lost == [], "accepted, read nowhere, and validate does not say so"


def test_what_is_named_as_unread_is() -> None:
    """A field leaves the list with the code that reads it; each is a field that there is."""
    unread = grammar.unread()
    for place in UNREAD.keys() - READ_AND_HELD_BY_NOTHING:
        assert place in unread, place
    assert UNREAD.keys() <= grammar.fields().keys()
    assert len(READ_AND_HELD_BY_NOTHING) < len(UNREAD) / 4, (
        "the search, not a list, says what is read"
    )


@pytest.mark.parametrize("place", ["decision.breakers.*.reset_after", "decision.review_after",
                                   "severity.*.respond_within", "records.*.review_every",
                                   "decision.assessment", "guardrails.whole_procedures",
                                   "components.*.depends_on"])  # fmt: skip
def test_the_search_finds_what_has_an_effect(place: str) -> None:
    """By another way each: an attribute, a place in a constant, a function of the model."""
    assert place in grammar.fields()
    assert not within(place, grammar.unread())


def test_validate_names_what_nothing_reads_where_it_is_written(shop: Shop) -> None:
    """Once for many of a kind, with what happens instead."""
    shop.edit("op: {title: Operator}, lead: {title: Lead}",
              "op: {title: Operator, duty: Look}, lead: {title: Lead, contact: \"env:A\"}")  # fmt: skip
    shop.edit("chief: {title: Chief}", 'chief: {title: Chief, contact: "env:B"}')
    assert unenforced(shop.system) == (
        ("people.roles.op.duty", "words for people: the program reads them nowhere"),
        ("people.roles.*.contact", "nobody is called there: channels are declared under notify:"),
    )
