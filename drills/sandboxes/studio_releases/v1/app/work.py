"""What an agent makes of a task. Pure: the same task, rounds and findings give the same output."""

from __future__ import annotations

from store import Round, Session


def work(agent: str, session: Session, findings: list[str]) -> Round:
    """The next round of this session, made of this session's text and nobody else's."""
    before = session.rounds[-1].output if session.rounds else session.task
    sources = [session.id]
    if agent == "planner":
        output = f"Plan\n 1. understand the task\n 2. build\n 3. review\n  task: {before}"
    elif agent == "builder":
        output = f"Draft\n  from: {before}\n  with: {'; '.join(findings) or 'nothing found'}"
    else:
        output = f"Reviewed\n  {before}"
    return Round(agent, output, sources)


def needs_findings(agent: str, session: Session) -> bool:
    return agent == "builder" or session.mode == "single"


def foreign_sources(session: Session) -> list[str]:
    """The other sessions whose text went into this one: there must be none."""
    return sorted({source for done in session.rounds for source in done.sources} - {session.id})
