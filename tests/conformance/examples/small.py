"""The small system that our own steps are tried on: two services that really run, flags, a repository.

Hides: the files and commits it is made of.
Never: is more than a step needs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pygit2

from rollback.conformance.world import World, free_ports, opened

APP = """
import http.server, json, os, signal, sys, threading, time
port, root = int(sys.argv[1]), os.getcwd()
seen = {"hups": 0, "open": int(os.environ.get("OPEN_WORK", "0")), "draining": False}
def hup(*_):
    seen["hups"] += 1
signal.signal(signal.SIGHUP, hup)
if os.environ.get("STUBBORN"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
def party():
    for name, mark in ((".env", "PARTY="), ("config/config.yaml", "  enabled: ")):
        try:
            lines = open(os.path.join(root, name)).read().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(mark):
                return line[len(mark):].startswith("true")
    return True
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/drain" and seen["open"]:
            seen["open"] -= 1
        if self.path in ("/drain", "/resume"):
            seen["draining"] = self.path == "/drain"
        body = {"ready": True, "value": party(), **seen}
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    do_POST = do_GET
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

DECLARATION = """
schema: 1
system: {id: small, title: Small, version: 1.0.0, date: 2026-11-20, next_review: 2027-05-20}
root: tree
state: {dir: .rollback}
repository: {path: ., branch: main, protected: [main]}
places:
  archives: {path: FOLDER/archives, may: [read, write, archive], limit: 1MiB}
  scratch: {path: FOLDER/scratch, may: [read, clear]}
components:
  items: {path: items, content: files, initial: empty}
  done: {path: done, content: files}
  config: {path: config, content: files}
  app: {path: app, content: git}
  audit: {path: logs/audit.jsonl, content: append-only}
services:
  base:
    manager: registry
    argv: ["PYTHON", -I, -u, app/server.py, "PORT2"]
    lock: run/base.lock
    log: logs/base.out
    ports: [PORT2]
    ready: {http: {url: "http://127.0.0.1:PORT2/health", pointer: {/ready: true}, within: 2s}}
    stop: {signal: TERM, grace: 500ms}
    components: [app]
  web:
    manager: registry
    argv: ["PYTHON", -I, -u, app/server.py, "PORT1"]
    lock: run/web.lock
    log: logs/web.out
    ports: [PORT1]
    fallback_ports: [PORT3]
    required_environment: [MODE]
    environment: {MODE: test}
    ready: {http: {url: "http://127.0.0.1:PORT1/health", pointer: {/ready: true}, within: 2s}}
    stop: {signal: TERM, grace: 500ms}
    reload: {signal: HUP}
    drain: {http: {url: "http://127.0.0.1:PORT1/drain", pointer: {/open: 0}, within: 2s}}
    depends_on: [base]
    components: [app, config]
flags:
  party:
    layered:
      env_file: {path: .env, key: PARTY}
      yaml: {path: config/config.yaml, key: party.enabled}
      default: true
    reader: {http: {url: "http://127.0.0.1:PORT1/flag", pointer: /value}}
  remote:
    flagd: {path: config/flags.json, key: remote}
metrics:
  size: {unit: count, source: {command: {argv: [/bin/echo, "3"], number: stdout}}}
people: {owner: op, roles: {op: {title: Operator}}, members: [{id: someone, roles: [op]}]}
verification:
  smoke:
    - config: {id: config-valid, file: config/config.yaml, keys: [party.enabled]}
    - config: {id: config-wrong, file: config/config.yaml, keys: [not.there], levels: [other]}
monitor: {tightening: {interval: 0.5, lasts: 1h}}
events: {told: {title: Something, fields: {unheard: text}}}
notify:
  channels: {box: {file: {path: outbox/box.jsonl}}}
  audiences: {users: [box]}
  messages:
    hello: {audience: users, text: "{title}: level {level} {unheard}"}
levels:
  only:
    rank: 1
    title: Only
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [op], quorum: any, alone: true}
    steps:
      - flag: {flag: party, set: false, within: 3s}
  other:
    rank: 2
    title: Other
    budgets: {mitigated: 1m, complete: 2m}
    data_loss: none
    authority: {roles: [op], quorum: any, alone: true}
    steps: [{wait: {for: 1s}}]
"""

CONFIG = """# who may join
party:
  enabled: true   # switched by the operator
  maxAgents: 3
other:
  enabled: true
"""


def build(folder: Path) -> World:
    """The files, the repository with three commits, and the opened declaration."""
    one, two, three = free_ports(3)
    text = DECLARATION.replace("PYTHON", sys.executable).replace("FOLDER", str(folder))
    for word, port in (("PORT1", one), ("PORT2", two), ("PORT3", three)):
        text = text.replace(word, str(port))
    root = folder / "tree"
    for name in ("config", "app", "run", "logs"):
        (root / name).mkdir(parents=True)
    (root / "app" / "server.py").write_text(APP)
    (root / "config" / "config.yaml").write_text(CONFIG)
    (root / "config" / "flags.json").write_text(
        '{"flags": {"remote": {"state": "ENABLED", "variants": {"on": true, "off": false},'
        ' "defaultVariant": "on"}}}\n'
    )
    (root / "config" / "notes.md").write_text("keep\nParty Mode is new\nkeep too\n")
    (root / "logs" / "audit.jsonl").write_text('{"event": "one"}\n')
    (root / ".gitignore").write_text("run/\nlogs/\n.env\n")
    repo = pygit2.init_repository(str(root), initial_head="main")
    _commit(repo, "release 1.0")
    (root / "app" / "new.py").write_text("print('new')\n")
    _commit(repo, "release 2.0: party")
    (root / "app" / "else.py").write_text("print('unrelated')\n")
    _commit(repo, "an unrelated change")
    repo.free()
    return opened(folder, (one, two, three), text)


def _commit(repo: pygit2.Repository, message: str) -> None:
    repo.index.add_all()
    repo.index.write()
    who = pygit2.Signature("op", "op@localhost", 1_700_000_000, 0)
    parents = [] if repo.head_is_unborn else [repo.head.target]
    repo.create_commit("refs/heads/main", who, who, message, repo.index.write_tree(), parents)
