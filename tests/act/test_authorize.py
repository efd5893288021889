"""Approvals in a real journal, signed by real keys: what counts, what is refused, what ends a run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rollback.act import authorize
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.act.stopping import abort, retry
from rollback.act.trusting import accept, may_accept
from rollback.judge.authority import NAMESPACE, VALID_FOR_S, Approval, read
from rollback.keep.lease import Lease
from rollback.model.errors import NotAuthorized, PlanError, Refused, RunLocked
from rollback.model.lifecycle import Run, State
from tests.systems import PEOPLE, Shop, build, make_key


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """A key for each of the people, and one of a stranger."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder, name) for name in (*PEOPLE, "mallory")}


@pytest.fixture
def shop(tmp_path: Path, keys: dict[str, tuple[Path, str]]) -> Shop:
    """The shop, whose people all have declared keys, with a checkpoint and a bad release."""
    made = build(tmp_path, keys={name: keys[name][1] for name in PEOPLE})
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


@pytest.fixture
def site(shop: Shop) -> Iterator[Site]:
    """The shop, opened."""
    with shop.site() as opened:
        yield opened


def begun(shop: Shop, site: Site, level: str = "full", requester: str = "dee", **more: str) -> Run:
    """A run that waits for its approvals."""
    run = authorize.create(site, shop.plan(site, level, requester=requester, **more))
    run = roll_back(site, run.id)
    assert run.state is State.WAITING
    return run


def kinds(site: Site) -> list[str]:
    """What stands in the journal."""
    return [event.kind for event in site.journal.events()]


@pytest.mark.requirement("PM-17")
def test_both_roles_with_their_own_keys_start_the_run(
    shop: Shop, site: Site, keys: dict[str, tuple[Path, str]]
) -> None:
    """One of them leaves it waiting; the second lets it go on; each is recorded with its time."""
    run = begun(shop, site)
    assert run.waiting_for["what"] == "approval by lead and chief"
    authorize.approve(site, run, person="bo", key=str(keys["bo"][0]))
    assert roll_back(site, run.id).waiting_for["what"] == "approval by chief"
    assert not authorize.may_wake(site, site.run(run.id))
    authorize.approve(site, run, person="cyd", key=str(keys["cyd"][0]))
    assert authorize.may_wake(site, site.run(run.id))
    done = roll_back(site, run.id)
    assert "run.protected" in done.moments
    used = [e.data["person"] for e in site.journal.events() if e.kind == "approval.used"]
    assert used == ["bo", "cyd"]


def signed(site: Site, run: Run, person: str, key: Path, /, **changed: str) -> Approval:
    """An approval made by hand and signed by hand."""
    made = authorize.make_approval(
        site, run, person=person, answer="yes", note="", valid_for=timedelta(seconds=VALID_FOR_S)
    )  # fmt: skip
    made = Approval(**{**made.as_json(), **changed})  # type: ignore[arg-type]
    done = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE],
        input=made.signed_bytes(), capture_output=True, check=True,
    )  # fmt: skip
    return Approval(**{**made.as_json(), "signature": done.stdout.decode()})  # type: ignore[arg-type]


def test_an_approval_counts_once_and_for_the_bytes_that_were_signed(
    shop: Shop, site: Site, keys: dict[str, tuple[Path, str]]
) -> None:
    """Replayed, changed after signing, stripped of its signature: refused."""
    run = begun(shop, site)
    good = signed(site, run, "bo", keys["bo"][0])
    for field, value in (
        ("note", "also tomorrow"),
        ("answer", "no"),
        ("signature", ""),
        ("nonce", "x"),
    ):
        forged = Approval(**{**good.as_json(), field: value})  # type: ignore[arg-type]
        with pytest.raises(NotAuthorized, match="not signed"):
            authorize.record(site, run, forged)
    authorize.record(site, run, good)
    with pytest.raises(NotAuthorized, match="given before"):
        authorize.record(site, site.run(run.id), good)
    again = signed(site, run, "bo", keys["bo"][0])
    with pytest.raises(NotAuthorized, match="bo said yes already"):  # one person, however often
        authorize.record(site, site.run(run.id), again)
    assert roll_back(site, run.id).state is State.WAITING


