"""The shop with an agent: metrics in files, triggers on them, and a clock that a test moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rollback.act.site import Site
from rollback.host.clock import iso
from rollback.model.event import Event
from rollback.model.lifecycle import Run
from rollback.watch.agent import Agent, Looked
from tests.systems import Shop, build

RULES = """
events:
  deployment: {title: A release went out, fields: {version: text}}
  veto: {title: Somebody says no, fields: {reason: text, number: number}, source: "alert:Veto"}
metrics:
  errors: {unit: fraction, source: {log: {file: errors.jsonl, last: {field: value}}}}
  slow: {unit: fraction, source: {log: {file: slow.jsonl, last: {field: value}}}}
autonomy:
  current: 4
  table:
    2: {may: [observe, check]}
    3: {may: [observe, check, roll-back], confirm: true}
    4: {may: [observe, check, roll-back], confirm: false}
triggers:
  - {id: errors-high, when: {metric: errors, above: 10%}, respond: {roll_back: config}}
  - {id: slow, when: {metric: slow, above: 50%}, respond: {roll_back: config}}
  - {id: very-slow, when: {metric: slow, above: 90%}, respond: {roll_back: full}}
  - {id: vetoed, when: {event: veto, within: 1h}, respond: {roll_back: config}}
monitor: {interval: 60s, threshold: 1, cooldown: 0s}
verification:"""


@dataclass
class Place:
    """The shop, a checkpoint of what is good, and a bad setting since."""

    shop: Shop

    def read(self, **values: float | None) -> None:
        """The metrics say this from now on; None is no answer at all."""
        for name, value in values.items():
            file = self.shop.tree / f"{name}.jsonl"
            if value is None:
                file.unlink(missing_ok=True)
            else:
                file.write_text(f'{{"at": "{iso(self.shop.clock.now())}", "value": {value}}}\n')

    def break_it(self) -> None:
        """A bad setting is there again."""
        (self.shop.tree / "config" / "app.yaml").write_text("party: true\nlimit: 99\n")

    @contextmanager
    def agent(self, **more: object) -> Iterator[Agent]:
        """The agent of the shop as it is declared now."""
        with self.shop.site(**more) as site:
            yield Agent(site)

    def tick(self, agent: Agent, times: int = 1, every_s: float = 60.0) -> Looked:
        """So many ticks, each an interval later; the last one."""
        for _ in range(times):
            self.shop.clock.ahead_s += every_s
            looked = agent.tick()
        return looked


def place(folder: Path, *, edits: dict[str, str] | None = None) -> Place:
    """The shop with rules; `edits` change the declaration."""
    shop = build(folder)
    shop.edit("verification:", RULES)
    for old, new in (edits or {}).items():
        shop.edit(old, new)
    made = Place(shop)
    with shop.site() as site:
        site.checkpoints.create("good")
    made.break_it()
    made.read(errors=0.0, slow=0.0)
    return made


def runs(site: Site) -> list[Run]:
    """Every run, oldest first."""
    return list(site.runs().values())


def told(site: Site, kind: str) -> list[Event]:
    """The events of a kind."""
    return [event for event in site.journal.events() if event.kind == kind]
