"""`rollback checkpoint …`: take, list, look at, compare, verify, restore, delete, prune."""

from __future__ import annotations

from typing import Any

import click

from rollback.cli.checkpoints.copy import copy
from rollback.cli.checkpoints.copy import lines as copy_lines
from rollback.cli.checkpoints.copy import told as copy_told
from rollback.cli.checkpoints.due import due, export_warnings, warnings
from rollback.cli.checkpoints.export import export
from rollback.cli.checkpoints.fetch import fetch
from rollback.cli.checkpoints.history import history
from rollback.cli.checkpoints.prune import prune
from rollback.cli.checkpoints.revoke import revoke
from rollback.cli.checkpoints.verify import verify
from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import paint, safe, size, table
from rollback.host.below import show as shown
from rollback.model.quantity import counted


@click.group("checkpoint", short_help="Take, list, compare, verify and restore checkpoints.")
def command() -> None:
    """Verified captures of the system's components."""


for _one in (copy, due, export, fetch, history, prune, revoke, verify):
    command.add_command(_one)


@command.command("create", short_help="Capture components, verify every stored byte, list it.")
@click.argument("name", required=False)
@click.option(
    "--component", "components", multiple=True, metavar="C", help="Only these components."
)
@click.option("--seal", is_flag=True, help="Run the suites, and keep how they came out beside it.")
@click.option(
    "--allow-partial", is_flag=True, help="Keep it even when something could not be read."
)
@click.option("--deep", is_flag=True, help="Read every file; believe none for its times and size.")
@click.option("--kind", default="manual", metavar="KIND", help="A declared kind, like release.")
@click.option("--drain", "drain", multiple=True, metavar="SERVICE",
              help="No work in this service meanwhile [default: as declared for manual ones].")  # fmt: skip
@click.option("--reason", default="", help="Why; it stands beside the checkpoint.")
@pass_desk
def create(
    desk: Desk,
    name: str | None,
    components: tuple[str, ...],
    seal: bool,
    allow_partial: bool,
    deep: bool,
    kind: str,
    drain: tuple[str, ...],
    reason: str,
) -> int:
    """Capture all components (or those named), verify every byte that was stored, and list it.

    With drained services all components are of one moment; what changes nevertheless makes it
    PARTIAL.
    """
    from rollback.act.authorize import one_at_a_time
    from rollback.act.copying import copy_along
    from rollback.act.keeping import take
    from rollback.act.sealing import seal_checkpoint
    from rollback.act.standing_by import make_ready

    with desk.site() as site:
        one_at_a_time(site)  # what a run left half-way is nothing to go back to
        site.checkpoints.deep = deep
        made = take(
            site, kind, name=name, components=components or None, reason=reason,
            allow_partial=allow_partial, drain=drain,
        )  # fmt: skip
        sealed = seal_checkpoint(site, made) if seal else None
        standby = make_ready(site)
        copied = copy_along(site)
        site.anchor()
        body: dict[str, Any] = {
            **_told(made), "seal": sealed.as_json() if sealed else None, "standby": standby,
            "copied": [copy_told(one) for one in copied],
        }  # fmt: skip

        def lines() -> list[str]:
            named = f"{paint(made.name, 'bold')} {made.id[:12]}" if made.name else made.id[:12]
            said = [f"checkpoint {named}: "
                    f"{counted(len(made.components), 'component')}, {size(made.size_bytes)}"]  # fmt: skip
            if made.drained:
                said.append(f"  of one moment: {', '.join(made.drained)} drained meanwhile")
            if made.absent:
                said.append(paint(f"  not there, so not in it: {', '.join(made.absent)}", "yellow"))
                said.append(
                    "    no target for these once they are there; mistyped? rollback validate"
                )
            if sealed:
                said.append(f"  sealed: {sealed.said}")
            said += [f"  standby of {name}: {'ready' if how is True else how}"
                     for name, how in standby.items()]  # fmt: skip
            return said + [f"  {line}" for one in copied for line in copy_lines(one)]

        desk.out(body, lines)
        if made.state != "whole":
            return 8
        return 7 if sealed and not sealed.green else 0


