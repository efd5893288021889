"""Metrics, conditions, triggers and decisions that are wrong: refused as a whole, with their line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.program import typed
from tests.cli.refused import refused_with_its_line
from tests.systems import Shop, build

RIGHT = """events: {veto: {title: V, fields: {number: number}}}
metrics:
  m: {unit: fraction, source: {log: {file: m.jsonl, last: {field: value}}}}
follow_ups: {tasks: {look: {title: Look}}}
notify: {ladders: {person: {rungs: [{role: op, within: 1m}]}}}
triggers:
  - {id: t, when: {metric: m, above: 10%}, respond: {roll_back: config}}
decision:
  style: most-severe
  points: {which: {title: Which, asks: op, options: [OPTION, {id: b, title: B, respond: {hold: b}}]}}
monitor: {interval: 60s}
levels:
  flag:"""
OPTION = "{id: a, title: A, respond: {hold: a}}"
METRIC = "{unit: fraction, source: {log: {file: m.jsonl, last: {field: value}}}}"
SOURCE = "{log: {file: m.jsonl, last: {field: value}}}"
WHEN = "{metric: m, above: 10%}"
RESPOND = "{roll_back: config}"

METRICS = (
    "{}", "5", "[]", "null", "{source: {log: {file: m.jsonl, last: {field: v}}}}", "{unit: fraction}",
    *(f"{{unit: {unit}, source: {SOURCE}}}"
      for unit in ("furlong", "Fraction", "''", "1", "[count]", "null")),
    *(f"{{unit: count, {more}, source: {SOURCE}}}" for more in (
        "direction: up", "direction: 1", "window: 0s", "window: -5m", "window: 5", "window: soon",
        "window: .inf", "window: 1e400s", "min_samples: 0", "min_samples: -1", "min_samples: 1.5",
        "min_samples: true", "min_samples: '3'", "min_samples: .nan", "normal: .nan", "normal: .inf",
        "normal: much", "normal: [1]", "title: ''", "titel: M", "minimum_samples: 3")),
)  # fmt: skip
SOURCES = (
    "{}", "5", "null", "[]", "{nothing: {}}", "{log: {}}", "{log: {file: m.jsonl}}", "{lag: {file: m}}",
    "{log: {last: {field: v}}}", "{log: {file: /etc/passwd, last: {field: v}}, sql: {}}",
    "{log: {file: ../m.jsonl, last: {field: v}}}", "{log: {file: '', last: {field: v}}}",
    "{log: {file: m.jsonl, last: {}}}", "{log: {file: m.jsonl, last: {field: v}, mean: {field: v}}}",
    "{log: {file: m.jsonl, share: {field: v}}}",
    "{log: {file: m.jsonl, last: {field: v, above: .nan}}}",
    "{log: {file: m.jsonl, last: {field: v}, window: -1s}}",
    "{log: {file: m.jsonl, last: {field: [v]}}}",
    "{log: {file: m.jsonl, last: {field: v}, fiel: x}}", "{command: {}}", "{command: {argv: []}}",
    "{command: {argv: 'cat m', number: stdout}}", "{command: {argv: [cat], number: stderr}}",
    "{command: {argv: [1], number: stdout}}", "{command: {argv: [/bin/cat, m], within: 0s}}",
    "{command: {argv: [/bin/cat, m], cwd: /tmp}}", "{command: {argv: [/bin/cat, m], shell: true}}",
    "{probe: {}}", "{probe: {url: not-a-url}}", "{probe: {url: 'file:///etc/passwd'}}",
    "{probe: {url: 'http://user:pass@127.0.0.1/'}}", "{probe: {url: 'http://127.0.0.1/', probes: 0}}",
    "{prometheus: {url: 'http://127.0.0.1:9090'}}", "{prometheus: {query: up}}",
    "{prometheus: {url: 'ftp://127.0.0.1', query: up}}",
    "{prometheus: {url: 'http://127.0.0.1:9090', query: up, of: any}}",
    "{prometheus: {url: 'http://127.0.0.1:9090', query: ''}}",
    "{sql: {database: m.db}}", "{sql: {query: select 1}}", "{query: {file: m.jsonl}}",
    "{query: {file: m.jsonl, sql: select 1, newest: 0}}", "{journal: {}}",
)  # fmt: skip
CONDITIONS = (
    "{}", "5", "null", "[]", "true", "{metric: m}", "{metric: ghost, above: 1}",
    "{metric: [m], above: 1}",
    "{metric: m, above: .nan}", "{metric: m, above: .inf}", "{metric: m, above: 1e400}",
    "{metric: m, above: '12'}", "{metric: m, above: 1_0}", "{metric: m, above: ten}",
    "{metric: m, above: [1]}",
    "{metric: m, above: true}", "{metric: m, above: null}", "{metric: m, above: 10 %%}",
    "{metric: m, over: 1}",
    "{metric: m, above: 1, times: 0}", "{metric: m, above: 1, times: 1001}",
    "{metric: m, above: 1, times: 1.5}",
    "{metric: m, above: 1, for: 0}", "{metric: m, above: 1, for: -1m}",
    "{metric: m, above: 1, for: long}",
    "{metric: m, above: 1, event: veto}", "{metric: m, above: 1, where: {number: 1}}",
    "{metric: m, times_normal: .nan}", "{event: ghost}", "{event: veto, within: 0}",
    "{event: veto, within: ever}",
    "{event: veto, count: 0}", "{event: veto, count: -1}", "{event: veto, above: 1}",
    "{event: veto, where: 5}", "{event: veto, where_not: {number: 1}}",
    "{event: veto, where_not: [number]}",
    "{fact: 'A B'}", "{fact: a, where: {b: 1}}", "{fact: [a]}", "{all: []}", "{any: []}", "{not: {}}",
    "{all: 5}",
    "{all: [{metric: m, above: 1}], any: [{metric: m, above: 1}]}",
    "{all: [{metric: ghost, above: 1}]}",
    "{not: {metric: m}}", "{not: [{metric: m, above: 1}]}", "{any: [{any: [{event: ghost}]}]}",
)  # fmt: skip
RESPONSES = (
    "{}", "5", "null", "config", "{roll_back: ghost}", "{roll_back: config, hold: no}",
    "{procedure: ghost}",
    "{decide: ghost}", "{escalate: ghost}", "{task: ghost}", "{hold: ''}", "{observe: -1m}",
    "{observe: soon}",
    "{roll_forward: config}", "{watch: {for: 5m}}",
    "{watch: {for: 5m, metric: m, improving: {hold: a}}}",
    "{watch: {for: -5m, metric: m, improving: {hold: a}, worsening: {hold: b}}}",
    "{watch: {for: 5m, metric: m, improving: {hold: a}, worsening: {roll_back: ghost}}}",
    "{attempt: {task: look}}",
    "{attempt: {task: look, within: 5m, success: {hold: a}, failure: {roll_back: ghost}}}",
)  # fmt: skip
TRIGGERS = (
    "id: 'T T'", "id: ''", "id: 5", "urgency: soon", "urgency: -1m", "urgency: 5", "cooldown: never",
    "automatic: 1", "automatic: perhaps", "enabled: 5", "severity: ghost", "component: ghost",
    "environment: [ghost]", "inform: [ghost]", "authority: {roles: [ghost]}", "colour: red",
)  # fmt: skip
DECISIONS = (
    "style: fastest", "style: 1", "style: tree, tree: [{id: q}]",
    "style: tree, tree: [{id: q, question: Q, when: {metric: ghost, above: 1}}]",
    "style: scored, scores: [{id: s, when: {metric: m, above: 1}, confidence: 2, reason: r}]",
    "style: scored, scores: [{id: s, when: {metric: m, above: 1}, confidence: .nan, reason: r}]",
    "style: scored, confidence: {act_above: 90%}",
    "style: scored, confidence: {act_above: 900%, ask_above: 1%}",
    "style: tiers, tiers: [{id: t}]",
    "style: most-severe, breakers: [{id: b, all: [], roll_back: config}]",
    "style: most-severe, breakers: [{id: b, all: [{metric: m, above: 1}], roll_back: ghost}]",
    "style: most-severe, filters: [{id: f, title: F}]",
    "style: most-severe, otherwise: {roll_back: ghost}",
    "style: most-severe, points: {p: {title: P, asks: op, options: []}}",
    "style: most-severe, points: {p: {title: P, asks: ghost, options: [OPTION, OPTION]}}",
    "styl: first", "",
)  # fmt: skip
MONITORS = (
    "interval: 0s", "interval: -1s", "interval: 5", "interval: often", "threshold: 0",
    "threshold: 1001",
    "threshold: 1.5", "cooldown: .inf", "timeout: -1s", "lookback: ever", "stability: {watch: 1h}",
    "stability: {watch: 1h, limits: [{metric: ghost, below: 1}]}", "tightening: {interval: 2}",
    "every: 5m",
)  # fmt: skip


def mistakes() -> Iterator[tuple[str, str, str]]:
    """Each as what is right, what stands there instead, and its name."""
    for words in METRICS:
        yield f"m: {METRIC}", f"m: {words}", f"metric {words}"
    for words in SOURCES:
        yield f"source: {SOURCE}", f"source: {words}", f"source {words}"
    for words in CONDITIONS:
        yield f"when: {WHEN}", f"when: {words}", f"condition {words}"
    for words in RESPONSES:
        yield f"respond: {RESPOND}}}", f"respond: {words}}}", f"response {words}"
    for words in TRIGGERS:
        new = f"{{{words}, when" if words.startswith("id:") else f"{{id: t, {words}, when"
        yield "{id: t, when", new, f"trigger {words}"
    for words in DECISIONS:
        block = RIGHT[RIGHT.index("decision:") : RIGHT.index("monitor:")].replace("OPTION", OPTION)
        yield block, f"decision: {{{words.replace('OPTION', OPTION)}}}\n", f"decision {words}"
    for words in MONITORS:
        yield "monitor: {interval: 60s}", f"monitor: {{{words}}}", f"monitor {words}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A declaration that is right, for each to be made wrong, and put right again."""
    made = build(tmp_path_factory.mktemp("metrics") / "shop")
    made.edit("levels:\n  flag:", RIGHT.replace("OPTION", OPTION))
    return made


def test_what_they_are_made_of_is_right(shop: Shop) -> None:
    """Or each of them could be refused for something else."""
    assert typed(shop.folder, "validate").status == 0


@pytest.mark.parametrize(
    ("old", "new"), [one[:2] for one in mistakes()], ids=[one[2] for one in mistakes()]
)
def test_a_bad_one_is_refused_with_its_line_and_changes_nothing(
    old: str, new: str, shop: Shop
) -> None:
    """By `validate`, before anything reads a metric."""
    refused_with_its_line(shop, old, new)


def test_there_are_as_many_as_promised() -> None:
    """A hundred and fifty, each another one."""
    made = [new for _, new, _ in mistakes()]
    assert len(set(made)) == len(made) >= 150
