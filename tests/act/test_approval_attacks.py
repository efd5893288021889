"""Sixty ways to get a yes that nobody gave: each refused, each in the journal as refused.

Beside each stands which careless check it would have passed: one that believes the name in an
approval (`name`), one that believes any signature of that person's key over any bytes of his, or
of the same approval for something else (`signed`).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollback.act import authorize
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.act.trusting import accept
from rollback.host.clock import iso
from rollback.host.signing import verified
from rollback.judge.authority import NAMESPACE, Approval
from rollback.model.errors import NotAuthorized, PlanError, SpecError
from rollback.model.lifecycle import Run, State
from tests.systems import PEOPLE, Shop, build, make_key

NAME, SIGNED, BOTH, NEITHER = {"name"}, {"signed"}, {"name", "signed"}, set[str]()


@dataclass
class Lab:
    """A run of level full that waits for lead and chief; and one like it, for what is taken from there."""

    shop: Shop
    site: Site
    run: Run
    other: Run
    keys: dict[str, tuple[Path, str]]

    def good(self, person: str = "bo", **more: str) -> Approval:
        """An unsigned yes to the run, with some fields otherwise."""
        made = authorize.make_approval(
            self.site, self.run, person=person, answer="yes", note="", valid_for=timedelta(hours=1)
        )
        return replace(made, **more)

    def signed(self, approval: Approval, key: str = "bo", namespace: str = NAMESPACE) -> Approval:
        """Signed as it stands, by somebody's key."""
        said = approval.signed_bytes()
        return replace(approval, signature=_sign(said, self.keys[key][0], namespace))

    def later(self, **delta: float) -> str:
        """A time so much from now."""
        return iso(self.shop.clock.now() + timedelta(**delta))