@command.command("resume", short_help="Let services work again that were drained.")
@pass_desk
def resume(desk: Desk) -> int:
    """Let services work again that a checkpoint drained and, killed, did not resume."""
    from rollback.act import cut

    with desk.site(create=False) as site:
        names = cut.resume(site)
        said = f"resumed: {', '.join(names)}" if names else "no service is drained"
        desk.out({"resumed": list(names)}, lambda: [said])
        return 0


@command.command("list", short_help="All checkpoints, and which can be gone back to.")
@pass_desk
def list_(desk: Desk) -> int:
    """All checkpoints, newest first, with whether they can be gone back to."""
    from rollback.act.copying import copies_of, to_fetch
    from rollback.act.exporting import exports
    from rollback.act.keeping import missed
    from rollback.act.sealed import sealed_as

    with desk.look() as site:
        found = site.checkpoints.list()
        standing, problems = copies_of(site).standing(found)
        seals = {c.id: sealed_as(site, c).replace("unsealed", "-") for c in found}
        rows = [
            (
                c.id[:12],
                c.name or "-",
                c.kind,
                c.at[:16],
                "revoked" if c.revoked else "not a target" if c.problems else c.state,
                seals[c.id],
                f"{standing[c.id].there}/{standing[c.id].needed}",
                len(c.components),
                size(c.size_bytes),
            )
            for c in found
        ]
        head = ("id", "name", "kind", "at", "state", "seal", "copies", "components", "size")
        fetch = to_fetch(site)
        empty = [f"no checkpoint here; try: {fetch}" if fetch else
                 "no checkpoint yet; try: rollback checkpoint create NAME --seal"]  # fmt: skip
        warned = [f"warning: {safe(name)} cannot be looked at: {safe(why)}"
                  for name, why in problems.items()]  # fmt: skip
        if few := [c.id for c in found if c.target and not standing[c.id].enough]:
            warned.append(f"warning: {counted(len(few), 'checkpoint')} not in every place where it has "
                          "to be; try: rollback checkpoint copy")  # fmt: skip
        late = missed(site)
        warned += [*warnings(late), *export_warnings(exports(site))]
        body = {"checkpoints": [{**_told(c), "copies": standing[c.id].as_json(), "seal": seals[c.id]}
                                for c in found],
                "warnings": warned, "missed": [one.as_json() for one in late]}  # fmt: skip
        desk.out(body, lambda: [*(table(head, rows) if rows else empty), *warned])
        return 0


@command.command("show", short_help="What a checkpoint holds.")
@click.argument("checkpoint")
@click.option("--component", default=None, metavar="C", help="List the entries of this component.")
@pass_desk
def show(desk: Desk, checkpoint: str, component: str | None) -> int:
    """What a checkpoint holds."""
    with desk.look() as site:
        found = site.checkpoints.get(checkpoint)
        body = _told(found)
        if component:
            entries = [(shown(e.path), e.kind, e.size, e.sha256[:16])
                       for e in site.checkpoints.entries(found.id, component)]  # fmt: skip
            body["entries"] = [
                {"path": p, "kind": k, "size_bytes": s, "sha256": h} for p, k, s, h in entries
            ]
            desk.out(body, lambda: table(("path", "kind", "bytes", "sha256"), entries))
            return 0
        rows = [(name, digest[:16]) for name, digest in found.components.items()]
        head = [
            f"{found.name or '-'}  {found.id}",
            f"  {found.kind}, {found.at}, {size(found.size_bytes)}, {found.state}",
        ]
        head += [
            f"  {safe(line)}" for line in (found.reason, found.revoked, *found.problems) if line
        ]
        if found.absent:
            head.append(f"  not there then: {', '.join(found.absent)}")
        if not found.one_moment:
            began, ended = (str(found.cut[word])[11:19] for word in ("began", "ended"))
            head.append(f"  captured one component after the other from {began} to {ended}, "
                        "with nothing drained")  # fmt: skip
        desk.out(body, lambda: [*head, *table(("component", "manifest"), rows, indent="  ")])
        return 0


_SINCE = {"add": ("-", "removed"), "remove": ("+", "added"), "modify": ("~", "changed"),
          "attributes": ("%", "mode, owner or time")}  # fmt: skip