def test_an_approval_for_one_run_does_not_start_another(
    shop: Shop, site: Site, keys: dict[str, tuple[Path, str]]
) -> None:
    """Not even one of the same level and target."""
    first = begun(shop, site)
    given = signed(site, first, "bo", keys["bo"][0])
    second = begun(shop, site)
    with pytest.raises(NotAuthorized, match="another run"):
        authorize.record(site, second, given)


@pytest.mark.requirement("PM-19")
def test_the_requester_is_no_second_person(
    shop: Shop, site: Site, keys: dict[str, tuple[Path, str]]
) -> None:
    """Two leads must approve `pages`; the lead who asked is not one of them."""
    run = begun(shop, site, "pages", requester="bo", component="pages")
    with pytest.raises(NotAuthorized, match="bo asked for this run"):
        authorize.approve(site, run, person="bo", key=str(keys["bo"][0]))
    authorize.approve(site, run, person="ada", key=str(keys["ada"][0]))
    assert roll_back(site, run.id).waiting_for["what"] == "1 more approval by lead"


def test_a_revoked_role_counts_no_more_even_if_it_approved_before(
    shop: Shop, keys: dict[str, tuple[Path, str]]
) -> None:
    """People and policy are those in force when the run starts, and pinned."""
    with shop.site() as site:
        run = begun(shop, site)
        authorize.approve(site, run, person="bo", key=str(keys["bo"][0]))
        authorize.approve(site, run, person="cyd", key=str(keys["cyd"][0]))
    shop.edit("{id: bo, roles: [lead]", "{id: bo, roles: [guest]")
    with shop.site() as site:
        stopped = roll_back(site, run.id)
        assert stopped.state is State.WAITING
        assert "changed" in stopped.waiting_for["what"]
        assert "changed" in authorize.standing(site, stopped, _plan(stopped)).missing
        with pytest.raises(NotAuthorized, match="not the ones this state directory trusts"):
            authorize.create(site, shop.plan(site, "config"))


def _plan(run: Run):  # type: ignore[no-untyped-def]
    from rollback.act.plan import plan_of

    return plan_of(run)


def test_somebody_who_writes_himself_into_the_declaration_approves_nothing(
    shop: Shop, keys: dict[str, tuple[Path, str]]
) -> None:
    """The run was planned under other people; the trust anchor knows them."""
    with shop.site() as site:
        run = begun(shop, site)
    new = f'    - {{id: mallory, roles: [lead, chief], key: "{keys["mallory"][1]}"}}\n'
    shop.edit("    - {id: dee,", f"{new}    - {{id: dee,")
    with shop.site() as site:
        given = signed(site, run, "mallory", keys["mallory"][0])
        with pytest.raises(NotAuthorized):
            authorize.record(
                site, run, Approval(**{**given.as_json(), "policy": run.plan["policy"]})
            )  # type: ignore[arg-type]
        assert roll_back(site, run.id).state is State.WAITING


def test_a_clock_that_is_set_back_revives_no_approval(
    shop: Shop, keys: dict[str, tuple[Path, str]]
) -> None:
    """Time is never before the newest event of the journal."""
    with shop.site() as site:
        run = begun(shop, site)
        old = signed(site, run, "bo", keys["bo"][0])
    shop.clock.ahead_s = VALID_FOR_S + 60
    with shop.site() as site:
        site.tell("run.noted", run=run.id)
    shop.clock.ahead_s = 0
    with shop.site() as site, pytest.raises(NotAuthorized, match="expired"):
        authorize.record(site, site.run(run.id), old)


def test_an_approval_that_expires_before_the_run_starts_counts_no_more(
    shop: Shop, keys: dict[str, tuple[Path, str]]
) -> None:
    """Given in time, used too late."""
    with shop.site() as site:
        run = begun(shop, site)
        authorize.approve(site, run, person="bo", key=str(keys["bo"][0]))
    shop.clock.ahead_s = VALID_FOR_S + 60
    with shop.site() as site:
        authorize.approve(site, site.run(run.id), person="cyd", key=str(keys["cyd"][0]))
        assert roll_back(site, run.id).state is State.WAITING


