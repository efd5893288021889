"""Copies from the command line: said, listed, journalled, and no credential anywhere."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.program import Ended, rollback
from tests.keep.object_storage import ACCESS, SECRET, moto


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "files/app").mkdir(parents=True)
    (tmp_path / "files/app/f").write_text("then")
    done = rollback(tmp_path, "init")
    assert done.status == 0, done.err
    return tmp_path


SAFETY = "copies: 1"


def declare(folder: Path, safety: str = SAFETY, **places: str) -> None:
    """What `init` wrote, with these places for every checkpoint that is taken by hand."""
    path = folder / "rollback.yaml"
    kept = folder / "begun.yaml"
    if not kept.exists():
        shutil.copy(path, kept)
    text = kept.read_text()
    start = text.index("checkpoints:\n")
    end = text.index("\n\n", start)
    named = ", ".join(places)
    stores = "".join(f"    {name}: {written}\n" for name, written in places.items())
    path.write_text(
        text[:start] + "checkpoints:\n  kinds:\n"
        f"    by-hand: {{on: manual, copies: {1 + len(places)}, stores: [{named}], retention: keep}}\n"
        f"    safety: {{on: rollback, components: all, {safety}, retention: 30d}}\n"
        f"  stores:\n{stores}" + text[end:]
    )
    path.chmod(0o600)
    done = rollback(folder, "validate")
    assert done.status == 0, done.out + done.err


def journal(folder: Path) -> str:
    return "".join(path.read_text() for path in (folder / ".rollback/journal").glob("*")
                   if path.is_file())  # fmt: skip


def listed(folder: Path) -> list[str]:
    told = rollback(folder, "--json", "checkpoint", "list").json["checkpoints"]
    return [f"{one['copies']['there']}/{one['copies']['needed']}" for one in told]


@pytest.mark.requirement("MB-62")
@pytest.mark.long
def test_a_mirror_from_the_first_copy_to_the_last_resort(folder: Path) -> None:
    """Created, listed 2/2; away: 1/2, said, status 0; made good; the store lost; fetched; restored."""
    (folder / "disk").mkdir()
    declare(folder, second="{folder: {path: disk/second}}")
    done = rollback(folder, "checkpoint", "create", "one")
    assert (done.status, done.err) == (0, "")
    assert "second: 1 checkpoint copied" in done.out
    (folder / "disk").rename(folder / "away")
    done = rollback(folder, "checkpoint", "create", "two")
    assert done.status == 0, "a place that is away stops no checkpoint"
    assert "NOT COPIED" in done.out
    done = rollback(folder, "checkpoint", "list")
    assert done.status == 0
    assert "1/2" in done.out
    assert "warning: 2 checkpoints not in every place" in done.out
    done = rollback(folder, "checkpoint", "copy")
    assert done.status == 8
    assert "try: " in done.out
    assert rollback(folder, "checkpoint", "verify", "--copies").status == 8
    (folder / "away").rename(folder / "disk")
    assert listed(folder) == ["1/2", "2/2"]
    assert rollback(folder, "checkpoint", "copy").status == 0
    assert listed(folder) == ["2/2", "2/2"]
    assert rollback(folder, "checkpoint", "verify", "--copies", "--deep").status == 0
    told = [
        json.loads(line)["kind"] for line in journal(folder).splitlines() if line.startswith("{")
    ]
    assert told.count("checkpoint.copied") == 2
    assert told.count("checkpoint.not_copied") == 2
    shutil.rmtree(folder / ".rollback/store")
    done = rollback(folder, "checkpoint", "fetch", "second")
    assert (done.status, done.out.strip()) == (0, "2 checkpoints fetched from second")
    assert rollback(folder, "checkpoint", "verify", "--deep").status == 0
    assert rollback(folder, "checkpoint", "fetch", "second", "two").status == 0
    assert rollback(folder, "checkpoint", "fetch", "second", "nothing").status == 3
    assert rollback(folder, "checkpoint", "fetch", "third").status == 2
    assert rollback(folder, "checkpoint", "copy", "third").status == 2
    assert rollback(folder, "checkpoint", "copy", "--adopt").status == 2


def test_what_a_run_kept_is_copied_when_it_is_over(folder: Path) -> None:
    """The safety checkpoint is in both places after the run; a place that is away changes no outcome."""
    (folder / "disk").mkdir()
    declare(folder, "copies: 2, stores: [second]", second="{folder: {path: disk/second}}")
    rollback(folder, "checkpoint", "create", "one")
    (folder / "files/app/f").write_text("now")
    done = rollback(folder, "checkpoint", "restore", "one", "--yes")
    assert done.status == 0, done.err
    assert listed(folder) == ["2/2", "2/2"]
    (folder / "disk").rename(folder / "away")
    (folder / "files/app/f").write_text("later")
    done = rollback(folder, "checkpoint", "restore", "one", "--yes")
    assert done.status == 0, done.err
    assert (folder / "files/app/f").read_text() == "then"
    assert listed(folder) == ["1/2", "1/2", "1/2"]
    assert "checkpoint.not_copied" in journal(folder)


def test_damage_is_repaired_and_said(folder: Path) -> None:
    """verify 8, --repair finds the bytes, says where they were, verify 0; nothing thrown away."""
    declare(folder, second="{folder: {path: second}}")
    rollback(folder, "checkpoint", "create", "one")
    (pack,) = (folder / ".rollback/store/packs").iterdir()
    data = pack.read_bytes()
    pack.write_bytes(data[:70] + bytes([data[70] ^ 1]) + data[71:])
    assert rollback(folder, "checkpoint", "verify", "--deep").status == 8
    done = rollback(folder, "checkpoint", "verify", "--deep", "--repair")
    assert done.status == 0, done.out
    assert "was damaged and lies in store/damaged/" in done.out
    assert rollback(folder, "checkpoint", "verify", "--deep").status == 0
    assert "checkpoint.repaired" in journal(folder)
    again = rollback(folder, "checkpoint", "verify", "--repair")
    assert "nothing here was damaged" in again.out


def test_a_checkpoint_is_exported(folder: Path) -> None:
    declare(folder, second="{folder: {path: second}}")
    rollback(folder, "checkpoint", "create", "one")
    done = rollback(folder, "--json", "checkpoint", "export", "one", "out.tar")
    assert done.status == 0, done.err
    with tarfile.open(folder / "out.tar") as archive:
        assert any(name.endswith("app/f") for name in archive.getnames())
    assert rollback(folder, "checkpoint", "export", "one", "out.tar").status == 2
    assert rollback(folder, "checkpoint", "export", "none", "o.tar").status == 3


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with moto(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


def test_credentials_and_keys_are_nowhere(folder: Path, light: str) -> None:
    """Not in the journal, the state, the output: with good ones, and with none."""
    key = "0123456789abcdef" * 4
    (folder / "copy.key").write_text(key + "\n")
    declare(folder, bucket=f"{{s3: {{bucket: copies, endpoint: '{light}', access_key: env:S3_A, "
            "secret_key: env:S3_B, key: file:copy.key, within: 10s}}")  # fmt: skip
    environ = {"S3_A": ACCESS, "S3_B": SECRET}
    ended: list[Ended] = [rollback(folder, "checkpoint", "create", "one", **environ)]
    assert "bucket: 1 checkpoint copied" in ended[0].out
    ended.append(rollback(folder, "checkpoint", "copy", "bucket"))
    assert ended[-1].status == 8
    assert "env:S3_A" in ended[-1].out
    shutil.rmtree(folder / ".rollback/store")
    ended.append(rollback(folder, "checkpoint", "fetch", "bucket", **environ))
    assert ended[-1].status == 0, ended[-1].err
    assert listed(folder) == ["2/2"]
    for text in (SECRET, ACCESS, key):
        for one in ended:
            assert text not in one.out + one.err
        for path in (folder / ".rollback").rglob("*"):
            if path.is_file():
                assert text.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    "lost", [".rollback/store", pytest.param(".rollback", marks=pytest.mark.long)]
)
def test_where_the_store_is_gone_the_place_that_has_copies_is_named(
    folder: Path, lost: str
) -> None:
    """Nobody is told to take a checkpoint of what is broken; what is named brings them back."""
    (folder / "disk").mkdir()
    declare(folder, second="{folder: {path: disk/second}}")
    for name in ("one", "two"):
        assert rollback(folder, "checkpoint", "create", name).status == 0
    shutil.rmtree(folder / lost)
    for words, status in (
        (["checkpoint", "list"], 0), (["status"], 0), (["checkpoint", "verify"], 0),
        (["plan", "everything"], 3), (["run", "everything", "--yes"], 3),
    ):  # fmt: skip
        done = rollback(folder, *words)
        assert done.status == status, done
        said = done.out + done.err
        assert (
            "try: bring back what lies in second, 2 checkpoints: rollback checkpoint fetch second"
            in said
        )
        assert "checkpoint create" not in said
    assert rollback(folder, "checkpoint", "fetch", "second").status == 0
    assert "fetch" not in rollback(folder, "status").out
    assert len(rollback(folder, "--json", "checkpoint", "list").json["checkpoints"]) == 2


def test_a_store_that_is_not_declared_is_told_how_to_declare_it(folder: Path) -> None:
    """Not sent to the list of all commands."""
    for word in ("fetch", "copy"):
        done = rollback(folder, "checkpoint", word, "disk")
        assert done.status == 2
        assert done.err.splitlines() == [
            "rollback: there is no store 'disk' under checkpoints.stores",
            "  try: declare it: checkpoints: {stores: {disk: {folder: {path: …}}}}",
        ]
