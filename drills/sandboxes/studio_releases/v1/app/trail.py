"""The audit trail and the access log: JSON lines, appended in one write each; and complaints to stderr."""

from __future__ import annotations

import json
import os
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from settings import ROOT

AUDIT = ROOT / "logs" / "audit.jsonl"
ACCESS = ROOT / "logs" / "access.jsonl"
TAIL_BYTES = 4 << 20


def audit(event: str, session: str, **fields: Any) -> None:
    _append(AUDIT, {"event": event, "sessionId": session, **fields})


def audit_missing(event: str, session: str, **fields: Any) -> None:
    """After a crash nobody knows whether the line was written: look before writing it again."""
    wanted = {"event": event, "sessionId": session, **fields}
    for line in _tail(AUDIT):
        if session in line and wanted.items() <= json.loads(line).items():
            return
    audit(event, session, **fields)


def access(method: str, path: str, status: int, ms: float) -> None:
    _append(ACCESS, {"method": method, "path": path, "status": status, "ms": round(ms, 3)})


def complain(what: str) -> None:
    """One write, so that the lines of several processes do not mix."""
    text = f"ERROR {_now()} {what}\n{traceback.format_exc()}"
    os.write(2, text.encode("utf-8", "replace"))


def _append(path: Path, fields: dict[str, Any]) -> None:
    line = json.dumps({"at": _now(), **fields}, separators=(",", ":")) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def _tail(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return [line for line in lines if line.startswith("{") and line.endswith("}")]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
