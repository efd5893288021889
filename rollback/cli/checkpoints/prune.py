"""`rollback checkpoint prune`: what retention lets go, and what that frees."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe, size, table
from rollback.model.quantity import counted


@click.command("prune", short_help="Let go what retention lets go.")
@click.option("--dry-run", is_flag=True, help="Show what would go and what it would free.")
@click.option("--all", "everything", is_flag=True, help="List what stays too, and why.")
@pass_desk
def prune(desk: Desk, dry_run: bool, everything: bool) -> int:
    """Remove checkpoints whose kind's retention is over, and free what no other one needs.

    What a run or an incident that has not ended needs stays, and what a person named, and the
    newest good one of every component.
    """
    from rollback.act import keeping

    with desk.look() if dry_run else desk.site(create=False) as site:
        found = keeping.prune(site, dry_run=dry_run)
        frees = found.collection.frees_bytes if dry_run else found.freed_bytes
        body = {
            "changed": not dry_run and bool(found.going or frees), "dry_run": dry_run,
            "checkpoints": [
                {"id": one.checkpoint.id, "name": one.checkpoint.name, "kind": one.checkpoint.kind,
                 "at": one.checkpoint.at, "goes": one.goes, "why": one.why}
                for one in found.judged
            ],
            "freed_bytes": frees, "packs_dropped": len(found.collection.dead),
            "packs_rewritten": len(found.collection.thin), "blocked": found.collection.blocked or None,
        }  # fmt: skip

        def lines() -> list[str]:
            rows = [
                (one.checkpoint.id[:12], one.checkpoint.name or "-", one.checkpoint.kind,
                 one.checkpoint.at[:16], "goes" if one.goes else "stays", safe(one.why))
                for one in found.judged if one.goes or everything
            ]  # fmt: skip
            head = ("id", "name", "kind", "at", "", "why")
            word = "would go" if dry_run else "gone"
            said = table(head, rows) if rows else []
            said.append(f"{counted(len(found.going), 'checkpoint')} {word}, "
                        f"{size(frees)} {'would be ' if dry_run else ''}freed")  # fmt: skip
            if found.collection.blocked:
                said.append(f"  no pack is freed: {safe(found.collection.blocked)}")
                said.append("  try: rollback checkpoint verify")
            return said

        desk.out(body, lines)
        return 8 if found.collection.blocked else 0
