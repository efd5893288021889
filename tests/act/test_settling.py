"""A gate that settles: smoke again and again until the system has been seen well for that long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rollback.act import authorize, settling
from rollback.act.engine import advance, roll_back
from rollback.act.site import Site
from rollback.keep.lease import Lease
from rollback.model.errors import SpecError
from rollback.model.event import Event
from rollback.model.lifecycle import Run, State
from tests.systems import Hands, Shop, build

GATE = "    gate: {suites: [smoke]}\n  pages:"
ILL = "nothing: here\n"


class Quick(Hands):
    """Sleeping moves all clocks on at once; `at[n]` happens in the n-th sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []
        self.at: dict[int, Callable[[], object]] = {}

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ahead_s += seconds
        self.at.get(len(self.slept), lambda: None)()


@pytest.fixture
def clock() -> Quick:
    return Quick()


@pytest.fixture
def shop(tmp_path: Path, clock: Quick) -> Shop:
    """The shop with a checkpoint, a bad release, and a gate that settles for three seconds."""
    made = Shop(build(tmp_path).folder, clock)
    made.edit(GATE, GATE.replace("]}", "], settle: 3s}"))
    with made.site() as site:
        site.checkpoints.create("good")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def begun(shop: Shop, site: Site) -> Run:
    """The run, approved and not driven."""
    run = authorize.create(site, shop.plan(site, "config"))
    authorize.approve(site, run, person="ada")
    return site.run(run.id)


def looks(site: Site) -> list[Event]:
    return [e for e in site.journal.events() if e.kind == "sample.read"]


def moment(site: Site, kind: str) -> float:
    return [e.boot_s for e in site.journal.events() if e.kind == kind][-1]


def test_the_gate_opens_when_smoke_has_held_for_the_settling_time(shop: Shop, clock: Quick) -> None:
    """Asked more than once meanwhile, never further apart than declared; the report says so."""
    with shop.site() as site:
        run = roll_back(site, begun(shop, site).id)
        assert run.state is State.COMPLETE, run.verdict
        assert len(looks(site)) >= 2
        assert moment(site, "gate.opened") - moment(site, "timer.set") >= 3.0
        assert looks(site)[-1].boot_s - moment(site, "timer.set") >= 3.0
        assert all(slept <= settling.every_s(3.0) for slept in clock.slept)
        assert any("settled for 3 s" in str(note) for note in run.verdict["notes"])  # type: ignore[union-attr]
        (suites,) = [e for e in site.journal.events() if e.kind == "suite.ended"]
        assert suites.data["findings"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("config/app.yaml", "smoke, while it settled: check app-valid answered FAIL"),
        ("config/stray.yaml", "config: stray.yaml changed after it was restored"),
    ],
)
def test_what_turns_bad_while_it_settles_keeps_the_gate_closed(
    shop: Shop, clock: Quick, path: str, reason: str
) -> None:
    """A check that is red by then, and a file that is another one."""
    clock.at[1] = lambda: (shop.tree / path).write_text(ILL)
    with shop.site() as site:
        run = roll_back(site, begun(shop, site).id)
        assert run.state is State.NEEDS_OPERATOR
        assert reason in run.reason, run.verdict


def test_a_red_look_counts_though_its_driver_died_before_it_could_say_so(
    shop: Shop, clock: Quick
) -> None:
    """What the next driver finds well again was ill in between."""

    def dies(event: Event) -> None:
        if event.kind == "suite.ended" and not event.data["open"]:
            raise SystemExit

    clock.at[1] = lambda: (shop.tree / "config" / "app.yaml").write_text(ILL)
    with shop.site(listen=dies) as site, pytest.raises(SystemExit):
        roll_back(site, begun(shop, site).id)
    (shop.tree / "config" / "app.yaml").write_text("# settings\nparty: true\nlimit: 3\n")
    with shop.site() as site:
        run = roll_back(site, "r0001")
        assert run.state is State.NEEDS_OPERATOR
        assert "smoke, while it settled" in run.reason


def test_a_driver_that_dies_while_it_settles_is_followed_and_what_nobody_saw_does_not_count(
    shop: Shop,
) -> None:
    """Neither from the beginning again, nor as if somebody had looked all the time."""
    shop.edit("settle: 3s", "settle: 60s")
    with shop.site() as site:
        run = begun(shop, site)
        while len(looks(site)) < 1:
            run = advance(site, run)
        left_s = settling.left_s(site, run, 60.0)
        assert 0 < left_s <= 55.0
    shop.clock.ahead_s += 1000
    with shop.site() as site:
        run = site.run(run.id)
        assert settling.left_s(site, run, 60.0) == left_s
        run = advance(site, run)  # the first look after it counts for itself alone
        assert len(looks(site)) == 2
        took_s = float(str(looks(site)[-1].data["took_s"]))
        assert settling.left_s(site, run, 60.0) == pytest.approx(left_s - took_s)
        assert run.state is State.MITIGATED
        assert [e.kind for e in site.journal.events()].count("timer.set") == 1


def test_a_long_settling_time_is_waited_for_without_a_driver(shop: Shop) -> None:
    """The lease is free meanwhile; each look is close enough to the one before, and the last one ends it."""
    shop.edit("settle: 3s", "settle: 3m")
    assert isinstance(shop.clock, Quick)
    with shop.site() as site:
        run = roll_back(site, begun(shop, site).id)
        assert (run.state, run.waiting_for["on"]) == (State.WAITING, "timer")
        assert "settle" in str(run.waiting_for["what"])
        with Lease(site.state.tree, site.host, purpose="somebody else"):
            pass
        shop.clock.ahead_s += 1
        assert roll_back(site, run.id).state is State.WAITING
        for _ in range(4):
            shop.clock.ahead_s += 120
            run = roll_back(site, run.id)
            if run.state is not State.WAITING:
                break
        assert run.state is State.COMPLETE, run.verdict
        assert len(looks(site)) in (2, 3)
    assert shop.clock.slept == []


def test_a_settling_time_without_smoke_is_no_declaration(shop: Shop) -> None:
    """There would be nothing to ask meanwhile."""
    shop.edit("{suites: [smoke], settle: 3s}", "{suites: [functional], settle: 3s}")
    with pytest.raises(SpecError, match="settle asks smoke again and again") as caught:
        _ = shop.system
    assert [one.hint for one in caught.value.problems] == ["name smoke under suites"]
