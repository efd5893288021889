"""PostgreSQL, a real one: captured while it is written to, proved beside itself, swapped by name."""

from __future__ import annotations

import dataclasses
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act import authorize, recovery
from rollback.act.engine import roll_back
from rollback.act.site import Site
from rollback.host import Host
from rollback.host.postgres import Server
from rollback.keep.checkpoint import Checkpoints
from rollback.keep.manifest import Manifest
from rollback.model.component import Component, Database
from rollback.model.errors import HostError, ObjectCorrupt, Partial
from rollback.model.lifecycle import State
from tests.keep.postgres_lab import PASSWORD, Lab
from tests.keep.standin import World, component
from tests.killed import KILLED, CountingTap, DyingTap, in_child

ROWS = "select count(*) as n from t"


def world_of(tmp_path: Path, declared: Database) -> World:
    return World(tmp_path, {"it": component(".", content="postgres", database=declared)}).make()


def made(lab: Lab, name: str, rows: int = 200) -> Server:
    """A database with a table, a view, a sequence and settings of its own."""
    lab.server("postgres").do(f"create database {name};")
    lab.server("postgres").do(
        f"alter database {name} set search_path to '$user', public, other;"
        f"revoke connect on database {name} from public;"
    )
    server = lab.server(name)
    server.do(
        "create table t (a integer primary key, b text); create schema other;"
        f"insert into t select n, 'text ' || n from generate_series(1, {rows}) n;"
        "create view v as select count(*) from t; create sequence other.s;"
    )
    return server


def names(lab: Lab, like: str) -> list[str]:
    """The databases on the server that begin so."""
    rows = lab.server("postgres").ask(
        f"select datname from pg_database where datname like '{like}%'"
    )
    return sorted(row["datname"] for row in rows)


def figure(server: Server, sql: str) -> object:
    return server.ask(sql)[0]["n"]


def test_a_database_comes_back_with_its_settings_and_the_old_one_is_kept(
    tmp_path: Path, lab: Lab
) -> None:
    """The dry run counts rows and changes nothing; the old rows stand under the dated name."""
    shop = made(lab, "shop")
    settings = "select setconfig as n from pg_db_role_setting s join pg_database d " \
        "on d.oid = s.setdatabase and d.datname = 'shop'"  # fmt: skip
    grants = "select array_agg(a::text order by a::text) as n from pg_database, unnest(datacl) a " \
        "where datname = 'shop'"  # fmt: skip
    before = figure(shop, settings), figure(shop, grants)
    with world_of(tmp_path, lab.declared("shop")).open() as checkpoints:
        found = checkpoints.create("then")
        assert found.target
        shop.do(
            "delete from t where a <= 50; alter table t add column c integer; create table u ();"
        )
        said = checkpoints.restore("then", "it", step="s", dry_run=True)
        assert said.notes[0] == "table public.t: 150 rows now, 200 then"
        assert "the schema is another one" in said.notes
        assert figure(shop, ROWS) == 150
        assert checkpoints.restore("then", "it", step="s").notes == said.notes
        assert figure(shop, ROWS) == 200
        assert (figure(shop, settings), figure(shop, grants)) == before
        assert not checkpoints.restore("then", "it", step="s")
        assert checkpoints.fingerprints("it")["public.t"].startswith("200:")
    (live, old) = names(lab, "shop")
    assert live == "shop"
    assert old.startswith("shop_old_20")
    lab.server("postgres").do(f"alter database {old} with allow_connections true;")
    assert figure(lab.server(old), ROWS) == 150


