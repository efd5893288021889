"""The Allure report of a run: what stands beside its tests, the run itself, and the page for a browser.

Hides: the files that Allure reads, where the pinned reporter lies, and how it is called.
Never: decides anything: a report describes. Never fetches what is not pinned by hash.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollback.host import Host
from rollback.host.clock import parse_iso
from rollback.host.processes import base_environment, run
from rollback.model.errors import CommandFailed, HostError
from rollback.model.event import canonical
from rollback.model.finding import Json
from rollback.model.quantity import spoken
from rollback.model.system import System
from rollback.prove.trend import Dated, Trend

CATEGORIES = Path(__file__).parent / "categories.json"
REPORTS = Path(__file__).resolve().parents[2] / "reports"
INSTALL_S_MAX, GENERATE_S_MAX = 300.0, 120.0
PAGE_BYTES_MAX = 256 * 2**20
EARLIER_MAX = 10  # runs without a page that are put into the history with it
GROUPS = "feature,story"  # of one system, one run
_STATUS = {"ended": "passed", "failed": "failed", "began": "broken", "doubted": "broken"}
_ELSEWHERE = "googletagmanager"  # a page that opens without a network asks nobody


def describe(folder: Path, host: Host, system: System, facts: Mapping[str, str]) -> None:
    """`environment.properties`, `executor.json` and `categories.json` stand in the folder of results."""
    identity = system.system
    known = {
        "System": f"{identity.title} ({identity.id})", "Version": identity.version,
        "Declaration": system.digest[:16], "Python": platform.python_version(),
        "Machine": f"{platform.system()} {platform.release()}", **facts,
    }  # fmt: skip
    lines = [f"{_plain(name)}={_plain(value)}" for name, value in known.items() if value]
    run = facts.get("Run", "")
    executor: dict[str, Json] = {"name": "rollback", "type": "rollback", "reportName": identity.title,
                "buildName": run or f"{identity.id} {identity.version}"}  # fmt: skip
    if number := re.fullmatch(r"r([0-9]{1,9})", run):
        report = (system.state_path / "runs" / run / "report.md").absolute()
        executor |= {"buildOrder": int(number[1]), "buildUrl": report.as_uri()}
    with host.tree(str(folder)) as tree:
        tree.write("environment.properties", "\n".join(lines).encode() + b"\n", sync=False)
        tree.write("executor.json", canonical(executor), sync=False)
        tree.write("categories.json", CATEGORIES.read_bytes(), sync=False)


def _plain(text: str) -> str:
    """One line of a properties file, in ASCII, with nothing left to interpret."""
    return text.replace("\\", "/").replace("=", ":").replace("\n", " ").encode(
        "ascii", "backslashreplace").decode()  # fmt: skip


# -- the run itself ----------------------------------------------------------------------------


def tell_run(folder: Path, host: Host, title: str, body: Mapping[str, Any], text: str) -> None:
    """The run stands among the results as one more test, with its steps; again: it is replaced.

    `body` is the report of the run, `text` the same as Markdown.
    """
    run_id = str(body["run_id"])
    moments = [int(parse_iso(one["at"]).timestamp() * 1000) for one in body["timeline"]]
    start, stop = (min(moments), max(moments)) if moments else (0, 0)
    reason = str(body["stopped_for"] or body["gate"].get("reason", ""))
    name = f"{body['title']} ({run_id})"
    identity = hashlib.sha256(f"{body['system']}\0{body['level']}".encode()).hexdigest()[:32]
    labels = {"epic": title, "feature": "the rollback", "story": str(body["level"]),
              "severity": "blocker", "framework": "rollback"}  # fmt: skip
    result = {
        "uuid": f"rollback-{run_id}", "historyId": identity, "testCaseId": identity, "name": name,
        "fullName": f"{body['system']}: level {body['level']}", "start": start, "stop": stop,
        "status": "passed" if body["state"] == "COMPLETE" else "failed",
        "statusDetails": {"message": f"{body['state']}: {reason}"} if reason else {},
        "description": f"Run **{run_id}** is **{body['state']}**. Asked for by "
                       f"{body['requester']}: {body['reason'] or 'no reason given'}.",
        "labels": [{"name": key, "value": value} for key, value in labels.items()],
        "steps": [_phases(body, start), *_steps(body)],
        "attachments": [
            {"name": "report", "source": f"rollback-{run_id}-report.md", "type": "text/markdown"},
            {"name": "timeline", "source": f"rollback-{run_id}-timeline.csv", "type": "text/csv"},
        ],
    }  # fmt: skip
    rows = [(one["at"], one["event"], one["said"]) for one in body["timeline"]]
    with host.tree(str(folder)) as tree:
        tree.write(f"rollback-{run_id}-report.md", text.encode(), sync=False)
        tree.write(f"rollback-{run_id}-timeline.csv", _csv(rows), sync=False)
        tree.write(f"rollback-{run_id}-result.json", json.dumps(result).encode(), sync=False)


def _phases(body: Mapping[str, Any], start: int) -> dict[str, Any]:
    """Where the time went, one phase after the other."""
    told, at = [], start
    for phase in body["phases"]:
        end = at + round(phase["took_s"] * 1000)
        told.append({"name": phase["phase"], "status": "passed", "start": at, "stop": end})
        at = end
    name = "Where the time went"
    return {"name": name, "status": "passed", "start": start, "stop": at, "steps": told}


def _steps(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was done, in order; `says` is what the plan said of it."""
    began: dict[str, str] = {}
    for one in body["timeline"]:
        if one["event"] == "step.began":
            began.setdefault(str(one["said"]), one["at"])
    told = []
    for step in body["steps"]:
        took_ms = round((step["took_s"] or 0.0) * 1000)
        at = began.get(str(step["id"]))
        start = int(parse_iso(at).timestamp() * 1000) if at else 0
        evidence = {**step["evidence"], **({"error": step["error"]} if step["error"] else {})}
        told.append({
            "name": f"{step['index']}. {step['id']} ({step['kind']}): {'; '.join(step['says'])}"[:300],
            "status": _STATUS.get(step["status"], "skipped"),
            "statusDetails": {"message": step["error"]} if step["error"] else {},
            "parameters": [{"name": key, "value": str(value)} for key, value in evidence.items()],
            "start": start, "stop": start + took_ms,
        })  # fmt: skip
    return told


