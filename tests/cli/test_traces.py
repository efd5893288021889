"""What an undo leaves is said: branches and tags of the run stay, here and where they were pushed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.program import rollback
from tests.systems import Shop, build, environment


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=one", "-c", "user.email=one@example.org", *words], cwd=folder,
        env=environment(), check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """The shop in a repository with a remote; level config makes a branch and a tag, and pushes."""
    made = build(tmp_path / "shop")
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(made.tree, "init", "-q", "-b", "main")
    git(made.tree, "add", ".")
    git(made.tree, "commit", "-q", "-m", "first")
    git(made.tree, "remote", "add", "origin", str(tmp_path / "remote.git"))
    made.edit("components:\n", "repository: {path: ., remote: origin, branch: main, protected: [main]}\n"
              "components:\n")  # fmt: skip
    made.edit("steps: [{restore: {component: config}}]",
              'steps: [{git: {branch: "back-{run}"}}, {restore: {component: config}}, '
              '{git: {tag: "gone-back-{run}"}}, {git: {push: "back-{run}"}}]')  # fmt: skip
    with made.site() as site:
        site.checkpoints.create("before-release")
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def test_an_undo_says_what_stays(shop: Shop) -> None:
    """While it runs and in the report, by name and place; and they are there."""
    done = rollback(shop.folder, "run", "config", "--as", "ada", "--yes")
    assert done.status == 0, (done.out, done.err)
    undone = rollback(shop.folder, "undo", "--as", "ada", "--yes")
    assert undone.status == 0, (undone.out, undone.err)
    report = rollback(shop.folder, "report").out
    for stays in ("branch back-r0001 stays", "tag gone-back-r0001 stays",
                  "back-r0001 stays at the remote origin"):  # fmt: skip
        assert len([line for line in undone.err.splitlines() if line.endswith(stays)]) == 1, (
            undone.err
        )
        assert stays in report.replace("\\", "")
    assert git(shop.tree, "tag", "--list").split() == ["gone-back-r0001"]
    assert "back-r0001" in git(shop.tree, "branch", "--list")
    assert "back-r0001" in git(shop.folder.parent / "remote.git", "branch", "--list")
    assert git(shop.tree, "branch", "--show-current").strip() == "main"


def test_a_run_that_is_given_up_says_what_stays(shop: Shop) -> None:
    """A step fails, and what came before it is taken back: the branch is named, too."""
    shop.edit(
        '{git: {tag: "gone-back-{run}"}}',
        "{command: {argv: [test, -e, nothing], cwd: pages, effects: none}}",
    )
    done = rollback(shop.folder, "run", "config", "--as", "ada", "--yes")
    assert done.status == 6, (done.out, done.err)
    assert [line for line in done.err.splitlines() if line.endswith("branch back-r0001 stays")]
    assert "back-r0001" in git(shop.tree, "branch", "--list")
