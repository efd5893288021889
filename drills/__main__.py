"""`python -m drills`: a studio, faults to break it with, the kill sweep, the strength of its gate."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click

from drills import strength, studio_run, sweep
from drills.faults import fault, find
from drills.faults import known as known_faults
from drills.faults.bad_release import BadRelease
from drills.sandboxes import find as find_sandbox
from drills.sandboxes.studio import Studio
from rollback.act.site import Site
from rollback.act.strength import record
from rollback.cli.failing import status_of
from rollback.declare import load
from rollback.host import Host
from rollback.model.errors import NeedsOperator, UsageError

DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What if? A copy of a system is broken on purpose."""


@main.command()
@click.argument("name", default="studio")
@click.option("--dir", "directory", type=DIRECTORY, required=True, help="A new folder.")
@click.option("--json", "as_json", is_flag=True)
def up(name: str, directory: Path, as_json: bool) -> None:
    """Build a system in a new folder and start it."""
    studio = find_sandbox(name).build(directory)
    services = studio_run.start(studio)
    typed = click.get_current_context().find_root().info_name
    told = {
        "system": str(studio.declaration), "root": str(studio.root), "services": list(services),
        "urls": {"router": studio.router_url, "knowledge": studio.knowledge_url},
    }  # fmt: skip
    said = [f"{name} runs: {', '.join(services)}", f"  router     {studio.router_url}",
            f"  knowledge  {studio.knowledge_url}", "",
            f"  rollback --system {studio.declaration} status",
            f"  {typed} break NAME --dir {directory}",
            f"  {typed} down --dir {directory}"]  # fmt: skip
    _say(told, said, as_json)


@main.command()
@click.option("--dir", "directory", type=DIRECTORY, required=True)
@click.option("--json", "as_json", is_flag=True)
def down(directory: Path, as_json: bool) -> None:
    """Stop the services of a system; its files stay."""
    told = studio_run.stop(Studio.open(directory))
    _say({"stopped": told}, told, as_json)


@main.command("break", short_help="Ship a bad release, or inject a fault.")
@click.argument("name", default="")
@click.option("--dir", "directory", type=DIRECTORY, required=True)
@click.option("--for", "seconds", type=float, default=30.0, help="How long, unless it lasts.")
@click.option("--json", "as_json", is_flag=True)
def break_(name: str, directory: Path, seconds: float, as_json: bool) -> None:
    """Ship a bad release, or inject a fault, and prove that it is in force.

    A release and a killed process last; anything else is healed after a while, or on Ctrl-C.
    """
    studio = Studio.open(directory)
    if name in Studio.FAULTS:
        refused: list[str] = []
        may_refuse = name == "refuses-to-start"
        broken = BadRelease(studio, Studio.FAULTS[name], lambda: refused.extend(
            studio_run.restart(studio, may_refuse=may_refuse)))  # fmt: skip
        broken.inject()
        proof = broken.prove()
        _say({"fault": name, "proof": proof, "refused": refused}, [proof, *refused], as_json)
        return
    names = sorted({*Studio.FAULTS, *known_faults()})
    if name not in known_faults():
        what = f"there is no fault {name!r}" if name else "which fault?"
        raise UsageError(what, hint=f"faults: {', '.join(names)}")
    one = find(name).of(studio)
    if one.lasting:
        one.inject()
        proof = one.prove()
        _say({"fault": name, "proof": proof}, [proof], as_json)
        return
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with fault(one, within_s=seconds + 60.0) as proof:
        _say({"fault": name, "proof": proof, "seconds": seconds},
             [proof, f"for {seconds:g} s, or until Ctrl-C"], as_json)  # fmt: skip
        stopped.wait(seconds)
    if not as_json:
        click.echo(one.prove_gone() if name != "corrupt-file" else "healed")


@main.command("sweep", short_help="Kill a rollback at every change it makes.")
@click.option("--level", "levels", multiple=True, help="Only these; may be repeated.")
@click.option("--every", type=click.IntRange(1), default=1, help="Only every n-th point.")
@click.option("--again", type=click.IntRange(0), default=sweep.AGAIN, show_default=True,
              help="Kill the recovery too, at every n-th of its points; 0: never.")  # fmt: skip
@click.option("--whole", type=click.IntRange(0), default=sweep.WHOLE, show_default=True,
              help="At so many points of each level run everything, to COMPLETE; 0: at none.")  # fmt: skip
