"""`rollback doctor`: every problem of this machine, each with what to type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe, table
from rollback.model.errors import RollbackError, SpecError
from rollback.model.finding import Answer, failed, passed, unknown
from rollback.model.quantity import counted

if TYPE_CHECKING:
    from rollback.act.row import Row

ADVICE = "ADVICE"


@click.command("doctor", short_help="Every problem of this machine.")
@pass_desk
def command(desk: Desk) -> int:
    """Look at the kernel, the programs, the state directory, and what the declaration needs here.

    Exit 7 when something that is needed fails. What could not be found out is UNKNOWN; what is not
    needed and could be better is ADVICE.
    """
    from rollback.act import machine

    state = _state(desk)
    ours = (
        desk.declaration,
        Path(__file__),
        *([state / "journal" / "events.jsonl"] if state else []),
    )
    rows = [*machine.rows(desk.host, state, ours), *_declared(desk)]
    bad = [row for row in rows if row.needed and row.finding.answer is Answer.FAIL]
    body = {
        "healthy": not bad,
        "findings": [row.as_json() | {"answer": _answer(row).lower()} for row in rows],
    }
    desk.out(body, lambda: _lines(rows, len(bad)))
    return 7 if bad else 0


def _state(desk: Desk) -> Path | None:
    """Where the state is to be; None while the declaration does not say."""
    try:
        return desk.system.state_path
    except RollbackError:
        return None


def _declared(desk: Desk) -> Iterator[Row]:
    """What can be read of the declaration, and what it needs."""
    from rollback.act import footing
    from rollback.act.row import Row

    if not desk.declaration.exists():
        yield Row("declaration", unknown(f"there is no {desk.declaration.name} here"),
                  "rollback init writes one", needed=False)  # fmt: skip
        return
    try:
        system = desk.system
    except SpecError as error:
        yield Row("declaration", failed(str(error)), "rollback validate names every problem")
        return
    levels = counted(len(system.levels), "level")
    yield Row("declaration", passed(f"{system.system.id}: {levels}"))
    yield from footing.rows(system, desk.host, desk.look)


def _answer(row: Row) -> str:
    """What was found; a failure of what is not needed is advice."""
    advice = row.finding.answer is Answer.FAIL and not row.needed
    return ADVICE if advice else row.finding.answer.value.upper()


def _lines(rows: list[Row], bad: int) -> list[str]:
    cells = [
        (_answer(row), "yes" if row.needed else "-", row.what, row.finding.evidence) for row in rows
    ]
    lines = table(("answer", "needed", "what", "found"), cells)
    for row in rows:
        if row.finding.answer is not Answer.PASS and row.hint:
            lines.append(f"  {safe(row.what)}: try: {safe(row.hint)}")
    count = sum(1 for row in rows if row.finding.answer is not Answer.PASS)
    ready = f"ready; {counted(count, 'thing')} could be better" if count else "ready"
    return [*lines, ready if not bad else f"not ready: of what is needed, {bad} failed"]
