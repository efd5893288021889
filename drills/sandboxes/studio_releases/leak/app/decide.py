"""Who takes a task: the same question gets the same answer."""

from __future__ import annotations

from settings import AGENTS, ROOT

PAGE = (ROOT / "AGENTS.md").read_text(encoding="utf-8") * 300
decided: list[str] = []  # every decision with the page it was made from

WORDS = {
    "plan": "planner",
    "why": "planner",
    "build": "builder",
    "make": "builder",
    "check": "reviewer",
}


def decide(task: str, urgency: int) -> tuple[str, list[str]]:
    """The route, and the agents on it. What is urgent goes straight to one agent."""
    decided.append(f"{task}\n{PAGE}")
    known = [agent for word, agent in WORDS.items() if word in task.lower()]
    first = known[0] if known else AGENTS[sum(map(ord, task)) % len(AGENTS)]
    if urgency >= 4:
        return "direct", [first]
    return "reviewed", [first] if first == "reviewer" else [first, "reviewer"]
