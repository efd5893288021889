"""Webhooks: who may send one, what becomes of it, once each; and a real Alertmanager that sends one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rollback.act import alerts
from rollback.act.told import events_of
from rollback.model.errors import UsageError
from rollback.watch.inbox import inbox, token
from tests.cli.program import rollback
from tests.observe.world import free_port
from tests.systems import environment
from tests.watch.places import Place, place, runs, told
from tests.watch.test_loops import UNGATED

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CONFIG = """route: {{receiver: rollback, group_wait: 100ms, group_interval: 1s, repeat_interval: 1s}}
receivers:
  - name: rollback
    webhook_configs:
      - url: http://127.0.0.1:{port}/alertmanager
        http_config: {{authorization: {{credentials_file: {token}}}}}
"""


def alert(name: str = "Veto", **more: Any) -> dict[str, Any]:
    """One alert, as both programs send it."""
    labels = {"alertname": name, "reason": "no", **more.pop("labels", {})}
    return {"status": "firing", "labels": labels, "annotations": {"number": "3"},
            "startsAt": "2026-11-20T12:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": "a1b2", **more}  # fmt: skip


def body(*sent: dict[str, Any], **more: Any) -> bytes:
    """A webhook of Alertmanager."""
    return json.dumps({
        "version": "4", "groupKey": '{}:{alertname="Veto"}', "status": "firing",
        "receiver": "rollback", "alerts": list(sent), **more,
    }).encode()  # fmt: skip


GRAFANA: dict[str, Any] = {
    "orgId": 1,
    "title": "[FIRING:1] Veto",
    "state": "alerting",
    "message": "…",
}


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """A shop that goes back without a gate."""
    return place(tmp_path, edits=UNGATED)


@contextmanager
def posting(here: Place) -> Iterator[Callable[..., tuple[int, Any]]]:
    """An inbox, and a way to post to it: status and answer."""
    with here.shop.site() as site, inbox(site, 0, heard=lambda: None) as port:
        right = token(site)

        def post(data: bytes, *, path: str = "/alertmanager", bearer: str | None = None) -> Any:
            headers = {"Authorization": f"Bearer {right if bearer is None else bearer}"}
            asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
            try:
                with urllib.request.urlopen(asked, timeout=10) as found:
                    return found.status, json.load(found)
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.load(error)
            except urllib.error.URLError as error:
                # too large to be read: who still writes may find the door shut before the answer
                if isinstance(error.reason, BrokenPipeError | ConnectionResetError):
                    return 413, None
                raise

        yield post


@pytest.mark.parametrize("path", ["/alertmanager", "/grafana"])
def test_an_alert_is_told_once_for_each_of_its_episodes(here: Place, path: str) -> None:
    """Repeated it is known, begun anew it is another one, resolved it is nothing."""
    more = GRAFANA if path == "/grafana" else {}
    with posting(here) as post:
        assert post(body(alert(), **more), path=path) == (
            200, {"told": 1, "before": 0, "resolved": 0, "unheard": []},
        )  # fmt: skip
        assert post(body(alert(), **more), path=path)[1]["before"] == 1
        assert post(body(alert(status="resolved"), **more), path=path)[1]["resolved"] == 1
        later = alert(startsAt="2026-11-20T13:00:00Z")
        assert post(body(later, alert(fingerprint="c3"), **more), path=path)[1]["told"] == 2
        assert post(body(alert(), groupKey="another", **more), path=path)[1]["told"] == 1
    with here.shop.site() as site:
        events = events_of(site.journal.events())
        assert [one.kind for one in events] == ["veto"] * 4
        assert events[0].fields == {"reason": "no", "number": 3}
        assert told(site, "event.told")[0].data["by"] == path.strip("/")


def test_an_alert_leads_to_a_run_at_the_next_tick_and_resolved_to_none(here: Place) -> None:
    """The webhook itself begins nothing."""
    with posting(here) as post:
        post(body(alert(status="resolved")))
        with here.agent() as agent:
            here.tick(agent)
            assert runs(agent.site) == []
            post(body(alert()))
            assert runs(agent.site) == []
            here.tick(agent)
            assert [run.trigger for run in runs(agent.site)] == ["vetoed"]


def test_what_nobody_declared_is_said_once(here: Place) -> None:
    """It is answered, so that it is not sent for ever; the journal says what to declare."""
    with posting(here) as post:
        for _ in range(3):
            status, answer = post(body(alert("Other"), alert(labels={"rollback_event": "nothing"})))
        assert (status, answer["unheard"]) == (200, ["Other", "Veto"])
        assert post(body(alert("Other", labels={"rollback_event": "veto"})))[1]["told"] == 1
    with here.shop.site() as site:
        assert len(told(site, "alert.unheard")) == 2


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400), (b"{}", 400), (b"[]", 400), (b"\xff", 400), (b'{"alerts": 3}', 400),
        (b'{"alerts": [3]}', 400), (b'{"alerts": [{"labels": []}]}', 400), (b"[" * 100_000, 400),
        (b'{"alerts": [{"labels": {}, "annotations": 3}]}', 400), (b" " * (2**20 + 1), 413),
        (b'{"alerts": []}', 200),
    ],
)  # fmt: skip
def test_what_is_no_webhook_tells_nothing(here: Place, data: bytes, status: int) -> None:
    """One answer each, and the next one is taken in as if nothing had been."""
    with posting(here) as post:
        assert post(data)[0] == status
        assert post(body(alert()))[1]["told"] == 1


@pytest.mark.parametrize("bearer", ["", "wrong", "Bearer", "ä"])
def test_without_the_token_nothing_is_taken_in(here: Place, bearer: str) -> None:
    """Nor anywhere else than at its paths."""
    with posting(here) as post:
        assert (
            post(body(alert()), bearer=bearer.encode("latin-1", "replace").decode("latin-1"))[0]
            == 401
        )
        assert post(body(alert()), path="/")[0] == 404
    with here.shop.site() as site:
        assert told(site, "event.told") == []
        assert (site.state.path / "watch" / "token").stat().st_mode & 0o077 == 0


def test_decide_takes_alerts_from_a_file_or_standard_input(here: Place) -> None:
    """They are events before it is decided; wrong ones are one line."""
    (here.shop.folder / "alerts.json").write_bytes(body(alert(), alert("Other")))
    ended = rollback(here.shop.folder, "--json", "decide", "--alertmanager", "alerts.json")
    assert (ended.status, ended.json["trigger"]) == (0, "vetoed")
    assert 'no event is declared for alert Other; try: source: "alert:Other"' in ended.err
    (here.shop.folder / "wrong.json").write_text("{}")
    ended = rollback(here.shop.folder, "decide", "--alertmanager", "wrong.json")
    assert (ended.status, "no list of" in ended.err) == (2, True)
    with pytest.raises(UsageError):
        alerts.read(b"nonsense")


@pytest.mark.parametrize("typed", ["x", "0.0.0.0:9099", "99999", "-1", "example.org:80"])
def test_only_a_port_of_this_machine_is_listened_at(here: Place, typed: str) -> None:
    """One clear line, and status 2."""
    ended = rollback(here.shop.folder, "monitor", f"--listen={typed}")
    assert (ended.status, "write --listen 9099" in ended.err) == (2, True)


@pytest.mark.skipif(
    PROGRAM is None, reason="no Alertmanager: apt-get install prometheus-alertmanager"
)
def test_a_real_alertmanager_leads_to_a_run(here: Place, tmp_path: Path) -> None:
    """It sends the alert again and again; one run is begun by the agent that listens."""
    port, own = free_port(), free_port()
    with here.shop.site() as site:
        token(site)
        secret = site.state.path / "watch" / "token"
    (tmp_path / "alertmanager.yml").write_text(CONFIG.format(port=port, token=secret))
    argv = [str(PROGRAM), f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/am",
            f"--web.listen-address=127.0.0.1:{own}", "--cluster.listen-address="]  # fmt: skip
    ours = [
        sys.executable,
        "-c",
        "from rollback.cli import main; main()",
        "monitor",
        "--listen",
        str(port),
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with (
        subprocess.Popen(ours, cwd=here.shop.folder, env=environment(), **quiet) as agent,  # type: ignore[call-overload]
        subprocess.Popen(argv, **quiet) as server,  # type: ignore[call-overload]
    ):
        try:
            sent = json.dumps([{"labels": {"alertname": "Veto", "reason": "real"}}]).encode()
            until(lambda: posted(f"http://127.0.0.1:{own}/api/v2/alerts", sent))
            with here.shop.site() as site:
                until(lambda: any(run.over for run in runs(site)))
                until(lambda: len(told(site, "event.told")) == 1)
                assert [run.trigger for run in runs(site)] == ["vetoed"]
        finally:
            server.terminate()
            agent.terminate()
    assert agent.returncode == 0


def posted(url: str, data: bytes) -> bool:
    """True when the server took it."""
    try:
        asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=2) as found:
            return bool(found.status == 200)
    except OSError:
        return False


def until(true: Callable[[], bool], within_s: float = 60.0) -> None:
    """It becomes true in time."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.1)