@click.option("--offset", type=click.IntRange(0), default=0, help="Choose other points.")
@click.option("--workers", type=click.IntRange(1), default=2)
@click.option("--strace/--no-strace", default=True, help="Compare with the calls that strace sees.")
@click.option("--json", "as_json", is_flag=True)
def sweep_(
    levels: tuple[str, ...], every: int, again: int, whole: int, offset: int, workers: int,
    strace: bool, as_json: bool,
) -> None:  # fmt: skip
    """Kill a rollback at every change that it makes, and look whether it comes out right."""
    from drills.sweep_strace import compare

    began_s = time.monotonic()
    cases = sweep.find(levels)
    told = (lambda _line: None) if as_json else click.echo
    found = sweep.sweep(
        cases,
        every=every,
        offset=offset,
        again_every=again,
        whole=whole,
        workers=workers,
        told=told,
    )
    body = sweep.report(found, every=every, seconds=time.monotonic() - began_s)
    if strace:
        body["strace"] = [compare(case) for case in cases]
        body["ok"] = body["ok"] and all(row["explained"] for row in body["strace"])
        if not as_json:
            for row in body["strace"]:
                click.echo(f"{row['case']:<14} {row['said']}")
    sweep.write(body)
    if as_json:
        click.echo(json.dumps(body))
    else:
        for one in found:
            for failure in one.failures[:10]:
                click.echo(f"  {failure}", err=True)
        click.echo(f"{body['covered']} of {body['existing']} points, "
                   f"{body['recoveries_covered']} killed recoveries, {body['whole']} run to "
                   f"COMPLETE, {body['failed']} wrong, "
                   f"{body['seconds']} s; {sweep.REPORT}")  # fmt: skip
    if not body["ok"]:
        raise NeedsOperator("the sweep found something wrong", hint=str(sweep.REPORT))


@main.command("strength", short_help="How many planted faults does a gate notice?")
@click.argument("name", default="studio")
@click.option("--every", type=click.IntRange(1), default=1, help="Only every n-th fault.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Begin with another one.")
@click.option("--level", default="", help="Whose gate; default: the level of the highest rank.")
@click.option("--system", "file", type=click.Path(path_type=Path, dir_okay=False), default=None,
              help="Write it down for this system, whose gate asks the same.")  # fmt: skip
@click.option("--at-least", type=click.FloatRange(0, 1), default=strength.SHARE_MIN, show_default=True,
              help="The share that has to be noticed.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True)
def strength_(
    name: str, every: int, offset: int, level: str, file: Path | None, at_least: float, as_json: bool
) -> None:  # fmt: skip
    """Plant faults in a sandbox, one at a time, and ask the gate of a level for each.

    They come from its declaration: every component, in every way in which its kind can be broken.
    """
    find_sandbox(name)
    told = (lambda _line: None) if as_json else click.echo
    with tempfile.TemporaryDirectory(prefix="rollback-strength-") as folder:
        body = strength.measure(Path(folder), level=level, every=every, offset=offset, told=told)
    sweep.write(body, strength.REPORT)
    if file is not None and every > 1:
        raise UsageError("a part of the faults is no measurement", hint="leave out --every")
    if file is not None:
        with Site.open(load(file), Host()) as site:
            record(site, body["level"], asked=body["asked"], planted=body["planted"],
                   noticed=body["noticed"])  # fmt: skip
    if as_json:
        click.echo(json.dumps(body))
    else:
        for tier, one in body["by_tier"].items():
            click.echo(f"  {tier:<12} noticed {one['noticed']} of {one['asked']}")
        click.echo(
            f"{body['noticed']} of {body['planted']} noticed, {body['seconds']}; {strength.REPORT}"
        )
    if body["share"] is None or body["share"] < at_least:
        raise NeedsOperator(f"{body['noticed']} of {body['planted']} planted faults were noticed, "
                            f"{at_least:.0%} are wanted", hint=", ".join(body["missed"]))  # fmt: skip


def _say(body: dict[str, Any], lines: list[str], as_json: bool) -> None:
    click.echo(json.dumps(body) if as_json else "\n".join(lines))


def run(typed: str = "python -m drills") -> int:
    """The exit status of the command; `typed` is how its user calls it, for help and hints."""
    return status_of(
        lambda: main.main(prog_name=typed, standalone_mode=False),
        as_json="--json" in sys.argv,
        program=typed,
        interrupted=f"{typed} down --dir DIR, which stops what still runs",
    )


if __name__ == "__main__":
    sys.exit(run())
