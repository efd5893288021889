"""What is due from time to time: tars of checkpoints in a place, and slices of the store read again."""

from __future__ import annotations

import hashlib
import tarfile
from pathlib import Path

import pytest

from rollback.act.exporting import Exported, exports
from rollback.act.upkeep import damaged, upkeep, verify_slice
from rollback.host import Host
from rollback.model.errors import RunLocked, SpecError
from tests.cli.program import rollback
from tests.killed import KILLED, CountingTap, DyingTap, in_child, shots
from tests.requirements.stepping import stepped
from tests.systems import Shop, build

HOUR_S = 3600.0
KINDS = """
places: {tars: {path: FOLDER/tars, may: [read, archive]}}
checkpoints:
  kinds:
    hours: {on: schedule, every: 1h, retention: 7d, export: {place: tars, every: 1d, keep: 2}}
    named: {on: manual, retention: keep, export: {place: tars}}
levels:"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop with exports."""
    made = build(tmp_path)
    made.edit("\nlevels:", KINDS.replace("FOLDER", str(tmp_path)))
    return made


def tars(shop: Shop, kind: str = "") -> list[str]:
    folder = shop.folder / "tars"
    return sorted(path.name for path in folder.iterdir() if f"-{kind}" in path.name) if (
        folder.exists()) else []  # fmt: skip


def turn(shop: Shop, hours: float = 0.0) -> tuple[Exported, ...]:
    """What the exports of one turn came to, so many hours later."""
    shop.clock.ahead_s += hours * HOUR_S
    with shop.site() as site:
        return upkeep(site).exported


def told(shop: Shop, kind: str) -> list[dict[str, object]]:
    return [line["data"] for line in shop.lines() if line["kind"] == kind]


@pytest.mark.long
def test_one_tar_a_day_of_hourly_checkpoints_and_the_newest_two_stay(shop: Shop) -> None:
    """Whoever asks every hour for four days; each is what its checkpoint holds."""
    for hour in range(24 * 4 + 1):
        (shop.tree / "pages/index.html").write_text(f"<h1>{hour}</h1>\n")
        turn(shop, 1 if hour else 0)
        assert len(tars(shop)) <= 2
    made = told(shop, "checkpoint.exported")
    assert len(made) == 5
    assert [len(one["removed"]) for one in made] == [0, 0, 1, 1, 1]  # type: ignore[arg-type]
    names = tars(shop)
    assert len(names) == 2
    for name, hour in zip(names, (72, 96), strict=True):
        with tarfile.open(shop.folder / "tars" / name) as archive:
            page = archive.extractfile("pages/index.html")
            assert page is not None
            assert page.read() == f"<h1>{hour}</h1>\n".encode()
    last = shop.folder / "tars" / names[-1]
    assert hashlib.sha256(last.read_bytes()).hexdigest() == made[-1]["sha256"]
    assert last.stat().st_mode & 0o777 == 0o600


def test_without_an_interval_each_checkpoint_of_the_kind_is_exported_once(shop: Shop) -> None:
    """Of those taken by hand, too; asked again nothing is done."""
    with shop.site() as site:
        site.checkpoints.create("one")
    assert [one.kind for one in turn(shop)] == ["hours", "named"]
    assert turn(shop) == ()
    with shop.site() as site:
        site.checkpoints.create("two")
    (one,) = turn(shop)
    assert (one.kind, one.problem) == ("named", "")
    assert len(tars(shop, "named")) == 2


def test_a_tar_that_was_taken_away_comes_back_and_others_are_left_alone(shop: Shop) -> None:
    """Files that are no exports of this kind stay, whatever they are called."""
    turn(shop)
    (name,) = tars(shop, "hours")
    (shop.folder / "tars" / name).unlink()
    strange = [f"x{name}", f"{name}.part", name.replace("hours", "hour"), "shop-hours-then.tar",
               name.replace("shop", "other")]  # fmt: skip
    for one in strange:
        (shop.folder / "tars" / one).write_text("not ours")
    for _ in range(4):
        turn(shop, 25)
    assert set(strange) <= set(tars(shop))
    assert len(tars(shop)) == len(strange) + 2