def test_the_dry_run_has_the_rows_as_figures_and_the_run_says_where_the_old_ones_are(
    tmp_path: Path, lab: Lab
) -> None:
    """A table that is new, one that is gone, one that grew; which rows they are nobody measured."""
    shop = made(lab, "till")
    with world_of(tmp_path, lab.declared("till")).open() as checkpoints:
        shop.do("create table gone (a integer); insert into gone values (1);")
        checkpoints.create("then")
        shop.do(
            "insert into t values (1000, 'new'); drop table gone; create table fresh (a integer);"
        )
        said = checkpoints.restore("then", "it", step="s", dry_run=True)
        assert [(one.table, one.now, one.then, one.lost) for one in said.rows] == [
            ("public.fresh", 0, None, None), ("public.gone", None, 1, None),
            ("public.t", 201, 200, None)]  # fmt: skip
        assert said.kept == ()
        (kept,) = checkpoints.restore("then", "it", step="s").kept
    assert kept.removeprefix("postgres:") in names(lab, "till_old")


def test_rows_that_differ_though_their_number_does_not_are_seen(tmp_path: Path, lab: Lab) -> None:
    """Counting alone would believe it."""
    bank = made(lab, "bank")
    with world_of(tmp_path, lab.declared("bank")).open() as checkpoints:
        checkpoints.create("then")
        bank.do("update t set b = 'another' where a = 7")
        (note,) = checkpoints.restore("then", "it", step="s", dry_run=True).notes
        assert note == "table public.t: 200 rows now, 200 then, and others"
        checkpoints.restore("then", "it", step="s")
        assert figure(bank, "select b as n from t where a = 7") == "text 7"


def test_a_client_that_writes_during_the_capture_does_not_tear_it(tmp_path: Path, lab: Lab) -> None:
    """Two tables get a row in each transaction: in what is restored they have as many."""
    live = made(lab, "live")
    live.do("create table x (n integer); create table y (n integer);")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            live.do("begin; insert into x values (1); insert into y values (1); commit;")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with world_of(tmp_path, lab.declared("live", clients="terminate")).open() as checkpoints:
            found = checkpoints.create("then")
            tables = checkpoints.manifest(found.id, "it").meta["tables"]
    finally:
        stop.set()
        writer.join()
    live.do("insert into x values (2)")
    with World(tmp_path, {"it": component(".", content="postgres", database=lab.declared("live"))}
               ).open() as checkpoints:  # fmt: skip
        assert found.target
        assert tables["public.x"]["rows"] == tables["public.y"]["rows"]
        checkpoints.restore("then", "it", step="s")
    count = "select count(*) as n from {}"
    assert figure(live, count.format("x")) == figure(live, count.format("y"))
    assert figure(live, count.format("x")) == tables["public.x"]["rows"]


