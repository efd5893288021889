"""Who has said yes, and is it enough: against a brute-force count, and every way to cheat."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback.host.clock import iso
from rollback.judge.authority import VALID_FOR_S, Approval, invalid, read, standing
from rollback.model.people import Authority, Member, People, Role

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ROLES = ("cto", "architect", "lead", "op")
NAMES = ("ada", "bo", "cyd", "dee", "eve")


def people(roles: dict[str, tuple[str, ...]], *, keys: bool = True) -> People:
    """Members with these roles."""
    members = tuple(
        Member(id=name, roles=held, key=f"ssh-ed25519 {name}" if keys else None)
        for name, held in roles.items()
    )
    return People(owner="op", roles={role: Role() for role in ROLES}, members=members)


def approval(person: str = "ada", **more: str) -> Approval:
    """A yes for run r0001, an hour good."""
    fields = {
        "run": "r0001", "plan": "plan", "host": "here", "policy": "policy", "person": person,
        "nonce": person, "given": iso(NOW), "expires": iso(NOW + timedelta(hours=1)),
        "signature": "signed",
    }  # fmt: skip
    return Approval(**{**fields, **more})


def why(found: Approval, *, verified: bool = True, now: datetime = NOW, keys: bool = True) -> str:
    """Why it counts for nothing."""
    return invalid(
        found, people=people({"ada": ("cto",)}, keys=keys), plan="plan", run="r0001", host="here",
        policy="policy", now=now, verified=verified,
    )  # fmt: skip


def test_an_approval_that_fits_counts() -> None:
    """The control of all the attacks below."""
    assert why(approval()) == ""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"run": "r0002"}, "another run"), ({"plan": "other"}, "another plan"),
        ({"host": "there"}, "another host"), ({"policy": "older"}, "another policy"),
        ({"person": "mallory"}, "not one of the declared people"),
        ({"given": iso(NOW + timedelta(seconds=1))}, "dated in the future"),
        ({"expires": iso(NOW)}, "expired"), ({"expires": iso(NOW - timedelta(days=1))}, "expired"),
        ({"expires": "9999"}, "cannot be read"), ({"given": ""}, "cannot be read"),
        ({"expires": "2027-01-01T00:00:00"}, "cannot be read"),
        ({"expires": iso(NOW + timedelta(days=400))}, "longer than"),
        ({"given": "0001-01-01T00:00:00Z"}, "longer than"),
    ],
)  # fmt: skip
def test_an_approval_for_anything_else_counts_for_nothing(
    changed: dict[str, str], reason: str
) -> None:
    """It is good for one run, one plan, one machine, one policy, and a while."""
    assert reason in why(replace(approval(), **changed))


def test_a_person_with_a_key_must_have_signed_with_it() -> None:
    """Unsigned, or signed by another key: nothing."""
    assert "not signed with the declared key" in why(approval(), verified=False)
    assert "not signed with the declared key" in why(approval(signature=""), verified=False)


def test_a_signature_nobody_can_verify_is_worse_than_none() -> None:
    """Without a declared key it is refused, not recorded as unauthenticated."""
    assert "does not verify" in why(approval(), verified=False, keys=False)
    assert why(approval(signature=""), verified=False, keys=False) == ""


def test_what_is_signed_covers_every_field_but_the_signature() -> None:
    """Changing any of them changes the bytes."""
    base = approval().signed_bytes()
    for name in Approval.__slots__:
        changed = replace(approval(), **{name: "x"}).signed_bytes()
        assert (changed == base) == (name == "signature")


@pytest.mark.parametrize(
    "data",
    [{}, {"run": "x"}, {**approval().as_json(), "more": "x"}, {**approval().as_json(), "run": 1}],
)
def test_what_is_not_exactly_an_approval_is_not_read(data: dict[str, object]) -> None:
    """Other fields, missing fields, other types."""
    with pytest.raises(ValueError, match="not an approval"):
        read(data)
    assert read(approval().as_json()) == approval()


# -- enough? -------------------------------------------------------------------------------


def brute_force(authority: Authority, held: dict[str, set[str]], said: list[str]) -> bool:
    """Could these distinct people fill the quorum? Every assignment is tried."""
    if authority.quorum == "all":
        return any(
            all(role in held[person] for role, person in zip(authority.roles, chosen, strict=True))
            for chosen in permutations(said, len(authority.roles))
        )
    allowed = {authority.roles[0]} if authority.quorum == "ordered" else set(authority.roles)
    return sum(1 for person in said if held[person] & allowed) >= authority.count


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_count_of_people_is_that_of_a_brute_force(data: st.DataObject) -> None:
    """Any, all, ordered, and several of them; whoever says yes, in any order, and twice."""
    roles = tuple(data.draw(st.lists(st.sampled_from(ROLES), min_size=1, max_size=4, unique=True)))
    quorum = data.draw(st.sampled_from(["any", "all", "ordered"]))
    authority = Authority(
        roles=roles, quorum=quorum, count=data.draw(st.integers(1, 3)) if quorum != "all" else 1,
        alone=data.draw(st.booleans()), next_after="5m" if quorum == "ordered" else None,
    )  # fmt: skip
    held = {
        name: set(data.draw(st.lists(st.sampled_from(ROLES), min_size=1, max_size=3, unique=True)))
        for name in NAMES
    }
    said = data.draw(st.lists(st.sampled_from(NAMES), max_size=7))
    requester = data.draw(st.sampled_from(NAMES))
    found = standing(
        authority, people({n: tuple(sorted(r)) for n, r in held.items()}),
        [approval(person) for person in said], requester=requester,
    )  # fmt: skip
    may = sorted({p for p in said if authority.alone or p != requester})
    assert found.enough == brute_force(authority, held, may)
    if found.enough:
        assert len({used.person for used in found.used}) == len(found.used)
        assert {used.person for used in found.used} <= set(may)
    else:
        assert found.missing


@pytest.mark.requirement("PM-17", "PM-18")
def test_both_must_approve_and_one_is_not_enough() -> None:
    """CTO and architect: one of them leaves it blocked, two start it."""
    authority = Authority(roles=("cto", "architect"), quorum="all")
    who = people({"ada": ("cto",), "bo": ("architect",), "cyd": ("op",)})
    assert standing(authority, who, [approval("ada")], requester="cyd").missing == (
        "approval by architect"
    )
    assert standing(authority, who, [approval("ada"), approval("bo")], requester="cyd").enough


@pytest.mark.requirement("PM-18")
def test_an_approval_lasts_four_hours_and_no_longer() -> None:
    """The longest urgency that any declared system asks for."""
    assert VALID_FOR_S == 4 * 3600
    late = approval(expires=iso(NOW + timedelta(seconds=VALID_FOR_S)))
    assert why(late) == ""
    assert "expired" in why(late, now=NOW + timedelta(seconds=VALID_FOR_S))


def test_one_person_with_both_roles_is_one_person() -> None:
    """Two hats make no second pair of eyes."""
    authority = Authority(roles=("cto", "architect"), quorum="all")
    who = people({"ada": ("cto", "architect"), "bo": ("op",)})
    twice = [approval("ada"), approval("ada", nonce="2")]
    assert not standing(authority, who, twice, requester="bo").enough


@pytest.mark.requirement("PM-19")
def test_who_holds_no_role_of_the_level_is_not_counted() -> None:
    """An engineer's yes does not start what the lead must approve."""
    authority = Authority(roles=("lead",))
    who = people({"ada": ("op",), "bo": ("lead",)})
    assert not standing(authority, who, [approval("ada")], requester="cyd").enough
    assert standing(authority, who, [approval("bo")], requester="ada").enough