def test_a_place_that_is_away_or_full_is_said_once_and_stops_nothing(shop: Shop) -> None:
    """The checkpoint is taken, the warning stands in status, list and doctor, until it is made good."""
    (shop.folder / "tars").write_text("in the way")
    (one,) = turn(shop)
    assert "tars" in one.problem
    turn(shop)
    with shop.site() as site:
        assert len(site.checkpoints.list()) == 1
        assert exports(site)[0].problem
    assert len(told(shop, "checkpoint.not_exported")) == 1
    assert "hours as tar: tars" in rollback(shop.folder, "status").out
    assert "warning: hours as tar: tars" in rollback(shop.folder, "checkpoint", "list").out
    assert "exports" in rollback(shop.folder, "doctor").out
    (shop.folder / "tars").unlink()
    (one,) = turn(shop)
    assert one.problem == ""
    assert "as tar" not in rollback(shop.folder, "status").out


def test_a_place_that_held_exports_and_is_gone_is_not_made_anew(shop: Shop) -> None:
    """A disk that is not mounted: nothing is written where it would be."""
    turn(shop)
    (shop.folder / "tars").rename(shop.folder / "elsewhere")
    (one,) = turn(shop, 25)
    assert "is not there any more" in one.problem
    assert not (shop.folder / "tars").exists()
    (shop.folder / "elsewhere").rename(shop.folder / "tars")
    assert turn(shop)[0].problem == ""


def test_a_limit_is_kept_and_nothing_is_left_of_what_did_not_fit(shop: Shop) -> None:
    """Too small for two: the one that is there stays, since no newer one is whole."""
    turn(shop)
    before = tars(shop)
    size = sum(path.stat().st_size for path in (shop.folder / "tars").iterdir())
    shop.edit("may: [read, archive]}", f"may: [read, archive], limit: {size + 1000} B}}")
    (one,) = turn(shop, 25)
    assert "would hold more than its limit" in one.problem
    assert tars(shop) == before
    shop.edit(f"limit: {size + 1000} B", "limit: 1 MiB")
    assert turn(shop)[0].problem == ""
    assert len(tars(shop)) == 2


def test_what_is_no_target_is_not_exported(shop: Shop) -> None:
    """A revoked checkpoint is nothing that anybody should go back to."""
    from rollback.act import keeping

    with shop.site() as site:
        made = site.checkpoints.create("bad")
        keeping.revoke(site, made.id, reason="leaked", by="ada")
    assert [one.kind for one in turn(shop)] == ["hours"]


@pytest.mark.parametrize("may", ["[read]", "[write, clear]"])
def test_an_export_needs_a_place_that_may_be_used_to_archive(shop: Shop, may: str) -> None:
    shop.edit("may: [read, archive]", f"may: {may}")
    with pytest.raises(SpecError, match="may not be used to archive"):
        _ = shop.system


def test_killed_at_any_change_of_an_export_it_is_whole_or_not_there(shop: Shop) -> None:
    """The next turn makes it good, and nothing half-written stays."""
    with shop.site() as site:
        upkeep(site)
    shop.clock.ahead_s += 25 * HOUR_S
    with shop.site() as site:
        from rollback.act.keeping import take_due

        take_due(site)
    (first,) = tars(shop, "hours")
    counting = CountingTap()
    folder = shop.folder / "tars"

    def again(tap: CountingTap | DyingTap | None) -> None:
        from rollback.act.exporting import export_due
        from rollback.act.site import Site

        host = Host(tap=tap, clock=shop.clock) if tap else shop.host
        with Site.open(shop.system, host) as site:
            export_due(site)

    again(counting)
    (_, second) = tars(shop, "hours")
    wanted = (folder / second).read_bytes()
    (folder / second).unlink()
    assert len(counting.points) >= 7
    for point, how in shots(counting.points):
        status = in_child(lambda at=point, how=how: again(DyingTap(at, how)))  # type: ignore[misc]
        assert status == KILLED, (point, how)
        if second in tars(shop):
            assert (folder / second).read_bytes() == wanted
        again(None)
        assert tars(shop) == [first, second], (point, how)
        assert (folder / second).read_bytes() == wanted
        (folder / second).unlink()


