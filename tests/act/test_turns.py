"""Whose turn it is to answer for a run: in order, after a silence that stands in the journal."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from rollback import declare
from rollback.act import authorize
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.act.stopping import answer, retry
from rollback.model.errors import NotAuthorized, SpecError
from rollback.model.lifecycle import Run, State
from tests.systems import Shop, ill

ALONE = "authority: {roles: [op], alone: true}\n    target: {sources: [{checkpoint: last-good}]}\n"
ORDERED = "roles: [op, lead, chief], quorum: ordered, next_after: 5m"
ITEM = "    checklist: [{id: told, item: Users were told, attest: op, gates: start}]\n"
LADDER = """notify:
  ladders:
    call:
      rungs: [{role: op, within: 0s}, {role: lead, within: 5m}, {role: chief, within: 10m}]
      self_authorize: [chief]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with a checkpoint and a bad release."""
    return ill(tmp_path)


def answered_by(shop: Shop, words: str) -> None:
    """The level config is answered for so."""
    shop.edit(ALONE, ALONE.replace("roles: [op], alone: true", words))


def waiting(shop: Shop, site: Site, requester: str = "dee") -> Run:
    """A run that waits for approvals."""
    run = roll_back(site, authorize.create(site, shop.plan(site, "config", requester=requester)).id)
    assert run.state is State.WAITING
    return run


def silences(site: Site) -> list[tuple[object, object]]:
    """What the journal says of silence: who was silent, and why."""
    return [(e.data["silent"], e.data["because"]) for e in site.journal.events()
            if e.kind == "approval.silent"]  # fmt: skip


@pytest.mark.requirement("AW-04")
def test_the_next_may_answer_only_after_the_silence_before_stands_in_the_journal(
    shop: Shop,
) -> None:
    """Not a second sooner; each after the one before; and never anybody else."""
    answered_by(shop, ORDERED)
    with shop.site() as site:
        run = waiting(shop, site)
        for ahead_s, refused in ((0, ("bo", "cyd", "dee")), (299, ("bo", "cyd")), (599, ("cyd",))):
            shop.clock.ahead_s = ahead_s
            for person in refused:
                with pytest.raises(NotAuthorized):
                    authorize.approve(site, site.run(run.id), person=person)
        assert silences(site) == [(["op"], "silent for 5 min")]
        shop.clock.ahead_s = 601
        run = roll_back(site, run.id)
        assert silences(site)[1:] == [(["lead"], "silent for 10 min")]
        assert run.waiting_for["what"] == "1 more approval by op or lead or chief"
        authorize.approve(site, run, person="cyd")
        assert roll_back(site, run.id).state is State.COMPLETE
        told = [e.kind for e in site.journal.events() if e.kind.startswith("approval")]
        told = [kind for kind in told if kind != "approval.refused"]
        assert told == ["approval.silent", "approval.silent", "approval.given", "approval.used"]


@pytest.mark.requirement("AW-04")
def test_the_first_of_them_needs_nobodys_silence(shop: Shop) -> None:
    """None is noted."""
    answered_by(shop, ORDERED)
    with shop.site() as site:
        run = waiting(shop, site)
        authorize.approve(site, run, person="ada")
        assert roll_back(site, run.id).state is State.COMPLETE
        assert silences(site) == []


def test_a_clock_set_forward_is_no_silence_and_one_set_back_takes_none_away(shop: Shop) -> None:
    """How long people had is told by the clock that nobody can set."""
    answered_by(shop, ORDERED)
    with shop.site() as site:
        run = waiting(shop, site)
        shop.clock.wrong_s = 3600.0
        with pytest.raises(NotAuthorized, match="only after the silence of op"):
            authorize.approve(site, run, person="cyd")
        assert not authorize.may_wake(site, site.run(run.id))
        shop.clock.wrong_s, shop.clock.ahead_s = -366 * 86400.0, 301
        assert authorize.may_wake(site, site.run(run.id))
        authorize.approve(site, roll_back(site, run.id), person="bo")
        assert roll_back(site, run.id).state is State.COMPLETE


def hours_now(shop: Shop, hours: int) -> str:
    """A window that opens so many hours from now, for one hour."""
    first = shop.clock.now() + timedelta(hours=hours)
    return f"hours: {{hours: '{first:%H:00}-{first + timedelta(hours=1):%H:00}'}}"


@pytest.mark.parametrize("whose", ["role", "member"])
def test_who_is_outside_of_the_hours_is_not_waited_for(shop: Shop, whose: str) -> None:
    """The turn passes at once, and the journal says why; inside of them it does not."""
    answered_by(shop, "roles: [lead, chief], quorum: ordered, next_after: 5m")
    absent = hours_now(shop, 5)
    if whose == "role":
        shop.edit("lead: {title: Lead}", f"lead: {{title: Lead, {absent}}}")
    else:
        for person in (
            "{id: ada, roles: [op, lead]",
            "{id: bo, roles: [lead]",
            "{id: fay, roles: [lead]",
        ):
            shop.edit(person, f"{person}, {absent}")
    with shop.site() as site:
        run = waiting(shop, site)
        assert silences(site) == [(["lead"], "outside of their hours")]
        authorize.approve(site, run, person="cyd")
        assert roll_back(site, run.id).state is State.COMPLETE


def test_one_who_is_there_is_enough_for_a_role_to_be_asked(shop: Shop) -> None:
    """The others may be asleep."""
    answered_by(shop, "roles: [lead, chief], quorum: ordered, next_after: 5m")
    shop.edit("{id: bo, roles: [lead]", f"{{id: bo, roles: [lead], {hours_now(shop, 5)}")
    with shop.site() as site:
        run = waiting(shop, site)
        assert silences(site) == []
        with pytest.raises(NotAuthorized):
            authorize.approve(site, run, person="cyd")
        authorize.approve(site, run, person="bo")  # he is awake after all
        assert roll_back(site, run.id).state is State.COMPLETE


@pytest.mark.requirement("AW-71")
def test_at_the_end_of_a_silent_ladder_a_named_role_may_say_yes_to_its_own_run(shop: Shop) -> None:
    """After the last rung had as long as the one before it; nobody else may, and not before."""
    answered_by(shop, "roles: [lead, chief], quorum: all, ladder: call")
    shop.edit("levels:\n  flag:", f"{LADDER}levels:\n  flag:")
    with shop.site() as site:
        run = waiting(shop, site, requester="cyd")
        for ahead_s, person in ((0, "cyd"), (899, "cyd"), (899, "dee")):
            shop.clock.ahead_s = ahead_s
            with pytest.raises(NotAuthorized):
                authorize.approve(site, site.run(run.id), person=person)
        shop.clock.ahead_s = 901
        with pytest.raises(NotAuthorized, match="none of the roles"):
            authorize.approve(site, site.run(run.id), person="dee")
        assert list(authorize.may_approve(site, site.run(run.id))) == ["cyd"]
        authorize.approve(site, site.run(run.id), person="cyd")
        done = roll_back(site, run.id)
        assert done.state is State.COMPLETE
        assert silences(site) == [(["op", "lead", "chief"], "silent for 15 min")]


@pytest.mark.requirement("AW-71")
def test_a_ladder_on_which_somebody_answered_was_not_silent(shop: Shop) -> None:
    """One of two has said yes: the other is waited for."""
    answered_by(shop, "roles: [lead, chief], quorum: all, ladder: call")
    shop.edit("levels:\n  flag:", f"{LADDER}levels:\n  flag:")
    shop.edit("self_authorize: [chief]", "self_authorize: [op]")
    with shop.site() as site:
        run = waiting(shop, site, requester="dee")
        authorize.approve(site, run, person="bo")
        shop.clock.ahead_s = 3600
        assert roll_back(site, run.id).state is State.WAITING
        assert silences(site) == []


def test_a_ladder_that_lets_somebody_authorise_himself_bears_authority(shop: Shop) -> None:
    """Who it names, and how soon, is pinned with the people."""
    shop.edit("levels:\n  flag:", f"{LADDER}levels:\n  flag:")
    before = shop.system.authority_digest
    shop.edit("self_authorize: [chief]", "self_authorize: [chief, guest]")
    named = shop.system.authority_digest
    shop.edit("{role: chief, within: 10m}", "{role: chief, within: 6m}")
    assert len({before, named, shop.system.authority_digest}) == 3


def test_a_run_that_is_sent_on_asks_everybody_anew(shop: Shop) -> None:
    """Their silence of before counts no more."""
    answered_by(shop, f"{ORDERED}, answer_within: 20m, unanswered: person")
    with shop.site() as site:
        run = waiting(shop, site)
        shop.clock.ahead_s = 1201
        assert roll_back(site, run.id).state is State.NEEDS_OPERATOR
        run = roll_back(site, retry(site, site.run(run.id), by="ada").id)
        with pytest.raises(NotAuthorized):
            authorize.approve(site, run, person="cyd")


# -- the yes has to hold until the first step ----------------------------------------------


def approved(shop: Shop, site: Site) -> Run:
    """A run with its approval, AUTHORIZED, that waits for an item of its checklist."""
    run = waiting(shop, site)
    authorize.approve(site, run, person="bo")
    run = roll_back(site, run.id)
    assert run.waiting_for["on"] == "checklist"
    answer(site, run, item="told", text="yes", by="ada")
    return run


@pytest.mark.parametrize(
    ("old", "new", "end"),
    [
        ("{id: bo, roles: [lead]}", "{id: bo, roles: [guest]}", State.ABANDONED),
        ("    - {id: bo, roles: [lead]}\n", "", State.ABANDONED),
        ("{id: bo, roles: [lead]}", "{id: bo, roles: [lead], key: ssh-ed25519 AAAA}", State.ABANDONED),
        ("guest: {title: Guest}", "guest: {title: Guests}", State.COMPLETE),
        ("roles: [lead], count: 1", "roles: [chief], count: 1", State.COMPLETE),
    ],
)  # fmt: skip
def test_who_lost_the_role_after_his_yes_ends_the_run_before_its_first_step(
    old: str, new: str, end: State, shop: Shop
) -> None:
    """Asked again at the moment of execution: the sealed policy, of the people in force now."""
    answered_by(shop, "roles: [lead], count: 1")
    shop.edit("    data_loss: settings since the checkpoint\n",
              f"    data_loss: settings since the checkpoint\n{ITEM}")  # fmt: skip
    before = shop.bytes()
    with shop.site() as site:
        run = approved(shop, site)
    shop.edit(old, new)
    with shop.site() as site:
        ended = roll_back(site, run.id)
        assert ended.state is end
        if end is State.ABANDONED:
            assert "not authorised any more" in ended.reason
            assert ended.steps == {}
            assert shop.bytes() == before


def test_a_yes_that_ran_out_or_was_taken_back_ends_the_run_before_its_first_step(
    shop: Shop,
) -> None:
    """Four hours later; or since the same person has said no meanwhile."""
    answered_by(shop, "roles: [lead], count: 1")
    shop.edit("    data_loss: settings since the checkpoint\n",
              f"    data_loss: settings since the checkpoint\n{ITEM}")  # fmt: skip
    for number in range(2):
        with shop.site() as site:
            (shop.tree / "config" / "app.yaml").write_text(f"party: true\nlimit: {number + 50}\n")
            run = approved(shop, site)
            if number:
                authorize.approve(
                    site, site.run(run.id), person="bo", answer="no", note="I was wrong"
                )
            else:
                shop.clock.ahead_s += 4 * 3600 + 5
            ended = roll_back(site, run.id)
            assert (ended.state, ended.steps) == (State.ABANDONED, {})
            assert ("I was wrong" if number else "1 more approval") in ended.reason


def test_whoever_follows_a_killed_driver_asks_whether_the_yes_still_holds(shop: Shop) -> None:
    """It died with the present kept and no step taken: nothing is begun a day later."""
    answered_by(shop, "roles: [lead], count: 1")
    before = shop.bytes()
    with shop.site() as site:
        run = waiting(shop, site)
        authorize.approve(site, run, person="bo")
        for kind in ("run.woken", "run.authorized", "run.protected"):
            run = site.note(site.run(run.id), kind)
    shop.clock.ahead_s = 86400
    with shop.site() as site:
        ended = roll_back(site, run.id)
        assert ended.state is State.UNDONE
        assert "not authorised any more" in ended.reason
    assert shop.bytes() == before


# -- what the declaration refuses ----------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("roles: [op], alone: true}", "roles: [op], quorum: ordered}", "next_after"),
        ("roles: [op], alone: true}", "roles: [op], next_after: 5m}", "next_after"),
        ("roles: [op], alone: true}", "roles: [op], ladder: nowhere}", "nowhere"),
        ("lead: {title: Lead}", "lead: {title: Lead, hours: {zone: Mars/Base}}", "no time zone"),
        ("lead: {title: Lead}", "lead: {title: Lead, hours: {zone: ../etc/passwd}}", "no time zone"),
        ("lead: {title: Lead}", "lead: {title: Lead, hours: {hours: '25:00-26:00'}}", "25:00"),
        ("lead: {title: Lead}", "lead: {title: Lead, hours: {hours: '09:00-09:00'}}", "begins when"),
        ("lead: {title: Lead}", "lead: {title: Lead, hours: {days: []}}", "never opens"),
        ("{id: bo, roles: [lead]}\n    - {id: cyd, roles: [chief]}",
         "{id: bo, roles: [lead], key: ssh-ed25519 AA b}\n    - {id: cyd, roles: [chief], "
         "key: ssh-ed25519 AA c}", "the key of bo too"),
    ],
)  # fmt: skip
def test_what_nobody_could_hold_to_is_refused_in_the_declaration(
    old: str, new: str, said: str, shop: Shop
) -> None:
    """With its place."""
    shop.edit(old, new)
    with pytest.raises(SpecError) as caught:
        declare.load(shop.folder / "rollback.yaml")
    assert any(said in f"{one.message} {one.hint}" for one in caught.value.problems)
