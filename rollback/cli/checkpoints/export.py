"""`rollback checkpoint export`: a checkpoint as a plain tar."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe, size
from rollback.model.quantity import counted


@click.command("export", short_help="Write a checkpoint as a plain tar.")
@click.argument("checkpoint")
@click.argument("file", type=click.Path())
@click.option(
    "--component", "components", multiple=True, metavar="C", help="Only these components."
)
@pass_desk
def export(desk: Desk, checkpoint: str, file: str, components: tuple[str, ...]) -> int:
    """Write a checkpoint as a plain tar that needs no tool of ours. It is not encrypted."""
    from rollback.keep.export import export as write

    with desk.look() as site:
        done = write(site.checkpoints, site.host, checkpoint, components, file)
        body = {"file": done.path, "entries": done.entries, "size_bytes": done.size_bytes,
                "sha256": done.sha256}  # fmt: skip
        desk.out(body, lambda: [
            f"{safe(done.path)}: {counted(done.entries, 'entry', 'entries')}, {size(done.size_bytes)}, "
            "read back", f"  sha256 {done.sha256}",
        ])  # fmt: skip
        return 0
