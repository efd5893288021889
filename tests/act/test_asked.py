"""Nobody answers: what a run does that waits for people longer than they have, by the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback import declare
from rollback.act import asked, authorize
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.act.stopping import answer, retry
from rollback.host.clock import parse_iso
from rollback.model.errors import NotAuthorized, PlanError, SpecError
from rollback.model.lifecycle import Run, State
from tests.cli.program import rollback
from tests.systems import Shop, ill

ALONE = (
    "authority: {roles: [op], alone: true}\n"
    "    target: {sources: [{checkpoint: last-good}]}\n"
    "    steps: [{restore: {component: config}}]"
)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and a bad release."""
    return ill(tmp_path)


def limited(shop: Shop, more: str) -> None:
    """The level config is answered for by a lead, with these words beside."""
    shop.edit(ALONE, ALONE.replace("[op], alone: true", f"[lead], {more}"))


def waiting(shop: Shop, site: Site) -> Run:
    run = roll_back(site, authorize.create(site, shop.plan(site, "config", requester="dee")).id)
    assert run.state is State.WAITING
    return run


def test_a_run_that_nobody_answers_in_time_is_expired_and_did_nothing(shop: Shop) -> None:
    """Not a second before; whoever drives it next sees it end."""
    limited(shop, "answer_within: 15m")
    before = shop.bytes()
    with shop.site() as site:
        run = waiting(shop, site)
        until = parse_iso(str(run.waiting_for["due"]))
        assert (until - parse_iso(run.moments["run.planned"][2])).total_seconds() == 900
        shop.clock.ahead_s = 890
        assert not authorize.may_wake(site, run)
        assert roll_back(site, run.id).state is State.WAITING
        shop.clock.ahead_s = 901
        assert authorize.may_wake(site, site.run(run.id))
        ended = roll_back(site, run.id)
        assert (ended.state, ended.steps) == (State.EXPIRED, {})
        assert "nobody answered" in ended.reason
        with pytest.raises(PlanError, match="EXPIRED"):
            authorize.approve(site, ended, person="bo")
    assert shop.bytes() == before


def test_a_yes_that_comes_too_late_counts_for_nothing(shop: Shop) -> None:
    """Nor does one that was signed elsewhere and is taken in afterwards."""
    limited(shop, "answer_within: 15m")
    with shop.site() as site:
        run = waiting(shop, site)
        shop.clock.ahead_s = 901
        with pytest.raises(PlanError, match="longer than its people had") as caught:
            authorize.approve(site, site.run(run.id), person="bo")
        assert "rollback resume" in caught.value.hint


def test_a_yes_in_time_holds_though_nobody_drives_until_later(shop: Shop) -> None:
    """What counts is when it was given."""
    limited(shop, "answer_within: 15m")
    with shop.site() as site:
        run = waiting(shop, site)
        authorize.approve(site, run, person="bo")
        shop.clock.ahead_s = 1800
        assert roll_back(site, run.id).state is State.COMPLETE


def test_without_a_time_of_its_own_a_run_waits_a_day(shop: Shop) -> None:
    """Every run ends within limits."""
    limited(shop, "count: 1")
    with shop.site() as site:
        run = waiting(shop, site)
        shop.clock.ahead_s = asked.WAITS_FOR_S - 60
        assert roll_back(site, run.id).state is State.WAITING
        shop.clock.ahead_s = asked.WAITS_FOR_S + 1
        assert roll_back(site, run.id).state is State.EXPIRED


def test_where_the_declaration_says_so_those_above_are_asked_next(shop: Shop) -> None:
    """Each as long; the first may answer still; when the last has not, the run is EXPIRED."""
    limited(shop, "answer_within: 10m, unanswered: next")
    shop.edit("lead: {title: Lead}", "lead: {title: Lead, reports_to: chief}")
    with shop.site() as site:
        run = waiting(shop, site)
        with pytest.raises(NotAuthorized, match="none of the roles"):
            authorize.approve(site, run, person="cyd")
        shop.clock.ahead_s = 601
        run = roll_back(site, run.id)
        assert run.waiting_for["what"] == "1 more approval by lead or chief"
        authorize.approve(site, run, person="cyd")
        assert roll_back(site, run.id).state is State.COMPLETE
        (shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 98\n")
        shop.clock.ahead_s = 0
        again = waiting(shop, site)
        shop.clock.ahead_s = 602 + 1201
        assert roll_back(site, again.id).state is State.EXPIRED


def test_where_the_declaration_says_so_a_person_is_needed_and_may_ask_anew(shop: Shop) -> None:
    """It stops loudly; sent on, its people have their time again."""
    limited(shop, "answer_within: 10m, unanswered: person")
    with shop.site() as site:
        run = waiting(shop, site)
        shop.clock.ahead_s = 601
        run = roll_back(site, run.id)
        assert (run.state, "nobody answered" in run.reason) == (State.NEEDS_OPERATOR, True)
        retry(site, run, by="ada")
        run = roll_back(site, run.id)
        assert run.state is State.WAITING
        authorize.approve(site, run, person="bo")
        assert roll_back(site, run.id).state is State.COMPLETE


def test_an_item_that_gates_the_start_is_waited_for_until_it_is_due(shop: Shop) -> None:
    """Said in time it lets go; not said, the approved run expires without a step."""
    line = "    data_loss: settings since the checkpoint\n"
    item = "{id: told, item: Users were told, attest: op, gates: start, due: 5m}"
    shop.edit(line, f"{line}    checklist: [{item}]\n")
    with shop.site() as site:
        for ahead_s, said, end in ((0, True, State.COMPLETE), (700, False, State.EXPIRED)):
            shop.clock.ahead_s = ahead_s
            (shop.tree / "config" / "app.yaml").write_text(f"party: true\nlimit: {ahead_s + 50}\n")
            run = authorize.create(site, shop.plan(site, "config"))
            authorize.approve(site, run, person="ada")
            run = roll_back(site, run.id)
            assert run.waiting_for["on"] == "checklist"
            if said:
                answer(site, run, item="told", text="yes, by mail", by="ada")
            else:
                shop.clock.ahead_s += 301
            run = roll_back(site, run.id)
            assert run.state is end
    assert run.steps == {}


@pytest.mark.parametrize(
    "words", ["unanswered: next", "quorum: all, answer_within: 1m, unanswered: next"]
)
def test_what_cannot_follow_is_refused_in_the_declaration(words: str, shop: Shop) -> None:
    """No time to wait for; nobody who could stand in for one of all."""
    limited(shop, words)
    with pytest.raises(SpecError, match=r"unanswered|no other can answer"):
        declare.load(shop.folder / "rollback.yaml")


def test_status_shows_what_is_overdue_and_approving_ends_it(shop: Shop) -> None:
    """The program by its own clock: a limit so short that it is over when it is looked at."""
    limited(shop, "answer_within: 1ms")
    with shop.site() as site:
        authorize.create(site, shop.plan(site, "config", requester="dee"))
        run = site.note(site.run("r0001"), "run.waiting", on="approval", what="a lead")
    told = rollback(shop.folder, "--json", "status").json
    assert [one["overdue"] for one in told["runs_open"]] == [True]
    assert "overdue" in rollback(shop.folder, "status").out
    said = rollback(shop.folder, "--json", "approve", run.id, "--as", "bo")
    assert (said.json["state"], said.status) == ("EXPIRED", 4)