def _sign(said: bytes, key: Path, namespace: str) -> str:
    argv = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", namespace]
    return subprocess.run(argv, input=said, capture_output=True, check=True).stdout.decode()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """A key for each of the people, and one of a stranger."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_key(folder, name) for name in (*PEOPLE, "mallory")}


def ready(folder: Path, keys: dict[str, tuple[Path, str]]) -> Shop:
    """The shop, whose people have keys, with a checkpoint and a bad release."""
    made = build(folder, keys={name: keys[name][1] for name in PEOPLE})
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "pages" / "index.html").write_text("<h1>broken</h1>\n")
    return made


def begun(shop: Shop, site: Site, requester: str = "ada") -> Run:
    """A run of level full that waits."""
    run = roll_back(site, authorize.create(site, shop.plan(site, "full", requester=requester)).id)
    assert run.state is State.WAITING
    return run


@pytest.fixture(scope="module")
def lab(
    tmp_path_factory: pytest.TempPathFactory, keys: dict[str, tuple[Path, str]]
) -> Iterator[Lab]:
    """One for all attacks that are refused: they leave it as it was."""
    shop = ready(tmp_path_factory.mktemp("shop"), keys)
    with shop.site() as site:
        other = begun(shop, site)
        yield Lab(shop, site, begun(shop, site), other, keys)


Make = Callable[[Lab], Approval]


def as_is(person: str = "bo", key: str = "bo", **more: str) -> Make:
    """Says something else, and is signed rightly over it."""
    return lambda lab: lab.signed(lab.good(person, **more), key)


def timed(**more: dict[str, float]) -> Make:
    """Bears these times, from now, and is signed over them."""
    return lambda lab: lab.signed(
        lab.good(**{name: lab.later(**delta) for name, delta in more.items()})
    )


def altered(**more: str) -> Make:
    """Was signed as a good one, and says something else now."""
    return lambda lab: replace(lab.signed(lab.good()), **more)


def by_hand(signature: str) -> Make:
    """A good one with this for a signature."""
    return lambda lab: lab.good(signature=signature)


def named(namespace: str) -> Make:
    """Signed by the right key for another purpose."""
    return lambda lab: lab.signed(lab.good(), namespace=namespace)


ATTACKS: list[tuple[str, Make, str, set[str]]] = [
    # for something else, rightly signed
    ("of another run", as_is(run="r0001"), "another run", BOTH),
    ("of a run that is none", as_is(run="r9999"), "another run", BOTH),
    ("of the run in capitals", as_is(run="R0002"), "another run", BOTH),
    ("of the run with a space", as_is(run="r0002 "), "another run", BOTH),
    ("of the run with a letter that is not seen", as_is(run="r0002\u200b"), "another run", BOTH),
    ("of the run in other digits", as_is(run="r000２"), "another run", BOTH),  # noqa: RUF001
    ("of any run", as_is(run="*"), "another run", BOTH),
    ("of no run", as_is(run=""), "another run", BOTH),
    ("of another plan", lambda lab: lab.signed(lab.good(plan=lab.other.plan_digest)), "another plan", BOTH),
    ("of a plan of zeros", as_is(plan="0" * 64), "another plan", BOTH),
    ("of the plan in capitals",
     lambda lab: lab.signed(lab.good(plan=lab.run.plan_digest.upper())),
     "another plan", BOTH),
    ("of the beginning of the plan",
     lambda lab: lab.signed(lab.good(plan=lab.run.plan_digest[:16])),
     "another plan", BOTH),
    ("of any plan", as_is(plan="*"), "another plan", BOTH),
    ("of no plan", as_is(plan=""), "another plan", BOTH),
    ("of another host", as_is(host="elsewhere"), "another host", BOTH),
    ("of any host", as_is(host="*"), "another host", BOTH),
    ("of no host", as_is(host=""), "another host", BOTH),
    ("of the host with a domain",
     lambda lab: lab.signed(lab.good(host=f"{lab.good().host}.example.org")),
     "another host", BOTH),
    ("of an older policy", as_is(policy="0" * 64), "another policy", BOTH),
    ("of any policy", as_is(policy="*"), "another policy", BOTH),
    ("of no policy", as_is(policy=""), "another policy", BOTH),
    # at another time
    ("expired a second ago", timed(given={"hours": -1}, expires={"seconds": -1}), "has expired", BOTH),
    ("expired a year ago", timed(given={"days": -366}, expires={"days": -365}), "has expired", BOTH),
    ("over before it was given", timed(expires={"hours": -2}), "has expired", BOTH),
    ("given in a second", timed(given={"seconds": 30}), "dated in the future", BOTH),
    ("given in a year",
     timed(given={"days": 365}, expires={"days": 365, "hours": 1}),
     "in the future", BOTH),
    ("good for a year", timed(expires={"days": 365}), "longer than 4 h", BOTH),
    ("good for a second too long", timed(expires={"hours": 4, "seconds": 5}), "longer than 4 h", BOTH),
    ("good for ever", as_is(expires="9999-12-31T23:59:59Z"), "longer than 4 h", BOTH),
    ("later only as a text", as_is(expires="2026-01-01T23:59:59+14:00"), "has expired", BOTH),
    ("of no time zone", as_is(given="2026-11-20T10:00:00"), "cannot be read", BOTH),
    ("ends in no time zone", as_is(expires="2026-11-20T10:00:00"), "cannot be read", BOTH),
    ("of a day that is none", as_is(given="2026-02-30T10:00:00Z"), "cannot be read", BOTH),
    ("of a second that is none", as_is(expires="2026-12-31T23:59:60Z"), "cannot be read", BOTH),
    ("of seconds since 1970", as_is(expires="1900000000"), "cannot be read", BOTH),
    ("without an end", as_is(expires=""), "cannot be read", BOTH),
    # of somebody else
    ("of a stranger with a key of his own",
     as_is("mallory", "mallory"),
     "not one of the declared", NEITHER),
    ("of somebody without the role", as_is("dee", "dee"), "holds none of the roles", SIGNED),
    ("of who asked for it", as_is("ada", "ada"), "ada asked for this run", BOTH),
    ("of a name in capitals", as_is("Bo"), "not one of the declared", NEITHER),
    ("of a name with a line end", as_is("bo\n"), "not one of the declared", NEITHER),
    ("of a name that looks the same", as_is("bо"), "not one of the declared", NEITHER),  # noqa: RUF001
    ("of a name in wide letters", as_is("ｂｏ"), "not one of the declared", NEITHER),  # noqa: RUF001
    ("of two in one name", as_is("bo,cyd"), "not one of the declared", NEITHER),
    ("of everybody", as_is("*"), "not one of the declared", NEITHER),
    ("of nobody", as_is(""), "not one of the declared", NEITHER),
    ("of one by the key of another", as_is("bo", "cyd"), "not signed with the declared key", NAME),
    ("of one by the key of a stranger", as_is("cyd", "mallory"), "not signed with the declared key", NAME),
    ("of one who has no key, with a signature", as_is("fay", "mallory"), "signature does not verify", NAME),
    # with another signature
    ("without a signature", lambda lab: lab.good(), "not signed", NAME),
    ("with a word for a signature", by_hand("signed"), "not signed", NAME),
    ("with a frame and nothing in it",
     by_hand("-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n"),
     "not signed", NAME),
    ("with a signature in other letters", by_hand("ｓｉｇｎｅｄ"), "not signed", NAME),  # noqa: RUF001
    ("with that of another approval",
     lambda lab: lab.good(signature=lab.signed(lab.good(run="r0001")).signature),
     "not signed", BOTH),
    ("with half of it",
     lambda lab: lab.good(signature=lab.signed(lab.good()).signature[:150]),
     "not signed", NAME),
    ("signed as a file", named("file"), "not signed", BOTH),
    ("signed as a change of trust", named("rollback-trust-v1"), "not signed", BOTH),
    ("signed as a review", named("rollback-review-v1"), "not signed", BOTH),
    ("signed as a yes beforehand", named("rollback-standing-v1"), "not signed", BOTH),
    ("signed for a later version", named("rollback-approval-v2"), "not signed", BOTH),
    # changed after it was signed
    ("a no made a yes",
     lambda lab: replace(lab.signed(lab.good(answer="no")), answer="yes"),
     "not signed", BOTH),
    ("a longer life",
     lambda lab: replace(lab.signed(lab.good()), expires=lab.later(hours=3)),
     "not signed", BOTH),
    ("another nonce", altered(nonce="again"), "not signed", BOTH),
    ("another note", altered(note="and more"), "not signed", BOTH),
    ("another person", altered(person="cyd"), "not signed", NAME),
    ("a broken glass of a yes", altered(answer="break the glass"), "not signed", SIGNED),
    ("a broken glass, signed",
     as_is(answer="break the glass", note="why"),
     "nobody is named for it", SIGNED),
    # in shapes that a reader might mend
    ("a yes in capitals", as_is(answer="YES"), "neither yes nor no", NEITHER | {"signed"}),
    ("a yes with a space", as_is(answer="yes "), "neither yes nor no", SIGNED),
    ("a yes that is a number", as_is(answer="1"), "neither yes nor no", SIGNED),
    ("an answer that is none", as_is(answer=""), "neither yes nor no", SIGNED),
]  # fmt: skip


def careless(lab: Lab, approval: Approval) -> set[str]:
    """Which careless checks believe it."""
    found = set[str]()
    roles = {"ada": {"lead"}, "bo": {"lead"}, "cyd": {"chief"}, "fay": {"lead"}}
    if approval.answer == "yes" and approval.person in roles:
        found.add("name")
    if approval.person in lab.keys and approval.person != "mallory" and approval.signature:
        found |= {"signed"} if _key_of(lab, approval) else set()
    return found


def _key_of(lab: Lab, approval: Approval) -> bool:
    """True when the signature was made by that person's key, whatever it is over."""
    file = lab.shop.folder / "some.sig"
    file.write_text(approval.signature, encoding="utf-8")
    argv = ["ssh-keygen", "-Y", "find-principals", "-s", str(file), "-f", str(_allowed(lab))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip() == approval.person


def _allowed(lab: Lab) -> Path:
    file = lab.shop.folder / "allowed"
    if not file.exists():
        file.write_text("".join(f"{name} {key}\n" for name, (_, key) in lab.keys.items()))
    return file


@pytest.mark.requirement("PM-55")
@pytest.mark.parametrize(
    ("make", "why", "fools"), [one[1:] for one in ATTACKS], ids=[one[0] for one in ATTACKS]
)
def test_an_attack_is_refused_and_journalled_though_a_careless_check_believed_it(
    lab: Lab, make: Make, why: str, fools: set[str]
) -> None:
    """Nothing is counted, the run waits for what it waited for, and the refusal names its reason."""
    attack = make(lab)
    assert careless(lab, attack) == fools
    before = lab.site.run(lab.run.id)
    with pytest.raises(NotAuthorized, match=why):
        authorize.record(lab.site, before, attack)
    after = lab.site.run(lab.run.id)
    last = lab.site.journal.events()[-1]
    assert (last.kind, last.run, last.data["person"]) == (
        "approval.refused",
        after.id,
        attack.person,
    )
    assert why in str(last.data["why"])
    assert (after.approvals, after.state, after.waiting_for) == (
        before.approvals, State.WAITING, before.waiting_for,
    )  # fmt: skip
    assert not authorize.may_wake(lab.site, after)


def test_there_are_sixty_of_them_and_most_would_fool_somebody() -> None:
    """As many as are promised."""
    assert len(ATTACKS) >= 60
    assert len({name for name, *_ in ATTACKS}) == len(ATTACKS)
    assert sum(1 for *_, fools in ATTACKS if fools) >= 50


# -- over time -----------------------------------------------------------------------------


def test_a_nonce_is_used_up_only_by_a_use(
    tmp_path: Path, keys: dict[str, tuple[Path, str]]
) -> None:
    """Refused for its host, the same nonce counts in a good one; then never again."""
    shop = ready(tmp_path, keys)
    with shop.site() as site:
        lab = Lab(shop, site, begun(shop, site), Run("", State.PLANNED, {}, "", ""), keys)
        good = lab.signed(lab.good())
        with pytest.raises(NotAuthorized, match="another host"):
            authorize.record(
                site, lab.run, lab.signed(replace(good, host="elsewhere", signature=""))
            )
        authorize.record(site, lab.run, good)
        for again in (good, lab.signed(replace(good, note="again", signature=""))):
            with pytest.raises(NotAuthorized, match="given before; it counts once"):
                authorize.record(site, site.run(lab.run.id), again)
        with pytest.raises(NotAuthorized, match="bo said yes already"):
            authorize.record(site, site.run(lab.run.id), lab.signed(lab.good()))
        authorize.approve(site, site.run(lab.run.id), person="cyd", key=str(keys["cyd"][0]))
        assert roll_back(site, lab.run.id).state is State.COMPLETE
        used = [e.data["nonce"] for e in site.journal.events() if e.kind == "approval.used"]
        assert used.count(good.nonce) == 1
        (shop.tree / "pages" / "index.html").write_text("<h1>broken again</h1>\n")
        second = begun(shop, site)
        with pytest.raises(NotAuthorized, match="another run"):
            authorize.record(site, second, good)


CHANGES: dict[str, tuple[str, str]] = {
    "a role is taken away": ("{id: bo, roles: [lead]", "{id: bo, roles: [guest]"),
    "a person is taken away": ("    - {id: bo, roles: [lead], key: ", "    - {id: gil, roles: [lead], key: "),
    "the quorum is lowered": ("roles: [lead, chief], quorum: all", "roles: [lead], quorum: any"),
    "the quorum is raised": ("roles: [lead, chief], quorum: all", "roles: [lead, chief, op], quorum: all"),
    "the requester may answer": (
        "roles: [lead, chief], quorum: all", "roles: [lead, chief], quorum: any, alone: true",
    ),
    "a guardrail is waived": (
        "    authority: {roles: [lead, chief]", "    waives: [disk]\n    authority: {roles: [lead, chief]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_yes_under_one_policy_starts_nothing_under_another(
    change: str, tmp_path: Path, keys: dict[str, tuple[Path, str]]
) -> None:
    """Between the yes and the run, accepted or not: it needs a new plan, and the yes is for the old one."""
    shop = ready(tmp_path, keys)
    before = shop.bytes()
    with shop.site() as site:
        run = begun(shop, site)
        for person in ("bo", "cyd"):
            authorize.approve(site, site.run(run.id), person=person, key=str(keys[person][0]))
    shop.edit(*CHANGES[change])
    with shop.site() as site:
        accept(site, person="ada", key=str(keys["ada"][0]))
        stopped = roll_back(site, run.id)
        assert stopped.state is State.WAITING
        assert "people or policy have changed" in str(stopped.waiting_for["what"])
    assert shop.bytes() == before


def test_a_key_that_was_exchanged_takes_its_yes_with_it(
    tmp_path: Path, keys: dict[str, tuple[Path, str]]
) -> None:
    """What the old key signed is not signed with the declared one."""
    shop = ready(tmp_path, keys)
    with shop.site() as site:
        run = begun(shop, site)
        lab = Lab(shop, site, run, run, keys)
        old = lab.signed(lab.good())
    shop.edit(keys["bo"][1], keys["mallory"][1])
    with shop.site() as site:
        accept(site, person="ada", key=str(keys["ada"][0]))
        fresh = begun(shop, site)
        lab = Lab(shop, site, fresh, run, keys)
        with pytest.raises(NotAuthorized, match="not signed with the declared key"):
            authorize.record(site, fresh, lab.signed(lab.good()))
        with pytest.raises(NotAuthorized):
            authorize.record(site, fresh, old)
        authorize.record(site, fresh, lab.signed(lab.good(), "mallory"))


POLICIES: dict[str, tuple[str, str]] = {
    "nobody has to say yes": ("{roles: [lead], count: 2}", "{roles: [lead], count: 0}"),
    "fewer than nobody": ("{roles: [lead], count: 2}", "{roles: [lead], count: -1}"),
    "anybody": ("{roles: [lead], count: 2}", "{roles: ['*']}"),
    "any role": ("{roles: [lead], count: 2}", "{roles: [le*]}"),
    "no role": ("{roles: [lead], count: 2}", "{roles: []}"),
    "a role of nobody": ("{roles: [lead], count: 2}", "{roles: [ghost]}"),
    "the same key twice": ("{id: fay, roles: [lead]}", '{id: fay, roles: [lead], key: "KEY"}'),
    "the same key with a remark": (
        "{id: fay, roles: [lead]}", '{id: fay, roles: [lead], key: "KEY fay@home"}',
    ),
    "the same name twice": ("{id: fay, roles: [lead]}", "{id: bo, roles: [chief]}"),
    "everybody's name": ("{id: fay, roles: [lead]}", "{id: '*', roles: [lead]}"),
    "yes written as a truth": ("{roles: [lead], count: 2}", "{roles: [lead], count: true}"),
    "all who are asked, of one": (
        "{roles: [lead, chief], quorum: all}", "{roles: [chief, chief], quorum: all}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_policy_that_lets_anybody_is_refused_as_a_whole(
    policy: str, tmp_path: Path, keys: dict[str, tuple[Path, str]]
) -> None:
    """By the declaration, before there is a run."""
    shop = build(tmp_path, keys={name: keys[name][1] for name in PEOPLE})
    old, new = POLICIES[policy]
    shop.edit(old, new.replace("KEY", keys["bo"][1]))
    with pytest.raises(SpecError):
        _ = shop.system


def test_a_good_one_is_good(lab: Lab) -> None:
    """The control of all the attacks: what they are made of counts, when nothing is changed."""
    good: Any = lab.signed(lab.good())
    assert verified(
        good.signed_bytes(), good.signature, lab.keys["bo"][1], "bo", namespace=NAMESPACE
    )
    assert careless(lab, good) == BOTH
    authorize.record(lab.site, lab.site.run(lab.run.id), good)
    assert roll_back(lab.site, lab.run.id).waiting_for["what"] == "approval by chief"


# -- clocks --------------------------------------------------------------------------------

HOUR, DAY, YEAR = 3600.0, 86400.0, 366 * 86400.0


@pytest.mark.long
@pytest.mark.parametrize("back_s", [1.5, 60.0, HOUR, DAY, YEAR, 50 * YEAR])
def test_a_clock_set_back_makes_nothing_good_again(
    back_s: float, tmp_path: Path, keys: dict[str, tuple[Path, str]]
) -> None:
    """What had run out stays so, since the journal knows that it was later; what is new is taken."""
    shop = ready(tmp_path, keys)
    with shop.site() as site:
        run = begun(shop, site)
        lab = Lab(shop, site, run, run, keys)
        old = lab.signed(lab.good(expires=lab.later(seconds=60)))
        shop.clock.ahead_s = 61.0
        with pytest.raises(NotAuthorized, match="has expired"):
            authorize.record(site, run, old)
        shop.clock.wrong_s = -back_s
        with pytest.raises(NotAuthorized, match="has expired"):
            authorize.record(site, site.run(run.id), old)
        authorize.approve(site, site.run(run.id), person="bo", key=str(keys["bo"][0]))
        authorize.approve(site, site.run(run.id), person="cyd", key=str(keys["cyd"][0]))
        assert roll_back(site, run.id).state is State.COMPLETE


@pytest.mark.parametrize("forward_s", [2 * HOUR, DAY, YEAR, 10 * YEAR, 12 * 366 * DAY])
def test_a_clock_set_forward_lets_nobody_in(
    forward_s: float, tmp_path: Path, keys: dict[str, tuple[Path, str]]
) -> None:
    """A yes of now has run out then; past 2038 too. Nothing is changed."""
    shop = ready(tmp_path, keys)
    before = shop.bytes()
    with shop.site() as site:
        run = begun(shop, site)
        lab = Lab(shop, site, run, run, keys)
        good = lab.signed(lab.good())
        shop.clock.wrong_s = forward_s
        with pytest.raises((NotAuthorized, PlanError)):
            authorize.record(site, run, good)
        after = roll_back(site, run.id)
        assert after.state is (State.WAITING if forward_s < DAY else State.EXPIRED)
    assert shop.bytes() == before


@pytest.mark.parametrize(
    ("zone", "given", "good"),
    [
        ("+00:00", "given", True), ("+02:00", "given", True), ("-11:00", "given", True),
        ("+14:00", "given", True), ("+05:45", "given", True),
        ("+02:00", "wall", False), ("-05:00", "wall", False), ("+00:01", "wall", False),
    ],
)  # fmt: skip
def test_a_time_is_the_moment_that_it_names_whatever_its_zone(
    zone: str, given: str, good: bool, tmp_path: Path, keys: dict[str, tuple[Path, str]]
) -> None:
    """An hour that comes twice in autumn, or not at all in spring, has its offset; the wall has none.

    The same moment written in another zone is good; the same figures in another zone are another
    moment: too early or too late.
    """
    shop = ready(tmp_path, keys)
    with shop.site() as site:
        run = begun(shop, site)
        lab = Lab(shop, site, run, run, keys)
        plain = lab.good(given=lab.later(seconds=-20), expires=lab.later(seconds=40))
        moments = [datetime.fromisoformat(text) for text in (plain.given, plain.expires)]
        offset = datetime.fromisoformat(f"2026-01-01T00:00:00{zone}").tzinfo
        assert offset is not None
        put = [
            one.astimezone(offset) if given == "given" else one.replace(tzinfo=offset)
            for one in moments
        ]
        written = lab.signed(replace(plain, given=put[0].isoformat(), expires=put[1].isoformat()))
        if good:
            authorize.record(site, run, written)
        else:
            with pytest.raises(NotAuthorized, match=r"in the future|has expired"):
                authorize.record(site, run, written)
