"""A small real system for tests of the spine: files, a flag, a repository, people with keys."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import rollback.kinds  # noqa: F401 - registers the kinds
from rollback import declare
from rollback.act.plan import Plan, make_plan
from rollback.act.site import Site
from rollback.host import Clock, Host
from rollback.model.system import System

PEOPLE = ("ada", "bo", "cyd", "dee")
TEXT = """
schema: 1
system: {id: shop, title: Shop, version: 1.0.0, date: 2026-11-20, next_review: 2027-05-20}
root: tree
state: {dir: .rollback, fallback: second, anchor: anchor/shop.jsonl}
components:
  config: {path: config, content: files}
  pages: {path: pages, content: files}
flags:
  party:
    layered:
      env_file: {path: .env, key: PARTY}
      yaml: {path: config/app.yaml, key: party}
      default: true
people:
  owner: op
  roles: {op: {title: Operator}, lead: {title: Lead}, chief: {title: Chief}, guest: {title: Guest}}
  members:
    - {id: ada, roles: [op, lead]KEY_ada}
    - {id: bo, roles: [lead]KEY_bo}
    - {id: cyd, roles: [chief]KEY_cyd}
    - {id: dee, roles: [guest]KEY_dee}
    - {id: fay, roles: [lead]}
verification:
  smoke:
    - config: {id: app-valid, file: config/app.yaml, keys: [party]}
    - config: {id: limit-right, file: config/app.yaml, keys: [limit], levels: [config]}
GUARDRAILS
levels:
  flag:
    rank: 1
    title: Switch it off
    emergency: true
    budgets: {mitigated: 1m, complete: 5m}
    data_loss: none
    authority: {roles: [op], alone: true}
    steps: [{flag: {flag: party, set: false, within: 3s}}]
    gate: {suites: [smoke]}
  config:
    rank: 2
    title: Settings back
    budgets: {mitigated: 1m, complete: 5m}
    data_loss: settings since the checkpoint
    authority: {roles: [op], alone: true}
    target: {sources: [{checkpoint: last-good}]}
    steps: [{restore: {component: config}}]
    gate: {suites: [smoke]}
  pages:
    rank: 3
    title: Pages back
    component: required
    budgets: {mitigated: 1m, complete: 5m}
    data_loss: pages
    authority: {roles: [lead], count: 2}
    target: {sources: [{checkpoint: before-release}, {checkpoint: newest}]}
    steps: [{restore: {component: chosen}}]
    gate: {suites: [smoke]}
  full:
    rank: 4
    title: All back
    budgets: {mitigated: 1m, complete: 5m}
    data_loss: everything since
    authority: {roles: [lead, chief], quorum: all}
    target: {sources: [{checkpoint: last-good}]}
    steps:
      - restore: {component: pages}
      - restore: {component: config}
    gate: {suites: [smoke]}
  later:
    rank: 5
    title: Not built
    budgets: {mitigated: 1m, complete: 5m}
    data_loss: none
    authority: {roles: [op], alone: true}
    steps: [{planned: {kind: teleport, with: {}, missing: "a machine for it"}}]
    gate: {suites: [smoke]}
"""


class Hands(Clock):
    """The machine's clocks, moved by a test: all of them by `ahead_s`, the wall clock alone by `wrong_s`."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.wrong_s = 0.0
        self.reboots = 0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s + self.wrong_s)

    def boot_s(self) -> float:
        return super().boot_s() + self.ahead_s

    def boot(self) -> str:
        return super().boot() + self.reboots * "+"


@dataclass
class Shop:
    """The small system in a folder; `clock` can be moved."""

    folder: Path
    clock: Hands

    @property
    def host(self) -> Host:
        return Host(clock=self.clock)

    @property
    def system(self) -> System:
        return declare.load(self.folder / "rollback.yaml")

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def journal(self) -> Path:
        return self.folder / ".rollback" / "journal" / "events.jsonl"

    @contextmanager
    def site(self, **more: Any) -> Iterator[Site]:
        with Site.open(self.system, self.host, **more) as site:
            yield site

    def plan(self, site: Site, level: str = "flag", **more: Any) -> Plan:
        from rollback.act.authorize import next_run_id

        more.setdefault("requester", "ada")
        return make_plan(site, level, run=next_run_id(site), **more)

    def edit(self, old: str, new: str) -> None:
        """The declaration says something else from now on."""
        file = self.folder / "rollback.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def bytes(self) -> dict[str, str]:
        """Every managed path with mode and digest."""
        return walk(self.tree)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.journal.read_bytes().splitlines()]


def walk(folder: Path) -> dict[str, str]:
    """Everything below a folder: kind, mode and content; an independent look."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        body = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (
            f"{status.st_mode:o} {hashlib.sha256(body).hexdigest()}"
        )
    return found


def build(folder: Path, *, keys: dict[str, str] | None = None, guardrails: str = "") -> Shop:
    """The files of the shop and its declaration."""
    tree = folder / "tree"
    (tree / "config").mkdir(parents=True)
    (tree / "pages").mkdir()
    (tree / "config" / "app.yaml").write_text("# settings\nparty: true\nlimit: 3\n")
    (tree / "pages" / "index.html").write_text("<h1>shop</h1>\n")
    (tree / ".env").write_text("PARTY=true\nOTHER=1\n")
    text = TEXT.replace("GUARDRAILS", guardrails)
    for person in PEOPLE:
        key = (keys or {}).get(person)
        text = text.replace(f"KEY_{person}", f', key: "{key}"' if key else "")
    (folder / "rollback.yaml").write_text(text)
    return Shop(folder, Hands())


def ill(folder: Path, *, kept: str = "good") -> Shop:
    """The shop with a checkpoint of that name, and a bad release of its settings after it."""
    made = build(folder)
    with made.site() as site:
        site.checkpoints.create(kept)
    (made.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")
    return made


def make_key(folder: Path, name: str) -> tuple[Path, str]:
    """A private key file, and its public half as a declaration writes it."""
    file = folder / f"key-{name}"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(file)], check=True
    )
    kind, key, *_ = Path(f"{file}.pub").read_text().split()
    return file, f"{kind} {key}"


def environment(**more: str) -> dict[str, str]:
    """The environment for the program as a child."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ROLLBACK", "PYTHONDONT"))}
    return {**kept, **more}
