"""Who takes a task: the same question gets the same answer."""

from __future__ import annotations

from settings import AGENTS

WORDS = {
    "plan": "planner",
    "why": "planner",
    "build": "builder",
    "make": "builder",
    "check": "reviewer",
}


def decide(task: str, urgency: int) -> tuple[str, list[str]]:
    """The route, and the agents on it. What is urgent goes straight to one agent."""
    known = [agent for word, agent in WORDS.items() if word in task.lower()]
    first = known[0] if known else AGENTS[sum(map(ord, task)) % len(AGENTS)]
    if urgency >= 4:
        return "direct", [first]
    return "reviewed", [first] if first == "reviewer" else [first, "reviewer"]
