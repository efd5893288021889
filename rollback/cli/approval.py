"""`rollback approval export|import`: an approval that travels between users as a file."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import plain_json
from rollback.model.errors import UsageError


@click.group("approval", short_help="Approvals that travel as files.")
def command() -> None:
    """Ask for an approval in a file, and take in what comes back signed."""


@command.command("export", short_help="Print what PERSON is to sign.")
@click.argument("run", default="open")
@click.option("--as", "person", required=True, metavar="PERSON", help="Who is asked.")
@pass_desk
def export(desk: Desk, run: str, person: str) -> int:
    """Print the request for PERSON's approval of RUN as JSON; they sign its `sign` text.

    Sign with: jq -j .sign request.json | ssh-keygen -Y sign -n rollback-approval-v1 -f KEY
    """
    from rollback.act import authorize
    from rollback.act.plan import plan_of
    from rollback.judge.authority import VALID_FOR_S

    with desk.site(create=False) as site:
        found = site.run(run)
        asked = authorize.make_approval(
            site, found, person=desk.person(person), answer="yes", note="",
            valid_for=timedelta(seconds=VALID_FOR_S),
        )  # fmt: skip
        plan = plan_of(found)
        click.echo(plain_json({
            "approval": asked.as_json(), "sign": asked.signed_bytes().decode(),
            "about": {"level": plan.level, "title": plan.title, "target": plan.target.label,
                      "steps": [list(step.says) for step in plan.steps]},
        }))  # fmt: skip
        return 0


@command.command("import", short_help="Take in an approval that came back.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--signature",
    type=click.Path(exists=True, dir_okay=False),
    help="The .sig file that came back [default: FILE.sig, where there is one].",
)
@pass_desk
def import_(desk: Desk, file: str, signature: str | None) -> int:
    """Take in an approval FILE, with its signature inside it or beside it.

    Beside it is FILE.sig, where ssh-keygen puts it, or what --signature names.
    """
    from rollback.act import authorize
    from rollback.judge.authority import read

    body = _body(file)
    beside = Path(f"{file}.sig")
    if not signature and not body.get("signature") and beside.is_file():
        signature = str(beside)
    if signature:
        body["signature"] = Path(signature).read_text(encoding="ascii", errors="replace")
    try:
        approval = read(body)
    except ValueError as error:
        raise UsageError(
            str(error), where=file, hint="export it again with: rollback approval export"
        ) from None
    with desk.site(create=False) as site:
        authorize.record(site, site.run(approval.run), approval)
        yes = approval.answer == "yes"
        told = {"run_id": approval.run, "by": approval.person, "answer": approval.answer}
        said = f"{approval.person} {'approved' if yes else 'denied'} {approval.run}"
        desk.out(told, lambda: [f"{said}; try: rollback resume {approval.run}"])
        return 0


def _body(file: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
        return dict(found["approval"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"not an approval file: {error}", where=file,
            hint="export it again with: rollback approval export",
        ) from None  # fmt: skip
