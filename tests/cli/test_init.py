"""`rollback init`: what it writes loads, and the first gate of a fresh folder can open."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.declare import starter
from tests.cli import program


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below, but for the tool's own state."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
        if p.is_file() and ".rollback" not in p.parts and "__pycache__" not in p.parts
    }  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a part, a database inside it, a file on top, and things nobody goes back to."""
    folder = tmp_path / "My Shop"
    (folder / "app" / "data").mkdir(parents=True)
    (folder / "app" / "main.py").write_text("print('good')\n")
    (folder / "settings [old].ini").write_text("good = yes\n")
    (folder / "node_modules").mkdir()
    (folder / "compose.yaml").write_text("services: {}\n")
    with closing(sqlite3.connect(folder / "app" / "data" / "shop.db")) as database:
        database.execute("create table orders (id integer)")
        database.commit()
    (folder / "app" / "data" / "not-a.db").write_text("just a name")
    return folder


@pytest.mark.requirement("MB-36", "MB-71")
def test_the_first_gate_opens(shop: Path) -> None:
    """init, validate, checkpoint, a bad change, run: COMPLETE, and every byte is back."""
    before = tree(shop)
    assert program.rollback(shop, "init").status == 0
    valid = program.rollback(shop, "--json", "validate")
    assert (valid.status, valid.json["planned"]) == (0, [])
    made = program.rollback(shop, "--json", "checkpoint", "create", "first", "--seal")
    assert (made.status, made.json["seal"]["green"], made.json["missing"]) == (0, True, [])
    (shop / "app" / "main.py").write_text("print('bad')\n")
    (shop / "app" / "added.py").write_text("")
    (shop / "settings [old].ini").unlink()
    with closing(sqlite3.connect(shop / "app" / "data" / "shop.db")) as database:
        database.execute("insert into orders values (1)")
        database.commit()
    ended = program.rollback(shop, "--json", "run", "1", "--yes")
    assert (ended.status, ended.json["state"]) == (0, "COMPLETE"), ended
    after = {
        k: v for k, v in tree(shop).items() if not k.startswith(("rollback.yaml", "verification/"))
    }
    assert after == before
    again = program.rollback(shop, "--json", "run", "1", "--yes")
    assert (again.status, again.json["changed"]) == (0, False)


def test_an_empty_folder_gets_something_to_go_back_to(tmp_path: Path) -> None:
    """Even there the first run ends COMPLETE."""
    assert program.rollback(tmp_path, "init").status == 0
    assert program.rollback(tmp_path, "checkpoint", "create", "first").status == 0
    (tmp_path / "data" / "example.txt").write_text("changed")
    ended = program.rollback(tmp_path, "--json", "run", "everything", "--yes")
    assert (ended.status, ended.json["state"]) == (0, "COMPLETE"), ended


def test_the_thin_suites_run_by_hand(shop: Path) -> None:
    """`pytest verification -m smoke` works beside the declaration, and fails when a part is gone."""
    assert program.rollback(shop, "init").status == 0
    argv = [
        sys.executable,
        "-B",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "verification",
        "-m",
        "smoke",
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "ROLLBACK"))}

    def ask() -> subprocess.CompletedProcess[str]:
        return subprocess.run(argv, cwd=shop, env=environment, text=True, capture_output=True,
                              timeout=120, check=False)  # fmt: skip

    well = ask()
    assert well.returncode == 0, well.stdout + well.stderr
    assert "VERIFIED  My Shop 0.1.0: smoke, tests: 5" in well.stdout
    (shop / "settings [old].ini").unlink()
    ill = ask()
    assert ill.returncode == 1
    assert "NOT VERIFIED" in ill.stdout