@command.command("diff", short_help="What has changed since CHECKPOINT.")
@click.argument("checkpoint")
@click.option("--component", default=None, metavar="C", help="Only this component.")
@click.option("--deep", is_flag=True, help="Read every file; believe none for its times and size.")
@pass_desk
def diff(desk: Desk, checkpoint: str, component: str | None, deep: bool) -> int:
    """What has changed since CHECKPOINT: from it to the present, which a restore would take back."""
    with desk.look() as site:
        site.checkpoints.deep = deep
        found = site.checkpoints.get(checkpoint)
        wanted = (component,) if component else tuple(found.components)
        changes = [
            (name, change) for name in wanted for change in site.checkpoints.diff(found.id, name)
        ]
        told = [
            {"component": name, "what": _SINCE[c.what][1], "path": shown(c.path), "why": c.why}
            for name, c in changes
        ]
        rows = [(_SINCE[c.what][0], name, shown(c.path), c.why) for name, c in changes]
        label = safe(found.name or found.id[:12])
        body = {"id": found.id, "from": found.id, "to": "present", "changes": told}

        def lines() -> list[str]:
            if not rows:
                return [f"from {label} to the present: no difference"]
            counts = [(sign, word, sum(1 for row in rows if row[0] == sign))
                      for sign, word in _SINCE.values()]  # fmt: skip
            said = ", ".join(f"{sign} {word} {n}" for sign, word, n in counts if n)
            head = ("", "component", "path", "what")
            return [f"from {label} to the present: {said}", *table(head, rows, indent="  ")]

        desk.out(body, lines)
        return 0


@command.command("restore", short_help="Put a checkpoint back, as a run of its own.")
@click.argument("checkpoint")
@click.option(
    "--component", "components", multiple=True, metavar="C", help="Only these components."
)
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@click.option("--reason", default="", help="Why; it stands in the report.")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who asks for it.")
@click.option("--yes", is_flag=True, help="Confirm now, without being asked.")
@pass_desk
def restore(
    desk: Desk, checkpoint: str, components: tuple[str, ...], dry_run: bool, reason: str,
    person: str | None, yes: bool,
) -> int:  # fmt: skip
    """Put a checkpoint back, as a run of its own under the strictest authority; no gate, so MITIGATED."""
    from rollback.act.authorize import create as begin
    from rollback.act.authorize import next_run_id
    from rollback.act.back import restore_plan
    from rollback.cli.driving import carry, decline_idle
    from rollback.cli.planning import plan_lines

    with desk.site(listen=desk.live()) as site:
        who = desk.person(person)
        plan = restore_plan(
            site, checkpoint, components, run=next_run_id(site), requester=who, reason=reason
        )
        if dry_run:
            body = {**plan.as_json(), "digest": plan.digest(), "changes_anything": not plan.idle}
            desk.out(body, lambda: plan_lines(plan))
            return 0
        if plan.idle:
            return decline_idle(desk, site, plan)
        return carry(desk, site, begin(site, plan), person=who, yes=yes, wait=False)


@command.command("delete", short_help="Delete one checkpoint.")
@click.argument("checkpoint")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who deletes it.")
@click.option("--yes", is_flag=True, help="Delete without being asked.")
@pass_desk
def delete(desk: Desk, checkpoint: str, person: str | None, yes: bool) -> int:
    """Delete one checkpoint; a named one is deleted only with a person's word."""
    from rollback.act import keeping

    with desk.site(create=False) as site:
        found = site.checkpoints.get(checkpoint)
        who = desk.person(person)
        if not yes and not desk.confirm(
            f"delete checkpoint {found.name or found.id[:12]} of {found.at[:16]}?"
        ):
            desk.out({"deleted": False}, lambda: ["nothing was deleted"])
            return 4
        freed = keeping.delete(site, found.id, by=who)
        desk.out(
            {"deleted": True, "id": found.id, "freed_bytes": freed},
            lambda: [f"deleted {found.name or found.id[:12]}, {size(freed)} freed"],
        )
        return 0


def _told(found: Any) -> dict[str, Any]:
    return {
        "id": found.id, "name": found.name, "kind": found.kind, "at": found.at, "state": found.state,
        "components": dict(found.components), "size_bytes": found.size_bytes,
        "missing": list(found.missing), "heads": dict(found.heads), "reason": found.reason,
        "target": found.target, "problems": list(found.problems), "revoked": found.revoked or None,
        "cut": dict(found.cut), "one_moment": found.one_moment, "absent": list(found.absent),
    }  # fmt: skip
