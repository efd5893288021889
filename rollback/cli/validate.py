"""`rollback validate`: every problem of the declaration, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rollback.cli.desk import Desk, pass_desk

if TYPE_CHECKING:
    from rollback.model.system import System


@click.command("validate", short_help="Every problem of the declaration.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema instead (for editors).")
@pass_desk
def command(desk: Desk, schema: bool) -> int:
    """Check the declaration; each problem with file and line, and what to type instead."""
    import rollback.kinds  # noqa: F401 - registers every kind
    from rollback import declare
    from rollback.act.unfounded import unfounded
    from rollback.cli.show import paint, plain_json, safe
    from rollback.judge.unenforced import unenforced
    from rollback.model.quantity import counted

    if schema:
        click.echo(plain_json(declare.schema()))
        return 0
    system = declare.load(desk.declaration, state=desk.state)  # every rule, whatever was kept
    planned = declare.planned(system)
    unheld = unenforced(system)
    where_is = declare.lines(desk.declaration)
    warned = [
        {"where": where_is(one.at), "message": f"{'.'.join(map(str, one.at))}: {one.message}",
         "hint": one.hint}
        for one in unfounded(system, desk.host)
    ]  # fmt: skip
    believed = _trusted(desk, system)
    body = {
        "valid": True, "system": system.system.id, "digest": system.digest, "levels": len(system.levels),
        "checks": sum(1 for _ in system.checks()),
        "planned": [{"where": where, "kind": kind, "missing": missing} for where, kind, missing in planned],
        "unenforced": [{"where": where, "instead": instead} for where, instead in unheld],
        "warnings": warned, "trusted": believed,
    }  # fmt: skip

    def lines() -> list[str]:
        levels = counted(len(system.levels), "level")
        checks = counted(sum(1 for _ in system.checks()), "check")
        said = [f"{desk.declaration.name} is valid: {levels}, {checks}"]
        if planned:
            said.append(f"  {counted(len(planned), 'thing')} planned, and refused at run time:")
            said += [f"    {where}: {kind}: {missing}" for where, kind, missing in planned]
        if unheld:
            said.append(f"  {counted(len(unheld), 'thing')} declared and not enforced yet:")
            said += [f"    {where}: {instead}" for where, instead in unheld]
        if warned:
            said.append(paint(f"  {counted(len(warned), 'warning')}:", "yellow"))
            said += [f"    {safe('{where}: {message}; {hint}'.format(**one))}" for one in warned]
        if not believed:
            said.append(paint("  people or policy changed since they were trusted", "yellow"))
            said.append("    try: look at the change, then accept it with: rollback trust")
        return said

    desk.out(body, lines)
    return 0


def _trusted(desk: Desk, system: System) -> bool:
    """False where other people or another policy are believed: then no run begins."""
    from rollback.keep import trust
    from rollback.model.errors import RollbackError

    try:
        with desk.host.tree(str(system.state_path)) as tree:
            return trust.pinned(tree) in ("", system.authority_digest)
    except (RollbackError, OSError):
        return True  # nothing was kept, or what is wrong there is no problem of the declaration