def test_nothing_is_overwritten_without_force(shop: Path) -> None:
    """Exit 2, one line and a hint; the file stays as it was. A team's own tests are kept."""
    own = shop / "verification" / "smoke" / "test_smoke.py"
    own.parent.mkdir(parents=True)
    own.write_text("# ours\n")
    assert program.rollback(shop, "--json", "init").json["kept"] == [
        "verification/smoke/test_smoke.py"
    ]
    (shop / "rollback.yaml").write_text("mine")
    refused = program.rollback(shop, "init")
    assert refused.status == 2
    assert "rollback init --force" in refused.err
    assert len(refused.err.strip().splitlines()) == 2
    assert (shop / "rollback.yaml").read_text() == "mine"
    assert own.read_text() == "# ours\n"
    assert program.rollback(shop, "init", "--force").status == 0
    assert program.rollback(shop, "validate").status == 0


def test_a_repository_gets_a_code_level(shop: Path) -> None:
    """Back to the newest tag; the bad commit stays reachable, the branch is not left detached."""

    def git(*argv: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *argv], cwd=shop, text=True,
            capture_output=True, check=True,
        ).stdout.strip()  # fmt: skip

    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-qm", "good")
    git("tag", "v1.0.0")
    (shop / "app" / "main.py").write_text("print('bad')\n")
    git("commit", "-qam", "bad")
    bad = git("rev-parse", "HEAD")
    assert program.rollback(shop, "init").status == 0
    ended = program.rollback(shop, "--json", "run", "code", "--yes")
    assert (ended.status, ended.json["state"]) == (0, "COMPLETE"), ended
    assert (shop / "app" / "main.py").read_text() == "print('good')\n"
    assert git("rev-parse", "main") == bad
    assert git("symbolic-ref", "--short", "HEAD").startswith("rollback-")


@pytest.mark.long
def test_a_repository_in_a_folder_is_git_s_and_never_taken_back_as_files(shop: Path) -> None:
    """Its folder becomes the repository; even declared as plain files, its history stays what it is."""

    def git(*argv: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *argv], cwd=shop / "app",
            text=True, capture_output=True, check=True,
        ).stdout.strip()  # fmt: skip

    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-qm", "good")
    assert program.rollback(shop, "init").status == 0
    text = (shop / "rollback.yaml").read_text()
    assert "    path: app\n    content: git\n" in text
    assert "repository:\n  path: app\n" in text
    assert "git: {id: reset" in text
    text = text.replace("    path: app\n    content: git\n", "    path: app\n    content: files\n")
    (shop / "rollback.yaml").write_text(text)
    assert program.rollback(shop, "checkpoint", "create", "first").status == 0
    (shop / "app" / "main.py").write_text("print('later')\n")
    git("commit", "-qam", "later")
    later = git("rev-parse", "HEAD")
    plan = program.rollback(shop, "plan", "everything")
    assert ".git/" not in plan.out
    ended = program.rollback(shop, "--json", "run", "everything", "--yes")
    assert (ended.status, ended.json["state"]) == (0, "COMPLETE"), ended
    assert (shop / "app" / "main.py").read_text() == "print('good')\n"
    assert git("rev-parse", "main") == later
    assert git("fsck") == ""


@pytest.fixture
def closed(shop: Path) -> Iterator[tuple[Path, Path]]:
    """Two folders of the shop that its user may not look into: in a part, and beside the parts."""
    inner, outer = shop / "app" / "priv[ate]", shop / "sealed"
    (shop / "app" / "private").mkdir()
    (shop / "app" / "private" / "open").write_text("o\n")
    for one in (inner, outer):
        one.mkdir()
        (one / "secret").write_text("s\n")
        one.chmod(0)
    yield inner, outer
    for one in (inner, outer):
        one.chmod(0o700)


