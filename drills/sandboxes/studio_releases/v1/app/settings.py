"""What `config/` and `.env` say: limits, team, and the one switch, party mode."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config" / "config.yaml"
TEAM = ROOT / "config" / "team.csv"
ENV_FILE = ROOT / ".env"

AGENTS = ("planner", "builder", "reviewer")
ON = {"true", "1", "yes", "on"}


@dataclass(frozen=True)
class Settings:
    max_agents: int
    max_rounds: int
    requests_per_minute: int
    queue_max: int
    knowledge_file: Path
    catalogue: Path
    roles: dict[str, str]


def load() -> Settings:
    config = read_yaml(CONFIG)
    return Settings(
        max_agents=int(config["party.maxAgents"]),
        max_rounds=int(config["party.maxRounds"]),
        requests_per_minute=int(config["limits.requests_per_minute"]),
        queue_max=int(config["limits.queue_max"]),
        knowledge_file=ROOT / str(config["knowledge.file"]),
        catalogue=ROOT / str(config["knowledge.catalogue"]),
        roles=read_team(TEAM),
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """The simple YAML of `config.yaml` (nested keys and scalars) as `{"party.enabled": True}`."""
    values: dict[str, Any] = {}
    parents: list[tuple[int, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        content = line.split(" #")[0].rstrip()
        if not content or content.lstrip().startswith("#"):
            continue
        depth = len(content) - len(content.lstrip())
        key, _, value = content.strip().partition(":")
        while parents and parents[-1][0] >= depth:
            parents.pop()
        name = ".".join([parent for _, parent in parents] + [key.strip()])
        if value.strip():
            values[name] = _scalar(value.strip())
        else:
            parents.append((depth, key.strip()))
    return values


def _scalar(text: str) -> Any:
    if text.lower() in {"true", "false", "yes", "no", "on", "off"}:
        return text.lower() in ON
    if text[:1] in "\"'" and text[-1:] == text[:1]:
        return text[1:-1]
    try:
        return int(text)
    except ValueError:
        return text


def read_team(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row.get("name") or "": row.get("role") or "" for row in csv.DictReader(file)}


class PartyMode:
    """The switch. Two `stat` calls tell whether a file changed, so that a running process needs no signal."""

    def __init__(self) -> None:
        self._seen: tuple[object, object] | None = None
        self._value = (True, "default")

    def read(self) -> tuple[bool, str]:
        """Value and source: `env` over `yaml` over `default`."""
        seen = (_fingerprint(ENV_FILE), _fingerprint(CONFIG))
        if seen != self._seen:
            self._value, self._seen = self._look(), seen
        return self._value

    def _look(self) -> tuple[bool, str]:
        environment = read_env(ENV_FILE)
        if "PARTY_MODE" in environment:
            return environment["PARTY_MODE"].lower() in ON, "env"
        config = read_yaml(CONFIG) if CONFIG.exists() else {}
        if "party.enabled" in config:
            return config["party.enabled"] is True, "yaml"
        return True, "default"


def read_env(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    values = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not key.startswith("#"):
            values[key.strip()] = value.strip().strip("\"'")
    return values


def _fingerprint(path: Path) -> object:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
