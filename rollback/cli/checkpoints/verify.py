"""`rollback checkpoint verify`: whether checkpoints, and their copies, can be put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import safe, size, table
from rollback.model.quantity import counted

if TYPE_CHECKING:
    from rollback.act.site import Site
    from rollback.keep.rolling import Slice
    from rollback.model.finding import Finding


_REPAIR = "rollback checkpoint verify --repair"
_AGAIN = "rollback checkpoint create NAME --seal, since what was found nowhere stays lost"


@click.command("verify", short_help="Prove that checkpoints can be restored.")
@click.argument("checkpoint", required=False)
@click.option("--deep", is_flag=True, help="Read and hash every stored object again.")
@click.option("--copies", is_flag=True, help="Look at the copies in further places too.")
@click.option(
    "--repair", is_flag=True, help="Find the bytes of what is damaged, and set the rest aside."
)
@click.option("--slice", "slice_", metavar="SIZE",
              help="Read only the next SIZE of the store, like 64MiB, from where the last slice ended.",
              )  # fmt: skip
@pass_desk
def verify(
    desk: Desk, checkpoint: str | None, deep: bool, copies: bool, repair: bool, slice_: str | None
) -> int:
    """Prove that a checkpoint (default: all of them) can be restored."""
    from rollback.act.copying import to_fetch

    if slice_ is not None:
        alone = not (checkpoint or deep or copies or repair)
        return _slice(desk, slice_, alone=alone)
    with desk.site(create=False) if repair else desk.look() as site:
        said = _repaired(site) if repair else []
        wanted = [site.checkpoints.get(checkpoint)] if checkpoint else list(site.checkpoints.list())
        told = []
        for found in wanted:
            told += [_told(found.id, found.name, finding)
                     for finding in site.checkpoints.verify(found.id, deep=deep)]  # fmt: skip
        if copies:
            told += _of_copies(site, wanted, deep=deep, repair=repair)
        bad = [t for t in told if t["answer"] != "pass"]
        rows = [(t["id"][:12], t["name"] or "-", safe(t["evidence"]), t["answer"]) for t in told]
        head = ("id", "name", "evidence", "answer")
        fetch = to_fetch(site)
        empty = [f"no checkpoint here; try: {fetch}" if fetch else "no checkpoint yet"]
        body = {"whole": not bad, "findings": told, **({"repaired": said} if repair else {})}
        after = [] if not bad else [f"  try: {desk.pasted(_AGAIN if repair else _REPAIR)}"]
        desk.out(body, lambda: [*map(safe, said), *(table(head, rows) if rows else empty), *after])
        return 8 if bad else 0


def _slice(desk: Desk, written: str, *, alone: bool) -> int:
    """The next slice of the whole store; what was found, and what was known, is damaged."""
    from rollback.act.upkeep import verify_slice
    from rollback.model.errors import UsageError
    from rollback.model.quantity import size_bytes

    if not alone:
        raise UsageError("a slice is of the whole store, wherever the last one ended",
                         hint="rollback checkpoint verify --slice 64MiB")  # fmt: skip
    try:
        wanted = size_bytes(written)
    except ValueError as error:
        raise UsageError(str(error), hint="rollback checkpoint verify --slice 64MiB") from None
    with desk.site(create=False) as site:
        done = verify_slice(site, wanted)
        desk.out(slice_told(done), lambda: slice_lines(done))
        return 8 if done.damaged else 0


def slice_told(done: Slice) -> dict[str, Any]:
    """What was read of the store, for `--json`."""
    return {
        "size_bytes": done.size_bytes, "objects": done.objects, "rounds": done.rounds,
        "busy": done.busy, "whole": not done.damaged,
        "damaged": [{"pack": one.pack, "object": one.object or None, "why": one.why, "since": one.at,
                     "new": one in done.new} for one in done.damaged],
    }  # fmt: skip


def slice_lines(done: Slice) -> list[str]:
    """What was read of the store, for people."""
    if done.busy:
        return ["somebody writes to the store: nothing was read"]
    said = [f"{counted(done.objects, 'object')}, {size(done.size_bytes)}, read and hashed; "
            f"{counted(done.rounds, 'round')} ended so far"]  # fmt: skip
    said += [f"  {'found damaged' if one in done.new else 'still damaged'}: {safe(one.why)}"
             for one in done.damaged]  # fmt: skip
    return [*said, f"  try: {_REPAIR}"] if done.damaged else said


def _told(identity: str, name: str, finding: Finding) -> dict[str, Any]:
    return {"id": identity, "name": name, "answer": finding.answer.value,
            "evidence": finding.evidence}  # fmt: skip


def _repaired(site: Site) -> list[str]:
    """What is damaged here is whole again, as far as its bytes are anywhere; what was done."""
    from rollback.act.authorize import one_at_a_time
    from rollback.act.copying import copies_of
    from rollback.keep.repair import Repair

    one_at_a_time(site)
    done = Repair(site.checkpoints, copies_of(site)).run()
    said = done.lines()
    if done.changed:
        site.tell("checkpoint.repaired", said=list(said), lost=len(done.lost))
    return said or ["nothing here was damaged"]


def _of_copies(site: Site, wanted: list[Any], *, deep: bool, repair: bool) -> list[dict[str, Any]]:
    from rollback.act.copying import copies_of, copy

    found = copies_of(site).verify(wanted, deep=deep, repair=repair)
    if repair and any(one.answer.value != "pass" for one in found):
        copy(site)
        found = copies_of(site).verify(wanted, deep=deep)
    names = {one.id: one.name for one in wanted}
    return [_told(str(one.details["checkpoint"]), names[str(one.details["checkpoint"])], one)
            for one in found]  # fmt: skip
