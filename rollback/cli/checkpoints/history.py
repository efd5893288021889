"""`rollback checkpoint history PATH`: every version of one artefact over all checkpoints."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe, size, table


@click.command("history", short_help="Every version of one file or folder.")
@click.argument("path")
@pass_desk
def history(desk: Desk, path: str) -> int:
    """Every version of PATH, a file or folder below the system's root, oldest first.

    Checkpoints that follow each other and hold the same version are one line.
    """
    from rollback.keep.artefact import versions

    with desk.look() as site:
        found = versions(site.checkpoints, site.system, path)
        body = {
            "path": path,
            "versions": [
                {"component": one.component, "from": one.at, "to": one.until, "what": one.what,
                 "size_bytes": one.size_bytes, "mode": one.mode, "digest": one.digest,
                 "checkpoints": list(one.checkpoints), "names": list(one.names)}
                for one in found
            ],
        }  # fmt: skip
        rows = [
            (one.at[:19], one.names[0] + (f" … {one.names[-1]} ({len(one.names)})" if one.names[1:] else ""),
             one.component, "-" if one.what in ("absent", "unreadable") else size(one.size_bytes),
             one.what, safe(one.digest if one.what in ("symlink", "unreadable") else one.digest[:16]))
            for one in found
        ]  # fmt: skip
        head = ("since", "checkpoint", "component", "size", "what", "digest")
        empty = ["no checkpoint holds its component yet; try: rollback checkpoint create NAME"]
        desk.out(body, lambda: table(head, rows) if rows else empty)
        return 0
