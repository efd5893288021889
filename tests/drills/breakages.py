"""Sixteen ways to break the studio for real, each seen by exactly one of its sixteen checks.

Every one is a context: inside it the studio is broken, afterwards it is whole again.

Hides: which program, table, file or process is touched.
Never: touches the declaration, a check, or what a check is compared with.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drills.sandboxes import studio_history
from drills.sandboxes.studio import Studio
from rollback.act import service
from rollback.act.site import Site
from rollback.host import net
from rollback.model import dependencies
from rollback.observe.view import View

WITHIN_S = 20.0
LOST_FOR = timedelta(seconds=60)  # an open session counts as lost after 30 s
QUERIES = 410  # the limit is 400 descriptors
PIECES = 60  # the limit is 50


@dataclass(frozen=True)
class Broken:
    """A running studio, and the hands that break it."""

    studio: Studio
    site: Site

    @property
    def root(self) -> Path:
        return self.studio.root

    @property
    def view(self) -> View:
        return View(self.site.system, self.site.host, held=self.site.checkpoints.held())

    def restart(self, *names: str) -> None:
        """The services were stopped and started; they answer as declared."""
        wanted = dependencies.ordered(self.site.system, names)
        for name in reversed(wanted):
            service.stop(self.view, name, within_s=WITHIN_S)
        for name in wanted:
            service.start(self.view, name, within_s=WITHIN_S)

    @contextmanager
    def release(self, name: str, text: str, *restarted: str) -> Iterator[None]:
        """Inside, the services run with another text of one of their files."""
        path = self.root / name
        whole = path.read_text()
        assert text != whole, f"nothing is broken in {name}"
        try:
            path.write_text(text)
            self.restart(*restarted)
            yield
        finally:
            path.write_text(whole)
            self.restart(*restarted)

    def edited(self, name: str, *changes: tuple[str, str]) -> str:
        """The file's text with each change made at the one place where it fits."""
        text = (self.root / name).read_text()
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
            text = text.replace(old, new)
        return text


def _patch(name: str, *changes: tuple[str, str], restart: str = "router") -> Breakage:
    def broken(world: Broken) -> AbstractContextManager[None]:
        return world.release(name, world.edited(name, *changes), restart)

    return broken


def _bad_release(release: str, name: str) -> Breakage:
    """One file of one of the bad releases that the sandbox ships."""

    def broken(world: Broken) -> AbstractContextManager[None]:
        return world.release(name, (studio_history.RELEASES / release / name).read_text(), "router")

    return broken


Breakage = Callable[[Broken], AbstractContextManager[None]]


# -- smoke -----------------------------------------------------------------------------------


@contextmanager
def agents_activate(world: Broken) -> Iterator[None]:
    """Something emptied the file in which an agent says that it is there; it works on unseen."""
    lock = world.root / "run" / "agent-planner.lock"
    said = lock.read_bytes()
    try:
        lock.write_bytes(b"")
        yield
    finally:
        lock.write_bytes(said)


commands_work = _patch("app/router.py", ('{"output": text}', '{"output": text[::-1]}'))


@contextmanager
def state_accessible(world: Broken) -> Iterator[None]:
    """The page of the database that holds the table `meta` is overwritten with noise."""
    path = world.root / "data" / "state.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("begin exclusive")  # nobody else is in it while the page is damaged
        (size,) = db.execute("pragma page_size").fetchone()
        (page,) = db.execute("select rootpage from sqlite_master where name = 'meta'").fetchone()
        whole = _overwrite(path, (page - 1) * size, b"\xa5" * size)
    try:
        yield
    finally:
        _overwrite(path, (page - 1) * size, whole)


def _overwrite(path: Path, offset: int, data: bytes) -> bytes:
    """The bytes stand there; what stood there before."""
    with path.open("r+b") as file:
        file.seek(offset)
        before = file.read(len(data))
        file.seek(offset)
        file.write(data)
    return before


@contextmanager
def no_errors(world: Broken) -> Iterator[None]:
    """For a moment the state was gone; the one request that needed it left an error in the log."""
    state, log = world.root / "data" / "state.db", world.root / "logs" / "router.out"
    length = log.stat().st_size
    aside = state.with_name("state.db.aside")
    state.rename(aside)
    try:
        answer = net.request(f"{world.studio.router_url}/sessions/any", timeout_s=5.0)
    finally:
        aside.rename(state)
    assert answer.status == 500, answer.status
    try:
        yield
    finally:
        with log.open("r+b") as file:
            file.truncate(length)


# -- functional ------------------------------------------------------------------------------

