"""`rollback checkpoint copy`: what has to be in further places is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import paint, safe, size
from rollback.model.quantity import counted

if TYPE_CHECKING:
    from rollback.keep.copies import Copied


@click.command("copy", short_help="Copy what has to be in further places.")
@click.argument("store", required=False)
@click.option(
    "--adopt",
    is_flag=True,
    help="This place is new and empty, or was another's: use it. Name the STORE.",
)
@pass_desk
def copy(desk: Desk, store: str | None, adopt: bool) -> int:
    """Copy every checkpoint to the places it has to be in (or to STORE), and read it back there."""
    from rollback.act.copying import copy as make
    from rollback.model.errors import UsageError

    if adopt and not store:
        raise UsageError("which place is to be used though it is empty, or another's?",
                         hint="rollback checkpoint copy --adopt STORE")  # fmt: skip
    with desk.site(create=False) as site:
        done = make(site, (store,) if store else (), adopt=adopt)
        empty = ["no further place is declared under checkpoints.stores"]
        desk.out({"copies": [told(one) for one in done]},
                 lambda: [line for one in done for line in lines(one)] or empty)  # fmt: skip
        return 8 if any(one.problem for one in done) else 0


def told(one: Copied) -> dict[str, Any]:
    """What became of one place, for `--json`."""
    return {"store": one.store, "checkpoints": list(one.checkpoints), "packs": one.packs,
            "size_bytes": one.size_bytes, "problem": one.problem}  # fmt: skip


def lines(one: Copied) -> list[str]:
    """What became of one place, for people."""
    said = []
    if one.checkpoints:
        said.append(f"{one.store}: {counted(len(one.checkpoints), 'checkpoint')} copied, "
                    f"{counted(one.packs, 'pack')}, {size(one.size_bytes)}, read back")  # fmt: skip
    if one.problem:
        said.append(f"{one.store}: {paint('NOT COPIED', 'bold')}: {safe(one.problem)}")
        said.append(f"  try: {safe(one.hint or 'rollback checkpoint copy')}")
    return said or [f"{one.store}: everything is there"]
