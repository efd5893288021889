"""`rollback deny RUN`: one person's no; the run ends without having done anything."""

from __future__ import annotations

import click

from rollback.cli.desk import Desk, pass_desk


@click.command("deny", short_help="Say no to a waiting run; it ends.")
@click.argument("run", default="open")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who says so.")
@click.option("--key", default="", metavar="FILE", help="Your private SSH key, to sign with.")
@click.option("--note", "--reason", "note", default="", metavar="TEXT",
              help="Why; it stands in the report, and status says it.")  # fmt: skip
@pass_desk
def command(desk: Desk, run: str, person: str | None, key: str, note: str) -> int:
    """Deny RUN (default: the newest that has not ended)."""
    from rollback.act import authorize
    from rollback.act.driving import drive
    from rollback.cli.driving import lapsed
    from rollback.cli.timeline import result, result_lines

    with desk.site(create=False, listen=desk.live()) as site:
        who = desk.person(person)
        found = site.run(run)
        over = lapsed(desk, site, found)
        if over is not None:
            return over
        authorize.approve(site, found, person=who, answer="no", note=note, key=key)
        ended = drive(site, site.run(found.id), wait=False)
        desk.out(result(site, ended), lambda: result_lines(site, ended))
        return 0
