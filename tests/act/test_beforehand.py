"""Approvals given beforehand: off by default, signed over what they are for, counted as they are used."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from rollback.act import authorize, beforehand
from rollback.act.deciding import decide_now
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.act.stopping import abort
from rollback.act.told import tell_facts
from rollback.act.trusting import accept
from rollback.judge.beforehand import Grant
from rollback.model.errors import NotAuthorized, PlanError, SpecError
from rollback.model.lifecycle import Run, State
from tests.cli.program import rollback
from tests.systems import PEOPLE, Shop, build, make_key

FULL = "authority: {roles: [lead, chief], quorum: all}"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A key file for each of the people; the public half under NAME.pub."""
    folder = tmp_path_factory.mktemp("keys")
    made = {name: make_key(folder, name) for name in PEOPLE}
    return {name: str(file) for name, (file, _) in made.items()} | {
        f"{name}.pub": public for name, (_, public) in made.items()
    }


@pytest.fixture
def shop(tmp_path: Path, keys: dict[str, str]) -> Shop:
    """The shop, whose level full takes two approvals, beforehand too, with a bad release."""
    made = build(tmp_path, keys={name: keys[f"{name}.pub"] for name in PEOPLE})
    made.edit(FULL, FULL.replace("all}", "all, standing: {uses: 2, longest: 2d}}"))
    with made.site() as site:
        site.checkpoints.create("good")
    worse(made, 99)
    return made


def worse(shop: Shop, limit: int) -> None:
    """Another bad release."""
    (shop.tree / "config" / "app.yaml").write_text(f"party: true\nlimit: {limit}\n")


def give(site: Site, person: str, keys: dict[str, str], **more: object) -> Grant:
    """A yes to two runs, for a day."""
    words = {"uses": 2, "valid_for": DAY, "key": keys[person], **more}
    return beforehand.give(site, "full", person=person, **words)  # type: ignore[arg-type]


def run_of(shop: Shop, site: Site, requester: str = "dee") -> Run:
    """A run of level full, driven as far as it goes."""
    return roll_back(site, authorize.create(site, shop.plan(site, "full", requester=requester)).id)


def test_who_said_yes_beforehand_is_asked_no_more_as_often_as_he_said(
    shop: Shop, keys: dict[str, str]
) -> None:
    """Two uses, each recorded with its run and number; the third run waits."""
    with shop.site() as site:
        for person in ("bo", "cyd"):
            give(site, person, keys)
        for number in (1, 2):
            run = run_of(shop, site)
            assert run.state is State.COMPLETE
            used = [
                e.data
                for e in site.journal.events()
                if e.run == run.id and e.kind == "standing.used"
            ]
            assert [(one["person"], one["use"], one["of"]) for one in used] == [
                ("bo", number, 2), ("cyd", number, 2),
            ]  # fmt: skip
            worse(shop, 100 + number)
        waits = run_of(shop, site)
        assert (waits.state, waits.waiting_for["what"]) == (
            State.WAITING,
            "approval by lead and chief",
        )
        assert {one.why_not for one in beforehand.listed(site)} == {"it is used up"}


def test_half_of_it_is_half_of_it(shop: Shop, keys: dict[str, str]) -> None:
    """The other role answers for this run; who asks for the run does not speak for it beforehand."""
    with shop.site() as site:
        give(site, "bo", keys)
        run = run_of(shop, site)
        assert run.waiting_for["what"] == "approval by chief"
        authorize.approve(site, run, person="cyd", key=keys["cyd"])
        assert roll_back(site, run.id).state is State.COMPLETE
        worse(shop, 100)
        mine = run_of(shop, site, requester="bo")
        assert mine.waiting_for["what"] == "approval by lead and chief"


def test_a_no_to_the_run_is_stronger_than_a_yes_beforehand(
    shop: Shop, keys: dict[str, str]
) -> None:
    """The last word of a person counts."""
    with shop.site() as site:
        give(site, "bo", keys)
        run = run_of(shop, site)
        authorize.approve(site, run, person="bo", answer="no", note="not this one", key=keys["bo"])
        assert roll_back(site, run.id).state is State.ABANDONED


def test_a_run_that_was_given_up_gives_its_use_back_to_nobody(
    shop: Shop, keys: dict[str, str]
) -> None:
    """Nor does one that only waited take one."""
    with shop.site() as site:
        give(site, "bo", keys)
        run = run_of(shop, site)
        abort(site, run, by="ada", reason="false alarm")
        assert [one.used for one in beforehand.listed(site)] == [0]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"uses": 3}, "for 3 uses"), ({"uses": 0}, "for 0 uses"), ({"uses": -1}, "for -1 uses"),
        ({"valid_for": timedelta(days=2, seconds=1)}, "longer than"),
        ({"valid_for": timedelta(0)}, "expired"), ({"valid_for": -DAY}, "expired"),
        ({"key": ""}, "always signed"), ({"key": "cyd"}, "not signed with the declared key"),
        ({"key": "/nowhere"}, "no such key file"),
    ],
)  # fmt: skip
def test_more_than_is_declared_is_not_given(
    more: dict[str, object], why: str, shop: Shop, keys: dict[str, str]
) -> None:
    """Nothing is recorded."""
    if "key" in more:
        more = {"key": keys.get(str(more["key"]), more["key"])}
    with shop.site() as site:
        with pytest.raises(NotAuthorized, match=why):
            give(site, "bo", keys, **more)
        assert beforehand.listed(site) == ()


