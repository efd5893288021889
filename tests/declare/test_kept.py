"""What is kept of a declaration is believed only when nothing it rests on has changed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import rollback.kinds  # noqa: F401 - finds the kinds
from rollback.declare import Reading
from rollback.declare.kept import NAME
from rollback.host import Host
from rollback.keep.state import StateDir
from rollback.model.errors import SpecError
from rollback.model.event import canonical, digest

DECLARATION = """\
schema: 1
system: {id: small, title: Small, version: 1.0.0, date: 2026-11-20, next_review: 2027-11-20}
root: app
environment: {file: app.env, variables: {PORT: {default: "80"}}}
environments: {staging: {root: trial, variables: {PORT: "81"}}}
flags:
  shiny:
    layered: {env_file: {path: .env, key: SHINY}}
    reader: {http: {url: "http://127.0.0.1:${PORT}/", pointer: /v}}
people: {owner: op, roles: {op: {}}, members: [{id: one, roles: [op]}]}
levels:
  "off":
    rank: 1
    title: Off
    budgets: {mitigated: 1m, complete: 1m}
    data_loss: none
    authority: {roles: [op], alone: true}
    steps: [{flag: {flag: shiny, set: false, within: 5s}}]
"""


class World:
    """One declaration, read as often as wanted; `kept` is what lies in the state directory."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "rollback.yaml"
        self.file.write_text(DECLARATION)
        self.kept = folder / ".rollback" / NAME
        self.variables = folder / "app.env"

    def read(self, **environ: str) -> Reading:
        """The declaration, read now."""
        return Reading(self.file, state=None, environ=environ)

    def keep(self, **environ: str) -> Reading:
        """The declaration, read and kept."""
        reading = self.read(**environ)
        state = StateDir.open(reading.system, Host())
        reading.keep(state.tree)
        state.close()
        return reading

    def believed(self, **environ: str) -> bool:
        """True when the next reading does without the YAML."""
        return self.read(**environ)._origin is None


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The declaration is kept."""
    made = World(tmp_path)
    assert not made.believed()
    made.keep()
    assert made.believed()
    return made


def test_what_was_kept_is_the_same_system(world: World) -> None:
    """Digests, places, sections, every environment."""
    kept = world.read().system
    world.kept.unlink()
    fresh = world.read().system
    assert (kept.digest, kept.authority_digest) == (fresh.digest, fresh.authority_digest)
    for name in ("production", "staging"):
        one, other = kept.in_environment(name), fresh.in_environment(name)
        assert (one.source, one.root_path, one.state_path) == (
            other.source, other.root_path, other.state_path)  # fmt: skip
        assert one.flags["shiny"] == other.flags["shiny"]
        assert dict(one.levels) == dict(other.levels)
        assert one.people == other.people
    assert kept.flags["shiny"] != kept.in_environment("staging").flags["shiny"]


def test_it_is_private_plain_data(world: World) -> None:
    """JSON, for nobody else to read."""
    assert stat.S_IMODE(world.kept.stat().st_mode) == 0o600
    assert json.loads(world.kept.read_bytes())["format"] == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.file.write_text(DECLARATION + "\n"),
        lambda w: w.variables.write_text("PORT=90\n"),
        lambda w: w.kept.chmod(0o640),
        lambda w: w.kept.parent.chmod(0o770),
        lambda w: w.kept.write_bytes(b"{"),
        lambda w: w.kept.write_bytes(b"[" * 5000),
        lambda w: w.kept.write_bytes(b"null"),
        lambda w: (w.kept.rename(w.kept.with_name("x")), w.kept.symlink_to("x")),
        lambda w: os.mkfifo(w.kept) if w.kept.unlink() is None else None,
    ],
    ids=["text", "variables-file", "readable", "folder-open", "torn", "deep", "null", "link", "pipe"],
)  # fmt: skip
def test_a_change_of_anything_it_rests_on_makes_it_read_anew(
    world: World, change: Callable[[World], object]
) -> None:
    """The text, the file of variables, whose file it is, what stands in it."""
    change(world)
    assert not world.believed()


def test_a_variable_of_the_process_makes_it_read_anew(world: World) -> None:
    """And the other value is kept beside nothing: one reading at a time."""
    assert not world.believed(PORT="99")
    assert world.believed(OTHER="99")
    found = world.keep(PORT="99").system
    assert "99" in found.source["flags"]["shiny"]["reader"]["http"]["url"]
    assert world.believed(PORT="99")
    assert not world.believed()


def test_an_entry_for_other_data_is_not_believed(world: World) -> None:
    """Its own digest does not match; and with another one, people are not the pinned ones."""
    entry = json.loads(world.kept.read_bytes())
    entry["kept"]["source"]["people"]["members"].append({"id": "mallory", "roles": ["op"]})
    world.kept.write_bytes(canonical(entry))
    assert not world.believed()
    before = world.read().system.authority_digest
    entry["digest"] = digest(entry["kept"], domain="declaration")
    world.kept.write_bytes(canonical(entry))
    assert world.read().system.authority_digest != before


def test_a_wrong_declaration_is_refused_whatever_was_kept(world: World) -> None:
    """With every problem."""
    world.file.write_text(
        DECLARATION.replace("rank: 1", "rank: x").replace("owner: op", "owner: no")
    )
    with pytest.raises(SpecError) as caught:
        world.read()
    assert len(caught.value.problems) == 2


def test_a_state_directory_that_is_declared_is_looked_into(world: World) -> None:
    """As is one that a variable names: then it is read anew, never wrongly."""
    world.file.write_text(DECLARATION.replace("root: app", "root: app\nstate: {dir: own}"))
    world.keep()
    assert (world.file.parent / "own" / NAME).exists()
    assert world.believed()
    world.file.write_text(DECLARATION.replace("root: app", 'root: app\nstate: {dir: "s${PORT}"}'))
    world.keep()
    assert not world.believed()
