"""What an Allure report says beside the tests: about which system, by whom, in which run.

Hides: the two files that Allure reads.
Never: decides anything: a report describes.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from rollback.host import Host
from rollback.model.event import canonical
from rollback.model.system import System


def describe(folder: Path, host: Host, system: System, facts: Mapping[str, str]) -> None:
    """`environment.properties` and `executor.json` stand in the folder of results."""
    identity = system.system
    known = {
        "System": f"{identity.title} ({identity.id})", "Version": identity.version,
        "Declaration": system.digest[:16], "Python": platform.python_version(), **facts,
    }  # fmt: skip
    lines = [f"{_plain(name)}={_plain(value)}" for name, value in known.items() if value]
    executor = {"name": "rollback", "type": "rollback", "reportName": identity.title,
                "buildName": facts.get("Run") or f"{identity.id} {identity.version}"}  # fmt: skip
    with host.tree(str(folder)) as tree:
        tree.write("environment.properties", "\n".join(lines).encode() + b"\n", sync=False)
        tree.write("executor.json", canonical(executor), sync=False)


def _plain(text: str) -> str:
    """One line of a properties file, in ASCII, with nothing left to interpret."""
    return text.replace("\\", "/").replace("=", ":").replace("\n", " ").encode(
        "ascii", "backslashreplace").decode()  # fmt: skip