# Nobody is found for a session of one agent: the core workflow is refused.
workflow = _patch(
    "app/router.py", ("agents = decided[:1]", 'raise Refused(503, "no agent is free")')
)
# A limit that somebody lowered: the third agent never gets its turn.
handoffs = _patch("config/config.yaml", ("maxAgents: 3", "maxAgents: 2"))
# The bad release in which the builder remembers what it built for others.
data_flow = _bad_release("context-leak", "app/work.py")
# Every round is made, but the second one forgets what the first handed to it.
broken_flow = _patch("app/work.py", ("from: {before}", "from: memory"))
# Where no word decides, the dice do.
decisions = _patch(
    "app/decide.py",
    ("from settings import AGENTS", "import random\n\nfrom settings import AGENTS"),
    ("AGENTS[sum(map(ord, task)) % len(AGENTS)]", "random.choice(AGENTS)"),
)


# -- integration -----------------------------------------------------------------------------


@contextmanager
def knowledge_connected(world: Broken) -> Iterator[None]:
    """An import that found nothing: a well-formed file without a single finding."""
    findings = world.root / "knowledge" / "findings.json"
    whole = findings.read_bytes()
    try:
        findings.write_text('{"findings": []}\n')
        yield
    finally:
        findings.write_bytes(whole)


apis_respond = _patch(
    "app/router.py", ('            "version": VERSION,\n            "ready"', '            "ready"')
)
messages_route = _patch(
    "app/router.py", ("handoff.put_message(str(to),", "handoff.put_message(settings.AGENTS[0],")
)


@contextmanager
def events_process(world: Broken) -> Iterator[None]:
    """A session that began a minute ago lost its piece of work: nobody will ever end it.

    The remedy is the studio's own: a router that starts puts what is open into the queue again.
    """
    lost = uuid.uuid4().hex[:12]  # the same breakage comes twice, quickly and in its complete form
    began = datetime.now(UTC) - LOST_FOR
    with closing(sqlite3.connect(world.root / "data" / "state.db")) as db, db:
        db.execute(
            "insert into sessions (id, task, mode, agents, state, created_ms)"
            " values (?, 'lost on the way', 'single', '[\"builder\"]', 'running', ?)",
            (lost, int(began.timestamp() * 1000)),
        )
    at = began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"at": at, "event": "SESSION_START", "sessionId": lost, "mode": "single"}
    trail = world.root / "logs" / "audit.jsonl"
    with trail.open("a") as file:
        file.write(json.dumps(event, separators=(",", ":")) + "\n")
    try:
        yield
    finally:
        world.restart("router")
        ended = f'"event":"SESSION_END","sessionId":"{lost}"'
        assert world.site.host.clock.poll(
            lambda: ended in trail.read_text(), within_s=WITHIN_S, every_s=0.05
        ), "the lost session was not taken up again"


# -- performance -----------------------------------------------------------------------------

# Decisions are taken one at a time; who finds another one there comes back a little later.
response_times = _patch(
    "app/decide.py",
    (
        "from settings import AGENTS",
        "import threading\nimport time\n\nfrom settings import AGENTS\n\nONE = threading.Lock()",
    ),
    (
        '"""The route, and the agents on it. What is urgent goes straight to one agent."""\n',
        "while not ONE.acquire(blocking=False):\n        time.sleep(0.4)\n"
        "    time.sleep(0.003)\n    ONE.release()\n",
    ),
)


@contextmanager
def resources(world: Broken) -> Iterator[None]:
    """The knowledge server opens its file at every question and never closes it."""
    text = world.edited(
        "app/knowledge.py",
        ("RESULTS_MAX = 3", "RESULTS_MAX = 3\nopened: list[Any] = []"),
        (
            "    own = json.loads(now.knowledge_file.read_bytes())",
            '    opened.append(now.knowledge_file.open("rb"))\n'
            "    own = json.loads(opened[-1].read())",
        ),
    )
    with world.release("app/knowledge.py", text, "knowledge"):
        for _ in range(QUERIES):
            asked = net.request(f"{world.studio.knowledge_url}/query?q=patterns", timeout_s=5.0)
            assert asked.status == 200, asked.status
        yield


# The bad release that keeps every decision with its whole page.
no_leak = _bad_release("leak", "app/decide.py")


@contextmanager
def queue_drains(world: Broken) -> Iterator[None]:
    """Work waits for an agent that is not in the team any more: nobody takes it."""
    folder = world.root / "data" / "queue" / "auditor"
    folder.mkdir()
    try:
        for number in range(PIECES):
            (folder / f"{number}-left-behind.json").write_text('{"message": "left behind"}')
        yield
    finally:
        shutil.rmtree(folder)


BREAKAGES: Mapping[str, Breakage] = {
    "agents-activate": agents_activate,
    "commands-work": commands_work,
    "state-accessible": state_accessible,
    "no-errors": no_errors,
    "workflow": workflow,
    "handoffs": handoffs,
    "data-flow": data_flow,
    "decisions": decisions,
    "knowledge-connected": knowledge_connected,
    "apis-respond": apis_respond,
    "messages-route": messages_route,
    "events-process": events_process,
    "response-times": response_times,
    "resources": resources,
    "no-leak": no_leak,
    "queue-drains": queue_drains,
}
