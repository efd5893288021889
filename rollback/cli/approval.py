"""`rollback approval …`: words of people that travel as files, hold beforehand, or overrule a reason."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from rollback.cli.desk import Desk, pass_desk
from rollback.cli.show import plain_json, safe
from rollback.model.errors import UsageError

_BYTES_MAX = 1 << 20


@click.group("approval", short_help="Approvals as files, beforehand, and against a reason.")
def command() -> None:
    """Ask for an approval in a file, and take in what comes back signed; say yes beforehand; overrule."""


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
        text = Path(file).read_bytes()
        if len(text) > _BYTES_MAX:
            raise ValueError(f"it has {len(text)} bytes, {_BYTES_MAX} at most")
        found = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
        return dict(found["approval"])
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise UsageError(
            f"not an approval file: {error}", where=file,
            hint="export it again with: rollback approval export",
        ) from None  # fmt: skip


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; a key that is there twice could be read as this or as that. Raises: ValueError."""
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"it says {', '.join(twice)} twice")
    return dict(pairs)


@command.command("standing", short_help="Say yes beforehand to coming runs of a level.")
@click.argument("level")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who says so.")
@click.option("--key", default="", metavar="FILE", help="Your private SSH key, to sign with.")
@click.option("--uses", default=1, show_default=True, type=click.IntRange(1, 100), help="Runs.")
@click.option(
    "--for", "valid_for", default="1d", show_default=True, metavar="TIME", help="How long."
)
@click.option("--note", default="", help="A remark that stands beside it.")
@pass_desk
def standing(
    desk: Desk, level: str, person: str | None, key: str, uses: int, valid_for: str, note: str
) -> int:  # fmt: skip
    """Give an approval beforehand, where LEVEL declares that it takes such (standing:)."""
    from rollback.act.beforehand import give

    lasts = _lasts(valid_for)
    with desk.site() as site:
        grant = give(site, level, person=desk.person(person), uses=uses, key=key, note=note,
                     valid_for=lasts)  # fmt: skip
        until = f"until {grant.expires[:16]}Z"
        said = f"{grant.person} says yes beforehand to {grant.level}: {uses} of its runs, {until}"
        taken_back = f"  take it back with: rollback approval withdraw {grant.nonce[:8]}"
        desk.out(grant.as_json(), lambda: [said, taken_back])
        return 0


def _lasts(valid_for: str) -> timedelta:
    from rollback.model.quantity import duration_s

    try:
        return timedelta(seconds=duration_s(valid_for))
    except ValueError as error:
        raise UsageError(
            f"--for {valid_for}: {error}", hint="write a time like 12h or 7d"
        ) from None


@command.command("overrule", short_help="Overrule a declared reason against going back.")
@click.argument("name", metavar="FILTER")
@click.option("--note", required=True, help="Why it does not hold here; it stands in the report.")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who says so.")
@click.option("--key", default="", metavar="FILE", help="Your private SSH key, to sign with.")
@click.option("--for", "valid_for", default="1h", show_default=True, metavar="TIME",
              help="How long; 4h at most.")  # fmt: skip
@pass_desk
def overrule(
    desk: Desk, name: str, note: str, person: str | None, key: str, valid_for: str
) -> int:  # fmt: skip
    """Overrule FILTER, a reason against going back that names your role (overridden_by:).

    It is no approval: whoever has to say yes to a run is asked all the same.
    """
    from rollback.act import overruling

    lasts = _lasts(valid_for)
    with desk.site() as site:
        one = overruling.overrule(
            site, name, person=desk.person(person), note=note, key=key, valid_for=lasts
        )
        said = f"{one.person} overrules {one.filter} until {one.expires[:16]}Z: {safe(one.note)}"
        if not one.signature:
            said += "; unauthenticated: no key is declared"
        desk.out(one.as_json(), lambda: [
            said, f"  take it back with: rollback approval withdraw {one.nonce[:8]}",
            "  try: rollback decide",
        ])  # fmt: skip
        return 0


@command.command("list", short_help="Approvals given beforehand, and overrulings.")
@pass_desk
def list_(desk: Desk) -> int:
    """List what was given beforehand, or overrules, and was not taken back, and whether it counts."""
    from rollback.act import beforehand, overruling

    with desk.look() as site:
        found, against = beforehand.listed(site), overruling.listed(site)
        body = [{**one.grant.as_json(), "used": one.used, "why_not": one.why_not} for one in found]
        body += [{**one.overruling.as_json(), "why_not": one.why_not} for one in against]
        lines = [
            f"{one.grant.nonce[:8]}  {one.grant.level} by {one.grant.person}: {one.used} of "
            f"{one.grant.uses} used, until {one.grant.expires[:16]}Z" + _nothing(one.why_not)
            for one in found
        ]
        lines += [
            f"{said.nonce[:8]}  {said.filter} overruled by {said.person} until {said.expires[:16]}Z: "
            f"{safe(said.note)}" + _nothing(one.why_not)
            for one in against for said in (one.overruling,)
        ]  # fmt: skip
        desk.out(body, lambda: lines or ["no approval was given beforehand"])
        return 0


def _nothing(why_not: str) -> str:
    return f"; it counts for nothing: {why_not}" if why_not else ""


@command.command("withdraw", short_help="Take back what was given beforehand, or overrules.")
@click.argument("beginning")
@click.option("--as", "person", default=None, metavar="PERSON", help="Who takes it back.")
@pass_desk
def withdraw(desk: Desk, beginning: str, person: str | None) -> int:
    """Take back the one whose id starts with BEGINNING: it counts for nothing any more."""
    from rollback.act import beforehand, overruling

    with desk.site(create=False) as site:
        by = desk.person(person)
        against = overruling.withdraw(site, beginning, by=by)
        if against is not None:
            body = {"nonce": against.nonce, "filter": against.filter, "withdrawn": True}
            said = f"{against.person}'s overruling of {against.filter} counts for nothing any more"
            desk.out(body, lambda: [said])
            return 0
        grant = beforehand.withdraw(site, beginning, by=by)
        body = {"nonce": grant.nonce, "level": grant.level, "withdrawn": True}
        desk.out(
            body,
            lambda: [f"{grant.person}'s approval of {grant.level} counts for nothing any more"],
        )
        return 0