def _csv(rows: list[tuple[str, str, str]]) -> bytes:
    import csv
    import io

    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("at", "event", "said"), *rows])
    return out.getvalue().encode()


# -- the page ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """What came of it: the file, or what was missing."""

    path: Path | None
    missing: str = ""


def page(
    run: Dated, host: Host, out: Path, *, system: str, earlier: Sequence[Dated] = (),
    reports: Path = REPORTS, say: Callable[[str], None] = lambda _line: None,
) -> Page:  # fmt: skip
    """One HTML file stands at `out` that shows a run's results without a server and a network.

    Trends show the runs of the system before it, of which some may be known by their results alone
    (`earlier`). Where there can be no page, what is missing is said; nothing is raised, and the
    results stay. `say` hears why it takes long, before it does.
    """
    if not (reports / "package-lock.json").is_file():
        return Page(None, "the pinned Allure lies in reports/ of a checkout, and this is none")
    node = shutil.which("node")
    if node is None:
        return Page(None, "Node.js 20 or newer is not installed here")
    trend = Trend(reports, host, system)
    try:
        told = _install(reports, host, say)
        if not told:
            _catch_up(trend, earlier, host, reports, node)
            told = _generate(run, trend, host, out, reports, node)
    except CommandFailed as error:
        told = str(error)
    return Page(None, told) if told else Page(out)


def _install(reports: Path, host: Host, say: Callable[[str], None]) -> str:
    """The reporter is there as the lock file pins it; "" or why it is not."""
    if (reports / "node_modules" / ".bin" / "allure").exists():
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return "npm, which installs the pinned Allure, is not installed here"
    say(
        f"Allure is installed into {reports / 'node_modules'}, once; on a slow network that takes minutes"
    )
    argv = [npm, "ci", "--prefix", str(reports), "--no-audit", "--no-fund"]
    return _run(argv, host, reports, INSTALL_S_MAX, "npm ci in reports/")


def _catch_up(trend: Trend, earlier: Sequence[Dated], host: Host, reports: Path, node: str) -> None:
    """Runs of which nobody has made a page so far are in the history, too: the last few of them."""
    for one in earlier[-EARLIER_MAX:]:
        if trend.holds(one) or not any(one.results.glob("*-result.json")):
            continue
        with host.scratch() as scratch:
            line = Path(scratch, "history.jsonl")
            argv = [node, str(_program(reports)), "history", str(one.results), "--history-path",
                    str(line), "--report-name", one.name]  # fmt: skip
            if _run(argv, host, Path(scratch), GENERATE_S_MAX, "allure") or not line.is_file():
                return  # the page will say what is wrong
            with suppress(ValueError):
                trend.keep(one, line.read_bytes())


def _program(reports: Path) -> Path:
    return reports / "node_modules" / "allure" / "cli.js"


def _generate(run: Dated, trend: Trend, host: Host, out: Path, reports: Path, node: str) -> str:
    aside = f".{out.name}.{host.token(4)}"
    made = out.parent / aside
    with host.scratch() as scratch:
        history, config = Path(scratch, "history.jsonl"), Path(scratch, "allurerc.json")
        before = trend.before(run)
        with host.tree(scratch) as tree:
            tree.write(history.name, before, sync=False)
            categories = {"categories": json.loads(CATEGORIES.read_bytes())}
            tree.write(config.name, canonical(categories), sync=False)
        argv = [
            node, str(_program(reports)), "awesome", str(run.results), "--config", str(config),
            "--single-file", "--output", str(made), "--report-name", run.name,
            "--group-by", GROUPS, "--report-language", "en", "--history-path", str(history),
            "--cwd", str(out.parent),
        ]  # fmt: skip
        try:
            if told := _run(argv, host, out.parent, GENERATE_S_MAX, "allure"):
                return told
            with host.tree(str(out.parent)) as tree:
                if tree.stat(f"{aside}/index.html") is None:
                    return "allure wrote no page"
                whole = tree.read(f"{aside}/index.html", limit_bytes=PAGE_BYTES_MAX)
                tree.write(out.name, without_calls(whole), sync=False)
            with suppress(ValueError, OSError):
                trend.keep(run, history.read_bytes()[len(before) :])
        finally:
            with suppress(OSError, HostError), host.tree(str(out.parent)) as tree:
                tree.remove(aside)
    return ""


def without_calls(page: bytes) -> bytes:
    """The page without the lines that would tell somebody that it was opened."""
    lines = page.split(b"\n")
    return b"\n".join(line for line in lines if _ELSEWHERE.encode() not in line)


def _run(argv: list[str], host: Host, cwd: Path, timeout_s: float, what: str) -> str:
    environment = base_environment({"NO_COLOR": "1", "CI": "1"})
    ended = run(argv, cwd=str(cwd), timeout_s=timeout_s, environment=environment, tap=host.tap)
    if ended.timed_out:
        return f"{what} did not end within {spoken(timeout_s)}"
    if ended.status != 0:
        said = (ended.stderr or ended.stdout).decode("utf-8", "replace").strip().splitlines()
        return f"{what} ended with status {ended.status}: {' '.join(said[-3:])[:300]}"
    return ""