def test_who_may_not_answer_does_not_answer_beforehand(shop: Shop, keys: dict[str, str]) -> None:
    """No role, no key, no such level, and a level that takes none."""
    with shop.site() as site:
        with pytest.raises(NotAuthorized, match="holds none of the roles"):
            give(site, "dee", keys)
        with pytest.raises(NotAuthorized, match="not signed with the declared key"):
            beforehand.give(site, "full", person="fay", uses=1, valid_for=DAY, key=keys["bo"])
        with pytest.raises(NotAuthorized, match="takes no approval beforehand"):
            beforehand.give(site, "config", person="ada", uses=1, valid_for=DAY, key=keys["ada"])
        with pytest.raises(PlanError):
            beforehand.give(site, "fulll", person="bo", uses=1, valid_for=DAY, key=keys["bo"])


@pytest.mark.parametrize("way", ["expired", "policy", "role", "withdrawn", "forged", "level"])
def test_what_it_was_given_under_has_to_be_so_still(
    way: str, shop: Shop, keys: dict[str, str]
) -> None:
    """Time, policy, role; taken back, edited in the journal, or of another level: it counts for nothing."""
    with shop.site() as site:
        grant = give(site, "bo", keys)
        assert run_of(shop, site).waiting_for["what"] == "approval by chief"
        if way == "withdrawn":
            beforehand.withdraw(site, grant.nonce[:6], by="bo")
        if way == "expired":
            shop.clock.ahead_s = 86400
        if way in ("forged", "level"):
            beforehand.withdraw(site, grant.nonce, by="bo")
            changed = {"uses": 2, "nonce": "other"} if way == "forged" else {"level": "full2"}
            site.tell("standing.given", **{**grant.as_json(), **changed})
            site.tell("standing.given", whatever=1)
    if way in ("policy", "role"):
        shop.edit("guest: {title: Guest}" if way == "policy" else "{id: bo, roles: [lead]",
                  "guest: {title: Guests}" if way == "policy" else "{id: bo, roles: [guest]")  # fmt: skip
        with shop.site() as site:
            accept(site, person="ada", key=keys["ada"])
    with shop.site() as site:
        worse(shop, 101)
        assert run_of(shop, site).waiting_for["what"] == "approval by lead and chief"


def test_given_for_triggers_it_counts_when_one_of_them_called(
    shop: Shop, keys: dict[str, str]
) -> None:
    """The newest decision, of this level, by that trigger; not a run that somebody only wants."""
    shop.edit("standing: {uses: 2,", "standing: {triggers: [wrong], uses: 2,")
    wrong = "{id: wrong, when: {fact: wrong, is: true}, respond: {roll_back: full}}"
    shop.edit("levels:\n  flag:", f"triggers:\n  - {wrong}\nlevels:\n  flag:")
    with shop.site() as site:
        give(site, "bo", keys)
        assert run_of(shop, site).waiting_for["what"] == "approval by lead and chief"
        tell_facts(site, {"wrong": "true"}, by="ada", for_s=600.0)
        assert decide_now(site).level == "full"
        worse(shop, 102)
        assert run_of(shop, site).waiting_for["what"] == "approval by chief"


def test_the_declaration_refuses_what_cannot_be(tmp_path: Path) -> None:
    """No such day; no such trigger; no uses."""
    for words in ("until: 2026-02-31", "triggers: [nothing]", "uses: 0", "longest: 0s"):
        folder = tmp_path / words[:4].strip()
        folder.mkdir(exist_ok=True)
        shop = build(folder / words[-4:].strip(), guardrails="")
        shop.edit(FULL, FULL.replace("all}", f"all, standing: {{{words}}}}}"))
        with pytest.raises(SpecError):
            _ = shop.system


def test_the_program_gives_lists_and_takes_back(shop: Shop, keys: dict[str, str]) -> None:
    """By id, with what is left of it."""
    words = ["approval", "standing", "full", "--as", "bo", "--uses", "2", "--for", "1d"]
    assert rollback(shop.folder, *words).status == 4
    given = rollback(shop.folder, *words, "--key", keys["bo"])
    assert given.status == 0
    line = rollback(shop.folder, "approval", "list").out
    assert "full by bo: 0 of 2 used" in line
    assert (
        rollback(shop.folder, "approval", "standing", "full", "--as", "bo", "--for", "soon").status
        == 2
    )
    nonce = given.out.splitlines()[1].split()[-1]
    assert rollback(shop.folder, "approval", "withdraw", nonce, "--as", "bo").status == 0
    assert rollback(shop.folder, "approval", "list").out == "no approval was given beforehand\n"
    assert rollback(shop.folder, "approval", "withdraw", nonce, "--as", "bo").status == 3