# -- the store, slice by slice --------------------------------------------------------------


def spoil(shop: Shop, at: int) -> Path:
    (pack,) = (shop.folder / ".rollback/store/packs").iterdir()
    data = bytearray(pack.read_bytes())
    data[at] ^= 1
    pack.write_bytes(data)
    return pack


def test_each_turn_reads_a_slice_and_damage_is_journalled_named_and_no_target(shop: Shop) -> None:
    """Found by `checkpoint due`; status and doctor name it; a repair ends it."""
    turn(shop)
    with shop.site() as site:
        assert damaged(site) is None
        (made,) = site.checkpoints.list()
    pack = spoil(shop, 70)
    done = rollback(shop.folder, "--json", "checkpoint", "due")
    assert done.status == 8
    assert done.json["verified"]["whole"] is False
    (event,) = told(shop, "checkpoint.damaged")
    assert event["packs"] == [pack.stem]
    assert event["checkpoints"] == [made.id]
    assert rollback(shop.folder, "checkpoint", "due").status == 8
    assert len(told(shop, "checkpoint.damaged")) == 1, "once"
    said = rollback(shop.folder, "status")
    assert said.status == 8
    assert "1 checkpoint cannot be gone back to" in said.out
    assert "rollback checkpoint verify --repair" in said.out
    assert rollback(shop.folder, "doctor").status == 7
    assert rollback(shop.folder, "plan", "config").status == 3
    assert rollback(shop.folder, "checkpoint", "verify", "--repair").status == 0
    assert rollback(shop.folder, "checkpoint", "due").status == 0
    assert rollback(shop.folder, "status").status == 0
    assert rollback(shop.folder, "plan", "config").status == 0


def test_a_slice_by_hand_goes_on_where_the_last_one_ended(shop: Shop) -> None:
    """And says how much it read; a size that is none is one line."""
    turn(shop)
    first = rollback(shop.folder, "--json", "checkpoint", "verify", "--slice", "1B").json
    second = rollback(shop.folder, "--json", "checkpoint", "verify", "--slice", "1B").json
    assert (first["objects"], second["objects"]) == (1, 1)
    rest = rollback(shop.folder, "checkpoint", "verify", "--slice", "64 MiB")
    assert rest.status == 0
    assert "read and hashed; " in rest.out
    for wrong in (("--slice", "64"), ("--slice", "1MiB", "--deep"), ("--slice", "1MiB", "x")):
        refused = rollback(shop.folder, "checkpoint", "verify", *wrong)
        assert refused.status == 2
        assert "Traceback" not in refused.err


def test_while_a_run_is_between_two_states_the_rest_is_done(shop: Shop) -> None:
    """No checkpoint is taken of half a rollback; the store is read again all the same."""
    with shop.site() as site:
        site.checkpoints.create("good")
        (shop.tree / "config/app.yaml").write_text("party: true\nlimit: 99\n")
        from rollback.act import authorize
        from rollback.act.engine import advance

        run = authorize.create(site, shop.plan(site, "config"))
        authorize.approve(site, run, person="ada")
        run = site.run(run.id)
        while not run.steps:
            run = advance(site, run)
        with pytest.raises(RunLocked):
            upkeep(site)
        assert len(tars(shop, "named")) == 1
        assert verify_slice(site, 1).objects == 1
    assert (shop.folder / ".rollback/verified/slice.json").exists()


def test_a_whole_run_leaves_nothing_to_do(shop: Shop) -> None:
    """A safety checkpoint is of no exported kind."""
    with shop.site() as site:
        site.checkpoints.create("good")
    turn(shop)
    (shop.tree / "config/app.yaml").write_text("party: true\nlimit: 99\n")
    with shop.site() as site:
        stepped(site, shop.plan(site, "config"))
    assert turn(shop) == ()
