"""Loading: files that are none, variables, places, digests, speed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import rollback.kinds  # noqa: F401
from rollback.declare import load
from rollback.model.errors import Problem, SpecError
from rollback.model.system import System

Declare = Callable[..., System]
Problems = Callable[..., tuple[Problem, ...]]


def refused(file: Path | None, **environ: str) -> Problem:
    with pytest.raises(SpecError) as caught:
        load(file, environ=environ)
    assert caught.value.exit_status == 2
    return caught.value.problems[0]


def test_a_file_that_is_not_there_says_what_to_type(tmp_path: Path) -> None:
    found = refused(tmp_path / "nowhere.yaml")
    assert "no such file" in found.message
    assert "rollback init" in found.hint


def test_a_folder_says_which_file_to_name(tmp_path: Path) -> None:
    assert "rollback.yaml" in refused(tmp_path).hint


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refused(tmp_path / "pipe").message


def test_a_name_with_a_nul_is_refused() -> None:
    assert "cannot be read" in refused(Path("a\0b")).message


def test_a_file_that_is_too_big_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"# \n" * 400_000)
    assert "larger than 1 MiB" in refused(tmp_path / "big.yaml").message


def test_a_file_that_is_no_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"schema: 1\nsystem: caf\xe9\n")
    found = refused(tmp_path / "latin.yaml")
    assert "not UTF-8" in found.message
    assert found.where.endswith(":2")
    assert "iconv" in found.hint


@pytest.mark.requirement("MB-62")
def test_a_file_that_everybody_may_write_is_refused(base: str, tmp_path: Path) -> None:
    file = tmp_path / "rollback.yaml"
    file.write_text(base)
    file.chmod(0o646)
    found = refused(file)
    assert "everybody may write" in found.message
    assert "chmod o-w" in found.hint
    file.chmod(0o644)
    load(file, environ={})


def test_a_byte_order_mark_and_windows_line_ends_are_read(base: str, declare: Declare) -> None:
    text = ("\ufeff" + base.replace("\n", "\r\n")).encode()
    assert declare(text).system.id == "shop"


def test_the_file_comes_from_the_environment_when_none_is_named(base: str, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(base)
    file.chmod(0o600)
    assert load(None, environ={"ROLLBACK_SYSTEM": str(file)}).declaration == file


def test_places_are_below_the_folder_of_the_declaration(base: str, tmp_path: Path) -> None:
    file = tmp_path / "rollback.yaml"
    file.write_text(base)
    file.chmod(0o600)
    system = load(file, environ={})
    assert system.root_path == tmp_path / "shop"
    assert system.state_path == tmp_path / ".rollback"
    assert load(file, state=tmp_path / "else", environ={}).state_path == tmp_path / "else"


def test_a_variable_is_taken_from_the_process_then_the_file_then_the_default(
    base: str, tmp_path: Path
) -> None:
    file = tmp_path / "rollback.yaml"
    file.write_text(base.replace("environment:\n", "environment:\n  file: shop.env\n"))
    file.chmod(0o600)
    assert load(file, environ={}).services["web"].ports == (8080,)
    (tmp_path / "shop.env").write_text("# set by hand\nexport PORT='9090' # here\n")
    assert load(file, environ={}).services["web"].ports == (9090,)
    assert load(file, environ={"PORT": "7070"}).services["web"].ports == (7070,)


def test_a_broken_environment_file_is_a_problem_with_its_own_line(
    base: str, tmp_path: Path
) -> None:
    file = tmp_path / "rollback.yaml"
    file.write_text(base.replace("environment:\n", "environment:\n  file: shop.env\n"))
    file.chmod(0o600)
    (tmp_path / "shop.env").write_text("PORT=1\nPORT=2\nnonsense\n")
    with pytest.raises(SpecError) as caught:
        load(file, environ={})
    text = " ".join(problem.message for problem in caught.value.problems)
    assert "shop.env:2: PORT is assigned twice" in text
    assert "shop.env:3: not an assignment" in text


@pytest.mark.parametrize("value", ["80\n80", "a\0b", "${PORT}"])
def test_a_variable_cannot_bring_in_more_than_a_plain_line(
    value: str, base: str, problems: Problems
) -> None:
    assert any("plain line" in p.hint for p in problems(base, PORT=value))


def test_a_variable_is_never_substituted_in_a_key(base: str, problems: Problems) -> None:
    found = problems(base.replace("  beta:\n", '  "${PORT}":\n'))
    assert any("is not an id" in problem.message for problem in found)


def test_words_of_yaml_1_1_stay_words(base: str, declare: Declare) -> None:
    system = declare(base.replace("title: Off", "title: off"))
    assert system.levels["flag"].title == "off"


def test_the_digest_changes_with_meaning_and_not_with_comments(base: str, declare: Declare) -> None:
    one = declare(base)
    same = declare("# a comment\n" + base.replace("title: Off", 'title: "Off"   # another'))
    other = declare(base.replace("title: Off", "title: On"))
    assert one.digest == same.digest
    assert one.digest != other.digest
    assert one.authority_digest == other.authority_digest
    assert one.digest != declare(base, PORT="9").digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("authority: {roles: [lead]}", "authority: {roles: [operator]}"),
        ("{id: two, roles: [lead]}", "{id: two, roles: [lead, operator]}"),
        ("max: 3", "max: 4"),
        ("confirm: true}\ntriggers", "confirm: false}\ntriggers"),
        ("authority: {roles: [operator], alone: true}", "authority: {roles: [operator]}"),
    ],
)
def test_the_authority_digest_changes_with_who_may_decide(
    old: str, new: str, base: str, declare: Declare
) -> None:
    assert old in base
    assert declare(base).authority_digest != declare(base.replace(old, new)).authority_digest


def test_loading_takes_less_than_a_second(base: str, declare: Declare) -> None:
    declare(base)
    started = time.perf_counter()
    declare(base)
    assert time.perf_counter() - started < 1.0


def test_keywords_of_python_are_plain_keys(base: str, declare: Declare, problems: Problems) -> None:
    classed = base.replace("path: data/shop.db,", "path: data/shop.db, class: data,")
    assert declare(classed).components["data"].class_ == "data"
    wrong = base.replace("path: data/shop.db,", "path: data/shop.db, class_: data,")
    assert any("unknown key 'class_'" in problem.message for problem in problems(wrong))