@pytest.mark.long
def test_a_folder_that_may_not_be_looked_into_is_left_out_and_named(
    shop: Path, closed: tuple[Path, Path]
) -> None:
    """The rest is declared, captured whole and gone back to; what is said names what to do."""
    done = program.plainly(shop, "init")
    assert done.status == 0, done
    for name in ("app/priv[ate]", "sealed"):
        assert f"rollback: {name} may not be looked into, and is left out" in done.err
        assert f'could not be looked into, so no part of it: "{name}"' in (
            shop / "rollback.yaml").read_text()  # fmt: skip
    assert program.plainly(shop, "init", "--force", "--json").json["unreadable"] == [
        "app/priv[ate]", "sealed",
    ]  # fmt: skip
    made = program.plainly(shop, "checkpoint", "create", "first", "--json")
    assert (made.status, made.json["state"]) == (0, "whole"), made
    (shop / "app" / "main.py").write_text("print('bad')\n")
    ended = program.plainly(shop, "--json", "run", "everything", "--yes")
    assert (ended.status, ended.json["state"]) == (0, "COMPLETE"), ended
    assert (shop / "app" / "main.py").read_text() == "print('good')\n"
    for one in closed:
        one.chmod(0o700)
        assert (one / "secret").read_text() == "s\n"


def test_what_no_declaration_can_hold_is_left_out_all_the_same(shop: Path) -> None:
    """A name with a dollar, a line end or a stray byte, closed: the rest is captured whole."""
    names = [b"a$b", b"a\nb", b"a\xffb", "a\u200bb".encode()]
    for name in names:
        os.mkdir(os.fsencode(shop / "app") + b"/" + name, mode=0)
    assert program.plainly(shop, "init").status == 0
    made = program.plainly(shop, "checkpoint", "create", "first", "--json")
    assert (made.status, made.json["state"]) == (0, "whole"), made


@pytest.mark.long
def test_the_history_of_a_repository_deeper_in_a_folder_is_never_plain_files(
    tmp_path: Path,
) -> None:
    """A commit made after the checkpoint is still there after going back; `.git` is named."""
    folder = tmp_path / "shop"
    nested = folder / "code" / "lib [1]"
    nested.mkdir(parents=True)
    (nested / "main.py").write_text("good\n")
    made = pygit2.init_repository(str(nested))
    who = pygit2.Signature("A", "a@example.org", 1_700_000_000, 0)
    empty = made.TreeBuilder().write()
    made.create_commit("HEAD", who, who, "first", empty, [])
    began = program.rollback(folder, "--json", "init")
    assert began.status == 0, began
    assert "code/lib [1]/.git" in began.json["left_out"]
    assert "code" not in began.json["levels"]
    assert program.rollback(folder, "checkpoint", "create", "first", "--seal").status == 0
    later = made.create_commit("HEAD", who, who, "later", empty, [made.head.target])
    (nested / "main.py").write_text("bad\n")
    plan = program.rollback(folder, "plan", "everything")
    assert ".git/" not in plan.out
    ended = program.rollback(folder, "--json", "run", "everything", "--yes")
    assert (ended.status, ended.json["state"]) == (0, "COMPLETE"), ended
    assert (nested / "main.py").read_text() == "good\n"
    assert pygit2.Repository(str(nested)).head.target == later


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0$", exclude_categories=("C",)),
    min_size=1, max_size=20,
).filter(lambda name: name.isprintable() and not name.startswith((".", "~")))  # fmt: skip


@given(folders=st.lists(NAMES, max_size=4, unique=True), files=st.lists(NAMES, max_size=4, unique=True),
       title=NAMES, user=st.text(max_size=20))  # fmt: skip
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_name_makes_a_valid_declaration(
    tmp_path: Path, folders: list[str], files: list[str], title: str, user: str
) -> None:
    """Whatever things are called, the text loads, and each name is a component of its own."""
    files = [name for name in files if name not in folders]
    found = starter.Found(title=title, folders=tuple(folders), files=tuple(files), user=user,
                          repository="." if len(folders) % 2 == 0 else folders[0])  # fmt: skip
    file = tmp_path / "rollback.yaml"
    file.write_text(starter.declaration(found, date(2026, 11, 20)), encoding="utf-8")
    if not folders and not files:
        return  # the command puts something there first
    system = declare.load(file, environ={})
    assert sorted(c.path for c in system.components.values()) == sorted([*folders, *files])
