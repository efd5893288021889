"""`rollback validate`: every problem of the declaration, at once."""

from __future__ import annotations

import os

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("validate", short_help="Every problem of the declaration.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema instead (for editors).")
@pass_desk
def command(desk: Desk, schema: bool) -> int:
    """Check the declaration; each problem with file and line, and what to type instead."""
    import rollback.kinds  # noqa: F401 - registers every kind
    from rollback import declare
    from rollback.cli.show import plain_json, safe
    from rollback.judge.unenforced import unenforced
    from rollback.model.quantity import counted

    if schema:
        click.echo(plain_json(declare.schema()))
        return 0
    system = declare.load(desk.declaration, state=desk.state)  # every rule, whatever was kept
    planned = declare.planned(system)
    unheld = unenforced(system)
    absent = [(f"components.{name}", one.path) for name, one in system.components.items()
              if one.planned is None and not os.path.lexists(system.root_path / one.path)]  # fmt: skip
    body = {
        "valid": True, "system": system.system.id, "digest": system.digest, "levels": len(system.levels),
        "checks": sum(1 for _ in system.checks()),
        "planned": [{"where": where, "kind": kind, "missing": missing} for where, kind, missing in planned],
        "unenforced": [{"where": where, "instead": instead} for where, instead in unheld],
        "absent": [{"where": where, "path": path} for where, path in absent],
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
        if absent:
            said.append(f"  {counted(len(absent), 'component')} whose path is not there now:")
            said += [f"    {where}: {safe(path)}" for where, path in absent]
        return said

    desk.out(body, lines)
    return 0
