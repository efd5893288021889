"""The durable queue between the agents: `data/queue/AGENT/*.json`, one file per piece of work.

A file appears whole (written aside, synced, renamed) under a name that is the same at every
attempt, and is removed only when its work is done and recorded. An agent that dies leaves its work
where it was.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from settings import AGENTS, ROOT

QUEUE = ROOT / "data" / "queue"


def put_round(agent: str, session: str, number: int, created_ms: int) -> None:
    _put(agent, f"{created_ms}-{session}-{number}", {"session": session, "round": number})


def put_message(agent: str, message: str, created_ms: int) -> None:
    _put(agent, f"{created_ms}-{message}", {"message": message})


def waiting(agent: str) -> list[Path]:
    """Oldest first."""
    folder = QUEUE / agent
    return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(".json")]


def depth() -> dict[str, int]:
    return {agent: len(waiting(agent)) for agent in AGENTS}


def forget(session: str) -> None:
    for agent in AGENTS:
        for path in waiting(agent):
            if f"-{session}-" in path.name:
                path.unlink(missing_ok=True)


def make_folders() -> None:
    for agent in AGENTS:
        (QUEUE / agent).mkdir(parents=True, exist_ok=True)


def _put(agent: str, name: str, work: dict[str, str | int]) -> None:
    folder = QUEUE / agent
    aside = folder / f".{name}.{os.getpid()}"
    with aside.open("w", encoding="utf-8") as file:
        json.dump(work, file)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(folder / f"{name}.json")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