def test_a_denial_ends_the_run_without_an_effect(
    shop: Shop, site: Site, keys: dict[str, tuple[Path, str]]
) -> None:
    """By somebody who might have approved; its reason stands in the run."""
    before = shop.bytes()
    run = begun(shop, site)
    authorize.approve(site, run, person="cyd", answer="no", note="not now", key=str(keys["cyd"][0]))
    ended = roll_back(site, run.id)
    assert ended.state is State.ABANDONED
    assert ended.reason == "cyd said no: not now"
    assert shop.bytes() == before
    with pytest.raises(PlanError, match="has ended"):
        authorize.approve(site, ended, person="bo", key=str(keys["bo"][0]))


def test_waiting_outlives_the_process_and_the_journal_says_for_what(
    shop: Shop, keys: dict[str, tuple[Path, str]]
) -> None:
    """Each step by a process of its own."""
    with shop.site() as site:
        run = begun(shop, site)
    for person in ("bo", "cyd"):
        with shop.site() as site:
            assert site.run("last").state is State.WAITING
            authorize.approve(site, site.run(run.id), person=person, key=str(keys[person][0]))
    with shop.site() as site:
        roll_back(site, run.id)
        assert (shop.tree / "pages" / "index.html").read_text() == "<h1>shop</h1>\n"


def test_a_hand_written_approval_in_the_journal_counts_for_nothing(shop: Shop, site: Site) -> None:
    """Whoever can write there still has no key; other shapes are passed over."""
    run = begun(shop, site)
    unsigned = authorize.make_approval(
        site, run, person="bo", answer="yes", note="", valid_for=timedelta(hours=1)
    )
    site.note(run, "approval.given", **unsigned.as_json())
    site.note(run, "approval.given", person="cyd", answer="yes", more="x")
    assert roll_back(site, run.id).state is State.WAITING


def test_what_is_read_from_a_file_is_what_was_signed(
    shop: Shop, site: Site, keys: dict[str, tuple[Path, str]]
) -> None:
    """Through JSON and back, the signature still fits."""
    run = begun(shop, site)
    good = signed(site, run, "bo", keys["bo"][0])
    authorize.record(site, run, read(json.loads(json.dumps(good.as_json()))))


# -- beginning -----------------------------------------------------------------------------


def test_two_who_begin_at_once_get_two_runs_or_a_refusal(shop: Shop, site: Site) -> None:
    """A run id is never given twice: that would make the journal unreadable."""
    plan, same = shop.plan(site, "config"), shop.plan(site, "config")
    authorize.create(site, plan)
    with pytest.raises(RunLocked, match="somebody else just now"):
        authorize.create(site, same)
    with Lease(site.state.tree, site.host, purpose="x"), pytest.raises(RunLocked):
        authorize.create(site, shop.plan(site, "config"))
    assert list(site.runs()) == ["r0001"]


def test_two_who_resume_at_once_do_not_both_send_it_on(shop: Shop, site: Site) -> None:
    """The second finds it sent on already."""
    run = authorize.create(site, shop.plan(site, "config"))
    site.note(run, "run.needs-operator", reason="x")
    stopped = site.run(run.id)
    assert retry(site, stopped, by="ada").state is State.PLANNED
    assert retry(site, stopped, by="bo").state is State.PLANNED
    assert kinds(site).count("run.retried") == 1


def test_a_guardrail_refuses_before_a_run_exists_and_is_journalled(tmp_path: Path) -> None:
    """The refusal survives the process: it is counted from the journal."""
    shop = build(tmp_path, guardrails="guardrails:\n  rate_limit: {max: 1, per: 24h}\n")
    with shop.site() as site:
        site.checkpoints.create("base")
        authorize.create(site, shop.plan(site, "flag"))
    with shop.site() as site:
        with pytest.raises(Refused, match="rate-limit"):
            authorize.create(site, shop.plan(site, "flag"))
        assert kinds(site)[-1] == "run.refused"
        assert list(site.runs()) == ["r0001"]
    shop.clock.ahead_s = 24 * 3600 + 1
    with shop.site() as site:
        authorize.create(site, shop.plan(site, "flag"))


