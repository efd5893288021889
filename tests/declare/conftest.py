"""A small whole declaration, and ways to load it broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import rollback.kinds  # noqa: F401  # registers every kind
from rollback.declare import load
from rollback.model.errors import Problem, SpecError
from rollback.model.system import System

BASE = """\
schema: 1
system: {id: shop, title: Shop, version: "1", date: 2026-01-01, next_review: 2026-12-31}
root: shop
state: {dir: .rollback}
environment:
  variables:
    PORT: {default: "8080"}
environments:
  staging: {confirm: false}
  production: {confirm: true}
repository: {path: ., remote: origin, branch: main, protected: [main]}
components:
  code: {path: app, content: git}
  data: {path: data/shop.db, content: sqlite, depends_on: [code]}
  audit: {path: logs/audit.jsonl, content: append-only}
services:
  web:
    manager: registry
    argv: [/usr/bin/python3, app/web.py]
    lock: run/web.lock
    ports: ["${PORT}"]
    stop: {signal: TERM, grace: 3s}
    components: [code]
  worker:
    manager: registry
    argv: [/usr/bin/python3, app/worker.py]
    lock: run/worker.lock
    depends_on: [web]
flags:
  beta:
    layered: {env_file: {path: .env, key: BETA}, default: false}
metrics:
  errors:
    unit: fraction
    window: 1m
    source: {log: {file: logs/access.jsonl, share: {field: status, above: 499}, time: at}}
events:
  veto: {title: Somebody says no}
people:
  owner: operator
  roles:
    operator: {title: Operator}
    lead: {title: Lead, reports_to: operator}
  members:
    - {id: one, roles: [operator]}
    - {id: two, roles: [lead]}
autonomy:
  current: 3
  table:
    3: {may: [observe, roll-back], confirm: true}
triggers:
  - {id: many-errors, when: {metric: errors, above: 10%}, respond: {roll_back: code}, urgency: 5m}
decision: {style: most-severe}
guardrails:
  rate_limit: {max: 3, per: 24h}
levels:
  flag:
    rank: 1
    title: Off
    budgets: {mitigated: 60s, complete: 5m}
    data_loss: none
    authority: {roles: [operator], alone: true}
    steps:
      - flag: {id: "off", flag: beta, set: false}
      - service: {id: drain, reload: [web]}
    gate: {suites: [smoke], expect: {home: pass}}
    checklist:
      - {id: seen, item: Somebody looked, attest: operator}
      - {id: proved, item: It answers, check: home}
  code:
    rank: 2
    title: Back
    budgets: {mitigated: 5m, complete: 15m}
    data_loss: requests in flight
    authority: {roles: [operator, lead], quorum: all}
    target: {sources: [{checkpoint: last-good}]}
    variants: {quick: Quick, slow: Slow}
    variant: quick
    phases: [{id: go, title: Go}]
    steps:
      - restore: {id: code, component: code, phase: go}
      - notify: {id: tell, message: done}
    gate: {suites: [smoke]}
    on_fail: {climb: all, when: ask}
  all:
    rank: 3
    title: Everything
    budgets: {mitigated: 15m, complete: 30m}
    data_loss: a lot
    authority: {roles: [lead]}
    target: {sources: [{checkpoint: last-good}]}
    steps:
      - restore: {id: data, component: data}
checkpoints:
  kinds:
    safety: {on: rollback, components: all, copies: 1, retention: 30d}
verification:
  smoke:
    - http: {id: home, url: "http://127.0.0.1:${PORT}/", status: 200, within: 2s}
  performance:
    - metric: {id: few-errors, name: errors, below: 1%}
notify:
  channels:
    team: {file: {path: outbox/team.jsonl}}
  audiences:
    team: [team]
  messages:
    done: {audience: team, text: "{title} went back."}
  ladders:
    call: {rungs: [{role: operator, within: 0s}, {role: lead, within: 5m}]}
drills:
  - {id: broken, fault: errors-5xx, level: code, every: 30d}
records:
  why: {title: Why, by: operator, fields: {cause: {title: Cause}}}
follow_ups:
  priorities: {high: 1}
  tasks:
    look: {title: Look, owner: operator, due: 1d, priority: high}
"""


@pytest.fixture
def base() -> str:
    """A declaration that loads."""
    return BASE


@pytest.fixture
def declare(tmp_path: Path) -> Callable[..., System]:
    """The system that a text declares."""

    def one(text: str | bytes, **environ: str) -> System:
        file = tmp_path / "rollback.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        file.chmod(0o600)
        return load(file, environ=environ)

    return one


@pytest.fixture
def problems(declare: Callable[..., System]) -> Callable[..., tuple[Problem, ...]]:
    """What is wrong with a text; it must be something."""

    def all_of(text: str | bytes, **environ: str) -> tuple[Problem, ...]:
        with pytest.raises(SpecError) as caught:
            declare(text, **environ)
        return caught.value.problems

    return all_of
