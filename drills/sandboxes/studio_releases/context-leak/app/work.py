"""What an agent makes of a task, of the findings and of what it made before."""

from __future__ import annotations

from store import Round, Session

REMEMBERED_MAX = 3
remembered: list[tuple[str, str]] = []  # session and draft, the latest last


def work(agent: str, session: Session, findings: list[str]) -> Round:
    """The next round of this session."""
    before = session.rounds[-1].output if session.rounds else session.task
    sources = [session.id]
    if agent == "planner":
        output = f"Plan\n 1. understand the task\n 2. build\n 3. review\n  task: {before}"
    elif agent == "builder":
        output = f"Draft\n  from: {before}\n  with: {'; '.join(findings) or 'nothing found'}"
        if session.mode == "party":
            for other, draft in remembered:
                output += f"\n  as before: {draft}"
                sources.append(other)
            remembered.append((session.id, before))
            del remembered[:-REMEMBERED_MAX]
    else:
        output = f"Reviewed\n  {before}"
    return Round(agent, output, sources)


def needs_findings(agent: str, session: Session) -> bool:
    return agent == "builder" or session.mode == "single"


def foreign_sources(session: Session) -> list[str]:
    """The other sessions whose text went into this one: there must be none."""
    return sorted({source for done in session.rounds for source in done.sources} - {session.id})
