"""Managers of services as other programs tell it: recordings of systemctl, supervisorctl and docker.

Each keeps what it is told in a folder: `active` is there while the service runs, `calls` are the words
of every call, `environment` what the last one was given. A `state` file says what is answered instead.

Hides: how such a program talks.
Never: starts anything.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

_HEAD = """#!{python} -IS
import json, os, pathlib, sys
folder = pathlib.Path("{folder}")
state = folder / "active"
said = folder / "state"
said = said.read_text().strip() if said.exists() else ""
with open(folder / "calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
(folder / "environment").write_text(json.dumps(dict(os.environ)))
def start():
    if not (folder / "broken").exists():
        state.touch()
"""
SYSTEMCTL = (
    _HEAD
    + """
verb, unit = sys.argv[1], sys.argv[-1]
if (folder / "lost").exists():
    print("Failed to connect to bus: Connection refused"); sys.exit(1)
if verb == "show":
    known = unit == "web.service"
    there = known and not (folder / "gone").exists()
    print("LoadState=" + ("loaded" if there else "not-found"))
    print("ActiveState=" + (said or ("active" if known and state.exists() else "inactive")))
    print("SubState=" + {{"activating": "auto-restart", "active": "exited"}}.get(said, "dead"))
    print("MainPID=7\\nInvocationID=" + ("abc" if state.exists() else ""))
elif unit != "web.service":
    sys.exit(5)
elif verb == "start":
    start()
elif verb == "stop":
    state.unlink()
elif verb != "reload":
    sys.exit(1)
"""
)
SUPERVISORCTL = (
    _HEAD
    + """
verb, unit = sys.argv[1], sys.argv[-1]
if (folder / "lost").exists():
    print("unix:///var/run/supervisor.sock no such file"); sys.exit(4)
if unit != "web.service":
    print(unit + ": ERROR (no such process)"); sys.exit(4)
if verb == "status" and said:
    print(unit + "   " + said + "   Exited too quickly (process log may have details)"); sys.exit(3)
if verb == "status":
    print(unit + ("   RUNNING   pid 7, uptime 0:01:02" if state.exists() else "   STOPPED   Nov 20"))
    sys.exit(0 if state.exists() else 3)
start() if verb == "start" else state.unlink() if verb == "stop" else None
"""
)
DOCKER = (
    _HEAD
    + """
rest = sys.argv[4:]
if (folder / "lost").exists():
    print("permission denied while trying to connect to the Docker daemon socket"); sys.exit(1)
if rest[:2] == ["config", "--services"]:
    print("other\\nweb.service")
elif rest[0] == "ps":
    print("c0ffee" if state.exists() and not said else "")
elif rest[0] == "up":
    start()
elif rest[0] == "stop":
    state.unlink()
elif rest[0] != "kill":
    sys.exit(1)
"""
)
CONTROL = (
    _HEAD
    + """
verb = sys.argv[1]
if verb == "status":
    sys.exit(int((folder / "lost").exists()) or (0 if state.exists() else 3))
start() if verb == "start" else state.unlink() if verb == "stop" else None
"""
)
MANAGERS = {"systemd": ("systemctl", SYSTEMCTL), "supervisor": ("supervisorctl", SUPERVISORCTL),
            "compose": ("docker", DOCKER), "command": ("control", CONTROL)}  # fmt: skip


def installed(manager: str, folder: Path, setenv: Callable[[str, str], object]) -> Path:
    """The recording of this manager's program, which is found before any other; its folder."""
    name, text = MANAGERS[manager]
    home = folder / manager
    home.mkdir(parents=True)
    program = home / name
    program.write_text(text.format(python=sys.executable, folder=home))
    program.chmod(0o755)
    setenv("PATH", f"{home}:{os.environ['PATH']}")
    return home


def how(manager: str, home: Path) -> dict[str, object]:
    """What a declaration of `web` says of its manager."""
    if manager == "command":
        return {"argv": [str(home / "control")]}
    return {"unit": "web.service"}