def test_a_no_of_somebody_who_may_say_yes_ends_it() -> None:
    """Whatever others said; a no of somebody else is no word at all."""
    authority = Authority(roles=("lead",))
    who = people({"ada": ("lead",), "bo": ("lead",), "cyd": ("op",)})
    no = approval("bo", answer="no", note="too late")
    denied = standing(authority, who, [approval("ada"), no], requester="cyd")
    assert denied.denied == "bo said no: too late"
    assert not denied.enough
    assert standing(
        authority, who, [approval("ada"), approval("cyd", answer="no")], requester="x"
    ).enough


def test_unsigned_approvals_reach_no_quorum_above_one_and_block_none() -> None:
    """Two signed ones are enough beside a third without a signature."""
    authority = Authority(roles=("lead",), count=2)
    who = people(dict.fromkeys(NAMES, ("lead",)))
    unsigned = [approval(name, signature="") for name in ("ada", "bo")]
    found = standing(authority, who, unsigned, requester="eve")
    assert not found.enough
    assert "declare keys" in found.missing
    both = [approval("ada", signature=""), approval("bo"), approval("cyd")]
    assert standing(authority, who, both, requester="eve").enough


def test_one_key_under_two_names_is_one_person() -> None:
    """The declaration refuses it; where it is believed all the same, it counts once."""
    who = people({"ada": ("lead",), "bo": ("lead",)})
    same = who.model_copy(update={
        "members": tuple(one.model_copy(update={"key": "ssh-ed25519 AAAA"}) for one in who.members)
    })  # fmt: skip
    two = Authority(roles=("lead",), count=2)
    both = [approval("ada"), approval("bo")]
    assert standing(two, who, both, requester="cyd").enough
    assert standing(two, same, both, requester="cyd").lacking == 1


def test_who_may_speak_alone_does_so_for_everybody_and_to_his_own_run() -> None:
    """A no of one of the others still ends it."""
    who = people({"ada": ("op",), "bo": ("cto",), "cyd": ("lead",)})
    both = Authority(roles=("cto", "lead"), quorum="all")
    mine = [approval("ada")]
    assert not standing(both, who, mine, requester="ada").enough
    assert standing(both, who, mine, requester="ada", alone=("op",)).enough
    said = [*mine, approval("bo", answer="no")]
    assert "bo said no" in standing(both, who, said, requester="ada", alone=("op",)).denied