@contextmanager
def connected(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """A client that stays, and has been answered."""
    client = subprocess.Popen([server.program("psql"), "-XAtq"], env=server.environment(),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"select 'here';\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"here\n"
        yield client
    finally:
        client.kill()
        client.communicate()


def test_a_database_in_use_is_left_alone_unless_its_clients_may_be_ended(
    tmp_path: Path, lab: Lab
) -> None:
    """Refused: nothing is changed and it takes connections again. Declared: the client ends."""
    used = made(lab, "used")
    world = world_of(tmp_path, lab.declared("used", drain_within="300ms"))
    with world.open() as checkpoints:
        checkpoints.create("then")
        used.do("delete from t")
        with connected(used) as client:
            with pytest.raises(HostError, match="the database is in use: 1 connected"):
                checkpoints.restore("then", "it", step="s1")
            assert names(lab, "used") == ["used"]
            assert figure(used, ROWS) == 0
            assert list((world.state / "intents").iterdir()) == []
            world.components["it"].database = lab.declared("used", clients="terminate")
            checkpoints.restore("then", "it", step="s2")
            assert figure(used, ROWS) == 200
            assert client.stdin is not None
            client.stdin.write(b"select 1;\n")
            client.stdin.flush()
            assert client.wait(10) != 0  # its connection was ended


def test_a_dump_that_restores_to_something_else_is_refused(
    tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live database is untouched, and nothing is left beside it."""
    wrong = made(lab, "wrong")
    world = world_of(tmp_path, lab.declared("wrong"))
    with world.open() as checkpoints:
        checkpoints.create("then")
        wrong.do("delete from t where a > 100")
        honest = Checkpoints.manifest

        def lying(self: Checkpoints, digest: str, name: str) -> Manifest:
            found = load(self, digest, name)
            tables = {**found.meta["tables"], "public.t": {"rows": 201, "sum": "1/1"}}  # type: ignore[dict-item]
            return dataclasses.replace(found, meta={**found.meta, "tables": tables})

        load = Checkpoints.load
        monkeypatch.setattr(Checkpoints, "load", lying)
        with pytest.raises(ObjectCorrupt, match="200 rows restored, 201 captured"):
            checkpoints.restore("then", "it", step="s")
        assert honest is Checkpoints.manifest
    assert names(lab, "wrong") == ["wrong"]
    assert figure(wrong, ROWS) == 100
    assert list((world.state / "intents").iterdir()) == []


@pytest.mark.long
def test_killed_at_any_program_of_a_restore_the_same_call_ends_it(tmp_path: Path, lab: Lab) -> None:
    """Whatever had been started when it died: one live database, the old one kept, nothing beside."""
    many = made(lab, "many")
    world = world_of(tmp_path, lab.declared("many", clients="terminate"))
    with world.open() as checkpoints:
        checkpoints.create("then")
    many.do("delete from t")
    counting = CountingTap()
    with world.open(counting) as checkpoints:
        checkpoints.restore("then", "it", step="first")
    spawns = [n for n, point in enumerate(counting.points, 1) if point.call == "spawn"]
    assert len(spawns) > 15
    killed = 0
    for number in spawns[4::2]:  # the first ones only look
        many.do("delete from t")
        tap = DyingTap(number, "after")
        step = f"kill-{number}"

        def restore(tap: DyingTap = tap, step: str = step) -> None:
            with world.open(tap) as dying:
                dying.restore("then", "it", step=step)

        how_it_ended = in_child(restore)
        killed += how_it_ended == KILLED  # how often it polls differs from time to time
        assert how_it_ended in (KILLED, 0)
        with world.open() as checkpoints:
            checkpoints.restore("then", "it", step=step)
            assert not checkpoints.diff("then")
        assert figure(many, ROWS) == 200
        assert [name for name in names(lab, "many") if "_side_" in name] == []
        assert list((world.state / "intents").iterdir()) == []
        old = [name for name in names(lab, "many") if "_old_" in name]
        assert old
        for name in old:
            lab.server("postgres").do(f"drop database {name}")
    assert killed > 5


DECLARATION = """
schema: 1
system: {{id: box, title: Box, version: 1.0.0, date: 2026-11-20, next_review: 2027-05-20}}
root: tree
components:
  it:
    content: postgres
    database: {{name: sick, host: 127.0.0.1, port: {port}, user: env:LAB_USER, password: env:LAB_PASSWORD,
               programs: {programs}, drain_within: 2s}}
people: {{owner: op, roles: {{op: {{title: Operator}}}}, members: [{{id: ada, roles: [op]}}]}}
levels:
  only:
    rank: 1
    title: Only
    budgets: {{mitigated: 1m, complete: 2m}}
    data_loss: none
    authority: {{roles: [op], quorum: any, alone: true}}
    steps: [{{restore: {{component: it}}}}]
    target: {{sources: [{{checkpoint: newest}}]}}
"""


@pytest.mark.requirement("MB-43", "MB-45")
def test_a_corrupted_database_is_compared_table_by_table_and_repaired(
    tmp_path: Path, lab: Lab
) -> None:
    """The table that differs is named; the checkpoint is one source, and a person hears of it."""
    server = made(lab, "sick")
    server.do("create table u (a integer); insert into u values (1);")
    (tmp_path / "tree").mkdir()
    file = tmp_path / "rollback.yaml"
    file.write_text(DECLARATION.format(port=lab.port, programs=lab.programs))
    with Site.open(declare.load(file), Host()) as site:
        site.checkpoints.create("good")
        server.do("update t set b = 'garbage' where a < 10;")
        plan = recovery.corrupted(site, "it", to="", run="r0001", requester="ada", reason="")
        run = authorize.create(site, plan)
        authorize.approve(site, run, person="ada")
        run = roll_back(site, run.id)
        assert run.state is State.MITIGATED, (run.reason, run.steps)
        found = {step.id: run.steps[step.index].evidence for step in plan.steps}
        assert found["diagnose"]["differs"] == ["public.t"]
        assert found["validate"]["once"] == {"checkpoint": ["public.t", "public.u", "schema"]}
        tasks = [e.data["name"] for e in site.journal.events() if e.kind == "task.opened"]
        assert tasks == ["validate", "prevent"]
    assert figure(server, "select count(*) as n from t where b = 'garbage'") == 0


def test_nothing_about_the_connection_stands_on_a_command_line(tmp_path: Path, lab: Lab) -> None:
    """Every program is called through a witness that writes its arguments down."""
    made(lab, "quiet")
    programs, told = tmp_path / "programs", tmp_path / "told"
    programs.mkdir()
    for name in ("psql", "pg_dump", "pg_restore"):
        witness = programs / name
        witness.write_text(f'#!/bin/sh\necho "$0 $@" >> {told}\nexec {lab.programs}/{name} "$@"\n')
        witness.chmod(0o755)
    (tmp_path / "world").mkdir()
    world = world_of(tmp_path / "world", lab.declared("quiet", programs=str(programs)))
    with world.open() as checkpoints:
        found = checkpoints.create("then")
        lab.server("quiet").do("delete from t")
        checkpoints.restore("then", "it", step="s")
        meta = str(checkpoints.manifest(found.id, "it"))
    said = told.read_text()
    assert "pg_dump" in said
    assert "pg_restore" in said
    assert PASSWORD not in meta
    for secret in (PASSWORD, "127.0.0.1", str(lab.port), "quiet", "--username"):
        assert secret not in said


def test_what_is_not_there_is_said(
    tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No database, no programs, no variable, a wrong password: one line each, no secret in it."""
    world = world_of(tmp_path, lab.declared("nowhere"))
    with world.open() as checkpoints:
        gone = checkpoints.create("gone")
        assert checkpoints.manifest(gone.id, "it").meta == {"absent": True}
        lab.server("postgres").do("create database nowhere")
        checkpoints.restore("gone", "it", step="s")
        assert [name for name in names(lab, "nowhere") if "_old_" not in name] == []
        world.components["it"].database = lab.declared("nowhere", programs="/nowhere")
        assert "psql cannot be started" in lacks(checkpoints, "a")
        world.components["it"].database = lab.declared("postgres")
        monkeypatch.setenv("LAB_PASSWORD", "not-the-password")
        said = lacks(checkpoints, "b")
        assert "password authentication failed" in said
        for secret in ("not-the-password", "127.0.0.1", str(lab.port), '"postgres"'):
            assert secret not in said
        monkeypatch.delenv("LAB_PASSWORD")
        assert "the variable LAB_PASSWORD is not set" in lacks(checkpoints, "c")


def lacks(checkpoints: Checkpoints, name: str) -> str:
    """What a checkpoint that is PARTIAL says about what it lacks."""
    with pytest.raises(Partial) as raised:
        checkpoints.create(name)
    (line,) = raised.value.paths
    return line


def test_a_password_in_the_declaration_is_refused() -> None:
    """Only a reference may stand there; and content and database belong together."""
    with pytest.raises(ValueError, match="a password is a reference"):
        Database.model_validate({"name": "x", "password": "plain"})
    with pytest.raises(ValueError, match="belong together"):
        Component.model_validate({"content": "postgres"})
