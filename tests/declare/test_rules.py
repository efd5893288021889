"""Every rule of the declaration, broken once: the message names it, the line is right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollback.model.errors import Problem
from rollback.model.system import System

Problems = Callable[..., tuple[Problem, ...]]

WORKER = "    manager: registry\n    argv: [/usr/bin/python3, app/worker.py]\n    lock: run/worker.lock\n"
WAYS = "    lock: run/worker.lock\n    start: [WAYS]\n"

# what is replaced, by what, what the message says, and what the hint says
RULES: dict[str, tuple[str, str, str, str]] = {
    # places and attributes
    "place that holds the root": (
        "services:\n  web:\n",
        "places:\n  kept: {path: ., may: [archive]}\nservices:\n  web:\n",
        "holds the root of the system",
        "one folder",
    ),
    "place in a component": (
        "services:\n  web:\n",
        "places:\n  kept: {path: app/kept, may: [write]}\nservices:\n  web:\n",
        "overlaps component 'code'",
        "no restore puts back",
    ),
    "place around a component": (
        "services:\n  web:\n",
        "places:\n  kept: {path: data, may: [read]}\nservices:\n  web:\n",
        "overlaps component 'data'",
        "no restore puts back",
    ),
    "place in the state": (
        "services:\n  web:\n",
        "places:\n  kept: {path: ../.rollback/x, may: [write]}\nservices:\n  web:\n",
        "is not a plain path",
        "without",
    ),
    "place that leaves by dots": (
        "services:\n  web:\n",
        "places:\n  kept: {path: /srv/../etc, may: [clear]}\nservices:\n  web:\n",
        "is not a plain path",
        "without",
    ),
    "place with an unknown use": (
        "services:\n  web:\n",
        "places:\n  kept: {path: /srv/x, may: [delete]}\nservices:\n  web:\n",
        "",
        "",
    ),
    "attributes of a database": (
        "content: sqlite,",
        'content: sqlite, xattrs: ["user.*"],',
        "of which no extended attributes are kept",
        "leave xattrs out",
    ),
    "attributes without a namespace": (
        "content: git}",
        "content: git, xattrs: [origin]}",
        "components.code.xattrs",
        "",
    ),
    # shape
    "unknown section": (
        "drills:\n",
        "drils: []\ndrills:\n",
        "unknown key 'drils'",
        "did you mean drills?",
    ),
    "unknown key": ("rank: 1", "rnak: 1", "unknown key 'rnak'", "did you mean rank?"),
    "unknown key of a kind": (
        "status: 200",
        "statsu: 200",
        "unknown key 'statsu'",
        "did you mean status?",
    ),
    "unknown kind of action": (
        "- notify: {id: tell",
        "- notfy: {id: tell",
        "there is no action 'notfy'",
        "planned",
    ),
    "unknown kind of check": (
        "- http: {id: home",
        "- htp: {id: home",
        "there is no check 'htp'",
        "planned",
    ),
    "metric of an unknown service": (
        "source: {log: {file: logs/access.jsonl, share: {field: status, above: 499}, time: at}}",
        "source: {process: {service: wbe}}",
        "there is no service 'wbe'",
        "did you mean web?",
    ),
    "check of a metric of an unknown service": (
        "source: {log: {file: logs/access.jsonl, share: {field: status, above: 499}, time: at}}",
        "source: {check: {process: {services: [wbe]}}}",
        "there is no service 'wbe'",
        "did you mean web?",
    ),
    "probe of nothing": (
        "source: {log: {file: logs/access.jsonl, share: {field: status, above: 499}, time: at}}",
        "source: {probe: {probes: 3}}",
        "one of: url, check",
        "",
    ),
    "probe of two things": (
        "source: {log: {file: logs/access.jsonl, share: {field: status, above: 499}, time: at}}",
        "source: {probe: {url: 'http://127.0.0.1:1/', check: {files: {exists: [a]}}}}",
        "one of: url, check",
        "",
    ),
    "probe of an unknown check": (
        "source: {log: {file: logs/access.jsonl, share: {field: status, above: 499}, time: at}}",
        "source: {probe: {check: {prot: {ports: [1]}}}}",
        "there is no check 'prot'",
        "did you mean port?",
    ),
    "probe of an unknown service": (
        "source: {log: {file: logs/access.jsonl, share: {field: status, above: 499}, time: at}}",
        "source: {probe: {check: {process: {services: [wbe]}}}}",
        "there is no service 'wbe'",
        "did you mean web?",
    ),
    "scan of an unknown component": (
        "source: {log: {file: logs/access.jsonl, share: {field: status, above: 499}, time: at}}",
        "source: {integrity: {component: daat}}",
        "there is no component 'daat'",
        "did you mean data?",
    ),
    "unknown kind of metric": ("source: {log:", "source: {lgo:", "there is no metric 'lgo'", ""),
    "unknown notifier": ("team: {file:", "team: {pigeon:", "there is no notifier 'pigeon'", ""),
    "kind with two keys": (
        '- flag: {id: "off", flag: beta, set: false}',
        "- {flag: {flag: beta, set: false}, notify: {message: done}}",
        "a map with one key",
        "like this",
    ),
    "missing key": ("    title: Off\n", "", "levels.flag.title: is required", "add title"),
    "missing section": ("people:\n", "peopel:\n", "people: is required", "add people"),
    "text for a number": ("rank: 1", 'rank: "1"', "is not a whole number", "without quotes"),
    "number for text": ("title: Off", "title: 5", "is not text", "quotes"),
    "text for a bool": (
        "{confirm: false}",
        '{confirm: "no"}',
        "is not true or false",
        "without quotes",
    ),
    "text for a list": ("depends_on: [web]", "depends_on: web", "is not a list", "brackets"),
    "list for a map": (
        "flags:\n  beta:\n    layered: {env_file: {path: .env, key: BETA}, default: false}",
        "flags: []",
        "is not a map",
        "key: value",
    ),
    "duration without unit": ("complete: 5m", "complete: 5", "is not a duration", ""),
    "duration of eleven years": ("complete: 5m", "complete: 4018d", "longer than ten years", ""),
    "word outside of a list": (
        "on: rollback",
        "on: rolback",
        "is not one of",
        "did you mean rollback?",
    ),
    "no steps": (
        "    steps:\n      - restore: {id: data, component: data}\n",
        "    steps: []\n",
        "is empty",
        "at least 1",
    ),
    "bad date": ("date: 2026-01-01", "date: 1.1.2026", "not written as it must be", "2026-11-20"),
    "month that there is not": (
        "date: 2026-01-01",
        "date: 2026-13-28",
        "'2026-13-28' is no day of any month",
        "2026-11-20",
    ),
    "day that there is not": (
        "next_review: 2026-12-31",
        "next_review: 2027-02-29",
        "'2027-02-29' is no day of any month",
        "2026-11-20",
    ),
    "gate that asks nothing": (
        "gate: {suites: [smoke]}\n    on_fail:",
        "gate: {expect: {home: absent}}\n    on_fail:",
        "asks no suite and no check proves nothing",
        "leave it out",
    ),
    "bad id": ("  beta:\n", "  Beta!:\n", "is not an id", "a-z"),
    "id with a line end": ("  beta:\n", '  "beta\\n":\n', "control character", ""),
    "id with a NUL": ("  beta:\n", '  "be\\0ta":\n', "control character", ""),
    "value with a NUL": ("title: Off", 'title: "O\\0ff"', "control character", "remove"),
    "port out of range": ('ports: ["${PORT}"]', "ports: [70000]", "out of range", "65535"),
    "planned without what is missing": (
        "- notify: {id: tell, message: done}",
        "- planned: {kind: choose, with: {}}",
        "missing",
        "add missing",
    ),
    "planned though built": (
        "- notify: {id: tell, message: done}",
        '- planned: {kind: notify, with: {}, missing: "something"}',
        "is built",
        "",
    ),
    # writing
    "key twice": ("  branch: main", "  branch: main", "", ""),
    "newer schema": ("schema: 1", "schema: 2", "newer than this version", "install"),
    "schema is text": ("schema: 1", 'schema: "1"', "is not one of: 1", ""),
    "no schema": ("schema: 1\n", "", "schema: is required", "schema: 1"),
    "alias": ("title: Off", "title: *off", "the alias *off", "write the value out"),
    "anchor": ("title: Off", "title: &off Off", "the anchor &off", "write the value out"),
    "tag": ("title: Off", "title: !!str Off", "the tag !!str", "remove it"),
    "object tag": (
        "title: Off",
        "title: !!python/object/apply:os.system [id]",
        "the tag",
        "remove it",
    ),
    "merge key": (
        "    title: Off\n",
        "    title: Off\n    <<: {rank: 9}\n",
        "merge keys",
        "write the keys out",
    ),
    "not a number": ("rank: 1", "rank: .nan", "not a number that can be compared", "finite"),
    "infinity": ("max: 3", "max: .inf", "not a number that can be compared", "finite"),
    "second document": ("drills:\n", "---\ndrills:\n", "a second document", "remove"),
    "complex key": ("flags:\n", "? [a, b]\n: 1\nflags:\n", "a key must be plain text", ""),
    "broken quotes": ("title: Off", 'title: "Off', "not YAML", "quotes"),
    "tab for indentation": ("    title: Off", "\t title: Off", "not YAML", "tabs"),
    # variables
    "undeclared variable": (
        'ports: ["${PORT}"]',
        'ports: ["${PROT}"]',
        "${PROT} is not declared",
        "did you mean PORT?",
    ),
    "variable without a value": (
        'PORT: {default: "8080"}',
        "PORT: {}",
        "${PORT} has no value",
        "set PORT",
    ),
    "variable among people": (
        "{id: one, roles: [operator]}",
        '{id: "${PORT}", roles: [operator]}',
        "may not depend on a variable",
        "write the value itself",
    ),
    "variable in authority": (
        "authority: {roles: [lead]}",
        'authority: {roles: ["${PORT}"]}',
        "may not depend on a variable",
        "",
    ),
    # references
    "component of a step": (
        "restore: {id: data, component: data}",
        "restore: {id: data, component: daat}",
        "no component 'daat'",
        "did you mean data?",
    ),
    "component depended on": (
        "depends_on: [code]",
        "depends_on: [cod]",
        "no component 'cod'",
        "did you mean code?",
    ),
    "service of a step": (
        "reload: [web]",
        "reload: [wbe]",
        "no service 'wbe'",
        "did you mean web?",
    ),
    "service depended on": ("depends_on: [web]", "depends_on: [wbe]", "no service 'wbe'", ""),
    "component of a service": (
        "components: [code]\n",
        "components: [cdoe]\n",
        "no component 'cdoe'",
        "",
    ),
    "flag of a step": (
        "flag: beta, set",
        "flag: betta, set",
        "no flag 'betta'",
        "did you mean beta?",
    ),
    "check in expect": (
        "expect: {home: pass}",
        "expect: {hom: pass}",
        "no check 'hom'",
        "did you mean home?",
    ),
    "check in a checklist": ("check: home}", "check: hme}", "no check 'hme'", ""),
    "role in a checklist": (
        "attest: operator",
        "attest: operater",
        "no role 'operater'",
        "did you mean operator?",
    ),
    "step in a checklist": (
        "check: home}",
        "step: drian}",
        "no step 'drian'",
        "did you mean drain?",
    ),
    "message in a checklist": ("check: home}", "message: don}", "no message 'don'", ""),
    "metric of a trigger": (
        "when: {metric: errors",
        "when: {metric: eror",
        "no metric 'eror'",
        "did you mean errors?",
    ),
    "event of a trigger": (
        "when: {metric: errors, above: 10%}",
        "when: {event: vetto}",
        "no event 'vetto'",
        "did you mean veto?",
    ),
    "level of a trigger": (
        "roll_back: code}",
        "roll_back: cod}",
        "no level 'cod'",
        "did you mean code?",
    ),
    "level climbed to": ("climb: all", "climb: al", "no level 'al'", "did you mean all?"),
    "level of a drill": (
        "fault: errors-5xx, level: code",
        "fault: errors-5xx, level: cod",
        "no level 'cod'",
        "",
    ),
    "message of a step": (
        "message: done}",
        "message: doen}",
        "no message 'doen'",
        "did you mean done?",
    ),
    "audience of a message": (
        "done: {audience: team",
        "done: {audience: tema",
        "no audience 'tema'",
        "",
    ),
    "channel of an audience": ("    team: [team]", "    team: [tema]", "no channel 'tema'", ""),
    "role of a ladder": (
        "{role: lead, within: 5m}",
        "{role: led, within: 5m}",
        "no role 'led'",
        "",
    ),
    "role of a member": (
        "{id: two, roles: [lead]}",
        "{id: two, roles: [leed, lead]}",
        "no role 'leed'",
        "",
    ),
    "role of authority": (
        "authority: {roles: [lead]}",
        "authority: {roles: [leed]}",
        "no role 'leed'",
        "",
    ),
    "role of a record": (
        "why: {title: Why, by: operator",
        "why: {title: Why, by: opertor",
        "no role 'opertor'",
        "",
    ),
    "owner": ("owner: operator\n", "owner: opertor\n", "no role 'opertor'", ""),
    "priority of a task": ("priority: high", "priority: hihg", "no priority 'hihg'", ""),
    "component of a checkpoint": (
        "components: all, copies",
        "components: [cod], copies",
        "no component 'cod'",
        "",
    ),
    "phase of a step": ("phase: go}", "phase: og}", "no phase 'og'", ""),
    "variant": ("variant: quick", "variant: quik", "no variant 'quik'", "did you mean quick?"),
    "environment of a step": (
        "reload: [web]}",
        "reload: [web], environment: prod}",
        "no environment 'prod'",
        "production",
    ),
    "level of a check": (
        "status: 200, within: 2s",
        "status: 200, within: 2s, levels: [flg]",
        "no level 'flg'",
        "did you mean flag?",
    ),
    "metric of a check": ("name: errors", "name: erors", "no metric 'erors'", ""),
    # rules
    "circle of components": (
        "code: {path: app, content: git}",
        "code: {path: app, content: git, depends_on: [data]}",
        "a circle: code → data → code",
        "remove one",
    ),
    "circle of services": (
        "    components: [code]\n",
        "    components: [code]\n    depends_on: [worker]\n",
        "a circle: web → worker → web",
        "",
    ),
    "circle of roles": (
        "operator: {title: Operator}",
        "operator: {title: Operator, reports_to: lead}",
        "a circle: operator → lead → operator",
        "",
    ),
    "climbs down": ("climb: all, when", "climb: flag, when", "which is not above 2", "higher rank"),
    "same rank": ("rank: 3", "rank: 2", "rank 2 is also that of 'code'", "of its own"),
    "no level": ("", "", "", ""),
    "check twice": (
        "metric: {id: few-errors",
        "metric: {id: home",
        "the id 'home' is used twice",
        "rename",
    ),
    "step twice": (
        "- service: {id: drain",
        '- service: {id: "off"',
        "the id 'off' is used twice",
        "rename",
    ),
    "check without a name": ("http: {id: home, url", "http: {url", "needs a name", "add id"),
    "metric without a number": ("name: errors, below: 1%", "name: errors", "", ""),
    "condition without a number": (
        "{metric: errors, above: 10%}",
        "{metric: errors}",
        "needs a number",
        "",
    ),
    "two conditions in one": (
        "{metric: errors, above: 10%}",
        "{metric: errors, above: 10%, event: veto}",
        "is one of",
        "",
    ),
    "two responses in one": (
        "respond: {roll_back: code}",
        "respond: {roll_back: code, hold: no}",
        "is one of",
        "",
    ),
    "restore without a target": (
        "    authority: {roles: [lead]}\n    target: {sources: [{checkpoint: last-good}]}\n",
        "    authority: {roles: [lead]}\n",
        "the level has no target",
        "add target",
    ),
    "unknown content": (
        "content: sqlite",
        "content: sqllite",
        "no content 'sqllite'",
        "did you mean sqlite?",
    ),
    "git without a repository": (
        "repository: {path: ., remote: origin, branch: main, protected: [main]}\n",
        "",
        "no repository is declared",
        "add repository",
    ),
    "autonomy outside of its table": (
        "current: 3",
        "current: 9",
        "9 is not in the table",
        "write one of: 3",
    ),
    "production before staging": (
        "rate_limit: {max: 3, per: 24h}",
        "rate_limit: {max: 3, per: 24h}\n  staging_first: staging",
        "",
        "",
    ),
    # services
    "variables of a unit": (
        WORKER,
        "    manager: systemd\n    unit: worker\n    required_environment: [HOME]\n",
        "systemd gives its programs an environment of its own",
        "leave required_environment out",
    ),
    "variables of a program of supervisord": (
        WORKER,
        "    manager: supervisor\n    unit: worker\n    environment: {MODE: quiet}\n",
        "supervisor gives its programs an environment of its own",
        "leave environment out",
    ),
    "variables where one way is a unit": (
        WORKER,
        WAYS.replace("WAYS", "{id: unit, unit: worker}, {id: program, argv: [/usr/bin/true]}")
        + "    environment: {MODE: quiet}\n",
        "systemd gives its programs an environment of its own",
        "",
    ),
    "fallback in place of nothing": (
        "    lock: run/worker.lock\n",
        "    lock: run/worker.lock\n    fallback_ports: [9090]\n",
        "in place of which port?",
        "add ports",
    ),
    "fallback that the program does not hear of": (
        '    ports: ["${PORT}"]\n',
        '    ports: ["${PORT}"]\n    fallback_ports: [9090]\n',
        "neither argv nor environment names port 8080",
        'name it there: argv: [program, --port, "8080"]',
    ),
    "fallback that one of the ways does not hear of": (
        WORKER,
        WAYS.replace(
            "WAYS", '{id: a, argv: [/usr/bin/true, "7070"]}, {id: b, argv: [/usr/bin/true]}'
        )
        + "    ports: [7070]\n    fallback_ports: [7071]\n",
        "neither argv nor environment names port 7070",
        "",
    ),
    "fallback that is another's port": (
        "    lock: run/worker.lock\n",
        "    lock: run/worker.lock\n    ports: [7070]\n    fallback_ports: [8080]\n"
        '    environment: {PORT: "7070"}\n',
        "port 8080 is also that of web",
        "ports of its own",
    ),
    "two ways to start and a program beside them": (
        "    lock: run/worker.lock\n",
        "    lock: run/worker.lock\n    start: [{id: a, argv: [/usr/bin/true]}]\n",
        "start: holds every way to start it",
        "",
    ),
    "a way that is two": (
        WORKER,
        WAYS.replace("WAYS", "{id: a, argv: [/usr/bin/true], unit: worker}"),
        "a way to start takes one of: argv, unit, compose",
        "",
    ),
    "a way twice": (
        WORKER,
        WAYS.replace("WAYS", "{id: a, argv: [/usr/bin/true]}, {id: a, unit: worker}"),
        "the id 'a' is used twice",
        "rename",
    ),
    "a program without a lock among the ways": (
        WORKER,
        "    start: [{id: a, argv: [/usr/bin/true]}]\n",
        "manager registry finds its process by a lock",
        "write lock: run/x.lock",
    ),
    # folders
    "absolute path": (
        "path: data/shop.db",
        "path: /data/shop.db",
        "is not a path below the root",
        "relative",
    ),
    "path with ..": ("path: data/shop.db", "path: ../shop.db", "'..' part", ""),
    "path with a home": (
        "path: data/shop.db",
        "path: ~/shop.db",
        "is not a path below the root",
        "",
    ),
    "root with ..": ("root: shop", "root: ../shop", "leaves the folder", ""),
    "same path twice": (
        "path: data/shop.db",
        "path: app",
        "is also the path of component 'code'",
        "",
    ),
    "path in a path": (
        "path: data/shop.db",
        "path: app/shop.db",
        "lies inside component 'code'",
        "exclude",
    ),
    "state in a component": (
        "state: {dir: .rollback}",
        "state: {dir: shop/app/.rollback}",
        "holds the tool's own state",
        "",
    ),
    "component in the state": (
        "state: {dir: .rollback}",
        "state: {dir: shop/data}",
        "lies inside the tool's own state",
        "",
    ),
    # people
    "role that nobody holds": (
        "{id: two, roles: [lead]}",
        "{id: two, roles: [operator]}",
        "nobody holds the role 'lead'",
        "add a member",
    ),
    "quorum out of reach": (
        "authority: {roles: [lead]}",
        "authority: {roles: [lead], count: 3}",
        "3 approvals asked for, but the roles are held by only",
        "add members",
    ),
    "one person for two roles": (
        "- {id: one, roles: [operator]}\n    - {id: two, roles: [lead]}",
        "- {id: one, roles: [operator, lead]}",
        "each by another person",
        "add members",
    ),
    "everybody": (
        "authority: {roles: [lead]}",
        'authority: {roles: ["*"]}',
        "'*' would mean everybody",
        "one by one",
    ),
    "level without authority": (
        "    authority: {roles: [lead]}\n",
        "",
        "authority: is required",
        "operator",
    ),
    "member twice": (
        "{id: two, roles: [lead]}",
        "{id: one, roles: [lead]}",
        "the id 'one' is used twice",
        "",
    ),
    # literals
    "secret by its key": (
        "status: 200, within",
        "status: 200, headers: {X-Token: abcdef123}, within",
        "a secret may not stand here",
        "env:NAME",
    ),
    "secret by its shape": (
        "title: Off",
        "title: ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "holds a secret",
        "env:NAME",
    ),
    "password in an address": (
        "remote: origin",
        'remote: "https://me:hunter2secret@example.org/x"',
        "holds a secret",
        "",
    ),
    "secret as a default": (
        'PORT: {default: "8080"}',
        'PORT: {default: "8080"}\n    DB_PASSWORD: {default: hunter2}',
        "a secret may not stand here",
        "",
    ),
    "command as text": (
        "argv: [/usr/bin/python3, app/web.py]",
        "argv: python3 app/web.py",
        "a command is a list of words",
        "write it as",
    ),
    "shell with -c": (
        "argv: [/usr/bin/python3, app/web.py]",
        'argv: [bash, -c, "rm -rf x"]',
        "a shell with -c",
        "program itself",
    ),
    "shell key": (
        "    lock: run/web.lock\n",
        "    lock: run/web.lock\n    shell: true\n",
        "a shell is never used",
        "argv",
    ),
    "logic in a text": (
        '"{title} went back."',
        '"{title.__class__} went back."',
        "more than a plain field",
        "plain fields",
    ),
    "open brace in a text": ('"{title} went back."', '"{title went back."', "", ""),
}
SPECIAL = {
    "key twice",
    "no level",
    "metric without a number",
    "production before staging",
    "open brace in a text",
}


@pytest.mark.parametrize("name", [name for name in RULES if name not in SPECIAL])
def test_a_broken_rule_is_named_with_its_line_and_what_to_type(
    name: str, base: str, problems: Problems
) -> None:
    old, new, message, hint = RULES[name]
    assert base.count(old) >= 1, old
    broken = base.replace(old, new, 1)
    found = problems(broken)
    matching = [problem for problem in found if message in problem.message]
    assert matching, [problem.message for problem in found]
    assert any(hint in problem.hint for problem in matching), [p.hint for p in matching]
    lines = broken.count("\n") + 1
    for problem in found:
        file, line = problem.where.rsplit(":", 1)
        assert file.endswith("rollback.yaml")
        assert 1 <= int(line) <= lines


def test_there_are_at_least_sixty_rules() -> None:
    assert len(RULES) - len(SPECIAL) >= 60


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("rank: 1", 'rank: "1"', "rank:"),
        ("depends_on: [web]", "depends_on: [wbe]", "depends_on: [wbe]"),
        ("status: 200", "statsu: 200", "statsu"),
        ("check: home}", "check: hme}", "check: hme}"),
    ],
)
def test_the_line_is_the_one_where_it_is_written(
    old: str, new: str, line: str, base: str, problems: Problems
) -> None:
    broken = base.replace(old, new, 1)
    number = next(i for i, text in enumerate(broken.splitlines(), 1) if line in text)
    assert number in {int(problem.where.rsplit(":", 1)[1]) for problem in problems(broken)}


def test_a_key_written_twice_names_both_lines(base: str, problems: Problems) -> None:
    broken = base.replace("root: shop\n", "root: shop\nroot: shop\n")
    (found,) = problems(broken)
    assert "the key 'root' is written twice: lines 3 and 4" in found.message


@pytest.mark.parametrize("second", ["BETA", "Beta"])
def test_ids_that_differ_only_by_case_are_one(second: str, base: str, problems: Problems) -> None:
    broken = base.replace("metrics:\n", f"  {second}: {{layered: {{}}}}\nmetrics:\n", 1)
    assert any("differs from another key only by case" in p.message for p in problems(broken))


def test_keys_that_differ_only_by_unicode_form_are_one(base: str, problems: Problems) -> None:
    broken = base.replace("metrics:\n", '  "cafe\\u0301": {}\n  "caf\\u00e9": {}\nmetrics:\n', 1)
    assert any("case or form" in p.message for p in problems(broken))


def test_without_levels_nothing_could_be_rolled_back(base: str, problems: Problems) -> None:
    start, end = base.index("levels:\n"), base.index("checkpoints:\n")
    found = problems(base[:start] + "levels: {}\n" + base[end:])
    assert any("no level: nothing could be rolled back" in p.message for p in found)


@pytest.mark.requirement("C-39")
def test_a_check_without_a_number_is_refused(base: str, problems: Problems) -> None:
    found = problems(base.replace("name: errors, below: 1%", "name: errors"))
    assert any("number" in p.message or "limit" in p.message.lower() for p in found)


@pytest.mark.requirement("PM-91")
def test_production_is_not_reached_before_staging_was_proved(
    base: str, problems: Problems, declare: Callable[..., System]
) -> None:
    guarded = base.replace("per: 24h}", "per: 24h}\n  staging_first: staging")
    direct = guarded.replace("reload: [web]}", "reload: [web], environment: production}")
    assert any("before anything was proved on staging" in p.message for p in problems(direct))
    proof = "      - verify: {suite: smoke, checks: [home], environment: staging}\n"
    declare(direct.replace('      - flag: {id: "off"', proof + '      - flag: {id: "off"'))


def test_all_problems_are_told_at_once_in_the_order_of_the_file(
    base: str, problems: Problems
) -> None:
    broken = (
        base.replace("rank: 1", "rnak: 1")
        .replace("restore: {id: data, component: data}", "restore: {id: data, component: daat}")
        .replace("owner: operator\n", "owner: opertor\n")
        .replace("priority: high", "priority: hihg")
        .replace('ports: ["${PORT}"]', 'ports: ["${PROT}"]')
    )
    found = problems(broken)
    text = " ".join(problem.message for problem in found)
    for part in ("rnak", "daat", "opertor", "hihg", "PROT"):
        assert part in text
    lines = [int(problem.where.rsplit(":", 1)[1]) for problem in found]
    assert lines == sorted(lines)


def test_a_secret_is_never_repeated_in_the_message(base: str, problems: Problems) -> None:
    secret = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
    found = problems(base.replace("title: Off", f"title: {secret}"))
    assert all(secret not in p.message + p.hint for p in found)


@pytest.mark.parametrize(
    "check",
    [
        "process: {id: fat, services: [web, worker], memory: {below: 1 MiB}}",
        "memory: {id: fat, service: worker, url: 'http://127.0.0.1:1/', slope: {below: 1 KiB}}",
    ],
)
def test_what_a_process_uses_is_not_asked_of_a_service_that_is_known_by_no_lock(
    base: str, declare: Callable[..., System], problems: Problems, check: str
) -> None:
    """It could never pass, so that a gate with it would never open; whether it lives may be asked."""
    text = base.replace(WORKER, "    manager: systemd\n    unit: worker\n")
    text = text.replace("  performance:\n", f"  performance:\n    - {check}\n")
    (found,) = problems(text)
    assert "worker has no lock" in found.message
    assert "ask only whether it lives" in found.hint
    alive = base.replace(WORKER, "    manager: systemd\n    unit: worker\n").replace(
        "  performance:\n", "  performance:\n    - process: {id: lives, services: [worker]}\n")  # fmt: skip
    assert declare(alive).services


def test_a_metric_of_what_a_process_uses_needs_its_lock(base: str, problems: Problems) -> None:
    """It would never be a number."""
    text = base.replace(WORKER, "    manager: systemd\n    unit: worker\n").replace(
        "metrics:\n", "metrics:\n  fat: {unit: bytes, source: {process: {service: worker}}}\n")  # fmt: skip
    (found,) = problems(text)
    assert "metrics.fat.source.process.service: worker has no lock" in found.message


def test_the_database_of_a_component_may_not_lie_behind_a_fallback_port(
    base: str, problems: Problems
) -> None:
    """Its connection does not follow the service."""
    text = base.replace(
        "  audit: {", "  store: {content: postgres, database: {name: s, port: 7070}}\n  audit: {"
    )
    text = text.replace("    lock: run/worker.lock\n", "    lock: run/worker.lock\n    ports: [7070]\n"
                        "    fallback_ports: [7071]\n    environment: {PORT: '7070'}\n")  # fmt: skip
    (found,) = problems(text)
    assert "is the port of service worker" in found.message


@pytest.mark.parametrize("manager", ["compose", "command", "registry"])
def test_managers_that_start_a_program_themselves_take_variables_and_fallback_ports(
    base: str, declare: Callable[..., System], manager: str
) -> None:
    """docker compose takes them for its file, a control program and our own children for themselves."""
    how = {"compose": "    unit: worker\n", "command": "    argv: [bin/worker]\n",
           "registry": "    argv: [bin/worker]\n    lock: run/worker.lock\n"}  # fmt: skip
    more = "    ports: [7070]\n    fallback_ports: [7071]\n    environment: {PORT: '7070'}\n"
    more += "    required_environment: [HOME]\n"
    text = base.replace(WORKER, f"    manager: {manager}\n{how[manager]}{more}")
    assert declare(text).services["worker"].fallback_ports == (7071,)


def test_a_queue_that_has_to_drain_is_asked_with_a_number(
    base: str, problems: Problems, declare: Callable[..., System]
) -> None:
    """The time is one; without time and depth nothing is asked."""
    smoke = "  smoke:\n"
    queue = f"{smoke}    - queue: {{id: waits, directory: data, drains_within: 3s}}\n"
    assert declare(base.replace(smoke, queue, 1))
    nothing = problems(base.replace(smoke, queue.replace("drains_within: 3s", "pattern: x"), 1))
    assert any(
        "write depth: {below: 50} or drains_within: 10s" in p.hint + p.message for p in nothing
    ), nothing


def test_a_scan_of_what_differs_by_nature_is_refused(base: str, problems: Problems) -> None:
    """A volatile component is never as its checkpoint."""
    log = "{log: {file: logs/access.jsonl, share: {field: status, above: 499}, time: at}}"
    text = base.replace(log, "{integrity: {component: data}}", 1)
    text = text.replace("unit: fraction", "unit: count", 1)
    text = text.replace("content: sqlite,", "content: sqlite, volatile: true,", 1)
    (found,) = [p for p in problems(text) if "volatile" in p.message]
    assert (
        found.message
        == "metrics.errors.source.integrity.component: component 'data' is volatile: it differs by nature"
    )


@pytest.mark.parametrize("word", ["stable", "unstable"])
def test_a_moment_that_never_comes_is_refused(word: str, base: str, problems: Problems) -> None:
    """Nothing is watched after a run: nobody would ever be told."""
    text = base.replace("audience: team, ", f"audience: team, on: [{word}], ", 1)
    assert text != base
    assert any(f"{word} never comes" in p.message for p in problems(text)), problems(text)


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_dependents_in_a_level_that_works_on_no_component_are_refused(
    base: str, problems: Problems, declare: Callable[..., System], verb: str
) -> None:
    """It could never be planned; either of what the hint says makes it valid, in an alternative, too."""
    old = "      - restore: {id: data, component: data}\n"
    step = f"service: {{id: turn, {verb}: dependents}}"
    text = base.replace(old, f"{old}      - {step}\n")
    (found,) = problems(text)
    assert f".{verb}: dependents of what? all works on no component" in found.message
    assert f"{verb}: [NAME]" in found.hint
    assert "component: required" in found.hint
    then = f"restore: {{id: data, component: data, on_fail: {{then: [{{{step}}}]}}}}"
    (nested,) = problems(base.replace(old, f"      - {then}\n"))
    assert "dependents of what?" in nested.message
    assert declare(text.replace(f"{verb}: dependents", f"{verb}: [web]"))
    assert declare(
        text.replace("    title: Everything\n", "    title: Everything\n    component: data\n")
    )
