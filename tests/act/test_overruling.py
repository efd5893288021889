"""Overruling a reason against going back: one person's signed word with a note, by the declared role."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from rollback.act import overruling
from rollback.act.deciding import decide_now
from rollback.act.trusting import accept
from rollback.judge.unasked import AGENT
from rollback.model.errors import NotAuthorized, PlanError
from rollback.model.lifecycle import State
from tests.cli.program import rollback
from tests.systems import PEOPLE, make_key
from tests.watch.places import Place, place, runs

HOUR = timedelta(hours=1)
FILTER = ("decision: {style: most-severe, filters: [{id: moved, title: Traffic moved away, "
          "when: {metric: errors, above: 0}, answer: not-appropriate, "
          "overridden_by: [chief]}]}\n")  # fmt: skip


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """By person: a private key file, and what the declaration says of it."""
    folder = tmp_path_factory.mktemp("keys")
    made = {name: make_key(folder, name) for name in PEOPLE}
    return {name: (str(file), public) for name, (file, public) in made.items()}


@pytest.fixture
def here(tmp_path: Path, keys: dict[str, tuple[str, str]]) -> Place:
    """The shop with errors, whose rule goes back, and a reason against it that only a chief overrules."""
    edits = {f"id: {name}, roles: [{roles}]": f"id: {name}, roles: [{roles}], key: \"{keys[name][1]}\""
             for name, roles in (("ada", "op, lead"), ("cyd", "chief"))}  # fmt: skip
    made = place(tmp_path, edits={**edits, "triggers:\n": f"{FILTER}triggers:\n"})
    made.read(errors=0.5)
    return made


def decided(here: Place, *more: str) -> tuple[str, str]:
    """What `rollback decide` says, and its reasons."""
    body = json.loads(rollback(here.shop.folder, "--json", "decide", *more).out)
    return str(body["respond"]), " ".join(body["reasoning"])


@pytest.mark.requirement("AW-03")
def test_a_typed_fact_overrules_nothing(here: Place) -> None:
    """`overrule_moved=chief` is a word that anybody can type."""
    typed = rollback(here.shop.folder, "decide", "--fact", "overrule_moved=chief")
    assert (typed.status, "nothing asks for a fact overrule_moved" in typed.err) == (2, True)
    respond, reasons = decided(here)
    assert respond == "hold"
    assert "chief may overrule it: rollback approval overrule moved --note WHY" in reasons


@pytest.mark.requirement("AW-03")
def test_who_holds_the_role_overrules_with_a_signed_note_that_the_report_tells(
    here: Place, keys: dict[str, tuple[str, str]]
) -> None:
    """The reasons, the journal and the report name him and why; the agent goes back then."""
    words = ("approval", "overrule", "moved", "--as", "cyd", "--note", "it came back to us")
    unsigned = rollback(here.shop.folder, *words)
    assert (unsigned.status, "--key FILE" in unsigned.err) == (4, True)
    assert decided(here)[0] == "hold"
    done = rollback(here.shop.folder, *words, "--key", keys["cyd"][0])
    assert done.status == 0, done.err
    respond, reasons = decided(here)
    assert respond == "roll-back"
    assert "overruled by cyd (chief) until" in reasons
    assert "it came back to us" in reasons
    (told,) = [one["data"] for one in here.shop.lines() if one["kind"] == "filter.overruled"]
    assert (told["filter"], told["person"], told["note"]) == ("moved", "cyd", "it came back to us")
    assert rollback(here.shop.folder, "monitor", "--once").status == 0
    with here.shop.site() as site:
        (run,) = runs(site)
        assert (run.state, run.plan["requester"]) == (State.COMPLETE, AGENT)
    report = rollback(here.shop.folder, "report", "r0001").out
    assert "> **Overruled**: not appropriate: Traffic moved away" in report
    assert "overruled by cyd (chief)" in report
    assert "it came back to us" in report


@pytest.mark.requirement("AW-03")
def test_nobody_else_overrules_and_nobody_without_a_note(
    here: Place, keys: dict[str, tuple[str, str]]
) -> None:
    """Another role, a foreign key, a blank note, a time too long, no such reason: nothing is recorded."""
    with here.shop.site() as site:
        for person, key, note, lasts in (
            ("ada", keys["ada"][0], "why", HOUR), ("cyd", keys["ada"][0], "why", HOUR),
            ("cyd", "", "why", HOUR), ("cyd", keys["cyd"][0], " - ", HOUR),
            ("cyd", keys["cyd"][0], "why", 5 * HOUR), ("fay", "", "why", HOUR),
        ):  # fmt: skip
            with pytest.raises(NotAuthorized):
                overruling.overrule(
                    site, "moved", person=person, note=note, key=key, valid_for=lasts
                )
        with pytest.raises(PlanError, match="no reason against going back"):
            overruling.overrule(site, "mved", person="cyd", note="x", key="", valid_for=HOUR)
        assert overruling.listed(site) == ()
        assert decide_now(site).respond == "hold"
    assert rollback(here.shop.folder, "approval", "overrule", "moved", "--as", "cyd").status == 2


def test_it_ends_with_its_time_is_taken_back_and_dies_with_the_policy(
    here: Place, keys: dict[str, tuple[str, str]]
) -> None:
    """Each of these alone, and what was written by hand into the journal counts for nothing."""
    with here.shop.site() as site:
        made = overruling.overrule(
            site, "moved", person="cyd", note="why", key=keys["cyd"][0], valid_for=HOUR
        )
        assert decide_now(site).respond == "roll-back"
        forged = {**made.as_json(), "nonce": "other", "note": "another"}
        assert overruling.withdraw(site, made.nonce[:8], by="cyd") == made
        assert decide_now(site).respond == "hold"
        site.tell("filter.overruled", run="", **forged)
        site.tell("filter.overruled", run="", filter="moved")
        assert decide_now(site).respond == "hold"
        overruling.overrule(
            site, "moved", person="cyd", note="why", key=keys["cyd"][0], valid_for=HOUR
        )
        assert decide_now(site).respond == "roll-back"
        here.shop.clock.ahead_s += 3601.0
        here.read(errors=0.5)
        assert decide_now(site).respond == "hold"
        overruling.overrule(
            site, "moved", person="cyd", note="why", key=keys["cyd"][0], valid_for=HOUR
        )
    here.shop.edit("overridden_by: [chief]", "overridden_by: [chief, op]")
    with here.shop.site() as site:
        with pytest.raises(NotAuthorized):
            site.trusted()  # who may overrule bears authority
        accept(site, person="ada", key=keys["ada"][0])
        assert decide_now(site).respond == "hold", "it was given under another policy"


def test_where_nobody_has_a_key_it_says_that_it_is_unauthenticated(tmp_path: Path) -> None:
    """As an approval does."""
    here = place(tmp_path, edits={"triggers:\n": f"{FILTER}triggers:\n"})
    here.read(errors=0.5)
    done = rollback(
        here.shop.folder, "approval", "overrule", "moved", "--as", "cyd", "--note", "why"
    )
    assert (done.status, "unauthenticated" in done.out) == (0, True)
    respond, reasons = decided(here)
    assert respond == "roll-back"
    assert "cyd (chief, unauthenticated)" in reasons
    words = ("run", "config", "--as", "ada", "--yes", "--reason", "as decided")
    assert rollback(here.shop.folder, *words).status == 0
    report = rollback(here.shop.folder, "report", "r0001").out
    assert "overruled by cyd (chief, unauthenticated)" in report, (
        "a person began it by that decision"
    )
    listed = rollback(here.shop.folder, "approval", "list").out
    assert "moved overruled by cyd" in listed
    nonce = listed.split()[0]
    assert rollback(here.shop.folder, "approval", "withdraw", nonce, "--as", "cyd").status == 0
    assert decided(here)[0] == "hold"


@pytest.mark.requirement("AW-03")
def test_who_types_it_is_refused_with_the_reason_until_somebody_overrules_it(
    tmp_path: Path,
) -> None:
    """A level by hand; an emergency is not asked, and what nobody can tell is for whoever types."""
    here = place(tmp_path, edits={"triggers:\n": f"{FILTER}triggers:\n"})
    here.read(errors=0.5)
    words = ("run", "config", "--as", "ada", "--yes", "--reason", "it is bad")
    before = here.shop.bytes()
    refused = rollback(here.shop.folder, *words)
    assert refused.status == 4
    assert "Traffic moved away" in refused.err
    assert "rollback approval overrule moved --note WHY" in refused.err
    assert here.shop.bytes() == before
    overruled = ("approval", "overrule", "moved", "--as", "cyd", "--note", "it came back")
    assert rollback(here.shop.folder, *overruled).status == 0
    assert rollback(here.shop.folder, *words).status == 0
    here.shop.clock.ahead_s += 7200.0
    nonce = rollback(here.shop.folder, "approval", "list").out.split()[0]
    assert rollback(here.shop.folder, "approval", "withdraw", nonce, "--as", "cyd").status == 0
    assert rollback(here.shop.folder, "run", "flag", "--as", "ada", "--yes").status == 0
    here.break_it()
    here.read(errors=None)
    assert rollback(here.shop.folder, *words).status == 0