def test_a_plan_that_holds_a_secret_is_refused_by_the_name_of_its_step(tmp_path: Path) -> None:
    """It would be masked in the journal, and the run carried out masked."""
    shop = build(tmp_path)
    shop.edit("set: false", "set: true, title: uses-hidden-value")
    (shop.tree / ".env").write_text("PARTY=false\n")
    with shop.site(secrets=("hidden-value",)) as site:
        with pytest.raises(PlanError, match="flag-1 holds the value of a secret"):
            authorize.create(site, shop.plan(site, "flag"))
        assert b"hidden-value" not in (shop.journal.read_bytes() if shop.journal.exists() else b"")


# -- giving up -----------------------------------------------------------------------------


def test_a_run_that_did_nothing_is_abandoned(shop: Shop, site: Site) -> None:
    """With the reason and who said so."""
    run = begun(shop, site)
    ended = abort(site, run, by="dee", reason="false alarm")
    assert (ended.state, ended.reason) == (State.ABANDONED, "false alarm (by dee)")
    assert not authorize.may_wake(site, ended)
    with pytest.raises(PlanError, match="has ended"):
        abort(site, ended, by="dee", reason="again")


@pytest.mark.parametrize(
    ("way", "after"),
    [
        (["run.authorized"], State.UNDOING), (["run.authorized", "run.protected"], State.UNDOING),
        (["run.authorized", "run.protected", "run.started"], State.UNDOING),
        (["run.authorized", "run.protected", "run.started", "run.waiting"], State.UNDOING),
        (["run.authorized", "run.protected", "run.started", "run.mitigated"], None),
        (["run.authorized", "run.protected", "run.started", "run.needs-operator"], None),
        (["run.authorized", "run.undoing", "run.waiting"], None),
    ],
)  # fmt: skip
def test_a_run_that_did_something_is_taken_back_or_says_how(
    way: list[str], after: State | None, shop: Shop, site: Site
) -> None:
    """From every state a step may have run in; a refusal leaves no trace in the journal."""
    run = authorize.create(site, shop.plan(site, "config"))
    for kind in way:
        run = site.note(run, kind)
        if kind == "run.authorized":
            run = site.note(run, "step.began", index="1", id="x")
            run = site.note(run, "step.ended", index="1", id="x")
    before = kinds(site)
    if after is None:
        with pytest.raises(PlanError, match="nothing to stop"):
            abort(site, run, by="ada", reason="stop")
        assert kinds(site) == before
    else:
        assert abort(site, run, by="ada", reason="stop").state is after


# -- trust ---------------------------------------------------------------------------------


def test_other_people_are_accepted_by_those_who_were_believed_before(
    shop: Shop, keys: dict[str, tuple[Path, str]]
) -> None:
    """Never by those who come with the change; and with the key that was declared then."""
    with shop.site() as site:
        authorize.create(site, shop.plan(site, "config"))
        assert may_accept(site) == ("ada",)
    shop.edit("{id: dee, roles: [guest]", "{id: dee, roles: [op, lead, chief]")
    with shop.site() as site:
        pinned = site.system.authority_digest
        for person, key in (("dee", "dee"), ("bo", "bo"), ("mallory", "mallory")):
            with pytest.raises(NotAuthorized, match="may not change"):
                accept(site, person=person, key=str(keys[person if person == key else key][0]))
        with pytest.raises(NotAuthorized, match="must be signed"):
            accept(site, person="ada")
        with pytest.raises(NotAuthorized, match="not the one declared"):
            accept(site, person="ada", key=str(keys["mallory"][0]))
        assert accept(site, person="ada", key=str(keys["ada"][0])) == pinned
        assert set(may_accept(site)) == {"ada", "dee"}
        authorize.create(site, shop.plan(site, "config"))


def test_a_trust_anchor_that_was_removed_is_not_simply_made_anew(shop: Shop) -> None:
    """The journal remembers whom it was told to believe."""
    with shop.site() as site:
        authorize.create(site, shop.plan(site, "config"))
    (shop.folder / ".rollback" / "trust.json").unlink()
    with shop.site() as site:
        authorize.create(site, shop.plan(site, "config"))  # the same people: pinned again
    (shop.folder / ".rollback" / "trust.json").unlink()
    shop.edit("{id: dee, roles: [guest]", "{id: dee, roles: [lead]")
    with shop.site() as site, pytest.raises(NotAuthorized, match="the journal remembers"):
        authorize.create(site, shop.plan(site, "config"))
